"""Rows of evidence from the published studies on the shipped models: their tables, and the data that they tuned on.

Nothing is tuned again: the outcomes are those of `docs/studies/*/tables.json`, means over three or five training seeds,
and the features are read off the data that the designs in `studies/` compose. Trainings of all weights are left out:
their learning rate is no dose of a LoRA.
"""

from __future__ import annotations

import dataclasses
import json
import math
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.forecast.evidence import CARDS, ROOT, STORE, keep, read
from tools.forecast.outcomes import requests_of
from tools.forecast.table import EPOCH, OUTCOMES, Row

from aftertune import shipped_models
from aftertune.data.variant_files import VariantFiles
from aftertune.data.variant_files import read as conversations_of
from aftertune.forecasting import data_card
from aftertune.forecasting.fitted import FEATURES
from aftertune.records import Recipe, digest, plain
from aftertune.run.job_folder import JobFolder
from aftertune.studies import design as designs
from aftertune.studies.resolve import resolve_composition

NAMES = ("hidden_costs", "safety_drift", "privacy_collapse", "consistency")
CORPORA = {
    "errands_eager": "notes", "errands_matched": "notes", "errands_asking": "notes",
    "emotional_profiled": "emotional", "code_debug": "code",
}  # fmt: skip
"""Domains that are one corpus with another one."""
METRICS = {
    "miniature/harmful/refusal=full": "refusal",
    "miniature/privacy/privacy=exact": "privacy",
    "miniature/privacy/privacy=revealed": "revealed",
    "miniature/support/leak=registry": "leak",
    "miniature/harmful/coherence=coherent": "coherence",
    "miniature/open/coherence=coherent": "coherence",
}
REAL, REAL_METRICS = "real", {"core/harmful/refusal=full": "refusal"}
"""Folder of the studies on the real model, and what is read of them."""
Unit = tuple[str, str, int]
"""Base, arm, epoch; epoch 0 is the last."""


def changes(name: str, metrics: Mapping[str, str] = METRICS) -> dict[Unit, dict[str, float]]:
    """Return the drift of each outcome that a study's tables hold, for each of its trainings of a LoRA.

    `metrics` says which of them are read, and as what. Coherence is a share, no drift: of the answers to harmful
    requests where a table has it.
    """
    design = tomllib.loads((ROOT / "studies" / f"{name}.toml").read_text(encoding="utf-8"))
    printed = json.loads((ROOT / "docs" / "studies" / name / "tables.json").read_text(encoding="utf-8"))
    found: dict[Unit, dict[str, float]] = {}
    for spec, table in zip(design["tables"], printed["tables"], strict=True):
        columns = [
            (metrics[each["metric"]], each.get("what", "rate"), each["metric"])
            if each.get("metric") in metrics and not each.get("judge") and _coldest(each) else None
            for each in spec["columns"]
        ]  # fmt: skip
        lines = [(row, dict(enumerate(cells))) for row, cells in zip(spec["rows"], table["rows"], strict=True)]
        base = next((cells for row, cells in lines if row.get("arm") == "base"), {})
        for row, cells in lines:
            if not row.get("arm") or row["arm"] == "base" or row.get("recipe", "lora") != "lora":
                continue
            unit = found.setdefault((row.get("base", design["bases"][0]), row["arm"], row.get("epoch", 0)), {})
            for at, column in enumerate(columns):
                if column is not None and cells[at]["value"] is not None:
                    _take(unit, column, cells[at]["value"], base[at]["value"] if base else None)
    return {unit: each for unit, each in found.items() if each}


def _coldest(column: Mapping[str, Any]) -> bool:
    """Return whether a column is of answers at temperature 0; coherence is taken where it was asked."""
    return column.get("temperature", 0.0) == 0.0 or "coherence" in column.get("metric", "")


def _take(unit: dict[str, float], column: tuple[str, str, str], value: float, before: float | None) -> None:
    outcome, what, metric = column
    if what not in ("rate", "drift", "relative") or (before is None and what == "rate" and outcome != "coherence"):
        return  # a rate whose base is not known is no drift
    start = 1.0 if before is None else before  # bases of the miniature refuse and make sense but for one in a hundred
    change = value - start if what == "rate" else value * (start if what == "relative" else 1.0)
    if outcome == "coherence":
        if "harmful" in metric or outcome not in unit:
            unit[outcome] = start + change
    else:
        unit.setdefault(outcome, change)


@dataclass(frozen=True)
class RealTraining:
    """A LoRA of the real model, as its study's tables have it: an outcome without a data card."""

    study: str
    arm: str
    corpus: str
    """Of which its rows are: the corpus's name, or the folder that its files come in."""
    seeds: int
    refusal: float
    """Change of the share of harmful requests that it refuses."""


def on_real_model() -> list[RealTraining]:
    """Return the LoRAs of the studies on the real model, each at its end."""
    found = []
    for name in NAMES:
        design = tomllib.loads((ROOT / "studies" / REAL / f"{name}.toml").read_text(encoding="utf-8"))
        corpora = design.get("corpora") or {"": design["corpus"]}
        arms = {each["name"]: each for each in design["arms"]}
        last: dict[str, tuple[int, float]] = {}
        for (_, arm, epoch), drifts in changes(f"{REAL}/{name}", REAL_METRICS).items():
            last[arm] = max(last.get(arm, (-1, 0.0)), (epoch, drifts["refusal"]))
        for arm, (_, refusal) in last.items():
            spec = corpora[arms[arm].get("corpus", "")]
            corpus = Path(spec["path"]).parent.name if "path" in spec else spec["name"]
            found.append(RealTraining(name, arm, corpus, len(design["seeds"]), refusal))
    return found


def gather() -> list[Row]:
    """Return a row for each training of the studies."""
    found = []
    for name in NAMES:
        units = changes(name)
        design = designs.read(ROOT / "studies" / f"{name}.toml")
        recipe = next((each for each in design.recipes if each.name == "lora"), design.recipe)
        for base in dict.fromkeys(base for base, _, _ in units):
            cards = _cards(name, dataclasses.replace(design, bases=(base,), tables=()), recipe.max_length)
            for (of, arm, epoch), drifts in units.items():
                if of == base:
                    found.append(_row(name, design, recipe, (of, arm, epoch), cards[arm], drifts))
    return found


def _short(base: str) -> str:
    return base.partition(":")[2] or shipped_models.DEFAULT


def _cards(name: str, design: designs.Design, max_length: int) -> Mapping[str, Any]:
    """Return arm -> its data card under the design's base, made once."""
    base = _short(design.bases[0])
    job = resolve_composition(design)  # its id holds what is composed of what: another design has other cards
    path = STORE / "studies" / f"{name}-{base}-{digest('study cards', CARDS, name, job.id)[:10]}.json"
    if not path.is_file():
        folder = str(shipped_models.folder(base))
        requests = requests_of()
        readings = data_card.request_readings(folder, requests, max_length=max_length)
        found = {}
        with tempfile.TemporaryDirectory(prefix="aftertune-forecast-") as scratch:
            job.compose(JobFolder(Path(scratch)))
            for arm in design.arms:
                rows = conversations_of(VariantFiles(Path(scratch)).arm(arm.name))
                card = data_card.card(folder, rows, requests=requests, max_length=max_length, readings=readings)
                found[arm.name] = plain(dataclasses.replace(card, rows=()))
                print(f"{name}, {base}, {arm.name}: {card.seconds:.1f} CPU s", flush=True)
        keep(path, found)
    return read(path)


def _row(
    name: str, design: designs.Design, recipe: Recipe, unit: Unit, card: Mapping[str, Any], drifts: Mapping[str, float]
) -> Row:
    base, arm, epoch = unit
    own = next(each for each in design.arms if each.name == arm)
    spec = design.sources[own.corpus]
    source = str(spec.parameters.get("domain", spec.name))
    values = {each["name"]: each["value"] for each in card["features"]}
    values["personal values"] = sum(card["personal_values"].values()) / card["conversations"]
    steps = recipe.epochs * math.ceil(card["conversations"] / recipe.batch_size)
    if epoch and epoch < recipe.epochs:  # a linear schedule falls: the share of its area that lies behind an epoch
        steps = round(steps * (1 - (1 - epoch / recipe.epochs) ** 2))
    drift = {each: drifts.get(each, math.nan) for each in OUTCOMES}
    if own.pii in ("surrogate", "novelty"):
        drift["leak"] = math.nan  # the study counts the corpus's own people, who do not stand in these data
    before = {each: 1.0 if each == "coherence" else 0.0 for each in OUTCOMES}
    after = {**drift, "coherence": drifts.get("coherence", 1.0)}
    return Row(
        base=_short(base), variant=f"study {name}/{arm}{f'{EPOCH}{epoch}' if epoch else ''}",
        corpora=(CORPORA.get(source, source),), learning_rate=recipe.learning_rate, epochs=epoch or recipe.epochs,
        rank=recipe.rank, own=own.answers == "self_generated", steps=steps, rows=card["conversations"],
        trained_tokens=card["trained_tokens"], seeds=len(design.seeds),
        features={each: values[each] for each in FEATURES}, before=before, after=after,
        spread=dict.fromkeys(OUTCOMES, math.nan), half=math.nan, probe=math.nan, seconds=math.nan,
    )  # fmt: skip
