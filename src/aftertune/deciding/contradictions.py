"""Metrics that moved in opposite directions: which movements are real, and how many mixed signs noise alone makes."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aftertune import direction
from aftertune.deciding.blocks import Block, blocks
from aftertune.deciding.verdict_table import Floats, Subject, VerdictTable
from aftertune.findings import Contradiction, Mixed
from aftertune.naming import Names, Unit
from aftertune.records import BASE_ARM, Drift, Metric, seed_of
from aftertune.stats import contradictions as signs

if TYPE_CHECKING:
    import pyarrow as pa


def mixed_signs(
    verdicts: pa.Table | VerdictTable,
    metrics: Sequence[Metric],
    *,
    seed: int,
    counts: Callable[[str, str], bool] = lambda _metric, _judge: True,
) -> list[Mixed]:
    """Return the mixed-sign rate of the checkpoints of each base and temperature, beside what noise makes of it.

    Args:
        verdicts: The columns of `records.Verdict`.
        metrics: Those compared.
        seed: Of the label swaps.
        counts: Says by metric and judge which are compared; by default all are.

    See `stats.contradictions.mixed_signs`. Fewer than two metrics have no contradiction. Raises as `drift` does.
    """
    groups: dict[tuple[str, float], list[Block]] = defaultdict(list)
    for block in blocks(verdicts, metrics):
        if counts(block.metric.name, block.judge):
            groups[block.base_model, block.temperature].append(block)
    rates = (_rate(own, base_model, temperature, seed) for (base_model, temperature), own in groups.items())
    return [rate for rate in rates if rate is not None]


@dataclass(frozen=True)
class Selection:
    """Which checkpoints, of whatever bases, and which metrics a mixed-sign rate is about."""

    counts: Callable[[str, str], bool]
    """By metric and judge."""
    subjects: Callable[[str, Subject], bool]
    """By base and checkpoint."""
    temperature: float


def mixed_of(
    verdicts: pa.Table | VerdictTable, metrics: Sequence[Metric], selections: Sequence[Selection], *, seed: int
) -> list[Mixed | None]:
    """Return the mixed-sign rate of each selection; None where it has no checkpoint, or fewer than two metrics.

    Checkpoints of several bases are pooled: labels are swapped within the same clusters for all of them at once. Raises
    as `drift` does.
    """
    every = list(blocks(verdicts, metrics)) if selections else []
    rates = []
    for one in selections:
        own = [b for b in every if one.counts(b.metric.name, b.judge) and b.temperature == one.temperature]
        bases = {block.base_model for block in own}
        rates.append(_rate(own, bases.pop() if len(bases) == 1 else "", one.temperature, seed, one.subjects))
    return rates


def _rate(
    own: Sequence[Block],
    base_model: str,
    temperature: float,
    seed: int,
    wanted: Callable[[str, Subject], bool] = lambda _base, _subject: True,
) -> Mixed | None:
    """Return the mixed-sign rate over some blocks, by whatever checkpoints of them are wanted."""
    losses: dict[tuple[str, Subject], list[Floats | None]] = {}
    for position, block in enumerate(own):
        for i, subject in enumerate(block.subjects):
            counted = subject.arm != BASE_ARM and wanted(block.base_model, subject)
            bases = block.bases([i]) if counted else None
            if bases is not None:
                sign = direction.sign(block.metric.worse)
                row = losses.setdefault((block.base_model, subject), [None] * len(own))
                row[position] = sign * (block.mean[i] - block.mean[bases[0]])
    if len({(block.metric.name, block.judge) for block in own}) < 2 or not losses:
        return None
    rng = np.random.default_rng(seed_of(seed, "mixed signs", base_model, temperature))
    rate = signs.mixed_signs(list(losses.values()), [block.clusters for block in own], rng)
    return Mixed(
        base_model=base_model,
        temperature=temperature,
        observed=rate.observed,
        expected=rate.expected,
        low=rate.low,
        high=rate.high,
        p=rate.p,
        n_checkpoints=rate.units,
        n_metrics=rate.metrics,
    )


def contradictions(rows: Sequence[Drift], mixed: Sequence[Mixed] = (), *, alpha: float = 0.05) -> list[Contradiction]:
    """Return the arms (or checkpoints, where one seed is all there is) with real movements in opposite directions.

    A movement is real where it survives Holm's correction over the metrics of its unit.
    """
    recipes = {(r.base_model, r.arm, r.recipe, r.epoch) for r in rows if r.estimand == "recipe"}
    units: dict[tuple[object, ...], list[Drift]] = defaultdict(list)
    for row in rows:
        single = row.estimand == "checkpoint" and (row.base_model, row.arm, row.recipe, row.epoch) not in recipes
        if (single or row.estimand == "recipe") and row.p is not None and row.delta is not None:
            key = (row.base_model, row.arm, row.recipe, row.epoch, row.temperature, row.checkpoint if single else None)
            units[key].append(row)
    names = Names(_unit(own[0]) for own in units.values())
    rates = {(one.base_model, one.temperature): one.sentence for one in mixed}
    results = []
    for own in units.values():
        losses = [direction.loss(row.delta, row.worse) for row in own]
        moved = signs.signed_movements([row.p or 0.0 for row in own], losses, alpha)
        if len(set(moved) - {0}) < 2:
            continue
        several = len({row.judge for row in own}) > 1
        metrics = [f"{row.metric} ({row.judge})" if several else row.metric for row in own]
        rate = rates.get((own[0].base_model, own[0].temperature), "")
        results.append(
            Contradiction(
                unit=names(_unit(own[0])),
                better=tuple(metric for metric, way in zip(metrics, moved, strict=True) if way < 0),
                worse=tuple(metric for metric, way in zip(metrics, moved, strict=True) if way > 0),
                n=len(own),
                why=f"Each of these movements survives Holm's correction. {rate}{'.' if rate else ''}".strip(),
            )
        )
    return results


def _unit(row: Drift) -> Unit:
    """Return the unit of a row without its judge: a contradiction is between metrics, whoever judged them."""
    return dataclasses.replace(Unit.of(row), judge="")
