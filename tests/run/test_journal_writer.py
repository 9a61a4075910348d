"""What is finished reaches the disk within seconds, however few records there are and however long the next one takes."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from aftertune.errors import StoreError
from aftertune.run.journal_writer import JournalWriter


class Disk:
    def __init__(self, full_after: int = 99) -> None:
        self.writes: list[list[object]] = []
        self.full_after = full_after

    def append(self, rows: Sequence[object]) -> None:
        if len(self.writes) >= self.full_after:
            raise StoreError("the disk is full")
        self.writes.append(list(rows))


def wait_until(holds: object, seconds: float = 5.0) -> bool:
    assert callable(holds)
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.005)
    return bool(holds())


def test_one_record_is_written_while_the_next_is_awaited() -> None:
    disk = Disk()
    with JournalWriter(disk.append, seconds=0.05) as writer:
        writer.add("a")
        assert wait_until(lambda: disk.writes == [["a"]]), "nothing else was added"
        writer.add("b", "c")
        assert wait_until(lambda: disk.writes == [["a"], ["b", "c"]])
        writer.add("d")
    assert disk.writes[-1] == ["d"], "the journal is whole where it was begun"


def test_a_job_that_ends_at_once_writes_no_journal() -> None:
    disk = Disk()
    with JournalWriter(disk.append, seconds=60) as writer:
        for row in range(1000):
            writer.add(row)
    assert disk.writes == []


def test_what_was_finished_is_written_where_the_job_ends_in_an_error() -> None:
    disk = Disk()
    with pytest.raises(KeyboardInterrupt), JournalWriter(disk.append, seconds=60) as writer:
        writer.add("a")
        raise KeyboardInterrupt
    assert disk.writes == [["a"]]


@pytest.mark.parametrize(("seconds", "most", "expected"), [
    (0.0, 0, [[0], [1], [2], [3], [4]]), (60.0, 1, [[0], [1], [2], [3], [4]]), (60.0, 2, [[0, 1], [2, 3], [4]]),
])  # fmt: skip
def test_records_are_written_at_once_or_by_number_too(seconds: float, most: int, expected: list[list[int]]) -> None:
    disk = Disk()
    with JournalWriter(disk.append, seconds=seconds, most=most) as writer:
        for row in range(5):
            writer.add(row)
    assert disk.writes == expected


def test_a_full_disk_ends_the_job_at_its_next_record_or_at_its_end() -> None:
    for again in (True, False):
        disk = Disk(full_after=0)
        writer = JournalWriter(disk.append, seconds=0.01)
        with pytest.raises(StoreError, match="the disk is full"), writer:
            writer.add("a")
            assert wait_until(lambda: writer._failure is not None)  # noqa: B023
            if again:
                writer.add("b")
                raise AssertionError("it went on")


def test_the_words_of_what_ended_the_job_are_not_replaced_by_the_disks() -> None:
    with (
        pytest.raises(ValueError, match="the model broke"),
        JournalWriter(Disk(full_after=0).append, seconds=60) as one,
    ):
        one.add("a")
        raise ValueError("the model broke")
