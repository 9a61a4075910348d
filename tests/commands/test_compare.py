"""Many runs in one table: the worst first, chance named, a baseline's states, and waivers that are never silent."""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.reporting.conftest import audit

from aftertune.commands import compare as comparing
from aftertune.commands.compare import compare
from aftertune.deciding.decision import BOUND
from aftertune.errors import UsageError
from aftertune.findings import Findings
from aftertune.records import Decision, Drift
from aftertune.reporting.comparison import Comparison, lines, machine, page


@dataclasses.dataclass(frozen=True)
class MadeUp:
    """What `compare` reads of a run."""

    root: Path
    findings: Findings
    started: str = "2026-11-30"
    bases: tuple[str, ...] = ("base",)
    policy: str = "default"

    @property
    def design(self) -> Any:
        return SimpleNamespace(confidence=0.95)

    @property
    def outcome(self) -> Any:
        return self.findings.outcome

    @property
    def decisions(self) -> Any:
        return self.findings.decisions

    @property
    def drifts(self) -> Any:
        return self.findings.drifts


@pytest.fixture(name="runs")
def _runs(monkeypatch: pytest.MonkeyPatch) -> dict[str, MadeUp]:
    made: dict[str, MadeUp] = {}
    monkeypatch.setattr(comparing, "open_run", lambda path: made[str(path)])
    monkeypatch.setattr(comparing, "records", lambda kind, rows: list(rows))
    return made


def run(name: str, outcome: Any = "pass", delta: float = -0.02, **changes: Any) -> MadeUp:
    """A run of one adapter whose first check came to `outcome` with a change of `delta`."""
    found = audit()
    first = dataclasses.replace(found.drifts[0], delta=delta, low=delta - 0.02, high=delta + 0.02)
    decision = dataclasses.replace(
        found.decisions[0],
        outcome=outcome,
        adjusted_low=delta - 0.03,
        adjusted_high=delta + 0.03,
        worse="down",
        reason="so",
        margin=0.1,
    )
    whole = audit(outcome, drifts=[first, *found.drifts[1:]], decisions=[decision, *found.decisions[1:]])
    return MadeUp(Path("/made") / name, whole, **changes)


def made(runs: dict[str, MadeUp], *every: MadeUp) -> list[str]:
    runs.update({one.root.name: one for one in every})
    return [one.root.name for one in every]


def test_the_worst_come_first_and_chance_is_named(runs: dict[str, MadeUp]) -> None:
    every = [run(f"a{i:02d}") for i in range(97)]
    names = made(runs, *every, run("x", "undecided", -0.1), run("y", "drift", -0.2), run("z", "drift", -0.4))
    compared = compare(names)
    assert [arm.run for arm in compared.arms[:3]] == ["z", "y", "x"]
    assert compared.outcome == "drift"
    assert compared.tested == 100
    assert compared.false_alarms == pytest.approx(2.5)
    text = lines(compared)
    assert text[0].startswith("z, my-adapter: drift (2026-11-30)")
    assert "lower is worse; so" in text[1]
    assert any(line == "not shown: 97 pass (--all shows them)" for line in text)
    assert (
        "100 arms tested, each by itself: if none had drifted, at most 2.5 would be called a drift by chance." in text
    )
    assert len(text) < 20
    assert sum(", my-adapter: " in line for line in lines(compared, whole=True)) == 100


def test_what_changed_since_a_baseline_is_said_and_the_baseline_is_not_judged(runs: dict[str, MadeUp]) -> None:
    names = made(runs, run("march"), run("june", "drift", -0.3), run("may"))
    compared = compare(names[1:], "march")
    assert [(arm.run, arm.is_baseline) for arm in compared.arms] == [("june", False), ("may", False), ("march", True)]
    assert "; the baseline: pass" in lines(compared)[1]
    worse_before = compare(["march"], "june")
    assert worse_before.outcome == "pass", "a drift of the baseline is no drift of the run"
    assert worse_before.tested == 1
    assert "the baseline: drift" in lines(worse_before)[1]


def test_waivers_change_no_state_and_are_shown_wherever_they_hold_or_do_not(
    runs: dict[str, MadeUp], tmp_path: Path
) -> None:
    names = made(runs, run("x", "drift", -0.3), run("y", "drift", -0.5), run("z"))
    file = tmp_path / "w.toml"

    def accept(until: datetime.date) -> Comparison:
        file.write_text(
            f'[[waiver]]\nmetric = "*/harmful/refusal=full"\nup_to = 0.4\nby = "Ana <b>"\nuntil = {until}\nwhy = "ok"\n'
            f'[[waiver]]\nrun = "gone"\nmetric = "*"\nup_to = 1\nby = "Bo"\nuntil = {until}\nwhy = "old"\n'
        )
        return compare(names, waivers=file, out=tmp_path / "page.html")

    today = datetime.datetime.now(datetime.UTC).date()
    compared = accept(today + datetime.timedelta(9))
    x = next(arm for arm in compared.arms if arm.run == "x")
    assert (x.outcome, x.unwaived) == ("drift", "pass")
    assert compared.outcome == "drift", "y lost more than is accepted"
    text = "\n".join(lines(compared))
    assert "WAIVED by Ana <b> until " in text
    assert "a waiver does not hold: accepts 0.4, and the loss is 0.5" in text
    assert "A waiver is about no check here: * of * in gone" in text
    html = (tmp_path / "page.html").read_text()
    assert "Ana &lt;b&gt; until" in html
    assert html.count("<b>Ana") == 0
    assert compare(names[:1], waivers=file).outcome == "pass"
    ended = accept(today - datetime.timedelta(1))
    assert not any(check.waived for arm in ended.arms for check in arm.checks)
    assert "a waiver does not hold: ended on" in "\n".join(lines(ended))


def with_checks(of: MadeUp, **changes: Any) -> MadeUp:
    """The run with `changes` in all of its decisions."""
    found = of.findings
    return dataclasses.replace(
        of, findings=dataclasses.replace(found, decisions=[dataclasses.replace(d, **changes) for d in found.decisions])
    )


def test_a_run_that_decided_nothing_passes_nothing(runs: dict[str, MadeUp]) -> None:
    empty = run("empty")
    empty = dataclasses.replace(empty, findings=dataclasses.replace(empty.findings, decisions=[], outcome="undecided"))
    optional = with_checks(run("optional"), required=False, outcome="pass")
    made(runs, run("x"), empty, optional)
    assert compare(["x"]).outcome == "pass"
    for name in ("empty", "optional"):
        compared = compare(["x", name])
        assert compared.outcome == "undecided"
        assert compared.notes == (f"No required check was made, so nothing passes: {name}.",)
    assert [arm.outcome for arm in compare(["optional"]).arms] == ["undecided"]
    failed = dataclasses.replace(empty, findings=dataclasses.replace(empty.findings, outcome="error"))
    made(runs, failed)
    assert compare(["x", "empty"]).outcome == "error"


def test_false_alarms_are_those_of_every_family_at_the_error_of_the_design(runs: dict[str, MadeUp]) -> None:
    """An arm's optional checks have an error of their own; a temperature has none; looks share that of the design."""
    one = run("x")
    found = one.findings
    decided = next(d for d in found.decisions if d.adjusted_low is not None)
    row = found.drifts[0]

    def also(name: str, **changes: Any) -> MadeUp:
        more = dataclasses.replace(decided, **changes)
        other = dataclasses.replace(row, temperature=more.temperature or 0.0)
        whole = dataclasses.replace(found, decisions=[*found.decisions, more], drifts=[*found.drifts, other])
        return dataclasses.replace(one, root=Path("/made") / name, findings=whole)

    warm = also("warm", temperature=0.7, unit=f"{decided.unit}, T = 0.7")
    optional = also("optional", required=False)
    narrow = [dataclasses.replace(each, confidence=0.9985) for each in found.drifts]
    early = dataclasses.replace(one, root=Path("/made/early"), findings=dataclasses.replace(found, drifts=narrow))
    made(runs, one, warm, optional, early)
    for name, alarms in (("x", 0.025), ("warm", 0.025), ("optional", 0.05), ("early", 0.025)):
        compared = compare([name])
        assert compared.tested == 1, name
        assert compared.false_alarms == pytest.approx(alarms), name


def test_a_waiver_holds_only_where_the_whole_loss_is_accepted(runs: dict[str, MadeUp], tmp_path: Path) -> None:
    file = tmp_path / "w.toml"
    file.write_text('[[waiver]]\nmetric = "*"\nup_to = 0.15\nby = "Bo"\nuntil = 2999-01-01\nwhy = "ok"\n')

    def refused(outcome: str, low: float, high: float, beside: str = "", **row: Any) -> str:
        of = run("x", outcome, (low + high) / 2)
        first, *rest = of.findings.drifts
        first = dataclasses.replace(first, low=low, high=high, **row)
        decided, *others = of.findings.decisions
        decided = dataclasses.replace(decided, beside=beside)
        whole = dataclasses.replace(of.findings, drifts=[first, *rest], decisions=[decided, *others])
        made(runs, dataclasses.replace(of, findings=whole))
        compared = compare(["x"], waivers=file)
        (check,) = [c for arm in compared.arms for c in arm.checks if c.decision.metric == decided.metric]
        assert bool(check.waived) == (not check.refused)
        assert (compared.outcome == "pass") == bool(check.waived)
        return check.refused

    assert refused("drift", -0.14, -0.11) == ""
    assert refused("undecided", -0.14, -0.05) == ""
    assert refused("undecided", -0.23, -0.05) == "accepts 0.15, and the loss may be 0.23"
    lost: dict[str, Any] = {"unjudged_tuned": 3, "worst_low": -0.4, "worst_high": 0.0}
    assert refused("undecided", -0.05, -0.01, **lost) == "accepts 0.15, and the loss may be 0.4"
    unknown = lost | {"worst_low": None}
    assert refused("undecided", -0.05, -0.01, **unknown) == "accepts 0.15, and the loss may be anything"
    for outcome in ("drift", "unconfirmed", "undecided"):
        assert refused(outcome, -0.14, -0.11, BOUND) == f"{BOUND}, of which it says nothing"


def test_runs_of_other_bases_or_policies_are_said_to_be(runs: dict[str, MadeUp]) -> None:
    names = made(runs, run("x"), run("y", bases=("other",), policy="strict"))
    notes = compare(names).notes
    assert notes[0].startswith("The runs are of 2 bases")
    assert notes[1] == "The runs were decided by different policies: default (1 run), strict (1 run)."


def test_runs_of_one_name_are_told_apart_and_one_run_twice_is_refused(runs: dict[str, MadeUp]) -> None:
    one, other = run("run"), run("run")
    runs["a"] = dataclasses.replace(one, root=Path("/made/march/run"))
    runs["b"] = dataclasses.replace(other, root=Path("/made/june/run"))
    assert {arm.run for arm in compare(["a", "b"]).arms} == {"march/run", "june/run"}
    with pytest.raises(UsageError, match="given twice"):
        compare(["a", "a"])
    with pytest.raises(UsageError, match="at least one"):
        compare([])


@pytest.mark.parametrize("attack", ["<script>x</script>", '"><img src=x onerror=1>', "</style></script><b>"])
def test_no_name_leaves_its_place_on_the_page(runs: dict[str, MadeUp], attack: str) -> None:
    one = run("x", "drift", -0.3)
    found = one.findings
    evil = [dataclasses.replace(d, unit=attack, reason=attack) for d in found.decisions]
    compared = compare(made(runs, dataclasses.replace(one, findings=dataclasses.replace(found, decisions=evil))))
    html = page(compared, attack)
    assert attack not in html
    assert html.count("<script") == 1
    assert json.loads(json.dumps(machine(compared)))["arms"][0]["unit"] == attack
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy
    assert policy.group(1).startswith("default-src 'none'; style-src 'sha256-")


def test_finished_runs_on_disk(finished: Any, tmp_path: Path) -> None:
    other = Path(shutil.copytree(finished.root, tmp_path / "later"))
    compared = compare([finished.root, other], baseline=finished.root, out=tmp_path / "page.html")
    assert compared.outcome == finished.outcome
    assert len(compared.arms) == 2 * len({d.unit for d in finished.decisions})
    assert not any(check.changed for arm in compared.arms for check in arm.checks)
    assert compared.notes == ()
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")
    assert isinstance(compared.arms[0].checks[0].decision, Decision)
    assert isinstance(compared.arms[0].checks[0].row, Drift)


def test_an_arm_of_which_nothing_required_was_measured_does_not_pass(runs: dict[str, MadeUp]) -> None:
    whole = run("x")
    others = [dataclasses.replace(d, unit="other", arm="other", outcome="undecided", required=False)
              for d in whole.decisions]  # fmt: skip
    both = dataclasses.replace(whole.findings, decisions=[*whole.decisions, *others])
    compared = compare(made(runs, dataclasses.replace(whole, findings=both)))
    assert {arm.unit: arm.outcome for arm in compared.arms} == {"my-adapter": "pass", "other": "undecided"}
    assert compared.outcome == "undecided"
