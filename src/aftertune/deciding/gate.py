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
from collections.abc import Iterator, Sequence
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
    drifts: Sequence[Drift], policy: Policy, metrics: Sequence[Metric] = (), look: Look | None = None
) -> list[Decision]:
    """Return a decision for each gated metric of each arm (recipe level) or checkpoint.

    Args:
        drifts: From `drift`: `checkpoint` and `recipe` rows are gated, `level` rows serve floors and ceilings.
        policy: Which metrics, with what margins, on checkpoints or recipes; the last epoch unless it says `all`.
        metrics: What should have been measured: a gated one without a row is undecided ("not measured"). So is one that
            an arm or checkpoint lacks which other metrics have, or lacks at a temperature, or by a judge, at which
            others have it.
        look: Which of several looks this is, where prompts are asked until it is decided; the rows have its confidence.
            None where all prompts were asked before anything was decided.

    Every temperature, judge, base and recipe among the rows is decided on by itself, under a name of its own
    (`naming`). Where an arm has two training seeds, `auto` decides on the recipe, not on its checkpoints.
    """
    moves = [row for row in drifts if row.estimand in ("checkpoint", "recipe")]
    if policy.epochs == "last":
        moves = _last(moves)
    levels = {_level_key(row): row for row in drifts if row.estimand == "level"}
    directions = {row.metric: row.worse for row in moves} | {metric.name: metric.worse for metric in metrics}
    measurable = set(directions)
    for named in policy.rules:
        if named.exact:
            directions.setdefault(named.match, named.worse or "up")
    checks: list[Check] = []
    decisions: list[Decision] = []
    for name, worse in directions.items():
        rule = policy.rule(name, worse)
        if rule is None:
            continue
        own = [row for row in moves if row.metric == name]
        wanted = rule.estimand or policy.estimand
        rows = [row for row in own if _counts(row, own, wanted)]
        missing = list(_missing(_needed(moves, wanted), rows))
        names = Names([*map(Unit.of, rows), *(gap.unit for gap in missing)])
        checks += [Check(rule, row, names(Unit.of(row)), levels.get(_level_key(row))) for row in rows]
        for gap in missing:
            others = [row for row in own if _arm(row) == _arm_of(gap.unit)]
            said = worse if name in measurable else rule.worse
            decisions.append(_unmeasured(rule, name, said, wanted, gap, names(gap.unit), others))
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

    An optional one counts where it is an error or a drift. Nothing required decided is undecided.
    """
    counted = [d.outcome for d in decisions if d.required or d.outcome in ("error", "drift")]
    if not any(d.required for d in decisions):
        counted.append("undecided")
    return min(counted, key=SEVERITY.index)


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


def _needed(moves: Sequence[Drift], wanted: str) -> list[tuple[str, Unit]]:
    """Return the (estimand, arm or checkpoint) that each metric is to be decided on: those that any was measured on."""
    if wanted == "recipe" or not moves:
        return [("recipe", arm) for arm in dict.fromkeys(map(_arm, moves))] or [(wanted, Unit(arm="run"))]
    recipes = {_group(row) for row in moves if row.estimand == "recipe"} if wanted == "auto" else set()
    needed: dict[tuple[object, ...], tuple[str, Unit]] = {}
    for row in moves:
        if row.estimand == ("recipe" if _group(row) in recipes else "checkpoint"):
            unit = dataclasses.replace(Unit.of(row), temperature=None, judge="")
            needed.setdefault((*_group(row), row.checkpoint, row.train_seed), (row.estimand, unit))
    return list(needed.values())


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


def _is_of(row: Drift, unit: Unit) -> bool:
    same = _arm(row) == _arm_of(unit) and (unit.epoch is None or row.epoch == unit.epoch)
    return same and (row.estimand == "recipe" or (row.checkpoint, row.train_seed) == (unit.checkpoint, unit.train_seed))


def _last(rows: Sequence[Drift]) -> list[Drift]:
    last: dict[tuple[str, str, str], int] = {}
    for row in rows:
        key = (row.base_model, row.arm, row.recipe)
        last[key] = max(last.get(key, -1), -1 if row.epoch is None else row.epoch)
    return [row for row in rows if row.epoch in (None, last[row.base_model, row.arm, row.recipe])]


def _counts(row: Drift, rows: Sequence[Drift], wanted: str) -> bool:
    if wanted != "auto":
        return row.estimand == wanted
    return row.estimand == "recipe" or not any(other.estimand == "recipe" and _peers(row, other) for other in rows)


def _peers(row: Drift, other: Drift) -> bool:
    fields = ("base_model", "arm", "recipe", "epoch", "temperature", "judge")
    return all(getattr(row, name) == getattr(other, name) for name in fields)


def _unmeasured(
    rule: Rule, metric: str, worse: Worse | None, wanted: str, gap: _Gap, unit: str, rows: Sequence[Drift]
) -> Decision:
    """Return an undecided decision for what has no row to decide on, its arm only `rows` of others or of another
    estimand."""
    what = "not measured: there is no verdict on it"
    remedy = "Add its benchmark, or a judge of its axis."
    if gap.temperature is not None:
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
        estimand="recipe" if wanted == "recipe" else "checkpoint",
        outcome="undecided",
        required=rule.required == "always" or (rule.required == "measured" and bool(rows)),
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
