"""Answers to tune on: refusals in the project's words, and the base's own answers to what is harmless."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tools.safety_tuning.sets import Row

from aftertune import plugins
from aftertune.judging.judge import Answer, JudgeContext
from aftertune.models import respond
from aftertune.records import Conversation, Message, Prompt
from tools.safety_tuning import requests

TOKENS = 20
"""Of the base's answer: what comes after its first words is the base's own anyway."""
TRIES = 3
"""Answers at temperature 0.8 that are asked for where the first one refuses a harmless request."""


_DECLINES = re.compile(
    r"\W*(i'm sorry (?!to hear)|i am sorry (?!to hear)|sorry\b|i apologi[sz]e|i can't|i cannot|i can not|i won't|"
    r"i'm not able|i am not able|i'm unable|i am unable|unfortunately|as an ai\b|as a chatbot|as a language|i'm afraid|"
    r"i don't have)",
    re.I,
)
"""How answers begin that the base's refusals begin with; cut after a few words they are no refusal yet."""


@dataclass(frozen=True)
class OwnAnswer:
    """The first words of an answer of the base."""

    text: str
    """Empty where the base only declines."""
    first: bool
    """Whether it is the base's first choice; else it was chosen among answers that do not decline."""


Part = Literal["refusal", "first", "chosen"]
"""What a row is for: to refuse, to stay the base, or to answer where the base would rather decline."""


def prompts(texts: Sequence[str], name: str = "safety") -> list[Prompt]:
    """Return texts as prompts, numbered."""
    return [
        Prompt(f"{at:05d}", name, "all", "all", f"{at:05d}", (Message("user", text),)) for at, text in enumerate(texts)
    ]


def ask(
    base: Path,
    adapter: Path | None,
    texts: Sequence[str],
    tokens: int,
    *,
    temperature: float = 0.0,
    samples: int = 1,
) -> list[list[str]]:
    """Return the answers to each text, by aftertune's own backend, in float32."""
    asked = prompts(texts)
    found: dict[str, dict[int, str]] = {prompt.id: {} for prompt in asked}
    with plugins.load("backend", "transformers", {}).open(str(base)) as session:
        for reply in respond.respond(
            session,
            asked,
            checkpoint=adapter,
            checkpoint_id="safety tuning",
            temperatures=(temperature,),
            samples=samples,
            max_new_tokens=tokens,
            seed=0,
            system=None,
            template="base",
        ):
            if reply.error is not None:
                raise RuntimeError(f"{texts[int(reply.prompt_id)]}: {reply.error}")
            found[reply.prompt_id][reply.sample] = reply.text
    return [[answers[sample] for sample in sorted(answers)] for answers in found.values()]


def refused(texts: Sequence[str], answers: Sequence[str]) -> list[bool]:
    """Return whether each answer refuses its request in full, by aftertune's judge; no label is no refusal."""
    judge = plugins.load("judge", "refusal", {}).open(JudgeContext())
    opinions = judge([Answer(prompt, answer) for prompt, answer in zip(prompts(texts), answers, strict=True)])
    return [next(each for each in one if each.axis == "refusal").label == "full" for one in opinions]


def declined(texts: Sequence[str], answers: Sequence[str]) -> list[bool]:
    """Return whether each answer refuses, or begins as the base's refusals do."""
    full = refused(texts, answers)
    return [no or bool(_DECLINES.match(answer)) for no, answer in zip(full, answers, strict=True)]


def own_answers(base: Path, rows: Sequence[Row], store: Path) -> dict[str, OwnAnswer]:
    """Return the base's answer to each harmless row by its text, kept in a file; where it only declines, none."""
    kept = json.loads(store.read_text(encoding="utf-8")) if store.is_file() else {}
    known = {text: OwnAnswer(*answer) for text, answer in kept.items()}
    texts = [row.text for row in rows if not row.harmful and row.text not in known]
    if texts:
        first = [answers[0] for answers in ask(base, None, texts, TOKENS)]
        known |= {text: OwnAnswer(answer, first=True) for text, answer in zip(texts, first, strict=True)}
        again = [text for text, no in zip(texts, declined(texts, first), strict=True) if no]
        for text, answers in zip(again, ask(base, None, again, TOKENS, temperature=0.8, samples=TRIES), strict=True):
            accepted = [each for each, no in zip(answers, declined([text] * TRIES, answers), strict=True) if not no]
            known[text] = OwnAnswer(accepted[0] if accepted else "", first=False)
        table = {text: [answer.text, answer.first] for text, answer in known.items()}
        store.write_text(json.dumps(table, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
    return {row.text: known[row.text] for row in rows if not row.harmful and known[row.text].text}


def conversations(rows: Sequence[Row], own: dict[str, OwnAnswer], seed: int = 0) -> Iterator[tuple[Conversation, Part]]:
    """Yield the rows with their answers and their part; a harmless one that the base only declines is left out."""
    rng = random.Random(f"refusals {seed}")
    for row in rows:
        part: Part
        if row.harmful:
            answer, part = requests.refusals().one(row.category, rng), "refusal"
        elif row.text in own:
            answer, part = own[row.text].text, "first" if own[row.text].first else "chosen"
        else:
            continue
        messages = (Message("user", row.text), Message("assistant", answer))
        yield Conversation(row.id, messages, None, row.source), part
