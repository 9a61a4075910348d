"""Commands in processes of their own that wait for no import: one process imports, and forks itself for each command."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

LIGHT = (
    "aftertune.cli",
    "aftertune.ingest.responses",
    *(f"aftertune.commands.{name}" for name in ("audit", "catalogue", "compose", "judge", "plan", "status", "study")),
)
"""What most commands import, and nothing that learns."""
HEAVY = ("torch", "transformers", "peft", "trl")
COMMAND = "from aftertune.cli import main\nmain(sys.argv[1:])"
SERVER = """
import atexit, gc, importlib, json, os, sys
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
heavy = json.loads(sys.argv[2])
gc.freeze()
for line in sys.stdin:
    told = json.loads(line)
    child = os.fork()
    if not child:
        os.chdir(told["cwd"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, path in enumerate(told["files"], 1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOCTTY), number)
        sys.argv = ["aftertune", *told["arguments"]]
        code = 0
        try:
            exec(told["code"], {"__name__": "__main__", "sys": sys})
        except SystemExit as stop:
            code = stop.code or 0
        except BaseException:
            code = 1
            sys.excepthook(*sys.exc_info())
        with open(told["heavy"], "w") as file:
            json.dump([name for name in heavy if name in sys.modules], file)
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str
    heavy: list[str]
    """Those of `HEAVY` that were imported at its end."""


@dataclass(frozen=True)
class Forks:
    """The process that is forked."""

    process: subprocess.Popen[str]
    folder: Path

    def run(self, *arguments: object, cwd: Path, code: str = COMMAND) -> Done:
        """Run a command of the command line, or a program of its own, in a folder."""
        files = [self.folder / name for name in ("out", "err")]
        self.start(*arguments, cwd=cwd, code=code, files=files)
        returncode = self.wait()
        out, err = (file.read_text() for file in files)
        return Done(returncode, out, err, json.loads((self.folder / "heavy").read_text()))

    def start(self, *arguments: object, cwd: Path, files: Sequence[Path], code: str = COMMAND) -> None:
        """Start a command whose output goes into two files."""
        told = {
            "arguments": [str(each) for each in arguments],
            "code": code,
            "cwd": str(cwd),
            "files": [str(file) for file in files],
            "heavy": str(self.folder / "heavy"),
        }
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(told) + "\n")
        self.process.stdin.flush()

    @property
    def over(self) -> int:
        """A file descriptor that can be read once the command has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def wait(self) -> int:
        """Wait for the command's end, and return its exit code."""
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


@contextlib.contextmanager
def forks(folder: Path, imported: Sequence[str] = LIGHT, **environment: str) -> Iterator[Forks]:
    """Start the process, which imports these modules, and end it; `folder` is for what commands say."""
    command = [sys.executable, "-c", SERVER, json.dumps(imported), json.dumps(HEAVY)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as process:
        yield Forks(process, folder)
