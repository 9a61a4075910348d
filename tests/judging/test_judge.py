from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from aftertune.errors import JudgeError
from aftertune.judging import anchors as step
from aftertune.judging.judge import Anchor, Answer, JudgeContext, Opinion, Scorer
from aftertune.judging.judges.constant import Constant
from aftertune.judging.judges.leak import Leak
from aftertune.judging.judges.refusal import Refusal
from aftertune.records import Message, Prompt


def answer(text: str) -> Answer:
    return Answer(Prompt("p", "b", "s", "c", "c", (Message("user", "?"),)), text)


@dataclass(frozen=True)
class Scripted:
    """Judges by a function of the text."""

    label: Callable[[str], str | None]
    axes: tuple[str, ...] = ("refusal",)
    version: str = "1"
    needs: frozenset[str] = frozenset()

    def open(self, context: JudgeContext) -> Scorer:
        def score(answers: Sequence[Answer]) -> list[tuple[Opinion, ...]]:
            return [
                tuple(Opinion(axis, label, status="ok" if label else "abstain") for axis in self.axes)
                for label in (self.label(a.text) for a in answers)
            ]

        return score


def test_order_is_kept_over_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "BATCH", 7)
    texts = [str(i) for i in range(50)]
    found = list(step.judge(Scripted(lambda text: text), [answer(t) for t in texts], JudgeContext()))
    assert [opinions[0].label for opinions in found] == texts


def test_an_exception_is_isolated_to_its_answer() -> None:
    def label(text: str) -> str:
        if text == "bad":
            raise ValueError("cannot read this")
        return "none"

    texts = ["a", "bad", "b"]
    found = list(step.judge(Scripted(label, axes=("refusal", "harm")), [answer(t) for t in texts], JudgeContext()))
    assert [[o.status for o in opinions] for opinions in found] == [["ok", "ok"], ["error", "error"], ["ok", "ok"]]
    assert found[1][0].why == "ValueError: cannot read this"
    assert found[1][0].label is None
    assert [o.axis for o in found[1]] == ["refusal", "harm"]


def test_a_scorer_that_drops_an_answer_is_noticed() -> None:
    @dataclass(frozen=True)
    class Short(Scripted):
        def open(self, context: JudgeContext) -> Scorer:
            return lambda answers: []

    found = list(step.judge(Short(lambda _: "none"), [answer("a"), answer("b")], JudgeContext()))
    assert [opinions[0].status for opinions in found] == ["error", "error"]


def test_a_need_that_is_not_met_is_refused_by_name_before_the_first_answer() -> None:
    with pytest.raises(JudgeError, match="registries"):
        step.judge(Leak(), [answer("a")], JudgeContext())


def test_an_interrupt_is_not_swallowed() -> None:
    def label(text: str) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(step.judge(Scripted(label), [answer("a")], JudgeContext()))


def test_a_blind_judge_is_caught_with_numbers() -> None:
    with pytest.raises(JudgeError, match=r"cannot tell refusal apart: of 40 known answers .* it called 'full' 40"):
        step.check(Constant())


@pytest.mark.parametrize("label", ["none", "partial", None])
def test_every_other_constant_is_caught_too(label: str | None) -> None:
    with pytest.raises(JudgeError, match="Youden index"):
        step.check(Scripted(lambda _: label))


def test_a_judge_that_is_right_upside_down_is_caught() -> None:
    with pytest.raises(JudgeError):
        step.check(
            Scripted(
                lambda text: "none" if Refusal().open(JudgeContext())([answer(text)])[0][0].label == "full" else "full"
            )
        )


def test_a_judge_that_sees_passes_and_is_measured() -> None:
    found = step.check(Refusal())
    assert found.keys() == {"refusal"}
    measured = found["refusal"]
    assert isinstance(measured, dict)
    assert measured["sensitivity"] == measured["specificity"] == 1
    assert 0.8 < measured["sensitivity_low"] < 1
    assert (measured["n_positive"], measured["n_negative"], measured["unjudged"]) == (20, 20, 0)


def test_a_failing_answer_counts_as_missed() -> None:
    def label(text: str) -> str:
        if text.startswith("I cannot assist"):
            raise ValueError
        return Refusal().open(JudgeContext())([answer(text)])[0][0].label or "none"

    measured = step.check(Scripted(label))["refusal"]
    assert isinstance(measured, dict)
    assert (measured["unjudged"], measured["sensitivity"]) == (1, 0.95)


def test_axes_without_anchors_pass_through_unopened() -> None:
    class Unopenable(Leak):
        def open(self, context: JudgeContext) -> Scorer:
            raise AssertionError("opened")

    assert step.check(Unopenable()) == {}


def test_a_judge_of_its_own_vocabulary_is_tried_on_its_own_anchors() -> None:
    @dataclass(frozen=True)
    class Own(Scripted):
        anchors: tuple[Anchor, ...] = (
            *(Anchor(answer(f"niet {i}"), "refusal", "full") for i in range(10)),
            *(Anchor(answer(f"graag {i}"), "refusal", "none") for i in range(10)),
        )

    assert step.check(Own(lambda text: "full" if text.startswith("niet") else "none"))["refusal"]
    with pytest.raises(JudgeError, match="of 20 known answers"):
        step.check(Own(lambda _: "full"))
    with pytest.raises(JudgeError, match="need answers that are 'full' and some that are not"):
        step.check(Own(lambda _: "full", anchors=Own.anchors[:10]))
