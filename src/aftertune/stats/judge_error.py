"""Drift corrected for judge errors, from answers that people labelled too: per arm, since errors differ between arms.

A judge with sensitivity Se and specificity Sp turns a rate p into Se p + (1 - Sp)(1 - p). The same error in both arms
shrinks a drift by Se + Sp - 1; errors that differ between the arms invent one. A correction therefore needs a labelled
sample of each arm; error rates from other people's data only say how large an error the drift would survive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aftertune.stats.estimate import t_quantile
from aftertune.stats.paired import wilson


@dataclass(frozen=True, slots=True)
class Corrected:
    """A rate or drift by the judge, and the same corrected, with the judge's error included in the interval."""

    raw: float
    """By the judge alone."""
    value: float
    """Corrected."""
    low: float
    high: float
    n: int
    """Number of judged answers (or pairs)."""
    n_labelled: int
    """Number that people labelled too; of the arm with fewer if there are two."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Counts of a judge against people on a random sample of one arm's answers."""

    true_positive: int
    false_negative: int
    true_negative: int
    false_positive: int

    def __post_init__(self) -> None:
        """Raise ValueError for a negative count, or if one of the two classes has no answer."""
        if min(self.true_positive, self.false_negative, self.true_negative, self.false_positive) < 0:
            raise ValueError("counts must not be negative")
        if self.positives == 0 or self.negatives == 0:
            raise ValueError("need labelled answers of both classes: without one of them its error rate is unknown")

    @property
    def positives(self) -> int:
        """Number of answers that people call positive."""
        return self.true_positive + self.false_negative

    @property
    def negatives(self) -> int:
        """Number of answers that people call negative."""
        return self.true_negative + self.false_positive

    @property
    def sensitivity(self) -> float:
        """Share of the positives that the judge calls positive."""
        return self.true_positive / self.positives

    @property
    def specificity(self) -> float:
        """Share of the negatives that the judge calls negative."""
        return self.true_negative / self.negatives

    @classmethod
    def of(cls, judge: NDArray[np.bool_], people: NDArray[np.bool_]) -> Labelled:
        """Count two arrays of labels. Raises ValueError for different shapes, and as the class does."""
        if judge.shape != people.shape:
            raise ValueError(f"need both labels of every answer, got {judge.shape} and {people.shape}")
        return cls(
            true_positive=int((judge & people).sum()),
            false_negative=int((~judge & people).sum()),
            true_negative=int((~judge & ~people).sum()),
            false_positive=int((judge & ~people).sum()),
        )


def youden(labelled: Labelled, confidence: float = 0.95) -> tuple[float, float, float]:
    """Return Se + Sp - 1 with Newcombe's interval for two independent rates.

    Source: R. G. Newcombe, Statistics in Medicine 17 (1998) 873-890, method 10.
    """
    se, fp = labelled.sensitivity, 1 - labelled.specificity
    se_low, se_high = wilson(labelled.true_positive, labelled.positives, confidence)
    fp_low, fp_high = wilson(labelled.false_positive, labelled.negatives, confidence)
    value = se - fp
    return value, value - math.hypot(se - se_low, fp_high - fp), value + math.hypot(se_high - se, fp - fp_low)


def _require_better_than_guessing(labelled: Labelled, confidence: float) -> None:
    value, low, high = youden(labelled, confidence)
    if low <= 0:
        raise ValueError(
            f"this judge cannot be told from one that guesses: sensitivity + specificity - 1 = {value:.2f}, "
            f"{100 * confidence:g} % interval {low:.2f} to {high:.2f}, from {labelled.positives} positive and "
            f"{labelled.negatives} negative labels; label more answers, or use another judge"
        )


def rogan_gladen(rate: float, n: float, labelled: Labelled, *, confidence: float = 0.95) -> Corrected:
    """Return a rate corrected for the judge's sensitivity and specificity in the same arm.

    Args:
        rate: Share of the answers that the judge calls positive.
        n: Number of answers that it judged; with clusters the effective number, rate (1 - rate) / variance.
        labelled: The judge against people in this arm.
        confidence: E.g. .95.

    Source: Rogan and Gladen, American Journal of Epidemiology 107 (1978) 71-76, clipped to [0, 1]; interval of Lang
    and Reiczigel, Preventive Veterinary Medicine 113 (2014) 13-22, which includes the uncertainty of the labels and
    never has zero width. It assumes that the labelled answers were drawn by class and apart from those judged; where
    they are a random sample of them, `prediction_powered.labelled_rate` is more efficient. Raises ValueError if
    Se + Sp - 1 cannot be told from 0, or for a rate outside [0, 1].
    """
    if not 0 <= rate <= 1 or n <= 0:
        raise ValueError(f"need a rate in [0, 1] of at least one answer, got {rate} of {n}")
    _require_better_than_guessing(labelled, confidence)
    z = float(t_quantile(confidence, math.inf))
    slope = labelled.sensitivity + labelled.specificity - 1
    value = min(max((rate + labelled.specificity - 1) / slope, 0.0), 1.0)
    # Lang and Reiczigel: shrink each rate a little towards one half, then shift by the skewness of the ratio.
    size, positives, negatives = n + z**2, labelled.positives + 2, labelled.negatives + 2
    shrunk = (n * rate + z**2 / 2) / size
    se = (labelled.true_positive + 1) / positives
    sp = (labelled.true_negative + 1) / negatives
    centre = (shrunk + sp - 1) / (se + sp - 1)
    of_se, of_sp = se * (1 - se) / positives, sp * (1 - sp) / negatives
    shift = 2 * z**2 * (centre * of_se - (1 - centre) * of_sp)
    error = math.sqrt(shrunk * (1 - shrunk) / size + centre**2 * of_se + (1 - centre) ** 2 * of_sp) / (se + sp - 1)
    low, high = (min(max(centre + shift + sign * z * error, 0.0), 1.0) for sign in (-1, 1))
    return Corrected(rate, value, min(low, value), max(high, value), round(n), labelled.positives + labelled.negatives)


def rogan_gladen_drift(base: Corrected, tuned: Corrected) -> Corrected:
    """Return the drift between two corrected rates.

    By the square-and-add rule for intervals (Zou and Donner, Statistics in Medicine 27 (2008) 1693-1702), as if the
    arms were independent. Answers to the same prompts are correlated, so the interval is rather too wide.
    """
    value = tuned.value - base.value
    down = math.hypot(tuned.value - tuned.low, base.high - base.value)
    up = math.hypot(tuned.high - tuned.value, base.value - base.low)
    return Corrected(
        raw=tuned.raw - base.raw,
        value=value,
        low=max(value - down, -1.0),
        high=min(value + up, 1.0),
        n=min(base.n, tuned.n),
        n_labelled=min(base.n_labelled, tuned.n_labelled),
    )


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a judge must err in one arm before the sign of a drift is lost."""

    answers: float
    """Share of one arm's answers that it must misjudge, all in the same direction, beyond its errors in the other arm;
    0 if the interval contains 0 already."""
    false_positive_rate: float | None
    """The same as a rate among the tuned model's true negatives, for a rise; None for a fall."""
    false_negative_rate: float | None
    """The same as a rate among the tuned model's true positives, for a fall; None for a rise."""

    @property
    def text(self) -> str:
        """The tolerance as a sentence."""
        if self.answers == 0:
            return "the sign is open already, whatever the judge"
        return f"the sign holds unless the judge errs on more than {100 * self.answers:.1f} % of the answers in one arm"


def tolerance(delta: float, low: float, high: float, tuned: float) -> Tolerance:
    """Return how much more a judge must err in one arm than in the other until the interval of a drift reaches 0.

    Args:
        delta: Tuned minus base, as shares.
        low: Lower limit of `delta`.
        high: Upper limit of `delta`.
        tuned: Rate of the tuned model by the judge.

    A sensitivity analysis, never a correction. Errors that are the same in both arms shrink the drift and cannot
    reverse its sign. Raises ValueError for limits that do not contain the drift.
    """
    if not low <= delta <= high:
        raise ValueError(f"need low <= delta <= high, got {low}, {delta}, {high}")
    if low <= 0 <= high:
        return Tolerance(0.0, None, None)
    if delta > 0:
        wrong = min(low, tuned)
        true = tuned - wrong
        return Tolerance(wrong, min(wrong / (1 - true), 1.0), None)
    wrong = min(-high, 1 - tuned)
    true = tuned + wrong
    return Tolerance(wrong, None, min(wrong / true, 1.0))


def drift_under(
    base: float,
    tuned: float,
    sensitivity: tuple[float, float],
    specificity: tuple[float, float],
    *,
    differ: bool,
) -> tuple[float, float]:
    """Return the smallest and largest true drift compatible with two judged rates and ranges of error rates.

    Args:
        base: Rate of the base by the judge.
        tuned: Rate of the tuned model by the judge.
        sensitivity: Range of the sensitivity, e.g. from other people's data.
        specificity: Range of the specificity.
        differ: Whether the error rates may differ between the arms within their ranges.

    Rates that no judge in the ranges could have given are clipped to [0, 1]. Sampling error is not included. Raises
    ValueError if some judge in the ranges guesses (Se + Sp <= 1), or a range is reversed or outside [0, 1].
    """
    for name, (bottom, top) in (("sensitivity", sensitivity), ("specificity", specificity)):
        if not 0 <= bottom <= top <= 1:
            raise ValueError(f"{name}: need 0 <= low <= high <= 1, got {bottom} and {top}")
    if sensitivity[0] + specificity[0] <= 1:
        raise ValueError("some judge in these ranges guesses: sensitivity + specificity must be over 1")

    def true(rate: float, se: float, sp: float) -> float:
        return min(max((rate + sp - 1) / (se + sp - 1), 0.0), 1.0)

    corners = [(se, sp) for se in sensitivity for sp in specificity]
    if differ:
        before, after = ([true(rate, *corner) for corner in corners] for rate in (base, tuned))
        return min(after) - max(before), max(after) - min(before)
    drifts = [true(tuned, *corner) - true(base, *corner) for corner in corners]
    return min(drifts), max(drifts)
