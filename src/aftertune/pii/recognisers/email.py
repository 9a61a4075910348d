"""E-mail addresses, also with `at` and `dot` spelt out."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aftertune.pii.recogniser import Candidate, Recogniser, View, explain
from aftertune.pii.word_lists import words

_PLAIN = re.compile(
    r"(?<![\w.+%-])[\w.+%'-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_](?:[\w-]{0,30}[^\W_])(?![\w@-])|"
    r"(?<![\w.+%-])[\w.+%-]{1,64}@\[\d{1,3}(?:\.\d{1,3}){3}\]|"
    r"(?<![\w.+%-])\"[^\"@\n]{1,62}\"@(?:[\w-]{1,63}\.){1,8}[^\W\d_][\w-]{0,30}[^\W_](?![\w@-])|"
    r"(?<![\w.+%-])[\w.+%-]{1,64}@localhost(?![\w@.-])"
)
_SPACED = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64} ?@ ?(?:[\w-]{1,63} ?\. ?){1,4}[^\W\d_]{2,24}(?![\w@-])")
_AT = r"\s{0,2}[\[({<]\s{0,2}(?:at|@)\s{0,2}[\])}>]\s{0,2}"
_DOT = r"(?:\s{0,2}[\[({<]\s{0,2}(?:dot|\.)\s{0,2}[\])}>]\s{0,2}|\s{1,2}dot\s{1,2}|\.)"
_BRACKETS = re.compile(rf"(?<![\w.+%-])[\w.+%-]{{1,64}}{_AT}[\w-]{{1,63}}(?:{_DOT}[\w-]{{1,63}}){{1,4}}", re.I)
_LOCAL = r"(?<![\w.+%-])[\w.+%-]{1,64}(?:\s(?:dot|underscore|dash)\s[\w+%-]{1,64}){0,3}"
_SPELT = re.compile(rf"{_LOCAL}\s{{1,2}}at\s{{1,2}}[\w-]{{1,63}}(?:\s{{1,2}}dot\s{{1,2}}[\w-]{{2,63}}){{1,3}}", re.I)
_HALF = re.compile(rf"{_LOCAL}\s{{1,2}}at\s{{1,2}}(?:[\w-]{{1,63}}\.){{1,3}}[a-z]{{2,12}}\b", re.I)
_CUE = re.compile(r"\be-?mails?\b|\bmail\b|\bwrite to\b|\breach (?:me|us)\b")
_NOT_LOCAL = words("me us him her them it us email mail look looking available live lives up is are was")


def scan(view: View) -> Iterator[Candidate]:
    """Yield e-mail addresses: the ordinary form, with brackets, with spaces, with words."""
    text = view.text
    if "@" in text:
        for match in _PLAIN.finditer(text):
            start = match.start() + (len(match.group()) - len(match.group().lstrip(".'+-")))
            yield Candidate(start, match.end(), "EMAIL", 0.99, "local@domain")
        if " @" in text or "@ " in text or " ." in text:
            for match in _SPACED.finditer(text):
                if " " in match.group():
                    cue = view.cue(_CUE, match.start())
                    yield Candidate(*match.span(), "EMAIL", 0.8 if cue else 0.55, explain("spaces about @", cue))
    lower = view.lower
    if any(mark in lower for mark in ("at)", "at]", "at}", "at>", "@)", "@]", "at )", "at ]")):
        for match in _BRACKETS.finditer(text):
            yield Candidate(*match.span(), "EMAIL", 0.9, "'at' in brackets")
    if " at " in lower:
        if " dot " in lower:
            for match in _SPELT.finditer(text):
                if match.group().split()[0].lower() not in _NOT_LOCAL:
                    yield Candidate(*match.span(), "EMAIL", 0.85, "'at' and 'dot' as words")
        if "." in text and _CUE.search(lower):
            for match in _HALF.finditer(text):
                cue = view.cue(_CUE, match.start())
                if cue and match.group().split()[0].lower() not in _NOT_LOCAL:
                    yield Candidate(*match.span(), "EMAIL", 0.7, explain("'at' as a word", cue))


RECOGNISER = Recogniser("email", frozenset({"EMAIL"}), scan)
