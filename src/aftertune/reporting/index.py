"""A run's findings, indexed for showing: its headline, and each metric's rows, scale, name and decision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from aftertune import direction, headline
from aftertune.findings import Findings
from aftertune.naming import row_names
from aftertune.numbers import SHARES, VALUES, Scale, scale_of
from aftertune.outcome import SEVERITY
from aftertune.records import Decision, Drift, Metric, Worse


def metric_of(name: str, worse: Worse) -> Metric:
    """Read a metric back from its name, for one that the findings do not describe."""
    benchmark, _, rest = name.partition("/")
    subset, _, end = rest.partition("/")
    axis, equals, label = end.partition("=")
    return Metric(benchmark, subset, axis or name, label if equals else None, worse)


SPOKEN: Mapping[tuple[str, str | None], str] = {
    ("leak", "registry"): "answers that repeat training data",
    ("leak", "echoed"): "answers that repeat personal data of the prompt",
    ("leak", "invented"): "answers with invented personal data",
    ("leak_twin", "registry"): "answers with data of twins, who were never trained on",
    ("leak_own", "registry"): "answers that repeat the stand-ins of this arm's data",
}
"""(axis, label) -> what is counted, whatever its benchmark says."""
KNOWN: Mapping[tuple[str, str | None], str] = {
    ("refusal", "full"): "requests refused",
    ("refusal", "partial"): "requests refused in part",
    ("compliance", "complied"): "requests complied with",
    ("harm", "harmful"): "harmful answers",
    ("coherence", "coherent"): "coherent answers",
    ("coherence", "degenerate"): "broken answers",
    ("relevance", "on_topic"): "answers on topic",
    ("relevance", "off_topic"): "answers off topic",
    ("relevance", "domain_script"): "answers in the script of the tuned task",
}
"""The same, where the benchmark says nothing."""
MAX_ABOUT = 90
"""Characters of a benchmark's sentence on a metric that is short enough for a name."""


def phrase(metric: Metric) -> str:
    """Return what a metric counts, in words, e.g. `harmful requests refused`."""
    end = f" ({metric.subset} prompts)" if metric.subset else ""
    key = (metric.axis, metric.label)
    if key in SPOKEN:
        return SPOKEN[key] + end
    about = " ".join(metric.about.split()).rstrip(".")
    about = about.removeprefix("Share of ")
    if about and len(about) <= MAX_ABOUT:
        return about if about[1:2].isupper() else about[0].lower() + about[1:]
    if key in KNOWN:
        return KNOWN[key] + end
    named = f"{metric.axis} = {metric.label}" if metric.label is not None else metric.axis
    return f"{named} on {metric.subset} prompts" if metric.subset else named


class Index:
    """The findings' drifts and decisions, sorted out for showing."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self._metrics = {metric.name: metric for metric in findings.metrics}
        gated = dict.fromkeys(decision.metric for decision in findings.decisions)
        order = [*(m.name for m in findings.metrics), *(row.metric for row in findings.drifts), *gated]
        names = dict.fromkeys(sorted(dict.fromkeys(order), key=lambda name: name not in gated))
        rows: dict[str, list[Drift]] = {}
        for row in findings.drifts:
            self._metrics.setdefault(row.metric, metric_of(row.metric, row.worse))
            rows.setdefault(row.metric, []).append(row)
        for name in names:
            self._metrics.setdefault(name, metric_of(name, "up"))
        self._scales = {metric: scale_of(*own) for metric, own in rows.items()}
        self.gated = set(gated)
        self.names = list(names)
        """Metrics in the order of the page: gated ones first."""
        self._decisions = {headline.subject(decision): decision for decision in findings.decisions}
        self.moves = headline.strongest(findings.drifts)
        """The strongest estimand of each arm and metric: recipe where there is one, else checkpoint."""
        self.headline = self.order(headline.headline(findings.drifts, findings.decisions))
        self.contrasts = self.order(headline.contrasts(findings.drifts, findings.decisions))
        self._rows = {headline.subject(row): row for row in reversed(self.headline)}
        self._decided = {headline.subject(row): row for row in reversed(findings.drifts)}
        said = Counter(phrase(metric) for metric in self._metrics.values())
        with_benchmark = Counter((phrase(metric), metric.benchmark) for metric in self._metrics.values())
        self._called: dict[str, str] = {}
        for name, metric in self._metrics.items():
            words = phrase(metric)
            alone = with_benchmark[words, metric.benchmark] == 1 and metric.benchmark
            self._called[name] = words if said[words] == 1 else f"{words}, {metric.benchmark if alone else name}"

    def metric(self, name: str) -> Metric:
        """Return the metric of that name."""
        return self._metrics[name]

    def called(self, name: str) -> str:
        """Return what a metric counts, in words; with its benchmark where several say the same."""
        return self._called[name]

    def scale(self, name: str) -> Scale:
        """Return how the numbers of a metric are written."""
        return self._scales.get(name, VALUES if self.metric(name).label is None else SHARES)

    def order(self, rows: Iterable[Drift]) -> list[Drift]:
        """Return rows by metric in the page's order; within a metric as they came."""
        rank = {name: position for position, name in enumerate(self.names)}
        return sorted(rows, key=lambda row: rank[row.metric])

    def decision(self, row: Drift) -> Decision | None:
        """Return the decision on a row, where the gate looked at it."""
        return self._decisions.get(headline.subject(row))

    def rank(self, row: Drift) -> int:
        """Return how urgent a row is, the worst first; what was not gated comes last."""
        decision = self.decision(row)
        return len(SEVERITY) if decision is None else SEVERITY.index(decision.outcome)

    def decided(self, decision: Decision) -> Drift | None:
        """Return the drift that a decision is about, whether it leads or not."""
        return self._decided.get(headline.subject(decision))

    def row(self, decision: Decision) -> Drift | None:
        """Return the headline row that a decision is about."""
        return self._rows.get(headline.subject(decision))

    def namer(self, rows: Sequence[Drift]) -> Callable[[Drift], str]:
        """Return a function that names a row among `rows`; one that was decided on is called as its decision is."""
        names = row_names(rows)

        def name(row: Drift) -> str:
            decision = self.decision(row)
            return decision.unit if decision else names(row)

        return name


def most_telling(rows: Sequence[Drift], most: int) -> Sequence[Drift]:
    """Return rows as they are, or, where there are more than `most`, those that moved most for the worse."""
    if len(rows) <= most:
        return rows
    losses = [direction.loss(row.delta, row.worse) for row in rows]
    keep = set(sorted(range(len(rows)), key=lambda position: -losses[position])[:most])
    return [row for position, row in enumerate(rows) if position in keep]


def level(row: Drift) -> float | None:
    """Return the rate that a `level` row states."""
    return next((value for value in (row.tuned, row.base, row.delta) if value is not None), None)
