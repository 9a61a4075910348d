from __future__ import annotations

import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune import text as tools

WEIRD = st.text(st.characters(codec=None, categories=None))


@given(WEIRD)
def test_any_text_goes_through_every_tool(text: str) -> None:
    plain = tools.normalise(text)
    plain.encode("utf-8")  # no lone surrogate is left
    tools.sentences(plain)
    tools.language(plain)
    bad, pairs = tools.disorder(plain)
    assert 0 <= pairs <= max(0, len(plain))
    assert bad >= 0
    assert sum(tools.scripts(plain).values()) <= len(plain)
    assert len(tools.excerpt(text, 20)) <= 20


@given(WEIRD)
def test_normalising_twice_is_normalising_once(text: str) -> None:
    once = tools.normalise(text)
    assert tools.normalise(once) == once
    assert unicodedata.is_normalized("NFKC", once)


@given(WEIRD)
def test_sentences_lose_nothing_but_white_space(text: str) -> None:
    plain = tools.normalise(text)
    assert "".join("".join(tools.sentences(plain)).split()) == "".join(plain.split())


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        ("I can’t", "I can't"),
        ("I can´t", "I can't"),
        ("“no”", '"no"'),
        ("ｃａｎ＇ｔ", "can't"),
        ("a\u200bb\u00adc\ufeff", "abc"),
        ("a\u00a0b", "a b"),
        ("x – y — z", "x - y - z"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("ﬁne …", "fine ..."),
        ("\ud800", "\ufffd"),
    ],
)
def test_normalise(raw: str, plain: str) -> None:
    assert tools.normalise(raw) == plain


def test_sentences_are_not_cut_after_abbreviations_and_list_numbers() -> None:
    text = 'Dr. Smith came at 5 p.m. on Monday. "Is it late?" he asked. 1. Sit down.\n2. Wait, e.g. here.'
    assert tools.sentences(text) == [
        "Dr. Smith came at 5 p.m. on Monday.",
        '"Is it late?"',
        "he asked.",
        "1. Sit down.",
        "2. Wait, e.g. here.",
    ]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The cat is on the roof and it will not come down.", "en"),
        ("Ich weiß nicht, ob das die richtige Straße ist.", "de"),
        ("Je ne sais pas si c'est la bonne rue pour vous.", "fr"),
        ("No sé si esta es la calle que usted busca.", "es"),
        ("Non so se questa è la strada che cerchi per il museo.", "it"),
        ("Não sei se esta é a rua que você procura para o museu.", "pt"),
        ("Ik weet niet of dit de straat is die je zoekt.", "nl"),
        ("Okay.", None),
        ("Пожалуйста, подождите немного у входа.", None),
        ("", None),
    ],
)
def test_language(text: str, language: str | None) -> None:
    assert tools.language(text) == language


def test_scripts() -> None:
    assert tools.scripts("abc 123") == {"LATIN": 3}
    assert tools.scripts("да нет yes")["CYRILLIC"] == 5
    assert tools.scripts("12 !?") == {}


@given(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=6), st.integers(3, 9), st.data())
def test_a_loop_is_found_with_its_length_even_when_it_is_cut(unit: list[str], times: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(unit) - 1))
    found = tools.loop(["x", "y", *unit * times, *unit[:cut]])
    assert found is not None
    assert found.length >= len(unit) * times + cut
    assert len(unit) % found.period == 0 or found.period <= len(unit)


@given(st.lists(st.integers(), unique=True, max_size=50))
def test_distinct_words_have_no_loop_and_repeat_nothing(numbers: list[int]) -> None:
    words = list(map(str, numbers))
    assert tools.loop(words) is None
    assert tools.repeated_share(words) == 0


def test_repeated_share_counts_what_stood_before() -> None:
    assert tools.repeated_share(list("abcdabcd")) == pytest.approx(1 / 5)
    assert tools.repeated_share(["a"] * 104) == pytest.approx(100 / 101)


def test_disorder_tells_a_sentence_from_its_words_in_another_order() -> None:
    assert tools.disorder("The key is in the drawer of the table by the door.") == (0, 11)
    assert tools.disordered("the of key the is drawer in the table the by of door the a")
    assert not tools.disordered("I had had enough, and that was that.")


@given(st.text(string.ascii_letters + " ,."))
def test_disorder_never_exceeds_its_pairs_by_more_than_the_sentence_ends(text: str) -> None:
    bad, pairs = tools.disorder(text)
    assert bad <= pairs + sum(map(text.count, ".!?"))
