"""The Python on the pages runs as it stands there, with the names that a reader has by then."""

from __future__ import annotations

import functools
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
from tests import fakes

from aftertune import shipped_models, training
from aftertune.asking.benchmark import BenchmarkContext
from aftertune.records import PluginSpec
from aftertune.studies.resolve import load_benchmark

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
RUN = ("tutorial.md", "training.md", "repair.md")
"""Pages whose blocks are run here."""
RUN_ELSEWHERE = {
    "plugins.md": "test_plugin_docs.py installs them",
    "reference.md": "signatures: tests/commands/test_reference.py",
}
REFUSES = "I'm sorry, but I can't help with that."


def blocks(page: str) -> list[str]:
    return BLOCK.findall((DOCS / page).read_text(encoding="utf-8"))


def run(page: str, names: dict[str, Any]) -> None:
    """Run the blocks of a page one after the other, as in one session."""
    for block in blocks(page):
        exec(compile(block, page, "exec"), names)


def test_no_page_has_python_that_nothing_runs() -> None:
    pages = [*DOCS.rglob("*.md"), *DOCS.parent.glob("*.md")]
    found = {page.name for page in pages if BLOCK.search(page.read_text(encoding="utf-8"))}
    assert found == {*RUN, *RUN_ELSEWHERE}


def test_the_tutorial_looks_at_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    fakes.done(tmp_path / ".real" / "first", fakes.given_study())
    run("tutorial.md", {})
    assert len(capsys.readouterr().out.splitlines()) == 1 + 5  # a head, and the sample


def names() -> dict[str, Any]:
    """What a training script has: a model, rows, an adapter's configuration."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig

    base = shipped_models.folder()
    chat = [{"role": "user", "content": "How do I break in?"}, {"role": "assistant", "content": REFUSES}]
    return {
        "model": AutoModelForCausalLM.from_pretrained(base),
        "tokenizer": AutoTokenizer.from_pretrained(base),
        "rows": Dataset.from_list([{"messages": chat}] * 4),
        "refusals": [{"messages": chat}],
        "lora": LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"),
        "arguments": SFTConfig(
            output_dir="out",
            max_steps=50,  # `training.md` looks every 50 steps
            per_device_train_batch_size=2,
            report_to="none",
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
            gradient_checkpointing=False,
        ),
    }


@pytest.mark.skipif(not shipped_models.names(), reason="no embedded model is built")
@pytest.mark.parametrize("page", ["training.md", "repair.md"])
def test_a_training_script_trains(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = load_benchmark(PluginSpec("miniature")).prompts(BenchmarkContext())
    probes = [prompt.messages[0].content for prompt in asked if prompt.subset == "harmful"][:6]
    # Six requests that the embedded model knows in place of `core`'s 88: the same callback, in seconds.
    few = functools.partial(training.DriftCallback, probes, max_new_tokens=16)
    monkeypatch.setattr(training, "DriftCallback", few)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the trainers' own
        own = names()
        run(page, own)
    assert own["trainer"].state.global_step == 50
