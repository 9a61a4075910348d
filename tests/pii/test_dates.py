"""One date written in every way is one set of forms, and a date that may be two is none but its own."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aftertune.pii import dates
from aftertune.pii.detect import find
from aftertune.pii.registry import Registry
from aftertune.records import Person

NAMES = [datetime.date(2000, month, 1).strftime("%B").lower() for month in range(1, 13)]


def words(text: str) -> tuple[str, ...]:
    return tuple(word.casefold() for word in re.findall(r"[^\W_]+", text))


def forms(text: str) -> list[tuple[str, ...]]:
    return list(dates.forms(words(text), text))


def ordinal(day: int) -> str:
    """English: 11th to 13th, else by the last digit."""
    return f"{day}{'th' if day in (11, 12, 13) else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"


WRITTEN: list[Callable[[datetime.date], str]] = [
    lambda d: f"{d.year}-{d.month:02}-{d.day:02}",
    lambda d: f"{d.year}{d.month:02}{d.day:02}",
    lambda d: f"{d.year}/{d.month}/{d.day}",
    lambda d: f"{d.day:02}.{d.month:02}.{d.year}",
    lambda d: f"{d.day}.{d.month}.{d.year}",
    lambda d: f"{d.day} {d:%B} {d.year}",
    lambda d: f"{d.day:02}-{d:%b}-{d.year}",
    lambda d: f"{d:%B} {d.day}, {d.year}",
    lambda d: f"{d:%B} {ordinal(d.day)}, {d.year}",
    lambda d: f"the {ordinal(d.day)} of {d:%B} {d.year}".removeprefix("the "),
    lambda d: f"{d.year} {d:%b} {d.day}",
]
DATES = st.dates(datetime.date(1900, 1, 1), datetime.date(2099, 12, 31))


@given(DATES, st.sampled_from(WRITTEN), st.sampled_from(WRITTEN))
@example(datetime.date(1984, 3, 11), WRITTEN[8], WRITTEN[9])
@example(datetime.date(1984, 9, 22), WRITTEN[6], WRITTEN[3])
@example(datetime.date(1984, 5, 23), WRITTEN[0], WRITTEN[9])
def test_a_date_read_in_one_way_is_known_in_every_other(
    date: datetime.date, one: Callable[[datetime.date], str], other: Callable[[datetime.date], str]
) -> None:
    assert words(other(date)) in forms(one(date))


@given(DATES, DATES, st.sampled_from(WRITTEN), st.sampled_from(WRITTEN))
def test_another_date_is_not_among_the_forms(
    date: datetime.date,
    other: datetime.date,
    one: Callable[[datetime.date], str],
    way: Callable[[datetime.date], str],
) -> None:
    swapped = (other.year, other.day, other.month) == (date.year, date.month, date.day)
    if other != date and not swapped:
        assert words(way(other)) not in forms(one(date))


@given(DATES)
def test_the_own_form_comes_first_and_no_form_twice(date: datetime.date) -> None:
    for way in WRITTEN:
        text = way(date)
        found = forms(text)
        assert found[0] == words(text)
        assert len(found) == len(set(found))


@pytest.mark.parametrize("text", ["03/04/1980", "3-4-1980", "12 12 1980", "01/12/2001"])
def test_a_day_that_may_be_the_month_is_not_guessed(text: str) -> None:
    assert forms(text) == [words(text)]


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("13/04/1980", (1980, 4, 13)),  # no month is the 13th
        ("04/13/1980", (1980, 4, 13)),
        ("03.04.1980", (1980, 4, 3)),  # full stops: the day comes first
        ("1980/03/04", (1980, 3, 4)),  # the year first: the month second
        ("19800304", (1980, 3, 4)),
        ("sept 4 1980", (1980, 9, 4)),
        ("septem 4 1980", (1980, 9, 4)),
        ("4th of may 1980", (1980, 5, 4)),
        ("22ND JUNE 1980", (1980, 6, 22)),
    ],
)
def test_what_says_which_number_is_the_day(text: str, date: tuple[int, int, int]) -> None:
    year, month, day = date
    found = forms(text)
    assert (str(year), f"{month:02}", f"{day:02}") in found
    assert (ordinal(day), "of", NAMES[month - 1], str(year)) in found
    assert (f"{day}", NAMES[month - 1][:3], str(year)) in found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1980",
        "March 1980",
        "17 March",
        "17 March 80",  # two digits are no year
        "1980 1981 March",  # two years
        "March April 1980",  # two months
        "0 March 1980",
        "32 March 1980",
        "2010-13-01",
        "2010-00-10",
        "14/13/1980",
        "20101301",
        "18991231",  # eight digits that begin with neither 19 nor 20 are some other number
        "ma 3 1980",  # may be March or May
        "12 marchen 1980",
        "1 2 3 1980",
        "born long ago",
        "٣ March 198",
    ],
)
def test_what_is_no_date_has_only_its_own_form(text: str) -> None:
    assert forms(text) == [words(text)]


def test_september_alone_has_two_short_names() -> None:
    assert ("4", "sept", "1980") in forms("1980-09-04")
    for month in (1, 3, 10, 12):
        assert not [form for form in forms(f"1980-{month:02}-04") if "sept" in form]


def test_a_month_is_its_name_or_its_first_letters() -> None:
    assert tuple(NAMES) == dates.MONTHS
    for month, name in enumerate(NAMES, 1):
        for length in range(3, len(name) + 1):
            assert ("1980", f"{month:02}", "05") in forms(f"{name[:length]} 5 1980")


@pytest.mark.parametrize(
    ("text", "together"),
    [
        ("17 March 1980", True),
        ("17-03-1980", True),
        ("March 17, 1980", True),
        ("17th of March 1980", True),
        ("1980 . 3 . 17", True),
        ("17; March 1980", False),
        ("17 and March 1980", True),  # words: which ones is for the comparison with the forms
        ("17    March", False),
        ("(17 March)", False),
        ("", False),
    ],
)
def test_the_gaps_between_the_parts_of_a_date(text: str, together: bool) -> None:
    assert (dates.GAPS.fullmatch(text) is not None) is together


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("nacido el 12 de marzo de 1980 en Lugo", "12 de marzo de 1980"),
        ("Sono nata il 12 marzo 1980.", "12 marzo 1980"),
        ("née le 12 mars 1980", "12 mars 1980"),
        ("geboren am 12. März 1980", "12. März 1980"),
        ("geboortedatum: 12 maart 1980", "12 maart 1980"),
        ("nascida em 12 de março de 1980", "12 de março de 1980"),
        ("geb. 12.3.1980 in Mainz", "12.3.1980"),
    ],
)
def test_dates_of_birth_in_other_languages_are_found_and_matched(text: str, value: str) -> None:
    assert [(one.type, text[one.start : one.end]) for one in find(text)] == [("DATE_OF_BIRTH", value)]
    registry = Registry.of("r", [Person("p", {"DATE_OF_BIRTH": value})])
    for written in (value, "12 March 1980", "1980-03-12", "12.03.1980"):
        assert registry.find(f"it is {written}, yes"), written
