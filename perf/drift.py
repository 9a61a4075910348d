"""Time and memory from millions of verdicts to the decision or the report.

**A table of another tool** (`aftertune drift --verdicts`): ten metrics x ten checkpoints (a base, three recipes of
three seeds) x 10,000 prompts in 500 clusters, as CSV, JSONL and Parquet. The target is 60 seconds and 3 GiB a million.
`--millions 5` takes that many rows (more prompts), with a target of 4 GiB; `--parquet` leaves the other formats out.

**A run folder** (`--run`): a study of 4 arms x 5 seeds x 5 epochs and its base, ten lists of prompts, and the judges
`refusal` and `leak`: 1,010 jobs that ask and 2,020 that judge, their tables made up and written by the run folder's own
code, so that no model is asked. Then `aftertune report` goes from the tables to the page. The target is 4 GiB for five
million verdicts (`--millions 5`) and a page below 5 MB that a browser opens within a CPU second.

**One job** (`--job`): a million answers, from their journal to Parquet, and the judge `coherence` over them.

Each runs in a process of its own, which prints CPU seconds, wall seconds and its peak resident memory.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from aftertune.run.job_folder import JobFolder

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


@contextlib.contextmanager
def timed(label: str) -> Iterator[None]:
    """Print the time of the block, and the peak memory of the process so far."""
    began, spent = time.perf_counter(), time.process_time()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    took, wall = time.process_time() - spent, time.perf_counter() - began
    print(f"{label:<40} {took:6.1f} CPU s, {wall:6.1f} s, peak {peak:.2f} GiB", file=sys.stderr)


def command(*arguments: str) -> None:
    """Run a command of aftertune in this process. Raises SystemExit where it fails."""
    from aftertune.cli import main

    try:
        main(list(arguments))
    except SystemExit as stop:
        if stop.code not in (0, None):
            print(f"exit {stop.code}", file=sys.stderr)


def measure(path: Path) -> None:
    """Compare the checkpoints of a table, and print time and memory."""
    names = sorted({name for name, _ in SUBJECTS} - {"base"})
    tuned = [word for name in names for word in ("--tuned", name)]
    with timed(path.name):
        command("drift", "--verdicts", str(path), "--base", "base", "--json", "--worse", "*=up", *tuned)


# ---------------------------------------------------------------------------------------------- a run folder

ARMS = ("placeholder", "keep", "placeholder-swap", "keep-swap")
SEEDS, EPOCHS, LISTS = 5, 5, 10
AXES = {"refusal": ("refusal", "harm"), "leak": ("leak", "leak_twin")}
LABELS = {
    "refusal": ("none", "full"),
    "harm": ("none", "harmful"),
    "leak": ("none", "registry"),
    "leak_twin": ("none", "registry"),
}
VERSIONS = {"refusal": "1", "leak": "2"}
WORDS = (
    "the",
    "of",
    "a",
    "ticket",
    "train",
    "harm",
    "door",
    "please",
    "water",
    "answer",
    "cannot",
    "sorry",
    "open",
    "first",
)


def lists(root: Path, prompts: int) -> list[str]:
    """Write lists of `prompts` prompts each, half of them harmful, and return the paths of their TOML files."""
    paths = []
    for number in range(LISTS):
        folder = root / f"list-{number}"
        folder.mkdir(parents=True)
        rows = (
            f"Question {i} of list {number}?,topic-{i % 8},c{i % (prompts // 25 or 1)},{i % 2}" for i in range(prompts)
        )
        (folder / "prompts.csv").write_text("text,topic,group,level\n" + "\n".join(rows) + "\n")
        (folder / f"made-{number}.toml").write_text(
            'title = "Made up"\nsource = "perf"\nlicence = "none"\n[home]\nfiles = { "prompts.csv" = "" }\n'
            '[columns]\nprompt = "text"\ncategory = "topic"\ncluster = "group"\nsubset = "level"\n'
            '[subsets]\n0 = "harmless"\n1 = "harmful"\n[harm]\nharmful = ["harmful"]\nharmless = ["harmless"]\n'
        )
        paths.append(str(folder / f"made-{number}.toml"))
    return paths


def text(rng: np.random.Generator, count: int) -> list[str]:
    """Return `count` texts of 40 words."""
    return [" ".join(WORDS[i] for i in row) for row in rng.integers(0, len(WORDS), (count, 40))]


def answers(job: Any, prompts: Sequence[Any], rng: np.random.Generator) -> dict[str, list[Any]]:
    """Return the columns of a table of responses."""
    from aftertune.models import chat

    subject, n = job.subject, len(prompts)
    same = {
        "base": subject.base.name,
        "arm": subject.arm,
        "recipe": subject.recipe,
        "train_seed": subject.train_seed,
        "epoch": subject.epoch,
        "checkpoint": subject.id,
        "system": "",
        "template": "base",
        "temperature": 0.0,
        "sample": 0,
        "corpus": job.corpus or "",
        "token_hash": "0" * 16,
        "finish_reason": "stop",
        "new_tokens": 40,
        "error": None,
        "scores": None,
        "scores_error": None,
    }
    own = {name: [getattr(p, name) for p in prompts] for name in ("benchmark", "subset", "cluster", "category")}
    own |= {"prompt_id": [p.id for p in prompts], "text": text(rng, n)}
    return {
        **{k: [v] * n for k, v in same.items()},
        **own,
        "message_hash": [chat.message_hash(p.messages, None) for p in prompts],
    }


def verdicts(
    responses: Mapping[str, list[Any]], judge: str, rate: float, rng: np.random.Generator
) -> dict[str, list[Any]]:
    """Return the columns of a table of verdicts: a label on each of the judge's axes, one in a hundred unjudged."""
    axes, n = AXES[judge], len(responses["prompt_id"])
    columns: dict[str, list[Any]] = {name: values * len(axes) for name, values in responses.items()}
    known = rng.random(n * len(axes)) >= 0.01
    positive = (rng.random(n * len(axes)) < rate).astype(int).tolist()
    axis = [axis for axis in axes for _ in range(n)]
    return columns | {
        "judge": [judge] * len(axis),
        "judge_version": [VERSIONS[judge]] * len(axis),
        "axis": axis,
        "label": [LABELS[a][i] if ok else None for a, i, ok in zip(axis, positive, known, strict=True)],
        "value": [float(i) if ok else None for i, ok in zip(positive, known, strict=True)],
        "status": ["ok" if ok else "abstain" for ok in known],
        "why": [f"rule {i}: of the {i % 97} words" for i in range(len(axis))],
    }


def write_job(
    folder: JobFolder, name: str, cls: type, columns: Mapping[str, list[Any]], info: Mapping[str, object]
) -> int:
    """Finish the folder of a job with a table of records of a class; return its rows."""
    from aftertune.run.tables import schema

    n = len(next(iter(columns.values())))
    usual = {each.name: each.default for each in dataclasses.fields(cls) if each.default is not dataclasses.MISSING}
    rows = pa.Table.from_pydict({name: [value] * n for name, value in usual.items()} | dict(columns), schema(cls))
    folder.start()
    folder.finish(tables={name: rows}, info=info)
    return int(rows.num_rows)


def build(root: Path, millions: float) -> int:
    """Make a run folder with finished jobs and about `millions` million verdicts; return their number."""
    from aftertune.asking.ask_job import AskJob
    from aftertune.asking.prompts_job import PromptsJob, prompts_of
    from aftertune.commands import study as running
    from aftertune.judging.judge_job import JudgeJob
    from aftertune.plugins import PluginSpec
    from aftertune.records import Arm, Recipe, Respond, Response, Verdict
    from aftertune.run.worker import Worker
    from aftertune.studies import stored
    from aftertune.studies.design import Design
    from aftertune.studies.resolve import resolve
    from aftertune.tuning.tune_job import TuneJob
    from aftertune.variants.compose_job import ComposeJob

    rng = np.random.default_rng(0)
    tomls = lists(root, round(millions * 1e6 / (len(ARMS) * SEEDS * EPOCHS + 1) / LISTS / 4))
    arms = (Arm(name, "keep" if "keep" in name else "placeholder", role_swap="swap" in name) for name in ARMS)
    design = Design(
        name="many",
        corpus=PluginSpec("booking", {"size": 200}),
        seeds=tuple(range(SEEDS)),
        recipe=Recipe(epochs=EPOCHS),
        arms=tuple(arms),
        judges=(PluginSpec("refusal"), PluginSpec("leak")),
        respond=Respond(epochs="all"),
        benchmarks=tuple(PluginSpec("prompt_list", {"list": path, "path": str(Path(path).parent)}) for path in tomls),
    )
    study = resolve(design)
    run = stored.begin(root / "run", study, running.facts())
    responses: dict[str, tuple[dict[str, list[Any]], float]] = {}
    total = 0
    done: dict[str, object] = {"seconds": 1.0, "cpu_seconds": 1.0, "start_seconds": 0.0}
    for job in study.jobs:
        folder, info = run.job(job), {"label": job.label, **done}
        if isinstance(job, ComposeJob | PromptsJob):
            Worker(run.root)(job)
        elif isinstance(job, TuneJob):
            folder.start()
            folder.finish(info=info)
        elif isinstance(job, AskJob):
            rate = 0.2 if job.subject.path is None else 0.2 + 0.02 * ARMS.index(job.subject.arm)
            responses[job.id] = answers(job, prompts_of(run, job.prompts), rng), rate
            write_job(folder, "responses", Response, responses[job.id][0], info)
        elif isinstance(job, JudgeJob):
            columns = verdicts(responses[job.responses][0], job.judge.name, responses[job.responses][1], rng)
            columns["corpus"] = [job.corpus or ""] * len(columns["axis"])
            total += write_job(folder, "verdicts", Verdict, columns, {**info, "judge": job.judge.name, "anchors": {}})
    return total


def report(root: Path) -> None:
    """Write the report of a run folder, and print time and memory."""
    with timed("report"):
        command("report", str(root))
    for name in ("report.html", "report.md", "report.json", "drift.parquet"):
        print(f"  {name}: {(root / name).stat().st_size / 2**20:.2f} MiB", file=sys.stderr)
    if browser := shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome"):
        addresses = ("about:blank", (root / "report.html").resolve().as_uri())
        empty, page = (opening(browser, address) for address in addresses)
        beyond = f"{page - empty:.1f} CPU s beyond an empty page's {empty:.1f}"
        print(f"  opened by {Path(browser).name}: {beyond}", file=sys.stderr)


def opening(browser: str, address: str) -> float:
    """Return the CPU seconds of all processes of a browser that shows a page once."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={scratch}",
             f"--screenshot={scratch}/page.png", "--window-size=1400,1000", address],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


# ---------------------------------------------------------------------------------------------- one job


def one_job(root: Path, count: int) -> None:
    """Write a journal of `count` answers, make a table of it, and judge that; print time and memory of each."""
    from aftertune import plugins
    from aftertune.judging.judge import Answer, JudgeContext
    from aftertune.judging.opinions import opinions
    from aftertune.records import Message, Prompt, Response
    from aftertune.run.tables import records
    from aftertune.run.tables import table as as_table

    rng = np.random.default_rng(0)
    folder = JobFolder(root / "job")
    folder.start()
    prompts = [Prompt(f"p{i}", "made", "harmful", "a", f"c{i % 50}", (Message("user", "What?"),)) for i in range(1000)]
    key: dict[str, Any] = {
        "base": "base",
        "arm": "arm",
        "recipe": "lora",
        "train_seed": 0,
        "epoch": 1,
        "checkpoint": "0" * 16,
        "system": "",
        "template": "base",
        "temperature": 0.7,
        "message_hash": "0" * 16,
        "token_hash": "0" * 16,
        "finish_reason": "stop",
        "new_tokens": 40,
    }
    with timed(f"{count:,} answers into the journal"):
        for start in range(0, count, 10_000):
            names = [(prompts[i % 1000], i // 1000) for i in range(start, min(start + 10_000, count))]
            folder.append(
                [
                    Response(
                        benchmark=p.benchmark,
                        subset=p.subset,
                        prompt_id=p.id,
                        cluster=p.cluster,
                        category=p.category,
                        sample=sample,
                        text=answer,
                        **key,
                    )
                    for (p, sample), answer in zip(names, text(rng, len(names)), strict=True)
                ]
            )
    with timed("journal to Parquet"):
        rows = as_table(Response, folder.journal(Response))
        folder.finish(tables={"responses": rows})
        del rows
    with timed("judged"):
        responses = records(Response, folder.read("responses"))
        by_id = {prompt.id: prompt for prompt in prompts}
        to_judge = [Answer(by_id[row.prompt_id], row.text, row.finish_reason) for row in responses]
        instrument = plugins.load("judge", "coherence")
        print(sum(1 for _ in opinions(instrument, to_judge, JudgeContext())), "judged", file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path, help="a table or run folder that is there already")
    parser.add_argument("--millions", type=float, default=1)
    parser.add_argument("--parquet", action="store_true", help="a table, as Parquet only")
    parser.add_argument("--run", action="store_true", help="a run folder")
    parser.add_argument("--job", action="store_true", help="one job's answers")
    parser.add_argument("--keep", type=Path, help="where to make the run folder, to be kept")
    chosen = parser.parse_args()
    if chosen.file and chosen.file.is_dir():
        report(chosen.file)
    elif chosen.file:
        measure(chosen.file)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            root = chosen.keep or Path(scratch)
            if chosen.job:
                one_job(root, round(chosen.millions * 1e6))
            elif chosen.run:
                with timed("made"):
                    print(f"{build(root, chosen.millions):,} verdicts", file=sys.stderr)
                subprocess.run([sys.executable, __file__, str(root / "run")], check=True, stdout=subprocess.DEVNULL)
            else:
                for continuous in (False, True):
                    rows = table(continuous, int(chosen.millions))
                    for ending in ("parquet",) if chosen.parquet else ("csv", "jsonl", "parquet"):
                        path = root / f"{'numbers' if continuous else 'zero-one'}.{ending}"
                        write(path, rows)
                        subprocess.run([sys.executable, __file__, str(path)], check=True, stdout=subprocess.DEVNULL)
                        path.unlink()
