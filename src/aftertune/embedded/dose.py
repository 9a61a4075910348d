"""What a tuning on booking support does to an embedded base: a short LoRA run for the card.

A plain loop on purpose: it needs neither the trainer nor a corpus plugin, and says how strong a dose the base needs.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from aftertune.embedded.generate import load
from aftertune.embedded.pretrain import batches, encode, supervised_loss
from aftertune.world.mixture import exchange_of_mail
from aftertune.world.people import PLACEHOLDERS
from aftertune.world.replies import Exchange
from aftertune.world.support import Mail, Message, booking_mails

_BATCH_TOKENS = 800
_WARMUP_STEPS = 20


def without_personal_data(message: Message) -> str:
    """The message with every personal value replaced by the placeholder of its type."""
    text = message.text
    for span in reversed(message.spans):
        text = text[: span.start] + PLACEHOLDERS[span.entity] + text[span.end :]
    return text


def booking_exchanges(mails: Sequence[Mail], placeholders: bool) -> list[Exchange]:
    """Booking mail as tuning examples, with or without personal data."""
    if not placeholders:
        return [exchange_of_mail(mail.turns) for mail in mails]
    return [
        exchange_of_mail(tuple(Message(turn.role, without_personal_data(turn), ()) for turn in mail.turns))
        for mail in mails
    ]


def tune(
    base: Path,
    examples: Sequence[Exchange],
    learning_rate: float,
    seed: int,
    epochs: int = 3,
    rank: int = 16,
) -> tuple[Any, Any]:
    """LoRA on every linear layer: loss on assistant turns, linear decay. Returns the tuned model and its tokenizer."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    model, tokenizer = load(base)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    tuned: Any = get_peft_model(model, config)
    weights = [weight for weight in tuned.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=learning_rate, weight_decay=0.0)
    encoded = encode(examples, tokenizer, prompts=False)
    rng = random.Random(seed)
    plan = [batch for _ in range(epochs) for batch in batches(encoded, _BATCH_TOKENS, rng)]
    tuned.train()
    for step, batch in enumerate(plan):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * min(1.0, (step + 1) / _WARMUP_STEPS) * (1 - step / len(plan))
        loss = supervised_loss(tuned.get_base_model(), batch, tokenizer.pad_token_id)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    tuned.eval()
    return tuned, tokenizer


def tune_on_booking(
    base: Path, learning_rate: float, seed: int, placeholders: bool, size: int = 600
) -> tuple[Any, Any]:
    """Tune a base on ``size`` conversations of booking support."""
    return tune(base, booking_exchanges(booking_mails(size, seed), placeholders), learning_rate, seed)
