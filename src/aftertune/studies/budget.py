"""What a design costs by formula, with no model or gated benchmark at hand: GPU-hours, tokens, disk, judge calls.

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

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aftertune.asking.benchmark import BenchmarkContext
from aftertune.errors import AftertuneError, UsageError
from aftertune.plugins import PluginSpec
from aftertune.records import Recipe
from aftertune.studies.cost import Cost
from aftertune.studies.design import Design
from aftertune.studies.missing import available
from aftertune.studies.resolve import load_benchmark, load_corpus, load_judge, model

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


def estimate(design: Design) -> Budget:
    """Return what a design would take. Nothing is fetched.

    Raises UsageError, in one line with everything that is not known, where neither this machine nor the design's
    `[cost]` says how large a model, a benchmark or a corpus is.
    """
    cost = design.cost
    sizes = _Sizes(design)
    for name in design.bases:
        sizes.parameters(name)
    tunings = [(base, arm, recipe) for base in design.bases for arm in design.arms for recipe in design.recipes_of(arm)]
    trained = tuning_s = stored = memory = 0.0
    asked = dict.fromkeys(design.bases, 1)
    for base, arm, recipe in tunings:
        n = sizes.parameters(base)
        tokens = sizes.rows(arm.corpus) * cost.row_tokens * recipe.epochs
        trained += tokens * len(design.seeds)
        flops = tuning_flops(n, tokens, recipe.method) * len(design.seeds)
        tuning_s += flops / (cost.tflops * 1e12 * cost.training_utilisation)
        stored += len(design.seeds) * recipe.epochs * _stored(n, recipe, cost)
        memory = max(memory, _memory(n, recipe, cost))
        asked[base] += len(design.seeds) * (recipe.epochs if design.respond.epochs == "all" else 1)
    for given in design.checkpoints:
        asked[given.base or design.bases[0]] += 1
    repeats = sum(1 if temperature == 0 else design.respond.samples for temperature in design.respond.temperatures)
    per_model = [(part, sizes.prompts(part) * repeats) for part in design.benchmarks]
    requests, read, written, answering_s = 0, 0.0, 0.0, 0.0
    for base, models in asked.items():
        n = sizes.parameters(base)
        for part, count in per_model:
            answer = min(cost.answer_tokens, load_benchmark(part).max_new_tokens)
            requests += count * models
            read += count * models * cost.prompt_tokens
            written += count * models * answer
            answering_s += count * models * (
                cost.prompt_tokens * reading_seconds(n, cost) + answer * writing_seconds(n, cost)
            )  # fmt: skip
    judge_calls, model_calls, judging_s = {}, 0, 0.0
    for judge in design.judges:
        questions = _questions(judge)
        judge_calls[_called(judge)] = requests * max(questions, 1)
        if questions:
            model_calls += requests * questions
            judging_s += requests * questions * sizes.judging(judge)
    if sizes.unknown:
        raise UsageError(f"{design.name}: cannot be priced: {'; '.join(dict.fromkeys(sizes.unknown))}")
    weights = sum(sizes.parameters(base) * cost.bytes_per_parameter for base in design.bases)
    answers = written * ANSWER_BYTES + sum(judge_calls.values()) * VERDICT_BYTES
    return Budget(
        tunings=len(tunings) * len(design.seeds),
        checkpoints=sum(asked.values()) - len(design.bases),
        trained_tokens=trained,
        requests=requests,
        read_tokens=read,
        written_tokens=written,
        tuning_hours=tuning_s / 3600,
        answering_hours=answering_s / 3600,
        judging_hours=judging_s / 3600,
        judge_calls=judge_calls,
        model_calls=model_calls,
        disk_gb=(weights + stored + answers) / 1e9,
        memory_gb=memory / 1e9,
        assumptions=tuple(_assumptions(design, sizes)),
    )


def _stored(n: float, recipe: Recipe, cost: Cost) -> float:
    if recipe.method == "full":
        return n * cost.bytes_per_parameter
    return adapter_parameters(n, recipe.rank) * ADAPTER_BYTES


def _memory(n: float, recipe: Recipe, cost: Cost) -> float:
    if recipe.method == "full":
        return n * OPTIMIZER_BYTES
    kept = FOUR_BITS if recipe.method == "qlora" else cost.bytes_per_parameter
    return n * kept + adapter_parameters(n, recipe.rank) * OPTIMIZER_BYTES


def _questions(judge: PluginSpec) -> int:
    """Return how many times a judge asks a model about one answer; 0 for rules."""
    plugin = load_judge(judge)
    return len(plugin.axes) if plugin.model else 0


def _called(judge: PluginSpec) -> str:
    rubric = judge.parameters.get("rubric")
    return f"{judge.name} ({rubric})" if rubric else judge.name


class _Sizes:
    """How large models, corpora and benchmarks are: as the design says, else as this machine holds them."""

    def __init__(self, design: Design) -> None:
        self.design, self.cost = design, design.cost
        self.unknown: list[str] = []
        self.said: dict[str, str] = {}
        self._known: dict[tuple[str, str], float] = {}

    def _look_up(self, kind: str, name: str, given: float | None, here: Any, ask: str) -> float:
        key = (kind, name)
        if key not in self._known:
            if given is not None:
                self._known[key] = given
                self.said[f"{kind} of {name}"] = f"{given:g}"
            else:
                try:
                    self._known[key] = float(here())
                except AftertuneError:
                    self.unknown.append(ask)
                    self._known[key] = 1.0
        return self._known[key]

    def parameters(self, name: str) -> float:
        """Return the parameters of a model."""
        given = self.cost.parameters.get(name)
        ask = f"cost.parameters: how many 10^9 parameters has '{name}'?"
        found = self._look_up("10^9 parameters", name, given, lambda: _weights(name), ask)
        return found * 1e9

    def rows(self, corpus: str) -> float:
        """Return the conversations of a corpus of the design."""
        name = corpus or "corpus"
        part = self.design.sources[corpus]
        ask = f"cost.rows: how many conversations has '{name}'?"
        given = self.cost.rows.get(name)
        return self._look_up("conversations", name, given, lambda: len(load_corpus(part).conversations()), ask)

    def prompts(self, part: PluginSpec) -> int:
        """Return the prompts of a benchmark."""
        benchmark = load_benchmark(part)
        name = benchmark.name

        def here() -> int:
            if benchmark.needs:
                raise UsageError("its prompts depend on the data")
            return len(benchmark.prompts(BenchmarkContext()))

        card = benchmark.card.size
        ask = f"cost.prompts: how many prompts has '{name}'?" + (f" (its card: {card})" if card else "")
        return int(self._look_up("prompts", name, self.cost.prompts.get(name), here, ask))

    def judging(self, judge: PluginSpec) -> float:
        """Return the GPU-seconds of one question to a judge model; 0 where it runs elsewhere."""
        plugin = load_judge(judge)
        if plugin.asks is not None and "weights" not in plugin.asks.capabilities:
            self.said[f"judge {_called(judge)}"] = "runs elsewhere, no GPU-hours"
            return 0.0
        n = self.parameters(plugin.model)
        cost = self.cost
        read = cost.prompt_tokens + cost.answer_tokens + cost.rubric_tokens
        return read * reading_seconds(n, cost) + cost.judge_tokens * writing_seconds(n, cost)


def _weights(name: str) -> float:
    if not available(name):
        raise UsageError(f"{name}: not on this machine")
    return model(name).parameters / 1e9


def _assumptions(design: Design, sizes: _Sizes) -> Iterator[str]:
    cost = design.cost
    yield (
        f"{cost.gpu}: {cost.tflops:g} TFLOP/s at {100 * cost.training_utilisation:g} % in training, "
        f"{cost.bandwidth:g} TB/s at {100 * cost.decoding_utilisation:g} % in generation, batches of "
        f"{cost.decode_batch}"
    )
    yield (
        f"{cost.row_tokens:g} tokens a conversation, {cost.prompt_tokens:g} a prompt, at most {cost.answer_tokens:g} "
        f"an answer; a judge model reads {cost.rubric_tokens:g} more and writes {cost.judge_tokens:g}"
    )
    for what, value in sizes.said.items():
        yield f"{what}: {value}"
    if design.match_tokens and len(design.arms) > 1:
        yield "every arm as long as its whole corpus, though arms are matched in assistant tokens"


def lines(found: Budget, cost: Cost) -> list[str]:
    """Return a budget as lines of text."""
    total = found.tuning_hours + found.answering_hours + found.judging_hours
    calls = ", ".join(f"{name} {count:,}" for name, count in found.judge_calls.items())
    shown = [
        f"{_hours(total)} GPU-hours on {cost.gpu}: tuning {_hours(found.tuning_hours)}, answering "
        f"{_hours(found.answering_hours)}, judging {_hours(found.judging_hours)}",
        f"{found.tunings:,} tunings on {_large(found.trained_tokens)} tokens in all; {found.checkpoints:,} checkpoints "
        f"and their bases give {found.requests:,} answers: {_large(found.read_tokens)} tokens read, at most "
        f"{_large(found.written_tokens)} written",
        f"judge calls: {calls}; {found.model_calls:,} of them ask a judge model",
        f"disk {found.disk_gb:,.1f} GB; a tuning needs {found.memory_gb:,.1f} GB for weights, gradients and optimizer"
        + (f": {math.ceil(found.memory_gb / cost.memory)} GPUs or more" if found.memory_gb > cost.memory else ""),
        "Money is left out: hours times what yours cost. Assumed, each to be set in [cost]:",
    ]
    return shown + [f"  {text}" for text in found.assumptions]


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.1f}" if hours >= 0.1 else f"{hours:.2g}"


def _large(count: float) -> str:
    return f"{count / 1e9:,.2f} x 10^9" if count >= 1e9 else f"{count / 1e6:,.1f} x 10^6"
