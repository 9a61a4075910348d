"""The page's tables of what moved inside the models, and of what was known of the tuning sets beforehand."""

from __future__ import annotations

from aftertune.findings import Findings, ForecastRow, InsideRow
from aftertune.naming import Names, Unit
from aftertune.numbers import NOT_MEASURED, PAGE, SHARES, VALUES, decimals
from aftertune.reporting.tables import NONE_KNOWN, Column, Table, table


def inside_tables(findings: Findings) -> list[Table]:
    """Return one table per analysis, benchmark and quantity; none where nobody looked inside."""
    columns = [Column("Model", "name"), Column("Layer", "num"), Column("Value [interval]", "num")]
    columns += [Column("By chance", "num"), Column("Ceiling", "num"), Column("Pairs", "num"), Column("Clusters", "num")]
    columns += [Column("Warning", "text")]
    names = Names(map(_unit, findings.inside))
    grouped: dict[tuple[str, str, str], list[list[str]]] = {}
    for row in findings.inside:
        cells = [
            names(_unit(row)),
            "" if row.layer is None else f"{row.layer:,}",
            PAGE.estimate(row.value, row.low, row.high, confidence=row.confidence),
            _null(row),
            "" if row.ceiling is None else PAGE.number(row.ceiling, 3),
            f"{row.n_pairs:,}",
            f"{row.n_clusters:,}",
            row.warning or NONE_KNOWN,
        ]
        grouped.setdefault((row.analysis, row.benchmark, row.quantity), []).append(cells)
    note = "By chance: 95 % of the values under the analysis's null. Layer i is the output of the i-th layer."
    return [
        table(f"{analysis.replace('_', ' ')} on {benchmark}: {quantity}", columns, rows, note, grouped=True)
        for (analysis, benchmark, quantity), rows in grouped.items()
    ]


def _unit(row: InsideRow) -> Unit:
    return Unit(
        base=row.base_model,
        arm=row.arm,
        recipe=row.recipe,
        train_seed=row.train_seed,
        epoch=row.epoch,
        checkpoint=row.checkpoint,
    )


def _null(row: InsideRow) -> str:
    if row.null_low is None or row.null_high is None:
        return ""
    return PAGE.span(row.null_low, row.null_high, VALUES, max(decimals(row.null_low, row.null_high), 2))


def forecast_table(findings: Findings) -> Table | None:
    """Return what was known of each tuning set before tuning; None where no predictor was asked."""
    if not findings.forecasts:
        return None
    columns = [Column("Feature", "name"), Column("Arm", "name"), Column("Value [interval]", "num")]
    columns += [Column("The base's own answers", "num"), Column("Tokens", "num"), Column("Conversations", "num")]
    columns += [Column("Held against", "num"), Column("Warning", "text")]
    names = Names(Unit(base=row.base_model, arm=row.arm) for row in findings.forecasts)
    rows = [
        (
            row.feature,
            names(Unit(base=row.base_model, arm=row.arm)),
            _value(row),
            _reference(row),
            f"{row.n_tokens:,}",
            f"{row.n_conversations:,}",
            f"{row.n_reference:,}",
            row.warning or NONE_KNOWN,
        )
        for row in findings.forecasts
    ]
    note = "These describe the data; none of them is a prediction of drift."
    return table("What the tuning data hold, known before tuning", columns, rows, note, grouped=True)


def _value(row: ForecastRow) -> str:
    scale = SHARES if row.is_proportion else VALUES
    return PAGE.estimate(row.value, row.low, row.high, scale, unit=scale.sign, confidence=row.confidence)


def _reference(row: ForecastRow) -> str:
    scale = SHARES if row.is_proportion else VALUES
    if row.reference is None:
        return NOT_MEASURED
    return f"{PAGE.number(scale(row.reference), 1 if scale.is_percent else 3)}{scale.sign}"
