"""Find personal values in a text: names, addresses, phone numbers, e-mail addresses, card and document numbers.

The engine is Presidio's analyzer with recognisers of ours (`pii/recognisers`); it is imported at the first call.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from aftertune.errors import UsageError
from aftertune.pii.recogniser import Candidate

THRESHOLDS: Mapping[str, float] = {
    "PERSON": 0.6,
    "ADDRESS": 0.5,
    "PHONE": 0.5,
    "EMAIL": 0.5,
    "REFERENCE": 0.5,
    "CREDIT_CARD": 0.5,
    "IBAN": 0.5,
    "NATIONAL_ID": 0.5,
    "PASSPORT": 0.5,
    "DRIVER_LICENCE": 0.5,
    "DATE_OF_BIRTH": 0.5,
    "IP": 0.5,
    "URL": 0.5,
    "LICENCE_PLATE": 0.5,
    "USERNAME": 0.5,
}
"""Type -> the score from which a candidate is a finding. `docs/pii.md` has what moving each one costs and gives."""
TYPES = frozenset(THRESHOLDS)


@dataclass(frozen=True, slots=True)
class Finding:
    """A personal value found in a text: `text[start:end]` (characters)."""

    start: int
    end: int
    type: str
    score: float
    """How sure the recogniser is, 0 to 1; an order, not a probability."""
    recogniser: str
    why: str
    """The pattern or list that made it, and the context word; never the value."""


def find(
    text: str, types: Collection[str] | None = None, thresholds: Mapping[str, float] | None = None
) -> list[Finding]:
    """Return the personal values in `text`, in order, none overlapping another.

    Args:
        text: Any text.
        types: Only these; None is all of `TYPES`.
        thresholds: Type -> least score, in place of that in `THRESHOLDS`.

    Raises:
        UsageError: An unknown type, or a threshold that is not between 0 and 1.
    """
    return finder()(text, types, thresholds)


Finder = Callable[[str, Collection[str] | None, Mapping[str, float] | None], list[Finding]]


def finder(model: str | None = None) -> Finder:
    """Return a function like `find`; with `model` (see `pii/models.py`) that model's findings compete with ours.

    Raises UsageError where the model is not on this machine.
    """
    if model is None:
        return partial(_find, None)
    from aftertune.pii import entity_models

    return partial(_find, (model, entity_models.load(model)))


def _find(
    model: tuple[str, Callable[[str], Iterable[Candidate]]] | None,
    text: str,
    types: Collection[str] | None,
    thresholds: Mapping[str, float] | None,
) -> list[Finding]:
    wanted = check(types, thresholds)
    if not text:
        return []
    from aftertune.pii.candidates import candidates as candidates_in

    least = {**THRESHOLDS, **(thresholds or {})}
    # All types compete for a place in the text even where few are wanted: a card number is not a phone number.
    candidates = candidates_in(text, TYPES)
    if model is not None:
        candidates += [(match, model[0]) for match in model[1](text)]
    found = [
        Finding(match.start, match.end, match.type, match.score, recogniser, match.why)
        for match, recogniser in candidates
        if match.score >= least[match.type]
    ]
    return [finding for finding in resolve(found) if finding.type in wanted]


def check(types: Collection[str] | None, thresholds: Mapping[str, float] | None) -> frozenset[str]:
    """Return the types that are wanted. Raises UsageError for an unknown type or a threshold that is no score."""
    wanted = TYPES if types is None else frozenset(types)
    for name in sorted({*wanted, *(thresholds or {})} - TYPES):
        raise UsageError(f"unknown type of personal data '{name}'; known: {', '.join(sorted(TYPES))}")
    for name, value in (thresholds or {}).items():
        if not 0 <= value <= 1:
            raise UsageError(f"threshold of {name}: {value} is not between 0 and 1")
    return wanted


def _rank(finding: Finding) -> tuple[float, int, str]:
    # Streets are named after people: an address that is likely stands before the name in it.
    street = 0.2 if finding.type == "ADDRESS" and finding.score >= 0.6 else 0.0
    return -finding.score - street - min(finding.end - finding.start, 60) / 200, finding.start, finding.type


def resolve(found: Collection[Finding]) -> list[Finding]:
    """Return the findings without overlaps, in order: the higher score stays, then the longer, then the earlier."""
    taken: list[Finding] = []
    group: list[Finding] = []
    reach = 0
    for one in sorted(found, key=lambda finding: finding.start):
        if group and one.start >= reach:
            taken += _best(group)
            group = []
        group.append(one)
        reach = max(reach, one.end) if len(group) > 1 else one.end
    return taken + _best(group)


def _best(found: Collection[Finding]) -> list[Finding]:
    """Resolve findings of which each overlaps another."""
    if len(found) < 2:
        return list(found)
    taken: list[Finding] = []
    starts: list[int] = []
    for one in sorted(found, key=_rank):
        place = bisect_left(starts, one.start)
        before = taken[place - 1].end if place else 0
        after = taken[place].start if place < len(taken) else one.end
        if before <= one.start and one.end <= after:
            taken.insert(place, one)
            starts.insert(place, one.start)
    return taken
