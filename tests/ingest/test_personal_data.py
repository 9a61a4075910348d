"""`aftertune pii registry` and `aftertune pii match`, as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aftertune.cli import main

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
        (("registry", tmp_path / "chats.jsonl", "-o", tmp_path / "chats.jsonl"), "the tuning set itself"),
        (("registry", tmp_path / "chats.jsonl", "-o", tmp_path / "no" / "r"), "cannot write"),
        (("registry", tmp_path / "chats.jsonl", "-o", tmp_path), "is a folder"),
    ):
        assert run("pii", *arguments) in (1, 2), arguments
        said = capsys.readouterr()
        assert says in said.err
        assert said.err.count("\n") == 1
        assert said.out == ""
        assert not any(secret in said.err for secret in SECRETS)
    assert not (tmp_path / "r").exists()
