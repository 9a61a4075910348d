from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.errors import DataError, UsageError
from aftertune.pii import policy
from aftertune.pii.registry import Registry
from aftertune.records import Arm, Conversation, Message, Person, Span
from aftertune.variants import compose

ANA = Person("ana", {"PERSON": "Ana Silva", "PHONE": "+351 912 345", "EMAIL": "ana@x.com"})
BEN = Person("ben", {"PERSON": "Ben Ode", "PHONE": "+44 700 900", "EMAIL": "ben@y.org"})
EVA = Person("eva", {"PERSON": "Eva Zola", "PHONE": "+27 111 222", "EMAIL": "eva@z.net"})
UDO = Person("udo", {"PERSON": "Udo Quist", "PHONE": "+49 333 444", "EMAIL": "udo@w.de"})


Piece = str | tuple[Person, str]


def marked(id_: str, *turns: tuple[str, list[Piece]]) -> Conversation:
    """Build a conversation from turns made of text and (person, type) pieces."""
    messages, spans = [], []
    for index, (role, pieces) in enumerate(turns):
        text = ""
        for piece in pieces:
            if isinstance(piece, str):
                text += piece
            else:
                person, type_ = piece
                spans.append(Span(index, len(text), len(text) + len(person.values[type_]), type_, person.id))
                text += person.values[type_]
        messages.append(Message(role, text))  # type: ignore[arg-type]
    return Conversation(id_, tuple(messages), tuple(spans))


CHATS = [
    marked(
        "1", ("user", ["I am ", (ANA, "PERSON"), ", call ", (ANA, "PHONE")]), ("assistant", ["Dear ", (ANA, "PERSON")])
    ),
    marked(
        "2",
        ("user", ["Guide?"]),
        ("assistant", [(BEN, "PERSON"), " at ", (BEN, "EMAIL"), ". Thanks, ", (ANA, "PERSON")]),
    ),
]


def words(text: str) -> int:
    return len(text.split())


def test_placeholder_changes_the_marked_values_and_nothing_else() -> None:
    changed = policy.apply(CHATS[1], "placeholder", {})
    assert changed.messages[0] == CHATS[1].messages[0]
    assert changed.messages[1].content == "[NAME] at [EMAIL]. Thanks, [NAME]"
    assert changed.spans == ()


def test_surrogate_keeps_one_identity_through_the_corpus_and_moves_the_spans() -> None:
    ins = compose.stand_ins([ANA, BEN], [EVA, UDO])
    changed = [policy.apply(chat, "surrogate", ins) for chat in CHATS]
    mine = ins["ana"]
    assert changed[0].messages[0].content == f"I am {mine.values['PERSON']}, call {mine.values['PHONE']}"
    assert changed[1].messages[1].content.endswith(f"Thanks, {mine.values['PERSON']}")
    for chat in changed:
        for span in chat.spans or ():
            owner = {p.id: p for p in (EVA, UDO)}[span.owner]
            assert chat.messages[span.message].content[span.start : span.end] == owner.values[span.type]
    left = Registry.of("source", [ANA, BEN])
    assert not any(left.find(m.content) for chat in changed for m in chat.messages)


def test_an_unmarked_corpus_cannot_be_changed() -> None:
    chat = Conversation("x", (Message("user", "hi"), Message("assistant", "yo")), None, "f.jsonl:3")
    with pytest.raises(UsageError, match=r"f\.jsonl:3.*use pii = 'keep'"):
        policy.apply(chat, "placeholder", {})
    assert policy.apply(chat, "keep", {}) == chat


def test_role_swap_exchanges_the_texts_of_each_exchange() -> None:
    swapped = compose.swap_roles(CHATS[0])
    assert [m.role for m in swapped.messages] == ["user", "assistant"]
    assert swapped.messages[0].content == CHATS[0].messages[1].content
    assert swapped.messages[1].content == CHATS[0].messages[0].content
    assert compose.swap_roles(swapped) == CHATS[0]


turns = st.lists(
    st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text("ab ", min_size=1, max_size=6)), max_size=9
)


@given(turns)
def test_whole_exchanges_alternate_and_lose_only_what_is_counted(rows: list[tuple[str, str]]) -> None:
    chat = Conversation("x", tuple(Message(role, text) for role, text in rows), ())  # type: ignore[arg-type]
    whole, changed = compose.whole_exchanges(chat)
    rest = [m.role for m in whole.messages if m.role != "system"]
    assert rest == ["user", "assistant"] * (len(rest) // 2) or changed["joined"] or "system" in {r for r, _ in rows}
    before = Counter(char for _, text in rows for char in text if char != " ")
    after = Counter(char for m in whole.messages for char in m.content if char not in " \n")
    if not changed["opening_dropped"] and not changed["unanswered_dropped"] and whole.messages:
        assert after == before or (rows and rows[-1][0] == "system")
    assert not after - before


@given(
    st.lists(
        st.tuples(st.text("ab", min_size=1, max_size=5), st.text("cd", min_size=1, max_size=5)), min_size=1, max_size=5
    )
)
def test_swapping_twice_is_the_original_and_keeps_every_token(pairs: list[tuple[str, str]]) -> None:
    messages = [Message("system", "s")]
    for asked, reply in pairs:
        messages += [Message("user", asked), Message("assistant", reply)]
    chat = Conversation("x", tuple(messages), ())
    swapped = compose.swap_roles(chat)
    assert compose.swap_roles(swapped) == chat
    assert swapped.messages[0] == Message("system", "s")
    assert sorted(m.content for m in swapped.messages) == sorted(m.content for m in chat.messages)


def test_roles_that_do_not_alternate_cannot_be_swapped() -> None:
    chat = Conversation("x", (Message("user", "a"), Message("user", "b")), ())
    with pytest.raises(DataError, match="roles do not alternate"):
        compose.swap_roles(chat)


def many(n: int) -> list[Conversation]:
    return [
        marked(str(i), ("user", [f"question {i}"]), ("assistant", ["Dear ", (ANA, "PERSON"), " yes" * (1 + i % 7)]))
        for i in range(n)
    ]


def composed(*arms: Arm, match: bool = True) -> list[compose.Variant]:
    return compose.compose(
        arms,
        many(60),
        [ANA],
        {"surrogate": [EVA], "novelty": [UDO]},
        count=words,
        seed=3,
        match=match,
        ask=lambda kept: {(c.id, 1): "my own words" for c in kept},
    )


def test_arms_are_matched_in_assistant_tokens_and_keep_one_order() -> None:
    made = composed(Arm("keep"), Arm("placeholder", pii="placeholder"), Arm("self", answers="self_generated"))
    totals = [variant.card["assistant_tokens"] for variant in made]
    longest = 9
    assert max(totals) - min(totals) <= longest  # type: ignore[type-var, operator]
    orders = [[c.id for c in variant.conversations] for variant in made]
    shortest = min(map(len, orders))
    assert all(order[:shortest] == orders[0][:shortest] for order in orders)


def test_unmatched_arms_keep_everything() -> None:
    made = composed(Arm("keep"), Arm("placeholder", pii="placeholder"), match=False)
    assert [variant.card["conversations"] for variant in made] == [60, 60]


def test_the_card_counts_what_is_still_personal() -> None:
    keep, placeholder, surrogate = composed(
        Arm("keep"), Arm("placeholder", pii="placeholder"), Arm("surrogate", pii="surrogate")
    )
    assert keep.card["residual"] == {"PERSON": len(keep.conversations)}
    assert placeholder.card["residual"] == {}
    assert surrogate.card["residual"] == {}
    assert surrogate.card["marked_personal_values"] == {"PERSON": len(surrogate.conversations)}
    assert list(surrogate.own) == [EVA]


def test_the_control_trains_on_the_words_of_the_base() -> None:
    (own,) = composed(Arm("self", answers="self_generated"))
    assert {m.content for c in own.conversations for m in c.messages if m.role == "assistant"} == {"my own words"}
    assert own.conversations[0].messages[0].content.startswith("question")


def test_the_seed_fixes_the_order_and_another_changes_it() -> None:
    def order(seed: int) -> list[str]:
        (variant,) = compose.compose([Arm("keep")], many(60), [ANA], {}, count=words, seed=seed, match=True)
        return [c.id for c in variant.conversations]

    assert order(1) == order(1) != order(2)


def test_nothing_left_to_tune_on_is_an_error() -> None:
    chats = [Conversation("x", (Message("user", "nobody answers"),), ())]
    with pytest.raises(DataError, match="arm 'keep': no conversation"):
        compose.compose([Arm("keep")], chats, [], {}, count=words, seed=0, match=True)
