"""Files that carry their checksum, the list of a run's results, and who may work in a run folder or read it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.run.test_run_folder import DESIGN, begun

from aftertune import files
from aftertune.errors import StoreError, UsageError
from aftertune.run import checksums
from aftertune.run.run_folder import Run
from aftertune.studies import stored

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)


@given(fields=st.dictionaries(TEXT.filter(lambda key: key != "#"), TEXT | st.integers() | st.lists(TEXT), max_size=4))
def test_an_object_comes_back_and_a_changed_one_does_not(fields: dict[str, object]) -> None:
    data = checksums.seal(fields)
    assert checksums.unseal(data) == fields
    assert checksums.unseal(files.as_json(fields)) == fields, "an earlier version wrote no checksum"
    with pytest.raises(ValueError, match="not what was written"):
        checksums.unseal(files.as_json({**fields, "#": "0" * 12}))


@given(text=TEXT.map(lambda text: text + "\n"), at=st.integers(0), bit=st.integers(0, 7))
def test_a_flipped_bit_of_a_text_is_seen(text: str, at: int, bit: int) -> None:
    data = bytearray(checksums.seal_text(text))
    assert checksums.unseal_text(bytes(data)) == text
    with pytest.raises(ValueError, match="not what was written"):
        checksums.unseal_text(text.encode())
    body = len(text.encode())
    data[at % body] ^= 1 << bit
    with pytest.raises(ValueError, match="not what was written"):
        checksums.unseal_text(bytes(data))


def test_a_design_that_was_changed_in_the_run_folder_is_refused(tmp_path: Path) -> None:
    """A digit of it may change what the report says, and every job's id stays."""
    run = begun(tmp_path / "run")
    path = run.root / "design.toml"
    before = path.read_text()
    path.write_text(before.replace("confidence = 0.95", "confidence = 0.85"))
    assert path.read_text() != before
    with pytest.raises(StoreError, match=r"design\.toml: not as the run wrote it; put a copy back"):
        stored.read_design(run)
    path.write_text(before.partition("# checksum")[0])
    with pytest.raises(StoreError, match=r"design\.toml: not as the run wrote it"):
        stored.read_design(run)
    path.write_text(before)
    assert stored.read_design(run) == DESIGN


def test_a_changed_fact_is_refused(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", {"versions": {"torch": "2.13"}})
    assert run.facts()["versions"] == {"torch": "2.13"}
    path = run.root / "run.json"
    path.write_text(path.read_text().replace("2.13", "2.12"))
    with pytest.raises(StoreError, match=r"run\.json: damaged or missing"):
        run.facts()


@pytest.mark.parametrize("harm", ["changed", "gone", "record"])
def test_a_result_that_is_not_as_it_was_is_named(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "decisions.json"
    path.write_bytes(b'{"outcome": "pass"}')
    assert checksums.check(tmp_path, path.name) == path, "an earlier version recorded nothing"
    checksums.record(tmp_path, [path.name])
    assert checksums.check(tmp_path, path.name) == path
    assert checksums.check(tmp_path, "log.jsonl").name == "log.jsonl", "not a result"
    if harm == "changed":
        path.write_bytes(b'{"outcome": "drift"}')
    elif harm == "gone":
        path.unlink()
    else:
        (tmp_path / checksums.RESULTS).write_bytes(b"{")
    with pytest.raises(StoreError, match=r"decisions\.json: damaged, or stopped .*; `aftertune report .*` makes it"):
        checksums.check(tmp_path, path.name)


# ---------------------------------------------------------------------------------------------- who works in it


HELD = "import sys, time; from pathlib import Path; from aftertune.files import hold, reading\n"


def test_a_run_is_the_same_over_another_path(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    (tmp_path / "link").symlink_to(run.root)
    code = f"{HELD}with hold(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, run.root], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        for refused in (Run.open(tmp_path / "link").lock(), files.reading(tmp_path / "link")):
            with pytest.raises(StoreError, match=rf"link: process {other.pid} works in this run; wait for it"), refused:
                pass
        assert files.holder(tmp_path / "link") == str(other.pid)
        other.kill()
    with Run.open(tmp_path / "link").lock():
        pass
    assert files.holder(run.root) is None


def test_who_only_looks_does_not_keep_a_run_from_beginning(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    with run.lock():
        pass
    looking = threading.Event()

    def look() -> None:
        with files.reading(run.root):
            looking.set()
            time.sleep(0.2)

    looks = threading.Thread(target=look)
    looks.start()
    looking.wait()
    with run.lock():  # waits for that moment
        pass
    looks.join()


def test_a_run_that_is_read_for_long_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_PATIENCE", 0.1)
    run = begun(tmp_path / "run")
    with run.lock():
        pass
    with (
        files.reading(run.root),
        pytest.raises(StoreError, match="another process works in this run"),
        run.lock(),
    ):
        pass


def test_no_run_no_reader(tmp_path: Path) -> None:
    with files.reading(tmp_path):
        assert list(tmp_path.iterdir()) == [], "looking leaves nothing"
    with pytest.raises(UsageError, match="not a run folder"):
        Run.open(tmp_path)
