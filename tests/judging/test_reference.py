"""chrF against sacreBLEU's figures, and the loss that the benchmark asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.judging.judge import Answer, JudgeContext
from aftertune.judging.judges.reference import PLUGIN, chrf
from aftertune.records import Message, Prompt


@pytest.mark.parametrize(
    ("said", "wanted", "expected"),
    [
        ("Your booking is changed to the second of May.", "Your booking was moved to 2 May.", 0.468255),
        ("yes", "Yes, of course.", 0.094045),
        ("abc", "xyz", 0.0),
        ("The cat sat on the mat", "The cat sat on the mat", 1.0),
        ("Ich fahre nach Köln", "Ich fuhr nach Köln.", 0.541227),
        ("a", "ab", 0.555556),
    ],
)
def test_chrf_is_that_of_sacrebleu(said: str, wanted: str, expected: float) -> None:
    """Figures of sacreBLEU 2.6.0, `CHRF().sentence_score`, as a share."""
    assert chrf(said, wanted) == pytest.approx(expected, abs=1e-6)


@given(st.text(max_size=60), st.text(max_size=60))
def test_chrf_is_a_share_and_one_only_for_equal_letters(said: str, wanted: str) -> None:
    value = chrf(said, wanted)
    assert 0 <= value <= 1 + 1e-12
    if said.split() == wanted.split() and said.strip():
        assert value == pytest.approx(1)


def test_the_axes_are_those_that_the_prompt_asks_for() -> None:
    score = PLUGIN().open(JudgeContext())

    def axes(expect: dict[str, object], **more: object) -> list[tuple[str, str, float | None]]:
        answer = Answer(Prompt("p", "task", "s", "", "c", (Message("user", "hi"),), expect), "hello", **more)  # type: ignore[arg-type]
        return [(o.axis, o.status, o.value) for o in score([answer])[0]]

    asks = {"scored": {"forms": {"reply": ["hello"]}, "per_token": True, "generate": True}}
    assert axes({}) == []
    assert axes({"reference": "hello"}) == [("similarity", "ok", 1.0)]
    assert axes({"reference": "hello", **asks}, scores={"reply": -1.5}) == [
        ("similarity", "ok", 1.0),
        ("loss", "ok", 1.5),
    ]
    assert axes({"reference": "hello", **asks}, scores_error="no room")[1] == ("loss", "error", None)
    asks["scored"]["generate"] = False
    assert axes({"reference": "hello", **asks}, scores={"reply": -1.5}) == [("loss", "ok", 1.5)]
