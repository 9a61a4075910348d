"""The embedded bases: chat models of about a million parameters, pretrained by this project on a generated world.

They need no download, refuse, answer and keep private what is not theirs to tell, and lose it when tuned.
"""

from __future__ import annotations

from pathlib import Path

from aftertune.errors import UsageError
from aftertune.shipped_models.recipe import DEFAULT, RECIPES

_WEIGHTS = Path(__file__).parent / "weights"
KNOWN_BAD = "known-bad"


def names() -> tuple[str, ...]:
    """Names of the bases that ship with aftertune, the default first."""
    shipped = [name for name in RECIPES if (_WEIGHTS / name / "config.json").is_file()]
    return tuple(sorted(shipped, key=lambda name: (name != DEFAULT, name)))


def folder(name: str = DEFAULT) -> Path:
    """Folder of a shipped base, as ``from_pretrained`` takes it. Raises UsageError for a name that is none."""
    if name not in names():
        raise UsageError(f"no embedded model '{name}' (known: {', '.join(names())}): build it with "
                         f"`aftertune embedded build {name} -o FOLDER`")  # fmt: skip
    return _WEIGHTS / name


def known_bad() -> Path:
    """Folder of the adapter of the default base that is tuned to comply and to overshare, for ``selftest``."""
    return _WEIGHTS / KNOWN_BAD
