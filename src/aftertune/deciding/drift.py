"""What changed between a base and its checkpoints: paired by prompt, and over training seeds.

Two questions are never mixed. `checkpoint`: prompts are the sample. `recipe`: training seeds are the sample too, and
it is refused with one seed. Several samples of a prompt are averaged before anything else. A pair is the same prompt
sent with the same messages. Unjudged answers (abstain, unparsable, error) are left out of the estimate, counted, and
put back as the worst in `worst*`: each unjudged tuned answer as the worst, each unjudged base answer as the best.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from aftertune.deciding.analysis import Analysis
from aftertune.deciding.blocks import COLUMNS, Coded, Ints, blocks
from aftertune.deciding.contradictions import Selection, contradictions, mixed_of, mixed_signs
from aftertune.deciding.contrasts import formula
from aftertune.deciding.curves import bands
from aftertune.deciding.variance_sources import spreads
from aftertune.deciding.warnings import recipe_refusal
from aftertune.errors import UsageError, near
from aftertune.records import Contrast, Drift, Metric
from aftertune.stats import multiplicity

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "COLUMNS", "Coded", "Contrast", "Ints", "Selection", "bands", "contradictions", "drift", "formula", "mixed_of",
    "mixed_signs", "recipe_refusal", "spreads",
]  # fmt: skip


def drift(
    verdicts: pa.Table | Coded,
    metrics: Sequence[Metric],
    *,
    seed: int,
    confidence: float = 0.95,
    contrasts: Sequence[Contrast] = (),
    allow_partial_overlap: bool = False,
    family: Callable[[str], bool] | None = None,
) -> list[Drift]:
    """Return every estimate that a verdict table supports, with its uncertainty.

    Args:
        verdicts: The columns of `records.Verdict`, rows in any order.
        metrics: What to read off it; a metric without a row gives no estimate (the gate calls it not measured).
        seed: Of the random label swaps behind clustered p values; each row has its own stream.
        confidence: Of the intervals, each on its own.
        contrasts: Weighted sums of arms' drifts, over the training seeds that all their arms have.
        allow_partial_overlap: Pair what can be paired where under 90 % of an arm's prompts can.
        family: Says by name which metrics belong to the families of `p_adjusted`; all do unless told. The others
            get no `p_adjusted`.

    Per metric, base, judge and temperature: `level` rows for the base, each checkpoint and each arm over its seeds;
    a `checkpoint` row for each checkpoint; a `recipe` row for each (arm, recipe, epoch) with two seeds or more; a
    `contrast` row for each contrast. `delta` is tuned - base. `p` is two-sided for no difference: exact McNemar where
    prompts are independent, outcomes 0/1 and single; label swaps within clusters else; the t test of the crossed
    layout for recipes and contrasts. `p_adjusted` is Holm's over the metrics (judges and temperatures) of one arm,
    checkpoint or contrast; each has its own family, so among many of them some false alarms are to be expected. `q` is
    Benjamini and Hochberg's over all rows of an estimand, for those who explore.

    Raises DataError for a broken table, DesignError ("overlap") where too few prompts can be paired, UsageError for a
    contrast of unknown arms.
    """
    table = Coded.of(verdicts)
    _known_arms(table, contrasts)
    rows: list[Drift] = []
    for block in blocks(table, metrics):
        analysis = Analysis(block, seed, confidence, allow_partial_overlap)
        rows += analysis.levels()
        rows += analysis.checkpoints()
        rows += analysis.recipes()
        for contrast in contrasts:
            rows += analysis.contrast(contrast)
    return _adjusted(rows, family)


def _known_arms(table: Coded, contrasts: Sequence[Contrast]) -> None:
    if not contrasts:
        return
    pairs = [
        (table.at("arm", row), table.at("recipe", row)) for row in table.joint(("arm", "recipe"), table.where())[1]
    ]
    known = sorted({arm for arm, _ in pairs} | {f"{arm}/{recipe}" for arm, recipe in pairs})
    for contrast in contrasts:
        for arm in contrast.weights:
            if arm not in known:
                raise UsageError(f"contrast '{contrast.name}': no arm '{arm}'{near(arm, known)}")


def _adjusted(rows: list[Drift], family: Callable[[str], bool] | None) -> list[Drift]:
    families: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        if row.p is not None and (family is None or family(row.metric)):
            key = (row.estimand, row.base_model, row.arm, row.recipe, row.checkpoint, row.train_seed, row.epoch)
            families[key].append(i)
    for members in families.values():
        adjusted = multiplicity.holm([rows[i].p or 0.0 for i in members])
        for i, p in zip(members, adjusted, strict=True):
            rows[i] = dataclasses.replace(rows[i], p_adjusted=p)
    for estimand in {row.estimand for row in rows}:
        members = [i for i, row in enumerate(rows) if row.estimand == estimand and row.p is not None]
        for i, q in zip(members, multiplicity.benjamini_hochberg([rows[i].p or 0.0 for i in members]), strict=True):
            rows[i] = dataclasses.replace(rows[i], q=q)
    return rows
