"""How long a design takes on this machine, by a trial of some seconds: some prompts are asked of each base."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aftertune.asking import score_texts
from aftertune.asking.ask_job import AskJob
from aftertune.asking.benchmark import BenchmarkContext
from aftertune.asking.score_job import ScoreJob
from aftertune.errors import AftertuneError, ModelError, first_line
from aftertune.hardware import cores
from aftertune.models import respond
from aftertune.models.loaded import LOADED
from aftertune.models.session import Reply, Request, Session
from aftertune.pii import canaries
from aftertune.records import Data, Prompt, Respond
from aftertune.run.executors.local import visible_gpus
from aftertune.studies.study import Study
from aftertune.tuning.tune_job import TuneJob

SECONDS = 40.0
"""That a trial of one base may take, beside loading; one batch may take longer."""
SPEED = 0.75
"""Share of these that telling the speed may take; the rest tells how long answers are."""
ROWS, TOKENS, GROWTH = 64, 4, 6
"""Most prompts in a batch; new tokens of the first; how much larger the next batch is, or longer the next answers."""
LARGEST = 4_000_000_000
"""Parameters above which loading a base takes longer than a trial should, without a GPU."""
BACKWARD = {"full": 4.5, "lora": 3.5, "qlora": 3.5}
"""Seconds of tuning on a token over those of reading it. By FLOPs it is 6 N and 4 N to 2 N (`studies.budget`). Measured
with LoRA on a model of 135 million parameters it is more: the loss needs the output layer at every trained token, which
reading a prompt computes once, and the optimizer, the padding of batches and the proof of the first step come on top;
for full tuning the same is assumed."""
CHARACTERS = 4
"""In a token of English text."""


@dataclass(frozen=True)
class BaseTrial:
    """What was measured of one base."""

    base: str
    prompts: int
    """In the largest batch that was tried."""
    tokens: int
    """Written in it."""
    seconds: float
    read_seconds: float
    """For a prompt."""
    token_seconds: float
    """For a new token of one answer among those that are written together."""
    answer_tokens: float
    """Expected of an answer: by those that ended, at most the limit."""
    answers: int
    """That were asked for to see how long they are."""
    ended: int
    """Of these, those that came to their end; where none did, an answer is taken to be as long as it may be."""
    prompt_tokens: float


@dataclass(frozen=True)
class Trial:
    """Minutes that a design takes here, with as many processes as there are."""

    processes: int
    answering_minutes: float
    tuning_minutes: float
    """Estimated from the seconds of reading a token; 0 where nothing is tuned."""
    scoring_minutes: float
    """Of held-out rows, canaries and twins, estimated likewise; 0 where none are scored."""
    bases: tuple[BaseTrial, ...]


def try_out(study: Study) -> tuple[Trial | None, tuple[str, ...]]:
    """Return how long a study takes here, and what that leaves out and why. Nothing is fetched or written.

    A backend that asks a server is not tried: its answers may cost money; nor is one that starts a server.
    """
    design = study.design
    judges = [judge.name for judge in study.judges if judge.get().model]
    left_out = [f"judges that ask a model ({', '.join(judges)})"] if judges else []
    backend = study.backend.get()
    if backend.asks_server:
        return None, (f"answers: backend '{design.backend.name}' asks a server, which may cost money", *left_out)
    if backend.starts_server:
        return None, (f"answers: backend '{design.backend.name}' would start a server, which takes minutes", *left_out)
    gpus = visible_gpus()
    by_benchmark: dict[str, list[Prompt]] = {}
    for benchmark in study.benchmarks:
        if benchmark.needs:
            left_out.append(f"{benchmark.name}: its prompts depend on the data")
        else:
            by_benchmark[benchmark.name] = list(benchmark.get().prompts(BenchmarkContext()))
    limits = {benchmark.name: design.respond.limit(benchmark.max_new_tokens) for benchmark in study.benchmarks}
    prompts = [
        (dataclasses.replace(prompt, id=f"{name}/{prompt.id}"), limits[name])
        for name, own in by_benchmark.items()
        for prompt in own
        if respond.generates(prompt)
    ]
    if not prompts:
        return None, ("answers: no benchmark has prompts to answer that are known from here", *left_out)
    processes = max(1, min(len(gpus) or cores(), len(study.subjects)))
    measured: dict[str, BaseTrial] = {}
    for base in study.bases:
        if base.parameters > LARGEST and not gpus:
            left_out.append(f"{base.name}: loading it alone would take longer than a trial")
            continue
        try:
            session = LOADED.session(backend, base)
            with _threads(0 if gpus else max(1, cores() // processes)):
                measured[base.name] = _measured(session, base.name, prompts, design.respond)
        except AftertuneError as error:
            left_out.append(f"{base.name}: {first_line(error)}")
        finally:
            LOADED.unload()
    if not measured:
        return None, tuple(left_out)
    per_prompt = design.respond.answers_per_prompt
    answering = tuning = 0.0
    for subject in study.subjects:
        one = measured.get(subject.base.name)
        if one is None:
            continue
        for name, own in by_benchmark.items():
            answered = sum(respond.generates(prompt) for prompt in own)
            length = min(one.answer_tokens, limits[name])
            answering += answered * per_prompt * (one.read_seconds + length * one.token_seconds)
            answering += (len(own) - answered) * one.read_seconds
    for asked in study.jobs:  # what bases are asked for answers of their own, once and at temperature 0
        if isinstance(asked, AskJob) and asked.id in study.own and asked.subject.base.name in measured:
            one = measured[asked.subject.base.name]
            length = min(one.answer_tokens, design.respond.limit(asked.benchmark.max_new_tokens))
            count = len(asked.benchmark.get().prompts(BenchmarkContext()))
            answering += count * (one.read_seconds + length * one.token_seconds)
    mean = sum(len(turn.content) for prompt, _ in prompts for turn in prompt.messages) / len(prompts) / CHARACTERS
    rows: dict[str, list[float]] = {}
    if study.of(TuneJob):
        for corpus in study.corpora:
            chats = corpus.get().conversations()
            rows[corpus.name] = [sum(len(turn.content) for turn in chat.messages) / CHARACTERS for chat in chats]
    scored = {job.arm for job in study.of(ScoreJob)}
    by_base: set[tuple[str, str]] = set()
    scoring = 0.0
    for job in study.of(TuneJob):
        one, lengths = measured.get(job.base.name), rows.get(job.arm.corpus)
        if one is None or not lengths:
            continue
        read = one.read_seconds / max(one.prompt_tokens, 1.0)
        row = sum(lengths) / len(lengths) + max(0.0, one.prompt_tokens - mean)  # what the chat template adds
        planted = sum(canaries.REPEATS) * design.data.canaries
        trained = max(len(lengths) - design.data.held_out, 0) + planted
        tuning += trained * row * job.trained.epochs * read * BACKWARD[job.recipe.method]
        if job.arm.name in scored:
            times = 1 if (job.base.name, job.arm.name) in by_base else 2  # by the base once, and by each checkpoint
            by_base.add((job.base.name, job.arm.name))
            scoring += times * _scored(len(lengths), design.data) * row * read
    answering, tuning, scoring = (each / processes / 60 for each in (answering, tuning, scoring))
    return Trial(processes, answering, tuning, scoring, tuple(measured.values())), tuple(left_out)


def _scored(rows: int, data: Data) -> int:
    """Return how many texts are scored of a checkpoint: rows of its tuning set, held-out ones, canaries and twins."""
    members = min(max(rows - data.held_out, 0), score_texts.MOST) if data.held_out else 0
    planted = data.canaries * len(canaries.REPEATS)
    twins = canaries.people_needed(data.canaries) - planted if planted else 0
    return members + min(data.held_out, score_texts.MOST) + planted + twins * canaries.FORMS


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let PyTorch have as many threads as a process of a run has; 0 leaves them as they are."""
    import torch

    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _measured(session: Session, base: str, prompts: Sequence[tuple[Prompt, int]], settings: Respond) -> BaseTrial:
    """Ask one prompt, a few and a batch as large as a run has for a few tokens, which tells the speed, then a few for
    ever longer answers, which tells how long answers are: each while the next fits into `SECONDS`.

    Raises ModelError where no prompt of a batch is answered.
    """
    session.use(None)
    began = time.monotonic()
    longest = max(limit for _, limit in prompts)
    rows, tokens = 1, min(TOKENS, longest)
    while True:
        batch = _spread(prompts, rows)
        reading, first = _ask(session, batch, 1, settings)
        seconds, replies = _ask(session, batch, tokens, settings)
        more = min(GROWTH * rows, len(prompts))
        if rows > 1 or more == rows or time.monotonic() - began + more / rows * (reading + seconds) > SECONDS / 2:
            break
        rows = more
    in_batch, known = len(replies), [reply.prompt_tokens for reply in replies if reply.prompt_tokens is not None]
    written, at_first = (sum(reply.new_tokens or 0 for reply in each) for each in (replies, first))
    read_seconds, writing = reading / in_batch, max(seconds - reading, 0.0)
    token_seconds = writing / max(written - at_first, 1)
    few, largest = batch, min(ROWS, len(prompts))
    # A batch as large as a run has: reading costs what it did, prompt by prompt, and a step little more for more rows.
    longer = min(3 * tokens, longest)
    expected = 2 * largest * read_seconds + 3 * 2 * writing
    if largest > rows and time.monotonic() - began + expected <= SPEED * SECONDS:
        batch = _spread(prompts, largest)
        reading, first = _ask(session, batch, 1, settings)
        seconds, replies = _ask(session, batch, longer, settings)
        in_batch, written = len(replies), sum(reply.new_tokens or 0 for reply in replies)
        read_seconds = reading / in_batch
        token_seconds = max(seconds - reading, 0.0) / max(written - sum(reply.new_tokens or 0 for reply in first), 1)
    expected = len(few) * read_seconds + GROWTH * tokens * writing / max(tokens - 1, 1)
    while tokens < longest and time.monotonic() - began + expected <= SECONDS:
        tokens, batch = min(GROWTH * tokens, longest), few
        took, replies = _ask(session, batch, tokens, settings)
        expected = GROWTH * took
    answered = sum(reply.new_tokens or 0 for reply in replies)
    ended = sum(reply.finish_reason == "stop" for reply in replies)
    limit = sum(limit for _, limit in batch) / len(batch)
    return BaseTrial(
        base=base,
        prompts=in_batch,
        tokens=written,
        seconds=time.monotonic() - began,
        read_seconds=read_seconds,
        token_seconds=token_seconds,
        answer_tokens=min(limit, answered / ended) if ended else limit,
        answers=len(replies),
        ended=ended,
        prompt_tokens=sum(known) / len(known) if known else 0.0,
    )


def _spread(prompts: Sequence[tuple[Prompt, int]], count: int) -> Sequence[tuple[Prompt, int]]:
    return prompts[:: max(1, len(prompts) // count)][:count]


def _ask(
    session: Session, batch: Sequence[tuple[Prompt, int]], tokens: int, settings: Respond
) -> tuple[float, list[Reply]]:
    """Return the seconds that a batch took, and its answers. Raises ModelError where there is none."""
    temperature = settings.temperatures[0]
    requests = [
        Request(prompt, temperature, 0, number, min(tokens, limit)) for number, (prompt, limit) in enumerate(batch)
    ]
    began = time.monotonic()
    replies = list(session.respond(requests, system=settings.system or None, template=settings.template))
    seconds = time.monotonic() - began
    answered = [reply for reply in replies if reply.error is None]
    if not answered:
        raise ModelError(f"no prompt of the trial was answered: {replies[0].error if replies else 'no reply'}")
    return seconds, answered


def trial_lines(trial: Trial) -> list[str]:
    """Return a trial as lines of text."""
    tuning = f"tuning about {_minutes(trial.tuning_minutes)}, " if trial.tuning_minutes else ""
    scoring = f", scoring about {_minutes(trial.scoring_minutes)}" if trial.scoring_minutes else ""
    lines = [
        f"On this machine, {trial.processes} at once: {tuning}answering about {_minutes(trial.answering_minutes)}"
        f"{scoring}; rules that judge, drifts and the report come on top"
    ]
    for base in trial.bases:
        length = f"{base.ended} of {base.answers} answers ended, so one has about {base.answer_tokens:,.0f} tokens"
        if not base.ended:
            length = f"no answer ended, so each is taken to be as long as it may be ({base.answer_tokens:,.0f} tokens)"
        lines.append(
            f"  tried {base.base} for {base.seconds:.0f} s: {base.prompts} prompts at once, "
            f"{1 / base.token_seconds if base.token_seconds else 0:,.0f} tokens a second; {length}"
        )
    return lines


def _minutes(minutes: float) -> str:
    if minutes < 1:
        return f"{max(1, round(60 * minutes))} s"
    return f"{minutes:,.0f} min" if minutes < 120 else f"{minutes / 60:,.0f} h"
