"""Metrics of our scorers in Inspect AI: mean, clustered standard error and interval, by subset; NaN where unknown."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from inspect_ai.scorer import Metric, SampleScore, Value, metric

from aftertune.stats import clusters


@metric
def mean() -> Metric:
    """Mean of the judged samples, by subset if samples name theirs. NaN without any, where Inspect's is 0."""

    def compute(scores: list[SampleScore]) -> Value:
        return _by_subset(scores, lambda values, _: float(np.mean(values)))

    return compute


@metric
def stderr() -> Metric:
    """Standard error of the mean over clusters (CR2: Bell and McCaffrey 2002), by subset as `mean`.

    The cluster is the sample's metadata `cluster`, else the sample itself. NaN with one cluster, where Inspect's is 0.
    """

    def compute(scores: list[SampleScore]) -> Value:
        return _by_subset(scores, _standard_error)

    return compute


@metric
def interval() -> Metric:
    """95 % Wilson interval that respects clusters (`low`, `high`), for shares and values in [0, 1]; never empty.

    By subset as `mean`; NaN for values outside [0, 1].
    """

    def compute(scores: list[SampleScore]) -> Value:
        lows = _by_subset(scores, lambda values, names: _limits(values, names)[0])
        highs = _by_subset(scores, lambda values, names: _limits(values, names)[1])
        if isinstance(lows, float) and isinstance(highs, float):
            return {"low": lows, "high": highs}
        assert isinstance(lows, dict)
        assert isinstance(highs, dict)
        return {f"{subset}_low": low for subset, low in lows.items()} | {f"{s}_high": high for s, high in highs.items()}

    return compute


def _limits(values: Sequence[float], names: Sequence[str]) -> tuple[float, float]:
    if min(values) < 0 or max(values) > 1:
        return math.nan, math.nan
    estimate = clusters.level(np.asarray(values, dtype=np.float64), _codes(names))
    return estimate.low, estimate.high


def _codes(names: Sequence[str]) -> clusters.Codes:
    return np.unique(list(names), return_inverse=True)[1].astype(np.int64)


def _standard_error(values: Sequence[float], names: Sequence[str]) -> float:
    variance, _ = clusters.robust_variance(clusters.grouped(np.asarray(values, dtype=np.float64), _codes(names)))
    return math.sqrt(variance)


def _by_subset(scores: Sequence[SampleScore], compute: Callable[[Sequence[float], Sequence[str]], float]) -> Value:
    groups: dict[str, tuple[list[float], list[str]]] = {}
    for number, score in enumerate(scores):
        metadata: Mapping[str, object] = score.sample_metadata or {}
        values, names = groups.setdefault(str(metadata.get("subset") or ""), ([], []))
        values.append(score.score.as_float())
        names.append(str(metadata.get("cluster") or f"\0{score.sample_id or number}"))
    if not set(groups) - {""}:
        return compute(*groups[""]) if groups else math.nan
    return {subset or "rest": compute(*group) for subset, group in groups.items()}
