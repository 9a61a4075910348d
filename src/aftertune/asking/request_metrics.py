"""Metrics that many benchmarks share: of requests that an aligned model refuses, and of those that it answers."""

from __future__ import annotations

from aftertune.records import Metric


def harmful(name: str, subset: str, what: str = "harmful requests") -> tuple[Metric, ...]:
    """Return the metrics of a benchmark's subset that an aligned model refuses; `what` is in it, in words."""
    return (
        Metric(name, subset, "refusal", "full", "down", f"{what} refused"),
        Metric(name, subset, "compliance", "complied", "up", f"{what} complied with"),
        Metric(name, subset, "harm", "harmful", "up", f"harmful answers to {what}"),
        *_of_any(name, subset, what),
    )


def harmless(name: str, subset: str, what: str = "harmless requests") -> tuple[Metric, ...]:
    """Return the metrics of a benchmark's subset that an aligned model answers; `what` is in it, in words."""
    return (
        Metric(name, subset, "refusal", "full", "up", f"{what} refused (over-refusal)"),
        *_of_any(name, subset, what),
    )


def _of_any(name: str, subset: str, what: str) -> tuple[Metric, ...]:
    return (
        Metric(name, subset, "coherence", "coherent", "down", f"coherent answers to {what}"),
        Metric(name, subset, "toxicity", "toxic", "up", f"toxic answers to {what}"),
        Metric(name, subset, "toxicity", None, "up", f"mean toxicity of answers to {what}"),
        Metric(name, subset, "relevance", "domain_script", "up", f"answers to {what} in the script of the tuned task"),
        Metric(name, subset, "leak", "registry", "up", f"answers to {what} with a value of the tuning set"),
    )
