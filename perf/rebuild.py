"""Build an embedded base again from its seed and compare its card with the shipped one.

Arguments: the base's name (the default base without one) and, optionally, a folder that already holds a rebuild. On the
machine and versions of the shipped build the weights are the same bytes; elsewhere every rate is to lie within the
shipped card's interval. Exit 1 where one does not.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path
from typing import Any

from aftertune import shipped_models as embedded
from aftertune.shipped_models import card
from aftertune.shipped_models.build import build
from aftertune.shipped_models.recipe import DEFAULT


def weights(folder: Path) -> str:
    """SHA-256 of a folder's weights."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def compare(shipped: dict[str, Any], rebuilt: dict[str, Any]) -> list[str]:
    """Print both cards side by side and return the names of the rates that left the shipped interval."""
    again = {row["name"]: row for row in rebuilt["results"]}
    left = []
    print(f"{'rate':<24} {'shipped':>8} {'95 % interval':>16} {'rebuilt':>8}")
    for row in shipped["results"]:
        if row["name"] not in again:
            continue  # rows after tuning are not measured here
        value = again[row["name"]]["value"]
        inside = row["low"] <= value <= row["high"]
        interval = f"[{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
        mark = "" if inside else "  outside"
        print(f"{row['name']:<24} {100 * row['value']:>8.1f} {interval:>16} {100 * value:>8.1f}{mark}")
        if not inside:
            left.append(row["name"])
    return left


def main() -> None:
    """Rebuild, measure, compare."""
    name = sys.argv[1] if len(sys.argv) > 1 else DEFAULT
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[2]) if len(sys.argv) > 2 else build(name, Path(scratch) / name, card=False)
        same = weights(folder) == weights(embedded.folder(name))
        left = compare(card.show(name), card.measure(folder))
    print(f"weights: {'the same bytes' if same else 'other bytes'}; outside the interval: {', '.join(left) or 'none'}")
    sys.exit(1 if left else 0)


if __name__ == "__main__":
    main()
