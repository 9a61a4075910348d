"""Find personal values in a text: names, addresses, phone numbers, e-mail addresses, card and document numbers.

The recognisers (`pii/recognisers`, one family a file) are imported at the first call; `finder` adds a model to them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from aftertune.errors import UsageError, near
from aftertune.pii.normalisation import TracedText
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
"""Type -> the score from which a candidate is a finding. `docs/pii.md` says what moving each one costs and brings."""
TYPES = frozenset(THRESHOLDS)


@dataclass(frozen=True, slots=True)
class Finding:
    """A personal value in a text: `text[start:end]` (characters)."""

    start: int
    end: int
    type: str
    score: float
    """How sure the recogniser is, 0 to 1; an order, not a probability."""
    recogniser: str
    why: str
    """The pattern or list that matched, and the context word; never the value."""


def find(
    text: str, types: Collection[str] | None = None, thresholds: Mapping[str, float] | None = None
) -> list[Finding]:
    """Return the personal values in `text`, in order, none overlapping another.

    Args:
        text: Any text.
        types: Only these; None is all of `TYPES`.
        thresholds: Type -> least score, instead of the one in `THRESHOLDS`.

    Raises:
        UsageError: An unknown type, or a threshold that is not between 0 and 1.
    """
    return finder()(text, types, thresholds)


Finder = Callable[[str, Collection[str] | None, Mapping[str, float] | None], list[Finding]]


def finder(model: str | None = None) -> Finder:
    """Return a function like `find`; with `model` (see `entity_models`) that model's findings compete with ours.

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
    from aftertune.pii import line_breaks
    from aftertune.pii.candidates import candidates

    least = {**THRESHOLDS, **(thresholds or {})}
    every: list[tuple[Candidate, str]] = []
    for reading, kind in TracedText.readings(text):
        # All types compete even where few are wanted: a card number is not a phone number.
        here = candidates(reading.text, TYPES)
        if model is not None:
            here += [(one, model[0]) for one in model[1](reading.text)]
        if kind == "parted":
            here = [pair for pair in here if pair[0].type != "PERSON"]
        elif kind == "hyphenated":
            here = [pair for pair in here if _hyphenated(text, reading, pair[0])]
        here = _traced(here, reading, least)
        every += here
        if "\n" not in reading.text:
            continue
        whole, crossing = line_breaks.joined(reading)
        if crossing:
            every += line_breaks.accepted(_traced(crossing, whole, least), here, text)
    findings = [Finding(one.start, one.end, one.type, one.score, by, one.why) for one, by in every]
    return [finding for finding in resolve(findings) if finding.type in wanted]


def _traced(
    pairs: Iterable[tuple[Candidate, str]], reading: TracedText, least: Mapping[str, float]
) -> list[tuple[Candidate, str]]:
    """Return the candidates whose score suffices, their spans in the original text."""
    kept = [pair for pair in pairs if pair[0].score >= least[pair[0].type]]
    if reading.origins is None:
        return kept
    moved = []
    for one, recogniser in kept:
        start, end = reading.original(one.start, one.end)
        moved.append((Candidate(start, end, *one[2:]), recogniser))
    return moved


def _hyphenated(text: str, reading: TracedText, one: Candidate) -> bool:
    """Return whether a hyphen of the candidate is another character in the original text."""
    return any(
        reading.text[index] == "-" and text[reading.original(index, index + 1)[0]] != "-"
        for index in range(one.start, one.end)
    )


def check(types: Collection[str] | None, thresholds: Mapping[str, float] | None) -> frozenset[str]:
    """Return the types that are wanted. Raises UsageError for an unknown type or a threshold that is no score."""
    wanted = TYPES if types is None else frozenset(types)
    for name in sorted({*wanted, *(thresholds or {})} - TYPES):
        raise UsageError(f"unknown type of personal data '{name}'{near(name, sorted(TYPES))}")
    for name, value in (thresholds or {}).items():
        if not 0 <= value <= 1:
            raise UsageError(f"threshold of {name}: {value} is not between 0 and 1")
    return wanted


def _rank(finding: Finding) -> tuple[float, int, str]:
    # Streets are named after people: a likely address outranks the name in it.
    street = 0.2 if finding.type == "ADDRESS" and finding.score >= 0.6 else 0.0
    return -finding.score - street - min(finding.end - finding.start, 60) / 200, finding.start, finding.type


def resolve(findings: Collection[Finding]) -> list[Finding]:
    """Return the findings without overlaps, in order: the higher score stays, then the longer, then the earlier."""
    best: list[Finding] = []
    group: list[Finding] = []
    reach = 0
    for one in sorted(findings, key=lambda finding: finding.start):
        if group and one.start >= reach:
            best += _best(group)
            group = []
        group.append(one)
        reach = max(reach, one.end) if len(group) > 1 else one.end
    return best + _best(group)


def _best(group: Collection[Finding]) -> list[Finding]:
    """Resolve findings each of which overlaps another."""
    if len(group) < 2:
        return list(group)
    taken: list[Finding] = []
    starts: list[int] = []
    for one in sorted(group, key=_rank):
        index = bisect_left(starts, one.start)
        before = taken[index - 1].end if index else 0
        after = taken[index].start if index < len(taken) else one.end
        if before <= one.start and one.end <= after:
            taken.insert(index, one)
            starts.insert(index, one.start)
    return taken
