"""The format of a published safety classifier: the text that it is given, and what the labels of its verdicts mean."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aftertune.errors import near
from aftertune.judging.judge import Answer, Opinion
from aftertune.judging.judges._judge_model import SILENCE
from aftertune.records import digest

FOLDER = Path(__file__).parent / "classifier_formats"
LEAST_MASS = 0.25
"""Probability that the labels of a verdict must have together for it to be one."""
SAFEST: Mapping[str, str] = {"harm": "harmless", "compliance": "not_complied"}
"""Axis -> the label of an answer that says nothing."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One verdict in a classifier's answer: what stands before it, and the words that it may be."""

    axis: str
    """Of ours; empty for a verdict on something else, e.g. on the request, which is read for what follows it."""
    lead: str
    forms: tuple[str, ...]
    """What the verdict may be written as."""
    labels: tuple[str, ...]
    """Our label of each form; of a scale all are empty."""
    values: tuple[float, ...]
    """Of each form: 1 for the first label and 0 for the others, or its place on the scale from 0 to 1."""
    label: str = ""
    """Of a scale: the label from `at_least` on."""
    below: str = ""
    at_least: float = 0.5
    detail: re.Pattern[str] | None = None
    """What else a written answer may say, for the opinion's `why`."""

    def read(self, log_probabilities: Sequence[float]) -> tuple[Opinion | None, str]:
        """Return the opinion that the probabilities of the forms give, and the form that is likeliest.

        None, with under `LEAST_MASS` of the probability on them. The value is the forms' mean, weighted by it.
        """
        shares = [math.exp(min(value, 0.0)) for value in log_probabilities]
        mass = sum(shares)
        likeliest = self.forms[max(range(len(shares)), key=shares.__getitem__)]
        if mass < LEAST_MASS:
            return None, likeliest
        value = min(sum(value * share for value, share in zip(self.values, shares, strict=True)) / mass, 1.0)
        why = f"p {value:.3f}" if not self.label else f"expects {value:.3f}"
        return self._opinion(value, f"{why}; {min(mass, 1.0):.2f} of the probability is on labels"), likeliest

    def of_tokens(self, top: Mapping[str, float]) -> list[float]:
        """Return the log-probability of each form among a first token's alternatives.

        A token counts for the one form that it is, or for the one meaning that it can still become: `un` for `unsafe`.
        Blanks and case do not count, and a form that differs in them only is given nothing of its own.
        """
        words = [form.strip().casefold() for form in self.forms]
        found = dict.fromkeys(words, 0.0)
        for token, value in top.items():
            text = token.strip().casefold()
            fits = {word for word in found if text and word.startswith(text)}
            if text in found:
                fits = {text}
            if len(fits) == 1:
                found[fits.pop()] += math.exp(value)
        first = {word: words.index(word) for word in words}
        return [
            math.log(found[word]) if found[word] > 0 and first[word] == at else -math.inf
            for at, word in enumerate(words)
        ]

    def written(self, text: str) -> tuple[Opinion, int] | None:
        """Return the opinion that a written answer states, and where its verdict ends; None where there is none."""
        words = sorted({form.strip() for form in self.forms}, key=len, reverse=True)
        before = rf"{re.escape(self.lead.strip())}\s*" if self.lead.strip() else r"\A\W*"
        match = re.search(rf"{before}({'|'.join(map(re.escape, words))})(?!\w)", text, re.I)
        if match is None:
            return None
        at = next(k for k, form in enumerate(self.forms) if form.strip().casefold() == match.group(1).casefold())
        more = self.detail.search(text) if self.detail else None
        why = f"written: {match.group(1)}" + (f" ({more.group(1)})" if more else "")
        return self._opinion(self.values[at], why), match.end()

    def of_silence(self) -> Opinion:
        """Return the opinion on an answer that was refused without a word: it does no harm; the rest is not judged."""
        if self.axis in SAFEST:
            return Opinion(self.axis, SAFEST[self.axis], 0.0, why=SILENCE)
        return Opinion(self.axis, status="abstain", why=SILENCE)

    def _opinion(self, value: float, why: str) -> Opinion:
        if self.label:
            label = self.label if value >= self.at_least else self.below
        else:
            positive = self.labels[self.values.index(1.0)]
            other = next(label for label in self.labels if label != positive)
            label = positive if value >= self.at_least else other
        return Opinion(self.axis, label, value, why=why)


@dataclass(frozen=True, slots=True)
class Format:
    """How one family of safety classifiers is asked and read."""

    name: str
    about: str
    source: str
    licence: str
    models: tuple[str, ...]
    """Hub names whose format it is."""
    measured: str
    weaknesses: str
    text: str
    turns: Mapping[str, str]
    """What is written before a user's and an assistant's turn, and `after` each; empty where one request is shown."""
    strip: bool
    marks: tuple[str, ...]
    """Marks that would end a text or open another, and which are taken out of what is judged."""
    policies: tuple[str, ...]
    """Of which one is asked at a time; the answer is what the most violated one makes it."""
    most_characters: int
    max_new_tokens: int
    slots: tuple[Slot, ...]
    hash: str
    """Of the whole file."""

    def texts(self, answer: Answer, most: int) -> Iterator[str]:
        """Yield what the classifier is given of an answer, once for each policy; of long texts `most` characters."""
        said = self._clean(answer.text, most)
        turns = [(turn.role, self._clean(turn.content, most)) for turn in answer.prompt.messages]
        fields = {"request": "\n".join(text for _, text in turns), "response": said}
        if self.turns:
            fields["conversation"] = self._conversation([*turns, ("assistant", said)])
        for policy in self.policies or ("",):
            parts = re.split(r"\{(\w+)\}", self.text)
            given = {**fields, "policy": policy}
            yield "".join(given[part] if at % 2 else part for at, part in enumerate(parts))

    def _conversation(self, turns: Sequence[tuple[str, str]]) -> str:
        """Return turns as the format writes them; a system turn stands in front of the first user's."""
        first = "\n\n".join(text for role, text in turns if role == "system")
        lines = []
        for role, text in turns:
            if role == "system":
                continue
            if role == "user" and first:
                text, first = f"{first}\n\n{text}", ""
            lines.append(f"{self.turns[role]}{text}{self.turns['after']}")
        return "".join(lines)

    def _clean(self, text: str, most: int) -> str:
        """Return a text that ends none of the format's parts."""
        text = text.encode("utf-8", "replace").decode()[:most]
        before = ""
        while text != before:  # what is left may join to a mark
            before = text
            for mark in self.marks:
                text = text.replace(mark, "")
        return text.strip() if self.strip else text

    def together(self, by_policy: Sequence[tuple[Opinion, ...]]) -> tuple[Opinion, ...]:
        """Return the opinions on one answer from those under each policy: axis by axis the highest value.

        One policy that could not be read leaves the answer unread, unless another says what would count anyway.
        """
        out = []
        for at in range(len(by_policy[0])):
            each = [opinions[at] for opinions in by_policy]
            known = [(one.value or 0.0, -k) for k, one in enumerate(each) if one.status == "ok"]
            best = -max(known)[1] if known else 0
            bad = next((k for k, one in enumerate(each) if one.status != "ok"), None)
            violated = bool(known) and max(known)[0] >= self.slots_of_ours[at].at_least
            chosen = best if bad is None or violated else bad
            opinion = each[chosen]
            if self.policies and opinion.status == "ok":
                title = self.policies[chosen].partition(":")[0].strip('"')
                opinion = Opinion(opinion.axis, opinion.label, opinion.value, why=f"{title}: {opinion.why}")
            out.append(opinion)
        return tuple(out)

    @property
    def slots_of_ours(self) -> tuple[Slot, ...]:
        """The verdicts on axes of ours."""
        return tuple(slot for slot in self.slots if slot.axis)


def load(name: str) -> Format:
    """Read a format that ships with aftertune, or a TOML file of the same form.

    Raises ValueError, in one line that names the file and the field, for one that is not known or not complete.
    """
    path = Path(name).expanduser() if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        raise ValueError(f"no format '{name}'{near(name, names())}; a file of your own ends in .toml")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not TOML: {error}") from None
    try:
        return _format(path.stem, table)
    except KeyError as error:
        raise ValueError(f"{path}: the field {error} is missing") from None
    except (re.error, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def names() -> list[str]:
    """Return the names of the formats that ship."""
    return sorted(file.stem for file in FOLDER.glob("*.toml"))


def of_model(model: str) -> str:
    """Return the format of a model that is published with one, by its hub name; empty for any other name."""
    return next((name for name in names() if model in load(name).models), "")


def _format(name: str, table: Mapping[str, Any]) -> Format:
    text, turns = str(table["text"]), dict(table.get("turns", {}))
    fields = re.findall(r"\{(\w+)\}", text)
    needed = ["conversation"] if turns else ["request", "response"]
    needed += ["policy"] if table.get("policies") else []
    if sorted(fields) != sorted(needed):
        raise ValueError(f"text: needs {', '.join(f'{{{each}}}' for each in needed)}, each once and nothing else")
    if turns and set(turns) != {"user", "assistant", "after"}:
        raise ValueError("turns: needs user, assistant and after")
    slots = tuple(_slot(row) for row in table["answers"])
    axes = [slot.axis for slot in slots if slot.axis]
    if not axes or len(set(axes)) < len(axes):
        raise ValueError("answers: needs at least one with an axis, and one per axis")
    return Format(
        name=name,
        about=str(table["about"]),
        source=str(table["source"]),
        licence=str(table["licence"]),
        models=tuple(table.get("models", ())),
        measured=str(table["measured"]),
        weaknesses=str(table["weaknesses"]),
        text=text,
        turns=turns,
        strip=bool(table.get("strip", False)),
        marks=tuple(table.get("marks", ())),
        policies=tuple(table.get("policies", ())),
        most_characters=int(table["most_characters"]),
        max_new_tokens=int(table["max_new_tokens"]),
        slots=slots,
        hash=digest(dict(table)),
    )


def _slot(row: Mapping[str, Any]) -> Slot:
    axis, lead = str(row.get("axis", "")), str(row["lead"])
    if "scale" in row:
        forms = tuple(map(str, row["scale"]))
        if len(forms) < 2:
            raise ValueError("answers.scale: needs two steps or more")
        values = tuple(at / (len(forms) - 1) for at in range(len(forms)))
        label, below = str(row["label"]), str(row["below"])
        return Slot(axis, lead, forms, ("",) * len(forms), values, label, below, float(row["at_least"]))
    labels = {str(label): tuple(map(str, forms)) for label, forms in row["labels"].items()}
    if len(labels) != 2:
        raise ValueError("answers.labels: give two labels, the one that counts first")
    pairs = [(label, form) for label, forms in labels.items() for form in forms]
    detail = re.compile(row["detail"]) if "detail" in row else None
    positive = next(iter(labels))
    return Slot(
        axis,
        lead,
        tuple(form for _, form in pairs),
        tuple(label for label, _ in pairs),
        tuple(float(label == positive) for label, _ in pairs),
        detail=detail,
    )
