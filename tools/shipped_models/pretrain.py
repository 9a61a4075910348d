"""Pretraining of a shipped base: a plain loop with a budget in tokens, so that a rebuild sees the same text."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any, cast

import torch
from tools.shipped_models.mixture import exchanges
from tools.shipped_models.tokenizer import ASSISTANT, END, PAD, SYSTEM, USER, messages, train_tokenizer
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from aftertune.generated_world.replies import Exchange
from aftertune.shipped_models.card import PassCost, Recipe

_LOG = logging.getLogger(__name__)
_CHUNK = 8_000
_WINDOW = 4_000
_IGNORED = -100
# Widths are rounded up: PyTorch's bf16 kernels keep a buffer for every shape they have met.
_WIDTH_STEP = 8
_MARKS = {"system": SYSTEM, "user": USER, "assistant": ASSISTANT}
TRAINING_FILE = "training.json"
UNFINISHED = "unfinished.pt"
"""What an interrupted build leaves in its folder, and continues from."""


@dataclass(frozen=True)
class Encoded:
    """Token ids of a dialogue and its labels (`-100` where there is no loss), of equal length."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True)
class TrainingRecord:
    """What `training.json` beside the weights says of their training."""

    recipe: Recipe
    recipe_sha256: str
    parameters: int
    tokenizer_sha256: str
    note: str
    torch: str
    threads: int
    passes: tuple[PassCost, ...]


def new_model(recipe: Recipe) -> LlamaForCausalLM:
    """A Llama model of the recipe's shape with random weights from its seed."""
    shape = recipe.shape
    torch.manual_seed(recipe.seed)
    config = LlamaConfig(  # type: ignore[call-arg]
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.mlp,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=shape.context,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=4,
        attn_implementation="eager",
    )
    return LlamaForCausalLM(config)


def token_id(tokenizer: PreTrainedTokenizerBase, mark: str) -> int:
    """Id of one special token."""
    return cast(int, tokenizer.convert_tokens_to_ids(mark))


def encode(batch: Sequence[Exchange], tokenizer: PreTrainedTokenizerBase, prompts: bool) -> list[Encoded]:
    """Encode exchanges as the chat template would; loss on assistant turns, and on the others if `prompts`."""
    marks = {role: token_id(tokenizer, mark) for role, mark in _MARKS.items()}
    end = token_id(tokenizer, END)
    chats = [messages(exchange) for exchange in batch]
    pieces = iter(tokenizer([turn["content"] for chat in chats for turn in chat])["input_ids"])
    encoded = []
    for chat in chats:
        ids: list[int] = []
        labels: list[int] = []
        for turn in chat:
            content = [*next(pieces), end]
            ids += [marks[turn["role"]], *content]
            wanted = prompts or turn["role"] == "assistant"
            labels += [_IGNORED, *(content if wanted else [_IGNORED] * len(content))]
        encoded.append(Encoded(tuple(ids), tuple(labels)))
    return encoded


def batches(encoded: Sequence[Encoded], batch_tokens: int, rng: random.Random) -> list[list[Encoded]]:
    """Batches of similar length with at most `batch_tokens` padded tokens each, in random order."""
    order = list(range(len(encoded)))
    rng.shuffle(order)
    groups: list[list[Encoded]] = []
    for start in range(0, len(order), _WINDOW):
        window = sorted((encoded[i] for i in order[start : start + _WINDOW]), key=lambda item: len(item.ids))
        current: list[Encoded] = []
        for item in window:
            if current and len(item.ids) * (len(current) + 1) > batch_tokens:
                groups.append(current)
                current = []
            current.append(item)
        if current:
            groups.append(current)
    rng.shuffle(groups)
    return groups


def supervised_loss(model: Any, batch: Sequence[Encoded], pad: int) -> torch.Tensor:
    """Mean cross-entropy over the labelled positions of a batch; the hidden states and logits are computed in bf16."""
    longest = max(len(item.ids) for item in batch)
    width = math.ceil(longest / _WIDTH_STEP) * _WIDTH_STEP
    ids = torch.tensor([[*item.ids, *[pad] * (width - len(item.ids))] for item in batch])
    labels = torch.tensor([[*item.labels, *[_IGNORED] * (width - len(item.ids))] for item in batch])[:, 1:]
    # Padding stands on the right, so causal attention alone keeps it out; and only labelled positions need logits.
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
        wanted = labels != _IGNORED
        logits = model.lm_head(hidden[wanted])
    return functional.cross_entropy(logits.float(), labels[wanted])


def _chunk(recipe: Recipe, index: int, chunk: int) -> list[Exchange]:
    seed = (recipe.seed * 1_000 + index) * 100_000 + chunk
    return list(exchanges(_CHUNK, seed, recipe.passes[index].stage))


def pass_exchanges(recipe: Recipe, index: int) -> Iterator[Exchange]:
    """The text of one pass: every chunk that its budget begins, at an average of at least 50 tokens an exchange."""
    for chunk in range(math.ceil(recipe.passes[index].tokens / (50 * _CHUNK))):
        yield from _chunk(recipe, index, chunk)


def _stream(recipe: Recipe, index: int, tokenizer: PreTrainedTokenizerBase) -> Iterator[list[Encoded]]:
    rng = random.Random(f"{recipe.seed}|{index}")
    for chunk in count():
        encoded = encode(_chunk(recipe, index, chunk), tokenizer, recipe.passes[index].prompts)
        yield from batches(encoded, recipe.batch_tokens, rng)


def train_pass(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, recipe: Recipe, index: int, log_every: int = 200
) -> PassCost:
    """Run one pass of the recipe on a model, in place: AdamW, warm-up, cosine, until the token budget is spent."""
    stage = recipe.passes[index]
    if stage.stage == "polish":
        with torch.no_grad():
            for weight in model.parameters():
                weight.copy_(weight.half())
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(
        weights, lr=stage.learning_rate, betas=(0.9, 0.98), weight_decay=recipe.weight_decay, fused=True
    )
    pad = token_id(tokenizer, PAD)
    started, tokens, losses = time.process_time(), 0, []
    model.train()
    for batch in _stream(recipe, index, tokenizer):
        progress = tokens / stage.tokens
        if progress >= 1:
            break
        cosine = recipe.floor + (1 - recipe.floor) * 0.5 * (1 + math.cos(math.pi * progress))
        rate = stage.learning_rate * min(1.0, progress / recipe.warmup + 0.01) * cosine
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = supervised_loss(model, batch, pad)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        tokens += sum(len(item.ids) for item in batch)
        losses.append(loss.item())
        if len(losses) % log_every == 0:
            _LOG.info(
                "%s %s: step %d, %.0f %% of the tokens, loss %.3f, %.0f tokens per CPU second",
                recipe.name,
                stage.stage,
                len(losses),
                100 * progress,
                sum(losses[-log_every:]) / log_every,
                tokens / (time.process_time() - started),
            )
    model.eval()  # type: ignore[no-untyped-call]
    last = losses[-50:]
    return PassCost(stage.stage, tokens, len(losses), time.process_time() - started, sum(last) / len(last))


def save(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    recipe: Recipe,
    costs: Sequence[PassCost],
    folder: Path,
    note: str = "",
) -> None:
    """Write a folder that `from_pretrained` loads: fp16 weights, tokenizer, configuration, training record.

    `note` says where the training departed from the recipe as written; the card shows it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    half = LlamaForCausalLM(model.config)
    half.load_state_dict(model.state_dict())
    half.half().save_pretrained(folder)  # type: ignore[no-untyped-call]
    tokenizer.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    # Stored in half precision for size, computed in single precision: half is slow and coarse on a CPU.
    config["dtype"] = "float32"
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    for path in folder.iterdir():
        path.chmod(0o644)
    record = TrainingRecord(
        recipe=recipe,
        recipe_sha256=recipe.sha256,
        parameters=sum(weight.numel() for weight in model.parameters()),
        tokenizer_sha256=hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest(),
        note=note,
        torch=str(torch.__version__),
        threads=torch.get_num_threads(),
        passes=tuple(costs),
    )
    (folder / TRAINING_FILE).write_text(json.dumps(asdict(record), indent=2) + "\n")


def _finished_passes(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, recipe: Recipe, folder: Path
) -> list[PassCost]:
    """Load what an interrupted build of the same recipe left behind, and nothing of another recipe's."""
    path = folder / UNFINISHED
    if not path.is_file():
        return []
    state = torch.load(path, weights_only=True)
    if state["recipe"] != recipe.sha256 or state["tokenizer"] != _fingerprint(tokenizer):
        return []
    model.load_state_dict(state["weights"])
    return [PassCost(**cost) for cost in state["costs"]]


def _fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    return hashlib.sha256(json.dumps(tokenizer.get_vocab(), sort_keys=True).encode()).hexdigest()


def pretrain(recipe: Recipe, folder: Path) -> list[PassCost]:
    """Train a base from nothing and save it; one thread, so that sums are added in the same order every time.

    After every pass the weights are saved in `folder`, so that a build that was ended continues at the pass it was
    in: every pass has an optimiser and a text order of its own, so the weights are the same as without the break.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        tokenizer = train_tokenizer(recipe.shape.vocabulary, recipe.seed, recipe.tokenizer_texts)
        model = new_model(recipe)
        costs = _finished_passes(model, tokenizer, recipe, folder)
        for index in range(len(costs), len(recipe.passes)):
            costs.append(train_pass(model, tokenizer, recipe, index))
            state = {
                "recipe": recipe.sha256,
                "tokenizer": _fingerprint(tokenizer),
                "weights": model.state_dict(),
                "costs": [asdict(cost) for cost in costs],
            }
            torch.save(state, folder / f"{UNFINISHED}.new")
            (folder / f"{UNFINISHED}.new").replace(folder / UNFINISHED)
        save(model, tokenizer, recipe, costs, folder)
        (folder / UNFINISHED).unlink()
    finally:
        torch.set_num_threads(threads)
    return costs
