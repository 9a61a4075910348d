"""How well a run's estimate of its own end holds: `python perf/eta.py [RUN...]`.

Replays the log of a finished run: at each tenth of its time the estimate is made from what the log held by then, and
compared with what was really left. The target is an error of 20 % of the time left from the first tenth on. Without an
argument the quick demo is run first.
"""

from __future__ import annotations

import datetime
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from aftertune.run import progress, time_left
from aftertune.run.run_folder import Run
from aftertune.studies import stored


def replay(root: Path) -> list[tuple[float, float, float | None]]:
    """Return (share of the run's time, seconds left, seconds estimated) at each tenth of the last whole session.

    Raises SystemExit where the log has no session from the first job to the end.
    """
    jobs = {f"{job.kind}/{job.id}": job for job in stored.read(Run.open(root)).jobs}
    session = _session(root, len(jobs))
    start, end = _when(session[0]), _when(session[-1])
    estimates = []
    for tenth in range(1, 10):
        now = start + (end - start) * tenth / 10
        took: list[time_left.FinishedJob] = []
        running: dict[str, float] = {}
        parts: dict[str, time_left.PartDone] = {}
        deciding = None
        for event in session:
            if _when(event) > now:
                break
            if event["event"] == progress.DECIDING:
                deciding = now - _when(event)
            job = jobs.get(event.get("job", ""))
            if job is None:
                continue
            if event["event"] == progress.JOB_BEGUN:
                running[job.id] = now - _when(event)
            elif event["event"] == progress.JOB_PROGRESS:
                counts = progress.counts_of(event, _when(event))
                if counts.share:
                    parts[job.id] = time_left.PartDone(counts.share, counts.work_seconds, now - counts.when)
            elif event["event"] == progress.JOB_DONE:
                del running[job.id]
                parts.pop(job.id, None)
                last = _when(event)
                cpu = event.get("cpu_seconds") or progress.spent(root, job)["cpu_seconds"]
                took.append(time_left.FinishedJob(job, last - event["seconds"], last, event["start_seconds"], cpu))
        left = time_left.remaining(list(jobs.values()), took, running, session[0]["workers"], deciding, parts)
        estimates.append((tenth / 10, end - now, left))
    return estimates


def _session(root: Path, jobs: int) -> list[dict[str, Any]]:
    """Return the events of the last session that did every job and came to its end."""
    sessions: list[list[dict[str, Any]]] = []
    for line in (root / progress.LOG).read_text().splitlines():
        event = json.loads(line)
        if event["event"] == progress.RUN_BEGUN:
            sessions.append([])
        sessions[-1].append(event)
    for session in reversed(sessions):
        done = sum(event["event"] == progress.JOB_DONE for event in session)
        if (session[0]["waiting"], done) == (jobs, jobs) and session[-1]["event"] == progress.RUN_DONE:
            return list(session)
    raise SystemExit(f"{root}: its log holds no session from the first job to the end")


def _when(event: dict[str, Any]) -> float:
    return datetime.datetime.fromisoformat(event["time"]).timestamp()


def show(root: Path) -> None:
    """Print a run's table."""
    print(f"{root.name}\n  time   left s  estimated s   error")
    for share, left, estimate in replay(root):
        error = "      " if estimate is None else f"{100 * (estimate - left) / left:+5.0f} %"
        print(f"  {share:4.0%} {left:8.1f} {'unknown' if estimate is None else f'{estimate:8.1f}':>12}  {error}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        for name in sys.argv[1:]:
            show(Path(name))
    else:
        from aftertune.commands import demo

        with tempfile.TemporaryDirectory() as folder:
            demo.demo(Path(folder) / "demo", quick=True, cache=False)
            show(Path(folder) / "demo")
