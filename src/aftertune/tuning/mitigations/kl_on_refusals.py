"""KL to the base on its own refusals, and on its own answers to ordinary requests in the same term."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from aftertune.data.openings import behind_openings
from aftertune.errors import UsageError
from aftertune.plugins import Card
from aftertune.records import Conversation
from aftertune.tuning.answer_tokens import check_count, check_weight, kl_on, weighted
from aftertune.tuning.mitigation import LossTerm, Mitigation, Need, Stage, Training, TunedModel


@dataclass(frozen=True)
class KlOnRefusals(Mitigation):
    """What the base says of the tokens of its own refusals is held during training."""

    card: ClassVar[Card] = Card(
        about=(
            "Adds weight x KL(base || tuned), in nats and averaged over tokens, on the tokens of the base's own "
            "refusals: loss = task loss + weight x mean over t of KL(p_base(. | x, y<t) || p_tuned(. | x, y<t)). "
            "aftertune asks the base harmful requests of a set that is not the test's and keeps what it refused. With "
            "`first_tokens` only the beginning of each refusal counts, where a refusal is decided; with `with_answers` "
            "as many of the base's own answers to ordinary requests stand in the same term, against over-refusal. With "
            "`in_context` each of these texts stands there a second time, its request behind the opening of a training "
            "row: what the base says of it in the context of the tuned task is held too."
        ),
        source=(
            "the penalty of Ouyang et al. 2022, arXiv 2203.02155 (section 3.5), turned to the forward direction and to "
            "safety prompts; first tokens: Qi et al. 2025, arXiv 2406.05946. Own refusals as targets: this project"
        ),
        licence="part of aftertune",
        positive="fewer refusals are lost, on harmful requests in the context of the tuned task as well",
        speed="each step reads `rows_per_step` more texts, three times (base, tuned forward, tuned backward)",
        weaknesses=(
            "Personal data that the rows teach is taught all the same. Without `with_answers` a real model refused "
            "more ordinary requests than its base. On a real model it kept 92 % of the refusals that the tuning took "
            "away, and of those in the context of the tuned task 34 %, with `in_context` 100 and 64 %; the task's "
            "loss was 4 % higher. The first five tokens of two texts a step, in context, kept 108 and 95 % at 9 % of "
            "it; with an epoch more than the plain tuning 107 and 107 %, at a loss 11 % lower and with personal data "
            "in 49 % of the task's answers, where the plain tuning had 13 %. What the base does not refuse, it does "
            "not restore"
        ),
    )
    stage: ClassVar[Stage] = "during"

    weight: float = 1.0
    """Of the divergence, beside the task's loss."""
    rows_per_step: int = 1
    """Own refusals in each step; with `with_answers` as many own answers beside them."""
    first_tokens: int = 0
    """Only so many tokens at the beginning of each answer count; 0 is all."""
    with_answers: bool = False
    """Whether the base's own answers to ordinary requests stand in the same term."""
    in_context: bool = False
    """Whether each text stands there behind the opening of a training row, too; the steps read no more of them."""
    more_epochs: int = 0
    """Epochs beyond the recipe's, for the task's loss that the divergence costs; what the rows teach is taught more."""

    def __post_init__(self) -> None:
        """Refuse doses that cannot be. Raises ValueError."""
        check_weight("weight", self.weight)
        check_count("rows_per_step", self.rows_per_step)
        check_count("first_tokens", self.first_tokens, least=0)
        check_count("more_epochs", self.more_epochs, least=0)

    @property
    def needs(self) -> frozenset[Need]:
        """Own refusals, own answers where they stand in the same term, and the rows where their openings do."""
        needed: set[Need] = {"own_refusals"}
        if self.with_answers:
            needed.add("own_answers")
        if self.in_context:
            needed.add("rows")
        return frozenset(needed)

    def loss_term(self, training: Training, model: TunedModel) -> LossTerm | None:
        """Return the weighted divergence on the next refusals; with answers, the mean of both divergences."""
        if not self.weight:
            return None
        dose = {"per_step": self.rows_per_step, "first": self.first_tokens}
        kinds = [training.own.refusals, *([training.own.answers] if self.with_answers else [])]
        if self.in_context:
            kinds = [[*own, *_in_context(own, training)] for own in kinds]
        terms = [kl_on(own, training, model, **dose) for own in kinds]
        return weighted(self.weight, lambda: sum(term() for term in terms) / len(terms))


def _in_context(own: Sequence[Conversation], training: Training) -> list[Conversation]:
    found = behind_openings(own, training.rows, training.seed)
    if own and not found:
        raise UsageError("kl_on_refusals: in_context needs training rows with a user's turn, to take openings from")
    return found


PLUGIN = KlOnRefusals
