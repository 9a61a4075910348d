"""The work of a `responses` cell: one subject asks itself through the prompts of one benchmark."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from aftertune.asking.benchmark import BenchmarkContext
from aftertune.models import chat, respond
from aftertune.models.session import Reply, Session
from aftertune.records import BASE_ARM, Key, Prompt, Response, digest
from aftertune.run.job_folder import JobFolder
from aftertune.run.run_folder import Run
from aftertune.run.tables import table
from aftertune.studies import parts
from aftertune.studies.design import Design
from aftertune.studies.plan import Plan, RespondJob, Subject
from aftertune.variants import composing

FLUSH = 64
"""Replies between two flushes of the journal: what a crash can cost."""


def do(run: Run, plan: Plan, job: RespondJob, session: Session, folder: JobFolder) -> dict[str, object]:
    """Ask what is not answered in the cell's journal yet; what ended in an error is asked again."""
    design, subject = plan.design, job.subject
    benchmark = parts.benchmark(job.benchmark)
    prompts = prompts_of(run, job)
    by_id = {prompt.id: prompt for prompt in prompts}
    journal = [row for row in folder.journal(Response) if row.prompt_id in by_id and row.error is None]
    done = {place(row): row for row in journal}
    path = checkpoint_path(run, subject)
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
    served = subject.base.model.kind == "served"
    for reply in replies:
        own = scores if (reply.temperature, reply.sample) == (first, 0) else {}
        fresh.append(_scored(reply, own, by_id[reply.prompt_id], job, design))
        # An answer of a server may have cost money: each is flushed as it comes.
        if served or len(fresh) >= FLUSH:
            folder.append(fresh)
            rows += fresh
            fresh = []
    rows += fresh
    rows.sort(key=place)
    seen: dict[str, object] = {"served": session.report()} if served else {}  # type: ignore[attr-defined]
    if subject.arm == BASE_ARM and not getattr(session, "exact", True):
        seen["again"] = _again(session, job, prompts, rows, design)
    return {"tables": {"responses": table(Response, rows)}, "proof": proof, "asked": len(rows), **seen}


def _again(
    session: Session, job: RespondJob, prompts: Sequence[Prompt], rows: Sequence[Response], design: Design
) -> dict[str, int]:
    """Return how many of the base's answers were asked again in other batches, and how many came out the same."""
    own = design.respond
    wanted = respond.requests(
        [prompt for prompt in prompts if respond.generates(prompt)], checkpoint_id=job.subject.id,
        temperatures=own.temperatures, samples=own.samples, seed=own.seed,
        max_new_tokens=parts.benchmark(job.benchmark).max_new_tokens,
    )  # fmt: skip
    texts = {place(row): row.text for row in rows if row.error is None}
    asked, same = respond.again(session, wanted, texts, system=own.system or None, template=own.template)
    return {"asked": asked, "same": same}


def place(row: Key) -> tuple[str, float, int]:
    """Return which answer of its cell a row is: prompt, temperature and sample."""
    return row.prompt_id, row.temperature, row.sample


def checkpoint_path(run: Run, subject: Subject) -> Path | None:
    """Return the folder of a subject's checkpoint, or the name by which a server knows it; None for the base."""
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
