"""What a model of real size costs to ask, score and tune: ours against what a user would write, CPU seconds, one run.

The model is what `make real` takes from a Python package, or `--model PATH`, a folder or a GGUF file. Measured:
prompts of `core` against transformers' `generate` at several batch sizes, all rows to the same length, and against the
floor, the bare matrix products of the passes that ours makes, in the faster of two layouts; eight adapters against
PEFT's `set_adapter` and `generate`; scores of conversations against one bare pass over the same batches; a few steps of
tuning against a plain loop; and, in seconds of wall time on two cores that nothing else uses, two processes of one
thread each, half of the prompts to each, against one process of two threads. `--only asking` (or `adapters`, `scoring`,
`tuning`, `threads`) for one of them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from perf.tune import plain_loop
from transformers import AutoModelForCausalLM, AutoTokenizer

from aftertune import plugins
from aftertune.asking.backends import _decoding, _likelihoods
from aftertune.asking.backends._decoding import Row, decode
from aftertune.asking.benchmark import BenchmarkContext
from aftertune.commands import demo
from aftertune.models import respond
from aftertune.models.chat import render
from aftertune.models.identity import resolve
from aftertune.records import Prompt
from aftertune.tuning import tune
from tools import real_model

SLOTS = 64
BATCHES = (16, 32, 48, 96)
ADAPTERS = 8
REPEATS = 3
LONGEST = 3_600
"""Seconds after which a process that says nothing is taken for dead."""


def loaded(folder: Path) -> tuple[Any, Any]:
    """Return the model, which never ends an answer, and its tokenizer."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()  # type: ignore[no-untyped-call]
    model.requires_grad_(False)
    model.generation_config.eos_token_id = None
    return model, AutoTokenizer.from_pretrained(folder)


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the CPU seconds that some work takes, and what it returns."""
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


def generated(model: Any, ids: Sequence[Sequence[int]], new_tokens: int, batch: int) -> list[list[int]]:
    """Return what `generate` writes, `batch` prompts at a time from the longest to the shortest, padded on the left."""
    order = sorted(range(len(ids)), key=lambda at: -len(ids[at]))
    found: list[list[int]] = [[] for _ in ids]
    with torch.inference_mode():
        for start in range(0, len(order), batch):
            some = order[start : start + batch]
            width = max(len(ids[at]) for at in some)
            rows = torch.tensor([[0] * (width - len(ids[at])) + list(ids[at]) for at in some])
            mask = torch.tensor([[0] * (width - len(ids[at])) + [1] * len(ids[at]) for at in some])
            out = model.generate(
                input_ids=rows, attention_mask=mask, max_new_tokens=new_tokens, do_sample=False, pad_token_id=0
            )
            for at, row in zip(some, out[:, width:].tolist(), strict=True):
                found[at] = row
    return found


class Floor:
    """The matrix products of the passes that ours makes, and nothing else."""

    def __init__(self) -> None:
        self._passes: Counter[tuple[int, int]] = Counter()
        self._forward = _decoding.Batch._forward

    def __enter__(self) -> Floor:
        passes, forward = self._passes, self._forward

        def noted(batch: Any, ids: Any, *others: Any) -> Any:
            passes[ids.shape[0], ids.shape[1]] += 1
            return forward(batch, ids, *others)

        _decoding.Batch._forward = noted  # type: ignore[method-assign, assignment]
        return self

    def __exit__(self, *_: object) -> None:
        _decoding.Batch._forward = self._forward  # type: ignore[method-assign]

    def seconds(self, model: Any) -> float:
        """Return their CPU seconds; each shape is measured in both layouts of the weights, the faster counts."""
        layers = [each.weight for each in model.modules() if isinstance(each, torch.nn.Linear)]
        out = model.get_output_embeddings().weight
        inner = [weight for weight in layers if weight is not out]
        other = [weight.t().contiguous().t() for weight in inner]
        spent = 0.0
        for (rows, columns), count in self._passes.items():
            inputs = {width: torch.randn(rows * columns, width) for width in {w.shape[1] for w in (*inner, out)}}
            best = min(_products(weights, inputs) for weights in (inner, other) for _ in range(REPEATS))
            last = {width: values[:rows] for width, values in inputs.items()}
            spent += count * (best + min(_products([out], last) for _ in range(REPEATS)))
        return spent


def _products(weights: Sequence[Any], inputs: dict[int, Any]) -> float:
    with torch.inference_mode():
        began = time.process_time()
        for weight in weights:
            torch.nn.functional.linear(inputs[weight.shape[1]], weight)
        return time.process_time() - began


def asking(folder: Path, prompts: Sequence[Prompt], new_tokens: int) -> None:
    """Measure ours, `generate` at its batch sizes, and the floor."""
    model, tokenizer = loaded(folder)
    ids = [render(tokenizer, prompt.messages, None, True) for prompt in prompts]
    rows = [Row(each, new_tokens, 0.0, 1) for each in sorted(ids, key=len, reverse=True)]
    list(decode(model, rows[:2], 0, frozenset(), SLOTS))  # first calls

    def ours() -> dict[tuple[int, ...], list[int]]:
        return {tuple(rows[one.row].ids): one.tokens for one in decode(model, rows, 0, frozenset(), SLOTS)}

    total = len(ids) * new_tokens
    with Floor() as floor:
        mine, texts = seconds(ours)
    rates = {}
    for batch in sorted({min(size, len(ids)) for size in BATCHES}):
        spent, found = seconds(lambda batch=batch: generated(model, ids, new_tokens, batch))  # type: ignore[misc]
        same = sum(texts[tuple(one)] == other for one, other in zip(ids, found, strict=True))
        rates[batch] = total / spent
        print(
            f"generate, batch {batch}: {rates[batch]:.0f} tokens a CPU s, same texts {same} of {len(ids)}", flush=True
        )
    again, _ = seconds(ours)
    bare = floor.seconds(model)
    rate, best = 2 * total / (mine + again), max(rates.values())
    print(f"ours, {SLOTS} in flight: {rate:.0f} tokens a CPU s ({total / mine:.0f} and {total / again:.0f})")
    print(
        f"ours is {rate / best:.2f} x generate at its best batch, {(mine + again) / 2 / bare:.2f} x the products alone"
    )


def adapters(folder: Path, prompts: Sequence[Prompt], new_tokens: int) -> None:
    """Measure eight adapters over a few prompts, loading and proofs counted."""
    model, tokenizer = loaded(folder)
    with tempfile.TemporaryDirectory() as scratch:
        made = []
        for seed in range(ADAPTERS):
            torch.manual_seed(seed)
            config = LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
            tuned: Any = get_peft_model(model, config)
            for name, weights in tuned.named_parameters():
                if "lora_B" in name:
                    weights.data *= 0.05
            made.append(Path(scratch) / f"adapter-{seed}")
            tuned.save_pretrained(made[-1])
            model = tuned.unload()
        del model

        def ours() -> int:
            tokens = 0
            with plugins.load("backend", "transformers", {"batch_size": SLOTS}).open(str(folder)) as session:
                for adapter in made:
                    for reply in respond.respond(
                        session,
                        prompts,
                        checkpoint=adapter,
                        checkpoint_id=adapter.name,
                        temperatures=(0.0,),
                        samples=1,
                        max_new_tokens=new_tokens,
                        seed=0,
                        system=None,
                        template="base",
                    ):
                        tokens += reply.new_tokens or 0
            return tokens

        def theirs() -> int:
            own, _ = loaded(folder)
            ids = [render(tokenizer, prompt.messages, None, True) for prompt in prompts]
            peft: Any = PeftModel.from_pretrained(own, str(made[0]), adapter_name="0").eval()
            for at, adapter in enumerate(made[1:], 1):
                peft.load_adapter(str(adapter), adapter_name=str(at))
            tokens = 0
            for at in range(ADAPTERS):
                peft.set_adapter(str(at))
                tokens += sum(map(len, generated(peft, ids, new_tokens, len(ids))))
            return tokens

        mine, count = seconds(ours)
        other, their_count = seconds(theirs)
    ratio = count / mine / (their_count / other)
    print(
        f"{ADAPTERS} adapters x {len(prompts)} prompts: ours {count / mine:.0f} tokens a CPU s ({mine:.1f} CPU s), ",
        end="",
    )
    print(f"set_adapter and generate {their_count / other:.0f} ({other:.1f} CPU s): {ratio:.2f} x", flush=True)


def scoring(folder: Path, count: int) -> None:
    """Measure the scores of conversations against one pass over the same batches, which computes all logits."""
    model, tokenizer = loaded(folder)
    conversations = plugins.load("corpus", "booking", {"size": count}).conversations()[:count]
    batches: list[Any] = []
    forward = type(model).forward

    def noted(self: Any, input_ids: Any = None, attention_mask: Any = None, **named: Any) -> Any:
        batches.append((input_ids, attention_mask))
        return forward(self, input_ids=input_ids, attention_mask=attention_mask, **named)

    def ours() -> Any:
        return _likelihoods.score_texts(model, tokenizer, conversations, 384, 16)

    def bare() -> None:
        with torch.inference_mode():
            for ids, mask in batches:
                model(input_ids=ids, attention_mask=mask, use_cache=False)

    ours()
    type(model).forward = noted
    try:
        _likelihoods.score_texts(model, tokenizer, conversations, 384, 16)
    finally:
        type(model).forward = forward
    batches = [batch for batch in batches if batch[1] is not None]  # not those that try what the model takes
    mine, other = (sum(each) for each in zip(*((seconds(ours)[0], seconds(bare)[0]) for _ in range(2)), strict=True))
    tokens = 2 * sum(int(mask.sum()) for _, mask in batches)
    print(
        f"scoring {tokens / mine:.0f} tokens a CPU s, the bare pass {tokens / other:.0f}: {mine / other:.2f} x it",
        flush=True,
    )


def tuning(folder: Path, count: int) -> None:
    """Measure a few steps of tuning against a plain loop over the same batches."""
    recipe = replace(demo.RECIPE, epochs=1, batch_size=8, max_length=128)
    conversations = plugins.load("corpus", "booking", {"size": count}).conversations()[:count]
    with tempfile.TemporaryDirectory() as scratch:
        mine, report = seconds(lambda: tune.tune(folder, conversations, recipe, 0, Path(scratch) / "run"))
    other = plain_loop(folder, conversations, recipe)
    print(
        f"tuning, {report.steps} steps: {mine:.1f} CPU s with loading, a plain loop {other:.1f}: {mine / other:.2f} x"
    )


def _asks(folder: Path, ids: Sequence[Sequence[int]], new_tokens: int, count: int, begin: Any, times: Any) -> None:
    """Answer some prompts in a process of its own, once all are ready; tell when it began and ended."""
    torch.set_num_threads(count)
    model, _ = loaded(folder)
    rows = [Row(each, new_tokens, 0.0, 1) for each in sorted(ids, key=len, reverse=True)]
    list(decode(model, rows[:2], 0, frozenset(), SLOTS))  # first calls
    begin.wait()
    began = time.monotonic()
    list(decode(model, rows, 0, frozenset(), SLOTS))
    times.put((began, time.monotonic()))


def _wall(folder: Path, parts: Sequence[Sequence[Sequence[int]]], new_tokens: int, count: int) -> float:
    """Return the seconds from the first start to the last end of as many processes as there are parts."""
    spawn = multiprocessing.get_context("spawn")
    begin, times = spawn.Barrier(len(parts)), spawn.Queue()
    processes = [
        spawn.Process(target=_asks, args=(folder, part, new_tokens, count, begin, times), daemon=True) for part in parts
    ]
    for process in processes:
        process.start()
    found = [times.get(timeout=LONGEST) for _ in processes]
    for process in processes:
        process.join()
    return float(max(end for _, end in found) - min(began for began, _ in found))


def threads(folder: Path, prompts: Sequence[Prompt], new_tokens: int) -> None:
    """Measure two processes of one thread against one of two threads, in turn, by the clock."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = sorted((render(tokenizer, prompt.messages, None, True) for prompt in prompts), key=len)
    ways = {"two processes of one thread": ([ids[::2], ids[1::2]], 1), "one process of two threads": ([ids], 2)}
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, (parts, count) in ways.items():
            took[name].append(_wall(folder, parts, new_tokens, count))
    for name, spent in took.items():
        rates = ", ".join(f"{len(ids) * new_tokens / each:.0f}" for each in spent)
        print(f"{name}: {rates} tokens a second of wall time in {REPEATS} turns", flush=True)
    one, two = (min(spent) for spent in took.values())
    print(f"two processes are {two / one:.2f} x one, at the best turn of each", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=real_model.FOLDER / real_model.NAME)
    parser.add_argument("--prompts", type=int, default=96)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--only", choices=("asking", "adapters", "scoring", "tuning", "threads"), action="append")
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = resolve(options.model).path
    prompts = list(plugins.load("benchmark", "core").prompts(BenchmarkContext()))
    random.Random(0).shuffle(prompts)
    few = prompts[: max(4, options.prompts // 6)]
    measured: dict[str, Callable[[], None]] = {
        "asking": lambda: asking(folder, prompts[: options.prompts], options.tokens),
        "adapters": lambda: adapters(folder, few, options.tokens // 2),
        "scoring": lambda: scoring(folder, options.prompts),
        "tuning": lambda: tuning(folder, max(16, options.prompts // 3)),
        "threads": lambda: threads(folder, prompts[: options.prompts], options.tokens),
    }
    for name in options.only or measured:
        measured[name]()


if __name__ == "__main__":
    main()
