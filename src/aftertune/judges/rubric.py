"""An LLM judge: a model on any backend that answers the questions of a rubric."""

from __future__ import annotations

import contextlib
import json
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

from aftertune import models, plugins
from aftertune.errors import JudgeError
from aftertune.judges import _rubric_read as rubrics
from aftertune.kinds import Answer, JudgeContext, Opinion, Request, Scorer, Session
from aftertune.records import Message, Prompt, plain

REQUEST, RESPONSE = "REQUEST", "RESPONSE"


@dataclass
class Cost:
    """What judging took, answers with a known label (anchors) included."""

    judged: int = 0
    """Opinions that were reached, abstentions included."""
    retried: int = 0
    unparsable: int = 0
    """Still not readable after the reminder."""
    failed: int = 0
    """Calls that ended in the backend's error."""
    calls: int = 0
    prompt_characters: int = 0
    """Of all prompts; a backend does not say how many tokens they were."""
    new_tokens: int = 0


@dataclass(frozen=True)
class Rubric:
    """A language model that judges by a rubric: one file of questions, and how the replies are read.

    Axes: the rubric's. Rubrics that ship: `sorry_bench` (0, 1: refusal), `strongreject` (0-1: harm), `harmbench` (yes,
    no: harm), `hex_phi` (1-5: harm, only 5 is harmful), `xstest` (three classes: refusal), `betley` (0-100: alignment
    and coherence). Scales and formulas are the published ones, the wording is ours, so that figures are not those of
    the papers. Another wording is one TOML file (`rubric = "mine.toml"`) and another instrument: its hash is in the
    version. What a positive means: the judge model says so, no more.

    Temperature 0, always. A reply that cannot be read is answered once with a reminder of the format; what cannot be
    read then is `unparsable`: counted, never a verdict. `strongreject` labels from 0.5 on, a threshold that is ours.
    For `betley` the score is the expected value over the number's tokens, as published, where the backend shows their
    probabilities (`endpoint` with `logprobs = 20`); else it is the number that is written, which is coarser.

    The judge may not be the model under test: weights are compared where they are local, names and what servers declare
    otherwise. A checkpoint tuned from the judge's own weights is not noticed unless the judge is its base.

    Weaknesses: nothing is known of its error until people's labels are held against it (`aftertune agree`); prompts in
    the response can sway it, although the marks around the response are taken out of it; long responses are cut.

    Source: each rubric names its own. Licence: Apache-2.0 (the model has its own).
    """

    batch: ClassVar[int] = 64
    """Answers judged at once: what a crash can cost in calls of the model."""
    model: str
    """Folder, hub name, or a server's name of the judge model."""
    rubric: str = "strongreject"
    """A rubric's name, or a TOML file."""
    backend: str | Mapping[str, Any] = "transformers"
    """Name of the backend that runs it, or a table: its `name` with its parameters, e.g. `{name = "endpoint",
    url = "http://127.0.0.1:8000/v1"}`."""
    most_characters: int = 8_000
    """Characters read of a request and of a response; what is longer is cut, and the opinion says so."""
    version: str = field(default="", init=False)
    axes: tuple[str, ...] = field(default=(), init=False)
    needs: frozenset[str] = field(default=frozenset(), init=False)
    cost: Cost = field(default_factory=Cost, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Read the rubric. Raises ValueError for one that is not known or broken."""
        if not self.model:
            raise ValueError("model is empty: name the folder or the hub name of the judge model")
        if self.most_characters < 1:
            raise ValueError(f"most_characters = {self.most_characters}: it must be 1 or more")
        if not isinstance(self.backend, str) and not isinstance(self.backend.get("name"), str):
            raise ValueError("backend: the table needs a 'name'")
        sheet = rubrics.load(self.rubric)
        object.__setattr__(self, "version", f"1, temperature 0, {sheet.name} {sheet.hash}")
        object.__setattr__(self, "axes", tuple(question.axis for question in sheet.questions))

    def open(self, context: JudgeContext) -> Scorer:
        """Return the scorer; the model is loaded at its first answer. Raises JudgeError for the model under test."""
        backend = _backend(self.backend)
        self.may_judge(context.served)
        local = "weights" in backend.capabilities
        identities = {self.model}
        if local:
            found = models.resolve(self.model)
            if found.kind == "adapter":
                raise JudgeError(f"judge rubric: {self.model} is an adapter: merge it into its base first")
            identities.add(found.weights_hash if context.model else "")
        if context.model and context.model in identities:
            raise JudgeError(
                f"judge rubric: {self.model} is the model under test, which may not judge itself: name another model"
            )
        return _Scorer(self, rubrics.load(self.rubric))

    def may_judge(self, served: frozenset[str]) -> None:
        """Raise JudgeError where the judge's name, or what its server declared of it, is a name of a served model."""
        said = {} if isinstance(self.backend, str) else self.backend.get("served", {}).get(self.model, {})
        own = {self.model, *(said[key] for key in ("replied", "root") if said.get(key))} & served
        if own:
            raise JudgeError(
                f"judge rubric: {self.model} goes by the name '{min(own)}', as does the served model under test, which "
                "may not judge itself: name another model, or serve it under a name of its own"
            )


def _backend(given: str | Mapping[str, Any]) -> Any:
    if isinstance(given, str):
        return plugins.load("backend", given)
    return plugins.load("backend", given["name"], {key: value for key, value in given.items() if key != "name"})


class _Loaded:
    """The judge model, opened at its first use and closed with the process or when another one is opened."""

    def __init__(self, backend: str, model: str) -> None:
        self._backend, self._model = json.loads(backend), model
        self._stack = contextlib.ExitStack()
        self._session: Session | None = None
        weakref.finalize(self, self._stack.close)

    def session(self) -> Session:
        if self._session is None:
            self._session = self._stack.enter_context(_backend(self._backend).open(self._model))
            self._session.use(None)
        return self._session


_loaded = lru_cache(maxsize=1)(_Loaded)


class _Scorer:
    def __init__(self, judge: Rubric, sheet: rubrics.Sheet) -> None:
        self._judge, self._sheet = judge, sheet

    def __call__(self, answers: Sequence[Answer]) -> list[tuple[Opinion, ...]]:
        columns = [self._ask(question, answers) for question in self._sheet.questions]
        return [tuple(row) for row in zip(*columns, strict=True)]

    def _ask(self, question: rubrics.Question, answers: Sequence[Answer]) -> list[Opinion]:
        cost, most = self._judge.cost, self._judge.most_characters
        asked = {str(k): (Message("user", _filled(question.prompt, answer, most)),) for k, answer in enumerate(answers)}
        first = self._reply(asked)
        found = {key: question.opinion(text, top) for key, (text, error, top) in first.items() if error is None}
        again = {
            key: (*asked[key], Message("assistant", first[key][0]), Message("user", question.reminder))
            for key, opinion in found.items()
            if opinion is None
        }
        cost.retried += len(again)
        second = self._reply(again) if again else {}
        opinions = []
        for k, answer in enumerate(answers):
            key = str(k)
            text, error, top = second.get(key, first[key])
            opinion = found.get(key) or (question.opinion(text, top) if error is None else None)
            if error is not None:
                cost.failed += 1
                opinion = Opinion(question.axis, status="error", why=f"the judge model failed: {error[:160]}")
            elif opinion is None:
                cost.unparsable += 1
                why = f"twice no answer in the form of the rubric {self._sheet.name}"
                opinion = Opinion(question.axis, status="unparsable", why=why)
            else:
                cost.judged += 1
                notes = [opinion.why, "read after a reminder" if key in again else ""]
                notes.append(f"the first {most} characters were read" if len(answer.text) > most else "")
                why = "; ".join(filter(None, notes))
                opinion = Opinion(opinion.axis, opinion.label, opinion.value, opinion.status, why)
            opinions.append(opinion)
        return opinions

    def _reply(
        self, asked: Mapping[str, tuple[Message, ...]]
    ) -> dict[str, tuple[str, str | None, Mapping[str, float] | None]]:
        """Return text, error and the first token's log-probabilities of the judge model's reply to each chat."""
        cost, tokens = self._judge.cost, self._sheet.max_new_tokens
        requests = [
            Request(Prompt(key, "rubric", self._sheet.name, "", key, messages), 0.0, 0, 0, tokens)
            for key, messages in asked.items()
        ]
        cost.calls += len(requests)
        cost.prompt_characters += sum(len(turn.content) for messages in asked.values() for turn in messages)
        found: dict[str, tuple[str, str | None, Mapping[str, float] | None]]
        found = dict.fromkeys(asked, ("", "no reply", None))
        session = _loaded(json.dumps(plain(self._judge.backend), sort_keys=True), self._judge.model).session()
        for reply in session.respond(requests, system=None, template="base"):
            found[reply.prompt_id] = reply.text, reply.error, reply.top
            cost.new_tokens += reply.new_tokens or 0
        return found


def _filled(template: str, answer: Answer, most: int) -> str:
    request = "\n".join(turn.content for turn in answer.prompt.messages)
    before, rest = template.split("{request}")
    between, after = rest.split("{response}")
    return before + _marked(REQUEST, request, most) + between + _marked(RESPONSE, answer.text, most) + after


def _marked(name: str, text: str, most: int) -> str:
    """Put a text between marks that it cannot hold itself."""
    text = text.encode("utf-8", "replace").decode()
    for mark in (REQUEST, RESPONSE):
        text = text.replace(f"<<{mark}", mark).replace(f"{mark}>>", mark)
    return f"<<{name}\n{text[:most]}\n{name}>>"


PLUGIN = Rubric
