"""What a kill, a full disk or a bad block leaves of a run folder: found, named, and made again or refused."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.run.test_run_folder import DESIGN, begun, row

from aftertune import files
from aftertune.commands import decide
from aftertune.data import conversations as jsonl
from aftertune.errors import StoreError, UsageError
from aftertune.records import Conversation, Message, Response
from aftertune.run.job_folder import JobFolder
from aftertune.run.run_folder import Run
from aftertune.run.tables import table
from aftertune.studies import stored


def grown(path: Path, *prompts: str) -> JobFolder:
    folder = JobFolder(path)
    folder.start()
    folder.append([row(prompt) for prompt in prompts])
    return folder


# ---------------------------------------------------------------------------------------------- kills


def test_the_journal_is_there_until_the_manifest_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill while the sums are computed or the manifest is written must not cost the answers."""
    folder = grown(tmp_path / "folder", "1", "2")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    for name in ("checksum", "write"):
        with monkeypatch.context() as patch:
            patch.setattr(f"aftertune.run.job_folder.{name}", stop)
            with pytest.raises(KeyboardInterrupt):
                folder.finish(tables={"responses": table(Response, [row("1"), row("2")])})
        assert not folder.complete
        assert [each.prompt_id for each in folder.journal(Response)] == ["1", "2"]
    folder.start()
    assert [each.prompt_id for each in folder.journal(Response)] == ["1", "2"]


def test_what_a_kill_after_the_manifest_leaves_is_tidied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = grown(tmp_path / "folder", "1")
    with monkeypatch.context() as patch:
        patch.setattr(JobFolder, "tidy", lambda self: None)
        folder.finish(tables={"responses": table(Response, [row("1")])})
    assert folder.complete
    assert folder.verify() is None
    folder.tidy()
    assert sorted(item.name for item in folder.path.iterdir()) == ["manifest.json", "responses.parquet"]


@pytest.mark.parametrize(
    "left", [[".run.json.77.part"], ["run.json"], ["run.json", "study.json", ".design.toml.77.part"]]
)
def test_a_run_that_was_killed_at_its_start_begins_again(tmp_path: Path, left: list[str]) -> None:
    root = tmp_path / "run"
    begun(root)
    whole = {name: (root / name).read_bytes() for name in ("run.json", "study.json")}
    for name in (*whole, "design.toml"):
        (root / name).unlink()
    for name in left:
        (root / name).write_bytes(whole.get(name, b"half"))
    run = begun(root)
    assert stored.read_design(run) == DESIGN
    with run.lock():
        pass
    assert sorted(item.name for item in root.iterdir()) == [".lock", "design.toml", "run.json", "study.json"]


def test_somebody_elses_run_json_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"mine": 1}')
    with pytest.raises(UsageError, match="exists and is not a run folder"):
        begun(tmp_path)
    assert (tmp_path / "run.json").read_text() == '{"mine": 1}'


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    code = (
        "import os, signal; from pathlib import Path; from aftertune.run.run_folder import Run\n"
        f"with Run(Path({str(run.root)!r})).lock(): os.kill(os.getpid(), signal.SIGKILL)"
    )
    dead = subprocess.run([sys.executable, "-c", code], check=False)
    assert dead.returncode == -9
    with run.lock():
        assert (run.root / ".lock").read_text() == str(os.getpid())


# ---------------------------------------------------------------------------------------------- damage


def test_garbled_doubled_and_foreign_lines(tmp_path: Path) -> None:
    folder = grown(tmp_path / "folder", "1", "2")
    path = folder.path / "journal"
    first, second = path.read_bytes().splitlines(keepends=True)
    junk = [b"\xff\xfe\x00\n", b"[]\n", b"17\n", b"null\n", b'{"#": 3}\n', b"\n", b"{" * 2000 + b"\n"]
    path.write_bytes(junk[0] + first + b"".join(junk[1:]) + first + second.replace(b'"#": "', b'"#": "0'))
    kept = folder.journal(Response)
    assert {each.prompt_id for each in kept} == {"1"}
    assert path.read_bytes() == first + first, "only whole lines stay"
    folder.append([row("3")])
    assert {each.prompt_id for each in folder.journal(Response)} == {"1", "3"}


@pytest.mark.parametrize("flip", range(0, 300, 23))
def test_a_flipped_byte_in_a_manifest_is_found(tmp_path: Path, flip: int) -> None:
    folder = grown(tmp_path / "folder")
    folder.finish(documents={"cards": {"a": 1}}, info={"proof": 0.25, "label": "ask"})
    path = folder.path / "manifest.json"
    data = bytearray(path.read_bytes())
    at = flip % len(data)
    while chr(data[at]).isspace():  # white space means nothing
        at += 1
    data[at] ^= 1
    path.write_bytes(data)
    assert folder.verify() is not None
    with pytest.raises(StoreError, match=r"manifest\.json: damaged; delete|cards\.json: damaged"):
        folder.info()
        folder.document("cards")


@pytest.mark.parametrize("harm", ["truncated", "flipped", "gone", "empty"])
def test_a_file_of_a_job_that_is_not_as_it_was_is_named(tmp_path: Path, harm: str) -> None:
    folder = grown(tmp_path / "folder")
    (folder.path / "epoch-1").mkdir()
    (folder.path / "epoch-1" / "adapter_model.safetensors").write_bytes(b"w" * 1000)
    folder.finish(tables={"responses": table(Response, [row("1")])})
    for name in ("responses.parquet", "epoch-1/adapter_model.safetensors"):
        path = folder.path / name
        data = path.read_bytes()
        harmed = {"truncated": data[:-7], "flipped": data[:9] + bytes([data[9] ^ 4]) + data[10:], "empty": b""}
        path.unlink() if harm == "gone" else path.write_bytes(harmed[harm])
        assert folder.verify() == name
        path.write_bytes(data)
        assert folder.verify() is None


def test_damaged_files_beside_the_jobs(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    for name, harm, message in [
        ("run.json", b"{", r"run\.json: damaged or missing; put a copy back"),
        ("run.json", b"[1]", r"run\.json: damaged or missing"),
        ("study.json", b"{", r"study\.json: damaged or missing; put a copy back"),
        ("study.json", b'{"design": "another"}', r"study\.json: of another design than the run's"),
        ("design.toml", b"name = \xff", r"design\.toml"),
        ("design.toml", b'name = "d"\nname = "d"', r"design\.toml"),
    ]:
        before = (run.root / name).read_bytes()
        (run.root / name).write_bytes(harm)
        with pytest.raises((StoreError, UsageError), match=message):
            stored.read(Run.open(run.root))
        assert (run.root / name).read_bytes() == harm, "nothing is written over what is refused"
        (run.root / name).write_bytes(before)
    (run.root / "drift.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreError, match=r"drift\.parquet: damaged; `aftertune drift .*` makes it again"):
        decide.drifts_of(run.root)


def test_a_damaged_line_of_a_variant_is_named(tmp_path: Path) -> None:
    path = tmp_path / "keep.jsonl"
    jsonl.write(path, [Conversation("1", (Message("user", "hello"),), None, "")])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StoreError, match=r"keep\.jsonl: damaged"):
        list(jsonl.ConversationFile(path))


# ---------------------------------------------------------------------------------------------- full and read-only


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


WRITES: dict[str, tuple[str, Callable[[JobFolder], object]]] = {
    "start": ("aftertune.run.job_folder.shutil.rmtree", lambda folder: folder.start()),
    "journal": ("aftertune.run.job_folder.os.fsync", lambda folder: folder.append([row("2")])),
    "table": ("pyarrow.parquet.write_table", lambda folder: folder.finish(tables={"t": table(Response, [row("1")])})),
    "manifest": ("aftertune.files.os.fsync", lambda folder: folder.finish()),
}


@pytest.mark.parametrize("place", WRITES)
def test_no_room_left_is_one_line_and_costs_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    folder = grown(tmp_path / "folder", "1")
    (folder.path / "half").mkdir()
    target, act = WRITES[place]
    with monkeypatch.context() as patch:
        patch.setattr(target, full)
        with pytest.raises(StoreError) as caught:
            act(folder)
    message = str(caught.value)
    assert message.startswith(f"{folder.path}")
    assert "No space left on device; free some space and run the same command again" in message
    assert "\n" not in message
    folder.start()
    assert "1" in [each.prompt_id for each in folder.journal(Response)]
    folder.finish(tables={"t": table(Response, [row("1")])})
    assert folder.verify() is None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_variant_for_which_there_is_no_room(tmp_path: Path) -> None:
    """The second error, of closing what cannot be flushed, must not hide the first."""
    writing = jsonl.ConversationWriter(tmp_path / "keep.jsonl")
    writing._scratch = tmp_path / "scratch"
    writing._scratch.symlink_to("/dev/full")
    with pytest.raises(StoreError, match=r"keep\.jsonl: cannot write: No space left on device; free some space"):
        jsonl_fill(writing)


def jsonl_fill(writing: jsonl.ConversationWriter) -> None:
    with writing as file:
        file.add(Conversation("1", (Message("user", "hello " * 5000),), None, ""))
        file.read()


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.EROFS, "make it writable"), (errno.EACCES, "make it writable"), (errno.EDQUOT, "free some space")],
)
def test_the_advice_fits_what_the_system_said(number: int, advice: str) -> None:
    line = files.why_not("a/b", "cannot write", OSError(number, os.strerror(number)))
    assert line == f"a/b: cannot write: {os.strerror(number)}; {advice} and run the same command again"


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_folder_is_one_line(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    run.root.chmod(0o500)
    with pytest.raises(StoreError, match="Permission denied; make it writable"), run.lock():
        pass
    run.root.chmod(0o700)


def test_a_manifest_of_an_earlier_version_has_no_sum_and_is_read(tmp_path: Path) -> None:
    folder = grown(tmp_path / "folder")
    folder.finish(info={"x": 1})
    path = folder.path / "manifest.json"
    found = json.loads(path.read_bytes())
    del found["#"]
    path.write_text(json.dumps(found))
    assert folder.info() == {"x": 1}
