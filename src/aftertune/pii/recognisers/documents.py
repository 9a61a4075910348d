"""Passports, driver's licences and licence plates: a word that names the document, then a string of its shape."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aftertune.pii.recogniser import Candidate, Recogniser, View, explain
from aftertune.pii.word_lists import words

_FILLER = (
    r"(?:[\s:#.,(\"'=-]|\bn[°º]|\b(?:number|num[ée]ro|n[úu]mero|nummer|num|code|was|it's|its|the|his|her|their|our|with|and|here|follows|details|"
    r"card|plates?|reads|says|registration|reg|has|expires|issued|state|you|asked|for|a|are|[a-z]{2})\b){0,24}"
)
_NATION = (
    r"(?:[ ,]{1,2}|\b(?:french|german|british|uk|us|american|canadian|australian|italian|spanish|dutch|belgian|"
    r"swiss|austrian|polish|portuguese|swedish|norwegian|danish|finnish|irish|indian|chinese|japanese|russian|ukrainian|turkish|brazilian|"
    r"mexican|fran[çc]ais(?:e)?|deutsch\w{0,3}|espa[ñn]ol|italiano|france|germany|italy|spain)\b|\([^()\d]{2,20}\)){0,3}"
)
_PASSPORT_WORD = (
    r"\b(?:pass(?:port|eport|aporte|aporto|nummer|nr)(?:'?s)?|(?P<word>pass)|"
    r"(?:reisepass|pasaporte?|paspoort|paszport|travel document)\w{0,8})\b"
)
_PASSPORT = re.compile(
    rf"{_PASSPORT_WORD}{_NATION}{_FILLER}(?P<value>(?=[A-Z0-9 -]{{0,12}}\d)[A-Z]{{0,3}}[ -]?\d{{6,9}}[A-Z]?|"
    r"(?=(?:[A-Z]{0,8}\d){3})[A-Z0-9]{7,10}|\d{2}[ -]?[A-Z]{2}[ -]?\d{5}|"
    r"\d{3}[ -]\d{3}[ -]\d{3}|\d{2}-\d{7}|\d{2} (?:\d{2} )?(?:no\.? ?|№ ?)?\d{6,7})"
    r"(?!\w)",
    re.I,
)
"""After the word: letters and a number, letters and digits mixed (Germany, the Netherlands, Korea), two digits, two
letters and five digits (France), a series and a number (Russia)."""
_COMMON_PASSPORT = re.compile(r"[A-Z]{0,3}[ -]?\d{6,9}[A-Z]?", re.I)
_NUMBER_SIGN = re.compile(r" no\b\.?", re.I)
_MRZ = re.compile(r"\bP[<A-Z][A-Z]{3}[A-Z]{1,30}<[A-Z<]{5,40}(?:\s{1,2}[A-Z0-9<]{40,46})?")
_LICENCE_WORD = (
    r"\b(?:driv(?:er'?s?|ers'?|ing)[’']?s?\s{1,2}(?:licen[cs]e|permit|lic)|licen[cs]e\s(?:number|no|#)|dl\b(?:\s?#)?|"
    r"driver\s?id|f[üu]hrerschein|permis de conduire|patente di guida|permiso de conducir|rijbewijs)"
)
_LICENCE = re.compile(
    rf"{_LICENCE_WORD}{_FILLER}(?P<value>(?=[A-Z0-9 *-]{{0,20}}\d)(?:[A-Z]{{1,5}}[ -]?)?\d[A-Z0-9]{{3,16}}"
    r"(?:[ -](?=[A-Z]{0,7}\d)[A-Z0-9]{2,8}){0,4}|[A-Z]\d{2,3}(?:[ -]\d{2,5}){2,4}|"
    r"(?P<other>[A-Z]{1,6}\d[A-Z0-9*-]{3,18}))(?!\w)",
    re.I,
)
_LICENCE_HINT = re.compile(r"driv|licen|dl|f[üu]hrer|permis|patente|rijb")
_DVLA = re.compile(r"\b[A-Z]{1,5}9{0,4}\d[0156]\d[0-3]\d{2}[A-Z9]{2}\d[A-Z]{2}\b")
_STATE_LICENCE = re.compile(
    r"(?<![\w-])[A-Z](?:\d{3}([- ])\d{4}\1\d{4}|\d{3}([- ])\d{3}\2\d{2}\2\d{3}\2\d|\d{4}([- ])\d{5}\3\d{5})(?![\w-])"
)
_PLATE_WORD = (
    r"\b(?:licen[cs]e\s?plates?|number\s?plates?|registration\s?plates?|plates?|tag|car\s?reg|(?:car\s)?registration|vrm|"
    r"vehicle\s(?:registration|reg|plate)|reg(?:istration)?\s(?:number|no|plate)|kennzeichen|matr[íi]cula|targa|"
    r"immatriculation|kenteken)\b"
)
_PLATE = re.compile(
    rf"{_PLATE_WORD}{_FILLER}(?P<value>(?=[A-Z0-9 ·•-]{{0,9}}\d)(?=[A-Z0-9 ·•-]{{0,9}}[A-Z])"
    r"[A-Z0-9]{1,4}(?:[ ·•-]{1,3}[A-Z0-9]{1,5}){1,3}|"
    r"(?P<joined>(?=[A-Z0-9]{0,7}\d)(?=[A-Z0-9]{0,7}[A-Z])[A-Z0-9]{4,8}))"
    r"(?!\w)",
    re.I,
)
_UK_PLATE = re.compile(r"\b[A-HJ-PR-Y][A-HJ-PR-Y](?:0[1-9]|[1-7]\d) ?[A-HJ-PR-Z]{3}\b")
_LOWER = re.compile(r"[a-z]")


def scan(view: View) -> Iterator[Candidate]:
    """Yield document numbers: after the name of the document, or with one of a few unmistakable shapes."""
    if not view.has_digit:
        return
    text, lower = view.text, view.lower
    if "pas" in lower or "travel doc" in lower:
        for match in _PASSPORT.finditer(text):
            start, end = _with_series(text, *match.span("value"))
            value = "".join(char for char in _NUMBER_SIGN.sub("", text[start:end]) if char.isalnum())
            # A pass is also a ticket and a verb: after the bare word a passport's number has the common shape.
            other = match["word"] and not _COMMON_PASSPORT.fullmatch(match["value"])
            if (
                7 <= len(value) <= (12 if value[:3].isalpha() and " " in text[start:end] else 10)
                and sum(map(str.isdigit, value)) > 2
                and not other
            ):
                yield Candidate(start, end, "PASSPORT", 0.85, explain("letters and digits", "passport"))
    if "<<" in text:
        for match in _MRZ.finditer(text):
            yield Candidate(*match.span(), "PASSPORT", 0.95, "machine-readable zone")
    if _LICENCE_HINT.search(lower):
        for match in _LICENCE.finditer(text):
            value = match["value"]
            count = sum(char.isdigit() for char in value)
            if 4 <= count <= 16 and not _plain_word(value):
                yield Candidate(*match.span("value"), "DRIVER_LICENCE", 0.85, explain("letters and digits", "licence"))
    for match in _DVLA.finditer(text):
        if len(match.group()) == 16:
            yield Candidate(*match.span(), "DRIVER_LICENCE", 0.8, "shape of a British driving licence")
    for match in _STATE_LICENCE.finditer(text):
        yield Candidate(*match.span(), "DRIVER_LICENCE", 0.6, "shape of an American driver's licence")
    if any(word in lower for word in ("plate", "reg", "tag", "vrm", "kenn", "matr", "targa", "kent")):
        for match in _PLATE.finditer(text):
            start, end = match.span("value")
            start = _with_series(text, start, _cut(text, start, end))[0]
            end = _cut(text, start, end)
            if end - start >= 4 and any(char.isdigit() for char in text[start:end]):
                why = explain("letters and digits", "plate or registration")
                yield Candidate(start, end, "LICENCE_PLATE", 0.8, why)
    for match in _UK_PLATE.finditer(text):
        yield Candidate(*match.span(), "LICENCE_PLATE", 0.6, "shape of a British plate")


_SERIES = re.compile(r"(?<!\w)[A-Z]{1,3}[ -]\Z")
_NO_SERIES = words("A I NO NR NUM IS ID IT MY OF IN UK US EU THE AND WAS FOR")


def _with_series(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the span with capitals before it that belong to the number: `AB 123456`, `KR 7AB12`."""
    series = _SERIES.search(text, max(0, start - 4), start)
    if series is None or not text[start].isdigit() or series.group()[:-1] in _NO_SERIES:
        return start, end
    return series.start(), end


def _plain_word(value: str) -> bool:
    """Return whether the value is a year, as in `since 2015`."""
    return bool(re.fullmatch(r"(?:[a-z]+[ -])?(?:19|20)\d\d", value))


def _cut(text: str, start: int, end: int) -> int:
    """Return the end of a plate: before a word in small letters where the plate is in capitals."""
    value = text[start:end]
    if not _LOWER.search(value) or not re.search(r"[A-Z]", value):
        return start + len(re.split(r" (?:and|on|is|in|at|for|the|was|has|but|or|a|to)\b", value)[0])
    kept = re.match(r"[A-Z0-9]{1,8}(?:[ ·•-]{1,3}[A-Z0-9]{1,5}){0,3}(?![a-z])", value)
    return start + kept.end() if kept else start


RECOGNISER = Recogniser("documents", frozenset({"PASSPORT", "DRIVER_LICENCE", "LICENCE_PLATE"}), scan)
