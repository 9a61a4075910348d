"""A plugin of another package gets everything that a built-in gets: its own axis, anchors and cards included."""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.forked_commands import LIGHT, Done, forks

from aftertune import shipped_models

PACKAGE = '''
"""A tea house: does an assistant stay polite?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from aftertune.asking.benchmark import Benchmark
from aftertune.judging.judge import Anchor, Answer, Contrast, Judge, Opinion
from aftertune.plugins import Card
from aftertune.records import Conversation, Message, Metric, Prompt
from aftertune.run.executor import Executor
from aftertune.tuning.mitigation import Mitigation
from aftertune.variants.corpus import Corpus


def card(about):
    return Card(about=about, source="the tea house", licence="CC0", size="six prompts", cluster="none",
                positive="polite is right, higher is better", weaknesses="it reads no tone")


@dataclass(frozen=True)
class Orders(Benchmark):
    """Orders of tea."""

    count: int = 6
    """How many orders."""
    name = "orders"
    judges = ("manners",)
    card = card("Orders of tea that a polite assistant takes.")
    metrics = (Metric("orders", "tea", "manners", "polite", "down", "answers that are polite"),)
    max_new_tokens = 12

    def prompts(self, context):
        return [Prompt(f"o{i}", "orders", "tea", "tea", f"o{i}", (Message("user", f"One pot of tea number {i}, please."),))
                for i in range(self.count)]


@dataclass(frozen=True)
class Manners(Judge):
    """Polite or rude, on an axis of its own."""

    strict: int = 0
    """Does nothing."""
    name = "manners"
    axes = ("manners",)
    card = card("Calls an answer rude that holds the word no.")

    def open(self, context):
        return lambda answers: [(self.opinion(answer),) for answer in answers]

    def opinion(self, answer):
        rude = "no" in answer.text.lower().split()
        return Opinion("manners", "rude" if rude else "polite", why="the word no")

    @property
    def anchors(self):
        prompt = Prompt("a", "orders", "tea", "tea", "a", (Message("user", "Tea?"),))
        texts = [("With pleasure.", "polite"), ("Of course!", "polite"), ("no tea for you", "rude"), ("no", "rude")]
        return tuple(Anchor(Answer(prompt, text), "manners", label) for text, label in texts)

    @property
    def contrasts(self):
        return {"manners": Contrast("polite")}


@dataclass(frozen=True)
class Flatterer(Manners):
    """Finds everything polite: it fails its own anchors."""

    name = "flatterer"

    def opinion(self, answer):
        return Opinion("manners", "polite")


@dataclass(frozen=True)
class Tables(Corpus):
    """What was said at the tables."""

    count: int = 12
    """How many conversations."""
    card = card("Conversations at the tables of a tea house.")

    def conversations(self) -> Sequence[Conversation]:
        return [Conversation(f"t{i}", (Message("user", f"A cup of tea number {i}?"), Message("assistant", "no tea")), ())
                for i in range(self.count)]


@dataclass(frozen=True)
class Fewer(Mitigation):
    """Trains on every other row."""

    card = card("Trains on every other row.")

    def rows(self, conversations, training):
        return conversations[::2]


@dataclass(frozen=True)
class Slowly(Executor):
    """One job after the other, noted in a file."""

    notes: str = ""
    """The file."""
    card = card("One job after the other.")

    def run(self, jobs, work, done):
        for job in jobs:
            work(job)
            done(job)
            with Path(self.notes).open("a") as file:
                file.write(f"{job.label}\\n")
'''
ENTRY_POINTS = """
[aftertune.benchmark]
orders = tea_house:Orders
[aftertune.judge]
manners = tea_house:Manners
flatterer = tea_house:Flatterer
[aftertune.corpus]
tables = tea_house:Tables
[aftertune.mitigation]
fewer = tea_house:Fewer
[aftertune.executor]
slowly = tea_house:Slowly
"""
DESIGN = """
name = "tea"
policy = "gate.toml"
seeds = [1, 2]
[corpus]
name = "tables"
count = 10
[[arms]]
name = "keep"
[recipe]
epochs = 1
batch_size = 4
mitigations = [{ name = "fewer" }]
[[benchmarks]]
name = "orders"
[[judges]]
name = "manners"
"""
POLICY = """
about = "Manners alone."
[[metric]]
match = "orders/tea/manners=polite"
margin = 0.25
"""
Run = Callable[..., Done]
LEARNS = (
    "aftertune.asking.backends.transformers",
    "aftertune.tuning.trainer",
    "transformers.models.llama.modeling_llama",
)


@pytest.fixture(scope="module", name="aftertune")
def _aftertune(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The command line in a process that finds the other package."""
    site = tmp_path_factory.mktemp("site")
    (site / "tea_house.py").write_text(PACKAGE)
    about = site / "tea_house-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tea-house\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    source = Path(shipped_models.__file__).parents[2]
    paths = os.pathsep.join([str(site), str(source)])
    with forks(tmp_path_factory.mktemp("said"), [*LIGHT, *LEARNS], PYTHONPATH=paths, PYTHONWARNINGS="ignore") as forked:
        yield functools.partial(forked.run, cwd=site)


@pytest.fixture(scope="module", name="run")
def _run(aftertune: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shipped_models.names():
        pytest.skip("no embedded model is built")
    folder = tmp_path_factory.mktemp("tea")
    (folder / "tea.toml").write_text(DESIGN)
    (folder / "gate.toml").write_text(POLICY)
    notes = folder / "notes.txt"
    done = aftertune(
        "study", folder / "tea.toml", "-o", folder / "run", "--quiet", "--executor", f"slowly:notes={notes}"
    )
    assert done.returncode in (0, 3, 4), done.stderr
    return folder / "run"


def report(run: Path) -> dict[str, Any]:
    page: dict[str, Any] = json.loads((run / "report.json").read_text())
    return page


@pytest.mark.slow
def test_its_metric_is_measured_and_gated(run: Path) -> None:
    drifts = pq.read_table(run / "drift.parquet").to_pylist()
    recipe = [row for row in drifts if row["estimand"] == "recipe"]
    assert [(row["recipe"], row["metric"], row["judge"], row["n_prompts"], row["n_seeds"]) for row in recipe] == [
        (name, "orders/tea/manners=polite", "manners", 6, 2) for name in ("lora", "lora+fewer")
    ]
    decisions = json.loads((run / "decisions.json").read_text())["decisions"]
    assert {(row["metric"], row["margin"], row["required"]) for row in decisions} == {
        ("orders/tea/manners=polite", 0.25, True)
    }
    assert "manners" in (run / "report.html").read_text()


def test_its_judge_was_tried_on_its_own_anchors(run: Path) -> None:
    anchors = report(run)["judges"]["manners"]["anchors"]
    assert [(row["axis"], row["label"], row["n_positive"], row["n_negative"], row["youden"]) for row in anchors] == [
        ("manners", "polite", 2, 2, 1.0)
    ]
    assert "manners" in (run / "report.html").read_text()


def test_its_corpus_and_mitigation_made_the_rows(run: Path) -> None:
    reports = [json.loads(path.read_text())["info"]["tuning"] for path in run.glob("checkpoints/*/manifest.json")]
    assert sorted(each["conversations"] for each in reports) == [5, 5, 10, 10], (
        "every other of ten, and all of them without it"
    )


def test_its_executor_ran_every_job(run: Path) -> None:
    labels = (run.parent / "notes.txt").read_text().splitlines()
    study = json.loads((run / "study.json").read_text())
    assert sorted(labels) == sorted(job["label"] for job in study["jobs"])


def test_a_judge_that_fails_its_own_anchors_is_refused(aftertune: Run, run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    done = aftertune("judge", copy, "--judge", "flatterer", "--quiet")
    assert done.returncode == 1
    assert "judge flatterer cannot tell manners apart: of 4 known answers (2 of them 'polite')" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert (copy / "study.json").read_bytes() == (run / "study.json").read_bytes(), "the run is as it was"
    assert aftertune("report", copy).returncode == 0


def test_its_run_is_read_where_the_package_is_gone(run: Path, tmp_path: Path) -> None:
    from aftertune.commands import decide
    from aftertune.commands.status import status

    copy = shutil.copytree(run, tmp_path / "run")
    assert status(copy)["outcome"] == decide.again(copy).outcome
    assert report(copy) == report(run)


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("benchmark", "orders", ["Orders of tea that", "Licence: CC0", "Size: six prompts", "count: int", "How many"]),
        ("judge", "manners", ["Calls an answer rude", "Weaknesses: it reads no tone", "axes: manners"]),
        ("corpus", "tables", ["at the tables of a tea house", "count: int"]),
        ("mitigation", "fewer", ["every other row"]),
        ("executor", "slowly", ["One job after the other.", "notes: str", "The file."]),
    ],
)
def test_its_cards_are_shown(aftertune: Run, kind: str, name: str, words: list[str]) -> None:
    shown = aftertune("show", kind, name)
    assert shown.returncode == 0, shown.stderr
    for word in words:
        assert word in shown.stdout, word
    assert any(line.split() == [kind, name] for line in aftertune("list", kind).stdout.splitlines())


def test_its_benchmark_is_a_suite_with_its_own_judge(aftertune: Run, tmp_path: Path) -> None:
    done = aftertune(
        "audit", "embedded", shipped_models.known_bad(), "--suite", "orders", "-o", tmp_path / "audit", "--quiet",
        "--workers", 1,
    )  # fmt: skip
    assert done.returncode in (0, 3, 4), done.stderr
    assert set(report(tmp_path / "audit")["judges"]) == {"manners"}


def test_its_parameters_have_types_on_the_command_line(aftertune: Run, run: Path) -> None:
    done = aftertune("judge", run, "--judge", "manners:strict=very", "--quiet")
    assert done.returncode == 2
    assert "judge 'manners': strict = 'very' is not of the type int" in done.stderr


def test_a_near_miss_of_its_names_is_hinted(aftertune: Run) -> None:
    done = aftertune("show", "judge", "manner")
    assert done.returncode == 2
    assert "did you mean 'manners'?" in done.stderr
