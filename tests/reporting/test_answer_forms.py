"""What the report says of the form in which answers were asked and trained."""

from __future__ import annotations

from typing import Any

from aftertune.reporting.answer_forms import sentences


def facts(**changes: Any) -> dict[str, Any]:
    opened, closed = changes.pop("opened", False), changes.pop("closed", False)
    form = {"opening": "x", "lead": "", "end": "y", "end_id": 1, "opened": opened, "closed": closed}
    return {"form": form, "template_arguments": {}, "rows": 8, "conversations": 8, **changes}


def test_the_plain_form_needs_no_word() -> None:
    assert sentences([("m", facts())]) == []


def test_a_form_is_said_once_for_all_tunings_of_a_base() -> None:
    thinking = facts(opened=True)
    (said,) = sentences([("m", thinking), ("m", thinking), ("n", facts())])
    assert said == (
        "Answers of m were trained in the form in which they were asked: the chat template opens a thought in the "
        "prompt, which is closed before each trained answer, empty where the row has none."
    )


def test_arguments_an_empty_thought_and_further_rows_are_said() -> None:
    (said,) = sentences([("m", facts(closed=True, template_arguments={"enable_thinking": False}, rows=1200))])
    assert "closes an empty thought in the prompt, so that thoughts in the rows were left out" in said
    assert "the template was given enable_thinking = False" in said
    assert said.endswith("were trained in rows of their own (1,200 for 8 conversations).")
