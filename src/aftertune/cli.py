"""The command line: one sub-command is one library call of the same name. The only file that prints."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from aftertune.errors import AftertuneError, UsageError

if TYPE_CHECKING:
    from aftertune.pipeline import Progress, Result

EXIT = {"pass": 0, "error": 1, "drift": 3, "inconclusive": 4}
"""Exit code of a command that decides; 2 is usage or bad input."""

app = typer.Typer(
    help="What fine-tuning did to a language model's safety and privacy: is it real, what caused it, may I ship?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 pass or done, 1 error, 2 usage or bad input, 3 drift, 4 inconclusive.",
)
embedded_app = typer.Typer(help="The embedded models: build one, read its card.", no_args_is_help=True)
app.add_typer(embedded_app, name="embedded")

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, for CI.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Run folder; the same command continues it.")]
Workers = Annotated[int, typer.Option("--workers", min=0, help="Processes at once; 0 is one per core.")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; every expected error becomes one line and an exit code."""
    # Names of models are looked up locally first; the hub is asked only for hub names, never slowly for local ones.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    logging.basicConfig(level=logging.WARNING, format="aftertune: %(message)s", stream=sys.stderr)
    try:
        app(args=arguments, prog_name="aftertune", standalone_mode=True)
    except AftertuneError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("stopped; the same command continues", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _fail(message: str, code: int) -> NoReturn:
    print(f"aftertune: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


def _show(value: object) -> None:
    from aftertune.records import plain

    print(json.dumps(plain(value), indent=1, ensure_ascii=True, allow_nan=False))


@contextmanager
def _progress(quiet: bool) -> Iterator[Progress]:
    """Give a progress callback: a bar on a terminal, a line now and then elsewhere, nothing when quiet."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet:
        yield lambda *_: None
        return
    if not console.is_terminal:
        last = [time.monotonic()]

        def lines(done: str, count: int, total: int) -> None:
            if time.monotonic() - last[0] > 20 or count == total:
                last[0] = time.monotonic()
                print(f"aftertune: {count} of {total} done, last: {done or 'nothing yet'}", file=sys.stderr)

        yield lines
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("planning")
        yield lambda done, count, total: bar.update(task, completed=count, total=total, description=done)


def _finish(result: Result, as_json: bool) -> NoReturn:
    for warning in result.warnings:
        print(f"aftertune: warning: {warning}", file=sys.stderr)
    if as_json:
        _show(
            {
                "outcome": result.outcome,
                "decisions": list(result.decisions),
                "drifts": list(result.drifts),
                "run": str(result.root),
                "report": str(result.report),
            }
        )
    else:
        from aftertune.summary import decision_lines, drift_table

        for line in drift_table(result.gated):
            print(line)
        for line in decision_lines(result.outcome, result.decisions):
            print(line)
        print(f"\nreport: {result.report}")
    sys.exit(EXIT[result.outcome])


@app.command()
def demo(
    out: Out = None, workers: Workers = 0, quick: Annotated[bool, typer.Option(help="Two seeds.")] = False,
    quiet: Quiet = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """The whole flow on the embedded model, to a report: what personal data and role swap do to a support bot."""
    from aftertune import demo as library

    with _progress(quiet) as progress:
        result = library.demo(out or Path("aftertune-demo"), workers=workers, quick=quick, progress=progress)
    if as_json:
        _finish(result, as_json)
    for line in library.lesson(result):
        print(line)
    sys.exit(0)  # a demo that shows drift has done its work


@app.command()
def selftest(quiet: Quiet = False, as_json: AsJson = False, workers: Workers = 0) -> None:
    """Does the instrument alarm when it must, and only then? Exit 0 when it behaves."""
    from aftertune import selftest as library

    with _progress(quiet) as progress:
        checks = library.selftest(workers=workers, progress=progress)
    behaves = all(check.ok for check in checks)
    if as_json:
        _show({"behaves": behaves, "checks": checks})
    else:
        for check in checks:
            mark = "ok  " if check.ok else "FAIL"
            print(f"{mark}  {check.name}: expected {check.expected}, got {check.got}. {check.why}")
        print("the instrument behaves" if behaves else "the instrument does NOT behave: do not trust its decisions")
    sys.exit(0 if behaves else 1)


@app.command()
def audit(
    base: Annotated[str, typer.Argument(help="Hub name, local folder, or `embedded`.")],
    checkpoint: Annotated[list[str] | None, typer.Argument(help="PEFT adapters or full models.")] = None,
    checkpoints: Annotated[Path | None, typer.Option(help="CSV or JSONL: path, arm, recipe, seed, epoch.")] = None,
    train_data: Annotated[str | None, typer.Option(help="The tuning set: measures leaks and takeover.")] = None,
    suite: Annotated[str | None, typer.Option(help="`miniature` (embedded) or `core` (any other).")] = None,
    system: Annotated[Path | None, typer.Option(help="File with the system prompt.")] = None,
    policy: Annotated[str, typer.Option(help="strict, default, research, or a TOML file.")] = "default",
    judge: Annotated[list[str] | None, typer.Option(help="Judges instead of the suite's.")] = None,
    temperature: Annotated[list[float] | None, typer.Option(help="Each is asked.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Repeats per prompt at temperatures above 0.")] = 1,
    template: Annotated[str, typer.Option(help="`base` or `own`: whose chat template.")] = "base",
    out: Out = None, workers: Workers = 0, quiet: Quiet = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """What changed from the base to its checkpoints, and may I ship?"""
    from aftertune import pipeline
    from aftertune.design import Given, Part

    given = [Given(path) for path in checkpoint or ()]
    if checkpoints is not None:
        from aftertune.ingest.checkpoints import read

        given += read(checkpoints)
    if not given:
        raise UsageError("nothing to audit: name at least one checkpoint, or give --checkpoints FILE")
    text = _text_of(system) if system else ""
    with _progress(quiet) as progress:
        result = pipeline.audit(
            base, given, out or Path("aftertune-audit"), suite=suite, train_data=train_data, system=text,
            gate_policy=policy, judges=judge or (), temperatures=temperature or (0.0,), samples=samples,
            template=template, executor=Part("local", {"workers": workers}), progress=progress,
        )  # fmt: skip
    _finish(result, as_json)


@app.command()
def plan(design: Annotated[Path, typer.Argument(help="A design in TOML.")], as_json: AsJson = False) -> None:
    """Cells, cost, and the smallest drift that a design can see; nothing is run."""
    from aftertune import pricing
    from aftertune.design import read

    priced = pricing.price(read(design))
    if as_json:
        _show(priced)
    else:
        for line in pricing.lines(priced):
            print(line)


@app.command()
def study(
    design: Annotated[Path, typer.Argument(help="A design in TOML.")],
    executor: Annotated[str, typer.Option(help="Where the cells run.")] = "local",
    out: Out = None, workers: Workers = 0, quiet: Quiet = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Run a study, or continue it."""
    from aftertune import pipeline
    from aftertune.design import Part, read

    wanted = read(design)
    where = out or Path(f"aftertune-{wanted.name}")
    parameters = {"workers": workers} if executor == "local" else {}
    with _progress(quiet) as progress:
        result = pipeline.study(wanted, where, executor=Part(executor, parameters), progress=progress)
    _finish(result, as_json)


@app.command()
def compose(
    data: Annotated[str, typer.Argument(help="A chat file, or the name of a corpus, e.g. `booking`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the variants and their cards.")],
    pii: Annotated[list[str] | None, typer.Option(help="keep, placeholder, surrogate, novelty.")] = None,
    role_swap: Annotated[bool, typer.Option(help="Make each variant also with roles swapped.")] = False,
    self_generated: Annotated[bool, typer.Option(help="Make the control: the base's own answers.")] = False,
    base: Annotated[str, typer.Option(help="Whose tokenizer counts, and who answers itself.")] = "embedded",
    size: Annotated[int | None, typer.Option(min=1, help="Conversations; default is all, or the corpus's own.")] = None,
    seed: Annotated[int, typer.Option(help="Fixes order and stand-ins.")] = 0,
    match: Annotated[bool, typer.Option(help="Stop all variants at the assistant tokens of the smallest.")] = True,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Data variants of one corpus that differ in the named factor only, each with its card."""
    from aftertune import variants

    cards = variants.compose(
        data, out, pii=pii or ["keep"], role_swap=role_swap, self_generated=self_generated, base=base, size=size,
        seed=seed, match=match,
    )  # fmt: skip
    if as_json:
        _show(cards)
    else:
        for line in variants.lines(cards, out):
            print(line)


@app.command()
def judge(
    source: Annotated[Path, typer.Argument(help="A run folder, or a table with `prompt` and `response`.")],
    judge: Annotated[list[str], typer.Option(help="Which judge; repeat for several.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Where a table's verdicts go.")] = None,
    quiet: Quiet = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Let a judge read stored responses; no model is asked again."""
    if source.is_dir():
        from aftertune import pipeline

        with _progress(quiet) as progress:
            result = pipeline.judge_again(source, judge, progress=progress)
        _finish(result, as_json)
    if out is None:
        raise UsageError("judging a table needs -o FILE for the verdicts")
    from aftertune.ingest import responses

    counts = responses.judge_table(source, judge, out)
    if as_json:
        _show(counts)
    else:
        for (axis, label), count in sorted(counts.items()):
            print(f"{axis:<14} {label:<20} {count:>8}")
        print(f"verdicts: {out}")


@app.command()
def drift(run: Annotated[Path, typer.Argument(help="A run folder.")], as_json: AsJson = False) -> None:
    """Statistics and gate again, from a run's stored verdicts."""
    from aftertune import pipeline

    _finish(pipeline.again(run), as_json)


@app.command()
def report(run: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Write the report of a run again."""
    from aftertune import pipeline

    print(pipeline.again(run).report)


@app.command()
def status(run: Annotated[Path, typer.Argument(help="A run folder.")], as_json: AsJson = False) -> None:
    """Where a run stands."""
    from aftertune import pipeline

    found = pipeline.status(run)
    if as_json:
        _show(found)
        return
    print(f"{found['kind']} '{found['name']}': {found['outcome'] or 'not finished'}")
    for kind, row in found["cells"].items():
        print(f"  {kind:<12} {row['done']:>5.0f} of {row['cells']:>5.0f}   {row['cpu_seconds']:>9.1f} CPU s")


@app.command(name="list")
def list_(
    kind: Annotated[str | None, typer.Argument(help="corpus, benchmark, judge, backend, executor.")] = None,
) -> None:
    """What there is, by kind."""
    from aftertune import plugins

    for each in [kind] if kind else list(plugins.KINDS):
        for name in plugins.names(each):
            print(f"{each:<10} {name}")


@app.command()
def show(
    kind: Annotated[str, typer.Argument(help="corpus, benchmark, judge, backend, executor.")],
    name: Annotated[str, typer.Argument(help="As `aftertune list` shows it.")],
) -> None:
    """A plugin's card and its parameters."""
    from aftertune import plugins

    for line in plugins.describe(kind, name):
        print(line)


@embedded_app.command()
def build(
    name: Annotated[str, typer.Argument(help="mini-a, mini-b, mini-c, or known-bad.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the model.")],
    quiet: Quiet = False,
) -> None:
    """Train an embedded model from its seed; a base takes about 40 minutes of one core."""
    from aftertune import embedded

    if not quiet:
        logging.getLogger("aftertune").setLevel(logging.INFO)
    if name == embedded.KNOWN_BAD:
        from aftertune import known_bad

        print(known_bad.build(out))
    else:
        from aftertune.embedded import build as library

        print(library.build(name, out))


@embedded_app.command()
def card(
    name: Annotated[str, typer.Argument(help="A shipped model's name, or a folder.")] = "",
    measure: Annotated[bool, typer.Option(help="Measure anew instead of showing the shipped card.")] = False,
    as_json: AsJson = False,
) -> None:
    """What an embedded model can and cannot do, measured on its held-out prompts."""
    from aftertune.embedded import card as library

    found: dict[str, Any] = library.show(name, measure=measure)
    if as_json:
        _show(found)
    else:
        print(library.markdown(found))


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot read: {error}") from None


if __name__ == "__main__":
    main()
