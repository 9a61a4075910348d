"""Every name that a person types is hinted at when it is nearly right, before anything is loaded."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import pytest

from aftertune.cli import main

TEXT = "call me on 020 7946 0958\n"
NEAR = {
    "audt": "audit",
    "pii scna FILE": "scan",
    "embedded crd": "card",
    "audit embeded x": "embedded",
    "audit embeded:mini-a x": "embedded",
    "audit embedded:minia x": "mini-a",
    "audit embedded x --suite miniatur": "miniature",
    "audit embedded x --policy defalt": "default",
    "audit embedded x --judge refusl": "refusal",
    "audit embedded x --backend endpont": "endpoint",
    "list judgs": "judge",
    "show judge refusl": "refusal",
    "show judg refusal": "judge",
    "compose bookng -o out": "booking",
    "compose booking -o out --pii placeholdr": "placeholder",
    "fetch xstst": "xstest",
    "drift --demo --policy strct": "strict",
    "pii scan FILE --types PERSO": "PERSON",
    "pii scan FILE --threshold PERSO=1": "PERSON",
    "pii scan FILE --model spacyy:x": "spacy",
    "drift --verdict x": "--verdicts",
}


@pytest.mark.parametrize(("command", "name"), NEAR.items())
def test_a_near_miss_is_hinted(
    command: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text(TEXT)
    with pytest.raises(SystemExit) as end:
        main(command.split())
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert re.search(r"(?i)did you mean|possible options|known: ", error), error
    assert name in error


def test_a_folder_may_have_a_name_like_that_of_the_embedded_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aftertune.studies.resolve import shipped_path

    monkeypatch.chdir(tmp_path)
    (tmp_path / "embeded").mkdir()
    assert shipped_path("embeded") == ""
    assert shipped_path("gpt2") == ""
    assert shipped_path("someone/embedded-1b") == ""


def test_the_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code in (0, None)
    assert capsys.readouterr().out == f"aftertune {version('aftertune')}\n"
