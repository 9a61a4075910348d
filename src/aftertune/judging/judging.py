"""The work of a `verdicts` cell: one judge reads the answers of one `responses` cell."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aftertune.asking import answering
from aftertune.asking.answering import place
from aftertune.judging import anchors as judge
from aftertune.judging.judge import Answer, Judge, JudgeContext, Opinion
from aftertune.pii.registry import Registry
from aftertune.plugins import PluginSpec
from aftertune.records import Key, Response, Verdict
from aftertune.run.job import Cell
from aftertune.run.job_folder import JobFolder
from aftertune.run.run_folder import Run
from aftertune.run.tables import records, table
from aftertune.studies import parts
from aftertune.studies.plan import ComposeJob, JudgeJob, Plan, Subject
from aftertune.variants import composing

Opinions = tuple[Opinion, ...]


def do(run: Run, plan: Plan, job: JudgeJob, folder: JobFolder) -> dict[str, object]:
    """Judge the answers of a cell, those whose verdicts are in its journal left out; errors are asked again."""
    clock = _FirstTime(job.judge)
    instrument, name = parts.judge(job.judge), parts.judge_name(job.judge)
    checked = _checked(job.judge, instrument)
    clock.checked()
    prompts = {prompt.id: prompt for prompt in answering.prompts_of(run, job.asked)}
    rows = records(Response, run.cell("responses", job.responses).read("responses"))
    base_rows = records(Response, run.cell("responses", job.base_responses).read("responses"))
    base_text: dict[str, str] = {}
    for row in base_rows:
        base_text.setdefault(row.prompt_id, row.text)
    # The answers of a base may be read once per corpus: a verdict says under which.
    rows = [dataclasses.replace(row, corpus=job.corpus or "") for row in rows]
    verdicts = _kept(folder, instrument.version)
    done = {place(verdict) for verdict in verdicts}
    asked = [row for row in rows if row.error is None and place(row) not in done]
    answers = [
        Answer(prompts[r.prompt_id], r.text, r.finish_reason, base_text.get(r.prompt_id),
               json.loads(r.scores) if r.scores else None, r.scores_error or "")
        for r in asked
    ]  # fmt: skip
    context = context_of(run, plan, job, [
        Answer(prompts[row.prompt_id], row.text, row.finish_reason) for row in base_rows if row.error is None
    ])  # fmt: skip
    spent = getattr(instrument, "cost", None)
    for row, opinions in zip(asked, clock.batches(judge.judge(instrument, answers, context)), strict=True):
        found = [_verdict(row, name, instrument.version, o.axis, o.label, o.value, o.status, o.why) for o in opinions]
        verdicts += found
        if spent is not None:
            folder.append(found)  # a model was asked for them
    for row in rows:
        if row.error is not None:  # asked but not answered: unjudged on every axis, counted and shown
            for axis in instrument.axes:
                verdicts.append(_verdict(row, name, instrument.version, axis, None, None, "error", row.error))
    order = {place(row): at for at, row in enumerate(rows)}
    verdicts.sort(key=lambda verdict: order[place(verdict)])
    cost = {"cost": dataclasses.asdict(spent)} if spent is not None else {}
    return {"tables": {"verdicts": table(Verdict, verdicts)}, "anchors": checked, "judge": name, **cost,
            "start_seconds": clock.seconds}  # fmt: skip


class _FirstTime:
    """What a judge takes more the first time in a process, for its modules and tables: once for all its cells.

    That is its trial on anchors, and what the first batch of answers takes beyond the rate of the others.
    """

    def __init__(self, part: PluginSpec) -> None:
        id_ = parts.part_id("judge", part)
        self._first, self._began, self.seconds = id_ not in _OPENED, time.time(), 0.0
        _OPENED.add(id_)

    def checked(self) -> None:
        """Note that the judge was tried."""
        self.seconds = time.time() - self._began if self._first else 0.0

    def batches(self, found: Iterator[Opinions]) -> Iterator[Opinions]:
        """Yield what is found, and note how long its first batch took."""
        began, first, count = time.time(), 0.0, 0
        for count, each in enumerate(found, 1):
            if count == judge.BATCH + 1:
                first = time.time() - began
            yield each
        if self._first and count > judge.BATCH:
            rate = (time.time() - began - first) / (count - judge.BATCH)
            self.seconds += max(0.0, first - judge.BATCH * rate)


_OPENED: set[str] = set()
_CHECKS: dict[str, dict[str, Any]] = {}


def _kept(folder: JobFolder, version: str) -> list[Verdict]:
    """Return the verdicts that an earlier attempt wrote down, without those on answers that must be judged anew."""
    verdicts = [row for row in folder.journal(Verdict) if row.judge_version == version]
    failed = {place(verdict) for verdict in verdicts if verdict.status == "error"}
    failed |= {place(verdict) for verdict in verdicts[-1:]}  # the crash may have torn off one of its axes
    return [verdict for verdict in verdicts if place(verdict) not in failed]


def _checked(part: PluginSpec, instrument: Judge) -> dict[str, Any]:
    """Try a judge on its anchors, a judge that asks a model once per process only."""
    if not hasattr(instrument, "cost"):
        return judge.check(instrument)
    id_ = parts.part_id("judge", part)
    if id_ not in _CHECKS:
        _CHECKS[id_] = judge.check(instrument)
    return _CHECKS[id_]


def _verdict(row: Response, name: str, version: str, axis: str, label: str | None, value: float | None,
             status: Any, why: str) -> Verdict:  # fmt: skip
    shared = {field.name: getattr(row, field.name) for field in dataclasses.fields(Key)}
    return Verdict(
        **shared, judge=name, judge_version=version, axis=axis, label=label, value=value, status=status, why=why
    )


def context_of(run: Run, plan: Plan, job: JudgeJob, base_answers: Sequence[Answer]) -> JudgeContext:
    """Return what a judge may know of the model whose answers it reads, and of the data it was tuned on."""
    subject = job.asked.subject
    model, served = subject.base.model.identity, _served_names(plan, subject)
    made = next((cell for cell in plan.of("variants") if _is_for(plan, cell, subject)), None)
    if made is None or job.corpus is None:
        return JudgeContext(model=model, served=served, base_answers=base_answers)
    folder = run.cell("variants", made.id)
    registries = _registries(folder, subject.arm, job.corpus)
    tuned = folder.path / f"{subject.arm}.jsonl"
    # An audited checkpoint, and the base itself, are held against the corpus as it was given.
    source = folder.path / f"{parts.named('source', job.corpus)}.jsonl"
    training = composing.read(tuned if tuned.is_file() else source)
    return JudgeContext(model=model, served=served, registries=registries, training=training, base_answers=base_answers)


def _served_names(plan: Plan, subject: Subject) -> frozenset[str]:
    """Return the names of a served subject and of its base; empty for models that are here."""
    if subject.base.model.kind != "served" or subject.path is None:
        return subject.base.model.names
    return subject.base.model.names | parts.model(subject.path, None, plan.design.backend).names


@functools.lru_cache(maxsize=8)
def _registries(folder: JobFolder, arm: str, corpus: str) -> Mapping[str, Registry]:
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
