"""A data variant's card: what is in it, and what personal data of the corpus is still in it."""

from __future__ import annotations

import bisect
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from aftertune.errors import UsageError
from aftertune.pii import detection_cache, languages
from aftertune.pii.policy import by_message
from aftertune.pii.value_index import ValueIndex
from aftertune.records import Arm, Conversation, Json, digest
from aftertune.thoughts import part

REPORT_EVERY = 256
"""Conversations between two calls of the progress callback."""
LIMIT = 1.0
"""Personal values left per 1,000 words, at most, unless the user says otherwise."""


def assistant_tokens(conversation: Conversation, count: Callable[[str], int]) -> int:
    """Return the number of tokens that the loss is taken on."""
    return sum(count(m.content) for m in conversation.messages if m.role == "assistant" and m.trained)


def card(
    arm: Arm,
    conversations: Sequence[Conversation],
    changed: Mapping[str, int],
    source: ValueIndex,
    tokens: Sequence[int],
    *,
    detected: bool,
    limit: float,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> dict[str, Json]:
    """Return the variant's card.

    `residual` counts, by type, what is still personal: the registry values of the untouched corpus that the text holds
    and, where the corpus's values were found and not given (`found`), whatever is found now outside the stand-ins and
    is no registry value. Where the corpus knows its own values the registry is the truth, and a detector's false alarms
    are kept out of it. None where nothing personal is known. `residual_rate` is the same per 1,000 words.
    `names_not_looked_for` counts, by their language, the messages that are not English, wholly or in part:
    there no name is found by its capital. None where the corpus's values were given.

    Args:
        arm: The variant.
        conversations: Its conversations.
        changed: What became of conversations on the way, by name.
        source: The personal values of the corpus.
        tokens: Assistant tokens of each conversation.
        detected: Whether the values were detected by `pii.detect`.
        limit: Goes on the card; `refuse_residual` holds the variant to it.
        progress: Called now and then with how many conversations are counted, and of how many.
    """
    marked: Counter[str] = Counter()
    residual: Counter[str] = Counter()
    outside: Counter[str] = Counter()
    known, words, messages, thoughts = True, 0, 0, 0
    lines = hashlib.sha256(b"[[")
    again = detected and arm.pii != "keep"
    read = detection_cache.read_ahead(conversations) if again and arm.answers == "human" else conversations
    for count, conversation in enumerate(read):
        if count % REPORT_EVERY == 0:
            progress(count, len(conversations))
        marked.update(span.type for span in conversation.spans or ())
        known = known and conversation.spans is not None
        messages += len(conversation.messages)
        thoughts += any(m.role == "assistant" and part(m.content).found for m in conversation.messages)
        words += sum(len(message.content.split()) for message in conversation.messages)
        # As `records.digest` of all lines, which need not be in memory for it.
        line = f'"{digest([message.content for message in conversation.messages])}"'
        lines.update(line.encode() if not count else f",{line}".encode())
        if len(source):
            residual.update(source.types("\n".join(m.content for m in conversation.messages)))
        if detected:
            outside.update(filter(None, (languages.language_of(message.content) for message in conversation.messages)))
        if again:
            residual.update(_detected_now(arm, conversation, source))
    lines.update(b"]]")
    counts = dict(sorted(residual.items())) if len(source) or detected else None
    lengths = sorted(tokens)
    return {
        "arm": arm.name,
        "pii": arm.pii,
        "role_swap": arm.role_swap,
        "answers": arm.answers,
        "conversations": len(conversations),
        "messages": messages,
        "words": words,
        **({"conversations_with_thoughts": thoughts} if thoughts else {}),
        "assistant_tokens": sum(lengths),
        "assistant_tokens_median": lengths[len(lengths) // 2],
        "assistant_tokens_longest": lengths[-1],
        "changed": dict(changed),
        "marked_personal_values": dict(sorted(marked.items())) if known else None,
        "residual": counts,
        "residual_rate": None if counts is None else {t: round(1000 * n / max(words, 1), 3) for t, n in counts.items()},
        "residual_limit": limit,
        "names_not_looked_for": dict(sorted(outside.items())) if detected else None,
        "text_hash": lines.hexdigest()[:16],
    }


def _detected_now(arm: Arm, conversation: Conversation, source: ValueIndex) -> list[str]:
    """Return the types of what is detected outside the stand-ins and is no registry value."""
    types = []
    spans = by_message(conversation)
    for message, held in zip(conversation.messages, spans, strict=True):
        if arm.answers == "self_generated" and message.role == ("user" if arm.role_swap else "assistant"):
            continue  # the base's own words: whatever stands there, it has from elsewhere
        own = sorted((span.start, span.end) for span in held)
        for start, end, type_ in detection_cache.spans_in(message.content):
            before = bisect.bisect_left(own, (end,))
            if (not before or own[before - 1][1] <= start) and not source.types(message.content[start:end]):
                types.append(type_)
    return types


def refuse_residual(card: Mapping[str, Json], limit: float) -> None:
    """Raise UsageError where a variant that was to hide its people still holds more of them than `limit` allows."""
    rates = card["residual_rate"]
    if card["pii"] == "keep" or not isinstance(rates, Mapping):
        return
    rate = sum(float(value) for value in rates.values() if isinstance(value, int | float))
    if rate > limit:
        counts = card["residual"]
        assert isinstance(counts, Mapping)
        listed = ", ".join(f"{type_} {count}" for type_, count in counts.items())
        foreign = card.get("names_not_looked_for")
        if isinstance(foreign, Mapping) and (unread := languages.outside({k: int(str(n)) for k, n in foreign.items()})):
            listed = f"{listed}; {unread}"
        raise UsageError(
            f"variant '{card['arm']}' still holds {rate:.2f} personal values per 1,000 words (limit {limit:g}): "
            f"{listed}; look at them with `aftertune pii scan`, or accept them with --allow-residual "
            "(in a design: [data] allow_residual = true)"
        )
