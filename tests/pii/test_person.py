"""What makes a word a name: the lists, the company it keeps, and the words that only stand beside people."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.pii.detect import THRESHOLDS
from aftertune.pii.name_context import human_context
from aftertune.pii.name_words import PARTICLES, TITLES, WEAK_TITLES, kind_of
from aftertune.pii.names_by_culture import HINTS, NAMES
from aftertune.pii.recogniser import Candidate, View
from aftertune.pii.recognisers.person import RECOGNISER
from aftertune.pii.word_lists import fold, names, words

LEAST = THRESHOLDS["PERSON"]


def every(text: str) -> list[Candidate]:
    return list(RECOGNISER.scan(View(text)))


def people(text: str) -> list[str]:
    return [text[one.start : one.end] for one in every(text) if one.score >= LEAST]


# ---------------------------------------------------------------------------------------------- lists


@pytest.mark.parametrize(
    ("word", "folded"),
    [
        ("", ""),
        ("Anna", "anna"),
        ("JOSÉ", "jose"),
        ("José", "jose"),
        ("Łucja", "lucja"),
        ("Søren", "soren"),
        ("Đorđe", "dorde"),
        ("Strauß", "strauss"),
        ("Ærø", "aero"),
        ("Ǽ", "ae"),
        ("İǾ", "io"),
        ("Þór", "thor"),
        ("O'Brien-Lee", "o'brien-lee"),
        ("Анна", "анна"),
        ("ﬁona", "fiona"),
    ],
)
def test_folding_takes_case_accents_and_strokes(word: str, folded: str) -> None:
    assert fold(word) == folded


@given(st.text(st.characters(categories=["Lu", "Ll", "Mn"]), max_size=12))
def test_a_folded_word_has_no_accent_and_is_the_same_however_it_is_typed(word: str) -> None:
    folded = fold(word)
    assert not any(unicodedata.combining(char) for char in folded)
    assert fold(unicodedata.normalize("NFD", word)) == fold(unicodedata.normalize("NFC", word)) == folded


def test_every_letter_folds_to_what_folds_to_itself() -> None:
    letters = [char for char in map(chr, range(0x3000)) if char.isalpha()]
    assert len(letters) > 5_000
    assert [char for char in letters if fold(fold(char)) != fold(char)] == []


@pytest.mark.parametrize(
    "file",
    ["given", "census_first", "surnames", "census_last", "places", "common", "words", "small_words", "organisations"],
)
def test_a_list_is_read_folded_without_its_comments(file: str) -> None:
    entries = names(file)
    assert len(entries) > 10
    assert "" not in entries
    assert not any("#" in entry or entry != entry.strip() or "," in entry for entry in entries)
    assert all(fold(entry) == entry for entry in entries)
    assert names(file) is entries
    assert any(" " in entry for entry in entries) is (file == "places")


def test_words_are_a_set_of_what_blanks_part() -> None:
    assert words(" a b\n\ta ") == {"a", "b"}
    assert words("") == frozenset()


def test_titles_are_folded_and_no_particle_is_one() -> None:
    assert {"judge", "coach", "doctor"} <= WEAK_TITLES & TITLES
    assert WEAK_TITLES.isdisjoint({"mr", "mrs", "dr", "prof"})
    assert TITLES.isdisjoint(PARTICLES)
    assert all(word == fold(word) for word in TITLES | PARTICLES)


# ---------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize("word", ["Anna", "ANNA", "anna", "Ánna", "José", "Anna-Maria", "Jean-Luc"])
def test_a_given_name_is_known_in_any_case_with_accents_and_doubled(word: str) -> None:
    assert kind_of(word).given


@pytest.mark.parametrize("word", ["Smith", "Higuchi", "O'Brien", "O’Brien", "Garcia", "García", "Smith-Qwelba"])
def test_a_family_name_is_known_with_its_apostrophe_and_in_a_double_name(word: str) -> None:
    assert kind_of(word).family


@pytest.mark.parametrize("word", ["Anna-Qwelba", "Qwelba-Anna", "Qwelba"])
def test_a_double_given_name_needs_both(word: str) -> None:
    assert not kind_of(word).given


@pytest.mark.parametrize(
    ("word", "ending"),
    [
        ("Qwelbowski", True),
        ("Qwelbenko", True),
        ("Qwelbsson", True),
        ("Qwelbescu", True),
        ("McQwelba", True),
        ("O'Qwelba", True),
        ("MCQWELBA", False),  # in capitals the inner one says nothing
        ("Qwelba", False),
        ("nsen", False),  # the ending alone
        ("Lakeside", False),
    ],
)
def test_an_ending_makes_a_family_name_of_a_word_on_no_list(word: str, ending: bool) -> None:
    assert kind_of(word).ending is ending


def test_a_word_that_is_a_name_too_is_both() -> None:
    for word in ("Will", "Grace", "Hope"):
        assert (kind_of(word).given, kind_of(word).word) == (True, True)
    assert kind_of("The").common
    assert kind_of("Table").common or kind_of("Table").word
    assert not kind_of("Qwelba").common


# ---------------------------------------------------------------------------------------------- who is found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Yesterday Anna Kowalska came.", ["Anna Kowalska"]),
        ("It was Kowalska Anna again.", ["Kowalska Anna"]),
        ("the flat of Ludwig van Beethoven here", ["Ludwig van Beethoven"]),
        ("the flat of Maria de la Cruz here", ["Maria de la Cruz"]),
        ("the flat of John F. Kennedy here", ["John F. Kennedy"]),
        ("the flat of Anna O'Brien's cat", ["Anna O'Brien"]),
        ("the flat of Anna O’Brien’s cat", ["Anna O’Brien"]),
        ("the flat of Anna-Maria Smith-Jones here", ["Anna-Maria Smith-Jones"]),
        ("so José García wrote", ["José García"]),
        ("so Łucja Kowalska wrote", ["Łucja Kowalska"]),
        ("so Anna\u00a0Kowalska wrote", ["Anna\u00a0Kowalska"]),
        ("Anna Kowalska and Ben Smith", ["Anna Kowalska", "Ben Smith"]),
        ("Anna Kowalska, Ben Smith", ["Anna Kowalska", "Ben Smith"]),
        ("Anna Kowalska\nBen Smith", ["Anna Kowalska", "Ben Smith"]),
        ("so natasha garcia wrote", ["natasha garcia"]),
        ("SO NATASHA GARCIA WROTE TO US", ["NATASHA GARCIA"]),
        ("then Mr. Qwelba wrote", ["Mr. Qwelba"]),
        ("then Mrs Qwelba wrote", ["Mrs Qwelba"]),
        ("then Prof. Qwelba Zorvyn wrote", ["Prof. Qwelba Zorvyn"]),
        ("my name is Qwelba", ["Qwelba"]),
        ("My name is qwelba", ["qwelba"]),
        ("Kind regards,\nQwelba", ["Qwelba"]),
        ("Hi Qwelba, how are you?", ["Qwelba"]),
        ("me llamo Qwelba", ["Qwelba"]),
        ("Passenger: Qwelba Zorvyn", ["Qwelba Zorvyn"]),
    ],
)
def test_a_name_is_found_whole(text: str, found: list[str]) -> None:
    assert people(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "It will rain in May and June.",
        "We went to Paris and London.",
        "We saw New York.",
        "They live in San Diego now.",  # no Diego
        "They live in Saint Lucia now.",
        "I know Anna Smith St. well",
        "the shop on Anna Garcia Ave",
        "A table for two",
        "Call Smith & Sons Ltd about it",
        "We ate at 22 Baker St today.",
        "We walked along via Garibaldi today.",
        "He took the bus to Qwelba.",
        "THE TABLE IS READY FOR US NOW",
        "The van is red.",
        "van der",
        "A. B. C.",
        "12345 67890",
        "'s 's",
        "Mr.",
    ],
)
def test_what_is_no_person_is_not_found(text: str) -> None:
    assert people(text) == []


def best(text: str) -> float:
    return max((one.score for one in every(text)), default=0.0)


@pytest.mark.parametrize(
    ("weaker", "stronger"),
    [
        ("I saw Qwelba there", "I saw Anna there"),  # no list against a list
        ("I saw Will there", "I saw Anna there"),  # a word too
        ("Kowalczyk there", "I saw Kowalczyk there"),  # a capital begins every sentence
        ("Smith there", "I saw Smith there"),
        ("I saw Anna there", "I saw Anna Kowalska there"),
        ("I saw Qwelba there", "I saw Dr. Qwelba there"),
        ("I saw Qwelba there", "so Qwelba shouted"),
        ("I saw Qwelba there", "my brother Qwelba"),
        ("I saw Qwelba there", "I saw Anna, Qwelba there"),  # in a list with a name
        ("so Emilio Qwardo 23", "so Emilio Qwardo"),  # a house number
        ("corner of Smith", "I saw Smith"),
    ],
)
def test_what_speaks_for_a_name_raises_its_score(weaker: str, stronger: str) -> None:
    assert best(weaker) < best(stronger)


@pytest.mark.parametrize("gap", [", ", " and ", " & ", ", and ", " or "])
def test_a_name_on_no_list_counts_beside_one_that_is(gap: str) -> None:
    assert people(f"we met Anna{gap}Qwelba there") == ["Anna", "Qwelba"]
    assert people(f"we met Qwelba{gap}Anna there") == ["Qwelba", "Anna"]


@given(st.lists(st.sampled_from(["Anna", "Kowalska", "van", "Will", "Mr.", "QWELBA", "anna", "O'", "d'", "'s", ",", "and",
                                 "St", "12", "\n", "É", "ß", "İ", "my name is", "hi", "A.", "-", "\u200b"]), max_size=9),
       st.sampled_from([" ", "", "  "]))  # fmt: skip
def test_any_mixture_gives_places_in_the_text_that_hold_a_letter(pieces: list[str], gap: str) -> None:
    text = gap.join(pieces)
    for one in every(text):
        assert 0 <= one.start < one.end <= len(text)
        assert any(char.isalpha() for char in text[one.start : one.end])
        assert 0 < one.score <= 1
        assert one.type == "PERSON"


FULL = st.tuples(st.sampled_from(["Anna", "Natasha", "Wojciech", "Benjamin"]), st.sampled_from(["Kowalska", "Higuchi"]))


@given(FULL, st.sampled_from(["", "So ", "We met ", "Please ask "]), st.sampled_from(["", ".", " today", "\n", "'s"]))
def test_a_listed_pair_is_found_wherever_it_stands(name: tuple[str, str], before: str, after: str) -> None:
    assert people(f"{before}{' '.join(name)}{after}") == [" ".join(name)]


# ---------------------------------------------------------------------------------------------- context


def context(text: str, name: str = "Qwelba") -> tuple[float, str] | None:
    start = text.index(name)
    return human_context(View(text), start, start + len(name))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("My sister Qwelba", "my sister"),
        ("her best friend, Qwelba", "best friend"),
        ("a girl named Qwelba", "girl named"),
        ("I spoke with Qwelba", "spoke with"),
        ("We met Qwelba", "we met"),
        ("From: Qwelba", "from"),
        ("I gave Qwelba his keys", "gave"),
        ("Why is Qwelba so angry?", "why is"),
        ("Qwelba is very tired", "is very tired"),
        ("Qwelba and my dog", "and my"),
        ("Qwelba, who is late", "who is"),
        ("Qwelba phoned", "phoned"),
        ("Qwelba wants to sleep", "wants to sleep"),
        ("Qwelba works at a bank", "works at"),
        ("Qwelba (32)", "(32)"),
    ],
)
def test_words_that_stand_only_beside_people_are_named(text: str, says: str) -> None:
    found = context(text)
    assert found is not None
    assert found[0] >= LEAST
    assert says in found[1]


@pytest.mark.parametrize(
    "text",
    ["Qwelba", "the Qwelba is closed", "I gave Qwelba a try", "Why is Qwelba so dear?", "Qwelba has to be paid",
     "Qwelba and I-beams", "tragedy Qwelba", "the sister city: Qwelba", "Qwelba (2019)", "Qwelba phonedirect"],
)  # fmt: skip
def test_words_that_stand_beside_things_too_are_not(text: str) -> None:
    assert context(text) is None


def test_two_signs_count_more_than_one_and_never_for_certain() -> None:
    one, two, three = (
        context(text) for text in ("My sister Qwelba", "My sister Qwelba is tired", "My sister Qwelba phoned and I")
    )
    assert one is not None
    assert two is not None
    assert three is not None
    assert two[0] == pytest.approx(one[0] + 0.05)
    assert one[0] < three[0] <= 0.9


def test_words_further_off_than_the_width_do_not_count() -> None:
    assert context("From: Qwelba") is not None
    assert context("my sister " + "x" * 60 + " Qwelba") is None


# ---------------------------------------------------------------------------------------------- stand-ins by culture


@pytest.mark.parametrize("culture", sorted(NAMES))
def test_a_culture_has_enough_names_of_each_kind_and_none_twice(culture: str) -> None:
    women, men, last = (text.split() for text in NAMES[culture])
    for one in (women, men, last):
        assert len(one) >= 6
        assert len(one) == len(set(one))
        assert all(not word[0].islower() and re.fullmatch(r"[^\W\d_]+(?:['-][^\W\d_]+)?", word) for word in one)


def test_hints_name_cultures_that_exist_and_read_names_in_lower_case() -> None:
    assert {culture for _, culture in HINTS} <= set(NAMES)
    for pattern, _ in HINTS:
        assert re.compile(pattern).pattern == pattern.lower() or "\\" in pattern


@pytest.mark.parametrize(
    ("name", "culture"),
    [
        ("qwelmann", "german"),
        ("qwelowski", "slavic"),
        ("qweloglu", "turkish"),
        ("qwelsen", "nordic"),
        ("qwelez", "spanish"),
        ("qwelini", "italian"),
        ("qweleau", "french"),
        ("abdulqwel", "arabic"),
        ("o'qwel", "english"),
        ("qwelba", None),
    ],
)
def test_the_first_hint_that_fits_tells_the_culture(name: str, culture: str | None) -> None:
    assert next((culture for pattern, culture in HINTS if re.search(pattern, name)), None) == culture
