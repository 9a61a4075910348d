"""The analysis and the predictor that the documentation shows do what it says of them."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aftertune.forecasting.predictor import TuningData
from aftertune.inside.analysis import Activations
from aftertune.inside.resolved import ResolvedAnalysis
from aftertune.records import Conversation, Message, PluginSpec, Prompt

PAGE = Path(__file__).parents[2] / "docs" / "plugins_inside.md"
CODE = {
    match.group(1): match.group(0)
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    if (match := re.match(r'"""(\w+).*', block, re.DOTALL))
}


def plugin(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    file = tmp_path / f"documented_{name.lower()}.py"
    file.write_text(CODE[name], encoding="utf-8")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, file.stem, module)
    spec.loader.exec_module(module)
    return module.PLUGIN()


def test_the_analysis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    likeness = plugin("Likeness", tmp_path, monkeypatch)
    assert ResolvedAnalysis.of(PluginSpec("likeness"), likeness).reads({"open"})
    prompts = [Prompt(f"p{n}", "b", "open", "c", f"k{n % 8}", (Message("user", "?"),)) for n in range(40)]
    selected = likeness.select([*prompts, Prompt("q", "b", "other", "c", "k", (Message("user", "?"),))])
    assert [each.prompt_id for each in selected] == [prompt.id for prompt in prompts]
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, 2, 16)).astype(np.float32)
    base, other = Activations(selected, values), Activations(selected, rng.normal(size=(40, 2, 16)).astype(np.float32))
    (same,) = likeness.compare(base, base, rng, confidence=0.95)
    (apart,) = likeness.compare(base, other, rng, confidence=0.95)
    assert same.value == pytest.approx(1)
    assert (same.layer, same.n_pairs, same.n_clusters) == (1, 40, 8)
    assert apart.low < 0 < apart.high


def test_the_predictor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terse = plugin("Terse", tmp_path, monkeypatch)
    chats = [
        Conversation(str(n), (Message("user", "?"), Message("assistant", text)))
        for n, text in enumerate(("a b", "a b c d e f g", "a", "a b c d e f"))
    ]
    (feature,) = terse.features(
        TuningData(chats, {}, lambda text: [len(word) for word in text.split()]),
        np.random.default_rng(0),
        confidence=0.95,
    )
    assert (feature.value, feature.n_tokens, feature.n_conversations) == (0.5, 16, 4)
    assert feature.low < 0.5 < feature.high
