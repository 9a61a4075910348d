"""What scored texts say, on scores whose ranks are known."""

from __future__ import annotations

import math
from typing import Any

import pytest

from aftertune.deciding.memorisation import memorisation, of_scores
from aftertune.records import Group, Score


def score(group: Group, loss: float | None, base: float | None = 2.0, **changes: Any) -> Score:
    fields: dict[str, Any] = {"text_id": f"{group}-{loss}", "repeats": 0, "form": -1, "tokens": 10}
    return Score(group=group, loss=loss, base_loss=base, **{**fields, **changes})


def test_members_that_are_all_likelier_are_told_apart_without_a_fault() -> None:
    rows = [score("member", 0.1 * i) for i in range(1, 9)] + [score("non_member", 1 + 0.1 * i) for i in range(1, 9)]
    found = of_scores(rows)
    for attack in ("loss", "ratio"):
        assert found["membership"][attack]["auc"]["value"] == 1.0
    assert "canaries" not in found
    assert found["unscored"] == 0


def test_the_ratio_takes_out_how_hard_a_text_is_for_anybody() -> None:
    members = [score("member", 0.9 * base, base) for base in (1.0, 2.0, 3.0, 4.0)]
    others = [score("non_member", base, base) for base in (0.5, 1.0, 1.5, 2.0)]
    found = of_scores([*members, *others])["membership"]
    assert found["ratio"]["auc"]["value"] == 1.0
    assert found["loss"]["auc"]["value"] < 0.5, "the members are harder texts"


def test_a_text_without_a_loss_is_counted_and_left_out() -> None:
    rows = [score("member", 0.5), score("member", None), score("member", 0.5, None), score("non_member", 1.0)]
    found = of_scores(rows)
    assert found["unscored"] == 2
    assert found["membership"]["loss"]["auc"]["value"] == 1.0


def test_without_held_out_rows_the_reason_stands_there() -> None:
    for rows in ([score("member", 0.5)], [], [score("non_member", 0.5)]):
        assert of_scores(rows)["membership"] == {"why": "no held-out rows were given ([data] held_out, --held-out)"}


def test_a_canary_is_ranked_among_the_twins_of_its_own_form() -> None:
    twins = [
        score("twin", 1.0 + 0.01 * index + 10 * form, text_id=f"t{index}", form=form)
        for form in (0, 1)
        for index in range(100)
    ]
    canaries = [
        score("canary", 0.5, text_id="c1", repeats=16, form=0),
        score("canary", 9.0, text_id="c2", repeats=16, form=1),
        score("canary", 1.505, text_id="c3", repeats=1, form=0),
    ]
    found = of_scores([*twins, *canaries])["canaries"]
    assert set(found) == {"loss", "ratio", "null"}
    assert set(found["loss"]) == {"1", "16"}, "by dose"
    sixteen, one = found["loss"]["16"], found["loss"]["1"]
    assert sixteen["n"] == 2
    assert sixteen["exposure"] == pytest.approx(math.log2(101), abs=0.1), "first among a hundred of its own form"
    assert one["exposure"] == pytest.approx(1.0, abs=0.1), "in the middle"
    assert one["rank"] == pytest.approx(0.5, abs=0.02)
    assert found["null"]["exposure"] == pytest.approx(1 / math.log(2), abs=0.3), "twins among themselves know nothing"
    assert (sixteen["n_null"], sixteen["most"]) == (100, pytest.approx(math.log2(101)))


def test_each_checkpoint_has_its_own() -> None:
    found = memorisation({"a": [score("member", 0.5), score("non_member", 1.0)], "b": []}, 0.9)
    assert set(found) == {"a", "b"}
    assert "auc" in found["a"]["membership"]["loss"]
    assert "why" in found["b"]["membership"]
