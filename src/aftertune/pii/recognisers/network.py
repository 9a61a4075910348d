"""IP addresses, URLs and bare domain names."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from aftertune.pii.recogniser import Candidate, Recogniser, View, explain
from aftertune.pii.word_lists import words

_V4 = re.compile(r"(?<![\w.\-])(?:\d{1,3}\.){3}\d{1,3}(?:/\d{1,2}|:\d{2,5})?(?![\w\-]|\.\d)")
_V6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f:][0-9A-Fa-f:.]{1,45}(?:/\d{1,3})?(?![\w:])")
_IP_CUE = re.compile(
    r"\bip(?:v[46])?\b|\baddress\b|\bserver\b|\bhost\b|\bping\b|\bsubnet\b|\bgateway\b|\bdns\b|\bvpn\b"
)
_VERSION = re.compile(
    r"\b(?:version|ver|v|release|build|firmware|update|upgrade[d]?|section|chapter|clause|paragraph|article|figure|"
    r"table|driver|patch|revision|rev|oid|software|kernel)\.?\s{0,2}[:#]?\s{0,2}(?:is |to |from |number )?$"
)
_SOFTWARE = re.compile(
    r"\b(?:chrom(?:e|ium)|firefox|safari|edge|opera|windows|i(?:pad)?os|android|macos|ubuntu|debian|python|numpy|node(?:\.?js)?|java|"
    r"jdk|php|mysql|mariadb|postgres(?:ql)?|nginx|apache|docker|kubernetes|office|excel|teams|zoom|acrobat|photoshop|"
    r"sdk|app|library|package|plug-?in|module|cuda|torch|tensorflow|glibc|gcc|openssl)[ /=]{1,3}v?$"
)
_PRODUCT = re.compile(r"\b(?:version|firmware|build|release|driver|patch|revision|kernel|software)\b")
_URL = re.compile(r"(?<![\w@])(?:https?|ftps?|sftp|wss?)://[^\s<>\"'`{}|\\^\[\]]{2,2000}", re.I)
_WWW = re.compile(
    r"(?<![\w@./])www\d?\.[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}(?:[/:?#][^\s<>\"'`{}|\\^\[\]]{0,2000})?", re.I
)
_TLDS = words(
    "com org net edu gov mil int info biz name pro io co uk de fr es nl be ch at se no dk fi pl cz sk hu ro bg gr pt "
    "ie eu ru ua tr il jp cn kr in au nz ca us mx br ar cl za ng ke eg ae sa ir pk bd lk sg my th vn ph id hk tw is it "
    "lu li mt cy ee lv lt si hr rs ba me mk al ge am az kz by md su cat asia mobi tel travel jobs museum aero coop "
    "xyz online site shop store app dev tech blog cloud club live news space website email media agency design "
    "digital solutions services world today life global network systems company group academy education london berlin "
    "paris nyc ai tv cc ly gg fm to vc so gl la pe uy ec bo py cr pa gt do cu ma tn dz ly sn gh ug tz rw zm zw na mu "
    "lb jo kw qa om ye iq sy np mm kh mn uz tm kg tj hotel bank example test"
)
_WORDLIKE = words(
    "in is it at no me to so be us am do my la by as id name pro live news space today life world group club design "
    "email media jobs travel test example company services shop store site tel"
)
"""Top-level domains that are words: after a full stop with no space, they more often begin a sentence."""
_DOMAIN = re.compile(
    r"(?<![\w@./\-])(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,4}([a-z]{2,12})(?![\w@-]|\.\w)"
    r"(?:[/?#][^\s<>\"'`{}|\\^\[\]]{0,2000}|:\d{2,5}(?!\d))?",
    re.I,
)
_SITE_CUE = re.compile(
    r"\bweb ?sites?\b|\bsites?\b|\bvisit(?:ed|ing)?\b|\burl\b|\blinks?\b|\bdomains?\b|\bpage\b|\bblog\b|\bonline\b|"
    r"\bclick\b|\bposted\b|\bgo to\b|\bbrowse\b|\bwww\b|\bportal\b"
)


def scan(view: View) -> Iterator[Candidate]:
    """Yield IP addresses that are not version numbers, URLs, and domains with a known top-level domain."""
    text = view.text
    if "." in text and view.has_digit:
        for match in _V4.finditer(text):
            address = re.split(r"[/:]", match.group())[0]
            if all(int(part) < 256 and (part == "0" or part[0] != "0") for part in address.split(".")):
                yield _v4(view, match.start(), match.end(), address)
    if text.count(":") > 1:
        for match in _V6.finditer(text):
            yield from _v6(match)
    if "://" in text:
        for match in _URL.finditer(text):
            yield Candidate(match.start(), _trim(text, *match.span()), "URL", 0.97, "URL with a scheme")
    if "." in text:
        if "www" in view.lower:
            for match in _WWW.finditer(text):
                yield Candidate(match.start(), _trim(text, *match.span()), "URL", 0.95, "domain with www")
        for match in _DOMAIN.finditer(text):
            yield from _domain(view, match)


def _v4(view: View, start: int, end: int, address: str) -> Candidate:
    cue = view.cue(_IP_CUE, start, 32)
    version = (
        _SOFTWARE.search(view.lower, max(0, start - 24), start)
        or _VERSION.search(view.lower, max(0, start - 24), start)
        or (None if cue else view.cue(_PRODUCT, start, 24))
    )
    small = all(int(part) < 20 for part in address.split("."))
    score = 0.95 if cue else 0.45 if small else 0.85
    if version and not (cue and cue.startswith("ip")):
        return Candidate(start, end, "IP", 0.2, "IPv4; but context of a version")
    return Candidate(start, end, "IP", score, explain("IPv4: four numbers up to 255", cue))


def _v6(match: re.Match[str]) -> Iterator[Candidate]:
    value = match.group().rstrip(".")
    plain = value.split("/")[0]
    if value.endswith(":") and not value.endswith("::"):
        value = plain = value[:-1]
    if plain.count(":") < 2 or len(plain) < 3 or sum(char.isalnum() for char in plain) < 2:
        return
    try:
        ipaddress.IPv6Address(plain)
    except ValueError:
        return
    yield Candidate(match.start(), match.start() + len(value), "IP", 0.95, "IPv6: groups of hexadecimal digits")


def _trim(text: str, start: int, end: int) -> int:
    """Return where a URL ends without the punctuation of the sentence around it."""
    while end > start and (
        text[end - 1] in ".,;:!?'\"*_"
        or (text[end - 1] == ")" and text.count("(", start, end) < text.count(")", start, end))
    ):
        end -= 1
    return end


def _domain(view: View, match: re.Match[str]) -> Iterator[Candidate]:
    top = match.group(1)
    low = top.lower()
    if low not in _TLDS:
        return
    labels = match.group().split("/")[0].split(".")
    if len(labels[-2]) < 2 and len(labels) < 3 and "/" not in match.group():
        return
    if top != low and top != top.upper():
        return
    cue = view.cue(_SITE_CUE, match.start())
    score = 0.8
    if low in _WORDLIKE and len(labels) == 2 and "/" not in match.group():
        score = 0.3
    if cue:
        score = min(0.95, score + 0.25)
    end = _trim(view.text, *match.span())
    yield Candidate(match.start(), end, "URL", score, explain("domain with a known top level", cue))


RECOGNISER = Recogniser("network", frozenset({"IP", "URL"}), scan)
