"""Many finished runs beside each other (`aftertune compare RUN...`): nothing is asked, and nothing in a run changes."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from aftertune import files
from aftertune.commands.run_view import Run, open_run
from aftertune.deciding import gate
from aftertune.deciding import waivers as waiving
from aftertune.deciding.waivers import Waiver
from aftertune.errors import UsageError
from aftertune.headline import subject
from aftertune.numbers import count
from aftertune.outcome import SEVERITY
from aftertune.public import PathLike, public
from aftertune.records import Decision, Drift, Outcome
from aftertune.reporting.comparison import ComparedArm, ComparedCheck, Comparison, page
from aftertune.run.tables import records


@public("compare")
def compare(
    runs: Sequence[PathLike | Run],
    baseline: PathLike | Run | None = None,
    *,
    waivers: PathLike | None = None,
    out: PathLike | None = None,
) -> Comparison:
    """Return the arms of many finished runs, the worst first (`aftertune compare RUN...`).

    Args:
        runs: Run folders, e.g. of a hundred adapters of one base, or of one adapter over months.
        baseline: A run to compare with: where an arm's check came to something else than there, that is said. Its arm
            of the same name counts, or its only one.
        waivers: A TOML file of losses that somebody accepts (`deciding/waivers.py` shows one). They change no decision
            and are shown wherever they hold; the outcome is that of the other checks.
        out: Write one HTML page there.

    Raises UsageError for a run that has no decisions, a run given twice and a broken file of waivers, StoreError for
    a damaged run.

    Example:
        >>> comparison = aftertune.compare(["audit"])
        >>> comparison.outcome
        'drift'
        >>> [arm.unit for arm in comparison.arms]
        ['known-bad']
    """
    opened = [_open(run) for run in runs]
    page_file = None if out is None else _page_file(Path(out))
    if not opened:
        raise UsageError("compare: give at least one run folder")
    twice = [root for root, n in Counter(run.root.resolve() for run in opened).items() if n > 1]
    if twice:
        raise UsageError(f"compare: {twice[0]} is given twice")
    first = None if baseline is None else _open(baseline)
    accepted = [] if waivers is None else waiving.read(Path(waivers))
    before = {} if first is None else _outcomes(first)
    names = _names([run.root for run in ([first] if first else []) + opened])
    used: list[Waiver] = []
    arms = [arm for run in opened for arm in _arms(run, names[run.root], before, accepted, used)]
    if first is not None and first.root.resolve() not in {run.root.resolve() for run in opened}:
        arms += _arms(first, names[first.root], {}, [], [], is_baseline=True)
    arms.sort(key=lambda arm: arm.order)
    counted = [arm for arm in arms if not arm.is_baseline]
    open_runs = [run for run in opened if not _decides(run)]
    outcomes = [*(arm.unwaived for arm in counted), *(_undecided(run) for run in open_runs)]
    families = [(run, family) for run in opened for family in _families(run)]
    comparison = Comparison(
        arms=tuple(arms),
        outcome=min(outcomes, key=SEVERITY.index, default="undecided"),
        false_alarms=sum((1 - run.design.confidence) / 2 for run, _ in families),
        tested=len({(run.root, *family[:-1]) for run, family in families}),
        notes=tuple(_notes(opened, first, waiving.unused(accepted, used), [names[run.root] for run in open_runs])),
    )
    if page_file is not None:
        files.write(page_file, page(comparison, count(len(opened), "run")).encode())
    return comparison


_MARK = b'<p class="kind"><span class="brand">aftertune</span> comparison</p>'
"""In every page of this command."""


def _page_file(out: Path) -> Path:
    """Return where the page goes. Raises UsageError where it cannot be, and for a page of another kind."""
    path = files.output(out, endings=(".html", ".htm"))
    if path.is_file() and path.stat().st_size and _MARK not in path.read_bytes():
        raise UsageError(f"{out}: is there already and is no page of `aftertune compare`; give another path")
    return path


def _open(run: PathLike | Run) -> Run:
    return run if isinstance(run, Run) else open_run(run)


def _names(roots: Sequence[Path]) -> dict[Path, str]:
    """Return what each run is called: its folder's name, with the folders above it where two have one name."""
    resolved = {root: root.resolve() for root in roots}
    names: dict[Path, str] = {}
    for root, whole in resolved.items():
        depth = 1
        while depth < len(whole.parts) and any(
            other != whole and other.parts[-depth:] == whole.parts[-depth:] for other in resolved.values()
        ):
            depth += 1
        names[root] = "/".join(whole.parts[-depth:])
    return names


def _decided(run: Run) -> list[tuple[Decision, Drift | None]]:
    rows = {subject(row): row for row in records(Drift, run.drifts)}
    return [(decision, rows.get(subject(decision))) for decision in records(Decision, run.decisions)]


def _decides(run: Run) -> bool:
    """Return whether any check of a run is required: without one it passes nothing (`gate.overall`)."""
    return any(decision.required for decision, _ in _decided(run))


def _undecided(run: Run) -> Outcome:
    """Return what a run without a required check came to."""
    return min(("undecided", run.outcome or "undecided"), key=SEVERITY.index)


def _families(run: Run) -> set[tuple[object, ...]]:
    """Return what was tested for a drift at an error of its own (`Check.family`): an arm's or checkpoint's metrics, the
    optional ones apart, which is told last."""
    return {
        (d.estimand, d.base_model, d.arm, d.recipe, d.checkpoint, d.epoch, d.required)
        for d, row in _decided(run)
        if d.bound is not None and row is not None
    }


def _outcomes(run: Run) -> dict[tuple[str, str], Decision]:
    """Return the worst decision by (unit, metric), under an empty unit too where the run has a single arm."""
    decisions = [decision for decision, _ in _decided(run)]
    alone = len({decision.unit for decision in decisions}) == 1
    found: dict[tuple[str, str], Decision] = {}
    for decision in decisions:
        for unit in [decision.unit, *([""] if alone else [])]:
            old = found.get((unit, decision.metric))
            if old is None or SEVERITY.index(decision.outcome) < SEVERITY.index(old.outcome):
                found[unit, decision.metric] = decision
    return found


def _arms(
    run: Run,
    name: str,
    before: dict[tuple[str, str], Decision],
    accepted: Sequence[Waiver],
    used: list[Waiver],
    *,
    is_baseline: bool = False,
) -> list[ComparedArm]:
    today = datetime.datetime.now(datetime.UTC).date()
    by_unit: dict[str, list[ComparedCheck]] = {}
    decided = _decided(run)
    deciding = {gate.arm_decided(decision) for decision, _ in decided if decision.required}
    for decision, row in decided:
        old = before.get((decision.unit, decision.metric)) or before.get(("", decision.metric))
        waived, refused = "", ""
        about = [waiver for waiver in accepted if waiver.about(name, decision)]
        used += about
        for waiver in about if decision.outcome != "pass" else []:
            refused = waiver.refusal(decision, row, today)
            if not refused:
                waived = f"{waiver.by} until {waiver.until.isoformat()}: {waiver.why}"
                break
        check = ComparedCheck(decision, row, old.outcome if old else None, waived, "" if waived else refused)
        by_unit.setdefault(decision.unit, []).append(check)
    return [
        ComparedArm(
            run=name,
            unit=unit,
            started=run.started,
            checks=tuple(sorted(checks, key=lambda each: (SEVERITY.index(each.decision.outcome), -each.loss))),
            is_baseline=is_baseline,
            decides=any(gate.arm_decided(check.decision) in deciding for check in checks),
        )
        for unit, checks in by_unit.items()
    ]


def _notes(runs: Sequence[Run], baseline: Run | None, unused: Sequence[Waiver], without: Sequence[str]) -> list[str]:
    every = [*runs, *([baseline] if baseline else [])]
    notes = []
    bases = Counter(each for run in every for each in run.bases)
    if len(bases) > 1:
        notes.append(f"The runs are of {len(bases):,} bases: changes from different bases are not the same change.")
    policies = Counter(run.policy for run in every)
    if len(policies) > 1:
        named = ", ".join(f"{name} ({count(n, 'run')})" for name, n in policies.most_common(5))
        notes.append(f"The runs were decided by different policies: {named}.")
    if without:
        said = ", ".join(without[:5]) + (f" and {len(without) - 5:,} more" if len(without) > 5 else "")
        notes.append(f"No required check was made, so nothing passes: {said}.")
    notes += [f"A waiver is about no check here: {waiver.sentence}" for waiver in unused]
    return notes
