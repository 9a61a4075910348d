"""Every judge that needs only a prompt and a response, as a scorer of Inspect AI: `aftertune/NAME`."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from inspect_ai._util.error import PrerequisiteError  # the only error that Inspect prints without a traceback
from inspect_ai.model import ChatMessage
from inspect_ai.scorer import Score, Scorer, Target, scorer
from inspect_ai.solver import TaskState
from rich.markup import escape

from aftertune import plugins
from aftertune.errors import AftertuneError, UsageError
from aftertune.ingest.inspect_logs import ended, reasoning
from aftertune.integrations.inspect_ai.metrics import interval, mean, stderr
from aftertune.judging import opinions as judging
from aftertune.judging.anchors import GENERAL
from aftertune.judging.judge import Answer, Judge, JudgeContext, Opinion
from aftertune.judging.judge import Scorer as OpinionScorer
from aftertune.judging.trial import check
from aftertune.plugins import PluginSpec
from aftertune.records import Message, Prompt, Role
from aftertune.studies import suites
from aftertune.studies.resolve import load_judge
from aftertune.thoughts import AFTER, INSIDE, part

Maker = Callable[..., Scorer]
ROLES: Mapping[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}
"""Inspect's roles that have a counterpart here; a judge does not see turns of tools."""


def refuse(error: AftertuneError) -> PrerequisiteError:
    """Return an error as the kind that Inspect prints in one line, without a traceback."""
    return PrerequisiteError(escape(f"aftertune: {error}"))


def usable() -> Iterator[tuple[str, type[Any]]]:
    """Yield the name and class of every judge plugin that needs no run and no parameter."""
    for name in plugins.names("judge"):
        try:
            if not load_judge(PluginSpec(name)).needs:
                yield name, plugins.plugin_class("judge", name)
        except UsageError:
            continue  # it needs a model or a package


def signature(cls: type[Any], more: Sequence[inspect.Parameter] = (), without: Sequence[str] = ()) -> inspect.Signature:
    """Return a plugin's parameters as a signature, which tells Inspect what `-T` and `-S` may set.

    Args:
        cls: A frozen dataclass.
        more: Parameters added at the end.
        without: Fields left out.
    """
    own = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None if field.default is dataclasses.MISSING else field.default,
            annotation=Any,
        )
        for field in dataclasses.fields(cls)
        if field.init and field.name not in without
    ]
    return inspect.Signature([*own, *more])


@cache
def _labels() -> Mapping[str, tuple[str | None, ...]]:
    """Return axis -> labels that some benchmark reports on it; None stands for the mean of the value."""
    labels: dict[str, dict[str | None, None]] = {}
    for own in suites.metrics().values():
        for metric in own.values():
            labels.setdefault(metric.axis, {})[metric.label] = None
    return {axis: tuple(sorted(own, key=str)) for axis, own in labels.items()}


@dataclasses.dataclass(frozen=True)
class _OpenJudge(Judge):
    """A judge that is open already, so that each sample costs one call."""

    judge: Judge
    scorer: OpinionScorer

    @property
    def name(self) -> str:
        return self.judge.name

    @property
    def axes(self) -> tuple[str, ...]:
        return self.judge.axes

    def open(self, context: JudgeContext) -> OpinionScorer:
        del context
        return self.scorer


def _keys(judge: _OpenJudge) -> dict[str, tuple[str, str | None]]:
    """Return key -> (axis, label): `refusal=full` for a share, `harm` for the mean of a value.

    Inspect needs the same keys for every sample. An axis without a label that a benchmark reports has its value only.
    """
    opinions = next(judging.opinions(judge, [GENERAL[-1].answer], JudgeContext()))
    with_value = {opinion.axis for opinion in opinions if opinion.value is not None}
    keys: dict[str, tuple[str, str | None]] = {}
    for axis in judge.axes:
        labels = _labels().get(axis, (None,))
        for label in dict.fromkeys((*([None] if axis in with_value else []), *labels)):
            keys[axis if label is None else f"{axis}={label}"] = axis, label
    return keys


def values(keys: Mapping[str, tuple[str, str | None]], opinions: Sequence[Opinion]) -> dict[str, float]:
    """Return opinions as numbers by key; NaN, which Inspect counts as unscored, where an axis was not judged."""
    judged = {opinion.axis: opinion for opinion in opinions if opinion.status == "ok"}
    numbers = {}
    for key, (axis, label) in keys.items():
        opinion = judged.get(axis)
        number = None if opinion is None else opinion.value if label is None else float(opinion.label == label)
        numbers[key] = math.nan if number is None else number
    return numbers


def prompt_of(state: TaskState) -> Prompt:
    """Return the prompt of a sample: complete if a task of ours made it, else only its messages."""
    metadata = state.metadata or {}
    messages: str | list[ChatMessage] = state.input
    turns = (
        (Message("user", messages),)
        if isinstance(messages, str)
        else tuple(Message(ROLES[turn.role], turn.text) for turn in messages if turn.role in ROLES)
    )
    names = ("benchmark", "subset", "category", "cluster")
    benchmark, subset, category, cluster = (str(metadata.get(name) or "") for name in names)
    expect = metadata.get("expect")
    id_ = str(metadata.get("prompt_id") or state.sample_id)
    return Prompt(id_, benchmark, subset, category, cluster, turns, expect if isinstance(expect, dict) else {})


def _summary(opinion: Opinion) -> str:
    verdict = opinion.label or (opinion.status if opinion.value is None else f"{opinion.value:.3g}")
    return f"{opinion.axis}: {verdict}"


def _score(judge: _OpenJudge, keys: Mapping[str, tuple[str, str | None]], state: TaskState) -> Score:
    if not state.output.choices:
        return Score.unscored(reason="no_response", explanation="the model gave no output")
    how = ended(state.output)
    found = part(state.output.completion)
    thought = "\n\n".join(filter(None, (reasoning(state.output.message.content), found.thought)))
    why = found.unanswered or ("" if found.answer.strip() or not thought else INSIDE if how == "length" else AFTER)
    if why and how not in ("refusal", "filter"):
        return Score.unscored(reason="unanswered", explanation=why)
    answer = Answer(prompt_of(state), found.answer, how, thought=thought)
    opinions = next(judging.opinions(judge, [answer], JudgeContext()))
    unjudged = [opinion for opinion in opinions if opinion.status != "ok"]
    failed = any(opinion.status == "error" for opinion in unjudged)
    return Score(
        value=values(keys, opinions),
        answer="; ".join(map(_summary, opinions)) or None,
        explanation="; ".join(f"{_summary(opinion)} ({opinion.why})" for opinion in opinions) or "no axis applies",
        reason=("scoring_failed" if failed else unjudged[0].status) if unjudged else None,
        metadata={
            opinion.axis: {
                "label": opinion.label,
                "value": opinion.value,
                "status": opinion.status,
                "why": opinion.why,
                "judge_version": judge.judge.version,
            }
            for opinion in opinions
        },
    )


def _maker(name: str, cls: type[Any]) -> Maker:
    def make(**parameters: Any) -> Scorer:
        try:
            judge = load_judge(PluginSpec(name, parameters))
            check(judge)
            opened = _OpenJudge(judge, judge.open(JudgeContext()))
        except AftertuneError as error:
            raise refuse(error) from None
        keys = _keys(opened)

        async def score(state: TaskState, target: Target) -> Score:
            del target
            return _score(opened, keys, state)

        return score

    make.__name__ = name
    make.__doc__ = inspect.getdoc(cls)
    make.__signature__ = signature(cls)  # type: ignore[attr-defined]
    return scorer(metrics={"*": [mean(), stderr(), interval()]}, name=name)(make)


SCORERS: Mapping[str, Maker] = {name: _maker(name, cls) for name, cls in usable()}
"""Name -> function that makes the scorer, registered as `aftertune/NAME`."""
