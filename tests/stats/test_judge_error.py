import math

import pytest
from scipy import stats

from aftertune.stats import judge_error
from aftertune.stats.judge_error import Labelled, drift_under, rogan_gladen, rogan_gladen_drift

GOOD = Labelled(true_positive=90, false_negative=10, true_negative=95, false_positive=5)


def test_rogan_gladen_undoes_the_judge() -> None:
    # A true rate of .3 seen by a judge with Se .9 and Sp .95 shows as .9 * .3 + .05 * .7.
    found = rogan_gladen(0.9 * 0.3 + 0.05 * 0.7, 1000, GOOD)
    assert found.value == pytest.approx(0.3)
    assert found.low < 0.3 < found.high
    assert rogan_gladen(0.0, 100, GOOD).value == 0.0
    assert rogan_gladen(1.0, 100, GOOD).value == 1.0


def test_interval_is_lang_and_reiczigel_by_another_road() -> None:
    # Their limits, written out with plain counts (z = 1.96): 20 of 100 seen, Se 45/50, Sp 48/50.
    z = stats.norm.isf(0.025)
    p, se, sp = (20 + z**2 / 2) / (100 + z**2), 46 / 52, 49 / 52
    youden = se + sp - 1
    centre = (p + sp - 1) / youden
    variance = p * (1 - p) / (100 + z**2) + centre**2 * se * (1 - se) / 52 + (1 - centre) ** 2 * sp * (1 - sp) / 52
    shift = 2 * z**2 * (centre * se * (1 - se) / 52 - (1 - centre) * sp * (1 - sp) / 52)
    found = rogan_gladen(0.2, 100, Labelled(45, 5, 48, 2))
    assert found.low == pytest.approx(centre + shift - z * math.sqrt(variance) / youden)
    assert found.high == pytest.approx(centre + shift + z * math.sqrt(variance) / youden)


def test_labels_widen_the_interval_and_perfect_judges_still_have_one() -> None:
    few, many = rogan_gladen(0.3, 1000, Labelled(9, 1, 19, 1)), rogan_gladen(0.3, 1000, Labelled(900, 100, 1900, 100))
    raw = 2 * 1.96 * math.sqrt(0.21 / 1000)
    assert few.high - few.low > 2 * (many.high - many.low) > 2 * raw
    perfect = rogan_gladen(0.0, 50, Labelled(40, 0, 40, 0))
    assert perfect.high - perfect.low > 0.03


def test_a_judge_that_guesses_is_refused() -> None:
    for labels in (Labelled(10, 10, 10, 10), Labelled(6, 4, 6, 4), Labelled(2, 8, 2, 8)):
        with pytest.raises(ValueError, match="guesses"):
            rogan_gladen(0.3, 100, labels)
    with pytest.raises(ValueError, match="both classes"):
        Labelled(0, 0, 10, 1)
    value, low, high = judge_error.youden(GOOD)
    assert low < value < high
    assert value == pytest.approx(0.85)


def test_errors_that_differ_between_arms_invent_drift_and_the_correction_takes_it_back() -> None:
    # The truth is 30 % in both arms; the judge finds .24 in one and .375 in the other.
    base = rogan_gladen(0.75 * 0.3 + 0.05 * 0.7, 2000, Labelled(75, 25, 95, 5))
    tuned = rogan_gladen(0.9 * 0.3 + 0.15 * 0.7, 2000, Labelled(90, 10, 85, 15))
    drift = rogan_gladen_drift(base, tuned)
    assert drift.raw == pytest.approx(0.115)
    assert drift.value == pytest.approx(0.0, abs=1e-9)
    assert drift.low < 0 < drift.high


def test_tolerance_is_the_error_at_which_the_interval_reaches_zero() -> None:
    rise = judge_error.tolerance(0.2, 0.1, 0.3, tuned=0.5)
    assert rise.answers == pytest.approx(0.1)
    assert rise.false_positive_rate == pytest.approx(0.1 / 0.6)  # of the 60 % that would then be true negatives
    assert "10.0 %" in rise.text
    fall = judge_error.tolerance(-0.2, -0.3, -0.1, tuned=0.5)
    assert fall.false_negative_rate == pytest.approx(0.1 / 0.6)
    assert judge_error.tolerance(0.1, -0.1, 0.3, tuned=0.5).text == "the sign is open already, whatever the judge"
    with pytest.raises(ValueError, match="low <= delta"):
        judge_error.tolerance(0.5, 0.1, 0.3, 0.5)


def test_ranges_of_error_rates_bound_the_true_drift() -> None:
    same = drift_under(0.2, 0.4, (0.8, 0.9), (0.9, 0.95), differ=False)
    assert same[0] == pytest.approx(0.2 / (0.9 + 0.95 - 1))
    assert same[1] == pytest.approx(0.2 / (0.8 + 0.9 - 1))
    apart = drift_under(0.2, 0.4, (0.8, 0.9), (0.9, 0.95), differ=True)
    assert apart[0] < same[0] < same[1] < apart[1]
    assert drift_under(0.2, 0.4, (1, 1), (1, 1), differ=True) == pytest.approx((0.2, 0.2))
    with pytest.raises(ValueError, match="guesses"):
        drift_under(0.2, 0.4, (0.3, 0.9), (0.6, 0.95), differ=True)
    with pytest.raises(ValueError, match="sensitivity"):
        drift_under(0.2, 0.4, (0.9, 0.3), (0.6, 0.95), differ=True)
