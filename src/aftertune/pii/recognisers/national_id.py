"""National identity, social security and tax numbers: format, check digits where the country has them, and context."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from aftertune.pii.recognisers import _checks as checks
from aftertune.pii.recogniser import Candidate, Recogniser, View, explain


class _Number(NamedTuple):
    """One country's number: how sure it is without and with a word of its own near it (0 is never)."""

    name: str
    pattern: re.Pattern[str]
    valid: Callable[[str], bool] | None
    alone: float
    cued: float
    cue: re.Pattern[str]
    own: re.Pattern[str]
    """The words that name this number and no other."""


SLIP = 0.4
"""Score of a number that its own word names and whose check digits are wrong: perhaps a slip of somebody's number. It
lies below the default threshold."""

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
"""Where one of the numbers below can begin: a digit or a few letters before one, eight letters or digits at least."""
_NUMBERS = (
    _number("US social security number", r"\d{3}([- .])\d{2}\1\d{4}", checks.ssn, 0.75, 1.0,
            r"\bssn\b|\bsocials?\b|\bss ?#"),
    _number("US social security number, no separators", r"\d{9}", checks.ssn, 0.05, 0.9,
            r"\bssn\b|\bsocials?\b|\bss ?#"),
    _number("US taxpayer number", r"9\d{2}([- ])\d{2}\1\d{4}", checks.itin, 0.6, 1.0, r"\bitin\b|\btax\b"),
    _number("UK national insurance number",
            r"(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z](?:\s?\d{2}){3}\s?[A-D]", None, 0.8, 1.0,
            r"\bnino\b|\bni\b|\binsurance\b"),
    _number("UK NHS number", r"\d{3}[ -]\d{3}[ -]\d{4}|\d{10}", checks.nhs, 0.1, 0.95, r"\bnhs\b|\bhealth\b"),
    _number("Canadian social insurance number", r"[1-79]\d{2}([- ])\d{3}\1\d{3}", checks.card, 0.5, 1.0, r"\bsin\b"),
    _number("Canadian social insurance number, no separators", r"[1-79]\d{8}", checks.card, 0.05, 0.9, r"\bsin\b"),
    _number("Spanish DNI or NIE", r"(?:\d{8}|[XYZ]-?\d{7})[ -]?[A-HJ-NP-TV-Z]", checks.dni, 0.8, 1.0,
            r"\bdni\b|\bnie\b|\bnif\b"),
    _number("Italian codice fiscale", r"[A-Z]{6}\d{2}[A-EHLMPR-T]\d{2}[A-Z]\d{3}[A-Z]", checks.codice_fiscale, 0.95,
            1.0, r"\bcodice\b|\bfiscale\b"),
    _number("French social security number", r"[12] ?\d{2} ?\d{2} ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}", checks.nir,
            0.75, 1.0, r"\bs[ée]cu\b|\bs[ée]curit[ée] sociale\b|\bnir\b|\binsee\b"),
    _number("German tax number", r"\d{2} ?\d{3} ?\d{3} ?\d{3}", checks.steuer_id, 0.1, 1.0, r"\bsteuer\w*|\btin\b"),
    _number("Dutch BSN", r"\d{9}|\d{4}\.\d{2}\.\d{3}", checks.bsn, 0.05, 0.95, r"\bbsn\b|\bburgerservice\w*|\bsofi\b"),
    _number("Polish PESEL", r"\d{11}", checks.pesel, 0.3, 1.0, r"\bpesel\b"),
    _number("Swedish personnummer", r"(?:19|20)?\d{6}[-+]\d{4}", checks.personnummer, 0.7, 1.0, r"\bpersonnummer\b"),
    _number("Finnish identity code", r"\d{6}[-+A]\d{3}[0-9A-FHJ-NPR-Y]", checks.hetu, 0.85, 1.0,
            r"\bhetu\b|\bhenkil\w+tunnus\b"),
    _number("Norwegian identity number", r"\d{6} ?\d{5}", checks.fodselsnummer, 0.5, 1.0,
            r"\bf[øo]dselsnummer\b|\bpersonnummer\b"),
    _number("Danish CPR number", r"\d{6}-\d{4}", checks.cpr, 0.55, 1.0, r"\bcpr\b"),
    _number("Belgian national number", r"\d{2}\.?\d{2}\.?\d{2}-?\d{3}\.?\d{2}", checks.rijksregister, 0.5, 1.0,
            r"\brijksregister\w*|\bregistre national\b|\bniss\b|\binsz\b"),
    _number("Portuguese NIF", r"[123568]\d{2} ?\d{3} ?\d{3}", checks.nif, 0.05, 0.95, r"\bnif\b|\bcontribuinte\b"),
    _number("Brazilian CPF", r"\d{3}\.?\d{3}\.?\d{3}-?\d{2}", checks.cpf, 0.55, 1.0, r"\bcpf\b"),
    _number("Chilean RUT", r"\d{1,2}\.?\d{3}\.?\d{3}-[\dK]", checks.rut, 0.7, 1.0, r"\brut\b|\brun\b"),
    _number("Indian Aadhaar", r"[2-9]\d{3}[ -]?\d{4}[ -]?\d{4}", checks.aadhaar, 0.45, 1.0, r"\baadhaa?r\b|\buid\b"),
    _number("Indian PAN", r"[A-Z]{3}[ABCFGHLJPT][A-Z]\d{4}[A-Z]", None, 0.7, 1.0, r"\bpan\b"),
    _number("Chinese identity number", r"[1-9]\d{5}(?:18|19|20)\d{9}[\dX]", checks.resident, 0.9, 1.0,
            r"\bresident\b|身份证"),
    _number("Korean registration number", r"\d{6}-\d{7}", checks.rrn, 0.75, 1.0, r"\brrn\b|주민"),
    _number("Singaporean NRIC", r"[STFGM]\d{7}[A-Z]", checks.nric, 0.9, 1.0, r"\bnric\b|\bfin\b"),
    _number("Australian tax file number", r"\d{3} ?\d{3} ?\d{3}", checks.tfn, 0.1, 0.95, r"\btfn\b"),
    _number("Australian Medicare number", r"\d{4} ?\d{5} ?\d(?:[ /-]?\d)?", checks.medicare, 0.1, 0.95,
            r"\bmedicare\b"),
    _number("South African identity number", r"\d{6} ?\d{4} ?[01]\d{2}", checks.south_africa, 0.45, 1.0, r"\brsa\b"),
    _number("Turkish identity number", r"\d{11}", checks.tckn, 0.35, 1.0, r"\btckn\b|\bkimlik\b|\bt\.?c\.?\b"),
    _number("Israeli identity number", r"\d{9}", checks.card, 0.05, 0.7, r"\bteudat zehut\b"),
    _number("Mexican CURP", r"[A-Z]{4}\d{6}[HM][A-Z]{5}[0-9A-Z]\d", None, 0.9, 1.0, r"\bcurp\b"),
    _number("Japanese My Number", r"\d{4}[ -]?\d{4}[ -]?\d{4}", checks.my_number, 0.1, 0.95, r"\bmy number\b"),
    _number("Swiss AHV number", r"756\.?\d{4}\.?\d{4}\.?\d{2}", checks.ahv, 0.85, 1.0, r"\bahv\b|\bavs\b"),
    _number("Romanian or other number that begins with a date", r"[1-8]\d{12}", None, 0.05, 0.6, r"\bcnp\b"),
)  # fmt: skip


def scan(view: View) -> Iterator[Candidate]:
    """Yield identity numbers; those with wrong check digits only after their own word, and with a low score."""
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
            value = "".join(char for char in match.group().upper() if char.isalnum())
            if number.valid is checks.hetu:
                value = match.group().upper()
            if number.valid is not None and not number.valid(value):
                if own := view.near(number.own, match.start(), match.end(), 56):
                    yield Candidate(*match.span(), "NATIONAL_ID", SLIP, explain(f"{number.name}, wrong check digits", own))
                continue
            cue = view.near(number.cue, match.start(), match.end(), 56)
            score = number.cued if cue else number.alone
            yield Candidate(*match.span(), "NATIONAL_ID", score, explain(number.name, cue))


RECOGNISER = Recogniser("national_id", frozenset({"NATIONAL_ID"}), scan)
