"""Code and pickles that lie in the folder of a model, an adapter or a data set are never run."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.tiny_models import save, save_adapter

from aftertune.cli import main
from aftertune.commands import study as running
from aftertune.plugins import PluginSpec
from aftertune.studies.design import Design, Given

PICKLES = ("pytorch_model.bin", "adapter_model.bin", "training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth",
           "model.ckpt", "tokenizer.pkl", "data.pkl")  # fmt: skip
SCRIPTS = ("modeling_trap.py", "configuration_trap.py", "tokenization_trap.py", "processing_trap.py", "setup.py",
           "conftest.py", "sitecustomize.py", "__init__.py", "custom_generate/generate.py", "torch.py", "peft.py")  # fmt: skip
TEMPLATE_TRAP = "{{ ''.__class__.__mro__[1].__subclasses__() }}{{ cycler.__init__.__globals__.os.system('touch %s') }}"


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, sprung: Path) -> None:
        self._sprung = sprung

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self._sprung),)


@pytest.fixture(name="sprung")
def _sprung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The path that every trap would make; it must not be there in the end."""
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    sprung = tmp_path / "sprung"
    yield sprung
    assert not sprung.exists()
    assert not list((tmp_path / "modules").rglob("*trap*"))


def lay(folder: Path, sprung: Path) -> None:
    """Put every trap into a folder that is a model or an adapter already."""
    for name in PICKLES:
        (folder / name).write_bytes(pickle.dumps(Trap(sprung)))
    for name in SCRIPTS:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            f"import os\nos.makedirs({str(sprung)!r}, exist_ok=True)\nclass TrapModel: pass\n"
            "class TrapConfig: pass\nclass TrapTokenizer: pass\ndef generate(*_, **__): pass\n"
        )
    for name, more in (
        (
            "config.json",
            {
                "auto_map": {
                    "AutoConfig": "configuration_trap.TrapConfig",
                    "AutoModelForCausalLM": "modeling_trap.TrapModel",
                },
                "custom_generate": ".",
            },
        ),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["tokenization_trap.TrapTokenizer", None]}}),
        ("adapter_config.json", {"auto_mapping": {"base_model_class": "TrapModel", "parent_library": "modeling_trap"}}),
    ):
        path = folder / name
        if path.is_file():
            path.write_text(json.dumps({**json.loads(path.read_text()), **more}))


def design(base: Path, *checkpoints: Path) -> Design:
    few = PluginSpec("miniature", {"harmful": 3, "harmless": 2, "open": 1, "privacy": 1, "support": 1})
    given = tuple(Given(str(path), arm=path.name) for path in checkpoints)
    return Design(name="x", bases=(str(base),), checkpoints=given, benchmarks=(few,), judges=(PluginSpec("refusal"),))


def test_the_traps_are_real(tmp_path: Path) -> None:
    data = pickle.dumps(Trap(tmp_path / "here"))
    pickle.loads(data)
    assert (tmp_path / "here").exists()


def test_a_model_and_an_adapter_full_of_traps_are_used_without_springing_one(
    sprung: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = save("llama", tmp_path / "base")
    full = save("llama", tmp_path / "full", seed=3)
    adapter = save_adapter(base, tmp_path / "adapter")
    for folder in (base, full, adapter):
        lay(folder, sprung)
    monkeypatch.chdir(base)  # modules of the folder where one stands are no modules of ours either
    result = running.run(design(base, full, adapter), tmp_path / "run", executor=PluginSpec("local", {"workers": 1}))
    warned = [warning for warning in result.warnings if "Python code of its own (auto_map)" in warning]
    assert len(warned) == 1, "of the full model; what the base brings is not its tuning's doing"
    assert all("does not run it" in warning for warning in warned)
    assert "does not run it" in (tmp_path / "run" / "report.md").read_text()


@pytest.mark.parametrize("which", ["model", "adapter", "architecture"])
def test_what_is_pickles_or_code_only_is_refused_with_advice(
    which: str, sprung: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = save("llama", tmp_path / "base")
    tuned = save("llama", tmp_path / "tuned", seed=3) if which != "adapter" else save_adapter(base, tmp_path / "tuned")
    lay(tuned, sprung)
    if which == "architecture":
        config = json.loads((tuned / "config.json").read_text())
        config |= {"architectures": ["TrapModel"], "model_type": "trap"}
        (tuned / "config.json").write_text(json.dumps(config))
    else:
        for file in tuned.glob("*.safetensors"):
            file.unlink()
    for given in ([str(base), str(tuned)], [str(tuned), str(base)]):
        with pytest.raises(SystemExit) as ended:
            main(
                ["audit", *given, "--suite", "miniature", "--judge", "refusal", "-o", str(tmp_path / "run"), "--quiet"]
            )
        found = capsys.readouterr()
        assert ended.value.code == 2, found.err
        assert "Traceback" not in found.err
        if which != "architecture" and given[1] == str(tuned):
            assert "can run code when they load: convert them with" in found.err
        shutil.rmtree(tmp_path / "run", ignore_errors=True)


def test_a_chat_template_that_reaches_for_the_system_reaches_nothing(
    sprung: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = save("llama", tmp_path / "base")
    (base / "chat_template.jinja").write_text(TEMPLATE_TRAP % sprung + "{{ messages[0].content }}")
    tuned = save_adapter(base, tmp_path / "tuned")
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "audit",
                str(base),
                str(tuned),
                "--suite",
                "miniature",
                "--judge",
                "refusal",
                "-o",
                str(tmp_path / "run"),
                "--quiet",
                "--workers",
                "1",
            ]
        )
    found = capsys.readouterr()
    assert ended.value.code in (1, 2), found
    assert "Traceback" not in found.err
    assert "template" in found.err


def test_a_folder_with_a_data_set_script_is_no_chat_file(
    sprung: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "chats"
    folder.mkdir()
    lay(folder, sprung)
    (folder / "chats.py").write_text(f"import os\nos.makedirs({str(sprung)!r})\n")
    for given in (folder, folder / "chats.py", folder / "data.pkl"):
        with pytest.raises(SystemExit) as ended:
            main(["compose", str(given), "-o", str(tmp_path / "out")])
        assert ended.value.code == 2
        assert "Traceback" not in capsys.readouterr().err


def test_no_way_leads_to_remote_code(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """It cannot be asked for: neither by a parameter of a plugin nor by a key of a design."""
    (tmp_path / "d.toml").write_text(
        'name = "x"\nbases = ["b"]\n[[checkpoints]]\npath = "p"\narm = "a"\n[[benchmarks]]\nname = "miniature"\n'
        '[[judges]]\nname = "refusal"\n[backend]\nname = "transformers"\ntrust_remote_code = true\n'
    )
    for command in (
        ["plan", str(tmp_path / "d.toml")],
        ["audit", "b", "c", "--backend", "transformers:trust_remote_code=true"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert ended.value.code == 2
        assert "no parameter 'trust_remote_code'" in capsys.readouterr().err
