"""The job that judges: one judge reads the answers of one subject to one benchmark."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from aftertune.data import prompts as stored
from aftertune.data.variant_files import VariantFiles, persons, read
from aftertune.judging import opinions as judging
from aftertune.judging import trial
from aftertune.judging.judge import Answer, Judge, JudgeContext, Opinion
from aftertune.judging.resolved import ResolvedJudge
from aftertune.models.subject import Subject
from aftertune.pii.registry import Registry
from aftertune.plugins import Plugin
from aftertune.records import Key, Response, Status, Verdict, digest
from aftertune.run.clock import START
from aftertune.run.job import Job, Output
from aftertune.run.job_folder import JobFolder
from aftertune.run.job_progress import PROGRESS
from aftertune.run.run_folder import Run
from aftertune.run.tables import records, table

Opinions = tuple[Opinion, ...]


@dataclass(frozen=True, kw_only=True)
class JudgeJob(Job):
    """Judge one subject's answers to one benchmark, under one corpus where the data decide what a label means."""

    KIND: ClassVar[str] = "verdicts"
    judge: ResolvedJudge
    subject: Subject
    benchmark: str
    """Name of the benchmark."""
    responses: str
    """Id of the job that asked."""
    base_responses: str
    """Id of the job that asked the base the same prompts."""
    prompts: str
    """Id of the job that wrote the prompts."""
    variants: str | None
    """Id of the composed data; None where there is none."""
    corpus: str | None
    """Whose people and conversations the judge is given; None gives it none."""

    @classmethod
    def make(cls, label: str, **fields: Any) -> JudgeJob:
        """Return the job with the id of what decides the verdicts; `label` is the subject's name for people."""
        judge: ResolvedJudge = fields["judge"]
        subject: Subject = fields["subject"]
        responses, before = fields["responses"], fields["base_responses"]
        variants, corpus = fields["variants"], fields["corpus"]
        return cls(
            kind=cls.KIND,
            id=digest(
                cls.KIND, judging.VERSION, responses, before, judge.id, variants, subject.arm, corpus, fields["prompts"]
            ),
            after=tuple(dict.fromkeys(id for id in (responses, before, fields["prompts"], variants) if id)),
            cost=1.0,
            label=f"judge {label} {fields['benchmark']} {judge.name}"
            + (f" on {corpus}" if corpus and subject.path is None else ""),
            accelerator=judge.accelerator,
            alike=f"{subject.base.name}/{fields['benchmark']}/{judge.name}",
            **fields,
        )

    def run(self, run: Run, folder: JobFolder) -> Output:
        """Judge the answers, those whose verdicts are in the journal left out; errors are judged again."""
        clock = _FirstUse(self.judge)
        judge = self.judge.get()
        before = judge.cost
        anchored = _tried(self.judge)
        clock.tried()
        prompts = {prompt.id: prompt for prompt in stored.read(run.folder("prompts", self.prompts))}
        responses = records(Response, run.folder("responses", self.responses).read("responses"))
        base_responses = records(Response, run.folder("responses", self.base_responses).read("responses"))
        base_text: dict[str, str] = {}
        for row in base_responses:
            if not row.unanswered:
                base_text.setdefault(row.prompt_id, row.text)
        # The answers of a base may be read once per corpus: a verdict says under which.
        responses = [dataclasses.replace(row, corpus=self.corpus or "") for row in responses]
        # Of a thought without an answer only the thought can be read; the rest is unjudged, counted and shown.
        unanswered = [row for row in responses if row.error is None and row.unanswered]
        readable = [
            row
            for row in responses
            if row.error is None and (not row.unanswered or (judge.thought_axes and row.thought))
        ]
        verdicts = _journalled(folder, judge.version)
        if judge.cost is None:
            verdicts = _whole_batches(verdicts, readable, judge.batch)
        done = {_position(verdict) for verdict in verdicts}
        unjudged = [row for row in readable if _position(row) not in done]
        PROGRESS.expect(len(readable), unit="verdicts", done=len(readable) - len(unjudged))
        of_answers = [axis for axis in judge.axes if axis not in judge.thought_axes]
        for row in unanswered:
            verdicts += [self._verdict(row, axis, None, None, "unanswered", row.unanswered) for axis in of_answers]
        answers = [
            Answer(
                prompts[row.prompt_id],
                row.text,
                row.finish_reason,
                base_text.get(row.prompt_id),
                json.loads(row.scores) if row.scores else None,
                row.scores_error or "",
                row.thought,
            )
            for row in unjudged
        ]
        context = self.context(
            run,
            [
                Answer(prompts[r.prompt_id], r.text, r.finish_reason)
                for r in base_responses
                if r.error is None and not r.unanswered
            ],
        )
        # A model was asked for them, where it has a cost.
        with folder.writer(most=1 if judge.cost is not None else 0) as journal:
            for row, opinions in zip(unjudged, clock.timed(judging.opinions(judge, answers, context)), strict=True):
                new = [
                    self._verdict(row, o.axis, o.label, o.value, o.status, o.why)
                    for o in opinions
                    if not row.unanswered or o.axis in judge.thought_axes
                ]
                verdicts += new
                journal.add(*new)
                PROGRESS.advance()
        for row in responses:
            if row.error is not None:  # asked but not answered: unjudged on every axis, counted and shown
                verdicts += [self._verdict(row, axis, None, None, "error", row.error) for axis in of_answers]
        order = {_position(row): index for index, row in enumerate(responses)}
        verdicts.sort(key=lambda verdict: order[_position(verdict)])
        info: dict[str, object] = {"anchors": anchored, "judge": self.judge.name}
        if measured := _measured(judge):
            info["measured"] = measured
        if judge.cost is not None and before is not None:
            info["cost"] = judge.cost - before
        return Output(tables={"verdicts": table(Verdict, verdicts)}, info=info)

    def _verdict(
        self, row: Response, axis: str, label: str | None, value: float | None, status: Status, why: str
    ) -> Verdict:
        shared = {field.name: getattr(row, field.name) for field in dataclasses.fields(Key)}
        return Verdict(
            **shared,
            judge=self.judge.name,
            judge_version=self.judge.version,
            axis=axis,
            label=label,
            value=value,
            status=status,
            why=why,
            author=judging.author_of(row.finish_reason),
        )

    def context(self, run: Run, base_answers: Sequence[Answer]) -> JudgeContext:
        """Return what the judge may know of the model whose answers it reads, and of the data it was tuned on."""
        subject = self.subject
        model, served = subject.base.identity, subject.served_names
        if self.variants is None or self.corpus is None:
            return JudgeContext(model=model, served=served, base_answers=base_answers)
        folder = run.folder("variants", self.variants)
        return JudgeContext(
            model=model,
            served=served,
            registries=_registries(folder, subject.arm, self.corpus),
            corpus=read(VariantFiles(folder.path).source(self.corpus)),
            written_roles=_written_roles(folder),
            known_values=_known_values(folder, self.corpus),
            base_answers=base_answers,
        )


def _measured(judge: Judge) -> str:
    """Return the error that a judge's card says was measured; empty for a judge without a card."""
    return "" if type(judge).card is Plugin.card else judge.card.measured


def _position(row: Key) -> tuple[str, float, int]:
    return row.prompt_id, row.temperature, row.sample


class _FirstUse:
    """Counts what a judge takes more the first time in a process, for its modules and tables: once for all its jobs.

    That is its trial on anchors, and what the first batch of answers takes beyond the rate of the others.
    """

    def __init__(self, judge: ResolvedJudge) -> None:
        self._first, self._began = judge.id not in _USED, time.time()
        self._batch = judge.get().batch
        _USED.add(judge.id)

    def tried(self) -> None:
        """Note that the judge was tried."""
        if self._first:
            START.add(time.time() - self._began)

    def timed(self, opinions: Iterator[Opinions]) -> Iterator[Opinions]:
        """Yield what the judge says, and note how long its first batch took."""
        began, first, count = time.time(), 0.0, 0
        for count, each in enumerate(opinions, 1):
            if count == self._batch + 1:
                first = time.time() - began
            yield each
        if self._first and count > self._batch:
            rate = (time.time() - began - first) / (count - self._batch)
            START.add(max(0.0, first - self._batch * rate))


_USED: set[str] = set()
_TRIALS: dict[str, Mapping[str, trial.Trial]] = {}


def _tried(judge: ResolvedJudge) -> Mapping[str, trial.Trial]:
    """Try a judge on its anchors; one that asks a language model once per process only."""
    plugin = judge.get()
    if plugin.cost is None:
        return trial.check(plugin)
    if judge.id not in _TRIALS:
        _TRIALS[judge.id] = trial.check(plugin)
    return _TRIALS[judge.id]


def _journalled(folder: JobFolder, version: str) -> list[Verdict]:
    """Return the verdicts that an earlier attempt wrote down, without those on answers that must be judged anew."""
    verdicts = [row for row in folder.journal(Verdict) if row.judge_version == version]
    again = {_position(verdict) for verdict in verdicts if verdict.status == "error"}
    again |= {_position(verdict) for verdict in verdicts[-1:]}  # the crash may have torn off one of its axes
    return [verdict for verdict in verdicts if _position(verdict) not in again]


def _whole_batches(verdicts: Sequence[Verdict], readable: Sequence[Response], size: int) -> list[Verdict]:
    """Return the verdicts on batches of which none is missing: the others are read again in the same company.

    The last digit of a classifier's value may hang on the batch, and a continued run has the bytes of an undisturbed
    one.
    """
    judged = {_position(verdict) for verdict in verdicts}
    batches = [readable[start : start + size] for start in range(0, len(readable), size)]
    whole = {_position(row) for batch in batches if all(_position(row) in judged for row in batch) for row in batch}
    return [verdict for verdict in verdicts if _position(verdict) in whole]


@functools.lru_cache(maxsize=8)
def _registries(folder: JobFolder, arm: str, corpus: str) -> Mapping[str, Registry]:
    """Return the registries of an arm; that of its corpus knows from which rows of the tuning set its values are."""
    files = VariantFiles(folder.path)
    people = folder.document(files.people_document(corpus))
    registries = {"twin": Registry.of("twin", persons(people["twin"]))} if people["twin"] else {}
    if people["source"]:
        registries["source"] = Registry.of("source", persons(people["source"]), read(files.source(corpus)))
    if arm in people["own"]:
        registries["own"] = Registry.of("own", persons(people["own"][arm]))
    return registries


@functools.lru_cache(maxsize=8)
def _known_values(folder: JobFolder, corpus: str) -> Sequence[Registry]:
    """Return the personal values of a corpus, of its twins and of all arms' stand-ins."""
    people = folder.document(VariantFiles.people_document(corpus))
    groups = {"source": people["source"], "twin": people["twin"], **people["own"]}
    return tuple(Registry.of(name, persons(rows)) for name, rows in groups.items() if rows)


def _written_roles(folder: JobFolder) -> frozenset[str]:
    """Return whose turns an arm of the run is tuned to write."""
    cards = folder.document("cards") if (folder.path / "cards.json").is_file() else {}
    return frozenset({"assistant", *("user" for card in cards.values() if card["role_swap"])})
