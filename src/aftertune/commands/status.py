"""Where a run stands (`aftertune status`), also one that another process works on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aftertune.errors import StoreError
from aftertune.files import holder
from aftertune.run import checksums, progress
from aftertune.run.run_folder import Run
from aftertune.studies import stored


def status(root: Path) -> dict[str, Any]:
    """Return where a run stands.

    `jobs`: kind -> jobs in all, done, running and waiting, seconds by the clock and CPU seconds of those done;
    `running`: labels, and how far each job is; `progress`: the same in numbers; `seconds_left`, None while nobody
    works on it or nothing is known yet; `process` that works on it; `last_failure`: the last job that failed and is
    not done since; `outcome`.
    """
    run = Run.open(root)
    study = stored.read(run)
    process = holder(root)
    complete = {job.id for job in study.jobs if run.job(job).complete}
    now = progress.RunFollower(root, study.jobs, complete).status()
    failed = progress.failure(root)
    if failed is not None and str(failed.get("job", "")).rpartition("/")[2] in complete:
        failed = None
    kinds = {
        row.kind: {
            "jobs": row.jobs,
            "done": row.done,
            "running": row.running if process else 0,
            "waiting": row.waiting if process else row.jobs - row.done,
            "seconds": row.seconds,
            "cpu_seconds": row.cpu_seconds,
        }
        for row in now.rows
    }
    return {
        "name": study.design.name,
        "kind": study.design.kind,
        "jobs": kinds,
        "running": list(now.running) if process else [],
        "progress": [
            {
                "label": each.label,
                "done": each.done,
                "of": each.of,
                "unit": each.unit,
                "tokens": each.tokens,
                "share": each.share,
            }
            for each in now.counts
        ]
        if process
        else [],
        "seconds_left": now.left if process else None,
        "process": process,
        "last_failure": failed,
        "outcome": _outcome(root, process),
    }


def _outcome(root: Path, process: str | None) -> str | None:
    decisions = root / "decisions.json"
    if not decisions.is_file():
        return None
    try:
        if process is None:  # else it may be making them anew
            checksums.check(root, decisions.name)
        return str(json.loads(decisions.read_bytes())["outcome"])
    except (ValueError, KeyError, TypeError):
        raise StoreError(f"{decisions}: damaged; `aftertune drift {root}` makes it again") from None
