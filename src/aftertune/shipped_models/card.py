"""The card of an embedded base: measured, written as JSON and Markdown, and shown."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aftertune.errors import UsageError

WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "card.json"
PROMPTS_PER_SUITE = 352
_LIMITS = (
    "It knows a closed world of some thousand words and nothing else; it is no model of a real assistant.",
    "Its compliance with harmful requests is a harmless generic plan; it holds no dangerous knowledge.",
    "Held-out prompts are new in wording and in combination, from the same world: no other distribution is claimed.",
    "Coherent means that every sentence is one the world's generators write, in an order in which they write them.",
)


def measure(
    folder: Path, *, prompts: int = PROMPTS_PER_SUITE, tuned: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Measure a base on the held-out test prompts and return its card.

    ``prompts`` per suite; ``tuned``: results of what a tuning does to it, made by ``result`` where tunings are run.
    Raises UsageError for a folder that holds no embedded base.
    """
    from aftertune.generated_world import heldout
    from aftertune.shipped_models import scores
    from aftertune.shipped_models.generate import complete, load
    from aftertune.shipped_models.pretrain import TRAINING_FILE

    if not (folder / TRAINING_FILE).is_file():
        raise UsageError(f"{folder}: no {TRAINING_FILE}; name a folder that `aftertune embedded build` wrote")
    training = json.loads((folder / TRAINING_FILE).read_text(encoding="utf-8"))
    probes = [probe for suite in heldout.SUITES for probe in heldout.probes(suite, "test", prompts)]
    model, tokenizer = load(folder)
    judged = scores.judge(probes, complete(model, tokenizer, [probe.prompt for probe in probes]))
    rates = scores.rates(judged)
    results = [_of(rate) for rate in rates] + [dict(row) for row in tuned]
    return {
        "name": training["recipe"]["name"],
        "parameters": training["parameters"],
        "bytes": sum(path.stat().st_size for path in folder.iterdir() if path.is_file()),
        "sha256": hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest(),
        "recipe": training["recipe"],
        "recipe_sha256": training["recipe_sha256"],
        "training": {
            "tokens": sum(cost["tokens"] for cost in training["passes"]),
            "cpu_seconds": round(sum(cost["cpu_seconds"] for cost in training["passes"])),
            "passes": training["passes"],
            "tokenizer_sha256": training["tokenizer_sha256"],
            "note": training["note"],
            "torch": training["torch"],
            "threads": training["threads"],
        },
        "held_out": {
            "split": "test",
            "prompts_per_suite": prompts,
            "fingerprint": heldout.fingerprint("test"),
            "overlap": _overlap(training, probes),
        },
        "results": results,
        "missed": [result["name"] for result in results if result["met"] is False],
        "limits": list(_LIMITS),
    }


def result(
    name: str,
    about: str,
    value: float,
    interval: tuple[float, float],
    n: int,
    target: float | None = None,
    at_least: bool = True,
) -> dict[str, Any]:
    """Return one row of a card; ``met`` says whether the point estimate meets the target, None without one."""
    met = None if target is None else value >= target if at_least else value <= target
    low, high = interval
    return {
        "name": name,
        "about": about,
        "value": round(value, 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "n": n,
        "target": target,
        "better": "high" if at_least else "low",
        "met": met,
    }


def _of(rate: Any) -> dict[str, Any]:
    return result(rate.name, rate.about, rate.value, rate.interval, rate.n, rate.target, rate.at_least)


def _overlap(training: Mapping[str, Any], probes: Sequence[Any]) -> list[dict[str, Any]]:
    from aftertune.shipped_models import overlap

    found = overlap.overlap(probes, _training_prompts(training))
    return [
        {
            "suite": part.suite,
            "prompts": part.prompts,
            "seen_share": {f"{size}-gram": round(share, 4) for size, share in part.shares.items()},
            "duplicates": part.duplicates,
        }
        for part in found
    ]


def _training_prompts(training: Mapping[str, Any]) -> Iterator[str]:
    from aftertune.shipped_models.pretrain import pass_exchanges
    from aftertune.shipped_models.recipe import RECIPES

    recipe = RECIPES[training["recipe"]["name"]]
    for index in range(len(recipe.passes)):
        for exchange in pass_exchanges(recipe, index):
            yield exchange.prompt
            for user, _ in exchange.history:
                yield user


def write(card: Mapping[str, Any], folder: Path) -> None:
    """Write ``card.json`` and ``card.md`` into a folder."""
    (folder / CARD_FILE).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    (folder / "card.md").write_text(markdown(card), encoding="utf-8")


def show(name: str = "", *, measure: bool = False) -> dict[str, Any]:
    """The card of a shipped base (the default for an empty name) or of a folder; measured anew if ``measure``.

    Raises UsageError where there is no such base or no card.
    """
    from aftertune.shipped_models import folder as shipped
    from aftertune.shipped_models.recipe import DEFAULT

    folder = Path(name) if name and Path(name).is_dir() else shipped(name or DEFAULT)
    if measure:
        return _measure(folder)
    path = folder / CARD_FILE
    if not path.is_file():
        raise UsageError(f"{folder}: no {CARD_FILE}; measure it with `aftertune embedded card {folder} --measure`")
    card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return card


_measure = measure


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def markdown(card: Mapping[str, Any]) -> str:
    """A card as Markdown."""
    training, held_out = card["training"], card["held_out"]
    shape = card["recipe"]["shape"]
    lines = [
        f"# {card['name']}",
        "",
        f"A Llama-architecture chat model with {card['parameters']:,} parameters ({shape['layers']} layers, "
        f"{shape['width']} wide, {shape['heads']} heads), {card['bytes'] / 1e6:.1f} MB, pretrained by aftertune on "
        f"{training['tokens'] / 1e6:.1f} million tokens of a generated world from seed {card['recipe']['seed']} in "
        f"{training['cpu_seconds']:,} CPU seconds ({training['threads']} thread, torch {training['torch']}).",
        "",
        f"Measured on {held_out['prompts_per_suite']} held-out test prompts per suite: unseen wording on unseen "
        "combinations. Intervals are 95 % (Wilson).",
        "",
        "| what | rate | interval | n | target | met |",
        "|---|---|---|---|---|---|",
    ]
    for result in card["results"]:
        target = "" if result["target"] is None else _percent(result["target"])
        sign = "" if result["target"] is None else ("at least " if result["better"] == "high" else "at most ")
        met = {True: "yes", False: "**no**", None: ""}[result["met"]]
        lines.append(
            f"| {result['about']} | {_percent(result['value'])} | {_percent(result['low'])} to "
            f"{_percent(result['high'])} | {result['n']} | {sign}{target} | {met} |"
        )
    if training["note"]:
        lines += ["", f"Departure from the recipe: {training['note']}"]
    lines += ["", "Missed: " + (", ".join(card["missed"]) if card["missed"] else "nothing") + ".", ""]
    lines += ["| suite | prompts | 5-grams seen in training | 8-grams | whole prompts |", "|---|---|---|---|---|"]
    for part in held_out["overlap"]:
        seen = part["seen_share"]
        lines.append(
            f"| {part['suite']} | {part['prompts']} | {_percent(seen['5-gram'])} | {_percent(seen['8-gram'])} | "
            f"{part['duplicates']} |"
        )
    lines += ["", *(f"- {limit}" for limit in card["limits"]), "", f"Weights SHA-256: `{card['sha256']}`", ""]
    return "\n".join(lines)
