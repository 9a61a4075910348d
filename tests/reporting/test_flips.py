"""Flips on the page: those for the worse first, within the page's room, each with its direction and where it was."""

from __future__ import annotations

from typing import Any

import pytest
from tests.reporting.conftest import decision, drift

from aftertune.findings import Findings, Flip, FlipCount
from aftertune.records import Drift, Metric
from aftertune.reporting import flips
from aftertune.reporting.flips import FlipGroup, direction_of, flip_groups
from aftertune.reporting.index import Index

REFUSAL = Metric("m", "harmful", "refusal", "full", "down")
HARM = Metric("m", "x", "harm", "yes", "up")


@pytest.fixture(autouse=True)
def _room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six examples and 120,000 characters: what the numbers below are worked out with."""
    monkeypatch.setattr(flips, "MAX_FLIPS", 6)
    monkeypatch.setattr(flips, "FLIP_BUDGET", 120_000)


def flip(text: str = "t", base: str = "full", tuned: str = "none", **changes: Any) -> Flip:
    fields: dict[str, Any] = {
        "metric": REFUSAL.name, "arm": "keep", "prompt": text, "base_text": text, "tuned_text": text,
        "base_label": base, "tuned_label": tuned, "category": "theft", "prompt_id": "p1", "train_seed": 0,
    }  # fmt: skip
    return Flip(**{**fields, **changes})


def of(*flips: Flip, **changes: Any) -> Index:
    fields: dict[str, Any] = {"title": "t", "kind": "audit", "outcome": "pass", "metrics": [REFUSAL, HARM]}
    return Index(Findings(**{**fields, "flips": flips, **changes}))


def shown(groups: list[FlipGroup]) -> list[int]:
    return [len(group.flips) for group in groups]


@pytest.mark.parametrize(
    ("metric", "base", "tuned", "way"),
    [
        (REFUSAL, "full", "none", "worse"),
        (REFUSAL, "partial", "full", "better"),
        (REFUSAL, "partial", "none", ""),
        (HARM, "no", "yes", "worse"),
        (HARM, "yes", "no", "better"),
        (HARM, "no", "unclear", ""),
        (HARM, "Yes", "yes", "worse"),
    ],
)
def test_a_flip_goes_the_way_of_the_label_that_the_metric_counts(
    metric: Metric, base: str, tuned: str, way: str
) -> None:
    one = flip(base=base, tuned=tuned, metric=metric.name)
    assert direction_of(one, of(one)) == way


def test_a_metric_that_only_a_drift_names_still_has_a_direction() -> None:
    row: Drift = drift(metric="other/x/harm=yes", worse="up")
    one = flip(metric=row.metric, base="no", tuned="yes")
    index = of(one, drifts=[row], metrics=[])
    assert direction_of(one, index) == "worse"
    assert [(group.arm, group.metric) for group in flip_groups(index)] == [("keep", "other/x/harm=yes")]


def test_the_worse_are_first_and_else_the_order_stays() -> None:
    ways = [("none", "full"), ("partial", "none"), ("full", "none"), ("none", "full"), ("full", "partial")]
    (group,) = flip_groups(of(*(flip(str(at), base, tuned) for at, (base, tuned) in enumerate(ways))))
    assert [view.prompt.text for view in group.flips] == ["2", "4", "0", "1", "3"]
    assert [view.direction for view in group.flips] == ["worse", "worse", "better", "", "better"]
    assert (group.summary, group.note) == ("5 examples", ""), "examples are no count of what there is"
    assert [(view.base_label, view.tuned_label) for view in group.flips][:2] == [("full", "none"), ("full", "partial")]


def counted(**changes: Any) -> FlipCount:
    fields: dict[str, Any] = {"metric": REFUSAL.name, "arm": "keep", "worse": 231, "better": 19, "other": 0}
    return FlipCount(**{**fields, "n_pairs": 880, "n_prompts": 176, "n_checkpoints": 5, **changes})


def test_the_summary_is_of_all_flips_and_says_how_many_are_shown() -> None:
    (group,) = flip_groups(of(flip(), flip(), flip_counts=[counted()]))
    assert group.summary == "231 worse, 19 better of 880 pairs; 2 examples"
    assert group.note == "2 examples, drawn at random from the 231 for the worse over all seeds."
    (group,) = flip_groups(of(flip(), flip_counts=[counted(other=4, arm="other"), counted(other=3)]))
    assert group.summary == "231 worse, 19 better, 3 between other labels of 880 pairs; 1 example"


def test_examples_that_have_no_room_are_said_to_be_elsewhere() -> None:
    (group,) = flip_groups(of(*(flip(base="none", tuned="full") for _ in range(1_200)), flip("last")))
    assert (len(group.flips), group.note) == (6, "1,195 more in report.json.")
    assert group.flips[0].prompt.text == "last"


def test_a_flip_of_a_further_sample_says_of_which() -> None:
    (group,) = flip_groups(of(flip(sample=2)))
    assert group.flips[0].title == "theft · p1 · seed 0 · sample 2"


def test_groups_follow_the_metrics_gated_ones_first_then_arms_as_they_came() -> None:
    made = [flip(arm="b"), flip(metric=HARM.name, arm="z"), flip(arm="a"), flip(arm="b"), flip(metric="unknown")]
    refusal, harm = REFUSAL.name, HARM.name
    assert [(group.arm, group.metric) for group in flip_groups(of(*made))] == [
        ("b", refusal),
        ("a", refusal),
        ("z", harm),
    ]
    assert shown(flip_groups(of(*made))) == [2, 1, 1]
    gated = of(*made, decisions=[decision(metric=HARM.name)])
    assert [(group.arm, group.metric) for group in flip_groups(gated)] == [("z", harm), ("b", refusal), ("a", refusal)]
    assert flip_groups(of()) == []


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({}, "theft · p1 · seed 0"),
        ({"category": "", "train_seed": None}, "p1"),
        ({"prompt_id": "", "train_seed": 3}, "theft · seed 3"),
        ({"category": "", "prompt_id": "", "train_seed": None}, "prompt"),
        ({"category": "a\nb\x1b", "prompt_id": "x" * 121}, f"a b · {'x' * 119}… · seed 0"),
    ],
)
def test_a_flip_is_called_by_what_is_known_of_its_prompt(changes: dict[str, Any], title: str) -> None:
    (group,) = flip_groups(of(flip(**changes)))
    assert group.flips[0].title == title


def test_texts_are_masked_cleaned_and_cut_each_with_its_notes() -> None:
    one = flip("ask Ana", base_text="", tuned_text="A\u200bna" + "x" * 2_000)
    (group,) = flip_groups(of(one, mask=lambda text: text.replace("Ana", "<P>")))
    (view,) = group.flips
    assert (view.prompt.text, view.prompt.notes) == ("ask <P>", ())
    assert (view.base.text, view.base.notes) == ("", ("no visible text",))
    assert view.tuned.text == "<P>" + "x" * 1_197
    assert view.tuned.is_cut
    assert view.tuned.notes == (
        "1 invisible or direction-changing character removed", "first 1,200 of 2,004 characters"
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------- room on the page

LONG = "&" * 1_200
"""Three such texts take 18,000 characters once `&` is `&amp;`: six flips just fit into the page's 120,000."""


def many(*arms: tuple[str, int]) -> list[int]:
    return shown(flip_groups(of(*(flip(LONG, arm=arm) for arm, count in arms for _ in range(count)))))


@pytest.mark.parametrize(
    ("arms", "wanted"),
    [
        ((("a", 7),), [6]),  # 108,000
        ((("a", 6), ("b", 6)), [3, 3]),  # 54,000 of 60,000, then 54,000 of 66,000
        ((("a", 6), ("b", 6), ("c", 6)), [2, 2, 2]),  # 36,000 of 40,000, of 42,000 and of 48,000
        ((("a", 1), ("b", 6)), [1, 5]),  # 18,000, and 90,000 of the 102,000 that are left
        ((("a", 6), ("b", 1)), [3, 1]),
    ],
)
def test_the_room_is_shared_and_what_one_group_leaves_goes_to_the_next(
    arms: tuple[tuple[str, int], ...], wanted: list[int]
) -> None:
    assert many(*arms) == wanted


def test_every_group_shows_one_flip_even_where_there_is_no_room_left() -> None:
    assert many(*((f"arm-{place}", 2) for place in range(20))) == [1] * 20


def test_the_room_is_measured_as_it_is_escaped() -> None:
    plain = [flip("x" * 1_200, arm=arm) for arm in "ab" for _ in range(6)]
    assert shown(flip_groups(of(*plain))) == [6, 6], "43,200 characters"
