"""A judge that is known to be near chance on real text: its verdicts are shown, down among the rest, and decide nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import fakes
from tests.fakes import Wordy

from aftertune import headline
from aftertune.commands.decide import decide
from aftertune.deciding.gate import gate
from aftertune.deciding.policy import Policy, Rule, load
from aftertune.findings import Findings
from aftertune.judging.judges.toxicity import Toxicity
from aftertune.judging.resolved import ResolvedJudge
from aftertune.plugins import PluginSpec
from aftertune.records import Decision, Drift, Metric
from aftertune.reporting.html import html
from aftertune.reporting.index import Index
from aftertune.reporting.markdown import markdown
from aftertune.reporting.terminal import result_table
from aftertune.studies import stored

REFUSAL = Metric("core", "harmful", "refusal", "full", "down", "harmful requests refused")
TOXIC = Metric("core", "harmful", "toxicity", "toxic", "up", "toxic answers to harmful requests")
WHY = f"{headline.BY_NO_JUDGE} toxicity: near chance on unsafe remarks"


def row(metric: Metric, **changes: Any) -> Drift:
    fields: dict[str, Any] = {
        "metric": metric.name, "worse": metric.worse, "estimand": "checkpoint", "base_model": "m", "arm": "a",
        "recipe": "", "checkpoint": "x1", "train_seed": 0, "epoch": None, "temperature": 0.0, "judge": metric.axis,
        "base": 0.5, "tuned": 0.5, "delta": 0.0, "low": -0.02, "high": 0.02, "confidence": 0.95, "p": 0.01,
        "p_adjusted": None, "worst": 0.0, "worst_low": -0.02, "worst_high": 0.02, "spread_low": None,
        "spread_high": None, "n_prompts": 300, "n_clusters": 300, "n_seeds": 1, "n_samples": 1, "unjudged_base": 0,
        "unjudged_tuned": 0, "method": "", "warning": "", "df": None,
    }  # fmt: skip
    return Drift(**{**fields, **changes})


ROWS = [row(TOXIC, delta=0.4, tuned=0.9, low=0.3, high=0.5, warning=f"{WHY}; one training seed"), row(REFUSAL)]
"""The judge by which nothing is decided finds the largest change of all, and is first in the design."""


def decided() -> list[Decision]:
    return gate(ROWS, load("default"), [TOXIC, REFUSAL], shown_only=[TOXIC.name])


def test_nothing_is_gated_by_it_under_any_pattern_of_a_policy() -> None:
    for name in ("default", "strict", "research"):
        policy = dataclasses.replace(load(name), estimand="auto")
        assert {each.metric for each in gate(ROWS, policy, [TOXIC, REFUSAL])} == {TOXIC.name, REFUSAL.name}
        made = gate(ROWS, policy, [TOXIC, REFUSAL], shown_only=[TOXIC.name])
        assert [each.metric for each in made] == [REFUSAL.name]


def test_a_rule_that_names_the_metric_decides_by_it() -> None:
    own = Policy("own", (Rule("*", 0.1), Rule(TOXIC.name, 0.1)))
    made = gate(ROWS, own, [TOXIC, REFUSAL], shown_only=[TOXIC.name])
    assert {each.metric: each.outcome for each in made} == {TOXIC.name: "drift", REFUSAL.name: "pass"}


def test_the_judge_toxicity_is_one_and_others_of_the_axis_are_not() -> None:
    known = ResolvedJudge.of(PluginSpec("toxicity"), Toxicity())
    assert list(known.shown_only) == ["toxicity"]
    assert ";" not in known.shown_only["toxicity"], "a warning ends there"
    assert fakes.judge().shown_only == {}


def test_it_stands_last_in_the_terminal_with_the_reason() -> None:
    lines = result_table(ROWS, decided())
    assert [line.split()[0] for line in lines[1:3]] == [REFUSAL.name, TOXIC.name]
    assert lines[3] == f"not decided: {TOXIC.name}: {WHY}"
    many = [dataclasses.replace(decided()[0], unit=f"u{place}", arm=f"u{place}") for place in range(30)]
    matrix = result_table(ROWS, many, 100, 40)
    assert f"not decided: {TOXIC.name}" in " ".join(matrix[-2:])
    assert not any(TOXIC.name in line for line in matrix[:-2])


def test_the_page_shows_it_among_the_metrics_that_were_not_gated_with_the_reason() -> None:
    index = Index(
        Findings(title="t", kind="audit", outcome="pass", drifts=ROWS, decisions=decided(), metrics=[TOXIC, REFUSAL])
    )
    page = html(index)
    first, rest = page.split("Metrics that were not gated")
    assert "toxic answers to harmful requests" not in first
    assert "toxic answers to harmful requests" in rest
    assert WHY.replace("'", "&#39;") in rest
    text = markdown(index)
    assert "toxic answers" not in text[: text.index("In the full report alone: ")]
    assert f"In the full report alone: toxic answers to harmful requests ({WHY})." in text


@dataclass(frozen=True)
class NearChance(Wordy):
    @property
    def shown_only(self) -> Mapping[str, str]:
        return {"refusal": "it guesses"}


def test_a_run_keeps_the_reason_with_every_estimate(tmp_path: Path) -> None:
    made = fakes.given_study(None, NearChance())
    run = fakes.done(tmp_path / "run", made)
    study = stored.read(run)
    result = decide(run, study)
    assert result.decisions == ()
    assert result.drifts
    assert {each.warning.split("; ")[0] for each in result.drifts} == {f"{headline.BY_NO_JUDGE} wordy: it guesses"}
    named = Policy("own", (Rule(study.metrics[0].name, 0.1),))
    result = decide(run, dataclasses.replace(study, policy=named))
    assert {each.metric for each in result.decisions} == {study.metrics[0].name}
    assert not any("it guesses" in each.warning for each in result.drifts)
