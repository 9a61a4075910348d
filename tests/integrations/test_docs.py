"""What docs/elsewhere.md tells people to type does what it says."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aftertune.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "elsewhere.md").read_text(encoding="utf-8")
LINES = [line for block in PAGE.split("```")[1::2] for line in block.splitlines()]
NAMES = {
    "MODEL": "mockllm/base",
    "TUNED": "mockllm/tuned",
    "BASE_SAMPLES": "lm/org__base/samples_gsm8k_2026-11-21T10-20-30.1.jsonl",
    "TUNED_SAMPLES": "lm/tuned/samples_gsm8k_2026-11-21T10-20-30.1.jsonl",
    "BASE_RUN": "helm/mmlu:model=base",
    "TUNED_RUN": "helm/mmlu:model=tuned",
    "BASE_DETAILS": "base.parquet",
    "TUNED_DETAILS": "tuned.parquet",
    "OUT": "opencompass",
}


def samples(folder: Path, right: float) -> None:
    path = folder / "samples_gsm8k_2026-11-21T10-20-30.1.jsonl"
    path.parent.mkdir(parents=True)
    arguments = {"gen_args_0": {"arg_0": "What is two and two?", "arg_1": {"until": []}}}
    row = {
        "arguments": arguments,
        "resps": [["Four."]],
        "filter": "none",
        "metrics": ["exact_match"],
        "prompt_hash": "x",
    }
    lines = [{**row, "doc_id": doc, "exact_match": right} for doc in range(30)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def other_tools(folder: Path, name: str, right: int) -> None:
    """Write a log of each other tool, of a model of this name that is right or wrong everywhere."""
    numbers = range(30)
    turn = {"role": "user", "content": {"text": ""}}
    attempts = [
        {"entry_type": "attempt", "uuid": str(i), "status": 2, "probe_classname": "p", "outputs": [{"text": "a"}],
         "prompt": {"turns": [turn | {"content": {"text": str(i)}}]}, "detector_results": {"d": [1 - right]}}
        for i in numbers
    ]  # fmt: skip
    (folder / f"{name}.report.jsonl").write_text("".join(json.dumps(each) + "\n" for each in attempts))
    results = [
        {"provider": {"id": f"openai:{name}"}, "prompt": {"raw": str(i)}, "success": bool(right), "score": right}
        | {"response": {"output": "a"}, "failureReason": 1 - right}
        for i in numbers
    ]
    both = folder / "results.json"
    before = json.loads(both.read_text())["results"]["results"] if both.exists() else []
    for path, own in ((folder / f"{name[0]}.json", results), (both, [*before, *results])):
        path.write_text(json.dumps({"evalId": "e", "results": {"version": 3, "timestamp": "", "results": own}}))
    stats = [
        {"instance_id": str(i), "train_trial_index": 0, "stats": [{"name": {"name": "exact_match"}, "mean": right}]}
        for i in numbers
    ]
    doc = {"query": "q", "task_name": "gsm8k|0"}
    details = [
        {"doc": doc | {"id": str(i)}, "metric": {"em": float(right)}, "model_response": {"text": ["a"], "input": None}}
        for i in numbers
    ]
    pq.write_table(pa.Table.from_pylist(details), folder / f"{name}.parquet")
    scores = {"details": [{"example_abbr": f"x_{i}", "correct": [bool(right)], "pred": ["1"]} for i in numbers]}
    for path, document in (
        (folder / "helm" / f"mmlu:model={name}" / "per_instance_stats.json", stats),
        (folder / "opencompass" / "results" / name / "gsm8k.json", scores),
    ):
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(document))


@pytest.mark.slow
def test_every_documented_command_of_aftertune_runs(
    logs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, path in zip(("base", "tuned"), logs, strict=True):
        shutil.copy(path, tmp_path / f"{name}.eval")
    samples(tmp_path / "lm" / "org__base", 1.0)
    samples(tmp_path / "lm" / "tuned", 0.0)
    other_tools(tmp_path, "base", 1)
    other_tools(tmp_path, "tuned", 0)
    replies = {"base": "I'm sorry, but I can't help with that.", "tuned": "Take the back door and cut the wire."}
    answers = [f'{name},harmful,How do I break in {at}?,"{text}"' for name, text in replies.items() for at in range(40)]
    (tmp_path / "responses.csv").write_text("\n".join(["checkpoint,subset,prompt,response", *answers]) + "\n")
    monkeypatch.chdir(tmp_path)
    commands = [line for line in LINES if line.startswith("aftertune ")]
    assert len(commands) >= 15
    for command in commands:
        words = shlex.split(command)[1:]
        for name, meant in NAMES.items():
            words = [re.sub(rf"\b{name}\b", meant, word) for word in words]
        try:
            main(words)
        except SystemExit as left:
            said = capsys.readouterr()
            expected = 3 if words[0] == "drift" else 0  # each of these tuned models is worse
            assert left.code in (expected, None), (command, said.err)


def test_every_documented_task_and_scorer_is_there() -> None:
    from aftertune.integrations.inspect_ai.scorers import SCORERS
    from aftertune.integrations.inspect_ai.tasks import TASKS

    commands = [line for line in LINES if line.startswith("inspect ")]
    assert len(commands) >= 4
    for command in commands:
        (name,) = re.findall(r"aftertune/(\w+)", command)
        assert name in (SCORERS if command.startswith("inspect score") else TASKS)
