"""The page in a real browser: its length, its print edition, what its script does, and what a screen reader meets."""

from __future__ import annotations

import base64
import dataclasses
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.reporting.browser import CHROMIUM, Browser, browser
from tests.reporting.conftest import audit, study

from aftertune.findings import Findings, StudyCell, StudySection
from aftertune.reporting.report import report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

AXE = Path(os.environ.get("AXE_CORE", Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"))
SIZES = {"A4": (8.27, 11.69), "Letter": (8.5, 11.0)}


@pytest.fixture(scope="module", name="opened")
def _opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


def shown(opened: Browser, folder: Path, findings: Findings, width: int = 1400) -> str:
    html = report(findings).html
    file = folder / "report.html"
    file.write_text(html, encoding="utf-8")
    opened.open(file, width)
    return html


def arms(n: int) -> Findings:
    """An audit of n checkpoints, every seventh of which drifts."""
    one = audit()
    names = [f"adapter-{place:03d}" for place in range(n)]
    rows = [dataclasses.replace(row, arm=name, checkpoint=name) for name in names for row in one.drifts]
    made = [
        dataclasses.replace(d, arm=name, unit=name, checkpoint=name, outcome="pass" if place % 7 else "drift")
        for place, name in enumerate(names)
        for d in one.decisions
    ]
    return audit("drift", drifts=rows, decisions=made)


def wordy() -> Findings:
    """A study whose decisions have reasons of three lines each, as those of the demo."""
    reason = "a loss of more than 10.9 points is shown; corrected for 14 metrics, -43.6 to -10.9"
    found = study()
    return dataclasses.replace(found, decisions=[dataclasses.replace(d, reason=reason) for d in found.decisions])


def test_in_a_narrow_window_every_caption_and_button_is_within_it(opened: Browser, tmp_path: Path) -> None:
    wide = arms(8)
    for findings in (study(), wide):
        shown(opened, tmp_path, findings, 390)
        opened.js("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        ends = opened.js(
            "[...document.querySelectorAll('button.copy, caption:not(.vh) > *')].filter(each => each.checkVisibility())"
            ".map(each => each.getBoundingClientRect()).filter(box => box.width).map(box => [box.left, box.right])"
        )
        assert len(ends) > 4
        assert all(left >= 0 and right <= 390 for left, right in ends)


def test_a_study_tables_head_is_no_wider_than_its_numbers(opened: Browser, tmp_path: Path) -> None:
    cell = StudyCell(
        value=0.5, low=0.4, high=0.6, scale="rate", sample="3 seeds × 88 prompts, 44 clusters",
        note="only 88 prompts; only 3 training seeds",
    )  # fmt: skip
    table = StudySection(
        title="Arms", source="", heads=("Refused", "Coherent"), about=("rate", "rate"), units=("%", "%"),
        labels=("a", "b"), rows=((cell, cell), (cell, cell)), statements=(), supports="", cannot="",
    )  # fmt: skip
    html = shown(opened, tmp_path, dataclasses.replace(study(), tables=[table]))
    assert html.count("only 3 training seeds, where a cell says nothing else") == 2
    widths = opened.js(
        "[...document.querySelectorAll('table.study thead th:not(:first-child)')]"
        ".map(each => each.getBoundingClientRect().width)"
    )
    assert len(widths) == 2
    assert all(100 < width < 320 for width in widths)


def test_a_hundred_metrics_are_folded_and_still_in_the_page(opened: Browser, tmp_path: Path) -> None:
    found = study()
    names = [f"list-{place:02d}/harmful/refusal=full" for place in range(100)]
    metrics = [dataclasses.replace(found.metrics[0], benchmark=name.split("/")[0]) for name in names]
    rows = [row for row in found.drifts if row.metric == found.metrics[0].name]
    decisions = [d for d in found.decisions if d.metric == found.metrics[0].name]
    many = Findings(
        title="many", kind="study", outcome="drift", metrics=metrics,
        drifts=[dataclasses.replace(row, metric=name) for name in names for row in rows],
        decisions=[dataclasses.replace(d, metric=name) for name in names for d in decisions],
    )  # fmt: skip
    html = shown(opened, tmp_path, many)
    assert html.count('<section class="metric') == 100
    visible = (
        "[...document.querySelectorAll('section.metric, section[id] > h3')].filter(e => e.checkVisibility()).length"
    )
    assert opened.js(visible) <= 16 + 2 * 8, "forests, and curves over epochs and temperatures"
    assert opened.js("document.documentElement.scrollHeight") <= 16_000
    opened.js("location.hash = '#' + document.querySelectorAll('section.metric')[99].id")
    assert opened.js("document.querySelectorAll('section.metric')[99].checkVisibility()")


def test_a_study_is_a_few_screens_folded_and_leaves_no_window(opened: Browser, tmp_path: Path) -> None:
    for width in (1400, 800, 390):
        shown(opened, tmp_path, study(), width)
        assert opened.js("document.documentElement.scrollWidth") <= width
        height, words = opened.js(
            "[document.documentElement.scrollHeight, document.body.innerText.split(/\\s+/).length]"
        )
        if width == 1400:
            assert height <= 9_000
            assert words <= 3_000


@pytest.mark.parametrize("paper", SIZES)
@pytest.mark.parametrize(
    "findings", [study(), wordy(), audit(), arms(12), arms(100)], ids=["study", "wordy", "one", "12", "100"]
)
def test_the_print_edition_has_three_pages_at_most(
    opened: Browser, tmp_path: Path, findings: Findings, paper: str
) -> None:
    shown(opened, tmp_path, findings)
    width, height = SIZES[paper]
    made = opened.call("Page.printToPDF", printBackground=True, paperWidth=width, paperHeight=height)["data"]
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", base64.b64decode(made))) <= 3


def test_the_script_filters_sorts_copies_and_opens_what_a_link_points_to(opened: Browser, tmp_path: Path) -> None:
    shown(opened, tmp_path, study())
    visible = "[...document.querySelectorAll('table.matrix tbody tr')].filter(row => !row.hidden).length"
    assert opened.js(visible) == 3
    opened.js("{const f = document.querySelector('input[type=search]'); f.value = 'coherent';"
              " f.dispatchEvent(new Event('input'))}")  # fmt: skip
    assert opened.js(visible) == 1
    opened.js(
        "{const f = document.querySelector('input[type=search]'); f.value = ''; f.dispatchEvent(new Event('input'))}"
    )
    opened.js("[...document.querySelectorAll('fieldset label')].find(each => each.textContent.trim() == 'drift')"
              ".querySelector('input').click()")  # fmt: skip
    assert opened.js(visible) == 1, "those that hold a drift are hidden"
    heads = "document.querySelectorAll('table.matrix')[0].tHead.rows[0].cells"
    names = "[...document.querySelectorAll('table.matrix')[0].tBodies[0].rows].map(row => row.cells[0].innerText)"
    shown(opened, tmp_path, arms(20))
    before = opened.js(names)
    opened.js(f"{heads}[0].querySelector('button').click()")
    assert opened.js(names) == sorted(before)
    opened.js(f"{heads}[0].querySelector('button').click()")
    assert opened.js(names) == sorted(before, reverse=True)
    assert opened.js(f"{heads}[0].getAttribute('aria-sort')") == "descending"
    assert opened.js("[...document.querySelectorAll('details')].some(each => each.open)") is False
    target = opened.js("document.querySelector('details section.metric tr[id], details tr[id]').id")
    opened.js(f"location.hash = '#{target}'")
    assert opened.js(f"document.getElementById('{target}').closest('details').open")


def test_what_is_copied_holds_no_formula_for_a_spreadsheet(opened: Browser, tmp_path: Path) -> None:
    evil = dataclasses.replace(audit().decisions[0], unit="=HYPERLINK(1)", arm="=HYPERLINK(1)")
    shown(opened, tmp_path, audit("undecided", decisions=[evil]))
    opened.js("Object.defineProperty(navigator, 'clipboard', {value: {writeText: text => { window.copied = text; }}})")
    opened.js("document.querySelector('#matrix button.copy').click()")
    text = opened.js("window.copied")
    assert "'=HYPERLINK(1)" in text
    assert not re.search(r"(^|,|\n)\"?=", text)


def test_without_its_script_the_page_says_the_same(opened: Browser, tmp_path: Path) -> None:
    html = shown(opened, tmp_path, study())
    words = "document.querySelector('main').innerText.replace(/Copy as CSV/g, '').split(/\\s+/).filter(Boolean)"
    with_script = opened.js(words)
    file = tmp_path / "bare.html"
    file.write_text(re.sub(r"<script>.*?</script>", "", html, flags=re.S), encoding="utf-8")
    opened.open(file, 1400)
    assert opened.js(words) == with_script


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not here: `make axe` fetches it (npm), or set AXE_CORE")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_against_it(opened: Browser, tmp_path: Path, scheme: str) -> None:
    opened.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    try:
        shown(opened, tmp_path, study())
        opened.js("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        opened.js(AXE.read_text(encoding="utf-8") + ";0")
        found = opened.js("axe.run({resultTypes: ['violations']}).then(result => result.violations.map("
                          "one => [one.id, one.nodes.length, one.nodes[0].html.slice(0, 200),"
                          " one.nodes[0].failureSummary.slice(0, 200)]))")  # fmt: skip
        assert found == []
    finally:
        opened.call("Emulation.setEmulatedMedia", features=[])
