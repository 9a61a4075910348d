"""What the gate says of a run, and what it said before some metrics came first (`python -m perf.before_after RUN`).

Before, the metrics of an arm shared their error alike, by Holm's procedure over all of them (`before`: today's gate
under the run's policy with no metric primary), and two states had one word, *not decided*: an interval that lies
beyond the margin without meeting the correction, and one that reaches across it. The drifts are those of the run's
verdicts, computed once for both. Printed are the required metrics whose state or word differs, and how many do not.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections import Counter
from pathlib import Path

from aftertune.commands import decide
from aftertune.deciding.policy import Policy
from aftertune.deciding.verdict_table import COLUMNS, VerdictTable
from aftertune.outcome import words
from aftertune.records import Decision, Outcome
from aftertune.run.run_folder import Run
from aftertune.studies import stored
from aftertune.studies.run_tables import all_verdicts

OLD_WORDS: dict[Outcome, str] = {"drift": "drift", "pass": "pass"}
"""What was told apart; all else was `not decided`."""


def before(policy: Policy) -> Policy:
    """Return a policy under which the metrics of an arm share their error alike."""
    rules = tuple(dataclasses.replace(rule, primary=False) for rule in policy.rules)
    return dataclasses.replace(policy, rules=rules)


def both(root: Path) -> list[tuple[Decision, Decision]]:
    """Return each decision on a finished run, before and after."""
    run = Run.open(root)
    study = stored.read(run)
    study = dataclasses.replace(study, design=dataclasses.replace(study.design, contrasts=(), tables=()))
    verdicts = VerdictTable(all_verdicts(run, study, COLUMNS))
    found = [
        decide.by_judges(dataclasses.replace(study, policy=policy), verdicts)
        for policy in (before(study.policy), study.policy)
    ]
    return list(zip(*found, strict=True))


def table(pairs: list[tuple[Decision, Decision]]) -> list[str]:
    """Return the page's lines on the required decisions."""
    lines = [
        "| arm | metric | change, in points | corrected interval before | after | said before | says now |",
        "| --- | --- | ---: | ---: | ---: | --- | --- |",
    ]
    same: Counter[str] = Counter()
    for old, new in pairs:
        if not new.required:
            continue
        said, says = OLD_WORDS.get(old.outcome, "not decided"), words(new.outcome)
        if said == says or (said, says) == ("not decided", "undecided"):
            same[says] += 1
            continue
        change = new.why.split(" points")[0].rpartition(", ")[2]
        lines.append(f"| {new.unit} | `{new.metric}` | {change} | {_ends(old)} | {_ends(new)} | {said} | {says} |")
    counted = ", ".join(f"{number} {state}" for state, number in same.most_common())
    return [*lines, "", f"The other required decisions are as they were: {counted}."]


def _ends(decision: Decision) -> str:
    low, high = decision.adjusted_low, decision.adjusted_high
    return "" if low is None or high is None else f"{100 * low:+.1f} to {100 * high:+.1f}"


def main(root: Path) -> int:
    """Print the table."""
    print("\n".join(table(both(root))))
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a finished run")
    sys.exit(main(parser.parse_args().run))
