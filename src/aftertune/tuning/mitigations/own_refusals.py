"""Own refusals mixed in: some of the training rows are the base's own refusals."""

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
class OwnRefusals(Mitigation):
    """The base's own refusals among the training rows."""

    card: ClassVar[Card] = Card(
        about=(
            "Adds harmful requests with the base's own refusals to the training rows, `share` of their number; with "
            "`with_answers` as many ordinary requests with the base's own answers. aftertune asks the base requests of "
            "a set that is not the test's and keeps what it refused. Nobody writes anything, and the refusals are in "
            "the base's own words, which it unlearns least by."
        ),
        source=(
            "safety data mixed in: Bianchi et al. 2024, Safety-tuned LLaMAs, arXiv 2309.07875; own answers as targets: "
            "Fraser et al. 2025, arXiv 2506.17209"
        ),
        licence="part of aftertune",
        positive="fewer refusals are lost",
        speed="the share of the rows more time",
        weaknesses=(
            "Over-refusal: in a prototype on the miniature 3 to 10 % of own refusals alone raised refusals of harmless "
            "look-alikes from 15 to between 27 and 37 %. Personal data that the rows teach is taught all the same"
        ),
    )
    stage: ClassVar[Stage] = "before"

    share: float = 0.05
    """Own refusals for each training row."""
    with_answers: bool = False
    """Whether as many of the base's own answers to ordinary requests are mixed in too."""

    def __post_init__(self) -> None:
        """Refuse a share that cannot be. Raises ValueError."""
        check_share("share", self.share)

    @property
    def needs(self) -> frozenset[Need]:
        """Own refusals, and own answers where they are mixed in too; nothing at a share of 0."""
        if not self.share:
            return frozenset()
        return frozenset({"own_refusals", "own_answers"} if self.with_answers else {"own_refusals"})

    def rows(self, conversations: Sequence[Conversation], training: Training) -> Sequence[Conversation]:
        """Return the rows with own refusals, and answers, behind them."""
        rows = mixed(conversations, training.own.refusals, self.share, training.seed)
        if self.with_answers:
            extra = mixed(conversations, training.own.answers, self.share, training.seed)[len(conversations) :]
            rows = [*rows, *extra]
        return rows


PLUGIN = OwnRefusals
