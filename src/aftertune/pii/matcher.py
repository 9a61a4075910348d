"""One pass over a text for a hundred thousand personal values: an Aho-Corasick automaton and a check of each match.

The automaton (Aho and Corasick, Communications of the ACM 18 (1975) 333-340) reads the letters and digits of a text in
a row, so that no spacing, punctuation or line break can hide a value. Each match is then checked against the text
itself: whether words begin and end there, and whether the characters between them may separate them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from aftertune.pii import dates
from aftertune.pii.normalisation import TracedText, digits, fold, plain, squeeze
from aftertune.pii.word_lists import names
from aftertune.pii.word_lists import words as word_set

DIGIT_TYPES = frozenset({"PHONE"})
"""Types compared by their digits only: punctuation in a phone number carries nothing."""
CODES = frozenset({"REFERENCE", "CREDIT_CARD", "IBAN", "NATIONAL_ID", "PASSPORT", "DRIVER_LICENCE", "LICENCE_PLATE"})
"""Types compared without separators."""
EXACT = frozenset({"IP", "URL", "USERNAME"})
"""Types in which punctuation counts."""
MIN_DIGITS = 6
"""Shorter digit strings are ordinary numbers."""
MIN_CODE = 4
"""Letters and digits of a code; shorter ones occur in many texts by chance."""
SHARED_DIGITS = 8
"""Digits from which on two numbers, one of which ends in the other, are one with and without its country code."""
MAX_DIGITS = 15
"""E.164: no phone number is longer."""
MAX_SPAN = 600
"""Characters over which a value may be spread: letters further apart are no mention of it."""

_SPELT = frozenset({"PERSON", "ADDRESS"})
"""Types whose values are also written with `ae` for `ä`."""
_DIGRAPHS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "å": "aa", "Å": "Aa", "ø": "oe", "Ø": "Oe"}
)

_COMMON_WORDS = (
    "will mark may grant rose hope grace joy faith bill art frank rich young long white black brown green king "
    "price hill wood stone drew dean chase dawn june april august summer autumn amber pearl ruby sandy gene "
    "jack bob don rob sue pat dick jean penny violet lily iris ivy olive daisy heather ginger hunter mason "
    "cook baker carter fisher taylor miller smith turner walker ward wise short small little rivers field "
    "fields park parks love day night sharp strong good best bright bell ball cash church cross cooper banks "
    "bond west north east south winter frost snow rice bean berry page read reed reader waters wells woods "
    "bishop pope knight prince major case chance christian early earnest"
)
COMMON = frozenset(_COMMON_WORDS.split())
"""Words that are names too; a name of such words only counts where it is written with capitals."""

_TITLE = re.compile(
    r"\b(?:mr|mrs|ms|miss|mx|dr|prof|professor|sir|madam|lady|lord|herrn?|frau|fraulein|monsieur|madame|mme|mlle|senor|"
    r"senora|senorita|sr|sra|srta|signor|signora|signorina|sig|dott|dottor|dhr|mevr|mevrouw|meneer|senhor|senhora|dona|"
    r"don|rev|reverend|father|sister|captain|capt|lt|sgt|col|judge|senator|nurse|doctor|family|familie)\b\.?\s{0,3}"
    r"(?:(?:dr|prof)\b\.?\s{0,3}){0,2}\Z",
    re.I,
)
_PART_NEXT = re.compile(r"-\w")
_PARTICLES = word_set(
    "van von der den de da do dos das di del della degli dello la le el al bin ibn ben bint ter ten te zu zum zur af "
    "av st saint san santa abu abd ul du des op het t"
)
_WORD = re.compile(r"[^\W_]+")
_GAP = re.compile(r"[\W_]+")
_SPACE = re.compile(r"[\s_]+")
_CODE_GAP = re.compile(r"[ \-./#]{0,3}")
_GAPS = {"PERSON": re.compile(r"[ \-]{1,3}"), **dict.fromkeys(CODES, _CODE_GAP)}
"""The characters allowed between the words of a value: no comma or full stop in a name, but in an address."""
_LONG_CODE = 12
"""Letters and digits from which on a code may have any marks in it (`4111_1111_...`): no other text has the same."""
_LONG_GAP = re.compile(r"[\W_]{0,9}")
_OTHER_GAP = re.compile(r"\W{0,4}")
_GROUP = re.compile(r"(?<![^\W_])\d+(?![^\W_])")
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_MAIL_GAP = re.compile(r"\s*@\s*|(?<=\w)\.\s+(?=[\w-]*(?:\.|$))|\s+\.\s+")
_MAIL_BEFORE = re.compile(r"[\w.+\-@]\Z")
_MAIL_AFTER = re.compile(r"[\w@]|[.\-]\w")
_URL_START = re.compile(r"^(?:[a-z][a-z0-9+.-]{0,20}://)?(?:www\.)?", re.I)
_USER_BEFORE = re.compile(
    r"(?:@|\b(?:user ?name|user|login|log in|account|handle|nick(?:name)?)\b[\s:=\"'`]{0,4})\Z", re.I
)
_EXACT_AFTER = {
    "URL": re.compile(r"[/.?=&%#\-]?\w"),
    "IP": re.compile(r"\w|[.:]\d"),
    "USERNAME": re.compile(r"[\w@]|[.\-]\w"),
}
_EXACT_BEFORE = {
    "URL": re.compile(r"(?:[\w@]|(?<!www)[.\-])\Z", re.I),
    "IP": re.compile(r"(?:\w|\d[.:])\Z"),
    "USERNAME": re.compile(r"[\w.\-]\Z"),
}


class Mention(NamedTuple):
    """One mention: the index in the list of values, and `text[start:end]` of the original text."""

    value: int
    start: int
    end: int


class Rule(NamedTuple):
    """How a match of one pattern is checked."""

    kind: str
    type: str
    value: int
    key: str
    """For comparison, by kind: a number, an address, the words of the value."""


class Matcher:
    """Finds values in texts. Built once; `values` are (type, value) pairs."""

    def __init__(self, values: Sequence[tuple[str, str]], *, greedy: bool = False) -> None:
        """Build the automaton; `greedy`, for masking, accepts matches that may be something else."""
        self._greedy = greedy
        by_pattern: dict[bytes, list[Rule]] = {}
        for index, (type_, value) in enumerate(values):
            spellings = dict.fromkeys((value, _transliterated(value) if type_ in _SPELT else value))
            for pattern, kind, key in (each for one in spellings for each in patterns(type_, one, greedy)):
                if pattern:
                    by_pattern.setdefault(pattern, []).append(Rule(kind, type_, index, key))
        self._rules = list(by_pattern.values())
        self._automaton = None
        if by_pattern:
            from ahocorasick_rs import BytesAhoCorasick, Implementation

            self._automaton = BytesAhoCorasick(list(by_pattern), implementation=Implementation.ContiguousNFA)

    def find(self, text: str) -> list[Mention]:
        """Return every mention of a value in `text`, in order; mentions of different values may overlap."""
        matches = self._matches(plain(text))
        if not matches:
            return []
        traced = TracedText.of(text)
        letters = traced.letters
        mentions: dict[Mention, None] = {}
        for rules, start, end in matches:
            first, last = letters[start], letters[end - 1] + 1
            for rule in rules:
                if span := self._check(rule, traced.text, first, last):
                    mentions[Mention(rule.value, *traced.original(*span))] = None
        return sorted(mentions, key=lambda one: (one.start, one.end, one.value))

    def _matches(self, text: str) -> Sequence[tuple[Sequence[Rule], int, int]]:
        """Return (rules, start, end) of each match of a pattern in the squeezed bytes of a plain text."""
        if self._automaton is None:
            return []
        matches = self._automaton.find_matches_as_indexes(squeeze(text), overlapping=True)
        return [(self._rules[pattern], start, end) for pattern, start, end in matches]

    def _check(self, rule: Rule, text: str, start: int, end: int) -> tuple[int, int] | None:
        """Return the span of the mention if `text[start:end]` is one, else None."""
        if end - start > MAX_SPAN:
            return None
        if self._greedy and (rule.kind == "number" or (rule.type in CODES and rule.kind == "words")):
            return _grown(text, start, end)
        if rule.kind == "number":
            return _number(rule.key, text, start, end)
        if (start and text[start - 1].isalnum()) or text[end : end + 1].isalnum():
            return None
        if rule.kind == "mail":
            return _mail(rule.key, text, start, end)
        if rule.kind == "exact":
            return _exact(rule, text, start, end)
        inside = text[start:end]
        if rule.kind == "date":
            words = " ".join(word.casefold() for word in _WORD.findall(inside))
            return (start, end) if words == rule.key and dates.GAPS.fullmatch(inside) else None
        gaps = [_SPACE.sub(" ", gap) for gap in _GAP.findall(inside)]
        if self._greedy:
            return (start, end) if all(len(gap) <= 4 for gap in gaps) and _name_like(rule, inside) else None
        long = rule.type in CODES and sum(map(str.isalnum, inside)) >= _LONG_CODE
        pattern = _LONG_GAP if long else _GAPS.get(rule.type, _OTHER_GAP)
        fits = _reversed(inside, rule.key) if rule.kind == "reversed" else all(map(pattern.fullmatch, gaps))
        if not fits:
            return None
        if rule.kind == "titled":
            alone = _TITLE.search(text, max(0, start - 24), start) and not _PART_NEXT.match(text, end)
            return (start, end) if alone else None
        if rule.type == "PERSON":
            words_ = _WORD.findall(inside)
            if all(word.casefold() in COMMON for word in words_) and not all(word[0].isupper() for word in words_):
                return None
        return start, end


def _grown(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the span with the rest of the words that it begins and ends in, and a country code before it."""
    while start and (text[start - 1].isalnum() or text[start - 1] == "+"):
        start -= 1
    while end < len(text) and text[end].isalnum():
        end += 1
    return start, end


def _name_like(rule: Rule, inside: str) -> bool:
    """Return whether a part of a name is written as a name: alone it must have a capital."""
    return rule.kind != "part" or inside[0].isupper()


def patterns(type_: str, value: str, greedy: bool) -> Iterator[tuple[bytes, str, str]]:
    """Yield (pattern of the automaton, kind, key for comparison) for one value."""
    clear = plain(value)
    words = [word.casefold() for word in _WORD.findall(clear)]
    whole = squeeze(clear)
    if type_ in DIGIT_TYPES:
        number = digits(clear).lstrip("0")
        if len(number) >= MIN_DIGITS:
            yield number[-SHARED_DIGITS:].encode(), "number", number
    elif type_ == "EMAIL" and (address := _EMAIL.search(_MAIL_GAP.sub(_tight, clear))):
        key = address.group().strip(".-+").casefold()
        yield squeeze(key), "mail", key
    elif type_ == "PERSON":
        if len(words) > 1:
            yield whole, "words", ""
            yield squeeze(words[-1] + "".join(words[:-1])), "reversed", words[-1]
        if not greedy and (family := family_name(clear)):
            yield squeeze(family), "titled", ""
        if greedy:
            for word in words if len(words) > 1 else ():
                if len(word) > 2 and word not in COMMON:
                    yield squeeze(word), "part", word
            if len(words) == 1 and len(words[0]) > 2:
                yield whole, "part", words[0]
    elif type_ in CODES:
        least = MIN_DIGITS if whole.isdigit() else MIN_CODE
        if len(whole) >= least:
            yield whole, "words", ""
    elif type_ in EXACT:
        key = (_URL_START.sub("", clear).rstrip("/") if type_ == "URL" else clear).strip().lstrip("@").casefold()
        if len(key) >= MIN_CODE:
            yield squeeze(key), "exact", key
    elif type_ == "DATE_OF_BIRTH":
        for form in dates.forms(words, clear):
            yield "".join(form).encode(), "date", " ".join(form)
    elif len(words) > 1 or any(char.isdigit() for char in clear) or (greedy and len(whole) > 2):
        yield whole, "words", ""


def _transliterated(value: str) -> str:
    """Return a name as people write it without umlauts: `Joerg` for `Jörg`."""
    return unicodedata.normalize("NFC", value).translate(_DIGRAPHS)


def family_name(name: str) -> str | None:
    """Return the family name of a plain full name if it names hardly anybody else, else None.

    That is one of two parts joined by a hyphen (`Oyelaran-Lindqvist`), one after particles (`van der Zandschulp`), and
    one that is on none of the lists of names. It then counts after a title alone: `Ms Oyelaran-Lindqvist`.
    """
    words = name.split()
    if len(words) < 2:
        return None
    first = len(words) - 1
    while first > 1 and words[first - 1].casefold().replace("'", "") in _PARTICLES:
        first -= 1
    family = " ".join(words[first:])
    letters = [part.casefold() for part in _WORD.findall(words[-1])]
    if any(char.isdigit() for char in family) or not letters or len("".join(letters)) < 4:
        return None
    double = len(letters) > 1 and all(len(part) > 2 for part in letters)
    listed = any(fold(words[-1]) in names(file) for file in ("surnames", "census_last", "given", "words", "places"))
    rare = not listed and letters[0] not in COMMON
    return family if double or rare or first < len(words) - 1 else None


def _tight(match: re.Match[str]) -> str:
    return match.group().strip()


def _reversed(inside: str, last: str) -> bool:
    """Return whether `inside` is the last name, a comma and the rest."""
    parts = _SPACE.sub(" ", inside).split(",")
    if len(parts) != 2 or "".join(_WORD.findall(parts[0])).casefold() != last:
        return False
    return all(_GAPS["PERSON"].fullmatch(gap) for part in parts for gap in _GAP.findall(part.strip()))


def _number(known: str, text: str, start: int, end: int) -> tuple[int, int] | None:
    """Return the span, in the run of digit groups around `text[start:end]`, that reads as the known number.

    A part of a run counts from `SHARED_DIGITS` digits on only, without leading zeros: shorter numbers occur in many
    longer ones by chance.
    """
    reach = 5 * MAX_DIGITS
    groups = [m.span() for m in _GROUP.finditer(text, max(0, start - reach), min(len(text), end + reach))]
    here = [index for index, (a, b) in enumerate(groups) if a < end and b > start]
    if not here:
        return None
    first, last = here[0], here[-1]
    if not all(_joined(text, groups[index][1], groups[index + 1][0]) for index in range(first, last)):
        return None
    while first and _joined(text, groups[first - 1][1], groups[first][0]):
        first -= 1
    while last + 1 < len(groups) and _joined(text, groups[last][1], groups[last + 1][0]):
        last += 1
    for a in range(first, here[0] + 1):
        for b in range(here[-1], last + 1):
            outer = groups[a][0], groups[b][1]
            number = digits(text[outer[0] : outer[1]])
            if len(number) > MAX_DIGITS:
                break
            bare = number.lstrip("0")
            enough = len(number) >= MIN_DIGITS if (a, b) == (first, last) else len(bare) >= SHARED_DIGITS
            if enough and _same_number(bare, known):
                return outer
    return None


_BETWEEN = re.compile(r"[\s().\-/]{1,3}")


def _joined(text: str, end: int, start: int) -> bool:
    return _BETWEEN.fullmatch(_SPACE.sub(" ", text[end:start])) is not None


def _same_number(number: str, known: str) -> bool:
    shorter = min(len(number), len(known))
    return number == known or (shorter >= SHARED_DIGITS and (number.endswith(known) or known.endswith(number)))


def _mail(known: str, text: str, start: int, end: int) -> tuple[int, int] | None:
    inside = _MAIL_GAP.sub(_tight, text[start:end]).casefold()
    if inside != known or _MAIL_BEFORE.search(text, max(0, start - 1), start) or _MAIL_AFTER.match(text, end):
        return None
    return start, end


def _exact(rule: Rule, text: str, start: int, end: int) -> tuple[int, int] | None:
    key = rule.key
    # The key may begin or end with characters that the automaton does not see.
    start -= next((index for index, char in enumerate(key) if char.isalnum()), 0)
    end += next((index for index, char in enumerate(reversed(key)) if char.isalnum()), 0)
    if start < 0 or text[start:end].casefold() != key:
        return None
    if _EXACT_BEFORE[rule.type].search(text, max(0, start - 4), start) or _EXACT_AFTER[rule.type].match(text, end):
        return None
    if rule.type == "USERNAME" and key.isalpha() and not _USER_BEFORE.search(text, max(0, start - 20), start):
        return None
    return start, end
