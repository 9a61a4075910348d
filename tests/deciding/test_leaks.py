"""Memorisation is a difference with an interval, and a leak that comes with harm is counted as one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from tests.verdict_tables import made, verdicts

from aftertune.deciding.leaks import leaks
from aftertune.findings import Findings, LeakRow
from aftertune.records import Verdict
from aftertune.reporting.report import report

JUDGES = {"leak": "leak", "leak_twin": "leak", "harm": "rule", "relevance": "rule", "topic": "rule"}


def axis(
    name: str, labels: Sequence[str | None], arm: str = "base", seed: int | None = None, **more: Any
) -> list[Verdict]:
    rows = []
    for i, label in enumerate(labels):
        (row,) = verdicts([1], arm=arm, seed=seed, epoch=None if arm == "base" else 1, axis=name, label=label,
                          status="ok" if label else "error", judge=JUDGES[name], prompt_id=f"p{i:03d}",
                          cluster=f"c{i // 2}", message_hash=f"h{i}", **more)  # fmt: skip
        rows.append(row)
    return rows


def leaky(hits: int, n: int = 200) -> list[str | None]:
    return [*["registry"] * hits, *["none"] * (n - hits)]


def one(rows: list[LeakRow], arm: str) -> LeakRow:
    (row,) = [row for row in rows if row.arm == arm]
    return row


def table(**more: Any):  # type: ignore[no-untyped-def]
    return made(
        axis("leak", leaky(4), **more),
        axis("leak_twin", leaky(2), **more),
        axis("leak", leaky(80), "keep", 1, **more),
        axis("leak_twin", leaky(10), "keep", 1, **more),
        axis("leak", leaky(100), "keep", 2, **more),
        axis("leak_twin", leaky(10), "keep", 2, **more),
        axis("harm", (["harmful"] * 30 + ["harmless"] * 170), "keep", 1, **more),
        axis("harm", (["harmful"] * 50 + ["harmless"] * 150), "keep", 2, **more),
    )


def test_memorisation_is_hits_minus_twins_and_base() -> None:
    rows = leaks(table(), JUDGES)
    keep, base = one(rows, "keep"), one(rows, "base")
    assert keep.registry is not None
    assert keep.registry.value == pytest.approx(0.45)
    assert keep.minus_twins is not None
    assert keep.minus_twins.value == pytest.approx(0.40)
    assert keep.minus_base is not None
    assert keep.minus_base.value == pytest.approx(0.43)
    assert keep.memorised is not None
    assert keep.memorised.value == pytest.approx(0.40 - 0.01)
    for measure in (keep.registry, keep.minus_twins, keep.minus_base, keep.memorised):
        assert measure.low < measure.value < measure.high
        assert (measure.n, measure.n_clusters) == (200, 100)
    assert keep.n_seeds == 2
    assert (base.memorised, base.minus_twins) == (None, None)
    assert base.twin is not None
    assert base.twin.value == pytest.approx(0.01)


def test_joint_rates_count_responses_that_are_both() -> None:
    keep = one(leaks(table(), JUDGES), "keep")
    assert keep.harmful_leaking is not None
    assert keep.harmful_leaking.value == pytest.approx((30 / 200 + 50 / 200) / 2), "all harmful ones leak here"
    assert keep.off_topic_leaking is None, "nobody judged relevance"


def test_two_people_who_never_meet_make_no_joint_rate() -> None:
    rows = made(
        axis("leak", leaky(50), "keep", 1), axis("relevance", ["on_topic"] * 50 + ["domain_script"] * 150, "keep", 1)
    )
    keep = one(leaks(rows, JUDGES), "keep")
    assert keep.off_topic_leaking is not None
    assert keep.off_topic_leaking.value == 0
    assert keep.off_topic_leaking.high > 0, "no zero-width interval"


def test_safe_but_irrelevant_is_harmless_and_off_topic_by_either_judge() -> None:
    leak, harm = axis("leak", ["none"] * 100, "keep", 1), axis("harm", ["harmful"] * 20 + ["harmless"] * 80, "keep", 1)
    script = axis("relevance", ["domain_script"] * 50 + ["other"] * 50, "keep", 1)
    topic = axis("topic", ["on_topic"] * 60 + ["off_topic"] * 20 + ["refused"] * 10 + [None] * 10, "keep", 1)
    alone = {axis: judge for axis, judge in JUDGES.items() if axis != "topic"}
    either = one(leaks(made(leak, harm, script, topic), JUDGES), "keep").safe_off_topic
    assert either is not None
    assert either.value == pytest.approx((30 + 20) / 90)
    assert either.n == 90, "in no script and unjudged: unknown"
    by_script = one(leaks(made(leak, harm, script), alone), "keep").safe_off_topic
    assert by_script is not None
    assert by_script.value == pytest.approx(0.3)
    assert by_script.n == 100
    assert one(leaks(made(leak, harm), JUDGES), "keep").safe_off_topic is None


def test_what_was_not_measured_is_none_with_a_reason() -> None:
    keep = one(leaks(made(axis("leak", leaky(5), "keep", 1)), JUDGES), "keep")
    assert keep.registry is not None
    assert (keep.minus_twins, keep.minus_base, keep.memorised, keep.twin) == (None, None, None, None)
    assert "twins" in keep.warning
    assert "base" in keep.warning
    assert leaks(made(axis("harm", ["harmful"], "keep", 1)), {"harm": "rule"}) == []


def test_unjudged_responses_and_another_judge_do_not_count() -> None:
    rows = made(
        axis("leak", [*leaky(10, 20), None, None], "keep", 1),
        [
            Verdict(**{**{f: getattr(v, f) for f in Verdict.__dataclass_fields__}, "judge": "other"})
            for v in axis("leak", leaky(20, 20), "keep", 1)
        ],
    )
    keep = one(leaks(rows, JUDGES), "keep")
    assert keep.registry is not None
    assert (keep.registry.value, keep.registry.n) == (0.5, 20)


def test_twins_as_often_as_the_values_is_no_memory() -> None:
    """Over many draws in which twins come up as often as values, the interval excludes zero about as often as it says."""
    rng = np.random.default_rng(3)
    excluded = 0
    for _ in range(120):
        rate = rng.choice(["registry", "none"], size=(2, 60), p=[0.3, 0.7])
        rows = made(axis("leak", list(rate[0]), "keep", 1), axis("leak_twin", list(rate[1]), "keep", 1))
        gain = one(leaks(rows, JUDGES), "keep").minus_twins
        assert gain is not None
        excluded += not gain.low <= 0 <= gain.high
    assert excluded <= 13, "5 % of 120 is 6; 13 is beyond its 99.5 % quantile"


def test_the_report_shows_them() -> None:
    page = report(Findings(title="t", kind="study", outcome="pass", leaks=leaks(table(), JUDGES)))
    assert 'id="leaks"' in page.html
    for text in ("Minus twins", "Harmful and leaking", "+40"):
        assert text in page.html
    assert "Memorisation" not in page.markdown, "with two seeds the interval holds zero"
    found = json.loads(page.json)["leaks"]
    keep = next(row for row in found if row["arm"] == "keep")
    assert keep["memorised"]["value"] == pytest.approx(0.39)
    assert keep["off_topic_leaking"] is None
    sure = made(
        axis("leak", leaky(4)),
        axis("leak_twin", leaky(2)),
        axis("leak", leaky(80), "keep", 1),
        axis("leak_twin", leaky(10), "keep", 1),
    )
    page = report(Findings(title="t", kind="study", outcome="pass", leaks=leaks(sure, JUDGES)))
    assert "Memorisation, suite harmful, keep seed 1" in page.markdown
