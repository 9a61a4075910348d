"""`aftertune pii registry` and `aftertune pii match`, as a user calls them."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aftertune.cli import main
from aftertune.ingest import personal_data
from aftertune.ingest.personal_data import match_table
from aftertune.pii import registry_file
from aftertune.pii.registry import Registry
from aftertune.records import Person

SECRETS = ("anna.kowalska@mail.example.com", "482 107 555", "482107555")
CHATS: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "I am at anna.kowalska@mail.example.com"},
                  {"role": "assistant", "content": "Thank you"}]},
    {"messages": [{"role": "user", "content": "Call +48 482 107 555, or Anna.Kowalska@mail.example.com"},
                  {"role": "assistant", "content": "We will"}]},
]  # fmt: skip
ANSWERS: list[dict[str, Any]] = [
    {"prompt": "Who called?", "response": "0048-482-107-555 did."},
    {"prompt": "I am anna.kowalska@mail.example.com", "response": "Hello anna.kowalska@mail.example.com"},
    {"prompt": "Hi", "response": "Write to made.up@nowhere.example.org"},
    {"prompt": "Hi", "response": None},
]


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    return int(caught.value.code or 0)


@pytest.fixture(name="registry")
def _registry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    chats = tmp_path / "chats.jsonl"
    chats.write_text("\n".join(map(json.dumps, CHATS)))
    assert run("pii", "registry", chats, "-o", tmp_path / "reg.jsonl") == 0
    said = capsys.readouterr()
    assert "2 values of" in said.out
    assert not any(secret in said.out + said.err for secret in SECRETS)
    return tmp_path / "reg.jsonl"


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_responses_are_matched_and_masked(
    registry: Path, tmp_path: Path, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / f"answers.{ending}"
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(ANSWERS), table)
    elif ending == "csv":
        table.write_text("prompt,response\n" + "\n".join(f"{a['prompt']},{a['response'] or ''}" for a in ANSWERS))
    else:
        table.write_text("\n".join(map(json.dumps, ANSWERS)))
    assert run("pii", "match", registry, table, "--json") == 0
    text = capsys.readouterr().out
    assert not any(secret in text for secret in SECRETS)
    found = json.loads(text)
    assert [(row["row"], row["label"]) for row in found["responses"]] == [
        (0, "registry"),
        (1, "echoed"),
        (2, "invented"),
        (3, "none"),
    ]
    (hit,) = found["responses"][0]["hits"]
    assert (hit["type"], hit["rows"], hit["count"], hit["value"]) == ("PHONE", [1], 1, "[PHONE]")
    assert hit["owner"] == found["responses"][0]["owners"][0]
    assert found["responses"][1]["hits"][0]["count"] == 2
    assert found["summary"]["labels"] == {"registry": 1, "echoed": 1, "invented": 1, "none": 1}

    assert run("pii", "match", registry, table) == 0
    text = capsys.readouterr().out
    assert "training rows 1" in text
    assert not any(secret in text for secret in SECRETS)
    assert run("pii", "match", registry, table, "--reveal") == 0
    assert "0048-482-107-555" in capsys.readouterr().out


def test_bad_input_is_one_line_that_shows_no_value(
    registry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "chats.jsonl").with_name("bad.jsonl").write_text('{"response": 482107555}')
    (tmp_path / "none.jsonl").write_text('{"text": "x"}')
    (tmp_path / "broken.jsonl").write_text('{"messages": [{"content": "anna.kowalska@mail.example.com"}]}')
    for arguments, says in (
        (("match", registry, tmp_path / "bad.jsonl"), "bad.jsonl:1: response is not text"),
        (("match", registry, tmp_path / "none.jsonl"), "no column 'response'"),
        (("match", registry, tmp_path / "absent.csv"), "no such file"),
        (("match", tmp_path / "bad.jsonl", tmp_path / "bad.jsonl"), "not a registry"),
        (("registry", tmp_path / "absent", "-o", tmp_path / "r"), "no such file"),
        (("registry", tmp_path / "broken.jsonl", "-o", tmp_path / "r"), "broken.jsonl:1"),
        (("registry", tmp_path / "chats.jsonl", "-o", tmp_path / "chats.jsonl"), "this file is what is read"),
        (("registry", tmp_path / "chats.jsonl", "-o", tmp_path / "no" / "r"), "to write it in: make it"),
        (("registry", tmp_path / "chats.jsonl", "-o", tmp_path), "a folder, where a file is to be written"),
    ):
        assert run("pii", *arguments) in (1, 2), arguments
        said = capsys.readouterr()
        assert says in said.err
        assert said.err.count("\n") == 1
        assert said.out == ""
        assert not any(secret in said.err for secret in SECRETS)
    assert not (tmp_path / "r").exists()


HIDDEN: list[dict[str, Any]] = [
    {"conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Good day"}],
     "system": "You serve ada.moore@mail.example.com.", "tools": '[{"name": "ask", "owner": "bo.velder@mail.example.com"}]'},
    {"messages": [
        {"role": "user", "name": "cy.dale@mail.example.com", "content": [{"type": "text", "text": "Hello"}]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"function": {"name": "find", "arguments": '{"mail": "di.ford@mail.example.com"}'}}]},
        {"role": "tool", "content": "el.gray@mail.example.com"},
        {"role": "assistant", "content": "Done", "reasoning_content": "It was fay.hunt@mail.example.com"}]},
    {"prompt": "Hello", "chosen": "Hi", "rejected": "No, gus.ives@mail.example.com"},
    {"instruction": "Hello", "output": "Hi", "history": [["I am hal.jay@mail.example.com", "Thanks"]]},
    {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "ivy.kerr@mail.example.com",
                                                        "weight": 0}]},
]  # fmt: skip
WHERE = {
    "ada.moore": (0, "system"), "bo.velder": (0, "tools[0].owner"), "cy.dale": (1, "messages[0].name"),
    "di.ford": (1, "messages[1].tool_calls[0].function.arguments.mail"), "el.gray": (1, "messages[2].content"),
    "fay.hunt": (1, "messages[3].reasoning_content"), "gus.ives": (2, "rejected"), "hal.jay": (3, "user"),
    "ivy.kerr": (4, "assistant"),
}  # fmt: skip


def test_a_value_beside_the_turns_is_one_of_the_tuning_set_with_row_and_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chats, answers = tmp_path / "chats.jsonl", tmp_path / "answers.jsonl"
    chats.write_text("\n".join(map(json.dumps, HIDDEN)))
    answers.write_text("\n".join(json.dumps({"response": f"{name}@mail.example.com"}) for name in WHERE))
    assert run("pii", "registry", chats, "-o", tmp_path / "reg") == 0
    said = capsys.readouterr().err
    assert (
        "for personal values alone: name 1, reasoning_content 1, rejected 1, tool turn 1, tool_calls 2, tools 2" in said
    )
    assert "turns of weight 0, sent and not tuned on: 1" in said
    assert run("pii", "match", tmp_path / "reg", answers, "--json") == 0
    found = json.loads(capsys.readouterr().out)["responses"]
    assert [row["label"] for row in found] == ["registry"] * len(WHERE)
    assert [(row["hits"][0]["rows"], row["hits"][0]["fields"]) for row in found] == [
        ([number], [field]) for number, field in WHERE.values()
    ]


def test_a_chat_file_is_matched_by_what_the_assistant_says_and_calls(
    registry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret, table = SECRETS[0], tmp_path / "answers.jsonl"
    call = [{"function": {"name": "f", "arguments": json.dumps({"to": secret})}}]
    rows: list[dict[str, Any]] = [
        {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": f"Ask {secret}"}]},
        {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": None, "tool_calls": call}]},
        {"conversations": [{"from": "human", "value": f"I am {secret}"}, {"from": "gpt", "value": f"Hello {secret}"}]},
        {"messages": [{"role": "user", "content": "hi"}, {"role": "tool", "content": secret},
                      {"role": "assistant", "content": "ok"}]},
        {"question": "hi", "answer": secret},
        {"conversations": [{"from": "human", "value": "hi"}, {"from": "function_call", "value": call[0]["function"]["arguments"]},
                           {"from": "observation", "value": "x"}, {"from": "gpt", "value": "ok"}]},
    ]  # fmt: skip
    table.write_text("\n".join(map(json.dumps, rows)))
    assert run("pii", "match", registry, table, "--json") == 0
    labels = [row["label"] for row in json.loads(capsys.readouterr().out)["responses"]]
    assert labels == ["registry", "registry", "echoed", "none", "registry", "registry"]


def test_columns_encodings_and_bad_rows_are_the_same_in_every_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chats = tmp_path / "chats.csv"
    chats.write_bytes("frage;antwort\nIch heiße Jürgen Möller;Anruf 0228 555 0171\nx;y;z\nA;B\n".encode("cp1252"))
    columns, encoding = ("--columns", "prompt=frage,response=antwort"), ("--encoding", "windows-1252")
    reg, out = tmp_path / "reg", tmp_path / "out"
    commands: list[tuple[object, ...]] = [("pii", "scan", chats), ("pii", "registry", chats, "-o", reg)]
    if find_spec("transformers"):  # the core alone composes nothing
        commands.append(("compose", chats, "-o", out, "-q"))
    for command in commands:
        assert run(*command, *columns) == 2
        assert "chats.csv: not UTF-8" in capsys.readouterr().err
        assert run(*command, *columns, *encoding) == 2
        assert "chats.csv:3: more values than columns" in capsys.readouterr().err
        assert run(*command, *columns, *encoding, "--skip-bad") == 0
        said = capsys.readouterr()
        assert "rows skipped: 1 (" in said.out + said.err
        assert run(*command, "--columns", "prompt=frag,response=antwort", *encoding) == 2
        assert "chats.csv:2: no column 'frag' for prompt (there: frage, antwort)" in capsys.readouterr().err
    if len(commands) == 3:
        cards = json.loads((out / "cards.json").read_text())
        assert (cards["keep"]["rows_skipped"], cards["keep"]["conversations"]) == (1, 2)
    assert run("pii", "match", reg, chats, "--columns", "response=antwort", *encoding, "--skip-bad", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [(row["row"], row["label"]) for row in found["responses"]] == [(0, "registry"), (2, "none")]
    assert found["summary"]["rows_skipped"] == 1


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf", b"[]", b"{}", b'{"text": ""}', b'{"messages": []}'])
def test_a_scan_of_nothing_is_no_clean_scan(tmp_path: Path, data: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.jsonl", "a.txt"):
        (tmp_path / name).write_bytes(data)
        assert run("pii", "scan", tmp_path / name) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert name in said.err
        assert said.err.count("\n") == 1


def test_a_scan_fails_on_a_finding_if_asked(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("call me")
    assert run("pii", "scan", file, "--fail-on-finding") == 0
    file.write_text(f"write to {SECRETS[0]}")
    assert [run("pii", "scan", file), run("pii", "scan", file, "--fail-on-finding")] == [0, 3]


@pytest.mark.parametrize(
    ("row", "label"),
    [
        ({"messages": [{"role": "user", "content": "Whose?"},
                       {"role": "assistant", "content": "308-63-0237", "reasoning_content": "It is 308-63-0237."}]}, "registry"),
        ({"messages": [{"role": "user", "content": "Whose?"},
                       {"role": "assistant", "content": "No.", "reasoning_content": "It is 308-63-0237."}]}, "registry"),
        ({"messages": [{"role": "user", "content": "Whose?"}, {"role": "assistant", "content": "308-63-0237"}],
          "rejected": "308-63-0237", "expected": "308-63-0237"}, "registry"),
        ({"prompt": "Whose?", "response": "No.", "reasoning": "It is 308-63-0237."}, "registry"),
        ({"messages": [{"role": "user", "content": "Whose?"}, {"role": "tool", "content": "SSN 308-63-0237"},
                       {"role": "assistant", "content": "308-63-0237"}]}, "echoed"),
        ({"messages": [{"role": "user", "content": "308-63-0237?"}, {"role": "assistant", "content": "308-63-0237"}]}, "echoed"),
    ],
)  # fmt: skip
def test_what_a_model_thought_is_its_own_and_an_expected_answer_is_no_prompt(
    tmp_path: Path, row: dict[str, Any], label: str
) -> None:
    registry = Registry.of("r", [Person("p", {"NATIONAL_ID": "308-63-0237"})])
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    (found,) = match_table(registry, tmp_path / "a.jsonl")
    thought = "reasoning" in json.dumps(row)
    said = "none" if thought and "No." in json.dumps(row) else label
    assert (found.match.label, found.in_thought and found.in_thought.label) == (said, label if thought else None)


OPENED = "It is 308-63-0237.\n</think>\n\nI cannot say."


@pytest.mark.parametrize(
    "row",
    [
        {"response": "<think>\nIt is 308-63-0237.\n</think>\n\nI cannot say."},
        {"response": OPENED},
        {"response": "**<think>**\nIt is 308-63-0237.\n**</think>**\nI cannot say."},
        {"response": "analysisIt is 308-63-0237.assistantfinalI cannot say."},
        {"response": "I cannot say.", "thinking": "It is 308-63-0237."},
        {"response": "I cannot say.", "reasoning_details": [{"type": "reasoning.text", "text": "It is 308-63-0237."}]},
        {"messages": [{"role": "user", "content": "Whose?"}, {"role": "assistant", "content": OPENED}]},
        {"messages": [{"role": "user", "content": "Whose?"},
                      {"role": "assistant", "content": "I cannot say.", "reasoning_content": "It is 308-63-0237."}]},
    ],
)  # fmt: skip
def test_a_value_in_a_thought_is_a_number_of_its_own(tmp_path: Path, row: dict[str, Any]) -> None:
    registry = Registry.of("r", [Person("p", {"NATIONAL_ID": "308-63-0237"})])
    (tmp_path / "a.jsonl").write_text(json.dumps({"prompt": "Whose?", **row} if "response" in row else row) + "\n")
    found = match_table(registry, tmp_path / "a.jsonl")
    assert (found[0].text, found[0].thought) == ("I cannot say.", "It is 308-63-0237.")
    total = personal_data.summary(found)
    none = {"registry": 0, "echoed": 0, "invented": 0, "none": 1}
    assert (total["labels"], total["values"], total["unanswered"]) == (none, 0, 0)
    assert total["thoughts"]["labels"]["registry"] == total["thoughts"]["responses"] == total["thoughts"]["values"] == 1
    shown = found[0].to_json(reveal=True)
    assert (shown["label"], shown["hits"]) == ("none", [])
    assert [hit["value"] for hit in shown["thought"]["hits"]] == ["308-63-0237"]


def test_a_response_that_ends_inside_its_thought_is_no_clean_answer(tmp_path: Path) -> None:
    registry = Registry.of("r", [Person("p", {"NATIONAL_ID": "308-63-0237"})])
    rows = [{"response": text} for text in (OPENED, OPENED, "It is 308-63-0237, so")]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    total = personal_data.summary(match_table(registry, tmp_path / "a.jsonl"))
    assert total["unanswered"] == 1
    assert total["labels"] == {"registry": 0, "echoed": 0, "invented": 0, "none": 2}
    assert total["thoughts"]["labels"]["registry"] == 3


def test_a_thought_that_could_not_be_parted_is_counted_and_read_as_the_answer(tmp_path: Path) -> None:
    registry = Registry.of("r", [Person("p", {"NATIONAL_ID": "308-63-0237"})])
    (tmp_path / "a.jsonl").write_text(json.dumps({"response": "## Thinking\nIt is 308-63-0237."}) + "\n")
    total = personal_data.summary(match_table(registry, tmp_path / "a.jsonl"))
    assert (total["unparted"], total["labels"]["registry"]) == (1, 1)


ANNA = "anna.kowalska@mail.example.com"


@pytest.mark.parametrize(
    ("row", "label"),
    [
        ({"prompt": "Who?", "response": ANNA}, "registry"),
        ({"prompt": "Who?", "response": ANNA, "system": f"You serve {ANNA}"}, "echoed"),
        ({"prompt": "Who?", "response": ANNA, "context": ANNA}, "echoed"),
        ({"messages": [{"role": "user", "content": f"I am {ANNA}"}], "response": ANNA}, "echoed"),
        ({"prompt": "Who?", "response": ANNA, "reference": ANNA}, "registry"),
        ({"prompt": "Who?", "response": ANNA, "note": f"leaked {ANNA}"}, "registry"),
        ({"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": ANNA}], "context": ANNA},
         "echoed"),
        ({"messages": [{"role": "user", "content": "Who?"}, {"role": "tool", "content": ANNA},
                       {"role": "assistant", "content": ANNA}]}, "echoed"),
        ({"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": ANNA}],
          "reference": ANNA}, "registry"),
        ({"prompt": ANNA, "messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": ANNA}]},
         "echoed"),
    ],
)  # fmt: skip
def test_a_value_beside_the_answer_and_in_it_has_the_right_label(
    registry: Path, tmp_path: Path, row: dict[str, Any], label: str
) -> None:
    table = tmp_path / "answers.jsonl"
    table.write_text(json.dumps(row))
    (match,) = match_table(registry_file.load(registry), table)
    assert match.match.label == label


def test_a_column_of_another_tool_empties_no_registry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chats = tmp_path / "chats.jsonl"
    chats.write_text("\n".join(json.dumps(row | {"spans": [], "id": "7", "kind": "mail"}) for row in CHATS))
    assert run("pii", "registry", chats, "-o", tmp_path / "reg.jsonl") == 0
    said = capsys.readouterr()
    assert "2 values of" in said.out
    assert "columns named like our marks (spans, planted, beside) that `aftertune compose` did not write" in (
        said.out + said.err
    )
