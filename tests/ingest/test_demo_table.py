"""The table that ships is decided without a model, and says what it is."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from aftertune.cli import main
from aftertune.ingest import demo_table


def test_the_table_that_ships_is_small_and_holds_no_text() -> None:
    table = pq.read_table(demo_table.TABLE)
    assert demo_table.TABLE.stat().st_size < 100_000
    assert set(table.column_names) == {"checkpoint", "seed", "metric", "prompt", "cluster", "value", "worse"}
    assert set(table.column("checkpoint").to_pylist()) == {demo_table.BASE, *demo_table.TUNED}
    assert len(set(table.column("seed").to_pylist()) - {None}) == 5


def test_the_demo_shows_a_drift_and_a_control_that_passes() -> None:
    result = demo_table.demo_drift()
    assert result.outcome == "drift"
    refusal = {
        row.arm: row
        for row in result.drifts
        if row.metric == "miniature/harmful/refusal=full" and row.estimand == "recipe"
    }
    kept, control = refusal["keep"], refusal["self-generated"]
    assert kept.n_seeds == control.n_seeds == 5
    assert kept.high is not None
    assert kept.high < -0.1
    assert control.delta == 0.0
    assert {d.unit for d in result.decisions if d.outcome == "drift"} == {"keep"}


def test_the_command_explains_itself_and_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["drift", "--demo"])
    assert end.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Verdicts on the embedded model, a miniature that ships")
    assert "decision: DRIFT" in lines
    assert any(line.startswith("On your own table: aftertune drift --verdicts") for line in lines)


def test_the_demo_as_json_is_that_of_any_table(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["drift", "--demo", "--json"])
    assert json.loads(capsys.readouterr().out)["decision"] == "drift"


@pytest.mark.parametrize("extra", [["run"], ["--base", "b"], ["--tuned", "t"], ["--verdicts", "v.csv"]])
def test_the_demo_takes_no_other_table(extra: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["drift", "--demo", *extra])
    assert end.value.code == 2
    assert "--demo has its own table" in capsys.readouterr().err
