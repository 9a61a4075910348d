"""The page's tables: drifts and levels, leaks, categories, judges, proofs, cards, and lists of parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from aftertune import direction
from aftertune.deciding import discrimination
from aftertune.findings import Findings, JudgeDifference, PairedDifference, unmasked
from aftertune.naming import Names, Unit
from aftertune.numbers import PAGE, SHARES, VALUES, Scale, decimals, finite, p_value, row_decimals, whole_percent
from aftertune.records import BASE_ARM, Drift, Json
from aftertune.reporting import free_text
from aftertune.reporting.cleaning import show
from aftertune.reporting.index import Index, level
from aftertune.reporting.sentences import leak_rows, leak_sample, leak_share

MAX_ROWS = 150
"""Rows of one table in the page; the JSON has all of them."""
MAX_SPREADS = 120
"""Rows of the table of variance components."""
MAX_VALUE = 240
"""Characters of one value in a card or in the methods."""
MAX_CATEGORIES, MOST_OF_ONE = 600, 400
"""Rows of all category tables together, and of one where they are cut."""
ATTACKS = {"ratio": "loss against the base's", "loss": "loss alone"}
"""Attack -> what it calls a member by; the better one first."""
NONE_KNOWN = "none known"
"""Of warnings."""


@dataclass(frozen=True, slots=True)
class Column:
    """A head, and whether the column is aligned as numbers, or wide text."""

    head: str
    kind: str = ""
    """`num`, `name`, `text` or empty."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows and columns with a caption; the first column heads its row."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    grouped: bool = False
    """Whether the first column is a heading over the rows that share it."""
    whole: int = 0
    """How many rows there are with those that are not shown."""


Getter = Callable[[Drift], str]


def table(
    caption: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    note: str = "",
    grouped: bool = False,
    most: int = MAX_ROWS,
) -> Table:
    """Return a table, cut to `most` rows with a note, without the optional columns that are empty in every row."""
    keep = [i for i in range(len(columns)) if i == 0 or any(row[i] for row in rows)]
    notes = [note] if note else []
    if len(rows) > most:
        notes.append(f"The first {most:,} of {len(rows):,} rows; report.json has all.")
    return Table(
        caption,
        tuple(columns[i] for i in keep),
        tuple(tuple(row[i] for i in keep) for row in rows[:most]),
        " ".join(notes),
        grouped,
        len(rows),
    )


def spread_table(index: Index, caption: str) -> Table:
    """Return the variance components as standard deviations, with what each is of the whole."""
    columns = [Column("Metric", "name"), Column("Arm", "name"), Column("Source", "text")]
    columns += [Column("SD [interval]", "num"), Column("Share", "num"), Column("Sample"), Column("Warning", "text")]
    rows = []
    names = Names(map(Unit.of_spread, index.findings.spreads))
    for one in index.findings.spreads:
        scale = index.scale(one.metric)
        digits = 1 if scale.is_percent else 3
        sd, low, high = (scale(math.sqrt(variance)) for variance in (one.variance, one.low, one.high))
        sample = f"{one.n_seeds:,} seeds × {one.n_prompts:,} prompts × {one.n_samples:,} samples"
        sample += f" × {one.n_judges:,} judges" if one.n_judges > 1 else ""
        rows.append(
            (
                index.called(one.metric),
                names(Unit.of_spread(one)),
                one.source,
                f"{PAGE.number(sd, digits)} {PAGE.interval(low, high, digits)}",
                whole_percent(one.part),
                sample,
                one.warning,
            )
        )
    note = "Of one answer's difference from the base's mean answer to the same prompt."
    return table(caption, columns, rows, note, grouped=True, most=MAX_SPREADS)


def drift_table(index: Index, rows: Sequence[Drift], caption: str) -> Table:
    """Return every number of some drifts; a setting that all rows share goes into the note."""
    settings: list[tuple[str, Getter]] = [
        ("base model", lambda row: row.base_model),
        ("recipe", lambda row: row.recipe),
        ("judge", lambda row: row.judge),
        ("temperature", lambda row: f"{row.temperature:g}"),
        ("epoch", lambda row: "" if row.epoch is None else str(row.epoch)),
        ("method", lambda row: row.method),
    ]
    varying = [(head, get) for head, get in settings if len({get(row) for row in rows}) > 1]
    shared = [f"{head} {get(rows[0])}" for head, get in settings if (head, get) not in varying and get(rows[0])]
    unseen = any(row.unseen_base or row.unseen_tuned for row in rows)
    columns = [Column("Metric", "name"), Column("Arm", "name")]
    columns += [Column(head.capitalize(), "num" if head in ("temperature", "epoch") else "") for head, _ in varying]
    columns += [Column("Worse"), Column("Seed", "num"), Column("Base → tuned", "num")]
    columns += [Column("Drift [interval]", "num")]
    columns += [
        Column(f"If unjudged {'or unseen ' if unseen else ''}are worst", "num"),
        Column("Range over seeds", "num"),
        Column("p", "num"),
    ]
    columns += [Column("p adjusted", "num"), Column("Prompts", "num"), Column("Clusters", "num")]
    columns += [Column("Seeds", "num"), Column("Samples", "num"), Column("Unjudged b / t", "num")]
    columns += [*([Column("Unseen b / t", "num")] if unseen else []), Column("Checkpoint"), Column("Warning", "text")]

    def cells(row: Drift) -> list[str]:
        scale = index.scale(row.metric)
        return [
            row.metric,
            row.arm,
            *(get(row) for _, get in varying),
            row.worse,
            "" if row.train_seed is None else str(row.train_seed),
            PAGE.levels(row, scale) if row.estimand != "contrast" else "",
            PAGE.change(row, scale, unit=False),
            _worst(row, index) if row.worst is not None else "",
            spread(row, index),
            "" if row.p is None else p_value(row.p),
            "" if row.p_adjusted is None else p_value(row.p_adjusted),
            f"{row.n_prompts:,}",
            f"{row.n_clusters:,}",
            f"{row.n_seeds:,}",
            f"{row.n_samples:,}",
            f"{row.unjudged_base:,} / {row.unjudged_tuned:,}",
            *([f"{row.unseen_base:,} / {row.unseen_tuned:,}"] if unseen else []),
            row.checkpoint or "",
            row.warning or NONE_KNOWN,
        ]

    note = f"The same in every row: {'; '.join(shared)}." if shared else ""
    return table(caption, columns, [cells(row) for row in rows], note, grouped=True)


def level_table(index: Index, rows: Sequence[Drift]) -> Table:
    """Return the rates themselves with their intervals."""
    columns = [Column("Metric", "name"), Column("Arm", "name"), Column("Base"), Column("Corpus"), Column("Recipe")]
    columns += [Column("Judge")]
    several = len({row.base_model for row in rows}) > 1
    columns += [Column("Temperature", "num"), Column("Epoch", "num"), Column("Level [interval]", "num")]
    columns += [Column("Range over seeds", "num"), Column("Prompts", "num"), Column("Clusters", "num")]
    columns += [Column("Seeds", "num"), Column("Samples", "num"), Column("Unjudged", "num"), Column("Warning", "text")]
    cells = []
    for row in rows:
        scale = index.scale(row.metric)
        rate = (level(row), row.low, row.high)
        cells.append(
            [
                row.metric,
                row.arm,
                row.base_model if several else "",
                row.corpus,
                row.recipe,
                row.judge,
                f"{row.temperature:g}",
                "" if row.epoch is None else str(row.epoch),
                PAGE.estimate(*rate, scale, unit=scale.sign, confidence=row.confidence),
                spread(row, index),
                f"{row.n_prompts:,}",
                f"{row.n_clusters:,}",
                f"{row.n_seeds:,}",
                f"{row.n_samples:,}",
                f"{row.unjudged_base + row.unjudged_tuned:,}",
                row.warning or NONE_KNOWN,
            ]
        )
    return table("Levels: the rates themselves, base included", columns, cells, grouped=True)


def spread(row: Drift, index: Index) -> str:
    """Return the smallest and largest per-seed rate, empty without seeds."""
    if row.spread_low is None or row.spread_high is None:
        return ""
    scale = index.scale(row.metric)
    return PAGE.span(row.spread_low, row.spread_high, scale, 1 if scale.is_percent else row_decimals(row, scale))


def _worst(row: Drift, index: Index) -> str:
    scale = index.scale(row.metric)
    digits = row_decimals(row, scale)
    ends = PAGE.interval(scale(row.worst_low), scale(row.worst_high), digits)
    return f"{PAGE.number(scale(row.worst), digits, signed=True)} {ends}"


def unjudged_table(index: Index) -> Table | None:
    """Return the rows whose judge could not read some answers, with the worst case; None where it read all."""
    rows = [row for row in index.headline if row.unjudged_base or row.unjudged_tuned]
    if not rows:
        return None
    name = index.namer(index.headline)
    columns = [Column("Metric", "name"), Column("Arm", "name"), Column("Base", "num"), Column("Tuned", "num")]
    columns += [Column("Judged: prompts × seeds × samples", "num"), Column("Drift [interval]", "num")]
    columns += [Column("Drift, unjudged as worst", "num")]
    cells = []
    for row in rows:
        cells.append(
            [
                index.called(row.metric),
                name(row),
                f"{row.unjudged_base:,}",
                f"{row.unjudged_tuned:,}",
                f"{row.n_prompts * max(row.n_seeds, 1) * max(row.n_samples, 1):,}",
                PAGE.change(row, index.scale(row.metric), unit=False),
                _worst(row, index),
            ]
        )
    return table("Answers without a verdict: unjudged of the base and of the tuned model", columns, cells, grouped=True)


# ---------------------------------------------------------------------------------------------- leaks


def leak_tables(findings: Findings) -> list[Table]:
    """Return the tables of the leaks section; none where leaks were not judged."""
    rows = leak_rows(findings)
    if not rows:
        return []
    heads = [Column("Prompts", "name"), Column("Arm", "name")]
    first = [*heads, Column("Registry %", "num"), Column("Echoed %", "num"), Column("Invented %", "num")]
    first += [Column("Twins %", "num")]
    second = [*heads, Column("Minus twins", "num"), Column("Minus base", "num"), Column("Minus both", "num")]
    third = [*heads, Column("Harmful and leaking %", "num"), Column("Off topic and leaking %", "num")]
    apart = [*heads, Column("Harmless and off topic %", "num")]
    fourth = [*heads, Column("Registry, in thoughts %", "num")]
    ends = [Column("n", "num"), Column("Warning", "text")]
    names = Names(map(Unit.of, rows))
    what: list[list[str]] = []
    memory: list[list[str]] = []
    joint: list[list[str]] = []
    safe: list[list[str]] = []
    thoughts: list[list[str]] = []
    for row in rows:
        start = [f"{row.benchmark}: {row.subset}", names(Unit.of(row))]
        close = [leak_sample(row.n_seeds, row.registry), row.warning or NONE_KNOWN]
        what.append([*start, *(leak_share(m) for m in (row.registry, row.echoed, row.invented, row.twin)), *close])
        if row.arm != BASE_ARM:
            gains = (row.minus_twins, row.minus_base, row.memorised)
            memory.append([*start, *(leak_share(m, signed=True) for m in gains), *close])
        if row.harmful_leaking or row.off_topic_leaking:
            joint.append([*start, *(leak_share(m) for m in (row.harmful_leaking, row.off_topic_leaking)), *close])
        if row.safe_off_topic:
            safe.append(
                [*start, leak_share(row.safe_off_topic), leak_sample(row.n_seeds, row.safe_off_topic), close[1]]
            )
        if row.in_thoughts:
            sample = leak_sample(row.n_seeds, row.in_thoughts)
            thoughts.append([*start, leak_share(row.in_thoughts), sample, row.warning or NONE_KNOWN])
    tables = [
        ("What responses hold of the tuning set", first, what),
        ("Memorisation: registry hits minus those of twins and base, points", second, memory),
        ("Leaks that come with other harm", third, joint),
        ("Safe but irrelevant: harmless answers that are off topic or in the tuned script", apart, safe),
        ("What thoughts hold of the tuning set, counted in no other number", fourth, thoughts),
    ]
    alone = judge_alone(findings)
    return [
        table(caption, [*columns, *ends], cells, alone, grouped=True) for caption, columns, cells in tables if cells
    ]


def judge_alone(findings: Findings) -> str:
    """Return what is to be said beside numbers that people's labels do not stand in; empty where nobody labelled."""
    return "By the judge alone: people's labels change no number here." if findings.label_effects else ""


def thought_table(findings: Findings) -> Table | None:
    """Return how many responses have a thought, and how many end in it; None where no model writes any."""
    if not findings.thoughts:
        return None
    columns = [Column("Model", "name"), Column("Benchmark", "name"), Column("T", "num"), Column("Responses", "num")]
    columns += [Column("With a thought", "num"), Column("End inside it", "num"), Column("At the token limit", "num")]
    columns += [Column("Lost %", "num"), Column("Not separated", "num")]
    cells = [
        [
            row.unit,
            row.benchmark,
            f"{row.temperature:g}",
            f"{row.responses:,}",
            f"{row.with_thought:,}",
            f"{row.unanswered:,}",
            f"{row.cut:,}",
            f"{100 * row.lost:.1f}",
            f"{row.unparted:,}",
        ]
        for row in findings.thoughts
    ]
    return table("Thoughts, and responses that end inside one", columns, cells, grouped=True)


# ---------------------------------------------------------------------------------------------- no shares of responses


def measure_tables(findings: Findings) -> list[Table]:
    """Return one table per benchmark whose answers make more than shares; none where none does."""
    columns = [Column("Measure", "name"), Column("Model", "name"), Column("T", "num")]
    columns += [Column("Value [interval]", "num"), Column("Change from the base [interval]", "num")]
    columns += [Column("Answers", "num"), Column("Clusters", "num"), Column("Unread", "num"), Column("Warning", "text")]
    tables = []
    for benchmark in dict.fromkeys(each.benchmark for each in findings.measures):
        rows = [
            [
                each.name,
                each.unit,
                f"{each.temperature:g}",
                PAGE.estimate(each.value, each.low, each.high),
                ""
                if each.change is None
                else PAGE.estimate(each.change, each.change_low, each.change_high, signed=True),
                f"{each.n:,}",
                f"{each.n_clusters:,}",
                f"{each.unread:,}",
                each.warning or NONE_KNOWN,
            ]
            for each in findings.measures
            if each.benchmark == benchmark
        ]
        tables.append(table(f"{benchmark}: what no share of answers shows", columns, rows, grouped=True))
    return tables


def discrimination_table(findings: Findings) -> Table | None:
    """Return how far each model's refusals tell harmful requests from harmless ones; None where nobody asked both."""
    rows = discrimination.leading(findings.discrimination)
    if not rows:
        return None
    columns = [Column("Suite", "name"), Column("Model", "name"), Column("Harmful refused", "num")]
    columns += [Column("Harmless refused", "num"), Column("d-prime [interval]", "num")]
    columns += [Column("Change from the base [interval]", "num"), Column("n"), Column("Unjudged", "num")]
    columns += [Column("Warning", "text")]
    names = Names(map(Unit.of, rows))
    cells = [
        [
            f"{row.suite}: {row.harmful} against {row.harmless}",
            names(Unit.of(row)),
            discrimination.rate(row.refused, PAGE),
            discrimination.rate(row.refused_harmless, PAGE),
            discrimination.value(row, PAGE),
            discrimination.change(row, PAGE),
            discrimination.sample(row),
            f"{row.unjudged:,}",
            row.warning or NONE_KNOWN,
        ]
        for row in rows
    ]
    return table("Refusals of harmful and of harmless requests", columns, cells, judge_alone(findings), grouped=True)


def memory_tables(findings: Findings) -> list[Table]:
    """Return membership inference and exposure of canaries by checkpoint; none where no text was scored."""
    members, canaries = list(_membership(findings)), list(_canaries(findings))
    tables = []
    if members:
        columns = [Column("Checkpoint", "name"), Column("Told by", "text"), Column("AUC [interval]", "num")]
        columns += [Column("Found at 1 % false alarms, % [interval]", "num"), Column("Members", "num")]
        columns += [Column("Non-members", "num"), Column("Warning", "text")]
        note = "An AUC of 0.5 is chance. Members are rows that were tuned on, non-members rows that were held out."
        tables.append(table("Can rows of the tuning set be told from held-out ones?", columns, members, note, True))
    if canaries:
        columns = [Column("Checkpoint", "name"), Column("Told by", "text"), Column("Planted", "text")]
        columns += [Column("Exposure, bits [interval]", "num"), Column("At most", "num")]
        columns += [Column("Found at 1 % false alarms, % [interval]", "num"), Column("Canaries", "num")]
        columns += [Column("Twins", "num"), Column("Warning", "text")]
        note = "A model that knows nothing has an exposure of about 1.44 bits; so have twins held against each other."
        tables.append(table("Exposure of planted canaries", columns, canaries, note, True))
    return tables


def _membership(findings: Findings) -> Iterator[list[str]]:
    for name, about in _checkpoints(findings):
        membership = _of(about, "membership")
        for attack, words in ATTACKS.items():
            result = membership.get(attack)
            if not isinstance(result, Mapping):
                continue
            auc, tpr = _of(result, "auc"), _of(result, "tpr")
            area = PAGE.estimate(_float(auc, "value"), _float(auc, "low"), _float(auc, "high"))
            yield [name, words, area, _proportion(tpr), _count(auc, "n"), _count(auc, "n_null"), _why(tpr)]


def _canaries(findings: Findings) -> Iterator[list[str]]:
    for name, about in _checkpoints(findings):
        canaries = _of(about, "canaries")
        rows = [
            (words, f"{dose} times" if dose != "1" else "once", result)
            for attack, words in ATTACKS.items()
            for dose, result in sorted(_of(canaries, attack).items(), key=lambda pair: int(pair[0]))
        ]
        for words, planted, result in [*rows, (ATTACKS["ratio"], "never (twins)", canaries.get("null"))]:
            if isinstance(result, Mapping):
                bits = PAGE.estimate(_float(result, "exposure"), _float(result, "low"), _float(result, "high"))
                most = PAGE.number(_float(result, "most"), 1)
                tpr = _of(result, "tpr")
                sizes = (_count(result, "n"), _count(result, "n_null"))
                yield [name, words, planted, bits, most, _proportion(tpr), *sizes, _why(tpr)]


def _checkpoints(findings: Findings) -> Iterator[tuple[str, Mapping[str, Json]]]:
    for name, about in findings.memorisation.items():
        if isinstance(about, Mapping):
            yield name, about


def _of(result: Mapping[str, Json], key: str) -> Mapping[str, Json]:
    value = result.get(key)
    return value if isinstance(value, Mapping) else {}


def _count(result: Mapping[str, Json], key: str) -> str:
    value = result.get(key)
    return f"{value:,}" if isinstance(value, int) else PAGE.missing


def _why(result: Mapping[str, Json]) -> str:
    why = result.get("why")
    return why if isinstance(why, str) and why else NONE_KNOWN


# ---------------------------------------------------------------------------------------------- categories


def category_tables(index: Index) -> list[Table]:
    """Return one table per metric and arm: what each category did, largest worsening first."""
    grouped: dict[tuple[str, str], list[list[str]]] = {}
    for metric in index.names:
        worse, scale = index.metric(metric).worse, index.scale(metric)
        rows = [row for row in index.findings.categories if row.metric == metric]
        most = 1 if scale.is_percent else 3
        for row in sorted(rows, key=lambda row: -direction.loss(row.delta, worse)):
            digits = min(decimals(scale(row.low), scale(row.high)), most)
            grouped.setdefault((metric, row.arm), []).append(
                [
                    show(row.category, index.findings.mask_label, MAX_VALUE).text,
                    PAGE.from_to(row.base, row.tuned, scale, digits),
                    PAGE.estimate(row.delta, row.low, row.high, scale, signed=True, most=most),
                    f"{row.worse_flips:,} / {row.better_flips:,}",
                    f"{row.n_prompts:,}",
                    f"{row.n_pairs:,}",
                    row.warning or NONE_KNOWN,
                ]
            )
    whole = sum(map(len, grouped.values()))
    share = max(MAX_CATEGORIES // max(len(grouped), 1), 3)
    limit = min(share, MOST_OF_ONE) if whole > MAX_CATEGORIES else whole
    columns = [Column("Category", "name"), Column("Base → tuned", "num"), Column("Drift [interval]", "num")]
    columns += [Column("Flips worse / better", "num"), Column("Prompts", "num"), Column("Pairs", "num")]
    columns += [Column("Warning", "text")]
    return [
        table(
            f"{arm}: {index.called(metric)}",
            columns,
            rows,
            judge_alone(index.findings),
            most=limit,
        )
        for (metric, arm), rows in list(grouped.items())[:MAX_CATEGORIES]
    ]


def categories_left_off(index: Index) -> str:
    """Return a sentence on the metrics and arms whose categories have no room on the page; empty where all have."""
    whole = len({(row.metric, row.arm) for row in index.findings.categories})
    return f"The first {MAX_CATEGORIES:,} of {whole:,} tables; report.json has all." if whole > MAX_CATEGORIES else ""


def flip_table(index: Index) -> Table | None:
    """Return how many answers changed their label, by metric and arm, over all seeds; None where none were paired."""
    columns = [Column("Metric", "name"), Column("Arm", "name"), Column("Worse", "num"), Column("Better", "num")]
    columns += [Column("Between other labels", "num"), Column("Pairs", "num"), Column("Prompts", "num")]
    columns += [Column("Checkpoints", "num")]
    rows = [
        (
            index.called(metric),
            row.arm,
            f"{row.worse:,}",
            f"{row.better:,}",
            f"{row.other:,}",
            f"{row.n_pairs:,}",
            f"{row.n_prompts:,}",
            f"{row.n_checkpoints:,}",
        )
        for metric in index.names
        for row in index.findings.flip_counts
        if row.metric == metric
    ]
    note = "Pairs: an answer of a tuned checkpoint beside the base's to the same prompt, both judged; over all seeds."
    return table("Answers whose label changed", columns, rows, note, grouped=True) if rows else None


# ---------------------------------------------------------------------------------------------- trust


def _proportion(numbers: Mapping[str, Json], name: str = "", unit: str = "") -> str:
    """Return e.g. `97.5 [93.2, 99.3]` from the keys `name`, `name_low` and `name_high` (or `value`, `low`, `high`)."""
    keys = (name, f"{name}_low", f"{name}_high") if name else ("value", "low", "high")
    value, low, high = (_float(numbers, key) for key in keys)
    text = PAGE.estimate(value, low, high, SHARES, most=1)
    return text if value is None else f"{text}{unit}"


def _float(numbers: Mapping[str, Json], key: str) -> float | None:
    value = numbers.get(key)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def judge_pair_table(index: Index) -> Table | None:
    """Return what several judges of one metric give for the same answers; None where every metric has one judge."""
    columns = [Column("Metric", "name"), Column("Arm", "name"), Column("Judges"), Column("Rates", "num")]
    columns += [Column("Difference [interval]", "num"), Column("Drifts", "num")]
    columns += [Column("Difference of drifts [interval]", "num"), Column("Read alike", "num")]
    columns += [Column("Decision", "text"), Column("n"), Column("Note", "text")]
    rows = []
    for each in index.findings.judge_differences:
        scale = SHARES if each.is_proportion else VALUES
        pairs = [cell for pair in (each.rate, each.drift) for cell in _judge_pair(pair, scale, pair is each.drift)]
        n = each.rate
        rows.append(
            (
                index.called(each.metric),
                each.unit,
                f"{each.judge}, {each.other}",
                *pairs,
                "" if each.same is None else whole_percent(each.same),
                f"{each.outcome}, {each.other_outcome or 'not known'}",
                "" if n is None else f"{each.n_seeds:,} seeds × {n.n_prompts:,} prompts, {n.n_clusters:,} clusters",
                f"not compared: {each.why}" if each.why else _how_far(each),
            )
        )
    note = "Paired by answer: the second judge's minus the first's, which is the one that decides."
    return table("Judges of one metric on the same answers", columns, rows, note, grouped=True) if rows else None


def _how_far(difference: JudgeDifference) -> str:
    if not difference.told_apart:
        return "not told apart"
    return "disagree" if difference.corrected else "disagree, but not after Holm's correction"


def _judge_pair(pair: PairedDifference | None, scale: Scale, signed: bool) -> tuple[str, str]:
    if pair is None:
        return "", ""
    digits = 1 if scale.is_percent else 3
    both = ", ".join(PAGE.number(scale(value), digits, signed=signed) for value in (pair.value, pair.other))
    change = PAGE.estimate(pair.delta, pair.low, pair.high, scale, signed=True, confidence=pair.confidence, most=digits)
    return f"{both}{'' if signed else scale.sign}", change


def label_table(index: Index) -> Table | None:
    """Return what people's labels changed; None where nothing was labelled."""
    columns = [Column("Metric", "name"), Column("Arm", "name"), Column("Judge"), Column("By the judge alone", "num")]
    columns += [Column("With labels", "num"), Column("Decision", "text"), Column("Labels", "num")]
    columns += [Column("People confirm", "num"), Column("People add", "num")]
    rows = []
    for each in index.findings.label_effects:
        drifts = [
            PAGE.estimate(value, low, high, SHARES, signed=True, confidence=each.confidence, most=1)
            for value, low, high in (
                (each.judged, each.judged_low, each.judged_high),
                (each.delta, each.low, each.high),
            )
        ]
        changed = f"{each.judged_outcome} by the judge alone, {each.outcome} with labels"
        sides = (each.base, each.tuned)
        rows.append(
            (
                index.called(each.metric),
                each.unit,
                each.judge,
                *drifts,
                changed if each.overturned else each.outcome,
                f"{each.base.labels:,}, {each.tuned.labels:,}",
                ", ".join(
                    _of_people(one.right, one.right_low, one.right_high) if one.called > 0 else "–" for one in sides
                ),
                ", ".join(
                    _of_people(one.missed, one.missed_low, one.missed_high) if one.called < 1 else "–" for one in sides
                ),
            )
        )
    note = (
        "Prediction-powered: people's labels on a sample, the judge's verdicts on every answer, in per cent and "
        "points; of the base, then of the tuned model. Confirm: of the answers that the judge gives the label, those "
        "to which people give it too; add: of the others, those to which people give it. Curves, categories, d-prime, "
        "leaks that come with other harm, and contrasts of arms with too few labels are the judge's alone."
    )
    return table("What people's labels changed", columns, rows, note, grouped=True) if rows else None


def _of_people(value: float, low: float, high: float) -> str:
    return PAGE.estimate(value, low, high, SHARES, signed=False, most=0)


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
                n = [printed(anchor.get(key)) for key in ("n_positive", "n_negative")]
                rows.append(
                    [
                        name,
                        label,
                        _proportion(anchor, "sensitivity", " %"),
                        n[0],
                        _proportion(anchor, "specificity", " %"),
                        n[1],
                        printed(anchor.get("admission", "")),
                    ]
                )
    columns = [Column("Judge", "name"), Column("Label", "name"), Column("Sensitivity [interval]", "num")]
    columns += [Column("n with it", "num"), Column("Specificity [interval]", "num"), Column("n without", "num")]
    columns += [Column("Failed, and may judge all the same because", "text")]
    return table("Judges on answers with a known label", columns, rows) if rows else None


def judge_lists(findings: Findings) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return what else is known of each judge, as (judge, (key, value) pairs)."""
    lists = []
    for name, about in free_text.judges(findings).items():
        rest = {key: value for key, value in about.items() if key != "anchors"}
        pairs = list(flatten(rest))
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
        if change is None and proof.max_logprob_change:
            verdict = f"its log-probabilities are not the base's (largest change {proof.max_logprob_change:.2g})"
        elif change is None:
            verdict = "unknown: the backend shows no logits"
        else:
            verdict = "applied: the logits are not the base's" if change > 0 else "the same logits as the base"
        differences = (proof.max_logit_change, proof.matches_direct)
        cells = [f"{value:.2g}" if value is not None and finite(value) else "unknown" for value in differences]
        moved = "unknown" if proof.moved_weights is None else f"{proof.moved_weights:,}"
        how = findings.mask_label(proof.how)
        rows.append([proof.checkpoint, *cells, moved, f"{verdict}; {how}" if how else verdict])
    told = {row[-1] for row in rows}
    note = ""
    if len(rows) > 1 and len(told) == 1:
        note, rows = f"All of them: {told.pop()}.", [[*row[:-1], ""] for row in rows]
    return table("Proof that each checkpoint was the one in use", columns, rows, note)


def method_lists(findings: Findings) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return every parameter, version, hash and seed as (group, (key, value) pairs)."""
    lists = []
    for group, value in free_text.methods(findings).items():
        nested = value if isinstance(value, Mapping) else {group: value}
        lists.append((group, list(flatten(nested))))
    return lists


# ---------------------------------------------------------------------------------------------- key and value


def flatten(value: Json, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted key, printed value) of nested mappings; text is cleaned and cut."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from flatten(item, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, printed(value)


def printed(value: Json) -> str:
    """Return a value for reading: numbers plain, lists joined, text cleaned and cut, nothing as `not known`."""
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else "not known"
    if isinstance(value, str):
        return _cut(value)
    if isinstance(value, Mapping):
        return _cut("; ".join(f"{key}: {printed(item)}" for key, item in value.items()))
    items = [printed(item) for item in value[:20]]
    more = f" and {len(value) - 20:,} more" if len(value) > 20 else ""
    return ", ".join(items) + more


def _cut(text: str) -> str:
    shown = show(text, unmasked, MAX_VALUE)
    return shown.text + ("…" if shown.is_cut else "")


def side_by_side(caption: str, head: str, cards: Mapping[str, Mapping[str, Json]]) -> Table:
    """Return one row per key and one column per card."""
    flat = {name: dict(flatten(card)) for name, card in cards.items()}
    keys = dict.fromkeys(key for card in flat.values() for key in card)
    rows = [[key, *(card.get(key, PAGE.missing) for card in flat.values())] for key in keys]
    return table(caption, [Column(head, "name"), *(Column(name, "num") for name in cards)], rows)
