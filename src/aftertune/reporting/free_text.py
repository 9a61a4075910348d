"""Which strings of a run's facts are somebody's text, and so are masked; the project's and the design's names stay.

`judges`, `cards` and `methods` hold both: the name of an axis or a contrast must be readable in every report, whatever
it looks like to a finder of names, and a system prompt must not give anybody away. What is not known to be the
project's or the design's counts as a text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from aftertune.findings import Findings
from aftertune.pii.masking import with_masked_keys
from aftertune.records import Json
from aftertune.reporting.cleaning import PRECUT, show

OWN_METHODS = frozenset({"versions", "hardware", "bases", "jobs"})
"""Groups of the methods without a text of anybody's."""
OWN_JUDGE = frozenset({"version", "axes", "anchors", "cost", "measured"})
"""What the project says of a judge; the rest are its parameters."""
OWN_CARD = frozenset({"arm", "pii", "answers", "text_hash"})
"""What the project and the design say of a data variant."""
DESIGN_TEXT = frozenset({"system", "parameters", "path", "non_members", "canary_file"})
"""Keys of a design with system prompts, parameters of plugins, and files of the user's."""
_PATH = re.compile(r"[/~]|[A-Za-z]:[\\/]|file:")


def judges(findings: Findings) -> Mapping[str, Mapping[str, Json]]:
    """Return the facts about the judges with the texts among their parameters masked."""
    return {
        name: {key: item if key in OWN_JUDGE else _parameter(item, findings) for key, item in about.items()}
        for name, about in findings.judges.items()
    }


def cards(findings: Findings) -> Mapping[str, Mapping[str, Json]]:
    """Return the data cards masked, keys that come from the data included."""
    return {
        arm: {key: item if key in OWN_CARD else _text(item, findings) for key, item in card.items()}
        for arm, card in findings.cards.items()
    }


def methods(findings: Findings) -> Mapping[str, Json]:
    """Return the parameters with the texts among them masked: system prompts, paths, words of servers."""
    return {
        group: item if group in OWN_METHODS else _design(item, findings) if group == "design" else _text(item, findings)
        for group, item in findings.methods.items()
    }


def _design(value: Json, findings: Findings) -> Json:
    """Return a part of a design: its names are its own, but what stands under `DESIGN_TEXT` is the user's."""
    if isinstance(value, Mapping):
        return {
            key: _text(item, findings)
            if key == "system"
            else _parameter(item, findings)
            if key in DESIGN_TEXT
            else _design(item, findings)
            for key, item in value.items()
        }
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_design(item, findings) for item in value]
    return _parameter(value, findings) if isinstance(value, str) and _PATH.match(value) else value


def _parameter(value: Json, findings: Findings) -> Json:
    """Return what a user gave: names of models and rubrics stay, texts of several words and paths are masked."""
    if isinstance(value, str):
        is_text = _PATH.match(value) or any(char.isspace() for char in value.strip())
        return show(value, findings.mask if is_text else findings.mask_label, PRECUT).text
    if isinstance(value, Mapping):
        return {key: _parameter(item, findings) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_parameter(item, findings) for item in value]
    return value


def _text(value: Json, findings: Findings) -> Json:
    if isinstance(value, str):
        return show(value, findings.mask, PRECUT).text
    if isinstance(value, Mapping):
        return with_masked_keys({key: _text(item, findings) for key, item in value.items()}, findings.mask_label)
    if isinstance(value, Sequence):
        return [_text(item, findings) for item in value]
    return value
