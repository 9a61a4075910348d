"""Values written with other blanks, hyphens, digits and letters, invisible characters or entities: found whole."""

from __future__ import annotations

import itertools
import random
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.pii import detect
from aftertune.pii.leaks import leaks_in
from aftertune.pii.matcher import Matcher
from aftertune.pii.normalisation import TracedText, standard
from aftertune.pii.ownership import Marker
from aftertune.pii.policy import apply
from aftertune.pii.registry import Registry
from aftertune.pii.stand_ins import assign
from aftertune.records import Conversation, Message, Person

BLANKS = "\t\u00a0\u1680\u2002\u2003\u2004\u2007\u2008\u2009\u200a\u202f\u205f\u3000\u2800\u3164"
HYPHENS = "\u1806\u05be\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
UNSEEN = "\u200b\u200c\u200d\u200e\u200f\u2060\u202a\u202c\u2066\u2069\ufeff\u034f\ufe0f"
ZEROS = "\uff10\u0660\u06f0\u0966\u09e6\U0001d7ce\U0001d7f6"
ENTITIES = {" ": ("&nbsp;", "&#160;", "&#xA0;", "&thinsp;", "&amp;nbsp;"), "-": ("&ndash;", "&#8209;", "&minus;"),
            "@": ("&#64;", "&#x40;", "&commat;")}  # fmt: skip
VALUES = (
    ("CREDIT_CARD", "my card is {} today", "4111 1111 1111 1111"),
    ("CREDIT_CARD", "paid with {} in full", "5500-0055-5555-5559"),
    ("IBAN", "send it to {} please", "GB82 WEST 1234 5698 7654 32"),
    ("NATIONAL_ID", "her SSN is {} now", "308-63-0237"),
    ("NATIONAL_ID", "NI number {} again", "AB 12 34 56 C"),
    ("PHONE", "call {} after six", "+44 20 7946 0958"),
    ("PHONE", "my number is {} here", "(212) 555-0188"),
    ("PHONE", "so dial {} at noon", "06-12 34 56 78"),
    ("EMAIL", "write to {} please", "ada.lovelace@mail-box.example.org"),
    ("PERSON", "My name is {} and I need a room", "José Núñez-Kovács"),
    ("PERSON", "We met {} there", "Dr. Adeyemi"),
    ("ADDRESS", "Send it to {} please", "92 Baker Street, London NW1 6XE"),
    ("PASSPORT", "passport number: {} is mine", "X1234567"),
    ("DRIVER_LICENCE", "My driver's license number is {} or so", "D425-7006-2400"),
    ("DATE_OF_BIRTH", "born on {} in Rome", "12 March 1980"),
    ("REFERENCE", "booking reference {} please", "QX7-R2K4"),
    ("IP", "the server {} is down", "86.231.85.193"),
    ("URL", "see {} today", "https://example.org/a-b?c=1"),
    ("LICENCE_PLATE", "licence plate is {} here", "019 EAS"),
    ("USERNAME", "my username is {} there", "night_owl-42"),
)
BROKEN = frozenset({"CREDIT_CARD", "IBAN", "NATIONAL_ID", "PHONE", "DATE_OF_BIRTH", "PERSON"})
"""Types of values that are found when one of their blanks is the end of a line."""


@pytest.fixture(autouse=True, scope="module")
def _loaded() -> None:
    detect.find("the first call reads the lists")


def disguised(text: str, rng: random.Random, broken: bool = False) -> str:
    """Return a text that looks the same: each character perhaps another, something invisible between them."""
    if rng.random() < 0.5:
        text = unicodedata.normalize("NFD", text)
    out: list[str] = []
    line = rng.choice([index for index, char in enumerate(text) if char == " "] or [-1]) if broken else -1
    for index, char in enumerate(text):
        new = char
        if rng.random() < 0.5:
            if char == " ":
                new = rng.choice([rng.choice(BLANKS), "  ", " \u00a0\u2009", *ENTITIES[" "]])
            elif char == "-":
                new = rng.choice([*HYPHENS, *ENTITIES["-"]])
            elif char == "@":
                new = rng.choice(["\uff20", "\ufe6b", *ENTITIES["@"]])
            elif char.isdigit():
                new = rng.choice([chr(ord(rng.choice(ZEROS)) + int(char)), f"&#{ord(char)};", f"&#x{ord(char):x};"])
            elif "!" <= char <= "~":
                new = rng.choice([chr(ord(char) + 0xFEE0), f"&#{ord(char)};"])
        if index == line:
            new = rng.choice(["\n", "\r\n", " \n", "\u2028"])
        # Accents follow their letter, and a value begins and ends with what is seen.
        if index and not unicodedata.combining(char) and rng.random() < 0.2:
            new = rng.choice(UNSEEN) + new
        out.append(new)
    return "".join(out)


@pytest.mark.parametrize(("type_", "frame", "value"), VALUES)
@given(seed=st.integers(0, 2**32), broken=st.booleans())
def test_a_disguised_value_is_found_whole_and_placeholder_leaves_nothing(
    type_: str, frame: str, value: str, seed: int, broken: bool
) -> None:
    rng = random.Random(seed)
    before, after = frame.split("{}")
    shown = disguised(value, rng, broken and type_ in BROKEN)
    before, after = disguised(before, rng), disguised(after, rng)
    text = before + shown + after
    spans = [(one.start, one.end, one.type) for one in detect.find(text)]
    assert (len(before), len(before) + len(shown), type_) in spans, [text[a:b] for a, b, _ in spans]
    conversation = Marker().mark(Conversation("c", (Message("user", text),)))
    kept = apply(conversation, "placeholder", {}).messages[0].content
    left = standard(kept)
    assert detect.find(kept) == []
    assert not any(word in left for word in standard(value).replace("Dr.", "").split() if len(word) > 1)


@given(seed=st.integers(0, 2**32), case=st.sampled_from([one for one in VALUES if one[0] != "USERNAME"]))
def test_a_disguised_value_in_an_answer_is_a_leak(seed: int, case: tuple[str, str, str]) -> None:
    type_, frame, value = case
    name = value.removeprefix("Dr. ") + (" Okafor" if value.startswith("Dr.") else "")
    rng = random.Random(seed)
    registry = Registry.of("source", [Person("p1", {type_: name})])
    assert leaks_in(registry, disguised(frame.format(name), rng)).label == "registry"
    odd = Registry.of("source", [Person("p1", {type_: disguised(name, rng)})])
    assert leaks_in(odd, frame.format(name)).label == "registry"
    assert leaks_in(odd, "fine", "").label == "none"


@given(seed=st.integers(0, 2**32))
def test_two_spellings_of_a_value_have_one_owner_and_a_stand_in_without_disguise(seed: int) -> None:
    rng = random.Random(seed)
    marker = Marker()
    texts = ["Anna Kovács has 4111 1111 1111 1111.", disguised("Anna Kovács has 4111 1111 1111 1111.", rng)]
    spans = [marker.mark(Conversation(str(n), (Message("user", text),))).spans or () for n, text in enumerate(texts)]
    assert {span.owner for one in spans for span in one} == {spans[0][0].owner}
    odd = Marker()
    odd.mark(Conversation("odd", (Message("user", texts[1]),)))
    people = list(odd.people())
    assert {value for person in people for value in person.values.values()} == {"Anna Kovács", "4111 1111 1111 1111"}
    new = assign(people, "surrogate", 1)[people[0].id].values
    assert standard(new["CREDIT_CARD"]) == new["CREDIT_CARD"]
    assert new["CREDIT_CARD"].startswith("4111 11")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("her SSN is 308\u00ad63\u00ad0237", "308\u00ad63\u00ad0237"),
        ("id 308\u00ad63\u00ad0237 here", "308\u00ad63\u00ad0237"),
        ("call 06&shy;12&shy;34&shy;56&shy;78", "06&shy;12&shy;34&shy;56&shy;78"),
        ("My name is Anna\u00adMaria Kovacs", "Anna\u00adMaria Kovacs"),
        ("My name is An\u00adna Ko\u00advacs", "An\u00adna Ko\u00advacs"),
        ("Anna\u2014Maria Kovacs wrote", "Anna\u2014Maria Kovacs"),
    ],
)
def test_a_soft_hyphen_is_nothing_or_a_hyphen(text: str, value: str) -> None:
    assert value in [text[one.start : one.end] for one in detect.find(text)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (
            "card 4\ufe0f\u20e31\ufe0f\u20e31\ufe0f\u20e31\ufe0f\u20e3 1111 1111 1111",
            "4\ufe0f\u20e31\ufe0f\u20e31\ufe0f\u20e31\ufe0f\u20e3 1111 1111 1111",
        ),
        ("card 4\u03361\u03361\u0336111111111 1111", "4\u03361\u03361\u0336111111111 1111"),
        ("card 4111&nbsp1111&nbsp1111&nbsp1111", "4111&nbsp1111&nbsp1111&nbsp1111"),
        ("card 4111<br>1111<br/>1111 1111", "4111<br>1111<br/>1111 1111"),
        ("card 41<wbr>11 1111 1111 1111", "41<wbr>11 1111 1111 1111"),
        ("card 4111\\u00a01111\\u00a01111\\u00a01111", "4111\\u00a01111\\u00a01111\\u00a01111"),
        ("> card 4111 1111\n> 1111 1111", "4111 1111\n> 1111 1111"),
        ("card 4111 \u2013 1111 \u2013 1111 \u2013 1111", "4111 \u2013 1111 \u2013 1111 \u2013 1111"),
        ("mail jane\\_roe@example.com", "jane\\_roe@example.com"),
        ("mail jane.roe%40example.com", "jane.roe%40example.com"),
        ("card 4111_1111_1111_1111 ok", "4111_1111_1111_1111"),
        ("card | 4111 | 1111 | 1111 | 1111 |", "4111 | 1111 | 1111 | 1111"),
        ("card **4111** **1111** **1111** **1111**", "4111** **1111** **1111** **1111"),
        ("card 4111\u00b71111\u00b71111\u00b71111", "4111\u00b71111\u00b71111\u00b71111"),
        ("card 4111%201111%201111%201111", "4111%201111%201111%201111"),
        ("card 4111      1111      1111      1111", "4111      1111      1111      1111"),
        ("my amex 3782~822463~10005 here", "3782~822463~10005"),
        ("card 4111</b> <b>1111 1111 1111", "4111</b> <b>1111 1111 1111"),
        ("card <span>4111</span><span>1111</span> 1111 1111", "4111</span><span>1111</span> 1111 1111"),
        ("card 4111\\n1111 1111 1111", "4111\\n1111 1111 1111"),
        ("Phone:\\n212-555-0188", "212-555-0188"),
        ("phone 212\u00b7555\u00b70188", "212\u00b7555\u00b70188"),
        ("mail jane.roe\\x40example.com", "jane.roe\\x40example.com"),
        ("IBANDE89370400440532013000", "DE89370400440532013000"),
        ("server 86[.]231[.]85[.]193 down", "86[.]231[.]85[.]193"),
        ("Passeport num\u00e9ro : 20FV12345", "20FV12345"),
        ("mail ann@example\u3002com", "ann@example\u3002com"),
        (
            "\u96fb\u8a71\u306f\uff10\uff13\u30fc\uff15\uff15\uff15\uff15\u30fc\uff10\uff11\uff14\uff12\u3067\u3059",
            "\uff10\uff13\u30fc\uff15\uff15\uff15\uff15\u30fc\uff10\uff11\uff14\uff12",
        ),
        ("\ubc88\ud638\ub294 010-1234-5678\uc785\ub2c8\ub2e4", "010-1234-5678"),
    ],
)
def test_markup_and_scripts_without_blanks_hide_nothing(text: str, value: str) -> None:
    assert [text[one.start : one.end] for one in detect.find(text)] == [value]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("We saw Anna\u2014She left", ["Anna"]),
        ("Guests:\nAnna Kovacs\nPeter Smith\n", ["Anna Kovacs", "Peter Smith"]),
        ("Lines:\n020 7946 0958\n020 7946 0959\n", ["020 7946 0958", "020 7946 0959"]),
        ("call 020 7946 0958\n1204 is my room", ["020 7946 0958"]),
        ("Tel: +47 22 12 34\n0155 Oslo", ["+47 22 12 34"]),
        ("Bern 30115\n55 013264-Office", ["55 013264"]),
        ("555-0132\n10115", ["555-0132"]),
        ("Best regards,\nAnna Kovacs\nSales Manager", ["Anna Kovacs"]),
        ("Codes:\n4123\n5123\n6123\n7125\n", []),
        ("6033391\n6058722", []),
        ("a&copy=2 &unknown; AT&T", []),
        ("see https://example.org/?a=1&amp;b=2 now", ["https://example.org/?a=1&amp;b=2"]),
        ("in C:\\new\\users_x and \\d{3}", []),
        ("\n4111 1111 1111 1111\n", ["4111 1111 1111 1111"]),
        ("Years | 4012 | 8888 | 8888 | 1881 |", []),
        ("to pay: 5100, 5200, 5300, 5406", []),
        ("sums 4111,1111,1111,1111 of parts", []),
        ("in \\server\\notes and C:\\temp\\readme", []),
        ("10\u201312 and 2019\u20132021", []),
    ],
)
def test_what_stands_side_by_side_stays_two(text: str, values: list[str]) -> None:
    assert [text[one.start : one.end] for one in detect.find(text)] == values


ANY = st.text(
    st.sampled_from("aZé1 -\u0301\u200b\u00ad\u2014\u2011\u00a0\n\r\t&;#x64@.\uff10\ufb01\ud800漢") | st.characters(),
    max_size=60,
)


@given(ANY)
def test_a_standard_text_points_into_the_given_one(text: str) -> None:
    for reading, _ in TracedText.readings(text):
        spans = [reading.original(index, index + 1) for index in range(len(reading.text))]
        assert all(0 <= start < end <= len(text) for start, end in spans)
        assert spans == sorted(spans)
        assert all(a == b or a[1] <= b[0] for a, b in itertools.pairwise(spans))
    assert standard(standard(text)) == standard(standard(standard(text)))


@given(st.text(st.characters(codec="ascii", exclude_characters="&\t\r\x0b\x0c\x1c\x1d\x1e\x1f "), max_size=60))
def test_ordinary_ascii_stays(text: str) -> None:
    assert standard(text) == text


@given(ANY)
def test_findings_of_any_text_do_not_overlap(text: str) -> None:
    spans = [(one.start, one.end) for one in detect.find(text)]
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))


def test_a_model_beside_the_recognisers_reads_the_standard_form(monkeypatch: pytest.MonkeyPatch) -> None:
    from aftertune.pii import entity_models
    from aftertune.pii.recogniser import Candidate

    def model(text: str) -> list[Candidate]:
        start = text.find("zibo qarth")
        return [Candidate(start, start + 10, "PERSON", 0.9, "model")] if start >= 0 else []

    monkeypatch.setattr(entity_models, "load", lambda name: model)
    text = "we told \uff5aibo\u00a0\u200bqarth to wait"
    assert [text[one.start : one.end] for one in detect.finder("spacy:x")(text, None, None)] == [text[8:19]]


def test_a_value_in_a_registry_is_found_across_entities() -> None:
    text = "mail j&#46;roe&#64;example&period;org now"
    assert [text[one.start : one.end] for one in Matcher([("EMAIL", "j.roe@example.org")]).find(text)] == [text[5:-4]]


@pytest.mark.parametrize(
    ("text", "value", "type_"),
    [
        ("Tel ⓪①⑦①②③④⑤⑥⑦⑧", "⓪①⑦①②③④⑤⑥⑦⑧", "PHONE"),
        ("my phone is ⁰¹⁷¹ ¹²³⁴⁵⁶⁷.", "⁰¹⁷¹ ¹²³⁴⁵⁶⁷", "PHONE"),
        ("phone ⁺⁴⁹ ³⁰ ¹²³⁴⁵⁶⁷⁸", "⁺⁴⁹ ³⁰ ¹²³⁴⁵⁶⁷⁸", "PHONE"),
        ("phone ₀₁₇₁ ₁₂₃₄₅₆₇", "₀₁₇₁ ₁₂₃₄₅₆₇", "PHONE"),
        ("phone ❷❶❷-❺❺❺-⓿❶❽❽", "❷❶❷-❺❺❺-⓿❶❽❽", "PHONE"),
        ("card ④①①① ①①①① ①①①① ①①①①", "④①①① ①①①① ①①①① ①①①①", "CREDIT_CARD"),
        ("mail ⓑⓞ@ⓜⓐⓘⓛ.ⓞⓡⓖ", "ⓑⓞ@ⓜⓐⓘⓛ.ⓞⓡⓖ", "EMAIL"),
        ("IBAN D E89 3704 0044 0532 0130 00", "D E89 3704 0044 0532 0130 00", "IBAN"),
        ("IBAN G B82 WEST 1234 5698 7654 32", "G B82 WEST 1234 5698 7654 32", "IBAN"),
        ("IBAN F R 14 2004 1010 0505 0001 3M02 606", "F R 14 2004 1010 0505 0001 3M02 606", "IBAN"),
    ],
)
def test_digits_in_rings_and_raised_ones_and_a_blank_in_a_country(text: str, value: str, type_: str) -> None:
    assert [(text[one.start : one.end], one.type) for one in detect.find(text)] == [(value, type_)]


@pytest.mark.parametrize(
    "text",
    ["x² + y² = 10⁶", "a flat of 120 m² and 90 m³", "as said before¹ and after²", "E = mc²", "① Call ② Wait", "CO₂"],
)
def test_exponents_footnotes_and_list_marks_are_no_numbers(text: str) -> None:
    assert not detect.find(text)
