"""How much of the held-out prompts stands in the training text, in word n-grams."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aftertune.generated_world.heldout import Probe

_WORD = re.compile(r"[\w']+")
SIZES: tuple[int, ...] = (5, 8)


@dataclass(frozen=True)
class Overlap:
    """Shares of one suite's held-out prompts that occur in training.

    ``shares`` gives for each n the share of n-grams seen in training; ``duplicates`` counts whole prompts seen.
    """

    suite: str
    prompts: int
    shares: dict[int, float]
    duplicates: int


def words(text: str) -> tuple[str, ...]:
    """Lower-case words of a text."""
    return tuple(_WORD.findall(text.lower()))


def ngrams(text: Sequence[str], size: int) -> set[tuple[str, ...]]:
    """The distinct word n-grams of a text."""
    return {tuple(text[i : i + size]) for i in range(len(text) - size + 1)}


def overlap(probes: Sequence[Probe], training: Iterable[str]) -> list[Overlap]:
    """Look every n-gram of the prompts up in the training text, which is read once as a stream."""
    prompts = {probe.id: words(probe.prompt) for probe in probes}
    sought = {size: {gram for text in prompts.values() for gram in ngrams(text, size)} for size in SIZES}
    seen: dict[int, set[tuple[str, ...]]] = {size: set() for size in SIZES}
    whole = set(prompts.values())
    repeated: set[tuple[str, ...]] = set()
    for text in training:
        read = words(text)
        for size in SIZES:
            seen[size] |= sought[size].intersection(zip(*(read[i:] for i in range(size)), strict=False))
        if read in whole:
            repeated.add(read)
    found = []
    for suite in dict.fromkeys(probe.suite for probe in probes):
        texts = [prompts[probe.id] for probe in probes if probe.suite == suite]
        shares = {}
        for size in SIZES:
            grams = [gram for text in texts for gram in ngrams(text, size)]
            shares[size] = sum(gram in seen[size] for gram in grams) / max(1, len(grams))
        found.append(Overlap(suite, len(texts), shares, sum(text in repeated for text in texts)))
    return found
