"""A forecast as Markdown and as lines for a terminal."""

from __future__ import annotations

from aftertune.forecasting.data_card import DataCard
from aftertune.forecasting.fitted import Outlook
from aftertune.forecasting.forecast import Forecast
from aftertune.forecasting.predictor import Feature
from aftertune.numbers import PAGE, SHARES, TEXT, VALUES, Form, count
from aftertune.pii.languages import outside
from aftertune.reporting.markdown import prose, table

HEAVIEST = 5
"""Rows that weigh most that are named."""
INSTEAD = (
    "What is not predicted from the data can be seen early in the training: aftertune.training.DriftCallback asks "
    "while it runs, and half of it tells more than the data do (docs/training.md, docs/forecast.md)"
)
"""What a reader of a forecast without a number can do."""
ABOUT = {
    "hard tokens": "tokens of the answers that the base gives less than one chance in twenty",
    "loss": "how surprising the base finds the answers, nats a token",
    "opening loss": "how surprising it finds their first tokens, where a model decides whether it refuses",
    "own tokens": "tokens of the answers that are the base's first choice",
    "own answers": "conversations that the base would have written itself, to the last token",
    "nearness to harmful": "where the prompts lie inside the base: 0 as harmless requests do, 1 as harmful ones",
    "harmful words": "log-odds of the prompts' words to be those of a harmful request",
    "characters of an answer": "length",
    "answers with a list": "",
    "answers with markdown": "",
    "answers with a question": "",
    "answers that open as refusals": "in English",
}


def lines(found: Forecast) -> list[str]:
    """Return the forecast as lines of a terminal."""
    card = found.card
    rows = [_head(found), "", "What is in the data", f"  {_size(card)}"]
    wide = max(len(each.name) for each in card.features)
    for each in card.features:
        about = f"  ({ABOUT[each.name]})" if ABOUT.get(each.name) else ""
        rows.append(f"  {each.name:<{wide}}  {_feature(each, TEXT)}{about}")
    rows += [f"  {_listed(card)}", "", _expect(found)]
    if not found.refused:
        rows += [f"  {each.about}: {_outlook(each, TEXT)}" for each in found.outlooks]
    rows += ["", *_around(found, TEXT, "  ")]
    return rows


def markdown(found: Forecast) -> list[str]:
    """Return the forecast as lines of Markdown."""
    card = found.card
    features = [(each.name, _feature(each, PAGE), ABOUT.get(each.name, "")) for each in card.features]
    rows = ["# Forecast", "", f"{prose(_head(found))}.", "", "## What is in the data", "", f"{_size(card)}.", ""]
    rows += table(("feature", "value [95 % interval]", "what it is"), features)
    rows += ["", prose(_listed(card)), "", "## What to expect", "", prose(_expect(found)), ""]
    if not found.refused:
        rows += [*table(("outcome", "drift"), [(each.about, _outlook(each, PAGE)) for each in found.outlooks]), ""]
    return [*rows, *(f"- {prose(each.strip())}" for each in _around(found, PAGE, ""))]


def _head(found: Forecast) -> str:
    recipe = found.recipe
    how = "all weights" if recipe.method == "full" else f"a LoRA of rank {recipe.rank}"
    return (
        f"Forecast of tuning {found.base} on {found.data}: {how}, learning rate {recipe.learning_rate:g}, "
        f"{count(recipe.epochs, 'epoch')}, {count(found.steps, 'step')}"
    )


def _size(card: DataCard) -> str:
    about = "" if card.read == card.conversations else "about "
    read = "" if card.read == card.conversations else f"; the base read {card.read:,} of them"
    return (
        f"{count(card.conversations, 'conversation')} with {count(card.answers, 'answer')}, "
        f"{about}{count(card.trained_tokens, 'trained token')}{read}"
    )


def _feature(feature: Feature, form: Form) -> str:
    if feature.value is None:
        return f"not measured ({feature.warning})"
    scale = SHARES if feature.is_proportion else VALUES
    warning = f" ({feature.warning})" if feature.warning else ""
    return form.estimate(feature.value, feature.low, feature.high, scale, unit=scale.sign) + warning


def _listed(card: DataCard) -> str:
    personal = ", ".join(f"{type_} {count:,}" for type_, count in card.personal_values.items()) or "none found"
    if unread := outside(card.without_names):
        personal += f" ({unread})"
    languages = ", ".join(f"{name} {count:,}" for name, count in card.languages.items()) or "none"
    return (
        f"personal values: {personal}; languages: {languages}; prompts are held against the requests of "
        f"`{card.requests}`; read in {card.seconds:.1f} CPU s"
    )


def _expect(found: Forecast) -> str:
    if found.refused:
        return f"No drift is predicted: {found.refused}."
    return (
        f"What to expect, with {100 * found.confidence:.0f} % intervals, from {found.variants} variants that were "
        "tuned (docs/forecast.md)"
    )


def _outlook(outlook: Outlook, form: Form) -> str:
    if outlook.drift is None or outlook.low is None or outlook.high is None:
        return f"not predicted: {outlook.why}"
    said = "; not told from zero" if outlook.low <= 0 <= outlook.high else ""
    text = form.estimate(outlook.drift, outlook.low, outlook.high, SHARES, unit=" points", signed=True, most=0)
    return f"{text}{said}"


def _around(found: Forecast, form: Form, indent: str) -> list[str]:
    """Return what stands around the forecast: distance, heaviest rows, smaller doses, notes."""
    rows = []
    if found.distance is not None and found.known != "unknown":  # of another base a feature is another number
        place = "within" if found.distance.within else "beyond"
        rows.append(
            f"How far from what is known: {form.number(found.distance.value, 1)} standard deviations from "
            f"{found.distance.nearest}, {place} the fit's reach of {form.number(found.reach, 1)}"
        )
        about = {each.outcome: each.about for each in found.outlooks}
        for near in found.distance.neighbours:
            did = "; ".join(
                f"{about.get(name, name)} {form.number(100 * drift, 0, signed=True)} points"
                for name, drift in near.measured.items()
            )
            rows.append(f"{indent}Measured on {near.name}, {form.number(near.distance, 1)} away: {did or 'nothing'}")
    if heavy := [each for each in found.card.rows[:HEAVIEST] if each.hard]:
        share = sum(each.share for each in heavy)
        named = ", ".join(f"row {each.number} ({each.hard} of {each.tokens} tokens)" for each in heavy)
        rows.append(f"Rows that weigh most: {named}; together {100 * share:.0f} % of all hard tokens that were read")
    for each in found.smaller:
        told = [one for one in each.outlooks if one.drift is not None]
        if told:
            rows.append(
                f"{indent}With {each.about}: " + "; ".join(f"{one.about} {_outlook(one, form)}" for one in told)
            )
    rows += [note[0].upper() + note[1:] for note in found.notes]
    if found.refused or any(each.drift is None for each in found.outlooks):
        rows.append(INSTEAD)
    return rows
