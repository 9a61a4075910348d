"""The parts of a text that are not English: there a capital is no sign of a name, so none is looked for by it.

German writes every noun with a capital, and our name lists hold words of other languages (`Domingo`, `Natale`,
`Keller`). Common words tell the larger languages of Europe apart where a text has some; for the rest py3langid, a
classifier of 139 languages whose model comes in its package, is asked. What is too short for both is taken for what the
text around it is.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from importlib import resources
from typing import Any, NamedTuple

from aftertune.data.encoded import without_encoded
from aftertune.pii.word_lists import fold, names
from aftertune.pii.word_lists import words as word_set
from aftertune.text import LEAST_WORDS, script_of, sentence_spans

NAMES: Mapping[str, str] = {
    "af": "Afrikaans", "ar": "Arabic", "be": "Belarusian", "bg": "Bulgarian", "bn": "Bengali", "bs": "Bosnian",
    "ca": "Catalan", "cs": "Czech", "cy": "Welsh", "da": "Danish", "de": "German", "el": "Greek", "es": "Spanish",
    "et": "Estonian", "eu": "Basque", "fa": "Persian", "fi": "Finnish", "fr": "French", "ga": "Irish",
    "gl": "Galician", "gu": "Gujarati", "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian",
    "hy": "Armenian", "id": "Indonesian", "is": "Icelandic", "it": "Italian", "ja": "Japanese", "ka": "Georgian",
    "kn": "Kannada", "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian", "mk": "Macedonian", "ml": "Malayalam",
    "mr": "Marathi", "ms": "Malay", "nb": "Norwegian", "nl": "Dutch", "nn": "Norwegian", "no": "Norwegian",
    "pa": "Punjabi", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak",
    "sl": "Slovenian", "sq": "Albanian", "sr": "Serbian", "sv": "Swedish", "sw": "Swahili", "ta": "Tamil",
    "te": "Telugu", "th": "Thai", "tl": "Tagalog", "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu",
    "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
"""Code -> name; a language without an entry, and one that is not sure, is `UNKNOWN`."""
UNKNOWN = "other"
"""Stands for a language that is not English and cannot be named."""
_SCRIPTS = {
    "CJK": "zh",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "HANGUL": "ko",
    "GREEK": "el",
    "HEBREW": "he",
    "THAI": "th",
}
"""Scripts that mean one language in most texts."""


_BORROWED = word_set(
    "no me a i an in is as so do to on or man hat war will of die also was be am one he had over en per via versus "
    "status problem service team ticket support mail ok okay oke pm ip app online email sms wifi rue rua praca "
    "travessa avenida piazza corso viale calle plaza paseo strasse straat suite"
)
"""Words of several languages, English among them, and the streets of addresses in English texts."""


def _lists() -> tuple[frozenset[str], dict[str, tuple[str, ...]]]:
    """Return (common words of English, common word of other languages -> their codes), folded."""
    words: dict[str, list[str]] = {}
    code_words: list[str] = []
    for line in (resources.files("aftertune.pii") / "data" / "common_by_language.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            words[line.strip("[]")] = code_words = []
        elif not line.startswith("#"):
            code_words += map(fold, line.split())
    own = frozenset(words.pop("en")) - _BORROWED
    known: dict[str, tuple[str, ...]] = {}
    for code, listed in words.items():
        for word in dict.fromkeys(listed):
            if word not in own and word not in _BORROWED and (len(word) > 1 or word in ("y", "e")):
                known[word] = (*known.get(word, ()), code)
    return own | (names("common") - known.keys() - _BORROWED), known


_IN_ENGLISH, _ELSEWHERE = _lists()
_PARTICLES = word_set(
    "de la le les du des van von der den di da do dos das del della el al y e zu ter ten bin um los las"
)
"""Parts of names in English texts too: alone they say nothing of the language."""
SURE = 0.5
"""Probability from which the classifier names the language of a text."""
SURE_OF_FEW = 0.6
"""The same for two to four words."""
SURE_OTHERWISE = 0.8
"""Probability from which it gives a sentence another language than the text has."""
LIKELY = 0.3
"""Probability from which it may say of a text that it is not English, without naming the language."""

FEW = 3
"""Words of a language from which on the classifier need not be asked which one it is."""

LONGEST = 4_000
"""Characters of a text, and of each sentence, that are read for its language."""
SHORT = 4_000
"""Characters of a text whose parts are remembered: the recogniser asks for them, and whoever counts languages."""
PLAIN = 0.25
"""Share of common English words from which a text without a common word of another language is English throughout."""

_MARKED = re.compile(r"[@/\\<>=_#\d]|\w\.\w")
"""What addresses, codes and numbers have and words have not."""
_WORD = re.compile(r"[^\W\d_]+(?:['’\-][^\W\d_]+)*")


class Part(NamedTuple):
    """A stretch of a text, `text[start:end]`, in one language that is not English."""

    start: int
    end: int
    language: str
    """A code of `NAMES`, or `UNKNOWN`."""


def foreign_parts(text: str) -> tuple[Part, ...]:
    """Return the parts of `text` that are not English, in order; neighbouring sentences in one language are one."""
    return _recent(text) if len(text) <= SHORT else _parts(text)


def _parts(text: str) -> tuple[Part, ...]:
    if not text or text.isspace():
        return ()
    evidence = _evidence(text)
    if (
        len(text) <= LONGEST
        and text.isascii()
        and not evidence.foreign
        and evidence.english > PLAIN * len(evidence.entries)
    ):
        return ()
    whole = _whole(text, evidence)
    spans = list(sentence_spans(text))
    parts: list[Part] = []
    for start, end in spans:
        language = whole if len(spans) == 1 else _sentence(text[start:end], whole)
        if language == "en":
            continue
        if parts and parts[-1].language == language and not text[parts[-1].end : start].strip():
            parts[-1] = Part(parts[-1].start, end, language)
        else:
            parts.append(Part(start, end, language))
    return tuple(parts)


_recent = lru_cache(maxsize=1 << 12)(_parts)


def forget() -> None:
    """Forget recent texts and words: the lists of names have changed."""
    _recent.cache_clear()
    _word.cache_clear()


def language_of(text: str) -> str | None:
    """Return the English name of the language of a text that is not English, or of most of what is not English in it.

    `other` for a language that cannot be named, None for a text that is English throughout.
    """
    sizes: Counter[str] = Counter()
    for part in foreign_parts(without_encoded(text)):
        sizes[part.language] += part.end - part.start
    return NAMES.get(sizes.most_common(1)[0][0], UNKNOWN) if sizes else None


def outside(counts: Mapping[str, int], model: str | None = None) -> str:
    """Return what says where no names were looked for, from the number of texts by `language_of`; empty for none.

    With a named-entity model beside the recognisers, it says that only that model looked.
    """
    texts = []
    for language, count in sorted(counts.items(), key=_order):
        word = "text" if count == 1 else "texts"
        if count:
            texts.append(
                f"{count:,} {word} in other languages" if language == UNKNOWN else f"{count:,} {language} {word}"
            )
    if not texts:
        return ""
    listed = texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
    if model is not None:
        return f"only the model {model} looked for names by their position in {listed}"
    return f"names were not looked for in {listed}"


EXCEPT = (
    "in texts that are not English only full names on our lists count, and listed names after a title or introduction"
)
"""What is nevertheless found where `outside` says that names were not looked for."""


def _order(item: tuple[str, int]) -> tuple[bool, int, str]:
    return item[0] == UNKNOWN, -item[1], item[0]


def is_common(folded: str) -> bool:
    """Return whether a folded word is a common one of a language that is not English."""
    return folded in _ELSEWHERE


class _Evidence(NamedTuple):
    """What speaks for a language in a stretch of text."""

    entries: Sequence[str]
    """Words that may tell it."""
    capital: int
    """How many of them have a capital."""
    english: int
    """Common English words among them."""
    foreign: int
    """Common words of other languages among them."""

    @property
    def says(self) -> bool | None:
        """Whether the common words are English; None where they do not tell."""
        if self.english > self.foreign or (
            self.english == self.foreign and self.english >= 0.3 * len(self.entries) > 0
        ):
            return True
        one_of_many = self.foreign == 1 and self.capital == len(self.entries) > 3  # `São Paulo` among lines of names
        clear = any(word in _ELSEWHERE and word not in _PARTICLES for word in self.entries) and not one_of_many
        clear = clear and self.foreign > self.english
        return False if clear else None


def _whole(text: str, evidence: _Evidence) -> str:
    """Return the code of the language of a text on its own; `en` where nothing speaks against it."""
    if script := _script(text):
        return script
    if evidence.says is not None:
        return "en" if evidence.says else _which(text, evidence.entries)
    count = len(evidence.entries)
    if count < 2 or evidence.capital == count:
        return "en"  # one word, or nothing but capitals, may be a name in any language
    language, probability = _classify(text)
    if probability >= (SURE if count >= LEAST_WORDS else SURE_OF_FEW):
        return language
    if evidence.foreign > evidence.english:
        return _which(text, evidence.entries)
    return UNKNOWN if language != "en" and probability >= LIKELY and count >= LEAST_WORDS else "en"


def _sentence(text: str, whole: str) -> str:
    """Return the code of the language of a sentence: that of the whole text unless more than a word says otherwise."""
    if script := _script(text):
        return script
    evidence = _evidence(text)
    if max(evidence.english, evidence.foreign) > 1 and evidence.says is not None:
        return "en" if evidence.says else _which(text, evidence.entries)
    if len(evidence.entries) >= LEAST_WORDS and evidence.capital < len(evidence.entries):
        language, probability = _classify(text)
        if probability >= SURE_OTHERWISE:
            return language
    return whole


def _which(text: str, entries: Sequence[str]) -> str:
    """Return the code of the language, not English, that the common words among `entries` belong to."""
    counts: Counter[str] = Counter()
    for word in entries:
        counts.update(_ELSEWHERE.get(word, ()))
    most = max(counts.values(), default=0)
    if most < FEW or most < 0.2 * len(entries):  # a language without a list shares some words with one that has
        language, probability = _classify(text)
        if probability >= SURE and language not in ("en", UNKNOWN):
            return language
    best = [code for code, count in counts.items() if count == most]
    if len(best) == 1:
        return best[0]
    ranked = [code for code, _ in _classifier().rank(text)]
    return min(best, key=lambda code: (ranked.index(code) if code in ranked else len(ranked), code))


def _classify(text: str) -> tuple[str, float]:
    """Return (code, probability) by the classifier; `UNKNOWN` for a language without a name here."""
    language, probability = _classifier().classify(text)
    return (language if language == "en" or language in NAMES else UNKNOWN), float(probability)


def _script(text: str) -> str | None:
    """Return the language of a text that is mostly in another script than Latin, else None."""
    if text.isascii():
        return None
    letters = Counter(script for char in unicodedata.normalize("NFKC", text[:LONGEST]) if (script := script_of(char)))
    if not letters or letters["LATIN"] > 0.5 * letters.total():
        return None
    if letters["HIRAGANA"] + letters["KATAKANA"]:
        return "ja"
    script = letters.most_common(1)[0][0]
    if script in _SCRIPTS:
        return _SCRIPTS[script]
    language, probability = _classify(text)
    return language if probability >= SURE and language != "en" else UNKNOWN


class _Word(NamedTuple):
    """What is known of one word."""

    folded: str
    english: bool
    foreign: bool
    name: bool
    """Whether a list of names or places holds it, or each part of a double name."""
    particle: bool


@lru_cache(maxsize=1 << 16)
def _word(text: str) -> _Word:
    folded = fold(text).replace("’", "'")
    name = all(any(part in names(file) for file in _NAME_LISTS) for part in folded.split("-"))
    return _Word(folded, folded in _IN_ENGLISH, folded in _ELSEWHERE, name, folded in _PARTICLES)


_NAME_LISTS = ("given", "surnames", "census_first", "places")


def _evidence(text: str) -> _Evidence:
    """Return what the words of `text` say that are not names."""
    found = _WORD.findall(" ".join(piece for piece in text[:LONGEST].split() if not _MARKED.search(piece)))
    words = list(map(_word, found))
    shouting = text.isupper()
    upper = [not shouting and word[0].isupper() for word in found]
    name = [word.name and not word.foreign and not word.english for word in words]
    entries: list[str] = []
    capital = english = foreign = 0
    for index, word in enumerate(words):
        if name[index] or (word.name and (any(name[index - 1 : index]) or any(name[index + 1 : index + 2]))):
            continue  # `Mai` in `Mai Asano` is no month; `Ben` alone, below, is no Dutch
        if word.particle:
            after = index + 1
            while after < len(words) and words[after].particle and after < index + 3:
                after += 1
            beside = after < len(words) and (name[after] or upper[after])
            if (beside and not upper[index]) or any(name[index - 1 : index]):
                continue
        entries.append(word.folded)
        capital += upper[index]
        english += word.english
        foreign += word.foreign and not (word.name and (upper[index] or len(words) < LEAST_WORDS))
    return _Evidence(entries, capital, english, foreign)


@cache
def _classifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
