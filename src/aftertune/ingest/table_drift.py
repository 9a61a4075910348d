"""Drift and decisions from a table of verdicts of another tool (`aftertune drift --verdicts`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from aftertune.deciding import gate
from aftertune.deciding import policy as policies
from aftertune.deciding.contradictions import contradictions, mixed_signs
from aftertune.deciding.discrimination import discrimination, sentences, with_discrimination
from aftertune.deciding.drift import drift
from aftertune.deciding.judge_differences import decided_on, judge_differences, summary, with_disagreements
from aftertune.deciding.policy import Policy
from aftertune.deciding.variance_sources import spreads
from aftertune.deciding.verdict_table import VerdictTable
from aftertune.deciding.warnings import recipe_refusal
from aftertune.direction import loss, opposite, sentence
from aftertune.errors import DataError, DesignError, UsageError
from aftertune.findings import Discrimination, JudgeDifference, Mixed, Spread
from aftertune.ingest import verdicts as verdict_tables
from aftertune.ingest.directions import refusal_pairs
from aftertune.ingest.source_table import Sources, names_of
from aftertune.public import PathLike, public
from aftertune.records import Decision, Drift, Metric, Outcome, Worse
from aftertune.reporting import notebook
from aftertune.run.tables import table
from aftertune.stats.judge_error import tolerance
from aftertune.stats.seeds import all_worse_chance

if TYPE_CHECKING:
    import pyarrow as pa

SEED = 0
"""Seed of the random label swaps, fixed so that the same table gives the same numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The estimate and decision for one metric, unit and estimand, as `--json` shows it."""

    metric: str
    unit: str
    """The checkpoint or recipe, as people call it."""
    estimand: str
    decision: Outcome
    decides: bool
    """Whether the outcome follows from this answer."""
    required: bool = False
    why: str = ""
    remedy: str = ""
    """What would settle an undecided one."""
    margin: float | None = None
    judge: str = ""
    worse: Worse | None = None
    """The direction that is worse; None if nothing was measured."""
    base: float | None = None
    tuned: float | None = None
    delta: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    q: float | None = None
    worst: float | None = None
    worst_low: float | None = None
    worst_high: float | None = None
    spread_low: float | None = None
    spread_high: float | None = None
    n_prompts: int = 0
    n_clusters: int = 0
    n_seeds: int = 0
    n_samples: int = 0
    unjudged: int = 0
    unjudged_base: int = 0
    unjudged_tuned: int = 0
    all_worse: bool | None = None
    """Whether every training seed is worse than the base; None for a checkpoint."""
    all_worse_chance: float | None = None
    """How often that happens if nothing drifts."""
    judge_tolerance: float | None = None
    """Share of one arm's answers that the judge must misjudge for the drift to lose its sign."""
    checkpoint: str | None = None
    seed: int | None = None
    """Training seed."""
    method: str = "none"
    warning: str = ""


@dataclass(frozen=True)
class TableDrift:
    """Drift and decisions from a table of verdicts."""

    outcome: Outcome
    decisions: tuple[Decision, ...]
    """The decisions that the outcome follows from: for an arm with several training seeds that on the recipe, unless
    the policy says otherwise."""
    drifts: tuple[Drift, ...]
    """Every estimate."""
    answers: tuple[Answer, ...]
    components: tuple[Spread, ...]
    """The variance components of each recipe's drift."""
    mixed: tuple[Mixed, ...]
    """The mixed-sign rate of the checkpoints, and the rate expected from noise."""
    contradictions: tuple[str, ...]
    """Units with significant movements in opposite directions, one sentence each."""
    warnings: tuple[str, ...]
    judge_differences: tuple[JudgeDifference, ...] = ()
    """Of each check that several judges read: the other judges beside the one that is decided by."""
    discrimination: tuple[Discrimination, ...] = ()
    """How far refusals tell harmful requests from harmless ones, where metrics differ in the kind of requests alone."""

    def to_arrow(self) -> pa.Table:
        """Return the answers as an Arrow table: a row per metric, unit and estimand (`.to_pandas()` for a frame)."""
        return table(Answer, self.answers)

    def __repr__(self) -> str:
        return f"TableDrift({self.outcome}; {notebook.tally(self.decisions)})"

    def _repr_html_(self) -> str:
        facts = [notebook.tally(self.decisions), *self.contradictions, *self.warnings]
        facts += sentences(self.discrimination, clear=True)
        return notebook.fragment(self.outcome, facts, self.drifts, self.decisions, self.discrimination)


@public("drift_of_table")
def drift_of_table(
    verdicts: Sources,
    base: str,
    tuned: str | Sequence[str],
    *,
    policy: PathLike = "default",
    worse: Mapping[str, str] | None = None,
    allow_partial_overlap: bool = False,
    confidence: float = 0.95,
) -> TableDrift:
    """Compare tuned checkpoints with their base by a table of verdicts, and decide.

    Args:
        verdicts: A data frame (pandas, polars), an Arrow table, a CSV, JSONL or Parquet file, or a log of another
            tool (`aftertune ingest --help`); several are read one below the other. Columns of a table: `checkpoint,
            prompt, metric, value` (0/1 or a number, empty where nothing could be judged), and optionally `cluster,
            seed` (of training), `repeat, judge, worse` (`up` or `down`), `message_hash`, `answered_by` (`model`,
            `filter`, `server`). `NAME=PATH` gives the checkpoint of a file another name.
        base: Name of the untuned model in the column `checkpoint`.
        tuned: One or more names of tuned checkpoints. Rows of one name with several training seeds are one recipe; so
            are names that differ only in the number of their own seed (`lora-s1`, `lora-s2`).
        policy: Name of a bundled policy, or a TOML file. If it requires none of the table's metrics, all of them are
            required, since somebody measured them on purpose. A rule's `worse` says the direction of a metric where
            neither the table nor `worse` does.
        worse: Metric, or shell pattern on its name -> `up` (higher is worse) or `down`, e.g. `{"mine/*": "down"}`.
            Needed where neither a column `worse` nor the log nor the policy says it and the name is none of aftertune's
            or of the field (`accuracy`, `toxicity`, `over_refusal`, ...).
        allow_partial_overlap: Pair whatever can be paired, even under 90 % of an arm's prompts.
        confidence: Confidence of each interval.

    Raises UsageError and DataError for bad input, among it a metric of which nobody knows which way is worse and one
    that is given two directions; DataError ("overlap") if too few prompts can be paired.

    Example:
        >>> import pyarrow
        >>> table = pyarrow.table(
        ...     {
        ...         "checkpoint": ["base"] * 200 + ["tuned"] * 200,
        ...         "prompt": [str(number) for number in range(200)] * 2,
        ...         "metric": ["refuses"] * 400,
        ...         "value": [1.0] * 200 + [1.0] * 120 + [0.0] * 80,
        ...         "worse": ["down"] * 400,
        ...     }
        ... )
        >>> found = aftertune.drift_of_table(table, "base", "tuned")
        >>> found
        TableDrift(drift; 1 check: 1 drift)
        >>> found.to_arrow().select(["estimand", "decision", "delta"]).to_pylist()[0]
        {'estimand': 'checkpoint', 'decision': 'drift', 'delta': -0.4}
    """
    rules = policies.load(Path(policy) if not isinstance(policy, str) else policy)
    names = [tuned] if isinstance(tuned, str) else list(tuned)
    read = verdict_tables.read(verdicts, base, names, rules, worse=worse, allow_partial_overlap=allow_partial_overlap)
    gated = {metric.name for metric in read.metrics if rules.gates(metric)}

    def drifts_of(metrics: Sequence[Metric]) -> list[Drift]:
        return drift(
            read.table,
            metrics,
            seed=SEED,
            confidence=confidence,
            allow_partial_overlap=allow_partial_overlap,
            family=gated.__contains__,
        )

    try:
        drifts = drifts_of(read.metrics)
        decisions = gate.gate(drifts, rules, read.metrics)
        turned = [dataclasses.replace(m, worse=opposite(m.worse)) for m in read.metrics if m.name in read.doubtful]
        _refuse_doubtful_passes(names_of(verdicts), decisions, drifts_of(turned) if turned else ())
    except DesignError as error:
        raise DataError(f"{names_of(verdicts)}: {error}") from None
    outcomes = {(*decided_on(one), one.judge): one.outcome for one in decisions}
    differences = judge_differences(
        VerdictTable.of(read.table),
        read.metrics,
        decisions,
        known={},
        outcome_by=lambda one, judge: outcomes.get((*decided_on(one), judge)),
        confidence=confidence,
    )
    decisions = with_disagreements(decisions, differences)
    told_apart = discrimination(VerdictTable.of(read.table), refusal_pairs(read.metrics), confidence=confidence)
    decisions = with_discrimination(decisions, told_apart)
    told = summary(differences, lambda one: f"{one.unit}, {one.metric}")
    if not any(decision.required for decision in decisions):
        decisions = [dataclasses.replace(decision, required=True) for decision in decisions]
    mixed = mixed_signs(read.table, read.metrics, seed=SEED)
    return TableDrift(
        outcome=gate.overall(decisions),
        decisions=tuple(decisions),
        drifts=tuple(drifts),
        answers=tuple(_answers(drifts, decisions, rules)),
        components=tuple(spreads(read.table, read.metrics, confidence=confidence)),
        mixed=tuple(mixed),
        contradictions=tuple(
            f"{one.unit}: better on {', '.join(one.better)}; worse on {', '.join(one.worse)}. {one.why}"
            for one in contradictions(drifts, mixed)
        ),
        judge_differences=tuple(differences),
        discrimination=tuple(told_apart),
        warnings=(*sentences(told_apart, clear=False), *([told] if told else []), *read.warnings, *_warnings(drifts)),
    )


def _refuse_doubtful_passes(where: str, decisions: Sequence[Decision], turned: Sequence[Drift]) -> None:
    """Raise UsageError for a pass that would be none if the other direction were worse, of which `turned` are the rows.

    A model that refuses more passes on harmful prompts and fails on harmless ones; a bare `refusal` may be either.
    """
    rows = {_key(row): row for row in turned}
    for decision in decisions:
        row = rows.get(_key(decision))
        if decision.outcome != "pass" or row is None:
            continue
        ends = (row.high, row.worst_high) if row.worse == "up" else (row.low, row.worst_low)
        if any(end is not None and loss(end, row.worse) > decision.margin for end in ends):
            name = row.metric
            raise UsageError(
                f"{where}: {name}: whether it got worse hangs on the prompts, harmful or harmless, so say which way is "
                f"worse: --worse '{name}=up' or --worse '{name}=down'. {decision.why}"
            )


def _answers(drifts: Sequence[Drift], decisions: Sequence[Decision], rules: Policy) -> list[Answer]:
    """Return an answer for each metric, unit and estimand, those included that the outcome does not follow from."""
    decided = {_key(decision): decision for decision in decisions}
    other = {_key(decision): decision for decision in _decisions_by_estimand(drifts, rules)}
    rows = [row for row in drifts if row.estimand in ("checkpoint", "recipe")]
    answers = []
    for row in rows:
        decision = decided.get(_key(row)) or other.get(_key(row))
        answers.append(_answer(row, decision, _key(row) in decided))
    with_recipe = {(row.metric, row.arm, row.judge) for row in rows if row.estimand == "recipe"}
    for row in rows:
        if (row.metric, row.arm, row.judge) not in with_recipe:
            with_recipe.add((row.metric, row.arm, row.judge))
            answers.append(_refused_recipe(row, decisions))
    listed = {(answer.metric, answer.unit, answer.estimand) for answer in answers}
    # Metrics that the policy names and nobody measured have no drift, nor have seeds and judges that a metric lacks.
    answers += [
        Answer(
            metric=decision.metric,
            unit=decision.unit,
            estimand=decision.estimand,
            decision=decision.outcome,
            decides=True,
            required=decision.required,
            why=decision.why,
            remedy=decision.remedy,
            margin=decision.margin,
            judge=decision.judge,
        )
        for decision in decisions
        if (decision.metric, decision.unit, decision.estimand) not in listed
    ]
    return answers


def _decisions_by_estimand(drifts: Sequence[Drift], rules: Policy) -> list[Decision]:
    """Return the decisions that the policy would make for each estimand, whatever it says about estimands."""
    estimands: tuple[Literal["checkpoint", "recipe"], ...] = ("checkpoint", "recipe")
    any_estimand = tuple(dataclasses.replace(rule, estimand=None) for rule in rules.rules)
    return [
        decision
        for estimand in estimands
        for decision in gate.gate(drifts, dataclasses.replace(rules, estimand=estimand, rules=any_estimand))
    ]


def _answer(row: Drift, decision: Decision | None, decides: bool) -> Answer:
    return Answer(
        metric=row.metric,
        unit=decision.unit if decision else row.arm,
        estimand=row.estimand,
        decision=decision.outcome if decision else "undecided",
        decides=decides,
        required=bool(decision and decision.required),
        why=decision.why if decision else "The policy has no margin for this metric.",
        remedy=decision.remedy if decision else "",
        margin=decision.margin if decision else None,
        judge=row.judge,
        worse=row.worse,
        base=row.base,
        tuned=row.tuned,
        delta=row.delta,
        low=row.low,
        high=row.high,
        confidence=row.confidence,
        p=row.p,
        p_adjusted=row.p_adjusted,
        q=row.q,
        worst=row.worst,
        worst_low=row.worst_low,
        worst_high=row.worst_high,
        spread_low=row.spread_low,
        spread_high=row.spread_high,
        n_prompts=row.n_prompts,
        n_clusters=row.n_clusters,
        n_seeds=row.n_seeds,
        n_samples=row.n_samples,
        unjudged=row.unjudged_base + row.unjudged_tuned,
        unjudged_base=row.unjudged_base,
        unjudged_tuned=row.unjudged_tuned,
        all_worse=_all_worse(row),
        all_worse_chance=None if _all_worse(row) is None else all_worse_chance(row.n_seeds, 1),
        judge_tolerance=_tolerance(row),
        checkpoint=row.checkpoint,
        seed=row.train_seed,
        method=row.method,
        warning=row.warning,
    )


def _all_worse(row: Drift) -> bool | None:
    """Return whether every training seed is worse than the base; None for a checkpoint."""
    if row.estimand != "recipe" or row.base is None or row.spread_low is None or row.spread_high is None:
        return None
    return row.spread_low > row.base if row.worse == "up" else row.spread_high < row.base


def _tolerance(row: Drift) -> float | None:
    if not row.is_proportion or row.delta is None or row.low is None or row.high is None or row.tuned is None:
        return None
    return tolerance(row.delta, row.low, row.high, row.tuned).answers


def _refused_recipe(row: Drift, decisions: Sequence[Decision]) -> Answer:
    """Return the answer on the recipe of a checkpoint whose training seed is the only one, or unknown."""
    reason = recipe_refusal(row.train_seed)
    decides = any(d.metric == row.metric and d.arm == row.arm and d.estimand == "recipe" for d in decisions)
    return Answer(
        metric=row.metric,
        unit=row.arm,
        estimand="recipe",
        decision="undecided",
        decides=decides,
        required=decides,
        why=f"Refused: {reason}. {sentence(row.worse)}",
        remedy="Train with more seeds.",
        margin=next((d.margin for d in decisions if d.metric == row.metric), None),
        judge=row.judge,
        worse=row.worse,
        confidence=row.confidence,
        n_seeds=int(row.train_seed is not None),
        warning=reason,
    )


def _key(row: Drift | Decision) -> tuple[object, ...]:
    return (row.metric, row.estimand, row.arm, row.checkpoint, row.epoch, row.judge)


def _warnings(drifts: Sequence[Drift]) -> list[str]:
    """Return each warning once, with the first row that has it and the number of others."""
    rows_of: dict[str, list[str]] = {}
    for row in drifts:
        if row.estimand in ("checkpoint", "recipe"):
            for text in row.warning.split("; "):
                if text:
                    rows_of.setdefault(text, []).append(f"{row.metric}, {row.checkpoint or row.arm}")
    return [
        f"{names[0]}{f' and {len(names) - 1:,} more' if len(names) > 1 else ''}: {text}"
        for text, names in rows_of.items()
    ]
