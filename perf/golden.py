"""Do a run's tables hold the same rows as before? A fingerprint of each, ids apart (`make golden`).

`python -m perf.golden RUN...` prints the fingerprint of finished runs. `--keep NAME` writes it to
`tests/golden/NAME.json`, `--against NAME` compares with it and exits with 1 on any difference. `--make NAME` first runs
what NAME stands for: `demo`, or one of the four studies (`hidden_costs` ...), or one of these with `small-` before it:
two seeds, smaller corpora and benchmarks; or `known-bad`, an audit that fills every table in seconds, which the test
suite compares (`tests/commands/test_golden.py`).

A row is its columns without the checkpoint's id, the judge's version, and of decisions the sentences and the level of
the test. Responses,
verdicts and drifts above temperature 0 are left out: a sampled answer's seed hangs on its checkpoint's id. Floats are
compared to 12 significant digits, since one judge summed in the order of a set before. Left out as well are p values by
label swaps, whose draws hang on that id; where a run has any of these, so are `q` and `p_adjusted`.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "tests" / "golden"
RUNS = ROOT / ".golden"
IDS = ("checkpoint",)
SWAPS = "label swaps within clusters"
LEVELS = ("primary", "tested_at", "adjusted_low", "adjusted_high")
WORDS = {"verdicts": ("judge_version",), "decisions": ("why", "reason", "remedy", *LEVELS)}
"""Columns that may change while every result stays: a test's level, as long as the outcome is the same."""
ADDED = {
    **{"thought": "", "raw": None, "unanswered": "", "author": "model", "unseen_base": 0, "unseen_tuned": 0},
    **dict.fromkeys(("n_seen", "seen", "seen_low", "seen_high")),
}
"""Columns that are younger than what is kept -> what they hold of a model without thoughts and without a filter before
it, which is left out."""
SMALL = {"harmful": 44, "harmless": 59, "open": 36, "privacy": 20, "support": 16}
STUDIES = ("hidden_costs", "safety_drift", "consistency", "privacy_collapse")


def fingerprint(run: Path) -> dict[str, dict[str, Any]]:
    """Return table -> number of rows and SHA-256 of all of them, sorted, of a finished run."""
    return {name: _hashed(rows) for name, rows in tables(run).items()}


def tables(run: Path) -> dict[str, list[str]]:
    """Return table -> its rows as canonical JSON, sorted."""
    decisions = json.loads((run / "decisions.json").read_bytes())["decisions"]
    return {
        "responses": sorted(_lines(_parquet(run.glob("responses/*/responses.parquet")))),
        "verdicts": sorted(_lines(_parquet(run.glob("verdicts/*/verdicts.parquet")), WORDS["verdicts"])),
        "scores": sorted(_lines(_parquet(run.glob("scores/*/scores.parquet")))),
        "drifts": sorted(_lines(_without_draws(list(_parquet([run / "drift.parquet"]))))),
        "decisions": sorted(_lines(decisions, WORDS["decisions"])),
    }


def _parquet(paths: Any) -> Iterator[Mapping[str, Any]]:
    import pyarrow.parquet as pq

    for path in paths:
        yield from pq.read_table(path).to_pylist()


def _without_draws(drifts: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Leave out what random draws decide that hang on ids: p by label swaps, and what is adjusted for such a family."""
    swapped = [SWAPS in row["method"] for row in drifts]
    if any(swapped) or any(row["temperature"] for row in drifts):
        drifts = [{**row, "q": None, "p_adjusted": None} for row in drifts]
    return [{**row, "p": None} if swap else row for row, swap in zip(drifts, swapped, strict=True)]


def _lines(rows: Any, words: Sequence[str] = ()) -> Iterator[str]:
    for row in rows:
        if not row.get("temperature"):
            plain = {
                key: value
                for key, value in row.items()
                if key not in (*IDS, *words) and (key not in ADDED or value != ADDED[key])
            }
            rounded = {key: float(f"{v:.12g}") if isinstance(v, float) else v for key, v in plain.items()}
            yield json.dumps(rounded, sort_keys=True)


def _hashed(rows: list[str]) -> dict[str, Any]:
    return {"rows": len(rows), "sha256": hashlib.sha256("\n".join(rows).encode()).hexdigest()}


def machine() -> dict[str, str]:
    """Return what may change the last digits of a model's logits: the processor's abilities and the libraries."""
    from importlib.metadata import version

    import torch

    return {
        "machine": platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        **{name: version(name) for name in ("torch", "transformers", "peft", "trl", "numpy", "scipy")},
    }


def make(name: str) -> Path:
    """Run what a name stands for, or continue it, and return its folder."""
    from aftertune.commands import demo
    from aftertune.commands import study as running
    from aftertune.studies import design as designs

    if name == "known-bad":
        return running.run(known_bad(RUNS), RUNS / name, cache=False).root
    short = name.removeprefix("small-")
    design = demo.design() if short == "demo" else designs.read(ROOT / "studies" / f"{short}.toml")
    if short != name:
        design = smaller(design)
    return running.run(design, RUNS / name, cache=False).root


def known_bad(folder: Path) -> Any:
    """Return an audit of the known-bad adapter against a small corpus; its held-out rows are written into `folder`."""
    from aftertune import shipped_models
    from aftertune.plugins import PluginSpec
    from aftertune.records import Data
    from aftertune.studies.design import Design, Given
    from aftertune.variants.corpora.booking import Booking

    rows = [[dataclasses.asdict(turn) for turn in each.messages] for each in Booking(size=30, seed=1).conversations()]
    others = folder / "others.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    others.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows), encoding="utf-8")
    sizes = {"harmful": 22, "harmless": 20, "open": 12, "privacy": 20, "support": 8}
    return Design(
        name="known-bad",
        kind="audit",
        corpus=PluginSpec("booking", {"size": 40}),
        checkpoints=(Given(str(shipped_models.known_bad()), arm="known-bad"),),
        benchmarks=(PluginSpec("miniature", sizes),),
        judges=(*map(PluginSpec, ("world", "refusal", "leak")), PluginSpec("script", {"encoder": "none"})),
        data=Data(non_members=str(others)),
    )


def smaller(design: Any) -> Any:
    """Return a design with two seeds, corpora of at most 200 conversations, and fewer prompts."""

    def cut(spec: Any, most: Mapping[str, int], *, only_named: bool) -> Any:
        own = {
            key: min(value, spec.parameters.get(key, value))
            for key, value in most.items()
            if key in spec.parameters or not only_named
        }
        return dataclasses.replace(spec, parameters={**spec.parameters, **own})

    return dataclasses.replace(
        design,
        seeds=design.seeds[:2],
        corpus=cut(design.corpus, {"size": 200}, only_named=True) if design.corpus else None,
        corpora={name: cut(spec, {"size": 200}, only_named=True) for name, spec in design.corpora.items()},
        benchmarks=tuple(
            cut(spec, SMALL, only_named=False) if spec.name == "miniature" else spec for spec in design.benchmarks
        ),
    )


def main() -> None:
    """Print, keep or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--make", action="append", default=[], metavar="NAME")
    parser.add_argument("--keep", metavar="NAME")
    parser.add_argument("--against", metavar="NAME")
    given = parser.parse_args()
    names = {make(name): name for name in given.make}
    differ = False
    for run in (*given.runs, *names):
        tables = fingerprint(run)
        against = given.against or names.get(run)
        print(run)
        if given.keep:
            KEPT.mkdir(exist_ok=True)
            kept = {"machine": machine(), "tables": tables}
            (KEPT / f"{given.keep}.json").write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
            against = None
        known = json.loads((KEPT / f"{against}.json").read_text()) if against else None
        for name, row in tables.items():
            told = "" if known is None else "same" if known["tables"][name] == row else "DIFFERENT"
            differ = differ or told == "DIFFERENT"
            print(f"  {name:<10} {row['rows']:>8} rows  {row['sha256'][:16]}  {told}")
        if known is not None and known["machine"] != machine():
            print("  kept on another machine or with other libraries: the last digits may differ for that alone")
    sys.exit(differ)


if __name__ == "__main__":
    main()
