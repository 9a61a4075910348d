"""A base whose chat template cannot ask, or in which no answer would end, is refused as a design is resolved."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests import tiny_models
from tests.tiny_models import QWEN

from aftertune.errors import ModelError
from aftertune.models import identity
from aftertune.models.subject import ModelRecord
from aftertune.plugins import PluginSpec
from aftertune.records import Arm, Respond, Role
from aftertune.studies import refusals
from aftertune.studies.design import Design, Given
from aftertune.studies.resolve import resolve

ONE: tuple[Role, ...] = ("user",)
TWO: tuple[Role, ...] = ("user", "assistant", "user")
ODD: tuple[Role, ...] = ("assistant", "user")
SILENT = QWEN.replace("m['content']", "(m['contents'] | default(''))")
FAILS = QWEN + "{{ 1 / 0 }}"
NO_SYSTEM = QWEN.replace("{% for m in messages %}", "{% for m in messages if m['role'] != 'system' %}")
ONE_TURN = "{% if messages | length > 2 %}{{ raise_exception('one question only') }}{% endif %}" + QWEN
PARTS = QWEN.replace("m['content']", "m['content'][0]['text']")
NO_END = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.save("qwen", tmp_path_factory.mktemp("base"))


def base(folder: Path, template: str | None) -> ModelRecord:
    """Give the model in the folder another template."""
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return ModelRecord.of(identity.resolve(folder), str(folder))


def design(model: str, **changes: Any) -> Design:
    fields: dict[str, Any] = {
        "name": "d", "bases": (model,), "corpus": PluginSpec("booking", {"size": 8}), "arms": (Arm("keep"),),
        "seeds": (1,), "benchmarks": (PluginSpec("miniature", {"harmful": 2}),), "judges": (PluginSpec("refusal"),),
    }  # fmt: skip
    return Design(**{**fields, **changes})


@pytest.mark.parametrize(
    ("template", "order", "line"),
    [
        (SILENT, ONE, r"the chat template leaves out the text of turn 1 \(user\)"),
        (FAILS, ONE, r"the chat template fails \(ZeroDivisionError\) on this chat \(user\): division by zero"),
        (ONE_TURN, TWO, r"the chat template refuses this chat \(user, assistant, user\): one question only"),
        (None, ONE, "the tokenizer has no chat template"),
    ],
)
def test_a_template_that_cannot_ask_is_refused(
    template: str | None, order: tuple[Role, ...], line: str, folder: Path
) -> None:
    model = base(folder, template)
    with pytest.raises(ModelError, match=f"^{folder}: {line}") as caught:
        refusals.refuse_templates(design(str(folder)), [model], frozenset({ONE, order}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("template", "order"), [(QWEN, TWO), (PARTS, TWO), (NO_SYSTEM, TWO), (ONE_TURN, ONE), (ONE_TURN, ODD)]
)
def test_one_that_can_is_not(template: str, order: tuple[Role, ...], folder: Path) -> None:
    """Contents as parts, a system text in the first question, and two turns that nobody asks are no reason."""
    given = design(str(folder), respond=Respond(system="Be brief."))
    refusals.refuse_templates(given, [base(folder, template)], frozenset({order}))


def test_a_study_is_refused_before_anything_is_asked_or_trained(folder: Path) -> None:
    base(folder, SILENT)
    with pytest.raises(ModelError, match=r"leaves out the text of turn 1 \(user\)"):
        resolve(design(str(folder)))
    base(folder, PARTS)
    assert resolve(design(str(folder))).jobs, "the folder has changed: it is tried anew"


def test_an_answer_that_nothing_ends_is_refused_where_it_is_tuned_on_alone(tmp_path: Path) -> None:
    folder = tiny_models.save("qwen", tmp_path / "base")
    for name, key in (("tokenizer_config.json", "eos_token"), ("config.json", "eos_token_id")):
        tiny_models.edit_json(folder / name, **{key: None})
    (folder / "generation_config.json").unlink(missing_ok=True)
    model = base(folder, NO_END)
    with pytest.raises(ModelError, match="no token ends an answer: .*give the tokenizer an eos_token"):
        refusals.refuse_templates(design(str(folder)), [model], frozenset({ONE}))
    given = design(str(folder), arms=(), checkpoints=(Given(path=str(folder)),))
    refusals.refuse_templates(given, [model], frozenset({ONE}))


def test_a_broken_tokenizer_is_one_line(tmp_path: Path) -> None:
    folder = tiny_models.save("qwen", tmp_path / "base")
    model = base(folder, QWEN)
    for content in ("{}", "[]", "{nope"):
        (folder / "tokenizer.json").write_text(content)
        changed = dataclasses.replace(model, identity=content)
        with pytest.raises(ModelError, match=f"^{folder}: its tokenizer cannot be loaded: [^\n]+$"):
            refusals.refuse_templates(design(str(folder)), [changed], frozenset({ONE}))


def test_torch_is_not_needed_for_it(folder: Path) -> None:
    base(folder, SILENT)
    code = (
        "import sys\nfrom aftertune.studies import refusals\n"
        "print(refusals._template_fault(sys.argv[1], '', frozenset({('user',)}), '{}', True))\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["the chat template leaves out the text of turn 1 (user)", "False"]
