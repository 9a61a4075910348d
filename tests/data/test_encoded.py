"""Files that a text holds as letters: what is one, and what only looks like one."""

from __future__ import annotations

import base64
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.data.encoded import encoded, is_encoded, without_encoded

NOISE = random.Random(4).randbytes(600)
DATA = base64.b64encode(NOISE).decode()


@pytest.mark.parametrize(
    "text",
    [
        f"data:image/png;base64,{DATA}",
        "data:image/gif;base64,R0lGODlhAQ==",
        f"data:audio/mpeg;codecs=mp3;base64,{DATA}",
        f"data:;base64,{DATA}",
        DATA,
        base64.urlsafe_b64encode(NOISE).decode().rstrip("="),
        base64.encodebytes(NOISE).decode().strip(),
        NOISE.hex(),
        base64.b64encode(b"\xff\xd8\xff\xe0" + NOISE[:60]).decode(),
        base64.b64encode(b"%PDF-1.7\n" + NOISE[:60]).decode(),
        "iVBORw0KGgo" + "A" * 300,
    ],
)
def test_files_as_letters(text: str) -> None:
    assert is_encoded(text)
    assert without_encoded(f"See {text} here") == "See \ufffc here"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "data: see the table; base64, they said",
        "data:text/plain,Hello",
        "Please send it to the office in Bonn. " * 20,
        "/home/ada/Projects/LargeModelTraining/RunsOfNovember/CheckpointFolder/" * 5,
        "my-very-long-heading-of-a-page-about-parcels-and-their-arrival-" * 5,
        "aVeryLongCamelCaseNameOfAClassThatSomebodyWroteIn" * 6,
        "4bf92f3577b34da6a3ce929d0e0e4736",
        "0123456789" * 30,
        "https://example.org/" + "reports/2024/" * 30,
        "Donaudampfschifffahrtsgesellschaftskapitaensmuetze" * 5,
        "A" * 400,
    ],
)
def test_texts_and_names_are_no_files(text: str) -> None:
    assert encoded(text) == []
    assert without_encoded(text) == text


@given(st.text(max_size=80), st.binary(min_size=300, max_size=900))
def test_what_stands_around_a_file_stays(around: str, data: bytes) -> None:
    url = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    assert without_encoded(f"{around} {url} {around}") == f"{around} \ufffc {around}"
