"""CPU seconds of the commands that need no model, from the start of the process to its end.

Each command runs `--times` times in a process of its own; the table has medians of user and system time, and their
ratio to `python -c 'import numpy'` on the same machine, which another machine can be held against. `--source FOLDER`
measures another checkout; `--run RUN` takes a finished run for `status`, `drift` and `report`. The target is one CPU
second each.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = 1.0
TEXT = "call me on 020 7946 0958, my name is Anna Smith\n"
COMMANDS = {
    "--version": ["--version"],
    "--help": ["--help"],
    "list": ["list"],
    "pii scan FILE": ["pii", "scan", "text.txt"],
    "drift --demo": ["drift", "--demo"],
    "drift NOWHERE": ["drift", "nowhere"],
    "drift --verdicts NOWHERE": ["drift", "--verdicts", "nowhere.csv", "--base", "b", "--tuned", "t"],
    "audit embeded X": ["audit", "embeded", "x"],
    "plan NOWHERE": ["plan", "nowhere.toml"],
    "study BROKEN": ["study", "broken.toml"],
}
WITH_RUN = {"status RUN": ["status"], "drift RUN": ["drift"], "report RUN": ["report"]}


def cpu(command: list[str], folder: Path, source: Path) -> float:
    """Return user and system CPU seconds of a command, those of its children included."""
    before = os.times()
    environment = {**os.environ, "PYTHONPATH": str(source), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    after = os.times()
    return (after.children_user - before.children_user) + (after.children_system - before.children_system)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--source", type=Path, default=ROOT / "src")
    parser.add_argument("--run", type=Path)
    options = parser.parse_args()
    commands = dict(COMMANDS)
    if options.run:
        commands |= {name: [*words, str(options.run.absolute())] for name, words in WITH_RUN.items()}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "text.txt").write_text(TEXT)
        (folder / "broken.toml").write_text("name = ")
        source = options.source.absolute()

        def median(command: list[str]) -> float:
            return statistics.median(cpu(command, folder, source) for _ in range(options.times))

        unit = median([sys.executable, "-c", "import numpy"])
        print(f"{'command':<28} {'CPU s':>6} {'x import numpy':>15}   ({unit:.2f} s)")
        for name, words in commands.items():
            seconds = median([sys.executable, "-m", "aftertune", *words])
            mark = "" if seconds <= TARGET else f"   above {TARGET:g} s"
            print(f"{name:<28} {seconds:>6.2f} {seconds / unit:>15.1f}{mark}")


if __name__ == "__main__":
    main()
