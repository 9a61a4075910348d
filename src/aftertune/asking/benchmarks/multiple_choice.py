"""Multiple-choice questions, so that a loss of ability is seen beside a loss of safety."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from aftertune.asking.benchmark import BenchmarkContext
from aftertune.asking.benchmarks import _choices, _files
from aftertune.data.datasets import Dataset, hub
from aftertune.errors import DataError, UsageError
from aftertune.records import Metric, Prompt

_NAME = "multiple_choice"
_ANSWERS = ("answerKey", "answer")
_GROUPS = ("question_concept", "subject", "category")
_ABOUT = {
    "accuracy": "questions answered rightly",
    "choice": "questions whose right option is the most probable",
}


@dataclass(frozen=True)
class MultipleChoice:
    """Utility beside safety: questions with one right option.

    Source: CommonsenseQA, Talmor et al. 2019, arXiv 1811.00937, huggingface.co/datasets/tau/commonsense_qa; MMLU,
    Hendrycks et al. 2021, arXiv 2009.03300, huggingface.co/datasets/cais/mmlu; or any file of that kind.
    Licence: MIT (both).
    Size: CommonsenseQA validation 1,221 questions of 5 options; MMLU test 14,042 of 4.
    Cluster: the concept (CommonsenseQA) or subject (MMLU); else each question.
    Positive: `choice=correct`: the right option's letter is the most probable one (`choice`, no label: its log-odds
    against the others, in nats); `accuracy=correct`, scored by generation: the letter that is written is right. Lower
    is worse for all.
    Weaknesses: by generation, a model which does not answer with a letter is unjudged (counted as the worst by the
    gate) rather than wrong; by log-probability, it is judged however little probability it gives to any letter (the
    share stands in the verdict's `why`); no examples are shown; both sets are in many models' training data.
    """

    path: str = ""
    """CSV, JSON, JSONL or Parquet with `question`, `choices` and `answerKey` or `answer` (a letter or an index from 0);
    empty takes what was fetched."""
    data: Literal["commonsense_qa", "mmlu"] = "commonsense_qa"
    """Which fetched set is read."""
    limit: int = 0
    """At most so many questions, spread over the clusters; 0 takes all."""
    scored_by: Literal["log_probability", "generation", "both"] = "log_probability"
    """`log_probability` of the options, which needs a backend that shows it, or by what is written (`generation`)."""
    options: Literal["letter", "text"] = "letter"
    """What log-probabilities are asked of: the options' letters, all options shown; or their texts, none shown, each
    divided by its number of tokens (for bases that do not know letters)."""
    version: str = field(default="2", init=False)
    needs: frozenset[str] = field(default=frozenset(), init=False)
    max_new_tokens: int = field(default=16, init=False)
    judges: ClassVar[tuple[str, ...]] = ("choice",)
    datasets: ClassVar[Mapping[str, Dataset]] = {
        "commonsense_qa": hub("tau/commonsense_qa", "94630fe30dad47192a8546eb75f094926d47e155",
                              {"data/validation-00000-of-00001.parquet": ""}, "MIT"),
        "mmlu": hub("cais/mmlu", "main", {"all/test-00000-of-00001.parquet": ""}, "MIT"),
    }  # fmt: skip
    example: ClassVar[Mapping[str, str]] = {
        "questions.jsonl": '{"id": "q1", "question": "What is wet?", "question_concept": "wet", '
        '"choices": {"label": ["A", "B", "C"], "text": ["sand", "rain", "ash"]}, "answerKey": "B"}\n'
        '{"id": "q2", "question": "What is hot?", "question_concept": "hot", '
        '"choices": {"label": ["A", "B", "C"], "text": ["fire", "snow", "ice"]}, "answerKey": "A"}\n',
    }

    def __post_init__(self) -> None:
        _files.check(_NAME, self.path, self.limit)
        _files.choice(_NAME, "data", self.data, tuple(self.datasets))
        _files.choice(_NAME, "scored_by", self.scored_by, _choices.SCORED_BY)
        _files.choice(_NAME, "options", self.options, ("letter", "text"))
        if self.options == "text" and self.scored_by != "log_probability":
            raise UsageError(f"{_NAME}: options = 'text' is scored by log_probability only, not by {self.scored_by}")

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is read off the answers."""
        found: list[Metric] = []
        for axis in _choices.axes(self.scored_by, "accuracy", "choice"):
            found.append(Metric(_NAME, "test", axis, "correct", "down", _ABOUT[axis]))
            if axis == "choice":
                found.append(Metric(_NAME, "test", axis, None, "down", "mean log-odds of the right option, in nats"))
        return tuple(found)

    def files(self) -> tuple[Path, ...]:
        """Return the file that is read. Raises DataError where it is not here."""
        given = Path(self.path).expanduser()
        if self.path and given.is_dir():
            own = sorted(path for path in given.iterdir() if path.suffix in (".csv", ".json", ".jsonl", ".parquet"))
            if len(own) != 1:
                raise DataError(f"{self.path}: has {len(own)} tables; give the one to read as `path`")
            return (own[0],)
        return _files.files(_NAME, self.data, self.datasets[self.data], self.path)

    def prompts(self, context: BenchmarkContext) -> Sequence[Prompt]:
        """Return the questions in the order of the file. Raises DataError naming file, line and field."""
        del context
        (path,) = self.files()
        found = []
        for number, (where, row) in enumerate(_files.table(path, ("question",))):
            options, answer = _options(where, row)
            group = next((str(row[key]) for key in _GROUPS if row.get(key)), "")
            id_ = str(row.get("id") or f"{number:05d}")
            content = _files.text(where, row, "question")
            forms: dict[str, Sequence[str]] = {
                key: (text,) for key, text in zip(_choices.LETTERS, options, strict=False)
            }
            if self.options == "letter":
                content, forms = _choices.question(content, options), dict(_choices.letters(options))
            expect = {
                **_choices.expect(options, answer), **_choices.scored(forms, self.scored_by, self.options == "text")
            }  # fmt: skip
            found.append(_files.ask(id_, _NAME, "test", group or "test", group or id_, content, expect))
        return _files.finished(found, self.limit, str(path), ("test",))


def _options(where: str, row: Mapping[str, Any]) -> tuple[list[str], int]:
    """Return the options and the index of the right one; options stand in `choices`, or in columns `A`, `B`, ..."""
    key = next((name for name in _ANSWERS if row.get(name) not in (None, "")), None)
    if key is None:
        raise DataError(f"{where}: no {' or '.join(_ANSWERS)} (a test split may hide them)")
    options: Any = row.get("choices")
    if options is None:
        options = [row[letter] for letter in _choices.LETTERS if row.get(letter) not in (None, "")]
    found = _choices.parsed(options, row[key])
    if isinstance(found, str):
        raise DataError(f"{where}: {found}")
    return found


PLUGIN = MultipleChoice
