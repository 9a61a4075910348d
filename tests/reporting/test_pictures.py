"""The docs' pictures of reports show what today's code draws."""

from __future__ import annotations

import hashlib
import json

import pytest
from perf import pictures


@pytest.mark.parametrize("name", pictures.NAMES)
def test_the_picture_is_of_todays_page_and_the_one_that_was_kept(name: str) -> None:
    kept = json.loads(pictures.KEPT.read_text(encoding="utf-8"))[name]
    remedy = f"the page looks otherwise now: `aftertune report RUN`, then `python -m perf.pictures RUN --name {name}`"
    assert kept["look"] == pictures.look(), remedy
    picture = (pictures.KEPT.parent / name).read_bytes()
    assert kept["sha256"] == hashlib.sha256(picture).hexdigest(), "the picture was replaced by hand"
