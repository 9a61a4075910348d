"""What judges share that ask a language model: which model, opened once, what it may not judge, and what it spends."""

from __future__ import annotations

import contextlib
import dataclasses
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from aftertune.errors import JudgeError, ModelError
from aftertune.judging.judge import Answer, Cost, Judge, JudgeContext, Opinion
from aftertune.models import identity as models
from aftertune.models.session import Backend, Session
from aftertune.records import digest

SILENCE = "nothing is said: the server refused, and the judge model was not asked"
REFUSALS = {
    "refusal": "the judge model refused to judge",
    "filter": "the content filter of the judge model's server refused to judge",
    "filter_cut": "the content filter of the judge model's server cut its reply",
}
"""How a reply ended that is no verdict -> why the answer is unjudged: it says nothing of the answer."""


class ModelJudge(Judge):
    """A judge that asks a language model on some backend: `model` and `backend` are its parameters."""

    accelerator = True
    batch = 64
    nested: ClassVar[Mapping[str, str]] = {"backend": "transformers"}
    plugin_name: ClassVar[str]
    """What its errors call it."""
    backend: Backend

    @property
    def cost(self) -> Cost:
        """Spent so far in this process; a copy of the judge in another process starts at nothing."""
        return self.ledger.total

    @cached_property
    def ledger(self) -> Ledger:
        """Where it writes down what it spends."""
        return Ledger()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "ledger"}

    @property
    def asks(self) -> Backend:
        """The backend that runs the judge model."""
        return self.backend

    def identity(self) -> str:
        """Return the identity of the judge model, which goes into ids; its name where the weights are elsewhere.

        Raises ModelError, UsageError for a model that does not exist.
        """
        if "weights" not in self.backend.capabilities:
            return self.model
        base, adapter = self._files()
        return base.identity if adapter is None else digest(base.identity, adapter.identity)

    def _files(self) -> tuple[models.ModelRef, models.ModelRef | None]:
        """Return the judge model, or an adapter's base and the adapter. Raises ModelError where one is not here."""
        ref = models.resolve(self.model)
        if ref.kind != "adapter":
            return ref, None
        if not ref.base_name:
            raise ModelError(f"{self.model} is an adapter that names no base: merge it into its base first")
        try:
            base = models.resolve(ref.base_name)
        except ModelError as error:
            raise ModelError(f"{self.model} is an adapter of {ref.base_name}, which cannot be used: {error}") from None
        return base, models.resolve(ref.path, base=base)

    def refuse_own(self, context: JudgeContext) -> None:
        """Raise JudgeError where the judge model is the model under test, ModelError where it is not here."""
        self.may_judge(context.served)
        identities = {self.model}
        if "weights" in self.backend.capabilities:
            base, adapter = self._files()
            identities.add(base.identity if context.model and adapter is None else "")
        if context.model and context.model in identities:
            raise JudgeError(
                f"judge {self.plugin_name}: {self.model} is the model under test, which may not judge itself: name "
                "another model"
            )

    def may_judge(self, names: frozenset[str]) -> None:
        """Raise JudgeError where the judge's name, or what its server declared of it, is a name of a served model."""
        declared = self.backend.served.get(self.model, {})
        own = {self.model, *(declared[key] for key in ("replied", "root") if declared.get(key))} & names
        if own:
            raise JudgeError(
                f"judge {self.plugin_name}: {self.model} goes by the name '{min(own)}', as does the served model under "
                "test, which may not judge itself: name another model, or serve it under a name of its own"
            )

    def session(self) -> Session:
        """Return the open judge model; the next job of the same judge finds it open."""
        base, adapter = (self.model, None)
        if "weights" in self.backend.capabilities:
            files = self._files()
            if files[1] is not None:
                base, adapter = str(files[0].path), files[1].path
        key = digest(self.model, self.backend)
        if key not in _LOADED:
            _LOADED.clear()
            _LOADED[key] = _Loaded(self.backend, base, adapter)
        return _LOADED[key].session

    def count(self, opinion: Opinion) -> None:
        """Note an opinion that was reached, or one that could not be read."""
        unparsable = opinion.status == "unparsable"
        self.ledger.add(unparsable=int(unparsable), judged=int(not unparsable))

    def count_prompt(self, tokens: int | None) -> None:
        """Note the tokens of a prompt, as far as the backend counts them."""
        self.ledger.add(prompt_tokens=tokens or 0, uncounted=int(tokens is None))


def with_cut(opinion: Opinion, answer: Answer, most: int) -> Opinion:
    """Say in an opinion that the answer was cut to `most` characters, where it was."""
    if len(answer.text) <= most:
        return opinion
    why = "; ".join(filter(None, (opinion.why, f"the first {most} characters were read")))
    return dataclasses.replace(opinion, why=why)


@dataclass
class Ledger:
    """What one judge object has spent."""

    total: Cost = field(default_factory=Cost)

    def add(self, **more: int) -> None:
        """Add to fields of the cost."""
        self.total += Cost(**more)


class _Loaded:
    """A judge model that is open; it is closed with the process, or when another one is opened."""

    def __init__(self, backend: Backend, base: str, adapter: Path | None) -> None:
        stack = contextlib.ExitStack()
        weakref.finalize(self, stack.close)
        self.session: Session = stack.enter_context(backend.open(base))
        self.session.use(adapter)


_LOADED: dict[str, _Loaded] = {}
"""The judge model opened last, by the hash of its name and backend."""
