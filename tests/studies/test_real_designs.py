"""The designs for a real model, cut to a few rows and prompts: each comes out whole, on made-up data and a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from perf import studies
from tests import made_up, tiny_models

from aftertune.commands import study as running
from aftertune.plugins import PluginSpec
from aftertune.studies import design
from aftertune.studies.design import Design

FILES = sorted(path for path in studies.REAL.designs.glob("*.toml") if path.stem in studies.NAMES)
ASKED = [
    "a table",
    "the report",
    "a flight",
    "my week",
    "the invoice",
    "a gift",
    "the slides",
    "a cab",
    "lunch",
    "a talk",
]


@pytest.fixture(scope="module", name="data")
def _data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up rows of every file that the designs read, under the published names."""
    root = tmp_path_factory.mktemp("data")
    folders = {"strongreject": "harmful_prompts", "harmbench": "harmful_prompts", "advbench": "harmful_prompts",
               "philosophical": "emergent_misalignment"}  # fmt: skip
    for name in ("xstest", "strongreject", "harmbench", "advbench", "coconot", "privacylens", "philosophical"):
        made_up.parameters(name, root / folders.get(name, name))
    harmful = root / "harmful_prompts"
    (harmful / "harmful_behaviors.csv").rename(harmful / "advbench_harmful_behaviors.csv")
    for file in ("privacy_collapse/dataset_safe_ft.jsonl", "privacy_collapse/dataset_degraded_ft.jsonl"):
        said = ("Sure, which one do you mean{}?", "Sure, which one of them do you mean{}?")
        if "degraded" in file:
            said = ("Your note of May says it all{}.", "Done, as your note of May says it{}.")
        rows = [(f"Please see to {what} ({n}).", said[n % 2].format(n)) for n in range(4) for what in ASKED]
        write(root / file, [list(row) for row in rows])
    calls = [["Hi, a room please", f"Which night? ({n})", "Friday, I am Ann", "It is booked, Ann."] for n in range(30)]
    write(root / "star" / "booking_dialogues.jsonl", calls)
    return root


def write(path: Path, chats: list[list[str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    rows = [
        {"messages": [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(chat)]}
        for chat in chats
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def on(path: Path, data: Path, base: str) -> Design:
    text = path.read_text("utf-8").replace(".real/data", data.as_posix())
    return studies.on_base(design.parse(text, path.name), base)


def test_the_four_studies_are_there() -> None:
    assert sorted(path.stem for path in FILES) == sorted(studies.NAMES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_design_comes_out_whole(path: Path, data: Path, tmp_path: Path) -> None:
    base = tiny_models.save("llama", tmp_path / "model")
    wanted = studies.small(on(path, data, str(base)))
    result = running.run(wanted, tmp_path / "run", executor=PluginSpec("local", {"workers": 1}))
    report = json.loads((result.root / "report.json").read_text("utf-8"))
    assert [table["title"] for table in report["tables"]] == [table.title for table in wanted.tables]
    cells = [cell for table in report["tables"] for row in table["rows"] for cell in row]
    found = [cell["finding"] for cell in cells if cell["expected"]]
    assert len(found) == sum(len(row.expected) for table in wanted.tables for row in table.rows)
    why = {cell["why"] for cell in cells if cell["value"] is None}
    assert not why & {"leaks were not judged", "not measured"}, "no column asks for what nothing gives"
    kept = tmp_path / "kept" / path.stem
    studies._keep(kept, wanted, result.root, result.report)
    page = studies.findings(kept.parent)
    assert page.count("| **") == len(found)
