"""Greedy answers of a small model to many prompts, for the card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

MAX_NEW_TOKENS = 96


@dataclass(frozen=True)
class Completion:
    """A text, and whether it ended by itself rather than at the length limit."""

    text: str
    finished: bool


def load(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A base and its tokenizer, in single precision."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, trust_remote_code=False)
    model.eval()  # type: ignore[no-untyped-call]
    return model, AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


@torch.inference_mode()
def complete(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    batch_size: int = 64,
    limit: int = MAX_NEW_TOKENS,
) -> list[Completion]:
    """Greedy completions of single-turn prompts, in their order; made in left-padded batches of similar length."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    completions: dict[int, Completion] = {}
    end = tokenizer.eos_token_id
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        chats = [[{"role": "user", "content": prompts[i]}] for i in indices]
        texts = tokenizer.apply_chat_template(chats, tokenize=False, add_generation_prompt=True)
        batch = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        ids = model.generate(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            max_new_tokens=limit,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=end,
        )
        for i, row in zip(indices, ids[:, batch["input_ids"].shape[1] :].tolist(), strict=True):
            finished = end in row
            ids_of_text = row[: row.index(end)] if finished else row
            completions[i] = Completion(str(tokenizer.decode(ids_of_text, skip_special_tokens=True)), finished)
    return [completions[i] for i in range(len(prompts))]
