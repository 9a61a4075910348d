"""What a process holds from one cell to the next."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aftertune.run import worker as work
from aftertune.run.run_folder import Run
from aftertune.tuning import tune as steps_tune
from aftertune.variants import composing


@pytest.mark.parametrize(("parameters", "kept"), [(1_100_000, True), (8_000_000_000, False)])
def test_a_large_base_is_let_go_before_it_is_loaded_again_to_be_tuned(
    parameters: int, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ReachedError(Exception):
        pass

    loaded, closed = work._Loaded(), []
    loaded.session, loaded.key = SimpleNamespace(), "k"
    loaded.stack.callback(lambda: closed.append(True))

    def tune(*_: Any) -> None:
        assert (loaded.session is not None) == kept
        raise ReachedError

    monkeypatch.setattr(work, "_LOADED", loaded)
    monkeypatch.setattr(steps_tune, "tune", tune)
    monkeypatch.setattr(composing, "read", lambda path: [])
    base = SimpleNamespace(model=SimpleNamespace(parameters=parameters, path=tmp_path))
    job: Any = SimpleNamespace(base=base, variants="v", arm=SimpleNamespace(name="a"), recipe=None, seed=0)
    folder: Any = SimpleNamespace(path=tmp_path)
    with pytest.raises(ReachedError):
        work._tune(Run(tmp_path), job, folder)
    assert bool(closed) != kept
