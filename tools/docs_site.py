"""A hook of mkdocs: links of a page that leave the site become words, since the page is read in the repository too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return a page's Markdown whose links into the site are kept; those to other files of the repository are words."""
    folder = (DOCS / page.file.src_uri).parent

    def kept(match: re.Match[str]) -> str:
        address = match[2]
        if "://" in address or address.startswith("mailto:"):
            return match[0]
        there = (folder / address).resolve()
        inside = DOCS.resolve() in there.parents and (there.is_file() or there.is_dir())
        if there.is_dir() and (there / "README.md").is_file():
            return f"[{match[1]}]({address.rstrip('/')}/README.md{match[3] or ''})"
        return match[0] if inside and there.is_file() and there.suffix != ".json" else match[1]

    return LINK.sub(kept, markdown)
