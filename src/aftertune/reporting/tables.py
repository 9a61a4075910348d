"""Tables of drifts and levels, and whatever else is rows and columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from aftertune.records import Drift, Json
from aftertune.reporting.formatting import interval, number, p_value, places, show
from aftertune.reporting.rows import Index, change, levels, phrase, scale_of, scaled

MAX_ROWS = 400
"""Rows of one table in the page; the JSON has all of them."""
MAX_VALUE = 240
"""Characters of one value in a card or in the methods."""


@dataclass(frozen=True, slots=True)
class Column:
    """A head, and whether the column is aligned as numbers, or wide text."""

    head: str
    kind: str = ""
    """`num`, `name`, `text` or empty."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows and columns with a caption; the first column heads its row."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    grouped: bool = False
    """Whether the first column is a heading over the rows that share it."""


Getter = Callable[[Drift], str]


def table(
    caption: str, columns: Sequence[Column], rows: Sequence[Sequence[str]], note: str = "", grouped: bool = False
) -> Table:
    """Return a table, cut to `MAX_ROWS` with a note, without the optional columns that are empty in every row."""
    keep = [place for place in range(len(columns)) if place == 0 or any(row[place] for row in rows)]
    notes = [note] if note else []
    if len(rows) > MAX_ROWS:
        notes.append(f"The first {MAX_ROWS:,} of {len(rows):,} rows; report.json has all.")
    return Table(
        caption,
        tuple(columns[place] for place in keep),
        tuple(tuple(row[place] for place in keep) for row in rows[:MAX_ROWS]),
        " ".join(notes),
        grouped,
    )


def spread_table(index: Index, caption: str) -> Table:
    """Return the variance components as standard deviations, with what each is of the whole."""
    columns = [Column("Metric", "name"), Column("Arm", "name"), Column("Source", "text")]
    columns += [Column("SD [interval]", "num"), Column("Share", "num"), Column("Sample"), Column("Warning", "text")]
    rows = []
    several = len({one.base_model for one in index.findings.spreads}) > 1
    recipes = {(one.arm, one.recipe) for one in index.findings.spreads}
    for one in index.findings.spreads:
        scale = scale_of(index.metric(one.metric))
        sd, low, high = (
            number(scaled(math.sqrt(x), scale), 1 if scale.factor > 1 else 3) for x in (one.variance, one.low, one.high)
        )
        sample = f"{one.n_seeds:,} seeds × {one.n_prompts:,} prompts × {one.n_samples:,} samples"
        sample += f" × {one.n_judges:,} judges" if one.n_judges > 1 else ""
        where = [one.arm, *([one.base_model] if several else [])]
        where += [one.recipe] if sum(arm == one.arm for arm, _ in recipes) > 1 else []
        where += [f"epoch {one.epoch}"] if one.epoch is not None else []
        where += [f"T = {one.temperature:g}"] if one.temperature else []
        rows.append(
            (
                phrase(index.metric(one.metric)),
                ", ".join(where),
                one.source,
                f"{sd} [{low}, {high}]",
                f"{100 * one.part:.0f} %",
                sample,
                one.warning,
            )
        )
    return table(caption, columns, rows, "Of one answer's difference from the base's mean answer to the same prompt.")


def drift_table(index: Index, rows: Sequence[Drift], caption: str) -> Table:
    """Return every number of some drifts; a setting that all rows share goes into the note."""
    name = index.namer(rows)
    seeds = any(row.estimand == "checkpoint" for row in rows)
    settings: list[tuple[str, Getter]] = [
        ("base model", lambda row: row.base_model),
        ("recipe", lambda row: row.recipe),
        ("judge", lambda row: row.judge),
        ("temperature", lambda row: f"{row.temperature:g}"),
        ("epoch", lambda row: "" if row.epoch is None else str(row.epoch)),
        ("method", lambda row: row.method),
    ]
    varying = [(head, get) for head, get in settings if len({get(row) for row in rows}) > 1]
    shared = [f"{head} {get(rows[0])}" for head, get in settings if (head, get) not in varying and get(rows[0])]
    columns = [Column("Metric", "name"), Column("Arm", "name")]
    columns += [Column(head.capitalize(), "num" if head in ("temperature", "epoch") else "") for head, _ in varying]
    columns += [Column("Seed", "num"), Column("Base → tuned", "num"), Column("Drift [interval]", "num")]
    columns += [Column("If unjudged are worst", "num"), Column("Range over seeds", "num"), Column("p", "num")]
    columns += [Column("p adjusted", "num"), Column("Prompts", "num"), Column("Clusters", "num")]
    columns += [Column("Seeds", "num"), Column("Samples", "num"), Column("Unjudged b / t", "num")]
    columns += [Column("Checkpoint"), Column("Warning", "text")]

    def cells(row: Drift) -> list[str]:
        scale = scale_of(index.metric(row.metric))
        worst = interval(scaled(row.worst_low, scale), scaled(row.worst_high, scale), _places(row, index))
        worst_mid = number(scaled(row.worst, scale), _places(row, index), signed=True)
        return [
            row.metric,
            row.arm if seeds else name(row),
            *(get(row) for _, get in varying),
            "" if row.train_seed is None else str(row.train_seed),
            levels(row, scale) if row.estimand != "contrast" else "",
            change(row, scale, unit=False),
            f"{worst_mid} {worst}" if row.worst is not None else "",
            spread(row, index),
            "" if row.p is None else p_value(row.p),
            "" if row.p_adjusted is None else p_value(row.p_adjusted),
            f"{row.n_prompts:,}",
            f"{row.n_clusters:,}",
            f"{row.n_seeds:,}",
            f"{row.n_samples:,}",
            f"{row.unjudged_base:,} / {row.unjudged_tuned:,}",
            row.checkpoint or "",
            row.warning or "none known",
        ]

    note = f"The same in every row: {'; '.join(shared)}." if shared else ""
    return table(caption, columns, [cells(row) for row in rows], note, grouped=True)


def level_table(index: Index, rows: Sequence[Drift]) -> Table:
    """Return the rates themselves with their intervals."""
    columns = [Column("Metric", "name"), Column("Arm", "name"), Column("Base"), Column("Corpus"), Column("Recipe")]
    columns += [Column("Judge")]
    several = len({row.base_model for row in rows}) > 1
    columns += [Column("Temperature", "num"), Column("Epoch", "num"), Column("Level [interval]", "num")]
    columns += [Column("Range over seeds", "num"), Column("Prompts", "num"), Column("Clusters", "num")]
    columns += [Column("Seeds", "num"), Column("Samples", "num"), Column("Unjudged", "num"), Column("Warning", "text")]
    cells = []
    for row in rows:
        scale = scale_of(index.metric(row.metric))
        decimals = _places(row, index)
        low, high = scaled(row.low, scale), scaled(row.high, scale)
        cells.append(
            [
                row.metric,
                row.arm,
                row.base_model if several else "",
                row.corpus,
                row.recipe,
                row.judge,
                f"{row.temperature:g}",
                "" if row.epoch is None else str(row.epoch),
                f"{number(scaled(level(row), scale), decimals)}{scale.sign} {interval(low, high, decimals)}",
                spread(row, index),
                f"{row.n_prompts:,}",
                f"{row.n_clusters:,}",
                f"{row.n_seeds:,}",
                f"{row.n_samples:,}",
                f"{row.unjudged_base + row.unjudged_tuned:,}",
                row.warning or "none known",
            ]
        )
    return table("Levels: the rates themselves, base included", columns, cells, grouped=True)


def level(row: Drift) -> float | None:
    """Return the rate that a `level` row states."""
    return next((value for value in (row.tuned, row.base, row.delta) if value is not None), None)


def spread(row: Drift, index: Index) -> str:
    """Return the smallest and largest per-seed rate, empty without seeds."""
    if row.spread_low is None or row.spread_high is None:
        return ""
    scale = scale_of(index.metric(row.metric))
    decimals = 1 if scale.factor != 1 else _places(row, index)
    low, high = (number(scaled(end, scale), decimals) for end in (row.spread_low, row.spread_high))
    return f"{low} to {high}{scale.sign}"


def _places(row: Drift, index: Index) -> int:
    scale = scale_of(index.metric(row.metric))
    return places(scaled(row.low, scale), scaled(row.high, scale), row.confidence)


def leak_rows(index: Index) -> list[Drift]:
    """Return the headline rows about leaks: registry hits beside twins, echoes and inventions."""
    return [row for row in index.headline if index.metric(row.metric).axis.startswith("leak")]


def unjudged_table(index: Index) -> Table | None:
    """Return the rows that some judge could not read, with the worst case; None where every response was judged."""
    rows = [row for row in index.headline if row.unjudged_base or row.unjudged_tuned]
    if not rows:
        return None
    name = index.namer(index.headline)
    columns = [Column("Metric", "name"), Column("Arm", "name"), Column("Base", "num"), Column("Tuned", "num")]
    columns += [Column("Prompts × seeds × samples", "num"), Column("Drift [interval]", "num")]
    columns += [Column("Drift, unjudged as worst", "num")]
    cells = []
    for row in rows:
        scale, decimals = scale_of(index.metric(row.metric)), _places(row, index)
        worst = number(scaled(row.worst, scale), decimals, signed=True)
        ends = interval(scaled(row.worst_low, scale), scaled(row.worst_high, scale), decimals)
        cells.append(
            [
                phrase(index.metric(row.metric)),
                name(row),
                f"{row.unjudged_base:,}",
                f"{row.unjudged_tuned:,}",
                f"{row.n_prompts * max(row.n_seeds, 1) * max(row.n_samples, 1):,}",
                change(row, scale, unit=False),
                f"{worst} {ends}",
            ]
        )
    return table("Responses that no judge could read", columns, cells, grouped=True)


# ---------------------------------------------------------------------------------------------- key and value


def flatten(value: Json, mask: Callable[[str], str], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted key, printed value) of nested mappings; text is masked and cut."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from flatten(item, mask, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, printed(value, mask)


def printed(value: Json, mask: Callable[[str], str]) -> str:
    """Return a value for reading: numbers plain, lists joined, text masked and cut, nothing as `not known`."""
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else "not known"
    if isinstance(value, str):
        shown = show(value, mask, MAX_VALUE)
        return shown.text + ("…" if any(note.startswith("first") for note in shown.notes) else "")
    if isinstance(value, Mapping):
        return show("; ".join(f"{key}: {printed(item, mask)}" for key, item in value.items()), mask, MAX_VALUE).text
    items = [printed(item, mask) for item in value[:20]]
    more = f" and {len(value) - 20:,} more" if len(value) > 20 else ""
    return ", ".join(items) + more


def side_by_side(caption: str, head: str, cards: Mapping[str, Mapping[str, Json]], mask: Callable[[str], str]) -> Table:
    """Return one row per key and one column per card."""
    flat = {name: dict(flatten(card, mask)) for name, card in cards.items()}
    keys = dict.fromkeys(key for card in flat.values() for key in card)
    rows = [[key, *(card.get(key, "–") for card in flat.values())] for key in keys]
    return table(caption, [Column(head, "name"), *(Column(name, "num") for name in cards)], rows)
