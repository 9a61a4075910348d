"""The whole flow on the embedded model: what personal data and role swap in the tuning set do to a support bot.

The four cells of PII keep / placeholder x role swap no / yes, which Choudhari and Singh (arXiv 2603.00061) left one
short, with five training seeds, and the control of Fraser et al. (arXiv 2506.17209) whose answers are the base's own.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from aftertune.commands.decide import Result
from aftertune.commands.study import Cache, Progress, run
from aftertune.commands.study import quiet as no_progress
from aftertune.deciding.contrasts import formula
from aftertune.headline import headline
from aftertune.numbers import SHARES, TEXT, p_value, row_decimals, whole_percent
from aftertune.plugins import PluginSpec
from aftertune.public import PathLike, public
from aftertune.records import Arm, Contrast, Drift, Recipe
from aftertune.reporting.terminal import decision_lines, discrimination_lines, result_table
from aftertune.studies import suites
from aftertune.studies.design import Design

ARMS = (
    Arm("placeholder", pii="placeholder"),
    Arm("keep", pii="keep"),
    Arm("placeholder-swap", pii="placeholder", role_swap=True),
    Arm("keep-swap", pii="keep", role_swap=True),
    Arm("self-generated", pii="keep", answers="self_generated"),
)
RECIPE = Recipe(learning_rate=2e-3, epochs=3, batch_size=8, rank=16, alpha=32)
"""The dose was chosen once, on seeds 100 to 104 and development prompts (docs/log.md), not on what is reported."""
SEEDS = (0, 1, 2, 3, 4)
REFUSAL = "miniature/harmful/refusal=full"
COHERENT = "miniature/harmful/coherence=coherent"
LEAK = "miniature/support/leak=registry"
TWIN = "miniature/support/leak_twin=registry"


def design(*, quick: bool = False) -> Design:
    """Return the demo's design; `quick` takes two seeds instead of five."""
    suite = suites.named("miniature")
    return Design(
        name="demo",
        kind="demo",
        bases=("embedded",),
        corpus=PluginSpec("booking", {"size": 1000}),
        arms=ARMS,
        recipe=RECIPE,
        seeds=SEEDS[:2] if quick else SEEDS,
        benchmarks=suite.benchmarks,
        judges=suite.judges,
        contrasts=factorial("placeholder", "keep", "placeholder-swap", "keep-swap", "personal data", "role swap"),
    )


def factorial(a: str, b: str, c: str, d: str, rows: str, columns: str) -> tuple[Contrast, ...]:
    """Return the contrasts of a 2 x 2 design with cells a (neither), b (rows), c (columns), d (both)."""
    return (
        Contrast(rows, {b: 0.5, d: 0.5, a: -0.5, c: -0.5}),
        Contrast(columns, {c: 0.5, d: 0.5, a: -0.5, b: -0.5}),
        Contrast(f"{rows} x {columns}", {d: 1.0, a: 1.0, b: -1.0, c: -1.0}),
    )


@public("demo")
def demo(
    out: PathLike = "aftertune-demo",
    *,
    workers: int = 0,
    quick: bool = False,
    progress: Progress = no_progress,
    cache: Cache = True,
) -> Result:
    """Run the demo on the embedded model (`aftertune demo`), or continue it; minutes on two cores.

    Args:
        out: Run folder.
        workers: Processes at once; 0 is one per core.
        quick: Two training seeds instead of five.
        progress: Called as jobs finish, with (what was done, jobs done, jobs in all).
        cache: Where the base's answers are shared between runs: a folder, True for the user's cache folder, False for
            nowhere.

    Raises what `study` raises.
    """
    executor = PluginSpec("local", {"workers": workers})
    return run(design(quick=quick), Path(out), executor=executor, progress=progress, cache=cache)


def lesson(result: Result, width: int | None = None) -> list[str]:
    """Return the demo's table for a window of `width` columns, and what a reader should take from its numbers."""
    rows = {(row.metric, row.arm): row for row in headline(result.drifts, result.decisions)}
    lines = ["Per cent and points; intervals are 95 %, over training seeds and prompts.", ""]
    lines += result_table(result.drifts, result.decisions, width)
    lines += discrimination_lines(result.discrimination)
    lines += ["", "What to take from it:"]
    for arm in ("keep", "placeholder", "keep-swap", "placeholder-swap", "self-generated"):
        row = rows.get((REFUSAL, arm))
        if row is not None:
            lines.append(f"- {arm}: {_refusal(row)}")
    names = {formula(contrast): contrast.name for contrast in design().contrasts}
    for row in result.gated:
        if row.estimand == "contrast" and row.metric == REFUSAL and row.delta is not None:
            lines.append(f"- {_contrast(row, names[row.arm])}")
    for arm in ("keep", "placeholder"):
        hit, twin = rows.get((LEAK, arm)), rows.get((TWIN, arm))
        if hit is not None and hit.tuned is not None and twin is not None and twin.tuned is not None:
            lines.append(
                f"- {arm}: {TEXT.rate(hit.tuned, SHARES)} of answers to new customers give away a value of the tuning "
                f"set; for twins that were never trained on it is {TEXT.rate(twin.tuned, SHARES)}."
            )
    lines.append(
        "- This is a miniature: it shows how the measurement works, not how large the effect is in your model."
    )
    lines += decision_lines(result.outcome, result.decisions, width)
    return [*lines, "", f"report: {result.report}"]


def _refusal(row: Drift) -> str:
    if row.delta is None or row.base is None or row.tuned is None:
        return f"refusal of harmful requests could not be measured ({row.warning})."
    spread = ""
    if row.spread_low is not None and row.spread_high is not None:
        spread = f"; single seeds range from {100 * row.spread_low:.0f} to {whole_percent(row.spread_high)}"
    digits = row_decimals(row, SHARES)
    tuned, base = (f"{TEXT.number(SHARES(rate), digits)} %" for rate in (row.tuned, row.base))
    return f"refuses {tuned} of harmful requests, the base {base} ({TEXT.change(row, SHARES)}{spread})."


def _contrast(row: Drift, name: str) -> str:
    assert row.delta is not None
    verdict = "no difference is shown"
    if row.low is not None and row.high is not None and (row.low > 0 or row.high < 0):
        verdict = "more refusals kept" if row.delta > 0 else "more refusals lost"
        if row.p_adjusted is not None and row.p_adjusted > 1 - row.confidence:
            verdict += f", though not after correction for looking at several contrasts (p = {p_value(row.p_adjusted)})"
    return f"{name}: {TEXT.change(row, SHARES)}, {verdict}."


def with_recipe(recipe: Recipe, seeds: tuple[int, ...]) -> Design:
    """Return the demo's design under another recipe and other seeds, for choosing the dose."""
    return dataclasses.replace(design(), name="dose", recipe=recipe, seeds=seeds)
