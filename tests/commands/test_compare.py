"""Many runs in one table: the worst first, chance named, a baseline's states, and waivers that are never silent."""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.reporting.conftest import audit

from aftertune.commands import compare as comparing
from aftertune.commands.compare import compare
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
        found.decisions[0], outcome=outcome, bound=delta + 0.03, worse="down", reason="so", margin=0.1
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
    assert (compared.tested, compared.false_alarms) == (100, pytest.approx(2.5))
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


def test_runs_of_other_bases_or_policies_are_said_to_be(runs: dict[str, MadeUp]) -> None:
    names = made(runs, run("x"), run("y", bases=("other",), policy="strict"))
    notes = compare(names).notes
    assert notes[0].startswith("The runs are of 2 bases")
    assert notes[1] == "The runs were decided by different policies: default (1 runs), strict (1 runs)."


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
