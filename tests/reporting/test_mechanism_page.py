"""docs/mechanism.md: a section for each run, which can be made again without the others, with its settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from perf import mechanism

import aftertune
from aftertune.commands.explain import Explained
from aftertune.inside.explanation import Explanation


@pytest.fixture(name="asked")
def _asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What `aftertune.explain` is asked for, whose runs are called by their folders; the page lies in a new folder."""
    asked: list[tuple[str, dict[str, Any]]] = []

    def explain(run: str, *, workers: int, **effort: int) -> Explained:
        asked.append((run, effort))
        found = Explanation(
            title=run, confidence=0.95, openings={}, readouts=(), twins=(), directions=(), effects=(),
            notes=(f"call {len(asked)}",), settings={f"base_{run}": {"pairs": 44, "draws": 19, **effort}},
        )  # fmt: skip
        assert workers == 1
        return Explained(found, (), Path(run))

    monkeypatch.setattr(aftertune, "explain", explain)
    monkeypatch.setattr(mechanism, "PAGE", tmp_path / "mechanism.md")
    monkeypatch.setattr(mechanism, "PARTS", tmp_path / "parts.json")
    return asked


def sections(page: str) -> dict[str, str]:
    """Return the sections about runs by title."""
    _, *found = page.split("\n## ")
    about = ("How to read it", "Which training rows did it?")
    return {title: text for title, _, text in (each.partition("\n") for each in found) if title not in about}


def test_one_run_is_explained_again_and_the_sections_of_the_others_stay(asked: list[Any]) -> None:
    assert mechanism.main(["one", "two:pairs=8,prompts=12", "--write"]) == 0
    before = sections(mechanism.PAGE.read_text(encoding="utf-8"))
    assert list(before) == ["one", "two"]
    assert mechanism.main(["one:draws=39", "--write"]) == 0
    after = sections(mechanism.PAGE.read_text(encoding="utf-8"))
    assert list(after) == ["one", "two"], "in the order in which they first came"
    assert after["two"].strip() == before["two"].strip()
    assert "- call 1" in before["one"]
    assert "- call 3" in after["one"]
    assert asked == [("one", {}), ("two", {"pairs": 8, "prompts": 12}), ("one", {"draws": 39})]


def test_each_section_names_the_settings_that_it_was_made_with(asked: list[Any]) -> None:
    mechanism.main(["one", "two:pairs=8,prompts=12", "--write"])
    found = sections(mechanism.PAGE.read_text(encoding="utf-8"))
    assert "Made with pairs = 44, draws = 19 (base\\_one)." in found["one"]
    assert "Made with pairs = 8, draws = 19, prompts = 12 (base\\_two)." in found["two"]
    assert len(asked) == 2


def test_without_runs_the_page_is_put_together_and_without_write_nothing_is_kept(
    asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    mechanism.main(["one", "--write"])
    written = mechanism.PAGE.read_text(encoding="utf-8")
    mechanism.PAGE.unlink()
    mechanism.main(["--write"])
    assert mechanism.PAGE.read_text(encoding="utf-8") == written
    mechanism.main(["two"])
    assert list(sections(capsys.readouterr().out)) == ["one", "two"]
    assert mechanism.PAGE.read_text(encoding="utf-8") == written
    assert list(json.loads(mechanism.PARTS.read_text(encoding="utf-8"))) == ["one"]
    assert len(asked) == 2


def test_the_page_that_is_kept_is_what_its_parts_and_the_script_give() -> None:
    parts = json.loads(mechanism.PARTS.read_text(encoding="utf-8"))
    assert mechanism.PAGE.read_text(encoding="utf-8") == mechanism.text(parts), "python -m perf.mechanism --write"
    for lines in parts.values():
        assert any(line.startswith("Made with ") for line in lines)
