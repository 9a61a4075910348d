"""Texts in a form that is the same whatever became of the personal values in them: kept, replaced, or left blank.

Every personal value and every placeholder becomes one symbol. What reads texts in this form cannot tell an arm tuned on
`[NAME]` from one tuned on names by that alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from aftertune.pii.detect import TYPES
from aftertune.pii.masking import masker
from aftertune.pii.policy import PLACEHOLDERS
from aftertune.pii.registry import Registry
from aftertune.text import normalise

SYMBOL = "\u25cc"
"""Stands for every personal value and every placeholder: no letter, so that it is no word."""

_TAGS = (
    "a abbr article aside b blockquote body br button center cite code dd del details div dl dt em figure font footer "
    "form h1 h2 h3 h4 h5 h6 head header hr html i iframe img input ins kbd label li link main mark meta nav ol option "
    "p pre q s samp script section select small span strike strong style sub summary sup svg table tbody td textarea "
    "tfoot th thead title tr tt u ul var video think answer response"
)
_TYPE = "|".join(sorted({*TYPES, *(mark.strip("[]") for mark in PLACEHOLDERS.values())}, key=len, reverse=True))
_PLACEHOLDER = re.compile(
    rf"""
      \[{{1,2}}(?=[^\[\]\n]*[^\W\d_]{{2}})[^\[\]\n]{{2,80}}\]{{1,2}}(?!\()          # [Name], [[your city]]; no link
    | \u3010[^\u3010\u3011\n]{{2,80}}\u3011
    | <(?!/?(?:{"|".join(_TAGS.split())})\b[^<>]*>)(?=[^<>\n]*[^\W\d_]{{2}})[^\W\d_][\w .'/-]{{1,60}}>  # <NAME>
    | \$?\{{{{1,3}}\s*[^\W\d_][\w .'-]{{1,60}}\s*\}}{{1,3}}                         # {{name}}, ${{NAME}}
    | %[A-Z][A-Z_]{{2,30}}% | \b__?[A-Z][A-Z_]{{2,30}}__?\b                         # %NAME%, __NAME__
    | \b(?:{_TYPE})_\d{{1,4}}\b                                                    # NAME_1
    | (?<![^\W_])[Xx]{{3,}}(?:[\s.-]{{0,2}}[Xx]{{2,}})*(?![^\W_]) | _{{3,}} | \u2588+ | \#{{2,}}(?:[ .-]\#{{2,}})+
    """,
    re.VERBOSE,
)
_CODE = re.compile(
    r"(?<![\w.])(?:(?=[A-Z0-9-]*\d)(?=[A-Z0-9-]*[A-Z])[A-Z0-9]+(?:-[A-Z0-9]+)*(?<=....)|\#?\d{5,})(?!\w|\.\d)"
)
"""Numbers of bookings and the like that no recogniser knows: capitals with digits, five digits in a row."""
_TITLE = r"(?:mr|mrs|ms|miss|mx|dr|prof)\b\.?\s+"
_OPENS, _CLOSES = r"<(\[{\"'", r">)\]}\"'"
_RUN = re.compile(
    rf"(?<![{_OPENS}])(?i:\b{_TITLE})?[{_OPENS}]*+{SYMBOL}(?:[\s,;|/&.\-{_OPENS}{_CLOSES}]*{SYMBOL})*[{_CLOSES}]*"
)
"""Symbols side by side: a name and an address are no more than one of them."""


def neutral(registries: Sequence[Registry]) -> Callable[[str], str]:
    """Return a function that brings a text into the neutral form.

    Personal values are those of the registries, parts of names included, and those that `detect` finds.
    """
    mask = masker(registries)

    def read(text: str) -> str:
        # Placeholders first: what stands in them is no name.
        text = _PLACEHOLDER.sub(SYMBOL, normalise(text))
        text = _PLACEHOLDER.sub(SYMBOL, mask(text))
        return _RUN.sub(SYMBOL, _CODE.sub(SYMBOL, text))

    return read
