"""Numbers, addresses of machines and documents: by their definitions, and the words around them that decide."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aftertune.pii.detect import THRESHOLDS
from aftertune.pii.recogniser import Candidate, Recogniser, View
from aftertune.pii.recognisers import card, documents, email, network, phone

Seen = tuple[str, str]
"""(Type, text) of a candidate."""


def every(recogniser: Recogniser, text: str) -> list[Candidate]:
    found = list(recogniser.scan(View(text)))
    for one in found:
        assert 0 <= one.start < one.end <= len(text)
        assert one.type in recogniser.types
        assert 0 < one.score <= 1
    return found


def findings(recogniser: Recogniser, text: str) -> list[Seen]:
    """The candidates that count at the default thresholds, each once."""
    good = [one for one in every(recogniser, text) if one.score >= THRESHOLDS[one.type]]
    return list(dict.fromkeys((one.type, text[one.start : one.end]) for one in good))


def score(recogniser: Recogniser, text: str) -> float:
    (one,) = every(recogniser, text)
    return one.score


@pytest.mark.parametrize("module", [card, documents, email, network, phone])
@pytest.mark.parametrize("text", ["", " ", "no personal value", "\n\n", "é\u202eß", "@", "::", "...", "-- 1 --"])
def test_a_text_without_values_has_no_candidate(module: object, text: str) -> None:
    assert every(module.RECOGNISER, text) == []  # type: ignore[attr-defined]


# ---------------------------------------------------------------------------------------------- cards


def check_digit(digits: str) -> str:
    """Luhn: from the right, every second digit doubled (less 9 where that is above 9); the sum is a multiple of 10."""
    total = 0
    for index, char in enumerate(reversed(digits)):
        value = int(char) * (2 if index % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


PREFIXES = [("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("2720", 16), ("34", 15), ("37", 15), ("6011", 16),
            ("3528", 16), ("3589", 16), ("300", 14), ("36", 14), ("62", 19), ("50", 12)]  # fmt: skip
CARDS = st.sampled_from(PREFIXES).flatmap(
    lambda one: st.text("0123456789", min_size=one[1] - len(one[0]) - 1, max_size=one[1] - len(one[0]) - 1).map(
        lambda rest: one[0] + rest
    )
)


@given(CARDS, st.sampled_from(["", " ", "-", "."]), st.integers(1, 9))
def test_a_card_number_needs_its_check_digit(body: str, gap: str, slip: int) -> None:
    right = body + check_digit(body)
    wrong = body + str((int(right[-1]) + slip) % 10)
    # Three digits after sixteen that are a card's number may be what is printed on its back.
    assume(not (len(right) == 19 and gap == " " and card.network(right[:16]) and check_digit(right[:15]) == right[15]))
    groups = [gap.join(number[at : at + 4] for at in range(0, len(number), 4)) for number in (right, wrong)]
    if len(set(right)) > 1:
        assert findings(card.RECOGNISER, f"my card {groups[0]}, please") == [("CREDIT_CARD", groups[0])]
    assert findings(card.RECOGNISER, f"my card {groups[1]}, please") == []


@pytest.mark.parametrize(
    ("digits", "name"),
    [
        ("4" + 15 * "0", "Visa"),
        ("4" + 12 * "0", "Visa"),
        ("51" + 14 * "0", "Mastercard"),
        ("55" + 14 * "0", "Mastercard"),
        ("2221" + 12 * "0", "Mastercard"),
        ("2720" + 12 * "9", "Mastercard"),
        ("34" + 13 * "0", "American Express"),
        ("37" + 13 * "0", "American Express"),
        ("6011" + 12 * "0", "Discover"),
        ("3528" + 12 * "0", "JCB"),
        ("3589" + 12 * "0", "JCB"),
        ("2131" + 11 * "0", "JCB (older)"),
        ("305" + 11 * "0", "Diners Club"),
        ("81" + 14 * "0", "UnionPay"),
        ("50" + 10 * "0", "Maestro"),
        ("2200" + 12 * "0", "Mir, RuPay, Troy or Verve"),
        ("9792" + 12 * "0", "Mir, RuPay, Troy or Verve"),
        ("", None),
        ("4" + 14 * "0", None),  # no Visa number has 15 digits
        ("34" + 14 * "0", None),  # no American Express one 16
        ("2205" + 12 * "0", None),  # between Mir and Mastercard
        ("2220" + 12 * "0", None),
        ("2721" + 12 * "0", None),
        ("3527" + 12 * "0", None),
        ("1" + 15 * "0", None),
        ("9" + 15 * "0", None),
    ],
)
def test_the_network_is_told_by_the_first_digits_and_the_length(digits: str, name: str | None) -> None:
    assert card.network(digits) == name


VISA = "4111 1111 1111 1111"


def test_the_words_around_a_card_number_raise_or_lower_its_score() -> None:
    scan = card.RECOGNISER
    assert score(scan, f"my card is {VISA}") == score(scan, f"{VISA} is my card") == 1.0
    assert THRESHOLDS["CREDIT_CARD"] <= score(scan, VISA) < 1.0
    assert score(scan, f"tracking {VISA}") < THRESHOLDS["CREDIT_CARD"]
    assert score(scan, f"tracking and card {VISA}") == 1.0
    assert 0 < score(scan, "card 4111 1111 1111 1112") < THRESHOLDS["CREDIT_CARD"]
    assert every(scan, "4111 1111 1111 1112") == []


@pytest.mark.parametrize("text", [f"{VISA} 12/29", f"1042 {VISA}", f"{VISA} 123", f"12/29 {VISA}", f"{VISA}/{VISA}"])
def test_a_card_number_beside_another_number_is_found(text: str) -> None:
    assert ("CREDIT_CARD", VISA) in findings(card.RECOGNISER, text)


@pytest.mark.parametrize(
    "text", [f"x{VISA}", f"{VISA}9", f"{VISA}.5", f"1,{VISA}", "card 0000 0000 0000 0000", f"card +{VISA}"]
)
def test_a_part_of_something_longer_is_no_card(text: str) -> None:
    assert ("CREDIT_CARD", VISA) not in findings(card.RECOGNISER, text)


# ---------------------------------------------------------------------------------------------- e-mail

LOCAL = st.text("abcxyz0189_", min_size=1, max_size=8)
NAME = st.text("abcxyz", min_size=1, max_size=8)


@given(LOCAL, NAME, st.sampled_from(["com", "co.uk", "museum", "test"]), st.sampled_from("<({[\"',; :"))
def test_an_address_ends_where_the_punctuation_begins(local: str, name: str, end: str, mark: str) -> None:
    address = f"{local}@{name}.{end}"
    for text in (address, f"to {mark}{address}>, ok", f"{address}.", f"({address})", f"{address}!\n"):
        assert findings(email.RECOGNISER, text) == [("EMAIL", address)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a.b+c@x-y.example.org?", ["a.b+c@x-y.example.org"]),
        ("o'hara@x.org", ["o'hara@x.org"]),
        ("'ann@x.org'", ["ann@x.org"]),
        ("..ann@x.org", ["ann@x.org"]),
        ("jürgen@müller.de", ["jürgen@müller.de"]),
        ("root@[10.0.0.1]", ["root@[10.0.0.1]"]),
        ("a@x.org,b@y.org", ["a@x.org", "b@y.org"]),
        ("email ann @ x.org", ["ann @ x.org"]),
        ("ann(at)x.org", ["ann(at)x.org"]),
        ("ann {AT} x {DOT} org", ["ann {AT} x {DOT} org"]),
        ("ann dot lee at x dot org", ["ann dot lee at x dot org"]),
        ("email me: ann at x.org", ["ann at x.org"]),
        ("ann@localhost", ["ann@localhost"]),
        ("@ann_lee", []),
        ("ann@@x.org", []),
        ("ann@x.org@y", []),
        ("ann@x.1", []),
        ("look at example dot com", []),  # a verb is no mailbox
        ("we met ann at x.org", []),  # a site, where nobody speaks of mail
        ("ann@", []),
        ("the email was long; late in the evening of that same day we met ann at x.org", []),  # too far away
    ],
)
def test_the_ways_to_write_an_address(text: str, found: list[str]) -> None:
    assert findings(email.RECOGNISER, text) == [("EMAIL", one) for one in found]


# ---------------------------------------------------------------------------------------------- network


@given(st.lists(st.integers(0, 255), min_size=4, max_size=4))
def test_four_numbers_up_to_255_are_an_address_where_a_word_says_so(parts: list[int]) -> None:
    address = ".".join(map(str, parts))
    assert findings(network.RECOGNISER, f"ip address {address}.") == [("IP", address)]
    assert findings(network.RECOGNISER, f"ip {address}:8080") == [("IP", f"{address}:8080")]


@given(st.lists(st.integers(0, 255), min_size=4, max_size=4), st.integers(0, 3), st.integers(256, 999))
def test_a_number_above_255_or_with_a_leading_zero_is_none(parts: list[int], at: int, large: int) -> None:
    for bad in (str(large), f"0{parts[at] % 100}"):
        written = [*map(str, parts[:at]), bad, *map(str, parts[at + 1 :])]
        assert every(network.RECOGNISER, f"ip address {'.'.join(written)}") == []


@given(st.integers(1, 2**128 - 1).map(ipaddress.IPv6Address), st.booleans())
def test_every_ipv6_address_is_found_long_and_short(address: ipaddress.IPv6Address, long: bool) -> None:
    text = address.exploded if long else address.compressed
    if sum(char.isalnum() for char in text) > 1:
        assert findings(network.RECOGNISER, f"at {text} now") == [("IP", text)]
        assert findings(network.RECOGNISER, f"at {text.upper()}, now") == [("IP", text.upper())]
        assert findings(network.RECOGNISER, f"net {text}/64") == [("IP", f"{text}/64")]


@pytest.mark.parametrize(
    "text",
    ["at 12:30:45", "a::b::c1", "std::vector", "1:2:3:4:5:6:7:8:9", "fe80::12345", "::", "see: this: that", "::1"],
)
def test_what_only_looks_like_ipv6_is_none(text: str) -> None:
    assert every(network.RECOGNISER, text) == []


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("it was 86.12.3.4", True),
        ("it was 1.2.3.4", False),  # small numbers: a section or a version
        ("server 1.2.3.4", True),
        ("version 86.12.3.4", False),
        ("firmware is 86.12.3.4", False),
        ("ip of the firmware 86.12.3.4", True),
        ("server version 86.12.3.4", False),
        ("86.12.3.4.5", False),
        ("v86.12.3.4", False),
        ("86.12.3.4-beta", False),
        ("net 86.12.3.0/24", True),
    ],
)
def test_an_address_is_told_from_a_version(text: str, counts: bool) -> None:
    assert bool(findings(network.RECOGNISER, text)) is counts


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("(see https://x.org/a_(b))", "https://x.org/a_(b)"),
        ("HTTPS://X.ORG/A?b=1&c=%20#d!", "HTTPS://X.ORG/A?b=1&c=%20#d"),
        ('<a href="ftp://x.org/f">', "ftp://x.org/f"),
        ("**https://x.org/**", "https://x.org/"),
        ("www.x-y.co.uk/path, and", "www.x-y.co.uk/path"),
        ("see x-y.co.uk.", "x-y.co.uk"),
        ("shop.example.com:8080 is up", "shop.example.com:8080"),
        ("visit tea.shop today", "tea.shop"),
    ],
)
def test_a_url_ends_before_the_punctuation_of_the_sentence(text: str, found: str) -> None:
    assert findings(network.RECOGNISER, text)[0] == ("URL", found)


@pytest.mark.parametrize(
    "text",
    ["ann@x.org", "notes.txt is here", "end.Next one", "I like tea.shop", "x.org.5", "e.g. this", "a.b", "Then.Is it"],
)
def test_what_only_looks_like_a_domain_is_none(text: str) -> None:
    assert findings(network.RECOGNISER, text) == []


# ---------------------------------------------------------------------------------------------- phones


@pytest.mark.parametrize(
    "number",
    ["+44 20 7946 0958", "+48482107555", "0048 482 107 555", "(212) 555-0188", "212-555-0188", "1-212-555-0188",
     "212.555.0188", "020 7946 0958", "06 12 34 56 78", "0171/1234567", "555-0188", "+1 (212) 555-0188 ext. 12",
     "(0)20 7946 0958", "+123456789012345"],
)  # fmt: skip
def test_a_phone_number_is_found_whole_without_any_word_around_it(number: str) -> None:
    for text in (number, f"so: {number}.", f"{number}, thanks", f"\n{number}\n"):
        assert findings(phone.RECOGNISER, text) == [("PHONE", number)]


@pytest.mark.parametrize(
    "text",
    ["call 12345", "call 123456", "call 1111111", "call 2024-05-06", "call 06.05.2024 10:30", "call 1990-2005",
     "call 123-45-6789", "€2125550188", "#2125550188", "2125550188%", "x2125550188", "2125550188th", "3,2125550188",
     "call +12345678901234567890"],
)  # fmt: skip
def test_other_numbers_are_no_candidates_even_after_call(text: str) -> None:
    assert every(phone.RECOGNISER, text) == []


@pytest.mark.parametrize("number", ["2125550188", "12 345 678", "21255501", "482 107 555", "0612345678"])
def test_the_nearer_word_decides_whether_a_number_is_a_phone(number: str) -> None:
    alone = score(phone.RECOGNISER, f"it is {number}")
    assert score(phone.RECOGNISER, f"order {number}") < min(alone, THRESHOLDS["PHONE"])
    for text in (f"call {number}", f"my order: call {number}", f"{number} is my phone"):
        assert score(phone.RECOGNISER, text) >= max(0.65, alone)
    assert score(phone.RECOGNISER, f"I called about order {number}") < THRESHOLDS["PHONE"]
    assert score(phone.RECOGNISER, f"order{' ' * 50}{number}") == alone  # too far away


def test_an_address_or_thousands_are_no_phone_by_their_shape() -> None:
    for text in ("192.168.13.77", "1 234 567", "1.234.567"):
        assert score(phone.RECOGNISER, text) < THRESHOLDS["PHONE"]
    assert findings(phone.RECOGNISER, "300.168.130.77") == [("PHONE", "300.168.130.77")]


def test_a_bracket_that_is_never_closed_is_left_out() -> None:
    assert findings(phone.RECOGNISER, "(212-555-0188 or so") == [("PHONE", "212-555-0188")]


# ---------------------------------------------------------------------------------------------- documents


@pytest.mark.parametrize(
    ("text", "type_", "value"),
    [
        ("passport number is X1234567.", "PASSPORT", "X1234567"),
        ("Passport: 123456789", "PASSPORT", "123456789"),
        ("my pasaporte PAB123456", "PASSPORT", "PAB123456"),
        ("Reisepass C01X00T47", "PASSPORT", "C01X00T47"),
        ("P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<< 1", "PASSPORT", "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<"),
        ("passport number 14CV28671", "PASSPORT", "14CV28671"),  # France
        ("N\xba de passeport : 14 CV 28671.", "PASSPORT", "14 CV 28671"),
        ("passeport n\xb0 14CV28671", "PASSPORT", "14CV28671"),
        ("passport no. L01X00T44", "PASSPORT", "L01X00T44"),  # Germany
        ("Reisepassnummer: C4VMN0R39", "PASSPORT", "C4VMN0R39"),
        ("paspoort SPECI2014", "PASSPORT", "SPECI2014"),  # the Netherlands
        ("passport M862D7154", "PASSPORT", "M862D7154"),  # South Korea
        ("pasaporte XD 734512", "PASSPORT", "XD 734512"),
        ("passport EB 734512 issued in Li\xe8ge", "PASSPORT", "EB 734512"),
        ("passport 63 No 7345121", "PASSPORT", "63 No 7345121"),  # Russia
        ("her passport P7345121B", "PASSPORT", "P7345121B"),  # the Philippines
        ("my passport (France) 14CV28671", "PASSPORT", "14CV28671"),
        ("passeport fran\xe7ais 14CV28671", "PASSPORT", "14CV28671"),
        ("passport number 734 512 689", "PASSPORT", "734 512 689"),
        ("passport: GBR 734512689", "PASSPORT", "GBR 734512689"),
        ("travel document: RA 734512", "PASSPORT", "RA 734512"),
        ("driver's license D1234567", "DRIVER_LICENCE", "D1234567"),
        ("driver licence number T123 4567 8902", "DRIVER_LICENCE", "T123 4567 8902"),
        ("here: T123 4567 8902", "DRIVER_LICENCE", "T123 4567 8902"),
        ("here: F123 456 78 901 2", "DRIVER_LICENCE", "F123 456 78 901 2"),
        ("plate: WZ 8KL53", "LICENCE_PLATE", "WZ 8KL53"),
        ("the number plate is GD 7UV21", "LICENCE_PLATE", "GD 7UV21"),
        ("driving licence number: 425700624", "DRIVER_LICENCE", "425700624"),
        ("Führerschein B072RRE2I55", "DRIVER_LICENCE", "B072RRE2I55"),
        ("here: MORGA753116SM9IJ", "DRIVER_LICENCE", "MORGA753116SM9IJ"),  # the sample of the DVLA
        ("here: D123-4567-8901", "DRIVER_LICENCE", "D123-4567-8901"),
        ("plate: 7AB 123 was", "LICENCE_PLATE", "7AB 123"),
        ("number plate is AB12 CDE and red", "LICENCE_PLATE", "AB12 CDE"),
        ("Kennzeichen B-MW 1234", "LICENCE_PLATE", "B-MW 1234"),
        ("saw BD51 SMR leave", "LICENCE_PLATE", "BD51 SMR"),
        ("saw BD51SMR leave", "LICENCE_PLATE", "BD51SMR"),
    ],
)
def test_a_document_is_found_by_its_name_or_shape(text: str, type_: str, value: str) -> None:
    assert findings(documents.RECOGNISER, text) == [(type_, value)]


@pytest.mark.parametrize(
    "text",
    [
        "passport 12345",  # too short
        "passport 12345678901",
        "passport 123456",
        "passport AB123456789",
        "the passport is lost",
        "passport expires 12 May 2030",
        "my passport ran out in 2024",
        "pass the code AB12CD34",
        "PASSPORT NO LONGER VALID 2024",
        "compass 1234567",
        "driving licence since 2015",
        "license number ABC",
        "plates of food for 12 guests",
        "plate 12345",  # no letter
        "plate ABCDE",  # no digit
        "MORGA753999SM9IJ",  # no day is the 99th
        "saw BI51 SMR leave",  # no I in a British plate
        "saw BD00 SMR leave",  # nor a year 00
        "D123-4567-890",
        "X1234567",
    ],
)
def test_what_names_no_document_or_has_another_shape_is_none(text: str) -> None:
    assert findings(documents.RECOGNISER, text) == []


@pytest.mark.parametrize("value", ["425700624", "D1234567", "S1234 5678 9012", "MORGA 753116 SM9IJ", "D123-4567-8901"])
@pytest.mark.parametrize("after", ["", " and my name is", " expires soon", " please", ", from Ohio", " in 2030"])
def test_a_licence_ends_before_the_words_after_it(value: str, after: str) -> None:
    found = findings(documents.RECOGNISER, f"my driver's license is {value}{after}.")
    assert ("DRIVER_LICENCE", value) in found
    assert all(text == value for _, text in found)


@pytest.mark.parametrize(
    "text", ["driving licence since 2015 and all is fine", "my driving licence from 2015 was lost"]
)
def test_the_year_of_a_licence_is_none(text: str) -> None:
    assert findings(documents.RECOGNISER, text) == []
