"""The command and the models that plug in."""

from __future__ import annotations

import base64
import json
import random
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from aftertune.cli import app
from aftertune.data.reading import Reading, lines
from aftertune.errors import DataError, UsageError
from aftertune.ingest import personal_data
from aftertune.pii.scan import scan

PHONE = "212-555-0188"


def test_messages_have_offsets_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "chat.jsonl"
    rows: list[Any] = [
        {"text": "nothing"},
        {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": f"call {PHONE}"}]},
    ]
    file.write_text("\n\n".join(json.dumps(row) for row in rows))
    (found,) = scan(file)
    assert (found.row, found.message, found.finding.start, found.value) == (1, 1, 5, PHONE)
    done = CliRunner().invoke(app, ["pii", "scan", str(file), "--json"])
    assert PHONE not in done.output
    record = json.loads(done.stdout)
    assert set(record) == {"row", "message", "field", "start", "end", "type", "score", "recogniser", "why"}
    assert record["field"] == "messages[1].content"
    shown = CliRunner().invoke(app, ["pii", "scan", str(file), "--json", "--reveal"])
    assert json.loads(shown.stdout)["value"] == PHONE


def test_plain_text_counts_every_line(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text(f"one\n\ncall {PHONE}\n")
    assert [found.row for found in scan(file)] == [2]
    done = CliRunner().invoke(app, ["pii", "scan", str(file)])
    assert PHONE not in done.output
    assert "[PHONE]" in done.output


def test_a_row_with_text_and_messages_is_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "both.jsonl"
    row = {"text": f"call {PHONE}", "messages": [{"role": "user", "content": f"or {PHONE}"}]}
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(row).encode() + b"\r\n")
    assert [(found.message, found.finding.start) for found in scan(file)] == [(None, 5), (0, 3)]
    (tmp_path / "list.jsonl").write_text("[1]\n")
    with pytest.raises(DataError, match="row 1: expected an object"):
        list(scan(tmp_path / "list.jsonl"))


def test_a_registry_never_takes_the_place_of_another_file(tmp_path: Path) -> None:
    chat, out = tmp_path / "chat.jsonl", tmp_path / "reg"
    chat.write_text(json.dumps({"prompt": f"call {PHONE}", "response": "yes"}))
    personal_data.register(chat, out)
    assert len(personal_data.register(chat, out)) == 1, "an older registry is made anew"
    out.write_text("notes of mine")
    with pytest.raises(UsageError, match="no registry"):
        personal_data.register(chat, out)
    assert out.read_text() == "notes of mine"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"text": 3}', ":1: no text in it"),
        (b'{"text": "a"}\n{', ":2: not valid JSON"),
        (b"a\n\xff", ":2: not UTF-8"),
    ],
)
def test_a_bad_line_is_named(content: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "bad"
    file.write_bytes(content)
    with pytest.raises(DataError, match=said):
        list(scan(file))


def test_bad_paths_and_options(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "no"):
        with pytest.raises(UsageError, match="folder|no such file"):
            list(scan(path))
    file = tmp_path / "a.txt"
    file.write_text("nothing")
    assert list(scan(file)) == []
    for model in ("nothing:x", "gliner:x", "spacy:no_such_model_here", "transformers:no/such"):
        with pytest.raises(UsageError, match="known|pip install|download|no such folder"):
            list(scan(file, model=model))


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"from": "Anna", "value": f"call {PHONE}"}]},
        {"messages": f"call {PHONE}"},
        {"messages": [{"content": 5, "note": [f"call {PHONE}"]}]},
        {"anything": {"at": {"all": f"call {PHONE}"}}},
        {"question": "hi", "answers": [f"call {PHONE}", "b"]},
        {"text": f"### Human: call {PHONE}### Assistant: ok"},
        {"chosen": "ok", "rejected": [{"role": "assistant", "content": f"call {PHONE}"}]},
        {"data": "not much", "phones": {PHONE: 3}},
        [f"call {PHONE}"],
    ],
)
def test_a_scan_reads_every_text_whatever_the_form(row: Any, tmp_path: Path) -> None:
    for name, text in (("a.jsonl", json.dumps(row)), ("a.json", json.dumps([row], indent=2))):
        (tmp_path / name).write_text(text)
        if isinstance(row, list) and name == "a.json":
            continue
        found = list(scan(tmp_path / name, types=["PHONE"]))
        assert [(each.row, each.value) for each in found] == [(0, PHONE)]
        assert PHONE not in found[0].line() + json.dumps(found[0].record())


def test_a_model_beside_the_recognisers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class GLiNER:
        @classmethod
        def from_pretrained(cls, folder: str, local_files_only: bool) -> GLiNER:
            assert local_files_only
            return cls()

        def predict_entities(self, text: str, labels: list[str]) -> list[dict[str, Any]]:
            at = text.find("qwx")
            return [{"start": at, "end": at + 3, "label": "person", "score": 0.9}] if at >= 0 else []

    fake = ModuleType("gliner")
    fake.GLiNER = GLiNER  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gliner", fake)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    (tmp_path / "model.safetensors").touch()
    file = tmp_path / "a.txt"
    file.write_text("ab " * 600 + f"qwx and call {PHONE}")
    found = list(scan(file, model=f"gliner:{tmp_path}"))
    assert [(f.finding.type, f.value) for f in found] == [("PERSON", "qwx"), ("PHONE", PHONE)]
    assert found[0].finding.recogniser.startswith("gliner:")


def test_a_table_without_a_heading_has_values_in_its_first_row_and_shows_none(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('"Bo Kestwald, bo@mail.example.org",ok\n"Write to ada@mail.example.org",fine\n')
    found = [(one.row, one.field, one.value) for one in scan(file)]
    assert (0, "column 1", "bo@mail.example.org") in found
    assert (0, "column 1", "ada@mail.example.org") in found
    done = CliRunner().invoke(app, ["pii", "scan", str(file)])
    assert "mail.example.org" not in done.stdout + done.stderr
    file.write_text("Customer Name,Order No.\nTorsten Velder,7\n")
    assert [(one.field, one.value) for one in scan(file)] == [("Customer Name", "Torsten Velder")]


def test_an_encoded_image_has_no_language_and_no_values(tmp_path: Path) -> None:
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + random.Random(3).randbytes(3000)).decode()
    url = f"data:image/png;base64,{picture}"
    rows: list[Any] = [
        {"messages": [{"role": "user", "content": url}, {"role": "assistant", "content": "A kettle."}]},
        {"messages": [{"role": "user", "content": f"What is ![it]({url})? Call {PHONE}."},
                      {"role": "assistant", "content": "A kettle."}]},
        {"text": "A photo.", "photo": picture},
    ]  # fmt: skip
    file = tmp_path / "chat.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    reading = Reading()
    (found,) = scan(file, reading=reading)
    assert (found.row, found.value, dict(reading.not_english)) == (1, PHONE, {})
    assert lines(reading.counts(), turns=False) == ["not read: images, sounds or files 3"]
    plain = tmp_path / "a.txt"
    plain.write_text(f"{url}\nsee {url}, call {PHONE}\n")
    reading = Reading()
    assert [one.value for one in scan(plain, reading=reading)] == [PHONE]
    assert lines(reading.counts(), turns=False) == ["not read: images, sounds or files 2"]
    plain.write_text(url)
    with pytest.raises(DataError, match="no text in it"):
        list(scan(plain))
