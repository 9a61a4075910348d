"""Stand-ins: same type, format, country; never a value of the file; one identity; the same from a seed."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aftertune.pii import stand_in_values as values
from aftertune.pii import stand_ins
from aftertune.pii.normalisation import fold
from aftertune.pii.registry import Registry
from aftertune.pii.stand_ins import assign, culture_of, invented
from aftertune.records import Person, seed_of


def one(type_: str, value: str, seed: int = 0, kind: str = "surrogate") -> str:
    (made,) = assign([Person("p-1", {type_: value})], kind, seed).values()  # type: ignore[arg-type]
    return made.values[type_]


def layout(text: str) -> str:
    return re.sub(r"\d", "9", text)


PHONES = ("+36 20 123 4567", "(212) 456-7890", "212.456.7890", "07700 900123", "0049-30-1234567", "+1-202-456-1414",
          "001 202 456 1414", "+44 (0)20 7946 0958", "212-456-7890x23", "456-7890")  # fmt: skip


@pytest.mark.parametrize("phone", PHONES)
@pytest.mark.parametrize("seed", range(5))
def test_a_phone_keeps_its_layout_and_country(phone: str, seed: int) -> None:
    new = one("PHONE", phone, seed)
    assert layout(new) == layout(phone)
    assert new != phone
    code = re.match(r"(?:\+|00)(1|36|44|49)", phone)
    assert code is None or new.startswith(code.group())


def luhn(text: str) -> bool:
    digits = [int(char) for char in text if char.isdecimal()]
    doubled = [sum(divmod(2 * d, 10)) if i % 2 else d for i, d in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


@pytest.mark.parametrize(
    ("card", "first"), [("4012 8888 8888 1881", "4"), ("5105-1051-0510-5100", "5"), ("371449635398431", "37"), ("6011000990139424", "6011")]
)  # fmt: skip
def test_a_card_keeps_issuer_and_layout_and_passes_luhn(card: str, first: str) -> None:
    assert luhn(card)
    for seed in range(10):
        new = one("CREDIT_CARD", card, seed)
        assert layout(new) == layout(card)
        assert new.startswith(first)
        assert luhn(new)
        assert not luhn(one("CREDIT_CARD", card, seed, "novelty")) or "#" in one("CREDIT_CARD", card, seed, "novelty")


@pytest.mark.parametrize(
    "iban", ["DE89 3704 0044 0532 0130 00", "GB29NWBK60161331926819", "FR1420041010050500013M02606"]
)
def test_an_iban_keeps_its_country_and_checks(iban: str) -> None:
    for seed in range(10):
        new = one("IBAN", iban, seed)
        plain = new.replace(" ", "")
        assert (new[:2], len(new)) == (iban[:2], len(iban))
        assert [c == " " for c in new] == [c == " " for c in iban]
        moved = plain[4:] + plain[:4]
        assert int("".join(str(string.digits.find(c)) if c.isdigit() else str(ord(c) - 55) for c in moved)) % 97 == 1


@pytest.mark.parametrize("date", ["1984-03-23", "23/03/1984", "3/23/84", "March 23, 1984", "23 MAR 1984", "19840323"])
def test_a_date_of_birth_keeps_its_format(date: str) -> None:
    new = one("DATE_OF_BIRTH", date)
    assert layout(re.sub("[A-Za-z]+", "M", new)) == layout(re.sub("[A-Za-z]+", "M", date))
    assert new != date
    for numbers in re.findall(r"\d+", new):
        assert int(numbers) > 0


def test_the_other_formats() -> None:
    assert re.fullmatch(r"9\d\d-\d\d-\d{4}", one("NATIONAL_ID", "123-45-6789"))
    assert re.fullmatch(r"(192\.0\.2|198\.51\.100|203\.0\.113)\.\d+", one("IP", "8.8.8.8"))
    assert one("IP", "2a00:1450::1").startswith("2001:db8:")
    assert re.fullmatch(r"BK\d{4}", one("REFERENCE", "BK1234"))
    assert re.fullmatch(r"[A-Z]\d[A-Z]{2}\d[A-Z]", one("REFERENCE", "X3KD9Q"))
    assert re.fullmatch(r"\d\d \w+ Street, \w+, IL \d{5}", one("ADDRESS", "12 Oak Street, Springfield, IL 62704"))
    assert re.fullmatch(r"https://www\.\w+\.co\.uk/\w/\d\d", one("URL", "https://www.acme.co.uk/u/12"))
    assert one("LICENCE_PLATE", "AB12 CDE")[4] == " "


def test_an_address_follows_its_owners_new_name() -> None:
    people = [Person("p-1", {"PERSON": "Anna Kovacs", "EMAIL": "akovacs82@acme.co.uk"}),
              Person("p-1.2", {"EMAIL": "anna.kovacs@gmail.com"})]  # fmt: skip
    made = assign(people, "surrogate", 3)
    first, last = (fold(word) for word in made["p-1"].values["PERSON"].split())
    assert re.fullmatch(rf"{first[0]}{last}\d\d@\w+\.co\.uk", made["p-1"].values["EMAIL"])
    assert made["p-1.2"].values["EMAIL"] == f"{first}.{last}@gmail.com"


@pytest.mark.parametrize(
    ("name", "culture"),
    [("Priya Sharma", "indian"), ("Jan Novotny", "slavic"), ("Mehmet Yılmaz", "turkish"), ("Sven Lindgren", "nordic"), ("John Smith", "english")],
)  # fmt: skip
def test_a_name_stays_in_its_culture(name: str, culture: str) -> None:
    assert culture_of(name) == culture
    assert culture_of(one("PERSON", name)) == culture
    assert len(one("PERSON", name).split()) == len(name.split())


TYPES = ("PERSON", "PHONE", "EMAIL", "ADDRESS", "REFERENCE", "CREDIT_CARD", "IBAN", "URL", "USERNAME", "PASSPORT", "IP")
Values = st.dictionaries(st.sampled_from(TYPES), st.text(min_size=1, max_size=20).filter(str.strip), min_size=1)


@settings(max_examples=60, deadline=None)
@given(st.lists(Values, min_size=1, max_size=4), st.integers(0, 3), st.sampled_from(["surrogate", "novelty", "twin"]))
def test_any_value_gets_a_stand_in_that_is_reproducible(rows: list[dict[str, str]], seed: int, kind: str) -> None:
    people = [Person(f"p-{index}", row) for index, row in enumerate(rows)]
    made = assign(people, kind, seed)  # type: ignore[arg-type]
    assert made == assign(people, kind, seed)  # type: ignore[arg-type]
    for person in people:
        assert set(made[person.id].values) == set(person.values)


def test_nobody_gets_a_value_of_the_file_and_no_two_the_same() -> None:
    people = invented(400, "twin", 1)
    made = assign(people, "surrogate", 2)
    given_out = [(t, v) for p in made.values() for t, v in p.values.items()]
    source = Registry.of("source", people)
    assert len(set(given_out)) == len(given_out)
    assert not any(source.find(value) for _, value in given_out)
    assert assign(people, "surrogate", 3) != made


def test_novelties_are_not_found_as_people() -> None:
    from aftertune.pii import detect

    made = assign(invented(50, "twin", 1), "novelty", 0)
    texts = [person.values[type_] for person in made.values() for type_ in ("PHONE", "EMAIL")]
    assert not [text for text in texts if any(f.type in ("PHONE", "EMAIL") for f in detect.find(f"It is {text} then."))]


def test_a_coined_word_has_its_length() -> None:
    import random

    assert all(len(values.coined(n, random.Random(n))) == n for n in range(1, 12))


def test_attempts_are_seeded_as_seed_of_says() -> None:
    seed = stand_ins._seeds("stand-in", 7, "twin", 'p-"\u00e9', "PERSON")
    assert [seed(n) for n in (0, 12)] == [seed_of("stand-in", 7, "twin", 'p-"\u00e9', "PERSON", n) for n in (0, 12)]


def test_a_spent_pool_changes_nothing_but_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 1,000 fictional numbers that differ in eight digits, and few names of one shape, many more owners want one."""
    people = [
        Person(f"p-{n}", {"PERSON": f"Bo {chr(65 + n % 26)}.", "PHONE": f"(212) {200 + n // 100}-{4000 + n:04d}"})
        for n in range(1300)
    ]
    quick = [person.values for person in assign(people, "surrogate", 3).values()]
    monkeypatch.setattr(stand_ins, "_pool_key", lambda *_: None)
    assert [person.values for person in assign(people, "surrogate", 3).values()] == quick
    assert len({values["PHONE"] for values in quick}) == 1300
