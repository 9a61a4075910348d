"""Flips: how many answers changed their label, and examples with the answers of base and tuned model side by side."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import escape

from aftertune import direction
from aftertune.findings import Findings, Flip, FlipCount
from aftertune.numbers import count
from aftertune.reporting.cleaning import PRECUT, SafeText, show
from aftertune.reporting.index import Index
from aftertune.reporting.page.changed_words import Piece, changed_words
from aftertune.text import excerpt

MAX_TEXT = 1_200
"""Characters of one model text in the page."""
MAX_NAME = 120
"""Characters of a prompt's id or category, which a stranger's file may have made a megabyte."""
MAX_FLIPS = 3
"""Examples shown per metric and arm."""
MAX_GROUPS = 60
"""Pairs of a metric and an arm with examples; of more, those with the most changes for the worse."""
FLIP_BUDGET = 60_000
"""Characters of model text in the whole page, escaped."""


@dataclass(frozen=True, slots=True)
class FlipView:
    """One flip, its texts masked, cleaned and cut."""

    title: str
    direction: str
    prompt: SafeText
    base: SafeText
    tuned: SafeText
    base_label: str
    tuned_label: str
    base_words: list[Piece]
    """The base's text in pieces, those marked that the tuned model's lacks."""
    tuned_words: list[Piece]
    unlike: str
    """Why nothing is marked; empty where something may be."""


@dataclass(frozen=True, slots=True)
class FlipGroup:
    """Examples of one metric in one arm, under how many there are of their kind."""

    metric: str
    arm: str
    summary: str
    flips: tuple[FlipView, ...]
    note: str
    """How the examples were chosen, and how many more stand in the JSON."""


def direction_of(flip: Flip, index: Index) -> direction.Verdict:
    """Return `worse`, `better`, or empty where the flip is between labels that the metric does not count."""
    metric = index.metric(flip.metric)
    return direction.of_label(flip.base_label == metric.label, flip.tuned_label == metric.label, metric.worse)


def flip_groups(index: Index) -> list[FlipGroup]:
    """Return the examples by metric and arm, those for the worse first, as many as the page has room for."""
    findings = index.findings
    grouped: dict[tuple[str, str], list[tuple[str, Flip]]] = {}
    for metric in index.names:
        for flip in findings.flips:
            if flip.metric == metric:
                grouped.setdefault((metric, flip.arm), []).append((direction_of(flip, index), flip))
    counts = {(count.metric, count.arm): count for count in findings.flip_counts}
    if len(grouped) > MAX_GROUPS:
        most = sorted(grouped, key=lambda key: -counts[key].worse if key in counts else 0)[:MAX_GROUPS]
        grouped = {key: own for key, own in grouped.items() if key in most}
    left = FLIP_BUDGET
    groups: list[FlipGroup] = []
    for (metric, arm), flips in grouped.items():
        share = max(left // max(len(grouped) - len(groups), 1), 0)
        views: list[FlipView] = []
        for way, flip in sorted(flips, key=lambda pair: pair[0] != "worse")[:MAX_FLIPS]:
            view = _flip(way, flip, findings)
            size = sum(len(escape(text.text)) for text in (view.prompt, view.base, view.tuned))
            if size > share and views:
                break
            share, left = share - size, left - size
            views.append(view)
        known = counts.get((metric, arm))
        note = _note(known, len(views), len(flips))
        groups.append(FlipGroup(metric, arm, _summary(known, len(views)), tuple(views), note))
    return groups


def _summary(known: FlipCount | None, shown: int) -> str:
    if known is None:
        return count(shown, "example")
    parts = [f"{known.worse:,} worse", f"{known.better:,} better"]
    parts += [f"{known.other:,} between other labels"] if known.other else []
    return f"{', '.join(parts)} of {known.n_pairs:,} pairs; {count(shown, 'example')}"


def _note(known: FlipCount | None, shown: int, stored: int) -> str:
    more = f" {stored - shown:,} more in report.json." if stored > shown else ""
    if known is None:
        return more.strip()
    return f"{count(shown, 'example')}, drawn at random from the {known.worse:,} for the worse over all seeds.{more}"


def _flip(way: str, flip: Flip, findings: Findings) -> FlipView:
    prompt, base, tuned = (show(t, findings.mask, MAX_TEXT) for t in (flip.prompt, flip.base_text, flip.tuned_text))
    where = [flip.category, flip.prompt_id, "" if flip.train_seed is None else f"seed {flip.train_seed}"]
    where += [f"sample {flip.sample}"] if flip.sample else []
    parts = [show(part, findings.mask_label, PRECUT).text for part in where if part]
    title = " · ".join(excerpt(part, MAX_NAME) for part in parts) or "prompt"
    before, after, unlike = changed_words(base.text, tuned.text)
    return FlipView(title, way, prompt, base, tuned, flip.base_label, flip.tuned_label, before, after, unlike)
