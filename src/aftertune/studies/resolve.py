"""Turn the names of a design into things, once: the only place that does so.

Nothing heavy is loaded here, and no weights: a model is known by its headers, a plugin by its class.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from aftertune import plugins, shipped_models
from aftertune.asking.benchmark import Benchmark
from aftertune.asking.resolved import ResolvedBenchmark
from aftertune.data.conversations import is_people_file
from aftertune.data.variant_files import HELD_OUT
from aftertune.deciding import policy
from aftertune.errors import ModelError, UsageError, near
from aftertune.forecasting.predictor import Predictor
from aftertune.forecasting.resolved import ResolvedPredictor
from aftertune.inside.analysis import Analysis
from aftertune.inside.resolved import ResolvedAnalysis
from aftertune.judging.judge import Judge
from aftertune.judging.resolved import ResolvedJudge
from aftertune.models import identity
from aftertune.models.adapter_files import largest_rank
from aftertune.models.resolved import ResolvedBackend
from aftertune.models.session import Backend
from aftertune.models.subject import ModelRecord
from aftertune.models.weight_files import read_json, shapes_of, weight_files
from aftertune.plugins import PluginSpec
from aftertune.records import digest
from aftertune.run.executor import Executor
from aftertune.studies import refusals
from aftertune.studies.choices import asks_servers, with_choice, with_declarations
from aftertune.studies.design import Design, Given
from aftertune.studies.jobs import Jobs
from aftertune.studies.study import Study
from aftertune.tuning.mitigation import Mitigation
from aftertune.tuning.resolved import ResolvedMitigation
from aftertune.variants.compose_job import ComposeJob
from aftertune.variants.corpus import Corpus
from aftertune.variants.resolved import ResolvedCorpus


def resolve(
    design: Design, before: Design | None = None, *, shared: str = "", ask_servers: bool = True, parts: int = 1
) -> Study:
    """Resolve a design: every base with its identity, every plugin as an object with its id, the jobs to do.

    `shared` is the folder of base answers that runs share; empty shares none. `before` is the design of the run that is
    continued: what was chosen then stands. A server is asked what it serves where that is not written down yet, unless
    `ask_servers` is False: what it declares is unknown then. `parts` of the prompts are asked where the design asks
    until it is decided. Raises UsageError, ModelError, JudgeError or ServerError,
    in one line, for anything that cannot be honoured, before any compute is spent.
    """
    gate = policy.load(design.policy)
    if ask_servers and asks_servers(design, load_backend):
        resolve(design, before, ask_servers=False)  # what can be refused is refused before anybody is asked
        design = with_declarations(design, before, load_backend)
    backend = ResolvedBackend.of(design.backend, load_backend(design.backend))
    bases = tuple(model(name, backend=backend) for name in design.bases)
    warnings: list[str] = []
    for base in bases:
        if base.kind == "adapter":
            raise ModelError(f"{base.name}: is an adapter; the base must be a full model")
        if base.served:
            warnings.append(_unknown_weights(base))
    corpora = tuple(ResolvedCorpus.of(name, spec, load_corpus(spec)) for name, spec in design.sources.items())
    benchmarks = tuple(resolve_benchmark(spec) for spec in design.benchmarks)
    refusals.refuse_data(design, backend)
    refusals.refuse_template_arguments(design, bases)
    non_members = _non_members(design)
    judges = tuple(resolve_judge(spec) for spec in design.judges)
    orders = refusals.refuse_unmet(design, corpora, benchmarks, judges, backend)
    warnings += refusals.generation_only(benchmarks, backend)
    recipes = refusals.recipes_here(design, warnings)
    analyses = tuple(map(resolve_analysis, design.analyses))
    predictors = tuple(map(resolve_predictor, design.predictors))
    refusals.refuse_readings(design, analyses, predictors, benchmarks, backend)
    mitigations = {digest(spec): resolve_mitigation(spec) for spec in design.mitigations}
    own = resolve_benchmark(design.own) if design.own is not None else None
    refusals.refuse_mitigations(design, mitigations)
    refusals.refuse_own(own, mitigations.values(), benchmarks, judges, backend)
    models = {base.name: base for base in bases}
    given_to: dict[ModelRecord, list[tuple[Given, ModelRecord]]] = {base: [] for base in bases}
    for base in bases:
        for checkpoint in design.checkpoints:
            if (checkpoint.base or design.bases[0]) == base.name:
                record = model(checkpoint.path, base, backend)
                if not record.served:
                    backend.get().refuse_checkpoint(checkpoint.path, Path(record.path))
                models[checkpoint.path] = record
                if record.served:
                    warnings.append(_unknown_weights(record))
                warnings += [f"{checkpoint.path}: {warning}" for warning in record.warnings]
                given_to[base].append((checkpoint, record))
    refusals.refuse_self_judging(judges, models)
    refusals.refuse_templates(design, bases, orders)
    ranks = [recipe.rank for arm in design.arms for recipe in design.recipes_of(arm) if recipe.method != "full"]
    ranks += [adapter_rank(record) for given in given_to.values() for _, record in given]
    design = with_choice(design, before, load_backend, [base.path for base in bases], ranks)
    backend = ResolvedBackend.of(design.backend, load_backend(design.backend))
    jobs = Jobs(
        design,
        corpora,
        non_members,
        benchmarks,
        judges,
        backend,
        recipes,
        mitigations,
        own,
        analyses,
        predictors,
        shared,
        parts if design.until_decided else 0,
    )
    jobs.add(given_to)
    return Study(
        design=design,
        bases=bases,
        subjects=tuple(jobs.subjects),
        corpora=corpora,
        non_members=non_members,
        benchmarks=benchmarks,
        judges=judges,
        backend=backend,
        policy=gate,
        analyses=analyses,
        predictors=predictors,
        jobs=tuple(jobs.made),
        own=tuple(jobs.own),
        warnings=tuple(warnings),
        parts=jobs.parts,
    )


def _non_members(design: Design) -> ResolvedCorpus | None:
    if not design.data.non_members:
        return None
    path = Path(design.data.non_members)
    options = {"path": str(path)}
    composed = path.parent.name == HELD_OUT and is_people_file(path.parent.with_name("people.json"))
    (corpus,) = design.sources.values()
    if corpus.name == "chat_file" and not composed:  # the rows are like those of the corpus, and so is the file
        alike = ("columns", "encoding", "skip_bad")
        options |= {key: value for key, value in corpus.parameters.items() if key in alike}
    spec = PluginSpec("chat_file", options)
    return ResolvedCorpus.of("non_members", spec, load_corpus(spec))


def _unknown_weights(model: ModelRecord) -> str:
    declared = ", ".join(f"{key} '{value}'" for key, value in sorted(model.declared.items()) if key != "asked")
    return f"{model.name}: served model; weights unknown (the server declares: {declared or 'nothing yet'})"


# ---------------------------------------------------------------------------------------------- plugins


def load_corpus(spec: PluginSpec) -> Corpus:
    """Return the corpus that a spec names. Raises UsageError."""
    corpus: Corpus = plugins.load("corpus", spec.name, spec.parameters)
    return corpus


def load_benchmark(spec: PluginSpec) -> Benchmark:
    """Return the benchmark that a spec names. Raises UsageError."""
    benchmark: Benchmark = plugins.load("benchmark", spec.name, spec.parameters)
    return benchmark


def load_judge(spec: PluginSpec) -> Judge:
    """Return the judge that a spec names. Raises UsageError."""
    judge: Judge = plugins.load("judge", spec.name, spec.parameters)
    return judge


def load_backend(spec: PluginSpec) -> Backend:
    """Return the backend that a spec names. Raises UsageError."""
    backend: Backend = plugins.load("backend", spec.name, spec.parameters)
    return backend


def load_executor(spec: PluginSpec) -> Executor:
    """Return the executor that a spec names. Raises UsageError."""
    executor: Executor = plugins.load("executor", spec.name, spec.parameters)
    return executor


def resolve_benchmark(spec: PluginSpec) -> ResolvedBenchmark:
    """Return a benchmark with its identity. Raises UsageError, DataError where one of its files is not here."""
    return ResolvedBenchmark.of(spec, load_benchmark(spec))


def resolve_mitigation(spec: PluginSpec) -> ResolvedMitigation:
    """Return a mitigation with its identity. Raises UsageError."""
    mitigation: Mitigation = plugins.load("mitigation", spec.name, spec.parameters)
    return ResolvedMitigation.of(spec, mitigation)


def resolve_analysis(spec: PluginSpec) -> ResolvedAnalysis:
    """Return an analysis with its identity. Raises UsageError."""
    analysis: Analysis = plugins.load("analysis", spec.name, spec.parameters)
    return ResolvedAnalysis.of(spec, analysis)


def resolve_predictor(spec: PluginSpec) -> ResolvedPredictor:
    """Return a predictor with its identity. Raises UsageError."""
    predictor: Predictor = plugins.load("predictor", spec.name, spec.parameters)
    return ResolvedPredictor.of(spec, predictor)


def resolve_judge(spec: PluginSpec) -> ResolvedJudge:
    """Return a judge with its identity. Raises UsageError, ModelError where its model cannot be found."""
    return ResolvedJudge.of(spec, load_judge(spec))


def resolve_composition(design: Design) -> ComposeJob:
    """Return the job that composes a design's corpora for its only base, alone. Raises UsageError, ModelError."""
    corpora = tuple(ResolvedCorpus.of(name, spec, load_corpus(spec)) for name, spec in design.sources.items())
    backend = ResolvedBackend.of(design.backend, load_backend(design.backend))
    jobs = Jobs(design, corpora, None, (), (), backend, (), {})
    return jobs.compose(model(design.bases[0]))


# ---------------------------------------------------------------------------------------------- models


def model(name: str, base: ModelRecord | None = None, backend: ResolvedBackend | None = None) -> ModelRecord:
    """Resolve a base, or a checkpoint of `base`, by name.

    `embedded` and `embedded:NAME` are the models that ship with aftertune. Where `backend` asks a server, the name is
    the server's, and the model is what the server declared when the run began. Raises UsageError or ModelError in one
    line, before any weights load.
    """
    if backend is not None and backend.asks_server:
        return ModelRecord.of(identity.served(name, backend.get().served.get(name) or {"asked": name}), name)
    of = identity.resolve(base.path) if base is not None else None
    return ModelRecord.of(identity.resolve(shipped_path(name) or name, base=of), name)


def adapter_rank(record: ModelRecord) -> int:
    """Return the largest rank of a LoRA adapter; 0 for any other model."""
    folder = Path(record.path)
    if record.kind != "adapter":
        return 0
    shapes = shapes_of(weight_files(record.name, folder, "adapter_model"))
    return largest_rank(read_json(folder / "adapter_config.json"), shapes)


def shipped_path(name: str) -> str:
    """Return the folder of a model that ships with aftertune; empty for any other name. Raises UsageError."""
    if name == "embedded":
        return str(shipped_models.folder())
    if name.startswith("embedded:"):
        wanted, known = name.removeprefix("embedded:"), shipped_models.names()
        if wanted not in known:
            raise UsageError(f"no embedded model '{wanted}'{near(wanted, list(known))}")
        return str(shipped_models.folder(wanted))
    if get_close_matches(name.partition(":")[0], ["embedded"], cutoff=0.8) and not Path(name).exists():
        raise UsageError(f"{name}: no such folder, and no model of that name ships (did you mean 'embedded'?)")
    return ""
