"""Runs a server and ends it with whoever started it, killed ones included: `python _server_guard.py COMMAND ...`.

Standard input is a pipe that the starter holds open and never writes to. Its end says that the server is to stop, or
that the starter is gone. The server gets a process group of its own, so that Ctrl-C does not reach it, and all of its
processes are ended together: those of vLLM that run the model are known to outlive the one that listens.

A script of the standard library alone, so that it starts in no time: nothing of aftertune is imported here.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

PATIENCE = 20.0
"""Seconds that the server's processes have to end by themselves."""
LOOK_EVERY = 0.1
"""Seconds."""
NOT_STARTED = 127
_SET_DEATH_SIGNAL, _SET_SUBREAPER = 1, 36  # PR_SET_PDEATHSIG and PR_SET_CHILD_SUBREAPER of <sys/prctl.h>


def main(command: list[str]) -> int:
    """Run the command until it ends or standard input does; return its exit code, negative for a signal."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the pipe alone decides
    linux = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    if linux is not None:
        linux.prctl(_SET_SUBREAPER, 1)  # what the server leaves behind becomes a child of this process
    starter, me = os.getppid(), os.getpid()

    def begin() -> None:
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        if linux is not None:
            linux.prctl(_SET_DEATH_SIGNAL, signal.SIGTERM)  # should this process be killed itself
            if os.getppid() != me:
                os._exit(NOT_STARTED)

    try:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=begin)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return NOT_STARTED
    while server.poll() is None and os.getppid() == starter:
        ready, _, _ = select.select([0], [], [], LOOK_EVERY)
        if ready and not os.read(0, 4096):
            break
    stop(server)
    return server.returncode if server.returncode is not None else 0


def stop(server: subprocess.Popen[bytes]) -> None:
    """End the server's process group, and on Linux whatever it left outside of it."""
    deadline = time.monotonic() + PATIENCE
    tell(server.pid, signal.SIGTERM)
    while remains(server) and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY / 2)
    tell(server.pid, signal.SIGKILL)
    for _ in range(100):
        for child in children():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        if not remains(server) and not children():
            break
        time.sleep(LOOK_EVERY / 2)


def tell(group: int, number: int) -> None:
    """Send a signal to a process group that may be gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def remains(server: subprocess.Popen[bytes]) -> bool:
    """Return whether any process of the server's group is left; those that ended are collected."""
    server.poll()
    if server.returncode is not None:  # else its exit code would be lost here
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    try:
        os.killpg(server.pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def children() -> list[int]:
    """Return the children of this process, where the system lists them."""
    try:
        listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii")
        return [int(number) for number in listed.split()]
    except (OSError, ValueError):
        return []


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.exit(code if code >= 0 else 128 - code)
