"""Check digits of national identity numbers. Each function takes the number without separators, upper case."""

from __future__ import annotations

from collections.abc import Sequence

from aftertune.pii.recogniser import luhn


def _weighted(value: str, weights: Sequence[int]) -> int:
    return sum(int(char) * weight for char, weight in zip(value, weights, strict=False))


def day(dd: str, mm: str) -> bool:
    """Return whether these are a day and a month."""
    return 1 <= int(dd) <= 31 and 1 <= int(mm) <= 12


def ssn(v: str) -> bool:
    """United States: no area 000, 666 or 9xx, no group 00, no serial 0000 (SSA, since 2011)."""
    return v[:3] not in ("000", "666") and v[0] != "9" and v[3:5] != "00" and v[5:] != "0000" and v != "123456789"


def itin(v: str) -> bool:
    """United States taxpayer number: 9xx, with the group in the ranges that the IRS gives out."""
    return v[0] == "9" and (50 <= int(v[3:5]) <= 65 or 70 <= int(v[3:5]) <= 88 or 90 <= int(v[3:5]) <= 99)


def nhs(v: str) -> bool:
    """United Kingdom health number: weights 10 to 2 modulo 11."""
    check = 11 - _weighted(v, range(10, 1, -1)) % 11
    return (0 if check == 11 else check) == int(v[9])


def dni(v: str) -> bool:
    """Spain, DNI and NIE: the letter is the number modulo 23."""
    number = v[:-1].translate(str.maketrans("XYZ", "012"))
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == v[-1]


_ODD = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16,
         10, 22, 25, 24, 23),
        strict=True,
    )
)  # fmt: skip


def codice_fiscale(v: str) -> bool:
    """Italy: the last letter is a weighted sum modulo 26 (decree of 23 December 1976)."""
    total = sum(_ODD[c] if i % 2 == 0 else (int(c) if c.isdigit() else ord(c) - 65) for i, c in enumerate(v[:15]))
    return chr(65 + total % 26) == v[15]


def nir(v: str) -> bool:
    """France: 97 minus the number modulo 97; Corsica's 2A and 2B count as 19 and 18."""
    number = v[:13].replace("2A", "19").replace("2B", "18")
    return number.isdigit() and 97 - int(number) % 97 == int(v[13:])


def steuer_id(v: str) -> bool:
    """Germany: ISO 7064 modulo 11, 10."""
    product = 10
    for char in v[:10]:
        total = (int(char) + product) % 10 or 10
        product = total * 2 % 11
    return v[0] != "0" and (11 - product) % 10 == int(v[10])


def bsn(v: str) -> bool:
    """Netherlands: weights 9 to 2 and -1, modulo 11."""
    return (_weighted(v, range(9, 1, -1)) - int(v[8])) % 11 == 0 and len(set(v)) > 1


def pesel(v: str) -> bool:
    """Poland: weights 1 3 7 9, and a month that carries the century."""
    month = int(v[2:4]) % 20
    check = (10 - _weighted(v, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)) % 10) % 10
    return 1 <= month <= 12 and 1 <= int(v[4:6]) <= 31 and check == int(v[10])


def personnummer(v: str) -> bool:
    """Sweden: Luhn over the last ten digits; 60 more for a coordination number's day."""
    v = v[-10:]
    return luhn(v) and 1 <= int(v[2:4]) <= 12 and 1 <= int(v[4:6]) % 60 <= 31


def hetu(v: str) -> bool:
    """Finland: the number modulo 31 picks the last character."""
    return day(v[:2], v[2:4]) and "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(v[:6] + v[7:10]) % 31] == v[10]


def fodselsnummer(v: str) -> bool:
    """Norway: two check digits modulo 11; 40 more for a D-number's day."""
    one = 11 - _weighted(v, (3, 7, 6, 1, 8, 9, 4, 5, 2)) % 11
    two = 11 - _weighted(v, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return one % 11 == int(v[9]) and two % 11 == int(v[10]) and day(f"{int(v[:2]) % 40:02}", v[2:4])


def cpr(v: str) -> bool:
    """Denmark: a date and four digits; the check digit is no longer given, so only the date counts."""
    return day(v[:2], v[2:4])


def rijksregister(v: str) -> bool:
    """Belgium: 97 minus the number modulo 97, with a 2 before it for births since 2000."""
    return int(v[2:4]) <= 12 and any(97 - int(first + v[:9]) % 97 == int(v[9:]) for first in ("", "2"))


def cpf(v: str) -> bool:
    """Brazil: two check digits modulo 11."""
    one = _weighted(v, range(10, 1, -1)) * 10 % 11 % 10
    two = _weighted(v, range(11, 1, -1)) * 10 % 11 % 10
    return len(set(v)) > 1 and one == int(v[9]) and two == int(v[10])


def rut(v: str) -> bool:
    """Chile: weights 2 to 7 from the right, modulo 11, K for 10."""
    total = sum(int(char) * (2 + place % 6) for place, char in enumerate(reversed(v[:-1])))
    return "0123456789K0"[11 - total % 11] == v[-1] if total % 11 else v[-1] == "0"


_D = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678", "5987604321", "6598710432", "7659821043",
    "8765932104", "9876543210",
)  # fmt: skip
_P = (
    "0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258",
)  # fmt: skip


def aadhaar(v: str) -> bool:
    """India: Verhoeff's dihedral check digit; never begins with 0 or 1."""
    check = 0
    for place, char in enumerate(reversed(v)):
        check = int(_D[check][int(_P[place % 8][int(char)])])
    return check == 0 and v[0] not in "01"


def resident(v: str) -> bool:
    """China: ISO 7064 modulo 11, 2, and a date of birth."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return day(v[12:14], v[10:12]) and "10X98765432"[_weighted(v, weights) % 11] == v[17]


def rrn(v: str) -> bool:
    """South Korea: a date and a century digit; the check digit is no longer given since 2020."""
    return day(v[4:6], v[2:4]) and v[6] in "12345678"


def nric(v: str) -> bool:
    """Singapore: weights 2 7 6 5 4 3 2 modulo 11, letters by series."""
    total = _weighted(v[1:8], (2, 7, 6, 5, 4, 3, 2)) + (4 if v[0] in "TG" else 3 if v[0] == "M" else 0)
    table = {"S": "JZIHGFEDCBA", "T": "JZIHGFEDCBA", "F": "XWUTRQPNMLK", "G": "XWUTRQPNMLK", "M": "XWUTRQPNJLK"}
    return table[v[0]][total % 11] == v[8]


def tfn(v: str) -> bool:
    """Australia, tax file number: weights 1 4 3 7 5 8 6 9 10 modulo 11."""
    return _weighted(v, (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0 and len(set(v)) > 1


def medicare(v: str) -> bool:
    """Australia, Medicare card: weights 1 3 7 9 1 3 7 9 modulo 10 over the first eight digits."""
    return v[0] in "23456" and _weighted(v[:8], (1, 3, 7, 9, 1, 3, 7, 9)) % 10 == int(v[8])


def south_africa(v: str) -> bool:
    """South Africa: a date, and Luhn."""
    return day(v[4:6], v[2:4]) and luhn(v)


def tckn(v: str) -> bool:
    """Turkey: two check digits modulo 10."""
    odd, even = sum(map(int, v[0:9:2])), sum(map(int, v[1:8:2]))
    return v[0] != "0" and (odd * 7 - even) % 10 == int(v[9]) and sum(map(int, v[:10])) % 10 == int(v[10])


def nif(v: str) -> bool:
    """Portugal: weights 9 to 2 modulo 11."""
    rest = _weighted(v, range(9, 1, -1)) % 11
    return (0 if rest < 2 else 11 - rest) == int(v[8])


def my_number(v: str) -> bool:
    """Japan: weights 6 5 4 3 2 7 6 5 4 3 2 modulo 11."""
    rest = _weighted(v, (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return (0 if rest <= 1 else 11 - rest) == int(v[11])


def ahv(v: str) -> bool:
    """Switzerland: 756 and the EAN-13 check digit."""
    return v[:3] == "756" and (10 - _weighted(v, (1, 3) * 6) % 10) % 10 == int(v[12])


def born(v: str) -> bool:
    """A number that begins with a date, year first."""
    return day(v[4:6], v[2:4])


def card(v: str) -> bool:
    """Luhn, with digits that differ."""
    return luhn(v) and len(set(v)) > 1
