"""A field's name as context of its value: `"ssn": "536904399"` is a number with a name, the digits alone are nothing.

The reader of chat files gives each text of a row without its field, as `{"ssn": ...}` in the arguments of a tool call.
Where that field names a kind of personal value, the text is searched a second time with the name before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeVar

from aftertune.pii.word_lists import words

LONGEST = 120
"""Characters of a text that its field may speak for: a longer one has context of its own."""
_KINDS = words(
    "ssn social passport passeport passnummer reisepass pasaporte passaporto paspoort dob birth birthday birthdate "
    "born geburtsdatum geburtstag naissance nacimiento nascita geboortedatum nascimento name firstname "
    "lastname fullname surname forename nickname vorname nachname familienname nom prenom nombre apellido apellidos "
    "nome cognome naam voornaam achternaam sobrenome phone telephone tel telefon telefono telefone telefoon mobile "
    "cell cellphone handy fax whatsapp username user login handle licence license driver fuhrerschein tax steuer "
    "steuerid tin nhs bsn nino nif nie dni cpf cnpj pesel personnummer aadhaar sin insurance iban card karte carte "
    "tarjeta carta plate kennzeichen booking reservation reference ref pnr confirmation address adresse"
)
"""Words in the name of a field that say what kind of personal value it holds."""
_THINGS = words(
    "product company organisation organization org brand file folder path model function tool city country town place "
    "event project table column class variable host domain server bucket category item hotel restaurant store shop "
    "team group role package plan course page method type key field display service app bank street region"
)
"""Words before `name` that make it the name of a thing."""
_LONG_FORMS = {
    "dob": "date of birth", "birthdate": "date of birth", "firstname": "name", "lastname": "name", "fullname": "name",
    "cellphone": "cell phone", "tel": "phone", "steuerid": "steuer-id", "ref": "reference", "pnr": "booking reference",
}  # fmt: skip
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|[_\W]+")
_KEY = re.compile(r"(?:^|\.)([A-Za-z_][A-Za-z0-9_]*)(?:\[\d+\])*$")
_OF_A_TOOL = re.compile(
    r"^tools?\b|^functions?\b|(?:^|\.)(?:function|function_call|functionCall|functionResponse)\.name$|"
    r"(?:content|parts|tool_calls)\[\d+\]\.name$"
)
"""Names of functions, and what their schemas say."""
Item = TypeVar("Item")
Span = tuple[int, int, Item]
"""A finding: start, end, and whatever it is."""


@lru_cache(maxsize=1 << 12)
def label_of(field: str) -> str:
    """Return what a field's name says of its value, as text to put before it; empty where it says nothing of it."""
    key = _KEY.search(field)
    if key is None or _OF_A_TOOL.search(field):
        return ""
    parts = [_singular(part.casefold()) for part in _CAMEL.split(key[1]) if part]
    kinds = [part for part in parts if part in _KINDS]
    if not kinds or ({*kinds} <= {"name"} and any(part in _THINGS for part in parts)):
        return ""
    return " ".join(_LONG_FORMS.get(part, part) for part in parts) + ": "


def _singular(part: str) -> str:
    """Return `phone` for `phones`."""
    return part[:-1] if part not in _KINDS and part[:-1] in _KINDS and part.endswith("s") else part


def spans_in_field(find: Callable[[str], Sequence[Span[Item]]], field: str, text: str) -> Sequence[Span[Item]]:
    """Return what `find` finds in the text of a field, its name read as context, in order, none overlapping.

    `find`: text -> its findings, in order. Of two that overlap the longer stays, then the one that the name led to.
    """
    alone = find(text)
    label = label_of(field) if field and 0 < len(text) <= LONGEST else ""
    if not label:
        return alone
    named = [(a - len(label), b - len(label), what) for a, b, what in find(label + text) if a >= len(label)]
    kept: list[Span[Item]] = []
    for one in sorted([*named, *alone], key=lambda each: each[0] - each[1]):  # stable: named before alone
        if all(one[1] <= other[0] or other[1] <= one[0] for other in kept):
            kept.append(one)
    return sorted(kept, key=lambda each: each[0])
