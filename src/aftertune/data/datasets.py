"""Public data sets: where each is published, and its folder on this machine once `aftertune fetch` has run."""

from __future__ import annotations

import json
import os
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aftertune.errors import DataError
from aftertune.files import checksum

RECORD = "fetched.json"
"""Written last into a data set's folder: file -> its `Download`. A file that is not in it was not fetched."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a data set, and where it is published."""

    name: str
    """Its name on this machine, with its folders where two files of the data set share a name."""
    url: str
    """With the revision in it."""
    sha256: str = ""
    """The pinned hash of the content; empty where it was never read, so that the first fetch is trusted and its hash
    recorded."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Where a data set, or one variant of it, comes from."""

    page: str
    """For people; empty where none is known."""
    licence: str
    files: tuple[RemoteFile, ...]
    access: str = ""
    """How to get access; empty where anybody may fetch it."""


def github(
    repository: str, revision: str, files: Mapping[str, str], licence: str, access: str = "", folder: str = ""
) -> Dataset:
    """Return files (path below `folder` -> SHA-256, empty where unknown) of a GitHub repository's revision."""
    root = "/".join(filter(None, ("https://raw.githubusercontent.com", repository, revision, folder)))
    return Dataset(f"https://github.com/{repository}", licence, _remote(root, files), access)


def hub(repository: str, revision: str, files: Mapping[str, str], licence: str, access: str = "") -> Dataset:
    """Return files (path -> SHA-256, empty where unknown) of a data set on the Hugging Face hub."""
    page = f"https://huggingface.co/datasets/{repository}"
    return Dataset(page, licence, _remote(f"{page}/resolve/{revision}", files), access)


def unpublished(files: Mapping[str, str], licence: str, access: str = "") -> Dataset:
    """Return files without a known public copy: they cannot be fetched, only named by `path`."""
    return Dataset("", licence, _remote("", files), access)


def _remote(root: str, files: Mapping[str, str]) -> tuple[RemoteFile, ...]:
    names = [path.rpartition("/")[2] for path in files]
    unique = len(set(names)) == len(names)
    return tuple(
        RemoteFile(name if unique else path, f"{root}/{urllib.parse.quote(path)}", digest)
        for name, (path, digest) in zip(names, files.items(), strict=True)
    )


def hub_split(repository: str, config: str, split: str, licence: str, access: str = "") -> Dataset:
    """Return one split of any hub data set: the Parquet file that the hub itself makes of it."""
    page = f"https://huggingface.co/datasets/{repository}"
    url = f"{page}/resolve/refs%2Fconvert%2Fparquet/{config}/{split}/0000.parquet"
    return Dataset(page, licence, (RemoteFile(f"{split}.parquet", url),), access)


def gated(page: str) -> str:
    """Return how to get access to a gated hub data set."""
    return f"log in at {page}, accept its terms, make a read token, and set HF_TOKEN to it"


# ---------------------------------------------------------------------------------------------- this machine


@dataclass(frozen=True, slots=True)
class Download:
    """What is recorded of a file when it is fetched."""

    url: str
    sha256: str
    bytes: int

    def matches(self, file: RemoteFile, path: Path) -> bool:
        """Return whether a file on this machine is what was fetched from the URL, and has the pinned hash if any."""
        return self.url == file.url and path.is_file() and checksum(path) == (file.sha256 or self.sha256)


def cache() -> Path:
    """Return the folder of everything fetched: the variable AFTERTUNE_CACHE, else `~/.cache/aftertune`."""
    variable = os.environ.get("AFTERTUNE_CACHE", "").strip()
    return Path(variable).expanduser() if variable else Path.home() / ".cache" / "aftertune"


def answers() -> Path:
    """Return the folder of base answers that runs share by default."""
    return cache() / "answers"


def folder(name: str, variant: str) -> Path:
    """Return the folder of a data set's variant, once it is fetched."""
    return cache() / "data" / name / (variant or "all")


def downloads(folder: Path) -> dict[str, Download]:
    """Return what was fetched into a data set's folder, by file; empty where nothing was, or the record is damaged."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return {str(file): Download(**row) for file, row in record.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def locate(name: str, variant: str, dataset: Dataset) -> dict[str, Path]:
    """Return file name -> path of every file of a fetched data set.

    Raises DataError in one line that says what to do: fetch it (or how to get access first) where it is not here, fetch
    it again where the pin has changed since or a file is not what was fetched.
    """
    root = folder(name, variant)
    label = f"{name}/{variant}" if variant else name
    record = downloads(root)
    paths = {}
    for file in dataset.files:
        path = root / file.name
        if file.name not in record or not path.is_file():
            first = f"{dataset.access[0].upper()}{dataset.access[1:]}; then run" if dataset.access else "Run"
            raise DataError(
                f"{label}: {file.name} is not here. {first} `aftertune fetch {label}`, or give its file or folder as "
                f"`path` in a design"
            )
        if not record[file.name].matches(file, path):
            raise DataError(f"{path}: not the file that is pinned or was fetched; run `aftertune fetch {label}` again")
        paths[file.name] = path
    return paths
