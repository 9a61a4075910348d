"""Other tools' decisions on tables in which nothing drifts, beside ours (`make compare-peers`).

The peers are installed into an environment of their own (`.peers`), which sees the project's packages, so that NumPy
and torch are not downloaded again. The same tables, drawn from fixed seeds, go to each peer's own function, called as
its documentation shows, and to ours: how often does it say that something changed, at its 5 %? `--write` puts the
tables into docs/peers.md. `--tables N` draws more or fewer; `--slow N` is for peers whose bootstrap is a Python loop.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from aftertune.stats import clusters as by_cluster
from aftertune.stats import seeds as by_seed
from aftertune.stats.paired import wilson

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "peers.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
PEERS = {
    "evalsig": ("evalsig==0.1.2",),
    "modeldiffr": ("modeldiffr==0.9.3",),
    "finetunecheck": ("finetunecheck==2.0.2",),
    # 0.3.0 asks for Python 3.12; what is called here is NumPy and SciPy, and runs on 3.11.
    "nemo-evaluator": ("--no-deps", "--ignore-requires-python", "nemo-evaluator==0.3.0"),
    "forgelm": ("--no-deps", "forgelm==0.11.1"),
}
"""Name -> what pip installs."""
ASKED = ("evalsig", "evalsig with clusters", "nemo-evaluator", "modeldiffr")
SLOW = ("modeldiffr",)
RATE = 0.8
SCENARIOS = {
    "300 prompts": (300, 1, 0.0, 1, 0.0),
    "50 clusters of 10": (50, 10, 1.0, 1, 0.0),
    "8 clusters of 20": (8, 20, 1.0, 1, 0.0),
    "5 seeds": (300, 1, 0.0, 5, 0.5),
    "3 seeds": (300, 1, 0.0, 3, 0.5),
}
"""Name -> clusters, prompts in each, spread of clusters, training seeds, spread of seeds (standard deviations of a
latent normal score whose other two parts, prompt and answer, have one each)."""


def drawn(name: str, count: int) -> tuple[Any, Any, Any]:
    """Return (base, tuned, clusters) of `count` tables: shapes (tables, prompts), (tables, seeds, prompts), (prompts,).

    Base and tuned models have the same rate; what differs is noise of prompts, clusters and seeds.
    """
    many, size, of_clusters, seeds, of_seeds = SCENARIOS[name]
    rng = np.random.default_rng(20 + list(SCENARIOS).index(name))
    clusters = np.repeat(np.arange(many), size)
    prompts = rng.normal(size=(count, 1, many * size))
    shift = of_clusters * rng.normal(size=(count, 1, many))[:, :, clusters]
    seed = of_seeds * rng.normal(size=(count, seeds, 1))
    cut = -special.ndtri(RATE)
    base = prompts[:, 0] + rng.normal(size=(count, many * size)) > cut * np.sqrt(2)
    latent = prompts + shift + seed + rng.normal(size=(count, seeds, many * size))
    tuned = latent > cut * np.sqrt(2 + of_clusters**2 + of_seeds**2)
    return base.astype(float), tuned.astype(float), clusters


def ours(base: Any, tuned: Any, clusters: Any) -> bool:
    """Return whether our interval excludes that nothing changed."""
    change = tuned - base
    found = by_seed.difference(change, clusters) if len(change) > 1 else by_cluster.difference(change[0], clusters)
    return found.low > 0 or found.high < 0


def installed(folder: Path) -> dict[str, str]:
    """Install the peers and return each one's version, or why it could not be installed."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        there = subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"], capture_output=True, text=True,
            check=True,
        ).stdout.strip()  # fmt: skip
        (Path(there) / "project.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n", encoding="utf-8")
    found = {}
    for name, what in PEERS.items():
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        found[name] = what[-1].partition("==")[2] if done.returncode == 0 else f"not installed: {(lines or ['?'])[-1]}"
    return found


def share(alarms: int, count: int) -> str:
    """Return e.g. `22.5 % [17.3, 28.8]`."""
    low, high = wilson(alarms, count)
    return f"{100 * alarms / count:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def main() -> None:
    """Install, draw, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=1000)
    parser.add_argument("--slow", type=int, default=200)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    folder = ROOT / ".peers"
    versions = installed(folder)
    rows: dict[str, Any] = {"aftertune": {}} | {name: {} for name in ASKED}
    itself = {"aftertune": "no change"}
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "tables.npz"
        tables = {name: drawn(name, options.tables) for name in SCENARIOS}
        parts = zip(("base", "tuned", "clusters"), range(3), strict=True)
        np.savez(path, **{f"{name}|{part}": each[at] for part, at in parts for name, each in tables.items()})
        for name, (base, tuned, clusters) in tables.items():
            rows["aftertune"][name] = [sum(map(ours, base, tuned, [clusters] * len(base))), len(base)]
        for name in ASKED:
            most = options.slow if name in SLOW else options.tables
            worker = [str(folder / "bin" / "python"), str(ROOT / "perf" / "peer_worker.py"), name, str(path), str(most)]
            done = subprocess.run(worker, capture_output=True, text=True, check=False)
            if done.returncode:
                itself[name] = f"not asked: {(done.stderr.strip().splitlines() or ['?'])[-1]}"
                continue
            told = json.loads(done.stdout.splitlines()[-1])
            rows[name], itself[name] = told["alarms"], told["itself"]
    text = page(versions, rows, itself)
    print(text)
    if options.write:
        whole = PAGE.read_text(encoding="utf-8")
        before, after = whole.split(BEGIN)[0], whole.split(END)[1]
        PAGE.write_text(f"{before}{BEGIN}\n{text}{END}{after}", encoding="utf-8")
    if all(row == {} for name, row in rows.items() if name != "aftertune"):
        sys.exit("no peer could be asked")


def page(versions: dict[str, str], rows: dict[str, Any], itself: dict[str, str]) -> str:
    """Return the measured part of the page."""
    lines = [f"| says that something changed | {' | '.join(SCENARIOS)} |", f"| --- |{' ---: |' * len(SCENARIOS)}"]
    for name, row in rows.items():
        cells = [share(*row[scenario]) if scenario in row else "" for scenario in SCENARIOS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    counts = sorted({count for row in rows.values() for _, count in row.values()})
    lines += ["", f"Tables each: {' or '.join(map(str, counts))}. 95 % intervals (Wilson).", ""]
    lines += ["| a base's verdicts against themselves | says |", "| --- | --- |"]
    lines += [f"| {name} | {said} |" for name, said in itself.items()]
    lines += ["", "| peer | version |", "| --- | --- |", *(f"| {name} | {said} |" for name, said in versions.items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
