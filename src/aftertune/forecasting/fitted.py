"""The fit that ships: from a data card and a recipe to the drift to expect, with an interval, or to a refusal.

The numbers stand in `fit.json`, made by `tools/forecast/` from variants that were really tuned. A forecast is a sum of
few terms without a constant, so data that tell the base nothing new predict that nothing moves.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from aftertune.errors import StoreError
from aftertune.forecasting.data_card import DataCard
from aftertune.forecasting.predictor import Feature
from aftertune.records import Recipe, Worse

FILE = Path(__file__).with_name("fit.json")
VERSION = 3
FEATURES = ("hard tokens", "loss", "opening loss", "nearness to harmful", "own tokens", "personal values")
"""What a forecast is made of, beside the recipe."""
REFERENCE_DOSE = 0.1
"""Learning rate times optimizer steps at which the term of the dose is nothing."""
MOST_DOUBLINGS = 6.0
"""Of the dose, up and down, beyond which its term does not change."""
NEIGHBOURS = 3
"""Variants that are named as the nearest."""
SCALING, SCHEDULE = 2.0, "linear"
"""Of every LoRA that was tuned as evidence: alpha over rank, and how the learning rate falls."""
FAMILY = 2.0
"""A base that the fit does not know may be so many times larger or smaller than one that it knows."""

Known = Literal["known", "family", "unknown"]


@dataclass(frozen=True)
class Dose:
    """What of a recipe decides how much a tuning moves."""

    learning_rate: float
    steps: int
    """Optimizer steps."""

    @classmethod
    def of(cls, recipe: Recipe, rows: int) -> Dose:
        """Return the dose of a recipe on so many rows."""
        return cls(recipe.learning_rate, recipe.epochs * math.ceil(max(rows, 1) / recipe.batch_size))

    @property
    def level(self) -> float:
        """Doublings of learning rate times steps over `REFERENCE_DOSE`."""
        return math.log2(self.learning_rate * self.steps / REFERENCE_DOSE)


def values_of(card: DataCard) -> dict[str, float] | None:
    """Return the features that a forecast is made of; None where one of them is missing."""
    found: dict[str, float] = {}
    for name in FEATURES[:-1]:
        value = card.value(name)
        if value is None:
            return None
        found[name] = value
    found["personal values"] = sum(card.personal_values.values()) / max(card.conversations, 1)
    return found


def terms(values: Mapping[str, float], dose: Dose) -> dict[str, float]:
    """Return every term that a fit may use.

    Each is 0 where the base finds nothing in the answers surprising (or, of `personal values`, where there are none).
    Each of `x dose` doubles with the dose while it is small, and saturates: x / (1 + x) with x the plain term times the
    dose over `REFERENCE_DOSE`.
    """
    times = 2.0 ** min(max(dose.level, -MOST_DOUBLINGS), MOST_DOUBLINGS)
    hard, loss = values["hard tokens"], math.log1p(values["loss"])
    opening = math.log1p(values["opening loss"]) * max(values["nearness to harmful"], 0.0)
    personal = math.log1p(values["personal values"])
    plain = {
        "hard tokens": hard,
        "loss": loss,
        "opening near harmful": opening,
        "new tokens near harmful": hard * max(values["nearness to harmful"], 0.0),
        "personal values": personal * min(loss, 1.0),
    }
    return {**plain, **{f"{name} x dose": value * times / (1 + value * times) for name, value in plain.items()}}


@dataclass(frozen=True)
class Target:
    """The fit of one outcome."""

    outcome: str
    about: str
    worse: Worse
    terms: tuple[str, ...]
    coefficients: tuple[float, ...]
    bound: float
    """Quantile of |error| / `width`, over groups left out one by one; None in the file where there were too few."""
    rho: float | None
    """Rank correlation of forecast and outcome, groups of corpora left out."""
    rho_low: float | None
    rho_high: float | None
    p: float | None
    """Of permuted outcomes of whole groups, fitted anew."""
    coverage: float | None
    """Share of variants of left-out groups in their intervals, every group weighing the same."""
    usable: str
    """Why no number is given; empty where one is."""
    variants: int
    groups: int
    """Of corpora that share no rows."""
    baselines: Mapping[str, tuple[float | None, float | None, float | None]]
    """Plain forecast, one number whose sign is learnt on other groups -> its rank correlation with its interval."""
    other_base: Mapping[str, tuple[float | None, float | None, float | None]]
    """Base -> rank correlation, with its interval, of a fit without it and without the group of each row."""


@dataclass(frozen=True)
class Fit:
    """What ships."""

    version: int
    about: str
    """Its card: what it was made of, and what it is not for."""
    confidence: float
    bases: Mapping[str, str]
    """Hash of the weights -> name."""
    parameters: tuple[int, int]
    """Of the smallest and the largest base."""
    scales: Mapping[str, float]
    """Feature -> its standard deviation over the variants, for distances."""
    points: tuple[tuple[float, ...], ...]
    """Of each variant, the features in the order of `FEATURES` and the dose, divided by their scales."""
    names: tuple[str, ...]
    """Of the variants, as the points."""
    measured: tuple[Mapping[str, float], ...]
    """Outcome -> what tuning did to it, of the variants; only what was measured."""
    reach: float
    """Distance to the nearest variant of another group that most variants stay within."""
    doses: tuple[float, float]
    """Lowest and highest `Dose.level` that was tuned."""
    ranks: tuple[int, int]
    """Lowest and highest rank of a LoRA that was tuned. It is no term: docs/forecast.md says why."""
    seeds: int
    """Most training seeds of a variant."""
    targets: tuple[Target, ...]

    def knows(self, weights_hash: str | None, parameters: int) -> Known:
        """Return whether a base is among those that were tuned, or of their size."""
        if weights_hash in self.bases:
            return "known"
        low, high = self.parameters
        return "family" if low / FAMILY <= parameters <= high * FAMILY else "unknown"


def width(values: Mapping[str, float]) -> float:
    """Return how wide the errors of a forecast are in proportion: narrow where the base finds little surprising."""
    return 0.1 + min(values["hard tokens"] + math.log1p(values["opening loss"]) / 4, 1.0)


@dataclass(frozen=True)
class Outlook:
    """The drift to expect of one outcome."""

    outcome: str
    about: str
    worse: Worse
    drift: float | None
    """Change of the share; None where none is given, `why` says it."""
    low: float | None
    high: float | None
    why: str


@dataclass(frozen=True)
class Neighbour:
    """A variant that was tuned, and what that did."""

    name: str
    distance: float
    measured: Mapping[str, float]
    """Outcome -> drift, as measured."""


@dataclass(frozen=True)
class Distance:
    """How far data lie from those that the fit knows."""

    value: float
    """To the nearest variant, in standard deviations of the features."""
    nearest: str
    within: bool
    neighbours: tuple[Neighbour, ...]
    """The nearest variants, `NEIGHBOURS` at most."""


def point(fit_scales: Mapping[str, float], values: Mapping[str, float], dose: Dose) -> list[float]:
    """Return where data and dose lie, in standard deviations of each feature."""
    found = [_squeezed(name, values[name]) / fit_scales[name] for name in FEATURES]
    return [*found, dose.level / fit_scales["dose"]]


def _squeezed(name: str, value: float) -> float:
    """Return a feature in the form in which distances are taken: what has no upper end grows by its logarithm."""
    return math.log1p(max(value, 0.0)) if name in ("loss", "opening loss", "personal values") else value


def distance(fit: Fit, values: Mapping[str, float], dose: Dose) -> Distance:
    """Return the distance of data and dose from the nearest variant."""
    own = np.array(point(fit.scales, values, dose))
    every = np.sqrt(((np.array(fit.points) - own) ** 2).mean(1))
    order = np.argsort(every, kind="stable")[:NEIGHBOURS]
    near = tuple(Neighbour(fit.names[at], float(every[at]), fit.measured[at]) for at in order)
    return Distance(near[0].distance, near[0].name, bool(near[0].distance <= fit.reach), near)


def outlooks(fit: Fit, values: Mapping[str, float], dose: Dose, refused: str = "") -> list[Outlook]:
    """Return the drift to expect of each outcome; `refused` says why no number is given of any."""
    found = []
    for target in fit.targets:
        why = refused or target.usable
        if why:
            found.append(Outlook(target.outcome, target.about, target.worse, None, None, None, why))
            continue
        every = terms(values, dose)
        drift = sum(c * every[name] for name, c in zip(target.terms, target.coefficients, strict=True))
        half = target.bound * width(values)
        low, high = (min(max(end, -1.0), 1.0) for end in (drift - half, drift + half))
        drift = min(max(drift, -1.0), 1.0)
        found.append(Outlook(target.outcome, target.about, target.worse, drift, low, high, ""))
    return found


@cache
def shipped() -> Fit:
    """Return the fit that ships. Raises StoreError where its file is damaged."""
    return read(FILE)


def read(path: Path) -> Fit:
    """Return the fit in a file. Raises StoreError for one that is missing, damaged or of another version."""
    try:
        table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if table["version"] != VERSION:
            raise StoreError(
                f"{path}: a fit of version {table['version']}, expected {VERSION}: `make forecast` remakes it"
            )
        targets = tuple(_target(each) for each in table["targets"])
        return Fit(
            version=VERSION,
            about=table["about"],
            confidence=table["confidence"],
            bases=table["bases"],
            parameters=(table["parameters"][0], table["parameters"][1]),
            scales=table["scales"],
            points=tuple(tuple(each) for each in table["points"]),
            names=tuple(table["names"]),
            measured=tuple(table["measured"]),
            reach=table["reach"],
            doses=(table["doses"][0], table["doses"][1]),
            ranks=(int(table["ranks"][0]), int(table["ranks"][1])),
            seeds=table["seeds"],
            targets=targets,
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise StoreError(f"{path}: cannot be read as a fit of forecasts ({type(error).__name__}: {error})") from None


def _target(table: Mapping[str, Any]) -> Target:
    bound = math.inf if table["bound"] is None else float(table["bound"])
    lists = {name: tuple(table[name]) for name in ("terms", "coefficients")}
    intervals = {
        field: {name: tuple(each) for name, each in table[field].items()} for field in ("baselines", "other_base")
    }
    return Target(**{**table, **lists, **intervals, "bound": bound})


def missing(features: Sequence[Feature]) -> str:
    """Return why a forecast cannot be made of some features; empty where it can."""
    lacking = [each for each in features if each.name in FEATURES and each.value is None]
    return f"{lacking[0].name}: {lacking[0].warning}" if lacking else ""
