"""What a corpus is: where conversations to tune on come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from aftertune.errors import UsageError
from aftertune.plugins import Plugin
from aftertune.records import Conversation, Person

StrangerKind = Literal["surrogate", "novelty", "twin", "canary"]


class Corpus(Plugin, ABC):
    """Where conversations to tune on come from: a frozen dataclass whose fields are its parameters."""

    kind: ClassVar[str] = "corpus"

    @abstractmethod
    def conversations(self) -> Sequence[Conversation]:
        """Return the human conversations, in a fixed order. Raises DataError with file and line."""

    def stream(self) -> Iterator[Conversation]:
        """Yield the same conversations; a corpus that may be larger than memory reads them one by one."""
        yield from self.conversations()

    @property
    def expected(self) -> int | None:
        """About how many conversations there are, for progress; None where nobody knows before reading."""
        return None

    @property
    def path(self) -> str:
        """The file that is read; empty for a corpus that is generated."""
        return ""

    def files(self) -> tuple[Path, ...]:
        """Return the files whose content decides the conversations: they go into ids. Raises DataError if missing."""
        return ()

    def people(self) -> Sequence[Person]:
        """Return everybody whose values stand in the conversations; empty where nobody knows."""
        return ()

    @property
    def composed(self) -> bool:
        """Whether it was written by `aftertune compose` and so knows the twins of its people."""
        return False

    def strangers(self, kind: StrangerKind, count: int, seed: int) -> Sequence[Person]:
        """Return `count` people (or, for `novelty`, things) of the same shape who stand nowhere in the corpus.

        `surrogate`: the same culture and format. `novelty`: equally rare strings that are nobody's. `twin`: drawn
        exactly as the corpus draws its people, never trained on. `canary`: planted on purpose, none of the others.
        Asked for as many as there are `people()`, the n-th stands in for the n-th of them. Raises UsageError where
        the corpus cannot.
        """
        raise UsageError(f"{type(self).__name__} cannot make {count} people of the kind '{kind}' (seed {seed})")
