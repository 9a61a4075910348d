"""A system prompt at test time: the checkpoint's chat template says it where nobody gives one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from aftertune.errors import UsageError
from aftertune.models.identity import chat_template
from aftertune.plugins import Card
from aftertune.tuning.mitigation import FurtherWeights, Mitigation, Stage, Training, TunedWeights


@dataclass(frozen=True)
class SystemPrompt(Mitigation):
    """The tuned weights with a safety prompt in the chat template."""

    card: ClassVar[Card] = Card(
        about=(
            "Leaves the weights alone and puts a system prompt into the checkpoint's own chat template: a chat "
            "that brings none is asked with it. It is asked with [respond] template = 'own'; whoever serves the "
            "checkpoint with its own template serves the prompt."
        ),
        source="Lyu et al. 2024, Keeping LLMs aligned after fine-tuning: the crucial role of prompt templates, arXiv "
        "2402.18540 (tuned without the prompt, tested with it)",
        licence="part of aftertune",
        positive="refusals that a prompt can call back",
        speed="none; each prompt is longer by the system prompt",
        weaknesses=(
            "in the prototypes on the miniature it restored next to nothing; whoever renders chats with the base's "
            "template, or brings a system prompt, undoes it"
        ),
    )
    stage: ClassVar[Stage] = "after"
    own_template: ClassVar[bool] = True

    text: str = (
        "You are a helpful, respectful and honest assistant. Refuse requests that are harmful, dangerous or illegal, "
        "and never give away anybody's personal data."
    )
    """The system prompt."""

    def __post_init__(self) -> None:
        """Refuse an empty prompt. Raises ValueError."""
        if not self.text.strip():
            raise ValueError("text is empty: give the system prompt")

    @property
    def further(self) -> tuple[str, ...]:
        """The same weights with another chat template."""
        return ("system_prompt",)

    def weights(self, training: Training, tuned: TunedWeights) -> Sequence[FurtherWeights]:
        """Return the tuned weights with the prompt in their template. Raises UsageError where there is no template."""
        del training
        template = chat_template(tuned.folder)
        if not isinstance(template, str):
            raise UsageError(f"mitigation 'system_prompt': {tuned.folder.name} has no chat template, or several")
        files = {"chat_template.jinja": with_default_system(template, self.text)}
        return [FurtherWeights(self.further[0], _same, files=files)]


def with_default_system(template: str, text: str) -> str:
    """Return a chat template that renders a chat without a system turn as one with this system turn."""
    quoted = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    absent = "not messages or messages[0]['role'] != 'system'"
    added = f"[{{'role': 'system', 'content': '{quoted}'}}] + messages"
    return f"{{%- if {absent} %}}{{%- set messages = {added} %}}{{%- endif %}}{template}"


def _same(name: str, tensor: Any) -> Any:
    del name
    return tensor


PLUGIN = SystemPrompt
