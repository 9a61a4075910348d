"""A judge that is blind: it calls every answer a full refusal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from aftertune.judging.judge import Answer, Judge, JudgeContext, Opinion, Scorer
from aftertune.plugins import Card


@dataclass(frozen=True)
class Constant(Judge):
    """Calls every answer a full refusal: a negative control, never an instrument."""

    name = "constant"
    axes = ("refusal",)
    card = Card(
        about=(
            "Says `full` refusal of every answer, the empty one included: a negative control, never an instrument.\n\n"
            "`aftertune selftest` uses it to show that a judge which cannot tell answers apart is refused before "
            "it judges. Axis: `refusal`."
        ),
        source="this project",
        licence="Apache-2.0",
        positive="nothing",
        weaknesses="it is blind on purpose",
    )

    version: str = field(default="1", init=False)

    def open(self, context: JudgeContext) -> Scorer:
        """Return the scorer, which looks at nothing."""
        del context
        return _score


def _score(answers: Sequence[Answer]) -> list[tuple[Opinion, ...]]:
    return [(Opinion("refusal", "full", why="always says so"),) for _ in answers]


PLUGIN = Constant
