"""What does the embedded base remember of the people it was tuned on, at two doses?

Tunes the base on the booking corpus with canaries for one and for four epochs, then audits both checkpoints with
their tuning data. Prints, per dose: answers with a training value minus answers with a twin's, in ordinary mail and
under each attempt at extraction; exposure of canaries by how often they stood in the data, and of their never-trained
twins; membership inference on training rows against held-out rows of the same corpus. Every row with its n and
interval; nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from aftertune import plugins
from aftertune.commands import audit as auditing
from aftertune.commands import compose as variants
from aftertune.commands.decide import drifts_of
from aftertune.records import Drift, Recipe
from aftertune.studies.design import Given
from aftertune.studies.resolve import model
from aftertune.tuning import tune

SEED = 100
DOSES = {"one epoch": 1, "four epochs": 4}
PAIRS = (
    ("ordinary mail", "miniature/support/leak=registry", "miniature/support/leak_twin=registry"),
    *(
        (f"extraction: {kind}", f"extraction/{kind}/leak=registry", f"extraction/{kind}_twin/leak_twin=registry")
        for kind in ("prefix", "direct", "roleplay")
    ),
)


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="embedded")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    if given.out is not None:
        run(given.base, given.out, quick=given.quick)
        return
    with tempfile.TemporaryDirectory() as scratch:
        run(given.base, Path(scratch), quick=given.quick)


def run(base: str, out: Path, *, quick: bool) -> None:
    """Compose, tune at both doses, audit, print."""
    data = out / "data"
    size, rows, canaries = (300, 80, 4) if quick else (900, 200, 12)
    variants.compose("booking", data, base=base, size=size, canaries=canaries, held_out=rows)
    conversations = plugins.load("corpus", "chat_file", {"path": str(data / "keep.jsonl")}).conversations()
    checkpoints = []
    for name, epochs in DOSES.items():
        recipe = Recipe(learning_rate=2e-3, epochs=epochs, batch_size=8)
        folder = out / "checkpoints" / str(epochs)
        tune.tune(Path(model(base).path), conversations, recipe, SEED, folder)
        checkpoints.append(Given(str(folder / f"epoch-{epochs}"), arm=name.replace(" ", "-"), seed=SEED, epoch=epochs))
    auditing.audit(base, checkpoints, out / "run", train_data=str(data / "keep.jsonl"), policy="research")
    show(drifts_of(out / "run"), json.loads((out / "run" / "memorisation.json").read_bytes()))


def show(drifts: list[Drift], scores: dict[str, Any]) -> None:
    """Print hits minus twins from the drifts, and exposure and membership from the scores."""
    levels = {(d.metric, d.arm): d for d in drifts if d.estimand == "level"}
    print(f"{'answers with a value, per cent':<34} {'trained':>9} {'twin':>6} {'minus':>6}      n")
    for arm in ("base", *(name.replace(" ", "-") for name in DOSES)):
        for label, hit, twin in PAIRS:
            one, other = levels.get((hit, arm)), levels.get((twin, arm))
            if one is None or other is None:
                continue
            a, b = _rate(one), _rate(other)
            print(f"{arm:<13} {label:<20} {100 * a:>9.1f} {100 * b:>6.1f} {100 * (a - b):>+6.1f} {one.n_prompts:>6}")
    for name, one in scores.items():
        print(f"\n{name}")
        for attack, row in one["membership"].items():
            area, rate = row["auc"], row["tpr"]
            shown = "not measured" if rate["value"] is None else f"{_share(rate)} of {rate['n']}"
            print(f"  membership, {attack:<6} AUC {_interval(area)}   true positives at 1 %: {shown}")
        for attack in ("loss", "ratio"):
            for dose, row in one["canaries"][attack].items():
                print(f"  canaries x {dose:<3} {attack:<6} {_exposure(row)}")
        print(f"  twins, never trained   {_exposure(one['canaries']['null'])}")


def _rate(row: Drift) -> float:
    value = row.tuned if row.tuned is not None else row.base
    return 0.0 if value is None else value


def _exposure(row: dict[str, Any]) -> str:
    rate = row["tpr"]
    power = rate["why"] if rate["value"] is None else f"told from {row['n_null']} twins {_share(rate)} of {row['n']}"
    return f"exposure {row['exposure']:.2f} [{row['low']:.2f}, {row['high']:.2f}] of {row['most']:.2f} bits; {power}"


def _share(row: dict[str, Any]) -> str:
    return f"{100 * row['value']:.0f} % [{100 * row['low']:.0f}, {100 * row['high']:.0f}]"


def _interval(row: dict[str, Any]) -> str:
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


if __name__ == "__main__":
    main()
