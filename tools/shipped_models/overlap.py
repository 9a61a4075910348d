"""How much of the held-out prompts stands in the training text, in word n-grams."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from aftertune.generated_world.heldout import Probe
from aftertune.shipped_models.card import Overlap

_WORD = re.compile(r"[\w']+")
SIZES: tuple[int, ...] = (5, 8)


def words(text: str) -> tuple[str, ...]:
    """Lower-case words of a text."""
    return tuple(_WORD.findall(text.lower()))


def ngrams(text: Sequence[str], size: int) -> set[tuple[str, ...]]:
    """The distinct word n-grams of a text."""
    return {tuple(text[i : i + size]) for i in range(len(text) - size + 1)}


def overlap(probes: Sequence[Probe], training: Iterable[str]) -> list[Overlap]:
    """Look up every n-gram of the prompts in the training text, which is read once as a stream."""
    prompts = {probe.id: words(probe.prompt) for probe in probes}
    wanted = {size: {gram for text in prompts.values() for gram in ngrams(text, size)} for size in SIZES}
    matches: dict[int, set[tuple[str, ...]]] = {size: set() for size in SIZES}
    whole = set(prompts.values())
    repeated: set[tuple[str, ...]] = set()
    for line in training:
        text = words(line)
        for size in SIZES:
            matches[size] |= wanted[size].intersection(zip(*(text[i:] for i in range(size)), strict=False))
        if text in whole:
            repeated.add(text)
    rows = []
    for suite in dict.fromkeys(probe.suite for probe in probes):
        texts = [prompts[probe.id] for probe in probes if probe.suite == suite]
        shares = {}
        for size in SIZES:
            grams = [gram for text in texts for gram in ngrams(text, size)]
            shares[f"{size}-gram"] = round(sum(gram in matches[size] for gram in grams) / max(1, len(grams)), 4)
        rows.append(Overlap(suite, len(texts), shares, sum(text in repeated for text in texts)))
    return rows
