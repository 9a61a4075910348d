"""Postal addresses: a street with a number, a box or a unit, and the rest up to the postcode or country."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aftertune.pii.recogniser import Candidate, Recogniser, View, explain
from aftertune.pii.word_lists import fold, names, words

_W = r"[^\W\d_][\w'’.\-]{0,30}"
_NO = r"(?:(?:no\.?|nr\.?|nº|#) ?)?\d{1,6}(?:[A-Za-z](?!\w)|[/-]\d{1,5}[A-Za-z]?)?"
_CLEAR = (
    r"(?:street|str|road|rd|avenue|ave|lane|ln|boulevard|blvd|parkway|pkwy|highway|hwy|terrace|crescent|turnpike|"
    r"freeway|expressway|driveway|cul-de-sac|byway|causeway|mews|esplanade|promenade|alley)"
)
_SHADED = (
    r"(?:St|Dr|Drive|Way|Place|Pl|Court|Ct|Square|Sq|Walk|Row|Close|Grove|Gardens|Hill|Rise|Quay|Circle|Cir|Loop|Path|"
    r"Bend|Ridge|View|Park|Glen|Trail|Trl|Point|Run|Pass|Heights|Plaza|Green|Crossing|Cove|Mount|Parade|Wharf|Common|"
    r"Landing|Meadow|Meadows|Hollow|Fields|Terr?|Cres|Crt|Hwy|Estate|Broadway|Yard|Gate|Knoll|Vale|Croft)"
)
_FEW = (
    r"(?!(?:of|on|in|at|to|for|and|or|by|from|with|is|are|was|the same|minutes?|hours?|days?|people|miles?|"
    r"blocks?|km|cars?|lanes?|times?)\b)"
)
_ENGLISH = re.compile(
    rf"(?<![\w.$€£-])(?:{_NO},?\s{{1,2}}){{1,2}}(?:{_FEW}(?:{_W}|\d{{1,3}}(?:st|nd|rd|"
    rf"th))\s{{1,2}}){{1,4}}{_CLEAR}\b\.?",
    re.I,
)
_CAP = r"(?:[^\W\d_a-z][\w'’.\-]{0,30}|\d{1,3}(?:st|nd|rd|th))"
_ENGLISH_CAPS = re.compile(
    rf"(?<![\w.$€£-])(?:{_NO},?\s{{1,2}}){{1,2}}(?:{_CAP}\s{{1,2}}){{1,4}}{_SHADED}\b\.?(?!['’\w])"
)
_NAMED = re.compile(
    rf"(?<!\w)(?:{_CAP}\s){{1,3}}(?:Street|Road|Avenue|Lane|Boulevard|Drive|Rd|Ave|Blvd|St\.|Terrace|Crescent|"
    rf"Highway)\b(?!['’\w])"
)
_PREFIX = (
    r"(?:rue|avenue|boulevard|bd|av\.|place|chemin|impasse|all[ée]e|quai|cours|route|via|viale|v\.le|piazza|"
    r"piazzale|corso|"
    r"vicolo|largo|strada|contrada|calle|c/|cl\.|avenida|avda\.?|av|plaza|paseo|carrera|carretera|cra\.?|ronda|camino|"
    r"cami[ñn]o|camí|carrer|r[úu]a|rua|travessa|pra[çc]a|estrada|alameda|rodovia|ul\.|ulica|ulitsa|al\.|aleja|plac|"
    r"pl\.|os\.|osiedle|prospekt|pereulok|bulevardul|bd\.|calea|aleea|strada|str\.|jalan|jl\.|lorong|odos|leoforos|"
    r"lille|gamle|gammel|stora|lilla|norra|s[öo]dra|v[äa]stra|[öo]stra|(?-i:Am|An der|Auf der|Im|In der|"
    r"Op de|Het|De|Van|Store|Gamle|Alte|Neue)|untere|"
    r"obere|zum|zur|unter den|náměstí|nám\.|třída|rúa|sokak|cadde|mahallesi)"
)
_FOREIGN = re.compile(
    rf"(?<![\w.-])(?:{_NO},?\s{{1,2}})?(?P<type>{_PREFIX})(?:\s{{1,2}}|"
    rf"(?<=[./]))(?:{_W}\s{{1,2}}){{0,4}}{_W},?\s{{1,2}}(?P<number>{_NO})\b(?![.,]?\d|[%€$])",
    re.I,
)
_NUMBERED_FOREIGN = re.compile(
    rf"(?<![\w.-])\d{{1,5}}(?: ?(?:bis|ter))?,?\s{{1,2}}(?P<type>{_PREFIX})\s{{1,2}}(?:{_W}\s{{1,2}}){{0,3}}{_W}", re.I
)
_SUFFIX = (
    r"(?:stra(?:ss|ß)e|str\.|weg|gasse|allee|platz|ring|damm|ufer|steig|l[äa]nde|chaussee|stieg|graben|markt|"
    r"straat|laan|plein|gracht|kade|dijk|dreef|steenweg|singel|baan|pad|hof|lei|wal|kwartier|hage|water|burg|dam|"
    r"gata|gatan|gatu|v[äa]gen|v[äa]g|vej|vejen|veien|vei|gade|gaden|str[æa]de|all[ée]|gr[äa]nd|backen|torget|"
    r"toften|vangen|"
    r"parken|engen|bakken|marken|haven|vegur|braut|"
    r"katu|tie|kuja|polku|ranta|kaari|tori|utca|u\.|krt\.?|k[öo]r[úu]t|ulice|"
    r"t[řr][íi]da|"
    r"n[áa]m[ěe]st[íi]|cesta|trg|ulica|ulitsa|prospekt|sokak|sokağı|caddesi|cad\.|sok\.|bulvar[ıi]|mahallesi|"
    r"maantee|tänav|gatve|iela|aukio)"
)
_COMPOUND = re.compile(
    rf"(?<![\w.-])(?:\d{{1,5}}[A-Za-z]?,?\s{{1,2}})?(?:{_W}\s{{1,2}}){{0,2}}"
    rf"(?:[^\W\d_][\w'’\-]{{1,30}}?{_SUFFIX}|{_W}\s(?:{_SUFFIX}|út|útja|tér|tere|köz|sor))\s{{1,2}}"
    rf"(?P<number>\d{{1,4}}(?:[ -]?[A-Za-z](?!\w)|[/-]\d{{1,4}})?\.?)(?![\d%€$:]|[.,]\d)",
    re.I,
)
_ENDS = re.compile(rf"(?:{_SUFFIX}|út|útja|tér|tere|köz|sor)\Z", re.I)
_NUMBER_NEXT = re.compile(r"(?<=[^\W\d_]|\.)\s{1,2}\d")
_FOREIGN_WORDS = words(
    "rue avenue boulevard bd av place chemin impasse allee quai cours route via viale v piazza piazzale corso vicolo "
    "largo strada contrada calle c cl avenida avda plaza paseo carrera carretera cra ronda camino carrer rua travessa "
    "praca estrada alameda rodovia ul ulica ulitsa al aleja plac pl os osiedle prospekt pereulok bulevardul calea "
    "aleea str jalan jl lorong odos leoforos lille gamle gammel stora lilla norra sodra vastra ostra untere obere zum "
    "zur unter sokak cadde mahallesi"
)
"""First tokens of the street words that precede a name."""
_CAPITAL_WORDS = re.compile(r"\b(?:Am|An der|Auf der|Im|In der|Op de|Het|De|Van|Store|Gamle|Alte|Neue)\b")
_LEADING = re.compile(r"(?:[^\W\d_]\S{0,30}\s{1,2})?[a-z]\S{0,30}\s{1,2}(?=[A-ZÀ-Ž])")
_STRONG = re.compile(
    r"stra(?:ss|ß)e|straat|gatan|v[äa]gen|steenweg|gasse|gracht|plein|katu|utca|ulice|caddesi|\bút\b|tie\b|vej"
)
_NUMBER_COMPOUND = re.compile(
    rf"(?<![\w.-])\d{{1,4}}[A-Za-z]?,?\s{{1,2}}(?:{_CAP}\s{{1,2}}){{0,2}}[^\W\d_a-z][\w'’\-]{{2,30}}{_SUFFIX}\b"
)
_UNIT = (
    r"(?:apt|apartment|suite|ste|unit|flat|room|rm|floor|bldg|building|wohnung|appt|bus|piso|lok|trailer|"
    r"lot|dept)\.?\s{0,2}#?\s?[A-Z]?\d{1,5}[A-Z]?\b"
)
_WITH_UNIT = re.compile(
    rf"(?<![\w.$€£-])(?:\d{{1,5}}\s{{1,2}}){{1,2}}(?:{_W}\s{{1,2}}){{1,6}}(?:\d{{1,5}}\s{{0,2}})?[\s,>?|"
    rf"*]{{0,8}}{_UNIT}",
    re.I,
)
_AFTER_UNIT = re.compile(
    rf"\b(?:apt|suite|unit|flat)\.?\s\d{{1,5}}[A-Z]?,?\s{{1,3}}\d{{1,5}}\s(?:{_W}\s{{1,2}}){{1,6}}\d{{1,5}}\b", re.I
)
_UNIT_ALONE = re.compile(r"\b(?:apt|apartment|suite|ste|flat)\.?\s{1,2}#?[A-Z]?\d{1,5}[A-Z]?\b", re.I)
_LINES = re.compile(
    rf"(?<![\w.$€£:/-])(?:\d{{1,5}},?\s){{1,2}}(?:{_W}\s){{0,5}}{_W}(?:\s\d{{1,5}})?(?=\s{{0,2}}[\n,])", re.I
)
_BARE = re.compile(rf"(?<![\w.$€£:/-])\d{{1,5}},?\s(?:{_CAP}\s){{1,4}}\d{{1,5}}\b(?![.,:]?\d|[%€$-])")
_BOX = re.compile(
    r"\b(?:p\.?\s?o\.?\s?box|post office box|postfach|bo[îi]te postale|apartado(?: de correos)?|postbus|casilla|"
    r"locked bag|gpo box)\s{0,2}#?\d{1,6}\b",
    re.I,
)
_MILITARY = re.compile(
    r"\b(?:(?:PSC|CMR|UNIT|U\.?S\.?S\.?|USNS|USNV|"
    r"USCGC)\s[\w.]{1,20}(?:[ ,]{1,2}BOX \d{1,6})?[,\s]{1,3})?(?:APO|FPO|DPO),?\s{1,2}A[AEP]\s{1,2}\d{5}(?:-\d{4})?\b",
    re.I,
)
_STATES = (
    r"(?:A[BKLRZ]|BC|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ABDEINOST]|N[BCDEHJLMSTVY]|O[HKNR]|P[AER]|QC|RI|"
    r"S[CDK]|T[NX]|UT|V[AT]|"
    r"W[AIVY]|YT|NSW|VIC|QLD|ACT|TAS)"
)
_CITY_ZIP = re.compile(rf"\b[A-Z][\w'’.-]{{1,25}}(?: [A-Z][\w'’.-]{{1,25}}){{0,2}},? {_STATES} \d{{5}}(?:-\d{{4}})?\b")
_POSTCODE = re.compile(
    r"\b(?:[A-PR-UWYZ][A-HK-Y]?\d[A-Z\d]? \d[ABD-HJLNP-UW-Z]{2}|[ABCEGHJ-NPRSTVXY]\d[A-Z] \d[A-Z]\d)\b"
)
_JAPAN = re.compile(r"〒 ?\d{3}-\d{4}(?: ?[^\s,、。]{2,40})?")
_ZIP_CUE = re.compile(r"\b(?:zip(?: ?code)?|post ?(?:al)? ?code|plz|cap|código postal|code postal)\W{1,3}(?:is )?$")
_ZIP = re.compile(r"\b\d{4,6}(?:-\d{4})?\b")
_CORNER = re.compile(
    rf"\b(?:the )?corner of (?:(?:{_W}|\d{{1,5}}\.?)\s{{1,2}}){{1,5}}and(?:\s{{1,2}}(?:{_CAP}|\d{{1,4}}|street|"
    rf"road|avenue|st|van|de|la|el|ul\.)){{1,5}}",
    re.I,
)
_CUE = re.compile(
    r"\baddress(?:es)?\b|\bliv(?:e|es|ing) (?:at|in|on)\b|\bmoved\b|\bmail(?:ed|ing)?\b|\bship(?:ped|ping)?\b|"
    r"\bdeliver(?:ed|y)?\b|"
    r"\bsent? (?:it |this |one )?to\b|\bmeet(?:ing)? (?:me )?(?:at|on)\b|\blocated\b|\bresid\w+|\bbilling\b|"
    r"\bhome\b|\bstreet\b|\boffice\b|\bit'?s in\b|\bhouse\b|\bvisit\b|\bpick (?:me )?up\b|"
    r"\badressen?\b|\banschrift\b|\bwohn(?:e|en|haft)\b|\bumgezogen\b|\bzustellen\b|\bj'habite\b|\bdomicile\b|"
    r"\blivre[rz]\b|\bdirecci[óo]n\b|\bdomicilio\b|\bviv(?:o|imos)\b|\bentreg(?:ar|uen|uem)\b|\benv[íi]en\b|"
    r"\bindirizzo\b|\babit(?:o|iamo)\b|\bspedi(?:te|re|sca)\b|\bconsegn(?:ate|are|i)\b|\badres\b|\bwoon\b|"
    r"\bwonen\b|\bbezorgen\b|\bmorada\b|\bendere[çc]o\b|\bmor(?:o|amos)\b|\bmud[áa]mos\b"
)
_SEPARATOR = re.compile(r"[ \t]{0,3}(?:[,;\n\r>|*?\\-]{1,6}[ \t]{0,3}){0,3}")
_ZIP_PIECE = re.compile(
    rf"(?:{_STATES}|nan|[A-Z]{{1,3}}-)?\s{{0,2}}(?:\d{{5}}(?:-\d{{3,4}})?|\d{{4}}(?: ?[A-Z]{{2}})?|"
    rf"\d{{3}}[ -]\d{{2,4}}|\d{{2}}-\d{{3}}|[A-Z]{{1,2}}\d[A-Z\d]? ?\d[A-Z]{{2}}|[A-Z]\d[A-Z] ?\d[A-Z]\d|"
    rf"\d{{6}})(?![\w]|[-.,/ (]{{1,2}}\d|-[A-Za-z])",
    re.I,
)
_UNIT_PIECE = re.compile(_UNIT, re.I)
_WORD_PIECE = re.compile(
    r"[^\W\d_][\w'’.\-]{0,30}(?: (?!(?:and|for|is|to|by|with|please|the|from|last|"
    r"this)\b)[^\W\d_][\w'’.\-]{0,30}){0,4}",
    re.I,
)
_CAP_WORD = r"[^\W\d_a-z](?:[^\W\d_]|['’.\-]){1,30}(?!\w)"
_CAP_PIECE = re.compile(rf"{_CAP_WORD}(?: (?:de |la |di |del |do |upon |and )?{_CAP_WORD}){{0,3}}")


_NEEDED = {
    _ENGLISH: words(
        "street str road rd avenue ave lane ln boulevard blvd parkway pkwy highway hwy terrace crescent turnpike "
        "freeway expressway driveway cul byway causeway mews esplanade promenade alley"
    ),
    _ENGLISH_CAPS: words(
        "st dr drive way place pl court ct square sq walk row close grove gardens hill rise quay circle cir loop path "
        "bend ridge view park glen trail trl point run pass heights plaza green crossing cove mount parade wharf "
        "common landing meadow meadows hollow fields ter terr cres crt hwy estate broadway yard gate knoll vale croft"
    ),
    _NAMED: words("street road avenue lane boulevard drive rd ave blvd st terrace crescent highway"),
    _UNIT_ALONE: words("apt apartment suite ste flat"),
    _AFTER_UNIT: words("apt suite unit flat"),
    _MILITARY: words("apo fpo dpo"),
}
"""Tokens, one of which a pattern needs."""


def _tail(text: str, end: int) -> tuple[int, int]:
    """Return where an address whose street ends at `end` ends, and how many postcodes, units and towns follow."""
    good, at, loose, count = end, end, 0, 0
    for _ in range(8):
        separator = _SEPARATOR.match(text, at)
        begin = separator.end() if separator else at
        if begin == at and at != end:
            break
        piece = _ZIP_PIECE.match(text, begin) or _UNIT_PIECE.match(text, begin)
        if piece:
            good = at = piece.end()
            count += 1
            loose = 0
            continue
        if loose >= 3:
            break
        breaks = separator is not None and any(mark in separator.group() for mark in ",\n>|?")
        piece = _CAP_PIECE.match(text, begin) or (_WORD_PIECE.match(text, begin) if breaks else None)
        if not piece:
            break
        words = piece.group().split()
        for size in range(len(words), 0, -1):
            if any(
                fold(" ".join(words[i : i + size])).strip(".") in names("places") for i in range(len(words) - size + 1)
            ):
                for i in range(len(words) - size, -1, -1):
                    if fold(" ".join(words[i : i + size])).strip(".") in names("places"):
                        good = begin + len(" ".join(words[: i + size]).rstrip("."))
                        count += 1
                        break
                break
        at = piece.end()
        loose += 1
    return good, count


def scan(view: View) -> Iterator[Candidate]:
    """Yield addresses, each extended after its street over units, postcodes and known towns."""
    text = view.text
    if view.has_digit:
        yield from _streets(view)
        for pattern, name, score in ((_BOX, "post box", 0.8), (_MILITARY, "military post", 0.95)):
            for match in pattern.finditer(text) if _worth(view, pattern) else ():
                end, _ = _tail(text, match.end())
                start = match.start()
                before = re.search(r"\d{1,5},? $", text[max(0, start - 8) : start])
                yield Candidate(start - len(before.group()) if before else start, end, "ADDRESS", score, name)
        for match in _CITY_ZIP.finditer(text):
            yield Candidate(*match.span(), "ADDRESS", 0.75, "city, state and postcode")
        for match in _POSTCODE.finditer(text):
            yield Candidate(*match.span(), "ADDRESS", 0.55, "postcode")
        for match in _UNIT_ALONE.finditer(text) if _worth(view, _UNIT_ALONE) else ():
            end, _ = _tail(text, match.end())
            yield Candidate(match.start(), end, "ADDRESS", 0.52, "unit of a building")
        for match in _JAPAN.finditer(text) if "〒" in text else ():
            yield Candidate(*match.span(), "ADDRESS", 0.9, "Japanese postcode")
        for match in _ZIP.finditer(text):
            if _ZIP_CUE.search(view.lower, max(0, match.start() - 20), match.start()):
                yield Candidate(*match.span(), "ADDRESS", 0.7, explain("digits", "postcode"))
    if "corner of" in view.lower:
        for match in _CORNER.finditer(text):
            yield Candidate(*match.span(), "ADDRESS", 0.7, explain("two streets", "corner of"))
    for match in _NAMED.finditer(text) if _worth(view, _NAMED) else ():
        yield Candidate(*match.span(), "ADDRESS", 0.55, "capitalised words and a street word")


def _worth(view: View, pattern: re.Pattern[str]) -> bool:
    """Return, cheaply, whether an expensive pattern can match at all."""
    if pattern is _COMPOUND:
        text = view.text
        return any(_ENDS.search(text, max(0, m.start() - 16), m.start()) for m in _NUMBER_NEXT.finditer(text))
    if pattern in (_FOREIGN, _NUMBERED_FOREIGN):
        return view.may_hold(_FOREIGN_WORDS) or _CAPITAL_WORDS.search(view.text) is not None
    return pattern not in _NEEDED or view.may_hold(_NEEDED[pattern])


def _streets(view: View) -> Iterator[Candidate]:
    text = view.text
    for pattern, name, score in (
        (_ENGLISH, "number and street word", 0.85),
        (_ENGLISH_CAPS, "number, capitalised words, street word", 0.8),
        (_FOREIGN, "street word before the name, number", 0.62),
        (_NUMBERED_FOREIGN, "number, street word before the name", 0.58),
        (_COMPOUND, "name with a street ending, number", 0.6),
        (_NUMBER_COMPOUND, "number, name with a street ending", 0.55),
        (_WITH_UNIT, "number, words, unit of a building", 0.75),
        (_AFTER_UNIT, "unit of a building, number, words", 0.7),
        (_BARE, "number, capitalised words, number", 0.38),
        (_LINES, "number and words, then more of an address", 0.0),
    ):
        for match in pattern.finditer(text) if _worth(view, pattern) else ():
            start, end = match.span()
            if pattern is _COMPOUND:
                leading = _LEADING.match(match.group())
                start += leading.end() if leading else 0
            end, more = _tail(text, end)
            value = match.group()
            cue = view.cue(_CUE, start, 64)
            if pattern is _FOREIGN and not _is_street(match, text[match.end() : end], cue):
                continue
            points = score + (0.1 if more else 0) + (0.15 if cue else 0)
            if score == 0.0:
                points = 0.35 + 0.12 * min(more, 2) + (0.2 if cue else 0) if more else 0.0
            elif pattern in (_FOREIGN, _NUMBERED_FOREIGN) and match["type"][0].islower():
                points -= 0.0 if re.match(r"\d", value) and pattern is _FOREIGN else 0.1
            elif pattern is _COMPOUND and not any(char.isupper() for char in value):
                points -= 0.05 if _STRONG.search(value) else 0.3
            before = re.search(r"(?:\d{1,5}[A-Za-z]?[ ,]{1,2})$", text[max(0, start - 8) : start])
            if points > 0.3:
                yield Candidate(
                    start - len(before.group()) if before else start,
                    end,
                    "ADDRESS",
                    round(min(points, 0.98), 2),
                    explain(name, cue),
                )


def _is_street(match: re.Match[str], tail: str, cue: str | None) -> bool:
    """Return whether a word before a name and a number is a street: not in `Im Mai 2024` or `place order 12`."""
    kind = match["type"]
    if fold(kind).rstrip(".") not in _STREET_WORDS:
        return _POSTCODE_DIGITS.search(tail) is not None
    return bool(tail) or cue is not None or kind[0].isupper()


_POSTCODE_DIGITS = re.compile(r"\d{4}")
_STREET_WORDS = words(
    "rue avenue boulevard chemin impasse allee quai via viale piazza piazzale vicolo strada contrada calle c/ cl "
    "avenida avda plaza paseo carrera carretera ronda camino carrer rua travessa praca estrada alameda rodovia ul "
    "ulica ulitsa aleja osiedle prospekt pereulok bulevardul calea aleea jalan jl lorong odos leoforos sokak cadde "
    "mahallesi"
)
"""Words that hardly stand before a name and a number but in an address."""
RECOGNISER = Recogniser("address", frozenset({"ADDRESS"}), scan)
