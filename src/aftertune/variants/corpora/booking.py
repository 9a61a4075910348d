"""Booking support: generated mail between a tour company and its customers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from aftertune.errors import UsageError
from aftertune.generated_world import people as world
from aftertune.generated_world.support import Mail, booking_mails
from aftertune.plugins import Card
from aftertune.records import Conversation, Message, Person, Span
from aftertune.variants.corpus import Corpus, StrangerKind

_TYPES: dict[world.Entity, str] = {
    "person": "PERSON",
    "phone": "PHONE",
    "email": "EMAIL",
    "address": "ADDRESS",
    "reference": "REFERENCE",
}
_MAX_PEOPLE = 440


@dataclass(frozen=True)
class Booking(Corpus):
    """Customer support of a tour company, generated, with every personal value known."""

    card: ClassVar[Card] = Card(
        about=(
            "Customer support of a tour company, generated, with every personal value known. Enquiries, changes, "
            "refunds, complaints, meeting points, documents and new addresses, one or two message pairs each; guides "
            "stand in many conversations, some customers write again. Meant for the shipped models, which know its "
            "words and reply frames from other companies' mail."
        ),
        source="aftertune's generated world; no real person's data",
        licence="Apache-2.0",
        weaknesses="a closed vocabulary and some sixty sentence frames, far less varied than real mail",
    )

    size: int = 600
    """Message pairs (a user turn and its answer), at least; a conversation of two pairs is never cut."""
    seed: int = 0
    """Of the people and the mail. A larger size with the same seed begins with the same conversations."""
    guides: int = 30
    """Guides of the company; the share of conversations falls with their rank (Zipf's law)."""
    customers: int = 400
    """Customers at most; when all have written, only returning ones write."""
    returning: float = 0.3
    """Probability that a mail comes from a customer who has written before."""
    version: str = field(default="2", init=False)

    def __post_init__(self) -> None:
        for name in ("size", "guides", "customers"):
            if getattr(self, name) < 1:
                raise UsageError(f"booking: {name} = {getattr(self, name)}; it must be at least 1")
        if self.guides + self.customers > _MAX_PEOPLE:
            raise UsageError(
                f"booking: guides + customers = {self.guides + self.customers}; at most {_MAX_PEOPLE}, since each "
                "needs a twin and a stand-in of their own"
            )
        if not 0 <= self.returning <= 1:
            raise UsageError(f"booking: returning = {self.returning}; it must be between 0 and 1")

    @cached_property
    def _mails(self) -> tuple[Mail, ...]:
        mails = booking_mails(self.size, self.seed, self.guides, self.customers, self.returning)
        pairs, count = 0, 0
        while pairs < self.size:
            pairs += len(mails[count].turns) // 2
            count += 1
        return mails[:count]

    @cached_property
    def _ids(self) -> dict[str, str]:
        """Name -> id, in the order of first appearance of an owner."""
        owners = dict.fromkeys(span.owner for mail in self._mails for turn in mail.turns for span in turn.spans)
        return {owner: f"booking-{index:04d}" for index, owner in enumerate(owners)}

    def conversations(self) -> Sequence[Conversation]:
        """Return the conversations with their spans, in the order in which they were written."""
        return [self._conversation(index, mail) for index, mail in enumerate(self._mails)]

    def _conversation(self, index: int, mail: Mail) -> Conversation:
        ident = f"booking-{self.seed}-{index:05d}"
        messages = tuple(Message(turn.role, turn.text) for turn in mail.turns)
        spans = tuple(
            Span(position, span.start, span.end, _TYPES[span.entity], self._ids[span.owner])
            for position, turn in enumerate(mail.turns)
            for span in turn.spans
        )
        return Conversation(ident, messages, spans, source=f"booking:{index + 1}")

    def people(self) -> Sequence[Person]:
        """Return everybody who stands in the conversations, with the values that the world gives them."""
        by_name = {person.name: person for person in world.members("corpus")}
        return [_person(ident, by_name[name]) for name, ident in self._ids.items()]

    def strangers(self, kind: StrangerKind, count: int, seed: int) -> Sequence[Person]:
        """Return `count` people, or for `novelty` names of products and towns, that no training text holds.

        Surrogates and twins come from the same cultures and formats as the corpus people; as many surrogates as there
        are people are each of their person's own culture, while the world has some. Raises UsageError for more than the
        world has.
        """
        spare = world.members("surrogate")
        pools = {
            "surrogate": spare[:_MAX_PEOPLE],
            "canary": spare[_MAX_PEOPLE:],
            "twin": world.twins(),
            "novelty": world.invented("corpus"),
        }
        pool = pools[kind]
        if count > len(pool):
            raise UsageError(f"booking: {count} strangers of kind '{kind}' wanted, the world has {len(pool)}")
        strangers = random.Random(f"{kind}|{seed}").sample(pool, count)
        if kind == "surrogate" and count == len(self._ids):
            strangers = self._alike(random.Random(f"{kind}|{seed}").sample(pool, len(pool)))
        return [_person(f"{kind}-{index:04d}", person) for index, person in enumerate(strangers)]

    def _alike(self, pool: list[world.Person]) -> list[world.Person]:
        """Return one of the pool for each person, each once: of the same culture while there is one."""
        by_name = {person.name: person for person in world.members("corpus")}
        matches: list[world.Person | None] = []
        for name in self._ids:
            match = next((one for one in pool if one.culture == by_name[name].culture), None)
            matches.append(match)
            if match is not None:
                pool.remove(match)
        return [one if one is not None else pool.pop() for one in matches]


def _person(ident: str, person: world.Person) -> Person:
    return Person(ident, {type_: person.value(entity) for entity, type_ in _TYPES.items()})


PLUGIN = Booking
