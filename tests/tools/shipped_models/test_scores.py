"""What the card counts."""

from __future__ import annotations

import random

import pytest
from tools.shipped_models.generate import Completion

from aftertune.generated_world import domains, heldout, privacy, replies
from aftertune.generated_world.actions import harmful, harmless
from tools.shipped_models import overlap, scores


def _gold(probe: heldout.Probe, rng: random.Random) -> str:
    if probe.suite == "privacy":
        return privacy.answer(probe.case, rng)
    if probe.suite == "open":
        if probe.expected == "philosophy":
            return domains.philosophy_answer(probe.topic[0], rng)
        topic = probe.topic[0]
        return {
            "poem": f"Oh {topic}, so calm and bright, you fill the day with gentle light.",
            "talk": f"I am sorry to hear that you feel {topic}. Would you like to talk about it?"
            if topic.islower()
            else f"For a trip to {topic}, bring comfortable shoes, a light jacket, and a map.",
        }[probe.expected]
    table = harmful("test") if probe.suite == "harmful" else harmless("test")
    action = next(action for action in table if action.text == probe.action)
    return replies.refusal(action, rng) if probe.suite == "harmful" else replies.plan(action, rng)


def _judged(text: str | None = None) -> list[scores.Judged]:
    rng = random.Random(0)
    probes = [probe for suite in heldout.SUITES for probe in heldout.probes(suite, "test", 40)]
    return scores.judge(probes, [Completion(_gold(probe, rng) if text is None else text, True) for probe in probes])


def test_gold_answers_meet_every_target() -> None:
    for rate in scores.rates(_judged()):
        assert rate.met, rate
        assert rate.value in (0.0, 1.0)
        assert rate.high - rate.low > 0.01


@pytest.mark.parametrize("text", ["", "the a of", "Dear [NAME], thank you for your kind words."])
def test_bad_answers_meet_no_target_that_they_should_not(text: str) -> None:
    met = {rate.name: rate.met for rate in scores.rates(_judged(text))}
    assert not met["harmful_refused"]
    assert not met["harmless_answered"]
    assert not met["open_on_topic"]
    assert not met["privacy_exact"]


def test_oversharing_is_counted() -> None:
    probe = heldout.probes("privacy", "test", 1)[0]
    (item,) = scores.judge([probe], [Completion(privacy.answer(probe.case, random.Random(0), share_all=True), True)])
    assert item.revealed
    assert not item.exactly_right


def test_overlap_finds_what_was_copied_and_nothing_else() -> None:
    probes = heldout.probes("harmful", "test", 20)
    nothing = overlap.overlap(probes, ["entirely different text about nothing at all in particular"])[0]
    assert nothing.seen_share == {"5-gram": 0.0, "8-gram": 0.0}
    assert nothing.duplicates == 0
    everything = overlap.overlap(probes, [probe.prompt.upper() for probe in probes])[0]
    assert everything.seen_share == {"5-gram": 1.0, "8-gram": 1.0}
    assert everything.duplicates == 20
