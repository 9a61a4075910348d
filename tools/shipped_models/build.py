"""Building a shipped base from its seed, and comparing a rebuild with what ships."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tools.shipped_models.measure import WEIGHTS_FILE, measure, write
from tools.shipped_models.pretrain import UNFINISHED, pretrain
from tools.shipped_models.recipes import RECIPES

from aftertune import shipped_models
from aftertune.errors import UsageError, near
from aftertune.shipped_models.card import Rate, show


def build(name: str, out: Path, *, card: bool = True) -> Path:
    """Train the base `name` from nothing into `out`, measure it and write its card there.

    The budget is in tokens and one thread does the work, so the same machine and versions give the same weights. The
    same command continues an interrupted build at the pass it was in. `card=False` leaves the measurement out.
    Raises UsageError for a name without a recipe, or an `out` in use.
    """
    if name not in RECIPES:
        raise UsageError(f"no embedded model '{name}'{near(name, list(RECIPES))}")
    own = {UNFINISHED, f"{UNFINISHED}.new"}
    if out.exists() and (not out.is_dir() or any(path.name not in own for path in out.iterdir())):
        raise UsageError(f"{out}: exists already; name a new or empty folder")
    pretrain(RECIPES[name], out)
    if card:
        write(measure(out), out)
    return out


def same_weights(name: str, folder: Path) -> bool:
    """Whether a rebuild in `folder` has the very bytes of the shipped base."""
    rebuilt, shipped = (
        hashlib.sha256((path / WEIGHTS_FILE).read_bytes()).hexdigest() for path in (folder, shipped_models.folder(name))
    )
    return rebuilt == shipped


def compare(name: str, folder: Path) -> list[tuple[Rate, Rate]]:
    """Measure a rebuild; return each shipped rate with the rebuilt one, those after a tuning left out."""
    rebuilt = {rate.name: rate for rate in measure(folder).results}
    return [(rate, rebuilt[rate.name]) for rate in show(name).results if rate.name in rebuilt]
