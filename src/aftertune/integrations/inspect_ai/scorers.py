"""Every judge that reads nothing but a prompt and a response, as a scorer of Inspect AI: `aftertune/NAME`."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from inspect_ai._util.error import PrerequisiteError  # the one error that Inspect shows without a traceback
from inspect_ai.model import ChatMessage
from inspect_ai.scorer import Score, Scorer, Target, scorer
from inspect_ai.solver import TaskState
from rich.markup import escape

from aftertune import plugins
from aftertune.errors import AftertuneError, UsageError
from aftertune.integrations.inspect_ai.metrics import interval, mean, stderr
from aftertune.judging.anchors import GENERAL
from aftertune.judging.judge import Answer, Judge, JudgeContext, Opinion
from aftertune.judging.judge import Scorer as OpenJudge
from aftertune.judging.opinions import read
from aftertune.judging.trial import check
from aftertune.records import Message, Prompt, Role
from aftertune.studies import suites

Maker = Callable[..., Scorer]
ROLES: Mapping[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}
"""Inspect's roles that ours have a word for; turns of tools are left out of what a judge reads."""


def refuse(error: AftertuneError) -> PrerequisiteError:
    """Return an error of ours as the one that Inspect prints as a line, without a traceback."""
    return PrerequisiteError(escape(f"aftertune: {error}"))


def usable() -> Iterator[tuple[str, type[Any]]]:
    """Yield name and class of every judge that needs no run, and no parameter: found among the plugins, not listed."""
    for name in plugins.names("judge"):
        try:
            if not plugins.load("judge", name).needs:
                yield name, plugins.plugin_class("judge", name)
        except UsageError:
            continue  # it needs a model or a package


def signature(cls: type[Any], more: Sequence[inspect.Parameter] = (), without: Sequence[str] = ()) -> inspect.Signature:
    """Return a plugin's parameters as a signature, from which Inspect reads what `-T` and `-S` may set."""
    own = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=cls.nested.get(field.name) if field.default is dataclasses.MISSING else field.default,
            annotation=Any,
        )
        for field in dataclasses.fields(cls)
        if field.init and field.name not in without
    ]
    return inspect.Signature([*own, *more])


@cache
def _labels() -> Mapping[str, tuple[str | None, ...]]:
    """Return axis -> labels that some benchmark reads off it; None stands for the mean of the value."""
    found: dict[str, dict[str | None, None]] = {}
    for own in suites.metrics().values():
        for metric in own.values():
            found.setdefault(metric.axis, {})[metric.label] = None
    return {axis: tuple(sorted(labels, key=str)) for axis, labels in found.items()}


@dataclasses.dataclass(frozen=True)
class _Opened:
    """A judge that is open already, so that each sample costs one call."""

    judge: Judge
    score: OpenJudge

    def opinions(self, answer: Answer) -> tuple[Opinion, ...]:
        return next(read(self.judge, self.score, [answer]))


def _keys(judge: _Opened) -> dict[str, tuple[str, str | None]]:
    """Return key -> (axis, label): `refusal=full` for a share, `harm` for the mean of a value.

    Inspect wants the same keys of every sample. An axis whose labels no benchmark reads has its value alone.
    """
    tried = judge.opinions(GENERAL[-1].answer)
    valued = {opinion.axis for opinion in tried if opinion.value is not None}
    found: dict[str, tuple[str, str | None]] = {}
    for axis in judge.judge.axes:
        labels = _labels().get(axis, (None,))
        for label in dict.fromkeys((*([None] if axis in valued else []), *labels)):
            found[axis if label is None else f"{axis}={label}"] = axis, label
    return found


def values(keys: Mapping[str, tuple[str, str | None]], opinions: Sequence[Opinion]) -> dict[str, float]:
    """Return what was found as numbers: NaN, which Inspect counts as unscored, for whatever was not judged."""
    said = {opinion.axis: opinion for opinion in opinions if opinion.status == "ok"}
    found = {}
    for key, (axis, label) in keys.items():
        opinion = said.get(axis)
        number = None if opinion is None else opinion.value if label is None else float(opinion.label == label)
        found[key] = math.nan if number is None else number
    return found


def prompt_of(state: TaskState) -> Prompt:
    """Return the prompt of a sample: whole where a task of ours made it, else its messages alone."""
    about = state.metadata or {}
    given: str | list[ChatMessage] = state.input
    turns = (
        (Message("user", given),)
        if isinstance(given, str)
        else tuple(Message(ROLES[turn.role], turn.text) for turn in given if turn.role in ROLES)
    )
    names = ("benchmark", "subset", "category", "cluster")
    benchmark, subset, category, cluster = (str(about.get(name) or "") for name in names)
    expect = about.get("expect")
    id_ = str(about.get("prompt_id") or state.sample_id)
    return Prompt(id_, benchmark, subset, category, cluster, turns, expect if isinstance(expect, dict) else {})


def _word(opinion: Opinion) -> str:
    shown = opinion.label or (opinion.status if opinion.value is None else f"{opinion.value:.3g}")
    return f"{opinion.axis}: {shown}"


def _score(judge: _Opened, keys: Mapping[str, tuple[str, str | None]], state: TaskState) -> Score:
    if not state.output.choices:
        return Score.unscored(reason="no_response", explanation="the model gave no output")
    cut = state.output.stop_reason in ("max_tokens", "model_length")
    answer = Answer(prompt_of(state), state.output.completion, "length" if cut else "stop")
    opinions = judge.opinions(answer)
    unjudged = [opinion for opinion in opinions if opinion.status != "ok"]
    failed = any(opinion.status == "error" for opinion in unjudged)
    return Score(
        value=values(keys, opinions),
        answer="; ".join(map(_word, opinions)) or None,
        explanation="; ".join(f"{_word(opinion)} ({opinion.why})" for opinion in opinions) or "no axis applies",
        reason=("scoring_failed" if failed else unjudged[0].status) if unjudged else None,
        metadata={
            opinion.axis: {
                "label": opinion.label, "value": opinion.value, "status": opinion.status, "why": opinion.why,
                "judge_version": judge.judge.version,
            }
            for opinion in opinions
        },
    )  # fmt: skip


def _maker(name: str, cls: type[Any]) -> Maker:
    def make(**parameters: Any) -> Scorer:
        try:
            judge: Judge = plugins.load("judge", name, parameters)
            check(judge)
            opened = _Opened(judge, judge.open(JudgeContext()))
        except AftertuneError as error:
            raise refuse(error) from None
        keys = _keys(opened)

        async def score(state: TaskState, target: Target) -> Score:
            del target
            return _score(opened, keys, state)

        return score

    make.__name__ = name
    make.__doc__ = cls.card.about
    make.__signature__ = signature(cls)  # type: ignore[attr-defined]
    return scorer(metrics={"*": [mean(), stderr(), interval()]}, name=name)(make)


SCORERS: Mapping[str, Maker] = {name: _maker(name, cls) for name, cls in usable()}
"""Name -> maker of the scorer, registered as `aftertune/NAME`."""
