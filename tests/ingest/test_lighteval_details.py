"""Details of lighteval: both forms, the results in their place, generations, and what is no number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.converted_logs import Row, compared, converted

from aftertune.errors import DataError
from aftertune.ingest import lighteval_details

TIME = "2026-01-02T03-04-05.678901"
TASK = "gsm8k|0"


def row(number: int, *texts: str, sent: Any = None, **metrics: Any) -> Row:
    doc = {"id": str(number), "query": f"secret prompt {number}", "task_name": TASK, "choices": ["1"], "gold_index": 0}
    response = {"input": sent, "text": list(texts), "reasonings": ["thinks"], "logprobs": []}
    return {"doc": doc, "metric": metrics, "model_response": response}


def save(folder: Path, rows: list[Row], model: str = "org/m", **results: Any) -> Path:
    path = folder / "details" / model / TIME / f"details_{TASK}_{TIME}.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    if results:
        beside = folder / "results" / model / f"results_{TIME}.json"
        beside.parent.mkdir(parents=True)
        beside.write_text(json.dumps({"config_general": {"model_name": model}} | results))
    return path


def config(**better: Any) -> Row:
    return {TASK: {"metrics": [{"metric_name": name, "higher_is_better": each} for name, each in better.items()]}}


def test_two_models_are_compared_by_the_directions_of_the_results(tmp_path: Path) -> None:
    def made(name: str, right: int) -> Path:
        rows = [row(i, "a", em=float(i < right), ppl=2.0) for i in range(40)]
        results = {"config_tasks": config(em=True, ppl=False), "results": {TASK: {"em": right / 40}}}
        return save(tmp_path / name, rows, f"org/{name}", **results)

    base, tuned = made("b", 38), made("t", 8)
    found = compared(base, tuned)
    assert {name: (each["base"], each["tuned"], each["worse"]) for name, each in found.items()} == {
        f"{TASK}/em": (0.95, 0.2, "down"),
        f"{TASK}/ppl": (2.0, 2.0, "up"),
    }
    rows, said = converted(tmp_path, base, tuned)
    assert {each["checkpoint"] for each in rows} == {"org/b", "org/t"}
    assert said == ""


def test_the_name_of_the_file_and_its_place_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "anything.bin"
    save(tmp_path / "x", [row(0, "a", em=1.0)]).rename(path)
    rows, said = converted(tmp_path, path)
    assert [(each["checkpoint"], each["metric"], each["value"]) for each in rows] == [
        (tmp_path.name, f"{TASK}/em", 1.0)
    ]
    assert "no results/.../results_TIME.json in its place" in said


def test_several_generations_are_answers_whose_document_counts_once(tmp_path: Path) -> None:
    log = lighteval_details.open_log(save(tmp_path, [row(0, "a", "b", "c", em=0.5)]))
    found = list(log.answers)
    assert [(answer.repeat, answer.text, answer.scores is None) for answer in found] == [
        (0, "a", False), (1, "b", True), (2, "c", True),
    ]  # fmt: skip
    assert (found[0].thought, found[1].thought) == ("thinks", "")
    assert log.form == "details of lighteval (0.11 or newer)"


def test_a_document_that_stands_twice_is_asked_twice(tmp_path: Path) -> None:
    rows, said = converted(tmp_path, save(tmp_path / "x", [row(0, "a", em=1.0), row(0, "a", em=0.0)]))
    assert [(each["repeat"], each["value"]) for each in rows] == [(0, 1.0), (1, 0.0)]
    assert "1 documents stand in it more than once: read as repeats of one" in said


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_metric_without_a_number_is_unjudged(tmp_path: Path, value: Any) -> None:
    rows, said = converted(tmp_path, save(tmp_path / "x", [row(0, "a", em=value), row(1, "a", em=True)]))
    assert [each["value"] for each in rows] == [None, 1.0]
    assert f"{TASK}/em: no number in 1 documents: unjudged" in said


@pytest.mark.parametrize("value", [[1.0, 2.0], "yes", {"golds": ["a"]}, None])
def test_what_is_no_number_in_any_document_is_left_out_and_told(tmp_path: Path, value: Any) -> None:
    rows, said = converted(tmp_path, save(tmp_path / "x", [row(0, "a", em=1.0, other=value)]))
    assert [each["metric"] for each in rows] == [f"{TASK}/em"]
    assert f"not one number per document, left out: {TASK}/other" in said


def test_log_likelihoods_are_no_texts(tmp_path: Path) -> None:
    (answer,) = lighteval_details.open_log(save(tmp_path, [row(0, acc=1.0)])).answers
    assert (answer.text, answer.error) == (None, "log-likelihoods of given texts, not a text of the model")


def test_a_chat_is_read_and_prompts_that_were_sent_otherwise_are_no_pair(tmp_path: Path) -> None:
    chat = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    base = save(tmp_path / "b", [row(i, "a", sent=chat, em=1.0) for i in range(40)])
    (first, *_) = lighteval_details.open_log(base).answers
    assert [turn.role for turn in first.prompt.messages] == ["system", "user"]
    tuned = save(tmp_path / "t", [row(i, "a", sent="other", em=1.0) for i in range(40)])
    with pytest.raises(DataError, match="only 0 are paired; 40 were sent with other messages"):
        compared(base, tuned)


def test_the_older_form_is_read(tmp_path: Path) -> None:
    old = {"example": "q", "full_prompt": "shots q", "predictions": ["a"], "metrics": {"em": 1.0}, "specifics": None}
    log = lighteval_details.open_log(save(tmp_path, [old, old | {"metrics": {"em": 0.0}}]))
    first, second = log.answers
    assert (log.form, log.task) == ("details of lighteval (0.6 to 0.10)", TASK)
    assert (first.text, first.prompt.messages[0].content, first.prompt.id) == ("a", "shots q", f"{TASK}/0")
    assert [score.value for score in second.scores or ()] == [0.0]


def test_the_logs_own_mean_is_shown_where_it_differs(tmp_path: Path) -> None:
    results: dict[str, Any] = {"config_tasks": config(em=True), "results": {TASK: {"em": 0.75, "em_stderr": 0.1}}}
    _, said = converted(tmp_path, save(tmp_path / "x", [row(0, "a", em=1.0)], **results))
    assert f"{TASK}/em: the log's own em is 0.75, the mean of its scores that have a value 1" in said


def test_groups_of_metrics_have_a_direction_each() -> None:
    grouped = {"metric_name": ["a", "b"], "higher_is_better": {"a": True, "b": False}}
    assert lighteval_details._worse({"config_tasks": {TASK: {"metrics": [grouped]}}}, TASK) == {"a": "down", "b": "up"}


@pytest.mark.parametrize("metric", ["{'em': 1.0}", [1.0], None])
def test_metrics_in_another_form_are_refused(tmp_path: Path, metric: Any) -> None:
    with pytest.raises(DataError, match=r"'metric' is .* and not one field per metric, as lighteval 0.6 on writes it"):
        converted(tmp_path, save(tmp_path / "x", [row(0, "a") | {"metric": metric}]))


def test_an_empty_file_and_the_summary_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    pq.write_table(pa.Table.from_pylist([row(0, "a", em=1.0)]).slice(0, 0), path)
    with pytest.raises(DataError, match="no rows in it"):
        converted(tmp_path, path)
    (tmp_path / "r.json").write_text(json.dumps({"config_general": {}, "results": {}}))
    with pytest.raises(DataError, match=r"the summary of lighteval holds means alone; give its details_"):
        converted(tmp_path, tmp_path / "r.json")


@given(
    st.lists(st.floats(0, 1) | st.none(), min_size=1, max_size=8).filter(lambda own: any(v is not None for v in own))
)
def test_every_score_comes_back(tmp_path_factory: pytest.TempPathFactory, scores: list[float | None]) -> None:
    path = save(tmp_path_factory.mktemp("l"), [row(i, "a", em=value) for i, value in enumerate(scores)])
    found = [score.value for answer in lighteval_details.open_log(path).answers for score in answer.scores or ()]
    assert found == scores
