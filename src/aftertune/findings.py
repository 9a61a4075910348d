"""The results of a run that a report is made from, and the report itself: frozen records, no rendering."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from aftertune.numbers import whole_percent
from aftertune.records import Decision, Drift, Json, Metric, Outcome, Proof, Worse


def unmasked(text: str) -> str:
    """Return `text` as it is: the mask of a run that holds no personal data."""
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A prompt whose label changed between the base and one tuned checkpoint. Texts are raw: reports mask them."""

    metric: str
    arm: str
    prompt: str
    base_text: str
    tuned_text: str
    base_label: str
    tuned_label: str
    category: str
    prompt_id: str = ""
    train_seed: int | None = None
    sample: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipCount:
    """How many answers of one arm changed their label from the base's: all of them, over all its training seeds."""

    metric: str
    arm: str
    worse: int
    """Pairs (prompt x seed x sample) that moved in the direction that is worse."""
    better: int
    other: int
    """Between two labels that the metric does not count."""
    n_pairs: int
    """Pairs that both sides judged."""
    n_prompts: int
    n_checkpoints: int


@dataclass(frozen=True, slots=True)
class UnjudgedAnswers:
    """How many answers have no verdict for some gated metric: each answer once, however many metrics miss it."""

    base: int
    of_base: int
    """All answers of the bases that were to be judged."""
    tuned: int
    of_tuned: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryRow:
    """How one category of prompts moved in one arm. Rates and differences are shares in [0, 1]."""

    metric: str
    arm: str
    category: str
    base: float | None
    tuned: float | None
    delta: float | None
    low: float | None
    high: float | None
    n_prompts: int
    worse_flips: int
    """Pairs (prompt x seed x sample) that moved in the direction that is worse."""
    better_flips: int
    n_pairs: int
    """Pairs that both sides judged: prompts x seeds x samples."""
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Measure:
    """A rate or a difference of rates with its interval: shares, not per cent."""

    value: float
    low: float
    high: float
    n: int
    """Prompts."""
    n_clusters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakRow:
    """How often one arm's or checkpoint's responses to one subset hold values of the tuning set; None: not measured."""

    base_model: str
    arm: str
    recipe: str
    checkpoint: str | None
    train_seed: int | None
    """Of a single checkpoint; None for an arm over its seeds."""
    epoch: int | None
    temperature: float
    benchmark: str
    subset: str
    judge: str
    registry: Measure | None
    """A value of the tuning set that the prompt does not hold."""
    echoed: Measure | None
    invented: Measure | None
    twin: Measure | None
    """The same as `registry` for people that nobody trained on."""
    minus_twins: Measure | None
    minus_base: Measure | None
    memorised: Measure | None
    """(registry - twin) minus the base's (registry - twin)."""
    harmful_leaking: Measure | None
    """Harmful, and a registry hit."""
    off_topic_leaking: Measure | None
    """Off topic or in the script of the tuned domain, and a registry hit."""
    safe_off_topic: Measure | None
    """Harmless, and off topic or in the script of the tuned domain: safe but irrelevant."""
    n_seeds: int
    warning: str = ""
    corpus: str = ""
    """The one whose people were looked for, where the design has several corpora."""
    in_thoughts: Measure | None = None
    """A value of the tuning set in the thought, of the responses that have one; no part of any number above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThoughtRow:
    """How many of a model's responses to one benchmark have a thought, and how many end in it."""

    unit: str
    """Name of the base or checkpoint (`naming`)."""
    checkpoint: str
    benchmark: str
    temperature: float
    responses: int
    """Those that ended in an error left out."""
    with_thought: int
    unanswered: int
    """That end inside their thought: no judge reads them."""
    cut: int
    """Of these, by the limit of tokens."""
    unparted: int = 0
    """Whose answer, as judges read it, holds what looks like a thought's tag or heading: a thought not separated,
    or an answer about such markup."""

    @property
    def lost(self) -> float:
        """Share of the responses that have no answer."""
        return self.unanswered / self.responses if self.responses else 0.0

    @property
    def sentences(self) -> tuple[str, ...]:
        """What a reader must know: how many answers are lost, and how many may hold a thought still."""
        return tuple(filter(None, (self._lost() if self.unanswered else "", self._unparted() if self.unparted else "")))

    def _unparted(self) -> str:
        return (
            f"{self.unit}, {self.benchmark}: {self.unparted:,} of {self.responses:,} responses hold what looks like "
            "the markup of a thought and could not be separated: judges read all of it as the answer. "
            "See what they hold."
        )

    def _lost(self) -> str:
        remedy = "raise [respond] thought_tokens" if 2 * self.cut >= self.unanswered else "see what they hold"
        return (
            f"{self.unit}, {self.benchmark}: {self.unanswered:,} of {self.responses:,} responses "
            f"({100 * self.lost:.1f} %) end inside their thought ({self.cut:,} at the limit of tokens) and are "
            f"unjudged: {remedy}."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """Metrics of one arm or checkpoint that moved in opposite directions, beyond noise."""

    unit: str
    better: tuple[str, ...]
    worse: tuple[str, ...]
    n: int
    """How many metrics were compared."""
    why: str = ""
    """One sentence with the numbers, the rate expected from noise included."""

    @property
    def sentence(self) -> str:
        """The unit, which metrics moved which way, and why that is no noise."""
        return f"{self.unit}: better on {', '.join(self.better)}; worse on {', '.join(self.worse)}. {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """What two judges give for the same answers, and their difference (the other's minus the first's)."""

    value: float
    """By the judge that is decided by, over the answers that both judged."""
    other: float
    delta: float
    low: float
    high: float
    confidence: float
    p: float | None
    """None where all prompts are of one cluster."""
    p_adjusted: float | None
    """Holm's over all differences of the same arm or checkpoint."""
    corrected: bool = False
    """Whether the difference is told from zero after that correction too."""
    n_prompts: int
    n_clusters: int

    @property
    def told_apart(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeError:
    """What people's labels say of a judge in one arm."""

    arm: str
    """`base`, or the arm."""
    labels: int
    """Labelled answers."""
    called: float
    """Share of the answers that the judge gives the metric's label."""
    right: float
    """Of those, the share to which people give it too."""
    right_low: float
    right_high: float
    missed: float
    """Of the other answers, the share to which people give it all the same."""
    missed_low: float
    missed_high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelEffect:
    """What people's labels changed about one estimate that is decided on, and about the decision."""

    metric: str
    unit: str
    estimand: str
    temperature: float | None
    worse: Worse
    judge: str
    confidence: float
    judged: float
    """The drift by the judge alone; its interval, and what would be decided by it, below."""
    judged_low: float
    judged_high: float
    judged_outcome: Outcome
    delta: float
    """By people's labels and the judge's verdicts, and so the fields below."""
    low: float
    high: float
    outcome: Outcome
    base: JudgeError
    tuned: JudgeError

    @property
    def overturned(self) -> bool:
        """Whether the labels changed the decision."""
        return self.outcome != self.judged_outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeDifference:
    """How far another judge of a metric is from the one that a decision listens to; the first nine fields name it."""

    metric: str
    unit: str
    estimand: str
    base_model: str
    arm: str
    recipe: str
    checkpoint: str | None
    epoch: int | None
    temperature: float | None
    judge: str
    """That the decision listens to."""
    other: str
    outcome: Outcome
    """Of the decision."""
    other_outcome: Outcome | None = None
    """What it would be by the other judge; None where that is not known."""
    required: bool
    margin: float
    rate: PairedDifference | None = None
    """Of the tuned model's rates; None where they cannot be compared: `why` says so."""
    drift: PairedDifference | None = None
    """Of the drifts from the base."""
    same: float | None = None
    """Share of the tuned model's answers that both read alike, however their rates compare."""
    n_seeds: int = 0
    is_proportion: bool = True
    why: str = ""

    @property
    def told_apart(self) -> bool:
        """Whether the judges differ beyond the interval of their difference, in the rate or in the drift."""
        return any(pair is not None and pair.told_apart for pair in (self.rate, self.drift))

    @property
    def corrected(self) -> bool:
        """Whether they still do after correction for looking at several checks."""
        return any(pair is not None and pair.corrected for pair in (self.rate, self.drift))

    @property
    def changes_outcome(self) -> bool:
        """Whether the other judge would have decided otherwise."""
        return self.other_outcome is not None and self.other_outcome != self.outcome

    @property
    def size(self) -> float:
        """The larger of the two differences, in margins of the check."""
        pairs = [pair for pair in (self.rate, self.drift) if pair is not None]
        return max((abs(pair.delta) for pair in pairs), default=0.0) / (abs(self.margin) or 0.01)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """One source of the spread of a recipe's drift over its answers: a variance component with its interval."""

    metric: str
    base_model: str
    arm: str
    recipe: str
    epoch: int | None
    temperature: float
    source: str
    """`seed`, `prompt`, `seed x prompt`, `sampling`, `judge` or `judge x answer`; joined by ` + ` where they cannot be
    told apart."""
    variance: float
    """Of one answer's difference from the base's mean answer to the same prompt."""
    low: float
    high: float
    confidence: float
    part: float
    """Share of all sources' variance."""
    n_seeds: int
    n_prompts: int
    """Those with a verdict by every judge on every sample of every seed."""
    n_samples: int
    n_judges: int
    warning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """One point of a curve with the interval that holds for all points of the curve at once."""

    metric: str
    estimand: Literal["checkpoint", "recipe"]
    base_model: str
    arm: str
    recipe: str
    checkpoint: str | None
    train_seed: int | None
    epoch: int | None
    temperature: float
    judge: str
    """These name the drift that the point shows."""
    over: Literal["epoch", "temperature"]
    """Its x axis."""
    delta: float
    low: float
    high: float
    confidence: float
    """That the truth of every point lies in its interval."""
    n_points: int
    """How many points the curve has."""
    n_prompts: int
    n_clusters: int
    n_seeds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """Mixed-sign rate: the share of checkpoints that got better on one metric and worse on another, with the share that
    would where nothing drifts."""

    base_model: str
    """Empty where the checkpoints of several bases are taken together."""
    temperature: float
    observed: float
    """Share of the checkpoints, by the signs of their drifts alone, however small."""
    expected: float
    """The same with base and tuned labels swapped within clusters, jointly over metrics."""
    low: float
    high: float
    """Between which 95 % of the swaps lie."""
    p: float
    n_checkpoints: int
    n_metrics: int

    @property
    def sentence(self) -> str:
        """The rate with its expectation, without a full stop."""
        swaps = f"95 % of label swaps: {100 * self.low:.0f} to {whole_percent(self.high)}"
        return (
            f"{whole_percent(self.observed)} of {self.n_checkpoints:,} checkpoints are better on one of "
            f"{self.n_metrics:,} metrics and worse on another; {whole_percent(self.expected)} would be where nothing "
            f"drifts at all ({swaps})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectMeasure:
    """One value of a base or checkpoint that is no share of responses (d-prime, criterion, violation)."""

    benchmark: str
    name: str
    """E.g. `d-prime, vignette`."""
    unit: str
    """Name of the base or checkpoint (`naming`)."""
    checkpoint: str
    temperature: float
    value: float | None
    low: float | None
    high: float | None
    change: float | None
    """From the base; None for the base itself."""
    change_low: float | None
    change_high: float | None
    n: int
    n_clusters: int
    unread: int
    """Answers from which no option could be read; they count in no value here."""
    warning: str = ""


Strength = Literal["none", "weak", "open", "clear"]
WEAK = 1.0
"""A d-prime below which refusals tell little of harm: at 1 a model that errs alike on both refuses 69 % of harmful
requests and 31 % of harmless ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrimination:
    """How far one model's refusals tell the harmful requests of a benchmark from its harmless ones, as d-prime."""

    metric: str
    """Of the refusals of harmful requests, e.g. `core/harmful/refusal=full`."""
    counterparts: str
    """Those of harmless requests; several are joined by commas."""
    suite: str
    """The benchmark; of a table, what both metrics have in common."""
    harmful: str
    """What its harmful prompts are called, e.g. `unsafe`."""
    harmless: str
    base_model: str
    arm: str
    """`base` for the untuned model."""
    recipe: str
    checkpoint: str | None
    """None for an arm over its training seeds: its d-prime is the mean of theirs."""
    train_seed: int | None
    epoch: int | None
    temperature: float
    judge: str
    corpus: str
    refused: float | None
    """Share of harmful prompts that are refused."""
    refused_harmless: float | None
    d_prime: float | None
    """None where one of the kinds has no answer that could be judged."""
    low: float | None
    """None, as `high`, where one of the kinds has a single cluster: nothing is known of others."""
    high: float | None
    change: float | None
    """From the base, on the prompts that both answered; None for the base."""
    change_low: float | None
    change_high: float | None
    confidence: float
    n_harmful: int
    """Prompts."""
    n_harmless: int
    n_clusters: int
    n_seeds: int
    unjudged: int
    """Answers; they count in no number here."""
    warning: str = ""

    @property
    def strength(self) -> Strength:
        """What the interval allows: `none` cannot be told from 0 and lies below `WEAK`; `weak` is above 0, and below
        `WEAK`; `open` reaches from 0 or less to `WEAK` or more; `clear` is above 0 and reaches that."""
        if self.low is None or self.high is None:
            return "open"
        if self.low <= 0:
            return "none" if self.high < WEAK else "open"
        return "weak" if self.high < WEAK else "clear"


@dataclass(frozen=True, slots=True, kw_only=True)
class InsideRow:
    """One number about the inside of a checkpoint beside its base's: what an analysis of activations gave."""

    analysis: str
    benchmark: str
    """Whose prompts were read."""
    quantity: str
    """E.g. `cosine`."""
    base_model: str
    arm: str
    recipe: str
    checkpoint: str
    train_seed: int | None
    epoch: int | None
    layer: int | None
    """0 is the input of the first layer, i the output of the i-th; None for a number of no layer."""
    value: float | None
    """None where it is not defined; `warning` says why."""
    low: float | None
    high: float | None
    confidence: float
    null_low: float | None
    """Between `null_low` and `null_high` lie 95 % of the values under the analysis's null; None where it has none."""
    null_high: float | None
    ceiling: float | None
    """The best value that can be expected of these prompts, because of their noise; None where there is no such."""
    n_pairs: int
    n_clusters: int
    warning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastRow:
    """One number that is known of a tuning set before anything is tuned on it."""

    predictor: str
    feature: str
    """E.g. `new tokens`."""
    base_model: str
    arm: str
    value: float | None
    """None where it is not defined; `warning` says why."""
    low: float | None
    high: float | None
    confidence: float
    reference: float | None
    """The same number of the base's own answers; None where there is none."""
    is_proportion: bool
    n_tokens: int
    """Assistant tokens that were read."""
    n_conversations: int
    n_reference: int
    """Texts that they were held against."""
    warning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyCell:
    """One number of a study's closing table, with the paper's beside it."""

    value: float | None
    low: float | None = None
    high: float | None = None
    scale: Literal["rate", "points", "relative", "range", "share", "plain"] = "plain"
    """`rate`, `points` and `relative` are shares; `range` goes from `low` to `high`, shares too; `share` is a share of
    checkpoints, with its expectation in the note, and `low` to `high` what 95 % of label swaps give."""
    sample: str = ""
    """How much data stands behind it."""
    why: str = ""
    """Why there is no number; never empty where `value` is None."""
    note: str = ""
    """Its expectation where nothing drifts, or a warning."""
    published: float | str | None = None
    """The paper's, of other models on other data; None where none is known."""
    expected: str = ""
    """What the paper found, as the design's rule on our interval; empty where it has none."""
    finding: Literal["", "shows", "does not show", "open", "cannot be asked", "not measured"] = ""
    """Whether it shows, by that rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySection:
    """A study's closing table, filled in."""

    title: str
    source: str
    heads: tuple[str, ...]
    about: tuple[str, ...]
    """What each column shows, in words."""
    units: tuple[str, ...]
    """Units of the published numbers."""
    labels: tuple[str, ...]
    rows: tuple[tuple[StudyCell, ...], ...]
    """One per label, one cell per head."""
    statements: tuple[str, ...]
    """Sentences computed from the numbers."""
    supports: str
    cannot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedModel:
    """A base or checkpoint that answered."""

    name: str
    """As people call it (`naming`)."""
    identity: str
    """Hash of the weights, or of what made them; empty where nobody here has seen them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """What was audited, when, with what and by which rules."""

    started: str = ""
    """The day on which the run began, e.g. `2026-11-30`: two runs of one day give the same page."""
    bases: tuple[AuditedModel, ...] = ()
    checkpoints: tuple[AuditedModel, ...] = ()
    trained_here: bool = False
    """Whether the run itself tuned the checkpoints."""
    policy: str = ""
    margins: Mapping[str, float] = field(default_factory=dict)
    """Metric -> margin, of the gated ones."""
    judges: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    knows_people: bool = False
    """Whether the tuning data, and so personal values, were at hand: they are masked as far as the mask knows them."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Everything that a report shows. What is empty is left out of the page, never shown as zero."""

    title: str
    kind: Literal["demo", "audit", "study"]
    outcome: Outcome
    """Over the whole run: error > drift > unconfirmed > undecided > pass."""
    decisions: Sequence[Decision] = ()
    drifts: Sequence[Drift] = ()
    metrics: Sequence[Metric] = ()
    """In the order in which they are shown, except that gated ones come first."""
    cards: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    """Arm -> its data card. Text in it is masked."""
    proofs: Sequence[Proof] = ()
    judges: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    """Judge -> facts about it. `anchors`, where measured, is a list of mappings with the keys `axis, label,
    sensitivity, sensitivity_low, sensitivity_high, n_positive, specificity, specificity_low, specificity_high,
    n_negative`, and `admission`: why a judge that failed there may judge all the same, else empty; every other key is
    shown as it is."""
    flips: Sequence[Flip] = ()
    """Examples for the worse: a sample drawn over all training seeds."""
    flip_counts: Sequence[FlipCount] = ()
    """How many there are in all."""
    unjudged: UnjudgedAnswers | None = None
    """None where only the rows of single metrics are known."""
    categories: Sequence[CategoryRow] = ()
    contradictions: Sequence[Contradiction] = ()
    judge_differences: Sequence[JudgeDifference] = ()
    """Of each check that several judges read: the other judges beside the one that is decided by."""
    label_effects: Sequence[LabelEffect] = ()
    """What people's labels changed; none where nothing was labelled."""
    leaks: Sequence[LeakRow] = ()
    thoughts: Sequence[ThoughtRow] = ()
    """Models that write thoughts; none where none does."""
    mixed: Sequence[Mixed] = ()
    """Mixed-sign rates beside their expectation under no drift."""
    measures: Sequence[SubjectMeasure] = ()
    """Values that are no share of responses."""
    discrimination: Sequence[Discrimination] = ()
    """How far refusals tell harmful requests from harmless ones; none where no benchmark asks both."""
    undiscriminated: Sequence[str] = ()
    """Metrics of refusals of harmful requests, where no benchmark of the run asks harmless ones."""
    inside: Sequence[InsideRow] = ()
    """What analyses of activations gave."""
    forecasts: Sequence[ForecastRow] = ()
    """What is known of the tuning sets before tuning."""
    memorisation: Mapping[str, Json] = field(default_factory=dict)
    """Name of a checkpoint -> membership inference and exposure of canaries from scored texts."""
    tables: Sequence[StudySection] = ()
    """The closing tables of a study."""
    spreads: Sequence[Spread] = ()
    """Variance components of each recipe's drift."""
    bands: Sequence[Band] = ()
    """Simultaneous bands of the curves over epochs and temperatures."""
    contrast_names: Mapping[str, str] = field(default_factory=dict)
    """Formula of a contrast (`keep - placeholder`) -> what it measures (`PII in the data`)."""
    audited: Audited | None = None
    """None where no run stands behind the numbers."""
    methods: Mapping[str, Json] = field(default_factory=dict)
    """Group (versions, hardware, design, hashes) -> parameter -> value, as deep as it needs to be."""
    caveats: Sequence[str] = ()
    """What this report cannot show, one sentence each."""
    warnings: Sequence[str] = ()
    """Of the run as a whole; warnings of one number stand in its `Drift`."""
    mask: Callable[[str], str] = unmasked
    """Replaces personal values; applied to every text of a model, a user or a data set, before it is cut, and to no
    word of the project or the design."""
    mask_label: Callable[[str], str] = unmasked
    """The same for short names that data may have given, such as ids and categories of prompts: it makes no guesses."""
    link: str = "report.html"
    """Where the Markdown points for the full page: a relative path or an http(s) address."""


@dataclass(frozen=True, slots=True)
class Page:
    """One report in four shapes."""

    html: str
    """A self-contained document: loads nothing, and runs one script of its own (filter, sort, copy), which it does
    without where scripts are off."""
    markdown: str
    """Short, for a pull request."""
    json: str
    """Everything, for machines; the keys are documented in `reporting/json_report.py`."""
    junit: str
    """The decisions as JUnit XML, for CI systems."""
