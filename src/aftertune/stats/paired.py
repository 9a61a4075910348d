"""Two models on the same prompts, prompts independent of each other: tests and closed-form intervals.

`gained` counts prompts that are 1 for the tuned model only, `lost` those that are 1 for the base only. Do not trust
anything here if prompts come in clusters (same category, vignette or profile): `clusters.py` is for those.
"""

from __future__ import annotations

import functools
import math

from scipy import special

from aftertune.stats.estimate import t_quantile, tango, wilson_limits


def _check_counts(*counts: int) -> None:
    if any(count < 0 for count in counts):
        raise ValueError(f"counts must not be negative, got {counts}")


def _binomial_half(count: int, n: int) -> float:
    """Return the chance of at most `count` heads in n tosses of a fair coin, `count` < n.

    By the incomplete beta function: scipy.stats alone takes longer to import than a small run to decide.
    """
    return float(special.betaincc(count + 1, n - count, 0.5)) if count >= 0 else 0.0


def mcnemar_exact(gained: int, lost: int) -> float:
    """Return the two-sided p value of the exact McNemar test; 1 if no pair is discordant.

    Source: Q. McNemar, Psychometrika 12 (1947) 153-157, with the binomial distribution in place of its normal
    approximation. Discrete and therefore conservative: p < .05 takes at least 6 losses without a gain.
    Raises ValueError for a negative count.
    """
    _check_counts(gained, lost)
    if gained + lost == 0:
        return 1.0
    return min(1.0, 2.0 * _binomial_half(min(gained, lost), gained + lost))


def mcnemar_midp(gained: int, lost: int) -> float:
    """Return the two-sided p value of the mid-p McNemar test; 1 if no pair is discordant.

    Source: Fagerland, Lydersen and Laake, BMC Medical Research Methodology 13 (2013) 91. Not exact, yet it rarely
    exceeds its level, and it is less conservative. Raises ValueError for a negative count.
    """
    _check_counts(gained, lost)
    if gained + lost == 0:
        return 1.0
    fewer, pairs = min(gained, lost), gained + lost
    below = _binomial_half(fewer - 1, pairs)
    return 2.0 * below if gained == lost else _binomial_half(fewer, pairs) + below


def wilson(successes: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval for one rate; raises ValueError unless 0 <= successes <= n and n > 0."""
    if not 0 <= successes <= n or n <= 0:
        raise ValueError(f"need 0 <= successes <= n and n > 0, got {successes} of {n}")
    low, high = wilson_limits(successes / n, n, t_quantile(confidence, math.inf))
    return float(low), float(high)


def clopper_pearson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact interval for one rate; raises ValueError unless 0 <= successes <= n and n > 0.

    Source: Clopper and Pearson, Biometrika 26 (1934) 404-413. Never below its level, so wider than Wilson's.
    """
    if not 0 <= successes <= n or n <= 0:
        raise ValueError(f"need 0 <= successes <= n and n > 0, got {successes} of {n}")
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(special.betaincinv(successes, n - successes + 1, tail))
    high = 1.0 if successes == n else float(special.betaincinv(successes + 1, n - successes, 1 - tail))
    return low, high


@functools.lru_cache(maxsize=10_000)  # many categories have the same few counts
def tango_interval(gained: int, lost: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Tango's score interval for (gained - lost) / n; see `estimate.tango`.

    Raises ValueError for a negative count, n < 1, or more discordant pairs than pairs.
    """
    _check_counts(gained, lost)
    if n < 1 or gained + lost > n:
        raise ValueError(f"need gained + lost <= n and n > 0, got {gained} + {lost} of {n}")
    low, high = tango(gained, lost, n, t_quantile(confidence, math.inf))
    return float(low), float(high)


def newcombe_interval(both: int, gained: int, lost: int, neither: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Newcombe's hybrid score interval for (gained - lost) / n.

    Source: R. G. Newcombe, Statistics in Medicine 17 (1998) 2635-2650, method 10 (with its continuity correction of
    the correlation). An independent check on Tango's; slightly wider for small samples. Raises ValueError for a
    negative count or no pair.
    """
    _check_counts(both, gained, lost, neither)
    n = both + gained + lost + neither
    if n == 0:
        raise ValueError("no pair")
    tuned, base = (both + gained) / n, (both + lost) / n
    tuned_low, tuned_high = wilson(both + gained, n, confidence)
    base_low, base_high = wilson(both + lost, n, confidence)
    margins = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    if margins == 0:
        phi = 0.0
    else:
        product = both * neither - gained * lost
        phi = (max(product - n / 2, 0) if product > 0 else product) / math.sqrt(margins)
    down = (tuned - tuned_low, base_high - base)
    up = (tuned_high - tuned, base - base_low)
    low = tuned - base - math.sqrt(max(down[0] ** 2 - 2 * phi * down[0] * down[1] + down[1] ** 2, 0))
    high = tuned - base + math.sqrt(max(up[0] ** 2 - 2 * phi * up[0] * up[1] + up[1] ** 2, 0))
    return max(low, -1.0), min(high, 1.0)
