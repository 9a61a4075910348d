"""Texts as numbers, and logistic regression on them. Needs SciPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse

from aftertune import text as tools
from aftertune.judging.judges import _features as reading
from aftertune.judging.judges import _lexer as lexer
from aftertune.judging.judges import _refusal_model as model

Floats = NDArray[np.float64]


def prepare(text: str) -> str:
    """Return a text as the models read it."""
    return tools.normalise(text[: 2 * model.MOST]).strip()


def matrix(tables: Sequence[model.Table], sizes: Sequence[int]) -> sparse.csr_matrix:
    """Return hashed words and pairs as one sparse matrix."""
    parts = [
        sparse.csr_matrix((t.values, (t.rows, t.columns)), shape=(size, 1 << model.BITS))
        for t, size in zip(tables, sizes, strict=True)
    ]
    return sparse.csr_matrix(sparse.vstack(parts))


@dataclass(frozen=True)
class Texts:
    """Texts as the models read them: features and hashed tables, to be sliced by fold."""

    names: list[str]
    x: Floats
    grams: sparse.csr_matrix
    asked: Floats
    """What the prompts ask for, as `of_prompts` returns it."""

    def take(self, where: NDArray[Any]) -> Texts:
        """Return some of them."""
        return Texts(self.names, self.x[where], sparse.csr_matrix(self.grams[where]), self.asked[where])


def read(texts: Sequence[str], asked: Sequence[str]) -> Texts:
    """Read responses with their prompts."""
    names: list[str] = []
    x, grams, sizes, wanted = [], [], [], []
    for start in range(0, len(texts), model.CHUNK):
        w = lexer.read([prepare(t)[: model.MOST] for t in texts[start : start + model.CHUNK]])
        p = lexer.read([prepare(t)[: model.MOST] for t in asked[start : start + model.CHUNK]])
        grams.append(model.table(w))
        asks = reading.LEXICON.find(p)
        wanted.append(reading.of_prompts(p, asks)[0])
        names, values = reading.from_words(w, p, asks, wanted[-1], grams[-1].distinct(w.n))
        x.append(values)
        sizes.append(w.n)
    return Texts(names, np.vstack(x), matrix(grams, sizes), np.vstack(wanted))


def logistic_fit(x: Any, y: Floats, weights: Floats, penalties: Floats | float, start: Floats | None = None) -> Floats:
    """Return the weights, the constant last, that minimise weighted log loss plus half the penalised squares."""
    size = x.shape[1]
    penalty = np.broadcast_to(np.asarray(penalties, float), (size,))
    whole: Any = x
    transposed = whole.T.tocsr() if sparse.issparse(x) else whole.T

    def loss(beta: Floats) -> tuple[float, Floats]:
        z = x @ beta[:-1] + beta[-1]
        residual = weights * (model.logistic(z) - y)
        value = float((weights * (np.logaddexp(0, z) - y * z)).sum() + 0.5 * (penalty * beta[:-1] ** 2).sum())
        return value, np.append(transposed @ residual + penalty * beta[:-1], residual.sum())

    begin = np.zeros(size + 1) if start is None else start
    result = optimize.minimize(loss, begin, jac=True, method="L-BFGS-B", options={"maxiter": 250})
    return np.asarray(result.x)


def balanced(y: Floats, share: float = 0.5) -> Floats:
    """Return weights, mean 1, that give the ones a share of the whole."""
    ones = max(float(y.mean()), 1e-9)
    return np.where(y == 1, share / ones, (1 - share) / max(1 - ones, 1e-9))
