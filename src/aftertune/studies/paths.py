"""Files and models that a person names in another file, seen from there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aftertune import plugins

NAMED = ("path", "against", "list", "model", "rubric")
"""Parameters of plugins that may name a file or folder."""


def beside(folder: Path, name: str) -> str:
    """Return the absolute path of what stands in or below a folder under a name, else the name as it is."""
    there = folder / Path(name).expanduser()
    named = not name or name.split(":")[0] == "embedded"
    return str(there.absolute()) if not named and there.exists() else name


def of_plugin(parameters: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """Return a plugin's parameters with its files made absolute; a bundled list is no file, a server's name no path.

    Raises UsageError for a backend of an unknown name.
    """
    served = plugins.is_server(parameters.get("backend"))
    return {
        key: beside(folder, value)
        if key in NAMED and isinstance(value, str) and not (served and key == "model")
        else value
        for key, value in parameters.items()
    }
