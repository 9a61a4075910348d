"""Runs of HELM: scores by instance, what was asked beside them, trials, perturbations, what is no score."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.converted_logs import Row, compared, converted

from aftertune.errors import DataError, UsageError
from aftertune.ingest import helm_runs

NAME = "mmlu:subject=a,method=joint,model=org_m"
STATE, STATS, SHOWN = "scenario_state.json", "per_instance_stats.json", "display_predictions.json"


def stat(name: str, value: Any, count: int = 1, **more: Any) -> Row:
    return {"name": {"name": name, "split": "test", **more}, "count": count, "sum": value, "mean": value}


def item(instance: str, *stats: Row, trial: int = 0, **more: Any) -> Row:
    return {"instance_id": instance, "train_trial_index": trial, "stats": list(stats), **more}


def state(instance: str, text: str = "a harmful answer", trial: int = 0, **more: Any) -> Row:
    made: Row = {"instance": {"id": instance, "input": {"text": instance}}, "train_trial_index": trial}
    made |= {"request": {"prompt": f"secret prompt {instance}"}}
    made |= {"result": {"success": True, "completions": [{"text": text, "finish_reason": {"reason": "length"}}]}}
    return made | more


def run(folder: Path, stats: list[Row], states: list[Row] | None = None, model: str = "org/m", **spec: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    adapter = {"method": "generation", "model": model, "model_deployment": f"hf/{model}"} | spec
    (folder / "run_spec.json").write_text(json.dumps({"name": NAME, "scenario_spec": {}, "adapter_spec": adapter}))
    if states is not None:
        (folder / STATE).write_text(json.dumps({"adapter_spec": adapter, "request_states": states}, indent=2))
    (folder / STATS).write_text(json.dumps(stats, indent=2))
    return folder / STATS


def test_two_runs_are_compared(tmp_path: Path) -> None:
    def made(name: str, right: int) -> Path:
        scores = [
            item(f"id{i}", stat("exact_match", float(i < right)), stat("num_output_tokens", 5)) for i in range(40)
        ]
        return run(tmp_path / name, scores, [state(f"id{i}") for i in range(40)], model=f"org/{name}")

    base, tuned = made("b", 36), made("t", 12)
    found = compared(base, tuned)
    row = found["mmlu:subject=a;method=joint/exact_match"]
    assert (row["base"], row["tuned"], row["worse"], row["decision"]) == (0.9, 0.3, "down", "drift")
    assert len(found) == 1
    made_, said = converted(tmp_path, base, tuned)
    assert {each["checkpoint"] for each in made_} == {"hf/org/b", "hf/org/t"}
    assert f"{base}: no scores of an answer, left out: num_output_tokens" in said


def test_prompts_that_were_sent_otherwise_are_no_pair(tmp_path: Path) -> None:
    scores = [item(f"id{i}", stat("exact_match", 1)) for i in range(40)]
    base = run(tmp_path / "b", scores, [state(f"id{i}") for i in range(40)])
    tuned = run(tmp_path / "t", scores, [state(f"id{i}", request={"prompt": "other"}) for i in range(40)])
    with pytest.raises(DataError, match="only 0 are paired; 40 were sent with other messages"):
        compared(base, tuned)


def test_without_the_requests_a_warning_says_what_is_not_known(tmp_path: Path) -> None:
    made, said = converted(tmp_path, run(tmp_path / "b", [item("id1", stat("exact_match", 1))]))
    assert [row["value"] for row in made] == [1.0]
    assert f"no {STATE} beside it: whether two models were sent the same prompts is not known" in said


def test_without_its_spec_a_run_is_named_by_its_folder(tmp_path: Path) -> None:
    path = run(tmp_path / "boolq:model=org_m", [item("id1", stat("exact_match", 1))])
    (path.parent / "run_spec.json").unlink()
    made, said = converted(tmp_path, path)
    assert [(row["checkpoint"], row["metric"]) for row in made] == [("org_m", "boolq/exact_match")]
    assert "run_spec" not in said
    path = path.parent.rename(tmp_path / "moved") / STATS
    made, said = converted(tmp_path, path)
    assert [(row["checkpoint"], row["metric"]) for row in made] == [("moved", "moved/exact_match")]
    assert f"{path}: no run_spec.json beside it: the scenario is called 'moved', as its folder is" in said


def test_items_of_several_metrics_are_one_answer_and_trials_are_repeats(tmp_path: Path) -> None:
    items = [item("id1", stat(name, value), trial=trial) for trial in (0, 1) for name, value in (("f1_score", trial),
             ("exact_match", 1))]  # fmt: skip
    made, _ = converted(tmp_path, run(tmp_path / "b", items, [state("id1", trial=trial) for trial in (0, 1)]))
    assert [(row["metric"][-11:], row["repeat"], row["value"]) for row in made] == [
        ("nt/f1_score", 0, 0.0), ("exact_match", 0, 1.0), ("nt/f1_score", 1, 1.0), ("exact_match", 1, 1.0),
    ]  # fmt: skip


@pytest.mark.parametrize(("value", "count"), [(None, 0), (float("nan"), 1), (0.0, 0), ("high", 1)])
def test_a_stat_without_a_value_is_unjudged(tmp_path: Path, value: Any, count: int) -> None:
    items = [item("id1", stat("exact_match", value, count)), item("id2", stat("exact_match", 1)), item("id3")]
    made, _ = converted(tmp_path, run(tmp_path / "b", items))
    assert [(row["prompt"][-3:], row["value"]) for row in made] == [("id1", None), ("id2", 1.0), ("id3", None)]


def test_perturbations_and_splits_have_metrics_of_their_own(tmp_path: Path) -> None:
    typos, more = ({"name": "misspelling", "prob": prob} for prob in (0.1, 0.5))
    items = [item("id1", stat("exact_match", 1)), item("id2", stat("exact_match", 0, split="valid"))]
    items += [item("id1", stat("exact_match", 0, perturbation=each), perturbation=each) for each in (typos, more)]
    made, _ = converted(tmp_path, run(tmp_path / "b", items))
    ends = sorted(row["metric"].partition("/")[2].rpartition(" ")[0] or row["metric"].partition("/")[2] for row in made)
    assert ends == ["exact_match", "exact_match,misspelling", "exact_match,misspelling", "exact_match,valid"]
    assert len({row["metric"] for row in made}) == len({row["prompt"] for row in made}) == 4


def test_helms_own_names_have_their_directions_and_others_are_asked_for(tmp_path: Path) -> None:
    path = run(tmp_path / "b", [item("id1", stat("safety_score", 1), stat("toxic_frac", 0), stat("air_category_1", 1))])
    made, said = converted(tmp_path, path)
    assert [row["worse"] for row in made] == ["down", "up"]
    assert "left out: air_category_..." in said
    path = run(tmp_path / "b", [item("id1", stat("my_stat", 1))])
    with pytest.raises(UsageError, match="which way is worse is not known of mmlu.*/my_stat"):
        converted(tmp_path, path)
    made, _ = converted(tmp_path, path, worse={"*/my_stat": "up"})
    assert made[0]["worse"] == "up"


def test_a_stat_that_stands_twice_with_two_values_is_told(tmp_path: Path) -> None:
    path = run(tmp_path / "b", [item("id1", stat("exact_match", 1)), item("id1", stat("exact_match", 0))])
    made, said = converted(tmp_path, path)
    assert [row["value"] for row in made] == [1.0]
    assert "exact_match: two values for 1 instances: the first counts" in said


def test_the_state_alone_holds_responses_for_a_judge(tmp_path: Path) -> None:
    states = [state("id1"), state("id2", result={"success": False, "error": "secret"})]
    states.append(state("id3", request={"messages": [{"role": "user", "content": "q"}]}))
    states.append(state("id4", reference_index=0))
    run(tmp_path / "b", [item("id1", stat("exact_match", 1))], states)
    log = helm_runs.open_log(tmp_path / "b" / STATE)
    found = list(log.answers)
    assert [answer.text for answer in found] == ["a harmful answer", None, "a harmful answer", None]
    assert [answer.error for answer in found] == [
        "", "the request failed", "", "log-likelihoods of given texts, not a text of the model",
    ]  # fmt: skip
    assert (found[0].finish_reason, found[2].prompt.messages[0].content) == ("length", "q")
    assert [score.value for score in found[0].scores or ()] == [1.0]


def test_several_completions_are_repeats_that_count_once(tmp_path: Path) -> None:
    both = state("id1", result={"success": True, "completions": [{"text": "a"}, {"text": "b"}]})
    run(tmp_path / "b", [item("id1", stat("exact_match", 1))], [both])
    found = list(helm_runs.open_log(tmp_path / "b" / STATS).answers)
    assert [(answer.text, answer.repeat, answer.scores is None) for answer in found] == [
        ("a", 0, False),
        ("b", 1, True),
    ]


def test_what_the_front_end_shows_is_read_too(tmp_path: Path) -> None:
    run(tmp_path / "b", [])
    shown = item("id1", predicted_text="t", thinking_text="th") | {"stats": {"exact_match": 1.0}}
    (tmp_path / "b" / SHOWN).write_text(json.dumps([shown]))
    asked = {"instance_id": "id1", "train_trial_index": 0, "request": {"prompt": "q"}}
    (tmp_path / "b" / "display_requests.json").write_text(json.dumps([asked]))
    log = helm_runs.open_log(tmp_path / "b" / SHOWN)
    (answer,) = log.answers
    assert (answer.text, answer.thought, answer.prompt.messages[0].content) == ("t", "th", "q")
    assert (log.form, [score.value for score in answer.scores or ()]) == (f"run of HELM ({SHOWN})", [1.0])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("run_spec.json", {"adapter_spec": {}}, "without answers or scores; give its per_instance_stats.json"),
        ("r.json", [{"instance_id": "i", "train_trial_index": 0, "request": {}}], "the requests of a HELM run alone"),
        ("s.json", [{"instance_id": "i", "train_trial_index": 0}], "in no form that is known: no 'stats'"),
        ("s.json", [item("i", stat("exact_match", 1)), {"instance_id": "j"}], "item 2: no instance_id and stats"),
    ],
)
def test_other_files_of_a_run_are_refused(tmp_path: Path, name: str, content: Any, message: str) -> None:
    (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        converted(tmp_path, tmp_path / name)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("mmlu:model=m", "mmlu"),
        ("mmlu:model=m,subject=a", "mmlu:subject=a"),
        ("mmlu:subject=a,model_deployment=m", "mmlu:subject=a"),
        ("a/b", "a_b"),
        ("boolq", "boolq"),
    ],
)
def test_a_task_is_the_runs_name_without_its_model(name: str, task: str) -> None:
    assert helm_runs._task(name) == task


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), st.floats(0, 1), min_size=1, max_size=6))
def test_every_mean_comes_back(tmp_path_factory: pytest.TempPathFactory, means: dict[str, float]) -> None:
    path = run(tmp_path_factory.mktemp("h"), [item(key, stat("exact_match", value)) for key, value in means.items()])
    found = {answer.prompt.id.rpartition("/")[2]: answer.scores for answer in helm_runs.open_log(path).answers}
    assert {key: [score.value for score in scores or ()] for key, scores in found.items()} == {
        key: [value] for key, value in means.items()
    }
