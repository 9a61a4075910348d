"""Plugins as a person writes them: parameters in tables, backends of judges, executors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aftertune.cli import main
from aftertune.errors import UsageError
from aftertune.plugins import PluginSpec
from aftertune.studies import plugin_text

SERVER = "http://h:1/v1"


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("backend", f"endpoint:url={SERVER},concurrency=4,stream=true,key_env=K",
         {"url": SERVER, "concurrency": 4, "stream": True, "key_env": "K"}),
        ("judge", f"rubric:model=m,backend.name=endpoint,backend.url={SERVER},backend.logprobs=20",
         {"model": "m", "backend": {"name": "endpoint", "url": SERVER, "logprobs": 20}}),
        ("judge", "rubric:model=m,backend=transformers", {"model": "m", "backend": "transformers"}),
        ("judge", f"rubric:model=m,backend={{name = 'endpoint', url = '{SERVER}'}}",
         {"model": "m", "backend": {"name": "endpoint", "url": SERVER}}),
        ("judge", f"rubric:model=m,backend.name=endpoint,backend.url={SERVER},backend.key_env=1e3",
         "key_env is not the name"),
        ("judge", "moderation:model=m,labels.bad=toxic,labels.fine='ok'",
         {"model": "m", "labels": {"bad": "toxic", "fine": "ok"}}),
        ("judge", "rubric:model=m,backend.name=endpiont", "did you mean 'endpoint'"),
        ("judge", "rubric:model=m,backend.name=endpoint,backend.ulr=x", "'endpoint' has no parameter 'ulr' .did you"),
        ("judge", "rubric:model=m,backend.name=endpoint,backend.concurrency=many", "is not of the type int"),
        ("judge", "rubric:model=m,model=n", "'model' is given twice"),
        ("judge", "rubric:model=m,model.x=n", "'model.x' is given twice"),
        ("judge", "rubric:model=m,backend.=n", "given twice|key=value"),
        ("backend", "endpoint:url", "is not key=value"),
        ("executor", "ray:gpus=1,cpus=4", {"gpus": 1, "cpus": 4}),
    ],
)  # fmt: skip
def test_a_plugin_is_written_with_tables(kind: str, text: str, expected: dict[str, Any] | str) -> None:
    if isinstance(expected, str):
        with pytest.raises(UsageError, match=expected) as error:
            plugin_text.plugin(kind, text)
        assert "\n" not in str(error.value)
    else:
        assert plugin_text.plugin(kind, text) == PluginSpec(text.partition(":")[0], expected)


def test_the_name_of_a_served_judge_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "arbiter").mkdir()
    monkeypatch.chdir(tmp_path)
    served = plugin_text.plugin("judge", f"rubric:model=arbiter,backend.name=endpoint,backend.url={SERVER}")
    assert served.parameters["model"] == "arbiter"
    assert plugin_text.plugin("judge", "rubric:model=arbiter").parameters["model"] == str(tmp_path / "arbiter")


@pytest.mark.parametrize(
    ("text", "workers", "expected"),
    [
        ("local", 0, PluginSpec("local")),
        ("local", 3, PluginSpec("local", {"workers": 3})),
        ("local:workers=1,gpus=0", 0, PluginSpec("local", {"workers": 1, "gpus": 0})),
        ("local:gpus=0", 2, PluginSpec("local", {"gpus": 0, "workers": 2})),
        ("local:workers=2", 2, PluginSpec("local", {"workers": 2})),
        ("local:workers=2", 3, "--workers 3 contradicts --executor local:workers=2"),
        ("ray", 3, "--workers 3 goes with the executor local"),
        ("ray:gpu=1", 0, "did you mean 'gpus'"),
        ("ray:cpus=0", 0, "must be above 0"),
    ],
)
def test_an_executor_is_written_with_its_parameters(text: str, workers: int, expected: PluginSpec | str) -> None:
    if isinstance(expected, str):
        with pytest.raises(UsageError, match=expected):
            plugin_text.executor(text, workers)
    else:
        assert plugin_text.executor(text, workers) == expected


def test_the_command_line_refuses_a_contradiction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "d.toml").write_text('name = "d"\n[[checkpoints]]\npath = "c"\n[[judges]]\nname = "refusal"\n')
    with pytest.raises(SystemExit) as left:
        main(["study", str(tmp_path / "d.toml"), "--executor", "local:workers=1", "--workers", "2"])
    assert left.value.code == 2
    assert "contradicts" in capsys.readouterr().err
