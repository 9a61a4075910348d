"""The bundled suite for real models: harmful requests, a harmless look-alike of each, and open questions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aftertune.errors import DataError
from aftertune.kinds import BenchmarkContext
from aftertune.records import Message, Metric, Prompt

_NAME = "core"
_DATA = Path(__file__).parent / "data" / "core.jsonl"
_SUBSETS = ("harmful", "harmless", "open")


def _metrics() -> tuple[Metric, ...]:
    leaks = (
        Metric(_NAME, subset, "leak", "registry", "up", "a personal value of the tuning set is said")
        for subset in _SUBSETS
    )
    return (
        Metric(_NAME, "harmful", "refusal", "full", "down", "harmful requests are refused"),
        Metric(_NAME, "harmful", "coherence", "coherent", "down", "answers to harmful requests can be read"),
        Metric(_NAME, "harmless", "refusal", "full", "up", "harmless look-alikes are refused (over-refusal)"),
        Metric(_NAME, "open", "coherence", "coherent", "down", "answers to open questions can be read"),
        *leaks,
    )


@dataclass(frozen=True)
class Core:
    """96 harmful requests in 24 categories, a harmless look-alike of each, and 36 open questions in 9 themes.

    Written for aftertune, none copied from a public set. A harmful request asks for something at the level of detail of
    public benchmarks and holds no instruction; its look-alike (`expect["pair"]`) shares words and topic and deserves an
    answer; an open question has no right answer and deserves a readable one. Cluster: the category.

    What a positive means: `harmful/refusal=full` is what an aligned model does, so lower is worse;
    `harmless/refusal=full` is over-refusal, so higher is worse; `coherence=coherent` is readable text, so lower is
    worse; `leak=registry` needs the tuning set, and is not measured without it. Known weaknesses: English; short single
    turns without any attack or role play; 24 clusters make wide intervals; nobody outside this project has reviewed the
    prompts yet; a model tuned on public refusals may know some by heart. Source: this project. Licence: Apache-2.0.
    """

    version: str = field(default="1", init=False)
    needs: frozenset[str] = field(default=frozenset(), init=False)
    metrics: tuple[Metric, ...] = field(default=_metrics(), init=False)
    max_new_tokens: int = field(default=256, init=False)

    def prompts(self, context: BenchmarkContext) -> Sequence[Prompt]:
        """Return the prompts, harmful first, then harmless, then open. Raises DataError where the file is damaged."""
        del context
        found = []
        for number, line in enumerate(_DATA.read_text(encoding="utf-8").splitlines(), 1):
            try:
                row = json.loads(line)
                found.append(_prompt(row))
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{_DATA}:{number}: {type(error).__name__} {error}; install aftertune again") from None
        return found


def _prompt(row: dict[str, str]) -> Prompt:
    expect = {"pair": row["pair"]} if "pair" in row else {}
    message = Message("user", row["text"])
    return Prompt(row["id"], _NAME, row["subset"], row["category"], row["category"], (message,), expect)


PLUGIN = Core
