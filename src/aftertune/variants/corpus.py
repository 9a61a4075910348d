"""What a corpus is: where conversations to tune on come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from aftertune.data.reading import SkippedRow
from aftertune.errors import UsageError
from aftertune.plugins import Plugin
from aftertune.records import Conversation, Person

StrangerKind = Literal["surrogate", "novelty", "twin", "canary"]


class Corpus(Plugin, ABC):
    """Where conversations to tune on come from: a frozen dataclass whose fields are its parameters.

    A corpus in a file overrides `stream`, `expected`, `path` and `files`; one whose people are known overrides `people`
    and `strangers`. A personal value is known by the spans of the conversations; where their `spans` are None, values
    are looked for in the text.
    """

    kind: ClassVar[str] = "corpus"
    path: str = ""
    """The file that is read; empty for a corpus that is generated. A corpus that takes it as a parameter declares the
    field `path: str = field()`."""

    @abstractmethod
    def conversations(self) -> Sequence[Conversation]:
        """Return the human conversations, in a fixed order. Raises UsageError, or DataError with file and line."""

    def stream(self) -> Iterator[Conversation]:
        """Yield the same conversations; a corpus that may be larger than memory reads them one by one."""
        yield from self.conversations()

    def rows(self) -> Iterator[Conversation | SkippedRow]:
        """Yield the same conversations, and where it skips rows that cannot be read, each of those in its place."""
        yield from self.stream()

    @property
    def read_as(self) -> str:
        """The encoding that was found, and is worth telling; empty for any other corpus."""
        return ""

    @property
    def expected(self) -> int | None:
        """About how many conversations there are, for progress; None where nobody knows before reading."""
        return None

    def files(self) -> tuple[Path, ...]:
        """Return the files whose content decides the corpus: it goes into ids. Raises UsageError if one is missing."""
        return ()

    def people(self) -> Sequence[Person]:
        """Return everybody whose values stand in the conversations; empty where there is nobody."""
        return ()

    @property
    def composed(self) -> bool:
        """Whether it was written by `aftertune compose` and so knows the twins of its people."""
        return False

    def strangers(self, kind: StrangerKind, count: int, seed: int) -> Sequence[Person]:
        """Return `count` people (or, for `novelty`, things) of the same shape who stand nowhere in the corpus.

        `surrogate`: of the same culture and format. `novelty`: equally rare strings that are nobody's. `twin`: drawn
        exactly as the corpus draws its people, never trained on. `canary`: planted on purpose, none of the others.
        When `count` is the number of `people()`, the n-th stranger stands in for the n-th person. Raises UsageError
        where the corpus has too few, or none at all.
        """
        del seed
        if count:
            name = type(self).__name__.lower()
            raise UsageError(f"{name}: nobody stands in it, so there is no {kind}; use pii = 'keep'")
        return ()
