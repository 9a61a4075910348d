"""Near-duplicates of prompts: the same request in nearly the same words."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

SHARE = 0.5
"""Of two prompts' different content words together, the share in both from which on they are near-duplicates."""
RUN = 5
"""Words in a row that both have, two of them content words, from which on they are near-duplicates."""
_WORD = re.compile(r"[\w']+")
_EMPTY = frozenset(
    [
        "a",
        "about",
        "all",
        "am",
        "an",
        "and",
        "any",
        "are",
        "as",
        "ask",
        "asked",
        "at",
        "be",
        "because",
        "been",
        "before",
        "best",
        "bit",
        "but",
        "by",
        "can",
        "come",
        "could",
        "create",
        "describe",
        "design",
        "develop",
        "devise",
        "do",
        "does",
        "draft",
        "each",
        "explain",
        "few",
        "five",
        "for",
        "four",
        "from",
        "get",
        "getting",
        "give",
        "go",
        "good",
        "had",
        "has",
        "have",
        "he",
        "help",
        "her",
        "here",
        "him",
        "his",
        "how",
        "i",
        "if",
        "in",
        "instructions",
        "into",
        "is",
        "it",
        "its",
        "keep",
        "know",
        "like",
        "list",
        "made",
        "make",
        "many",
        "me",
        "message",
        "mine",
        "more",
        "most",
        "my",
        "need",
        "new",
        "no",
        "not",
        "of",
        "off",
        "on",
        "one",
        "or",
        "other",
        "our",
        "out",
        "outline",
        "over",
        "people",
        "plan",
        "please",
        "provide",
        "put",
        "say",
        "she",
        "should",
        "show",
        "so",
        "some",
        "somebody",
        "someone",
        "start",
        "step",
        "strategy",
        "suggest",
        "take",
        "teach",
        "tell",
        "text",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "three",
        "tips",
        "to",
        "tutorial",
        "two",
        "up",
        "us",
        "use",
        "want",
        "was",
        "way",
        "ways",
        "we",
        "what",
        "when",
        "where",
        "whether",
        "which",
        "who",
        "why",
        "will",
        "with",
        "without",
        "word",
        "words",
        "would",
        "write",
        "writing",
        "you",
        "your",
        "guide",
        "checklist",
        "produce",
        "compose",
        "short",
    ]
)


def words(text: str) -> tuple[str, ...]:
    """Return the lower-case words of a text."""
    return tuple(_WORD.findall(text.lower().replace("\u2019", "'")))


class Prompts:
    """Prompts that others must not come near."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Take the prompts' texts."""
        self._texts = list(texts)
        self._content = [content(text) for text in self._texts]
        self._runs: dict[tuple[str, ...], int] = {}
        self._holding: dict[str, list[int]] = defaultdict(list)
        for at, text in enumerate(self._texts):
            for run in _runs(words(text)):
                self._runs.setdefault(run, at)
            for word in self._content[at]:
                self._holding[word].append(at)

    def near(self, text: str) -> str:
        """Return a prompt that a text is a near-duplicate of; empty where there is none."""
        for run in _runs(words(text)):
            if run in self._runs:
                return self._texts[self._runs[run]]
        own = content(text)
        for at in {at for word in own for at in self._holding.get(word, ())}:
            both = own & self._content[at]
            every = len(own | self._content[at])
            if len(both) == every or (len(both) >= 2 and len(both) >= SHARE * every):
                return self._texts[at]
        return ""


def content(text: str) -> frozenset[str]:
    """Return the different words of a text that say what it is about."""
    return frozenset(words(text)) - _EMPTY


def _runs(text: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    """Yield the runs of `RUN` words with two content words or more; the whole of a shorter text."""
    if len(text) < RUN:
        yield text
    for start in range(len(text) - RUN + 1):
        run = text[start : start + RUN]
        if len(frozenset(run) - _EMPTY) >= 2:
            yield run
