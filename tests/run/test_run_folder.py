from __future__ import annotations

import dataclasses
import os
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from aftertune.errors import StoreError, UsageError
from aftertune.plugins import PluginSpec
from aftertune.records import Response
from aftertune.run.job_folder import JobFolder
from aftertune.run.run_folder import Run
from aftertune.run.tables import records, schema, table
from aftertune.studies import stored
from aftertune.studies.design import Design, Given, dump

DESIGN = Design(
    name="d", checkpoints=(Given("x"),), benchmarks=(PluginSpec("miniature"),), judges=(PluginSpec("refusal"),)
)


def begun(root: Path, facts: Mapping[str, object] | None = None) -> Run:
    """A run folder as a study begins it, but for what the design was resolved to."""
    run = Run.create(root, DESIGN.id, facts or {})
    run.write_study({"design": DESIGN.id})
    run.write_design(dump(DESIGN))
    return run


def row(prompt: str, text: str = "hi") -> Response:
    return Response(
        base="b",
        arm="base",
        recipe="",
        train_seed=None,
        epoch=None,
        checkpoint="c",
        benchmark="m",
        subset="s",
        prompt_id=prompt,
        cluster="k",
        category="k",
        system="",
        template="base",
        temperature=0.0,
        sample=0,
        message_hash="h",
        token_hash=None,
        text=text,
        finish_reason="stop",
        new_tokens=3,
    )


def test_records_survive_the_journal_and_the_table(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path / "folder")
    folder.start()
    hostile = [row("1", "line\nbreak \u2028 \x00 \x1b[0m"), row("2", "half \ud800 of a pair")]
    folder.append(hostile)
    assert folder.journal(Response) == hostile
    whole = [row("1"), row("2")]
    assert records(Response, table(Response, whole)) == whole
    assert table(Response, []).schema == schema(Response)


def test_a_torn_or_changed_line_is_left_out_and_the_rest_kept(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path / "folder")
    folder.start()
    folder.append([row("1"), row("2"), row("3")])
    path = folder.path / "journal"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"hi"', b'"ho"')
    path.write_bytes(b"".join(lines) + b'{"base": "b", "arm')
    assert [r.prompt_id for r in folder.journal(Response)] == ["1", "3"]
    folder.append([row("4")])
    assert [r.prompt_id for r in folder.journal(Response)] == ["1", "3", "4"]


def test_the_manifest_is_written_last_and_damage_is_named(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path / "folder")
    folder.start()
    assert not folder.complete
    folder.finish(tables={"responses": table(Response, [row("1")])}, documents={"d": {"a": 1}}, info={"x": 2})
    assert folder.complete
    assert folder.verify() is None
    assert folder.info() == {"x": 2}
    path = folder.path / "responses.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert folder.verify() == "responses.parquet"
    with pytest.raises(StoreError, match=r"responses\.parquet: damaged or missing; delete"):
        folder.read("responses")
    (folder.path / "manifest.json").write_text("{")
    assert folder.verify() == "manifest.json"


def test_starting_again_clears_all_but_the_journal(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path / "folder")
    folder.start()
    folder.append([row("1")])
    (folder.path / "epoch-1").mkdir()
    (folder.path / "epoch-1" / "half.safetensors").write_bytes(b"x")
    folder.start()
    assert {item.name for item in folder.path.iterdir()} == {"journal", "writer"}


def test_a_run_is_for_its_owner_only_and_continues_under_the_same_design(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    assert stat.S_IMODE(run.root.stat().st_mode) == 0o700
    assert stored.continued(run.root, DESIGN) == DESIGN
    other = dataclasses.replace(DESIGN, policy="strict", name="e")
    with pytest.raises(UsageError, match=r"another design \(different: name, policy\)"):
        stored.continued(run.root, other)


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match="exists and is not a run folder"):
        begun(tmp_path)
    with pytest.raises(UsageError, match="not a run folder"):
        Run.open(tmp_path)
    assert [item.name for item in tmp_path.iterdir()] == ["mine.txt"]


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    code = (
        "import sys; from pathlib import Path; from aftertune.run.run_folder import Run\n"
        f"try:\n  with Run(Path({str(run.root)!r})).lock(): print('in')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    with run.lock():
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.startswith("StoreError")
    assert str(os.getpid()) in out
    with run.lock():
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_a_clear_message(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    (tmp_path / "journal").symlink_to("/dev/full")
    with pytest.raises(StoreError, match="cannot write the journal: No space left on device; free some space and run"):
        folder.append([row("1")])


def test_a_writer_that_was_given_up_cannot_write_where_another_has_begun(tmp_path: Path) -> None:
    """As on a cluster, where a node that was cut off goes on with its job."""
    folder = JobFolder(tmp_path / "folder")
    folder.start()
    (folder.path / "writer").write_text("another-host 17")
    with pytest.raises(StoreError, match="process another-host 17 has taken this over"):
        folder.append([])
    with pytest.raises(StoreError, match="another-host 17"):
        folder.finish()
    assert not folder.complete
    folder.start()
    folder.finish()
    assert folder.verify() is None
    with pytest.raises(StoreError, match="finished by another process"):
        folder.append([])
