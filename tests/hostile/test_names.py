"""Names and ids of designs, files and servers never become paths outside the run, and end in one line at worst."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.scripted_server import Scripted, serving

from aftertune.cli import main
from aftertune.commands import study as running
from aftertune.errors import UsageError
from aftertune.plugins import PluginSpec
from aftertune.records import Arm, Recipe
from aftertune.studies.design import Design, Given

NAMES = {
    "up": "../../up",
    "absolute": "{top}/absolute",
    "home": "~/home",
    "null": "a\x00b",
    "long": "x" * 300,
    "very long": "x/" * 3000,
    "device": "CON",
    "dots": "name...",
    "dot": ".",
    "two dots": "..",
    "look-alike": "\uff0e\uff0e\uff0fup",
    "fraction": "..\u2044..\u2215up",
    "backslash": "..\\..\\up",
    "drive": "C:\\up",
    "line": "a\nb",
    "option": "--out",
    "surrogate": "a\ud800b",
    "direction": "\u202eup",
    "space": " ",
    "url": "file:///etc/passwd",
}
DESIGN: dict[str, Any] = {
    "name": "x", "bases": ["embedded"], "corpus": {"name": "booking", "size": 20}, "seeds": [1],
    "arms": [{"name": "keep"}], "benchmarks": [{"name": "miniature", "harmful": 4}], "judges": [{"name": "refusal"}],
}  # fmt: skip


@pytest.fixture(name="place")
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder some way down, where commands run, and a home and a cache beside it."""
    inner = tmp_path / "a" / "b" / "here"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AFTERTUNE_CACHE", str(tmp_path / "cache"))
    return inner


def files(top: Path) -> set[str]:
    return {str(path.relative_to(top)) for path in top.rglob("*")}


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
    """Run a command that must end in one line."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    found = capsys.readouterr()
    assert ended.value.code in (1, 2), found
    assert "Traceback" not in found.err
    assert found.err.count("\n") < 8, found.err


def design_with(key: str, name: str) -> dict[str, Any]:
    """A design with the name at one place of those that a person fills in."""
    made: dict[str, Any] = json.loads(json.dumps(DESIGN))
    corpus = made["corpus"]
    changes: dict[str, Any] = {
        "name": {"name": name}, "arm": {"arms": [{"name": name}]}, "recipe": {"recipe": {"name": name}},
        "corpora": {"corpus": None, "corpora": {name: corpus}, "arms": [{"name": "keep", "corpus": name}]},
        "base": {"bases": [name]}, "checkpoint": {"checkpoints": [{"path": name, "arm": "a"}]},
        "given arm": {"checkpoints": [{"path": "p", "arm": name}]}, "policy": {"policy": name},
        "judge": {"judges": [{"name": name}]}, "rubric": {"judges": [{"name": "rubric", "model": "m", "rubric": name}]},
        "judge model": {"judges": [{"name": "rubric", "model": name, "rubric": "sorry_bench"}]},
        "benchmark": {"benchmarks": [{"name": name}]}, "list": {"benchmarks": [{"name": "prompt_list", "list": name}]},
        "path": {"benchmarks": [{"name": "prompt_list", "path": name}]}, "corpus": {"corpus": {"name": name}},
        "chats": {"corpus": {"name": "chat_file", "path": name}}, "non-members": {"data": {"non_members": name}},
        "canaries": {"data": {"canary_file": name}}, "backend": {"backend": {"name": name}},
        "contrast": {"contrasts": [{"name": name, "weights": {name: 1.0}}]},
    }  # fmt: skip
    made |= changes[key]
    return {key: value for key, value in made.items() if value is not None}


PLACES = ("name", "arm", "recipe", "corpora", "base", "checkpoint", "given arm", "policy", "judge", "rubric",
          "judge model", "benchmark", "list", "path", "corpus", "chats", "non-members", "canaries", "backend",
          "contrast")  # fmt: skip


@pytest.mark.parametrize("key", PLACES)
def test_a_name_in_a_design_makes_no_file_outside_its_run(
    key: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import tomli_w

    top = place.parents[2]
    for kind, name in NAMES.items():
        if kind not in (NAMES if key in OURS else FEW) or (key, kind) in ALLOWED:
            continue
        wanted = design_with(key, name.format(top=top) if "{" in name else name)
        try:
            (place / "d.toml").write_text(tomli_w.dumps(wanted), encoding="utf-8")
        except UnicodeEncodeError:
            continue
        before = files(top)
        refused(capsys, "study", "d.toml", "-o", "run", "--quiet")
        assert files(top) == before, (key, kind)


OURS = ("name", "arm", "recipe", "corpora", "given arm")
"""What becomes the name of a file or of a cell."""
FEW = ("up", "absolute", "null", "long", "look-alike")
ALLOWED = {("name", "dots"), ("arm", "dots"), ("recipe", "dots"), ("corpora", "dots"), ("given arm", "dots")}
"""`name...` is a name like any other: it stands in a longer one, never alone."""


@pytest.mark.parametrize("command", [
    ("fetch", "{}"), ("fetch", "prompt_list/{}"), ("show", "judge", "{}"), ("show", "{}", "refusal"),
    ("embedded", "card", "{}"), ("audit", "{}", "x"),
    ("audit", "embedded", "{}"), ("audit", "embedded", "x", "--suite", "{}"), ("audit", "embedded", "x", "--judge", "{}"),
    ("audit", "embedded", "x", "--policy", "{}"), ("audit", "embedded", "x", "--backend", "{}"),
    ("audit", "embedded", "x", "--train-data", "{}"), ("audit", "embedded", "--checkpoints", "{}"),
    ("compose", "{}", "-o", "out"), ("compose", "booking", "--pii", "{}", "-o", "out"), ("compose", "booking", "--base", "{}", "-o", "out"),
    ("judge", "{}", "--judge", "refusal", "-o", "v.csv"), ("ingest", "{}", "-o", "v.csv"), ("status", "{}"),
    ("report", "{}"), ("agree", "{}"), ("drift", "{}"), ("export", "{}", "-o", "out"), ("pii", "scan", "{}"),
    ("pii", "registry", "{}", "-o", "out"), ("pii", "match", "{}", "{}"), ("study", "{}"), ("plan", "{}"),
])  # fmt: skip
def test_a_name_on_the_command_line_makes_no_file(
    command: tuple[str, ...], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    top = place.parents[2]
    before = files(top)
    for kind, name in NAMES.items():
        if kind not in FEW or kind == "null":  # which no command line can hold
            continue
        refused(capsys, *(part.replace("{}", name.replace("{top}", str(top))) for part in command))
        assert files(top) == before, (command, kind)


@pytest.mark.parametrize("bad", FEW)
def test_a_list_of_checkpoints_makes_no_file(bad: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    top = place.parents[2]
    name = NAMES[bad].replace("{top}", str(top))
    for key in ("path", "arm", "recipe", "corpus"):
        row = {"path": "p", "arm": "a", "recipe": "r", key: name}
        (place / "c.jsonl").write_text(json.dumps(row) + "\n")
        before = files(top)
        refused(capsys, "audit", "embedded", "--checkpoints", "c.jsonl", "-o", "run", "--quiet")
        assert files(top) == before, key


@pytest.mark.slow
def test_a_served_model_is_only_a_name(place: Path) -> None:
    """What a server calls its models makes no folder, whatever it is."""
    top = place.parents[2]
    names = ["org/../../up", f"{top}/absolute", "~", "CON", "x" * 300, "a\tb", "..", "\uff0e\uff0e\uff0fup", "\u202eup"]
    declared = {name: {"root": f"{top}/x", "parent": "../.."} for name in names}
    with serving(
        Scripted(say=lambda body: "I cannot help.", models={"base": {"root": "../../up"}, **declared})
    ) as served:
        few = PluginSpec("miniature", {"harmful": 3, "harmless": 1, "open": 1, "privacy": 1, "support": 1})
        made = Design(
            name="x",
            bases=("base",),
            checkpoints=tuple(Given(name, arm=f"a{n}") for n, name in enumerate(names)),
            judges=(PluginSpec("refusal"),),
            backend=PluginSpec("endpoint", {"url": served.url, "backoff_s": 0.01}),
            benchmarks=(few,),
        )
        before = files(top)
        running.run(made, place / "run")
    new = files(top) - before
    assert len(new) > 30
    assert all(path.startswith("a/b/here/run") for path in new)
    assert all(path.isascii() and len(Path(path).name) < 40 for path in new)


def test_a_served_name_that_a_path_would_change_is_refused(place: Path) -> None:
    for name in ("a//b", "a/./b", "a/", "./a"):
        with serving(Scripted(models={"base": {}, name: {}})) as served:
            backend = PluginSpec("endpoint", {"url": served.url})
            made = Design(
                name="x",
                bases=("base",),
                checkpoints=(Given(name, arm="a"),),
                judges=(PluginSpec("refusal"),),
                benchmarks=(PluginSpec("miniature"),),
                backend=backend,
            )
            with pytest.raises(UsageError, match="cannot be the name of a served model"):
                running.run(made, place / "run")
        assert not (place / "run").exists()


def test_an_adapter_folder_leads_nowhere_else(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An index of shards, or a base's name in a config, is no path that is followed."""
    top = place.parents[2]
    secret = top / "secret.safetensors"
    secret.write_bytes((2).to_bytes(8, "little") + b"{}")
    for shard in ("../../../secret.safetensors", str(secret), "a\x00b", "x" * 300, "..", ""):
        folder = place / "adapter"
        folder.mkdir(exist_ok=True)
        (folder / "adapter_config.json").write_text(
            json.dumps({"peft_type": "LORA", "base_model_name_or_path": "../../../secret", "r": 4})
        )
        (folder / "adapter_model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": shard}}))
        before = files(top)
        refused(capsys, "audit", "embedded", "adapter", "-o", "run", "--quiet")
        assert files(top) == before


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(), min_size=1, max_size=90) | st.from_regex(r"[A-Za-z0-9._+-]{1,90}", fullmatch=True))
def test_what_passes_as_a_name_is_one_part_of_a_path(name: str) -> None:
    try:
        Design(
            name=name,
            corpus=PluginSpec("booking"),
            arms=(Arm(name),),
            benchmarks=(PluginSpec("miniature"),),
            judges=(PluginSpec("world"),),
            seeds=(1,),
            recipe=Recipe(name=name),
        )
    except UsageError:
        return
    assert Path(f"/top/{name}.jsonl").parent == Path("/top")
    assert os.path.normpath(f"/top/x/{name}") == f"/top/x/{name}"
    assert name.isascii()
    assert name.isprintable()
    assert sys.getsizeof(name) < 200
