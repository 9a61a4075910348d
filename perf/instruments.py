"""Write docs/instruments.md: every benchmark and judge in one table, from their cards.

`python -m perf.instruments --write`; without it, say whether the file is current (exit code 1 if not).
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from aftertune import plugins

PAGE = Path(__file__).parents[1] / "docs" / "instruments.md"
BENCHMARK_COLUMNS = ("source", "licence", "size", "cluster", "positive", "weaknesses")
JUDGE_COLUMNS = ("source", "licence", "positive", "measured", "speed", "weaknesses")
HEADS = {"positive": "a positive means", "measured": "measured error"}
"""Field of `Card` -> the head of its column, where that is another word."""
EMPTY = {"measured": "not measured", "speed": "not measured"}


def table(kind: str, columns: tuple[str, ...]) -> list[str]:
    """Return the plugins of a kind that ship with aftertune as a table, from their cards."""
    heads = ("name", "what it is", *(HEADS.get(column, column) for column in columns))
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for name in plugins.names(kind):
        if not plugins.plugin_class(kind, name).__module__.startswith("aftertune."):
            continue
        card = plugins.card_of(kind, name)
        assert card
        fields = dataclasses.asdict(card)
        about, _, _ = card.about.partition("\n\n")
        cells = (about, *(fields[column] or EMPTY.get(column, "not stated on the card") for column in columns))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in (f"`{name}`", *cells)) + " |")
    return lines


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
            *table("benchmark", BENCHMARK_COLUMNS),
            "",
            "## Judges",
            "",
            *table("judge", JUDGE_COLUMNS),
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
