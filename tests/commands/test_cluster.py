"""A study that a two-node Ray cluster finishes, one node of which dies, beside the same study on this machine."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from aftertune.commands import decide as results
from aftertune.commands import study as running
from aftertune.plugins import PluginSpec
from aftertune.studies.design import Design

pytestmark = pytest.mark.slow

pytest.importorskip("ray", reason="needs the extra: pip install 'aftertune[ray]'")


def verdict_files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.glob("verdicts/*/*.parquet"))}


def test_a_node_lost_in_the_middle_changes_no_byte_of_the_verdicts(
    finished: results.Result, small: Design, tmp_path: Path
) -> None:
    """The cluster gets it composed and with four of six weights; it tunes two, and gives and judges every answer."""
    import ray
    from ray.cluster_utils import Cluster

    root = Path(shutil.copytree(finished.root, tmp_path / "run"))
    for name in ("drift.parquet", "report.html", "decisions.json"):
        (root / name).unlink()
    for folder in (*sorted((root / "checkpoints").iterdir())[:2], root / "responses", root / "verdicts"):
        shutil.rmtree(folder)
    before = dict(os.environ)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path.cwd() / "src"), os.environ.get("PYTHONPATH", "")])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = cluster.add_node(num_cpus=1)
    done: list[str] = []
    lost: list[str] = []

    def kill_when_busy() -> None:
        """Kill the second node while a cell runs there, after a few are done."""
        until = time.monotonic() + 240
        while time.monotonic() < until:
            busy = {row["node_id"] for row in actors() if row["state"] == "ALIVE"}
            if len(done) >= 3 and second.node_id in busy:
                lost.append(second.node_id)
                cluster.remove_node(second, allow_graceful=False)
                return
            time.sleep(0.1)

    def actors() -> list[dict[str, str]]:
        found = ray._private.state.actors() if ray.is_initialized() else {}
        return [{"node_id": row["Address"]["NodeID"], "state": row["State"]} for row in found.values()]

    killer = threading.Thread(target=kill_when_busy)
    killer.start()
    try:
        result = running.run(
            small, root, executor=PluginSpec("ray", {"address": cluster.address}),
            progress=lambda what, count, total: done.append(what) if what else None,
        )  # fmt: skip
    finally:
        killer.join()
        ray.shutdown()
        cluster.shutdown()  # type: ignore[no-untyped-call]
        os.environ.clear()
        os.environ.update(before)
    assert lost, "the second node was never seen at work"
    assert len(done) == 2 + 7 + 14, "weights, cells of answers, cells of verdicts"
    assert verdict_files(root) == verdict_files(finished.root)
    assert result.drifts == finished.drifts
