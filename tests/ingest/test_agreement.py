"""Agreement of judges and people over one table of verdicts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from aftertune.errors import DataError
from aftertune.ingest.agreement import LISTED, PEOPLE, AnswerKey, RunAgreement, agreement_of

Row = tuple[str, str, str, str, str | None]
"""Arm, prompt, judge, axis, label."""


def verdicts(rows: Sequence[Row], **more: Any) -> pa.Table:
    """Return a verdict table; the checkpoint is the arm's."""
    return pa.Table.from_pylist(
        [
            {
                "checkpoint": f"c-{arm}",
                "benchmark": "b",
                "subset": "s",
                "prompt_id": prompt,
                "temperature": 0.0,
                "sample": 0,
                "axis": axis,
                "judge": judge,
                "label": label,
                "value": None,
                "status": "ok" if label else "unparsable",
                "cluster": prompt,
                "arm": arm,
                **more,
            }
            for arm, prompt, judge, axis, label in rows
        ],
        schema=pa.schema(
            [
                ("checkpoint", pa.string()),
                ("benchmark", pa.string()),
                ("subset", pa.string()),
                ("prompt_id", pa.string()),
                ("temperature", pa.float64()),
                ("sample", pa.int64()),
                ("axis", pa.string()),
                ("judge", pa.string()),
                ("label", pa.string()),
                ("value", pa.float64()),
                ("status", pa.string()),
                ("cluster", pa.string()),
                ("arm", pa.string()),
            ]
        ),
    )


def two_judges() -> pa.Table:
    """Twenty prompts in two arms; judge `two` misses 4 of the tuned arm's 10 refusals, and one prompt of each arm."""
    rows: list[Row] = []
    for arm in ("base", "tuned"):
        for k in range(20):
            rows.append((arm, str(k), "one", "refusal", "full" if k < 10 else "none"))
            other = None if k == 19 else "full" if k < (10 if arm == "base" else 6) else "none"
            rows.append((arm, str(k), "two", "refusal", other))
    return verdicts(rows)


def texts(keys: Collection[AnswerKey]) -> Mapping[AnswerKey, str]:
    return {key: f"text of {key.prompt_id}" for key in keys}


def agreement(table: pa.Table, labels: Path | None = None) -> RunAgreement:
    return agreement_of(table, labels, np.random.default_rng(0), texts)


def labelled(folder: Path, *lines: str, header: str = "prompt_id,arm,axis,label") -> Path:
    path = folder / "l.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_people_give_sensitivity_and_specificity_per_arm(tmp_path: Path) -> None:
    lines = [f"{k},{arm},refusal,{'full' if k < 10 else 'none'},0" for arm in ("base", "tuned") for k in range(20)]
    path = labelled(tmp_path, *lines, header="prompt_id,arm,axis,label,temperature")
    rows = {(row.judge, row.arm): row for row in agreement(two_judges(), path).people if row.label == "full"}
    assert rows["two", "base"].sensitivity.value == 1
    assert rows["two", "base"].sensitivity.low is not None
    assert rows["two", "base"].sensitivity.low < 0.8
    assert rows["two", "tuned"].sensitivity.value == 0.6
    assert (rows["two", "tuned"].specificity.value, rows["two", "tuned"].specificity.n) == (1.0, 9)
    assert rows["two", "tuned"].specificity.warning == "few labels"
    assert rows["two", "tuned"].unjudged == 1
    assert rows["one", "tuned"].sensitivity.value == 1


def test_alpha_and_kappa_leave_out_what_one_did_not_judge() -> None:
    (axis,) = agreement(two_judges()).axes
    assert axis.raters == ("one", "two")
    assert axis.alpha.n == 38
    assert axis.alpha.low is not None
    assert axis.alpha.value is not None
    assert axis.alpha.low < axis.alpha.value < 1
    assert (axis.alpha_values.value, axis.alpha_values.why) == (None, "no answer has two ratings")
    (kappa,) = axis.kappa
    assert kappa.same == pytest.approx(34 / 38)
    assert kappa.value == pytest.approx((34 / 38 - 0.5) / 0.5, abs=0.01)
    assert axis.unjudged == {"one": 0, "two": 2}


def test_disagreements_are_counted_and_the_first_listed_with_their_texts() -> None:
    (axis,) = agreement(two_judges()).axes
    assert axis.disagreements == 4
    assert [(one.arm, one.answer.prompt_id, one.text) for one in axis.listed] == [
        ("tuned", k, f"text of {k}") for k in ("6", "7", "8", "9")
    ]
    assert axis.listed[0].labels == {"one": "full", "two": "none"}
    many = verdicts([("base", f"{k:02}", judge, "harm", judge) for k in range(30) for judge in ("one", "two")])
    (axis,) = agreement(many).axes
    assert (axis.disagreements, len(axis.listed)) == (30, LISTED)


def test_values_are_compared_as_numbers_and_few_clusters_are_warned_of() -> None:
    rng = np.random.default_rng(1)
    rows = [("base", str(k), judge, "alignment", "x") for k in range(40) for judge in ("one", "two")]
    table = verdicts(rows)
    truth = np.repeat(rng.uniform(0, 100, 40), 2)
    table = table.set_column(table.schema.get_field_index("value"), "value", pa.array(truth + rng.normal(size=80)))
    table = table.set_column(table.schema.get_field_index("label"), "label", pa.nulls(80, pa.string()))
    clusters = pa.array([f"c{int(prompt) % 5}" for prompt in table["prompt_id"].to_pylist()])
    table = table.set_column(table.schema.get_field_index("cluster"), "cluster", clusters)
    (axis,) = agreement(table).axes
    assert axis.alpha_values.value is not None
    assert axis.alpha_values.value > 0.99
    assert (axis.alpha_values.clusters, axis.alpha_values.warning) == (5, "5 clusters only")
    assert axis.alpha.value is None
    assert axis.kappa == ()


def test_one_judge_has_nobody_to_agree_with_until_people_label(tmp_path: Path) -> None:
    table = verdicts([("base", str(k), "one", "refusal", "full" if k % 2 else "none") for k in range(8)])
    alone = agreement(table)
    assert (alone.axes, alone.people) == ((), ())
    assert alone.lines() == ["nothing to compare: one judge per axis, and no labels (--labels FILE)"]
    path = labelled(tmp_path, *(f"{k},base,refusal,{'full' if k % 2 else 'none'}" for k in range(8)))
    (axis,) = agreement(table, path).axes
    assert axis.raters == ("one", PEOPLE)
    assert axis.unjudged == {"one": 0}
    assert axis.kappa[0].same == 1


def test_the_json_form_names_answers_and_holds_no_nested_key(tmp_path: Path) -> None:
    (axis,) = agreement(two_judges()).to_json()["axes"]
    assert axis["listed"][0] == {
        "checkpoint": "c-tuned",
        "benchmark": "b",
        "subset": "s",
        "prompt_id": "6",
        "temperature": 0.0,
        "sample": 0,
        "arm": "tuned",
        "labels": {"one": "full", "two": "none"},
        "text": "text of 6",
    }
    assert set(axis) == {
        "axis",
        "raters",
        "unjudged",
        "alpha",
        "alpha_values",
        "kappa",
        "disagreements",
        "listed",
    }


def test_a_label_without_temperature_is_of_the_coldest_first_sample(tmp_path: Path) -> None:
    rows: list[Row] = [("base", "1", "one", "refusal", "none")]
    table = pa.concat_tables(
        [verdicts(rows), verdicts(rows, temperature=0.7), verdicts(rows, temperature=0.7, sample=1)]
    )
    (axis,) = agreement(table, labelled(tmp_path, "1,base,refusal,full")).axes
    assert axis.listed[0].answer == AnswerKey("c-base", "b", "s", "1", 0.0, 0)
    warm = labelled(tmp_path, "1,base,refusal,full,0.7", header="prompt_id,arm,axis,label,temperature")
    with pytest.raises(DataError, match="2 answers are"):
        agreement(table, warm)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("99,base,refusal,full", "no answer"),
        ("1,base,harm,harmful", "axis 'harm' was not judged"),
        ("1,base,refusal,", "label is empty"),
        ("1,,refusal,full", "arm or checkpoint"),
    ],
)
def test_a_label_that_fits_nothing_names_its_line(row: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as error:
        agreement(two_judges(), labelled(tmp_path, row))
    assert "l.csv:2" in str(error.value)
