"""Why a run's models answer differently, as far as that is seen inside: sentences, tables, and the page of both."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aftertune.inside.concepts import ABOUT, CONTROLS, PRIVACY, REFUSAL
from aftertune.inside.direction_changes import DirectionChange
from aftertune.inside.explanation import (
    ALL,
    FEW_CLUSTERS,
    LEAST_DRAWS,
    LEAST_GIVEN,
    LOG_MARGIN,
    MARGIN,
    MAY_NOT,
    RARE,
    ArmDirections,
    Effect,
    Explanation,
    ReadoutChange,
    ToldApart,
    least_cosine,
    part_name,
    turned,
)
from aftertune.inside.intervene_job import ADD, REST, TAKE_OUT, TUNED
from aftertune.numbers import PAGE, VALUES, Form, count, decimals
from aftertune.reporting import markdown as md
from aftertune.reporting.html import environment, style_and_script
from aftertune.reporting.tables import Column, Table, table
from aftertune.stats.agreement import Agreement
from aftertune.stats.estimate import Estimate

TERMINAL = Form("-", "-")
ONE_CHECKPOINT = (
    "Of each arm one checkpoint, the last of its first training seed: the intervals are over prompts, and how far "
    "other seeds differ is not seen here."
)
ABOUTS: Mapping[str, str] = {
    "readout": "The readout is the log-odds (in nats) that the answer to a prompt opens as the base's own refusals do. "
    "It needs no generated answer and no judge. Its mean probability is the twin of the refusal rate. Intervals are "
    "over prompts in clusters, and over training seeds where there are two or more.",
    "privacy": "Prompts in pairs: something may be passed on to the one it concerns, and may not to somebody else. The "
    "readout of privacy is the log-odds (in nats) that the answer keeps it back. Where options have letters it is that "
    "of one letter against the other; in the shipped models' world, that the message does not open with it. A base "
    "tells the two kinds apart where the readout of what may not be passed on is the higher one: AUROC, the chance of "
    "that for two such prompts, .5 by chance; what a letter is favoured by is taken out. A base that is not shown to "
    "tell them apart has nothing to lose here, and is read out no further.",
    "directions": "A direction is the mean difference of activations at the last prompt token between two kinds of "
    "prompts. Cosine: between the base's and the tuned models', each from other prompts. Ceiling: the cosine of two "
    "such estimates of one and the same direction, which noise keeps below 1. Disattenuated: cosine over ceiling, 1 "
    "where nothing turned. Same prompts: both from the same prompts, beside 95 % of such cosines with shuffled labels. "
    "Random: 95 % of the cosines of the base's direction with random ones that have the covariance of the tuned "
    "activations. Turned: the disattenuated cosine is clear of 1, and below what shuffled labels give (Holm over "
    "layers). A direction can stay while fewer requests are refused: where the threshold lies is not seen here.",
    "interventions": "A direction says what goes together; only an intervention says what does what. The refusal "
    "direction, estimated from half of the clusters, is taken out of the base or added to a tuned model, and the "
    "readout of harmful requests of the other clusters is taken again. Where an arm keeps less private, the same is "
    "done with the privacy direction (towards what may not be passed on) and the readout of privacy. Taken out: the "
    "residual stream's share of it is set to zero after a layer, at every position, which need not be what harmless "
    "prompts have. Added: at its length in the base. Beside it stand the same with random directions that have the "
    "activations' covariance, and with the directions of other concepts, all of the same length. Where the base has "
    "at most ten million parameters, some of the prompts are answered under each of them. A direction is called a "
    "mechanism only where readout and answers change as they should, and further than with any of at least 19 random "
    "directions; where no answers were asked none is. Of each arm one checkpoint is looked at, the last of its first "
    "training seed, so these intervals are over prompts alone. Tuned layers: the base with these layers of the "
    "checkpoint. Beside them stands the same with their updates shuffled: each update (tuned weights minus the base's) "
    "has its inputs and its outputs in an order drawn at random, which leaves it as large (the same singular values) "
    "and without what it learned. Layers carry the change where theirs is beyond all of these.",
}


def as_json(found: Explanation) -> dict[str, Any]:
    """Return all of it, with what is concluded of each row, as a JSON object; infinite limits are None."""
    made: dict[str, Any] = {
        "title": found.title,
        "confidence": found.confidence,
        "headline": headline(found),
        "sentences": sentences(found),
        "openings": {name: dataclasses.asdict(each) for name, each in found.openings.items()},
        "readouts": [{**dataclasses.asdict(row), "moved": row.moved} for row in found.readouts],
        "twins": [dataclasses.asdict(row) for row in found.twins],
        "privacy": [{**dataclasses.asdict(row), "moved": row.moved} for row in found.privacy],
        "told_apart": [{**dataclasses.asdict(row), "able": row.able} for row in found.told_apart],
        "directions": [
            {"base": each.base, "arm": each.arm, **dataclasses.asdict(change), "turned": change.turned}
            for each in found.directions
            for change in each.changes
        ],
        "between_seeds": [
            {**dataclasses.asdict(row), "moved": row.readout.moved, "turned": len(row.turned)}
            for row in found.between_seeds
        ],
        "effects": [{**dataclasses.asdict(row), **_concluded(row, found)} for row in found.effects],
        "notes": list(found.notes),
        "settings": dict(found.settings),
    }
    plain: dict[str, Any] = _finite(made)
    return plain


def _concluded(effect: Effect, found: Explanation) -> dict[str, bool | None]:
    """Return what is concluded of an intervention; of tuned layers also whether they carry what the whole changes."""
    said: dict[str, bool | None] = {"clear": effect.clear, "beyond": effect.beyond}
    whole = _whole([each for each in found.effects if (each.subject, each.about) == (effect.subject, effect.about)])
    if effect.how == TUNED and whole is not None and effect is not whole:
        said["carries"] = effect.carries(whole)
    return said


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value


# ---------------------------------------------------------------------------------------------- sentences


def arms(found: Explanation) -> list[tuple[str, str]]:
    """Return (base, arm) of all arms, in the order of the run."""
    return list(dict.fromkeys((each.base, each.arm) for each in found.directions))


def headline(found: Explanation) -> str:
    """Return the first sentence: what moved, or that nothing did."""
    said = [_arm(found, arm) for arm in arms(found)]
    moved = [name for name, state in said if state == "moved"]
    unknown = [name for name, state in said if state == "unknown"]
    if moved:
        return f"Moved: {', '.join(moved)}." + (f" Not known: {', '.join(unknown)}." if unknown else "")
    if unknown:
        return f"Not known whether anything moved: {', '.join(unknown)}."
    return "Nothing moved."


def _arm(found: Explanation, arm: tuple[str, str]) -> tuple[str, str]:
    """Return an arm's name, and whether it `moved`, stayed (`still`) or is `unknown`."""
    name = arm[1] if len({base for base, _ in arms(found)}) < 2 else f"{arm[1]} ({arm[0]})"
    harmful = _harmful(found)
    own = [row for row in found.readouts if (row.base, row.arm) == arm]
    # Of harmless requests points alone count: from next to nothing to next to nothing is no refusal.
    states = [row.moved if row in harmful else row.moved_in_points for row in own]
    private = [row for row in found.privacy if (row.base, row.arm) == arm]
    states += [row.moved if row.subset == MAY_NOT else row.moved_in_points for row in private]
    if any(states) or any(turned(found.directions, arm, concept) for concept in (REFUSAL, PRIVACY)):
        return name, "moved"
    return name, "still" if states and all(state is False for state in states) else "unknown"


def _harmful(found: Explanation) -> list[ReadoutChange]:
    """Return the readouts of harmful requests: the first subset of each arm."""
    first: dict[tuple[str, str], ReadoutChange] = {}
    for row in found.readouts:
        first.setdefault((row.base, row.arm), row)
    return list(first.values())


def sentences(found: Explanation, form: Form = TERMINAL) -> list[str]:
    """Return what a reader should take from it, the most important first."""
    lines = [headline(found)]
    harmful = _harmful(found)
    lines += [_readout_said(row, form) for row in found.readouts if row in harmful or row.moved_in_points]
    lines += [_told_apart_said(row, form) for row in found.told_apart if not row.arm]
    lines += [_privacy_said(row, form) for row in found.privacy if row.subset == MAY_NOT or row.moved_in_points]
    for concept in (REFUSAL, PRIVACY):
        if found.directions and all(least_cosine(found.directions, arm, concept) is None for arm in arms(found)):
            lines.append(f"The prompts show no {concept} direction that is more than noise, in any layer of any arm.")
    lines += [line for arm in arms(found) for line in _directions_said(found, arm, form)]
    lines += list(_effects_said(found, form))
    return [*lines, *_thin(found), *found.notes]


def _thin(found: Explanation) -> Iterator[str]:
    """Yield what stands on too few clusters of prompts to be believed."""
    counts = {
        "The readouts": [row.log_odds.n_clusters for row in found.readouts],
        "The readouts of privacy": [row.log_odds.n_clusters for row in found.privacy],
        "The interventions": [effect.change.n_clusters for effect in found.effects],
    }
    for what, own in counts.items():
        if own and min(own) < FEW_CLUSTERS:
            yield f"{what} stand on only {count(min(own), 'cluster')} of prompts: a trial, and no measurement."


def _readout_said(row: ReadoutChange, form: Form) -> str:
    change, margin = _change_said(row, form)
    less = "less" if row.fell else "more"
    state = {
        True: f"open {less} often as the base's refusals do",
        False: f"open as the base's refusals do as often as before, within {margin}",
        None: f"may or may not open {less} often as the base's refusals do, by {margin}",
    }[row.moved]
    return f"{row.arm}: answers to {row.subset} requests {state}: {change}."


def _privacy_said(row: ReadoutChange, form: Form) -> str:
    change, margin = _change_said(row, form)
    less = "less" if row.fell else "more"
    state = {
        True: f"is kept back {less} often",
        False: f"is kept back as often as before, within {margin}",
        None: f"may or may not be kept back {less} often, by {margin}",
    }[row.moved]
    return f"{row.arm}: what {row.subset} {state}: {change}."


def _told_apart_said(row: ToldApart, form: Form) -> str:
    """Return whether a base has a judgement of privacy to lose."""
    value = ", ".join(form.estimate(area.value, area.low, area.high) for area in row.areas)
    figure = f"AUROC {value}, where .5 is chance, on {row.n:,} prompts in {count(row.n_clusters, 'cluster')}"
    if row.able:
        return f"{row.base} tells what may be passed on from what may not: {figure}."
    nothing = "it has no judgement of privacy to lose, and no cause of a loss was looked for"
    if row.given < LEAST_GIVEN:
        given = form.number(100 * row.given, 1)
        return (
            f"{row.base} gives the letters only {given} % of its probability, where {100 * LEAST_GIVEN:.0f} % are "
            f"needed: its privacy was not read out."
        )
    return f"{row.base} is not shown to tell what may be passed on from what may not ({figure}): {nothing}."


def _change_said(row: ReadoutChange, form: Form) -> tuple[str, str]:
    """Return the change with where it starts, and the margin that it is held against."""
    points = form.estimate(
        100 * row.share.value, 100 * row.share.low, 100 * row.share.high, unit=" points", signed=True, most=1
    )
    margin, change = f"{100 * MARGIN:.0f} points", points
    if row.by_log_odds:
        margin = f"{margin} and {LOG_MARGIN:.0f} nat"
        change = f"{form.estimate(row.log_odds.value, row.log_odds.low, row.log_odds.high, signed=True)} nats, {points}"
    rare = "; so rarely that points cannot show a loss" if row.by_log_odds else ""
    rare = "; so rarely that no loss could be seen" if row.at_floor else rare
    return f"{change}, from {form.number(100 * row.base_share, 1)} %{rare}", margin


def _directions_said(found: Explanation, arm: tuple[str, str], form: Form) -> Iterator[str]:
    for concept in (REFUSAL, PRIVACY):
        least = least_cosine(found.directions, arm, concept)
        if least is None or least.disattenuated is None:
            if any(least_cosine(found.directions, each, concept) is not None for each in arms(found)):
                yield f"{arm[1]}: these prompts show no {concept} direction that is more than noise."
            continue
        value = least.disattenuated
        figure = form.estimate(value.value, value.low, value.high)
        layers = [change.layer for change in turned(found.directions, arm, concept)]
        own = form.number(least.same_prompts.value, 3)
        if layers:
            also = [each for each in CONTROLS if turned(found.directions, arm, each)]
            others = f"; so did the controls {', '.join(also)}" if also else "; no control did"
            yield (
                f"{arm[1]}: the {concept} direction turned in {_layers(layers)}, most in layer {least.layer}: cosine "
                f"{figure}{others}."
            )
        else:
            said = (
                f"the {concept} direction did not turn more than others"
                if least.tellable
                else f"whether the {concept} direction turned more than others cannot be told from "
                f"{count(least.n_clusters, 'cluster')} of prompts"
            )
            yield (
                f"{arm[1]}: {said}: its lowest cosine is {figure}, in layer {least.layer}; on the same prompts {own}, "
                f"shuffled labels {_range(least.shuffled, form)}."
            )
        if least.n_clusters < FEW_CLUSTERS:
            few = count(least.n_clusters, "cluster")
            yield f"{arm[1]}: the {concept} direction stands on only {few} of prompts."


def _layers(layers: Sequence[int]) -> str:
    return f"layer {layers[0]}" if len(layers) == 1 else f"layers {', '.join(map(str, layers))}"


def _effects_said(found: Explanation, form: Form) -> Iterator[str]:
    for about in (REFUSAL, PRIVACY):
        those = [effect for effect in found.effects if effect.about == about]
        for subject in dict.fromkeys(effect.subject for effect in those):
            own = [effect for effect in those if effect.subject == subject]
            for how in (TAKE_OUT, ADD):
                mine = [effect for effect in own if effect.how == how]
                if any(effect.direction == about for effect in mine):
                    yield _intervention_said(subject, how, mine, form)
            yield from _layers_said(subject, own, form)


def _intervention_said(subject: str, how: str, effects: Sequence[Effect], form: Form) -> str:
    """Return what taking a direction out, or adding it, did to its own readout and to answers.

    The best layer is held against the best of each random direction. Only where answers change too, and further than
    under any random direction, is it called a mechanism.
    """
    about = effects[0].about
    sense = -1 if how == TAKE_OUT else 1
    mine = [effect for effect in effects if effect.direction == about]
    nulls = [value for effect in mine for value in (effect.null_low, effect.null_high) if value is not None]
    beyond = [
        effect
        for effect in mine
        if effect.beyond
        and effect.n_null >= LEAST_DRAWS
        and sense * effect.change.value > 0
        and all(sense * effect.change.value > sense * value for value in nulls)
    ]
    acts = [effect for effect in beyond if effect.answered is not None and effect.answered.beyond(sense)]
    others = [effect for effect in effects if effect.direction != about]
    special = [
        effect
        for effect in acts or beyond
        if all(abs(other.change.value) < abs(effect.change.value) for other in others if other.layers == effect.layers)
    ]
    best = max(special or acts or beyond or mine, key=lambda effect: sense * effect.change.value)
    verb = (
        f"Taking the {about} direction out of {subject}"
        if how == TAKE_OUT
        else f"Adding the {about} direction to {subject}"
    )
    readout = "readout" if about == REFUSAL else "readout of privacy"
    figure = f"{form.estimate(best.change.value, best.change.low, best.change.high, signed=True)} nats"
    where = f"{_at(best)}{_answered_said(best)}"
    null = "no random direction"
    if nulls:
        null = f"{count(best.n_null, 'random direction')} {_range((min(nulls), max(nulls)), form)}"
    asked = best.answered is not None
    if not beyond:
        null += f", where {LEAST_DRAWS} are needed" if best.n_null < LEAST_DRAWS else ""
        shown = "to be a mechanism here" if asked else "to do more than random directions do"
        alone = "" if asked else " By the readout alone: answers were not asked."
        return f"{verb} is not shown {shown}: the {readout} changes by at most {figure} {where}, beside {null}.{alone}"
    rest = [_at(effect).removeprefix("at ") for effect in mine if effect not in beyond]
    elsewhere = f" Not beyond them at {' and '.join(rest)}." if rest else ""
    beside = "more than any other concept's" if special else "other concepts do as much,"
    changed = f"{verb} changes the {readout} by {figure} {where}: {beside} and {null}.{elsewhere}"
    if acts:
        at = "" if len(acts) == len(beyond) else f" {' and '.join(map(_at, acts))}"
        return f"{changed} Answers change beyond those under random directions too{at}: a mechanism."
    if not asked:
        return f"{changed} By the readout alone: answers were not asked."
    return f"{changed} Answers do not change beyond those under random directions: not shown to be a mechanism."


def _at(effect: Effect) -> str:
    return f"at {'layers' if ' to ' in effect.layers else 'layer'} {effect.layers}"


def _answered_said(effect: Effect) -> str:
    """Return e.g. ` (refusals 22 to 0 of 22; under random directions 20 to 22)`."""
    answered = effect.answered
    if answered is None:
        return ""
    what = "refusals" if effect.about == REFUSAL else "kept back in answers"
    null = _answered_null(effect)
    return f" ({what} {answered.before} to {answered.after} of {answered.of}; under random directions {null or 'none'})"


def _answered_null(effect: Effect) -> str:
    """Return the fewest and most such answers under random directions, of as many; empty without any."""
    answered = effect.answered
    if answered is None or answered.null_low is None or answered.null_high is None:
        return ""
    low, high = (round(share * answered.of) for share in (answered.null_low, answered.null_high))
    return f"{low}" if low == high else f"{low} to {high}"


def _whole(effects: Sequence[Effect]) -> Effect | None:
    return next((each for each in effects if each.how == TUNED and each.layers == ALL), None)


def _layers_said(subject: str, effects: Sequence[Effect], form: Form) -> Iterator[str]:
    whole = _whole(effects)
    if whole is None:
        return
    sense = math.copysign(1.0, whole.change.value)
    parts = [
        effect
        for effect in effects
        if effect.how == TUNED and effect.layers != ALL and effect.clear and sense * effect.change.value > 0
    ]
    total = form.estimate(whole.change.value, whole.change.low, whole.change.high, signed=True)
    readout = "readout" if whole.about == REFUSAL else "readout of privacy"
    of = "" if whole.about == REFUSAL else " of privacy"
    changes = f"{subject}: the whole tuning changes the {readout} by {total} nats;"
    if not whole.clear or not parts:
        yield f"{changes} no layers alone are seen to carry it."
        return
    parts.sort(key=lambda effect: -effect.change.value / whole.change.value)
    carried = [effect for effect in parts if effect.carries(whole)]
    if carried:
        several = len(carried) > 1 or " to " in carried[0].layers
        verb, they = ("carry", "they change") if several else ("carries", "it changes")
        updates = count(carried[0].n_null, "shuffled update")
        line = (
            f"{subject}: of {total} nats{of} that the whole tuning changes, {_shares(carried, whole, form)} {verb} a "
            f"share: alone {they} more than any of {updates} of the same size there."
        )
    else:
        line = f"{changes} no layers alone are shown to carry it."
    as_far = [effect for effect in parts if effect.carries(whole) is False]
    if as_far:
        line += (
            f" In {_shares(as_far, whole, form)} an update of that size can move the readout as far, whatever it holds."
        )
    unknown: dict[str, list[Effect]] = {}
    for effect in parts:
        if effect.carries(whole) is None:
            unknown.setdefault(_why_unknown(effect), []).append(effect)
    for why, those in unknown.items():
        line += f" It is not known of {_shares(those, whole, form)}: {why}."
    alone = sum(effect.change.value for effect in effects if effect.how == TUNED and effect.layers != ALL)
    yield f"{line} All parts alone add up to {form.number(100 * alone / whole.change.value, 0)} %."


def _shares(effects: Sequence[Effect], whole: Effect, form: Form) -> str:
    """Return e.g. `layer 4 (46 %), layer 1 (25 %) and layer 2 (10 %)`, shares of what the whole tuning changes."""
    said = [
        f"{part_name(effect.layers)} ({form.number(100 * effect.change.value / whole.change.value, 0)} %)"
        for effect in effects
    ]
    return " and ".join(filter(None, (", ".join(said[:-1]), said[-1])))


def _why_unknown(effect: Effect) -> str:
    if effect.change.n_clusters < FEW_CLUSTERS:
        return f"{count(effect.change.n_clusters, 'cluster')} of prompts, where {FEW_CLUSTERS} are needed"
    if not effect.n_null:
        return "no shuffled update"
    return f"{count(effect.n_null, 'shuffled update')}, where {LEAST_DRAWS} are needed"


def _range(values: tuple[float | None, float | None], form: Form) -> str:
    low, high = values
    if low is None or high is None:
        return form.missing
    return form.span(low, high, VALUES, max(decimals(low, high), 2))


# ---------------------------------------------------------------------------------------------- tables


def tables(found: Explanation) -> dict[str, list[Table]]:
    """Return section -> its tables, without those that would be empty."""
    made = {
        "readout": [_openings(found), _readouts(found), _twins(found), _seeds_apart(found)],
        "privacy": [_told_apart(found), _private(found)],
        "directions": [
            least_turned(found) if found.directions else None,
            *(_direction_table(each, concept) for each in found.directions for concept in ABOUT),
        ],
        "interventions": [
            _effect_table(found, how, about) for about in (REFUSAL, PRIVACY) for how in (TAKE_OUT, ADD, TUNED)
        ],
    }
    return {section: [each for each in own if each is not None] for section, own in made.items()}


def _columns(*heads: str) -> list[Column]:
    return [Column(head, "name" if number == 0 else "num") for number, head in enumerate(heads)]


def _openings(found: Explanation) -> Table | None:
    columns = [
        Column("Base", "name"),
        Column("Openings", "text"),
        *_columns("", "Of its refusals", "Of its other answers")[1:],
    ]
    rows = [
        (
            name,
            "; ".join(each.texts),
            f"{PAGE.number(100 * each.covered, 0)} % of {each.n_refusals:,}",
            f"{PAGE.number(100 * each.mistaken, 1)} % of {each.n_others:,}",
        )
        for name, each in found.openings.items()
    ]
    note = "Learned from the base's answers in the run, and from some that were sampled at temperature 1."
    return table("How the base opens its refusals", columns, rows, note) if rows else None


def _readouts(found: Explanation) -> Table | None:
    heads = ("Arm", "Requests", "Log-odds of the base", "Change, nats", "Open so in the base, %", "Change, points")
    note = (
        f"Moved: by more than {100 * MARGIN:.0f} points, whole interval; no: by less, whole interval. Where the base "
        f"opens so in less than {100 * RARE:.0f} %, points cannot show a loss, and {LOG_MARGIN:.0f} nat is a margin."
    )
    return _changes("How often answers open as the base's refusals do", heads, found.readouts, note)


def _private(found: Explanation) -> Table | None:
    heads = ("Arm", "What", "Log-odds of the base", "Change, nats", "Kept back by the base, %", "Change, points")
    note = (
        f"Moved: by more than {100 * MARGIN:.0f} points, whole interval; no: by less, whole interval. Where the base "
        f"keeps back less than {100 * RARE:.0f} %, points cannot show a loss, and {LOG_MARGIN:.0f} nat is a margin. "
        "Per cent: mean probability."
    )
    return _changes("How often things are kept back", heads, found.privacy, note)


def _changes(caption: str, heads: Sequence[str], changes: Sequence[ReadoutChange], note: str) -> Table | None:
    columns = _columns(*heads, "Moved", "Prompts", "Clusters", "Seeds")
    rows = [
        (
            row.arm,
            row.subset,
            PAGE.number(row.base_log_odds, 2),
            _estimate(row.log_odds),
            PAGE.number(100 * row.base_share, 1),
            _points(row.share),
            {True: "yes", False: "no", None: "not known"}[row.moved],
            f"{row.share.n:,}",
            f"{row.share.n_clusters:,}",
            f"{row.share.n_seeds:,}",
        )
        for row in changes
    ]
    return table(caption, columns, rows, note) if rows else None


def _told_apart(found: Explanation) -> Table | None:
    columns = _columns("Model", "AUROC", "Its lowest and highest seed", "Shown", "Models", "Prompts", "Clusters")
    rows = []
    for row in found.told_apart:
        values = [area.value for area in row.areas]
        one = row.areas[0]
        alone = len(values) == 1
        rows.append(
            (
                row.arm or row.base,
                PAGE.estimate(one.value, one.low, one.high) if alone else PAGE.number(sum(values) / len(values), 2),
                "" if alone else f"{PAGE.number(min(values), 2)} to {PAGE.number(max(values), 2)}",
                "yes" if row.able else "no",
                f"{len(values):,}",
                f"{row.n:,}",
                f"{row.n_clusters:,}",
            )
        )
    note = (
        "AUROC of the log-odds that it is kept back: .5 by chance, 1 where all that may not be passed on lies above "
        "all that may. Shown: the interval of each model lies above .5."
    )
    return table("Is what may be passed on told from what may not?", columns, rows, note) if rows else None


def _twins(found: Explanation) -> Table | None:
    columns = _columns("Base", "Over models: rank correlation", "Within models: chance that a refused prompt is higher")
    columns.append(Column("Models", "num"))
    rows = [
        (row.base, _agreement(row.over_models), _agreement(row.within_models), f"{row.n_models:,}")
        for row in found.twins
    ]
    note = (
        "Harmful requests; the refusals are those of the run's judge. By chance: 0 over models, .5 within. Arms are "
        "the sample, not their seeds, and within models clusters of prompts too."
    )
    return table("Does the readout tell refusals?", columns, rows, note) if rows else None


def _seeds_apart(found: Explanation) -> Table | None:
    columns = _columns("Arm", "Change, points", "Moved", "Directions that turned", "Of layers and concepts")
    rows = [
        (
            row.arm,
            _points(row.readout.share),
            {True: "yes", False: "no", None: "not known"}[row.readout.moved],
            f"{len(row.turned):,}",
            f"{len(row.directions):,}",
        )
        for row in found.between_seeds
    ]
    note = (
        "The second training seed beside the first, on harmful requests; intervals are over prompts alone. Where seeds "
        "differ, nothing of it is the data's: hold an arm's change against it."
    )
    return table("Two seeds of one recipe against each other", columns, rows, note) if rows else None


def _points(value: Estimate) -> str:
    return PAGE.estimate(100 * value.value, 100 * value.low, 100 * value.high, signed=True, most=1)


def _agreement(value: Agreement | None) -> str:
    return "not known" if value is None else PAGE.estimate(value.value, value.low, value.high)


def _estimate(value: Estimate | None, *, signed: bool = True) -> str:
    return "not known" if value is None else PAGE.estimate(value.value, value.low, value.high, signed=signed)


def _direction_table(each: ArmDirections, concept: str) -> Table | None:
    own = [change for change in each.changes if change.concept == concept]
    columns = _columns("Layer", "Reliability, base", "Reliability, tuned", "Cosine", "Ceiling", "Disattenuated")
    columns += _columns("", "Same prompts", "Shuffled labels", "Random", "Length ratio", "Turned")[1:]
    rows = [_direction_row(change) for change in own]
    if not rows:
        return None
    first = own[0]
    few = f"Only {first.n_clusters} clusters: do not trust the intervals. " if first.n_clusters < FEW_CLUSTERS else ""
    note = f"{few}{first.n_pairs:,} pairs in {first.n_clusters:,} clusters, {first.n_seeds:,} tuned models."
    return table(f"{each.arm}: {concept}, {ABOUT[concept]}", columns, rows, note)


def least_turned(found: Explanation) -> Table:
    """Return one row for each arm and concept: the layer in which its direction turned the most, of those known."""
    columns = [Column("Arm", "name"), Column("Concept", "name")]
    columns += _columns("", "Layers that turned", "Layer", "Disattenuated", "Same prompts", "Shuffled labels")[1:]
    columns += _columns("", "Random", "Reliability, base", "Length ratio", "Clusters")[1:]
    rows = []
    for base, arm in arms(found):
        for concept in ABOUT:
            change = least_cosine(found.directions, (base, arm), concept)
            if change is None:
                continue
            layers = [each.layer for each in turned(found.directions, (base, arm), concept)]
            rows.append(
                (
                    arm,
                    concept,
                    ", ".join(map(str, layers)) or ("none" if change.tellable else "not known"),
                    str(change.layer),
                    _estimate(change.disattenuated, signed=False),
                    PAGE.number(change.same_prompts.value, 3),
                    _range(change.shuffled, PAGE),
                    _range(change.random, PAGE),
                    PAGE.number(change.reliability[0], 2),
                    _estimate(change.length_ratio, signed=False),
                    f"{change.n_clusters:,}",
                )
            )
    note = (
        "The layer with the lowest cosine, of those whose directions are known. Not known: so few clusters of prompts "
        "have too few shuffles of their labels to tell."
    )
    return table("Where each direction turned the most", columns, rows, note)


def _not_turned(change: DirectionChange) -> str:
    return "no" if change.tellable else "not known"


def _direction_row(change: DirectionChange) -> tuple[str, ...]:
    known = change.known
    return (
        str(change.layer),
        *(PAGE.number(value, 2) for value in change.reliability),
        _estimate(change.cosine, signed=False),
        PAGE.number(change.ceiling, 3) if change.ceiling is not None else "none",
        _estimate(change.disattenuated if known else None, signed=False),
        PAGE.number(change.same_prompts.value, 3),
        _range(change.shuffled, PAGE),
        _range(change.random, PAGE),
        _estimate(change.length_ratio if known else None, signed=False),
        "yes" if change.turned else _not_turned(change) if known else "no direction",
    )


def _effect_table(found: Explanation, how: str, about: str) -> Table | None:
    own = [effect for effect in found.effects if (effect.how, effect.about) == (how, about)]
    if not own:
        return None
    private = about == PRIVACY
    passed_on = _columns("", "Change where it may be passed on")[1:] if private else []
    if how == TUNED:
        columns = _columns("Model", "Tuned layers", "Log-odds of the base", "Change, nats", "Shuffled updates")
        columns += [*_columns("", "Beyond all of them")[1:], *passed_on, *_columns("", "Prompts", "Clusters")[1:]]
        parts = [
            (
                each.subject,
                each.layers,
                PAGE.number(each.before, 2),
                _estimate(each.change),
                _drawn(each) if each.n_null else "",
                "" if each.layers == ALL else {True: "yes", False: "no", None: "not known"}[each.told],
                *([_estimate(each.passed_on)] if private else []),
                *_sample(each),
            )
            for each in own
        ]
        note = (
            f"`{REST}`: embeddings, last norm and output. Shuffled updates: smallest and largest change, and how many. "
            "Beyond all of them: in absolute value; an update that holds nothing is beyond 19 in one case of twenty. "
            f"{ONE_CHECKPOINT}"
        )
        title = "Which layers carry the change of privacy" if private else "Which layers carry the change"
        return table(title, columns, parts, note)
    kept = "Kept back" if private else "Refused"
    columns = _columns("Model", "Direction", "Layers", "Log-odds before", "Change, nats", "Random directions")
    columns += [*_columns("", "Beyond all of them")[1:], *passed_on]
    columns += _columns("", kept, f"{kept} under random directions", "Prompts", "Clusters")[1:]
    rows = [
        (
            each.subject,
            each.direction,
            each.layers,
            PAGE.number(each.before, 2),
            _estimate(each.change),
            _drawn(each),
            "yes" if each.beyond else "no",
            *([_estimate(each.passed_on)] if private else []),
            "not asked"
            if each.answered is None
            else f"{each.answered.before} → {each.answered.after} of {each.answered.of}",
            _answered_null(each),
            *_sample(each),
        )
        for each in own
    ]
    title = "A direction taken out of the base" if how == TAKE_OUT else "A direction of the base added to a tuned model"
    title += ": what is kept private" if private else ""
    note = (
        f"Random directions: smallest and largest change, and how many. {kept}: answers to some of the prompts, before "
        "and after; then the fewest and most with a random direction."
    )
    return table(title, columns, rows, note if how == TAKE_OUT else f"{note} {ONE_CHECKPOINT}")


def _drawn(effect: Effect) -> str:
    return f"{_range((effect.null_low, effect.null_high), PAGE)} ({effect.n_null})"


def _sample(effect: Effect) -> tuple[str, str]:
    return f"{effect.change.n:,}", f"{effect.change.n_clusters:,}"


# ---------------------------------------------------------------------------------------------- pages


def markdown(found: Explanation) -> str:
    """Return the page as Markdown."""
    first, *others = sentences(found, PAGE)
    lines = [f"# Why: {md.prose(found.title)}", "", f"**{md.prose(first)}**", ""]
    lines += [f"- {md.prose(line, md.MAX_WARNING)}" for line in others]
    for section, own in tables(found).items():
        if not own:
            continue
        lines += ["", f"## {section.capitalize()}", "", md.prose(ABOUTS[section], md.MAX_PARAGRAPH)]
        for each in own:
            lines += ["", f"### {md.prose(each.caption)}", ""]
            lines += md.table(
                [column.head for column in each.columns], [[md.prose(cell) for cell in row] for row in each.rows]
            )
            lines += ["", md.prose(each.note)] if each.note else []
    return "\n".join(lines) + "\n"


def html(found: Explanation) -> str:
    """Return the page: one self-contained document, everything escaped, nothing loaded, no script."""
    env = environment()
    first, *others = sentences(found, PAGE)
    sections = [(section, ABOUTS[section], own) for section, own in tables(found).items() if own]
    page = env.get_template("explanation.html").render(
        title=found.title,
        headline=first,
        sentences=others,
        sections=sections,
        **style_and_script(script=False),
    )
    return page.strip() + "\n"
