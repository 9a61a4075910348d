"""The documentation: links lead somewhere, pages stand in the site's list, commands and snippets are what there is."""

from __future__ import annotations

import ast
import itertools
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
import yaml
from perf import studies

from aftertune.cli import app
from tools import docs_site

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
FENCE = re.compile(r"^([ ]*)```(\w*)[^\n]*\n(.*?)^\1``` *$", re.DOTALL | re.MULTILINE)
KEPT = {".md", ".py", ".toml", ".yml", ".yaml", ".json", ".csv", ".txt", ".js", ".css", ".html", ".j2"}
"""Endings of files that people read or edit."""
KEPT_REPORTS = sorted((DOCS / "studies").rglob("report.md"))
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def links(text: str) -> Iterator[tuple[str, str]]:
    """Yield (file, anchor) of each link within the repository."""
    for match in re.finditer(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", re.sub(r"`[^`\n]*`", "``", FENCE.sub("", text))):
        if "://" not in match[1] and not match[1].startswith("mailto:"):
            yield match[1], match[2] or ""


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and mkdocs make them."""
    heads = re.findall(r"^#+ +(.*?)\s*$", FENCE.sub("", text), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", head)).lower() for head in heads)
    return {re.sub(r"[ ]", "-", head.strip()) for head in plain}


def kept_texts() -> Iterator[Path]:
    """Yield every text file of the repository; folders that are made (`.venv`, runs, caches) are left out."""
    for part in ("docs", "src", "tests", "perf", "tools", "studies", "ci"):
        for path in sorted((ROOT / part).rglob("*")):
            if path.suffix in KEPT:
                yield path
    yield from (path for path in sorted(ROOT.iterdir()) if path.is_file())


def test_no_merge_is_left_half_done() -> None:
    marker = re.compile(r"^(<{7}|>{7}|\|{7}) |^={7}$", re.MULTILINE)
    texts = {path: path.read_text(encoding="utf-8", errors="replace") for path in kept_texts() if path.is_file()}
    assert len(texts) > 500
    assert [str(path.relative_to(ROOT)) for path, text in texts.items() if marker.search(text)] == []
    assert marker.search("a\n<<<<<<< HEAD\nb\n")


@each_page
def test_a_link_leads_somewhere(page: Path) -> None:
    for file, anchor in links(page.read_text(encoding="utf-8")):
        target = page if not file else page.parent / file
        assert target.exists(), file
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), f"{file}#{anchor}"


@pytest.mark.parametrize("page", KEPT_REPORTS, ids=lambda page: page.parent.relative_to(DOCS).as_posix())
def test_a_kept_report_ends_in_links_to_what_lies_beside_it(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert studies.linked(text, page.parent) == text
    assert ("readings.md" in dict(links(text))) == (page.parent / "readings.md").exists()


def test_links_of_a_kept_report_follow_what_is_kept(tmp_path: Path) -> None:
    made = f"## a\n\n3 checks: 3 pass. {studies.TO_PAGE}\n"
    assert studies.linked(made, tmp_path) == "## a\n\n3 checks: 3 pass.\n"
    (tmp_path / "readings.md").touch()
    with_readings = f"## a\n\n3 checks: 3 pass. {studies.TO_READINGS}\n"
    assert studies.linked(made, tmp_path) == studies.linked(with_readings, tmp_path) == with_readings
    (tmp_path / "report.html").touch()
    assert studies.linked(made, tmp_path) == f"## a\n\n3 checks: 3 pass. {studies.TO_PAGE} {studies.TO_READINGS}\n"


def test_every_page_stands_in_the_list_of_the_site() -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))

    def named(entry: Any) -> Iterator[str]:
        if isinstance(entry, str):
            yield entry
        else:
            for each in entry.values() if isinstance(entry, dict) else entry:
                yield from named(each)

    listed = list(named(config["nav"]))
    assert sorted(listed) == sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))
    assert config["strict"]


def test_links_that_leave_the_site_become_words() -> None:
    text = "[a](install.md#x) [b](../README.md) [c](https://x.example) [d](studies/) [e](none.md) ![f](report.png)"
    page = SimpleNamespace(file=SimpleNamespace(src_uri="index.md"))
    made = docs_site.on_page_markdown(text, page)
    assert made == "[a](install.md#x) b [c](https://x.example) [d](studies/README.md) e ![f](report.png)"


@each_page
def test_snippets_can_be_parsed(page: Path) -> None:
    """`test_snippets.py` runs what is Python, one page excepted."""
    for _, language, code in FENCE.findall(page.read_text(encoding="utf-8")):
        if language == "python" and "(..." not in code and " -> " not in code.splitlines()[-1]:
            ast.parse(code)
        if language in ("yaml", "yml"):
            yaml.safe_load(code)
        if language == "toml":
            tomllib.loads(code)


def commands(group: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*names, name))
        else:
            yield (*names, name), command


COMMANDS = dict(commands(typer.main.get_command(app)))


def lines(text: str) -> Iterator[str]:
    """Yield the command lines of a page's blocks of shell commands, continued lines joined."""
    for _, language, code in FENCE.findall(text):
        if language in ("", "sh", "bash", "shell", "console"):
            for line in re.sub(r"\s*\\\n\s*", " ", code).splitlines():
                found = re.match(r"\s*(?:\$ )?(?:[A-Z_]+=\S+ )*aftertune (.+)", line)
                if found:
                    yield re.sub(r"\s+#.*", "", found[1])


@each_page
def test_a_command_line_is_one_that_there_is(page: Path) -> None:
    for line in lines(page.read_text(encoding="utf-8")):
        parts = shlex.split(line)
        name = next((name for name in COMMANDS if tuple(parts[: len(name)]) == name), None)
        assert name is not None, line
        known = {option for each in COMMANDS[name].params for option in each.opts} | {"--help", "-h"}
        for part in parts[len(name) :]:
            if part.startswith("-") and not re.fullmatch(r"-[\d.]+", part):
                assert part.split("=")[0] in known, f"{line}: {part}"


def inline(text: str) -> Iterator[str]:
    """Yield what stands in a page's sentences and tables as code."""
    yield from re.findall(r"`([^`\n]+)`", FENCE.sub("", text).replace("\\", ""))


def unknown_options(code: str) -> list[str]:
    """Return the options of a command in a sentence that the command does not have; `--x` alone is nobody's."""
    words = code.removeprefix("aftertune ").split()
    name = next((name for name in COMMANDS if tuple(words[: len(name)]) == name), None)
    if name is None:
        return [code] if code.startswith("aftertune ") and re.match(r"[a-z]+$", words[0]) and words[0] != "pii" else []
    known = {option for each in COMMANDS[name].params for option in each.opts} | {"--help", "-h"}
    return [word for word in words if re.match(r"--?[a-z]", word) and word.split("=")[0] not in known]


@each_page
def test_a_command_in_a_sentence_is_one_that_there_is(page: Path) -> None:
    for code in inline(page.read_text(encoding="utf-8")):
        assert unknown_options(code) == [], code


def test_the_check_of_commands_sees_what_it_looks_for() -> None:
    text = "```\nX=1 aftertune audit BASE A \\\n  --polciy strict   # a comment\n$ aftertune list judge\n```\n"
    assert list(lines(text)) == ["audit BASE A --polciy strict", "list judge"]
    assert ("pii", "scan") in COMMANDS
    assert unknown_options("aftertune mend RUN") == ["aftertune mend RUN"]
    assert unknown_options("drift RUN --label FILE") == ["--label"]
    assert unknown_options("drift RUN --labels FILE") == unknown_options("drift/loss") == []


TARGETS = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@each_page
def test_a_file_a_target_and_a_module_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    blocks = [line.strip() for _, _, code in FENCE.findall(text) for line in code.splitlines()]
    for code in [*inline(text), *blocks]:
        if re.fullmatch(
            r"(tests|src|perf|tools|studies|ci|docs)/[\w./-]+(/|\.(py|toml|md|json|jsonl|csv|yml|sh))", code
        ):
            assert (ROOT / code).exists() or (ROOT / "src" / "aftertune" / code).exists(), code
        for target in re.findall(r"^make ([a-z][\w-]*)", code):
            assert target in TARGETS, code
        for module in re.findall(r"python -m ((?:perf|tools)\.[\w.]+)", code):
            path = ROOT.joinpath(*module.split("."))
            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), code


def pieces(text: str) -> Iterator[str]:
    """Yield the paragraphs and items of a page, each as one line; tables and code may say a thing twice."""
    for paragraph in re.split(r"\n\s*\n", FENCE.sub("", text)):
        for item in re.split(r"\n(?=\s*(?:- |\d+\. ))", paragraph):
            if not item.lstrip().startswith(("|", "#", "<")) and len(item) > 60:
                yield " ".join(item.split())


WRITTEN = [page for page in PAGES if page.name not in ("report.md", "mechanism.md", "reference.md", "repair.md")]
"""Pages but those that repeat a sentence for each run, arm, function or method."""


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_paragraph_stands_twice_or_begins_like_another(page: Path) -> None:
    """What a merge leaves behind where both sides changed a paragraph: it stands twice, with another end."""
    seen: dict[str, str] = {}
    for piece in pieces(page.read_text(encoding="utf-8")):
        assert seen.setdefault(piece[:70], piece) is piece, piece


def test_a_row_that_says_the_same_stands_under_one_that_says_what() -> None:
    for page in PAGES:
        rows = page.read_text(encoding="utf-8").splitlines()
        for above, row in itertools.pairwise(rows):
            assert not (above.startswith("|---") and row.endswith("| the same |")), row


def test_words_of_earlier_versions_are_gone() -> None:
    """A check is undecided, a forecast predicts."""
    old = re.compile(r"\b(inconclusive|foret(?:ell|old)\w*)\b", re.IGNORECASE)
    here = Path(__file__)
    found = {
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in kept_texts()
        if path != here and (match := old.search(path.read_text(encoding="utf-8", errors="replace")))
    }
    assert found == set()
