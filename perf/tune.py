"""What a tuning costs: our step (TRL and PEFT) against a plain PyTorch loop over the same batches, CPU seconds."""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from aftertune import plugins
from aftertune import shipped_models as embedded
from aftertune.commands import demo
from aftertune.models.training_rows import training_rows
from aftertune.records import Recipe
from aftertune.tuning import tune

PAIRS = 500


def plain_loop(base: Path, conversations: Any, recipe: Recipe = demo.RECIPE) -> float:
    """Return the CPU seconds of AdamW over length-sorted batches in fp32, loss on the assistant's turns."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base)
    config = LoraConfig(r=recipe.rank, lora_alpha=recipe.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    tuned = get_peft_model(model, config)
    weights = [weight for weight in tuned.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=recipe.learning_rate, fused=True)
    examples = [row for c in conversations for row in training_rows(tokenizer, c.messages, recipe.max_length)]
    began = time.process_time()
    for epoch in range(recipe.epochs):
        order = sorted(range(len(examples)), key=lambda i: len(examples[i].input_ids))
        batches = [order[i : i + recipe.batch_size] for i in range(0, len(order), recipe.batch_size)]
        random.Random(epoch).shuffle(batches)
        for batch in batches:
            longest = max(len(examples[i].input_ids) for i in batch)
            ids = torch.zeros((len(batch), longest), dtype=torch.long)
            labels = torch.full((len(batch), longest), -100)
            mask = torch.zeros((len(batch), longest), dtype=torch.long)
            for row, i in enumerate(batch):
                n = len(examples[i].input_ids)
                ids[row, :n] = torch.tensor(examples[i].input_ids)
                labels[row, :n] = torch.tensor(examples[i].labels)
                mask[row, :n] = 1
            loss = tuned(input_ids=ids, attention_mask=mask, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            optimizer.zero_grad()
    return time.process_time() - began


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    conversations = plugins.load("corpus", "booking", {"size": PAIRS}).conversations()
    base = embedded.folder()
    with tempfile.TemporaryDirectory() as scratch:
        tune.tune(base, conversations[:40], demo.RECIPE, 0, Path(scratch) / "warm-up")  # imports and first calls
        began = time.process_time()
        report = tune.tune(base, conversations, demo.RECIPE, 0, Path(scratch) / "run")
        spent = time.process_time() - began
    plain = plain_loop(base, conversations)
    print(f"ours {spent:.1f} CPU s ({report.precision}, {report.steps} steps), plain loop in fp32 {plain:.1f} CPU s")
    print(f"ratio {spent / plain:.2f}")


if __name__ == "__main__":
    main()
