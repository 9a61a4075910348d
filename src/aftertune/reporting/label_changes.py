"""Responses whose label changed from the base to a tuned checkpoint: counted by category, and a few of them to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aftertune.deciding.verdict_table import Ints, VerdictTable
from aftertune.findings import CategoryRow, Flip
from aftertune.naming import Names, Unit
from aftertune.records import BASE_ARM, Metric
from aftertune.stats.paired import tango_interval

FLIPS = 5
"""Shown per metric and arm."""
FEW = 10
"""Prompts below which a category carries a warning."""

TextKey = tuple[str, str, str, str]
"""Checkpoint, benchmark, corpus and prompt of a response."""


@dataclass(frozen=True)
class LabelChange:
    """A pair of responses to one prompt whose label got worse: rows of a verdict table."""

    metric: Metric
    base: int
    tuned: int


class LabelChanges:
    """The verdicts of one judge per axis at one temperature, first samples, each beside the base's.

    Args:
        verdicts: By all judges, in any order.
        judges: Axis -> the judge that is listened to.
        temperature: Whose verdicts are taken.
    """

    def __init__(self, verdicts: VerdictTable, judges: Mapping[str, str], temperature: float) -> None:
        self._verdicts, self._judges, self._temperature = verdicts, judges, temperature
        _, firsts = verdicts.joint(("base", "arm", "recipe"), verdicts.where())
        units = [self._unit(int(row)) for row in firsts]
        self._names = Names(unit for unit in units if unit.arm != BASE_ARM)

    def worst(self, metrics: Sequence[Metric]) -> list[LabelChange]:
        """Return up to `FLIPS` changes for the worse per metric and arm, of its first checkpoint: a sample to read."""
        verdicts = self._verdicts
        changes: list[LabelChange] = []
        for metric in metrics:
            if metric.label is None:
                continue
            rows, before = self._pairs(metric)
            arm, firsts = verdicts.joint(("base", "arm", "recipe"), rows)
            holds = verdicts.equals("label", metric.label)
            checkpoint = verdicts.codes["checkpoint"]
            worse = (holds[rows] != holds[before]) & (holds[rows] == (metric.worse == "up"))
            worse &= checkpoint[rows] == checkpoint[firsts][arm]
            picks = [np.flatnonzero(worse & (arm == one))[:FLIPS] for one in range(firsts.size)]
            positions = sorted(np.concatenate(picks)) if picks else []
            changes += [LabelChange(metric, int(before[i]), int(rows[i])) for i in positions]
        return changes

    def flips(
        self,
        changes: Sequence[LabelChange],
        texts: Mapping[TextKey, str],
        prompts: Mapping[tuple[str, str], str],
    ) -> list[Flip]:
        """Return changes with their texts; `prompts` maps (benchmark, prompt) to what was asked.

        A base answers once per corpus or once for all: its text is looked up under the corpus of the tuned
        checkpoint, then without one.
        """
        verdicts = self._verdicts

        def text_of(row: int, corpus: str) -> str:
            own = (verdicts.at("checkpoint", row), verdicts.at("benchmark", row))
            prompt = verdicts.at("prompt_id", row)
            return texts.get((*own, corpus, prompt)) or texts.get((*own, "", prompt)) or ""

        flips = []
        for change in changes:
            prompt = verdicts.at("prompt_id", change.tuned)
            corpus = verdicts.at("corpus", change.tuned)
            flips.append(
                Flip(
                    metric=change.metric.name,
                    arm=self._names(self._unit(change.tuned)),
                    prompt=prompts.get((change.metric.benchmark, prompt), prompt),
                    base_text=text_of(change.base, corpus),
                    tuned_text=text_of(change.tuned, corpus),
                    base_label=verdicts.at("label", change.base),
                    tuned_label=verdicts.at("label", change.tuned),
                    category=verdicts.at("category", change.tuned),
                    prompt_id=prompt,
                    train_seed=verdicts.at("train_seed", change.tuned),
                )
            )
        return flips

    def categories(self, metrics: Sequence[Metric]) -> list[CategoryRow]:
        """Return, per category and arm, how many (prompt, seed) pairs got worse and better.

        A metric whose prompts are all of one category has none.
        """
        return [row for metric in metrics if metric.label is not None for row in self._categories(metric, metric.label)]

    def _categories(self, metric: Metric, label: str) -> list[CategoryRow]:
        verdicts = self._verdicts
        rows, before = self._pairs(metric)
        if np.unique(verdicts.codes["category"][rows]).size < 2:
            return []
        holds = verdicts.equals("label", label)
        was, now = holds[before], holds[rows]
        group, firsts = verdicts.joint(("base", "arm", "recipe", "category"), rows)
        distinct = verdicts.joint(("base", "arm", "recipe", "category", "prompt_id"), rows)[1]
        group_of = np.empty(len(verdicts), dtype=np.int64)
        group_of[rows] = group

        def count(mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Ints:
            return np.bincount(group[mask], minlength=firsts.size)

        before_n, gained_n, lost_n = count(was), count(now & ~was), count(was & ~now)
        pairs_n = np.bincount(group, minlength=firsts.size)
        prompts_n = np.bincount(group_of[distinct], minlength=firsts.size)
        names = [(self._names(self._unit(int(row))), verdicts.at("category", row)) for row in firsts]
        categories = []
        for one in sorted(range(firsts.size), key=names.__getitem__):
            arm, category = names[one]
            n, gained, lost = int(pairs_n[one]), int(gained_n[one]), int(lost_n[one])
            low, high = tango_interval(gained, lost, n)
            categories.append(
                CategoryRow(
                    metric=metric.name,
                    arm=arm,
                    category=category,
                    base=int(before_n[one]) / n,
                    tuned=(int(before_n[one]) + gained - lost) / n,
                    delta=(gained - lost) / n,
                    low=low,
                    high=high,
                    n_prompts=int(prompts_n[one]),
                    worse_flips=gained if metric.worse == "up" else lost,
                    better_flips=lost if metric.worse == "up" else gained,
                    n_pairs=n,
                    warning="few prompts" if prompts_n[one] < FEW else "",
                )
            )
        return categories

    def _pairs(self, metric: Metric) -> tuple[Ints, Ints]:
        """Return the rows that a metric is read off, judged ones only, and the base's row for each.

        A base that was held against a subject's own corpus comes before one that was not; rows without any are left
        out.
        """
        verdicts = self._verdicts
        rows = verdicts.where(
            judge=self._judges[metric.axis],
            axis=metric.axis,
            benchmark=metric.benchmark,
            subset=metric.subset,
            temperature=self._temperature,
            status="ok",
        )
        rows = rows[verdicts.sample[rows] == 0]
        is_base = verdicts.equals("arm", BASE_ARM)[rows]
        before = np.full(rows.size, -1, dtype=np.int64)
        for names, bases in (
            (("base", "prompt_id"), is_base & verdicts.equals("corpus", "")[rows]),
            (("base", "corpus", "prompt_id"), is_base),
        ):
            code, firsts = verdicts.joint(names, rows)
            own = np.full(firsts.size, -1, dtype=np.int64)
            own[code[bases]] = rows[bases]
            before = np.where(own[code] >= 0, own[code], before)
        paired = ~is_base & (before >= 0)
        return rows[paired], before[paired]

    def _unit(self, row: int) -> Unit:
        base, arm, recipe = (self._verdicts.at(name, row) for name in ("base", "arm", "recipe"))
        return Unit(base=base, arm=arm, recipe=recipe)
