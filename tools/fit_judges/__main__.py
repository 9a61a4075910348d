"""`python -m tools.fit_judges FOLDER JUDGE [OUT]`: fit a judge on public labelled sets and write its weights.

JUDGE is `refusal`, `guard` or `toxicity`; the last two need the sentence encoder all-MiniLM-L6-v2. FOLDER holds the
sets as their publishers lay them out: `xstest/`, `gptfuzz/`, `harmful_prompts/`, `coconot/`, `star/` and
`privacy_collapse/`; for the last two also `jailbreak_evaluation/`, `jailbreakbench/`, `hh_rlhf/`, `diasafety/`,
`openai_moderation/` and `davidson/`. OUT is the file to write, by default the one that ships. Run it from the root of
the repository.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from tools.fit_judges import answer_sets, heads
from tools.fit_judges.fit import fit, load, write

from aftertune.judging.judges import _refusal_model as model
from aftertune.judging.judges import guard, toxicity
from aftertune.models import sentence_encoder


def main() -> int:
    """Fit on everything; return the exit code."""
    if len(sys.argv) not in (3, 4) or sys.argv[2] not in SHIPPED:
        print(__doc__, file=sys.stderr)
        return 2
    folder, judge = Path(sys.argv[1]), sys.argv[2]
    out = Path(sys.argv[3]) if len(sys.argv) == 4 else SHIPPED[judge]
    if judge == "refusal":
        write(fit(load(folder), refusal=True), out)
    else:
        rows = answer_sets.toxic(folder) if judge == "toxicity" else answer_sets.load(folder)
        everything = np.ones(len(rows), bool)
        with tempfile.TemporaryDirectory() as scratch:
            encoded = heads.encode(sentence_encoder.find(), rows, Path(scratch))
            if judge == "toxicity":
                heads.write(heads.fit_toxicity(encoded, rows, everything), out)
            else:
                heads.write(heads.fit(encoded, rows, everything, heads.AXES), out)
    print(f"wrote {out} ({out.stat().st_size:,} bytes)")
    return 0


SHIPPED = {"refusal": model.WEIGHTS, "guard": guard.HEADS, "toxicity": toxicity.HEADS}

if __name__ == "__main__":
    sys.exit(main())
