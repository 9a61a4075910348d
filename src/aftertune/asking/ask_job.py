"""The job that asks: one subject answers the prompts of one benchmark, at all temperatures."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from aftertune.asking.prompts_job import prompts_of
from aftertune.asking.resolved import ResolvedBenchmark
from aftertune.asking.shared_answers import shared_answers
from aftertune.models import chat, respond
from aftertune.models.loaded import LOADED
from aftertune.models.resolved import ResolvedBackend
from aftertune.models.session import Reply, Request, Session
from aftertune.models.subject import Subject
from aftertune.records import Key, Prompt, Respond, Response, digest, plain
from aftertune.run.job import Job, Output
from aftertune.run.job_folder import JobFolder
from aftertune.run.job_progress import PROGRESS
from aftertune.run.run_folder import Run
from aftertune.run.tables import records, table
from aftertune.thoughts import INSIDE, opened_by_template

FLUSH = 64
"""Most replies that wait to be written to the journal; they wait for `JournalWriter`'s seconds at most."""
Position = tuple[str, float, int]
"""Which answer of its folder a row is: prompt, temperature and sample."""


@dataclass(frozen=True, kw_only=True)
class AskJob(Job):
    """Ask one subject one benchmark."""

    KIND: ClassVar[str] = "responses"
    subject: Subject
    benchmark: ResolvedBenchmark
    prompts: str
    """Id of the job that writes the prompts."""
    needs_data: bool
    """Whether the prompts are made from tuning data."""
    corpus: str | None
    """Whose prompts, where they are made from data; else the corpus that the subject was tuned on."""
    respond: Respond
    backend: ResolvedBackend
    shared: str = field(default="", compare=False)
    """Folder of answers that runs share; empty shares none. Where answers come from is no part of what they are."""

    @classmethod
    def make(cls, label: str, **fields: Any) -> AskJob:
        """Return the job with the id of what decides the answers.

        `label` is the subject's name for people; `part` of the prompts, if any, stands in the job's own.
        """
        subject: Subject = fields["subject"]
        benchmark: ResolvedBenchmark = fields["benchmark"]
        corpus, settings, backend = fields["corpus"], fields["respond"], fields["backend"]
        part = fields.pop("part", None)
        return cls(
            kind=cls.KIND,
            id=digest(
                cls.KIND,
                respond.VERSION,
                subject.base.identity,
                subject.id,
                fields["prompts"],
                corpus,
                settings,
                backend.id,
            ),
            after=tuple(need for need in (subject.tuned_by, fields["prompts"]) if need),
            cost=3.0,
            label=f"ask {label} {benchmark.name}"
            + (f" on {corpus}" if fields["needs_data"] and corpus else "")
            + (f", part {part}" if part else ""),
            accelerator=True,
            alike=f"{subject.base.name}/{benchmark.name}",
            loads=subject.id,
            **fields,
        )

    def run(self, run: Run, folder: JobFolder) -> Output:
        """Ask, or for a base take what a run before this one was answered, where answers are shared."""
        share = shared_answers(self.shared) if self._shareable else None
        if share is None:
            return self._ask(run, folder)
        key = digest("shared answers", self.id, self.backend.get().environment())
        with share.hold(key):
            if (entry := share.read(key)) is not None:
                rows = records(Response, entry.responses)
                own = [dataclasses.replace(row, base=self.subject.base.name) for row in rows]
                return Output(
                    tables={"responses": table(Response, own)}, info={**entry.info, "asked": 0, "shared": entry.since}
                )
            output = self._ask(run, folder)
            responses = output.tables["responses"]
            if responses.column("error").null_count == responses.num_rows:
                share.write(key, responses, plain(output.info))
            return output

    @property
    def _shareable(self) -> bool:
        """Whether the answers depend on nothing that anybody tuned, and on a model whose weights are known."""
        return self.subject.is_base and not self.needs_data and not self.subject.base.served

    def _ask(self, run: Run, folder: JobFolder) -> Output:
        """Ask what the journal does not answer yet; what ended in an error is asked again."""
        settings, subject = self.respond, self.subject
        prompts = prompts_of(run, self.prompts)
        if not prompts:  # a part to which a benchmark of few clusters gives none
            return Output(tables={"responses": table(Response, [])}, info={"asked": 0})
        session = LOADED.session(self.backend.get(), subject.base)
        by_id = {prompt.id: prompt for prompt in prompts}
        before = [row for row in folder.journal(Response) if row.prompt_id in by_id and row.error is None]
        done = {position(row): row for row in before}
        checkpoint = subject.checkpoint(run.root)
        proof = session.use(checkpoint)
        first = settings.temperatures[0]
        generated = [prompt for prompt in prompts if respond.generates(prompt)]
        pending = self._requests(generated, frozenset(done))
        repeats = min(respond.REPEATS, len(generated)) if subject.is_base and not session.exact else 0
        unanswered = [prompt for prompt in prompts if "scored" in prompt.expect and not respond.generates(prompt)]
        PROGRESS.expect(
            len(done) + len(pending) + sum((prompt.id, first, 0) not in done for prompt in unanswered) + repeats,
            unit="answers",
            done=len(done),
            most_tokens=(len(pending) + repeats) * settings.limit(self.benchmark.max_new_tokens),
        )
        rows = list(done.values())
        # An answer of a server may have cost money: each is written as it comes.
        with folder.writer(most=1 if subject.base.served else FLUSH) as journal:

            def keep(row: Response) -> None:
                rows.append(row)
                journal.add(row)
                PROGRESS.advance()

            scores: dict[str, tuple[Mapping[str, float] | None, str]] = {}
            for group in respond.scored_groups(prompts):
                if all((prompt.id, first, 0) in done for prompt in group):
                    continue
                scores |= respond.scores(
                    session,
                    group,
                    checkpoint=checkpoint,
                    system=settings.system or None,
                    template=settings.template,
                    template_arguments=settings.template_arguments,
                )
                for prompt in group:
                    if not respond.generates(prompt) and (prompt.id, first, 0) not in done:
                        keep(self._response(self._unanswered(prompt, first), scores, prompt))
            replies = respond.respond(
                session,
                generated,
                checkpoint=checkpoint,
                checkpoint_id=subject.id,
                temperatures=settings.temperatures,
                samples=settings.samples,
                max_new_tokens=settings.limit(self.benchmark.max_new_tokens),
                seed=settings.seed,
                system=settings.system or None,
                template=settings.template,
                thought_tokens=settings.thought_tokens,
                template_arguments=settings.template_arguments,
                skip=frozenset(done),
            )
            for reply in replies:
                own = scores if (reply.temperature, reply.sample) == (first, 0) else {}
                keep(self._response(reply, own, by_id[reply.prompt_id]))
        rows.sort(key=position)
        rows = unfinished_thoughts(rows)
        serves = subject.base.served or self.backend.get().starts_server
        seen: dict[str, object] = {"served": session.report()} if serves else {}
        if subject.is_base and not session.exact:
            seen["again"] = self._ask_again(session, prompts, rows)
        return Output(tables={"responses": table(Response, rows)}, info={"proof": proof, "asked": len(rows), **seen})

    def _requests(self, prompts: Sequence[Prompt], skip: frozenset[Position] = frozenset()) -> list[Request]:
        settings = self.respond
        return respond.requests(
            prompts,
            checkpoint_id=self.subject.id,
            temperatures=settings.temperatures,
            samples=settings.samples,
            seed=settings.seed,
            max_new_tokens=settings.limit(self.benchmark.max_new_tokens),
            skip=skip,
            thought_tokens=settings.thought_tokens,
            template_arguments=settings.template_arguments,
        )

    def _ask_again(self, session: Session, prompts: Sequence[Prompt], rows: Sequence[Response]) -> dict[str, int]:
        """Return how many of the base's answers were asked again in other batches, and how many came out the same."""
        settings = self.respond
        requests = self._requests([prompt for prompt in prompts if respond.generates(prompt)])
        texts = {position(row): row.text for row in rows if row.error is None}
        asked, same = respond.repeat(
            session, requests, texts, system=settings.system or None, template=settings.template
        )
        return {"asked": asked, "same": same}

    def _unanswered(self, prompt: Prompt, temperature: float) -> Reply:
        """Return what stands for the answer to a prompt whose options are scored and that is not answered."""
        sent = chat.message_hash(prompt.messages, self.respond.system or None)
        return Reply(prompt.id, temperature, 0, "", "stop", 0, sent, None)

    def _response(
        self, reply: Reply, scores: Mapping[str, tuple[Mapping[str, float] | None, str]], prompt: Prompt
    ) -> Response:
        subject, settings = self.subject, self.respond
        options, why = scores.get(prompt.id, (None, ""))
        return Response(
            base=subject.base.name,
            arm=subject.arm,
            recipe=subject.recipe,
            train_seed=subject.train_seed,
            epoch=subject.epoch,
            checkpoint=subject.id,
            benchmark=prompt.benchmark,
            subset=prompt.subset,
            prompt_id=prompt.id,
            cluster=prompt.cluster,
            category=prompt.category,
            system=digest(settings.system) if settings.system else "",
            template=settings.template,
            temperature=reply.temperature,
            sample=reply.sample,
            message_hash=reply.message_hash,
            corpus=self.corpus or "",
            token_hash=reply.token_hash,
            text=reply.text,
            finish_reason=reply.finish_reason,
            new_tokens=reply.new_tokens,
            error=reply.error,
            thought=reply.thought,
            raw=reply.raw,
            unanswered=reply.unanswered,
            scores=None if options is None else json.dumps(dict(options)),
            scores_error=why or None,
        )


def unfinished_thoughts(rows: Sequence[Response]) -> list[Response]:
    """Return one model's responses, those that are nothing but a thought marked as such.

    A server's chat template may open a thought in the prompt, which nobody sees: then a text without a closing tag,
    where the others have one, is still inside its thought.
    """
    texts = [row.text if row.raw is None else row.raw for row in rows if row.error is None]
    if not opened_by_template(texts):
        return list(rows)
    return [
        dataclasses.replace(row, text="", thought=row.text, raw=row.text, unanswered=INSIDE)
        if row.error is None and row.raw is None and row.text and not row.thought
        else row
        for row in rows
    ]


def position(row: Key) -> Position:
    """Return which answer of its folder a row is."""
    return row.prompt_id, row.temperature, row.sample
