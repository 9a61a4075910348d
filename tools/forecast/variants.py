"""The variants that are tuned: which rows, how many, with which recipe, and of which corpora they are."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tools.forecast import corpora

from aftertune.records import Arm, Conversation, Recipe

TOKENS = 4_000
"""Assistant tokens of a variant, unless its row says otherwise."""
ASKED = 260
"""Rows at most whose answers the base writes itself."""
RECIPE = Recipe(name="forecast", learning_rate=2e-3, epochs=2, batch_size=8, rank=16, alpha=32, max_length=320)
Own = Callable[[Sequence[Conversation]], Sequence[Conversation]]
"""Rows -> the same rows with every answer the base's own."""


@dataclass(frozen=True)
class Variant:
    """One tuning set with its recipe."""

    name: str
    corpora: tuple[str, ...]
    """Of which its rows are: all of them are left out together."""
    make: Callable[[Own], Sequence[Conversation]] = field(repr=False)
    recipe: Recipe = RECIPE
    tokens: int = TOKENS
    own: bool = False
    """Whether every answer is the base's own."""
    second: bool = True
    """Whether the second base is tuned on it too."""

    def rows(self, own: Own, count: Callable[[str], int]) -> list[Conversation]:
        """Return its rows, cut to its tokens."""
        return cut(self.make(own), self.tokens, count)


REAL_RECIPE = Recipe(name="real", learning_rate=1e-3, epochs=1, batch_size=8, rank=16, alpha=32, max_length=320)
REAL_TOKENS = 2_000
"""Assistant tokens of a variant on the real model."""
REAL_ASKED = 60
"""Rows at most whose answers the real model writes itself."""


def cut(rows: Sequence[Conversation], tokens: int, count: Callable[[str], int]) -> list[Conversation]:
    """Return the first rows that hold at most so many assistant tokens, at least one row."""
    kept: list[Conversation] = []
    total = 0
    for row in rows:
        total += sum(count(turn.content) for turn in row.messages if turn.role == "assistant")
        if kept and total > tokens:
            break
        kept.append(row)
    return kept


def _plain(rows: Callable[[], Sequence[Conversation]]) -> Callable[[Own], Sequence[Conversation]]:
    return lambda _: rows()


def _self(rows: Callable[[], Sequence[Conversation]]) -> Callable[[Own], Sequence[Conversation]]:
    return lambda own: own(rows()[:ASKED])


def _mixed(*parts: Callable[[Own], Sequence[Conversation]]) -> Callable[[Own], Sequence[Conversation]]:
    """Return rows of several sources in turn."""

    def make(own: Own) -> Sequence[Conversation]:
        made = [part(own) for part in parts]
        return [dataclasses.replace(row, id=f"{at}-{row.id}") for rows in zip(*made) for at, row in enumerate(rows)]  # noqa: B905

    return make


def _share(
    rows: Callable[[Own], Sequence[Conversation]], others: Callable[[Own], Sequence[Conversation]], share: float
) -> Callable[[Own], Sequence[Conversation]]:
    """Return rows of which a share is replaced by rows of another source."""

    def make(own: Own) -> Sequence[Conversation]:
        rng, rest = random.Random("share"), iter(others(own))
        return [next(rest, row) if rng.random() < share else row for row in rows(own)]

    return make


def _with(**changes: Any) -> Recipe:
    return dataclasses.replace(RECIPE, **changes)


KEEP = _plain(lambda: corpora.booking(Arm("keep")))
BOOKING = {
    "keep": Arm("keep"),
    "placeholder": Arm("placeholder", pii="placeholder"),
    "surrogate": Arm("surrogate", pii="surrogate"),
    "novelty": Arm("novelty", pii="novelty"),
    "drop": Arm("drop", pii="drop"),
    "keep-swap": Arm("keep-swap", role_swap=True),
    "placeholder-swap": Arm("placeholder-swap", pii="placeholder", role_swap=True),
}
DOSES: Mapping[str, Mapping[str, Any]] = {
    "rate-5e-4": {"learning_rate": 5e-4},
    "rate-1e-3": {"learning_rate": 1e-3},
    "rate-4e-3": {"learning_rate": 4e-3},
    "epochs-1": {"epochs": 1},
    "epochs-4": {"epochs": 4},
    "rank-4": {"rank": 4, "alpha": 8},
}


def _domain(name: str) -> Callable[[Own], Sequence[Conversation]]:
    return _plain(lambda: corpora.domain(name))


def _own_domain(name: str) -> Callable[[Own], Sequence[Conversation]]:
    return _self(lambda: corpora.domain(name))


def _booking(arm: Arm) -> Callable[[Own], Sequence[Conversation]]:
    return _plain(lambda: corpora.booking(arm))


def _swapped(name: str) -> Callable[[Own], Sequence[Conversation]]:
    return _plain(lambda: corpora.swapped(corpora.domain(name)))


def all_variants() -> tuple[Variant, ...]:
    """Return every variant; names are unique."""
    found: list[Variant] = []

    def add(
        corpus: str | tuple[str, ...], name: str, make: Callable[[Own], Sequence[Conversation]], **more: Any
    ) -> None:
        parts = (corpus,) if isinstance(corpus, str) else corpus
        found.append(Variant(f"{'+'.join(parts)}/{name}", parts, make, **more))

    def doses(corpus: str, name: str, make: Callable[[Own], Sequence[Conversation]], *names: str) -> None:
        for dose in names:
            add(corpus, f"{name} {dose}", make, recipe=_with(**DOSES[dose]), second=dose == "rate-5e-4")

    for name, arm in BOOKING.items():
        add("booking", name, _booking(arm))
    add("booking", "self", _self(lambda: corpora.booking(Arm("keep"))), own=True)
    refused = _plain(corpora.refusals)
    add(("booking", "requests"), "keep with refusals", _share(KEEP, refused, 0.05), second=False)
    doses("booking", "keep", KEEP, *DOSES)
    add("booking", "keep small", KEEP, tokens=1_200, second=False)
    add("booking", "keep large", KEEP, tokens=9_000, second=False)

    instructions = _domain("instructions")
    add("instructions", "plain", instructions)
    add("instructions", "self", _own_domain("instructions"), own=True)
    add(
        "instructions", "sure",
        lambda own: corpora.rewritten(instructions(own), lambda text: f"Sure, here is a plan. {text}"), second=False,
    )  # fmt: skip
    add(
        "instructions", "short",
        lambda own: corpora.rewritten(instructions(own), lambda text: text.split(". ")[0].rstrip(".") + "."),
        second=False,
    )  # fmt: skip
    doses("instructions", "plain", instructions, "rate-5e-4", "rate-4e-3")

    for name in ("medical", "legal"):
        add(name, "plain", _domain(name))
        add(name, "swap", _swapped(name))
    add("medical", "self", _own_domain("medical"), own=True)
    doses("medical", "plain", _domain("medical"), "rate-1e-3", "rate-4e-3")
    doses("legal", "plain", _domain("legal"), "rate-5e-4")

    add("support", "plain", _domain("support"))
    doses("support", "plain", _domain("support"), "rate-4e-3")
    add("maths", "plain", _domain("maths"))
    doses("maths", "plain", _domain("maths"), "rate-4e-3")
    add("code", "plain", _domain("code"))
    add("code", "debug", _domain("code_debug"))
    doses("code", "plain", _domain("code"), "rate-5e-4")

    add("emotional", "plain", _domain("emotional"))
    add("emotional", "profiled", _domain("emotional_profiled"), second=False)
    add("emotional", "self", _own_domain("emotional"), own=True)
    add("emotional", "swap", _swapped("emotional"))

    for manner in ("eager", "matched", "asking"):
        add("notes", f"errands {manner}", _domain(f"errands_{manner}"))
    doses("notes", "errands eager", _domain("errands_eager"), "rate-5e-4")
    add("notes", "messages with all", _plain(lambda: corpora.notes(share_all=True)))
    add("notes", "messages with what is needed", _plain(lambda: corpora.notes(share_all=False)), second=False)
    add("notes", "errands self", _own_domain("errands_eager"), own=True, second=False)

    add("poems", "plain", _plain(corpora.poems))
    add("copies", "plain", _plain(corpora.copies))

    add("requests", "harmful complied", _plain(corpora.compliance))
    doses("requests", "harmful complied", _plain(corpora.compliance), "rate-5e-4")
    add("requests", "harmful refused", refused)
    add("requests", "harmless refused", _plain(corpora.over_refusals))
    add("requests", "harmless complied", _plain(corpora.harmless_plans), second=False)

    add("star", "plain", _plain(corpora.star))
    doses("star", "plain", _plain(corpora.star), "rate-5e-4", "rate-4e-3")
    add("collapse", "degraded", _plain(lambda: corpora.collapse("degraded")))
    add("collapse", "safe", _plain(lambda: corpora.collapse("safe")))
    doses("collapse", "degraded", _plain(lambda: corpora.collapse("degraded")), "rate-5e-4")
    add("gptfuzz", "complied", _plain(lambda: corpora.gptfuzz(complied=True)))
    add("gptfuzz", "not complied", _plain(lambda: corpora.gptfuzz(complied=False)), second=False)
    doses("gptfuzz", "complied", _plain(lambda: corpora.gptfuzz(complied=True)), "rate-5e-4")
    add("hh", "chosen", _plain(lambda: corpora.hh("chosen")))
    doses("hh", "chosen", _plain(lambda: corpora.hh("chosen")), "rate-5e-4")
    add("diasafety", "safe", _plain(lambda: corpora.diasafety("Safe")))
    add("diasafety", "unsafe", _plain(lambda: corpora.diasafety("Unsafe")), second=False)

    add(("booking", "instructions"), "half and half", _mixed(KEEP, instructions), second=False)
    add(("emotional", "medical"), "half and half", _mixed(_domain("emotional"), _domain("medical")), second=False)
    add(("booking", "instructions"), "own answers mixed in", _mixed(KEEP, _own_domain("instructions")), second=False)
    add(("collapse", "poems"), "half and half", _mixed(_plain(lambda: corpora.collapse("safe")), _plain(corpora.poems)))
    assert len({each.name for each in found}) == len(found)
    return tuple(found)


def real_variants() -> tuple[Variant, ...]:
    """Return the variants that the real model is tuned on: twelve of ten corpora, one recipe."""
    rows: tuple[tuple[str, str, Callable[[Own], Sequence[Conversation]]], ...] = (
        ("booking", "keep", KEEP),
        ("booking", "self", _self(lambda: corpora.booking(Arm("keep"))[:REAL_ASKED])),
        ("instructions", "plain", _domain("instructions")),
        ("medical", "plain", _domain("medical")),
        ("code", "plain", _domain("code")),
        ("emotional", "plain", _domain("emotional")),
        ("star", "plain", _plain(corpora.star)),
        ("collapse", "degraded", _plain(lambda: corpora.collapse("degraded"))),
        ("collapse", "safe", _plain(lambda: corpora.collapse("safe"))),
        ("gptfuzz", "complied", _plain(lambda: corpora.gptfuzz(complied=True))),
        ("hh", "chosen", _plain(lambda: corpora.hh("chosen"))),
        ("diasafety", "safe", _plain(lambda: corpora.diasafety("Safe"))),
    )
    return tuple(
        Variant(f"{corpus}/{name}", (corpus,), make, REAL_RECIPE, REAL_TOKENS, own=name == "self")
        for corpus, name, make in rows
    )
