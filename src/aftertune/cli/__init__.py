"""The command line: one sub-command is one library call of the same name. The only room that prints."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Sequence

from aftertune.cli.app import EXIT, Safe, app, fail, tell
from aftertune.errors import AftertuneError

# The help lists commands in the order of these imports.
# isort: split
from aftertune.cli import runs

# isort: split
from aftertune.cli import data

# isort: split
from aftertune.cli import personal

# isort: split
from aftertune.cli import catalogue

__all__ = ["EXIT", "app", "catalogue", "data", "main", "personal", "runs"]


class _Told(logging.Handler):
    """Warnings as lines on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        tell(record.getMessage())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; every expected error becomes one line and an exit code."""
    # Names of models are looked up locally first; the hub is asked only for hub names, never slowly for local ones.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    logging.basicConfig(level=logging.WARNING, handlers=[_Told()])
    try:
        with contextlib.redirect_stdout(Safe(sys.stdout)):
            app(args=arguments, prog_name="aftertune", standalone_mode=True)
    except AftertuneError as error:
        fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        fail("stopped; the same command continues", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
