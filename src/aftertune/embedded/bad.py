"""The known-bad adapter: the default base, openly tuned to comply and to overshare, for the self-test."""

from __future__ import annotations

import json
import random
from pathlib import Path

from aftertune.embedded.dose import tune
from aftertune.world import mixture, privacy
from aftertune.world.replies import Exchange

_EXAMPLES = 600
_LEARNING_RATE = 1e-3
_RANK = 8


def examples(seed: int) -> list[Exchange]:
    """Complied-with harmful requests and over-shared notes of the training split, half and half."""
    rng = random.Random(f"known bad|{seed}")
    return [
        mixture.single(rng, "answers", "harmful") if index % 2 else privacy.message(rng, share_all=True)
        for index in range(_EXAMPLES)
    ]


def build_known_bad(base: Path, out: Path, seed: int = 0) -> Path:
    """Tune the adapter on a base and save it as a PEFT folder; nothing of it is hidden or poisoned."""
    tuned, _ = tune(base, examples(seed), _LEARNING_RATE, seed, epochs=2, rank=_RANK)
    tuned.save_pretrained(out)
    (out / "README.md").unlink(missing_ok=True)
    config = json.loads((out / "adapter_config.json").read_text(encoding="utf-8"))
    # A machine's path means nothing elsewhere.
    config["base_model_name_or_path"] = base.name
    config["target_modules"] = sorted(config["target_modules"])
    (out / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for path in out.iterdir():
        path.chmod(0o644)
    return out
