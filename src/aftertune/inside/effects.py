"""What the interventions of one job did: changes of its readout and of its answers, beside their nulls."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from aftertune.inside.concepts import FIRST, PRIVACY
from aftertune.inside.explanation import ALL, Answered, Effect, mean
from aftertune.inside.intervene_job import NONE, NOTHING, TUNED, Intervened
from aftertune.records import Prompt
from aftertune.stats.estimate import Estimate

Key = tuple[str, str, str]
"""How, direction and layers of an intervention."""
DRAWN = ("random ", "shuffled ")
"""How the directions of nulls begin."""
BARE: Key = (NOTHING, "", "")


def effects(
    names: tuple[str, str],
    rows: Sequence[Intervened],
    kept: Mapping[Key, Mapping[str, bool]],
    prompts: Mapping[str, Prompt],
    confidence: float,
) -> Iterator[Effect]:
    """Yield what each intervention did, beside random directions or shuffled updates as nulls.

    Args:
        names: The checkpoint's, for people, and what was read out: `refusal` or `privacy`.
        rows: The readouts.
        kept: Intervention -> prompt -> whether its answer refuses, or keeps private what may not be passed on.
        prompts: By id.
        confidence: Of the intervals.
    """
    subject, about = names
    readouts: dict[Key, dict[str, float]] = defaultdict(dict)
    for row in rows:
        if row.value is not None:
            readouts[row.how, row.direction, row.layers][row.prompt_id] = row.value
    before = readouts.pop(BARE, {})
    none = readouts.pop((TUNED, "", NONE), None)
    if none is not None:
        readouts[TUNED, "", ALL] = before
    may = {id for id, prompt in prompts.items() if about == PRIVACY and prompt.expect.get("side") == FIRST}
    nulls: dict[tuple[str, str], list[float]] = defaultdict(list)
    drawn: dict[tuple[str, str], list[float]] = defaultdict(list)
    for (how, direction, layers), values in readouts.items():
        if not direction.startswith(DRAWN):
            continue
        start = none if how == TUNED and none is not None else before
        if shared := [id for id in start if id in values and id not in may]:
            nulls[how, layers].append(float(np.mean([values[id] - start[id] for id in shared])))
        if answers := list(kept.get((how, direction, layers), {}).values()):
            drawn[how, layers].append(float(np.mean(answers)))
    for key, values in readouts.items():
        how, direction, layers = key
        start = none if how == TUNED and none is not None else before
        change = _change(start, values, [id for id in start if id not in may], prompts, confidence)
        if direction.startswith(DRAWN) or change is None:
            continue  # without a change: logits that are not numbers, say
        null = nulls.get((how, layers), [])
        yield Effect(
            subject=subject,
            how=how,
            direction=direction,
            layers=layers,
            before=float(np.mean([start[id] for id in start if id in values and id not in may])),
            change=change,
            null_low=min(null, default=None),
            null_high=max(null, default=None),
            n_null=len(null),
            about=about,
            answered=_answered(kept.get(BARE, {}), kept.get(key, {}), drawn.get((how, layers), [])),
            passed_on=_change(start, values, [id for id in start if id in may], prompts, confidence),
        )


def _change(
    start: Mapping[str, float],
    values: Mapping[str, float],
    wanted: Sequence[str],
    prompts: Mapping[str, Prompt],
    confidence: float,
) -> Estimate | None:
    """Return the mean change on the wanted prompts that could be read both times; None without any."""
    shared = [id for id in wanted if id in values]
    if not shared:
        return None
    _, codes = np.unique([prompts[id].cluster for id in shared], return_inverse=True)
    return mean(np.array([[values[id] - start[id] for id in shared]]), codes, confidence)


def _answered(bare: Mapping[str, bool], own: Mapping[str, bool], drawn: Sequence[float]) -> Answered | None:
    both = [id for id in bare if id in own]
    if not both:
        return None
    return Answered(
        before=sum(bare[id] for id in both),
        after=sum(own[id] for id in both),
        of=len(both),
        null_low=min(drawn, default=None),
        null_high=max(drawn, default=None),
        n_null=len(drawn),
    )
