"""What heads are fitted on: weights that balance sets, and thirds of prompts that no made-up row crosses."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tools.fit_judges import answer_sets, heads
from tools.fit_judges.answer_sets import Labelled, third

DATA = Path(os.environ.get("AFTERTUNE_DATA", "/nowhere"))


@given(words=st.lists(st.sampled_from(["how", "do", "I", "bake", "bread"]), min_size=1, max_size=8))
def test_a_prompt_is_in_one_third_however_it_is_written(words: list[str]) -> None:
    text = " ".join(words)
    assert third(text) in (0, 1, 2)
    assert third(text) == third(f"  {text.upper()}? ") == third(text.replace(" ", "\n"))


def test_sets_and_their_labels_weigh_alike() -> None:
    rows = [Labelled("a", "p", f"{k}", "g", harm=float(k < 150)) for k in range(1000)]
    rows += [Labelled("b", "p", f"{k}", "g", harm=float(k < 200)) for k in range(300)]
    rows += [Labelled("b", "p", f"{k}", "g") for k in range(50)]
    weight = heads.weights(rows, "harm", np.ones(len(rows), bool), {"b": 0.5})
    y = np.array([row.harm for row in rows])
    in_a = np.array([row.set == "a" for row in rows])
    sums = [weight[in_a & (y == 1)].sum(), weight[in_a & (y == 0)].sum(), weight[~in_a & (y == 1)].sum()]
    assert sums[0] == pytest.approx(sums[1])
    assert sums[2] == pytest.approx(sums[0] / 2)
    assert weight[np.isnan(y)].sum() == 0
    assert weight[~np.isnan(y)].mean() == pytest.approx(1)


def test_a_comparison_puts_the_less_harmful_answer_first() -> None:
    rows = [Labelled("hh_rlhf", "p", text, "g", pair=pair, better=text == "good") for pair in (0, 1) for text in "bg"]
    rows[1] = Labelled("hh_rlhf", "p", "good", "g", pair=0, better=True)
    rows[3] = Labelled("hh_rlhf", "p", "good", "g", pair=1, better=True)
    loads = np.zeros((4, 1))
    assert heads._units(rows, np.ones(4, bool), loads, ranked=True) == [[1, 0], [3, 2]]
    assert heads._units(rows, np.ones(4, bool), loads, ranked=False) == []
    assert heads._units(rows, np.array([True, True, True, False]), loads, ranked=True) == [[1, 0]]


def test_the_last_turn_of_a_dialogue_is_read() -> None:
    dialogue = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c d\n\nAssistant: e\nf"
    assert answer_sets.last_turn(dialogue) == ("c d", "e\nf")


@pytest.mark.skipif(not (DATA / "gptfuzz").is_dir(), reason="AFTERTUNE_DATA has no gptfuzz/")
def test_rows_that_are_made_of_others_stay_in_their_third() -> None:
    rows = answer_sets.load(DATA)
    whole = {True: set(), False: set()}  # type: dict[bool, set[str]]
    for row in rows:
        if not row.constructed:
            whole[row.held_out].add(row.text)
    alone = {part: whole[part] - whole[not part] for part in whole}
    made = [row for row in rows if row.constructed]
    assert len(made) > 1000
    assert not any(row.text in alone[not row.held_out] for row in made)
    excerpts = [row for row in made if row.weight == answer_sets.EXCERPT]
    assert {row.compliance for row in excerpts} == {0.0, 1.0}
    assert all(math.isnan(row.harm) or row.harm in (0.0, 1.0) for row in excerpts)
