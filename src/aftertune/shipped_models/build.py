"""Building an embedded base from its seed: pretraining, then its card."""

from __future__ import annotations

from pathlib import Path

from aftertune.errors import UsageError
from aftertune.shipped_models.recipe import RECIPES, UNFINISHED


def build(name: str, out: Path, *, card: bool = True) -> Path:
    """Train the base ``name`` from nothing into ``out`` and measure its card there.

    The budget is in tokens and one thread does the work, so the same machine and versions give the same weights.
    A build that was ended is continued by the same command at the pass it was in. ``card=False`` leaves the
    measurement out. Raises UsageError for a name that is no recipe, or an ``out`` in use.
    """
    if name not in RECIPES:
        raise UsageError(f"no embedded model '{name}' (known: {', '.join(RECIPES)})")
    own = {UNFINISHED, f"{UNFINISHED}.new"}
    if out.exists() and (not out.is_dir() or any(path.name not in own for path in out.iterdir())):
        raise UsageError(f"{out}: exists already; name a new or empty folder")

    from aftertune.shipped_models.card import measure, write
    from aftertune.shipped_models.pretrain import pretrain

    pretrain(RECIPES[name], out)
    if card:
        write(measure(out), out)
    return out
