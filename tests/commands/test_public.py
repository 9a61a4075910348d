"""The public names: one function per command, tables of a run, paths of either kind, and one line for wrong types."""

from __future__ import annotations

import inspect
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import aftertune
from aftertune import Arm, Design, Given, PluginSpec, plugin_types
from aftertune.cli import app
from aftertune.commands.decide import Result
from aftertune.deciding.leaks import leaks
from aftertune.errors import AftertuneError, DataError, StoreError, UsageError
from aftertune.findings import Discrimination
from aftertune.public import fits, in_words
from aftertune.records import Decision, Drift, Response, Verdict
from aftertune.run.tables import records

OTHER_NAMES = {
    "list": ("list_plugins",),
    "ingest": ("ingest_logs",),
    "drift": ("drift", "drift_of_table", "demo_drift"),
    "label": ("label", "label_readers"),
}
"""Commands whose function has another name: `list` is Python's own, `ingest` a package, a drift of a table others."""
OF_A_TERMINAL = {"quiet", "as_json", "reveal", "fail_on_finding", "terminal", "whole"}
"""Options that say what is printed, for which a library has records instead; `export` reveals in what it writes."""
PROGRAM_ONLY = {"progress", "on_row", "reading"}
MERGED = {
    "demo": "verdicts",
    "checkpoint": "checkpoints",
    "executor": "workers",
    "no_cache": "cache",
    "no_trial": "trial",
    "no_labels": "forget_labels",
    "format_": "formats",
    "readers": "files",
    **dict.fromkeys(("learning_rate", "epochs", "batch_size", "rank", "alpha", "max_length"), "recipe"),
}
"""Parameters of a command or function -> the other that covers them."""


def commands(group: Any = None, names: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command of the command line, with the name that its function should have."""
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*names, name))
        else:
            yield "_".join((*names, name)), command


COMMANDS = dict(commands())


def functions(command: str) -> list[Callable[..., Any]]:
    return [getattr(aftertune, name) for name in OTHER_NAMES.get(command, (command,))]


def test_there_are_commands() -> None:
    assert {"audit", "study", "pii_scan", "embedded_card", "list"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_a_public_function(name: str) -> None:
    assert all(each in aftertune.__all__ for each in OTHER_NAMES.get(name, (name,)))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_function_has_its_commands_parameters(name: str) -> None:
    offered: dict[str, bool] = {}
    for function in functions(name):
        offered |= dict.fromkeys(inspect.signature(function).parameters, False)
    for parameter in COMMANDS[name].params:
        option = str(parameter.name)
        plural = f"{option}s" if parameter.multiple or parameter.nargs == -1 else option
        found = [each for each in (option, plural, MERGED.get(option, "")) if each in offered]
        assert found or option in {"help", *OF_A_TERMINAL}, f"aftertune {name}: no parameter for {option}"
        offered |= dict.fromkeys(found, True)
    rest = {each for each, there in offered.items() if not there} - PROGRAM_ONLY - {"confidence"}
    rest = {each for each in rest if MERGED.get(each, "") not in offered}
    assert not rest, f"aftertune {name}: no option for {', '.join(rest)}"


@pytest.mark.parametrize("name", ["audit", "study", "demo", "drift", "judge", "report"])
def test_a_function_has_its_commands_defaults(name: str) -> None:
    """Those that say how something is done; an empty list stands for no such option."""
    (function, *_), command = functions(name), COMMANDS[name]
    signature = inspect.signature(function).parameters
    for parameter in command.params:
        here = signature.get(str(parameter.name))
        if (
            here is None
            or parameter.required
            or here.default is inspect.Parameter.empty
            or isinstance(here.default, PluginSpec)
            or parameter.name in ("out", "system", "cache")
        ):
            continue
        assert (parameter.default or None) == (here.default or None), parameter.name


def test_names_are_listed_and_not_shadowed_by_modules() -> None:
    code = (
        "import aftertune, aftertune.plugin_types, pkgutil, importlib, types\n"
        "names = [each.name for each in pkgutil.iter_modules(aftertune.__path__)]\n"
        "assert {*aftertune.__all__, 'plugin_types'} <= set(dir(aftertune))\n"
        "assert not {*names} & {*aftertune.__all__}, names\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr == ""


def test_importing_is_quick_and_brings_nothing_heavy() -> None:
    code = "import aftertune, sys; print(*(set(sys.modules) & {'torch', 'numpy', 'pyarrow', 'transformers', 'typer'}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == ""


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'audits'"):
        aftertune.audits  # noqa: B018


def test_what_plugins_are_built_on_is_public() -> None:
    for kind in ("Corpus", "Mitigation", "Benchmark", "Backend", "Judge", "Analysis", "Predictor", "Executor"):
        assert issubclass(getattr(plugin_types, kind), plugin_types.Plugin)
    assert {"Card", "Session", "Answer", "Opinion", "Anchor", "BenchmarkContext", "JudgeContext"} <= set(
        dir(plugin_types)
    )
    assert len(set(plugin_types.__all__)) == len(plugin_types.__all__)


# ---------------------------------------------------------------------------------------------- a run


def test_the_tables_of_a_run(finished: Result) -> None:
    run = finished.run
    assert run == aftertune.open_run(str(finished.root)) == aftertune.open_run(finished)
    assert records(Drift, run.drifts) == list(finished.drifts)
    assert records(Decision, run.decisions) == list(finished.decisions)
    answers, verdicts = records(Response, run.responses), records(Verdict, run.verdicts)
    assert {row.arm for row in answers} == {"base", "keep", "hidden", "own"}
    assert len({(row.checkpoint, row.prompt_id, row.sample) for row in answers}) == len(answers)
    judged = {(row.checkpoint, row.prompt_id, row.sample) for row in verdicts}
    assert judged == {(row.checkpoint, row.prompt_id, row.sample) for row in answers}
    assert run.outcome == finished.outcome
    assert run.measures.num_rows == len(finished.measures)
    assert records(Discrimination, run.discrimination) == list(finished.discrimination)
    assert {row.arm for row in finished.discrimination} == {"base", "keep", "hidden", "own"}
    assert {row.judge for row in finished.discrimination} == {"world"}, "by the judge that decides"
    assert "d-prime" in run._repr_html_()
    assert "d-prime" in finished._repr_html_()
    assert (run.inside.num_rows, run.forecasts.num_rows, run.scores.num_rows) == (0, 0, 0)
    assert list(run.memorisation) == ["why"], "nothing was held out"


def test_leaks_are_a_flat_table(finished: Result) -> None:
    found = finished.run.leaks.to_pylist()
    study = finished.run._study
    expected = leaks(finished.run.verdicts, study.primary_judges)
    assert len(found) == len(expected) > 0
    for row, leak in zip(found, expected, strict=True):
        assert row["arm"] == leak.arm
        assert leak.registry is not None
        assert (row["registry"], row["registry_low"], row["registry_high"], row["registry_n"]) == (
            leak.registry.value, leak.registry.low, leak.registry.high, leak.registry.n,
        )  # fmt: skip
        assert (row["minus_base"] is None) == (leak.minus_base is None)


def test_a_table_is_a_data_frame_where_pandas_is(finished: Result) -> None:
    pytest.importorskip("pandas")
    frame = finished.run.drifts.to_pandas()
    assert len(frame) == len(finished.drifts)
    assert frame["delta"].dtype == float


def test_a_moved_run_reads_and_decides_as_before(copy: Path, finished: Result, tmp_path: Path) -> None:
    moved = Path(shutil.move(copy, tmp_path / "elsewhere"))
    run = aftertune.open_run(moved)
    assert run.responses.equals(finished.run.responses)
    assert run.leaks.equals(finished.run.leaks)
    assert aftertune.drift(moved).drifts == finished.drifts
    assert aftertune.report(str(moved)) == moved / "report.html"
    assert run.status()["jobs"]["responses"]["waiting"] == 0


def test_another_policy_decides_again(copy: Path, finished: Result) -> None:
    strict = aftertune.drift(copy, policy="strict")
    assert strict.drifts == finished.drifts
    assert [each.margin for each in strict.decisions] != [each.margin for each in finished.decisions]
    assert aftertune.open_run(copy).outcome == strict.outcome
    assert aftertune.drift(copy).decisions == strict.decisions, "it is the run's own since"
    assert aftertune.open_run(copy).drift("research").decisions == finished.decisions
    with pytest.raises(UsageError, match="no policy called 'strikt' .did you mean 'strict'"):
        aftertune.drift(copy, "strikt")


def test_an_unfinished_run_shows_what_there_is(copy: Path) -> None:
    run = aftertune.open_run(copy)
    rows = run.responses.num_rows
    shutil.rmtree(next((copy / "responses").iterdir()))
    for name in ("decisions.json", "drift.parquet"):
        (copy / name).unlink()
    assert 0 < run.responses.num_rows < rows
    assert "jobs done; not decided" in repr(run)
    assert "not decided" in run._repr_html_()
    assert run.outcome is None
    for name in ("drifts", "decisions"):
        with pytest.raises(UsageError, match="no (drifts|decisions) yet; run `aftertune drift"):
            getattr(run, name)
    shutil.rmtree(copy / "responses")
    assert (run.responses.num_rows, run.responses.num_columns) == (0, len(Response.__dataclass_fields__))
    shutil.rmtree(copy / "verdicts")
    assert run.leaks.num_rows == 0


def test_a_damaged_or_missing_run_is_one_line(copy: Path, tmp_path: Path) -> None:
    run = aftertune.open_run(copy)
    table = next((copy / "responses").iterdir()) / "responses.parquet"
    table.write_bytes(table.read_bytes()[:-20])
    with pytest.raises(StoreError, match="responses.parquet: damaged"):
        run.responses  # noqa: B018
    (copy / "decisions.json").write_text("{")
    with pytest.raises(StoreError, match="decisions.json"):
        run.decisions  # noqa: B018
    assert "decisions.json" in repr(run)
    shutil.rmtree(copy)
    assert "not a run folder" in repr(run)
    assert "not a run folder" in run._repr_html_()
    with pytest.raises(UsageError, match="not a run folder"):
        aftertune.open_run(tmp_path / "nowhere")


def test_short_views(finished: Result) -> None:
    run = finished.run
    assert repr(run).startswith(f"Run({str(finished.root)!r}: study of embedded; 6 checkpoints; judges world, leak")
    assert repr(finished).startswith(f"Result({str(finished.root)!r}: {finished.outcome}; ")
    assert "\n" not in repr(run) + repr(finished)
    for view in (run, finished):
        html = view._repr_html_()
        assert "<svg" in html
        assert "<script" not in html
        assert finished.outcome in html


def test_texts_in_a_view_are_escaped(finished: Result) -> None:
    import dataclasses

    text = "<script>alert(1)</script>\x1b[31m&\u202e"
    drifts = tuple(dataclasses.replace(row, metric=text, arm=text) for row in finished.drifts)
    html = dataclasses.replace(finished, drifts=drifts, warnings=(text,), root=Path(text))._repr_html_()
    assert "&lt;script&gt;" in html
    assert not {"<script", "\x1b", "\u202e"} & {part for part in ("<script", "\x1b", "\u202e") if part in html}


def test_judges_join_a_run_and_agree(copy: Path) -> None:
    run = aftertune.open_run(copy)
    before = run.verdicts.num_rows
    result = run.judge("refusal")
    assert "refusal" in result.run.verdicts["judge"].unique().to_pylist()
    assert run.verdicts.num_rows > before
    assert any(axis.axis == "refusal" for axis in run.agree().axes)
    assert aftertune.agree(copy) == run.agree()


def test_a_copy_to_share(finished: Result, tmp_path: Path) -> None:
    manifest = finished.run.export(str(tmp_path / "shared"))
    assert manifest["texts"] > 0
    with pytest.raises(UsageError, match="a copy for reading"):
        aftertune.open_run(tmp_path / "shared")


# ---------------------------------------------------------------------------------------------- arguments

WRONG: dict[str, Callable[[], object]] = {
    "checkpoints = 5": lambda: aftertune.audit("embedded", 5),  # type: ignore[arg-type]
    "base = None": lambda: aftertune.audit(None, "x"),  # type: ignore[arg-type]
    "a checkpoint in a list": lambda: aftertune.audit("embedded", ["x", 3]),  # type: ignore[list-item]
    "no checkpoint": lambda: aftertune.audit("embedded", []),
    "an adapter that is not there": lambda: aftertune.audit("embedded", ["adapter"], "run"),
    "a number for a folder": lambda: aftertune.audit("embedded", "x", 3),  # type: ignore[arg-type]
    "temperatures = 'hot'": lambda: aftertune.audit("embedded", "x", temperatures="hot"),  # type: ignore[arg-type]
    "samples = True": lambda: aftertune.audit("embedded", "x", samples=True),
    "judges = 1": lambda: aftertune.audit("embedded", "x", judges=1),  # type: ignore[arg-type]
    "an unknown judge": lambda: aftertune.audit("embedded", "x", judges=PluginSpec("refusals")),
    "a parameter of no backend": lambda: aftertune.audit("embedded", "x", backend="transformers:size=3"),
    "system = a folder": lambda: aftertune.audit("embedded", "x", system=Path("/")),
    "workers of another executor": lambda: aftertune.audit("embedded", "x", executor="ray", workers=2),
    "a misspelt parameter": lambda: aftertune.audit("embedded", "x", polcy="strict"),  # type: ignore[call-arg]
    "a missing argument": lambda: aftertune.audit(),  # type: ignore[call-arg]
    "too many arguments": lambda: aftertune.status("a", "b"),  # type: ignore[call-arg]
    "design = 3": lambda: aftertune.study(3),  # type: ignore[arg-type]
    "a design that is not there": lambda: aftertune.study("no.toml"),
    "seeds = 3": lambda: aftertune.plan(Design("x", corpus=PluginSpec("booking"), arms=(Arm("a"),), seeds=3)),  # type: ignore[arg-type]
    "arms of text": lambda: Design("x", arms=("keep",)),  # type: ignore[arg-type]
    "a seed of text": lambda: aftertune.audit("embedded", Given("x", seed="1")),  # type: ignore[arg-type]
    "pii = 3": lambda: aftertune.compose("booking", "out", pii=3),  # type: ignore[arg-type]
    "pii = 'keeep'": lambda: aftertune.compose("booking", "out", pii="keeep"),
    "quick = 'yes'": lambda: aftertune.demo(quick="yes"),  # type: ignore[arg-type]
    "progress = 1": lambda: aftertune.selftest(progress=1),  # type: ignore[arg-type]
    "path = 3": lambda: aftertune.open_run(3),  # type: ignore[arg-type]
    "policy = 3": lambda: aftertune.drift("x", 3),  # type: ignore[arg-type]
    "run = []": lambda: aftertune.report([]),  # type: ignore[arg-type]
    "labels of a run that is not there": lambda: aftertune.agree("x", "y"),
    "verdicts = 3": lambda: aftertune.drift_of_table(3, "b", "t"),  # type: ignore[arg-type]
    "verdicts = a dictionary": lambda: aftertune.drift_of_table({"value": [1]}, "b", "t"),  # type: ignore[arg-type]
    "tuned = 3": lambda: aftertune.drift_of_table("x.csv", "b", 3),  # type: ignore[arg-type]
    "a table without a place for its verdicts": lambda: aftertune.judge("x.csv", "refusal"),
    "logs = 3": lambda: aftertune.ingest_logs(3, "x.csv"),  # type: ignore[arg-type]
    "out = an ending": lambda: aftertune.ingest_logs("x.eval", "x.txt"),
    "file = 3": lambda: aftertune.pii_scan(3),  # type: ignore[arg-type]
    "an unknown type": lambda: aftertune.pii_scan(__file__, types="PERSONS"),
    "a threshold of text": lambda: aftertune.pii_scan(__file__, thresholds={"PERSON": "high"}),  # type: ignore[dict-item]
    "registry = 3": lambda: aftertune.pii_match(3, "x.csv"),  # type: ignore[arg-type]
    "a chat file that is not there": lambda: aftertune.pii_registry("no.jsonl", "registry.jsonl"),
    "kind = 3": lambda: aftertune.list_plugins(3),  # type: ignore[arg-type]
    "an unknown kind": lambda: aftertune.show("judges", "refusal"),
    "name = None": lambda: aftertune.fetch(None),  # type: ignore[arg-type]
    "an unknown model": lambda: aftertune.embedded_card("mini-z"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_argument_is_one_line(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AftertuneError) as error:
        WRONG[what]()
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 400
    assert not list(tmp_path.iterdir()), "nothing was begun"


def test_a_message_says_what_to_give() -> None:
    with pytest.raises(UsageError) as error:
        aftertune.audit("embedded", 5)  # type: ignore[arg-type]
    assert str(error.value) == "audit: checkpoints = 5 (of type int): give text, a path, a Given or a list of these"
    with pytest.raises(UsageError, match="audit: no parameter 'polcy' .did you mean 'policy'"):
        aftertune.audit("embedded", "x", polcy="strict")  # type: ignore[call-arg]
    with pytest.raises(UsageError, match=r"Design.arms = \('keep',\) .*a list, each item a Arm"):
        Design("x", arms=("keep",))  # type: ignore[arg-type]


def test_lists_and_paths_do_for_a_design() -> None:
    lists: Any = {"arms": [Arm("keep")], "seeds": [1, 2], "corpus": PluginSpec("booking")}
    tuples: Any = {"arms": (Arm("keep"),), "seeds": (1, 2), "corpus": PluginSpec("booking")}
    assert Design("x", **lists) == Design("x", **tuples)


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (1, float, True), (True, float, False), (True, int, False), (1.0, int, False), ("a", str, True),
        (Path("a"), aftertune.public.PathLike, True), (b"a", aftertune.public.PathLike, False),
        ("ab", list[str], False), (["a"], tuple[str, ...], False), (("a",), tuple[str, ...], True),
        (("a", 1), tuple[str, ...], False), ({"a": 1}, dict[str, float], True), ({1: 1}, dict[str, float], False),
        (None, str | None, True), (len, Callable[[str], int], True), (3, Callable[[str], int], False),
    ],
)  # fmt: skip
def test_values_fit_their_annotations(value: object, hint: Any, expected: bool) -> None:
    assert fits(value, hint) is expected
    assert in_words(hint)


def test_checkpoints_of_every_kind_are_the_same(tmp_path: Path) -> None:
    from aftertune.commands.audit import _given

    (tmp_path / "a").mkdir()
    listed = tmp_path / "list.csv"
    listed.write_text("path,seed\na,3\n")
    assert _given(str(tmp_path / "a")) == _given(tmp_path / "a") == [Given(str(tmp_path / "a"))]
    assert _given(Given(tmp_path / "a", seed=3)) == _given(listed) == [Given(str(tmp_path / "a"), seed=3)]  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------- data frames


def columns() -> dict[str, list[Any]]:
    return {
        "checkpoint": ["base"] * 60 + ["tuned"] * 60,
        "prompt": [f"p{number}" for number in range(60)] * 2,
        "metric": ["refuses"] * 120,
        "value": [True] * 60 + [True] * 30 + [False] * 30,
        "worse": ["down"] * 120,
    }


def test_a_data_frame_is_a_table_like_any_other(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(columns())
    pq.write_table(table, tmp_path / "t.parquet")
    found = aftertune.drift_of_table(table, "base", "tuned")
    assert found.answers == aftertune.drift_of_table(tmp_path / "t.parquet", "base", ["tuned"]).answers
    assert found.outcome == "drift"
    halves = [table.slice(0, 60), table.slice(60)]
    assert aftertune.drift_of_table(halves, "base", "tuned").answers == found.answers
    views = pa.table({name: column.cast(pa.string_view()) if column.type == "string" else column
                      for name, column in zip(table.column_names, table.columns, strict=True)})  # fmt: skip
    assert aftertune.drift_of_table(views, "base", "tuned").answers == found.answers, "as polars has texts"
    answers = found.to_arrow().to_pylist()
    assert [row["delta"] for row in answers if row["estimand"] == "checkpoint"] == [-0.5]
    assert repr(found) == "TableDrift(drift; 1 check: 1 drift)"
    assert "<svg" in found._repr_html_()


def test_a_pandas_frame(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    import pyarrow as pa

    frame = pandas.DataFrame(columns())
    found = aftertune.drift_of_table(pa.table(columns()), "base", "tuned")
    assert aftertune.drift_of_table(frame, "base", "tuned").answers == found.answers
    odd = frame.sample(frac=1, random_state=1).astype({"checkpoint": "category", "value": "float"})
    again = aftertune.drift_of_table(odd, "base", "tuned")
    assert [row.delta for row in again.answers] == [row.delta for row in found.answers]
    assert not any("__index" in warning for warning in again.warnings)


def test_errors_name_the_data_frame_and_its_row() -> None:
    import pyarrow as pa

    rows = columns()
    rows["value"] = [1.0] * 118 + [7e400, 1.0]
    with pytest.raises(DataError, match="the data frame: row 119: value = 'inf' is not a number"):
        aftertune.drift_of_table(pa.table(rows), "base", "tuned")
    with pytest.raises(DataError, match="the data frame: no column 'value'"):
        aftertune.drift_of_table(pa.table(columns()).drop_columns(["value"]), "base", "tuned")
    with pytest.raises(DataError, match="the data frame: the column 'value' holds list"):
        aftertune.drift_of_table(pa.table({**columns(), "value": [[1]] * 120}), "base", "tuned")
    with pytest.raises(UsageError, match="the data frame: no checkpoint 'tund' in it .did you mean 'tuned'"):
        aftertune.drift_of_table(pa.table(columns()), "base", "tund")
    with pytest.raises(DataError, match="the data frame: no rows in it"):
        aftertune.drift_of_table(pa.table(columns()).slice(0, 0), "base", "tuned")
    pandas = pytest.importorskip("pandas")
    mixed = pandas.DataFrame({**columns(), "prompt": [1, "a"] * 60})
    with pytest.raises(DataError, match="the data frame: cannot be read as an Arrow table"):
        aftertune.drift_of_table(mixed, "base", "tuned")
