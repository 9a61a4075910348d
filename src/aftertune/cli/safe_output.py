"""Output that cannot act on a terminal: text of a model may hold escapes, control and direction marks."""

from __future__ import annotations

import io
import re
from typing import TextIO

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f]")


def safe(text: str) -> str:
    """Return the text without anything that acts on a terminal."""
    if text.isascii() and (text.isprintable() or not _CONTROLS.search(text)):
        return text
    from aftertune.reporting.cleaning import clean

    return clean(text)


class SafeOutput(io.TextIOBase):
    """A stream that passes on `safe` text only; a character that the stream cannot encode is escaped."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text, made safe, and return its original length."""
        encoding = self._stream.encoding or "utf-8"
        self._stream.write(safe(text).encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        """Flush the stream below."""
        self._stream.flush()
