"""Telephone numbers in the formats people write them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aftertune.pii.recogniser import Candidate, Recogniser, View, explain, only_digits

LEAST, MOST = 6, 15
"""Digits of a phone number: E.164 allows 15; the six-digit numbers of the smallest countries need three groups."""

_NUMBER = re.compile(
    r"(?<![\w@#$€£+=])(?<!\d[.,:/-])(?:(?:\+|00|011[ .-]?)?\(?\+?\d)(?:[ .\-/()]{0,3}\d){4,17}"
    r"(?:[ ,;]{0,2}(?:x|ext\.?|extension|#)[ .:]{0,2}\d{1,6})?(?![\w%€£$]|[.,:/-]\d)",
    re.I,
)
_EXTENSION = re.compile(r"[ ,;]{0,2}(?:x|ext\.?|extension|#)[ .:]{0,2}\d{1,6}$", re.I)
_CUE = re.compile(
    r"\b(?:tele)?phone\b|\bphones?\b|\btel\b|\bmobile\b|\bmob\b|\bcell(?:phone|ular)?\b|\bcall(?:ed|ing|s)?\b|"
    r"\bfax\b|\bwhatsapp\b|\btext(?:ed)? (?:me|us|him|her|them)\b|\bsms\b|\bdial(?:led|ing)?\b|\breach(?:ed)?\b|"
    r"\bring\b|\bcontact(?:ed)?\b|\bhotline\b|\bhelpline\b|\blandline\b|\bnumber(?:'s| is)\b|\bmy number\b|"
    r"\b(?:his|her|their|our|your) number\b|\banswering\b|\bhandy\b|\btelefon\w*|\bt[eé]l[eé]fono\b|\btelephone\b|"
    r"\boffice\b|\bvoicemail\b|\bhang up\b|\bringing\b|"
    r"\bhandynummer\b|\bmobilnummer\b|\brufnummer\b|\br[üu]ckruf\b|\banrufen\b|\brufen sie\b|\berreichen\b|"
    r"\bjoindre\b|\bappel(?:ez|er)\b|\bll[áa]m(?:ar|arme|en|enme|ame)\b|\bm[óo]vil\b|\bchiam(?:are|armi|ate|atemi|ami)\b|"
    r"\bcellulare\b|\bbellen\b|\bbel me\b|\bmobiel\b|\blig(?:ar|ar-me|uem|ue)\b|\btelem[óo]vel\b|\btelefone\b|"
    r"\bcelular\b|\bwhats\b"
)
_OTHER = re.compile(
    r"\b(?:order|tracking|invoice|ticket|booking|reservation|reference|ref|serial|imei|isbn|issn|ean|account|acct|"
    r"sku|part|version|model|card|ssn|passport|licen[cs]e|zip|postcode|case|confirmation|policy|vat|tax|"
    r"population|total|price|id|pin|code|routing|iban|bic|sort|pages?|pp|commit|hash|sha|uuid|guid|"
    r"chapters?)\b|〒"
)
_DATE = re.compile(
    r"(?:19|20)\d\d[-./ ](?:0?[1-9]|1[0-2])[-./ ](?:0?[1-9]|[12]\d|3[01])(?:[ T]\d{1,2}(?:[:.]?\d\d){0,2})?|"
    r"(?:0?[1-9]|[12]\d|3[01])[-./ ](?:0?[1-9]|[12]\d|3[01])[-./ ](?:19|20)\d\d(?:[ T]\d{1,2}(?:[:.]?\d\d){0,2})?|"
    r"(?:19|20)\d\d ?[-–/] ?(?:19|20)\d\d|(?:1[5-9]|20)\d\d(?: (?:1[5-9]|20)\d\d)+"
)
_THOUSANDS = re.compile(r"\d{1,3}(?:[ .]\d{3})+")
_DOTTED = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_RANGE = re.compile(r"[1-9]\d{2}-[1-9]\d{3}")
_SIX = re.compile(r"[2-9]\d[ .]\d\d[ .]\d\d")
_SSN = re.compile(r"\d{3}-\d{2}-\d{4}")
_SHAPES = (
    ("international, +", 0.95, re.compile(r"\(?\+")),
    ("international, 00", 0.85, re.compile(r"(?:00|011)[ .\-]?[1-9]")),
    ("North America", 0.9, re.compile(r"(?:1[ .\-/])?(?:\(\d{3}\) ?|\d{3}[ .\-/])\d{3}[ .\-]\d{4}$")),
    ("area code in brackets", 0.85, re.compile(r"(?:\d{1,3}[ .-])?\(0?\d{1,5}\)")),
    ("trunk 0, in groups", 0.7, re.compile(r"0\d{1,5}(?:[ .\-/]\d{2,8}){1,5}$")),
    ("trunk 0", 0.55, re.compile(r"0[1-9]\d{7,10}$")),
    ("seven digits", 0.6, re.compile(r"\d{3}-\d{4}$")),
    ("groups with hyphens or dots", 0.55, re.compile(r"\d{2,5}(?:-\d{2,5}){2,5}$|\d{2,4}(?:\.\d{2,4}){2,5}$")),
    ("trunk 0, a group of one", 0.55, re.compile(r"0\d \d \d{3} \d{4}$")),
    ("six digits", 0.3, re.compile(r"\d\d[ .]\d\d[ .]\d\d$")),
    ("groups with blanks", 0.5, re.compile(r"\d{2,5}(?: \d{2,5}){2,5}$")),
    ("two groups", 0.4, re.compile(r"\d{2,5}[ .\-/]\d{3,8}$")),
    ("ten digits", 0.42, re.compile(r"[2-9]\d{2}[2-9]\d{6}$")),
    ("digits", 0.3, re.compile(r"")),
)


def scan(view: View) -> Iterator[Candidate]:
    """Yield phone numbers; the score is the shape's, raised by a word like `call`, lowered by one like `order`."""
    if not view.has_digit:
        return
    text = view.text
    for match in _NUMBER.finditer(text):
        value = match.group()
        extension = _EXTENSION.search(value)
        core = value[: extension.start()] if extension else value
        digits = only_digits(core)
        if not LEAST <= len(digits) <= MOST + (2 if core.startswith(("00", "+")) else 0):
            continue
        if len(digits) == LEAST and not _SIX.fullmatch(core):
            continue
        if core.count("(") != core.count(")") and not core.startswith("("):
            continue
        if len(set(digits)) == 1 or _DATE.fullmatch(core) or _SSN.fullmatch(core):
            continue
        start = match.start()
        if core.startswith("(") and ")" not in core:
            core, start = core[1:], start + 1
        name, score = next((name, score) for name, score, shape in _SHAPES if shape.match(core))
        if _DOTTED.fullmatch(core) and all(int(part) < 256 for part in core.split(".")):
            score = 0.2
        elif _THOUSANDS.fullmatch(core) and not core.startswith("0"):
            score = min(score, 0.35)
        elif _RANGE.fullmatch(core) and _from_to(*map(int, core.split("-"))):
            score = 0.3
        cue, other = _context(view, start, match.end())
        if extension:
            score = max(score, 0.75)
        if cue:
            score = min(1.0, max(score + 0.25, 0.65))
        elif other:
            score -= 0.3
        why = explain(name, cue or other, before="context" if cue else "but context")
        yield Candidate(start, match.end(), "PHONE", round(max(score, 0.05), 2), why)


def _from_to(low: int, high: int) -> bool:
    """Return whether two numbers are the ends of a range: pages, prices, sizes in round steps."""
    return low % 10 == high % 10 == 0 and (high % 100 == 0 or low % 50 == high % 50 == 0)


def _context(view: View, start: int, end: int) -> tuple[str | None, str | None]:
    """Return the word that speaks for a phone number and the one that speaks against it; the nearer one wins."""
    left = max(0, start - 48)
    cue = other = None
    cue_at = other_at = -1
    for match in _CUE.finditer(view.lower, left, start):
        cue, cue_at = match.group(), match.start()
    for match in _OTHER.finditer(view.lower, left, start):
        other, other_at = match.group(), match.start()
    if cue and cue_at >= other_at:
        return " ".join(cue.split()), None
    if other:
        return None, other
    after = _CUE.search(view.lower, end, end + 16)
    return (after.group(), None) if after else (None, None)


RECOGNISER = Recogniser("phone", frozenset({"PHONE"}), scan)
