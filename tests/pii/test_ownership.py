"""Whose a personal value is: the rules of `pii.ownership`, with a finder of the test's own."""

from __future__ import annotations

import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from aftertune.pii import ownership
from aftertune.records import Conversation, Message

NAMES = r"(?:(?:Mr|Dr|Mrs)\.? )?(?:[Aa]nna [Kk]ovacs|Anna Schmidt|Anna|Kovacs|Ben Ode|Ben)(?:'s)?\b"


def find(text: str) -> list[tuple[int, int, str]]:
    found = [(m.start(), m.end(), "EMAIL") for m in re.finditer(r"\S+@\S+\b", text)]
    found += [(m.start(), m.end(), "PHONE") for m in re.finditer(r"\+\d+", text)]
    taken = [(a, b) for a, b, _ in found]
    for m in re.finditer(NAMES, text):
        if all(m.end() <= a or m.start() >= b for a, b in taken):
            found.append((m.start(), m.end(), "PERSON"))
    return sorted(found)


def marked(*texts: str, marker: ownership.Marker | None = None) -> list[tuple[str, str, str, str]]:
    """Return (value, type, owner, part) of every span."""
    turns = tuple(Message("user" if i % 2 == 0 else "assistant", text) for i, text in enumerate(texts))
    done = (marker or ownership.Marker(find)).mark(Conversation("c", turns))
    return [(turns[s.message].content[s.start : s.end], s.type, s.owner, s.part) for s in done.spans or ()]


def test_a_first_name_belongs_to_the_full_name_of_its_conversation() -> None:
    full, first, last = marked("I am Anna Kovacs.", "Dear Anna, Mrs. Kovacs")
    assert full[2] == first[2] == last[2]
    assert (full[3], first[3], last[3]) == ("full", "first", "last")
    assert last[0] == "Kovacs", "the title stays outside"


def test_of_two_with_one_first_name_the_last_named_is_meant() -> None:
    one, two, first = marked("Anna Kovacs and Anna Schmidt wrote.", "Anna called.")
    assert one[2] != two[2] == first[2]


def test_an_address_that_holds_the_name_belongs_to_it_even_before_it() -> None:
    mail, name, other = marked("akovacs@x.com is mine", "Thank you, Anna Kovacs. Not info@x.com")
    assert mail[2] == name[2] != other[2]


def test_a_second_address_stands_under_the_same_owner() -> None:
    name, one, two, again = marked("Anna Kovacs anna.kovacs@a.com anna_kovacs@b.com", "anna.kovacs@a.com")
    assert one[2] == again[2] == name[2]
    assert two[2] == f"{name[2]}.2"


def test_one_value_has_one_owner_through_the_corpus() -> None:
    marker = ownership.Marker(find)
    first = marked("Anna Kovacs, anna.kovacs@a.com, +3612", marker=marker)
    second = marked("Write to ANNA.KOVACS@a.com or anna kovacs, +3612", marker=marker)
    assert [row[2] for row in second] == [first[1][2], first[0][2], first[2][2]]
    (person,) = [p for p in marker.people() if "PERSON" in p.values]
    assert dict(person.values) == {"PERSON": "Anna Kovacs", "EMAIL": "anna.kovacs@a.com", "PHONE": "+3612"}


def test_a_first_name_alone_is_not_somebody_of_another_conversation() -> None:
    marker = ownership.Marker(find)
    (full,) = marked("Anna Kovacs", marker=marker)
    (first,) = marked("Anna", marker=marker)
    assert full[2] != first[2]


def test_other_values_belong_to_the_only_person_beside_them() -> None:
    marker = ownership.Marker(find)
    name, phone, mail = marked("Anna Kovacs here", "ring +3612 or x77@y.org", marker=marker)
    assert phone[2] == mail[2] == name[2]
    (again,) = marked("+3612 rang", marker=marker)
    assert again[2] == name[2], "one value, one owner through the corpus"
    anna, ben, nobody, _, his = marked("Anna Kovacs and Ben Ode", "+441", "Ben: +443")
    assert nobody[2] not in (anna[2], ben[2]), "it could be of either"
    assert his[2] == ben[2], "the only one whom its message names"


def test_values_of_a_conversation_that_names_nobody_belong_together() -> None:
    marker = ownership.Marker(find)
    one, two, office = marked("+3612, x77@y.org", "or info@y.org", marker=marker)
    (other,) = marked("+3699", marker=marker)
    assert one[2] == two[2] != other[2]
    assert office[2] not in (one[2], other[2]), "an office's address is nobody's"


def test_a_possessive_stays_outside() -> None:
    ((value, *_),) = marked("Dr. Ben Ode's bill")
    assert value == "Ben Ode"


@given(
    st.lists(
        st.sampled_from(["Anna", "Anna Kovacs", "+3612", "b.ode@x.org", "Ben Ode", "and", "Mr Kovacs"]), max_size=8
    )
)
def test_spans_are_ordered_apart_and_reproducible(words: list[str]) -> None:
    chat = Conversation("c", (Message("user", " ".join(words)),))
    one, two = ownership.Marker(find).mark(chat), ownership.Marker(find).mark(chat)
    assert one == two
    spans = one.spans or ()
    assert all(a.end <= b.start for a, b in itertools.pairwise(spans))
    assert ownership.Marker(find).mark(one) is one, "what is marked stays as it is"


def test_a_double_family_name_alone_is_the_last_name_of_the_full_one() -> None:
    marker = ownership.Marker()
    alone, full, phone = marked(
        "Ms Brandvold-Quaresma called, Ilse Brandvold\u2011Quaresma.", "+44 20 7946 0958", marker=marker
    )
    assert (alone[3], full[3]) == ("last", "full")
    assert alone[2] == full[2] == phone[2]
    other, _ = marked("Ms Brandvold-Quaresma called Ann Smith.", marker=marker)
    assert (other[2] != full[2], other[3]) == (True, "full")
