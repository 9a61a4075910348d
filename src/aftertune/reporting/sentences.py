"""The sentences of a report: what was decided, how sure we are, what each contrast and each leak says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from aftertune import direction
from aftertune.findings import Findings, LeakRow, Measure
from aftertune.headline import main_setting
from aftertune.naming import Names, Unit
from aftertune.numbers import NOT_MEASURED, PAGE, SHARES, count, counts, p_value
from aftertune.outcome import SEVERITY, WORDS
from aftertune.records import BASE_ARM, Decision, Drift
from aftertune.reporting.index import Index


def word(findings: Findings) -> str:
    """Return the one word of the decision; a pass of nothing is none."""
    if findings.outcome == "pass" and not findings.decisions:
        return "Not gated"
    return WORDS[findings.outcome]


def decision_sentence(index: Index) -> str:
    """Return the decision over the whole run in one or two sentences with numbers."""
    findings = index.findings
    required = [d for d in findings.decisions if d.required]
    considered = required or list(findings.decisions)
    hits = [d for d in considered if d.outcome == findings.outcome]
    if not hits and required:  # a drift of an optional check counts, and so does its error
        considered = [d for d in findings.decisions if not d.required]
        hits = [d for d in considered if d.outcome == findings.outcome]
    if not findings.decisions:
        if findings.outcome == "error":
            return "No check could be made. " + (findings.warnings[0] if findings.warnings else "The methods say why.")
        return "No metric was gated, so nothing is passed or failed: read what moved below."
    kind = "check" if len(considered) == len(findings.decisions) else "required check" if considered == required else ""
    total = count(len(considered), kind or "optional check")
    if not hits and not required:
        return "The policy requires none of these checks, so nothing is passed: read what moved below."
    if not hits:
        return f"The run ended as {findings.outcome} for a reason beyond any one metric: see the warnings."
    if findings.outcome == "drift":
        verb = "breaks" if len(hits) == 1 else "break"
        return f"{len(hits):,} of {total} {verb} the policy. {_worst(index, hits, 'Worst')}"
    if findings.outcome == "pass":
        whole = "The one check holds" if len(considered) == 1 else f"All {total} hold"
        return f"{whole} within the margin. {_worst(index, hits, 'Closest')}"
    if findings.outcome == "unconfirmed":
        verb = "lies" if len(hits) == 1 else "lie"
        return (
            f"{len(hits):,} of {total} {verb} beyond the margin, which is not confirmed. {_worst(index, hits, 'Worst')}"
        )
    if findings.outcome == "undecided":
        verb = "is" if len(hits) == 1 else "are"
        first = hits[0]
        remedy = f" What would settle it: {_stop(first.remedy)}" if first.remedy else ""
        return (
            f"{len(hits):,} of {total} {verb} neither passed nor failed with this much data. "
            f"{_name(index, first)}: {_stop(first.why)}{remedy}"
        )
    return f"{len(hits):,} of {total} could not be made. {_name(index, hits[0])}: {_stop(hits[0].why)}"


def _name(index: Index, decision: Decision) -> str:
    return f"{decision.unit}, {index.called(decision.metric)}"


def _stop(text: str) -> str:
    text = text.strip()
    return text if not text or text[-1] in ".!?" else text + "."


def _worst(index: Index, decisions: Sequence[Decision], lead: str) -> str:
    """Return the most telling of several decisions: the one that moved most for its margin."""
    pairs = [(d, row) for d in decisions if (row := index.row(d)) is not None and row.delta is not None]
    if not pairs:
        return f"{lead}: {_name(index, decisions[0])}: {_stop(decisions[0].why)}"
    margins = [abs(decision.margin) or 0.01 for decision, _ in pairs]
    losses = [direction.loss(row.delta, row.worse) / margin for (_, row), margin in zip(pairs, margins, strict=True)]
    decision, row = pairs[losses.index(max(losses))]
    least = direction.good_end(row.low, row.high, row.worse) or 0.0
    if decision.outcome == "unconfirmed" or (decision.outcome == "drift" and least <= abs(decision.margin)):
        return f"{lead}: {_name(index, decision)}: {_stop(decision.why)}"
    scale = index.scale(row.metric)
    numbers = f"{PAGE.levels(row, scale)}, {PAGE.change(row, scale)}; margin {PAGE.margin(decision.margin, scale)}"
    return f"{lead}: {_name(index, decision)}: {numbers}."


def tally(findings: Findings) -> str:
    """Return e.g. `12 checks: 4 drift, 1 undecided, 7 pass`, optional ones named."""
    if not findings.decisions:
        return ""
    counts = Counter(d.outcome for d in findings.decisions)
    parts = ", ".join(f"{counts[outcome]:,} {outcome}" for outcome in SEVERITY if counts[outcome])
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
        inside = (
            f"in {counts(clusters)} clusters, paired with the base" if clusters else "paired with the base's answers"
        )
        facts.append((f"{counts([row.n_prompts for row in rows])} prompts per metric", inside))
        levels_ = sorted({round(100 * row.confidence, 2) for row in rows})
        facts.append(
            (f"{' and '.join(f'{level:g}' for level in levels_)} % intervals", "in square brackets everywhere")
        )
        facts.append(_unjudged(index.findings, rows))
    if any(row.with_thought for row in index.findings.thoughts):
        facts.append(_thoughts(index.findings))
    facts.append(_warnings(index, rows))
    return facts


def _thoughts(findings: Findings) -> tuple[str, str]:
    responses, thoughts, lost = (
        sum(getattr(row, name) for row in findings.thoughts) for name in ("responses", "with_thought", "unanswered")
    )
    inside = f"; {lost:,} end inside it and are unjudged" if lost else ""
    return f"{thoughts:,} of {count(responses, 'response')} have a thought", f"judges read the answer alone{inside}"


def _warnings(index: Index, rows: Sequence[Drift]) -> tuple[str, str]:
    """Return how many numbers carry a warning of their own, and how many warnings are about the run."""
    flagged = [row for row in rows if row.warning]
    general = len(index.findings.warnings)
    what = count(len(rows), "gated number" if index.gated else "number")
    if not flagged:
        if not general:
            return "No warnings", "nothing is known against these numbers"
        return f"{count(general, 'warning')} on the run", f"none on any one of the {what}"
    texts = Counter(text for row in flagged for text in dict.fromkeys(row.warning.split("; ")))
    often, times = texts.most_common(1)[0]
    only = f"{often} ({times:,} of them)" if len(texts) > 1 else often
    verb = "carries" if len(flagged) == 1 else "carry"
    run = f"{count(general, 'warning')} on the run as a whole" if general else "none on the run as a whole"
    return f"{len(flagged):,} of {what} {verb} a warning", f"{'most often: ' if len(texts) > 1 else ''}{only}; {run}"


def _unjudged(findings: Findings, rows: Sequence[Drift]) -> tuple[str, str]:
    tuned, base = sum(row.unjudged_tuned for row in rows), sum(row.unjudged_base for row in rows)
    if not tuned and not base:
        return "Nothing unjudged", "every answer has a verdict on each of these metrics"
    known = findings.unjudged
    worst = "the worst case counts them as the worst"
    if known is not None:
        of_base = f"; of the base's, {known.base:,} of {known.of_base:,}" if known.base else ""
        return f"{known.tuned:,} of {known.of_tuned:,} tuned answers unjudged on some metric", f"{worst}{of_base}"
    of_base = f", and {base:,} on the base's" if base else ""
    where = f"over {count(len(rows), 'number')}"
    return f"{tuned:,} verdicts missing on tuned answers{of_base}", f"{where}; {worst}"


def _seeds(rows: Sequence[Drift]) -> tuple[str, str]:
    recipe = [row.n_seeds for row in rows if row.estimand == "recipe"]
    if recipe and len(recipe) == len(rows):
        return f"{counts(recipe)} training seeds per arm", "so this speaks of the recipe"
    if recipe:
        return f"{counts(recipe)} training seeds, or one", "rows with one speak of that checkpoint only"
    checkpoints = len({(row.arm, row.checkpoint, row.train_seed) for row in rows})
    what = count(checkpoints, "checkpoint") + ", one seed each" if checkpoints > 1 else "One checkpoint, one seed"
    return what, "says nothing about another run of the same recipe"


def contrast_name(row: Drift, index: Index, name: str, *, formula: bool = False) -> str:
    """Return what a contrast measures, where it has a title, and what sets the row apart; `formula` repeats that of
    the contrast, where no plot beside shows it."""
    title = index.findings.contrast_names.get(row.arm, "")
    if not title:
        return name
    return f"{title} ({name})" if formula or name != row.arm else title


def contrast_sentence(row: Drift, index: Index, name: str) -> str:
    """Return e.g. `PII in the data: −3.1 points [−9.0, 2.7]: no difference is shown.`"""
    text = f"{name}: {PAGE.change(row, index.scale(row.metric))}"
    if row.delta is None or row.low is None or row.high is None:
        return f"{text}. {_stop(row.warning)}".strip()
    way = direction.of_interval(row.low, row.high, row.worse)
    if not way:
        return f"{text}: no difference is shown."
    if row.p_adjusted is not None and row.p_adjusted > 1 - row.confidence:
        return f"{text}: {way}, but not after correction for looking at several (p = {p_value(row.p_adjusted)})."
    return f"{text}: {way}."


def leak_sentences(findings: Findings) -> list[str]:
    """Return one sentence per arm and subset in which memorisation was measured and is not zero within its interval."""
    rows = [row for row in leak_rows(findings) if row.arm != BASE_ARM]
    names = Names(map(Unit.of, rows))
    sentences = []
    for row in rows:
        gain, against = (row.memorised, "twins and base") if row.memorised else (row.minus_base, "the base")
        if gain is not None and (gain.low > 0 or gain.high < 0):
            sentences.append(
                f"Memorisation, {row.benchmark} {row.subset}, {names(Unit.of(row))}: "
                f"{leak_share(gain, signed=True)} points beyond {against} ({leak_sample(row.n_seeds, row.registry)})"
            )
    return sentences


def leak_rows(findings: Findings) -> list[LeakRow]:
    """Return, of each arm, base and subset, the rows at its lowest temperature and its last epoch."""
    return main_setting(findings.leaks, _leak_group)


def _leak_group(row: LeakRow) -> tuple[object, ...]:
    return (row.base_model, row.arm, row.recipe, row.benchmark, row.subset, row.train_seed, row.corpus)


def leak_share(measure: Measure | None, *, signed: bool = False) -> str:
    """Return e.g. `63.8 [51.0, 74.9]`, per cent or points; `not measured` for None."""
    if measure is None:
        return NOT_MEASURED
    return PAGE.estimate(measure.value, measure.low, measure.high, SHARES, signed=signed, most=1)


def leak_sample(n_seeds: int, measure: Measure | None) -> str:
    """Return how much data stands behind a measure of leaks."""
    if measure is None:
        return "0 prompts"
    seeds = f"{n_seeds} seeds × " if n_seeds > 1 else ""
    return f"{seeds}{count(measure.n, 'prompt')}, {count(measure.n_clusters, 'cluster')}"
