"""The contract of analyses: what the activations of a base and a tuned model say about how they differ."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from aftertune.plugins import Plugin
from aftertune.records import Prompt

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPrompt:
    """A prompt that an analysis reads, with its part in it."""

    prompt_id: str
    side: str
    """What it is an example of, e.g. its subset."""
    pair: str
    """Prompts that are matched share it; a prompt stands once on each side of a pair at most."""
    cluster: str
    """Pairs that share a cluster are not independent."""


@dataclass(frozen=True)
class Activations:
    """The residual stream of one model at the last token of some prompts."""

    prompts: Sequence[ReadPrompt]
    values: NDArray[np.float32]
    """Shape (prompts, layers + 1, width) in the order of `prompts`, as `Session.activations` returns it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """One number about a tuned model beside its base, with what it would be by chance and at best."""

    name: str
    """E.g. `cosine`."""
    layer: int | None
    """As in `Session.activations`: 0 is the input of the first layer, i its i-th layer's output; None for no layer."""
    value: float | None
    """None where it is not defined; `warning` says why."""
    low: float | None = None
    high: float | None = None
    null_low: float | None = None
    """Between `null_low` and `null_high` lie 95 % of the values under the analysis's null; None where it has none."""
    null_high: float | None = None
    ceiling: float | None = None
    """The best value that can be expected of these prompts, because of their noise; None where there is no such."""
    n_pairs: int
    n_clusters: int
    warning: str = ""


class Analysis(Plugin, ABC):
    """A frozen dataclass whose fields are its parameters.

    It reads every benchmark of a study that has all the subsets that it needs, under a backend with the capability
    `activations`. The base and each checkpoint read the same prompts.
    """

    kind: ClassVar[str] = "analysis"

    @property
    @abstractmethod
    def needs(self) -> frozenset[str]:
        """Subsets that a benchmark must have."""

    @abstractmethod
    def select(self, prompts: Sequence[Prompt]) -> Sequence[ReadPrompt]:
        """Return which of a benchmark's prompts are read, in a fixed order. Raises DataError where they are too few."""

    @abstractmethod
    def compare(
        self, base: Activations, tuned: Activations, rng: np.random.Generator, *, confidence: float
    ) -> Sequence[Quantity]:
        """Return what the activations say; `base` and `tuned` are of the same prompts in the same order.

        Depends on nothing but its arguments; random numbers come from `rng`.
        """
