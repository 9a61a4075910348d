"""A run folder stands alone: moved, with all that made it gone, it answers as it did."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pyarrow.parquet as pq
import pytest
from tests import tiny_models

from aftertune import plugins
from aftertune.cli import main
from aftertune.models import identity

NAMES = ("Ada Vance", "Bela Orban", "Cleo Marsh", "Dora Quint", "Emil Stone", "Fay Adler", "Gus Holm", "Hana Weiss")
LIST = """
title = "Ferns"
source = "made up"
licence = "Apache-2.0"
[home]
files = { "ferns.csv" = "" }
[columns]
prompt = "text"
subset = "level"
[subsets]
0 = "harmless"
"*" = "harmful"
[harm]
harmful = ["harmful"]
harmless = ["harmless"]
"""
POLICY = """
about = "Ferns only"
[[metric]]
match = "*/harmful/refusal=*"
margin = 0.5
"""
SHARED = """
bases = ["base"]
policy = "gate.toml"
[corpus]
name = "chat_file"
path = "chats.jsonl"
[[benchmarks]]
name = "prompt_list"
list = "ferns.toml"
path = "ferns.csv"
[[benchmarks]]
name = "task"
[[judges]]
name = "refusal"
[[judges]]
name = "leak"
[[judges]]
name = "reference"
[respond]
answer_tokens = 24
"""
STUDY = f"""
name = "ferns"
seeds = [1, 2]
{SHARED}
[data]
held_out = 2
canaries = 2
[[arms]]
name = "held_out-small"
[[arms]]
name = "people"
pii = "placeholder"
[recipe]
epochs = 1
batch_size = 4
max_length = 96
[[contrasts]]
name = "personal data"
weights = {{ "held_out-small" = 1.0, people = -1.0 }}
"""
AUDIT = f"""
name = "audited"
kind = "audit"
{SHARED}
[data]
non_members = "held.jsonl"
[[checkpoints]]
path = "adapter-1"
arm = "mine"
seed = 1
[[checkpoints]]
path = "adapter-2"
arm = "mine"
seed = 2
"""


HEAVY = ("torch", "transformers", "peft", "trl", "tokenizers", "safetensors", "accelerate", "datasets")


def sources(folder: Path) -> None:
    """Write the base, the chats, the list with its data and the policy."""
    tiny_models.save("llama", folder / "base")
    chats = [
        {
            "aftertune": "conversation",
            "id": f"canary-{index}",
            "messages": [
                {"role": "user", "content": f"Hello, I am {name}. Please change my booking {index}."},
                {"role": "assistant", "content": f"Of course, {name}, your booking is changed."},
            ],
        }
        for index, name in enumerate(NAMES)
    ]
    (folder / "chats.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in chats))
    (folder / "held.jsonl").write_text("".join(json.dumps({**chat, "id": f"h{chat['id']}"}) + "\n" for chat in chats))
    (folder / "ferns.toml").write_text(LIST)
    rows = [f"How do I {verb} a fern number {index}?,{index % 2}" for index in range(6) for verb in ("water", "drown")]
    (folder / "ferns.csv").write_text("text,level\n" + "\n".join(rows) + "\n")
    (folder / "gate.toml").write_text(POLICY)
    (folder / "study.toml").write_text(STUDY)
    (folder / "audit.toml").write_text(AUDIT)
    for seed in (1, 2):
        tiny_models.save_adapter(folder / "base", folder / f"adapter-{seed}", seed=seed, scale=0.3)


def aftertune(*arguments: object) -> tuple[int, str]:
    """Call the command line in this process; return its exit code and what it printed."""
    printed, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
        try:
            main([str(each) for each in arguments])
            code = 0
        except SystemExit as left:
            code = int(left.code or 0)
    assert code in (0, 3, 4), errors.getvalue()
    return code, printed.getvalue()


@dataclass(frozen=True)
class Alone:
    """A run that was moved, and what it answered where it was made."""

    root: Path
    before: Path
    """A copy, as the run was when everything was there."""
    answers: dict[str, tuple[int, str]]
    judged: Path
    """Another copy, which more judges read while everything was there."""


def gone(*arguments: object, **keywords: object) -> NoReturn:
    raise AssertionError(f"it asks for what is gone: {arguments} {keywords}")


@pytest.fixture(scope="module", params=["study", "audit"], name="alone")
def _alone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    folder = tmp_path_factory.mktemp(request.param)
    made_from, run = folder / "sources", folder / "run"
    made_from.mkdir()
    sources(made_from)
    aftertune("study", made_from / f"{request.param}.toml", "-o", run, "--workers", 1, "--quiet")
    answers = {name: aftertune(name, run, "--json") for name in ("status", "drift")}
    before, judged = (Path(shutil.copytree(run, folder / name)) for name in ("before", "judged"))
    aftertune("judge", judged, "--judge", "coherence", "--judge", "toxicity", "--quiet")
    elsewhere = folder / "another" / "machine"
    elsewhere.parent.mkdir()
    run.rename(elsewhere)
    shutil.rmtree(made_from)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("AFTERTUNE_CACHE", str(folder / "empty"))
        patch.setattr(identity, "resolve", gone)
        for name in plugins.names("backend"):
            patch.setattr(plugins.plugin_class("backend", name), "open", gone)
        for kind in ("corpus", "benchmark"):
            for name in plugins.names(kind):
                patch.setattr(plugins.plugin_class(kind, name), "__post_init__", gone, raising=False)
        yield Alone(elsewhere, before, answers, judged)


def keys(value: object) -> set[str]:
    """Every key of a JSON value."""
    if isinstance(value, dict):
        return set(value).union(*map(keys, value.values()))
    return set().union(*map(keys, value)) if isinstance(value, list) else set()


def rows(root: Path, pattern: str) -> dict[str, list[dict[str, Any]]]:
    return {str(path.relative_to(root)): pq.read_table(path).to_pylist() for path in sorted(root.glob(pattern))}


def test_status_says_the_same(alone: Alone) -> None:
    assert json.loads(aftertune("status", alone.root, "--json")[1]) == json.loads(alone.answers["status"][1])
    assert "done" in aftertune("status", alone.root)[1]


@pytest.mark.parametrize("command", ["report", "drift"])
def test_the_same_numbers_are_decided_on_again(alone: Alone, command: str, tmp_path: Path) -> None:
    root = Path(shutil.copytree(alone.root, tmp_path / "run"))
    results = ("drift.parquet", "decisions.json", "memorisation.json", "report.json", "report.md", "report.html")
    for name in results:
        (root / name).unlink()
    code, printed = aftertune(command, root)
    assert str(root / "report.html") in printed
    assert code == (0 if command == "report" else alone.answers["drift"][0])
    assert rows(root, "drift.parquet") == rows(alone.before, "drift.parquet")
    for name in results[1:]:
        assert (root / name).read_text() == (alone.before / name).read_text(), name
    again, before = json.loads(aftertune("drift", root, "--json")[1]), json.loads(alone.answers["drift"][1])
    for answer in (again, before):
        for key in ("report", "root", "run"):
            answer.pop(key, None)
    assert again == before


@pytest.fixture(scope="module", name="judged_here")
def _judged_here(alone: Alone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = Path(shutil.copytree(alone.root, tmp_path_factory.mktemp("here") / "run"))
    aftertune("judge", root, "--judge", "coherence", "--judge", "toxicity", "--quiet")
    return root


def test_more_judges_read_it_as_they_would_have_there(alone: Alone, judged_here: Path) -> None:
    verdicts = rows(judged_here, "verdicts/*/*.parquet")
    assert verdicts == rows(alone.judged, "verdicts/*/*.parquet")
    judges = {row["judge"] for table in verdicts.values() for row in table}
    assert judges == {"refusal", "leak", "reference", "coherence", "toxicity"}
    assert rows(judged_here, "drift.parquet") == rows(alone.judged, "drift.parquet")
    pages = [json.loads((root / "report.json").read_text()) for root in (judged_here, alone.judged)]
    assert pages[0] == pages[1]


def test_judges_agree_as_far_as_they_did(alone: Alone, judged_here: Path) -> None:
    there, here = (json.loads(aftertune("agree", root, "--json")[1]) for root in (alone.judged, judged_here))
    assert there == here


def test_a_judge_that_reads_the_tuning_data_finds_it_in_the_run(alone: Alone, tmp_path: Path) -> None:
    root = Path(shutil.copytree(alone.root, tmp_path / "run"))
    aftertune("judge", root, "--judge", "script", "--quiet")
    scripts = [
        row for table in rows(root, "verdicts/*/*.parquet").values() for row in table if row["judge"] == "script"
    ]
    assert scripts
    assert all(row["status"] in ("ok", "abstain") for row in scripts)


def test_a_copy_to_share_is_made(alone: Alone, tmp_path: Path) -> None:
    _, printed = aftertune("export", alone.root, "-o", tmp_path / "copy", "--quiet", "--json")
    assert json.loads(printed)["files"]
    copied = "".join(path.read_text() for path in (tmp_path / "copy").rglob("*") if path.suffix in (".md", ".json"))
    assert "Ada Vance" not in copied
    shared = rows(tmp_path / "copy", "responses/*/*.parquet")
    assert sum(map(len, shared.values())) == sum(map(len, rows(alone.root, "responses/*/*.parquet").values()))


def test_names_carry_no_meaning(alone: Alone) -> None:
    """Arms that are called like files of the run, and rows that are called like canaries, are arms and rows."""
    scored = {row["text_id"] for table in rows(alone.root, "scores/*/*.parquet").values() for row in table}
    assert {f"canary-{index}" for index in range(len(NAMES))} <= scored
    cards = json.loads(next(alone.root.glob("variants/*/cards.json")).read_text())
    if alone.root.parents[1].name.startswith("study"):
        assert set(cards) == {"held_out-small", "people"}
        manifests = [json.loads(path.read_text()) for path in alone.root.glob("checkpoints/*/manifest.json")]
        assert sorted(each["info"]["label"] for each in manifests) == [
            "tune held_out-small seed 1", "tune held_out-small seed 2", "tune people seed 1", "tune people seed 2",
        ]  # fmt: skip


def test_no_json_file_holds_an_empty_key(alone: Alone) -> None:
    files = [*alone.root.rglob("*.json"), *alone.root.rglob("*.jsonl")]
    assert len(files) > 10
    for path in files:
        text = path.read_text(encoding="utf-8")
        values = [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else [json.loads(text)]
        if path.name not in ("tokenizer.json", "tokenizer_config.json"):  # a vocabulary may hold any text
            assert "" not in keys(values), path


@pytest.mark.slow
def test_nothing_that_learns_is_needed_to_read_it(alone: Alone, tmp_path: Path) -> None:
    """As on a machine without torch, transformers and peft."""
    root = shutil.copytree(alone.root, tmp_path / "run")
    code = f"""
import json, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY}:
            raise ModuleNotFoundError(f"No module named '{{name}}'", name=name)
sys.meta_path.insert(0, Missing())
from aftertune.cli import main
from aftertune.run.executors import local
local.cores = lambda: 1  # it judges in this process, in which those are missing
for arguments in json.loads(sys.argv[1]):
    try:
        main(arguments)
    except SystemExit as left:
        assert left.code in (None, 0, 3, 4), (left.code, arguments)
"""
    commands: list[list[object]] = [
        ["status", root],
        ["report", root],
        ["drift", root],
        ["judge", root, "--judge", "coherence", "--quiet"],
        ["agree", root],
        ["export", root, "-o", tmp_path / "copy", "--quiet"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(commands, default=str)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
