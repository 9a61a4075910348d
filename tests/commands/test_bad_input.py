"""Bad input is one line with an exit code, before any weights load, and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.forked_commands import forks

Command = Callable[..., tuple[int, str, str, list[str]]]


@pytest.fixture(scope="module", name="command")
def _command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """Runs a command: its exit code, the error line, what was printed, and which heavy packages were loaded."""
    with forks(tmp_path_factory.mktemp("said")) as forked:

        def command(*arguments: str, cwd: Path) -> tuple[int, str, str, list[str]]:
            done = forked.run(*arguments, cwd=cwd)
            assert "Traceback" not in done.stderr, done.stderr
            return done.returncode, done.stderr.strip(), done.stdout, done.heavy

        yield command


def design(tmp_path: Path, text: str = "") -> str:
    path = tmp_path / "design.toml"
    path.write_text(
        text
        or 'name = "s"\nseeds = [1]\n[corpus]\nname = "booking"\nsize = 40\n[[arms]]\nname = "keep"\n'
        '[[benchmarks]]\nname = "miniature"\n[[judges]]\nname = "refusal"\n'
    )
    return str(path)


def pickled(tmp_path: Path) -> str:
    folder = tmp_path / "pickled"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02}q\x00.")
    return str(folder)


CASES = {
    "a path that is not there": (["audit", "embedded", "./no/such/folder"], "no/such/folder"),
    "a name like a path never goes to the hub": (["audit", "/no/such/base", "./x"], "/no/such/base"),
    "nothing to audit": (["audit", "embedded"], "name at least one checkpoint"),
    "an unknown suite": (["audit", "embedded", "{pickled}", "--suite", "miniatur"], "did you mean 'miniature'"),
    "pickle weights only": (["audit", "embedded", "{pickled}"], "pickled weights only (pytorch_model.bin)"),
    "an unknown embedded model": (["audit", "embedded:mini-z", "./x"], "no embedded model 'mini-z'"),
    "an unknown policy": (["audit", "embedded", "{pickled}", "--policy", "strictt"], "strict"),
    "a design that is not there": (["study", "none.toml"], "none.toml: no such file"),
    "an unknown key": (["study", "{typo}"], "unknown key 'seedz' (did you mean 'seeds'?)"),
    "an unknown key, planned": (["plan", "{typo}"], "did you mean 'seeds'"),
    "a chat file with a broken line": (
        ["audit", "embedded", "{pickled}", "--train-data", "{broken}"],
        "broken.jsonl:2:",
    ),
    "a chat file with a broken line, composed": (["compose", "{broken}", "-o", "v"], "broken.jsonl:2:"),
    "an empty data set": (["compose", "{empty}", "-o", "v"], "no conversations in it"),
    "no such corpus": (["compose", "bookin", "-o", "v"], "did you mean 'booking'"),
    "no such judge": (["judge", "{table}", "--judge", "refusel", "-o", "o.csv"], "did you mean 'refusal'"),
    "no such run": (["report", "{here}"], "not a run folder"),
    "no such kind": (["list", "judgse"], "no plugin kind 'judgse' (did you mean 'judge'?)"),
    "no such plugin": (["show", "judge", "refusl"], "did you mean 'refusal'"),
}


@pytest.mark.parametrize("name", CASES)
def test_one_line_and_no_weights(command: Command, tmp_path: Path, name: str) -> None:
    good = json.dumps({"prompt": "a", "response": "b"})
    (tmp_path / "broken.jsonl").write_text(good + "\n{oops\n")
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "table.jsonl").write_text(good + "\n")
    (tmp_path / "typo.toml").write_text('name = "s"\nseedz = [1]\n')
    names = {
        "broken": "broken.jsonl", "empty": "empty.jsonl", "table": "table.jsonl", "typo": "typo.toml",
        "here": str(tmp_path), "pickled": pickled(tmp_path),
    }  # fmt: skip
    before = sorted(tmp_path.rglob("*"))
    arguments, message = CASES[name]
    code, error, out, heavy = command(*(part.format(**names) for part in arguments), cwd=tmp_path)
    assert code in (1, 2), error
    assert message in error
    assert len(error.splitlines()) == 1
    assert error.startswith("aftertune: ")
    assert not out
    assert not heavy
    assert sorted(tmp_path.rglob("*")) == before, "nothing is left behind"


def test_a_run_folder_of_another_design_is_refused(command: Command, tmp_path: Path) -> None:
    from aftertune.studies import stored
    from aftertune.studies.design import read
    from aftertune.studies.resolve import resolve

    path = design(tmp_path)
    stored.begin(tmp_path / "run", resolve(read(Path(path))), {})
    other = design(tmp_path, Path(path).read_text().replace("seeds = [1]", "seeds = [2]"))
    code, error, _, heavy = command("study", other, "-o", "run", cwd=tmp_path)
    assert (code, heavy) == (2, [])
    assert "holds a run of another design (different: seeds)" in error


def test_help_is_light_and_names_every_command(command: Command, tmp_path: Path) -> None:
    code, _, out, heavy = command("--help", cwd=tmp_path)
    assert (code, heavy) == (0, [])
    for name in [
        "demo",
        "selftest",
        "audit",
        "plan",
        "study",
        "compose",
        "judge",
        "drift",
        "report",
        "status",
        "list",
        "show",
        "embedded",
    ]:
        assert f" {name} " in out, name
    assert "Exit codes" in out


@pytest.mark.parametrize("arguments", [("list",), ("show", "judge", "refusal"), ("list", "corpus")])
def test_looking_around_is_light(command: Command, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    code, _, out, heavy = command(*arguments, cwd=tmp_path)
    assert (code, heavy) == (0, [])
    assert out.strip()
