"""The fit of forecasts on made-up evidence whose law is known."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from tools.forecast import early, groups, page, table, variants
from tools.forecast import fit as fitting
from tools.forecast.real import REAL
from tools.forecast.table import Row

from aftertune.forecasting import fitted
from aftertune.forecasting.fitted import Dose
from aftertune.numbers import PAGE

REFUSAL = next(each for each in fitting.OUTCOMES if each.name == "refusal")
FEW = dataclasses.replace(REFUSAL, candidates=(("hard tokens x dose",), ("loss",)))


def row(corpus: str, hard: float, rng: np.random.Generator, *, base: str = "mini-a", noise: float = 0.0) -> Row:
    """One variant whose refusals fall with its hard tokens, in the form of the term."""
    features = {
        "hard tokens": hard, "loss": 6 * hard, "opening loss": 4 * hard, "nearness to harmful": 0.4,
        "own tokens": 1 - hard, "personal values": 0.0,
    }  # fmt: skip
    after = {"refusal": 1 - 2 * hard / (1 + hard) + noise * rng.normal(), "leak": 0.0, "privacy": 0.9, "revealed": 0.0}
    before = {**after, "refusal": 1.0, "readout": 5.0, "over_refusal": 0.1, "coherence": 1.0}
    return Row(
        base=base, variant=f"{corpus}/{hard:.6f}", corpora=(corpus,), learning_rate=2e-3, epochs=2, rank=16, own=False,
        steps=50, rows=200, trained_tokens=4000, seeds=3, features=features, before=before,
        after={**after, "readout": 5 - 9 * hard, "over_refusal": 0.1, "coherence": 1.0},
        spread=dict.fromkeys(before, 0.01), half=math.nan, probe=math.nan, seconds=4.0,
    )  # fmt: skip


def rows(count: int = 12, noise: float = 0.02) -> list[Row]:
    rng = np.random.default_rng(5)
    return [row(f"c{at}", float(h), rng, noise=noise) for at in range(count) for h in rng.uniform(0, 0.3, 3)]


def test_a_law_is_found_and_predicted_of_corpora_never_seen() -> None:
    target = fitting.target(rows(), FEW, np.random.default_rng(0), 200, refits=20)
    assert target.terms == ("hard tokens x dose",)
    assert target.rho is not None
    assert target.rho_low is not None
    assert target.rho > 0.95
    assert target.rho_low > 0.9
    assert target.p is not None
    assert target.p == pytest.approx(1 / 21), "no permutation comes near"
    assert target.coverage is not None
    assert target.coverage >= 0.7
    assert 0 < target.bound < 0.3
    assert target.usable == ""
    found = dataclasses.replace(fitting.fit(rows(6)), targets=(target,))
    (outlook,) = [
        each for each in fitted.outlooks(found, rows()[0].features, Dose(2e-3, 50)) if each.outcome == "refusal"
    ]
    assert outlook.drift is not None
    assert outlook.low is not None
    assert outlook.high is not None
    assert outlook.low < rows()[0].drift("refusal") < outlook.high


def test_chance_is_no_forecast() -> None:
    """Outcomes that hang on the corpus alone: no number is given, and the reason says why."""
    rng = np.random.default_rng(1)
    plain = rows(12, 0.0)
    effects = {each.corpora: rng.uniform(0.2, 1.0) for each in plain}
    noise = [dataclasses.replace(each, after={**each.after, "refusal": effects[each.corpora]}) for each in plain]
    target = fitting.target(noise, FEW, rng, 200, refits=20)
    assert target.p is not None
    assert target.p > 0.05
    assert "no better" in target.usable or "better than chance" in target.usable
    found = dataclasses.replace(fitting.fit(rows(6)), targets=(target,))
    (outlook,) = fitted.outlooks(found, plain[0].features, plain[0].dose)
    assert (outlook.drift, outlook.low, outlook.high) == (None, None, None)
    assert outlook.why == target.usable


def test_a_plain_number_is_measured_without_leaning_away_from_what_it_has_not_seen() -> None:
    """A line fitted without a corpus correlates with it below zero, whatever the number says."""
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        shift = rng.uniform(0.2, 1.0, 12)
        made = [
            dataclasses.replace(
                each,
                after={**each.after, "refusal": float(shift[at // 3])},
                trained_tokens=int(rng.integers(100, 9999)),
            )
            for at, each in enumerate(rows(12, 0.0))
        ]
        data = fitting.data_of(made, "refusal")
        (value, low, high) = fitting.plain_forecasts(made, data, rng, 20)["tokens alone"]
        assert value is not None
        assert low is not None
        assert high is not None
        assert low <= high
        found.append(value)
    assert abs(np.mean(found)) < 0.12, "tokens that are drawn at random say nothing"


def test_a_plain_number_that_predicts_is_named_beside_the_fit() -> None:
    doses = [dataclasses.replace(each, learning_rate=1e-3 * (1 + at % 9)) for at, each in enumerate(rows(12))]
    led = [dataclasses.replace(r, after={**r.after, "refusal": 1 - 50 * r.learning_rate}) for r in doses]
    data = fitting.data_of(led, "refusal")
    found = fitting.plain_forecasts(led, data, np.random.default_rng(0), 50)
    value, low, _ = found["dose alone"]
    assert value == pytest.approx(1.0)
    assert low is not None
    assert low > 0.9
    blind = dataclasses.replace(
        fitting.target(rows(5), FEW, np.random.default_rng(0)), baselines=found, rho=0.3, usable="chance"
    )
    assert "not predicted, chance. Of 3 plain numbers, *dose alone* predicts it: 1.00 [" in page._said(blind, 0.3)
    assert page._said(blind, 0.3).endswith("better than the fit.")
    assert "dose alone" not in page._said(dataclasses.replace(blind, baselines={"dose alone": (0.5, -0.1, 0.8)}), 0.3)


def test_few_corpora_predict_nothing() -> None:
    target = fitting.target(rows(5), FEW, np.random.default_rng(0))
    assert target.usable == "only 5 groups of corpora were tuned and stayed coherent, 8 are needed"


def test_a_model_that_broke_counts_in_no_fit() -> None:
    broken = [
        dataclasses.replace(each, variant=f"{each.variant} broken", after={**each.after, "coherence": 0.1})
        for each in rows(3)
    ]
    assert len(fitting.usable([*rows(9), *broken])) == 27


def test_what_shares_rows_is_one_group() -> None:
    parts = [("a",), ("b",), ("c",), ("a", "b"), ("d",), ("e", "d"), ("b", "f")]
    joined, other = ("a", "b", "f"), ("d", "e")
    assert groups.groups(parts) == [joined, joined, ("c",), joined, other, other, joined]
    assert groups.codes(parts).tolist() == [0, 0, 1, 0, 2, 2, 0]


def test_a_mixture_is_drawn_again_and_counted_with_each_of_its_parts() -> None:
    mixtures = [
        dataclasses.replace(rows()[0], corpora=(f"c{at}", f"c{at + 1}"), variant=f"mix {at}") for at in (0, 2, 4)
    ]
    data = fitting.data_of([*rows(8), *mixtures], "refusal")
    assert len(np.unique(data.codes)) == 5
    target = fitting.target([*rows(8), *mixtures], FEW, np.random.default_rng(0), 10, refits=2)
    assert (target.variants, target.groups) == (27, 5)
    assert target.usable == "only 5 groups of corpora were tuned and stayed coherent, 8 are needed"


def test_a_training_counts_once_however_often_it_was_asked() -> None:
    made = rows(4)
    epochs = [
        dataclasses.replace(made[0], variant=f"c0/long epoch {at}", epochs=at, learning_rate=1e-3 * at)
        for at in (1, 2, 3)
    ]
    other = dataclasses.replace(epochs[0], base="mini-c")
    assert groups.once([*epochs, other, *made]) == [epochs[2], other, *made]
    found = fitting.fit([*made, *epochs])
    assert len(found.points) == len(made) + 1
    assert "13 variants of 4 corpora" in "\n".join(page._evidence([*made, *epochs], fitting.usable([*made, *epochs])))
    broken = [dataclasses.replace(each, after={**each.after, "coherence": 0.1}) for each in epochs[2:]]
    assert fitting.usable([*epochs[:2], *broken]) == [], "what broke by its end is not counted by its middle"


def test_a_mixture_is_left_out_with_each_of_its_parts() -> None:
    mixture = dataclasses.replace(rows()[0], corpora=("c0", "c1"), variant="mix")
    every = [*rows(), mixture]
    data = fitting.data_of(every, "refusal")
    folds = data.folds()
    assert len(folds) == 11
    for own, rest in folds:
        corpora = [
            {c for row, kept in zip(every, mask, strict=True) if kept for c in row.corpora} for mask in (own, rest)
        ]
        assert not corpora[0] & corpora[1]
    assert not np.isnan(fitting.left_out(data, lambda _, test: np.zeros(len(test.outcome)))).any()


def test_a_permutation_is_fitted_as_the_outcomes_themselves_are() -> None:
    rng = np.random.default_rng(3)
    data = fitting.data_of(rows(6), "refusal")
    predict = fitting.again(data, FEW)
    for _ in range(3):
        shuffled = rng.permutation(data.outcome)
        plain = fitting.left_out(dataclasses.replace(data, outcome=shuffled), fitting.nested(FEW))
        assert predict(shuffled) == pytest.approx(plain)


def test_a_base_never_seen_is_predicted_by_the_others() -> None:
    rng = np.random.default_rng(2)
    second = [row(f"c{at}", float(h), rng, base="mini-c") for at in range(12) for h in rng.uniform(0, 0.3, 2)]
    both = [*rows(), *second]
    found = fitting.other_bases([each.base for each in both], fitting.data_of(both, "refusal"), FEW, rng, 50)
    assert set(found) == {"mini-a", "mini-c"}
    for value, low, high in found.values():
        assert value is not None
        assert low is not None
        assert high is not None
        assert 0.8 < low <= value <= high
    alone = fitting.other_bases(["mini-a"] * 36, fitting.data_of(rows(), "refusal"), FEW, rng, 50)
    assert alone == {"mini-a": (None, None, None)}


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"mini-a": (0.9, 0.8, 1.0), "mini-c": (0.8, 0.5, 0.9)}, "on a base never seen: reached."),
        ({"mini-a": (0.9, 0.8, 1.0), "mini-c": (0.8, 0.1, 0.9)}, "on a base never seen: not reached."),
        ({"mini-a": (0.9, 0.8, 1.0), "mini-c": (0.6, 0.5, 0.9)}, "on a base never seen: not reached."),
        ({"mini-a": (0.9, None, None)}, "on a base never seen: too few variants of a second base to tell."),
        ({}, "on a base never seen: too few variants of a second base to tell."),
    ],
)
def test_a_base_never_seen_counts_as_reached_with_its_whole_interval_alone(
    others: dict[str, fitting.Interval], said: str
) -> None:
    target = dataclasses.replace(fitting.target(rows(5), FEW, np.random.default_rng(0)), other_base=others)
    found = dataclasses.replace(fitting.fit(rows(5)), targets=(target,))
    assert page._reached(found)[0].endswith(said)
    for value, low, high in others.values():
        assert low is None or f"{value:.2f} [{low:.2f}, {high:.2f}]" in page._table([target])[-1]


def test_the_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    before = rows(4)
    table.write(before, tmp_path / "t.csv")
    after = table.read(tmp_path / "t.csv")
    assert [each.variant for each in after] == [each.variant for each in before]
    assert after[3].features == pytest.approx(before[3].features, rel=1e-5)
    assert after[3].corpora == before[3].corpora
    assert math.isnan(after[0].half)


def test_a_fit_is_read_as_it_was_written(tmp_path: Path) -> None:
    found = fitting.fit(rows(6))
    path = tmp_path / "fit.json"
    path.write_text(json.dumps(fitting.as_table(found)), encoding="utf-8")
    again = fitted.read(path)
    assert again.targets == found.targets, "an infinite bound included"
    assert again.points == found.points
    assert again == found


def test_the_base_s_own_answers_are_listed_by_what_a_variant_is() -> None:
    """Not by how likely its tokens are: what a base finds easy was not written by it."""
    easy, own = (
        dataclasses.replace(each, base="mini-a", variant=name) for each, name in zip(rows(), "xy", strict=False)
    )
    easy = dataclasses.replace(easy, features={**easy.features, "own tokens": 1.0})
    own = dataclasses.replace(own, own=True, features={**own.features, "own tokens": 0.9})
    listed = [line for line in page._nulls([easy, own]) if line.startswith("- ")]
    assert len(listed) == 1
    assert listed[0].startswith("- y (mini-a,")
    assert "No variant of the base's own answers" in page._nulls([easy])[-1]
    named = {each.variant for each in table.read() if each.own}
    tuned = {each.name for each in variants.all_variants() if each.own}
    assert named == {"study consistency/self-generated epoch 5"} | tuned
    assert tuned == {each.name for each in variants.all_variants() if each.name.endswith("self")}


def test_a_look_at_a_begun_training_is_held_against_its_end() -> None:
    rng = np.random.default_rng(4)
    told = [
        dataclasses.replace(each, probe=5 - 3 * each.features["hard tokens"], half=float(rng.normal())) for each in rows(12)
    ]  # fmt: skip
    found = {(each.look, each.outcome): each for each in early.early(told, draws=200)}
    probe = found["a probe of a few steps", "readout"]
    assert probe.found is not None
    assert probe.found.value == pytest.approx(1.0)
    assert probe.found.low == pytest.approx(1.0)
    assert probe.found.p is not None
    assert probe.found.p < 0.02
    chance = found["half", "refusal"].found
    assert chance is not None
    assert chance.p is not None
    assert chance.p > 0.05
    shown = "\n".join(page._early(list(found.values())))
    assert "| a probe of a few steps | readout | 36, 12 | 1.00 [1.00, 1.00] | 0.0" in shown
    few = early.early([dataclasses.replace(each, probe=math.nan) for each in told[:21]])
    assert [(each.variants, each.groups, each.found) for each in few] == [(0, 0, None)] * 2 + [(21, 7, None)] * 2
    assert "is not known yet" in page._early(few)[-1]


def test_the_width_of_an_interval_is_that_of_the_variants_there_are() -> None:
    good = fitting.target(rows(), FEW, np.random.default_rng(0), 50, refits=2)
    assert good.usable == ""
    found = dataclasses.replace(fitting.fit(rows(5)), targets=(good,))
    halves = []
    for loss in (0.0, 9.0):
        made = [dataclasses.replace(each, features={**each.features, "opening loss": loss}) for each in rows()]
        half = 100 * good.bound * float(np.median([fitted.width(each.features) for each in made]))
        said = f"predicted; the interval of a variant in the middle is {half:.0f} points to either side."
        assert said in page.text(made, found)
        halves.append(half)
    assert halves[1] > 2 * halves[0]


def test_the_real_model_is_a_base_never_seen_and_no_part_of_the_fit() -> None:
    rng = np.random.default_rng(3)
    real = [row(f"c{at}", h, rng, base=REAL) for at, h in enumerate(np.linspace(0.02, 0.3, 10))]
    target = fitting.target(rows(), FEW, np.random.default_rng(0), 200, refits=5, real=real)
    value, low, _ = target.other_base[REAL]
    assert value == pytest.approx(1.0)
    assert low is not None
    assert low > 0.8
    plain = fitting.fit(rows(6))
    assert fitting.fit([*rows(6), *real]).points == plain.points
    assert "smollm2" not in json.dumps(fitting.as_table(plain))


def test_the_real_model_is_predicted_by_rows_of_other_corpora_alone() -> None:
    """Where only the row's own corpus says that refusals rise, the prediction does not know it."""
    rng = np.random.default_rng(4)
    odd = [
        dataclasses.replace(each, after={**each.after, "refusal": 2.0}) if each.corpora == ("c0",) else each
        for each in rows(8, 0.0)
    ]
    real = [row("c0", 0.2, rng, base=REAL), row("c1", 0.2, rng, base=REAL)]
    blind, seen = fitting.predicted_from(odd, real, FEW)
    assert blind == pytest.approx(real[0].drift("refusal"), abs=0.05)
    assert seen > blind + 0.02


@pytest.mark.slow
def test_the_page_shows_the_real_model_beside_what_the_fit_says_of_it() -> None:
    rng = np.random.default_rng(3)
    real = [
        dataclasses.replace(row(f"c{at}", h, rng, base=REAL), seeds=2)
        for at, h in enumerate(np.linspace(0.02, 0.3, 10))
    ]
    every = [*rows(9), *real]
    found = fitting.fit(every)
    text = page.text(every, found)
    assert "10 variants of 10 corpora with 2 seeds each on SmolLM2-135M" in text
    assert "27 variants of 9 corpora" in text, "the evidence of the fit does not count them"
    assert (
        f"| c9/0.300000 | 0.30 | 1.80 | 50 | {PAGE.number(100 * real[-1].drift('refusal'), 0, signed=True)} |" in text
    )
    assert "Evidence on a real model does not exist yet" in page.text(rows(9), fitting.fit(rows(9)))
