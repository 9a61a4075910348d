"""What each cell does: read what it needs from the run, call one step, write what came out."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aftertune import composing, parts, plugins, scoring
from aftertune import plan as planning
from aftertune.design import Design, Part
from aftertune.errors import StoreError
from aftertune.kinds import Answer, Backend, BenchmarkContext, Cell, JudgeContext, Reply, Session
from aftertune.pii.registry import Registry
from aftertune.plan import ComposeJob, JudgeJob, Plan, RespondJob, ScoreJob, Subject, TuneJob
from aftertune.records import Conversation, Key, Person, Prompt, Response, Verdict, digest
from aftertune.steps import judge, respond, tune
from aftertune.store import CellFolder, Run, records, table

log = logging.getLogger(__name__)
FLUSH = 64
"""Replies between two flushes of the journal: what a crash can cost."""


@dataclass(frozen=True)
class Worker:
    """Does cells of one run; picklable, so that an executor can send it to another process."""

    root: Path

    def __call__(self, cell: Cell) -> None:
        """Do one cell, unless it is done already."""
        run = Run.open(self.root)
        folder = run.cell(cell.kind, cell.id)
        if folder.complete:
            return
        plan = _plan(self.root)
        job = plan.jobs[cell.id]
        folder.start()
        began = (time.time(), time.process_time())
        info: dict[str, object]
        if isinstance(job, ComposeJob):
            info = {"documents": compose_variants(plan, job, folder)}
        elif isinstance(job, TuneJob):
            info = _tune(run, plan, job, folder)
        elif isinstance(job, RespondJob):
            info = _respond(run, plan, job, folder)
        elif isinstance(job, ScoreJob):
            path = _checkpoint_path(run, job.subject)
            assert path is not None
            info = scoring.do(run, plan, job, _LOADED.get(plan, job.subject.base), path)
        else:
            info = _judge(run, plan, job, folder)
        spent = {"seconds": round(time.time() - began[0], 3), "cpu_seconds": round(time.process_time() - began[1], 3)}
        tables = info.pop("tables", None)
        documents = info.pop("documents", None)
        folder.finish(
            tables=tables if isinstance(tables, dict) else None,
            documents=documents if isinstance(documents, dict) else None,
            info={"label": cell.label, **spent, **info},
        )


@functools.lru_cache(maxsize=2)
def _plan(root: Path) -> Plan:
    return planning.make(Run.open(root).design())


# ---------------------------------------------------------------------------------------------- one loaded base


class _Loaded:
    """The base that this process holds: loading it once serves every cell that comes here."""

    def __init__(self) -> None:
        self.stack = contextlib.ExitStack()
        self.key = ""
        self.session: Session | None = None
        atexit.register(self.stack.close)  # while the interpreter is whole; later its modules are half gone

    def get(self, plan: Plan, base: planning.Base) -> Session:
        key = digest(plan.design.backend, base.model.identity, str(base.model.path))
        if self.session is None or key != self.key:
            self.stack.close()
            self.session, self.key = None, ""
            backend: Backend = plugins.load("backend", plan.design.backend.name, plan.design.backend.parameters)
            self.session = self.stack.enter_context(backend.open(str(base.model.path)))
            self.key = key
        return self.session


_LOADED = _Loaded()


# ---------------------------------------------------------------------------------------------- compose


def compose_variants(plan: Plan, job: ComposeJob, folder: CellFolder) -> dict[str, object]:
    """Do a `variants` cell: `composing.compose_variants`, the base at hand for answers of its own."""
    return composing.compose_variants(plan, job, folder, lambda kept: _own_answers(plan, job.base, kept))


def _own_answers(plan: Plan, base: planning.Base, conversations: Sequence[Conversation]) -> dict[tuple[str, int], str]:
    """Answer every assistant turn with the base at temperature 0: the control of Fraser et al. (arXiv 2506.17209)."""
    prompts = []
    turns: dict[str, tuple[str, int]] = {}
    for conversation in conversations:
        for index, message in enumerate(conversation.messages):
            if message.role == "assistant":
                id_ = f"{conversation.id}/{index}"
                turns[id_] = (conversation.id, index)
                prompts.append(Prompt(id_, "", "", "", "", conversation.messages[:index]))
    session = _LOADED.get(plan, base)
    session.use(None)
    replies = respond.respond(
        session,
        prompts,
        checkpoint=None,
        checkpoint_id=base.model.identity,
        temperatures=(0.0,),
        samples=1,
        max_new_tokens=128,
        seed=0,
        system=plan.design.respond.system or None,
        template="base",
    )
    return {turns[reply.prompt_id]: reply.text for reply in replies if reply.error is None}


# ---------------------------------------------------------------------------------------------- tune and respond


def _tune(run: Run, plan: Plan, job: TuneJob, folder: CellFolder) -> dict[str, object]:
    conversations = composing.read(run.cell("variants", job.variants).path / f"{job.arm.name}.jsonl")
    report = tune.tune(job.base.model.path, conversations, plan.design.recipe, job.seed, folder.path)
    facts = {f.name: getattr(report, f.name) for f in dataclasses.fields(report) if f.name != "checkpoints"}
    return {"tuning": facts}


def _respond(run: Run, plan: Plan, job: RespondJob, folder: CellFolder) -> dict[str, object]:
    design, subject = plan.design, job.subject
    benchmark = parts.benchmark(job.benchmark)
    prompts = benchmark.prompts(benchmark_context(run, plan, job))
    by_id = {prompt.id: prompt for prompt in prompts}
    journal = [row for row in folder.journal(Response) if row.prompt_id in by_id and row.error is None]
    done = {_place(row): row for row in journal}
    session = _LOADED.get(plan, subject.base)
    path = _checkpoint_path(run, subject)
    proof = session.use(path)
    replies = respond.respond(
        session,
        prompts,
        checkpoint=path,
        checkpoint_id=subject.id,
        temperatures=design.respond.temperatures,
        samples=design.respond.samples,
        max_new_tokens=benchmark.max_new_tokens,
        seed=design.respond.seed,
        system=design.respond.system or None,
        template=design.respond.template,
        skip=frozenset(done),
    )
    rows = list(done.values())
    fresh: list[Response] = []
    served = subject.base.model.kind == "served"
    for reply in replies:
        fresh.append(_response(reply, by_id[reply.prompt_id], subject, design))
        # An answer of a server may have cost money: each is flushed as it comes.
        if served or len(fresh) >= FLUSH:
            folder.append(fresh)
            rows += fresh
            fresh = []
    rows += fresh
    rows.sort(key=_place)
    seen = {"served": session.report()} if served else {}  # type: ignore[attr-defined]
    return {"tables": {"responses": table(Response, rows)}, "proof": proof, "asked": len(rows), **seen}


def _checkpoint_path(run: Run, subject: Subject) -> Path | None:
    if subject.path is None:
        return None
    return run.root / subject.path if subject.tuned_by else Path(subject.path)


def benchmark_context(run: Run, plan: Plan, job: RespondJob) -> BenchmarkContext:
    """Return what the benchmark of a cell may ask for."""
    if job.variants is None or plan.design.corpus is None:
        return BenchmarkContext()
    folder = run.cell("variants", job.variants)
    people = folder.document("people")
    return BenchmarkContext(
        training=composing.read(folder.path / "source.jsonl"),
        people=tuple(_people(people["source"])),
        twins=tuple(_people(people["twin"])),
    )


def _response(reply: Reply, prompt: Prompt, subject: Subject, design: Design) -> Response:
    return Response(
        base=subject.base.name, arm=subject.arm, recipe=subject.recipe, train_seed=subject.train_seed,
        epoch=subject.epoch, checkpoint=subject.id, benchmark=prompt.benchmark, subset=prompt.subset,
        prompt_id=prompt.id, cluster=prompt.cluster, category=prompt.category,
        system=digest(design.respond.system) if design.respond.system else "", template=design.respond.template,
        temperature=reply.temperature, sample=reply.sample, message_hash=reply.message_hash,
        token_hash=reply.token_hash, text=reply.text, finish_reason=reply.finish_reason, new_tokens=reply.new_tokens,
        error=reply.error,
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------- judge


def _judge(run: Run, plan: Plan, job: JudgeJob, folder: CellFolder) -> dict[str, object]:
    instrument = parts.judge(job.judge)
    checked = _checked(job.judge)
    prompts = {p.id: p for p in parts.benchmark(job.asked.benchmark).prompts(benchmark_context(run, plan, job.asked))}
    rows = records(Response, run.cell("responses", job.responses).read("responses"))
    base_rows = records(Response, run.cell("responses", job.base_responses).read("responses"))
    base_text: dict[str, str] = {}
    for row in base_rows:
        base_text.setdefault(row.prompt_id, row.text)
    verdicts = [row for row in folder.journal(Verdict) if row.judge_version == instrument.version]
    failed = {_place(verdict) for verdict in verdicts if verdict.status == "error"}
    failed |= {_place(verdict) for verdict in verdicts[-1:]}  # the crash may have torn off one of its axes
    verdicts = [verdict for verdict in verdicts if _place(verdict) not in failed]
    done = {_place(verdict) for verdict in verdicts}
    asked = [row for row in rows if row.error is None and _place(row) not in done]
    answers = [Answer(prompts[r.prompt_id], r.text, r.finish_reason, base_text.get(r.prompt_id)) for r in asked]
    context = _judge_context(run, plan, job, [
        Answer(prompts[row.prompt_id], row.text, row.finish_reason) for row in base_rows if row.error is None
    ])  # fmt: skip
    spent = getattr(instrument, "cost", None)
    for row, opinions in zip(asked, judge.judge(instrument, answers, context), strict=True):
        found = [
            _verdict(row, job.judge.name, instrument.version, o.axis, o.label, o.value, o.status, o.why)
            for o in opinions
        ]
        verdicts += found
        if spent is not None:
            folder.append(found)  # a model was asked for them
    for row in rows:
        if row.error is not None:  # asked but not answered: unjudged on every axis, counted and shown
            for axis in instrument.axes:
                verdicts.append(_verdict(row, job.judge.name, instrument.version, axis, None, None, "error", row.error))
    order = {_place(row): at for at, row in enumerate(rows)}
    verdicts.sort(key=lambda verdict: order[_place(verdict)])
    cost = {"cost": dataclasses.asdict(spent)} if spent is not None else {}
    return {"tables": {"verdicts": table(Verdict, verdicts)}, "anchors": checked, "judge": job.judge.name, **cost}


_CHECKS: dict[str, dict[str, Any]] = {}


def _checked(part: Part) -> dict[str, Any]:
    """Try a judge on its anchors, a judge that asks a model once per process only."""
    instrument, id_ = parts.judge(part), parts.part_id("judge", part)
    if not hasattr(instrument, "cost"):
        return judge.check(instrument)
    if id_ not in _CHECKS:
        _CHECKS[id_] = judge.check(instrument)
    return _CHECKS[id_]


def _place(row: Key) -> tuple[str, float, int]:
    return row.prompt_id, row.temperature, row.sample


def _verdict(row: Response, name: str, version: str, axis: str, label: str | None, value: float | None,
             status: Any, why: str) -> Verdict:  # fmt: skip
    shared = {field.name: getattr(row, field.name) for field in dataclasses.fields(Key)}
    return Verdict(
        **shared, judge=name, judge_version=version, axis=axis, label=label, value=value, status=status, why=why
    )


def _judge_context(run: Run, plan: Plan, job: JudgeJob, base_answers: Sequence[Answer]) -> JudgeContext:
    subject = job.asked.subject
    model, served = subject.base.model.identity, _served_names(plan, subject)
    made = next((cell for cell in plan.of("variants") if _is_for(plan, cell, subject)), None)
    if made is None:
        return JudgeContext(model=model, served=served, base_answers=base_answers)
    folder = run.cell("variants", made.id)
    registries = _registries(folder, subject.arm)
    tuned = folder.path / f"{subject.arm}.jsonl"
    # An audited checkpoint, and the base itself, are held against the corpus as it was given.
    training = composing.read(tuned if tuned.is_file() else folder.path / "source.jsonl")
    return JudgeContext(model=model, served=served, registries=registries, training=training, base_answers=base_answers)


def _served_names(plan: Plan, subject: Subject) -> frozenset[str]:
    """Return the names of a served subject and of its base; empty for models that are here."""
    if subject.base.model.kind != "served" or subject.path is None:
        return subject.base.model.names
    return subject.base.model.names | parts.model(subject.path, None, plan.design.backend).names


@functools.lru_cache(maxsize=8)
def _registries(folder: CellFolder, arm: str) -> Mapping[str, Registry]:
    """Return the registries of an arm; that of the corpus knows from which rows of the tuning set its values are."""
    people = folder.document("people")
    found = {"twin": Registry.of("twin", _people(people["twin"]))} if people["twin"] else {}
    if people["source"]:
        source = composing.read(folder.path / "source.jsonl")
        found["source"] = Registry.of("source", _people(people["source"]), source)
    if arm in people["own"]:
        found["own"] = Registry.of("own", _people(people["own"][arm]))
    return found


def _is_for(plan: Plan, cell: Cell, subject: Subject) -> bool:
    job = plan.jobs[cell.id]
    return isinstance(job, ComposeJob) and job.base.name == subject.base.name


def _people(rows: Sequence[Mapping[str, Any]]) -> Iterator[Person]:
    for row in rows:
        yield Person(row["id"], row["values"])


def all_verdicts(run: Run, plan: Plan) -> Any:
    """Return the verdict tables of every finished cell as one. Raises StoreError where there are none."""
    import pyarrow as pa

    tables = [
        run.cell("verdicts", c.id).read("verdicts") for c in plan.of("verdicts") if run.cell("verdicts", c.id).complete
    ]
    if not tables:
        raise StoreError(f"{run.root}: no verdicts yet; run the same command to continue it")
    return pa.concat_tables(tables)
