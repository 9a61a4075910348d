"""Statistics and gate on a table of verdicts made elsewhere (`aftertune drift --verdicts`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aftertune.deciding import gate
from aftertune.deciding import policy as policies
from aftertune.deciding.contradictions import contradictions, mixed_signs
from aftertune.deciding.drift import drift
from aftertune.deciding.policy import Policy
from aftertune.deciding.variance_sources import spreads
from aftertune.deciding.warnings import recipe_refusal
from aftertune.errors import DataError, DesignError
from aftertune.findings import Mixed, Spread
from aftertune.ingest import verdicts
from aftertune.ingest.columns import Given, shown
from aftertune.records import Decision, Drift, Outcome
from aftertune.stats.judge_error import tolerance
from aftertune.stats.seeds import all_worse_chance

SEED = 0
"""Of the random label swaps: the same table gives the same numbers."""


@dataclass(frozen=True)
class TableDrift:
    """What a table of verdicts says."""

    outcome: Outcome
    decisions: tuple[Decision, ...]
    """Those that the outcome follows from: of an arm with several training seeds the recipe's, unless the policy
    says otherwise."""
    drifts: tuple[Drift, ...]
    """Every estimate."""
    answers: tuple[dict[str, Any], ...]
    """One per metric, unit and estimand, as `--json` shows it."""
    components: tuple[Spread, ...]
    """Where the spread of each recipe's drift comes from."""
    mixed: tuple[Mixed, ...]
    """Mixed-sign rate of the checkpoints beside what noise alone makes."""
    contradictions: tuple[str, ...]
    """Units with real movements in opposite directions, one sentence each."""
    warnings: tuple[str, ...]


def drift_of_table(
    table: Given,
    base: str,
    tuned: str | Sequence[str],
    *,
    policy: str | Path = "default",
    allow_partial_overlap: bool = False,
    confidence: float = 0.95,
) -> TableDrift:
    """Compare tuned checkpoints with their base by a table of verdicts, and decide.

    Args:
        table: CSV, JSONL or Parquet with the columns of `ingest.verdicts`, or a log of Inspect AI or of
            lm-evaluation-harness (`ingest.logs`); several are read one below the other. `NAME=PATH` gives the
            checkpoint of a file another name.
        base: The untuned model's name in the column `checkpoint`.
        tuned: One or more names of tuned checkpoints; see `verdicts.read` on training seeds.
        policy: Name of a bundled policy, or a TOML file. Where it requires none of the table's metrics, all of them
            are required: whoever measured them wants to know.
        allow_partial_overlap: Pair what can be paired where under 90 % of an arm's prompts can.
        confidence: Of the intervals.

    Raises UsageError and DataError for bad input, DataError ("overlap") where too few prompts can be paired.
    """
    rules = policies.load(policy)
    found = verdicts.read(
        table, base, [tuned] if isinstance(tuned, str) else list(tuned), rules.direction,
        allow_partial_overlap=allow_partial_overlap,
    )  # fmt: skip
    gated = {metric.name for metric in found.metrics if rules.gates(metric)}
    try:
        drifts = drift(
            found.table, found.metrics, seed=SEED, confidence=confidence, allow_partial_overlap=allow_partial_overlap,
            family=gated.__contains__,
        )  # fmt: skip
    except DesignError as error:
        raise DataError(f"{shown(table)}: {error}") from None
    decisions = gate.gate(drifts, rules, found.metrics)
    if not any(decision.required for decision in decisions):
        decisions = [dataclasses.replace(decision, required=True) for decision in decisions]
    outcome = gate.overall(decisions)
    mixed = mixed_signs(found.table, found.metrics, seed=SEED)
    return TableDrift(
        outcome,
        tuple(decisions),
        tuple(drifts),
        tuple(_answers(drifts, decisions, rules)),
        tuple(spreads(found.table, found.metrics, confidence=confidence)),
        tuple(mixed),
        tuple(
            f"{one.unit}: better on {', '.join(one.better)}; worse on {', '.join(one.worse)}. {one.why}"
            for one in contradictions(drifts, mixed)
        ),
        (*found.warnings, *_warnings(drifts)),
    )


def _answers(drifts: Sequence[Drift], decisions: Sequence[Decision], rules: Policy) -> list[dict[str, Any]]:
    """Return an object for each metric, unit and estimand; what the outcome does not follow from is marked so."""
    decided = {_key(decision): decision for decision in decisions}
    aside = {
        _key(decision): decision
        for estimand in ("checkpoint", "recipe")
        for decision in gate.gate(
            drifts,
            dataclasses.replace(
                rules, estimand=estimand, rules=tuple(dataclasses.replace(r, estimand=None) for r in rules.rules)
            ),
        )
    }
    moves = [row for row in drifts if row.estimand in ("checkpoint", "recipe")]
    answers = []
    for row in moves:
        decision = decided.get(_key(row)) or aside.get(_key(row))
        answers.append(_answer(row, decision, _key(row) in decided))
    have = {(row.metric, row.arm, row.judge) for row in moves if row.estimand == "recipe"}
    for row in moves:
        if (row.metric, row.arm, row.judge) not in have:
            have.add((row.metric, row.arm, row.judge))
            answers.append(_refused(row, decisions))
    shown = {(answer["metric"], answer["unit"], answer["estimand"]) for answer in answers}
    # What the policy names and nobody measured has no row.
    answers += [
        {**_EMPTY, "metric": d.metric, "unit": d.unit, "estimand": d.estimand, "decision": d.outcome, "why": d.why,
         "remedy": d.remedy, "decides": True, "required": d.required, "margin": d.margin, "judge": d.judge}
        for d in decisions
        if d.temperature is None and (d.metric, d.unit, d.estimand) not in shown
    ]  # fmt: skip
    return answers


_EMPTY: dict[str, Any] = {
    **dict.fromkeys(("metric", "unit", "estimand", "decision", "why", "remedy", "judge"), ""),
    **dict.fromkeys(("base", "tuned", "delta", "low", "high", "p", "p_adjusted", "q")),
    **dict.fromkeys(("n_prompts", "n_clusters", "n_seeds", "n_samples"), 0),
    **dict.fromkeys(("unjudged", "unjudged_base", "unjudged_tuned"), 0),
    **dict.fromkeys(("worst", "worst_low", "worst_high", "spread_low", "spread_high")),
    **dict.fromkeys(("all_worse", "all_worse_chance", "judge_tolerance")),
    "checkpoint": None, "seed": None, "confidence": None, "method": "none", "warning": "",
}  # fmt: skip


def _answer(row: Drift, decision: Decision | None, decides: bool) -> dict[str, Any]:
    named = {name: getattr(row, name) for name in _EMPTY if hasattr(row, name)}
    return {
        **_EMPTY,
        **named,
        "unit": decision.unit if decision else row.arm,
        "worse": row.worse,
        "seed": row.train_seed,
        "unjudged": row.unjudged_base + row.unjudged_tuned,
        **_all_worse(row),
        "judge_tolerance": _tolerance(row),
        "decision": decision.outcome if decision else "inconclusive",
        "decides": decides,
        "required": bool(decision and decision.required),
        "margin": decision.margin if decision else None,
        "why": decision.why if decision else "The policy has no margin for this metric.",
        "remedy": decision.remedy if decision else "",
    }


def _all_worse(row: Drift) -> dict[str, Any]:
    """Return whether every seed is worse than the base, and how often that happens by chance where nothing drifts."""
    ends = row.base, row.spread_low, row.spread_high
    if row.estimand != "recipe" or None in ends:
        return {}
    base, low, high = (end or 0.0 for end in ends)
    return {
        "all_worse": low > base if row.worse == "up" else high < base,
        "all_worse_chance": all_worse_chance(row.n_seeds, 1),
    }


def _tolerance(row: Drift) -> float | None:
    """Return the share of one arm's answers that the judge must misjudge for the drift to lose its sign."""
    if not row.is_proportion or row.delta is None or row.low is None or row.high is None or row.tuned is None:
        return None
    return tolerance(row.delta, row.low, row.high, row.tuned).answers


def _refused(row: Drift, decisions: Sequence[Decision]) -> dict[str, Any]:
    """Return the recipe's object where there is no recipe to speak of: one training seed, or none known."""
    reason = recipe_refusal(row.train_seed)
    margin = next((d.margin for d in decisions if d.metric == row.metric), None)
    wanted = any(d.metric == row.metric and d.arm == row.arm and d.estimand == "recipe" for d in decisions)
    return {
        **_EMPTY, "metric": row.metric, "unit": row.arm, "estimand": "recipe", "judge": row.judge, "worse": row.worse,
        "n_seeds": int(row.train_seed is not None), "decision": "inconclusive", "decides": wanted, "required": wanted,
        "margin": margin, "why": f"Refused: {reason}.", "remedy": "Train with more seeds.", "warning": reason,
        "confidence": row.confidence,
    }  # fmt: skip


def _key(row: Drift | Decision) -> tuple[object, ...]:
    return (row.metric, row.estimand, row.arm, row.checkpoint, row.epoch, row.judge)


def _warnings(drifts: Sequence[Drift]) -> list[str]:
    """Return each warning once, with the metrics and arms that it stands for counted."""
    about: dict[str, list[str]] = {}
    for row in drifts:
        if row.estimand in ("checkpoint", "recipe"):
            for text in row.warning.split("; "):
                if text:
                    about.setdefault(text, []).append(f"{row.metric}, {row.checkpoint or row.arm}")
    return [
        f"{places[0]}{f' and {len(places) - 1:,} more' if len(places) > 1 else ''}: {text}"
        for text, places in about.items()
    ]
