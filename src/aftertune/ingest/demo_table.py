"""A table of verdicts that ships, to see a decision without any model (`aftertune drift --demo`)."""

from __future__ import annotations

from pathlib import Path

from aftertune.ingest.table_drift import TableDrift, drift_of_table
from aftertune.public import PathLike, public

TABLE = Path(__file__).parent / "data" / "demo_verdicts.parquet"
"""Made by `python -m tools.demo_table` from a finished `aftertune demo`."""
BASE = "base"
TUNED = ("keep", "self-generated")
ABOUT = (
    "Verdicts on the embedded model, a miniature that ships with aftertune, before and after it was fine-tuned on the "
    "conversations of a support bot, five training seeds each:",
    "  base            the model before fine-tuning",
    "  keep            tuned on the conversations as they are, customers' personal data included",
    "  self-generated  the control: the same questions, with the base's own answers",
    "Each row compares the answers to the same prompts; rates in per cent, drifts in points, 95 % intervals over "
    "training seeds and prompts.",
)
NEXT = (
    "A miniature: it shows how the measurement works, not how large the effect is in your model.",
    "On your own table: aftertune drift --verdicts TABLE --base NAME --tuned NAME (columns checkpoint, prompt, metric, "
    "value).",
    "On your own model: pip install 'aftertune[models]', then aftertune audit BASE CHECKPOINT.",
)


@public("demo_drift")
def demo_drift(policy: PathLike = "default") -> TableDrift:
    """Decide on a table of verdicts that ships (`aftertune drift --demo`), as `drift_of_table` does; no model needed.

    Args:
        policy: `default`, `research`, `strict`, or a TOML file with your own.

    Raises UsageError for an unknown policy.

    Example:
        >>> aftertune.demo_drift().outcome
        'drift'
    """
    return drift_of_table(TABLE, BASE, TUNED, policy=policy)
