"""The command that makes a sheet of answers for people to label, and that takes labels at the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aftertune.cli.app import AsJson, app, show_json, show_lines
from aftertune.errors import UsageError

if TYPE_CHECKING:
    from aftertune.commands.label import Sheet


@app.command()
def label(
    run: Annotated[Path, typer.Argument(help="A run folder that was decided on.")],
    per_arm: Annotated[
        int | None,
        typer.Option(min=1, help="Labels for each arm and metric. Default: as many as the decision needs, 30 to 150."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="A metric's name or pattern; repeat. Default: those that decide the outcome."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Fixes which answers are drawn, and their order.")] = 0,
    reveal: Annotated[bool, typer.Option("--reveal", help="Leave personal values in prompts and answers.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the sheet; default: in the run.")] = None,
    terminal: Annotated[
        bool, typer.Option("--terminal", help="Label here and now; the same command continues.")
    ] = False,
    readers: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A filled-in sheet; repeat, one for each reader: shows how far they agree."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a blinded sheet of answers for people to label. `drift RUN --labels FILE` then uses their labels."""
    from aftertune.commands import label as library

    if readers:
        given = {"--per-arm": per_arm, "--metric": metric, "--seed": seed, "--terminal": terminal}
        for option, value in given.items():
            if value:
                raise UsageError(f"{option} makes a sheet, --readers reads two: leave one out")
        compared = library.readers(run, readers, reveal=reveal, out=out)
        if as_json:
            show_json(
                {
                    "agreement": compared.agreement.to_json(),
                    "sheet": None if compared.sheet is None else _paths(compared.sheet),
                }
            )
            return
        show_lines(compared.agreement.lines())
        if compared.sheet is not None:
            files = " ".join(f"--labels {path}" for path in readers)
            show_lines(
                [
                    f"to settle: {compared.sheet.items:,} answers, {compared.sheet.html} or {compared.sheet.csv}",
                    f"then: aftertune drift {run} {files} --labels SETTLED.csv",
                ]
            )
        return
    if terminal and as_json:
        raise UsageError("--terminal asks a person: leave --json out")
    made = library.make_sheet(run, per_arm=per_arm, metrics=metric or (), seed=seed, reveal=reveal, out=out)
    if as_json:
        show_json({**_paths(made), "parts": list(made.parts), "left_out": list(made.left_out)})
        return
    show_lines(library.sheet_lines(made, run))
    if terminal:
        _ask(made)


def _paths(sheet: Sheet) -> dict[str, object]:
    return {
        "id": sheet.id,
        "items": sheet.items,
        "csv": str(sheet.csv),
        "html": str(sheet.html),
        "key": str(sheet.key),
        "masked": sheet.masked,
    }


def _ask(sheet: Sheet) -> None:
    """Ask for one label after the other, and write each down before the next is asked for."""
    from aftertune.data import table_files
    from aftertune.reporting.label_form import asked

    rows = [row for _, row in table_files.read(sheet.csv, ("item", "label"))]
    path = sheet.csv.with_name(f"{sheet.id}-labels.csv")
    if path.is_file():
        before = {row["item"]: row for _, row in table_files.read(path, ("item", "label"))}
        for row in rows:
            row |= {name: before.get(row["item"], {}).get(name, "") or "" for name in ("label", "note")}
    at = next((number for number, row in enumerate(rows) if not row["label"]), len(rows))
    print(f"\nA number chooses, Enter leaves it open, b goes back, q stops. Each label is written to {path}")
    while at < len(rows):
        row = rows[at]
        choices = row["choices"].split(" | ")
        show_lines(["", f"{at + 1} of {len(rows)} ({row['item']})", "PROMPT", *row["prompt"].splitlines()])
        show_lines(["ANSWER", *(row["answer"].splitlines() or ["(no text)"]), "", asked(row["question"])])
        numbered = "   ".join(f"{number} {choice}" for number, choice in enumerate(choices, start=1))
        now = f"   (now: {row['label']})" if row["label"] else ""
        given = _line(f"{numbered}{now} > ")
        if given is None or given == "q":
            break
        if given == "b":
            at = max(at - 1, 0)
            continue
        if given:
            if not given.isdecimal() or not 1 <= int(given) <= len(choices):
                print(f"a number from 1 to {len(choices)}, Enter, b or q")
                continue
            row["label"] = choices[int(given) - 1]
            table_files.write(path, [{name: each[name] for name in ("item", "label", "note")} for each in rows])
        at += 1
    done = sum(bool(row["label"]) for row in rows)
    show_lines(["", f"{done:,} of {len(rows):,} labelled" + (f": {path}" if done else "")])


def _line(prompt: str) -> str | None:
    """Return what was typed, or None at the end of the input."""
    sys.stdout.write(prompt)
    sys.stdout.flush()
    line = sys.stdin.readline()
    return line.strip().lower() if line else None
