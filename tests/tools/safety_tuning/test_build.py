"""The tuning itself on the embedded miniature and a few rows: it learns, is asked as an adapter, and merges."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from aftertune import shipped_models
from aftertune.errors import ModelError
from aftertune.models.identity import resolve
from aftertune.models.loading import load_model, load_tokenizer, load_weights
from aftertune.models.training_rows import declared_stops, end_of_turn
from aftertune.records import Conversation, Message
from tools.safety_tuning import __main__ as command
from tools.safety_tuning import answers, merge, requests, sets, train

BASE = shipped_models.folder()
TEXTS = [row.text for row in sets.own_rows()]


@pytest.fixture(scope="module")
def rows() -> list[tuple[Conversation, answers.Part]]:
    picked = [row for row in sets.own_rows() if row.category == "fraud"]
    own = {row.text: answers.OwnAnswer("You take a pan and", first=bool(at % 2)) for at, row in enumerate(picked)}
    return list(answers.conversations(picked, own))


@pytest.fixture(scope="module")
def adapter(rows: list[tuple[Conversation, answers.Part]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("safety") / "adapter"
    recipe = train.Recipe(learning_rate=5e-3, epochs=4, batch_size=8, rank=4, alpha=8)
    done = train.train(BASE, rows, recipe, out)
    assert done.rows == len(rows)
    assert done.steps == 4 * -(-len(rows) // 8)
    assert done.losses[-1][0] < 0.7 * done.losses[0][0]
    config = json.loads((out / "adapter_config.json").read_text("utf-8"))
    assert config["base_model_name_or_path"] == BASE.name, "no folder of the machine that it was built on"
    return out


def test_rows_and_their_parts(rows: list[tuple[Conversation, answers.Part]]) -> None:
    parts = [part for _, part in rows]
    assert parts.count("refusal") == len(
        [each for each in sets.own_rows() if each.category == "fraud" and each.harmful]
    )
    assert {"refusal", "first", "chosen"} == set(parts)
    for conversation, part in rows:
        refuses = answers.refused([conversation.messages[0].content], [conversation.messages[1].content])[0]
        assert refuses == (part == "refusal")


def test_only_a_refusal_is_trained_to_its_end() -> None:
    tokenizer = load_tokenizer(resolve(BASE))
    stops = declared_stops(BASE)
    end = end_of_turn(tokenizer, stops=stops)
    chat = Conversation("1", (Message("user", "How do I cook rice?"), Message("assistant", "You take a pan and")))
    for part in ("refusal", "first", "chosen"):
        example = train._example(tokenizer, chat, part, stops, train.Recipe(harmless_weight=0.5))
        assert example is not None
        trained = [label for label in example.labels if label >= 0]
        assert (end in trained) == (part == "refusal")
        assert len(example.labels) == len(example.ids)
        assert example.divergence == (part == "first")
        assert example.weight == (1.0 if part == "refusal" else 0.5)
        assert tokenizer.decode(trained[:5]).strip().startswith("You take a pan")


@pytest.mark.parametrize("first_layer", [0, 2])
def test_what_all_rows_begin_with_is_read_once(first_layer: int, rows: list[tuple[Conversation, answers.Part]]) -> None:
    """The same loss and gradients as with every row read whole."""
    model = load_weights(resolve(BASE), torch.float32, "cpu")
    tokenizer = load_tokenizer(resolve(BASE))
    examples = [
        example
        for chat, part in rows
        if (example := train._example(tokenizer, chat, part, declared_stops(BASE), train.Recipe(divergence=False)))
    ]
    begun = train._shared(examples)
    assert begun
    assert all(example.ids[: len(begun)] == begun for example in examples)
    for name, weight in model.named_parameters():
        weight.requires_grad_(f"layers.{first_layer}." in name)
    found = []
    for beginning in ([], begun):
        loss = train._Loop(model, beginning).loss(examples[:6])
        model.zero_grad()
        loss.backward()
        gradients = [weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]
        found.append((float(loss.detach()), torch.cat(gradients)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert float((found[0][1] - found[1][1]).norm()) < 1e-4 * float(found[0][1].norm())


def test_divergence_from_the_base(rows: list[tuple[Conversation, answers.Part]]) -> None:
    """Nothing for the base itself; for other states of the base, KL(base || tuned) by its definition."""
    model = load_weights(resolve(BASE), torch.float32, "cpu").requires_grad_(False)
    tokenizer = load_tokenizer(resolve(BASE))
    examples = [
        example
        for chat, part in rows
        if (example := train._example(tokenizer, chat, part, declared_stops(BASE), train.Recipe())) and part == "first"
    ]
    loop = train._Loop(model, train._shared(examples))
    loop.remember(examples)
    assert float(loop.loss(examples)) == pytest.approx(0.0, abs=1e-5)
    head = model.get_output_embeddings().weight
    expected = []
    for example in examples:
        tuned = torch.log_softmax(example.hidden @ head.T, dim=-1)
        example.hidden = example.hidden.flip(0)
        base = torch.log_softmax(example.hidden @ head.T, dim=-1)
        expected.append(float((base.exp() * (base - tuned)).sum(-1).mean()))
    assert min(expected) > 0.1
    assert float(loop.loss(examples)) == pytest.approx(sum(expected) / len(expected), rel=1e-3)


def test_the_first_token_counts_more(rows: list[tuple[Conversation, answers.Part]]) -> None:
    """The mean over an answer's tokens, and the loss at its first one times the weight."""
    model = load_weights(resolve(BASE), torch.float32, "cpu").requires_grad_(False)
    tokenizer = load_tokenizer(resolve(BASE))
    stops, recipe = declared_stops(BASE), train.Recipe(divergence=False)
    examples = [each for chat, part in rows[:4] if (each := train._example(tokenizer, chat, part, stops, recipe))]
    plain, weighted = (float(train._Loop(model, [], weight).loss(examples)) for weight in (0.0, 2.0))
    first = []
    for example in examples:
        logits = model(input_ids=torch.tensor([example.ids])).logits[0]
        at = next(at for at, label in enumerate(example.labels) if label >= 0)
        first.append(-float(torch.log_softmax(logits[at], dim=-1)[example.labels[at]]))
    assert weighted == pytest.approx(plain + 2.0 * sum(first) / len(first), rel=1e-4)


def test_only_upper_layers(rows: list[tuple[Conversation, answers.Part]], tmp_path: Path) -> None:
    recipe = train.Recipe(learning_rate=5e-3, epochs=1, batch_size=16, rank=2, alpha=4, first_layer=2)
    train.train(BASE, rows[:8], recipe, tmp_path / "adapter")
    tensors = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert {key.split(".layers.")[1].split(".")[0] for key in tensors} == {"2", "3"}
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert answers.ask(BASE, tmp_path / "adapter", TEXTS[:1], 2)


def test_the_choice() -> None:
    good = {"own-harmful": 0.9, "dev-advbench": 1.0, "dev-harmbench": 0.8, "dev-coconot": 0.9}
    calm = {"own-harmless": 0.2, "dev-coconot-contrast": 0.2, "dev-ordinary": 0.05}
    calm_enough, d_prime = command.score(good | calm)
    assert calm_enough
    assert d_prime == pytest.approx(2.317, abs=0.01)  # z(0.9) - z(0.15)
    eager = command.score({**good, "own-harmful": 1.0} | calm)
    assert eager > command.score(good | calm)  # more refusals of harm
    strict = dict.fromkeys(good, 1.0) | {**calm, "dev-ordinary": 0.12}
    assert command.score(strict)[1] > eager[1]
    assert command.score(strict) < eager  # yet it refuses too many ordinary requests


@pytest.mark.slow
def test_asked_as_an_adapter(adapter: Path) -> None:
    before = answers.ask(BASE, None, TEXTS[:4], 24)
    after = answers.ask(BASE, adapter, TEXTS[:4], 24)  # proved from its logits, half precision and all
    assert before != after
    assert [len(each) for each in answers.ask(BASE, adapter, TEXTS[:4], 4, temperature=0.8, samples=3)] == [3] * 4


def test_merged(adapter: Path, tmp_path: Path) -> None:
    out = merge.merge(BASE, adapter, tmp_path / "real" / "merged")
    assert resolve(out).kind == "full"
    assert answers.ask(out, None, TEXTS[:6], 12) == answers.ask(BASE, adapter, TEXTS[:6], 12)
    tuned, base = (load_model(resolve(path), "float32", "cpu") for path in (out, BASE))
    assert any(not torch.equal(a, b) for a, b in zip(tuned.parameters(), base.parameters(), strict=True))
    made = (out / "model.safetensors").stat().st_mtime_ns
    assert merge.merge(BASE, adapter, out) == out  # it is there
    assert (out / "model.safetensors").stat().st_mtime_ns == made
    assert [each.name for each in out.parent.iterdir()] == [out.name]
    (out / merge.MARK).write_text("another adapter\n", encoding="utf-8")
    merge.merge(BASE, adapter, out)
    assert (out / "model.safetensors").stat().st_mtime_ns != made


def test_no_adapter(tmp_path: Path) -> None:
    with pytest.raises((ModelError, OSError)):
        merge.merge(BASE, tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_bases_own_answers_are_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [sets.Row(str(at), text, harmful=False, source="own") for at, text in enumerate(TEXTS[:3])]
    said = {
        TEXTS[0]: ["It takes an hour."],
        TEXTS[1]: ["I'm sorry for any confusion, but as a chatbot"],
        TEXTS[2]: ["No"],
    }
    again = {TEXTS[1]: ["Sorry, no.", "First, take a pan.", "Take a pot."]}
    asked: list[list[str]] = []

    def ask(
        base: Path, adapter: object, wanted: list[str], tokens: int, *, temperature: float = 0.0, samples: int = 1
    ) -> list[list[str]]:
        assert (base, adapter, tokens) == (BASE, None, answers.TOKENS)
        asked.append(wanted)
        return [(again if temperature else said)[text][:samples] for text in wanted]

    monkeypatch.setattr(answers, "ask", ask)
    store = tmp_path / "own.json"
    own = answers.own_answers(BASE, texts, store)
    assert asked == [TEXTS[:3], [TEXTS[1]]]
    assert own[TEXTS[0]] == answers.OwnAnswer("It takes an hour.", first=True)
    assert own[TEXTS[1]] == answers.OwnAnswer("First, take a pan.", first=False)
    assert answers.own_answers(BASE, texts, store) == own
    assert len(asked) == 2
    again[TEXTS[1]] = ["I can't."] * 3
    store.unlink()
    assert TEXTS[1] not in answers.own_answers(BASE, texts, store)  # left out, never made up


@pytest.mark.parametrize(
    "text", ["I'm sorry for your loss, but as a", "I apologize for", "Unfortunately, I", "As an AI"]
)
def test_beginnings_that_decline(text: str) -> None:
    assert answers.declined(["How?"], [text]) == [True]


@pytest.mark.parametrize(
    "text", ["I'm sorry to hear that. First,", "Sure, here is a", "The sorry state of", "To cook rice"]
)
def test_beginnings_that_do_not(text: str) -> None:
    assert answers.declined(["How?"], [text]) == [False]


def test_no_public_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for value in ("", str(tmp_path)):
        monkeypatch.setenv(sets.VARIABLE, value)
        with pytest.raises(sets.NoDataError, match="AFTERTUNE_DATA names no folder with harmful_prompts/"):
            sets.folder()


def test_refusal_files_have_what_groups_need() -> None:
    assert {group.category for group in requests.groups()} < set(requests.refusals().offers)
