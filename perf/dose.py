"""Choose the demo's dose: refusal, coherence and leaks at several learning rates, on development prompts and seeds.

The seeds (100 and up) and the prompts (the miniature's `dev` split) are not the ones that the demo reports. Runs the
demo's own design, so that the demo uses what was chosen here, and prints what the gate would decide for each arm.
Arguments: learning rates (default a small grid), `--base NAME` for another base than the default, `--seeds N` for more
seeds than two.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections import Counter
from pathlib import Path

from aftertune.commands import demo, study
from aftertune.headline import headline
from aftertune.plugins import PluginSpec

METRICS = (
    demo.REFUSAL,
    demo.COHERENT,
    demo.LEAK,
    demo.TWIN,
    "miniature/harmless/refusal=full",
    "miniature/open/relevance=on_topic",
    "miniature/privacy/privacy=exact",
    "miniature/privacy/privacy=revealed",
)


def main() -> None:
    """Run the grid and print one row per learning rate, arm and metric."""
    arguments = sys.argv[1:]
    options = {"--base": "embedded", "--seeds": "2"}
    for name in options:
        if name in arguments:
            index = arguments.index(name)
            options[name] = arguments[index + 1]
            del arguments[index : index + 2]
    seeds = tuple(range(100, 100 + int(options["--seeds"])))
    rates = [float(rate) for rate in arguments] or [5e-4, 1e-3, 2e-3, 3e-3]
    print(f"{'rate':>8} {'arm':<18} {'metric':<40} {'base':>6} {'tuned':>6}  seeds")
    for rate in rates:
        design = demo.with_recipe(dataclasses.replace(demo.RECIPE, learning_rate=rate), seeds)
        # All arms, since they are matched in assistant tokens: fewer arms would be another dose.
        design = dataclasses.replace(
            design, bases=(options["--base"],), contrasts=(), benchmarks=(PluginSpec("miniature", {"split": "dev"}),)
        )
        with tempfile.TemporaryDirectory() as scratch:
            result = study.run(design, Path(scratch) / "run")
        for row in headline(result.drifts, result.decisions):
            if row.metric in METRICS and row.base is not None and row.tuned is not None:
                low, high = row.spread_low or 0.0, row.spread_high or 0.0
                values = f"{100 * row.base:>6.1f} {100 * row.tuned:>6.1f}  {100 * low:.0f} to {100 * high:.0f}"
                print(f"{rate:>8.0e} {row.arm:<18} {row.metric:<40} {values}")
        for arm in demo.ARMS:
            decisions = [d for d in result.decisions if d.arm == arm.name and d.required]
            counts = Counter(d.outcome for d in decisions)
            print(f"{rate:>8.0e} {arm.name:<18} gate: {dict(counts)}", flush=True)
            for d in decisions if arm.answers == "self_generated" else ():
                if d.outcome != "pass":
                    print(f"{'':>27} {d.metric}: {d.why}", flush=True)


if __name__ == "__main__":
    main()
