"""What stands where in the folder of composed variants, of a run or of `aftertune compose`."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aftertune.data import conversations as chats
from aftertune.records import Conversation, Person
from aftertune.run.job_folder import JobFolder

HELD_OUT = "held_out"
"""Folder of the rows that no arm trains on, made up as each arm makes up its own."""


@dataclass(frozen=True)
class VariantFiles:
    """The files of a folder: one chat file per arm, and per corpus its rows as they were given, people and canaries.

    A corpus without a name is that of `[corpus]`; `@` stands in no arm's name, so no two files are called alike.
    """

    root: Path

    def arm(self, arm: str) -> Path:
        """The chat file that an arm is tuned on."""
        return self.root / f"{arm}.jsonl"

    def held_out(self, arm: str) -> Path:
        """The rows of an arm that it is not tuned on."""
        return self.root / HELD_OUT / f"{arm}.jsonl"

    def source(self, corpus: str) -> Path:
        """A corpus, untouched by any policy."""
        return self.root / f"{_of_corpus('source', corpus)}.jsonl"

    def held_out_source(self, corpus: str) -> Path:
        """Rows of a corpus that were given as held out."""
        return self.root / HELD_OUT / f"{_of_corpus('source', corpus)}.jsonl"

    @staticmethod
    def people_document(corpus: str) -> str:
        """Name of the JSON document that holds the people of a corpus, their twins and stand-ins."""
        return _of_corpus("people", corpus)

    @staticmethod
    def canaries_document(corpus: str) -> str:
        """Name of the JSON document that holds the canaries of a corpus and their twins."""
        return _of_corpus("canaries", corpus)

    def people_file(self, corpus: str) -> Path:
        """Where `people_document` lies."""
        return self.root / f"{self.people_document(corpus)}.json"

    def untouched_held_out(self, corpus: str, arms: Iterable[str]) -> Sequence[Conversation]:
        """Return the unchanged rows of a corpus that none of its `arms` trains on; empty where there are none."""
        source = self.held_out_source(corpus)
        if source.is_file():
            return read(source)
        file = next((file for arm in arms if (file := self.held_out(arm)).is_file()), None)
        if file is None:
            return ()
        apart = {conversation.id for conversation in read(file)}
        return tuple(row for row in read(self.source(corpus)) if row.id in apart)


def _of_corpus(what: str, corpus: str) -> str:
    return f"{what}@{corpus}" if corpus else what


@functools.lru_cache(maxsize=8)
def read(path: Path) -> tuple[Conversation, ...]:
    """Return a file's conversations, all in memory."""
    return tuple(chats.ConversationFile(path))


def persons(rows: Sequence[Mapping[str, Any]]) -> Iterator[Person]:
    """Yield the people of a document's rows."""
    for row in rows:
        yield Person(row["id"], row["values"])


def groups_of_people(folder: JobFolder) -> Iterator[Iterator[Person]]:
    """Yield the people of a finished folder, corpus by corpus: their own, the twins and each arm's stand-ins."""
    for path in sorted(folder.path.glob("people*.json")):
        people = folder.document(path.stem)
        for group in (people["source"], people["twin"], *people["own"].values()):
            yield persons(group)
