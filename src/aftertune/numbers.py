"""How numbers are written: rates, points, means, intervals, p values and counts, the same wherever they stand.

The terminal, the sentences of decisions, Markdown, HTML and the sentences in JSON all write with a `Form`; the minus
sign and the mark of a missing number are all that differs between media. Numbers with an interval have as many digits
as their standard error allows (`decimals`). The sentences of decisions are stored: in them shares have one decimal and
other values three significant digits, whatever the interval (`rate`, `shift`, `size`), and more only where the limit
that a number is held against would else seem to lie on its other side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist

from aftertune.records import Drift

MINUS = "\N{MINUS SIGN}"
NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Scale:
    """Whether numbers are shares, written in per cent and points, or means of values, written as they are."""

    factor: float
    unit: str
    """Behind a difference."""
    sign: str
    """Behind a level."""

    def __call__(self, value: float | None) -> float | None:
        """Return a share in per cent or points, a value as it is."""
        return None if value is None else value * self.factor

    @property
    def is_percent(self) -> bool:
        """Whether shares are meant."""
        return self.factor != 1.0


SHARES = Scale(100.0, " points", " %")
VALUES = Scale(1.0, "", "")


def scale_of(*rows: Drift) -> Scale:
    """Return the scale that rows of one metric share: shares where all of them are."""
    return SHARES if all(row.is_proportion for row in rows) else VALUES


def finite(value: float | None) -> bool:
    """Whether there is a number to show."""
    return value is not None and math.isfinite(value)


def decimals(low: float | None, high: float | None, confidence: float = 0.95) -> int:
    """Return the decimals (0 to 3) that the standard error behind an interval allows: its first digit, one at least
    below an error of 10."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return 1
    error = (high - low) / 2 / NormalDist().inv_cdf(0.5 + confidence / 2)
    return 0 if error >= 10 else min(3, max(1, -math.floor(math.log10(error))))


def row_decimals(row: Drift, scale: Scale) -> int:
    """Return the decimals of a row's numbers."""
    return decimals(scale(row.low), scale(row.high), row.confidence)


@dataclass(frozen=True, slots=True)
class Form:
    """How numbers are written in one medium."""

    minus: str
    """In front of a negative number: the hyphen-minus of ASCII for terminals and stored text, else U+2212."""
    missing: str
    """In place of a number that is not known."""

    def number(self, value: float | None, digits: int, *, signed: bool = False) -> str:
        """Return a number with `digits` decimals, never `-0.0`."""
        if value is None or not math.isfinite(value):
            return self.missing
        rounded = round(value, digits)
        if rounded == 0:
            return f"{0:.{digits}f}"
        sign = "+" if signed else ""
        return f"{rounded:{sign},.{digits}f}".replace("-", self.minus)

    def interval(self, low: float | None, high: float | None, digits: int) -> str:
        """Return `[low, high]`, or plain words where there is none."""
        if not (finite(low) and finite(high)):
            return "no interval"
        return f"[{self.number(low, digits)}, {self.number(high, digits)}]"

    def estimate(
        self,
        value: float | None,
        low: float | None,
        high: float | None,
        scale: Scale = VALUES,
        *,
        unit: str = "",
        signed: bool = False,
        confidence: float = 0.95,
        most: int = 3,
    ) -> str:
        """Return e.g. `63.8 % [51.0, 74.9]`: at most `most` decimals, the unit as given, or plain words for None."""
        if value is None:
            return NOT_MEASURED
        low, high = scale(low), scale(high)
        digits = min(decimals(low, high, confidence), most)
        return f"{self.number(scale(value), digits, signed=signed)}{unit} {self.interval(low, high, digits)}"

    def change(self, row: Drift, scale: Scale, *, unit: bool = True) -> str:
        """Return a drift, e.g. `-42.8 points [-51.9, -33.7]`."""
        behind = scale.unit if unit else ""
        return self.estimate(row.delta, row.low, row.high, scale, unit=behind, signed=True, confidence=row.confidence)

    def levels(self, row: Drift, scale: Scale) -> str:
        """Return the rates behind a drift, e.g. `97.0 → 54.2 %`."""
        return self.from_to(row.base, row.tuned, scale, row_decimals(row, scale))

    def from_to(self, before: float | None, after: float | None, scale: Scale, digits: int) -> str:
        """Return e.g. `97.0 → 54.2 %`."""
        return f"{self.number(scale(before), digits)} → {self.number(scale(after), digits)}{scale.sign}"

    def span(self, low: float | None, high: float | None, scale: Scale, digits: int) -> str:
        """Return e.g. `51.0 to 78.0 %`."""
        return f"{self.number(scale(low), digits)} to {self.number(scale(high), digits)}{scale.sign}"

    def short(self, value: float) -> str:
        """Return a number without needless zeros, six significant digits at most: for ticks."""
        return f"{0.0 if abs(value) < 1e-12 else value:.6g}".replace("-", self.minus)

    def rate(self, value: float, scale: Scale, *, limit: float | None = None) -> str:
        """Return a level for a decision's sentence, e.g. `62.9 %`, on its own side of `limit`."""
        return f"{_written(value, scale, _LEVEL, limit)}{scale.sign}".replace("-", self.minus)

    def shift(self, value: float, scale: Scale, *, limit: float | None = None) -> str:
        """Return a difference for a decision's sentence, without its unit, e.g. `+3.1`, on its own side of `limit`."""
        return _written(value, scale, _SIGNED, limit).replace("-", self.minus)

    def size(self, value: float, scale: Scale, *, limit: float | None = None) -> str:
        """Return a loss for a decision's sentence with its unit, e.g. `12.3 points`, on its own side of `limit`."""
        return f"{_written(value, scale, _SIZE, limit)}{scale.unit}".replace("-", self.minus)

    def margin(self, margin: float, scale: Scale, *, unit: bool = True) -> str:
        """Return how much worse is allowed, without needless zeros, e.g. `5 points`."""
        return f"{abs(margin) * scale.factor:.6g}{scale.unit if unit else ''}"

    def limit(self, at: float, scale: Scale) -> str:
        """Return a floor or ceiling in full, with one decimal at least of a share, e.g. `80.0 %` or `81.25 %`."""
        full = f"{at * scale.factor:.6g}"
        whole = scale.is_percent and not {".", "e"} & set(full)
        return f"{full}{'.0' if whole else ''}{scale.sign}".replace("-", self.minus)


_MORE = 5
"""Digits that a number gets at most so that it stands on its own side of a limit."""
_SIGNIFICANT = tuple(f".{3 + more}g" for more in range(_MORE + 1))
_LEVEL = (tuple(f".{1 + more}f" for more in range(_MORE + 1)), _SIGNIFICANT)
_SIGNED = (tuple(f"+{form}" for form in _LEVEL[0]), tuple(f"+{form}" for form in _LEVEL[1]))
_SIZE = (_SIGNIFICANT, _SIGNIFICANT)
"""How levels, differences and losses are written that are shares, and that are values; the shortest form first."""


def _written(value: float, scale: Scale, forms: tuple[tuple[str, ...], tuple[str, ...]], limit: float | None) -> str:
    """Return a number in the shortest form that stands on the same side of the limit as the number itself."""
    number, bound = value * scale.factor, None if limit is None else limit * scale.factor
    texts = [f"{number:{form}}" for form in forms[0 if scale.is_percent else 1]]
    if bound is None or math.isclose(number, bound, rel_tol=1e-9, abs_tol=1e-12):
        return texts[0]
    above = number > bound
    return next((text for text in texts if float(text) != bound and (float(text) > bound) == above), texts[0])


TEXT = Form("-", "-")
"""For terminals and stored sentences."""
PAGE = Form(MINUS, "\N{EN DASH}")
"""For HTML, Markdown, and the report's sentences in JSON."""


def p_value(p: float | None) -> str:
    """Return a p value to three decimals, `<.001` below that."""
    if p is None or not math.isfinite(p):
        return PAGE.missing
    return "<.001" if p < 0.001 else f"{p:.3f}".lstrip("0") if p < 1 else "1"


def whole_percent(share: float) -> str:
    """Return a share in whole per cent, e.g. `80 %`."""
    return f"{100 * share:.0f} %"


def count(n: int, one: str, many: str = "") -> str:
    """Return `1 prompt`, `2,400 prompts`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def counts(values: Iterable[int]) -> str:
    """Return `300` or `180 to 300`."""
    known = list(values)
    low, high = min(known), max(known)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def sample(row: Drift) -> str:
    """Return how much data stands behind a row, e.g. `5 seeds × 300 prompts, 44 clusters`."""
    seeds = f"{count(row.n_seeds, 'seed')} × " if row.n_seeds else ""
    repeats = f" × {row.n_samples} samples" if row.n_samples > 1 else ""
    clusters = f", {count(row.n_clusters, 'cluster')}" if 0 < row.n_clusters < row.n_prompts else ""
    return f"{seeds}{count(row.n_prompts, 'prompt')}{repeats}{clusters}"
