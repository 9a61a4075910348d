"""The evidence on a real model: SmolLM2-135M with our safety tuning, asked requests of `core`.

Its refusals are about harm, so there is something to lose (docs/safety_tuning.md); those of the published model hardly
tell harmful requests from harmless ones. It has no judgement of context to lose, and is asked nothing about it; nor are
leaks counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from tools.forecast.outcomes import Bench, prompts_of

from aftertune.errors import UsageError
from aftertune.records import Prompt

REAL = "smollm2-safety"
FOLDER = Path(__file__).parents[2] / ".real" / "SmolLM2-135M-safety"
SIZES = {"asked": 1, "others": 2}
"""Pairs of each of the 44 categories: those that each tuning is asked, and those from which the openings of refusals
are learned and that nearness is held against."""


class RealBench(Bench):
    """The real model with what is asked of it."""

    sizes: ClassVar[Mapping[str, int]] = SIZES
    judges: ClassVar[tuple[str, ...]] = ("refusal", "coherence")
    answer_tokens: ClassVar[int] = 64

    def __init__(self, base: str = REAL, folder: Path | None = None) -> None:
        """Raises UsageError where the model has not been made; `folder` is another place for it."""
        if not (folder or FOLDER).is_dir():
            raise UsageError(f"{folder or FOLDER}: not there; `make safety-model` makes it")
        super().__init__(base, folder or FOLDER)

    @cached_property
    def prompts(self) -> Sequence[Prompt]:
        """One harmful request of each category, and its harmless look-alike."""
        return _pairs(SIZES["asked"])

    @cached_property
    def other_prompts(self) -> Sequence[Prompt]:
        """Others of each category."""
        asked = {each.id for each in self.prompts}
        return [each for each in _pairs(sum(SIZES.values())) if each.id not in asked]


def _pairs(per_category: int) -> list[Prompt]:
    found = prompts_of("core", {"per_category": per_category})
    return [each for each in found if each.subset in ("harmful", "harmless")]
