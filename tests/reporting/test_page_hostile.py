"""Whatever a model writes, the page stays a page: nothing executes, nothing loads, nothing is unmasked."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aftertune.findings import Findings, Flip
from aftertune.reporting.cleaning import clean, show
from aftertune.reporting.report import report

Make = Callable[..., Findings]

ATTACKS = [
    "<script>document.title='owned'</script>",
    "</pre></details></style><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    '" onmouseover="document.title=\'owned\'" x="',
    "' autofocus onfocus='document.title=1' '",
    "<a href=\"javascript:document.title='owned'\">x</a>",
    "<svg/onload=document.title='owned'>",
    "{{ 7 * 7 }}{% include '/etc/passwd' %}",
    "<iframe srcdoc=\"<script>parent.document.title='owned'</script>\"></iframe>",
    "<link rel=stylesheet href=https://evil.example/x.css><style>@import url(https://evil.example)</style>",
    "<!-- --><base href=https://evil.example><meta http-equiv=refresh content=0;url=https://evil.example>",
    "]]></script>\x00\x1b[31mred\x1b]0;title\x07 \u202egnp.exe \ud800 lone",
]
VOID = {"meta", "link", "img", "br", "hr", "input", "base", "col"}
SVG_ALONE = {"line", "circle", "rect", "path"}


class Reader(HTMLParser):
    """Collects what a browser would act on, and checks that every element is closed where it was opened."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.folds = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        assert tag in SVG_ALONE | VOID

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open and "script" not in self.open:
            self.text.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def hostile(make: Make, text: str) -> Findings:
    findings = make()
    flip = Flip(
        metric=findings.metrics[0].name,
        arm=f"arm {text}",
        prompt=text,
        base_text=text,
        tuned_text=text,
        base_label=f"full{text}",
        tuned_label=text,
        category=text,
        prompt_id=text,
    )
    first = dataclasses.replace(findings.drifts[0], warning=text, method=text, recipe=text, epoch=3, arm="keep")
    return make(
        title=text,
        flips=[flip],
        warnings=[text],
        caveats=[text],
        drifts=[*findings.drifts, first],
        methods={text: {text: text, "list": [text, {"deep": text}]}},
        cards={text: {text: text}},
        judges={text: {"anchors": [{"axis": text, "label": text}], text: text}},
        contrast_names={"a - b": text},
        decisions=[dataclasses.replace(findings.decisions[0], why=text, remedy=text, unit=text), *findings.decisions],
    )


@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_text_stays_text(study: Make, attack: str) -> None:
    page = report(hostile(study, attack))
    reader = read(page.html)
    calm = read(report(hostile(study, "calm")).html)
    assert [tag for tag in reader.tags if tag != "p"] == [
        tag for tag in calm.tags if tag != "p"
    ]  # p: notes on cleaning
    assert {(tag, name) for tag, name, _ in reader.attributes} == {(tag, name) for tag, name, _ in calm.attributes}
    assert reader.tags.count("script") == 1, "our own"
    for tag, name, value in reader.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name not in {"src", "srcset", "srcdoc", "style", "action", "formaction", "xlink:href", "data"}
        if name == "href":
            assert value.startswith("#")
    for text in (page.html, page.markdown, page.json):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
        text.encode("utf-8")


def test_calm_text_is_shown_and_markup_is_shown_as_text(study: Make) -> None:
    words = " ".join(read(report(hostile(study, "<b>bold & 'quoted'</b>")).html).text)
    assert "<b>bold & 'quoted'</b>" in words


@pytest.mark.parametrize("attack", ATTACKS)
def test_markdown_has_no_markup_of_the_model(study: Make, attack: str) -> None:
    markdown = report(
        hostile(study, attack + "\n# head\n| a | b |\n@everyone `tick` [x](https://evil.example)")
    ).markdown
    assert not re.search(r"<(?!!-- -->)[a-zA-Z/!]", re.sub(r"`[^`\n]*`", "", markdown))
    assert "\n# head" not in markdown
    assert "@everyone" not in re.sub(r"`[^`\n]*`", "", markdown)
    assert "](https://evil" not in re.sub(r"`[^`\n]*`", "", markdown).replace("\\]", "")
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1


@pytest.mark.parametrize("link", ["javascript:alert(1)", "data:text/html,x", "//evil.example/x", "a) [x](b"])
def test_markdown_link_goes_nowhere_bad(audit: Make, link: str) -> None:
    target = report(audit(link=link)).markdown.rsplit("](", 1)[1].strip().removesuffix(")")
    assert not re.search(r"javascript|data:|^//|[()\s]", target)


def test_policy_allows_the_own_style_and_script_and_nothing_else(audit: Make) -> None:
    import base64
    import hashlib

    html = report(audit()).html
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    style = re.search(r"<style>(.*?)</style>", html, re.S)
    assert policy
    assert style
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", html, re.S)
    assert len(scripts) == 1
    own = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style.group(1), scripts[0])]
    assert policy.group(1) == (
        f"default-src 'none'; style-src 'sha256-{own[0]}'; script-src 'sha256-{own[1]}'; base-uri 'none'; "
        "form-action 'none'"
    )
    assert not re.search(r"innerHTML|insertAdjacent|document\.write|eval\(|fetch\(|XMLHttp|import\(", scripts[0])
    assert not re.search(r"https?:|url\(|@import", html)


def test_masked_values_are_nowhere(study: Make) -> None:
    page = report(study())
    for text in (page.html, page.markdown, page.json):
        assert "Ana Duarte" not in text
        assert "912 000" not in text
    assert "&lt;PERSON&gt;" in page.html
    assert "<PERSON>" in page.json


@pytest.mark.parametrize(
    "hidden", ["Ana\u200b Duarte", "A\u00adna Duarte", "Ana \x1b[1mDuarte", "Ana\x00 Duarte", "An\u2060a Duarte"]
)
def test_invisible_characters_do_not_hide_a_value_from_the_mask(study: Make, hidden: str) -> None:
    flip = dataclasses.replace(study().flips[0], tuned_text=f"Call {hidden} now")
    page = report(study(flips=[flip]))
    assert "Call &lt;PERSON&gt; now" in page.html
    assert "removed" in page.html


def test_cut_never_shows_half_a_masked_value() -> None:
    def mask(text: str) -> str:
        return text.replace("Ana Duarte", "<PERSON>")

    for pad in range(1180, 1205):
        assert "Ana" not in show("x" * pad + "Ana Duarte", mask, 1200).text
    for pad in range(19_985, 20_005):
        assert "Ana" not in show("x" * pad + "Ana Duarte", lambda text: mask(text)[-400:], 1200).text


def test_a_megabyte_on_one_line_is_cut_with_a_note(study: Make) -> None:
    flips = [dataclasses.replace(study().flips[0], tuned_text="<" * 2**20, train_seed=seed) for seed in range(30)]
    page = report(study(flips=flips))
    assert len(page.html) < 450_000
    assert "of 1,048,576 characters" in page.html
    assert len(json.loads(page.json)["flips"]) == 30


def test_model_text_is_folded(study: Make) -> None:
    html = report(study()).html
    assert html.count('<details class="flip">') == 6
    assert "<details open" not in html
    assert not re.search(r"<details[^>]* open", html)
    inside = 0
    for piece in re.split(r"(<details[^>]*>|</details>)", html):
        inside += piece.startswith("<details") - (piece == "</details>")
        if "I cannot help with getting into a home" in piece:
            assert inside >= 2


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(), max_size=60))
def test_clean_is_idempotent_and_encodable(text: str) -> None:
    once = clean(text)
    once.encode("utf-8")
    assert "\x1b" not in once
    assert clean(once) == once


def test_clean_keeps_other_scripts() -> None:
    for text in ("Ångström, naïve; 日本語; العربية مرحبا; हिन्दी; 👍", "a\tb\nc"):
        assert clean(text) == text


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_a_real_browser_shows_the_decision_and_runs_nothing(study: Make, tmp_path: Path) -> None:
    html = report(hostile(study, " ".join(ATTACKS))).html
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    assert bare != html  # escaping alone must hold, without the policy behind it
    bare = re.sub(r"<title>.*?</title>", "<title>untouched</title>", bare, flags=re.S)
    file = tmp_path / "report.html"
    file.write_text(bare.replace("<details", "<details open"), encoding="utf-8")
    done = subprocess.run(
        [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--host-resolver-rules=MAP * ~NOTFOUND",
         f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=2000", "--dump-dom", file.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert "<title>untouched</title>" in done.stdout
    assert re.search(r'id="decision">.*?Drift</p>', done.stdout, re.S)
    assert done.stdout.count("<script") == 1
    assert read(done.stdout).tags.count("svg") == read(bare).tags.count("svg")
