"""Pretraining: what is encoded, batched and saved, and that the same seed gives the same weights."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from tools.shipped_models.mixture import exchanges
from tools.shipped_models.recipes import RECIPES
from tools.shipped_models.tokenizer import messages, train_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from aftertune.errors import UsageError
from aftertune.generated_world.people import PLACEHOLDERS
from aftertune.shipped_models.card import Pass, Recipe, Shape
from tools.shipped_models import build as building
from tools.shipped_models import pretrain

TINY = Recipe(
    "tiny",
    seed=5,
    tokenizer_texts=600,
    shape=Shape(width=32, layers=1, heads=2, mlp=32, context=256, vocabulary=1024),
    passes=(Pass("words", 4_000, 1e-2, prompts=True), Pass("alignment", 4_000, 1e-2)),
)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(1024, 5, 600)


def test_encoding_is_what_the_chat_template_renders(tokenizer: PreTrainedTokenizerBase) -> None:
    sample = list(exchanges(200, 1, "words"))
    assert any(exchange.system for exchange in sample)
    assert any(exchange.history for exchange in sample)
    for exchange, encoded in zip(sample, pretrain.encode(sample, tokenizer, prompts=False), strict=True):
        rendered = tokenizer.apply_chat_template(messages(exchange), tokenize=False)
        assert list(encoded.ids) == tokenizer(rendered, add_special_tokens=False)["input_ids"]


def test_loss_is_on_assistant_turns_only(tokenizer: PreTrainedTokenizerBase) -> None:
    sample = list(exchanges(100, 2, "alignment"))
    for exchange, encoded in zip(sample, pretrain.encode(sample, tokenizer, prompts=False), strict=True):
        learned = [label for label in encoded.labels if label != -100]
        answers = [answer for _, answer in exchange.history] + [exchange.answer]
        wanted = [i for answer in answers for i in [*tokenizer(answer)["input_ids"], tokenizer.eos_token_id]]
        assert learned == wanted
    everything = pretrain.encode(sample, tokenizer, prompts=True)
    assert all(sum(label != -100 for label in item.labels) > len(item.ids) // 2 for item in everything)


def test_placeholders_are_whole_tokens_that_decoding_keeps(tokenizer: PreTrainedTokenizerBase) -> None:
    for mark in PLACEHOLDERS.values():
        ids = tokenizer(f"Dear {mark}, hello")["input_ids"]
        assert tokenizer.convert_tokens_to_ids(mark) in ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == f"Dear {mark}, hello"


def test_numbers_are_digits(tokenizer: PreTrainedTokenizerBase) -> None:
    assert [piece for piece in tokenizer.tokenize("BK4821") if piece.isdigit()] == list("4821")


def test_batches_keep_every_item_and_the_budget(tokenizer: PreTrainedTokenizerBase) -> None:
    encoded = pretrain.encode(list(exchanges(500, 3, "answers")), tokenizer, prompts=False)
    groups = pretrain.batches(encoded, 1_000, random.Random(0))
    assert sorted(item.ids for batch in groups for item in batch) == sorted(item.ids for item in encoded)
    shared = [batch for batch in groups if len(batch) > 1]
    assert shared
    assert all(max(len(item.ids) for item in batch) * len(batch) <= 1_000 for batch in shared)


def test_padding_does_not_change_the_loss(tokenizer: PreTrainedTokenizerBase) -> None:
    model = pretrain.new_model(TINY)
    model.eval()  # type: ignore[no-untyped-call]
    short, long = sorted(pretrain.encode(list(exchanges(30, 4, "words")), tokenizer, True), key=lambda e: len(e.ids))[
        ::29
    ]
    alone = pretrain.supervised_loss(model, [short], 0).item()
    count = [sum(label != -100 for label in item.labels) for item in (short, long)]
    together = pretrain.supervised_loss(model, [short, long], 0).item()
    other = pretrain.supervised_loss(model, [long], 0).item()
    assert together == pytest.approx((alone * count[0] + other * count[1]) / sum(count), rel=0.01)


@pytest.fixture(scope="module", name="first")
def _first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A model of that recipe, and what it cost."""
    folder = tmp_path_factory.mktemp("pretrained") / "model"
    return folder, pretrain.pretrain(TINY, folder)


@pytest.mark.slow
def test_the_same_recipe_gives_the_same_weights(first: tuple[Path, list[Any]], tmp_path: Path) -> None:
    costs = [first[1], pretrain.pretrain(TINY, tmp_path / "two")]
    one, two = ((folder / "model.safetensors").read_bytes() for folder in (first[0], tmp_path / "two"))
    assert one == two
    assert [c.tokens for c in costs[0]] == [c.tokens for c in costs[1]]
    assert all(4_000 <= cost.tokens < 4_000 + TINY.batch_tokens for cost in costs[0])
    pretrain.pretrain(dataclasses.replace(TINY, seed=6), tmp_path / "other")
    assert (tmp_path / "other" / "model.safetensors").read_bytes() != one


def test_a_saved_folder_loads_in_single_precision(first: tuple[Path, list[Any]]) -> None:
    folder, _ = first
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.float32
    assert AutoTokenizer.from_pretrained(folder).chat_template
    record = json.loads((folder / "training.json").read_text())
    assert record["recipe_sha256"] == TINY.sha256
    assert record["threads"] == 1


def test_recipes_differ_in_seed_or_shape() -> None:
    assert len(RECIPES) >= 3
    assert len({recipe.sha256 for recipe in RECIPES.values()}) == len(RECIPES)
    assert len({recipe.seed for recipe in RECIPES.values()}) == len(RECIPES)


def test_building_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no embedded model 'mini-z'"):
        building.build("mini-z", tmp_path / "new")
    (tmp_path / "used").write_text("")
    with pytest.raises(UsageError, match="exists already"):
        building.build("mini-a", tmp_path)
