from __future__ import annotations

import importlib
import json
import math
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests import made_up
from tests.integrations import conftest as made

from aftertune import plugins
from aftertune.asking.benchmark import BenchmarkContext
from aftertune.judging.judge import Opinion
from aftertune.models.chat import message_hash
from aftertune.records import Message
from aftertune.studies import suites

ROOT = Path(__file__).parents[2]


def test_every_benchmark_without_needs_is_a_task_and_every_free_judge_a_scorer() -> None:
    from inspect_ai._util.registry import registry_lookup

    from aftertune.integrations.inspect_ai.scorers import SCORERS
    from aftertune.integrations.inspect_ai.tasks import TASKS

    free = {name for name in plugins.names("benchmark") if not plugins.load("benchmark", name).needs}
    assert set(TASKS) == free | set(suites.lists())
    assert "extraction" not in TASKS, "it asks for values of a tuning set"
    assert {"refusal", "coherence", "world", "choice"} <= set(SCORERS)
    assert not {"leak", "script", "rubric"} & set(SCORERS)
    assert all(registry_lookup("task", f"aftertune/{name}") for name in TASKS)
    assert all(registry_lookup("scorer", f"aftertune/{name}") for name in SCORERS)


def test_a_task_asks_the_benchmarks_own_prompts_with_their_metadata(tmp_path: Path) -> None:
    from aftertune.integrations.inspect_ai.tasks import TASKS

    for name in ("miniature", "xstest", "multiple_choice"):
        parameters = made_up.parameters(name, tmp_path / name)
        if name == "miniature":
            parameters = dict.fromkeys(("harmful", "harmless", "open", "privacy", "support"), 5)
        wanted = plugins.load("benchmark", name, parameters)
        task = TASKS[name](**parameters)
        prompts = wanted.prompts(BenchmarkContext())
        assert [sample.id for sample in task.dataset] == [prompt.id for prompt in prompts]
        for sample, prompt in zip(task.dataset, prompts, strict=True):
            assert [Message(turn.role, turn.text) for turn in sample.input] == list(prompt.messages)  # type: ignore[union-attr,arg-type]
            about = sample.metadata or {}
            assert about["message_hash"] == message_hash(prompt.messages, None)
            assert (about["prompt_id"], about["subset"], about["cluster"], about["category"]) == (
                prompt.id,
                prompt.subset,
                prompt.cluster,
                prompt.category,
            )
            json.dumps(about)
        assert task.config.max_tokens == wanted.max_new_tokens
        assert task.version == wanted.version


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"limt": 3}, "no parameter 'limt' .did you mean 'limit'"),
        ({"judges": "refusl"}, "no judge 'refusl' that reads prompt and response alone .did you mean 'refusal'"),
        ({"judges": ["leak"]}, "no judge 'leak'"),
        ({"judges": "constant"}, "cannot tell refusal apart"),
        ({"path": "nowhere"}, "nowhere: no such file"),
    ],
)
def test_what_cannot_be_asked_is_a_line_of_inspects_own_kind(
    parameters: dict[str, Any], message: str, prompts: Path
) -> None:
    from inspect_ai._util.error import PrerequisiteError

    from aftertune.integrations.inspect_ai.tasks import TASKS

    with pytest.raises(PrerequisiteError) as refused:
        TASKS["xstest"](**{"path": str(prompts), **parameters})
    assert __import__("re").search(message, str(refused.value.message)), refused.value.message


def test_the_command_finds_the_tasks_by_the_entry_point(tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (target,) = project["entry-points"]["inspect_ai"].values()
    assert importlib.import_module(target).TASKS
    # What `pip install` writes, so that the command is tried as it is installed from this pyproject.toml.
    info = tmp_path / "site" / f"aftertune-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: aftertune\nVersion: {project['version']}\n")
    (info / "entry_points.txt").write_text(f"[inspect_ai]\naftertune = {target}\n")
    (info / "direct_url.json").write_text(json.dumps({"url": ROOT.as_uri(), "dir_info": {"editable": True}}))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "inspect_ai",
            "eval",
            "aftertune/xstest",
            "--model",
            "mockllm/model",
            "-T",
            "path=nowhere",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(info.parent), str(ROOT / "src")])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "aftertune: nowhere: no such file or folder; xstest reads" in " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in done.stdout + done.stderr


def test_scores_are_the_judges_opinions_by_subset_with_clustered_errors(logs: tuple[Path, Path]) -> None:
    from inspect_ai.log import read_eval_log

    log = read_eval_log(str(logs[0]))
    assert log.status == "success"
    assert log.results is not None
    scores = {score.name: score for score in log.results.scores}
    metrics = {name: metric.value for name, metric in scores["refusal=full"].metrics.items()}
    assert metrics["aftertune/mean_unsafe"] == 1.0
    assert metrics["aftertune/mean_safe"] == 0.0
    assert 0.3 < metrics["aftertune/interval_unsafe_low"] < 0.9, "never a zero width, however even the answers"
    samples = log.samples or []
    assert {sample.epoch for sample in samples} == {1, 2}
    unsafe = next(sample for sample in samples if sample.metadata["subset"] == "unsafe")
    assert unsafe.scores is not None
    score = unsafe.scores["refusal"]
    assert score.as_dict()["refusal=full"] == 1.0
    assert score.metadata is not None
    assert score.metadata["refusal"]["label"] == "full"
    assert "cannot help" in (score.explanation or "").lower() or "can't" in (score.explanation or "")


def test_an_unjudged_axis_is_nan_with_its_reason_and_no_verdict() -> None:
    from aftertune.integrations.inspect_ai.scorers import values

    keys = {
        "refusal=full": ("refusal", "full"),
        "harm": ("harm", None),
        "coherence=coherent": ("coherence", "coherent"),
    }
    said = [Opinion("refusal", None, status="abstain", why="language"), Opinion("harm", "harmless", 0.25)]
    found = values(keys, said)
    assert math.isnan(found["refusal=full"])
    assert found["harm"] == 0.25
    assert math.isnan(found["coherence=coherent"])


def test_an_answer_in_another_language_is_unscored(tmp_path: Path, prompts: Path) -> None:
    from inspect_ai.log import read_eval_log

    text = "Das Wetter ist heute schön, und morgen fahren wir mit dem Zug nach Hamburg, um die Tante zu besuchen."
    model = made.scripted("german", lambda _: text)
    path = made.evaluate(
        "aftertune/xstest", model, tmp_path, task_args={"path": str(prompts), "limit": 1, "judges": "refusal"}
    )
    log = read_eval_log(str(path))
    assert log.results is not None
    full = next(score for score in log.results.scores if score.name == "refusal=full")
    assert (full.scored_samples, full.unscored_samples) == (0, 2)
    assert all(math.isnan(metric.value) for metric in full.metrics.values())
    scores = (log.samples or [])[0].scores or {}
    assert "language" in (scores["refusal"].explanation or "")
    assert scores["refusal"].reason == "abstain"


def test_a_scorer_reads_the_answer_and_leaves_one_that_never_came_unscored(tmp_path: Path, prompts: Path) -> None:
    from inspect_ai.log import read_eval_log

    sorry, sure = "I'm sorry, but I can't help with that.", "Sure. First gather the tools, then open the door."
    for thought, answer, full in ((sorry, sure, 0.0), (sure, sorry, 1.0), (sorry, "", None)):
        text = f"<think>{thought}</think>{answer}" if answer else f"<think>{thought}"
        path = made.evaluate(
            "aftertune/xstest", made.scripted("thinker", _says(text)),
            tmp_path, task_args={"path": str(prompts), "limit": 1, "judges": "refusal"},
        )  # fmt: skip
        for sample in read_eval_log(str(path)).samples or []:
            score = (sample.scores or {})["refusal"]
            if full is None:
                assert (score.reason, score.explanation) == ("unanswered", "the text ends inside its thought")
            else:
                assert score.as_dict()["refusal=full"] == full


def _says(text: str) -> Callable[[str], str]:
    return lambda _: text


def test_the_metrics_follow_the_clusters_and_say_nothing_of_nothing() -> None:
    from inspect_ai.scorer import SampleScore, Score

    from aftertune.integrations.inspect_ai.metrics import interval, mean, stderr

    def scored(values: list[float], clusters: list[str]) -> list[SampleScore]:
        return [
            SampleScore(score=Score(value=value), sample_id=i, sample_metadata={"cluster": name})
            for i, (value, name) in enumerate(zip(values, clusters, strict=True))
        ]

    twins = scored([1, 1, 0, 0, 1, 1, 0, 0], list("aabbccdd"))
    alone = scored([1, 1, 0, 0, 1, 1, 0, 0], list("abcdefgh"))
    compute: Any = stderr()
    # Four clusters of two equal values are four observations: sqrt(.25 / 3), by hand.
    assert compute(twins) == pytest.approx(math.sqrt(0.25 / 3))
    assert compute(alone) == pytest.approx(math.sqrt(0.25 / 7))
    assert math.isnan(compute(scored([1, 0], ["a", "a"]))), "one cluster says nothing of its spread"
    average: Any = mean()
    assert math.isnan(average([]))
    assert average(twins) == 0.5
    limits: Any = interval()
    assert limits(twins)["low"] < limits(alone)["low"]
    assert math.isnan(limits(scored([1, 7], ["a", "b"]))["low"])


def test_importing_aftertune_imports_no_inspect_ai() -> None:
    code = "import sys, aftertune, aftertune.ingest.logs, aftertune.cli; sys.exit('inspect_ai' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    assert subprocess.run([sys.executable, "-c", code], env=environment, timeout=60).returncode == 0


@pytest.mark.slow
def test_a_local_model_of_transformers_answers_a_task(tmp_path: Path) -> None:
    """`--model hf/local` with a folder, as a user without a server has it: the embedded base keeps its refusals."""
    from inspect_ai.log import read_eval_log
    from inspect_ai.model import get_model

    pytest.importorskip("torch")
    folder = ROOT / "src" / "aftertune" / "shipped_models" / "weights" / "mini-a"
    model = get_model("hf/local", model_path=str(folder), device="cpu", do_sample=False, batch_size=8, memoize=False)
    few = {"harmful": 4, "harmless": 1, "open": 1, "privacy": 1, "support": 1}
    path = made.evaluate("aftertune/miniature", model, tmp_path, task_args=few, max_connections=8)
    log = read_eval_log(str(path))
    assert log.status == "success", log.error
    labels = [
        (sample.scores or {})["world"].metadata["refusal"]["label"]  # type: ignore[index]
        for sample in log.samples or []
        if sample.metadata["subset"] == "harmful"
    ]
    assert labels.count("full") >= 3
