"""The tables that close a study's report, in the shape of a paper's: what each shows, written by hand in the design.

They are part of the report only. Neither a job's id nor the design's depends on them, so that a run's tables
can be changed without asking a model again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

from aftertune.errors import UsageError, near
from aftertune.studies import expectations

if TYPE_CHECKING:
    from aftertune.asking.benchmark import Benchmark
    from aftertune.asking.resolved import ResolvedBenchmark
    from aftertune.judging.judge import Judge
    from aftertune.judging.resolved import ResolvedJudge

What = Literal[
    "level", "drift", "relative", "spread",
    "harmful_leaking", "off_topic_leaking", "safe_off_topic", "memorised", "beyond_twins",
    "d_prime", "criterion", "auroc", "violation",
    "mixed_sign", "agreement",
    "membership_auc", "membership_tpr", "exposure",
]  # fmt: skip
METRICS = ("level", "drift", "relative", "spread")
"""What is read off one metric, e.g. `miniature/harmful/refusal=full`."""
LEAKS = ("harmful_leaking", "off_topic_leaking", "safe_off_topic", "memorised", "beyond_twins")
"""What is read off a benchmark and its subset, e.g. `miniature/support`."""
MEASURES = ("d_prime", "criterion", "auroc", "violation")
"""What is read off a benchmark and its probe, e.g. `privacylens/vignette` (violation: the benchmark alone); d-prime of
refusals off a benchmark and its subset of harmful requests, e.g. `core/harmful`."""
BY_LOG_PROBABILITY = ", by log-probability"
"""Behind a probe's name, what is read off the more probable letter and not off the one that is written."""
POOLED = ("mixed_sign", "agreement")
"""Computed over many checkpoints at once: a row without arm, recipe or base takes them all."""
SCORED = ("membership_auc", "membership_tpr", "exposure")
"""What is read off scored texts: the attack, `loss` or `ratio`; for exposure with the dose, e.g. `ratio/16`."""
_SCORE_METRIC = {"membership_auc": ("loss", "ratio"), "membership_tpr": ("loss", "ratio")}


@dataclass(frozen=True)
class Column:
    """One column of a table: a number of each row."""

    name: str
    """The head."""
    what: What = "level"
    """`level`: the rate. `drift`: its change from the base in points. `relative`: the change as a share of the base's
    rate. `spread`: lowest to highest rate of a training seed. `harmful_leaking`, `off_topic_leaking`,
    `safe_off_topic`: answers that are both; `memorised`: hits beyond twins and base; `beyond_twins`: hits beyond
    twins. `d_prime`, `criterion`, `auroc`, `violation`: of benchmarks with such measures. `mixed_sign`: share of the
    checkpoints that are better on one metric and worse on another, with its expectation where nothing drifts.
    `agreement`: rank correlation over checkpoints of the drifts of `metric` and `against`. `membership_auc`,
    `membership_tpr`, `exposure`: of scored texts."""
    metric: str = ""
    """Which one; what it names depends on `what` (see `METRICS`, `LEAKS`, `MEASURES`, `SCORED`). For `mixed_sign` a
    shell pattern over metrics, empty for all."""
    against: str = ""
    """For `agreement`: the other metric."""
    judge: str = ""
    """Empty takes the judge that the gate listens to; for `mixed_sign`, `*` counts every judge's metric."""
    against_judge: str = ""
    """For `agreement`: of the other metric."""
    temperature: float | None = None
    """None takes the row's, else the lowest."""
    unit: str = ""
    """Of the published numbers, e.g. `%`."""


@dataclass(frozen=True)
class Row:
    """One row of a table: an arm (with recipe and base where there are several), or a contrast."""

    label: str
    arm: str = ""
    """A data variant, a checkpoint's arm, or `base`."""
    contrast: str = ""
    """Instead of an arm: the name of a contrast; its columns must be drifts."""
    recipe: str = ""
    base: str = ""
    temperature: float | None = None
    epoch: int | None = None
    """None takes the last that was asked."""
    published: Mapping[str, Any] = field(default_factory=dict)
    """Column name -> the paper's number (or a few words), of other models on other data."""
    expected: Mapping[str, str] = field(default_factory=dict)
    """Column name -> what the paper found, as a rule on our interval (`studies.expectations`): the report says whether
    it shows."""


@dataclass(frozen=True)
class StudyTable:
    """A table with what it can be taken for, written before its numbers are known."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    source: str = ""
    """Where the published numbers stand: paper, table or section."""
    supports: str = ""
    """What this design can support, whatever the numbers turn out to be; states no result."""
    cannot: str = ""
    """What it cannot."""


def check(
    tables: Sequence[StudyTable],
    *,
    pairs: Iterable[tuple[str, str]],
    bases: Iterable[str],
    contrasts: Iterable[str],
) -> None:
    """Raise UsageError, with the near miss, for a table that names what its design does not have.

    `pairs` are the (arm, recipe) that the design tunes or lists.
    """
    combined = sorted(pairs)
    known = {
        "arm": ["base", *dict.fromkeys(arm for arm, _ in combined)],
        "recipe": list(dict.fromkeys(recipe for _, recipe in combined)),
        "base": list(bases),
        "contrast": list(contrasts),
    }
    for table in tables:
        where = f"table '{table.title}'"
        if not table.columns or not table.rows:
            raise UsageError(f"{where}: give at least one column and one row")
        heads = [column.name for column in table.columns]
        for name in heads:
            if heads.count(name) > 1:
                raise UsageError(f"{where}: two columns are called '{name}'")
        for column in table.columns:
            _check_column(f"{where}, column '{column.name}'", column)
        for row in table.rows:
            at = f"{where}, row '{row.label}'"
            for key, names in known.items():
                value = getattr(row, key)
                if value and value not in names:
                    raise UsageError(f"{at}: no {key} '{value}'{near(value, names)}")
            if row.arm not in ("", "base") and row.recipe and (row.arm, row.recipe) not in combined:
                raise UsageError(f"{at}: arm '{row.arm}' is not tuned with recipe '{row.recipe}'")
            own = [recipe for arm, recipe in combined if arm == row.arm]
            _check_row(at, row, table, heads, known, own)


def _check_column(at: str, column: Column) -> None:
    if column.what == "agreement" and not column.against:
        raise UsageError(f"{at}: agreement is between two metrics: name the other as `against`")
    if column.what != "agreement" and (column.against or column.against_judge):
        raise UsageError(f"{at}: `against` belongs to what = 'agreement'")
    if not column.metric and column.what != "mixed_sign":
        raise UsageError(f"{at}: name its `metric`")
    attacks = _SCORE_METRIC.get(column.what)
    if attacks and column.metric not in attacks:
        raise UsageError(f"{at}: metric '{column.metric}'{near(column.metric, list(attacks))}")
    if column.what == "exposure":
        attack, _, dose = column.metric.partition("/")
        if attack not in ("loss", "ratio") or not dose.isdigit():
            raise UsageError(f"{at}: metric '{column.metric}': give attack and dose, e.g. 'ratio/16'")


def _check_row(
    at: str, row: Row, table: StudyTable, heads: list[str], known: Mapping[str, list[str]], recipes: list[str]
) -> None:
    for name, value in row.published.items():
        if name not in heads:
            raise UsageError(f"{at}: published: no column '{name}'{near(name, heads)}")
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise UsageError(f"{at}: published.{name} must be a number or text")
    kinds = {column.name: column.what for column in table.columns}
    for name, text in row.expected.items():
        if name not in heads:
            raise UsageError(f"{at}: expected: no column '{name}'{near(name, heads)}")
        where = f"{at}: expected.{name}"
        expectations.refuse(expectations.read(text, where), kinds[name], row.arm, where)
    if row.contrast and row.arm:
        raise UsageError(f"{at}: give an arm or a contrast, not both")
    for column in table.columns:
        if row.contrast and column.what not in ("drift", *POOLED):
            raise UsageError(
                f"{at}: a contrast has drifts only, and column '{column.name}' shows what = '{column.what}'"
            )
        if column.what in POOLED:
            if row.arm == "base" or row.contrast:
                raise UsageError(f"{at}: column '{column.name}' is about tuned checkpoints: leave the arm out for all")
            continue
        if not row.arm and not row.contrast:
            raise UsageError(f"{at}: column '{column.name}' needs to know the arm (or contrast)")
        if not row.base and len(known["base"]) > 1:
            raise UsageError(f"{at}: the design has {len(known['base'])} bases: name one ({', '.join(known['base'])})")
        if not row.recipe and len(recipes) > 1:
            raise UsageError(f"{at}: arm '{row.arm}' has {len(recipes)} recipes: name one ({', '.join(recipes)})")


def _probe_measures(benchmark: ResolvedBenchmark | Benchmark, probe: str) -> list[str]:
    """Return what measures of a probe are called: by the letter that is written, and by its log-probability."""
    ways = {"accuracy": "", "choice": BY_LOG_PROBABILITY}
    axes = {metric.axis for metric in benchmark.metrics}
    return [f"{benchmark.name}/{probe}{way}" for axis, way in ways.items() if axis in axes]


def refuse_unknown(
    tables: Sequence[StudyTable],
    benchmarks: Sequence[ResolvedBenchmark | Benchmark],
    judges: Sequence[ResolvedJudge | Judge],
    unscored: str,
) -> None:
    """Raise UsageError, with the near miss, for a table that shows what no benchmark or judge of its study gives.

    `unscored`: why no text is scored; empty where some are.
    """
    from aftertune.deciding.discrimination import pairs  # NumPy and SciPy, which reading a design needs not

    axes = {axis for judge in judges for axis in judge.axes}
    metrics = {metric.name: metric for each in benchmarks for metric in each.metrics if metric.axis in axes}
    subsets = list(dict.fromkeys(f"{metric.benchmark}/{metric.subset}" for metric in metrics.values()))
    measures = [name for each in benchmarks for probe in each.probes for name in _probe_measures(each, probe.name)]
    measures += [each.name for each in benchmarks for kind in each.accumulations if kind.measure == "violation"]
    discriminated = [f"{pair.suite}/{pair.harmful.subset}" for pair in pairs(list(metrics.values()))]
    offered = {judge.name: judge.axes for judge in judges}
    for table in tables:
        for column in table.columns:
            at = f"table '{table.title}', column '{column.name}'"
            known = {METRICS: list(metrics), LEAKS: subsets, MEASURES: measures}
            for kinds, names in known.items():
                if column.what == "d_prime" and kinds is MEASURES:
                    names = [*names, *discriminated]
                if column.what in kinds and column.metric not in names:
                    raise UsageError(f"{at}: no metric '{column.metric}'{near(column.metric, names)}")
            for key, name in (("metric", column.metric), ("against", column.against)):
                if column.what == "agreement" and name not in metrics:
                    raise UsageError(f"{at}: {key}: no metric '{name}'{near(name, list(metrics))}")
            if column.what == "mixed_sign" and not any(fnmatchcase(m, column.metric or "*") for m in metrics):
                raise UsageError(f"{at}: no metric is like '{column.metric}' (known: {', '.join(metrics)})")
            if column.what in SCORED and unscored:
                raise UsageError(f"{at}: no text is scored: {unscored}")
            for judge, metric in ((column.judge, column.metric), (column.against_judge, column.against)):
                if judge in ("", "*"):
                    continue
                if judge not in offered:
                    raise UsageError(f"{at}: no judge '{judge}'{near(judge, list(offered))}")
                if metric in metrics and metrics[metric].axis not in offered[judge]:
                    raise UsageError(f"{at}: judge '{judge}' has no axis {metrics[metric].axis}")
