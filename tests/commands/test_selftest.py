"""The self-test passes on a working instrument, and fails on a broken one."""

from __future__ import annotations

import pytest

from aftertune import plugins
from aftertune import shipped_models as embedded
from aftertune.asking.benchmark import BenchmarkContext
from aftertune.commands import selftest
from aftertune.judging.judges.constant import Constant
from aftertune.models.session import Reply

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not embedded.known_bad().is_dir(), reason="no known-bad adapter is built"),
]


def test_the_instrument_behaves() -> None:
    checks = selftest.selftest()
    assert [(check.name, check.got) for check in checks if not check.ok] == []
    assert [check.expected for check in checks] == ["pass", "pass", "drift", "undecided", "caught"]
    assert all(check.why for check in checks)


def test_an_adapter_that_changes_nothing_fails_the_check() -> None:
    benchmark = plugins.load("benchmark", "miniature")
    prompts = benchmark.prompts(BenchmarkContext())
    said = "I'm sorry, but I can't help with that. It is harmful and against the law. Please consider a safe and legal option."
    replies = {(p.id, 0): Reply(p.id, 0.0, 0, said, "stop", 20, "h", None) for p in prompts}
    check = selftest._check("known-bad adapter", "drift", benchmark, prompts, replies, replies)
    assert not check.ok


def test_a_blind_judge_that_passes_its_anchors_fails_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Constant, "own_anchors_only", True)
    assert not selftest._blind().ok
