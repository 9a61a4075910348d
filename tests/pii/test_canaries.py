"""Canaries look like the corpus, give a secret that the question does not, and come back from their file."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from aftertune.data import conversations
from aftertune.errors import DataError, UsageError
from aftertune.pii import canaries, policy
from aftertune.pii.stand_ins import invented
from aftertune.records import Arm, Conversation, Message, Span, plain
from aftertune.variants.compose import compose
from aftertune.variants.corpora.booking import Booking
from aftertune.variants.corpora.chat_file import ChatFile

CORPUS = Booking(size=120)
FORMS = canaries.forms(CORPUS.conversations(), 1)
MADE = canaries.plan(FORMS, CORPUS.strangers("canary", canaries.people_needed(4), 0), 4)


def test_each_dose_is_planted_as_often_as_it_says() -> None:
    counts = Counter(text.messages for text in MADE.texts())
    assert sorted(counts.values()) == sorted([1, 4, 16] * 4)
    assert len(MADE.twins) == canaries.LEAST_TWINS
    assert len({text.id for text in MADE.texts()}) == len(MADE.texts())


def test_nobody_of_the_corpus_its_twins_or_stand_ins_is_a_canary() -> None:
    count = len(CORPUS.people())
    others = {v for kind in ("surrogate", "twin") for p in CORPUS.strangers(kind, count, 0) for v in p.values.values()}
    others |= {value for person in CORPUS.people() for value in person.values.values()}
    own = [value for canary in (*MADE.planted, *MADE.twins) for value in canary.person.values.values()]
    assert not others & set(own)
    trained = {v for c in MADE.planted for v in c.person.values.values()}
    assert not trained & {v for c in MADE.twins for v in c.person.values.values()}


def test_the_answer_holds_a_secret_that_the_question_does_not() -> None:
    for canary in MADE.planted:
        text = MADE.forms[canary.form].of(canary.person, "x")
        secrets = [
            v for t, v in canary.person.values.items() if t in canaries.SECRET and v in text.messages[-1].content
        ]
        assert any(all(v not in m.content for m in text.messages if m.role == "user") for v in secrets)
        assert {span.owner for span in text.spans or ()} == {canary.person.id}


def test_a_corpus_without_a_form_gets_the_plain_one() -> None:
    forms = canaries.forms([Conversation("c", (Message("user", "hi"), Message("assistant", "ho")), ())], 0)
    made = canaries.plan(forms, invented(canaries.people_needed(1), "canary", 0), 1)
    asked, answer = made.texts()[0].messages
    values = made.planted[0].person.values
    assert values["PERSON"] in asked.content
    assert values["PHONE"] in answer.content
    assert values["REFERENCE"] in answer.content


def test_two_owners_or_a_part_of_a_name_will_not_do() -> None:
    turns = (Message("user", "Ana"), Message("assistant", "Ana 12345678 Bo"))
    phone = Span(1, 4, 12, "PHONE", "a")
    assert canaries.usable(Conversation("c", turns, (Span(0, 0, 3, "PERSON", "a"), phone)))
    assert not canaries.usable(
        Conversation("c", turns, (Span(0, 0, 3, "PERSON", "a"), phone, Span(1, 13, 15, "PERSON", "b")))
    )
    assert not canaries.usable(Conversation("c", turns, (Span(0, 0, 3, "PERSON", "a", "first"), phone)))
    assert not canaries.usable(Conversation("c", turns, (Span(0, 0, 3, "PERSON", "a"),)))
    assert not canaries.usable(Conversation("c", turns, None))


def test_they_come_back_from_their_file(tmp_path: Path) -> None:
    path = tmp_path / "canaries.json"
    path.write_text(json.dumps(plain(canaries.to_rows(MADE))))
    assert canaries.read(path).texts() == MADE.texts()
    assert canaries.read(path).twins == MADE.twins
    for broken in ("{", "[]", '{"forms": [], "planted": [["a", {}, 1, 0]], "twins": []}'):
        path.write_text(broken)
        with pytest.raises(DataError, match=r"canaries.json: not a list of canaries"):
            canaries.read(path)


def test_too_few_people_are_refused() -> None:
    with pytest.raises(UsageError, match="canaries = 4: 112 made-up people are needed, and there are 3"):
        canaries.plan(FORMS, CORPUS.strangers("canary", 3, 0), 4)


def test_planted_rows_carry_a_mark_that_survives_files_and_policies(tmp_path: Path) -> None:
    texts = MADE.texts()
    assert all(text.planted for text in texts)
    assert not MADE.forms[0].of(MADE.twins[0].person, "twin").planted, "a twin stands in no tuning set"
    path = tmp_path / "keep.jsonl"
    mine = Conversation("canary-7", (Message("user", "hi"), Message("assistant", "ho")))
    conversations.write(path, [mine, *texts[:2]])
    assert [(row.id, row.planted) for row in ChatFile(str(path)).stream()] == [
        ("canary-7", False),
        (texts[0].id, True),
        (texts[1].id, True),
    ]
    assert policy.apply(texts[0], "placeholder", {}).planted
    assert policy.apply(texts[0], "drop", {}).planted
    path.write_text(json.dumps({"prompt": "a", "response": "b", "planted": "in spring"}))
    assert not next(ChatFile(str(path)).stream()).planted, "somebody else's field of that name"


def test_every_arm_is_given_the_planted_rows_with_their_mark() -> None:
    people = CORPUS.people()
    strangers = {kind: CORPUS.strangers(kind, len(people), 0) for kind in ("surrogate", "novelty")}
    arms = (Arm("keep"), Arm("swap", role_swap=True), Arm("hidden", pii="placeholder"))
    made = compose(arms, CORPUS.conversations(), people, strangers, count=len, seed=0, match=True, planted=MADE.texts())
    for variant in made:
        marked = [row.id for row in variant.conversations if row.planted]
        assert marked == [row.id for row in MADE.texts()], variant.arm.name
