"""A study in its run folder: written when the run begins, read back without anything else that made it.

Records are written once, in tables of their own; wherever another record or a job holds one, its key stands instead.
"""

from __future__ import annotations

import dataclasses
import hashlib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from aftertune.asking.ask_job import AskJob
from aftertune.asking.base_score_job import BaseScoreJob
from aftertune.asking.prompts_job import PromptsJob
from aftertune.asking.resolved import ResolvedBenchmark
from aftertune.asking.score_job import ScoreJob
from aftertune.errors import StoreError, UsageError
from aftertune.forecasting.predict_job import PredictJob
from aftertune.forecasting.resolved import ResolvedPredictor
from aftertune.inside.analyse_job import AnalyseJob
from aftertune.inside.read_job import ReadJob
from aftertune.inside.resolved import ResolvedAnalysis
from aftertune.judging.judge_job import JudgeJob
from aftertune.judging.resolved import ResolvedJudge
from aftertune.models.resolved import ResolvedBackend
from aftertune.models.subject import ModelRecord, Subject
from aftertune.records import digest
from aftertune.run.job import Job
from aftertune.run.run_folder import STUDY, Run
from aftertune.studies import design as designs
from aftertune.studies.design import Design
from aftertune.studies.study import Study
from aftertune.tuning.further_job import FurtherJob
from aftertune.tuning.resolved import ResolvedMitigation
from aftertune.tuning.tune_job import TuneJob
from aftertune.variants.compose_job import ComposeJob
from aftertune.variants.resolved import ResolvedCorpus

JOBS: tuple[type[Job], ...] = (
    ComposeJob,
    TuneJob,
    FurtherJob,
    PromptsJob,
    AskJob,
    BaseScoreJob,
    ScoreJob,
    JudgeJob,
    ReadJob,
    AnalyseJob,
    PredictJob,
)
"""Every kind of work, in the order of the flow."""
SHARED: tuple[type[Any], ...] = (
    ModelRecord,
    ResolvedCorpus,
    ResolvedBenchmark,
    ResolvedJudge,
    ResolvedBackend,
    ResolvedMitigation,
    ResolvedAnalysis,
    ResolvedPredictor,
    Subject,
)
"""Records that others hold; each is written once. A later one may hold earlier ones."""


def begin(root: Path, study: Study, facts: Mapping[str, object]) -> Run:
    """Make a run folder for a study, or open the one that is there to continue it.

    A run to which `aftertune judge` added judges since is still the same run: its own design holds them, and `resolve`
    was given it as what is continued. Raises UsageError where the folder holds a run of another design or something
    else, StoreError where it cannot be written.
    """
    if not Run.exists(root):
        run = Run.create(root, study.design.id, facts)
        write(run, study)
        return run
    run = Run.open(root)
    _same_models(run, study)
    if read_design(run) != study.design or _fields(study) != run.study_fields():
        write(run, study)
    return run


def continued(root: Path, design: Design) -> Design | None:
    """Return the design of the run in a folder, if it is a run of `design`; None where there is no run.

    Its judges may be more than those asked for; its policy, and what is only printed, are taken from `design`. Raises
    UsageError where the run is of another design.
    """
    if not Run.exists(root):
        return None
    there = read_design(Run.open(root))
    wanted = _as_chosen(design, there)
    if there.judges[: len(wanted.judges)] == wanted.judges:
        wanted = dataclasses.replace(wanted, judges=there.judges)
    if there.id != wanted.id:
        changed = [f.name for f in dataclasses.fields(Design) if getattr(there, f.name) != getattr(wanted, f.name)]
        raise UsageError(
            f"{root}: holds a run of another design (different: {', '.join(changed)}); choose another folder with -o"
        )
    return dataclasses.replace(there, policy=design.policy, tables=design.tables, cost=design.cost)


def _as_chosen(design: Design, there: Design) -> Design:
    """Return a design with what was chosen when the run of `there` began, wherever it says nothing of it itself."""
    backend = design.backend
    if backend.name == there.backend.name:
        own = {**there.backend.parameters, **backend.parameters}
        if set(own) == set(there.backend.parameters):
            backend = dataclasses.replace(backend, parameters=own)
    judges = []
    for index, judge in enumerate(design.judges):
        known = there.judges[index] if index < len(there.judges) else None
        judges.append(known if known is not None and _served_alike(judge, known) else judge)
    return dataclasses.replace(design, backend=backend, judges=tuple(judges))


def _served_alike(judge: Any, known: Any) -> bool:
    """Return whether two specs differ in nothing but what a judge's server declared when the run began."""

    def bare(spec: Any) -> Any:
        backend = spec.parameters.get("backend")
        if isinstance(backend, str):
            backend = {"name": backend}
        if isinstance(backend, Mapping):
            backend = {key: value for key, value in backend.items() if key != "served"}
        return (spec.name, {**spec.parameters, "backend": backend})

    return bool(bare(judge) == bare(known))


def _same_models(run: Run, study: Study) -> None:
    """Refuse to go on with answers of one chat template, and more of another. Raises UsageError."""
    # What the study says of models holds even where its run was stopped before it wrote the design that belongs to it.
    before = {model.name: model for model in _study(run, run.study_fields()).models}
    changed = [
        model.name
        for model in study.models
        if (known := before.get(model.name)) is not None
        and not model.served
        and known.weights_hash == model.weights_hash
        and known.identity != model.identity
    ]
    if changed:
        raise UsageError(
            f"{run.root}: since the run began, {', '.join(changed)} got another configuration, tokenizer or chat "
            "template beside the same weights; put it back, or choose another folder with -o"
        )


def parts(root: Path) -> int:
    """Return how many parts of its prompts the run in a folder has asked; 0 where there is none, or all at once."""
    return int(Run.open(root).study_fields()["study"].get("parts", 0)) if Run.exists(root) else 0


def read_design(run: Run) -> Design:
    """Return a run's design. Raises UsageError or StoreError where the file was damaged."""
    return designs.parse(run.design_text(), str(run.root / "design.toml"))


def write(run: Run, study: Study) -> None:
    """Write a study into its run. Raises StoreError."""
    run.write_study(_fields(study))
    run.write_design(designs.dump(study.design))  # last: a folder without it is no run yet


def read(run: Run) -> Study:
    """Return the study of a run, without its plugins. Raises StoreError where a file is damaged."""
    fields = run.study_fields()
    if fields.get("design") != _hash(run.design_text()):
        raise StoreError(
            f"{run.root / STUDY}: of another design than the run's, as where a process was killed between writing the "
            "two; run the command that began this run again"
        )
    return _study(run, fields)


def _study(run: Run, fields: Mapping[str, Any]) -> Study:
    design = read_design(run)
    try:
        decoder = _Decoder(fields["shared"])
        hints = typing.get_type_hints(Study)
        values = {name: decoder.value(hints[name], raw) for name, raw in fields["study"].items()}
        kinds = {kind.KIND: kind for kind in JOBS}
        jobs = tuple(decoder.record(kinds[raw["kind"]], raw) for raw in fields["jobs"])
        return Study(design=design, jobs=jobs, **values)
    except (KeyError, ValueError, TypeError, AttributeError, StopIteration) as error:
        raise StoreError(
            f"{run.root / STUDY}: damaged, or of another version ({type(error).__name__}: {error}); put a copy back, "
            "or use another folder"
        ) from None


def _fields(study: Study) -> dict[str, Any]:
    encoder = _Encoder()
    own = {
        f.name: encoder.value(getattr(study, f.name))
        for f in dataclasses.fields(study)
        if f.name not in ("design", "jobs")
    }
    jobs = [encoder.record(job) for job in study.jobs]
    shared = {cls.__name__: encoder.tables[cls] for cls in SHARED}
    return {"design": _hash(designs.dump(study.design)), "study": own, "jobs": jobs, "shared": shared}


def _hash(design: str) -> str:
    return hashlib.sha256(design.encode()).hexdigest()


class _Encoder:
    """Turns records into JSON values; shared ones into the keys under which they stand in `tables`."""

    def __init__(self) -> None:
        self.tables: dict[type[Any], dict[str, Any]] = {cls: {} for cls in SHARED}
        self._keys: dict[int, str] = {}
        """By the address of a record, which the study keeps alive."""

    def value(self, value: Any) -> Any:
        if type(value) in self.tables:
            key = self._keys.get(id(value))
            if key is None:
                key = self._keys[id(value)] = digest(value)
                self.tables[type(value)].setdefault(key, self.record(value))
            return key
        if dataclasses.is_dataclass(value):
            return self.record(value)
        if isinstance(value, Mapping):
            return {str(key): self.value(item) for key, item in value.items()}
        if isinstance(value, frozenset):
            return sorted(value)
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [self.value(item) for item in value]
        return value

    def record(self, record: Any) -> dict[str, Any]:
        return {f.name: self.value(getattr(record, f.name)) for f in dataclasses.fields(record) if f.compare}


class _Decoder:
    """Builds records from JSON values by the types of their fields."""

    def __init__(self, tables: Mapping[str, Mapping[str, Any]]) -> None:
        self._tables = {cls: tables[cls.__name__] for cls in SHARED}
        self._built: dict[tuple[type[Any], str], Any] = {}
        self._hints: dict[type[Any], dict[str, Any]] = {}

    def record(self, cls: type[Any], raw: Mapping[str, Any]) -> Any:
        if cls not in self._hints:
            self._hints[cls] = typing.get_type_hints(cls)
        hints = self._hints[cls]
        return cls(**{key: self.value(hints[key], value) for key, value in raw.items()})

    def value(self, hint: Any, raw: Any) -> Any:
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if raw is None or hint is Any:
            return raw
        if origin in (types.UnionType, typing.Union):
            return self.value(next(arg for arg in args if arg is not type(None)), raw)
        if origin is Literal:
            return raw
        if hint in self._tables:
            key = (hint, raw)
            if key not in self._built:
                self._built[key] = self.record(hint, self._tables[hint][raw])
            return self._built[key]
        if dataclasses.is_dataclass(hint):
            return self.record(typing.cast(type[Any], hint), raw)
        if origin is tuple:
            return tuple(self.value(args[0], item) for item in raw)
        if origin is frozenset:
            return frozenset(raw)
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return {key: self.value(args[1], item) for key, item in raw.items()}
        if isinstance(origin, type) and issubclass(origin, Sequence):
            return [self.value(args[0], item) for item in raw]
        return raw
