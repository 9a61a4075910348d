"""Drawing a sheet of a run's answers for readers, and joining two readings of it."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from perf import read_answers
from perf.read_answers import Made, blinded, drawn, settled
from perf.readings import AXES, CONSISTENCY, FIRST, LABELS, PAGES, SAFETY_BASE, SHEETS, about, sheets

from aftertune.asking.benchmark import BenchmarkContext
from aftertune.asking.benchmarks.core import Core
from aftertune.errors import DataError, UsageError
from aftertune.records import Response

SHEET = SHEETS[SAFETY_BASE]
CORE = Core().prompts(BenchmarkContext())
READ = {"refusal": "none", "harm": "harmless", "coherence": "coherent", "relevance": "other", "topic": "on_topic"}


def made(arms: tuple[str, ...] = SHEET.arms, per_subset: int = 30) -> list[Made]:
    """Answers to as many prompts of each subset, of the base and of three seeds of each other arm."""
    rows = []
    for arm in arms:
        for seed in (None,) if arm == "base" else (0, 1, 2):
            for subset in ("harmful", "open", "harmless"):
                for n in range(per_subset):
                    rows.append(Made(arm, "lora", seed, None, response(arm, seed, subset, f"{subset}-{n:02d}")))
    return rows


def response(arm: str, seed: int | None, subset: str, prompt: str) -> Response:
    own: Mapping[str, Any] = {
        "base": "b", "arm": arm, "recipe": "lora", "train_seed": seed, "epoch": None, "checkpoint": arm,
        "benchmark": "core", "subset": subset, "prompt_id": prompt, "cluster": prompt, "category": "c", "system": "",
        "template": "base", "temperature": 0.0, "sample": 0, "message_hash": "m", "corpus": "", "token_hash": None,
        "text": f"{arm} {seed} {prompt}", "finish_reason": "length" if prompt.endswith("1") else "stop",
        "new_tokens": 3,
    }  # fmt: skip
    return Response(**own)


def test_as_many_are_drawn_of_each_arm_seed_and_subset_as_the_sheet_says() -> None:
    key = drawn(SHEET, made())
    wanted: dict[tuple[str, int | None, str], int] = {("base", None, "harmful"): 24, ("base", None, "harmless"): 6}
    for arm in SHEET.arms[1:]:
        for seed in (0, 1, 2):
            wanted |= {(arm, seed, "harmful"): 8, (arm, seed, "harmless"): 2}
    assert Counter((row["arm"], row["seed"], row["subset"]) for row in key) == wanted
    assert [row["id"] for row in key] == [f"s{at:03d}" for at in range(210)]
    assert sum(row["kept_apart"] for row in key) == 105
    assert len({row["answer"] for row in key}) == 210, "no answer stands there twice"
    assert [row["cut"] for row in key] == [row["prompt_id"].endswith("1") for row in key]


def test_the_same_run_gives_the_same_sheet_whatever_the_order_of_its_answers() -> None:
    """The first rows are those of the script that drew the sheet of the second base."""
    key = drawn(SHEET, made())
    assert key == drawn(SHEET, made()[::-1])
    assert [(row["answer"], row["kept_apart"]) for row in key[:4]] == [
        ("mail-personal-swap 1 harmful-07", True),
        ("base None harmful-06", False),
        ("mail-personal-swap 0 harmful-04", False),
        ("dialogues 0 harmful-02", False),
    ]


def test_readers_see_what_was_asked_and_answered_and_nothing_else() -> None:
    key = drawn(SHEET, made())
    rows = blinded(key, {row["prompt_id"]: f"asked {row['prompt_id']}" for row in key})
    assert {tuple(row) for row in rows} == {("id", "prompt", "answer", "cut")}
    assert [row["prompt"] for row in rows] == [f"asked {row['prompt_id']}" for row in key]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (made(SHEET.arms[:-1]), "the run has no answers of 'dialogues'"),
        (made(per_subset=7), "'base', seed None: 7 answers of 'harmful'"),
        ([*made(), made()[0]], "'base' has 2 answers to prompt harmful-00 of one seed"),
    ],
    ids=["an arm", "too few", "several"],
)
def test_a_run_that_cannot_be_drawn_from_is_refused(rows: list[Made], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        drawn(SHEET, rows)


@pytest.mark.parametrize("name", [FIRST, CONSISTENCY])
def test_a_sheet_whose_script_was_not_kept_is_not_drawn_again_and_its_page_says_so(name: str) -> None:
    with pytest.raises(UsageError, match="drawn by a script that was not kept"):
        drawn(SHEETS[name], made())
    assert "A script that was not kept drew them" in " ".join(SHEETS[name].page.read_text(encoding="utf-8").split())


@pytest.mark.parametrize("name", sheets())
def test_a_page_begins_as_the_script_writes_it(name: str) -> None:
    _, first, *_ = SHEETS[name].page.read_text(encoding="utf-8").split("\n\n")
    assert first == about(name, int(first.split()[0])), "python -m perf.readings SHEET --write"


def test_what_readers_are_told_names_every_label() -> None:
    text = (PAGES / "rubric.md").read_text(encoding="utf-8")
    for axis, labels in LABELS.items():
        told = next(part for part in text.split("\n- ") if part.startswith(f"`{axis}`:"))
        assert [label for label in labels if f"`{label}`" not in told] == []


def test_what_two_readings_differ_on_is_left_until_a_third_says() -> None:
    key = drawn(SHEET, made())[:3]
    one = {row["id"]: dict(READ) for row in key}
    two = {**one, "s001": {**READ, "harm": "harmful", "topic": "off_topic"}}
    rows, left = settled(key, one, two, {})
    assert left == [("s001", "harm"), ("s001", "topic")]
    rows, left = settled(key, one, two, {"s001": {"harm": "harmful", "topic": "on_topic"}})
    assert left == []
    assert [row["settled"] for row in rows] == [{}, {"harm": "harmful", "topic": "on_topic"}, {}]
    assert rows[1]["first"] == READ
    assert rows[1]["second"]["harm"] == "harmful"
    assert set(rows[0]) == {*key[0], "first", "second", "settled"}


@pytest.mark.parametrize(
    ("first", "third", "why"),
    [
        ({"s000": READ}, {}, "do not have the same answers: s001"),
        ({"s000": READ, "s001": READ, "s002": READ}, {}, "do not have the same answers: s002"),
        ({"s000": {**READ, "harm": "bad"}, "s001": READ}, {}, "the first reading, s000: harm is 'bad'"),
        ({"s000": {"harm": "harmful"}, "s001": READ}, {}, "the first reading, s000: refusal is None"),
        ({"s000": READ, "s001": READ}, {"s001": {"harm": "harmful"}}, "s001: the two readings agree on harm"),
        ({"s000": READ, "s001": READ}, {"s001": {"tone": "x"}}, "the third reading, s001: tone is 'x'"),
        ({"s000": READ, "s001": READ}, {"s009": {"harm": "harmful"}}, "not on the sheet: s009"),
    ],
    ids=["left out", "too many", "another label", "an axis", "agreed", "another axis", "unknown"],
)
def test_readings_that_do_not_fit_are_refused(first: Any, third: Any, why: str) -> None:
    with pytest.raises(DataError, match=why):
        settled(drawn(SHEET, made())[:2], first, {"s000": READ, "s001": READ}, third)


def test_a_sheet_is_drawn_read_and_settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    rows = [replace(row, response=replace(row.response, prompt_id=core_id(row.response.prompt_id))) for row in made()]
    monkeypatch.setattr(read_answers, "answers", lambda root: rows)
    readers, key = tmp_path / "readers", tmp_path / "key.jsonl"
    with pytest.raises(UsageError, match="the key says who wrote what"):
        read_answers.draw(SAFETY_BASE, tmp_path, readers, readers / "key.jsonl")
    read_answers.draw(SAFETY_BASE, tmp_path, readers, key)
    assert sorted(path.name for path in readers.iterdir()) == ["rubric.md", "sheet.jsonl"]
    with pytest.raises(UsageError, match="is not drawn again"):
        read_answers.draw(SAFETY_BASE, tmp_path, readers, key)
    ids = [json.loads(line)["id"] for line in (readers / "sheet.jsonl").read_text().splitlines()]
    assert len(ids) == 210
    write(readers / "first.jsonl", [{"id": one, **READ} for one in ids])
    write(
        readers / "second.jsonl", [{"id": one, **READ, **({"harm": "harmful"} if one == "s007" else {})} for one in ids]
    )
    target = tmp_path / "readings.jsonl.gz"
    third = tmp_path / "settled.json"
    capsys.readouterr()
    assert read_answers.settle(SAFETY_BASE, readers, key, third, target) == 1
    assert "s007 harm: harmless | harmful | " in capsys.readouterr().out
    assert not target.exists()
    third.write_text(json.dumps({"s007": {"harm": "harmless"}}))
    assert read_answers.settle(SAFETY_BASE, readers, key, third, target) == 0
    with gzip.open(target, "rt") as file:
        kept = [json.loads(line) for line in file]
    assert [row["settled"] for row in kept if row["settled"]] == [{"harm": "harmless"}]
    assert all(set(row["first"]) == set(AXES) for row in kept)
    write(readers / "first.jsonl", [{"id": one, **READ} for one in [*ids, ids[0]]])
    with pytest.raises(DataError, match="s000 more than once"):
        read_answers.settle(SAFETY_BASE, readers, key, third, target)


def core_id(made_up: str) -> str:
    """An id that `core` has, for a made-up one."""
    subset, _, number = made_up.partition("-")
    return [prompt.id for prompt in CORE if prompt.subset == subset][int(number)]


def write(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
