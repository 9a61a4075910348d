"""Results and predictions of OpenCompass: details in both forms, replicas, the predictions beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.converted_logs import Row, compared, converted

from aftertune.cli import main
from aftertune.errors import DataError
from aftertune.ingest import opencompass_results


def detail(number: int, correct: Any, **more: Any) -> Row:
    listed = {"pred": ["1"], "answer": ["1"], "correct": [correct]}
    return {"example_abbr": f"gsm8k_{number}", **listed, **more}


def save(folder: Path, details: Any, predictions: Row | None = None, model: str = "m", **figures: Any) -> Path:
    path = folder / "results" / model / "gsm8k.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"accuracy": 50.0, **figures, "details": details}, indent=4))
    if predictions is not None:
        other = folder / "predictions" / model / "gsm8k.json"
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_text(json.dumps(predictions, indent=4))
    return path


def asked(count: int, prompt: str = "secret prompt") -> Row:
    chat = [[{"role": "HUMAN", "prompt": f"{prompt} {i}"}] for i in range(count)]
    return {str(i): {"origin_prompt": chat[i], "prediction": "a harmful answer", "gold": "1"} for i in range(count)}


def test_two_models_are_compared(tmp_path: Path) -> None:
    base = save(tmp_path, [detail(i, i < 38) for i in range(40)], asked(40), "base")
    tuned = save(tmp_path, [detail(i, i < 10) for i in range(40)], asked(40), "tuned")
    (row,) = compared(base, tuned, "base", "tuned").values()
    assert (row["metric"], row["base"], row["tuned"]) == ("gsm8k/correct", 0.95, 0.25)
    assert (row["worse"], row["decision"], row["n_prompts"]) == ("down", "drift", 40)


def test_replicas_are_repeats_and_pass_at_k_belongs_to_the_example(tmp_path: Path) -> None:
    made = [detail(0, True) | {"correct": [True, False], "pred": ["1", "2"], "G-Pass@2_0.5": 1.0}]
    rows, _ = converted(tmp_path, save(tmp_path, made), worse={"*G-Pass*": "down"})
    assert sorted((row["metric"], row["repeat"], row["value"]) for row in rows) == [
        ("gsm8k/G-Pass@2_0.5", 0, 1.0), ("gsm8k/correct", 0, 1.0), ("gsm8k/correct", 1, 0.0),
    ]  # fmt: skip


def test_the_older_form_of_details_is_read(tmp_path: Path) -> None:
    one = {"prompt": "q", "origin_prediction": "a", "predictions": "1", "references": "1", "correct": True}
    log = opencompass_results.open_log(save(tmp_path, {"type": "GEN", "0": one, "1": one | {"correct": False}}))
    first, second = log.answers
    assert (first.text, first.prompt.id, first.prompt.messages[0].content) == ("a", "gsm8k/0", "q")
    assert [score.value for answer in (first, second) for score in answer.scores or ()] == [1.0, 0.0]
    assert log.warnings == []


@pytest.mark.parametrize("value", [None, float("nan"), "right"])
def test_a_detail_without_a_number_is_unjudged(tmp_path: Path, value: Any) -> None:
    rows, said = converted(tmp_path, save(tmp_path, [detail(0, value), detail(1, True)]))
    assert [row["value"] for row in rows] == [None, 1.0]
    assert "gsm8k/correct: no number in 1 answers: unjudged" in said
    assert "no predictions/m/gsm8k.json beside it: whether two models were sent the same prompts is not known" in said


def test_prompts_that_were_sent_otherwise_are_no_pair(tmp_path: Path) -> None:
    scores = [detail(i, True) for i in range(40)]
    base, tuned = save(tmp_path, scores, asked(40), "b"), save(tmp_path, scores, asked(40, "other"), "t")
    with pytest.raises(DataError, match="only 0 are paired; 40 were sent with other messages"):
        compared(base, tuned, "b", "t")


def test_predictions_are_judged_and_hold_no_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path, [detail(0, True)], asked(2))
    path = tmp_path / "predictions" / "m" / "gsm8k.json"
    log = opencompass_results.open_log(path)
    assert [(answer.text, answer.scores) for answer in log.answers] == [("a harmful answer", ())] * 2
    with pytest.raises(DataError, match="no scores in it that are numbers; judge its responses"):
        converted(tmp_path, path)
    with pytest.raises(SystemExit) as left:
        main(["judge", str(path), "--judge", "refusal", "-o", str(tmp_path / "o.csv")])
    assert left.value.code == 0
    assert "harmful" not in "".join(capsys.readouterr())
    assert (tmp_path / "o.csv").read_text().count("gsm8k") >= 2


def test_results_go_before_predictions_of_the_same_model(tmp_path: Path) -> None:
    scored = save(tmp_path, [detail(0, True)], asked(1))
    for sources in ([scored, tmp_path / "predictions"], [tmp_path / "predictions", scored]):
        files = [each if each.is_file() else each / "m" / "gsm8k.json" for each in sources]
        rows, said = converted(tmp_path, *files)
        assert [row["value"] for row in rows] == [1.0]
        assert "predictions/m/gsm8k.json: left out" in said


def test_figures_alone_are_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "gsm8k.json").write_text('{"accuracy": 56.2}')
    with pytest.raises(DataError, match=r"figures alone, with no single answer \(accuracy\); .* --dump-eval-details"):
        converted(tmp_path, tmp_path / "gsm8k.json")


@given(st.lists(st.lists(st.booleans(), min_size=2, max_size=2), min_size=1, max_size=6))
def test_every_detail_comes_back(tmp_path_factory: pytest.TempPathFactory, right: list[list[bool]]) -> None:
    details = [{"example_abbr": f"a_{i}", "correct": own, "pred": ["1"] * 2} for i, own in enumerate(right)]
    log = opencompass_results.open_log(save(tmp_path_factory.mktemp("o"), details))
    found = [(answer.repeat, score.value) for answer in log.answers for score in answer.scores or ()]
    assert found == [(time, float(value)) for own in right for time, value in enumerate(own)]
