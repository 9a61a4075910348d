"""Addresses within the page: of a metric, and of a metric in one arm; the same in every report on the same names."""

from __future__ import annotations

import hashlib
import re

_PLAIN = re.compile(r"[A-Za-z0-9_=.-]+")


def anchor(*names: str) -> str:
    """Return an id for the page, e.g. `core.harmful.refusal=full..keep`: safe in an attribute and in an address.

    A name of other signs, or a long one, is told by a hash: what a stranger calls an arm reaches no attribute.
    """
    return "..".join("m-" * (i == 0) + _part(name) for i, name in enumerate(names))


def _part(name: str) -> str:
    plain = name.replace("/", ".")
    if len(plain) <= 80 and _PLAIN.fullmatch(plain):
        return plain
    return "x" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
