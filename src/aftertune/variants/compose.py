"""Compose data variants: controlled changes of one corpus, so that two variants differ in the named factor only."""

from __future__ import annotations

import functools
import random
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from aftertune.data.conversations import ConversationFile
from aftertune.errors import DataError, UsageError
from aftertune.pii import detection_cache, policy, value_index
from aftertune.pii.people import StandIns
from aftertune.records import Arm, Conversation, Json, Message, Person, PiiPolicy, Span, seed_of
from aftertune.variants.card import LIMIT, assistant_tokens, card, refuse_residual
from aftertune.variants.destinations import Destination, InMemory

__all__ = ["InMemory", "compose", "draft", "finish", "stand_ins", "swap_roles", "whole_exchanges"]

VERSION = "5"


@dataclass(frozen=True)
class Variant:
    """A data variant with its card."""

    arm: Arm
    conversations: Sequence[Conversation]
    own: Sequence[Person]
    """Whose values stand in it (people, or the things that stand in for them); empty under `placeholder`."""
    card: Mapping[str, Json]


def stand_ins(people: Sequence[Person], strangers: Sequence[Person]) -> Mapping[str, Person]:
    """Return owner id -> the stranger who takes their place through the whole corpus: the n-th for the n-th.

    Raises UsageError where there are fewer strangers than people.
    """
    if len(strangers) < len(people):
        raise UsageError(f"{len(people)} people need as many stand-ins, and there are {len(strangers)}")
    return StandIns(people, strangers)


def whole_exchanges(conversation: Conversation) -> tuple[Conversation, Counter[str]]:
    """Return the conversation as system turns followed by (user, assistant) exchanges, and what that cost.

    Turns of one role in a row are joined by a line break; an assistant turn before the first user turn and a user turn
    that nobody answers are left out. Joined turns are tuned on where each of them is. Each is counted, under `joined`,
    `opening_dropped` and `unanswered_dropped`.
    """
    changed: Counter[str] = Counter()
    turns: list[tuple[Message, list[Span]]] = []
    for message, spans in zip(conversation.messages, policy.by_message(conversation), strict=True):
        if turns and turns[-1][0].role == message.role:
            before, old = turns[-1]
            shift = len(before.content) + 1
            spans = [replace(span, start=span.start + shift, end=span.end + shift) for span in spans]
            both = before.trained and message.trained
            turns[-1] = (Message(message.role, f"{before.content}\n{message.content}", both), old + spans)
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
    system = [(i, m) for i, m in enumerate(conversation.messages) if m.role == "system"]
    rest = [(i, m) for i, m in enumerate(conversation.messages) if m.role != "system"]
    if [m.role for _, m in rest] != ["user", "assistant"] * (len(rest) // 2):
        raise DataError(f"{conversation.source or conversation.id}: roles do not alternate, so they cannot be swapped")
    spans_of = policy.by_message(conversation)
    turns = [(m, spans_of[i]) for i, m in system]
    for (i, user), (j, assistant) in zip(rest[::2], rest[1::2], strict=True):
        turns.append((Message("user", assistant.content), spans_of[j]))
        turns.append((Message("assistant", user.content, assistant.trained), spans_of[i]))
    return _built(conversation, turns)


def _built(conversation: Conversation, turns: Sequence[tuple[Message, Sequence[Span]]]) -> Conversation:
    spans = tuple(replace(span, message=index) for index, (_, held) in enumerate(turns) for span in held)
    return replace(
        conversation,
        messages=tuple(message for message, _ in turns),
        spans=None if conversation.spans is None else spans,
        beside=(),  # a variant has the turns alone
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
            messages[index] = replace(message, content=answers[conversation.id, index])
    spans = conversation.spans
    if spans is not None:
        spans = tuple(span for span in spans if messages[span.message].role != "assistant")
    return replace(conversation, messages=tuple(messages), spans=spans)


def without_empty(conversation: Conversation) -> tuple[Conversation, int]:
    """Return the conversation without the exchanges of which a turn is empty, and how many those were.

    Expects whole exchanges; an empty system turn goes too, uncounted.
    """
    turns: list[tuple[Message, list[Span]]] = []
    emptied = 0
    rows = list(zip(conversation.messages, policy.by_message(conversation), strict=True))
    index = 0
    while index < len(rows):
        message = rows[index][0]
        width = 2 if message.role == "user" and index + 1 < len(rows) else 1
        pair = rows[index : index + width]
        if all(turn.content.strip() for turn, _ in pair):
            turns += pair
        else:
            emptied += message.role == "user"
        index += width
    if not any(turn.role == "assistant" for turn, _ in turns):
        turns = []
    return _built(conversation, turns), emptied


class Chunk:
    """Some conversations of a corpus, and what they become under a policy, made once for all arms that have it."""

    def __init__(self, conversations: Iterable[Conversation]) -> None:
        """Make them whole exchanges."""
        self._whole = [whole_exchanges(conversation) for conversation in conversations]
        self._under: dict[tuple[str, bool], list[tuple[Conversation, Counter[str]]]] = {}

    def under(
        self, pii: PiiPolicy, replaced: Mapping[str, Person], numbered: bool, changed: Counter[str]
    ) -> list[Conversation]:
        """Return the conversations before answers and role swap; what is lost on the way is counted in `changed`."""
        key = (pii, numbered)
        if key not in self._under:
            self._under[key] = [_under(whole, counts, pii, replaced, numbered) for whole, counts in self._whole]
        for _, counts in self._under[key]:
            changed.update(counts)
        return [conversation for conversation, _ in self._under[key] if conversation.messages]


def _under(
    whole: Conversation, counts: Counter[str], pii: PiiPolicy, replaced: Mapping[str, Person], numbered: bool
) -> tuple[Conversation, Counter[str]]:
    changed = Counter(counts)
    if whole.messages:
        whole = policy.apply(whole, pii, replaced, numbered=numbered)
        if pii == "drop":
            whole, emptied = without_empty(whole)
            if emptied:
                changed["emptied_dropped"] += emptied
    if not whole.messages:
        changed["empty_dropped"] += 1
    return whole, changed


def kept_within(tokens: Iterable[int], limit: int) -> int:
    """Return how many of the first conversations hold at most `limit` assistant tokens together, at least one."""
    total = 0
    kept = 0
    for count in tokens:
        total += count
        if kept and total > limit:
            break
        kept += 1
    return kept


Ask = Callable[[Sequence[Conversation]], Mapping[tuple[str, int], str]]
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many conversations or people are done, and how many there are."""


def no_progress(*_: object) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class Draft:
    """An arm in full, before all arms are cut to the tokens of the smallest."""

    arm: Arm
    main: Destination
    rest: Destination
    """Its held-out rows."""
    tokens: array[int]
    """Assistant tokens of each conversation."""
    changed: Counter[str]
    own: Sequence[Person]
    source: value_index.ValueIndex
    detected: bool
    planted: Sequence[Conversation]


def compose(
    arms: Sequence[Arm],
    conversations: Sequence[Conversation],
    people: Sequence[Person],
    strangers: Mapping[str, Sequence[Person]],
    *,
    count: Callable[[str], int],
    seed: int,
    match: bool,
    ask: Ask | None = None,
    detected: bool = False,
    held_out: int = 0,
    planted: Sequence[Conversation] = (),
    residual_limit: float | None = LIMIT,
    open_arm: Callable[[str], Destination] = InMemory,
    open_held_out: Callable[[str], Destination] = InMemory,
) -> list[Variant]:
    """Compose every arm of a study from one corpus, conversation by conversation.

    Args:
        arms: What to make.
        conversations: The corpus, untouched; read in random order, so a file of any size will do.
        people: Whose values stand in it.
        strangers: Stand-ins by policy, `surrogate` and `novelty`: the n-th for the n-th of `people`.
        count: Number of tokens of a text under the base's tokenizer.
        seed: Fixes the order; the same for all arms.
        match: Whether all arms stop at the assistant tokens of the smallest, so that none is a bigger dose.
        ask: Answers every assistant turn with the base; needed by `answers = self_generated`.
        detected: Whether the personal values were detected, not given: placeholders are then numbered unless an arm
            says otherwise, and the card counts what is still detected.
        held_out: Conversations that no arm trains on; each arm makes them up in its own way, for membership inference.
        planted: Canaries' conversations, added to each arm at its end on top of the matched tokens (tuning shuffles,
            so where they stand does not matter), under no policy, with their own answers and in their own roles in
            role-swapped arms too: their secrets stand in answers, and the loss is taken on answers only, so each arm
            is taught the same of them.
        residual_limit: Personal values per 1,000 words above which a variant that hides its people is refused; None
            accepts any.
        open_arm: Arm -> where its conversations go.
        open_held_out: Arm -> where its held-out conversations go.

    Raises:
        DataError: Nothing is left to tune on.
        UsageError: An arm asks for what this corpus cannot give, or holds more personal data than allowed.
    """
    drafts = draft(
        arms,
        conversations,
        people,
        strangers,
        count=count,
        seed=seed,
        ask=ask,
        detected=detected,
        held_out=held_out,
        planted=planted,
        open_arm=open_arm,
        open_held_out=open_held_out,
    )
    return finish(drafts, match=match, residual_limit=residual_limit)


def draft(
    arms: Sequence[Arm],
    conversations: Sequence[Conversation],
    people: Sequence[Person],
    strangers: Mapping[str, Sequence[Person]],
    *,
    count: Callable[[str], int],
    seed: int,
    ask: Ask | None,
    detected: bool,
    held_out: int,
    planted: Sequence[Conversation],
    open_arm: Callable[[str], Destination],
    open_held_out: Callable[[str], Destination],
    progress: Progress = no_progress,
) -> list[Draft]:
    """Write every arm of one corpus in full; parameters and errors as in `compose`.

    Arms of several corpora are drafted corpus by corpus and finished together, so that all are matched.
    """
    source = value_index.index_of(people)
    order = array("Q", range(len(conversations)))
    random.Random(seed_of("order", seed)).shuffle(order)
    if held_out and held_out >= len(order):
        raise UsageError(f"held_out = {held_out}: the corpus has only {len(order)} conversations")
    trained, spared = order[: len(order) - held_out], order[len(order) - held_out :]
    replaced = {
        pii: stand_ins(people, strangers[pii]) for pii in policy.STAND_IN_POLICIES if any(a.pii == pii for a in arms)
    }
    drafts: list[Draft] = []
    for arm in arms:
        own: Sequence[Person] = people if arm.pii == "keep" else ()
        if arm.pii in policy.STAND_IN_POLICIES:
            own = strangers[arm.pii] if len(strangers[arm.pii]) == len(people) else strangers[arm.pii][: len(people)]
        main, rest = open_arm(arm.name), open_held_out(arm.name)
        drafts.append(Draft(arm, main, rest, array("Q"), Counter(), own, source, detected, planted))
    written = 0
    for order in (trained, spared):
        for picked in detection_cache.chunks(_picked(conversations, order)):
            chunk = Chunk(picked)
            written += len(picked)
            for each in drafts:
                changed = each.changed if order is trained else Counter()
                for conversation in _finished(each.arm, chunk, replaced.get(each.arm.pii, {}), detected, ask, changed):
                    if order is trained:
                        each.main.add(conversation)
                        each.tokens.append(assistant_tokens(conversation, count))
                    else:
                        each.rest.add(conversation)
            progress("variants", written, len(conversations))
        for each in drafts:
            if not each.tokens:
                raise DataError(
                    f"arm '{each.arm.name}': no conversation with a question and an answer is left to tune on"
                )
    return drafts


def finish(
    drafts: Sequence[Draft], *, match: bool, residual_limit: float | None, progress: Progress = no_progress
) -> list[Variant]:
    """Cut drafts to the assistant tokens of the smallest of them, and add cards and canaries; as in `compose`."""
    smallest = min(sum(each.tokens) for each in drafts)
    variants = []
    for each in drafts:
        arm, main, total = each.arm, each.main, sum(each.tokens)
        kept = kept_within(each.tokens, min(smallest if match else total, arm.tokens or total))
        main.cut(kept)
        allowed = LIMIT if residual_limit is None else residual_limit
        about = card(
            arm,
            main.read(),
            each.changed,
            each.source,
            each.tokens[:kept],
            detected=each.detected,
            limit=allowed,
            progress=functools.partial(progress, f"card of {arm.name}"),
        )
        if residual_limit is not None:
            refuse_residual(about, residual_limit)
        for conversation in each.planted:
            main.add(conversation)
        about |= {"held_out": len(each.rest.read()), "canary_conversations": len(each.planted)}
        variants.append(Variant(arm, main.read(), each.own, about))
    return variants


def _picked(conversations: Sequence[Conversation], order: Sequence[int]) -> Iterator[Conversation]:
    if isinstance(conversations, ConversationFile):  # on disk: read in one pass, whatever the order
        yield from conversations.pick(order)
    else:
        yield from (conversations[index] for index in order)


def _finished(
    arm: Arm, chunk: Chunk, replaced: Mapping[str, Person], detected: bool, ask: Ask | None, changed: Counter[str]
) -> Iterator[Conversation]:
    ready = chunk.under(arm.pii, replaced, detected if arm.numbered is None else arm.numbered, changed)
    if arm.answers == "self_generated":
        if ask is None:
            raise UsageError(f"arm '{arm.name}': answers = 'self_generated' needs a base to ask")
        answers = ask(ready)
        ready = [answered(conversation, answers) for conversation in ready]
    for conversation in ready:
        yield swap_roles(conversation) if arm.role_swap else conversation
