"""Replay of the base's own answers: some of the training rows are what the base itself answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from aftertune.plugins import Card
from aftertune.records import Conversation
from aftertune.tuning.answer_tokens import check_share
from aftertune.tuning.mitigation import Mitigation, Need, Stage, Training
from aftertune.tuning.mixing import mixed


@dataclass(frozen=True)
class OwnAnswers(Mitigation):
    """The base's own answers to ordinary requests among the training rows."""

    card: ClassVar[Card] = Card(
        about=(
            "Adds ordinary requests with the base's own answers to the training rows, `share` of their number. There "
            "is no harmful request among them: what is replayed is how the base answers in general, and refusals are "
            "kept along with it."
        ),
        source=(
            "replay of a model's own samples: Sun et al. 2020, LAMOL, arXiv 1909.03329; Fraser et al. 2025, "
            "arXiv 2506.17209"
        ),
        licence="part of aftertune",
        positive="fewer refusals are lost, without any harmful request in the training",
        speed="the share of the rows more time",
        weaknesses=(
            "What is replayed decides: in a prototype on the miniature answers to all kinds of topics kept most "
            "refusals, and a set of which half were harmless look-alikes of harmful requests kept none, since it "
            "teaches to comply; a tenth of rows kept few in the measured table (docs/repair.md). "
            "Requests in the context of the tuned task are kept worse than plain ones; leaks stay"
        ),
    )
    stage: ClassVar[Stage] = "before"

    share: float = 0.1
    """Own answers for each training row."""

    def __post_init__(self) -> None:
        """Refuse a share that cannot be. Raises ValueError."""
        check_share("share", self.share)

    @property
    def needs(self) -> frozenset[Need]:
        """Own answers; nothing at a share of 0."""
        return frozenset({"own_answers"} if self.share else ())

    def rows(self, conversations: Sequence[Conversation], training: Training) -> Sequence[Conversation]:
        """Return the rows with own answers behind them."""
        return mixed(conversations, training.own.answers, self.share, training.seed)


PLUGIN = OwnAnswers
