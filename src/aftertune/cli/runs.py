"""Commands that make, continue and read runs."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aftertune.cli.app import (
    EXIT,
    All,
    AsJson,
    CacheFolder,
    Columns,
    Encoding,
    NoCache,
    Out,
    Quiet,
    SkipBad,
    Workers,
    app,
    cache_of,
    finish,
    progress_on,
    show_json,
    show_lines,
    show_result,
    tell,
    terminal_height,
    terminal_width,
)
from aftertune.errors import UsageError

if TYPE_CHECKING:
    from aftertune.ingest.table_drift import TableDrift


MOST_WARNINGS = 20
"""Shown of a table's."""


@app.command()
def demo(
    out: Out = None,
    cache: CacheFolder = None,
    no_cache: NoCache = False,
    workers: Workers = 0,
    quick: Annotated[bool, typer.Option(help="Train two seeds instead of five.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run the whole flow on an embedded model. Shows what personal data and role swap do to a support bot."""
    from aftertune.commands import demo as library

    with progress_on(quiet) as progress:
        result = library.demo(
            out or Path("aftertune-demo"),
            workers=workers,
            quick=quick,
            progress=progress,
            cache=cache_of(cache, no_cache),
        )
    if as_json:
        show_result(result, as_json)
    else:
        for warning in result.warnings:
            tell(f"warning: {warning}")
        show_lines(library.lesson(result, terminal_width()))
    sys.exit(0)  # a demo that shows drift has done its work


@app.command()
def selftest(quiet: Quiet = False, as_json: AsJson = False, workers: Workers = 0) -> None:
    """Check that aftertune alarms when it must, and only then. Exit code 0 if it does."""
    from aftertune.commands import selftest as library

    with progress_on(quiet) as progress:
        checks = library.selftest(workers=workers, progress=progress)
    behaves = all(check.ok for check in checks)
    if as_json:
        show_json({"behaves": behaves, "checks": checks})
    else:
        for check in checks:
            mark = "ok  " if check.ok else "FAIL"
            show_lines([f"{mark}  {check.name}: expected {check.expected}, got {check.got}. {check.why}"])
        verdict = "aftertune decides as it should" if behaves else "it does NOT decide as it should: do not trust it"
        show_lines([verdict])
    sys.exit(0 if behaves else 1)


@app.command()
def mitigate(
    run: Annotated[Path, typer.Argument(help="A finished study or audit.")],
    methods: Annotated[
        list[str] | None,
        typer.Option(help="Mitigations to try, NAME or NAME:key=value; repeat. Default: a choice by what was lost."),
    ] = None,
    arm: Annotated[
        list[str] | None, typer.Option(help="Arms to repair; repeat. Default: those that lost refusals or privacy.")
    ] = None,
    own: Annotated[
        str, typer.Option(help="Benchmark whose requests the base answers, for mitigations to train on.")
    ] = "",
    task_margin: Annotated[
        float, typer.Option(help="How much a repair may raise the held-out loss of the tuned task, as a share.")
    ] = 0.02,
    out: Out = None,
    cache: CacheFolder = None,
    no_cache: NoCache = False,
    workers: Workers = 0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Find what undoes a drift. Tries mitigations on a finished run and recommends the cheapest that repairs."""
    from aftertune.commands import mitigate as library
    from aftertune.reporting.repair import said, table

    with progress_on(quiet) as progress:
        repair = library.mitigate(
            run,
            out,
            methods=methods or (),
            arms=arm or (),
            own=own,
            task_margin=task_margin,
            workers=workers,
            progress=progress,
            cache=cache_of(cache, no_cache),
        )
    for line in repair.left_out:
        tell(f"not tried: {line}")
    for line in repair.notes:
        tell(f"note: {line}")
    if as_json:
        show_json(
            {
                "outcome": repair.outcome,
                "frontiers": repair.frontiers,
                "left_out": repair.left_out,
                "notes": repair.notes,
                "adapters": [str(path) for path in repair.adapters],
                "run": str(repair.root),
                "report": str(repair.report),
            }
        )
    else:
        for each in repair.frontiers:
            show_lines([f"{each.arm}, {each.recipe}, {each.base}", "", *table(each), "", *said(each), ""])
        show_lines([f"repaired: {path}" for path in repair.adapters])
        show_lines([f"report: {repair.report}"])
    sys.exit(EXIT[repair.outcome])


@app.command()
def explain(
    run: Annotated[Path, typer.Argument(help="A finished study or audit whose base and checkpoints are still there.")],
    arm: Annotated[
        list[str] | None, typer.Option(help="Arms to intervene in; repeat. Default: up to two that lost the most.")
    ] = None,
    pairs: Annotated[
        int | None, typer.Option(help="Pairs of prompts for each direction; 0 takes all. Default: by the model's size.")
    ] = None,
    prompts: Annotated[
        int | None, typer.Option(help="Prompts of each kind for the readout. Default: by the model's size.")
    ] = None,
    draws: Annotated[
        int | None,
        typer.Option(help="Random directions, and shuffled updates of layers, to compare with. Default: 19."),
    ] = None,
    workers: Workers = 0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Show what moved inside the models of a run. Beside it: what chance gives, and what interventions change."""
    from aftertune.commands import explain as library
    from aftertune.reporting.explanation import as_json as fields

    with progress_on(quiet) as progress:
        found = library.explain(
            run, arms=arm or (), pairs=pairs, prompts=prompts, draws=draws, workers=workers, progress=progress
        )
    if as_json:
        show_json({**fields(found.explanation), "report": str(found.report)})
    else:
        first, *others = found.sentences
        show_lines([first, "", *(f"- {line}" for line in others), "", f"report: {found.report}"])


@app.command()
def audit(
    base: Annotated[str, typer.Argument(help="Hub name, local folder, GGUF file, or `embedded`.")],
    checkpoint: Annotated[list[str] | None, typer.Argument(help="PEFT adapters, full models, GGUF files.")] = None,
    checkpoints: Annotated[Path | None, typer.Option(help="CSV or JSONL: path, arm, recipe, seed, epoch.")] = None,
    train_data: Annotated[
        str | None,
        typer.Option(
            help="The tuning set, to measure leaks of it, and answers in its style where nobody asked for them."
        ),
    ] = None,
    held_out: Annotated[
        str | None, typer.Option(help="Similar rows that were not tuned on, for membership inference.")
    ] = None,
    columns: Columns = "",
    encoding: Encoding = "",
    skip_bad: SkipBad = False,
    suite: Annotated[
        str | None,
        typer.Option(
            help="What is asked: `core` (default; `miniature` of an embedded base), or what `aftertune fetch` lists."
        ),
    ] = None,
    system: Annotated[Path | None, typer.Option(help="File with the system prompt.")] = None,
    policy: Annotated[
        str, typer.Option(help="What may get worse, and by how much: strict, default, research, or a TOML file.")
    ] = "default",
    judge: Annotated[
        list[str] | None, typer.Option(help="Judges instead of the suite's: NAME, NAME:key=value or FILE; repeat.")
    ] = None,
    temperature: Annotated[
        list[float] | None, typer.Option(help="Sampling temperature; repeat to ask at several. Default: 0.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Repeats per prompt at temperatures above 0.")] = 1,
    template: Annotated[
        str, typer.Option(help="Whose chat template is used: `base` or `own` (each model's own).")
    ] = "base",
    template_argument: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Argument of the chat template, VALUE in JSON, e.g. `enable_thinking=false`; repeat.",
        ),
    ] = None,
    thought_tokens: Annotated[
        int, typer.Option(min=0, help="Most tokens of a thought; the answer has its own limit.")
    ] = 4096,
    backend: Annotated[
        str, typer.Option(help="What runs the models: `transformers`, `vllm`, or `endpoint:url=...` for a server.")
    ] = "transformers",
    until_decided: Annotated[
        bool, typer.Option("--until-decided", help="Ask in ten parts, and stop once each arm has drifted or passed.")
    ] = False,
    out: Out = None,
    cache: CacheFolder = None,
    no_cache: NoCache = False,
    workers: Workers = 0,
    quiet: Quiet = False,
    whole: All = False,
    as_json: AsJson = False,
) -> None:
    """Compare checkpoints with their base: what changed, and may I ship?"""
    from aftertune.commands import audit as auditing
    from aftertune.studies.design import Given

    audited = [Given(path) for path in checkpoint or ()]
    if checkpoints is not None:
        from aftertune.ingest.checkpoints import read

        audited += read(checkpoints)
    if not audited:
        raise UsageError("nothing to audit: name at least one checkpoint, or give --checkpoints FILE")
    with progress_on(quiet) as progress:
        result = auditing.audit(
            base,
            audited,
            out or Path("aftertune-audit"),
            suite=suite,
            train_data=train_data,
            held_out=held_out,
            columns=columns,
            encoding=encoding,
            skip_bad=skip_bad,
            system=system or "",
            policy=policy,
            judges=judge or (),
            temperatures=temperature or (0.0,),
            samples=samples,
            template=template,
            template_arguments=_template_arguments(template_argument or ()),
            thought_tokens=thought_tokens,
            backend=backend,
            workers=workers,
            progress=progress,
            cache=cache_of(cache, no_cache),
            until_decided=until_decided,
        )
    finish(result, as_json, whole)


def _template_arguments(options: Sequence[str]) -> dict[str, Any]:
    """Return what `--template-argument NAME=VALUE` says. Raises UsageError."""
    arguments: dict[str, Any] = {}
    for option in options:
        name, sign, text = option.partition("=")
        name, text = name.strip(), text.strip()
        if not sign or not name.isidentifier() or not text:
            raise UsageError(f"--template-argument '{option}': expected NAME=VALUE, e.g. enable_thinking=false")
        if name in arguments:
            raise UsageError(f"--template-argument {name}: given twice")
        try:
            value = json.loads(text, parse_constant=lambda _: None)
        except (ValueError, RecursionError):
            # `False` as a text would be true to a template.
            if not text.isidentifier() or text.lower() in ("true", "false", "none", "null", "yes", "no", "on", "off"):
                raise UsageError(
                    f"--template-argument {name}={text}: VALUE is no JSON: give true, false, a number, or a text in "
                    "double quotes"
                ) from None
            value = text
        if _holds_nothing(value):
            raise UsageError(f"--template-argument {name}={text}: null is no value: leave the argument out")
        arguments[name] = value
    return arguments


def _holds_nothing(value: Any) -> bool:
    if isinstance(value, list | dict):
        return any(map(_holds_nothing, value.values() if isinstance(value, dict) else value))
    return value is None


@app.command()
def plan(
    design: Annotated[Path, typer.Argument(help="A design in TOML.")],
    no_trial: Annotated[
        bool, typer.Option("--no-trial", help="Skip the trial, some seconds of asking, that estimates the minutes.")
    ] = False,
    earlier: Annotated[
        Path | None, typer.Option(help="A run folder to take base rates and the spread between seeds from.")
    ] = None,
    judge_error: Annotated[
        float, typer.Option(help="How often the judge is wrong, to say how many labels a decision needs.")
    ] = 0.1,
    as_json: AsJson = False,
) -> None:
    """Price a study before it is run. Says jobs, cost and minutes, and which losses its gate could fail and pass."""
    from aftertune.commands import plan as pricing
    from aftertune.studies.design import read

    planned = read(design)
    with redirect_stdout(sys.stderr):  # for what libraries print during the trial
        price = pricing.price(planned, trial=not no_trial, earlier=earlier, judge_error=judge_error)
    if as_json:
        show_json(price)
    else:
        show_lines(pricing.lines(price, planned.cost))


@app.command()
def study(
    design: Annotated[Path, typer.Argument(help="A design in TOML.")],
    executor: Annotated[
        str, typer.Option(help="Where the jobs run: NAME or NAME:key=value,..., e.g. `ray:gpus=1,cpus=4`.")
    ] = "local",
    until_decided: Annotated[
        bool, typer.Option("--until-decided", help="Ask in ten parts, and stop once each arm has drifted or passed.")
    ] = False,
    out: Out = None,
    cache: CacheFolder = None,
    no_cache: NoCache = False,
    workers: Workers = 0,
    quiet: Quiet = False,
    whole: All = False,
    as_json: AsJson = False,
) -> None:
    """Run a study, or continue it."""
    from aftertune.commands import study as running

    with progress_on(quiet) as progress:
        result = running.study(
            design,
            out,
            executor=executor,
            workers=workers,
            progress=progress,
            cache=cache_of(cache, no_cache),
            until_decided=until_decided,
        )
    finish(result, as_json, whole)


@app.command()
def drift(
    run: Annotated[Path | None, typer.Argument(help="A run folder.")] = None,
    verdicts: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]FILE",
            help="Results of other tools; repeat. A table (checkpoint, prompt, metric, value; cluster, seed, "
            "repeat, judge, worse, message_hash), or a log of Inspect AI, lm-evaluation-harness, garak, promptfoo, "
            "HELM, lighteval or OpenCompass. NAME= names a file's model.",
        ),
    ] = None,
    base: Annotated[str | None, typer.Option(help="With --verdicts: the untuned model's name in it.")] = None,
    tuned: Annotated[
        list[str] | None, typer.Option(help="With --verdicts: a tuned checkpoint's name; repeat for several.")
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="strict, default, research, or a file; a run keeps it from now on.")
    ] = None,
    worse: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=up|down",
            help="With --verdicts: which way is worse, if a metric's name does not say it; repeat; patterns work.",
        ),
    ] = None,
    allow_partial_overlap: Annotated[
        bool, typer.Option("--allow-partial-overlap", help="Pair what can be paired, however little.")
    ] = False,
    labels: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="People's labels of a run (`aftertune label`); repeat for several readers."),
    ] = None,
    no_labels: Annotated[
        bool, typer.Option("--no-labels", help="Decide by the judges alone again, and drop labels given before.")
    ] = False,
    demo: Annotated[bool, typer.Option("--demo", help="Decide on a table that ships: a second, no model.")] = False,
    whole: All = False,
    as_json: AsJson = False,
) -> None:
    """Decide again on the verdicts of a run. Or on a table or log of another tool (--verdicts)."""
    if demo:
        if run is not None or verdicts or base or tuned or worse or labels or no_labels:
            raise UsageError(
                "--demo has its own table; leave out the run folder, --verdicts, --base, --tuned, --worse, --labels"
            )
        from aftertune.ingest import demo_table

        result = demo_table.demo_drift(policy=policy or "default")
        _show_table_drift(result, as_json, whole, demo_table.ABOUT, demo_table.NEXT)
        sys.exit(0)  # a demo that shows drift has done its work
    if (run is None) == (not verdicts):
        raise UsageError("give a run folder, or a table with --verdicts TABLE --base NAME --tuned NAME (not both)")
    if run is not None:
        options = {
            "--base": base,
            "--tuned": tuned,
            "--worse": worse,
            "--allow-partial-overlap": allow_partial_overlap,
        }
        for option, value in options.items():
            if value:
                raise UsageError(f"{option} goes with --verdicts; a run has its own in its design.toml")
        from aftertune.commands import decide as results

        finish(results.again(run, policy, labels or (), forget_labels=no_labels), as_json, whole)
    if labels or no_labels:
        raise UsageError("--labels and --no-labels go with a run folder: labels belong to its answers")
    if not verdicts or base is None or not tuned:
        raise UsageError("--verdicts needs --base NAME and --tuned NAME: names that stand in its column 'checkpoint'")
    from aftertune.ingest.directions import parsed
    from aftertune.ingest.table_drift import drift_of_table

    result = drift_of_table(
        verdicts,
        base,
        tuned,
        policy=policy or "default",
        worse=parsed(worse or ()),
        allow_partial_overlap=allow_partial_overlap,
    )
    _show_table_drift(result, as_json, whole)
    sys.exit(EXIT[result.outcome])


def _show_table_drift(
    result: TableDrift, as_json: bool, whole: bool, before: Sequence[str] = (), after: Sequence[str] = ()
) -> None:
    """Print the decision on a table, as JSON or as lines between those `before` and `after`."""
    for warning in result.warnings[:MOST_WARNINGS]:
        tell(f"warning: {warning}")
    if len(result.warnings) > MOST_WARNINGS:
        tell(f"warning: {len(result.warnings) - MOST_WARNINGS:,} more; --json has all")
    if as_json:
        answer = {
            "decision": result.outcome,
            "drifts": [dataclasses.asdict(one) for one in result.answers],
            "components": [dataclasses.asdict(one) for one in result.components],
            "mixed": [dataclasses.asdict(one) for one in result.mixed],
            "contradictions": result.contradictions,
            "judge_differences": [
                {**dataclasses.asdict(one), "told_apart": one.told_apart, "corrected": one.corrected}
                for one in result.judge_differences
            ],
            "discrimination": [{**dataclasses.asdict(one), "strength": one.strength} for one in result.discrimination],
            "warnings": result.warnings,
        }
        print(json.dumps(answer, indent=1, ensure_ascii=True, allow_nan=False))
        return
    from aftertune.reporting.terminal import decision_lines, discrimination_lines, result_table

    width = terminal_width()
    show_lines([*before, ""] if before else ())
    show_lines(result_table(result.drifts, result.decisions, width, terminal_height(), whole=whole))
    show_lines(discrimination_lines(result.discrimination, whole=whole))
    show_lines(decision_lines(result.outcome, result.decisions, width, whole=whole))
    show_lines(f"contradiction: {line}" for line in result.contradictions)
    show_lines(["", *after] if after else ())


@app.command()
def agree(
    run: Annotated[Path, typer.Argument(help="A run folder with several judges (`aftertune judge RUN --judge NAME`).")],
    labels: Annotated[
        Path | None,
        typer.Option(
            help="People's labels: a sheet of `aftertune label`, or a table: prompt_id, axis, label, arm or checkpoint."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how far judges (and people) agree on stored responses. Also shows where they do not."""
    from aftertune.ingest import agreement

    result = agreement.agree(run, labels)
    if as_json:
        show_json(result.to_json())
        return
    show_lines(result.lines())


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    policy: Annotated[
        str | None, typer.Option(help="Policy to decide by from now on: strict, default, research, or a file.")
    ] = None,
) -> None:
    """Write the report of a run again."""
    from aftertune.commands import decide as results

    print(results.again(run, policy).report)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Finished run folders.")],
    baseline: Annotated[Path | None, typer.Option(help="A run to compare with: marks what changed since.")] = None,
    waivers: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Losses that somebody accepts: who, until when, why (TOML).")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="An HTML page to write.")] = None,
    whole: All = False,
    as_json: AsJson = False,
) -> None:
    """Put many runs into one table, the worst arms first. E.g. adapters of one base, or one adapter over months."""
    from aftertune.commands import compare as library
    from aftertune.reporting.comparison import lines, machine

    comparison = library.compare(runs, baseline, waivers=waivers, out=out)
    if as_json:
        show_json(machine(comparison))
    else:
        show_lines(lines(comparison, terminal_width(), whole=whole))
        if out is not None:
            print(f"page: {out}")
    sys.exit(EXIT[comparison.outcome])


@app.command()
def status(run: Annotated[Path, typer.Argument(help="A run folder.")], as_json: AsJson = False) -> None:
    """Say how far a run is."""
    from aftertune.commands.status import status as state_of

    state = state_of(run)
    if as_json:
        show_json(state)
        return
    from aftertune.cli.progress import status_lines

    show_lines(status_lines(state))


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the copy.")],
    reveal: Annotated[bool, typer.Option("--reveal", help="Leave personal values in the responses.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Copy a run, to share it. Personal values are masked, tuning data and weights left out."""
    from aftertune.commands import export as library

    with progress_on(quiet) as progress:
        copy = library.export(run, out, reveal=reveal, progress=progress)
    if as_json:
        show_json(copy)
        return
    print(f"{out}: {len(copy['files']):,} files, {copy['texts_changed']:,} of {copy['texts']:,} texts changed")
    print(f"masked: {copy['how']}")
    for name, why in copy["left_out"].items():
        print(f"left out: {name} ({why})")
