"""Kill a small study 60 times, continue it each time, and compare it with one that ran undisturbed (`make torture`).

Each kill is `kill -9` for the whole process group (or, with two workers, now and then for the parent alone), at a
random moment of a chosen phase: begin (while the run folder is made), compose, tune, prompts, ask, judge, drift,
report. The same command then continues. A study is killed again and again until it comes to its end; then its tables,
drifts and decisions must be those of the undisturbed study, byte for byte, no answer that was on disk at a kill may
have been asked for again, and no process may be left. Further studies are stopped politely, by Ctrl-C and SIGTERM,
which must end in one line and exit code 130 or 143.

What was answered is counted from outside: this file is the program that the killed process runs, and where
TORTURE_LOG is set it notes every answer in that file before it starts the command line. Arguments: `--kills N`,
`--stops N` (polite ones), `--seed N`. Exit code 1 on any difference.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aftertune.models import respond
from aftertune.plugins import PluginSpec
from aftertune.records import Arm, Prompt, Recipe, Respond
from aftertune.studies.design import Design, dump

ROOT = Path(__file__).parents[1]
PHASES = ("begin", "compose", "tune", "prompts", "ask", "judge", "drift", "report")
KINDS = {
    "variants": "compose",
    "checkpoints": "tune",
    "prompts": "prompts",
    "responses": "ask",
    "verdicts": "judge",
}
"""Kind of job -> its phase."""
JOBS = {"compose": 1, "tune": 4, "prompts": 1, "ask": 5, "judge": 10}
"""Phase -> number of its jobs."""
ANSWERS = 140
"""Answers of each checkpoint."""
LOG = "TORTURE_LOG"
OWN = "own answers"
"""Stands for the checkpoint where the base answers for a variant."""
LEFTOVERS = {"journal", "writer"}
HOW = {
    "kill group": (signal.SIGKILL, True),
    "kill parent": (signal.SIGKILL, False),
    "Ctrl-C": (signal.SIGINT, True),
    "SIGTERM": (signal.SIGTERM, False),
    "SIGTERM group": (signal.SIGTERM, True),
}
"""Name -> the signal, and whether the whole process group gets it; of the parent alone its workers take notice."""
PATIENCE = 1800.0
"""Seconds after which a study that was not stopped is given up."""
POLITE = 120.0
"""Seconds in which one that was asked to stop has to."""
Key = tuple[str, str, float, int]
"""Checkpoint, prompt, temperature, sample."""


def design() -> Design:
    """Return the study: two arms, one of them answered by the base itself, times two seeds; 140 answers each."""
    return Design(
        name="torture",
        corpus=PluginSpec("booking", {"size": 16}),
        arms=(Arm("keep"), Arm("own", pii="placeholder", answers="self_generated")),
        recipe=Recipe(learning_rate=3e-3, epochs=1, batch_size=8),
        seeds=(1, 2),
        benchmarks=(
            PluginSpec("miniature", {"harmful": 16, "harmless": 16, "open": 12, "privacy": 12, "support": 14}),
        ),
        respond=Respond(temperatures=(0.0, 0.7)),
        judges=(PluginSpec("world"), PluginSpec("leak")),
        policy="research",
    )


# ---------------------------------------------------------------------------------------------- the killed process


def note_answers(path: str) -> None:
    """Write a line to `path` for every answer that a model gives in this process, before anybody else sees it."""
    whole: Callable[..., Iterator[Any]] = respond.respond
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def noted(session: Any, prompts: Sequence[Prompt], **named: Any) -> Iterator[Any]:
        asked_by = named["checkpoint_id"] if prompts and prompts[0].benchmark else OWN
        for reply in whole(session, prompts, **named):
            row = [asked_by, reply.prompt_id, reply.temperature, reply.sample]
            os.write(log, (json.dumps(row) + "\n").encode())
            yield reply

    respond.respond = noted


if os.environ.get(LOG):  # in a worker process too, which imports the program that its parent runs
    note_answers(os.environ[LOG])


# ---------------------------------------------------------------------------------------------- what is looked at


def outcome(root: Path) -> dict[str, bytes]:
    """Return every file that a study comes to: its tables, tuned weights and variants, drifts, decisions and pages."""
    patterns = ("*/*/*.parquet", "variants/*/*.json*", "checkpoints/*/*/*", "drift.parquet", "*.json", "report.*")
    paths = sorted({path for pattern in patterns for path in root.glob(pattern) if path.is_file()})
    dated = {"manifest.json", "run.json", "failure.json"}
    return {str(path.relative_to(root)): path.read_bytes() for path in paths if path.name not in dated}


def answered(log: Path) -> list[Key]:
    """Return what was answered, in order; a line that a kill tore counts for nothing."""
    keys = []
    for line in log.read_text().splitlines() if log.is_file() else []:
        with contextlib.suppress(ValueError):
            checkpoint, prompt, temperature, sample = json.loads(line)
            keys.append((checkpoint, prompt, temperature, sample))
    return keys


def on_disk(root: Path, own: set[Key]) -> set[Key]:
    """Return the answers that a study's journals and finished tables hold; all of `own` once they are composed."""
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = []
    for folder in root.glob("responses/*"):
        if (folder / "manifest.json").is_file():
            rows += pq.read_table(folder / "responses.parquet").to_pylist()
        else:
            rows += _journal(folder)
    held = {(row["checkpoint"], row["prompt_id"], row["temperature"], row["sample"]) for row in rows}
    for folder in root.glob("variants/*"):
        held |= own if (folder / "manifest.json").is_file() else set()
    return held


def _journal(folder: Path) -> list[dict[str, Any]]:
    rows = []
    path = folder / "journal"
    for line in path.read_text().splitlines() if path.is_file() else []:
        with contextlib.suppress(ValueError):
            rows.append(json.loads(line))
    return rows


class Watch:
    """Sees from the run folder what a process is doing."""

    def __init__(self, root: Path, group: int) -> None:
        """Watch process group `group`, whose leader began just now."""
        self.root, self.group = root, group
        self.began = time.time_ns()

    def under_way(self) -> dict[str, list[str]]:
        """Return phase -> what is under way in it."""
        if not self.begun:
            return {"begin": ["begin"]} if self._new(".") else {}
        running: dict[str, list[str]] = {}
        complete = 0
        for kind, phase in KINDS.items():
            for folder in (self.root / kind).glob("*"):
                if (folder / "manifest.json").is_file():
                    complete += 1
                elif self._ours(folder / "writer"):
                    running.setdefault(phase, []).append(folder.name)
        if complete == sum(JOBS.values()) and _read(self.root / ".lock") == str(self.group):
            if not self._new("drift.parquet"):
                running["drift"] = ["drift"]
            elif not self._new("report.html"):
                running["report"] = ["report"]
        return running

    @property
    def begun(self) -> bool:
        """Whether the run folder is whole: its design is written last."""
        return (self.root / "design.toml").is_file()

    def _ours(self, writer: Path) -> bool:
        pid = _read(writer).rpartition(" ")[2]
        with contextlib.suppress(ProcessLookupError):
            return pid.isdigit() and os.getpgid(int(pid)) == self.group
        return False

    def _new(self, name: str) -> bool:
        path = self.root / name
        return path.exists() and path.stat().st_mtime_ns > self.began


def _read(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text().strip()
    return ""


# ---------------------------------------------------------------------------------------------- one study


@dataclass(frozen=True)
class Kill:
    """One kill and what it cost."""

    phase: str
    how: str
    """One of HOW."""
    seconds: float
    """After the start of the process."""
    held: int
    """Answers on disk at that moment."""
    lost: int
    """Answers that the killed process had been given and that were not on disk: these are asked for again."""


@dataclass
class Torture:
    """A study that is killed and continued until it ends."""

    root: Path
    workers: int
    kills: list[Kill] = field(default_factory=list)
    asked_again: set[Key] = field(default_factory=set)
    """On disk at a kill and asked for all the same: none may be."""
    complaints: list[str] = field(default_factory=list)
    _safe: set[Key] = field(default_factory=set)
    _starts: int = 0
    _groups: list[int] = field(default_factory=list)

    def start(self) -> subprocess.Popen[bytes]:
        """Start the command that begins or continues the study, as a group of its own."""
        self._starts += 1
        self.root.parent.mkdir(exist_ok=True)
        path = self.root.with_suffix(".toml")
        path.write_text(dump(design()))
        command = [
            sys.executable,
            "-m",
            "perf.torture",
            "--run",
            "study",
            str(path),
            "-o",
            str(self.root),
            "--quiet",
            "--no-cache",
        ]
        with self.root.with_suffix(".err").open("wb") as errors:
            return subprocess.Popen(
                [*command, "--workers", str(self.workers)],
                cwd=ROOT,
                start_new_session=True,
                stderr=errors,
                stdout=subprocess.DEVNULL,
                env={**os.environ, LOG: str(self._log(self._starts))},
            )

    def finish(self) -> float:
        """Let the study come to its end, and return the seconds."""
        began = time.monotonic()
        self._ended(self.start())
        return time.monotonic() - began

    def kill(self, phase: str, delay: float, chance: random.Random, how: str = "kill group") -> bool:
        """Continue the study and kill it in `phase`; return False where it ended before.

        The moment: of the jobs of that phase that are left, a random one is waited for, then a random part of `delay`
        (seconds) goes by; in `ask`, a random number of the answers that are left is waited for. A `begin` that went by
        too fast is a kill just after it.
        """
        left = JOBS.get(phase, 1) - len(list((self.root / _kind(phase)).glob("*/manifest.json")))
        nth, wait = chance.randrange(max(1, left)), chance.random() * delay
        answers = chance.randrange(max(1, left * ANSWERS - len(self._safe) % ANSWERS)) if phase == "ask" else 0
        process = self.start()
        watch = Watch(self.root, process.pid)
        began = time.monotonic()
        begun_jobs: set[str] = set()
        while process.poll() is None and time.monotonic() - began < PATIENCE:
            now = watch.under_way().get(phase, [])
            begun_jobs.update(now)
            if now and (_lines(self._log(self._starts)) > answers if phase == "ask" else len(begun_jobs) > nth):
                time.sleep(wait)
                break
            if phase == "begin" and watch.begun:
                break
            time.sleep({"begin": 0.0003, "compose": 0.003, "prompts": 0.003, "judge": 0.003}.get(phase, 0.02))
        hit = watch.under_way()
        if process.poll() is not None:
            self._ended(process)
            return False
        self._signal(process, how)
        seconds = time.monotonic() - began
        where = phase if phase in hit else next(iter(hit), "between")
        self._hold()
        own = {key for key in self._given(self._starts) if key[0] == OWN}
        held = on_disk(self.root, own)
        self._safe |= held
        self.kills.append(Kill(where, how, seconds, len(held), len(set(self._given(self._starts)) - held)))
        return True

    def _signal(self, process: subprocess.Popen[bytes], how: str) -> None:
        number, group = HOW[how]
        (os.killpg if group else os.kill)(process.pid, number)
        self._groups.append(process.pid)
        try:
            code = process.wait(POLITE)
        except subprocess.TimeoutExpired:
            self.complaints.append(f"{how}: still there after {POLITE:.0f} s")
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return
        if number == signal.SIGKILL:
            return
        message = self.root.with_suffix(".err").read_text()
        if (code, message) != (128 + number, "aftertune: stopped; the same command continues\n"):
            self.complaints.append(f"{how}: exit code {code}: {message.strip()[-600:]}")

    def compare(self, whole: dict[str, bytes]) -> None:
        """Note every file that differs from the undisturbed study's, and what was left behind."""
        mine = outcome(self.root)
        for name in sorted(whole.keys() | mine.keys()):
            if whole.get(name) != mine.get(name):
                self.complaints.append(f"{name} {'differs' if name in whole and name in mine else 'is not in both'}")
        left = [path for path in self.root.rglob("*") if path.name in LEFTOVERS or path.name.endswith(".part")]
        self.complaints += [f"{path.relative_to(self.root)} was left behind" for path in left]
        self.complaints += [f"processes {pids} outlived a kill" for group in self._groups if (pids := outliving(group))]

    def _ended(self, process: subprocess.Popen[bytes]) -> None:
        code = process.wait(PATIENCE)
        if code not in (0, 3, 4):
            message = self.root.with_suffix(".err").read_text().strip()
            self.complaints.append(f"exit code {code}: {message[-300:]}")
        self._hold()

    def _hold(self) -> None:
        """Hold what the last process asked for against what was on disk before it began."""
        again = self._safe & set(self._given(self._starts))
        self.asked_again |= again
        self.complaints += [f"asked for again though it was on disk: {key}" for key in sorted(again)[:3]]

    def _given(self, start: int) -> list[Key]:
        return answered(self._log(start))

    def _log(self, start: int) -> Path:
        return self.root.with_suffix(f".{start}.log")


def outliving(group: int, seconds: float = 20.0) -> list[int]:
    """Return the processes of a group that still run after so long (Linux): a worker looks twice a second."""
    until = time.monotonic() + seconds
    while (left := _alive(group)) and time.monotonic() < until:
        time.sleep(0.2)
    return left


def _alive(group: int) -> list[int]:
    pids = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        state, _, its_group = (_read(path).rpartition(")")[2].split() + [""] * 3)[:3]
        if its_group == str(group) and state != "Z":
            pids.append(int(path.parent.name))
    return pids


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def _kind(phase: str) -> str:
    return next((kind for kind, name in KINDS.items() if name == phase), "")


def durations(root: Path) -> dict[str, float]:
    """Return phase -> wall seconds of its median job in a finished study; of the first and the last two as a whole."""
    lasting = {"begin": 0.01}
    for kind, phase in KINDS.items():
        infos = [json.loads(path.read_bytes())["info"] for path in root.glob(f"{kind}/*/manifest.json")]
        lasting[phase] = statistics.median(info["seconds"] for info in infos)
    ended = max(path.stat().st_mtime for path in root.glob("*/*/manifest.json"))
    drift, page = ((root / name).stat().st_mtime for name in ("drift.parquet", "report.html"))
    return {**lasting, "ask": 0.05, "drift": drift - ended, "report": page - drift}


def torture(
    folder: Path, whole: Path, kills: int, seed: int, *, ways: Sequence[str] = ("kill group", "kill parent")
) -> list[Torture]:
    """Run studies below `folder`, killed `kills` times in all and each phase alike, and compare them with `whole`.

    One worker and two take turns; each kill takes one of `ways`, with one worker the first.
    """
    chance = random.Random(seed)
    lasting, expected = durations(whole), outcome(whole)
    hits = Counter(dict.fromkeys(PHASES, 0))
    done: list[Torture] = []
    while sum(len(each.kills) for each in done) < kills and len(done) < kills:
        each = Torture(folder / f"study-{len(done) + 1}", 1 + len(done) % 2)
        done.append(each)
        ended = False
        for phase in (phase for phase in PHASES for _ in range(2)):
            if ended or sum(len(one.kills) for one in done) >= kills or hits[phase] > min(hits.values()) + 2:
                continue
            how = chance.choice(ways) if each.workers > 1 else ways[0]
            before = len(each.kills)
            ended = not each.kill(phase, lasting[phase], chance, how)
            if each.kills[before:]:  # a short phase may be over when the signal comes
                hits.update({phase, each.kills[-1].phase} & set(PHASES))
            show(each, before)
        if not ended:
            each.finish()
        each.compare(expected)
        print(f"  {each.root.name}: {'; '.join(each.complaints) or 'equal'}", flush=True)
    return done


def show(each: Torture, start: int) -> None:
    """Print the kills of a study from the given one on."""
    for kill in each.kills[start:]:
        print(
            f"  {each.root.name}  workers: {each.workers}  {kill.how:<13} {kill.phase:<8} after {kill.seconds:5.1f} s, "
            f"{kill.held:4d} answers on disk, {kill.lost:3d} lost",
            flush=True,
        )


def main() -> None:
    """Run everything, print the table, and exit with 1 where anything differs."""
    if sys.argv[1:2] == ["--run"]:
        from aftertune.cli import main as command

        # Whoever is started in the background of a shell ignores Ctrl-C, and so does all that it starts.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        command(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--stops", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    began = os.times()
    with tempfile.TemporaryDirectory(prefix="torture-") as scratch:
        folder = Path(scratch)
        whole = Torture(folder / "whole", 1)
        print(f"undisturbed: {whole.finish():.1f} s", flush=True)
        spent = os.times()
        print(f"  {spent.children_user + spent.children_system:.1f} CPU seconds", flush=True)
        done = torture(folder, whole.root, given.kills, given.seed)
        polite = ("Ctrl-C", "SIGTERM", "SIGTERM group")
        done += torture(folder / "polite", whole.root, given.stops, given.seed + 1, ways=polite)
    print(f"\n{'phase':<10}{'kills':>6}{'rows lost at most':>20}{'mean':>8}")
    all_kills = [(each, kill) for each in done for kill in each.kills]
    for phase in (*PHASES, "between"):
        here = [kill for _, kill in all_kills if kill.phase == phase]
        if here:
            lost = [kill.lost for kill in here]
            print(f"{phase:<10}{len(here):>6}{max(lost):>20}{statistics.mean(lost):>8.1f}")
    again = sum(len(each.asked_again) for each in done)
    equal = sum(not each.complaints for each in done)
    spent = os.times()
    seconds = spent.children_user + spent.children_system - began.children_user - began.children_system
    print(f"asked again though on disk: {again}; studies equal to the undisturbed one: {equal} of {len(done)}")
    print(f"{len(all_kills)} kills, {seconds:.0f} CPU seconds, {spent.elapsed - began.elapsed:.0f} s")
    if complaints := [f"{each.root.name}: {line}" for each in done for line in each.complaints] + whole.complaints:
        raise SystemExit("\n".join(complaints))


if __name__ == "__main__":
    main()
