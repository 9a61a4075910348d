"""Multiple-choice questions, so that a loss of ability is seen beside a loss of safety."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from aftertune.asking import choices
from aftertune.asking.benchmark import ScoredBy
from aftertune.asking.prompt_file import PromptFile, Row
from aftertune.data.datasets import Dataset, hub
from aftertune.errors import DataError, UsageError
from aftertune.plugins import Card
from aftertune.records import Metric, Prompt

_ANSWERS = ("answerKey", "answer")
_GROUPS = ("question_concept", "subject", "category")
_ABOUT = {
    "accuracy": "questions answered rightly",
    "choice": "questions whose right option is the most probable",
}


@dataclass(frozen=True)
class MultipleChoice(choices.ScoredBenchmark, PromptFile):
    """Questions with one right option."""

    path: str = ""
    """CSV, JSON, JSONL or Parquet with `question`, `choices` and `answerKey` or `answer` (a letter or an index from 0);
    empty takes what was fetched."""
    data: Literal["commonsense_qa", "mmlu"] = "commonsense_qa"
    """Which fetched set is read."""
    scored_by: ScoredBy = "log_probability"
    """`log_probability` of the options, which needs a backend that shows it, or by what is written (`generation`)."""
    options: Literal["letter", "text"] = "letter"
    """What log-probabilities are asked of: the options' letters, all options shown; or their texts, none shown, each
    divided by its number of tokens (for bases that do not know letters)."""
    name: ClassVar[str] = "multiple_choice"
    version = "2"
    card: ClassVar[Card] = Card(
        about="Utility beside safety: questions with one right option.",
        source="CommonsenseQA, Talmor et al. 2019, arXiv 1811.00937, huggingface.co/datasets/tau/commonsense_qa; "
        "MMLU, Hendrycks et al. 2021, arXiv 2009.03300, huggingface.co/datasets/cais/mmlu; or any file of that kind",
        licence="MIT (both)",
        size="CommonsenseQA validation 1,221 questions of 5 options; MMLU test 14,042 of 4",
        cluster="the concept (CommonsenseQA) or subject (MMLU); else each question",
        positive="`choice=correct`: the right option's letter is the most probable one (`choice`, no label: its "
        "log-odds against the others, in nats); `accuracy=correct`, scored by generation: the letter that is written "
        "is right. Lower is worse for all",
        weaknesses="by generation, a model which does not answer with a letter is unjudged (counted as the worst by "
        "the gate) rather than wrong; by log-probability, it is judged however little probability it gives to any "
        "letter (the share stands in the verdict's `why`); no examples are shown; both sets are in many models' "
        "training data",
    )
    judges: ClassVar[tuple[str, ...]] = ("choice",)
    datasets: ClassVar[Mapping[str, Dataset]] = {
        "commonsense_qa": hub(
            "tau/commonsense_qa",
            "94630fe30dad47192a8546eb75f094926d47e155",
            {"data/validation-00000-of-00001.parquet": ""},
            "MIT",
        ),
        "mmlu": hub("cais/mmlu", "main", {"all/test-00000-of-00001.parquet": ""}, "MIT"),
    }
    example: ClassVar[Mapping[str, str]] = {
        "questions.jsonl": '{"id": "q1", "question": "What is wet?", "question_concept": "wet", '
        '"choices": {"label": ["A", "B", "C"], "text": ["sand", "rain", "ash"]}, "answerKey": "B"}\n'
        '{"id": "q2", "question": "What is hot?", "question_concept": "hot", '
        '"choices": {"label": ["A", "B", "C"], "text": ["fire", "snow", "ice"]}, "answerKey": "A"}\n',
    }
    max_new_tokens: ClassVar[int] = 16
    columns: ClassVar[tuple[str, ...]] = ("question",)

    def __post_init__(self) -> None:
        """Refuse parameters that cannot be honoured. Raises UsageError."""
        super().__post_init__()
        self.check_choice("data", self.data, tuple(self.datasets))
        self.check_choice("options", self.options, ("letter", "text"))
        if self.options == "text" and self.scored_by != "log_probability":
            raise UsageError(
                f"{self.name}: options = 'text' is scored by log_probability only, not by {self.scored_by}"
            )

    @property
    def variant(self) -> str:
        """Which fetched set is read."""
        return self.data

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is read off the answers."""
        metrics: list[Metric] = []
        for axis in self.axes("accuracy", "choice"):
            metrics.append(Metric(self.name, "test", axis, "correct", "down", _ABOUT[axis]))
            if axis == "choice":
                log_odds = "mean log-odds of the right option, in nats"
                metrics.append(Metric(self.name, "test", axis, None, "down", log_odds))
        return tuple(metrics)

    def files(self) -> tuple[Path, ...]:
        """Return the file that is read: of a folder its one table. Raises DataError where it is not here."""
        if self.location is None or not self.location.is_dir():
            return super().files()
        tables = [path for path in self.location.iterdir() if path.suffix in (".csv", ".json", ".jsonl", ".parquet")]
        if len(tables) != 1:
            raise DataError(f"{self.path}: has {len(tables)} tables; give the one to read as `path`")
        return tuple(tables)

    def prompts_of(self, row: Row) -> Iterator[Prompt]:
        """Yield the question of a row."""
        options, answer = _options(row)
        group = next((str(row.values[key]) for key in _GROUPS if row.values.get(key)), "")
        id_ = str(row.values.get("id") or f"{row.index:05d}")
        content = row.text("question")
        if self.options == "letter":
            content, forms = choices.question(content, options), choices.letters(options)
        else:
            forms = {letter: (text,) for letter, text in zip(choices.LETTERS, options, strict=False)}
        expect = {**choices.expect(options, answer), **self.scoring(forms, per_token=self.options == "text")}
        yield self.ask(id_, "test", group or "test", group or id_, content, expect)


def _options(row: Row) -> tuple[list[str], int]:
    """Return the options and the index of the right one; options stand in `choices`, or in columns `A`, `B`, ..."""
    values = row.values
    key = next((name for name in _ANSWERS if values.get(name) not in (None, "")), None)
    if key is None:
        raise DataError(f"{row.where}: no {' or '.join(_ANSWERS)} (a test split may hide them)")
    options: Any = values.get("choices")
    if options is None:
        there = [letter for letter in choices.LETTERS if values.get(letter) not in (None, "")]
        options = [values.get(letter) for letter in choices.LETTERS[: len(there)]]
    return choices.parse(row.where, options, values[key])


PLUGIN = MultipleChoice
