"""People's labels of a run's answers: read from sheets that `aftertune label` made, or from a table made elsewhere.

A row of a sheet names its answer by an item that says nothing of the model; the key beside the run (`labels/*.json`)
says which answer that is, of which stratum, and what its text was. A table made elsewhere names the answers itself.
"""

from __future__ import annotations

import dataclasses
import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aftertune.asking.ask_job import AskJob
from aftertune.data import table_files
from aftertune.deciding.labels import AnswerKey, AnswerLabel
from aftertune.deciding.verdict_table import VerdictTable
from aftertune.errors import DataError, StoreError, UsageError
from aftertune.files import make_folder, write
from aftertune.judging.judge import CONTRASTS
from aftertune.numbers import count
from aftertune.records import plain
from aftertune.run.checksums import seal, unseal
from aftertune.run.run_folder import Run
from aftertune.studies.run_tables import all_verdicts
from aftertune.studies.study import Study

if TYPE_CHECKING:
    import pyarrow as pa

Rows = Sequence[tuple[int, Mapping[str, Any]]]
"""Rows of a file, numbered as a spreadsheet does, the header being row 1."""
Wrong = dict[str, list[str]]
"""What does not match -> the rows."""
FOLDER, STORED = "labels", "labels.json"
"""Of the keys and sheets; of the labels that a run decides by, beside it."""
SHOWN = 5
"""Rows that a message names."""


@dataclass(frozen=True, slots=True)
class Item:
    """One answer on a sheet, with one question to it."""

    answer: AnswerKey
    axis: str
    stratum: str
    text: str
    """Hash of the answer's text."""
    shown: Mapping[str, Sequence[str]]
    """Column of the sheet, `prompt` or `answer` -> the `prints` of what stood in it."""


@dataclass(frozen=True, slots=True)
class Key:
    """Which answers the items of one sheet are: what joins it to the run, and what no reader sees."""

    sheet: str
    settles: bool
    """Whether its labels count in place of those on which readers differed."""
    items: Mapping[str, Item]
    strata: Mapping[str, int]
    """Stratum -> number of answers in it, in the run."""
    choices: Mapping[str, tuple[str, ...]]
    """Axis -> labels to choose from."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One label in a file."""

    row: int
    """As a spreadsheet counts, the header being row 1."""
    item: str
    """Empty in a table made elsewhere."""
    answer: AnswerKey
    axis: str
    label: str


@dataclass(frozen=True)
class Readings:
    """The labels of one file."""

    path: Path
    settles: bool
    rows: tuple[Reading, ...]
    blank: int
    """Rows without a label."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunLabels:
    """The labels that a run decides by."""

    labels: tuple[AnswerLabel, ...]
    files: tuple[str, ...] = ()
    """Names of the files that they came from."""
    notes: tuple[str, ...] = field(default=())
    """What must be known of them, a sentence each."""


def prints(text: str) -> tuple[str, str]:
    """Return two hashes that tell a text on a sheet from others, after spreadsheets too.

    One of its letters and digits; one of those in ASCII alone, which a wrong encoding leaves; empty without any.
    """
    letters = "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).casefold()))
    ascii_alone = "".join(filter(str.isascii, filter(str.isalnum, text.casefold())))
    return text_hash(letters), text_hash(ascii_alone) if ascii_alone else ""


def text_hash(text: str) -> str:
    """Return what tells whether an answer is still the one that was on a sheet."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


# ---------------------------------------------------------------------------------------------- keys


def write_key(run: Run, key: Key) -> Path:
    """Write a sheet's key into the run. Raises StoreError."""
    folder = run.root / FOLDER
    make_folder(folder)
    path = folder / f"{key.sheet}.json"
    fields = {**dataclasses.asdict(key), "items": {name: plain(item) for name, item in key.items.items()}}
    write(path, seal(plain(fields)))
    return path


def keys_of(run: Run) -> list[Key]:
    """Return the keys of all sheets that were made of a run. Raises StoreError for a damaged one."""
    keys = []
    for path in sorted((run.root / FOLDER).glob("*.json")):
        try:
            fields = unseal(path.read_bytes())
            items = {
                name: Item(**{**item, "answer": AnswerKey(**item["answer"])}) for name, item in fields["items"].items()
            }
            choices = {axis: tuple(labels) for axis, labels in fields["choices"].items()}
            keys.append(Key(fields["sheet"], fields["settles"], items, dict(fields["strata"]), choices))
        except (OSError, ValueError, KeyError, TypeError):
            raise StoreError(f"{path}: damaged: `aftertune label` makes the sheet and its key again") from None
    return keys


# ---------------------------------------------------------------------------------------------- files


class Reader:
    """Reads files of labels against one run: what does not match it is refused, by rows."""

    def __init__(self, run: Run, study: Study) -> None:
        self.run, self.study = run, study
        self.keys = keys_of(run)
        self.strata: dict[str, int] = {}
        self.stratum_of: dict[tuple[AnswerKey, str], str] = {}
        self._items: dict[str, tuple[Key, Item]] = {}
        for key in self.keys:
            self.strata |= key.strata
            for name, item in key.items.items():
                self._items[name] = (key, item)
                self.stratum_of[item.answer, item.axis] = item.stratum

    def read(self, path: Path, *, any_label: bool = False) -> Readings:
        """Return the labels of one file; with `any_label`, a table made elsewhere may have words of its own.

        Raises UsageError for a missing file, and DataError, in one line that names the rows, where labels do not match
        the run: unknown items or answers, answers that changed since, unknown labels, two labels of one answer.
        """
        rows = _rows(path)
        _refuse_unlabelled(path, rows)
        by_item = "item" in rows[0][1]
        wrong: Wrong = defaultdict(list)
        if by_item:
            read = list(self._of_sheet(path, rows, wrong))
            self._changed(read, wrong)
        else:
            verdicts = all_verdicts(self.run, self.study)
            choices = None if any_label else choices_of(VerdictTable(verdicts), self.study)
            read = list(_elsewhere(path, rows, verdicts, choices, wrong))
        kept, repeated = _once(read, wrong)
        _refuse(path, wrong)
        settling = {self._items[each.item][0].settles for each in read if each.item}
        if len(settling) > 1:
            raise DataError(f"{path}: items of a sheet and of one that settles differences; keep them in two files")
        blank = len(rows) - len(read)
        if not read:
            raise DataError(f"{path}: no label in its {count(len(rows), 'row')}: the column 'label' is empty")
        notes = [f"{path.name}: {count(blank, 'row')} without a label left out"] if blank else []
        notes += [f"{path.name}: {count(repeated, 'row')} repeated, with the same label"] if repeated else []
        if absent := self._absent(rows) if by_item else 0:
            notes.append(f"{path.name}: {count(absent, 'answer')} of its sheet not in it: rows are missing")
        if not by_item:
            notes.append(
                f"{path.name}: of no sheet of this run, so its answers are taken as a random sample of those with the "
                "same verdict; labels that were picked make the result wrong"
            )
        return Readings(path, True in settling, kept, blank, tuple(notes))

    def _absent(self, rows: Rows) -> int:
        """Return how many items of the sheets that rows are of stand in none of them."""
        there = {name for _, cells in rows if (name := _item(cells)) in self._items}
        sheets = {self._items[name][0].sheet for name in there}
        return sum(key.sheet in sheets and name not in there for name, (key, _) in self._items.items())

    def _of_sheet(self, path: Path, rows: Rows, wrong: Wrong) -> Iterator[Reading]:
        if not self._items:
            raise UsageError(
                f"{self.run.root}: no sheet was made of this run; `aftertune label {self.run.root}` makes one"
            )
        apart, edited = self._displaced(rows)
        if apart:
            shown = f"row{'' if len(apart) == 1 else 's'} {', '.join(map(str, apart[:SHOWN]))}"
            more = f" and {len(apart) - SHOWN:,} more" if len(apart) > SHOWN else ""
            raise DataError(
                f"{path}: the texts of {shown}{more} are those of other items: the columns were sorted apart, so no "
                "label is certain; take the sheet as it was before"
            )
        if edited:
            wrong[
                "other texts than on the sheet (where the labels are right, keep the columns item and label alone)"
            ] = [str(row) for row in edited]
        for row, cells in rows:
            name, label = _item(cells), _cell(cells.get("label"))
            if not label:
                continue
            if name not in self._items:
                wrong["items of no sheet of this run"].append(f"{row} '{name[:40]}'")
                continue
            key, item = self._items[name]
            if (known := _known(label, key.choices.get(item.axis, ()))) is None:
                choices = ", ".join(key.choices.get(item.axis, ()))
                wrong[f"unknown labels of {item.axis} (it has {choices})"].append(f"{row} '{label[:40]}'")
                continue
            yield Reading(row, name, item.answer, item.axis, known)

    def _displaced(self, rows: Rows) -> tuple[list[int], list[int]]:
        """Return the labelled rows whose texts are another item's, and those whose texts are no item's of the sheet."""
        known = [item.shown for _, item in self._items.values()]
        apart: list[int] = []
        edited: list[int] = []
        for row, cells in rows:
            if not _cell(cells.get("label")) or (name := _item(cells)) not in self._items:
                continue
            own = self._items[name][1].shown
            there = {column: prints(text) for column in own if (text := _text(cells.get(column))) is not None}
            if not all(_alike(own[column], there[column]) for column in there):
                other = any(all(_alike(shown[column], there[column]) for column in there) for shown in known)
                (apart if other else edited).append(row)
        return apart, edited

    def _changed(self, read: Sequence[Reading], wrong: Wrong) -> None:
        """Note the answers that are not there any more as they were on the sheet."""
        texts = dict(self.texts([each.answer for each in read]))
        for each in read:
            text = texts.get(each.answer)
            if text is None:
                wrong["answers that are not in this run any more"].append(f"{each.row} ({each.item})")
            elif text_hash(text) != self._items[each.item][1].text:
                wrong["answers that changed since the sheet was made"].append(f"{each.row} ({each.item})")

    def texts(self, answers: Sequence[AnswerKey]) -> Iterator[tuple[AnswerKey, str]]:
        """Yield some answers with their text. Raises StoreError for a damaged run."""
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = set(answers)
        by_job: dict[tuple[str, str], set[str]] = defaultdict(set)
        for key in wanted:
            by_job[key.checkpoint, key.benchmark].add(key.prompt_id)
        for job in self.study.of(AskJob):
            prompts = by_job.get((job.subject.id, job.benchmark.name))
            if prompts is None:
                continue
            table = self.run.job(job).read("responses", ("subset", "prompt_id", "temperature", "sample", "text"))
            table = table.filter(pc.is_in(table["prompt_id"], value_set=pa.array(sorted(prompts))))
            for row in table.to_pylist():
                text = row.pop("text")
                key = AnswerKey(checkpoint=job.subject.id, benchmark=job.benchmark.name, **row)
                if key in wanted:
                    yield key, text


def read_elsewhere(path: Path, verdicts: pa.Table) -> tuple[Reading, ...]:
    """Return the labels of a table made elsewhere, whatever its labels are called. Raises as `Reader.read`."""
    wrong: Wrong = defaultdict(list)
    rows = _rows(path)
    _refuse_unlabelled(path, rows)
    kept, _ = _once(list(_elsewhere(path, rows, verdicts, None, wrong)), wrong)
    _refuse(path, wrong)
    if not kept:
        raise DataError(f"{path}: no label: the column 'label' is empty")
    return kept


def _rows(path: Path) -> Rows:
    rows = [row for _, row in table_files.read(path, ())]
    table_files.refuse_twice(path, map(_name, rows[0]))
    return [(number, {_name(name): cell for name, cell in row.items()}) for number, row in enumerate(rows, start=2)]


def _name(column: object) -> str:
    """Return what a column is called, however a spreadsheet wrote it."""
    return " ".join(str(column).split()).lower()


def _refuse_unlabelled(path: Path, rows: Rows) -> None:
    for row, cells in rows:
        if "label" not in cells:
            there = table_files.shown_fields(cells, 12)
            raise DataError(f"{table_files.location(path, row)}: no column 'label' (there: {there})")


def _item(cells: Mapping[str, Any]) -> str:
    return _cell(cells.get("item")).lower()


def _text(cell: Any) -> str | None:
    """Return the text in a cell; None where there is none to compare."""
    return cell if isinstance(cell, str) and cell.strip() else None


def _alike(shown: Sequence[str], there: Sequence[str]) -> bool:
    return shown[0] == there[0] or (bool(shown[1]) and shown[1] == there[1])


def _once(read: Sequence[Reading], wrong: Wrong) -> tuple[tuple[Reading, ...], int]:
    """Return the first label of each answer, and how many say the same again; what says another is noted."""
    kept: dict[tuple[AnswerKey, str], Reading] = {}
    repeated = 0
    for each in read:
        first = kept.setdefault((each.answer, each.axis), each)
        repeated += first is not each
        if first.label != each.label:
            name = each.item or each.answer.prompt_id
            wrong["two labels of one answer"].append(
                f"{first.row} '{first.label}' and {each.row} '{each.label}' ({name})"
            )
    return tuple(kept.values()), repeated


def _refuse(path: Path, wrong: Wrong) -> None:
    if not wrong:
        return
    parts = []
    for what, found in wrong.items():
        more = f" and {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
        parts.append(f"{what}: row{'' if len(found) == 1 else 's'} {', '.join(found[:SHOWN])}{more}")
    raise DataError(f"{path}: labels that do not match this run: {'; '.join(parts)}")


def _elsewhere(
    path: Path, rows: Rows, verdicts: pa.Table, choices: Mapping[str, Sequence[str]] | None, wrong: Wrong
) -> Iterator[Reading]:
    for name in ("prompt_id", "axis"):
        if name not in rows[0][1]:
            raise DataError(
                f"{path}: no column '{name}': give a sheet of `aftertune label` (item, label), or a table with "
                "prompt_id, axis, label, and arm or checkpoint"
            )
    answers = _answers(verdicts)
    columns = ("arm", "checkpoint", "benchmark", "subset", "temperature", "sample")
    for row, cells in rows:
        label, axis, prompt = (_cell(cells.get(name)) for name in ("label", "axis", "prompt_id"))
        if not label:
            continue
        if axis not in answers:
            wrong[f"axes that were not judged in this run (there are {', '.join(answers)})"].append(
                f"{row} '{axis[:40]}'"
            )
            continue
        stated = {name: _cell(cells.get(name)) for name in columns if _cell(cells.get(name))}
        if not stated.keys() & {"arm", "checkpoint"}:
            wrong["labels without arm or checkpoint"].append(str(row))
            continue
        found = [key for key, arm in answers[axis].get(prompt, ()) if _fits(key, arm, stated)]
        if "temperature" not in stated and found:
            coldest = min(key.temperature for key in found)
            found = [k for k in found if k.temperature == coldest and (k.sample == 0 or "sample" in stated)]
        known = label if choices is None else _known(label, choices[axis])
        if not found:
            wrong["answers that are not in this run"].append(f"{row} '{prompt[:40]}'")
        elif len(found) > 1:
            wrong["labels that fit several answers (tell them apart by checkpoint or benchmark)"].append(str(row))
        elif known is None:
            said = ", ".join(choices[axis]) if choices else ""
            wrong[f"unknown labels of {axis} (it has {said})"].append(f"{row} '{label[:40]}'")
        else:
            yield Reading(row, "", found[0], axis, known)


def _answers(verdicts: pa.Table) -> dict[str, dict[str, list[tuple[AnswerKey, str]]]]:
    """Return axis -> prompt -> its answers with their arm."""
    names = [each.name for each in dataclasses.fields(AnswerKey)]
    columns = verdicts.select([*names, "arm", "axis"]).to_pydict()
    found: dict[str, dict[str, list[tuple[AnswerKey, str]]]] = {}
    for *cells, arm, axis in sorted(set(zip(*columns.values(), strict=True)), key=lambda row: row[-1]):
        key = AnswerKey(*cells)
        found.setdefault(axis, {}).setdefault(key.prompt_id, []).append((key, arm))
    return found


def choices_of(table: VerdictTable, study: Study) -> dict[str, tuple[str, ...]]:
    """Return axis -> the labels that people may give: those of its metrics and judges, in a fixed order."""
    found: dict[str, set[str]] = defaultdict(set)
    rows = table.where(status="ok")
    for row in table.joint(("axis", "label"), rows)[1]:
        if (label := table.at("label", row)) is not None:
            found[table.at("axis", row)].add(label)
    for metric in study.metrics:
        if metric.label is not None and metric.axis in found:
            found[metric.axis].add(metric.label)
    for axis, contrast in CONTRASTS.items():
        if axis in found:
            found[axis] |= {contrast.positive, *contrast.between}
    return {axis: ordered(axis, labels) for axis, labels in sorted(found.items())}


ORDER: Mapping[str, tuple[str, ...]] = {
    "refusal": ("full", "partial", "none"),
    "compliance": ("complied", "not_complied"),
    "harm": ("harmful", "harmless"),
    "coherence": ("coherent", "degenerate"),
    "relevance": ("on_topic", "off_topic", "domain_script"),
    "topic": ("on_topic", "off_topic", "refused"),
    "privacy": ("withheld", "exact", "revealed"),
}
"""Axis -> its labels as a person would list them."""


def ordered(axis: str, labels: set[str]) -> tuple[str, ...]:
    """Return labels in the order in which a sheet lists them."""
    known = ORDER.get(axis, ())
    return (*(label for label in known if label in labels), *sorted(labels - set(known)))


def _cell(value: object) -> str:
    return "" if value is None else str(value).strip()


def _known(label: str, choices: Sequence[str]) -> str | None:
    """Return the choice that a label is, whatever its case."""
    return next((each for each in choices if each.casefold() == label.casefold()), None)


def _fits(key: AnswerKey, arm: str, stated: Mapping[str, str]) -> bool:
    fields: dict[str, str | float] = {**dataclasses.asdict(key), "arm": arm}
    return all(_same(fields[name], value) for name, value in stated.items())


def _same(known: str | float, stated: str) -> bool:
    if isinstance(known, str):
        return known == stated
    try:
        return float(stated) == known
    except ValueError:
        return False


# ---------------------------------------------------------------------------------------------- what a run decides by


def joined(readings: Sequence[Readings], reader: Reader) -> RunLabels:
    """Return the labels of several files as one set: each file is a reader, and what settles counts alone.

    Raises UsageError for sheets beside tables made elsewhere, or files that only settle.
    """
    kinds = {bool(row.item) for each in readings for row in each.rows}
    if len(kinds) > 1:
        raise UsageError(
            "--labels: sheets of this run and tables made elsewhere: their answers were drawn differently, so give one "
            "kind"
        )
    if readings and all(each.settles for each in readings):
        raise UsageError("--labels: only what settles differences: give the readers' own files as well")
    given: dict[tuple[AnswerKey, str], list[str]] = defaultdict(list)
    settled: dict[tuple[AnswerKey, str], str] = {}
    for each in readings:
        for row in each.rows:
            if each.settles:
                settled[row.answer, row.axis] = row.label
            else:
                given[row.answer, row.axis].append(row.label)
    for item, label in settled.items():
        given[item] = [label]
    labelled: dict[str, int] = defaultdict(int)
    for item in given:
        labelled[reader.stratum_of.get(item, "")] += 1
    labels = []
    for (answer, axis), said in sorted(given.items()):
        stratum = reader.stratum_of.get((answer, axis), "")
        weight = reader.strata[stratum] / labelled[stratum] if kinds == {True} else 1.0
        labels.append(AnswerLabel(answer, axis, tuple(said), weight))
    open_ = sum(len(set(each.labels)) > 1 for each in labels)
    notes = [note for each in readings for note in each.notes]
    if open_:
        notes.append(
            f"readers differ on {open_:,} of {count(sum(len(each.labels) > 1 for each in labels), 'answer')} that "
            "several labelled: half an answer counts for each side until they are settled (`aftertune label RUN "
            "--readers A.csv --readers B.csv`)"
        )
    return RunLabels(tuple(labels), tuple(each.path.name for each in readings), tuple(notes))


def take(run: Run, study: Study, files: Sequence[Path]) -> RunLabels:
    """Read files of labels and keep them in the run, which decides by them from now on. Raises as `Reader.read`."""
    reader = Reader(run, study)
    labels = joined([reader.read(path) for path in files], reader)
    write(run.root / STORED, seal(plain(labels)))
    return labels


def forget(run: Run) -> None:
    """Let a run decide by its judges alone again; the sheets and their keys stay."""
    (run.root / STORED).unlink(missing_ok=True)


def kept(run: Run) -> RunLabels | None:
    """Return the labels that a run decides by; None for judges alone. Raises StoreError for a damaged file."""
    path = run.root / STORED
    if not path.is_file():
        return None
    try:
        fields = unseal(path.read_bytes())
        labels = tuple(
            AnswerLabel(AnswerKey(**each["answer"]), each["axis"], tuple(each["labels"]), each["weight"])
            for each in fields["labels"]
        )
        return RunLabels(labels, tuple(fields["files"]), tuple(fields["notes"]))
    except (OSError, ValueError, KeyError, TypeError):
        why = f"damaged; give the labels again (`aftertune drift {run.root} --labels FILE`)"
        raise StoreError(f"{path}: {why}") from None
