"""Adjusted p values for families of tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aftertune.stats.estimate import Floats


def _checked(p_values: Sequence[float]) -> Floats:
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not np.all((p >= 0) & (p <= 1)):
        raise ValueError("p values must be a flat sequence of numbers in [0, 1]")
    return p


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p values, which bound the chance of any false alarm, in the order of the input.

    Source: S. Holm, Scandinavian Journal of Statistics 6 (1979) 65-70. Valid under any dependence. Raises
    ValueError for a number that is not a p value.
    """
    p = _checked(p_values)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(x) for x in adjusted]


def holm_levels(p_values: Sequence[float], alpha: float) -> list[float]:
    """Return the level at which Holm's procedure tests each hypothesis, in the order of the input.

    The k-th smallest of m is tested at alpha / (m - k + 1) until one is not rejected; that one's level is the level of
    all after it. So one-sided confidence bounds at these levels exclude a hypothesis exactly where it is rejected, and
    those of the others hold all at once with the error alpha (Strassburger and Bretz, Statistics in Medicine 27 (2008)
    4914-4927). Raises ValueError for a number that is not a p value.
    """
    p = _checked(p_values)
    order = np.argsort(p, kind="stable")
    levels = alpha / np.arange(p.size, 0, -1)
    rejected = int(np.argmin(np.append(p[order] <= levels, False)))
    levels[rejected:] = levels[min(rejected, p.size - 1)] if p.size else 0.0
    tested = np.empty_like(p)
    tested[order] = levels
    return [float(x) for x in tested]


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return Benjamini and Hochberg's adjusted p values, which bound the expected share of false among all alarms.

    Source: Benjamini and Hochberg, JRSS B 57 (1995) 289-300. For exploration, not for a gate; valid for independent
    and positively dependent tests. Raises ValueError for a number that is not a p value.
    """
    p = _checked(p_values)
    order = np.argsort(p, kind="stable")[::-1]
    stepped = np.minimum.accumulate(p[order] * p.size / np.arange(p.size, 0, -1)) if p.size else p
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(x) for x in adjusted]
