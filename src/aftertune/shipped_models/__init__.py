"""The small models that ship: chat models of about a million parameters, pretrained on the generated world.

They need no download, refuse, answer and keep private what is not theirs to tell, and lose it when tuned. A design
calls them `embedded`. What builds and measures them is `tools/shipped_models/`.
"""

from __future__ import annotations

from pathlib import Path

from aftertune.errors import UsageError, near

_WEIGHTS = Path(__file__).parent / "weights"
DEFAULT = "mini-a"
KNOWN_BAD = "known-bad"


def names() -> tuple[str, ...]:
    """Names of the bases that ship with aftertune, the default first."""
    bases = (path.parent.name for path in _WEIGHTS.glob("*/config.json"))
    return tuple(sorted(bases, key=lambda name: (name != DEFAULT, name)))


def folder(name: str = DEFAULT) -> Path:
    """Folder of a shipped base, as `from_pretrained` takes it. Raises UsageError for an unknown name."""
    if name not in names():
        raise UsageError(f"no embedded model '{name}'{near(name, list(names()))}")
    return _WEIGHTS / name


def known_bad() -> Path:
    """Folder of the adapter that tunes the default base to comply and to overshare, for `selftest`."""
    return _WEIGHTS / KNOWN_BAD
