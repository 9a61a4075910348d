"""Bring public data sets from their datasets into the cache (`aftertune fetch`): checked, whole, or not at all."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from aftertune import plugins
from aftertune.data import datasets
from aftertune.data.datasets import Dataset, RemoteFile
from aftertune.errors import FetchError, UsageError
from aftertune.files import write
from aftertune.studies import suites

REACH = 1.5
"""Seconds in which a home must take a connection, else this machine counts as offline."""
PATIENCE = 30.0
"""Seconds without a byte after which a download is given up."""
MOST = 1 << 30
"""Bytes of one file; more is no data set that is read here."""
_CHUNK = 1 << 16
_HUB = "huggingface.co"

Progress = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes that are here, and in all (None where the home does not say)."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that is here now."""

    path: Path
    sha256: str
    bytes: int
    pinned: bool
    """Whether its hash was known before; False means that this first fetch is trusted."""
    new: bool
    """False where the right file was here already, and no network was used."""


@dataclass(frozen=True, slots=True)
class Offered:
    """A data set, or one variant of it, that can be fetched."""

    name: str
    """As `aftertune fetch` takes it: `sorry_bench/202406`."""
    licence: str
    page: str
    gated: bool
    pinned: bool
    """Whether every file's hash is known beforehand."""
    here: bool


def catalogue() -> list[Offered]:
    """Return every data set that can be fetched, with whether it is here."""
    found = []
    for name in suites.names():
        for variant, home in _datasets(name).items():
            label = f"{name}/{variant}" if variant else name
            have = datasets.recorded(datasets.folder(name, variant))
            here = all(file.name in have for file in home.files)
            pinned = all(file.sha256 for file in home.files)
            found.append(Offered(label, home.licence, home.page, bool(home.access), pinned, here))
    return found


def _datasets(name: str) -> Mapping[str, Dataset]:
    part = suites.benchmark(name)
    found: Mapping[str, Dataset] = getattr(plugins.load("benchmark", part.name, part.parameters), "datasets", {})
    return found


def fetch(name: str, progress: Progress = lambda *_: None) -> list[Fetched]:
    """Bring a benchmark's files, or a bundled list's, from their home into the cache.

    `name` may name a variant (`sorry_bench/202406`); without one the first is fetched, which the benchmark reads by
    default. What is here already is checked and left. Raises UsageError for an unknown name, FetchError in one line
    where the machine is offline, access is wanting, the file is gone, cut short, or not the one that was pinned; then
    nothing unfinished stays behind.
    """
    base, _, variant = name.partition("/")
    known = _datasets(base)
    if not known:
        raise UsageError(f"{base}: has nothing to fetch; it ships with aftertune")
    if variant not in known and variant:
        raise UsageError(f"{base} has no variant '{variant}'{plugins.near(variant, list(known))}")
    variant = variant or next(iter(known))
    return fetch_home(base, variant, known[variant], progress)


def fetch_home(name: str, variant: str, home: Dataset, progress: Progress = lambda *_: None) -> list[Fetched]:
    """Bring the files of one home into the folder of a data set's variant; as `fetch`."""
    place = datasets.folder(name, variant)
    record = datasets.recorded(place)
    done: list[Fetched] = []
    if not home.page and not all(file.name in record for file in home.files):
        raise UsageError(f"{name}: its list names no home; give its file or folder as `path`")
    for file in home.files:
        path = place / file.name
        row = record.get(file.name, {})
        if row.get("url") == file.url and path.is_file():
            digest = datasets.sha256(path)
            if digest == (file.sha256 or row.get("sha256")):
                done.append(Fetched(path, digest, path.stat().st_size, bool(file.sha256), new=False))
                continue
        if home.access and not _token():
            raise FetchError(f"{file.name} is gated: {home.access}; then fetch again")
        _make(path.parent)
        digest, size = _download(file, path, home, progress)
        done.append(Fetched(path, digest, size, bool(file.sha256), new=True))
        record[file.name] = {"url": file.url, "sha256": digest, "bytes": size}
        write(place / datasets.RECORD, (json.dumps(record, indent=1) + "\n").encode())
    return done


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FetchError(f"{folder}: cannot make the folder: {error.strerror}; set AFTERTUNE_CACHE") from None


# ---------------------------------------------------------------------------------------------- one file


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never hands a token to another host, nor leaves https for http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:  # fmt: skip
        old, new = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        if old.scheme == "https" and new.scheme != "https":
            raise FetchError(f"{req.full_url}: its home redirects to {new.scheme}://{new.netloc}, which is not secure")
        made = super().redirect_request(req, fp, code, msg, headers, newurl)
        if made is not None and old.netloc != new.netloc:
            made.remove_header("Authorization")
        return made


def _download(file: RemoteFile, path: Path, home: Dataset, progress: Progress) -> tuple[str, int]:
    """Bring one file; its SHA-256 and size in bytes. Only a whole and right file gets its name."""
    _online(file.url)
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with _open(file, home) as reply, scratch.open("wb") as out:
            digest, size = _copy(file, reply, out, progress)
        if file.sha256 and digest != file.sha256:
            raise FetchError(
                f"{file.url}: not the file that was pinned: SHA-256 {digest[:16]}..., expected {file.sha256[:16]}...; "
                f"nothing was kept. If its home has changed it on purpose, fetch it by hand and give it as `path`"
            )
        scratch.replace(path)
    except (TimeoutError, ConnectionError, ssl.SSLError, urllib.error.URLError, http.client.HTTPException) as error:
        raise FetchError(f"{file.url}: {_reason(error)}; try again") from None
    except OSError as error:
        raise FetchError(f"{path}: cannot write: {error.strerror or error}; set AFTERTUNE_CACHE") from None
    finally:
        scratch.unlink(missing_ok=True)
    return digest, size


def _open(file: RemoteFile, home: Dataset) -> http.client.HTTPResponse:
    request = urllib.request.Request(file.url, headers={"User-Agent": "aftertune"})
    if _token() and urllib.parse.urlsplit(file.url).hostname == _HUB:
        request.add_header("Authorization", f"Bearer {_token()}")
    try:
        reply: http.client.HTTPResponse = urllib.request.build_opener(_Redirects).open(request, timeout=PATIENCE)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (401, 403) and home.access:
            raise FetchError(f"{file.name} is gated ({error.code}): {home.access}; then fetch again") from None
        what = {401: "its home wants a log-in", 403: "its home refuses", 404: "is not at its home any more"}
        raise FetchError(
            f"{file.url}: {what.get(error.code, 'its home failed')} ({error.code}); see {home.page}, or give the file "
            f"as `path`"
        ) from None
    return reply


def _token() -> str:
    return os.environ.get("HF_TOKEN", "").strip()


def _copy(file: RemoteFile, reply: http.client.HTTPResponse, out: IO[bytes], progress: Progress) -> tuple[str, int]:
    length = reply.headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    hasher, size = hashlib.sha256(), 0
    progress(file.name, 0, total)
    while chunk := reply.read(_CHUNK):
        size += len(chunk)
        if size > MOST:
            raise FetchError(f"{file.url}: over {MOST >> 30} GiB and not at its end; given up")
        hasher.update(chunk)
        out.write(chunk)
        progress(file.name, size, total)
    if total is not None and size != total:
        raise FetchError(f"{file.url}: cut short: {size:,} of {total:,} bytes came; nothing was kept, try again")
    out.flush()
    os.fsync(out.fileno())
    return hasher.hexdigest(), size


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return " ".join(f"{type(error).__name__} {reason}".split())[:160]


def _online(url: str) -> None:
    """Raise FetchError within two seconds where the home, or the proxy in front of it, cannot be reached."""
    parts = urllib.parse.urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if os.environ.get("HF_HUB_OFFLINE", "").strip().lower() in ("1", "true", "yes", "on"):
        raise FetchError(f"offline: HF_HUB_OFFLINE is set, so nothing is fetched from {host}")
    proxy = urllib.request.getproxies().get(parts.scheme, "")
    if proxy and not urllib.request.proxy_bypass(host):
        via = urllib.parse.urlsplit(proxy if "//" in proxy else f"//{proxy}")
        host, port = via.hostname or host, via.port or 80
    reached: list[bool] = []

    def knock() -> None:
        # In a thread of its own: looking a name up knows no time limit.
        try:
            socket.create_connection((host, port), timeout=REACH).close()
        except OSError:
            return
        reached.append(True)

    thread = threading.Thread(target=knock, daemon=True)
    thread.start()
    thread.join(REACH)
    if not reached:
        raise FetchError(f"offline: {host} cannot be reached, so nothing is fetched; give the file as `path` instead")
