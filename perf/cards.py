"""Measure the embedded models on their held-out prompts; `--write` puts the cards beside the weights."""

from __future__ import annotations

import sys

from aftertune import embedded
from aftertune.embedded import card


def main() -> None:
    """Measure every shipped base and print its card."""
    for name in embedded.names():
        folder = embedded.folder(name)
        measured = card.measure(folder)
        if "--write" in sys.argv[1:]:
            card.write(measured, folder)
        print(card.markdown(measured))


if __name__ == "__main__":
    main()
