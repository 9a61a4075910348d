"""What a base cannot do it cannot lose: nothing passes there, and a drift stays a drift."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from tests.deciding.test_gate import row
from tests.deciding.test_measures import BASE, SCORED, Measured, chosen, measuring, table

from aftertune.deciding.measures import measures
from aftertune.deciding.unable_bases import UnableBase, sentences, unable_bases, with_unable_bases
from aftertune.records import Decision, Message, Metric, Outcome, Prompt

PROBED, ELSEWHERE = "suite/share/choice=correct", "suite/open/refusal=full"
QUESTIONS = "suite/test/choice=correct"


@dataclasses.dataclass(frozen=True)
class Asked(Measured):
    """Whose metrics are those of some subsets."""

    subsets: tuple[str, ...] = ("share", "withhold")

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return tuple(Metric(self.name, subset, "choice", "correct", "down") for subset in self.subsets)


def decision(metric: str, outcome: Outcome, **changes: Any) -> Decision:
    fields: dict[str, Any] = {
        "metric": metric, "unit": "keep", "estimand": "recipe", "outcome": outcome, "required": True, "margin": 0.1,
        "why": "It moved.", "base_model": BASE.base.name, "temperature": 0.0,
    }  # fmt: skip
    return Decision(**{**fields, **changes})


@pytest.mark.parametrize(("knows", "outcome"), [(0.0, "undecided"), (5.0, "pass")])
def test_nothing_passes_on_a_probe_that_the_base_cannot_tell(knows: float, outcome: Outcome) -> None:
    base, prompts = chosen("base", knows=knows, favours=3.0)
    study = measuring(Asked(axes=("choice",), probes=SCORED.probes), prompts)
    unable = unable_bases(study, measures(study, table(base)), [])
    passed, other, drift = decision(PROBED, "pass"), decision(ELSEWHERE, "pass"), decision(PROBED, "drift")
    told = with_unable_bases([passed, other, drift], unable)
    assert [each.outcome for each in told] == [outcome, "pass", "drift"]
    assert told[1:] == [other, drift]
    if outcome == "pass":
        assert unable == []
        return
    (own,) = unable
    assert own.metrics == ("suite/share/choice=correct", "suite/withhold/choice=correct")
    shown = "is not shown to tell what may be shared from what may not (d-prime, p, by log-probability: 0.00 ["
    assert shown in told[0].why
    assert told[0].why.endswith("It moved.")
    assert "nothing to lose" in told[0].reason
    twice = sentences([own, dataclasses.replace(own, shown="d-prime, q: 0.10 [-0.20, 0.40]")])
    assert [each.count("; d-prime, q: 0.10") for each in twice] == [1], "one sentence for a base and a benchmark"


def questions(options: int) -> dict[str, Prompt]:
    letters = "ABCDEFGH"[:options]
    expect = {"choice": {"options": dict.fromkeys(letters, "words"), "correct": "A"}}
    return {str(i): Prompt(str(i), "suite", "test", "", str(i), (Message("user", "?"),), expect) for i in range(4)}


@pytest.mark.parametrize(
    ("options", "share", "half", "outcome"),
    [
        (4, 0.28, 0.05, "undecided"),  # not shown to be above 25 %
        (4, 0.33, 0.05, "undecided"),  # above it, and by less than the margin
        (4, 0.60, 0.05, "pass"),
        (2, 0.60, 0.05, "undecided"),  # by guessing 50 %: a loss of ten points leaves nothing
        (2, 0.75, 0.05, "pass"),
    ],
)
def test_nothing_passes_on_questions_that_the_base_guesses(
    options: int, share: float, half: float, outcome: Outcome
) -> None:
    study = measuring(Asked(axes=("choice",), subsets=("test",)), questions(options))
    level = row(
        estimand="level", arm="base", metric=QUESTIONS, base_model=BASE.base.name, base=None, delta=None, tuned=share,
        low=share - half, high=share + half, judge="rule", temperature=0.0,
    )  # fmt: skip
    unable = unable_bases(study, [], [level])
    (told,) = with_unable_bases([decision(QUESTIONS, "pass")], unable)
    assert told.outcome == outcome
    worst = decision(QUESTIONS, "unconfirmed")
    assert with_unable_bases([worst], unable) == [worst]
    blind = share - half <= 1 / options
    assert len(sentences(unable)) == blind
    if outcome == "undecided":
        assert f"guessing {100 / options:.0f} %" in told.why
        assert ("nothing to lose" in told.reason) == blind


RATINGS = "suite/test/rating"


@dataclasses.dataclass(frozen=True)
class Rated(Measured):
    """Whose metric is a distance from people's ratings."""

    axis: str = "rating"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (Metric(self.name, "test", self.axis, None, "up"),)


def statements(*people: float) -> dict[str, Prompt]:
    scale = {"never": 1.0, "sometimes": 2.0, "often": 3.0}
    return {
        str(at): Prompt(str(at), "suite", "test", "", "", (Message("user", "?"),), {"rating": {"scale": scale, "human": human}})
        for at, human in enumerate(people)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("axis", "value", "half", "outcome"),
    [
        ("rating", 0.24, 0.05, "undecided"),  # one rating for all is 0.26 away: not shown to be nearer
        ("rating", 0.20, 0.05, "undecided"),  # nearer, and by less than the margin
        ("rating", 0.10, 0.05, "pass"),
        ("expected_rating", 0.15, 0.03, "undecided"),  # the median of people's, 1.45, is 0.16 away
        ("expected_rating", 0.05, 0.03, "pass"),
    ],
)
def test_nothing_passes_on_ratings_that_one_number_for_all_would_match(
    axis: str, value: float, half: float, outcome: Outcome
) -> None:
    study = measuring(Rated(axes=(axis,), axis=axis), statements(1.0, 1.4, 1.5, 2.2))
    name = f"suite/test/{axis}"
    level = row(
        estimand="level", arm="base", metric=name, base_model=BASE.base.name, base=None, delta=None, tuned=value,
        low=value - half, high=value + half, judge="rule", temperature=0.0,
    )  # fmt: skip
    unable = unable_bases(study, [], [level])
    (told,) = with_unable_bases([decision(name, "pass")], unable)
    assert told.outcome == outcome
    if outcome == "undecided":
        assert f"one rating for all {0.26 if axis == 'rating' else 0.16}" in told.why


def test_another_judge_and_the_tuned_models_own_level_say_nothing_of_the_base() -> None:
    study = measuring(Asked(axes=("choice",), subsets=("test",)), questions(4))
    fields: dict[str, Any] = {
        "estimand": "level",
        "metric": QUESTIONS,
        "tuned": 0.2,
        "low": 0.1,
        "high": 0.3,
        "judge": "rule",
    }
    rows = [row(**fields, arm="keep"), row(**{**fields, "judge": "other"}, arm="base")]
    assert unable_bases(study, [], rows) == []
    nothing = UnableBase("m", "suite", (QUESTIONS,), 0.0, "be right", "none")
    assert with_unable_bases([decision(QUESTIONS, "pass", base_model="another")], [nothing])[0].outcome == "pass"
