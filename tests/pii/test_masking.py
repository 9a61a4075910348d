"""Placeholders where the values were, everything else as it was; and a registry that never shows a value."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aftertune.pii.masking import masker, with_placeholders
from aftertune.pii.matcher import COMMON, MAX_SPAN, Matcher, Mention
from aftertune.pii.registry import Entry, Position, Registry
from aftertune.records import Conversation, Message, Person

MARKS = {"PERSON": "[NAME]", "PHONE": "[PHONE]", "EMAIL": "[EMAIL]", "ADDRESS": "[ADDRESS]"}
ANN = Person("p1", {"PERSON": "Anna Kowalska", "PHONE": "+48 482 107 555"})
BEN = Person("p2", {"PERSON": "Ben Okafor", "EMAIL": "ben@post.example.com"})


def conversation(*texts: str) -> Conversation:
    return Conversation("c", tuple(Message("user", text) for text in texts))


# ---------------------------------------------------------------------------------------------- with_placeholders


@pytest.mark.parametrize(
    ("spans", "masked"),
    [
        ([], "abcdefghij"),
        ([(2, 4, "PERSON")], "ab[NAME]efghij"),
        ([(0, 10, "PHONE")], "[PHONE]"),
        ([(6, 8, "PHONE"), (2, 4, "PERSON")], "ab[NAME]ef[PHONE]ij"),  # in any order
        ([(2, 4, "PERSON"), (4, 6, "PHONE")], "ab[NAME][PHONE]ghij"),  # next to each other
        ([(2, 6, "PERSON"), (4, 8, "PHONE")], "ab[NAME]ij"),  # overlapping: hidden as one, the first names it
        ([(4, 8, "PHONE"), (2, 6, "PERSON")], "ab[NAME]ij"),
        ([(2, 8, "PERSON"), (4, 6, "PHONE")], "ab[NAME]ij"),  # inside
        ([(2, 4, "PHONE"), (2, 8, "PERSON")], "ab[NAME]ij"),  # the same start: the longer names it
        ([(2, 5, "PERSON"), (4, 7, "PHONE"), (6, 9, "EMAIL")], "ab[NAME]j"),  # a chain
        ([(2, 4, "PERSON"), (2, 4, "PERSON")], "ab[NAME]efghij"),
        ([(0, 3, "SHOE_SIZE")], "[SHOE_SIZE]defghij"),  # a type of the user's own
    ],
)
def test_each_span_becomes_one_placeholder(spans: list[tuple[int, int, str]], masked: str) -> None:
    assert with_placeholders("abcdefghij", spans) == masked


SPANS = st.lists(
    st.tuples(st.integers(0, 11), st.integers(1, 6), st.sampled_from(sorted(MARKS))).map(
        lambda one: (one[0], min(12, one[0] + one[1]), one[2])
    ),
    max_size=6,
)


@given(SPANS)
def test_no_covered_character_stays_and_no_other_one_goes(spans: list[tuple[int, int, str]]) -> None:
    text = "abcdefghijkl"
    masked = with_placeholders(text, spans)
    covered = {index for start, end, _ in spans for index in range(start, end)}
    left = masked
    for mark in MARKS.values():
        left = left.replace(mark, "")
    assert left == "".join(char for index, char in enumerate(text) if index not in covered)
    islands = sum(1 for index in covered if index - 1 not in covered)
    assert islands <= masked.count("[") <= len(spans)


# ---------------------------------------------------------------------------------------------- masker


def test_the_detector_hides_what_no_registry_knows_and_can_be_left_out() -> None:
    registry = Registry.of("r", [ANN])
    text = "Anna Kowalska wrote to ben@post.example.com"
    assert masker([registry])(text) == "[NAME] wrote to [EMAIL]"
    assert masker([registry], detected=False)(text) == "[NAME] wrote to ben@post.example.com"
    assert masker([], detected=False)(text) == text


def test_several_registries_hide_their_values_together() -> None:
    mask = masker([Registry.of("a", [ANN]), Registry.of("b", [BEN]), Registry.of("c", [ANN])], detected=False)
    assert mask("Anna Kowalska, ben@post.example.com; Okafor") == "[NAME], [EMAIL]; [NAME]"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("ask Kowalska", "ask [NAME]"),
        ("ask kowalska", "ask kowalska"),  # a part counts with a capital only
        ("ask KOWALSKA", "ask [NAME]"),
        ("ask anna kowalska", "ask [NAME]"),  # the whole name in any case
        ("Kowalska, Anna", "[NAME]"),
        ("Annabel", "Annabel"),
        ("id 7748482107555x2", "id [PHONE]"),  # its digits in a longer number: the whole of it goes
        ("call 482-107-555", "call [PHONE]"),  # without its country code
        ("call +48482107555 now", "call [PHONE] now"),
        ("call 107-555", "call 107-555"),
    ],
)
def test_masking_errs_on_the_safe_side(text: str, masked: str) -> None:
    assert masker([Registry.of("r", [ANN])], detected=False)(text) == masked


def test_a_place_of_one_word_is_hidden_though_it_is_never_a_leak() -> None:
    registry = Registry("r", (Entry("ADDRESS", "London", "p"), Entry("PERSON", "Kowalska", "p")))
    assert masker([registry], detected=False)("Kowalska lives in London") == "[NAME] lives in [ADDRESS]"
    assert registry.find("Kowalska lives in London") == []


@given(
    st.lists(st.sampled_from(["Anna", "Kowalska", "+48 482 107 555", "ben@post.example.com", " ", ", ", "\n", "ok"]))
)
@example(["Anna", " ", "Kowalska", "Anna"])
def test_a_masked_text_holds_no_value_and_masking_it_again_changes_nothing(pieces: list[str]) -> None:
    registry = Registry.of("r", [ANN, BEN])
    mask = masker([registry], detected=False)
    masked = mask("".join(pieces))
    assert registry.find(masked) == []
    assert mask(masked) == masked


@given(st.text())
def test_a_text_without_values_is_left_as_it_is(text: str) -> None:
    assert masker([Registry.of("r", [Person("p", {"PERSON": "Zbxqwv Qxwvbz"})])], detected=False)(text) == text


# ---------------------------------------------------------------------------------------------- matcher


def test_mentions_come_in_the_order_of_the_text_and_may_overlap() -> None:
    matcher = Matcher([("PERSON", "Lee Kowalska"), ("PERSON", "Anna Lee Kowalska"), ("PERSON", "Anna Lee")])
    assert matcher.find("Anna Lee Kowalska. Anna Lee") == [
        Mention(2, 0, 8),
        Mention(1, 0, 17),
        Mention(0, 5, 17),
        Mention(2, 19, 27),
    ]


def test_two_entries_of_one_value_are_both_mentioned() -> None:
    matcher = Matcher([("PERSON", "Anna Lee"), ("PERSON", "ANNA LEE")])
    assert [one.value for one in matcher.find("anna lee")] == [0, 1]


@pytest.mark.parametrize("values", [[], [("PERSON", "")], [("PERSON", "Anna")], [("PHONE", "12345")], [("URL", "a.b")],
                                    [("REFERENCE", "AB1")], [("REFERENCE", "12345")], [("EMAIL", "  ")]])  # fmt: skip
def test_what_is_too_short_to_mean_anybody_is_never_found(values: list[tuple[str, str]]) -> None:
    assert Matcher(values).find("Anna 12345 a.b AB1 and 12-345 ") == []


def test_letters_further_apart_than_a_mention_can_be_are_none() -> None:
    matcher = Matcher([("ADDRESS", "12 Elm Lane")], greedy=True)
    near, far = "12 Elm" + " " * (MAX_SPAN - 10) + "Lane", "12 Elm" + " " * (MAX_SPAN - 9) + "Lane"
    assert len(near) == MAX_SPAN
    assert matcher.find(near) == [Mention(0, 0, MAX_SPAN)]
    assert matcher.find(far) == []


@pytest.mark.parametrize("word", sorted(COMMON)[::9])
def test_a_name_of_common_words_needs_every_capital(word: str) -> None:
    matcher = Matcher([("PERSON", f"Will {word.title()}")])
    assert matcher.find(f"Ask Will {word.title()}.") == [Mention(0, 4, 9 + len(word))]
    for text in (f"will {word}", f"Will {word}", f"will {word.title()}"):
        assert matcher.find(text) == []


# ---------------------------------------------------------------------------------------------- registry

TALK = [conversation("I am Anna Kowalska", "Hello Anna Kowalska; anna kowalska"), conversation("none"),
        conversation("Ben Okafor knows ANNA KOWALSKA")]  # fmt: skip


def test_positions_are_row_message_and_place_in_it() -> None:
    registry = Registry.of("r", [ANN, BEN], TALK)
    anna, phone, ben, email = registry.entries
    assert anna.positions == (
        Position(0, 0, 5, 18, "user"),
        Position(0, 1, 6, 19, "user"),
        Position(0, 1, 21, 34, "user"),
        Position(2, 0, 17, 30, "user"),
    )
    assert anna.rows == (0, 2)
    assert ben.positions == (Position(2, 0, 0, 10, "user"),)
    assert (phone.positions, email.rows) == ((), ())
    for position in anna.positions:
        content = TALK[position.row].messages[position.message].content
        assert content[position.start : position.end].casefold() == "anna kowalska"


def test_a_hit_names_the_first_mention_the_rows_and_the_count_but_never_the_value() -> None:
    registry = Registry.of("r", [ANN, BEN], TALK)
    ben, anna = registry.find("So Ben Okafor met Anna Kowalska, and Anna Kowalska Ben Okafor.")
    assert (ben.type, ben.owner, ben.start, ben.end, ben.rows, ben.count, ben.entry) == (
        "PERSON", "p2", 3, 13, (2,), 1, 2,
    )  # fmt: skip
    assert (anna.start, anna.end, anna.rows, anna.count, anna.entry) == (18, 31, (0, 2), 4, 0)
    assert "Kowalska" not in repr(anna)


def test_hits_of_one_owner_and_type_are_equal_wherever_they_stand() -> None:
    registry = Registry.of("r", [ANN, BEN])
    assert registry.find("Anna Kowalska") == registry.find("he saw Anna Kowalska")
    assert registry.find("Anna Kowalska") != registry.find("Ben Okafor")


def test_what_the_prompt_says_is_an_echo_in_whatever_case_and_the_rest_a_leak() -> None:
    registry = Registry.of("r", [ANN, BEN])
    leaked, echoed = registry.leaked("Anna Kowalska and Ben Okafor", "who is BEN okafor?")
    assert [hit.owner for hit in leaked] == ["p1"]
    assert [hit.owner for hit in echoed] == ["p2"]
    assert registry.leaked("nobody", "Anna Kowalska") == ([], [])


def test_an_empty_registry_finds_nothing_and_has_an_id() -> None:
    empty = Registry.of("r", [])
    assert (len(empty), empty.find("Anna Kowalska"), empty.leaked("Anna Kowalska", "")) == (0, [], ([], []))
    assert empty.id == Registry.of("another name", []).id != Registry.of("r", [ANN]).id


def test_the_id_says_whether_entries_owners_and_positions_are_the_same() -> None:
    entry = Entry("PERSON", "Anna Kowalska", "p1", (Position(0, 0, 5, 18),))
    ids = {
        Registry("r", entries).id
        for entries in (
            (entry,),
            (Entry("USERNAME", "Anna Kowalska", "p1", entry.positions),),
            (Entry("PERSON", "Anna Kowalski", "p1", entry.positions),),
            (Entry("PERSON", "Anna Kowalska", "p2", entry.positions),),
            (Entry("PERSON", "Anna Kowalska", "p1"),),
            (entry, entry),
        )
    }
    assert len(ids) == 6
    assert Registry("other", (entry,)).id == Registry("r", (entry,)).id


def test_locating_without_conversations_keeps_the_positions_that_are_known() -> None:
    registry = Registry.of("r", [ANN], TALK)
    assert registry.located([]) is registry
    assert registry.located([conversation("nobody")]).entries[0].positions == ()
