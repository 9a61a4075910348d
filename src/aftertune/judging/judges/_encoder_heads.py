"""Heads on a sentence encoder's hidden states: what judges that read meaning have fitted, and how they read with it.

An answer is read together with its prompt: [CLS] prompt [SEP] answer [SEP], of long texts the first and last tokens.
Learned queries attend to the tokens of a low layer; what they find, the first token's state, the means over prompt and
answer, and some hundred numbers of words (`_features.py`, and the signs of the rules of refusal) go through a linear
and a hidden layer to one logit an axis. Beside it stands a logistic regression on the numbers of words alone, with
hinges; an axis is a weighted mean of the two, in logits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aftertune import text as tools
from aftertune.errors import JudgeError, ModelError, first_line
from aftertune.judging.judges import _features as features
from aftertune.judging.judges import _lexer as lexer
from aftertune.judging.judges import _refusal_model as hashed
from aftertune.judging.judges import _refusal_rules as rules
from aftertune.models.sentence_encoder import NAME, Encoder, EncoderFiles

Floats = NDArray[np.float32]
LAYER = 3
"""The encoder's layer whose states are read; those above it are never run."""
PROMPT_TOKENS = (32, 16)
"""First and last tokens read of a longer prompt."""
ANSWER_TOKENS = (64, 16)
MOST = 20_000
"""Characters looked at."""
MOST_WORDS = 4_000
"""Characters of which the words are counted."""
QUERIES = 8
MEANS = 3
"""The first token's state, the mean over the prompt and that over the answer."""
HIDDEN = 64
LIMIT = 4.0
"""Standardised numbers of words are cut at plus and minus this."""
SIGN_SCALE = 3.0
"""What the rules' signs are multiplied by in the regression, so that its penalty shrinks them less."""
CHUNK = 512
FOLDER = Path(__file__).parent / "weights"


class Pair(NamedTuple):
    """A prompt with its answer, in tokens."""

    ids: list[int]
    """Without the tokens that frame the whole."""
    before: int
    """How many tokens stand before the answer's own, the opening one counted."""
    starts: list[int]
    """Of each of the answer's tokens, where it begins in the text."""


def pair(encoder: Encoder, prompt: str, text: str) -> Pair:
    """Return what the encoder is given of a normalised prompt and text."""
    asked, said = encoder.tokens(prompt, *PROMPT_TOKENS), encoder.pieces(text, *ANSWER_TOKENS)
    return Pair([*asked, encoder.separator, *(piece.id for piece in said)], len(asked) + 2, [p.start for p in said])


def normalised(text: str) -> str:
    """Return a text as it is read."""
    return tools.normalise(text[:MOST]).strip()


def numbers_of_words(prompts: Sequence[str], texts: Sequence[str], rulings: Sequence[rules.Ruling]) -> Floats:
    """Return the numbers of words of normalised answers, shape (answers, `feature_names()`), not standardised."""
    out = []
    for start in range(0, len(texts), CHUNK):
        w = lexer.read([text[:MOST_WORDS] for text in texts[start : start + CHUNK]])
        p = lexer.read([prompt[:MOST_WORDS] for prompt in prompts[start : start + CHUNK]])
        asks = features.LEXICON.find(p)
        _, values = features.from_words(w, p, asks, features.of_prompts(p, asks)[0], hashed.table(w).distinct(w.n))
        signs = np.array([rules.signs(ruling) for ruling in rulings[start : start + CHUNK]])
        out.append(np.hstack([values, signs]).astype(np.float32))
    return np.vstack(out) if out else np.zeros((0, len(feature_names())), np.float32)


@lru_cache(maxsize=1)
def feature_names() -> list[str]:
    """Return the names of the numbers of words, the rules' signs last."""
    w, p = lexer.read([""]), lexer.read([""])
    asks = features.LEXICON.find(p)
    names, _ = features.from_words(w, p, asks, features.of_prompts(p, asks)[0], np.zeros(1))
    return [*names, *(f"rule: {name}" for name in rules.SIGNS)]


@dataclass(frozen=True)
class Heads:
    """What was fitted."""

    mean: Floats
    scale: Floats
    """Mean and standard deviation of the numbers of words, shape (features,)."""
    queries: Floats
    """Shape (`QUERIES`, width)."""
    linear: Floats
    """Shape (inputs, axes): `QUERIES` + `MEANS` states, then the numbers of words."""
    constant: Floats
    inner: Floats
    """Shape (inputs, `HIDDEN`)."""
    inner_constant: Floats
    outer: Floats
    """Shape (`HIDDEN`, axes)."""
    knots: Floats
    """Hinges of the numbers of words that are no signs, shape (3, features); infinity where there are fewer."""
    basis_mean: Floats
    basis_scale: Floats
    """Of those numbers and their hinges."""
    regression: Floats
    """Weights of those, of the signs, and the constant, shape (basis, axes)."""
    share: Floats
    """Of each axis, how much of its logit is the regression's."""
    axes: tuple[str, ...]
    encoder: str
    """SHA-256 of the weights of the encoder that they were fitted on."""


ARRAYS = tuple(field.name for field in fields(Heads) if field.name not in ("axes", "encoder"))


def load(path: Path) -> Heads:
    """Return the heads in a file. Raises ModelError, in one line, where they are not there or cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            facts = file.metadata() or {}
            arrays = {name: file.get_tensor(name).astype(np.float32) for name in ARRAYS}
        return Heads(**arrays, axes=tuple(facts["axes"].split(",")), encoder=facts["encoder"])
    except (OSError, SafetensorError, KeyError) as error:
        raise ModelError(f"{path}: holds no heads of a judge: {first_line(error)}") from None


def check(judge: str, fitted: Heads, files: EncoderFiles, axes: tuple[str, ...], path: Path) -> None:
    """Raise JudgeError, in one line, where heads were fitted on another encoder or for other axes."""
    if fitted.encoder != files.weights:
        raise JudgeError(
            f"judge {judge}: {path.name} was fitted on an encoder with the SHA-256 {fitted.encoder[:16]}..., "
            f"{files.name} has {files.weights[:16]}...: take {NAME}, or fit heads on it"
        )
    if fitted.axes != axes:
        raise JudgeError(f"judge {judge}: {path.name} holds heads for {', '.join(fitted.axes)}, not {', '.join(axes)}")


def sha256(path: Path) -> str:
    """Return the hash of a file of heads. Raises ModelError where it is not there."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: holds no heads of a judge: {first_line(error)}") from None


def standardised(numbers: Any, mean: Any, scale: Any) -> Any:
    """Return numbers in standard deviations, cut at `LIMIT`."""
    return ((numbers - mean) / scale).clamp(-LIMIT, LIMIT)


def pooled(tensors: Mapping[str, Any], states: Any, mask: Any, own: Any) -> tuple[Any, Any, Any, Any]:
    """Return what the heads take of hidden states (answers, tokens, width), and what it is made with.

    Those are the inputs (answers, `QUERIES` + `MEANS`, width), the queries' scores and attention (answers, tokens,
    queries), and each token's share of the mean over the answer (answers, tokens). `mask` is True where a token stands,
    `own` where one of the answer stands.
    """
    import torch

    scores = states @ tensors["queries"].T
    attention = scores.masked_fill(~mask[:, :, None], -1e9).softmax(dim=1)
    found = attention.transpose(1, 2) @ states
    before = mask & ~own
    shares = [part / part.sum(1, keepdim=True).clamp_min(1) for part in (before, own)]
    means = torch.stack(shares, 1).to(states.dtype) @ states
    return torch.cat([found, states[:, :1], means], 1), scores, attention, shares[1].to(states.dtype)


def of_pooled(tensors: Mapping[str, Any], inputs: Any, numbers: Any, keep: Any = None) -> Any:
    """Return logits, shape (answers, axes), of what `pooled` takes and of standardised numbers.

    `keep` scales the inputs, for dropout.
    """
    import torch
    from torch.nn import functional

    inputs = torch.cat([inputs.flatten(1), numbers], 1)
    if keep is not None:
        inputs = inputs * keep
    inner = functional.gelu(inputs @ tensors["inner"] + tensors["inner_constant"])
    return inputs @ tensors["linear"] + tensors["constant"] + inner @ tensors["outer"]


def forward(tensors: Mapping[str, Any], states: Any, mask: Any, own: Any, numbers: Any, keep: Any = None) -> Any:
    """Return logits, shape (answers, axes), of hidden states (answers, tokens, width) and standardised numbers.

    Masks as of `pooled`, `keep` as of `of_pooled`.
    """
    return of_pooled(tensors, pooled(tensors, states, mask, own)[0], numbers, keep)


def basis(numbers: Any, knots: Any) -> Any:
    """Return what the regression reads, not yet standardised: the numbers without the signs, and their hinges."""
    import torch

    bent = numbers[:, : knots.shape[1]]
    return torch.cat([bent, *((bent - knot).clamp_min(0) for knot in knots)], 1)


class Module:
    """Heads as tensors."""

    def __init__(self, heads: Heads) -> None:
        import torch

        self.axes = heads.axes
        self._of = {name: torch.from_numpy(getattr(heads, name)) for name in ARRAYS}

    def __call__(self, states: Any, mask: Any, own: Any, numbers: Any) -> Any:
        """Return logits, shape (answers, axes); parameters as of `forward`, the numbers not standardised."""

        return self._logits(pooled(self._of, states, mask, own)[0], numbers)

    def _logits(self, inputs: Any, numbers: Any) -> Any:
        import torch

        of = self._of
        deep = of_pooled(of, inputs, standardised(numbers, of["mean"], of["scale"]))
        signs = SIGN_SCALE * numbers[:, of["knots"].shape[1] :]
        read = torch.cat([standardised(basis(numbers, of["knots"]), of["basis_mean"], of["basis_scale"]), signs], 1)
        plain = read @ of["regression"][:-1] + of["regression"][-1]
        return deep + of["share"] * (plain - deep)

    def weighed(self, states: Any, mask: Any, own: Any, numbers: Any) -> tuple[Floats, Floats, Floats]:
        """Return logits (answers, axes), and what each token and each number of words adds to each axis.

        What a token adds is the gradient at its state times the state's distance from the mean over the answer's own
        tokens, shape (answers, axes, tokens), 0 outside the answer; a number's is gradient times distance from the mean
        of the answers that were fitted on, shape (answers, axes, features).
        """
        import torch

        with torch.no_grad():
            inputs, scores, attention, share = pooled(self._of, states, mask, own)
        with torch.enable_grad():
            inputs, numbers = inputs.detach().requires_grad_(), numbers.clone().requires_grad_()
            logits = self._logits(inputs, numbers)
            last = len(self.axes) - 1
            pulls = [
                torch.autograd.grad(logits[:, axis].sum(), (inputs, numbers), retain_graph=axis < last)
                for axis in range(last + 1)
            ]
        with torch.no_grad():
            middle = share.unsqueeze(1) @ states
            # The gradient at a token's state, through the queries' attention and the mean, times its distance from the
            # middle, written out: by products of all states with the gradients at the inputs.
            apart = (scores - middle @ self._of["queries"].T) * attention
            tokens = []
            for pull, _ in pulls:
                toward = pull[:, [*range(QUERIES), QUERIES + MEANS - 1]].transpose(1, 2)
                along, centre = states @ toward, middle @ toward
                found = along[:, :, :QUERIES]
                average = (attention * found).sum(1, keepdim=True)
                queried = attention * (found - centre[:, :, :QUERIES]) + (found - average) * apart
                tokens.append(own * (queried.sum(-1) + share * (along[:, :, QUERIES] - centre[:, :, QUERIES])))
            shares = torch.stack([pull * (numbers - self._of["mean"]) for _, pull in pulls], 1)
        return logits.detach().numpy(), torch.stack(tokens, 1).numpy(), shares.numpy()


class Reading(NamedTuple):
    """What heads say of one answer on one axis."""

    p: float
    """Probability, to three digits: what comes after may differ with the texts that share a pass."""
    sentence: int
    """Which sentence, of those that the encoder reads, weighs most for the side that won; 1 is the first, 0 none."""
    feature: str
    """The number of words that does."""


class Readings(NamedTuple):
    """What heads say of one answer, axis by axis."""

    axes: list[Reading]
    sentences: int
    """How many sentences the answer has."""
    words: int


def read(
    encoder: Encoder, module: Module, prompts: Sequence[str], texts: Sequence[str], rulings: Sequence[rules.Ruling]
) -> list[Readings]:
    """Read answers, of normalised texts and prompts, with what the rules of refusal say of them."""
    import torch

    pairs = [pair(encoder, *each) for each in zip(prompts, texts, strict=True)]
    numbers = numbers_of_words(prompts, texts, rulings)
    names = feature_names()
    words = np.expm1(numbers[:, names.index("words")]).round().astype(int).tolist()
    out: dict[int, Readings] = {}
    for places, states, mask in encoder.states([each.ids for each in pairs], LAYER):
        before = torch.tensor([pairs[place].before for place in places])
        own = mask & (torch.arange(mask.shape[1])[None, :] >= before[:, None])
        logits, tokens, shares = module.weighed(states, mask, own, torch.from_numpy(numbers[places]))
        for row, place in enumerate(places):
            spans = list(tools.sentence_spans(texts[place]))
            sides = np.where(logits[row] >= 0, 1.0, -1.0)[:, None]
            sentences = decisive(tokens[row] * sides, pairs[place], spans)
            best = (shares[row] * sides).argmax(1)
            chances = hashed.logistic(logits[row].astype(np.float64)).round(3).tolist()
            axes = [
                Reading(p, sentence, names[number])
                for p, sentence, number in zip(chances, sentences, best.tolist(), strict=True)
            ]
            out[place] = Readings(axes, len(spans), words[place])
    return [out[place] for place in range(len(texts))]


def decisive(tokens: NDArray[Any], pair: Pair, spans: Sequence[tuple[int, int]]) -> list[int]:
    """Return, per axis, the number of the sentence whose tokens add most, counted from 1; 0 where there is none."""
    if not pair.starts or not spans:
        return [0] * len(tokens)
    own = tokens[:, pair.before : pair.before + len(pair.starts)]
    sentence = np.searchsorted([start for start, _ in spans], pair.starts, side="right").clip(1) - 1
    sums = np.full((len(tokens), len(spans)), -np.inf)
    for place in np.unique(sentence):
        sums[:, place] = own[:, sentence == place].sum(1)
    return [int(best) + 1 for best in sums.argmax(1)]
