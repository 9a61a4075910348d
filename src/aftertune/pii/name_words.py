"""How a name differs from a word: titles, particles, endings of family names, and the words around a name."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from aftertune.pii.word_lists import fold, names
from aftertune.pii.word_lists import words as word_set

TITLES = word_set(
    "mr mrs ms miss mx dr prof professor sir madam lady lord dame rev reverend fr father sister capt captain lt sgt "
    "col gen major judge senator herr frau monsieur madame mme mlle m senor senora srta sr sra signor signora dottor "
    "hon sheikh imam rabbi uncle aunt auntie doctor officer president king queen prince princess coach"
)
WEAK_TITLES = word_set(
    "sir miss madam lady lord father sister major judge general king queen prince princess coach officer president m "
    "sr gen col fr hon doctor captain"
)
PARTICLES = word_set(
    "van von der den de da do dos das di del della degli de' la le el al bin ibn ben bint ter ten te zu zur af av y e "
    "d l st saint san abu abd ul und"
)
STREETS = word_set("st rd ave av blvd ln hwy pkwy sq ct pl")
"""Abbreviations after the name of a street."""
STREET = re.compile(
    r"\b(?:via|viale|piazza|corso|rue|avenue|boulevard|place|quai|calle|avenida|avda|plaza|paseo|rua|travessa|"
    r"c/|ul\.|ulica|al\.)\s{1,2}(?:(?:de|del|della|di|da|do|des|du|la|le|los|san|general|dr\.?) )?$"
)
ENGLISH = re.compile(r"[\x00-\x7féèëï’‘`]+")
"""Letters that English words and the loan words of menus have."""
INTRO = re.compile(
    r"(?:\b(?:my|his|her|the|our|their|your|full|first|last|family|maiden|middle|partner's|'s|guest|customer|account|"
    r"passenger|contact|patient|client)\s+name(?:\s+(?:is|was|to)|'s|:)|\bnames?\s*(?:is|:)|\bnamed(?: (?:him|"
    r"her|it))?|"
    r"\bcall(?:s|ed)? (?:me|him|her)|\bgoes by|\bsigned(?:,| by)|\battn:?|\battention:|\bunder the name(?: of)?|"
    r"\bin the name of|\bi am called|\bich hei(?:ss|ß)e|\bje m'appelle|\bme llamo|\bmi chiamo|\bpatient:|"
    r"\bcustomer:|\buser:|"
    r"\bclient:|\bguest:|\bpassenger:|\bcontact:|\bsender:|\brecipient:|\bnom ?:|\bnombre:|\bnome:)\s{0,3}[\"'“(]?$"
)
GREETING = re.compile(
    r"(?:^|[.!?\n>:\"'“]\s{0,3})(?:hi|hello|hey|dear|good (?:morning|afternoon|evening)|hallo|hola|bonjour|ciao|"
    r"thanks|thank you|thx|cheers|welcome|ok|okay|yes|no|sorry),?\s{1,2}$"
)
SIGNED = re.compile(
    r"\b(?:regards|sincerely|best wishes|all the best|yours(?: truly| faithfully)?|cheers|love|thanks|thank you|"
    r"best)\s{0,2},?\s{0,3}[\n,]\s{0,4}[-–]?\s{0,2}$"
)
IDENTITY = re.compile(
    r"(?:\bi am|\bi['’]m|\bthis is|\bit['’]s|\bspeaking (?:to|with)|\bmeet|\bask for|\bspeak (?:to|with)|\bsaid|"
    r"\basked|\btold|\bwith|\bby|\band|\bfriend|\bbrother|\bsister|\bson|\bdaughter|\bwife|\bhusband|\bpartner|"
    r"\bboss|\bmanager|\bcolleague|\bneighbou?r|\bassistant|\bfor|\bfrom|\bto)\s{1,2}$"
)
SAYS = re.compile(
    r"\s{1,2}(?:(?:has |had |also |then |never |always |just |will )?(?:said|says|told|tells|asked|asks|"
    r"wrote|writes|replied|replies|shouted|shouts|yelled|screamed|cried|whispered|explained|explains|answered|insisted|"
    r"admitted|argued|agreed|complained|complains|laughed|laughs|smiled|smiles|nodded|sighed|thinks|thought|believes|"
    r"knows|knew|loves|likes|liked|wants|wanted|hates|hopes|wishes|feels|felt|lives|lived|married|grew up|"
    r"remembers|forgot|recommended|suggested|points out|pointed out|mentioned|phoned|called (?:me|us|him|her)|"
    r"emailed|texted|gave|given|talking|wearing|sang|studied|studies|teaches|taught|retired|drove|"
    r"ate|slept|walked|met)|"
    r"is (?:from|married|coming|not coming|away|sick|ill|on leave|my name|\d{1,2} years?)|and (?:i|his|her|my)|"
    r"will be (?:talking|late|joining|travell?ing|staying))\b|[\"”]?\s?:\s{0,2}\\{0,2}[\"“]"
)
"""Verbs of people and not of things; a speaker before quoted speech."""
ORDINARY = re.compile(
    r"(?:s|ing|ed|ly|tion|sion|ment|ness|ity|ship|ism|ist|or|er|ee|ible|able|ful|less|one|body|thing|ware|phone|book|"
    r"soft|line|box|app|net|bot|ai|tech|corp|land|burg|ville|stan|town|port|ford|field|staff|age|ance|ence|ure|ry|"
    r"ogy|ics|ous|ive|al|ic|ight|ch|th|ll)$"
)
"""Endings more common in English words, towns and makes than in names on no list."""
AFTER = re.compile(
    r"\s{0,2}(?:,\s)?(?:is|was|has|had|did|does|will|can|would|works|worked|called|went|moved|died|just|came|"
    r"left|and (?:i|his|her|my))\b|"
    r"['’]s\b"
)
DIRECTION = re.compile(r"\b(?:on|onto|towards?|via|along|down|corner of|stop at|streets? of)\s['\"“(]{0,2}$")
WHERE = re.compile(
    r"\b(?:at|on|onto|near|towards?|via|off|along|down|past|between|past|to|from|in|of|street|stop|corner|take)\s['\"“(]{0,2}$"
)
VOCATIVE = re.compile(r",\s(?:can|could|would|will|do|did|are|is|please|you|what|when|where)\b")
CHATTER = re.compile(
    r"(?:h+[aeiou]+y*[aeiou]*|he+y+.*|hm+|uh*m*|eh+|oh+|ah+|omg|lol|wow+|yikes|anyway|nevermind|understood|goodbye|bye|"
    r"lemme|gonna|wanna|gotta|dunno|alright|okey|ok[ai]+y|yep|yup|nope|nah|c'mon|hiya|howdy|greetings|whatever|indeed|"
    r"honestly|maybe|perhaps|besides|however|also|yada)|.*(.)\1\1.*|(?!o'|d'|l'|n'|m').{1,4}'.*"
)
"""First words of a chat message, and contractions."""
LIST = re.compile(r"\s?(?:,|&|,?\sand|,?\sor|,?\s(?:und|y|et|e))\s")
STRONG_ENDING = re.compile(
    r"(?:[ae]?vic|ovich|ovova|kova|nova|tova|lova|sova|cova|rova|enko|chuk|czyk|owski|owska|ewski|ewska|insky|"
    r"insk[ai]|wicz|sson|"
    r"ssen|rsen|nsen|lsen|dottir|qvist|quist|strom|inen|nnen|poulos|akis|idis|iadis|escu|eanu|nyan|ryan|sian|shvili|"
    r"[aeo]nen|unen|dze|[a-z]{2}(?:ovec|avec|ovsky|evsky|insky|owicz|czek|szky|sky)|[a-z]{3}(?:ova|eva)|poulou|akos|"
    r"[^aeiou\W](?:ndez|nez|rguez|iguez)|[a-z]{2}(?:etti|elli|ucci|acci|azzi|ozzi|uzzi|ardi|oldi|aldo)|"
    r"[aeiou](?:shita|naka|saki|zaki|gawa|kawa|sawa|zawa|bara|tani|dani|mori|waki|kubo|gaki|naga)|chukwu|okwu|"
    r"singh|wala|mann|berger|holz|meier|meyer|mayer|maier|hauser|inger(?<=.{8})|stein|thal(?<=.{7})|bakke|gaard|"
    r"lund(?<=.{6})|berg(?<=.{6})|gren|blad|slav|slava|mira(?<=.{6})|swamy|swami|nathan|murthy|"
    r"oglu|zadeh|nejad|moto|yama|kawa|mura|shima|hashi|uchi|anov|enov|ikov|alov|inov|ukov|kov|rov|rev|nov|iev|aev)$"
)
MC = re.compile(r"(?:Mc|Mac|O['’]|Fitz|D['’]|De|Di|Van|Von|Le|La|Mc )[A-Z][a-z]")
TITLE = re.compile(r"\b(mr|mrs|ms|dr|prof|miss|herr|frau|mme)\.?\s{1,2}$")


class Kind(NamedTuple):
    """What the lists and endings say of one word."""

    folded: str
    given: bool
    family: bool
    rare: bool
    """A family name by the census only."""
    ending: bool
    word: bool
    """Also an ordinary word, city or brand."""
    common: bool
    """An ordinary word that is nobody's name."""


def _given(folded: str) -> bool:
    return folded in names("given") or folded in names("census_first")


def _family(folded: str) -> bool:
    return folded in names("surnames") or folded in names("census_last")


@lru_cache(maxsize=65536)
def kind_of(text: str) -> Kind:
    """Return the kind of a word, the parts of a double name taken together."""
    folded = fold(text).replace("’", "'").replace("`", "'")
    parts = [folded, *folded.split("-")] if "-" in folded else [folded]
    given = all(map(_given, parts[1:])) if len(parts) > 1 else _given(folded)
    family = _family(folded.replace("'", "")) or (len(parts) > 2 and (_family(parts[-1]) or _family(parts[1])))
    ending = (len(folded) > 5 and bool(STRONG_ENDING.search(folded))) or bool(
        MC.match(text) and text[:2] not in ("De", "La", "Le", "Di")
    )
    word = folded in names("words") or folded in names("places") or len(folded) < 3 or folded in names("organisations")
    known = given or family
    common = (
        folded in names("common")
        or (folded in names("words") and not known)
        or (folded in names("places") and not known)
    )
    rare = family and not any(part in names("surnames") for part in (folded.replace("'", ""), *parts[1:]))
    return Kind(folded, given, family, rare, ending, word or folded in names("common"), common)
