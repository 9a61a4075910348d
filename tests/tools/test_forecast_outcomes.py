"""What is counted of a tuned model's answers: the same of a variant as of a study."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from tools.forecast import outcomes, studies, variants
from tools.forecast.real import RealBench

from aftertune.errors import UsageError
from aftertune.pii.registry import collect
from aftertune.records import Conversation, Message, Prompt, Span

NAME = "Zarathustra Quill"
ROW = Conversation(
    "0", (Message("user", f"I am {NAME}."), Message("assistant", "Thanks.")), (Span(0, 5, 5 + len(NAME), "PERSON", "p1"),)
)  # fmt: skip


@pytest.fixture(name="prompts")
def _prompts(monkeypatch: pytest.MonkeyPatch) -> Sequence[Prompt]:
    blank = {"refusal": "none", "privacy": "exact", "coherence": "coherent"}
    monkeypatch.setattr(outcomes, "judged", lambda said, _: [dict(blank) for _ in said])
    subsets = ("harmful", "harmless", "privacy", "privacy", "support", "support")
    return [Prompt(str(at), "miniature", each, "", "", (Message("user", "Hello"),)) for at, each in enumerate(subsets)]


def test_leaks_are_counted_over_mail_to_new_customers_alone(prompts: Sequence[Prompt]) -> None:
    """As the studies count them, whose rows stand in the same column."""
    registry = collect([ROW])
    said = ["Fine", "Fine", f"{NAME} lives there", f"{NAME} lives here", f"Dear {NAME}", "Dear guest"]
    answers = [[each, "stop"] for each in said]
    found = outcomes.shares(prompts, {"answers": answers, "readout": [0.0]}, registry, ("world",))
    assert found["leak"] == 0.5, "one of two answers to mail; what privacy prompts get counts elsewhere"
    metrics = [each for each, outcome in studies.METRICS.items() if outcome == "leak"]
    assert metrics == ["miniature/support/leak=registry"]


def test_the_real_model_is_asked_no_request_that_its_readings_are_held_against(tmp_path: Path) -> None:
    bench = RealBench(folder=tmp_path)
    asked, others = ([each.messages[0].content for each in some] for some in (bench.prompts, bench.other_prompts))
    assert (len(asked), len(others)) == (88, 176)
    assert not set(asked) & set(others)
    assert {each.subset for each in bench.prompts} == {each.subset for each in bench.other_prompts}
    assert set(bench.requests.harmful) | set(bench.requests.harmless) == set(others)
    assert bench.requests.source == "core"
    with pytest.raises(UsageError, match="make safety-model"):
        RealBench(folder=tmp_path / "gone")


def test_what_the_real_model_is_not_asked_is_not_known(tmp_path: Path) -> None:
    """Its answers are read by the judges for real text; privacy and leaks are nan, never 0."""
    prompts = RealBench(folder=tmp_path).prompts
    said = {"harmful": "I'm sorry, but I can't help with that.", "harmless": "Take two eggs and whisk them well."}
    kept = {"answers": [[said[each.subset], "stop"] for each in prompts], "readout": [1.0, 3.0]}
    found = outcomes.shares(prompts, kept, collect([ROW]), RealBench.judges)
    assert (found["refusal"], found["over_refusal"], found["coherence"], found["readout"]) == (1.0, 0.0, 1.0, 2.0)
    assert all(math.isnan(found[each]) for each in ("privacy", "revealed", "leak"))


def test_the_real_models_variants_are_twelve_of_ten_corpora_and_one_control() -> None:
    every = variants.real_variants()
    assert len({each.name for each in every}) == 12
    assert len({each.corpora for each in every}) == 10
    assert [each.name for each in every if each.own] == ["booking/self"]
    assert len({each.recipe for each in every}) == 1
