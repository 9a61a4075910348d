"""The application and what its commands share: common options, exit codes, progress and output."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from aftertune.cli.safe_output import safe
from aftertune.errors import UsageError

if TYPE_CHECKING:
    from aftertune.commands.compose import Share
    from aftertune.commands.decide import Result
    from aftertune.commands.study import Progress

EXIT = {"pass": 0, "error": 1, "drift": 3, "unconfirmed": 4, "undecided": 4}
"""Exit codes of a command that decides; 2 is for usage or bad input."""

app = typer.Typer(
    help="Find out what fine-tuning did to a model's safety and privacy: is it real, what caused it, may I ship?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 pass or done, 1 error, 2 wrong usage or bad input, 3 drift (pii scan: a finding), "
    "4 undecided, or beyond the margin but not confirmed.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"aftertune {version('aftertune')}")
        except PackageNotFoundError:
            print("aftertune, not installed: run from its source")
        sys.exit(0)


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


embedded_app = typer.Typer(help="Show what the embedded models can and cannot do.", no_args_is_help=True)
app.add_typer(embedded_app, name="embedded")
pii_app = typer.Typer(help="Find personal data, register it, and see what comes back.", no_args_is_help=True)
app.add_typer(pii_app, name="pii")

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress, for CI.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
All = Annotated[bool, typer.Option("--all", help="Show every row; else only the most important of many.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="The run folder; the same command continues it.")]
CacheFolder = Annotated[
    Path | None, typer.Option("--cache", help="Folder where runs share a base's answers; default: the user's cache.")
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Do not use shared answers: ask the base again.")]
Columns = Annotated[str, typer.Option("--columns", help="Names of the columns: prompt=COLUMN,response=COLUMN.")]
Encoding = Annotated[
    str, typer.Option("--encoding", help="Encoding of a text file that is not UTF-8, e.g. windows-1252.")
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Skip and count rows that cannot be read.")]
Workers = Annotated[int, typer.Option("--workers", min=0, help="Number of processes; 0 is one per core.")]


def cache_of(folder: Path | None, no_cache: bool) -> Path | bool:
    """Return where base answers are shared. Raises UsageError for a folder and none."""
    if folder is not None and no_cache:
        raise UsageError("--cache DIR contradicts --no-cache: leave one out")
    return folder if folder is not None else not no_cache


def tell(message: str) -> None:
    """Print one line on standard error."""
    line = f"aftertune: {safe(' '.join(message.split()))}".encode("utf-8", "replace").decode()
    print("\n".join(folded([line], _width(2))), file=sys.stderr)


def fail(message: str, code: int) -> NoReturn:
    """End with one line on standard error."""
    tell(message)
    sys.exit(code)


def show_json(value: object) -> None:
    """Print records as JSON."""
    from aftertune.records import plain

    print(json.dumps(plain(value), indent=1, ensure_ascii=True, allow_nan=False))


def terminal_width() -> int | None:
    """Return the width of the terminal on standard output, or None if it is not a terminal."""
    return _width(1)


def terminal_height() -> int | None:
    """Return the lines of the terminal on standard output, or None if it is not a terminal."""
    return os.get_terminal_size(1).lines or None if os.isatty(1) else None


def _width(descriptor: int) -> int | None:
    return os.get_terminal_size(descriptor).columns or None if os.isatty(descriptor) else None


def folded(lines: Iterable[str], width: int | None) -> list[str]:
    """Return the lines, those wider than `width` columns wrapped between words, their indentation kept."""
    folds: list[str] = []
    for line in lines:
        if width is None or len(line) <= width:
            folds.append(line)
            continue
        indent = line[: len(line) - len(line.lstrip())]
        inner = f"{indent}  " if len(indent) + 12 < width else ""
        folds += textwrap.wrap(
            line, width, subsequent_indent=inner, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
        )
    return folds


def show_lines(lines: Iterable[str]) -> None:
    """Print lines for a person: on a terminal, none is wider than the window."""
    for line in folded(lines, terminal_width()):
        print(line)


@contextmanager
def progress_on(quiet: bool) -> Iterator[Progress]:
    """Yield a progress callback: a table and a bar on a terminal, a line now and then elsewhere, nothing when quiet.

    Meanwhile whatever libraries print goes to standard error, since standard output is for results.
    """
    with redirect_stdout(sys.stderr):
        if quiet:
            yield lambda *_: None
            return
        from rich.console import Console

        from aftertune.cli.progress import Lines, Table
        from aftertune.cli.stderr_capture import StderrCapture

        console = Console(stderr=True)
        if not sys.stderr.isatty():
            with Lines(tell) as lines:
                yield lines
            return
        if not console.is_terminal or console.is_dumb_terminal:
            capture = StderrCapture(lambda line: print(safe(line), file=capture.terminal))
            with capture, Lines(tell) as lines:
                yield lines
            return
        with Table() as table:
            yield table


@contextmanager
def share_on(quiet: bool) -> Iterator[Share | None]:
    """Yield a callback for the share done of one long task: a bar on a terminal, a line now and then elsewhere."""
    if quiet:
        yield None
        return
    from rich.console import Console

    from aftertune.cli.progress import Bar, ShareLines

    console = Console(stderr=True)
    if not console.is_terminal:
        yield ShareLines(tell)
        return
    with Bar(console) as bar:
        yield bar


def finish(result: Result, as_json: bool, whole: bool = False) -> NoReturn:
    """Print the result of a run and end with the exit code of its outcome."""
    show_result(result, as_json, whole)
    sys.exit(EXIT[result.outcome])


def show_result(result: Result, as_json: bool, whole: bool = False) -> None:
    """Print the result of a run: what leads, or with `whole` every row."""
    for warning in result.warnings:
        tell(f"warning: {warning}")
    if as_json:
        from aftertune.headline import leading

        show_json(
            {
                "outcome": result.outcome,
                "decisions": list(result.decisions),
                "drifts": list(result.drifts if whole else leading(result.drifts, result.decisions)),
                "measures": list(result.measures),
                "discrimination": [
                    {**dataclasses.asdict(row), "strength": row.strength} for row in result.discrimination
                ],
                "judge_costs": result.costs,
                "thoughts": [{**dataclasses.asdict(row), "lost": row.lost} for row in result.thoughts],
                "labels": [{**dataclasses.asdict(each), "overturned": each.overturned} for each in result.labels],
                "run": str(result.root),
                "report": str(result.report),
            }
        )
    else:
        from aftertune.deciding.label_effects import lines as label_lines
        from aftertune.deciding.measures import lines
        from aftertune.reporting.terminal import decision_lines, discrimination_lines, result_table, thought_lines

        width = terminal_width()
        show_lines(result_table(result.drifts, result.decisions, width, terminal_height(), whole=whole))
        show_lines(discrimination_lines(result.discrimination, result.undiscriminated, whole=whole))
        show_lines(lines(result.measures))
        show_lines(thought_lines(result.thoughts))
        show_lines(label_lines(result.labels))
        for name, cost in result.costs.items():
            tokens = f"{cost['prompt_tokens']:,} prompt and {cost['new_tokens']:,} new tokens"
            show_lines([f"{name}: {cost['calls']:,} calls, {tokens}"])
        show_lines(decision_lines(result.outcome, result.decisions, width, whole=whole))
        print(f"\nreport: {result.report}")
