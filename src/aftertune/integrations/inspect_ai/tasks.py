"""Every benchmark that needs no data of a run as a task of Inspect AI: `inspect eval aftertune/NAME --model MODEL`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
)
from inspect_ai.scorer import Scorer
from inspect_ai.solver import generate

from aftertune import plugins
from aftertune.asking.benchmark import BenchmarkContext
from aftertune.errors import AftertuneError, UsageError, near
from aftertune.integrations.inspect_ai.scorers import SCORERS, refuse, signature
from aftertune.models.chat import message_hash
from aftertune.plugins import PluginSpec
from aftertune.records import Message, Prompt, plain
from aftertune.studies import suites
from aftertune.studies.resolve import load_benchmark

Maker = Callable[..., Task]
_TURNS: Mapping[str, Callable[..., ChatMessage]] = {
    "system": ChatMessageSystem,
    "user": ChatMessageUser,
    "assistant": ChatMessageAssistant,
}
_MORE = (
    inspect.Parameter("judges", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Any),
    # Inspect drops arguments outside the signature with a mere warning; this collects them, to be refused by name.
    inspect.Parameter("unknown", inspect.Parameter.VAR_KEYWORD),
)


def sample(prompt: Prompt) -> Sample:
    """Return a prompt as a sample, with what pairing, clustering and judging need in its metadata."""
    choice = prompt.expect.get("choice")
    return Sample(
        input=[_turn(message) for message in prompt.messages],
        target=str(choice["correct"]) if choice else "",
        id=prompt.id,
        metadata={
            "prompt_id": prompt.id,
            "benchmark": prompt.benchmark,
            "subset": prompt.subset,
            "category": prompt.category,
            "cluster": prompt.cluster,
            "message_hash": message_hash(prompt.messages, None),
            "expect": plain(prompt.expect),
        },
    )


def _turn(message: Message) -> ChatMessage:
    return _TURNS[message.role](content=message.content)


def _scorers(name: str, judges: str | Sequence[str] | None) -> list[Scorer]:
    """Return the scorers by name; by default those of the suite's judges that need no run."""
    if judges is None:
        names = (
            [spec.name for spec in suites.named(name).judges if spec.name in SCORERS] if name != suites.LISTS else []
        )
        names = names or ["refusal", "coherence"]
    else:
        names = [each.strip() for each in (judges.split(",") if isinstance(judges, str) else judges)]
    for each in names:
        if each not in SCORERS:
            raise UsageError(f"no judge '{each}' that reads prompt and response alone{near(each, list(SCORERS))}")
    return [SCORERS[each]() for each in names]


def _spec(name: str) -> PluginSpec:
    """Return the benchmark plugin behind the name of a task."""
    return suites.benchmark(name) if name != suites.LISTS else PluginSpec(name)


def _make(name: str, parameters: Mapping[str, Any]) -> Task:
    options = dict(parameters)
    judges = options.pop("judges", None)
    spec = _spec(name)
    benchmark = load_benchmark(PluginSpec(spec.name, {**spec.parameters, **options}))
    scorers = _scorers(name, judges)
    prompts = benchmark.prompts(BenchmarkContext())
    return Task(
        dataset=MemoryDataset([sample(prompt) for prompt in prompts], name=name),
        solver=generate(),
        scorer=scorers,
        config=GenerateConfig(max_tokens=benchmark.max_new_tokens),
        version=benchmark.version,
        metadata={"aftertune": name},
    )


def _maker(name: str, cls: type[Any], without: Sequence[str]) -> Maker:
    def make(**parameters: Any) -> Task:
        try:
            return _make(name, parameters)
        except AftertuneError as error:
            raise refuse(error) from None

    make.__name__ = name
    make.__doc__ = inspect.getdoc(cls)
    make.__signature__ = signature(cls, _MORE, without)  # type: ignore[attr-defined]
    return task(name=name)(make)


def _registered() -> dict[str, Maker]:
    """Register every benchmark that can be made here and needs no data of a run."""
    makers = {}
    for name in (*suites.names(), suites.LISTS):
        spec = _spec(name)
        try:
            if not load_benchmark(spec).needs:
                makers[name] = _maker(name, plugins.plugin_class("benchmark", spec.name), list(spec.parameters))
        except UsageError:
            continue  # it needs a parameter or a package
    return makers


TASKS: Mapping[str, Maker] = _registered()
"""Name -> function that makes the task, registered as `aftertune/NAME`."""
