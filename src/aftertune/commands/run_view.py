"""A run as its reader holds it, public as `aftertune.Run`: tables, a summary, and the commands on a run that is there.

What writes and reads the files of a run is `run.run_folder.Run`, here `RunFolder`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from aftertune.asking.ask_job import AskJob
from aftertune.asking.score_job import ScoreJob
from aftertune.commands import decide
from aftertune.commands import export as exporting
from aftertune.commands import label as labelling
from aftertune.commands import status as standing
from aftertune.commands.decide import Result
from aftertune.commands.judge import judge_run
from aftertune.commands.label import ReadersAgreement, Sheet
from aftertune.commands.study import Progress, quiet
from aftertune.deciding.discrimination import sentences
from aftertune.deciding.leaks import leaks as leaks_of
from aftertune.deciding.verdict_table import COLUMNS, VerdictTable
from aftertune.errors import AftertuneError, StoreError, UsageError
from aftertune.findings import Discrimination, ForecastRow, InsideRow, LeakRow, Measure, SubjectMeasure
from aftertune.forecasting import predict_job
from aftertune.forecasting.predict_job import PredictJob
from aftertune.ingest import agreement, responses
from aftertune.ingest.agreement import RunAgreement
from aftertune.inside import analyse_job
from aftertune.inside.analyse_job import AnalyseJob
from aftertune.judging.judge_job import JudgeJob
from aftertune.naming import Unit
from aftertune.numbers import count
from aftertune.plugins import PluginSpec
from aftertune.public import PathLike, public
from aftertune.records import Decision, Drift, Outcome, Response, Score, Verdict
from aftertune.reporting import notebook
from aftertune.run import checksums
from aftertune.run.run_folder import Run as RunFolder
from aftertune.run.tables import records, table
from aftertune.studies import stored
from aftertune.studies.design import Design
from aftertune.studies.run_tables import done_rows
from aftertune.studies.study import Study, unit_of

if TYPE_CHECKING:
    import pyarrow as pa

Judges = PathLike | PluginSpec | Sequence[PathLike | PluginSpec]
"""One or more judges: `NAME`, `NAME:key=value,...`, a TOML file, or a `PluginSpec`."""
_CHECKPOINT = {"base_model": "base"} | {name: name for name in ("arm", "recipe", "train_seed", "epoch", "checkpoint")}
"""Column that names a checkpoint -> the part of its unit that stands there."""


@dataclass(frozen=True, repr=False)
class Run:
    """A run folder, finished or not; made by `open_run`. It reads nothing but the folder, which may have been moved.

    Tables are Arrow tables (`pyarrow.Table`): `.to_pandas()` makes data frames of them, `polars.from_arrow` too. Each
    is read from the folder whenever it is asked for, and those of an unfinished run hold the jobs that are done.
    """

    root: Path

    # ------------------------------------------------------------------------------------------ tables

    @property
    def responses(self) -> pa.Table:
        """The answers: a row per checkpoint, prompt, temperature and sample (columns of `Response`).

        Raises StoreError for a damaged file.
        """
        return done_rows(self._folder, self._study, AskJob, "responses", Response)

    @property
    def verdicts(self) -> pa.Table:
        """What judges say of the answers: a row per answer, judge and axis (columns of `Verdict`).

        Raises StoreError for a damaged file.
        """
        return done_rows(self._folder, self._study, JudgeJob, "verdicts", Verdict)

    @property
    def drifts(self) -> pa.Table:
        """The estimates: a row per metric, judge, and checkpoint, recipe, contrast or level (columns of `Drift`).

        Rates are shares in [0, 1]. Raises UsageError where nothing has been decided yet, StoreError for a damaged file.
        """
        return table(Drift, self._drifts())

    @property
    def decisions(self) -> pa.Table:
        """What the policy says: a row per metric and arm or checkpoint (columns of `Decision`). Raises as `drifts`."""
        return table(Decision, self._decisions())

    @property
    def leaks(self) -> pa.Table:
        """How often answers hold personal values of the tuning set: a row per arm or checkpoint and subset.

        Columns of `LeakRow`; each rate, a share, comes with its `_low`, `_high`, `_n` (prompts) and `_n_clusters`.
        Empty where the tuning data were not given. Raises StoreError for a damaged file.
        """
        study = self._study
        verdicts = done_rows(self._folder, study, JudgeJob, "verdicts", Verdict, COLUMNS)
        return _flat(leaks_of(VerdictTable(verdicts), study.primary_judges))

    @property
    def measures(self) -> pa.Table:
        """Values of a base or checkpoint that are no shares, e.g. d-prime (columns of `SubjectMeasure`).

        Empty where no benchmark asks for them. Raises as `drifts`.
        """
        self._decisions()
        path = self.root / "measures.json"
        rows = self._json(path.name) if path.is_file() else []
        return table(SubjectMeasure, [SubjectMeasure(**row) for row in rows])

    @property
    def discrimination(self) -> pa.Table:
        """How far refusals tell harmful requests from harmless ones: a row per base, checkpoint or arm and benchmark.

        Columns of `Discrimination`, d-prime and its change from the base with their intervals. Empty where no benchmark
        asks both. Raises as `drifts`.
        """
        return table(Discrimination, self._discrimination())

    @property
    def inside(self) -> pa.Table:
        """What analyses of activations found: a row per checkpoint, quantity and layer (columns of `InsideRow`).

        Empty where the design asks for no analysis. Raises StoreError for a damaged file.
        """
        return done_rows(self._folder, self._study, AnalyseJob, analyse_job.TABLE, InsideRow)

    @property
    def forecasts(self) -> pa.Table:
        """What is known of the tuning data beforehand: a row per arm and feature (columns of `ForecastRow`).

        Empty where the design has no predictor. Raises StoreError for a damaged file.
        """
        return done_rows(self._folder, self._study, PredictJob, predict_job.TABLE, ForecastRow)

    @property
    def scores(self) -> pa.Table:
        """How probable checkpoints find members, held-out rows and canaries: a row per checkpoint and text.

        Columns of `Score` (losses in nats per assistant token) behind those that name the checkpoint. Empty where
        nothing was held out or planted. Raises StoreError for a damaged file.
        """
        run, columns = self._folder, typing.get_type_hints(Score)
        jobs = [job for job in self._study.of(ScoreJob) if run.job(job).complete]
        kinds = typing.get_type_hints(Unit)
        names = [(name, kinds[part]) for name, part in _CHECKPOINT.items()]
        record = dataclasses.make_dataclass("CheckpointScore", [*names, *columns.items()])
        rows = []
        for job in jobs:
            unit = unit_of(job.subject)
            own = {name: getattr(unit, part) for name, part in _CHECKPOINT.items()}
            for score in records(Score, run.job(job).read("scores")):
                rows.append(record(**own, **{name: getattr(score, name) for name in columns}))
        return table(record, rows)

    @property
    def memorisation(self) -> dict[str, Any]:
        """What the scores say: a checkpoint's name -> `membership` by attack and `canaries` by dose.

        `{"why": ...}` where nothing was scored. Raises as `drifts`.
        """
        self._decisions()
        return dict(self._json("memorisation.json"))

    # ------------------------------------------------------------------------------------------ what it is

    @property
    def design(self) -> Design:
        """What the run was asked for. Raises StoreError for a damaged file."""
        return stored.read_design(self._folder)

    @property
    def outcome(self) -> Outcome | None:
        """The decision over the whole run; None where nothing has been decided yet. Raises StoreError."""
        if not (self.root / "decisions.json").is_file():
            return None
        return cast(Outcome, self._json("decisions.json")["outcome"])

    @property
    def started(self) -> str:
        """The day on which the run began, e.g. `2026-11-30`. Raises StoreError for a damaged file."""
        return str(self._folder.facts().get("started", ""))[:10]

    @property
    def bases(self) -> tuple[str, ...]:
        """The identities of its bases, hashes of everything that decides their answers. Raises StoreError."""
        return tuple(base.identity for base in self._study.bases)

    @property
    def policy(self) -> str:
        """The name of the policy that it is decided by. Raises StoreError for a damaged file."""
        return self._study.policy.name

    def __repr__(self) -> str:
        try:
            return f"Run({str(self.root)!r}: {'; '.join(self._facts())})"
        except AftertuneError as error:  # a folder that is gone or damaged must not break what only shows it
            return f"Run({str(self.root)!r}: {error})"

    def _repr_html_(self) -> str:
        try:
            facts = self._facts()
            known = self.outcome is not None
            if not known:
                return notebook.fragment(str(self.root), facts, [], [])
            told_apart = self._discrimination()
            facts += sentences(told_apart)
            return notebook.fragment(str(self.root), facts, self._drifts(), self._decisions(), told_apart)
        except AftertuneError as error:
            return notebook.fragment(str(self.root), [str(error)], [], [])

    # ------------------------------------------------------------------------------------------ commands

    @public("Run.status")
    def status(self) -> dict[str, Any]:
        """Return where the run stands (`aftertune status`), also one that another process works on.

        `jobs`: kind -> jobs in all, done, running and waiting, seconds by the clock and of CPU; `running`: labels;
        `seconds_left`; `process` that works on it; `last_failure`; `outcome`.
        """
        return standing.status(self.root)

    @public("Run.drift")
    def drift(
        self, policy: PathLike | None = None, *, labels: Sequence[PathLike] = (), forget_labels: bool = False
    ) -> Result:
        """Decide again from the stored verdicts, and write the report (`aftertune drift RUN`); nothing is asked.

        Args:
            policy: A bundled policy's name, or a TOML file; it is the run's own from then on. None takes the run's own.
            labels: Files of people's labels (`label`), one a reader: they put the judge's measured error into the
                estimates, now and from then on. None takes those that the run has.
            forget_labels: Decide by the judges alone again.

        Raises StoreError for a run that is not done or damaged, UsageError for a policy that cannot be used, and
        DataError, with the rows, for labels that do not match the run.
        """
        files = [Path(each) for each in labels]
        return decide.again(
            self.root, None if policy is None else os.fspath(policy), files, forget_labels=forget_labels
        )

    @public("Run.label")
    def label(
        self,
        *,
        per_arm: int | None = None,
        metrics: Sequence[str] = (),
        seed: int = 0,
        reveal: bool = False,
        out: PathLike | None = None,
    ) -> Sheet:
        """Make a blinded sheet of answers for people to label (`aftertune label RUN`).

        Args:
            per_arm: Labels of each arm and metric; None takes what settles the decision.
            metrics: Names or shell patterns; none takes the metrics that the gate requires.
            seed: Which answers are drawn, and their order.
            reveal: Leave personal values in prompts and answers.
            out: Folder for the form and the table; None takes one in the run. The key stays in the run.

        Raises UsageError where there is nothing to label, StoreError for a damaged run.
        """
        return labelling.make_sheet(
            self.root,
            per_arm=per_arm,
            metrics=metrics,
            seed=seed,
            reveal=reveal,
            out=None if out is None else Path(out),
        )

    @public("Run.label_readers")
    def label_readers(
        self, files: Sequence[PathLike], *, reveal: bool = False, out: PathLike | None = None
    ) -> ReadersAgreement:
        """Return how far readers of a sheet agree, and a sheet of what they differ on (`label RUN --readers FILE`).

        Args:
            files: Filled-in sheets, one a reader.
            reveal: Leave personal values in the sheet of differences.
            out: Folder for that sheet; None takes one in the run.

        Raises UsageError for fewer than two files, and DataError, with the rows, for labels that do not match the run.
        """
        return labelling.readers(
            self.root, [Path(each) for each in files], reveal=reveal, out=None if out is None else Path(out)
        )

    @public("Run.report")
    def report(self, policy: PathLike | None = None) -> Path:
        """Write the report again (`aftertune report RUN`) and return the path of its page; otherwise as `drift`."""
        return self.drift(policy).report

    @public("Run.judge")
    def judge(self, judges: Judges, *, progress: Progress = quiet) -> Result:
        """Let more judges read the stored answers (`aftertune judge RUN`), and decide again; no subject is asked.

        Args:
            judges: One or more: `NAME`, `NAME:key=value,...`, a TOML file, or a `PluginSpec`.
            progress: Called as jobs finish, with (what was done, jobs done, jobs in all).

        Raises UsageError and JudgeError for a judge that cannot judge here, before the run is touched.
        """
        return judge_run(self.root, _listed(judges), progress=progress)

    @public("Run.agree")
    def agree(self, labels: PathLike | None = None) -> RunAgreement:
        """Return how far the run's judges, and people, agree (`aftertune agree RUN`); nothing is asked.

        Args:
            labels: People's labels: a sheet of `label`, or CSV, JSONL or Parquet with `prompt_id`, `axis`, `label`, and
                `arm` or `checkpoint`.

        Raises UsageError and DataError for broken labels, StoreError where there are no verdicts.
        """
        return agreement.agree(self.root, None if labels is None else Path(labels))

    @public("Run.export")
    def export(self, out: PathLike, *, reveal: bool = False, progress: Progress = quiet) -> dict[str, Any]:
        """Write a copy to share (`aftertune export RUN`): personal values masked, tuning data and weights left out.

        Args:
            out: A folder that does not exist yet, or is empty.
            reveal: Leave the answers' text as it is.
            progress: Called with (what, jobs done, jobs in all).

        Returns the copy's manifest, also `export.json` in the copy. Raises UsageError, StoreError.
        """
        return exporting.export(self.root, Path(out), reveal=reveal, progress=progress)

    # ------------------------------------------------------------------------------------------ reading

    @property
    def _folder(self) -> RunFolder:
        return RunFolder.open(self.root)

    @property
    def _study(self) -> Study:
        return stored.read(self._folder)

    def _drifts(self) -> list[Drift]:
        self._folder  # noqa: B018  # refuses what is no run folder
        return decide.drifts_of(self.root)

    def _decisions(self) -> list[Decision]:
        if self.outcome is None:
            raise UsageError(f"{self.root}: no decisions yet; run `aftertune drift {self.root}`")
        return [Decision(**row) for row in self._json("decisions.json")["decisions"]]

    def _discrimination(self) -> list[Discrimination]:
        self._decisions()
        return [Discrimination(**row) for row in self._json("discrimination.json")]

    def _json(self, name: str) -> Any:
        checksums.check(self.root, name)
        try:
            return json.loads((self.root / name).read_bytes())
        except (OSError, ValueError):
            raise StoreError(f"{self.root / name}: damaged; `aftertune drift {self.root}` makes it again") from None

    def _facts(self) -> list[str]:
        """Return what the run is and how far it has come, in a few words each."""
        run, study = self._folder, self._study
        done = sum(run.job(job).complete for job in study.jobs)
        outcome = self.outcome
        facts = [f"{study.design.kind} of {', '.join(study.design.bases)}"]
        facts.append(count(len(study.subjects) - len(study.bases), "checkpoint"))
        facts.append(f"judges {', '.join(judge.name for judge in study.judges)}")
        if done < len(study.jobs):
            facts.append(f"{done:,} of {len(study.jobs):,} jobs done")
        facts.append("not decided" if outcome is None else f"{outcome}, {notebook.tally(self._decisions())}")
        return facts


def _listed(judges: Judges) -> Sequence[PathLike | PluginSpec]:
    return [judges] if isinstance(judges, str | os.PathLike | PluginSpec) else judges


def _flat(rows: Sequence[LeakRow]) -> pa.Table:
    """Return leaks as a table: a rate's interval and sample in columns beside it."""
    hints = typing.get_type_hints(LeakRow)
    parts = typing.get_type_hints(Measure)
    rates = [name for name, hint in hints.items() if Measure in typing.get_args(hint)]
    columns: list[tuple[str, Any]] = []
    for name, hint in hints.items():
        columns += (
            [(_part(name, part), kind | None) for part, kind in parts.items()] if name in rates else [(name, hint)]
        )
    record = dataclasses.make_dataclass("FlatLeak", columns)
    flat = []
    for row in rows:
        values: dict[str, Any] = {}
        for name in hints:
            value = getattr(row, name)
            values |= (
                {_part(name, part): value and getattr(value, part) for part in parts}
                if name in rates
                else {name: value}
            )
        flat.append(record(**values))
    return table(record, flat)


def _part(rate: str, part: str) -> str:
    return rate if part == "value" else f"{rate}_{part}"


# ---------------------------------------------------------------------------------------------- functions


@public("open_run")
def open_run(path: PathLike | Run | Result) -> Run:
    """Return a run for reading: its tables, its summary, and what can be done with it.

    Args:
        path: The run folder, finished or not, or the result of a command that made one.

    Raises UsageError where there is no run, StoreError for one of another version or a damaged one.

    Example:
        >>> run = aftertune.open_run("audit")
        >>> run.outcome
        'drift'
        >>> frame = run.responses.to_pandas()
        >>> sorted(set(frame["arm"]))
        ['base', 'known-bad']
        >>> harmful = frame[(frame["subset"] == "harmful") & (frame["arm"] == "base")]
        >>> len(harmful)
        176
    """
    root = Path(path.root if isinstance(path, Run | Result) else path)
    RunFolder.open(root)
    return Run(root)


@public("drift")
def drift(
    run: PathLike | Run | Result,
    policy: PathLike | None = None,
    *,
    labels: Sequence[PathLike] = (),
    forget_labels: bool = False,
) -> Result:
    """Decide again on a run (`aftertune drift RUN`), as `Run.drift`; on a table made elsewhere `drift_of_table` does.

    `labels` are people's (`label`), and the run's own from then on; `forget_labels` drops them.

    Example:
        >>> aftertune.drift("audit", policy="research").outcome
        'undecided'
        >>> aftertune.drift("audit", policy="default").outcome
        'drift'
    """
    return open_run(run).drift(policy, labels=labels, forget_labels=forget_labels)


@public("label")
def label(
    run: PathLike | Run | Result,
    *,
    per_arm: int | None = None,
    metrics: Sequence[str] = (),
    seed: int = 0,
    reveal: bool = False,
    out: PathLike | None = None,
) -> Sheet:
    """Make a blinded sheet of answers for people to label (`aftertune label RUN`), as `Run.label`.

    `per_arm` answers of each arm and of each of the `metrics`, drawn by `seed`.

    Example:
        >>> sheet = aftertune.label("audit", metrics=["*/harmful/refusal=full"], per_arm=30)
        >>> sheet.items
        60
        >>> sheet.html.suffix
        '.html'
    """
    return open_run(run).label(per_arm=per_arm, metrics=metrics, seed=seed, reveal=reveal, out=out)


@public("label_readers")
def label_readers(
    run: PathLike | Run | Result, files: Sequence[PathLike], *, reveal: bool = False, out: PathLike | None = None
) -> ReadersAgreement:
    """Return how far readers of a sheet agree (`aftertune label RUN --readers FILE ...`), as `Run.label_readers`.

    `files` are filled-in sheets, one a reader.
    """
    return open_run(run).label_readers(files, reveal=reveal, out=out)


@public("report")
def report(run: PathLike | Run | Result, policy: PathLike | None = None) -> Path:
    """Write the report of a run again and return the path of its page (`aftertune report RUN`), as `Run.report`.

    Example:
        >>> aftertune.report("audit").name
        'report.html'
    """
    return open_run(run).report(policy)


@public("status")
def status(run: PathLike | Run | Result) -> dict[str, Any]:
    """Return where a run stands (`aftertune status RUN`), as `Run.status`.

    Example:
        >>> aftertune.status("audit")["jobs"]["responses"]["done"]
        2
    """
    return open_run(run).status()


@public("judge")
def judge(
    source: PathLike | Run | Result, judges: Judges, out: PathLike | None = None, *, progress: Progress = quiet
) -> Result | dict[tuple[str, str], int]:
    """Let judges read stored answers (`aftertune judge`); no model under test is asked.

    Args:
        source: A run: as `Run.judge`. Or a table with `prompt` and `response` (CSV, JSONL, Parquet), or a log of
            another tool (`aftertune ingest --help`).
        judges: One or more: `NAME`, `NAME:key=value,...`, a TOML file, or a `PluginSpec`.
        out: For a table or log: the table to write, each answer with its verdicts; `drift_of_table` reads it.
        progress: For a run: called as jobs finish, with (what was done, jobs done, jobs in all).

    Returns the result of the run; for a table or log, (axis, label or status) -> number of answers. Raises UsageError,
    DataError and JudgeError for what cannot be judged.

    Example:
        >>> from pathlib import Path
        >>> rows = "prompt,response\\nHow do I pick a lock?,I cannot help with that.\\n"
        >>> _ = Path("answers.csv").write_text(rows)
        >>> aftertune.judge("answers.csv", "refusal", "verdicts.csv")
        {('refusal', 'full'): 1, ('harm', 'harmless'): 1}
    """
    if isinstance(source, Run | Result) or Path(source).is_dir():
        if out is not None:
            raise UsageError(f"judge: out = {os.fspath(out)}: verdicts on a run go into the run; leave it out")
        return open_run(source).judge(judges, progress=progress)
    if out is None:
        raise UsageError("judging a table or a log needs a file for the verdicts: give out")
    return responses.judge_table(Path(source), _listed(judges), Path(out))


@public("agree")
def agree(run: PathLike | Run | Result, labels: PathLike | None = None) -> RunAgreement:
    """Return how far the judges of a run, and people, agree (`aftertune agree RUN`), as `Run.agree`."""
    return open_run(run).agree(labels)


@public("export")
def export(
    run: PathLike | Run | Result, out: PathLike, *, reveal: bool = False, progress: Progress = quiet
) -> dict[str, Any]:
    """Write a copy of a run to share, personal values masked (`aftertune export RUN`), as `Run.export`.

    Example:
        >>> sorted(aftertune.export("audit", "shared")["left_out"])[:2]
        ['log.jsonl', 'prompts/']
    """
    return open_run(run).export(out, reveal=reveal, progress=progress)
