"""What each cell does: read what it needs from the run, call one step, write what came out."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aftertune import chat, composing, parts, plugins, scoring
from aftertune import plan as planning
from aftertune.design import Design
from aftertune.errors import StoreError
from aftertune.kinds import Answer, Backend, BenchmarkContext, Cell, JudgeContext, Reply, Session
from aftertune.pii.registry import Registry
from aftertune.plan import ComposeJob, JudgeJob, Plan, RespondJob, ScoreJob, Subject, TuneJob
from aftertune.records import Conversation, Key, Prompt, Response, Verdict, digest
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
        plan = _plan(self.root, (self.root / "design.toml").read_bytes())
        job = plan.jobs[cell.id]
        folder.start()
        began = (time.time(), time.process_time(), _LOADED.seconds)
        info: dict[str, object]
        if isinstance(job, ComposeJob):
            info = {"documents": compose_variants(plan, job, folder)}
        elif isinstance(job, TuneJob):
            info = _tune(run, job, folder)
        elif isinstance(job, RespondJob):
            info = _respond(run, plan, job, folder)
        elif isinstance(job, ScoreJob):
            path = _checkpoint_path(run, job.subject)
            assert path is not None
            info = scoring.do(run, plan, job, _LOADED.get(plan, job.subject.base), path)
        else:
            info = _judge(run, plan, job)
        spent = {"seconds": round(time.time() - began[0], 3), "cpu_seconds": round(time.process_time() - began[1], 3)}
        spent["start_seconds"] = round(_LOADED.seconds - began[2], 3)
        tables = info.pop("tables", None)
        documents = info.pop("documents", None)
        folder.finish(
            tables=tables if isinstance(tables, dict) else None,
            documents=documents if isinstance(documents, dict) else None,
            info={"label": cell.label, **spent, **info},
        )


@functools.lru_cache(maxsize=2)
def _plan(root: Path, design: bytes) -> Plan:
    del design  # another judge may have been added since
    return planning.make(Run.open(root).design())


# ---------------------------------------------------------------------------------------------- one loaded base


class _Loaded:
    """The base that this process holds: loading it once serves every cell that comes here."""

    def __init__(self) -> None:
        self.stack = contextlib.ExitStack()
        self.key = ""
        self.session: Session | None = None
        self.seconds = 0.0  # what loading took so far, imports and the trial of judges included
        atexit.register(self.stack.close)  # while the interpreter is whole; later its modules are half gone

    def get(self, plan: Plan, base: planning.Base) -> Session:
        key = digest(plan.design.backend, base.model.weights_hash, str(base.model.path))
        if self.session is None or key != self.key:
            began = time.time()
            self.stack.close()
            self.session, self.key = None, ""
            backend: Backend = plugins.load("backend", plan.design.backend.name, plan.design.backend.parameters)
            self.session = self.stack.enter_context(backend.open(str(base.model.path)))
            self.key = key
            self.seconds += time.time() - began
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
        checkpoint_id=base.model.weights_hash or base.name,
        temperatures=(0.0,),
        samples=1,
        max_new_tokens=128,
        seed=0,
        system=plan.design.respond.system or None,
        template="base",
    )
    return {turns[reply.prompt_id]: reply.text for reply in replies if reply.error is None}


# ---------------------------------------------------------------------------------------------- tune and respond


def _tune(run: Run, job: TuneJob, folder: CellFolder) -> dict[str, object]:
    conversations = composing.read(run.cell("variants", job.variants).path / f"{job.arm.name}.jsonl")
    report = tune.tune(job.base.model.path, conversations, job.recipe, job.seed, folder.path)
    facts = {f.name: getattr(report, f.name) for f in dataclasses.fields(report) if f.name != "checkpoints"}
    return {"tuning": facts}


def _respond(run: Run, plan: Plan, job: RespondJob, folder: CellFolder) -> dict[str, object]:
    design, subject = plan.design, job.subject
    benchmark = parts.benchmark(job.benchmark)
    prompts = prompts_of(run, job)
    by_id = {prompt.id: prompt for prompt in prompts}
    done = {(r.prompt_id, r.temperature, r.sample): r for r in folder.journal(Response) if r.prompt_id in by_id}
    session = _LOADED.get(plan, subject.base)
    path = _checkpoint_path(run, subject)
    proof = session.use(path)
    first = design.respond.temperatures[0]
    scores = respond.scores(
        session,
        [prompt for prompt in prompts if (prompt.id, first, 0) not in done],
        checkpoint=path,
        system=design.respond.system or None,
        template=design.respond.template,
    )
    rows = list(done.values())
    rows += [
        _scored(_unasked(prompt, first, design), scores, prompt, job, design)
        for prompt in prompts
        if prompt.id in scores and not respond.generates(prompt)
    ]
    folder.append(rows[len(done) :])
    replies = respond.respond(
        session,
        [prompt for prompt in prompts if respond.generates(prompt)],
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
    fresh: list[Response] = []
    for reply in replies:
        own = scores if (reply.temperature, reply.sample) == (first, 0) else {}
        fresh.append(_scored(reply, own, by_id[reply.prompt_id], job, design))
        if len(fresh) >= FLUSH:
            folder.append(fresh)
            rows += fresh
            fresh = []
    rows += fresh
    rows.sort(key=lambda row: (row.prompt_id, row.temperature, row.sample))
    return {"tables": {"responses": table(Response, rows)}, "proof": proof, "asked": len(rows)}


def _checkpoint_path(run: Run, subject: Subject) -> Path | None:
    if subject.path is None:
        return None
    return run.root / subject.path if subject.tuned_by else Path(subject.path)


def prompts_of(run: Run, job: RespondJob) -> Sequence[Prompt]:
    """Return the prompts of a cell; those made from one of several corpora are named with it, people as well."""
    found = parts.benchmark(job.benchmark).prompts(benchmark_context(run, job))
    if job.variants is None or not job.corpus:
        return found
    return [replace(p, id=f"{job.corpus}/{p.id}", cluster=f"{job.corpus}/{p.cluster}") for p in found]


def benchmark_context(run: Run, job: RespondJob) -> BenchmarkContext:
    """Return what the benchmark of a cell may ask for."""
    if job.variants is None or job.corpus is None:
        return BenchmarkContext()
    folder = run.cell("variants", job.variants)
    people = folder.document(parts.named("people", job.corpus))
    arms = run.design().arms
    return BenchmarkContext(
        training=composing.read(folder.path / f"{parts.named('source', job.corpus)}.jsonl"),
        held_out=composing.held_out(folder.path, job.corpus, (a.name for a in arms if a.corpus == job.corpus)),
        people=tuple(composing.persons(people["source"])),
        twins=tuple(composing.persons(people["twin"])),
    )


def _unasked(prompt: Prompt, temperature: float, design: Design) -> Reply:
    """Return what stands for the answer to a prompt whose options are scored and that is not answered."""
    sent = chat.message_hash(prompt.messages, design.respond.system or None)
    return Reply(prompt.id, temperature, 0, "", "stop", 0, sent, None)


def _scored(
    reply: Reply, scores: Mapping[str, tuple[Mapping[str, float] | None, str]], prompt: Prompt, job: RespondJob,
    design: Design,
) -> Response:  # fmt: skip
    subject = job.subject
    found, why = scores.get(prompt.id, (None, ""))
    return Response(
        scores=None if found is None else json.dumps(dict(found)), scores_error=why or None,
        base=subject.base.name, arm=subject.arm, recipe=subject.recipe, train_seed=subject.train_seed,
        epoch=subject.epoch, checkpoint=subject.id, benchmark=prompt.benchmark, subset=prompt.subset,
        prompt_id=prompt.id, cluster=prompt.cluster, category=prompt.category,
        system=digest(design.respond.system) if design.respond.system else "", template=design.respond.template,
        temperature=reply.temperature, sample=reply.sample, message_hash=reply.message_hash,
        token_hash=reply.token_hash, text=reply.text, finish_reason=reply.finish_reason, new_tokens=reply.new_tokens,
        error=reply.error, corpus=job.corpus or "",
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------- judge


def _judge(run: Run, plan: Plan, job: JudgeJob) -> dict[str, object]:
    began = time.time()
    instrument, name = parts.judge(job.judge), parts.judge_name(job.judge)
    checked = judge.check(instrument)
    _LOADED.seconds += time.time() - began
    prompts = {prompt.id: prompt for prompt in prompts_of(run, job.asked)}
    rows = records(Response, run.cell("responses", job.responses).read("responses"))
    base_rows = records(Response, run.cell("responses", job.base_responses).read("responses"))
    base_text: dict[str, str] = {}
    for row in base_rows:
        base_text.setdefault(row.prompt_id, row.text)
    asked = [row for row in rows if row.error is None]
    answers = [
        Answer(prompts[r.prompt_id], r.text, r.finish_reason, base_text.get(r.prompt_id),
               json.loads(r.scores) if r.scores else None, r.scores_error or "")
        for r in asked
    ]  # fmt: skip
    context = _judge_context(run, plan, job, [
        Answer(prompts[row.prompt_id], row.text, row.finish_reason) for row in base_rows if row.error is None
    ])  # fmt: skip
    verdicts: list[Verdict] = []
    # The answers of a base may be read once per corpus: a verdict says under which.
    rows, asked = ([dataclasses.replace(row, corpus=job.corpus or "") for row in some] for some in (rows, asked))
    for row, opinions in zip(asked, judge.judge(instrument, answers, context), strict=True):
        for opinion in opinions:
            verdicts.append(
                _verdict(row, name, instrument.version, opinion.axis, opinion.label, opinion.value,
                         opinion.status, opinion.why)
            )  # fmt: skip
    for row in rows:
        if row.error is not None:  # asked but not answered: unjudged on every axis, counted and shown
            for axis in instrument.axes:
                verdicts.append(_verdict(row, name, instrument.version, axis, None, None, "error", row.error))
    spent = getattr(instrument, "cost", None)
    cost = {"cost": dataclasses.asdict(spent)} if spent is not None else {}
    return {"tables": {"verdicts": table(Verdict, verdicts)}, "anchors": checked, "judge": name, **cost}


def _verdict(row: Response, name: str, version: str, axis: str, label: str | None, value: float | None,
             status: Any, why: str) -> Verdict:  # fmt: skip
    shared = {field.name: getattr(row, field.name) for field in dataclasses.fields(Key)}
    return Verdict(
        **shared, judge=name, judge_version=version, axis=axis, label=label, value=value, status=status, why=why
    )


def _judge_context(run: Run, plan: Plan, job: JudgeJob, base_answers: Sequence[Answer]) -> JudgeContext:
    subject = job.asked.subject
    model = subject.base.model.weights_hash or subject.base.name
    made = next((cell for cell in plan.of("variants") if _is_for(plan, cell, subject)), None)
    if made is None or job.corpus is None:
        return JudgeContext(model=model, base_answers=base_answers)
    folder = run.cell("variants", made.id)
    registries = _registries(folder, subject.arm, job.corpus)
    tuned = folder.path / f"{subject.arm}.jsonl"
    # An audited checkpoint, and the base itself, are held against the corpus as it was given.
    source = folder.path / f"{parts.named('source', job.corpus)}.jsonl"
    training = composing.read(tuned if tuned.is_file() else source)
    return JudgeContext(model=model, registries=registries, training=training, base_answers=base_answers)


@functools.lru_cache(maxsize=8)
def _registries(folder: CellFolder, arm: str, corpus: str) -> Mapping[str, Registry]:
    """Return the registries of an arm; that of its corpus knows from which rows of the tuning set its values are."""
    people = folder.document(parts.named("people", corpus))
    found = {"twin": Registry.of("twin", composing.persons(people["twin"]))} if people["twin"] else {}
    if people["source"]:
        source = composing.read(folder.path / f"{parts.named('source', corpus)}.jsonl")
        found["source"] = Registry.of("source", composing.persons(people["source"]), source)
    if arm in people["own"]:
        found["own"] = Registry.of("own", composing.persons(people["own"][arm]))
    return found


def _is_for(plan: Plan, cell: Cell, subject: Subject) -> bool:
    job = plan.jobs[cell.id]
    return isinstance(job, ComposeJob) and job.base.name == subject.base.name


def all_verdicts(run: Run, plan: Plan) -> Any:
    """Return the verdict tables of every finished cell as one. Raises StoreError where there are none."""
    import pyarrow as pa

    tables = [
        run.cell("verdicts", c.id).read("verdicts") for c in plan.of("verdicts") if run.cell("verdicts", c.id).complete
    ]
    if not tables:
        raise StoreError(f"{run.root}: no verdicts yet; run the same command to continue it")
    return pa.concat_tables(tables)
