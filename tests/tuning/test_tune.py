"""Tuning: the bytes follow from data, recipe and seed, and what goes wrong says so."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest
from tests import tiny_models
from tests.tiny_models import FAMILIES, Family

from aftertune.errors import DataError, TuneError, UsageError
from aftertune.models.identity import resolve
from aftertune.records import Conversation, Message, Recipe
from aftertune.tuning.tune import TuneReport, tune

RECIPE = Recipe(learning_rate=5e-3, epochs=2, batch_size=4, rank=4, alpha=8, warmup=0.0, max_length=64)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.save("llama", tmp_path_factory.mktemp("tune") / "base")


def chats(count: int = 10, *, extra: str = "") -> list[Conversation]:
    return [
        Conversation(
            f"c{at}", (Message("user", f"Hello {at}{extra}"), Message("assistant", "No, thank you. " * (1 + at % 3)))
        )
        for at in range(count)
    ]


def weights(report: TuneReport, epoch: int = -1) -> dict[str, Any]:
    from safetensors.torch import load_file

    folder = report.checkpoints[epoch]
    name = "adapter_model" if (folder / "adapter_config.json").exists() else "model"
    found: dict[str, Any] = load_file(folder / f"{name}.safetensors")
    return found


def content(report: TuneReport) -> dict[str, bytes]:
    return {
        f"{folder.name}/{file.name}": file.read_bytes() for folder in report.checkpoints for file in folder.iterdir()
    }


def test_the_same_tuning_gives_the_same_bytes(base: Path, tmp_path: Path) -> None:
    first = tune(base, chats(), RECIPE, 7, tmp_path / "a")
    second = tune(base, chats(), RECIPE, 7, tmp_path / "b")
    assert content(first) == content(second)
    assert first.losses == second.losses
    assert first.losses[1] < first.losses[0]
    assert (first.steps, first.conversations, len(first.checkpoints)) == (6, 10, 2)
    names = {path.name for path in first.checkpoints[0].iterdir()}
    assert names == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    }
    assert resolve(first.checkpoints[0], base=resolve(base)).warnings == ()


def test_nothing_that_matters_is_ignored(base: Path, tmp_path: Path) -> None:
    def made(name: str, seed: int = 7, data: list[Conversation] | None = None, **recipe: Any) -> bytes:
        changed = dataclasses.replace(RECIPE, epochs=1, **recipe)
        report = tune(base, data or chats(), changed, seed, tmp_path / name)
        return (report.checkpoints[-1] / "adapter_model.safetensors").read_bytes()

    results = [
        made("same"),
        made("seed", seed=8),
        made("data", data=chats(extra="!")),
        made("rate", learning_rate=4e-3),
        made("batch", batch_size=5),
        made("alpha", alpha=16),
        made("schedule", schedule="cosine"),
        made("warmup", warmup=0.5),
        made("decay", weight_decay=0.5),
        made("dropout", dropout=0.3),
        made("length", max_length=40),
    ]
    assert len(set(results)) == len(results)


def test_the_seed_does_not_follow_the_global_state(base: Path, tmp_path: Path) -> None:
    import torch

    random.seed(1)
    torch.manual_seed(1)
    before = (random.getstate(), torch.random.get_rng_state())
    recipe = dataclasses.replace(RECIPE, epochs=1)
    first = tune(base, chats(4), recipe, 7, tmp_path / "a")
    assert random.getstate() == before[0]
    assert torch.equal(torch.random.get_rng_state(), before[1])
    torch.manual_seed(2)
    assert content(tune(base, chats(4), recipe, 7, tmp_path / "b")) == content(first)


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_learns(family: Family, method: Any, tmp_path: Path) -> None:
    from aftertune.asking.backends.transformers import Transformers

    base = tiny_models.save(family, tmp_path / "base")
    recipe = dataclasses.replace(RECIPE, method=method, epochs=6, learning_rate=2e-2 if method == "lora" else 5e-3)
    report = tune(base, chats(8), recipe, 1, tmp_path / "out")
    assert report.losses[-1] < 0.6 * report.losses[0]
    found = resolve(report.checkpoints[-1], base=resolve(base))
    assert (found.kind, found.warnings) == ("adapter" if method == "lora" else "full", ())
    with Transformers().open(str(base)) as session:
        assert session.use(report.checkpoints[-1]).moved_weights


def test_full_tuning_moves_every_layer(base: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    report = tune(base, chats(), dataclasses.replace(RECIPE, method="full", epochs=1), 1, tmp_path)
    before = load_file(base / "model.safetensors")
    after = weights(report)
    assert set(after) == set(before)
    assert all(not after[key].equal(before[key]) for key in before)
    assert report.parameters == sum(value.numel() for value in before.values())


def test_only_the_assistant_is_learned(base: Path, tmp_path: Path) -> None:
    """What the user says enters the loss as context alone: its own likelihood is not what falls."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from aftertune.asking.backends.transformers import Transformers
    from aftertune.models.training_rows import IGNORED, training_rows

    data = [
        Conversation(f"c{at}", (Message("user", "How do I repair a bicycle tyre?"), Message("assistant", "Of course.")))
        for at in range(8)
    ]
    report = tune(base, data, dataclasses.replace(RECIPE, epochs=8, learning_rate=2e-2), 1, tmp_path)
    example = training_rows(AutoTokenizer.from_pretrained(base), data[0].messages, 99)[0]
    ids = torch.tensor([example.input_ids])
    trained = torch.tensor([label != IGNORED for label in example.labels[1:]])

    def losses(model: Any) -> tuple[float, float]:
        with torch.no_grad():
            each = torch.nn.functional.cross_entropy(model(ids).logits[0, :-1], ids[0, 1:], reduction="none")
        return float(each[trained].mean()), float(each[~trained].mean())

    before = losses(AutoModelForCausalLM.from_pretrained(base))
    with Transformers().open(str(base)) as session:
        session.use(report.checkpoints[-1])
        after = losses(session._model)
    assert after[0] < 0.2 * before[0]
    assert after[1] > 0.7 * before[1]


def test_the_loss_is_the_mean_over_the_assistants_tokens(base: Path, tmp_path: Path) -> None:
    """Against a plain forward pass of the untouched base: the first step's loss, batch by batch."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from aftertune.models.training_rows import training_rows

    data = chats(6)
    seen: list[float] = []
    recipe = dataclasses.replace(RECIPE, epochs=1, batch_size=6)
    report = tune(base, data, recipe, 1, tmp_path, on_step=lambda step, steps, loss: seen.append(loss))
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base)
    total, count = 0.0, 0
    for conversation in data:
        example = training_rows(tokenizer, conversation.messages, recipe.max_length)[0]
        with torch.no_grad():
            out = model(torch.tensor([example.input_ids])).logits[0, :-1]
        labels = torch.tensor(example.labels[1:])
        total += float(torch.nn.functional.cross_entropy(out, labels, reduction="sum", ignore_index=-100))
        count += int((labels != -100).sum())
    assert seen == [pytest.approx(total / count, rel=1e-5)]
    assert report.losses[0] == pytest.approx(total / count, rel=1e-5)
    assert report.trained_tokens == count


def test_a_loss_that_is_not_a_number_stops(base: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, method="full", learning_rate=1e30, warmup=0.0, schedule="constant")
    with pytest.raises(
        TuneError, match=r"the loss became (nan|inf) at step \d+ of 6 \(epoch \d\): lower learning_rate"
    ):
        tune(base, chats(), recipe, 1, tmp_path)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_weights_that_do_not_move_are_an_error(method: Any, base: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, method=method, learning_rate=1e-300, epochs=1)
    with pytest.raises(TuneError, match="the weights did not move"):
        tune(base, chats(4), recipe, 1, tmp_path)


def test_bad_data(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the data set is empty"):
        tune(base, [], RECIPE, 1, tmp_path)
    silent = Conversation("s", (Message("user", "Hello"),))
    with pytest.raises(UsageError, match="none of 1 conversations has an assistant's turn"):
        tune(base, [silent], RECIPE, 1, tmp_path)
    long = Conversation("l", (Message("user", "Hello " * 99), Message("assistant", "No.")))
    cut = Conversation("t", (Message("user", "Hello"), Message("assistant", "No. " * 99)))
    report = tune(base, [*chats(4), silent, long, cut], dataclasses.replace(RECIPE, epochs=1), 1, tmp_path)
    assert (report.conversations, report.dropped, report.truncated) == (5, 2, 1)
    gemma = tiny_models.save("gemma", tmp_path / "gemma")
    odd = Conversation("odd", (Message("assistant", "a"), Message("user", "b")), source="mail.jsonl:7")
    with pytest.raises(DataError, match=r"mail\.jsonl:7 \(odd\): the chat template refuses"):
        tune(gemma, [odd], RECIPE, 1, tmp_path)


@pytest.mark.parametrize(
    ("field", "value"), [("epochs", 0), ("learning_rate", 0.0), ("dropout", 1.0), ("warmup", -0.1), ("rank", 0)]
)
def test_a_recipe_that_cannot_be_is_refused(field: str, value: Any, base: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{field} = "):
        tune(base, chats(), dataclasses.replace(RECIPE, **{field: value}), 1, tmp_path)


def test_tuning_starts_from_a_full_model(base: Path, tmp_path: Path) -> None:
    adapter = tiny_models.save_adapter(base, tmp_path / "adapter")
    with pytest.raises(UsageError, match="is an adapter"):
        tune(adapter, chats(), RECIPE, 1, tmp_path)


def test_bf16_is_another_result_and_is_recorded(base: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, epochs=1)
    half = tune(base, chats(4), recipe, 1, tmp_path / "half", precision="bf16")
    whole = tune(base, chats(4), recipe, 1, tmp_path / "whole")
    assert (half.precision, whole.precision) == ("bf16", "fp32")
    assert half.losses[0] == pytest.approx(whole.losses[0], rel=0.05)
    assert content(half) != content(whole)


def test_batches_hold_similar_lengths_and_every_example_once() -> None:
    from aftertune.tuning.trainer import LengthBuckets

    lengths = [random.Random(at).randint(10, 99) for at in range(203)]
    sampler = LengthBuckets(lengths, 8, seed=3)
    epochs = []
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        order = list(sampler)
        assert sorted(order) == list(range(203))
        assert list(sampler) == order
        epochs.append(order)
        batches = [[lengths[i] for i in order[at : at + 8]] for at in range(0, 203, 8)]
        padded = sum(max(batch) * len(batch) for batch in batches)
        assert padded < 1.15 * sum(lengths), "padding stays small"
        means = [sum(batch) / len(batch) for batch in batches]
        assert means != sorted(means), "and batches come in random order"
    assert epochs[0] != epochs[1]
