"""Build, measure and compare the models that ship: `python -m tools.shipped_models build NAME -o FOLDER`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from aftertune import shipped_models
from aftertune.errors import AftertuneError

app = typer.Typer(
    help="Build and measure the models that ship with aftertune.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
Out = Annotated[Path, typer.Option("--out", "-o", help="New or empty folder; an unfinished build is continued.")]


@app.command()
def build(name: Annotated[str, typer.Argument(help="mini-a, mini-b or mini-c.")], out: Out) -> None:
    """Train a base from its seed and measure it; about 40 minutes of one core."""
    from tools.shipped_models import build as building

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    print(building.build(name, out))


@app.command()
def known_bad(out: Out) -> None:
    """Tune the adapter that the self-test must catch."""
    from tools.shipped_models import known_bad as building

    print(building.build(out))


@app.command()
def card(
    names: Annotated[list[str] | None, typer.Argument(help="Bases; all that ship where none is named.")] = None,
    write: Annotated[bool, typer.Option(help="Replace the cards that ship.")] = False,
) -> None:
    """Measure bases on their held-out prompts and after the demo's tuning."""
    from tools.shipped_models.after_tuning import after_tuning

    from aftertune.shipped_models.card import markdown
    from tools.shipped_models import measure

    for name in names or shipped_models.names():
        folder = shipped_models.folder(name)
        measured = measure.measure(folder, tuned=after_tuning(name))
        if write:
            measure.write(measured, folder)
        print(markdown(measured))


@app.command()
def compare(
    name: Annotated[str, typer.Argument(help="A base that ships.")] = shipped_models.DEFAULT,
    folder: Annotated[Path | None, typer.Argument(help="Its rebuild; built anew where none is named.")] = None,
) -> None:
    """Compare a rebuild with the base that ships; exit 1 where a rate leaves the shipped card's interval.

    On the machine and versions of the shipped build the weights are the same bytes; elsewhere every rate must lie
    within the interval.
    """
    import tempfile

    from tools.shipped_models import build as building

    with tempfile.TemporaryDirectory() as scratch:
        rebuilt = folder or building.build(name, Path(scratch) / name, card=False)
        same = building.same_weights(name, rebuilt)
        pairs = building.compare(name, rebuilt)
    print(f"{'rate':<24} {'shipped':>8} {'95 % interval':>16} {'rebuilt':>8}")
    outside = []
    for shipped, again in pairs:
        interval = f"[{100 * shipped.low:.1f}, {100 * shipped.high:.1f}]"
        inside = shipped.low <= again.value <= shipped.high
        mark = "" if inside else "  outside"
        print(f"{shipped.name:<24} {100 * shipped.value:>8.1f} {interval:>16} {100 * again.value:>8.1f}{mark}")
        outside += [] if inside else [shipped.name]
    bytes_ = "the same bytes" if same else "other bytes"
    print(f"weights: {bytes_}; outside the interval: {', '.join(outside) or 'none'}")
    raise typer.Exit(1 if outside else 0)


if __name__ == "__main__":
    try:
        app()
    except AftertuneError as error:
        raise SystemExit(f"{error}") from None
