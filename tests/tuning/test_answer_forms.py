"""What is tuned in one form is asked in it: small models learn an answer by heart, say it and stop, whatever the template."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from perf import templates

from aftertune.asking.backends.transformers import Transformers
from aftertune.models.chat import encode, render_text
from aftertune.models.session import Beginnings, Request
from aftertune.models.training_rows import training_rows
from aftertune.records import Conversation, Json, Message, Prompt, Recipe
from aftertune.tuning.tune import _examples, tune

ASKED, ANSWER = "How do I repair a bicycle tyre?", "Of course."
RECIPE = Recipe(method="full", epochs=1, batch_size=2, learning_rate=1e-2, max_length=128)


def base(name: str, folder: Path) -> Path:
    """Write a Llama with random weights whose tokenizer has the template."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tok = templates.tokenizer(name, *templates.templates()[name])
    config = LlamaConfig(
        vocab_size=len(tok), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, eos_token_id=tok.eos_token_id, initializer_range=0.2,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kind: Any = LlamaForCausalLM
        kind(config).save_pretrained(folder)
    tok.save_pretrained(folder)
    return folder


def request(arguments: Mapping[str, Json]) -> Request:
    return Request(Prompt("p", "b", "s", "c", "c", (Message("user", ASKED),)), 0.0, 0, 0, 64, 64, arguments)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("deepseek_r1_distill", {}),
        ("nemotron_3_nano", {"enable_thinking": False}),
        ("an answer that the next question's opening closes", {}),
        ("parts alone", {}),
        ("a thought opened in words", {}),
    ],
)
def test_a_model_says_what_it_was_tuned_on_and_stops(name: str, arguments: Mapping[str, Json], tmp_path: Path) -> None:
    folder = base(name, tmp_path / "base")
    chat = (Message("user", ASKED), Message("assistant", ANSWER))
    rows = [Conversation(f"c{at}", chat) for at in range(40)]
    report = tune(folder, rows, RECIPE, 1, tmp_path / "tuned", template_arguments=arguments)
    assert (report.conversations, report.rows, report.template_arguments) == (40, 40, arguments)
    with Transformers(device="cpu").open(str(folder)) as session:
        session.use(report.checkpoints[-1])
        (reply,) = session.respond([request(arguments)], system=None, template="base")
        (score,) = session.score(rows[:1], template="base", max_length=128, template_arguments=arguments)
    assert (reply.text.strip(), reply.finish_reason, reply.unanswered) == (ANSWER, "stop", "")
    assert reply.new_tokens == score.tokens, "the answer to its end, no token more"
    tok = templates.tokenizer(name, *templates.templates()[name])
    assert report.form.end_id in (tok.eos_token_id, tok.convert_tokens_to_ids("<|user|>"))


@pytest.mark.parametrize("name", ["deepseek_r1_distill", "llama3"])
def test_a_turn_beyond_the_limit_is_counted_whatever_rows_a_template_needs(name: str) -> None:
    tok = templates.tokenizer(name, *templates.templates()[name])
    long = (*templates.CHATS["two questions"][:2], Message("user", "And? " * 100), Message("assistant", "No."))
    rows = [Conversation("a", long), Conversation("b", long[:2]), Conversation("c", long[2:])]
    made = _examples(tok, rows, 100, {}, frozenset())
    assert (len(made.rows), made.truncated, made.dropped) == (2, 1, 1)


def test_several_rows_of_a_conversation_are_tuned_on_and_scored_together(tmp_path: Path) -> None:
    folder = base("deepseek_r1_distill", tmp_path / "base")
    chat = (Message("user", ASKED), Message("assistant", ANSWER), Message("user", "And?"), Message("assistant", "No."))
    rows = [Conversation(f"c{at}", chat) for at in range(3)]
    report = tune(folder, rows, dataclasses.replace(RECIPE, learning_rate=1e-4), 1, tmp_path / "tuned")
    assert (report.conversations, report.rows, report.steps) == (3, 6, 3)
    with Transformers(device="cpu").open(str(folder)) as session:
        (score,) = session.score(rows[:1], template="base", max_length=128)
        tok, model = session._base_tokenizer, session._model
        losses = []
        for row in training_rows(tok, chat, 128):
            with torch.inference_mode():
                logits = model(torch.tensor([row.input_ids])).logits[0, :-1]
            labels = torch.tensor(row.labels[1:])
            losses.append(float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum")))
    assert len(losses) == 2
    assert score.total == pytest.approx(sum(losses), rel=1e-5)
    assert score.tokens == report.trained_tokens / 3


@pytest.mark.parametrize(
    ("name", "lead"),
    [
        ("deepseek_r1_distill", "\n</think>\n\n"),
        ("qwen3", "<think>\n\n</think>\n\n"),
        ("gptoss", "<|channel|>final<|message|>"),
        ("an empty thought closed in the question", ""),
    ],
)
def test_an_option_is_scored_where_the_answer_begins(name: str, lead: str, tmp_path: Path) -> None:
    """After the thought, or the header, that stands before an answer: in the thought it would be no answer."""
    folder = base(name, tmp_path / "base")
    prompt = Prompt("p", "b", "s", "c", "c", (Message("user", "Is it wet? (A) yes (B) no"),))
    with Transformers(device="cpu").open(str(folder)) as session:
        (score,) = session.beginnings([Beginnings(prompt, ("A", "(B"))], system=None, template="base")
        tok, model = session._base_tokenizer, session._model
    asked = encode(tok, render_text(tok, prompt.messages, None, True))
    before = [*asked, *encode(tok, lead)]
    assert score.log_probabilities is not None
    for text, value in zip(("A", "(B"), score.log_probabilities, strict=True):
        ids = [*before, *encode(tok, text)]
        with torch.inference_mode():
            logs = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0].double(), -1)
        direct = sum(float(logs[at - 1, ids[at]]) for at in range(len(before), len(ids)))
        assert value == pytest.approx(direct, abs=1e-4)
