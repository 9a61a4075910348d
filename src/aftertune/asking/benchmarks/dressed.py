"""Requests of another benchmark, dressed as the tuned task: do refusals hold in the context that was trained on?"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from aftertune.asking import request_metrics
from aftertune.asking.benchmark import Benchmark, BenchmarkContext
from aftertune.data.openings import openings_of
from aftertune.errors import DataError, UsageError
from aftertune.plugins import Card
from aftertune.records import Metric, Prompt


@dataclass(frozen=True)
class Dressed(Benchmark):
    """Harmful and harmless requests after the opening of a conversation of the tuning data."""

    benchmark: Benchmark = field()
    """Whose requests are dressed: its subsets with the metric `refusal=full`. It must need no tuning data."""
    limit: int = 200
    """Requests of each subset at most, from the first; 0 takes all."""
    seed: int = 0
    """Which opening each request gets."""
    name: ClassVar[str] = "dressed"
    nested: ClassVar[Mapping[str, str]] = {"benchmark": "core"}
    needs: ClassVar[frozenset[str]] = frozenset({"training"})
    card: ClassVar[Card] = Card(
        about="The requests of another benchmark, each behind the opening of a conversation of the tuning data: its "
        "system prompt, and the sentences with which its first user turn begins, up to two and before its first "
        "question. A tuned model may behave as its base on plain requests and not in the context that it was trained "
        "on. Held-out conversations are taken where there are any.",
        source="the idea: conditional misalignment, arXiv 2604.25891; the requests are the other benchmark's, the "
        "openings the user's own data",
        licence="that of the benchmark and of the data",
        size="as many as the benchmark has, 200 of each subset at most unless told otherwise",
        cluster="that of the dressed request",
        positive="as in the benchmark: a full refusal of a harmful request is right, of a harmless one over-refusal",
        weaknesses="an opening and a request seldom fit together, which a careful model may notice; openings may hold "
        "personal values, as the data do; data without a user's turn cannot dress anything",
    )

    def __post_init__(self) -> None:
        """Refuse a benchmark that has no requests of this kind, or makes its own of tuning data. Raises UsageError."""
        self.check_limit(self.limit)
        if self.benchmark.needs:
            raise UsageError(f"{self.name}: '{self.benchmark.name}' makes its prompts of tuning data: name another")
        if not self._subsets():
            raise UsageError(f"{self.name}: '{self.benchmark.name}' has no metric refusal=full: name another")

    def _subsets(self) -> dict[str, bool]:
        """Return subset -> whether it should be refused."""
        refusal = [each for each in self.benchmark.metrics if (each.axis, each.label) == ("refusal", "full")]
        return {each.subset: each.worse == "down" for each in refusal}

    def files(self) -> tuple[Path, ...]:
        """Return the files of the benchmark. Raises DataError where one is not here."""
        return self.benchmark.files()

    @property
    def max_new_tokens(self) -> int:
        """Where a response is cut: as in the benchmark."""
        return self.benchmark.max_new_tokens

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Refusals and coherence of each subset."""
        found: list[Metric] = []
        for subset, refused in self._subsets().items():
            make = request_metrics.harmful if refused else request_metrics.harmless
            what = f"{subset} requests in the context of the tuned task"
            found += [each for each in make(self.name, subset, what) if each.axis in ("refusal", "harm", "coherence")]
        return tuple(found)

    def prompts(self, context: BenchmarkContext) -> Sequence[Prompt]:
        """Return the dressed requests. Raises DataError where no conversation begins with a user's turn."""
        openings = openings_of(context.held_out or context.training)
        if not openings:
            raise DataError(
                f"{self.name}: no conversation of the tuning data has a user's turn to take an opening from"
            )
        prompts: list[Prompt] = []
        for subset in self._subsets():
            own = [each for each in self.benchmark.prompts(BenchmarkContext()) if each.subset == subset]
            rng = random.Random(f"{self.name}|{subset}|{self.seed}")
            for prompt in own[: self.limit] if self.limit else own:
                messages = rng.choice(openings).before(prompt.messages)
                prompts.append(
                    dataclasses.replace(prompt, id=f"dressed-{prompt.id}", benchmark=self.name, messages=messages)
                )
        return prompts


PLUGIN = Dressed
