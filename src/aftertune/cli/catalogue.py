"""Commands that list plugins and public benchmarks, and those on the embedded models."""

from __future__ import annotations

import dataclasses
import sys
from typing import Annotated

import typer

from aftertune.cli.app import AsJson, Quiet, app, embedded_app, show_json, show_lines

KINDS = "One of corpus, benchmark, judge, backend, executor, mitigation, analysis, predictor."


@app.command(name="list")
def list_(
    kind: Annotated[str | None, typer.Argument(help=KINDS)] = None,
) -> None:
    """List the plugins, by kind: benchmarks, judges and others."""
    from aftertune.commands.catalogue import list_plugins

    for each, names in list_plugins(kind).items():
        for name in names:
            print(f"{each:<10} {name}")


@app.command()
def show(
    kind: Annotated[str, typer.Argument(help=KINDS)],
    name: Annotated[str, typer.Argument(help="As `aftertune list` shows it.")],
) -> None:
    """Show a plugin's card and its parameters."""
    from aftertune.commands import catalogue as library

    show_lines(library.show(kind, name).splitlines())


@app.command()
def fetch(
    name: Annotated[
        str, typer.Argument(help="A benchmark or list, NAME or NAME/VARIANT; left out, all are listed.")
    ] = "",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Download a public benchmark from its source. It goes into AFTERTUNE_CACHE, else ~/.cache/aftertune."""
    from aftertune.commands import fetch as library

    if not name:
        offered = library.catalogue()
        if as_json:
            show_json(offered)
            return
        for each in offered:
            state = "here" if each.here else "gated" if each.gated else ""
            show_lines([f"{each.name:<28} {state:<6} {each.licence:<40} {each.page}"])
        return
    files = library.fetch(name, progress=(lambda *_: None) if quiet else _show_download)
    if as_json:
        show_json([{**dataclasses.asdict(file), "path": str(file.path)} for file in files])
        return
    for file in files:
        state = "as pinned" if file.pinned else "not pinned: this first fetch is trusted, later ones must match it"
        if not quiet:
            print(
                f"{file.path}\n  {file.bytes:,} bytes, SHA-256 {file.sha256}, {state}{'' if file.new else ', was here'}"
            )


def _show_download(name: str, have: int, total: int | None) -> None:
    """Show the progress of a download, on a terminal only."""
    if sys.stderr.isatty():
        end = "\n" if have == total else ""
        print(f"\r{name}: {have:,} of {total or '?'} bytes", end=end, file=sys.stderr, flush=True)


@embedded_app.command()
def card(
    name: Annotated[str, typer.Argument(help="A shipped model's name, or a folder; left out, the default base.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show the card of an embedded model. What it can and cannot do, as measured on held-out prompts."""
    from aftertune.shipped_models import card as library

    model_card = library.show(name)
    if as_json:
        show_json(dataclasses.asdict(model_card))
    else:
        show_lines(library.markdown(model_card).splitlines())
