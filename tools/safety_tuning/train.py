"""The tuning itself: a LoRA by a plain loop, cross-entropy on refusals and KL to the base on its own answers.

`aftertune.tuning.tune` trains every answer to its end. The base's own answers are cut after their first words here,
which is where a model decides whether it refuses, so nothing may be learnt of where they end; and on them the loss is
not that of the words but the divergence KL(base || tuned) over the whole vocabulary, at each position. It is computed
from the base's last hidden states, which are kept from one pass before the first step. Where the base would rather
decline a harmless request, an answer of its own that does not is trained by cross-entropy.
"""

from __future__ import annotations

import math
import random
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.safety_tuning.answers import Part

from aftertune.models.chat import encode
from aftertune.models.identity import resolve
from aftertune.models.loading import load_tokenizer, load_weights
from aftertune.models.proof import PROBES
from aftertune.models.training_rows import IGNORED, declared_stops, training_rows
from aftertune.records import Conversation
from aftertune.tuning.lora_modules import lora_modules

MOST = 320
"""Tokens of a row; longer ones are left out."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, beside the rows."""

    learning_rate: float = 1e-3
    """Peak; a cosine to a tenth of it."""
    epochs: int = 2
    batch_size: int = 16
    rank: int = 16
    alpha: int = 32
    first_layer: int = 0
    """The lowest layer that is tuned; nothing has to be passed back through those below."""
    dropout: float = 0.0
    """Of the LoRA's inputs."""
    divergence: bool = True
    """Whether the base's first answers are held by KL(base || tuned); by cross-entropy otherwise."""
    warmup: float = 0.06
    """Share of the steps."""
    opening: float = 0.0
    """Weight of the loss at an answer's first token beside the mean over all: there a model decides whether it refuses,
    and of twenty tokens that are averaged it is the twentieth part."""
    harmless_weight: float = 1.0
    """Of the mean loss of a harmless row, against 1 for a refusal."""
    questions: int = 0
    """Of the ordinary requests that the base writes itself (`questions.py`), how many are tuned on as well."""
    seed: int = 0


@dataclass
class _Example:
    ids: list[int]
    labels: list[int]
    """Shifted: the next token where it carries loss."""
    divergence: bool
    """Whether the loss is the divergence from the base."""
    weight: float
    hidden: Any = None
    """The base's last hidden states where there is loss, for the divergence."""


@dataclass(frozen=True)
class Trained:
    """What the training took."""

    rows: int
    tokens: int
    """In one epoch, padding left out."""
    steps: int
    losses: tuple[tuple[float, ...], ...]
    """Per epoch: mean cross-entropy (nats a token), mean divergence from the base on its first answers."""
    parameters: int
    seconds: float
    """CPU time."""


def train(
    base: Path,
    rows: Sequence[tuple[Conversation, Part]],
    recipe: Recipe,
    out: Path,
    *,
    on_step: Callable[[int, int, float], None] = lambda *_: None,
) -> Trained:
    """Tune a LoRA on conversations and save it in half precision; answers of the base are not trained to their ends."""
    import torch
    from peft import LoraConfig, get_peft_model

    began = time.process_time()
    torch.manual_seed(recipe.seed)
    reference = resolve(base)
    tokenizer = load_tokenizer(reference)
    model = load_weights(reference, torch.bfloat16, "cpu")
    model.set_attn_implementation("eager")
    suffixes = sorted({name.rpartition(".")[2] for name in lora_modules(model, encode(tokenizer, PROBES[0]))})
    layers = list(range(min(recipe.first_layer, model.config.num_hidden_layers - 1), model.config.num_hidden_layers))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lora = LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            lora_dropout=recipe.dropout,
            target_modules=suffixes,
            layers_to_transform=layers,
            task_type="CAUSAL_LM",
        )
        tuned: Any = get_peft_model(model, lora, autocast_adapter_dtype=False)
    stops = declared_stops(reference.path)
    examples = [
        example
        for conversation, part in rows
        if (example := _example(tokenizer, conversation, part, stops, recipe)) is not None
    ]
    held = [weight for weight in tuned.parameters() if weight.requires_grad]
    weights = [weight.detach().float().clone() for weight in held]  # the optimizer's, of which the model has bfloat16
    loop = _Loop(model, _shared(examples), recipe.opening)
    first = [example for example in examples if example.divergence]
    for batch in _batches(first, recipe.batch_size, random.Random(0)):  # an untrained LoRA: this is the base
        loop.remember(batch)
    tuned.train()
    optimizer = torch.optim.AdamW(weights, lr=recipe.learning_rate, weight_decay=0.0, fused=True)
    steps = recipe.epochs * math.ceil(len(examples) / recipe.batch_size)
    step, losses = 0, []
    for epoch in range(recipe.epochs):
        loop.sums = [[0.0, 0], [0.0, 0]]
        for batch in _batches(examples, recipe.batch_size, random.Random(f"{recipe.seed} {epoch}")):
            rate = _rate(step, steps, recipe.warmup)
            for group in optimizer.param_groups:
                group["lr"] = rate * recipe.learning_rate
            loss = loop.loss(batch)
            loss.backward()
            for weight, own in zip(weights, held, strict=True):
                weight.grad, own.grad = own.grad.float(), None
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            with torch.no_grad():
                for weight, own in zip(weights, held, strict=True):
                    own.copy_(weight)
            step += 1
            on_step(step, steps, float(loss.detach()))
        losses.append(tuple(round(total / max(1, count), 4) for total, count in loop.sums))
    for weight, own in zip(weights, held, strict=True):
        own.data = weight
    _save(tuned, Path(reference.name).name, out)  # without the folder that it lies in on this machine
    return Trained(
        rows=len(examples),
        tokens=sum(len(example.ids) for example in examples),
        steps=steps,
        losses=tuple(losses),
        parameters=sum(weight.numel() for weight in weights),
        seconds=round(time.process_time() - began, 1),
    )


def _example(
    tokenizer: Any, conversation: Conversation, part: Part, stops: frozenset[int], recipe: Recipe
) -> _Example | None:
    """Return a row's tokens and shifted labels; what ends an answer of the base, which is cut, is left out."""
    row = training_rows(tokenizer, conversation.messages, MOST, {}, stops)[0]
    if row.truncated:
        return None
    end = max(at for at, label in enumerate(row.labels) if label != IGNORED) + (part == "refusal")
    ids, labels = row.input_ids[:end], [*row.labels[1:end], IGNORED]
    if all(label == IGNORED for label in labels):
        return None
    weight = 1.0 if part == "refusal" else recipe.harmless_weight
    return _Example(ids, labels, recipe.divergence and part == "first", weight)


def _batches(examples: Sequence[_Example], size: int, rng: random.Random) -> list[list[_Example]]:
    """Return batches of similar lengths in random order."""
    order = list(examples)
    rng.shuffle(order)
    bucket = 8 * size
    order = [
        each
        for at in range(0, len(order), bucket)
        for each in sorted(order[at : at + bucket], key=lambda each: len(each.ids))
    ]
    batches = [order[at : at + size] for at in range(0, len(order), size)]
    rng.shuffle(batches)
    return batches


def _rate(step: int, steps: int, warmup: float) -> float:
    begin = max(1, round(warmup * steps))
    if step < begin:
        return (step + 1) / begin
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - begin) / max(1, steps - begin)))


class _Loop:
    """Passes of the model over batches, and their losses."""

    def __init__(self, model: Any, beginning: list[int], opening: float = 0.0) -> None:
        self._opening = opening
        self._beginning = beginning
        self._decoder = model.get_decoder()
        self._head = model.get_output_embeddings()
        self.sums: list[list[float]] = [[0.0, 0], [0.0, 0]]

    def remember(self, batch: Sequence[_Example]) -> None:
        """Keep the base's last hidden states where the divergence is taken."""
        import torch

        with torch.no_grad():
            hidden, labels = self._hidden(batch)
            for at, example in enumerate(batch):
                if example.divergence:
                    example.hidden = hidden[at][labels[at] != IGNORED].clone()

    def loss(self, batch: Sequence[_Example]) -> Any:
        """Return the weighted mean over the rows of their mean losses (nats a token), first tokens as in `Recipe`."""
        import torch
        from torch.nn.functional import cross_entropy, log_softmax

        hidden, labels = self._hidden(batch)
        total: Any = 0.0
        logits = self._head(hidden[labels != IGNORED])
        at = 0
        for row, example in enumerate(batch):
            count = int((labels[row] != IGNORED).sum())
            own, targets = logits[at : at + count].float(), labels[row][labels[row] != IGNORED]
            at += count
            if example.divergence:
                with torch.no_grad():
                    base = log_softmax(self._head(example.hidden).float(), dim=-1)
                each = (base.exp() * (base - log_softmax(own, dim=-1))).sum(-1)
            else:
                each = cross_entropy(own, targets, reduction="none")
            self.sums[example.divergence][0] += float(each.detach().mean())
            self.sums[example.divergence][1] += 1
            total = total + example.weight * (each.mean() + self._opening * each[0])
        return total / len(batch)

    def _hidden(self, batch: Sequence[_Example]) -> tuple[Any, Any]:
        """Return a batch's last hidden states and labels after what all rows begin with, which is read once."""
        import torch

        shared = len(self._beginning)
        longest = max(len(example.ids) for example in batch) - shared
        ids = torch.zeros((len(batch), longest), dtype=torch.long)
        mask = torch.zeros((len(batch), shared + longest), dtype=torch.long)
        labels = torch.full((len(batch), longest), IGNORED)
        for row, example in enumerate(batch):
            n = len(example.ids)
            ids[row, : n - shared], mask[row, :n] = torch.tensor(example.ids[shared:]), 1
            labels[row, : n - shared] = torch.tensor(example.labels[shared:])
        if not shared:
            return self._decoder(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state, labels
        begun = self._decoder(input_ids=torch.tensor([self._beginning]), use_cache=True).past_key_values
        begun.batch_repeat_interleave(len(batch))
        out = self._decoder(input_ids=ids, attention_mask=mask, past_key_values=begun, use_cache=True)
        return out.last_hidden_state, labels


def _shared(examples: Sequence[_Example]) -> list[int]:
    """Return the tokens that all rows begin with, such as a template's own system prompt; none of them is trained."""
    shortest = min((example.ids for example in examples), key=len)
    count = 0
    while all(
        count + 1 < len(each.ids) and each.ids[count] == shortest[count] and each.labels[count] == IGNORED
        for each in examples
    ):
        count += 1
    return shortest[:count]


def _save(tuned: Any, base: str, out: Path) -> None:
    """Write the adapter in half precision."""
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    config = tuned.peft_config["default"]
    config.target_modules = sorted(config.target_modules)
    config.base_model_name_or_path = base
    config.inference_mode = True
    config.save_pretrained(out)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tensors = get_peft_model_state_dict(tuned)
    half = {key: value.detach().to(torch.float16).contiguous() for key, value in tensors.items()}
    save_file(half, out / "adapter_model.safetensors", metadata={"format": "pt"})
