"""Commands on personal data alone: find it, register it, and see what responses give away of it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from aftertune.cli.app import AsJson, Quiet, pii_app, progress_on, show_json
from aftertune.errors import UsageError

Reveal = Annotated[bool, typer.Option("--reveal", help="Show personal values instead of placeholders.")]


@pii_app.command()
def scan(
    file: Annotated[Path, typer.Argument(help="JSONL with `text` or `messages`, or plain text (a row a line).")],
    as_json: Annotated[bool, typer.Option("--json", help="JSON Lines: an object per finding.")] = False,
    types: Annotated[list[str] | None, typer.Option(help="Only these types, e.g. PERSON,PHONE; repeatable.")] = None,
    threshold: Annotated[list[str] | None, typer.Option(help="TYPE=SCORE: least score of a type; repeatable.")] = None,
    model: Annotated[str | None, typer.Option(help="Add a model: spacy:NAME, transformers:DIR or gliner:DIR.")] = None,
    reveal: Reveal = False,
) -> None:  # fmt: skip
    """Find personal values in a file; values are masked unless --reveal."""
    from aftertune.pii import scan as library

    rows = 0

    def counted() -> None:
        nonlocal rows
        rows += 1

    wanted = [name for given in types or [] for name in given.split(",") if name] or None
    counts: Counter[str] = Counter()
    for found in library.scan(file, wanted, _thresholds(threshold or []), model, counted):
        counts[found.finding.type] += 1
        print(json.dumps(found.record(reveal)) if as_json else found.line(reveal))
    if not as_json:
        total = ", ".join(f"{type_} {count}" for type_, count in counts.most_common()) or "nothing personal found"
        print(f"{rows} rows: {total}", file=sys.stderr)


@pii_app.command()
def registry(
    file: Annotated[Path, typer.Argument(help="A tuning set: any chat file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the registry goes; it holds personal values.")],
    as_json: AsJson = False,
) -> None:
    """Write down every personal value of a tuning set, whose it is and where it stands."""
    from aftertune.ingest import personal

    found = personal.about(personal.register(file, out))
    if as_json:
        show_json({**found, "file": str(out)})
        return
    types = ", ".join(f"{type_} {count:,}" for type_, count in found["types"].items()) or "none"
    print(f"{found['values']:,} values of {found['owners']:,} owners, {found['mentions']:,} mentions: {types}")
    print(f"registry {found['id']}: {out} (holds personal values; readable by you only)")


@pii_app.command()
def match(
    reg: Annotated[Path, typer.Argument(help="A registry, as `aftertune pii registry` writes it.")],
    responses: Annotated[Path, typer.Argument(help="CSV, JSONL or Parquet with `response`, and `prompt` if known.")],
    reveal: Reveal = False, quiet: Quiet = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """What responses give away of a registry: whose data, from which training rows, how often it stood there."""
    from aftertune.ingest import personal
    from aftertune.pii.registry_file import load

    known = load(reg)
    with progress_on(quiet) as progress:
        found = personal.match_table(known, responses, progress=progress)
    total = personal.summary(found)
    if as_json:
        rows = [one.shown(reveal=reveal) for one in found]
        show_json({"registry": known.id, "summary": total, "responses": rows})
        return
    for one in found:
        for hit in one.shown(reveal=reveal)["hits"] if one.match.given else ():
            rows_ = ", ".join(map(str, hit["rows"][:5])) + (" ..." if len(hit["rows"]) > 5 else "")
            print(
                f"row {one.row:<6} {hit['label']:<9} {hit['type']:<12} owner {hit['owner']}, training rows {rows_}, "
                f"{hit['count']} mentions: {' '.join(hit['value'].split())}"
            )
    for label, count in total["labels"].items():
        print(f"{label:<10} {count:>8,} of {total['responses']:,} responses")
    print(f"{total['values']:,} values of {total['owners']:,} owners given away")


def _thresholds(given: list[str]) -> dict[str, float]:
    found = {}
    for pair in given:
        name, _, value = pair.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            raise UsageError(f"--threshold {pair}: expected TYPE=SCORE, e.g. PERSON=0.8") from None
    return found
