"""Single lines of lm-evaluation-harness: prompts, texts, scores, directions and the model's name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.errors import DataError
from aftertune.ingest import harness_logs
from aftertune.ingest.log_records import Log, LoggedAnswer, LoggedScore
from aftertune.records import Message, Worse, digest

TIME = "2026-11-21T10-20-30.123456"


def line(**more: Any) -> dict[str, Any]:
    return {"doc_id": 0, "arguments": [["Q?", {"until": []}]], "resps": [["A."]], **more}


def opened(folder: Path, *lines: dict[str, Any], name: str = "samples_t.jsonl", **results: Any) -> Log:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in lines))
    if results:
        (folder / f"results_{TIME}.json").write_text(json.dumps(results))
    return harness_logs.open_log(path)


def one(folder: Path, **more: Any) -> LoggedAnswer:
    (answer,) = opened(folder, line(**more)).answers
    return answer


def values(answer: LoggedAnswer) -> dict[str, float | None]:
    return {score.metric: score.value for score in answer.scores or ()}


# ---------------------------------------------------------------------------------------------- hostile values


@pytest.mark.parametrize(
    "text",
    [
        '[{"role":' * 50_000,
        '[{"role": "user", "content": [{"type": "text", "text": "hi"}]}]',
        '[{"role": "user", "content": null}]',
        '[{"role": "tool", "content": "hi"}]',
        '[{"content": "hi"}]',
        "[{}] is an empty list",
        "[{",
        '[{"role": "user", "content": "hi"}, 3]',
        " [{}]",
    ],
)
def test_a_text_that_only_starts_like_a_chat_is_one_message_of_the_user(tmp_path: Path, text: str) -> None:
    assert one(tmp_path, arguments=[[text, {}]]).prompt.messages == (Message("user", text),)


def test_a_score_too_large_for_a_float_is_unjudged_like_infinity(tmp_path: Path) -> None:
    answer = one(tmp_path, metrics=["a", "b", "c"], a=10**400, b=-(10**400), c=float("-inf"))
    assert values(answer) == {"t/a": None, "t/b": None, "t/c": None}


def test_a_name_of_a_metric_that_is_no_text_stops_nothing(tmp_path: Path) -> None:
    answer = one(tmp_path, metrics=[["a"], "acc"], acc=1)
    assert values(answer)["t/acc"] == 1.0


# ---------------------------------------------------------------------------------------------- prompts and texts


def test_a_line_needs_three_keys_and_may_hold_any_others() -> None:
    assert harness_logs.is_line({"doc_id": None, "resps": None, "arguments": None, "more": 1})
    for key in ("doc_id", "resps", "arguments"):
        assert not harness_logs.is_line({name: 1 for name in ("doc_id", "resps", "arguments") if name != key})


@pytest.mark.parametrize(
    "arguments",
    [
        [["Q?", {"until": []}]],
        [["Q?", {"until": []}], ["another", {}]],
        {"gen_args_0": {"arg_0": "Q?", "arg_1": {}}},
        {"gen_args_0": {"arg_1": {}, "arg_0": "Q?"}, "gen_args_1": {"arg_0": "another", "arg_1": {}}},
    ],
)
def test_the_prompt_is_the_first_argument_of_the_first_request(tmp_path: Path, arguments: Any) -> None:
    answer = one(tmp_path, arguments=arguments)
    assert (answer.prompt.id, answer.prompt.messages, answer.text) == ("t/0", (Message("user", "Q?"),), "A.")


@pytest.mark.parametrize("arguments", [[], {}, [[]], [[3, {}]], [3], "Q?", None, {"gen_args_0": 3}, {"x": {"a": "Q"}}])
def test_arguments_without_a_prompt_are_refused_by_line(tmp_path: Path, arguments: Any) -> None:
    with pytest.raises(DataError, match=r"samples_t\.jsonl:1: arguments holds no prompt$"):
        one(tmp_path, arguments=arguments)


@pytest.mark.parametrize(
    ("responses", "texts"),
    [
        ([["a", "b"]], ["a", "b"]), (["a"], ["a"]), ([[]], []), ([], []), (None, []), ("a", []),
        ([["a", None, 3, "b"]], ["a", "b"]), ([[""]], [""]), ([["a"], ["of another request"]], ["a"]),
    ],
)  # fmt: skip
def test_the_texts_are_those_of_the_first_request(tmp_path: Path, responses: Any, texts: list[str]) -> None:
    answers = list(opened(tmp_path, line(resps=responses)).answers)
    assert [answer.text for answer in answers if answer.text is not None] == texts
    assert [answer.repeat for answer in answers] == list(range(len(texts) or 1))
    assert [answer.scores is None for answer in answers] == [False] + [True] * (len(answers) - 1)
    assert bool(answers[0].error) == (not texts)


def test_a_log_likelihood_is_no_text_even_where_its_continuation_is_one(tmp_path: Path) -> None:
    answer = one(tmp_path, arguments=[["Q?", " yes"]], resps=[[["-1.0", "True"]]], acc=1.0)
    assert (answer.text, answer.error, values(answer)) == (
        None, "log-likelihoods of given texts, not a text of the model", {"t/acc": 1.0},
    )  # fmt: skip
    assert one(tmp_path, arguments=[["Q?"]]).text is None, "a request without settings generates nothing"


@pytest.mark.parametrize(("given_", "used"), [({"prompt_hash": "h"}, "h"), ({}, ""), ({"prompt_hash": 3}, "")])
def test_pairs_agree_by_the_harness_own_hash_or_by_the_messages(
    tmp_path: Path, given_: dict[str, Any], used: str
) -> None:
    assert one(tmp_path, **given_).message_hash == (used or digest((Message("user", "Q?"),)))


def test_a_second_filter_repeats_no_text(tmp_path: Path) -> None:
    rows = [line(doc_id=doc, filter=name, acc=1) for name in ("none", "strict") for doc in (0, "0", 1)]
    found = list(opened(tmp_path, *rows).answers)
    assert [(a.prompt.id, a.text, a.duplicate) for a in found] == [
        ("t/0", "A.", False), ("t/0", None, True), ("t/1", "A.", False),
        ("t/0", None, True), ("t/0", None, True), ("t/1", None, True),
    ]  # fmt: skip
    assert [score.metric for a in found for score in a.scores or ()] == ["t/acc"] * 3 + ["t/acc,strict"] * 3


# ---------------------------------------------------------------------------------------------- scores


@pytest.mark.parametrize("filter_", [None, "", "none"])
def test_no_filter_is_not_named(tmp_path: Path, filter_: str | None) -> None:
    assert values(one(tmp_path, filter=filter_, acc=0)) == {"t/acc": 0.0}


def test_without_a_list_of_metrics_every_other_key_is_one(tmp_path: Path) -> None:
    known = {"doc": {}, "target": "1", "filtered_resps": ["1"], "doc_hash": "1", "prompt_hash": "1", "target_hash": "1"}
    log = opened(tmp_path, line(**known, acc=True, bleu=[1, 2], note="1.0", em=None, f1=0.25))
    (answer,) = log.answers
    assert values(answer) == {"t/acc": 1.0, "t/em": None, "t/f1": 0.25}
    assert f"{tmp_path}/samples_t.jsonl: not one number per document, left out: t/bleu, t/note" in log.warnings


def test_a_listed_metric_that_the_line_lacks_is_unjudged_and_others_are_not_read(tmp_path: Path) -> None:
    assert values(one(tmp_path, metrics=["acc", "f1"], acc=1, other=1)) == {"t/acc": 1.0, "t/f1": None}


@pytest.mark.parametrize(
    ("metric", "higher", "worse"),
    [
        ("acc", {"acc": True}, "down"),
        ("acc", {"acc": False}, "up"),
        ("ter", {"ter": True}, "down"),
        ("acc", {}, None),
        ("acc", {"acc": None}, None),
        ("acc", {"acc": 0}, None),
    ],
)
def test_a_direction_is_that_of_the_results_or_none(
    tmp_path: Path, metric: str, higher: dict[str, Any], worse: Worse | None
) -> None:
    name = f"samples_a_b_{TIME}.jsonl"
    results = {"higher_is_better": {"a_b": higher, "b": {metric: worse == "up"}}, "model_name": "m"}
    log = opened(tmp_path, line(**{metric: 2}), name=name, **results)
    (answer,) = log.answers
    assert answer.scores == (LoggedScore(f"a_b/{metric}", "", 2.0, worse),)
    assert log.warnings == []


# ---------------------------------------------------------------------------------------------- the model


@pytest.mark.parametrize(
    ("results", "model"),
    [
        ({"config": {"model": "hf", "model_args": "pretrained=a,dtype=b"}}, "hf (pretrained=a,dtype=b)"),
        ({"config": {"model": "hf", "model_args": {"z": 1, "a": None}}}, "hf (a=None,z=1)"),
        ({"config": {"model_args": "x=1"}, "model_source": "vllm"}, "vllm (x=1)"),
        ({"config": {"model_args": "x=1"}}, "model (x=1)"),
        ({"config": {"model": "hf", "model_args": {}}, "model_name": "org/m"}, "org/m"),
        ({"config": [1], "model_name": "org/m"}, "org/m"),
        ({"config": {"model": "hf"}, "higher_is_better": 3}, "folder"),
    ],
)
def test_the_model_is_named_by_its_arguments_first(tmp_path: Path, results: dict[str, Any], model: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    log = opened(folder, line(acc=1), name=f"samples_t_{TIME}.jsonl", **results)
    assert (log.model, log.task, log.warnings) == (model, "t", [])


def test_a_file_of_another_name_belongs_to_no_results(tmp_path: Path) -> None:
    log = opened(tmp_path, line(acc=1), name="samples_my_task.jsonl", config={"model": "hf", "model_args": "a=1"})
    assert (log.model, log.task) == (tmp_path.name, "my_task")
    expected = f"{log.path}: no results_TIME.json beside it: the model is called '{tmp_path.name}'"
    assert log.warnings == [expected]


def test_results_that_are_no_object_are_refused_and_so_is_an_empty_log(tmp_path: Path) -> None:
    (tmp_path / f"results_{TIME}.json").write_text("[]")
    with pytest.raises(DataError, match=rf"results_{TIME}\.json: expected an object, found list$"):
        opened(tmp_path, line(), name=f"samples_t_{TIME}.jsonl")
    with pytest.raises(DataError, match=r"samples_t\.jsonl: no rows in it$"):
        list(opened(tmp_path).answers)


ROLES = st.sampled_from(["system", "user", "assistant"])


@given(st.lists(st.tuples(ROLES, st.text()), min_size=1))
def test_every_chat_in_json_comes_back_turn_by_turn(turns: list[tuple[str, str]]) -> None:
    text = json.dumps([{"role": role, "content": content} for role, content in turns])
    assert [(turn.role, turn.content) for turn in harness_logs._messages(text)] == turns
