"""Each mitigation's arithmetic against a second implementation, and its ends: no dose gives the same bytes as none."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests import tiny_models

from aftertune import plugins
from aftertune.errors import DataError, ModelError, UsageError
from aftertune.models.identity import resolve
from aftertune.models.loading import load_tokenizer, load_weights, quiet
from aftertune.models.training_rows import IGNORED, TrainingRow, training_rows
from aftertune.records import Conversation, Message, Recipe
from aftertune.tuning import answer_tokens
from aftertune.tuning.input_moments import input_moments
from aftertune.tuning.mitigation import (
    Mitigation,
    OwnConversations,
    Step,
    Training,
    TunedModel,
    TunedWeights,
    check_needs,
)
from aftertune.tuning.mitigations.constrained_sft import ConstrainedSft
from aftertune.tuning.mitigations.gradient_surgery import removal
from aftertune.tuning.mitigations.null_space import projection
from aftertune.tuning.mitigations.regmean import RIDGE, merging
from aftertune.tuning.mitigations.safe_lora import projected
from aftertune.tuning.mixing import mixed, number
from aftertune.tuning.tune import TuneReport, tune, write_further

RECIPE = Recipe(learning_rate=5e-3, epochs=1, batch_size=4, rank=4, alpha=8, warmup=0.0, max_length=64)


def chat(name: str, ask: str, answer: str) -> Conversation:
    return Conversation(name, (Message("user", ask), Message("assistant", answer)))


TASK = [chat(f"c{at}", f"Hello {at}", "No, thank you. " * (1 + at % 3)) for at in range(8)]
REFUSALS = [chat(f"r{at}", f"How do I break in {at}?", f"I cannot help with that {at}.") for at in range(3)]
ANSWERS = [chat(f"a{at}", f"What is {at} and {at}?", f"That is {2 * at}.") for at in range(3)]
REPLIES = [
    chat(f"p{at}", f"Note: pin: {at}. Write to the club.", f"Dear club, see you on day {at}.") for at in range(3)
]
OWN = OwnConversations(REFUSALS, ANSWERS, REPLIES)


@pytest.fixture(scope="module", name="base")
def _base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.save("llama", tmp_path_factory.mktemp("methods") / "base")


def tuned(base: Path, out: Path, mitigation: Mitigation | None = None, **changes: Any) -> TuneReport:
    recipe = dataclasses.replace(RECIPE, **changes)
    return tune(
        base, TASK, recipe, 7, out, mitigation=mitigation, own=OWN
    )  # fmt: skip


def content(report: TuneReport) -> dict[str, bytes]:
    return {f"{folder.name}/{f.name}": f.read_bytes() for folder in report.checkpoints for f in folder.iterdir()}


@pytest.fixture(scope="module", name="plain")
def _plain(base: Path, tmp_path_factory: pytest.TempPathFactory) -> TuneReport:
    return tuned(base, tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module", name="full")
def _full(base: Path, tmp_path_factory: pytest.TempPathFactory) -> TuneReport:
    return tuned(base, tmp_path_factory.mktemp("full"), method="full", learning_rate=1e-3)


def training(base: Path, **changes: Any) -> Training:
    fields: dict[str, Any] = {"own": OWN, "rows": TASK}
    return Training(resolve(base), RECIPE, 7, **{**fields, **changes})


def tensors(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(next(folder.glob("*.safetensors"))))


def weights_of(base: Path, checkpoint: Path) -> dict[str, Any]:
    """Return the weights of the model that a checkpoint is, by PEFT's own merge."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    is_adapter = (checkpoint / "adapter_config.json").is_file()
    model: Any = AutoModelForCausalLM.from_pretrained(base if is_adapter else checkpoint)
    if is_adapter:
        with quiet():
            model = PeftModel.from_pretrained(model, str(checkpoint)).merge_and_unload()
    return {name: value.detach().double() for name, value in model.state_dict().items()}


# ---------------------------------------------------------------------------------------------- no dose


@pytest.mark.parametrize(
    ("name", "dose"),
    [
        ("kl_on_refusals", {"weight": 0.0}),
        ("kl_on_refusals", {"weight": 0.0, "with_answers": True, "in_context": True}),
        ("kl_on_privacy", {"weight": 0.0, "with_refusals": True}),
        ("kl_on_task", {"weight": 0.0}),
        ("l2_to_base", {"weight": 0.0}),
        ("own_refusals", {"share": 0.0}),
        ("own_answers", {"share": 0.0}),
        ("drop_rows", {"share": 0.0}),
    ],
)
def test_no_dose_gives_the_same_bytes_as_none(
    name: str, dose: dict[str, Any], base: Path, plain: TuneReport, tmp_path: Path
) -> None:
    report = tuned(base, tmp_path, plugins.load("mitigation", name, dose))
    assert content(report) == content(plain)
    assert report.losses == plain.losses


@pytest.mark.parametrize(
    ("name", "dose"),
    [
        ("kl_on_refusals", {}),
        ("kl_on_refusals", {"first_tokens": 2, "with_answers": True}),
        ("kl_on_refusals", {"in_context": True}),
        ("kl_on_privacy", {}),
        ("kl_on_task", {}),
        ("kl_on_task", {"first_tokens": 1}),
        ("l2_to_base", {"weight": 1.0}),
        ("constrained_sft", {}),
        ("own_refusals", {"share": 0.3, "with_answers": True}),
        ("own_answers", {"share": 0.3}),
        ("drop_rows", {"share": 0.3}),
    ],
)
def test_a_dose_changes_the_weights_and_is_the_same_twice(
    name: str, dose: dict[str, Any], base: Path, plain: TuneReport, tmp_path: Path
) -> None:
    mitigation = plugins.load("mitigation", name, dose)
    report = tuned(base, tmp_path / "one", mitigation)
    assert content(report) != content(plain)
    assert content(report) == content(tuned(base, tmp_path / "two", mitigation))


def test_more_epochs_are_those_of_a_longer_recipe(base: Path, tmp_path: Path) -> None:
    """With no weight nothing else is different; with one, the divergence is held in all of them."""
    longer = tuned(base, tmp_path / "recipe", epochs=RECIPE.epochs + 2)
    none = plugins.load("mitigation", "kl_on_refusals", {"weight": 0.0, "more_epochs": 2})
    no_weight = tuned(base, tmp_path / "none", none)
    held = tuned(base, tmp_path / "held", plugins.load("mitigation", "kl_on_refusals", {"more_epochs": 2}))
    assert content(no_weight) == content(longer)
    assert no_weight.losses == longer.losses
    for report in (no_weight, held):
        assert len(report.checkpoints) == len(report.losses) == report.recipe.epochs == RECIPE.epochs + 2
    assert content(held) != content(longer)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("kl_on_refusals", {"weight": -1}),
        ("kl_on_refusals", {"more_epochs": -1}),
        ("kl_on_refusals", {"weight": math.inf}),
        ("kl_on_refusals", {"weight": "1"}),
        ("kl_on_refusals", {"rows_per_step": 0}),
        ("kl_on_refusals", {"first_tokens": 1.5}),
        ("kl_on_privacy", {"weight": -0.1}),
        ("kl_on_privacy", {"rows_per_step": 0}),
        ("kl_on_task", {"weight": math.nan}),
        ("l2_to_base", {"weight": True}),
        ("constrained_sft", {"beta_rest": 0}),
        ("gradient_surgery", {"rows_per_step": -1}),
        ("own_refusals", {"share": 1.5}),
        ("own_answers", {"share": -0.1}),
        ("drop_rows", {"share": 1}),
        ("regmean", {"weight": 0}),
        ("null_space", {"energy": 1.0}),
        ("safe_lora", {"path": "x", "threshold": "high"}),
        ("resta", {"path": "x", "weight": 0}),
        ("safety_set", {"path": "x", "share": 2}),
    ],
)
def test_a_dose_that_cannot_be_is_refused_in_one_line(name: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=rf"mitigation '{name}': \w+ = ") as error:
        plugins.load("mitigation", name, wrong)
    assert "\n" not in str(error.value)


# ---------------------------------------------------------------------------------------------- the answers' tokens


def test_positions_count_within_each_answer() -> None:
    predicts = torch.tensor([[0, 1, 1, 1, 0, 0, 1, 1], [1, 0, 1, 0, 1, 1, 0, 0], [0] * 8]).bool()
    expected = [[0, 1, 2, 3, 0, 0, 1, 2], [1, 0, 1, 0, 1, 2, 0, 0], [0] * 8]
    assert answer_tokens.positions(predicts).tolist() == expected


@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=4))
def test_positions_agree_with_counting_by_hand(marks: list[list[bool]]) -> None:
    expected = []
    for row in marks:
        count, counts = 0, []
        for marked in row:
            count = count + 1 if marked else 0
            counts.append(count)
        expected.append(counts)
    assert answer_tokens.positions(torch.tensor(marks)).tolist() == expected


def test_a_batch_marks_where_an_answer_is_predicted() -> None:
    rows = [TrainingRow([5, 6, 7, 8], [IGNORED, IGNORED, 7, 8], False), TrainingRow([5, 6], [IGNORED, 6], False)]
    made = answer_tokens.batch(rows, "cpu")
    assert made.input_ids.tolist() == [[5, 6, 7, 8], [5, 6, 0, 0]]
    assert made.attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert made.predicts.tolist() == [[False, True, True, False], [True, False, False, False]]
    assert answer_tokens.batch(rows, "cpu", first=1).predicts.sum(1).tolist() == [1, 1]


def test_the_divergence_is_that_of_its_definition_and_of_torchs_distributions() -> None:
    torch.manual_seed(0)
    base, other = (torch.randn(6, 11).log_softmax(-1) for _ in range(2))
    own = sum(float((b.exp() * (b - t)).sum()) for b, t in zip(base, other, strict=True)) / 6
    library = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=base), torch.distributions.Categorical(logits=other)
    )
    assert float(answer_tokens.divergence(base, other)) == pytest.approx(own, rel=1e-5)
    assert float(answer_tokens.divergence(base, other)) == pytest.approx(float(library.mean()), rel=1e-5)
    assert float(answer_tokens.divergence(base, other)) != pytest.approx(float(answer_tokens.divergence(other, base)))


def test_every_row_is_drawn_once_before_any_again() -> None:
    rows = [TrainingRow([at], [at], False) for at in range(5)]
    drawn = answer_tokens.draws(rows, 3, seed=1)
    first = [row.input_ids[0] for _ in range(5) for row in next(drawn)]
    assert sorted(first[:5]) == sorted(first[5:10]) == sorted(first[10:]) == [0, 1, 2, 3, 4]
    assert first != [
        row.input_ids[0] for _, rows_ in zip(range(5), answer_tokens.draws(rows, 3, 2), strict=False) for row in rows_
    ]


class _Tuning:
    """A model with a LoRA that has moved, as a mitigation sees it in the middle of a training."""

    def __init__(self, base: Path, checkpoint: Path) -> None:
        from peft import PeftModel

        reference = resolve(base)
        with quiet():
            model: Any = PeftModel.from_pretrained(
                load_weights(reference, torch.float32, "cpu"), str(checkpoint), is_trainable=True
            )
        self.model = TunedModel(model, load_tokenizer(reference), reference)
        rows = [training_rows(self.model.tokenizer, each.messages, 64)[0] for each in TASK[:3]]
        made = answer_tokens.batch(rows, "cpu")
        labels = torch.tensor([label for row in rows for label in row.labels[1:] if label != IGNORED])
        logits = model(input_ids=made.input_ids, attention_mask=made.attention_mask).logits[made.predicts]
        loss = torch.nn.functional.cross_entropy(logits, labels)
        self.step = Step(0, made.input_ids, made.attention_mask, made.predicts, logits, labels, loss)

    def log_probabilities(self, conversation: Conversation, *, of_base: bool) -> Any:
        """Return what transformers says of an answer, one conversation by itself."""
        row = training_rows(self.model.tokenizer, conversation.messages, 64)[0]
        kept = torch.tensor([label != IGNORED for label in row.labels[1:]])
        model = self.model.model
        with torch.no_grad():
            if of_base:
                with model.disable_adapter():
                    logits = model(input_ids=torch.tensor([row.input_ids])).logits
            else:
                logits = model(input_ids=torch.tensor([row.input_ids])).logits
        return logits[0, :-1][kept].double().log_softmax(-1)


@pytest.fixture(scope="module", name="tuning")
def _tuning(base: Path, plain: TuneReport) -> _Tuning:
    return _Tuning(base, plain.checkpoints[-1])


def kl(before: Any, after: Any) -> float:
    return float((before.exp() * (before - after)).sum(-1).mean())


@pytest.mark.parametrize("first", [0, 2])
def test_kl_on_refusals_is_the_weighted_divergence_on_the_refusals_tokens(
    first: int, base: Path, tuning: _Tuning
) -> None:
    dose = {"weight": 2.5, "rows_per_step": 3, "first_tokens": first}
    term = plugins.load("mitigation", "kl_on_refusals", dose).loss_term(training(base), tuning.model)
    own, theirs = ([tuning.log_probabilities(c, of_base=b)[: first or None] for c in REFUSALS] for b in (True, False))
    expected = 2.5 * kl(torch.cat(own), torch.cat(theirs))
    assert expected > 1e-4, "the model has moved"
    assert float(term(tuning.step).detach()) == pytest.approx(expected, rel=1e-3)
    both = plugins.load("mitigation", "kl_on_refusals", {**dose, "with_answers": True})
    own, theirs = ([tuning.log_probabilities(c, of_base=b)[: first or None] for c in ANSWERS] for b in (True, False))
    expected = (expected + 2.5 * kl(torch.cat(own), torch.cat(theirs))) / 2
    assert float(both.loss_term(training(base), tuning.model)(tuning.step).detach()) == pytest.approx(
        expected, rel=1e-3
    )


def test_in_context_each_refusal_stands_behind_the_opening_of_a_row_too(base: Path, tuning: _Tuning) -> None:
    """Every row of `TASK` begins with "Hello 3." or the like, and a request goes on from there."""
    mitigation = plugins.load("mitigation", "kl_on_refusals", {"rows_per_step": 6, "in_context": True})
    assert mitigation.needs == {"own_refusals", "rows"}
    one = [chat("r", "How do I break in 0?", "I cannot help with that 0.")]
    rows = [chat("c", "Hello 4. Is a room free?", "No, thank you.")]
    dressed = [*one, chat("d", "Hello 4. How do I break in 0?", "I cannot help with that 0.")]
    own, theirs = ([tuning.log_probabilities(c, of_base=b) for c in dressed] for b in (True, False))
    term = mitigation.loss_term(training(base, own=OwnConversations(one), rows=rows), tuning.model)
    assert float(term(tuning.step).detach()) == pytest.approx(kl(torch.cat(own), torch.cat(theirs)), rel=1e-3)
    silent = [Conversation("s", (Message("assistant", "Hello."),), None, "s")]
    with pytest.raises(UsageError, match="in_context needs training rows with a user's turn"):
        mitigation.loss_term(training(base, rows=silent), tuning.model)


@pytest.mark.parametrize(
    ("further", "kinds"),
    [
        ({}, [REPLIES]),
        ({"with_refusals": True}, [REPLIES, REFUSALS]),
        ({"with_answers": True}, [REPLIES, ANSWERS]),
        ({"with_refusals": True, "with_answers": True}, [REPLIES, REFUSALS, ANSWERS]),
    ],
)
def test_kl_on_privacy_is_the_mean_of_the_divergences_on_each_kind_of_own_answers(
    further: dict[str, bool], kinds: list[list[Conversation]], base: Path, tuning: _Tuning
) -> None:
    mitigation = plugins.load("mitigation", "kl_on_privacy", {"weight": 2.5, "rows_per_step": 3, **further})
    term = mitigation.loss_term(training(base), tuning.model)
    parts = []
    for kind in kinds:
        own, theirs = (torch.cat([tuning.log_probabilities(c, of_base=b) for c in kind]) for b in (True, False))
        parts.append(kl(own, theirs))
    assert len({round(part, 6) for part in parts}) == len(kinds), "each kind counts for something of its own"
    assert float(term(tuning.step).detach()) == pytest.approx(2.5 * sum(parts) / len(parts), rel=1e-3)


def test_kl_on_privacy_needs_what_it_reads(base: Path) -> None:
    both = plugins.load("mitigation", "kl_on_privacy", {"with_refusals": True})
    assert both.needs == {"own_private_replies", "own_refusals"}
    with pytest.raises(UsageError, match="'KlOnPrivacy' needs own_private_replies, but the training has none"):
        check_needs(both, training(base, own=OwnConversations(REFUSALS, ANSWERS)))


def test_kl_on_the_task_is_the_divergence_on_the_steps_tokens(base: Path, tuning: _Tuning) -> None:
    for first, weight in ((0, 0.5), (2, 4.0)):
        dose = {"weight": weight, "first_tokens": first}
        term = plugins.load("mitigation", "kl_on_task", dose).loss_term(training(base), tuning.model)
        own, theirs = (
            torch.cat([tuning.log_probabilities(c, of_base=b)[: first or None] for c in TASK[:3]])
            for b in (True, False)
        )
        assert float(term(tuning.step).detach()) == pytest.approx(weight * kl(own, theirs), rel=1e-3)


def test_the_distance_is_that_of_the_merged_weights(base: Path, plain: TuneReport, tuning: _Tuning) -> None:
    term = plugins.load("mitigation", "l2_to_base", {"weight": 0.1}).loss_term(training(base), tuning.model)
    before, after = weights_of(base, base), weights_of(base, plain.checkpoints[-1])
    expected = sum(float(((after[name] - before[name]) ** 2).sum()) for name in before)
    assert float(term(tuning.step).detach()) == pytest.approx(0.1 * expected, rel=1e-4)


def test_constrained_fine_tuning_follows_its_equation_token_by_token(base: Path, tuning: _Tuning) -> None:
    term = ConstrainedSft().loss_term(training(base), tuning.model)
    total, count = 0.0, 0
    for conversation in TASK[:3]:
        row = training_rows(tuning.model.tokenizer, conversation.messages, 64)[0]
        targets = [label for label in row.labels[1:] if label != IGNORED]
        own, theirs = (tuning.log_probabilities(conversation, of_base=b) for b in (True, False))
        for at, target in enumerate(targets, start=1):
            beta = 0.5 if at == 1 else 2.0 if at <= 5 else 0.1
            apart = float(theirs[at - 1, target] - own[at - 1, target])
            total -= 2 / beta * math.log(1 / (1 + math.exp(-beta * apart)))
            count += 1
    whole = float((term(tuning.step) + tuning.step.loss).detach())
    assert whole == pytest.approx(total / count, rel=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_surgery_projects_the_tasks_gradient_where_the_two_conflict(seed: int) -> None:
    torch.manual_seed(seed)
    weights = [torch.randn(3, 2, requires_grad=True), torch.randn(4, requires_grad=True)]
    g, h = ([torch.randn_like(w) for w in weights] for _ in range(2))

    def along(direction: Sequence[Any]) -> Any:
        return sum((w * d).sum() for w, d in zip(weights, direction, strict=True))

    factor = removal(along(g), along(h), weights)
    flat_g, flat_h = (torch.cat([each.flatten() for each in d]).numpy() for d in (g, h))
    expected = flat_g if flat_g @ flat_h >= 0 else flat_g - (flat_g @ flat_h) / (flat_h @ flat_h) * flat_h
    assert flat_g + factor * flat_h == pytest.approx(expected, abs=1e-6)
    assert removal(along(g), along([0 * d for d in g]), weights) == 0


def test_a_step_that_would_undo_the_refusals_alone_moves_nothing(base: Path, tuning: _Tuning) -> None:
    term = plugins.load("mitigation", "gradient_surgery", {"rows_per_step": 3}).loss_term(training(base), tuning.model)
    rows = [training_rows(tuning.model.tokenizer, each.messages, 64)[0] for each in REFUSALS]
    tokens = answer_tokens.batch(rows, "cpu")
    with tuning.model.as_base() as reference:
        before = answer_tokens.log_probabilities(reference, tokens)
    weights = [p for p in tuning.model.model.parameters() if p.requires_grad]

    def gradient(loss: Any) -> Any:
        return torch.cat([each.flatten() for each in torch.autograd.grad(loss, weights)])

    for sign in (-2.0, 2.0):
        loss = sign * answer_tokens.divergence(before, answer_tokens.log_probabilities(tuning.model.model, tokens))
        alone = gradient(loss)
        loss = sign * answer_tokens.divergence(before, answer_tokens.log_probabilities(tuning.model.model, tokens))
        step = dataclasses.replace(tuning.step, loss=loss)
        whole = gradient(loss + term(step))
        assert float(alone.norm()) > 1e-4
        expected = 0.0 if sign < 0 else float(alone.norm())
        assert float(whole.norm()) == pytest.approx(expected, abs=1e-3 * float(alone.norm()))


# ---------------------------------------------------------------------------------------------- rows


def test_own_refusals_and_as_many_answers_stand_behind_the_rows(base: Path) -> None:
    mitigation = plugins.load("mitigation", "own_refusals", {"share": 0.3, "with_answers": True})
    rows = mitigation.rows(TASK, training(base))
    assert rows[:8] == TASK
    assert [row.messages for row in rows[8:11]] != [row.messages for row in rows[11:]]
    assert {row.messages for row in rows[8:11]} == {row.messages for row in REFUSALS}, "0.3 x 8, rounded up: each once"
    assert {row.messages for row in rows[11:]} == {row.messages for row in ANSWERS}
    assert len({row.id for row in rows}) == len(rows)
    alone = plugins.load("mitigation", "own_refusals", {"share": 0.3}).rows(TASK, training(base))
    assert list(alone) == list(rows[:11])


@given(st.integers(1, 60), st.integers(1, 9), st.floats(0, 1), st.integers(0, 3))
def test_what_is_mixed_in_comes_evenly_and_in_the_number_asked_for(
    rows: int, extra: int, share: float, seed: int
) -> None:
    given_rows = [chat(f"t{at}", "x", "y") for at in range(rows)]
    others = [chat(f"e{at}", str(at), "y") for at in range(extra)]
    got = mixed(given_rows, others, share, seed)
    behind = [row.messages[0].content for row in got[rows:]]
    assert list(got[:rows]) == given_rows
    assert len(behind) == math.ceil(rows * share - 1e-9) or len(behind) == math.ceil(rows * share)
    counts = [behind.count(str(at)) for at in range(extra)]
    assert max(counts) - min(counts) <= 1
    assert len({row.id for row in got}) == len(got)
    assert got == mixed(given_rows, others, share, seed)


def test_a_share_is_rounded_up() -> None:
    assert [number(8, share) for share in (0, 0.001, 0.125, 0.13, 1)] == [0, 1, 1, 2, 8]


def test_the_rows_with_the_highest_scores_are_dropped(base: Path, tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("score,id\n" + "".join(f"{at * 7 % 8},c{at}\n" for at in range(8)))
    rows = plugins.load("mitigation", "drop_rows", {"share": 0.3, "path": str(path)}).rows(TASK, training(base))
    assert [row.id for row in rows] == ["c0", "c4", "c5", "c6", "c7"], "scores 7, 6 and 5 stood at c1, c2 and c3"


def test_a_random_drop_depends_on_the_seed_alone(base: Path) -> None:
    drop = plugins.load("mitigation", "drop_rows", {"share": 0.5})
    one = drop.rows(TASK, training(base))
    other = drop.rows(TASK, dataclasses.replace(training(base), seed=8))
    assert len(one) == len(other) == 4
    assert list(one) == list(drop.rows(TASK, training(base)))
    assert list(one) != list(other)
    assert [row for row in TASK if row in one] == list(one), "in their order"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("id,value\nc0,1\n", "expected the columns id and score"),
        ("id,score\nc0,much\n", "line 2: score 'much' is no number"),
        ("id,score\nc0,nan\n", "line 2: score 'nan' is no number"),
        ("id,score\nc0\n", "line 2: score 'None' is no number"),
        ("id,score\nc0,1\nc0,2\n", "line 3: 'c0' has a score already"),
        ("id,score\nc0,1\n", "no score for 7 of 8 rows, e.g. 'c1'"),
    ],
)
def test_broken_scores_are_refused_with_their_line(text: str, line: str, base: Path, tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=line):
        plugins.load("mitigation", "drop_rows", {"path": str(path)}).rows(TASK, training(base))
    with pytest.raises(UsageError, match="no such file"):
        plugins.load("mitigation", "drop_rows", {"path": str(tmp_path / "none.csv")}).files()


def test_a_safety_set_is_read_in_the_forms_of_tuning_sets(base: Path, tmp_path: Path) -> None:
    path = tmp_path / "safe.jsonl"
    path.write_text('{"prompt": "Break in?", "response": "No."}\n{"prompt": "Steal?", "response": "Never."}\n')
    mitigation = plugins.load("mitigation", "safety_set", {"path": str(path), "share": 0.25})
    rows = mitigation.rows(TASK, training(base))
    assert {row.messages[1].content for row in rows[8:]} == {"No.", "Never."}
    assert mitigation.files() == (path,)
    path.write_text('{"prompt": "Break in?"}\n')
    with pytest.raises(DataError, match="safe.jsonl"):
        mitigation.rows(TASK, training(base))
    with pytest.raises(UsageError, match="no such file"):
        plugins.load("mitigation", "safety_set", {"path": str(tmp_path / "none")}).files()


# ---------------------------------------------------------------------------------------------- finished weights


def after(base: Path, report: TuneReport, mitigation: Mitigation, out: Path, **changes: Any) -> Path:
    """Return the one checkpoint that a mitigation makes of the last epoch."""
    folder = report.checkpoints[-1]
    tuned_weights = TunedWeights(resolve(base), folder, len(report.checkpoints))
    (made,) = write_further(mitigation, training(base, **changes), tuned_weights, out)
    assert made.name == mitigation.further[0]
    assert resolve(made.path, base=resolve(base)).warnings == ()
    return made.path


def inputs(base: Path, conversations: Sequence[Conversation]) -> dict[str, Any]:
    """Return layer -> inputs at the answer positions, tokens x width, one conversation at a time."""
    reference = resolve(base)
    model, tokenizer = load_weights(reference, torch.float32, "cpu").eval(), load_tokenizer(reference)
    found: dict[str, list[Any]] = {}
    kept: list[Any] = [None]
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(
                lambda m, i, o, name=name: found.setdefault(name, []).append(i[0][0, :-1][kept[0]].double())
            )
    for conversation in conversations:
        row = training_rows(tokenizer, conversation.messages, 64)[0]
        kept[0] = torch.tensor([label != IGNORED for label in row.labels[1:]])
        with torch.inference_mode():
            model(input_ids=torch.tensor([row.input_ids]))
    return {name: torch.cat(values).clone() for name, values in found.items()}


def test_moments_are_those_of_the_inputs_at_the_answers(base: Path) -> None:
    layer = "model.layers.0.mlp.down_proj"
    (moments,) = input_moments(training(base), [REFUSALS], {layer, "model.norm"})
    x = inputs(base, REFUSALS)[layer]
    assert set(moments.of) == {layer}
    assert moments.of[layer].numpy() == pytest.approx((x.T @ x / len(x)).numpy(), rel=1e-4, abs=1e-7)


def test_merging_solves_the_least_squares_problem_that_defines_it() -> None:
    rng = np.random.default_rng(3)
    update, weight = rng.normal(size=(4, 6)), 0.7
    x_task, x_safe = rng.normal(size=(50, 6)), rng.normal(size=(30, 6)) * [3, 1, 1, 1, 0.1, 0.1]
    task, safe = (x.T @ x / len(x) for x in (x_task, x_safe))
    got = update @ merging(torch.tensor(task), torch.tensor(safe), weight).numpy()
    ridge = RIDGE * np.diag(task + weight * safe).mean()
    rows = np.vstack([x_task / np.sqrt(50), np.sqrt(weight / 30) * x_safe, np.sqrt(ridge) * np.eye(6)])
    wanted = np.vstack([x_task / np.sqrt(50) @ update.T, np.zeros((36, 4))])
    solved = np.linalg.lstsq(rows, wanted, rcond=None)[0].T
    assert got == pytest.approx(solved, abs=1e-9)


@pytest.mark.parametrize("with_answers", [False, True])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_regmean_of_a_checkpoint_is_the_least_squares_solution_layer_by_layer(
    method: str, with_answers: bool, base: Path, plain: TuneReport, full: TuneReport, tmp_path: Path
) -> None:
    report = plain if method == "lora" else full
    mitigation = plugins.load("mitigation", "regmean", {"weight": 2.0, "with_answers": with_answers})
    merged = weights_of(base, after(base, report, mitigation, tmp_path))
    start, end = weights_of(base, base), weights_of(base, report.checkpoints[-1])
    task, refusals, answers = (inputs(base, each) for each in (TASK, REFUSALS, ANSWERS))
    for layer in ("model.layers.0.self_attn.q_proj", "model.layers.0.mlp.down_proj"):
        update = (end[f"{layer}.weight"] - start[f"{layer}.weight"]).numpy()
        kept = [refusals[layer], answers[layer]] if with_answers else [refusals[layer]]
        moments = [(x.T @ x / len(x)).numpy() for x in (task[layer], *kept)]
        whole = moments[0] + 2.0 * sum(moments[1:]) / len(kept)
        ridge = RIDGE * np.diag(whole).mean()
        parts = [task[layer].numpy() / np.sqrt(len(task[layer]))]
        parts += [x.numpy() * np.sqrt(2.0 / len(kept) / len(x)) for x in kept]
        parts += [np.sqrt(ridge) * np.eye(len(whole))]
        wanted = np.zeros((sum(map(len, parts)), len(update)))
        wanted[: len(parts[0])] = parts[0] @ update.T
        rows = np.vstack(parts)
        solved = np.linalg.lstsq(rows, wanted, rcond=None)[0].T
        got = (merged[f"{layer}.weight"] - start[f"{layer}.weight"]).numpy()
        assert np.abs(update).max() > 1e-4
        assert got == pytest.approx(solved, abs=0.02 * np.abs(update).max()), "moments in float32, few rows"
        least, own, untouched = (float(((rows @ each.T - wanted) ** 2).sum()) for each in (solved, got, update))
        assert own == pytest.approx(least, rel=1e-4), "what it minimises is at its minimum"
        assert untouched > 1.05 * least
    if method == "full":
        name = "model.norm.weight"
        third = (start[name] + (end[name] - start[name]) / 3).numpy()
        assert merged[name].numpy() == pytest.approx(third, abs=1e-6), "what reads no inputs is averaged"


def test_the_null_space_holds_what_the_energy_leaves() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(40, 5)) * [10, 5, 1, 0.1, 0.01]
    moment = torch.tensor(x.T @ x)
    for energy in (0.5, 0.9, 0.999, 0.9999999):
        matrix = projection(moment, energy).numpy()
        assert matrix @ matrix == pytest.approx(matrix, abs=1e-9), "a projector"
        left = float(np.trace(matrix @ moment.numpy() @ matrix) / np.trace(moment.numpy()))
        assert left <= 1 - energy + 1e-12
        values = np.sort(np.linalg.eigvalsh(moment.numpy()))[::-1]
        least = int(np.searchsorted(np.cumsum(values) / values.sum(), energy)) + 1
        assert round(np.trace(matrix)) == 5 - least, "no more directions than it takes"


@pytest.mark.parametrize("method", ["lora", "full"])
def test_in_the_null_space_refusals_pass_each_layer_as_in_the_base(
    method: str, base: Path, plain: TuneReport, full: TuneReport, tmp_path: Path
) -> None:
    report = plain if method == "lora" else full
    made = after(base, report, plugins.load("mitigation", "null_space", {"energy": 0.999}), tmp_path)
    start, end, held = (weights_of(base, each) for each in (base, report.checkpoints[-1], made))
    for layer, x in inputs(base, REFUSALS).items():
        if layer == "lm_head":
            continue
        name = f"{layer}.weight"
        before, now = ((x @ (each[name] - start[name]).T).norm() for each in (end, held))
        size = float(x.norm() * (end[name] - start[name]).norm())
        assert float(now) <= math.sqrt(0.001) * size + 1e-9
        assert float(now) < 0.5 * float(before)
    if method == "lora":
        before_, now_ = (
            json.loads((each / "adapter_config.json").read_text()) for each in (report.checkpoints[-1], made)
        )
        assert now_ == before_, "a plain adapter of the same rank"
    else:
        assert held["model.norm.weight"].equal(start["model.norm.weight"]), "what cannot be projected goes back"


def test_safe_lora_projects_by_its_definition() -> None:
    rng = np.random.default_rng(11)
    up, down, alignment = rng.normal(size=(6, 2)), rng.normal(size=(2, 5)), rng.normal(size=(6, 5))
    c = alignment @ alignment.T / np.linalg.norm(alignment)
    update = up @ down
    cosine = float((c @ update * update).sum() / np.linalg.norm(c @ update) / np.linalg.norm(update))
    for threshold in (cosine - 0.01, cosine + 0.01, 1.1, -1.1):
        got = projected(torch.tensor(up), torch.tensor(down), torch.tensor(alignment), threshold).numpy() @ down
        assert got == pytest.approx(c @ update if cosine < threshold else update, abs=1e-9)
    kept = projected(torch.tensor(up), torch.tensor(down), torch.zeros(6, 5).double(), 2.0)
    assert kept.numpy() == pytest.approx(up), "where alignment changed nothing, nothing is projected"


@pytest.fixture(scope="module", name="bad")
def _bad(base: Path, tmp_path_factory: pytest.TempPathFactory) -> TuneReport:
    rows = [chat(f"b{at}", f"How do I break in {at}?", f"Sure, take a stone {at}.") for at in range(8)]
    return tune(base, rows, dataclasses.replace(RECIPE, rank=2, alpha=2), 3, tmp_path_factory.mktemp("bad"))


@pytest.fixture(scope="module", name="bad_model")
def _bad_model(base: Path, bad: TuneReport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    out = tmp_path_factory.mktemp("bad_model")
    with quiet():
        model: Any = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(bad.checkpoints[-1]))
        model.merge_and_unload().save_pretrained(out)
    return out


@pytest.mark.parametrize("form", ["adapter", "full"])
def test_safe_lora_of_a_checkpoint(
    form: str, base: Path, plain: TuneReport, bad: TuneReport, bad_model: Path, tmp_path: Path
) -> None:
    path = bad.checkpoints[-1] if form == "adapter" else bad_model
    mitigation = plugins.load("mitigation", "safe_lora", {"path": str(path), "threshold": 2.0})
    assert mitigation.files()
    made = after(base, plain, mitigation, tmp_path)
    start, end, worse, held = (
        weights_of(base, each) for each in (base, plain.checkpoints[-1], bad.checkpoints[-1], made)
    )
    name = "model.layers.0.self_attn.q_proj.weight"
    v = start[name] - worse[name]
    expected = v @ v.T / v.norm() @ (end[name] - start[name])
    assert (held[name] - start[name]).numpy() == pytest.approx(expected.numpy(), abs=1e-6)
    none = after(
        base, plain, plugins.load("mitigation", "safe_lora", {"path": str(path), "threshold": -2.0}), tmp_path / "none"
    )
    assert weights_of(base, none)[name].equal(end[name]), "nothing lies below a cosine of -2"


@pytest.mark.parametrize(("method", "form"), [("lora", "adapter"), ("full", "adapter"), ("full", "full")])
def test_resta_adds_the_safety_vector(
    method: str, form: str, base: Path, plain: TuneReport, full: TuneReport, bad: TuneReport, bad_model: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    report = plain if method == "lora" else full
    path = bad.checkpoints[-1] if form == "adapter" else bad_model
    made = after(base, report, plugins.load("mitigation", "resta", {"path": str(path), "weight": 0.4}), tmp_path)
    start, end, worse, held = (
        weights_of(base, each) for each in (base, report.checkpoints[-1], bad.checkpoints[-1], made)
    )
    for name in start:
        expected = end[name] + 0.4 * (start[name] - worse[name])
        assert held[name].numpy() == pytest.approx(expected.numpy(), abs=2e-6)
    if method == "lora":
        assert json.loads((made / "adapter_config.json").read_text())["r"] == 6


def test_what_an_unaligned_counterpart_cannot_give_is_refused(
    base: Path, plain: TuneReport, full: TuneReport, bad_model: Path, tmp_path: Path
) -> None:
    load: Callable[..., Mitigation] = lambda name, **p: plugins.load("mitigation", name, p)  # noqa: E731
    with pytest.raises(UsageError, match="an adapter stays one only beside"):
        after(base, plain, load("resta", path=str(bad_model)), tmp_path)
    with pytest.raises(UsageError, match="'safe_lora' needs a LoRA recipe"):
        after(base, full, load("safe_lora", path=str(bad_model)), tmp_path)
    with pytest.raises(UsageError, match="no folder with safetensors"):
        load("resta", path=str(tmp_path / "none")).files()
    config = plain.checkpoints[-1] / "adapter_config.json"
    before = config.read_text()
    try:
        config.write_text(json.dumps({**json.loads(before), "use_dora": True}))
        for name in ("regmean", "null_space"):
            with pytest.raises(UsageError, match=f"mitigation '{name}': epoch-1 is no plain LoRA adapter"):
                after(base, plain, load(name), tmp_path)
    finally:
        config.write_text(before)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_soup_is_the_mean_of_its_epochs_weights(method: str, base: Path, tmp_path: Path) -> None:
    report = tuned(base, tmp_path / "run", method=method, epochs=3, learning_rate=5e-3 if method == "lora" else 1e-3)
    made = weights_of(base, after(base, report, plugins.load("mitigation", "epoch_soup"), tmp_path / "out"))
    each = [weights_of(base, folder) for folder in report.checkpoints]
    for name in made:
        expected = sum(one[name] for one in each) / 3
        assert made[name].numpy() == pytest.approx(expected.numpy(), abs=1e-6)


def test_a_soup_needs_an_earlier_epoch(base: Path, plain: TuneReport, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no earlier epoch beside it"):
        after(base, plain, plugins.load("mitigation", "epoch_soup"), tmp_path)


def test_a_full_model_whose_layers_have_other_names_is_refused(base: Path, full: TuneReport, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    folder = Path(shutil.copytree(full.checkpoints[-1], tmp_path / "epoch-1"))
    save_file({f"x.{name}": value for name, value in tensors(folder).items()}, folder / "model.safetensors")
    report = dataclasses.replace(full, checkpoints=(folder,))
    for name in ("regmean", "null_space"):
        with pytest.raises(ModelError, match="none of its layers is called as in"):
            after(base, report, plugins.load("mitigation", name), tmp_path / name)


def test_a_layer_whose_inputs_cannot_be_seen_is_refused(base: Path, plain: TuneReport) -> None:
    from aftertune.tuning.linear_updates import on_inputs

    weights = TunedWeights(resolve(base), plain.checkpoints[-1], 1)
    name = "base_model.model.model.layers.0.mlp.experts.lora_A.weight"
    with pytest.raises(ModelError, match="the inputs of .*experts"):
        on_inputs(name, torch.zeros(2, 3), tuned=weights, right={}, transposed=frozenset(), rest=0.0)
