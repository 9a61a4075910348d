"""The job that composes: corpora in, one chat file per arm out, with cards, people, twins and canaries."""

from __future__ import annotations

import contextlib
import functools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from aftertune.data import conversations as chats
from aftertune.data.reading import Reading, counted
from aftertune.data.variant_files import HELD_OUT, VariantFiles
from aftertune.errors import DataError, ModelError
from aftertune.models.loaded import LOADED
from aftertune.models.resolved import ResolvedBackend
from aftertune.models.subject import ModelRecord
from aftertune.pii import canaries, detection_cache, ownership, policy, stand_ins
from aftertune.pii.languages import language_of
from aftertune.records import THOUGHT_TOKENS, Arm, Conversation, Data, Json, Person, digest, plain
from aftertune.run.job import Job, Output
from aftertune.run.job_folder import JobFolder
from aftertune.run.run_folder import Run
from aftertune.variants import compose
from aftertune.variants.corpus import StrangerKind
from aftertune.variants.destinations import Destination, InMemory
from aftertune.variants.own_answers import OwnAnswers
from aftertune.variants.resolved import ResolvedCorpus

UNREAD_NAMES = "names_not_looked_for"
"""The document that counts, by language, the texts in which no names were looked for."""
TWIN_SEED = 7_000_003
REPORT_EVERY = 256
"""Conversations between two calls of the progress callback."""


@dataclass(frozen=True, kw_only=True)
class ComposeJob(Job):
    """Make all data variants for one base: its tokenizer counts, and its own answers may be the targets."""

    KIND: ClassVar[str] = "variants"
    base: ModelRecord
    corpora: tuple[ResolvedCorpus, ...]
    non_members: ResolvedCorpus | None
    """Held-out rows that were given (`[data] non_members`), of the only corpus."""
    arms: tuple[Arm, ...]
    data: Data
    match_tokens: bool
    data_seed: int
    system: str
    """System prompt under which the base gives answers of its own."""
    backend: ResolvedBackend
    thought_tokens: int = THOUGHT_TOKENS
    """Limit of a thought before such an answer."""
    template_arguments: Mapping[str, Json] = field(default_factory=dict)
    """For the chat template that these answers are asked with."""

    @classmethod
    def make(cls, **fields: Any) -> ComposeJob:
        """Return the job with the id of what decides its files; fields but id, kind and label as above."""
        base: ModelRecord = fields["base"]
        data: Data = fields["data"]
        arms: tuple[Arm, ...] = fields["arms"]
        non_members: ResolvedCorpus | None = fields["non_members"]
        made_of = digest(
            cls.KIND,
            compose.VERSION,
            {corpus.name: corpus.id for corpus in fields["corpora"]},
            arms,
            fields["match_tokens"],
            fields["data_seed"],
            data,
            non_members.id if non_members else None,
            _content(data.canary_file),
            base.identity,
            base.tokenizer_hash,
            (
                OwnAnswers.VERSION,
                fields["system"],
                fields["backend"].id,
                fields.get("thought_tokens", THOUGHT_TOKENS),
                fields.get("template_arguments", {}),
            )
            if any(arm.answers == "self_generated" for arm in arms)
            else None,
        )
        return cls(
            kind=cls.KIND,
            id=made_of,
            cost=2.0,
            label=f"compose for {base.name}",
            accelerator=True,
            alike=base.name,
            **fields,
        )

    def run(self, run: Run, folder: JobFolder) -> Output:
        """Compose into the folder."""
        del run
        return Output(documents=self.compose(folder))

    def compose(self, folder: JobFolder, progress: compose.Progress = compose.no_progress) -> dict[str, object]:
        """Write the untouched rows and one chat file per arm into the folder; return the documents that belong to it.

        Documents: `cards`, `names_not_looked_for` (language -> texts of the corpora that are not English) and, where
        there are such, `canaries` and `reading` (what stood beside the turns, rows that were skipped); the people's are
        written here, one by one. Each corpus is read once, whatever its size, and marked as it is read where nobody
        says what is personal in it. All arms are cut to the assistant tokens of the smallest, of whatever corpus they
        are. Raises what `variants.compose` and the corpus raise; nothing is left half written.
        """
        files = VariantFiles(folder.path)
        missing = not folder.path.exists()
        own_answers = OwnAnswers(
            self.base,
            self.backend,
            self.system,
            folder,
            lambda: LOADED.session(self.backend.get(), self.base),
            thought_tokens=self.thought_tokens,
            template_arguments=self.template_arguments,
        )
        try:
            folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            with detection_cache.caching(), contextlib.ExitStack() as stack:
                drafts: list[compose.Draft] = []
                unread: Counter[str] = Counter()
                documents: dict[str, object] = {UNREAD_NAMES: unread}
                people_of: dict[Path, dict[str, Any]] = {}
                for corpus in self.corpora:
                    drafts += _Corpus(self, corpus, files, stack, progress).drafts(own_answers, documents, people_of)
                allowed = None if self.data.allow_residual else self.data.residual_limit
                variants = (
                    compose.finish(drafts, match=self.match_tokens, residual_limit=allowed, progress=progress)
                    if drafts
                    else []
                )
                for path, groups in people_of.items():
                    chats.write_people(path, groups)
                notes: Sequence[Mapping[str, Any]] = documents.get("reading", [])  # type: ignore[assignment]
                reading = {note["corpus"]: {k: v for k, v in note.items() if k != "corpus"} for note in notes}
                cards = {each.arm.name: {**each.card, **reading.get(each.arm.corpus, {})} for each in variants}
                return {"cards": cards, **documents}
        except BaseException:
            with contextlib.suppress(OSError):  # bad input leaves nothing behind
                (folder.path / HELD_OUT).rmdir()
            if missing:
                with contextlib.suppress(OSError):
                    folder.path.rmdir()
            raise


class _ChatFile:
    """A variant's file while it is made; it appears under its name when everything is done."""

    def __init__(self, path: Path, stack: contextlib.ExitStack) -> None:
        self._file = stack.enter_context(chats.ConversationWriter(path))

    def add(self, conversation: Conversation) -> None:
        self._file.add(conversation)

    def cut(self, count: int) -> None:
        self._file.cut(count)

    def read(self) -> Sequence[Conversation]:
        return self._file.read()


class _Corpus:
    """One corpus while its arms are written."""

    def __init__(
        self,
        job: ComposeJob,
        resolved: ResolvedCorpus,
        files: VariantFiles,
        stack: contextlib.ExitStack,
        progress: compose.Progress,
    ) -> None:
        self._job, self._name, self._corpus = job, resolved.name, resolved.get()
        self._files, self._stack, self._progress = files, stack, progress
        self._arms = [arm for arm in job.arms if arm.corpus == resolved.name]

    def drafts(
        self, ask: compose.Ask, documents: dict[str, object], people_of: dict[Path, dict[str, Any]]
    ) -> list[compose.Draft]:
        """Write the corpus and its arms in full; what belongs to it goes into the documents and the people's files."""
        job, corpus = self._job, self._corpus
        unread = documents[UNREAD_NAMES]
        assert isinstance(unread, Counter)
        marker = ownership.Marker()
        detected = False
        source = self._stack.enter_context(chats.ConversationWriter(self._files.source(self._name)))
        expected = corpus.expected
        reading = Reading(encoding=corpus.read_as)
        for count, conversation in enumerate(detection_cache.read_ahead(counted(corpus.rows(), reading))):
            if count % REPORT_EVERY == 0:
                self._progress("reading", count, max(count, expected or 0))
            if conversation.spans is None:
                detected = True
                unread.update(filter(None, (language_of(message.content) for message in conversation.messages)))
            source.add(marker.mark(conversation))
        conversations = source.read()
        people: Sequence[Person] = marker.people() if detected else corpus.people()
        kinds: set[StrangerKind] = {arm.pii for arm in self._arms if arm.pii in ("surrogate", "novelty")}
        strangers: dict[str, Sequence[Person]] = {
            kind: self._strangers(kind, people, detected, job.data_seed) for kind in sorted(kinds)
        }
        twins = self._strangers("twin", people, detected, TWIN_SEED + job.data_seed) if people else []
        planted = self._canaries(conversations, people, detected)
        if job.data.held_out or job.data.non_members:
            self._files.held_out_source("").parent.mkdir(mode=0o700, exist_ok=True)
        drafts = []
        if self._arms:
            drafts = compose.draft(
                self._arms,
                conversations,
                people,
                strangers,
                count=_token_counter(job.base.path),
                seed=job.data_seed,
                ask=ask,
                detected=detected,
                held_out=job.data.held_out,
                planted=planted.texts() if planted and not job.data.canary_file else (),
                open_arm=lambda arm: _ChatFile(self._files.arm(arm), self._stack),
                open_held_out=self._open_held_out,
                progress=self._progress,
            )
        if notes := reading.counts():
            documents.setdefault("reading", []).append({"corpus": self._name, **notes})  # type: ignore[attr-defined]
        if job.non_members is not None:
            rows = _ChatFile(self._files.held_out_source(self._name), self._stack)
            _fill(rows, job.non_members.get().stream())
        own = {draft.arm.name: draft.own for draft in drafts if draft.arm.pii in policy.STAND_IN_POLICIES}
        people_of[self._files.people_file(self._name)] = {"source": people, "twin": twins, "own": own}
        if planted is not None:
            documents[self._files.canaries_document(self._name)] = canaries.to_rows(planted)
        return drafts

    def _open_held_out(self, arm: str) -> Destination:
        return _ChatFile(self._files.held_out(arm), self._stack) if self._job.data.held_out else InMemory(arm)

    def _strangers(self, kind: StrangerKind, people: Sequence[Person], detected: bool, seed: int) -> Sequence[Person]:
        """Return the n-th stand-in for the n-th of `people`; for detected values, without reading them again."""
        if detected and not (kind == "twin" and self._corpus.composed):
            return stand_ins.assign(people, kind, seed, functools.partial(self._progress, kind)).strangers
        return self._corpus.strangers(kind, len(people), seed)

    def _canaries(
        self, conversations: Iterable[Conversation], people: Sequence[Person], detected: bool
    ) -> canaries.Canaries | None:
        data, seed, corpus = self._job.data, self._job.data_seed, self._corpus
        if data.canary_file:
            return canaries.read(Path(data.canary_file))
        if not data.canaries:
            return None
        wanted = canaries.people_needed(data.canaries)
        if detected:
            strangers: Sequence[Person] = stand_ins.invented(wanted, "canary", seed, people)
            forms = canaries.forms(conversations, seed, stand_ins.CANARY_SHAPE)
        else:
            strangers = corpus.strangers("canary", wanted, seed)
            forms = canaries.forms(conversations, seed)
        return canaries.plan(forms, strangers, data.canaries)


def _content(path: str) -> str | None:
    from aftertune.files import checksum

    return checksum(Path(path)) if path and Path(path).is_file() else None


def _fill(rows: Destination, conversations: Iterable[Conversation]) -> None:
    empty = True
    for conversation in conversations:
        whole, _ = compose.whole_exchanges(conversation)
        if whole.messages:
            rows.add(whole)
            empty = False
    if empty:
        raise DataError("the held-out rows hold no conversation with a question and an answer")


def _token_counter(base: str) -> Callable[[str], int]:
    from transformers import AutoTokenizer

    from aftertune.models.loading import read_tokenizer

    try:
        tokenizer = read_tokenizer(Path(base), AutoTokenizer)
    except ModelError as error:
        raise ModelError(f"{base}: {error}") from None

    def count(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    if tokenizer.is_fast:
        count("a")  # the tokenizer sets up its engine as it is to be: no padding, nothing cut off
        engine = tokenizer.backend_tokenizer

        def quick(text: str) -> int:
            return len(engine.encode_batch_fast([text], add_special_tokens=False)[0].ids)

        return functools.lru_cache(maxsize=1 << 14)(quick)
    return functools.lru_cache(maxsize=1 << 14)(count)


def documents_as_json(documents: dict[str, object]) -> dict[str, bytes]:
    """Return file name -> content of the documents, for a folder that belongs to no run."""
    rows: dict[str, Any] = {name: plain(document) for name, document in documents.items()}
    return {
        f"{name}.json": (json.dumps(row, indent=1, ensure_ascii=False) + "\n").encode() for name, row in rows.items()
    }
