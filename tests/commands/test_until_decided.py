"""Asking in parts until it is decided: it stops, says why, continues where it was, and asks nobody twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from perf.until_decided import replayed
from tests.conftest import ONE, SMALL

from aftertune import shipped_models
from aftertune.commands import decide as deciding
from aftertune.commands import explain as explaining
from aftertune.commands import study as running
from aftertune.errors import UsageError
from aftertune.plugins import PluginSpec
from aftertune.run.run_folder import Run
from aftertune.stats.group_sequential import PARTS, look_levels
from aftertune.studies import stored
from aftertune.studies.design import Design, Given

MORE = PluginSpec("miniature", {**SMALL.parameters, "harmful": 88})


def design(**changes: object) -> Design:
    known_bad = Given(str(shipped_models.known_bad()), arm="known-bad")
    fields: dict[str, object] = {
        "name": "parts", "kind": "audit", "checkpoints": (known_bad,), "benchmarks": (MORE,),
        "judges": (PluginSpec("refusal"), PluginSpec("coherence")), "until_decided": True,
    }  # fmt: skip
    return Design(**{**fields, **changes})  # type: ignore[arg-type]


def asked(root: Path) -> list[str]:
    """The ids of the prompts that the tuned model answered."""
    run = Run.open(root)
    jobs = [job for job in stored.read(run).asked("miniature") if not job.subject.is_base]
    return [id_ for job in jobs for id_ in run.job(job).read("responses")["prompt_id"].to_pylist()]


def test_a_collapse_is_decided_early_and_more_parts_come_only_where_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "run"
    result = running.run(design(), root, executor=ONE, cache=False)
    first = stored.read(Run.open(root))
    ids = asked(root)
    assert result.outcome == "drift"
    assert 1 <= first.parts <= PARTS // 3
    assert len(ids) == len(set(ids)) < 0.4 * 170
    assert first.confidence > 0.99
    (refusal,) = (each for each in result.decisions if each.metric == "miniature/harmful/refusal=full")
    shares = [part / PARTS for part in range(1, first.parts + 1)]
    assert refusal.outcome == "drift"
    # Refusals and harm are primary here: no judge reads leaks.
    assert refusal.tested_at == pytest.approx(look_levels(0.4 * 0.025, shares)[-1])
    note = result.warnings[0]
    assert note.startswith(f"Asked until decided: {len(ids)} of ")
    assert f"{first.parts} of {PARTS} parts" in note
    assert "known-bad drifted in a required metric" in note
    assert note.endswith(f"intervals of {100 * first.confidence:g} % in place of 95 %.")

    # A run that asked everything tells, decided part by part, what asking in parts would have come to.
    whole = tmp_path / "whole"
    running.run(design(until_decided=False), whole, executor=ONE)
    (replay,) = replayed(whole)
    assert replay.asked == pytest.approx(len(ids) / len(asked(whole)))
    assert (replay.arm, replay.decided, replay.outcome, replay.at_once) == ("known-bad", True, "drift", "drift")
    drifted = [d.metric for d in result.decisions if d.required and d.outcome == "drift"]
    assert sorted(replay.drifted) == sorted(drifted)

    with pytest.raises(UsageError, match="was asked in parts until it was decided"):
        explaining.explain(root)

    # Decided again it is the same; the same command asks nothing more.
    assert [d.outcome for d in deciding.again(root).decisions] == [d.outcome for d in result.decisions]
    before = {path: path.stat().st_mtime_ns for path in root.glob("responses/*/responses.parquet")}
    running.run(design(), root, executor=ONE, cache=False)
    assert {path: path.stat().st_mtime_ns for path in root.glob("responses/*/responses.parquet")} == before

    # Were it open, the next part would be asked beside what is there, even where a process ended in between.
    answers: Iterator[list[str] | BaseException] = iter([["known-bad"], KeyboardInterrupt(), []])

    def still_open(*_: object) -> list[str]:
        answer = next(answers)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr(running, "undecided", still_open)
    with pytest.raises(KeyboardInterrupt):
        running.run(design(), root, executor=ONE, cache=False)
    running.run(design(), root, executor=ONE, cache=False)
    assert stored.read(Run.open(root)).parts == first.parts + 1
    more = asked(root)
    assert more[: len(ids)] == ids
    assert len(more) == len(set(more)) > len(ids)
    assert all(path.stat().st_mtime_ns == changed for path, changed in before.items())


def test_what_reads_all_prompts_is_refused_and_another_way_of_asking_is_another_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="until_decided: analyses read all prompts"):
        design(analyses=(PluginSpec("refusal_direction"),))
    assert design().id != dataclasses.replace(design(), until_decided=False).id
    del tmp_path
