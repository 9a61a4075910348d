"""The Python on the pages runs as it stands there, with the names that a reader has by then; one page is only parsed."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
from tests import fakes

from aftertune import shipped_models

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
RUN = ("tutorial.md", "repair.md")
"""Pages whose blocks are run here."""
RUN_ELSEWHERE = {
    "plugins.md": "test_plugin_docs.py installs them",
    "reference.md": "signatures: tests/commands/test_reference.py",
}
REFUSES = "I'm sorry, but I can't help with that."


PARSED = ("training.md",)
"""Read by test_docs.py alone: its script looks every 50 steps, and so needs a longer training."""


def blocks(page: str) -> list[str]:
    return BLOCK.findall((DOCS / page).read_text(encoding="utf-8"))


def run(page: str, names: dict[str, Any]) -> None:
    """Run the blocks of a page one after the other, as in one session."""
    for block in blocks(page):
        exec(compile(block, page, "exec"), names)


def test_no_page_has_python_that_nothing_runs() -> None:
    pages = [*DOCS.rglob("*.md"), *DOCS.parent.glob("*.md")]
    found = {page.name for page in pages if BLOCK.search(page.read_text(encoding="utf-8"))}
    assert found == {*RUN, *RUN_ELSEWHERE, *PARSED}


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
            max_steps=1,
            report_to="none",
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
            gradient_checkpointing=False,
        ),
    }


@pytest.mark.skipif(not shipped_models.names(), reason="no embedded model is built")
def test_a_training_script_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the trainers' own
        own = names()
        run("repair.md", own)
    assert own["trainer"].state.global_step == 1
