"""Another value of the same type, format and country; and strings of the same shape that are nobody's."""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable, Iterator

from stdnum import luhn
from stdnum.iso7064 import mod_97_10

from aftertune.pii.names_by_culture import NAMES
from aftertune.pii.normalisation import fold


def words(text: str) -> tuple[str, ...]:
    """Return the words of `text`."""
    return tuple(text.split())


_TWO = frozenset(
    words(
        "20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 "
        "81 82 84 86 90 91 92 93 94 95 98"
    )
)
"""Country calling codes of two digits (ITU-T E.164); 1 and 7 have one, all others three."""
_AREAS = words(
    "201 203 206 212 214 216 303 305 312 314 401 402 404 405 415 502 503 512 513 602 603 612 614 702 703 713 801 802"
)


def digit(rng: random.Random, low: int = 0) -> str:
    """Return a digit from `low` on."""
    return str(rng.randrange(low, 10))


def shaped(text: str, rng: random.Random) -> str:
    """Return `text` with each digit another digit, each letter another letter of its case; the rest stays."""
    new = []
    for index, char in enumerate(text):
        if char.isdecimal():
            new.append(digit(rng, 1 if char != "0" and (index == 0 or not text[index - 1].isdecimal()) else 0))
        elif char.isalpha():
            letter = rng.choice(string.ascii_uppercase)
            new.append(letter if char.isupper() else letter.lower())
        else:
            new.append(char)
    return "".join(new)


def filled(text: str, digits: str) -> str:
    """Return `text` with its digits replaced, in order, by `digits`, in the same layout."""
    rest = iter(digits)
    return "".join(next(rest) if char.isdecimal() else char for char in text)


def digits_of(text: str) -> str:
    """Return the digits of `text`, in their own script."""
    return "".join(char for char in text if char.isdecimal())


_TEST_CARDS = {"4": "411111", "51": "555555", "52": "555555", "53": "555555", "54": "555555", "55": "555555",
               "2": "222300", "34": "378282", "37": "378282", "6": "601111", "30": "305693", "36": "361489",
               "38": "305693", "35": "353011"}  # fmt: skip
"""Issuer's first digits -> the prefix of the issuer's public test numbers."""
_PUBLIC_HOSTS = frozenset(
    words(
        "gmail.com googlemail.com yahoo.com hotmail.com outlook.com live.com icloud.com aol.com gmx.de "
        "gmx.net web.de  mail.com proton.me protonmail.com orange.fr libero.it yahoo.co.uk linkedin.com "
        "facebook.com twitter.com x.com  instagram.com github.com"
    )
)
"""Hosts with millions of users: they identify nobody, and stay."""
_MONTHS = (
    words("january february march april may june july august september october november december"),
    words("jan feb mar apr may jun jul aug sep oct nov dec"),
)
_STREET_WORDS = frozenset(
    words(
        "street st road rd lane ln avenue ave drive dr court ct boulevard blvd way place pl square sq terrace "
        "close crescent  highway hwy route parkway pkwy circle cir trail row gardens park north south east "
        "west n s e w ne nw se sw apt suite  ste unit flat floor fl room p o po box house no nr the and of "
        "upper lower new old strasse str straße gasse platz weg  allee rue avenue impasse chemin quai calle "
        "avenida plaza paseo via viale piazza corso rua travessa ulica ul plac  usa uk us germany france "
        "spain italy england scotland wales ireland portugal poland netherlands austria switzerland  de la le "
        "du des del da do dos van von der den am an im zum zur county"
    )
)
_PLACES = words(
    "Alder Ashdown Barrow Beech Birchwood Bramble Brook Burnham Canterton Chapel Clover Coppice Dalewood "
    "Elmwood Fairview  Fernhill Foxley Glenmore Grange Hartley Hazelwood Heathfield Highfield Holbrook "
    "Kestrel Kingsmead Larch Linden Lodge  Marlowe Meadow Millbrook Northcote Oakfield Orchard Parkside "
    "Priory Queensway Ridgeway Rosewood Rowan Sandown  Shelley Springfield Stanmore Summerhill Tennyson "
    "Thornbury Victoria Walnut Westbrook Whitfield Willow Windmill Yew"
)
_HOSTS = words(
    "alderpost birchmail cedarnet dunmere eastlink fernbox glenmail harbornet ivypost juneway kelbox larkmail"
)
_ANY_NAME = words(" ".join(NAMES["english"]))
_ONSETS = words("b br c cl d dr f fl g gr h j k l m n p pl pr qu r s st t tr v w z")
_VOWELS = words("a e i o u ai ea io")


def coined(length: int, rng: random.Random) -> str:
    """Return a pronounceable made-up word of `length` letters."""
    word = ""
    while len(word) < length:
        word += rng.choice(_ONSETS) + rng.choice(_VOWELS)
    return word[:length]


# ---------------------------------------------------------------------------------------------- by type


def _phone_parts(old: str) -> tuple[str, re.Match[str] | None, str, str, str]:
    """Return (number without extension, extension, and of its digits the zeros, the country code and the rest)."""
    tail = re.search(r"(?i)\s*(?:x|ext\.?|extension)\s*\d+$", old)
    main = old[: tail.start()] if tail else old
    digits = digits_of(main)
    international = main.lstrip("( ").startswith("+") or digits.startswith("00")
    body = digits[2:] if digits.startswith("00") else digits
    zeros = digits[: len(digits) - len(body)]
    if international:
        code = body[0] if body[:1] in ("1", "7") else body[:2] if body[:2] in _TWO else body[:3]
    else:
        code = "1" if len(body) == 11 and body[0] == "1" else ""
    return main, tail, zeros, code, body[len(code) :]


def _north_american(code: str, rest: str) -> bool:
    return len(rest) == 10 and (code == "1" or (not code and not rest.startswith("0")))


def fictional(old: str) -> bool:
    """Return whether the stand-in of this number comes from the North American block reserved for fiction."""
    _, tail, _, code, rest = _phone_parts(old)
    return tail is None and _north_american(code, rest)


def fictional_phones() -> Iterator[str]:
    """Yield every number of that block that `phone` can return."""
    yield from (f"{area}55501{number:02d}" for area in _AREAS for number in range(100))


def phone(old: str, rng: random.Random, crowded: bool) -> str:
    """Return another number of the same layout and country; North American ones from the fictional 555-01 block."""
    main, tail, zeros, code, rest = _phone_parts(old)
    if _north_american(code, rest):
        new = rng.choice(_AREAS) + "".join(shaped("555", rng) if crowded else "555")
        new += shaped("2345", rng) if crowded else f"01{rng.randrange(100):02d}"
    else:
        # The trunk prefix and the digit after it say which kind of number it is (mobile, city), so they stay.
        head = re.match(r"0*\d?", rest)
        kept = head.group() if head and len(rest) > 4 else ""
        new = kept + "".join(digit(rng) for _ in rest[len(kept) :])
    extension = filled(tail.group(), "".join(digit(rng, 1) for _ in digits_of(tail.group()))) if tail else ""
    return filled(main, zeros + code + new) + extension


def _local(old: str, rng: random.Random, renamed: tuple[str, str] | None) -> str:
    """Return a local part or user name in the form of the old one, with the new name for the old one."""
    if renamed is not None:
        was = [fold(word) for word in renamed[0].split()]
        now = [re.sub(r"[^\w]", "", fold(word)) for word in renamed[1].split()]
        pairs = sorted(((a, b) for a, b in zip(was, now, strict=False) if a), key=lambda pair: -len(pair[0]))
        new, rest, hit = "", old.lower(), False
        while rest:
            whole = next(((a, b) for a, b in pairs if len(a) >= 2 and rest.startswith(a)), None)
            if whole:
                new, rest, hit = new + whole[1], rest[len(whole[0]) :], True
                continue
            initial = next(((a[0], b[0]) for a, b in pairs if rest[0] == a[0] and b), None)
            alone = len(rest) == 1 or not rest[1].isalpha() or any(rest[1:].startswith(a) for a, _ in pairs)
            if initial and alone:
                new, rest = new + initial[1], rest[1:]
            else:
                new += shaped(rest[0], rng) if rest[0].isdecimal() else rest[0]
                rest = rest[1:]
        if hit:
            return new
    parts = re.split(r"([^\W\d_]+)", old)
    return "".join(_worded(p, rng) if p[:1].isalpha() else shaped(p, rng) for p in parts)


def _worded(word: str, rng: random.Random) -> str:
    """Return a name of about the same length in the same case, or other letters for one or two letters."""
    if len(word) < 3:
        return shaped(word, rng)
    near = [name for name in _ANY_NAME if abs(len(name) - len(word)) <= 1] or _ANY_NAME
    new = rng.choice(near)
    return new.lower() if word.islower() else new.upper() if word.isupper() else new


def _host(old: str, rng: random.Random) -> str:
    if old.lower().removeprefix("www.") in _PUBLIC_HOSTS:
        return old
    labels = old.split(".")
    ends = 2 if len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= 3 else 1
    prefix = "www." if labels[0] == "www" else ""
    return prefix + rng.choice(_HOSTS) + coined(rng.randrange(0, 4), rng) + "." + ".".join(labels[-ends:])


def email(old: str, rng: random.Random, renamed: tuple[str, str] | None) -> str:
    """Return an address of the same form and top-level domain, with the new name for the old one."""
    local, _, host = old.rpartition("@")
    return f"{_local(local, rng, renamed)}@{_host(host, rng)}"


def card(old: str, rng: random.Random) -> str:
    """Return a card number of the same issuer, length and layout, from its test range, with a correct Luhn digit."""
    digits = digits_of(old)
    prefix = next(
        (new for start, new in sorted(_TEST_CARDS.items(), reverse=True) if digits.startswith(start)), "400000"
    )
    body = prefix + "".join(digit(rng) for _ in range(len(digits) - len(prefix) - 1))
    return filled(old, body + luhn.calc_check_digit(body))


def iban(old: str, rng: random.Random) -> str:
    """Return an IBAN of the same country, length and layout with correct check digits (ISO 13616, mod 97)."""
    plain = "".join(char for char in old if char.isalnum())
    if not (plain.isascii() and plain[:2].isalpha() and len(plain) > 4):
        return shaped(old, rng)
    country, body = plain[:2].upper(), shaped(plain[4:].upper(), rng)
    rest = iter(f"{country}{mod_97_10.calc_check_digits(body + country)}{body}")
    new = "".join(next(rest) if char.isalnum() else char for char in old)
    return new.lower() if old.islower() else new


def national_id(old: str, rng: random.Random) -> str:
    """Return a number of the same shape; one in the US layout starts with 9, as no social security number does."""
    new = shaped(old, rng)
    return "9" + new[1:] if re.fullmatch(r"\d{3}[- ]?\d{2}[- ]?\d{4}", old) else new


def birth_date(old: str, rng: random.Random) -> str:
    """Return another date in the same format, at most five years away, that is a date in every reading."""
    day, month = rng.randrange(1, 13), rng.randrange(1, 13)
    late = rng.randrange(13, 29)

    def number(match: re.Match[str]) -> str:
        text = match.group()
        if len(text) == 4:
            return str(min(int(text) + rng.choice([-5, -4, -3, -2, -1, 1, 2]), 2015))
        if len(text) == 8:  # a date without separators
            return number(re.match(r"\d+", text[:4])) + f"{month:02d}{day:02d}"  # type: ignore[arg-type]
        new = late if int(text) > 12 else rng.randrange(1, 13)
        if int(text) > 31:
            new = rng.randrange(40, 99)
        return f"{new:0{len(text)}d}"

    def word(match: re.Match[str]) -> str:
        text = match.group()
        for months in _MONTHS:
            if text.lower() in months:
                new = months[rng.randrange(12)]
                return new.upper() if text.isupper() else new.capitalize() if text[0].isupper() else new
        return text

    return re.sub(r"[^\W\d_]+", word, re.sub(r"\d+", number, old))


def ip(old: str, rng: random.Random) -> str:
    """Return an address from the blocks for documentation (RFC 5737, RFC 3849), or a private one for a private one."""
    if ":" in old:
        groups = ":".join(f"{rng.randrange(65536):x}" for _ in range(max(1, min(6, old.count(":") - 1))))
        return "2001:db8:" + (groups if groups.count(":") == 5 else f":{groups}")
    port = re.search(r":\d+$", old)
    private = re.match(r"10\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.", old)
    block = (
        f"10.{rng.randrange(256)}.{rng.randrange(256)}"
        if private
        else rng.choice(["192.0.2", "198.51.100", "203.0.113"])
    )
    return f"{block}.{rng.randrange(1, 255)}" + (port.group() if port else "")


def url(old: str, rng: random.Random, renamed: tuple[str, str] | None) -> str:
    """Return an address with another host of the same top-level domain, and a path of the same shape."""
    match = re.fullmatch(r"((?:[a-z][a-z+.-]*:)?(?://)?)([^/?#:]+)(.*)", old, re.I | re.S)
    if match is None:
        return shaped(old, rng)
    scheme, host, path = match.groups()
    new = re.sub(r"[^/?#&=.:%-]+", lambda part: _local(part.group(), rng, renamed), path)
    return scheme + _host(host, rng) + new


def address(old: str, rng: random.Random) -> str:
    """Return an address of the same form with other numbers, codes and names; words like `Street` stay."""

    def word(match: re.Match[str]) -> str:
        text = match.group()
        if any(char.isdecimal() for char in text):
            return shaped(text, rng)
        if text.lower().rstrip(".") in _STREET_WORDS or (text.isupper() and len(text) <= 2):
            return text
        near = [place for place in _PLACES if abs(len(place) - len(text)) <= 2]
        new = rng.choice(near or list(_PLACES))
        return new.lower() if text.islower() else new.upper() if text.isupper() else new

    return re.sub(r"[^\W_](?:[\w'\u2019-]*\w)?", word, old)


def reference(old: str, rng: random.Random) -> str:
    """Return a reference of the same shape; letters before four digits or more are the company's, so they stay."""
    head = re.fullmatch(r"([^\W\d_]{1,4})([\s#/-]*)(\d{4,})", old)
    return f"{head[1]}{head[2]}{shaped(head[3], rng)}" if head else shaped(old, rng)


def another(type_: str, old: str, rng: random.Random, renamed: tuple[str, str] | None, crowded: bool) -> str:
    """Return another value of `type_` in the format of `old`; `renamed` is the owner's (old name, new name)."""
    if type_ == "PHONE":
        return phone(old, rng, crowded)
    if type_ == "EMAIL":
        return email(old, rng, renamed)
    if type_ == "URL":
        return url(old, rng, renamed)
    if type_ == "USERNAME":
        return _local(old, rng, renamed)
    return _BY_TYPE.get(type_, shaped)(old, rng)


_BY_TYPE: dict[str, Callable[[str, random.Random], str]] = {
    "CREDIT_CARD": card,
    "IBAN": iban,
    "NATIONAL_ID": national_id,
    "DATE_OF_BIRTH": birth_date,
    "IP": ip,
    "ADDRESS": address,
    "REFERENCE": reference,
}


def made_up(type_: str, old: str, rng: random.Random) -> str:
    """Return a string of the shape of `old` that is no personal value: names of products and places, codes, files."""
    if type_ in ("PERSON", "ADDRESS"):
        return re.sub(r"[^\W_]+", lambda m: _coined_like(m.group(), rng), old)
    if type_ == "EMAIL":  # a file: the same words and dots
        local, _, host = old.rpartition("@")
        parts = re.sub(r"[^\W_]+", lambda m: _coined_like(m.group(), rng), f"{local}/{host.partition('.')[0]}")
        return parts + ".pdf"
    worded = type_ in ("URL", "USERNAME")
    new = re.sub(r"[^\W_]+", lambda m: _coined_like(m.group(), rng), old) if worded else shaped(old, rng)
    if type_ == "URL":
        return re.sub(r"^[^/]*//", "", new).replace(".", "/")
    if type_ in ("PHONE", "CREDIT_CARD", "IP", "DATE_OF_BIRTH", "NATIONAL_ID"):
        # An order code: with `#` before it and `/` between the groups it is no number of a person.
        return "#" + re.sub(r"[-. ():+]+", "/", new).strip("/")
    return "ZX" + new[2:] if type_ == "IBAN" else new


def _coined_like(word: str, rng: random.Random) -> str:
    if any(char.isdecimal() for char in word):
        return shaped(word, rng)
    new = coined(max(2, len(word)), rng)
    return new.capitalize() if word[:1].isupper() and not word.isupper() else new.upper() if word.isupper() else new
