"""International bank account numbers: the country's length, and the check digits modulo 97 (ISO 13616)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aftertune.pii.recogniser import Candidate, Recogniser, View
from aftertune.pii.word_lists import words

LENGTHS = {
    pair[:2]: int(pair[3:])
    for pair in words(
        "AD:24 AE:23 AL:28 AT:20 AZ:28 BA:20 BE:16 BG:22 BH:22 BI:27 BR:29 BY:28 CH:21 CR:22 CY:28 CZ:24 "
        "DE:22 DJ:27 DK:18 DO:28 EE:20 EG:29 ES:24 FI:18 FK:18 FO:18 FR:27 GB:22 GE:22 GI:23 GL:18 GR:27 "
        "GT:28 HN:28 HR:21 HU:28 IE:22 IL:23 IQ:23 IS:26 IT:27 JO:30 KW:30 KZ:20 LB:28 LC:32 LI:21 LT:20 "
        "LU:20 LV:21 LY:25 MC:27 MD:24 ME:22 MK:19 MN:20 MR:27 MT:31 MU:30 NI:28 NL:18 NO:15 OM:23 PK:24 "
        "PL:28 PS:29 PT:25 QA:29 RO:24 RS:22 RU:33 SA:24 SC:31 SD:18 SE:24 SI:19 SK:24 SM:27 SO:23 ST:25 "
        "SV:28 TL:23 TN:24 TR:26 UA:29 VA:22 VG:24 XK:20 YE:30"
    )
}
"""Country -> characters of its numbers."""
_START = re.compile(r"(?<![A-Za-z0-9])([A-Za-z]{2})[ -]?\d[ ]?\d")


def valid(value: str) -> bool:
    """Return whether `value` (letters and digits only) has the length of its country and the right check digits."""
    value = value.upper()
    if len(value) != LENGTHS.get(value[:2]):
        return False
    return int("".join(str(int(char, 36)) for char in value[4:] + value[:4])) % 97 == 1


def scan(view: View) -> Iterator[Candidate]:
    """Yield IBANs, in groups or not, in either case."""
    if not view.has_digit:
        return
    text = view.text
    for match in _START.finditer(text):
        length = LENGTHS.get(match.group(1).upper())
        if length is None:
            continue
        value, end = "", match.start()
        limit = min(len(text), match.start() + 2 * length)
        while end < limit and len(value) < length:
            char = text[end]
            if char.isascii() and char.isalnum():
                value += char
            elif char not in " -.\u00a0":
                break
            end += 1
        if len(value) == length and not text[end : end + 1].isalnum() and valid(value):
            yield Candidate(match.start(), end, "IBAN", 1.0, f"IBAN of {value[:2].upper()}, check digits modulo 97")


RECOGNISER = Recogniser("iban", frozenset({"IBAN"}), scan)
