"""May this ship? Each gated metric against its margin: pass, drift, unconfirmed or undecided, with the numbers.

- **pass**: the interval's bad end lies within the margin, and so does that of the estimate with every answer counted as
  the worst that was not judged, or that the server or its content filter made: a model that was not seen passes
  nothing. Each metric is tested at its own level: a pass of the run needs all of them (an
  intersection-union test; Berger, Technometrics 24 (1982) 295-300), so nothing is corrected.
- **drift**: the loss is larger than the margin, by a one-sided test. The gated metrics of the same arm or checkpoint
  (its temperatures included, metrics that are never required apart) share an error of half of 1 - confidence: the
  policy's primary metrics four fifths of it, axis by axis, the others the rest, and what has drifted leaves its share
  to what has not (`multiplicity.family_levels`). For a single metric this is "the interval's good end lies beyond the
  margin"; for several, that of the adjusted interval. Or the tuned model's own level lies beyond a floor or ceiling,
  adjusted interval and all. Either must hold as well without the answers that a content filter made, by the interval
  alone: a filter in front of one side is no drift of the model. A floor or ceiling is one test more of its metric,
  which share that metric's error equally. A metric without an estimate tests nothing and has no share. With many arms
  or checkpoints, some false alarms are to be expected among them: each has its own family.
- **unconfirmed**: the whole interval lies beyond the margin, or the level's beyond a floor or ceiling, the adjusted one
  does not.
- **undecided**: none of these, or a base so near the worst end of the scale that a loss beyond the margin could
  not have shown; `remedy` says how many more prompts or training seeds would be enough, if the estimate
  stays.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from aftertune import direction
from aftertune.deciding.decision import Check, decide
from aftertune.deciding.policy import Policy, Rule
from aftertune.deciding.warnings import recipe_refusal
from aftertune.headline import subject
from aftertune.naming import Names, Unit
from aftertune.outcome import SEVERITY
from aftertune.records import Decision, Drift, Metric, Outcome, Worse
from aftertune.stats import multiplicity
from aftertune.stats.group_sequential import Look


def gate(
    drifts: Sequence[Drift],
    policy: Policy,
    metrics: Sequence[Metric] = (),
    look: Look | None = None,
    shown_only: Collection[str] = (),
) -> list[Decision]:
    """Return a decision for each gated metric of each arm (recipe level) or checkpoint.

    Args:
        drifts: From `drift`: `checkpoint` and `recipe` rows are gated, `level` rows serve floors and ceilings.
        policy: Which metrics, with what margins, on checkpoints or recipes; the last epoch unless it says `all`.
        metrics: What should have been measured: a gated one without a row is undecided ("not measured"). So is one that
            an arm, checkpoint or training seed lacks which other metrics have, or lacks at a temperature, or by a
            judge, at which others have it.
        look: Which of several looks this is, where prompts are asked until it is decided; the rows have its confidence.
            None where all prompts were asked before anything was decided.
        shown_only: Names of metrics by whose judge nothing is decided: gated only by a rule that names them.

    Every temperature, judge, base and recipe among the rows is decided on by itself, under a name of its own
    (`naming`). Where an arm has two training seeds, `auto` decides on the recipe, not on its checkpoints; but by itself
    on each that is not in the recipe's estimate, since its training seed is not known or its last epoch is another.
    """
    every = [row for row in drifts if row.estimand in ("checkpoint", "recipe")]
    moves = _last(every) if policy.epochs == "last" else every
    levels = {_level_key(row): row for row in drifts if row.estimand == "level"}
    directions = {row.metric: row.worse for row in moves} | {metric.name: metric.worse for metric in metrics}
    measurable = set(directions)
    for named in policy.rules:
        if named.exact:
            directions.setdefault(named.match, named.worse or "up")
    checks: list[Check] = []
    decisions: list[Decision] = []
    for name, worse in directions.items():
        rule = policy.rule(name, worse, shown_only=name in shown_only)
        if rule is None:
            continue
        own = [row for row in moves if row.metric == name]
        wanted = rule.estimand or policy.estimand
        rows = [row for row in own if _counts(row, own, wanted)]
        missing = [*_missing(_needed(moves, wanted), rows), *_missing_seeds(moves, own, rows)]
        names = Names([*map(Unit.of, rows), *(gap.unit for gap in missing)])
        checks += [Check(rule, row, names(Unit.of(row)), levels.get(_level_key(row))) for row in rows]
        for gap in missing:
            others = [row for row in own if _arm(row) == _arm_of(gap.unit)]
            said = worse if name in measurable else rule.worse
            known = any(row.metric == name and _arm(row) == _arm_of(gap.unit) for row in every)
            decisions.append(_unmeasured(rule, name, said, wanted, gap, names(gap.unit), others, known))
    families: dict[tuple[object, ...], list[Check]] = defaultdict(list)
    for check in checks:
        if check.row.delta is None:
            decisions.append(decide(check, 0.0, 0))  # tests nothing, and has no share of any error
        else:
            families[check.family].append(check)
    for family in families.values():
        p, questions = [check.p for check in family], [check.question for check in family]
        if look is None:
            alpha = (1 - max(check.row.confidence for check in family)) / 2
            tested_at = multiplicity.family_levels(p, questions, alpha)
        else:
            # Intervals are rounded up to four digits of confidence, and no test may be at a wider error than theirs.
            alpha = (1 - max(check.row.confidence for check in family)) / 2
            tested_at = [min(each, alpha) for each in multiplicity.family_levels(p, questions, look.error, look.level)]
        decisions += [decide(check, level, len(family)) for check, level in zip(family, tested_at, strict=True)]
    order = {name: position for position, name in enumerate(directions)}
    return sorted(decisions, key=lambda decision: order[decision.metric])


def overall(decisions: Sequence[Decision]) -> Outcome:
    """Return the run's outcome: the worst of the required decisions (`outcome.SEVERITY`).

    An optional one counts where it is an error or a drift. Where an arm has nothing required it is undecided.
    """
    counted = [d.outcome for d in decisions if d.required or d.outcome in ("error", "drift")]
    if not decisions or set(map(arm_decided, decisions)) - {arm_decided(d) for d in decisions if d.required}:
        counted.append("undecided")
    return min(counted, key=SEVERITY.index)


def arm_decided(decision: Decision) -> tuple[str, str, str]:
    """Return the arm that a decision is about, whatever the training seed, epoch and temperature."""
    return decision.base_model, decision.arm, decision.recipe


def undecided(decisions: Sequence[Decision]) -> list[str]:
    """Return the arms and checkpoints that more prompts may still decide, as people call them.

    One is decided once a required metric of it has drifted, or all of them have passed; a metric that nobody judges is
    left out, since no prompt changes that, but not one whose answers so far had no verdict.
    """
    outcomes: dict[str, list[Outcome]] = defaultdict(list)
    for decision in decisions:
        if decision.required and decision.judge:
            outcomes[decision.unit].append(decision.outcome)
    return [unit for unit, own in outcomes.items() if "drift" not in own and set(own) != {"pass"}]


def why_asked_no_more(stopping: Sequence[Decision], decisions: Sequence[Decision], *, all_asked: bool) -> str:
    """Return why no more prompts were asked, as a clause.

    Args:
        stopping: The decisions by verdicts alone, which end the asking.
        decisions: Those that stand: some of the former may rest on a judge by which nothing is decided.
        all_asked: Whether there are no more prompts.
    """
    left = undecided(stopping)
    if left and all_asked:
        return f"all parts are asked, and {', '.join(left)} {'is' if len(left) == 1 else 'are'} not decided"
    if left:
        return f"not decided yet: {', '.join(left)}"
    units = dict.fromkeys(d.unit for d in stopping if d.required and d.judge)
    outcomes = {unit: [d.outcome for d in decisions if d.unit == unit and d.required and d.judge] for unit in units}
    drifted = [unit for unit, own in outcomes.items() if "drift" in own]
    passed = [unit for unit, own in outcomes.items() if set(own) == {"pass"}]
    open_ = [unit for unit in units if unit not in drifted and unit not in passed]
    said = [f"{', '.join(drifted)} drifted in a required metric"] if drifted else []
    said += [f"{', '.join(passed)} passed in all of them"] if passed else []
    said += [f"{', '.join(open_)} would be, but for a judge or a base that nothing is decided by"] if open_ else []
    return f"then it was decided: {'; '.join(said) or 'nothing was measured that more prompts could decide'}"


def _level_key(row: Drift) -> tuple[object, ...]:
    _, _, *setting = subject(row)
    return (row.metric, *setting)


def _arm(row: Drift) -> Unit:
    return Unit(base=row.base_model, arm=row.arm, recipe=row.recipe)


def _arm_of(unit: Unit) -> Unit:
    return Unit(base=unit.base, arm=unit.arm, recipe=unit.recipe)


@dataclass(frozen=True, slots=True)
class _Gap:
    """What a metric was not measured on."""

    unit: Unit
    temperature: float | None = None
    """At which others have it; None where the unit has it at none."""
    judge: str = ""
    of_seed: bool = False
    """Whether it is a training seed that the metric's recipe lacks."""


def _needed(moves: Sequence[Drift], wanted: str) -> list[tuple[str, Unit]]:
    """Return the (estimand, arm or checkpoint) that each metric is to be decided on: those that any was measured on."""
    if wanted == "recipe" or not moves:
        return [("recipe", arm) for arm in dict.fromkeys(map(_arm, moves))] or [(wanted, Unit(arm="run"))]
    recipes = {_group(row) for row in moves if row.estimand == "recipe"} if wanted == "auto" else set()
    needed: dict[tuple[object, ...], tuple[str, Unit]] = {}
    for row in moves:
        if row.estimand == ("recipe" if _group(row) in recipes and not _unseeded(row) else "checkpoint"):
            unit = dataclasses.replace(Unit.of(row), temperature=None, judge="")
            needed.setdefault((*_group(row), row.checkpoint, row.train_seed), (row.estimand, unit))
    return list(needed.values())


def _unseeded(row: Drift) -> bool:
    """Return whether a row is of a checkpoint that no recipe's estimate holds, since its training seed is not known."""
    return row.estimand == "checkpoint" and row.train_seed is None


def _group(row: Drift) -> tuple[object, ...]:
    return (row.base_model, row.arm, row.recipe, row.epoch)


def _missing(needed: Sequence[tuple[str, Unit]], rows: Sequence[Drift]) -> Iterator[_Gap]:
    """Yield what of the arms and checkpoints a metric's rows lack, as a whole or at a setting that others have."""
    settings = sorted({(row.temperature, row.judge) for row in rows})
    for estimand, unit in needed:
        own = {(row.temperature, row.judge) for row in rows if row.estimand == estimand and _is_of(row, unit)}
        if not own:
            yield _Gap(unit)
            continue
        for temperature, judge in settings:
            if (temperature, judge) not in own:
                yield _Gap(dataclasses.replace(unit, temperature=temperature, judge=judge), temperature, judge)


def _missing_seeds(moves: Sequence[Drift], own: Sequence[Drift], rows: Sequence[Drift]) -> Iterator[_Gap]:
    """Yield the training seeds that a metric's recipe rows lack, though other metrics, or others of its settings, have
    them: what the rest shows need not hold of them."""
    seeds: dict[tuple[object, ...], dict[tuple[object, ...], Unit]] = defaultdict(dict)
    for row in moves:
        if row.estimand == "checkpoint" and row.train_seed is not None:
            unit = dataclasses.replace(Unit.of(row), temperature=None, judge="")
            seeds[_group(row)].setdefault((row.checkpoint, row.train_seed), unit)
    there: dict[tuple[object, ...], set[tuple[object, ...]]] = defaultdict(set)
    for row in own:
        if row.estimand == "checkpoint":
            there[_setting(row)].add((row.checkpoint, row.train_seed))
    for row in rows:
        known = there[_setting(row)]
        for key, unit in seeds[_group(row)].items() if row.estimand == "recipe" and known else ():
            if key not in known:
                named = dataclasses.replace(unit, temperature=row.temperature, judge=row.judge)
                yield _Gap(named, row.temperature, row.judge, of_seed=True)


def _setting(row: Drift) -> tuple[object, ...]:
    return (*_group(row), row.temperature, row.judge)


def _is_of(row: Drift, unit: Unit) -> bool:
    same = _arm(row) == _arm_of(unit) and (unit.epoch is None or row.epoch == unit.epoch)
    return same and (row.estimand == "recipe" or (row.checkpoint, row.train_seed) == (unit.checkpoint, unit.train_seed))


def _last(rows: Sequence[Drift]) -> list[Drift]:
    """Return the rows of the last epoch of each recipe, and of each training that ended earlier than others of it."""
    last: dict[tuple[object, ...], int] = {}
    for row in rows:
        for key in ((_arm(row),), _training(row)):
            last[key] = max(last.get(key, -1), -1 if row.epoch is None else row.epoch)
    return [row for row in rows if row.epoch in (None, last[_arm(row),], last[_training(row)])]


def _training(row: Drift) -> tuple[object, ...]:
    """Return what the checkpoints of one training have in common; of a recipe, what all of them have."""
    return (_arm(row), row.train_seed) if row.estimand == "checkpoint" else (_arm(row),)


def _counts(row: Drift, rows: Sequence[Drift], wanted: str) -> bool:
    if wanted != "auto":
        return row.estimand == wanted
    alone = _unseeded(row) or not any(other.estimand == "recipe" and _peers(row, other) for other in rows)
    return row.estimand == "recipe" or alone


def _peers(row: Drift, other: Drift) -> bool:
    fields = ("base_model", "arm", "recipe", "epoch", "temperature", "judge")
    return all(getattr(row, name) == getattr(other, name) for name in fields)


def _unmeasured(
    rule: Rule, metric: str, worse: Worse | None, wanted: str, gap: _Gap, unit: str, rows: Sequence[Drift], known: bool
) -> Decision:
    """Return an undecided decision for what has no row to decide on, its arm only `rows` of others or of another
    estimand; `known` says whether the metric was measured on the arm at all, if only at another epoch."""
    what = "not measured: there is no verdict on it"
    remedy = "Add its benchmark, or a judge of its axis."
    if gap.of_seed:
        seed = f"training seed {gap.unit.train_seed}"
        what = f"not measured on {seed}, though on others of its arm: the recipe is decided on without it"
        remedy = "Ask and judge all of them alike."
    elif gap.temperature is not None:
        by = f" by {gap.judge}" if gap.judge else ""
        what = f"not measured at temperature {gap.temperature:g}{by}, as other arms or checkpoints are"
        remedy = "Ask and judge all of them alike."
    elif rows and wanted == "recipe":
        what, remedy = f"not decided: {recipe_refusal(rows[0].train_seed)}", "Train with more seeds."
    elif rows:
        what = "not measured: there is no verdict on it, though there is on others of its arm"
        remedy = "Ask and judge all of them alike."
    why = f"{what[:1].upper()}{what[1:]}."
    return Decision(
        metric=metric,
        unit=unit,
        estimand="recipe" if wanted == "recipe" and not gap.of_seed else "checkpoint",
        outcome="undecided",
        required=rule.required == "always" or (rule.required == "measured" and known),
        margin=rule.margin,
        why=f"{why} {direction.sentence(worse)}" if worse else why,
        reason=what,
        remedy=remedy,
        worse=worse,
        base_model=gap.unit.base,
        arm=gap.unit.arm,
        recipe=gap.unit.recipe,
        checkpoint=gap.unit.checkpoint,
        epoch=gap.unit.epoch,
        temperature=gap.temperature,
    )
