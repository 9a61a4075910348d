"""`python -m tools.fit_judges FOLDER [OUT]`: fit the judge `refusal` on public labelled sets and write its weights.

FOLDER holds `xstest/`, `gptfuzz/`, `harmful_prompts/`, `coconot/`, `star/` and `privacy_collapse/` as their publishers
lay them out. OUT is the file to write, by default the one that ships. Run it from the root of the repository.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tools.fit_judges.fit import fit, load, write

from aftertune.judging.judges import _refusal_model as model


def main() -> int:
    """Fit on everything; return the exit code."""
    if len(sys.argv) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    out = Path(sys.argv[2]) if len(sys.argv) == 3 else model.WEIGHTS
    write(fit(load(Path(sys.argv[1])), refusal=True), out)
    print(f"wrote {out} ({out.stat().st_size:,} bytes)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
