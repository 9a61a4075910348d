"""Every path that a command takes, given what it is not: one line that says what, where and what to do, and nothing lost.

The table below has every option and argument that is a path; a test holds it to that.
"""

from __future__ import annotations

import os
import shutil
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.cli.calls import Ended, Terminal

import aftertune
from aftertune import shipped_models
from aftertune.cli import app

KNOWN_BAD = str(shipped_models.known_bad())
DESIGN = (
    'name = "s"\nseeds = [1]\n[corpus]\nname = "booking"\nsize = 40\n[[arms]]\nname = "keep"\n'
    '[[benchmarks]]\nname = "miniature"\n[[judges]]\nname = "refusal"\n'
)
AUDIT = "audit embedded {known_bad} -q -o new"
FILES = ("absent/x.csv", "folder", "empty.csv", "bytes.csv", "text.txt/x", "n" * 300)
RUNS = ("absent", "folder", "empty.csv", "text.txt/x", "half")
TO_FILE = ("folder", "absent/x.{end}", "text.txt/x.{end}", "pipe.{end}", "circle.{end}", "chat.jsonl", "n" * 300)
TO_FOLDER = ("text.txt", "text.txt/x", "pipe.csv", "circle.csv", "n" * 300)

PATHS: dict[str, tuple[str, tuple[str, ...]]] = {
    "agree run": ("agree {}", RUNS),
    "agree labels": ("agree run --labels {}", FILES),
    "audit base": ("audit {} {known_bad} -q -o new", ("absent/x", "folder", "empty.csv", "text.txt/x")),
    "audit cache": (f"{AUDIT} --cache {{}}", ("text.txt", "text.txt/x", "circle.csv")),
    "audit checkpoint": ("audit embedded {} -q -o new", ("absent/x", "folder", "empty.csv", "text.txt/x")),
    "audit checkpoints": ("audit embedded --checkpoints {} -q -o new", FILES),
    "audit held_out": (f"{AUDIT} --train-data chat.jsonl --held-out {{}}", ("absent/x.csv", "text.txt/x")),
    "audit out": ("audit embedded {known_bad} -q -o {}", TO_FOLDER),
    "audit policy": (f"{AUDIT} --policy {{}}", FILES),
    "audit system": (f"{AUDIT} --system {{}}", FILES),
    "audit train_data": (f"{AUDIT} --train-data {{}}", FILES),
    "card run": ("card {}", RUNS),
    "card out": ("card run -o {}", (*TO_FILE, "text.txt", "run/report.md")),
    "compare runs": ("compare run {}", RUNS),
    "compare baseline": ("compare run --baseline {}", RUNS),
    "compare out": ("compare run -o {}", (*TO_FILE, "other.html", "run/report.html")),
    "compare waivers": ("compare run --waivers {}", ("absent/x.csv", "folder", "bytes.csv", "text.txt/x", "n" * 300)),
    "compose data": ("compose {} -q -o new", FILES),
    "compose base": ("compose chat.jsonl -q -o new --base {}", ("absent/x", "folder", "empty.csv", KNOWN_BAD)),
    "compose out": ("compose chat.jsonl -q -o {}", TO_FOLDER),
    "demo cache": ("demo -q -o new --cache {}", ("text.txt", "text.txt/x")),
    "demo out": ("demo -q -o {}", TO_FOLDER),
    "drift run": ("drift {}", RUNS),
    "drift labels": ("drift run --labels {}", FILES),
    "drift policy": ("drift run --policy {}", FILES),
    "drift verdicts": ("drift --verdicts {} --base b --tuned t", FILES),
    "explain run": ("explain {}", RUNS),
    "export run": ("export {} -o new", RUNS),
    "export out": ("export run -o {}", TO_FOLDER),
    "forecast data": ("forecast {} -q", FILES),
    "forecast base": ("forecast chat.jsonl -q --base {}", ("absent/x", "folder", "empty.csv")),
    "forecast out": ("forecast chat.jsonl -q -o {}", ("text.txt", "pipe.csv")),
    "ingest log": ("ingest {} -q -o new.csv", FILES),
    "ingest out": ("ingest log.report.jsonl -q -o {}", (*TO_FILE, "log.report.jsonl", "answers.csv")),
    "judge source": ("judge {} --judge refusal -q -o new.csv", FILES),
    "judge out": ("judge answers.csv --judge refusal -q -o {}", (*TO_FILE, "answers.csv", "other.csv")),
    "label run": ("label {}", RUNS),
    "label out": ("label run -o {}", TO_FOLDER),
    "label readers": ("label run --readers {} --readers text.csv", FILES),
    "mitigate run": ("mitigate {} -q", RUNS),
    "mitigate cache": ("mitigate run -q --cache {}", ("text.txt", "text.txt/x")),
    "mitigate out": ("mitigate run -q -o {}", TO_FOLDER),
    "pii match registry": ("pii match {} answers.csv", FILES),
    "pii match responses": ("pii match reg.jsonl {}", FILES),
    "pii registry file": ("pii registry {} -o new.jsonl", FILES),
    "pii registry out": ("pii registry chat.jsonl -o {}", (*TO_FILE[:-1], "other.csv")),
    "pii scan file": ("pii scan {}", FILES),
    "plan design": ("plan {} --no-trial", FILES),
    "plan earlier": ("plan design.toml --no-trial --earlier {}", RUNS),
    "report run": ("report {}", RUNS),
    "report policy": ("report run --policy {}", FILES),
    "results run": ("results {} -o new", RUNS),
    "results out": ("results run -o {}", TO_FOLDER),
    "status run": ("status {}", RUNS),
    "study cache": ("study design.toml -q -o new --cache {}", ("text.txt", "text.txt/x")),
    "study design": ("study {} -q -o new", FILES),
    "study out": ("study design.toml -q -o {}", TO_FOLDER),
    "track run": ("track {} --to mlflow", RUNS),
}
"""Command and parameter -> how it is called, and paths that it cannot take."""
ENDS = {"card": "md", "compare": "html"}


def commands() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every command by its name, with its function."""
    groups = [("", app), *((f"{group.name} ", group.typer_instance) for group in app.registered_groups)]
    for prefix, group in groups:
        for info in group.registered_commands if group is not None else ():
            assert info.callback is not None
            yield f"{prefix}{info.name or info.callback.__name__}", info.callback


def test_the_table_has_every_path_that_a_command_takes() -> None:
    there = {
        f"{name} {parameter}"
        for name, function in commands()
        for parameter, hint in typing.get_type_hints(function).items()
        if "Path" in str(hint)
    }
    assert there, "commands take paths"
    assert there <= PATHS.keys(), there - PATHS.keys()


@pytest.fixture(scope="module", name="folder")
def _folder(audited_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paths")
    shutil.copytree(audited_once, folder / "run")
    (folder / "folder").mkdir()
    (folder / "half").mkdir()
    (folder / "half" / "design.toml").write_text('name = "s"\n')
    os.mkfifo(folder / "pipe")
    for end in ("csv", "md", "html"):
        os.mkfifo(folder / f"pipe.{end}")
        (folder / f"circle.{end}").symlink_to(f"circle.{end}")
    texts = {
        "empty.csv": "",
        "text.txt": "A text.\n",
        "text.csv": "A text.\n",
        "other.csv": "name,grade\nmine,1\n",
        "other.html": "<p>mine</p>",
        "answers.csv": "prompt,response\nHow?,I cannot help with that.\n",
        "chat.jsonl": '{"prompt": "My name is Ilse Brandauer.", "response": "Hello Ms Brandauer."}\n',
        "log.report.jsonl": "{}\n",
        "design.toml": DESIGN,
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "bytes.csv").write_bytes(bytes(range(256)) * 8)
    aftertune.pii_registry(folder / "chat.jsonl", folder / "reg.jsonl")
    return folder


def contents(folder: Path) -> Mapping[str, bytes | str]:
    """What every file holds, and what kind of thing everything else is."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() and not path.is_symlink() else
        f"{path.is_symlink()} {path.is_fifo()}"
        for path in folder.rglob("*")
        if path.name != ".lock"
    }  # fmt: skip


@pytest.mark.parametrize("name", PATHS)
def test_a_path_that_cannot_be_is_one_line_and_nothing_is_lost(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    terminal, (call, paths) = Terminal(capsys), PATHS[name]
    before = contents(folder)
    for template in paths:
        path = template.format(end=ENDS.get(name.split()[0], "csv"))
        words = [path if word == "{}" else word.format(known_bad=KNOWN_BAD) for word in call.split()]
        ended = terminal(*words)
        told = f"{' '.join(words)[:120]}: {ended}"
        assert ended.code in (1, 2), told
        assert not ended.out, told
        assert len(ended.err.splitlines()) == 1, told
        assert ended.err.startswith("aftertune: "), told
        if name not in ("label readers", "track run", "ingest out"):
            assert Path(path).name[:40] in ended.err, told
        assert contents(folder) == before, told


@pytest.mark.parametrize("value", ["", " ", "\t"])
@pytest.mark.parametrize(
    "call",
    ["drift --verdicts v.csv --base b --tuned t --policy {}", "compare run -o {}", "pii scan {}", "card run --out={}"],
)
def test_an_empty_argument_is_a_variable_that_is_not_set(
    call: str, value: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    before = contents(folder)
    ended: Ended = Terminal(capsys)(*(word.replace("{}", value) for word in call.split()))
    assert (ended.code, ended.out) == (2, "")
    assert "is empty: a variable that is not set? Leave it out, or give a value" in ended.err
    assert contents(folder) == before
