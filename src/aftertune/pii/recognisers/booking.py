"""References of bookings, tickets and orders; user names; dates of birth."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aftertune.pii import dates
from aftertune.pii.recogniser import UUID, Candidate, Recogniser, View, explain
from aftertune.pii.word_lists import words

_SHAPE = re.compile(r"\b(?=[A-Z0-9]{0,9}[A-Z])(?=[A-Z0-9]{0,9}\d{3})[A-Z0-9]{6,10}\b")
_GROUPS = re.compile(
    r"(?<![\w-])[A-Z]{2,5}-\d{3,10}(?:-[A-Z0-9]{1,8}){0,3}(?![\w-])|(?<![\w-])\d{3}-\d{7}-\d{7}(?![\w-])"
)
_UNIT = re.compile(
    r"\d+(?:[KMGT]?B|[KMGTC]?HZ|[KM]?PH|[KMC]?M|K?G|K?W|K?WH|K?V|ML|LBS?|USD|EUR|GBP|PX|P|DPI|RPM|BPS|MAH|K|M|"
    r"BN|AM|PM)|"
    r"[A-Z]{2,4}(?:19|20)\d\d|(?:19|20)\d\d[A-Z]{1,3}|ISO\d+|IEEE\d+|RFC\d+|SHA\d+|MD5\d*|UTF\d+|COVID\d+|[A-F0-9]*"
)
_KIND = (
    r"(?:booking|reservation|confirmation|ticket|order|reference|ref|pnr|case|tracking|invoice|itinerary|e-?ticket|"
    r"record locator|locator|shipment|parcel|claim|policy|customer|member(?:ship)?|loyalty|frequent flyer|voucher|"
    r"purchase|transaction|complaint|incident|request|account|contract|subscription|bestell|buchungs)"
)
_NAMED = re.compile(
    rf"\b{_KIND}(?:\s{{1,2}}(?:reference|ref|confirmation|booking|order|ticket|number|no|nr|num|code|id|locator))"
    rf"{{0,3}}(?P<gap>(?:[\s:#.(\"'=–-]|\b(?:number|no|code|id|is|was|it's|its|the|of|under|with|and|my|has|"
    rf"here)\b){{1,14}})"
    r"(?P<value>[A-Z0-9](?:[A-Z0-9]|[-/](?=[A-Z0-9])){3,39})(?![\w@]|[./-]\w)",
    re.I,
)
_KINDS = words(
    "booking reservation confirmation ticket order reference ref pnr case tracking invoice itinerary eticket locator "
    "record shipment parcel claim policy customer member membership loyalty frequent voucher purchase transaction "
    "complaint incident request account contract subscription bestell buchungs"
)
"""Tokens, one of which `_NAMED` needs."""
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?)\.?"
)
_DATE_ALONE = re.compile(
    r"(?:(?:19|20)\d\d([-/])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])|"
    r"(?:0?[1-9]|[12]\d|3[01])([-/])(?:0?[1-9]|[12]\d|3[01])\2(?:19|20)?\d\d)(?:T\d{2,6}Z?)?|"
    rf"{_MONTH}[-/](?:19|20)?\d\d|(?:\d{{1,2}}[-/])?{_MONTH}[-/](?:19|20)\d\d|"
    r"(?:19|20)\d\d[-/](?:Q[1-4]|H[12]|[WK]W?\d\d(?:-?[1-7])?|(?:19|20)?\d\d)|(?:0?[1-9]|1[0-2])[-/](?:19|20)\d\d",
    re.I,
)
"""A day, a month, a quarter, a week or a range of years by itself."""
_MACHINE = re.compile(r"request|transaction|incident|account|subscription|contract|case|shipment", re.I)
"""Words beside which a UUID is a machine's number and nobody's reference."""
_EXPLICIT = re.compile(r"\b(?:number|no|nr|num|code|id|ref|reference|locator|pnr)\b|#|:|=")
_PNR = re.compile(r"[A-Z]{6}")
_USER_WORD = re.compile(
    r"\b(?:user ?name|user ?id|login|log-?in|handle|screen ?name|nick ?name|nick|account name|gamer ?tag|"
    r"skype|telegram|instagram|twitter|snapchat|discord|twitch|tiktok|github|insta|steam)"
    r"(?:\s(?:name|id|handle|account|user|username)){0,2}"
    r"(?:\s{0,2}[:=#]\s{0,2}|\s(?:is|was|it's|called|:)\s{1,2})[\"'“‘(@]{0,2}"
    r"(?P<value>[A-Za-z0-9_][A-Za-z0-9_.\-]{2,31})",
    re.I,
)
_HANDLE = re.compile(r"(?<![\w@./+-])@[A-Za-z_][A-Za-z0-9_.]{2,30}(?![\w@.-]{0,60}@)")
_DATE = re.compile(
    r"(?<![\w./-])(?:\d{1,2}[ ]?[./-][ ]?\d{1,2}[ ]?[./-][ ]?(?:\d{4}|\d{2})|(?:19|20)\d{2}[./-]\d{1,2}[./-]\d{1,2}|"
    rf"\d{{1,2}}(?:st|nd|rd|th)?(?: of)?[ -]{_MONTH},?[ -]'?(?:\d{{4}}|\d{{2}})|"
    rf"\d{{1,2}}\.? (?:de )?(?:{'|'.join(dates.ELSEWHERE)}) (?:de )?\d{{4}}|"
    rf"{_MONTH}[ -]\d{{1,2}}(?:st|nd|rd|th)?,?[ -]'?(?:\d{{4}}|\d{{2}}))(?![\w/-])",
    re.I,
)
_BORN = re.compile(
    r"\bborn\b|\bbirth ?(?:date|day)\b|\bdate of birth\b|\bd\.?o\.?b\b\.?|\bdates? of births?\b|\bgeburts\w+|"
    r"\bgeboren\b|\bgeb\. |\bgeboortedatum\b|\bnat[oa] il\b|\bnascid[oa]\b|\bdata de nascimento\b|"
    r"\bn[ée]e? le\b|\bnacid[oa]\b|\bfecha de nacimiento\b|\bdata di nascita\b|\bdate de naissance\b"
)


def _references(view: View) -> Iterator[Candidate]:
    text = view.text
    for match in _NAMED.finditer(text) if view.may_hold(_KINDS) else ():
        value = match["value"]
        if _DATE_ALONE.fullmatch(value) or (_MACHINE.search(match.group()[: -len(value)]) and UUID.fullmatch(value)):
            continue
        digits = sum(char.isdigit() for char in value)
        explicit = _EXPLICIT.search(match.group()[: match.start("value") - match.start()].lower()[3:])
        word = match.group().split()[0].lower().strip(":#.('\"")
        if (digits >= 2 and digits * 4 >= len(value)) or (digits and value.isupper()):
            score = 0.85 if explicit else 0.65
            if value.isdigit() and (len(value) < 5 or not explicit):
                score = 0.4 if len(value) >= 5 else 0.2
        elif explicit and _PNR.fullmatch(value):
            score = 0.7
        else:
            continue
        yield Candidate(*match.span("value"), "REFERENCE", score, explain("letters and digits", word))
    for match in _SHAPE.finditer(text):
        if not _UNIT.fullmatch(match.group()):
            yield Candidate(*match.span(), "REFERENCE", 0.55, "capitals with three digits together, 6 to 10 characters")
    for match in _GROUPS.finditer(text):
        known = re.match(r"(?:ISO|IEC|RFC|CVE|UTF|SHA|COVID|GPT|EN|DIN|BS|ANSI)-", match.group())
        yield Candidate(*match.span(), "REFERENCE", 0.2 if known else 0.55, "letters, hyphen and digits")


def _births(view: View) -> Iterator[Candidate]:
    if not _BORN.search(view.lower):
        return
    for match in _DATE.finditer(view.text):
        cue = view.near(_BORN, match.start(), match.end(), 40)
        if cue:
            yield Candidate(*match.span(), "DATE_OF_BIRTH", 0.85, explain("date", cue))


def _users(view: View) -> Iterator[Candidate]:
    for match in _USER_WORD.finditer(view.text) if view.may_hold(_USERS) else ():
        start, end = match.span("value")
        while view.text[end - 1] in ".-":
            end -= 1
        value = view.text[start:end]
        shaped = any(char.isdigit() or char in "_.-" for char in value) or ":" in match.group()
        if end - start > 2 and value.lower() not in _NOT_USER:
            yield Candidate(start, end, "USERNAME", 0.75 if shaped else 0.45, explain("word", "user name"))
    if "@" in view.text:
        for match in _HANDLE.finditer(view.text):
            value = match.group().rstrip(".")
            yield Candidate(match.start(), match.start() + len(value), "USERNAME", 0.6, "@handle")


_USERS = words(
    "user username userid login log handle screen screenname nick nickname account gamer gamertag skype telegram "
    "instagram twitter snapchat discord twitch tiktok github insta steam"
)
"""Tokens, one of which `_USER_WORD` needs."""
_NOT_USER = words(
    "the not and that this required invalid wrong incorrect unknown empty missing taken available your password "
    "already null none optional case what correct blocked locked"
)


def scan(view: View) -> Iterator[Candidate]:
    """Yield references, dates of birth and user names."""
    if view.has_digit:
        yield from _births(view)
    if len(view.text) > 4:
        yield from _references(view)
        if "@" in view.text or _USER_HINT.search(view.lower):
            yield from _users(view)


_USER_HINT = re.compile(r"user|log-?in|handle|name|nick|tag|skype|gram|twit|snap|disc|tiktok|github|insta|steam")
RECOGNISER = Recogniser("booking", frozenset({"REFERENCE", "DATE_OF_BIRTH", "USERNAME"}), scan)
