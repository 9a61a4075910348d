"""Sample logs of lm-evaluation-harness, in the form that its `--log_samples` writes (0.4.13)."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from aftertune import drift_of_table
from aftertune.cli import main
from aftertune.data import table_files as rows
from aftertune.errors import DataError
from aftertune.ingest import logs as library
from aftertune.ingest import responses

TIME = "2026-11-21T10-20-30.123456"


def line(doc: int, **more: Any) -> dict[str, Any]:
    row = {
        "doc_id": doc, "doc": {"q": f"question {doc}"}, "target": "4", "filter": "none", "doc_hash": f"d{doc}",
        "prompt_hash": f"p{doc}", "target_hash": "t",
    }  # fmt: skip
    return {**row, **more}


def generated(doc: int, *texts: str, **more: Any) -> dict[str, Any]:
    arguments = {"gen_args_0": {"arg_0": f"Question {doc}?", "arg_1": {"until": ["\n"], "do_sample": False}}}
    return line(doc, arguments=arguments, resps=[list(texts)], filtered_resps=[texts[0]], **more)


def chosen(doc: int, acc: float) -> dict[str, Any]:
    arguments = {f"gen_args_{k}": {"arg_0": f"Question {doc}?", "arg_1": f" {k}"} for k in range(2)}
    likely = [[["-1.5", "False"]], [["-0.5", "True"]]]
    return line(
        doc,
        arguments=arguments,
        resps=likely,
        filtered_resps=[row[0] for row in likely],
        metrics=["acc", "acc_norm"],
        acc=acc,
        acc_norm=acc,
    )


def save(folder: Path, task: str, lines: list[dict[str, Any]], **results: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"samples_{task}_{TIME}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in lines))
    if results:
        (folder / f"results_{TIME}.json").write_text(json.dumps({"results": {}, **results}))
    return path


def test_a_loss_of_accuracy_is_a_loss(tmp_path: Path) -> None:
    better = {"higher_is_better": {"arc": {"acc": True, "acc_norm": True}}}
    base = save(
        tmp_path / "b",
        "arc",
        [chosen(i, 1.0) for i in range(40)],
        config={"model": "hf", "model_args": "pretrained=org/base"},
        **better,
    )
    tuned = save(
        tmp_path / "t",
        "arc",
        [chosen(i, float(i > 20)) for i in range(40)],
        config={"model": "hf", "model_args": {"pretrained": "org/base", "peft": "a"}},
        **better,
    )
    found = drift_of_table([base, tuned], "hf (pretrained=org/base)", "hf (peft=a,pretrained=org/base)")
    rates = {row.metric: dataclasses.asdict(row) for row in found.answers if row.estimand == "checkpoint"}
    assert set(rates) == {"arc/acc", "arc/acc_norm"}
    assert rates["arc/acc"]["worse"] == "down"
    assert rates["arc/acc"]["delta"] == pytest.approx(-21 / 40)
    assert found.outcome == "drift"
    assert not any("taken for" in warning for warning in found.warnings)
    again = drift_of_table([f"b={base}", f"t={tuned}"], "t", "b")
    assert again.outcome == "pass" or all(row.decision != "drift" for row in again.answers)


def test_without_its_summary_a_log_takes_its_folders_name_and_says_what_it_trusts(tmp_path: Path) -> None:
    rows_ = [
        generated(
            0, "4", metrics=["exact_match", "word_perplexity", "f1"], exact_match=1.0, word_perplexity=9.5, f1=[1, 2]
        )
    ]
    path = save(tmp_path / "org__model", "gsm8k", rows_)
    converted = library.ingest_logs([tmp_path], tmp_path / "v.jsonl")
    found = {row["metric"]: row for _, row in rows.read(tmp_path / "v.jsonl", library.COLUMNS)}
    assert {row["checkpoint"] for row in found.values()} == {"org__model"}
    assert set(found) == {"gsm8k/exact_match", "gsm8k/word_perplexity"}
    assert found["gsm8k/exact_match"]["worse"] == "down"
    assert found["gsm8k/word_perplexity"]["worse"] == "up"
    assert found["gsm8k/exact_match"]["message_hash"] == "p0"
    said = " ".join(converted.warnings)
    assert f"{path}: no results_{TIME}.json beside it" in said
    assert "not one number per document, left out: gsm8k/f1" in said


def test_responses_are_judged_once_whatever_the_filters_and_repeats(tmp_path: Path) -> None:
    refusal, answer = "I'm sorry, but I can't help with that.", "Take the second street on the left."
    both = [
        {**generated(doc, refusal, answer, metrics=["exact_match"], exact_match=value), "filter": name}
        for name, value in (("strict-match", 0.0), ("flexible-extract", 1.0))
        for doc in range(3)
    ]
    path = save(tmp_path, "gsm8k", both)
    responses.judge_table(path, ["refusal"], tmp_path / "out.jsonl")
    found = [row for _, row in rows.read(tmp_path / "out.jsonl", ("prompt", "response")) if row["axis"] == "refusal"]
    assert [(row["prompt_id"], row["repeat"], row["label"]) for row in found] == [
        (f"gsm8k/{doc}", repeat, label) for doc in range(3) for repeat, label in ((0, "full"), (1, "none"))
    ]
    assert found[0]["prompt"] == "Question 0?"
    library.ingest_logs([path], tmp_path / "v.jsonl")
    scored = [(row["metric"], row["value"]) for _, row in rows.read(tmp_path / "v.jsonl", ("metric",))]
    assert sorted(set(scored)) == [("gsm8k/exact_match,flexible-extract", 1.0), ("gsm8k/exact_match,strict-match", 0.0)]
    assert len(scored) == 6


def test_a_chat_of_an_api_model_is_read_as_its_turns(tmp_path: Path) -> None:
    chat = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "How are you?"}]
    row = generated(0, "Well.", metrics=[])
    row["arguments"]["gen_args_0"]["arg_0"] = json.dumps(chat)
    log = library.open_log(save(tmp_path, "x", [row]))
    assert log is not None
    (answer,) = log.answers
    assert [(turn.role, turn.content) for turn in answer.prompt.messages] == [(t["role"], t["content"]) for t in chat]


def test_an_older_form_of_arguments_is_read_too(tmp_path: Path) -> None:
    row = {**generated(0, "Well."), "arguments": [["Question?", {"until": []}]], "exact_match": 0.0}
    log = library.open_log(save(tmp_path, "x", [row]))
    assert log is not None
    (answer,) = log.answers
    assert answer.text == "Well."
    assert [score.metric for score in answer.scores or ()] == ["x/exact_match"]


def test_a_score_that_is_missing_is_unjudged(tmp_path: Path) -> None:
    lines = [generated(i, "4", metrics=["exact_match"], exact_match=1.0 if i else float("nan")) for i in range(3)]
    lines.append(generated(3, "4", metrics=[]))
    library.ingest_logs([save(tmp_path, "x", lines)], tmp_path / "v.jsonl")
    found = {row["prompt"]: row["value"] for _, row in rows.read(tmp_path / "v.jsonl", ("prompt",))}
    assert found == {"x/0": None, "x/1": 1.0, "x/2": 1.0, "x/3": None}


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ('{"doc_id": 1, "resps"', r"x_.*jsonl:2: not valid JSON"),
        ('{"doc_id": 1}', r"x_.*jsonl:2: no sample of lm-evaluation-harness"),
        ('{"doc_id": 1, "resps": [], "arguments": {}}', r"x_.*jsonl:2: arguments holds no prompt"),
        ("[1]", r"x_.*jsonl:2: expected an object"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, broken: str, message: str) -> None:
    path = save(tmp_path, "x", [generated(0, "4", metrics=["acc"], acc=1.0)])
    path.write_text(path.read_text() + broken + "\n")
    with pytest.raises(DataError, match=message):
        library.ingest_logs([path], tmp_path / "v.csv")
    assert not (tmp_path / "v.csv").exists()


def test_a_last_line_that_is_cut_off_is_left_out_and_told(tmp_path: Path) -> None:
    path = save(tmp_path, "x", [generated(i, "4", metrics=["acc"], acc=1.0) for i in range(3)])
    path.write_text(path.read_text()[:-30])
    conversion = library.ingest_logs([path], tmp_path / "v.jsonl")
    assert conversion.rows == {tmp_path.name: 2}
    assert any(f"{path}:3: the last line is cut off" in warning for warning in conversion.warnings)


def test_what_cannot_be_judged_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path, "arc", [chosen(0, 1.0)])
    with pytest.raises(SystemExit) as left:
        main(["judge", str(path), "--judge", "refusal", "-o", str(tmp_path / "o.csv")])
    assert left.value.code == 2
    assert "no text in it that could be judged: log-likelihoods of given texts" in capsys.readouterr().err
    save(tmp_path, "x", [], config=[])
    with pytest.raises(SystemExit):
        main(["ingest", str(tmp_path / f"results_{TIME}.json"), "-o", str(tmp_path / "o.csv")])
    assert "give its samples_TASK_TIME.jsonl" in capsys.readouterr().err
