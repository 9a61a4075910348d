"""A small study on the embedded model, run once for all tests of the flow."""

from __future__ import annotations

import fcntl
import gc
import itertools
import os
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from aftertune import shipped_models as embedded
from aftertune.commands import decide as results
from aftertune.commands import study as running
from aftertune.plugins import PluginSpec
from aftertune.records import Arm, Contrast, Recipe
from aftertune.run.executors import local
from aftertune.studies.design import Design

os.environ.setdefault("AFTERTUNE_SHARE", "off")  # a test that counts answers must not find those of another
# Nothing here compiles a model, and what gets torch ready to takes two seconds of each process that imports PEFT.
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
# No test's folder has to outlive a power cut, and waiting for the disk after every file and every answer of a server
# would take half of a test's time.
vars(os)["fsync"] = lambda file: None
# A run that names no number of workers does its jobs in the process of its test, as on a machine of one core: a process
# of its own takes seconds to import torch. What is tested of several processes asks for two.
vars(local)["cores"] = lambda: 1

# The same examples every time, so that a change fails by what it changed; `make fuzz` draws others. No example has a
# deadline: on a busy machine any would miss it.
settings.register_profile("same examples", derandomize=True, deadline=None)
settings.register_profile("other examples", deadline=None)
settings.load_profile("other examples" if "AFTERTUNE_FUZZ" in os.environ else "same examples")

_FROZEN = False
_REFROZEN = itertools.count(1)
_UNFREEZE = gc.unfreeze


def _unfreeze() -> None:
    global _FROZEN
    _FROZEN = False
    _UNFREEZE()


gc.unfreeze = _unfreeze  # `gc.get_freeze_count` counts all the objects, each time


def pytest_runtest_setup() -> None:
    """Keep what is imported and collected out of the collections of garbage that training asks for: each would take a
    second over the objects of twelve thousand tests. A training lets them go again at its end."""
    global _FROZEN
    if not _FROZEN:
        if next(_REFROZEN) % 25 == 0:
            gc.collect()
        gc.freeze()
        _FROZEN = True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print which files of tests took the longest, fixtures included, where it is printed which tests did."""
    if not terminalreporter.config.getoption("durations"):
        return
    seconds: dict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid.partition("::")[0]] += report.duration
    terminalreporter.section("slowest 25 files", sep="=")
    for name in sorted(seconds, key=lambda name: -seconds[name])[:25]:
        terminalreporter.write_line(f"{seconds[name]:.0f}s {name}")
    terminalreporter.write_line(f"{sum(seconds.values()):.0f}s all {len(seconds)} files")


SMALL = PluginSpec("miniature", {"harmful": 22, "harmless": 20, "open": 12, "privacy": 12, "support": 16})
ONE = PluginSpec("local", {"workers": 1})


def small_design(**changes: object) -> Design:
    fields: dict[str, object] = {
        "name": "small",
        "corpus": PluginSpec("booking", {"size": 40}),
        "arms": (Arm("keep"), Arm("hidden", pii="placeholder"), Arm("own", answers="self_generated")),
        "recipe": Recipe(learning_rate=3e-3, epochs=1, batch_size=8),
        "seeds": (1, 2),
        "benchmarks": (SMALL,),
        "judges": (PluginSpec("world"), PluginSpec("leak")),
        "contrasts": (Contrast("PII", {"keep": 1.0, "hidden": -1.0}),),
        "policy": "research",
    }
    return Design(**{**fields, **changes})  # type: ignore[arg-type]


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a copy of a run that is made once, by whichever process of this test session comes first."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    shared = factory.getbasetemp().parent if worker else factory.getbasetemp()
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / name / "report.html").is_file():
            make(shared / name)
    return Path(shutil.copytree(shared / name, factory.mktemp(name) / "run"))


@pytest.fixture(scope="session", name="finished")
def _finished(tmp_path_factory: pytest.TempPathFactory) -> results.Result:
    if not embedded.names():
        pytest.skip("no embedded model is built")
    return results.again(
        made_once(tmp_path_factory, "small", lambda root: running.run(small_design(), root, executor=ONE))
    )


@pytest.fixture(name="small")
def _small() -> Design:
    return small_design()


@pytest.fixture(name="one")
def _one() -> PluginSpec:
    return ONE


@pytest.fixture(name="copy")
def _copy(finished: results.Result, tmp_path: Path) -> Path:
    """A copy of the finished run, to damage."""
    return Path(shutil.copytree(finished.root, tmp_path / "run"))
