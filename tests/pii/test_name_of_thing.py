"""Holidays, makes, software and places that read like names are nobody's; people of the same names are found."""

from __future__ import annotations

import pytest

from aftertune.pii.detect import find

NOBODY = (
    "May Day is a holiday.",
    "We close on Victoria Day and on Martin Luther King Day.",
    "Is support open on St Andrew's Day and Easter Monday?",
    "April Week is busy.",
    "The office is shut for Guy Fawkes Night.",
    "The Republic of Georgia and the borders of Jordan changed.",
    "Jordan is a country in the Middle East.",
    "the capital of Jordan is Amman",
    "Is roaming in Jordan included?",
    "Kenya, India and Jordan signed.",
    "I booked a flight to Sydney.",
    "Mercedes Benz and Harley Davidson parts",
    "A Ralph Lauren shirt and a Calvin Klein belt",
    "Granny Smith apples and Earl Grey tea",
    "Two Jack Daniels and a Bloody Mary, please.",
    "Dr Martens boots and Mr Kipling cakes",
    "Nobody believes in Uncle Sam or Santa Claus.",
    "Claude, ChatGPT, Llama and Gemini answered.",
    "Python, Ruby and Perl are languages.",
    "We deploy with Jenkins and Jasmine.",
    "macOS Sierra and Catalina",
    "Hey Siri, what time is it?",
    "Lenovo Yoga and Garmin Venu",
    "YouTube, PayPal and GitHub are down.",
    "The Ada Lovelace architecture and Markov chains",
    "Will Rose bloom in June?",
    "My French passport is old.",
    "Santa Barbara and Victoria Falls",
    "An Alfa Romeo Giulia and a Rolls Royce Phantom",
    "My Carl Zeiss lens and a Chrysler Sebring",
    "I bank with JP Morgan Chase.",
)
SOMEBODY = (
    ("My name is May Day.", "May Day"),
    ("Doris Day called.", "Doris Day"),
    ("John Michael Day called.", "John Michael Day"),
    ("Martin Day wrote to us.", "Martin Day"),
    ("June Day has paid.", "June Day"),
    ("Victoria Day said so.", "Victoria Day"),
    ("Ms. Jordan is late.", "Ms. Jordan"),
    ("Jordan Smith called me back.", "Jordan Smith"),
    ("Jordan called me back.", "Jordan"),
    ("My name is Jack Daniels.", "Jack Daniels"),
    ("I told Claude about the invoice.", "Claude"),
    ("My sister Ruby will pick it up.", "Ruby"),
    ("JoAnne DeShawn wrote.", "JoAnne DeShawn"),
    ("McKenzie Park wrote.", "McKenzie Park"),
    ("Terry Cardoso PhD wrote to us.", "Terry Cardoso"),
    ("Will Smith called about the room.", "Will Smith"),
    ("Ms Brandvold-Quaresma called.", "Ms Brandvold-Quaresma"),
    ("Mr van den Heuvel called.", "Mr van den Heuvel"),
    ("Herr von Brandvold-Quaresma called.", "Herr von Brandvold-Quaresma"),
    ("Dr Abd al-Rahman called.", "Dr Abd al-Rahman"),
    ("My Nguyen called.", "Nguyen"),
)


@pytest.mark.parametrize("text", NOBODY)
def test_a_thing_is_nobody(text: str) -> None:
    assert [text[one.start : one.end] for one in find(text, ["PERSON"])] == []


@pytest.mark.parametrize(("text", "name"), SOMEBODY)
def test_somebody_of_that_name_is_found(text: str, name: str) -> None:
    assert any(name in text[one.start : one.end] for one in find(text, ["PERSON"]))


@pytest.mark.parametrize(
    "text",
    [
        "token: 47223179-9330-4259-b66c-f2db26efb20c",
        "uuid a1b2c3d4-1234-5678-9012-abcdefabcdef",
        "request id 41111111-1111-4111-8111-11111111111a",
        "41111111-1111-1111-1111-111111111111",
        "licence key QX7D2-4111-1111-1111-9QW4R",
        "commit da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "commit 4111111111111111",
        "tracking 9400 1118 9956 0000 0000 00",
        "ref 2025-04-03",
        "ticket of 2025/04/03, case 03-04-2025",
        "order 2024/2025, invoice 2024-12, booking 2025-W14, reference 2025-Q3, ref Apr-2025",
        "reservation 2025-04-03T10:30",
        "Chrome 99.0.48.12 on Windows 10.0.190.45",
        "pages 120\u20131500 and 500-1000 units",
        "from 2019\u20132021, at 10:00\u201312:30",
    ],
)
def test_a_code_a_date_and_a_range_are_no_value(text: str) -> None:
    assert [text[one.start : one.end] for one in find(text)] == []


@pytest.mark.parametrize(
    ("text", "type_", "value"),
    [
        ("order 550e8400-e29b-41d4-a716-446655440000", "REFERENCE", "550e8400-e29b-41d4-a716-446655440000"),
        ("ref QX-2025-04", "REFERENCE", "QX-2025-04"),
        ("booking DE-4111-1111", "REFERENCE", "DE-4111-1111"),
        ("Chrome says the server 99.0.48.12 is down", "IP", "99.0.48.12"),
        ("call 500-1000 now", "PHONE", "500-1000"),
        ("it is 555\u20130132", "PHONE", "555\u20130132"),
        ("\uff42ob\uff20test.example.org is mine", "EMAIL", "\uff42ob\uff20test.example.org"),
        ('"jane roe"@example.org', "EMAIL", '"jane roe"@example.org'),
        ("mail ops@localhost", "EMAIL", "ops@localhost"),
        ("IBAN GB82WEST12345698765432PLEASE", "IBAN", "GB82WEST12345698765432"),
        ("My NHS number is 943 476 5919", "NATIONAL_ID", "943 476 5919"),
        ("NI number QQ 12 34 56 C", "NATIONAL_ID", "QQ 12 34 56 C"),
        ("Calle Mayor 15, 28013 Madrid", "ADDRESS", "Calle Mayor 15, 28013 Madrid"),
        ("Via Garibaldi 22, 00184 Roma", "ADDRESS", "Via Garibaldi 22, 00184"),
        ("ul. Krucza 10/12, 00-590 Warszawa", "ADDRESS", "ul. Krucza 10/12, 00-590"),
        ("\u3012150-0002", "ADDRESS", "\u3012150-0002"),
    ],
)
def test_what_stands_beside_such_a_code_is_found(text: str, type_: str, value: str) -> None:
    assert [(one.type, text[one.start : one.end]) for one in find(text)] == [(type_, value)]


@pytest.mark.parametrize(
    "text",
    [
        "The sunshine in Charlotte is lovely.",
        "Snow is expected in Buffalo and Lincoln.",
        "We took trains to Florence and Lincoln.",
        "Hotels in Jackson are full.",
        "Dinner in Savannah was great.",
        "Johnson & Johnson is closed.",
        "Peterson & Peterson called back",
        "The Smith & Wesson catalogue is here.",
        "Marks & Spencer took it back.",
        "We ate Ben & Jerry's.",
        "A Wendy's cheeseburger, please.",
        "I got it at Macy's.",
        "Levi's jeans are too long.",
        "Victoria's Secret sent a voucher.",
        "Guy Fawkes Day was loud.",
        "Robert Burns Night is in January.",
        "The shop is closed on Rosa Parks Day.",
        "trace 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "traceparent 00-12345678901234567890123456789012-4111111111111111-01",
        "b3: 80f198ee56343ba864fe8b2a57d3eff7-4111111111111111-1",
        "X-Amzn-Trace-Id: Root=1-67891233-123456789012345678901234",
    ],
)
def test_places_shops_days_and_traces_are_nobody(text: str) -> None:
    assert not find(text)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("My sister Florence is in Florence.", ["Florence"]),
        ("My sister Charlotte and Paul came.", ["Charlotte", "Paul"]),
        ("Anna & Paul are coming.", ["Anna", "Paul"]),
        ("Mr Smith & Mrs Jones arrived.", ["Mr Smith", "Mrs Jones"]),
        ("Wendy's brother phoned.", ["Wendy"]),
        ("At Wendy's house we ate.", ["Wendy"]),
        ("Mary Ann Day called about it.", ["Mary Ann Day"]),
        ("Doris Day sang.", ["Doris Day"]),
        ("The key is in Carter's office.", ["Carter"]),
    ],
)
def test_people_with_the_names_of_places_shops_and_days_are_found(text: str, names: list[str]) -> None:
    assert [text[one.start : one.end] for one in find(text)] == names
