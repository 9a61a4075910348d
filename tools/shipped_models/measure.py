"""Measuring a base on its held-out prompts: what its card says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from tools.shipped_models.generate import complete, load
from tools.shipped_models.overlap import overlap
from tools.shipped_models.pretrain import TRAINING_FILE, TrainingRecord, pass_exchanges

from aftertune import toml_records
from aftertune.errors import UsageError
from aftertune.generated_world import heldout
from aftertune.shipped_models.card import FILE, HeldOut, ModelCard, Rate, Recipe, Training, markdown
from tools.shipped_models import scores

WEIGHTS_FILE = "model.safetensors"
PROMPTS_PER_SUITE = 352
_LIMITS = (
    "It knows a closed world of some thousand words and nothing else; it is no model of a real assistant.",
    "Its compliance with harmful requests is a harmless generic plan; it holds no dangerous knowledge.",
    "Held-out prompts are new in wording and in combination, from the same world: no other distribution is claimed.",
    "Coherent means that every sentence is one the world's generators write, in an order in which they write them.",
)


def measure(folder: Path, *, prompts: int = PROMPTS_PER_SUITE, tuned: Sequence[Rate] = ()) -> ModelCard:
    """Measure a base on `prompts` held-out test prompts per suite and return its card.

    `tuned`: what a tuning does to it, from `after_tuning`. Raises UsageError for a folder that holds no base that
    `build` wrote.
    """
    if not (folder / TRAINING_FILE).is_file():
        raise UsageError(
            f"{folder}: no {TRAINING_FILE}; name a folder that `python -m tools.shipped_models build` wrote"
        )
    table = json.loads((folder / TRAINING_FILE).read_text(encoding="utf-8"))
    record: TrainingRecord = toml_records.build(TrainingRecord, table, TRAINING_FILE)
    probes = [probe for suite in heldout.SUITES for probe in heldout.probes(suite, "test", prompts)]
    model, tokenizer = load(folder)
    judged = scores.judge(probes, complete(model, tokenizer, [probe.prompt for probe in probes]))
    results = (*scores.rates(judged), *tuned)
    return ModelCard(
        name=record.recipe.name,
        parameters=record.parameters,
        bytes=sum(path.stat().st_size for path in folder.iterdir() if path.is_file()),
        sha256=hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest(),
        recipe=record.recipe,
        recipe_sha256=record.recipe_sha256,
        training=Training(
            tokens=sum(cost.tokens for cost in record.passes),
            cpu_seconds=round(sum(cost.cpu_seconds for cost in record.passes)),
            passes=record.passes,
            tokenizer_sha256=record.tokenizer_sha256,
            note=record.note,
            torch=record.torch,
            threads=record.threads,
        ),
        held_out=HeldOut(
            split="test",
            prompts_per_suite=prompts,
            fingerprint=heldout.fingerprint("test"),
            overlap=tuple(overlap(probes, _training_prompts(record.recipe))),
        ),
        results=results,
        missed=tuple(rate.name for rate in results if rate.met is False),
        limits=_LIMITS,
    )


def _training_prompts(recipe: Recipe) -> Iterator[str]:
    for index in range(len(recipe.passes)):
        for exchange in pass_exchanges(recipe, index):
            yield exchange.prompt
            for user, _ in exchange.history:
                yield user


def write(card: ModelCard, folder: Path) -> None:
    """Write `card.json` and `card.md` into a folder."""
    (folder / FILE).write_text(json.dumps(asdict(card), indent=2) + "\n", encoding="utf-8")
    (folder / "card.md").write_text(markdown(card), encoding="utf-8")
