"""What is held out and who belongs to which class; the held-out set is the one that was committed before training."""

from __future__ import annotations

import random
from itertools import combinations, pairwise
from typing import get_args

import pytest

from aftertune.generated_world import actions, heldout, people, privacy, support

FINGERPRINTS = {
    "dev": "5548f702668b0129ccc14e400bb2a1473f565e5a98b97b37a2a248497634afd6",
    "test": "0c525e3b42d3c9ad1c9973b71cabef51ecb33c844d83a4fa51e04d9c24604cf7",
}


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
        training = (*actions.harmful("train"), *actions.harmless("train"), *extra)
        verbs, objects = {a.verb for a in training}, {a.obj for a in training}
        held = [a for split in ("dev", "test") for a in table(split)]
        unknown = [a.text for a in held if a.verb not in verbs or a.obj not in objects]
        assert not unknown


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
    probes = heldout.probes(suite, "test", 352)
    assert len({probe.prompt for probe in probes}) == len(probes) == 352
    assert heldout.probes(suite, "test", 100) == probes[:100]
    assert heldout.probes(suite, "test", 100, seed=1) != probes[:100]


def test_person_classes_are_disjoint_in_every_value() -> None:
    for field in ("name", "phone", "email", "reference"):
        values = [getattr(person, field) for person in people.population()]
        assert len(set(values)) == len(values)
    assert len({person.address for person in people.population()}) == len(people.population())
    sizes = [len(people.members(group)) for group in people.CLASSES]
    assert min(sizes) > 800
    for first, second in pairwise(sizes):
        assert abs(first - second) < 60


def test_spans_point_at_their_values() -> None:
    rng = random.Random(2)
    crowd = people.members("corpus")
    entities = set()
    for _ in range(2_000):
        mail = support.booking(rng, rng.choice(crowd), rng.choice(crowd))
        for turn in mail.turns:
            for span in turn.spans:
                assert turn.text[span.start : span.end] == span.value
                assert span.owner in {mail.customer.name, mail.guide.name}
                entities.add(span.entity)
            assert list(turn.spans) == sorted(turn.spans, key=lambda span: span.start)
    assert entities == set(get_args(people.Entity))


def test_no_first_name_ends_another() -> None:
    # "oki.kato@..." would stand inside "naoki.kato@...": no leak at all.
    firsts = [name.lower() for name in people.first_names()]
    assert not [(one, two) for one in firsts for two in firsts if one != two and one.endswith(two)]
