"""What a design costs, and what its gate could decide, before anything is run (`aftertune plan`)."""

from __future__ import annotations

import functools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from aftertune.commands.plan_trial import Trial, trial_lines, try_out
from aftertune.deciding import drift, policy
from aftertune.deciding.label_effects import judge_errors
from aftertune.deciding.labels import not_read
from aftertune.deciding.policy import Policy, Rule, question
from aftertune.deciding.variance_sources import spreads
from aftertune.deciding.verdict_table import COLUMNS, VerdictTable
from aftertune.errors import UsageError
from aftertune.extras import explained
from aftertune.ingest import labels as labelling
from aftertune.judging.judge import Judge
from aftertune.public import PathLike, public
from aftertune.records import BASE_ARM, Metric, Worse
from aftertune.run.run_folder import Run
from aftertune.stats import multiplicity, prediction_powered
from aftertune.stats.estimate import least_half_width, t_quantile
from aftertune.stats.margin_power import MarginTest, chances, failing_loss, passing_loss
from aftertune.stats.power import PairedDesign
from aftertune.studies import budget, closing_tables, stored
from aftertune.studies import design as designs
from aftertune.studies.budget import Budget, Scope, Sizes
from aftertune.studies.cost import Cost
from aftertune.studies.design import Design
from aftertune.studies.jobs import arm_name
from aftertune.studies.missing import missing
from aftertune.studies.resolve import load_backend, resolve
from aftertune.studies.run_tables import all_verdicts
from aftertune.studies.study import unscored

POWER = 0.8
SEED_SD = (0.01, 0.05)
"""Range that the true rates of a recipe's training seeds are assumed to differ by, as a standard deviation."""
ONE_SEED = "one training seed: a claim about the recipe is refused; give at least two, better five"
IN_PARTS = (
    "prompts are asked in parts until it is decided: answers and minutes are the most that it may take, and a gate "
    "that looks after every part fails and passes slightly less near the margin than said"
)
MOST_LABELS = prediction_powered.MOST_TO_GIVE
CHARACTERS = 4
"""In a token of English text."""


@dataclass(frozen=True)
class GatePower:
    """What the gate could decide on one gated metric of this design."""

    metric: str
    worse: Worse
    estimand: Literal["recipe", "checkpoint"]
    margin: float
    floor: float | None
    ceiling: float | None
    required: bool
    family: int
    """Metrics of one arm or checkpoint that share an error of (1 - confidence) / 2."""
    primary: bool
    """Whether the policy names it as a primary metric."""
    share: float
    """Of that error, which it has where it alone has lost more than its margin; floor and ceiling divide it."""
    confidence: float
    n_prompts: int
    n_clusters: int
    n_seeds: int
    base_rate: float
    seed_sd: tuple[float, float]
    """Range assumed of the standard deviation of the true rate between training seeds."""
    source: str
    """Where base rate and spread come from."""
    fails: tuple[float | None, float | None]
    """Loss that the gate fails (drift) with `POWER`, at either end of `seed_sd`; None where it would not fail any."""
    passes: tuple[float | None, float | None]
    """Largest loss that the gate passes with `POWER`, likewise; None where it would not even pass no change."""
    unchanged_passes: tuple[float, float]
    """Chance that a recipe or checkpoint that lost nothing passes, likewise."""
    labels: int | None
    """Labels by people, of each arm, with which the interval of one that lost nothing stays within the margin with
    `POWER`, likewise with the smaller spread; None where people cannot label it, or no `MOST_LABELS` do."""
    judge_error: float
    """How often the judge is then taken to be wrong."""
    readable: bool
    """Whether people can label its answers by reading them."""

    @property
    def tested_at(self) -> float:
        """Error of each of its one-sided tests: the margin's, and those of floor and ceiling."""
        test = MarginTest(self.margin, self.share, self.confidence, floor=self.floor, ceiling=self.ceiling)
        return test.tested_at


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
    """What a design costs, and what its gate could decide."""

    name: str
    jobs: dict[str, int]
    prompts: int
    requests: int
    """Answers to be asked of models, in all."""
    own_requests: int
    """Of these, those of bases that are asked for refusals and answers of their own, for mitigations to train on."""
    new_tokens_at_most: int
    judge_calls: int
    """Answers to be judged, times judges; own answers are read by one judge."""
    model_judges: tuple[JudgePrice, ...]
    powers: tuple[GatePower, ...]
    """Of each gated metric, in the benchmarks' order."""
    warnings: tuple[str, ...]
    budget: Budget | None = None
    """By formula; where the design has a `[cost]`, or something that it names is not on this machine."""
    lacking: tuple[str, ...] = ()
    """What is not on this machine, and how to get it."""
    trial: Trial | None = None
    """How long it takes on this machine; None where nothing was tried."""
    not_tried: tuple[str, ...] = ()
    """What the time leaves out, and why."""


@public("plan")
def plan(
    design: PathLike | Design,
    *,
    trial: bool = True,
    earlier: PathLike | None = None,
    judge_error: float = prediction_powered.USUAL_ERROR,
) -> Price:
    """Return what a design costs, how long it takes here, and what its gate could decide (`aftertune plan`).

    Args:
        design: A `Design`, or a TOML file with one.
        trial: Whether some prompts are asked of the bases, for some seconds, to tell the time. A server is never asked,
            and nothing is fetched or written.
        earlier: A run folder: the bases' rates and the spread between training seeds are taken from it, for the metrics
            that it has; and the judge's error, where the run has people's labels.
        judge_error: How often the judge is wrong on answers of either class, for the number of labels.

    Raises UsageError for a design that cannot be honoured or whose cost cannot be known from here, and for an error
    outside [0, 0.5).

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
        >>> aftertune.plan(design, trial=False).jobs["checkpoints"]
        4
    """
    planned = design if isinstance(design, Design) else designs.read(Path(design))
    return price(planned, trial=trial, earlier=None if earlier is None else Path(earlier), judge_error=judge_error)


@explained()
def price(
    design: Design,
    *,
    trial: bool = False,
    earlier: Path | None = None,
    judge_error: float = prediction_powered.USUAL_ERROR,
) -> Price:
    """Price a design without running it and without fetching anything.

    Sizes are counted on this machine, and taken from the design's `[cost]` for what is not here. Raises what `resolve`
    raises, and UsageError where something is not on this machine and `[cost]` does not say how large it is.

    What the gate could decide is told for a base rate of 0.95 where lower is worse and 0.05 where higher is worse, for
    training seeds whose true rates differ by `SEED_SD`, and for the agreement and clustering that `stats.power`
    assumes, unless an earlier run is given.
    """
    if not 0 <= judge_error < 0.5:
        raise UsageError(f"judge error {judge_error:g}: give a share from 0 to under 0.5; at 0.5 a judge guesses")
    lacking = missing(design, fetch=False)
    study = None if lacking else resolve(design, ask_servers=False)
    sizes = Sizes(design)
    if study is None:
        _refuse_unknown(design, sizes)
    scope = Scope.of_study(study) if study else Scope.of_design(design)
    by_formula = budget.estimate(scope, sizes) if lacking or design.cost != Cost() else None
    models, seeds = sum(scope.models.values()), _fewest_seeds(design)
    warnings = list(study.warnings) if study else []
    known, errors = _of_run(earlier) if earlier is not None else ({}, {})
    gated: list[tuple[Metric, Rule, int, int]] = []
    """With prompts and clusters, 0 where they are not known: such a metric is in a family all the same."""
    rules = policy.load(design.policy)
    prompts = answers = tokens = 0
    characters: int | None = 0  # of all prompts as they are asked; None once those of one benchmark are not known
    first: dict[str, Judge] = {}
    for _, judge in sizes.judges:
        first |= {axis: judge for axis in judge.axes if axis not in first}
    for benchmark in sizes.benchmarks:
        size = sizes.prompts(benchmark)
        for metric in benchmark.metrics:
            by = first.get(metric.axis)
            if by is None:
                continue
            rule = rules.rule(metric.name, metric.worse, shown_only=metric.axis in by.shown_only)
            if rule is not None:
                subset = (metric.benchmark, metric.subset)
                gated.append((metric, rule, *(size.subsets.get(subset, (0, 0)) if size else (0, 0))))
        if size is None:
            warnings.append(f"{benchmark.name}: its prompts depend on the data, so they are not priced")
            continue
        times = design.respond.answers_per_prompt * models
        longest = design.respond.limit(benchmark.max_new_tokens)
        prompts += size.count
        answers += size.count * times
        tokens += size.count * times * (round(min(longest, design.cost.answer_tokens)) if by_formula else longest)
        if characters is not None:
            characters = None if size.characters is None else characters + size.characters * times
    own = _own_answers(sizes, scope, by_formula=by_formula is not None)
    if scope.own and not own.answers:
        warnings.append("own answers: how many prompts their benchmark has is not known, so they are not priced")
    powers = list(_powers(gated, rules, design, seeds, known, lambda name: errors.get(name, judge_error)))
    if earlier is not None and not any(each.source for each in powers):
        warnings.append(f"{earlier}: has none of the gated metrics, so nothing is taken from it")
    tried, not_tried = try_out(study) if trial and study is not None else (None, ())
    if trial and study is None:
        not_tried = ("nothing: models or data are not on this machine",)
    if characters is None:
        warnings.append("how prompts cluster is not known from here: fails later and passes earlier than said")
    if seeds < 2:
        warnings.append(ONE_SEED)
    if design.until_decided:
        warnings.append(IN_PARTS)
    return Price(
        name=design.name,
        jobs=dict(Counter(job.kind for job in study.jobs)) if study else _jobs(design, scope),
        prompts=prompts,
        requests=answers + own.answers,
        own_requests=own.answers,
        new_tokens_at_most=tokens + own.tokens,
        judge_calls=answers * len(design.judges) + own.answers,
        model_judges=()
        if characters is None
        else tuple(_judges(sizes, answers, characters + CHARACTERS * tokens, own)),
        powers=tuple(powers),
        warnings=tuple(warnings),
        budget=by_formula,
        lacking=tuple(each.full for each in lacking),
        trial=tried,
        not_tried=not_tried,
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


def _powers(
    gated: Sequence[tuple[Metric, Rule, int, int]],
    rules: Policy,
    design: Design,
    seeds: int,
    known: Mapping[str, tuple[float, float, float]],
    error_of: Callable[[str], float],
) -> Iterator[GatePower]:
    """Yield what the gate could decide on metrics with their rules, prompts and clusters, and `seeds` an arm."""
    estimands: list[Literal["recipe", "checkpoint"]] = []
    for _, rule, _, _ in gated:
        wanted = rule.estimand or rules.estimand
        estimands.append("recipe" if wanted == "recipe" or (wanted == "auto" and seeds > 1) else "checkpoint")
    families: dict[tuple[str, bool], list[str]] = defaultdict(list)
    for kind, (metric, rule, _, _) in zip(estimands, gated, strict=True):
        families[kind, rule.required == "never"].append(question(metric.name, metric.worse, rule))
    for kind, (metric, rule, n, clusters) in zip(estimands, gated, strict=True):
        if (kind == "recipe" and seeds < 2) or clusters < 2 or metric.label is None:
            continue  # not decided (`ONE_SEED` says so), not counted here, or no share
        rate, *spread = known.get(metric.name, (0.95 if metric.worse == "down" else 0.05, *SEED_SD))
        bad = 1 - rate if metric.worse == "down" else rate
        floor, ceiling = rule.floor, rule.ceiling
        if metric.worse == "down":
            floor, ceiling = (None if bound is None else 1 - bound for bound in (ceiling, floor))
        temperatures = len(set(design.respond.temperatures))
        family = families[kind, rule.required == "never"] * temperatures
        share = multiplicity.family_shares(family)[family.index(question(metric.name, metric.worse, rule))]
        test = MarginTest(rule.margin, share, design.confidence, floor=floor, ceiling=ceiling)
        count = seeds if kind == "recipe" else 1
        spreads = tuple(spread) if kind == "recipe" else (0.0, 0.0)
        cases = [PairedDesign(n, bad, clusters, n_seeds=count, seed_sd=sd) for sd in dict.fromkeys(spreads)]
        fails, passes, unchanged = zip(*(_power(case, test) for case in cases), strict=True)
        yield GatePower(
            metric=metric.name,
            worse=metric.worse,
            estimand=kind,
            margin=rule.margin,
            floor=rule.floor,
            ceiling=rule.ceiling,
            required=rule.required != "never",
            family=len(family),
            primary=rule.is_primary(metric.worse),
            share=share,
            confidence=design.confidence,
            n_prompts=n,
            n_clusters=clusters,
            n_seeds=count,
            base_rate=rate,
            seed_sd=(spreads[0], spreads[-1]),
            source="the earlier run" if metric.name in known else "",
            fails=(fails[0], fails[-1]),
            passes=(passes[0], passes[-1]),
            unchanged_passes=(unchanged[0], unchanged[-1]),
            labels=None
            if not_read(metric)
            else _labels(cases[0], rule.margin, design.confidence, error_of(metric.name)),
            judge_error=error_of(metric.name),
            readable=not not_read(metric),
        )


@functools.lru_cache(maxsize=1024)
def _power(design: PairedDesign, test: MarginTest) -> tuple[float | None, float | None, float]:
    """Return the losses that the gate fails and passes, and how often it passes none; many metrics share them."""
    fails, passes = failing_loss(design, test, power=POWER), passing_loss(design, test, power=POWER)
    return fails, passes, chances(design, test, 0.0).passes


@functools.lru_cache(maxsize=1024)
def _labels(design: PairedDesign, margin: float, confidence: float, error: float) -> int | None:
    """Return how many labels of an arm a decision needs where nothing changed, or twice the margin was lost."""
    se, df = design.error()
    half = max(float(t_quantile(confidence, df)) * se, least_half_width(design.n_prompts, confidence))
    return prediction_powered.labels_needed(
        half,
        margin,
        (design.base_rate, design.base_rate),
        design.n_clusters or design.n_prompts,
        error=error,
        confidence=confidence,
        power=POWER,
        most=MOST_LABELS,
    )


def _of_run(root: Path) -> tuple[dict[str, tuple[float, float, float]], dict[str, float]]:
    """Return what a finished run knows of its metrics.

    That is metric -> base rate, spread between seeds (standard deviation) and its upper limit, and metric -> how often
    its judge is wrong, where the run has people's labels. Of several arms the largest spread and error count.

    Raises what opening a run raises, and StoreError where it is not done.
    """
    run = Run.open(root)
    study = stored.read(run)
    table = VerdictTable(all_verdicts(run, study, COLUMNS))
    metrics = [metric for metric in study.metrics if metric.label is not None]
    levels = drift.drift(table, metrics, seed=study.design.analysis_seed, confidence=study.design.confidence)
    known: dict[str, tuple[float, float, float]] = {}
    for row in levels:
        if row.estimand == "level" and row.arm == BASE_ARM and row.base is not None:
            known.setdefault(row.metric, (row.base, *SEED_SD))
    largest: dict[str, tuple[float, float]] = {}
    for part in spreads(table, metrics, confidence=study.design.confidence):
        if part.source == "seed":
            own = math.sqrt(max(part.variance, 0.0)), math.sqrt(max(part.high, 0.0))
            largest[part.metric] = max(own, largest.get(part.metric, own))
    people = labelling.kept(run)
    errors = judge_errors(table, metrics, people.labels) if people else {}
    return {name: (rate, *largest.get(name, SEED_SD)) for name, (rate, _, _) in known.items()}, errors


class _Own(NamedTuple):
    """What bases are asked for refusals and answers of their own."""

    answers: int = 0
    tokens: int = 0
    """New ones, at most."""
    characters: int = 0
    """Of the prompts and, at most, the answers."""


def _own_answers(sizes: Sizes, scope: Scope, *, by_formula: bool) -> _Own:
    size = sizes.own_prompts() if scope.own else None
    if sizes.own is None or size is None:
        return _Own()
    longest, cost = sizes.design.respond.limit(sizes.own.max_new_tokens), sizes.design.cost
    answers = size.count * len(scope.own)
    tokens = answers * (round(min(longest, cost.answer_tokens)) if by_formula else longest)
    return _Own(answers, tokens, (size.characters or 0) * len(scope.own) + CHARACTERS * tokens)


def _judges(sizes: Sizes, answers: int, characters: int, own: _Own) -> Iterator[JudgePrice]:
    """Yield the price of each judge that calls a model; `characters` of all prompts and answers together."""
    for _, judge in sizes.judges:
        if (price := judge.price) is not None:
            extra = own if judge in sizes.judges_of_own else _Own()
            read = price.characters * (answers + extra.answers) + price.calls * (characters + extra.characters)
            count = answers + extra.answers
            yield JudgePrice(judge.name, price.calls * count, read // CHARACTERS, price.new_tokens * count)


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
        f"{price.name}: jobs: {jobs}",
        f"{price.prompts} prompts, {price.requests} answers, at most {price.new_tokens_at_most} new tokens, "
        f"{price.judge_calls} judge calls",
        *(
            [f"of these {price.own_requests} answers of bases, for mitigations to train on"]
            if price.own_requests
            else []
        ),
        *(["", *budget.lines(price.budget, cost)] if price.budget else []),
        *(
            f"{judge.judge}: {judge.calls:,} calls, about {judge.prompt_tokens:,} prompt tokens and "
            f"{judge.new_tokens_at_most:,} new ones at most"
            for judge in price.model_judges
        ),
        *(trial_lines(price.trial) if price.trial else []),
        *(f"not tried: {each}" for each in price.not_tried),
        "",
        f"Losses that the gate would fail (drift), and pass, with {100 * POWER:.0f} % chance, in points:",
    ]
    texts += [_power_line(each) for each in price.powers]
    texts += _label_lines(price.powers)
    texts += _assumptions(price.powers)
    texts += [f"not here: {each}" for each in price.lacking]
    return texts + [f"warning: {warning}" for warning in price.warnings]


def _power_line(power: GatePower) -> str:
    fails = _ends(power.fails, "fails none")
    passes = _ends(power.passes, "passes none")
    fails = fails if power.fails == (None, None) else f"fails from {fails}"
    passes = passes if power.passes == (None, None) else f"passes up to {passes}"
    unchanged = ""
    if None in power.passes:
        low, high = sorted(round(100 * each) for each in power.unchanged_passes)
        unchanged = f" (no change passes in {low if low == high else f'{low} to {high}'} %)"
    seeds = f"{power.n_seeds} seeds x " if power.estimand == "recipe" else "a checkpoint, "
    bounds = "".join(
        f", {name} {100 * bound:g} %"
        for name, bound in (("floor", power.floor), ("ceiling", power.ceiling))
        if bound is not None
    )
    optional = "" if power.required else ", optional"
    return (
        f"  {power.metric}: {fails}, {passes}{unchanged}; margin {100 * power.margin:g}{bounds}{optional}, "
        f"{'primary, ' * power.primary}tested at {100 * power.tested_at:.2g} % "
        f"({seeds}{power.n_prompts:,} prompts in {power.n_clusters:,} clusters, base rate "
        f"{'' if power.source else 'taken as '}{100 * power.base_rate:.3g} %)"
    )


def _label_lines(powers: Sequence[GatePower]) -> Iterator[str]:
    """Yield how many labels by people a decision needs, in a line or two."""
    numbers: dict[int | None, list[str]] = {}
    for power in powers:
        if power.readable:
            numbers.setdefault(power.labels, []).append(power.metric)
    if not numbers:
        return
    none = numbers.pop(None, [])
    errors = sorted({round(100 * each.judge_error) for each in powers if each.readable})
    wrong = f"{errors[0]}" if len(errors) == 1 else f"{errors[0]} to {errors[-1]}"
    parts = [f"{number:,} for {', '.join(names)}" for number, names in sorted((n or 0, m) for n, m in numbers.items())]
    why = "the judge alone leaves too wide an interval, or nearly"
    if parts:
        parts += [f"no number up to {MOST_LABELS:,} for {', '.join(none)}, where {why}"] if none else []
    else:
        parts = [f"no number up to {MOST_LABELS:,}: {why}; more prompts, or seeds, come first"]
    yield (
        f"Labels by people, of each arm (`aftertune label`), to show with {100 * POWER:.0f} % chance that an "
        f"unchanged arm lost no more than the margin, where the judge is wrong on {wrong} %: {'; '.join(parts)}"
    )


def _ends(ends: tuple[float | None, float | None], none: str) -> str:
    first, last = (none if end is None else f"{100 * end:.1f}" for end in ends)
    return first if first == last else f"{first} to {last}" if none not in (first, last) else f"{first} or {last}"


def _assumptions(powers: Sequence[GatePower]) -> Iterator[str]:
    """Yield what the powers assume, as lines of text."""
    if not powers:
        yield "  none: no metric of this design is gated, counted here and a share"
        return
    families = sorted({each.family for each in powers})
    yield (
        f"Assumed: every answer judged; of {' or '.join(map(str, families))} metrics that share the gate's error this "
        f"one alone has lost more than its margin; intervals of {100 * powers[0].confidence:g} %"
    )
    spreads = dict.fromkeys((each.seed_sd, each.source) for each in powers if each.estimand == "recipe")
    ranges = [(sd, source) for sd, source in spreads if source]
    if any(not source for _, source in spreads):
        yield (
            f"  training seeds whose true rates differ by {100 * SEED_SD[0]:g} to {100 * SEED_SD[1]:g} points (their "
            "standard deviation, unknown beforehand: `--earlier RUN` takes it and the base's rates from a run)"
        )
    if ranges:
        yield "  spread between training seeds and its upper limit, and base rates, from the earlier run"
