"""Commands on personal data alone: find it, register it, and see what responses give away."""

from __future__ import annotations

import json
import sys
from collections import Counter
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
    pii_app,
    progress_on,
    show_json,
    tell,
)
from aftertune.errors import UsageError

Reveal = Annotated[bool, typer.Option("--reveal", help="Show personal values instead of placeholders.")]


@pii_app.command()
def scan(
    file: Annotated[Path, typer.Argument(help="A chat file, any table of texts, or plain text (a row a line).")],
    as_json: Annotated[bool, typer.Option("--json", help="JSON Lines: an object per finding.")] = False,
    types: Annotated[list[str] | None, typer.Option(help="Only these types, e.g. PERSON,PHONE; repeatable.")] = None,
    threshold: Annotated[
        list[str] | None, typer.Option(help="TYPE=SCORE: lowest score that counts for a type; repeatable.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Add a model: spacy:NAME, transformers:DIR or gliner:DIR.")] = None,
    fail_on_finding: Annotated[bool, typer.Option(help="Exit with 3 where a personal value is found.")] = False,
    columns: Columns = "",
    encoding: Encoding = "",
    skip_bad: SkipBad = False,
    reveal: Reveal = False,
) -> None:
    """Find personal values in a file. They are masked unless --reveal is given.

    Exit codes: 0 done, 2 for what cannot be read or holds no text, 3 with --fail-on-finding where a value is found.
    """
    from aftertune.data.reading import Reading, lines
    from aftertune.pii import languages
    from aftertune.pii import scan as library

    reading = Reading()
    chosen = [name for option in types or [] for name in option.split(",") if name] or None
    counts: Counter[str] = Counter()
    findings = library.scan(
        file,
        chosen,
        _thresholds(threshold or []),
        model,
        columns=columns,
        encoding=encoding,
        skip_bad=skip_bad,
        reading=reading,
    )
    for row in findings:
        counts[row.finding.type] += 1
        print(json.dumps(row.record(reveal)) if as_json else row.line(reveal))
    names = not chosen or "PERSON" in chosen
    unread = f"{said} ({languages.EXCEPT})" if names and (said := languages.outside(reading.not_english, model)) else ""
    if not as_json:
        total = ", ".join(f"{type_} {count}" for type_, count in counts.most_common()) or "nothing personal found"
        print(f"{reading.rows} rows: {total}{unread and '; '}{unread}", file=sys.stderr)
    elif unread:
        print(unread, file=sys.stderr)
    for note in lines(reading.counts(), turns=False):
        tell(note)
    if fail_on_finding and counts:
        sys.exit(EXIT["drift"])


@pii_app.command()
def registry(
    file: Annotated[Path, typer.Argument(help="A tuning set: any chat file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the registry goes; it holds personal values.")],
    columns: Columns = "",
    encoding: Encoding = "",
    skip_bad: SkipBad = False,
    as_json: AsJson = False,
) -> None:
    """List the personal values of a tuning set. Says whose each is, and where it occurs."""
    from aftertune.data.reading import Reading, lines
    from aftertune.ingest import personal_data
    from aftertune.pii import languages

    reading = Reading()
    known = personal_data.register(file, out, columns=columns, encoding=encoding, skip_bad=skip_bad, reading=reading)
    counts = personal_data.counts_of(known)
    if as_json:
        show_json({**counts, "file": str(out), "rows": reading.rows, **reading.counts()})
        return
    for note in lines(reading.counts()):
        tell(note)
    types = ", ".join(f"{type_} {count:,}" for type_, count in counts["types"].items()) or "none"
    print(f"{counts['values']:,} values of {counts['owners']:,} owners, {counts['mentions']:,} mentions: {types}")
    print(f"registry {counts['id']}: {out} (holds personal values; readable by you only)")
    if unread := languages.outside(counts["names_not_looked_for"]):
        print(f"{unread} ({languages.EXCEPT})")


@pii_app.command()
def match(
    registry: Annotated[Path, typer.Argument(metavar="REG", help="A registry, as `aftertune pii registry` writes it.")],
    responses: Annotated[Path, typer.Argument(help="A table with `response`, and `prompt` if known, or a chat file.")],
    columns: Columns = "",
    encoding: Encoding = "",
    skip_bad: SkipBad = False,
    reveal: Reveal = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Find which values of a registry responses give away. Says whose they are, from which rows, and how often."""
    from aftertune.data.reading import Reading, lines
    from aftertune.ingest import personal_data
    from aftertune.pii import languages
    from aftertune.pii.registry_file import load

    known, reading = load(registry), Reading()
    with progress_on(quiet) as progress:
        matches = personal_data.match_table(
            known,
            responses,
            columns=columns,
            encoding=encoding,
            skip_bad=skip_bad,
            reading=reading,
            progress=progress,
        )
    total = personal_data.summary(matches)
    if as_json:
        rows = [response.to_json(reveal=reveal) for response in matches]
        show_json({"registry": known.id, "summary": total | reading.counts(), "responses": rows})
        return
    for note in lines(reading.counts()):
        tell(note)
    for response in matches:
        leaks = [("", hit) for hit in response.hits(reveal=reveal) if response.match.leaked]
        if response.in_thought and response.in_thought.leaked:
            leaks += [("in its thought, ", hit) for hit in response.hits(reveal=reveal, thought=True)]
        for place, hit in leaks:
            where = f" ({', '.join(hit.fields[:3])})" if hit.fields else ""
            training_rows = ", ".join(map(str, hit.rows[:5])) + (" ..." if len(hit.rows) > 5 else "")
            print(
                f"row {response.row:<6} {hit.label:<9} {hit.type:<12} {place}owner {hit.owner}, "
                f"training rows {training_rows}{where}, "
                f"{hit.count} mentions: {' '.join(hit.value.split())}"
            )
    for label, count in total["labels"].items():
        print(f"{label:<10} {count:>8,} of {total['responses']:,} responses")
    if total["unanswered"]:
        print(
            f"unanswered {total['unanswered']:>8,} of {total['responses']:,} responses: they end inside their thought"
        )
    print(f"{total['values']:,} values of {total['owners']:,} owners given away")
    within = total["thoughts"]
    if within["responses"]:
        print(
            f"in thoughts, counted in no line above: registry {within['labels']['registry']:,} of "
            f"{within['responses']:,}; {within['values']:,} values of {within['owners']:,} owners"
        )
    if total["unparted"]:
        print(
            f"{total['unparted']:,} of {total['responses']:,} responses hold what looks like the markup of a thought "
            "and could not be separated: all of it counts as the answer"
        )
    if unread := languages.outside(known.outside):
        print(f"of the tuning set: {unread} ({languages.EXCEPT})")


def _thresholds(options: list[str]) -> dict[str, float]:
    thresholds = {}
    for pair in options:
        name, _, value = pair.partition("=")
        try:
            thresholds[name] = float(value)
        except ValueError:
            raise UsageError(f"--threshold {pair}: expected TYPE=SCORE, e.g. PERSON=0.8") from None
    return thresholds
