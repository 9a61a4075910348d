"""The ways to write one date, so that a date of birth is recognised however it is written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from aftertune.pii.normalisation import plain

MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
ELSEWHERE = {
    name: number
    for names in (
        "januar februar märz april mai juni juli august september oktober november dezember",
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
        "januari februari maart april mei juni juli augustus september oktober november december",
        "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    )
    for number, name in enumerate(names.split(), 1)
}
"""Months in German, French, Spanish, Italian, Dutch and Portuguese."""
_PLAIN = {plain(name): number for name, number in ELSEWHERE.items()}
GAPS = re.compile(r"\w+(?:[\s\-./,]{1,3}(?:of\s+)?\w+)*", re.I)
"""A date with the separators allowed between its parts."""
_ORDINAL = re.compile(r"(\d{1,2})(?:st|nd|rd|th)")


def forms(words: Sequence[str], text: str) -> Iterator[tuple[str, ...]]:
    """Yield the word sequences that mean the date `text`, whose words in lower case are `words`.

    A date whose day and month cannot be told apart (`03/04/1980`) has only its own form; so has any other text.
    """
    yield tuple(words)
    date = _read([word for word in words if word not in ("of", "de")], text)
    if date is None:
        return
    year, month, day = date
    name = MONTHS[month - 1]
    days = dict.fromkeys((f"{day:02}", str(day)))
    months = dict.fromkeys((f"{month:02}", str(month)))
    ordinal = f"{day}{'th' if 10 < day < 20 else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"
    ways: list[tuple[str, ...]] = [(year + f"{month:02}{day:02}",)]
    for m in months:
        for d in days:
            ways += [(year, m, d), (d, m, year), (m, d, year)]
    for m in (name, name[:3], *(["sept"] if month == 9 else [])):
        for d in (*days, ordinal):
            ways += [(d, m, year), (m, d, year), (year, m, d), (d, "of", m, year)]
    yield from (form for form in dict.fromkeys(ways) if form != tuple(words))


def _read(words: Sequence[str], text: str) -> tuple[str, int, int] | None:
    """Return (year, month, day), or None where that is not certain."""
    if len(words) == 1 and re.fullmatch(r"(?:19|20)\d{6}", words[0]):
        words = (words[0][:4], words[0][4:6], words[0][6:])
    if len(words) != 3:
        return None
    named = [i for i, word in enumerate(words) if _month(word)]
    numbers = [_ORDINAL.sub(r"\1", word) for word in words]
    years = [i for i, word in enumerate(numbers) if re.fullmatch(r"\d{4}", word)]
    if len(years) != 1 or len(named) > 1 or sum(number.isdecimal() for number in numbers) + len(named) != 3:
        return None
    year = years[0]
    rest = [i for i in range(3) if i != year]
    if named:
        month, day = _month(words[named[0]]), int(numbers[next(i for i in rest if i != named[0])])
    elif year == 0:
        month, day = int(numbers[1]), int(numbers[2])
    else:
        first, second = (int(numbers[i]) for i in rest)
        if "." in text or first > 12:
            day, month = first, second
        elif second > 12:
            month, day = first, second
        else:
            return None
    return (numbers[year], month, day) if 1 <= month <= 12 and 1 <= day <= 31 else None


def _month(word: str) -> int:
    """Return 1 to 12 for a month's name or its first letters, else 0."""
    if len(word) < 3 or not word.isalpha():
        return 0
    if word in _PLAIN:
        return _PLAIN[word]
    return next((i for i, name in enumerate(MONTHS, 1) if name.startswith(word) or (word == "sept" and i == 9)), 0)
