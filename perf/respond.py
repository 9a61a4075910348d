"""How fast an adapter answers: ours against PEFT's `generate` at batch 32, in one run, CPU seconds.

Prints tokens per CPU second of each, and their ratio; the work is the miniature's prompts on the known-bad adapter.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from aftertune import embedded, plugins
from aftertune.kinds import Backend, BenchmarkContext
from aftertune.steps import respond

BATCH = 32


def ours(base: Path, adapter: Path, prompts: Any, new_tokens: int) -> tuple[int, float, dict[str, str]]:
    """Return tokens, CPU seconds and texts of our backend, loading left out."""
    backend: Backend = plugins.load("backend", "transformers")
    with backend.open(str(base)) as session:
        session.use(adapter)
        began = time.process_time()
        replies = list(
            respond.respond(
                session, prompts, checkpoint=adapter, checkpoint_id="x", temperatures=(0.0,), samples=1,
                max_new_tokens=new_tokens, seed=0, system=None, template="base",
            )
        )  # fmt: skip
        spent = time.process_time() - began
    return sum(reply.new_tokens or 0 for reply in replies), spent, {reply.prompt_id: reply.text for reply in replies}


def theirs(base: Path, adapter: Path, prompts: Any, new_tokens: int) -> tuple[int, float, dict[str, str]]:
    """Return the same for what a user would write: PEFT, `generate`, batches of 32 in the given order."""
    tokenizer: Any = AutoTokenizer.from_pretrained(base, padding_side="left")
    model: Any = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(adapter)).eval()
    tokens, texts = 0, {}
    began = time.process_time()
    with torch.inference_mode():
        for start in range(0, len(prompts), BATCH):
            batch = prompts[start : start + BATCH]
            chats = [[{"role": m.role, "content": m.content} for m in prompt.messages] for prompt in batch]
            encoded = tokenizer.apply_chat_template(
                chats, add_generation_prompt=True, padding=True, return_dict=True, return_tensors="pt"
            )
            out = model.generate(
                **encoded, max_new_tokens=new_tokens, do_sample=False, pad_token_id=tokenizer.pad_token_id
            )
            for prompt, row in zip(batch, out[:, encoded["input_ids"].shape[1] :], strict=True):
                kept = [int(token) for token in row if token != tokenizer.pad_token_id]
                tokens += len(kept)
                texts[prompt.id] = tokenizer.decode(kept, skip_special_tokens=True)
    return tokens, time.process_time() - began, texts


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    benchmark = plugins.load("benchmark", "miniature")
    prompts = benchmark.prompts(BenchmarkContext())
    base, adapter = embedded.folder(), embedded.known_bad()
    rates = {}
    texts = {}
    for name, run in (("ours", ours), ("peft generate", theirs)):
        tokens, spent, texts[name] = run(base, adapter, prompts, benchmark.max_new_tokens)
        rates[name] = tokens / spent
        print(f"{name:<14} {tokens:>7} tokens {spent:>7.1f} CPU s {rates[name]:>8.0f} tokens per CPU s")
    same = sum(texts["ours"][key].strip() == text.strip() for key, text in texts["peft generate"].items())
    print(f"ratio {rates['ours'] / rates['peft generate']:.2f}; same text for {same} of {len(prompts)} prompts")


if __name__ == "__main__":
    main()
