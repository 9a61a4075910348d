"""What many checkpoints cost: rates measured on finished runs, checked on jobs left out, and extrapolated.

For each kind of job the model is one rate: CPU seconds per token read (tuning, counting every epoch), per new token
(answering) and per response (each judge), and bytes for each. Rates are fitted on the jobs of the even training seeds
and checked on the sum over those of the odd ones. They are extrapolated to a hundred models with ten instruments and
five seeds, and to ten million responses. Usage: `python -m perf.scale RUN [RUN ...]` on run folders that are complete.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from aftertune.asking.ask_job import AskJob
from aftertune.judging.judge_job import JudgeJob
from aftertune.run.job_folder import JobFolder
from aftertune.run.run_folder import Run
from aftertune.studies import budget, stored
from aftertune.studies.cost import Cost
from aftertune.tuning.tune_job import TuneJob


@dataclass(frozen=True)
class JobCost:
    """The cost of one job."""

    kind: str
    seed: int | None
    units: float
    """Tokens or responses, as the kind says."""
    seconds: float
    """CPU seconds."""
    size: int
    """Bytes."""
    answers: int = 0
    """Number of responses of a job that asks."""


def size_of(folder: Path) -> int:
    """Return the bytes of a folder's files."""
    return sum(item.stat().st_size for item in folder.rglob("*") if item.is_file())


def rows_of(folder: JobFolder, name: str) -> int:
    """Return the rows of a job's table."""
    return int(pq.ParquetFile(folder.path / f"{name}.parquet").metadata.num_rows)


def read(root: Path) -> list[JobCost]:
    """Return the cost of each tuning, asking and judging job of a run."""
    run = Run.open(root)
    costs = []
    for job in stored.read(run).jobs:
        folder = run.job(job)
        if not folder.complete:
            continue
        info = folder.info()
        seconds, size = float(info["cpu_seconds"]), size_of(folder.path)
        if isinstance(job, TuneJob):
            tuning = info["tuning"]
            tokens_read = float(tuning["tokens"]) * int(tuning["recipe"]["epochs"])
            costs.append(JobCost("tune, a token read", job.seed, tokens_read, seconds, size))
        elif isinstance(job, AskJob):
            table = pq.read_table(folder.path / "responses.parquet", columns=["new_tokens"])
            tokens = float(sum(n or 0 for n in table.column("new_tokens").to_pylist()))
            seed = job.subject.train_seed
            costs.append(JobCost("answer, a new token", seed, tokens, seconds, size, table.num_rows))
        elif isinstance(job, JudgeJob):
            asked = rows_of(run.folder(AskJob.KIND, job.responses), "responses")
            name = f"judge {job.judge.name}, a response"
            costs.append(JobCost(name, job.subject.train_seed, float(asked), seconds, size))
    return costs


def gpu_hours(parameters: float, answers: int, cost: Cost) -> float:
    """Return the GPU-hours of this many answers by the formulas and the defaults of `aftertune plan`."""
    written = cost.answer_tokens * budget.writing_seconds(parameters, cost)
    return answers * (cost.prompt_tokens * budget.reading_seconds(parameters, cost) + written) / 3600


def rate(jobs: list[JobCost], of: Callable[[JobCost], float]) -> float:
    """Return the ratio of sums, the right rate for predicting a total."""
    units = sum(job.units for job in jobs)
    return sum(of(job) for job in jobs) / units if units else 0.0


def main() -> None:
    """Fit, check and extrapolate the rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    kinds: dict[str, list[JobCost]] = defaultdict(list)
    for root in options.runs:
        for cost in read(root):
            kinds[cost.kind].append(cost)
    print(f"{'':34}{'jobs':>6}{'CPU s a unit':>14}{'bytes a unit':>14}{'left out: model / measured':>30}")
    rates: dict[str, dict[str, float]] = {}
    for kind, jobs in sorted(kinds.items()):
        even = [job for job in jobs if job.seed is not None and job.seed % 2 == 0]
        odd = [job for job in jobs if job.seed is not None and job.seed % 2 == 1]
        check = ""
        if even and odd:
            predicted = rate(even, lambda job: job.seconds) * sum(job.units for job in odd)
            measured = sum(job.seconds for job in odd)
            check = f"{predicted:.1f} / {measured:.1f} s ({100 * (predicted / measured - 1):+.0f} %)"
        rates[kind] = {"seconds": rate(jobs, lambda job: job.seconds), "bytes": rate(jobs, lambda job: float(job.size))}
        fitted = rates[kind]
        print(f"{kind:34}{len(jobs):6}{fitted['seconds']:14.2e}{fitted['bytes']:14.1f}{check:>30}")
    answered = kinds["answer, a new token"]
    length = sum(job.units for job in answered) / sum(job.answers for job in answered)
    judges = [name for name in rates if name.startswith("judge")]
    one = length * rates["answer, a new token"]["seconds"]
    judged = sum(rates[name]["seconds"] for name in judges)
    size = length * rates["answer, a new token"]["bytes"] + sum(rates[name]["bytes"] for name in judges)
    print(
        f"\nA response: {length:.1f} new tokens, {1e3 * one:.2f} CPU ms to answer, {1e3 * judged:.2f} to judge", end=""
    )
    print(f" ({', '.join(judges)}), {size:.0f} bytes kept")
    for label, count in (("100 models x 10 instruments x 5 seeds x 440", 100 * 10 * 5 * 440), ("ten million", 10**7)):
        hours = count * (one + judged) / 3600
        print(f"{label} responses = {count:,}: {hours:.0f} core-hours, {count * size / 2**30:.1f} GiB;", end="")
        print(
            f" an 8B model would take {gpu_hours(8e9, count, Cost()):.0f} GPU-hours to answer (formula, not measured)"
        )
    tunings = kinds.get("tune, a token read", [])
    if tunings:
        mean = sum(job.seconds for job in tunings) / len(tunings)
        print(f"500 tunings as these were, {mean:.1f} CPU s each: {500 * mean / 3600:.1f} core-hours more")
    if options.json:
        options.json.write_text(json.dumps({"rates": rates, "new_tokens": length, "bytes": size}, indent=1) + "\n")


if __name__ == "__main__":
    main()
