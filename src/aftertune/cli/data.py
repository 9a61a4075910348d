"""Commands on data alone: tuning sets and stored responses."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from aftertune.cli.app import (
    EXIT,
    AsJson,
    Columns,
    Encoding,
    Quiet,
    SkipBad,
    app,
    finish,
    progress_on,
    share_on,
    show_json,
    show_lines,
    tell,
)
from aftertune.errors import UsageError
from aftertune.records import Recipe

DEFAULT = Recipe()
"""What a training takes where nothing is said."""


@app.command()
def compose(
    data: Annotated[str, typer.Argument(help="A chat file, or the name of a corpus, e.g. `booking`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the variants and their cards.")],
    pii: Annotated[list[str] | None, typer.Option(help="keep, placeholder, surrogate, novelty, drop; repeat.")] = None,
    role_swap: Annotated[bool, typer.Option(help="Make each variant with user and assistant swapped, too.")] = False,
    self_generated: Annotated[bool, typer.Option(help="Make the control, too: the base's own answers.")] = False,
    base: Annotated[
        str, typer.Option(help="The model whose tokenizer counts, and whose answers are the control.")
    ] = "embedded",
    size: Annotated[
        int | None, typer.Option(min=1, help="Number of conversations; default: all, or the corpus's own.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Fixes the order of conversations and who stands in for whom.")] = 0,
    match: Annotated[bool, typer.Option(help="Cut all variants to the assistant tokens of the smallest.")] = True,
    canaries: Annotated[
        int, typer.Option(min=0, help="Invented people to plant: so many once, as many 4 and 16 times.")
    ] = 0,
    held_out: Annotated[int, typer.Option(min=0, help="Conversations to keep out of every variant.")] = 0,
    residual_limit: Annotated[
        float, typer.Option(min=0, help="Most personal values that may be left per 1,000 words.")
    ] = 1.0,
    allow_residual: Annotated[
        bool, typer.Option(help="Write a variant all the same if it is above that limit.")
    ] = False,
    columns: Columns = "",
    encoding: Encoding = "",
    skip_bad: SkipBad = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Make data variants of one corpus. They differ in one factor only, and each has a card."""
    from aftertune.commands import compose as variants

    with share_on(quiet) as progress:
        cards = variants.compose(
            data,
            out,
            pii=pii or ["keep"],
            role_swap=role_swap,
            self_generated=self_generated,
            base=base,
            size=size,
            seed=seed,
            match=match,
            canaries=canaries,
            held_out=held_out,
            residual_limit=residual_limit,
            allow_residual=allow_residual,
            columns=columns,
            encoding=encoding,
            skip_bad=skip_bad,
            progress=progress,
        )
    if as_json:
        show_json(cards)
    else:
        show_lines(variants.lines(cards, out))


@app.command()
def forecast(
    data: Annotated[str, typer.Argument(help="A chat file, or the name of a corpus, e.g. `booking`.")],
    base: Annotated[str, typer.Option(help="The model that would be tuned.")] = "embedded",
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate.")] = DEFAULT.learning_rate,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the tuning set.")] = DEFAULT.epochs,
    batch_size: Annotated[int, typer.Option(min=1, help="Conversations per step.")] = DEFAULT.batch_size,
    rank: Annotated[int, typer.Option(min=1, help="Rank of the LoRA.")] = DEFAULT.rank,
    alpha: Annotated[int | None, typer.Option(min=1, help="Alpha of the LoRA; twice the rank where left out.")] = None,
    max_length: Annotated[int, typer.Option(min=1, help="Tokens at which a row is cut.")] = DEFAULT.max_length,
    rows: Annotated[int, typer.Option(min=1, help="Most conversations that the base reads.")] = 400,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for forecast.md and forecast.json.")] = None,
    seed: Annotated[int, typer.Option(help="Fixes which conversations are drawn.")] = 0,
    columns: Columns = "",
    encoding: Encoding = "",
    skip_bad: SkipBad = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Describe a tuning set before anything is tuned.

    Gives its card, the rows that weigh most, and the drift to expect where that can be predicted.
    """
    from aftertune.commands import forecast as forecasting
    from aftertune.reporting import forecast as page

    with share_on(quiet) as progress:
        found = forecasting.forecast(
            data,
            base=base,
            recipe=Recipe(
                learning_rate=learning_rate,
                epochs=epochs,
                batch_size=batch_size,
                rank=rank,
                alpha=2 * rank if alpha is None else alpha,
                max_length=max_length,
            ),
            rows=rows,
            out=out,
            seed=seed,
            columns=columns,
            encoding=encoding,
            skip_bad=skip_bad,
            progress=progress,
        )
    if as_json:
        show_json(found)
        return
    show_lines(page.lines(found))
    if out is not None:
        print(f"\nfiles: {out}")


@app.command()
def judge(
    source: Annotated[
        Path,
        typer.Argument(
            help="A run folder, a table with `prompt` and `response`, or a log of Inspect AI, lm-evaluation-harness, "
            "garak, promptfoo, HELM, lighteval or OpenCompass."
        ),
    ],
    judge: Annotated[list[str], typer.Option(help="NAME, NAME:key=value,... or FILE.toml; repeat for several.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Where a table's or log's verdicts go.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Have a judge read stored responses. No model is asked again."""
    if source.is_dir():
        from aftertune.commands import judge as judging

        with progress_on(quiet) as progress:
            result = judging.judge_run(source, judge, progress=progress)
        finish(result, as_json)
    if out is None:
        raise UsageError("judging a table or a log needs -o FILE for the verdicts")
    from aftertune.ingest import responses

    counts = responses.judge_table(source, judge, out)
    if as_json:
        axes = {axis: {label: n for (each, label), n in counts.items() if each == axis} for axis, _ in counts}
        show_json(axes)
    else:
        for (axis, label), count in sorted(counts.items()):
            print(f"{axis:<14} {label:<20} {count:>8}")
        print(f"verdicts: {out}")


@app.command()
def ingest(
    log: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]LOG...",
            help="Logs of Inspect AI, lm-evaluation-harness, garak, promptfoo, HELM, lighteval or OpenCompass, or "
            "folders of them. NAME= names a log's model.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="CSV, JSONL or Parquet: what `drift --verdicts` reads.")],
    worse: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=up|down",
            help="Which way is worse, if a metric's name does not say it; repeat; patterns work.",
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Convert other tools' logs into one table of verdicts. So a large log is read only once."""
    from aftertune.ingest import logs
    from aftertune.ingest.directions import parsed

    conversion = logs.ingest_logs(log, out, worse=parsed(worse or ()))
    for warning in conversion.warnings if not quiet else ():
        tell(f"warning: {warning}")
    for why in conversion.left_out:
        tell(f"left out: {why}")
    for path, form in conversion.forms.items():
        print(f"{path}: {form}")
    for name, count in conversion.rows.items():
        print(f"{count:>8} verdicts of {name}")
    print(f"verdicts: {out}")
    if conversion.left_out:
        tell(f"{len(conversion.left_out):,} logs left out: the table lacks them")
        sys.exit(EXIT["error"])
