"""The Ray executor on a two-node cluster on this machine; skipped where Ray is not installed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aftertune.errors import AftertuneError, TuneError, UsageError
from aftertune.executors.ray import Ray
from aftertune.kinds import Cell

ray = pytest.importorskip("ray", reason="needs the extra: pip install 'aftertune[ray]'")


@dataclass(frozen=True)
class Touch:
    """Writes one file per cell with the node it ran on and the cells that were complete when it began."""

    root: Path
    fail: str = ""
    die: str = ""
    seconds: float = 0.0

    def __call__(self, cell: Cell) -> None:
        if cell.id == self.fail:
            raise TuneError(f"cell {cell.id} went wrong")
        seen = sorted(item.name for item in self.root.iterdir() if not item.name.startswith("began"))
        with (self.root / f"began-{cell.id}").open("a") as file:
            file.write(f"{ray.get_runtime_context().get_node_id()}\n")
        if cell.id == self.die:
            os._exit(9)
        time.sleep(self.seconds)
        (self.root / cell.id).write_text(" ".join(seen))


@pytest.fixture(name="cluster", scope="module")
def _cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    before = dict(os.environ)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    yield made
    ray.shutdown()
    made.shutdown()  # type: ignore[no-untyped-call]
    os.environ.clear()
    os.environ.update(before)


CELLS = [Cell("k", "d", ("b", "c")), Cell("k", "b", ("a",)), Cell("k", "c", ("a",)), Cell("k", "a"), Cell("k", "e")]


def test_every_cell_runs_once_after_what_it_needs(cluster: Any, tmp_path: Path) -> None:
    finished: list[str] = []
    Ray(cluster.address).run(CELLS, Touch(tmp_path), lambda cell: finished.append(cell.id))
    assert sorted(finished) == ["a", "b", "c", "d", "e"]
    for cell in CELLS:
        assert set(cell.after) <= set((tmp_path / cell.id).read_text().split())
        assert len((tmp_path / f"began-{cell.id}").read_text().splitlines()) == 1


def test_a_failure_stops_what_needs_it_and_nothing_else(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(TuneError, match="cell b went wrong"):
        Ray(cluster.address).run(CELLS, Touch(tmp_path, fail="b"), lambda cell: None)
    assert {"a", "c", "e"} == {item.name for item in tmp_path.iterdir() if not item.name.startswith("began")}


def test_a_process_that_dies_again_and_again_is_given_up_and_named(cluster: Any, tmp_path: Path) -> None:
    cells = [Cell("k", "a", label="tune keep"), Cell("k", "b")]
    with pytest.raises(AftertuneError, match="'tune keep' lost its node or process 2 times"):
        Ray(cluster.address, retries=1).run(cells, Touch(tmp_path, die="a"), lambda cell: None)
    assert (tmp_path / "b").is_file(), "the other cell was not stopped"
    assert len((tmp_path / "began-a").read_text().splitlines()) == 2


def test_cells_of_a_lost_node_begin_again_elsewhere(cluster: Any, tmp_path: Path) -> None:
    node = cluster.add_node(num_cpus=2)
    cells = [Cell("k", f"c{index}") for index in range(12)]

    def kill() -> None:
        until = time.monotonic() + 60
        while not any(node.node_id in path.read_text() for path in tmp_path.glob("began-*")):
            if time.monotonic() > until:
                return
            time.sleep(0.05)
        cluster.remove_node(node, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    finished: list[str] = []
    Ray(cluster.address).run(cells, Touch(tmp_path, seconds=1.0), lambda cell: finished.append(cell.id))
    killer.join()
    assert sorted(finished) == sorted(cell.id for cell in cells)
    begun = [(tmp_path / f"began-{cell.id}").read_text().splitlines() for cell in cells]
    again = [nodes for nodes in begun if len(nodes) > 1]
    assert again, "something was in flight on the node that was lost"
    assert all(nodes[0] == node.node_id != nodes[-1] for nodes in again)


def test_no_cluster_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"no Ray cluster answers at 127\.0\.0\.1:1"):
        Ray("127.0.0.1:1").run([Cell("k", "a")], print, lambda cell: None)


@pytest.mark.parametrize("field", ["gpus", "memory_gib", "actors", "retries"])
def test_what_makes_no_sense_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        Ray(**{field: -1})  # type: ignore[arg-type]
