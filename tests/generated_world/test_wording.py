"""The word lists of the world keep their promises, and wording never loses the action that a request is about."""

from __future__ import annotations

import hashlib
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.generated_world import lexicon
from aftertune.generated_world.action_groups import HARMFUL, HARMLESS
from aftertune.generated_world.phrasing import (
    ADJUNCTS,
    CLOSINGS,
    OPENINGS,
    dress,
    drop_words,
    filler,
    join,
    request,
    with_adjunct,
)

SEEDS = st.integers(0, 2**32)
RATES = st.floats(0, 1)
GROUPS = [*HARMFUL.items(), *HARMLESS.items()]

# ---------------------------------------------------------------------------------------------- lexicon


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, 2**60), st.sampled_from(["", "split"]))
def test_a_bucket_is_the_first_eight_bytes_of_the_salted_hash(text: str, buckets: int, salt: str) -> None:
    number = int(hashlib.sha256(f"{salt}|{text}".encode()).hexdigest()[:16], 16)
    assert lexicon.digest(text, buckets, salt) == number % buckets
    assert lexicon.digest(text, 1, salt) == 0


def test_a_bucket_is_the_same_on_every_machine() -> None:
    # sha256 of "|", as any tool prints it, begins with these digits.
    assert hashlib.sha256(b"|").hexdigest()[:16] == f"{lexicon.digest('', 2**64):016x}"
    assert lexicon.digest("a|b", 2**64) != lexicon.digest("b", 2**64, "a|")  # "|a|b" and "a||b"
    assert len({lexicon.digest("make tea", 2**60, salt) for salt in ("", "a", "b", "split")}) == 4


def test_buckets_are_filled_evenly() -> None:
    counts = [0] * 4
    for number in range(4000):
        counts[lexicon.digest(f"action {number}", 4)] += 1
    assert all(850 < count < 1150 for count in counts)  # 1000 each, more than five deviations


@pytest.mark.parametrize(
    ("text", "words"),
    [("", ()), ("  \n", ()), ("b a b", ("b", "a")), ("a\n  b\ta", ("a", "b")), ("a A", ("a", "A")), ("é é", ("é",))],
)
def test_words_come_once_in_their_first_order(text: str, words: tuple[str, ...]) -> None:
    assert lexicon.words(text) == words


@pytest.mark.parametrize(
    ("text", "capital"),
    [("", ""), ("a", "A"), ("ann Lee", "Ann Lee"), ("Ann", "Ann"), ("éa", "Éa"), ("1a", "1a"), (" a", " a"),
     ("mcDONALD", "McDONALD")],
)  # fmt: skip
def test_only_the_first_letter_is_raised(text: str, capital: str) -> None:
    assert lexicon.capitalise(text) == capital


LISTS: dict[str, tuple[str, ...]] = {
    "capitals": tuple(lexicon.CAPITALS),
    "cities": lexicon.CITIES,
    "months": lexicon.MONTHS,
    "days": lexicon.DAYS,
    "numbers": lexicon.NUMBER_WORDS,
    "things": tuple(thing for things in lexicon.CATEGORIES.values() for thing in things),
    "opposites": tuple(word for pair in lexicon.OPPOSITES for word in pair),
    "poems": lexicon.POEM_TOPICS,
    "feelings": lexicon.FEELINGS,
    "themes": tuple(lexicon.THEMES),
    "services": lexicon.SERVICES,
    "tours": lexicon.TOURS,
    "places": lexicon.MEETING_PLACES,
    "fillers": lexicon.FILLERS,
}


@pytest.mark.parametrize("name", sorted(LISTS))
def test_no_list_holds_an_entry_twice_or_an_empty_one(name: str) -> None:
    entries = LISTS[name]
    assert entries
    assert len(set(entries)) == len(entries)
    assert all(entry and entry == entry.strip() and "  " not in entry for entry in entries)
    assert all(entry.isascii() for entry in entries)


def test_questions_built_from_the_lists_have_one_right_answer() -> None:
    assert [lexicon.NUMBER_WORDS.index(word) for word in ("zero", "one", "five", "nine")] == [0, 1, 5, 9]
    assert len(lexicon.DAYS) == 7
    assert lexicon.CAPITALS["France"] == "Paris"
    assert lexicon.CAPITALS["Turkey"] == "Ankara"
    assert tuple(lexicon.CAPITALS.values()) == lexicon.CITIES
    assert not set(lexicon.CAPITALS) & set(lexicon.CITIES)
    assert "May" not in lexicon.MONTHS  # a verb as well
    assert all(one != other for one, other in lexicon.THEMES.values())
    assert {len(things) for things in lexicon.CATEGORIES.values()} == {3}


def test_fillers_are_single_words_in_lower_case_and_name_nothing_of_the_world() -> None:
    fillers = set(lexicon.FILLERS)
    assert all(re.fullmatch(r"[a-z]+", word) for word in fillers)
    assert not fillers & {word.lower() for word in (*lexicon.CITIES, *lexicon.CAPITALS, *lexicon.MONTHS, *lexicon.DAYS)}


# ---------------------------------------------------------------------------------------------- action groups


def parts(joined: str) -> list[str]:
    return [part.strip() for part in joined.split(";")]


@pytest.mark.parametrize(("group", "entry"), GROUPS, ids=[name for name, _ in GROUPS])
def test_a_group_has_verbs_and_objects_each_once(group: str, entry: tuple[str, str]) -> None:
    assert re.fullmatch(r"[a-z_]+", group)
    verbs, objects = map(parts, entry)
    assert len(verbs) >= 2  # one of each is held out while training still shows the other
    assert len(objects) >= 2
    for entries in (verbs, objects):
        assert len(set(entries)) == len(entries)
        assert all(entries)
        assert all(re.fullmatch(r"[A-Za-z0-9' -]+", one) and "  " not in one for one in entries)
    assert all(verb == verb.lower() for verb in verbs)


def test_no_group_is_harmful_and_harmless_at_once() -> None:
    assert not set(HARMFUL) & set(HARMLESS)


def test_harmless_groups_share_verbs_and_objects_with_harmful_ones() -> None:
    """Look-alikes: neither the verb nor the object alone may give a harmful request away."""
    harmful = [set[str]().union(*(parts(entry[side]) for entry in HARMFUL.values())) for side in (0, 1)]
    harmless = [set[str]().union(*(parts(entry[side]) for entry in HARMLESS.values())) for side in (0, 1)]
    for side in (0, 1):
        assert len(harmful[side] & harmless[side]) >= 20
    for verb in ("kill", "shoot", "blow up", "hack", "crack", "burn"):
        assert verb in harmless[0]


def test_what_is_harmful_is_written_nowhere_as_harmless() -> None:
    def actions(groups: dict[str, tuple[str, str]]) -> set[str]:
        return {
            f"{verb} {thing}" for verbs, things in groups.values() for verb in parts(verbs) for thing in parts(things)
        }

    assert not actions(HARMFUL) & actions(HARMLESS)


# ---------------------------------------------------------------------------------------------- phrasing


@pytest.mark.parametrize(
    ("pieces", "joined"),
    [((), ""), (("",), ""), (("a",), "a"), (("a", "", "b"), "a b"), (("", "", ""), ""), (("a b", "c"), "a b c")],
)
def test_joining_skips_what_is_empty(pieces: tuple[str, ...], joined: str) -> None:
    assert join(*pieces) == joined


@given(SEEDS, st.integers(0, 6), st.integers(0, 6))
def test_a_filler_has_between_low_and_high_everyday_words(seed: int, low: int, more: int) -> None:
    words = filler(random.Random(seed), low, low + more).split()
    assert low <= len(words) <= low + more
    assert set(words) <= set(lexicon.FILLERS)


@given(SEEDS)
def test_a_filler_reaches_both_bounds(seed: int) -> None:
    rng = random.Random(seed)
    assert {len(filler(rng, 1, 3).split()) for _ in range(100)} == {1, 2, 3}


@given(st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=9), SEEDS, RATES)
def test_dropping_keeps_the_order_and_never_everything(words: list[str], seed: int, rate: float) -> None:
    left = drop_words(" ".join(words), random.Random(seed), rate).split()
    assert left
    rest = iter(words)
    assert all(word in rest for word in left)


def test_dropping_nothing_or_all_leaves_the_text() -> None:
    assert drop_words("How do I", random.Random(1), 0.0) == "How do I"
    assert drop_words("How do I", random.Random(1), 1.0) == "How do I"
    assert drop_words("", random.Random(1), 0.5) == ""


def test_dropping_takes_its_share() -> None:
    left = drop_words(" ".join(map(str, range(10_000))), random.Random(3), 0.12).split()
    assert len(left) == pytest.approx(8800, abs=200)


@given(SEEDS)
def test_an_opening_and_a_closing_stand_around_the_sentence(seed: int) -> None:
    before, after = dress("SENTENCE", random.Random(seed)).split("SENTENCE")
    assert before.rstrip() in OPENINGS
    assert after.lstrip() in CLOSINGS
    assert before == f"{before.rstrip()} " or not before
    assert after == f" {after.lstrip()}" or not after


@given(SEEDS)
def test_an_adjunct_follows_the_action(seed: int) -> None:
    text = with_adjunct("make tea", random.Random(seed))
    assert text == "make tea" or text.removeprefix("make tea ") in ADJUNCTS


ACTIONS = st.sampled_from([f"{parts(verbs)[0]} {parts(things)[-1]}" for _, (verbs, things) in GROUPS])


@given(ACTIONS, SEEDS, st.sampled_from([0.0, 0.3, 1.0]))
def test_a_request_names_its_action_once_and_whole(action: str, seed: int, noise: float) -> None:
    text = request(action, random.Random(seed), noise)
    # A sentence may begin with it.
    assert action in text or lexicon.capitalise(action) in text
    assert "  " not in text
    assert text == text.strip()
    assert "\n" not in text
    assert text == request(action, random.Random(seed), noise)


@given(SEEDS)
def test_random_words_stand_around_the_action_only_with_noise(seed: int) -> None:
    """The grammar has a few everyday words of its own; noise brings in all of them."""
    rng = random.Random(seed)
    spoken = [
        {word for _ in range(150) for word in re.findall(r"[a-z]+", request("ZZ", rng, noise).lower())}
        for noise in (0.0, 1.0)
    ]
    fillers = set(lexicon.FILLERS)
    assert len(spoken[1] & fillers) > 2 * len(spoken[0] & fillers)


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_requests_are_worded_in_many_ways(noise: float) -> None:
    rng = random.Random(11)
    texts = {request("make tea", rng, noise) for _ in range(300)}
    assert len(texts) > 290
    starts = {text.split()[0] for text in texts}
    assert len(starts) > 30
