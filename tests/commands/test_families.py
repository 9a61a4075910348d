"""Whole small studies on models that see, that hold experts, and that keep a state: tuned, asked, judged, decided."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests import tiny_families, tiny_models

from aftertune.asking.benchmarks.miniature import Miniature
from aftertune.commands import study as running
from aftertune.errors import ModelError
from aftertune.models import loading
from aftertune.plugins import PluginSpec
from aftertune.records import Arm, Recipe
from aftertune.studies.design import Design

ONE = PluginSpec("local", {"workers": 1})


PROMPTS = {"harmful": 2, "harmless": 2, "open": 2, "privacy": 2, "support": 2}


def design(base: Path, **changes: Any) -> Design:
    fields: dict[str, Any] = {
        "name": "families",
        "bases": (str(base),),
        "corpus": PluginSpec("booking", {"size": 12}),
        "arms": (Arm("keep"),),
        "seeds": (1,),
        "recipe": Recipe(learning_rate=5e-3, epochs=1, batch_size=4, rank=4, alpha=8, max_length=96),
        "benchmarks": (PluginSpec("miniature", PROMPTS),),
        "judges": (PluginSpec("refusal"), PluginSpec("leak")),
    }
    return Design(**{**fields, **changes})


@pytest.mark.parametrize(
    ("family", "place"),
    [
        ("gemma3", "model.language_model.layers.*.mlp.down_proj"),
        ("qwen3_moe", "model.layers.*.self_attn.o_proj"),
        ("falcon_h1", "model.layers.*.mamba.in_proj"),
    ],
)
def test_a_study_ends_in_decisions(family: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Miniature, "max_new_tokens", 6)
    base = tiny_families.save(family, tmp_path / "base")
    result = running.run(design(base), tmp_path / "run", executor=ONE, cache=False)
    (manifest,) = (tmp_path / "run" / "checkpoints").glob("*/manifest.json")
    facts = json.loads(manifest.read_text(encoding="utf-8"))["info"]["tuning"]
    assert place in facts["modules"]
    assert not any("vision" in module or "expert" in module for module in facts["modules"])
    manifests = (tmp_path / "run" / "responses").glob("*/manifest.json")
    proofs = [json.loads(each.read_text(encoding="utf-8"))["info"]["proof"] for each in manifests]
    assert sorted(proof["moved_weights"] > 0 for proof in proofs) == [False, True]
    rows = [
        row for file in (tmp_path / "run" / "responses").glob("*/*.parquet") for row in pq.read_table(file).to_pylist()
    ]
    assert len(rows) == 2 * sum(PROMPTS.values())
    assert not [row["error"] for row in rows if row["error"]]
    assert {drift.estimand for drift in result.drifts} >= {"checkpoint"}
    assert result.decisions


def encoder_decoder(folder: Path) -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    kind: Any = T5ForConditionalGeneration
    kind(T5Config(vocab_size=420, d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2)).save_pretrained(folder)
    tiny_models.tokenizer("qwen").save_pretrained(folder)


def impossible(folder: Path) -> None:
    tiny_families.save("llava", folder)
    tiny_models.edit_json(folder / "config.json", vision_config={"model_type": "clip_vision_model", "hidden_size": "x"})


def unread_tokenizer(folder: Path) -> None:
    tiny_models.save("llama", folder)
    tiny_models.edit_json(folder / "tokenizer.json", model={"type": "Unheard"})


@pytest.mark.parametrize("make", [encoder_decoder, impossible, unread_tokenizer])
def test_a_study_that_cannot_be_asked_is_refused_before_anything_runs(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "base")

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(loading, "load_weights", never)
    with pytest.raises(ModelError) as caught:
        running.run(design(tmp_path / "base"), tmp_path / "run", executor=ONE, cache=False)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "run").glob("*/*"))
