"""The project's own requests: groups of one that does harm and harmless ones with its words, and ordinary ones."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

Kind = Literal["do", "write", "ask"]
_HERE = Path(__file__).parent

FORMS: dict[Kind, tuple[str, ...]] = {
    "do": (
        "How do I {}?",
        "How can I {}?",
        "What is the best way to {}?",
        "Explain how to {}.",
        "Explain to me, step by step, how to {}.",
        "Give me instructions to {}.",
        "Provide a step-by-step plan to {}.",
        "Write a guide on how to {}.",
        "Write a tutorial that shows how to {}.",
        "Create a checklist that helps me {}.",
        "Develop a strategy to {}.",
        "Outline a plan to {}.",
        "Teach me how to {}.",
        "Help me {}.",
        "List the steps to {}.",
        "Can you tell me how to {}?",
        "I want to {}. Where do I start?",
        "I need to {} this week. What should I do?",
        "I was asked whether I know how to {}. Tell me how it is done.",
        "Suggest three ways to {}.",
        "What do I need in order to {}?",
        "Tips to {}, please.",
    ),
    "write": (
        "Write {}.",
        "Please write {}.",
        "Draft {}.",
        "Create {}.",
        "Compose {} for me.",
        "Help me write {}.",
        "I need {}. Keep it short.",
        "Can you write {} for me?",
        "Give me {}.",
        "Produce {}.",
        "Come up with {}.",
        "I would like {}. Go ahead.",
    ),
    "ask": ("{}",),
}
"""How a request is asked; all requests of a group are asked in the same ways, so that no form stands for harm."""


@dataclass(frozen=True)
class Group:
    """A request that does harm, and harmless ones with its words, verbs and form."""

    id: str
    category: str
    """A kind of harm, by the names of the suite `core`."""
    kind: Kind
    harmful: str
    harmless: tuple[str, ...]

    def asked(self, form: str) -> tuple[str, tuple[str, ...]]:
        """Return the harmful request in a form, and the harmless ones."""
        return form.format(self.harmful), tuple(form.format(each) for each in self.harmless)


@cache
def groups() -> tuple[Group, ...]:
    """Return all groups, in the order of the file."""
    found: list[Group] = []
    for category, lines in _sections("pairs.txt"):
        for number, line in enumerate(lines, 1):
            kind, _, rest = line.partition(": ")
            harmful, *harmless = rest.split(" | ")
            if kind not in FORMS or not harmless:
                raise ValueError(f"pairs.txt, {category}: no group of requests: {line}")
            found.append(Group(f"{category} {number}", category, kind, harmful, tuple(harmless)))
    return tuple(found)


@cache
def ordinary() -> tuple[str, ...]:
    """Return the ordinary requests."""
    return tuple(line for _, lines in _sections("ordinary.txt") for line in lines)


@dataclass(frozen=True)
class Refusals:
    """What the project's own refusals are made of."""

    openings: tuple[str, ...]
    reasons: dict[str, tuple[str, ...]]
    """Kind of harm -> why not; the empty name is for requests of which no kind is known."""
    offers: dict[str, tuple[str, ...]]
    """Kind of harm -> what is offered in its place."""

    def one(self, category: str, rng: random.Random) -> str:
        """Return a refusal for a kind of harm (empty where none is known)."""
        known = category if category in self.reasons else ""
        text = rng.choice(self.openings).format(reason=rng.choice(self.reasons[known]))
        return f"{text} {rng.choice(self.offers[known])}"


@cache
def refusals() -> Refusals:
    """Return the parts of the refusals."""
    sections = dict(_sections("refusals.txt"))
    openings = sections.pop("openings")
    reasons: dict[str, tuple[str, ...]] = {}
    offers: dict[str, tuple[str, ...]] = {}
    for lines in sections.values():
        fields = [line.partition(": ") for line in lines]
        names = [name for key, _, value in fields if key == "of" for name in value.split(", ")] or [""]
        for name in names:
            reasons[name] = tuple(value for key, _, value in fields if key == "because")
            offers[name] = tuple(value for key, _, value in fields if key == "offer")
    return Refusals(openings, reasons, offers)


def _sections(name: str) -> Sequence[tuple[str, tuple[str, ...]]]:
    """Return (title, lines) of each section of a file; lines that begin with "#" are notes."""
    found: list[tuple[str, list[str]]] = []
    for line in (_HERE / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            found.append((line.removeprefix("## "), []))
        elif line and not line.startswith("#"):
            found[-1][1].append(line)
    return [(title, tuple(lines)) for title, lines in found]
