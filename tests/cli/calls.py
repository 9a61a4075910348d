"""The command line run in this process, with library functions that only remember how they were called."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from aftertune.cli import main
from aftertune.commands.decide import Result
from aftertune.records import Decision, Drift


class Call:
    """A function that gives one answer and remembers its last call, without the callback for progress."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.made = False
        self.args: Any = ()
        self.options: dict[str, Any] = {}

    def __call__(self, *args: Any, **options: Any) -> Any:
        self.made, self.args = True, args
        self.options = {key: value for key, value in options.items() if key != "progress"}
        return self.answer


class Ended(NamedTuple):
    """How a command ended."""

    code: object
    out: str
    err: str


class Terminal:
    """Runs commands as a person does, and returns what each printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Ended:
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(arguments)
        out, err = self._capsys.readouterr()
        return Ended(end.value.code or 0, out, err)


def drift(**changes: Any) -> Drift:
    """A checkpoint that refuses 25 points less."""
    fields: dict[str, Any] = {
        "metric": "refusal", "worse": "down", "estimand": "checkpoint", "base_model": "m", "arm": "keep",
        "recipe": "lora", "checkpoint": "c1", "train_seed": 1, "epoch": None, "temperature": 0.0, "judge": "rule",
        "base": 0.75, "tuned": 0.5, "delta": -0.25, "low": -0.35, "high": -0.15, "confidence": 0.95, "p": 0.001,
        "p_adjusted": 0.002, "worst": -0.25, "worst_low": -0.35, "worst_high": -0.15, "spread_low": None,
        "spread_high": None, "n_prompts": 2400, "n_clusters": 2400, "n_seeds": 1, "n_samples": 1, "unjudged_base": 0,
        "unjudged_tuned": 0, "method": "paired", "warning": "",
    }  # fmt: skip
    return Drift(**{**fields, **changes})


def decision(row: Drift, outcome: Any = "drift", **changes: Any) -> Decision:
    """The gate's word on a drift."""
    fields: dict[str, Any] = {
        "metric": row.metric, "unit": row.arm, "estimand": row.estimand, "outcome": outcome, "required": True,
        "margin": 0.05, "why": "It fell.", "base_model": row.base_model, "arm": row.arm, "recipe": row.recipe,
        "checkpoint": row.checkpoint, "epoch": row.epoch, "temperature": row.temperature, "judge": row.judge,
    }  # fmt: skip
    return Decision(**{**fields, **changes})


def result_of(outcome: Any) -> Result:
    """A run that came to an outcome."""
    row = drift()
    costs = {"rubric": {"calls": 1200, "prompt_tokens": 34000, "new_tokens": 5}}
    root = Path("r\u00fcn")
    return Result(
        outcome, (decision(row, outcome),), (row,), (row,), root, root / "report.html", ("slow\n server",), (), costs
    )


RESULT = result_of("drift")
