"""Reports of garak: `garak.RUN.report.jsonl`, one entry a line. Read without the package.

An attempt is one prompt with several generations. It is written twice: when the model has answered (status 1), and when
the detectors have read the answers (status 2). A detector gives each answer a number from 0 to 1, where 1 is a hit: the
attack succeeded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aftertune.errors import DataError
from aftertune.ingest.log_records import (
    EmptyLogError,
    Figure,
    Log,
    LoggedAnswer,
    LoggedScore,
    lines,
    messages_of,
    plain_number,
    text_of,
)
from aftertune.records import Prompt, digest

TOOL = "garak"
_SETUP, _INIT, _ATTEMPT, _EVAL, _END = "start_run setup", "init", "attempt", "eval", "completion"
_OTHERS = ("config", "plugin_cache", "payload_init", "probe_summary", "tree_data", "digest")
"""Entries without an answer or a score."""
_EVALUATED = 2
"""Status of an attempt whose answers the detectors have read."""
_NEEDED = ("probe_classname", "status", "prompt", "outputs", "detector_results")
_HIT_LOG = frozenset(("generator", "probe", "detector", "score", "attempt_id"))
_THRESHOLD = 0.5
"""Garak's own default of `eval_threshold`."""


def is_line(row: Mapping[str, Any]) -> bool:
    """Return whether a line is an entry of a report, or of a hit log, which `open_log` refuses."""
    known = (_SETUP, _INIT, _ATTEMPT, _EVAL, _END, *_OTHERS)
    return row.get("entry_type") in known or row.keys() >= _HIT_LOG


def open_log(path: Path) -> Log:
    """Open a report, of versions 0.9 to 0.12 (prompts and outputs are texts) or from 0.13 on (conversations).

    Metric: `PROBE/DETECTOR=hit`, the share of answers whose score is at the run's `eval_threshold` or above it: higher
    is worse. The generations of a prompt are its repeats, and a text that a probe sends twice is one prompt. An attempt
    that no detector has read is unjudged.

    Raises DataError for a broken line, an attempt in another form, a hit log, and a report without any attempt.
    """
    read = _Report()
    warnings: list[str] = []
    for line, row in lines(path, warnings):
        if "entry_type" not in row and row.keys() >= _HIT_LOG:
            raise DataError(f"{path}: the hit log of garak holds the hits alone; give its report (*.report.jsonl)")
        read.add(f"{path}:{line}", row)
    model = read.model or path.name.removesuffix(".jsonl").removesuffix(".report")
    if not read.attempts:
        raise EmptyLogError(f"{path}: a report of garak without any attempt; run the probes again", model, TOOL)
    if not read.model:
        warnings.append(f"{path}: no 'start_run setup' in it names the model: it is called '{model}'")
    if not read.ended:
        warnings.append(f"{path}: no 'completion' in it: the run was stopped, or still runs")
    warnings += [
        f"{path}: {count:,} entries of type '{name}' are not known here: left out"
        for name, count in read.unknown.items()
    ]
    kept = [*read.attempts.values()]
    log = Log(
        path,
        model,
        TOOL,
        iter(()),
        warnings,
        created=read.started,
        succeeded=read.ended,
        planned=len(kept),
        settings=read.settings,
        samples=frozenset(f"{each.probe}/{each.hash}" for each in kept),
        figures=read.figures(),
        form=f"report of garak {read.version or '(no version in it)'}",
    )
    log.answers = _answers(path, kept, read.threshold, log.warnings)
    return log


@dataclass(frozen=True)
class _Attempt:
    """What is kept of an attempt."""

    probe: str
    subset: str
    """Probe, and intent where it has one: the detectors hang on both."""
    prompt: Any
    outputs: list[Any]
    scores: Mapping[str, Any]
    evaluated: bool
    hash: str


@dataclass
class _Report:
    """What stands in a report."""

    attempts: dict[str, _Attempt] = field(default_factory=dict)
    """The last entry of each."""
    model: str = ""
    version: str = ""
    started: str = ""
    ended: bool = False
    threshold: float = _THRESHOLD
    settings: dict[str, str] = field(default_factory=dict)
    counts: dict[str, list[int]] = field(default_factory=dict)
    """Metric -> garak's own hits, and scores."""
    unknown: Counter[str] = field(default_factory=Counter)

    def add(self, where: str, row: Mapping[str, Any]) -> None:
        """Add an entry."""
        kind = row.get("entry_type")
        if kind == _ATTEMPT:
            self._attempt(where, row)
        elif kind == _SETUP:
            names = [row.get(f"plugins.{name}_{part}") for name in ("target", "model") for part in ("type", "name")]
            self.model = " ".join(dict.fromkeys(str(name) for name in names if name))
            threshold = plain_number(row.get("run.eval_threshold"))
            self.threshold = threshold if threshold is not None and 0 <= threshold <= 1 else _THRESHOLD
            settings = ("run.generations", "run.eval_threshold", "run.system_prompt", "plugins.buff_spec")
            self.settings = {name: str(row[name]) for name in settings if row.get(name) is not None}
        elif kind == _INIT:
            self.version, self.started = str(row.get("garak_version") or ""), str(row.get("start_time") or "")
        elif kind == _EVAL:
            self._own(row)
        elif kind == _END:
            self.ended = True
        elif kind not in _OTHERS:
            self.unknown[str(kind)[:40]] += 1

    def _attempt(self, where: str, row: Mapping[str, Any]) -> None:
        missing = [name for name in _NEEDED if name not in row]
        if missing:
            raise DataError(f"{where}: an attempt of garak in a form that is not known here: no {', '.join(missing)}")
        outputs, scores = row["outputs"], row["detector_results"]
        if not isinstance(outputs, list) or not isinstance(scores, dict):
            name = "detector_results" if isinstance(outputs, list) else "outputs"
            raise DataError(f"{where}: an attempt of garak whose {name} are a {type(row[name]).__name__}")
        probe, intent = str(row["probe_classname"]), row.get("intent")
        sent = messages_of(row["prompt"])
        hash_ = digest(sent) if sent else f"seq {row.get('seq')}"
        key = str(row.get("uuid") or f"{probe} {row.get('seq')} {hash_}")
        subset = f"{probe}/{intent}" if intent else probe
        self.attempts[key] = _Attempt(probe, subset, row["prompt"], outputs, scores, row["status"] == _EVALUATED, hash_)

    def _own(self, row: Mapping[str, Any]) -> None:
        total = plain_number(row.get("total_evaluated", row.get("total")))
        passed = plain_number(row.get("passed"))
        if total and passed is not None and passed <= total:
            metric = _metric(str(row.get("probe")), str(row.get("detector")))
            own = self.counts.setdefault(metric, [0, 0])
            own[0] += int(total - passed)
            own[1] += int(total)

    def figures(self) -> dict[str, Figure]:
        """Return the shares of hits that garak itself reports."""
        return {metric: Figure("share of hits", hits / total) for metric, (hits, total) in self.counts.items()}


def _metric(probe: str, detector: str) -> str:
    return f"{probe}/{detector.removeprefix('detector.')}=hit"


def _answers(path: Path, attempts: list[_Attempt], threshold: float, warnings: list[str]) -> Iterator[LoggedAnswer]:
    asked: Counter[str] = Counter()
    """Prompt -> answers to it so far."""
    no_score: Counter[str] = Counter()
    probes = {each.subset for each in attempts if each.evaluated}
    waiting = [each for each in attempts if not each.evaluated]
    if waiting:
        never = sorted({each.subset for each in waiting} - probes)
        warnings.append(
            f"{path}: {len(waiting):,} of {len(attempts):,} attempts were not read by any detector: unjudged"
            + (f"; of {', '.join(never[:4])} none was, so no metric of it is known" if never else "")
        )
    for attempt in attempts:
        prompt = Prompt(
            f"{attempt.probe}/{attempt.hash}", "", attempt.subset, "", attempt.hash, messages_of(attempt.prompt)
        )
        scores = {name: own if isinstance(own, list) else [own] for name, own in attempt.scores.items()}
        count = max([len(attempt.outputs), *map(len, scores.values())], default=0) or 1
        for number in range(count):
            found = []
            for detector, own in scores.items() if attempt.evaluated else ():
                score = plain_number(own[number]) if number < len(own) else None
                metric = _metric(attempt.probe, detector)
                known = score is not None and 0 <= score <= 1
                no_score[metric] += not known
                value = float(score >= threshold) if score is not None and known else None
                found.append(LoggedScore(metric, "", value, "up"))
            text = text_of(attempt.outputs[number]) if number < len(attempt.outputs) else None
            yield LoggedAnswer(
                prompt=prompt,
                message_hash=attempt.hash,
                repeat=asked[prompt.id],
                text=text,
                error="" if text is not None else "no text of the model",
                scores=tuple(found),
            )
            asked[prompt.id] += 1
    for metric, count in sorted(no_score.items()):
        if count:
            warnings.append(f"{path}: {metric}: {count:,} answers without a score from 0 to 1: unjudged")
