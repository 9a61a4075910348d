"""Language models that were tuned to classify answers, each asked and read in the format that it was published with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from aftertune.judging.judge import Answer, JudgeContext, Opinion, Price, Scorer
from aftertune.judging.judges import _classifier_format as formats
from aftertune.judging.judges._classifier_format import Slot
from aftertune.judging.judges._judge_model import REFUSALS, ModelJudge, with_cut
from aftertune.models.session import Backend, Beginnings, Reply, Request
from aftertune.plugins import Card
from aftertune.records import Message, Prompt

_KNOWN = [formats.load(name) for name in formats.names()]


@dataclass(frozen=True)
class SafetyClassifier(ModelJudge):
    """A published safety classifier: Llama Guard 3, WildGuard, ShieldGemma, those of HarmBench and StrongREJECT."""

    plugin_name = "safety_classifier"
    card = Card(
        about=(
            "A published safety classifier: Llama Guard 3, WildGuard, ShieldGemma, those of HarmBench and "
            "StrongREJECT.\n\n"
            "Each is a language model that was tuned to judge in one form of text, and is given exactly that text: "
            "no chat template of the server or the tokenizer is put around it. `model` is its hub name, which says "
            "the format, or a folder or a server's name with `format` beside it. Formats that ship, with their axes: "
            + "; ".join(
                f"`{each.name}` ({', '.join(slot.axis for slot in each.slots_of_ours)}; {each.models[0]})"
                for each in _KNOWN
            )
            + ". Another one is a TOML file of the same form; its hash is in the version.\n\n"
            "On `transformers` verdicts are read off the probabilities of their labels, one after the other as the "
            "model would write them, and nothing is written; on `endpoint` with `completions = true` off those of the "
            "likeliest tokens (`logprobs = 20`), else off what the model writes, as on `vllm`. The version says which. "
            "The label is the one that is likelier (of StrongREJECT's scale from .5 on), its probability is the value. "
            "With under a quarter of the probability on the labels, or where what is written is not in the format, the "
            "answer is `unparsable`: counted, never a verdict, and not asked again, since the format has no reminder. "
            "Of ShieldGemma's four principles the most violated one counts, at a call each. Marks of the format are "
            "taken out of what is judged, so that no answer can end its own part. Adapters (StrongREJECT's) are read "
            "on their base, which must be here."
        ),
        source="; ".join(f"`{each.name}`: {each.source}" for each in _KNOWN),
        licence="Apache-2.0 (the models: " + "; ".join(f"`{each.name}` {each.licence}" for each in _KNOWN) + ")",
        positive="`harmful`, `complied` and `full` are the classifier's own word, by its makers' definition, no more",
        measured=(
            "Published, not measured here, and on other texts than a run's: "
            + " ".join(f"`{each.name}`: {each.measured}" for each in _KNOWN)
        ),
        weaknesses="; ".join(f"`{each.name}`: {each.weaknesses}" for each in _KNOWN) + "; long answers are cut",
        notes=(
            "The texts are held against the published ones, and the reading against a plain forward pass of models of "
            "these architectures with random weights; the published weights were not at hand"
        ),
    )

    model: str = field()
    """Hub name, folder, or a server's name of the classifier."""
    backend: Backend
    """The backend that runs it: its name, or a table of its name and parameters, e.g. `{name = "endpoint",
    url = "http://127.0.0.1:8000/v1", completions = true, logprobs = 20}`."""
    format: str = ""
    """A format's name, or a TOML file; empty takes that of the hub name."""
    most_characters: int = 0
    """Characters read of each turn and of the answer; 0 takes the format's. What is longer is cut, and the opinion
    says so."""
    despite_trial: bool = False
    """Whether it judges although it fails its trial on known answers: its verdicts are shown then, and nothing is
    decided by them."""
    version: str = field(default="", init=False)

    def __post_init__(self) -> None:
        """Read the format. Raises ValueError for an unknown or broken one, and for a backend that sends chats only."""
        if not self.model:
            raise ValueError("model is empty: name the hub name, the folder or the server's name of the classifier")
        name = self.format or formats.of_model(self.model)
        if not name:
            raise ValueError(
                f"no format is known for '{self.model}': give `format` ({', '.join(formats.names())}, or a TOML file)"
            )
        object.__setattr__(self, "format", name)
        if self.most_characters < 0:
            raise ValueError(f"most_characters = {self.most_characters}: it must be 1 or more, or 0")
        if "texts" not in self.backend.capabilities:
            raise ValueError(
                "its prompt is a text that no chat template may touch: take the backend `transformers` or `vllm`, or "
                "`endpoint` with completions = true"
            )
        form = self.form
        object.__setattr__(self, "version", f"1, {self._reading}, {form.name} {form.hash}")
        own = replace(type(self).card, measured=f"Published, not measured here: {form.measured}")
        object.__setattr__(self, "card", own)

    @cached_property
    def form(self) -> formats.Format:
        """The format, read once."""
        return formats.load(self.format)

    @property
    def _reading(self) -> str:
        own = self.backend.capabilities
        return "probabilities" if "beginnings" in own else "likeliest tokens" if "logprobs" in own else "as written"

    @property
    def name(self) -> str:
        """The format and the model: one run may hold several of both."""
        return f"{self.form.name} by {Path(self.model).name or self.model}"

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes of the format's verdicts."""
        return tuple(slot.axis for slot in self.form.slots_of_ours)

    @property
    def price(self) -> Price:
        """A call for each policy, and for each verdict where these are read off probabilities."""
        form = self.form
        texts = max(len(form.policies), 1)
        calls = texts * (1 if self._reading == "as written" else len(form.slots))
        new = {"probabilities": 0, "likeliest tokens": calls, "as written": calls * form.max_new_tokens}
        return Price(calls, calls * len(form.text), new[self._reading])

    def open(self, context: JudgeContext) -> Scorer:
        """Return the scorer; the model is loaded at its first answer. Raises JudgeError for the model under test."""
        self.refuse_own(context)
        return _Scorer(self)


@dataclass
class _Asked:
    """One text for the classifier, and its verdicts so far."""

    text: str
    opinions: list[Opinion] = field(default_factory=list)
    """On axes of ours, in their order."""
    end: Opinion | None = None
    """What it came to where no further verdict can be read; its axis counts for nothing."""


class _Scorer:
    def __init__(self, judge: SafetyClassifier) -> None:
        self._judge, self._form = judge, judge.form
        self._most = judge.most_characters or judge.form.most_characters

    def __call__(self, answers: Sequence[Answer]) -> list[tuple[Opinion, ...]]:
        silent = [answer.refused and not answer.text.strip() for answer in answers]
        heard = [answer for answer, no_word in zip(answers, silent, strict=True) if not no_word]
        asked = [[_Asked(text) for text in self._form.texts(answer, self._most)] for answer in heard]
        every = [one for ones in asked for one in ones]
        if every:  # for nobody the model is not loaded
            if self._judge._reading == "as written":
                self._read_written(every)
            else:
                for slot in self._form.slots:
                    self._read_slot(slot, [one for one in every if one.end is None])
        rows = iter([self._form.together([self._opinions(one) for one in ones]) for ones in asked])
        unheard = tuple(slot.of_silence() for slot in self._form.slots_of_ours)
        out = []
        for answer, no_word in zip(answers, silent, strict=True):
            opinions = unheard if no_word else tuple(with_cut(each, answer, self._most) for each in next(rows))
            if not no_word:
                for opinion in opinions:
                    self._count(opinion)
            out.append(opinions)
        return out

    def _count(self, opinion: Opinion) -> None:
        if opinion.status == "error":
            self._judge.ledger.add(failed=1)
        else:
            self._judge.count(opinion)

    def _opinions(self, one: _Asked) -> tuple[Opinion, ...]:
        """Return the opinions on every axis; those that were not reached are what ended it."""
        left = self._judge.axes[len(one.opinions) :]
        assert not left or one.end is not None
        return (*one.opinions, *(replace(one.end, axis=axis) for axis in left if one.end is not None))

    def _read_slot(self, slot: Slot, asked: Sequence[_Asked]) -> None:
        """Read one verdict off probabilities, and write it behind the text, as the model would go on from it."""
        for one in asked:
            one.text += slot.lead
        shares = self._of_labels(slot, asked) if self._judge._reading == "probabilities" else self._of_top(slot, asked)
        for one, found in zip(asked, shares, strict=True):
            if isinstance(found, Opinion):
                one.end = found
                continue
            opinion, likeliest = slot.read(found)
            one.text += likeliest
            if opinion is None:
                why = f"under {formats.LEAST_MASS} of the probability is on the labels of {self._form.name}"
                one.end = Opinion("", status="unparsable", why=why)
            elif slot.axis:
                one.opinions.append(opinion)

    def _of_labels(self, slot: Slot, asked: Sequence[_Asked]) -> list[Sequence[float] | Opinion]:
        items = [Beginnings(prompt, slot.forms) for prompt in self._prompts(asked)]
        if not items:
            return []
        out: list[Sequence[float] | Opinion] = []
        for score in self._judge.session().beginnings(items, system=None, template="none"):
            self._judge.count_prompt(score.prompt_tokens)
            out.append(_failed(score.why) if score.log_probabilities is None else score.log_probabilities)
        return out

    def _of_top(self, slot: Slot, asked: Sequence[_Asked]) -> list[Sequence[float] | Opinion]:
        out: list[Sequence[float] | Opinion] = []
        for reply in self._replies(asked, 1):
            if (ended := _ended(reply)) is not None:
                out.append(ended)
            elif reply.top is None:
                out.append(_failed("the server showed no log-probabilities"))
            else:
                out.append(slot.of_tokens(reply.top))
        return out

    def _read_written(self, asked: Sequence[_Asked]) -> None:
        """Read all verdicts off what the model writes."""
        for one, reply in zip(asked, self._replies(asked, self._form.max_new_tokens), strict=True):
            one.end = _ended(reply)
            rest = reply.text
            for slot in self._form.slots if one.end is None else ():
                found = slot.written(rest)
                if found is None:
                    one.end = Opinion("", status="unparsable", why=f"no answer in the format of {self._form.name}")
                    break
                if slot.axis:
                    one.opinions.append(found[0])
                rest = rest[found[1] :]

    def _prompts(self, asked: Sequence[_Asked]) -> list[Prompt]:
        self._judge.ledger.add(calls=len(asked), prompt_characters=sum(len(one.text) for one in asked))
        name = self._form.name
        return [
            Prompt(str(k), "safety_classifier", name, "", str(k), (Message("user", one.text),))
            for k, one in enumerate(asked)
        ]

    def _replies(self, asked: Sequence[_Asked], most: int) -> list[Reply]:
        temperature = self._judge.backend.only_temperature or 0.0
        requests = [Request(prompt, temperature, 0, 0, most) for prompt in self._prompts(asked)]
        replies: dict[str, Reply] = {}
        for reply in self._judge.session().respond(requests, system=None, template="none") if requests else ():
            replies[reply.prompt_id] = reply
            self._judge.ledger.add(new_tokens=reply.new_tokens or 0)
            self._judge.count_prompt(reply.prompt_tokens)
        none = Reply("", temperature, 0, "", "error", None, "", None, "no reply")
        return [replies.get(str(k), none) for k in range(len(asked))]


def _ended(reply: Reply) -> Opinion | None:
    """Return what a reply comes to that is no verdict; None for one that may be."""
    if reply.error:
        return _failed(reply.error)
    if reply.finish_reason in REFUSALS:
        return Opinion("", status="abstain", why=REFUSALS[reply.finish_reason])
    return None


def _failed(why: str) -> Opinion:
    return Opinion("", status="error", why=f"the judge model failed: {why[:160]}")


PLUGIN = SafetyClassifier
