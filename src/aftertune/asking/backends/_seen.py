"""What was noticed of a served model while it was asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from aftertune.asking.backends._pace import Ledger
from aftertune.asking.backends._probe import Probed
from aftertune.asking.backends._replies import Completion
from aftertune.records import Json

_NOTED = {
    "empty": "were empty",
    "finish length": "were cut at the length limit",
    "finish (none)": "came without a finish_reason",
    "no log-probabilities": "came without log-probabilities",
}


@dataclass
class Seen:
    """One model's answers, counted."""

    declared: Mapping[str, str] = field(default_factory=dict)
    probed: Probed | None = None
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
        found = []
        if self.probed is not None and not self.probed.temperature:
            found.append("the server ignores the temperature: samples were all the same")
        if self.probed is not None and not self.probed.repeats:
            found.append("temperature 0 gave two texts for one prompt: part of any change is the server's noise")
        if self.as_base:
            found.append("answered the trial prompts word for word as the base: is the adapter applied?")
        if len(self.fingerprints) > 1:
            found.append(f"the server's fingerprint changed: {', '.join(sorted(self.fingerprints))[:200]}")
        return found + [f"{self.counts[key]} answers {words}" for key, words in _NOTED.items() if self.counts[key]]

    def report(self, name: str, ledger: Ledger, seeds: bool) -> dict[str, Json]:
        """Return all of it as JSON values; `seeds` says whether requests carry one."""
        probed = self.probed
        seed = probed.seed if probed is not None and seeds else None
        finish = {key.removeprefix("finish "): n for key, n in self.counts.items() if key.startswith("finish ")}
        return {
            "weights": "unknown: a served model",
            "declared": dict(self.declared),
            "temperature": "unknown" if probed is None else "honoured" if probed.temperature else "ignored",
            "seed": {None: "unknown", True: "honoured in the trials", False: "not honoured"}[seed],
            "finish": dict(sorted(finish.items())),
            "requests": ledger.requests,
            "tried_again": dict(sorted(ledger.again.items())),
            "prompt_tokens": ledger.prompt_tokens,
            "new_tokens": ledger.new_tokens,
            "most_at_once": ledger.most_at_once,
            "warnings": [f"{name}: {warning}" for warning in self.warnings()],
        }
