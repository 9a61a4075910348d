"""The Ray executor on a two-node cluster on this machine; skipped where Ray is not installed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.small_jobs import JOBS, piece

from aftertune.errors import AftertuneError, TuneError, UsageError
from aftertune.run.executors import ray as executor
from aftertune.run.executors._schedule import Schedule
from aftertune.run.executors.ray import Ray
from aftertune.run.job import Job

pytestmark = pytest.mark.slow

ray = pytest.importorskip("ray", reason="needs the extra: pip install 'aftertune[ray]'")


@dataclass(frozen=True)
class Touch:
    """Writes one file per job with the node it ran on and the jobs that were complete when it began."""

    root: Path
    fail: str = ""
    die: str = ""
    seconds: float = 0.0

    def __call__(self, job: Job) -> None:
        if job.id == self.fail:
            raise TuneError(f"job {job.id} went wrong")
        seen = sorted(item.name for item in self.root.iterdir() if not item.name.startswith("began"))
        with (self.root / f"began-{job.id}").open("a") as file:
            file.write(f"{ray.get_runtime_context().get_node_id()}\n")
        if job.id == self.die:
            os._exit(9)
        time.sleep(self.seconds)
        (self.root / job.id).write_text(" ".join(seen))


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


def test_every_job_runs_once_after_what_it_needs(cluster: Any, tmp_path: Path) -> None:
    finished: list[str] = []
    Ray(cluster.address).run(JOBS, Touch(tmp_path), lambda job: finished.append(job.id))
    assert sorted(finished) == ["a", "b", "c", "d", "e"]
    for job in JOBS:
        assert set(job.after) <= set((tmp_path / job.id).read_text().split())
        assert len((tmp_path / f"began-{job.id}").read_text().splitlines()) == 1


def test_a_failure_stops_what_needs_it_and_nothing_else(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(TuneError, match="job b went wrong"):
        Ray(cluster.address).run(JOBS, Touch(tmp_path, fail="b"), lambda job: None)
    assert {"a", "c", "e"} == {item.name for item in tmp_path.iterdir() if not item.name.startswith("began")}


def test_a_process_that_dies_again_and_again_is_given_up_and_named(cluster: Any, tmp_path: Path) -> None:
    jobs = [piece("a", label="tune keep"), piece("b")]
    with pytest.raises(AftertuneError, match="'tune keep' lost its node or process 2 times"):
        Ray(cluster.address, retries=1).run(jobs, Touch(tmp_path, die="a"), lambda job: None)
    assert (tmp_path / "b").is_file(), "the other job was not stopped"
    assert len((tmp_path / "began-a").read_text().splitlines()) == 2


def test_jobs_of_a_lost_node_begin_again_elsewhere(cluster: Any, tmp_path: Path) -> None:
    node = cluster.add_node(num_cpus=2)
    jobs = [piece(f"c{index}") for index in range(12)]

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
    Ray(cluster.address).run(jobs, Touch(tmp_path, seconds=1.0), lambda job: finished.append(job.id))
    killer.join()
    assert sorted(finished) == sorted(job.id for job in jobs)
    begun = [(tmp_path / f"began-{job.id}").read_text().splitlines() for job in jobs]
    again = [nodes for nodes in begun if len(nodes) > 1]
    assert again, "something was in flight on the node that was lost"
    assert all(nodes[0] == node.node_id != nodes[-1] for nodes in again)


class StandIn:
    """As much of the module `ray` as the executor uses, with a cluster of any size; every call is done at once."""

    class exceptions:  # noqa: N801 - named as in Ray
        RayTaskError = type("RayTaskError", (Exception,), {})
        RayError = type("RayError", (Exception,), {})

    def __init__(self, cpus: float, gpus: float) -> None:
        self.has = {"CPU": cpus, "GPU": gpus}
        self._answers: dict[object, object] = {}

    def cluster_resources(self) -> dict[str, float]:
        return self.has

    def remote(self, **_: Any) -> Any:
        def method(call: Any) -> Any:
            def later(*args: Any) -> object:
                reference = object()
                self._answers[reference] = call(*args)
                return reference

            return SimpleNamespace(remote=later)

        def actor(work: Any) -> Any:
            one = executor._Actor(work)
            return SimpleNamespace(hello=method(one.hello), do=method(one.do))

        return lambda _: SimpleNamespace(remote=actor)

    def wait(self, references: list[object], **_: Any) -> tuple[list[object], list[object]]:
        return references[:1], references[1:]

    def get(self, reference: object) -> object:
        return self._answers[reference]

    def kill(self, _: Any) -> None:
        pass


ASK_AND_JUDGE = [piece("asked", kind="responses", accelerator=True), piece("judged", "asked", kind="verdicts")]


@pytest.fixture(name="environment", autouse=True)
def _environment() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.parametrize(
    ("cpus", "gpus", "options"),
    [
        pytest.param(32, 4, {"cpus": 8}, id="docs/scale.md, Kubernetes"),
        pytest.param(128, 16, {"cpus": 8}, id="docs/scale.md, Slurm"),
        pytest.param(64, 4, {"actors": 4}, id="as many actors as GPUs"),
        pytest.param(64, 4, {}, id="CPUs to spare"),
    ],
)
@pytest.mark.parametrize("first", [0, 1], ids=["from the start", "only judging is left"])
def test_actors_with_gpus_do_the_rest_where_they_take_every_cpu(
    cpus: float, gpus: float, options: dict[str, Any], first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(seconds: float) -> None:
        raise AssertionError("nothing runs, and nothing ever will")

    monkeypatch.setattr(executor, "time", SimpleNamespace(monotonic=time.monotonic, sleep=never))
    finished: list[str] = []
    crew = executor._Crew(Ray(**options), StandIn(cpus, gpus), lambda job: None)
    crew.run(Schedule(ASK_AND_JUDGE[first:]), lambda job: finished.append(job.id))
    assert finished == ["asked", "judged"][first:]


def test_a_cluster_that_is_too_small_is_said_and_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cluster, waited = StandIn(2, 0), []

    def joins(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            cluster.has = {"CPU": 66.0}

    monkeypatch.setattr(executor, "time", SimpleNamespace(monotonic=time.monotonic, sleep=joins))
    monkeypatch.setattr(executor, "_PATIENCE", 0.0)
    finished: list[str] = []
    executor._Crew(Ray(cpus=64), cluster, lambda job: None).run(
        Schedule(ASK_AND_JUDGE), lambda job: finished.append(job.id)
    )
    assert finished == ["asked", "judged"]
    assert len(waited) == 3, "it looks now and then, not all the time"
    assert "an actor of 64 CPUs (the cluster has 2 CPUs and 0 GPUs in all" in caplog.text


def test_no_cluster_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"no Ray cluster answers at 127\.0\.0\.1:1"):
        Ray("127.0.0.1:1").run([piece("a")], print, lambda job: None)


@pytest.mark.parametrize("field", ["gpus", "memory_gib", "actors", "retries"])
def test_what_makes_no_sense_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        Ray(**{field: -1})  # type: ignore[arg-type]
