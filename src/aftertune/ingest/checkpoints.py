"""The list of checkpoints of an audit: CSV or JSONL with `path`, and optionally `arm, recipe, seed, epoch`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from aftertune.data import table_files as rows
from aftertune.errors import DataError, near
from aftertune.studies.design import Given

_COLUMNS = ("path", "arm", "recipe", "seed", "epoch")


def read(path: Path) -> list[Given]:
    """Return the checkpoints of a list; a relative path is relative to the folder of the list, if it exists there.

    Raises UsageError or DataError naming file, line and column.
    """
    checkpoints = []
    for line, row in rows.read(path, ("path",)):
        where = f"{path}:{line}"
        for key in row:
            if key not in _COLUMNS:
                raise DataError(f"{where}: unknown column '{key}'{near(str(key), list(_COLUMNS))}")
        name = str(row["path"] or "")
        if not name:
            raise DataError(f"{where}: path is empty")
        checkpoints.append(
            Given(
                path=_found(path.parent, name),
                arm=str(row.get("arm") or ""),
                recipe=str(row.get("recipe") or "given"),
                seed=_number(row.get("seed"), where, "seed"),
                epoch=_number(row.get("epoch"), where, "epoch"),
            )
        )
    return checkpoints


def _found(folder: Path, name: str) -> str:
    """Return the path of a checkpoint beside the list, or the name where there is none."""
    try:
        beside = folder / Path(name).expanduser()
        return str(beside) if beside.exists() else name
    except (OSError, RuntimeError):  # too long for a path; the home of nobody
        return name


def _number(value: Any, where: str, column: str) -> int | None:
    if value in (None, ""):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    # Python also reads "1_0" and the digits of other scripts, and cuts 1.5 to 1; in a list that is a typing error.
    if not re.fullmatch(r"\s*[-+]?[0-9]{1,19}\s*", str(value)) or abs(int(value)) >= 2**63:
        raise DataError(f"{where}: {column} = '{str(value)[:40]}' is not a whole number")
    return int(value)
