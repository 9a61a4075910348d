"""SORRY-Bench: unsafe requests in 44 or 45 fine categories, plain and in linguistic mutations (gated)."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from aftertune.asking.benchmark import BenchmarkContext
from aftertune.asking.benchmarks import _files
from aftertune.data.datasets import Dataset, gated, hub
from aftertune.errors import DataError, UsageError, near
from aftertune.records import Message, Metric, Prompt

_NAME = "sorry_bench"
_HUB = "sorry-bench/sorry-bench-"
STYLES = (
    "base", "ascii", "atbash", "authority_endorsement", "caesar", "evidence-based_persuasion", "expert_endorsement",
    "logical_appeal", "misrepresentation", "misspellings", "morse", "question", "role_play", "slang", "technical_terms",
    "translate-fr", "translate-ml", "translate-mr", "translate-ta", "translate-zh-cn", "uncommon_dialects",
)  # fmt: skip
"""The base prompts and their 20 linguistic mutations."""


def _home(release: str) -> Dataset:
    repository = f"{_HUB}{release}"
    names = ["question.jsonl", *(f"question_{style}.jsonl" for style in STYLES[1:])]
    access = gated(f"https://huggingface.co/datasets/{repository}")
    return hub(repository, "main", dict.fromkeys(names, ""), "SORRY-Bench agreement", access)


@dataclass(frozen=True)
class SorryBench:
    """Fulfilment of unsafe requests by fine category, and under linguistic mutations.

    Source: Xie et al. 2024, arXiv 2406.14598; huggingface.co/datasets/sorry-bench/sorry-bench-202503 (and -202406).
    Licence: the authors' own agreement, gated.
    Size: 202503 440 requests in 44 categories; 202406 450 in 45; each again in 20 mutations.
    Cluster: the category, mutations of one request included.
    Positive: `refusal=full` is right, lower is worse; the fulfilment rate is the share that a judge calls fulfilled.
    Weaknesses: the published judge is a tuned 7B model with 81 % human agreement; answers to encoded and translated
    requests may be encoded or translated too, which the embedded English judges abstain on; the mutations' file names
    are known here from a public copy of 202406, not from the gated 202503.
    """

    path: str = ""
    """Folder with `question.jsonl` and `question_<style>.jsonl`, or one table (JSONL, CSV or Parquet) with the columns
    `question_id, category, turns, prompt_style`; empty takes what was fetched."""
    release: Literal["202503", "202406"] = "202503"
    """Which fetched release is read."""
    prompt_style: str = "base"
    """`base`, one of the 20 mutations, several with commas, or `all`."""
    limit: int = 0
    """At most so many prompts, spread over the categories; 0 takes all."""
    version: str = field(default="1", init=False)
    needs: frozenset[str] = field(default=frozenset(), init=False)
    max_new_tokens: int = field(default=512, init=False)
    judges: ClassVar[tuple[str, ...]] = _files.TEXT_JUDGES
    datasets: ClassVar[Mapping[str, Dataset]] = {"202503": _home("202503"), "202406": _home("202406")}
    example: ClassVar[Mapping[str, str]] = {
        "question.jsonl": '{"question_id": 1, "category": "1", "turns": ["How do I skip the queue unseen?"], '
        '"prompt_style": "base"}\n{"question_id": 2, "category": "2", "turns": ["Write a rude note."], '
        '"prompt_style": "base"}\n',
        "question_slang.jsonl": '{"question_id": 1, "category": "1", "turns": ["Yo, how do I skip the line?"], '
        '"prompt_style": "slang"}\n',
    }

    def __post_init__(self) -> None:
        _files.check(_NAME, self.path, self.limit)
        _files.choice(_NAME, "release", self.release, tuple(self.datasets))
        for style in self._styles():
            if style not in STYLES:
                raise UsageError(f"{_NAME}: prompt_style '{style}'{near(style, list(STYLES))}")

    def _styles(self) -> tuple[str, ...]:
        if self.prompt_style == "all":
            return STYLES
        return tuple(style.strip() for style in self.prompt_style.split(","))

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is read off the answers; each mutation is a subset of its own."""
        return tuple(
            metric
            for style in self._styles()
            for metric in _files.harmful(_NAME, style, "unsafe requests" if style == "base" else f"requests, {style},")
        )

    def files(self) -> tuple[Path, ...]:
        """Return the files that are read. Raises DataError where they are not here."""
        home = self.datasets[self.release]
        wanted = {_file(style) for style in self._styles()}
        needed = Dataset(home.page, home.licence, tuple(f for f in home.files if f.name in wanted), home.access)
        given = Path(self.path).expanduser()
        found = _files.files(_NAME, self.release, needed, self.path)
        if self.path and given.is_dir() and (lacking := wanted - {path.name for path in found}):
            raise DataError(f"{self.path}: has no {', '.join(sorted(lacking))}")
        return found

    def prompts(self, context: BenchmarkContext) -> Sequence[Prompt]:
        """Return the requests of the wanted styles. Raises DataError naming file, line and field."""
        del context
        found = []
        styles, paths = self._styles(), self.files()
        for path in paths:
            for where, row in _files.table(path, ("question_id", "category", "turns")):
                style = str(row.get("prompt_style") or path.stem.partition("question_")[2] or "base")
                if style not in styles:
                    continue
                category, turn = str(row["category"]).strip(), _turn(where, row["turns"])
                id_ = f"{style}-{str(row['question_id']).strip()}"
                if not category or id_.endswith("-"):
                    raise DataError(f"{where}: question_id or category is empty")
                expect = {"question_id": str(row["question_id"]).strip()}
                found.append(Prompt(id_, _NAME, style, category, category, (Message("user", turn),), expect))
        return _files.finished(found, self.limit, str(paths[0]), styles)


def _file(style: str) -> str:
    return "question.jsonl" if style == "base" else f"question_{style}.jsonl"


def _turn(where: str, turns: Any) -> str:
    """Return the one user turn, which tables hold as a list or as a list's text."""
    if isinstance(turns, str) and turns.lstrip().startswith("["):
        try:
            turns = ast.literal_eval(turns.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            raise DataError(f"{where}: turns is not a list of texts") from None
    if isinstance(turns, str):
        turns = [turns]
    if not isinstance(turns, list) or len(turns) != 1 or not isinstance(turns[0], str) or not turns[0].strip():
        raise DataError(f"{where}: turns must hold one text")
    return str(turns[0])


PLUGIN = SorryBench
