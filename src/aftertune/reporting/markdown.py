"""The report as Markdown, short enough for a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote, urlsplit

from aftertune import direction
from aftertune.deciding import discrimination
from aftertune.findings import Findings
from aftertune.headline import shown_only
from aftertune.numbers import PAGE, sample
from aftertune.outcome import words
from aftertune.records import Drift
from aftertune.reporting import study_tables, tables
from aftertune.reporting.cleaning import clean
from aftertune.reporting.index import Index
from aftertune.reporting.sentences import (
    contrast_name,
    contrast_sentence,
    decision_sentence,
    how_sure,
    leak_sentences,
    tally,
    word,
)

MAX_ROWS = 40
"""Rows of the table; the page has all."""
MAX_CONTRASTS = 12
MAX_LEAKS = 12
"""Sentences about memorisation."""
MAX_WARNINGS = 10
MAX_CELL = 300
"""Characters of one cell or sentence."""
MAX_WARNING = 600
"""Characters of a warning on the run."""
MAX_PARAGRAPH = 3_000
"""Characters of what a study's design says of its own table."""

_MARKUP = re.compile(r"([\\`*_\[\]|~!])")
_ACTS = re.compile(r"(@|:(?=//)|#|(?<=:)(?=[A-Za-z+-][\w+-]{0,40}:)|\b[Ww]{3}(?=\.))")
"""What a forge makes something of without any markup: mentions, addresses, numbers of issues, names of emoji."""


def prose(text: str, most: int = MAX_CELL) -> str:
    """Return text that Markdown shows as it is: on one line, no markup, no mention of anybody."""
    line = " ".join(clean(text).split())
    line = line if len(line) <= most else line[: most - 1] + "…"
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = _ACTS.sub(r"\1<!-- -->", _MARKUP.sub(r"\\\1", line))
    return line.replace("$", "&#36;")


def code(text: str) -> str:
    """Return a name as a code span that cannot end early, nor end its table cell."""
    line = " ".join(clean(text).split()).replace("`", "'").replace("|", "\\|")
    return f"`{line[:MAX_CELL] or ' '}`"


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Return the lines of a table; the cells are Markdown already."""
    columns = list(heads)
    lines = ["| " + " | ".join(columns) + " |", "|" + "|".join(" --- " for _ in columns) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def target(link: str) -> str:
    """Return an address that is safe to point to: a relative path or http(s), else the page's usual name."""
    address = "".join(clean(link).split())
    try:
        parts = urlsplit(address)
    except ValueError:  # e.g. of a bracket in the host
        return "report.html"
    if parts.scheme not in ("", "http", "https") or address.startswith("//"):
        return "report.html"
    return quote(parts.geturl(), safe="/:#?&=%~.,+-_")


def markdown(index: Index) -> str:
    """Return the report's summary: the decision, the gated numbers, the contrasts, how sure, and where the rest is."""
    findings = index.findings
    lines = [f"## {prose(findings.title)}", "", f"**{word(findings)}.** {prose(decision_sentence(index))}", ""]
    rows = [row for row in index.headline if row.metric in index.gated] or index.headline
    rows = sorted(rows, key=index.rank)
    name = index.namer(rows)
    if rows:
        heads = (
            "Metric",
            "Arm",
            "Base → tuned",
            "Drift [interval]",
            "Worse",
            "Margin",
            "n",
            "Decision",
            "Why",
            "Warning",
        )
        lines += [*table(heads, (_row(index, row, name(row)) for row in rows[:MAX_ROWS])), ""]
    if len(rows) > MAX_ROWS:
        lines += [f"The first {MAX_ROWS} of {len(rows):,} rows, the worst first.", ""]
    lines += _discrimination(findings)
    lines += _judge_errors(index)
    label = index.namer(index.contrasts)
    contrasts = [row for row in index.contrasts if not index.gated or row.metric in index.gated]
    for row in contrasts[:MAX_CONTRASTS]:
        text = contrast_sentence(row, index, contrast_name(row, index, label(row), formula=True))
        lines.append(f"- {prose(index.called(row.metric))}: {prose(text)}")
    lines += _left_off(contrasts, MAX_CONTRASTS, "contrasts")
    memory = leak_sentences(findings)
    lines += [f"- {prose(sentence)}" for sentence in memory[:MAX_LEAKS]]
    lines += _left_off(memory, MAX_LEAKS, "sentences about memorisation")
    lines += [""] if contrasts or memory else []
    lines += ["; ".join(f"{prose(fact)} ({prose(meaning)})" for fact, meaning in how_sure(index)) + ".", ""]
    lines += [f"- Warning: {prose(warning, MAX_WARNING)}" for warning in findings.warnings[:MAX_WARNINGS]]
    lines += _left_off(findings.warnings, MAX_WARNINGS, "warnings")
    lines += [""] if findings.warnings else []
    if index.gated:
        for why, metrics in shown_only(index.headline).items():
            lines += [
                f"In the full report alone: {', '.join(prose(index.called(name)) for name in metrics)} ({prose(why)}).",
                "",
            ]
    for section in findings.tables:
        lines += closing(study_tables.section_view(section))
    checks = tally(findings)
    lines.append(f"{checks + '. ' if checks else ''}[Full report]({target(findings.link)})")
    return "\n".join(lines) + "\n"


def _discrimination(findings: Findings) -> list[str]:
    """Return how far refusals tell harmful requests from harmless ones; what is against a base is a warning below."""
    shown = tables.discrimination_table(findings)
    missing = discrimination.hint(findings.undiscriminated)
    lines = []
    if shown is not None:
        heads = [column.head for column in shown.columns]
        rows = [[prose(row[0]), code(row[1]), *map(prose, row[2:])] for row in shown.rows[:MAX_ROWS]]
        lines += ["d-prime: 0 where harmful and harmless requests are refused alike, 1 fair, 2 good.", ""]
        lines += [*table(heads, rows), *_left_off(shown.rows, MAX_ROWS, "models"), ""]
        alone = tables.judge_alone(findings)
        lines += [alone, ""] if alone else []
        clear = discrimination.sentences(findings.discrimination, PAGE, clear=True)
        lines += [*(f"- {prose(sentence, MAX_WARNING)}" for sentence in clear), *([""] if clear else [])]
    return [*lines, prose(missing, MAX_WARNING), ""] if missing else lines


LABEL_HEADS = ("Metric", "Arm", "Judge", "By the judge alone", "Labels", "People confirm", "People add")
"""Columns of the page's table of people's labels; the others stand in the first table."""


def _judge_errors(index: Index) -> list[str]:
    """Return how far people's labels bear out each rate, by arm; empty where nothing was labelled."""
    shown = tables.label_table(index)
    if shown is None:
        return []
    places = [at for at, column in enumerate(shown.columns) if column.head in LABEL_HEADS]
    heads = [shown.columns[at].head for at in places]
    rows = [
        [code(row[at]) if shown.columns[at].head == "Arm" else prose(row[at]) for at in places] for row in shown.rows
    ]
    return [
        "What people's labels say of the judge, in per cent, of the base and then of the tuned model. Confirm: of the "
        "answers that the judge gives the label, those to which people give it too; add: of the others, those to which "
        "people give it.",
        "",
        *table(heads, rows[:MAX_ROWS]),
        *_left_off(rows, MAX_ROWS, "rows"),
        "",
    ]


def _left_off(items: Sequence[object], most: int, what: str) -> list[str]:
    return [f"- The first {most} of {len(items):,} {what}; the full report has all."] if len(items) > most else []


def closing(section: study_tables.SectionView) -> list[str]:
    """Return the lines of a study's closing table."""
    lines = [f"### {prose(section.title)}", ""]
    if any(head.published for head in section.heads):
        source = f" from {prose(section.source)}" if section.source else ""
        lines += [
            f"In square brackets the interval of the number before it. *Published*:{source}. {study_tables.OTHERS}",
            "",
        ]
    heads = [" "]
    for head in section.heads:
        heads += [prose(head.name), "*published*"] if head.published else [prose(head.name)]
    rows = []
    for label, cells in section.rows:
        row = [prose(label)]
        for cell, head in zip(cells, section.heads, strict=True):
            row.append(f"{prose(cell.ours)}{f' ({prose(cell.behind)})' if cell.behind else ''}")
            row += [f"*{prose(cell.published)}*"] if head.published else []
        rows.append(row)
    lines += [*table(heads, rows), ""]
    lines += [f"- {prose(sentence)}" for sentence in section.statements]
    lines += [""] if section.statements else []
    for head in section.heads:
        usual = f"; where a cell says nothing else: {prose(head.usual)}" if head.usual else ""
        lines.append(f"- {prose(head.name)}: {prose(head.about)}{usual}")
    lines += [""]
    for title, text in (("What this design supports.", section.supports), ("What it cannot.", section.cannot)):
        lines += [f"**{title}** {prose(text, MAX_PARAGRAPH)}", ""] if text else []
    return lines


def _row(index: Index, row: Drift, name: str) -> list[str]:
    scale = index.scale(row.metric)
    decision = index.decision(row)
    state = words(decision.outcome) if decision else ""
    return [
        prose(index.called(row.metric)),
        code(name),
        "" if row.delta is None else prose(PAGE.levels(row, scale)),
        PAGE.change(row, scale, unit=False),
        direction.words(row.worse).split()[0],
        PAGE.margin(decision.margin, scale, unit=False) if decision else "",
        prose(sample(row)),
        "" if decision is None else state if decision.outcome == "pass" else f"**{state}**",
        prose(decision.reason) if decision else "",
        prose(row.warning) or "none",
    ]
