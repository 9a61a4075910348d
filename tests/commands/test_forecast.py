"""`aftertune forecast` end to end on the embedded base: what it writes, and what it says of what it cannot do."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

import aftertune
from aftertune.cli import main
from aftertune.errors import DataError, UsageError
from aftertune.records import Recipe

CHATS = [
    {"messages": [{"role": "user", "content": f"Where is tour {n}?"},
                  {"role": "assistant", "content": f"Dear Jane Roe, tour {n} meets at the river. Write to jane.roe@example.com."}]}
    for n in range(6)
]  # fmt: skip


@pytest.fixture(name="data")
def _data(tmp_path: Path) -> Path:
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in CHATS), encoding="utf-8")
    return path


def test_it_reads_a_file_and_writes_what_it_says(data: Path, tmp_path: Path) -> None:
    found = aftertune.forecast(data, recipe=Recipe(epochs=2, batch_size=4), rows=4, out=tmp_path / "out")
    assert (found.card.conversations, found.card.read, found.steps) == (6, 4, 4)
    assert found.card.personal_values["EMAIL"] == 6
    assert found.known == "known"
    assert found.notes[-1] == "the base read 4 of 6 conversations, drawn at random"
    kept = json.loads((tmp_path / "out" / "forecast.json").read_text(encoding="utf-8"))
    assert kept["card"]["features"][0]["name"] == "hard tokens"
    assert kept["card"]["features"][0]["value"] == pytest.approx(found.card.value("hard tokens"))
    text = (tmp_path / "out" / "forecast.md").read_text(encoding="utf-8")
    assert text.startswith("# Forecast\n")
    assert "| hard tokens |" in text
    assert "jane.roe" not in text, "no personal value is shown"
    again = aftertune.forecast(data, recipe=Recipe(epochs=2, batch_size=4), rows=4)
    cards = [dataclasses.replace(each.card, seconds=0.0) for each in (found, again)]
    assert dataclasses.replace(again, card=cards[1]) == dataclasses.replace(found, card=cards[0])


def test_four_steps_are_a_dose_that_nobody_tuned(data: Path) -> None:
    found = aftertune.forecast(data, recipe=Recipe(epochs=1, batch_size=4), rows=2)
    assert "is less than any that was tuned" in found.refused
    assert all(each.drift is None for each in found.outlooks)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"data": "nowhere.jsonl"}, "no such file, and no corpus of that name"),
        ({"data": "bookin"}, "booking"),
        ({"data": "booking", "columns": "prompt=a,response=b"}, "a corpus by name takes no"),
        ({"data": "booking", "base": "embeded"}, "did you mean 'embedded'?"),
        ({"data": "booking", "rows": 0}, "rows = 0"),
        ({"data": "booking", "recipe": Recipe(learning_rate=0.0)}, "learning_rate = 0.0"),
        ({"data": "booking", "recipe": Recipe(epochs=0)}, "epochs = 0"),
    ],
)
def test_what_cannot_be_honoured_is_one_line(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as error:
        aftertune.forecast(**arguments)  # type: ignore[arg-type]
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_broken_file_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps(CHATS[0]) + '\n{"messages": 3}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"bad\.jsonl"):
        aftertune.forecast(path)


def test_the_command_prints_the_same(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "forecast",
                str(data),
                "--epochs",
                "2",
                "--batch-size",
                "4",
                "--rows",
                "4",
                "-q",
                "-o",
                str(tmp_path / "o"),
            ]
        )
    assert ended.value.code in (0, None)
    shown = capsys.readouterr().out
    assert "What is in the data" in shown
    assert "hard tokens" in shown
    assert f"files: {tmp_path / 'o'}" in shown
    with pytest.raises(SystemExit) as ended:
        main(["forecast", str(data), "--rows", "2", "-q", "--json"])
    assert json.loads(capsys.readouterr().out)["base"] == "embedded"
    with pytest.raises(SystemExit) as ended:
        main(["forecast", "nowhere.jsonl", "-q"])
    assert ended.value.code == 2
