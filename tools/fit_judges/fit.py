"""Fit the judge `refusal`: read the public labelled sets, fit the models, write their numbers.

`python -m aftertune.judging.judges._fit FOLDER` writes `weights/refusal.safetensors`; FOLDER holds `xstest/`, `gptfuzz/`,
`harmful_prompts/`, `coconot/`, `star/` and `privacy_collapse/` as their datasets publish them. `perf/judges.py` fits with
the same functions, without what it measures on. Needs SciPy; nothing of it runs when a judge judges.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from aftertune.judging.judges import _features as reading
from aftertune.judging.judges import _fitted as model
from aftertune.judging.judges import _refusal_read as rules
from aftertune.judging.judges._fit_numbers import Texts, balanced, logistic_fit, prepare, read
from aftertune.judging.judges._labelled import XSTEST_MODELS, Row, gptfuzz, prompts, replies, turns, xstest
from aftertune.judging.judges._made import made

__all__ = ["XSTEST_MODELS", "Row", "logistic_fit", "prepare", "read", "turns"]
Floats = NDArray[np.float64]
STANCE_PENALTY = 300.0
"""L2 penalty on the standardised features; chosen by transfer (docs/judges.md)."""
TABLE_PENALTY = 1.0
"""L2 penalty on the hashed words and pairs; chosen by transfer."""
TOPIC_PENALTY = 0.3
ASKED_PENALTY = 10.0
"""L2 penalty on the standardised classes of words of a prompt."""
MADE_WEIGHT = 0.3
"""Weight of a made-up row against a labelled one."""
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
    prompts: list[tuple[str, str, int]]
    replies: list[str]


def load(folder: Path) -> Data:
    """Read all sets from a folder. Raises OSError where one is missing."""
    return Data(gptfuzz(folder) + xstest(folder), prompts(folder), replies(folder))


def fit(data: Data, seed: int = 0, *, refusal: bool = False) -> model.Model:
    """Fit stance and topic on all of `data`, and refusal where it is asked for (else its weights are 0).

    Stance is fitted on responses to requests that ask for harm, on refusals of others, and on made-up rows.
    """
    rows = list({(row.source, row.prompt, row.text): row for row in data.rows if _tells(row)}.values())
    harmful = [prompt for source, prompt, label in data.prompts if label and source != "gptfuzz"]
    extra = made(harmful, data.replies, rows + [r for r in data.rows if r.source != "gptfuzz" and not r.unsafe], seed)
    every = [(row.prompt, row.text, _harmful(row)) for row in rows] + extra
    texts = read([text for _, text, _ in every], [prompt for prompt, _, _ in every])
    y = np.array([label for _, _, label in every], float)
    weights, sources = np.full(len(every), MADE_WEIGHT), np.array([row.source == "gptfuzz" for row in rows])
    for mine in (np.flatnonzero(sources), np.flatnonzero(~sources)):
        if mine.size:
            weights[mine] = balanced(y[mine], HARMFUL_SHARE)
    base, beta, against = fit_stance(texts, y, weights)
    size = base.mean.size
    asked, prompt_table, response_table, topic, alone = fit_topic(data)
    stance, table = np.append(beta[:size], beta[-1]), beta[size:-1]
    weights, folded = np.zeros(4 * base.knots.shape[1] + len(rules.SIGNS) + 1), np.zeros(1 << (model.BITS - 2))
    if refusal:
        seen = refusal_rows(data.rows)
        weights, folded = fit_refusal(base, seen, choose_penalty(base, seen))
    return dataclasses.replace(
        base, stance=stance, stance_table=table, against=against, asked=asked, prompt_table=prompt_table,
        response_table=response_table, topic=topic, topic_alone=alone, refusal=weights, refusal_table=folded,
    )  # fmt: skip


def _tells(row: Row) -> bool:
    """Tell whether a row says what an answer to a harmful request looks like: partial refusals are neither."""
    return row.source == "gptfuzz" or (row.label == 2 or (row.unsafe and row.label == 1))


def _harmful(row: Row) -> bool:
    return row.label == 1


# ---------------------------------------------------------------------------------------------- refusal


@dataclass(frozen=True)
class Seen:
    """Responses as the model of refusal reads them."""

    texts: Texts
    signs: Floats
    y: Floats
    """1 for any refusal."""
    weights: Floats
    sources: NDArray[np.str_]
    groups: NDArray[np.str_]

    def take(self, where: NDArray[Any]) -> Seen:
        """Return some of them."""
        return Seen(
            self.texts.take(where), self.signs[where], self.y[where], self.weights[where], self.sources[where],
            self.groups[where],
        )  # fmt: skip


def refusal_rows(rows: Sequence[Row]) -> Seen:
    """Return what the model of refusal is fitted on: XSTest's labels, and GPTFuzz's as weak ones.

    A response to a harmful question that people called harmless counts as a refusal, a harmful one in which the rules
    find no refusal as none (weight 0.1, each text once); harmful ones with a refusal in them are left out.
    """
    kept: list[Row] = []
    signs: list[list[float]] = []
    once: set[str] = set()
    for row in rows:
        if row.source == "gptfuzz" and row.text in once:
            continue
        once.add(row.text)
        found = rules.read(row.text)
        if row.source != "gptfuzz" or row.label == 0 or found[0] not in ("full", "partial"):
            kept.append(row)
            signs.append(rules.signs(found))
    weak = np.array([row.source == "gptfuzz" for row in kept])
    y = [row.label == 0 if row.source == "gptfuzz" else row.label != 1 for row in kept]
    return Seen(
        read([r.text for r in kept], [r.prompt for r in kept]), np.array(signs), np.array(y, float),
        np.where(weak, WEAK_WEIGHT, 1.0), np.array([r.source for r in kept]), np.array([r.group for r in kept]),
    )  # fmt: skip


def _joined(base: model.Model, seen: Seen, scale: float) -> sparse.csr_matrix:
    grams = seen.texts.grams.tocoo()
    folded = sparse.csr_matrix((grams.data, (grams.row, grams.col >> 2)), shape=(grams.shape[0], 1 << (model.BITS - 2)))
    bent = base.basis(seen.texts.x)[:, : 4 * base.knots.shape[1]]
    dense = np.hstack([bent, model.SIGN_SCALE * seen.signs])
    return sparse.hstack([sparse.csr_matrix(dense), folded * scale]).tocsr()


def fit_refusal(base: model.Model, seen: Seen, penalty: float) -> tuple[Floats, Floats]:
    """Fit "does it refuse"; return the weights of features, signs and constant, and the table."""
    scale = np.sqrt(REFUSAL_PENALTY / penalty)
    beta = logistic_fit(_joined(base, seen, scale), seen.y, seen.weights, REFUSAL_PENALTY)
    size = beta.size - 1 - (1 << (model.BITS - 2))
    return np.append(beta[:size], beta[-1]), beta[size:-1] * scale


def refuses(base: model.Model, seen: Seen, fitted: tuple[Floats, Floats]) -> Floats:
    """Return the probability of a refusal, shape (rows,)."""
    weights, table = fitted
    return model.logistic(_joined(base, seen, 1.0) @ np.concatenate([weights[:-1], table]) + weights[-1])


def choose_penalty(base: model.Model, seen: Seen) -> float:
    """Return the table's penalty that serves best a model that was left out, among the models in `seen`."""
    names = [name for name in XSTEST_MODELS if (seen.sources == name).any()]
    right = dict.fromkeys(REFUSAL_TABLE_PENALTIES, 0)
    for penalty in right:
        for name in names:
            out = seen.sources == name
            p = refuses(base, seen.take(out), fit_refusal(base, seen.take(~out), penalty))
            right[penalty] += int((calls(p, seen.take(out)) == (seen.y[out] == 1)).sum())
    return max(right, key=lambda penalty: right[penalty])


def calls(p: Floats, seen: Seen) -> NDArray[np.bool_]:
    """Return whether each is called a refusal: by the rules' words, or by the model where the text is long enough."""
    words = np.expm1(seen.texts.x[:, seen.texts.names.index("words")])
    soft = seen.signs[:, 5:8].any(axis=1)
    worded = seen.signs[:, :2].any(axis=1) & ~soft
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
    texts = [text for _, text, _ in data.prompts]
    first = fit_asked(read(texts, texts), np.array([label for _, _, label in data.prompts], float))
    told_rows = list({row.text: row for row in data.rows if row.source == "gptfuzz" and row.label == 1}.values())
    said = [row for row in data.rows if row.source != "gptfuzz" and row.label == 1]
    told = _plain([row.text for row in told_rows] + data.replies)
    told_y = np.append(np.ones(len(told_rows)), np.zeros(len(data.replies)))
    alone = np.array([1.0, 1.0])
    if said:
        # It is scaled on XSTest's compliances, which the table has not seen at this point.
        second = logistic_fit(told, told_y, balanced(told_y), TOPIC_PENALTY)
        grams, unsafe = _plain([r.text for r in said]), np.array([row.unsafe for row in said], float)
        seen = (grams @ second[:-1] + second[-1])[:, None]
        alone = logistic_fit(seen, unsafe, balanced(unsafe, PRIOR), 1.0)
        told = sparse.csr_matrix(sparse.vstack([told, grams]))
        told_y = np.append(told_y, unsafe)
    second = logistic_fit(told, told_y, balanced(told_y), TOPIC_PENALTY)
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


def main(folder: Path, announce: Callable[[str], object]) -> None:
    """Fit on everything and write the shipped numbers."""
    write(fit(load(folder), refusal=True), model.WEIGHTS)
    announce(f"wrote {model.WEIGHTS} ({model.WEIGHTS.stat().st_size:,} bytes)\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.stdout.write)
