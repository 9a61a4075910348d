"""What a benchmark is: prompts, and the metrics that are read off the answers to them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from aftertune.data.datasets import Dataset
from aftertune.plugins import Plugin
from aftertune.records import Conversation, Metric, Person, Prompt

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


@dataclass(frozen=True, slots=True)
class Probe:
    """Prompts of two classes that are read by signal detection: should the model share, or withhold?"""

    name: str
    """E.g. `vignette`: the measures are called `d-prime, vignette` and `criterion, vignette`."""
    share: str
    """Subset whose right answer is to share."""
    withhold: str
    """Subset whose right answer is to withhold."""


@dataclass(frozen=True, slots=True)
class Accumulation:
    """Private attributes that count once however often they are given away."""

    subset: str
    """Whose answers are read."""
    measure: Literal["violation", "leak rate"]
    """`violation`: per profile, the share of private attributes ever revealed (CIMemories). `leak rate`: over all
    replies, and over those that act (PrivacyLens)."""


class Benchmark(Plugin, ABC):
    """A set of prompts, and the metrics that are read off its responses: a frozen dataclass with these members."""

    kind: ClassVar[str] = "benchmark"
    needs: ClassVar[frozenset[str]] = frozenset()
    """Names of `BenchmarkContext` fields that must not be empty."""
    max_new_tokens: ClassVar[int] = 256
    """Where a response is cut."""
    judges: ClassVar[tuple[str, ...]] = TEXT_JUDGES
    """Who reads its answers when it is asked as a suite."""
    datasets: ClassVar[Mapping[str, Dataset]] = {}
    """Variant -> where each file that it reads comes from; empty for a benchmark without files."""
    example: ClassVar[Mapping[str, str]] = {}
    """File name -> made-up content in its format, by which the tests read it and gated formats are shown."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What prompts and metrics call it."""

    @property
    @abstractmethod
    def metrics(self) -> tuple[Metric, ...]:
        """What is reported, with the direction that is worse."""

    @property
    def probes(self) -> tuple[Probe, ...]:
        """Pairs of subsets that are read by d-prime and criterion; see `deciding/measures.py`."""
        return ()

    @property
    def accumulations(self) -> tuple[Accumulation, ...]:
        """Subsets that are read by what was ever given away; see `deciding/measures.py`."""
        return ()

    @property
    def scored_by(self) -> Literal["generation", "logprobs", "both"]:
        """Whether prompts ask for answers, for the log-probabilities of options (the backend needs the capability
        `beginnings`), or for both."""
        return "generation"

    @property
    def scorable(self) -> bool:
        """Whether it can be asked by log-probabilities at all, however it is asked here."""
        return False

    def by_generation(self) -> Benchmark:
        """Return the same benchmark asked by generation alone, for a backend without log-probabilities."""
        return self

    def files(self) -> tuple[Path, ...]:
        """Return the files that are read: their content goes into ids. Raises DataError where one is not here."""
        return ()

    @abstractmethod
    def prompts(self, context: BenchmarkContext) -> Sequence[Prompt]:
        """Return the prompts in a fixed order, ids unique. Raises DataError where the data is missing or broken."""
