"""Results of promptfoo: several models in one file, named scores, repeats, errors, versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.converted_logs import Row, compared, converted

from aftertune.errors import DataError, UsageError
from aftertune.ingest import promptfoo_results


def result(model: str, test: int, passed: bool, **more: Any) -> Row:
    check = {"type": "llm-rubric", "metric": "tone"}
    made: Row = {"provider": {"id": model}, "testIdx": test, "promptIdx": 0, "failureReason": int(not passed)}
    made |= {"prompt": {"raw": f"secret prompt {test}", "label": "p"}, "success": passed, "score": passed / 2}
    made |= {"response": {"output": "a harmful answer"}, "namedScores": {"tone": 0.25}, "testCase": {"assert": [check]}}
    return made | more


def save(path: Path, *results: Row, version: Any = 3) -> Path:
    summary = {"version": version, "timestamp": "2026-01-01", "prompts": [], "results": results, "stats": {}}
    whole = {"evalId": "e", "results": summary, "config": {}, "metadata": {"promptfooVersion": "0.120.1"}}
    path.write_text(json.dumps(whole))
    return path


def lines(path: Path, *results: Row) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in results))
    return path


@pytest.mark.parametrize("writer", [save, lines])
def test_two_models_of_one_file_are_compared(tmp_path: Path, writer: Any) -> None:
    made = [result(model, i, i < n, promptIdx=n % 2) for i in range(40) for model, n in (("x:b", 36), ("x:t", 15))]
    path = writer(tmp_path / "r.data", *made)
    found = compared(path, path, "x:b", "x:t")
    assert {name: (row["base"], row["tuned"], row["worse"]) for name, row in found.items()} == {
        "promptfoo/pass": (0.9, 0.375, "down"),
        "promptfoo/score": (pytest.approx(0.45), pytest.approx(0.1875), "down"),
        "promptfoo/tone": (0.25, 0.25, "down"),
    }
    assert found["promptfoo/pass"]["decision"] == "drift"
    with pytest.raises(UsageError, match=r"holds 2 models \(x:b, x:t, ...\): 'b=' names one"):
        converted(tmp_path, f"b={path}")


def test_two_files_of_one_model_each_may_be_named(tmp_path: Path) -> None:
    base = save(tmp_path / "b", *(result("http://localhost", i, True) for i in range(40)))
    tuned = save(tmp_path / "t", *(result("http://localhost", 39 - i, i >= 20) for i in range(40)))
    found = compared(base, tuned)
    assert (found["promptfoo/pass"]["base"], found["promptfoo/pass"]["tuned"]) == (1.0, 0.5)


def test_a_test_that_is_repeated_is_one_prompt(tmp_path: Path) -> None:
    again = [result("m", i, i == 1) | {"prompt": {"raw": "the same"}} for i in range(3)]
    made, _ = converted(tmp_path, save(tmp_path / "r.json", *again, result("m", 3, True)))
    own = [(row["repeat"], row["value"]) for row in made if row["metric"] == "promptfoo/pass"]
    assert own == [(0, 0.0), (1, 1.0), (2, 0.0), (0, 1.0)]
    assert len({row["prompt"] for row in made}) == 2


def test_one_text_with_other_assertions_is_another_prompt_of_the_same_cluster(tmp_path: Path) -> None:
    other = result("m", 1, True, namedScores={}, testCase={"assert": [{"type": "contains"}]})
    made, _ = converted(tmp_path, save(tmp_path / "r", result("m", 1, False), other))
    assert len({row["prompt"] for row in made}) == 2
    assert len({row["cluster"] for row in made}) == 1
    assert sum(row["metric"] == "promptfoo/tone" for row in made) == 1, "no score is missing where no assertion is"


def test_an_error_is_unjudged_in_every_score_that_the_test_has(tmp_path: Path) -> None:
    broken = result("m", 0, False, failureReason=2, namedScores={}, error="secret and harmful", score=0)
    old = result("m", 1, False, namedScores={}, response=None)
    del old["failureReason"]
    failed = result("m", 2, False, error="an assertion's reason")
    made, said = converted(tmp_path, save(tmp_path / "r", broken, old, failed))
    assert [row["value"] for row in made] == [None] * 6 + [0.0, 0.0, 0.25]
    assert "2 results ended with an error: unjudged" in said
    assert "secret" not in said


@pytest.mark.parametrize("score", [None, "good", float("nan"), [1]])
def test_a_named_score_that_is_no_number_is_unjudged(tmp_path: Path, score: Any) -> None:
    made, said = converted(tmp_path, save(tmp_path / "r", result("m", 0, True, namedScores={"tone": score})))
    assert [row["value"] for row in made] == [1.0, 0.5, None]
    assert "promptfoo/tone: no number in 1 results: unjudged" in said


def test_results_without_an_assertion_have_nothing_to_compare(tmp_path: Path) -> None:
    bare = result("m", 0, True, namedScores={}, testCase={"vars": {}}, gradingResult=None)
    made, said = converted(tmp_path, save(tmp_path / "r", bare, result("m", 1, True)))
    assert len(made) == 3
    assert "1 results have no assertion, so nothing to compare: left out" in said


def test_a_red_team_has_its_metrics_by_plugin_and_withstanding_is_passing(tmp_path: Path) -> None:
    made, _ = converted(tmp_path, save(tmp_path / "r", result("m", 0, False, metadata={"pluginId": "harmful:hate"})))
    assert {(row["metric"], row["worse"]) for row in made} == {
        ("promptfoo/harmful:hate/pass", "down"),
        ("promptfoo/harmful:hate/score", "down"),
        ("promptfoo/harmful:hate/tone", "down"),
    }


@pytest.mark.parametrize("version", [1, 4, None, "3", True])
def test_another_version_is_refused(tmp_path: Path, version: Any) -> None:
    with pytest.raises(DataError, match=rf"results of promptfoo in version {version}; 2 and 3 are known here$"):
        converted(tmp_path, save(tmp_path / "r", result("m", 0, True), version=version))


@pytest.mark.parametrize("missing", ["provider", "prompt", "success"])
def test_a_result_in_another_form_is_refused_by_what_is_missing(tmp_path: Path, missing: str) -> None:
    bad = result("m", 1, True)
    del bad[missing]
    with pytest.raises(DataError, match=rf"result 2: in a form of promptfoo that is not known: no {missing}$"):
        converted(tmp_path, save(tmp_path / "r", result("m", 0, True), bad))


def test_two_providers_of_one_name_are_refused_and_labels_tell_them_apart(tmp_path: Path) -> None:
    pair = [result("m", 0, True), result("m", 0, False, promptIdx=1)]
    with pytest.raises(DataError, match="two providers are called 'm': give them a `label` each"):
        converted(tmp_path, save(tmp_path / "r", *pair))
    labelled = [each | {"provider": {"id": "m", "label": f"l{i}"}} for i, each in enumerate(pair)]
    made, _ = converted(tmp_path, save(tmp_path / "r", *labelled))
    assert {row["checkpoint"] for row in made} == {"l0", "l1"}


def test_chats_outputs_and_endings(tmp_path: Path) -> None:
    chat = json.dumps([{"role": "system", "content": "s"}, {"role": "user", "content": [{"text": "u"}]}], indent=1)
    made = [
        result("m", 0, True, prompt={"raw": chat}, response={"output": {"a": 1}}),
        result("m", 1, True, response={"output": "no", "isRefusal": True}),
        result("m", 2, True, response={"output": "", "finishReason": "content_filter"}),
        result("m", 3, True, response={"output": "cut", "finishReason": "length"}),
    ]
    first, *others = promptfoo_results.open_log(save(tmp_path / "r", *made)).answers
    assert [(turn.role, turn.content) for turn in first.prompt.messages] == [("system", "s"), ("user", "u")]
    assert first.text == '{"a": 1}'
    assert [answer.finish_reason for answer in others] == ["refusal", "filter", "length"]


def test_a_last_line_that_is_cut_off_is_left_out(tmp_path: Path) -> None:
    path = lines(tmp_path / "r.jsonl", result("m", 0, True))
    path.write_text(path.read_text() + '{"provider": {"id": "m"}, "response": "harmful')
    made, said = converted(tmp_path, path)
    assert len(made) == 3
    assert "r.jsonl:2: the last line is cut off" in said
    assert "harmful" not in said


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=8), st.randoms())
def test_scores_belong_to_their_prompt_whatever_the_order(
    tmp_path_factory: pytest.TempPathFactory, scores: list[tuple[bool, float]], random: Any
) -> None:
    made = [result("m", i, passed, score=score) for i, (passed, score) in enumerate(scores)]
    shuffled = random.sample(made, len(made))
    folder = tmp_path_factory.mktemp("p")
    found = [
        {answer.prompt.id: [score.value for score in answer.scores or ()] for answer in log.answers}
        for log in (promptfoo_results.open_log(save(folder / "r", *each)) for each in (made, shuffled))
    ]
    assert found[0] == found[1]
    assert list(found[0].values()) == [[float(passed), score, 0.25] for passed, score in scores]
