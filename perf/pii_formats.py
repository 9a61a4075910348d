"""Rare formats of personal data: recall, and false alarms on near-misses, on values made here from a seed.

Each value is in a sentence, and counts as found where a finding of its type overlaps it. A near-miss looks like a value
and is none: a wrong check digit, a version number, an order number, a measure. Check digits are computed here,
not by the recognisers. Intervals: Wilson's score, 95 %. Values and sentences are ours, so the rates say how far the
formats known to us are covered, not how often strangers write others. `--misses TYPE` prints what goes wrong.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

N = 400
SEED = 20260103
Z = 1.959964
Make = Callable[[random.Random], str]


class Case(NamedTuple):
    """One kind of value or near-miss."""

    type: str
    kind: str
    value: Make
    frames: tuple[str, ...]
    """Sentences; `{}` is the value."""
    real: bool


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion (Wilson 1927)."""
    p = hits / n
    centre, half = p + Z * Z / (2 * n), Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    return (centre - half) / (1 + Z * Z / n), (centre + half) / (1 + Z * Z / n)


def pattern(shape: str) -> Make:
    """Return a maker: `#` is a digit, `N` a digit from 1 on, `?` a capital letter, all else itself."""
    letters = "ABCDEFGHJKLMNPRSTUVWXYZ"

    def make(rng: random.Random) -> str:
        sets = {"#": "0123456789", "N": "123456789", "?": letters}
        return "".join(rng.choice(sets[char]) if char in sets else char for char in shape)

    return make


def one_of(*shapes: str) -> Make:
    """Return a maker of one of several patterns."""
    makers = [pattern(shape) for shape in shapes]
    return lambda rng: rng.choice(makers)(rng)


def _luhn(body: str) -> int:
    total = sum(sum(divmod(int(c) * (2 - i % 2), 10)) for i, c in enumerate(reversed(body)))
    return -total % 10


def _weights(body: str, weights: Sequence[int]) -> int:
    return sum(int(c) * w for c, w in zip(body, weights, strict=True))


def _group(digits: str, *sizes: int, by: str = " ") -> str:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(digits[at : at + size])
        at += size
    return by.join(pieces)


def card(rng: random.Random, off: int = 0) -> str:
    """Return a card number in groups or not; `off` is added to its check digit."""
    start, length = rng.choice((("4", 16), ("51", 16), ("55", 16), ("34", 15), ("37", 15), ("6011", 16), ("2221", 16)))
    body = start + "".join(rng.choice("0123456789") for _ in range(length - 1 - len(start)))
    digits = body + str((_luhn(body) + off) % 10)
    sizes = (4, 6, 5) if length == 15 else (4, 4, 4, 4)
    return rng.choice((digits, _group(digits, *sizes), _group(digits, *sizes, by="-")))


_IBANS = {"DE": 18, "FR": 23, "GB": 18, "NL": 14, "ES": 20, "IT": 23, "CH": 17, "PL": 24, "SE": 20, "AT": 16}


def iban(rng: random.Random, off: int = 0) -> str:
    """Return an IBAN; `off` is added to its check digits."""
    country = rng.choice(sorted(_IBANS))
    bban = "".join(rng.choice("0123456789") for _ in range(_IBANS[country]))
    size = {"GB": 4, "NL": 4, "IT": 1}.get(country, 0)
    bban = "".join(rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(size)) + bban[size:]
    number = int("".join(str(int(c, 36)) for c in bban + country + "00"))
    check = (98 - number % 97 + off - 2) % 96 + 2 if off else 98 - number % 97
    text = f"{country}{check:02d}{bban}"
    return rng.choice((text, " ".join(text[i : i + 4] for i in range(0, len(text), 4))))


def national_id(rng: random.Random, off: int = 0) -> str:
    """Return an identity number of one of nine countries, with its cue; `off` spoils the check digit or the area."""

    def some(n: int) -> str:
        return "".join(rng.choice("0123456789") for _ in range(n))

    born = f"{rng.randint(50, 99)}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}"
    country = rng.choice(("us", "es", "pl", "nl", "br", "se", "ch", "za", "ca"))
    if country == "us":
        area = rng.choice(("000", "666", "950")) if off else f"{rng.randint(1, 665):03d}"
        return f"SSN {area}-{rng.randint(1, 99):02d}-{rng.randint(1, 9999):04d}"
    if country == "es":
        body = "1" + some(7)
        return f"DNI {body}{'TRWAGMYFPDXBNJZSQVHLCKE'[(int(body) + off) % 23]}"
    if country == "pl":
        body = born + some(4)
        return f"PESEL {body}{(-_weights(body, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)) + off) % 10}"
    if country == "nl":
        body = next(b for b in iter(lambda: "1" + some(7), "") if _weights(b, range(9, 1, -1)) % 11 < 10)
        return f"BSN {body}{(_weights(body, range(9, 1, -1)) % 11 + off) % 10}"
    if country == "br":
        body = "1" + some(8)
        for size in (10, 11):
            body += str(-_weights(body, range(size, 1, -1)) % 11 % 10)
        body = body[:10] + str((int(body[10]) + off) % 10)
        return f"CPF {body[:3]}.{body[3:6]}.{body[6:9]}-{body[9:]}"
    if country == "se":
        body = born + some(3)
        return f"personnummer {body[:6]}-{body[6:]}{(_luhn(body) + off) % 10}"
    if country == "ch":
        body = "756" + some(9)
        return f"AHV {_group(body + str((-_weights(body, (1, 3) * 6) + off) % 10), 3, 4, 4, 2, by='.')}"
    if country == "za":
        body = born + some(4) + "08"
        return f"RSA id number {body}{(_luhn(body) + off) % 10}"
    body = "1" + some(7)
    return f"SIN {_group(body + str((_luhn(body) + off) % 10), 3, 3, 3)}"


def ip(rng: random.Random) -> str:
    """Return an IPv4 or IPv6 address."""
    if rng.random() < 0.3:
        return ":".join(f"{rng.randrange(1, 65536):x}" for _ in range(4)) + rng.choice(("::1", "::", ":0:0:8a2e:7334"))
    return ".".join(str(rng.randint(1, 254)) for _ in range(4))


def dotted(rng: random.Random) -> str:
    """Return a version number of four parts."""
    return ".".join(str(rng.randint(0, 30)) for _ in range(4))


def letters_and_digits(rng: random.Random) -> str:
    """Return a reference of six to eight letters and digits, both in it."""
    while True:
        made = "".join(rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ23456789") for _ in range(rng.randint(6, 8)))
        if any(c.isdigit() for c in made) and any(c.isalpha() for c in made):
            return made


_SAY = ("Here it is: {}, thanks.", "We noted {} in your file.", "Please use {} from now on.", "It was {} I think.")
_ORDER = ("Your order {} has shipped.", "Tracking number {} is on its way.", "Invoice {} is overdue.", "Part no. {}.")
_REF = ("My booking reference is {}.", "Confirmation code: {}", "Ticket {} please.", "reservation {} for tonight")
_PLATE = ("My licence plate is {}.", "The car with plate number {} is mine.", "registration {}, a blue van")
_PHONES = ("You can call me on {}.", "Phone: {}", "my number is {}, ring any time", "Tel. {}")
CASES = (
    Case("CREDIT_CARD", "valid check digit", card, (*_SAY, "Charge my card {} please."), True),
    Case("CREDIT_CARD", "wrong check digit", lambda r: card(r, r.randint(1, 9)), _SAY, False),
    Case("CREDIT_CARD", "order or tracking number", pattern("N###############"), _ORDER, False),
    Case("IBAN", "ten countries", iban, (*_SAY, "Transfer it to {}."), True),
    Case("IBAN", "wrong check digits", lambda r: iban(r, r.randint(1, 90)), _SAY, False),
    Case(
        "NATIONAL_ID", "nine countries, named", national_id, ("My {}.", "{} is on the form", "It says {}, right?"), True
    ),
    Case(
        "NATIONAL_ID", "wrong check digit, named", lambda r: national_id(r, 1), ("My {}.", "{} is on the form"), False
    ),
    Case("NATIONAL_ID", "order number", one_of("N########", "N##########", "##-###-####"), _ORDER, False),
    Case("IP", "v4 and v6", ip, (*_SAY, "I logged in from {}.", "The server at {} is down."), True),
    Case(
        "IP",
        "version number",
        dotted,
        ("Version {} is out.", "We run firmware {} here.", "Updated to v{} today."),
        False,
    ),
    Case(
        "IP", "section, time or parts over 255", one_of("3##.4##.1.1", "1#:2#:3#", "1.2.N", "N.#.#.#.#.#"), _SAY, False
    ),
    Case(
        "LICENCE_PLATE",
        "six countries, named",
        one_of("?? ## ???", "?-?? ####", "#### ???", "??-###-??", "???-####", "??## ???"),
        _PLATE,
        True,
    ),
    Case(
        "LICENCE_PLATE",
        "measures and models",
        one_of("N## km", "N# GB", "iPhone 1#", "USB N.#", "Boeing 7#7", "A4 ### g"),
        _SAY,
        False,
    ),
    Case("REFERENCE", "letters and digits, named", letters_and_digits, _REF, True),
    Case(
        "REFERENCE",
        "models, sizes, rooms",
        one_of("room N##", "gate ?#", "N## EUR", "model ?#", "seat ##?", "flight ?? ###"),
        _SAY,
        False,
    ),
    Case(
        "PHONE",
        "order, price, date, card",
        one_of("N#########", "N,###,###.##", "20##-0N-1#", "N### #### #### ####"),
        _ORDER,
        False,
    ),
    Case(
        "PHONE",
        "sizes, scores, ranges",
        one_of("N##x###", "N-# 3-#", "19##-20##", "N#.#### 1#.####", "N ###"),
        _SAY,
        False,
    ),
)
COUNTRIES = {
    "US": "(NN#) 5##-####|NN#-5##-####|+1 NN# 5## ####|1-NN#-5##-####|NN#.5##.####",
    "CA": "+1-416-5##-####|(604) 5##-####", "MX": "+52 55 N### ####|01 55 N### ####",
    "BR": "+55 11 9####-####|(11) 9####-####|(21) N###-####", "AR": "+54 9 11 N###-####|011 N###-####",
    "CL": "+56 9 N### ####", "CO": "+57 3## ### ####", "PE": "+51 9## ### ###", "VE": "+58 412-N######",
    "UK": "020 7N## ####|07N## ######|+44 20 N### ####|0161 N## ####|01N## ######|+44 (0)7N## ######",
    "IE": "01 N## ####|087 N## ####|+353 87 N## ####", "FR": "01 NN ## ## ##|06.N#.##.##.##|+33 6 N# ## ## ##",
    "BE": "0470 ## ## ##|02 NN# ## ##|+32 2 NN# ## ##", "NL": "06-N#######|020-NN#####|+31 6 N#######",
    "DE": "030 N#######|0171/N######|+49 (0)30 N######|+49 171 N######|089-N#####",
    "AT": "01 N## ## ##|+43 1 N######|0664 N######", "CH": "044 NN# ## ##|+41 44 NN# ## ##|079 NN# ## ##",
    "ES": "91 N## ## ##|6## ## ## ##|+34 6## ### ###", "PT": "21 N## ####|91# ### ###|+351 91# ### ###",
    "IT": "06 N### ####|347 N######|+39 06 N### ####", "PL": "22 N## ## ##|50# ### ###|+48 50# ### ###",
    "CZ": "60# ### ###|+420 60# ### ###", "SK": "090# ### ###|+421 90# ### ###",
    "HU": "06 1 N## ####|+36 20 N## ####", "SE": "08-N## ### ##|070-N## ## ##|+46 8 N## ### ##",
    "NO": "9## ## ###|22 ## ## ##|+47 22 ## ## ##", "DK": "20 ## ## ##|+45 20 ## ## ##",
    "FI": "040 N## ####|+358 40 N## ####", "IS": "55#-####|+354 55# ####", "GL": "32 ## ##|+299 32 ## ##",
    "EE": "+372 5### ####", "LV": "+371 2# ### ###", "LT": "8 6## #####|+370 6## #####",
    "GR": "210 N### ###|+30 210 N######", "TR": "0532 N## ## ##|+90 532 N## ## ##",
    "RO": "0721 ### ###|+40 721 ### ###", "BG": "+359 88 N## ####", "RS": "011 N### ###|+381 11 N### ###",
    "HR": "01 N### ###|091 N## ####|+385 91 N## ####", "SI": "01 N## ## ##|041 N## ###|+386 41 N## ###",
    "UA": "+380 44 N## ## ##|044 N## ## ##", "RU": "8 (495) N##-##-##|+7 495 N##-##-##",
    "IL": "03-N######|054-N######|+972 54 N## ####", "AE": "04 N## ####|+971 50 N## ####",
    "SA": "05# ### ####|+966 5# ### ####", "EG": "02 N### ####|+20 10 N### ####",
    "MA": "06 ## ## ## ##|+212 6 ## ## ## ##", "ZA": "011 N## ####|082 N## ####|+27 82 N## ####",
    "NG": "0803 N## ####|+234 803 N## ####", "KE": "0722 N#####|+254 722 N#####",
    "GH": "024 N## ####|+233 24 N## ####", "IN": "+91 98### #####|98### #####|022 N### ####",
    "PK": "0300 N######|+92 300 N######", "BD": "+880 17## ######", "LK": "+94 77 N## ####",
    "CN": "138 #### ####|010-N#######|+86 138 #### ####", "HK": "9### ####|2### ####|+852 9### ####",
    "TW": "02 N### ####|0912 ### ###|+886 2 N### ####", "JP": "03-N###-####|090-N###-####|+81 3 N### ####",
    "KR": "02-N##-####|010-N###-####|+82 10 N### ####", "SG": "9### ####|+65 9### ####",
    "MY": "012-N## ####|+60 12 N## ####", "TH": "081 N## ####|+66 81 N## ####",
    "VN": "090 N## ## ##|+84 90 N## ## ##", "PH": "0917 N## ####|+63 917 N## ####",
    "ID": "0812-N###-####|+62 812 N### ####", "AU": "(02) N### ####|0412 ### ###|+61 412 ### ###|1300 ### ###",
    "NZ": "09 N## ####|021 N## ####|+64 21 N## ####",
}  # fmt: skip
"""Country -> ways to write a number there, parted by `|`; from general knowledge of numbering plans."""


def _table(cases: Sequence[Case], misses: str | None) -> list[dict[str, Any]]:
    from aftertune.pii.detect import find

    rows = []
    for case in cases:
        rng = random.Random(f"{SEED}|{case.type}|{case.kind}")
        hits = 0
        for index in range(N):
            value = case.value(rng)
            frame = case.frames[index % len(case.frames)]
            text, start = frame.format(value), frame.index("{")
            findings = find(text)
            hit = any(f.type == case.type and f.start < start + len(value) and start < f.end for f in findings)
            hits += hit
            if misses == case.type and hit != case.real:
                print(f"{'-' if case.real else '+'} {text!r} {[(f.type, f.score, f.why) for f in findings]}")
        low, high = wilson(hits, N)
        interval = [round(low, 3), round(high, 3)]
        row = {"type": case.type, "kind": case.kind, "real": case.real, "hits": hits, "n": N}
        rows.append({**row, "rate": hits / N, "interval": interval})
    return rows


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--misses", metavar="TYPE", help="print what is missed (-) and wrongly found (+)")
    arguments = parser.parse_args()
    ways = [way for text in COUNTRIES.values() for way in text.split("|")]
    say = ("{} is where I am.", "Thanks, {}", "Ana, {}, from noon")
    phones = (
        Case("PHONE", f"{len(ways)} ways of {len(COUNTRIES)} countries, after a word", one_of(*ways), _PHONES, True),
        Case("PHONE", f"{len(ways)} ways of {len(COUNTRIES)} countries, no word", one_of(*ways), say, True),
    )
    rows = _table((*CASES, *phones), arguments.misses)
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return 0
    grouped = defaultdict(list)
    for row in rows:
        grouped[row["type"]].append(row)
    for type_, own in grouped.items():
        for row in own:
            what = "recall" if row["real"] else "false alarms"
            print(f"{type_:14} {row['kind']:48} {what:12} {row['rate']:.3f} {row['interval']} of {row['n']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
