"""Let more judges read a run's stored responses (`aftertune judge RUN --judge NAME`); no model under test is asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from aftertune.asking.ask_job import AskJob
from aftertune.commands.decide import Result
from aftertune.commands.study import LOCAL, Progress, do, quiet
from aftertune.errors import UsageError
from aftertune.extras import explained
from aftertune.judging.judge_job import JudgeJob
from aftertune.judging.resolved import ResolvedJudge
from aftertune.plugins import PluginSpec
from aftertune.public import PathLike
from aftertune.run.run_folder import Run
from aftertune.studies import plugin_text, refusals, stored
from aftertune.studies.choices import with_declarations
from aftertune.studies.jobs import judge_jobs
from aftertune.studies.resolve import load_backend, resolve, resolve_judge
from aftertune.studies.study import Study
from aftertune.variants.compose_job import ComposeJob


@explained()
def judge_run(root: Path, judges: Sequence[PathLike | PluginSpec], *, progress: Progress = quiet) -> Result:
    """Let judges read the responses of a run, and decide again. Judges as `plugin_text.plugin` takes them.

    Nothing but the run folder is needed, unless it holds unfinished work of another kind: that is continued first.
    Raises UsageError, JudgeError for what cannot be honoured, before the run is touched.
    """
    run = Run.open(root)
    study = stored.read(run)
    wanted = [plugin_text.plugin("judge", judge) for judge in judges]
    answered = all(run.job(job).complete for job in study.jobs if not isinstance(job, JudgeJob))
    if answered:
        study = with_judges(run, study, _chosen(study, wanted))
    else:
        new = tuple(judge.spec for judge in _new(study, wanted))
        design = dataclasses.replace(study.design, judges=(*study.design.judges, *new))
        study = resolve(design, study.design, parts=study.parts or 1)
    executor = refusals.suitable_executor(study, LOCAL)
    # The judges join the run when they have read everything: one that fails or is stopped leaves it as it was.
    return do(run, study, executor=executor, progress=progress, finished=lambda: stored.write(run, study))


def _chosen(study: Study, wanted: Sequence[PluginSpec]) -> list[PluginSpec]:
    """Return the specs of the wanted judges, with what their servers declare."""
    design = dataclasses.replace(study.design, judges=(*study.design.judges, *wanted))
    chosen = with_declarations(design, study.design, load_backend)
    return list(chosen.judges[len(study.design.judges) :])


def _new(study: Study, specs: Sequence[PluginSpec]) -> list[ResolvedJudge]:
    """Return the judges that a study has not got. Raises UsageError for one of a name whose verdicts it has."""
    known = {judge.name: judge for judge in study.judges}
    new = []
    for spec in specs:
        judge = resolve_judge(spec)
        own = known.setdefault(judge.name, judge)
        if own is judge:
            new.append(judge)
        elif own.id != judge.id:
            raise UsageError(
                f"judge '{judge.name}': the run has verdicts of it with {_settings(own)}, and you ask for "
                f"{_settings(judge)}: two judges of one name could not be told apart. Nothing was judged; put this one "
                "into a design and run it in another folder"
            )
    return new


def _settings(judge: ResolvedJudge) -> str:
    given = ", ".join(f"{name} = {value!r}" for name, value in judge.spec.parameters.items())
    model = f", model {judge.model}" if judge.model else ""
    return f"{given or 'its defaults'} (version {judge.version}{model}, {judge.id[:8]})"


def with_judges(run: Run, study: Study, specs: Sequence[PluginSpec]) -> Study:
    """Return a study that was read back from `run` with more judges, and the plugin of each that has work to do.

    A judge that it has already is left out. Raises UsageError, JudgeError for one that cannot judge here.
    """
    new = _new(study, specs)
    unfinished = {job.judge.name for job in study.of(JudgeJob) if not run.job(job).complete}
    ready = {judge.name: resolve_judge(judge.spec) for judge in study.judges if judge.name in unfinished}
    jobs = [
        dataclasses.replace(job, judge=ready[job.judge.name])
        if isinstance(job, JudgeJob) and job.judge.name in ready
        else job
        for job in study.jobs
    ]
    variants = {job.base.name: job.id for job in study.of(ComposeJob)}
    for judge in new:
        for base in study.bases:
            for benchmark in study.benchmarks:
                asked = [
                    job
                    for job in study.of(AskJob)
                    if job.subject.base.name == base.name and job.benchmark.name == benchmark.name
                ]
                jobs += judge_jobs(study.design, judge, asked, variants.get(base.name), study.name_of)
    extended = dataclasses.replace(
        study,
        design=dataclasses.replace(study.design, judges=(*study.design.judges, *(judge.spec for judge in new))),
        judges=(*(ready.get(judge.name, judge) for judge in study.judges), *new),
        jobs=tuple(jobs),
    )
    refusals.refuse_new_judges(extended, new)
    return extended
