"""Where a variant's conversations go while it is composed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from aftertune.records import Conversation


class Place(Protocol):
    """Where a variant's conversations go, one by one."""

    def add(self, conversation: Conversation) -> None:
        """Take one more."""

    def cut(self, count: int) -> None:
        """Keep the first `count` only."""

    def read(self) -> Sequence[Conversation]:
        """Return what is there now."""


class InMemory:
    """A list of conversations."""

    def __init__(self, name: str) -> None:
        """Begin empty; the name is for files."""
        self.name = name
        self._kept: list[Conversation] = []

    def add(self, conversation: Conversation) -> None:
        """Take one more."""
        self._kept.append(conversation)

    def cut(self, count: int) -> None:
        """Keep the first `count` only."""
        del self._kept[count:]

    def read(self) -> Sequence[Conversation]:
        """Return what is there now."""
        return tuple(self._kept)
