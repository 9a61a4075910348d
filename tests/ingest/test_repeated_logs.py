"""Logs of one evaluation that was retried, repeated, reduced or written twice: one of them counts, or none does."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune import drift_of_table
from aftertune.cli import main
from aftertune.data import table_files as rows
from aftertune.errors import DataError
from aftertune.ingest import logs
from aftertune.ingest.log_records import Log

Table = list[dict[str, Any]]


def converted(folder: Path, *sources: Path | str, **more: Any) -> tuple[Table, str]:
    """Return the rows of the table and all warnings."""
    said = logs.ingest_logs(list(sources), folder / "v.jsonl", **more).warnings
    return [row for _, row in rows.read(folder / "v.jsonl", ("metric",))], "\n".join(said)


# ---------------------------------------------------------------------------------------------- Inspect AI


def sample(number: int, value: Any, epoch: int = 1, error: bool = False) -> dict[str, Any]:
    choice = {"message": {"role": "assistant", "content": "4"}, "stop_reason": "stop"}
    made = {"id": number, "epoch": epoch, "input": f"{number}", "target": "4"}
    made |= {"output": {"model": "m", "choices": [choice]}, "scores": {"match": {"value": value}}}
    return made | ({"error": {"message": "away", "traceback": "", "traceback_ansi": ""}} if error else {})


def inspect_log(
    folder: Path,
    name: str,
    samples: list[dict[str, Any]],
    *,
    day: int = 1,
    status: str = "success",
    own: float | None = None,
    reductions: Any = None,
    **spec: Any,
) -> Path:
    pytest.importorskip("inspect_ai", reason="the extra `inspect` is not installed")
    ids = sorted({each["id"] for each in samples})
    head: dict[str, Any] = {"created": f"2026-01-{day:02}T00:00:00+00:00", "task": "sums", "model": "mock/m"}
    head |= {"config": {"epochs": 1}, "dataset": {"sample_ids": ids}, **spec}
    failed = sum("error" in each for each in samples)
    metrics = {} if own is None else {"accuracy": {"name": "accuracy", "value": own}}
    score = {"name": "match", "scorer": "match", "metrics": metrics}
    results = {"total_samples": len(samples), "completed_samples": len(samples) - failed, "scores": [score]}
    log = {"version": 2, "status": status, "eval": head, "samples": samples, "results": results}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(log | ({"reductions": reductions} if reductions else {})))
    return path


def inspected(tmp_path: Path, name: str, value: int, n: int = 3, **more: Any) -> Path:
    return inspect_log(tmp_path, name, [sample(i, value) for i in range(n)], **more)


def test_of_a_repeated_evaluation_the_newest_that_succeeded_counts(tmp_path: Path) -> None:
    paths = [
        inspected(tmp_path, "first", 1, day=1),
        inspected(tmp_path, "second", 2, day=2),
        inspected(tmp_path, "failed", 3, day=3, status="error"),
        inspected(tmp_path, "limited", 4, n=1, day=4),
    ]
    for order in (paths, paths[::-1]):
        made, said = converted(tmp_path, *order)
        assert {row["value"] for row in made} == {2.0}
        assert len(made) == 3
        assert sum("left out: of this model and task" in line for line in said.splitlines()) == 3


def test_a_retry_without_errors_goes_before_its_first_try_with_some(tmp_path: Path) -> None:
    first = inspect_log(tmp_path, "a", [sample(i, 1, error=i < 2) for i in range(4)], day=1)
    retried = inspected(tmp_path, "b", 1, n=4, day=2)
    made, said = converted(tmp_path, first, retried)
    assert [row["value"] for row in made] == [1.0] * 4
    assert f"{first}: left out" in said


def test_a_try_that_failed_at_once_is_left_out_where_another_has_the_answers(tmp_path: Path) -> None:
    failed = inspect_log(tmp_path, "a", [], status="error")
    retried = inspected(tmp_path, "b", 1, n=40, day=2)
    tuned = inspected(tmp_path, "c", 0, n=40, model="mock/t")
    with pytest.raises(DataError, match="status 'error' and no sample in it; run the evaluation again"):
        converted(tmp_path, failed, tuned)
    made, said = converted(tmp_path, failed, retried, tuned)
    assert {(row["checkpoint"], row["value"]) for row in made} == {("mock/m", 1.0), ("mock/t", 0.0)}
    assert f"{failed}: status 'error' and no sample in it; left out: another log of its model and task counts" in said
    found = drift_of_table([failed, tuned, retried], "mock/m", "mock/t")
    assert [(row.base, row.tuned) for row in found.answers if row.estimand == "checkpoint"] == [(1.0, 0.0)]


def test_a_log_without_scores_goes_behind_one_with_some(tmp_path: Path) -> None:
    scored = inspected(tmp_path, "a", 1)
    bare = [{key: value for key, value in sample(i, 0).items() if key != "scores"} for i in range(3)]
    later = inspect_log(tmp_path, "b", bare, day=2)
    text = json.loads(later.read_text())
    text["results"]["scores"] = []
    later.write_text(json.dumps(text))
    made, said = converted(tmp_path, later, scored)
    assert [row["value"] for row in made] == [1.0] * 3
    assert f"{later}: left out" in said


def test_the_same_settlement_holds_where_logs_are_compared_directly(tmp_path: Path) -> None:
    bases = [inspected(tmp_path, "old", 0, n=40), inspected(tmp_path, "new", 1, n=40, day=2)]
    tuned = inspected(tmp_path, "tuned", 0, n=40)
    named = [f"b={path}" for path in bases]
    found = drift_of_table([*named, f"t={tuned}"], "b", "t")
    assert [(row.base, row.tuned) for row in found.answers if row.estimand == "checkpoint"] == [(1.0, 0.0)]
    assert found.outcome == "drift"
    assert any(f"{bases[0]}: left out" in line for line in found.warnings)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"model_generate_config": {"temperature": 0.7}}, "temperature: '0.7', there ''"),
        ({"model_generate_config": {"system_message": "Be brief."}}, "system_message: 'Be brief.', there ''"),
        ({"task_args": {"subset": "b"}}, "task arguments"),
        ({"solver": "cot"}, "solver: 'cot'"),
    ],
)
def test_logs_that_were_asked_otherwise_are_not_repeats(tmp_path: Path, spec: dict[str, Any], said: str) -> None:
    one, other = inspected(tmp_path, "a", 1), inspected(tmp_path, "b", 0, day=2, **spec)
    with pytest.raises(DataError, match=f"of the same model and task as .*asked otherwise.*{said}"):
        converted(tmp_path, one, other)
    assert not (tmp_path / "v.jsonl").exists()
    made, _ = converted(tmp_path, f"x={one}", f"y={other}")
    assert {row["checkpoint"] for row in made} == {"x", "y"}


def test_shards_of_samples_are_kept_beside_each_other(tmp_path: Path) -> None:
    first = inspect_log(tmp_path, "a", [sample(i, 1) for i in range(3)])
    second = inspect_log(tmp_path, "b", [sample(i, 0) for i in range(3, 6)])
    made, said = converted(tmp_path, first, second)
    assert [row["value"] for row in made] == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    assert "left out" not in said


def test_a_sentinel_in_the_logs_is_no_rate(tmp_path: Path) -> None:
    first = inspect_log(tmp_path, "a", [sample(i, 999 if i == 1 else 1) for i in range(4)])
    second = inspected(tmp_path, "b", 0, n=4, model="mock/t")
    made, said = converted(tmp_path, first, second)
    assert [row["value"] for row in made] == [1.0, None, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    assert "sums/match: 999 in 1 of 8 scores stands for a missing value" in said


@pytest.mark.parametrize(("own", "shown"), [(0.5, False), (0.50004, False), (0.6, True)])
def test_the_logs_own_figure_is_shown_where_it_is_another(tmp_path: Path, own: float, shown: bool) -> None:
    path = inspect_log(tmp_path, "a", [sample(i, i % 2) for i in range(4)], own=own)
    _, said = converted(tmp_path, path)
    assert ("sums/match: the log's own accuracy is 0.6, the mean of its scores that have a value 0.5" in said) == shown


# ---------------------------------------------------------------------------------------------- epochs

TRIES = {"a": [1, 0, 0, 1], "b": [0, 0, 0, 0], "c": [1, 1, 1, 0]}


@pytest.mark.parametrize(
    ("reducer", "expected"),
    [
        ("max", [1, 0, 1]),
        ("mode", [1, 0, 1]),
        ("median", [0.5, 0, 1]),
        ("at_least_2", [1, 0, 1]),
        ("at_least_3", [0, 0, 1]),
        ("pass_at_2", [1 - 1 / 6, 0, 1]),
        ("pass_k_2", [1 / 6, 0, 0.5]),
    ],
)
def test_every_reducer_of_inspect_is_honoured(tmp_path: Path, reducer: str, expected: list[float]) -> None:
    samples = [sample(ord(id_), value, epoch) for id_, tries in TRIES.items() for epoch, value in enumerate(tries, 1)]
    path = inspect_log(tmp_path, "a", samples, config={"epochs": 4, "epochs_reducer": [reducer]})
    made, said = converted(tmp_path, path)
    assert [row["metric"] for row in made] == [f"sums/match,{reducer}"] * 3
    assert [row["value"] for row in made] == pytest.approx(expected)
    assert f"asked 4 times, and counts once, by the log's own reducer '{reducer}'" in said


def test_the_reductions_in_a_log_go_before_any_that_could_be_made(tmp_path: Path) -> None:
    samples = [sample(n, "C", epoch) for n in (1, 2) for epoch in (1, 2)]
    config = {"epochs": 2, "epochs_reducer": ["their_own"]}
    own = [{"scorer": "match", "reducer": "their_own", "samples": [{"value": 0.25, "sample_id": 1}]}]
    made, _ = converted(tmp_path, inspect_log(tmp_path, "a", samples, config=config, reductions=own))
    assert [(row["prompt"], row["value"]) for row in made] == [("sums/1", 0.25), ("sums/2", None)]
    with pytest.raises(DataError, match="reduced by 'their_own', which cannot be repeated here"):
        converted(tmp_path, inspect_log(tmp_path, "b", samples, config=config))


@pytest.mark.parametrize(
    ("config", "refused"),
    [
        ({"epochs": 4, "epochs_reducer": ["max"]}, False),
        ({"epochs": 8, "epochs_reducer": ["max"]}, True),
        ({"epochs": 4, "epochs_reducer": ["mode"]}, True),
        ({"epochs": 4}, True),
        ({"epochs": 1}, True),
    ],
)
def test_the_best_of_four_is_not_compared_with_the_best_of_eight(
    tmp_path: Path, config: dict[str, Any], refused: bool
) -> None:
    def of(name: str, own: dict[str, Any]) -> Path:
        samples = [sample(n, n % 2, epoch) for n in range(3) for epoch in range(1, own["epochs"] + 1)]
        return inspect_log(tmp_path, name, samples, config=own, model=f"mock/{name}")

    paths = [of("b", {"epochs": 4, "epochs_reducer": ["max"]}), of("t", config)]
    if refused:
        with pytest.raises(DataError, match="its epochs were reduced otherwise than in"):
            drift_of_table(paths, "mock/b", "mock/t")
    else:
        assert {row.metric for row in drift_of_table(paths, "mock/b", "mock/t").answers} == {"sums/match,max"}


def test_two_models_that_were_asked_otherwise_are_told(tmp_path: Path) -> None:
    paths = [
        inspected(tmp_path, name, 1, n=40, model=f"mock/{name}", model_generate_config={"temperature": heat})
        for name, heat in (("b", 0.0), ("t", 1.0))
    ]
    found = drift_of_table(paths, "mock/b", "mock/t")
    said = f"{paths[1]}: the task was asked otherwise than in {paths[0]}: temperature '1.0', there '0.0'"
    assert said in found.warnings


@pytest.mark.parametrize("config", [{"epochs": 2}, {"epochs": 2, "epochs_reducer": ["mean"]}, {"epochs": 1}])
def test_epochs_that_are_averaged_stay_repeats(tmp_path: Path, config: dict[str, Any]) -> None:
    samples = [sample(1, epoch - 1, epoch) for epoch in range(1, config["epochs"] + 1)]
    made, said = converted(tmp_path, inspect_log(tmp_path, "a", samples, config=config))
    assert [(row["metric"], row["repeat"]) for row in made] == [("sums/match", k) for k in range(config["epochs"])]
    assert "reducer" not in said


# ---------------------------------------------------------------------------------------------- lm-evaluation-harness


def harness_log(
    folder: Path, time: str, values: list[dict[str, float]], *, results: dict[str, Any] | None = None, **line: Any
) -> Path:
    """Write a sample log of the task `sums`: a line for each mapping of metrics, three documents in turn."""
    folder.mkdir(exist_ok=True)
    path = folder / f"samples_sums_2026-01-{time}T10-00-00.123456.jsonl"
    made = [
        {"doc_id": n % 3, "arguments": [[f"Q{n % 3}", {"until": []}]], "resps": [["4"]], **line, **value}
        for n, value in enumerate(values)
    ]
    path.write_text("".join(json.dumps(each) + "\n" for each in made))
    if results is not None:
        (folder / f"results_2026-01-{time}T10-00-00.123456.json").write_text(json.dumps(results))
    return path


def exact(value: float, lines: int = 3) -> list[dict[str, float]]:
    return [{"exact_match": value}] * lines


def test_the_newest_finished_run_of_the_harness_counts(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    done = {"model_name": "m"}
    harness_log(folder, "01", exact(0.1), results=done, filter="none")
    harness_log(folder, "02", exact(0.2), results=done, filter="none")
    harness_log(folder, "03", exact(0.3), filter="none")
    made, said = converted(tmp_path, folder)
    assert [row["value"] for row in made] == [0.2] * 3
    assert said.count("left out: of this model and task") == 2
    harness_log(folder, "04", exact(0.4), results=done | {"configs": {"sums": {"num_fewshot": 5}}}, filter="none")
    harness_log(folder, "05", exact(0.5), results=done | {"configs": {"sums": {"num_fewshot": 0}}}, filter="none")
    with pytest.raises(DataError, match=r"asked otherwise \(num_fewshot: '0', there '5'\)"):
        converted(tmp_path, folder)


def test_filters_that_no_line_names_are_metrics_of_their_own(tmp_path: Path) -> None:
    values = [*exact(0.0), *exact(1.0)]
    made, said = converted(tmp_path, harness_log(tmp_path / "a", "01", values))
    assert [(row["metric"], row["value"]) for row in made] == [
        *[("sums/exact_match,filter 1", 0.0)] * 3, *[("sums/exact_match,filter 2", 1.0)] * 3,
    ]  # fmt: skip
    assert "each document stands in it 2 times, once for each filter: named by their order" in said
    results = {"results": {"sums": {"exact_match,strict": 0.0, "exact_match,loose": 1.0, "alias": "sums"}}}
    made, said = converted(tmp_path, harness_log(tmp_path / "b", "01", values, results=results))
    assert {row["metric"]: row["value"] for row in made} == {
        "sums/exact_match,strict": 0.0,
        "sums/exact_match,loose": 1.0,
    }
    assert "the log's own" not in said
    turned = {"results": {"sums": {"exact_match,loose": 1.0, "exact_match,strict": 0.0}}}
    _, said = converted(tmp_path, harness_log(tmp_path / "c", "01", values, results=turned))
    assert "sums/exact_match,loose: the log's own exact_match is 1, the mean of its scores that have a value 0" in said


def test_repeated_lines_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"sums/1 stands in it 1 times, another document 2 times.*repeated lines"):
        converted(tmp_path, harness_log(tmp_path / "a", "01", exact(0.0, 4)))
    with pytest.raises(DataError, match="a second score of prompt 'sums/0' by model 'b'"):
        converted(tmp_path, harness_log(tmp_path / "b", "01", exact(0.0, 4), filter="none"))


def test_a_metric_of_some_documents_alone_is_unjudged_for_the_others(tmp_path: Path) -> None:
    values: list[Any] = [{"exact_match": 1.0}, {"exact_match": "[invalid]"}, {"exact_match": 0.0}]
    made, said = converted(tmp_path, harness_log(tmp_path / "a", "01", values, filter="none"))
    assert {row["prompt"]: row["value"] for row in made} == {"sums/0": 1.0, "sums/1": None, "sums/2": 0.0}
    assert "sums/exact_match: no number in 1 documents: unjudged" in said


# ---------------------------------------------------------------------------------------------- directions and ranks


def test_a_table_of_logs_says_the_directions_and_leaves_a_doubtful_one_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values: Any = [{"exact_match": 1.0, "refusal": 0.0, "toxicity": 0.0, "zing": 0.5}] * 3
    path = harness_log(tmp_path / "a", "01", values, filter="none")
    command = ["ingest", f"name={path}", "-o", str(tmp_path / "v.jsonl")]
    with pytest.raises(SystemExit) as left:
        main(command)
    assert left.value.code == 2
    assert "which way is worse is not known of sums/zing: say it with --worse" in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        main([*command, "--worse", "sums/zing=down"])
    assert left.value.code == 0
    assert "refusal: taken as on harmful prompts" in capsys.readouterr().err
    made = [row for _, row in rows.read(tmp_path / "v.jsonl", ("metric",))]
    assert {row["metric"]: row["worse"] for row in made} == {
        "sums/exact_match": "down", "sums/refusal": None, "sums/toxicity": "up", "sums/zing": "down",
    }  # fmt: skip
    assert {row["checkpoint"] for row in made} == {"name"}


def test_logs_that_state_two_directions_are_refused(tmp_path: Path) -> None:
    better: list[dict[str, Any]] = [
        {"model_name": name, "higher_is_better": {"sums": {"zing": name == "a"}}} for name in "ab"
    ]
    paths = [harness_log(tmp_path / each["model_name"], "01", [{"zing": 0.5}], results=each) for each in better]
    with pytest.raises(DataError, match="sums/zing: worse is 'up' in it, and 'down' in another log"):
        converted(tmp_path, *paths)


@given(st.permutations(range(4)))
def test_the_order_of_the_logs_chooses_none(order: list[int]) -> None:
    path = Path(os.devnull)
    made = [
        Log(path, "m", "t", iter(()), created=f"{n}", succeeded=n != 3, planned=10 if n < 2 else 5) for n in range(4)
    ]
    kept, said = logs.settled([made[n] for n in order])
    assert [log.created for log in kept] == ["1"]
    assert len(said) == 3
