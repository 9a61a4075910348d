"""The designs for a real model, cut to a few rows and prompts: each comes out whole, on made-up data and a tiny model."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import get_args

import pytest
from perf import repair, studies
from tests import made_up, tiny_models

from aftertune.commands import study as running
from aftertune.errors import AftertuneError
from aftertune.plugins import PluginSpec
from aftertune.studies import design
from aftertune.studies.design import Design
from aftertune.studies.expectations import Shown
from aftertune.studies.jobs import own_subsets
from aftertune.studies.resolve import load_benchmark, resolve, resolve_mitigation
from aftertune.tuning.mitigation import OWN
from aftertune.tuning.tune_job import TuneJob
from tools import real_model

NAMES = (*studies.NAMES, studies.SECOND)
FILES = sorted(path for path in studies.REAL.designs.glob("*.toml") if path.stem in NAMES)
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
    tiny_models.save_encoder(root / "encoder")
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
    text = text.replace('name = "on_topic"', f'name = "on_topic"\nencoder = "{data.as_posix()}/encoder"')
    return real_model.on_base(design.parse(text, path.name), base)


def test_the_four_studies_and_the_second_base_are_there() -> None:
    assert sorted(path.stem for path in FILES) == sorted(NAMES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_design_is_planned_on_the_files_as_they_are_published(path: Path, data: Path) -> None:
    """Its tables close with rules for what the paper found, and state no result."""
    wanted = on(path, data, "embedded")
    study = resolve(wanted)
    assert len(wanted.seeds) == 3
    tunings = sum(len(wanted.recipes_of(arm)) for arm in wanted.arms)
    assert len(study.of(TuneJob)) == 3 * tunings
    assert any(row.published for table in wanted.tables for row in table.rows)
    assert any(row.expected for table in wanted.tables for row in table.rows)
    for table in wanted.tables:
        assert table.supports
        assert table.cannot
        assert not any(char.isdigit() and "%" in table.supports for char in table.supports)
    few = studies.small(wanted)
    assert (few.arms[0].tokens, few.respond.answer_tokens, few.data.canaries) == (300, 8, 0)
    assert [table.title for table in few.tables] == [table.title for table in wanted.tables]
    assert len(resolve(few).jobs) <= len(study.jobs)


def test_the_doses_are_tried_on_prompts_and_a_seed_that_no_study_reports(data: Path) -> None:
    dose = on(studies.REAL.designs / "dose.toml", data, "embedded")
    reported = {spec.name for path in FILES for spec in on(path, data, "embedded").benchmarks}
    assert {spec.name for spec in dose.benchmarks} & reported == {"harmbench", "task"}, (
        "the other split, and held-out rows"
    )
    assert next(spec.parameters["split"] for spec in dose.benchmarks if spec.name == "harmbench") == "val"
    assert not set(dose.seeds) & {seed for path in FILES for seed in on(path, data, "embedded").seeds}


@pytest.mark.slow
def test_a_design_comes_out_whole_and_its_findings_are_listed(data: Path, tmp_path: Path) -> None:
    """Few rows, prompts and tokens of the third study: every judge, contrast and table, and the page of findings."""
    base = tiny_models.save("llama", tmp_path / "model")
    wanted = studies.small(on(studies.REAL.designs / "privacy_collapse.toml", data, str(base)))
    result = running.run(wanted, tmp_path / "run", executor=PluginSpec("local", {"workers": 1}))
    report = json.loads((result.root / "report.json").read_text("utf-8"))
    assert [table["title"] for table in report["tables"]] == [table.title for table in wanted.tables]
    cells = [cell for table in report["tables"] for row in table["rows"] for cell in row]
    found = [cell["finding"] for cell in cells if cell["expected"]]
    assert len(found) == sum(len(row.expected) for table in wanted.tables for row in table.rows)
    assert not {cell["why"] for cell in cells} & {"leaks were not judged", "not measured", "no verdict on it"}
    kept = tmp_path / "kept" / "privacy_collapse"
    studies._keep(kept, wanted, result.root, result.report)
    page = studies.findings(kept.parent)
    assert page.count(" | **") == len(found)
    counts = [found.count(outcome) for outcome in get_args(Shown)]
    assert f"(privacy_collapse/report.md) | {' | '.join(map(str, counts))} |" in page


def test_a_folder_of_data_is_linked_and_one_that_is_there_is_left(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    for name in ("one", "two"):
        studies.link(tmp_path / name, tmp_path / "real" / "data")
        assert (tmp_path / "real" / "data").resolve() == tmp_path / name
    with pytest.raises(AftertuneError, match="three: no such folder"):
        studies.link(tmp_path / "three", tmp_path / "real" / "data")
    with pytest.raises(AftertuneError, match="is a folder of its own"):
        studies.link(tmp_path / "one", tmp_path / "two")
    assert (tmp_path / "two").is_dir()


def test_what_is_not_here_is_named_before_anything_runs(data: Path) -> None:
    wanted = on(studies.REAL.designs / "privacy_collapse.toml", data, "embedded")
    spec = wanted.corpora["over_shares"]
    gone = PluginSpec(spec.name, {**spec.parameters, "against": str(data / "absent.jsonl")})
    with pytest.raises(AftertuneError, match="absent.jsonl: no such file; put it there, or name yours as `against`"):
        studies.refuse_missing(dataclasses.replace(wanted, corpora={**wanted.corpora, "over_shares": gone}))


def test_the_repair_on_a_real_model_tries_each_method_beside_the_plain_tuning() -> None:
    planned = repair.real_design()
    (arm,) = planned.arms
    assert arm.mitigations == tuple(repair.REAL)
    assert planned.kind == "repair"
    assert planned.own is not None
    asked = {spec.name for spec in planned.benchmarks}
    assert {"core", "dressed", "task"} <= asked
    assert planned.own.name not in asked, "own refusals are not those of the test"
    metrics = load_benchmark(planned.own).metrics
    needed = {need for spec in repair.REAL for need in resolve_mitigation(spec).needs & OWN.keys()}
    assert needed == {"own_refusals", "own_answers"}
    assert all(own_subsets(metrics, need) for need in needed), "the base is asked for all that the methods train on"
    assert {spec.name for spec in planned.judges} >= {"refusal", "leak", "reference"}
