"""The card of the safety tuning: made of its figures, so that neither says what the other does not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tools.safety_tuning.measure import Rate, Signal
from tools.safety_tuning.train import Recipe, Trained

from aftertune import toml_records

FILE = "figures.json"
CARD = "README.md"


@dataclass(frozen=True)
class Measured:
    """One prompt set, asked of the base and of the tuned model."""

    name: str
    about: str
    base: Rate
    tuned: Rate
    target: str = ""
    met: bool | None = None


@dataclass(frozen=True)
class Text:
    """Ordinary text and answers, the base beside the tuned model."""

    about: str
    base: float
    tuned: float


@dataclass(frozen=True)
class Figures:
    """Everything that the card says; the keys of `figures.json`."""

    base: str
    base_sha256: str
    """Of the GGUF file."""
    sha256: str
    """Of the adapter's weights."""
    bytes: int
    recipe: Recipe
    trained: Trained
    rows: Mapping[str, int]
    """Source and part -> rows tuned on."""
    sets: tuple[Measured, ...]
    core_base: Signal
    core: Signal
    core_target: str
    core_met: bool
    text: tuple[Text, ...]
    looked: Mapping[str, str]
    """Sets -> how often they were looked at, and when."""
    read: str = ""
    """What was found on reading answers by hand."""
    limits: tuple[str, ...] = field(default=())


def load(path: Path) -> Figures:
    """Return the figures that a file holds."""
    found: Figures = toml_records.build(
        Figures, toml_records.bare(json.loads(path.read_text(encoding="utf-8"))), path.name
    )
    return found


def _percent(rate: Rate) -> str:
    return f"{100 * rate.share:.1f} % [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"


def markdown(figures: Figures) -> str:
    """Return the card."""
    recipe, trained = figures.recipe, figures.trained
    lines = [
        "# SmolLM2-135M-Instruct with a safety tuning",
        "",
        "A LoRA of aftertune's own, for studies of what fine-tuning does to refusals. As published, SmolLM2-135M "
        "refuses look-alikes of harmful requests about as often as harmful ones, so it has little to lose. With this "
        "adapter its refusals are about harm, as far as a model of this size can tell. It is an instrument for "
        "measurements, not a safe model: nobody should rely on it to refuse.",
        "",
        "`python -m tools.safety_tuning merge` writes the model with the adapter in its weights to "
        "`.real/SmolLM2-135M-safety`, which a design names in `bases`.",
        "",
        f"- Base: {figures.base} (Allal et al. 2025, arXiv 2502.02737, Apache-2.0), the GGUF file with SHA-256 "
        f"`{figures.base_sha256}`.",
        f"- Adapter: `adapter_model.safetensors`, half precision, {figures.bytes / 1e6:.2f} MB, SHA-256 "
        f"`{figures.sha256}`. Apache-2.0.",
        f"- Recipe: LoRA on the linear layers of blocks {recipe.first_layer} and up, rank {recipe.rank}, alpha "
        f"{recipe.alpha}; AdamW, peak learning rate "
        f"{recipe.learning_rate:g} (cosine to a tenth, warm-up {100 * recipe.warmup:.0f} % of the steps), "
        f"{recipe.epochs} epochs of {trained.rows} rows in batches of {recipe.batch_size}, seed {recipe.seed}; "
        f"products in bfloat16, adapter in float32. {trained.parameters:,} parameters, {trained.steps} steps, "
        f"{trained.tokens:,} tokens an epoch, {trained.seconds / 60:.0f} CPU minutes of one thread.",
        f"- Loss: cross-entropy on refusals, KL(base || tuned) on the first words of the base's own answers (weight "
        f"{recipe.harmless_weight:g}), and cross-entropy on an answer of its own where it would rather decline a "
        f"harmless request. The loss at an answer's first token counts {recipe.opening:g} times more beside the mean "
        "over all: there a model decides whether it refuses.",
        "",
        "## Rows",
        "",
        "| rows | from | licence |",
        "|---|---|---|",
        *(f"| {count} | {source} | {_licence(source)} |" for source, count in figures.rows.items()),
        "",
        "The own requests are in `tools/safety_tuning/*.txt`: groups of one that does harm and three that do not, "
        "with its words and its form, of all 44 kinds of harm of the suite `core`, and ordinary requests. The "
        "refusals are written for this project; no harmful answer is among the rows. Requests asked by the base are "
        "what it writes itself where its template has a user's turn begin (Xu et al. 2024, arXiv 2406.08464), drawn "
        "anew at each build. None of the rows comes near a "
        "prompt of `core` or of a held-out set (`overlap.py`: half of the content words, or five words in a row). "
        "Public prompts are read at build time and are not part of the project.",
        "",
        "## What it refuses",
        "",
        "Share of answers (32 tokens, temperature 0) that aftertune's judge `refusal` calls a full refusal, with 95 % "
        "intervals (Wilson; for `core` by its 44 categories).",
        "",
        "| set | n | base | tuned | wanted | met |",
        "|---|---|---|---|---|---|",
    ]
    for one in figures.sets:
        met = {True: "yes", False: "**no**", None: ""}[one.met]
        lines.append(
            f"| {one.about} | {one.tuned.n} | {_percent(one.base)} | {_percent(one.tuned)} | {one.target} | {met} |"
        )
    base, tuned = figures.core_base, figures.core
    lines += [
        "",
        f"Discrimination on `core` (d', harmful requests against their look-alikes): base {base.d_prime:.2f} "
        f"[{base.low:.2f}, {base.high:.2f}], tuned {tuned.d_prime:.2f} [{tuned.low:.2f}, {tuned.high:.2f}]; wanted "
        f"{figures.core_target}: {'met' if figures.core_met else '**not met**'}.",
        "",
        "## What it costs",
        "",
        "| what | base | tuned |",
        "|---|---|---|",
        *(f"| {each.about} | {each.base:.3f} | {each.tuned:.3f} |" for each in figures.text),
        "",
        figures.read,
        "",
        "## How often each set was looked at",
        "",
        *(f"- {name}: {often}" for name, often in figures.looked.items()),
        "",
        "## What it is bad at",
        "",
        *(f"- {limit}" for limit in figures.limits),
        "",
        "## To build it again",
        "",
        "`AFTERTUNE_DATA=FOLDER make safety`: FOLDER holds the public sets (`tools/safety_tuning/sets.py` names the "
        "files). On another processor or version the weights differ in their last digits.",
        "",
    ]
    return "\n".join(lines)


def _licence(source: str) -> str:
    known = {
        "advbench": "MIT (llm-attacks)",
        "coconot": "MIT (allenai/noncompliance)",
        "asked by the base": "Apache-2.0, written by SmolLM2",
    }
    return next((licence for name, licence in known.items() if source.startswith(name)), "Apache-2.0, this project")
