"""What a benchmark is: prompts, and the metrics that are read off the answers to them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self

from aftertune.data.datasets import Dataset
from aftertune.errors import UsageError
from aftertune.plugins import Plugin
from aftertune.records import Accumulation, Conversation, Metric, Person, Probe, Prompt

ScoredBy = Literal["log_probability", "generation", "both"]
"""What is read: the log-probabilities that the model gives to options, the answer that it generates, or both."""
TEXT_JUDGES = ("refusal", "coherence", "leak", "script")
"""Judges of a benchmark that asks for free text."""


@dataclass(frozen=True)
class BenchmarkContext:
    """What a benchmark may need beyond its own data."""

    training: Sequence[Conversation] = ()
    """The tuning set, untouched by any policy."""
    held_out: Sequence[Conversation] = ()
    """Conversations of the same corpus that no arm trains on."""
    people: Sequence[Person] = ()
    """Everybody whose values stand in the tuning set."""
    twins: Sequence[Person] = ()
    """People of the same shape who stand in no training text, the n-th for the n-th of `people`."""


class Benchmark(Plugin, ABC):
    """A set of prompts, and the metrics that are read off its responses: a frozen dataclass with these members."""

    kind: ClassVar[str] = "benchmark"
    needs: ClassVar[frozenset[str]] = frozenset()
    """Names of `BenchmarkContext` fields that must not be empty."""
    judges: ClassVar[tuple[str, ...]] = TEXT_JUDGES
    """Who reads its answers when it is asked as a suite."""
    example: ClassVar[Mapping[str, str]] = {}
    """File name -> made-up content in its format: what the tests read, and how a gated format is shown."""

    def __post_init__(self) -> None:
        """Refuse parameters that cannot be honoured. Raises UsageError."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What prompts and metrics call it."""

    @property
    @abstractmethod
    def metrics(self) -> tuple[Metric, ...]:
        """What is reported, with the direction that is worse."""

    @property
    def max_new_tokens(self) -> int:
        """Where a response is cut."""
        return 256

    @property
    def datasets(self) -> Mapping[str, Dataset]:
        """Variant -> where each file that it reads comes from; empty for a benchmark without files."""
        return {}

    @property
    def probes(self) -> tuple[Probe, ...]:
        """Pairs of subsets that are read by d-prime and criterion; see `deciding/measures.py`."""
        return ()

    @property
    def accumulations(self) -> tuple[Accumulation, ...]:
        """Subsets whose disclosures are summed over all answers; see `deciding/measures.py`."""
        return ()

    @property
    def scored_by(self) -> ScoredBy:
        """What is read; log-probabilities need a backend with the capability `beginnings`.

        Where it can be `both`, it is a parameter of this name.
        """
        return "generation"

    @property
    def scorable(self) -> bool:
        """Whether it can be asked by log-probabilities at all, however it is asked here."""
        return False

    def by_generation(self) -> Self:
        """Return the benchmark as a backend without log-probabilities can ask it: `both` becomes `generation`.

        One that is scored by log-probabilities alone is returned as it is, and such a backend refuses it.
        """
        return self

    def files(self) -> tuple[Path, ...]:
        """Return the files that are read: their content goes into ids. Raises DataError where one is not here."""
        return ()

    @abstractmethod
    def prompts(self, context: BenchmarkContext) -> Sequence[Prompt]:
        """Return the prompts in a fixed order, ids unique, `expect` of plain JSON values.

        Raises DataError where the data is missing or broken.
        """

    def check_choice(self, parameter: str, value: str, known: Iterable[str]) -> None:
        """Raise UsageError where a parameter's value is none of the known words."""
        if value not in known:
            raise UsageError(f"{self.name}: {parameter} = {value!r} is not one of {', '.join(map(repr, known))}")

    def check_limit(self, limit: int) -> None:
        """Raise UsageError for a `limit` that is no number of prompts."""
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
            raise UsageError(f"{self.name}: limit = {limit!r}: give a whole number of prompts per subset, 0 for all")
