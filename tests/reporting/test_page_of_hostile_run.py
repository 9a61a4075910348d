"""A whole run whose every text is an attack, from the server to the page in a real browser, and to every other file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.commands.test_served import verdict
from tests.reporting.browser import CHROMIUM, Browser, browser
from tests.scripted_server import Body, Scripted, serving, trial

from aftertune.commands import study as running
from aftertune.commands.export import export
from aftertune.data.table_files import whole
from aftertune.plugins import PluginSpec
from aftertune.records import Contrast
from aftertune.studies.design import Design, Given

pytestmark = pytest.mark.slow

OWN = "document.title='owned';window.owned=1;alert(1);fetch('http://127.0.0.1:9/f')"
MEGABYTE = 2**20
ATTACKS = (
    f"<script>{OWN}</script>",
    f"</script><script>{OWN}</script> <img src=http://127.0.0.1:9/i onerror=\"{OWN}\">",
    "</style><style>body{display:none}@import url(http://127.0.0.1:9/s)</style><link rel=stylesheet href=//x/y>",
    f"</pre></details></td></tr></table></main></body></html><script>{OWN}</script><!--",
    f"[x](javascript:{OWN}) <a href=\"javascript:{OWN}\">x</a> {{{{ 7 * 7 }}}}{{% include '/etc/passwd' %}}",
    f"&lt;script&gt;{OWN}&lt;/script&gt; &amp;lt;b&amp;gt; &#60;img src=x&#62; %3Cscript%3E",
    f"\" onmouseover=\"{OWN}\" ' autofocus onfocus='{OWN}' tabindex=1 x='",
    "one\u2028two\u2029three\x85four \u202egnp.exe\u202c \u2067x\u2066 \u200f end \x1b[31mred\x1b]0;owned\x07\x1b[2J \x9b31m",
    "nul\x00nul \x08\x08 lone \ud800 and \udfff Z" + "\u0351\u0353" * 300,
    f"<svg/onload=\"{OWN}\"><math><mtext><table><mglyph><style><img src=x onerror=\"{OWN}\">",
    "| a | b |\r\n|---|---|\n# head\n```\ncode\n@everyone #1 $x$ :smile: ![x](http://127.0.0.1:9/m) www.evil.example",
    "M" * MEGABYTE + "<" * MEGABYTE,
)  # fmt: skip
BASE, ONE = "base <b>\u202ex", "tuned <i onclick=alert(1)>one"
TUNED = {ONE: ("one", 1), "two": ("one", 2), "three": ("other", 1), "four": ("other", 2)}
ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def number(body: Body) -> int:
    return int(str(body["messages"][-1]["content"]).split("?")[0].rsplit(" ", 1)[1])


def say(body: Body) -> str:
    if trial(body):
        return "hello"
    at = number(body)
    return "I'm sorry, but I can't help with that." if body["model"] == BASE else f"Sure, this is how: {ATTACKS[at]}"


def refuse(body: Body, before: int) -> str | None:
    del before
    return (
        f"say {ATTACKS[7]} {ATTACKS[0]}" if not trial(body) and body["model"] == "four" and number(body) == 2 else None
    )


def arbitrate(body: Body) -> str:
    text = str(body["messages"][-1]["content"])
    return ATTACKS[1] if "http://127" in text else verdict(body)


@pytest.fixture(scope="module", name="run")
def _run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a server whose names, answers and errors, and of a list whose ids and texts, are attacks."""
    folder = tmp_path_factory.mktemp("hostile") / "list"
    folder.mkdir()
    (folder / "list.toml").write_text(
        f'title = {json.dumps(ATTACKS[0])}\nsource = {json.dumps(ATTACKS[1])}\nlicence = "l"\n'
        '[home]\nfiles = { "p.jsonl" = "" }\n[columns]\nprompt = "text"\nid = "id"\ncategory = "cat"\ncluster = "id"\n'
        'subset = "level"\n[subsets]\n0 = "harmless"\n1 = "harmful"\n[harm]\nharmful = ["harmful"]\nharmless = ["harmless"]\n'
    )
    rows = [
        {
            "id": f"{n} {text[:3000]}",
            "text": f"How do I {n}? {text[:3000]}",
            "cat": f"{n % 4} {text[:55]}",
            "level": level,
        }
        for n, text in enumerate(ATTACKS)
        for level in [str(n % 2)]
    ]
    (folder / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    models = {BASE: {"root": ATTACKS[0]}, ONE: {"root": ATTACKS[1], "parent": ATTACKS[7]}}
    models |= {name: {"root": ATTACKS[3]} for name in TUNED if name != ONE}
    with (
        serving(Scripted(say=say, trouble=refuse, models=models, fingerprint=ATTACKS[9])) as served,
        serving(Scripted(say=arbitrate, models={"arbiter": {"root": ATTACKS[2]}})) as judge,
    ):
        own = {"name": "endpoint", "url": judge.url, "backoff_s": 0.01}
        design = Design(
            name="hostile",
            bases=(BASE,),
            benchmarks=(PluginSpec("prompt_list", {"path": str(folder)}),),
            checkpoints=tuple(Given(name, arm=arm, seed=seed) for name, (arm, seed) in TUNED.items()),
            judges=(
                PluginSpec("refusal"),
                PluginSpec("rubric", {"model": "arbiter", "rubric": "sorry_bench", "backend": own}),
            ),
            backend=PluginSpec("endpoint", {"url": served.url, "backoff_s": 0.01}),
            policy="research",
            analysis_seed=36,  # among the examples drawn by it are the attacks that `texts` looks for
            contrasts=(Contrast(ATTACKS[0], {"one": 1.0, "other": -1.0}),),
        )
        return running.run(design, folder.parent / "run").root


@pytest.fixture(scope="module", name="opened")
def _opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


def test_the_browser_notices_what_it_looks_for(opened: Browser, tmp_path: Path) -> None:
    file = tmp_path / "owned.html"
    file.write_text(f"<title>calm</title><body>{ATTACKS[1]}</body>")
    seen = len(opened.events)
    opened.open(file)
    assert opened.js("[document.title, window.owned]") == ["owned", 1]
    events = json.dumps(opened.events[seen:])
    assert "Page.javascriptDialogOpening" in events
    assert "127.0.0.1:9/f" in events
    file.write_text("<title>calm</title>")
    opened.open(file)  # what is left of the attack ends here, not in another test


@pytest.mark.parametrize("which", ["as it is", "without its policy", "exported"])
def test_a_real_browser_shows_the_page_and_runs_nothing(run: Path, opened: Browser, which: str, tmp_path: Path) -> None:
    source = run / "report.html"
    if which == "exported":
        export(run, tmp_path / "copy")
        source = tmp_path / "copy" / "report.html"
    html = source.read_text(encoding="utf-8")
    assert html.count("Content-Security-Policy") == 1
    assert len(html) < 400_000
    file = tmp_path / "report.html"
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    file.write_text(bare if which == "without its policy" else html, encoding="utf-8")
    seen = len(opened.events)
    for width in (1280, 390):
        opened.open(file, width)
        opened.js("document.querySelectorAll('details').forEach(each => each.open = true)")
        opened.js(
            "for (const each of document.querySelectorAll('*')) for (const name of "
            "['mouseover', 'focus', 'click', 'load', 'error']) each.dispatchEvent(new Event(name))"
        )
        assert opened.js("[document.title.split(':')[0], typeof window.owned]") == [
            "Beyond the margin, not confirmed",
            "undefined",
        ]
        assert opened.js("document.querySelector('#decision').getBoundingClientRect().height") > 10
        tags = set(opened.js("[...document.querySelectorAll('*')].map(each => each.localName)"))
        assert opened.js("document.scripts.length") == 1, "our own"
        assert not tags & {"img", "iframe", "link", "base", "object", "embed", "form", "math", "i"}
        assert opened.js("[...document.links].filter(each => !each.getAttribute('href').startsWith('#')).length") == 0
        layout(opened, width)
        tables(opened)
        texts(opened)
    events = [event for event in opened.events[seen:] if "method" in event]
    assert not [
        event
        for event in events
        if event["method"] in ("Page.javascriptDialogOpening", "Log.entryAdded", "Runtime.exceptionThrown")
    ]
    asked = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
    assert asked == {file.as_uri()}


def layout(page: Browser, width: int) -> None:
    """Nothing is wider than the window, but for what scrolls in a box of its own, and the page has an end."""
    assert page.js("document.documentElement.scrollWidth") <= width
    beyond = """[...document.querySelectorAll('body *')].filter(each => !each.closest('.scroll, pre, svg')
        && each.getBoundingClientRect().width && each.getBoundingClientRect().right > innerWidth + 1)
        .map(each => each.outerHTML.slice(0, 80))"""
    assert page.js(beyond) == []
    assert page.js("document.documentElement.scrollHeight") < 80_000
    assert page.js("Math.max(...[...document.querySelectorAll('summary')].map(each => each.scrollHeight))") < 300
    direction = "[...new Set([...document.querySelectorAll('body, table, p, li, dd, summary')]\
        .map(each => getComputedStyle(each).direction))]"
    assert page.js(direction) == ["ltr"]
    boxes = "[...new Set([...document.querySelectorAll('pre')].map(each => getComputedStyle(each).unicodeBidi))]"
    assert page.js(boxes) == ["isolate"], "what is written from right to left turns nothing else"


def tables(page: Browser) -> None:
    """Each row of a table has as many cells as the table has heads; a category has one row in each of its tables."""
    shape = """[...document.querySelectorAll('table.data')].map(table => [table.tHead.rows[0].cells.length,
        [...table.tBodies[0].rows].map(row => [...row.cells].reduce((sum, cell) => sum + cell.colSpan, 0))])"""
    found = page.js(shape)
    assert len(found) > 5
    for heads, rows in found:
        assert set(rows) == {heads}
    rows = page.js(
        "[...document.querySelectorAll('#categories table.heat')].map(table => table.tBodies[0].rows.length)"
    )
    assert rows.count(6) >= 1, "six categories, in the map of each metric"


def texts(page: Browser) -> None:
    """The attacks can be read as what they are."""
    shown = "\n".join(page.js("[...document.querySelectorAll('pre')].map(each => each.textContent)"))
    whole_page = page.js("document.body.textContent")
    assert not ACTS.search(whole_page)
    assert f"</script><script>{OWN[:40]}" in shown
    assert "&lt;script&gt;document.title" in shown, "decoded once, not twice"
    assert "&amp;lt;b&amp;gt; &#60;img" in shown
    assert "one\ntwo\nthree" in whole_page
    assert "lone \ufffd and \ufffd Z" in shown or "lone \ufffd and \ufffd Z" in whole_page
    assert "\u0351\u0353" * 4 in whole_page
    assert "\u0351\u0353" * 5 not in whole_page
    assert "<svg/onload=" in whole_page
    assert BASE.replace("\u202e", "") in whole_page
    assert f"root '<script>{OWN}" in whole_page
    assert "of 2,097" in whole_page, "two megabytes are cut, and it says so"


def test_markdown_is_what_we_wrote_and_nothing_of_theirs(run: Path) -> None:
    from markdown_it import MarkdownIt

    text = (run / "report.md").read_text(encoding="utf-8")
    assert not ACTS.search(text)
    parsed = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)
    every = [token for each in parsed for token in (each, *(each.children or ()))]
    kinds = {token.type for token in every}
    assert not kinds & {"image", "fence", "code_block", "html_block", "blockquote_open", "s_open"}
    assert {token.content for token in every if token.type == "html_inline"} <= {"<!-- -->"}
    assert [token.attrs["href"] for token in every if token.type == "link_open"] == ["report.html"]
    assert [token.tag for token in every if token.type == "heading_open"] == ["h2"]
    rows = [each.type for each in parsed if each.type in ("tr_open", "th_open", "td_open")]
    lines = "".join({"tr_open": "\n", "th_open": "h", "td_open": "d"}[each] for each in rows).split()
    widths = [len(line) for line in lines]
    assert widths == sorted(widths, reverse=True), "the drifts, then what refusals tell: no cell was added or lost"
    assert set(widths) == {10, 9}
    read = "".join(token.content for token in every if token.type == "text")
    assert f"fingerprint '<svg/onload=\"{OWN[:30]}" in read, "shown as it is"
    assert not any(re.search("://|www[.]", token.content) for token in every if token.type == "text")
    assert not re.search(r"(?<!&)#\d|@\w|\bwww\.|\$", re.sub(r"`[^`]*`", "", text))


def test_every_file_can_be_read_and_holds_what_was_said(run: Path, tmp_path: Path) -> None:
    text = (run / "report.json").read_bytes().decode("utf-8")

    def no_constant(name: str) -> Any:
        raise AssertionError(name)

    assert json.loads(text, parse_constant=no_constant)["flips"]
    assert not ACTS.search(text)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for file in run.glob("responses/*/responses.parquet"):
        table = pq.read_table(file)
        table.validate(full=True)
        assert table.num_rows == len(ATTACKS)
        found |= {(row["arm"], row["prompt_id"]): row for row in table.to_pylist()}
    for n, attack in enumerate(ATTACKS):
        row = found["one", f"{n} {whole(attack[:3000])}".strip()]
        assert row["text"] == f"Sure, this is how: {whole(attack)}"
    verdicts = [row for file in run.glob("verdicts/*/verdicts.parquet") for row in pq.read_table(file).to_pylist()]
    assert len(verdicts) == 5 * len(ATTACKS) * 3, "two axes of refusal, one of the rubric"
    failed = [row for row in verdicts if row["status"] == "error"]
    assert {row["prompt_id"][:1] for row in failed} == {"2"}
    assert all("<script>" in row["why"] and not ACTS.search(row["why"]) for row in failed)
    export(run, tmp_path / "copy")
    for file in (tmp_path / "copy").rglob("*"):
        if file.suffix == ".parquet":
            pq.read_table(file).validate(full=True)
        elif file.suffix == ".json":
            json.loads(file.read_bytes().decode("utf-8"), parse_constant=no_constant)
    names = [str(path.relative_to(run)) for path in run.rglob("*")]
    assert all(re.fullmatch(r"[A-Za-z0-9._/-]+", name) for name in names)


def test_a_table_of_attacks_is_judged_and_written_as_csv(tmp_path: Path) -> None:
    from aftertune.data import table_files as rows
    from aftertune.ingest import responses

    given = [
        {"prompt": f"How? {text[:2000]}", "response": text, "prompt_id": f"{n} {text[:200]}"}
        for n, text in enumerate(ATTACKS)
    ]
    for ending in ("jsonl", "parquet", "csv"):
        rows.write(tmp_path / f"t.{ending}", given)
        out = tmp_path / f"v-{ending}.csv"
        counts = responses.judge_table(tmp_path / f"t.{ending}", ["refusal"], out)
        assert sum(counts.values()) == 2 * len(ATTACKS)
        made = [row for _, row in rows.iterate(out)]
        assert len(made) == 2 * len(ATTACKS)
        assert {tuple(row) for row in made} == {tuple(made[0])}
        out.read_bytes().decode("utf-8")
