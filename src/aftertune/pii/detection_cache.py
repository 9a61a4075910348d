"""What is found in texts, each read once: kept for as long as a corpus is worked on, large ones read by all cores."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence

from aftertune.pii.detection_workers import Places, Readers, found
from aftertune.pii.people import database
from aftertune.records import Conversation

SHORT = 4_000
"""Characters of a text that is kept in memory with what was found in it."""
CHUNK = (512, 1 << 20)
"""Conversations, and characters in them, whose texts are read together."""
ALONE = 20_000
"""Texts that this process reads before it starts others to help."""


def found_in(text: str) -> Places:
    """Return what `detect.find` finds, as (start, end, type); texts seen lately are not read again."""
    return _lately(text) if len(text) <= SHORT else _remembered(text)


def _remembered(text: str) -> Places:
    return _READ[-1].found(text) if _READ else found(text)


_lately = functools.lru_cache(maxsize=1 << 14)(_remembered)


class _Memory:
    """What was found in every text read so far, on disk, by the text's hash; and the processes that help reading."""

    def __init__(self) -> None:
        self._db = database("text (key BLOB PRIMARY KEY, found TEXT) WITHOUT ROWID")
        self._near: dict[str, Places] = {}
        self._read: dict[str, Places] = {}
        self._alone = 0
        self._readers: Readers | None = None

    def found(self, text: str) -> Places:
        places = self._known(text)
        if places is None:
            places = found(text)
            self._alone += 1
            self._keep(text, places)
        return places

    def _known(self, text: str) -> Places | None:
        if text in self._near:
            return self._near[text]
        row = self._db.execute("SELECT found FROM text WHERE key = ?", (_hash(text),)).fetchone()
        return None if row is None else tuple((start, end, type_) for start, end, type_ in json.loads(row[0]))

    def _keep(self, text: str, found: Places) -> None:
        row = (_hash(text), json.dumps(found, separators=(",", ":")))
        self._db.execute("INSERT OR IGNORE INTO text VALUES (?, ?)", row)

    def ahead(self, conversations: Iterable[Conversation]) -> Iterator[Conversation]:
        waiting: list[Conversation] = []
        for chunk in chunks(conversations):
            self._end()
            many = self._alone + sum(len(conversation.messages) for conversation in chunk) >= ALONE
            helped = many and self._begin(chunk)
            yield from waiting
            waiting = chunk if helped else []
            if not helped:
                yield from chunk
        self._end()
        yield from waiting

    def _begin(self, chunk: Sequence[Conversation]) -> bool:
        texts = dict.fromkeys(message.content for conversation in chunk for message in conversation.messages)
        known = {text: self._known(text) for text in texts}
        self._near = self._read | {text: found for text, found in known.items() if found is not None}
        try:
            if self._readers is None:
                self._readers = Readers()
            self._readers.begin([text for text, found in known.items() if found is None])
        except OSError:
            self._without()
        return self._readers is not None

    def _end(self) -> None:
        if self._readers is not None and self._readers.busy:
            try:
                read = self._readers.end()
            except OSError:
                self._without()
                return
            for text, found in read.items():
                self._keep(text, found)
            self._near |= read
            self._read = read

    def _without(self) -> None:
        """Go on alone: a process that helped has died."""
        self.close()
        self._readers, self._alone = None, -sys.maxsize
        self._near, self._read = {}, {}

    def close(self) -> None:
        if self._readers is not None:
            self._readers.close()


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def chunks(conversations: Iterable[Conversation]) -> Iterator[list[Conversation]]:
    """Yield the conversations, some at a time, at least once."""
    chunk: list[Conversation] = []
    size = 0
    for conversation in conversations:
        chunk.append(conversation)
        size += sum(len(message.content) for message in conversation.messages)
        if len(chunk) >= CHUNK[0] or size >= CHUNK[1]:
            yield chunk
            chunk, size = [], 0
    yield chunk


_READ: list[_Memory] = []


@contextlib.contextmanager
def remembered() -> Iterator[None]:
    """Within it no text is read twice, however many there are, and `ahead` reads large files with all cores."""
    _READ.append(_Memory())
    try:
        yield
    finally:
        _READ.pop().close()


def ahead(conversations: Iterable[Conversation]) -> Iterator[Conversation]:
    """Yield the conversations; within `remembered`, other processes read the texts of the next ones meanwhile."""
    return _READ[-1].ahead(conversations) if _READ else iter(conversations)


def forget() -> None:
    """Forget what was found in texts seen lately."""
    _lately.cache_clear()
