"""National identity, social security and tax numbers: format, check digits where the country has them, and context.

python-stdnum checks whether a number can be somebody's (check digits, dates, ranges), but for the few functions below.
Some countries' dates of birth must not lie in the future, so for these the answer depends on today's date.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import NamedTuple

from stdnum import luhn
from stdnum.au import tfn
from stdnum.be import nn
from stdnum.br import cpf
from stdnum.ca import sin
from stdnum.ch import ssn as ahv
from stdnum.cl import rut
from stdnum.de import idnr
from stdnum.dk import cpr
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.il import idnr as teudat_zehut
from stdnum.in_ import aadhaar, pan
from stdnum.iso7064 import mod_11_2
from stdnum.it import codicefiscale
from stdnum.jp import in_ as my_number
from stdnum.mx import curp
from stdnum.nl import bsn
from stdnum.no import fodselsnummer
from stdnum.pl import pesel
from stdnum.pt import nif
from stdnum.se import personnummer
from stdnum.tr import tckimlik
from stdnum.us import ssn
from stdnum.za import idnr as south_africa

from aftertune.pii.recogniser import Candidate, Recogniser, View, explain


def _day(dd: str, mm: str) -> bool:
    return 1 <= int(dd) <= 31 and 1 <= int(mm) <= 12


def _ssn(v: str) -> bool:
    """United States; 123-45-6789 is the example in many forms."""
    return v != "123456789" and ssn.is_valid(v)


def _itin(v: str) -> bool:
    """United States taxpayer number: 9xx, with the group in the ranges that the IRS gives out (stdnum lacks 50-65)."""
    group = int(v[3:5])
    return v[0] == "9" and (50 <= group <= 65 or 70 <= group <= 88 or (group >= 90 and group != 93))


def _dni(v: str) -> bool:
    return nie.is_valid(v) if v[0] in "XYZ" else dni.is_valid(v)


def _personnummer(v: str) -> bool:
    """Sweden; a coordination number, which stdnum does not know, has 60 more for the day."""
    ten = "".join(char for char in v if char not in "-+")[-10:]
    coordination = int(ten[4:6]) > 60 and _day(f"{int(ten[4:6]) - 60}", ten[2:4]) and luhn.is_valid(ten)
    return coordination or personnummer.is_valid(v)


def _hetu(v: str) -> bool:
    return hetu.is_valid(v, allow_temporary=True)


def _tfn(v: str) -> bool:
    return len(set(v)) > 1 and tfn.is_valid(v)


def _cpf(v: str) -> bool:
    """Brazil: one digit eleven times has the right check digits and is given to nobody."""
    return len(set(v)) > 1 and cpf.is_valid(v)


def _resident(v: str) -> bool:
    """China: ISO 7064 modulo 11, 2, and a date of birth (stdnum's own check raises KeyError for some places)."""
    return _day(v[12:14], v[10:12]) and mod_11_2.is_valid(v)


def _rrn(v: str) -> bool:
    """South Korea: a date and a century digit; there is no check digit since October 2020, which stdnum wants."""
    return _day(v[4:6], v[2:4]) and v[6] in "12345678"


def _nric(v: str) -> bool:
    """Singapore: weights 2 7 6 5 4 3 2 modulo 11, letters by series."""
    total = sum(int(char) * weight for char, weight in zip(v[1:8], (2, 7, 6, 5, 4, 3, 2), strict=True))
    total += 4 if v[0] in "TG" else 3 if v[0] == "M" else 0
    table = {"S": "JZIHGFEDCBA", "T": "JZIHGFEDCBA", "F": "XWUTRQPNMLK", "G": "XWUTRQPNMLK", "M": "XWUTRQPNJLK"}
    return table[v[0]][total % 11] == v[8]


def _medicare(v: str) -> bool:
    """Australia, Medicare card: weights 1 3 7 9 1 3 7 9 modulo 10 over the first eight digits."""
    total = sum(int(char) * weight for char, weight in zip(v[:8], (1, 3, 7, 9, 1, 3, 7, 9), strict=True))
    return v[0] in "23456" and total % 10 == int(v[8])


class _Number(NamedTuple):
    """One country's number, with its scores alone and near a word of its own (0 is never)."""

    name: str
    pattern: re.Pattern[str]
    valid: Callable[[str], bool] | None
    alone: float
    cued: float
    cue: re.Pattern[str]
    name_cue: re.Pattern[str]
    """The words that name this number and no other."""


SLIP = 0.4
"""Score, below the default threshold, of a number after its own name with wrong check digits: perhaps a slip."""

_ANY = (
    r"\bnational id\w*|\bidentity (?:card|number|no)\b|\bid (?:card|number|no)\b|\bpersonal (?:id|number|code)\b|"
    r"\bsocial (?:security|insurance)\b|\btax (?:id|number|file|payer)\w*|\bid\b[ :#]|"
)
_EDGE, _STOP = r"(?<![\w.+/-])(?<!\d )", r"(?![\w]|[-./]\d)"


def _number(
    name: str, pattern: str, valid: Callable[[str], bool] | None, alone: float, cued: float, cue: str
) -> _Number:
    whole = re.compile(rf"{_EDGE}(?:{pattern}){_STOP}", re.I)
    return _Number(name, whole, valid, alone, cued, re.compile(_ANY + cue), re.compile(cue))


_START = re.compile(_EDGE + r"(?=\d|[A-Z]{1,6}[\s-]?\d)(?=[^\W_](?:[\s.+/-]?[^\W_]){7})", re.I)
"""Where a number can begin: a digit, or a few letters before one, with eight letters or digits at least."""
_NUMBERS = (
    _number("US social security number", r"\d{3}( ?- ?|[ .])\d{2}\1\d{4}", _ssn, 0.75, 1.0,
            r"\bssn\b|\bsocials?\b|\bss ?#"),
    _number("US social security number, no separators", r"\d{9}", _ssn, 0.05, 0.9,
            r"\bssn\b|\bsocials?\b|\bss ?#"),
    _number("US taxpayer number", r"9\d{2}([- ])\d{2}\1\d{4}", _itin, 0.6, 1.0, r"\bitin\b|\btax\b"),
    _number("UK national insurance number",
            r"(?!BG|GB|KN|NK|NT|TN|ZZ)(?:QQ|[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z])(?:\s?\d{2}){3}\s?[A-D]", None, 0.8,
            1.0, r"\bnino\b|\bni\b|\binsurance\b"),
    _number("UK NHS number", r"\d{3}[ -]\d{3}[ -]\d{4}|\d{10}", nhs.is_valid, 0.1, 1.0, r"\bnhs\b|\bhealth\b"),
    _number("Canadian social insurance number", r"[1-79]\d{2}([- ])\d{3}\1\d{3}", sin.is_valid, 0.5, 1.0, r"\bsin\b"),
    _number("Canadian social insurance number, no separators", r"[1-79]\d{8}", sin.is_valid, 0.05, 0.9, r"\bsin\b"),
    _number("Spanish DNI or NIE", r"(?:\d{8}|[XYZ]-?\d{7})[ -]?[A-HJ-NP-TV-Z]", _dni, 0.8, 1.0,
            r"\bdni\b|\bnie\b|\bnif\b"),
    _number("Italian codice fiscale", r"[A-Z]{6}\d{2}[A-EHLMPR-T]\d{2}[A-Z]\d{3}[A-Z]", codicefiscale.is_valid, 0.95,
            1.0, r"\bcodice\b|\bfiscale\b"),
    _number("French social security number", r"[12] ?\d{2} ?\d{2} ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}", nir.is_valid,
            0.75, 1.0, r"\bs[ée]cu\b|\bs[ée]curit[ée] sociale\b|\bnir\b|\binsee\b"),
    _number("German tax number", r"\d{2} ?\d{3} ?\d{3} ?\d{3}", idnr.is_valid, 0.1, 1.0, r"\bsteuer\w*|\btin\b"),
    _number("Dutch BSN", r"\d{9}|\d{4}\.\d{2}\.\d{3}", bsn.is_valid, 0.05, 0.95,
            r"\bbsn\b|\bburgerservice\w*|\bsofi\b"),
    _number("Polish PESEL", r"\d{11}", pesel.is_valid, 0.3, 1.0, r"\bpesel\b"),
    _number("Swedish personnummer", r"(?:19|20)?\d{6}[-+]\d{4}", _personnummer, 0.7, 1.0, r"\bpersonnummer\b"),
    _number("Finnish identity code", r"\d{6}[-+A]\d{3}[0-9A-FHJ-NPR-Y]", _hetu, 0.85, 1.0,
            r"\bhetu\b|\bhenkil\w+tunnus\b"),
    _number("Norwegian identity number", r"\d{6} ?\d{5}", fodselsnummer.is_valid, 0.5, 1.0,
            r"\bf[øo]dselsnummer\b|\bpersonnummer\b"),
    _number("Danish CPR number", r"\d{6}-\d{4}", cpr.is_valid, 0.55, 1.0, r"\bcpr\b"),
    _number("Belgian national number", r"\d{2}\.?\d{2}\.?\d{2}-?\d{3}\.?\d{2}", nn.is_valid, 0.5, 1.0,
            r"\brijksregister\w*|\bregistre national\b|\bniss\b|\binsz\b"),
    _number("Portuguese NIF", r"[123568]\d{2} ?\d{3} ?\d{3}", nif.is_valid, 0.05, 0.95, r"\bnif\b|\bcontribuinte\b"),
    _number("Brazilian CPF", r"\d{3}\.?\d{3}\.?\d{3}-?\d{2}", _cpf, 0.55, 1.0, r"\bcpf\b"),
    _number("Chilean RUT", r"\d{1,2}\.?\d{3}\.?\d{3}-[\dK]", rut.is_valid, 0.7, 1.0, r"\brut\b|\brun\b"),
    _number("Indian Aadhaar", r"[2-9]\d{3}[ -]?\d{4}[ -]?\d{4}", aadhaar.is_valid, 0.45, 1.0, r"\baadhaa?r\b|\buid\b"),
    _number("Indian PAN", r"[A-Z]{3}[ABCFGHLJPT][A-Z]\d{4}[A-Z]", pan.is_valid, 0.7, 1.0, r"\bpan\b"),
    _number("Chinese identity number", r"[1-9]\d{5}(?:18|19|20)\d{9}[\dX]", _resident, 0.9, 1.0,
            r"\bresident\b|身份证"),
    _number("Korean registration number", r"\d{6}-\d{7}", _rrn, 0.75, 1.0, r"\brrn\b|주민"),
    _number("Singaporean NRIC", r"[STFGM]\d{7}[A-Z]", _nric, 0.9, 1.0, r"\bnric\b|\bfin\b"),
    _number("Australian tax file number", r"\d{3} ?\d{3} ?\d{3}", _tfn, 0.1, 0.95, r"\btfn\b"),
    _number("Australian Medicare number", r"\d{4} ?\d{5} ?\d(?:[ /-]?\d)?", _medicare, 0.1, 0.95,
            r"\bmedicare\b"),
    _number("South African identity number", r"\d{6} ?\d{4} ?[01]\d{2}", south_africa.is_valid, 0.45, 1.0, r"\brsa\b"),
    _number("Turkish identity number", r"\d{11}", tckimlik.is_valid, 0.35, 1.0, r"\btckn\b|\bkimlik\b|\bt\.?c\.?\b"),
    _number("Israeli identity number", r"\d{9}", teudat_zehut.is_valid, 0.05, 0.7, r"\bteudat zehut\b"),
    _number("Mexican CURP", r"[A-Z]{4}\d{6}[HM][A-Z]{5}[0-9A-Z]\d", curp.is_valid, 0.9, 1.0, r"\bcurp\b"),
    _number("Japanese My Number", r"\d{4}[ -]?\d{4}[ -]?\d{4}", my_number.is_valid, 0.1, 0.95, r"\bmy number\b"),
    _number("Swiss AHV number", r"756\.?\d{4}\.?\d{4}\.?\d{2}", ahv.is_valid, 0.85, 1.0, r"\bahv\b|\bavs\b"),
    _number("Romanian or other number that begins with a date", r"[1-8]\d{12}", None, 0.05, 0.6, r"\bcnp\b"),
)  # fmt: skip


def scan(view: View) -> Iterator[Candidate]:
    """Yield identity numbers; those with wrong check digits only after their own name, and with a low score."""
    if not view.has_digit:
        return
    starts = [match.start() for match in _START.finditer(view.text)]
    for number in _NUMBERS if starts else ():
        end = 0
        for start in starts:
            match = number.pattern.match(view.text, start) if start >= end else None
            if match is None:
                continue
            end = match.end()
            if number.valid is not None and not number.valid(_compact(match.group().upper(), number.valid)):
                if name := view.near(number.name_cue, match.start(), match.end(), 56):
                    why = explain(f"{number.name}, wrong check digits", name)
                    yield Candidate(*match.span(), "NATIONAL_ID", SLIP, why)
                continue
            cue = view.near(number.cue, match.start(), match.end(), 56)
            score = number.cued if cue else number.alone
            yield Candidate(*match.span(), "NATIONAL_ID", score, explain(number.name, cue))


def _compact(text: str, valid: Callable[[str], bool]) -> str:
    """Return a number without its separators, digits of other scripts as ASCII."""
    if valid not in (_hetu, _personnummer):  # in these the separator says the century
        text = "".join(char for char in text if char.isalnum())
    if text.isascii():
        return text
    return "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in text)


RECOGNISER = Recogniser("national_id", frozenset({"NATIONAL_ID"}), scan)
