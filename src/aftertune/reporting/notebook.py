"""A run's numbers as a fragment of HTML for a notebook: escaped, no script, nothing loaded."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from aftertune.deciding import discrimination
from aftertune.findings import Discrimination
from aftertune.headline import headline, subject
from aftertune.naming import Names, Unit, row_names
from aftertune.numbers import NOT_MEASURED, PAGE, count, row_decimals, scale_of
from aftertune.outcome import SEVERITY, words
from aftertune.records import Decision, Drift, Outcome
from aftertune.reporting import charts
from aftertune.reporting.cleaning import clean

COLOURS: Mapping[str, str] = {
    "error": "#8250df",
    "drift": "#cf222e",
    "unconfirmed": "#bc4c00",
    "undecided": "#9a6700",
    "pass": "#1a7f37",
}
NEUTRAL = "#57606a"
"""Of a row without a decision."""
PLOT = 220
"""Pixels of a bar's width."""
MOST = 40
"""Rows that are shown."""


def fragment(
    title: str,
    facts: Sequence[str],
    drifts: Sequence[Drift],
    decisions: Sequence[Decision],
    told_apart: Sequence[Discrimination] = (),
) -> str:
    """Return a heading, a list of facts, the headline as a table with an interval plot in each row, and a table of how
    far refusals tell harmful requests from harmless ones.

    Rates are in per cent and drifts in points, means of values as they are. Every text is cleaned and escaped.
    """
    lines = "".join(f"<li>{escaped(fact)}</li>" for fact in facts)
    return f"<div><b>{escaped(title)}</b><ul>{lines}</ul>{_table(drifts, decisions)}{_discrimination(told_apart)}</div>"


def escaped(text: str) -> str:
    """Return a text of a model, a data set or a user as HTML that shows it."""
    return html.escape(clean(text[:2000]))


def _table(drifts: Sequence[Drift], decisions: Sequence[Decision]) -> str:
    rows = headline(drifts, decisions)
    if not rows:
        return ""
    shown, name = rows[:MOST], row_names(rows)
    outcomes = {subject(decision): decision.outcome for decision in decisions}
    scales = {row.metric: scale_of(*(other for other in drifts if other.metric == row.metric)) for row in rows}
    ends = {
        metric: [scale(end) for row in rows if row.metric == metric for end in (row.low, row.delta, row.high)]
        for metric, scale in scales.items()
    }
    axes = {metric: charts.axis([0.0, *values]) for metric, values in ends.items()}
    cells = []
    for row in shown:
        scale, digits = scales[row.metric], row_decimals(row, scales[row.metric])
        outcome = outcomes.get(subject(row), "")
        base, tuned = (PAGE.number(scale(value), digits) for value in (row.base, row.tuned))
        change, interval = PAGE.missing, NOT_MEASURED
        if row.delta is not None:
            change = PAGE.number(scale(row.delta), digits, signed=True)
            interval = PAGE.interval(scale(row.low), scale(row.high), digits)
        bar = charts.bar(axes[row.metric], scale(row.low), scale(row.delta), scale(row.high))
        plot = _plot(axes[row.metric], bar, COLOURS.get(outcome, NEUTRAL))
        texts = [row.metric, name(row), base, tuned, change, interval, f"{row.n_prompts:,}"]
        data = "".join(f"<td>{escaped(text)}</td>" for text in texts)
        cells.append(f"<tr>{data}<td>{plot}</td><td>{_chip(outcome)}</td><td>{row.worse}</td></tr>")
    heads = ("metric", "arm", "base", "tuned", "drift", "interval", "prompts", "", "decision", "worse")
    head = "".join(f"<th>{each}</th>" for each in heads)
    more = f"<p>{len(rows) - len(shown):,} more rows</p>" if len(rows) > len(shown) else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(cells)}</tbody></table>{more}"


def _discrimination(rows: Sequence[Discrimination]) -> str:
    shown = discrimination.leading(rows)
    if not shown:
        return ""
    names = Names(map(Unit.of, shown))
    cells = ""
    for row in shown[:MOST]:
        texts = [row.suite, names(Unit.of(row)), discrimination.rate(row.refused, PAGE)]
        texts += [discrimination.rate(row.refused_harmless, PAGE), discrimination.value(row, PAGE)]
        texts += [discrimination.change(row, PAGE), discrimination.sample(row)]
        cells += f"<tr>{''.join(f'<td>{escaped(text)}</td>' for text in texts)}</tr>"
    heads = ("suite", "arm", "harmful refused", "harmless refused", "d-prime", "change", "prompts")
    head = "".join(f"<th>{each}</th>" for each in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{cells}</tbody></table>"


def _plot(axis: charts.Axis, bar: charts.Bar | None, colour: str) -> str:
    zero = axis.at(0.0)
    marks = f'<line x1="{zero}%" x2="{zero}%" y1="0" y2="100%" stroke="{NEUTRAL}" stroke-dasharray="2"/>'
    if bar is not None:
        marks += (
            f'<line x1="{bar.low}%" x2="{bar.high}%" y1="50%" y2="50%" stroke="{colour}" stroke-width="2"/>'
            f'<circle cx="{bar.mid}%" cy="50%" r="4" fill="{colour}"/>'
        )
    return f'<svg width="{PLOT}" height="16" aria-hidden="true">{marks}</svg>'


def _chip(outcome: str) -> str:
    called = {each: words(each) for each in SEVERITY}
    return f'<span style="color:{COLOURS[outcome]}">{called[outcome]}</span>' if outcome in called else ""


def tally(decisions: Sequence[Decision]) -> str:
    """Return the number of required decisions by outcome, the worst first: `9 checks: 4 drift, 5 pass`.

    Optional ones follow where they decide too: `; optional: 1 drift`.
    """
    required = [decision.outcome for decision in decisions if decision.required]
    optional: list[Outcome] = [d.outcome for d in decisions if not d.required and d.outcome in ("error", "drift")]
    counts, more = (
        ", ".join(f"{own.count(each):,} {each}" for each in SEVERITY if each in own) for own in (required, optional)
    )
    whole = f"{count(len(required), 'check')}: {counts}" if counts else "nothing required"
    return f"{whole}; optional: {more}" if more else whole if counts else "nothing gated"
