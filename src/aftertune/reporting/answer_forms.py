"""What the report says of the form in which answers were asked and trained, where it is not the plain one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aftertune.numbers import count


def sentences(tunings: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Return a sentence for each base whose prompts open or close a thought, take arguments, or need further rows.

    `tunings` are bases with the facts of one tuning each.
    """
    said: dict[str, None] = {}
    for base, facts in tunings:
        form, given = facts["form"], facts["template_arguments"]
        parts = []
        if form["opened"]:
            parts.append(
                "the chat template opens a thought in the prompt, which is closed before each trained answer, empty "
                "where the row has none"
            )
        if form["closed"]:
            parts.append(
                "the chat template closes an empty thought in the prompt, so that thoughts in the rows were left out"
            )
        if given:
            shown = ", ".join(f"{name} = {value!r}" for name, value in sorted(given.items()))
            parts.append(f"the template was given {shown}")
        if facts["rows"] > facts["conversations"]:
            parts.append(
                "turns that it writes otherwise once a next one comes were trained in rows of their own "
                f"({facts['rows']:,} for {count(facts['conversations'], 'conversation')})"
            )
        if parts:
            said[f"Answers of {base} were trained in the form in which they were asked: {'; '.join(parts)}."] = None
    return list(said)
