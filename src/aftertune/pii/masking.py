"""Placeholders in place of personal values, for whatever is shown or shared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from aftertune.pii import detect
from aftertune.pii.matcher import Matcher
from aftertune.pii.policy import placeholder
from aftertune.pii.registry import Registry

Mask = Callable[[str], str]
Item = TypeVar("Item")
SURE, SURE_PHONE = 0.8, 0.9
"""Scores from which on a finding counts in a label: no single word is that sure to be a name, and a phone number is
only where it is written as one, since ids are digits too."""
IN_LABELS = frozenset({"PERSON", "EMAIL", "PHONE", "IBAN", "CREDIT_CARD", "NATIONAL_ID", "PASSPORT", "DATE_OF_BIRTH"})
"""Types that are looked for in labels: addresses of servers and numbers of tickets are what many of them are."""


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


def value_masker(registries: Sequence[Registry]) -> Mask:
    """Return a function that replaces the registries' values where they stand whole: for words of the project's own."""
    entries = list(dict.fromkeys((entry.type, entry.value) for registry in registries for entry in registry.entries))
    matcher = Matcher(entries)

    def mask(text: str) -> str:
        return with_placeholders(text, [(one.start, one.end, entries[one.value][0]) for one in matcher.find(text)])

    return mask


def label_masker(registries: Sequence[Registry]) -> Mask:
    """Return a function for short names that data may have given: ids and categories of prompts, names of columns.

    Replaced are the registries' values, parts of names included, and what `detect` is sure of (`SURE`): a label is most
    often a word of a benchmark's, and a guess at a name would hide it.
    """
    known = masker(registries, detected=False)
    least = {**dict.fromkeys(IN_LABELS, SURE), "PHONE": SURE_PHONE}

    def mask(label: str) -> str:
        return known(with_placeholders(label, [(f.start, f.end, f.type) for f in detect.find(label, IN_LABELS, least)]))

    return mask


def shown(text: object, most: int = 40) -> str:
    """Return a value of a table for an error message: as a label, in one line, its end cut off."""
    line = label_masker([])(" ".join(str(text).split()))
    return line[:most]


def with_masked_keys(mapping: Mapping[str, Item], mask: Mask) -> dict[str, Item]:
    """Return a mapping with masked keys; of several that become the same, the later ones are numbered."""
    masked: dict[str, Item] = {}
    for key, item in mapping.items():
        new, number = mask(key), 1
        while (name := new if number == 1 else f"{new} {number}") in masked:
            number += 1
        masked[name] = item
    return masked


def with_placeholders(text: str, spans: Sequence[tuple[int, int, str]]) -> str:
    """Return `text` with a placeholder for each (start, end, type); of overlapping ones the first names the type."""
    pieces: list[str] = []
    cursor = 0
    for start, end, type_ in sorted(spans, key=lambda span: (span[0], -span[1])):
        if end > cursor:
            pieces += [text[cursor : max(start, cursor)], placeholder(type_) if start >= cursor else ""]
            cursor = end
    return "".join(pieces) + text[cursor:]
