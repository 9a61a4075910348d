"""The work of a `variants` cell: a corpus in, one chat file per arm out, with cards, people, twins and canaries."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aftertune.data import conversations as jsonl
from aftertune.errors import DataError
from aftertune.pii import canaries, detection_cache, ownership, policy, stand_ins
from aftertune.records import Conversation, Person, plain
from aftertune.run.job_folder import JobFolder
from aftertune.studies import parts
from aftertune.studies import plan as planning
from aftertune.studies.design import Design
from aftertune.variants import compose
from aftertune.variants.compose import InMemory, Place
from aftertune.variants.corpora.chat_file import ChatFile
from aftertune.variants.corpus import Corpus, StrangerKind

TWIN_SEED = 7_000_003
TELL = 256
"""Conversations between two words on how far things are."""
SOURCE = "source"
"""Name of the untouched corpus among the files of the cell."""
HELD_OUT = "held_out"
"""Folder of the rows that no arm trains on, made up as each arm makes up its own."""


def groups(folder: JobFolder) -> Iterator[Iterator[Person]]:
    """Yield the people of a finished cell, corpus by corpus: their own, the twins and each arm's stand-ins."""
    for path in sorted(folder.path.glob("people*.json")):
        people = folder.document(path.stem)
        for group in (people["source"], people["twin"], *people["own"].values()):
            yield persons(group)


def persons(rows: Sequence[Mapping[str, Any]]) -> Iterator[Person]:
    """Yield the people of a document's rows."""
    for row in rows:
        yield Person(row["id"], row["values"])


class _File:
    """A variant's file while it is made; it appears under its name when everything is done."""

    def __init__(self, path: Path, stack: contextlib.ExitStack) -> None:
        self._writing = stack.enter_context(jsonl.ConversationWriter(path))

    def add(self, conversation: Conversation) -> None:
        self._writing.add(conversation)

    def cut(self, count: int) -> None:
        self._writing.cut(count)

    def read(self) -> Sequence[Conversation]:
        return self._writing.read()


def held_out(root: Path, corpus: str, arms: Iterable[str]) -> list[Conversation]:
    """Return the rows of a corpus that none of its `arms` trains on, as they were given; none where there are none."""
    source = parts.named(SOURCE, corpus)
    given = root / HELD_OUT / f"{source}.jsonl"
    if given.is_file():
        return list(read(given))
    file = next((file for arm in arms if (file := root / HELD_OUT / f"{arm}.jsonl").is_file()), None)
    if file is None:
        return []
    apart = {conversation.id for conversation in read(file)}
    return [conversation for conversation in read(root / f"{source}.jsonl") if conversation.id in apart]


def compose_variants(
    plan: planning.Plan,
    job: planning.ComposeJob,
    folder: JobFolder,
    ask: compose.Ask,
    told: compose.Told = compose.untold,
) -> dict[str, object]:
    """Write `source.jsonl` and one chat file per arm into the folder; return the documents that belong to it.

    Documents: `cards` and, where some are planted, `canaries`; `people.json` is written here, one by one. `source`,
    people and canaries stand once per corpus, called as `parts.named` says. Each corpus is read once, whatever its
    size, and marked as it is read where nobody says what is personal in it. All arms are cut to the assistant tokens of
    the smallest, of whatever corpus they are. `told` is told now and then how far things are. Raises what
    `steps.compose` and the corpus raise; nothing is left half written.
    """
    design = plan.design
    missing = not folder.path.exists()
    try:
        folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with detection_cache.caching(), contextlib.ExitStack() as stack:
            drafts: list[compose.Draft] = []
            documents: dict[str, object] = {}
            people_of: dict[Path, dict[str, Any]] = {}
            for name in design.sources:
                drafts += _drafted(design, name, job, folder.path, ask, stack, documents, people_of, told)
            allowed = None if design.data.allow_residual else design.data.residual_limit
            made = (
                compose.finish(drafts, match=design.match_tokens, residual_limit=allowed, told=told) if drafts else []
            )
            for path, groups in people_of.items():
                jsonl.write_people(path, groups)
            return {"cards": {variant.arm.name: variant.card for variant in made}, **documents}
    except BaseException:
        with contextlib.suppress(OSError):  # bad input leaves nothing behind
            (folder.path / HELD_OUT).rmdir()
        if missing:
            with contextlib.suppress(OSError):
                folder.path.rmdir()
        raise


def _drafted(
    design: Design, name: str, job: planning.ComposeJob, root: Path, ask: compose.Ask, stack: contextlib.ExitStack,
    documents: dict[str, object],
    people_of: dict[Path, dict[str, Any]], told: compose.Told,
) -> list[compose.Draft]:  # fmt: skip
    """Write a corpus and its arms in full; what belongs to it goes into `documents`."""
    corpus = parts.corpus(design.sources[name])
    arms = [arm for arm in design.arms if arm.corpus == name]
    marker = ownership.Marker()
    found = False
    source = jsonl.ConversationWriter(root / f"{parts.named(SOURCE, name)}.jsonl")
    stack.enter_context(source)
    expected = getattr(corpus, "expected", lambda: None)()
    for count, conversation in enumerate(detection_cache.read_ahead(_stream(corpus))):
        if count % TELL == 0:
            told("reading", count, max(count, expected or 0))
        found = found or conversation.spans is None
        source.add(marker.mark(conversation))
    conversations = source.read()
    people: Sequence[Person] = marker.people() if found else corpus.people()
    kinds: set[StrangerKind] = {arm.pii for arm in arms if arm.pii in ("surrogate", "novelty")}
    strangers: dict[str, Sequence[Person]] = {
        kind: _strangers(corpus, kind, people, found, design.data_seed, told) for kind in sorted(kinds)
    }
    twins = _strangers(corpus, "twin", people, found, TWIN_SEED + design.data_seed, told) if people else []
    planted = _planted(design, corpus, conversations, people, found)
    kept_apart = bool(design.data.held_out or design.data.non_members)
    if kept_apart:
        (root / HELD_OUT).mkdir(mode=0o700, exist_ok=True)

    def place(name: str) -> Place:
        if name.startswith(HELD_OUT) and not design.data.held_out:
            return InMemory(name)
        return _File(root / f"{name}.jsonl", stack)

    drafts = []
    if arms:
        drafts = compose.draft(
            arms, conversations, people, strangers, count=_counter(str(job.base.model.path)),
            seed=design.data_seed, ask=ask, found=found, held_out=design.data.held_out,
            planted=planted.texts() if planted and not design.data.canary_file else (), place=place, told=told,
        )  # fmt: skip
    if design.data.non_members:
        rows = ChatFile(design.data.non_members).stream()
        _fill(_File(root / HELD_OUT / f"{parts.named(SOURCE, name)}.jsonl", stack), rows)
    own = {each.arm.name: each.own for each in drafts if each.arm.pii in policy.STAND_IN_POLICIES}
    people_of[root / f"{parts.named('people', name)}.json"] = {"source": people, "twin": twins, "own": own}
    if planted is not None:
        documents[parts.named("canaries", name)] = canaries.to_rows(planted)
    return drafts


def _stream(corpus: Corpus) -> Iterable[Conversation]:
    stream: Callable[[], Iterator[Conversation]] | None = getattr(corpus, "stream", None)
    return corpus.conversations() if stream is None else stream()


def _strangers(
    corpus: Corpus, kind: StrangerKind, people: Sequence[Person], found: bool, seed: int, told: compose.Told
) -> Sequence[Person]:
    """Return the n-th stand-in for the n-th of `people`; for values that were found, without reading them again."""
    if found and not (kind == "twin" and isinstance(corpus, ChatFile) and corpus.composed):
        return stand_ins.assign(people, kind, seed, functools.partial(told, kind)).strangers
    return corpus.strangers(kind, len(people), seed)


def _planted(
    design: Design, corpus: Corpus, conversations: Iterable[Conversation], people: Sequence[Person], found: bool
) -> canaries.Canaries | None:
    if design.data.canary_file:
        return canaries.read(Path(design.data.canary_file))
    if not design.data.canaries:
        return None
    wanted = canaries.people_needed(design.data.canaries)
    if found:
        made: Sequence[Person] = stand_ins.invented(wanted, "canary", design.data_seed, people)
        forms = canaries.forms(conversations, design.data_seed, stand_ins.CANARY_SHAPE)
    else:
        made = corpus.strangers("canary", wanted, design.data_seed)
        forms = canaries.forms(conversations, design.data_seed)
    return canaries.plan(forms, made, design.data.canaries)


def _fill(place: Place, conversations: Iterable[Conversation]) -> None:
    empty = True
    for conversation in conversations:
        whole, _ = compose.whole_exchanges(conversation)
        if whole.messages:
            place.add(whole)
            empty = False
    if empty:
        raise DataError("the held-out rows hold no conversation with a question and an answer")


def _counter(base: str) -> Callable[[str], int]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=False)

    def count(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    if getattr(tokenizer, "is_fast", False):
        count("a")  # the tokenizer sets up its engine as it is to be: no padding, nothing cut off
        engine = tokenizer.backend_tokenizer

        def quick(text: str) -> int:
            return len(engine.encode_batch_fast([text], add_special_tokens=False)[0].ids)

        return functools.lru_cache(maxsize=1 << 14)(quick)
    return functools.lru_cache(maxsize=1 << 14)(count)


@functools.lru_cache(maxsize=8)
def read(path: Path) -> tuple[Conversation, ...]:
    """Return a file's conversations, all in memory."""
    return tuple(jsonl.ConversationFile(path))


def documents_as_json(made: dict[str, object]) -> dict[str, bytes]:
    """Return file name -> content of the documents, for a folder that is no cell."""
    rows: dict[str, Any] = {name: plain(document) for name, document in made.items()}
    return {
        f"{name}.json": (json.dumps(row, indent=1, ensure_ascii=False) + "\n").encode() for name, row in rows.items()
    }
