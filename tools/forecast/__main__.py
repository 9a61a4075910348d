"""Build what `aftertune forecast` forecasts from: `python -m tools.forecast evidence`, then `fit`."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    help="Evidence, fit and page of the forecast.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
Limit = Annotated[int | None, typer.Option(min=1, help="Trainings at most; all where left out.")]


Real = Annotated[bool, typer.Option("--real", help="On the real model in place of the shipped ones.")]


@app.command()
def evidence(limit: Limit = None, real: Real = False) -> None:
    """Tune and ask every variant that is not done yet; continues what was stopped."""
    from tools.forecast import evidence as building

    print(f"still to do: {building.build(limit, real=real)}")


@app.command()
def table() -> None:
    """Gather what has been tuned, and the published studies, into tools/forecast/evidence.csv."""
    from tools.forecast import studies
    from tools.forecast import table as tables

    rows = [*tables.gather(), *studies.gather()]
    tables.write(rows)
    print(f"{len(rows)} rows: {tables.FILE}")


@app.command()
def fit() -> None:
    """Fit what stands in evidence.csv; write the fit into the package, and docs/forecast.md."""
    from tools.forecast import fit as fitting
    from tools.forecast import page
    from tools.forecast import table as tables

    rows = tables.read()
    found = fitting.fit(rows)
    fitting.keep(found)
    page.PAGE_FILE.write_text(page.text(rows, found), encoding="utf-8")
    for each in found.targets:
        print(
            f"{each.outcome}: rho {each.rho} [{each.rho_low}, {each.rho_high}], coverage {each.coverage} {each.usable}"
        )


if __name__ == "__main__":
    app()
