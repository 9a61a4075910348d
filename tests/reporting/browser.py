"""A real browser, driven over a pipe: what a page asked for, what it ran, what it looks like."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LAUNCH = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(each), fcntl.F_DUPFD, 10) for each in sys.argv[1:3]]
os.dup2(pipes[0], 3), os.dup2(pipes[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Chromium reads what it is told on 3 and answers on 4."""
LIMIT = 60.0
"""Seconds for one answer of a browser on a busy machine."""


@dataclass
class Browser:
    """One page of one headless Chromium (Chrome DevTools Protocol over two pipes)."""

    writes: int
    reads: int
    session: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    _left: bytes = b""
    _count: int = 0

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        own = self._send(method, parameters)
        until = time.monotonic() + LIMIT
        while (found := self._next(until)).get("id") != own:
            self.events.append(found)
            if found.get("method") == "Page.javascriptDialogOpening":  # it would stop the page, and the test with it
                self._send("Page.handleJavaScriptDialog", {"accept": False})
        assert "error" not in found, found
        return dict(found["result"])

    def _send(self, method: str, parameters: Mapping[str, Any]) -> int:
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        whole = {**message, "sessionId": self.session} if self.session else message
        os.write(self.writes, json.dumps(whole).encode() + b"\0")
        return self._count

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._left:
            ready, _, _ = select.select([self.reads], [], [], max(0.0, until - time.monotonic()))
            assert ready, "the browser does not answer"
            piece = os.read(self.reads, 1 << 20)
            assert piece, "the browser is gone"
            self._left += piece
        line, _, self._left = self._left.partition(b"\0")
        return dict(json.loads(line))

    def open(self, file: Path, width: int = 1280, height: int = 900) -> None:
        """Load a file in a window of this size, and wait until everything that it asked for has come or failed."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Page.navigate", url=file.as_uri())
        until = time.monotonic() + LIMIT
        while self.js("location.href + ' ' + document.readyState") != f"{file.as_uri()} complete":
            assert time.monotonic() < until, "the page does not load"
            time.sleep(0.02)

    def js(self, expression: str) -> Any:
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def named(self, method: str) -> list[dict[str, Any]]:
        """Return the parameters of all events of a method so far."""
        return [event["params"] for event in self.events if event.get("method") == method]


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Start a browser that reaches no network, and end it."""
    theirs, ours = os.pipe()
    mine, its = os.pipe()
    command = [
        sys.executable, "-c", LAUNCH, str(theirs), str(its), str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu",
        "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync",
        "--disable-component-update", "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND",
        "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank",
    ]  # fmt: skip
    process = subprocess.Popen(command, pass_fds=(theirs, its), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(theirs)
    os.close(its)
    page = Browser(ours, mine)
    try:
        (target,) = [t for t in page.call("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        page.session = page.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            page.call(f"{domain}.enable")
        yield page
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(ours)
        os.close(mine)
