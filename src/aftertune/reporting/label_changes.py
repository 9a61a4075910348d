"""Responses whose label changed from the base to a tuned checkpoint: all of them counted, and a few of them to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aftertune.deciding.verdict_table import Bools, Ints, VerdictTable
from aftertune.findings import CategoryRow, Flip, FlipCount, UnjudgedAnswers
from aftertune.naming import Names, Unit
from aftertune.records import BASE_ARM, Metric, seed_of
from aftertune.stats.paired import tango_interval

FLIPS = 5
"""Examples per metric and arm."""
ARM = ("base", "arm", "recipe")
FEW = 10
"""Prompts below which a category carries a warning."""

TextKey = tuple[str, str, str, str, int]
"""Checkpoint, benchmark, corpus, prompt and sample of a response at the temperature that is looked at."""


@dataclass(frozen=True)
class LabelChange:
    """A pair of responses to one prompt whose label got worse: rows of a verdict table."""

    metric: Metric
    base: int
    tuned: int


class LabelChanges:
    """The verdicts of one judge per axis at one temperature and each arm's last epoch, each beside the base's.

    Args:
        verdicts: By all judges, in any order.
        judges: Axis -> the judge that is listened to.
        temperature: Whose verdicts are taken.
    """

    def __init__(self, verdicts: VerdictTable, judges: Mapping[str, str], temperature: float) -> None:
        self._verdicts, self._judges, self._temperature = verdicts, judges, temperature
        arm, firsts = verdicts.joint(ARM, verdicts.where())
        epochs = [np.inf if value is None else float(value) for value in verdicts.values["epoch"]]
        epoch = np.array(epochs)[verdicts.codes["epoch"]] if epochs else np.empty(0)
        last = np.full(firsts.size, -np.inf)
        np.maximum.at(last, arm, epoch)
        self._last: Bools = np.equal(epoch, last[arm])
        """Rows of the last epoch of their arm, as in the headline: no epoch is the last."""
        units = [self._unit(int(row)) for row in firsts]
        self._names = Names(unit for unit in units if unit.arm != BASE_ARM)

    def examples(self, metrics: Sequence[Metric], seed: int) -> list[LabelChange]:
        """Return up to `FLIPS` changes for the worse per metric and arm: a sample to read, drawn over all its seeds.

        Each checkpoint gives one before any gives a second; which one is drawn from `seed`.
        """
        verdicts = self._verdicts
        changes: list[LabelChange] = []
        for metric in metrics:
            if metric.label is None:
                continue
            rows, before = self._pairs(metric)
            order = np.lexsort(
                (verdicts.sample[rows], verdicts.codes["checkpoint"][rows], verdicts.codes["prompt_id"][rows])
            )
            rows, before = rows[order], before[order]
            arm, firsts = verdicts.joint(ARM, rows)
            worse = self._ways(metric, metric.label, rows, before)[0]
            for one, first in enumerate(firsts):
                pool = np.flatnonzero(worse & (arm == one))
                key = tuple(verdicts.at(name, int(first)) for name in ARM)
                drawn = np.random.default_rng(seed_of(seed, "flips", metric.name, key)).permutation(pool)
                turns = _occurrence(verdicts.codes["checkpoint"][rows[drawn]])
                picks = sorted(drawn[np.argsort(turns, kind="stable")][:FLIPS].tolist())
                changes += [LabelChange(metric, int(before[i]), int(rows[i])) for i in picks]
        return changes

    def counts(self, metrics: Sequence[Metric]) -> list[FlipCount]:
        """Return, per metric and arm, how many pairs of answers changed their label, over all training seeds."""
        verdicts = self._verdicts
        counts: list[FlipCount] = []
        for metric in metrics:
            if metric.label is None:
                continue
            rows, before = self._pairs(metric)
            arm, firsts = verdicts.joint(ARM, rows)
            worse, better, other = self._ways(metric, metric.label, rows, before)
            for one, first in enumerate(firsts):
                own = arm == one
                counts.append(
                    FlipCount(
                        metric=metric.name,
                        arm=self._names(self._unit(int(first))),
                        worse=int((worse & own).sum()),
                        better=int((better & own).sum()),
                        other=int((other & own).sum()),
                        n_pairs=int(own.sum()),
                        n_prompts=np.unique(verdicts.codes["prompt_id"][rows[own]]).size,
                        n_checkpoints=np.unique(verdicts.codes["checkpoint"][rows[own]]).size,
                    )
                )
        return counts

    def unjudged(self, metrics: Sequence[Metric]) -> UnjudgedAnswers:
        """Return how many answers have no verdict that one of some metrics is read off, of base and tuned models."""
        verdicts = self._verdicts
        parts = [self._asked(metric) for metric in metrics]
        rows = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
        code = verdicts.joint(("base", "checkpoint", "corpus", "benchmark", "subset", "prompt_id"), rows)[0]
        answers, answer = np.unique(self._of_samples(code, rows), return_inverse=True)
        lost, tuned = np.zeros(answers.size, dtype=bool), np.zeros(answers.size, dtype=bool)
        lost[answer[~verdicts.equals("status", "ok")[rows]]] = True
        tuned[answer[~verdicts.equals("arm", BASE_ARM)[rows]]] = True
        return UnjudgedAnswers(
            int((lost & ~tuned).sum()), int((~tuned).sum()), int((lost & tuned).sum()), int(tuned.sum())
        )

    def _asked(self, metric: Metric) -> Ints:
        """Return the rows of a metric's verdicts, judged or not."""
        rows = self._verdicts.where(
            judge=self._judges[metric.axis],
            axis=metric.axis,
            benchmark=metric.benchmark,
            subset=metric.subset,
            temperature=self._temperature,
        )
        return rows[self._last[rows]]

    def _of_samples(self, code: Ints, rows: Ints) -> Ints:
        """Return a code for each combination of a code and a row's sample: numbers sort 30 times as fast as pairs."""
        return code * (int(self._verdicts.sample.max(initial=0)) + 1) + self._verdicts.sample[rows]

    def _ways(self, metric: Metric, label: str, rows: Ints, before: Ints) -> tuple[Bools, Bools, Bools]:
        """Return which pairs got worse, which better, and which changed between labels that are not counted."""
        verdicts = self._verdicts
        holds = verdicts.equals("label", label)
        was, now = holds[before], holds[rows]
        gained, lost = now & ~was, was & ~now
        other = (verdicts.codes["label"][rows] != verdicts.codes["label"][before]) & (was == now)
        return (gained, lost, other) if metric.worse == "up" else (lost, gained, other)

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
            end = (verdicts.at("prompt_id", row), int(verdicts.sample[row]))
            return texts.get((*own, corpus, *end)) or texts.get((*own, "", *end)) or ""

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
                    sample=int(verdicts.sample[change.tuned]),
                )
            )
        return flips

    def categories(self, metrics: Sequence[Metric]) -> list[CategoryRow]:
        """Return, per category and arm, how many (prompt, seed, sample) pairs got worse and better.

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
        """Return the rows that a metric is read off, judged ones of an arm's last epoch, and the base's row for each.

        Samples are paired by their number. A base that was held against a subject's own corpus comes before one that
        was not; rows without any are left out.
        """
        verdicts = self._verdicts
        rows = self._asked(metric)
        rows = rows[verdicts.equals("status", "ok")[rows] & ~verdicts.equals("label", None)[rows]]
        is_base = verdicts.equals("arm", BASE_ARM)[rows]
        before = np.full(rows.size, -1, dtype=np.int64)
        for names, bases in (
            (("base", "prompt_id"), is_base & verdicts.equals("corpus", "")[rows]),
            (("base", "corpus", "prompt_id"), is_base),
        ):
            prompt = verdicts.joint(names, rows)[0]
            keys, code = np.unique(self._of_samples(prompt, rows), return_inverse=True)
            own = np.full(keys.size, -1, dtype=np.int64)
            own[code[bases]] = rows[bases]
            before = np.where(own[code] >= 0, own[code], before)
        paired = ~is_base & (before >= 0)
        return rows[paired], before[paired]

    def _unit(self, row: int) -> Unit:
        base, arm, recipe = (self._verdicts.at(name, row) for name in ("base", "arm", "recipe"))
        return Unit(base=base, arm=arm, recipe=recipe)


def _occurrence(values: Ints) -> Ints:
    """Return how often each value came before, e.g. 0 0 1 2 1 for a b a a b."""
    seen: dict[int, int] = {}
    counts = np.zeros(values.size, dtype=np.int64)
    for position, value in enumerate(values.tolist()):
        counts[position] = seen.get(value, 0)
        seen[value] = counts[position] + 1
    return counts
