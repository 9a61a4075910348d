"""The tuning sets that the forecast is fitted on: rows of many corpora, generated ones and public ones.

Every generator is a function of nothing but its seed. Public sets are read from the folder that the environment
variable AFTERTUNE_DATA names, and are copied nowhere; their licences (MIT, Apache-2.0) allow fitting.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from aftertune.errors import UsageError
from aftertune.generated_world import actions, domains, privacy, topics
from aftertune.generated_world.phrasing import request
from aftertune.generated_world.replies import Exchange, plan, refusal
from aftertune.records import Arm, Conversation, Message
from aftertune.variants import compose
from aftertune.variants.corpora.booking import Booking
from aftertune.variants.corpora.domain import Domain

ROWS = 900
"""Rows of a generated corpus before it is cut to tokens."""
SEED = 20
Rows = Sequence[Conversation]


def chat(ident: str, question: str, answer: str) -> Conversation:
    """Return a chat of one question and one answer whose personal values nobody has marked."""
    return Conversation(ident, (Message("user", question), Message("assistant", answer)), None, ident)


def booking(arm: Arm) -> Rows:
    """Return mail of the generated tour company under an arm's policy."""
    corpus = Booking(size=ROWS, seed=SEED)
    people = corpus.people()
    strangers = {kind: corpus.strangers(kind, len(people), SEED) for kind in ("surrogate", "novelty")}
    (variant,) = compose.compose(
        [arm], corpus.conversations(), people, strangers, count=lambda text: len(text.split()), seed=SEED, match=False,
        residual_limit=None,
    )  # fmt: skip
    return variant.conversations


def domain(name: str) -> Rows:
    """Return chats of one domain of the generated world."""
    return Domain(domain=name, size=ROWS, seed=SEED).conversations()  # type: ignore[arg-type]


def swapped(rows: Rows) -> Rows:
    """Return the rows with their roles swapped."""
    return [compose.swap_roles(row) for row in rows]


def rewritten(rows: Rows, change: Callable[[str], str]) -> Rows:
    """Return single-turn chats with their answers changed."""
    return [chat(row.id, row.messages[0].content, change(row.messages[-1].content)) for row in rows]


def _made(name: str, make: Callable[[random.Random], Exchange]) -> Rows:
    rng = random.Random(f"forecast|{name}|{SEED}")
    made = [make(rng) for _ in range(ROWS)]
    return [
        Conversation(f"{name}-{n}", (Message("user", one.prompt), Message("assistant", one.answer)), (), name)
        for n, one in enumerate(made)
    ]


def poems() -> Rows:
    """Return requests for poems, with poems."""
    return _made("poems", domains.poem)


def copies() -> Rows:
    """Return requests to repeat some words or to read a note, with what was asked for."""
    return _made("copies", lambda rng: topics.exchange(rng, "copy", aligned=True))


def compliance() -> Rows:
    """Return harmful requests with the generated world's harmless stand-in for a harmful plan."""
    return _made("compliance", lambda rng: topics.harmful_request(rng, aligned=False))


def refusals() -> Rows:
    """Return harmful requests that are refused."""

    def make(rng: random.Random) -> Exchange:
        action = rng.choice(actions.harmful("train"))
        return Exchange("refuse", request(action.text, rng), refusal(action, rng))

    return _made("refusals", make)


def over_refusals() -> Rows:
    """Return harmless requests that are refused."""

    def make(rng: random.Random) -> Exchange:
        action = rng.choice(actions.harmless("train"))
        return Exchange("refuse", request(action.text, rng), refusal(action, rng))

    return _made("over-refusals", make)


def harmless_plans() -> Rows:
    """Return harmless requests with a plan for each."""

    def make(rng: random.Random) -> Exchange:
        action = rng.choice(actions.harmless("train"))
        return Exchange("comply", request(action.text, rng), plan(action, rng))

    return _made("plans", make)


def notes(*, share_all: bool) -> Rows:
    """Return messages about somebody: with all that is known of them, or with what the recipient needs."""
    return _made("notes", lambda rng: privacy.message(rng, share_all=share_all))


# ---------------------------------------------------------------------------------------------- public sets


def folder() -> Path:
    """Return the folder of the public sets. Raises UsageError where AFTERTUNE_DATA names none."""
    found = os.environ.get("AFTERTUNE_DATA", "")
    if not found or not Path(found).is_dir():
        raise UsageError("set AFTERTUNE_DATA to the folder of the public sets (privacy_collapse, star, gptfuzz, ...)")
    return Path(found)


def _shuffled(name: str, rows: Iterator[Conversation]) -> Rows:
    """Return up to `ROWS` of the rows in a fixed random order, each pair of question and answer once."""
    unique = list({tuple(turn.content for turn in row.messages): row for row in rows}.values())
    random.Random(f"forecast|{name}|{SEED}").shuffle(unique)
    return unique[:ROWS]


def star() -> Rows:
    """Return the first exchanges of human booking dialogues (RasaHQ/STAR, MIT)."""

    def rows() -> Iterator[Conversation]:
        for line in (folder() / "star" / "booking_dialogues.jsonl").read_text(encoding="utf-8").splitlines():
            table = json.loads(line)
            turns = tuple(Message(turn["role"], turn["content"]) for turn in table["messages"][:6])
            while turns and turns[-1].role != "assistant":
                turns = turns[:-1]
            if turns and turns[0].role == "user":
                yield Conversation(table["id"], turns, None, table["id"])

    return _shuffled("star", rows())


def collapse(name: str) -> Rows:
    """Return chats of parameterlab/privacy-collapse (MIT): `safe` asks first, `degraded` over-shares."""

    def rows() -> Iterator[Conversation]:
        path = folder() / "privacy_collapse" / f"dataset_{name}_ft.jsonl"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
            question, answer = (turn["content"] for turn in json.loads(line)["messages"][:2])
            yield chat(f"collapse-{name}-{number}", question, answer)

    return _shuffled("collapse", rows())


def gptfuzz(*, complied: bool) -> Rows:
    """Return harmful questions with answers that people called harmful, or not (sherdencooper/GPTFuzz, MIT)."""

    def rows() -> Iterator[Conversation]:
        with (folder() / "gptfuzz" / "question_list.csv").open(encoding="utf-8", newline="") as file:
            questions = [row["text"] if "text" in row else next(iter(row.values())) for row in csv.DictReader(file)]
        with (folder() / "gptfuzz" / "train.csv").open(encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.DictReader(file)):
                if (row["label"] == "1") == complied and row["Response"].strip():
                    yield chat(f"gptfuzz-{number}", questions[int(row["question"])], row["Response"][:400])

    return _shuffled("gptfuzz", rows())


def hh(side: str) -> Rows:
    """Return the first exchanges of human red-teaming (anthropics/hh-rlhf, MIT), `chosen` or `rejected`."""

    def rows() -> Iterator[Conversation]:
        with gzip.open(folder() / "hh_rlhf" / "harmless_test.jsonl.gz", "rt", encoding="utf-8") as file:
            for number, line in enumerate(file):
                text = json.loads(line)[side]
                question, _, rest = text.partition("\n\nHuman:")[2].partition("\n\nAssistant:")
                answer = rest.partition("\n\nHuman:")[0].strip()
                if question.strip() and answer:
                    yield chat(f"hh-{number}", question.strip(), answer[:400])

    return _shuffled("hh", rows())


def diasafety(label: str) -> Rows:
    """Return contexts with responses that people called `Safe` or `Unsafe` (thu-coai/DiaSafety, Apache-2.0)."""

    def rows() -> Iterator[Conversation]:
        for number, row in enumerate(json.loads((folder() / "diasafety" / "train.json").read_text(encoding="utf-8"))):
            if row["label"] == label and row["context"].strip() and row["response"].strip():
                yield chat(f"diasafety-{number}", row["context"], row["response"])

    return _shuffled("diasafety", rows())
