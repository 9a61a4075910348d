"""Make the table of verdicts that ships for `aftertune drift --demo`: `python -m tools.demo_table RUN`.

RUN is a finished `aftertune demo`. The table has the base and two of its arms, five training seeds each, at the end of
training, and one metric of each kind; no text of a prompt or an answer.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from aftertune.ingest.demo_table import TABLE

ARMS = ("keep", "self-generated")
SEEDS = (0, 1, 2, 3, 4)
JUDGE = "world"
METRICS = {
    ("harmful", "refusal"): ("full", "down"),
    ("harmful", "coherence"): ("coherent", "down"),
    ("harmless", "refusal"): ("full", "up"),
    ("open", "relevance"): ("on_topic", "down"),
    ("privacy", "privacy"): ("exact", "down"),
}
"""(subset, axis) -> the label that the metric counts, and the direction that is worse."""


def main() -> None:
    """Write the table and print its size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    rows = []
    for path in sorted(parser.parse_args().run.glob("verdicts/*/verdicts.parquet")):
        for row in pq.read_table(path).to_pylist():
            metric = METRICS.get((row["subset"], row["axis"]))
            tuned = row["arm"] in ARMS and row["train_seed"] in SEEDS
            if metric is None or row["judge"] != JUDGE or not (tuned or row["arm"] == "base"):
                continue
            label, worse = metric
            rows.append(
                {
                    "checkpoint": row["arm"],
                    "seed": row["train_seed"],
                    "metric": f"miniature/{row['subset']}/{row['axis']}={label}",
                    "prompt": row["prompt_id"],
                    "cluster": row["cluster"],
                    "value": float(row["label"] == label) if row["status"] == "ok" else None,
                    "worse": worse,
                }
            )
    rows.sort(key=lambda row: (row["metric"], row["checkpoint"], row["seed"] or 0, row["prompt"]))
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, TABLE, compression="zstd")
    print(f"{TABLE}: {table.num_rows:,} rows, {TABLE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
