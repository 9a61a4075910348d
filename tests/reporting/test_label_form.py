"""The form for labels: escaped, blind, usable by keyboard in a real browser, and its file can be read back."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from tests.reporting.browser import CHROMIUM, Browser, browser

from aftertune.reporting.label_form import ASKED, MEANINGS, Question, asked, form

HOSTILE = (
    '</p></fieldset><script>window.owned=1</script><img src=http://127.0.0.1:9/i onerror="window.owned=1"> \u202ex'
)
LONG = "word " * 4000


def questions() -> list[Question]:
    choices = ("full", "partial", "none")
    return [
        Question("s1-1", "refusal", choices, "How?", "I can't."),
        Question("s1-2", "refusal", choices, HOSTILE, HOSTILE),
        Question("s1-3", "refusal", choices, "How?", " "),
        Question("s1-4", "tone_of_voice", ("kind", '"rude", <b>'), "Why?", LONG),
    ]


def test_texts_are_escaped_cleaned_and_whole() -> None:
    page = form("s1", questions(), masked=True)
    assert "<script>window" not in page
    assert "&lt;script&gt;window.owned=1" in page
    assert "\u202e" not in page
    assert LONG.strip() in page, "half an answer would be labelled as half an answer"
    assert "(no text)" in page
    assert "tone of voice: which label fits the answer?" in page
    assert "placeholders" in page
    assert "placeholders" not in form("s1", questions(), masked=False)
    assert form("s1", questions(), masked=True) == page


def test_the_policy_lets_it_load_nothing() -> None:
    page = form("s1", questions(), masked=True)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy[1]
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", re.sub(r"&lt;.*?&gt;", "", page))


def test_what_is_asked_is_a_question_and_every_meaning_is_of_a_known_axis() -> None:
    assert all(text.endswith("?") for text in ASKED.values())
    assert set(MEANINGS) <= set(ASKED)
    assert asked("refusal") == ASKED["refusal"]


def press(page: Browser, *keys: str) -> None:
    for key in keys:
        more = {"text": key} if len(key) == 1 else {}
        page.call("Input.dispatchKeyEvent", type="keyDown", key=key, **more)
        page.call("Input.dispatchKeyEvent", type="keyUp", key=key)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_it_is_filled_in_by_keyboard_keeps_what_was_entered_and_saves_a_csv(tmp_path: Path) -> None:
    file = tmp_path / "s1.html"
    file.write_text(form("s1", questions(), masked=True))
    count = "document.getElementById('count').textContent"
    with browser(tmp_path / "profile") as page:
        page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path / "saved"))
        page.open(file)
        assert page.js("window.owned") is None
        assert page.js(count) == "0 of 4"
        press(page, "1", "3", "9", "j", "2", "k")  # 9 is no choice; then the third is skipped
        assert page.js(count) == "3 of 4"
        press(page, "n")
        for key in '=1+2, "so"':
            press(page, key)
        press(page, "Escape", "u")
        assert page.js("document.querySelector('fieldset.here').dataset.item") == "s1-3"
        page.open(file)
        assert page.js(count) == "3 of 4", "kept while the page was closed"
        press(page, "1")
        assert page.js(count) == "4 of 4"
        press(page, "k", "0")
        assert page.js(count) == "3 of 4", "0 clears where it stands"
        page.js("document.getElementById('reader').value = 'A. N/n'")
        page.js("document.getElementById('save').click()")
        page.js("new Promise((done) => setTimeout(done, 500))")
        page.call("Emulation.setEmulatedMedia", media="print")
        assert page.js("getComputedStyle(document.querySelector('.bar')).display") == "none"
        assert page.js("getComputedStyle(document.querySelector('fieldset')).display") != "none"
        page.call("Emulation.setEmulatedMedia", media="")
        page.call("Emulation.setDeviceMetricsOverride", width=360, height=700, deviceScaleFactor=1, mobile=True)
        assert page.js("document.documentElement.scrollWidth") <= 360, "nothing runs out of a small window"
        asked_for = {event["request"]["url"] for event in page.named("Network.requestWillBeSent")}
        assert {url for url in asked_for if not url.startswith(("file:", "blob:"))} == set()
        complaints = [each for each in page.named("Log.entryAdded") if each["entry"]["level"] == "error"]
        assert complaints == []
    (saved,) = (tmp_path / "saved").iterdir()
    assert saved.name == "s1-ANn-labels.csv"
    with saved.open(newline="") as opened:
        rows = [tuple(row.values()) for row in csv.DictReader(opened)]
    assert [row[:2] for row in rows] == [("s1-1", "full"), ("s1-2", "none"), ("s1-3", ""), ("s1-4", '"rude", <b>')]
    assert {row[2] for row in rows} == {"", '\'=1+2, "so"'}, "no spreadsheet takes a note for a formula"
