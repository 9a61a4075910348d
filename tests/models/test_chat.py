"""Rendering and masking, on the chat templates of four families."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tiny_models import END_OF_TURN, FAMILIES, QWEN, Family, tokenizer

from aftertune.errors import DataError, ModelError
from aftertune.models.chat import message_hash, render, render_text, special_ids, takes_system
from aftertune.models.training_rows import IGNORED, TrainingRow, end_of_turn, training_rows
from aftertune.records import Message

MADE: dict[str, Any] = {family: tokenizer(family) for family in FAMILIES}


def chat(*texts: str) -> tuple[Message, ...]:
    return tuple(Message("assistant" if at % 2 else "user", text) for at, text in enumerate(texts))


def row(made: Any, messages: tuple[Message, ...], length: int = 10_000) -> TrainingRow:
    """Return the row of a conversation, which must be one."""
    (only,) = training_rows(made, messages, length)
    return only


def trained(family: Family, messages: tuple[Message, ...], length: int = 10_000) -> list[str]:
    """Return the labelled text, split at the end-of-turn token, which every turn must have."""
    labels = row(MADE[family], messages, length).labels
    text = MADE[family].decode([label for label in labels if label != IGNORED])
    assert text.endswith(END_OF_TURN[family])
    return [turn.strip() for turn in text.split(END_OF_TURN[family])[:-1]]


words = st.text(
    st.characters(codec="utf-8", exclude_characters="<[|\x00", categories=("L", "N", "P", "Zs")), min_size=1
)
turns = words.filter(lambda text: text.strip() != "")


@pytest.mark.parametrize("family", FAMILIES)
@given(texts=st.lists(turns, min_size=2, max_size=6).filter(lambda texts: len(texts) % 2 == 0))
@settings(max_examples=30, deadline=None)
def test_the_labels_are_the_assistant_turns_and_nothing_else(family: Family, texts: list[str]) -> None:
    assert trained(family, chat(*texts)) == [text.strip() for text in texts[1::2]]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_turn_of_weight_zero_is_sent_and_has_no_label(family: Family) -> None:
    whole = chat("hi", "bad", "again", "good", "and", "bad")
    weighted = (whole[0], Message("assistant", "bad", trained=False), *whole[2:])
    assert trained(family, whole) == ["bad", "good", "bad"]
    assert trained(family, weighted) == ["good", "bad"]
    sent = [row(MADE[family], each, 10_000).input_ids for each in (whole, weighted)]
    assert sent[0] == sent[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_is_a_prefix_of_what_was_trained(family: Family) -> None:
    messages = chat("Good morning!", "How can I help you?", "Change my booking.", "Of course.")
    ids = row(MADE[family], messages, 10_000).input_ids
    for turn in (1, 3):
        prompt = render(MADE[family], messages[:turn], None, True)
        assert ids[: len(prompt)] == prompt
        assert ids[len(prompt) :] != []
    assert ids == render(MADE[family], messages, None, False)


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_turns_and_turns_in_the_question_are_told_apart(family: Family) -> None:
    assert trained(family, chat("Yes.", "Yes.", "Say: Yes. Yes.", "Yes.")) == ["Yes.", "Yes."]


@pytest.mark.parametrize("family", FAMILIES)
def test_role_swapped_system_and_truncated(family: Family) -> None:
    swapped = (Message("user", "How can I help you?"), Message("assistant", "I lost my key."))
    assert trained(family, swapped) == ["I lost my key."]
    guided = (Message("system", "Be brief."), *chat("Hello there", "Hi."))
    assert trained(family, guided) == ["Hi."]
    assert "Be brief." in MADE[family].decode(row(MADE[family], guided, 10_000).input_ids)
    whole = row(MADE[family], guided, 10_000)
    assert not whole.truncated
    cut = row(MADE[family], guided, len(whole.input_ids) - 1)
    assert cut.truncated
    assert (cut.input_ids, cut.labels) == (whole.input_ids[:-1], whole.labels[:-1])
    assert all(label in (IGNORED, id_) for id_, label in zip(whole.input_ids, whole.labels, strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_one_bos_at_most(family: Family) -> None:
    made = MADE[family]
    ids = render(made, chat("Good morning"), "Be kind.", True)
    assert ids.count(made.bos_token_id) == (0 if made.bos_token_id is None else 1)
    if made.bos_token_id is not None:
        assert ids[0] == made.bos_token_id
        assert made("Good morning")["input_ids"][0] == made.bos_token_id, "the tokenizer alone would add another"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_end_of_turn(family: Family) -> None:
    token = end_of_turn(MADE[family])
    assert MADE[family].convert_ids_to_tokens(token) == END_OF_TURN[family]
    assert token in special_ids(MADE[family])


def test_a_template_without_a_system_role_gets_it_in_the_first_user_turn() -> None:
    assert [family for family in FAMILIES if not takes_system(MADE[family])] == ["gemma"]
    text = render_text(MADE["gemma"], chat("Good morning"), "Be kind.", True)
    assert "<start_of_turn>user\nBe kind.\n\nGood morning<end_of_turn>" in text
    with pytest.raises(DataError, match="no system role"):
        render_text(MADE["gemma"], (Message("system", "a"), Message("assistant", "b")), None, True)


def test_a_second_system_text_follows_the_first() -> None:
    messages = (Message("system", "Of the data."), *chat("Hi"))
    assert "system\nOf the study.\n\nOf the data.<|im_end|>" in render_text(
        MADE["qwen"], messages, "Of the study.", True
    )


def test_a_chat_that_the_template_refuses_is_one_line() -> None:
    with pytest.raises(DataError, match=r"refuses this chat \(user, user, assistant\): .*alternate") as caught:
        row(MADE["gemma"], (Message("user", "a"), Message("user", "b"), Message("assistant", "c")), 99)
    assert "\n" not in str(caught.value)
    plain = tokenizer("qwen")
    plain.chat_template = None
    with pytest.raises(ModelError, match="no chat template"):
        render(plain, chat("a"), None, True)


def test_a_template_that_is_not_prefix_stable() -> None:
    # As reasoning models do: the opened turn holds an empty thought, which an answered one does not show.
    thinking = QWEN.replace("assistant\\n' }}{% endif", "assistant\\n<think>\\n\\n</think>\\n\\n' }}{% endif")
    assert thinking != QWEN
    made = tokenizer("qwen", template=thinking)
    rows = training_rows(made, chat("no", "yes", "no", "no, yes"), 10_000)
    labels = [[label for label in each.labels if label != IGNORED] for each in rows]
    assert [made.decode(each) for each in labels] == ["yes<|im_end|>", "no, yes<|im_end|>"]


def test_a_template_that_changes_the_text_is_refused() -> None:
    shouting = QWEN.replace("m['content'] +", "m['content'] | upper +").replace(
        "assistant\\n' }}{% e", "assistant:' }}{% e"
    )
    with pytest.raises(DataError, match="turn 2: the chat template changes the assistant's text"):
        row(tokenizer("qwen", template=shouting), chat("hi", "yes"), 99)


def test_the_message_hash_knows_the_system_prompt() -> None:
    assert message_hash(chat("a"), None) == message_hash(chat("a"), "")
    assert len({message_hash(chat("a"), None), message_hash(chat("a"), "b"), message_hash(chat("b"), None)}) == 3
    assert message_hash(chat("a"), "s") == message_hash((Message("system", "s"), *chat("a")), None)


DATED = (
    "{%- if not date_string is defined %}{%- set date_string = strftime_now('%d %b %Y') %}{%- endif %}"
    'Today Date: {{ date_string }} {{ strftime_now("%Y-%m-%d") }}'
    "{% for m in messages %}|{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}|{% endif %}"
)
"""As Llama 3.2's and Granite's templates do."""


def test_a_prompt_does_not_hold_todays_date() -> None:
    own = tokenizer("llama")
    own.chat_template = DATED
    turns = [Message("user", "Hello")]
    assert render_text(own, turns, None, True) == "Today Date: 26 Jul 2024 2024-07-26|Hello|"
    plain: Any = own.apply_chat_template([{"role": "user", "content": "Hello"}], tokenize=False)
    assert str(datetime.datetime.now(datetime.UTC).year) in plain, "the library writes today's"
    own.chat_template = DATED.replace("'%d %b %Y'", "form or '%d %b %Y'")
    assert render_text(own, turns, None, True).startswith("Today Date: 26 Jul 2024 2024-07-26|")
