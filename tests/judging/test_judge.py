"""The contract of judges: answers in order, failures confined, and the trial on anchors of every axis."""

from __future__ import annotations

import dataclasses
import pickle
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import pytest

from aftertune.errors import JudgeError
from aftertune.judging.anchors import GENERAL
from aftertune.judging.judge import CONTRASTS, Anchor, Answer, Contrast, Cost, Judge, JudgeContext, Opinion, Scorer
from aftertune.judging.judges.constant import Constant
from aftertune.judging.judges.leak import Leak
from aftertune.judging.judges.refusal import Refusal
from aftertune.judging.judges.world import World
from aftertune.judging.opinions import opinions
from aftertune.judging.trial import anchors_of, check
from aftertune.plugins import Card
from aftertune.records import Message, Prompt

CARD = Card(about="a judge of the tests", source="the tests", licence="Apache-2.0")


def answer(text: str) -> Answer:
    return Answer(Prompt("p", "b", "s", "c", "c", (Message("user", "?"),)), text)


@dataclass(frozen=True)
class Scripted(Judge):
    """Judges by a function of the text."""

    name = "scripted"
    card = CARD
    label: Callable[[str], str | None]
    axes: tuple[str, ...] = ("refusal",)

    def open(self, context: JudgeContext) -> Scorer:
        def score(answers: Sequence[Answer]) -> list[tuple[Opinion, ...]]:
            return [
                tuple(Opinion(axis, label, status="ok" if label else "abstain") for axis in self.axes)
                for label in (self.label(a.text) for a in answers)
            ]

        return score


def refusal_label(text: str) -> str | None:
    return Refusal().open(JudgeContext())([answer(text)])[0][0].label


def test_order_is_kept_over_batches_of_the_judges_size() -> None:
    sizes: list[int] = []

    @dataclass(frozen=True)
    class Small(Scripted):
        batch: ClassVar[int] = 7

        def open(self, context: JudgeContext) -> Scorer:
            score = super().open(context)

            def counted(answers: Sequence[Answer]) -> Sequence[tuple[Opinion, ...]]:
                sizes.append(len(answers))
                return score(answers)

            return counted

    texts = [str(i) for i in range(50)]
    verdicts = list(opinions(Small(lambda text: text), [answer(t) for t in texts], JudgeContext()))
    assert [each[0].label for each in verdicts] == texts
    assert sizes == [7] * 7 + [1]
    assert Scripted.batch == 512


def test_an_exception_is_isolated_to_its_answer() -> None:
    def label(text: str) -> str:
        if text == "bad":
            raise ValueError("cannot read this")
        return "none"

    texts = ["a", "bad", "b"]
    judge = Scripted(label, axes=("refusal", "harm"))
    verdicts = list(opinions(judge, [answer(t) for t in texts], JudgeContext()))
    assert [[o.status for o in each] for each in verdicts] == [["ok", "ok"], ["error", "error"], ["ok", "ok"]]
    assert verdicts[1][0].why == "ValueError: cannot read this"
    assert verdicts[1][0].label is None
    assert [o.axis for o in verdicts[1]] == ["refusal", "harm"]


def test_a_scorer_that_drops_an_answer_is_noticed() -> None:
    @dataclass(frozen=True)
    class Short(Scripted):
        def open(self, context: JudgeContext) -> Scorer:
            return lambda answers: []

    verdicts = list(opinions(Short(lambda _: "none"), [answer("a"), answer("b")], JudgeContext()))
    assert [each[0].status for each in verdicts] == ["error", "error"]


def test_a_need_that_is_not_met_is_refused_by_name_before_the_first_answer() -> None:
    with pytest.raises(JudgeError, match="judge leak needs registries"):
        opinions(Leak(), [answer("a")], JudgeContext())


def test_an_interrupt_is_not_swallowed() -> None:
    def label(text: str) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(opinions(Scripted(label), [answer("a")], JudgeContext()))


# ---------------------------------------------------------------------------------------------- the trial


def test_a_blind_judge_is_caught_with_numbers() -> None:
    with pytest.raises(JudgeError, match=r"cannot tell refusal apart: of 40 known answers .* it called 'full' 40"):
        check(Constant())


@pytest.mark.parametrize("label", ["none", "partial", None])
def test_every_other_constant_is_caught_too(label: str | None) -> None:
    with pytest.raises(JudgeError, match="Youden index"):
        check(Scripted(lambda _: label))


def test_a_judge_that_is_right_upside_down_is_caught() -> None:
    with pytest.raises(JudgeError):
        check(Scripted(lambda text: "none" if refusal_label(text) == "full" else "full"))


def test_a_judge_that_can_tell_refusals_passes_and_is_measured() -> None:
    trials = check(Refusal())
    assert list(trials) == ["refusal", "harm"]
    refusal = trials["refusal"]
    assert refusal.sensitivity == refusal.specificity == 1
    assert 0.8 < refusal.sensitivity_low < 1
    assert (refusal.n_positive, refusal.n_negative, refusal.unjudged, refusal.admission) == (20, 20, 0, "")


def test_harm_is_tried_and_a_shipped_judge_that_misses_it_says_so() -> None:
    """The figures on the card: the threshold of harm misses most short answers and invents none."""
    harm = check(Refusal())["harm"]
    assert (harm.positive, harm.n_positive, harm.n_negative, harm.unjudged) == ("harmful", 20, 20, 0)
    assert (harm.sensitivity, harm.specificity) == (0.2, 1.0)
    assert harm.youden == pytest.approx(0.2)
    assert "lower bounds" in harm.admission


def test_a_judge_of_harm_that_declares_no_weakness_is_refused() -> None:
    @dataclass(frozen=True)
    class Silent(Refusal):
        @property
        def weak_axes(self) -> Mapping[str, str]:
            return {}

    with pytest.raises(JudgeError, match=r"cannot tell harm apart: of 40 known answers .* Youden index 0\.20"):
        check(Silent())


def test_a_declared_weakness_does_not_admit_a_blind_judge() -> None:
    @dataclass(frozen=True)
    class Weak(Scripted):
        @property
        def weak_axes(self) -> Mapping[str, str]:
            return {"refusal": "known to be weak"}

    with pytest.raises(JudgeError, match="Youden index 0.00"):
        check(Weak(lambda _: "full"))
    assert check(Weak(refusal_label))["refusal"].admission == ""


def test_a_failing_answer_counts_as_missed() -> None:
    def label(text: str) -> str:
        if text.startswith("I cannot assist"):
            raise ValueError
        return refusal_label(text) or "none"

    trial = check(Scripted(label))["refusal"]
    assert (trial.unjudged, trial.sensitivity) == (1, 0.95)


def test_axes_without_anchors_pass_through_unopened() -> None:
    class Unopenable(Leak):
        def open(self, context: JudgeContext) -> Scorer:
            raise AssertionError("opened")

    assert check(Unopenable()) == {}


def own(axis: str, yes: str, no: str) -> tuple[Anchor, ...]:
    return (
        *(Anchor(answer(f"niet {i}"), axis, yes) for i in range(10)),
        *(Anchor(answer(f"graag {i}"), axis, no) for i in range(10)),
    )


@dataclass(frozen=True)
class Own(Scripted):
    """A judge with anchors of its own."""

    anchors: tuple[Anchor, ...] = own("refusal", "full", "none")
    own_anchors_only: bool = True
    contrast: tuple[str, Contrast] | None = None

    @property
    def contrasts(self) -> Mapping[str, Contrast]:
        return dict([self.contrast] if self.contrast else [])


def test_a_judge_of_its_own_vocabulary_is_tried_on_its_own_anchors() -> None:
    assert check(Own(lambda text: "full" if text.startswith("niet") else "none"))["refusal"]
    with pytest.raises(JudgeError, match="of 20 known answers"):
        check(Own(lambda _: "full"))
    with pytest.raises(JudgeError, match="need answers that are 'full' and some that are not"):
        check(Own(lambda _: "full", anchors=Own.anchors[:10]))


def test_its_own_anchors_are_tried_besides_the_general_ones() -> None:
    judge = Own(lambda text: "full" if text.startswith("niet") else refusal_label(text), own_anchors_only=False)
    trial = check(judge)["refusal"]
    assert (trial.n_positive, trial.n_negative, trial.sensitivity) == (30, 30, 1.0)


@pytest.mark.parametrize("axis", ["harm", "toxicity", "relevance"])
def test_own_anchors_of_any_shared_axis_count(axis: str) -> None:
    positive = CONTRASTS[axis].positive
    judge = Own(lambda text: positive if "niet" in text else "other", (axis,), own(axis, positive, "other"))
    assert check(judge)[axis].sensitivity == 1
    with pytest.raises(JudgeError, match=f"cannot tell {axis} apart"):
        check(dataclasses.replace(judge, label=lambda _: "other"))


def test_an_axis_of_its_own_is_told_apart_by_the_label_that_the_judge_declares() -> None:
    judge = Own(
        lambda text: "flattering" if "niet" in text else "frank",
        ("sycophancy",),
        own("sycophancy", "flattering", "frank"),
        contrast=("sycophancy", Contrast("flattering")),
    )
    assert check(judge)["sycophancy"].positive == "flattering"
    with pytest.raises(JudgeError, match="cannot tell sycophancy apart"):
        check(dataclasses.replace(judge, label=lambda _: "frank"))
    with pytest.raises(JudgeError, match="own axis sycophancy, but its `contrasts` do not say"):
        check(dataclasses.replace(judge, contrast=None))


def test_a_judge_from_another_package_gets_its_own_axis_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an entry point loads: a module of another package, known to aftertune by its contract alone."""
    source = """
from dataclasses import dataclass, field
from aftertune.judging.judge import Anchor, Answer, Contrast, Judge, Opinion
from aftertune.plugins import Card
from aftertune.records import Message, Prompt

def anchor(text, label):
    return Anchor(Answer(Prompt(text, "a", "s", "c", text, (Message("user", "?"),)), text), "politeness", label)

@dataclass(frozen=True)
class Polite(Judge):
    name = "polite"
    axes = ("politeness",)
    card = Card(about="Says please.", source="elsewhere", licence="MIT")
    anchors = (anchor("please", "polite"), anchor("now", "rude"))
    contrasts = {"politeness": Contrast("polite")}
    word: str = "please"
    version: str = field(default="1", init=False)

    def open(self, context):
        return lambda answers: [(Opinion("politeness", "polite" if self.word in a.text else "rude"),) for a in answers]
"""
    module = types.ModuleType("elsewhere")
    monkeypatch.setitem(sys.modules, "elsewhere", module)
    exec(source, module.__dict__)
    assert check(module.Polite())["politeness"].youden == 1
    with pytest.raises(JudgeError, match="judge polite cannot tell politeness apart"):
        check(module.Polite(word=""))
    judge = module.Polite()
    assert (judge.batch, judge.cost, judge.price, judge.identity(), judge.model) == (512, None, None, None, "")


def test_the_general_anchors_have_both_sides_of_each_axis_and_no_answer_twice() -> None:
    axes = {anchor.axis for anchor in GENERAL}
    assert axes == {"refusal", "harm", "compliance", "coherence"}
    for axis in axes:
        labels = [anchor.label for anchor in GENERAL if anchor.axis == axis]
        assert min(labels.count(label) for label in set(labels)) >= 10
        assert CONTRASTS[axis].positive in labels
        texts = [(a.answer.prompt.messages, a.answer.text) for a in GENERAL if a.axis == axis]
        assert len(set(texts)) == len(texts)
    assert len({anchor.answer.prompt.id for anchor in GENERAL}) == len(GENERAL)


def test_a_judge_without_the_general_vocabulary_is_not_asked_general_anchors() -> None:
    assert not any(anchor in GENERAL for anchor in anchors_of(World()))
    assert {anchor.axis for anchor in anchors_of(Refusal())} == {"refusal", "harm"}


def test_costs_add_up_field_by_field() -> None:
    before, after = Cost(judged=1, calls=2), Cost(judged=3, calls=7, new_tokens=5)
    assert after - before == Cost(judged=2, calls=5, new_tokens=5)
    assert before + (after - before) == after
    assert pickle.loads(pickle.dumps(after)) == after
