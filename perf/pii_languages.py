"""The finder in other languages than English: recognition, false findings and what is found, on support texts.

The texts (`tests/pii/support_texts.jsonl`) were written before anything was tuned: 60 harmless and 60 personal ones in
each of six languages, fewer in English, in many other languages, and mixed or of a word or two. A third of each group,
those whose text has the lowest hash, is held back (`--held-out`). A harmless text is wrong with any finding; a value
counts as found where a finding of its type overlaps it. Intervals: Wilson's score, 95 %.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aftertune.pii.detect import find
from aftertune.pii.languages import NAMES, UNKNOWN, language_of

try:
    from perf.pii_formats import wilson
except ImportError:
    from pii_formats import wilson  # type: ignore[import-not-found, no-redef]

TEXTS = Path(__file__).resolve().parents[1] / "tests" / "pii" / "support_texts.jsonl"
GROUPS = ("de", "fr", "es", "it", "nl", "pt", "en", "mixed", "others")


def read(held_out: bool) -> list[dict[str, Any]]:
    """Return the texts of the tuning part, or those held back."""
    rows = [json.loads(line) for line in TEXTS.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if row["held_out"] == held_out]


def share(hits: Sequence[bool]) -> str:
    """Return a share with its interval and number, or `-` where there is nothing to count."""
    if not hits:
        return "-"
    low, high = wilson(sum(hits), len(hits))
    return f"{sum(hits) / len(hits):.3f} [{max(low, 0):.3f}, {high:.3f}] of {len(hits)}"


def outside(row: dict[str, Any]) -> bool:
    """Return whether a text is said to be what it is: not English, or English throughout."""
    return (language_of(row["text"]) is None) is bool(row["language"] == "en")


def named(row: dict[str, Any]) -> bool:
    """Return whether its language is also named rightly."""
    wanted = None if row["language"] == "en" else NAMES.get(str(row["language"]), UNKNOWN)
    return bool(language_of(row["text"]) == wanted)


def found(row: dict[str, Any]) -> list[tuple[str, bool]]:
    """Return (type, whether it is found) of each value."""
    findings = find(row["text"])
    return [
        (
            value["type"],
            any(
                one.type == value["type"] and one.start < value["end"] and value["start"] < one.end for one in findings
            ),
        )
        for value in row["values"]
    ]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--held-out", action="store_true", help="the third that was held back")
    options = parser.parse_args()
    rows = read(options.held_out)
    print("| language | recognised | named rightly | harmless with a finding | names found | other values found |")
    print("|---|---|---|---|---|---|")
    for group in GROUPS:
        here = [row for row in rows if (row["language"] if row["language"] in GROUPS else "others") == group]
        wrong = [bool(find(row["text"])) for row in here if row["kind"] == "harmless"]
        values = [one for row in here for one in found(row)]
        cells = [
            NAMES.get(group, {"en": "English", "mixed": "mixed or very short"}.get(group, "other languages")),
            share([outside(row) for row in here]),
            "-" if group == "mixed" else share([named(row) for row in here]),
            share(wrong),
            share([hit for type_, hit in values if type_ == "PERSON"]),
            share([hit for type_, hit in values if type_ != "PERSON"]),
        ]
        print(f"| {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
