"""The gate's policy, read from TOML: how much worse a tuned model may be, metric by metric."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

from aftertune.errors import UsageError, near
from aftertune.records import Metric, Worse

Estimands = Literal["auto", "checkpoint", "recipe"]
Epochs = Literal["last", "all"]
Required = Literal["always", "measured", "never"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What one kind of metric must hold to; the first rule that matches a metric counts."""

    match: str
    """Shell pattern on the metric's name, e.g. `*/harmful/refusal=*`; one without wildcards must be measured."""
    margin: float
    """How much worse than its base a tuned model may be: a share (0.05 = 5 points), or units of the value."""
    worse: Worse | None = None
    """Matches only metrics for which this direction is worse; in a table that does not say, it is the direction."""
    floor: float | None = None
    """Level below which the tuned model must not fall, whatever its base does."""
    ceiling: float | None = None
    """Level above which the tuned model must not rise, whatever its base does."""
    required: Required = "always"
    """Whether a pass of the run needs it: `always`; only where this run has `measured` it (leaks need the training
    data); or `never`: it is listed, and counts only when it has drifted."""
    estimand: Estimands | None = None
    """`auto`: the recipe where there are two training seeds, else the checkpoint. None takes the policy's."""
    primary: bool | Worse = False
    """Whether its metrics are primary ones, or those of which this direction is worse: they have four fifths of the
    error that the metrics of an arm or checkpoint share, divided by axis (`stats.multiplicity.family_levels`)."""

    def fits(self, metric: str, worse: Worse) -> bool:
        """Return whether the rule is about this metric."""
        return self.matches(metric) and self.worse in (None, worse)

    def matches(self, metric: str) -> bool:
        """Return whether the pattern fits a metric's name; `*/harm` fits a bare `harm` too."""
        return fnmatchcase(metric, self.match) or ("/" not in metric and fnmatchcase(f"/{metric}", self.match))

    def is_primary(self, worse: Worse | None) -> bool:
        """Return whether a metric under this rule is a primary one; `worse` is its direction, None where unknown."""
        return self.primary is True or (self.primary is not False and self.primary == worse)

    @property
    def exact(self) -> bool:
        """Whether the rule names one metric rather than a pattern of them."""
        return not any(sign in self.match for sign in "*?[")


def question(metric: str, worse: Worse | None, rule: Rule) -> str:
    """Return the axis of a primary metric, which shares the family's error as one; empty for other metrics."""
    return metric.rpartition("/")[2].partition("=")[0] if rule.is_primary(worse) else ""


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules, in order."""

    name: str
    rules: tuple[Rule, ...]
    about: str = ""
    estimand: Estimands = "auto"
    epochs: Epochs = "last"
    """Which checkpoints of a tuning are gated."""

    def rule(self, metric: str, worse: Worse, *, shown_only: bool = False) -> Rule | None:
        """Return the rule for a metric, None where it is not gated.

        One whose verdicts are `shown_only` (`Judge.shown_only`) is gated by no pattern, but by a rule that names it.
        """
        rules = (rule for rule in self.rules if rule.exact or not shown_only)
        return next((rule for rule in rules if rule.fits(metric, worse)), None)

    def gates(self, metric: Metric) -> bool:
        """Return whether a metric is gated."""
        return self.rule(metric.name, metric.worse) is not None

    def directing(self, metric: str, worse: Worse | None) -> Rule | None:
        """Return the rule that says which way a metric is worse, None if the first that matches its name does not.

        `worse` is the direction that others say: a pattern with a rule for that one too takes both, and says neither.
        """
        first = next((rule for rule in self.rules if rule.matches(metric)), None)
        if first is None or first.worse is None:
            return None
        both = any(rule.match == first.match and rule.worse in (None, worse) for rule in self.rules)
        return None if worse and both else first


def names() -> list[str]:
    """Return the names of the bundled policies."""
    return sorted(file.name.removesuffix(".toml") for file in _bundled().iterdir() if file.name.endswith(".toml"))


def load(name_or_path: str | Path) -> Policy:
    """Return a bundled policy by name, or the one in a TOML file.

    Raises UsageError for an unknown name or key (with the near miss), a missing or broken file, and a bad value.
    """
    path = Path(name_or_path)
    if str(name_or_path) in names():
        return _policy(str(name_or_path), _bundled().joinpath(f"{name_or_path}.toml").read_text("utf-8"))
    if path.suffix != ".toml" and len(path.parts) == 1 and not path.exists():
        raise UsageError(
            f"no policy called '{name_or_path}'{near(str(name_or_path), names())}, nor a file of that name"
        )
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UsageError(
            f"policy {path}: cannot be read: {reason}; give one of {', '.join(names())} or a file"
        ) from None
    return _policy(str(path), text)


def _bundled() -> Any:
    return resources.files("aftertune.deciding").joinpath("policies")


def _policy(source: str, text: str) -> Policy:
    where = f"policy {source}"
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where}: not valid TOML: {error}") from None
    known = ["about", "estimand", "epochs", "metric"]
    for key in document:
        if key not in known:
            raise UsageError(f"{where}: unknown key '{key}'{near(key, known)}")
    tables = document.get("metric", [])
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise UsageError(f"{where}: gates nothing; give at least one [[metric]] with `match` and `margin`")
    about = document.get("about", "")
    if not isinstance(about, str):
        raise UsageError(f"{where}: about must be text")
    return Policy(
        name=Path(source).stem,
        rules=tuple(_rule(f"{where}, [[metric]] number {i}", table) for i, table in enumerate(tables, 1)),
        about=about,
        estimand=_choice(where, "estimand", document.get("estimand", "auto"), get_args(Estimands)),
        epochs=_choice(where, "epochs", document.get("epochs", "last"), get_args(Epochs)),
    )


def _rule(where: str, table: Mapping[str, Any]) -> Rule:
    known = [field.name for field in dataclasses.fields(Rule)]
    for key in table:
        if key not in known:
            raise UsageError(f"{where}: unknown key '{key}'{near(key, known)}")
    match = table.get("match")
    if not isinstance(match, str) or not match:
        raise UsageError(f'{where}: `match` must name a metric or a pattern, e.g. "*/harmful/refusal=*"')
    where = f"{where} ({match})"
    if "margin" not in table:
        raise UsageError(f"{where}: give a margin, e.g. 0.05 for 5 points")
    margin = _number(where, "margin", table["margin"])
    if margin is None or margin < 0:
        raise UsageError(f"{where}: margin = {table['margin']!r} must not be negative: how much worse is allowed")
    words = {"worse": get_args(Worse), "estimand": get_args(Estimands), "required": get_args(Required)}
    chosen: dict[str, Any] = {k: _choice(where, k, table[k], values) for k, values in words.items() if k in table}
    floor, ceiling = (_number(where, key, table.get(key)) for key in ("floor", "ceiling"))
    if floor is not None and ceiling is not None and floor > ceiling:
        raise UsageError(f"{where}: floor {floor:g} lies over ceiling {ceiling:g}")
    primary = table.get("primary", False)
    if not isinstance(primary, bool) and primary not in ("up", "down"):
        raise UsageError(
            f'{where}: primary = {primary!r} must be true, false, or the direction, "up" or "down", that is worse'
        )
    if primary and chosen.get("required") == "never":
        raise UsageError(f'{where}: a primary metric decides, so it cannot be required = "never"')
    return Rule(match=match, margin=margin, floor=floor, ceiling=ceiling, primary=primary, **chosen)


def _number(where: str, key: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < float("inf"):
        raise UsageError(f"{where}: {key} = {value!r} must be a number")
    return float(value)


def _choice(where: str, key: str, value: object, known: tuple[str, ...]) -> Any:
    if value not in known:
        raise UsageError(f"{where}: {key} = {value!r}{near(str(value), list(known))}")
    return value
