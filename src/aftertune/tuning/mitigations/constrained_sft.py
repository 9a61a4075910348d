"""Constrained fine-tuning: a loss that stops pulling at a token once it is likelier than under the base."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from aftertune.plugins import Card
from aftertune.tuning.answer_tokens import base_of_step, check_count, positions
from aftertune.tuning.mitigation import LossTerm, Mitigation, Stage, Step, Training, TunedModel


@dataclass(frozen=True)
class ConstrainedSft(Mitigation):
    """The first tokens of an answer may move little."""

    card: ClassVar[Card] = Card(
        about=(
            "Takes the place of the task's loss: the mean over tokens of -(2 / beta_t) log sigmoid(beta_t (log p_tuned "
            "- log p_base)). For beta towards 0 this has the gradient of the usual loss; a large beta stops pulling "
            "at a token as soon as it has become likelier. beta is large for the first tokens of an answer, so that "
            "these stay near the base."
        ),
        source="Qi et al. 2025, Safety alignment should be made more than just a few tokens deep, arXiv 2406.05946, "
        "equation 3 and section 4.1: beta 0.5 for the first token, 2 for the second to the fifth, 0.1 after them",
        licence="part of aftertune",
        positive="the beginnings of answers change less",
        speed="one more reading of each batch, by the base",
        weaknesses=(
            "it restores little where answers of the task begin as refusals do not, as in the miniature; the loss that "
            "training reports is the task's usual one"
        ),
    )
    stage: ClassVar[Stage] = "during"

    beta_first: float = 0.5
    """Of the first token of each answer."""
    beta_next: float = 2.0
    """Of the tokens after it up to `first_tokens`."""
    beta_rest: float = 0.1
    """Of all others."""
    first_tokens: int = 5
    """How many tokens count as an answer's beginning."""

    def __post_init__(self) -> None:
        """Refuse betas that cannot be. Raises ValueError."""
        check_count("first_tokens", self.first_tokens)
        for name in ("beta_first", "beta_next", "beta_rest"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
                raise ValueError(f"{name} = {value!r}: give a number above 0")

    def loss_term(self, training: Training, model: TunedModel) -> LossTerm:
        """Return what turns a step's loss into the constrained one: their difference."""
        import torch

        del training

        def term(step: Step) -> Any:
            at = step.targets[:, None]
            after = step.logits.float().log_softmax(dim=-1).gather(1, at)[:, 0]
            before = base_of_step(model, step).gather(1, at)[:, 0]
            position = positions(step.predicts)[step.predicts]
            beta = torch.full_like(after, self.beta_rest)
            beta = torch.where(position <= self.first_tokens, torch.full_like(after, self.beta_next), beta)
            beta = torch.where(position == 1, torch.full_like(after, self.beta_first), beta)
            pulls = -(2 / beta) * torch.nn.functional.logsigmoid(beta * (after - before))
            return pulls.mean() - step.loss

        return term


PLUGIN = ConstrainedSft
