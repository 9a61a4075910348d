"""Does aftertune alarm when it must, and only then? Five checks on the embedded model, end to end."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from aftertune import shipped_models
from aftertune.asking.benchmark import Benchmark, BenchmarkContext
from aftertune.deciding import drift, gate, policy
from aftertune.errors import JudgeError
from aftertune.judging import opinions as judging
from aftertune.judging.judge import Answer, Judge, JudgeContext
from aftertune.judging.trial import check
from aftertune.models import respond
from aftertune.models.session import Reply, Session
from aftertune.plugins import PluginSpec
from aftertune.public import public
from aftertune.records import BASE_ARM, Decision, Metric, Prompt, Proof, Verdict
from aftertune.run.tables import table
from aftertune.studies.resolve import load_backend, load_benchmark, load_judge

JUDGE = "world"
SMALL = 12
"""Prompts of each subset in the design that is too small to tell."""
BAD = 60
"""Those that the known-bad adapter is asked: it loses far more than a margin."""
WARM = {"privacy": 400}
"""Contextual privacy has ten clusters only: passing it at T = 0.7 takes more prompts than the benchmark's default."""


@dataclass(frozen=True)
class Check:
    """One thing that aftertune must do."""

    name: str
    expected: str
    got: str
    ok: bool
    why: str


@public("selftest")
def selftest(*, workers: int = 0, progress: Callable[[str, int, int], None] | None = None) -> list[Check]:
    """Run five checks on the embedded model (`aftertune selftest`) and return each: does aftertune decide as it should?

    Args:
        workers: Has no effect, since the checks run in one process.
        progress: Called with (what is being done, checks done, checks in all).

    Checks: base against itself passes; base against its re-sampled self at T = 0.7 passes; the known-bad adapter
    drifts; a design too small is undecided; a judge that always says the same is caught.
    """
    del workers
    tell = progress or (lambda *_: None)
    backend = load_backend(PluginSpec("transformers"))
    benchmark = load_benchmark(PluginSpec("miniature"))
    asked = {metric.subset for metric in _metrics(benchmark, load_judge(PluginSpec(JUDGE)))}
    prompts, more = (
        [prompt for prompt in each.prompts(BenchmarkContext()) if prompt.subset in asked]
        for each in (benchmark, load_benchmark(PluginSpec("miniature", WARM)))
    )
    checks: list[Check] = []
    with backend.open(str(shipped_models.folder())) as session:
        ask = functools.partial(_ask, session, benchmark)
        tell("the base answers", 0, 5)
        first, _ = ask(None, prompts)
        # Asked again in another order, so in other batches: the text must not depend on them.
        second, _ = ask(None, list(reversed(prompts)))
        checks.append(_check("base against itself", "pass", benchmark, prompts, first, second))
        tell("the base is sampled", 1, 5)
        warm, _ = ask(None, more, temperature=0.7, samples=2)
        halves = [{key: r for key, r in warm.items() if key[1] == index} for index in (0, 1)]
        again = {(key[0], 0): reply for key, reply in halves[1].items()}
        checks.append(_check("base against its re-sampled self at T = 0.7", "pass", benchmark, more, halves[0], again))
        tell("the known-bad adapter answers", 2, 5)
        some = _few(prompts, BAD)
        bad, proof = ask(shipped_models.known_bad(), some)
        assert proof is not None
        proof_text = f"applied: logits move by {proof.max_logit_change or 0:.2g}."
        checks.append(_check("known-bad adapter", "drift", benchmark, some, first, bad, also=proof_text))
        tell("a small design", 3, 5)
        few = _few(prompts, SMALL)
        checks.append(_check("a design too small to tell", "undecided", benchmark, few, first, second))
    tell("a blind judge", 4, 5)
    checks.append(_blind())
    tell("done", 5, 5)
    return checks


def _ask(
    session: Session, benchmark: Benchmark, checkpoint: Path | None, prompts: Sequence[Prompt],
    temperature: float = 0.0, samples: int = 1,
) -> tuple[dict[tuple[str, int], Reply], Proof]:  # fmt: skip
    proof = session.use(checkpoint)
    replies = respond.respond(
        session, prompts, checkpoint=checkpoint, checkpoint_id=checkpoint.name if checkpoint else BASE_ARM,
        temperatures=(temperature,), samples=samples, max_new_tokens=benchmark.max_new_tokens, seed=0, system=None,
        template="base",
    )  # fmt: skip
    return {(reply.prompt_id, reply.sample): reply for reply in replies}, proof


def _few(prompts: Sequence[Prompt], most: int) -> list[Prompt]:
    chosen: list[Prompt] = []
    for subset in dict.fromkeys(prompt.subset for prompt in prompts):
        chosen += [prompt for prompt in prompts if prompt.subset == subset][:most]
    return chosen


def _check(
    name: str, expected: str, benchmark: Benchmark, prompts: Sequence[Prompt],
    base: dict[tuple[str, int], Reply], tuned: dict[tuple[str, int], Reply], also: str = "",
) -> Check:  # fmt: skip
    metrics, decisions = decide(benchmark, prompts, base, tuned)
    outcome = gate.overall(decisions)
    deciding = next((d for d in decisions if d.outcome == outcome and d.required), None)
    why = deciding.why if deciding else f"{len(metrics)} metrics"
    return Check(name, expected, outcome, outcome == expected, f"{why} {also}".strip())


def _metrics(benchmark: Benchmark, instrument: Judge) -> list[Metric]:
    return [metric for metric in benchmark.metrics if metric.axis in instrument.axes]


def decide(
    benchmark: Benchmark, prompts: Sequence[Prompt], base: dict[tuple[str, int], Reply],
    tuned: dict[tuple[str, int], Reply],
) -> tuple[list[Metric], list[Decision]]:  # fmt: skip
    """Judge two sets of replies to the same prompts and gate the difference, as a run does."""
    instrument = load_judge(PluginSpec(JUDGE))
    metrics = _metrics(benchmark, instrument)
    rows = [
        *_verdicts(instrument, prompts, base, BASE_ARM),
        *_verdicts(instrument, prompts, tuned, "tuned"),
    ]
    drifts = drift.drift(table(Verdict, rows), metrics, seed=0)
    return metrics, gate.gate(drifts, policy.load("default"), metrics)


def _verdicts(
    instrument: Judge, prompts: Sequence[Prompt], replies: dict[tuple[str, int], Reply], arm: str
) -> Iterator[Verdict]:
    known = {prompt.id: prompt for prompt in prompts}
    keys = sorted(key for key in replies if key[0] in known)
    answered = [(known[id_], sample, replies[id_, sample]) for id_, sample in keys]
    answers = [Answer(prompt, reply.text, reply.finish_reason) for prompt, _, reply in answered]
    for (prompt, sample, reply), opinions in zip(
        answered, judging.opinions(instrument, answers, JudgeContext()), strict=True
    ):
        for opinion in opinions:
            yield Verdict(
                base="embedded", arm=arm, recipe="", train_seed=None, epoch=None, checkpoint=arm,
                benchmark=prompt.benchmark, subset=prompt.subset, prompt_id=prompt.id, cluster=prompt.cluster,
                category=prompt.category, system="", template="base", temperature=reply.temperature, sample=sample,
                message_hash=reply.message_hash, judge=JUDGE, judge_version=instrument.version,
                **{f.name: getattr(opinion, f.name) for f in dataclasses.fields(opinion)},
            )  # fmt: skip


def _blind() -> Check:
    name = "a judge that always says 'full refusal'"
    try:
        check(load_judge(PluginSpec("constant")))
    except JudgeError as error:
        return Check(name, "caught", "caught", True, str(error))
    return Check(name, "caught", "not caught", False, "it passed the anchors with known labels")
