"""Payment card numbers: length and first digits of a network, and the Luhn check digit."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stdnum import luhn

from aftertune.pii.recogniser import Candidate, Recogniser, View, explain, only_digits

_RUN = re.compile(r"(?<![\w+])(?<!\d[.,])\d(?:(?: ?- ?|[ ./])?\d){11,}(?![\w]|[.,-]\d)")
_CARD = re.compile(r"\d(?:(?: ?- ?|[ ./])?\d){11,18}")
_BLANK = re.compile(r"[ /]")
_GROUPS = re.compile(r"\d{13,19}(?!\d)|\d{4}([ .\-/])\d{4}\1\d{4}\1\d{4}|\d{4}([ .\-/])\d{6}\2\d{4,5}")
"""Groups of digits as they are printed on cards."""
_LOOSE = re.compile(
    r"(?<![\w.])(?:\d{4}(?P<a>[^\w\n,;]{1,9}|[,_]|%20)\d{4}(?P=a)\d{4}(?P=a)\d{4}|"
    r"\d{4}(?P<b>[^\w\n,;]{1,9}|[,_]|%20)\d{6}(?P=b)\d{5})(?![\w]|[.,-]\d)"
)
"""The same groups with any marks between them (`_`, cells of a table, bold type): cards beside a word for them only."""
_NETWORKS = (
    ("Visa", re.compile(r"4"), (13, 16, 19)),
    ("Mastercard", re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),
    ("American Express", re.compile(r"3[47]"), (15,)),
    ("Discover", re.compile(r"6011|64[4-9]|65|622"), (16, 17, 18, 19)),
    ("JCB", re.compile(r"35(?:2[89]|[3-8])"), (16, 17, 18, 19)),
    ("JCB (older)", re.compile(r"1800|2131"), (15,)),
    ("Diners Club", re.compile(r"30[0-5]|3095|36|3[89]"), (14, 16, 19)),
    ("UnionPay", re.compile(r"62|81"), (16, 17, 18, 19)),
    ("Maestro", re.compile(r"50|5[6-9]|6[0-9]"), (12, 13, 14, 15, 16, 17, 18, 19)),
    ("Mir, RuPay, Troy or Verve", re.compile(r"220[0-4]|60|65|81|82|508|9792|506|650"), (16, 17, 18, 19)),
)
_CUE = re.compile(
    r"\b(?:credit|debit|bank|payment|gift|visa|master|amex)?[ -]?cards?\b|\bvisa\b|\bmastercard\b|\bamex\b|"
    r"\bamerican express\b|\bdiscover\b|\bdiners\b|\bjcb\b|\bmaestro\b|\bcharge[sd]?\b|\bpay(?:ing|ment)?\b|\bcc\b|"
    r"\bkarte\b|\btarjeta\b|\bcarte\b"
)
_OTHER = re.compile(
    r"\b(?:order|tracking|invoice|ticket|booking|reference|serial|imei|isbn|ean|barcode|part|sku|commit|hash|sha|uuid|guid|trace|etag|session|token|cookie|checksum|"
    r"nonce|epoch|timestamp)\b"
)


def network(digits: str) -> str | None:
    """Return the network whose numbers have this length and these first digits, or None."""
    for name, prefix, lengths in _NETWORKS:
        if len(digits) in lengths and prefix.match(digits):
            return name
    return None


def scan(view: View) -> Iterator[Candidate]:
    """Yield card numbers; one with a wrong check digit scores below the default threshold."""
    if not view.has_digit:
        return
    usual = list(_numbers(view.text))
    for match in _LOOSE.finditer(view.text):
        digits = only_digits(match.group().replace("%20", ""))
        name, cue = network(digits), view.near(_CUE, match.start(), match.end(), 64)
        if any(one.start() < match.end() and match.start() < one.end() for one in usual):
            continue
        if name and cue and luhn.is_valid(digits):
            yield Candidate(*match.span(), "CREDIT_CARD", 0.9, explain(f"{name} number in groups, Luhn", cue))
    for match in usual:
        digits = only_digits(match.group())
        name = network(digits)
        if name is None or len(set(digits)) < 2:
            continue
        cue = view.near(_CUE, match.start(), match.end(), 64)
        if not luhn.is_valid(digits):
            if cue:
                yield Candidate(*match.span(), "CREDIT_CARD", 0.3, explain(f"{name} number, wrong Luhn digit", cue))
            continue
        other = None if cue else view.cue(_OTHER, match.start())
        score = 1.0 if cue else 0.4 if other else 0.9 if len(digits) > 13 else 0.6
        why = explain(f"{name} number, Luhn", cue or other, before="context" if cue else "but context")
        yield Candidate(*match.span(), "CREDIT_CARD", score, why)


def _numbers(text: str) -> Iterator[re.Match[str]]:
    """Yield what may be a card number: a run of digits, and what is grouped like a card within a longer one."""
    for run in _RUN.finditer(text):
        if whole := _CARD.fullmatch(text, *run.span()):
            yield whole
            digits = only_digits(whole.group())
            if network(digits) and luhn.is_valid(digits):
                continue
        for begin in (run.start(), *(gap.end() for gap in _BLANK.finditer(text, *run.span()))):
            part = _GROUPS.match(text, begin, run.end())
            if part and part.span() != run.span() and (part.end() == run.end() or text[part.end()] in " /"):
                yield part


RECOGNISER = Recogniser("card", frozenset({"CREDIT_CARD"}), scan)
