"""Personal data in a user's own files (`aftertune pii scan`, `pii registry`, `pii match`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from aftertune.commands.study import Progress, quiet
from aftertune.data.reading import Reading
from aftertune.ingest import personal_data
from aftertune.ingest.personal_data import ResponseMatch
from aftertune.pii import registry_file, scan
from aftertune.pii.registry import Registry
from aftertune.pii.scan import FileFinding
from aftertune.public import PathLike, public


@public("pii_scan")
def pii_scan(
    file: PathLike,
    *,
    types: str | Sequence[str] | None = None,
    thresholds: Mapping[str, float] | None = None,
    model: str | None = None,
    on_row: Callable[[], None] | None = None,
    columns: str = "",
    encoding: str = "",
    skip_bad: bool = False,
    reading: Reading | None = None,
) -> list[FileFinding]:
    """Return the personal values of a file, in order (`aftertune pii scan`).

    Args:
        file: Any chat file, any table of texts, or plain text, a row a line; every text of a row is read.
        types: Only these, e.g. `PERSON`; None is all.
        thresholds: Type -> least score, from 0 to 1.
        model: A named-entity model beside the recognisers: `spacy:NAME`, `transformers:DIR` or `gliner:DIR`.
        on_row: Called once per row.
        columns: Which columns hold the turns, e.g. `prompt=ask,response=reply`.
        encoding: Of a text file, e.g. `windows-1252`; empty is UTF-8, or what a byte order mark says.
        skip_bad: Whether rows that cannot be read are skipped.
        reading: Filled with counts of the rows, of what stands beside their turns, of rows that are skipped, and of
            texts that are not English: there names are not looked for by their capitals.

    Raises UsageError for a missing file, an unknown type or model, DataError (file, line) for one that cannot be read
    or holds no text.

    Example:
        >>> _ = Path("notes.txt").write_text("Write to jane.roe@example.com today.\\n")
        >>> [(each.finding.type, each.value) for each in aftertune.pii_scan("notes.txt")]
        [('EMAIL', 'jane.roe@example.com')]
    """
    wanted = [types] if isinstance(types, str) else types
    return list(
        scan.scan(
            Path(file),
            wanted,
            thresholds,
            model,
            on_row,
            columns=columns,
            encoding=encoding,
            skip_bad=skip_bad,
            reading=reading,
        )
    )


@public("pii_registry")
def pii_registry(
    file: PathLike,
    out: PathLike,
    *,
    columns: str = "",
    encoding: str = "",
    skip_bad: bool = False,
    reading: Reading | None = None,
) -> Registry:
    """Write down every personal value of a tuning set, whose it is and where (`aftertune pii registry`); return it.

    Args:
        file: Any chat file that `compose` reads; every text of its rows counts, not only the turns.
        out: Where the registry goes, readable by its owner only: it holds personal values. An older registry there is
            replaced, any other file is refused.
        columns: Which columns hold the turns; this and the following as in `pii_scan`.
        encoding: Of a text file.
        skip_bad: Whether rows that cannot be read are skipped.
        reading: Filled with counts.

    Raises UsageError, DataError (file, line) or StoreError.

    Example:
        >>> registry = aftertune.pii_registry("variants/keep.jsonl", "registry.jsonl")
        >>> len(registry) > 20
        True
    """
    return personal_data.register(
        Path(file), Path(out), columns=columns, encoding=encoding, skip_bad=skip_bad, reading=reading
    )


@public("pii_match")
def pii_match(
    registry: PathLike | Registry,
    responses: PathLike,
    *,
    columns: str = "",
    encoding: str = "",
    skip_bad: bool = False,
    reading: Reading | None = None,
    progress: Progress = quiet,
) -> list[ResponseMatch]:
    """Return what responses give away of a registry (`aftertune pii match`): a record per response.

    Args:
        registry: A registry, or the file of one.
        responses: A table with `response`, and `prompt` if known, or a chat file, of which the assistant's turns are
            the response: what the prompt holds is echoed only.
        columns: Which columns hold what, e.g. `response=reply`; this and the following as in `pii_scan`.
        encoding: Of a text file.
        skip_bad: Whether rows that cannot be read are skipped.
        reading: Filled with counts.
        progress: Called now and then with ("responses", number done, number in all).

    Raises UsageError, DataError (file, line, column).

    Example:
        >>> matches = aftertune.pii_match(registry, "answers.csv")
        >>> matches[0].match.label
        'none'
    """
    known = registry if isinstance(registry, Registry) else registry_file.load(Path(registry))
    return personal_data.match_table(
        known,
        Path(responses),
        columns=columns,
        encoding=encoding,
        skip_bad=skip_bad,
        reading=reading,
        progress=progress,
    )
