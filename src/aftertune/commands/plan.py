"""What a design costs and what it can see, before anything is run (`aftertune plan`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from aftertune.asking.benchmark import BenchmarkContext
from aftertune.deciding import policy
from aftertune.extras import explained
from aftertune.records import Metric
from aftertune.stats.power import PairedDesign, smallest_drift
from aftertune.studies import budget, closing_tables
from aftertune.studies.budget import Budget
from aftertune.studies.cost import Cost
from aftertune.studies.design import Design
from aftertune.studies.missing import Missing, missing
from aftertune.studies.resolve import load_backend, load_benchmark, load_judge, resolve
from aftertune.studies.study import Study, unscored

POWER = 0.8
ONE_SEED = "one training seed: a claim about the recipe is refused; give at least two, better five"
CHARACTERS = 4
"""A token, of English text."""


@dataclass(frozen=True)
class Sight:
    """The smallest drift that a metric can show in this design."""

    metric: str
    n_prompts: int
    n_clusters: int
    n_seeds: int
    base_rate: float
    """Assumed, since nothing has been asked yet."""
    checkpoint: float | None
    """In one checkpoint, as a share; None where not even a change of 1 could be seen."""
    recipe: float | None
    """In a recipe, over its seeds; None with one seed, or where it cannot be seen."""


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
    """Cells, requests and sight of a design."""

    name: str
    jobs: dict[str, int]
    prompts: int
    requests: int
    """Answers to be asked of models, in all."""
    new_tokens_at_most: int
    judge_calls: int
    """Answers to be judged, times judges."""
    model_judges: tuple[JudgePrice, ...]
    sights: tuple[Sight, ...]
    warnings: tuple[str, ...]
    budget: Budget | None = None
    """By formula; where the design has a `[cost]`, or something that it names is not on this machine."""
    lacking: tuple[str, ...] = ()
    """What is not on this machine, and how to get it."""


@explained()
def price(design: Design) -> Price:
    """Price a design without running it and without fetching anything.

    Raises what `resolve` raises, and UsageError where something is not on this machine and the design's `[cost]` does
    not say how large it is.

    The smallest drift is what is seen with 80 % power at the design's confidence, for a base rate of 0.95 where lower
    is worse and 0.05 where higher is worse, and the agreement, clustering and seed spread that `stats.power` assumes.
    """
    lacking = missing(design, fetch=False)
    if lacking:
        return _from_afar(design, lacking)
    study = resolve(design)
    sights: list[Sight] = []
    warnings = list(study.warnings)
    repeats = sum(1 if temperature == 0 else design.respond.samples for temperature in design.respond.temperatures)
    prompts = requests = tokens = characters = 0
    for benchmark in study.benchmarks:
        if benchmark.needs:
            warnings.append(f"{benchmark.name}: its prompts depend on the data, so they are not priced")
            continue
        asked = benchmark.get().prompts(BenchmarkContext())
        prompts += len(asked)
        requests += len(asked) * repeats * len(study.subjects)
        tokens += len(asked) * repeats * len(study.subjects) * benchmark.max_new_tokens
        characters += (
            sum(len(turn.content) for prompt in asked for turn in prompt.messages) * repeats * len(study.subjects)
        )
        for metric in study.metrics:
            own = [prompt for prompt in asked if (prompt.benchmark, prompt.subset) == (metric.benchmark, metric.subset)]
            clusters = len({prompt.cluster for prompt in own})
            if clusters > 1:
                sights.append(_sight(metric, len(own), clusters, _seeds(study), design.confidence))
    if _seeds(study) < 2:
        warnings.append(ONE_SEED)
    return Price(
        name=design.name,
        jobs=dict(Counter(job.kind for job in study.jobs)),
        prompts=prompts,
        requests=requests,
        new_tokens_at_most=tokens,
        judge_calls=requests * len(design.judges),
        model_judges=tuple(_judges(design, requests, characters + CHARACTERS * tokens)),
        sights=tuple(sights),
        warnings=tuple(warnings),
        budget=budget.estimate(design) if design.cost != Cost() else None,
    )


def _from_afar(design: Design, lacking: list[Missing]) -> Price:
    """Price what cannot be planned here: jobs and requests counted, the rest by formula, prompts as if independent."""
    policy.load(design.policy)
    benchmarks = [load_benchmark(spec) for spec in design.benchmarks]
    judges = [load_judge(spec) for spec in design.judges]
    closing_tables.refuse_unknown(design.tables, benchmarks, judges, unscored(design, load_backend(design.backend)))
    found = budget.estimate(design)
    models = found.checkpoints + len(design.bases)
    warnings = ["how prompts cluster is not known from here: the smallest drift is larger than said"]
    if len(design.seeds) < 2 and design.arms:
        warnings.append(ONE_SEED)
    sights = []
    axes = {axis for judge in judges for axis in judge.axes}
    seeds = len(design.seeds) if design.arms else 1
    for benchmark in benchmarks:
        count = design.cost.prompts.get(benchmark.name, 0)
        if len({metric.subset for metric in benchmark.metrics}) == 1 and count > 1:
            own = [metric for metric in benchmark.metrics if metric.axis in axes]
            sights += [_sight(metric, count, None, seeds, design.confidence) for metric in own]
    judged = models * len(design.benchmarks) * len(design.judges)
    return Price(
        name=design.name,
        jobs={"checkpoints": found.tunings, "responses": models * len(design.benchmarks), "verdicts": judged},
        prompts=sum(design.cost.prompts.values()),
        requests=found.requests,
        new_tokens_at_most=round(found.written_tokens),
        judge_calls=sum(found.judge_calls.values()),
        model_judges=(),
        sights=tuple(sights),
        warnings=tuple(warnings),
        budget=found,
        lacking=tuple(each.full for each in lacking),
    )


def _sight(metric: Metric, prompts: int, clusters: int | None, seeds: int, confidence: float) -> Sight:
    rate = 0.95 if metric.worse == "down" else 0.05
    one = PairedDesign(prompts, rate, clusters)
    many = PairedDesign(prompts, rate, clusters, n_seeds=seeds) if seeds > 1 else None
    return Sight(
        metric.name, prompts, clusters or prompts, seeds, rate,
        smallest_drift(one, power=POWER, confidence=confidence),
        smallest_drift(many, power=POWER, confidence=confidence) if many else None,
    )  # fmt: skip


def _judges(design: Design, answers: int, characters: int) -> Iterator[JudgePrice]:
    """Yield the price of each judge that calls a model; `characters` of all prompts and answers together."""
    for judge in map(load_judge, design.judges):
        if (price := judge.price) is not None:
            read = price.characters * answers + price.calls * characters
            yield JudgePrice(judge.name, price.calls * answers, read // CHARACTERS, price.new_tokens * answers)


def _seeds(study: Study) -> int:
    """Return the fewest training seeds that an arm of the plan has."""
    seeds: dict[tuple[str, str, str], set[int | None]] = {}
    for subject in study.subjects:
        if subject.arm != "base":
            seeds.setdefault((subject.base.name, subject.arm, subject.recipe), set()).add(subject.train_seed)
    return min((len(found - {None}) or 1 for found in seeds.values()), default=1)


def lines(found: Price, cost: Cost) -> list[str]:
    """Return a price as lines of text."""
    jobs = ", ".join(f"{count} {kind}" for kind, count in found.jobs.items())
    shown = [
        f"{found.name}: {jobs}",
        f"{found.prompts} prompts, {found.requests} answers, at most {found.new_tokens_at_most} new tokens, "
        f"{found.judge_calls} judge calls",
        *(["", *budget.lines(found.budget, cost)] if found.budget else []),
        *(
            f"{judge.judge}: {judge.calls:,} calls, about {judge.prompt_tokens:,} prompt tokens and "
            f"{judge.new_tokens_at_most:,} new ones at most"
            for judge in found.model_judges
        ),
        "",
        f"Smallest drift seen with {100 * POWER:.0f} % power, in points:",
    ]
    for sight in found.sights:
        recipe = f", recipe {_points(sight.recipe)} over {sight.n_seeds} seeds" if sight.n_seeds > 1 else ""
        shown.append(
            f"  {sight.metric}: checkpoint {_points(sight.checkpoint)}{recipe} "
            f"({sight.n_prompts} prompts in {sight.n_clusters} clusters, base rate taken as {sight.base_rate})"
        )
    shown += [f"not here: {each}" for each in found.lacking]
    return shown + [f"warning: {warning}" for warning in found.warnings]


def _points(share: float | None) -> str:
    return "none" if share is None else f"{100 * share:.1f}"
