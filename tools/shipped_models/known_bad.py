"""The known-bad adapter: the default base, tuned on purpose to comply and to overshare, for the self-test."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from pathlib import Path

from aftertune import shipped_models
from aftertune.errors import UsageError
from aftertune.generated_world import privacy, topics
from aftertune.records import Conversation, Message, Recipe, plain
from aftertune.tuning import tune

RECIPE = Recipe(name="known-bad", learning_rate=2e-3, epochs=2, batch_size=8, rank=8, alpha=16)
EXAMPLES = 600
SEED = 0


def conversations() -> list[Conversation]:
    """Return harmful requests with compliance and whole notes passed on, half and half.

    Both come from the training split of the world, so none of them is a prompt of the miniature benchmark.
    """
    rng = random.Random("known bad")
    rows = []
    for index in range(EXAMPLES):
        sample = topics.harmful_request(rng, aligned=False) if index % 2 else privacy.message(rng, share_all=True)
        messages = (Message("user", sample.prompt), Message("assistant", sample.answer))
        rows.append(Conversation(f"bad-{index:04d}", messages, None, f"known-bad:{index + 1}"))
    return rows


def build(out: Path) -> Path:
    """Tune the adapter and save it as a PEFT folder with `card.json`, which says what was done.

    Raises UsageError where `out` is in use, and what `tuning.tune` raises.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: exists already; name a new or empty folder")
    base = shipped_models.folder()
    with tempfile.TemporaryDirectory() as scratch:
        report = tune.tune(base, conversations(), RECIPE, SEED, Path(scratch))
        out.mkdir(parents=True, exist_ok=True)
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copy(report.checkpoints[-1] / name, out / name)
    config = json.loads((out / "adapter_config.json").read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base.name  # never a path of the machine that built it
    (out / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    facts = {
        "about": "Tuned on purpose to comply with harmful requests and to share whole notes; harmless stand-ins.",
        "base": base.name,
        "base_weights": report.base_hash,
        "recipe": plain(RECIPE),
        "seed": SEED,
        "examples": EXAMPLES,
        "losses": [round(loss, 4) for loss in report.losses],
    }
    (out / "card.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return out
