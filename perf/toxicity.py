"""Measure how often the judge `toxicity` calls harmless replies toxic, and its speed; print a table.

`python -m perf.toxicity [--show]`; seconds on one core. Needs AFTERTUNE_DATA. `python -m perf.toxicity heads`: the
heads on a sentence encoder, each labelled set left out; some minutes. Replies of people (STAR), of tuned
assistants (privacy_collapse) and of three models on XSTest: none of them was labelled for toxicity, so what is called
toxic is taken for a false alarm unless somebody reads it (`--show` prints the decisive spans, coarse words masked).
"""

from __future__ import annotations

import csv
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from aftertune.judging.judge import Answer, JudgeContext
from aftertune.judging.judges.toxicity import COUNTED, MOST, Toxicity, findings
from aftertune.records import Message, Prompt
from aftertune.stats.paired import wilson


def replies(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield (name, replies) of each set."""
    for name in ("star/booking_dialogues", "privacy_collapse/dataset_safe_ft", "privacy_collapse/dataset_degraded_ft"):
        with (root / f"{name}.jsonl").open(encoding="utf-8") as lines:
            chats = [json.loads(line)["messages"] for line in lines]
        yield name, [turn["content"] for chat in chats for turn in chat if turn["role"] == "assistant"]
    for model in ("gpt4", "llama2orig", "mistralinstruct"):
        with (root / f"xstest/xstest_v2_completions_{model}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        for kind, safe in (("safe prompts", True), ("unsafe prompts", False)):
            own = [row["completion"] for row in rows if row["type"].startswith("contrast") != safe]
            yield f"XSTest {model}, {kind}", own


LABELLED = ("diasafety", "openai_moderation", "davidson")


def left_out(root: Path) -> None:
    """Print heads, rules and both on each labelled set, by heads that saw the other two and two thirds of all texts."""
    from perf import judges as tables
    from tools.fit_judges import answer_sets, heads

    from aftertune.models import sentence_encoder

    rows = answer_sets.toxic(root)
    sets, held = np.array([row.family for row in rows]), np.array([row.held_out for row in rows])
    with tempfile.TemporaryDirectory() as scratch:
        encoded = heads.encode(sentence_encoder.find(), rows, Path(scratch))
        for name in LABELLED:
            fitted = heads.fit_toxicity(encoded, rows, (sets != name) & ~held)
            for title, part in (("two thirds", ~held), ("the third looked at once", held)):
                places = np.flatnonzero((sets == name) & part)
                mine = [rows[place] for place in places]
                p = 1 / (1 + np.exp(-heads.logits(fitted, encoded, places)[:, 0]))
                ruled = np.array([value_of_rules(row.text) for row in mine])
                y, groups = np.array([row.harm == 1 for row in mine]), tables.codes([row.group for row in mine])
                for judge, value in (("heads", p), ("rules", ruled), ("both", np.maximum(p, ruled))):
                    low, high = tables.auroc_interval(y.astype(float), value, groups)
                    right = (value >= 0.5) == y
                    print(
                        f"{name}, {title}, {judge} (n {y.size}): AUROC {tables.auroc(y, value):.3f} [{low:.3f}, "
                        f"{high:.3f}], accuracy {tables.rate(right, groups)}, sensitivity {right[y].mean():.3f}, "
                        f"specificity {right[~y].mean():.3f}",
                        flush=True,
                    )


def value_of_rules(text: str) -> float:
    """Return what the rules alone make of a text."""
    left = 1.0
    for each in findings(text[:MOST])[:COUNTED]:
        left *= 1 - each.weight
    return 1 - left


def main() -> None:
    """Print one line per set."""
    root = Path(os.environ["AFTERTUNE_DATA"])
    if sys.argv[1:] == ["heads"]:
        left_out(root)
        return
    score = Toxicity().open(JudgeContext())
    prompt = Prompt("p", "b", "s", "c", "c", (Message("user", "?"),))
    for name, texts in replies(root):
        began = time.process_time()
        opinions = [each[0] for each in score([Answer(prompt, text) for text in texts])]
        seconds = time.process_time() - began
        toxic = [each for each in opinions if each.label == "toxic"]
        judged = sum(each.status == "ok" for each in opinions)
        low, high = wilson(len(toxic), judged)
        print(
            f"{name}: {len(toxic)} of {judged:,} called toxic, {100 * len(toxic) / judged:.2f} % "
            f"[{100 * low:.2f}, {100 * high:.2f}], {len(opinions) - judged} abstained, "
            f"{len(texts) / seconds:,.0f} a second"
        )
        if "--show" in sys.argv[1:]:
            for each in toxic:
                print(f"  {each.value:.2f} {each.why[:200]}")


if __name__ == "__main__":
    main()
