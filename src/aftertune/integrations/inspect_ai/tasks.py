"""Every benchmark that needs no run data as a task of Inspect AI: `inspect eval aftertune/NAME --model MODEL`."""

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
from aftertune.asking.benchmark import Benchmark, BenchmarkContext
from aftertune.errors import AftertuneError, UsageError
from aftertune.integrations.inspect_ai.scorers import SCORERS, refuse, signature
from aftertune.models.chat import message_hash
from aftertune.records import Message, Prompt, plain
from aftertune.studies import suites

Maker = Callable[..., Task]
_TURNS: Mapping[str, Callable[..., ChatMessage]] = {
    "system": ChatMessageSystem,
    "user": ChatMessageUser,
    "assistant": ChatMessageAssistant,
}
_MORE = (
    inspect.Parameter("judges", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Any),
    # Inspect drops what a signature does not know with a mere warning: this takes it, so that it is refused by name.
    inspect.Parameter("unknown", inspect.Parameter.VAR_KEYWORD),
)


def sample(prompt: Prompt) -> Sample:
    """Return a prompt as a sample; what pairing, clustering and judging need is in its metadata."""
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
    """Return the scorers that were asked for, else those of the suite's judges that need no run."""
    if judges is None:
        wanted = [part.name for part in suites.named(name)[1] if part.name in SCORERS] if name != suites.LISTS else []
        wanted = wanted or ["refusal", "coherence"]
    else:
        wanted = [each.strip() for each in (judges.split(",") if isinstance(judges, str) else judges)]
    for each in wanted:
        if each not in SCORERS:
            raise UsageError(
                f"no judge '{each}' that reads prompt and response alone{plugins.near(each, list(SCORERS))}"
            )
    return [SCORERS[each]() for each in wanted]


def _made(name: str, parameters: Mapping[str, Any]) -> Task:
    given = dict(parameters)
    judges = given.pop("judges", None)
    part = suites.benchmark(name) if name != suites.LISTS else None
    plugin = part.name if part else name
    fixed: Mapping[str, Any] = part.parameters if part else {}
    benchmark: Benchmark = plugins.load("benchmark", plugin, {**fixed, **given})
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
            return _made(name, parameters)
        except AftertuneError as error:
            raise refuse(error) from None

    make.__name__ = name
    make.__doc__ = inspect.getdoc(cls)
    make.__signature__ = signature(cls, _MORE, without)  # type: ignore[attr-defined]
    return task(name=name)(make)


def _registered() -> dict[str, Maker]:
    """Register what the plugins hold; a benchmark that needs the data of a run, or cannot be made, is no task."""
    found = {}
    for name in (*suites.names(), suites.LISTS):
        part = suites.benchmark(name) if name != suites.LISTS else None
        plugin = part.name if part else name
        fixed = dict(part.parameters) if part else {}
        try:
            if not plugins.load("benchmark", plugin, fixed).needs:
                found[name] = _maker(name, plugins.plugin_class("benchmark", plugin), list(fixed))
        except UsageError:
            continue
    return found


TASKS: Mapping[str, Maker] = _registered()
"""Name -> maker of the task, registered as `aftertune/NAME`."""
