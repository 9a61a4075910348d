"""Commands that hand a run's results to others: model cards, tables and figures, experiment trackers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aftertune.cli.app import AsJson, app, show_json, show_lines


@app.command()
def card(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A model card (README.md) to write it into; else it is printed.")
    ] = None,
    arm: Annotated[str, typer.Option(help="Which arm or checkpoint the card is about, where a run has several.")] = "",
    name: Annotated[str, typer.Option(help="The model's name in the metadata; default: the arm's.")] = "",
) -> None:
    """Write the results for a model card. Intervals and decisions in a section, and `model-index` metadata."""
    from aftertune.commands import model_card as library

    text = library.card(run, out or "", arm=arm, name=name)
    if out is None:
        print(text, end="")
    else:
        show_lines([f"written: {out}"])


@app.command()
def results(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the files.")],
    format_: Annotated[
        list[str] | None, typer.Option("--format", help="csv, parquet, svg, png; repeat. Default: csv and svg.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the numbers as tables and figures. CSV or Parquet, and a forest plot of each metric as SVG or PNG."""
    from aftertune.commands import result_files as library

    files = library.results(run, out, formats=format_ or ("csv", "svg"))
    if as_json:
        show_json([str(path) for path in files])
    else:
        show_lines([str(path) for path in files])


@app.command()
def track(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    to: Annotated[str, typer.Option(help="`mlflow` or `wandb`.")],
    project: Annotated[str, typer.Option(help="MLflow's experiment, W&B's project.")] = "aftertune",
    uri: Annotated[str, typer.Option(help="MLflow's tracking server or folder; default: its own setting.")] = "",
    as_json: AsJson = False,
) -> None:
    """Log the numbers to MLflow or Weights & Biases. Each arm becomes a run of the tracker."""
    from aftertune.commands import tracking as library

    made = library.track(run, to, project=project, uri=uri)
    if as_json:
        show_json(made)
    else:
        show_lines([f"{to}: {ident}" for ident in made])
