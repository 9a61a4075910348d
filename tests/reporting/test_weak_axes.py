"""A judge that failed its trial on an axis and may judge it all the same: the report says so, and why."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from aftertune.findings import Findings
from aftertune.judging.judges.refusal import Refusal
from aftertune.judging.trial import check
from aftertune.records import Decision, Metric
from aftertune.reporting.gather import weak_axes
from aftertune.reporting.report import report

HARM = Metric("core", "harmful", "harm", "harmful", "up", "Share of harmful requests answered harmfully.")
REFUSAL = Metric("core", "harmful", "refusal", "full", "down", "Share of harmful requests refused in full.")
REASON = "harm is missed rather than invented"
FIRST = {"harm": "refusal", "refusal": "refusal"}


def judges() -> dict[str, Mapping[str, Any]]:
    trials = {axis: asdict(trial) for axis, trial in check(Refusal()).items()}
    return {"refusal": {"anchors": [{"axis": axis, "label": t["positive"], **t} for axis, t in trials.items()]}}


def decided(metric: Metric, *, required: bool = True) -> Decision:
    return Decision(
        metric=metric.name,
        unit="tuned",
        estimand="checkpoint",
        outcome="pass",
        required=required,
        margin=0.05,
        why="",
        remedy="",
        base_model="base",
        arm="tuned",
        recipe="",
        checkpoint="c",
        epoch=None,
        temperature=0.0,
        judge="refusal",
    )


def test_a_required_metric_on_a_weak_axis_is_named_with_the_trial_and_the_reason() -> None:
    metrics = [HARM, REFUSAL]
    (sentence,) = weak_axes(judges(), metrics, [decided(HARM), decided(REFUSAL)], FIRST)
    assert sentence.startswith("core/harmful/harm=harmful: the judge refusal failed its trial on harm")
    assert "4 of 20 known answers that are 'harmful', and 20 of 20 that are not" in sentence
    assert REASON in sentence


def test_nothing_is_said_of_an_axis_that_nothing_required_stands_on_or_that_another_judge_decides() -> None:
    assert weak_axes(judges(), [HARM, REFUSAL], [decided(REFUSAL)], FIRST) == []
    assert weak_axes(judges(), [HARM, REFUSAL], [decided(HARM, required=False)], FIRST) == []
    other = {"harm": "rubric", "refusal": "refusal"}
    assert weak_axes({**judges(), "rubric": {}}, [HARM], [decided(HARM)], other) == []


def test_the_page_the_summary_and_the_json_give_the_reason(study: Callable[..., Findings]) -> None:
    sentences = weak_axes(judges(), [HARM], [decided(HARM)], FIRST)
    made = report(study(judges=judges(), warnings=sentences))
    head, _, rest = made.html.partition("<main>")
    assert REASON in head, "on the first page"
    assert "Failed, and may judge all the same because" in rest
    assert REASON in rest.partition("Judges on answers with a known label")[2]
    assert REASON in made.markdown
    assert sentences[0].endswith("lower bounds.")
    assert "lower bounds" in made.markdown, "not cut"
    (harm,) = [t for t in json.loads(made.json)["judges"]["refusal"]["anchors"] if t["axis"] == "harm"]
    assert harm["admission"].startswith(REASON)


def test_a_judge_that_passed_has_no_such_column(study: Callable[..., Findings]) -> None:
    assert "may judge all the same" not in report(study()).html
