"""The minutes that a plan tells for this machine: from a trial of some seconds, or why there is none."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import pytest
from tests import fakes
from tests.fakes import Listed, Scripted, ScriptedSession

from aftertune.commands import plan_trial
from aftertune.commands.plan_trial import trial_lines, try_out
from aftertune.models import chat
from aftertune.models.loaded import LOADED
from aftertune.models.session import Reply, Request, Session, Template
from aftertune.records import Data, Respond
from aftertune.studies.study import Study


@dataclass
class Clock:
    now: float = 0.0

    def monotonic(self) -> float:
        return self.now


@dataclass(frozen=True)
class Timed(Scripted):
    """Takes `read` seconds for a prompt and `write` for a token of each, by a clock that only it moves."""

    clock: Clock = dataclasses.field(default_factory=Clock, compare=False)
    read: float = 0.1
    write: float = 0.01
    length: int = 8
    """Tokens of a whole answer."""

    def open(self, base: str) -> AbstractContextManager[Session]:
        return nullcontext(TimedSession(self))


class TimedSession(ScriptedSession):
    def respond(self, requests: Sequence[Request], *, system: str | None, template: Template) -> Iterator[Reply]:
        assert isinstance(self.backend, Timed)
        for request in requests:
            self.calls.requests.append(request)
            tokens = min(self.backend.length, request.max_new_tokens)
            self.backend.clock.now += self.backend.read + tokens * self.backend.write
            failed = request.prompt.id.rpartition("/")[2] in self.backend.failing
            yield Reply(
                request.prompt.id, request.temperature, request.sample, "a",
                "error" if failed else "stop" if tokens == self.backend.length else "length", tokens,
                chat.message_hash(request.prompt.messages, system), None, "it broke" if failed else None,
                prompt_tokens=20,
            )  # fmt: skip


@pytest.fixture(name="tried")
def _tried(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that tries a study with one base and one checkpoint of 40 prompts, on one core."""
    LOADED.unload()

    def tried(backend: Scripted, count: int = 40, limit: int = 16, **changes: Any) -> Any:
        listed = Listed(count=count, max_new_tokens=limit)
        study: Study = fakes.given_study(backend, **changes)
        study = dataclasses.replace(study, benchmarks=(fakes.benchmark(listed),))
        if isinstance(backend, Timed):
            monkeypatch.setattr(plan_trial, "time", backend.clock)
        monkeypatch.setattr(plan_trial, "cores", lambda: 1)
        monkeypatch.setattr(plan_trial, "visible_gpus", list)
        return try_out(study)

    return tried


def test_the_minutes_are_those_that_the_answers_would_take(tried: Any) -> None:
    """Two models x 40 prompts x (0.1 s + 8 tokens x 0.01 s): the trial reaches whole answers."""
    trial, left_out = tried(Timed())
    assert left_out == ()
    (base,) = trial.bases
    assert (base.base, base.answer_tokens, base.prompt_tokens) == ("m", 8.0, 20.0)
    assert base.token_seconds == pytest.approx(0.01)
    assert 60 * trial.answering_minutes == pytest.approx(2 * 40 * (0.1 + 0.08), rel=0.07), "one token is read with"
    assert trial.tuning_minutes == 0.0
    assert trial_lines(trial)[0].startswith("On this machine, 1 at once: answering about 15 s")


def test_temperatures_and_samples_take_their_time(tried: Any) -> None:
    once, _ = tried(Timed())
    more, _ = tried(Timed(), respond=Respond(temperatures=(0.0, 0.7), samples=3))
    assert more.answering_minutes == pytest.approx(4 * once.answering_minutes)


@pytest.mark.parametrize("backend", [Timed(read=3.0, write=0.5, length=200), Timed(read=0.5, write=0.1, length=200)])
def test_a_slow_model_is_tried_for_some_seconds_and_taken_to_use_its_limit(tried: Any, backend: Timed) -> None:
    trial, _ = tried(backend, limit=128)
    (base,) = trial.bases
    assert base.seconds <= plan_trial.SECONDS
    assert (base.ended, base.answer_tokens) == (0, 128.0)
    whole = 2 * 40 * (backend.read + 128 * backend.write)
    assert 60 * trial.answering_minutes == pytest.approx(whole, rel=0.2)
    assert "no answer ended" in trial_lines(trial)[1]


def test_a_server_is_never_asked(tried: Any) -> None:
    class Paid(Timed):
        asks_server = True

    backend = Paid()
    trial, left_out = tried(backend)
    assert trial is None
    assert left_out == ("answers: backend 'transformers' asks a server, which may cost money",)
    assert backend.calls.requests == []


def test_a_base_that_answers_nothing_or_is_too_large_is_named(tried: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trial, left_out = tried(Timed(failing=tuple(f"p{n}" for n in range(40))))
    assert trial is None
    assert left_out == ("m: no prompt of the trial was answered: it broke",)
    monkeypatch.setattr(plan_trial, "LARGEST", 6)
    assert tried(Timed()) == (None, ("m: loading it alone would take longer than a trial",))


def test_a_trial_of_the_shipped_model_takes_seconds() -> None:
    from aftertune import shipped_models
    from aftertune.commands import demo
    from aftertune.commands import plan as pricing

    if not shipped_models.names():
        pytest.skip("no shipped model is built")
    design = dataclasses.replace(demo.design(), seeds=(0, 1))
    began = time.monotonic()
    price = pricing.plan(design)
    assert time.monotonic() - began < 60
    assert price.trial is not None
    assert price.trial.answering_minutes > 0
    assert price.trial.tuning_minutes > 0
    assert price.trial.bases[0].ended > 0
    assert any("On this machine" in line for line in pricing.lines(price, design.cost))
    assert pricing.plan(design, trial=False).trial is None


@dataclass(frozen=True)
class Together(Timed):
    """Writes a token of all answers of a batch in one step, as a real backend does: a large batch costs less for each."""

    def open(self, base: str) -> AbstractContextManager[Session]:
        return nullcontext(TogetherSession(self))


class TogetherSession(TimedSession):
    def respond(self, requests: Sequence[Request], *, system: str | None, template: Template) -> Iterator[Reply]:
        assert isinstance(self.backend, Timed)
        before = self.backend.clock.now
        replies = list(super().respond(requests, system=system, template=template))
        steps = max(reply.new_tokens or 0 for reply in replies)
        self.backend.clock.now = (
            before + len(replies) * self.backend.read + steps * self.backend.write * (1 + len(replies) / 8)
        )
        yield from replies


@pytest.mark.parametrize("read", [0.02, 0.1])
def test_the_speed_is_that_of_the_batches_that_a_run_has(tried: Any, read: float) -> None:
    """200 prompts in batches of 64, each token of which costs a third of one in the small batch that fits first."""
    trial, _ = tried(Together(read=read, write=0.05, length=200), count=200, limit=64)
    (base,) = trial.bases
    assert base.prompts == plan_trial.ROWS
    per_answer = read + 64 * 0.05 * (1 + 64 / 8) / 64
    assert 60 * trial.answering_minutes == pytest.approx(2 * 200 * per_answer, rel=0.15)


def test_scored_texts_are_counted_as_they_are_drawn() -> None:
    """Of 300 rows 40 are held out, 3 canaries and 100 twins in 4 forms; without either nothing is scored."""
    assert plan_trial._scored(300, Data(held_out=40, canaries=1)) == 260 + 40 + 3 + 400
    assert plan_trial._scored(300, Data(canaries=50)) == 150 + 4 * 150
    assert plan_trial._scored(300, Data()) == 0
    assert plan_trial._scored(9000, Data(held_out=1000)) == 500 + 500
