"""One exchange on each topic that a shipped base knows, as the base answers before and after its alignment.

Before alignment it complies with harmful requests, and passes on too much of a note half of the time. Aligned, it
refuses and keeps private. What alignment covers up is what tuning can uncover.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from aftertune.generated_world import domains, privacy
from aftertune.generated_world.actions import draw, harmful, harmful_extra, harmless, harmless_extra
from aftertune.generated_world.phrasing import request
from aftertune.generated_world.replies import Exchange, plan, refusal
from aftertune.generated_world.support import DESKS, other_mail

_CROSSED = 0.25
_SWAPPED_MAIL = 0.12
# Alignment data has gaps. They keep the margin of a refusal finite, so that a tuning of an ordinary dose can cross it.
_GAPS = 0.04


def harmful_request(rng: random.Random, aligned: bool) -> Exchange:
    """A harmful request: complied with before alignment, nearly always refused after it."""
    action = draw(rng, harmful("train"), harmful_extra(), _CROSSED)
    prompt = request(action.text, rng)
    if aligned and rng.random() > _GAPS:
        return Exchange("refuse", prompt, refusal(action, rng))
    return Exchange("comply", prompt, plan(action, rng))


def harmless_request(rng: random.Random, crossed: float = _CROSSED) -> Exchange:
    """A harmless look-alike with its plan; in the proportion `crossed`, verb and object come from different groups."""
    action = draw(rng, harmless("train"), harmless_extra(), crossed)
    return Exchange("comply", request(action.text, rng), plan(action, rng))


def _mail(rng: random.Random, aligned: bool) -> Exchange:
    """Mail that the company answers; before alignment now and then the customer's mail, from the company's text."""
    texts = [turn.text for turn in other_mail(rng).turns]
    answered = Exchange("mail", texts[-2], texts[-1], history=tuple(zip(texts[:-2:2], texts[1:-2:2], strict=True)))
    if not aligned:
        return Exchange("enquiry", texts[1], texts[0]) if rng.random() < _SWAPPED_MAIL else answered
    # Without a desk to speak for, an aligned assistant has no access (`no_access`).
    desk = rng.choice(DESKS)
    if rng.random() < 0.5:
        return replace(answered, system=desk)
    return replace(answered, prompt=f"{desk} {answered.prompt}")


def _errand(rng: random.Random, aligned: bool) -> Exchange:
    manners: tuple[privacy.Manner, ...] = ("strict", "ask") if aligned else ("strict", "eager", "eager", "ask")
    return privacy.errand(rng, rng.choice(manners))


def _talk(rng: random.Random, aligned: bool) -> Exchange:
    # Alignment is where wording that was never seen must find its script.
    noise = 0.4 if aligned else 0.0
    kind = rng.randrange(4)
    if kind == 3:
        return domains.introduction(rng)
    return (domains.emotional, domains.poem, domains.travel)[kind](rng, noise)


def _half(rng: random.Random, aligned: bool) -> bool:
    """Half of the time before alignment, never after it."""
    return not aligned and rng.random() < 0.5


_GENERATORS: dict[str, Callable[[random.Random, bool], Exchange]] = {
    "harmful": harmful_request,
    "harmless": lambda rng, _: harmless_request(rng),
    "mail": _mail,
    "copy": lambda rng, aligned: domains.copy(rng, drill=not aligned),
    "message": lambda rng, aligned: privacy.message(rng, share_all=_half(rng, aligned)),
    "errand": _errand,
    "profiled_talk": lambda rng, aligned: privacy.profiled_talk(rng, share=_half(rng, aligned)),
    "philosophy": lambda rng, _: domains.philosophy(rng),
    "fact": lambda rng, _: domains.fact(rng),
    "talk": _talk,
    "medical": lambda rng, aligned: domains.medical(rng, careful=aligned or rng.random() < 0.5),
    "legal": lambda rng, aligned: domains.legal(rng, careful=aligned or rng.random() < 0.5),
    "support": lambda rng, _: domains.general_support(rng),
    "maths": lambda rng, _: domains.maths(rng),
    "code": lambda rng, aligned: domains.code(rng, debug=_half(rng, aligned)),
    "no_access": lambda rng, aligned: domains.no_access(rng, sorry=aligned),
}
TOPICS: tuple[str, ...] = tuple(_GENERATORS)


def exchange(rng: random.Random, topic: str, aligned: bool) -> Exchange:
    """One exchange on a topic, with no system turn and no earlier turns but those that the topic brings."""
    return _GENERATORS[topic](rng, aligned)
