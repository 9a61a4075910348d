"""Plugins that do as their fields say, resolved without a look-up, and the records that jobs are made of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from aftertune.asking.benchmark import Benchmark, BenchmarkContext
from aftertune.asking.resolved import ResolvedBenchmark
from aftertune.deciding import policy
from aftertune.judging.judge import Answer, Cost, Judge, JudgeContext, Opinion, Scorer
from aftertune.judging.resolved import ResolvedJudge
from aftertune.models import chat
from aftertune.models.loaded import LOADED
from aftertune.models.resolved import ResolvedBackend
from aftertune.models.session import Backend, Beginnings, BeginningScore, Reply, Request, Session, Template, TextScore
from aftertune.models.subject import ModelRecord, Subject
from aftertune.plugins import Plugin, PluginSpec
from aftertune.records import BASE_ARM, Conversation, Json, Message, Metric, Prompt, Proof, digest, plain
from aftertune.run.job import Job, Output
from aftertune.run.run_folder import Run
from aftertune.studies import stored
from aftertune.studies.design import Design, Given
from aftertune.studies.jobs import Jobs
from aftertune.studies.study import Study
from aftertune.variants.corpus import Corpus
from aftertune.variants.resolved import ResolvedCorpus

CAPABILITIES = frozenset({"weights", "adapters", "scores", "beginnings"})


def parameters(plugin: Plugin) -> dict[str, Any]:
    """The parameters of a plugin as a design holds them."""
    values: dict[str, Any] = plain(plugin)
    return values


# ---------------------------------------------------------------------------------------------- models


def model(name: str = "m", **changes: Any) -> ModelRecord:
    fields: dict[str, Any] = {
        "name": name, "path": f"/models/{name}", "kind": "full", "architecture": "L", "identity": f"identity of {name}",
        "weights_hash": f"weights of {name}", "tokenizer_hash": "t", "template_hash": "c", "parameters": 7,
    }  # fmt: skip
    return ModelRecord(**{**fields, **changes})


def base(record: ModelRecord | None = None) -> Subject:
    record = record or model()
    return Subject(record, BASE_ARM, "", None, None, digest("model", record.identity), None)


def given(arm: str = "mine", path: str = "/models/adapter", **changes: Any) -> Subject:
    """A checkpoint that existed already."""
    adapter = model("adapter", kind="adapter", path=path)
    fields: dict[str, Any] = {
        "base": model(), "arm": arm, "recipe": "given", "train_seed": 1, "epoch": None, "id": f"id of {arm}",
        "path": path, "model": adapter,
    }  # fmt: skip
    return Subject(**{**fields, **changes})


@dataclass
class Calls:
    """What the sessions of a scripted backend were asked, for a test to read."""

    opened: list[str] = field(default_factory=list)
    used: list[Path | None] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    settings: list[tuple[str | None, str]] = field(default_factory=list)
    scored: list[tuple[Path | None, list[str], int]] = field(default_factory=list)


@dataclass(frozen=True)
class Scripted(Backend):
    """Answers each prompt with its id and the checkpoint in use; `failing` prompts end in an error."""

    failing: tuple[str, ...] = ()
    dies_at: str = ""
    """The prompt at which the process is killed."""
    inexact: bool = False
    split: bool = False
    """Whether the base answers on one device and its checkpoints on another."""
    calls: Calls = field(default_factory=Calls, compare=False)
    capabilities: frozenset[str] = CAPABILITIES  # type: ignore[assignment]

    def open(self, base: str) -> AbstractContextManager[Session]:
        self.calls.opened.append(base)
        return nullcontext(ScriptedSession(self))


class Killed(BaseException):
    """Stands for the end of the process."""


class ScriptedSession(Session):
    def __init__(self, backend: Scripted) -> None:
        self.backend, self.calls = backend, backend.calls
        self.now: Path | None = None

    def use(self, checkpoint: Path | None) -> Proof:
        self.now = checkpoint
        self.calls.used.append(checkpoint)
        device = "cuda" if self.backend.split and checkpoint is not None else "cpu"
        return Proof(str(checkpoint), 0.5, 0.0, 3, how="on a cuda that it is not", device=device)

    def respond(self, requests: Sequence[Request], *, system: str | None, template: Template) -> Iterator[Reply]:
        self.calls.settings.append((system, template))
        for request in requests:
            prompt = request.prompt
            if prompt.id == self.backend.dies_at:
                raise Killed
            self.calls.requests.append(request)
            failed = prompt.id in self.backend.failing
            yield Reply(
                prompt.id, request.temperature, request.sample,
                "" if failed else f"{prompt.id} by {self.now and self.now.name}", "error" if failed else "stop", 3,
                chat.message_hash(prompt.messages, system), "tokens", "it broke" if failed else None,
            )  # fmt: skip

    @property
    def exact(self) -> bool:
        return not self.backend.inexact

    def score(
        self,
        conversations: Sequence[Conversation],
        *,
        template: Template,
        max_length: int,
        template_arguments: Mapping[str, Json] = chat.NO_ARGUMENTS,
    ) -> Sequence[TextScore]:
        self.calls.scored.append((self.now, [each.id for each in conversations], max_length))
        loss = 2.0 if self.now is None else 1.0
        return [TextScore(10 * loss, 10) for _ in conversations]

    def beginnings(
        self, items: Sequence[Beginnings], *, system: str | None, template: Template
    ) -> Sequence[BeginningScore]:
        return [
            BeginningScore(tuple(-1.0 - at for at in range(len(item.texts))), (1,) * len(item.texts)) for item in items
        ]

    def report(self) -> Mapping[str, Any]:
        return {"warnings": ["slow"], "requests": len(self.calls.requests)}


def backend(plugin: Backend | None = None, name: str = "scripted") -> ResolvedBackend:
    plugin = plugin or Scripted()
    return ResolvedBackend.of(PluginSpec(name), plugin)


# ---------------------------------------------------------------------------------------------- benchmarks


@dataclass(frozen=True)
class Listed(Benchmark):
    """Asks so many prompts; with `needs` it asks about the tuning rows instead."""

    name: str = "listed"
    count: int = 3
    file: str = ""
    needs: frozenset[str] = frozenset()  # type: ignore[misc]
    max_new_tokens: int = 16
    scored: tuple[str, ...] = ()
    """Prompts whose options are scored and that are not answered."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (Metric(self.name, "harmful", "refusal", "full", "down", "refusals"),)

    def files(self) -> tuple[Path, ...]:
        return (Path(self.file),) if self.file else ()

    def prompts(self, context: BenchmarkContext) -> Sequence[Prompt]:
        if self.needs:
            rows: list[str] = [row.id for row in context.training] + [f"out-{row.id}" for row in context.held_out]
            rows += [f"{person.id}-{twin.id}" for person, twin in zip(context.people, context.twins, strict=True)]
        else:
            rows = [f"p{index}" for index in range(self.count)]
        return [self._prompt(row) for row in rows]

    def _prompt(self, id_: str) -> Prompt:
        expect = {"scored": {"forms": {"A": ["A", "(A"], "B": ["B"]}, "generate": False}} if id_ in self.scored else {}
        return Prompt(id_, self.name, "harmful", "c", f"cluster-{id_}", (Message("user", f"Tell me of {id_}"),), expect)


def benchmark(plugin: Listed | None = None) -> ResolvedBenchmark:
    plugin = plugin or Listed()
    return ResolvedBenchmark.of(PluginSpec("listed", parameters(plugin)), plugin)


# ---------------------------------------------------------------------------------------------- judges


@dataclass
class Reads:
    """What a judge read, and what it has spent."""

    answers: list[Answer] = field(default_factory=list)
    contexts: list[JudgeContext] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True)
class Wordy(Judge):
    """Calls every answer `none`, but breaks on the texts of some prompts."""

    name: str = "wordy"
    axes: tuple[str, ...] = ("refusal",)
    needs: frozenset[str] = frozenset()  # type: ignore[misc]
    breaks_on: tuple[str, ...] = ()
    dies_at: str = ""
    paid: bool = False
    strict: int = 0
    own: str = ""
    reads: Reads = field(default_factory=Reads, compare=False)
    batch: ClassVar[int] = 2
    own_anchors_only: ClassVar[bool] = True

    def open(self, context: JudgeContext) -> Scorer:
        self.reads.contexts.append(context)

        def score(answers: Sequence[Answer]) -> Sequence[tuple[Opinion, ...]]:
            opinions = []
            for answer in answers:
                if answer.prompt.id in self.breaks_on:
                    raise ValueError("unreadable")
                if answer.prompt.id == self.dies_at:
                    raise Killed
                self.reads.answers.append(answer)
                self.reads.cost += Cost(judged=1, calls=2)
                opinions.append(tuple(Opinion(axis, "none", why=answer.text) for axis in self.axes))
            return opinions

        return score

    def identity(self) -> str | None:
        return self.own or None

    @property
    def cost(self) -> Cost | None:
        return self.reads.cost if self.paid else None


def judge(plugin: Wordy | None = None) -> ResolvedJudge:
    plugin = plugin or Wordy()
    return ResolvedJudge.of(PluginSpec("wordy", parameters(plugin)), plugin)


# ---------------------------------------------------------------------------------------------- corpora


@dataclass(frozen=True)
class Rows(Corpus):
    """Conversations of nobody."""

    count: int = 4
    file: str = ""

    def conversations(self) -> Sequence[Conversation]:
        return [
            Conversation(
                f"r{index}", (Message("user", f"question {index}"), Message("assistant", f"answer {index}")), ()
            )
            for index in range(self.count)
        ]

    def files(self) -> tuple[Path, ...]:
        return (Path(self.file),) if self.file else ()


def corpus(name: str = "", plugin: Corpus | None = None) -> ResolvedCorpus:
    plugin = plugin or Rows()
    return ResolvedCorpus.of(name, PluginSpec("rows", parameters(plugin)), plugin)


# ---------------------------------------------------------------------------------------------- jobs


def do(run: Run, job: Job) -> Output:
    """Do a job as a worker does, in this process; return what came out."""
    folder = run.job(job)
    folder.start()
    output = job.run(run, folder)
    folder.finish(tables=output.tables, documents=output.documents, info=output.info)
    return output


def given_study(backend_: Scripted | None = None, *judges: Wordy, name: str = "m", **changes: Any) -> Study:
    """A study of one base and a checkpoint that existed already, without tuning data."""
    plugin = backend_ or Scripted()
    record = model(name)
    adapter = model("adapter", kind="adapter")
    design = Design(name="made-up", bases=(name,), checkpoints=(Given("adapter", arm="mine", seed=1),), **changes)
    benchmarks = (benchmark(),)
    resolved = tuple(map(judge, judges or (Wordy(),)))
    jobs = Jobs(design, (), None, benchmarks, resolved, backend(plugin), (), {})
    jobs.add({record: [(design.checkpoints[0], adapter)]})
    return Study(
        design, (record,), tuple(jobs.subjects), (), None, benchmarks, resolved, backend(plugin),
        policy.load(design.policy), (), (), tuple(jobs.made),
    )  # fmt: skip


def done(root: Path, study: Study) -> Run:
    """Write a study into a run and do its jobs."""
    LOADED.unload()
    run = stored.begin(root, study, {"versions": {"python": "3"}, "hardware": {"machine": "m"}})
    for job in study.jobs:
        if not run.job(job).complete:
            do(run, job)
    return run


def put_rows(path: Path, *ids: str) -> None:
    """Write a chat file of small conversations."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {"id": id_, "messages": [{"role": "user", "content": f"ask {id_}"}, {"role": "assistant", "content": "yes"}]}
        for id_ in ids
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
