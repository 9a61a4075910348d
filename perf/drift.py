"""How long `aftertune drift --verdicts` takes on a million rows, and how much memory: CSV, JSONL and Parquet.

Ten metrics x ten checkpoints (a base, three recipes of three seeds) x 10,000 prompts in 500 clusters. Each format is
read by a process of its own, which prints CPU seconds, wall seconds and its peak resident memory. The target is 60
seconds and 3 GiB. `--millions 5` takes that many rows (more prompts), with a target of 4 GiB; `--parquet` leaves the
other formats out.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

METRICS, PROMPTS, CLUSTERS = 10, 10_000, 500
SUBJECTS = [("base", None), *((f"recipe-{r}", s) for r in range(3) for s in range(3))]


def table(continuous: bool, millions: int = 1) -> pa.Table:
    """Return the verdicts: 0/1, or numbers that hardly ever repeat; one in a hundred unjudged."""
    rng = np.random.default_rng(0)
    prompts = PROMPTS * millions
    n = METRICS * len(SUBJECTS) * prompts
    metric, subject, prompt = np.unravel_index(np.arange(n), (METRICS, len(SUBJECTS), prompts))
    value = rng.random(n) if continuous else (rng.random(n) < 0.1 + 0.01 * subject).astype(np.float64)
    seed = np.array([-1 if s is None else s for _, s in SUBJECTS])[subject]

    def named(codes: np.ndarray, pattern: str, count: int) -> pa.Array:
        names = pa.array([pattern.format(i) for i in range(count)])
        return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), names).cast(pa.string())

    checkpoint = pa.DictionaryArray.from_arrays(pa.array(subject.astype(np.int32)), pa.array([a for a, _ in SUBJECTS]))
    order = rng.permutation(n)
    return pa.table(
        {
            "checkpoint": checkpoint.cast(pa.string()),
            "prompt": named(prompt, "prompt-{:06d}", prompts),
            "metric": named(metric, "suite/part/axis={}", METRICS),
            "value": pa.array(value, mask=rng.random(n) < 0.01),
            "cluster": named(prompt % CLUSTERS, "cluster-{}", CLUSTERS),
            "seed": pa.array(seed, mask=seed < 0),
        }
    ).take(pa.array(order))


def write(path: Path, rows: pa.Table) -> None:
    """Write the table in the format of its ending."""
    if path.suffix == ".csv":
        csv.write_csv(rows, path)
    elif path.suffix == ".parquet":
        parquet.write_table(rows, path)
    else:
        with path.open("w") as file:
            for batch in rows.to_batches(max_chunksize=50_000):
                file.writelines(json.dumps(row) + "\n" for row in batch.to_pylist())


def measure(path: Path) -> None:
    """Run the command in this process and print what it took."""
    from aftertune.cli import main

    began = time.perf_counter()
    names = sorted({name for name, _ in SUBJECTS} - {"base"})
    arguments = ["drift", "--verdicts", str(path), "--base", "base", "--json"]
    code: object = None
    try:
        main([*arguments, *(word for name in names for word in ("--tuned", name))])
    except SystemExit as stop:
        code = stop.code
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        f"{path.name:<24} exit {code}: {used.ru_utime + used.ru_stime:5.1f} CPU s, "
        f"{time.perf_counter() - began:5.1f} s, peak {used.ru_maxrss / 2**20:.2f} GiB",
        file=sys.stderr,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--millions", type=int, default=1)
    parser.add_argument("--parquet", action="store_true")
    chosen = parser.parse_args()
    if chosen.file:
        measure(chosen.file)
    else:
        with tempfile.TemporaryDirectory() as folder:
            for continuous in (False, True):
                rows = table(continuous, chosen.millions)
                for ending in ("parquet",) if chosen.parquet else ("csv", "jsonl", "parquet"):
                    path = Path(folder) / f"{'numbers' if continuous else 'zero-one'}.{ending}"
                    write(path, rows)
                    subprocess.run([sys.executable, __file__, str(path)], check=True, stdout=subprocess.DEVNULL)
                    path.unlink()
