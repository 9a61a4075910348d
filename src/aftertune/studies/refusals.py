"""What a design cannot have, or cannot have here: refused by name before any compute is spent."""

from __future__ import annotations

from pathlib import Path

from aftertune import plugins
from aftertune.asking.benchmark import BenchmarkContext
from aftertune.deciding import policy
from aftertune.errors import UsageError
from aftertune.records import Recipe
from aftertune.studies import parts, servers
from aftertune.studies.design import Design
from aftertune.tuning import tune


def needs(design: Design) -> None:
    """Refuse by name what this design cannot give, before compute is spent."""
    if not design.benchmarks or not design.judges:
        raise UsageError("a design needs at least one [[benchmarks]] and one [[judges]]")
    for part in design.sources.values():
        parts.corpus(part)
    if design.sources:
        for path in (design.data.non_members, design.data.canary_file):
            if path and not Path(path).is_file():
                raise UsageError(f"{path}: no such file")
        if (design.data.canaries or design.data.held_out) and parts.unscored(design):
            raise UsageError(f"[data] canaries and held_out are for scoring texts: {parts.unscored(design)}")
    policy.load(design.policy)
    parts.check_tables(design)
    for part in design.benchmarks:
        _meet(f"benchmark '{part.name}'", parts.benchmark(part).needs, design, "")
        if "held_out" in parts.benchmark(part).needs and not (design.data.held_out or design.data.non_members):
            raise UsageError(f"benchmark '{part.name}' needs held_out: give [data] held_out or --held-out")
        parts.can_score(design, part)
        if hasattr(parts.benchmark(part), "files"):
            # A broken file is refused now, not after a model is loaded.
            parts.benchmark(part).prompts(BenchmarkContext())
    for part in design.judges:
        _meet(f"judge '{part.name}'", parts.judge(part).needs & parts.DATA, design, ", or leave it out")
    if servers.served_by(design.backend) is not None:
        if design.arms:
            raise UsageError(f"backend '{design.backend.name}' asks a server, which cannot tune: give [[checkpoints]]")
        if design.respond.template != "base":
            raise UsageError("template 'own': the server writes the chat template, so it cannot be chosen")


def only_generated(design: Design) -> list[str]:
    """Return a warning for each benchmark that is asked by generation alone where this backend can score nothing."""
    if "beginnings" in plugins.load("backend", design.backend.name, design.backend.parameters).capabilities:
        return []
    return [
        f"benchmark '{parts.benchmark_name(part)}': by generation only; backend '{design.backend.name}' shows no "
        "log-probabilities of given texts, so what is scored by them is not measured"
        for part in design.benchmarks
        if getattr(parts.benchmark(part), "scored_by", "") == "generation"
    ]


def _meet(what: str, needs: frozenset[str], design: Design, else_: str) -> None:
    """Refuse what needs tuning data that this design does not have, or does not have of each checkpoint."""
    if not needs:
        return
    missing = ", ".join(sorted(needs))
    if not design.sources:
        raise UsageError(f"{what} needs {missing}: give a [corpus] (--train-data){else_}")
    for name, part in design.sources.items():
        # Whether a file holds people is known when it has been read.
        if needs & {"registries", "people"} and "path" not in part.parameters and not parts.corpus(part).people():
            at = f"corpora.{name}" if name else "corpus"
            raise UsageError(f"{at}: '{part.name}' holds no people, and {what} needs {missing}; leave one of them out")
    for index, given in enumerate(design.checkpoints):
        if design.corpus_of(given) not in design.sources:
            raise UsageError(f"checkpoints[{index}].corpus: {what} needs {missing}: name one of [corpora.*]{else_}")


def left_in(design: Design, warnings: list[str]) -> list[Recipe]:
    """Return the recipes that this machine is asked for; those that may be left out without a GPU are, with a warning.

    A design that must have 4-bit tuning is planned anywhere and refused by `machine` where it cannot run.
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


def machine(design: Design) -> None:
    """Raise UsageError where this machine cannot tune what the design asks for."""
    for arm in design.arms:
        for recipe in design.recipes_of(arm):
            if recipe.method == "qlora" and recipe.without_gpu != "leave_out" and (why := tune.no_four_bits(recipe)):
                raise UsageError(
                    f"recipe '{recipe.name}', method 'qlora': {why}; run it where there is one, take "
                    'method = "lora", or say without_gpu = "leave_out" or "run" (slow)'
                )
