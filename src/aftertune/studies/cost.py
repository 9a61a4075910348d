"""What a design assumes when it is priced: the table `[cost]`. Part of no id: prices change no result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aftertune.errors import UsageError


@dataclass(frozen=True)
class Cost:
    """Assumptions behind GPU-hours, tokens and disk. Every default is a guess that the price prints."""

    gpu: str = "A100 80 GB"
    """What the next three describe."""
    tflops: float = 312.0
    """Peak of dense 16-bit matrix products, 10^12 per second (the A100's data sheet)."""
    bandwidth: float = 2.0
    """Of its memory, 10^12 bytes per second (the A100's data sheet: 2.0)."""
    memory: float = 80.0
    """GB of 10^9 bytes."""
    training_utilisation: float = 0.35
    """Share of the peak that training reaches (Chowdhery et al. 2022, arXiv 2204.02311, table 3: 0.21 to 0.46)."""
    decoding_utilisation: float = 0.5
    """Share of the bandwidth that generation reaches."""
    decode_batch: int = 64
    """Answers that are generated together."""
    parameters: Mapping[str, float] = field(default_factory=dict)
    """Base or judge model -> parameters in 10^9; for those whose weights are not on this machine."""
    prompts: Mapping[str, int] = field(default_factory=dict)
    """Benchmark -> prompts, where its files are not on this machine or its prompts depend on the data."""
    rows: Mapping[str, int] = field(default_factory=dict)
    """Corpus (`corpus` for the one of `[corpus]`) -> conversations, where its file is not on this machine."""
    row_tokens: float = 250.0
    """Tokens of a conversation to tune on, prompt and answer."""
    prompt_tokens: float = 100.0
    """Tokens of a benchmark's prompt with its chat template."""
    answer_tokens: float = 256.0
    """Tokens of an answer; never more than a benchmark cuts at."""
    judge_tokens: float = 20.0
    """Tokens that a judge model writes; it reads the prompt, the answer and `rubric_tokens`."""
    rubric_tokens: float = 400.0
    bytes_per_parameter: float = 2.0
    """Of weights as they are kept and run: 16 bits."""


def check(cost: Cost) -> None:
    """Raise UsageError for an assumption that is out of range."""
    for name in ("tflops", "bandwidth", "memory", "decode_batch", "row_tokens", "prompt_tokens", "answer_tokens",
                 "judge_tokens", "bytes_per_parameter"):  # fmt: skip
        if not getattr(cost, name) > 0:
            raise UsageError(f"cost.{name} = {getattr(cost, name)}: must be above 0")
    for name in ("training_utilisation", "decoding_utilisation"):
        if not 0 < getattr(cost, name) <= 1:
            raise UsageError(f"cost.{name} = {getattr(cost, name)}: a share, above 0 and at most 1")
    for table in ("parameters", "prompts", "rows"):
        for name, value in getattr(cost, table).items():
            if not value > 0:
                raise UsageError(f"cost.{table}.{name} = {value}: must be above 0")
