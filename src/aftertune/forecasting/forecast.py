"""A forecast: a data card, the drift to expect of a recipe, and what becomes of both with less."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from aftertune.forecasting import data_card, fitted
from aftertune.forecasting.data_card import DataCard
from aftertune.forecasting.fitted import Distance, Dose, Fit, Known, Outlook
from aftertune.records import Recipe

HIDDEN = frozenset({"readout"})
"""Outcomes that are fitted and not shown: they have a meaning for those alone who read docs/forecast.md."""


@dataclass(frozen=True)
class SmallerDose:
    """What less would do."""

    about: str
    """E.g. `half the learning rate`."""
    outlooks: tuple[Outlook, ...]


@dataclass(frozen=True)
class Forecast:
    """A data card, the drift to expect, and how far the data lie from those that the fit knows."""

    data: str
    base: str
    recipe: Recipe
    steps: int
    """Optimizer steps of the recipe on these data."""
    card: DataCard
    known: Known
    distance: Distance | None
    """None where a feature is missing."""
    reach: float
    """Distance beyond which nothing is predicted."""
    outlooks: tuple[Outlook, ...]
    smaller: tuple[SmallerDose, ...]
    """Empty where nothing is predicted."""
    confidence: float
    """Of the intervals of the outlooks."""
    refused: str
    """Why no drift is predicted at all; empty where it is."""
    notes: tuple[str, ...]
    variants: int
    """That the fit is made of."""


def predict(
    fit: Fit, *, data: str, base: str, weights_hash: str | None, parameters: int, recipe: Recipe, card: DataCard
) -> Forecast:
    """Return what a fit predicts of tuning a base on data with this card; `parameters` is the size of the base."""
    known = fit.knows(weights_hash, parameters)
    dose = Dose.of(recipe, card.conversations)
    values = fitted.values_of(card)
    distance = fitted.distance(fit, values, dose) if values is not None else None
    refused = _refusal(fit, recipe, card, known, distance, dose, parameters)
    outlooks = tuple(fitted.outlooks(fit, values or {}, dose, refused)) if values or refused else ()
    smaller = () if refused or values is None else _smaller(fit, card, values, dose)
    notes = []
    if known == "family":
        notes.append(
            "the fit was made on other bases of this size, not on this one: how it does on a base that it has not "
            "seen stands in docs/forecast.md"
        )
    if card.read < card.conversations:
        notes.append(f"the base read {card.read:,} of {card.conversations:,} conversations, drawn at random")
    return Forecast(
        data=data, base=base, recipe=recipe, steps=dose.steps, card=card, known=known, distance=distance,
        reach=fit.reach, outlooks=_shown(outlooks), smaller=smaller,
        confidence=fit.confidence, refused=refused, notes=tuple(notes), variants=len(fit.points),
    )  # fmt: skip


def _refusal(
    fit: Fit, recipe: Recipe, card: DataCard, known: Known, distance: Distance | None, dose: Dose, parameters: int
) -> str:
    """Return why nothing is predicted; empty where something is."""
    if known == "unknown":
        return (
            f"the fit knows bases of {fit.parameters[0] / 1e6:.1f} to {fit.parameters[1] / 1e6:.1f} million parameters "
            f"in a generated world, and this one has {parameters / 1e6:,.1f} million: tune a little and measure"
        )
    if recipe.method != "lora":
        return f"the fit knows trainings of a LoRA, and the recipe is '{recipe.method}'"
    if distance is None:
        return fitted.missing(card.features)
    if strange := _strange(fit, recipe):
        return strange
    low, high = fit.doses
    if not low <= dose.level <= high:
        less = "less" if dose.level < low else "more"
        bounds = [2**end * fitted.REFERENCE_DOSE for end in (low, high)]
        return (
            f"the dose (learning rate x steps = {recipe.learning_rate * dose.steps:.3g}) is {less} than any that was "
            f"tuned ({bounds[0]:.3g} to {bounds[1]:.3g})"
        )
    if not distance.within:
        return (
            f"the data lie {distance.value:.1f} standard deviations from the nearest variant that was tuned "
            f"({distance.nearest}), and nothing is known beyond {fit.reach:.1f}"
        )
    return ""


def _strange(fit: Fit, recipe: Recipe) -> str:
    """Return what of a recipe, beside its dose, is like nothing that was tuned; empty where nothing is."""
    lowest, highest = fit.ranks
    if not lowest <= recipe.rank <= highest:
        less = "lower" if recipe.rank < lowest else "higher"
        known = f"{lowest}" if lowest == highest else f"{lowest} to {highest}"
        return f"the LoRA's rank ({recipe.rank}) is {less} than any that was tuned ({known})"
    if not math.isclose(recipe.alpha, fitted.SCALING * recipe.rank):
        return (
            f"alpha ({recipe.alpha}) is {recipe.alpha / recipe.rank:g} times the rank ({recipe.rank}), and "
            f"{fitted.SCALING:g} times in every LoRA that was tuned"
        )
    if recipe.schedule != fitted.SCHEDULE:
        return f"the learning rate's schedule is '{recipe.schedule}', and '{fitted.SCHEDULE}' in all that was tuned"
    return ""


def _smaller(fit: Fit, card: DataCard, values: dict[str, float], dose: Dose) -> tuple[SmallerDose, ...]:
    """Return what smaller doses would do, as far as such doses were tuned on data like these."""
    options: list[tuple[str, dict[str, float], Dose]] = [
        ("half the learning rate", values, replace(dose, learning_rate=dose.learning_rate / 2)),
        ("a quarter of the learning rate", values, replace(dose, learning_rate=dose.learning_rate / 4)),
        ("half of the rows, drawn at random", values, replace(dose, steps=max(dose.steps // 2, 1))),
    ]
    lighter = fitted.values_of(replace(card, features=card.lighter)) if card.lighter else None
    if lighter is not None:
        share = 1 - data_card.HEAVY
        options.append(
            (f"without the {100 * data_card.HEAVY:.0f} % of the rows that weigh most", lighter,
             replace(dose, steps=max(round(share * dose.steps), 1)))
        )  # fmt: skip
    return tuple(
        SmallerDose(about, _shown(fitted.outlooks(fit, own, less)))
        for about, own, less in options
        if fit.doses[0] <= less.level and fitted.distance(fit, own, less).within
    )


def _shown(outlooks: Sequence[Outlook]) -> tuple[Outlook, ...]:
    return tuple(each for each in outlooks if each.outcome not in HIDDEN)
