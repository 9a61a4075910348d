"""The card of a shipped base: what it was built from, and what it was measured to do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from aftertune import shipped_models, toml_records
from aftertune.errors import DataError, UsageError

FILE = "card.json"
Stage = Literal["words", "answers", "alignment", "polish"]


@dataclass(frozen=True)
class Shape:
    """Size of a Llama-architecture model."""

    width: int = 128
    """Hidden size."""
    layers: int = 4
    heads: int = 4
    """Attention heads, and as many key-value heads."""
    mlp: int = 256
    """Inner size of the feed-forward blocks."""
    context: int = 512
    """Positions."""
    vocabulary: int = 4096
    """Tokens."""


@dataclass(frozen=True)
class Pass:
    """One pass of pretraining."""

    stage: Stage
    """Which mixture. `polish` begins from the weights in half precision, as they are stored, so that it can be added
    to a base that exists already."""
    tokens: int
    """Budget in tokens, padding left out."""
    learning_rate: float
    """Peak of the cosine."""
    prompts: bool = False
    """Whether the loss includes the user's and the system's turns."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights of a shipped base on one machine."""

    name: str
    seed: int
    """Of the initial weights, of the text and of its order."""
    shape: Shape = Shape()
    passes: tuple[Pass, ...] = (
        Pass("words", 6_000_000, 4e-3, prompts=True),
        Pass("answers", 9_000_000, 3e-3),
        Pass("alignment", 4_000_000, 1.25e-3),
        Pass("polish", 2_000_000, 1e-3),
    )
    tokenizer_texts: int = 40_000
    """Exchanges of each stage that the tokenizer is trained on."""
    batch_tokens: int = 2500
    """Padded tokens in one batch."""
    weight_decay: float = 0.01
    warmup: float = 0.03
    """Proportion of a pass during which the learning rate rises."""
    floor: float = 0.02
    """Learning rate at the end of a pass, as a proportion of its peak."""

    @property
    def sha256(self) -> str:
        """Hash of the whole recipe."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class PassCost:
    """What one pass took."""

    stage: Stage
    tokens: int
    """Padding left out."""
    steps: int
    cpu_seconds: float
    loss: float
    """Mean of the last 50 steps."""


@dataclass(frozen=True)
class Training:
    """What the training took, and where it departed from the recipe (`note`)."""

    tokens: int
    cpu_seconds: int
    passes: tuple[PassCost, ...]
    tokenizer_sha256: str
    note: str
    torch: str
    threads: int


@dataclass(frozen=True)
class Overlap:
    """How much of one suite's held-out prompts occurs in the training text."""

    suite: str
    prompts: int
    seen_share: Mapping[str, float]
    """`5-gram`, `8-gram` -> proportion of the prompts' word n-grams that occur there."""
    duplicates: int
    """Whole prompts that occur there."""


@dataclass(frozen=True)
class HeldOut:
    """Which prompts a base was measured on."""

    split: str
    prompts_per_suite: int
    fingerprint: str
    overlap: tuple[Overlap, ...]


@dataclass(frozen=True)
class Rate:
    """One proportion with its 95 % interval; `met` says whether it reaches its target, None without a target."""

    name: str
    about: str
    value: float
    low: float
    high: float
    n: int
    target: float | None = None
    better: Literal["high", "low"] = "high"
    met: bool | None = None


@dataclass(frozen=True)
class ModelCard:
    """The card of a shipped base; its fields are the keys of `card.json`."""

    name: str
    parameters: int
    bytes: int
    """Size of the folder when it was measured."""
    sha256: str
    """Of the weights."""
    recipe: Recipe
    recipe_sha256: str
    training: Training
    held_out: HeldOut
    results: tuple[Rate, ...]
    missed: tuple[str, ...]
    """Names of the rates that miss their target."""
    limits: tuple[str, ...]


def show(name: str = "") -> ModelCard:
    """The card of a shipped base (the default for an empty name) or of a folder that holds one.

    Raises UsageError where there is no such base or no card, DataError for a broken card.
    """
    folder = Path(name) if name and Path(name).is_dir() else shipped_models.folder(name or shipped_models.DEFAULT)
    path = folder / FILE
    if not path.is_file():
        raise UsageError(f"{folder}: no {FILE}; name a base that ships ({', '.join(shipped_models.names())})")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON: {error}") from None
    card: ModelCard = toml_records.build(ModelCard, toml_records.bare(table), FILE)
    return card


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def markdown(card: ModelCard) -> str:
    """A card as Markdown."""
    training, shape = card.training, card.recipe.shape
    lines = [
        f"# {card.name}",
        "",
        f"A Llama-architecture chat model with {card.parameters:,} parameters ({shape.layers} layers, "
        f"{shape.width} wide, {shape.heads} heads), {card.bytes / 1e6:.1f} MB, pretrained by aftertune on "
        f"{training.tokens / 1e6:.1f} million tokens of a generated world from seed {card.recipe.seed} in "
        f"{training.cpu_seconds:,} CPU seconds ({training.threads} thread, torch {training.torch}).",
        "",
        f"Measured on {card.held_out.prompts_per_suite} held-out test prompts per suite: unseen wording on unseen "
        "combinations. Intervals are 95 % (Wilson).",
        "",
        "| what | rate | interval | n | target | met |",
        "|---|---|---|---|---|---|",
    ]
    for rate in card.results:
        sign = "at least" if rate.better == "high" else "at most"
        target = "" if rate.target is None else f"{sign} {_percent(rate.target)}"
        met = {True: "yes", False: "**no**", None: ""}[rate.met]
        interval = f"{_percent(rate.low)} to {_percent(rate.high)}"
        lines.append(f"| {rate.about} | {_percent(rate.value)} | {interval} | {rate.n} | {target} | {met} |")
    if training.note:
        lines += ["", f"Departure from the recipe: {training.note}"]
    lines += ["", f"Missed: {', '.join(card.missed) or 'nothing'}.", ""]
    lines += ["| suite | prompts | 5-grams seen in training | 8-grams | whole prompts |", "|---|---|---|---|---|"]
    for part in card.held_out.overlap:
        five, eight = (_percent(part.seen_share[size]) for size in ("5-gram", "8-gram"))
        lines.append(f"| {part.suite} | {part.prompts} | {five} | {eight} | {part.duplicates} |")
    lines += ["", *(f"- {limit}" for limit in card.limits), "", f"Weights SHA-256: `{card.sha256}`", ""]
    return "\n".join(lines)
