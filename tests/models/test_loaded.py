"""The base that a process holds from one job to the next."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aftertune.models.loaded import LoadedBase
from aftertune.records import Arm, Recipe
from aftertune.run.run_folder import Run
from aftertune.tuning import tune_job


@dataclass(frozen=True)
class Opened:
    """A backend that notes what it opens and closes."""

    events: list[str] = field(default_factory=list, compare=False)
    starts_server: bool = False

    def open(self, path: str) -> Any:
        self.events.append(f"open {path}")
        return Closing(self.events, path)


class Closing(nullcontext[str]):
    def __init__(self, events: list[str], path: str) -> None:
        super().__init__(path)
        self.events = events

    def __exit__(self, *_: object) -> None:
        self.events.append(f"close {self.enter_result}")


def base(name: str, parameters: int = 1_000_000) -> Any:
    return SimpleNamespace(identity=name, path=name, name=name, parameters=parameters)


def test_a_base_is_loaded_once_and_one_is_held_at_most() -> None:
    held, backend = LoadedBase(), Opened()
    one: Any = backend
    for name in ("a", "a", "b", "a"):
        assert str(held.session(one, base(name))) == name
    held.unload()
    assert backend.events == ["open a", "close a", "open b", "close b", "open a", "close a"]


@pytest.mark.parametrize("server", [False, True])
def test_only_a_server_is_ended_before_the_process_ends(server: bool) -> None:
    held, backend = LoadedBase(), Opened(starts_server=server)
    one: Any = backend
    held.end_server()
    held.session(one, base("a"))
    held.end_server()
    assert backend.events == (["open a", "close a"] if server else ["open a"])
    held.session(one, base("a"))
    assert backend.events.count("open a") == (2 if server else 1)


@pytest.mark.parametrize(
    ("parameters", "server", "kept"),
    [(1_100_000, False, True), (1_100_000, True, False), (8_000_000_000, False, False)],
)
def test_a_large_base_or_one_on_a_server_is_let_go_before_it_is_loaded_again_to_be_tuned(
    parameters: int, server: bool, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ReachedError(Exception):
        pass

    held, backend = LoadedBase(), Opened(starts_server=server)
    one: Any = backend
    held.session(one, base("a", parameters))

    def tune(*_: object, **__: object) -> None:
        assert backend.events == (["open a"] if kept else ["open a", "close a"])
        raise ReachedError

    monkeypatch.setattr(tune_job, "LOADED", held)
    monkeypatch.setattr("aftertune.tuning.tune.tune", tune)
    monkeypatch.setattr(tune_job, "read", lambda path: [])
    job = tune_job.TuneJob.make(
        "keep", base=base("a", parameters), arm=Arm("keep"), recipe=Recipe(), seed=0, variants="v", mitigation=None
    )
    run = Run(tmp_path)
    with pytest.raises(ReachedError):
        job.run(run, run.job(job))
