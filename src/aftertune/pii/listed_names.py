"""Names in texts that are not English: only where more than a capital speaks for them.

That is a given name on our lists with a family name after it, a name after a title (which is no part of it here), and
a name after words that introduce one. A family name that no list has counts after `Frau` or `Madame`, or after a given
name that is no word, where it looks like no noun, colour or product. In German every noun has a capital, and each
language has names that are its words (`Domingo`, `Natale`, `Sommer`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from aftertune.pii import name_words as rules
from aftertune.pii.languages import is_common
from aftertune.pii.recogniser import Candidate, View, Word, explain
from aftertune.pii.word_lists import fold, names
from aftertune.pii.word_lists import words as word_set

_TITLE = re.compile(
    r"(?<!\w)(?:(?:sehr geehrter?|lieber?|frau|herrn?|fr\.|hr\.|familie|fam\.|dr\.|prof\.|madame|mme|monsieur|m\.|"
    r"mlle|mademoiselle|maître|docteur|señora?|sra?\.|srta\.|don|doña|doctora?|signora?|sig\.|sig\.ra|dott\.|dott\.ssa|"
    r"dottor|dottoressa|mevrouw|mevr\.|mw\.|meneer|dhr\.|dokter|doktor|professor(?:in)?|senhora?|dona|"
    r"doutora?) {1,2})+$"
)
_ROLES = word_set("""
ober wirt richter lehrer lehrerin doktor professor professorin pfarrer pastor direktor direktorin prasident kollege
kollegin nachbar nachbarin minister gemahl gemahlin holle kommissar burgermeister kapitan meister chef chefin
director directora presidente alcalde juez cura ministra ministro sindaco giudice maestra maestro directeur
president maire pastoor burgemeester doutor doutora prefeito padre engenheiro engenheira avvocato ingegnere dottore
doctor doctora mutter vater kunde kundin gast
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
_ADDRESS = re.compile(
    r"(?<!\w)(?:frau|herrn?|fr\.|hr\.|madame|mme|monsieur|mlle|mademoiselle|señora?|sra?\.|srta\.|signora?|sig\.|"
    r"sig\.ra|mevrouw|mevr\.|mw\.|meneer|dhr\.|senhora?) {1,2}(?:(?:dr|prof)\. {1,2})*$"
)
"""Titles after which a word with a capital is a name also where no list has it."""
_WIFE = re.compile(r"\b(?:ein|kein|jed|dies|mein|dein|sein|ihr|unser|euer|eur|manch|welch)e(?:r|n)? frau {1,2}$")
_ALSO_NOUNS = word_set("""
programm hase legion geheimnis nebensache schall niemand nobody personne nadie nessuno ninguem unbekannt platzhalter
mustername anonym passwort kunde kundin name vorname nachname betreff
""")
"""What else stands after `mein Name ist`: figures of speech and placeholders."""
_OF = re.compile(r" (?:der|des|dieser|dieses|einer|eines|ihrer|ihres|meiner|meines|für) ")
"""After a noun that is part of a sentence: `mein Name ist Bestandteil der Adresse`."""
_COLOURS = word_set("""
schwarz weiss rot blau grun grau gelb braun beige samt leder eiche buche holz edelstahl chrom sofa bleu noir rouge
vert blanc gris jaune marron negro rojo azul verde blanco amarillo nero nera rosso rossa blu bianco bianca grigio
grigia giallo grijs zwart wit rood blauw groen geel bruin preto branco vermelho cinza
""")
"""Colours and materials after the name of a product, which is often somebody's given name."""
_ASSISTANTS = word_set("siri alexa cortana bixby")
_BEFORE_PEOPLE = word_set("""
hallo hi hey lieber liebe moin servus guten morgen tag abend kollege kollegin kunde kundin frau herr herrn
schwester bruder mutter vater tochter sohn mann freund freundin nachbar nachbarin tante onkel oma opa cousin
cousine chef chefin mieter mieterin patient patientin gast sachbearbeiter sachbearbeiterin ansprechpartner
ansprechpartnerin empfanger absender inhaber inhaberin anwalt anwaltin arzt arztin lehrer lehrerin dr prof hier mit
und oder von fur an bei
""")
"""Words with a capital that stand before somebody's full name; any other is a product's or a street's."""
_NOUN = re.compile(
    r"(?:ung|ungen|heit|keit|heiten|keiten|schaft|schaften|tion|tionen|nis|nisse|tät|taet|ismus|chen|zeug|nummer|karte|"
    r"karten|konto|konten|rechnung|vertrag|paket|pakete|sprecher|telefon|daten|gerät|kurs|tarif|verein|straße|strasse|"
    r"platz|weg|allee|kauf|verkauf|dienst|service|center|zentrum|amt|bank|app|buch|haus|zimmer|wagen|auto|preis|preise|"
    r"frage|fragen|antwort|liste|termin|abo|versand|bestellung|lieferung|gutschein|schein|wunsch|geschenk|jahr|tag|woche|"
    r"ción|sión|ções|ção|zione|zioni|dad|tad|heid|ment|mente)$"
)
"""Endings of nouns, which German writes with a capital."""
_WORD_BEFORE = re.compile(r"([^\W\d_]+) \Z")
_WORD_AFTER = re.compile(r"[ -]([^\W\d_a-z][^\W\d_]+)")
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
        if cue is None and index < len(words) and _given_then_unlisted(view, word, kind, words[index]):
            why = explain("given name on a list, capitalised word, not English")
            yield Candidate(word.start, words[index].end, "PERSON", 0.75, why)
            index += 1
            continue
        if cue is None or len(kind.folded) < 3 or kind.folded in _ROLES:
            continue
        capital = word.text[0].isupper()
        if _is_name(kind) and (capital or cue is not title):
            end = word.end
            if called and capital and kind.given and index < len(words) and _is_unlisted(view, word, words[index]):
                end = words[index].end  # `mein Name ist Jörg Kestwald`
                index += 1
            yield Candidate(word.start, end, "PERSON", 0.85, explain("name on a list, not English", _clean(cue)))
        elif title and capital and _may_be_family_name(word, kind) and _ADDRESS.search(before):
            if not _WIFE.search(before):
                why = explain("capitalised, not English", _clean(title))
                yield Candidate(word.start, word.end, "PERSON", 0.75, why)
        elif called and capital and not kind.common and not is_common(kind.folded) and kind.folded not in _ALSO_NOUNS:
            if _OF.match(view.lower, word.end):
                continue
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


def _may_be_family_name(word: Word, kind: rules.Kind) -> bool:
    """Return whether a word on no list has the form of a family name, and not that of a noun."""
    return (
        len(word.text) > 3
        and word.text[0].isupper()
        and not word.text.isupper()
        and not kind.common
        and not kind.word
        and not is_common(kind.folded)
        and kind.folded not in _ALSO_NOUNS
        and kind.folded not in _ROLES
        and kind.folded not in _COLOURS
        and not _NOUN.search(word.text.lower())
    )


def _given_then_unlisted(view: View, word: Word, kind: rules.Kind, after: Word) -> bool:
    """Return whether a given name, which is no word, stands before a family name that no list has."""
    before = _WORD_BEFORE.search(view.text, max(0, word.start - _WIDTH), word.start)
    if before and before[1][0].isupper() and fold(before[1]) not in _BEFORE_PEOPLE:
        return False
    then = _WORD_AFTER.match(view.text, after.end)
    return (
        not (then and _NOUN.search(then[1].lower()))
        and kind.folded not in _ASSISTANTS
        and kind.given
        and not (kind.word or kind.common or is_common(kind.folded))
        and kind.folded in names("given")
        and len(word.text) > 2
        and word.text[0].isupper()
        and not word.text.isupper()
        and view.text[word.end : after.start] == " "
        and _may_be_family_name(after, rules.kind_of(after.text))
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
