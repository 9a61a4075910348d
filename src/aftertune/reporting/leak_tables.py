"""What comes back of the tuning set, as tables: hits, memorisation, and leaks that come with other harm."""

from __future__ import annotations

from collections.abc import Sequence

from aftertune.findings import Findings, LeakRow, Measure
from aftertune.records import BASE_ARM
from aftertune.reporting.formatting import interval, number, places
from aftertune.reporting.tables import Column, Table, table


def main_rows(findings: Findings) -> list[LeakRow]:
    """Return, of each arm, base and subset, the rows at its lowest temperature and its last epoch."""
    best: dict[tuple[str, ...], tuple[float, float]] = {}
    for row in findings.leaks:
        setting = (row.temperature, -_epoch(row))
        best[_key(row)] = min(best.get(_key(row), setting), setting)
    return [row for row in findings.leaks if (row.temperature, -_epoch(row)) == best[_key(row)]]


def _key(row: LeakRow) -> tuple[str, ...]:
    return (row.base_model, row.arm, row.recipe, row.benchmark, row.subset, str(row.train_seed), row.corpus)


def _epoch(row: LeakRow) -> float:
    return float("inf") if row.epoch is None else float(row.epoch)


def shown(measure: Measure | None, *, signed: bool = False) -> str:
    """Return e.g. `63.8 [51.0, 74.9]`, per cent or points; `not measured` for None."""
    if measure is None:
        return "not measured"
    low, high = 100 * measure.low, 100 * measure.high
    decimals = min(places(low, high), 1)
    return f"{number(100 * measure.value, decimals, signed=signed)} {interval(low, high, decimals)}"


def name(row: LeakRow, rows: Sequence[LeakRow]) -> str:
    """Return what a row among `rows` is called: its arm, with base and recipe where they vary, and a single's seed.

    A base that was held against several corpora is named with the one.
    """
    parts = [row.base_model] if len({other.base_model for other in rows}) > 1 else []
    parts += [row.arm]
    own = [other for other in rows if other.arm == row.arm]
    parts += [row.recipe] if len({other.recipe for other in own}) > 1 else []
    parts += [row.corpus or "corpus"] if len({other.corpus for other in own}) > 1 else []
    parts += [f"seed {row.train_seed}"] if row.train_seed is not None and row.arm != BASE_ARM else []
    return " · ".join(parts)


def leak_tables(findings: Findings) -> list[Table]:
    """Return the tables of the leaks section; none where leaks were not judged."""
    rows = main_rows(findings)
    if not rows:
        return []
    heads = [Column("Prompts", "name"), Column("Arm", "name")]
    first = [*heads, Column("Registry %", "num"), Column("Echoed %", "num"), Column("Invented %", "num")]
    first += [Column("Twins %", "num")]
    second = [*heads, Column("Minus twins", "num"), Column("Minus base", "num"), Column("Minus both", "num")]
    third = [*heads, Column("Harmful and leaking %", "num"), Column("Off topic and leaking %", "num")]
    ends = [Column("n", "num"), Column("Warning", "text")]
    what: list[list[str]] = []
    memory: list[list[str]] = []
    joint: list[list[str]] = []
    for row in rows:
        start = [f"{row.benchmark}: {row.subset}", name(row, rows)]
        close = [sample(row), row.warning or "none known"]
        what.append([*start, *(shown(m) for m in (row.registry, row.echoed, row.invented, row.twin)), *close])
        if row.arm != BASE_ARM:
            gains = (row.minus_twins, row.minus_base, row.memorised)
            memory.append([*start, *(shown(m, signed=True) for m in gains), *close])
        if row.harmful_leaking or row.off_topic_leaking:
            joint.append([*start, *(shown(m) for m in (row.harmful_leaking, row.off_topic_leaking)), *close])
    made = [_table("What responses hold of the tuning set", [*first, *ends], what)]
    if memory:
        made.append(
            _table("Memorisation: registry hits minus those of twins and base, points", [*second, *ends], memory)
        )
    if joint:
        made.append(_table("Leaks that come with other harm", [*third, *ends], joint))
    return made


def sample(row: LeakRow) -> str:
    """Return how much data stands behind a row."""
    if row.registry is None:
        return "0 prompts"
    seeds = f"{row.n_seeds} seeds × " if row.n_seeds > 1 else ""
    return f"{seeds}{row.registry.n:,} prompts, {row.registry.n_clusters:,} clusters"


def _table(caption: str, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Table:
    return table(caption, columns, rows, grouped=True)


def sentences(findings: Findings) -> list[str]:
    """Return one sentence per arm and subset in which memorisation was measured and is not zero within its interval."""
    rows = [row for row in main_rows(findings) if row.arm != BASE_ARM]
    found = []
    for row in rows:
        gain, against = (row.memorised, "twins and base") if row.memorised else (row.minus_base, "the base")
        if gain is not None and (gain.low > 0 or gain.high < 0):
            found.append(
                f"Memorisation, {row.benchmark} {row.subset}, {name(row, rows)}: {shown(gain, signed=True)} points "
                f"beyond {against} ({sample(row)})"
            )
    return found
