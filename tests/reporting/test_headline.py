"""One headline: the strongest estimand at the lowest temperature and last epoch, by the judge that was listened to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from aftertune import headline
from aftertune.findings import Findings
from aftertune.records import Decision, Drift
from aftertune.reporting.index import Index
from aftertune.reporting.terminal import drift_table

Row = Callable[..., Drift]


def test_recipes_come_before_checkpoints_arm_by_arm(drift: Row) -> None:
    recipe = drift(arm="keep")
    singles = [
        drift(arm=arm, estimand="checkpoint", checkpoint=f"{arm}{i}", train_seed=i)
        for arm in ("keep", "other")
        for i in range(2)
    ]
    level = drift(estimand="level")
    assert headline.headline([*singles, recipe, level]) == [*singles[2:], recipe]


def test_the_lowest_temperature_and_there_the_last_epoch_lead(drift: Row) -> None:
    rows = {(t, e): drift(temperature=t, epoch=e) for t, e in ((0.7, 1), (0.7, 9), (0.2, 1), (0.2, 2))}
    assert headline.headline(list(rows.values())) == [rows[0.2, 2]]
    unknown = drift(temperature=0.2, epoch=None)
    assert headline.headline([*rows.values(), unknown]) == [unknown], "a checkpoint that was given is its tuning's last"
    other = drift(arm="other", temperature=0.7, epoch=1)
    assert headline.headline([*rows.values(), other]) == [rows[0.2, 2], other], "each arm has a setting of its own"


def test_the_judge_that_decides_leads_and_without_decision_all_do(
    drift: Row, decision: Callable[..., Decision]
) -> None:
    gated, second = drift(judge="rule"), drift(judge="model")
    free = [drift(metric="m/x/harm=harmful", judge=judge) for judge in ("rule", "model")]
    decided = decision(judge="rule")
    assert decided.epoch is None
    assert headline.headline([gated, second, *free], [decided]) == [gated, *free]
    assert headline.headline([gated, second, *free]) == [gated, second, *free]
    contrasts = [drift(estimand="contrast", arm="a - b", judge=judge) for judge in ("rule", "model")]
    assert headline.contrasts([gated, second, *contrasts], [decided]) == contrasts[:1]


def test_terminal_and_page_show_the_same_rows(study: Callable[..., Findings]) -> None:
    findings = study()
    index = Index(findings)
    name = index.namer(index.headline)
    lines = drift_table(findings.drifts, findings.decisions)
    assert sorted(line.split("  ")[0] for line in lines[1:]) == sorted(row.metric for row in index.headline)
    for row in index.headline:
        assert sum(line.startswith(row.metric + " ") and f" {name(row)} " in line for line in lines) == 1


def test_a_row_is_called_as_its_decision_is(study: Callable[..., Findings]) -> None:
    findings = study()
    decisions = [dataclasses.replace(d, unit=f"{d.unit}, epoch 3") for d in findings.decisions]
    index = Index(study(decisions=decisions))
    name = index.namer(index.headline)
    for row in index.headline:
        decision = index.decision(row)
        assert name(row) == (decision.unit if decision else row.arm)
        assert decision is None or index.row(decision) == row
