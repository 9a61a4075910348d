"""Images, sounds and files that a text holds as letters: `data:` URLs, and long runs of base64 or hexadecimal digits.

They are no words. Their letters would be taken for names and for another language.
"""

from __future__ import annotations

import re
from itertools import pairwise

SHORTEST = 64
"""Characters from which on a run may be a file whose first bytes are known."""
UNKNOWN = 200
"""Characters from which on any other run may be one."""
_LINE = 60
"""Characters of a line of base64 in a mail, at least."""
_URL = r"data:[\w.+-]{0,80}/?[\w.+-]{0,80}(?:;[\w.+-]{1,40}(?:=[^;,\s]{0,80})?){0,4};base64,[A-Za-z0-9+/_%=-]*"
_WRAPPED = rf"(?<![\w+/])(?:[A-Za-z0-9+/]{{{_LINE},76}}\r?\n){{2,}}[A-Za-z0-9+/]{{0,76}}={{0,2}}"
_RUN = rf"(?<![\w+/-])[A-Za-z0-9+/_-]{{{SHORTEST},}}={{0,2}}"
_ANY = re.compile(rf"(?P<url>{_URL})|(?P<wrapped>{_WRAPPED})|(?P<run>{_RUN})", re.A | re.I)
_MAGIC = re.compile(
    r"iVBORw0KGgo|/9j/|R0lGOD|UklGR|Qk[0-3]|JVBERi0|UEsDB|SUQz|T2dnUw|//[uv][A-Za-z0-9+/]|ZkxhQ|GkXfo|"
    r"A{4}[A-Za-z0-9]{3}mZ0eX|AAAAFGZ0eX|SUkqA|TU0AK|PHN2Zy|H4sI|0M8R4KGxGu"
)
"""How base64 of PNG, JPEG, GIF, RIFF, BMP, PDF, ZIP, MP3, Ogg, FLAC, Matroska, MP4, TIFF, SVG, gzip and Office files
begins."""
_HEXADECIMAL = re.compile(r"(?:[0-9a-f]+|[0-9A-F]+)")
_READ = 4000
"""Characters of a run that are looked at."""
_CHANGES = 0.4
"""Share of neighbouring characters of different kinds from which on a run is no word or path: in base64 of compressed
data it is 0.66, in a path or a name in camel case below 0.3."""
BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")


def encoded(text: str) -> list[tuple[int, int]]:
    """Return where files stand in a text as letters: (start, end) in characters, in order."""
    if ";base64," not in text and max(map(len, text.split()), default=0) < _LINE:
        return []
    return [
        match.span()
        for match in _ANY.finditer(text)
        if match.lastgroup == "url" or _is_data(match.group().replace("\r", "").replace("\n", ""))
    ]


def is_encoded(text: str) -> bool:
    """Return whether a text is one file as letters, and nothing else."""
    stripped = text.strip()
    return encoded(stripped) == [(0, len(stripped))] and bool(stripped)


def without_encoded(text: str) -> str:
    """Return a text with U+FFFC, which stands for an object, in place of each file in it."""
    pieces: list[str] = []
    cursor = 0
    for start, end in encoded(text):
        pieces += [text[cursor:start], "\ufffc"]
        cursor = end
    return "".join(pieces) + text[cursor:] if pieces else text


def _is_data(run: str) -> bool:
    if _MAGIC.match(run):
        return True
    if len(run) < UNKNOWN:
        return False
    head = run[:_READ]
    if _HEXADECIMAL.fullmatch(head):
        return not head.isdecimal() and not head.isalpha()
    kinds = [1 if char.islower() else 2 if char.isupper() else 3 if char.isdecimal() else 4 for char in head]
    changes = sum(one != other for one, other in pairwise(kinds))
    return {1, 2, 3} <= set(kinds) and changes >= _CHANGES * (len(head) - 1)
