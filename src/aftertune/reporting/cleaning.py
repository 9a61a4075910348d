"""Text of models and data sets made harmless: nothing in it deceives or breaks a page, a terminal or a file."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

PRECUT = 20_000
"""Characters that a mask reads at most; far above any limit of what is printed."""
PRECUT_TAIL = 300
"""Characters dropped at the end of a text cut to `PRECUT`: the mask does not know half a personal value."""

# A terminal's commands: CSI (colours, cursor), OSC (title, links) with its end in reach, else the two-character ones.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]{0,256}(?:\x07|\x1b\\)|[@-Z\\^_])")
_BREAKS = re.compile("\r\n|[\r\u2028\u2029]")
_SUSPECT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u0600-\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f"
                      "\u202a-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\uffff\U000110bd\U000110cd\U00013430-\U0001345f"
                      "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]")  # fmt: skip
_STACKED = re.compile("([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{8})"
                      "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")  # fmt: skip
"""Marks on one letter beyond what any language writes: a hundred of them cover the lines above and below."""
_INVISIBLE = frozenset({"Cc", "Cf", "Cn"})


@dataclass(frozen=True, slots=True)
class SafeText:
    """Text of a model or a data set, safe to print, with what was done to it."""

    text: str
    notes: tuple[str, ...] = ()
    is_cut: bool = False
    """Whether there is more of it."""


def _replace(char: str, removed: Counter[str]) -> str:
    category = unicodedata.category(char)
    if category == "Cs":
        removed["unpaired surrogates"] += 1
        return "\N{REPLACEMENT CHARACTER}"
    if category in _INVISIBLE:
        removed["control characters" if category == "Cc" else "invisible or direction-changing characters"] += 1
        return ""
    return char


def clean(text: str, removed: Counter[str] | None = None) -> str:
    """Return `text` without what can deceive or break a page, a terminal or a file; `removed` counts by kind.

    Removed: terminal escapes, control characters (tab and line break stay), invisible and direction-changing
    characters (so that none can split a personal value and hide it from the mask), and accents beyond the eighth on one
    letter. Unpaired surrogates become U+FFFD.
    Markup is not touched here: each output format escapes for itself.
    """
    if text.isascii() and text.isprintable():
        return text
    counts: Counter[str] = Counter() if removed is None else removed
    text, escapes = _ESCAPES.subn("", text)
    if escapes:
        counts["terminal escapes"] += escapes
    text = _SUSPECT.sub(lambda match: _replace(match.group(), counts), _BREAKS.sub("\n", text))
    result = _STACKED.sub(r"\1", text)
    if len(result) < len(text):
        counts["surplus accents"] += len(text) - len(result)
    return result


def show(text: str, mask: Callable[[str], str], limit: int) -> SafeText:
    """Return `text` cleaned, masked, then cut to `limit` characters, with a note for each thing done to it."""
    removed: Counter[str] = Counter()
    total = len(text)
    head = clean(text[:PRECUT], removed)
    if total > PRECUT:
        head = head[:-PRECUT_TAIL]
    masked = clean(mask(head))
    notes = [f"{n:,} {what if n != 1 else what.removesuffix('s')} removed" for what, n in sorted(removed.items())]
    is_cut = len(masked) > limit or total > PRECUT
    if is_cut:
        masked = masked[:limit]
        notes.append(f"first {len(masked):,} of {total:,} characters")
    if not masked.strip():
        notes.append("no visible text")
    return SafeText(masked, tuple(notes), is_cut)
