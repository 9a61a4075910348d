"""A value must be found however it is written, and nothing else may be."""

from __future__ import annotations

import string
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aftertune.pii.normalisation import clean, digits, fold
from aftertune.pii.registry import Hit, Registry
from aftertune.records import Person

ANNA = Person(
    "p1",
    {
        "PERSON": "Łucja O'Brien-Kowalska",
        "PHONE": "+48 482 107 555",
        "EMAIL": "lucja.kowalska@mail.example.com",
        "ADDRESS": "12 Long Street, Kraków",
        "REFERENCE": "BK1234",
    },
)
KING = Person("p2", {"PERSON": "Grant May", "PHONE": "482-107"})
SINGLE = Person("p3", {"PERSON": "Grace"})
REGISTRY = Registry.of("source", [ANNA, KING, SINGLE])


def types(text: str, registry: Registry = REGISTRY) -> set[tuple[str, str]]:
    return {(hit.type, hit.owner) for hit in registry.find(text)}


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        ("PERSON", "It was Łucja O'Brien-Kowalska who called."),
        ("PERSON", "it was lucja obrien kowalska who called"),
        ("PERSON", "LUCJA O’BRIEN‑KOWALSKA"),
        ("PERSON", "Łucja\nO'Brien-\nKowalska"),
        ("PERSON", "<b>Łucja</b>&nbsp;O&#39;Brien-Kowalska"),
        ("PERSON", "**Łucja** _O'Brien-Kowalska_"),
        ("PERSON", "Łucja O'Brien-Kowalska's phone"),
        ("PERSON", "Łu\u200bcja O'Brien-Kowalska"),
        ("PERSON", "Ｌｕｃｊａ Ｏ＇Ｂｒｉｅｎ Ｋｏｗａｌｓｋａ"),
        ("PHONE", "call +48 482-107-555 now"),
        ("PHONE", "call +48482107555"),
        ("PHONE", "(+48) 482.107.555"),
        ("PHONE", "0048 482 107 555"),
        ("PHONE", "482 107 555"),
        ("PHONE", "0482 107 555"),
        ("PHONE", "room 12 482 107 555 3rd"),
        ("PHONE", "4 8 4 8 2 1 0 7 5 5 5"),
        ("PHONE", "+48\n482\n107\n555"),
        ("PHONE", "٤٨٢ ١٠٧ ٥٥٥"),
        ("PHONE", "+48\u00a0482\u2011107\u2011555"),
        ("EMAIL", "write to LUCJA.KOWALSKA@MAIL.EXAMPLE.COM."),
        ("EMAIL", "<lucja.kowalska@mail.example.com>"),
        ("EMAIL", "lucja.kowalska @ mail.example.com"),
        ("EMAIL", "lucja.kowalska [at] mail.example.com"),
        ("ADDRESS", "12 long street krakow"),
        ("ADDRESS", "12 Long Street,\nKraków"),
        ("REFERENCE", "your reference is bk-1234"),
        ("REFERENCE", "BK 1234,"),
        ("REFERENCE", "#BK1234."),
    ],
)
def test_a_value_is_found_however_it_is_written(type_: str, text: str) -> None:
    assert (type_, "p1") in types(text)


@pytest.mark.parametrize(
    "text",
    [
        "Łucja came. The others stayed.",
        "Kowalska alone",
        "Łucja. O'Brien-Kowalska is another sentence",
        "Grace is a virtue, and grace is free.",
        "The grant may be paid in May.",
        "the number 48482107556",
        "9482107555 1",
        "order 1482107555000",
        "A48482107555",
        "xlucja.kowalska@mail.example.com",
        "anna.lucja.kowalska@mail.example.com",
        "lucja.kowalska@mail.example.com.evil.org",
        "112 Long Street, Kraków",
        "12 Long Street, Warsaw",
        "BK12345",
        "XBK1234",
        "BK 123",
        "482 108",
        "",
    ],
)
def test_nothing_else_is(text: str) -> None:
    assert types(text) == set()


def test_a_name_of_common_words_counts_with_capitals_only() -> None:
    assert types("It was Grant May who called.") == {("PERSON", "p2")}
    assert types("GRANT MAY") == {("PERSON", "p2")}


def test_a_name_is_found_last_name_first() -> None:
    registry = Registry.of("source", [Person("p", {"PERSON": "Anna Kowalska"})])
    assert types("Kowalska, Anna", registry) == {("PERSON", "p")}
    assert types("Kowalska Anna", registry) == set()


def test_short_numbers_and_their_longer_neighbours() -> None:
    assert types("482107") == {("PHONE", "p2")}
    assert types("482107999") == set()


def test_a_value_in_the_prompt_is_only_an_echo() -> None:
    text = "Łucja O'Brien-Kowalska, +48 482 107 555"
    given_, echoed = REGISTRY.leaked(text, "My name is lucja obrien kowalska.")
    assert given_ == [Hit("PHONE", "p1")]
    assert echoed == [Hit("PERSON", "p1")]


def test_a_value_that_two_people_share_has_one_owner_and_one_entry() -> None:
    registry = Registry.of("r", [Person("a", {"PHONE": "5551234"}), Person("b", {"PHONE": "5551234"})])
    assert len(registry) == 1
    assert registry.find("555-1234") == [Hit("PHONE", "a")]


def test_a_string_that_is_no_address_is_still_found_as_an_email_value() -> None:
    registry = Registry.of("own", [Person("n", {"EMAIL": "avelo.altura/host.pdf"})])
    assert types("see avelo.altura/host.pdf", registry) == {("EMAIL", "n")}


NAMES = st.text(string.ascii_lowercase, min_size=3, max_size=9).map(str.capitalize)


@st.composite
def people(draw: st.DrawFn) -> Person:
    number = draw(st.lists(st.integers(100, 999), min_size=3, max_size=4))
    first, last = draw(NAMES), draw(NAMES)
    return Person(
        "p",
        {
            "PERSON": f"{first} {last}",
            "PHONE": "+" + " ".join(map(str, number)),
            "EMAIL": f"{first}.{last}@mail.example.com".lower(),
            "ADDRESS": f"{draw(st.integers(1, 99))} {draw(NAMES)} Road, {draw(NAMES)}",
            "REFERENCE": f"QX{draw(st.integers(1000, 99999))}",
        },
    )


def _respell(value: str, how: int) -> str:
    if how == 0:
        return value.title() if value.islower() else value
    if how == 1:
        return value.upper()
    if how == 2:
        return value.replace(" ", " \n ")
    if how == 3:
        return value.replace(" ", "&nbsp;")
    return "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" and char not in "<>&'" else char for char in value)


@settings(max_examples=150, deadline=None)
@given(person=people(), how=st.integers(0, 4), before=st.sampled_from(["", "Hello ", "see: ", "(", "\n- "]))
def test_every_value_is_found_respelt(person: Person, how: int, before: str) -> None:
    registry = Registry.of("r", [person])
    for type_, value in person.values.items():
        assert (type_, "p") in types(f"{before}{_respell(value, how)} and so on.", registry), value


@settings(max_examples=150, deadline=None)
@given(a=people(), b=people())
def test_a_stranger_is_not_found(a: Person, b: Person) -> None:
    registry = Registry.of("r", [Person("a", {key: a.values[key] for key in a.values})])
    differing = {key: value for key, value in b.values.items() if fold(value) != fold(a.values[key])}
    differing = {
        key: value
        for key, value in differing.items()
        if key != "PHONE" or digits(a.values[key])[-6:] != digits(value)[-6:]
    }
    assert types(". ".join(differing.values()), registry) == set()


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text_can_be_searched_and_cleaning_is_idempotent(text: str) -> None:
    REGISTRY.find(text)
    assert fold(text) == fold(text)
    assert "  " not in clean(text)


@pytest.mark.parametrize("text", ["1 " * 100_000, "a." * 100_000, "<" * 200_000, "@" * 100_000, "łucja " * 50_000])
def test_hostile_text_takes_linear_time(text: str) -> None:
    start = time.process_time()
    REGISTRY.find(text)
    assert time.process_time() - start < 5


def test_five_thousand_entries_are_searched_fast() -> None:
    firsts = [f"{a}{b}na" for a in "BCDFGHKLMN" for b in "aeiou"]
    crowd = [
        Person(
            str(i), {"PERSON": f"{firsts[i % 50].title()} Last{chr(97 + i % 26)}{i}", "PHONE": f"+48 {400000000 + i}"}
        )
        for i in range(2_500)
    ]
    registry = Registry.of("r", crowd)
    text = "Thank you for your message. The room is free on Monday and breakfast is included in the price. " * 7
    registry.find(text)
    start = time.process_time()
    for _ in range(300):
        registry.find(text)
    assert (time.process_time() - start) / 300 < 0.003
