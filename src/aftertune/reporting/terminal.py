"""A run's result as a few lines of text for a terminal."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence

from aftertune.deciding import discrimination
from aftertune.findings import Discrimination, ThoughtRow
from aftertune.headline import headline, shown_only
from aftertune.naming import Names, Unit, row_names
from aftertune.numbers import NOT_MEASURED, TEXT, Scale, row_decimals, scale_of
from aftertune.outcome import SEVERITY, with_words, words
from aftertune.records import Decision, Drift, Outcome
from aftertune.reporting.terminal_matrix import MANY, check_matrix

HEAD = "refusals of harmful and of harmless requests (d-prime: 0 refused alike, 1 told apart fairly, 2 well):"
MOST_UNITS = 8
"""Arms or checkpoints with a line of their own."""
HEADS = ("metric", "arm", "worse", "base", "tuned", "drift", "interval", "prompts", "seeds")


def drift_table(drifts: Sequence[Drift], decisions: Sequence[Decision], width: int | None = None) -> list[str]:
    """Return the headline as a table: rates in per cent, drift in points (means of values as they are).

    `worse` is the direction that is worse, `up` or `down`.

    Where the table is wider than `width` columns, each metric has a line of its own above its rows; where these are
    too wide as well, each row is a sentence.
    """
    rows = headline(drifts, decisions)
    if not rows:
        return ["no drift could be estimated"]
    name = row_names(rows)
    scales = {row.metric: scale_of(*(other for other in drifts if other.metric == row.metric)) for row in rows}
    cells = [_cells(row, name(row), scales[row.metric]) for row in rows]
    sizes = [max(map(len, column)) for column in zip(HEADS, *cells, strict=True)]
    if width is None or sum(sizes) + 2 * len(sizes) - 2 <= width:
        return [_line(line, sizes) for line in (HEADS, *cells)]
    narrow = sum(sizes[1:]) + 2 * len(sizes) - 2 > width
    lines = [] if narrow else ["  " + _line(HEADS[1:], sizes[1:])]
    last = ""
    for metric, *rest in cells:
        if metric != last:
            lines.append(last := metric)
        if narrow:
            arm, *numbers = rest
            text = ", ".join(f"{head} {cell}" for head, cell in zip(HEADS[2:], numbers, strict=True))
            lines += textwrap.wrap(f"  {arm}: {text}", width, subsequent_indent="    ")
        else:
            lines.append("  " + _line(rest, sizes[1:]))
    return lines


def result_table(
    drifts: Sequence[Drift],
    decisions: Sequence[Decision],
    width: int | None = None,
    height: int | None = None,
    *,
    whole: bool = False,
) -> list[str]:
    """Return the table of drifts, or, where there are many checks, the matrix that fits the window.

    With `whole` every row is there: of many checks the matrix in full, then the table.
    """
    said = _shown_only(drifts, decisions, width)
    if len(decisions) <= MANY:
        return [*drift_table(drifts, decisions, width), *said]
    matrix = check_matrix(drifts, decisions, width, height, whole=whole)
    return [*matrix, *(["", *drift_table(drifts, decisions, width)] if whole else []), *said]


def _shown_only(drifts: Sequence[Drift], decisions: Sequence[Decision], width: int | None) -> list[str]:
    """Return which metrics no decision is about since their judge is known to be near chance."""
    found = shown_only(headline(drifts, decisions))
    lines = [f"not decided: {', '.join(metrics)}: {why}" for why, metrics in found.items()]
    return [
        part for line in lines for part in (textwrap.wrap(line, width, subsequent_indent="  ") if width else [line])
    ]


def _cells(row: Drift, name: str, scale: Scale) -> list[str]:
    digits = row_decimals(row, scale)
    base, tuned = (TEXT.number(scale(value), digits) for value in (row.base, row.tuned))
    drift, interval = TEXT.missing, NOT_MEASURED
    if row.delta is not None:
        drift = TEXT.number(scale(row.delta), digits, signed=True)
        interval = TEXT.interval(scale(row.low), scale(row.high), digits)
    return [
        row.metric,
        name,
        row.worse,
        base,
        tuned,
        drift,
        interval,
        f"{row.n_prompts:,}",
        str(row.n_seeds or TEXT.missing),
    ]


def _line(cells: Sequence[str], sizes: Sequence[int]) -> str:
    """Return cells in columns: names and intervals to the left, numbers to the right."""
    texts = len(cells) - 6
    padded = [
        cell.ljust(size) if i < texts or i == texts + 3 else cell.rjust(size)
        for i, (cell, size) in enumerate(zip(cells, sizes, strict=True))
    ]
    return "  ".join(padded).rstrip()


def discrimination_lines(
    rows: Sequence[Discrimination], unpaired: Sequence[str] = (), *, whole: bool = True
) -> list[str]:
    """Return how far each model's refusals tell harmful requests from harmless ones, and what each base has to lose.

    Of a base whose refusals are not clearly about harm that is a warning of the run, and not repeated here. `unpaired`:
    metrics of harmful requests without harmless ones beside them. Of more than `MOST_UNITS` models those whose d-prime
    fell most are there, and the others are counted, unless `whole`.
    """
    shown = discrimination.leading(rows)
    left = 0
    if len(shown) > MOST_UNITS and not whole:
        left = len(shown) - MOST_UNITS
        fallen = sorted(shown, key=lambda row: (row.change is not None, row.change or 0.0))[:MOST_UNITS]
        shown = [row for row in shown if row in fallen]
    lines = [HEAD] if shown else []
    names = Names(map(Unit.of, shown))
    for row in shown:
        text = f"  {row.suite}, {names(Unit.of(row))}: {discrimination.numbers(row, TEXT)}"
        if row.change is not None:
            text += f", change {discrimination.change(row, TEXT)}"
        lines.append(f"{text} ({discrimination.sample(row)})" if row.d_prime is not None else text)
    lines += [f"  {left:,} more models (drift --all shows them)"] if left else []
    lines += [f"  {each}" for each in discrimination.sentences(rows, clear=True)]
    missing = discrimination.hint(unpaired)
    return [*lines, *([missing] if missing else [])]


def thought_lines(thoughts: Sequence[ThoughtRow]) -> list[str]:
    """Return how many responses of each model have a thought, and how many have no answer after it."""
    return [
        f"thoughts: {row.unit}, {row.benchmark}{f', T = {row.temperature:g}' if row.temperature else ''}: "
        f"{row.with_thought:,} of {row.responses:,} responses have one; {row.unanswered:,} ({100 * row.lost:.1f} %) "
        "end inside it and are unjudged"
        for row in thoughts
        if row.with_thought
    ]


def decision_lines(
    outcome: Outcome, decisions: Sequence[Decision], width: int | None = None, *, whole: bool = True
) -> list[str]:
    """Return the decision and, per unit, a sentence that decided it and for how many checks it stands.

    Lines are wrapped at `width` columns. Of the optional checks those count that decide: a drift and an error. Of more
    than `MOST_UNITS` units, those that decide come first, and the others are counted unless `whole`.
    """
    identifier, _, meaning = with_words(outcome).partition(" ")
    lines = ["", f"decision: {identifier.upper()} {meaning}".rstrip()]
    by_unit: dict[str, list[Decision]] = {}
    for decision in decisions:
        if decision.required or decision.outcome in ("error", "drift"):
            by_unit.setdefault(decision.unit, []).append(decision)
    units, left = list(by_unit), ""
    if len(units) > MOST_UNITS and not whole:
        units.sort(key=lambda unit: min(SEVERITY.index(d.outcome) for d in by_unit[unit]))
        units, rest = units[:MOST_UNITS], units[MOST_UNITS:]
        worst_of = Counter(min((d.outcome for d in by_unit[unit]), key=SEVERITY.index) for unit in rest)
        told = ", ".join(f"{worst_of[each]:,} {words(each)}" for each in SEVERITY if worst_of[each])
        left = f"  {len(rest):,} more: {told} (drift --all shows them)"
    for unit in units:
        own = by_unit[unit]
        worst = min((d.outcome for d in own), key=SEVERITY.index)
        hits = [d for d in own if d.outcome == worst]
        first = next((d for d in hits if d.required), hits[0])
        remedy = f" {first.remedy}" if first.remedy else ""
        optional = "" if first.required else " (optional)"
        among = f" ({len(hits):,} of {len(own):,} checks)" if len(own) > 1 else ""
        text = f"  {unit}: {words(worst)}{among}. {first.metric}{optional}: {first.why}{remedy}"
        lines += textwrap.wrap(text, width, subsequent_indent="    ") if width else [text]
    return [*lines, left] if left else lines
