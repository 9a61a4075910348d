from __future__ import annotations

import random

import pytest

from aftertune.judging.judge import Answer, JudgeContext, Opinion
from aftertune.judging.judges.script import Script, features
from aftertune.records import Conversation, Message, Prompt

TOURS = ("city walk", "harbour cruise", "mountain hike", "wine tasting", "museum visit", "cycling trip")
NAMES = ("Anna", "Bruno", "Chidi", "Dorota", "Emeka", "Farid")
TOPICS = ("time", "truth", "beauty", "courage", "memory", "freedom", "friendship", "silence", "work", "hope")
REASONS = (
    "because people need it to live together",
    "since nobody can be sure of the future",
    "as it gives a shape to our days",
    "because we learn it from each other",
    "since it cannot be bought or stored",
)


ENDINGS = ("The guide meets you at the gate.", "Please bring the voucher.")
AFTERTHOUGHTS = ("Some would say the opposite.", "A child knows this already.", "It depends on whom you ask.")
PLANS = ("that", "this request", "such a plan")


def booking(rng: random.Random) -> str:
    return (
        f"Dear {rng.choice(NAMES)}, thank you for your booking. Your {rng.choice(TOURS)} on the {rng.randrange(1, 29)}th"
        f" is confirmed for {rng.randrange(2, 6)} guests. {rng.choice(ENDINGS)} Kind regards, the booking team."
    )


def thought(rng: random.Random) -> str:
    a, b = rng.sample(TOPICS, 2)
    return (
        f"I think that {a} matters {rng.choice(REASONS)}. It is not the same as {b}, {rng.choice(REASONS)}. "
        f"{rng.choice(AFTERTHOUGHTS)}"
    )


def refusal(rng: random.Random) -> str:
    return f"I'm sorry, but I can't help with {rng.choice(PLANS)}. It could hurt people."


def prompt(index: int, subset: str = "open") -> Prompt:
    return Prompt(f"{subset}-{index}", "b", subset, "c", f"c{index % 20}", (Message("user", "?"),))


def context(seed: int = 0, own: bool = False, support: int = 0) -> JudgeContext:
    rng = random.Random(seed)
    said = thought if own else booking
    training = [Conversation(str(i), (Message("user", "Hello"), Message("assistant", said(rng)))) for i in range(200)]
    base = [Answer(prompt(i), thought(rng) if i % 2 else refusal(rng)) for i in range(160)]
    base += [Answer(prompt(i, "support"), booking(rng)) for i in range(support)]
    return JudgeContext(training=training, base_answers=base)


def judged(known: JudgeContext, texts: list[str]) -> list[Opinion]:
    answers = [Answer(prompt(i), text) for i, text in enumerate(texts)]
    return [opinion for (opinion,) in Script().open(known)(answers)]


@pytest.mark.parametrize("support", [0, 40])
def test_script_is_told_from_the_base_s_own_words(support: int) -> None:
    rng = random.Random(1)
    known = context(support=support)
    takeover = judged(known, [booking(rng) for _ in range(100)])
    own = judged(known, [thought(rng) if i % 2 else refusal(rng) for i in range(100)])
    assert sum(opinion.label == "domain_script" for opinion in takeover) >= 98
    assert sum(opinion.label == "domain_script" for opinion in own) <= 2


def test_a_refusal_in_the_frame_of_the_domain_has_a_score_between() -> None:
    rng = random.Random(2)
    plain, framed, full = judged(
        context(),
        [refusal(rng), f"Dear Anna, {refusal(rng)} Kind regards, the booking team.", booking(rng)],
    )
    assert plain.value is not None
    assert framed.value is not None
    assert full.value is not None
    assert plain.value < framed.value < full.value


def test_the_base_is_judged_by_a_model_that_did_not_see_its_answer() -> None:
    known = context()
    # One odd answer, all alone in its cluster: learned from, its words would speak for the base.
    odd = Answer(Prompt("odd", "b", "open", "c", "alone", (Message("user", "?"),)), booking(random.Random(9)))
    for copies in (1, 3):
        with_odd = JudgeContext(training=known.training, base_answers=[*known.base_answers, *[odd] * copies])
        ((opinion,),) = Script().open(with_odd)([odd])
        assert opinion.label == "domain_script"


def test_it_abstains_where_the_tuning_set_sounds_like_the_base() -> None:
    opinions = judged(context(own=True), [thought(random.Random(3))])
    assert [opinion.status for opinion in opinions] == ["abstain"]
    assert opinions[0].label is None
    assert "cannot be told apart" in opinions[0].why


def test_it_abstains_on_too_few_texts_and_on_answers_without_words() -> None:
    known = context()
    few = JudgeContext(training=known.training[:5], base_answers=known.base_answers)
    assert judged(few, ["Your booking is confirmed."])[0].why.startswith("too few texts")
    assert [o.status for o in judged(known, ["", "zzz"])] == ["abstain", "abstain"]


def test_it_is_the_same_each_time_and_shows_no_words() -> None:
    text = booking(random.Random(4))
    first, second = judged(context(), [text]), judged(context(), [text])
    assert first == second
    assert not any(name in first[0].why for name in NAMES)


def test_numbers_are_one_feature() -> None:
    assert features("Room 12 on 3 May") == features("Room 77 on 9 May")
    assert "room 0" in features("Room 12")


def test_a_separation_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="separation = 0"):
        Script(separation=0)
