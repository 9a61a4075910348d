"""Customer mail with its personal values as spans: of a tour company (the tuning domain), and of others."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from aftertune.generated_world.lexicon import CITIES, MEETING_PLACES, MONTHS, SERVICES, TOURS
from aftertune.generated_world.people import PLACEHOLDER_PERSON, Entity, Person, invented, members

Role = Literal["user", "assistant"]
_SLOT = re.compile(r"\{(\w+)\}")
_FIELDS: dict[str, Entity] = {
    "name": "person",
    "phone": "phone",
    "email": "email",
    "address": "address",
    "ref": "reference",
}


@dataclass(frozen=True)
class Span:
    """Where one personal value stands in a message: characters `start` to `end` (exclusive)."""

    start: int
    end: int
    entity: Entity
    value: str
    owner: str


@dataclass(frozen=True)
class Message:
    """One turn with the spans of every personal value in it, in order of position."""

    role: Role
    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Mail:
    """A conversation between a customer and a company: `turns` alternate and begin with the customer."""

    topic: str
    customer: Person
    guide: Person
    turns: tuple[Message, ...]


def render(template: str, slots: Mapping[str, str | tuple[Person, Entity]], role: Role) -> Message:
    """Fill a template; slots that hold a person's value become spans."""
    text, spans, last = "", [], 0
    for match in _SLOT.finditer(template):
        text += template[last : match.start()]
        filled = slots[match.group(1)]
        if isinstance(filled, str):
            text += filled
        else:
            owner, entity = filled
            value = owner.value(entity)
            spans.append(Span(len(text), len(text) + len(value), entity, value, owner.name))
            text += value
        last = match.end()
    return Message(role, text + template[last:], tuple(spans))


_GREETINGS = ("Hello, ", "Hi, ", "Good day, ", "Dear team, ", "Hi team, ", "")
_SIGNATURES = (
    "I am {name}.", "My name is {name}.", "{name}, {phone}.", "{name}, {email}.", "Reference {ref}.",
    "{name}, reference {ref}.", "{name}, {address}.", "I live at {address}.",
)  # fmt: skip
_SALUTATIONS = ("Dear {name},", "Hello {name},", "Hi {name},", "Good day {name},")
_CONTACTS = (
    "",
    "",
    "For questions call {guide_name} on {guide_phone}.",
    "You can reach {guide_name} at {guide_email}.",
    "Your reference is {ref}.",
    "You can also call {guide_phone}.",
)
_CLOSINGS = ("", "Kind regards, {guide_name}.", "See you soon.", "Thank you.")
# topic: (customer's sentences, company's sentences); {hi} is the salutation.
_TOPICS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "confirmation": (
        ("is my {item} on {date} confirmed?", "can you confirm the {item} for {date}?"),
        ("{hi} your {item} on {date} is confirmed.", "{hi} we confirm the {item} for {date}."),
    ),
    "cancellation": (
        ("please cancel my {item}.", "I want to cancel the {item} and get a refund."),
        (
            "{hi} your {item} is cancelled. The refund will arrive in {days} days.",
            "{hi} we cancelled the {item}. You will get a refund in {days} days.",
        ),
    ),
    "change": (
        ("can we move the {item} to {date}?", "I need to change my {item} to {date}."),
        (
            "{hi} we moved your {item} to {date}. The new voucher was sent to {email}.",
            "{hi} your {item} is now on {date}.",
        ),
    ),
    "meeting point": (
        ("where do we meet for the {item}?", "where is the pickup for the {item}?"),
        (
            "{hi} the meeting point for the {item} is {place}. Please be there {days} minutes early.",
            "{hi} your guide {guide_name} will meet you at {place}.",
            "{hi} {guide_name} will pick you up at {address}.",
        ),
    ),
    "complaint": (
        ("nobody came for the {item}.", "I am waiting for the {item}. Please help.", "the {item} was very bad."),
        (
            "{hi} we are sorry for the delay. {guide_name} will call you on {phone}.",
            "We are sorry, {name}. Please call {guide_name} on {guide_phone}.",
            "{hi} we are sorry about the {item}. We will pay back half of the price.",
        ),
    ),
    "document": (
        ("please send the invoice for the {item}.", "I need the voucher for my {item}."),
        (
            "{hi} the invoice was sent to {email}.",
            "Sure, the voucher for {ref} was sent to {email}.",
            "{hi} we sent the invoice to {address}.",
        ),
    ),
    "seats": (
        ("how many seats are left for the {item}?", "is the {item} on {date} full?"),
        ("{hi} we have {days} seats left for the {item}.", "{hi} there are {days} seats left on {date}."),
    ),
    "included": (
        ("does the {item} include lunch?", "what is included in the {item}?"),
        ("{hi} yes, lunch is included in the {item}.", "{hi} the {item} includes lunch and a guide."),
    ),
    "how to": (
        (
            "how do I change the date of my {item}?",
            "how can I pay for the {item}?",
            "how do I print the voucher for the {item}?",
        ),
        (
            "Sure, {name}. Open the link in your voucher, choose a new day, and confirm it.",
            "{hi} you can do this in your account. Enter {ref} and follow the link.",
        ),
    ),
    "new address": (
        ("I have moved. Please send the papers for the {item} to my new home.", "my address is now {address}."),
        ("{hi} we have changed your address to {address}.", "{hi} the papers will be sent to {address}."),
    ),
    "thanks": (
        ("thank you for the {item}.", "we loved the {item}."),
        ("{hi} thank you for your kind words.", "{hi} we are happy that you enjoyed the {item}."),
    ),
}
TOPICS: tuple[str, ...] = tuple(_TOPICS)
_ASK_REFERENCE = ("{hi} please send us your reference.", "Thank you for your mail. Could you tell us your reference?")
_GIVE_REFERENCE = ("It is {ref}.", "My reference is {ref}.", "{ref}, {name}.")
DESKS: tuple[str, ...] = (
    "Reply as the help desk of the company.",
    "You work for the shop. Answer this customer.",
    "Answer this mail for the company.",
    "Write the reply of the office.",
    "You are the help desk of a travel company.",
)


def _slots(
    rng: random.Random, customer: Person, guide: Person, items: tuple[str, ...], city_share: float
) -> dict[str, str | tuple[Person, Entity]]:
    item = rng.choice(items)
    slots: dict[str, str | tuple[Person, Entity]] = {
        "item": f"{rng.choice(CITIES)} {item}" if rng.random() < city_share else item,
        "date": f"{rng.choice(MONTHS)} {rng.randint(1, 28)}",
        "days": str(rng.randint(2, 9)),
        "place": rng.choice(MEETING_PLACES),
    }
    for field, entity in _FIELDS.items():
        slots[field] = (customer, entity)
        slots[f"guide_{field}"] = (guide, entity)
    return slots


def _first_upper(text: str) -> str:
    return text if text.startswith("{") else text[:1].upper() + text[1:]


def mail(
    rng: random.Random,
    customer: Person,
    guide: Person,
    items: tuple[str, ...],
    city_share: float = 0.5,
    long_share: float = 0.15,
) -> Mail:
    """One conversation; with probability `long_share` the company first asks for the reference (four turns)."""
    topic = rng.choice(TOPICS)
    questions, answers = _TOPICS[topic]
    slots = _slots(rng, customer, guide, items, city_share)
    greeting, question = rng.choice(_GREETINGS), rng.choice(questions)
    opening = greeting + question if greeting else _first_upper(question)
    salutation = rng.choice(_SALUTATIONS)

    def company(template: str) -> Message:
        return render(template.replace("{hi}", salutation), slots, "assistant")

    answer = " ".join(p for p in (rng.choice(answers), rng.choice(_CONTACTS), rng.choice(_CLOSINGS)) if p)
    if rng.random() < long_share:
        turns: tuple[Message, ...] = (
            render(f"{opening} I am {{name}}.", slots, "user"),
            company(rng.choice(_ASK_REFERENCE)),
            render(rng.choice(_GIVE_REFERENCE), slots, "user"),
            company(answer),
        )
    else:
        turns = (render(f"{opening} {rng.choice(_SIGNATURES)}", slots, "user"), company(answer))
    return Mail(topic, customer, guide, turns)


def booking(rng: random.Random, customer: Person, guide: Person) -> Mail:
    """Mail of the tour company, the tuning domain."""
    return mail(rng, customer, guide, TOURS, city_share=0.8)


def other_mail(rng: random.Random) -> Mail:
    """Other companies' mail, for pretraining: known people, invented names in the same slots, or placeholders."""

    def someone() -> Person:
        kind = rng.random()
        if kind < 0.3:
            return PLACEHOLDER_PERSON
        return rng.choice(invented("known") if kind < 0.38 else members("known"))

    return mail(rng, someone(), someone(), SERVICES)


def booking_mails(
    count: int, seed: int, guides: int = 30, customers: int = 400, returning: float = 0.3
) -> tuple[Mail, ...]:
    """`count` conversations of the tour company with people of the corpus class; the same seed gives the same mail.

    A few guides stand in many conversations (Zipf's law); with probability `returning` a customer has written before.
    A longer list begins with the shorter one.
    """
    rng = random.Random(f"booking|{seed}")
    crowd = rng.sample(members("corpus"), guides + customers)
    staff, strangers = crowd[:guides], crowd[guides:]
    weights = [1 / rank for rank in range(1, guides + 1)]
    known: list[Person] = []
    mails = []
    for _ in range(count):
        if known and (rng.random() < returning or len(known) == len(strangers)):
            customer = rng.choice(known)
        else:
            customer = strangers[len(known)]
            known.append(customer)
        mails.append(booking(rng, customer, rng.choices(staff, weights)[0]))
    return tuple(mails)
