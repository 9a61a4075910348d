"""Observations of a served model: how it treats temperature and seed in a few trials, and counts of its answers."""

from __future__ import annotations

import re
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
    repeats: bool | None
    """Whether temperature 0 gives the same text twice; None where it is not tried."""
    seed: bool | None
    """Whether a seed repeats a sampled text; None where no sample differs, so that nobody can tell."""
    greedy: tuple[str, ...]
    """The texts at temperature 0, which tell an adapter from its base; none where it is not tried."""
    top: bool
    """Whether log-probabilities of tokens were shown."""


def run_trials(ask: Ask, only: float | None = None) -> Trials:
    """Ask two prompts twice at temperature 0, and at 1 with the same seed and with others; then, if need be, at 1.5.

    10 to 14 requests of 24 tokens at most. Of a server that takes `only` one temperature, 6 at that one, or 4 where it
    is 0. Raises ServerError where one of them is not answered.
    """
    chats = [(Message("user", text),) for text in PROMPTS]
    cold = [(chat, 0.0, seed) for chat in chats for seed in (1, 2)] if not only else []
    hot = [(chat, only or 1.0, seed) for chat in chats for seed in (11, 11, 12)] if only != 0 else []
    completions = list(ask([*cold, *hot]))
    greedy, sampled = [c.text for c in completions[: len(cold)]], [c.text for c in completions[len(cold) :]]
    pairs = [(greedy[at], greedy[at + 1]) for at in range(0, len(greedy), 2)]
    threes = [sampled[at : at + 3] for at in range(0, len(sampled), 3)]
    varied = any(len(set(texts)) > 1 for texts in threes)
    if not varied and only is None:
        hotter = list(ask([(chat, 1.5, seed) for chat in chats for seed in (21, 22)]))
        varied = len({c.text for c in hotter[:2]}) > 1 or len({c.text for c in hotter[2:]}) > 1
    same = all(texts[0] == texts[1] for texts in threes)
    differ = any(texts[2] != texts[0] for texts in threes)
    return Trials(
        temperature=varied,
        repeats=all(a == b for a, b in pairs) if pairs else None,
        seed=None if same and not differ else same,
        greedy=tuple(a for a, _ in pairs),
        top=all(completion.top is not None for completion in completions if completion.ending != "filter"),
    )


_COUNTED = {
    "empty": "were empty",
    "length": "were cut at the length limit",
    "no finish_reason": "came without a finish_reason",
    "no log-probabilities": "came without log-probabilities",
    "tool beside text": "called a tool beside their text, which alone is judged",
    "other parts": "had parts that are no text, which are left out",
    "longer": "had a longer limit than was asked for, since the server takes none under least_tokens",
}


@dataclass
class Observations:
    """One served model: what the server declares of it, its trials, and counts of its answers."""

    declared: Mapping[str, str] = field(default_factory=dict)
    trials: Trials | None = None
    counts: Counter[str] = field(default_factory=Counter)
    finish: Counter[str] = field(default_factory=Counter)
    """Finish reason in the server's words -> answers."""
    fingerprints: Counter[str] = field(default_factory=Counter)
    as_base: bool = False
    """Whether it answered the trial prompts as its base did."""
    refused: Counter[str] = field(default_factory=Counter)
    """By what the server said that it refused -> how often."""
    cut: Counter[str] = field(default_factory=Counter)
    """The same of answers that a filter cut."""
    errors: Counter[str] = field(default_factory=Counter)
    """Why there is no answer -> how often."""

    def count(self, completion: Completion, logprobs: int, longer: bool = False) -> None:
        """Count an answer; `logprobs` is how many were asked for, `longer` whether it might be longer than asked."""
        silent = not completion.text.strip()
        self.finish[completion.finish or "(none)"] += 1
        self.counts["longer"] += longer
        if completion.ending in ("refusal", "filter"):
            self.refused[completion.how] += 1
            return
        if completion.ending == "filter_cut":
            self.cut[completion.how] += 1
        self.counts["length"] += completion.ending == "length"
        self.counts["no finish_reason"] += not completion.finish
        self.counts["tool beside text"] += completion.tools and not silent
        self.counts["other parts"] += bool(completion.left_out) and not silent
        self.counts["empty"] += not completion.text and not (completion.tools or completion.left_out)
        self.counts["no log-probabilities"] += bool(logprobs) and completion.top is None

    def fail(self, why: str) -> None:
        """Count an answer that is an error; numbers of requests do not make another error."""
        self.errors[re.sub(r"[0-9a-fA-F-]{12,}|\d{6,}", "...", why)] += 1

    def clear(self) -> None:
        """Count answers anew; what was found out about the model stays."""
        for counts in (self.counts, self.finish, self.refused, self.cut, self.errors):
            counts.clear()

    def warnings(self, only: float | None = None) -> list[str]:
        """Return what a reader should know of the model; `only`: the one temperature that the server takes."""
        warnings = []
        trials = self.trials
        if trials is not None and not trials.temperature and only is None:
            warnings.append("the server ignores the temperature: samples were all the same")
        if trials is not None and only is not None:
            unknown = ["whether the temperature is honoured"]
            if only > 0:
                unknown += [
                    "whether one prompt gives one text at temperature 0",
                    "whether the answers are others than the base's, so whether an adapter is applied",
                ]
                if not trials.temperature:
                    unknown.append("why samples with other seeds were all the same")
            told = f"the server takes temperature {only:g} only, so no other was tried. Unknown are: "
            warnings.append(told + "; ".join(unknown))
        if trials is not None and trials.repeats is False:
            warnings.append("temperature 0 gave two texts for one prompt: part of any change is the server's noise")
        if self.as_base:
            warnings.append("answered the trial prompts word for word as the base: is the adapter applied?")
        if len(self.fingerprints) > 1:
            warnings.append(f"the server's fingerprint changed: {', '.join(sorted(self.fingerprints))[:200]}")
        return warnings

    def remarks(self) -> list[str]:
        """Return what a reader should know of the answers."""
        remarks = []
        if self.refused:
            remarks.append(
                f"{self.refused.total()} answers are the server's own refusals, each a full refusal by every judge of "
                f"refusal: {_listed(self.refused)}"
            )
        if self.cut:
            remarks.append(
                f"{self.cut.total()} answers were cut by the server's content filter; what was said until then is "
                f"judged: {_listed(self.cut)}"
            )
        if self.errors:
            remarks.append(f"{self.errors.total()} answers are errors, so unjudged: {_listed(self.errors)}")
        return remarks + [f"{self.counts[key]} answers {words}" for key, words in _COUNTED.items() if self.counts[key]]

    def report(
        self,
        name: str,
        ledger: Ledger,
        seeds: bool,
        only: float | None = None,
        weights: str = "unknown: a served model",
    ) -> dict[str, Json]:
        """Return everything as JSON values; `seeds` says whether requests carry one; `only` as in `warnings`."""
        trials = self.trials
        seed = trials.seed if trials is not None and seeds else None
        unknown = trials is None or only is not None
        return {
            "weights": weights,
            "declared": dict(self.declared),
            "temperature": "unknown" if unknown else "honoured" if trials and trials.temperature else "ignored",
            "seed": {None: "unknown", True: "honoured in the trials", False: "not honoured"}[seed],
            "finish": dict(sorted(self.finish.items())),
            "refused": dict(sorted(self.refused.items())),
            "cut_by_filter": dict(sorted(self.cut.items())),
            "requests": ledger.requests,
            "tried_again": dict(sorted(ledger.retries.items())),
            "prompt_tokens": ledger.prompt_tokens,
            "new_tokens": ledger.new_tokens,
            "most_at_once": ledger.most_at_once,
            "warnings": [f"{name}: {warning}" for warning in self.warnings(only)],
            "remarks": list(self.remarks()),
        }


def _listed(counts: Counter[str]) -> str:
    """Return the five most frequent with their counts, each cut."""
    return ", ".join(f"{how[:160]} ({count})" for how, count in counts.most_common(5))
