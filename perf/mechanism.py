"""What moves inside: docs/mechanism.md out of finished runs (`python -m perf.mechanism RUN... --write`).

Each RUN is the folder of a study or audit whose models are still there; what `aftertune explain` has computed in it
before is read, the rest is computed now. `RUN:pairs=4,prompts=8,draws=2` computes less. The page has a section for each
run, named by its title; docs/mechanism_parts.json keeps their lines, so that one can be made again without the others.
Without RUN the page is put together from there. Without `--write` it is printed, and nothing is kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aftertune
from aftertune.inside.explanation import Explanation
from aftertune.numbers import PAGE as NUMBERS
from aftertune.reporting import explanation as page
from aftertune.reporting import markdown as md
from aftertune.reporting.tables import Table
from aftertune.stats.row_influence import halves_needed

DOCS = Path(__file__).parents[1] / "docs"
PAGE, PARTS = DOCS / "mechanism.md", DOCS / "mechanism_parts.json"
"""The page; and the lines of each section when its run was last explained, by the run's title."""
HEAD = """# What moves inside

Written by `make mechanism` (`perf/mechanism.py`). `aftertune explain RUN` does the same on a finished study or audit
of yours, as long as its base and checkpoints are still where they were. It writes `explanation.html`, `.md` and
`.json` into the run folder and leaves the run's own results as they are. A second call computes nothing.

```
aftertune explain aftertune-demo                        # everything that is affordable
aftertune explain RUN --arm keep --draws 39 --pairs 0   # one arm, more random directions, all pairs of prompts
```

It asks four questions. Each answer comes with what it is compared with:

- **Do answers open as refusals less often?** The *readout*: the log-odds that an answer opens as the base's own
  refusals do. Compared with: an interval over prompts and seeds, two seeds of one recipe against each other, and the
  refusals that the run's judge found.
- **Did the model's directions turn?** A *direction* is the mean difference of activations at the last prompt token
  between two kinds of prompts, layer by layer: refusal, privacy, and the controls topic, format and context. Compared
  with: their reliability, which limits how alike two can look; shuffled labels; and random directions with the
  activations' covariance.
- **Does the direction do anything?** It is removed from the base or added to a tuned model, and the readout is taken
  again and prompts are answered (an *intervention*). Compared with: random directions, and those of other concepts, of
  equal length.
- **Where is the change?** The base gets some layers of the tuned model. Compared with: all layers together; and the
  same layers with *shuffled updates*, which are as large and hold nothing.

Privacy is looked at in the same ways, with a readout of its own: does an answer keep back what may not be passed on?

"""
METHODS = """## How to read it

**Readout.** The base's refusals are those that the run's judge found among its answers in the run, and among some
that are sampled at temperature 1 (at temperature 0 a base shows only one opening of several). An opening is three to
eight words, just long enough to separate refusals from the base's other answers. One forward pass for each prompt and
opening gives its probability, behind the base's own chat template and by the tokens that an answer has there. The
readout cannot see refusals that open in a way that the base does not have, nor answers that open as a refusal and go
on to comply. For a training script of your own: `aftertune.inside.readout` (`learn_openings`, `readout`).

**Readout of privacy.** It is read out on the privacy direction's own prompts: something that may be passed on to one
recipient and may not to another. It is the log-odds that the answer keeps the thing back. In plain English the options
have letters, and the readout is the letter of No against that of Yes, as the benchmark PrivacyLens is scored. In the
world of the shipped models it is every other opening of the message against those that give the thing away. Privacy is
*lost* where what may not be passed on is kept back less.

A base must be shown to tell the two kinds of prompts apart: AUROC is the chance that of two prompts the one about what
may not be passed on has the higher readout, and its interval must lie above .5. Where it does not, the base has no
judgement of privacy to lose, and nothing more is done.

**Directions.** The prompts are pairs that differ in one thing. *Refusal*: harmful requests and their look-alikes.
*Privacy*: whether something may be passed on, to the person it concerns and to somebody else; within a cluster each
thing and each recipient occurs once on either side, and options are asked in both orders of their letters. The sign
of a mean difference is that of its labels. A principal component of one side has no sign of its own: its cosine with
another is negative as often as positive, so an "inverted" privacy direction that is read from it (Goel et al., arXiv
2601.15220) is no finding; `tests/stats/test_directions.py` shows it.

*Turned* means two things at once: the interval of the disattenuated cosine (corrected for the directions' limited
reliability) ends below 1, and shuffled labels do not turn as far. With G clusters there are 2^(G - 1) shuffles, so
for a model of 30 layers it takes 11 clusters to tell; with fewer the answer is "not known".

**Interventions.** Nothing here is called a mechanism unless three things hold when the direction is removed or added:
the readout changes in the expected sense, the answers change with it, and both change further than with each of at
least 19 random directions of the same length. Answers are refusals of harmful requests, or answers that keep back what
may not be passed on. They are asked where the base has at most ten million parameters; of a larger one the page says
"by the readout alone". Whether other concepts' directions change the readout as much is stated too.

The direction is estimated from half of the clusters of prompts and tried on the others. What is added is the refusal
direction, or the privacy direction towards what may not be passed on. This is done for up to two arms that lost the
most refusals, and for up to two that lost the most privacy (one of each where the base is larger). Of each arm *one
checkpoint* is used, the last of its first training seed: intervals are over prompts, and how far other seeds differ in
this is not seen.

**Layers.** An *update* is what tuning added to the weights: those of the tuned model minus those of its base. In a
*shuffled update* the inputs and the outputs of each matrix are in an order drawn at random (with LoRA the columns of A
and the rows of B). It is as large as before, with the same singular values, and without what was learned. Norms and
biases have their entries in such an order. Rows of the embeddings and of the output stay with their tokens, most of
which no prompt holds, and the experts of a mixture stay where they are, since the router seldom chooses some. Where
nothing was tuned nothing is shuffled.

Layers *carry* the change where they change the readout in its sense, and by more than every shuffled update there
does in either sense. There are as many shuffled updates of each block of layers as random directions, at least 19:
beside fewer, or on fewer than ten clusters of prompts, it is not known. These cost the most: 19 interventions for each
block, so that a base of more than ten million parameters has its layers in five blocks. An update that holds nothing
is beyond all 19 in one case of twenty, so one of several blocks may be by chance.

**What it cannot show.** A trained update acts on what the inputs of its layer hold, and a shuffled one seldom does.
So layers that carry the change do so by what their update holds and not by its size alone; that it was made for
refusals is not shown, and tuning on anything else might do the same. It looks at one direction for each layer, where
refusal may need several; at the last prompt token, where a model may decide later; and at prompts of one kind and
language. Where a direction stays while refusals go, it stays open what changed, since the threshold at which a model
refuses is not seen. Layers that are exchanged one by one do not add up to the whole where they work together.
Privacy is read out on questions with options, or on short notes in the shipped models' world: what a model keeps to
itself in a long conversation, or as an agent, is not seen. A direction that is added acts on all prompts alike, so it
can make a model keep back more, but not judge better; the column for what may be passed on shows which.

**Settings.** Each section names its own: *pairs* of prompts for each concept (of privacy cases of two or four pairs),
*prompts* of each kind that are read out, *draws* of random directions and of shuffled updates, *samples* of the base's
answers from which openings are learned, and prompts *asked*, which are answered under interventions.

"""
ROWS = DOCS / "mechanism_rows.json"
"""What scores of training rows predict (`python -m perf.rows --write`)."""
ABOUT_ROWS = """## Which training rows did it?

`aftertune explain` does not say. Scores of rows are only as good as what they predict of models that were trained
without some of the rows. `make rows` measures that on the miniature. A model is tuned on each of many random halves of
a tuning set, with several training seeds. Its *readout* is compared with the sum of its half's scores, as a rank
correlation over halves (the linear datamodelling score; Park et al., arXiv 2303.14186). Two seeds on one half differ,
too, so even the true influences would not predict everything: the highest correlation that this noise allows
stands beside. A score is *beyond chance* where its interval is clear of 0 and it lies outside the middle 95 % of 199
scores that were drawn at random.

- *Loss under the base* is what the base finds hard about a row's answer; *projection* is how far the base's state at
  the end of the row's prompt lies along the difference of harmful and harmless requests (at three quarters of its
  layers).
- *The gradient along that of own refusals*: by how much a step on the row, from the base on, raises the loss of the
  base's own refusals of other requests; *cosine* is the same without the gradient's size.

"""
FIRST_AGREEMENT = 0.27
"""Rank correlation between two seeds' outcomes over 27 random halves of the demo's `keep` rows, in a first trial whose
script was not kept."""
NOT_YET = f"""**These trainings have not been run yet, so no score of rows is shown to predict anything.** In a first
trial with 27 random halves of the demo's `keep` rows the outcomes of two training seeds had a rank correlation of
{FIRST_AGREEMENT} only, and nothing could be told. The script of that trial was not kept; `make rows` measures it
anew."""


def rows() -> str:
    """Return the part about training rows."""
    found = json.loads(ROWS.read_text(encoding="utf-8")) if ROWS.is_file() else {}
    parts = [ABOUT_ROWS.rstrip(), *("\n".join(each["lines"]) for each in found.values())]
    known = {f"`{name}`": each["reliability"] for name, each in found.items() if each["reliability"]}
    if not found:
        parts.append(NOT_YET)
        known = {"`keep`, first trial": FIRST_AGREEMENT}
    if known:
        counts = [
            [name, f"{one}", *(f"{halves_needed(one, agree, seeds=seeds):,}" for seeds in (1, 3))]
            for name, agree in known.items()
            for one in (0.3, 0.5, 0.8)
        ]
        heads = [
            "rows",
            "the scores predict, without noise of seeds",
            "halves, one training each",
            "three trainings each",
        ]
        said = "How many halves it takes to tell such scores from nothing, with a chance of 80 %:"
        parts.append("\n".join([said, "", *md.table(heads, counts)]))
    return "\n\n".join(parts)


def body(found: Explanation) -> Iterator[str]:
    """Yield the lines about one run: the sentences, and the tables of readouts and interventions."""
    first, *others = page.sentences(found, NUMBERS)
    yield from (f"## {md.prose(found.title)}", "", *made_with(found), "", f"**{md.prose(first)}**", "")
    yield from (f"- {md.prose(line, md.MAX_WARNING)}" for line in others)
    for section, tables in page.tables(found).items():
        for each in tables if section != "directions" else ():
            yield from shown(each)
    yield from shown(page.least_turned(found))


def made_with(found: Explanation) -> Iterator[str]:
    """Yield the settings that a run was explained with, a line for each base."""
    for base, settings in found.settings.items():
        numbers = ", ".join(f"{name} = {value}" for name, value in settings.items())
        yield f"Made with {md.prose(numbers)} ({md.prose(base)})."


def shown(table: Table) -> Iterator[str]:
    """Yield the lines of one table."""
    yield from ("", f"### {md.prose(table.caption)}", "")
    yield from md.table(
        [column.head for column in table.columns], [[md.prose(cell) for cell in row] for row in table.rows]
    )
    yield from ("", md.prose(table.note)) if table.note else ()


def text(parts: Mapping[str, Sequence[str]]) -> str:
    """Return the page; `parts`: title of a run -> the lines about it."""
    sections = ("\n".join(lines).strip() for lines in parts.values())
    return "\n\n".join([f"{HEAD}{METHODS}".rstrip(), rows(), *sections]) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Explain runs, and write or print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", metavar="RUN[:OPTION=NUMBER,...]")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args(arguments)
    parts: dict[str, list[str]] = json.loads(PARTS.read_text(encoding="utf-8")) if PARTS.is_file() else {}
    for named in given.runs:
        run, _, options = named.partition(":")
        numbers = [one.partition("=") for one in options.split(",") if one]
        effort: dict[str, Any] = {key: int(value) for key, _, value in numbers}
        found = aftertune.explain(run, workers=1, **effort).explanation
        parts[found.title] = list(body(found))
        if given.write:
            PARTS.write_text(json.dumps(parts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if given.write:
        PAGE.write_text(text(parts), encoding="utf-8")
    else:
        sys.stdout.write(text(parts))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
