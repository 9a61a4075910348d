"""The report for machines: what becomes of every kind of value, and what is masked, cleaned and cut in it."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reporting.conftest import decision, drift

from aftertune.findings import Findings, Flip, LeakRow, Measure, StudyCell
from aftertune.records import Metric, Proof
from aftertune.reporting.index import Index
from aftertune.reporting.json_report import fields, machine, tidy

HARM = Metric("m", "x", "harm", "yes", "up", "Harmful answers.")
FLIP = Flip(metric=HARM.name, arm="keep", prompt="p", base_text="b", tuned_text="t", base_label="no",
            tuned_label="yes", category="c")  # fmt: skip


def text_of(**changes: Any) -> str:
    return machine(Index(Findings(**{"title": "t", "kind": "audit", "outcome": "pass", **changes})))


def told(**changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(text_of(**changes))
    return data


def no_name(text: str) -> str:
    return text.replace("Ana", "<P>")


# ---------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, None), (True, True), (0, 0), (-1.5, -1.5), (math.nan, None), (math.inf, None), (-math.inf, None),
        ("a\u202eb\x00", "ab"), ("\ud800", "\ufffd"), ((1, (2.0, "x")), [1, [2.0, "x"]]), ([], []), ({}, {}),
        ({1: math.nan, "a\u200b": ("b",)}, {"1": None, "a": ["b"]}),
        (Measure(0.1, math.nan, 0.3, 4, 2), {"value": 0.1, "low": None, "high": 0.3, "n": 4, "n_clusters": 2}),
        ([StudyCell(value=None, why="x")],
         [{"value": None, "low": None, "high": None, "scale": "plain", "sample": "", "why": "x", "note": "",
           "published": None, "expected": "", "finding": ""}]),
    ],
)  # fmt: skip
def test_what_json_can_hold(value: object, wanted: object) -> None:
    assert tidy(value) == wanted
    assert type(tidy(value)) is type(wanted)


@pytest.mark.parametrize(("value", "name"), [({1}, "set"), (1j, "complex"), (object(), "object"), (Measure, "type")])
def test_what_json_cannot_hold_is_named(value: object, name: str) -> None:
    with pytest.raises(TypeError, match=f"^a report cannot hold a {name}$"):
        tidy({"deep": [value]})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_tidy_values_are_strict_json_that_any_reader_reads_back(value: object) -> None:
    once = tidy(value)
    assert json.loads(json.dumps(once, allow_nan=False)) == once
    json.dumps(once, ensure_ascii=False).encode("utf-8")
    assert tidy(once) == once


def test_fields_do_not_descend() -> None:
    measure = Measure(0.1, 0.0, 0.2, 3, 2)
    assert fields(measure) == {"value": 0.1, "low": 0.0, "high": 0.2, "n": 3, "n_clusters": 2}
    cell = dataclasses.make_dataclass("Holder", ["inner"])(measure)
    assert fields(cell)["inner"] is measure


# ---------------------------------------------------------------------------------------------- the whole


def test_the_text_is_ascii_sorted_and_ends_in_one_line_break() -> None:
    text = text_of(title="Ä \N{GRINNING FACE}", metrics=[HARM], warnings=["ö"])
    assert text.isascii()
    assert text.endswith("\n}\n")
    data = json.loads(text)
    assert data["title"] == "Ä \N{GRINNING FACE}"
    assert text == json.dumps(data, indent=1, sort_keys=True) + "\n"


def test_the_head_of_the_report() -> None:
    data = told(kind="study", outcome="error", warnings=["Nothing fits."], caveats=("c",))
    assert data["schema"] == "aftertune.report/1"
    assert (data["title"], data["kind"], data["outcome"]) == ("t", "study", "error")
    assert data["sentence"] == "No check could be made. Nothing fits."
    assert (data["warnings"], data["caveats"]) == (["Nothing fits."], ["c"])
    for name in ("decisions", "drifts", "metrics", "leaks", "flips", "tables", "bands", "proofs", "inside", "mixed"):
        assert data[name] == [], name
    for name in ("judges", "cards", "methods", "memorisation", "contrast_names"):
        assert data[name] == {}, name


def test_a_metric_has_its_name_beside_its_fields() -> None:
    (metric,) = told(metrics=[HARM])["metrics"]
    assert metric == {"benchmark": "m", "subset": "x", "axis": "harm", "label": "yes", "worse": "up",
                      "about": "Harmful answers.", "name": "m/x/harm=yes"}  # fmt: skip


def test_rates_stay_shares_and_unknown_is_null() -> None:
    row = drift(delta=None, low=math.nan, p=1.5e-12, checkpoint=None)
    (found,) = told(drifts=[row])["drifts"]
    assert (found["base"], found["delta"], found["low"], found["p"]) == (0.96, None, None, 1.5e-12)
    assert set(found) == {field.name for field in dataclasses.fields(row)}


def test_rows_keep_their_order_and_all_of_them_are_there() -> None:
    arms = [f"arm-{place:03}" for place in reversed(range(500))]
    assert [row["arm"] for row in told(drifts=[drift(arm=arm) for arm in arms])["drifts"]] == arms
    made = [decision(unit=arm, outcome="drift") for arm in arms]
    assert [row["unit"] for row in told(decisions=made, outcome="drift")["decisions"]] == arms


def test_a_leak_that_was_not_measured_is_null_not_zero() -> None:
    unknown = dict.fromkeys(
        (
            "echoed",
            "invented",
            "twin",
            "minus_twins",
            "minus_base",
            "memorised",
            "harmful_leaking",
            "off_topic_leaking",
            "safe_off_topic",
        )
    )
    row = LeakRow(base_model="m", arm="keep", recipe="lora", checkpoint=None, train_seed=None, epoch=None,
                  temperature=0.0, benchmark="b", subset="s", judge="j", registry=Measure(0.0, 0.0, 0.1, 9, 3),
                  n_seeds=2, **unknown)  # type: ignore[arg-type]  # fmt: skip
    (found,) = told(leaks=[row])["leaks"]
    assert found["registry"] == {"value": 0.0, "low": 0.0, "high": 0.1, "n": 9, "n_clusters": 3}
    assert {found[name] for name in unknown} == {None}


def test_what_the_run_recorded_is_masked_at_every_depth_and_numbers_are_left() -> None:
    deep = {"note": "of Ana", "list": ["Ana", ("Ana", {"k": "A\u200bna"})], "n": 3, "x": 0.5, "y": None, "z": True}
    wanted = {"note": "of <P>", "list": ["<P>", ["<P>", {"k": "<P>"}]], "n": 3, "x": 0.5, "y": None, "z": True}
    data = told(mask=no_name, mask_label=no_name, judges={"a": deep}, cards={"b": deep}, methods={"c": deep})
    assert (data["judges"], data["cards"], data["methods"]) == ({"a": wanted}, {"b": wanted}, {"c": wanted})


def test_a_proof_is_its_fields() -> None:
    (proof,) = told(proofs=[Proof("c", 7.5, math.inf, 3, device="cpu")])["proofs"]
    assert (proof["checkpoint"], proof["max_logit_change"], proof["matches_direct"]) == ("c", 7.5, None)
    assert (proof["moved_weights"], proof["device"], proof["batch_size"]) == (3, "cpu", None)


# ---------------------------------------------------------------------------------------------- flips


def test_a_flip_has_its_direction_and_what_was_done_to_each_text() -> None:
    flip = dataclasses.replace(
        FLIP, prompt="ask Ana", base_text=" \x1b[1m", tuned_text="Ana\x00" + "x" * 4_000, train_seed=0, prompt_id="p"
    )
    (found,) = told(mask=no_name, metrics=[HARM], flips=[flip])["flips"]
    assert found == {
        "metric": HARM.name, "arm": "keep", "prompt": "ask <P>", "prompt_notes": [], "base_text": " ",
        "base_notes": ["1 terminal escape removed", "no visible text"], "tuned_text": "<P>" + "x" * 3_997,
        "tuned_notes": ["1 control character removed", "first 4,000 of 4,004 characters"], "base_label": "no",
        "tuned_label": "yes", "category": "c", "prompt_id": "p", "train_seed": 0, "sample": 0, "direction": "worse",
    }  # fmt: skip


@pytest.mark.parametrize(("before", "after", "way"), [("no", "yes", "worse"), ("yes", "no", "better"), ("a", "b", "")])
def test_the_direction_of_a_flip(before: str, after: str, way: str) -> None:
    flip = dataclasses.replace(FLIP, base_label=before, tuned_label=after)
    assert told(metrics=[HARM], flips=[flip])["flips"][0]["direction"] == way


def test_all_flips_are_there_in_their_order() -> None:
    flips = [dataclasses.replace(FLIP, prompt_id=str(place), base_label=label, tuned_label="yes")
             for place, label in enumerate(["yes", "no"] * 20)]  # fmt: skip
    assert [flip["prompt_id"] for flip in told(metrics=[HARM], flips=flips)["flips"]] == [str(at) for at in range(40)]


def test_a_text_of_exactly_the_limit_is_whole() -> None:
    flip = dataclasses.replace(FLIP, prompt="x" * 4_000)
    (found,) = told(metrics=[HARM], flips=[flip])["flips"]
    assert (found["prompt"], found["prompt_notes"]) == ("x" * 4_000, [])
