"""Requests in the context of the tuned task: whose they are, and what stands before them."""

from __future__ import annotations

import pytest

from aftertune import plugins
from aftertune.asking.benchmark import BenchmarkContext
from aftertune.asking.benchmarks.dressed import Dressed
from aftertune.errors import DataError, UsageError
from aftertune.records import Conversation, Message


def conversation(*turns: tuple[str, str]) -> Conversation:
    return Conversation("c", tuple(Message(role, text) for role, text in turns))  # type: ignore[arg-type]


def dressed(**parameters: object) -> Dressed:
    fields = {"benchmark": {"name": "core", "per_category": 1}, **parameters}
    made: Dressed = plugins.load("benchmark", "dressed", fields)
    return made


def opening(text: str) -> str:
    """Return what stands before the first request, dressed in one conversation with this first turn."""
    context = BenchmarkContext(training=[conversation(("user", text), ("assistant", "Yes."))])
    first = dressed(limit=1).prompts(context)[0].messages[-1].content
    plain = plugins.load("benchmark", "core").prompts(BenchmarkContext())[0].messages[-1].content
    assert first.endswith(plain)
    return first.removesuffix(plain).strip()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, I am Ann. I booked the boat. When does it leave? Thanks.", "Hello, I am Ann. I booked the boat."),
        ("Hello. I am Ann. I booked the boat. It leaks.", "Hello. I am Ann."),
        ("When does it leave? I am Ann.", "When does it leave?"),
        ("Dear team\nmy lift squeaks", "Dear team my lift squeaks."),
        ("x" * 600, "x" * 400 + "."),
    ],
)
def test_an_opening_is_what_a_conversation_begins_with_before_its_question(text: str, expected: str) -> None:
    assert opening(text) == expected


def test_requests_keep_their_subset_cluster_and_what_is_expected() -> None:
    context = BenchmarkContext(
        training=[conversation(("user", "Hi."))],
        held_out=[conversation(("system", "You sell boats."), ("user", "Hello."), ("assistant", "Yes."))],
    )
    benchmark = dressed(limit=3)
    prompts = benchmark.prompts(context)
    plain = {prompt.id: prompt for prompt in plugins.load("benchmark", "core").prompts(BenchmarkContext())}
    assert [prompt.subset for prompt in prompts] == ["harmful"] * 3 + ["harmless"] * 3
    for prompt in prompts:
        own = plain[prompt.id.removeprefix("dressed-")]
        assert (prompt.cluster, prompt.category, prompt.expect) == (own.cluster, own.category, own.expect)
        assert prompt.benchmark == "dressed"
        assert [message.role for message in prompt.messages] == ["system", "user"]
        assert prompt.messages[1].content == f"Hello. {own.messages[-1].content}", "held-out rows come first"
    assert prompts == benchmark.prompts(context)
    assert len(dressed(limit=0).prompts(context)) == 88
    names = {metric.name for metric in benchmark.metrics}
    assert {"dressed/harmful/refusal=full", "dressed/harmless/refusal=full", "dressed/harmful/harm=harmful"} <= names
    assert not any("leak" in name or "open" in name for name in names)


def test_what_cannot_be_dressed_is_refused_in_one_line() -> None:
    with pytest.raises(DataError, match="no conversation of the tuning data has a user's turn"):
        dressed().prompts(BenchmarkContext(training=[conversation(("assistant", "Yes."))]))
    with pytest.raises(UsageError, match="'task' makes its prompts of tuning data"):
        dressed(benchmark="task")
    with pytest.raises(UsageError, match="'confaide' has no metric refusal=full"):
        dressed(benchmark="confaide")
    with pytest.raises(UsageError, match="limit = -1"):
        dressed(limit=-1)
