"""Values searched for on disk are those that an automaton in memory finds; people come back from the database as they were."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from aftertune.pii.matcher import Matcher
from aftertune.pii.people import People, StandIns, TakenValues
from aftertune.pii.stand_ins import assign, invented
from aftertune.pii.value_index import DiskIndex, index_of
from aftertune.records import Person

VALUES = {
    "PERSON": ("Ana Li", "Jo O'Brien", "Zoë van der Berg", "Al", "Mark May"),
    "PHONE": ("+36 20 123 4567", "555 123", "0049 30 1234567", "123 4567"),
    "EMAIL": ("ana.li@x.org", "A_B@post.example.com"),
    "ADDRESS": ("12 Oak Street, Norwich", "a 1"),
    "REFERENCE": ("QX12345", "123456"),
    "URL": ("https://www.acme.org/u/1", "x.org"),
    "IP": ("8.8.8.8", "2a00:1450::1"),
    "DATE_OF_BIRTH": ("1984-03-23", "March 23, 1984"),
}
VALUE = st.one_of(*(st.tuples(st.just(type_), st.sampled_from(values)) for type_, values in VALUES.items()))
PIECE = st.one_of(
    VALUE.map(lambda one: one[1]),
    VALUE.map(lambda one: one[1].upper()),
    VALUE.map(lambda one: one[1].replace(" ", "\n")),
    VALUE.map(lambda one: one[1].replace(" ", "-")),
    st.sampled_from([" ", ", ", "", ".", "x", "7", " 12 ", "-", "und ", "\u00e9", "'s", "<b>", "&amp;", "\u200b"]),
)


def types(matcher: Matcher, values: list[tuple[str, str]], text: str) -> list[str]:
    return sorted(values[place][0] for place in {found.value for found in matcher.find(text)})


@settings(max_examples=150, deadline=None)
@given(st.lists(VALUE, min_size=1, max_size=8, unique=True), st.lists(PIECE, max_size=12).map("".join))
def test_disk_and_memory_find_the_same(values: list[tuple[str, str]], text: str) -> None:
    people = [Person(f"p{place}", {type_: value}) for place, (type_, value) in enumerate(values)]
    assert sorted(DiskIndex(people).types(text)) == types(Matcher(values), values, text)
    assert sorted(index_of(people, in_memory=0).types(text)) == sorted(index_of(people).types(text))


def test_a_value_of_two_people_counts_once_and_a_text_of_all_holds_all() -> None:
    people = [*invented(300, "twin", 0), Person("again", dict(invented(1, "twin", 0)[0].values))]
    index = index_of(people, in_memory=0)
    assert isinstance(index, DiskIndex)
    assert len(index) == len(index_of(people)) == 1_500
    rng = random.Random(0)
    for person in rng.sample(people, 40):
        assert set(index.types(f"I know: {'; '.join(person.values.values())}.")) == set(person.values)


def test_people_come_back_in_order_each_value_at_its_first_place() -> None:
    rows = [Person(f"p{i}", {"PERSON": f"N{i}\u00e9 \x00x", "PHONE": str(i)}) for i in range(5_000)]
    kept = People(rows)
    kept.add("p7", {"EMAIL": "a@b.c", "PHONE": "other"})
    assert [person.id for person in kept] == [row.id for row in rows]
    assert kept[7] == Person("p7", {"PERSON": "N7\u00e9 \x00x", "PHONE": "7", "EMAIL": "a@b.c"})
    assert list(kept[7].values) == ["PERSON", "PHONE", "EMAIL"]
    assert (kept[-1], kept[4_998:], len(kept)) == (rows[-1], rows[4_998:], 5_000)
    assert (kept.position("p4321"), kept.values("nobody")) == (4321, {})


def test_stand_ins_are_read_when_asked_for() -> None:
    people = invented(2_200, "twin", 1)
    made = assign(people, "surrogate", 0)
    assert isinstance(made, StandIns)
    assert [made[person.id] for person in people] == list(made.strangers)
    assert made[people[0].id].id == f"surrogate-{people[0].id}", "also after thousands of others"
    assert len({person.values["PERSON"] for person in made.strangers}) == 2_200, "one identity each"


def test_a_made_up_name_never_holds_a_name_of_the_file() -> None:
    people = invented(1_500, "canary", 3)
    source = index_of(people)
    made = assign(people, "surrogate", 0)
    assert not [p.id for p in made.strangers if source.types(f"It is {p.values['PERSON']}.")]


def test_phones_that_a_matcher_takes_for_one_are_both_taken() -> None:
    taken = TakenValues([Person("a", {"PHONE": "+44 20 7946 0123", "PERSON": "Ana Li"})])
    assert taken.has("PHONE", "020 7946 0123")
    assert taken.has("PERSON", "ANA  LI")
    assert not taken.has("PHONE", "020 7946 0124")
    assert len(taken) == 2
