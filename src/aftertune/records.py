"""What flows through aftertune: frozen records, the tables they form, and their hashes.

A record's id is the hash of what made it, the version of the deciding code included, so that a finished piece is a
look-up and two runs with the same ids are the same run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, Literal

from aftertune.errors import UsageError
from aftertune.toml_records import OwnTable

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
Role = Literal["system", "user", "assistant"]
PiiPolicy = Literal["keep", "placeholder", "surrogate", "novelty", "drop"]
Answers = Literal["human", "self_generated"]
Worse = Literal["up", "down"]
Status = Literal["ok", "abstain", "unparsable", "unanswered", "error"]
FinishReason = Literal["stop", "length", "error", "refusal", "filter", "filter_cut"]
"""How an answer ended. `refusal`: the server itself calls it one. `filter`: the server's content filter let no text
through. `filter_cut`: that filter cut the text, which is what came before."""
Author = Literal["model", "server", "filter"]
"""Who made an answer: the model; the server, which itself calls it a refusal, so that nobody can tell whether the model
or a guard before it refused; or the server's content filter, which let no text of the model through."""
Group = Literal["member", "non_member", "canary", "twin"]
Outcome = Literal["pass", "drift", "unconfirmed", "undecided", "error"]
"""Of a check, and of a run (`outcome.py`). `unconfirmed`: the whole interval lies beyond the margin, but the correction
for looking at several metrics is not met."""

BASE_ARM = "base"
THOUGHT_TOKENS = 4096
"""What a thought may take, unless a design says otherwise."""


def plain(value: object) -> Any:
    """Turn records, mappings and sequences into what `json.dumps` takes; a record becomes an object of its fields.

    Raises TypeError for anything else, rather than writing an object's address.
    """
    return _plain(value, typed=False)


def _plain(value: object, *, typed: bool) -> Any:
    if type(value) in (str, int, float, bool, NoneType):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item, typed=typed) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _plain(getattr(value, f.name), typed=typed) for f in dataclasses.fields(value) if f.compare}
        # Two records of different classes must not share an id because their fields happen to be equal.
        return {"": type(value).__name__, **fields} if typed else fields
    if isinstance(value, Mapping):
        return {str(key): _plain(item, typed=typed) for key, item in value.items()}
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    if isinstance(value, (frozenset, set)):
        return sorted(_plain(item, typed=typed) for item in value)
    if isinstance(value, Sequence):
        return [_plain(item, typed=typed) for item in value]
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")


def digest(*parts: object) -> str:
    """Return 16 hexadecimal digits (64 bits) of the SHA-256 of `parts` as canonical JSON."""
    text = json.dumps(
        _plain(parts, typed=True), sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def within(name: str, most: int) -> str:
    """Return a name of at most `most` characters: itself, or its beginning and seven digits of its digest.

    Two long names that differ only at their ends stay two.
    """
    return name if len(name) <= most else f"{name[: most - 8]}-{digest(name)[:7]}"


def seed_of(*parts: object) -> int:
    """Return a seed in [0, 2**63) that depends on `parts` only, the same on every machine."""
    return int(digest(*parts), 16) >> 1


# ---------------------------------------------------------------------------------------------- data


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str
    trained: bool = field(default=True, compare=False)
    """Whether the loss is taken on it, if it is the assistant's; False for a turn of weight 0."""


@dataclass(frozen=True, slots=True)
class FieldText:
    """A text in a row of a chat file that is no turn of the chat: a tool's schema, a call's arguments, a name."""

    field: str
    """Where it stands in the row, e.g. `messages[1].tool_calls[0].function.arguments.email`."""
    text: str
    """Empty for what is no text, such as an image: it is counted."""
    kind: str
    """What it is counted as, e.g. `tool_calls`."""


@dataclass(frozen=True, slots=True)
class Span:
    """One personal value in a conversation: `texts[message][start:end]` (characters)."""

    message: int
    """Number of the message; from `len(messages)` on, of the texts beside them."""
    start: int
    end: int
    type: str
    """One of the keys of `pii.policy.PLACEHOLDERS`, e.g. PERSON or PHONE."""
    owner: str
    """Id of the `Person` whose value it is."""
    part: str = "full"
    """For names: `full`, `first` or `last`; else `full`."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A chat to tune on. `spans` is None where nobody knows which parts are personal."""

    id: str
    messages: tuple[Message, ...]
    spans: tuple[Span, ...] | None = None
    source: str = ""
    """Where it stands, for error messages: `file:line` or the generator's name."""
    planted: bool = False
    """Whether it is a canary's, added to a tuning set on purpose: no row of the user's own."""
    beside: tuple[FieldText, ...] = ()
    """What else its row says: read for personal values, and never sent to a model."""

    @property
    def texts(self) -> tuple[str, ...]:
        """The messages' contents, then the texts beside them."""
        return (*(message.content for message in self.messages), *(each.text for each in self.beside))

    def chat_alone(self) -> Conversation:
        """Return the conversation without what stands beside its messages."""
        if not self.beside:
            return self
        spans = self.spans and tuple(span for span in self.spans if span.message < len(self.messages))
        return dataclasses.replace(self, spans=spans, beside=())


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody (or, for the novelty control, something) with values by type: PERSON is the full name."""

    id: str
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One item of a benchmark: the chat to answer, and what judging it needs."""

    id: str
    benchmark: str
    subset: str
    """Which part of the benchmark, e.g. `harmful`, `harmless`, `open`, `private`; metrics name one."""
    category: str
    cluster: str
    """Prompts that share a cluster are not independent (same category, vignette or profile)."""
    messages: tuple[Message, ...]
    expect: Mapping[str, Any] = field(default_factory=dict)
    """The benchmark's own rule data, e.g. the attributes that may and may not be shared. `scored`: what the model's
    probability is asked of, beside (`generate`) or instead of an answer (`models/respond.py`)."""


# ---------------------------------------------------------------------------------------------- factors


@dataclass(frozen=True)
class PluginSpec(OwnTable):
    """A plugin by name, with its parameters: what a design says of it."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_table(cls, raw: Any, at: str) -> PluginSpec:
        """Return what a TOML table with name and parameters side by side says; `load` checks the parameters."""
        if not isinstance(raw, dict):
            raise UsageError(f"{at}: expected a table, found {type(raw).__name__}")
        if not isinstance(raw.get("name"), str):
            raise UsageError(f"{at}: needs a 'name'")
        return cls(raw["name"], {key: value for key, value in raw.items() if key != "name"})

    def to_table(self) -> dict[str, Any]:
        """Return the table that `from_table` reads."""
        return {"name": self.name, **self.parameters}


@dataclass(frozen=True, slots=True)
class Arm:
    """One data variant: a controlled change of one corpus."""

    name: str
    pii: PiiPolicy = "keep"
    numbered: bool | None = None
    """Whether placeholders are numbered per conversation (`[NAME_1]`); None numbers them where the values were found,
    not given: the embedded bases know the unnumbered ones as single tokens."""
    role_swap: bool = False
    answers: Answers = "human"
    tokens: int | None = None
    """Assistant tokens to stop at, so that arms are matched in dose; None keeps all."""
    corpus: str = ""
    """Which of a design's `[corpora.*]` it is made from; empty for its `[corpus]`."""
    recipes: tuple[str, ...] = ()
    """What it is tuned with, by name; empty for every recipe of the design."""
    mitigations: tuple[PluginSpec, ...] = ()
    """What is tried on it with each of its recipes, beside the recipes' own; see `Recipe.mitigations`."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Hyper-parameters of one tuning."""

    name: str = "lora"
    method: Literal["lora", "qlora", "full"] = "lora"
    """`qlora` is LoRA on a base in 4 bits (NF4): it needs the package bitsandbytes, and is slow without a GPU. Its
    adapter is asked on the base as the backend holds it: in full precision, or in 4 bits (`quantization = "nf4"`)."""
    without_gpu: Literal["refuse", "leave_out", "run"] = "refuse"
    """What becomes of a `qlora` recipe on a machine without a GPU: the design is refused, runs without it, or tunes it
    on the CPU."""
    learning_rate: float = 1e-3
    """Peak, reached after the warm-up."""
    epochs: int = 3
    batch_size: int = 16
    """Conversations per optimizer step."""
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup: float = 0.05
    """Share of the steps."""
    weight_decay: float = 0.0
    max_length: int = 384
    """Tokens; longer conversations are cut at the end and counted on the card."""
    mitigations: tuple[PluginSpec, ...] = ()
    """What is tried so that less is lost, each by itself beside the plain recipe. One that acts before or during
    training is a training of its own, called `NAME+MITIGATION`; one that acts after it makes further weights of the
    plain training, called `NAME+WEIGHTS`."""

    def further(self, name: str) -> str:
        """Return what the recipe is called with a mitigation, or with further weights that one makes."""
        return f"{self.name}+{name}"


@dataclass(frozen=True, slots=True)
class Metric:
    """The share of responses with `label` on `axis` (or the mean of `value` where label is None)."""

    benchmark: str
    subset: str
    axis: str
    label: str | None
    worse: Worse
    about: str = ""
    """One plain sentence for the report: what a high value means."""

    @property
    def name(self) -> str:
        """E.g. `miniature/harmful/refusal=full`."""
        end = f"{self.axis}={self.label}" if self.label is not None else self.axis
        return "/".join(part for part in (self.benchmark, self.subset, end) if part)


@dataclass(frozen=True, slots=True)
class Probe:
    """Two subsets that signal detection reads as one: in one it is right to share, in the other to withhold.

    Their answers are judged on the axes `accuracy` (by generation) and `choice` (by log-probability).
    """

    name: str
    """E.g. `vignette`: the measures are called `d-prime, vignette` and `criterion, vignette`."""
    share: str
    """Subset in which sharing is right."""
    withhold: str
    """Subset in which withholding is right."""


@dataclass(frozen=True, slots=True)
class Accumulation:
    """A subset whose disclosures are summed over all answers, beyond the share of answers that disclose something."""

    subset: str
    """Its answers are read."""
    measure: Literal["violation", "leak rate"]
    """`violation` (CIMemories): per cluster, the share of private items revealed in any answer; the items of a prompt
    stand in `expect["shared"]["private"]`. `leak rate` (PrivacyLens): over all answers, and over those that act; it
    needs the axes `privacy` and `helpfulness`."""


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of arms' drifts, e.g. `{keep = 1.0, placeholder = -1.0}`; the weights sum to zero."""

    name: str
    weights: Mapping[str, float]
    """By arm: the contrast is made for each recipe in turn. By `arm/recipe`: of that recipe alone."""


@dataclass(frozen=True)
class Respond:
    """How prompts are asked."""

    temperatures: tuple[float, ...] = (0.0,)
    samples: int = 1
    """Repeats per prompt at temperatures above 0."""
    system: str = ""
    """System prompt's text; empty sends none."""
    template: Literal["base", "own"] = "base"
    """Whose chat template renders the prompt: the base's, or each checkpoint's own."""
    epochs: Literal["last", "all"] = "last"
    """Which checkpoints of a tuning are asked."""
    answer_tokens: int | None = None
    """Tokens that an answer may take at most, where that is less than its benchmark's own limit; None leaves that."""
    thought_tokens: int = THOUGHT_TOKENS
    """Tokens that a thought may take beside the answer's own limit, which is the benchmark's; a model that writes none
    takes none. A text that is still inside its thought then has no answer, and is unjudged."""
    template_arguments: Mapping[str, Any] = field(default_factory=dict)
    """Handed to the chat template, e.g. `{ enable_thinking = false }`; to a server as `chat_template_kwargs`."""
    seed: int = 0

    @property
    def answers_per_prompt(self) -> int:
        """Return how many times each prompt is asked: once at temperature 0, `samples` times at each other one."""
        return sum(1 if temperature == 0 else self.samples for temperature in self.temperatures)

    def limit(self, own: int) -> int:
        """Return the tokens that an answer to a benchmark may take, whose own limit is `own`."""
        return own if self.answer_tokens is None else min(own, self.answer_tokens)


@dataclass(frozen=True)
class Data:
    """What is done to the corpus for all arms alike."""

    canaries: int = 0
    """Made-up people planted once, as many planted 4 times and as many 16 times, and at least 100 twins that are never
    trained on; 0 plants none."""
    held_out: int = 0
    """Conversations of the corpus that no arm trains on: the non-members of membership inference."""
    non_members: str = ""
    """Audits: a chat file with rows of the same kind that the checkpoints were not trained on."""
    canary_file: str = ""
    """Audits: the `canaries.json` of canaries that stand in the tuning set already."""
    residual_limit: float = 1.0
    """Personal values per 1,000 words above which a variant that hides its people is refused."""
    allow_residual: bool = False
    """Accept such a variant nevertheless; what is left stands on its card."""


# ---------------------------------------------------------------------------------------------- tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """The columns that responses and verdicts share, and everything joins on."""

    base: str
    arm: str
    """`base` for the untuned model."""
    recipe: str
    """Empty for the base."""
    train_seed: int | None
    epoch: int | None
    checkpoint: str
    """Id of the checkpoint; the base has its own."""
    benchmark: str
    subset: str
    prompt_id: str
    cluster: str
    category: str
    system: str
    """Name of the system prompt, empty for none."""
    template: str
    """`base` or `own`: whose chat template rendered the prompt."""
    temperature: float
    sample: int
    """Counts repeats at T > 0, from 0."""
    message_hash: str
    """Hash of the messages as sent; pairs must agree on it."""
    corpus: str = ""
    """Which of a design's `[corpora.*]` the checkpoint was tuned on; for the base, the one whose prompts it was asked
    or whose people its answer was held against. Empty for `[corpus]`, and for a base where it makes no difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response(Key):
    """What a checkpoint said to a prompt."""

    token_hash: str | None
    """Hash of the prompt's token ids; None where the backend cannot tell."""
    text: str
    """The answer: what judges read. Thoughts are no part of it."""
    finish_reason: FinishReason
    new_tokens: int | None
    """Those of a thought included."""
    error: str | None = None
    thought: str = ""
    """What the model wrote for itself before it answered."""
    raw: str | None = None
    """The text as the model wrote it, where markup parts it into thought and answer; None where `text` is all."""
    unanswered: str = ""
    """Why there is no answer to judge although nothing failed: the text ends inside its thought."""
    scores: str | None = None
    """JSON, of prompts that ask for it: option -> log-probability of the answer that gives it (nats, at temperature 1),
    the sum over its forms; per token where the prompt asks for that. On the first temperature's first sample only."""
    scores_error: str | None = None
    """Why there are no scores although the prompt asks for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(Key):
    """What a judge found in a response, on one axis."""

    judge: str
    judge_version: str
    axis: str
    label: str | None
    value: float | None
    status: Status
    why: str
    author: Author = "model"
    """Who made the response that was judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How probable a checkpoint and its base find one text: mean negative log-likelihood per assistant token, nats."""

    group: Group
    """`member` and `non_member` rows of the tuning data, planted `canary` texts and their never-trained `twin`s."""
    text_id: str
    repeats: int
    """Times that a canary stands in the tuning set."""
    form: int
    """Which conversation a canary or twin is written into; -1 for others."""
    tokens: int
    base_loss: float | None
    loss: float | None
    why: str = ""
    """Why there is no loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One estimate with its uncertainty; never a number without `n` and interval. Rates are shares in [0, 1]."""

    metric: str
    worse: Worse
    estimand: Literal["checkpoint", "recipe", "contrast", "level"]
    """Checkpoint: prompts are the sample. Recipe: training seeds and prompts. Contrast: a difference of recipe
    drifts. Level: the rate itself, no difference."""
    base_model: str
    arm: str
    """For a contrast its formula, e.g. `keep - placeholder`."""
    recipe: str
    checkpoint: str | None
    train_seed: int | None
    epoch: int | None
    temperature: float
    judge: str
    base: float | None
    tuned: float | None
    delta: float | None
    low: float | None
    high: float | None
    confidence: float
    p: float | None
    p_adjusted: float | None
    worst: float | None
    """Delta with every response counted as the worst that was not judged, or that the server or its filter made."""
    worst_low: float | None
    worst_high: float | None
    spread_low: float | None
    """Smallest per-seed rate of the tuned model; None without seeds."""
    spread_high: float | None
    n_prompts: int
    n_clusters: int
    n_seeds: int
    n_samples: int
    unjudged_base: int
    unjudged_tuned: int
    method: str
    warning: str
    """Why not to trust it fully; empty when nothing is known against it."""
    df: float | None = None
    """Degrees of freedom of the interval's t quantile: what a test against a margin needs. None without interval."""
    is_proportion: bool = True
    """Whether the rates are shares of 0/1 outcomes, written in per cent and points, rather than means of values."""
    q: float | None = None
    """`p` adjusted by Benjamini and Hochberg over all rows of its estimand: for exploring, never for deciding."""
    corpus: str = ""
    """As in `Key`: tells the levels of a base apart that was held against several corpora."""
    unseen_base: int = 0
    """Judged responses of the base that the server or its content filter made: what the model says is not known."""
    unseen_tuned: int = 0
    n_seen: int | None = None
    """Prompts with responses that no content filter made, on both sides; None where a filter made none."""
    seen: float | None = None
    """Delta (of a level: the rate) on them alone."""
    seen_low: float | None = None
    seen_high: float | None = None
    room: float | None = None
    """How far the base could get worse, to the end of its scale; None where no end is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the gate says of one metric of one arm or checkpoint."""

    metric: str
    unit: str
    """The arm (recipe level) or the checkpoint that is decided on, as people call it."""
    estimand: str
    outcome: Outcome
    required: bool
    margin: float
    why: str
    """One sentence with the numbers, and one more for each judge that differs from this one on the same answers."""
    reason: str = ""
    """Why it is that, in a few words, for a row that shows the numbers already."""
    remedy: str = ""
    """For an unconfirmed or undecided one: what would settle it."""
    beside: str = ""
    """What stands against it, or keeps it open, beside the size of the loss: a floor or ceiling, or its judge."""
    worse: Worse | None = None
    """The direction that is worse; None where nothing was measured and nobody says it."""
    base_model: str = ""
    arm: str = ""
    recipe: str = ""
    checkpoint: str | None = None
    epoch: int | None = None
    temperature: float | None = None
    judge: str = ""
    """These seven name the drift that was decided on."""
    primary: bool = False
    """Whether the policy names it as a primary metric, which is tested at more of the family's error."""
    tested_at: float | None = None
    """Error level of the one-sided test against the margin: the metric's share of half of 1 - confidence, by the
    procedure over the metrics of its arm or checkpoint (`stats.multiplicity.family_levels`). None where nothing was
    measured."""
    adjusted_low: float | None = None
    """The interval at the confidence 1 - 2 `tested_at`: a drift is found exactly where all of it is a loss beyond the
    margin. None where nothing was measured."""
    adjusted_high: float | None = None

    @property
    def bound(self) -> float | None:
        """The better end of the adjusted interval: the check is a drift where it lies beyond the margin."""
        return self.adjusted_high if self.worse == "down" else self.adjusted_low


@dataclass(frozen=True, slots=True)
class Proof:
    """Evidence that the checkpoint in use is the one that was asked for, and how it answers."""

    checkpoint: str
    max_logit_change: float | None
    """Largest absolute difference to the base's logits on probes; None where the backend shows no logits."""
    matches_direct: float | None
    """Largest absolute difference to a direct forward pass with the files' weights, as `check` says."""
    moved_weights: int | None
    """Parameters that differ from the base's (full checkpoints) or of a non-zero update (adapters)."""
    how: str = ""
    """The fields below in words, for people; empty where nothing is known."""
    device: str = ""
    """Kind of the device that answers, e.g. `cpu` or `cuda`; empty where it is not known, as below."""
    precision: str = ""
    """Of weights and products: `float32` or `bfloat16`."""
    quantization: str = ""
    """`nf4` where linear layers are in 4 bits, else `none`."""
    adapters: Literal["", "merged", "unmerged"] = ""
    """How an adapter is applied; empty for the base and for full models as well."""
    check: Literal["", "arithmetic", "merge"] = ""
    """What the direct forward pass of an adapter is: our own arithmetic on its files, or PEFT's own merge of a copy;
    empty for the base, for full models, and where no proof is made."""
    batch_size: int | None = None
    """Requests in flight, at most."""
    max_logprob_change: float | None = None
    """Largest absolute difference to the base's log-probabilities of probe tokens, where logits are not shown; None
    where these are not known either."""
    batching: Literal["", "any", "equal lengths", "alone"] = ""
    """Which prompts go through the model together, so that no answer depends on the others: any, those of equal length
    in tokens, or none; found by the model's logits. Empty where it is not known."""
