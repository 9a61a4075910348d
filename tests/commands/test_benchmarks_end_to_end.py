"""Benchmarks with files through an audit and a design file, on the embedded model, with a handful of prompts."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from tests import made_up

from aftertune import files, plugins
from aftertune import shipped_models as embedded
from aftertune.cli import main
from aftertune.commands import audit as auditing
from aftertune.commands import decide as results
from aftertune.commands import fetch
from aftertune.commands import study as running
from aftertune.data.datasets import Dataset, Download, RemoteFile
from aftertune.deciding import measures
from aftertune.errors import DataError, UsageError
from aftertune.plugins import PluginSpec
from aftertune.studies import design as designs
from aftertune.studies import suites
from aftertune.studies.design import Given
from aftertune.studies.resolve import resolve_benchmark

ONE = PluginSpec("local", {"workers": 1})
pytestmark = pytest.mark.skipif(not embedded.names(), reason="no embedded model is built")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFTERTUNE_CACHE", str(tmp_path / "cache"))


def test_a_design_file_asks_benchmarks_beside_it(tmp_path: Path) -> None:
    """Probes of both classes, an action, memories and options in one run; the paths are relative to the design."""
    asked = ("privacylens", "cimemories", "multiple_choice", "prompt_list")
    for name in asked:
        made_up.parameters(name, tmp_path / name)
    parts = "\n".join(f'[[benchmarks]]\nname = "{name}"\npath = "{name}"\nlimit = 2\n' for name in asked)
    parts = parts.replace('path = "privacylens"', 'path = "privacylens"\nparts = "seed,vignette"')
    (tmp_path / "d.toml").write_text(
        f'name = "d"\nkind = "audit"\nbases = ["embedded"]\n[[checkpoints]]\npath = "{embedded.known_bad()}"\n{parts}\n'
        '[[judges]]\nname = "refusal"\n[[judges]]\nname = "choice"\n[[judges]]\nname = "shared_items"\n'
        '[[judges]]\nname = "coherence"\n'
    )
    result = running.run(designs.read(tmp_path / "d.toml"), tmp_path / "run", executor=ONE)
    metrics = {drift.metric for drift in result.drifts}
    assert "multiple_choice/test/choice=correct" in metrics
    assert "prompt_list/harmful/refusal=full" in metrics
    names = {(each.benchmark, each.name) for each in result.measures}
    assert names == {
        *(("privacylens", f"{what}, {level}{how}") for what in ("d-prime", "criterion")
          for level in ("seed", "vignette") for how in ("", ", by log-probability")),
        *(("privacylens", f"AUROC, {level}, by log-probability") for level in ("seed", "vignette")),
        ("cimemories", "violation"),
    }  # fmt: skip
    violation = [each for each in result.measures if each.name == "violation"]
    assert violation
    assert all(each.value is not None and each.low is not None and each.high is not None for each in violation)
    kept = json.loads((tmp_path / "run" / "measures.json").read_text())
    assert len(kept) == len(result.measures) == len(measures.lines(result.measures))
    again = results.again(tmp_path / "run")
    assert again.measures == result.measures, "the bootstrap is seeded by the design"


def test_an_audit_takes_any_benchmark_as_its_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cls = plugins.plugin_class("benchmark", "xstest")
    (name, text), *_ = cls.example.items()
    with pytest.raises(DataError, match="aftertune fetch xstest"):
        auditing.audit("embedded", [Given(str(embedded.known_bad()))], tmp_path / "run", suite="xstest", executor=ONE)
    assert not (tmp_path / "run").exists(), "refused before anything is written"
    there = Dataset("p", "l", (RemoteFile(name, "https://example.org/x"),))
    monkeypatch.setattr(cls, "datasets", {"": there})

    def arrives(file: RemoteFile, path: Path, *_: object) -> Download:
        path.parent.mkdir(parents=True)
        path.write_text(text)
        return Download(file.url, files.checksum(path), len(text))

    monkeypatch.setattr(fetch, "_download", arrives)
    with pytest.raises(SystemExit) as left:
        main(["fetch", "xstest"])
    assert left.value.code == 0
    assert "first fetch is trusted" in capsys.readouterr().out
    with pytest.raises(SystemExit) as left:
        main(["audit", "embedded", str(embedded.known_bad()), "--suite", "xstest", "-o", str(tmp_path / "run"),
              "--workers", "1", "--quiet", "--json"])  # fmt: skip
    assert left.value.code in (0, 3, 4)
    found = json.loads(capsys.readouterr().out)
    assert {drift["metric"].split("/")[0] for drift in found["drifts"]} == {"xstest"}


def test_every_name_is_a_suite_with_judges_that_exist() -> None:
    for name in suites.names():
        suite = suites.named(name)
        assert suite.benchmarks
        assert {spec.name for spec in suite.judges} <= set(plugins.names("judge"))
    with pytest.raises(UsageError, match="did you mean 'harmbench'"):
        suites.named("harmbensh")
    with pytest.raises(UsageError, match="no suite 'prompt_list'"):
        suites.named("prompt_list")


def test_a_broken_file_is_refused_before_a_model_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("id,prompt,type,label\n1,,homonyms,safe\n")
    design = auditing.audit_design("embedded", [Given(str(embedded.known_bad()))])
    broken = dataclasses.replace(design, benchmarks=(PluginSpec("xstest", {"path": str(tmp_path / "x.csv")}),))
    with pytest.raises(DataError, match=r"x\.csv:2: prompt is empty"):
        running.run(broken, tmp_path / "run", executor=ONE)
    assert not (tmp_path / "run").exists()


def test_a_changed_file_is_another_run(tmp_path: Path) -> None:
    parameters = made_up.parameters("confaide", tmp_path)
    spec = PluginSpec("confaide", parameters)
    before = resolve_benchmark(spec).id
    assert resolve_benchmark(spec).id == before
    (tmp_path / "tier_4.txt").write_text((tmp_path / "tier_4.txt").read_text().replace("cake", "pie"))
    assert resolve_benchmark(spec).id != before


def test_a_changed_default_is_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = PluginSpec("miniature")
    before = resolve_benchmark(spec).id
    changed = dataclasses.replace(plugins.load("benchmark", "miniature"), privacy=7)
    monkeypatch.setattr(plugins, "load", lambda *_: changed)
    assert resolve_benchmark(spec).id != before
