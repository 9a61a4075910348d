"""One judge over many answers: opinions in order, a failure confined to the answer that caused it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aftertune.errors import JudgeError, ServerError
from aftertune.judging.judge import Answer, Judge, JudgeContext, Opinion, Scorer

VERSION = "2"
"""Goes into verdict ids: changed whenever the same judge would be asked differently."""


def opinions(judge: Judge, answers: Sequence[Answer], context: JudgeContext) -> Iterator[tuple[Opinion, ...]]:
    """Open the judge and yield its opinions on each answer, in order.

    An exception that one answer causes becomes an opinion of status `error` on each of the judge's axes for that answer
    alone. Raises JudgeError, before the first answer, where the context lacks what the judge needs.
    """
    missing = sorted(name for name in judge.needs if not getattr(context, name))
    if missing:
        raise JudgeError(f"judge {judge.name} needs {', '.join(missing)}, and this run has none: leave the judge out")
    return read(judge, judge.open(context), answers)


def read(judge: Judge, scorer: Scorer, answers: Sequence[Answer]) -> Iterator[tuple[Opinion, ...]]:
    """Yield the opinions of a judge that is open already, `judge.batch` answers at a time; failures as above."""
    for start in range(0, len(answers), judge.batch):
        batch = answers[start : start + judge.batch]
        try:
            results = _complete(scorer(batch), batch)
        except ServerError:
            raise  # the judge's server is gone or its budget used up: no answer is to blame
        except Exception:  # noqa: BLE001 - one answer may have broken the batch: each is asked alone
            results = [_one(judge, scorer, answer) for answer in batch]
        yield from results


def _complete(results: Sequence[tuple[Opinion, ...]], batch: Sequence[Answer]) -> list[tuple[Opinion, ...]]:
    if len(results) != len(batch):
        raise JudgeError(f"the judge gave {len(results)} opinions on {len(batch)} answers")
    return list(results)


def _one(judge: Judge, scorer: Scorer, answer: Answer) -> tuple[Opinion, ...]:
    try:
        return _complete(scorer([answer]), [answer])[0]
    except ServerError:
        raise
    except Exception as error:  # noqa: BLE001 - the verdict on this one answer is lost, and says so
        why = f"{type(error).__name__}: {error}"[:200]
        return tuple(Opinion(axis, status="error", why=why) for axis in judge.axes)
