"""What every corpus declares, and what one of another package gets without writing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from aftertune.errors import DataError, UsageError
from aftertune.plugins import Card, names, plugin_class
from aftertune.records import Conversation, Message
from aftertune.variants.corpora.booking import Booking
from aftertune.variants.corpora.chat_file import ChatFile
from aftertune.variants.corpora.domain import Domain
from aftertune.variants.corpus import Corpus


@dataclass(frozen=True)
class Poems(Corpus):
    """A corpus that declares no more than it must."""

    card: ClassVar[Card] = Card(about="two poems", source="nobody", licence="none")
    size: int = 2
    version: str = field(default="7", init=False)

    def conversations(self) -> Sequence[Conversation]:
        turns = (Message("user", "a poem"), Message("assistant", "oh sea"))
        return [Conversation(f"poem-{index}", turns, ()) for index in range(self.size)]


@pytest.mark.parametrize("name", names("corpus"))
def test_a_corpus_is_a_corpus_with_a_card(name: str) -> None:
    cls = plugin_class("corpus", name)
    assert issubclass(cls, Corpus)
    assert isinstance(cls.card, Card)
    assert all((cls.card.about, cls.card.source, cls.card.licence, cls.card.weaknesses))


def test_what_is_not_declared_has_a_documented_default() -> None:
    poems = Poems()
    assert list(poems.stream()) == poems.conversations()
    assert (poems.path, poems.files(), poems.expected, poems.composed) == ("", (), None, False)
    assert list(poems.people()) == []
    assert list(poems.strangers("twin", 0, 1)) == []
    with pytest.raises(UsageError, match=r"poems: nobody stands in it, so there is no twin; use pii = 'keep'"):
        poems.strangers("twin", 1, 1)


@pytest.mark.parametrize("corpus", [Booking(size=20), Domain(size=20)], ids=["booking", "domain"])
def test_a_generated_corpus_reads_no_file(corpus: Corpus) -> None:
    assert (corpus.path, corpus.files(), corpus.composed) == ("", (), False)
    assert list(corpus.stream()) == list(corpus.conversations())


def test_the_file_and_the_twins_beside_it_decide_the_id(tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    corpus = ChatFile(str(path))
    for read in (corpus.files, lambda: corpus.expected, corpus.conversations):
        with pytest.raises(UsageError, match="no such file"):
            read()
    path.write_text('{"prompt": "hi", "response": "yo"}\n' * 3, encoding="utf-8")
    assert corpus.files() == (path,)
    assert not corpus.composed
    (tmp_path / "people.json").write_text(
        '{\n"aftertune": "people", "twin": [{"id": "t", "values": {"PERSON": "Ann Lee"}}]}', encoding="utf-8"
    )
    assert corpus.composed
    assert corpus.files() == (path, tmp_path / "people.json")
    assert [person.values for person in corpus.strangers("twin", 1, 0)] == [{"PERSON": "Ann Lee"}]
    (tmp_path / "people.json").write_text('{\n"aftertune": "people", "twin": [1]}', encoding="utf-8")
    with pytest.raises(DataError, match=r"people.json: not a list of people"):
        corpus.strangers("twin", 1, 0)


def test_a_file_says_how_many_conversations_to_expect(tmp_path: Path) -> None:
    row = '{"prompt": "hi", "response": "yo"}'
    lines, whole, table = (tmp_path / name for name in ("a.jsonl", "b.json", "c.csv"))
    lines.write_text(f"{row}\n" * 9 + row, encoding="utf-8")
    whole.write_text(f"[{row}, {row}]", encoding="utf-8")
    table.write_text("prompt,response\nhi,yo\n", encoding="utf-8")
    assert [ChatFile(str(path)).expected for path in (lines, whole, table)] == [10, None, None]
    assert [ChatFile(str(path), limit=4).expected for path in (lines, whole, table)] == [4, 4, 4]
    assert len(ChatFile(str(lines), limit=4).conversations()) == 4


def test_a_chat_file_without_a_path_is_refused() -> None:
    with pytest.raises(TypeError, match="path"):
        ChatFile()  # type: ignore[call-arg]
