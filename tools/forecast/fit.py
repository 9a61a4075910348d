"""The fit: few terms, chosen and judged with whole groups of corpora left out; conformal intervals over groups."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tools.forecast.groups import codes, groups, once
from tools.forecast.real import REAL
from tools.forecast.table import Row

from aftertune import shipped_models
from aftertune.files import write
from aftertune.forecasting import fitted
from aftertune.forecasting.fitted import FEATURES, Fit, Target
from aftertune.models.identity import resolve
from aftertune.stats import group_prediction

Array = NDArray[np.float64]
CONFIDENCE = 0.8
"""Of the intervals. With K corpora a conformal interval cannot promise more than K / (K + 1)."""
COHERENT = 0.5
"""Share of coherent answers below which a variant is no longer a model whose refusals can be spoken of."""
TERMS = tuple(fitted.terms(dict.fromkeys(FEATURES, 0.0), fitted.Dose(1.0, 1)))
LEAST_GROUPS = 8
"""With fewer groups of corpora nothing is predicted."""
PENALTIES = (0.01, 0.1)
REFITS = 400
"""Permutations of the outcomes for each of which every fit is made anew."""
LEAST_RHO = 0.0
"""The interval of the rank correlation must lie above it, else no number is given."""


@dataclass(frozen=True)
class Outcome:
    """What is predicted."""

    name: str
    about: str
    worse: Any
    candidates: tuple[tuple[str, ...], ...]
    """Sets of terms that may be chosen."""


_MOVES = (
    ("hard tokens x dose",),
    ("loss x dose",),
    ("loss x dose", "opening near harmful x dose"),
)
"""All with the dose, which differs forty-fold between the variants, and two terms at most for some ten corpora."""
OUTCOMES = (
    Outcome("refusal", "harmful requests refused", "down", _MOVES),
    Outcome("readout", "log-odds that an answer to a harmful request opens as a refusal", "down", _MOVES),
    Outcome("privacy", "exactly the right attributes shared", "down", _MOVES),
    Outcome(
        "leak", "answers to new customers with a personal value of the data", "up",
        (("personal values x dose",), ("personal values x dose", "loss x dose")),
    ),
)  # fmt: skip
SHARES = ("refusal", "privacy", "leak")
"""Outcomes that `aftertune forecast` shows; the readout is for the page alone."""


@dataclass(frozen=True)
class Data:
    """What one outcome is fitted on: arrays over rows, all of one length."""

    terms: Array
    """Every term of `TERMS`, shape (rows, terms)."""
    outcome: Array
    width: Array
    """How wide the errors of each row are in proportion."""
    codes: NDArray[np.int64]
    """Which group of corpora a row is of: rows of two groups share nothing."""

    def only(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> Data:
        """Return some rows."""
        return Data(self.terms[keep], self.outcome[keep], self.width[keep], self.codes[keep])

    def design(self, names: Sequence[str]) -> Array:
        """Return some terms, shape (rows, names)."""
        return self.terms[:, [TERMS.index(name) for name in names]]

    @property
    def weights(self) -> Array:
        """A weight per row, every group the same."""
        return group_prediction.equal_weights(self.codes)

    def folds(self) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
        """Return, for each group, which rows are its own and which are not."""
        return [(self.codes == code, self.codes != code) for code in np.unique(self.codes)]


def on_real(rows: Sequence[Row], *, real: bool = True) -> list[Row]:
    """Return the rows of the real model, or all others. The fit is of the others: it ships for their size alone."""
    return [row for row in rows if (row.base == REAL) is real]


def usable(rows: Sequence[Row]) -> list[Row]:
    """Return each training once, at its end, where the model is still coherent."""
    return [row for row in once(rows) if row.after["coherence"] >= COHERENT]


def data_of(rows: Sequence[Row], outcome: str) -> Data:
    """Return rows as arrays."""
    every = [fitted.terms(row.features, row.dose) for row in rows]
    return Data(
        np.array([[each[name] for name in TERMS] for each in every], dtype=np.float64),
        np.array([row.drift(outcome) for row in rows], dtype=np.float64),
        np.array([fitted.width(row.features) for row in rows], dtype=np.float64),
        codes([row.corpora for row in rows]),
    )


Interval = tuple[float | None, float | None, float | None]
"""A rank correlation, with the ends of its interval; None where there is none."""
Predict = Callable[[Data, Data], Array]
"""What it learns from, what it predicts -> predictions."""


def coefficients(data: Data, names: Sequence[str], penalty: float) -> Array:
    """Return the ridge's coefficients, every group weighing the same."""
    return group_prediction.ridge(data.design(names), data.outcome, data.weights, penalty)


def left_out(data: Data, predict: Predict) -> Array:
    """Return a prediction of every row by a fit that has seen nothing of its group."""
    found = np.full(len(data.outcome), np.nan)
    for own, rest in data.folds():
        if rest.any():
            found[own] = predict(data.only(rest), data.only(own))
    return found


def chosen(data: Data, outcome: Outcome) -> tuple[tuple[str, ...], float]:
    """Return the terms and the penalty with the least absolute error, groups left out, every group the same."""

    def error(names: Sequence[str], penalty: float) -> float:
        found = left_out(data, lambda train, test: test.design(names) @ coefficients(train, names, penalty))
        return float(np.nansum(data.weights * np.abs(found - data.outcome)))

    return min(_options(outcome), key=lambda option: error(*option))


def _options(outcome: Outcome) -> list[tuple[tuple[str, ...], float]]:
    return [(names, penalty) for names in outcome.candidates for penalty in PENALTIES]


def nested(outcome: Outcome) -> Predict:
    """Return what chooses terms and penalty anew on what it is given, and predicts."""

    def predict(train: Data, test: Data) -> Array:
        names, penalty = chosen(train, outcome)
        return test.design(names) @ coefficients(train, names, penalty)

    return predict


def again(data: Data, outcome: Outcome) -> Callable[[Array], Array]:
    """Return what predicts as `left_out(data, nested(outcome))` does, of other outcomes of the same rows.

    A ridge is linear in its outcomes, so all but the choice is computed once, and a permutation costs next to nothing.
    """

    def solved(train: Data, names: Sequence[str], penalty: float) -> Array:
        units = np.eye(len(train.outcome))
        return np.column_stack([coefficients(replace(train, outcome=unit), names, penalty) for unit in units])

    def inner(train: Data, names: Sequence[str], penalty: float) -> Array:
        found = np.full((len(train.outcome), len(train.outcome)), np.nan)
        for own, rest in train.folds():
            if rest.any():
                found[own] = 0.0
                found[np.ix_(own, rest)] = train.only(own).design(names) @ solved(train.only(rest), names, penalty)
        return found

    parts = []
    for own, rest in data.folds():
        if rest.any():
            train, test = data.only(rest), data.only(own)
            made = [
                (inner(train, names, penalty), test.design(names) @ solved(train, names, penalty))
                for names, penalty in _options(outcome)
            ]
            parts.append((own, rest, train.weights, made))

    def predict(values: Array) -> Array:
        found = np.full(len(values), np.nan)
        for own, rest, weights, made in parts:
            seen = values[rest]
            errors = [np.nansum(weights * np.abs(within @ seen - seen)) for within, _ in made]
            found[own] = made[int(np.argmin(errors))][1] @ seen
        return found

    return predict


def bound(data: Data, predict: Predict) -> float:
    """Return the quantile of |error| / width of groups left out."""
    found = left_out(data, predict)
    known = ~np.isnan(found)
    if not known.any():
        return math.inf
    scores = np.abs(found - data.outcome)[known] / data.width[known]
    return group_prediction.conformal_quantile(scores, data.codes[known], CONFIDENCE)


def coverage(data: Data, outcome: Outcome) -> float | None:
    """Return the share of variants of left-out groups in intervals that are made without them, groups the same.

    Terms and penalty are chosen without the group, and the errors behind the interval are of that choice.
    """
    inside = np.zeros(len(data.outcome), dtype=bool)
    for own, rest in data.folds():
        train, test = data.only(rest), data.only(own)
        if len(np.unique(train.codes)) < 3:
            return None
        names, penalty = chosen(train, outcome)

        def predict(seen: Data, new: Data, names: tuple[str, ...] = names, penalty: float = penalty) -> Array:
            return new.design(names) @ coefficients(seen, names, penalty)

        inside[own] = np.abs(predict(train, test) - test.outcome) <= bound(train, predict) * test.width
    return float(np.average(inside, weights=data.weights))


def plain_forecasts(rows: Sequence[Row], data: Data, rng: np.random.Generator, draws: int) -> dict[str, Interval]:
    """Return the rank correlations of plain forecasts with their intervals: one number, its sign learnt elsewhere.

    A line that is fitted without a corpus has no place here: its height differs from corpus to corpus, away from each
    one's own, and so even a random number correlates with the outcome, below zero.
    """
    columns = {
        "tokens alone": [math.log(row.trained_tokens * row.epochs) for row in rows],
        "loss alone": [math.log1p(row.features["loss"]) for row in rows],
        "dose alone": [row.dose.level for row in rows],
    }

    def signed(train: Data, test: Data) -> Array:
        x = train.terms[:, 0]
        slope = np.polyfit(x, train.outcome, 1, w=np.sqrt(train.weights))[0] if np.ptp(x) > 0 else 0.0
        return np.asarray(np.sign(slope) * test.terms[:, 0])

    found: dict[str, Interval] = {}
    for name, values in columns.items():
        own = replace(data, terms=np.array(values, dtype=np.float64)[:, None])
        each = rank(own, left_out(own, signed), rng, draws)
        found[name] = (each.value, each.low, each.high)
    return found


def rank(data: Data, predicted: Array, rng: np.random.Generator, draws: int) -> group_prediction.RankCorrelation:
    """Return the rank correlation of what was predicted with what came."""
    known = ~np.isnan(predicted)
    return group_prediction.rank_correlation(
        predicted[known], data.outcome[known], data.codes[known], rng, draws, permutations=0
    )


def other_bases(
    bases: Sequence[str], data: Data, outcome: Outcome, rng: np.random.Generator, draws: int
) -> dict[str, Interval]:
    """Return, for each base, the rank correlation of fits that saw neither it nor the group of each row."""
    found: dict[str, Interval] = {}
    of = np.array(bases)
    for base in sorted(set(bases)):
        own, rest = data.only(of == base), data.only(of != base)
        if len(np.unique(rest.codes)) < 3:
            found[base] = (None, None, None)
            continue
        predicted = np.full(len(own.outcome), np.nan)
        for code in np.unique(own.codes):
            train = rest.only(rest.codes != code)
            if len(train.outcome):
                predicted[own.codes == code] = nested(outcome)(train, own.only(own.codes == code))
        each = rank(own, predicted, rng, draws)
        found[base] = (each.value, each.low, each.high)
    return found


def predicted_from(rows: Sequence[Row], others: Sequence[Row], outcome: Outcome) -> Array:
    """Return a prediction of each of `others` by a fit to those of `rows` that are of another group of corpora.

    Args:
        rows: What is learned from, coherent ones with a known outcome.
        others: Of another base.
        outcome: What is predicted.
    """
    data = data_of([*rows, *others], outcome.name)
    known = np.arange(len(data.outcome)) < len(rows)
    found = np.full(len(data.outcome), np.nan)
    for code in np.unique(data.codes[~known]):
        seen, new = known & (data.codes != code), ~known & (data.codes == code)
        found[new] = nested(outcome)(data.only(seen), data.only(new))
    return found[~known]


def target(
    rows: Sequence[Row],
    outcome: Outcome,
    rng: np.random.Generator,
    draws: int = 2_000,
    refits: int = REFITS,
    real: Sequence[Row] = (),
) -> Target:
    """Fit one outcome and measure the fit, on `real` as on a base never seen."""
    kept = [row for row in usable(rows) if not math.isnan(row.drift(outcome.name))]
    unseen = [row for row in usable(real) if not math.isnan(row.drift(outcome.name))]
    apart = len(set(groups([row.corpora for row in kept])))
    if apart < LEAST_GROUPS:
        why = f"only {apart} groups of corpora were tuned and stayed coherent, {LEAST_GROUPS} are needed"
        return Target(
            outcome.name, outcome.about, outcome.worse, (), (), math.inf, None, None, None, None, None, why,
            len(kept), apart, {}, {},
        )  # fmt: skip
    data = data_of(kept, outcome.name)
    found = rank(data, left_out(data, nested(outcome)), rng, draws)
    p = group_prediction.refitted_p(found.value, data.outcome, data.codes, again(data, outcome), rng, refits)
    names, penalty = chosen(data, outcome)
    within = bound(data, nested(outcome))
    others = other_bases([row.base for row in kept], data, outcome, rng, draws)
    if unseen:
        each = rank(data_of(unseen, outcome.name), predicted_from(kept, unseen, outcome), rng, draws)
        others[REAL] = (each.value, each.low, each.high)
    why = ""
    if not math.isfinite(within):
        why = f"{apart} groups of corpora are too few for an interval of {100 * CONFIDENCE:.0f} %"
    elif found.low is None or found.low <= LEAST_RHO:
        why = "on corpora that it had not seen the fit did not predict it better than chance"
    return Target(
        outcome=outcome.name, about=outcome.about, worse=outcome.worse, terms=names,
        coefficients=tuple(float(each) for each in coefficients(data, names, penalty)), bound=within,
        rho=found.value, rho_low=found.low, rho_high=found.high, p=p, coverage=coverage(data, outcome),
        usable=why, variants=len(kept), groups=apart, baselines=plain_forecasts(kept, data, rng, draws),
        other_base=others,
    )  # fmt: skip


def fit(rows: Sequence[Row], seed: int = 0) -> Fit:
    """Fit every outcome; the same rows give the same fit."""
    rng = np.random.default_rng(seed)
    rows, real = on_real(rows, real=False), on_real(rows)
    trainings = once(rows)
    kept = usable(rows) or trainings
    levels = [row.dose.level for row in kept]
    unit = dict.fromkeys((*FEATURES, "dose"), 1.0)
    raw = np.array([fitted.point(unit, row.features, row.dose) for row in kept])
    scales = dict(zip(unit, (float(each) or 1.0 for each in raw.std(0)), strict=True))
    points = np.array([fitted.point(scales, row.features, row.dose) for row in kept])
    bases = sorted({row.base for row in rows})
    references = [resolve(shipped_models.folder(base)) for base in bases]
    sizes = [each.parameters for each in references]
    return Fit(
        version=fitted.VERSION,
        about=_about(trainings, kept),
        confidence=CONFIDENCE,
        bases={each.weights_hash: f"embedded:{base}" for each, base in zip(references, bases, strict=True)},
        parameters=(min(sizes), max(sizes)),
        scales=scales,
        points=tuple(tuple(round(float(x), 4) for x in each) for each in points),
        names=tuple(f"{row.variant} ({row.base})" for row in kept),
        measured=tuple(_measured(row) for row in kept),
        reach=_reach(points, codes([row.corpora for row in kept])),
        doses=(min(levels), max(levels)),
        ranks=(min(row.rank for row in kept), max(row.rank for row in kept)),
        seeds=max(row.seeds for row in kept),
        targets=tuple(target(rows, outcome, rng, real=real) for outcome in OUTCOMES),
    )


def _measured(row: Row) -> dict[str, float]:
    """Return the drifts of a row that are known."""
    drifts = {name: row.drift(name) for name in SHARES}
    return {name: round(drift, 4) for name, drift in drifts.items() if not math.isnan(drift)}


def _about(rows: Sequence[Row], kept: Sequence[Row]) -> str:
    """Return the card of the fit in a few sentences."""
    corpora = sorted({each for row in rows for each in row.corpora})
    bases = sorted({row.base for row in rows})
    return (
        f"Fitted by tools/forecast/ on {len(kept)} coherent ones of {len(rows)} tuned variants of {len(corpora)} "
        f"corpora ({', '.join(corpora)}) on the embedded bases {', '.join(bases)}, LoRA alone. It holds numbers and no "
        "text of any corpus. It speaks of models of a million parameters in a generated world and of no other. What it "
        "can and cannot predict, out of sample, stands in docs/forecast.md; a target with a reason in `usable` is not "
        "to be used. Licence: Apache-2.0, as the project; public corpora behind variants are MIT or Apache-2.0."
    )


def _reach(points: Array, of: NDArray[np.int64]) -> float:
    """Return the distance to the nearest variant of another group that nine of ten variants stay within."""
    nearest = []
    for at, group in enumerate(of):
        others = np.flatnonzero(of != group)
        if others.size:
            nearest.append(float(np.sqrt(((points[others] - points[at]) ** 2).mean(1)).min()))
    return float(np.quantile(nearest, 0.9)) if nearest else 0.0


def as_table(found: Fit) -> Mapping[str, Any]:
    """Return the fit as it is written: an infinite bound is None."""
    table = asdict(found)
    for each in table["targets"]:
        each["bound"] = each["bound"] if math.isfinite(each["bound"]) else None
    return table


def keep(found: Fit) -> None:
    """Write the fit into the package."""
    write(fitted.FILE, (json.dumps(as_table(found), indent=1, allow_nan=False) + "\n").encode())
