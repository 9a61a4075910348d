"""Names in texts that are not English: names on our lists only, and only where more than a capital speaks for them.

That is a given name with a family name after it, a name after a title (which is no part of it here), and a name after
words that introduce one. In German every noun has a capital, and each language has names that are its words (`Domingo`,
`Natale`, `Sommer`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from aftertune.pii import name_words as rules
from aftertune.pii.languages import is_common
from aftertune.pii.recogniser import Candidate, View, Word, explain
from aftertune.pii.word_lists import names
from aftertune.pii.word_lists import words as word_set

_TITLE = re.compile(
    r"(?<!\w)(?:(?:sehr geehrter?|lieber?|frau|herrn?|fr\.|hr\.|familie|fam\.|dr\.|prof\.|madame|mme|monsieur|m\.|"
    r"mlle|mademoiselle|maître|docteur|señora?|sra?\.|srta\.|don|doña|doctora?|signora?|sig\.|sig\.ra|dott\.|dott\.ssa|"
    r"dottor|dottoressa|mevrouw|mevr\.|mw\.|meneer|dhr\.|dokter|doktor|professor(?:in)?|senhora?|dona|"
    r"doutora?) {1,2})+$"
)
_ROLES = word_set("""
ober wirt richter lehrer lehrerin doktor professor professorin pfarrer pastor direktor direktorin prasident kollege
kollegin nachbar nachbarin minister kommissar burgermeister kapitan meister chef chefin director directora presidente
alcalde juez cura ministra ministro sindaco giudice maestra maestro directeur president maire pastoor burgemeester
doutor doutora prefeito padre engenheiro engenheira avvocato ingegnere dottore doctor doctora mutter vater kunde kundin
gast
""")
"""Words after a title that are nobody's name there."""
_CALLED = re.compile(
    r"\b(?:mein name ist|ich hei(?:ss|ß)e|(?:je )?m'appelle|mon nom c'est|mon nom est|me llamo|mi nombre es|"
    r"me apellido|mi chiamo|il mio nome è|mijn naam is|ik heet|(?:o )?meu nome é|chamo-me|me chamo) {1,2}$"
)
"""Words after which the speaker's own name stands: with a capital it counts even where no list has it."""
_NAMED = re.compile(
    r"\b(?:auf den namen|(?:(?:vor|nach|familien)?name|(?:pré)?nom|nombre|apellidos?|(?:cog)?nome|(?:voor|achter)?naam|"
    r"patient(?:in|e)?|paciente|paziente|patiënt|kunde|kundin|cliente?|klant|signé|firmado|firmato|getekend|"
    r"assinado) ?:) {1,2}$"
)
"""Words after which a name on a list counts, whatever its case."""
_PRESENTED = re.compile(
    r"\b(?:(?:ich bin|hier (?:ist|spricht))(?: (?:die|der))?|hier|je suis|c'est|au nom de|soy|a nombre de|"
    r"sono|a nome(?: di)?|ik ben|met|op naam van|sou(?: [ao])?|aqui é(?: [ao])?|em nome de) {1,2}$"
)
"""Words after which a full name counts in small letters."""
_WIDTH = 40


def listed_names(view: View, words: Sequence[Word]) -> Iterator[Candidate]:
    """Yield the names among `words`, those of `view.text` that stand in another language than English."""
    kinds = [rules.kind_of(word.text) for word in words]
    index = 0
    while index < len(words):
        word, kind = words[index], kinds[index]
        before = view.lower[max(0, word.start - _WIDTH) : word.start]
        called, named, title = _CALLED.search(before), _NAMED.search(before), _TITLE.search(before)
        cue = called or named or title
        end = _full(view, words, kinds, index, bool(called or named or _PRESENTED.search(before)))
        if end is not None:
            if not rules.STREET.search(before):
                why = explain("given and family name, not English", cue and _clean(cue))
                yield Candidate(word.start, words[end].end, "PERSON", 0.9, why)
            index = end + 1
            continue
        index += 1
        if cue is None or len(kind.folded) < 3 or kind.folded in _ROLES:
            continue
        capital = word.text[0].isupper()
        if _is_name(kind) and (capital or cue is not title):
            end = word.end
            if called and capital and kind.given and index < len(words) and _is_unlisted(view, word, words[index]):
                end = words[index].end  # `mein Name ist Jörg Kestwald`
                index += 1
            yield Candidate(word.start, end, "PERSON", 0.85, explain("name on a list, not English", _clean(cue)))
        elif called and capital and not kind.common and not is_common(kind.folded):
            yield Candidate(word.start, word.end, "PERSON", 0.8, explain("capitalised, not English", _clean(called)))


def _clean(cue: re.Match[str]) -> str:
    return " ".join(cue.group().split()).strip(" :")


def _is_name(kind: rules.Kind) -> bool:
    """Return whether a word alone is a name on a list, and no common word of another language."""
    return (
        (kind.given or (kind.family and not kind.rare) or kind.ending)
        and not kind.common
        and not is_common(kind.folded)
    )


def _is_unlisted(view: View, given: Word, word: Word) -> bool:
    """Return whether a word after somebody's given name is a family name that no list has."""
    kind = rules.kind_of(word.text)
    return (
        view.text[given.end : word.start] == " "
        and word.text[0].isupper()
        and not word.text.isupper()
        and len(word.text) > 2
        and not kind.common
        and not kind.word
        and not is_common(kind.folded)
    )


def _full(view: View, words: Sequence[Word], kinds: Sequence[rules.Kind], first: int, presented: bool) -> int | None:
    """Return the index of the last word of the full name that begins at `first`, or None.

    A given name, perhaps more of them, perhaps particles, then a family name; all with a capital, or all in capitals,
    or, after words that present a person, in small letters.
    """
    head = words[first].text
    if not kinds[first].given or kinds[first].common or is_common(kinds[first].folded) or len(head) < 2:
        return None
    capital, shouting = head[0].isupper(), head.isupper()
    if not capital and not presented:
        return None
    for last in range(first + 1, min(first + 5, len(words))):
        if view.text[words[last - 1].end : words[last].start] not in (" ", "  ", "\u00a0"):
            return None
        kind, text = kinds[last], words[last].text
        particle = kind.folded in rules.PARTICLES
        if not particle and (text[0].isupper() != capital or (shouting and not text.isupper())):
            return None
        strict = kind.word and (kinds[first].word or shouting or not capital)
        after = last > first + 1 and kinds[last - 1].folded in rules.PARTICLES  # `van der Meer`, `De Luca`
        listed = (kind.family and not kind.rare) or kind.ending or (after and kind.given)
        common = is_common(kind.folded) and not after
        if listed and not strict and not common and len(text) > 2 and not particle:
            if " ".join(one.folded for one in kinds[first : last + 1]) in names("places"):
                return None
            while _goes_on(view, words, kinds, last, capital):
                last += 1
            return last
        if not particle and not kind.given:
            return None
    return None


def _goes_on(view: View, words: Sequence[Word], kinds: Sequence[rules.Kind], last: int, capital: bool) -> bool:
    """Return whether a second family name follows, as in Spanish and Portuguese."""
    if not capital or last + 1 >= len(words):
        return False
    word, kind = words[last + 1], kinds[last + 1]
    return (
        view.text[words[last].end : word.start] == " "
        and word.text[0].isupper()
        and kind.family
        and not kind.rare
        and not kind.common
        and not is_common(kind.folded)
    )
