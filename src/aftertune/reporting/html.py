"""One self-contained HTML document out of the findings: everything escaped, nothing loaded, no script."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from aftertune.deciding import discrimination
from aftertune.findings import Mixed
from aftertune.numbers import PAGE
from aftertune.outcome import words
from aftertune.reporting import flips, free_text, inside_tables, plots, study_tables, tables
from aftertune.reporting.cleaning import clean
from aftertune.reporting.index import Index, phrase
from aftertune.reporting.sentences import decision_sentence, how_sure, tally, word

KINDS = {"demo": "demo on the embedded model", "audit": "audit", "study": "study"}
SECTIONS = (
    ("moved", "gated_forests", "What moved"),
    ("discrimination", "told_apart", "Harmful or harmless"),
    ("contrasts", "contrasts", "Contrasts"),
    ("seeds", "seed_plots", "Seeds"),
    ("", "curves", ""),
    ("contradictions", "signs", "Contradictions"),
    ("measures", "measures", "Measures"),
    ("leaks", "leaks", "Leaks"),
    ("thoughts", "thoughts", "Thoughts"),
    ("categories", "categories", "Categories"),
    ("flips", "has_flips", "Flips"),
    ("inside", "inside", "Inside the models"),
    ("numbers", "tables", "Every number"),
    ("trust", "trust", "Trust"),
    ("data", "data", "Data"),
    ("methods", "methods", "Methods"),
    ("caveats", "caveats", "What this cannot show"),
    ("paper", "closing", "Beside the paper"),
)
"""Anchor, what must be there for it, label in the contents."""
HEADINGS = {
    "epoch": ("Over epochs", ""),
    "temperature": ("Over sampling temperatures", " at the same temperature"),
}


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
    return env


def html(index: Index) -> str:
    """Return the page. The same findings give the same bytes."""
    env = environment()
    style, _, _ = env.loader.get_source(env, "style.css") if env.loader else ("", None, None)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    context = {**_context(index), "style": Markup(style), "style_hash": Markup(digest)}
    return env.get_template("report.html").render(context).strip() + "\n"


def _context(index: Index) -> dict[str, Any]:
    findings = index.findings
    gated = [row for row in index.headline if row.metric in index.gated] or index.headline
    leaking = [row for row in index.headline if index.metric(row.metric).axis.startswith("leak")]
    others = [row for row in index.headline if row not in gated and row not in leaking]
    levels = sorted({round(100 * row.confidence, 1) for row in gated})
    curves = [
        {"over": over, "heading": heading, "against": against, "curves": lines}
        for over, (heading, against) in HEADINGS.items()
        if (lines := plots.curves(index, over))
    ]
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
        "gated_forests": plots.forests(index, gated),
        "other_forests": plots.forests(index, others) if others else [],
        "unmeasured": plots.unmeasured(index),
        "checks": _checks(index),
        "contrasts": plots.contrasts(index),
        "seed_plots": plots.seed_plots(index),
        "curves": curves,
        "contradictions": findings.contradictions,
        "mixed": [(_mixed_name(one), one.sentence) for one in findings.mixed],
        "signs": bool(findings.contradictions or findings.mixed),
        "told_apart": bool(findings.discrimination or findings.undiscriminated),
        "discrimination": tables.discrimination_table(findings),
        "to_lose": discrimination.sentences(findings.discrimination, PAGE),
        "unpaired": discrimination.hint(findings.undiscriminated),
        "measures": tables.measure_tables(findings),
        "memory_tables": tables.memory_tables(findings),
        "leaks": bool(leaking or findings.leaks or tables.memory_tables(findings)),
        "leak_forests": plots.forests(index, leaking) if leaking else [],
        "leak_tables": tables.leak_tables(findings),
        "thoughts": tables.thought_table(findings),
        "categories": tables.category_tables(index),
        "categories_left_off": tables.categories_left_off(index),
        "flips": flips.flip_groups(index),
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
    }
    whole["has_flips"] = bool(whole["flips"] or whole["flip_table"])
    whole["contents"] = _contents(whole)
    return whole


def _mixed_name(mixed: Mixed) -> str:
    return " · ".join([mixed.base_model, *([f"T = {mixed.temperature:g}"] if mixed.temperature else [])])


def _contents(whole: dict[str, Any]) -> list[tuple[str, str]]:
    """Return (anchor, label) of the sections that the page has."""
    contents: list[tuple[str, str]] = []
    for anchor, key, label in SECTIONS:
        if key == "curves":
            contents += [(f"{curve['over']}s", curve["heading"]) for curve in whole[key]]
        elif whole[key]:
            contents.append((anchor, label))
    return contents


def _checks(index: Index) -> list[dict[str, object]]:
    return [
        {
            "unit": decision.unit,
            "metric": phrase(index.metric(decision.metric)),
            "outcome": decision.outcome,
            "required": decision.required,
            "why": decision.why,
            "remedy": decision.remedy,
        }
        for decision in index.findings.decisions
    ]


def _tables(index: Index) -> list[tuple[str, tables.Table, bool]]:
    """Return (title, table, open?) per level: recipes, contrasts, checkpoints, levels."""
    kinds = (
        ("recipe", "Recipes: training seeds and prompts are the sample"),
        ("contrast", "Contrasts: differences between the drifts of arms"),
        ("checkpoint", "Checkpoints: prompts are the sample"),
    )
    blocks = []
    for estimand, title in kinds:
        rows = index.order(row for row in index.findings.drifts if row.estimand == estimand)
        if rows:
            blocks.append((title, tables.drift_table(index, rows, title), False))
    rows = index.order(row for row in index.findings.drifts if row.estimand == "level")
    if rows:
        table = tables.level_table(index, rows)
        blocks.append((table.caption, table, False))
    if index.findings.spreads:
        table = tables.spread_table(index, "Where the spread of the drifts comes from")
        blocks.append((table.caption, table, False))
    return blocks
