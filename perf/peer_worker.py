"""Ask one peer about tables, inside the peers' own environment: `python perf/peer_worker.py NAME TABLES.npz`.

It is run by `perf/peers.py` and imports nothing of aftertune. For each scenario it prints in how many tables the peer
says that something changed, and what it says of a base against itself.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

Says = Callable[[Any, Any, Any], bool]
"""(base, tuned, clusters or None; one number per prompt) -> whether the peer says that something changed."""


def evalsig(clustered: bool) -> Says:
    """`compare`, two-sided at 5 %; with `cluster=` where its user names the column, which it does not do by itself."""
    from evalsig import compare
    from evalsig.types import ItemResult, RunFrame

    def frame(name: str, values: Any, clusters: Any) -> Any:
        ids = [None] * len(values) if clusters is None else [str(each) for each in clusters]
        items = [ItemResult(str(at), float(value), ids[at]) for at, value in enumerate(values)]
        return RunFrame(name, name, "task", "refused", items)

    def says(base: Any, tuned: Any, clusters: Any) -> bool:
        column = "category" if clustered and clusters is not None else None
        return bool(compare(frame("a", base, clusters), frame("b", tuned, clusters), cluster=column).significant)

    return says


def evalsig_gate(base: Any) -> str:
    """`gate` with a smallest improvement of one point."""
    from evalsig.compare.gate import gate
    from evalsig.types import ItemResult, RunFrame

    items = [ItemResult(str(at), float(value)) for at, value in enumerate(base)]
    frames = [RunFrame(name, name, "task", "refused", items) for name in ("a", "b")]
    return str(gate(*frames, min_delta=0.01).verdict.value)


def nemo(base: Any, tuned: Any, clusters: Any) -> bool:
    """The interval that its gate decides by; it takes the category of each problem as a cluster where all have one."""
    from nemo_evaluator.engine.gate import _paired_delta_ci

    names = None if clusters is None else [str(each) for each in clusters]
    low, high = _paired_delta_ci([float(each) for each in tuned - base], clusters=names)
    return bool(low is not None and high is not None and (low > 0 or high < 0))


def modeldiffr(base: Any, tuned: Any, _: Any) -> bool:
    """`paired_bootstrap` as an audit calls it; it takes no clusters."""
    from modeldiffr import paired_bootstrap

    return bool(paired_bootstrap([float(x) for x in base], [float(x) for x in tuned], n_resamples=2000)["significant"])


def main() -> None:
    """Print {scenario: alarms} and what is said of a base against itself, as JSON."""
    name, path, most = sys.argv[1], sys.argv[2], int(sys.argv[3])
    makers: dict[str, Callable[[], Says]] = {
        "evalsig": lambda: evalsig(False),
        "evalsig with clusters": lambda: evalsig(True),
        "nemo-evaluator": lambda: nemo,
        "modeldiffr": lambda: modeldiffr,
    }
    says = makers[name]()
    tables = np.load(path)
    alarms: dict[str, Any] = {}
    for scenario in sorted({key.split("|")[0] for key in tables.files}):
        base, tuned, clusters = (tables[f"{scenario}|{part}"] for part in ("base", "tuned", "clusters"))
        known = clusters if len(set(clusters.tolist())) < len(clusters) else None
        count = min(most, len(base))
        # Of several seeds a peer gets what its user has: each prompt's mean over the tunings.
        alarms[scenario] = [sum(says(base[at], tuned[at].mean(axis=0), known) for at in range(count)), count]
    first = tables[f"{scenario}|base"][0]
    itself = "changed" if says(first, first, None) else "no change"
    if name.startswith("evalsig"):
        itself = f"compare: {itself}; gate: {evalsig_gate(first)}"
    print(json.dumps({"alarms": alarms, "itself": itself}))


if __name__ == "__main__":
    main()
