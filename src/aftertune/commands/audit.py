"""An audit as a design: what to ask a base and its checkpoints, which judges can, and where the tuning data leads."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aftertune.commands.compose import chat_file_options
from aftertune.commands.decide import Result
from aftertune.commands.study import LOCAL, Cache, Progress, quiet, run
from aftertune.data.variant_files import HELD_OUT
from aftertune.errors import UsageError
from aftertune.files import read_text
from aftertune.ingest import checkpoints as checkpoint_lists
from aftertune.judging.resolved import DATA_NEEDS
from aftertune.plugins import PluginSpec
from aftertune.public import PathLike, public
from aftertune.records import THOUGHT_TOKENS, Data, Respond
from aftertune.run.run_folder import Run
from aftertune.studies import plugin_text as written
from aftertune.studies import stored, suites
from aftertune.studies.design import Design, Given
from aftertune.studies.resolve import load_backend, load_benchmark, load_corpus, load_judge

BACKEND = PluginSpec("transformers")
LISTS = (".csv", ".jsonl")
"""Endings of lists of checkpoints."""


@public("audit")
def audit(
    base: PathLike,
    checkpoints: PathLike | Given | Sequence[PathLike | Given],
    out: PathLike = "aftertune-audit",
    *,
    suite: str | None = None,
    train_data: PathLike | None = None,
    held_out: PathLike | None = None,
    columns: str = "",
    encoding: str = "",
    skip_bad: bool = False,
    system: PathLike = "",
    policy: PathLike = "default",
    judges: PathLike | PluginSpec | Sequence[PathLike | PluginSpec] = (),
    temperatures: float | Sequence[float] = 0.0,
    samples: int = 1,
    template: str = "base",
    template_arguments: Mapping[str, Any] | None = None,
    thought_tokens: int = THOUGHT_TOKENS,
    backend: str | PluginSpec = BACKEND,
    executor: str | PluginSpec = LOCAL,
    workers: int = 0,
    progress: Progress = quiet,
    cache: Cache = True,
    until_decided: bool = False,
) -> Result:
    """Compare checkpoints with their base (`aftertune audit`) and decide whether they may ship.

    Args:
        base: Hub name, folder, GGUF file, or `embedded`.
        checkpoints: PEFT adapters or full models, one or several: hub names, folders, GGUF files, or `Given` records
            with arm, recipe, seed and epoch. A `.csv` or `.jsonl` file is a list of them (path, arm, recipe, seed,
            epoch).
        out: Run folder; the same call continues it.
        suite: A name that `suites.named` takes, any benchmark's among them; None takes `miniature` for an embedded base
            and `core` for any other.
        train_data: The tuning set, a chat file: leaks and script takeover are measured against it. Canaries that
            `aftertune compose` planted in it are found by the `canaries.json` beside it.
        held_out: A chat file with rows of the same kind that the checkpoints were not tuned on, for membership
            inference and for how well the task itself is done (benchmark `task`); None takes the `held_out/` that
            `aftertune compose` wrote beside the tuning set, if there is one.
        columns: Of both files: which columns hold what, e.g. `prompt=ask,response=reply`.
        encoding: Of both files, if they are text that is not UTF-8, e.g. `windows-1252`.
        skip_bad: Whether rows that cannot be read are skipped; a warning counts them.
        system: The system prompt: its text, or a `Path` to a file with it.
        policy: Name of a bundled policy (`strict`, `default`, `research`), or a TOML file.
        judges: Judges instead of the suite's: `NAME`, `NAME:key=value,...`, a TOML file, or a `PluginSpec`.
        temperatures: Each is asked; above 0, `samples` times per prompt.
        samples: Repeats at temperatures above 0.
        template: `base` or `own`: whose chat template renders the prompts.
        template_arguments: Handed to the chat template, e.g. `{"enable_thinking": False}`; to a server as
            `chat_template_kwargs`.
        thought_tokens: What a thought may take beside the answer's own limit.
        backend: What answers, as judges are given; with `endpoint`, base and checkpoints are names that the server
            knows.
        executor: Where the jobs run, as judges are given.
        workers: Processes at once, short for the executor `local:workers=N`; 0 is one per core.
        progress: Called as jobs finish, with (what was done, jobs done, jobs in all).
        cache: Where the base's answers are shared between runs: a folder, True for the user's cache folder, False for
            nowhere.
        until_decided: Whether prompts are asked in ten parts, clusters in random order, until a required metric of each
            arm has drifted or all have passed, at the error that one decision over all prompts has.

    Raises:
        UsageError, ModelError: What cannot be honoured, before any compute is spent.
        StoreError: The folder cannot be used.
        AdapterNotAppliedError, JudgeError, ServerError: What went wrong.

    Example:
        >>> import aftertune
        >>> from aftertune import shipped_models
        >>> result = aftertune.audit("embedded", shipped_models.known_bad(), "audit", workers=1)
        >>> result
        Result('audit': drift; 11 checks: ...)
    """
    if isinstance(checkpoints, str | os.PathLike | Given):
        checkpoints = [checkpoints]
    if isinstance(judges, str | os.PathLike | PluginSpec):
        judges = [judges]
    prompt = system if isinstance(system, str) else read_text(Path(system)).strip()
    if not prompt and not isinstance(system, str):
        raise UsageError(f"{system}: no system prompt in it; leave --system out for none")
    design = audit_design(
        os.fspath(base),
        [each for one in checkpoints for each in _given(one)],
        suite=suite,
        train_data=None if train_data is None else os.fspath(train_data),
        held_out=None if held_out is None else os.fspath(held_out),
        columns=columns,
        encoding=encoding,
        skip_bad=skip_bad,
        system=prompt,
        policy=os.fspath(policy),
        judges=judges,
        temperatures=[float(each) for each in (temperatures if isinstance(temperatures, Sequence) else [temperatures])],
        samples=samples,
        template=template,
        template_arguments=template_arguments,
        thought_tokens=thought_tokens,
        backend=written.plugin("backend", backend),
        known=_judges_of(Path(out)),
    )
    design = dataclasses.replace(design, until_decided=until_decided)
    runner = written.executor(executor, workers)
    return run(design, Path(out), executor=runner, progress=progress, cache=cache)


def _judges_of(root: Path) -> tuple[str, ...]:
    """Return the judges of the run in a folder, which is continued with them; none where there is no run."""
    if not Run.exists(root):
        return ()
    return tuple(judge.name for judge in stored.read_design(Run.open(root)).judges)


def _given(checkpoint: PathLike | Given) -> Sequence[Given]:
    """Return a checkpoint as a record, or those of a list."""
    if isinstance(checkpoint, Given):
        return [dataclasses.replace(checkpoint, path=os.fspath(checkpoint.path))]
    path = os.fspath(checkpoint)
    return checkpoint_lists.read(Path(path)) if path.endswith(LISTS) else [Given(path)]


def audit_design(
    base: str,
    checkpoints: Sequence[Given],
    *,
    suite: str | None = None,
    train_data: str | None = None,
    held_out: str | None = None,
    columns: str = "",
    encoding: str = "",
    skip_bad: bool = False,
    system: str = "",
    policy: str = "default",
    judges: Sequence[PathLike | PluginSpec] = (),
    temperatures: Sequence[float] = (0.0,),
    samples: int = 1,
    template: str = "base",
    template_arguments: Mapping[str, Any] | None = None,
    thought_tokens: int = THOUGHT_TOKENS,
    backend: PluginSpec = BACKEND,
    known: Sequence[str] = (),
) -> Design:
    """Return the design of an audit; parameters as in `audit`, `known` as in `suites.named`. Raises UsageError."""
    if not checkpoints:
        raise UsageError("nothing to audit: name at least one checkpoint")
    name = suite or ("miniature" if base.split(":")[0] == "embedded" else "core")
    chosen = suites.named(name, known)
    benchmarks = chosen.benchmarks
    if template not in ("base", "own"):
        raise UsageError(f"template '{template}': give 'base' or 'own'")
    wanted = tuple(written.plugin("judge", judge) for judge in judges) or chosen.judges
    corpus = None
    data = Data()
    if held_out is not None and train_data is None:
        raise UsageError("--held-out needs --train-data: non-members are held against members")
    reading = chat_file_options(columns, encoding, skip_bad)
    if reading and train_data is None:
        raise UsageError("--columns, --encoding and --skip-bad need --train-data: they say how it is read")
    if train_data is not None:
        path = Path(train_data).expanduser().absolute()
        corpus = PluginSpec("chat_file", {"path": str(path), **reading})
        if not path.exists():
            raise UsageError(f"{train_data}: no such file")
        apart = Path(held_out).expanduser() if held_out else path.parent / HELD_OUT / path.name
        if held_out and not apart.exists():
            raise UsageError(f"{held_out}: no such file")
        planted = path.parent / "canaries.json"
        data = Data(
            non_members=str(apart.absolute()) if held_out or apart.is_file() else "",
            canary_file=str(planted.absolute()) if planted.is_file() else "",
        )
        if data.non_members:
            benchmarks, wanted = _with(benchmarks, "task"), _with(wanted, "reference")
        people = load_corpus(corpus).people()
        if not people:
            wanted = tuple(part for part in wanted if "registries" not in load_judge(part).needs)
        elif any("PERSON" in p.values and len(p.values) > 1 for p in people) and "leak" in _axes(wanted):
            benchmarks = (*benchmarks, PluginSpec("extraction", {"words": "world"} if name == "miniature" else {}))
    else:
        # Without the tuning data these axes cannot be measured; the report says so.
        wanted = tuple(part for part in wanted if not load_judge(part).needs & DATA_NEEDS)
    answering = load_backend(backend)
    if "beginnings" not in answering.capabilities:
        benchmarks = tuple(map(_generated, benchmarks))
    lasting = str if answering.asks_server else _lasting
    return Design(
        name="audit",
        kind="audit",
        bases=(base if base.split(":")[0] == "embedded" else lasting(base),),
        corpus=corpus,
        data=data,
        checkpoints=tuple(dataclasses.replace(given, path=lasting(given.path)) for given in checkpoints),
        benchmarks=benchmarks,
        judges=wanted,
        respond=Respond(
            temperatures=tuple(temperatures),
            samples=samples,
            system=system,
            template=template,  # type: ignore[arg-type]
            thought_tokens=thought_tokens,
            template_arguments=template_arguments or {},
        ),
        backend=backend,
        policy=policy if not Path(policy).is_file() else str(Path(policy).absolute()),
    )


def _with(given: tuple[PluginSpec, ...], name: str) -> tuple[PluginSpec, ...]:
    return given if name in {part.name for part in given} else (*given, PluginSpec(name))


def _generated(part: PluginSpec) -> PluginSpec:
    """Return a benchmark that is scored both ways, by generation alone: the plan says what is not measured then."""
    both = load_benchmark(part).scored_by == "both"
    return PluginSpec(part.name, {**part.parameters, "scored_by": "generation"}) if both else part


def _axes(judges: Sequence[PluginSpec]) -> set[str]:
    return {axis for part in judges for axis in load_judge(part).axes}


def _lasting(name: str) -> str:
    """Return an existing path as absolute, so that the run can be continued from another folder; else the name."""
    path = Path(name).expanduser()
    return str(path.absolute()) if path.exists() else name
