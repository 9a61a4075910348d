"""Text tools that judges and matchers share: normalisation, sentences, items, language, repetition, disorder.

Standard library only. Every function takes any string, lone surrogates included, and none raises.
"""

from __future__ import annotations

import itertools
import operator
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_SAME = {
    **dict.fromkeys("‘’‚‛ʼʹ′‵´‹›＇", "'"),
    **dict.fromkeys("“”„‟«»″‶＂「」『』", '"'),
    **dict.fromkeys("‐‑‒–—―−﹣－", "-"),
    **dict.fromkeys("\u2028\u2029\x85\x0b\x0c", "\n"),
}
_ALIKE = re.compile(f"[{''.join(map(re.escape, _SAME))}]")
_ODD = re.compile(
    f"[{''.join(map(re.escape, _SAME))}\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\ufe00-\ufe0f\ufeff\ud800-\udfff]"
)
"""What stands for a plain character, what is invisible, and lone surrogates. A class is searched for several times
faster than every character is looked up."""


def _plain_character(match: re.Match[str]) -> str:
    char = match.group()
    return _SAME.get(char, "\ufffd" if "\ud800" <= char <= "\udfff" else "")


def normalise(text: str) -> str:
    """Return `text` in NFKC with plain quotes and dashes, and without invisible characters or lone surrogates.

    Full-width letters become plain ones, curly apostrophes become `'`, a lone surrogate becomes U+FFFD; letters keep
    their case and accents, line breaks stay (as `\\n`).
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.isascii():
        return text
    # Before NFKC, which would turn U+00B4 into a space and an accent.
    text = _ODD.sub(_plain_character, text)
    if text.isascii():
        return text
    return _ALIKE.sub(_plain_character, unicodedata.normalize("NFKC", text))


# ---------------------------------------------------------------------------------------------- sentences and words

# One class in front, so that the search skips to it.
# A run of marks is tried from its first only, or a megabyte of them would take the square of its length.
_BREAK = re.compile(
    r"[.!?…\n。！？](?:(?<=[.!?…])(?<![.!?…][.!?…])[.!?…]*+[\"')\]*_]*+\s+|(?<=\n)\s*|(?<=[。！？])[。！？]*)"
)
_NO_BREAK = re.compile(r"(?:^|[\s(])(?:mr|mrs|ms|dr|prof|st|e\.g|i\.e|vs|no|inc|u\.s|a\.m|p\.m|[a-z]|\d{1,3})\.$", re.I)


def sentence_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each sentence: cut after `.`, `!`, `?` and at line breaks, not after abbreviations or `1.`.

    Lazily, so that a reader who needs the opening only does not pay for the rest. White space at the ends is left in.
    """
    start = 0
    for mark in _BREAK.finditer(text):
        end = mark.end()
        if (
            mark.group()[0] == "."
            and "\n" not in mark.group()
            and _NO_BREAK.search(text[max(start, end - 9) : end].rstrip())
        ):
            continue
        if not text[start:end].isspace():
            yield start, end
        start = end
    if start < len(text) and not text[start:].isspace():
        yield start, len(text)


def sentences(text: str) -> list[str]:
    """Return the sentences of `text` without white space around them (see `sentence_spans`)."""
    return [text[start:end].strip() for start, end in sentence_spans(text)]


_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*|\d+")


def words(text: str) -> list[str]:
    """Return the words and numbers of `text` in lower case, in order, without punctuation."""
    return _WORD.findall(text.lower())


# ---------------------------------------------------------------------------------------------- items in a text

LONGEST_IN_ONE_PIECE = 4
"""Words up to which a value must stand in one piece; a longer one counts by the share of its words."""
VALUE_SHARE = 0.8
"""Share of a longer value's content words that must stand in the text."""
FACT_SHARE = 0.5
"""Share of a fact's content words that must stand in the text."""
_THOUSANDS = re.compile(r"(?<=\d)[,\u202f\u00a0](?=\d{3}(?!\d))")
_PLAIN_WORDS = """
a an and any are as at be been being but by can did do does for from had has have he her hers him his i in into is
it its me my no nor not of off on or our out she so some such than that the their them then there these they this
those to too was we were what when where which while who whom why will with would you your about after also and
because before both during each how if including more most other over own same should since through under until up
very
"""
_PLAIN = frozenset(_PLAIN_WORDS.split())


def words_of(text: str) -> list[str]:
    """Return a text's words in lower case, numbers without separators of thousands, for `shares`."""
    return [word.removesuffix("'s") for word in words(_THOUSANDS.sub("", normalise(text)))]


def shares(words: Sequence[str], item: Mapping[str, Any], known: Collection[str] = ()) -> bool:
    """Tell whether a text holds an item.

    A value counts by whole words, in one piece up to four words, else by four fifths of its content words; a fact by
    half of the content words that are not known already.

    Args:
        words: The text's words, as `words_of` returns them.
        item: Either `value` (text or number, or a list of alternatives), or `fact` (a sentence).
        known: Words that say nothing, since the request holds them; they do not count for a fact.
    """
    if "fact" in item:
        return _share(words, _content(words_of(str(item["fact"])), known)) >= FACT_SHARE
    values = item["value"] if isinstance(item["value"], list) else [item["value"]]
    return any(_holds(words, words_of(str(value))) for value in values)


def shared_words(text: str, of: str) -> float:
    """Return the share of the content words of `of` that stand in `text`, endings aside; 0 where it has none."""
    return _share(words_of(text), _content(words_of(of), ()))


def _holds(words: Sequence[str], value: Sequence[str]) -> bool:
    if not value:
        return False
    if f" {' '.join(value)} " in f" {' '.join(words)} ":
        return True
    content = _content(value, ())
    return len(value) > LONGEST_IN_ONE_PIECE and len(content) > 2 and _share(words, content) >= VALUE_SHARE


def _content(words: Sequence[str], known: Collection[str]) -> list[str]:
    """Return the stems of the words that carry something; all of them where `known` would leave fewer than two."""
    kept = list(
        dict.fromkeys(_stem(word) for word in words if word not in _PLAIN and (len(word) > 2 or word.isdigit()))
    )
    rest = [word for word in kept if word not in {_stem(word) for word in known}]
    return rest if len(rest) >= 2 else kept


def _stem(word: str) -> str:
    for ending in ("ing", "ed", "es", "s", "ly"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)]
    return word


def _share(words: Sequence[str], content: Sequence[str]) -> float:
    if not content:
        return 0.0
    there = {_stem(word) for word in words}
    return sum(word in there for word in content) / len(content)


# ---------------------------------------------------------------------------------------------- script and language


@lru_cache(maxsize=8192)
def script_of(char: str) -> str:
    """Return the script of a letter as Unicode names it (`LATIN`, `CYRILLIC`, `CJK`, ...), or an empty string."""
    if not char.isalpha():
        return ""
    if char.isascii():
        return "LATIN"
    return unicodedata.name(char, "").partition(" ")[0]


_NO_LETTERS = re.compile(r"[^A-Za-z]+")


def scripts(text: str, limit: int = 4000) -> Counter[str]:
    """Return how many of the first `limit` characters are letters of each script."""
    text = text[:limit]
    if text.isascii():
        letters = len(_NO_LETTERS.sub("", text))
        return Counter({"LATIN": letters} if letters else {})
    return Counter(name for char in text if (name := script_of(char)))


_COMMON = {
    "en": "the of and to is in that it you i for not are this with be have can as on your was but my do or an if at",
    "de": "der die das und ist nicht ich sie es ein eine zu mit den dem auf für von wir kann aber wie auch dass bei",
    "fr": "le la les des et est je ne pas vous une un que pour dans il en ce sur avec mais du au qui nous peux cette",
    "es": "el la los las y es no que de en un una por con para lo se su como pero puedo esto esta del al más te está",
    "it": "il la che di non è un una per con sono ma come lo gli le si del della questo posso mi ti ho alla anche",
    "pt": "o a os as e não que de em um uma por com para se eu mas como posso isso da do na no você é mais ao",
    "nl": "de het een en is niet ik je van dat op te voor met zijn maar kan dit er aan ook als bij wij om",
}
_LISTS = {name: frozenset(line.split()) for name, line in _COMMON.items()}
LEAST_WORDS = 5
"""The language of a shorter text cannot be told."""


def language(text: str) -> str | None:
    """Guess the language of a text in Latin script from its most common words: en, de, fr, es, it, pt, nl.

    Returns None where it cannot be told: fewer than five words, another script, or two languages about equal.
    """
    opening = words(text[:500])
    if len(opening) < LEAST_WORDS:
        return None
    if len(list(filter(_LISTS["en"].__contains__, opening))) >= 0.3 * len(opening):
        return "en"  # no other of the languages comes near this
    counts = {name: len(list(filter(known.__contains__, opening))) for name, known in _LISTS.items()}
    (best, most), (_, second) = sorted(counts.items(), key=lambda pair: -pair[1])[:2]
    return best if most >= max(2, 0.12 * len(opening)) and most >= 1.3 * second else None


# ---------------------------------------------------------------------------------------------- repetition


@dataclass(frozen=True, slots=True)
class Loop:
    """A unit that a sequence repeats up to its end, the last round perhaps cut."""

    period: int
    """Length of the unit, in elements."""
    length: int
    """Elements from the first round's start to the end."""

    @property
    def times(self) -> float:
        """Rounds, the cut one as its fraction."""
        return self.length / self.period


def loop(sequence: Sequence[str], longest: int = 60) -> Loop | None:
    """Return the loop that the sequence (words, or a string's characters) ends in, or None.

    Of all periods up to `longest` the one that covers most is taken, the shortest of equals; two full rounds at least.
    """
    best: Loop | None = None
    size = len(sequence)
    for period in range(1, min(longest, size // 2) + 1):
        if best is not None and best.length + period >= size:
            break  # nothing is left that a longer period could cover more of
        index = size - 1
        while index >= period and sequence[index] == sequence[index - period]:
            index -= 1
        length = size - 1 - index + period
        if length >= 2 * period and (best is None or length > best.length + period):
            best = Loop(period, length)
    return best


def repeated_share(words: Sequence[str], n: int = 4) -> float:
    """Return the share of a list of words' `n`-grams that have occurred before in it; 0 where there are none."""
    total = len(words) - n + 1
    return 1 - len(set(zip(*(words[i:] for i in range(n)), strict=False))) / total if total > 0 else 0.0


# ---------------------------------------------------------------------------------------------- disorder (English)

_DET = "a an the my your our their its every"
_BE = "is are was were am"
_MODAL = "could would should must cannot"
_FINITE = f"{_BE} has had does did {_MODAL}"
_NEVER: tuple[tuple[str, str], ...] = (
    (_DET, f"{_DET} {_FINITE} of to at for with from into and or but because if than be been"),
    (_DET, "i he she we they me us them"),
    ("i he she we they", "a an my your our their of me us them"),
    ("i", "is are were has does"),
    ("he she", "are were am have do"),
    ("we they", "is was am has does"),
    ("of", f"{_FINITE} of to for at by with and or but because be have i he she we they"),
    ("into", f"{_FINITE} of to for at by with and or but because be have i he she we they into"),
    ("from", "of to for with and or but because be have am i he we they from could would should"),
    ("with", "of to by with and or but because be have am i he we they from could would should"),
    ("to", "to of am does did could would should cannot and or but because i he she we they"),
    ("at", "of to by with and or but because be have am i he she we they at from could would should"),
    ("for", "of to by and but because be have am i for could would should"),
    (_BE, f"{_BE} has had have does do did could would should must cannot of be me us"),
    ("has have had", "is are am was were does did do could would should cannot has of and"),
    ("does did do", "is are am was were has had could would should cannot does of and"),
    (_MODAL + " will can", "is are am was were has had does did could would should cannot of and or"),
    ("cannot", "the a an my your our their to with for from at in"),
    ("not", "is are am was were does did of could would should"),
    ("and", "or of and"),
    ("or", "and of or"),
    ("but", "and or of but"),
    ("because", "and or but because"),
    ("if", "and or but of is are was were"),
    ("very", f"{_DET} {_FINITE} of to with from into and or but if"),
    ("me us them", "am were a an"),
)  # fmt: skip


def _set(line: str) -> frozenset[str]:
    return frozenset(line.split())


IMPOSSIBLE = frozenset((a, b) for left, right in _NEVER for a in left.split() for b in right.split())
"""Pairs of words that English never has side by side."""
_NO_END = _set("a an the my your our their every and or but because if very cannot would could should is am")
_TOKEN = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*|\d+|[^\w\s]|\n")
_MAY_DOUBLE = _set("had that very so no bye ha is it really many la blah yes")
_STARTS = _set("The It However If This These Is Are And But You Your We They He She To As It's Can Do")
_STARTS_OR_ENDS = _STARTS | set(".!?")
DISORDER = 0.02
"""Share of word pairs that English never has above which a text counts as disordered."""


def disorder(text: str) -> tuple[int, int]:
    """Return (neighbouring words that English grammar never puts side by side, all neighbouring words).

    A closed table of function words (`the of`, `a is`, `cannot with`), words repeated at once, sentences that end in
    `the` or `and`, and sentence starts (`However`, `It`) straight after a word in lower case: a shuffled English text
    has many, a text that somebody wrote hardly any. It is blind to texts without function words and to other languages.
    """
    tokens = _TOKEN.findall(text.replace("can't", "cannot").replace("can not", "cannot"))
    lower = " ".join(tokens).lower().split(" ")
    is_word = [token[0].isalnum() for token in tokens]
    pairs = sum(map(operator.and_, is_word, is_word[1:]))
    neighbours = list(itertools.pairwise(lower))
    bad: set[int] = set()
    if not IMPOSSIBLE.isdisjoint(neighbours):
        bad.update(k for k, pair in enumerate(neighbours, 1) if pair in IMPOSSIBLE)  # marks stand in no such pair
    if any(map(operator.eq, lower, lower[1:])):
        for k, (last, word) in enumerate(neighbours, 1):
            if last == word and word.isalpha() and word not in _MAY_DOUBLE and lower[k - 2 : k - 1] != [word]:
                bad.add(k)
    for k in [k for k, token in enumerate(tokens) if token in _STARTS_OR_ENDS and k]:
        if tokens[k] in _STARTS:
            if is_word[k - 1] and tokens[k - 1].islower():
                bad.add(k)
        elif lower[k - 1] in _NO_END:
            bad.add(k)
    return len(bad), pairs


def disordered(text: str) -> bool:
    """Tell whether an English text is word salad: two impossible pairs or more, and a share above `DISORDER`."""
    bad, pairs = disorder(text)
    return bad >= 2 and bad >= DISORDER * pairs


def excerpt(text: str, length: int = 80) -> str:
    """Return the start of `text` on one line, printable characters only, at most `length` of them."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text[: 4 * length]).split())
    return line if len(line) <= length else line[: length - 1] + "…"
