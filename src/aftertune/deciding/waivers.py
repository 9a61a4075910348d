"""Waivers: losses that somebody accepts by name, up to a size and until a day, kept in a TOML file.

    [[waiver]]
    run = "adapter-17"                      # pattern on the run folder's name; default "*"
    arm = "keep"                            # pattern on the arm or checkpoint; default "*"
    metric = "*/harmless/refusal=full"      # pattern on the metric's name
    up_to = 0.15                            # the largest loss that is accepted, as the policy's margins
    by = "Ana Duarte"
    until = 2027-03-31
    why = "A support bot may be overcautious until the next training."

A waiver changes no decision: it says beside it that the loss is accepted, by whom and until when. It does not hold
after its day, for a loss that is, or by its interval may be, larger than it accepts (answers without a verdict counted
as the worst), where a floor or ceiling is broken or may be, where the judge tells nothing apart, or for what was not
measured. Nothing here proves that `by` wrote it: keep the file where changes are signed and reviewed.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from aftertune import direction, toml_records
from aftertune.errors import UsageError, near
from aftertune.records import Decision, Drift

KEYS = ("run", "arm", "metric", "up_to", "by", "until", "why")


@dataclass(frozen=True, slots=True)
class Waiver:
    """One accepted loss."""

    metric: str
    up_to: float
    by: str
    until: datetime.date
    why: str
    run: str = "*"
    arm: str = "*"

    def about(self, run: str, decision: Decision) -> bool:
        """Return whether the check is one that the waiver names."""
        pairs = ((run, self.run), (decision.unit, self.arm), (decision.metric, self.metric))
        return all(fnmatchcase(name, pattern) for name, pattern in pairs)

    def refusal(self, decision: Decision, row: Drift | None, today: datetime.date) -> str:
        """Return why the waiver does not hold for a check that it is about; empty where it does."""
        if today > self.until:
            return f"ended on {self.until.isoformat()}"
        if decision.outcome == "error" or row is None or row.delta is None:
            return "nothing was measured"
        if decision.beside:
            return f"{decision.beside}, of which it says nothing"
        loss = direction.loss(row.delta, row.worse)
        if loss > self.up_to:
            return f"accepts {self.up_to:g}, and the loss is {loss:.3g}"
        most = _most(row)
        if most > self.up_to:
            return f"accepts {self.up_to:g}, and the loss may be {'anything' if math.isinf(most) else f'{most:.3g}'}"
        return ""

    @property
    def sentence(self) -> str:
        """Who accepts what, until when, and why."""
        about = f"{self.metric} of {self.arm} in {self.run}, up to {self.up_to:g}"
        return f"{about}: {self.by}, until {self.until}: {self.why}"


def _most(row: Drift) -> float:
    """Return the largest loss within the interval, every answer counted as the worst of which it is not known."""
    unknown = row.unjudged_base + row.unjudged_tuned + row.unseen_base + row.unseen_tuned
    ends = [(row.low, row.high)] + [(row.worst_low, row.worst_high)] * bool(unknown)
    losses = [high if row.worse == "up" else None if low is None else -low for low, high in ends]
    return max(math.inf if loss is None else loss for loss in losses)


def read(path: Path) -> list[Waiver]:
    """Return the waivers of a file. Raises UsageError, with the number of the waiver and the key, for a broken one."""
    try:
        document = toml_records.load(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"waivers {path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"waivers {path}: cannot be read: not UTF-8 text") from None
    except UsageError as error:
        raise UsageError(f"waivers {path}: {error}") from None
    tables = document.pop("waiver", [])
    if document:
        key = next(iter(document))
        raise UsageError(f"waivers {path}: unknown key '{key}'{near(key, ['waiver'])}; each is a [[waiver]] table")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UsageError(f"waivers {path}: each waiver is a [[waiver]] table")
    return [_waiver(f"waivers {path}, number {number}", table) for number, table in enumerate(tables, 1)]


def _waiver(where: str, table: dict[str, Any]) -> Waiver:
    for key in table:
        if key not in KEYS:
            raise UsageError(f"{where}: unknown key '{key}'{near(key, list(KEYS))}")
    texts = {key: table.get(key) for key in ("metric", "by", "why")}
    for key, value in texts.items():
        if not isinstance(value, str) or not value.strip():
            raise UsageError(f"{where}: `{key}` must say {_NEEDED[key]}")
    for key in ("run", "arm"):
        if not isinstance(table.get(key, "*"), str) or not table.get(key, "*"):
            raise UsageError(f"{where}: `{key}` must be a name or a pattern")
    until = table.get("until")
    if isinstance(until, datetime.datetime) or not isinstance(until, datetime.date):
        raise UsageError(f"{where}: `until` must be a day, e.g. until = 2027-03-31: a waiver without end is a policy")
    up_to = table.get("up_to")
    if isinstance(up_to, bool) or not isinstance(up_to, (int, float)) or not 0 <= up_to < float("inf"):
        raise UsageError(f"{where}: `up_to` must be the largest loss that is accepted, e.g. up_to = 0.15 for 15 points")
    named = {key: str(table[key]) for key in ("run", "arm") if key in table}
    return Waiver(**{key: str(value) for key, value in texts.items()}, up_to=float(up_to), until=until, **named)


_NEEDED = {"metric": "which metric, by name or pattern", "by": "who accepts it", "why": "why it is accepted"}


def unused(waivers: Sequence[Waiver], used: Sequence[Waiver]) -> list[Waiver]:
    """Return the waivers that no check is about."""
    return [waiver for waiver in waivers if waiver not in used]
