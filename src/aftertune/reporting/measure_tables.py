"""What no share of responses shows, as tables: d-prime and its like, membership inference, exposure of canaries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from aftertune.findings import Findings
from aftertune.records import Json
from aftertune.reporting.formatting import interval, number, places
from aftertune.reporting.tables import Column, Table, table

ATTACKS = {"ratio": "loss against the base's", "loss": "loss alone"}
"""Attack -> what it calls a member by; the better one first."""


def measure_tables(findings: Findings) -> list[Table]:
    """Return one table per benchmark whose answers make more than shares; none where none does."""
    columns = [Column("Measure", "name"), Column("Model", "name"), Column("T", "num")]
    columns += [Column("Value [interval]", "num"), Column("Change from the base [interval]", "num")]
    columns += [Column("Answers", "num"), Column("Clusters", "num"), Column("Unread", "num"), Column("Warning", "text")]
    made = []
    for benchmark in dict.fromkeys(each.benchmark for each in findings.measures):
        rows = [
            [
                each.name,
                each.unit,
                f"{each.temperature:g}",
                _bounded(each.value, each.low, each.high),
                "" if each.change is None else _bounded(each.change, each.change_low, each.change_high, signed=True),
                f"{each.n:,}",
                f"{each.n_clusters:,}",
                f"{each.unread:,}",
                each.warning or "none known",
            ]
            for each in findings.measures
            if each.benchmark == benchmark
        ]
        made.append(table(f"{benchmark}: what no share of answers shows", columns, rows, grouped=True))
    return made


def memory_tables(findings: Findings) -> list[Table]:
    """Return membership inference and exposure of canaries by checkpoint; none where no text was scored."""
    members, canaries = list(_membership(findings)), list(_canaries(findings))
    made = []
    if members:
        columns = [Column("Checkpoint", "name"), Column("Told by", "text"), Column("AUC [interval]", "num")]
        columns += [Column("Found at 1 % false alarms, % [interval]", "num"), Column("Members", "num")]
        columns += [Column("Non-members", "num"), Column("Warning", "text")]
        note = "An AUC of 0.5 is chance. Members are rows that were tuned on, non-members rows that were held out."
        made.append(table("Can rows of the tuning set be told from held-out ones?", columns, members, note, True))
    if canaries:
        columns = [Column("Checkpoint", "name"), Column("Told by", "text"), Column("Planted", "text")]
        columns += [Column("Exposure, bits [interval]", "num"), Column("At most", "num")]
        columns += [Column("Found at 1 % false alarms, % [interval]", "num"), Column("Canaries", "num")]
        columns += [Column("Twins", "num"), Column("Warning", "text")]
        note = "A model that knows nothing has an exposure of about 1.44 bits; so have twins held against each other."
        made.append(table("Exposure of planted canaries", columns, canaries, note, True))
    return made


def _membership(findings: Findings) -> Iterator[list[str]]:
    for name, about in _checkpoints(findings):
        found = about.get("membership")
        if not isinstance(found, Mapping):
            continue
        for attack, words in ATTACKS.items():
            result = found.get(attack)
            if not isinstance(result, Mapping):
                continue
            auc, tpr = _of(result, "auc"), _of(result, "tpr")
            area = _bounded(_float(auc, "value"), _float(auc, "low"), _float(auc, "high"))
            yield [name, words, area, _rate(tpr), _count(auc, "n"), _count(auc, "n_null"), _why(tpr)]


def _canaries(findings: Findings) -> Iterator[list[str]]:
    for name, about in _checkpoints(findings):
        found = about.get("canaries")
        if not isinstance(found, Mapping):
            continue
        rows = [
            (words, f"{dose} times" if dose != "1" else "once", result)
            for attack, words in ATTACKS.items()
            for dose, result in sorted(_of(found, attack).items(), key=lambda pair: int(pair[0]))
        ]
        for words, planted, result in [*rows, (ATTACKS["ratio"], "never (twins)", found.get("null"))]:
            if isinstance(result, Mapping):
                bits = _bounded(_float(result, "exposure"), _float(result, "low"), _float(result, "high"))
                most = number(_float(result, "most"), 1)
                tpr = _of(result, "tpr")
                yield [
                    name, words, planted, bits, most, _rate(tpr), _count(result, "n"), _count(result, "n_null"),
                    _why(tpr),
                ]  # fmt: skip


def _checkpoints(findings: Findings) -> Iterator[tuple[str, Mapping[str, Json]]]:
    for name, about in findings.memorisation.items():
        if isinstance(about, Mapping):
            yield name, about


def _of(found: Mapping[str, Json], key: str) -> Mapping[str, Json]:
    value = found.get(key)
    return value if isinstance(value, Mapping) else {}


def _float(found: Mapping[str, Json], key: str) -> float | None:
    value = found.get(key)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _count(found: Mapping[str, Json], key: str) -> str:
    value = found.get(key)
    return f"{value:,}" if isinstance(value, int) else "–"


def _why(found: Mapping[str, Json]) -> str:
    why = found.get("why")
    return why if isinstance(why, str) and why else "none known"


def _rate(found: Mapping[str, Json]) -> str:
    value, low, high = (_float(found, key) for key in ("value", "low", "high"))
    if value is None:
        return "not measured"
    low, high = (None if end is None else 100 * end for end in (low, high))
    decimals = min(places(low, high), 1)
    return f"{number(100 * value, decimals)} {interval(low, high, decimals)}"


def _bounded(value: float | None, low: float | None, high: float | None, signed: bool = False) -> str:
    if value is None:
        return "not measured"
    decimals = places(low, high)
    return f"{number(value, decimals, signed=signed)} {interval(low, high, decimals)}"
