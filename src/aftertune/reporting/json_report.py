"""The report as JSON, with keys that stay.

- `schema`: `aftertune.report/1`; a change that could break a reader raises the number.
- `title`, `kind` (`demo | audit | study`), `outcome` (`pass | drift | unconfirmed | undecided | error`; what each
  means: `outcome.py`).
- `audited`: the fields of `Audited` (when, which base and checkpoints with their hashes, policy, judges, versions), or
  null.
- `sentence`: the decision as it stands at the top of the page.
- `decisions`: list of `records.Decision`, its field names as keys.
- `drifts`: list of `records.Drift`, its field names as keys; rates are shares in [0, 1]; unknown is null.
- `metrics`: list of `records.Metric` with `name` added.
- `contrast_names`: formula -> what it measures.
- `leaks`: list of the fields of `LeakRow`; each measure an object `value, low, high, n, n_clusters`, or null.
- `thoughts`: list of `ThoughtRow` (models that write thoughts before they answer), its field names as keys, with
  `lost` added: the share of responses that end inside their thought and are unjudged.
- `categories`, `contradictions`, `proofs`: lists, the field names of `CategoryRow`, `Contradiction`, `Proof` as keys.
- `judge_differences`: of each check that several judges read, the other judges beside the one that is decided by, on
  the same answers: the fields of `JudgeDifference` with `told_apart` and `corrected` added.
- `label_effects`: of each check whose estimate uses people's labels, the estimate and decision with them and by the
  judge alone: the fields of `LabelEffect` with `overturned` added.
- `mixed`, `spreads`: lists of `Mixed` (mixed-sign rates) and `Spread` (variance components), their field names as keys.
- `measures`: list of `SubjectMeasure`, its field names as keys; `memorisation`: checkpoint -> what scored texts say.
- `discrimination`: list of `Discrimination` (how far refusals tell harmful requests from harmless ones: d-prime of each
  base, checkpoint and arm, and its change), its field names as keys, with `strength` added; `undiscriminated`: metrics
  of refusals of harmful requests where no harmless ones were asked.
- `inside`, `forecasts`: lists of `InsideRow` (activations) and `ForecastRow` (tuning data before tuning), their field
  names as keys.
- `tables`: list of `StudySection`, a study's closing tables: `heads`, `labels`, `rows` of cells `value, low, high,
  scale, sample, why, note, published, expected, finding`, and `statements`, sentences computed from them.
- `bands`: list of `Band`: points of curves over epochs or temperatures with intervals that hold for a whole curve at
  once (`low`, `high`; those of `drifts` hold for one point each), its field names as keys.
- `judges`, `cards`, `methods`: objects as the run recorded them, texts of users, data and servers masked.
- `flip_counts`: list of `FlipCount`: how many answers changed their label, all of them. `unjudged`: the fields of
  `UnjudgedAnswers`, or null.
- `flips`: examples of those for the worse, a seeded sample over all training seeds: list of the fields of `Flip` with
  `direction` (`worse | better |` empty) added; texts masked, cleaned and cut to 4,000 characters, what was done to each
  in `prompt_notes`, `base_notes` and `tuned_notes`.
- `caveats`, `warnings`: lists of sentences.

A number that is not finite is null. Keys are sorted, text is ASCII-escaped, so the same findings give the same bytes.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from aftertune.findings import Findings, Flip, unmasked
from aftertune.reporting import free_text
from aftertune.reporting.cleaning import clean, show
from aftertune.reporting.flips import direction_of
from aftertune.reporting.index import Index
from aftertune.reporting.sentences import decision_sentence

SCHEMA = "aftertune.report/1"
MAX_TEXT = 4_000
"""Characters of one text of a model or a data set."""


def machine(index: Index) -> str:
    """Return the findings as JSON text, ending in a line break."""
    findings = index.findings
    whole = {
        "schema": SCHEMA,
        "title": findings.title,
        "kind": findings.kind,
        "outcome": findings.outcome,
        "audited": findings.audited,
        "sentence": decision_sentence(index),
        "decisions": findings.decisions,
        "drifts": findings.drifts,
        "metrics": [{**fields(metric), "name": metric.name} for metric in findings.metrics],
        "contrast_names": findings.contrast_names,
        "categories": [{**fields(row), "category": _label(row.category, findings)} for row in findings.categories],
        "contradictions": findings.contradictions,
        "judge_differences": [
            {**fields(each), "told_apart": each.told_apart, "corrected": each.corrected}
            for each in findings.judge_differences
        ],
        "label_effects": [{**fields(each), "overturned": each.overturned} for each in findings.label_effects],
        "leaks": findings.leaks,
        "thoughts": [{**fields(row), "lost": row.lost} for row in findings.thoughts],
        "mixed": findings.mixed,
        "spreads": findings.spreads,
        "measures": findings.measures,
        "discrimination": [{**fields(row), "strength": row.strength} for row in findings.discrimination],
        "undiscriminated": findings.undiscriminated,
        "memorisation": findings.memorisation,
        "inside": findings.inside,
        "forecasts": findings.forecasts,
        "tables": findings.tables,
        "bands": findings.bands,
        "proofs": [{**fields(proof), "how": _label(proof.how, findings)} for proof in findings.proofs],
        "judges": _cut(free_text.judges(findings)),
        "cards": _cut(free_text.cards(findings)),
        "methods": _cut(free_text.methods(findings)),
        "flip_counts": findings.flip_counts,
        "unjudged": findings.unjudged,
        "flips": [_flip(flip, index) for flip in findings.flips],
        "caveats": findings.caveats,
        "warnings": findings.warnings,
    }
    return json.dumps(tidy(whole), indent=1, sort_keys=True, allow_nan=False) + "\n"


def fields(record: Any) -> dict[str, Any]:
    """Return a record's fields by name, not descending."""
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def tidy(value: object) -> Any:
    """Return what JSON can hold: records as objects, text cleaned, numbers that are not finite as None.

    Raises TypeError for anything else.
    """
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return clean(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return tidy(fields(value))
    if isinstance(value, Mapping):
        return {clean(str(key)): tidy(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [tidy(item) for item in value]
    raise TypeError(f"a report cannot hold a {type(value).__name__}")


def _cut(value: object) -> Any:
    if isinstance(value, str):
        return show(value, unmasked, MAX_TEXT).text
    if isinstance(value, Mapping):
        return {key: _cut(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_cut(item) for item in value]
    return value


def _label(text: str, findings: Findings) -> str:
    return show(text, findings.mask_label, MAX_TEXT).text


def _flip(flip: Flip, index: Index) -> dict[str, Any]:
    whole = {**fields(flip), "direction": direction_of(flip, index)}
    whole |= {field: _label(whole[field], index.findings) for field in ("category", "prompt_id")}
    for field, notes in (("prompt", "prompt_notes"), ("base_text", "base_notes"), ("tuned_text", "tuned_notes")):
        text = show(whole[field], index.findings.mask, MAX_TEXT)
        whole[field], whole[notes] = text.text, text.notes
    return whole
