"""One self-contained HTML document out of the findings: everything escaped, nothing loaded, one script of its own.

The parts stand in `page/`, a file each. A content-security policy allows the page's own style and script by their
hashes and forbids everything else.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from aftertune.deciding import discrimination
from aftertune.findings import Mixed
from aftertune.numbers import PAGE, count
from aftertune.outcome import SEVERITY, words
from aftertune.reporting import flips, free_text, inside_tables, study_tables, tables
from aftertune.reporting.cleaning import clean
from aftertune.reporting.index import Index
from aftertune.reporting.page.audited import audited
from aftertune.reporting.page.contrasts import contrasts
from aftertune.reporting.page.curves import curves
from aftertune.reporting.page.footnotes import Footnotes
from aftertune.reporting.page.forest import Forest, forests
from aftertune.reporting.page.glossary import GLOSSARY
from aftertune.reporting.page.heat_map import heat_maps
from aftertune.reporting.page.leak_bars import PARTS, leak_bars
from aftertune.reporting.page.matrix import matrix
from aftertune.reporting.sentences import decision_sentence, how_sure, tally, word

KINDS = {"demo": "demo on the embedded model", "audit": "audit", "study": "study"}
SECTIONS = (
    ("moved", "forests", "What moved"),
    ("leaks", "leaks", "Leaks"),
    ("categories", "categories", "Categories"),
    ("contrasts", "contrasts", "Contrasts"),
    ("", "curves", ""),
    ("discrimination", "told_apart", "Harmful or harmless"),
    ("contradictions", "signs", "Contradictions"),
    ("measures", "measures", "Measures"),
    ("thoughts", "thoughts", "Thoughts"),
    ("flips", "has_flips", "Flips"),
    ("inside", "inside", "Inside the models"),
    ("numbers", "more", "More numbers"),
    ("trust", "trust", "Trust"),
    ("data", "data", "Data"),
    ("methods", "methods", "Methods"),
    ("caveats", "caveats", "What this cannot show"),
    ("paper", "closing", "Beside the paper"),
    ("glossary", "glossary", "Glossary"),
)
"""Anchor, what must be there for it, label in the contents."""
HEADINGS = {
    "epoch": ("Over epochs", ""),
    "temperature": ("Over sampling temperatures", " at the same temperature"),
}


MOST_OPEN = 16
"""Plots of a kind that are not folded: a page of a hundred metrics is read from its matrix."""
MAX_CHECKS = 100
"""Checks in words; the worst come first, and report.json has all."""
MAX_STRING = 5_000
"""Characters of any one string in the page, whoever wrote it."""


def _final(value: object) -> object:
    """Clean and cut whatever a template prints, so that no string reaches the page unread; escaping comes after."""
    if isinstance(value, Markup):
        return value
    text = str(value)
    return clean(text) if len(text) <= MAX_STRING else clean(text[:MAX_STRING]) + "…"


@cache
def environment() -> Environment:
    """Return the templates' environment: escapes everything, refuses an unknown name."""
    env = Environment(
        loader=PackageLoader("aftertune", "reporting"),
        autoescape=True,
        finalize=_final,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.globals |= {"words": words}
    env.filters["capfirst"] = lambda text: text[:1].upper() + text[1:]
    return env


def html(index: Index) -> str:
    """Return the page. The same findings give the same bytes."""
    env = environment()
    return env.get_template("report.html").render({**_context(index), **style_and_script()}).strip() + "\n"


def style_and_script(*, script: bool = True) -> dict[str, Markup]:
    """Return what a page's head holds: its style, its script if it has one, and their hashes for its policy."""
    env = environment()
    assert env.loader is not None
    own: dict[str, Markup] = {}
    for name, file in (("style", "style.css"), ("script", "report.js")):
        text = env.loader.get_source(env, file)[0].strip() if script or name == "style" else ""
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() if text else ""
        own |= {name: Markup(text), f"{name}_hash": Markup(digest)}
    return own


def _context(index: Index) -> dict[str, Any]:
    findings = index.findings
    gated = [row for row in index.headline if row.metric in index.gated] or index.headline
    shown = set(map(id, gated))
    others = [row for row in index.headline if id(row) not in shown]
    levels = sorted({round(100 * row.confidence, 2) for row in gated})
    drawn = [
        {"over": over, "heading": heading, "against": against, "curves": lines}
        for over, (heading, against) in HEADINGS.items()
        if (lines := curves(index, over))
    ]
    notes = Footnotes()
    plots = forests(index, gated, notes) if gated or findings.decisions else []
    whole: dict[str, Any] = {
        "title": findings.title,
        "kind": KINDS[findings.kind],
        "word": word(findings),
        "tone": "none" if word(findings) == "Not gated" else findings.outcome,
        "sentence": decision_sentence(index),
        "tally": tally(findings),
        "facts": how_sure(index),
        "warnings": findings.warnings,
        "confidence": " and ".join(f"{level:g}" for level in levels),
        "audited": audited(index),
        "matrix": matrix(index) if index.headline or findings.decisions else None,
        "gated": bool(findings.decisions),
        "forests": _folded(plots),
        "all_pass": all(plot.passes for plot in plots),
        "other_forests": forests(Index(dataclasses.replace(findings, decisions=())), others, notes) if others else [],
        "checks": _checks(index),
        "contrasts": contrasts(index, notes),
        "curves": drawn,
        "contradictions": findings.contradictions,
        "mixed": [(_mixed_name(one), one.sentence) for one in findings.mixed],
        "signs": bool(findings.contradictions or findings.mixed),
        "told_apart": bool(findings.discrimination or findings.undiscriminated),
        "discrimination": tables.discrimination_table(findings),
        "to_lose": discrimination.sentences(findings.discrimination, PAGE),
        "unpaired": discrimination.hint(findings.undiscriminated),
        "measures": tables.measure_tables(findings),
        "memory_tables": tables.memory_tables(findings),
        "leaks": bool(findings.leaks or tables.memory_tables(findings)),
        "leak_bars": leak_bars(findings),
        "leak_parts": PARTS,
        "most_open": MOST_OPEN,
        "leak_tables": tables.leak_tables(findings),
        "thoughts": tables.thought_table(findings),
        "categories": heat_maps(index),
        "flips": _flips(index),
        "flip_table": tables.flip_table(index),
        "tables": _tables(index),
        "unjudged": tables.unjudged_table(index),
        "judge_pairs": tables.judge_pair_table(index),
        "labels": tables.label_table(index),
        "anchors": tables.anchor_table(findings),
        "judges": tables.judge_lists(findings),
        "proofs": tables.proof_table(findings),
        "cards": tables.side_by_side("Data cards of the arms", "Property", free_text.cards(findings))
        if findings.cards
        else None,
        "forecast": inside_tables.forecast_table(findings),
        "data": bool(findings.cards or findings.forecasts),
        "inside": inside_tables.inside_tables(findings),
        "methods": tables.method_lists(findings),
        "caveats": findings.caveats,
        "closing": [study_tables.section_view(section) for section in findings.tables],
        "others": study_tables.OTHERS,
        "trust": bool(findings.drifts or findings.proofs or findings.judges),
        "glossary": GLOSSARY,
        "notes": notes.rows,
    }
    whole["more"] = bool(whole["tables"] or whole["other_forests"])
    whole["has_flips"] = bool(whole["flips"] or whole["flip_table"])
    whole["contents"] = _contents(whole)
    return whole


def _folded(plots: Sequence[Forest]) -> list[tuple[str, list[Forest]]]:
    """Return the plots in groups with a heading each; the first, what is worst, is open and has none."""
    groups = (
        ("", [plot for plot in plots if plot.tone not in ("undecided", "pass")]),
        ("Metrics that are undecided, and no worse, in any arm", [plot for plot in plots if plot.tone == "undecided"]),
        ("Metrics on which every arm passes", [plot for plot in plots if plot.tone == "pass"]),
    )
    (_, worst), *rest = [(summary, own) for summary, own in groups if own] or [("", [])]
    more = [(f"{count(len(worst) - MOST_OPEN, 'more metric')}", worst[MOST_OPEN:])] if len(worst) > MOST_OPEN else []
    return [("", worst[:MOST_OPEN]), *more, *rest] if worst else []


def _mixed_name(mixed: Mixed) -> str:
    return " · ".join([mixed.base_model, *([f"T = {mixed.temperature:g}"] if mixed.temperature else [])])


def _contents(whole: dict[str, Any]) -> list[tuple[str, str]]:
    """Return (anchor, label) of the sections that the page has."""
    contents: list[tuple[str, str]] = []
    for place, key, label in SECTIONS:
        if key == "curves":
            contents += [(f"{curve['over']}s", curve["heading"]) for curve in whole[key]]
        elif whole[key]:
            contents.append((place, label))
    return contents


def _checks(index: Index) -> list[dict[str, object]]:
    """Return the checks in words, those that pass only where all do."""
    calm = all(decision.outcome == "pass" for decision in index.findings.decisions)
    return [
        {
            "unit": decision.unit,
            "metric": index.called(decision.metric),
            "outcome": decision.outcome,
            "required": decision.required,
            "why": decision.why,
            "remedy": decision.remedy,
        }
        for decision in sorted(index.findings.decisions, key=lambda each: SEVERITY.index(each.outcome))
        if decision.outcome != "pass" or calm
    ][:MAX_CHECKS]


def _flips(index: Index) -> list[tuple[str, str, list[flips.FlipGroup]]]:
    """Return (metric, how many changed, examples by arm)."""
    grouped: dict[str, list[flips.FlipGroup]] = {}
    for group in flips.flip_groups(index):
        grouped.setdefault(group.metric, []).append(group)
    counts = index.findings.flip_counts
    return [
        (
            index.called(metric),
            f"{sum(one.worse for one in counts if one.metric == metric):,} for the worse, "
            f"{sum(one.better for one in counts if one.metric == metric):,} for the better"
            if any(one.metric == metric for one in counts)
            else count(sum(len(group.flips) for group in groups), "example"),
            groups,
        )
        for metric, groups in grouped.items()
    ]


def _tables(index: Index) -> list[tuple[str, tables.Table]]:
    """Return (title, table) of recipes and contrasts, of checkpoints where there are no recipes, and of spreads."""
    rows = {
        estimand: index.order(row for row in index.findings.drifts if row.estimand == estimand)
        for estimand in ("recipe", "contrast", "checkpoint")
    }
    titles = {
        "recipe": "Recipes: training seeds and prompts are the sample",
        "contrast": "Contrasts: differences between the drifts of arms",
        "checkpoint": "Checkpoints: prompts are the sample",
    }
    if rows["recipe"]:
        del rows["checkpoint"]
    blocks = [(titles[name], tables.drift_table(index, own, titles[name])) for name, own in rows.items() if own]
    if index.findings.spreads:
        table = tables.spread_table(index, "Where the spread of the drifts comes from")
        blocks.append((table.caption, table))
    return blocks
