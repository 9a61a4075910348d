"""Runs of HELM: a folder with `scenario_state.json`, `per_instance_stats.json`, `display_predictions.json` and others.

Read without the package. Scores stand in `per_instance_stats.json` (or, fewer, in `display_predictions.json`), what was
asked and answered in `scenario_state.json`, the model in `run_spec.json`. Any of the first three is a log; the others
are looked for beside it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aftertune.data import table_files as rows
from aftertune.errors import DataError
from aftertune.ingest.log_records import (
    EmptyLogError,
    Log,
    LoggedAnswer,
    LoggedScore,
    beside,
    messages_of,
    plain_number,
    text_of,
)
from aftertune.records import FinishReason, Message, Prompt, Worse, digest

_STATE, _STATS, _SPEC = "scenario_state.json", "per_instance_stats.json", "run_spec.json"
_PREDICTIONS, _REQUESTS = "display_predictions.json", "display_requests.json"
_OF_THE_REQUEST = re.compile(
    r"(num|inference|training|finish_reason|air_category)_.*"
    r"|batch_size|prompt_truncated|max_prob|logprob|logprob_per_byte|predicted_index"
)
"""Statistics that are no score of an answer; those of AIR-Bench's categories repeat `air_score`."""
_WORSE: Mapping[str, Worse] = {
    **dict.fromkeys(
        ("air_score", "safety_score", "safety_gpt_score", "safety_llama_score", "ifeval_strict_accuracy"), "down"
    ),
    **dict.fromkeys(("math_equiv", "math_equiv_chain_of_thought", "exact_match_indicator"), "down"),
    **dict.fromkeys(("chain_of_thought_correctness", "omni_math_accuracy", "wildbench_score_rescaled"), "down"),
    **dict.fromkeys(("expected_max_toxicity", "max_toxicity_probability", "toxic_frac"), "up"),
}
"""HELM's own names, where the usual words of the field do not say it."""

Key = tuple[str, str, int]
"""Instance, perturbation, and trial."""


def open_log(path: Path) -> Log:
    """Open a run by one of its files, as HELM 0.5 writes them.

    Metrics: `SCENARIO/STAT`, of the run's name without its model; `,SPLIT` follows for another split than `test`, and
    `,PERTURBATION` for a perturbed instance, which is a prompt of its own. The value is the stat's mean. A trial (other
    examples in the prompt) is a repeat. Direction: the field's usual names, and HELM's own.

    Raises DataError for another file of a run, and for one in another form.
    """
    document = rows.document(path)
    warnings: list[str] = []
    kind = _kind(path, document)
    requests: Any = document if kind == _STATE else beside(path.with_name(_STATE))
    if kind == _STATE:
        other = path.with_name(_STATS)
        stats = beside(other)
        if not isinstance(stats, list):
            warnings.append(f"{path}: no {_STATS} beside it: there are responses here and no scores")
    else:
        stats = document
        if not isinstance(requests, dict):
            more = "" if kind == _STATS else f" or {_REQUESTS}"
            requests = beside(path.with_name(_REQUESTS)) if kind == _PREDICTIONS else None
            if not isinstance(requests, list):
                warnings.append(
                    f"{path}: no {_STATE}{more} beside it: whether two models were sent the same prompts is not known"
                )
    spec = beside(path.with_name(_SPEC))
    adapter = _part(spec, "adapter_spec") or _part(requests, "adapter_spec") or {}
    name = str(_part(spec, "name") or path.resolve().parent.name)
    if not _part(spec, "name") and not re.search(r"[:,]model(_deployment)?=", name):
        warnings.append(f"{path}: no {_SPEC} beside it: the scenario is called '{name}', as its folder is")
    run = _Run(_task(name))
    run.read_stats(path, stats if isinstance(stats, list) else [])
    run.read_requests(requests)
    keys = list(dict.fromkeys([*run.requests, *run.stats]))
    model = str(_part(adapter, "model_deployment") or _part(adapter, "model") or _model_in(name))
    if not keys:
        raise EmptyLogError(f"{path}: a run of HELM without any instance; run it again", model, run.task)
    settings = {
        field_: str(_part(adapter, field_))
        for field_ in ("method", "instructions", "max_train_instances", "temperature", "max_tokens", "num_outputs")
        if _part(adapter, field_) is not None
    }
    log = Log(
        path,
        model,
        run.task,
        iter(()),
        warnings,
        planned=len(keys),
        settings=settings,
        samples=frozenset(instance for instance, _, _ in keys),
        form=f"run of HELM ({kind})",
    )
    log.answers = run.answers(path, keys, log.warnings)
    return log


def _part(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _kind(path: Path, document: Any) -> str:
    """Return which file of a run this is."""
    if isinstance(document, dict):
        if "request_states" in document:
            return _STATE
        raise DataError(f"{path}: a file of a HELM run without answers or scores; give its {_STATS} or {_STATE}")
    first = document[0] if isinstance(document, list) and document else None
    if isinstance(first, dict) and "instance_id" in first:
        if isinstance(first.get("stats"), list):
            return _STATS
        if "predicted_text" in first and isinstance(first.get("stats"), dict):
            return _PREDICTIONS
        if "request" in first:
            raise DataError(f"{path}: the requests of a HELM run alone; give its {_PREDICTIONS} or {_STATE}")
    raise DataError(f"{path}: looks like a file of a HELM run, but in no form that is known: no 'stats' in its items")


def _task(name: str) -> str:
    """Return a run's name without its model; commas and slashes would part the name of a metric."""
    scenario, colon, arguments = name.partition(":")
    kept = [each for each in arguments.split(",") if not re.match(r"model(_deployment)?=", each)]
    return (scenario + (colon + ";".join(kept) if any(kept) else "")).replace("/", "_").replace(",", ";")


def _model_in(name: str) -> str:
    found = re.search(r"[:,]model(?:_deployment)?=([^,]+)", name)
    return found[1] if found else name


def _perturbed(value: Any) -> str:
    """Return a perturbation in words: its name, and its settings where they tell two of one name apart."""
    if not isinstance(value, dict):
        return ""
    more = {key: each for key, each in value.items() if key not in ("name", "robustness", "fairness", "computed_on")}
    return str(value.get("name")) + (f" {digest(more)[:6]}" if more else "")


def _key(row: Mapping[str, Any]) -> Key:
    trial = row.get("train_trial_index")
    return str(row.get("instance_id")), _perturbed(row.get("perturbation")), trial if isinstance(trial, int) else 0


@dataclass
class _Run:
    """What the files of a run say of each instance."""

    task: str
    stats: dict[Key, dict[str, float | None]] = field(default_factory=dict)
    requests: dict[Key, list[Mapping[str, Any]]] = field(default_factory=dict)
    groups: dict[Key, str] = field(default_factory=dict)
    """Split and perturbation, which the names of metrics end with: other instances lack none of them."""
    left_out: Counter[str] = field(default_factory=Counter)
    again: Counter[str] = field(default_factory=Counter)
    """Stats that stand twice for one instance, with two values."""

    def read_stats(self, path: Path, items: Sequence[Any]) -> None:
        """Add the items of `per_instance_stats.json` or of `display_predictions.json`."""
        for number, item in enumerate(items, 1):
            if not isinstance(item, dict) or "instance_id" not in item or "stats" not in item:
                raise DataError(f"{path}: item {number:,}: no instance_id and stats, as HELM 0.5 writes them")
            own = self.stats.setdefault(_key(item), {})
            given = item["stats"]
            if isinstance(given, dict):
                named: Any = [({"name": name}, value) for name, value in given.items()]
                self.requests.setdefault(_key(item), []).append({"prediction": item})
            else:
                named = [
                    (each.get("name"), each.get("mean") if each.get("count", 1) else None)
                    for each in given
                    if isinstance(each, dict)
                ]
            for name, value in named:
                stat = str(_part(name, "name"))
                if _OF_THE_REQUEST.fullmatch(stat):
                    self.left_out[re.sub(r"\d.*", "...", stat)] += 1
                    continue
                split = _part(name, "split")
                ends = [str(split)] if split not in (None, "", "test") else []
                ends += [_perturbed(item.get("perturbation"))] if item.get("perturbation") else []
                metric = ",".join([f"{self.task}/{stat}", *ends])
                self.groups[_key(item)] = ",".join(ends)
                number_ = plain_number(value)
                value = None if number_ is None or number_ != number_ else number_
                if own.setdefault(metric, value) != value:
                    self.again[metric] += 1

    def read_requests(self, document: Any) -> None:
        """Add the requests of `scenario_state.json`, or of `display_requests.json`."""
        if isinstance(document, list):
            for item in document:
                if isinstance(item, dict) and _key(item) in self.requests:
                    self.requests[_key(item)].append({"request": item.get("request")})
            return
        states = _part(document, "request_states")
        if isinstance(states, list):
            self.requests = {}
            for state in states:
                instance = _part(state, "instance")
                if isinstance(instance, dict) and _part(state, "request_mode") != "calibration":
                    key = _key({**state, "instance_id": instance.get("id"), **{
                        "perturbation": instance.get("perturbation")
                    }})  # fmt: skip
                    self.requests.setdefault(key, []).append(state)

    def answers(self, path: Path, keys: Sequence[Key], warnings: list[str]) -> Iterator[LoggedAnswer]:
        """Yield the answers."""
        if self.left_out:
            names = ", ".join(sorted(self.left_out)[:6])
            warnings.append(f"{path}: no scores of an answer, left out: {names}{', ...' * (len(self.left_out) > 6)}")
        for metric, count in self.again.items():
            warnings.append(f"{path}: {metric}: two values for {count:,} instances: the first counts")
        for key in keys:
            instance, perturbation, trial = key
            states = self.requests.get(key, [])
            messages = _messages(states)
            subset = ",".join(part for part in (_subset(states), self.groups.get(key, perturbation)) if part)
            id_ = f"{self.task}/{instance}" + (f" ({perturbation})" if perturbation else "")
            prompt = Prompt(id_, "", subset, "", "", messages)
            texts = _texts(states)
            own = self.stats.get(key, {})
            scores = tuple(
                LoggedScore(metric, "", value, _WORSE.get(metric.rpartition("/")[2].partition(",")[0]))
                for metric, value in own.items()
            )
            hash_ = digest(messages) if messages else ""
            text, how, thought, why = texts[0]
            yield LoggedAnswer(prompt, hash_, trial * len(texts), text, how, why, thought=thought, scores=scores)
            for number, (text, how, thought, why) in enumerate(texts[1:], 1):
                yield LoggedAnswer(
                    prompt, hash_, trial * len(texts) + number, text, how, why, thought=thought, scores=None
                )


def _subset(states: Sequence[Mapping[str, Any]]) -> str:
    return next((str(_part(_part(state, "instance"), "sub_split") or "") for state in states), "")


def _messages(states: Sequence[Mapping[str, Any]]) -> tuple[Message, ...]:
    for state in states:
        request = state.get("request")
        messages = messages_of(_part(request, "messages")) or messages_of(_part(request, "prompt"))
        if messages:
            return messages
    return ()


def _texts(states: Sequence[Mapping[str, Any]]) -> list[tuple[str | None, FinishReason, str, str]]:
    """Return the text, the ending, the thought, and why there is no text, of each answer to one request."""
    for state in states:
        prediction = state.get("prediction")
        if isinstance(prediction, dict) and prediction.get("reference_index") is None:
            thought = prediction.get("thinking_text")
            return [(str(prediction.get("predicted_text") or ""), "stop", str(thought or ""), "")]
        result = state.get("result")
        if state.get("reference_index") is not None or not isinstance(result, dict):
            continue
        if result.get("success") is False:
            return [(None, "stop", "", "the request failed")]
        listed = result.get("completions")
        found: list[tuple[str | None, FinishReason, str, str]] = []
        for each in listed if isinstance(listed, list) else ():
            text = _part(each, "text")
            cut: FinishReason = "length" if _part(_part(each, "finish_reason"), "reason") == "length" else "stop"
            if isinstance(text, str):
                found.append((text, cut, text_of(_part(each, "thinking")) or "", ""))
        if found:
            return found
    asked = any(state.get("reference_index") is not None for state in states)
    why = "log-likelihoods of given texts, not a text of the model" if asked else "no text of the model"
    return [(None, "stop", "", why)]
