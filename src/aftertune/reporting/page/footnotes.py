"""Warnings of single numbers as numbered footnotes: each sentence stands on the page once."""

from __future__ import annotations


class Footnotes:
    """Numbers texts in the order in which they are first referred to."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __call__(self, warning: str) -> tuple[int, ...]:
        """Return the numbers of a row's warning, whose sentences are parted by semicolons; none for an empty one."""
        texts = [text.strip() for text in warning.split("; ") if text.strip()]
        return tuple(self._numbers.setdefault(text, len(self._numbers) + 1) for text in texts)

    @property
    def rows(self) -> list[tuple[int, str]]:
        """Every footnote so far with its number."""
        return [(number, text) for text, number in self._numbers.items()]
