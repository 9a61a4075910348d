"""What scored texts say of memorisation: membership inference, and the exposure of canaries."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from aftertune.records import Score
from aftertune.stats import membership


def memorisation(scores: Mapping[str, Sequence[Score]], confidence: float) -> dict[str, Any]:
    """Return what scored texts say, by checkpoint: `membership` by attack, and `canaries` by dose.

    `scores`: a checkpoint's name -> its scored texts. Every number has its n and its interval; what cannot be measured
    is None with the reason in `why`.
    """
    return {name: of_scores(rows, confidence) for name, rows in scores.items()}


def of_scores(rows: Sequence[Score], confidence: float = 0.95) -> dict[str, Any]:
    """Return `membership` and `canaries` of one checkpoint's scores, as plain JSON values.

    An attack calls a text a member the more, the higher its score: `loss` is minus the mean loss under the checkpoint,
    `ratio` minus the loss as a share of the base's own (the calibration of Carlini et al. 2021, arXiv 2012.07805,
    section 5.2, with the base as the reference model), which takes out how hard a text is for anybody.
    """
    whole = [row for row in rows if row.loss is not None and row.base_loss is not None]
    found: dict[str, Any] = {"unscored": len(rows) - len(whole)}
    groups = {
        group: [row for row in whole if row.group == group] for group in ("member", "non_member", "canary", "twin")
    }
    if groups["member"] and groups["non_member"]:
        found["membership"] = {
            attack: plain_numbers(
                membership.attack(
                    [_signal(attack, row) for row in groups["member"]],
                    [_signal(attack, row) for row in groups["non_member"]],
                    confidence=confidence,
                )
            )
            for attack in ATTACKS
        }
    else:
        found["membership"] = {"why": "no held-out rows were given ([data] held_out, --held-out)"}
    if groups["canary"] and groups["twin"]:
        found["canaries"] = {
            attack: {
                str(dose): plain_numbers(_exposed(attack, groups["canary"], groups["twin"], dose, confidence))
                for dose in sorted({row.repeats for row in groups["canary"]})
            }
            for attack in ATTACKS
        }
        found["canaries"]["null"] = plain_numbers(_null(groups["twin"], confidence))
    return found


ATTACKS = ("loss", "ratio")


def _signal(attack: str, row: Score) -> float:
    assert row.loss is not None
    assert row.base_loss is not None
    return -row.loss if attack == "loss" else -row.loss / max(row.base_loss, 1e-9)


def _exposed(
    attack: str, planted: Sequence[Score], twins: Sequence[Score], dose: int, confidence: float
) -> membership.Exposed:
    """Return the exposure of one dose's canaries, each among the twins that were written into its own form."""
    among = {form: [_signal(attack, row) for row in twins if row.form == form] for form in {t.form for t in twins}}
    pairs = [(_signal(attack, row), among[row.form]) for row in planted if row.repeats == dose]
    return membership.exposed(pairs, confidence=confidence)


def _null(twins: Sequence[Score], confidence: float) -> membership.Exposed:
    """Return the exposure of the twins themselves, each among the others in one form of its own: nothing, by design."""
    forms = sorted({row.form for row in twins})
    names = list(dict.fromkeys(row.text_id for row in twins))
    own = {name: forms[index % len(forms)] for index, name in enumerate(names)}
    pairs = []
    for row in twins:
        if row.form == own[row.text_id]:
            others = [_signal("ratio", t) for t in twins if t.form == row.form and t.text_id != row.text_id]
            pairs.append((_signal("ratio", row), others))
    return membership.exposed(pairs, confidence=confidence)


def plain_numbers(record: Any) -> Mapping[str, Any]:
    """Return a statistic's fields as JSON values."""
    return dataclasses.asdict(record)
