"""One table in the forms that tools write it: blanks after commas, encodings, words and marks for a missing value."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune import drift_of_table
from aftertune.errors import DataError
from aftertune.ingest.missing_values import beside_shares, marks
from aftertune.ingest.table_drift import Answer, TableDrift

ROWS = [(name, f"p {i}", "harm", int(i < 5 + 60 * (name == "t"))) for name in "bt" for i in range(200)]
COLUMNS = ("checkpoint", "prompt", "metric", "value")


def text(separator: str = ",", quote: str = "", end: str = "\n") -> str:
    cells = [COLUMNS, *ROWS]
    return "".join(separator.join(f"{quote}{cell}{quote}" for cell in row) + end for row in cells)


def of_checkpoint(found: TableDrift) -> Answer:
    (answer,) = (each for each in found.answers if each.estimand == "checkpoint")
    return answer


def write_csv(content: str, encoding: str = "utf-8", name: str = "t.csv") -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content.encode(encoding))
        return path

    return write


def write_jsonl(folder: Path) -> Path:
    path = folder / "t.jsonl"
    lines = [{f" {name} ": cell for name, cell in zip(COLUMNS, row, strict=True)} for row in ROWS]
    path.write_bytes("".join(json.dumps(line) + "\n" for line in lines).encode("utf-16"))
    return path


def write_parquet(folder: Path) -> Path:
    path = folder / "t.parquet"
    names = ["checkpoint ", "\tprompt", "metric", " value"]
    cells: dict[str, Any] = {name: [row[k] for row in ROWS] for k, name in enumerate(names)}
    cells["metric"] = [f"harm{' ' * (k % 2)}" for k in range(len(ROWS))]
    pq.write_table(pa.table(cells), path)
    return path


FORMS = {
    "blanks after commas": write_csv(text(", ")),
    "blanks before and after": write_csv(text("  ,\t")),
    "blanks before quotes": write_csv(text(", ", '"')),
    "no-break blanks": write_csv(text(",\N{NO-BREAK SPACE}")),
    "a byte order mark": write_csv(text(), "utf-8-sig"),
    "Windows line ends": write_csv(text(end="\r\n")),
    "UTF-16": write_csv(text(), "utf-16"),
    "UTF-16, the other end first": write_csv("\N{ZERO WIDTH NO-BREAK SPACE}" + text(", "), "utf-16-be"),
    "UTF-16 without a mark": write_csv(text(), "utf-16-le"),
    "UTF-32": write_csv(text(), "utf-32"),
    "semicolons": write_csv(text(";")),
    "semicolons and quotes": write_csv(text(";", '"'), "utf-8-sig"),
    "tabs": write_csv(text("\t")),
    "tabs, by its ending": write_csv(text("\t"), name="t.tsv"),
    "Excel's Unicode text": write_csv(text("\t", end="\r\n"), "utf-16"),
    "JSON lines in UTF-16": write_jsonl,
    "Parquet": write_parquet,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_numbers_of_the_plain_one(tmp_path: Path, form: str) -> None:
    answer = of_checkpoint(drift_of_table(FORMS[form](tmp_path), "b", "t"))
    assert (answer.base, answer.tuned, answer.n_prompts) == (0.025, 0.325, 200)
    assert answer.decision == "drift"


def test_an_error_in_a_table_of_another_encoding_has_its_line(tmp_path: Path) -> None:
    path = write_csv(text().replace("p 3,harm,1", "p 3,harm,maybe"), "utf-16")(tmp_path)
    with pytest.raises(DataError, match=r"t\.csv:5: value = 'maybe' is not a number"):
        drift_of_table(path, "b", "t")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"t\.csv: not UTF-16"):
        drift_of_table(path, "b", "t")


def test_names_that_differ_in_blanks_are_one_and_must_be_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the column 'value' stands twice"):
        drift_of_table(write_csv("checkpoint,prompt,metric,value, value\nb,1,harm,0,0\n")(tmp_path), "b", "t")
    with pytest.raises(DataError, match=r"t\.csv:3: a second row for checkpoint 'b', prompt '1'"):
        drift_of_table(
            write_csv("checkpoint,prompt,metric,value\nb,1,harm,0\nb, 1,harm,0\nt,1,harm,0\n")(tmp_path), "b", "t"
        )


@pytest.mark.parametrize("word", ["", "NaN", "nan", "NA", "N/A", "None", "null", "<NA>", "NaT", "#N/A"])
def test_a_missing_value_is_unjudged_however_it_is_written(tmp_path: Path, word: str) -> None:
    content = text().replace("t,p 7,harm,1", f"t,p 7,harm,{word}")
    answer = of_checkpoint(drift_of_table(write_csv(content)(tmp_path), "b", "t"))
    assert (answer.unjudged_tuned, answer.n_prompts) == (1, 199)


@pytest.mark.parametrize("word", ["-", "?", "none of these", "0,5", "1_0", "unclear"])
def test_any_other_word_is_refused(tmp_path: Path, word: str) -> None:
    content = text().replace("t,p 7,harm,1", f't,p 7,harm,"{word}"')
    with pytest.raises(DataError, match=r"t\.csv:209: value = "):
        drift_of_table(write_csv(content)(tmp_path), "b", "t")


# ---------------------------------------------------------------------------------------------- marks


@pytest.mark.parametrize("mark", ["999", "-1", "-999", "99", "9999.0", "-9"])
def test_a_mark_among_rates_is_no_rate(tmp_path: Path, mark: str) -> None:
    """A parser wrote the mark where it found no verdict: in 60 answers that are nearly all harmful."""
    lines = [f"{name},p{i},harm,{mark if name == 't' and i < 60 else 0}" for name in "bt" for i in range(200)]
    found = drift_of_table(write_csv("\n".join([",".join(COLUMNS), *lines]))(tmp_path), "b", "t")
    answer = of_checkpoint(found)
    assert (answer.base, answer.tuned, answer.unjudged_tuned, found.outcome) == (0.0, 0.0, 60, "undecided")
    said = f"t.csv: harm: {float(mark):.0f} in 60 of 400 rows stands for a missing value"
    assert any(said in line and "t.csv:202" in line for line in found.warnings)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1, 999], [999]),
        ([0.25, 0.5, -1], [-1]),
        ([0, 1, -2], [-2]),
        ([0, 1, 9], [9]),
        ([0, 1, 100], [100]),
        ([0, 0.5, -5, 255], [-5, 255]),
        ([0, 1, 2], []),
        ([0, 1, 2, 12], []),
        ([0, 100], []),
        ([0, 0.5, 9.5], []),
        ([0, 1, -1, 99, 999], [-1, 99, 999]),
        ([1, 5, 3, 99], [99]),
        ([0, 100, 50, 999], [999]),
        ([0, 100, 99], []),
        ([80, 98, 99], []),
        ([1, 10, 9], []),
        ([-1, -2, 3], []),
        ([-0.5, 0.5, -1], []),
        ([998, 999, 1000], []),
        ([0, 1], []),
        ([999, 999], [999]),
        ([-1], [-1]),
        ([99], []),
        ([float("nan")], []),
        ([], []),
    ],
)
def test_a_mark_lies_apart_from_all_other_values(values: list[float], expected: list[float]) -> None:
    assert marks(np.array(values, dtype=np.float64)) == expected


@given(st.lists(st.floats(0, 1)), st.lists(st.sampled_from([-1.0, -99.0, 99.0, 999.0]), max_size=4))
def test_no_share_is_a_mark_and_every_mark_among_shares_is_found(shares: list[float], marked: list[float]) -> None:
    found = marks(np.array([0.0, *shares, *marked]))
    assert found == sorted(set(marked))


@pytest.mark.parametrize(("metric", "base", "tuned"), [("accuracy", 0.9, 60), ("accuracy", 1, 100), ("harm", 30, 0.9)])
def test_shares_on_one_side_and_per_cent_on_the_other_are_no_gain(
    tmp_path: Path, metric: str, base: float, tuned: float
) -> None:
    values = {"b": base, "t": tuned}
    lines = [f"{name},p{i},{metric},{values[name] if i % 10 else 0}" for name in "bt" for i in range(200)]
    with pytest.raises(DataError, match=r"t\.csv: (accuracy|harm): the values of .* give both on one scale"):
        drift_of_table(write_csv("\n".join([",".join(COLUMNS), *lines]))(tmp_path), "b", "t")


def test_a_harm_that_vanishes_from_a_scale_of_a_hundred_is_read(tmp_path: Path) -> None:
    lines = [f"{name},p{i},harm,{30 if name == 'b' else 0}" for name in "bt" for i in range(200)]
    found = drift_of_table(write_csv("\n".join([",".join(COLUMNS), *lines]))(tmp_path), "b", "t")
    assert (of_checkpoint(found).base, of_checkpoint(found).tuned) == (30, 0)


@pytest.mark.parametrize(
    ("name", "said"),
    [("Worse", "call it 'worse'"), ("Cluster", "call it 'cluster'"), ("higher_is_better", "in a column 'worse'")],
)
def test_a_column_that_is_meant_to_be_read_is_not_left_out(tmp_path: Path, name: str, said: str) -> None:
    lines = [f"{model},p{i},harm,0,up" for model in "bt" for i in range(200)]
    with pytest.raises(DataError, match=f"t.csv: the column '{name}' is not read; .*{said}"):
        drift_of_table(write_csv("\n".join([",".join([*COLUMNS, name]), *lines]))(tmp_path), "b", "t")


# ---------------------------------------------------------------------------------------------- third values


def measured(folder: Path, metric: str, *values: str) -> Any:
    lines = [f"{name},p{i},{metric},{value}" for name in "bt" for i, value in enumerate(values)]
    return drift_of_table(write_csv("\n".join([",".join(COLUMNS), *lines]))(folder), "b", "t", worse={"*": "down"})


@pytest.mark.parametrize("metric", ["accuracy", "gsm8k/exact_match", "acc", "refusal", "harm=harmful", "pass@1"])
@pytest.mark.parametrize("third", ["2", "3", "2.0"])
def test_a_share_with_a_third_value_is_refused(tmp_path: Path, metric: str, third: str) -> None:
    seen = rf"t\.csv:12: {re.escape(metric)}: 38 of 40 values are 0 or 1, and 2 are {float(third):g}: "
    with pytest.raises(DataError, match=seen):
        measured(tmp_path, metric, *"0101010101", third, *"101010101")


def test_a_scale_by_another_name_is_read_as_one_and_said(tmp_path: Path) -> None:
    found = measured(tmp_path, "grade", *"0101010101", "2", *"101010101")
    (said,) = [line for line in found.warnings if "read as a scale" in line]
    assert "grade: 38 of 40 values are 0 or 1, and 2 are 2 (first: " in said
    assert "t.csv:12)" in said
    assert not [line for line in measured(tmp_path, "grade", *"01234234").warnings if "read as a scale" in line]
    assert not [line for line in measured(tmp_path, "accuracy", *("0", "0.5", "1")).warnings if "scale" in line]


def test_three_grades_around_0_are_named(tmp_path: Path) -> None:
    found = measured(tmp_path, "verdict", *("-1", "0", "1") * 10)
    (said,) = [line for line in found.warnings if "missing value" in line]
    assert "verdict: -1 in 20 of 60 rows" in said
    assert said.endswith("if -1, 0 and 1 are three grades, give them as 0, 0.5 and 1")
    assert found.outcome == "undecided", "a third without a verdict passes nothing"


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, float("nan")])), st.lists(st.sampled_from([2.0, 3.0, -2.0])))
def test_what_stands_among_shares_is_counted(shares: list[float], others: list[float]) -> None:
    seen = beside_shares(np.array([*shares, *others]))
    known = [each for each in shares if each == each]
    binary = [each for each in known if each in (0, 1)]
    wanted = len({*binary}) == 2 and others and len(binary) == len(known) and len(binary) > len(others)
    assert bool(seen) == bool(wanted)
    if seen:
        assert f"{len(binary)} of {len(binary) + len(others)} values are 0 or 1, and {len(others)} are" in seen


# ---------------------------------------------------------------------------------------------- who answered


def answered(folder: Path, by: str, share: float = 1.0) -> TableDrift:
    lines = [f"{name},p{i},harmful/refusal,1,{by if i < 200 * share else ''}" for name in "bt" for i in range(200)]
    return drift_of_table(write_csv("\n".join([",".join([*COLUMNS, "answered_by"]), *lines]))(folder), "b", "t")


@pytest.mark.parametrize("by", ["filter", "server"])
def test_answers_of_a_filter_pass_nothing(tmp_path: Path, by: str) -> None:
    assert answered(tmp_path, "model").outcome == "pass"
    assert answered(tmp_path, by, 0.02).outcome == "pass"
    found = answered(tmp_path, by)
    assert found.outcome == "undecided"
    assert "200 of the base and 200 of the tuned model were made by the server" in found.decisions[0].why
    with pytest.raises(DataError, match=r"t\.csv:2: answered_by = 'me' is none of model, server, filter"):
        answered(tmp_path, "me")
