"""What stands behind the headline: flips side by side, categories, judges, proofs, cards and methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import escape

from aftertune.findings import Findings, Flip
from aftertune.records import Json
from aftertune.reporting.formatting import Shown, finite, interval, number, places, show
from aftertune.reporting.rows import Index, phrase, scale_of, scaled
from aftertune.reporting.tables import Column, Table, flatten, printed, table
from aftertune.text import excerpt

MAX_TEXT = 1_200
"""Characters of one model text in the page."""
MAX_NAME = 120
"""Characters of a prompt's id or category, which a stranger's file may have made a megabyte."""
MAX_CATEGORIES = 600
"""Rows of all category tables together."""
MAX_FLIPS = 6
"""Flips shown per metric and arm."""
FLIP_BUDGET = 120_000
"""Characters of model text in the whole page, escaped."""


@dataclass(frozen=True, slots=True)
class FlipView:
    """One flip, its texts masked, cleaned and cut."""

    title: str
    direction: str
    prompt: Shown
    base: Shown
    tuned: Shown
    base_label: str
    tuned_label: str


@dataclass(frozen=True, slots=True)
class FlipGroup:
    """The flips of one metric in one arm."""

    title: str
    summary: str
    flips: tuple[FlipView, ...]
    left_off: int


def direction(flip: Flip, index: Index) -> str:
    """Return `worse`, `better`, or empty where the flip is between labels that the metric does not count."""
    metric = index.metric(flip.metric)
    before, after = (label == metric.label for label in (flip.base_label, flip.tuned_label))
    if before == after:
        return ""
    return "worse" if after == (metric.worse == "up") else "better"


def flip_groups(index: Index) -> list[FlipGroup]:
    """Return the flips by metric and arm, those for the worse first, as many as the page has room for."""
    findings = index.findings
    grouped: dict[tuple[str, str], list[tuple[str, Flip]]] = {}
    for metric in index.names:
        for flip in findings.flips:
            if flip.metric == metric:
                grouped.setdefault((metric, flip.arm), []).append((direction(flip, index), flip))
    left = FLIP_BUDGET
    groups: list[FlipGroup] = []
    for (metric, arm), flips in grouped.items():
        share = max(left // max(len(grouped) - len(groups), 1), 0)
        shown: list[FlipView] = []
        for way, flip in sorted(flips, key=lambda pair: pair[0] != "worse")[:MAX_FLIPS]:
            view = _flip(way, flip, findings)
            size = sum(len(escape(text.text)) for text in (view.prompt, view.base, view.tuned))
            if size > share and shown:
                break
            share, left = share - size, left - size
            shown.append(view)
        worse, better = (sum(way == word for way, _ in flips) for word in ("worse", "better"))
        other = len(flips) - worse - better
        summary = f"{worse:,} worse, {better:,} better" + (f", {other:,} between other labels" if other else "")
        title = f"{arm}: {phrase(index.metric(metric))}"
        groups.append(FlipGroup(title, summary, tuple(shown), len(flips) - len(shown)))
    return groups


def _flip(way: str, flip: Flip, findings: Findings) -> FlipView:
    prompt, base, tuned = (show(t, findings.mask, MAX_TEXT) for t in (flip.prompt, flip.base_text, flip.tuned_text))
    where = [flip.category, flip.prompt_id, "" if flip.train_seed is None else f"seed {flip.train_seed}"]
    title = " · ".join(excerpt(part, MAX_NAME) for part in where if part) or "prompt"
    return FlipView(title, way, prompt, base, tuned, flip.base_label, flip.tuned_label)


# ---------------------------------------------------------------------------------------------- categories


def category_tables(index: Index) -> list[Table]:
    """Return one table per metric and arm: what each category did, largest worsening first."""
    grouped: dict[tuple[str, str], list[list[str]]] = {}
    for metric in index.names:
        sign = 1 if index.metric(metric).worse == "up" else -1
        scale = scale_of(index.metric(metric))
        rows = [row for row in index.findings.categories if row.metric == metric]
        for row in sorted(rows, key=lambda row: -sign * (row.delta or 0.0)):
            base, tuned, delta, low, high = (
                scaled(value, scale) for value in (row.base, row.tuned, row.delta, row.low, row.high)
            )
            decimals = min(places(low, high), 1) if scale.factor != 1 else places(low, high)
            grouped.setdefault((metric, row.arm), []).append(
                [
                    row.category,
                    f"{number(base, decimals)} → {number(tuned, decimals)}{scale.sign}",
                    f"{number(delta, decimals, signed=True)} {interval(low, high, decimals)}",
                    f"{row.worse_flips:,} / {row.better_flips:,}",
                    f"{row.n_prompts:,}",
                    f"{row.n_pairs:,}",
                    row.warning or "none known",
                ]
            )
    whole = sum(map(len, grouped.values()))
    most = max(MAX_CATEGORIES // max(len(grouped), 1), 3) if whole > MAX_CATEGORIES else whole
    columns = [Column("Category", "name"), Column("Base → tuned", "num"), Column("Drift [interval]", "num")]
    columns += [Column("Flips worse / better", "num"), Column("Prompts", "num"), Column("Pairs", "num")]
    columns += [Column("Warning", "text")]
    return [
        table(
            f"{arm}: {phrase(index.metric(metric))}",
            columns,
            rows[:most],
            f"The first {most:,} of {len(rows):,} categories." if len(rows) > most else "",
        )
        for (metric, arm), rows in list(grouped.items())[:MAX_CATEGORIES]
    ]


# ---------------------------------------------------------------------------------------------- trust


def _rate(anchor: Mapping[str, Json], name: str) -> str:
    """Return e.g. `97.5 [93.2, 99.3] %`, with a plain word where the rate or its interval is missing."""
    value, low, high = (_float(anchor.get(key)) for key in (name, f"{name}_low", f"{name}_high"))
    if value is None:
        return "not measured"
    low, high = (None if end is None else 100 * end for end in (low, high))
    decimals = min(places(low, high), 1)
    return f"{number(100 * value, decimals)} {interval(low, high, decimals)} %"


def _float(value: Json) -> float | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and finite(float(value)):
        return float(value)
    return None


def anchor_table(findings: Findings) -> Table | None:
    """Return what each judge gets right on answers whose label is known; None where no judge was measured."""
    rows = []
    for name, about in findings.judges.items():
        anchors = about.get("anchors")
        if not isinstance(anchors, Sequence) or isinstance(anchors, str):
            continue
        for anchor in anchors:
            if isinstance(anchor, Mapping):
                label = f"{anchor.get('axis', '')} = {anchor.get('label', '')}"
                n = [printed(anchor.get(key), findings.mask) for key in ("n_positive", "n_negative")]
                rows.append([name, label, _rate(anchor, "sensitivity"), n[0], _rate(anchor, "specificity"), n[1]])
    columns = [Column("Judge", "name"), Column("Label", "name"), Column("Sensitivity [interval]", "num")]
    columns += [Column("n with it", "num"), Column("Specificity [interval]", "num"), Column("n without", "num")]
    return table("Judges on answers with a known label", columns, rows) if rows else None


def judge_lists(findings: Findings) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return what else is known of each judge, as (judge, (key, value) pairs)."""
    lists = []
    for name, about in findings.judges.items():
        rest = {key: value for key, value in about.items() if key != "anchors"}
        pairs = list(flatten(rest, findings.mask))
        if not about.get("anchors"):
            pairs.append(("anchors", "not measured: this judge's error is unknown"))
        lists.append((name, pairs))
    return lists


def proof_table(findings: Findings) -> Table | None:
    """Return the evidence that each checkpoint was in use; None without any."""
    if not findings.proofs:
        return None
    columns = [Column("Checkpoint", "name"), Column("Largest change of a logit", "num")]
    columns += [Column("Off a direct pass by", "num"), Column("Weights moved", "num"), Column("In words", "text")]
    rows = []
    for proof in findings.proofs:
        change = proof.max_logit_change
        if change is None:
            verdict = "unknown: the backend shows no logits"
        else:
            verdict = "applied: the logits are not the base's" if change > 0 else "the same logits as the base"
        cells = [f"{value:.2g}" if value is not None and finite(value) else "unknown" for value in (
            proof.max_logit_change, proof.matches_direct)]  # fmt: skip
        moved = "unknown" if proof.moved_weights is None else f"{proof.moved_weights:,}"
        rows.append([proof.checkpoint, *cells, moved, f"{verdict}; {proof.how}" if proof.how else verdict])
    return table("Proof that each checkpoint was the one in use", columns, rows)


def method_lists(findings: Findings) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return every parameter, version, hash and seed as (group, (key, value) pairs)."""
    lists = []
    for group, value in findings.methods.items():
        nested = value if isinstance(value, Mapping) else {group: value}
        lists.append((group, list(flatten(nested, findings.mask))))
    return lists
