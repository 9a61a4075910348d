"""Digits of the same layout; and another phone number of the same layout and country."""

from __future__ import annotations

import random
import re
import string
from collections.abc import Iterator


def words(text: str) -> tuple[str, ...]:
    """Return the words of `text`."""
    return tuple(text.split())


_TWO = frozenset(
    words(
        "20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 "
        "81 82 84 86 90 91 92 93 94 95 98"
    )
)
"""Country calling codes of two digits (ITU-T E.164); 1 and 7 have one, all others three."""
_AREAS = words(
    "201 203 206 212 214 216 303 305 312 314 401 402 404 405 415 502 503 512 513 602 603 612 614 702 703 713 801 802"
)


def digit(rng: random.Random, low: int = 0) -> str:
    """Return a digit from `low` on."""
    return str(rng.randrange(low, 10))


def shaped(text: str, rng: random.Random) -> str:
    """Return `text` with each digit another digit, each letter another letter of its case; the rest stays."""
    made = []
    for place, char in enumerate(text):
        if char.isdecimal():
            made.append(digit(rng, 1 if char != "0" and (place == 0 or not text[place - 1].isdecimal()) else 0))
        elif char.isalpha():
            letter = rng.choice(string.ascii_uppercase)
            made.append(letter if char.isupper() else letter.lower())
        else:
            made.append(char)
    return "".join(made)


def filled(text: str, digits: str) -> str:
    """Return `text` with its digits replaced, in order, by `digits`; the layout stays."""
    rest = iter(digits)
    return "".join(next(rest) if char.isdecimal() else char for char in text)


def digits_of(text: str) -> str:
    """Return the digits of `text`, as they are."""
    return "".join(char for char in text if char.isdecimal())


def _phone_parts(old: str) -> tuple[str, re.Match[str] | None, str, str, str]:
    """Return the number without its extension, the extension, and of the digits the zeros, country code and rest."""
    tail = re.search(r"(?i)\s*(?:x|ext\.?|extension)\s*\d+$", old)
    main = old[: tail.start()] if tail else old
    digits = digits_of(main)
    international = main.lstrip("( ").startswith("+") or digits.startswith("00")
    body = digits[2:] if digits.startswith("00") else digits
    zeros = digits[: len(digits) - len(body)]
    if international:
        code = body[0] if body[:1] in ("1", "7") else body[:2] if body[:2] in _TWO else body[:3]
    else:
        code = "1" if len(body) == 11 and body[0] == "1" else ""
    return main, tail, zeros, code, body[len(code) :]


def _north_american(code: str, rest: str) -> bool:
    return len(rest) == 10 and (code == "1" or (not code and not rest.startswith("0")))


def fictional(old: str) -> bool:
    """Tell whether another number for this one comes from the North American block kept for fiction."""
    _, tail, _, code, rest = _phone_parts(old)
    return tail is None and _north_american(code, rest)


def fictional_phones() -> Iterator[str]:
    """Yield every number of that block that `phone` gives out."""
    yield from (f"{area}55501{number:02d}" for area in _AREAS for number in range(100))


def phone(old: str, rng: random.Random, crowded: bool) -> str:
    """Return another number in the same layout and country; North American ones from the fictional 555-01 block."""
    main, tail, zeros, code, rest = _phone_parts(old)
    if _north_american(code, rest):
        new = rng.choice(_AREAS) + "".join(shaped("555", rng) if crowded else "555")
        new += shaped("2345", rng) if crowded else f"01{rng.randrange(100):02d}"
    else:
        # The trunk prefix and the digit after it say what kind of number it is (mobile, city) and stay.
        head = re.match(r"0*\d?", rest)
        kept = head.group() if head and len(rest) > 4 else ""
        new = kept + "".join(digit(rng) for _ in rest[len(kept) :])
    made = filled(main, zeros + code + new)
    return made + (shaped(tail.group(), rng) if tail and tail.group().strip().isdecimal() else _ext(tail, rng))


def _ext(tail: re.Match[str] | None, rng: random.Random) -> str:
    return filled(tail.group(), "".join(digit(rng, 1) for _ in digits_of(tail.group()))) if tail else ""
