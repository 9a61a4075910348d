"""What changed between a base and its checkpoints: paired by prompt, and over training seeds.

Two questions are kept apart. `checkpoint`: prompts are the sample. `recipe`: training seeds are the sample too, so one
seed is refused. The samples of a prompt are averaged before anything else. A pair is the same prompt sent with the same
messages. Unjudged answers (abstain, unparsable, error) are left out of the estimate, counted, and put back in the
`worst*` fields: each unjudged answer of the tuned model as the worst, each of the base as the best. Answers that the
server or its content filter made are refusals, and stay in the estimate: it is what a user of the served model gets.
But what the model says is not known, so in `worst*` they count as unjudged ones do; and `seen*` is the estimate without
those that a content filter made.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from aftertune.deciding.blocks import Block, blocks
from aftertune.deciding.contrasts import Group, formula, settings
from aftertune.deciding.labels import AnswerLabel, PeoplesRate, peoples_rate, too_few
from aftertune.deciding.verdict_table import Bools, Floats, Subject, VerdictTable
from aftertune.deciding.warnings import as_text, recipe_refusal, sizes, unjudged_share, unseen_share
from aftertune.errors import DesignError, UsageError, near
from aftertune.numbers import count
from aftertune.records import BASE_ARM, Contrast, Drift, Metric, seed_of
from aftertune.stats import clusters, contrasts, matrix, multiplicity, paired
from aftertune.stats.estimate import Estimate
from aftertune.stats.prediction_powered import with_labels, with_seed_errors

if TYPE_CHECKING:
    import pyarrow as pa

LEAST_OVERLAP = 0.9
"""Least share of either arm's prompts that must be paired."""

PAIRED = "paired by prompt; Tango score interval, cluster-robust (CR2)"
CROSSED = "seeds x prompts crossed; Tango score interval, t between Satterthwaite and Cochran"
LEVEL = "Wilson score interval, cluster-robust (CR2)"

Estimand = Literal["checkpoint", "recipe", "contrast", "level"]


def drift(
    verdicts: pa.Table | VerdictTable,
    metrics: Sequence[Metric],
    *,
    seed: int,
    confidence: float = 0.95,
    contrasts: Sequence[Contrast] = (),
    allow_partial_overlap: bool = False,
    family: Callable[[str], bool] | None = None,
    labels: Sequence[AnswerLabel] = (),
) -> list[Drift]:
    """Return every estimate that a verdict table supports, with its uncertainty.

    Args:
        verdicts: The columns of `records.Verdict`, rows in any order.
        metrics: The metrics to compute; one without a verdict gives no estimate (the gate calls it not measured).
        seed: Seed of the random label swaps behind clustered p values; each row has its own stream.
        confidence: Confidence of each interval by itself.
        contrasts: Weighted sums of arms' drifts, over the training seeds that all their arms share.
        allow_partial_overlap: Pair whatever can be paired, even under 90 % of an arm's prompts.
        family: Whether the metric of a name belongs to the families of `p_adjusted`; by default all do. The others
            get no `p_adjusted`.
        labels: People's, of some answers: estimates of an arm and a base with enough of them are prediction-powered
            (`stats.prediction_powered`), by these labels and the judge's verdicts, and so are contrasts all of whose
            arms have enough.

    Returns:
        Per metric, base, judge and temperature: a `level` row for the base, each checkpoint and each arm over its
        seeds; a `checkpoint` row for each checkpoint; a `recipe` row for each (arm, recipe, epoch) with at least two
        seeds; a `contrast` row for each contrast. `delta` is tuned - base. `p` is two-sided for no difference: exact
        McNemar where prompts are independent and outcomes are single and 0/1, otherwise label swaps within clusters;
        for recipes and contrasts the t test of the crossed layout. `p_adjusted` is Holm's over the metrics (judges
        and temperatures) of one arm, checkpoint or contrast; each is a family of its own, so expect some false alarms
        among many of them. `q` is Benjamini and Hochberg's over all rows of an estimand, for exploration.

    Raises:
        DataError: The table is broken.
        DesignError: Too few prompts can be paired ("overlap"), or two checkpoints of a recipe have one seed.
        UsageError: A contrast names an unknown arm.
    """
    table = VerdictTable.of(verdicts)
    _check_arms(table, contrasts)
    rows: list[Drift] = []
    for block in blocks(table, metrics, labels):
        estimates = _BlockDrifts(block, seed, confidence, allow_partial_overlap)
        rows += estimates.levels()
        rows += estimates.checkpoints()
        rows += estimates.recipes()
        for contrast in contrasts:
            rows += estimates.contrast(contrast)
    return _with_adjusted_p(rows, family)


def _check_arms(table: VerdictTable, contrasts: Sequence[Contrast]) -> None:
    if not contrasts:
        return
    firsts = table.joint(("arm", "recipe"), table.where())[1]
    pairs = [(table.at("arm", row), table.at("recipe", row)) for row in firsts]
    known = sorted({arm for arm, _ in pairs} | {f"{arm}/{recipe}" for arm, recipe in pairs})
    for contrast in contrasts:
        for arm in contrast.weights:
            if arm not in known:
                raise UsageError(f"contrast '{contrast.name}': no arm '{arm}'{near(arm, known)}")


def _with_adjusted_p(rows: list[Drift], family: Callable[[str], bool] | None) -> list[Drift]:
    families: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        if row.p is not None and (family is None or family(row.metric)):
            key = (row.estimand, row.base_model, row.arm, row.recipe, row.checkpoint, row.train_seed, row.epoch)
            families[key].append(i)
    for members in families.values():
        adjusted = multiplicity.holm([rows[i].p or 0.0 for i in members])
        for i, p in zip(members, adjusted, strict=True):
            rows[i] = dataclasses.replace(rows[i], p_adjusted=p)
    for estimand in {row.estimand for row in rows}:
        members = [i for i, row in enumerate(rows) if row.estimand == estimand and row.p is not None]
        for i, q in zip(members, multiplicity.benjamini_hochberg([rows[i].p or 0.0 for i in members]), strict=True):
            rows[i] = dataclasses.replace(rows[i], q=q)
    return rows


@dataclass(frozen=True)
class _Weighted:
    """Arms of a contrast as rows of a block, and the base's part where it does not cancel."""

    weights: list[float]
    members: list[list[int]]
    """For each weight, the rows of its arm in the order of the shared seeds."""

    def combine(self, positive: Floats, negative: Floats) -> Floats:
        """Return the weighted sum, shape (seeds, prompts): arms with a positive weight are read from `positive`."""
        arms = [
            (positive if weight > 0 else negative)[rows]
            for weight, rows in zip(self.weights, self.members, strict=True)
        ]
        return contrasts.combine(np.stack(arms), self.weights)


@dataclass(frozen=True)
class _Seen:
    """The estimate without answers that a content filter made; None where no prompt is left on both sides."""

    estimate: Estimate | None


@dataclass(frozen=True)
class _BlockDrifts:
    """Computes the rows of one block."""

    block: Block
    seed: int
    confidence: float
    allow_partial_overlap: bool

    def levels(self) -> Iterator[Drift]:
        """Yield the rate of each subject, and of each arm over its training seeds."""
        for i, subject in enumerate(self.block.subjects):
            yield self._level(subject, [i])
        for group, members in self._seeds_of_groups().items():
            if len(members) > 1:
                yield self._level(self._recipe(group, members), members)

    def checkpoints(self) -> Iterator[Drift]:
        """Yield the drift of each checkpoint."""
        groups = self._seeds_of_groups()
        for i, subject in enumerate(self.block.subjects):
            if subject.arm == BASE_ARM:
                continue
            row = self._difference("checkpoint", subject, [i])
            if len(groups.get((subject.arm, subject.recipe, subject.epoch), ())) < 2 and row.delta is not None:
                row = dataclasses.replace(row, warning=as_text([row.warning, recipe_refusal(subject.train_seed)]))
            yield row

    def recipes(self) -> Iterator[Drift]:
        """Yield the drift of each recipe with at least two training seeds."""
        for group, members in self._seeds_of_groups().items():
            if len(members) > 1:
                yield self._difference("recipe", self._recipe(group, members), members)

    def contrast(self, contrast: Contrast) -> Iterator[Drift]:
        """Yield a contrast for each recipe and epoch of its arms (see `contrasts.settings`)."""
        groups = self._seeds_of_groups()
        weights = {term: weight for term, weight in contrast.weights.items() if weight}
        for recipe, epoch, terms in settings(list(weights), list(groups)):
            by_seed = [{self.block.subjects[i].train_seed: i for i in groups.get(term, ())} for term in terms]
            yield self._contrast(Subject(formula(contrast), recipe, None, epoch, ""), weights, by_seed)

    def _seeds_of_groups(self) -> dict[Group, list[int]]:
        """Return the subjects of each (arm, recipe, epoch). Raises DesignError where two have the same seed."""
        groups: dict[Group, list[int]] = defaultdict(list)
        for i, subject in enumerate(self.block.subjects):
            if subject.arm == BASE_ARM or subject.train_seed is None:
                continue
            members = groups[subject.arm, subject.recipe, subject.epoch]
            if any(self.block.subjects[j].train_seed == subject.train_seed for j in members):
                raise DesignError(
                    f"arm '{subject.arm}', recipe '{subject.recipe}': two checkpoints have training seed "
                    f"{subject.train_seed} at the same epoch; give independent trainings different seeds"
                )
            members.append(i)
        return dict(groups)

    def _recipe(self, group: Group, members: Sequence[int]) -> Subject:
        arm, recipe, epoch = group
        return Subject(arm, recipe, None, epoch, "", self.block.subjects[members[0]].corpus)

    def _level(self, subject: Subject, members: list[int]) -> Drift:
        block = self.block
        is_base, several = subject.arm == BASE_ARM, len(members) > 1
        estimate, worst = self._level_estimate(block.mean[members]), self._worst_level(members)
        per_seed = np.nanmean(block.mean[members], axis=1) if several and estimate else None
        method, notes = LEVEL + (", seeds x prompts crossed" if several else ""), []
        if estimate and block.labelled is not None:
            people = self._people(members, np.isfinite(block.mean[members]), seeds=several)
            if isinstance(people, PeoplesRate):
                estimate = self._level_with_labels(people(block.mean[members]), members, people)
                worst = self._level_with_labels(self._unjudged_as_worst(members, people), members, people)
                per_seed = None if per_seed is None else people(per_seed)
                method += f"; prediction-powered by {people.rate.labels:,} labels"
            elif people:
                notes = [too_few({subject.arm: people})]
        unjudged = int((block.n_asked - block.n_judged)[members].sum())
        asked, unseen = int(block.n_asked[members].sum()), int(block.n_unseen[members].sum())
        warnings = sizes(estimate) + unjudged_share(unjudged, asked, subject.arm)
        warnings += unseen_share(unseen, asked, subject.arm) + notes
        if estimate is None:
            warnings.insert(0, "a seed has no judged answer" if several else "no answer could be judged")
        return self._row(
            "level",
            subject,
            estimate,
            worst,
            per_seed=per_seed,
            base=estimate.value if estimate and is_base else None,
            tuned=estimate.value if estimate and not is_base else None,
            n_seeds=len(members) if several else int(subject.train_seed is not None),
            n_samples=int(block.n_asked[members].max()),
            unjudged=(unjudged, 0) if is_base else (0, unjudged),
            method=method,
            warnings=warnings,
            unseen=(unseen, 0) if is_base else (0, unseen),
            seen=_Seen(self._level_estimate(block.seen[members])) if block.n_filtered[members].any() else None,
        )

    def _difference(self, estimand: Estimand, subject: Subject, members: list[int]) -> Drift:
        block, bases = self.block, self.block.bases(members)
        is_recipe = estimand == "recipe"
        n_samples = int(block.n_asked[members].max())
        if bases is None:
            reason = f"the base was not asked at temperature {block.temperature:g}: nothing to pair with"
            return self._row(estimand, subject, n_samples=n_samples, warnings=[reason])
        warnings = [text for i, base in zip(members, bases, strict=True) for text in self._pairing(i, base)]
        pairs = (block.n_asked[members] > 0) & (block.n_asked[bases] > 0)
        values = np.where(pairs, block.mean[members] - block.mean[bases], np.nan)
        extremes = np.where(pairs, block.worst[members] - block.best[bases], np.nan)
        scored = np.isfinite(values)
        estimate = self._difference_estimate(values, block.width)
        unjudged = block.n_asked - block.n_judged
        unknown = bool((((unjudged + block.n_unseen)[members] + (unjudged + block.n_unseen)[bases]) * pairs).any())
        worst = self._worst_difference(extremes, unknown)
        # A base that several seeds are paired with is counted once.
        distinct = list(dict.fromkeys(bases))
        base_pairs = np.stack([pairs[[b == base for b in bases]].any(axis=0) for base in distinct])
        base_unjudged = int((unjudged[distinct] * base_pairs).sum())
        tuned_unjudged = int((unjudged[members] * pairs).sum())
        warnings += sizes(estimate)
        warnings += unjudged_share(tuned_unjudged, int((block.n_asked[members] * pairs).sum()), subject.arm)
        warnings += unjudged_share(base_unjudged, int((block.n_asked[distinct] * base_pairs).sum()), BASE_ARM)
        base_unseen = int((block.n_unseen[distinct] * base_pairs).sum())
        tuned_unseen = int((block.n_unseen[members] * pairs).sum())
        warnings += unseen_share(tuned_unseen, int((block.n_asked[members] * pairs).sum()), subject.arm)
        warnings += unseen_share(base_unseen, int((block.n_asked[distinct] * base_pairs).sum()), BASE_ARM)
        filtered = (block.n_filtered[members] + block.n_filtered[bases]) * pairs
        without = np.where(pairs, block.seen[members] - block.seen[bases], np.nan)
        seen = _Seen(self._difference_estimate(without, block.width)) if filtered.any() else None
        n_seeds = len(members) if is_recipe else int(subject.train_seed is not None)
        n_samples = max(n_samples, int(block.n_asked[distinct].max()))
        if estimate is None:
            unpaired = block.subjects[members[int(np.argmin(scored.any(axis=1)))]].train_seed
            of_seed = f" of seed {unpaired}" if is_recipe else ""
            return self._row(
                estimand,
                subject,
                None,
                worst,
                n_seeds=n_seeds,
                n_samples=n_samples,
                unjudged=(base_unjudged, tuned_unjudged),
                warnings=[f"no pair{of_seed} was judged on both sides", *warnings],
                unseen=(base_unseen, tuned_unseen),
                seen=seen,
            )
        if not values[scored].any():
            warnings.append("no answer changed: the interval is what this many prompts cannot rule out")
        counts = scored.sum(axis=1)
        per_seed = np.where(scored, block.mean[members], 0).sum(axis=1) / counts
        before = float((np.where(scored, block.mean[bases], 0).sum(axis=1) / counts).mean())
        people = self._both_people(members, bases, scored, is_recipe) if block.labelled is not None else None
        if isinstance(people, tuple):
            own, other = people
            moved = own(block.mean[members]) - other(block.mean[bases])
            estimate = self._difference_with_labels(np.where(scored, moved, np.nan), members, bases, people)
            extremes = self._unjudged_as_worst(members, own) - self._unjudged_as_worst(bases, other, best=True)
            worst = self._difference_with_labels(np.where(pairs, extremes, np.nan), members, bases, people)
            before, per_seed = other.rate.rate, own(per_seed)
            p, test = estimate.p if estimate else None, "t test"
            labels = f"{other.rate.labels:,} of the base, {own.rate.labels:,} of the tuned model"
            test = f"prediction-powered by labels: {labels}; {test}"
        else:
            warnings += [people] if people else []
            p, test = (estimate.p, "t test") if is_recipe else self._test(values[0], estimate, members[0], bases[0])
        return self._row(
            estimand,
            subject,
            estimate,
            worst,
            per_seed=per_seed if is_recipe else None,
            base=before,
            tuned=float(per_seed.mean()),
            p=p,
            n_seeds=n_seeds,
            n_samples=n_samples,
            unjudged=(base_unjudged, tuned_unjudged),
            method=f"{CROSSED if is_recipe else PAIRED}; {test}",
            warnings=warnings,
            unseen=(base_unseen, tuned_unseen),
            seen=seen,
        )

    def _contrast(self, subject: Subject, weights: Mapping[str, float], by_seed: list[dict[int | None, int]]) -> Drift:
        block = self.block
        shared = sorted(s for s in set.intersection(*map(set, by_seed)) if s is not None)
        if len(shared) < 2:
            said = f"its arms share {count(len(shared), 'training seed')}"
            return self._row("contrast", subject, warnings=[f"{said}: a contrast needs at least two"])
        arms = _Weighted(list(weights.values()), [[rows[s] for s in shared] for rows in by_seed])
        everything = self._with_bases(arms)
        if everything is None:
            return self._row("contrast", subject, warnings=["the base was not asked at this temperature"])
        values, extremes = everything.combine(block.mean, block.mean), everything.combine(block.worst, block.best)
        times, rows = contrasts.scale_of(everything.weights), [i for own in everything.members for i in own]
        unknown = bool((block.n_asked - block.n_judged + block.n_unseen)[rows].any())
        estimate = self._difference_estimate(values, times * block.width)
        worst = self._worst_difference(extremes, unknown, times)
        tuned = [i for rows in arms.members for i in rows]
        n_samples, unjudged = int(block.n_asked[tuned].max()), int((block.n_asked - block.n_judged)[tuned].sum())
        unseen = int(block.n_unseen[tuned].sum())
        test, notes = "t test", list[str]()
        if estimate is not None and block.labelled is not None:
            people = self._people_of_all(everything, np.isfinite(values))
            if isinstance(people, str):
                notes = [people] if people else []
            else:
                estimate = self._contrast_with_labels(everything, people, values, extremes=False)
                worst = self._contrast_with_labels(everything, people, extremes, extremes=True)
                fewest = min(each.rate.labels for each in people)
                test = f"prediction-powered by labels, {fewest:,} or more of each arm; t test"
        if estimate is None:
            unpaired = shared[int(np.argmin(np.isfinite(values).any(axis=1)))]
            warnings = [f"no prompt of seed {unpaired} was judged in all arms"]
        else:
            warnings = sizes(estimate)
            dropped = int(np.isfinite(extremes).any(axis=0).sum()) - estimate.n
            warnings += [f"{count(dropped, 'prompt')} dropped: not judged in all arms"] if dropped else []
        warnings += unseen_share(unseen, int(block.n_asked[tuned].sum()), subject.arm) + notes
        return self._row(
            "contrast",
            subject,
            estimate,
            worst,
            p=estimate.p if estimate else None,
            n_seeds=len(shared),
            n_samples=n_samples,
            unjudged=(0, unjudged),
            method=f"contrast of arms, {CROSSED}; {test}",
            warnings=warnings,
            unseen=(0, unseen),
        )

    def _with_bases(self, arms: _Weighted) -> _Weighted | None:
        """Add what the base contributes to a contrast of drifts; None where it was not asked.

        It cancels where the weights sum to zero and all arms have the same base; arms of several corpora may not.
        """
        remainders: dict[tuple[int, ...] | None, float] = defaultdict(float)
        for weight, rows in zip(arms.weights, arms.members, strict=True):
            bases = self.block.bases(rows)
            remainders[None if bases is None else tuple(bases)] -= weight
        weights, members = list(arms.weights), list(arms.members)
        for rows_of_base, weight in remainders.items():
            if abs(weight) <= 1e-12:
                continue
            if rows_of_base is None:
                return None
            weights.append(weight)
            members.append(list(rows_of_base))
        return _Weighted(weights, members)

    def _level_estimate(self, values: Floats) -> Estimate | None:
        block = self.block
        return matrix.level(values, block.clusters, confidence=self.confidence, bounds=block.bounds)

    def _difference_estimate(self, values: Floats, scale: float) -> Estimate | None:
        return matrix.difference(values, self.block.clusters, confidence=self.confidence, scale=scale)

    def _worst_difference(self, extremes: Floats, unknown: bool, times: float = 1.0) -> Estimate | None:
        """Return the difference with every unknown answer as the worst; None where that could be any value.

        `times` is the largest possible difference, in widths of the scale.
        """
        ends = self.block.ends
        if ends is None and unknown:
            return None
        width = self.block.width if ends is None else max(self.block.width, ends[1] - ends[0])
        return self._difference_estimate(extremes, times * (width if unknown else self.block.width))

    def _worst_level(self, members: Sequence[int]) -> Estimate | None:
        """Return the level with every unknown answer as the worst; None where that could be any value."""
        block = self.block
        if not (block.n_asked - block.n_judged + block.n_unseen)[members].any():
            return self._level_estimate(block.worst[members])
        if block.ends is None:
            return None
        return matrix.level(block.worst[members], block.clusters, confidence=self.confidence, bounds=block.ends)

    def _people(self, members: Sequence[int], counted: Bools, *, seeds: bool) -> PeoplesRate | int:
        """Return the members' rate by people's labels, or how many labels there are if too few."""
        mean = np.where(counted, self.block.mean[list(members)], 0).sum(axis=1) / counted.sum(axis=1)
        distinct = list(dict.fromkeys(members))
        return peoples_rate(
            self.block.labelled,
            distinct,
            float(mean.mean()),
            self.block.clusters,
            seeds=seeds and len(distinct) > 1,
            confidence=self.confidence,
        )

    def _both_people(
        self, members: Sequence[int], bases: Sequence[int], scored: Bools, seeds: bool
    ) -> tuple[PeoplesRate, PeoplesRate] | str:
        """Return the rates of tuned model and base by people's labels; else why there are none, or empty."""
        tuned = self._people(members, scored, seeds=seeds)
        base = self._people(bases, scored, seeds=seeds)
        if isinstance(tuned, PeoplesRate) and isinstance(base, PeoplesRate):
            return tuned, base
        counts = [each if isinstance(each, int) else each.rate.labels for each in (base, tuned)]
        return too_few({BASE_ARM: counts[0], self.block.subjects[members[0]].arm: counts[1]}) if any(counts) else ""

    def _people_of_all(self, terms: _Weighted, scored: Bools) -> list[PeoplesRate] | str:
        """Return the rate of each term by people's labels; else why there is none, or empty."""
        found = [self._people(members, scored, seeds=True) for members in terms.members]
        rates = [each for each in found if isinstance(each, PeoplesRate)]
        if len(rates) == len(found):
            return rates
        if not rates and not any(found):
            return ""
        arms = [self.block.subjects[members[0]].arm for members in terms.members]
        return too_few({arm: each for arm, each in zip(arms, found, strict=True) if isinstance(each, int)})

    def _contrast_with_labels(
        self, terms: _Weighted, people: Sequence[PeoplesRate], judged: Floats, *, extremes: bool
    ) -> Estimate | None:
        """Return a contrast by people's labels, at the seeds and prompts where `judged` has a value.

        With `extremes`, answers that nobody judged count as the worst of arms with a positive weight, and as the best
        of the others.
        """
        read, offsets, noise = [], np.zeros(len(judged)), np.zeros(len(judged))
        for weight, members, own in zip(terms.weights, terms.members, people, strict=True):
            if extremes:
                read.append(self._unjudged_as_worst(members, own, best=weight < 0))
            else:
                read.append(own(self.block.mean[members]))
            offset, own_noise = own.of_seeds(members)
            offsets, noise = offsets + weight * offset, noise + weight**2 * own_noise
        values = np.where(np.isfinite(judged), contrasts.combine(np.stack(read), terms.weights), np.nan)
        scale = contrasts.scale_of(terms.weights) * self.block.width
        if not extremes:
            values = with_seed_errors(values, offsets, noise)
        estimate = self._difference_estimate(values, scale)
        rates = [(weight, each.rate) for weight, each in zip(terms.weights, people, strict=True)]
        return estimate and with_labels(estimate, rates, (-scale, scale))

    def _unjudged_as_worst(self, members: Sequence[int], people: PeoplesRate, *, best: bool = False) -> Floats:
        """Return what people read, each answer that is unjudged or unseen as the worst (or best) that it could be."""
        block, rows = self.block, list(members)
        ends = block.bounds if block.metric.worse == "down" else block.bounds[::-1]
        n_known = (block.n_judged - block.n_unseen)[rows]
        return people.with_unjudged(block.known[rows], n_known, block.n_asked[rows], ends[int(best)])

    def _level_with_labels(self, values: Floats, members: Sequence[int], people: PeoplesRate) -> Estimate | None:
        if len(members) > 1:
            values = with_seed_errors(values, *people.of_seeds(members))
        estimate = self._level_estimate(values)
        return estimate and with_labels(estimate, [(1.0, people.rate)], self.block.bounds)

    def _difference_with_labels(
        self, values: Floats, members: Sequence[int], bases: Sequence[int], people: tuple[PeoplesRate, PeoplesRate]
    ) -> Estimate | None:
        width = self.block.width
        if len(members) > 1:
            (own, noise), (other, more) = people[0].of_seeds(members), people[1].of_seeds(bases)
            values = with_seed_errors(values, own - other, noise + more)
        rates = list(zip((1.0, -1.0), (each.rate for each in people), strict=True))
        estimate = self._difference_estimate(values, width)
        return estimate and with_labels(estimate, rates, (-width, width))

    def _test(self, values: Floats, estimate: Estimate, member: int, base: int) -> tuple[float, str]:
        """Return the two-sided p value of no difference for one checkpoint, and the name of the test."""
        block = self.block
        single = int(block.n_asked[[member, base]].max()) == 1
        if single and block.is_proportion and estimate.n_clusters == estimate.n:
            return paired.mcnemar_exact(int((values > 0).sum()), int((values < 0).sum())), "exact McNemar test"
        used = np.isfinite(values)
        one = block.subjects[member]
        identity = (one.arm, one.recipe, one.train_seed, one.epoch, one.checkpoint)
        rng = np.random.default_rng(
            seed_of(self.seed, block.metric.name, block.base_model, block.judge, block.temperature, identity)
        )
        return clusters.swap_test(values[used], block.clusters[used], rng), "label swaps within clusters"

    def _pairing(self, i: int, base: int) -> list[str]:
        """Return warnings about the pairing of a checkpoint with its base. Raises DesignError for little overlap."""
        block = self.block
        tuned, own = block.n_asked[i] > 0, block.n_asked[base] > 0
        both = int((tuned & own).sum())
        changed = np.intersect1d(block.prompt_ids[tuned & ~own], block.prompt_ids[own & ~tuned]).size
        if both < LEAST_OVERLAP * max(tuned.sum(), own.sum()) and not self.allow_partial_overlap:
            why = f"; {changed:,} were sent with other messages (message_hash)" if changed else ""
            raise DesignError(
                f"{block.metric.name}: overlap too small: of {int(own.sum()):,} prompts of the base and "
                f"{int(tuned.sum()):,} of '{block.subjects[i].arm}' only {both:,} are paired{why}; ask both the same "
                "prompts, or allow partial overlap"
            )
        warnings = []
        if changed:
            warnings.append(
                f"{count(changed, 'prompt')} dropped: sent with other messages to the two sides (message_hash)"
            )
        one_side = int((tuned ^ own).sum()) - 2 * changed
        if one_side > 0:
            warnings.append(f"{count(one_side, 'prompt')} dropped: asked of one side only")
        if block.templates[i] != block.templates[base]:
            names = ["/".join(sorted(block.templates[j])) for j in (base, i)]
            warnings.append(f"chat template differs: base '{names[0]}', tuned '{names[1]}'")
        return warnings

    def _row(
        self,
        estimand: Estimand,
        subject: Subject,
        estimate: Estimate | None = None,
        worst: Estimate | None = None,
        *,
        per_seed: Floats | None = None,
        base: float | None = None,
        tuned: float | None = None,
        p: float | None = None,
        n_seeds: int = 0,
        n_samples: int = 0,
        unjudged: tuple[int, int] = (0, 0),
        method: str = "none",
        warnings: Sequence[str] = (),
        unseen: tuple[int, int] = (0, 0),
        seen: _Seen | None = None,
    ) -> Drift:
        block = self.block
        alone = seen.estimate if seen else None
        return Drift(
            metric=block.metric.name,
            worse=block.metric.worse,
            estimand=estimand,
            base_model=block.base_model,
            arm=subject.arm,
            recipe=subject.recipe,
            checkpoint=subject.checkpoint or None,
            train_seed=subject.train_seed,
            epoch=subject.epoch,
            temperature=block.temperature,
            judge=block.judge,
            base=base,
            tuned=tuned,
            delta=estimate.value if estimate and estimand != "level" else None,
            low=estimate.low if estimate else None,
            high=estimate.high if estimate else None,
            confidence=self.confidence,
            p=p,
            p_adjusted=None,
            worst=worst.value if worst else None,
            worst_low=worst.low if worst else None,
            worst_high=worst.high if worst else None,
            spread_low=None if per_seed is None else float(per_seed.min()),
            spread_high=None if per_seed is None else float(per_seed.max()),
            n_prompts=estimate.n if estimate else 0,
            n_clusters=estimate.n_clusters if estimate else 0,
            n_seeds=n_seeds,
            n_samples=n_samples,
            unjudged_base=unjudged[0],
            unjudged_tuned=unjudged[1],
            method=method if estimate else "none",
            warning=as_text(warnings),
            df=estimate.df if estimate else None,
            is_proportion=block.is_proportion,
            corpus=subject.corpus,
            unseen_base=unseen[0],
            unseen_tuned=unseen[1],
            n_seen=None if seen is None else alone.n if alone else 0,
            seen=alone.value if alone else None,
            seen_low=alone.low if alone else None,
            seen_high=alone.high if alone else None,
            room=None if base is None or block.ends is None else self._room(base, block.ends),
        )

    def _room(self, base: float, ends: tuple[float, float]) -> float:
        return base - ends[0] if self.block.metric.worse == "down" else ends[1] - base
