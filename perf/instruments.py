"""Write docs/instruments.md: every benchmark and judge in one table, from their cards and the stored measurements.

`python -m perf.instruments --write`; without it, say whether the file is current (exit code 1 if not).
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

from aftertune import plugins

PAGE = Path(__file__).parents[1] / "docs" / "instruments.md"
START = {
    "Source": r"Source:|Source and licence:",
    "Licence": r"Licence:",
    "Positive": r"Positive:|What a positive means:",
    "Error": r"Error on human labels|Error:|Measured error",
    "Speed": r"Speed:",
    "Weaknesses": r"Known weaknesses:|Weaknesses:|Weakness:",
}
"""How a part of a card begins."""
NOT_SAID = "not stated on the card"


def parts_of(card: str) -> dict[str, str]:
    """Return the parts of a card: each from its heading to the next one or the end of its paragraph."""
    heads = "|".join(f"(?P<{name}>{pattern})" for name, pattern in START.items())
    found: dict[str, str] = {}
    for paragraph in card.split("\n\n"):
        text = " ".join(paragraph.split())
        marks = list(re.finditer(rf"(?:(?<=^)|(?<=[.;] ))(?:{heads})", text))
        for k, mark in enumerate(marks):
            name = str(mark.lastgroup)
            end = marks[k + 1].start() if k + 1 < len(marks) else len(text)
            found.setdefault(name, text[mark.end() : end].strip(" .;:") or NOT_SAID)
            if mark.group().startswith("Source and licence"):
                found.setdefault("Licence", found["Source"])
    return found


def row(kind: str, name: str, columns: tuple[str, ...]) -> str:
    """Return one instrument as a line of the table."""
    card = inspect.getdoc(plugins.plugin_class(kind, name)) or ""
    found = parts_of(card)
    first = " ".join(card.split("\n\n")[0].split())
    default = {"Error": "not measured", "Speed": "not measured"}
    cells = [f"`{name}`", first, *(found.get(column, default.get(column, NOT_SAID)) for column in columns)]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def benchmarks() -> list[str]:
    """Return the benchmarks as a table, from their cards."""
    heads = ("name", "what it is", "source", "licence", "size", "cluster", "a positive means", "weaknesses")
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for name in built_in("benchmark"):
        card = plugins.card_of("benchmark", name)
        assert card
        about = card.about.split("\n\n")[0]
        cells = (about, card.source, card.licence, card.size, card.cluster, card.positive, card.weaknesses)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in (f"`{name}`", *cells)) + " |")
    return lines


def built_in(kind: str) -> list[str]:
    """Return the names of a kind's plugins that ship with aftertune."""
    return [
        name for name in plugins.names(kind) if plugins.plugin_class(kind, name).__module__.startswith("aftertune.")
    ]


def table(kind: str, columns: tuple[str, ...], heads: tuple[str, ...]) -> list[str]:
    """Return a kind's instruments as a table."""
    lines = ["| " + " | ".join(("name", "what it is", *heads)) + " |", "|" + "---|" * (len(heads) + 2)]
    return lines + [row(kind, name, columns) for name in built_in(kind)]


def page() -> str:
    """Return the page."""
    return "\n".join(
        [
            "# Instruments",
            "",
            "Generated from the cards of the plugins by `python -m perf.instruments --write` (`make cards`): edit the",
            "cards, not this page. Figures on human labels and how they were measured: [judges.md](judges.md). What is",
            "`not measured` has no figure, not a good one.",
            "",
            "## Benchmarks",
            "",
            *benchmarks(),
            "",
            "## Judges",
            "",
            *table(
                "judge",
                ("Source", "Licence", "Positive", "Error", "Speed", "Weaknesses"),
                ("source", "licence", "a positive means", "error on human labels", "speed", "known weaknesses"),
            ),
            "",
        ]
    )


def main() -> int:
    """Write or check the page."""
    made = page()
    if "--write" in sys.argv[1:]:
        PAGE.write_text(made, encoding="utf-8")
        return 0
    current = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == made
    print(f"{PAGE.name} is {'current' if current else 'not current: run python -m perf.instruments --write'}")
    return 0 if current else 1


if __name__ == "__main__":
    sys.exit(main())
