"""Names of persons: lists of given and family names, endings of family names, titles, and the words around a name."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from aftertune.pii import name_words as rules
from aftertune.pii.languages import foreign_parts
from aftertune.pii.listed_names import listed_names
from aftertune.pii.name_context import human_context
from aftertune.pii.name_of_thing import begins_with_word, is_thing
from aftertune.pii.recogniser import Candidate, Recogniser, View, Word, explain
from aftertune.pii.word_lists import names

SURE = 0.6
"""Score from which a name lends support to its neighbours in a list."""
LIKE_A_STREET = 0.4
"""Score of a name that reads like a street or stop."""
BUT = "but after"
"""Marks such a name in its explanation."""


class _Name(NamedTuple):
    """A run of words that may be a name, and the title before it."""

    words: Sequence[tuple[Word, rules.Kind]]
    title: str | None


def scan(view: View) -> Iterator[Candidate]:
    """Yield names: runs of capitalised words, then runs of known names in lower case (or in a text of capitals).

    Where the text is not English, only names on the lists count, and only in the positions of `listed_names`.
    """
    if not view.words:
        return
    text = view.text
    letters = sum(map(str.isalpha, text[:2000]))
    capitals = sum(map(str.isupper, text[:2000]))
    shouting = letters > 12 and capitals > 0.7 * letters
    quiet = capitals == 0 or shouting
    stripped = [_strip(word) for word in view.words]
    if parts := foreign_parts(text):
        starts = [part.start for part in parts]
        last = [bisect_right(starts, word.start) - 1 for word in stripped]
        foreign = [at >= 0 and word.start < parts[at].end for at, word in zip(last, stripped, strict=True)]
        yield from listed_names(view, [word for word, other in zip(stripped, foreign, strict=True) if other])
        stripped = [word for word, other in zip(stripped, foreign, strict=True) if not other]
    if not shouting and capitals:
        yield from _capitalised(view, stripped)
    yield from _raised(view, list(_small(view, stripped, quiet, shouting)))


def _strip(word: Word) -> Word:
    """Return the word without a possessive ending."""
    if word.text[-2:] in ("'s", "’s", "`s", "'S"):
        return Word(word.text[:-2], word.start, word.end - 2)
    return word


def _is_name_case(text: str) -> bool:
    return text[0].isupper() and (len(text) == 1 or any(char.islower() for char in text[1:]))


_JOINED_PARTICLE = re.compile(r"(?:a[ndrstz]|al|ash|el|ul|ibn|bin|d|l)-[A-Z]")
"""`al-Rahman`, `el-Sayed`."""


def _runs(view: View, words: Sequence[Word]) -> Iterator[list[tuple[Word, rules.Kind]]]:
    """Yield runs of capitalised words (or known names in capitals), particles inside, parted by blanks or initials."""
    run: list[tuple[Word, rules.Kind]] = []
    for word in words:
        kind = rules.kind_of(word.text)
        capital = (
            _is_name_case(word.text)
            or _JOINED_PARTICLE.match(word.text) is not None
            or (word.text.isupper() and (kind.given or kind.family) and not kind.common and len(word.text) > 2)
        )
        if run:
            last = run[-1][0]
            gap = view.text[last.end : word.start]
            joined = gap in (" ", "  ", "\u00a0") or (
                gap in (". ", ".") and (len(last.text) < 3 or kind_title(run[-1][1]))
            )
            particle = kind.folded in rules.PARTICLES and not capital
            if joined and kind.folded not in ("and", "or") and (capital or particle) and len(run) < 8:
                run.append((word, kind))
                continue
            yield run
            run = []
        if capital:
            run.append((word, kind))
    if run:
        yield run


def kind_title(kind: rules.Kind) -> bool:
    """Return whether a word is a title such as `Mr` or `Prof`."""
    return kind.folded in rules.TITLES


def _capitalised(view: View, words: Sequence[Word]) -> Iterator[Candidate]:
    yield from _raised(view, list(_candidates(view, words)))


def _candidates(view: View, words: Sequence[Word]) -> Iterator[Candidate]:
    for run in _runs(view, words):
        while run and run[-1][1].folded in rules.PARTICLES and not run[-1][0].text[0].isupper():
            run.pop()
        title = None
        if len(run) > 1 and " ".join(kind.folded for _, kind in run) in names("places"):
            continue
        while (
            run
            and (kind_title(run[0][1]) or run[0][1].common)
            and not (title and run[0][1].folded in rules.PARTICLES)
            and not (len(run) > 1 and not kind_title(run[0][1]) and run[0][1].given and run[1][1].family)
        ):
            if kind_title(run[0][1]) and len(run) > 1:
                title = run[0][1].folded
            elif not kind_title(run[0][1]):
                title = None
            run = run[1:]
        while run and run[-1][1].common and not (run[-1][1].family and len(run) > 1):
            run.pop()
        if len(run) > 2 and not run[0][1].given and not run[0][1].family and run[1][1].given:
            run = run[1:]
        if begins_with_word(view, run) and _start_of_sentence(view, run[0][0].start):
            run = run[1:]
        if run and not is_thing(view, run, title):
            before = rules.TITLE.search(view.lower, max(0, run[0][0].start - 8), run[0][0].start)
            title = before.group(1) if before and title is None else title
            for match in _judge(view, _Name(run, title)):
                yield match._replace(start=before.start()) if before else match


def _start_of_sentence(view: View, start: int) -> bool:
    before = view.text[max(0, start - 4) : start].rstrip(" \t\"'“(*>-")
    return not before or before[-1] in ".!?\n:;"


def _organisation(view: View, run: Sequence[tuple[Word, rules.Kind]]) -> bool:
    if any(
        kind.folded in names("organisations") and not (kind.family and index) for index, (_, kind) in enumerate(run)
    ):
        return True
    end = run[-1][0].end
    after = re.match(r"['’]?s?,? (?:& |and )?([A-Za-z]{2,14})\b", view.text[end : end + 24])
    if (
        after
        and after.group(1).lower() in names("organisations")
        and (after.group(1)[0].isupper() or after.group(1).islower() is False)
    ):
        return True
    before = view.lower[max(0, run[0][0].start - 16) : run[0][0].start]
    return (
        bool(
            re.search(
                r"\b(?:university of|bank of|department of|city of|port of|st\.?|mount|lake|hotel|the)\s$", before
            )
        )
        and len(run) == 1
    )


def _cue(view: View, start: int, end: int) -> tuple[str | None, str | None]:
    """Return (word that introduces a name, word that only supports one)."""
    left = max(0, start - 40)
    before = view.lower[left:start]
    for pattern, what in ((rules.INTRO, None), (rules.SIGNED, "closing"), (rules.GREETING, "greeting")):
        match = pattern.search(before)
        if match and (what != "greeting" or view.text[end : end + 1] in (",", "!", ".", "", "\n", ":", "?", " ")):
            word = " ".join(match.group().split()).strip(" ,.!?:\"'>“(-")
            return (word or what), None
    if rules.SAYS.match(view.lower, end):
        return None, "says"
    if rules.VOCATIVE.match(view.lower, end) and _start_of_sentence(view, start):
        return None, "addressed"
    if match := rules.IDENTITY.search(before):
        return None, match.group().strip()
    if match := rules.AFTER.match(view.lower, end):
        return None, match.group().strip(' ,"\\')
    return None, None


def _judge(view: View, name: _Name) -> Iterator[Candidate]:
    run = name.words
    core = [(word, kind) for word, kind in run if kind.folded not in rules.PARTICLES or word.text[0].isupper()]
    start, end = run[0][0].start, run[-1][0].end
    if not core or (len(core) == 1 and len(core[0][0].text) < 2):
        return
    intro, support = _cue(view, start, end)
    whole = " ".join(kind.folded for _, kind in run)
    if name.title and name.title not in rules.WEAK_TITLES:
        score = 0.95 if not all(kind.common for _, kind in core) else 0.3
        yield Candidate(start, end, "PERSON", score, explain("capitalised", name.title, before="title"))
        return
    if _organisation(view, run):
        return
    if len(run) > 1 and run[-1][1].folded in rules.STREETS:
        yield Candidate(start, end, "PERSON", LIKE_A_STREET, "name of a street")
        return
    if (
        whole in names("places")
        and not intro
        and not (support and core[0][1].given and "from" not in support and support not in ("to", "in"))
    ):
        return
    first = core[0][1]
    if len(core) == 1 and not intro and not name.title:
        way = (rules.DIRECTION if first.given else rules.WHERE).search(view.lower, max(0, start - 16), start)
        if way:
            why = explain("family name", way.group().split()[0], before=BUT)
            yield Candidate(start, end, "PERSON", LIKE_A_STREET, why)
            return
    score, why = _pair(view, core, start) if len(core) > 1 else _single(view, core[0], start)
    if intro and not any(kind.common for _, kind in core):
        score = max(score, 0.9 if not first.word or len(core) > 1 else 0.8)
        why = why if score < 0.8 else why or "capitalised"
    elif name.title:
        score = max(score, 0.8)
    elif support in ("says", "addressed"):
        known = any(kind.given or kind.family or kind.ending for _, kind in core)
        odd = rules.ORDINARY.search(core[-1][1].folded) or rules.CHATTER.fullmatch(first.folded)
        if not any(kind.common for _, kind in core) and (known or not odd) and core[0][0].text[1:2].islower():
            score = max(score, 0.7 if not first.word or first.given else 0.3)
    elif support and score >= 0.45 and not (first.rare and len(core) == 1 and not first.given):
        score = min(0.95, score + (0.05 if support in ("to", "from", "for") else 0.15))
    elif not support and not intro and rules.STREET.search(view.lower, max(0, start - 24), start):
        score, why = min(score, LIKE_A_STREET), "name of a street"
    if score < 0.75 and not any(kind.word or kind.common for _, kind in core) and not intro:
        beside = human_context(view, start, end)
        listed = any(kind.given or kind.family or kind.ending for _, kind in core)
        least = score if listed or not rules.ORDINARY.search(core[-1][1].folded) else 0.7
        if beside and beside[0] > least and not (len(core) == 1 and rules.CHATTER.fullmatch(first.folded)):
            score, why, support = beside[0], "capitalised", beside[1]
    alone = len(core) == 1 and first.given
    if not intro and not name.title and not alone and _numbered(view, end) and score < 0.95:
        score, why = min(score, LIKE_A_STREET), "name before a house number"
    if score > 0.1:
        cue = intro or (support if score > 0.25 else None) or name.title
        yield Candidate(start, end, "PERSON", round(score, 2), explain(why, cue))


def _pair(view: View, core: Sequence[tuple[Word, rules.Kind]], start: int) -> tuple[float, str]:
    first, last = core[0][1], core[-1][1]
    lastly = last.family or last.ending
    if first.given and lastly:
        both = first.word and last.word
        return (0.7 if both and _start_of_sentence(view, start) else 0.8 if both else 0.95), "given and family name"
    if last.given and (first.family or first.ending):
        return (0.6 if last.word else 0.85), "family and given name"
    if first.given and last.given:
        return (0.55 if first.word and last.word else 0.85), "two given names"
    if first.given and not last.common:
        if last.word or (last.folded in names("places")):
            return (0.3 if first.word else 0.7), "given name, then a word"
        return (0.62 if first.word else 0.85), "given name, capitalised word"
    if len(core[0][0].text) == 1 and lastly:
        return 0.8, "initial and family name"
    if lastly and not first.common and not first.word:
        return (0.72 if last.ending or not last.word else 0.45), "capitalised word, family name"
    if any(kind.given and not kind.word for _, kind in core):
        return 0.65, "given name among capitalised words"
    return (0.3 if not first.common and not last.common else 0.1), "capitalised words"


def _single(view: View, entry: tuple[Word, rules.Kind], start: int) -> tuple[float, str]:
    kind = entry[1]
    begins = _start_of_sentence(view, start)
    if kind.given:
        if kind.word:
            return (0.35 if begins else 0.5), "given name that is also a word"
        return 0.78, "given name"
    if kind.ending:
        return (0.6 if begins else 0.66), "ending of a family name"
    if kind.family:
        if kind.word:
            return (0.2 if begins else 0.42), "family name that is also a word"
        if kind.rare:
            return (0.45 if begins else 0.5), "family name, rare"
        return (0.6 if begins else 0.64), "family name"
    if not rules.ENGLISH.fullmatch(entry[0].text):
        return (0.4 if begins else 0.5), "letters of no English word"
    return (0.15 if begins else 0.3), "capitalised word"


def _small(view: View, words: Sequence[Word], quiet: bool, shouting: bool) -> Iterator[Candidate]:
    """Yield names in lower case, or in a text of capitals: strict, since most such words are not names."""
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        if not (word.text.islower() or shouting or (quiet and word.text.isupper())):
            continue
        kind = rules.kind_of(word.text.lower())
        if kind.folded in names("small_words"):
            kind = kind._replace(word=True)
        if kind.common and not kind.given:
            continue
        end, taken, families = word.end, 1, 0
        after_name = index
        while after_name < len(words) and taken < 4:
            other = words[after_name]
            if view.text[end : other.start] not in (" ", "  ") or not (other.text.islower() or shouting):
                break
            after = rules.kind_of(other.text.lower())
            particle = (
                after.folded in rules.PARTICLES
                and after_name + 1 < len(words)
                and rules.kind_of(words[after_name + 1].text.lower()).family
            )
            odd = not after.family and not after.common and not after.word and not other.text.isascii()
            if not (
                particle
                or odd
                or ((after.family or after.ending) and not (after.word and len(after.folded) < 5) and not after.common)
            ):
                break
            taken += 1
            families += not particle
            end = other.end
            after_name += 1
        before = view.lower[max(0, word.start - 40) : word.start]
        intro = rules.INTRO.search(before) or rules.TITLE.search(before)
        cue = " ".join(intro.group().split()).strip(" :\"'(,") if intro else None
        titled = intro is not None and intro.re is rules.TITLE
        begin = word.start - len(before) + intro.start() if intro and titled else word.start
        if kind.given and families:
            score = 0.5 if kind.word else 0.8
            if cue:
                score = 0.9
            yield Candidate(begin, end, "PERSON", score, explain("given and family name, small letters", cue))
            index = after_name
        elif (
            cue
            and not kind.common
            and len(word.text) > 1
            and (quiet or not titled or kind.given or kind.family)
            and not (kind.word and not kind.given)
        ):
            score = 0.85 if kind.given or kind.family or kind.ending else 0.62
            yield Candidate(begin, end, "PERSON", score, explain("word, small letters", cue))
        elif kind.given and not kind.word and len(word.text) > 3:
            hello = rules.GREETING.search(before)
            score = 0.8 if hello else 0.64 if quiet else 0.5
            yield Candidate(
                word.start, word.end, "PERSON", score, explain("given name, small letters", hello and "greeting")
            )
        elif quiet and (kind.family or kind.ending or kind.given) and not kind.common and len(word.text) > 2:
            says = rules.SAYS.match(view.lower, word.end) and not kind.word
            if not kind.given and rules.WHERE.search(before):
                yield Candidate(
                    word.start,
                    word.end,
                    "PERSON",
                    LIKE_A_STREET,
                    explain("family name, small letters", "a place word", before=BUT),
                )
                continue
            score = 0.62 if says or (kind.ending and len(word.text) > 6) else 0.4 if not kind.word else 0.3
            yield Candidate(word.start, word.end, "PERSON", score, "name alone, small letters")
        elif kind.given and quiet and not kind.common and _POSSESSIVE.match(view.text, word.end):
            yield Candidate(word.start, word.end, "PERSON", 0.5, "given name that is also a word, possessive")


def _raised(view: View, candidates: list[Candidate]) -> list[Candidate]:
    """Return the candidates, with a higher score for those in a list with a name: `Ada, Kolwe and Ben`."""
    begins = {announced.end() for announced in _NAMES_INDEED.finditer(view.lower)}
    for index, one in enumerate(candidates):
        if one.start in begins and BUT not in one.why:
            candidates[index] = one._replace(score=max(one.score, 0.62), why=explain(one.why, "list of people"))
    for step in (-1, 1):
        for index in range(len(candidates))[::-step]:
            one = candidates[index]
            if not 0 <= index + step < len(candidates):
                continue
            other = candidates[index + step]
            gap = view.text[min(one.end, other.end) : max(one.start, other.start)]
            if not rules.LIST.fullmatch(gap):
                continue
            if BUT in other.why:
                if step < 0:
                    candidates[index] = one._replace(score=LIKE_A_STREET, why=other.why)
                continue
            sure = other.score >= SURE
            weak = one.score < SURE and BUT not in one.why and not _numbered(view, one.end)
            if weak and (sure or (one.score >= 0.4 and other.score >= 0.4)):
                score = min(0.75, one.score + (0.4 if sure else 0.2))
                score = max(score, 0.62) if sure and one.why in _UNKNOWN else score
                candidates[index] = Candidate(*one[:3], round(score, 2), explain(one.why, "list of names"))
    return candidates


_UNKNOWN = ("capitalised word", "letters of no English word")
_NAMES_INDEED = re.compile(
    r"\b(?:founders|owners|partners|friends|guests|passengers|travell?ers|colleagues|children|kids|sons|daughters|"
    r"brothers|sisters|authors|members|names|nurses|doctors|players|singers|winners|attendees|participants|"
    r"students|employees|applicants|patients)\s?(?::|,|are|were|named|called)\s{1,2}"
)
_HOUSE = re.compile(r" \d{1,5}[A-Za-z]?\b(?! (?:years?|times|days?|hours?|minutes|people|of|and|am|pm)\b)")


def _numbered(view: View, end: int) -> bool:
    """Return whether a house number follows: streets are named after people."""
    return _HOUSE.match(view.text, end) is not None


_POSSESSIVE = re.compile(r"['’][sS]\b")
RECOGNISER = Recogniser("person", frozenset({"PERSON"}), scan)
