"""Write the reference of the public names from their docstrings (`python -m perf.reference --write`).

Without `--write` it says whether docs/reference.md is current, and exits with 1 where it is not. The examples in it are
run by tests/commands/test_reference.py, in the order in which they stand there.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aftertune
from aftertune import mitigations, plugin_types, training
from aftertune.plugins import PluginSpec, _field_notes

PAGE = Path(__file__).parents[1] / "docs" / "reference.md"
SECTIONS = {
    "Audit, study, demo": ("audit", "study", "plan", "demo", "selftest"),
    "Why it happened": ("explain", "Explained"),
    "What undoes it": ("mitigate", "Repair"),
    "Before anything is tuned": ("forecast", "Forecast"),
    "Read a run": ("open_run", "Run", "Result", "drift", "report", "compare", "status", "judge", "agree", "export"),
    "Hand results to others": ("card", "results", "track"),
    "People's labels": ("label", "Sheet", "label_readers", "ReadersAgreement"),
    "Tables and logs of other tools": ("drift_of_table", "TableDrift", "demo_drift", "ingest_logs"),
    "Data and personal data": ("compose", "pii_scan", "pii_registry", "pii_match"),
    "What there is to choose from": ("list_plugins", "show", "embedded_card", "catalogue", "fetch"),
    "What a design is made of": ("Design", "Given", "Arm", "Recipe", "Respond", "Data", "Contrast", "PluginSpec"),
    "Errors": ("AftertuneError",),
}
"""Heading -> public names, in the order of the page."""
HEAD = """# Reference

Written from the docstrings by `python -m perf.reference --write`; do not edit it. Its examples are run by the tests,
from top to bottom in one session.

Every command of the command line is a function of the same name: `aftertune.audit` does what `aftertune audit` does.
Where a name would stand for something else in Python, it differs: `aftertune list` is `list_plugins` (`list` is
Python's own), `aftertune ingest` is `ingest_logs` (`aftertune.ingest` is a package), `aftertune drift --verdicts` is
`drift_of_table`, and a command of a group is joined by `_`: `aftertune pii scan` is `pii_scan`. An option that may be
repeated is a list with a plural name: `--judge` is `judges`.

Paths are text or `pathlib.Path`. Tables are Arrow tables: `.to_pandas()` makes a data frame of one. Every error that is
raised on purpose is an `AftertuneError` whose message is one line, and so is a wrong argument.
"""
ENTRY = re.compile(r"([A-Za-z_][\w, ]*): (.*)")
LIMIT = 100
"""Characters of a signature that stands on one line."""


def page() -> str:
    """Return the whole reference as Markdown."""
    parts = [HEAD]
    for heading, names in SECTIONS.items():
        parts.append(f"## {heading}\n")
        for name in names:
            parts += _entry(name, getattr(aftertune, name))
    for title, module in (("mitigations", mitigations), ("training", training)):
        parts += [f"## In your own training script: `aftertune.{title}`\n", prose(module.__doc__ or "")]
        for name in module.__all__:
            made = getattr(module, name)
            parts += [
                f"### `{name}`\n",
                signature(f"aftertune.{title}.{name}", made),
                prose(inspect.getdoc(made) or ""),
            ]
    parts += ["## For authors of plugins: `aftertune.plugin_types`\n", prose(plugin_types.__doc__ or "")]
    types = [(name, getattr(plugin_types, name)) for name in plugin_types.__all__]
    parts.append("\n".join(f"- `{name}`: {_summary(each)}" for name, each in types) + "\n")
    return "\n".join(parts)


def _summary(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ")


def _entry(name: str, thing: Any) -> Iterator[str]:
    """Yield the paragraphs on one public name."""
    yield f"### `{name}`\n"
    if not inspect.isclass(thing):
        yield signature(f"aftertune.{name}", thing)
        yield prose(inspect.getdoc(thing) or "")
        return
    yield prose(inspect.getdoc(thing) or "")
    if fields := list(_fields(thing)):
        yield "\n".join(fields) + "\n"
    for member, value in vars(thing).items():
        if member.startswith("_") or not (isinstance(value, property) or inspect.isfunction(value)):
            continue
        if isinstance(value, property):
            yield f"#### `{name}.{member}`\n"
            yield prose(inspect.getdoc(value) or "")
        else:
            yield f"#### `{name}.{member}()`\n"
            yield signature(f"{name}.{member}", value)
            yield prose(inspect.getdoc(value) or "")


def _fields(record: type[Any]) -> Iterator[str]:
    if not dataclasses.is_dataclass(record):
        return
    notes = _field_notes(record)
    hints = {field.name: field.type for field in dataclasses.fields(record)}
    for field, hint in hints.items():
        note = notes.get(field, "")
        yield f"- `{field}: {hint}`{f': {note}' if note else ''}"


def signature(name: str, function: Callable[..., Any]) -> str:
    """Return a function's signature as a block of Python, on one line where it is short."""
    found = inspect.signature(function)
    pieces, starred = [], False
    for each in found.parameters.values():
        if each.name == "self":
            continue
        if each.kind is inspect.Parameter.KEYWORD_ONLY and not starred:
            pieces.append("*")
            starred = True
        default = "" if each.default is inspect.Parameter.empty else f" = {_default(each.default)}"
        pieces.append(f"{each.name}: {each.annotation}{default}")
    line = f"{name}({', '.join(pieces)}) -> {found.return_annotation}"
    if len(line) > LIMIT:
        line = "\n".join([f"{name}(", *(f"    {piece}," for piece in pieces), f") -> {found.return_annotation}"])
    return f"```python\n{line}\n```\n"


def _default(value: Any) -> str:
    if isinstance(value, PluginSpec):
        return repr(value.name)
    return value.__name__ if inspect.isfunction(value) else repr(value)


def prose(text: str) -> str:
    """Return a docstring as Markdown: its sections as lists, its examples as blocks of a Python session."""
    out: list[str] = []
    section = ""
    for line in text.splitlines():
        if re.fullmatch(r"(Args|Returns|Raises|Example):", line):
            section = line.removesuffix(":")
            out += ["```pycon"] if section == "Example" else [f"{section}:", ""] if section != "Args" else []
        elif section and line.startswith("    "):
            entry = ENTRY.fullmatch(line[4:])
            if section == "Example":
                out.append(line[4:])
            elif entry and not line.startswith("     "):
                out.append(f"- `{entry[1]}`: {entry[2]}")
            else:
                out.append(f"  {line.strip()}")
        elif section and not line:
            out.append("")
        else:
            out += ["```", line] if section == "Example" else [line]
            section = ""
    if section == "Example":
        out.append("```")
    return "\n".join(out).strip() + "\n"


def main() -> None:
    """Write the page, or say whether it is current."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/reference.md")
    options = parser.parse_args()
    if options.write:
        PAGE.write_text(page(), encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page():
        sys.exit("docs/reference.md is not current: python -m perf.reference --write")


if __name__ == "__main__":
    main()
