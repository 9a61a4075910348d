"""A forecast by a made-up fit: what it predicts, what it refuses to, and what it says of less."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.errors import StoreError
from aftertune.forecasting import fitted
from aftertune.forecasting.data_card import DataCard, RowWeight
from aftertune.forecasting.fitted import FEATURES, Dose, Fit, Target
from aftertune.forecasting.forecast import Forecast, predict
from aftertune.forecasting.predictor import Feature
from aftertune.records import Recipe
from aftertune.reporting import forecast as page

VALUES = {
    "hard tokens": 0.1, "loss": 1.2, "opening loss": 0.8, "nearness to harmful": 0.5, "own tokens": 0.7,
    "personal values": 2.0,
}  # fmt: skip
OWN = {
    "hard tokens": 0.0, "loss": 0.0, "opening loss": 0.0, "nearness to harmful": 0.5, "own tokens": 1.0,
    "personal values": 0.0,
}  # fmt: skip
RECIPE = Recipe(learning_rate=2e-3, epochs=2, batch_size=8)


def target(**changes: object) -> Target:
    plain = Target(
        outcome="refusal", about="harmful requests refused", worse="down", terms=("hard tokens x dose",),
        coefficients=(-2.0,), bound=0.5, rho=0.8, rho_low=0.6, rho_high=0.9, p=0.001, coverage=0.8, usable="",
        variants=30, groups=12, baselines={}, other_base={},
    )  # fmt: skip
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def fit(*targets: Target, reach: float = 1.0) -> Fit:
    scales = dict.fromkeys((*FEATURES, "dose"), 1.0)
    points = [fitted.point(scales, values, Dose(2e-3, 50)) for values in (VALUES, OWN)]
    return Fit(
        version=1, about="made up", confidence=0.8, bases={"hash": "embedded:mini-a"}, parameters=(900_000, 1_200_000), scales=scales,
        points=tuple(map(tuple, points)), names=("booking/keep (mini-a)", "booking/self (mini-a)"),
        measured=({"refusal": -0.23, "leak": 0.88}, {"refusal": 0.01}), reach=reach,
        doses=(-2.0, 2.0), ranks=(8, 16), seeds=3, targets=targets or (target(),),
    )  # fmt: skip


def card(values: dict[str, float] | None = None, rows: int = 200) -> DataCard:
    own = values or VALUES
    features = [
        Feature(name=name, value=own[name], low=own[name], high=own[name], n_tokens=9, n_conversations=rows)
        for name in FEATURES[:-1]
    ]
    lighter = [dataclasses.replace(features[0], value=0.5 * own["hard tokens"]), *features[1:]]
    heavy = (RowWeight(7, "data.jsonl:7", 12, 20, 0.4), RowWeight(3, "data.jsonl:3", 6, 9, 0.2))
    return DataCard(
        conversations=rows, read=rows, answers=rows, trained_tokens=4000, features=tuple(features),
        personal_values={"PERSON": round(own["personal values"] * rows)}, languages={"English": rows},
        without_names={},
        requests="training_requests", seconds=1.0, rows=heavy, lighter=tuple(lighter),
    )  # fmt: skip


def predicted(of: Fit, own: DataCard, recipe: Recipe = RECIPE, size: int = 1_000_000, digest: str = "hash") -> Forecast:
    return predict(of, data="d", base="b", weights_hash=digest, parameters=size, recipe=recipe, card=own)


def test_it_is_the_sum_of_the_terms_within_the_interval_of_the_fit() -> None:
    found = predicted(fit(), card())
    assert found.steps == 50
    times = 2e-3 * 50 / 0.1
    (outlook,) = found.outlooks
    expected = -2 * 0.1 * times / (1 + 0.1 * times)
    assert outlook.drift == pytest.approx(expected)
    half = 0.5 * (0.1 + 0.1 + math.log1p(0.8) / 4)
    assert outlook.low == pytest.approx(expected - half)
    assert outlook.high == pytest.approx(expected + half)
    assert found.distance is not None
    assert found.distance.nearest == "booking/keep (mini-a)"
    assert found.distance.value == pytest.approx(0.0)


def test_the_base_s_own_answers_predict_that_nothing_moves() -> None:
    found = predicted(fit(target(terms=("loss", "opening near harmful x dose"), coefficients=(-3.0, -3.0))), card(OWN))
    (outlook,) = found.outlooks
    assert outlook.drift == 0.0
    assert outlook.low is not None
    assert outlook.high is not None
    assert outlook.low == -outlook.high
    assert outlook.high <= 0.05


@given(
    st.fixed_dictionaries({name: st.floats(0, 12) for name in FEATURES}),
    st.floats(1e-5, 1e-2), st.integers(1, 5000),
)  # fmt: skip
def test_a_forecast_is_a_change_of_a_share_and_more_of_a_dose_moves_no_less(
    values: dict[str, float], rate: float, steps: int
) -> None:
    (less,) = fitted.outlooks(fit(), values, Dose(rate, steps))
    (more,) = fitted.outlooks(fit(), values, Dose(2 * rate, steps))
    for each in (less, more):
        assert each.drift is not None
        assert each.low is not None
        assert each.high is not None
        assert -1 <= each.low <= each.drift <= each.high <= 1
    assert more.drift is not None
    assert less.drift is not None
    assert more.drift <= less.drift


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"size": 135_000_000}, "this one has 135.0 million: tune a little and measure"),
        ({"recipe": dataclasses.replace(RECIPE, method="full")}, "the fit knows trainings of a LoRA"),
        ({"recipe": dataclasses.replace(RECIPE, learning_rate=2e-5)}, "is less than any that was tuned (0.025 to 0.4)"),
        ({"recipe": dataclasses.replace(RECIPE, epochs=90)}, "is more than any that was tuned"),
        (
            {"recipe": dataclasses.replace(RECIPE, rank=4, alpha=8)},
            "the LoRA's rank (4) is lower than any that was tuned (8 to 16)",
        ),
        ({"recipe": dataclasses.replace(RECIPE, rank=512, alpha=1024)}, "rank (512) is higher than any that was tuned"),
        (
            {"recipe": dataclasses.replace(RECIPE, rank=8)},
            "alpha (32) is 4 times the rank (8), and 2 times in every LoRA that was tuned",
        ),
        ({"recipe": dataclasses.replace(RECIPE, schedule="constant")}, "schedule is 'constant', and 'linear' in all"),
    ],
)
def test_it_refuses_what_it_has_not_seen(changes: dict[str, object], why: str) -> None:
    digest = "other" if "size" in changes else "hash"
    found = predicted(fit(), card(), digest=digest, **changes)  # type: ignore[arg-type]
    assert why in found.refused
    assert all(each.drift is None and each.why == found.refused for each in found.outlooks)
    assert found.smaller == ()
    assert f"No drift is predicted: {found.refused}." in page.lines(found)


def test_a_rank_between_those_that_were_tuned_is_predicted() -> None:
    assert predicted(fit(), card(), dataclasses.replace(RECIPE, rank=12, alpha=24)).refused == ""


def test_data_far_from_all_that_was_tuned_are_refused_with_the_nearest() -> None:
    found = predicted(fit(), card({**VALUES, "loss": 11.0, "hard tokens": 0.9}), RECIPE)
    assert found.refused == ""
    strict = predicted(fit(reach=0.1), card({**VALUES, "loss": 11.0, "hard tokens": 0.9}), RECIPE)
    assert "from the nearest variant that was tuned (booking/keep (mini-a))" in strict.refused
    assert strict.distance is not None
    assert not strict.distance.within


def test_a_base_of_the_same_size_is_predicted_with_a_note() -> None:
    found = predicted(fit(), card(), digest="other")
    assert found.known == "family"
    assert found.outlooks[0].drift is not None
    assert "not on this one" in found.notes[0]


def test_what_the_fit_could_not_predict_has_its_reason_beside_what_it_could() -> None:
    blind = target(outcome="leak", about="leaks", usable="on corpora that it had not seen it was chance")
    found = predicted(fit(target(), blind), card())
    assert [each.drift is None for each in found.outlooks] == [False, True]
    shown = "\n".join(page.markdown(found))
    assert "not predicted: on corpora that it had not seen it was chance" in shown


def test_where_a_number_is_missing_it_says_what_to_do_instead() -> None:
    blind = target(outcome="leak", about="leaks", usable="on corpora that it had not seen it was chance")
    without = (predicted(fit(target(), blind), card()), predicted(fit(), card(), digest="other", size=135_000_000))
    for found in (*without, predicted(fit(), card())):
        for shown in (page.lines(found), page.markdown(found)):
            assert ("DriftCallback" in "\n".join(shown)) is (found in without)


def test_a_missing_feature_refuses_with_its_reason() -> None:
    own = card()
    broken = dataclasses.replace(own.features[0], value=None, warning="no token of the data would be trained")
    found = predicted(fit(), dataclasses.replace(own, features=(broken, *own.features[1:])))
    assert found.refused == "hard tokens: no token of the data would be trained"
    assert found.distance is None
    assert page.lines(found)


def test_less_moves_less_and_a_dose_that_was_never_tuned_is_not_told() -> None:
    found = predicted(fit(), card())
    plain = found.outlooks[0].drift
    assert plain is not None
    drifts = {each.about: each.outlooks[0].drift for each in found.smaller}
    assert set(drifts) == {
        "half the learning rate", "a quarter of the learning rate", "half of the rows, drawn at random",
        "without the 10 % of the rows that weigh most",
    }  # fmt: skip
    assert all(each is not None and abs(each) < abs(plain) for each in drifts.values())
    low = predicted(fit(), card(), dataclasses.replace(RECIPE, learning_rate=7e-4))
    assert "a quarter of the learning rate" not in {each.about for each in low.smaller}


@pytest.mark.parametrize(
    ("reach", "told"),
    [
        (0.1, {"without the 10 % of the rows that weigh most"}),
        (0.4, {"without the 10 % of the rows that weigh most", "half the learning rate",
               "half of the rows, drawn at random"}),
        (0.02, set()),
    ],
)  # fmt: skip
def test_less_that_lies_beyond_the_reach_is_not_told_either(reach: float, told: set[str]) -> None:
    """Half of the dose is one doubling away, which over seven features is .38 standard deviations."""
    found = predicted(fit(reach=reach), card())
    assert found.refused == ""
    assert {each.about for each in found.smaller} == told


def test_the_page_names_the_rows_that_weigh_most_and_the_interval_s_confidence() -> None:
    for text in ("\n".join(page.lines(predicted(fit(), card()))), "\n".join(page.markdown(predicted(fit(), card())))):
        assert "row 7 (12 of 20 tokens), row 3 (6 of 9 tokens); together 60 % of all hard tokens" in text
        assert "80 % intervals" in text
        assert "PERSON 400" in text
    shown = "\n".join(page.markdown(dataclasses.replace(predicted(fit(), card()), data="a|b<c>")))
    assert "a|b<c>" not in shown


def test_what_tuning_did_to_the_nearest_variants_stands_beside_the_forecast_and_beside_its_refusal() -> None:
    blind = target(usable="chance")
    for found in (predicted(fit(), card()), predicted(fit(blind), card())):
        shown = "\n".join(page.lines(found))
        assert (
            "Measured on booking/keep (mini-a), 0.0 away: harmful requests refused -23 points; leak +88 points" in shown
        )
        assert found.distance is not None
        assert [each.name for each in found.distance.neighbours] == ["booking/keep (mini-a)", "booking/self (mini-a)"]
    other = predicted(fit(), card(), digest="other", size=135_000_000)
    for shown in ("\n".join(page.lines(other)), "\n".join(page.markdown(other))):
        assert "Measured on" not in shown, "of other models it says nothing"
        assert "within the fit's reach" not in shown


def test_a_damaged_fit_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "fit.json"
    for content in ("", "{}", "[1]", json.dumps({"version": 99})):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(StoreError) as error:
            fitted.read(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(StoreError):
        fitted.read(tmp_path / "none.json")


def test_the_fit_that_ships_can_be_read_and_holds_what_a_forecast_needs() -> None:
    found = fitted.shipped()
    assert {each.outcome for each in found.targets} >= {"refusal", "leak", "privacy"}
    assert all(each.usable or (each.terms and math.isfinite(each.bound)) for each in found.targets)
    assert set(found.scales) == {*FEATURES, "dose"}
    (nothing,) = {each.drift for each in fitted.outlooks(found, OWN, Dose(2e-3, 50)) if each.drift is not None} or {0.0}
    assert nothing == 0.0


def test_none_found_does_not_stand_for_texts_in_which_names_were_not_looked_for() -> None:
    plain = dataclasses.replace(card(), personal_values={})
    german = dataclasses.replace(plain, without_names={"German": 12})
    for shown, said in ((plain, "none found;"), (german, "none found (names were not looked for in 12 German texts);")):
        for write in (page.lines, page.markdown):
            assert f"personal values: {said}" in "\n".join(write(predicted(fit(), shown)))
