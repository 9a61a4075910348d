"""What to do with personal values before tuning: keep them, or put something else in their place.

Only the spans that the corpus marks are touched; every other character stays, byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from aftertune.errors import UsageError
from aftertune.records import Conversation, Message, Person, PiiPolicy, Span

PLACEHOLDERS = {
    "PERSON": "[NAME]",
    "PHONE": "[PHONE]",
    "EMAIL": "[EMAIL]",
    "ADDRESS": "[ADDRESS]",
    "REFERENCE": "[REF]",
}
"""Type -> the text that stands for every value of it."""


def value_of(person: Person, span: Span) -> str:
    """Return the text that `person` has where `span` stands: the whole value, or one part of a name.

    Raises KeyError where the person has no value of that type.
    """
    value = person.values[span.type]
    if span.part == "first":
        return value.split()[0]
    if span.part == "last":
        return value.split()[-1]
    return value


def apply(conversation: Conversation, policy: PiiPolicy, stand_ins: Mapping[str, Person]) -> Conversation:
    """Return the conversation under `policy`, its spans moved to where the new text stands.

    Args:
        conversation: With spans; a conversation whose personal values nobody knows cannot be changed honestly.
        policy: `keep`, `placeholder`, `surrogate` or `novelty`.
        stand_ins: Owner id -> the person (or thing) whose values replace theirs; one owner, one stand-in, through
            the whole corpus. Only read for `surrogate` and `novelty`.

    Raises:
        UsageError: The spans are unknown, or an owner has no stand-in.
    """
    if policy == "keep":
        return conversation
    if conversation.spans is None:
        raise UsageError(
            f"{conversation.source or conversation.id}: pii = '{policy}' needs to know which parts are personal, and "
            "this corpus does not say; use pii = 'keep'"
        )
    texts = [message.content for message in conversation.messages]
    moved: list[Span] = []
    for index, text in enumerate(texts):
        pieces: list[str] = []
        cursor = length = 0
        for span in sorted((s for s in conversation.spans if s.message == index), key=lambda s: s.start):
            if policy == "placeholder":
                new = PLACEHOLDERS[span.type]
            elif span.owner in stand_ins:
                new = value_of(stand_ins[span.owner], span)
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
    messages = tuple(Message(message.role, text) for message, text in zip(conversation.messages, texts, strict=True))
    return replace(conversation, messages=messages, spans=tuple(moved))
