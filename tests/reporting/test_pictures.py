"""The docs' picture of a report shows what today's code draws."""

from __future__ import annotations

import hashlib
import json

from perf import pictures


def test_the_picture_is_of_todays_page_and_the_one_that_was_kept() -> None:
    kept = json.loads(pictures.KEPT.read_text(encoding="utf-8"))["report.png"]
    remedy = "the page looks otherwise now: `aftertune report RUN` on a run of `make demo`, then `make pictures`"
    assert kept["look"] == pictures.look(), remedy
    picture = (pictures.KEPT.parent / "report.png").read_bytes()
    assert kept["sha256"] == hashlib.sha256(picture).hexdigest(), "the picture was replaced by hand"
