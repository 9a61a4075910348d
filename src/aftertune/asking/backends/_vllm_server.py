"""A `vllm serve` of this process: started on a free port of this machine, waited for, and ended with the process."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from aftertune.asking.backends._server_errors import masked, one_line
from aftertune.errors import MissingPackageError, ServerError, UsageError
from aftertune.files import writing

if TYPE_CHECKING:
    import httpx

HOST = "127.0.0.1"
GUARD = Path(__file__).with_name("_server_guard.py")
OLDEST = (0, 10, 2)
"""The first version of vLLM that says which tokens it read and wrote."""
PORTS = 5
"""Ports that are tried where others take them first."""
LOOK_EVERY = 0.2
"""Seconds between two looks at a server that starts; they grow to `SELDOM`."""
SELDOM = 2.0
SAY_EVERY = 30.0
"""Seconds between two lines that say that a server is waited for."""
CLOSING = 40.0
"""Seconds that the guard has to end the server's processes; it has a patience of its own, which is shorter."""
LAST_LINES = 3
_TAIL = 1 << 16
"""Bytes of a log's end that are looked at."""
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy")
_NOT_PASSED_ON = frozenset(
    {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "VLLM_SERVER_DEV_MODE", "VLLM_API_KEY", "VLLM_USE_MODELSCOPE"}
)
_TELLING = re.compile(r"\b\w*(?:Error|Exception)\b\s*:|\berror: |out of memory|not enough|Killed\b", re.I)
_GENERAL = re.compile(r"Engine core initialization failed|See root cause above|EngineDeadError", re.I)
_TAKEN = re.compile(r"address already in use|Errno 98|Errno 48", re.I)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")

log = logging.getLogger(__name__)


def executable(name: str) -> str:
    """Return the path of the command `name`, on PATH or as a path. Raises MissingPackageError where there is none."""
    found = shutil.which(Path(name).expanduser())
    if found is None:
        raise MissingPackageError(
            f"backend vllm: no command '{name}' here: pip install vllm (it needs a GPU; an environment of its own is "
            "best: give its command as executable=/path/to/bin/vllm), or ask by --backend transformers"
        )
    return str(Path(found).absolute())


def release(name: str) -> str:
    """Return the version of vLLM that the command `name` says. Raises MissingPackageError, UsageError."""
    command = executable(name)
    try:
        told = subprocess.run(
            [command, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=180,
            check=False,
            stdin=subprocess.DEVNULL,
            env=environment(""),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"backend vllm: {command} --version: {type(error).__name__}: {one_line(str(error))}") from None
    versions = re.findall(r"^(?:vllm\s+)?v?(\d+\.\d+\S*)\s*$", told.stdout, re.M | re.I)
    if told.returncode or not versions:
        words = one_line((told.stderr.strip() or told.stdout.strip() or "it says nothing").splitlines()[-1])
        raise UsageError(f"backend vllm: {command} --version fails (exit code {told.returncode}): {words}")
    version = str(versions[-1])
    numbers = tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])
    if numbers < OLDEST and "dev" not in version:
        raise UsageError(
            f"backend vllm: {command} is vLLM {version}, which does not say which tokens it read and wrote: install "
            f"{'.'.join(map(str, OLDEST))} or later"
        )
    return version


def environment(key: str) -> dict[str, str]:
    """Return the environment of a server that asks nobody and lets nobody in without `key`.

    The key stands here and not among the arguments, which every user of the machine can read.
    """
    own = {k: v for k, v in os.environ.items() if k.lower() not in _PROXIES and k not in _NOT_PASSED_ON}
    return {
        **own,
        "NO_PROXY": "*",
        "no_proxy": "*",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_HOST_IP": HOST,
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "PYTHONUNBUFFERED": "1",
        **({"VLLM_API_KEY": key} if key else {}),
    }


def variables() -> dict[str, str]:
    """Return the variables by which this environment sets vLLM otherwise than it is by itself."""
    return {k: v for k, v in sorted(os.environ.items()) if k.startswith("VLLM_") and k not in _NOT_PASSED_ON}


def flags(arguments: Mapping[str, Any]) -> list[str]:
    """Return a table of arguments as the words of a command; lists are several words, tables JSON.

    `{a = 1, b = true, c = false, d = [1, 2]}` gives `--a 1 --b --no-c --d 1 2`.
    """
    import json

    words: list[str] = []
    for name, value in arguments.items():
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        elif isinstance(value, Mapping):
            words += [f"--{name}", json.dumps(value)]
        elif isinstance(value, Sequence) and not isinstance(value, str):
            words += [f"--{name}", *map(str, value)]
        else:
            words += [f"--{name}", str(value)]
    return words


class VllmServer:
    """A running `vllm serve` with one model, known by a name that no other server has."""

    def __init__(self, model: Path, log_file: Path) -> None:
        """`model` is the folder that it serves. Nothing is started yet."""
        self.model, self.log_file = model, log_file
        self.name, self.key = f"aftertune-{secrets.token_hex(8)}", secrets.token_hex(24)
        self.port = 0
        self.context: int | None = None
        """Tokens that it can read and write in all; None where it does not say."""
        self._guard: subprocess.Popen[bytes] | None = None
        self._why = ""

    @property
    def url(self) -> str:
        """The address up to and with `/v1`."""
        return f"http://{HOST}:{self.port}/v1"

    def start(self, command: str, arguments: Sequence[str], patience: float) -> None:
        """Start it and return once it answers.

        Args:
            command: Path of the executable.
            arguments: Those of `vllm serve` besides the model's folder, its name, address and port.
            patience: Seconds that it may take.

        Raises ServerError, with its last words, where it ends or takes longer, StoreError where its log cannot be
        written. Whatever else is raised meanwhile
        (Ctrl-C) ends it first.
        """
        began = time.monotonic()
        try:
            for _ in range(PORTS):
                self.port = free_port()
                own = ["serve", str(self.model), *arguments, "--host", HOST, "--port", str(self.port)]
                self._launch([command, *own, "--served-model-name", self.name])
                if self._answers(began, patience):
                    return
                self.stop()
                log.info("vllm serve: port %d was taken by another: again on another port", self.port)
        except BaseException:
            self.stop()
            raise
        raise ServerError(f"vllm serve: {PORTS} ports in a row were taken by others before it had them: run it again")

    def _launch(self, command: Sequence[str]) -> None:
        # A restart writes behind what the one before said.
        with writing(self.log_file):
            descriptor = os.open(self.log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "ab") as to:
            self._from = to.tell()
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARD), *command],
                stdin=subprocess.PIPE,
                stdout=to,
                stderr=subprocess.STDOUT,
                env=environment(self.key),
                start_new_session=True,  # Ctrl-C is for this process, which then decides
            )

    def _answers(self, began: float, patience: float) -> bool:
        """Return True once the server answers, False where somebody else has its port. Raises ServerError."""
        import httpx

        say_at, wait = began + SAY_EVERY, LOOK_EVERY
        with httpx.Client(trust_env=False, timeout=10.0) as http:
            while True:
                if (code := self._code()) is not None:
                    if _TAKEN.search(self._tail()):
                        return False
                    raise ServerError(f"vllm serve {self.model}: {_ended(code)} before it answered: {self._said()}")
                state = self._state(http)
                if state != "starting":
                    return state == "ready"
                now = time.monotonic()
                if now - began > patience:
                    raise ServerError(
                        f"vllm serve {self.model}: does not answer after {now - began:,.0f} s (loading_s = {patience:g}"
                        f"): {self._said()}"
                    )
                if now >= say_at:
                    last = self._last_lines(1)
                    told = "" if not last else f" ({last[0]})"
                    log.warning("vllm serve: starting for %.0f s, up to %.0f s%s", now - began, patience, told)
                    say_at = now + SAY_EVERY
                time.sleep(min(wait, max(began + patience - now, 0.01)))
                wait = min(SELDOM, wait * 1.2)

    def _state(self, http: httpx.Client) -> Literal["starting", "ready", "not ours"]:
        """Return what listens at the port; another server would neither know the key nor the name."""
        import httpx

        try:
            if http.get(f"http://{HOST}:{self.port}/health").status_code != 200:
                return "starting"
            reply = http.get(f"{self.url}/models", headers={"Authorization": f"Bearer {self.key}"})
            rows = reply.json().get("data", []) if reply.status_code == 200 else []
            own = next((row for row in rows if row.get("id") == self.name), None)
        except (httpx.HTTPError, ValueError, AttributeError):
            return "starting"
        if own is None or own.get("root") not in (None, str(self.model)):
            return "not ours"
        context = own.get("max_model_len")
        self.context = context if isinstance(context, int) and context > 0 else None
        return "ready"

    def gone(self) -> str:
        """Return why it does not run any more, in one line; empty while it does."""
        if not self._why and (code := self._code()) is not None:
            self._why = (
                f"vllm serve {self.model}: {_ended(code)} while it was asked: {self._said()}; what is answered is "
                "kept: run the same command again to go on"
            )
        return self._why

    def stop(self) -> None:
        """End it and all of its processes, and wait until they are gone: the next one needs their memory."""
        guard, self._guard = self._guard, None
        if guard is None:
            return
        pipe: BinaryIO | Any = guard.stdin
        with contextlib.suppress(OSError):
            pipe.close()
        try:
            guard.wait(CLOSING)
        except subprocess.TimeoutExpired:
            guard.kill()  # the server is told so by the system
            guard.wait()

    def _code(self) -> int | None:
        return None if self._guard is None else self._guard.poll()

    def size(self) -> int:
        """Return the bytes of its log so far."""
        with contextlib.suppress(OSError):
            return self.log_file.stat().st_size
        return 0

    def lines_since(self, start: int) -> list[str]:
        """Return the lines of its log from the byte `start` on, at most the last `_TAIL` bytes of them."""
        with contextlib.suppress(OSError), self.log_file.open("rb") as own:
            own.seek(max(start, self.size() - _TAIL))
            text = _COLOURS.sub("", own.read(_TAIL).decode("utf-8", "replace"))
            return [line for line in text.splitlines() if line.strip()]
        return []

    def _tail(self) -> str:
        return "\n".join(self.lines_since(self._from))

    def _last_lines(self, count: int) -> list[str]:
        return [masked(one_line(line), self.key) for line in self.lines_since(self._from)[-count:]]

    def _said(self) -> str:
        """Return its last words and where the rest of them stands."""
        telling = [line for line in self.lines_since(self._from) if _TELLING.search(line) and not _GENERAL.search(line)]
        lines = [masked(one_line(line), self.key) for line in telling[-1:]] + self._last_lines(LAST_LINES)
        words = " | ".join(dict.fromkeys(lines)) or "it says nothing"
        return f"{words} (all of it: {self.log_file})"


def free_port() -> int:
    """Return a port of this machine that nobody uses at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as own:
        own.bind((HOST, 0))
        return int(own.getsockname()[1])


def _ended(code: int) -> str:
    if code == 127:
        return "could not be started"
    if code > 128:
        return f"was ended by signal {code - 128}{' (out of memory?)' if code == 137 else ''}"
    return f"ended with exit code {code}"


def ignored(lines: Iterable[str]) -> str:
    """Return the first of a server's lines that says that a part of an adapter is left out; empty where none does."""
    return next((one_line(line) for line in lines if _LEFT_OUT.search(line)), "")


_LEFT_OUT = re.compile(
    r"lora.*(?:will be ignored|not in the model's supported|not applied)|no lora weights were applied", re.I
)
