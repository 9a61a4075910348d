"""What docs/elsewhere.md tells people to type does what it says."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from aftertune.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "elsewhere.md").read_text(encoding="utf-8")
LINES = [line for block in PAGE.split("```")[1::2] for line in block.splitlines()]
NAMES = {
    "MODEL": "mockllm/base",
    "TUNED": "mockllm/tuned",
    "BASE_SAMPLES": "lm/org__base/samples_gsm8k_2026-11-21T10-20-30.1.jsonl",
    "TUNED_SAMPLES": "lm/tuned/samples_gsm8k_2026-11-21T10-20-30.1.jsonl",
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


def test_every_documented_command_of_aftertune_runs(
    logs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, path in zip(("base", "tuned"), logs, strict=True):
        shutil.copy(path, tmp_path / f"{name}.eval")
    samples(tmp_path / "lm" / "org__base", 1.0)
    samples(tmp_path / "lm" / "tuned", 0.0)
    (tmp_path / "responses.csv").write_text(
        "prompt,response\nHow are you?,I am well today and hope that you are too.\n"
    )
    results = [f"{name},p{i},harm,{value}" for name, value in (("base", 0), ("tuned", 1)) for i in range(30)]
    (tmp_path / "results.csv").write_text("\n".join(["checkpoint,prompt,metric,value", *results]) + "\n")
    monkeypatch.chdir(tmp_path)
    commands = [line for line in LINES if line.startswith("aftertune ")]
    assert len(commands) >= 9
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
