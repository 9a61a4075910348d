"""Decide on a run whose answers are judged: drifts, decisions, report (`aftertune drift`, `aftertune report`)."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aftertune.asking.prompts_job import PromptsJob, prompts_of
from aftertune.asking.score_job import ScoreJob
from aftertune.data import reading
from aftertune.deciding import drift, gate
from aftertune.deciding import policy as policies
from aftertune.deciding.contradictions import contradictions, mixed_signs
from aftertune.deciding.curves import bands
from aftertune.deciding.discrimination import discrimination, pairs, sentences, unpaired, with_discrimination
from aftertune.deciding.judge_differences import (
    OtherOutcome,
    decided_on,
    judge_differences,
    summary,
    with_disagreements,
)
from aftertune.deciding.judge_reliability import resting_on_nothing, unreliable
from aftertune.deciding.judge_reliability import warnings as reliability_warnings
from aftertune.deciding.label_effects import label_effects, unused, with_label_effects
from aftertune.deciding.label_effects import summary as label_summary
from aftertune.deciding.labels import AnswerLabel
from aftertune.deciding.measures import Measuring, measures
from aftertune.deciding.memorisation import memorisation
from aftertune.deciding.unable_bases import sentences as inability
from aftertune.deciding.unable_bases import unable_bases, with_unable_bases
from aftertune.deciding.variance_sources import spreads
from aftertune.deciding.verdict_table import COLUMNS, VerdictTable
from aftertune.errors import StoreError, UsageError
from aftertune.files import read_parquet
from aftertune.findings import Discrimination, LabelEffect, SubjectMeasure, ThoughtRow
from aftertune.forecasting import predict_job
from aftertune.forecasting.predict_job import PredictJob
from aftertune.ingest import labels as labelling
from aftertune.inside import analyse_job
from aftertune.inside.analyse_job import AnalyseJob
from aftertune.judging.judge import CONTRASTS
from aftertune.judging.judge_job import JudgeJob
from aftertune.models.subject import Subject
from aftertune.records import Decision, Drift, Outcome, Prompt, Response, Score, plain
from aftertune.reporting import notebook, report
from aftertune.reporting.gather import gather
from aftertune.reporting.index import phrase
from aftertune.reporting.study_numbers import StudyResults, fill
from aftertune.run import checksums
from aftertune.run.run_folder import Run
from aftertune.run.tables import records, table
from aftertune.stats.group_sequential import PARTS
from aftertune.studies import stored
from aftertune.studies.run_tables import all_verdicts
from aftertune.studies.study import Study
from aftertune.variants.compose_job import ComposeJob

if TYPE_CHECKING:
    import aftertune


@dataclass(frozen=True)
class Result:
    """What a run came to."""

    outcome: Outcome
    decisions: tuple[Decision, ...]
    drifts: tuple[Drift, ...]
    """Every estimate, by every judge."""
    gated: tuple[Drift, ...]
    """Those by the judge that the gate listens to: the first in the design that offers the axis."""
    root: Path
    report: Path
    warnings: tuple[str, ...] = ()
    measures: tuple[SubjectMeasure, ...] = ()
    """What no share of responses shows: d-prime, criterion, violation; empty where no benchmark asks for it."""
    costs: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Judge -> what it took in calls and tokens, for judges that are language models."""
    thoughts: tuple[ThoughtRow, ...] = ()
    """How many responses have a thought and how many end in it, of models that write any."""
    labels: tuple[LabelEffect, ...] = ()
    """What people's labels changed about each decision that uses them."""
    discrimination: tuple[Discrimination, ...] = ()
    """How far the refusals of each base, checkpoint and arm tell harmful requests from harmless ones."""
    undiscriminated: tuple[str, ...] = ()
    """Metrics of refusals of harmful requests, where no benchmark of the run asks harmless ones."""

    @property
    def run(self) -> aftertune.Run:
        """The run that this is the result of, with its tables."""
        import aftertune  # the public name: what opens a run for reading stands above this file

        return aftertune.open_run(self.root)

    def __repr__(self) -> str:
        return f"Result({str(self.root)!r}: {self.outcome}; {notebook.tally(self.decisions)})"

    def _repr_html_(self) -> str:
        facts = [notebook.tally(self.decisions), f"report: {self.report}", *self.warnings]
        facts += sentences(self.discrimination, clear=True)
        return notebook.fragment(
            f"{self.root}: {self.outcome}", facts, self.drifts, self.decisions, self.discrimination
        )


def again(
    root: Path, policy: str | Path | None = None, labels: Sequence[Path] = (), *, forget_labels: bool = False
) -> Result:
    """Compute drifts, decisions and the report of a run anew, asking no model.

    `policy`, a bundled one's name or a TOML file, becomes the run's own: it decides from now on. So do `labels`, files
    of people's labels, in place of those before; `forget_labels` leaves the judges alone again.

    Raises UsageError and DataError for labels that do not match the run, and StoreError for a run that is not done,
    where a process works in it, and for a damaged file.
    """
    run = Run.open(root)
    with run.lock():
        study = stored.read(run)
        if policy is not None:
            study = with_policy(study, policy)
        left = [job.label for job in study.jobs if not run.job(job).complete]
        if left:
            raise StoreError(
                f"{root}: {len(left)} of {len(study.jobs)} jobs are not done yet ('{left[0]}' for one); "
                "run the command that began it again to continue it"
            )
        if labels and forget_labels:
            raise UsageError("labels are given and to be forgotten: leave one out")
        if labels:
            labelling.take(run, study, labels)
        elif forget_labels:
            labelling.forget(run)
        if policy is not None:
            stored.write(run, study)
        return decide(run, study)


def with_policy(study: Study, policy: str | Path) -> Study:
    """Return a study under another policy. Raises UsageError for one that is not there or broken."""
    path = Path(policy).expanduser()
    name = str(path.absolute()) if path.is_file() else str(policy)
    rules = policies.load(name)
    return dataclasses.replace(study, design=dataclasses.replace(study.design, policy=name), policy=rules)


@dataclass(frozen=True)
class _Decided:
    """What some labels come to."""

    drifts: list[Drift]
    """Every estimate, by every judge."""
    gated: list[Drift]
    decisions: list[Decision]


def undecided(run: Run, study: Study) -> list[str]:
    """Return the arms and checkpoints that more of the prompts may still decide, as people call them."""
    verdicts = VerdictTable(all_verdicts(run, study, COLUMNS))
    people = labelling.kept(run) or labelling.RunLabels(())
    return gate.undecided(_decided(study, verdicts, people.labels).decisions)


def by_judges(study: Study, verdicts: VerdictTable) -> list[Decision]:
    """Return what the gate says of some of a study's verdicts, by the judges alone, at the study's look."""
    return _decided(study, verdicts, ()).decisions


def _decided(study: Study, verdicts: VerdictTable, labels: Sequence[AnswerLabel]) -> _Decided:
    design, metrics, first = study.design, list(study.metrics), study.primary_judges
    axis = {metric.name: metric.axis for metric in metrics}
    rows = drift.drift(
        verdicts,
        metrics,
        seed=design.analysis_seed,
        confidence=study.confidence,
        contrasts=design.contrasts,
        labels=labels,
    )
    whys = study.shown_only(first)
    rows = [_shown(row, whys) if first.get(axis[row.metric]) == row.judge else row for row in rows]
    own = [d for d in rows if first.get(axis[d.metric]) == d.judge]
    return _Decided(rows, own, gate.gate(own, study.policy, metrics, study.look, whys))


def _shown(row: Drift, whys: Mapping[str, str]) -> Drift:
    """Return an estimate with the reason why nothing is decided by it, if there is one, before its other warnings."""
    if row.metric not in whys:
        return row
    return dataclasses.replace(row, warning="; ".join(filter(None, (whys[row.metric], row.warning))))


def decide(run: Run, study: Study) -> Result:
    """Compute drifts, decisions and the report from a run's verdicts, and write them into the run folder."""
    design, metrics, first = study.design, list(study.metrics), study.primary_judges
    verdicts = VerdictTable(all_verdicts(run, study, COLUMNS))
    people = labelling.kept(run) or labelling.RunLabels(())
    axis = {metric.name: metric.axis for metric in metrics}
    found = _decided(study, verdicts, people.labels)
    drifts, gated, decisions = found.drifts, found.gated, found.decisions
    effects: list[LabelEffect] = []
    if people.labels:
        by_judge = _decided(study, verdicts, ())
        alone = (by_judge.gated, by_judge.decisions)
        effects = label_effects(verdicts, metrics, people.labels, alone, (gated, decisions))
        decisions = with_label_effects(decisions, effects, gated)
    trials = _trials(run, study)
    settled = {(each.metric, each.unit, each.estimand, each.temperature) for each in effects}
    by_people = {decided_on(d) for d in decisions if (d.metric, d.unit, d.estimand, d.temperature) in settled}
    told_unreliable = unreliable(verdicts, metrics, decisions, gated, trials, people.labels, by_people)
    decisions = resting_on_nothing(decisions, told_unreliable)
    worthless = reliability_warnings(trials, told_unreliable, decisions)
    about = measuring(run, study)
    measured = measures(about, verdicts)
    unable = unable_bases(about, measured, drifts)
    decisions = with_unable_bases(decisions, unable)
    outcome = gate.overall(decisions)
    differences = judge_differences(
        verdicts,
        metrics,
        decisions,
        known={name: contrast.positive for name, contrast in CONTRASTS.items()},
        outcome_by=_outcome_by(study, drifts, axis, {key for key, trial in trials.items() if trial.get("failed")}),
        confidence=study.confidence,
    )
    decisions = with_disagreements(decisions, differences)
    told_apart = discrimination(
        verdicts,
        pairs(metrics),
        confidence=study.confidence,
        counts=lambda name, judge: first.get(axis[name]) == judge,
    )
    decisions = with_discrimination(decisions, told_apart)
    run.keep("drift.parquet", _parquet(drifts))
    scored = memorisation(scores(run, study), study.confidence) or {"why": study.unscored}
    named = {metric.name: metric for metric in metrics}
    run.keep("memorisation.json", _json(scored))
    gated_pairs = {(d.metric, d.judge) for d in gated}
    mixed = mixed_signs(
        verdicts, metrics, seed=design.analysis_seed, counts=lambda name, judge: (name, judge) in gated_pairs
    )
    findings = dataclasses.replace(
        gather(run, study, verdicts, drifts, decisions, outcome),
        mixed=mixed,
        inside=analyse_job.rows_of(run, study.of(AnalyseJob)),
        forecasts=predict_job.rows_of(run, study.of(PredictJob)),
        measures=measured,
        discrimination=told_apart,
        undiscriminated=unpaired(metrics),
        memorisation=scored,
        contradictions=contradictions(gated, mixed),
        judge_differences=differences,
        label_effects=effects,
        spreads=spreads(verdicts, metrics, confidence=study.confidence),
        bands=bands(verdicts, metrics, seed=design.analysis_seed, confidence=study.confidence),
    )
    results = StudyResults(
        verdicts=verdicts,
        metrics=metrics,
        drifts=drifts,
        leaks=findings.leaks,
        measures=measured,
        discrimination=told_apart,
        memorisation=scored,
        subjects=study.units,
        base=design.bases[0],
        contrasts=design.contrasts,
        judges=first,
        temperature=min(design.respond.temperatures),
        confidence=study.confidence,
        seed=design.analysis_seed,
        unable={(each.base_model, metric) for each in unable if each.room is None for metric in each.metrics},
        labelled=bool(effects),
    )
    told = summary(differences, lambda one: f"{one.unit}, {phrase(named[one.metric])}")
    meaning = sentences(told_apart, clear=False)
    asked = _asked_so_far(run, study, found.decisions, decisions)
    meaning += inability(unable)
    labelled = (label_summary(effects), unused(gated, decisions), *people.notes)
    notes = [each for each in (asked, *meaning, *worthless, *labelled, told) if each]
    findings = dataclasses.replace(findings, tables=fill(design.tables, results), warnings=(*notes, *findings.warnings))
    page = report.report(findings)
    run.keep("decisions.json", _json({"outcome": outcome, "decisions": decisions}))
    run.keep("discrimination.json", _json(told_apart))
    if measured:
        run.keep("measures.json", _json(measured))
    run.keep("report.md", page.markdown.encode())
    run.keep("report.json", page.json.encode())
    run.keep("junit.xml", page.junit.encode())
    where = run.keep("report.html", page.html.encode())
    written = ["drift.parquet", "memorisation.json", "decisions.json", "discrimination.json"]
    written += ["report.md", "report.json", "report.html", "junit.xml"]
    checksums.record(run.root, [*written, "measures.json"] if measured else written)
    costs: dict[str, Any] = {name: about["cost"] for name, about in findings.judges.items() if "cost" in about}
    return Result(
        outcome,
        tuple(decisions),
        tuple(drifts),
        tuple(gated),
        run.root,
        where,
        (*findings.warnings, *_reading(run, study)),
        tuple(measured),
        costs,
        tuple(findings.thoughts),
        tuple(effects),
        tuple(told_apart),
        tuple(findings.undiscriminated),
    )


def _trials(run: Run, study: Study) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Return (judge, axis) -> the judge's trial on known answers, as its jobs wrote it."""
    return {
        (job.judge.name, axis): trial
        for job in study.of(JudgeJob)
        for axis, trial in run.job(job).info().get("anchors", {}).items()
    }


def _outcome_by(
    study: Study, drifts: Sequence[Drift], axis: Mapping[str, str], failed: Collection[tuple[str, str]]
) -> OtherOutcome:
    """Return what the gate would say of a check, were another judge the first of its axis in the design.

    `failed`: (judge, axis) of those that nothing is decided by.
    """
    found: dict[tuple[str, str], dict[tuple[object, ...], Outcome]] = {}

    def outcome_by(decision: Decision, judge: str) -> Outcome | None:
        own = axis[decision.metric]
        if (judge, own) in failed:
            return None
        if (own, judge) not in found:
            heard = {**study.primary_judges, own: judge}
            rows = [row for row in drifts if heard.get(axis[row.metric]) == row.judge]
            made = gate.gate(rows, study.policy, list(study.metrics), study.look, study.shown_only(heard))
            found[own, judge] = {decided_on(each): each.outcome for each in made if each.judge == judge}
        return found[own, judge].get(decided_on(decision))

    return outcome_by


def _asked_so_far(run: Run, study: Study, stopping: Sequence[Decision], decisions: Sequence[Decision]) -> str:
    """Return how much of the prompts was asked before it was decided, and why no more; empty where all at once were.

    `stopping` are the decisions by verdicts alone, which end the asking; `decisions` those that stand.
    """
    if not study.parts:
        return ""
    counts: dict[tuple[str, str | None], tuple[int, int]] = {}
    for job in study.of(PromptsJob):
        info, key = run.job(job).info(), (job.benchmark.id, f"{job.variants}/{job.corpus}")
        counts[key] = (counts.get(key, (0, 0))[0] + info["prompts"], info["of"])
    asked, total = (sum(each) for each in zip(*counts.values(), strict=True))
    why = gate.why_asked_no_more(stopping, decisions, all_asked=study.parts == PARTS)
    return (
        f"Asked until decided: {asked:,} of {total:,} prompts, {study.parts} of {PARTS} parts in random order of their "
        f"clusters; {why}. Looking after each part is paid for by intervals of {100 * study.confidence:g} % in place "
        f"of {100 * study.design.confidence:g} %."
    )


def _reading(run: Run, study: Study) -> list[str]:
    """Return what is to be said of how the tuning data were read: texts beside the turns, rows that were skipped."""
    notes: dict[str, None] = {}
    for job in study.of(ComposeJob):
        folder = run.job(job)
        if (folder.path / "reading.json").is_file():
            for counts in folder.document("reading"):
                corpus = f"corpus {counts['corpus']}".rstrip()
                notes |= dict.fromkeys(f"{corpus}: {line}" for line in reading.lines(counts))
    return list(notes)


def measuring(run: Run, study: Study) -> Measuring:
    """Return what measures are made of, beside the verdicts."""

    def responses(benchmark: str) -> Iterator[tuple[Subject, Sequence[Response]]]:
        for job in study.asked(benchmark):
            if run.job(job).complete:
                yield job.subject, records(Response, run.job(job).read("responses"))

    def prompts(benchmark: str) -> dict[str, Prompt]:
        ids = dict.fromkeys(job.prompts for job in study.asked(benchmark))
        return {prompt.id: prompt for id in ids for prompt in prompts_of(run, id)}

    return Measuring(
        benchmarks=study.benchmarks,
        subjects=study.subjects,
        primary_judges=study.primary_judges,
        name_of=study.name_of,
        base_of=study.base_of,
        prompts=prompts,
        responses=responses,
        confidence=study.confidence,
    )


def scores(run: Run, study: Study) -> dict[str, list[Score]]:
    """Return the scored texts of each checkpoint that is done, by its name for people."""
    return {
        study.name_of(job.subject): records(Score, run.job(job).read("scores"))
        for job in study.of(ScoreJob)
        if run.job(job).complete
    }


def drifts_of(root: Path) -> list[Drift]:
    """Return a finished run's drifts. Raises UsageError where it has none yet, StoreError for damaged ones."""
    path = root / "drift.parquet"
    if not path.is_file():
        raise UsageError(f"{root}: no drifts yet; run `aftertune drift {root}`")
    checksums.check(root, path.name)
    try:
        return records(Drift, read_parquet(path))
    except (OSError, ValueError):
        raise StoreError(f"{path}: damaged; `aftertune drift {root}` makes it again") from None


def _parquet(drifts: Sequence[Drift]) -> bytes:
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table(Drift, drifts), buffer)
    return buffer.getvalue()


def _json(value: object) -> bytes:
    return (json.dumps(plain(value), indent=1, allow_nan=False) + "\n").encode()
