"""Observations of a served model: how it treats temperature and seed in a few trials, and counts of its answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from aftertune.asking.backends._client import Ledger
from aftertune.asking.backends._completions import Completion
from aftertune.records import Json, Message

PROMPTS = (
    "Write ten unusual words that have nothing to do with each other.",
    "Make up a first name, a number between 1 and 1000, and a colour.",
)
"""Sampled answers to them are practically never the same twice."""
LENGTH = 24
"""Tokens of a trial answer, at most."""

Ask = Callable[[Sequence[tuple[Sequence[Message], float, int]]], Sequence[Completion]]
"""(Chat, temperature, seed) of each request -> completions in the same order."""


@dataclass(frozen=True, slots=True)
class Trials:
    """The results of the trial requests."""

    temperature: bool
    """Whether samples differ where they must."""
    repeats: bool
    """Whether temperature 0 gives the same text twice."""
    seed: bool | None
    """Whether a seed repeats a sampled text; None where no sample differs, so that nobody can tell."""
    greedy: tuple[str, ...]
    """The texts at temperature 0, which tell an adapter from its base."""
    top: bool
    """Whether log-probabilities of tokens were shown."""


def run_trials(ask: Ask) -> Trials:
    """Ask two prompts twice at temperature 0, and at 1 with the same seed and with others; then, if need be, at 1.5.

    10 to 14 requests of 24 tokens at most. Raises ServerError where one of them is not answered.
    """
    chats = [(Message("user", text),) for text in PROMPTS]
    requests = [(chat, 0.0, seed) for chat in chats for seed in (1, 2)]
    requests += [(chat, 1.0, seed) for chat in chats for seed in (11, 11, 12)]
    completions = list(ask(requests))
    greedy, sampled = [c.text for c in completions[:4]], [c.text for c in completions[4:]]
    pairs = [(greedy[0], greedy[1]), (greedy[2], greedy[3])]
    threes = [sampled[:3], sampled[3:]]
    varied = any(len(set(texts)) > 1 for texts in threes)
    if not varied:
        hotter = list(ask([(chat, 1.5, seed) for chat in chats for seed in (21, 22)]))
        varied = len({c.text for c in hotter[:2]}) > 1 or len({c.text for c in hotter[2:]}) > 1
    same = all(texts[0] == texts[1] for texts in threes)
    differ = any(texts[2] != texts[0] for texts in threes)
    return Trials(
        temperature=varied,
        repeats=all(a == b for a, b in pairs),
        seed=None if same and not differ else same,
        greedy=(pairs[0][0], pairs[1][0]),
        top=all(completion.top is not None for completion in completions),
    )


_COUNTED = {
    "empty": "were empty",
    "finish length": "were cut at the length limit",
    "finish (none)": "came without a finish_reason",
    "no log-probabilities": "came without log-probabilities",
}


@dataclass
class Observations:
    """One served model: what the server declares of it, its trials, and counts of its answers."""

    declared: Mapping[str, str] = field(default_factory=dict)
    trials: Trials | None = None
    counts: Counter[str] = field(default_factory=Counter)
    fingerprints: Counter[str] = field(default_factory=Counter)
    as_base: bool = False
    """Whether it answered the trial prompts as its base did."""

    def count(self, completion: Completion, logprobs: int) -> None:
        """Count an answer; `logprobs` is how many were asked for."""
        self.counts[f"finish {completion.finish or '(none)'}"] += 1
        self.counts["empty"] += not completion.text
        self.counts["no log-probabilities"] += bool(logprobs) and completion.top is None

    def warnings(self) -> list[str]:
        """Return what a reader of the report should know."""
        warnings = []
        if self.trials is not None and not self.trials.temperature:
            warnings.append("the server ignores the temperature: samples were all the same")
        if self.trials is not None and not self.trials.repeats:
            warnings.append("temperature 0 gave two texts for one prompt: part of any change is the server's noise")
        if self.as_base:
            warnings.append("answered the trial prompts word for word as the base: is the adapter applied?")
        if len(self.fingerprints) > 1:
            warnings.append(f"the server's fingerprint changed: {', '.join(sorted(self.fingerprints))[:200]}")
        return warnings + [f"{self.counts[key]} answers {words}" for key, words in _COUNTED.items() if self.counts[key]]

    def report(self, name: str, ledger: Ledger, seeds: bool) -> dict[str, Json]:
        """Return everything as JSON values; `seeds` says whether requests carry one."""
        trials = self.trials
        seed = trials.seed if trials is not None and seeds else None
        finish = {key.removeprefix("finish "): n for key, n in self.counts.items() if key.startswith("finish ")}
        return {
            "weights": "unknown: a served model",
            "declared": dict(self.declared),
            "temperature": "unknown" if trials is None else "honoured" if trials.temperature else "ignored",
            "seed": {None: "unknown", True: "honoured in the trials", False: "not honoured"}[seed],
            "finish": dict(sorted(finish.items())),
            "requests": ledger.requests,
            "tried_again": dict(sorted(ledger.retries.items())),
            "prompt_tokens": ledger.prompt_tokens,
            "new_tokens": ledger.new_tokens,
            "most_at_once": ledger.most_at_once,
            "warnings": [f"{name}: {warning}" for warning in self.warnings()],
        }
