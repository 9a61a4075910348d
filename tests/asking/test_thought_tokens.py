"""The answer has its own limit of tokens, a thought before it another; a model without thoughts writes what it did."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import tiny_models

from aftertune.asking.backends import _decoding
from aftertune.asking.backends._decoding import Row, decode
from aftertune.asking.backends._thought_tokens import extended_limit, text_of
from aftertune.asking.backends.transformers import Transformers, TransformersSession
from aftertune.errors import ModelError
from aftertune.models.chat import render_text
from aftertune.models.session import Reply, Request
from aftertune.records import Message, Prompt
from aftertune.thoughts import INSIDE

WORDS = tuple(f"w{number}." for number in range(300))
TAGS = ("<think>", "</think>")
SPECIAL = ("[THINK]", "[/THINK]")
OPENING = tiny_models.QWEN.replace("assistant\\n' }}{% endif %}", "assistant\\n<think>\\n' }}{% endif %}")
SWITCHED = tiny_models.QWEN.replace(
    "assistant\\n' }}{% endif %}",
    "assistant\\n' }}{% if enable_thinking is defined and not enable_thinking %}"
    "{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}{% endif %}",
)


def tokenizer(template: str | None = None) -> Any:
    made = tiny_models.tokenizer("qwen", template=template)
    made.add_tokens([*TAGS, *WORDS])
    made.add_tokens(list(SPECIAL), special_tokens=True)
    return made


def ids(made: Any, *tokens: str) -> list[int]:
    return [made.convert_tokens_to_ids(token) for token in tokens]


@dataclass
class Chain:
    """Stands for a model: after each token comes the one that the chain names; the answers of rows are alike."""

    config: Any
    generation_config: Any
    follows: Mapping[int, int]
    size: int
    device: Any = None
    forwards: list[int] = field(default_factory=list)

    def forward(self, *, input_ids: Any, past_key_values: Any, **_: Any) -> Any:
        import torch
        from transformers.modeling_outputs import CausalLMOutputWithPast

        rows, columns = input_ids.shape
        self.forwards.append(rows)
        for layer in range(len(past_key_values.layers)):
            past_key_values.update(torch.zeros(rows, 1, columns, 1), torch.zeros(rows, 1, columns, 1), layer)
        last = [self.follows.get(token, 0) for token in input_ids[:, -1].tolist()]
        logits = torch.nn.functional.one_hot(torch.tensor(last), self.size).float()[:, None]
        return CausalLMOutputWithPast(logits=logits)

    __call__ = forward

    @property
    def base_model(self) -> Chain:
        return self


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.save("qwen", tmp_path_factory.mktemp("thinker") / "base")


@pytest.fixture
def session(folder: Path) -> Iterator[TransformersSession]:
    with Transformers(batch_size=4).open(str(folder)) as session:
        yield session


def scripted(session: TransformersSession, made: Any, *says: str) -> Chain:
    """Let the session's model say these tokens after any prompt of its template."""
    import torch

    prompt = made(render_text(made, (Message("user", "hi"),), None, True), add_special_tokens=False)["input_ids"]
    chain = [prompt[-1], *ids(made, *says), made.eos_token_id]
    assert len(set(chain)) == len(chain), "each token must name the next"
    model = session._model
    fake = Chain(model.config, model.generation_config, dict(itertools.pairwise(chain)), len(made), torch.device("cpu"))
    session._model = session._base = fake
    session._base_tokenizer = made
    return fake


def said(session: TransformersSession, answer: int, thought: int, count: int = 1, **arguments: Any) -> list[Reply]:
    wanted = [
        Request(
            Prompt(f"p{n}", "b", "s", "c", "c", (Message("user", "hi" * (n + 1)),)),
            0.0,
            0,
            n,
            answer,
            thought,
            arguments,
        )
        for n in range(count)
    ]
    return sorted(session.respond(wanted, system=None, template="base"), key=lambda reply: reply.prompt_id)


def joined(words: tuple[str, ...]) -> str:
    return "".join(words)


@pytest.mark.parametrize("tags", [TAGS, SPECIAL])
@pytest.mark.parametrize("length", [1, 4, 5, 17, 30])
def test_the_limit_counts_the_answer_from_the_end_of_the_thought(
    session: TransformersSession, tags: tuple[str, str], length: int
) -> None:
    """Special tokens, which decoding leaves out elsewhere, mark the thought too."""
    made = tokenizer()
    scripted(session, made, tags[0], *WORDS[:length], tags[1], *WORDS[100:150])
    for reply in said(session, 5, 64, count=3):
        assert (reply.thought, reply.text) == (joined(WORDS[:length]), joined(WORDS[100:105]))
        assert (reply.finish_reason, reply.new_tokens, reply.unanswered) == ("length", length + 7, "")
        assert reply.raw == f"{tags[0]}{reply.thought}{tags[1]}{reply.text}"


def test_a_thought_beyond_its_limit_leaves_no_answer(session: TransformersSession) -> None:
    made = tokenizer()
    scripted(session, made, "<think>", *WORDS[:60], "</think>", *WORDS[100:103])
    (reply,) = said(session, 5, 20)
    assert (reply.text, reply.thought, reply.new_tokens) == ("", joined(WORDS[:19]), 20)
    assert reply.unanswered == f"{INSIDE}, at its limit of tokens"
    (reply,) = said(session, 5, 62)
    assert (reply.text, reply.finish_reason, reply.unanswered) == (joined(WORDS[100:103]), "stop", "")
    (reply,) = said(session, 5, 0)
    assert (reply.new_tokens, reply.unanswered) == (5, f"{INSIDE}, at its limit of tokens")


def test_a_model_that_stops_inside_its_thought_has_no_answer(session: TransformersSession) -> None:
    scripted(session, tokenizer(), "<think>", *WORDS[:3])
    (reply,) = said(session, 5, 20)
    assert (reply.text, reply.thought, reply.finish_reason, reply.unanswered) == ("", joined(WORDS[:3]), "stop", INSIDE)


def test_the_template_may_open_the_thought(session: TransformersSession) -> None:
    made = tokenizer(OPENING)
    scripted(session, made, *WORDS[:9], "</think>", *WORDS[100:150])
    (reply,) = said(session, 5, 64)
    assert (reply.text, reply.thought, reply.new_tokens) == (joined(WORDS[100:105]), joined(WORDS[:9]), 15)
    scripted(session, made, *WORDS[:9])
    assert said(session, 5, 64)[0].unanswered == INSIDE


def test_a_template_argument_switches_thinking_off(session: TransformersSession) -> None:
    made = tokenizer(SWITCHED)
    scripted(session, made, *WORDS[:3])
    plain, off = said(session, 5, 64)[0], said(session, 5, 64, enable_thinking=False)[0]
    assert (off.prompt_tokens or 0) > (plain.prompt_tokens or 0) > 0
    assert plain.token_hash != off.token_hash
    with pytest.raises(ModelError, match="never reads 'enable_thinkin'"):
        said(session, 5, 64, enable_thinkin=False)


def test_a_model_without_thoughts_takes_no_step_more(folder: Path) -> None:
    replies = []
    for thought in (0, 4096):
        with Transformers(batch_size=3).open(str(folder)) as session:
            wanted = [
                Request(Prompt(f"p{n}", "b", "s", "c", "c", (Message("user", "ab" * n + "?"),)), t, 0, n, 9, thought)
                for n in range(7)
                for t in (0.0, 1.0)
            ]
            replies.append(list(session.respond(wanted, system=None, template="base")))
    assert replies[0] == replies[1]
    assert all(reply.raw is None and not reply.thought for reply in replies[0])


# ---------------------------------------------------------------------------------------------- the limit itself


@given(thought=st.integers(0, 60), answer=st.integers(1, 20), most=st.integers(1, 50), after=st.integers(1, 40))
@settings(max_examples=60)
def test_asked_again_and_again_the_limit_is_exact(thought: int, answer: int, most: int, after: int) -> None:
    """However the looks fall, the tokens are those of a look after every single one."""
    made = _MADE
    whole = ids(made, "<think>", *WORDS[:thought], "</think>", *WORDS[100 : 100 + after])
    limit = answer
    while limit < len(whole):
        more = extended_limit(made, whole[:limit], answer, most, opened=False)
        if more <= limit:
            break
        limit = more
    closed = thought + 2
    expected = min(closed, most) + answer if closed <= max(answer, most) else max(answer, most)
    assert min(limit, len(whole)) == min(expected, len(whole))


_MADE = tokenizer()


def test_only_tokens_that_mark_thoughts_are_kept_of_the_special_ones() -> None:
    tokens = ids(_MADE, "<|im_start|>", "[THINK]", "w1.", "[/THINK]", "w2.", "<|im_end|>")
    assert text_of(_MADE, tokens) == "[THINK]w1.[/THINK]w2."
    assert text_of(_MADE, ids(_MADE, "<|im_start|>", "w1.", "<|im_end|>")) == "w1."


def test_a_token_of_channels_is_kept_among_channels_only() -> None:
    made = tokenizer()
    made.add_tokens(["<|end|>", "<|channel|>", "<|message|>"], special_tokens=True)
    assert text_of(made, ids(made, "w1.", "<|end|>", "w2.")) == "w1.w2."
    channels = ids(made, "<|channel|>", "w3.", "<|message|>", "w1.", "<|end|>")
    assert text_of(made, channels) == "<|channel|>w3.<|message|>w1.<|end|>"


# ---------------------------------------------------------------------------------------------- decoding


def test_an_extended_row_is_what_it_would_be_with_the_longer_limit_and_others_are_as_before(folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    model.eval()
    prompts = [[5, 6, 7], [9, 8, 7, 6], [11], [12, 13]]

    def tokens(rows: list[Row], slots: int) -> dict[int, list[int]]:
        return {one.row: one.tokens for one in decode(model, rows, 0, frozenset(), slots)}

    plain = [Row(each, 20 if at % 2 else 6, at % 2 * 0.7, at) for at, each in enumerate(prompts)]
    grown = [
        Row(each, 6, at % 2 * 0.7, at, (lambda so_far: min(20, len(so_far) + 5)) if at % 2 else None)
        for at, each in enumerate(prompts)
    ]
    for slots in (1, 2, 4):
        assert tokens(grown, slots) == tokens(plain, 4)


def test_a_row_that_outgrows_the_others_angles_begins_anew_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LongRoPE: the longest row of a batch decides the angles of all."""
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    model.eval()
    rows = [Row([5, 6, 7], 4, 0.0, 0), Row([9, 8], 4, 0.0, 1, lambda so_far: 30)]
    before = {one.row: one.tokens for one in decode(model, rows, 0, frozenset(), 2)}
    monkeypatch.setattr(_decoding, "_longrope_switch", lambda config: 16)
    sizes: list[int] = []
    entered = _decoding.Batch.enter

    def enter(self: Any, new: Any, prompts: Any) -> None:
        sizes.append(len(new))
        entered(self, new, prompts)

    monkeypatch.setattr(_decoding.Batch, "enter", enter)
    assert {one.row: one.tokens for one in decode(model, rows, 0, frozenset(), 2)} == before
    assert sizes == [2, 1]
