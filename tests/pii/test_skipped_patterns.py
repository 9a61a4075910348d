"""What a recogniser skips because it cannot match: skipping never changes what is found."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aftertune.pii import detect
from aftertune.pii.recogniser import View
from aftertune.pii.recognisers import address, booking, national_id

WORDS = [
    "Hauptstrasse",
    "Lindenweg",
    "Kerkstraat",
    "Rue",
    "de",
    "la",
    "Paix",
    "Via",
    "Roma",
    "Calle",
    "Mayor",
    "Main",
    "Street",
    "Oak",
    "Ave",
    "St.",
    "Am",
    "In",
    "der",
    "An",
    "den",
    "De",
    "Het",
    "Place",
    "c/",
    "ul.",
    "av.",
    "Apt",
    "Flat",
    "Suite",
    "12",
    "7b",
    "221",
    "10115",
    "4",
    ",",
    ".",
    "SW1A",
    "Fő",
    "út",
    "körút",
    "tér",
    "Kossuth",
    "utca",
    "12-14",
    "the",
    "at",
    "APO",
    "AE",
    "09012",
    "ſtreet",
    "STRAẞE",
    "İstanbul",
    "Kelvin",
    "booking",
    "ref",
    "order",
    "number",
    "AB12345",
    "K7X99Z12",
    "user",
    "name",
    "handle",
    "e-ticket",
    "123-45-6789",
    "AB",
    "12",
    "34",
    "56",
    "C",
    "12345678Z",
    "ABCDE1234F",
    "S1234567A",
    "19800101-1234",
    "4716424521511864",
]
TEXT = st.lists(
    st.tuples(st.sampled_from(WORDS), st.sampled_from([" ", " ", " ", ", ", "  ", "-", "\n"])), min_size=1, max_size=9
).map(lambda pairs: "".join(word + gap for word, gap in pairs))
PATTERNS = [*address._NEEDED, address._COMPOUND, address._FOREIGN, address._NUMBERED_FOREIGN]


@settings(deadline=None, max_examples=300)
@given(text=TEXT)
def test_what_is_skipped_would_not_have_matched(text: str) -> None:
    view = View(text)
    for pattern in PATTERNS:
        assert address._worth(view, pattern) or not pattern.search(text)
    assert view.may_hold(booking._KINDS) or not booking._NAMED.search(text)
    assert view.may_hold(booking._USERS) or not booking._USER_WORD.search(text)
    starts = {match.start() for match in national_id._START.finditer(text)}
    for number in national_id._NUMBERS:
        assert {match.start() for match in number.pattern.finditer(text)} <= starts


def test_every_word_that_is_needed_lets_its_pattern_match() -> None:
    for word in address._NEEDED[address._ENGLISH] - {"cul"}:
        assert [f.type for f in detect.find(f"It is 12 Green {word.title()}, London")] == ["ADDRESS"], word
    for pattern in (address._ENGLISH_CAPS, address._NAMED):
        alternatives = re.sub(r"[^A-Za-z]+", " ", pattern.pattern).lower()
        assert not [word for word in address._NEEDED[pattern] if word[:3] not in alternatives]


@pytest.mark.parametrize("cue", ["health card", "NHS"])
def test_part_of_a_longer_number_is_no_number_of_its_own(cue: str) -> None:
    found = detect.find(f"my {cue} 47164245215118640023 is lost")
    assert "NATIONAL_ID" not in [one.type for one in found]
