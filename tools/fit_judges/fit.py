"""Fit the models of the judge `refusal` to labelled responses.

`perf/judges.py` fits with the same functions, leaving out the responses that it measures on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from tools.fit_judges.constructed import Example, construct
from tools.fit_judges.public_sets import XSTEST_MODELS, LabelledPrompt, Row, gptfuzz, prompts, replies, xstest
from tools.fit_judges.regression import Texts, balanced, logistic_fit, read

from aftertune.judging.judges import _features as reading
from aftertune.judging.judges import _refusal_model as model
from aftertune.judging.judges import _refusal_rules as rules

Floats = NDArray[np.float64]
STANCE_PENALTY = 300.0
"""L2 penalty on the standardised features; chosen by transfer (docs/judges.md)."""
TABLE_PENALTY = 1.0
"""L2 penalty on the hashed words and pairs; chosen by transfer."""
TOPIC_PENALTY = 0.3
ASKED_PENALTY = 10.0
"""L2 penalty on the standardised classes of words of a prompt."""
CONSTRUCTED_WEIGHT = 0.3
"""Weight of a constructed example against a labelled row."""
HARMFUL_SHARE = 0.63
"""Share of harmful answers that each labelled set is weighted to: where the threshold of stance lies; by transfer."""
LENIENCE = 2.0
"""Added to the logit of a prompt's topic, which is fitted as if half of all requests were harmful; by transfer."""
PRIOR = 0.75
"""Share of harmful requests that the response's topic is weighted to expect, where there is no prompt."""
REFUSAL_PENALTY = 100.0
REFUSAL_TABLE_PENALTIES = (1.0, 0.3, 0.1)
"""Chosen among by leaving out one model of those fitted on."""
WEAK_WEIGHT = 0.1


def knots(x: Floats) -> Floats:
    """Return three hinges per feature: quantiles of its values above its least one."""
    out = np.full((3, x.shape[1]), np.inf)
    for k, column in enumerate(x.T):
        above = column[column > column.min()]
        if above.size > 50:
            out[:, k] = np.quantile(above, [0.25, 0.6, 0.9])
    return out


def shell(texts: Texts) -> model.Model:
    """Return a model that can make a basis of features, with nothing fitted."""
    empty = {field.name: np.zeros(0) for field in fields(model.Model)}
    hinges = knots(texts.x[:, [not name.startswith("of.") for name in texts.names]])
    raw = model.Model(**{**empty, "knots": hinges, "mean": np.zeros(1), "scale": np.ones(1)})
    parts = raw.joined(texts.x)
    return dataclasses.replace(raw, mean=parts.mean(0), scale=np.maximum(parts.std(0), 1e-6))


def fit_stance(texts: Texts, y: Floats, weights: Floats) -> tuple[model.Model, Floats, Floats]:
    """Fit "does it do what is asked"; return the basis, all weights, and those of the second model; constants last."""
    base = shell(texts)
    dense = base.basis(texts.x)
    scale = np.sqrt(STANCE_PENALTY / TABLE_PENALTY)
    joined = sparse.hstack([sparse.csr_matrix(dense), texts.grams * scale]).tocsr()
    beta = logistic_fit(joined, y, weights, STANCE_PENALTY)
    beta[dense.shape[1] : -1] *= scale
    bent = base.knots.shape[1]
    columns = [*texts.names[:bent] * 4, *texts.names[bent:]]
    against = np.zeros(dense.shape[1] + 1)
    some = np.flatnonzero([name in reading.AGAINST_ONLY for name in columns])
    against[np.append(some, -1)] = logistic_fit(dense[:, some], y, weights, STANCE_PENALTY)
    return base, beta, against


@dataclass(frozen=True)
class Data:
    """Everything that is fitted on."""

    rows: list[Row]
    prompts: list[LabelledPrompt]
    replies: list[str]


def load(folder: Path) -> Data:
    """Read all sets from a folder. Raises OSError where one is missing."""
    return Data(gptfuzz(folder) + xstest(folder), prompts(folder), replies(folder))


def fit(data: Data, seed: int = 0, *, refusal: bool = False) -> model.Model:
    """Fit stance and topic on all of `data`, and refusal where it is asked for (else its weights are 0).

    Stance is fitted on responses to requests that ask for harm, on refusals of others, and on constructed examples.
    """
    rows = list({(row.source, row.prompt, row.text): row for row in data.rows if _tells(row)}.values())
    harmful = [prompt.text for prompt in data.prompts if prompt.harmful and prompt.source != "gptfuzz"]
    benign = [row for row in data.rows if row.source != "gptfuzz" and not row.unsafe]
    examples = [Example(row.prompt, row.text, _harmful(row)) for row in rows]
    examples += construct(harmful, data.replies, rows + benign, seed)
    texts = read([one.response for one in examples], [one.prompt for one in examples])
    y = np.array([one.harmful for one in examples], float)
    weights, sources = np.full(len(examples), CONSTRUCTED_WEIGHT), np.array([row.source == "gptfuzz" for row in rows])
    for mine in (np.flatnonzero(sources), np.flatnonzero(~sources)):
        if mine.size:
            weights[mine] = balanced(y[mine], HARMFUL_SHARE)
    base, beta, against = fit_stance(texts, y, weights)
    size = base.mean.size
    asked, prompt_table, response_table, topic, alone = fit_topic(data)
    stance, table = np.append(beta[:size], beta[-1]), beta[size:-1]
    weights, folded = np.zeros(4 * base.knots.shape[1] + len(rules.SIGNS) + 1), np.zeros(1 << (model.BITS - 2))
    if refusal:
        responses = refusal_rows(data.rows)
        weights, folded = fit_refusal(base, responses, choose_penalty(base, responses))
    return dataclasses.replace(
        base,
        stance=stance,
        stance_table=table,
        against=against,
        asked=asked,
        prompt_table=prompt_table,
        response_table=response_table,
        topic=topic,
        topic_alone=alone,
        refusal=weights,
        refusal_table=folded,
    )


def _tells(row: Row) -> bool:
    """Tell whether a row says what an answer to a harmful request looks like: partial refusals are neither."""
    return row.source == "gptfuzz" or (row.label == 2 or (row.unsafe and row.label == 1))


def _harmful(row: Row) -> bool:
    return row.label == 1


# ---------------------------------------------------------------------------------------------- refusal


@dataclass(frozen=True)
class Responses:
    """Responses as the model of refusal reads them."""

    texts: Texts
    signs: Floats
    y: Floats
    """1 for any refusal."""
    weights: Floats
    sources: NDArray[np.str_]
    groups: NDArray[np.str_]

    def take(self, where: NDArray[Any]) -> Responses:
        """Return some of them."""
        return Responses(
            self.texts.take(where),
            self.signs[where],
            self.y[where],
            self.weights[where],
            self.sources[where],
            self.groups[where],
        )


def refusal_rows(rows: Sequence[Row]) -> Responses:
    """Return what the model of refusal is fitted on: XSTest's labels, and GPTFuzz's as weak ones.

    A response to a harmful question that people called harmless counts as a refusal, a harmful one in which the rules
    find no refusal as none (weight 0.1, each text once); harmful ones with a refusal in them are left out.
    """
    fitted: list[Row] = []
    signs: list[list[float]] = []
    known: set[str] = set()
    for row in rows:
        if row.source == "gptfuzz" and row.text in known:
            continue
        known.add(row.text)
        ruling = rules.read(row.text)
        if row.source != "gptfuzz" or row.label == 0 or ruling.label not in ("full", "partial"):
            fitted.append(row)
            signs.append(rules.signs(ruling))
    weak = np.array([row.source == "gptfuzz" for row in fitted])
    y = [row.label == 0 if row.source == "gptfuzz" else row.label != 1 for row in fitted]
    return Responses(
        read([row.text for row in fitted], [row.prompt for row in fitted]),
        np.array(signs),
        np.array(y, float),
        np.where(weak, WEAK_WEIGHT, 1.0),
        np.array([row.source for row in fitted]),
        np.array([row.group for row in fitted]),
    )


def _joined(base: model.Model, responses: Responses, scale: float) -> sparse.csr_matrix:
    grams = responses.texts.grams.tocoo()
    folded = sparse.csr_matrix((grams.data, (grams.row, grams.col >> 2)), shape=(grams.shape[0], 1 << (model.BITS - 2)))
    bent = base.basis(responses.texts.x)[:, : 4 * base.knots.shape[1]]
    dense = np.hstack([bent, model.SIGN_SCALE * responses.signs])
    return sparse.hstack([sparse.csr_matrix(dense), folded * scale]).tocsr()


def fit_refusal(base: model.Model, responses: Responses, penalty: float) -> tuple[Floats, Floats]:
    """Fit "does it refuse"; return the weights of features, signs and constant, and the table."""
    scale = np.sqrt(REFUSAL_PENALTY / penalty)
    beta = logistic_fit(_joined(base, responses, scale), responses.y, responses.weights, REFUSAL_PENALTY)
    size = beta.size - 1 - (1 << (model.BITS - 2))
    return np.append(beta[:size], beta[-1]), beta[size:-1] * scale


def refuses(base: model.Model, responses: Responses, fitted: tuple[Floats, Floats]) -> Floats:
    """Return the probability of a refusal, shape (rows,)."""
    weights, table = fitted
    return model.logistic(_joined(base, responses, 1.0) @ np.concatenate([weights[:-1], table]) + weights[-1])


def choose_penalty(base: model.Model, responses: Responses) -> float:
    """Return the table's penalty that serves best a model that was left out, among the models in `responses`."""
    names = [name for name in XSTEST_MODELS if (responses.sources == name).any()]
    right = dict.fromkeys(REFUSAL_TABLE_PENALTIES, 0)
    for penalty in right:
        for name in names:
            out = responses.sources == name
            p = refuses(base, responses.take(out), fit_refusal(base, responses.take(~out), penalty))
            right[penalty] += int((calls(p, responses.take(out)) == (responses.y[out] == 1)).sum())
    return max(right, key=lambda penalty: right[penalty])


def calls(p: Floats, responses: Responses) -> NDArray[np.bool_]:
    """Return whether each is called a refusal: by the rules' words, or by the model where the text is long enough."""
    words = np.expm1(responses.texts.x[:, responses.texts.names.index("words")])
    soft = responses.signs[:, 5:8].any(axis=1)
    worded = responses.signs[:, :2].any(axis=1) & ~soft
    return worded | ((p >= 0.5) & (soft | (words >= rules.LECTURE)))


def _plain(texts: Sequence[str]) -> sparse.csr_matrix:
    return read(texts, [""] * len(texts)).grams


@dataclass(frozen=True)
class Asked:
    """A fitted model of what prompts ask for."""

    words: Floats
    """Mean, scale and weights of the classes of words."""
    table: Floats
    constant: float


def fit_asked(prompts: Texts, y: Floats) -> Asked:
    """Fit "does it ask for harm"."""
    mean, scale = prompts.asked.mean(0), np.maximum(prompts.asked.std(0), 1e-6)
    dense = sparse.csr_matrix(np.clip((prompts.asked - mean) / scale, -4, 4))
    factor = np.sqrt(ASKED_PENALTY / TOPIC_PENALTY)
    joined = sparse.hstack([dense, prompts.grams * factor]).tocsr()
    beta = logistic_fit(joined, y, balanced(y), ASKED_PENALTY)
    size = dense.shape[1]
    return Asked(np.stack([mean, scale, beta[:size]]), beta[size:-1] * factor, float(beta[-1]))


def fit_topic(data: Data) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Fit "is it about harm", for prompts and, where there is none, for responses."""
    texts = [prompt.text for prompt in data.prompts]
    first = fit_asked(read(texts, texts), np.array([prompt.harmful for prompt in data.prompts], float))
    harmful = list(dict.fromkeys(row.text for row in data.rows if row.source == "gptfuzz" and row.label == 1))
    complied = [row for row in data.rows if row.source != "gptfuzz" and row.label == 1]
    x = _plain(harmful + data.replies)
    y = np.append(np.ones(len(harmful)), np.zeros(len(data.replies)))
    alone = np.array([1.0, 1.0])
    if complied:
        # It is scaled on XSTest's compliances, which the table has not responses at this point.
        second = logistic_fit(x, y, balanced(y), TOPIC_PENALTY)
        grams, unsafe = _plain([row.text for row in complied]), np.array([row.unsafe for row in complied], float)
        logits = (grams @ second[:-1] + second[-1])[:, None]
        alone = logistic_fit(logits, unsafe, balanced(unsafe, PRIOR), 1.0)
        x = sparse.csr_matrix(sparse.vstack([x, grams]))
        y = np.append(y, unsafe)
    second = logistic_fit(x, y, balanced(y), TOPIC_PENALTY)
    return first.words, first.table, second[:-1], np.array([first.constant + LENIENCE, second[-1]]), alone


def write(fitted: model.Model, path: Path) -> None:
    """Write a model's numbers: large tables in half precision, the rest in single."""
    from safetensors.numpy import save_file

    arrays = {}
    for field in fields(model.Model):
        values = getattr(fitted, field.name)
        arrays[field.name] = np.ascontiguousarray(values, np.float16 if values.size > 10_000 else np.float32)
    path.parent.mkdir(exist_ok=True)
    save_file(arrays, path)
