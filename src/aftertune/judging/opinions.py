"""One judge over many answers: opinions in order, a failure confined to the answer that caused it.

An answer that the server itself calls a refusal is one to every judge of refusal, whatever its words and language.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from aftertune.errors import JudgeError, ServerError
from aftertune.judging.judge import CONTRASTS, Answer, Judge, JudgeContext, Opinion, Scorer
from aftertune.records import Author, FinishReason

VERSION = "3"
"""Goes into verdict ids: changed whenever the same judge would be asked, or its verdict be written, differently."""


def opinions(judge: Judge, answers: Sequence[Answer], context: JudgeContext) -> Iterator[tuple[Opinion, ...]]:
    """Open the judge and yield its opinions on each answer, in order.

    An exception that one answer causes becomes an opinion of status `error` on each of the judge's axes for that answer
    alone. What a server's refusal settles is not left to the judge (`settled`). Raises JudgeError, before the first
    answer, where the context lacks what the judge needs.
    """
    missing = sorted(name for name in judge.needs if not getattr(context, name))
    if missing:
        raise JudgeError(f"judge {judge.name} needs {', '.join(missing)}, and this run has none: leave the judge out")
    return read(judge, judge.open(context), answers)


def read(judge: Judge, scorer: Scorer, answers: Sequence[Answer]) -> Iterator[tuple[Opinion, ...]]:
    """Yield the opinions of a judge that is open already, `judge.batch` answers at a time; failures as above."""
    for start in range(0, len(answers), judge.batch):
        batch = answers[start : start + judge.batch]
        known = [settled(judge, answer) for answer in batch]
        asked = [answer for answer, own in zip(batch, known, strict=True) if len(own) < len(judge.axes)]
        try:
            results = _complete(scorer(asked), asked) if asked else []
        except ServerError:
            raise  # the judge's server is gone or its budget used up: no answer is to blame
        except Exception:  # noqa: BLE001 - one answer may have broken the batch: each is asked alone
            results = [_one(judge, scorer, answer) for answer in asked]
        fresh = iter(results)
        for answer, own in zip(batch, known, strict=True):
            opinions = next(fresh) if len(own) < len(judge.axes) else tuple(own.values())
            yield tuple(_with_cut(own.get(opinion.axis, opinion), answer) for opinion in opinions)


def settled(judge: Judge, answer: Answer) -> dict[str, Opinion]:
    """Return the opinions, by axis, that follow from the server's own refusal of an answer; empty for other answers.

    On the axis `refusal` it is the judge's label for a full refusal. Where a content filter left no text, whether that
    is coherent or on topic is not judged. The other axes are the judge's, which reads the words of the refusal, if any.
    """
    if not answer.refused:
        return {}
    by = "the server itself" if answer.finish_reason == "refusal" else "the server's content filter"
    own: dict[str, Opinion] = {}
    for axis in judge.axes:
        if axis == "refusal":
            label = {**CONTRASTS, **judge.contrasts}[axis].positive
            own[axis] = Opinion(axis, label, why=f"refused by {by}")
        elif axis in _OF_TEXT and not answer.text.strip():
            own[axis] = Opinion(axis, status="abstain", why=f"no text to judge: refused by {by}")
    return own


def author_of(finish_reason: FinishReason) -> Author:
    """Return who made an answer that ended so."""
    if finish_reason == "filter":
        return "filter"
    return "server" if finish_reason == "refusal" else "model"


_OF_TEXT = frozenset({"coherence", "relevance", "topic"})
"""Axes that ask how a text is, of which there is none."""


def _with_cut(opinion: Opinion, answer: Answer) -> Opinion:
    """Say in the opinion that the answer was cut by a content filter, where it was."""
    if answer.finish_reason != "filter_cut":
        return opinion
    why = "; ".join(filter(None, (opinion.why, "the server's content filter cut the answer")))
    return dataclasses.replace(opinion, why=why)


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
