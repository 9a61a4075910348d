"""Many runs in one table: the arms of each, sorted by what is worst, as lines for a terminal and as a page."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aftertune import direction
from aftertune.numbers import PAGE, TEXT, Form, count, row_decimals, scale_of
from aftertune.outcome import SEVERITY, WORDS, words
from aftertune.records import Decision, Drift, Outcome
from aftertune.reporting.html import environment, style_and_script

MOST_ROWS = 12
"""Arms with a line in the terminal."""
MOST_ON_PAGE = 1_000
MOST_CHECKS = 3
"""Checks that a row names."""


@dataclass(frozen=True, slots=True)
class ComparedCheck:
    """One check of one arm, with what is to be said of it beside its decision."""

    decision: Decision
    row: Drift | None
    """None where nothing was measured."""
    before: Outcome | None = None
    """What the baseline's check of the same metric came to; None where there is none."""
    waived: str = ""
    """Who accepts it until when and why; empty where nobody does."""
    refused: str = ""
    """Why a waiver about it does not hold."""

    @property
    def loss(self) -> float:
        """The loss in margins of the check."""
        if self.row is None:
            return 0.0
        return direction.loss(self.row.delta, self.row.worse) / (abs(self.decision.margin) or 0.01)

    @property
    def changed(self) -> bool:
        """Whether the baseline came to something else."""
        return self.before is not None and self.before != self.decision.outcome


@dataclass(frozen=True, slots=True)
class ComparedArm:
    """One arm or checkpoint of one run."""

    run: str
    unit: str
    started: str
    checks: tuple[ComparedCheck, ...]
    """The worst first."""
    is_baseline: bool = False
    decides: bool = True
    """Whether it has a required check, at whatever epoch or temperature: without one it passes nothing."""

    @property
    def outcome(self) -> Outcome:
        """The worst state of its required checks, of the optional ones a drift or error, waived or not."""
        return self._worst(self.checks)

    @property
    def unwaived(self) -> Outcome:
        """The same of the checks that nobody waives."""
        return self._worst([check for check in self.checks if not check.waived])

    @property
    def order(self) -> tuple[object, ...]:
        """Sorts the worst first."""
        ranks = Counter(check.decision.outcome for check in self.checks)
        worst = max((check.loss for check in self.checks), default=0.0)
        return (self.is_baseline, *(-ranks[state] for state in SEVERITY[:-1]), -worst)

    def _worst(self, checks: Sequence[ComparedCheck]) -> Outcome:
        counted = [
            c.decision.outcome for c in checks if c.decision.required or c.decision.outcome in ("error", "drift")
        ]
        return min(counted, key=SEVERITY.index, default="pass" if self.decides else "undecided")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Many runs beside each other."""

    arms: tuple[ComparedArm, ...]
    """The worst first; a baseline's last."""
    outcome: Outcome
    """The worst of all arms but the baseline's, over the checks that nobody waives."""
    false_alarms: float
    """Arms that would be called a drift by chance if none had drifted, at most: the sum over arms and checkpoints of
    half of 1 - confidence, as often again where there are optional checks, which have that error for themselves."""
    tested: int
    """Arms and checkpoints that were tested for a drift."""
    notes: tuple[str, ...]
    """What a reader must know: other bases or policies, waivers that do not hold or are about nothing."""

    @property
    def by_chance(self) -> str:
        """The number of false alarms to expect, in a sentence."""
        tested = f"{count(self.tested, 'arm')} tested, each by itself"
        return f"{tested}: if none had drifted, at most {self.false_alarms:.1f} would be called a drift by chance."


def lines(comparison: Comparison, width: int | None = None, *, whole: bool = False) -> list[str]:
    """Return the comparison for a terminal: a line or two for each arm that does not pass, the worst first."""
    failing = [arm for arm in comparison.arms if arm.outcome != "pass" or any(c.changed for c in arm.checks)]
    shown = list(comparison.arms) if whole else failing[:MOST_ROWS]
    text = []
    for arm in shown:
        text.append(f"{arm.run}, {arm.unit}: {_state(arm)}{f' ({arm.started})' if arm.started else ''}")
        named = [check for check in arm.checks if check.decision.outcome != "pass" or check.changed]
        text += [f"  {_told(check, TEXT)}" for check in named[: None if whole else MOST_CHECKS]]
        if not whole and len(named) > MOST_CHECKS:
            text.append(f"  {count(len(named) - MOST_CHECKS, 'more check')}")
    left = Counter(arm.outcome for arm in comparison.arms) if not whole else Counter()
    for arm in shown:
        left[arm.outcome] -= 1
    rest = [f"{left[state]:,} {words(state)}" for state in SEVERITY if left[state] > 0]
    text += [f"not shown: {', '.join(rest)} (--all shows them)"] if rest else []
    text += ["", comparison.by_chance, *comparison.notes, "", f"comparison: {comparison.outcome.upper()}"]
    if width:
        text = [part for line in text for part in (textwrap.wrap(line, width, subsequent_indent="    ") or [""])]
    return text


def _state(arm: ComparedArm) -> str:
    waived = sum(bool(check.waived) for check in arm.checks)
    state = words(arm.outcome) + (", the baseline" if arm.is_baseline else "")
    return f"{state}; {count(waived, 'check')} waived" if waived else state


def _told(check: ComparedCheck, form: Form) -> str:
    decision = check.decision
    number = _number(check, form)
    worse = f", {direction.words(decision.worse)}" if decision.worse else ""
    text = f"{decision.metric}: {words(decision.outcome)}, {number}{worse}; {decision.reason or decision.why}"
    if check.changed and check.before:
        text += f"; the baseline: {words(check.before)}"
    text += f"; WAIVED by {check.waived}" if check.waived else ""
    return text + (f"; a waiver does not hold: {check.refused}" if check.refused else "")


def _number(check: ComparedCheck, form: Form) -> str:
    if check.row is None or check.row.delta is None:
        return "not measured"
    return form.change(check.row, scale_of(check.row))


def machine(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison for JSON: `outcome`, `false_alarms`, `tested`, `notes`, and `arms`, the worst first, each
    with `run`, `unit`, `started`, `outcome`, `unwaived` and its checks."""
    return {
        "outcome": comparison.outcome,
        "false_alarms": comparison.false_alarms,
        "tested": comparison.tested,
        "notes": comparison.notes,
        "arms": [
            {
                "run": arm.run,
                "unit": arm.unit,
                "started": arm.started,
                "baseline": arm.is_baseline,
                "outcome": arm.outcome,
                "unwaived": arm.unwaived,
                "checks": [
                    {
                        "metric": check.decision.metric,
                        "outcome": check.decision.outcome,
                        "required": check.decision.required,
                        "margin": check.decision.margin,
                        "delta": check.row.delta if check.row else None,
                        "low": check.row.low if check.row else None,
                        "high": check.row.high if check.row else None,
                        "worse": check.decision.worse,
                        "reason": check.decision.reason,
                        "baseline": check.before,
                        "waived": check.waived,
                        "waiver_refused": check.refused,
                    }
                    for check in arm.checks
                ],
            }
            for arm in comparison.arms
        ],
    }


# ---------------------------------------------------------------------------------------------- the page


def page(comparison: Comparison, title: str) -> str:
    """Return one self-contained HTML document, escaped, with the report's style, script and security policy."""
    env = environment()
    arms = comparison.arms[:MOST_ON_PAGE]
    weights: dict[str, list[int]] = {}
    for arm in comparison.arms:
        for check in arm.checks:
            ranks = weights.setdefault(check.decision.metric, [0] * len(SEVERITY))
            ranks[SEVERITY.index(check.decision.outcome)] -= 1
    metrics = sorted(weights, key=lambda metric: weights[metric][:-1])
    worse = {c.decision.metric: direction.words(c.decision.worse) for a in arms for c in a.checks if c.decision.worse}
    return env.get_template("comparison.html").render(
        title=title,
        outcome=comparison.outcome,
        word=WORDS[comparison.outcome],
        tally=", ".join(
            f"{n:,} {words(state)}" for state in SEVERITY if (n := sum(arm.outcome == state for arm in comparison.arms))
        ),
        by_chance=comparison.by_chance,
        notes=comparison.notes,
        metrics=[(metric, worse.get(metric, "")) for metric in metrics],
        rows=[(arm, _state(arm), _cells(arm, metrics)) for arm in arms],
        waived=[
            (f"{arm.run}, {arm.unit}", check.decision.metric, check.waived or f"does not hold: {check.refused}")
            for arm in arms
            for check in arm.checks
            if check.waived or check.refused
        ],
        left_off=len(comparison.arms) - len(arms),
        **style_and_script(),
    )


def _cells(arm: ComparedArm, metrics: Sequence[str]) -> list[dict[str, str] | None]:
    checks = {check.decision.metric: check for check in reversed(arm.checks)}
    return [None if metric not in checks else _cell(checks[metric]) for metric in metrics]


def _cell(check: ComparedCheck) -> dict[str, str]:
    row, change, interval = check.row, "not measured", ""
    if row is not None and row.delta is not None:
        scale, digits = scale_of(row), row_decimals(row, scale_of(row))
        change = PAGE.number(scale(row.delta), digits, signed=True)
        interval = PAGE.interval(scale(row.low), scale(row.high), digits)
    return {
        "outcome": check.decision.outcome,
        "state": words(check.decision.outcome),
        "change": change,
        "interval": interval,
        "before": f"was {words(check.before)}" if check.changed and check.before else "",
        "waived": "waived" if check.waived else "",
    }
