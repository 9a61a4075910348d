"""Which rows are scored as members: the user's own, whatever their ids, and no canary."""

from __future__ import annotations

from aftertune.asking import score_texts
from aftertune.pii import canaries
from aftertune.pii.stand_ins import invented
from aftertune.records import Conversation, Message


def chat(ident: str) -> Conversation:
    return Conversation(ident, (Message("user", f"hi {ident}"), Message("assistant", "ho")))


def test_a_row_whose_id_looks_like_a_canary_is_scored_and_planted_rows_are_not() -> None:
    planted = canaries.plan((canaries.PLAIN,), invented(canaries.people_needed(1), "canary", 0), 1)
    mine = [chat("canary-7"), chat("row-1")]
    texts = score_texts.texts([*mine, *planted.texts()], [chat("apart")], planted, 0)
    assert [text.conversation.id for text in texts if text.group == "member"] == ["canary-7", "row-1"]
    assert sum(text.group == "canary" for text in texts) == 3
