"""Many checks in a terminal: a matrix of arms and metrics that fits the window, failures first."""

from __future__ import annotations

from collections.abc import Sequence

from aftertune import direction
from aftertune.headline import subject
from aftertune.numbers import TEXT, count, row_decimals, scale_of
from aftertune.outcome import SEVERITY, words
from aftertune.records import Decision, Drift, Outcome

MANY = 24
"""Checks above which they stand in a matrix."""
SIGNS: dict[Outcome, str] = {"error": "X", "drift": "D", "unconfirmed": "B", "undecided": "?", "pass": "."}
"""In front of each change."""
WIDTH, HEIGHT = 100, 40
"""Columns and lines where there is no window."""
MOST_NAME = 28


def check_matrix(
    drifts: Sequence[Drift],
    decisions: Sequence[Decision],
    width: int | None = None,
    height: int | None = None,
    *,
    whole: bool = False,
) -> list[str]:
    """Return a line for each arm with a check that does not pass, a column for each metric that not every arm passes.

    A cell is a sign of the state and the change from the base, in points for shares. What has no room within `width`
    columns and `height` lines, and what passes, is counted below; with `whole` all rows are there, in as many blocks of
    columns as they need.
    """
    rows = {subject(row): row for row in drifts}
    worst: dict[tuple[str, str], Decision] = {}
    for decision in decisions:
        key = (decision.unit, decision.metric)
        if key not in worst or _rank(decision) < _rank(worst[key]):
            worst[key] = decision
    units = list(dict.fromkeys(unit for unit, _ in worst))
    metrics = list(dict.fromkeys(metric for _, metric in worst))

    def weight(own: Sequence[Decision]) -> list[int]:
        ranks = [_rank(decision) for decision in own]
        return [-ranks.count(rank) for rank in range(len(SEVERITY) - 1)]

    units.sort(key=lambda unit: weight([d for (u, _), d in worst.items() if u == unit]))
    metrics.sort(key=lambda metric: weight([d for (_, m), d in worst.items() if m == metric]))
    failing_units = [unit for unit in units if any(d.outcome != "pass" for (u, _), d in worst.items() if u == unit)]
    failing = [metric for metric in metrics if any(d.outcome != "pass" for (_, m), d in worst.items() if m == metric)]
    shown_units, columns = (units, metrics) if whole else (failing_units, failing)
    if not columns:
        return [
            f"all {len(worst):,} checks pass: {len(units):,} arms, {len(metrics):,} metrics (drift --all shows them)"
        ]
    width = width or WIDTH
    cells = {key: _cell(rows.get(subject(decision)), decision) for key, decision in worst.items()}
    size = max([len(cell) for cell in cells.values()] + [len(f"[{len(metrics)}]")]) + 2
    name = min(max(len(unit) for unit in shown_units), MOST_NAME, max(width // 3, 8))
    fit = max((width - name) // size, 1)
    lines_left = len(shown_units) if whole else max((height or HEIGHT) - len(columns) - 8, 5)
    numbers = {metric: place for place, metric in enumerate(columns, 1)}
    blocks = [columns[at : at + fit] for at in range(0, len(columns), fit)]
    lines: list[str] = []
    for block in blocks if whole else blocks[:1]:
        lines.append(" " * name + "".join(f"[{numbers[metric]}]".rjust(size) for metric in block))
        for unit in shown_units[:lines_left]:
            line = "".join(cells.get((unit, metric), "-").rjust(size) for metric in block)
            lines.append(_cut(unit, name).ljust(name) + line)
    lines.append(", ".join(f"{SIGNS[state]} {words(state)}" for state in SEVERITY[1:]))
    named = columns if whole else columns[:fit]
    lines += [f"[{numbers[metric]}] {metric}, {_worse(worst, metric)}" for metric in named]
    if not whole:
        lines += _left_off(units, failing_units, shown_units[:lines_left], metrics, failing, named)
    return lines


def _left_off(
    units: Sequence[str],
    failing_units: Sequence[str],
    shown: Sequence[str],
    metrics: Sequence[str],
    failing: Sequence[str],
    named: Sequence[str],
) -> list[str]:
    parts = []
    if len(failing_units) > len(shown):
        parts.append(f"{count(len(failing_units) - len(shown), 'more arm')} that fail a check or leave it open")
    if len(failing) > len(named):
        parts.append(f"{count(len(failing) - len(named), 'more metric')} that not every arm passes")
    if len(units) > len(failing_units):
        parts.append(f"{count(len(units) - len(failing_units), 'arm')} with every check passed")
    if len(metrics) > len(failing):
        parts.append(f"{count(len(metrics) - len(failing), 'metric')} that every arm passes")
    return [f"not shown: {'; '.join(parts)} (drift --all shows them)"] if parts else []


def _rank(decision: Decision) -> int:
    return SEVERITY.index(decision.outcome)


def _cell(row: Drift | None, decision: Decision) -> str:
    sign = SIGNS[decision.outcome]
    if row is None or row.delta is None:
        return f"{sign} none"
    scale = scale_of(row)
    return f"{sign} {TEXT.number(scale(row.delta), min(row_decimals(row, scale), 1), signed=True)}"


def _worse(worst: dict[tuple[str, str], Decision], metric: str) -> str:
    said = next((d.worse for (_, m), d in worst.items() if m == metric and d.worse), None)
    return direction.words(said) if said else "direction not known"


def _cut(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1] + "~"
