"""The automaton finds what a slow reading of the text finds, wherever it stands, and nothing else."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aftertune.pii.masking import masker
from aftertune.pii.matcher import MAX_DIGITS, MIN_DIGITS, SHARED_DIGITS, Matcher
from aftertune.pii.normalisation import TracedText, clean, digits, plain, squeeze
from aftertune.pii.registry import Registry
from aftertune.records import Person

VALUES = {
    "CREDIT_CARD": "4111 1111 1111 1111",
    "IBAN": "DE89 3704 0044 0532 0130 00",
    "NATIONAL_ID": "078-05-1120",
    "PASSPORT": "C01X 00T47",
    "DRIVER_LICENCE": "D123-4567-8901",
    "LICENCE_PLATE": "KR 7AB12",
    "IP": "192.168.13.7",
    "URL": "https://www.example.com/~anna",
    "USERNAME": "anna_k.82",
    "DATE_OF_BIRTH": "1984-03-17",
}
MATCHER = Matcher(list(VALUES.items()))
TYPES = list(VALUES)


def found(text: str) -> set[str]:
    return {TYPES[one.value] for one in MATCHER.find(text)}


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        ("CREDIT_CARD", "card 4111-1111-1111-1111."),
        ("CREDIT_CARD", "4111111111111111"),
        ("CREDIT_CARD", "4111\n1111 1111.1111"),
        ("IBAN", "de89370400440532013000"),
        ("IBAN", "DE89-3704-0044-0532-0130-00!"),
        ("NATIONAL_ID", "SSN 078 05 1120"),
        ("NATIONAL_ID", "078051120"),
        ("PASSPORT", "c01x00t47"),
        ("DRIVER_LICENCE", "D12345678901"),
        ("LICENCE_PLATE", "kr-7ab12"),
        ("IP", "from 192.168.13.7."),
        ("IP", "192[.]168[.]13[.]7"),
        ("URL", "see EXAMPLE.com/~Anna, or not"),
        ("URL", "http://example.com/~anna/"),
        ("USERNAME", "write to @Anna_K.82."),
        ("DATE_OF_BIRTH", "born 17/03/1984"),
        ("DATE_OF_BIRTH", "born on the 17th of March 1984"),
        ("DATE_OF_BIRTH", "March 17, 1984"),
        ("DATE_OF_BIRTH", "17.3.1984"),
        ("DATE_OF_BIRTH", "17 mar\n1984"),
    ],
)
def test_a_value_is_found_without_its_separators(type_: str, text: str) -> None:
    assert found(text) == {type_}


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",
        "94111111111111111",
        "DE89 3704 0044 0532 0130 001",
        "078051121",
        "192.168.13.71",
        "1.192.168.13.7",
        "19.216.81.37",
        "192 168 13 7",
        "sub.example.com/~anna",
        "example.com/~annabel",
        "example.com/~anna/photos",
        "anna k 82",
        "anna_k.823",
        "17 April 1984",
        "1984-17-03-2",
        "17th of March",
    ],
)
def test_a_neighbour_is_not(text: str) -> None:
    assert found(text) == set()


def test_a_user_name_that_is_a_word_counts_only_where_it_is_called_one() -> None:
    matcher = Matcher([("USERNAME", "sunshine")])
    assert not matcher.find("Sunshine is free here")
    assert matcher.find("ask @sunshine")
    assert matcher.find("login: Sunshine")


DOUBLE, LONG = "Ilse Brandvold-Quaresma", "Jan van der Zandschulp"


@pytest.mark.parametrize(
    ("name", "text", "mention"),
    [
        (DOUBLE, "Ms Brandvold-Quaresma called", "Brandvold-Quaresma"),
        (DOUBLE, "Dear Mrs. Brandvold\u2011Quaresma,", "Brandvold\u2011Quaresma"),
        (DOUBLE, "Frau Dr. Brandvold-Quaresma", "Brandvold-Quaresma"),
        (DOUBLE, "the bill of ms. brandvold-quaresma", "brandvold-quaresma"),
        (DOUBLE, "MRS BRANDVOLD-QUARESMA'S BILL", "BRANDVOLD-QUARESMA"),
        (DOUBLE, "Madame Brandvold Quaresma", "Brandvold Quaresma"),
        (LONG, "Mr van der Zandschulp", "van der Zandschulp"),
        (LONG, "Herr Van Der Zandschulp", "Van Der Zandschulp"),
        ("Ana de la Quintanilla", "Sra. de la Quintanilla", "de la Quintanilla"),
        ("Wim Xandrovitzel", "Mr Xandrovitzel", "Xandrovitzel"),
    ],
)
def test_a_family_name_of_hardly_anybody_else_counts_after_a_title(name: str, text: str, mention: str) -> None:
    assert [text[one.start : one.end] for one in Matcher([("PERSON", name)]).find(text)] == [mention]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (DOUBLE, "Brandvold-Quaresma"),
        (DOUBLE, "Ms Quaresma"),
        (DOUBLE, "Ms Brandvold"),
        (DOUBLE, "Ms Quaresma-Brandvold"),
        (DOUBLE, "Ms Brandvold-Quaresma-Lopez"),
        (DOUBLE, "Ms Anders-Brandvold-Quaresma"),
        (LONG, "Mr Zandschulp"),
        ("Anna Smith", "Ms Smith"),  # strangers share it
        ("Mark King", "Mr King"),
        ("Li Wei", "Mr Wei"),
    ],
)
def test_a_shared_or_bare_family_name_does_not(name: str, text: str) -> None:
    assert Matcher([("PERSON", name)]).find(text) == []


def test_a_place_of_one_word_is_no_address() -> None:
    assert not Matcher([("ADDRESS", "London")]).find("We flew to London.")
    assert Matcher([("ADDRESS", "Rua Augusta")]).find("It is rua  Augusta!")


def test_the_place_is_the_mention_in_the_text_as_given() -> None:
    text = "<b>Dear</b> Łucja&nbsp;O&#39;Brien\u200b-Kowalska, ok"
    (one,) = Matcher([("PERSON", "Lucja O'Brien-Kowalska")]).find(text)
    assert text[one.start : one.end] == "Łucja&nbsp;O&#39;Brien\u200b-Kowalska"


# ---------------------------------------------------------------------------------------------- against a slow reading

NAMES = [("PERSON", "Anna Nan"), ("PERSON", "Nan An-Na"), ("PERSON", "Ann Ana"), ("REFERENCE", "AN12"),
         ("REFERENCE", "N1-2A3"), ("ADDRESS", "12 Anna, Nan")]  # fmt: skip
NUMBERS = [("PHONE", "+12 121 2121"), ("PHONE", "2112212"), ("PHONE", "212121")]
PIECES = st.lists(
    st.sampled_from(
        [
            "Anna",
            "anna",
            "Nan",
            "an",
            "Na",
            "Ann",
            "Ana",
            "12",
            "1",
            "2",
            "3A",
            "AN12",
            "N1",
            "2A3",
            " ",
            " ",
            "-",
            ".",
            ", ",
            "\n",
            "  ",
            "é",
            "Á",
            "_",
            "'",
            "*",
            "12121",
            "21",
            "2112",
            "0",
            "+",
            "(",
            ")",
            "/",
        ]
    ),
    max_size=14,
).map("".join)


def slow_words(type_: str, value: str, text: str) -> bool:
    """A regular expression per value over the cleaned text, with every gap allowed between any two letters."""
    gap = {"PERSON": r"(?:[ \-]{1,3})?", "REFERENCE": r"(?:[ \-./#]{0,3})"}.get(type_, r"(?:[^\w]{0,4})")
    letters = [re.escape(char) for char in clean(value).casefold() if char.isalnum()]
    pattern = r"(?<![^\W_])" + gap.join(letters) + r"(?![^\W_])"
    return re.search(pattern, clean(text).casefold()) is not None


def slow_reversed(value: str, text: str) -> bool:
    words = [word for word in re.split(r"[\W_]+", clean(value).casefold()) if word]
    gap = r"(?:[ \-]{1,3})?"
    last, rest = gap.join(words[-1]), gap.join("".join(words[:-1]))
    return re.search(rf"(?<![^\W_]){last} ?, ?{rest}(?![^\W_])", clean(text).casefold()) is not None


def slow_number(value: str, text: str) -> bool:
    """Every way to read a run of digit groups as one number."""
    known = digits(value).lstrip("0")
    for run in re.finditer(r"(?<![^\W_])\d+(?:[\s().\-/]{1,3}\d+)*(?![^\W_])", clean(text)):
        groups = re.findall(r"\d+", run.group())
        for a in range(len(groups)):
            for b in range(a + 1, len(groups) + 1):
                whole = (a, b) == (0, len(groups))
                number = "".join(groups[a:b])
                if not (MIN_DIGITS if whole else SHARED_DIGITS) <= len(number) <= MAX_DIGITS:
                    continue
                number = number.lstrip("0")
                shorter = min(len(number), len(known))
                ends = number.endswith(known) or known.endswith(number)
                if number == known or (shorter >= SHARED_DIGITS and ends):
                    return True
    return False


@settings(max_examples=400, deadline=None)
@given(PIECES)
@example("12121, 2121")
def test_the_automaton_finds_what_a_slow_reading_finds(text: str) -> None:
    fast = {one.value for one in Matcher(NAMES).find(text)}
    slow = {
        i
        for i, (type_, value) in enumerate(NAMES)
        if slow_words(type_, value, text) or (type_ == "PERSON" and slow_reversed(value, text))
    }
    assert fast == slow
    numbers = {one.value for one in Matcher(NUMBERS).find(text)}
    assert numbers == {i for i, (_, value) in enumerate(NUMBERS) if slow_number(value, text)}


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_a_trace_is_the_plain_text_and_points_into_the_given_one(text: str) -> None:
    traced = TracedText.of(text)
    assert traced.text == plain(text)
    assert len(traced.letters) == len(squeeze(traced.text))
    if traced.origins is not None:
        assert all(0 <= start < end <= len(text) for start, end in traced.origins)
        assert list(traced.origins) == sorted(traced.origins)


# ---------------------------------------------------------------------------------------------- respelt and strange

CODES = ["CREDIT_CARD", "IBAN", "NATIONAL_ID", "PASSPORT", "DRIVER_LICENCE", "LICENCE_PLATE", "REFERENCE", "PHONE"]
GROUPS = st.lists(st.text("0123456789", min_size=3, max_size=4), min_size=3, max_size=4)


@settings(max_examples=200, deadline=None)
@given(groups=GROUPS, type_=st.sampled_from(CODES), old=st.sampled_from(["", " ", "-"]),
       new=st.sampled_from(["", " ", "-", ".", "\n", " - ", "\u00a0", "\u2011", "/"]), wide=st.booleans())  # fmt: skip
def test_a_code_is_found_whatever_parts_it(groups: list[str], type_: str, old: str, new: str, wide: bool) -> None:
    groups = ["7" + groups[0], *groups[1:]]
    text = new.join(groups)
    if wide:
        text = "".join(chr(ord(char) + 0xFEE0) if char.isdigit() else char for char in text)
    if len("".join(groups)) <= MAX_DIGITS:
        assert Matcher([(type_, old.join(groups))]).find(f"it is {text}, yes")


@settings(max_examples=200, deadline=None)
@given(a=GROUPS, b=GROUPS, type_=st.sampled_from(CODES))
def test_another_code_is_not(a: list[str], b: list[str], type_: str) -> None:
    one, other = "".join(a), "".join(b)
    # Leading zeros are a trunk prefix to a phone number, so that two that differ in them alone are the same.
    same = one.lstrip("0")[-SHARED_DIGITS:] == other.lstrip("0")[-SHARED_DIGITS:]
    # A code whose groups stand one after the other in a longer run does stand there.
    if one[-SHARED_DIGITS:] != other[-SHARED_DIGITS:] and not same and one.lstrip("0")[-SHARED_DIGITS:] not in other:
        assert not Matcher([(type_, "-".join(a))]).find(f"it is {'-'.join(b)}, yes")


def test_a_short_number_among_zeros_is_not_read_out_of_a_longer_one() -> None:
    assert not Matcher([("PHONE", "000-010-0000")]).find("it is 0010-0000-000, yes")
    assert Matcher([("PHONE", "020 7946 0958")]).find("on 020 7946 0958 12 or later")


def accented(name: str) -> str:
    return "".join(unicodedata.normalize("NFC", char + "\u0301") if char in "aeiou" else char for char in name)


@settings(max_examples=100, deadline=None)
@given(first=st.text("abdeiklmnoru", min_size=3, max_size=8), last=st.text("abdeiklmnoru", min_size=4, max_size=8),
       way=st.sampled_from([str.upper, str.title, accented, lambda t: t.replace(" ", "\n  "),
                            lambda t: t.replace(" ", " <i>") + "</i>", lambda t: f"{t}'s", lambda t: f"**{t}**"]))  # fmt: skip
def test_a_name_is_found_and_masked_however_it_is_written(first: str, last: str, way) -> None:  # type: ignore[no-untyped-def]
    registry = Registry.of("r", [Person("p", {"PERSON": f"{first} {last}"})])
    text = f"ask {way(f'{first} {last}')} now"
    assert [hit.owner for hit in registry.find(text)] == ["p"]
    masked = masker([registry])(text)
    assert not registry.find(masked)
    assert "[NAME]" in masked


def test_masking_takes_what_matching_leaves_open() -> None:
    registry = Registry.of("r", [Person("p", {"PERSON": "Grant Kowalska", "PHONE": "+48 482 107 555"})])
    masked = masker([registry])("Kowalska. the grant may be paid; code X48482107555Y; kowal, GRANT KOWALSKA")
    assert masked == "[NAME]. the grant may be paid; code [PHONE]; kowal, [NAME]"
    assert masker([])("nothing to hide, Kowalska") == "nothing to hide, Kowalska"


def test_a_text_of_nothing_but_matches_takes_no_quadratic_time() -> None:
    import time

    matcher = Matcher([("PERSON", "Anna Anna"), ("EMAIL", "a@b.example.com"), ("PHONE", "11111111")])
    start = time.process_time()
    matcher.find("anna " * 5_000)
    matcher.find("a" + " " * 50_000 + "@b.example.com")
    matcher.find("1" + " " * 100_000 + "1111111")
    assert time.process_time() - start < 3


@pytest.mark.parametrize("marks", ["_", "·", " | ", "** **", ", ", "      "])
def test_a_long_code_is_found_whatever_marks_part_it(marks: str) -> None:
    text = f"card {marks.join(['5500', '0055', '5555', '5559'])} now"
    assert Matcher([("CREDIT_CARD", "5500005555555559")]).find(text)


def test_a_short_code_is_not_put_together_across_a_comma() -> None:
    assert not Matcher([("REFERENCE", "QX7R2K")]).find("QX7, R2K and QX7 | R2K")


@pytest.mark.parametrize(
    ("known", "written"),
    [("Jörg Müller", "Joerg Mueller"), ("Åse Bjørnstad", "Aase Bjoernstad"), ("Jörg Müller", "Mueller, Joerg"),
     ("Jörg Müller", "Jorg Muller")],
)  # fmt: skip
def test_a_name_with_umlauts_is_found_as_people_type_it(known: str, written: str) -> None:
    assert [one.value for one in Matcher([("PERSON", known)]).find(f"ask {written} now")] == [0]
    assert not Matcher([("PERSON", known)]).find("ask Moerg Jueller now")
    assert Matcher([("ADDRESS", "Königstraße 14")]).find("at Koenigstrasse 14")
