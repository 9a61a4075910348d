"""Do audits that share a folder ask their base once? (`python -m perf.share [--audits 8] [--kill]`)

Starts that many audits of the known-bad adapter at once, each a process of its own with its own run folder, one cache
between them, and counts what each asked of the base. `--kill` ends every second one by `kill -9` at a random moment and
runs it again. Prints the answers asked of the base in all (one audit's worth is right) and of the adapter, and seconds.
Exit code 1 where the base was asked more than once, or where two runs hold different answers of it.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

from aftertune import shipped_models
from aftertune.asking.ask_job import AskJob
from aftertune.run.run_folder import Run
from aftertune.studies import stored


def start(folder: Path, number: int) -> subprocess.Popen[bytes]:
    """Start an audit."""
    command = [sys.executable, "-m", "aftertune", "audit", "embedded", str(shipped_models.known_bad()), "--quiet"]
    command += ["--workers", "1", "--policy", "research", "--cache", str(folder / "answers")]
    command += ["-o", str(folder / f"run-{number}")]
    environment = {**os.environ, "AFTERTUNE_SHARE": "on", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)


def counted(root: Path) -> tuple[int, int, tuple[str, ...]]:
    """Return how many answers a run asked of the base and of the adapter, and what the base said."""
    run = Run.open(root)
    base = tuned = 0
    texts: tuple[str, ...] = ()
    for job in stored.read(run).of(AskJob):
        count = int(run.job(job).info()["asked"])
        if job.subject.is_base:
            base += count
            texts += tuple(pq.read_table(run.job(job).path / "responses.parquet").column("text").to_pylist())
        else:
            tuned += count
    return base, tuned, texts


def main() -> None:
    """Run them, count, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audits", type=int, default=8)
    parser.add_argument("--kill", action="store_true")
    options = parser.parse_args()
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as scratch:
        folder, began = Path(scratch), time.monotonic()
        processes = [start(folder, number) for number in range(options.audits)]
        if options.kill:
            for number in range(0, options.audits, 2):
                time.sleep(rng.uniform(2, 8))
                processes[number].kill()
                processes[number].wait()
                processes[number] = start(folder, number)
        for process in processes:
            process.wait()
        seconds = time.monotonic() - began
        counts = [counted(folder / f"run-{number}") for number in range(options.audits)]
    base = [count[0] for count in counts]
    same = len({count[2] for count in counts}) == 1
    print(f"{options.audits} audits at once, {seconds:.0f} s: {sum(base):,} answers asked of the base {base},")
    told = "the same" if same else "NOT THE SAME"
    print(f"{sum(count[1] for count in counts):,} of the adapter; the base's answers are {told}")
    sys.exit(not same or sorted(base, reverse=True)[1] > 0)


if __name__ == "__main__":
    main()
