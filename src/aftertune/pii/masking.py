"""Placeholders in place of personal values, for whatever is shown or shared."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aftertune.pii import detect
from aftertune.pii.matcher import Matcher
from aftertune.pii.policy import placeholder
from aftertune.pii.registry import Registry

Mask = Callable[[str], str]


def masker(registries: Sequence[Registry], *, detected: bool = True) -> Mask:
    """Return a function that replaces the registries' values and, with `detected`, the findings of `detect`.

    It errs on the safe side, unlike matching: parts of names count where they are written with a capital, common words
    that are names count too, and so does any number that contains the digits of a registry's.
    """
    entries = list(dict.fromkeys((entry.type, entry.value) for registry in registries for entry in registry.entries))
    matcher = Matcher(entries, greedy=True)

    def mask(text: str) -> str:
        spans = [(one.start, one.end, one.type) for one in detect.find(text)] if detected else []
        spans += [(one.start, one.end, entries[one.value][0]) for one in matcher.find(text)]
        return with_placeholders(text, spans)

    return mask


def with_placeholders(text: str, spans: Sequence[tuple[int, int, str]]) -> str:
    """Return `text` with a placeholder for each (start, end, type); of overlapping ones the first names the type."""
    pieces: list[str] = []
    cursor = 0
    for start, end, type_ in sorted(spans, key=lambda span: (span[0], -span[1])):
        if end > cursor:
            pieces += [text[cursor : max(start, cursor)], placeholder(type_) if start >= cursor else ""]
            cursor = end
    return "".join(pieces) + text[cursor:]
