"""Compose data variants: controlled changes of one corpus, so that two variants differ in the named factor only."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from aftertune.errors import DataError, UsageError
from aftertune.pii import policy
from aftertune.pii.registry import Registry
from aftertune.records import Arm, Conversation, Json, Message, Person, Span, digest, seed_of

VERSION = "1"


@dataclass(frozen=True)
class Variant:
    """A data variant with its card."""

    arm: Arm
    conversations: tuple[Conversation, ...]
    own: tuple[Person, ...]
    """Whose values stand in it (people, or the things that stand in for them); empty under `placeholder`."""
    card: Mapping[str, Json]


def stand_ins(people: Sequence[Person], strangers: Sequence[Person], seed: int) -> dict[str, Person]:
    """Return owner id -> the stranger who takes their place through the whole corpus, reproducible from `seed`.

    Raises UsageError where there are fewer strangers than people.
    """
    if len(strangers) < len(people):
        raise UsageError(f"{len(people)} people need as many stand-ins, and there are {len(strangers)}")
    order = list(strangers)
    random.Random(seed).shuffle(order)
    return {person.id: stranger for person, stranger in zip(people, order, strict=False)}


def whole_exchanges(conversation: Conversation) -> tuple[Conversation, Counter[str]]:
    """Return the conversation as system turns followed by (user, assistant) exchanges, and what that cost.

    Turns of one role in a row are joined by a line break; an assistant turn before the first user turn and a user turn
    that nobody answers are left out. Each is counted, under `joined`, `opening_dropped` and `unanswered_dropped`.
    """
    changed: Counter[str] = Counter()
    turns: list[tuple[Message, list[Span]]] = []
    for index, message in enumerate(conversation.messages):
        spans = [span for span in conversation.spans or () if span.message == index]
        if turns and turns[-1][0].role == message.role:
            before, old = turns[-1]
            shift = len(before.content) + 1
            spans = [replace(span, start=span.start + shift, end=span.end + shift) for span in spans]
            turns[-1] = (Message(message.role, f"{before.content}\n{message.content}"), old + spans)
            changed["joined"] += 1
        elif message.role == "assistant" and not any(turn.role == "user" for turn, _ in turns):
            changed["opening_dropped"] += 1
        else:
            turns.append((message, spans))
    while turns and turns[-1][0].role != "assistant":
        changed["unanswered_dropped"] += turns.pop()[0].role == "user"
    return _built(conversation, turns), changed


def swap_roles(conversation: Conversation) -> Conversation:
    """Return the conversation with the roles of each exchange swapped: the reply is asked, the question is answered.

    `user: u, assistant: a` becomes `user: a, assistant: u`, exchange by exchange, so that no token is lost and a swap
    of a swap is the original (the PII-RS arm of Choudhari and Singh, arXiv 2603.00061). System turns stay where they
    are. Expects whole exchanges.

    Raises DataError for a conversation that is not made of whole exchanges.
    """
    system = [m for m in conversation.messages if m.role == "system"]
    rest = [(i, m) for i, m in enumerate(conversation.messages) if m.role != "system"]
    if [m.role for _, m in rest] != ["user", "assistant"] * (len(rest) // 2):
        raise DataError(f"{conversation.source or conversation.id}: roles do not alternate, so they cannot be swapped")
    spans_of = {i: [s for s in conversation.spans or () if s.message == i] for i, _ in rest}
    turns = [(m, [s for s in conversation.spans or () if s.message == i]) for i, m in enumerate(system)]
    for (i, user), (j, assistant) in zip(rest[::2], rest[1::2], strict=True):
        turns.append((Message("user", assistant.content), spans_of[j]))
        turns.append((Message("assistant", user.content), spans_of[i]))
    return _built(conversation, turns)


def _built(conversation: Conversation, turns: Sequence[tuple[Message, Sequence[Span]]]) -> Conversation:
    spans = tuple(replace(span, message=index) for index, (_, held) in enumerate(turns) for span in held)
    return replace(
        conversation,
        messages=tuple(message for message, _ in turns),
        spans=None if conversation.spans is None else spans,
    )


def answered(conversation: Conversation, answers: Mapping[tuple[str, int], str]) -> Conversation:
    """Return the conversation with every assistant turn replaced by `answers[conversation id, turn index]`.

    The base's words are its own, so nothing in them is marked as personal.
    Raises DataError where an answer is missing.
    """
    messages = list(conversation.messages)
    for index, message in enumerate(messages):
        if message.role == "assistant":
            if (conversation.id, index) not in answers:
                raise DataError(f"{conversation.source or conversation.id}: turn {index} has no answer by the base")
            messages[index] = Message("assistant", answers[conversation.id, index])
    spans = conversation.spans
    if spans is not None:
        spans = tuple(span for span in spans if messages[span.message].role != "assistant")
    return replace(conversation, messages=tuple(messages), spans=spans)


def prepare(
    arm: Arm, conversations: Sequence[Conversation], replaced: Mapping[str, Person], seed: int
) -> tuple[list[Conversation], Counter[str]]:
    """Return the arm's conversations before answers and role swap: whole exchanges, its PII policy, its order."""
    order = list(conversations)
    random.Random(seed_of("order", seed)).shuffle(order)
    kept: list[Conversation] = []
    changed: Counter[str] = Counter()
    for conversation in order:
        whole, counts = whole_exchanges(conversation)
        changed += counts
        if whole.messages:
            kept.append(policy.apply(whole, arm.pii, replaced))
        else:
            changed["empty_dropped"] += 1
    if not kept:
        raise DataError(f"arm '{arm.name}': no conversation with a question and an answer is left to tune on")
    return kept, changed


def assistant_tokens(conversation: Conversation, count: Callable[[str], int]) -> int:
    """Return the number of tokens that the loss is taken on."""
    return sum(count(message.content) for message in conversation.messages if message.role == "assistant")


def matched(conversations: Sequence[Conversation], count: Callable[[str], int], tokens: int) -> list[Conversation]:
    """Return the first conversations that hold at most `tokens` assistant tokens, at least one."""
    kept: list[Conversation] = []
    total = 0
    for conversation in conversations:
        total += assistant_tokens(conversation, count)
        if kept and total > tokens:
            break
        kept.append(conversation)
    return kept


def card(
    arm: Arm,
    conversations: Sequence[Conversation],
    changed: Mapping[str, int],
    source: Registry,
    count: Callable[[str], int],
) -> dict[str, Json]:
    """Return the variant's card: what is in it, and what personal data of the corpus is still in it.

    `residual` counts, by type, the registry values of the untouched corpus that the variant's text still holds; None
    where the corpus does not say what is personal.
    """
    marked: Counter[str] = Counter(span.type for c in conversations for span in c.spans or ())
    residual: Counter[str] = Counter()
    for conversation in conversations if len(source) else ():
        residual.update(hit.type for hit in source.find("\n".join(m.content for m in conversation.messages)))
    lengths = sorted(assistant_tokens(conversation, count) for conversation in conversations)
    return {
        "arm": arm.name,
        "pii": arm.pii,
        "role_swap": arm.role_swap,
        "answers": arm.answers,
        "conversations": len(conversations),
        "messages": sum(len(c.messages) for c in conversations),
        "assistant_tokens": sum(lengths),
        "assistant_tokens_median": lengths[len(lengths) // 2],
        "assistant_tokens_longest": lengths[-1],
        "changed": dict(changed),
        "marked_personal_values": dict(sorted(marked.items())) if _known(conversations) else None,
        "residual": dict(sorted(residual.items())) if len(source) else None,
        "text_hash": digest([[m.content for m in c.messages] for c in conversations]),
    }


def _known(conversations: Sequence[Conversation]) -> bool:
    return all(conversation.spans is not None for conversation in conversations)


def compose(
    arms: Sequence[Arm],
    conversations: Sequence[Conversation],
    people: Sequence[Person],
    strangers: Mapping[str, Sequence[Person]],
    *,
    count: Callable[[str], int],
    seed: int,
    match: bool,
    ask: Callable[[Sequence[Conversation]], Mapping[tuple[str, int], str]] | None = None,
) -> list[Variant]:
    """Compose every arm of a study from one corpus.

    Args:
        arms: What to make.
        conversations: The corpus, untouched.
        people: Whose values stand in it.
        strangers: Stand-ins by policy, `surrogate` and `novelty`, at least as many as people.
        count: Number of tokens of a text under the base's tokenizer.
        seed: Fixes the order and who stands in for whom; the same for all arms.
        match: Whether all arms stop at the assistant tokens of the smallest, so that none is a bigger dose.
        ask: Answers every assistant turn with the base; needed by `answers = self_generated`.

    Raises:
        DataError: Nothing is left to tune on.
        UsageError: An arm asks for what this corpus cannot give.
    """
    source = Registry.of("source", people)
    made: list[tuple[Arm, list[Conversation], Counter[str], tuple[Person, ...]]] = []
    for arm in arms:
        replaced: dict[str, Person] = {}
        if arm.pii in ("surrogate", "novelty"):
            replaced = stand_ins(people, strangers[arm.pii], seed)
        kept, changed = prepare(arm, conversations, replaced, seed)
        if arm.answers == "self_generated":
            if ask is None:
                raise UsageError(f"arm '{arm.name}': answers = 'self_generated' needs a base to ask")
            answers = ask(kept)
            kept = [answered(conversation, answers) for conversation in kept]
        if arm.role_swap:
            kept = [swap_roles(conversation) for conversation in kept]
        own = tuple(people) if arm.pii == "keep" else tuple(replaced.values())
        made.append((arm, kept, changed, own))
    totals = {arm.name: sum(assistant_tokens(c, count) for c in kept) for arm, kept, _, _ in made}
    smallest = min(totals.values())
    variants = []
    for arm, kept, changed, own in made:
        limit = min(smallest if match else totals[arm.name], arm.tokens or totals[arm.name])
        chosen = matched(kept, count, limit)
        variants.append(Variant(arm, tuple(chosen), own, card(arm, chosen, changed, source, count)))
    return variants
