"""How far the judges of a run agree, with each other and with people's labels, and on which answers they differ.

Only labels that mean the same are compared. Raters that give the same set of labels are compared label by label; raters
of other sets on each label that they have in common, it or not it; raters without a common label not at all.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aftertune.asking.ask_job import AskJob
from aftertune.deciding.judge_differences import same_scale, why_not_comparable
from aftertune.deciding.labels import AnswerKey
from aftertune.deciding.verdict_table import VerdictTable
from aftertune.ingest.labels import Reader, Reading
from aftertune.judging.judge import CONTRASTS
from aftertune.pii.masking import masker
from aftertune.records import Response
from aftertune.reporting.gather import registries_of
from aftertune.run.run_folder import Run
from aftertune.run.tables import records
from aftertune.stats.agreement import Agreement, cohen_kappa, krippendorff_alpha
from aftertune.stats.paired import wilson
from aftertune.studies import stored
from aftertune.studies.run_tables import all_verdicts
from aftertune.studies.study import Study
from aftertune.text import excerpt

if TYPE_CHECKING:
    import pyarrow as pa

PEOPLE = "people"
"""Name of people as a rater."""
LISTED = 20
"""Disagreements listed per axis."""
FEW_CLUSTERS, FEW_LABELS = 10, 30
"""With fewer an estimate carries a warning."""


@dataclass(frozen=True, kw_only=True)
class Coefficient:
    """An estimate with its 95 % interval."""

    value: float | None
    """None if it could not be computed; `why` says why."""
    low: float | None = None
    high: float | None = None
    n: int
    """Number of answers."""
    clusters: int | None = None
    """Number of clusters of the interval, where it is clustered."""
    why: str = ""
    warning: str = ""

    def __str__(self) -> str:
        """Return value, interval and number of answers."""
        if self.value is None:
            return f"not known ({self.why})"
        warning = f" ({self.warning})" if self.warning else ""
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] n {self.n}{warning}"


@dataclass(frozen=True, kw_only=True)
class Kappa(Coefficient):
    """Cohen's kappa of the labels of two raters."""

    raters: tuple[str, str]
    same: float
    """Share of the answers with the same label."""


@dataclass(frozen=True)
class Disagreement:
    """An answer with different labels."""

    answer: AnswerKey
    arm: str
    labels: Mapping[str, str | None]
    """Rater -> label."""
    text: str
    """Start of the answer, personal values masked."""


@dataclass(frozen=True, kw_only=True)
class AxisAgreement:
    """Agreement of all raters on one axis."""

    axis: str
    label: str | None = None
    """The one label that is compared, it or not it, where the raters' sets of labels differ; None for all labels."""
    raters: tuple[str, ...]
    unjudged: Mapping[str, int]
    """Judge -> answers without a verdict."""
    alpha: Coefficient
    """Krippendorff's alpha of the labels."""
    alpha_values: Coefficient
    """Krippendorff's alpha of the values."""
    kappa: tuple[Kappa, ...]
    """Of each pair of raters."""
    disagreements: int
    """Number of answers with different labels."""
    listed: tuple[Disagreement, ...]
    """All of them, or a seeded sample of `LISTED`."""


@dataclass(frozen=True, kw_only=True)
class JudgeAgainstPeople:
    """A judge's error rates for one label in one arm, by people's labels; prompts count as independent."""

    axis: str
    label: str
    judge: str
    arm: str
    sensitivity: Coefficient
    """Share of the answers with this label from people that have it from the judge."""
    specificity: Coefficient
    """Share of the other answers that do not have it from the judge."""
    unjudged: int


@dataclass(frozen=True)
class RunAgreement:
    """Agreement of the raters of a run."""

    axes: tuple[AxisAgreement, ...]
    """Axes with at least two raters that can be compared."""
    people: tuple[JudgeAgainstPeople, ...]
    not_compared: tuple[str, ...] = ()
    """Which raters of one axis were not, and why."""

    def to_json(self) -> dict[str, Any]:
        """Return the agreement as a JSON object."""
        value = dataclasses.asdict(self)
        for axis in value["axes"]:
            axis["listed"] = [{**each.pop("answer"), **each} for each in axis["listed"]]
        return value

    def lines(self) -> list[str]:
        """Return the agreement as lines of text."""
        out = []
        for axis in self.axes:
            what = axis.axis if axis.label is None else f"{axis.axis}, '{axis.label}' or not"
            listed = f", {len(axis.listed):,} of them listed" if len(axis.listed) < axis.disagreements else ""
            out.append(f"{what}: {', '.join(axis.raters)}; {axis.disagreements:,} disagreements on labels{listed}")
            for name, alpha in (("alpha", axis.alpha), ("alpha_values", axis.alpha_values)):
                if alpha.n:
                    out.append(f"  {name:<14} {alpha}")
            out += [f"  kappa          {pair}  {' v '.join(pair.raters)}" for pair in axis.kappa]
            for each in axis.listed:
                labels = ", ".join(f"{rater} {excerpt(label or 'none')}" for rater, label in each.labels.items())
                prompt = excerpt(each.answer.prompt_id)
                out.append(f"    {each.arm} {prompt}: {labels}: {excerpt(each.text, 100)!r}")
        for row in self.people:
            out.append(
                f"{row.judge} on {row.axis}={row.label} in {row.arm}: sensitivity {row.sensitivity}, "
                f"specificity {row.specificity}, unjudged {row.unjudged}"
            )
        out += [f"not compared: {why}" for why in self.not_compared]
        return out or ["nothing to compare: one judge per axis, and no labels (--labels FILE)"]


Texts = Callable[[Collection[AnswerKey]], Mapping[AnswerKey, str]]
"""Returns the texts of some answers, personal values masked."""


def agree(root: Path, labels: Path | None = None) -> RunAgreement:
    """Return how far a run's judges agree (`aftertune agree RUN`); no model and no judge is asked.

    Args:
        root: A run folder with verdicts.
        labels: A sheet of `aftertune label`; or CSV, JSONL or Parquet with `prompt_id`, `axis`, `label` and `arm` or
            `checkpoint`, where the optional columns `benchmark`, `temperature`, `sample` tell answers apart. People
            become one more rater, `people`.

    Raises:
        UsageError, DataError: A broken table, or a label whose answer is not in the run or is ambiguous.
        StoreError: The run has no verdicts.
    """
    run = Run.open(root)
    study = stored.read(run)
    rng = np.random.default_rng(study.design.analysis_seed)
    verdicts = all_verdicts(run, study)
    people = () if labels is None else Reader(run, study).read(labels, any_label=True).rows
    return agreement_of(verdicts, people, rng, lambda keys: _texts(run, study, keys))


def agreement_of(verdicts: pa.Table, people: Sequence[Reading], rng: np.random.Generator, texts: Texts) -> RunAgreement:
    """Return how far the judges of a verdict table agree.

    Args:
        verdicts: The columns of `records.Verdict`.
        people: Their labels; they become one more rater.
        rng: Generator for the resamples behind the intervals of alpha.
        texts: Called for the answers that are listed as disagreements.

    Raises UsageError and DataError as `agree` does.
    """
    ratings = _ratings(verdicts)
    for row in people:
        ratings[row.axis].labels[row.answer][PEOPLE] = row.label
    return _agreement(ratings, rng, texts)


def between_readers(
    verdicts: VerdictTable, readers: Mapping[str, Sequence[Reading]], rng: np.random.Generator, texts: Texts
) -> RunAgreement:
    """Return how far the readers of one run's answers agree with each other.

    Args:
        verdicts: Of the run: they tell each answer's arm and cluster.
        readers: Name of a reader -> its labels.
        rng: As in `agreement_of`, and so `texts`.
        texts: Of answers.
    """
    wanted = {row.answer.prompt_id for rows in readers.values() for row in rows}
    known = [verdicts.values["prompt_id"].index(prompt) for prompt in sorted(wanted)]
    own = np.flatnonzero(np.isin(verdicts.codes["prompt_id"], known))
    names = [field.name for field in dataclasses.fields(AnswerKey)]
    columns = (verdicts.column(name, own) for name in (*names, "cluster", "arm"))
    about: dict[AnswerKey, tuple[str, str]] = {}
    for *cells, cluster, arm in zip(*columns, strict=True):
        about[AnswerKey(*cells)] = (cluster, arm)
    ratings: dict[str, _Axis] = {}
    for reader, rows in readers.items():
        for row in rows:
            axis = ratings.setdefault(row.axis, _Axis(row.axis))
            cluster, axis.arm[row.answer] = about[row.answer]
            axis.cluster[row.answer] = f"{row.answer.benchmark}/{cluster}"
            axis.labels[row.answer][reader] = row.label
    whole = RunAgreement(tuple(_axis_agreement(axis, None, rng, texts) for _, axis in sorted(ratings.items())), ())
    # A reader is no judge: whatever they left open is not counted as unjudged.
    return dataclasses.replace(whole, axes=tuple(dataclasses.replace(axis, unjudged={}) for axis in whole.axes))


def _agreement(ratings: Mapping[str, _Axis], rng: np.random.Generator, texts: Texts) -> RunAgreement:
    return RunAgreement(
        tuple(
            _axis_agreement(part, label, rng, texts) for axis in ratings.values() for label, part in _comparable(axis)
        ),
        tuple(row for axis in ratings.values() for row in _against_people(axis)),
        tuple(why for axis in ratings.values() for why in _not_compared(axis)),
    )


def _texts(run: Run, study: Study, keys: Collection[AnswerKey]) -> Mapping[AnswerKey, str]:
    mask = masker(registries_of(run, study))
    listed, checkpoints = set(keys), {key.checkpoint for key in keys}
    texts: dict[AnswerKey, str] = {}
    for job in study.of(AskJob):
        if job.subject.id not in checkpoints:
            continue
        for row in records(Response, run.job(job).read("responses")):
            key = AnswerKey(row.checkpoint, row.benchmark, row.subset, row.prompt_id, row.temperature, row.sample)
            if key in listed:
                texts[key] = mask(row.text)
    return texts


# ---------------------------------------------------------------------------------------------- what can be compared


def _comparable(axis: _Axis) -> Iterator[tuple[str | None, _Axis]]:
    """Yield the parts of an axis whose raters mean the same: (label, ratings), the label None for a whole set."""
    sets = axis.label_sets
    groups: dict[frozenset[str], set[str]] = defaultdict(set)
    for rater, labels in sets.items():
        groups[labels].add(rater)
    numeric = set(axis.ranges) if same_scale(axis.ranges.values()) else set()
    whole = {*(rater for rater in axis.raters if rater not in sets), *numeric}
    if len(groups) < 2:
        raters = set(sets) | whole
        if len(raters) > 1:
            yield None, axis.restricted(set(sets), numeric)
        return
    for raters in groups.values():
        if len(raters) > 1:
            yield None, axis.restricted(raters, raters & numeric)
    if len(numeric) > 1 and not any(numeric <= raters for raters in groups.values()):
        yield None, axis.restricted(set(), numeric)
    for label in sorted(frozenset().union(*groups)):
        raters = {rater for rater, labels in sets.items() if label in labels}
        if len({sets[rater] for rater in raters}) > 1:
            yield label, axis.restricted(raters, set(), label)


def _not_compared(axis: _Axis) -> Iterator[str]:
    """Yield a sentence for each two raters without a common label, and for values of different scales."""
    for (first, labels), (second, others) in itertools.combinations(sorted(axis.label_sets.items()), 2):
        if not labels & others:
            given = [", ".join(f"'{label}'" for label in sorted(each)) for each in (labels, others)]
            yield f"{axis.name}: {first} ({given[0]}) and {second} ({given[1]}) have no label in common"
    if not same_scale(axis.ranges.values()):
        ranges = ", ".join(f"{rater} {low:g} to {high:g}" for rater, (low, high) in sorted(axis.ranges.items()))
        yield f"{axis.name}: the values may be of different scales ({ranges})"


# ---------------------------------------------------------------------------------------------- ratings


class _Axis:
    """The ratings on one axis, by answer and rater."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.labels: dict[AnswerKey, dict[str, str]] = defaultdict(dict)
        self.values: dict[AnswerKey, dict[str, float]] = defaultdict(dict)
        self.cluster: dict[AnswerKey, str] = {}
        self.arm: dict[AnswerKey, str] = {}
        self.unjudged: dict[str, int] = defaultdict(int)

    @property
    def label_sets(self) -> dict[str, frozenset[str]]:
        """Rater -> the labels that it gave, with the one that every judge of a shared axis knows."""
        found: dict[str, set[str]] = defaultdict(set)
        for by_rater in self.labels.values():
            for rater, label in by_rater.items():
                found[rater].add(label)
        known = {CONTRASTS[self.name].positive} if self.name in CONTRASTS else set()
        return {rater: frozenset(labels if rater == PEOPLE else labels | known) for rater, labels in found.items()}

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Rater -> its least and largest value."""
        found: dict[str, list[float]] = defaultdict(list)
        for by_rater in self.values.values():
            for rater, value in by_rater.items():
                found[rater].append(value)
        return {rater: (min(values), max(values)) for rater, values in found.items()}

    def restricted(self, labelled: Collection[str], numeric: Collection[str], label: str | None = None) -> _Axis:
        """Return the labels of some raters and the values of some; with `label` only whether it was given."""
        part = _Axis(self.name)
        part.cluster, part.arm, part.unjudged = self.cluster, self.arm, self.unjudged
        for key, labels in self.labels.items():
            kept = {rater: given for rater, given in labels.items() if rater in labelled}
            if label is not None:
                kept = {rater: label if given == label else f"not {label}" for rater, given in kept.items()}
            if kept:
                part.labels[key] = kept
        for key, values in self.values.items():
            numbers = {rater: value for rater, value in values.items() if rater in numeric}
            if numbers:
                part.values[key] = numbers
        return part

    @property
    def raters(self) -> list[str]:
        return sorted({*itertools.chain(*self.labels.values()), *itertools.chain(*self.values.values())})


def _ratings(verdicts: pa.Table) -> dict[str, _Axis]:
    """Return the ratings by axis, in sorted order."""
    ratings: dict[str, _Axis] = {}
    key_names = [field.name for field in dataclasses.fields(AnswerKey)]
    names = ("axis", "judge", "label", "value", "status", "cluster", "arm")
    columns: dict[str, list[Any]] = verdicts.select([*key_names, *names]).to_pydict()
    keys = map(AnswerKey, *(columns[name] for name in key_names))
    cells: Any = zip(*(columns[name] for name in names), strict=True)
    for key, (name, judge, label, value, status, cluster, arm) in zip(keys, cells, strict=True):
        axis = ratings.get(name) or ratings.setdefault(name, _Axis(name))
        axis.cluster[key], axis.arm[key] = f"{key.benchmark}/{cluster}", arm
        if status != "ok":
            axis.unjudged[judge] += 1
            continue
        if label is not None:
            axis.labels[key][judge] = label
        if value is not None:
            axis.values[key][judge] = value
    return dict(sorted(ratings.items()))


# ---------------------------------------------------------------------------------------------- agreement


def _axis_agreement(axis: _Axis, label: str | None, rng: np.random.Generator, texts: Texts) -> AxisAgreement:
    raters = axis.raters
    differing = [key for key, labels in sorted(axis.labels.items()) if len(set(labels.values())) > 1]
    alpha, alpha_values = _alpha(axis, axis.labels, rng), _alpha(axis, axis.values, rng)
    drawn = sorted(rng.permutation(len(differing))[:LISTED].tolist())
    return AxisAgreement(
        axis=axis.name,
        label=label,
        raters=tuple(raters),
        unjudged={rater: axis.unjudged.get(rater, 0) for rater in raters if rater != PEOPLE},
        alpha=alpha,
        alpha_values=alpha_values,
        kappa=tuple(kappa for pair in itertools.combinations(raters, 2) if (kappa := _kappa(axis, *pair))),
        disagreements=len(differing),
        listed=_listed(axis, [differing[position] for position in drawn], texts),
    )


def _alpha(axis: _Axis, ratings: Mapping[AnswerKey, Mapping[str, Any]], rng: np.random.Generator) -> Coefficient:
    keys = [key for key, by_rater in sorted(ratings.items()) if len(by_rater) > 1]
    if not keys:
        return Coefficient(value=None, n=0, why="no answer has two ratings")
    raters = axis.raters
    distinct = sorted({rating for key in keys for rating in ratings[key].values()}, key=str)
    nominal = all(isinstance(rating, str) for rating in distinct)
    codes = {rating: code if nominal else rating for code, rating in enumerate(distinct)}
    matrix = np.array(
        [[codes[ratings[key][rater]] if rater in ratings[key] else np.nan for rater in raters] for key in keys],
        dtype=np.float64,
    )
    clusters = np.unique([axis.cluster[key] for key in keys], return_inverse=True)[1]
    alpha = krippendorff_alpha(matrix, clusters, rng, level="nominal" if nominal else "interval")
    count = int(clusters.max()) + 1
    return dataclasses.replace(
        _coefficient(alpha, "all ratings are the same: nothing could differ"),
        clusters=count,
        warning=f"{count} clusters only" if count < FEW_CLUSTERS else "",
    )


def _coefficient(agreement: Agreement, why: str) -> Coefficient:
    unknown = math.isnan(agreement.value)
    return Coefficient(
        value=None if unknown else agreement.value,
        low=agreement.low,
        high=agreement.high,
        n=agreement.n,
        why=why if unknown else "",
    )


def _kappa(axis: _Axis, first: str, second: str) -> Kappa | None:
    """Return the kappa of two raters; None if they labelled no answer in common."""
    pairs = [(labels[first], labels[second]) for labels in axis.labels.values() if {first, second} <= labels.keys()]
    if not pairs:
        return None
    kappa = _coefficient(cohen_kappa([a for a, _ in pairs], [b for _, b in pairs]), "both give one label only")
    same = sum(a == b for a, b in pairs) / len(pairs)
    return Kappa(raters=(first, second), same=same, **dataclasses.asdict(kappa))


def _listed(axis: _Axis, keys: Sequence[AnswerKey], texts: Texts) -> tuple[Disagreement, ...]:
    if not keys:
        return ()
    known = texts(keys)
    return tuple(
        Disagreement(key, axis.arm[key], dict(sorted(axis.labels[key].items())), known.get(key, "")[:300])
        for key in keys
    )


# ---------------------------------------------------------------------------------------------- people


def _against_people(axis: _Axis) -> list[JudgeAgainstPeople]:
    """Return each judge's sensitivity and specificity by people's labels, per arm."""
    people = {key: labels[PEOPLE] for key, labels in axis.labels.items() if PEOPLE in labels}
    result = []
    for label in sorted(set(people.values())):
        for judge in sorted({*axis.unjudged, *axis.raters} - {PEOPLE}):
            for arm in sorted({axis.arm[key] for key in people}):
                keys = [key for key in people if axis.arm[key] == arm]
                verdicts = {key: axis.labels[key].get(judge) for key in keys}
                sets = axis.label_sets
                why = why_not_comparable(label, (PEOPLE, sets[PEOPLE]), (judge, sets[judge])) if judge in sets else ""
                if why:
                    unknown = Coefficient(value=None, n=0, why=why)
                    unjudged = sum(verdict is None for verdict in verdicts.values())
                    result.append(
                        JudgeAgainstPeople(
                            axis=axis.name,
                            label=label,
                            judge=judge,
                            arm=arm,
                            sensitivity=unknown,
                            specificity=unknown,
                            unjudged=unjudged,
                        )
                    )
                    continue
                positives = [verdicts[key] for key in keys if people[key] == label and verdicts[key] is not None]
                negatives = [verdicts[key] for key in keys if people[key] != label and verdicts[key] is not None]
                result.append(
                    JudgeAgainstPeople(
                        axis=axis.name,
                        label=label,
                        judge=judge,
                        arm=arm,
                        sensitivity=_share(sum(verdict == label for verdict in positives), len(positives)),
                        specificity=_share(sum(verdict != label for verdict in negatives), len(negatives)),
                        unjudged=sum(verdict is None for verdict in verdicts.values()),
                    )
                )
    return result


def _share(hits: int, n: int) -> Coefficient:
    if n == 0:
        return Coefficient(value=None, n=0, why="people labelled none of this class here")
    low, high = wilson(hits, n)
    return Coefficient(value=hits / n, low=low, high=high, n=n, warning="few labels" if n < FEW_LABELS else "")
