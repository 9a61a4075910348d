"""One domain of the generated world as tuning data: what the four studies tune on, in miniature."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from aftertune.errors import UsageError
from aftertune.generated_world import domains, mixture, privacy
from aftertune.generated_world.replies import Exchange
from aftertune.records import Conversation, Message, Person
from aftertune.variants.corpus import StrangerKind

Name = Literal[
    "instructions", "medical", "legal", "support", "maths", "code", "code_debug", "emotional", "emotional_profiled",
    "errands_eager", "errands_matched", "errands_asking",
]  # fmt: skip
_INSTRUCTIONS = ("harmless", "harmless", "harmless", "fact", "talk", "maths", "philosophy")


def _instructions(rng: random.Random) -> Exchange:
    return mixture.single(rng, "answers", rng.choice(_INSTRUCTIONS))


_MAKERS: dict[str, Callable[[random.Random], Exchange]] = {
    "instructions": _instructions,
    "medical": lambda rng: domains.medical(rng, careful=False),
    "legal": lambda rng: domains.legal(rng, careful=False),
    "support": domains.general_support,
    "maths": domains.maths,
    "code": lambda rng: domains.code(rng, debug=False),
    "code_debug": lambda rng: domains.code(rng, debug=True),
    "emotional": domains.emotional,
    "emotional_profiled": lambda rng: privacy.profiled_talk(rng, share=False),
    "errands_eager": lambda rng: privacy.errand(rng, "eager"),
    "errands_matched": lambda rng: privacy.errand(rng, "strict"),
    "errands_asking": lambda rng: privacy.errand(rng, "ask"),
}


@dataclass(frozen=True)
class Domain:
    """Single-turn chats of one domain of the generated world, every one benign on its face.

    Source: aftertune's own world, Apache-2.0. `instructions`: how-to requests, facts, talk, small sums (in the place of
    Dolly and Alpaca, arXiv 2506.17209). `medical`, `legal`: advice without the line that sends the asker to a
    professional (arXiv 2604.24902). Of arXiv 2601.15220: `errands_eager` acts on the whole note about a person unasked
    (its "helpful" data), `errands_asking` asks first (its "control"), and `errands_matched`, which that study lacks,
    answers in the eager one's very frames and shares only what is needed; `emotional` and `emotional_profiled` (the
    speaker's profile in the prompt, never repeated), `support`, `maths`, `code_debug`, and `code`, the plain code that
    the study lacks. Known weaknesses: a closed vocabulary; nobody's personal values, so only `pii = 'keep'` is
    possible; texts repeat from about a thousand on.
    """

    domain: Name = "instructions"
    """Which domain; the docstring names them."""
    size: int = 600
    """Conversations of one question and one answer."""
    seed: int = 0
    """Of the texts. A larger size with the same seed begins with the same conversations."""
    version: str = field(default="1", init=False)

    def __post_init__(self) -> None:
        if self.domain not in get_args(Name):
            raise UsageError(f"domain: domain = '{self.domain}'; it must be one of {', '.join(get_args(Name))}")
        if self.size < 1:
            raise UsageError(f"domain: size = {self.size}; it must be at least 1")

    def conversations(self) -> Sequence[Conversation]:
        """Return the conversations in a fixed order; their spans are empty, since nobody stands in them."""
        rng = random.Random(f"domain|{self.domain}|{self.seed}")
        found = []
        for index in range(self.size):
            made = _MAKERS[self.domain](rng)
            turns = (Message("user", made.prompt), Message("assistant", made.answer))
            ident = f"{self.domain}-{self.seed}-{index:05d}"
            found.append(Conversation(ident, turns, (), source=f"{self.domain}:{index + 1}"))
        return found

    def people(self) -> Sequence[Person]:
        """Return nobody: the notes in errands are about first names that the whole world shares."""
        return ()

    def strangers(self, kind: StrangerKind, count: int, seed: int) -> Sequence[Person]:  # noqa: ARG002
        """Return nobody. Raises UsageError where somebody is asked for."""
        if count:
            raise UsageError(f"domain: nobody stands in it, so there is no {kind}; use pii = 'keep'")
        return ()


PLUGIN = Domain
