"""Bring public data sets from where they are published into the cache (`aftertune fetch`): checked, whole, or not.

httpx carries it: it follows redirects without handing a token to another host, and notices a body that is cut short.
Most of the data sets are files of GitHub repositories, so a client of the Hugging Face hub would be a second way beside
this one, and neither knows pins or refuses within seconds where the machine is offline.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import socket
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from aftertune.data import datasets
from aftertune.data.datasets import Dataset, Download, RemoteFile
from aftertune.errors import FetchError, UsageError, near
from aftertune.files import as_json, write
from aftertune.public import public
from aftertune.studies import suites
from aftertune.studies.resolve import load_benchmark

REACH = 1.5
"""Seconds in which a host must take a connection, else this machine counts as offline."""
PATIENCE = 30.0
"""Seconds without a byte after which a download is given up."""
MOST = 1 << 30
"""Bytes of one file; more is no data set that is read here."""
_CHUNK = 1 << 16
_HUB = "huggingface.co"

Progress = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes that are here, and in all (None where the host does not say)."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file of a data set that is here now."""

    path: Path
    sha256: str
    bytes: int
    pinned: bool
    """Whether its hash was known before; False means that this first fetch is trusted."""
    new: bool
    """False where the right file was here already, and no network was used."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A data set, or one variant of it, that can be fetched."""

    name: str
    """As `aftertune fetch` takes it: `sorry_bench/202406`."""
    licence: str
    page: str
    gated: bool
    pinned: bool
    """Whether every file's hash is known beforehand."""
    here: bool


@public("catalogue")
def catalogue() -> list[Entry]:
    """Return every data set that can be fetched, with its licence and whether it is here (`aftertune fetch`)."""
    entries = []
    for name in suites.names():
        for variant, dataset in _datasets(name).items():
            label = f"{name}/{variant}" if variant else name
            record = datasets.downloads(datasets.folder(name, variant))
            here = all(file.name in record for file in dataset.files)
            pinned = all(file.sha256 for file in dataset.files)
            entries.append(Entry(label, dataset.licence, dataset.page, bool(dataset.access), pinned, here))
    return entries


def _datasets(name: str) -> Mapping[str, Dataset]:
    return load_benchmark(suites.benchmark(name)).datasets


@public("fetch")
def fetch(name: str, progress: Progress = lambda *_: None) -> list[LocalFile]:
    """Bring a benchmark's files, or a bundled list's, from where they are published into the cache.

    Args:
        name: A name of the `catalogue`, with or without a variant (`sorry_bench/202406`); without one the first variant
            is fetched, which the benchmark reads by default.
        progress: Called with a file's name, the bytes that are here, and in all, None where that is not known.

    What is here already is checked and left. Raises UsageError for an unknown name, FetchError in one line
    where the machine is offline, access is wanting, the file is gone, cut short, or not the one that was pinned; then
    nothing unfinished stays behind.
    """
    base, _, variant = name.partition("/")
    known = _datasets(base)
    if not known:
        raise UsageError(f"{base}: has nothing to fetch; it ships with aftertune")
    if variant not in known and variant:
        raise UsageError(f"{base} has no variant '{variant}'{near(variant, list(known))}")
    variant = variant or next(iter(known))
    return fetch_dataset(base, variant, known[variant], progress)


def fetch_dataset(name: str, variant: str, dataset: Dataset, progress: Progress = lambda *_: None) -> list[LocalFile]:
    """Bring the files of a data set into the folder of its variant; as `fetch`."""
    folder = datasets.folder(name, variant)
    record = datasets.downloads(folder)
    if not dataset.page and not all(file.name in record for file in dataset.files):
        raise UsageError(f"{name}: its list names no home; give its file or folder as `path`")
    files = []
    for file in dataset.files:
        path = folder / file.name
        new = file.name not in record or not record[file.name].matches(file, path)
        if new:
            if dataset.access and not _token():
                raise FetchError(f"{file.name} is gated: {dataset.access}; then fetch again")
            record[file.name] = _download(file, path, dataset, progress)
            rows = {each: dataclasses.asdict(download) for each, download in record.items()}
            write(folder / datasets.RECORD, as_json(rows))
        download = record[file.name]
        files.append(LocalFile(path, file.sha256 or download.sha256, download.bytes, bool(file.sha256), new))
    return files


# ---------------------------------------------------------------------------------------------- one file


def _download(file: RemoteFile, path: Path, dataset: Dataset, progress: Progress) -> Download:
    """Bring one file. Only a whole and right file gets its name. Raises FetchError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FetchError(f"{path.parent}: cannot make the folder: {error.strerror}; set AFTERTUNE_CACHE") from None
    _check_reachable(file.url)
    headers = {"User-Agent": "aftertune", "Accept-Encoding": "identity"}
    if _token() and urllib.parse.urlsplit(file.url).hostname == _HUB:
        headers["Authorization"] = f"Bearer {_token()}"
    hooks = {"request": [_stay_secure(file)]}
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with (
            httpx.Client(follow_redirects=True, timeout=PATIENCE, event_hooks=hooks) as http,
            http.stream("GET", file.url, headers=headers) as reply,
        ):
            _check_status(file, dataset, reply.status_code)
            download = _copy(file, reply, scratch, progress)
        if file.sha256 and download.sha256 != file.sha256:
            raise FetchError(
                f"{file.url}: not the file that was pinned: SHA-256 {download.sha256[:16]}..., expected "
                f"{file.sha256[:16]}...; nothing was kept. If its home has changed it on purpose, fetch it by hand and "
                f"give it as `path`"
            )
        scratch.replace(path)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = " ".join(f"{type(error).__name__} {error}".split())[:160]
        raise FetchError(f"{file.url}: {reason}; try again") from None
    except (ImportError, ValueError) as error:  # what httpx makes of the variables that name a proxy
        raise FetchError(f"{file.url}: cannot go through the proxy of this machine: {error}") from None
    except OSError as error:
        raise FetchError(f"{path}: cannot write: {error.strerror or error}; set AFTERTUNE_CACHE") from None
    finally:
        scratch.unlink(missing_ok=True)
    return download


def _stay_secure(file: RemoteFile) -> Callable[[httpx.Request], None]:
    """Return what refuses a redirect that leaves https for http."""

    def check(request: httpx.Request) -> None:
        if file.url.startswith("https:") and request.url.scheme != "https":
            where = f"{request.url.scheme}://{request.url.host}"
            raise FetchError(f"{file.url}: its home redirects to {where}, which is not secure")

    return check


def _check_status(file: RemoteFile, dataset: Dataset, code: int) -> None:
    if code < 300:
        return
    if code in (401, 403) and dataset.access:
        raise FetchError(f"{file.name} is gated ({code}): {dataset.access}; then fetch again")
    what = {401: "its home wants a log-in", 403: "its home refuses", 404: "is not at its home any more"}
    raise FetchError(
        f"{file.url}: {what.get(code, 'its home failed')} ({code}); see {dataset.page}, or give the file as `path`"
    )


def _token() -> str:
    return os.environ.get("HF_TOKEN", "").strip()


def _copy(file: RemoteFile, reply: httpx.Response, scratch: Path, progress: Progress) -> Download:
    length = reply.headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    hasher, size = hashlib.sha256(), 0
    progress(file.name, 0, total)
    with scratch.open("wb") as out:
        try:
            for chunk in reply.iter_bytes(_CHUNK):
                size += len(chunk)
                if size > MOST:
                    raise FetchError(f"{file.url}: over {MOST >> 30} GiB and not at its end; given up")
                hasher.update(chunk)
                out.write(chunk)
                progress(file.name, size, total)
        except httpx.RemoteProtocolError as error:
            raise FetchError(f"{file.url}: cut short: {error}; nothing was kept, try again") from None
        out.flush()
        os.fsync(out.fileno())
    return Download(file.url, hasher.hexdigest(), size)


def _check_reachable(url: str) -> None:
    """Raise FetchError within two seconds where the host, or the proxy in front of it, cannot be reached."""
    parts = urllib.parse.urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if os.environ.get("HF_HUB_OFFLINE", "").strip().lower() in ("1", "true", "yes", "on"):
        raise FetchError(f"offline: HF_HUB_OFFLINE is set, so nothing is fetched from {host}")
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all", "")
    if proxy and not urllib.request.proxy_bypass(host):
        via = urllib.parse.urlsplit(proxy if "//" in proxy else f"//{proxy}")
        host, port = via.hostname or host, via.port or 80
    reached = threading.Event()

    def knock() -> None:
        try:
            socket.create_connection((host, port), timeout=REACH).close()
        except OSError:
            return
        reached.set()

    # In a thread of its own: looking a name up knows no time limit.
    thread = threading.Thread(target=knock, daemon=True)
    thread.start()
    thread.join(REACH)
    if not reached.is_set():
        raise FetchError(f"offline: {host} cannot be reached, so nothing is fetched; give the file as `path` instead")
