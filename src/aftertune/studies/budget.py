"""What a design costs: requests and tokens counted, GPU-hours and disk by formula, with no model or file needed.

With N parameters: a forward pass costs 2 N FLOPs a token, the gradients of the activations 2 N, those of the weights
2 N (Kaplan et al. 2020, arXiv 2001.08361, section 2.1). So full tuning is 6 N a token; LoRA leaves out the frozen
weights' gradients, 4 N, its own being under a per cent of N. Seconds are FLOPs over (peak x utilisation). Reading a
prompt is 2 N a token at the same utilisation. Writing a token reads all weights from memory once for the whole batch
(Pope et al. 2022, arXiv 2211.05102, section 2), N x bytes / (bandwidth x utilisation x batch) seconds, or 2 N / (peak x
utilisation) where that is more; the cache of keys and values is left out. An adapter of rank r on every linear layer
has about 0.65 r N^(2/3) parameters: width times depth grows with N^(2/3), and the factor fits Llama 3 and Mistral from
1 to 8 x 10^9 within a tenth. Left out: loading, failures, idle GPUs, activations in memory, and money.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from aftertune.asking.ask_job import AskJob
from aftertune.asking.benchmark import Benchmark, BenchmarkContext
from aftertune.errors import AftertuneError, UsageError
from aftertune.judging.judge import Judge
from aftertune.plugins import PluginSpec
from aftertune.records import Arm, Recipe, digest
from aftertune.studies.cost import Cost
from aftertune.studies.design import Design
from aftertune.studies.missing import available
from aftertune.studies.resolve import load_benchmark, load_corpus, load_judge, model, resolve_mitigation
from aftertune.studies.study import Study
from aftertune.tuning.mitigation import judged_axes, trained_recipe
from aftertune.tuning.tune_job import TuneJob

ADAPTER = 0.65
"""Parameters of an adapter over r N^(2/3)."""
ADAPTER_BYTES = 4.0
"""Per parameter of a stored adapter."""
OPTIMIZER_BYTES = 16.0
"""Per tuned parameter while it is tuned: 16-bit weight and gradient, 32-bit copy and two moments (Rajbhandari et al.
2020, arXiv 1910.02054, section 3.1)."""
FOUR_BITS = 0.52
"""Bytes per parameter of a base in 4 bits with its constants (Dettmers et al. 2023, arXiv 2305.14314, section 3)."""
ANSWER_BYTES, VERDICT_BYTES = 4.5, 150.0
"""Per token of a stored answer, and per verdict beside it."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a design would take; GPU-hours are of the GPU that its `[cost]` describes."""

    tunings: int
    checkpoints: int
    """Asked, over all bases; bases themselves come on top."""
    trained_tokens: float
    requests: int
    read_tokens: float
    """Of prompts, by the models under test."""
    written_tokens: float
    tuning_hours: float
    answering_hours: float
    judging_hours: float
    judge_calls: Mapping[str, int]
    """By judge; rules are calls, too, and cost next to nothing."""
    model_calls: int
    """Those that ask a judge model."""
    disk_gb: float
    """Weights of the bases, checkpoints of every epoch, answers and verdicts; 10^9 bytes."""
    memory_gb: float
    """The largest that a tuning needs for weights, gradients and optimizer."""
    assumptions: tuple[str, ...]


def adapter_parameters(parameters: float, rank: int) -> float:
    """Return about how many parameters an adapter on every linear layer has."""
    return ADAPTER * rank * math.pow(parameters, 2 / 3)


def tuning_flops(parameters: float, tokens: float, method: str) -> float:
    """Return the FLOPs of tuning on so many tokens: 6 N each for full tuning, 4 N for LoRA."""
    return (6.0 if method == "full" else 4.0) * parameters * tokens


def writing_seconds(parameters: float, cost: Cost) -> float:
    """Return the GPU-seconds per generated token: bound by memory, or by arithmetic where the batch is large."""
    memory = parameters * cost.bytes_per_parameter / (cost.bandwidth * 1e12 * cost.decoding_utilisation)
    return max(memory / cost.decode_batch, reading_seconds(parameters, cost))


def reading_seconds(parameters: float, cost: Cost) -> float:
    """Return the GPU-seconds per token that is read, not written."""
    return 2.0 * parameters / (cost.tflops * 1e12 * cost.training_utilisation)


@dataclass(frozen=True)
class Scope:
    """What a design tunes, and how many models it asks."""

    tunings: tuple[tuple[str, Arm, Recipe], ...]
    """Base, arm and trained recipe of each tuning; every seed is one of its own."""
    models: Mapping[str, int]
    """Base -> how many models are asked: itself and its checkpoints."""
    own: tuple[str, ...] = ()
    """Bases that are first asked, once, for refusals and answers of their own, for mitigations to train on."""

    @classmethod
    def of_study(cls, study: Study) -> Scope:
        """Count in a resolved study."""
        tunings = tuple((job.base.name, job.arm, job.trained) for job in study.of(TuneJob))
        own = [job.subject.base.name for job in study.jobs if isinstance(job, AskJob) and job.id in study.own]
        return cls(tunings, Counter(subject.base.name for subject in study.subjects), tuple(own))

    @classmethod
    def of_design(cls, design: Design) -> Scope:
        """Count in a design that cannot be resolved on this machine. Raises UsageError for an unknown mitigation."""
        tunings = []
        models = Counter(design.bases)
        known = {digest(spec): resolve_mitigation(spec) for spec in design.mitigations}
        own: dict[str, None] = {}
        for base, arm in itertools.product(design.bases, design.arms):
            for recipe, _ in itertools.product(design.recipes_of(arm), design.seeds):
                mitigations = [known[digest(spec)] for spec in (*recipe.mitigations, *arm.mitigations)]
                trained = [recipe, *(trained_recipe(recipe, each) for each in mitigations if each.stage != "after")]
                tunings += [(base, arm, each) for each in trained]
                every = design.respond.epochs == "all"
                models[base] += sum(each.epochs if every else 1 for each in trained)
                for each in mitigations:
                    models[base] += (trained_recipe(recipe, each).epochs if every else 1) * len(each.further)
                if judged_axes(mitigations):
                    own[base] = None
        for checkpoint in design.checkpoints:
            base = checkpoint.base or design.bases[0]
            mitigations = [known[digest(spec)] for spec in checkpoint.mitigations]
            models[base] += 1 + sum(len(each.further) for each in mitigations)
            if judged_axes(mitigations):
                own[base] = None
        return cls(tuple(tunings), models, tuple(own))


def estimate(scope: Scope, sizes: Sizes) -> Budget:
    """Return what a design would take. Nothing is fetched.

    Raises UsageError, in one line with everything that is not known, where neither this machine nor the design's
    `[cost]` says how large a model, a benchmark or a corpus is.
    """
    design, cost = sizes.design, sizes.design.cost
    for name in design.bases:
        sizes.parameters(name)
    trained = tuning_s = stored = memory = 0.0
    for base, arm, recipe in scope.tunings:
        n = sizes.parameters(base)
        tokens = sizes.rows(arm.corpus) * cost.row_tokens * recipe.epochs
        trained += tokens
        tuning_s += tuning_flops(n, tokens, recipe.method) / (cost.tflops * 1e12 * cost.training_utilisation)
        stored += recipe.epochs * _stored(n, recipe, cost)
        memory = max(memory, _memory(n, recipe, cost))
    requests, read, written, answering_s = 0, 0.0, 0.0, 0.0
    for base, models in scope.models.items():
        n = sizes.parameters(base)
        for benchmark in sizes.benchmarks:
            size = sizes.prompts(benchmark)
            answers = size.count * design.respond.answers_per_prompt * models if size else 0
            length = min(cost.answer_tokens, design.respond.limit(benchmark.max_new_tokens))
            seconds = cost.prompt_tokens * reading_seconds(n, cost) + length * writing_seconds(n, cost)
            requests += answers
            read += answers * cost.prompt_tokens
            written += answers * length
            answering_s += answers * seconds
    own = 0
    for base in scope.own:
        size = sizes.own_prompts()
        length = min(cost.answer_tokens, design.respond.limit(sizes.own.max_new_tokens)) if sizes.own else 0
        answers = size.count if size else 0
        own += answers
        read += answers * cost.prompt_tokens
        written += answers * length
        n = sizes.parameters(base)
        answering_s += answers * (cost.prompt_tokens * reading_seconds(n, cost) + length * writing_seconds(n, cost))
    judge_calls, model_calls, judging_s = {}, 0, 0.0
    for spec, judge in sizes.judges:
        questions = len(judge.axes) if judge.model else 0
        answers = requests + (own if judge in sizes.judges_of_own else 0)
        judge_calls[_label(spec)] = answers * max(questions, 1)
        if questions:
            model_calls += answers * questions
            judging_s += answers * questions * sizes.judging(spec, judge)
    if sizes.unknown:
        raise UsageError(f"{design.name}: cannot be priced: {'; '.join(dict.fromkeys(sizes.unknown))}")
    weights = sum(sizes.parameters(base) * cost.bytes_per_parameter for base in design.bases)
    answers_and_verdicts = written * ANSWER_BYTES + sum(judge_calls.values()) * VERDICT_BYTES
    return Budget(
        tunings=len(scope.tunings),
        checkpoints=sum(scope.models.values()) - len(design.bases),
        trained_tokens=trained,
        requests=requests + own,
        read_tokens=read,
        written_tokens=written,
        tuning_hours=tuning_s / 3600,
        answering_hours=answering_s / 3600,
        judging_hours=judging_s / 3600,
        judge_calls=judge_calls,
        model_calls=model_calls,
        disk_gb=(weights + stored + answers_and_verdicts) / 1e9,
        memory_gb=memory / 1e9,
        assumptions=tuple(_assumptions(sizes)),
    )


def _stored(n: float, recipe: Recipe, cost: Cost) -> float:
    if recipe.method == "full":
        return n * cost.bytes_per_parameter
    return adapter_parameters(n, recipe.rank) * ADAPTER_BYTES


def _memory(n: float, recipe: Recipe, cost: Cost) -> float:
    if recipe.method == "full":
        return n * OPTIMIZER_BYTES
    frozen = FOUR_BITS if recipe.method == "qlora" else cost.bytes_per_parameter
    return n * frozen + adapter_parameters(n, recipe.rank) * OPTIMIZER_BYTES


def _label(judge: PluginSpec) -> str:
    rubric = judge.parameters.get("rubric")
    return f"{judge.name} ({rubric})" if rubric else judge.name


@dataclass(frozen=True, slots=True)
class PromptCount:
    """How many prompts a benchmark has."""

    count: int
    characters: int | None
    """Of all messages; None where `[cost]` gives the count."""
    subsets: Mapping[tuple[str, str], tuple[int, int]]
    """(benchmark, subset) -> prompts and clusters; prompts that `[cost]` counts are taken as independent."""


class Sizes:
    """How large models, corpora and benchmarks are: as this machine holds them, else as the design's `[cost]` says."""

    def __init__(self, design: Design) -> None:
        """Load the plugins of a design. Raises UsageError."""
        self.design = design
        self.benchmarks = [load_benchmark(spec) for spec in design.benchmarks]
        self.judges = [(spec, load_judge(spec)) for spec in design.judges]
        self.own = load_benchmark(design.own) if design.own is not None else None
        """The benchmark that bases are asked for refusals and answers of their own."""
        self.unknown: list[str] = []
        """Questions that neither this machine nor `[cost]` answers."""
        self.assumed: dict[str, str] = {}
        """Size -> what `[cost]` says."""
        self._numbers: dict[tuple[str, str], float] = {}
        self._prompts: dict[str, PromptCount | None] = {}
        self._own: PromptCount | None = None

    def _number(self, unit: str, name: str, here: Callable[[], float], stated: float | None, question: str) -> float:
        key = (unit, name)
        if key not in self._numbers:
            try:
                self._numbers[key] = here()
            except AftertuneError:
                self._numbers[key] = 1.0 if stated is None else stated
                if stated is None:
                    self.unknown.append(question)
                else:
                    self.assumed[f"{unit} of {name}"] = f"{stated:g}"
        return self._numbers[key]

    def parameters(self, name: str) -> float:
        """Return the parameters of a model."""
        question = f"cost.parameters: how many 10^9 parameters has '{name}'?"
        stated = self.design.cost.parameters.get(name)
        return 1e9 * self._number("10^9 parameters", name, lambda: _parameters_here(name), stated, question)

    def rows(self, corpus: str) -> float:
        """Return the conversations of a corpus of the design."""
        name, spec = corpus or "corpus", self.design.sources[corpus]
        question = f"cost.rows: how many conversations has '{name}'?"
        stated = self.design.cost.rows.get(name)
        return self._number("conversations", name, lambda: len(load_corpus(spec).conversations()), stated, question)

    def prompts(self, benchmark: Benchmark) -> PromptCount | None:
        """Return the number of prompts of a benchmark; None where it is not known."""
        if benchmark.name not in self._prompts:
            self._prompts[benchmark.name] = _prompts_here(benchmark) or self._prompts_stated(benchmark)
        return self._prompts[benchmark.name]

    def own_prompts(self) -> PromptCount | None:
        """Return the number of prompts that a base is asked for answers of its own; None where it is not known."""
        if self.own is not None and self._own is None:
            self._own = _prompts_here(self.own) or self._prompts_stated(self.own)
        return self._own

    @property
    def judges_of_own(self) -> Sequence[Judge]:
        """Return the judges that tell what is kept of a base's own answers: the first of each axis that is needed."""
        axes = judged_axes(resolve_mitigation(spec) for spec in self.design.mitigations)
        first = (next((judge for _, judge in self.judges if axis in judge.axes), None) for axis in axes)
        return [judge for judge in first if judge is not None]

    def _prompts_stated(self, benchmark: Benchmark) -> PromptCount | None:
        count = self.design.cost.prompts.get(benchmark.name)
        if count is None:
            card = f" (its card: {benchmark.card.size})" if benchmark.card.size else ""
            self.unknown.append(f"cost.prompts: how many prompts has '{benchmark.name}'?{card}")
            return None
        self.assumed[f"prompts of {benchmark.name}"] = f"{count:g}"
        subsets = {(metric.benchmark, metric.subset) for metric in benchmark.metrics}
        return PromptCount(count, None, dict.fromkeys(subsets, (count, count)) if len(subsets) == 1 else {})

    def judging(self, spec: PluginSpec, judge: Judge) -> float:
        """Return the GPU-seconds of one question to a judge model; 0 where it runs elsewhere."""
        if judge.asks is not None and "weights" not in judge.asks.capabilities:
            self.assumed[f"judge {_label(spec)}"] = "runs elsewhere, no GPU-hours"
            return 0.0
        n, cost = self.parameters(judge.model), self.design.cost
        read = cost.prompt_tokens + cost.answer_tokens + cost.rubric_tokens
        return read * reading_seconds(n, cost) + cost.judge_tokens * writing_seconds(n, cost)


def _prompts_here(benchmark: Benchmark) -> PromptCount | None:
    """Count the prompts of a benchmark; None where its files are not on this machine or it needs the tuning data."""
    if benchmark.needs:
        return None
    try:
        prompts = benchmark.prompts(BenchmarkContext())
    except AftertuneError:
        return None
    clusters: dict[tuple[str, str], list[str]] = {}
    for prompt in prompts:
        clusters.setdefault((prompt.benchmark, prompt.subset), []).append(prompt.cluster)
    return PromptCount(
        count=len(prompts),
        characters=sum(len(turn.content) for prompt in prompts for turn in prompt.messages),
        subsets={subset: (len(names), len(set(names))) for subset, names in clusters.items()},
    )


def _parameters_here(name: str) -> float:
    """Return the parameters of a model in 10^9. Raises UsageError where it is not on this machine."""
    if not available(name):
        raise UsageError(f"{name}: not on this machine")
    return model(name).parameters / 1e9


def _assumptions(sizes: Sizes) -> Iterator[str]:
    design, cost = sizes.design, sizes.design.cost
    yield (
        f"{cost.gpu}: {cost.tflops:g} TFLOP/s at {100 * cost.training_utilisation:g} % in training, "
        f"{cost.bandwidth:g} TB/s at {100 * cost.decoding_utilisation:g} % in generation, batches of "
        f"{cost.decode_batch}"
    )
    yield (
        f"{cost.row_tokens:g} tokens a conversation, {cost.prompt_tokens:g} a prompt, at most {cost.answer_tokens:g} "
        f"an answer; a judge model reads {cost.rubric_tokens:g} more and writes {cost.judge_tokens:g}"
    )
    for what, value in sizes.assumed.items():
        yield f"{what}: {value}"
    if design.match_tokens and len(design.arms) > 1:
        yield "every arm as long as its whole corpus, though arms are matched in assistant tokens"


def lines(budget: Budget, cost: Cost) -> list[str]:
    """Return a budget as lines of text."""
    total = budget.tuning_hours + budget.answering_hours + budget.judging_hours
    calls = ", ".join(f"{name} {count:,}" for name, count in budget.judge_calls.items())
    texts = [
        f"{_hours(total)} GPU-hours on {cost.gpu}: tuning {_hours(budget.tuning_hours)}, answering "
        f"{_hours(budget.answering_hours)}, judging {_hours(budget.judging_hours)}",
        f"{budget.tunings:,} tunings on {_large(budget.trained_tokens)} tokens in all; {budget.checkpoints:,} "
        f"checkpoints and their bases give {budget.requests:,} answers: {_large(budget.read_tokens)} tokens read, "
        f"at most {_large(budget.written_tokens)} written",
        f"judge calls: {calls}; {budget.model_calls:,} of them ask a judge model",
        f"disk {budget.disk_gb:,.1f} GB; a tuning needs {budget.memory_gb:,.1f} GB for weights, gradients and optimizer"
        + (f": {math.ceil(budget.memory_gb / cost.memory)} GPUs or more" if budget.memory_gb > cost.memory else ""),
        "Money is left out: hours times what yours cost. Assumed, each to be set in [cost]:",
    ]
    return texts + [f"  {text}" for text in budget.assumptions]


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.1f}" if hours >= 0.1 else f"{hours:.2g}"


def _large(count: float) -> str:
    return f"{count / 1e9:,.2f} x 10^9" if count >= 1e9 else f"{count / 1e6:,.1f} x 10^6"
