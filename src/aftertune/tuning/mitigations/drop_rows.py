"""A filter: the training rows with the highest scores are dropped, or as many at random."""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from aftertune.errors import DataError, UsageError
from aftertune.plugins import Card
from aftertune.records import Conversation, seed_of
from aftertune.tuning.mitigation import Mitigation, Stage, Training
from aftertune.tuning.mixing import number


@dataclass(frozen=True)
class DropRows(Mitigation):
    """Training rows are left out by a score, or at random."""

    card: ClassVar[Card] = Card(
        about=(
            "Leaves out `share` of the training rows: those with the highest score in a CSV file with the columns `id` "
            "and `score`, or, without a file, rows drawn at random. The random drop is the control: fewer rows are "
            "fewer steps, which alone loses less; a filter is worth what it does beyond that."
        ),
        source="He et al. 2024, What is in your safe data?, arXiv 2404.01099 (scores by gradient and representation)",
        licence="part of aftertune; a file of scores has its own",
        positive="less is lost than with as many rows dropped at random",
        speed="less time: fewer rows",
        weaknesses=(
            "in a prototype on the miniature dropping the worst 10 % by gradient or by projection saved no more than a "
            "random 10 %, within the noise of seeds: the damage is not in a few rows"
        ),
    )
    stage: ClassVar[Stage] = "before"

    share: float = 0.1
    """Of the rows, to be left out."""
    path: str = ""
    """CSV file with the columns `id` and `score`; empty drops at random."""

    def __post_init__(self) -> None:
        """Refuse a share that leaves nothing. Raises ValueError."""
        if not isinstance(self.share, int | float) or isinstance(self.share, bool) or not 0 <= self.share < 1:
            raise ValueError(f"share = {self.share!r}: give a share from 0 to below 1")

    def files(self) -> tuple[Path, ...]:
        """Return the file of scores. Raises UsageError where it is not here."""
        if not self.path:
            return ()
        path = Path(self.path).expanduser()
        if not path.is_file():
            raise UsageError(f"{path}: no such file")
        return (path,)

    def rows(self, conversations: Sequence[Conversation], training: Training) -> Sequence[Conversation]:
        """Return the rows that are left, in their order; rows with equal scores are dropped by the seed.

        Raises DataError for a file without the columns, with a score that is no number, or without one for a row.
        """
        count = number(len(conversations), self.share)
        if not count:
            return conversations
        rng = random.Random(seed_of("dropped", training.seed))
        order = rng.sample(range(len(conversations)), len(conversations))
        ids = [conversation.id for conversation in conversations]
        if self.path:
            scores = self._scores()
            missing = [id_ for id_ in ids if id_ not in scores]
            if missing:
                raise DataError(
                    f"{self.path}: no score for {len(missing)} of {len(ids)} rows, e.g. '{missing[0][:40]}'"
                )
            order.sort(key=lambda at: -scores[ids[at]])
        dropped = set(order[:count])
        return [conversation for at, conversation in enumerate(conversations) if at not in dropped]

    def _scores(self) -> Mapping[str, float]:
        (path,) = self.files()
        scores: dict[str, float] = {}
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file)
                if not {"id", "score"} <= set(reader.fieldnames or ()):
                    raise DataError(f"{path}: expected the columns id and score")
                for number_, row in enumerate(reader, start=2):
                    try:
                        score = float(row["score"])
                    except (TypeError, ValueError):
                        score = math.nan
                    if not math.isfinite(score):
                        raise DataError(f"{path}, line {number_}: score '{str(row['score'])[:40]}' is no number")
                    if row["id"] in scores:
                        raise DataError(f"{path}, line {number_}: '{row['id'][:40]}' has a score already")
                    scores[row["id"]] = score
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 at byte {error.start}") from None
        except csv.Error as error:
            raise DataError(f"{path}: not valid CSV: {error}") from None
        return scores


PLUGIN = DropRows
