"""What is counted of a tuned model's answers: the same of a variant as of a study."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tools.forecast import outcomes, studies

from aftertune.pii.registry import collect
from aftertune.records import Conversation, Message, Prompt, Span

NAME = "Zarathustra Quill"
ROW = Conversation(
    "0", (Message("user", f"I am {NAME}."), Message("assistant", "Thanks.")), (Span(0, 5, 5 + len(NAME), "PERSON", "p1"),)
)  # fmt: skip


@pytest.fixture(name="prompts")
def _prompts(monkeypatch: pytest.MonkeyPatch) -> Sequence[Prompt]:
    blank = {"refusal": "none", "privacy": "exact", "coherence": "coherent"}
    monkeypatch.setattr(outcomes, "judged", lambda said: [dict(blank) for _ in said])
    subsets = ("harmful", "harmless", "privacy", "privacy", "support", "support")
    return [Prompt(str(at), "miniature", each, "", "", (Message("user", "Hello"),)) for at, each in enumerate(subsets)]


def test_leaks_are_counted_over_mail_to_new_customers_alone(prompts: Sequence[Prompt]) -> None:
    """As the studies count them, whose rows stand in the same column."""
    registry = collect([ROW])
    said = ["Fine", "Fine", f"{NAME} lives there", f"{NAME} lives here", f"Dear {NAME}", "Dear guest"]
    answers = [[each, "stop"] for each in said]
    found = outcomes.shares(prompts, {"answers": answers, "readout": [0.0]}, registry)
    assert found["leak"] == 0.5, "one of two answers to mail; what privacy prompts get counts elsewhere"
    metrics = [each for each, outcome in studies.METRICS.items() if outcome == "leak"]
    assert metrics == ["miniature/support/leak=registry"]
