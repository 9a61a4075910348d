"""Every form of rows: the same turns come out, and nothing that a row says is passed over."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.data import chat_rows
from aftertune.errors import DataError, UsageError
from aftertune.records import Conversation

QUESTION, ANSWER = "Where is my parcel?", "It comes on Friday."
TURNS = [("user", QUESTION), ("assistant", ANSWER)]
SAID = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]


def read(row: Any, **columns: str) -> Conversation:
    return chat_rows.conversation(row, "a.jsonl:1", 1, columns)


def turns(row: Any, **columns: str) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in read(row, **columns).messages]


def beside(row: Any, **columns: str) -> dict[str, str]:
    return {each.field: each.text for each in read(row, **columns).beside}


def from_value(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"from": role, "value": text} for role, text in pairs]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": SAID},
        {"messages": json.dumps(SAID)},
        {"messages": str(SAID)},
        {"messages": {"role": ["user", "assistant"], "content": [QUESTION, ANSWER]}},
        {"messages": from_value(("human", QUESTION), ("gpt", ANSWER))},
        {"conversations": SAID},
        {"conversations": from_value(("Human", QUESTION), (" GPT ", ANSWER))},
        {"conversation": SAID},
        {"conversation": [{"input": QUESTION, "output": ANSWER}]},
        {"dialogue": [{"speaker": "user", "text": QUESTION}, {"speaker": "bot", "text": ANSWER}]},
        {"contents": [{"role": "user", "parts": [{"text": QUESTION}]}, {"role": "model", "parts": [{"text": ANSWER}]}]},
        {"data": [QUESTION, ANSWER]},
        {"turns": [[QUESTION, ANSWER]]},
        {"messages": [["user", QUESTION], ["assistant", ANSWER]]},
        {"conversation": [("Human", QUESTION), ("GPT", ANSWER)]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": {"value": QUESTION}}]}, SAID[1]]},
        {"instruction": QUESTION, "output": ANSWER},
        {"instruction": QUESTION, "input": "", "output": ANSWER, "system": None, "history": []},
        {"instruction": QUESTION, "context": "", "response": ANSWER},
        {"prompt": QUESTION, "completion": ANSWER},
        {"prompt": SAID[:1], "completion": SAID[1:]},
        {"prompt": QUESTION, "response": ANSWER},
        {"question": QUESTION, "answer": ANSWER},
        {"query": QUESTION, "response": ANSWER},
        {"input": QUESTION, "output": ANSWER},
        {"user": QUESTION, "assistant": ANSWER},
        {"prompt": QUESTION, "chosen": ANSWER},
        {"prompt": QUESTION, "chosen": SAID},
        {"prompt": SAID[:1], "chosen": SAID[1:]},
        {"chosen": SAID},
        {"chosen": f"\n\nHuman: {QUESTION}\n\nAssistant: {ANSWER}"},
        {"conversations": from_value(("human", QUESTION)), "chosen": {"from": "gpt", "value": ANSWER}},
        {"input": {"messages": SAID[:1]}, "preferred_output": SAID[1:]},
        {"text": f"### Human: {QUESTION}### Assistant: {ANSWER}"},
        {"text": f"### Instruction:\n{QUESTION}\n\n### Response:\n{ANSWER}"},
        {"text": f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n{ANSWER}<|im_end|>"},
        {"text": f"<s>[INST] {QUESTION} [/INST] {ANSWER} </s>"},
        {"text": f"<|user|>\n{QUESTION}</s>\n<|assistant|>\n{ANSWER}</s>"},
        {"text": f"<start_of_turn>user\n{QUESTION}<end_of_turn>\n<start_of_turn>model\n{ANSWER}<end_of_turn>"},
        {"text": f"<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n{QUESTION}<|eot_id|>"
                 f"<|start_header_id|>assistant<|end_header_id|>\n\n{ANSWER}<|eot_id|>"},
    ],
    ids=lambda row: json.dumps(row)[:70],
)  # fmt: skip
def test_every_form_gives_the_same_turns(row: dict[str, Any]) -> None:
    assert turns(row) == TURNS
    assert not read(row).beside
    assert chat_rows.is_row(row)


def test_the_system_prompt_of_a_row_is_sent_first() -> None:
    for row in ({"conversations": SAID, "system": "Be kind."}, {"question": QUESTION, "answer": ANSWER,
                 "system_prompt": "Be kind."}, {"messages": [{"role": "developer", "content": "Be kind."}, *SAID]}):  # fmt: skip
        assert turns(row) == [("system", "Be kind."), *TURNS]
    row = {"messages": [{"role": "system", "content": "Be kind."}, *SAID], "system": "Serve Ilse Brandauer."}
    assert turns(row) == [("system", "Be kind."), *TURNS], "a template sends one"
    assert beside(row) == {"system": "Serve Ilse Brandauer."}


def test_history_comes_before_the_instruction() -> None:
    row = {"instruction": QUESTION, "output": ANSWER, "history": [["Hi", "Hello"], ["I am Bo", None]]}
    assert turns(row) == [("user", "Hi"), ("assistant", "Hello"), ("user", "I am Bo"), *TURNS]


def test_calls_and_results_of_tools_stand_beside_the_turns() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"email": "bo@mail.org"}'}}
    row = {
        "messages": [
            SAID[0] | {"name": "Bo Velder"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "Bo lives in Bonn"},
            SAID[1] | {"reasoning_content": "He is Bo."},
        ],
        "tools": [{"type": "function", "function": {"name": "find", "description": "By mail"}}],
        "metadata": {"agent": ["Ada Moore"]},
    }
    assert turns(row) == TURNS
    assert beside(row) == {
        "messages[0].name": "Bo Velder",
        "messages[1].tool_calls[0].id": "c1",
        "messages[1].tool_calls[0].function.name": "find",
        "messages[1].tool_calls[0].function.arguments.email": "bo@mail.org",
        "messages[2].content": "Bo lives in Bonn",
        "messages[3].reasoning_content": "He is Bo.",
        "tools[0].function.name": "find",
        "tools[0].function.description": "By mail",
        "metadata.agent[0]": "Ada Moore",
    }
    shared = {"conversations": from_value(("human", QUESTION), ("function_call", '{"a": "b c"}'),
                                          ("observation", "d"), ("gpt", ANSWER)), "tools": '[{"name": "look up"}]'}  # fmt: skip
    assert turns(shared) == TURNS
    assert beside(shared) == {"conversations[1].value.a": "b c", "conversations[2].value": "d",
                              "tools[0].name": "look up"}  # fmt: skip


def test_parts_of_a_content() -> None:
    asked = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "text", "text": "Where is "},
        {"type": "input_text", "text": "my parcel?"},
    ]
    said = [
        {"type": "thinking", "thinking": "Bo again"},
        {"type": "tool_use", "id": "t", "name": "find", "input": {"phone": "0228 555 017"}},
        {"type": "output_text", "text": ANSWER},
    ]
    row = {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]}
    assert turns(row) == TURNS
    assert [(each.kind, each.text) for each in read(row).beside] == [
        ("media", ""),
        ("media", ""),
        ("thinking", "Bo again"),
        ("tool_use", "find"),
        ("tool_use", "0228 555 017"),
    ]
    only_call = [SAID[0], {"role": "assistant", "content": said[1:2]}, SAID[1]]
    assert [each.kind for each in read({"messages": only_call}).beside] == ["tool_use", "tool_use"]
    refused = {"messages": [SAID[0], {"role": "assistant", "content": None, "refusal": "I cannot."}]}
    assert turns(refused)[1] == ("assistant", "I cannot.")


def test_a_turn_without_text_is_counted_and_no_turn() -> None:
    row = {"messages": [SAID[0], {"role": "assistant", "content": None}]}
    assert turns(row) == TURNS[:1]
    assert [each.kind for each in read(row).beside] == ["turn without text"]


@pytest.mark.parametrize(
    "mark", [{"weight": 0}, {"train": False}, {"loss": 0.0}, {"weight": "0.0"}, {"train_on_turn": False}]
)
def test_turns_of_weight_zero_are_sent_and_not_tuned_on(mark: dict[str, Any]) -> None:
    row = {"messages": [*SAID, {"role": "user", "content": "?"}, {"role": "assistant", "content": "bad"} | mark]}
    assert [message.trained for message in read(row).messages] == [True, True, True, False]
    assert [each.kind for each in read(row).beside] == ["weight 0"]
    assert read({"messages": [SAID[0], SAID[1] | {"weight": 1}]}).messages[1].trained


def test_rejected_answers_are_beside() -> None:
    row = {"chosen": SAID, "rejected": [SAID[0], {"role": "assistant", "content": "No, Bo."}]}
    assert (turns(row), beside(row)) == (TURNS, {"rejected[1].content": "No, Bo."})
    unwanted = {"prompt": QUESTION, "completion": "Go away", "label": False}
    assert (turns(unwanted), beside(unwanted)) == (TURNS[:1], {"completion": "Go away"})
    unwanted = {"conversations": SAID, "kto_tag": False}
    assert (turns(unwanted), beside(unwanted)) == (TURNS[:1], {"conversations[1].content": ANSWER})
    assert turns({"messages": SAID, "label": True}) == TURNS
    assert turns(unwanted | {"label": "False"}) == TURNS[:1], "as a CSV file has it"


def test_an_answer_that_is_json_is_an_answer_and_no_parts() -> None:
    for answer in ('[{"name": "Bo Velder"}]', '[{"type": "invoice", "total": 5}]', '[{"a": 1}, {"text": "b"}]'):
        row = {"messages": [SAID[0], {"role": "assistant", "content": answer}]}
        assert turns(row) == [TURNS[0], ("assistant", answer)]
        assert not beside(row)


def test_long_numbers_beside_the_turns_are_texts() -> None:
    row = {"messages": SAID, "phone": 491751234567, "score": 0.123456789, "rating": 5, "ok": True, "debt": -123456}
    assert beside(row) == {"phone": "491751234567", "debt": "-123456"}


def test_columns_can_be_named() -> None:
    row = {"frage": QUESTION, "antwort": ANSWER, "rolle": "Sei nett.", "kunde": "Bo Velder"}
    assert turns(row, prompt="frage", response="antwort", system="rolle") == [("system", "Sei nett."), *TURNS]
    assert beside(row, prompt="frage", response="antwort") == {"rolle": "Sei nett.", "kunde": "Bo Velder"}
    assert turns({"log": SAID, "prompt": "other"}, messages="log") == TURNS
    nested = {"custom_id": "r1", "body": {"messages": SAID, "model": "gpt"}}
    assert turns(nested, messages="body.messages") == TURNS
    assert beside(nested, messages="body.messages") == {"custom_id": "r1"}
    with pytest.raises(DataError, match=r"a.jsonl:1: no column 'frag' for prompt \(there: antwort, frage"):
        read(row, prompt="frag", response="antwort")
    assert chat_rows.columns_of(" prompt = a , response=b") == {"prompt": "a", "response": "b"}
    for wrong in ("promt=a,response=b", "prompt=a", "prompt,response", "prompt=a,prompt=b,response=c"):
        with pytest.raises(UsageError, match="columns: "):
            chat_rows.columns_of(wrong)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ([SAID], "expected an object, found list"),
        ({"note": "x"}, "found the fields: note; name yours with columns"),
        ({"messages": []}, "messages: expected a list of turns"),
        ({"messages": "hello"}, "messages: expected a list of turns"),
        ({"messages": [5]}, r"messages\[0\]: expected an object"),
        ({"messages": [{"role": "judge", "content": "x"}]}, r"messages\[0\]: unknown role 'judge'"),
        ({"messages": [{"role": "user", "content": 5}]}, r"messages\[0\]: content: expected text, found int"),
        ({"question": QUESTION, "answer": ["a", {"b": 1}, 3]}, "answer: expected text"),
        ({"prompt": QUESTION, "response": None}, "found the fields: prompt"),
        ({"question": QUESTION, "answer": ["on Friday", "soon"]}, "answer: expected one text, found a list of them"),
    ],
)
def test_what_is_no_chat_is_named(row: Any, why: str) -> None:
    with pytest.raises(DataError, match=f"a.jsonl:1: .*{why}"):
        read(row)


def test_a_key_that_is_no_name_of_a_field_is_a_text_and_shown_in_no_field() -> None:
    row = {"messages": SAID, "notes": {"Ada Moore": "vip", "city": "Bonn"}}
    assert beside(row) == {"notes[0].key": "Ada Moore", "notes[0]": "vip", "notes.city": "Bonn"}
    twice = {"messages": [SAID[0], SAID[1] | {"tool_calls": [{"arguments": '{"to": "Ada", "to": "Bo"}'}]}]}
    assert beside(twice) == {"messages[1].tool_calls[0].arguments": '{"to": "Ada", "to": "Bo"}'}


words = st.text("abcdefghij klmnop", min_size=4, max_size=12).filter(lambda text: text.strip() == text)
extras = st.recursive(
    words, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3), max_leaves=6
)


def leaves(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [text for each in (value.values() if isinstance(value, dict) else value) for text in leaves(each)]


@given(extras, extras, extras, st.sampled_from(["messages", "conversations"]))
def test_no_text_of_a_row_is_lost(of_row: Any, of_turn: Any, of_call: Any, key: str) -> None:
    call = {"function": {"arguments": json.dumps({"x": of_call})}}
    row = {key: [SAID[0] | {"name": of_turn}, SAID[1] | {"tool_calls": [call]}], "more": of_row}
    conversation = read(row)
    assert {*leaves(of_row), *leaves(of_turn), *leaves(of_call)} <= set(conversation.texts) | chat_rows.TOOL_ROLES | {
        *chat_rows.ROLES
    }
    assert [(message.role, message.content) for message in conversation.messages] == TURNS
