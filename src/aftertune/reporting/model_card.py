"""A run's results as a section of a model card, and as `model-index` metadata in the form of the Hugging Face hub."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aftertune import direction, outcome
from aftertune.headline import headline, subject
from aftertune.naming import row_names
from aftertune.numbers import PAGE, count, sample, scale_of
from aftertune.records import Decision, Drift
from aftertune.reporting.markdown import code, prose, table


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card says beside the numbers."""

    base: str
    version: str
    """Of aftertune."""
    policy: str
    day: datetime.date
    """On which the run began."""


def section(drifts: Sequence[Drift], decisions: Sequence[Decision], facts: CardFacts) -> str:
    """Return the section as Markdown: what changed from the base, with intervals, and what was decided."""
    rows = headline(drifts, decisions)
    decided = {subject(one): one for one in decisions}
    required = [one for one in decisions if one.required]
    tally = Counter(one.outcome for one in required)
    lines = [
        "## Safety and privacy after fine-tuning",
        "",
        f"Compared with the base {code(facts.base)} on {facts.day:%Y-%m-%d} by aftertune {facts.version}, policy "
        f"{code(facts.policy)}. {count(len(required), 'required check')}: "
        f"{', '.join(f'{tally[name]} {outcome.words(name)}' for name in outcome.SEVERITY if tally[name]) or 'none'}.",
        "",
    ]
    levels = " and ".join(f"{100 * level:g}" for level in sorted({row.confidence for row in rows}))
    called = row_names(rows)
    several = len({called(row) for row in rows}) > 1
    heads = ["Metric", "Base → tuned", f"Change [{levels} % interval]", "Worse is", "Margin", "Decision", "n"]
    if several:
        heads.insert(1, "Model")
    told = []
    for row in rows:
        one, scale = decided.get(subject(row)), scale_of(row)
        told.append([
            prose(row.metric),
            *([prose(called(row))] if several else []),
            PAGE.levels(row, scale),
            PAGE.change(row, scale, unit=False),
            direction.words(row.worse),
            PAGE.margin(one.margin, scale, unit=False) if one else "",
            prose(outcome.words(one.outcome)) + ("" if one.required else " (not required)") if one else "not decided",
            sample(row),
        ])  # fmt: skip
    lines += table(heads, told)
    shown = {subject(row) for row in rows}
    if unmeasured := [one for one in required if subject(one) not in shown and one.outcome != "pass"]:
        lines += ["", "Not in the table:", ""]
        lines += [f"- {prose(one.metric)}: {prose(outcome.words(one.outcome))}. {prose(one.why)}" for one in unmeasured]
    lines += [
        "",
        "Rates are shares of prompts and changes are in points, or both are means of values; intervals respect "
        "clusters of prompts and training seeds where there are several. A check that passed has shown a loss beyond "
        "its margin to be unlikely, on these prompts, as read by these judges; it does not show that the model is "
        "safe.",
    ]
    return "\n".join(lines) + "\n"


def model_index(
    drifts: Sequence[Drift], decisions: Sequence[Decision], names: dict[str, str], version: str
) -> list[dict[str, Any]]:
    """Return the hub's `model-index`: one entry for each arm of `names` (arm -> name of the model), its tuned rates.

    Shares are numbers from 0 to 1. The base's value and the interval of the change stand in a metric's `args`. Where an
    arm has several recipes, bases or checkpoints, the metric's name says which.
    """
    rows = headline(drifts, decisions)
    called = row_names(rows)
    entries = []
    for arm, name in names.items():
        results: dict[tuple[str, str], dict[str, Any]] = {}
        for row in rows:
            if row.arm != arm or row.tuned is None:
                continue
            benchmark, subset, measure = _parts(row.metric)
            dataset = {"type": benchmark, "name": f"{benchmark} ({subset})", "config": subset}
            if not subset:
                dataset = {"type": benchmark, "name": benchmark}
            result = results.setdefault(
                (benchmark, subset),
                {"task": {"type": "text-generation", "name": "Text Generation"}, "dataset": dataset, "metrics": []},
            )
            which = f", {called(row)}" if len({called(other) for other in rows if other.arm == arm}) > 1 else ""
            metric = {"type": measure, "value": round(row.tuned, 6), "name": f"{measure}, judge {row.judge}{which}"}
            numbers = {"base": row.base, "change": row.delta, "low": row.low, "high": row.high}
            known = {key: round(value, 6) for key, value in numbers.items() if value is not None}
            result["metrics"].append({**metric, "args": {**known, "worse": row.worse, "aftertune": version}})
        if results:
            entries.append({"name": name, "results": list(results.values())})
    return entries


def _parts(metric: str) -> tuple[str, str, str]:
    """Return benchmark, subset (empty where there is none) and measure of a metric's name."""
    first, _, rest = metric.partition("/")
    subset, slash, measure = rest.rpartition("/")
    return (first, subset, measure) if slash else (first, "", rest or first)
