"""A part that is missing is named with the line that installs it, to library callers and on the command line."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from aftertune import extras, plugins, shipped_models
from aftertune.cli import main
from aftertune.errors import AftertuneError, MissingPackageError, UsageError

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements(extra: str) -> set[str]:
    """Return the modules that an extra brings itself."""
    names = {line.split(">=")[0].split("[")[0] for line in PROJECT["optional-dependencies"][extra]}
    return {name.replace("-", "_") for name in names} - {"aftertune"}


@pytest.mark.parametrize("extra", list(extras.EXTRAS))
def test_an_extra_brings_what_its_line_promises(extra: str) -> None:
    assert requirements(extra) == set(extras.EXTRAS[extra])


def test_the_core_has_no_package_of_an_extra_and_all_has_every_extra() -> None:
    core = {line.split(">=")[0].replace("-", "_") for line in PROJECT["dependencies"]}
    assert not core & {module for modules in extras.EXTRAS.values() for module in modules}
    (everything,) = PROJECT["optional-dependencies"]["all"]
    assert set(everything.removeprefix("aftertune[").removesuffix("]").split(",")) == set(extras.EXTRAS)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("torch", "pip install 'aftertune[models]'"),
        ("spacy", "pip install 'aftertune[pii]'"),
        ("inspect_ai.log", "pip install 'aftertune[inspect]'"),
        ("gliner", "pip install gliner"),
    ],
)
def test_a_module_has_the_line_that_installs_it(module: str, line: str) -> None:
    assert extras.install(module) == line


def test_only_a_package_that_is_not_there_at_all_is_explained() -> None:
    with (
        pytest.raises(MissingPackageError, match=r"needs the package torch.*pip install 'aftertune\[models\]'$"),
        extras.explained(),
    ):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")
    for name in ("torch.no_such_part", "some_typo", "aftertune.typo"):
        with pytest.raises(ModuleNotFoundError) as caught, extras.explained():
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        assert not isinstance(caught.value, AftertuneError)


def test_a_decorated_function_keeps_its_result_and_its_errors() -> None:
    @extras.explained()
    def half(number: int) -> int:
        if number % 2:
            raise UsageError("odd")
        return number // 2

    assert [half(4), half(6)] == [2, 3]
    with pytest.raises(UsageError, match="odd"):
        half(3)


GONE = ("torch", "transformers", "huggingface_hub", "peft")


class _Blocked:
    """An import system on which torch and transformers are not installed."""

    def find_spec(self, name: str, *_: Any) -> None:
        if name in GONE:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)


@pytest.fixture
def _light(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in GONE]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Blocked(), *sys.meta_path])


@pytest.mark.usefixtures("_light")
@pytest.mark.parametrize("command", ["audit embedded {0} -o {1}", "compose booking -o {1}", "selftest", "plan {2}"])
def test_a_command_that_lacks_a_part_ends_in_one_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    design = Path(__file__).parents[1] / "studies" / "consistency.toml"
    checkpoint = shipped_models.folder()
    with pytest.raises(SystemExit) as end:
        main(command.format(checkpoint, tmp_path / "out", design).split())
    assert end.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("aftertune: this needs the package ")
    assert line.endswith("which is not installed: pip install 'aftertune[models]'")


@pytest.mark.usefixtures("_light")
def test_a_library_caller_gets_an_error_of_ours(tmp_path: Path) -> None:
    from aftertune.commands.audit import audit
    from aftertune.studies.design import Given

    with pytest.raises(MissingPackageError, match=r"aftertune\[models\]"):
        audit("embedded", [Given(str(shipped_models.folder()))], tmp_path / "run")


def test_a_plugin_of_which_a_package_is_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> None:
        raise ModuleNotFoundError("No module named 'ray'", name="ray")

    plugins.names("executor")
    monkeypatch.setattr("aftertune.plugins.importlib.import_module", gone)
    with pytest.raises(
        MissingPackageError, match=r"executor 'ray' needs the package 'ray': pip install 'aftertune\[ray\]'"
    ):
        plugins.plugin_class("executor", "ray")
