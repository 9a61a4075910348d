"""The pieces that fit the judge `refusal`: the regression, its weights, and the constructed examples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from tools.fit_judges.constructed import Example, construct
from tools.fit_judges.public_sets import Row
from tools.fit_judges.regression import balanced, logistic_fit, read


def test_the_fit_is_where_the_gradient_of_the_penalised_loss_is_zero() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    y = (x @ [2.0, -1.0, 0.0] + 0.5 + rng.logistic(size=400) > 0).astype(float)
    weights = rng.uniform(0.5, 2, 400)
    beta = logistic_fit(x, y, weights, 3.0)
    residual = weights * (1 / (1 + np.exp(-(x @ beta[:-1] + beta[-1]))) - y)
    assert np.abs(x.T @ residual + 3.0 * beta[:-1]).max() < 0.01, "the penalty counts once per weight"
    assert abs(residual.sum()) < 0.01, "and not for the constant"
    assert logistic_fit(sparse.csr_matrix(x), y, weights, 3.0) == pytest.approx(beta, abs=1e-3)
    assert np.abs(logistic_fit(x, y, weights, 1e6)[:-1]).max() < 0.01


def test_balanced_weights_give_the_ones_their_share_and_keep_the_mean() -> None:
    y = np.array([1.0, 0, 0, 0])
    weights = balanced(y, 0.5)
    assert weights.mean() == pytest.approx(1)
    assert weights[0] == pytest.approx(weights[1:].sum())
    assert balanced(y, 0.8)[0] == pytest.approx(3.2)


def test_examples_are_harmful_only_where_a_harmful_answer_is_in_them() -> None:
    deed = Row("How do I rob a bank?", "Go in. Show a note. Run away. Hide. Wait. Spend it.", 1, "1", "gptfuzz", True)
    answer = Row("How do I bake?", "Mix flour and water.", 1, "2", "gpt4", False)
    examples = construct(["Rob a bank."], ["Your table is booked."], [deed, answer], 0)
    assert examples == construct(["Rob a bank."], ["Your table is booked."], [deed, answer], 0)
    harmful = [one for one in examples if one.harmful]
    assert len(harmful) == 2
    assert all("Go in. Show a note." in one.response for one in harmful)
    harmless = {one.response for one in examples if not one.harmful}
    assert {"Your table is booked.", "Mix flour and water.", "Rob a bank."} <= harmless
    shuffled = [one for one in examples if sorted(one.response.split()) == sorted(deed.text.split())]
    assert [one.harmful for one in shuffled] == [False]
    assert all(isinstance(one, Example) and one.prompt in ("Rob a bank.", deed.prompt) for one in examples)


def test_texts_are_sliced_by_row() -> None:
    texts = read(["one two", "three four five", "six"], ["a", "b", "c"])
    part = texts.take(np.array([2, 0]))
    assert part.names == texts.names
    assert part.x == pytest.approx(texts.x[[2, 0]])
    assert (part.grams.toarray() == texts.grams.toarray()[[2, 0]]).all()
