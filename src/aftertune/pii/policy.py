"""What to do with personal values before tuning: keep them, replace them, or leave them out.

Only marked spans are touched (for `drop`, the sentences that hold one); every other character stays, byte for byte.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Collection, Mapping
from dataclasses import replace

from aftertune.errors import UsageError
from aftertune.records import Conversation, Person, PiiPolicy, Span

PLACEHOLDERS = {
    "PERSON": "[NAME]",
    "PHONE": "[PHONE]",
    "EMAIL": "[EMAIL]",
    "ADDRESS": "[ADDRESS]",
    "REFERENCE": "[REF]",
    "CREDIT_CARD": "[CARD]",
    "IBAN": "[IBAN]",
    "NATIONAL_ID": "[NATIONAL_ID]",
    "PASSPORT": "[PASSPORT]",
    "DRIVER_LICENCE": "[DRIVER_LICENCE]",
    "DATE_OF_BIRTH": "[DATE_OF_BIRTH]",
    "IP": "[IP]",
    "URL": "[URL]",
    "LICENCE_PLATE": "[LICENCE_PLATE]",
    "USERNAME": "[USERNAME]",
}
"""Type -> the text that replaces every value of it."""
STAND_IN_POLICIES = ("surrogate", "novelty")
"""Policies that replace an owner's values by a stand-in's."""
_SENTENCE_END = re.compile(r"[.!?\u2026]+[\"')\]]*(?:\s+|$)|\n+")


def placeholder(type_: str, number: int | None = None) -> str:
    """Return the text that replaces a value: `[NAME]`, or with its number in the conversation `[NAME_2]`."""
    mark = PLACEHOLDERS.get(type_, f"[{type_}]")
    return mark if number is None else f"{mark[:-1]}_{number}]"


def value_of(person: Person, span: Span) -> str:
    """Return the text of `person` for `span`: the whole value, or one part of a name.

    Raises KeyError where the person has no value of that type.
    """
    value = person.values[span.type]
    if span.part == "first":
        return value.split()[0]
    if span.part == "last":
        return value.split()[-1]
    return value


def in_case_of(old: str, new: str) -> str:
    """Return the name `new` in lower case where `old` is, in capitals where `old` is, else as it is."""
    if old.islower():
        return new.lower()
    return new.upper() if old.isupper() and len(old) > 2 else new


def apply(
    conversation: Conversation, policy: PiiPolicy, stand_ins: Mapping[str, Person], *, numbered: bool = False
) -> Conversation:
    """Return the conversation under `policy`, its spans moved to the new text.

    Args:
        conversation: With spans; a conversation whose personal values are unknown cannot be changed reliably.
        policy: `keep`: nothing is changed. `placeholder`: each value becomes its type. `surrogate`, `novelty`: each
            becomes the value of its owner's stand-in. `drop`: each sentence with a value goes (cutting out the value
            alone would leave a broken sentence to learn from); a turn may end up empty, which takes its exchange with
            it when the variant is composed.
        stand_ins: Owner id -> the person (or thing) whose values replace theirs; one owner, one stand-in, through
            the whole corpus. Only read for `surrogate` and `novelty`.
        numbered: For `placeholder`: number the people and the values of each type through the conversation, in the
            order of first mention, so that `[NAME_1]` and `[NAME_2]` stay two people. The shipped bases know the
            unnumbered placeholders as single tokens, so their own corpus leaves this off.

    Raises:
        UsageError: The spans are unknown, or an owner has no stand-in.
    """
    if policy == "keep":
        return conversation
    if conversation.spans is None:
        raise UsageError(
            f"{conversation.source or conversation.id}: pii = '{policy}' needs to know which parts are personal, and "
            "nobody has marked them; use pii = 'keep'"
        )
    if policy == "drop":
        return _without(conversation)
    texts = [message.content for message in conversation.messages]
    numbers = _numbers(conversation.spans) if numbered else {}
    moved: list[Span] = []
    for index, here in enumerate(by_message(conversation)):
        text = texts[index]
        pieces: list[str] = []
        cursor = length = 0
        for span in sorted(here, key=lambda s: s.start):
            if policy == "placeholder":
                new = placeholder(span.type, numbers.get(_numbered(span)))
            elif span.owner in stand_ins:
                new = value_of(stand_ins[span.owner], span)
                if span.type == "PERSON":
                    new = in_case_of(text[span.start : span.end], new)
            else:
                raise UsageError(f"{conversation.source or conversation.id}: nobody stands in for {span.owner}")
            kept = text[cursor : span.start]
            start = length + len(kept)
            pieces += [kept, new]
            length = start + len(new)
            cursor = span.end
            if policy != "placeholder":
                moved.append(replace(span, start=start, end=length, owner=stand_ins[span.owner].id))
        texts[index] = "".join(pieces) + text[cursor:]
    messages = tuple(replace(message, content=text) for message, text in zip(conversation.messages, texts, strict=True))
    return replace(conversation, messages=messages, spans=tuple(moved))


def _numbered(span: Span) -> tuple[str, str]:
    """Return the key that is numbered: a person, and each value of another type, a second one (`p-1f.2`) included."""
    return span.type, span.owner.partition(".")[0] if span.type == "PERSON" else span.owner


def _numbers(spans: Collection[Span]) -> dict[tuple[str, str], int]:
    """Return the keys of `_numbered` -> their numbers among those of their type, in the order of first mention."""
    numbers: dict[tuple[str, str], int] = {}
    count: dict[str, int] = {}
    for span in sorted(spans, key=lambda s: (s.message, s.start)):
        key = _numbered(span)
        if key not in numbers:
            numbers[key] = count[span.type] = count.get(span.type, 0) + 1
    return numbers


def by_message(conversation: Conversation) -> list[list[Span]]:
    """Return the spans of each message, in their order in the conversation; those beside the messages are left out."""
    spans: list[list[Span]] = [[] for _ in conversation.messages]
    for span in conversation.spans or ():
        if span.message < len(spans):
            spans[span.message].append(span)
    return spans


def sentences(text: str) -> list[tuple[int, int]]:
    """Return (start, end) of the sentences of `text`, the white space after each included; they cover it all."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    if not ends or ends[-1] < len(text):
        ends.append(len(text))
    return list(zip([0, *ends[:-1]], ends, strict=True))


def _without(conversation: Conversation) -> Conversation:
    """Return the conversation without the sentences that a span touches."""
    messages = []
    for message, here in zip(conversation.messages, by_message(conversation), strict=True):
        text = message.content
        if here:
            there = sorted((span.start, span.end) for span in here)
            reach = list(itertools.accumulate((end for _, end in there), max))
            kept = []
            for a, b in sentences(text):
                before = bisect.bisect_left(there, (b,))  # those that start before the sentence ends
                if not before or reach[before - 1] <= a:
                    kept.append(text[a:b])
            text = "".join(kept)
            text = text.rstrip() if message.content == message.content.rstrip() else text
        messages.append(replace(message, content=text))
    return replace(conversation, messages=tuple(messages), spans=())
