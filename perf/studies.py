"""Run the four studies and keep their reports under docs/studies.

On the embedded models (`make studies`), or with `--real` on SmolLM2-135M-Instruct (`make real-studies`).

Runs lie in `.studies/NAME`, or `.real/studies/NAME`, and are continued: a killed run, or one whose tables were only
reworded, asks no model again. Writes report.md, tables.json and, under 400 kB, report.html of each, the seconds that
each took into timing.json, and of real models which findings of the papers show, by the rules of the designs, into
findings.md. A study that finds drift has done its work: the exit code is 0. Arguments:

- `--only NAME` (hidden_costs, safety_drift, consistency, privacy_collapse; may stand several times), or `--real --only
  safety_base`: their tuning sets on the base that `make safety-model` makes,
- `--workers N` (0 is one per core),
- `--data FOLDER`: the public data that the real designs read (docs/studies/real/README.md); linked as `.real/data`,
- `--base MODEL`: another base than the designs'; the run and what is kept of it are called NAME-MODEL,
- `--small`: few rows, prompts and tokens, and two seeds, in a run of its own of which nothing is kept: whether a design
  comes out whole, in minutes; with `--base embedded` in seconds,
- `--seeds 0,1`: other training seeds, in a run of its own of which nothing is kept.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from perf import readings

from aftertune.commands.status import status
from aftertune.commands.study import study
from aftertune.errors import AftertuneError
from aftertune.plugins import PluginSpec
from aftertune.studies import design as designs
from aftertune.studies.design import Design
from aftertune.studies.expectations import Shown
from aftertune.studies.missing import missing
from tools import real_model

ROOT = Path(__file__).parents[1]
NAMES = ("hidden_costs", "safety_drift", "consistency", "privacy_collapse")
SECOND = "safety_base"
"""The tuning sets of the four on a base of its own, `--real` only."""
LARGEST = 400_000
"""Bytes of a page that is kept."""
TO_PAGE = "[Full report](report.html)"
"""With which every `report.md` ends."""
TO_READINGS = "[The judges against answers that were read](readings.md)"
KEYS = ("title", "outcome", "sentence", "tables", "mixed", "contradictions", "caveats", "warnings")
SMALL: Mapping[str, int] = {"limit": 2, "per_category": 1, "people": 3}
"""Parameter of a benchmark -> its value in a small run."""
ROWS = 24
"""Rows of a corpus in a small run."""


@dataclass(frozen=True)
class Place:
    """Where designs are, where they are run, and where their reports are kept."""

    designs: Path
    runs: Path
    kept: Path


MINIATURE = Place(ROOT / "studies", ROOT / ".studies", ROOT / "docs" / "studies")
REAL = Place(ROOT / "studies" / "real", ROOT / ".real" / "studies", ROOT / "docs" / "studies" / "real")


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


def small(wanted: Design) -> Design:
    """Return a design with the same arms, recipes, benchmarks, judges and tables, and few rows, prompts and tokens."""

    def cut(spec: PluginSpec, values: Mapping[str, int]) -> PluginSpec:
        own = {key: min(value, values[key]) if key in values else value for key, value in spec.parameters.items()}
        return PluginSpec(spec.name, own)

    rows = {"size": ROWS, "limit": ROWS}
    data = dataclasses.replace(wanted.data, held_out=min(wanted.data.held_out, 6), canaries=0)
    return dataclasses.replace(
        wanted,
        seeds=wanted.seeds[:2],
        corpus=cut(wanted.corpus, rows) if wanted.corpus else None,
        corpora={name: cut(spec, rows) for name, spec in wanted.corpora.items()},
        arms=tuple(dataclasses.replace(arm, tokens=300) for arm in wanted.arms),
        data=data,
        benchmarks=tuple(cut(spec, SMALL) for spec in wanted.benchmarks),
        respond=dataclasses.replace(wanted.respond, answer_tokens=8),
        recipe=wanted.recipe if wanted.recipes else dataclasses.replace(wanted.recipe, batch_size=1),
        recipes=tuple(dataclasses.replace(recipe, batch_size=1) for recipe in wanted.recipes),
    )


def run(name: str, wanted: Design, place: Place, workers: int, *, keep: bool) -> dict[str, Any]:
    """Run or continue a study, keep its report, and return what it took."""
    place.runs.mkdir(parents=True, exist_ok=True)
    clock = Clock(place.runs / f"{name}.json")
    print(name, flush=True)
    result = study(
        wanted, place.runs / name, executor=PluginSpec("local", {"workers": workers}), progress=clock, cache=False
    )
    if name in readings.SHEETS and keep:
        # Answers that were read: the study is decided with these labels (docs/labels.md).
        result = readings.decide(name, result.root) or result
    clock.keep()
    jobs = status(place.runs / name)["jobs"]
    if keep:
        _keep(place.kept / name, wanted, result.root, result.report)
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


def _keep(kept: Path, wanted: Design, root: Path, report: Path) -> None:
    kept.mkdir(parents=True, exist_ok=True)
    whole = json.loads((root / "report.json").read_text("utf-8"))
    facts = json.loads((root / "run.json").read_text("utf-8"))
    short = {"design": wanted.id, "versions": facts["versions"], **{key: whole[key] for key in KEYS}}
    (kept / "tables.json").write_text(json.dumps(short, indent=1, sort_keys=True) + "\n")
    page = report.read_bytes()
    (kept / "report.html").unlink(missing_ok=True)
    if len(page) < LARGEST:
        (kept / "report.html").write_bytes(page)
    else:
        print(f"  report.html has {len(page):,} bytes and is not kept; it lies in {report}")
    (kept / "report.md").write_text(linked((root / "report.md").read_text("utf-8"), kept), "utf-8")


def linked(text: str, kept: Path) -> str:
    """Return a `report.md` that ends in links to what lies beside it where it is kept: its page, and its readings."""
    for link in (TO_READINGS, TO_PAGE):
        text = text.rstrip().removesuffix(link)
    beside = {"report.html": TO_PAGE, "readings.md": TO_READINGS}
    return " ".join([text.rstrip(), *(link for name, link in beside.items() if (kept / name).is_file())]) + "\n"


def findings(kept: Path) -> str:
    """Return, as Markdown, which of the papers' findings show in the reports that are kept."""
    outcomes: tuple[str, ...] = get_args(Shown)
    lines = [
        "# Which findings of the four papers show",
        "",
        "Written by `make real-studies`: each line is a rule of a design in `studies/real/`, on an interval of its",
        "report (`expected` in docs/design.md). *Open*: the interval lies on both sides of the rule. *Cannot be",
        "asked*: the base does not tell what is asked (d-prime of a probe not above 0), and has nothing to lose there;",
        "or chance alone may give all that could be found.",
        "",
        f"| study | {' | '.join(outcomes)} |",
        f"|---|{'---|' * len(outcomes)}",
    ]
    details: list[str] = []
    for path in sorted(kept.glob("*/tables.json")):
        counted: Counter[str] = Counter()
        details += ["", f"## {path.parent.name}", "", "| finding | rule | ours | |", "|---|---|---|---|"]
        for table in json.loads(path.read_text())["tables"]:
            for label, cells in zip(table["labels"], table["rows"], strict=True):
                for head, cell in zip(table["heads"], cells, strict=True):
                    if cell["finding"]:
                        counted[cell["finding"]] += 1
                        row = (f"{label}: {head}", cell["expected"], _ours(cell), f"**{cell['finding']}**")
                        details.append(f"| {' | '.join(text.replace('|', '/') for text in row)} |")
        numbers = " | ".join(str(counted[outcome]) for outcome in outcomes)
        lines.append(f"| [{path.parent.name}]({path.parent.name}/report.md) | {numbers} |")
    return "\n".join([*lines, *details]) + "\n"


def _ours(cell: Mapping[str, Any]) -> str:
    if cell["value"] is None:
        return str(cell["why"])
    scale = 1.0 if cell["scale"] == "plain" else 100.0
    numbers = [None if cell[key] is None else f"{scale * cell[key]:.3g}" for key in ("value", "low", "high")]
    return str(numbers[0]) if None in numbers else f"{numbers[0]} [{numbers[1]}, {numbers[2]}]"


def link(data: Path, target: Path = ROOT / ".real" / "data") -> None:
    """Link a folder of public data where the designs look for it. Raises AftertuneError for one that is none."""
    if not data.expanduser().is_dir():
        raise AftertuneError(f"--data {data}: no such folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink():
        target.unlink()
    elif target.exists():
        raise AftertuneError(f"{target}: is a folder of its own; --data would hide it")
    target.symlink_to(data.expanduser().absolute(), target_is_directory=True)


def refuse_missing(wanted: Design) -> None:
    """Raise AftertuneError with everything that a design needs and that is not on this machine."""
    if lacking := missing(wanted, fetch=False):
        raise AftertuneError("; ".join(each.full for each in lacking))


def main() -> None:
    """Run what is asked for, and write the timing of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=(*NAMES, SECOND))
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--base")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--seeds", type=lambda text: tuple(map(int, text.split(","))))
    given = parser.parse_args()
    if SECOND in (given.only or ()) and not given.real:
        parser.error(f"--only {SECOND} goes with --real")
    place = REAL if given.real else MINIATURE
    os.chdir(ROOT)  # the designs of real models name their files from there
    try:
        if given.data:
            link(given.data)
        if given.real and not given.base:
            real_model.model(real_model.FOLDER)
        _all(given, place, given.only or NAMES)
    except (AftertuneError, real_model.FetchError) as error:
        raise SystemExit(str(error)) from None


def _all(given: argparse.Namespace, place: Place, names: Sequence[str]) -> None:
    path = place.kept / "timing.json"
    for name in names:
        wanted = designs.read(place.designs / f"{name}.toml")
        called, keep = name, True
        if given.base:
            wanted, called = real_model.on_base(wanted, given.base), real_model.called(name, given.base)
        if given.small:
            wanted, called, keep = small(wanted), f"{called}-small", False
        if given.seeds:
            chosen = "-".join(map(str, given.seeds))
            wanted, called, keep = dataclasses.replace(wanted, seeds=given.seeds), f"{called}-seeds-{chosen}", False
        if given.real:
            refuse_missing(wanted)
        try:
            took = run(called, wanted, place, given.workers, keep=keep)
        except AftertuneError as error:
            raise AftertuneError(f"{name}: {error}") from None
        if keep:
            timing = json.loads(path.read_text()) if path.is_file() else {}
            path.write_text(json.dumps({**timing, called: took}, indent=1, sort_keys=True) + "\n")
            if given.real:
                (place.kept / "findings.md").write_text(findings(place.kept), "utf-8")
        print(f"{called}: {took['cpu_seconds']:.0f} CPU seconds, {took['wall_seconds']:.0f} s wall, {took['outcome']}")


if __name__ == "__main__":
    main()
