"""The personal values of texts, each text searched once while a corpus is worked on; large ones by all cores."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence

from aftertune.pii.detection_workers import DetectionWorkers, Spans, find_spans
from aftertune.pii.people import database
from aftertune.records import Conversation

SHORT = 4_000
"""Characters of a text that is kept in memory with its spans."""
CHUNK = (512, 1 << 20)
"""Conversations, and characters in them, that are searched together."""
ALONE = 20_000
"""Texts that this process searches before it starts others to help."""


def spans_in(text: str) -> Spans:
    """Return the findings of `detect.find` as (start, end, type); recent texts are not searched again."""
    return _recent(text) if len(text) <= SHORT else _cached(text)


def _cached(text: str) -> Spans:
    return _caches[-1].spans(text) if _caches else find_spans(text)


_recent = functools.lru_cache(maxsize=1 << 14)(_cached)


class _Cache:
    """The spans of every text so far, on disk, by the text's hash; and the processes that help."""

    def __init__(self) -> None:
        self._db = database("text (key BLOB PRIMARY KEY, spans TEXT) WITHOUT ROWID")
        self._chunk: dict[str, Spans] = {}
        """Of the texts that are about to be asked for."""
        self._from_workers: dict[str, Spans] = {}
        self._searched = 0
        self._workers: DetectionWorkers | None = None

    def spans(self, text: str) -> Spans:
        spans = self._known(text)
        if spans is None:
            spans = find_spans(text)
            self._searched += 1
            self._keep(text, spans)
        return spans

    def _known(self, text: str) -> Spans | None:
        if text in self._chunk:
            return self._chunk[text]
        row = self._db.execute("SELECT spans FROM text WHERE key = ?", (_hash(text),)).fetchone()
        return None if row is None else tuple((start, end, type_) for start, end, type_ in json.loads(row[0]))

    def _keep(self, text: str, spans: Spans) -> None:
        row = (_hash(text), json.dumps(spans, separators=(",", ":")))
        self._db.execute("INSERT OR IGNORE INTO text VALUES (?, ?)", row)

    def read_ahead(self, conversations: Iterable[Conversation]) -> Iterator[Conversation]:
        waiting: list[Conversation] = []
        for chunk in chunks(conversations):
            self._end()
            many = self._searched + sum(len(conversation.texts) for conversation in chunk) >= ALONE
            helped = many and self._begin(chunk)
            yield from waiting
            waiting = chunk if helped else []
            if not helped:
                yield from chunk
        self._end()
        yield from waiting

    def _begin(self, chunk: Sequence[Conversation]) -> bool:
        texts = dict.fromkeys(text for conversation in chunk for text in conversation.texts)
        known = {text: self._known(text) for text in texts}
        self._chunk = self._from_workers | {text: spans for text, spans in known.items() if spans is not None}
        try:
            if self._workers is None:
                self._workers = DetectionWorkers()
            self._workers.begin([text for text, spans in known.items() if spans is None])
        except OSError:
            self._go_on_alone()
        return self._workers is not None

    def _end(self) -> None:
        if self._workers is not None and self._workers.busy:
            try:
                answers = self._workers.end()
            except OSError:
                self._go_on_alone()
                return
            for text, spans in answers.items():
                self._keep(text, spans)
            self._chunk |= answers
            self._from_workers = answers

    def _go_on_alone(self) -> None:
        """Do without workers from now on: one has died."""
        self.close()
        self._workers, self._searched = None, -sys.maxsize
        self._chunk, self._from_workers = {}, {}

    def close(self) -> None:
        if self._workers is not None:
            self._workers.close()


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def chunks(conversations: Iterable[Conversation]) -> Iterator[list[Conversation]]:
    """Yield the conversations in lists of `CHUNK`, at least one list."""
    chunk: list[Conversation] = []
    size = 0
    for conversation in conversations:
        chunk.append(conversation)
        size += sum(map(len, conversation.texts))
        if len(chunk) >= CHUNK[0] or size >= CHUNK[1]:
            yield chunk
            chunk, size = [], 0
    yield chunk


_caches: list[_Cache] = []


@contextlib.contextmanager
def caching() -> Iterator[None]:
    """Within it no text is searched twice, however many there are, and `read_ahead` uses all cores for large files."""
    _caches.append(_Cache())
    try:
        yield
    finally:
        _caches.pop().close()


def read_ahead(conversations: Iterable[Conversation]) -> Iterator[Conversation]:
    """Yield the conversations; within `caching`, other processes search the texts of the next ones meanwhile."""
    return _caches[-1].read_ahead(conversations) if _caches else iter(conversations)


def clear() -> None:
    """Forget the spans of recent texts."""
    _recent.cache_clear()
