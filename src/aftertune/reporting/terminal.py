"""A run's result as a few lines of text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from aftertune.records import Decision, Drift


def points(share: float | None) -> str:
    """Return a share as percentage points with one decimal; a dash for None."""
    return "-" if share is None else f"{100 * share:.1f}"


def interval(low: float | None, high: float | None, *, signed: bool = False) -> str:
    """Return an interval of shares as percentage points."""
    if low is None or high is None:
        return ""
    return f"[{100 * low:+.1f}, {100 * high:+.1f}]" if signed else f"[{100 * low:.1f}, {100 * high:.1f}]"


def headline(drifts: Sequence[Drift]) -> list[Drift]:
    """Return the rows a reader wants first: recipe level where there are seeds, else checkpoint level; last epochs."""
    recipes = [drift for drift in drifts if drift.estimand == "recipe"]
    with_seeds = {(d.base_model, d.arm, d.recipe) for d in recipes}
    single = [d for d in drifts if d.estimand == "checkpoint" and (d.base_model, d.arm, d.recipe) not in with_seeds]
    rows = recipes + single
    last: dict[tuple[str, str, str], int] = {}
    for row in rows:
        key = (row.base_model, row.arm, row.recipe)
        last[key] = max(last.get(key, 0), row.epoch or 0)
    return [row for row in rows if (row.epoch or 0) == last[row.base_model, row.arm, row.recipe]]


def drift_table(drifts: Sequence[Drift], width: int | None = None) -> list[str]:
    """Return the headline rows as a table: rates in per cent, drift in points (means of values as they are).

    Where the table is wider than `width` columns, each metric has a line of its own above its rows.
    """
    rows = headline(drifts)
    if not rows:
        return ["no drift could be estimated"]
    bases = len({row.base_model for row in rows}) > 1
    recipes = {row.arm: {other.recipe for other in rows if other.arm == row.arm} for row in rows}

    def unit(row: Drift) -> str:
        parts = [row.arm, *([row.base_model] if bases else []), *([row.recipe] if len(recipes[row.arm]) > 1 else [])]
        return ", ".join(parts)

    name = max(len(row.metric) for row in rows)
    arm = max(len(unit(row)) for row in rows)
    heads = f"{'base':>6} {'tuned':>6} {'drift':>7}  {'interval':<16} prompts seeds"
    narrow = width is not None and name + arm + len(heads) + 4 > width
    name = 0 if narrow else name
    lines = [f"{'' if narrow else 'metric':<{name}}  {'arm':<{arm}}  {heads}"]
    last = ""
    for row in rows:
        if narrow and row.metric != last:
            lines.append(last := row.metric)
        scale = 1.0 if row.is_proportion else 0.01
        delta, low, high, base, tuned = (
            None if x is None else scale * x for x in (row.delta, row.low, row.high, row.base, row.tuned)
        )
        drift = "-" if delta is None else f"{100 * delta:+.1f}"
        lines.append(
            f"{'' if narrow else row.metric:<{name}}  {unit(row):<{arm}}  {points(base):>6} {points(tuned):>6} "
            f"{drift:>7}  {interval(low, high, signed=True):<16} {row.n_prompts:>7} {row.n_seeds or '-':>5}"
        )
    return lines


def decision_lines(outcome: str, decisions: Sequence[Decision], width: int | None = None) -> list[str]:
    """Return the decision and, per unit, the sentence that decided it, wrapped at `width` columns."""
    rank = {"error": 0, "drift": 1, "inconclusive": 2, "pass": 3}
    lines = ["", f"decision: {outcome.upper()}"]
    for unit in dict.fromkeys(decision.unit for decision in decisions):
        own = sorted((d for d in decisions if d.unit == unit and d.required), key=lambda d: rank[d.outcome])
        if own:
            remedy = f" {own[0].remedy}" if own[0].remedy else ""
            said = f"  {unit}: {own[0].outcome}. {own[0].why}{remedy}"
            lines += textwrap.wrap(said, width, subsequent_indent="    ") if width else [said]
    return lines
