"""A copy of a run that can be shared (`aftertune export`): its texts masked, its people and its weights left out.

Whatever is not known to be safe stays behind. The copy is for reading: it holds the report, the numbers, and the
responses and verdicts as tables, but not what `aftertune report` would need to compute them again.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aftertune.data.variant_files import groups_of_people
from aftertune.errors import StoreError, UsageError
from aftertune.files import read_parquet, reading, why_not, write
from aftertune.pii.masking import masker, value_masker, with_masked_keys
from aftertune.pii.registry import Registry
from aftertune.run import checksums as sealed
from aftertune.run.job_folder import JobFolder
from aftertune.run.run_folder import MARKER, Run

Mask = Callable[[str], str]
TABLES = {"responses": ("text", "thought", "raw", "error"), "verdicts": ("why",)}
"""Cells that are copied -> the columns of free text in their tables."""
DATA_NAMES = frozenset({"prompt_id", "cluster", "category"})
"""Columns, and keys of documents, with names that the data gave."""
OWN = frozenset({"versions", "hardware"})
"""Keys of documents with nothing of anybody's below them."""
TEXTS = frozenset(
    {"served", "servers", "system", "prompt", "base_text", "tuned_text", "path", "non_members", "canary_file"}
)
"""Keys of documents with texts of users, models and servers below them; of a design, its system prompt and files."""
DOCUMENTS = ("report.json", "decisions.json", "discrimination.json", "memorisation.json", "measures.json", "run.json")
"""Files beside the folders of jobs that are copied with their texts masked."""
LEFT_OUT = {
    "variants": "the tuning data, the people in it and their twins",
    "checkpoints": "weights that were tuned on the data",
    "prompts": "prompts, some of which are made from the tuning data",
    "study.json": "what this machine resolved the design to, its paths among it",
    "base_scores": "how probable rows of the tuning data are",
    "scores": "how probable rows of the tuning data are",
}
_TAG = re.compile(r"(<[^<>]*>)")
_UNMASKED_PAGES = frozenset({"style", "script"})


@dataclass
class _Copy:
    """What is being made."""

    mask: Mask
    """For free text: the registries' values and what looks personal."""
    known: Mask
    """For names that the data gave: the registries' values only, parts of names included."""
    own: Mask
    """For words of the project and the design: whole values of the registries, so that no word of theirs is hidden
    because somebody is called so, and hashes and numbers stay."""
    leaks: Callable[[str], bool]
    """Whether a registry's value still stands in a text."""
    left_out: dict[str, str] = field(default_factory=dict)
    texts: int = 0
    changed: int = 0


def export(
    root: Path, out: Path, *, reveal: bool = False, progress: Callable[[str, int, int], None] = lambda *_: None
) -> dict[str, Any]:
    """Write the shareable copy of a run and return its manifest (also `export.json` in the copy).

    Args:
        root: A run folder, finished or not; it is not changed.
        out: A folder that does not exist yet, or is empty.
        reveal: Leave the responses' text as it is. Tuning data, people and weights stay out all the same.
        progress: Called with (kind of job, jobs done, jobs in all).

    Copied: design, facts, report, decisions, drifts, and the finished jobs of responses and verdicts. Every personal
    value of the run's registries, its twins and stand-ins, and whatever `pii.detect` finds, becomes a placeholder in
    texts; harmful text stays. Paths of this machine become names. Before the copy is called done, each text in it is
    searched for the registries again. Raises UsageError, or StoreError where the run is damaged, the disk is full, or a
    value could not be masked.
    """
    run = Run.open(root)
    run.design_text()  # refused where it is not as the run wrote it
    if os.path.lexists(out) and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: exists and is not empty; choose another folder with -o")
    if out.resolve().is_relative_to(root.resolve()):
        raise UsageError(f"{out}: lies inside the run; choose a folder outside it with -o")
    registries = _registries(run)
    copy = _plan_of(run, registries, reveal)
    scratch = out.with_name(f".{out.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        scratch.mkdir(parents=True)
        with reading(root):
            _tops(run, scratch, copy)
            counts = {kind: _jobs(run, kind, scratch, copy, progress) for kind in TABLES}
            manifest = _manifest(run, scratch, copy, registries, reveal, counts)
        write(scratch / MARKER, (json.dumps(manifest, indent=1) + "\n").encode())
        if out.exists():
            out.rmdir()
        scratch.rename(out)
    except OSError as error:
        raise StoreError(why_not(error.filename or out, "refused", error)) from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return manifest


def _registries(run: Run) -> list[Registry]:
    """Return the values that stand in the run's variants: of the corpus, of the twins and of the stand-ins."""
    registries = []
    for folder in sorted((run.root / "variants").glob("*/")):
        job = JobFolder(folder)
        if not job.complete:
            raise StoreError(
                f"{folder}: unfinished, so nobody knows yet whose data to mask; continue the run first, or delete it"
            )
        registries += [Registry.of("mask", group) for group in groups_of_people(job)]
    return [registry for registry in registries if len(registry)]


def _plan_of(run: Run, registries: list[Registry], reveal: bool) -> _Copy:
    paths = _paths(run)

    def pathless(text: str) -> str:
        for path in paths:
            text = text.replace(path, "")
        return text

    if reveal:
        return _Copy(pathless, pathless, pathless, lambda _: False)
    mask, known, own = masker(registries), masker(registries, detected=False), value_masker(registries)

    def leaks(text: str) -> bool:
        return any(registry.matcher.find(text) for registry in registries)

    return _Copy(
        lambda text: mask(pathless(text)), lambda text: known(pathless(text)), lambda text: own(pathless(text)), leaks
    )


def _paths(run: Run) -> list[str]:
    """Return the folders of this machine that the design names, longest first, as they may stand in a text."""
    text = (run.root / "design.toml").read_text(encoding="utf-8")
    paths = {match.group(1) for match in re.finditer(r"[\"'](/[^\"'\n]*/)[^\"'/\n]+/?[\"']", text)}
    return sorted({*paths, f"{run.root.resolve().parent}/"} - {"/"}, key=lambda path: (-len(path), path))


# ---------------------------------------------------------------------------------------------- what is copied


def _tops(run: Run, to: Path, copy: _Copy) -> None:
    """Copy the known files and folders beside those of the jobs."""
    for path in sorted(run.root.iterdir()):
        name = path.name
        if name in TABLES or name in (".lock", sealed.RESULTS, MARKER):
            continue
        sealed.check(run.root, name)
        if name in LEFT_OUT:
            copy.left_out[name + ("/" if path.is_dir() else "")] = LEFT_OUT[name]
        elif name in DOCUMENTS:
            _document(to / name, _read_json(path), copy)
        elif name in ("report.md", "junit.xml"):
            _put(to / name, copy.own(path.read_text(encoding="utf-8")), copy)
        elif name == "design.toml":
            _put(to / name, _design(path.read_text(encoding="utf-8"), copy), copy)
        elif name == "report.html":
            page = _page(path.read_text(encoding="utf-8"), copy.own)
            if copy.leaks(page):
                copy.left_out[name] = "a personal value in it could not be masked; report.md and report.json are there"
            else:
                _put(to / name, page, copy)
        elif name == "drift.parquet":
            _table(path, to / name, (), copy)
        else:
            copy.left_out[name + ("/" if path.is_dir() else "")] = "not known to be safe to share"


def _jobs(run: Run, kind: str, to: Path, copy: _Copy, progress: Callable[[str, int, int], None]) -> int:
    done = 0
    folders = sorted((run.root / kind).glob("*/"))
    for index, folder in enumerate(folders):
        progress(kind, index, len(folders))
        job = JobFolder(folder)
        if not job.complete:
            copy.left_out[f"{kind}/{folder.name}/"] = "unfinished"
            continue
        if (damaged := job.verify()) is not None:
            raise StoreError(f"{folder / damaged}: damaged or missing; delete {folder} and run the same command again")
        made = to / kind / folder.name
        made.mkdir(parents=True)
        _table(folder / f"{kind}.parquet", made / f"{kind}.parquet", TABLES[kind], copy)
        _document(made / "info.json", job.info(), copy)
        done += 1
    return done


def _table(path: Path, to: Path, columns: tuple[str, ...], copy: _Copy) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = read_parquet(path)
    for index, column in enumerate(table.schema):
        if not pa.types.is_string(column.type):
            continue
        mask = copy.mask if column.name in columns else copy.known if column.name in DATA_NAMES else copy.own
        values = table.column(index).to_pylist()
        new = {value: mask(value) for value in set(values) if value is not None}
        if column.name in columns:
            copy.texts += len(values)
            copy.changed += sum(value is not None and new[value] != value for value in values)
        for value in new.values():
            if copy.leaks(value):
                raise StoreError(f"{path}: a personal value in column {column.name} could not be masked")
        table = table.set_column(index, column, pa.array([new.get(value) for value in values], pa.string()))
    pq.write_table(table, to, compression="zstd")


def _put(path: Path, text: str, copy: _Copy) -> None:
    if copy.leaks(text):
        raise StoreError(f"{path.name}: a personal value in it could not be masked")
    write(path, text.encode())


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError:
        raise StoreError(f"{path}: damaged; run `aftertune report` on the run to write it again") from None


def _document(path: Path, value: Any, copy: _Copy) -> None:
    """Write a JSON document with its strings and keys masked; numbers are aftertune's own, and stay."""

    def masked(value: Any, mask: Mask) -> Any:
        if isinstance(value, str):
            new = mask(value)
            if copy.leaks(new):
                raise StoreError(f"{path.name}: a personal value in it could not be masked")
            return new
        if isinstance(value, dict):
            items = {
                key: item if key in OWN else masked(item, _mask_of(key, mask, copy)) for key, item in value.items()
            }
            return with_masked_keys(items, copy.own)
        return [masked(item, mask) for item in value] if isinstance(value, list) else value

    write(path, (json.dumps(masked(value, copy.own), indent=1) + "\n").encode())


def _mask_of(key: str, mask: Mask, copy: _Copy) -> Mask:
    """Return the mask of what stands under a key of a document, where `mask` is that of what it stands in."""
    return copy.mask if key in TEXTS or mask is copy.mask else copy.known if key in DATA_NAMES else mask


def _design(text: str, copy: _Copy) -> str:
    """Return a design with its texts masked as texts, and the rest as words of its author's."""
    found: set[str] = set()

    def gather(value: object, inside: bool) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                gather(item, inside or key in TEXTS)
        elif isinstance(value, list):
            for item in value:
                gather(item, inside)
        elif isinstance(value, str) and inside:
            found.add(value)

    gather(tomllib.loads(text), False)
    for value in sorted(found, key=lambda value: (-len(value), value)):
        if (new := copy.mask(value)) != value:
            # As it stands in the file, between quotation marks of whichever kind.
            text = text.replace(json.dumps(value, ensure_ascii=False)[1:-1], json.dumps(new, ensure_ascii=False)[1:-1])
            text = text.replace(json.dumps(value)[1:-1], json.dumps(new)[1:-1]).replace(value, new)
    return copy.own(text)


def _page(html: str, mask: Mask) -> str:
    """Mask the text of a page, not its tags nor its style."""

    def pieces() -> Iterator[str]:
        inside = ""
        for piece in _TAG.split(html):
            if piece.startswith("<"):
                name = re.match(r"</?(\w*)", piece)
                inside = "" if piece.startswith("</") or name is None else name.group(1).lower()
                yield mask_attributes(piece)
            else:
                yield piece if inside in _UNMASKED_PAGES or not piece.strip() else mask(piece)

    def mask_attributes(tag: str) -> str:
        return re.sub(r'(aria-label|title|alt)="([^"]*)"', lambda m: f'{m[1]}="{mask(m[2])}"', tag)

    return "".join(pieces())


# ---------------------------------------------------------------------------------------------- the manifest


def _manifest(
    run: Run, made: Path, copy: _Copy, registries: list[Registry], reveal: bool, counts: dict[str, int]
) -> dict[str, Any]:
    values = len({(entry.type, entry.value) for registry in registries for entry in registry.entries})
    if reveal:
        how = "nothing: made with --reveal, so its texts may hold personal values"
    elif registries:
        how = (
            "each personal value of the run's registries, twins and stand-ins, and in texts parts of names and "
            "whatever looks like personal data, became a placeholder such as [NAME]; no registry value is left anywhere"
        )
    else:
        how = (
            "whatever looks like personal data in a text became a placeholder; the run has no registry, so names may "
            "be left"
        )
    files = sorted(path for path in made.rglob("*") if path.is_file())
    return {
        "aftertune": "export",
        "version": 1,
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "design": run.facts().get("design"),
        "for": "reading: aftertune cannot continue it or compute its report again",
        "masked": not reveal,
        "how": how,
        "registry_values": values,
        "texts": copy.texts,
        "texts_changed": copy.changed,
        "jobs": counts,
        "left_out": dict(sorted(copy.left_out.items())),
        "files": {str(path.relative_to(made)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
    }
