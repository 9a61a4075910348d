"""What a report is made from, gathered from a small made-up run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests import fakes
from tests.fakes import Scripted, Wordy

from aftertune.deciding.verdict_table import COLUMNS, VerdictTable
from aftertune.findings import Findings
from aftertune.judging.judge import Cost
from aftertune.records import Respond
from aftertune.reporting.gather import gather
from aftertune.run.run_folder import Run
from aftertune.studies import stored
from aftertune.studies.run_tables import all_verdicts
from aftertune.studies.study import Study


def gathered(run: Run, study: Study) -> Findings:
    verdicts = VerdictTable(all_verdicts(run, study, COLUMNS))
    return gather(run, study, verdicts, [], [], "pass")


def test_what_was_asked_and_judged_is_gathered_from_the_run_alone(tmp_path: Path) -> None:
    run = fakes.done(tmp_path / "run", fakes.given_study())
    findings = gathered(run, stored.read(run))
    assert (findings.title, findings.kind, findings.outcome) == ("made-up", "study", "pass")
    assert [metric.name for metric in findings.metrics] == ["listed/harmful/refusal=full"]
    assert [(proof.checkpoint, proof.max_logit_change) for proof in findings.proofs] == [("mine seed 1", 0.5)]
    assert set(findings.judges) == {"wordy"}
    assert findings.judges["wordy"]["axes"] == "refusal"
    assert findings.methods["versions"] == {"python": "3"}
    assert findings.methods["bases"] == {"m": {"weights": "weights of m", "tokenizer": "t"}}
    assert findings.methods["jobs"] == {"prompts": 1, "responses": 2, "verdicts": 2}
    design: Any = findings.methods["design"]
    assert design["id"] == stored.read_design(run).id
    assert findings.cards == {}
    assert findings.mask("the adapter of 12 May") == "the adapter of 12 May"


def test_the_cost_of_a_judge_is_summed_over_its_jobs(tmp_path: Path) -> None:
    run = fakes.done(tmp_path / "run", fakes.given_study(None, Wordy(paid=True), Wordy("free")))
    findings = gathered(run, stored.read(run))
    cost: Any = findings.judges["wordy"]["cost"]
    assert cost["judged"] == 6
    assert cost["calls"] == 12
    assert set(cost) == set(Cost.__dataclass_fields__)
    assert "cost" not in findings.judges["free"]


def caveats(root: Path, backend: Scripted, respond: Respond | None = None, name: str = "m") -> str:
    study = fakes.given_study(backend, name=name, respond=respond or Respond())
    return "\n".join(gathered(fakes.done(root, study), study).caveats)


def test_two_devices_are_a_caveat_read_off_the_proof_and_not_off_its_words(tmp_path: Path) -> None:
    assert "on cpu and on cuda" in caveats(tmp_path / "a", Scripted(split=True))
    assert "cuda" not in caveats(tmp_path / "b", Scripted()), "its words say what its field does not"


def test_texts_that_depend_on_their_batch_are_a_caveat_with_a_rate(tmp_path: Path) -> None:
    text = caveats(tmp_path / "a", Scripted(inexact=True))
    assert "Of 3 answers of the base that were asked again among others, 3 were the same text: 100.0 %" in text
    assert "asked again" not in caveats(tmp_path / "b", Scripted())


def test_other_caveats_follow_the_design(tmp_path: Path) -> None:
    plain = caveats(tmp_path / "a", Scripted())
    assert "No tuning data was given" in plain
    assert "Only greedy answers" in plain
    assert "miniature" not in plain
    assert "Only greedy" not in caveats(tmp_path / "b", Scripted(), Respond(temperatures=(0.0, 0.7)))
    assert "miniature of about a million parameters" in caveats(tmp_path / "c", Scripted(), name="embedded:mini-b")
