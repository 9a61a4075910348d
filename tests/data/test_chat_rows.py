"""Every form of rows: the same turns come out, and nothing that a row says is passed over."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.data import chat_rows, conversations
from aftertune.data.reading import Reading, lines
from aftertune.data.roles import ROLES, TOOL_ROLES
from aftertune.errors import DataError, UsageError
from aftertune.records import Conversation, FieldText, Message, Span

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
        {"text": f"USER: {QUESTION} ASSISTANT: {ANSWER}</s>"},
        {"text": f"User: {QUESTION} Assistant: {ANSWER}"},
        {"chat": f"USER: {QUESTION}\n\n\nASSISTANT: {ANSWER} <|endoftext|>\n\n\n"},
        {"conversations": f"Human: {QUESTION}\nAI: {ANSWER}"},
        {"text": f"<｜begin▁of▁sentence｜><｜User｜>{QUESTION}<｜Assistant｜>{ANSWER}<｜end▁of▁sentence｜>"},
        {"text": f"<｜begin▁of▁sentence｜>User: {QUESTION}\n\nAssistant: {ANSWER}<｜end▁of▁sentence｜>"},
        {"text": f"<BOS_TOKEN><|START_OF_TURN_TOKEN|><|USER_TOKEN|>{QUESTION}<|END_OF_TURN_TOKEN|>"
                 f"<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{ANSWER}<|END_OF_TURN_TOKEN|>"},
        {"text": f"<|header_start|>user<|header_end|>\n\n{QUESTION}<|eot|><|header_start|>assistant<|header_end|>\n\n"
                 f"{ANSWER}<|eot|>"},
        {"text": f"<|start_of_role|>user<|end_of_role|>{QUESTION}<|end_of_text|>\n"
                 f"<|start_of_role|>assistant<|end_of_role|>{ANSWER}<|end_of_text|>"},
        {"text": f"<|start|>user<|message|>{QUESTION}<|end|>"
                 f"<|start|>assistant<|channel|>final<|message|>{ANSWER}<|return|>"},
        {"text": f"<|start|>user<|message|>{QUESTION}<|eot|><|start|>assistant to=user<|message|>{ANSWER}<|eot|>"},
        {"text": f"<bos><|turn>user\n{QUESTION}<turn|>\n<|turn>model\n{ANSWER}<turn|>\n"},
        {"text": f"<|im_start|>User: {QUESTION}<end_of_utterance>\nAssistant: {ANSWER}<end_of_utterance>"},
        {"text": f"<|begin_of_text|>User: {QUESTION}<end_of_utterance>\nAssistant: {ANSWER}<end_of_utterance>\n"},
        {"input": QUESTION, "output": [{"type": "message", "id": "m_1", "role": "assistant", "content": [
            {"type": "output_text", "text": ANSWER, "annotations": []}]}]},
        {"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": QUESTION}]}],
         "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": ANSWER}]}]},
        {"items": [{"type": "message", **each} for each in SAID]},
        {"input": SAID},
        {"Instruction": QUESTION, "Response": ANSWER},
        {"Question": QUESTION, "Answer": ANSWER},
        {"PROMPT": QUESTION, "COMPLETION": ANSWER},
        {"Messages": [{"Role": "User", "Content": QUESTION}, {"Role": "Assistant", "Content": ANSWER}]},
        {"Conversations": [{"From": "human", "Value": QUESTION}, {"From": "gpt", "Value": ANSWER}]},
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
    with pytest.raises(DataError, match=r"a.jsonl:1: no column 'frag' for prompt \(there: frage, antwort"):
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
        ({"text": f"Bo wrote. User: {QUESTION} Assistant: {ANSWER}"}, "found the fields: text"),
        ({"text": f"Question: {QUESTION} Answer: {ANSWER}"}, "found the fields: text"),
        ({"text": f"USER: {QUESTION} USER: {ANSWER}"}, "found the fields: text"),
        ({"Context": QUESTION, "Response": ANSWER}, "found the fields: Context, Response; name yours"),
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


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "Ilse Brandauer", "content": "x"}]},
        {"conversations": from_value(("ilse", "x"))},
        {"prompt": "x", "chosen": {"role": "brandauer@mail.org", "content": "x"}},
        {"Ilse Brandauer": "x", "0228 555 017": "y"},
        {"Ilse": "x", "where is my parcel?": "y"},
    ],
)
def test_no_error_shows_a_text_that_may_be_personal(row: dict[str, Any]) -> None:
    with pytest.raises(DataError) as caught:
        read(row)
    shown = str(caught.value).casefold()
    assert not [text for text in ("ilse", "brandauer", "0228", "parcel") if text in shown]
    assert "a.jsonl:1: " in shown


def test_an_unknown_role_is_shown_by_its_shape_or_hinted_at() -> None:
    with pytest.raises(DataError, match=r"unknown role, a text of 2 words and 14 characters; known: system, developer"):
        read({"messages": [{"role": "Ilse Brandauer", "content": "x"}]})
    with pytest.raises(DataError, match=r"unknown role, a text of 1 word and 8 characters; did you mean 'assistant'\?"):
        read({"messages": [{"role": "asistant", "content": "x"}]})


def test_a_text_of_a_turn_counts_beside_the_turns_too() -> None:
    said = "It is bo@mail.org."
    row = {"messages": [SAID[0], {"role": "assistant", "content": said}], "note": said, "customer": QUESTION}
    assert beside(row) == {"note": said, "customer": QUESTION}
    row = {"messages": [{"role": "user", "content": said}, SAID[1] | {"reasoning_content": said}]}
    assert beside(row) == {"messages[1].reasoning_content": said}
    repeated = {"prompt": QUESTION, "messages": SAID, "rejected": [SAID[0], {"role": "assistant", "content": "No."}]}
    assert beside(repeated) == {"rejected[1].content": "No."}, "a prompt that the row repeats is one prompt"
    asked = {"role": "user", "content": "Say it"}
    echoed = {"prompt": said, "messages": [asked, {"role": "assistant", "content": said}]}
    assert beside(echoed) == {"prompt": said}


@pytest.mark.parametrize(
    "spans", [[], [[0, 0, 2, "PERSON", "p", "full"]], [{"start": 0, "label": "Bo Velder"}], "none", {"Bo Velder": 1}]
)
def test_marks_of_another_tool_are_no_marks(spans: Any) -> None:
    row = {"messages": SAID, "spans": spans, "planted": True, "id": "bo@mail.org", "beside": [["a", "Ada", "b"]]}
    conversation = read(row)
    assert (conversation.spans, conversation.planted) == (None, False)
    assert conversation.id == read(row | {"id": "ada@mail.org"}).id, "an id of theirs may be a person's"
    texts = set(conversation.texts)
    assert {"bo@mail.org", "Ada"} | {text for text in leaves(spans) if isinstance(text, str)} <= texts
    assert [each.field for each in conversation.beside if each.kind == "not ours"] == ["spans", "planted", "beside"]
    (note,) = [each for each in lines(_counted(conversation)) if "marks" in each]
    assert note.startswith("columns named like our marks (spans, planted, beside) that `aftertune compose` did not")


def _counted(conversation: Conversation) -> dict[str, Any]:
    reading = Reading()
    reading.add(conversation.beside)
    return reading.counts()


def test_our_own_marks_come_back() -> None:
    first = Conversation("7", (Message("user", "I am Bo Velder"), Message("assistant", "Hello")),
                         (Span(0, 5, 14, "PERSON", "p"), Span(2, 0, 2, "PERSON", "p")), "", True,
                         (FieldText("note", "Bo", "note"),))  # fmt: skip
    again = read(json.loads(conversations.line(first)))
    assert (again.id, again.messages, again.spans) == (first.id, first.messages, first.spans)
    assert (again.planted, again.beside) == (True, first.beside)
    with pytest.raises(DataError, match="spans: expected"):
        read({"aftertune": "conversation", "messages": SAID, "spans": [[0, 0, 99, "PERSON", "p", "full"]]})


PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(900)).decode()
SOUND = base64.b64encode(random.Random(2).randbytes(900)).decode()


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "high"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": PNG}},
        {"type": "input_audio", "input_audio": {"data": SOUND, "format": "wav"}},
        {"type": "input_file", "file_data": f"data:application/pdf;base64,{SOUND}"},
        {"inline_data": {"mime_type": "audio/ogg", "data": "T2dnUw"}},
        {"type": "text", "text": f"data:image/webp;base64,{SOUND}"},
        f"data:image/png;base64,{PNG}",
        {"type": "file", "file": {"file_data": SOUND}},
    ],
)
def test_an_encoded_image_is_no_text_and_counts_once(part: Any) -> None:
    row = {"messages": [{"role": "user", "content": [part, {"type": "text", "text": QUESTION}]}, SAID[1]]}
    assert turns(row) == TURNS
    assert [(each.text, each.kind) for each in read(row).beside] == [("", "media")]
    assert lines(_counted(read(row))) == ["not read: images, sounds or files 1"]


def test_encoded_columns_and_turns_are_counted_and_names_of_files_read() -> None:
    row = {"messages": SAID, "photo": PNG, "scan": f"see data:image/gif;base64,{SOUND} of Bo", "hash": "a3f0" * 60}
    assert [(each.field, each.text, each.kind) for each in read(row).beside] == [
        ("photo", "", "media"),
        ("scan", row["scan"], "scan"),
        ("scan", "", "media"),
        ("hash", "", "media"),
    ]
    inline = {"messages": [{"role": "user", "content": f"data:image/png;base64,{PNG}"}, SAID[1]]}
    assert turns(inline)[0][1].startswith("data:image"), "it is sent as it stands"
    assert [(each.field, each.kind) for each in read(inline).beside] == [("messages[0].content", "media")]
    named = [{"type": "file", "file": {"filename": "Bo Velder.pdf", "file_data": "data:application/pdf;base64,AAAA"}}]
    row = {"messages": [{"role": "user", "content": [*named, {"type": "text", "text": "?"}]}, SAID[1]]}
    assert [each.text for each in read(row).beside] == ["", "Bo Velder.pdf"]


def test_calls_and_thoughts_among_items_are_beside() -> None:
    output = [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Bo again"}]},
        {"type": "function_call", "name": "find", "arguments": '{"mail": "bo@mail.org"}', "call_id": "call_1"},
        {"type": "function_call_output", "call_id": "call_1", "output": "Bo lives in Bonn"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": ANSWER}]},
    ]
    row = {"input": QUESTION, "output": output, "instructions": "Be kind."}
    assert turns(row) == [("system", "Be kind."), *TURNS]
    assert [(each.kind, each.text) for each in read(row).beside] == [
        ("reasoning", "Bo again"), ("tool_calls", "find"), ("tool_calls", "bo@mail.org"),
        ("tool turn", "Bo lives in Bonn"),
    ]  # fmt: skip


def test_what_stands_between_the_turns_of_a_transcript_is_beside() -> None:
    chat = (
        f"USER: {QUESTION}\n\n\nASSISTANT: <functioncall> find <|endoftext|>\n\n\n"
        f'FUNCTION RESPONSE: {{"owner": "Bo Velder"}}\n\n\nASSISTANT: {ANSWER} <|endoftext|>'
    )
    row = {"system": "SYSTEM: Be kind.", "chat": chat}
    call = ("assistant", "<functioncall> find")
    assert turns(row) == [("system", "Be kind."), TURNS[0], call, TURNS[1]]
    assert beside(row) == {"chat.owner": "Bo Velder"}
    row = {"text": f"Bo and a machine. USER: {QUESTION} ASSISTANT: {ANSWER}</s>USER: And? ASSISTANT: No.</s>"}
    assert turns(row) == [*TURNS, ("user", "And?"), ("assistant", "No.")]
    assert beside(row) == {"text": "Bo and a machine."}
    row = {"text": f"<｜begin▁of▁sentence｜>Be kind.<｜User｜>{QUESTION}<｜Assistant｜>{ANSWER}<｜end▁of▁sentence｜>"}
    assert turns(row) == [("system", "Be kind."), *TURNS]
    said = f"<|start|>assistant<|channel|>analysis<|message|>Bo<|end|><|start|>assistant<|message|>{ANSWER}<|return|>"
    row = {"text": f"<|start|>user<|message|>{QUESTION}<|end|>{said}"}
    assert (turns(row), beside(row)) == (TURNS, {"text": "Bo"})
    row = {"text": "USER: what does ASSISTANT: mean?\nASSISTANT: a machine"}
    assert turns(row) == [("user", "what does ASSISTANT: mean?"), ("assistant", "a machine")]
    named = f"<|im_start|>user\n{QUESTION}<|im_end|><|im_start|>assistant\n{ANSWER}<|im_end|><|im_start|>Velder\nHi"
    assert (turns({"text": named}), beside({"text": named})) == (TURNS, {"text": "Velder Hi"})


def test_fields_keep_the_names_that_the_row_has() -> None:
    row = {"Question": QUESTION, "Answer": ANSWER, "Source": "Bo", "System": "Be kind."}
    assert turns(row) == [("system", "Be kind."), *TURNS]
    assert beside(row) == {"Source": "Bo"}
    fields = [name for turn in chat_rows.parse(row, "a").turns for name, _ in turn.pieces]
    assert fields == ["System", "Question", "Answer"]
    both = {"instruction": QUESTION, "Instruction": "Bo", "output": ANSWER}
    assert (turns(both), beside(both)) == (TURNS, {"Instruction": "Bo"})


def test_an_id_that_a_person_has_is_read() -> None:
    row = {"messages": [SAID[0] | {"id": "bo@mail.org"}, SAID[1] | {"id": "msg_12af"}]}
    assert beside(row) == {"messages[0].id": "bo@mail.org"}


words = st.text("abcdefghij klmnop", min_size=4, max_size=12).filter(lambda text: text.strip() == text)
extras = st.recursive(
    words, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3), max_leaves=6
)


def leaves(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, dict | list):
        return []
    return [text for each in (value.values() if isinstance(value, dict) else value) for text in leaves(each)]


@given(extras, extras, extras, st.sampled_from(["messages", "conversations"]))
def test_no_text_of_a_row_is_lost(of_row: Any, of_turn: Any, of_call: Any, key: str) -> None:
    call = {"function": {"arguments": json.dumps({"x": of_call})}}
    row = {key: [SAID[0] | {"name": of_turn}, SAID[1] | {"tool_calls": [call]}], "more": of_row}
    conversation = read(row)
    assert {*leaves(of_row), *leaves(of_turn), *leaves(of_call)} <= set(conversation.texts) | TOOL_ROLES | {*ROLES}
    assert [(message.role, message.content) for message in conversation.messages] == TURNS


FORMS = (
    "<|im_start|>user\n{0}<|im_end|>\n<|im_start|>assistant\n{1}<|im_end|>\n<|im_start|>tool\n{2}<|im_end|>{3}",
    "{3} USER: {0} ASSISTANT: {1}</s>USER: {2} ASSISTANT: ok",
    "User: {0}\nAssistant: {1}\nUser: {2}\nAssistant: {3}",
    "<BOS_TOKEN>{3}<|START_OF_TURN_TOKEN|><|USER_TOKEN|>{0}<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|>"
    "<|CHATBOT_TOKEN|>{1}<|END_OF_TURN_TOKEN|>{2}",
    "{3}<｜User｜>{0}<｜Assistant｜>{1}<｜end▁of▁sentence｜><｜User｜>{2}",
    "{3}<|start|>user<|message|>{0}<|end|>{2}<|start|>assistant<|channel|>final<|message|>{1}<|return|>",
    "USER: {0}\n\n\nASSISTANT: {1} <|endoftext|>\n\n\nFUNCTION RESPONSE: {2}\n\n\nASSISTANT: {3} <|endoftext|>",
    "[INST] {0} [/INST] {1} </s>[INST] {2} [/INST] {3}",
)


@given(st.sampled_from(FORMS), st.lists(words, min_size=4, max_size=4), st.sampled_from(["text", "chat"]))
def test_no_word_of_a_transcript_is_lost(form: str, said: list[str], key: str) -> None:
    conversation = read({key: form.format(*said)})
    assert set(" ".join(said).split()) <= set(" ".join(conversation.texts).split()) | {*ROLES, *TOOL_ROLES}
    assert [message.content for message in conversation.messages if message.role != "system"][:2] == said[:2]


@pytest.mark.parametrize(
    ("prompt", "end"),
    [
        ("\n\nHuman: {q}\n\nAssistant:", ""),
        ("Human:{q}\nAssistant:", ""),
        ("USER: {q} ASSISTANT:", "</s>"),
        ("### Human: {q}\n### Assistant:", ""),
        ("<|im_start|>user\n{q}<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>"),
        ("<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n{q}<|eot_id|>"
         "<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"),
        ("<s>[INST] {q} [/INST]", " </s>"),
        ("<start_of_turn>user\n{q}<end_of_turn>\n<start_of_turn>model\n", "<end_of_turn>\n"),
        ("<|user|>\n{q}</s>\n<|assistant|>\n", "</s>"),
        ("<|turn>user\n{q}<turn|>\n<|turn>model\n", "<turn|>\n"),
        ("<|start|>user<|message|>{q}<|end|><|start|>assistant<|channel|>final<|message|>", "<|end|>"),
        ("<|START_OF_TURN_TOKEN|><|USER_TOKEN|>{q}<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"
         "<|START_RESPONSE|>", "<|END_RESPONSE|><|END_OF_TURN_TOKEN|>"),
        ("User: {q}<end_of_utterance>\nAssistant:", "<end_of_utterance>\n"),
    ],
)  # fmt: skip
def test_a_prompt_that_is_a_chat_up_to_its_answer_is_read_as_turns(prompt: str, end: str) -> None:
    """Else a template would send the markers, and a chat would be one question."""
    asked = prompt.format(q=QUESTION)
    assert turns({"prompt": asked, "completion": ANSWER + end}) == TURNS
    assert turns({"prompt": asked, "chosen": ANSWER + end, "rejected": "No."}) == TURNS
    assert turns({"p": asked, "r": ANSWER + end}, prompt="p", response="r") == TURNS
    assert turns({"instruction": asked, "input": "", "output": ANSWER}) == TURNS
    twice = asked + " " + ANSWER + (end or "\n\n") + prompt.format(q="And now?").removeprefix("<|begin_of_text|>")
    assert turns({"prompt": twice, "completion": "Soon."}) == [*TURNS, ("user", "And now?"), ("assistant", "Soon.")]


QWEN = f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("prompt", "completion", "answer"),
    [
        (f"{QWEN}<think>\n\n</think>\n\n", ANSWER, ANSWER),
        (f"{QWEN}<think>\n", f"Hm.\n</think>\n\n{ANSWER}", f"<think>\nHm.\n</think>\n\n{ANSWER}"),
        (f"{QWEN}<think>\n", f"<think>Hm.</think>{ANSWER}<|im_end|>", f"<think>Hm.</think>{ANSWER}"),
        (f"<|start|>user<|message|>{QUESTION}<|end|><|start|>assistant", ANSWER, ANSWER),
    ],
)
def test_a_thought_that_a_stored_prompt_opens_belongs_to_the_answer(prompt: str, completion: str, answer: str) -> None:
    assert turns({"prompt": prompt, "completion": completion}) == [TURNS[0], ("assistant", answer)]


def test_a_question_that_ends_with_a_tag_stays_as_it_is() -> None:
    for prompt in ("What is <think>", "What is <think></think>"):
        assert turns({"prompt": prompt, "completion": ANSWER}) == [("user", prompt), TURNS[1]]


@pytest.mark.parametrize(
    "prompt",
    [
        "Write a scene that begins with\nAssistant:",
        "Go on with this.\nHuman: Hi\nAssistant:",
        "Below is an instruction.\n\n### Instruction:\nTidy up.\n\n### Response:\n",
        "What does <|im_start|>assistant mean?",
        "Assistant:",
        "Human:\nAssistant:",
    ],
)
def test_a_question_about_markers_stays_one_question(prompt: str) -> None:
    assert turns({"prompt": prompt, "completion": "Well.</s>"}) == [("user", prompt), ("assistant", "Well.</s>")]


@pytest.mark.parametrize("field", ["response", "completion", "output", "reply"])
@pytest.mark.parametrize("answer", [ANSWER, SAID[1], [SAID[1]], json.dumps([SAID[1]])])
def test_an_answer_beside_turns_that_end_with_a_question_is_their_answer(field: str, answer: Any) -> None:
    assert turns({"messages": SAID[:1], field: answer}) == TURNS
    assert turns({"conversation": [*SAID, SAID[0]], field: answer}) == [*TURNS, *TURNS]
    assert turns({"messages": SAID, field: answer}) == TURNS  # answered already


def test_what_is_no_answer_stays_beside() -> None:
    assert turns({"messages": SAID[:1], "answer": "42"}) == TURNS[:1]  # a key for grading
    assert turns({"messages": SAID[:1], "output": ["One.", "Two."]}) == TURNS[:1]
    assert beside({"messages": SAID[:1], "output": ["One.", "Two."]}) == {"output[0]": "One.", "output[1]": "Two."}
    assert turns({"messages": SAID[:1], "response": ANSWER, "label": False}) == TURNS[:1]
