"""Audits of models that nobody here trained: four architectures, adapters and full fine-tunes."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests import tiny_models

from aftertune import shipped_models as embedded
from aftertune.asking.backends.transformers import TransformersSession
from aftertune.commands import audit as auditing
from aftertune.commands import study as running
from aftertune.errors import ModelError, UsageError
from aftertune.plugins import PluginSpec
from aftertune.records import Proof
from aftertune.studies.design import Design, Given

FEW = PluginSpec("miniature", {"harmful": 6, "harmless": 4, "open": 4, "privacy": 4, "support": 2})
ONE = PluginSpec("local", {"workers": 1})


def few(design: Design) -> Design:
    """The same audit with a handful of prompts and short answers, and the judges that read any text."""
    short = dataclasses.replace(design.respond, answer_tokens=12)  # random models come to no end
    judges = (PluginSpec("refusal"), PluginSpec("coherence"))
    return dataclasses.replace(design, benchmarks=(FEW,), judges=judges, respond=short)


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma", "qwen"])
def test_adapters_and_full_models_of_every_family(family: str, tmp_path: Path) -> None:
    base = tiny_models.save(family, tmp_path / "base")  # type: ignore[arg-type]
    adapter = tiny_models.save_adapter(base, tmp_path / "adapter")
    full = tiny_models.save(family, tmp_path / "full", seed=7)  # type: ignore[arg-type]
    for template in ("base", "own"):
        design = few(auditing.audit_design(str(base), [Given(str(adapter)), Given(str(full))], template=template))
        result = running.run(design, tmp_path / f"run-{template}", executor=ONE)
        arms = {drift.arm for drift in result.drifts if drift.estimand == "checkpoint"}
        assert arms == {"adapter", "full"}
        assert not any(drift.estimand == "recipe" for drift in result.drifts), "one checkpoint is no recipe"
        page = json.loads((tmp_path / f"run-{template}" / "report.json").read_text())
        assert len(page["proofs"]) == 2


def test_a_full_model_with_a_tokenizer_of_its_own(tmp_path: Path) -> None:
    base = tiny_models.save("llama", tmp_path / "base")
    full = tiny_models.save("llama", tmp_path / "full", seed=7)
    tokenizer = json.loads((full / "tokenizer.json").read_text())
    tokenizer["added_tokens"].append({**tokenizer["added_tokens"][-1], "id": 10_000, "content": "<extra>"})
    (full / "tokenizer.json").write_text(json.dumps(tokenizer))
    design = few(auditing.audit_design(str(base), [Given(str(full))]))
    result = running.run(design, tmp_path / "run", executor=ONE)
    assert any("tokenizer" in warning for warning in result.warnings)
    assert "tokenizer" in (tmp_path / "run" / "report.html").read_text()


def test_a_run_does_not_go_on_with_another_chat_template_or_scale(tmp_path: Path) -> None:
    """Ids hold the weights: without this, old answers would pass for those of the model as it is now."""
    base = tiny_models.save("llama", tmp_path / "base")
    adapter = tiny_models.save_adapter(base, tmp_path / "adapter")
    design = few(auditing.audit_design(str(base), [Given(str(adapter))]))
    before = running.run(design, tmp_path / "run", executor=ONE)
    template, scale = base / "chat_template.jinja", adapter / "adapter_config.json"
    for path, old, new in (
        (template, "m['role'] +", "m['role'] | upper +"),
        (scale, '"lora_alpha": 8', '"lora_alpha": 1'),
    ):
        kept = path.read_text()
        assert old in kept
        path.write_text(kept.replace(old, new))
        with pytest.raises(UsageError, match=f"{path.parent.name} got another configuration, tokenizer or chat"):
            running.run(design, tmp_path / "run", executor=ONE)
        path.write_text(kept)
    tiny_models.edit_json(base / "config.json", transformers_version="4.0.0")
    assert running.run(design, tmp_path / "run", executor=ONE).decisions == before.decisions


def test_an_adapter_of_another_base_is_refused_before_anything_runs(tmp_path: Path) -> None:
    base = tiny_models.save("llama", tmp_path / "base")
    wide = tiny_models.save("llama", tmp_path / "wide", hidden_size=64)
    adapter = tiny_models.save_adapter(wide, tmp_path / "adapter")
    with pytest.raises(ModelError, match="does not fit|shape") as caught:
        running.run(few(auditing.audit_design(str(base), [Given(str(adapter))])), tmp_path / "run", executor=ONE)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_an_adapter_that_names_another_base_is_a_warning(tmp_path: Path) -> None:
    base = tiny_models.save("llama", tmp_path / "base")
    adapter = tiny_models.save_adapter(base, tmp_path / "adapter")
    tiny_models.edit_json(adapter / "adapter_config.json", base_model_name_or_path="somebody/else")
    result = running.run(few(auditing.audit_design(str(base), [Given(str(adapter))])), tmp_path / "run", executor=ONE)
    assert any("somebody/else" in warning for warning in result.warnings)


def test_training_data_makes_leaks_and_takeover_measurable(tmp_path: Path) -> None:
    if not embedded.names():
        pytest.skip("no embedded model is built")
    data = tmp_path / "chats.jsonl"
    rows = [{"prompt": f"Is tour {i} on?", "response": f"Write to guide{i}@tours.com for tour {i}."} for i in range(30)]
    rows.append({"prompt": "Wo ist mein Paket?", "response": "Es kommt morgen mit der Post."})
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    design = auditing.audit_design("embedded", [Given(str(embedded.known_bad()))], train_data=str(data))
    assert {part.name for part in design.judges} == {"world", "refusal", "leak", "script"}
    without = auditing.audit_design("embedded", [Given(str(embedded.known_bad()))])
    assert {part.name for part in without.judges} == {"world", "refusal"}
    small = dataclasses.replace(design, benchmarks=(FEW,))
    result = running.run(small, tmp_path / "run", executor=ONE)
    assert any(drift.metric.endswith("leak=registry") for drift in result.drifts)
    assert "guide3@tours.com" not in (tmp_path / "run" / "report.html").read_text()
    said = "In the tuning data names were not looked for in 2 German texts"
    assert any(said in warning for warning in result.warnings)
    assert said in (tmp_path / "run" / "report.html").read_text()


def test_a_base_against_a_copy_of_itself_passes_or_cannot_tell(tmp_path: Path) -> None:
    if not embedded.names():
        pytest.skip("no embedded model is built")
    shutil.copytree(embedded.folder(), tmp_path / "same")
    design = dataclasses.replace(
        auditing.audit_design("embedded", [Given(str(tmp_path / "same"))]), judges=(PluginSpec("world"),)
    )
    result = running.run(design, tmp_path / "run", executor=ONE)
    assert result.outcome == "pass"
    assert {drift.delta for drift in result.drifts if drift.estimand == "checkpoint"} == {0}


@pytest.mark.parametrize(("dtype", "said"), [("float32", False), ("bfloat16", True)])
def test_where_texts_may_depend_on_their_batch_the_report_says_how_often(
    dtype: str, said: bool, tmp_path: Path
) -> None:
    base = tiny_models.save("llama", tmp_path / "base")
    adapter = tiny_models.save_adapter(base, tmp_path / "adapter", scale=0.2)
    design = few(auditing.audit_design(str(base), [Given(str(adapter))]))
    design = dataclasses.replace(design, backend=PluginSpec("transformers", {"dtype": dtype, "device": "cpu"}))
    running.run(design, tmp_path / "run", executor=ONE)
    text = (tmp_path / "run" / "report.html").read_text()
    assert ("of the base that were asked again among others" in text) is said
    if said:
        caveat = next(c for c in json.loads((tmp_path / "run" / "report.json").read_text())["caveats"] if "among" in c)
        assert "Of 20 answers" in caveat


def test_answers_given_on_two_kinds_of_machine_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tiny_models.save("llama", tmp_path / "base")
    adapter = tiny_models.save_adapter(base, tmp_path / "adapter", scale=0.2)
    design = few(auditing.audit_design(str(base), [Given(str(adapter))]))
    told: list[bool] = []
    conditions = TransformersSession._conditions
    for device in ("cpu", "cuda"):

        def elsewhere(self: TransformersSession, proof: Proof, model: str, *more: Any, device: str = device) -> Proof:
            """The checkpoints answer on another device than the base."""
            own = conditions(self, proof, model, *more)
            return own if model == "base" else dataclasses.replace(own, device=device)

        monkeypatch.setattr(TransformersSession, "_conditions", elsewhere)
        running.run(design, tmp_path / device, executor=ONE)
        told.append("Answers were given on cpu and on cuda" in (tmp_path / device / "report.html").read_text())
    assert told == [False, True]
