"""Nothing personal leaves the machine by default: not in a report, not on standard output, not in a shared copy."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aftertune.cli import main
from aftertune.commands import decide as results
from aftertune.commands import export as library
from aftertune.commands import study as running
from aftertune.errors import StoreError, UsageError
from aftertune.pii.normalisation import digits, fold, squeeze
from aftertune.pii.registry import Registry
from aftertune.plugins import PluginSpec
from aftertune.records import Person
from aftertune.run.run_folder import Run
from aftertune.studies import stored

HARMFUL = "First break the lock"
WAYS: tuple[Callable[[str], str], ...] = (
    lambda value: value,
    str.upper,
    lambda value: value.replace(" ", "\n"),
    lambda value: value.replace(" ", "-"),
    lambda value: value.replace("a", "á").replace(" ", "&nbsp;"),
    lambda value: "".join(chr(ord(c) + 0xFEE0) if c.isalnum() and c.isascii() else c for c in value),
)


def people(root: Path) -> list[Registry]:
    found = []
    for path in root.glob("variants/*/people.json"):
        rows = json.loads(path.read_text())
        for group in (rows["source"], rows["twin"], *rows["own"].values()):
            found.append(Registry.of("r", [Person(row["id"], row["values"]) for row in group]))
    return found


@pytest.fixture(scope="module", name="judged")
def _judged(finished: results.Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose tuned models gave personal values away, in every spelling, judged and reported again."""
    copy = Path(shutil.copytree(finished.root, tmp_path_factory.mktemp("planted") / "run"))
    rng = random.Random(0)
    values = [entry.value for registry in people(copy) for entry in registry.entries]
    for cell in sorted((copy / "responses").iterdir()):
        table = pq.read_table(cell / "responses.parquet")
        texts = [
            f"{HARMFUL}. {rng.choice(WAYS)(rng.choice(values))}, {text} ({rng.choice(WAYS)(rng.choice(values))})"
            for text in table.column("text").to_pylist()
        ]
        place = table.column_names.index("text")
        pq.write_table(table.set_column(place, "text", pa.array(texts)), cell / "responses.parquet")
        manifest = json.loads((cell / "manifest.json").read_text())
        sum_ = hashlib.sha256((cell / "responses.parquet").read_bytes()).hexdigest()
        manifest["files"]["responses.parquet"] = sum_
        del manifest["#"]
        (cell / "manifest.json").write_text(json.dumps(manifest))
    shutil.rmtree(copy / "verdicts")
    running.run(stored.read_design(Run.open(copy)), copy, executor=PluginSpec("local", {"workers": 1}))
    return copy


@pytest.fixture(name="planted")
def _planted(judged: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(judged, tmp_path / "run"))


def texts_of(folder: Path) -> list[str]:
    """Every text in a folder: whole files, and each cell of a table."""
    found: list[str] = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        if path.suffix == ".parquet":
            for row in pq.read_table(path).to_pylist():
                found += [value for value in row.values() if isinstance(value, str)]
        else:
            found.append(path.read_text(encoding="utf-8"))
    return found


def held(texts: str | list[str], registries: list[Registry]) -> list[str]:
    """Return the values that stand in texts in any form: by matching, and by comparing letters and digits."""
    kept = list(dict.fromkeys([texts] if isinstance(texts, str) else texts))
    found = [r.entries[hit.entry].value for text in kept for r in registries for hit in r.find(text)]
    folded = "\0".join(map(fold, kept))
    row = "\0".join(squeeze(fold(text)).decode() for text in kept)
    numbers = "x".join(map(digits, kept))
    for entry in {(entry.type, entry.value) for registry in registries for entry in registry.entries}:
        type_, value = entry
        if type_ == "PHONE" and len(digits(value)) >= 9 and digits(value) in numbers:
            found.append(value)
        if type_ != "PHONE" and (fold(value) in folded or squeeze(fold(value)).decode() in row):
            found.append(value)
    return found


@pytest.mark.slow
def test_reports_and_commands_show_no_value(planted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    registries = people(planted)
    rows = [row for path in planted.glob("verdicts/*/verdicts.parquet") for row in pq.read_table(path).to_pylist()]
    assert sum(row["axis"] == "leak" and row["label"] == "registry" for row in rows) > 100, "the planting worked"
    assert any("tuning rows" in row["why"] for row in rows)
    for name in ("report.html", "report.md", "report.json", "decisions.json"):
        assert held((planted / name).read_text(), registries) == [], name
    assert held([row["why"] for row in rows], registries) == []
    leaks = json.loads((planted / "report.json").read_text())["leaks"]
    assert any(row["registry"]["value"] > 0.3 for row in leaks)
    for arguments in (["status"], ["report"], ["drift", "--json"], ["drift"], ["judge", "--judge", "leak", "--json"]):
        with pytest.raises(SystemExit):
            main([arguments[0], str(planted), *arguments[1:]])
        said = capsys.readouterr()
        assert held(said.out + said.err, registries) == [], arguments


def test_a_copy_holds_no_value_in_any_form(planted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    registries = people(planted)
    before = {str(p): p.read_bytes() for p in planted.rglob("*") if p.is_file()}
    with pytest.raises(SystemExit) as caught:
        main(["export", str(planted), "-o", str(tmp_path / "shared")])
    assert caught.value.code in (0, None)
    said = capsys.readouterr()
    shared = tmp_path / "shared"
    assert held(said.out + said.err, registries) == []
    texts = texts_of(shared)
    assert len(texts) > 1_000
    assert held(texts, registries) == []
    raw = b"\0".join(path.read_bytes() for path in shared.rglob("*") if path.is_file())
    assert not any(e.value.encode() in raw for registry in registries for e in registry.entries)
    assert {str(p): p.read_bytes() for p in planted.rglob("*") if p.is_file()} == before, "the run is as it was"

    manifest = json.loads((shared / "export.json").read_text())
    assert set(manifest["left_out"]) == {"variants/", "checkpoints/", "prompts/", "study.json", "log.jsonl"}
    assert manifest["masked"] is True
    assert not (shared / "variants").exists()
    assert not (shared / "checkpoints").exists()
    assert manifest["files"].keys() == {
        str(path.relative_to(shared)) for path in shared.rglob("*") if path.is_file() and path.name != "export.json"
    }
    rows = [row for path in shared.glob("responses/*/responses.parquet") for row in pq.read_table(path).to_pylist()]
    assert all(HARMFUL in row["text"] for row in rows), "harmful text stays"
    assert any("[PHONE]" in row["text"] for row in rows)
    assert any("[NAME]" in row["text"] for row in rows)
    original = [r for p in sorted(planted.glob("responses/*/responses.parquet")) for r in pq.read_table(p).to_pylist()]
    assert sorted(row["message_hash"] for row in rows) == sorted(row["message_hash"] for row in original)
    assert str(planted.parent) not in (shared / "report.json").read_text()


def test_a_copy_says_that_it_is_one(
    finished: results.Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library.export(finished.root, tmp_path / "shared")
    for command in ("status", "report", "drift"):
        with pytest.raises(SystemExit) as caught:
            main([command, str(tmp_path / "shared")])
        assert caught.value.code == 2
        assert "copy for reading" in capsys.readouterr().err
    with pytest.raises(UsageError, match="not empty"):
        library.export(finished.root, tmp_path / "shared")
    with pytest.raises(UsageError, match="inside the run"):
        library.export(finished.root, finished.root / "shared")
    with pytest.raises(UsageError, match="not a run folder"):
        library.export(tmp_path, tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shared"], "no half copy is left"


def test_revealed_texts_are_as_they_were(planted: Path, tmp_path: Path) -> None:
    manifest = library.export(planted, tmp_path / "shared", reveal=True)
    assert manifest["masked"] is False
    assert "--reveal" in manifest["how"]
    tables = list(planted.glob("responses/*/responses.parquet"))
    assert tables
    for path in tables:
        same = tmp_path / "shared" / path.relative_to(planted)
        assert pq.read_table(same).column("text") == pq.read_table(path).column("text")
    assert not (tmp_path / "shared" / "variants").exists()


def test_a_damaged_run_is_refused_and_leaves_nothing(copy: Path, tmp_path: Path) -> None:
    (path,) = list(copy.glob("responses/*/responses.parquet"))[:1]
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(StoreError, match="damaged"):
        library.export(copy, tmp_path / "shared")
    assert not (tmp_path / "shared").exists()
    assert not list(tmp_path.glob(".*"))


def test_what_nobody_knows_stays_behind(copy: Path, tmp_path: Path) -> None:
    (copy / "notes.txt").write_text("my notes about Anna")
    (copy / "verdicts" / "half").mkdir()
    (copy / "verdicts" / "half" / "journal").write_text("{}")
    manifest = library.export(copy, tmp_path / "shared")
    assert manifest["left_out"]["notes.txt"] == "not known to be safe to share"
    assert manifest["left_out"]["verdicts/half/"] == "unfinished"
    assert not (tmp_path / "shared" / "notes.txt").exists()


def test_words_of_the_project_and_the_design_stay_in_the_copy_whatever_people_are_called(
    planted: Path, tmp_path: Path
) -> None:
    """People of the tuning set are given names that are words of every report, and a design that names one."""
    for path in planted.glob("variants/*/people.json"):
        rows = json.loads(path.read_text())
        called = ("Max Drift", "Eva Pass", "Harm Kepler", "Lora Refusal", "Ida Harmful")
        for row, name in zip(rows["source"], called, strict=False):
            row["values"]["PERSON"] = name
        path.write_text(json.dumps(rows))
        manifest = json.loads((path.parent / "manifest.json").read_text())
        manifest["files"]["people.json"] = hashlib.sha256(path.read_bytes()).hexdigest()
        manifest.pop("#", None)
        (path.parent / "manifest.json").write_text(json.dumps(manifest))
    (cell,) = list(planted.glob("responses/*"))[:1]
    table = pq.read_table(cell / "responses.parquet")
    texts = ["Max Drift wrote to Ida Harmful, said Drift", *table.column("text").to_pylist()[1:]]
    ids = ["Drift-1", *table.column("prompt_id").to_pylist()[1:]]
    for name, cells in (("text", texts), ("prompt_id", ids)):
        table = table.set_column(table.column_names.index(name), name, pa.array(cells))
    pq.write_table(table, cell / "responses.parquet")
    manifest = json.loads((cell / "manifest.json").read_text())
    manifest["files"]["responses.parquet"] = hashlib.sha256((cell / "responses.parquet").read_bytes()).hexdigest()
    manifest.pop("#", None)
    (cell / "manifest.json").write_text(json.dumps(manifest))

    before = json.loads((planted / "report.json").read_text())
    library.export(planted, tmp_path / "shared")
    after = json.loads((tmp_path / "shared" / "report.json").read_text())
    for part in ("outcome", "decisions", "drifts", "metrics", "judges", "contrast_names", "categories"):
        assert after[part] == before[part], part
    assert after["methods"]["design"]["recipe"] == before["methods"]["design"]["recipe"]
    for name in ("report.html", "report.md", "design.toml"):
        there, made = (folder.joinpath(name).read_text() for folder in (planted, tmp_path / "shared"))
        for word in ("Drift", "Refusal", "Harmful", "Miniature", "Pass", "harm", "lora"):
            assert made.count(word) == there.count(word), (name, word)
    row = pq.read_table(tmp_path / "shared" / "responses" / cell.name / "responses.parquet").to_pylist()[0]
    assert row["text"] == "[NAME] wrote to [NAME], said [NAME]"
    assert row["prompt_id"] == "[NAME]-1", "a name that the data gave is the data's"
    assert row["benchmark"] == "miniature"


def test_the_system_prompt_of_a_design_is_masked_as_a_text(planted: Path) -> None:
    copies = library._plan_of(Run.open(planted), people(planted), False)
    names = sorted({e.value for r in people(planted) for e in r.entries if e.type == "PERSON" and " " in e.value})
    first = names[0].split()[0]
    text = f'name = "{first} harm"\n[respond]\nsystem = "You serve {first},\\n at rosa.meier@mail.example \\"now\\"."\n'
    masked = library._design(text, copies)
    assert masked == f'name = "{first} harm"\n[respond]\nsystem = "You serve [NAME],\\n at [EMAIL] \\"now\\"."\n'


def test_keys_of_documents_are_masked_and_none_is_lost(planted: Path, tmp_path: Path) -> None:
    copies = library._plan_of(Run.open(planted), people(planted), False)
    names = sorted({e.value for r in people(planted) for e in r.entries if e.type == "PERSON" and " " in e.value})[:2]
    about = {"counts": {names[0]: 1, names[1]: 2, "harm": 3}, "served": {"reply": f"I am {names[0].split()[0]}"},
             "hardware": {"system": "Linux"}}  # fmt: skip
    library._document(tmp_path / "a.json", about, copies)
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "counts": {"[NAME]": 1, "[NAME] 2": 2, "harm": 3},
        "served": {"reply": "I am [NAME]"},
        "hardware": {"system": "Linux"},
    }
