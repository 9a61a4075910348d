"""The trial of a judge before it judges: can it tell answers apart whose label is known?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from aftertune.errors import JudgeError
from aftertune.judging.anchors import GENERAL
from aftertune.judging.judge import CONTRASTS, Anchor, Contrast, Judge, JudgeContext, Opinion
from aftertune.judging.opinions import read
from aftertune.outcome import LEAST_YOUDEN

_WAY_OUT = " (with despite_trial = true its verdicts are shown, and nothing is decided by them)"


@dataclass(frozen=True, slots=True)
class Trial:
    """How a judge did on the anchors of one axis; answers that it did not judge count as missed on either side."""

    positive: str
    """The label that the anchors are told apart by."""
    sensitivity: float
    sensitivity_low: float
    """95 % Wilson limits, as of `specificity`."""
    sensitivity_high: float
    specificity: float
    specificity_low: float
    specificity_high: float
    youden: float
    youden_low: float
    """95 % limits by those of the two rates (Newcombe, Statistics in Medicine 17 (1998) 873-890, method 10); with 0
    between them they include chance."""
    youden_high: float
    n_positive: int
    n_negative: int
    unjudged: int
    """Answers on which it abstained or failed."""
    admission: str = ""
    """Why it may judge the axis although the index is under 0.5 (`Judge.weak_axes`, or since it was asked to by
    `despite_trial`); empty where it passed."""
    failed: bool = False
    """Whether it failed and judges for no reason but that it was asked to: nothing is decided by it."""


def anchors_of(judge: Judge) -> list[Anchor]:
    """Return the anchors that a judge is tried on: its own, and the general ones of its axes if they apply to it."""
    general = () if judge.own_anchors_only else GENERAL
    return [anchor for anchor in (*judge.anchors, *general) if anchor.axis in judge.axes]


def check(judge: Judge, context: JudgeContext | None = None) -> dict[str, Trial]:
    """Try a judge on every axis for which there are anchors; one that has no such axis is not opened.

    An axis that the judge itself declares weak is measured like the others, and need only beat chance. A judge that
    judges despite its trial (`Judge.despite_trial`) is measured and may fail.

    Raises:
        JudgeError: The Youden index on an axis is under 0.5: the judge cannot tell these answers apart. Or its own
            anchors are incomplete: all of one side, or on an axis of its own without a contrast.
    """
    anchors = anchors_of(judge)
    if not anchors:
        return {}
    contrasts = {axis: _contrast(judge, axis) for axis in dict.fromkeys(anchor.axis for anchor in anchors)}
    opinions = list(read(judge, judge.open(context or JudgeContext()), [anchor.answer for anchor in anchors]))
    trials = {}
    for axis, contrast in contrasts.items():
        labels = [
            (anchor.label, _label(judged, axis))
            for anchor, judged in zip(anchors, opinions, strict=True)
            if anchor.axis == axis
        ]
        trials[axis] = _trial(judge, axis, contrast, labels)
    return trials


def _contrast(judge: Judge, axis: str) -> Contrast:
    contrast = CONTRASTS.get(axis) or judge.contrasts.get(axis)
    if contrast is None:
        raise JudgeError(
            f"judge {judge.name}: it has anchors for its own axis {axis}, but its `contrasts` do not say which label "
            "they are told apart by"
        )
    return contrast


def _label(opinions: Sequence[Opinion], axis: str) -> str | None:
    return next((opinion.label for opinion in opinions if opinion.axis == axis and opinion.status == "ok"), None)


def _trial(judge: Judge, axis: str, contrast: Contrast, labels: Sequence[tuple[str, str | None]]) -> Trial:
    """Measure one axis from pairs of the true label and the judge's, which is None where it did not judge."""
    name, positive = judge.name, contrast.positive
    yes = [judged for true, judged in labels if true == positive]
    no = [judged for true, judged in labels if true != positive and true not in contrast.between]
    if not yes or not no:
        raise JudgeError(
            f"judge {name}: its anchors for {axis} need answers that are '{positive}' and some that are not"
        )
    hits = sum(label == positive for label in yes)
    rejections = sum(label is not None and label != positive for label in no)
    youden = hits / len(yes) + rejections / len(no) - 1
    admission = judge.weak_axes.get(axis, "") if youden < LEAST_YOUDEN else ""
    failed = youden < LEAST_YOUDEN and not (admission and youden > 0)
    if failed and judge.despite_trial:
        admission = "it was asked to judge despite its trial (despite_trial), and nothing is decided by it"
    elif failed:
        counts = Counter(label or "unjudged" for label in (*yes, *no)).most_common()
        calls = ", ".join(f"'{label}' {count}" for label, count in counts)
        raise JudgeError(
            f"judge {name} cannot tell {axis} apart: of {len(yes) + len(no)} known answers ({len(yes)} of them "
            f"'{positive}') it called {calls}; Youden index {youden:.2f}, at least {LEAST_YOUDEN} is needed"
            f"{_WAY_OUT if judge.cost is not None else ''}"
        )
    unjudged = sum(label is None for label in (*yes, *no))
    from aftertune.stats.paired import wilson  # SciPy: who only looks at a run needs none of it

    sensitivity_low, sensitivity_high = wilson(hits, len(yes))
    specificity_low, specificity_high = wilson(rejections, len(no))
    return Trial(
        positive=positive,
        sensitivity=hits / len(yes),
        sensitivity_low=sensitivity_low,
        sensitivity_high=sensitivity_high,
        specificity=rejections / len(no),
        specificity_low=specificity_low,
        specificity_high=specificity_high,
        youden=youden,
        youden_low=youden - math.hypot(hits / len(yes) - sensitivity_low, rejections / len(no) - specificity_low),
        youden_high=youden + math.hypot(sensitivity_high - hits / len(yes), specificity_high - rejections / len(no)),
        n_positive=len(yes),
        n_negative=len(no),
        unjudged=unjudged,
        admission=admission,
        failed=failed,
    )
