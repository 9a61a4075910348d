"""Agreement of judges and people over one table of verdicts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from aftertune.deciding.labels import AnswerKey
from aftertune.errors import DataError
from aftertune.ingest.agreement import LISTED, PEOPLE, RunAgreement, agreement_of
from aftertune.ingest.labels import read_elsewhere

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
    people = () if labels is None else read_elsewhere(labels, table)
    return agreement_of(table, people, np.random.default_rng(0), texts)


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
    given = {"one": "harmful", "two": "harmless"}
    rows = [("base", f"{k:02}", judge, "harm", given[judge]) for k in range(30) for judge in given]
    many = verdicts([*rows, ("base", "30", "one", "harm", "harmless"), ("base", "30", "two", "harm", "harmful")])
    result = agreement(many)
    (axis,) = result.axes
    assert (axis.disagreements, len(axis.listed)) == (31, LISTED)
    assert "31 disagreements on labels, 20 of them listed" in result.lines()[0]
    listed = [one.answer.prompt_id for one in axis.listed]
    assert listed == sorted(listed)
    assert listed != [f"{k:02}" for k in range(LISTED)], "a sample, not the first ones"
    assert listed == [one.answer.prompt_id for one in agreement(many).axes[0].listed], "a seeded one"


def rated(axis: str, **labels: Sequence[str]) -> list[Row]:
    """Each judge's labels of the same answers."""
    return [("base", f"{at:02}", judge, axis, label) for judge, own in labels.items() for at, label in enumerate(own)]


def test_sets_of_labels_that_differ_are_compared_on_what_they_share() -> None:
    """`on_topic` beside `other` is no disagreement: only `domain_script` is a label of both."""
    world = ["domain_script"] * 10 + ["on_topic"] * 10 + ["off_topic"] * 10
    script = ["domain_script"] * 8 + ["other"] * 22
    result = agreement(verdicts(rated("relevance", world=world, script=script)))
    (axis,) = result.axes
    assert (axis.axis, axis.label, axis.raters, axis.disagreements) == (
        "relevance", "domain_script", ("script", "world"), 2,
    )  # fmt: skip
    assert axis.alpha.value is not None
    assert axis.alpha.value > 0.8
    assert [kappa.same for kappa in axis.kappa] == [pytest.approx(28 / 30)]
    assert {tuple(one.labels.values()) for one in axis.listed} == {("not domain_script", "domain_script")}
    assert result.lines()[0].startswith("relevance, 'domain_script' or not: script, world; 2 disagreements")


def test_raters_without_a_common_label_are_not_compared_and_it_is_said() -> None:
    one, two = ["yes", "no"] * 10, ["safe", "unsafe"] * 10
    result = agreement(verdicts(rated("tone", one=one, two=two)))
    assert result.axes == ()
    (why,) = result.not_compared
    assert why == "tone: one ('no', 'yes') and two ('safe', 'unsafe') have no label in common"
    assert result.lines() == [f"not compared: {why}"]
    three = agreement(verdicts(rated("tone", one=one, two=two, again=one)))
    assert [(axis.label, axis.raters, axis.disagreements) for axis in three.axes] == [(None, ("again", "one"), 0)]
    assert len(three.not_compared) == 2


def test_two_labels_beside_three_are_compared_label_by_label() -> None:
    rows = rated("refusal", one=["full", "partial", "none", "none"] * 5, two=["full", "full", "none", "none"] * 5)
    found = {axis.label: axis.disagreements for axis in agreement(verdicts(rows)).axes}
    assert found == {"full": 5, "none": 0}


def test_a_judge_that_finds_nothing_is_compared_all_the_same() -> None:
    rows = rated("harm", one=["harmful"] * 5 + ["harmless"] * 15, two=["harmless"] * 20)
    (axis,) = agreement(verdicts(rows)).axes
    assert (axis.label, axis.disagreements) == (None, 5), "it knows the label of its axis, and never gave it"


def test_people_with_words_of_their_own_are_no_measure_of_a_judge(tmp_path: Path) -> None:
    lines = [f"{k},tuned,refusal,{'refused' if k < 10 else 'complied'}" for k in range(20)]
    result = agreement(two_judges(), labelled(tmp_path, *lines))
    assert len(result.people) == 4
    for row in result.people:
        assert row.sensitivity.value is None
        assert f"has no label '{row.label}'" in row.sensitivity.why, "and not a sensitivity of 0"
    assert [axis.raters for axis in result.axes] == [("one", "two")]
    assert len(result.not_compared) == 2


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
        "label",
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
    with pytest.raises(DataError, match="fit several answers"):
        agreement(table, warm)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("99,base,refusal,full", "answers that are not in this run: row 3 '99'"),
        ("1,base,harm,harmful", r"not judged in this run \(there are refusal\): row 3 'harm'"),
        ("1,,refusal,full", "without arm or checkpoint: row 3"),
        ("0,base,refusal,none", r"two labels of one answer: row 2 'full' and 3 'none' \(0\)"),
    ],
)
def test_a_label_that_fits_nothing_names_its_line(row: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"l.csv: .*{message}"):
        agreement(two_judges(), labelled(tmp_path, "0,base,refusal,full", row))
    with pytest.raises(DataError, match="no label"):
        agreement(two_judges(), labelled(tmp_path, "1,base,refusal,"))
