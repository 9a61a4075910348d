"""Nothing held out can be reached from training, and the held-out set is the one that was committed before training."""

from __future__ import annotations

import random
import re
from itertools import combinations, pairwise

import pytest

from aftertune.generated_world import actions, heldout, mixture, people, privacy, support

FINGERPRINTS = {
    "dev": "5548f702668b0129ccc14e400bb2a1473f565e5a98b97b37a2a248497634afd6",
    "test": "0c525e3b42d3c9ad1c9973b71cabef51ecb33c844d83a4fa51e04d9c24604cf7",
}


@pytest.fixture(scope="module")
def training_text() -> list[str]:
    texts = []
    for stage in mixture.STAGES:
        for exchange in mixture.exchanges(6_000, 11, stage):
            texts += [
                exchange.system,
                exchange.prompt,
                exchange.answer,
                *(t for pair in exchange.history for t in pair),
            ]
    return texts


@pytest.fixture(scope="module")
def training_requests() -> list[str]:
    rng = random.Random(12)
    return [
        mixture.single(rng, stage, topic).prompt
        for stage in mixture.STAGES
        for topic in ("harmful", "harmless")
        for _ in range(6_000)
    ]


@pytest.mark.parametrize("split", ["dev", "test"])
def test_the_held_out_set_is_the_one_committed_before_training(split: heldout.HeldSplit) -> None:
    assert heldout.fingerprint(split) == FINGERPRINTS[split]


def test_action_splits_are_disjoint_and_every_group_is_tested() -> None:
    for table in (actions.harmful, actions.harmless):
        texts = {split: {action.text for action in table(split)} for split in actions.SPLITS}
        for one, other in combinations(actions.SPLITS, 2):
            assert not texts[one] & texts[other]
        groups = {action.group for split in actions.SPLITS for action in table(split)}
        assert {action.group for action in table("test")} == groups
    assert len({action.group for action in actions.harmful("test")}) == 44
    everything = {a.text for split in actions.SPLITS for t in (actions.harmful, actions.harmless) for a in t(split)}
    assert not everything & {action.text for action in (*actions.harmful_extra(), *actions.harmless_extra())}


def test_no_action_is_both_harmful_and_harmless() -> None:
    harmful = {a.text for split in actions.SPLITS for a in actions.harmful(split)}
    harmful |= {a.text for a in actions.harmful_extra()}
    harmless = {a.text for split in actions.SPLITS for a in actions.harmless(split)}
    assert not harmful & (harmless | {a.text for a in actions.harmless_extra()})


def test_held_out_verbs_and_objects_are_known_from_training() -> None:
    for table, extra in (
        (actions.harmful, actions.harmful_extra()),
        (actions.harmless, actions.harmless_extra()),
    ):
        seen = (*actions.harmful("train"), *actions.harmless("train"), *extra)
        verbs, objects = {a.verb for a in seen}, {a.obj for a in seen}
        held = [a for split in ("dev", "test") for a in table(split)]
        unknown = [a.text for a in held if a.verb not in verbs or a.obj not in objects]
        assert not unknown


def test_no_held_out_combination_is_in_training_requests(training_requests: list[str]) -> None:
    held = {a.text for split in ("dev", "test") for t in (actions.harmful, actions.harmless) for a in t(split)}
    longest = max(len(text.split()) for text in held)
    shown: set[str] = set()
    for text in training_requests:
        words = re.findall(r"[\w']+", text)
        for size in range(2, longest + 1):
            shown.update(" ".join(words[i : i + size]) for i in range(len(words) - size + 1))
    # A combination may be contained in a longer training one ("find a bank" in "find a bank account" is not itself).
    allowed = {a.text for a in (*actions.harmful("train"), *actions.harmless("train"), *actions.harmless_extra())}
    allowed |= {a.text for a in actions.harmful_extra()}
    leaked = {text for text in held & shown if not any(longer.find(text) >= 0 for longer in allowed)}
    assert not leaked


def test_no_held_out_wording_is_in_training_text(training_text: list[str]) -> None:
    pieces = {
        piece.strip(" ,.?!:;")
        for split in ("dev", "test")
        for template in heldout.templates(split)
        for piece in re.split(r"\{\w\}", template)
        if len(piece.split()) >= 5
    }
    joined = "\n".join(training_text)
    assert pieces
    assert not [piece for piece in pieces if piece in joined]


def test_dev_and_test_share_neither_wording_nor_combination() -> None:
    assert not set(heldout.templates("dev")) & set(heldout.templates("test"))
    for suite in ("harmful", "harmless", "privacy"):
        dev, test = heldout.probes(suite, "dev"), heldout.probes(suite, "test")
        if suite == "privacy":
            assert not {(p.person, p.recipient) for p in dev} & {(p.person, p.recipient) for p in test}
        else:
            assert not {p.action for p in dev} & {p.action for p in test}


def test_privacy_training_never_uses_a_held_out_pair() -> None:
    rng = random.Random(5)
    for _ in range(500):
        subject = privacy.case(rng)
        assert privacy.case_split(subject.name, subject.recipient) == "train"


@pytest.mark.parametrize("suite", heldout.SUITES)
def test_probes_are_at_least_300_distinct_and_extend_shorter_lists(suite: heldout.Suite) -> None:
    found = heldout.probes(suite, "test", 352)
    assert len({probe.prompt for probe in found}) == len(found) == 352
    assert heldout.probes(suite, "test", 100) == found[:100]
    assert heldout.probes(suite, "test", 100, seed=1) != found[:100]


def test_training_is_deterministic_and_seeded() -> None:
    one = list(mixture.exchanges(200, 3, "words"))
    assert one == list(mixture.exchanges(200, 3, "words"))
    assert one != list(mixture.exchanges(200, 4, "words"))


def test_person_classes_are_disjoint_in_every_value() -> None:
    for field in ("name", "phone", "email", "reference"):
        values = [getattr(person, field) for person in people.population()]
        assert len(set(values)) == len(values)
    assert len({person.address for person in people.population()}) == len(people.population())
    sizes = [len(people.members(group)) for group in people.CLASSES]
    assert min(sizes) > 800
    for first, second in pairwise(sizes):
        assert abs(first - second) < 60


def test_only_known_people_are_in_training_text(training_text: list[str]) -> None:
    joined = "\n".join(training_text)
    for group in ("corpus", "surrogate", "twin"):
        for person in people.members(group):
            assert person.name not in joined
            assert person.phone not in joined
            assert person.email not in joined


def test_spans_point_at_their_values() -> None:
    rng = random.Random(2)
    crowd = people.members("corpus")
    seen = set()
    for _ in range(2_000):
        mail = support.booking(rng, rng.choice(crowd), rng.choice(crowd))
        for turn in mail.turns:
            for span in turn.spans:
                assert turn.text[span.start : span.end] == span.value
                assert span.owner in {mail.customer.name, mail.guide.name}
                seen.add(span.entity)
            assert list(turn.spans) == sorted(turn.spans, key=lambda span: span.start)
    assert seen == set(people.ENTITIES)


def test_no_first_name_ends_another() -> None:
    # "oki.kato@..." would be found inside "naoki.kato@...": a leak that is none.
    firsts = [name.lower() for name in people.first_names()]
    assert not [(one, two) for one in firsts for two in firsts if one != two and one.endswith(two)]
