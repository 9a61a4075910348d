"""Where a variant's conversations go while it is composed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from aftertune.records import Conversation


class Destination(Protocol):
    """Takes a variant's conversations, one by one."""

    def add(self, conversation: Conversation) -> None:
        """Take one more."""

    def cut(self, count: int) -> None:
        """Keep the first `count` only."""

    def read(self) -> Sequence[Conversation]:
        """Return what has been taken and kept so far."""


class InMemory:
    """A list of conversations."""

    def __init__(self, name: str) -> None:
        """Begin empty; the name is for files."""
        self.name = name
        self._conversations: list[Conversation] = []

    def add(self, conversation: Conversation) -> None:
        """Take one more."""
        self._conversations.append(conversation)

    def cut(self, count: int) -> None:
        """Keep the first `count` only."""
        del self._conversations[count:]

    def read(self) -> Sequence[Conversation]:
        """Return what has been taken and kept so far."""
        return tuple(self._conversations)
