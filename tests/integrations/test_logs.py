"""Logs of Inspect AI come back in: judged, converted, compared, or refused in one line."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.integrations import conftest as made

from aftertune import drift_of_table
from aftertune.cli import main
from aftertune.data import table_files as rows
from aftertune.errors import AftertuneError, DataError, UsageError
from aftertune.ingest import logs as library
from aftertune.ingest import responses
from aftertune.ingest.log_records import number

Logs = tuple[Path, Path]


def answers(found: Any, metric: str) -> dict[str, Any]:
    (one,) = (row for row in found.answers if (row.metric, row.estimand) == (metric, "checkpoint"))
    return dataclasses.asdict(one)


def test_two_logs_are_paired_by_prompt_with_the_benchmarks_own_directions(logs: Logs) -> None:
    found = drift_of_table([logs[0], logs[1]], "mockllm/base", "mockllm/tuned")
    lost = answers(found, "xstest/unsafe/refusal=full")
    assert (lost["base"], lost["tuned"], lost["worse"]) == (1.0, 0.0, "down")
    assert answers(found, "xstest/safe/refusal=full")["worse"] == "up"
    assert lost["n_clusters"] == 6
    assert lost["unjudged_tuned"] == 2, "one prompt ended with an error, in both epochs"
    assert lost["decision"] == "drift"
    assert found.outcome == "drift"
    assert any("2 samples ended with an error" in warning for warning in found.warnings)
    assert {row.metric for row in found.answers} == {
        "xstest/safe/refusal=full",
        "xstest/safe/refusal=none",
        "xstest/safe/coherence=coherent",
        "xstest/unsafe/refusal=full",
        "xstest/unsafe/harm=harmful",
        "xstest/unsafe/coherence=coherent",
    }


def test_a_model_against_itself_is_no_drift_and_needs_names(logs: Logs) -> None:
    twice = [f"one={logs[0]}", f"two={logs[0]}"]
    found = drift_of_table(twice, "one", "two")
    assert answers(found, "xstest/unsafe/refusal=full")["delta"] == 0.0
    assert found.outcome != "drift"
    once = drift_of_table([logs[0], logs[0], logs[1]], "mockllm/base", "mockllm/tuned")
    assert once.answers == drift_of_table([*logs], "mockllm/base", "mockllm/tuned").answers
    assert any("left out: of this model and task" in line for line in once.warnings)


def test_a_converted_table_says_the_same_as_the_logs(logs: Logs, tmp_path: Path) -> None:
    straight = drift_of_table([*logs], "mockllm/base", "mockllm/tuned")
    for ending in rows.ENDINGS:
        library.ingest_logs(logs, tmp_path / f"v{ending}")
        assert drift_of_table(tmp_path / f"v{ending}", "mockllm/base", "mockllm/tuned").answers == straight.answers
    table = pq.read_table(tmp_path / "v.parquet")
    assert table.num_rows == 2 * made.PROMPTS * 2 * 3
    assert set(table["repeat"].to_pylist()) == {0, 1}
    mixed = drift_of_table([f"a={logs[0]}", tmp_path / "v.csv"], "a", "mockllm/tuned")
    assert [row.delta for row in mixed.answers] == [row.delta for row in straight.answers]


def test_the_responses_of_a_log_are_judged(logs: Logs, tmp_path: Path) -> None:
    counts = responses.judge_table(logs[1], ["refusal", "coherence"], tmp_path / "out.jsonl")
    found = [row for _, row in rows.read(tmp_path / "out.jsonl", ("checkpoint", "prompt", "response", "cluster"))]
    assert len(found) == 2 * made.PROMPTS * 3
    assert counts["refusal", "error"] == counts["harm", "error"] == counts["coherence", "error"] == 2
    broken = [row for row in found if row["status"] == "error"]
    assert all("went away" in row["why"] and row["label"] is None for row in broken)
    assert {row["response"] for row in found if row["status"] == "ok"} == {made.ANSWER}
    assert {row["repeat"] for row in found} == {0, 1}


def foreign(folder: Path, log_format: str = "eval") -> Path:
    """Return the log of a task that is not ours, with every kind of score."""
    import inspect_ai
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.scorer import Score, match, mean, scorer

    @scorer(metrics=[mean()], name="words")
    def words() -> Any:
        async def score(state: Any, target: Any) -> Score:
            return Score(value="fine")

        return score

    @scorer(metrics={"*": [mean()]}, name="both")
    def both() -> Any:
        async def score(state: Any, target: Any) -> Score:
            return Score(value={"a": 1, "b": None if state.sample_id == 1 else 0.5})

        return score

    @scorer(metrics=[mean()], name="each")
    def each() -> Any:
        async def score(state: Any, target: Any) -> Score:
            return Score(value=[0.25, True])

        return score

    long = "What is two and two, and please think of it in peace? " * 5
    task = inspect_ai.Task(
        name="sums",
        dataset=MemoryDataset([Sample("2+2=", target="4", id=1), Sample(long, target="5", id=2)]),
        scorer=[match(), words(), both(), each()],
    )
    return made.evaluate(task, made.scripted("sums", lambda _: "4"), folder, log_format=log_format)


@pytest.mark.parametrize("log_format", ["eval", "json"])
def test_every_kind_of_score_has_its_place(tmp_path: Path, log_format: str) -> None:
    path = foreign(tmp_path, log_format)
    with pytest.raises(UsageError, match="which way is worse is not known of sums/both/a, sums/both/b, sums/each/1"):
        library.ingest_logs([path], tmp_path / "v.jsonl")
    assert not (tmp_path / "v.jsonl").exists()
    worse = {"sums/both/*": "up", "sums/each/*": "down"}
    converted = library.ingest_logs([path], tmp_path / "v.jsonl", worse=worse)
    found = {(row["prompt"], row["metric"]): row for _, row in rows.read(tmp_path / "v.jsonl", library.COLUMNS)}
    assert found["sums/1", "sums/match"]["value"] == 1.0
    assert found["sums/2", "sums/match"]["value"] == 0.0
    assert found["sums/1", "sums/both/b"]["value"] is None
    assert found["sums/2", "sums/both/b"]["value"] == 0.5
    assert found["sums/1", "sums/each/1"]["value"] == 0.25
    assert found["sums/1", "sums/each/2"]["value"] == 1.0
    assert ("sums/1", "sums/words") not in found
    assert {row["metric"]: row["worse"] for row in found.values()} == {
        "sums/match": "down", "sums/both/a": "up", "sums/both/b": "up", "sums/each/1": "down", "sums/each/2": "down",
    }  # fmt: skip
    said = " ".join(converted.warnings)
    assert "sums/words left out: it holds words (fine)" in said


def test_a_policy_says_the_direction_where_nothing_else_does(tmp_path: Path) -> None:
    table = tmp_path / "v.csv"
    lines = [f"{name},p{i},t/score,{value},down" for name, value in (("b", 1), ("t", 0)) for i in range(30)]
    table.write_text("\n".join(["checkpoint,prompt,metric,value,worse", *lines]) + "\n")
    assert drift_of_table(table, "b", "t").outcome == "drift"
    policy = tmp_path / "p.toml"
    policy.write_text('[[metric]]\nmatch = "t/score"\nmargin = 0.1\nworse = "up"\n')
    with pytest.raises(
        UsageError, match=r"t/score: the column 'worse', or the log, says that lower is worse, policy p"
    ):
        drift_of_table(table, "b", "t", policy=policy)
    table.write_text(table.read_text().replace(",down", ",").replace(",worse", ",cluster"))
    assert drift_of_table(table, "b", "t", policy=policy).outcome == "pass"
    table.write_text("checkpoint,prompt,metric,value,worse\nb,p,m,1,down\nt,p,m,1,up\n")
    with pytest.raises(DataError, match=r"v.csv:3: worse = 'up', but other rows of m say 'down'"):
        drift_of_table(table, "b", "t")
    table.write_text("checkpoint,prompt,metric,value,worse\nb,p,m,1,lower\nt,p,m,1,lower\n")
    with pytest.raises(DataError, match=r"v.csv:2: worse = 'lower' is neither 'up' nor 'down'"):
        drift_of_table(table, "b", "t")


def test_prompts_that_were_sent_with_other_messages_are_no_pairs(tmp_path: Path) -> None:
    table = tmp_path / "v.csv"
    lines = [f"{n},p{i},harm,0,{'x' if n == 'b' or i else 'y'}" for n in "bt" for i in range(30)]
    table.write_text("\n".join(["checkpoint,prompt,metric,value,message_hash", *lines]) + "\n")
    found = drift_of_table(table, "b", "t")
    assert answers(found, "harm")["n_prompts"] == 29
    assert any("other messages" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("C", 1.0),
        ("I", 0.0),
        ("P", 0.5),
        ("N", 0.0),
        (True, 1.0),
        (0.3, 0.3),
        ("0.5", 0.5),
        ("yes", 1.0),
        ("fine", None),
    ],
)
def test_grades_count_as_in_inspects_own_accuracy(value: Any, expected: float | None) -> None:
    from inspect_ai.scorer import value_to_float

    assert number(value) == expected
    if expected is not None:
        assert value_to_float()(value) == expected


def test_what_is_missing_or_infinite_is_not_a_number() -> None:
    for value in (None, float("nan"), float("inf"), "nan", ""):
        found = number(value)
        assert found is not None
        assert found != found


def truncated(path: Path, out: Path) -> Path:
    out.write_bytes(path.read_bytes()[:-200])
    return out


def without(path: Path, out: Path, *, samples: int, header: bool = True, status: str | None = None) -> Path:
    """Return a copy with some samples only, as a stopped run leaves it."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        left = samples
        for name in dict.fromkeys(old.namelist()):
            if name.startswith("samples/"):
                left -= 1
                if left < 0:
                    continue
            data = old.read(name)
            if name == "header.json":
                if not header:
                    continue
                if status:
                    data = json.dumps({**json.loads(data), "status": status}).encode()
            new.writestr(name, data)
    return out


def test_a_stopped_log_is_read_as_far_as_it_goes_and_says_so(logs: Logs, tmp_path: Path) -> None:
    total = made.PROMPTS * 2
    for path in (
        without(logs[0], tmp_path / "a.eval", samples=10, status="cancelled"),
        without(logs[0], tmp_path / "b.eval", samples=10, header=False),
    ):
        log = library.open_log(path)
        assert log is not None
        assert len(list(log.answers)) == 10
        assert any(f"10 of {total} samples are there" in warning for warning in log.warnings)
    empty = without(logs[0], tmp_path / "c.eval", samples=0, status="error")
    with pytest.raises(DataError, match="status 'error' and no sample in it"):
        library.open_log(empty)


def test_a_damaged_or_wrong_file_is_one_line(logs: Logs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.eval").write_text("not a zip")
    (tmp_path / "empty.eval").write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "other.eval", "w") as other:
        other.writestr("a.txt", "hello")
    with zipfile.ZipFile(tmp_path / "odd.eval", "w") as odd:
        odd.writestr("header.json", '{"status": "success", "eval": 3}')
    (tmp_path / "log.json").write_text('{"version": 2, "status": "success", "eval": {}}')
    (tmp_path / "cut.json").write_text('{"version": 2, "status": "success", "eval": {"task": ')
    (tmp_path / "results_2026-01-01T00-00-00.0.json").write_text('{"results": {}}')
    truncated(logs[0], tmp_path / "cut.eval")
    bad = bytearray(logs[0].read_bytes())
    bad[2000:2400] = bytes(400)
    (tmp_path / "bad.eval").write_bytes(bad)
    for path in [*sorted(tmp_path.glob("*.*")), tmp_path / "nowhere.eval"]:
        for command in (
            ["judge", str(path), "--judge", "refusal", "-o", str(tmp_path / "o.csv")],
            ["ingest", str(path), "-o", str(tmp_path / "o.csv")],
            ["drift", "--verdicts", str(path), "--base", "a", "--tuned", "b"],
        ):
            with pytest.raises(SystemExit) as left:
                main(command)
            said = capsys.readouterr().err
            assert left.value.code == 2, (path, said)
            assert said.count("\n") == 1
            assert said.startswith("aftertune: ")
            assert path.name in said
    assert not (tmp_path / "o.csv").exists()


def test_without_the_package_the_extra_is_named(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    real = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("inspect_ai"):
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UsageError, match=r"pip install 'aftertune\[inspect\]'"):
        library.open_log(logs[0])


def test_inspect_scores_a_log_again_with_our_judge_and_it_is_compared(tmp_path: Path) -> None:
    import inspect_ai
    from inspect_ai.log import read_eval_log, write_eval_log

    from aftertune.integrations.inspect_ai.scorers import SCORERS

    path = foreign(tmp_path)
    scored = inspect_ai.score(read_eval_log(str(path)), SCORERS["coherence"](), action="append", display="none")
    write_eval_log(scored, str(path))
    library.ingest_logs([path], tmp_path / "v.jsonl", worse={"sums/both/*": "up", "sums/each/*": "up"})
    found = {(row["prompt"], row["metric"]): row for _, row in rows.read(tmp_path / "v.jsonl", library.COLUMNS)}
    assert found["sums/1", "sums/coherence=coherent"]["value"] == 1.0
    assert found["sums/1", "sums/coherence=coherent"]["worse"] == "down"
    assert found["sums/1", "sums/coherence=coherent"]["judge"] == "coherence"


def test_epochs_that_the_log_reduced_give_the_logs_own_figures(tmp_path: Path) -> None:
    """One of four tries is right for every sample of the base: 100 % by `max`, 25 % by the mean."""
    import inspect_ai
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.log import read_eval_log
    from inspect_ai.scorer import match

    def sums(*reducers: str) -> Any:
        data = MemoryDataset([Sample(f"{n}+0=", target=str(n), id=n) for n in range(6)])
        return inspect_ai.Task(name="sums", dataset=data, scorer=match(), epochs=inspect_ai.Epochs(4, [*reducers]))

    def model(name: str, lost: int) -> Any:
        tries: dict[str, int] = {}

        def answer(prompt: str) -> str:
            tries[prompt] = tries.get(prompt, 0) + 1
            number_ = prompt.partition("+")[0]
            return number_ if tries[prompt] == 4 and int(number_) >= lost else "no"

        return made.scripted(name, answer)

    paths = [
        made.evaluate(sums("max", "mean", "at_least_2"), model(name, lost), tmp_path / name)
        for name, lost in (("base", 0), ("tuned", 2))
    ]
    found = drift_of_table(paths, "mockllm/base", "mockllm/tuned")
    for metric, rates in {"max": (1.0, 4 / 6), "mean": (0.25, 1 / 6), "at_least_2": (0.0, 0.0)}.items():
        own = answers(found, f"sums/match{'' if metric == 'mean' else f',{metric}'}")
        assert (own["base"], own["tuned"], own["n_prompts"]) == pytest.approx((*rates, 6))
        assert own["unjudged_base"] == own["unjudged_tuned"] == 0
        for path, rate in zip(paths, rates, strict=True):
            results = read_eval_log(str(path)).results
            assert results is not None
            (score,) = (each for each in results.scores if each.reducer == metric)
            assert score.metrics["accuracy"].value == pytest.approx(rate)
    assert not any("the log's own accuracy is" in line for line in found.warnings)
    averaged = made.evaluate(sums("mean"), model("other", 0), tmp_path / "other")
    with pytest.raises(DataError, match="its epochs were reduced otherwise than in"):
        drift_of_table([paths[0], averaged], "mockllm/base", "mockllm/other")


def test_a_folder_without_logs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AftertuneError, match="no log in it"):
        library.ingest_logs([tmp_path], tmp_path / "v.csv")
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="no log of a known tool"):
        library.ingest_logs([tmp_path / "t.csv"], tmp_path / "v.csv")
    with pytest.raises(UsageError, match=r"nowhere: no such file"):
        library.ingest_logs([tmp_path / "nowhere"], tmp_path / "v.csv")
