import math

import numpy as np
import pytest

from aftertune.stats import sequential
from aftertune.stats.sequential import ConfidenceSequence, confidence_sequence


def wealth(values: list[float], mean: float, confidence: float = 0.95) -> float:
    """The most that either gambler ever has at one candidate mean, by the paper's formulas and plain loops."""
    x, m = [(v + 1) / 2 for v in values], (mean + 1) / 2
    up = down = most = 1.0
    for t in range(1, len(x) + 1):
        past = x[: t - 1]
        averages = [(0.5 + sum(past[: i + 1])) / (i + 2) for i in range(len(past))]
        spread = (0.25 + sum((a - b) ** 2 for a, b in zip(past, averages, strict=True))) / t
        stake = math.sqrt(2 * math.log(2 / (1 - confidence)) / (spread * t * math.log(t + 1)))
        up *= 1 + min(stake, 0.5 / m) * (x[t - 1] - m)
        down *= 1 - min(stake, 0.5 / (1 - m)) * (x[t - 1] - m)
        most = max(most, up, down)
    return most


def test_limits_are_where_the_wealth_reaches_its_bound() -> None:
    rng = np.random.default_rng(0)
    values = [float(v) for v in rng.choice([1.0, 0.0, -1.0], 120, p=[0.3, 0.6, 0.1])]
    sequence = ConfidenceSequence()
    for value in values:
        sequence.add(np.array([value]))
    low, high = sequence.interval
    step = 2 / (sequential.GRID - 1)
    assert low < 0.2 < high
    assert wealth(values, low) >= 40 - 1e-6
    assert wealth(values, high) >= 40 - 1e-6
    assert max(wealth(values, low + 2 * step), wealth(values, high - 2 * step)) < 40
    assert sequence.mean == pytest.approx(np.mean(values))
    assert (sequence.n, sequence.n_clusters) == (120, 120)


def test_intervals_only_shrink_and_always_have_width() -> None:
    lows, highs = confidence_sequence([np.zeros(1)] * 400)
    assert (np.diff(lows) >= 0).all()
    assert (np.diff(highs) <= 0).all()
    assert lows[-1] < 0 < highs[-1]
    assert (lows[0], highs[0]) == (-1.0, 1.0)
    contrary = ConfidenceSequence()
    for value in [1.0] * 60 + [-1.0] * 200:
        contrary.add(np.array([value]))
    assert contrary.interval[0] < contrary.interval[1]


def test_clusters_of_unequal_size_estimate_the_mean_over_prompts() -> None:
    rng = np.random.default_rng(1)
    groups = [np.full(8, 0.5) if rng.random() < 0.5 else np.full(1, -0.5) for _ in range(600)]
    lows, highs = confidence_sequence(groups)
    truth = (8 * 0.5 - 0.5) / 9
    assert lows[-1] < truth < highs[-1]
    assert highs[-1] - lows[-1] < 0.35
    assert not lows[-1] < 0 < highs[-1]  # the mean over clusters, 0, is not what is estimated


def test_copies_of_a_prompt_count_once() -> None:
    rng = np.random.default_rng(2)
    single = rng.choice([1.0, 0.0, -1.0], 100)
    first = confidence_sequence([np.array([v]) for v in single])
    copied = confidence_sequence([np.full(7, v) for v in single])
    assert np.array_equal(first, copied)


@pytest.mark.parametrize(
    ("lost", "margin", "expected", "least"),
    [(0.0, 0.1, "pass", 20), (0.35, 0.1, "drift", 20), (0.1, 0.1, "continue", 0)],
)
def test_it_stops_early_and_says_why(lost: float, margin: float, expected: str, least: int) -> None:
    rng, sequence = np.random.default_rng(3), ConfidenceSequence()
    answer = "continue"
    for value in rng.choice([-1.0, 0.0], 600, p=[lost, 1 - lost]):
        sequence.add(np.array([value]))
        answer = sequence.decision(margin, "down")
        if answer != "continue":
            break
    assert answer == expected
    assert sequence.n > least
    if expected != "continue":
        assert sequence.n < 400
        assert sequence.decision(margin, "up") == "pass"


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="1 to 2 prompts"):
        ConfidenceSequence(2).add(np.zeros(3))
    with pytest.raises(ValueError, match="must lie in"):
        ConfidenceSequence().add(np.array([1.5]))
    with pytest.raises(ValueError, match="largest"):
        ConfidenceSequence(0)
    with pytest.raises(ValueError, match="margin"):
        ConfidenceSequence().decision(-0.1, "up")
    assert confidence_sequence([])[0].size == 0
