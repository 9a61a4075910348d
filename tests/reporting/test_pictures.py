"""The docs' pictures of reports show what today's code draws, of verdicts by today's judges."""

from __future__ import annotations

import hashlib
import json

import pytest
from perf import pictures


@pytest.mark.parametrize("name", pictures.NAMES)
def test_the_picture_is_of_todays_page_and_the_one_that_was_kept(name: str) -> None:
    kept = json.loads(pictures.KEPT.read_text(encoding="utf-8"))[name]
    assert pictures.outdated(kept) == [], f"`python -m perf.pictures RUN --name {name}`, of a run by these judges"
    picture = (pictures.KEPT.parent / name).read_bytes()
    assert kept["sha256"] == hashlib.sha256(picture).hexdigest(), "the picture was replaced by hand"


def test_all_that_draws_a_page_is_looked_at_and_nothing_else() -> None:
    drawn = {path.relative_to(pictures.PACKAGE).as_posix() for path in pictures.drawn_by()}
    parts = {
        path.relative_to(pictures.PACKAGE).as_posix() for path in pictures.PACKAGE.glob("reporting/page/[a-z]*.py")
    }
    own = ("charts.py", "sentences.py", "tables.py", "index.py", "gather.py", "report.html", "report.js", "style.css")
    assert parts | {f"reporting/{name}" for name in own} | {"numbers.py"} <= drawn
    assert not {f"reporting/{name}" for name in ("terminal.py", "markdown.py", "junit.py", "label_form.html")} & drawn


def test_a_changed_part_and_an_older_judge_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    today = {"look": pictures.look(), "judges": {"script": "3", "leak": "4"}}
    assert pictures.outdated(today) == []
    assert pictures.outdated({**today, "judges": {"script": "2"}}) == [
        "its run was judged by script 2, which is script 3 now"
    ]
    own = pictures.drawn_by()
    monkeypatch.setattr(pictures, "drawn_by", lambda: [*own, pictures.PACKAGE / "text.py"])
    assert pictures.outdated(today) == ["today's code draws another page"]
