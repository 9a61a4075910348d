"""What the report says of the layers that were tuned, where these are not all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def sentences(tunings: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Return a sentence for each base of which a LoRA leaves layers as they are.

    `tunings` are bases with the facts of one tuning each.
    """
    said: dict[str, None] = {}
    for base, facts in tunings:
        if facts["left_out"]:
            tuned, left = ", ".join(facts["modules"]), ", ".join(facts["left_out"])
            said[f"The LoRA of {base} was put on {tuned}; {left} stayed as they are."] = None
    return list(said)
