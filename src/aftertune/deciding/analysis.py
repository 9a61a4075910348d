"""The estimates of one block: levels, this checkpoint against the base, this recipe against the base, contrasts."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from aftertune.deciding.blocks import Block, Floats, Subject
from aftertune.deciding.contrasts import Group, formula, settings
from aftertune.deciding.warnings import as_text, recipe_refusal, sizes, unjudged_share
from aftertune.errors import DesignError
from aftertune.records import BASE_ARM, Contrast, Drift, seed_of
from aftertune.stats import clusters, contrasts, paired, seeds
from aftertune.stats.estimate import Estimate

OVERLAP = 0.9
"""Least share of either arm's prompts that must be paired."""

PAIRED = "paired by prompt; Tango score interval, cluster-robust (CR2)"
CROSSED = "seeds x prompts crossed; Tango score interval, t between Satterthwaite and Cochran"
LEVEL = "Wilson score interval, cluster-robust (CR2)"

Estimand = Literal["checkpoint", "recipe", "contrast", "level"]


@dataclass(frozen=True)
class Analysis:
    """Makes the rows of one block."""

    block: Block
    seed: int
    confidence: float
    partial: bool
    """Pair what can be paired, however little."""

    def levels(self) -> list[Drift]:
        """Return the rate of each subject, and of each arm over its training seeds."""
        block = self.block
        rows = [self._level(subject, [i]) for i, subject in enumerate(block.subjects)]
        for (arm, recipe, epoch), members in self.recipes_of().items():
            if len(members) > 1:
                corpus = self.block.subjects[members[0]].corpus
                rows.append(self._level(Subject(arm, recipe, None, epoch, "", corpus), members))
        return rows

    def checkpoints(self) -> list[Drift]:
        """Return the drift of each checkpoint."""
        groups, rows = self.recipes_of(), []
        for i, subject in enumerate(self.block.subjects):
            if subject.arm == BASE_ARM:
                continue
            row = self._difference("checkpoint", subject, [i])
            if len(groups.get((subject.arm, subject.recipe, subject.epoch), ())) < 2 and row.delta is not None:
                row = dataclasses.replace(row, warning=as_text([row.warning, recipe_refusal(subject.train_seed)]))
            rows.append(row)
        return rows

    def recipes(self) -> list[Drift]:
        """Return the drift of each recipe with two training seeds or more."""
        return [
            self._difference(
                "recipe", Subject(arm, recipe, None, epoch, "", self.block.subjects[members[0]].corpus), members
            )
            for (arm, recipe, epoch), members in self.recipes_of().items()
            if len(members) > 1
        ]

    def contrast(self, contrast: Contrast) -> list[Drift]:
        """Return a contrast for each recipe and epoch of its arms (`settings`)."""
        block, groups = self.block, self.recipes_of()
        weights = {term: weight for term, weight in contrast.weights.items() if weight}
        rows = []
        for recipe, epoch, wanted in settings(list(weights), list(groups)):
            arms = [{block.subjects[i].train_seed: i for i in groups.get(key, ())} for key in wanted]
            rows.append(self._contrast(Subject(formula(contrast), recipe, None, epoch, ""), weights, arms))
        return rows

    def recipes_of(self) -> dict[Group, list[int]]:
        """Return the subjects of each group whose seeds are known. Raises DesignError for a seed that stands twice."""
        found: dict[Group, list[int]] = defaultdict(list)
        for i, subject in enumerate(self.block.subjects):
            if subject.arm == BASE_ARM or subject.train_seed is None:
                continue
            members = found[subject.arm, subject.recipe, subject.epoch]
            if any(self.block.subjects[j].train_seed == subject.train_seed for j in members):
                raise DesignError(
                    f"arm '{subject.arm}', recipe '{subject.recipe}': two checkpoints have training seed "
                    f"{subject.train_seed} at the same epoch; give independent trainings different seeds"
                )
            members.append(i)
        return dict(found)

    def _level(self, subject: Subject, members: list[int]) -> Drift:
        block = self.block
        is_base, many = subject.arm == BASE_ARM, len(members) > 1
        settings: Any = {"confidence": self.confidence, "bounds": block.bounds}

        def estimate(values: Floats) -> Estimate | None:
            if not np.isfinite(values).any(axis=1).all():
                return None
            if many:
                return seeds.level(values, block.clusters, **settings)
            used = np.isfinite(values[0])
            return clusters.level(values[0][used], block.clusters[used], **settings)

        found = estimate(block.mean[members])
        lost = int((block.asked - block.judged)[members].sum())
        warnings = sizes(found) + unjudged_share(lost, int(block.asked[members].sum()), subject.arm)
        if found is None:
            warnings.insert(0, "a seed has no judged answer" if many else "no answer could be judged")
        return self._row(
            "level",
            subject,
            found,
            estimate(block.worst[members]),
            per_seed=np.nanmean(block.mean[members], axis=1) if many and found else None,
            base=found.value if found and is_base else None,
            tuned=found.value if found and not is_base else None,
            n_seeds=len(members) if many else int(subject.train_seed is not None),
            n_samples=int(block.asked[members].max()),
            unjudged=(lost, 0) if is_base else (0, lost),
            method=LEVEL + (", seeds x prompts crossed" if many else ""),
            warnings=warnings,
        )

    def _difference(self, estimand: Estimand, subject: Subject, members: list[int]) -> Drift:
        block, bases = self.block, self.block.bases(members)
        recipe = estimand == "recipe"
        samples = int(block.asked[members].max())
        if bases is None:
            reason = f"the base was not asked at temperature {block.temperature:g}: nothing to pair with"
            return self._row(estimand, subject, n_samples=samples, warnings=[reason])
        warnings = [text for i, base in zip(members, bases, strict=True) for text in self._pairing(i, base)]
        pairs = (block.asked[members] > 0) & (block.asked[bases] > 0)
        values = np.where(pairs, block.mean[members] - block.mean[bases], np.nan)
        extreme = np.where(pairs, block.worst[members] - block.best[bases], np.nan)
        scored = np.isfinite(values)
        found = self._estimate(values, block.width) if scored.any(axis=1).all() else None
        worst = self._estimate(extreme, block.width) if pairs.any(axis=1).all() else None
        lost = block.asked - block.judged
        # A base that all seeds are paired with is counted once.
        own = list(dict.fromkeys(bases))
        used = np.stack([pairs[[b == base for b in bases]].any(axis=0) for base in own])
        base_lost, tuned_lost = int((lost[own] * used).sum()), int((lost[members] * pairs).sum())
        base_asked = int((block.asked[own] * used).sum())
        warnings += sizes(found)
        warnings += unjudged_share(tuned_lost, int((block.asked[members] * pairs).sum()), subject.arm)
        warnings += unjudged_share(base_lost, base_asked, BASE_ARM)
        common: Any = {
            "n_seeds": len(members) if recipe else int(subject.train_seed is not None),
            "n_samples": max(samples, int(block.asked[own].max())),
            "unjudged": (base_lost, tuned_lost),
        }
        if found is None:
            gone = block.subjects[members[int(np.argmin(scored.any(axis=1)))]].train_seed
            where = f" of seed {gone}" if recipe else ""
            return self._row(
                estimand,
                subject,
                None,
                worst,
                warnings=[f"no pair{where} was judged on both sides", *warnings],
                **common,
            )
        if not values[scored].any():
            warnings.append("no answer changed: the interval is what this many prompts cannot rule out")
        counts = scored.sum(axis=1)
        per_seed = np.where(scored, block.mean[members], 0).sum(axis=1) / counts
        p, test = (found.p, "t test") if recipe else self._test(values[0], found, members[0], bases[0])
        return self._row(
            estimand,
            subject,
            found,
            worst,
            per_seed=per_seed if recipe else None,
            base=float((np.where(scored, block.mean[bases], 0).sum(axis=1) / counts).mean()),
            tuned=float(per_seed.mean()),
            p=p,
            method=f"{CROSSED if recipe else PAIRED}; {test}",
            warnings=warnings,
            **common,
        )

    def _estimate(self, values: Floats, scale: float) -> Estimate:
        """Return the difference of one checkpoint (1, prompts) or of a recipe (seeds, prompts)."""
        codes = self.block.clusters
        if values.shape[0] > 1:
            return seeds.difference(values, codes, confidence=self.confidence, scale=scale)
        used = np.isfinite(values[0])
        return clusters.difference(values[0][used], codes[used], confidence=self.confidence, scale=scale)

    def _test(self, values: Floats, found: Estimate, member: int, base: int) -> tuple[float, str]:
        """Return the two-sided p value of no difference for one checkpoint, and the test's name."""
        block = self.block
        single = int(block.asked[[member, base]].max()) == 1
        if single and block.is_proportion and found.n_clusters == found.n:
            return paired.mcnemar_exact(int((values > 0).sum()), int((values < 0).sum())), "exact McNemar test"
        used = np.isfinite(values)
        subject = dataclasses.astuple(block.subjects[member])[:5]
        rng = np.random.default_rng(
            seed_of(self.seed, block.metric.name, block.base_model, block.judge, block.temperature, subject)
        )
        return clusters.swap_test(values[used], block.clusters[used], rng), "label swaps within clusters"

    def _pairing(self, i: int, base: int) -> list[str]:
        """Return what is wrong with the pairing of a checkpoint and the base. Raises DesignError for little overlap."""
        block = self.block
        tuned, own = block.asked[i] > 0, block.asked[base] > 0
        both = int((tuned & own).sum())
        changed = np.intersect1d(block.prompt_ids[tuned & ~own], block.prompt_ids[own & ~tuned]).size
        if both < OVERLAP * max(tuned.sum(), own.sum()) and not self.partial:
            why = f"; {changed:,} were sent with other messages (message_hash)" if changed else ""
            raise DesignError(
                f"{block.metric.name}: overlap too small: of {int(own.sum()):,} prompts of the base and "
                f"{int(tuned.sum()):,} of '{block.subjects[i].arm}' only {both:,} are paired{why}; ask both the same "
                "prompts, or allow partial overlap"
            )
        dropped = []
        if changed:
            dropped.append(f"{changed:,} prompts dropped: sent with other messages to the two sides (message_hash)")
        only = int((tuned ^ own).sum()) - 2 * changed
        if only > 0:
            dropped.append(f"{only:,} prompts dropped: asked of one side only")
        if block.templates[i] != block.templates[base]:
            names = ["/".join(sorted(block.templates[j])) for j in (base, i)]
            dropped.append(f"chat template differs: base '{names[0]}', tuned '{names[1]}'")
        return dropped

    def _contrast(self, subject: Subject, weights: Mapping[str, float], by_seed: list[dict[int | None, int]]) -> Drift:
        block = self.block
        shared = sorted(s for s in set.intersection(*map(set, by_seed)) if s is not None)
        members = [[arm[s] for s in shared] for arm in by_seed]
        if len(shared) < 2:
            some = f"its arms share {len(shared)} training seed{'' if len(shared) == 1 else 's'}"
            return self._row("contrast", subject, warnings=[f"{some}: a contrast needs at least two"])
        # The base cancels where the weights sum to zero and all arms have one base; those of several corpora may not.
        rest: dict[tuple[int, ...] | None, float] = defaultdict(float)
        for weight, rows in zip(weights.values(), members, strict=True):
            bases = block.bases(rows)
            rest[None if bases is None else tuple(bases)] -= weight
        owed = {bases: weight for bases, weight in rest.items() if abs(weight) > 1e-12}
        if None in owed:
            return self._row("contrast", subject, warnings=["the base was not asked at this temperature"])
        all_weights = [*weights.values(), *owed.values()]
        terms = [*members, *(list(bases) for bases in owed if bases is not None)]

        def combined(up: Floats, down: Floats) -> Floats:
            """Weigh the arms; those with a positive weight are read from `up`, the others from `down`."""
            arms = [(up if w > 0 else down)[rows] for w, rows in zip(all_weights, terms, strict=True)]
            return contrasts.combine(np.stack(arms), all_weights)

        flat = [i for arm in members for i in arm]
        values, scale = combined(block.mean, block.mean), contrasts.scale_of(all_weights) * block.width
        extreme = combined(block.worst, block.best)
        reached, asked = np.isfinite(values).any(axis=1), np.isfinite(extreme)
        worst = self._estimate(extreme, scale) if asked.any(axis=1).all() else None
        common: Any = {
            "n_seeds": len(shared),
            "n_samples": int(block.asked[flat].max()),
            "unjudged": (0, int((block.asked - block.judged)[flat].sum())),
        }
        if not reached.all():
            reason = f"no prompt of seed {shared[int(np.argmin(reached))]} was judged in all arms"
            return self._row("contrast", subject, None, worst, warnings=[reason], **common)
        found = self._estimate(values, scale)
        dropped = int(asked.any(axis=0).sum()) - found.n
        warnings = sizes(found) + ([f"{dropped:,} prompts dropped: not judged in all arms"] if dropped else [])
        return self._row(
            "contrast", subject, found, worst, p=found.p, method=f"contrast of arms, {CROSSED}; t test",
            warnings=warnings, **common,
        )  # fmt: skip

    def _row(
        self,
        estimand: Estimand,
        subject: Subject,
        found: Estimate | None = None,
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
    ) -> Drift:
        block = self.block
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
            delta=found.value if found and estimand != "level" else None,
            low=found.low if found else None,
            high=found.high if found else None,
            confidence=self.confidence,
            p=p,
            p_adjusted=None,
            worst=worst.value if worst else None,
            worst_low=worst.low if worst else None,
            worst_high=worst.high if worst else None,
            spread_low=None if per_seed is None else float(per_seed.min()),
            spread_high=None if per_seed is None else float(per_seed.max()),
            n_prompts=found.n if found else 0,
            n_clusters=found.n_clusters if found else 0,
            n_seeds=n_seeds,
            n_samples=n_samples,
            unjudged_base=unjudged[0],
            unjudged_tuned=unjudged[1],
            method=method if found else "none",
            warning=as_text(warnings),
            df=found.df if found else None,
            is_proportion=block.is_proportion,
            corpus=subject.corpus,
        )
