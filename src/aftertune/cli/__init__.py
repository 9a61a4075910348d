"""The command line: one sub-command is one library call of the same name. The only package that prints."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

import typer
from typer.models import CommandInfo

from aftertune.cli.app import EXIT, app, fail, tell, terminal_width
from aftertune.cli.safe_output import SafeOutput, safe
from aftertune.cli.stderr_capture import write_last_line
from aftertune.errors import AftertuneError, UsageError
from aftertune.extras import missing
from aftertune.files import why_not

# The help lists `FIRST`, then commands in the order of these imports.
# isort: split
from aftertune.cli import runs

# isort: split
from aftertune.cli import records_of_runs

# isort: split
from aftertune.cli import labels

# isort: split
from aftertune.cli import data

# isort: split
from aftertune.cli import pii

# isort: split
from aftertune.cli import catalogue

__all__ = ["EXIT", "app", "catalogue", "data", "labels", "main", "pii", "records_of_runs", "runs"]


FIRST = ("audit", "demo", "selftest", "plan", "study", "explain", "mitigate")
"""Commands that the help lists first: what makes a run, then what asks why and mends."""


def _place(command: CommandInfo) -> int:
    """Return where the help lists a command; those that are not in `FIRST` keep their order behind it."""
    name = command.name or (command.callback.__name__ if command.callback else "")
    return FIRST.index(name) if name in FIRST else len(FIRST)


app.registered_commands.sort(key=_place)
HELP_WIDTH = 80
"""Columns of a help page where the window has as many."""


class _StderrHandler(logging.Handler):
    """Prints warnings as lines on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        tell(record.getMessage())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; every expected error becomes one line and an exit code."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    logging.basicConfig(level=logging.WARNING, handlers=[_StderrHandler()])
    sys.excepthook = _unexpected
    try:
        with _stoppable(), contextlib.redirect_stdout(SafeOutput(sys.stdout)):
            _refuse_empty(sys.argv[1:] if arguments is None else arguments)
            width = min(terminal_width() or HELP_WIDTH, HELP_WIDTH)
            _command()(args=arguments, prog_name="aftertune", standalone_mode=True, terminal_width=width)
    except AftertuneError as error:
        fail(str(error), error.exit_code)
    except ModuleNotFoundError as error:
        lacking = missing(error)
        if lacking is None:
            raise
        fail(str(lacking), lacking.exit_code)
    except _StopError as stop:
        fail(_STOPPED, 128 + stop.number)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        logging.getLogger(__name__).debug("where this was raised", exc_info=True)
        fail(why_not(error.filename or "this machine", "refused", error), 1)


def _refuse_empty(arguments: Sequence[str]) -> None:
    """Raise UsageError for an empty argument or value of an option: a variable of the shell that is not set.

    As a path it would be the folder that one works in, and as a policy or suite the default.
    """
    for before, argument in zip(("", *arguments), arguments, strict=False):
        name, sign, value = argument.partition("=")
        if not argument.strip():
            where = f"the argument after '{before}'" if before else "the first argument"
            raise UsageError(f"{where} is empty: a variable that is not set? Leave it out, or give a value")
        if argument.startswith("--") and sign and not value.strip():
            raise UsageError(f"{name}= is empty: a variable that is not set? Leave it out, or give a value")


@functools.cache
def _command() -> Any:
    """Return all commands, made ready once; called by itself, `app` would also put Typer's traceback before ours."""
    return typer.main.get_command(app)


def _unexpected(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a traceback made safe for a terminal: an error of a library may quote a model or a data set."""
    sys.stderr.write(safe("".join(traceback.format_exception(kind, error, trace))))


_STOPPED = "stopped; the same command continues"


class _StopError(BaseException):
    """Ctrl-C or SIGTERM. Not a KeyboardInterrupt, at which Typer would end without a message."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Stop in good order at the first signal, and at once at the second."""
    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]

    def first(number: int, _: object) -> None:
        for each in numbers:
            signal.signal(each, second)
        raise _StopError(number)

    def second(number: int, _: object) -> None:
        write_last_line(f"aftertune: {_STOPPED}\n")
        os._exit(128 + number)

    again: threading.Timer | None = None

    def unraisable(args: sys.UnraisableHookArgs) -> None:
        nonlocal again
        stop = args.exc_value
        if not isinstance(stop, _StopError):
            hook(args)
            return
        # The signal came during a finaliser, from which no exception propagates: send it again a moment later.
        for each in numbers:
            signal.signal(each, first)
        again = threading.Timer(0.05, signal.pthread_kill, (threading.get_ident(), stop.number))
        again.daemon = True
        again.start()

    try:
        before = {number: signal.signal(number, first) for number in numbers}
    except ValueError:  # not the main thread of a program that calls this one
        yield
        return
    hook, sys.unraisablehook = sys.unraisablehook, unraisable
    try:
        yield
    finally:
        sys.unraisablehook = hook
        if again is not None:
            again.cancel()
        for number, handler in before.items():
            if signal.getsignal(number) is first:  # after a first signal, a second one must still end the process
                signal.signal(number, handler)
