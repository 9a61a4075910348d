"""Questions with lettered options: how they are put to a model, and how their answers are scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, get_args

from aftertune.asking.benchmark import Benchmark, ScoredBy
from aftertune.errors import DataError

LETTERS = "ABCDEFGHIJ"
INSTRUCTION = "Answer with the letter of the right option only."


@dataclass(frozen=True)
class ScoredBenchmark(Benchmark):
    """A benchmark that can be read off the log-probabilities of options, off what is generated, or off both."""

    scored_by: ScoredBy = "both"
    """What is read: `log_probability` needs a backend that shows them, `generation` reads the answer, `both` does
    both."""

    def __post_init__(self) -> None:
        """Refuse parameters that cannot be honoured. Raises UsageError."""
        super().__post_init__()
        self.check_choice("scored_by", self.scored_by, get_args(ScoredBy))

    @property
    def scorable(self) -> bool:
        """Always."""
        return True

    def by_generation(self) -> Self:
        """Return the benchmark scored by generation alone where it is scored by both."""
        return replace(self, scored_by="generation") if self.scored_by == "both" else self

    def axes(self, generated: str, scored: str) -> tuple[str, ...]:
        """Return the axes on which prompts are judged: that of the answer, that of the log-probabilities, or both."""
        axes = {"generation": (generated,), "log_probability": (scored,), "both": (scored, generated)}
        return axes[self.scored_by]

    def scoring(self, forms: Mapping[str, Sequence[str]], per_token: bool = False) -> Mapping[str, Any]:
        """Return the part of `expect` that asks for the log-probabilities of options; empty for `generation`.

        `forms`: option -> the beginnings of an answer that gives it. `per_token`: each is divided by its tokens.
        """
        if self.scored_by == "generation":
            return {}
        lists = {option: list(beginnings) for option, beginnings in forms.items()}
        return {"scored": {"forms": lists, "per_token": per_token, "generate": self.scored_by == "both"}}


def question(text: str, options: Sequence[str], instruction: str = INSTRUCTION) -> str:
    """Return a question with its options, one a line, `(A) ...`."""
    lines = [f"({letter}) {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return "\n".join((text, *lines, instruction))


def expect(options: Sequence[str], right: int) -> Mapping[str, Any]:
    """Return what the judge `choice` reads: letter -> option, and the right letter."""
    return {"choice": {"options": dict(zip(LETTERS, options, strict=False)), "correct": LETTERS[right]}}


def letters(options: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Return letter -> the beginnings of an answer that gives it: `A` and `(A`."""
    return {letter: (letter, f"({letter}") for letter, _ in zip(LETTERS, options, strict=False)}


def parse(where: str, options: Any, answer: Any) -> tuple[list[str], int]:
    """Return the options of a question and the index of the right one.

    Options: a list of texts, or the hub's `{"label": [...], "text": [...]}`. Answer: a letter, an index from 0, or a
    label of the latter. Raises DataError, which begins with `where`.
    """
    labels = None
    if isinstance(options, Mapping):
        options, labels = options.get("text"), options.get("label")
    if not isinstance(options, Sequence) or isinstance(options, str) or not 2 <= len(options) <= len(LETTERS):
        raise DataError(f"{where}: options must be a list of 2 to {len(LETTERS)} texts")
    if labels is not None and (not isinstance(labels, list) or len(labels) != len(options)):
        raise DataError(f"{where}: labels must be a list of {len(options)}")
    texts = ["" if option is None else str(option).strip() for option in options]
    if not all(texts):
        raise DataError(f"{where}: an option is empty")
    if isinstance(answer, int) and not isinstance(answer, bool):
        right = answer
    else:
        key = str(answer).strip().strip("()").rstrip(".")
        keys = [str(label).strip() for label in labels or LETTERS[: len(texts)]]
        if key not in keys and not key.isdecimal():
            raise DataError(f"{where}: answer {str(answer)[:40]!r} is none of the options' letters")
        right = keys.index(key) if key in keys else int(key)
    if not 0 <= right < len(texts):
        raise DataError(f"{where}: answer {right} is none of the {len(texts)} options")
    return texts, right
