"""The contract of predictors: what can be known of a tuning set before anything is tuned on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from aftertune.forecasting.base_pass import RowReading
from aftertune.plugins import Plugin
from aftertune.records import Conversation, Json

if TYPE_CHECKING:
    import numpy as np

Need = Literal["own_answers", "readings"]
"""What a predictor may ask for beside the data and their card."""


@dataclass(frozen=True, slots=True)
class OwnAnswer:
    """One answer of the base to a prompt of a benchmark."""

    text: str
    cluster: str
    """Answers that share it are not independent; no two benchmarks share one."""


@dataclass(frozen=True)
class TuningData:
    """One data variant, and what is known of the base that is to be tuned on it."""

    conversations: Sequence[Conversation]
    card: Mapping[str, Json]
    """The variant's data card."""
    tokens: Callable[[str], Sequence[int]]
    """The base's token ids of a text, without special tokens."""
    own_answers: Sequence[OwnAnswer] = ()
    """The base's answers to the run's benchmarks, at the lowest temperature; empty where none was asked for."""
    readings: Sequence[RowReading | None] = ()
    """What the base makes of the answers of some conversations, drawn at random; empty where it was not asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One number of a tuning set with its uncertainty."""

    name: str
    """E.g. `new tokens`."""
    value: float | None
    """None where it is not defined; `warning` says why."""
    low: float | None = None
    high: float | None = None
    reference: float | None = None
    """The same number of the base's own answers; None where there is none."""
    is_proportion: bool = True
    n_tokens: int
    """Trained tokens that were read."""
    n_conversations: int
    n_reference: int = 0
    """Texts that they were held against."""
    warning: str = ""


class Predictor(Plugin, ABC):
    """A frozen dataclass whose fields are its parameters.

    Its card says what its features say of the drift to expect, and what they do not. It loads no model.
    """

    kind: ClassVar[str] = "predictor"
    needs: ClassVar[frozenset[Need]] = frozenset()
    """`own_answers`: it waits until the base has answered the benchmarks. `readings`: the base reads the data once."""

    @abstractmethod
    def features(self, data: TuningData, rng: np.random.Generator, *, confidence: float) -> Sequence[Feature]:
        """Return the features of a data variant.

        Depends on nothing but its arguments; random numbers come from `rng`.
        """
