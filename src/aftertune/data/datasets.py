"""Where a public data set comes from, and where it lies on this machine once `aftertune fetch` has brought it."""

from __future__ import annotations

import hashlib
import json
import os
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aftertune.errors import DataError

RECORD = "fetched.json"
"""Written last into a data set's folder: file -> its URL, SHA-256 and bytes. What is not in it was not fetched."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a data set, at its home."""

    name: str
    """Its name on this machine, with folders where the home has files of one name in several."""
    url: str
    """With the revision in it."""
    sha256: str = ""
    """Of the content that was read when this was written; empty where nobody has: the first fetch is trusted, and its
    hash recorded."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Where a data set, or one variant of it, comes from."""

    page: str
    """For people."""
    licence: str
    files: tuple[RemoteFile, ...]
    access: str = ""
    """How to get access; empty where anybody may fetch it."""


def github(repository: str, revision: str, files: Mapping[str, str], licence: str, access: str = "") -> Dataset:
    """Return the home of files (path -> SHA-256, empty where unknown) of a GitHub repository at a revision."""
    root = f"https://raw.githubusercontent.com/{repository}/{revision}"
    return Dataset(f"https://github.com/{repository}", licence, _remote(root, files), access)


def hub(repository: str, revision: str, files: Mapping[str, str], licence: str, access: str = "") -> Dataset:
    """Return the home of files (path -> SHA-256, empty where unknown) of a data set on the Hugging Face hub."""
    page = f"https://huggingface.co/datasets/{repository}"
    return Dataset(page, licence, _remote(f"{page}/resolve/{revision}", files), access)


def _remote(root: str, files: Mapping[str, str]) -> tuple[RemoteFile, ...]:
    short = [path.rpartition("/")[2] for path in files]
    alone = len(set(short)) == len(short)
    return tuple(
        RemoteFile(name if alone else path, f"{root}/{urllib.parse.quote(path)}", digest)
        for name, (path, digest) in zip(short, files.items(), strict=True)
    )


def hub_split(repository: str, config: str, split: str, licence: str, access: str = "") -> Dataset:
    """Return the home of one split of any hub data set: the Parquet file that the hub itself keeps of it."""
    page = f"https://huggingface.co/datasets/{repository}"
    url = f"{page}/resolve/refs%2Fconvert%2Fparquet/{config}/{split}/0000.parquet"
    return Dataset(page, licence, (RemoteFile(f"{split}.parquet", url),), access)


def gated(page: str) -> str:
    """Return how to get access to a gated hub data set."""
    return f"log in at {page}, accept its terms, make a read token, and set HF_TOKEN to it"


# ---------------------------------------------------------------------------------------------- this machine


def cache() -> Path:
    """Return the folder of everything fetched: the variable AFTERTUNE_CACHE, else `~/.cache/aftertune`."""
    given = os.environ.get("AFTERTUNE_CACHE", "").strip()
    return Path(given).expanduser() if given else Path.home() / ".cache" / "aftertune"


def folder(name: str, variant: str) -> Path:
    """Return where a data set's variant lies once it is fetched."""
    return cache() / "data" / name / (variant or "all")


def recorded(place: Path) -> dict[str, dict[str, object]]:
    """Return what a data set's folder says was fetched into it; empty where nothing was, or the record is damaged."""
    try:
        found = json.loads((place / RECORD).read_text(encoding="utf-8"))
        return {str(key): dict(value) for key, value in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def locate(name: str, variant: str, home: Dataset) -> dict[str, Path]:
    """Return file name -> path of every file of a fetched data set.

    Raises DataError in one line that says what to do: fetch it (or how to get access first) where it is not here, fetch
    it again where the pin has changed since or a file is not what was fetched.
    """
    place = folder(name, variant)
    label = f"{name}/{variant}" if variant else name
    have = recorded(place)
    found = {}
    for file in home.files:
        row = have.get(file.name)
        path = place / file.name
        if row is None or not path.is_file():
            first = f"{home.access[0].upper()}{home.access[1:]}; then run" if home.access else "Run"
            raise DataError(
                f"{label}: {file.name} is not here. {first} `aftertune fetch {label}`, or give its file or folder as "
                f"`path` in a design"
            )
        digest = sha256(path)
        if row.get("url") != file.url or digest != (file.sha256 or row.get("sha256")):
            raise DataError(f"{path}: not the file that is pinned or was fetched; run `aftertune fetch {label}` again")
        found[file.name] = path
    return found


def sha256(path: Path) -> str:
    """Return a file's SHA-256 as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
