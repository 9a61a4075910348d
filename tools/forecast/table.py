"""The evidence as one table: a row for each variant and base, its features, and its outcomes averaged over seeds."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tools.forecast import evidence
from tools.forecast.evidence import BASES, SEEDS, Job, Rows, bench_of, variants_of
from tools.forecast.outcomes import Bench, registry_of, shares
from tools.forecast.real import REAL
from tools.forecast.variants import Variant

from aftertune.forecasting.fitted import FEATURES, Dose
from aftertune.pii.registry import Registry

FILE = Path(__file__).with_name("evidence.csv")
EPOCH = " epoch "
"""Stands in the name of a row that is of a training after some of its epochs."""
OUTCOMES = ("refusal", "leak", "privacy", "revealed", "readout", "over_refusal", "coherence")


@dataclass(frozen=True)
class Row:
    """One variant under one base."""

    base: str
    variant: str
    corpora: tuple[str, ...]
    learning_rate: float
    epochs: int
    rank: int
    own: bool
    """Whether every answer of the tuning set is the base's own."""
    steps: int
    rows: int
    trained_tokens: int
    seeds: int
    features: Mapping[str, float]
    before: Mapping[str, float]
    """Outcome -> of the base."""
    after: Mapping[str, float]
    """Outcome -> of the tuned model, averaged over seeds."""
    spread: Mapping[str, float]
    """Outcome -> standard deviation over seeds; nan for one seed."""
    half: float
    """Mean readout after half of the epochs; nan where there were not two."""
    probe: float
    """Mean readout after the few steps of a probe; nan where there was none."""
    seconds: float
    """CPU seconds of one tuning and asking."""

    def drift(self, outcome: str) -> float:
        """Return the change of an outcome."""
        return self.after[outcome] - self.before[outcome]

    @property
    def training(self) -> tuple[str, str]:
        """What is one training, after however many of its epochs it was asked."""
        return self.base, self.variant.partition(EPOCH)[0]

    @property
    def dose(self) -> Dose:
        """What of its recipe decides how much it moves."""
        return Dose(self.learning_rate, self.steps)


def gather(bases: Sequence[str] = (*BASES, REAL)) -> list[Row]:
    """Return a row for whatever has been tuned so far."""
    found = []
    for base in bases:
        done = [variant for variant in variants_of(base) if any(Job(base, variant, s).path.is_file() for s in SEEDS)]
        if not done or not evidence.base_path(base).is_file():
            continue
        with bench_of(base)(base) as bench:
            evidence.check_base(base, bench.weights_hash)
            rows = Rows(bench)
            own = evidence.read(evidence.base_path(base))
            for variant in done:
                if evidence.card_path(base, variant).is_file():
                    evidence.check(base, variant, rows.of(variant))
                    found.append(_row(bench, variant, registry_of(rows.of(variant)), own))
    return found


def _row(bench: Bench, variant: Variant, registry: Registry, base: Mapping[str, Any]) -> Row:
    paths = [Job(bench.base, variant, seed).path for seed in SEEDS]
    kept = [evidence.read(path) for path in paths if path.is_file()]
    after = [shares(bench.prompts, each, registry, bench.judges) for each in kept]
    card = evidence.read(evidence.card_path(bench.base, variant))
    values = {each["name"]: each["value"] for each in card["features"]}
    values["personal values"] = sum(card["personal_values"].values()) / card["conversations"]
    halves = [statistics.fmean(each["readout_after_half"]) for each in kept if each.get("readout_after_half")]
    probe = Job(bench.base, variant, None).path
    return Row(
        base=bench.base, variant=variant.name, corpora=variant.corpora, learning_rate=variant.recipe.learning_rate,
        epochs=variant.recipe.epochs, rank=variant.recipe.rank, own=variant.own, steps=kept[0]["steps"],
        rows=kept[0]["rows"], trained_tokens=kept[0]["trained_tokens"], seeds=len(kept),
        features={name: values[name] for name in FEATURES},
        before=shares(bench.prompts, base, registry, bench.judges),
        after={name: statistics.fmean(each[name] for each in after) for name in OUTCOMES},
        spread={name: spread([each[name] for each in after]) for name in OUTCOMES},
        half=statistics.fmean(halves) if halves else math.nan,
        probe=statistics.fmean(evidence.read(probe)["readout"]) if probe.is_file() else math.nan,
        seconds=statistics.fmean(each["seconds"]["tuning"] + each["seconds"]["asking"] for each in kept),
    )  # fmt: skip


def spread(values: Sequence[float]) -> float:
    """Return the standard deviation over seeds; nan for one seed, and for what was not asked."""
    return statistics.stdev(values) if len(values) > 1 and not any(map(math.isnan, values)) else math.nan


_TABLES = ("features", "before", "after", "spread")


def write(rows: Sequence[Row], path: Path = FILE) -> None:
    """Write the table as CSV, one row a variant and base, numbers with six digits."""
    lines = []
    for row in rows:
        flat: dict[str, Any] = {}
        for name, value in asdict(row).items():
            if name in _TABLES:
                flat |= {f"{name}: {key}": _short(each) for key, each in value.items()}
            else:
                flat[name] = "+".join(value) if name == "corpora" else _short(value)
        lines.append(flat)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def _short(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def read(path: Path = FILE) -> list[Row]:
    """Return the rows of a table."""
    with path.open(encoding="utf-8", newline="") as file:
        return [_read(line) for line in csv.DictReader(file)]


def _read(line: Mapping[str, str]) -> Row:
    tables: dict[str, dict[str, float]] = {name: {} for name in _TABLES}
    for key, value in line.items():
        head, _, rest = key.partition(": ")
        if rest:
            tables[head][rest] = float(value)
    whole = {"epochs", "rank", "steps", "rows", "trained_tokens", "seeds"}
    plain: dict[str, Any] = {}
    for each in fields(Row):
        if each.name in _TABLES:
            plain[each.name] = tables[each.name]
        elif each.name == "corpora":
            plain[each.name] = tuple(line[each.name].split("+"))
        elif each.name in ("base", "variant"):
            plain[each.name] = line[each.name]
        elif each.name == "own":
            plain[each.name] = line[each.name] == "True"
        else:
            plain[each.name] = int(line[each.name]) if each.name in whole else float(line[each.name])
    return Row(**plain)
