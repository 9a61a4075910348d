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
SERVER = """
import atexit, importlib, json, os, sys
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
heavy = json.loads(sys.argv[2])
for line in sys.stdin:
    told = json.loads(line)
    child = os.fork()
    if not child:
        os.chdir(told["cwd"])
        files = [os.open(os.devnull, os.O_RDONLY)]
        files += [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for path in told["files"]]
        for number, file in enumerate(files):
            os.dup2(file, number)
        sys.argv = ["aftertune", *told["arguments"]]
        code = 1
        try:
            from aftertune.cli import main
            main(sys.argv[1:])
            code = 0
        except SystemExit as stop:
            code = 0 if stop.code is None else stop.code
        except BaseException:
            sys.excepthook(*sys.exc_info())
        with open(told["files"][0] + ".heavy", "w") as file:
            json.dump([name for name in heavy if name in sys.modules], file)
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(code, flush=True)
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

    def run(self, *arguments: object, cwd: Path) -> Done:
        """Run a command of the command line, in a folder."""
        files = [str(self.folder / name) for name in ("out", "err")]
        told = {"arguments": [str(each) for each in arguments], "cwd": str(cwd), "files": files}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(told) + "\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        out, err = (Path(file).read_text() for file in files)
        return Done(code, out, err, json.loads(Path(files[0] + ".heavy").read_text()))


@contextlib.contextmanager
def forks(folder: Path, imported: Sequence[str] = LIGHT, **environment: str) -> Iterator[Forks]:
    """Start the process, which imports these modules, and end it; `folder` is for what commands say."""
    command = [sys.executable, "-c", SERVER, json.dumps(imported), json.dumps(HEAVY)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as process:
        yield Forks(process, folder)
