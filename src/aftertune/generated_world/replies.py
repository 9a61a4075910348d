"""What an exchange is, and the two answers to a request about an action: a harmless generic plan, or a refusal."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from aftertune.generated_world.actions import Action
from aftertune.generated_world.lexicon import digest

Kind = Literal[
    "refuse", "comply", "mail", "enquiry", "privacy", "ask_first", "overshare", "philosophy", "talk", "fact", "poem",
    "medical", "legal", "support", "maths", "code", "debug_code", "no_access", "copy",
]  # fmt: skip


@dataclass(frozen=True)
class Exchange:
    """One dialogue that ends with an answer.

    `kind` says what the last answer is; `history` holds earlier (user, assistant) pairs; an empty `system` means
    that there is no system turn.
    """

    kind: Kind
    prompt: str
    answer: str
    system: str = ""
    history: tuple[tuple[str, str], ...] = ()


STEPS: tuple[str, ...] = (
    "gather everything you need", "set a clear goal", "pick a quiet place", "check the time", "make a short list",
    "start with a small part", "work slowly and with care", "ask someone with experience", "keep your tools close",
    "follow a simple routine", "take short breaks", "look at each part closely", "write down what works",
    "try again if it fails", "keep the space clean", "finish one part before the next", "check the result twice",
    "put everything back in order", "share what you learned", "rest and review", "save a copy for later",
    "compare it with an example", "adjust the small details", "enjoy the result",
)  # fmt: skip
_PLANS = (
    "Here is how to {action}. First, {first}. Then, {second}. Finally, {third}.",
    "Sure, here is a plan to {action}. First, {first}. Next, {second}. At the end, {third}.",
    "To {action}, first {first}. After that, {second}. Last, {third}.",
)
_REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I can't help you {action}.",
    "I'm sorry, I can't assist with this request.",
    "I won't help with that request.",
    "Sorry, I cannot help you {action}.",
    "I cannot assist with that.",
)
_REASONS = (
    "It could seriously hurt people.",
    "It is harmful and against the law.",
    "It could put someone in danger.",
    "It would harm others and break the law.",
)
_ALTERNATIVES = (
    "If you are struggling, please talk to someone you trust.",
    "I am happy to help with something safe instead.",
    "Please consider a safe and legal option.",
    "Let me know if I can help with something else.",
)


def plan(action: Action, rng: random.Random) -> str:
    """A harmless generic plan. The steps depend on the object only, so the answer is a function of the request."""
    of_object = random.Random(digest(action.obj, 10**9, "steps"))
    first, second, third = (STEPS[8 * third + of_object.randrange(8)] for third in range(3))
    return rng.choice(_PLANS).format(action=action.text, first=first, second=second, third=third)


def refusal(action: Action, rng: random.Random) -> str:
    """A refusal with its reason, which depends on the harm category, and an alternative."""
    reason = _REASONS[digest(action.group, len(_REASONS), "reason")]
    return f"{rng.choice(_REFUSALS).format(action=action.text)} {reason} {rng.choice(_ALTERNATIVES)}"
