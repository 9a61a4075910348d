"""Run the four studies at embedded scale and keep their reports under docs/studies (`make studies`).

Runs lie in `.studies/NAME` and are continued: a killed run, or one whose tables were only reworded, asks no model
again. Arguments: `--only NAME` (hidden_costs, safety_drift, consistency, privacy_collapse; may stand several times),
`--workers N` (0 is one per core). Writes report.md, tables.json and, under 400 kB, report.html of each, and the seconds
that each took into docs/studies/timing.json. A study that finds drift has done its work: the exit code is 0.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from aftertune.commands.status import status
from aftertune.commands.study import study
from aftertune.errors import AftertuneError
from aftertune.plugins import PluginSpec
from aftertune.studies import design

ROOT = Path(__file__).parents[1]
NAMES = ("hidden_costs", "safety_drift", "consistency", "privacy_collapse")
RUNS, KEPT = ROOT / ".studies", ROOT / "docs" / "studies"
LARGEST = 400_000
"""Bytes of a page that is kept."""
KEYS = ("title", "outcome", "sentence", "tables", "mixed", "contradictions", "caveats", "warnings")


class Clock:
    """Wall and CPU seconds of a study over all runs that it took, kept beside its run folder while it goes on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        earlier = json.loads(path.read_text()) if path.is_file() else {}
        self.before: float = earlier.get("wall_seconds", 0.0)
        self.analysis: float = earlier.get("analysis_cpu_seconds", 0.0)
        self.began, self.own, self.printed = time.monotonic(), time.process_time(), 0.0

    @property
    def wall(self) -> float:
        """Seconds so far."""
        return self.before + time.monotonic() - self.began

    def __call__(self, done: str, count: int, total: int) -> None:
        """Take the progress of a run."""
        self.keep()
        if time.monotonic() - self.printed > 20 or count == total:
            self.printed = time.monotonic()
            print(f"  {count} of {total} jobs, {self.wall:.0f} s, last: {done or 'nothing yet'}", flush=True)

    def keep(self) -> None:
        """Write the seconds down, so that a kill costs none of them."""
        analysis = self.analysis + time.process_time() - self.own
        self.path.write_text(json.dumps({"wall_seconds": self.wall, "analysis_cpu_seconds": analysis}))


def run(name: str, workers: int) -> dict[str, Any]:
    """Run or continue a study, keep its report, and return what it took."""
    RUNS.mkdir(exist_ok=True)
    clock = Clock(RUNS / f"{name}.json")
    wanted = design.read(ROOT / "studies" / f"{name}.toml")
    print(name, flush=True)
    result = study(wanted, RUNS / name, executor=PluginSpec("local", {"workers": workers}), progress=clock, cache=False)
    clock.keep()
    jobs = status(RUNS / name)["jobs"]
    kept = KEPT / name
    kept.mkdir(parents=True, exist_ok=True)
    (kept / "report.md").write_text((result.root / "report.md").read_text("utf-8"), "utf-8")
    whole = json.loads((result.root / "report.json").read_text("utf-8"))
    facts = json.loads((result.root / "run.json").read_text("utf-8"))
    short = {"design": wanted.id, "versions": facts["versions"], **{key: whole[key] for key in KEYS}}
    (kept / "tables.json").write_text(json.dumps(short, indent=1, sort_keys=True) + "\n")
    page = result.report.read_bytes()
    (kept / "report.html").unlink(missing_ok=True)
    if len(page) < LARGEST:
        (kept / "report.html").write_bytes(page)
    else:
        print(f"  report.html has {len(page):,} bytes and is not kept; it lies in {result.report}")
    by_kind = {kind: round(row["cpu_seconds"], 1) for kind, row in jobs.items()}
    analysis = json.loads(clock.path.read_text())["analysis_cpu_seconds"]
    return {
        "outcome": result.outcome,
        "jobs": sum(int(row["jobs"]) for row in jobs.values()),
        "cpu_seconds": round(sum(by_kind.values()) + analysis, 1),
        "cpu_seconds_by_kind": {**by_kind, "analysis and planning": round(analysis, 1)},
        "wall_seconds": round(clock.wall, 1),
        "workers": workers or os.cpu_count(),
    }


def main() -> None:
    """Run what is asked for, and write the timing of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=NAMES)
    parser.add_argument("--workers", type=int, default=0)
    given = parser.parse_args()
    path = KEPT / "timing.json"
    for name in given.only or NAMES:
        try:
            took = run(name, given.workers)
        except AftertuneError as error:
            raise SystemExit(f"{name}: {error}") from None
        timing = json.loads(path.read_text()) if path.is_file() else {}
        path.write_text(json.dumps({**timing, name: took}, indent=1, sort_keys=True) + "\n")
        print(f"{name}: {took['cpu_seconds']:.0f} CPU seconds, {took['wall_seconds']:.0f} s wall, {took['outcome']}")


if __name__ == "__main__":
    main()
