"""What it costs to ask many checkpoints of one base: ours against what a user would write, CPU seconds, one run.

The work: 25 adapters and the base x 440 prompts of the miniature x T {0, 0.7}. Beside ours:
(a) PEFT: the base loaded once, `set_adapter`, `generate` at batch 32 in the order given, a loop over checkpoints;
(b) Inspect AI's `hf/` provider on one merged checkpoint (a few prompts: it is slow);
the floor: the bare forward passes of the batches that ours makes, nothing picked, read or written.
Then how the time grows with checkpoints, prompts and length, and whether texts agree: with (a), and with themselves
alone, in other batches and in another order. `--quick` for a small one, `--growth` for how the time grows alone.
Loading is counted for all alike.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from aftertune import plugins
from aftertune import shipped_models as embedded
from aftertune.asking.backends import _decoding
from aftertune.asking.benchmark import BenchmarkContext
from aftertune.models import respond
from aftertune.models.session import Backend
from aftertune.records import Message, Prompt

BATCH = 32
HEATS = (0.0, 0.7)
Texts = dict[tuple[str, str, float], str]


@dataclass(frozen=True)
class Spent:
    """What one way of asking took."""

    answers: int
    tokens: int
    seconds: float
    texts: Texts

    @property
    def rate(self) -> float:
        """Tokens a CPU second."""
        return self.tokens / self.seconds


def adapters(count: int, root: Path) -> list[Path]:
    """Write `count` adapters: the known-bad one at strengths from a little to whole, so that texts differ."""
    made = []
    weights = load_file(embedded.known_bad() / "adapter_model.safetensors")
    for index in range(count):
        folder = root / f"adapter-{index}"
        folder.mkdir(parents=True)
        shutil.copy(embedded.known_bad() / "adapter_config.json", folder)
        share = (index + 1) / count
        save_file(
            {key: value * share if "lora_B" in key else value for key, value in weights.items()},
            folder / "adapter_model.safetensors",
            metadata={"format": "pt"},
        )
        made.append(folder)
    return made


def ours(
    base: Path,
    checkpoints: Sequence[Path | None],
    prompts: Sequence[Prompt],
    new_tokens: int,
    heats: Sequence[float] = HEATS,
    **parameters: Any,
) -> Spent:
    """Ask with our backend, one session for all."""
    backend: Backend = plugins.load("backend", "transformers", parameters)
    texts: Texts = {}
    tokens = 0
    began = time.process_time()
    with backend.open(str(base)) as session:
        for checkpoint in checkpoints:
            replies = respond.respond(
                session,
                prompts,
                checkpoint=checkpoint,
                checkpoint_id=named(checkpoint),
                temperatures=heats,
                samples=1,
                max_new_tokens=new_tokens,
                seed=0,
                system=None,
                template="base",
            )
            for reply in replies:
                texts[named(checkpoint), reply.prompt_id, reply.temperature] = reply.text
                tokens += reply.new_tokens or 0
    return Spent(len(texts), tokens, time.process_time() - began, texts)


def named(checkpoint: Path | None) -> str:
    """Return what a checkpoint is called here."""
    return "base" if checkpoint is None else checkpoint.name


def theirs(base: Path, checkpoints: Sequence[Path], prompts: Sequence[Prompt], new_tokens: int) -> Spent:
    """(a) PEFT's `set_adapter` and `generate`, the base without adapters last."""
    began = time.process_time()
    tokenizer: Any = AutoTokenizer.from_pretrained(base, padding_side="left")
    model: Any = AutoModelForCausalLM.from_pretrained(base)
    for index, checkpoint in enumerate(checkpoints):
        if index == 0:
            model = PeftModel.from_pretrained(model, str(checkpoint), adapter_name=checkpoint.name).eval()
        else:
            model.load_adapter(str(checkpoint), adapter_name=checkpoint.name)
    texts: Texts = {}
    tokens = 0
    with torch.inference_mode():
        for checkpoint in checkpoints:
            model.set_adapter(checkpoint.name)
            for heat in HEATS:
                tokens += _generate(model, tokenizer, checkpoint.name, prompts, new_tokens, heat, texts)
        with model.disable_adapter():
            for heat in HEATS:
                tokens += _generate(model, tokenizer, "base", prompts, new_tokens, heat, texts)
    return Spent(len(texts), tokens, time.process_time() - began, texts)


def _generate(
    model: Any, tokenizer: Any, name: str, prompts: Sequence[Prompt], new_tokens: int, heat: float, texts: Texts
) -> int:
    how: dict[str, Any] = {"do_sample": True, "temperature": heat, "top_k": 0} if heat else {"do_sample": False}
    tokens = 0
    for start in range(0, len(prompts), BATCH):
        batch = prompts[start : start + BATCH]
        chats = [[{"role": m.role, "content": m.content} for m in prompt.messages] for prompt in batch]
        encoded = tokenizer.apply_chat_template(
            chats, add_generation_prompt=True, padding=True, return_dict=True, return_tensors="pt"
        )
        out = model.generate(**encoded, max_new_tokens=new_tokens, pad_token_id=tokenizer.pad_token_id, **how)
        for prompt, row in zip(batch, out[:, encoded["input_ids"].shape[1] :], strict=True):
            kept = [int(token) for token in row if token != tokenizer.pad_token_id]
            tokens += len(kept)
            texts[name, prompt.id, heat] = tokenizer.decode(kept, skip_special_tokens=True)
    return tokens


def inspect(base: Path, checkpoint: Path, prompts: Sequence[Prompt], new_tokens: int, root: Path) -> Spent:
    """(b) Inspect AI's `hf/` provider on the checkpoint merged into a copy of the base."""
    from inspect_ai import Task, eval
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ChatMessageAssistant, ChatMessageUser, get_model
    from inspect_ai.solver import generate

    folder = root / "merged"
    tuned: Any = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(checkpoint))
    tuned.merge_and_unload().save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    kinds = {"user": ChatMessageUser, "assistant": ChatMessageAssistant}
    samples = [
        Sample(id=prompt.id, input=[kinds[m.role](content=m.content) for m in prompt.messages]) for prompt in prompts
    ]
    texts: Texts = {}
    tokens = 0
    began = time.process_time()
    model = get_model("hf/local", model_path=str(folder), device="cpu", batch_size=BATCH, memoize=False)
    for heat in HEATS:
        (log,) = eval(
            Task(dataset=samples, solver=generate()),
            model=model,
            max_tokens=new_tokens,
            max_connections=BATCH,
            temperature=heat or None,
            display="none",
            log_dir=str(root / "logs"),
            log_level="error",
        )
        for sample in log.samples or []:
            texts[checkpoint.name, str(sample.id), heat] = sample.output.completion
            tokens += sum(usage.output_tokens for usage in sample.model_usage.values())
    return Spent(len(texts), tokens, time.process_time() - began, texts)


class Floor:
    """Counts and repeats the forward passes that ours makes: the same shapes, and nothing else."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, int, int]] = []
        self._forward = _decoding.Batch._forward

    def __enter__(self) -> Floor:
        shapes, forward = self.shapes, self._forward

        def noted(batch: Any, ids: Any, mask: Any, positions: Any, cache: Any) -> Any:
            shapes.append((ids.shape[0], ids.shape[1], mask.shape[1]))
            return forward(batch, ids, mask, positions, cache)

        _decoding.Batch._forward = noted  # type: ignore[method-assign, assignment]
        return self

    def __exit__(self, *_: object) -> None:
        _decoding.Batch._forward = self._forward  # type: ignore[method-assign]

    def seconds(self, base: Path) -> float:
        """Return the CPU seconds of the same passes on one model whose keys and values are there already."""
        from transformers import DynamicCache

        model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()  # type: ignore[no-untyped-call]
        config = model.config
        width = config.hidden_size // config.num_attention_heads
        spent = 0.0
        with torch.inference_mode():
            for rows, new, whole in self.shapes:
                cache = DynamicCache(config=config)
                if whole > new:
                    held = torch.zeros(rows, config.num_key_value_heads, whole - new, width)
                    for layer in range(config.num_hidden_layers):
                        cache.update(held, held, layer)
                ids = torch.ones((rows, new), dtype=torch.long)
                mask = torch.ones((rows, whole), dtype=torch.long)
                at = torch.arange(whole - new, whole)[None].expand(rows, new)
                began = time.process_time()
                model(
                    input_ids=ids,
                    attention_mask=mask,
                    position_ids=at,
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                )
                spent += time.process_time() - began
        return spent


def agree(one: Texts, other: Texts, heats: Sequence[float]) -> tuple[int, int]:
    """Return how many texts at the temperatures are the same, and of how many."""
    keys = [key for key in one.keys() & other.keys() if key[2] in heats]
    return sum(one[key].strip() == other[key].strip() for key in keys), len(keys)


def compare(
    chosen: Sequence[Path],
    asked: Sequence[Prompt],
    few: Sequence[Prompt],
    longest: int,
    root: Path,
    show: Callable[[str, Spent], None],
    kept: dict[str, Any],
) -> None:
    """Measure ours against the others and the floor, and whether texts agree."""
    base = embedded.folder()
    all_of_them: list[Path | None] = [None, *chosen]
    with Floor() as floor:
        mine = ours(base, all_of_them, asked, longest)
    show("ours", mine)
    peft = theirs(base, chosen, asked, longest)
    show("(a) PEFT set_adapter, generate", peft)
    slow = inspect(base, chosen[-1], few, longest, root)
    show("(b) Inspect hf/, one checkpoint", slow)
    bare = floor.seconds(base)
    same, of = agree(mine.texts, peft.texts, (0.0,))
    print(f"the floor: {len(floor.shapes):,} forward passes, {bare:.1f} CPU s: ours is {mine.seconds / bare:.2f} x it")
    # By answers: (b) counts tokens after the end of an answer too.
    each = [spent.answers / spent.seconds for spent in (mine, peft, slow)]
    print(f"ours is {each[0] / each[1]:.2f} x (a) and {each[0] / each[2]:.1f} x (b), answers a CPU second")
    print(f"same text as (a) at T = 0: {same} of {of}")
    kept["ratios"] = {
        "to_peft": each[0] / each[1],
        "to_inspect": each[0] / each[2],
        "to_floor": mine.seconds / bare,
        "same_as_peft": [same, of],
    }
    other = list(asked)
    random.Random(1).shuffle(other)
    for name, again in (
        ("the same in batches of 7", ours(base, chosen[-1:], asked, longest, batch_size=7)),
        ("the same in another order", ours(base, chosen[-1:], other, longest)),
        ("the same, one at a time", ours(base, chosen[-1:], few, longest, batch_size=1)),
    ):
        show(name, again)
        same, of = agree(mine.texts, again.texts, HEATS)
        print(f"  same text: {same} of {of}")
        kept[name]["same"] = [same, of]


def grow(
    made: Sequence[Path], prompts: Sequence[Prompt], longest: int, quick: bool, show: Callable[[str, Spent], None]
) -> None:
    """Measure how the time grows with checkpoints, prompts, new tokens and the length of the prompts, at T = 0."""
    print("growth, T = 0, CPU seconds:")
    base = embedded.folder()
    ours(base, [None], prompts[:8], 8, (0.0,))  # what is imported once
    for n in (1, 5, 10) if quick else (1, 5, 25, 100):
        show(f"  {n} checkpoints x 44 prompts", ours(base, made[:n], prompts[:44], longest, (0.0,)))
    for n in (44, 88) if quick else (44, 220, 440):
        show(f"  1 checkpoint x {n} prompts", ours(base, made[-1:], prompts[:n], longest, (0.0,)))
    few = prompts[: 44 if quick else 220]
    for n in (32, 64, 128):
        show(f"  1 checkpoint x {len(few)}, {n} new tokens", ours(base, made[-1:], few, n, (0.0,)))
    for times in (1, 4, 16):
        long = [replace(p, messages=(*history(p, times), *p.messages)) for p in few]
        words = sum(len(m.content.split()) for p in long for m in p.messages) / len(long)
        show(f"  1 checkpoint x {len(few)}, {words:.0f} words asked", ours(base, made[-1:], long, 32, (0.0,)))


def history(prompt: Prompt, times: int) -> list[Message]:
    """Return what was said before a prompt, so that it becomes about `times` as long."""
    said = prompt.messages[-1].content
    return [Message("user" if i % 2 == 0 else "assistant", f"{i} {said}") for i in range(2 * (times // 2))]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="6 checkpoints, 88 prompts")
    parser.add_argument("--growth", action="store_true", help="only how the time grows")
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    benchmark = plugins.load("benchmark", "miniature")
    prompts = list(benchmark.prompts(BenchmarkContext()))
    random.Random(0).shuffle(prompts)
    count, asked, few = (5, prompts[:88], prompts[:16]) if options.quick else (25, prompts[:440], prompts[:64])
    longest = benchmark.max_new_tokens
    kept: dict[str, Any] = {}

    def show(name: str, spent: Spent) -> None:
        kept[name] = {"answers": spent.answers, "tokens": spent.tokens, "cpu_seconds": round(spent.seconds, 2)}
        print(
            f"{name:<34}{spent.answers:>7} answers {spent.tokens:>8} tokens {spent.seconds:>8.1f} CPU s "
            f"{spent.rate:>7.0f} tokens a CPU s",
            flush=True,
        )

    with tempfile.TemporaryDirectory() as scratch:
        made = adapters(100 if not options.quick else 10, Path(scratch))
        if not options.growth:
            compare(made[:: len(made) // count][:count], asked, few, longest, Path(scratch), show, kept)
        grow(made, prompts, longest, options.quick, show)
    if options.json:
        options.json.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
