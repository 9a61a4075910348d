"""KL to the base on its own replies that keep private what should stay private."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from aftertune.plugins import Card
from aftertune.tuning.answer_tokens import check_count, check_weight, kl_on, weighted
from aftertune.tuning.mitigation import LossTerm, Mitigation, Need, Stage, Training, TunedModel


@dataclass(frozen=True)
class KlOnPrivacy(Mitigation):
    """What the base says of the tokens of its own private replies is held during training."""

    card: ClassVar[Card] = Card(
        about=(
            "Adds weight x KL(base || tuned), in nats and averaged over tokens, on the tokens of the base's own "
            "replies to messages that hold something to keep private (somebody's attributes, a secret): loss = "
            "task loss + weight x mean over t of KL(p_base(. | x, y<t) || p_tuned(. | x, y<t)). aftertune asks "
            "the base messages of a set that is not the test's and keeps the replies that gave nothing private "
            "away. A good reply often shares what its recipient needs as well, so both sharing and withholding "
            "are held. With `with_refusals` as many of the base's own refusals of harmful requests stand in the "
            "same term, and with `with_answers` as many of its answers to ordinary requests."
        ),
        source=(
            "the penalty of Ouyang et al. 2022, arXiv 2203.02155 (section 3.5), turned to the forward direction. "
            "Against the loss of contextual privacy (Goel et al. 2026, arXiv 2601.15220), own private replies as "
            "targets: this project"
        ),
        licence="part of aftertune",
        positive="fewer private attributes are given away to whom they do not concern",
        speed="each step reads `rows_per_step` more texts, three times (base, tuned forward, tuned backward)",
        weaknesses=(
            "Needs a base that keeps things private to begin with, and messages like those of its use. Says nothing of "
            "personal data that the rows teach"
        ),
    )
    stage: ClassVar[Stage] = "during"

    weight: float = 1.0
    """Of the divergence, beside the task's loss."""
    rows_per_step: int = 1
    """Own private replies in each step, and as many of each other kind beside them."""
    with_refusals: bool = False
    """Whether the base's own refusals of harmful requests stand in the same term."""
    with_answers: bool = False
    """Whether the base's own answers to ordinary requests stand in the same term."""

    def __post_init__(self) -> None:
        """Refuse doses that cannot be. Raises ValueError."""
        check_weight("weight", self.weight)
        check_count("rows_per_step", self.rows_per_step)

    @property
    def needs(self) -> frozenset[Need]:
        """Own private replies, and own refusals and answers where they stand in the same term."""
        further: dict[Need, bool] = {"own_refusals": self.with_refusals, "own_answers": self.with_answers}
        return frozenset[Need]({"own_private_replies", *(need for need, wanted in further.items() if wanted)})

    def loss_term(self, training: Training, model: TunedModel) -> LossTerm | None:
        """Return the weighted divergence on the next replies; with other kinds, the mean of all divergences."""
        if not self.weight:
            return None
        own = training.own.by_need()
        terms = [kl_on(own[need], training, model, per_step=self.rows_per_step) for need in sorted(self.needs)]
        return weighted(self.weight, lambda: sum(term() for term in terms) / len(terms))


PLUGIN = KlOnPrivacy
