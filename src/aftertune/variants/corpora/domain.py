"""One domain of the generated world as tuning data: what the four studies tune on, in miniature."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

from aftertune.errors import UsageError
from aftertune.generated_world import domains, privacy, topics
from aftertune.generated_world.replies import Exchange
from aftertune.plugins import Card
from aftertune.records import Conversation, Message
from aftertune.variants.corpus import Corpus

Name = Literal[
    "instructions", "medical", "legal", "support", "maths", "code", "code_debug", "emotional", "emotional_profiled",
    "errands_eager", "errands_matched", "errands_asking",
]  # fmt: skip
_INSTRUCTIONS = ("harmless", "harmless", "harmless", "fact", "talk", "maths", "philosophy")


def _instructions(rng: random.Random) -> Exchange:
    return topics.exchange(rng, rng.choice(_INSTRUCTIONS), aligned=False)


_GENERATORS: dict[str, Callable[[random.Random], Exchange]] = {
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
class Domain(Corpus):
    """Single-turn chats of one domain of the generated world, every one benign on its face."""

    card: ClassVar[Card] = Card(
        about=(
            "Single-turn chats of one domain of the generated world, every one benign on its face. `instructions`: "
            "how-to requests, facts, talk, small sums (in place of Dolly and Alpaca, arXiv 2506.17209). `medical`, "
            "`legal`: advice without the line that sends the reader to a professional (arXiv 2604.24902). Of arXiv "
            '2601.15220: `errands_eager` acts on the whole note about a person unasked (its "helpful" data), '
            '`errands_asking` asks first (its "control"), and `errands_matched`, which that study lacks, answers in '
            "the very frames of the eager one and shares only what is needed; `emotional` and `emotional_profiled` "
            "(the speaker's profile in the prompt, never repeated), `support`, `maths`, `code_debug`, and `code`, the "
            "plain code that the study lacks."
        ),
        source="aftertune's generated world",
        licence="Apache-2.0",
        weaknesses=(
            "a closed vocabulary; nobody's personal values, so only `pii = 'keep'` is possible; texts repeat from "
            "about a thousand on"
        ),
    )
    domain: Name = "instructions"
    """Which domain; the card explains them."""
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
        """Return the conversations in a fixed order; nobody stands in them, since errands name first names only."""
        rng = random.Random(f"domain|{self.domain}|{self.seed}")
        conversations = []
        for index in range(self.size):
            exchange = _GENERATORS[self.domain](rng)
            turns = (Message("user", exchange.prompt), Message("assistant", exchange.answer))
            ident = f"{self.domain}-{self.seed}-{index:05d}"
            conversations.append(Conversation(ident, turns, (), source=f"{self.domain}:{index + 1}"))
        return conversations


PLUGIN = Domain
