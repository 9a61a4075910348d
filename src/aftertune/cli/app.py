"""What every command shares: the application, its common options, exit codes, progress and output."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from aftertune.pipeline import Progress, Result

EXIT = {"pass": 0, "error": 1, "drift": 3, "inconclusive": 4}
"""Exit code of a command that decides; 2 is usage or bad input."""

app = typer.Typer(
    help="What fine-tuning did to a language model's safety and privacy: is it real, what caused it, may I ship?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 pass or done, 1 error, 2 usage or bad input, 3 drift, 4 inconclusive.",
)
embedded_app = typer.Typer(help="The embedded models: build one, read its card.", no_args_is_help=True)
app.add_typer(embedded_app, name="embedded")
pii_app = typer.Typer(help="Personal data: find it, register it, see what comes back.", no_args_is_help=True)
app.add_typer(pii_app, name="pii")

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, for CI.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Run folder; the same command continues it.")]
Workers = Annotated[int, typer.Option("--workers", min=0, help="Processes at once; 0 is one per core.")]


def fail(message: str, code: int) -> NoReturn:
    """End with one line on standard error."""
    print(f"aftertune: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


def show_json(value: object) -> None:
    """Print records as JSON."""
    from aftertune.records import plain

    print(json.dumps(plain(value), indent=1, ensure_ascii=True, allow_nan=False))


@contextmanager
def progress_on(quiet: bool) -> Iterator[Progress]:
    """Give a progress callback: a bar on a terminal, a line now and then elsewhere, nothing when quiet."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet:
        yield lambda *_: None
        return
    if not console.is_terminal:
        last = [time.monotonic()]

        def lines(done: str, count: int, total: int) -> None:
            if time.monotonic() - last[0] > 20 or count == total:
                last[0] = time.monotonic()
                print(f"aftertune: {count} of {total} done, last: {done or 'nothing yet'}", file=sys.stderr)

        yield lines
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("planning")
        yield lambda done, count, total: bar.update(task, completed=count, total=total, description=done)


def finish(result: Result, as_json: bool) -> NoReturn:
    """Print what a run found and end with the exit code of its outcome."""
    for warning in result.warnings:
        print(f"aftertune: warning: {warning}", file=sys.stderr)
    if as_json:
        show_json(
            {
                "outcome": result.outcome,
                "decisions": list(result.decisions),
                "drifts": list(result.drifts),
                "measures": list(result.measures),
                "judge_costs": result.costs,
                "run": str(result.root),
                "report": str(result.report),
            }
        )
    else:
        from aftertune.measures import lines
        from aftertune.summary import decision_lines, drift_table

        for line in drift_table(result.gated):
            print(line)
        for line in lines(result.measures):
            print(line)
        for name, cost in result.costs.items():
            tokens = f"{cost['prompt_tokens']:,} prompt and {cost['new_tokens']:,} new tokens"
            print(f"{name}: {cost['calls']:,} calls, {tokens}")
        for line in decision_lines(result.outcome, result.decisions):
            print(line)
        print(f"\nreport: {result.report}")
    sys.exit(EXIT[result.outcome])
