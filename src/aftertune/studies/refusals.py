"""What a design cannot have, or cannot have here: refused by name before any compute is spent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from aftertune.asking.benchmark import BenchmarkContext
from aftertune.asking.resolved import ResolvedBenchmark
from aftertune.errors import DataError, JudgeError, ModelError, UsageError, near
from aftertune.forecasting.resolved import ResolvedPredictor
from aftertune.inside.resolved import ResolvedAnalysis
from aftertune.judging import trial
from aftertune.judging.resolved import DATA_NEEDS, ResolvedJudge
from aftertune.models import identity
from aftertune.models.chat import names_read, refuse_template
from aftertune.models.identity import chat_template
from aftertune.models.loading import read_tokenizer
from aftertune.models.resolved import ResolvedBackend
from aftertune.models.subject import ModelRecord
from aftertune.models.training_rows import declared_stops, training_rows
from aftertune.plugins import PluginSpec
from aftertune.records import Message, Prompt, Recipe, Role, digest
from aftertune.run.executors.local import visible_gpus
from aftertune.studies import closing_tables
from aftertune.studies.design import Design
from aftertune.studies.jobs import own_subsets, tried
from aftertune.studies.study import Study, unscored
from aftertune.tuning import tune
from aftertune.tuning.mitigation import OWN, OWN_REQUESTS, Need
from aftertune.tuning.resolved import ResolvedMitigation
from aftertune.variants.resolved import ResolvedCorpus


def refuse_data(design: Design, backend: ResolvedBackend) -> None:
    """Refuse data settings that cannot be honoured. Raises UsageError."""
    if not design.benchmarks or not design.judges:
        raise UsageError("a design needs at least one [[benchmarks]] and one [[judges]]")
    if not design.sources:
        return
    for path in (design.data.non_members, design.data.canary_file):
        if path and not Path(path).is_file():
            raise UsageError(f"{path}: no such file")
    scored = design.data.canaries or (design.data.held_out and design.kind != "repair")
    if scored and (why := unscored(design, backend)):
        raise UsageError(f"[data] canaries and held_out are for scoring texts: {why}")


def refuse_unmet(
    design: Design,
    corpora: Sequence[ResolvedCorpus],
    benchmarks: Sequence[ResolvedBenchmark],
    judges: Sequence[ResolvedJudge],
    backend: ResolvedBackend,
) -> frozenset[tuple[Role, ...]]:
    """Refuse benchmarks, judges, tables and templates whose needs this design does not meet. Raises UsageError.

    Return the orders of roles of the prompts that are known now.
    """
    orders: set[tuple[Role, ...]] = set()
    closing_tables.refuse_unknown(design.tables, benchmarks, judges, unscored(design, backend))
    for benchmark in benchmarks:
        _meet(f"benchmark '{benchmark.spec.name}'", benchmark.needs, design, corpora, "")
        if "held_out" in benchmark.needs and not (design.data.held_out or design.data.non_members):
            raise UsageError(f"benchmark '{benchmark.spec.name}' needs held_out: give [data] held_out or --held-out")
        if benchmark.scored_by != "generation" and "beginnings" not in backend.capabilities:
            raise UsageError(
                f"benchmark '{benchmark.spec.name}': scored_by = '{benchmark.scored_by}' needs log-probabilities, "
                f"which backend '{backend.name}' does not show: give scored_by = 'generation'"
            )
        if not benchmark.needs:
            # A broken file is refused now, not after a model is loaded.
            prompts = benchmark.get().prompts(BenchmarkContext())
            orders |= {tuple(message.role for message in prompt.messages) for prompt in prompts}
    for judge in judges:
        _meet(f"judge '{judge.spec.name}'", judge.needs & DATA_NEEDS, design, corpora, ", or leave it out")
    if backend.asks_server:
        if design.arms:
            raise UsageError(f"backend '{backend.name}' asks a server, which cannot tune: give [[checkpoints]]")
        if design.respond.template != "base":
            raise UsageError("template 'own': the server writes the chat template, so it cannot be chosen")
        only = backend.get().only_temperature
        if only is not None and set(design.respond.temperatures) != {only}:
            raise UsageError(
                f"backend '{backend.name}': the server takes temperature {only:g} only: give [respond] temperatures = "
                f"[{only:g}] (--temperature {only:g})"
            )
    return frozenset(orders)


def refuse_template_arguments(design: Design, bases: Sequence[ModelRecord]) -> None:
    """Raise UsageError for an argument that a base's chat template never reads: giving it would change nothing."""
    for base in bases:
        template = None if base.served else chat_template(Path(base.path))
        if isinstance(template, list):  # several by name
            template = next((each["template"] for each in template if each["name"] == "default"), None)
        read = names_read(str(template))
        for name in design.respond.template_arguments if template else ():
            if name not in read:
                raise UsageError(
                    f"respond.template_arguments.{name}: the chat template of {base.name} never reads it, so it would "
                    "change nothing: leave it out"
                )


PLAIN: frozenset[tuple[Role, ...]] = frozenset(
    {
        ("user",),
        ("system", "user"),
        ("user", "assistant", "user"),
        ("system", "user", "assistant", "user"),
    }
)
"""Orders of roles that a template must be able to ask where a benchmark has them; another fails prompt by prompt."""


@lru_cache(maxsize=64)
def _template_fault(
    folder: str, identity: str, orders: frozenset[tuple[Role, ...]], arguments: str, tuned: bool
) -> str:
    """Return why a base's chat template cannot ask these orders of roles or cannot be tuned in; empty where it can."""
    del identity  # so that a folder whose files have changed is tried anew
    if not (Path(folder) / "tokenizer.json").is_file():
        return ""  # it is made when the base is loaded
    from transformers import PreTrainedTokenizerFast

    given = json.loads(arguments)
    try:
        tokenizer = read_tokenizer(Path(folder), PreTrainedTokenizerFast)
        refuse_template(tokenizer, orders, given)
        if tuned:
            trial = (Message("user", "What is asked?"), Message("assistant", "What is answered."))
            training_rows(tokenizer, trial, 10**6, given, declared_stops(Path(folder)))
    except (DataError, ModelError) as error:
        return str(error)
    return ""


def refuse_templates(design: Design, bases: Sequence[ModelRecord], orders: frozenset[tuple[Role, ...]]) -> None:
    """Refuse a base whose chat template leaves out what is asked, or in which no answer that is tuned on would end.

    `orders` are those of the benchmarks' prompts. Raises ModelError.
    """
    asked: set[tuple[Role, ...]] = {("user",)} if design.arms else set()
    for roles in orders:
        asked.add(roles if not design.respond.system or roles[:1] == ("system",) else ("system", *roles))
    for base in bases:
        if base.served:
            continue
        arguments = json.dumps(dict(design.respond.template_arguments), sort_keys=True)
        fault = _template_fault(base.path, base.identity, frozenset(asked & PLAIN), arguments, bool(design.arms))
        if fault:
            raise ModelError(f"{base.name}: {fault}")


def _meet(
    what: str, needs: frozenset[str], design: Design, corpora: Sequence[ResolvedCorpus], alternative: str
) -> None:
    """Refuse what needs tuning data that this design does not have, or does not have of each checkpoint."""
    if not needs:
        return
    missing = ", ".join(sorted(needs))
    if not corpora:
        raise UsageError(f"{what} needs {missing}: give a [corpus] (--train-data){alternative}")
    for corpus in corpora:
        plugin = corpus.plugin
        # Whether a file holds people is known when it has been read.
        if plugin and needs & {"registries", "people"} and not plugin.path and not plugin.people():
            at = f"corpora.{corpus.name}" if corpus.name else "corpus"
            raise UsageError(
                f"{at}: '{corpus.spec.name}' holds no people, and {what} needs {missing}; leave one of them out"
            )
    for index, given in enumerate(design.checkpoints):
        if design.corpus_of(given) not in design.sources:
            raise UsageError(
                f"checkpoints[{index}].corpus: {what} needs {missing}: name one of [corpora.*]{alternative}"
            )


def generation_only(benchmarks: Sequence[ResolvedBenchmark], backend: ResolvedBackend) -> list[str]:
    """Return a warning for each benchmark that could be scored, and is asked by generation alone on this backend."""
    if "beginnings" in backend.capabilities:
        return []
    return [
        f"benchmark '{benchmark.name}': by generation only; backend '{backend.name}' shows no "
        "log-probabilities of given texts, so what is scored by them is not measured"
        for benchmark in benchmarks
        if benchmark.get().scorable
    ]


def refuse_self_judging(judges: Sequence[ResolvedJudge], models: Mapping[str, ModelRecord]) -> None:
    """Raise UsageError where two judges have one name, or JudgeError where one would judge itself.

    `models`: every model that is asked, by its name.
    """
    names = [judge.name for judge in judges]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two judges are called '{name}': leave one out, or give its rubric file another name")
    for judge in judges:
        own = judge.get().identity()
        for subject, model in models.items():
            judge.get().may_judge(model.names)
            if own is not None and own in (model.identity, subject):
                raise JudgeError(
                    f"judge {judge.spec.name}: {subject} is the model under test, which may not judge itself: name "
                    "another model"
                )


def refuse_new_judges(study: Study, judges: Sequence[ResolvedJudge]) -> None:
    """Refuse judges that are added to a study whose responses are there, those that fail their trial among them.

    One that runs or asks a model is tried as it begins. Raises UsageError, JudgeError.
    """
    for judge in judges:
        _meet(f"judge '{judge.spec.name}'", judge.needs & DATA_NEEDS, study.design, study.corpora, ", or leave it out")
    refuse_self_judging(judges, {model.name: model for model in study.models})
    for judge in judges:
        if not judge.accelerator and judge.get().cost is None:
            trial.check(judge.get())


def refuse_readings(
    design: Design,
    analyses: Sequence[ResolvedAnalysis],
    predictors: Sequence[ResolvedPredictor],
    benchmarks: Sequence[ResolvedBenchmark],
    backend: ResolvedBackend,
) -> None:
    """Refuse analyses that can read nothing here, and predictors without data to read. Raises UsageError."""
    for analysis in analyses:
        if "activations" not in backend.capabilities:
            raise UsageError(
                f"analysis '{analysis.name}' needs activations, which backend '{backend.name}' does not show: leave it "
                "out, or ask the models on this machine"
            )
        subsets = [{metric.subset for metric in each.metrics} for each in benchmarks if not each.needs]
        if not any(analysis.reads(each) for each in subsets):
            raise UsageError(f"analysis '{analysis.name}' reads none of this design's benchmarks: leave it out")
    for predictor in predictors:
        if not design.arms:
            raise UsageError(f"predictor '{predictor.name}' reads the data of arms: give [[arms]], or leave it out")
        if "readings" in predictor.needs and backend.asks_server:
            raise UsageError(
                f"predictor '{predictor.name}' has the base read the data, and the base is on a server: leave it out"
            )


def refuse_mitigations(design: Design, mitigations: Mapping[str, ResolvedMitigation]) -> None:
    """Refuse a mitigation where it cannot act, and names of mitigated recipes that there are not.

    `mitigations`: digest of its spec -> mitigation. Raises UsageError, with the near miss for a contrast or a table's
    row.
    """
    known: dict[str, list[str]] = {}
    for mitigation in mitigations.values():
        if mitigation.own_template and design.respond.template != "own":
            raise UsageError(
                f"mitigation '{mitigation.name}' acts in the chat template of its checkpoints, which are asked with "
                'the base\'s: give [respond] template = "own"'
            )
    for arm in design.arms:
        for recipe in design.recipes_of(arm):
            for spec in (*recipe.mitigations, *arm.mitigations):
                known.setdefault(arm.name, []).extend(tried(recipe, mitigations[digest(spec)]))
    for index, given in enumerate(design.checkpoints):
        for spec in given.mitigations:
            mitigation = mitigations[digest(spec)]
            at = f"checkpoints[{index}]: mitigation '{mitigation.name}'"
            if mitigation.stage != "after":
                raise UsageError(f"{at} acts {mitigation.stage} training, and this checkpoint is trained already")
            if "rows" in mitigation.needs and design.corpus_of(given) not in design.sources:
                raise UsageError(f"{at} needs the rows that it was tuned on: give a [corpus] (--train-data)")
            known.setdefault(given.arm, []).extend(f"{given.recipe}+{weights}" for weights in mitigation.further)
    for name, wanted in design.named_further:
        if wanted not in known.get(name, []):
            raise UsageError(f"arm '{name}': no recipe '{wanted}'{near(wanted, known.get(name, []))}")


def refuse_own(
    own: ResolvedBenchmark | None,
    mitigations: Iterable[ResolvedMitigation],
    benchmarks: Sequence[ResolvedBenchmark],
    judges: Sequence[ResolvedJudge],
    backend: ResolvedBackend,
) -> None:
    """Refuse mitigations that need what a base says itself where that cannot be had, or would be the test's.

    Raises UsageError.
    """
    wanted = [each for each in mitigations if each.needs & OWN.keys()]
    if not wanted:
        return

    def of(*needs: Need) -> str:
        """Return the first mitigation with one of these needs, and what it needs; empty where none has."""
        for each in wanted:
            if each.needs & set(needs):
                return f"mitigation '{each.name}' needs {' and '.join(sorted(each.needs - {'rows'}))} of the base"
        return ""

    what = of(*OWN)
    if own is None:
        raise UsageError(
            f"{what}: give [own] a benchmark with harmful and ordinary requests that are not those of the study"
        )
    if own.needs:
        raise UsageError(f"[own] '{own.name}': its requests are made of tuning data; {what}: give another benchmark")
    for need in OWN:
        if of(need) and not own_subsets(own.metrics, need):
            raise UsageError(f"[own] '{own.name}' has no {OWN_REQUESTS[need]}; {of(need)}: give another benchmark")
    if backend.asks_server:
        raise UsageError(f"{what}: backend '{backend.name}' asks a server, whose models cannot be changed here")
    for axis, told in {"refusal": "what was refused", "privacy": "what was kept private"}.items():
        lacking = of(*(need for need, own_axis in OWN.items() if own_axis == axis))
        if lacking and not any(axis in judge.axes for judge in judges):
            raise UsageError(f"{lacking}: give a judge of the axis {axis}, which tells {told}")
    asked = {_bare_words(prompt): prompt.id for prompt in own.get().prompts(BenchmarkContext())}
    for benchmark in benchmarks:
        if benchmark.needs:
            continue
        for prompt in benchmark.get().prompts(BenchmarkContext()):
            if (same := asked.get(_bare_words(prompt))) is not None:
                raise UsageError(
                    f"[own] '{own.name}': its request '{same}' is '{prompt.id}' of the benchmark '{benchmark.name}': a "
                    "model that was tuned on a request says nothing on it; give another benchmark or another part of it"
                )


def _bare_words(prompt: Prompt) -> str:
    """Return a prompt's letters and digits in small letters: what two prompts share that differ in signs alone."""
    text = " ".join(message.content for message in prompt.messages if message.role == "user")
    return "".join(char for char in text.casefold() if char.isalnum())


def recipes_here(design: Design, warnings: list[str]) -> list[Recipe]:
    """Return the recipes that this machine is asked for; those that may be left out without a GPU are, with a warning.

    A design that must have 4-bit tuning is planned anywhere and refused by `refuse_machine` where it cannot run.
    """
    kept, why = [], ""
    for recipe in design.recipes or (design.recipe,):
        if recipe.method == "qlora" and recipe.without_gpu == "leave_out" and (why := tune.no_four_bits(recipe)):
            warnings.append(f"recipe '{recipe.name}' is left out, as the design says: {why}")
        else:
            kept.append(recipe)
    if not kept:
        raise UsageError(f"every recipe is left out on this machine: {why}")
    return kept


def refuse_machine(design: Design) -> None:
    """Raise UsageError where this machine cannot tune what the design asks for."""
    for arm in design.arms:
        for recipe in design.recipes_of(arm):
            if recipe.method == "qlora" and recipe.without_gpu != "leave_out" and (why := tune.no_four_bits(recipe)):
                raise UsageError(
                    f"recipe '{recipe.name}', method 'qlora': {why}; run it where there is one, take "
                    'method = "lora", or say without_gpu = "leave_out" or "run" (slow)'
                )


def refuse_models(study: Study) -> None:
    """Raise ModelError where a base cannot be asked, or not tuned by a recipe of its arms, before any weights load."""
    recipes = [recipe for arm in study.design.arms for recipe in study.design.recipes_of(arm)]
    for base in study.bases:
        study.backend.get().refuse(base.path)
        if recipes:
            tune.refuse_untunable(identity.resolve(base.path), recipes)


def suitable_executor(study: Study, executor: PluginSpec) -> PluginSpec:
    """Return the executor for a study: one process where a server is asked, which keeps its ceiling and its budget.

    Where each process would start a server of its own, those that ask are one for each GPU, or one in all. Raises
    UsageError for an executor of several processes.
    """
    judged_by = [judge.plugin.asks for judge in study.judges if judge.plugin]
    if not study.backend.asks_server and not any(backend is not None and backend.limited for backend in judged_by):
        starts = any(each is not None and each.starts_server for each in (study.backend.plugin, *judged_by))
        return _one_server_each(executor) if starts else executor
    if executor.name == "local" and executor.parameters.get("workers", 0) in (0, 1):
        return PluginSpec("local", {**executor.parameters, "workers": 1})
    raise UsageError(
        "a server's concurrency and budget are kept by one process: leave out --workers and --executor "
        "(requests go out many at a time all the same)"
    )


def _one_server_each(executor: PluginSpec) -> PluginSpec:
    """Return the executor with as many processes that ask as there are GPUs for, or one. Raises UsageError."""
    if executor.name != "local":
        raise UsageError(f"the backend starts a server on this machine: leave out --executor {executor.name}")
    devices = visible_gpus() if executor.parameters.get("gpus", -1) else []
    if devices or executor.parameters.get("workers", 0) == 1:
        return executor
    if executor.parameters.get("workers", 0):
        raise UsageError(
            "the backend starts a server in each process, and there is no GPU for each of them: leave out "
            "--workers (requests go out many at a time all the same)"
        )
    return PluginSpec("local", {**executor.parameters, "workers": 1})
