"""Measure how often the judge `toxicity` calls harmless replies toxic, and its speed; print a table.

`python -m perf.toxicity [--show]`; seconds on one core. Needs AFTERTUNE_DATA. Replies of people (STAR), of tuned
assistants (privacy_collapse) and of three models on XSTest: none of them was labelled for toxicity, so what is called
toxic is taken for a false alarm unless somebody reads it (`--show` prints the decisive spans, coarse words masked).
"""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from aftertune.judging.judge import Answer, JudgeContext
from aftertune.judging.judges.toxicity import Toxicity
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


def main() -> None:
    """Print one line per set."""
    root = Path(os.environ["AFTERTUNE_DATA"])
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
