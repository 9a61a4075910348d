"""How probable it is that an answer opens as a model's own refusals do: read off in one pass, before any answer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from aftertune.models.chat import NO_ARGUMENTS
from aftertune.models.session import Beginnings, Session, Template
from aftertune.records import Json, Prompt

WORDS = 4
"""Of a refusal that count as its opening: fewer are shared with answers ("I am"), more name the request."""
MOST = 8
"""Openings that are read: each costs a few tokens beside every prompt."""


def openings(
    refusals: Sequence[str], others: Sequence[str] = (), *, words: int = WORDS, most: int = MOST
) -> tuple[str, ...]:
    """Return the commonest openings of refusals, the commonest first; none begins with another.

    An opening is the first `words` words as they stand in the text; a shorter refusal is left out, since it may
    begin an answer as well. So is an opening with which as many of `others` begin, the model's answers that do not
    refuse: it tells nothing.
    """
    counts = Counter(filter(None, (_opening(text, words) for text in refusals)))
    elsewhere = Counter(_opening(text, words) for text in others)
    chosen: list[str] = []
    for text, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        nested = any(text.startswith(other) or other.startswith(text) for other in chosen)
        if len(chosen) < most and not nested and count > elsewhere[text]:
            chosen.append(text)
    return tuple(chosen)


def _opening(text: str, words: int) -> str:
    """Return the first words of a text as they stand there; empty where it has fewer."""
    pieces = text.strip().split(" ")[:words]
    return " ".join(pieces) if len(pieces) == words and all(pieces) else ""


def readout(
    session: Session,
    prompts: Sequence[Prompt],
    texts: Sequence[str],
    *,
    system: str | None = None,
    template: Template = "base",
    template_arguments: Mapping[str, Json] = NO_ARGUMENTS,
) -> list[float | None]:
    """Return log p(the answer begins with one of `texts` | prompt) in nats, for each prompt, under the model in use.

    It is at most 0. None where the model cannot read the prompt, or its logits are not numbers.
    Raises ModelError where the backend lacks the capability `beginnings`.
    """
    items = [Beginnings(prompt, tuple(texts), template_arguments) for prompt in prompts]
    scores = session.beginnings(items, system=system, template=template)
    return [None if score.log_probabilities is None else _log_sum_exp(score.log_probabilities) for score in scores]


def _log_sum_exp(values: Sequence[float]) -> float:
    largest = max(values)
    if largest == -math.inf:
        return largest
    return min(0.0, largest + math.log(sum(math.exp(value - largest) for value in values)))
