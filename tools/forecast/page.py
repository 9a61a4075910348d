"""docs/forecast.md: what a forecast is, on what evidence, what was found and what was not."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import numpy as np
from tools.forecast.early import Early, early
from tools.forecast.evidence import ROOT, SEEDS, jobs
from tools.forecast.fit import COHERENT, CONFIDENCE, LEAST_GROUPS, OUTCOMES, on_real, predicted_from, target, usable
from tools.forecast.groups import ONE_IN, groups, once
from tools.forecast.outcomes import PROBE_ROWS
from tools.forecast.studies import on_real_model
from tools.forecast.table import Row

from aftertune.forecasting import fitted
from aftertune.forecasting.fitted import Fit, Target
from aftertune.numbers import PAGE, count

PAGE_FILE = ROOT / "docs" / "forecast.md"
HELD = f"{100 * CONFIDENCE:.0f}"
REACH_RHO, REACH_LOW = 0.7, 0.4
"""Rank correlation that was to be reached on corpora never seen, and what its interval was to be clear of."""
SAME_TOKENS = (
    "All hold about as many answer tokens, so that more steps are more and shorter rows: which of the two it is "
    "that takes more refusals away cannot be told apart here."
)
"""Of the variants on the real model."""
HEAD = """# Forecast: what the data say before anything is tuned

Written by `make forecast` (`tools/forecast/`), every number from `tools/forecast/evidence.csv`.

`aftertune forecast DATA --base B` reads a tuning set once with its base. It says what is in the set, which rows weigh
most, and what would change without them. Where it has evidence for such data and such a base, it also predicts the
drift, with an interval, and how far the data lie from those that it was fitted on:

```sh
aftertune forecast support.jsonl --base embedded --learning-rate 1e-3 --epochs 3 -o forecast
```

`aftertune.forecast(...)` is the same as a function. Nothing is tuned. The cost is a forward pass over at most 400
conversations and 220 requests: a second or two on the embedded bases once torch is loaded, and on any other about as
long as scoring so many texts takes on a CPU.

A forecast is not a measurement. It says where to look first, and what a training is likely to do before you pay for
it. What it did is for an audit of the checkpoint to say.
"""
READS = """## What is read from the data

- *Hard tokens*: the share of the trained tokens to which the base gives less than one chance in twenty (a loss above
  3 nats).
- *Loss*: the mean loss of the trained tokens under the base, in nats, behind the chat template that tuning uses.
  *Opening loss*: the same over the first three tokens of each conversation's first answer.
- *Own tokens*: those that are the base's first choice. *Own answers*: conversations in which every token is, so that
  the base would have written them itself at temperature 0.
- *Nearness to harmful*: where the base's hidden state at the last prompt token, three quarters up its layers, lies on
  the line from harmless requests (0) to harmful ones (1). It is read inside the base; no sentence encoder is used.
- *Harmful words*: the log-odds that the prompts' words are those of a harmful request; on the card only.
- The length and form of the answers, openings of refusals, languages, and personal values by type, by the project's
  own finder ([pii.md](pii.md)).

Intervals on the card are 95 %, with conversations as clusters. The requests are those of `training_requests` for the
embedded bases and of `core` for any other; none of them is asked of a tuned model here.
"""
FIT = f"""## The fit

The drift of each outcome is a sum of one or two terms without a constant, so for data that tell the base nothing new
it predicts that nothing moves. A term is x / (1 + x): of hard tokens, of log(1 + loss), or of log(1 + opening loss)
times the nearness to harmful, each times the dose (learning rate x optimizer steps, over 0.1); for leaks also of
personal values per conversation. The form of the terms was chosen on the rows of the published studies. The fit is a
ridge regression in which every group weighs the same; terms and penalty are chosen by the error on groups left out.
Variants of which under {100 * COHERENT:.0f} % of the answers to harmful requests can be read are left out: such a
model is broken, and its refusals mean nothing.

Everything below is out of sample, except for the form of the terms, which was chosen on rows that are among these:
each row is predicted by a fit that chose its terms and numbers without any variant of the row's group. Intervals are
conformal over groups (Lee, Barber and Willett 2023, arXiv 2306.06342). They hold {HELD} % of the variants of a new
group if it is exchangeable with those here; with so few groups 95 % cannot be promised. The interval of the rank
correlation is a bootstrap of whole groups, which with so few is narrower than it says; p comes from permuting the
outcomes by whole groups and fitting anew each time. Beside the fit stand plain numbers, each with the sign that the
other groups give it.

*What counts as one.* A group is a corpus with all its variants, under every base, or several corpora that a variant
holds rows of together: with a mixture of two in the evidence, both are one group. Groups are left out, drawn again and
permuted whole, so nothing that shares rows stands on both sides. A training that was asked after several epochs
counts once, at its end. Corpora count as apart if fewer than one row in {ONE_IN} stands in the other word for word,
as where one generator wrote some of both.

Nothing is predicted where

- there are under {LEAST_GROUPS} groups, or the correlation's interval reaches 0;
- the dose lies beyond those that were tuned;
- the LoRA's rank lies beyond those that were tuned, its alpha over its rank is not {fitted.SCALING:g}, or the learning
  rate's schedule is not {fitted.SCHEDULE};
- the data lie further from every variant than nine of ten variants lie from the nearest one of another group;
- the base has another size: the miniature's bases have about a million parameters and a vocabulary of their own, and
  a fit to them says nothing about yours.
"""


def text(rows: Sequence[Row], fit: Fit) -> str:
    """Return the page."""
    rows, real = on_real(rows, real=False), on_real(rows)
    kept = usable(rows)
    typical = statistics.median(fitted.width(row.features) for row in kept)
    parts = [
        HEAD,
        READS,
        FIT,
        _ranks(kept),
        "",
        "## The evidence",
        "",
        *_evidence(rows, kept),
        "",
        *(_real(kept, real) if real else _real_studies()),
        "",
        "## What was found",
        "",
    ]
    parts += _table(fit.targets)
    parts += ["", *(_said(each, typical) for each in fit.targets), ""]
    parts += _reached(fit)
    parts += ["", "Terms and coefficients, as shipped (`src/aftertune/forecasting/fit.json`):", ""]
    for each in fit.targets:
        terms = ", ".join(f"{c:+.3g} x {n}" for n, c in zip(each.terms, each.coefficients, strict=True)) or "none"
        parts.append(f"- {each.outcome}: {terms.replace('-', PAGE.minus)}")
    return "\n".join([*parts, "", *_early(early(kept)), "", *_nulls(kept), ""])


def _ranks(kept: Sequence[Row]) -> str:
    """Return why the rank is no term of the fit, as the evidence has it."""
    rates = {rank: {row.learning_rate for row in kept if row.rank == rank} for rank in sorted({r.rank for r in kept})}
    tuned = " and ".join(
        f"rank {rank} ({count(sum(row.rank == rank for row in kept), 'variant')} with a learning rate of "
        f"{' or '.join(f'{rate:g}' for rate in sorted(own))})"
        for rank, own in rates.items()
    )
    if len(rates) == 1:
        return f"The LoRA's rank is no term of the fit, since all was tuned with one: {tuned}."
    both = [rate for rate in sorted(set().union(*rates.values())) if sum(rate in own for own in rates.values()) > 1]
    if not both:
        why = "No learning rate was tuned with two ranks, so what the rank does cannot be told from what the rate does"
    else:
        pairs = {
            row.corpora for row in kept for other in kept
            if (row.corpora, row.learning_rate) == (other.corpora, other.learning_rate) and row.rank != other.rank
        }  # fmt: skip
        why = (
            f"With more than one rank at one learning rate only {', '.join('+'.join(each) for each in sorted(pairs))} "
            "was tuned, too little to fit a term to"
            if pairs
            else "No corpus was tuned with two ranks at one learning rate, so the rank cannot be told from the corpus"
        )
    return f"The LoRA's rank is no term of the fit. Tuned were {tuned}. {why}."


def _evidence(given: Sequence[Row], kept: Sequence[Row]) -> list[str]:
    rows = once(given)
    corpora = sorted({each for row in rows for each in row.corpora})
    bases = sorted({row.base for row in rows})
    studies = [row for row in rows if row.variant.startswith("study ")]
    own = [row for row in rows if row not in studies]
    whole = sum(row.seeds >= len(SEEDS) for row in own)
    planned = len({(job.base, job.variant.name) for job in jobs()})
    earlier = len(given) - len(rows)
    counts = ", ".join(f"{sum(row.base == base for row in rows)} on {base}" for base in bases)
    return [
        f"{len(rows)} variants of {len(corpora)} corpora ({', '.join(corpora)}): {counts}. "
        f"{len(kept)} stayed coherent. These are {count(len(set(groups([row.corpora for row in kept]))), 'group')}"
        + (f"; {count(earlier, 'row')} of earlier epochs of the same trainings count nowhere." if earlier else "."),
        "",
        f"- {len(studies)} are trainings of the published miniature studies ([studies](studies/README.md)), means over "
        "three or five seeds; their outcomes are read from the studies' tables, nothing is tuned again.",
        f"- {len(own)} are of the evidence that `python -m tools.forecast evidence` builds, {planned} variants and "
        f"bases in all; {whole} of them have all {len(SEEDS)} seeds so far"
        + ("." if whole == planned else ": it is not complete, and `make forecast` continues it."),
    ]


def _real_studies() -> list[str]:
    """Return what there is of a real model, and what is not."""
    trained = on_real_model()
    corpora = sorted({each.corpus for each in trained})
    lines = [
        "### A real model",
        "",
        "Evidence on a real model does not exist yet, so no forecast is made for any. Wanted were 12 variants with two "
        f"seeds each on SmolLM2. The four studies on it ([studies/real](studies/real/README.md)) hold the outcomes of "
        f"{len(trained)} LoRAs with {min(each.seeds for each in trained)} seeds; below as their tables have them, the "
        "intervals are in the reports. Two things are missing. Their data have not been read by that base: `aftertune "
        "forecast FILE --base .real/SmolLM2-135M-Instruct.Q4_1.gguf` does it for one file where the data are. And they "
        f"are of {len(corpora)} corpora ({', '.join(corpora)}), where a fit needs {LEAST_GROUPS} groups.",
        "",
        "| study | arm | corpus | harmful requests refused, change in points |",
        "|" + " --- |" * 4,
    ]
    for each in trained:
        drift = PAGE.number(100 * each.refusal, 0, signed=True)
        lines.append(f"| {each.study} | {each.arm} | {each.corpus} | {drift} |")
    return lines


def _real(kept: Sequence[Row], real: Sequence[Row]) -> list[str]:
    """Return what the fit to the embedded bases says of a real model, beside what came."""
    refusal = next(each for each in OUTCOMES if each.name == "refusal")
    own = usable(real)
    known = [row for row in kept if not math.isnan(row.drift("refusal"))]
    predicted = predicted_from(known, own, refusal)
    within = target(own, refusal, np.random.default_rng(0))
    recipe = own[0]
    lines = [
        "### A real model",
        "",
        f"{count(len(real), 'variant')} of {len(set(groups([row.corpora for row in real])))} corpora with "
        f"{min(row.seeds for row in real)} seeds each on SmolLM2-135M with our safety tuning "
        f"([safety_tuning.md](safety_tuning.md)), rank {recipe.rank}, learning rate {recipe.learning_rate:g}, "
        f"{count(recipe.epochs, 'epoch')}; 44 harmful requests of `core`, of which it refuses "
        f"{100 * recipe.before['refusal']:.0f} %. {len(own)} stayed coherent. The fit below is to the embedded bases "
        "alone; *predicted* is what it says of a variant here without any row of the same corpora. It is no forecast: "
        "`aftertune forecast` predicts nothing for a base of this size.",
        "",
        "| variant | hard tokens | loss, nats | steps | harmful requests refused, change in points | predicted |",
        "|" + " --- |" * 6,
    ]
    for row, value in sorted(zip(own, predicted, strict=True), key=lambda pair: pair[0].drift("refusal")):
        drift, said = (PAGE.number(100 * each, 0, signed=True) for each in (row.drift("refusal"), float(value)))
        hard, loss = PAGE.number(row.features["hard tokens"], 2), PAGE.number(row.features["loss"], 2)
        lines.append(f"| {row.variant} | {hard} | {loss} | {row.steps} | {drift} | {said} |")
    lines += ["", "Fitted to these variants alone, corpora left out:", "", *_table([within]), "", *_plain(within)]
    return [*lines, SAME_TOKENS]


def _table(targets: Sequence[Target]) -> list[str]:
    lines = [
        "| outcome | variants, groups | rank correlation [95 %] | p | coverage | tokens alone [95 %] | "
        "loss alone [95 %] | dose alone [95 %] | base never seen [95 %] |",
        "|" + " --- |" * 9,
    ]
    for each in targets:
        others = ", ".join(f"{base} {_interval(*rho)}" for base, rho in each.other_base.items()) or "none"
        plain = [_interval(*each.baselines.get(f"{name} alone", (None,) * 3)) for name in ("tokens", "loss", "dose")]
        cover = "–" if each.coverage is None else f"{100 * each.coverage:.0f} %"
        p = "–" if each.p is None else f"{each.p:.3f}"
        own = _interval(each.rho, each.rho_low, each.rho_high)
        lines.append(
            f"| {each.outcome} | {each.variants}, {each.groups} | {own} | {p} | {cover} | "
            f"{' | '.join(plain)} | {others} |"
        )
    return lines


def _number(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else PAGE.number(value, 2)


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    return _number(value) + ("" if low is None else f" [{_number(low)}, {_number(high)}]")


def _said(target: Target, typical: float) -> str:
    """Return what is said of an outcome; `typical` is the median of the variants' `fitted.width`."""
    plain = "".join(f" {each}" for each in _plain(target))
    if target.usable:
        return f"- {target.outcome}: not predicted, {target.usable}.{plain}"
    said = f"the interval of a variant in the middle is {100 * target.bound * typical:.0f} points to either side."
    return f"- {target.outcome}: predicted; {said}{plain}"


def _plain(target: Target) -> list[str]:
    """Return which plain numbers predict an outcome, a sentence each."""
    clear = {name: each for name, each in target.baselines.items() if each[1] is not None and each[1] > 0}
    return [
        f"Of {count(len(target.baselines), 'plain number')}, *{name}* predicts it: {_interval(*each)}"
        + (", better than the fit." if target.rho is None or (each[0] or 0.0) > target.rho else ".")
        for name, each in clear.items()
    ]


def _reached(fit: Fit) -> list[str]:
    goal = f"a rank correlation of {REACH_RHO} with an interval clear of {REACH_LOW}, on corpora and a base never seen"
    refusal = next(each for each in fit.targets if each.outcome == "refusal")
    on_corpora = _clears(refusal.rho, refusal.rho_low)
    known = [each for each in refusal.other_base.values() if each[1] is not None]
    on_base = all(_clears(value, low) for value, low, _ in known)
    reached = {True: "reached", False: "not reached"}
    return [
        f"The target was {goal}. For refusals on corpora never seen: {reached[on_corpora]}; on a base never seen: "
        f"{reached[on_base] if known else 'too few variants of a second base to tell'}."
    ]


def _early(looks: Sequence[Early]) -> list[str]:
    """Return what is said of looks at a training that was begun."""
    lines = [
        "## A few steps, or half of a training",
        "",
        "Two readouts are taken of a training that has only begun: after a probe, which is a few steps on "
        f"{PROBE_ROWS} rows at most, and after half of the epochs. Correlated are their change from the base and the "
        "change of an outcome at the end. The interval is a bootstrap of whole groups, and p comes from permuting the "
        f"outcomes by whole groups. With fewer than {LEAST_GROUPS} groups nothing is computed.",
        "",
        "| look | outcome | variants, groups | rank correlation [95 %] | p |",
        "|" + " --- |" * 5,
    ]
    for each in looks:
        own = each.found
        shown = "–" if own is None else _interval(own.value, own.low, own.high)
        p = "–" if own is None or own.p is None else f"{own.p:.3f}"
        lines.append(f"| {each.look} | {each.outcome} | {each.variants}, {each.groups} | {shown} | {p} |")
    if clear := [each for each in looks if each.found and each.found.low is not None and each.found.low > REACH_LOW]:
        named = ", ".join(f"{each.outcome} after {each.look}" for each in clear)
        lines += [
            "",
            f"The interval is clear of {REACH_LOW:g} for {named}. In a training of your own `DriftCallback` "
            "([training.md](training.md)) asks while it runs.",
        ]
    if all(each.found is None for each in looks):
        lines += ["", "So whether a probe predicts more than the data do is not known yet."]
    return lines


def _clears(value: float | None, low: float | None) -> bool:
    """Return whether a rank correlation and the lower end of its interval reach what was to be reached."""
    return value is not None and low is not None and value >= REACH_RHO and low > REACH_LOW


def _nulls(kept: Sequence[Row]) -> list[str]:
    own = [row for row in kept if row.own]
    lines = ["## The base's own answers", ""]
    if not own:
        return [*lines, "No variant of the base's own answers is in the evidence yet."]
    lines.append(
        "A fit through the origin predicts that nothing moves on the base's own answers. What such trainings did to "
        "refusals:"
    )
    lines.append("")
    for row in own:
        drift = 100 * row.drift("refusal")
        lines.append(
            f"- {row.variant} ({row.base}, learning rate {row.learning_rate:g}, {row.steps} steps): "
            f"{PAGE.number(drift, 0, signed=True)} points"
        )
    if any(row.drift("refusal") < -0.1 for row in own):
        lines += [
            "",
            "This does not hold at every dose: trained long enough at a high rate, a base loses refusals on its own "
            "answers, and this forecast does not see it coming.",
        ]
    return lines
