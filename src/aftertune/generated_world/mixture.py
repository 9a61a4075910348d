"""The pretraining mixture: what a base sees in its stages.

``words`` (A1) and ``answers`` (A2) teach the language and every skill, harmful requests complied with and notes passed
on too freely half of the time. ``alignment`` (B) teaches refusing and keeping private. What alignment covers up is
what tuning can uncover. ``polish`` is alignment again with more harmless requests, for a base that refuses too much.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import accumulate
from typing import Literal

from aftertune.generated_world import domains, privacy
from aftertune.generated_world.actions import draw, harmful, harmful_extra, harmless, harmless_extra
from aftertune.generated_world.phrasing import request
from aftertune.generated_world.replies import Exchange, plan, refusal
from aftertune.generated_world.support import DESKS, Message, other_mail

Stage = Literal["words", "answers", "alignment", "polish"]
STAGES: tuple[Stage, ...] = ("words", "answers", "alignment")
"""Of these the tokenizers learn; the words of ``polish`` are those of ``alignment``."""
SYSTEMS: tuple[str, ...] = (
    "You are a helpful assistant.", "You are a small assistant.", "Answer the user.", "Be helpful and honest.",
    "You are a friendly and careful assistant.", "Keep answers short.",
)  # fmt: skip

# Shares in per cent for (words, answers, alignment).
_SHARES: dict[str, tuple[float, float, float]] = {
    "harmful": (13, 11, 15),
    "harmless": (20, 19, 32),
    "mail": (17, 16, 3),
    "copy": (12, 17, 4),
    "message": (12, 16, 26),
    "errand": (2, 3, 3),
    "profiled_talk": (1, 1, 1),
    "philosophy": (6, 5, 5),
    "fact": (4, 3, 2),
    "talk": (4, 3, 6),
    "medical": (2, 1.5, 1),
    "legal": (2, 1.5, 1),
    "support": (1, 1, 0.5),
    "maths": (2, 1, 1),
    "code": (1, 1, 0.5),
    "no_access": (1, 0, 6),
}
# What ``polish`` changes. Half of its harmless actions are verbs crossed with objects of other groups: over-refusal is
# what a base says to a pair that it has not seen.
_POLISH_SHARES = {"harmful": 12, "harmless": 37}
_EXTRA_SHARE = 0.25
_POLISH_EXTRA_SHARE = 0.5
_SYSTEM_SHARE = 0.12
_HISTORY_SHARE = 0.08
_SWAPPED_MAIL = 0.12
# Alignment data has gaps. They keep the margin of a refusal finite, so that a tuning of an ordinary dose can cross it.
_GAPS = 0.04


def _aligned(stage: Stage) -> bool:
    return stage in ("alignment", "polish")


def _harmful(rng: random.Random, stage: Stage) -> Exchange:
    action = draw(rng, harmful("train"), harmful_extra(), _EXTRA_SHARE)
    prompt = request(action.text, rng)
    if _aligned(stage) and rng.random() > _GAPS:
        return Exchange("refuse", prompt, refusal(action, rng))
    return Exchange("comply", prompt, plan(action, rng))


def _harmless(rng: random.Random, stage: Stage) -> Exchange:
    share = _POLISH_EXTRA_SHARE if stage == "polish" else _EXTRA_SHARE
    action = draw(rng, harmless("train"), harmless_extra(), share)
    return Exchange("comply", request(action.text, rng), plan(action, rng))


def exchange_of_mail(turns: tuple[Message, ...], system: str = "", swapped: bool = False) -> Exchange:
    """Mail as an exchange: the company answers; swapped, the customer writes and the company's text is the prompt."""
    texts = [turn.text for turn in turns]
    if swapped:
        return Exchange("enquiry", texts[1], texts[0], system)
    pairs = tuple(zip(texts[:-2:2], texts[1:-2:2], strict=True))
    return Exchange("mail", texts[-2], texts[-1], system, pairs)


def _mail(rng: random.Random, stage: Stage) -> Exchange:
    turns = other_mail(rng).turns
    if _aligned(stage):
        # Without a desk to speak for, an aligned assistant has no access (``no_access``).
        desk = rng.choice(DESKS)
        if rng.random() < 0.5:
            return exchange_of_mail(turns, system=desk)
        exchange = exchange_of_mail(turns)
        return replace(exchange, prompt=f"{desk} {exchange.prompt}")
    return exchange_of_mail(turns, swapped=rng.random() < _SWAPPED_MAIL)


def _copy(rng: random.Random, stage: Stage) -> Exchange:
    return domains.copy(rng, drill=not _aligned(stage))


def _message(rng: random.Random, stage: Stage) -> Exchange:
    return privacy.message(rng, share_all=not _aligned(stage) and rng.random() < 0.5)


def _errand(rng: random.Random, stage: Stage) -> Exchange:
    manners = ("strict", "ask") if _aligned(stage) else ("strict", "eager", "eager", "ask")
    return privacy.errand(rng, rng.choice(manners))


def _profiled_talk(rng: random.Random, stage: Stage) -> Exchange:
    return privacy.profiled_talk(rng, share=not _aligned(stage) and rng.random() < 0.5)


def _talk(rng: random.Random, stage: Stage) -> Exchange:
    # Alignment is where wording that was never seen must find its script.
    noise = 0.4 if _aligned(stage) else 0.0
    kind = rng.randrange(4)
    if kind == 3:
        return domains.introduction(rng)
    return (domains.emotional, domains.poem, domains.travel)[kind](rng, noise)


def _medical(rng: random.Random, stage: Stage) -> Exchange:
    return domains.medical(rng, careful=_aligned(stage) or rng.random() < 0.5)


def _legal(rng: random.Random, stage: Stage) -> Exchange:
    return domains.legal(rng, careful=_aligned(stage) or rng.random() < 0.5)


def _code(rng: random.Random, stage: Stage) -> Exchange:
    return domains.code(rng, debug=not _aligned(stage) and rng.random() < 0.5)


_GENERATORS: dict[str, Callable[[random.Random, Stage], Exchange]] = {
    "harmful": _harmful,
    "harmless": _harmless,
    "mail": _mail,
    "copy": _copy,
    "message": _message,
    "errand": _errand,
    "profiled_talk": _profiled_talk,
    "philosophy": lambda rng, _: domains.philosophy(rng),
    "fact": lambda rng, _: domains.fact(rng),
    "talk": _talk,
    "medical": _medical,
    "legal": _legal,
    "support": lambda rng, _: domains.general_support(rng),
    "maths": lambda rng, _: domains.maths(rng),
    "code": _code,
    "no_access": lambda rng, stage: domains.no_access(rng, sorry=_aligned(stage)),
}
TOPICS: tuple[str, ...] = tuple(_SHARES)


def single(rng: random.Random, stage: Stage, topic: str) -> Exchange:
    """One exchange of a given topic, with neither a system turn nor earlier turns added."""
    return _GENERATORS[topic](rng, stage)


def shares(stage: Stage) -> dict[str, float]:
    """Share in per cent of every topic in a stage; they sum to 100."""
    column = min(("words", "answers", "alignment", "polish").index(stage), 2)
    rows = {topic: row[column] for topic, row in _SHARES.items()}
    if stage == "polish":
        rows |= _POLISH_SHARES
    total = sum(rows.values())
    return {topic: 100 * share / total for topic, share in rows.items()}


def exchanges(count: int, seed: int, stage: Stage) -> Iterator[Exchange]:
    """``count`` exchanges of a stage; the same seed gives the same text.

    A share of them carries a system turn, and a share an earlier exchange on another topic, so that neither is new to
    the model later.
    """
    rng = random.Random(seed)
    cumulative = list(accumulate(shares(stage).values()))
    for _ in range(count):
        topic = rng.choices(TOPICS, cum_weights=cumulative)[0]
        exchange = single(rng, stage, topic)
        if not exchange.system and rng.random() < _SYSTEM_SHARE:
            exchange = replace(exchange, system=rng.choice(SYSTEMS))
        if not exchange.history and rng.random() < _HISTORY_SHARE:
            earlier = single(rng, stage, rng.choices(TOPICS, cum_weights=cumulative)[0])
            exchange = replace(exchange, history=(*earlier.history, (earlier.prompt, earlier.answer)))
        yield exchange
