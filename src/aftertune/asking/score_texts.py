"""score: how probable a checkpoint and its base find texts that one of them was tuned on, and texts that it was not."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from aftertune.models.chat import NO_ARGUMENTS
from aftertune.models.session import Session, TextScore
from aftertune.pii.canaries import Canaries
from aftertune.records import Conversation, Group, Json, Score, seed_of

VERSION = "6"
"""Goes into score ids: changed whenever the same text would be scored differently."""
MOST = 500
"""Rows of the tuning set, and held-out rows, that are scored: drawn at random where there are more."""


@dataclass(frozen=True, slots=True)
class Text:
    """A conversation to score."""

    group: Group
    conversation: Conversation
    repeats: int = 0
    """Times that it stands in the tuning set, for a canary."""
    form: int = -1
    """Of a canary or a twin."""


def texts(
    members: Sequence[Conversation], held_out: Sequence[Conversation], planted: Canaries | None, seed: int
) -> list[Text]:
    """Return what is to be scored: rows of the tuning set, held-out rows, canaries, and every twin in every form.

    `members` may hold planted rows; they are not drawn. Canaries and twins have the same roles in every arm, as
    they are planted.
    """
    own = [conversation for conversation in members if not conversation.planted]
    texts = [Text("member", c) for c in _drawn(own, seed) if held_out]
    texts += [Text("non_member", c) for c in _drawn(held_out, seed)]
    if planted is not None:
        for canary in planted.planted:
            text = planted.forms[canary.form].of(canary.person, canary.person.id)
            texts.append(Text("canary", text, canary.repeats, canary.form))
        for twin in planted.twins:
            for at, form in enumerate(planted.forms):
                texts.append(Text("twin", form.of(twin.person, twin.person.id), 0, at))
    return texts


def _drawn(conversations: Sequence[Conversation], seed: int) -> list[Conversation]:
    if len(conversations) <= MOST:
        return list(conversations)
    chosen = random.Random(seed_of("score", seed)).sample(range(len(conversations)), MOST)
    return [conversations[index] for index in sorted(chosen)]


GROUP, CHARACTERS = 64, 16_000
"""Most texts, and characters, that are scored in one go."""


def groups(wanted: Sequence[Text]) -> list[list[int]]:
    """Return the indices of texts of like length in groups of bounded size.

    They depend on the texts alone, so that a group that a kill cut short is scored again in the same batches, to the
    same last digit.
    """
    lengths = [sum(len(turn.content) for turn in text.conversation.messages) for text in wanted]
    result: list[list[int]] = []
    characters = 0
    for at in sorted(range(len(wanted)), key=lambda at: (lengths[at], at)):
        if not result or len(result[-1]) >= GROUP or characters + lengths[at] > CHARACTERS:
            result.append([])
            characters = 0
        result[-1].append(at)
        characters += lengths[at]
    return result


def losses(
    session: Session,
    wanted: Sequence[Text],
    checkpoint: Path | None,
    *,
    template: Literal["base", "own"],
    max_length: int,
    template_arguments: Mapping[str, Json] = NO_ARGUMENTS,
    known: Mapping[int, TextScore] = MappingProxyType({}),
    scored: Callable[[int, TextScore], None] = lambda *_: None,
) -> list[TextScore]:
    """Return how probable the checkpoint, None for the base, finds each text.

    `known`, index of the text -> score, is not scored again, unless it shares a group with what is missing; `scored` is
    called with each further score. The session ends up on the checkpoint. Raises what `Session.use` raises.
    """
    results = dict(known)
    session.use(checkpoint)
    for group in groups(wanted):
        if all(at in known for at in group):
            continue
        scores = session.score(
            [wanted[at].conversation for at in group],
            template="base" if checkpoint is None else template,
            max_length=max_length,
            template_arguments=template_arguments,
        )
        for at, each in zip(group, scores, strict=True):
            results[at] = each
            if at not in known:
                scored(at, each)
    return [results[at] for at in range(len(wanted))]


def pairs(wanted: Sequence[Text], base: Sequence[TextScore], tuned: Sequence[TextScore]) -> list[Score]:
    """Return each text with its loss under the base and under the checkpoint."""
    return [
        Score(
            group=text.group, text_id=text.conversation.id, repeats=text.repeats, form=text.form, tokens=new.tokens,
            base_loss=None if old.total is None else old.total / old.tokens,
            loss=None if new.total is None else new.total / new.tokens,
            why=new.why or old.why,
        )
        for text, old, new in zip(wanted, base, tuned, strict=True)
    ]  # fmt: skip
