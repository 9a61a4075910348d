"""May this ship? Each gated metric against its margin: pass, drift or inconclusive, with the numbers that say so.

- **pass**: the interval's bad end lies within the margin, and so does that of the estimate with every unjudged answer
  counted as the worst. Each metric is tested at its own level: a pass of the run needs all of them (an
  intersection-union test; Berger, Technometrics 24 (1982) 295-300), so nothing is corrected.
- **drift**: the loss is larger than the margin, by a one-sided test at half of 1 - confidence with Holm's correction
  over the gated metrics of the same arm or checkpoint (its temperatures included, metrics that are never required
  apart). For a single metric this is "the interval's good end lies beyond the margin". Or the tuned model's own level
  lies beyond a floor or ceiling, interval and all. With many arms or checkpoints, some false alarms are to be expected
  among them: each has its own family.
- **inconclusive**: neither, or a base so near the worst end of the scale that a loss beyond the margin could
  not have shown; `remedy` says how many more prompts or training seeds would be enough, if the estimate
  stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from aftertune.deciding.decision import Check, decide
from aftertune.deciding.policy import Policy, Rule
from aftertune.deciding.warnings import recipe_refusal
from aftertune.records import Decision, Drift, Metric, Outcome
from aftertune.stats import multiplicity

RANK: tuple[Outcome, ...] = ("error", "drift", "inconclusive", "pass")


def gate(drifts: Sequence[Drift], policy: Policy, metrics: Sequence[Metric] = ()) -> list[Decision]:
    """Return a decision for each gated metric of each arm (recipe level) or checkpoint.

    Args:
        drifts: From `drift`: `checkpoint` and `recipe` rows are gated, `level` rows serve floors and ceilings.
        policy: Which metrics, with what margins, at what level; the last epoch of each tuning unless it says `all`.
        metrics: What should have been measured: a gated one without a row is inconclusive ("not measured").

    Every temperature, judge, base and recipe among the rows is decided on by itself; `unit` names what sets it apart
    from the first. Where two training seeds stand behind an arm, `auto` decides on the recipe, not on its checkpoints.
    """
    moves = [row for row in drifts if row.estimand in ("checkpoint", "recipe")]
    if policy.epochs == "last":
        moves = _last(moves)
    levels = {_key(row): row for row in drifts if row.estimand == "level"}
    directions = {row.metric: row.worse for row in moves} | {metric.name: metric.worse for metric in metrics}
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
        kept = [row for row in own if _counts(row, own, wanted)]
        checks += [Check(rule, row, _unit(row, kept), levels.get(_key(row))) for row in kept]
        decisions += _unmeasured(rule, name, wanted, moves, kept)
    families: dict[tuple[object, ...], list[Check]] = defaultdict(list)
    for check in checks:
        families[check.family].append(check)
    for family in families.values():
        adjusted = multiplicity.holm([check.p for check in family])
        decisions += [decide(check, p, len(family)) for check, p in zip(family, adjusted, strict=True)]
    order = {name: place for place, name in enumerate(directions)}
    return sorted(decisions, key=lambda decision: order[decision.metric])


def overall(decisions: Sequence[Decision]) -> Outcome:
    """Return the run's outcome: the worst of the required decisions (error > drift > inconclusive > pass).

    An optional one counts where it is an error or a drift. Nothing required decided is inconclusive.
    """
    counted = [d.outcome for d in decisions if d.required or d.outcome in ("error", "drift")]
    if not any(d.required for d in decisions):
        counted.append("inconclusive")
    return min(counted, key=RANK.index)


def _key(row: Drift) -> tuple[object, ...]:
    return (row.metric, row.base_model, row.arm, row.recipe, row.checkpoint, row.epoch, row.temperature, row.judge)


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


def _unit(row: Drift, rows: Sequence[Drift]) -> str:
    """Return the arm or checkpoint, and what sets the row apart from other rows of the metric that have its name."""
    single = row.estimand == "checkpoint" and row.checkpoint is not None
    parts = [f"{row.arm} seed {row.train_seed}" if single and row.train_seed is not None else row.arm]
    arms = [other for other in rows if other.arm == row.arm]
    parts += [row.base_model] if len({other.base_model for other in rows}) > 1 else []
    parts += [row.recipe] if len({other.recipe for other in arms}) > 1 else []
    if single:
        parts += [f"epoch {row.epoch}"] if row.epoch is not None else []
        names = ("base_model", "recipe", "train_seed", "epoch")
        alike = {o.checkpoint for o in arms if all(getattr(o, name) == getattr(row, name) for name in names)}
        parts += [str(row.checkpoint)] if len(alike) > 1 else []
    else:
        epochs = {other.epoch for other in arms if other.recipe == row.recipe}
        parts += [f"epoch {row.epoch}"] if len(epochs) > 1 else []
    parts += [f"T = {row.temperature:g}"] if row.temperature > min(other.temperature for other in rows) else []
    parts += [row.judge] if len({other.judge for other in rows}) > 1 else []
    return ", ".join(parts)


def _unmeasured(
    rule: Rule, name: str, wanted: str, moves: Sequence[Drift], kept: Sequence[Drift]
) -> Iterator[Decision]:
    """Yield an inconclusive decision for each arm that has no row to decide on."""
    arms = dict.fromkeys((row.base_model, row.arm, row.recipe) for row in moves)
    have = {(row.base_model, row.arm, row.recipe) for row in kept}
    several = len({base for base, _, _ in arms}) > 1
    recipes = {arm: {other[2] for other in arms if other[1] == arm} for _, arm, _ in arms}
    for base, arm, recipe in arms or [("", "run", "")]:
        if (base, arm, recipe) in have:
            continue
        own = [
            row for row in moves if row.metric == name and (row.base_model, row.arm, row.recipe) == (base, arm, recipe)
        ]
        if own and wanted == "recipe":
            why, remedy = f"Not decided: {recipe_refusal(own[0].train_seed)}.", "Train with more seeds."
        else:
            why, remedy = "Not measured: there is no verdict on it.", "Add its benchmark, or a judge of its axis."
        yield Decision(
            metric=name,
            unit=", ".join([arm, *([base] if several else []), *([recipe] if len(recipes.get(arm, ())) > 1 else [])]),
            estimand="recipe" if wanted == "recipe" else "checkpoint", outcome="inconclusive",
            required=rule.required == "always", margin=rule.margin, why=why, remedy=remedy, base_model=base,
            arm=arm, recipe=recipe,
        )  # fmt: skip
