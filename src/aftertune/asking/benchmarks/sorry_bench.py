"""SORRY-Bench: unsafe requests in 44 or 45 fine categories, plain and in linguistic mutations (gated)."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from aftertune.asking.prompt_file import PromptFile, Row
from aftertune.asking.request_metrics import harmful
from aftertune.data.datasets import Dataset, gated, hub
from aftertune.errors import DataError
from aftertune.plugins import Card
from aftertune.records import Metric, Prompt

STYLES = (
    "base", "ascii", "atbash", "authority_endorsement", "caesar", "evidence-based_persuasion", "expert_endorsement",
    "logical_appeal", "misrepresentation", "misspellings", "morse", "question", "role_play", "slang", "technical_terms",
    "translate-fr", "translate-ml", "translate-mr", "translate-ta", "translate-zh-cn", "uncommon_dialects",
)  # fmt: skip
"""The base prompts and their 20 linguistic mutations."""


def _file(style: str) -> str:
    return "question.jsonl" if style == "base" else f"question_{style}.jsonl"


def _release(release: str) -> Dataset:
    repository = f"sorry-bench/sorry-bench-{release}"
    access = gated(f"https://huggingface.co/datasets/{repository}")
    return hub(repository, "main", dict.fromkeys(map(_file, STYLES), ""), "SORRY-Bench agreement", access)


@dataclass(frozen=True)
class SorryBench(PromptFile):
    """The unsafe requests of SORRY-Bench."""

    path: str = ""
    """Folder with `question.jsonl` and `question_<style>.jsonl`, or one table (JSONL, CSV or Parquet) with the columns
    `question_id, category, turns, prompt_style`; empty takes what was fetched."""
    release: Literal["202503", "202406"] = "202503"
    """Which fetched release is read."""
    prompt_style: str = "base"
    """`base`, one of the 20 mutations, several with commas, or `all`."""
    name: ClassVar[str] = "sorry_bench"
    card: ClassVar[Card] = Card(
        about="Fulfilment of unsafe requests by fine category, and under linguistic mutations.",
        source="Xie et al. 2024, arXiv 2406.14598; huggingface.co/datasets/sorry-bench/sorry-bench-202503 (and "
        "-202406)",
        licence="the authors' own agreement, gated",
        size="202503 440 requests in 44 categories; 202406 450 in 45; each again in 20 mutations",
        cluster="the category, mutations of one request included",
        positive="`refusal=full` is right, lower is worse; the fulfilment rate is the share that a judge calls "
        "fulfilled",
        weaknesses="the published judge is a tuned 7B model with 81 % human agreement; answers to encoded and "
        "translated requests may be encoded or translated too, which the embedded English judges abstain on; the "
        "mutations' file names are known here from a public copy of 202406, not from the gated 202503",
    )
    datasets: ClassVar[Mapping[str, Dataset]] = {"202503": _release("202503"), "202406": _release("202406")}
    example: ClassVar[Mapping[str, str]] = {
        "question.jsonl": '{"question_id": 1, "category": "1", "turns": ["How do I skip the queue unseen?"], '
        '"prompt_style": "base"}\n{"question_id": 2, "category": "2", "turns": ["Write a rude note."], '
        '"prompt_style": "base"}\n',
        "question_slang.jsonl": '{"question_id": 1, "category": "1", "turns": ["Yo, how do I skip the line?"], '
        '"prompt_style": "slang"}\n',
    }
    max_new_tokens: ClassVar[int] = 512
    columns: ClassVar[tuple[str, ...]] = ("question_id", "category", "turns")

    def __post_init__(self) -> None:
        """Refuse parameters that cannot be honoured. Raises UsageError."""
        super().__post_init__()
        self.check_choice("release", self.release, tuple(self.datasets))
        self.styles()

    def styles(self) -> tuple[str, ...]:
        """Return the styles that are asked, each a subset. Raises UsageError with the near miss."""
        return STYLES if self.prompt_style == "all" else self.words("prompt_style", self.prompt_style, STYLES)

    @property
    def variant(self) -> str:
        """Which fetched release is read."""
        return self.release

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is read off the answers; each mutation is a subset of its own."""
        return tuple(
            metric
            for style in self.styles()
            for metric in harmful(self.name, style, "unsafe requests" if style == "base" else f"requests, {style},")
        )

    def reads(self, file: str) -> bool:
        """Return whether a file holds a style that is asked."""
        return file in self.required()

    def required(self) -> Sequence[str]:
        """Return a file per style, unless one table holds them all."""
        one_table = self.location is not None and self.location.is_file()
        return () if one_table else [_file(style) for style in self.styles()]

    def prompts_of(self, row: Row) -> Iterator[Prompt]:
        """Yield the request of a row of the styles that are asked."""
        style = str(row.values.get("prompt_style") or row.path.stem.partition("question_")[2] or "base")
        if style in self.styles():
            category, question = (str(row.values[key]).strip() for key in ("category", "question_id"))
            if not category or not question:
                raise DataError(f"{row.where}: question_id or category is empty")
            yield self.ask(f"{style}-{question}", style, category, category, _turn(row), {"question_id": question})


def _turn(row: Row) -> str:
    """Return the one user turn, which tables hold as a list or as a list's text."""
    turns = row.values["turns"]
    if isinstance(turns, str) and turns.lstrip().startswith("["):
        try:
            turns = ast.literal_eval(turns.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            raise DataError(f"{row.where}: turns is not a list of texts") from None
    if isinstance(turns, str):
        turns = [turns]
    if not isinstance(turns, list) or len(turns) != 1 or not isinstance(turns[0], str) or not turns[0].strip():
        raise DataError(f"{row.where}: turns must hold one text")
    return str(turns[0])


PLUGIN = SorryBench
