"""Fetching from a home on this machine: right, wrong, gone, cut short, redirected, gated, offline."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from aftertune import plugins
from aftertune.asking.benchmark import BenchmarkContext
from aftertune.commands import fetch
from aftertune.data import datasets
from aftertune.data.datasets import Dataset, RemoteFile
from aftertune.errors import DataError, FetchError, UsageError

BODY = b"id,prompt\n1,made up\n" * 9_000
PIN = hashlib.sha256(BODY).hexdigest()
REQUESTS: list[tuple[int, str, str | None]] = []


class Pages(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        port = self.server.server_port  # type: ignore[attr-defined]
        REQUESTS.append((port, self.path, self.headers.get("Authorization")))
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{self.path.removeprefix('/to/')}/right")
            self.end_headers()
        elif self.path in ("/404", "/403", "/500"):
            self.send_error(int(self.path[1:]))
        else:
            self.send_response(200)
            if self.path != "/chunks":
                self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY[: len(BODY) // 2] if self.path == "/short" else BODY)


@pytest.fixture(name="port", scope="module")
def _port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFTERTUNE_CACHE", str(tmp_path / "cache"))
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    REQUESTS.clear()


def _sleeps(*_: object, **__: object) -> None:
    time.sleep(3)
    raise OSError("too late")


def home(port: int, page: str, pin: str = PIN, access: str = "") -> Dataset:
    return Dataset("http://home", "MIT", (RemoteFile("a.csv", f"http://127.0.0.1:{port}{page}", pin),), access)


def files_left(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())


def test_a_right_file_is_kept_recorded_and_not_asked_for_again(port: int, tmp_path: Path) -> None:
    sizes: list[int] = []
    dataset = home(port, "/right")
    (first,) = fetch.fetch_dataset("made", "", dataset, lambda _, have, __: sizes.append(have))
    assert (first.sha256, first.bytes, first.pinned, first.new) == (PIN, len(BODY), True, True)
    assert first.path.read_bytes() == BODY
    assert sizes[0] == 0
    assert sizes[-1] == len(BODY)
    assert datasets.locate("made", "", dataset) == {"a.csv": first.path}
    asked = len(REQUESTS)
    (again,) = fetch.fetch_dataset("made", "", dataset)
    assert not again.new
    assert len(REQUESTS) == asked


@pytest.mark.parametrize(
    ("page", "pin", "says"),
    [
        ("/right", "0" * 64, "not the file that was pinned"),
        ("/404", PIN, "not at its home any more"),
        ("/500", PIN, "its home failed"),
        ("/403", PIN, "its home refuses"),
        ("/short", PIN, "cut short"),
        ("/short", "", "cut short"),
    ],
)
def test_a_wrong_answer_is_one_line_and_leaves_nothing(
    page: str, pin: str, says: str, port: int, tmp_path: Path
) -> None:
    with pytest.raises(FetchError, match=says) as caught:
        fetch.fetch_dataset("made", "", home(port, page, pin))
    assert "\n" not in str(caught.value)
    assert files_left(tmp_path) == []
    with pytest.raises(DataError, match="aftertune fetch made"):
        datasets.locate("made", "", home(port, page, pin))


def test_a_failed_fetch_leaves_the_file_that_was_there(port: int, tmp_path: Path) -> None:
    fetch.fetch_dataset("made", "", home(port, "/right"))
    with pytest.raises(FetchError):
        fetch.fetch_dataset("made", "", home(port, "/short", ""))
    assert files_left(tmp_path) == ["a.csv", "fetched.json"]
    assert datasets.locate("made", "", home(port, "/right"))


def test_a_file_that_nobody_pinned_is_trusted_once(port: int) -> None:
    dataset = home(port, "/chunks", "")
    (file,) = fetch.fetch_dataset("made", "", dataset)
    assert not file.pinned
    assert file.sha256 == PIN
    file.path.write_bytes(BODY + b"2,changed\n")
    with pytest.raises(DataError, match="not the file that is pinned or was fetched"):
        datasets.locate("made", "", dataset)
    (mended,) = fetch.fetch_dataset("made", "", dataset)
    assert mended.new
    assert mended.path.read_bytes() == BODY


def test_a_new_pin_asks_for_the_file_again(port: int) -> None:
    fetch.fetch_dataset("made", "", home(port, "/right"))
    moved = home(port, "/elsewhere")
    with pytest.raises(DataError, match="fetch made` again"):
        datasets.locate("made", "", moved)
    assert fetch.fetch_dataset("made", "", moved)[0].new


def test_a_redirect_is_followed_without_the_token(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setattr(fetch, "_HUB", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        elsewhere = other.server_address[1]
        (file,) = fetch.fetch_dataset("made", "", home(port, f"/to/{elsewhere}"))
        other.shutdown()
    assert file.sha256 == PIN
    assert [(at, token) for at, _, token in REQUESTS] == [(port, "Bearer secret"), (elsewhere, None)]


def test_a_redirect_from_https_to_http_is_refused() -> None:
    check = fetch._stay_secure(RemoteFile("a.csv", "https://home.example/a.csv"))
    check(httpx.Request("GET", "https://elsewhere.example/a.csv"))
    with pytest.raises(FetchError, match=r"redirects to http://elsewhere\.example, which is not secure"):
        check(httpx.Request("GET", "http://elsewhere.example/a.csv"))
    fetch._stay_secure(RemoteFile("a.csv", "http://127.0.0.1/a.csv"))(httpx.Request("GET", "http://127.0.0.1:9/a"))


def test_a_file_without_end_is_given_up(port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fetch, "MOST", 1_000)
    with pytest.raises(FetchError, match="not at its end; given up"):
        fetch.fetch_dataset("made", "", home(port, "/chunks"))
    assert files_left(tmp_path) == []


def test_a_proxy_that_cannot_be_spoken_to_is_one_line(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", f"socks9://127.0.0.1:{port}")
    with pytest.raises(FetchError, match="cannot go through the proxy") as caught:
        fetch.fetch_dataset("made", "", home(port, "/right"))
    assert "\n" not in str(caught.value)


def test_the_token_goes_to_the_hub_only(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    fetch.fetch_dataset("made", "", home(port, "/right"))
    assert [token for _, _, token in REQUESTS] == [None]


def test_a_gated_set_says_how_to_get_access(port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="gated: ask the authors"):
        fetch.fetch_dataset("made", "", home(port, "/403", access="ask the authors"))
    assert not REQUESTS
    monkeypatch.setenv("HF_TOKEN", "of somebody else")
    with pytest.raises(FetchError, match=r"gated \(403\): ask the authors"):
        fetch.fetch_dataset("made", "", home(port, "/403", access="ask the authors"))
    assert files_left(tmp_path) == []
    with pytest.raises(FetchError, match="HF_TOKEN") as caught:
        monkeypatch.delenv("HF_TOKEN")
        fetch.fetch("sorry_bench/202406")
    assert "sorry-bench-202406" in str(caught.value)


@pytest.mark.parametrize("how", ["variable", "closed port", "no such host", "silent"])
def test_offline_is_one_line_within_two_seconds(how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, never listening: connections are refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/right"
        if how == "variable":
            monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        elif how == "no such host":
            url = "http://home.invalid/right"
        elif how == "silent":
            monkeypatch.setattr(socket, "create_connection", _sleeps)
        began = time.monotonic()
        with pytest.raises(FetchError, match="^offline: ") as caught:
            fetch.fetch_dataset("made", "", Dataset("http://home", "MIT", (RemoteFile("a.csv", url, PIN),)))
    assert time.monotonic() - began < 2
    assert "\n" not in str(caught.value)
    assert files_left(tmp_path) == []


def test_names_are_checked_before_the_network() -> None:
    for name, says in (
        ("xtest", "did you mean 'xstest'"),
        ("core", "nothing to fetch"),
        ("sorry_bench/2024", "no variant"),
        ("../xstest", "no suite"),
    ):
        with pytest.raises(UsageError, match=says):
            fetch.fetch(name)


def test_the_catalogue_knows_what_is_here(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {row.name: row for row in fetch.catalogue()}
    assert rows["hex_phi"].gated
    assert rows["xstest"].pinned
    assert not rows["medsafetybench"].pinned
    assert not any(row.here for row in rows.values())


def test_the_card_of_a_list_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    from aftertune.cli import main

    with pytest.raises(SystemExit) as left:
        main(["show", "benchmark", "trident"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    for word in ("Source", "Licence", "Size", "Cluster", "Positive", "Weaknesses", "Notes"):
        assert f"\n{word}: " in shown


def test_a_benchmark_reads_what_was_fetched(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    cls = plugins.plugin_class("benchmark", "xstest")
    name, text = next(iter(cls.example.items()))
    monkeypatch.setattr(cls, "datasets", {"": Dataset("p", "l", (RemoteFile(name, f"http://127.0.0.1:{port}/right"),))})
    with pytest.raises(DataError, match="aftertune fetch xstest"):
        cls().prompts(BenchmarkContext())
    monkeypatch.setattr(f"{__name__}.BODY", text.encode())
    fetch.fetch("xstest")
    assert len(cls().prompts(BenchmarkContext())) == 2
