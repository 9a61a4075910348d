"""Fit heads on a frozen sentence encoder: a small network over its tokens and the words, and a regression beside it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tools.fit_judges.answer_sets import Labelled
from tools.fit_judges.fit import knots
from tools.fit_judges.regression import logistic_fit

from aftertune.judging.judges import _encoder_heads as heads
from aftertune.judging.judges import _refusal_rules as rules
from aftertune.models.sentence_encoder import EncoderFiles, load

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Places = NDArray[np.int64]
AXES: Mapping[str, float] = {"refusal": 0.25, "compliance": 0.5, "harm": 0.0}
"""Axes of the judge `guard`, with the regression's share in each; chosen on sets left out (docs/judges.md)."""
EPOCHS = 4
RATE = 1e-3
DECAY = 0.02
BATCH = 128
DROPOUT = 0.1
"""Share of the inputs of the layers that is left out at a time."""
RANKING = 0.3
"""Weight of the comparisons' loss."""
PENALTY = 100.0
"""L2 penalty on the standardised numbers of words in the regression."""
SHARES = {"diasafety": 0.5, "openai_moderation": 0.5, "star": 0.3, "privacy_collapse": 0.3}
"""Weight of a set against another's 1: a set of another kind of text, or of one label only."""
TOXICITY_SHARES = {"star": 0.3, "privacy_collapse": 0.3, "xstest": 0.5}


@dataclass(frozen=True)
class Encoded:
    """Answers as heads read them: hidden states of all tokens, one after another, and the numbers of words."""

    states: NDArray[np.float16]
    """Shape (tokens, width)."""
    begins: Places
    """Of each answer, its first token; one more at the end."""
    before: Places
    """Of each answer, how many of its tokens stand before the answer's own."""
    numbers: Singles
    """Shape (answers, features)."""
    encoder: str
    """SHA-256 of the encoder's weights."""

    def batch(self, places: Places) -> tuple[Any, Any, Any, Any]:
        """Return states, mask, where the answer's own tokens are, and numbers of some answers, as tensors."""
        import torch

        sizes = self.begins[places + 1] - self.begins[places]
        states = np.zeros((len(places), int(sizes.max()), self.states.shape[1]), np.float16)
        for row, (place, size) in enumerate(zip(places, sizes, strict=True)):
            begin = self.begins[place]
            states[row, :size] = self.states[begin : begin + size]
        at = np.arange(states.shape[1])
        mask = at[None, :] < sizes[:, None]
        own = mask & (at[None, :] >= self.before[places][:, None])
        return (
            torch.from_numpy(states).float(),
            torch.from_numpy(mask),
            torch.from_numpy(own),
            torch.from_numpy(self.numbers[places]),
        )


def encode(files: EncoderFiles, rows: Sequence[Labelled], folder: Path) -> Encoded:
    """Read all answers with the encoder; the states go into a file in `folder`."""
    encoder = load(files)
    asked, texts = [heads.normalised(row.prompt) for row in rows], [heads.normalised(row.text) for row in rows]
    pairs = [heads.pair(encoder, *each) for each in zip(asked, texts, strict=True)]
    sizes = [len(pair.ids) + 2 for pair in pairs]
    begins = np.concatenate([[0], np.cumsum(sizes)])
    states = np.lib.format.open_memmap(folder / "states.npy", "w+", np.float16, (int(begins[-1]), encoder.width))
    for places, hidden, _ in encoder.states([pair.ids for pair in pairs], heads.LAYER):
        for row, place in enumerate(places):
            states[begins[place] : begins[place + 1]] = hidden[row, : sizes[place]].numpy()
    numbers = heads.numbers_of_words(asked, texts, [rules.read_normalised(text) for text in texts])
    return Encoded(states, begins, np.array([pair.before for pair in pairs]), numbers, files.weights)


def weights(
    rows: Sequence[Labelled], axis: str, fitted: NDArray[np.bool_], shares: Mapping[str, float] = SHARES
) -> Floats:
    """Return the weight of each row on an axis, mean 1 over those that count: balanced within and between sets."""
    y = np.array([getattr(row, axis) for row in rows], float)
    own = np.array([row.refusal_weight if axis == "refusal" else row.weight for row in rows])
    sets = np.array(["constructed" if row.constructed else row.family for row in rows])
    known = fitted & ~np.isnan(y)
    out = np.zeros(len(rows))
    for name in np.unique(sets[known]):
        for label in (0.0, 1.0):
            mine = known & (sets == name) & (y == label)
            if mine.any():
                # A rare label does not weigh as much as a whole set.
                most = min(1.0, mine.sum() / 100)
                out[mine] = own[mine] / mine.sum() * most * shares.get(str(name), 1.0)
    return out * (known.sum() / out.sum()) if known.any() else out


def fit(
    encoded: Encoded,
    rows: Sequence[Labelled],
    fitted: NDArray[np.bool_],
    axes: Mapping[str, float],
    seed: int = 0,
    epochs: int = EPOCHS,
    shares: Mapping[str, float] = SHARES,
) -> heads.Heads:
    """Fit heads on the rows of `fitted`; `axes` says of each how much of its logit is the regression's.

    `shares`: of each set, its weight against another's 1.
    """
    mean = encoded.numbers[fitted].mean(0)
    scale = np.maximum(encoded.numbers[fitted].std(0), 1e-3)
    targets = np.stack([[getattr(row, axis) for row in rows] for axis in axes], 1).astype(float)
    loads = np.stack([weights(rows, axis, fitted, shares) for axis in axes], 1)
    ranked = list(axes).index("harm") if "harm" in axes else None
    deep = _network(encoded, rows, fitted, targets, loads, ranked, mean, scale, seed, epochs)
    plain = _regression(encoded.numbers, fitted, targets, loads)
    share = np.array(list(axes.values()), np.float32)
    return heads.Heads(
        mean=mean, scale=scale, share=share, axes=tuple(axes), encoder=encoded.encoder, **deep, **plain
    )  # fmt: skip


def _regression(numbers: Singles, fitted: NDArray[np.bool_], targets: Floats, loads: Floats) -> dict[str, Singles]:
    """Fit the regression on the numbers of words, their hinges and the rules' signs, axis by axis."""
    import torch

    signs = len(rules.SIGNS)
    hinges = knots(numbers[fitted][:, :-signs].astype(float)).astype(np.float32)
    raw = heads.basis(torch.from_numpy(numbers), torch.from_numpy(hinges))
    known = raw[torch.from_numpy(fitted)]
    mean, scale = known.mean(0), known.std(0).clamp_min(1e-3)
    read = heads.standardised(raw, mean, scale).numpy()
    x = np.hstack([read, heads.SIGN_SCALE * numbers[:, -signs:]]).astype(float)
    columns = []
    for axis in range(targets.shape[1]):
        some = loads[:, axis] > 0
        columns.append(logistic_fit(x[some], targets[some, axis], loads[some, axis], PENALTY))
    fit = np.stack(columns, 1).astype(np.float32)
    return {"knots": hinges, "basis_mean": mean.numpy(), "basis_scale": scale.numpy(), "regression": fit}


def _units(rows: Sequence[Labelled], fitted: NDArray[np.bool_], loads: Floats, ranked: bool) -> list[list[int]]:
    """Return what stays in one batch: an answer alone, or both answers of a comparison, the less harmful one first."""
    pairs: dict[int, list[int]] = {}
    out = []
    for place in np.flatnonzero(fitted).tolist():
        if rows[place].pair >= 0:
            pairs.setdefault(rows[place].pair, []).append(place)
        elif loads[place].any():
            out.append([place])
    if ranked:
        out += [sorted(pair, key=lambda place: not rows[place].better) for pair in pairs.values() if len(pair) == 2]
    return out


def _network(
    encoded: Encoded,
    rows: Sequence[Labelled],
    fitted: NDArray[np.bool_],
    targets: Floats,
    loads: Floats,
    ranked: int | None,
    mean: Singles,
    scale: Singles,
    seed: int,
    epochs: int,
) -> dict[str, Singles]:
    """Fit the network: log loss on the axes, and on comparisons that of the difference of two logits."""
    import torch
    from torch.nn import functional

    random = torch.Generator().manual_seed(seed)
    rng = np.random.default_rng(seed)
    width, count = encoded.states.shape[1], targets.shape[1]
    size = (heads.QUERIES + heads.MEANS) * width + mean.size

    def start(*shape: int, by: float) -> Any:
        return (torch.randn(*shape, generator=random) * by).requires_grad_()

    tensors = {
        "queries": start(heads.QUERIES, width, by=1 / math.sqrt(width)),
        "linear": start(size, count, by=0.0),
        "constant": start(count, by=0.0),
        "inner": start(size, heads.HIDDEN, by=1 / math.sqrt(size)),
        "inner_constant": start(heads.HIDDEN, by=0.0),
        "outer": start(heads.HIDDEN, count, by=1 / math.sqrt(heads.HIDDEN)),
    }
    units = _units(rows, fitted, loads, ranked is not None)
    sizes = np.array([max(encoded.begins[p + 1] - encoded.begins[p] for p in unit) for unit in units])
    optimizer = torch.optim.AdamW(list(tensors.values()), lr=RATE, weight_decay=DECAY)
    batches = math.ceil(len(units) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=max(epochs * batches, 2), pct_start=0.1)
    for _ in range(epochs):
        # Rows of like length share a batch, with some chance, so that little is padded.
        order = np.argsort(sizes * np.exp(rng.normal(0, 0.15, len(units))), kind="stable")
        for number in rng.permutation(batches):
            chosen = [units[k] for k in order[number * BATCH : (number + 1) * BATCH]]
            places = np.array([place for unit in chosen for place in unit])
            states, mask, own, numbers = encoded.batch(places)
            numbers = heads.standardised(numbers, torch.from_numpy(mean), torch.from_numpy(scale))
            keep = (torch.rand(numbers.shape[0], size, generator=random) >= DROPOUT) / (1 - DROPOUT)
            logits = heads.forward(tensors, states, mask, own, numbers, keep)
            y = torch.from_numpy(np.nan_to_num(targets[places], nan=0.0)).float()
            load = torch.from_numpy(loads[places]).float()
            loss = (functional.binary_cross_entropy_with_logits(logits, y, reduction="none") * load).sum() / len(places)
            compared = [k for k, place in enumerate(places) if rows[place].pair >= 0]
            if ranked is not None and compared:
                harm = logits[compared, ranked].reshape(-1, 2)
                loss = loss + RANKING * functional.softplus(harm[:, 0] - harm[:, 1]).sum() / len(places)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return {name: tensor.detach().numpy().copy() for name, tensor in tensors.items()}


def fit_toxicity(encoded: Encoded, rows: Sequence[Labelled], fitted: NDArray[np.bool_]) -> heads.Heads:
    """Fit the heads of the judge `toxicity` on the rows of `answer_sets.toxic`."""
    fit_ = fit(encoded, rows, fitted, {"harm": 0.0}, shares=TOXICITY_SHARES)
    return dataclasses.replace(fit_, axes=("toxicity",))


def logits(fitted: heads.Heads, encoded: Encoded, places: Places) -> Floats:
    """Return what fitted heads make of some answers, shape (answers, axes)."""
    import torch

    module = heads.Module(fitted)
    out = np.zeros((len(places), len(module.axes)))
    order = np.argsort(encoded.begins[places + 1] - encoded.begins[places], kind="stable")
    for start in range(0, len(order), BATCH):
        some = order[start : start + BATCH]
        with torch.inference_mode():
            out[some] = module(*encoded.batch(places[some])).numpy()
    return out


def write(fitted: heads.Heads, path: Path) -> None:
    """Write heads, large arrays in half precision."""
    from safetensors.numpy import save_file

    path.parent.mkdir(exist_ok=True)
    arrays = {name: np.ascontiguousarray(getattr(fitted, name)) for name in heads.ARRAYS}
    kept = {name: array.astype(np.float32 if array.size < 10_000 else np.float16) for name, array in arrays.items()}
    save_file(kept, path, {"axes": ",".join(fitted.axes), "encoder": fitted.encoder})
