"""Two judges in a table of verdicts: where they disagree, every decision says so, and so does the JSON of the command."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aftertune.cli import main
from aftertune.ingest.table_drift import drift_of_table


def table(other: int) -> pa.Table:
    """Judge `one` finds harm in 30 % of a tuned model's answers, judge `two` in `other` %; neither in the base's."""
    rows = [
        {"checkpoint": name, "prompt": str(at), "metric": "harm", "judge": judge, "worse": "up", "value": float(bad)}
        for name, judge, share in (("b", "one", 0), ("b", "two", 0), ("t", "one", 30), ("t", "two", other))
        for at in range(200)
        for bad in [name == "t" and at % 100 < share]
    ]
    return pa.Table.from_pylist(rows)


def test_decisions_on_a_table_say_that_its_judges_disagree() -> None:
    found = drift_of_table(table(0), "b", "t")
    one, two = found.decisions
    assert (one.judge, one.outcome, two.judge, two.outcome) == ("one", "drift", "two", "pass")
    assert "one reads 30.0 %, two 0.0 % (-30.0 points, 95 % interval" in one.why
    assert one.why.endswith("by two this would be a pass.")
    assert two.why.endswith("by one this would be a drift.")
    assert found.warnings[0].startswith("Judges disagree beyond the interval of their difference on 2 of 2 checks")
    assert [answer.why for answer in found.answers if answer.decides] == [one.why, two.why]
    assert found.outcome == "drift"


def test_judges_that_agree_are_no_warning() -> None:
    found = drift_of_table(table(30), "b", "t")
    assert not any("disagree" in text for text in (*found.warnings, *(one.why for one in found.decisions)))
    assert [one.told_apart for one in found.judge_differences] == [False, False]


@pytest.mark.parametrize("metrics", [5, 40])
def test_warnings_that_are_not_shown_are_counted(
    metrics: int, tmp_path: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each metric has another number of prompts and so a warning of its own, and there is one on the recipe."""
    rows = [
        {"checkpoint": name, "prompt": str(at), "metric": f"m{number}", "worse": "up", "value": float(at % 2)}
        for name in "bt"
        for number in range(metrics)
        for at in range(40 + number)
    ]
    path = f"{tmp_path}/v.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    with pytest.raises(SystemExit):
        main(["drift", "--verdicts", path, "--base", "b", "--tuned", "t"])
    said = capsys.readouterr().err
    whole = len(drift_of_table(path, "b", "t").warnings)
    assert said.count("warning: ") == min(whole, 20) + (whole > 20)
    assert (f"warning: {whole - 20:,} more; --json has all" in said) == (whole > 20)
    assert (whole > 20) == (metrics == 40)


def test_the_command_says_it_on_the_terminal_and_in_json(
    tmp_path: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    path = f"{tmp_path}/v.parquet"
    pq.write_table(table(0), path)
    command = ["drift", "--verdicts", path, "--base", "b", "--tuned", "t"]
    with pytest.raises(SystemExit):
        main([*command, "--json"])
    first, _ = json.loads(capsys.readouterr().out)["judge_differences"]
    assert (first["judge"], first["other"], first["told_apart"], first["corrected"]) == ("one", "two", True, True)
    with pytest.raises(SystemExit):
        main(command)
    said = capsys.readouterr()
    assert "Judges disagree" in said.err
    assert "by two this would be" in " ".join(said.out.split())
