"""What a design costs and what it can detect, before anything is run (`aftertune plan`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aftertune.deciding import policy
from aftertune.extras import explained
from aftertune.public import PathLike, public
from aftertune.records import Metric
from aftertune.stats.power import PairedDesign, smallest_drift
from aftertune.studies import budget, closing_tables
from aftertune.studies import design as designs
from aftertune.studies.budget import Budget, Scope, Sizes
from aftertune.studies.cost import Cost
from aftertune.studies.design import Design
from aftertune.studies.jobs import arm_name
from aftertune.studies.missing import missing
from aftertune.studies.resolve import load_backend, resolve
from aftertune.studies.study import unscored

POWER = 0.8
ONE_SEED = "one training seed: a claim about the recipe is refused; give at least two, better five"
CHARACTERS = 4
"""In a token of English text."""


@dataclass(frozen=True)
class SmallestDrift:
    """The smallest drift that a metric can show in this design."""

    metric: str
    n_prompts: int
    n_clusters: int
    n_seeds: int
    base_rate: float
    """Assumed, since nothing has been asked yet."""
    checkpoint: float | None
    """In one checkpoint, as a difference of rates; None where not even one of 1 would be detected."""
    recipe: float | None
    """In a recipe, over its seeds; None with one seed, or where none would be detected."""


@dataclass(frozen=True)
class JudgePrice:
    """What a judge that is a language model costs; what it took in the end stands in the report."""

    judge: str
    calls: int
    """Of the judge model, without reminders."""
    prompt_tokens: int
    """About, and at most: four characters a token, every answer as long as it may be."""
    new_tokens_at_most: int
    """Reminders included."""


@dataclass(frozen=True)
class Price:
    """What a design costs, and the smallest drifts that it can detect."""

    name: str
    jobs: dict[str, int]
    prompts: int
    requests: int
    """Answers to be asked of models, in all."""
    new_tokens_at_most: int
    judge_calls: int
    """Answers to be judged, times judges."""
    model_judges: tuple[JudgePrice, ...]
    smallest_drifts: tuple[SmallestDrift, ...]
    warnings: tuple[str, ...]
    budget: Budget | None = None
    """By formula; where the design has a `[cost]`, or something that it names is not on this machine."""
    lacking: tuple[str, ...] = ()
    """What is not on this machine, and how to get it."""


@public("plan")
def plan(design: PathLike | Design) -> Price:
    """Return what a design costs and the smallest drift that it can see (`aftertune plan`); nothing is run or fetched.

    Args:
        design: A `Design`, or a TOML file with one.

    Raises UsageError for a design that cannot be honoured, or whose cost cannot be known from here.

    Example:
        >>> from aftertune import Arm, Design, PluginSpec
        >>> design = Design(
        ...     name="names",
        ...     corpus=PluginSpec("booking", {"size": 200}),
        ...     arms=(Arm("keep"), Arm("hidden", pii="placeholder")),
        ...     seeds=(0, 1),
        ...     benchmarks=(PluginSpec("miniature"),),
        ...     judges=(PluginSpec("world"), PluginSpec("leak")),
        ... )
        >>> aftertune.plan(design).jobs["checkpoints"]
        4
    """
    return price(design if isinstance(design, Design) else designs.read(Path(design)))


@explained()
def price(design: Design) -> Price:
    """Price a design without running it and without fetching anything.

    Sizes are counted on this machine, and taken from the design's `[cost]` for what is not here. Raises what `resolve`
    raises, and UsageError where something is not on this machine and `[cost]` does not say how large it is.

    The smallest drift is what is detected with 80 % power at the design's confidence, for a base rate of 0.95 where
    lower is worse and 0.05 where higher is worse, and the agreement, clustering and seed spread that `stats.power`
    assumes.
    """
    lacking = missing(design, fetch=False)
    study = None if lacking else resolve(design, ask_servers=False)
    sizes = Sizes(design)
    if study is None:
        _refuse_unknown(design, sizes)
    scope = Scope.of_study(study) if study else Scope.of_design(design)
    by_formula = budget.estimate(scope, sizes) if lacking or design.cost != Cost() else None
    models, seeds = sum(scope.models.values()), _fewest_seeds(design)
    warnings = list(study.warnings) if study else []
    drifts: list[SmallestDrift] = []
    prompts = answers = tokens = 0
    characters: int | None = 0  # of all prompts as they are asked; None once those of one benchmark are not known
    axes = {axis for _, judge in sizes.judges for axis in judge.axes}
    for benchmark in sizes.benchmarks:
        size = sizes.prompts(benchmark)
        if size is None:
            warnings.append(f"{benchmark.name}: its prompts depend on the data, so they are not priced")
            continue
        times = design.respond.answers_per_prompt * models
        longest = benchmark.max_new_tokens
        prompts += size.count
        answers += size.count * times
        tokens += size.count * times * (round(min(longest, design.cost.answer_tokens)) if by_formula else longest)
        if characters is not None:
            characters = None if size.characters is None else characters + size.characters * times
        for metric in benchmark.metrics:
            n, clusters = size.subsets.get((metric.benchmark, metric.subset), (0, 0))
            if metric.axis in axes and clusters > 1:
                drifts.append(_smallest_drift(metric, n, clusters, seeds, design.confidence))
    if characters is None:
        warnings.append("how prompts cluster is not known from here: the smallest drift is larger than said")
    if seeds < 2:
        warnings.append(ONE_SEED)
    return Price(
        name=design.name,
        jobs=dict(Counter(job.kind for job in study.jobs)) if study else _jobs(design, scope),
        prompts=prompts,
        requests=answers,
        new_tokens_at_most=tokens,
        judge_calls=answers * len(design.judges),
        model_judges=() if characters is None else tuple(_judges(sizes, answers, characters + CHARACTERS * tokens)),
        smallest_drifts=tuple(drifts),
        warnings=tuple(warnings),
        budget=by_formula,
        lacking=tuple(each.full for each in lacking),
    )


def _refuse_unknown(design: Design, sizes: Sizes) -> None:
    """Refuse what can be refused of a design that cannot be resolved here. Raises UsageError."""
    policy.load(design.policy)
    judges = [judge for _, judge in sizes.judges]
    closing_tables.refuse_unknown(
        design.tables, sizes.benchmarks, judges, unscored(design, load_backend(design.backend))
    )


def _jobs(design: Design, scope: Scope) -> dict[str, int]:
    """Return the jobs of a design that cannot be resolved here, but for those that cost next to nothing."""
    asked = sum(scope.models.values()) * len(design.benchmarks)
    return {"checkpoints": len(scope.tunings), "responses": asked, "verdicts": asked * len(design.judges)}


def _smallest_drift(metric: Metric, n: int, clusters: int, seeds: int, confidence: float) -> SmallestDrift:
    rate = 0.95 if metric.worse == "down" else 0.05
    one = PairedDesign(n, rate, clusters)
    many = PairedDesign(n, rate, clusters, n_seeds=seeds) if seeds > 1 else None
    return SmallestDrift(
        metric=metric.name,
        n_prompts=n,
        n_clusters=clusters,
        n_seeds=seeds,
        base_rate=rate,
        checkpoint=smallest_drift(one, power=POWER, confidence=confidence),
        recipe=smallest_drift(many, power=POWER, confidence=confidence) if many else None,
    )


def _judges(sizes: Sizes, answers: int, characters: int) -> Iterator[JudgePrice]:
    """Yield the price of each judge that calls a model; `characters` of all prompts and answers together."""
    for _, judge in sizes.judges:
        if (price := judge.price) is not None:
            read = price.characters * answers + price.calls * characters
            yield JudgePrice(judge.name, price.calls * answers, read // CHARACTERS, price.new_tokens * answers)


def _fewest_seeds(design: Design) -> int:
    """Return the fewest training seeds that an arm has."""
    seeds: dict[tuple[str, str, str], set[int | None]] = {}
    for checkpoint in design.checkpoints:
        key = (checkpoint.base or design.bases[0], checkpoint.arm or arm_name(checkpoint), checkpoint.recipe)
        seeds.setdefault(key, set()).add(checkpoint.seed)
    counts = [len(own - {None}) or 1 for own in seeds.values()] + [len(design.seeds)] * bool(design.arms)
    return min(counts, default=1)


def lines(price: Price, cost: Cost) -> list[str]:
    """Return a price as lines of text."""
    jobs = ", ".join(f"{count} {kind}" for kind, count in price.jobs.items())
    texts = [
        f"{price.name}: {jobs}",
        f"{price.prompts} prompts, {price.requests} answers, at most {price.new_tokens_at_most} new tokens, "
        f"{price.judge_calls} judge calls",
        *(["", *budget.lines(price.budget, cost)] if price.budget else []),
        *(
            f"{judge.judge}: {judge.calls:,} calls, about {judge.prompt_tokens:,} prompt tokens and "
            f"{judge.new_tokens_at_most:,} new ones at most"
            for judge in price.model_judges
        ),
        "",
        f"Smallest drift seen with {100 * POWER:.0f} % power, in points:",
    ]
    for drift in price.smallest_drifts:
        recipe = f", recipe {_points(drift.recipe)} over {drift.n_seeds} seeds" if drift.n_seeds > 1 else ""
        texts.append(
            f"  {drift.metric}: checkpoint {_points(drift.checkpoint)}{recipe} "
            f"({drift.n_prompts} prompts in {drift.n_clusters} clusters, base rate taken as {drift.base_rate})"
        )
    texts += [f"not here: {each}" for each in price.lacking]
    return texts + [f"warning: {warning}" for warning in price.warnings]


def _points(drift: float | None) -> str:
    return "none" if drift is None else f"{100 * drift:.1f}"
