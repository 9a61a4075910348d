"""A sheet of answers for people to label (`aftertune label`): blinded, stratified, as many as settle the decision.

The sheet shows questions, prompts and answers in random order, and nothing of who wrote them, how a judge read them or
which of them are a pair. What joins it to the run stays beside the run (`labels/*.json`).
"""

from __future__ import annotations

import fnmatch
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aftertune.asking.prompts_job import prompts_of
from aftertune.commands.decide import drifts_of
from aftertune.data import table_files
from aftertune.deciding.labels import AnswerKey, not_read
from aftertune.deciding.verdict_table import COLUMNS, Ints, VerdictTable
from aftertune.errors import UsageError, near
from aftertune.files import make_folder, write
from aftertune.ingest.agreement import RunAgreement, between_readers
from aftertune.ingest.labels import FOLDER, Item, Key, Reader, Readings, choices_of, prints, text_hash, write_key
from aftertune.numbers import count
from aftertune.pii.masking import masker
from aftertune.records import BASE_ARM, Drift, Metric, digest, seed_of
from aftertune.reporting.gather import registries_of
from aftertune.reporting.label_form import Question, form
from aftertune.run.run_folder import Run
from aftertune.stats import prediction_powered as ppi
from aftertune.studies import stored
from aftertune.studies.run_tables import all_verdicts
from aftertune.studies.study import Study

MANY = 300
"""Answers on a sheet from which on a smaller one is proposed."""


@dataclass(frozen=True)
class Part:
    """What is labelled of one metric in one arm."""

    metric: str
    arm: str
    answers: int
    """In the run."""
    labels: int
    why: str
    """Why so many."""


@dataclass(frozen=True)
class Sheet:
    """A sheet that was made."""

    id: str
    csv: Path
    html: Path
    key: Path
    """Stays with the run."""
    items: int
    parts: tuple[Part, ...]
    masked: bool
    left_out: tuple[str, ...] = ()
    """Gated metrics that the sheet does not have, and why."""


@dataclass(frozen=True)
class ReadersAgreement:
    """How far the readers of a sheet agree, and the sheet with what is to be settled."""

    agreement: RunAgreement
    sheet: Sheet | None
    """None where they differ nowhere."""


@dataclass(frozen=True)
class _Wanted:
    """One estimate that the gate decides on."""

    metric: Metric
    row: Drift
    judge: str
    margin: float
    unit: str


@dataclass(frozen=True)
class _Cell:
    """The answers of one side of an estimate, on one axis of one subset."""

    name: str
    """Of the arm, with all that tells it apart."""
    unit: str
    """What people call it."""
    axis: str
    benchmark: str
    subset: str
    judge: str
    temperature: float
    rows: tuple[int, ...]
    """Of the verdict table, an answer each."""


def make_sheet(
    root: Path,
    *,
    per_arm: int | None = None,
    metrics: Sequence[str] = (),
    seed: int = 0,
    reveal: bool = False,
    out: Path | None = None,
) -> Sheet:
    """Make a sheet of a decided run's answers, as a form (HTML) and as a table (CSV), and its key.

    Args:
        root: A run folder that was decided on.
        per_arm: Labels of each arm and metric; None takes what settles the decision (`labels_of`).
        metrics: Names or shell patterns of metrics; none takes those that the run's outcome hangs on: of a drift those
            that drifted, of a pass all that the gate requires, else those that are open.
        seed: Which answers are drawn, and their order.
        reveal: Leave personal values in prompts and answers.
        out: Folder for the sheet; None takes one in the run, `labels/SHEET/`.

    Raises UsageError where there is nothing to label, and StoreError for a damaged run.
    """
    if per_arm is not None and per_arm < 1:
        raise UsageError(f"{per_arm} labels an arm: give at least 1, or leave it out")
    run = Run.open(root)
    study = stored.read(run)
    with run.lock():
        table = VerdictTable(all_verdicts(run, study, COLUMNS))
        wanted, left_out = _wanted(run, study, metrics)
        cells: dict[_Cell, dict[str, int]] = {}
        parts: dict[tuple[str, str], Part] = {}
        for each in wanted:
            sides = _sides(table, each)
            number, why = (
                (per_arm, "as asked for") if per_arm else labels_of(each.row, each.margin, _shares(table, each, sides))
            )
            for cell in sides:
                took = _allocated(table, cell, each.metric, number)
                most = cells.setdefault(cell, {})
                for label, n in took.items():
                    most[label] = max(n, most.get(label, 0))
                parts.setdefault(
                    (each.metric.name, cell.name),
                    Part(each.metric.name, cell.unit, len(cell.rows), sum(took.values()), why),
                )
        rng = np.random.default_rng(seed_of("label", seed))
        drawn: dict[tuple[AnswerKey, str], str] = {}
        strata: dict[str, int] = {}
        for cell in sorted(cells, key=lambda c: (c.axis, c.benchmark, c.subset, c.temperature, c.name)):
            for label, rows in _by_label(table, cell).items():
                if n := cells[cell].get(label, 0):
                    stratum = digest(cell.name, cell.axis, cell.benchmark, cell.subset, cell.judge, cell.temperature,
                                     label, len(rows))  # fmt: skip
                    strata[stratum] = len(rows)
                    for row in _spread(table, rows, n, rng):
                        drawn.setdefault((_key(table, row), cell.axis), stratum)
        order = _blinded(sorted(drawn), rng)
        return _written(
            run, study, table, [(*each, drawn[each]) for each in order], strata, parts=tuple(parts.values()), seed=seed,
            reveal=reveal, out=out, left_out=left_out,
        )  # fmt: skip


def labels_of(row: Drift, margin: float, shares: Sequence[float], error: float = ppi.USUAL_ERROR) -> tuple[int, str]:
    """Return how many labels an arm settle an estimate, and why so many.

    Args:
        row: The estimate by the judge alone.
        margin: That it is held against.
        shares: What the judge calls positive, in either arm.
        error: How often the judge may be wrong, on either class.

    If the interval lies on one side of the margin, so many that the labels' own noise does not bring it across, should
    the estimate stay where it is. Else no labels can settle it, and the noise may widen the interval by a quarter.
    Within `FEWEST` and `MOST` of `stats.prediction_powered`.
    """
    if row.delta is None or row.low is None or row.high is None:
        return ppi.FEWEST, "nothing is estimated yet"
    sign = 1.0 if row.worse == "up" else -1.0
    loss = sign * row.delta
    good, bad = sorted((sign * row.low, sign * row.high))
    failing, passing = good > margin, bad <= margin
    half = loss - good if failing else bad - loss

    def needed(room: float) -> int | None:
        return ppi.labels_needed(
            half, room, shares, max(row.n_clusters, 1), error=error, confidence=row.confidence, most=ppi.MOST
        )

    if failing or passing:
        number = needed(abs(loss - margin))
        what = "drift" if failing else "pass"
        if number is not None:
            return max(number, ppi.FEWEST), f"enough for a {what} if the judge is wrong on {100 * error:.0f} %"
        return ppi.MOST, f"as many as are proposed at most: the {what} may become undecided all the same"
    number = needed(half * ppi.WIDER)
    if number is not None:
        return max(number, ppi.FEWEST), "open by the judge alone: these widen its interval by a quarter at most"
    return ppi.MOST, "open by the judge alone: as many as are proposed at most"


# ---------------------------------------------------------------------------------------------- what to label


def _wanted(run: Run, study: Study, patterns: Sequence[str]) -> tuple[list[_Wanted], tuple[str, ...]]:
    """Return the estimates that the gate decides on and people can label, and what is left out, and why."""
    from aftertune.deciding import gate

    rows = [row for row in drifts_of(run.root) if study.primary_judges.get(_axis(study, row.metric)) == row.judge]
    decisions = gate.gate(rows, study.policy, list(study.metrics), study.look)
    named = {metric.name: metric for metric in study.metrics}
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in named):
            raise UsageError(f"--metric {pattern}: no such metric in this run{near(pattern, sorted(named))}")
    outcome = gate.overall(decisions)
    elsewhere: list[str] = []
    wanted: list[_Wanted] = []
    left_out: dict[str, str] = {}
    for decision in decisions:
        metric = named.get(decision.metric)
        chosen = any(fnmatch.fnmatchcase(decision.metric, pattern) for pattern in patterns)
        if metric is None or not (chosen or (decision.required and not patterns)):
            continue
        if why := not_read(metric):
            left_out[metric.name] = f"{metric.name}: {why}"
        elif not chosen and decision.outcome != outcome:
            elsewhere.append(f"{metric.name} of {decision.unit} ({decision.outcome})")
        elif row := next((row for row in rows if _is_of(row, decision)), None):
            wanted.append(_Wanted(metric, row, decision.judge, decision.margin, decision.unit))
    decided = {decision.metric for decision in decisions}
    for name in named:
        if name not in decided and any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            left_out[name] = f"{name}: the policy does not gate it"
    if not wanted:
        why = f" ({'; '.join(left_out.values())})" if left_out else ""
        raise UsageError(f"{run.root}: no gated metric of this run can be labelled by reading{why}")
    if elsewhere:
        without = f"the run is decided as {outcome} without them, and --metric asks for them"
        left_out[""] = f"{', '.join(elsewhere)}: {without}"
    return wanted, tuple(left_out.values())


def _axis(study: Study, metric: str) -> str:
    return next((each.axis for each in study.metrics if each.name == metric), "")


def _is_of(row: Drift, decision: Any) -> bool:
    names = ("metric", "estimand", "base_model", "arm", "recipe", "checkpoint", "epoch", "temperature", "judge")
    return all(getattr(row, name) == getattr(decision, name) for name in names)


def _sides(table: VerdictTable, wanted: _Wanted) -> list[_Cell]:
    """Return the answers of tuned model and base that an estimate is made of."""
    metric, row = wanted.metric, wanted.row
    shared = {"benchmark": metric.benchmark, "subset": metric.subset, "axis": metric.axis, "judge": wanted.judge}
    rows = table.where(**shared, base=row.base_model, temperature=row.temperature, status="ok")
    rows = rows[~table.equals("label", None)[rows]]
    arms = np.array(table.column("arm", rows))
    own = arms == row.arm
    names = ("recipe", "epoch") if row.estimand == "recipe" else ("recipe", "epoch", "checkpoint")
    for name in names:
        own &= table.equals(name, getattr(row, name))[rows]
    said = [row.base_model, row.arm, row.recipe, *([row.checkpoint] if row.estimand != "recipe" else []), row.epoch]
    cells = []
    own_name = "/".join(str(each) for each in said if each not in (None, ""))
    sides = ((own_name, wanted.unit, own), (f"{row.base_model}/{BASE_ARM}", BASE_ARM, arms == BASE_ARM))
    for name, unit, mask in sides:
        answers: dict[AnswerKey, int] = {}
        for each in rows[mask].tolist():
            answers.setdefault(_key(table, each), each)
        cells.append(
            _Cell(
                name=name,
                unit=unit,
                axis=metric.axis,
                benchmark=metric.benchmark,
                subset=metric.subset,
                judge=wanted.judge,
                temperature=row.temperature,
                rows=tuple(answers.values()),
            )
        )
    return cells


def _shares(table: VerdictTable, wanted: _Wanted, sides: Sequence[_Cell]) -> list[float]:
    label = wanted.metric.label
    return [
        float(np.mean([table.at("label", row) == label for row in cell.rows])) if cell.rows else 0.5 for cell in sides
    ]


def _by_label(table: VerdictTable, cell: _Cell) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for row in cell.rows:
        found[table.at("label", row)].append(row)
    return dict(sorted(found.items()))


def _allocated(table: VerdictTable, cell: _Cell, metric: Metric, n: int) -> dict[str, int]:
    """Return the judge's label -> how many of its answers to label, for one metric."""
    by_label = _by_label(table, cell)
    sizes = [len(rows) for rows in by_label.values()]
    share = sum(len(rows) for label, rows in by_label.items() if label == metric.label) / max(sum(sizes), 1)
    called, others = (math.sqrt(e * (1 - e)) for e in ppi.expected_errors(share, ppi.USUAL_ERROR))
    given = ppi.allocation(sizes, [called if label == metric.label else others for label in by_label], n)
    return dict(zip(by_label, (int(each) for each in given), strict=True))


def _spread(table: VerdictTable, rows: Sequence[int], n: int, rng: np.random.Generator) -> list[int]:
    """Draw `n` rows, each equally likely, spread over checkpoints and within them over clusters.

    By systematic sampling from a random order (Cochran, Sampling Techniques, 1977, chapter 8).
    """
    whole: Ints = np.array(sorted(rows, key=lambda row: _key(table, row)), dtype=np.int64)
    checkpoint = table.codes["checkpoint"][whole]
    cluster = np.unique(table.clusters(whole), return_inverse=True)[1]
    shuffled = rng.permutation(int(cluster.max()) + 1)[cluster]
    order = np.lexsort((rng.random(whole.size), shuffled, rng.permutation(int(checkpoint.max()) + 1)[checkpoint]))
    at = ((np.arange(n) + rng.random()) * whole.size / n).astype(np.int64)
    return [int(row) for row in whole[order][np.minimum(at, whole.size - 1)]]


def _key(table: VerdictTable, row: int) -> AnswerKey:
    return AnswerKey(
        table.at("checkpoint", row),
        table.at("benchmark", row),
        table.at("subset", row),
        table.at("prompt_id", row),
        table.at("temperature", row),
        int(table.sample[row]),
    )


def _blinded(items: Sequence[tuple[AnswerKey, str]], rng: np.random.Generator) -> list[tuple[AnswerKey, str]]:
    """Return the items question by question, each question's in random order."""
    shuffled = [items[at] for at in rng.permutation(len(items))]
    return sorted(shuffled, key=lambda item: item[1])


# ---------------------------------------------------------------------------------------------- writing


def _written(
    run: Run,
    study: Study,
    table: VerdictTable,
    order: Sequence[tuple[AnswerKey, str, str]],
    strata: Mapping[str, int],
    *,
    parts: tuple[Part, ...] = (),
    seed: int,
    reveal: bool,
    out: Path | None,
    left_out: tuple[str, ...] = (),
    settles: bool = False,
) -> Sheet:
    reader = Reader(run, study)
    texts = dict(reader.texts([answer for answer, _, _ in order]))
    choices = choices_of(table, study)
    id_ = digest("sheet", seed, settles, [(answer, axis, text_hash(texts[answer])) for answer, axis, _ in order])[:6]
    mask = (lambda text: text) if reveal else masker(registries_of(run, study))
    prompts = _prompts(run, study, {answer.benchmark for answer, _, _ in order})
    digits = len(str(len(order)))
    items: dict[str, Item] = {}
    questions: list[Question] = []
    for number, (answer, axis, stratum) in enumerate(order, start=1):
        name = f"{id_}-{number:0{digits}}"
        asked, text = mask(prompts[answer.benchmark, answer.prompt_id]), mask(texts[answer])
        shown = {"prompt": prints(asked), "answer": prints(text)}
        items[name] = Item(answer, axis, stratum, text_hash(texts[answer]), shown)
        questions.append(Question(name, axis, choices[axis], asked, text))
    folder = out or run.root / FOLDER / id_
    make_folder(folder)  # a key whose sheet cannot be written would be of no use
    key = write_key(run, Key(id_, settles, items, strata, {axis: choices[axis] for axis in {a for _, a, _ in order}}))
    table_files.write(
        folder / f"{id_}.csv",
        [
            {
                "item": each.item,
                "question": each.axis,
                "choices": " | ".join(each.choices),
                "prompt": each.prompt,
                "answer": each.answer,
                "label": "",
                "note": "",
            }
            for each in questions
        ],
    )
    write(folder / f"{id_}.html", form(id_, questions, masked=not reveal).encode())
    return Sheet(id_, folder / f"{id_}.csv", folder / f"{id_}.html", key, len(order), parts, not reveal, left_out)


def _prompts(run: Run, study: Study, benchmarks: set[str]) -> dict[tuple[str, str], str]:
    """Return (benchmark, prompt id) -> what was asked, its turns named where there are several."""
    found = {}
    for name in benchmarks:
        for id_ in dict.fromkeys(job.prompts for job in study.asked(name)):
            for prompt in prompts_of(run, id_):
                turns = prompt.messages
                lines = [m.content if len(turns) == 1 else f"{m.role}: {m.content}" for m in turns]
                found[name, prompt.id] = "\n\n".join(lines)
    return found


# ---------------------------------------------------------------------------------------------- readers


def readers(root: Path, files: Sequence[Path], *, reveal: bool = False, out: Path | None = None) -> ReadersAgreement:
    """Return how far the readers of one run's sheets agree, and a sheet of the answers on which they differ.

    Args:
        root: The run folder.
        files: Labels of two readers or more, a file each.
        reveal: Leave personal values in that sheet.
        out: Folder for it; None takes one in the run.

    Raises UsageError for fewer than two files or two of one name, and DataError for labels that do not match the run.
    """
    names = [path.stem for path in files]
    if len(files) < 2:
        raise UsageError("--readers: give the files of two readers or more (--readers A.csv --readers B.csv)")
    if len(set(names)) < len(names):
        raise UsageError("--readers: two files of one name: a reader is called by the name of the file")
    run = Run.open(root)
    study = stored.read(run)
    with run.lock():
        table = VerdictTable(all_verdicts(run, study, COLUMNS))
        reader = Reader(run, study)
        read: list[Readings] = [reader.read(path) for path in files]
        given: dict[tuple[AnswerKey, str], set[str]] = defaultdict(set)
        for each in read:
            for row in each.rows:
                given[row.answer, row.axis].add(row.label)
        rng = np.random.default_rng(study.design.analysis_seed)
        mask = (lambda text: text) if reveal else masker(registries_of(run, study))
        agreement = between_readers(
            table,
            {name: each.rows for name, each in zip(names, read, strict=True)},
            rng,
            lambda keys: {key: mask(text) for key, text in reader.texts(list(keys))},
        )
        differing = sorted(item for item, labels in given.items() if len(labels) > 1)
        if not differing:
            return ReadersAgreement(agreement, None)
        order = _blinded(differing, np.random.default_rng(seed_of("settle", *map(str, files))))
        strata = {reader.stratum_of.get(item, ""): 0 for item in order}
        strata = {name: reader.strata.get(name, 0) for name in strata}
        sheet = _written(
            run, study, table, [(*item, reader.stratum_of.get(item, "")) for item in order], strata, seed=0,
            reveal=reveal, out=out, settles=True,
        )  # fmt: skip
        return ReadersAgreement(agreement, sheet)


def sheet_lines(sheet: Sheet, root: Path) -> list[str]:
    """Return what was made, and what to do with it, as lines of text."""
    lines = [f"{count(sheet.items, 'answer')} to label, {'personal values masked' if sheet.masked else 'as they are'}:"]
    groups: dict[tuple[str, str], list[Part]] = defaultdict(list)
    for part in sheet.parts:
        groups[part.metric, part.why].append(part)
    for (metric, why), parts in groups.items():
        numbers = ", ".join(f"{part.arm} {part.labels:,} of {part.answers:,}" for part in parts)
        lines.append(f"  {metric}: {numbers} ({why})")
    lines += [f"not on the sheet: {why}" for why in sheet.left_out]
    if sheet.items > MANY:
        lines.append(f"more than {MANY} answers are much for one reader: --metric and --per-arm make a smaller sheet")
    lines += [
        f"form:  {sheet.html} (opens in any browser, offline; its button saves a CSV)",
        f"table: {sheet.csv} (fill in the column 'label')",
        f"key:   {sheet.key} (stays with the run: a reader who has it is not blind)",
        f"then:  aftertune drift {root} --labels FILE.csv",
    ]
    return lines
