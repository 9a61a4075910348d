"""How many answers does asking until it is decided save, and does it err no more often? `python -m perf.until_decided`.

Prompts come in ten parts, clusters in random order, and after each the gate's own test (drift) and interval (pass) are
made at the level of that look (`stats.group_sequential`). Beside it: all prompts at once. A case whose loss is just the
margin is the null of both.

`python -m perf.until_decided --run RUN` does the same on the answers of a finished run, arm by arm, as if each arm had
been audited alone; no model is asked.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from perf.many_intervals import many
from scipy import special

from aftertune.asking.parts import parts_of
from aftertune.asking.prompts_job import PromptsJob, prompts_of
from aftertune.commands import decide
from aftertune.deciding import gate
from aftertune.deciding.verdict_table import COLUMNS, VerdictTable
from aftertune.records import BASE_ARM
from aftertune.records import Outcome as State
from aftertune.run.run_folder import Run
from aftertune.stats.estimate import Floats, t_quantile
from aftertune.stats.group_sequential import PARTS, look_levels
from aftertune.studies import stored
from aftertune.studies.run_tables import all_verdicts

RUNS = 4000
MARGIN = 0.1
AT_ONCE = 250
"""Comparisons that are drawn at once."""


@dataclass(frozen=True)
class Case:
    """A metric of which a higher rate is worse, asked of a base and its tuned models."""

    name: str
    loss: float
    base: float = 0.05
    seeds: int = 1
    groups: int = 300
    size: int = 1
    icc: float = 0.1
    spread: float = 0.03
    """Standard deviation of the true rate between training seeds."""
    share: float = 1.0
    """Of the family's error, that the metric is tested at."""


@dataclass(frozen=True)
class Outcome:
    """Shares of the runs, and of the prompts."""

    asked: float
    fails: float
    passes: float
    fails_at_once: float
    """With all prompts asked before anything is decided."""
    passes_at_once: float


def drawn(case: Case, count: int, rng: np.random.Generator) -> Floats:
    """Return paired differences, shape (count, seeds, clusters, prompts)."""

    def luck(seeds: int) -> Floats:
        whole = (count, seeds, case.groups)
        common, own = rng.normal(size=(*whole, 1)), rng.normal(size=(*whole, case.size))
        return np.asarray(math.sqrt(case.icc) * common + math.sqrt(1 - case.icc) * own)

    prompt = luck(1)
    shift = case.spread * rng.normal(size=(count, case.seeds, 1, 1)) if case.seeds > 1 else 0.0
    cut = special.ndtri(np.clip(case.base + case.loss + shift, 1e-4, 1 - 1e-4))
    before = math.sqrt(0.5) * (prompt + luck(1)) < special.ndtri(case.base)
    after = math.sqrt(0.5) * (prompt + luck(case.seeds)) < cut
    return np.asarray(after.astype(np.float64) - before)


def decided(values: Floats, level: float, own: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return where the gate finds a drift at `level`, and where it passes by the interval of 1 - 2 `own`."""
    found = many(values)
    low, high = found.limits(1 - 2 * own)
    t = (found.value - MARGIN) / (found.value - low) * t_quantile(1 - 2 * own, found.df)
    fails = np.asarray(special.stdtr(found.df, -t) <= level)
    return fails, np.asarray(~fails & (high <= MARGIN))


def simulated(case: Case, runs: int, alpha: float = 0.025) -> Outcome:
    """Return what asking in parts comes to, and asking all at once, for a one-sided error of `alpha`."""
    rng = np.random.default_rng((38, *case.name.encode(), case.groups, case.seeds))
    shares = [part / PARTS for part in range(1, PARTS + 1)]
    levels = list(zip(look_levels(alpha * case.share, shares), look_levels(alpha, shares), strict=True))
    totals = np.zeros(5)
    for begun in range(0, runs, AT_ONCE):
        values = drawn(case, min(AT_ONCE, runs - begun), rng)
        left = np.arange(len(values))
        for share, (level, own) in zip(shares, levels, strict=True):
            fails, passes = decided(values[left, :, : math.ceil(share * case.groups - 1e-9)], level, own)
            done = fails | passes if share < 1 else np.ones(left.size, dtype=bool)
            totals += [share * done.sum(), fails.sum(), passes.sum(), 0, 0]
            left = left[~done]
            if not left.size:
                break
        fails, passes = decided(values, alpha * case.share, alpha)
        totals += [0, 0, 0, fails.sum(), passes.sum()]
    return Outcome(*(float(each) for each in totals / runs))


@dataclass(frozen=True)
class Replayed:
    """What asking until it is decided would have come to for an arm of a finished run."""

    arm: str
    """With its recipe, where the run has several."""
    asked: float
    """Share of the answers of base and arm."""
    decided: bool
    """Whether asking ended before or with the last part because a required metric drifted, or all had passed."""
    outcome: State
    drifted: tuple[str, ...]
    """Required metrics that had."""
    at_once: State
    """With all prompts asked before anything is decided."""


def replayed(root: Path) -> Iterator[Replayed]:
    """Yield each arm of a finished run, decided part by part as if it had been audited alone."""
    import pyarrow as pa
    import pyarrow.compute as pc

    run = Run.open(root)
    study = stored.read(run)
    study = dataclasses.replace(study, design=dataclasses.replace(study.design, contrasts=(), tables=()))
    part: dict[tuple[str, str], int] = {}
    for job in study.of(PromptsJob):
        prompts = prompts_of(run, job.id)
        own = zip(prompts, parts_of(prompts, PARTS), strict=True)
        part |= {(job.benchmark.name, prompt.id): each for prompt, each in own}
    table = all_verdicts(run, study, COLUMNS).unify_dictionaries()
    names = (table.column(name).to_pylist() for name in ("benchmark", "prompt_id"))
    asked_in = pa.array([part[key] for key in zip(*names, strict=True)])
    arms, recipes = (table.column(name).cast("string") for name in ("arm", "recipe"))
    is_base = pc.equal(arms, BASE_ARM)
    pairs = dict.fromkeys(zip(arms.to_pylist(), recipes.to_pylist(), strict=True))
    several = len({recipe for arm, recipe in pairs if arm != BASE_ARM}) > 1
    for arm, recipe in (pair for pair in pairs if pair[0] != BASE_ARM):
        own_rows = pc.or_(is_base, pc.and_(pc.equal(arms, arm), pc.equal(recipes, recipe)))
        total = _answers(table.filter(own_rows))
        at_once = decide.by_judges(study, VerdictTable(table.filter(own_rows)))
        for look in range(1, PARTS + 1):
            rows = table.filter(pc.and_(own_rows, pc.less_equal(asked_in, look)))
            found = decide.by_judges(dataclasses.replace(study, parts=look), VerdictTable(rows))
            done = not gate.undecided(found)
            if done or look == PARTS:
                drifted = tuple(each.metric for each in found if each.required and each.outcome == "drift")
                asked = _answers(rows) / total
                yield Replayed(
                    f"{arm}, {recipe}" if several else arm,
                    asked,
                    done,
                    gate.overall(found),
                    drifted,
                    gate.overall(at_once),
                )
                break


def _answers(verdicts: Any) -> int:
    """Return how many answers the verdicts are of."""
    keys = ["checkpoint", "arm", "train_seed", "epoch", "benchmark", "prompt_id", "temperature", "sample"]
    return int(verdicts.group_by([*keys, "base", "recipe", "system"]).aggregate([]).num_rows)


def print_run(root: Path) -> int:
    """Print what asking until it is decided would have saved in a finished run."""
    print("| arm | answers asked | decided | outcome, in parts (all at once) | drifted first |")
    print("| --- | ---: | --- | --- | --- |")
    for each in replayed(root):
        print(
            f"| {each.arm} | {100 * each.asked:.0f} | {'yes' if each.decided else 'no'} | {each.outcome} "
            f"({each.at_once}) | {', '.join(each.drifted) or '-'} |",
            flush=True,
        )
    return 0


PRIMARY = 0.8 / 3
DESIGNS: dict[str, dict[str, Any]] = {
    "300 prompts": {},
    "1,000 prompts in 200 clusters": {"groups": 200, "size": 5},
    "176 prompts in 44 clusters": {"groups": 44, "size": 4},
    "5 seeds, 300 prompts in 60 clusters": {"groups": 60, "size": 5, "seeds": 5},
}
LOSSES = {
    "lost nothing": (0.0, 1.0),
    "lost 60 points": (0.6, PRIMARY),
    "lost 25 points": (0.25, PRIMARY),
    "lost 5 points": (0.05, 1.0),
    "lost the margin": (MARGIN, 1.0),
}


def main(runs: int) -> int:
    """Print the table; return 1 where an error is larger than stated."""
    print(f"{runs:,} runs a row; per cent. In brackets: all prompts at once.")
    print("| design | truth | answers asked | fails | passes |\n| --- | --- | ---: | ---: | ---: |")
    broken = False
    for design, fields in DESIGNS.items():
        for truth, (loss, share) in LOSSES.items():
            found = simulated(Case(truth, loss, share=share, **fields), runs)
            print(
                f"| {design} | {truth} | {100 * found.asked:.0f} | {100 * found.fails:.1f} "
                f"({100 * found.fails_at_once:.1f}) | {100 * found.passes:.1f} ({100 * found.passes_at_once:.1f}) |",
                flush=True,
            )
            slack = 2.6 * math.sqrt(0.0325 * 0.9675 / runs)
            broken |= loss == MARGIN and max(found.fails, found.passes) > 0.0325 + slack
    return int(broken)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--run", type=Path, help="a finished run, decided part by part")
    args = parser.parse_args()
    sys.exit(print_run(args.run) if args.run else main(args.runs))
