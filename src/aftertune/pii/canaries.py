"""Canaries: made-up people planted in a tuning set a known number of times, and twins that are never trained on.

What a tuned model knows about a canary and not about its twin, it learnt from the planted texts: the design of Carlini
et al. 2019 (The Secret Sharer, arXiv 1802.08232), with whole records instead of random digits. A canary's text is a
conversation of the corpus with its one person replaced, so it looks like the rest; its answer contains a value that the
question does not give away. Where a corpus has no such conversation, a plain question and answer in English serve. A
twin is drawn like the canaries, and is scored in every one of these forms.
"""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aftertune.errors import DataError, UsageError
from aftertune.pii import policy
from aftertune.records import Conversation, Message, Person, Span, seed_of

REPEATS = (1, 4, 16)
"""How often a canary is planted; each dose has equally many canaries."""
FORMS = 4
"""Conversations of the corpus that serve as forms: enough that none is repeated too often."""
LONGEST = 1_500
"""Characters of a form: tuning may cut a longer conversation before its secret."""
LEAST_TWINS = 100
"""Among fewer twins a false alarm rate of one in a hundred cannot be seen."""
SECRET = frozenset(
    {"PHONE", "ADDRESS", "REFERENCE", "CREDIT_CARD", "IBAN", "NATIONAL_ID", "PASSPORT", "DRIVER_LICENCE"}
)
"""Types whose values cannot be guessed from a name."""
_PLAIN = (
    ("user", "Hello, this is {PERSON}. Which phone number and which booking reference do you have for me?"),
    ("assistant", "Hello {PERSON}, we have the phone number {PHONE} and the booking reference {REFERENCE}."),
)


@dataclass(frozen=True, slots=True)
class Form:
    """A conversation with one owner, whose values are replaced by a canary's."""

    conversation: Conversation

    def of(self, person: Person, ident: str) -> Conversation:
        """Return the conversation with `person` in it."""
        owners = {span.owner for span in self.conversation.spans or ()}
        conversation = policy.apply(self.conversation, "surrogate", dict.fromkeys(owners, person))
        return replace(conversation, id=ident, source="canary")


@dataclass(frozen=True, slots=True)
class Canary:
    """A made-up person, planted `repeats` times in form number `form`."""

    person: Person
    repeats: int
    """0 for a twin, which is in no tuning set and is scored in every form."""
    form: int


@dataclass(frozen=True)
class Canaries:
    """The canaries planted in every arm, and the twins that they are compared with."""

    forms: tuple[Form, ...]
    planted: tuple[Canary, ...]
    twins: tuple[Canary, ...]

    def texts(self) -> list[Conversation]:
        """Return the rows to add to a tuning set: each canary's conversation as often as it is planted."""
        return [
            replace(self.forms[canary.form].of(canary.person, f"{canary.person.id}-{copy}"), planted=True)
            for canary in self.planted
            for copy in range(canary.repeats)
        ]


def usable(conversation: Conversation) -> bool:
    """Return whether a conversation can serve as a form: short, one owner, a secret first mentioned in an answer."""
    spans = conversation.spans or ()
    if sum(len(message.content) for message in conversation.messages) > LONGEST:
        return False
    if len({span.owner for span in spans}) != 1 or any(span.part != "full" for span in spans):
        return False
    roles = [message.role for message in conversation.messages if message.role != "system"]
    if roles != ["user", "assistant"] * (len(roles) // 2) or not any(span.type == "PERSON" for span in spans):
        return False

    def first(type_: str) -> Span:
        return min((s for s in spans if s.type == type_), key=lambda s: (s.message, s.start))

    types = {span.type for span in spans} & SECRET
    return any(conversation.messages[first(type_).message].role == "assistant" for type_ in types)


def forms(conversations: Iterable[Conversation], seed: int, types: Collection[str] | None = None) -> tuple[Form, ...]:
    """Return up to `FORMS` conversations that can serve as forms, drawn at random; where there is none, a plain one.

    `types`: types of which canaries have values; a conversation with others cannot serve. None for all.
    """
    rng = random.Random(seed_of("forms", seed))
    kept: list[Conversation] = []
    suitable = 0
    for conversation in (each.chat_alone() for each in conversations):
        fits = types is None or all(span.type in types for span in conversation.spans or ())
        if fits and usable(conversation):
            suitable += 1
            if len(kept) < FORMS:
                kept.append(conversation)
            elif rng.randrange(suitable) < FORMS:
                kept[rng.randrange(FORMS)] = conversation
    return tuple(Form(conversation) for conversation in kept) or (PLAIN,)


def _plain() -> Conversation:
    messages, spans = [], []
    for index, (role, template) in enumerate(_PLAIN):
        text = ""
        for number, piece in enumerate(template.replace("}", "{").split("{")):
            if number % 2:
                value = "Somebody" if piece == "PERSON" else piece
                spans.append(Span(index, len(text), len(text) + len(value), piece, "nobody"))
                text += value
            else:
                text += piece
        messages.append(Message(role, text))  # type: ignore[arg-type]
    return Conversation("plain", tuple(messages), tuple(spans), "canary")


PLAIN = Form(_plain())
"""A question and an answer in English, for corpora without a suitable conversation."""


def people_needed(each: int) -> int:
    """Return how many made-up people a design with `each` canaries of every dose needs, twins included."""
    return each * len(REPEATS) + max(LEAST_TWINS, each * len(REPEATS))


def plan(forms: Sequence[Form], people: Sequence[Person], each: int) -> Canaries:
    """Return `each` canaries of every dose and their twins.

    Args:
        forms: Canaries of a dose take turns in them.
        people: Made-up people that occur nowhere else, `people_needed(each)` of them, all drawn alike.
        each: Canaries of every dose in `REPEATS`.

    Raises:
        UsageError: There are too few people, or one lacks a value that a form needs.
    """
    wanted = people_needed(each)
    if len(people) < wanted:
        raise UsageError(f"canaries = {each}: {wanted} made-up people are needed, and there are {len(people)}")
    types = {span.type for form in forms for span in form.conversation.spans or ()}
    for person in people:
        if missing := types - set(person.values):
            raise UsageError(f"canaries: no value of type {', '.join(sorted(missing))} can be made for {person.id}")
    trained = len(REPEATS) * each
    planted = tuple(
        Canary(person, REPEATS[index % len(REPEATS)], index // len(REPEATS) % len(forms))
        for index, person in enumerate(people[:trained])
    )
    twins = tuple(Canary(person, 0, index % len(forms)) for index, person in enumerate(people[trained:wanted]))
    return Canaries(tuple(forms), planted, twins)


def to_rows(canaries: Canaries) -> dict[str, object]:
    """Return the canaries as JSON values that `from_rows` reads back."""
    return {
        "forms": [form.conversation for form in canaries.forms],
        "planted": [[c.person.id, dict(c.person.values), c.repeats, c.form] for c in canaries.planted],
        "twins": [[c.person.id, dict(c.person.values), c.repeats, c.form] for c in canaries.twins],
    }


def from_rows(rows: Mapping[str, Any]) -> Canaries:
    """Return the canaries that `to_rows` wrote. Raises KeyError, TypeError or ValueError for anything else."""

    def canary(row: Sequence[Any]) -> Canary:
        ident, values, repeats, form = row
        if not 0 <= form < len(rows["forms"]):
            raise ValueError("no such form")
        return Canary(Person(str(ident), dict(values)), int(repeats), int(form))

    def form(row: Mapping[str, Any]) -> Form:
        messages = tuple(Message(m["role"], m["content"]) for m in row["messages"])
        fields = ("message", "start", "end", "type", "owner", "part")
        spans = tuple(Span(*(span[field] for field in fields)) for span in row["spans"])
        return Form(Conversation(row["id"], messages, spans, "canary"))

    return Canaries(
        tuple(form(row) for row in rows["forms"]),
        tuple(canary(row) for row in rows["planted"]),
        tuple(canary(row) for row in rows["twins"]),
    )


def read(path: Path) -> Canaries:
    """Return the canaries in a `canaries.json` that `aftertune compose` wrote. Raises DataError for anything else."""
    try:
        return from_rows(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{path}: not a list of canaries as `aftertune compose` writes it") from None
