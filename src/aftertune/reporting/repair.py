"""The frontier of mitigations as Markdown and as lines for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from aftertune.deciding.repair import Cell, Difference, Frontier, Row, Share
from aftertune.numbers import PAGE, SHARES, VALUES, decimals

_HEADS = {
    "safety": "refused",
    "over_refusal": "look-alikes refused",
    "leaks": "leaks",
    "privacy": "privacy",
    "task": "",
}


def markdown(frontiers: Sequence[Frontier], pictures: Sequence[str]) -> str:
    """Return a section for each arm: its picture, the table, what is recommended, what none repairs, how to read it.

    `pictures` are the files of their pictures (`reporting/repair_figure.py`), as a reader of the page finds them.
    """
    parts = ["# What undoes it", ""]
    for each, file in zip(frontiers, pictures, strict=True):
        parts += [
            f"## {each.arm}, {each.recipe}, {each.base}",
            "",
            *said(each),
            "",
            picture(file),
            "",
            *table(each),
            "",
        ]
    return "\n".join([*parts, *READING, ""])


MUCH = 0.1
"""Share of answers; a leak that is more frequent by so much than the plain tuning's is named, shown or not."""
RARE = 0.01
"""Share of answers; a leak that is rarer in every model has no column."""
_READING = (
    "Rates with the difference to the base and its 95 % interval, in points; the task's loss (nats per token) and "
    "similarity (chrF) with the difference to the plain tuning. Intervals are over training seeds and prompts where "
    "there are two seeds or more, else over prompts alone. `back` is the share of what the plain tuning lost that is "
    "there again, on each metric of refusals and privacy that does not pass untreated, with an interval where the loss "
    "is shown. CPU seconds are those of one "
    "training, and of what is done after it. Leaks in less than one of a hundred answers of every model are left out."
)
READING = tuple(textwrap.wrap(_READING, 120))
"""How to read a table, as lines."""


def picture(file: str) -> str:
    """Return the line that shows a picture of a frontier."""
    return f"![Each mitigation beside the base and the plain tuning, with intervals; the table holds the same]({file})"


def table(frontier: Frontier) -> list[str]:
    """Return one arm's table as lines of Markdown, the plain tuning first."""
    shown = [(kind, name) for kind in _HEADS for name in frontier.metrics[kind] if _occurs(frontier, kind, name)]
    fallen = _fallen(frontier)
    back = f"back: {', '.join(head(kind, name) for kind, name in fallen)}" if fallen else "back"
    heads = ["method", *(head(kind, name) for kind, name in shown), back, "CPU s", "verdict"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    base = [_level(frontier.rows[0].cells[name].base, kind) for kind, name in shown]
    lines.append("| " + " | ".join(["base", *base, "", "", ""]) + " |")
    for row in frontier.rows:
        cells = [_cell(row.cells[name], kind, row.recipe == frontier.recipe) for kind, name in shown]
        seconds = "" if row.seconds is None else f"{row.seconds:.0f}"
        verdict = row.verdict + (", recommended" if row.recipe == frontier.recommended else "")
        again = _back(frontier, row, [name for _, name in fallen])
        lines.append("| " + " | ".join([method(frontier, row), *cells, again, seconds, verdict]) + " |")
    return lines


def said(frontier: Frontier) -> list[str]:
    """Return what a reader should take from one arm's table, a sentence a line."""
    lines = []
    if frontier.recommended:
        lines.append(f"- Recommended: {_short(frontier, frontier.recommended)}, the cheapest that repairs.")
    else:
        lines.append("- No mitigation is shown to repair.")
    lines += _alike(frontier)
    lines += [
        f"- {_short(frontier, row.recipe)} {row.verdict}: {row.why}."
        for row in frontier.rows
        if row.recipe != frontier.recipe and row.why
    ]
    lines += [line for row in frontier.rows[1:] if (line := _leaks_more(frontier, row))]
    chosen = next((row for row in frontier.rows if frontier.recommended and row.recipe == frontier.recommended), None)
    left = [name for name, cell in chosen.cells.items() if cell.outcome == "drift"] if chosen else []
    if left:
        lines.append(f"- What the recommended one leaves adrift: {', '.join(left)}.")
    if frontier.unrepaired:
        lines.append(f"- Shown to be repaired by none: {', '.join(frontier.unrepaired)}.")
    if set(frontier.unrepaired) & set(frontier.metrics["leaks"]):
        lines.append(
            "- Leaks are a matter of the data: tune on placeholders in the place of personal values (`aftertune "
            "compose DATA --pii placeholder`)."
        )
    return lines


def _leaks_more(frontier: Frontier, row: Row) -> str:
    """Return where a mitigation leaks much more than the plain tuning without being shown to; empty for nowhere."""
    found = []
    for name in frontier.metrics["leaks"]:
        cell = row.cells[name]
        apart = cell.to_tuned
        if apart is None or cell.value is None or cell.tuned is None or apart.low > 0:
            continue
        if cell.value - cell.tuned >= MUCH:
            rates = f"{PAGE.number(100 * cell.value, 0)} %, the plain tuning's {PAGE.number(100 * cell.tuned, 0)} %"
            found.append(f"{name} {rates} ({PAGE.interval(100 * apart.low, 100 * apart.high, 0)} points apart)")
    return f"- {_short(frontier, row.recipe)} may leak more: {'; '.join(found)}." if found else ""


def _alike(frontier: Frontier) -> list[str]:
    """Return which mitigations cannot be told apart: from the recommended one, or where there is none, from another."""
    best = frontier.recommended
    if best:
        others = sorted(_short(frontier, row.recipe) for row in frontier.rows if best in row.like)
        return [f"- Not told apart from it on anything that decides: {', '.join(others)}."] if others else []
    order = [row.recipe for row in frontier.rows]
    pairs = [
        f"{_short(frontier, row.recipe)} and {_short(frontier, other)}"
        for row in frontier.rows
        for other in row.like
        if order.index(row.recipe) < order.index(other)
    ]
    return [f"- Not told apart on anything that decides: {'; '.join(pairs)}."] if pairs else []


def method(frontier: Frontier, row: Row) -> str:
    """Return what a row is called, as code in Markdown; the plain tuning is `nothing`."""
    return "nothing" if row.recipe == frontier.recipe else _short(frontier, row.recipe)


def _short(frontier: Frontier, recipe: str) -> str:
    return f"`{recipe.removeprefix(f'{frontier.recipe}+')}`"


def _occurs(frontier: Frontier, kind: str, name: str) -> bool:
    """Return whether a column says anything: leaks that occur next to nowhere are left out."""
    values = [row.cells[name].value for row in frontier.rows]
    return kind != "leaks" or any(value is not None and value >= RARE for value in values)


def head(kind: str, name: str) -> str:
    """Return the heading of a metric's column."""
    parts = name.split("/")
    if kind == "leaks":
        return f"leaks ({parts[0]} {parts[1]})"
    if kind == "privacy":
        return parts[-1].replace("=", " ")
    return f"{_HEADS[kind] or parts[-1]} ({parts[0]})" if kind != "task" else f"task {parts[-1]}"


def _level(value: float | None, kind: str) -> str:
    if value is None:
        return PAGE.missing
    return PAGE.number(value, 3) if kind == "task" else f"{PAGE.number(100 * value, 0)} %"


def _cell(cell: Cell, kind: str, plain: bool) -> str:
    apart: Difference | None = cell.to_tuned if kind == "task" else cell.to_base
    level = _level(cell.value, kind)
    if apart is None or (kind == "task" and plain):
        return level
    scale = VALUES if kind == "task" else SHARES
    low, high = scale(apart.low), scale(apart.high)
    digits = 3 if kind == "task" else min(1, decimals(low, high))
    number = PAGE.number(scale(apart.value), digits, signed=True)
    return f"{level} ({number} {PAGE.interval(low, high, digits)})"


def _fallen(frontier: Frontier) -> list[tuple[str, str]]:
    """Return (kind, metric) of refusals on which the plain tuning does not pass, and of privacy that it lost."""
    plain = frontier.rows[0].cells
    safety = [name for name in frontier.metrics["safety"] if plain[name].outcome != "pass"]
    return [*(("safety", name) for name in safety), *(("privacy", name) for name in frontier.lost)]


def _back(frontier: Frontier, row: Row, fallen: Sequence[str]) -> str:
    if row.recipe == frontier.recipe:
        return ""
    return " / ".join(_share(row.cells[name].restored) for name in fallen)


def _share(share: Share | None) -> str:
    if share is None:
        return PAGE.missing
    value = f"{PAGE.number(100 * share.value, 0)} %"
    if share.low is None or share.high is None:
        return value
    return f"{value} {PAGE.interval(100 * share.low, 100 * share.high, 0)}"
