"""Token novelty: the share counts what it says, its interval covers it, and its reference is that of own speech."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.forecasting.predictor import Feature, OwnAnswer, TuningData
from aftertune.forecasting.predictors.token_novelty import TokenNovelty
from aftertune.records import Conversation, Message


def tokens(text: str) -> Sequence[int]:
    """One token a character."""
    return [ord(char) for char in text]


def chats(*answers: str) -> list[Conversation]:
    return [
        Conversation(str(n), (Message("user", "zzzz"), Message("assistant", answer)))
        for n, answer in enumerate(answers)
    ]


def novelty(conversations: Sequence[Conversation], answers: Sequence[OwnAnswer]) -> Feature:
    data = TuningData(conversations, {}, tokens, answers)
    (feature,) = TokenNovelty().features(data, np.random.default_rng(0), confidence=0.95)
    return feature


OWN = [OwnAnswer("aab", "one"), OwnAnswer("abc", "two"), OwnAnswer("cc", "two"), OwnAnswer("bd", "three")]


def test_it_is_the_share_of_tokens_that_the_base_never_used() -> None:
    feature = novelty(chats("abxx", "dddy"), OWN)
    assert feature.value == 3 / 8, "x, x and y; what users say does not count"
    assert (feature.n_tokens, feature.n_conversations, feature.n_reference) == (8, 2, 4)
    assert feature.is_proportion
    assert feature.warning == "only 4 answers of the base"


def test_every_answer_of_a_conversation_counts() -> None:
    turns = (Message("user", "q"), Message("assistant", "ab"), Message("user", "q"), Message("assistant", "xx"))
    assert novelty([Conversation("0", turns)], OWN).value == 0.5


def test_a_turn_that_is_not_trained_does_not_count() -> None:
    turns = (Message("user", "q"), Message("assistant", "xxxx", trained=False), Message("assistant", "ab"))
    feature = novelty([Conversation("0", turns)], OWN)
    assert (feature.value, feature.n_tokens) == (0.0, 2)
    untrained = novelty([Conversation("0", turns[:2])], OWN)
    assert (untrained.value, untrained.warning) == (None, "the data hold no answers")


def test_the_reference_holds_each_own_answer_against_those_of_other_clusters() -> None:
    """`c` stands in two answers, of one cluster: from the others it is new."""
    assert novelty(chats("a"), OWN).reference == pytest.approx(4 / 10), "c, c, c and d"
    assert novelty(chats("a"), [OwnAnswer("aab", "one")]).reference is None


def test_what_cannot_be_measured_has_a_reason_and_no_value() -> None:
    nothing = novelty(chats("abc"), [])
    assert (nothing.value, nothing.low, nothing.reference) == (None, None, None)
    assert nothing.warning == "no answers of the base to hold them against"
    assert novelty(chats("", ""), OWN).warning == "the data hold no answers"


def test_the_base_s_own_answers_are_at_the_reference_and_other_speech_is_not() -> None:
    rng = np.random.default_rng(0)
    ranks = np.arange(1, 400)
    chances = (1 / ranks) / (1 / ranks).sum()

    def speech(start: int, count: int) -> list[str]:
        return ["".join(chr(start + t) for t in rng.choice(ranks, size=20, p=chances)) for _ in range(count)]

    own = [OwnAnswer(text, str(n)) for n, text in enumerate(speech(1000, 300))]
    alike, other = novelty(chats(*speech(1000, 300)), own), novelty(chats(*speech(1200, 300)), own)
    assert alike.reference is not None
    assert alike.low is not None
    assert alike.high is not None
    assert alike.low < alike.reference < alike.high, "Good 1953: leaving one out tells how much is unseen"
    assert other.low is not None
    assert other.low > alike.high
    assert alike.warning == ""


def test_the_interval_treats_a_conversation_as_one_draw() -> None:
    """Tokens of a conversation go together: with few conversations the interval is wide, however long they are."""
    few, many = novelty(chats("x" * 500, "a" * 500, "x" * 500, "a" * 500), OWN), novelty(chats(*["x", "a"] * 1000), OWN)
    assert few.value == many.value == 0.5
    assert few.low is not None
    assert few.high is not None
    assert many.low is not None
    assert many.high is not None
    assert few.high - few.low > 0.8
    assert many.high - many.low < 0.06


@given(st.lists(st.text(alphabet="abcdxyz", min_size=1), min_size=1, max_size=8))
def test_it_is_a_share_within_its_interval_and_order_does_not_matter(answers: list[str]) -> None:
    there, back = novelty(chats(*answers), OWN), novelty(chats(*answers[::-1]), OWN[::-1])
    assert there.value is not None
    assert there.low is not None
    assert there.high is not None
    assert 0 <= there.low <= there.value <= there.high <= 1
    assert there.low < there.high, "no interval is empty"
    assert (there.value, there.reference) == pytest.approx((back.value, back.reference))
    more = novelty(chats(*answers), [*OWN, OwnAnswer("x", "four")])
    assert more.value is not None
    assert more.value <= there.value, "what the base says more makes nothing new"
