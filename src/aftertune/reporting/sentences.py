"""The sentences at the top: what was decided, how sure we are, what each contrast says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from aftertune.findings import Findings, Mixed
from aftertune.records import Decision, Drift, Outcome
from aftertune.reporting.formatting import count, p_value, span
from aftertune.reporting.rows import Index, change, least_worsening, levels, margin_text, phrase, scale_of, worsening

WORDS: dict[Outcome, str] = {"pass": "Pass", "drift": "Drift", "inconclusive": "Inconclusive", "error": "Error"}
RANK: tuple[Outcome, ...] = ("error", "drift", "inconclusive", "pass")


def word(findings: Findings) -> str:
    """Return the one word of the decision; a pass of nothing is none."""
    if findings.outcome == "pass" and not findings.decisions:
        return "Not gated"
    return WORDS[findings.outcome]


def decision_sentence(index: Index) -> str:
    """Return the decision over the whole run in one or two sentences with numbers."""
    findings = index.findings
    considered = [d for d in findings.decisions if d.required] or list(findings.decisions)
    hits = [d for d in considered if d.outcome == findings.outcome] or [
        d for d in findings.decisions if d.outcome == findings.outcome
    ]
    if not findings.decisions:
        if findings.outcome == "error":
            return "No check could be made. " + (findings.warnings[0] if findings.warnings else "The methods say why.")
        return "No metric was gated, so nothing is passed or failed: read what moved below."
    total = count(len(considered), "required check" if len(considered) < len(findings.decisions) else "check")
    if not hits:
        return f"The run ended as {findings.outcome} for a reason that is not one metric's: see the warnings."
    if findings.outcome == "drift":
        verb = "breaks" if len(hits) == 1 else "break"
        return f"{len(hits):,} of {total} {verb} the policy. {_worst(index, hits, 'Worst')}"
    if findings.outcome == "pass":
        whole = "The one check holds" if len(considered) == 1 else f"All {total} hold"
        return f"{whole} within the margin. {_worst(index, hits, 'Closest')}"
    if findings.outcome == "inconclusive":
        neither = "is" if len(hits) == 1 else "are"
        first = hits[0]
        remedy = f" What would settle it: {_stop(first.remedy)}" if first.remedy else ""
        return (
            f"{len(hits):,} of {total} {neither} neither passed nor failed with this much data. "
            f"{_name(index, first)}: {_stop(first.why)}{remedy}"
        )
    return f"{len(hits):,} of {total} could not be made. {_name(index, hits[0])}: {_stop(hits[0].why)}"


def _name(index: Index, decision: Decision) -> str:
    return f"{decision.unit}, {phrase(index.metric(decision.metric))}"


def _stop(text: str) -> str:
    text = text.strip()
    return text if not text or text[-1] in ".!?" else text + "."


def _worst(index: Index, decisions: Sequence[Decision], lead: str) -> str:
    """Return the most telling of several decisions: the one that moved most for its margin."""
    pairs = [(d, row) for d in decisions if (row := index.row(d)) is not None and row.delta is not None]
    if not pairs:
        return f"{lead}: {_name(index, decisions[0])}: {_stop(decisions[0].why)}"
    decision, row = max(pairs, key=lambda pair: worsening(pair[1]) / (abs(pair[0].margin) or 0.01))
    if decision.outcome == "drift" and (least_worsening(row) or 0.0) <= abs(decision.margin):
        return f"{lead}: {_name(index, decision)}: {_stop(decision.why)}"
    scale = scale_of(index.metric(row.metric))
    margin = f"margin {margin_text(decision.margin, scale)}{scale.unit}"
    return f"{lead}: {_name(index, decision)}: {levels(row, scale)}, {change(row, scale)}; {margin}."


def tally(findings: Findings) -> str:
    """Return e.g. `12 checks: 4 drift, 1 inconclusive, 7 pass`, optional ones named."""
    if not findings.decisions:
        return ""
    counts = Counter(d.outcome for d in findings.decisions)
    parts = ", ".join(f"{counts[outcome]:,} {outcome}" for outcome in RANK if counts[outcome])
    optional = sum(not d.required for d in findings.decisions)
    note = f" ({optional:,} of them optional)" if optional else ""
    return f"{count(len(findings.decisions), 'check')}: {parts}{note}"


def how_sure(index: Index) -> list[tuple[str, str]]:
    """Return (fact, what it means) pairs: seeds, prompts, intervals, unjudged responses, warnings."""
    rows = [row for row in index.headline if not index.gated or row.metric in index.gated] or index.headline
    facts: list[tuple[str, str]] = []
    if rows:
        facts.append(_seeds(rows))
        clusters = [row.n_clusters for row in rows if 0 < row.n_clusters < row.n_prompts]
        inside = f"in {span(clusters)} clusters, paired with the base" if clusters else "paired with the base's answers"
        facts.append((f"{span([row.n_prompts for row in rows])} prompts per metric", inside))
        levels_ = sorted({round(100 * row.confidence, 1) for row in rows})
        facts.append(
            (f"{' and '.join(f'{level:g}' for level in levels_)} % intervals", "in square brackets everywhere")
        )
        facts.append(_unjudged(rows))
    flagged = Counter(row.warning for row in rows if row.warning)
    general = len(index.findings.warnings)
    if general or flagged:
        of_rows = "none on a single number"
        if flagged:
            share = f"{flagged.total():,} of the {len(rows):,} numbers below carry one"
            of_rows = f"{share}, most often: {flagged.most_common(1)[0][0]}"
        facts.append((f"{count(general, 'warning')} on the run", of_rows))
    else:
        facts.append(("No warnings", "nothing is known against these numbers"))
    return facts


def _unjudged(rows: Sequence[Drift]) -> tuple[str, str]:
    lost = sum(row.unjudged_tuned for row in rows)
    if not lost and not any(row.unjudged_base for row in rows):
        return "Nothing unjudged", "a judge read every response"
    whole = sum(row.n_prompts * max(row.n_seeds, 1) * max(row.n_samples, 1) for row in rows)
    most = max(row.unjudged_base for row in rows)
    base = f"; of the base's, {most:,} at most per metric" if most else ""
    return f"{lost:,} of {whole:,} answers unjudged", f"the worst case counts them as the worst{base}"


def _seeds(rows: Sequence[Drift]) -> tuple[str, str]:
    recipe = [row.n_seeds for row in rows if row.estimand == "recipe"]
    if recipe and len(recipe) == len(rows):
        return f"{span(recipe)} training seeds per arm", "so this speaks of the recipe"
    if recipe:
        return f"{span(recipe)} training seeds, or one", "rows with one speak of that checkpoint only"
    checkpoints = len({(row.arm, row.checkpoint, row.train_seed) for row in rows})
    what = count(checkpoints, "checkpoint") + ", one seed each" if checkpoints > 1 else "One checkpoint, one seed"
    return what, "says nothing about another run of the same recipe"


def contrast_sentence(row: Drift, index: Index, name: str) -> str:
    """Return e.g. `PII in the data: −3.1 points [−9.0, 2.7]: cannot be told from zero.`"""
    text = f"{name}: {change(row, scale_of(index.metric(row.metric)))}"
    if row.delta is None or row.low is None or row.high is None:
        return f"{text}: could not be measured. {_stop(row.warning)}".strip()
    if row.low <= 0 <= row.high:
        return f"{text}: cannot be told from zero."
    direction = "worse" if worsening(row) > 0 else "better"
    if row.p_adjusted is not None and row.p_adjusted > 1 - row.confidence:
        return f"{text}: {direction}, but not after correction for looking at several (p = {p_value(row.p_adjusted)})."
    return f"{text}: {direction}, and told apart from zero."


def mixed_sentence(mixed: Mixed) -> str:
    """Return a mixed-sign rate as one sentence with its expectation."""
    return (
        f"{100 * mixed.observed:.0f} % of {mixed.n_checkpoints:,} checkpoints are better on one of {mixed.n_metrics:,} "
        f"metrics and worse on another; {100 * mixed.expected:.0f} % would be where nothing drifts at all (95 % of "
        f"label swaps: {100 * mixed.low:.0f} to {100 * mixed.high:.0f} %)"
    )
