"""Which drifts are the headline, what they are called, and which decision belongs to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from aftertune.findings import Findings
from aftertune.records import Decision, Drift, Metric, Worse
from aftertune.reporting.formatting import MINUS, interval, number, places

Facet = tuple[str, Callable[[Drift], object]]
FACETS: tuple[Facet, ...] = (
    ("base", lambda row: row.base_model),
    ("recipe", lambda row: row.recipe),
    ("judge", lambda row: row.judge),
)
"""Factors that tell headline rows of one arm apart; a name shows those that vary."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How a metric's numbers are printed: shares as per cent and points, means of values as they are."""

    factor: float
    unit: str
    """Behind a difference."""
    sign: str
    """Behind a level."""


SHARES = Scale(100.0, " points", " %")
VALUES = Scale(1.0, "", "")


def scale_of(metric: Metric) -> Scale:
    """Return the scale of a metric: a share where it has a label, else a mean of values."""
    return SHARES if metric.label is not None else VALUES


def metric_of(name: str, worse: Worse) -> Metric:
    """Read a metric back from its name, for one that the findings do not describe."""
    benchmark, _, rest = name.partition("/")
    subset, _, end = rest.partition("/")
    axis, equals, label = end.partition("=")
    return Metric(benchmark, subset, axis or name, label if equals else None, worse)


class Index:
    """The findings' drifts and decisions, sorted out for showing."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self._metrics = {metric.name: metric for metric in findings.metrics}
        gated = dict.fromkeys(decision.metric for decision in findings.decisions)
        order = [*(m.name for m in findings.metrics), *(row.metric for row in findings.drifts), *gated]
        names = dict.fromkeys(sorted(dict.fromkeys(order), key=lambda name: name not in gated))
        for row in findings.drifts:
            self._metrics.setdefault(row.metric, metric_of(row.metric, row.worse))
        for name in names:
            self._metrics.setdefault(name, metric_of(name, "up"))
        self.gated = set(gated)
        self.names = list(names)
        """Metrics in the order of the page: gated ones first."""
        self._decisions = {_key(decision): decision for decision in findings.decisions}
        moves = [row for row in findings.drifts if row.estimand in ("recipe", "checkpoint")]
        strong = {_group(row) for row in moves if row.estimand == "recipe"}
        self.moves = [row for row in moves if row.estimand == "recipe" or _group(row) not in strong]
        """The strongest estimand of each arm and metric: recipe where there is one, else checkpoint."""
        listened = {(row.metric, row.judge) for row in self.moves if self.decision(row)}
        decided = {metric for metric, _ in listened}
        heard = [r for r in self.moves if r.metric not in decided or (r.metric, r.judge) in listened]
        self.headline = self.order(main_setting(heard))
        """Of several judges of a metric, the one that the gate listens to; the others stand in the tables."""
        self._rows: dict[tuple[object, ...], Drift] = {}
        for row in reversed(self.headline):
            if decision := self.decision(row):
                self._rows[_key(decision)] = row
        contrasts = [
            row
            for row in findings.drifts
            if row.estimand == "contrast" and (row.metric not in decided or (row.metric, row.judge) in listened)
        ]
        self.contrasts = self.order(main_setting(contrasts))

    def metric(self, name: str) -> Metric:
        """Return the metric of that name."""
        return self._metrics[name]

    def order(self, rows: Iterable[Drift]) -> list[Drift]:
        """Return rows by metric in the page's order; within a metric as they came."""
        rank = {name: place for place, name in enumerate(self.names)}
        return sorted(rows, key=lambda row: rank[row.metric])

    def decision(self, row: Drift) -> Decision | None:
        """Return the gate's word on a row, where the gate looked at it."""
        return self._decisions.get(_key(row))

    def row(self, decision: Decision) -> Drift | None:
        """Return the headline row that a decision speaks of."""
        return self._rows.get(_key(decision))

    def namer(self, rows: Sequence[Drift]) -> Callable[[Drift], str]:
        """Return a function that names a row among `rows` by its arm and by whatever else varies within a metric."""
        by_metric: dict[str, list[Drift]] = {}
        for row in rows:
            by_metric.setdefault(row.metric, []).append(row)
        varying = [get for _, get in FACETS if any(len(set(map(get, group))) > 1 for group in by_metric.values())]
        plain = {(row.metric, row.arm, *(get(row) for get in varying)) for row in rows}
        crowded = len(plain) < len(rows)

        def name(row: Drift) -> str:
            parts = [row.arm, *(str(get(row)) for get in varying if get(row))]
            if crowded and row.estimand == "checkpoint":
                parts += [f"seed {row.train_seed}"] if row.train_seed is not None else []
                parts += [f"epoch {row.epoch}"] if row.epoch is not None else []
                parts += [row.checkpoint] if row.checkpoint and len(parts) == 1 else []
            return " · ".join(parts)

        return name


def _key(found: Decision | Drift) -> tuple[object, ...]:
    """Return what a decision and the drift that it decides on have in common."""
    place = (found.base_model, found.arm, found.recipe, found.checkpoint, found.epoch, found.temperature, found.judge)
    return (found.metric, found.estimand, *place)


def _group(row: Drift) -> tuple[str, ...]:
    return (row.metric, row.arm, row.base_model, row.recipe, row.judge)


def main_setting(rows: Sequence[Drift]) -> list[Drift]:
    """Return, of each arm and metric, the rows at its lowest temperature and its last epoch (None is the last)."""
    kept: list[Drift] = []
    cold: dict[tuple[str, ...], float] = {}
    last: dict[tuple[str, ...], float] = {}
    for row in rows:
        cold[_group(row)] = min(cold.get(_group(row), row.temperature), row.temperature)
    for row in rows:
        if row.temperature == cold[_group(row)]:
            last[_group(row)] = max(last.get(_group(row), -1.0), _epoch(row))
    for row in rows:
        if row.temperature == cold[_group(row)] and _epoch(row) == last[_group(row)]:
            kept.append(row)
    return kept


def _epoch(row: Drift) -> float:
    return float("inf") if row.epoch is None else float(row.epoch)


# ---------------------------------------------------------------------------------------------- phrases


def phrase(metric: Metric) -> str:
    """Return e.g. `refusal = full on harmful prompts`."""
    end = f"{metric.axis} = {metric.label}" if metric.label is not None else metric.axis
    return f"{end} on {metric.subset} prompts" if metric.subset else end


def change(row: Drift, scale: Scale, unit: bool = True) -> str:
    """Return e.g. `−42.8 points [−51.9, −33.7]`; the digits follow the standard error."""
    low, high, delta = scaled(row.low, scale), scaled(row.high, scale), scaled(row.delta, scale)
    decimals = places(low, high, row.confidence)
    return f"{number(delta, decimals, signed=True)}{scale.unit if unit else ''} {interval(low, high, decimals)}"


def levels(row: Drift, scale: Scale) -> str:
    """Return e.g. `97.0 → 54.2 %`."""
    decimals = places(scaled(row.low, scale), scaled(row.high, scale), row.confidence)
    base, tuned = (number(scaled(value, scale), decimals) for value in (row.base, row.tuned))
    return f"{base} → {tuned}{scale.sign}"


def sample(row: Drift) -> str:
    """Return how much data stands behind a row, e.g. `5 seeds × 300 prompts, 44 clusters`."""
    seeds = f"{row.n_seeds} seed{'s' if row.n_seeds != 1 else ''} × " if row.n_seeds else ""
    repeats = f" × {row.n_samples} samples" if row.n_samples > 1 else ""
    clusters = f", {row.n_clusters:,} clusters" if 0 < row.n_clusters < row.n_prompts else ""
    return f"{seeds}{row.n_prompts:,} prompts{repeats}{clusters}"


def scaled(value: float | None, scale: Scale) -> float | None:
    """Return a share in per cent or points, a value as it is."""
    return None if value is None else value * scale.factor


def margin_text(margin: float, scale: Scale) -> str:
    """Return a margin without needless zeros, e.g. `5`."""
    return f"{abs(margin) * scale.factor:.4g}".replace("-", MINUS)


def most_telling(rows: Sequence[Drift], most: int) -> Sequence[Drift]:
    """Return rows as they are, or, where there are more than `most`, those that moved most for the worse."""
    if len(rows) <= most:
        return rows
    keep = set(sorted(range(len(rows)), key=lambda place: -worsening(rows[place]))[:most])
    return [row for place, row in enumerate(rows) if place in keep]


def worsening(row: Drift) -> float:
    """Return the difference with its sign such that positive is worse."""
    return (row.delta or 0.0) * (1 if row.worse == "up" else -1)


def least_worsening(row: Drift) -> float | None:
    """Return the good end of the interval, positive where even that is worse than the base."""
    if row.low is None or row.high is None:
        return None
    return row.low if row.worse == "up" else -row.high
