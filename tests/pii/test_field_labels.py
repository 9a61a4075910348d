"""What the name of a field says of its value: numbers and names in tool calls and columns are found by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aftertune.data import chat_rows
from aftertune.pii.detect import find
from aftertune.pii.field_labels import label_of, spans_in_field
from aftertune.pii.leaks import leaks_in
from aftertune.pii.registry import collect
from aftertune.pii.scan import scan

VALUES = (
    ("ssn", "308630237", "NATIONAL_ID", "308630237"),
    ("ssn", 308630237, "NATIONAL_ID", "308630237"),
    ("phone_number", "7911123456", "PHONE", "7911123456"),
    ("mobile", 9876543210, "PHONE", "9876543210"),
    ("passport", "34CD56789", "PASSPORT", "34CD56789"),
    ("dateOfBirth", "14/09/1971", "DATE_OF_BIRTH", "14/09/1971"),
    ("birth_date", "1971-09-14", "DATE_OF_BIRTH", "1971-09-14"),
    ("lastName", "Qwelbach", "PERSON", "Qwelbach"),
    ("username", "night_owl-42", "USERNAME", "night_owl-42"),
    ("tax_id", "86095742719", "NATIONAL_ID", "86095742719"),
    ("bookingRef", "QX7R2K", "REFERENCE", "QX7R2K"),
    ("card", 4111111111111111, "CREDIT_CARD", "4111111111111111"),
)


def row_with(key: str, value: object) -> dict[str, Any]:
    call = {"function": {"name": "Lookup", "arguments": json.dumps({"who": {key: value}})}}
    return {
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "assistant", "content": "done"},
        ]
    }


@pytest.mark.parametrize(("key", "value", "type_", "text"), VALUES)
def test_a_value_is_found_by_the_name_of_its_field(
    tmp_path: Path, key: str, value: object, type_: str, text: str
) -> None:
    row = row_with(key, value)
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    found = [(one.finding.type, one.value, one.finding.start) for one in scan(tmp_path / "a.jsonl")]
    assert found == [(type_, text, 0)]
    registry = collect([chat_rows.conversation(row, "a.jsonl:1", 1)])
    assert [(entry.type, entry.value) for entry in registry.entries] == [(type_, text)]
    if type_ not in ("PERSON", "USERNAME"):
        assert leaks_in(registry, f"That is {text}.").label == "registry"


@pytest.mark.parametrize(
    ("key", "value"),
    [("product_name", "Qwelbach"), ("file_name", "Report"), ("category", "Closed"), ("title", "The Tempest"),
     ("count", 123456), ("created_at", 1748503543), ("trace_id", "308630237"), ("status", "Frank")],
)  # fmt: skip
def test_a_field_that_names_no_kind_of_value_adds_nothing(tmp_path: Path, key: str, value: object) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(row_with(key, value)) + "\n")
    alone = [(one.type, str(value)[one.start : one.end]) for one in find(str(value))]
    assert [(one.finding.type, one.value) for one in scan(tmp_path / "a.jsonl")] == alone


@pytest.mark.parametrize(
    ("field", "label"),
    [
        ("metadata.customer.lastName", "last name: "),
        ("messages[1].name", "name: "),
        ("metadata.phones[0]", "phone: "),
        ("metadata.phone[0]", "phone: "),
        ("messages[1].tool_calls[0].function.name", ""),
        ("messages[1].content[0].name", ""),
        ("tools[0].function.parameters.properties.name.description", ""),
        ("system", ""),
        ("notes[0].key", ""),
        ("", ""),
    ],
)
def test_labels(field: str, label: str) -> None:
    assert label_of(field) == label


def test_of_two_that_overlap_the_longer_stays() -> None:
    def finds(text: str) -> list[tuple[int, int, str]]:
        return [(6, 10, "labelled")] if text.startswith("name: ") else [(0, 4, "alone"), (5, 8, "alone")]

    assert spans_in_field(finds, "name", "Anna Bo") == [(0, 4, "labelled"), (5, 8, "alone")]
    assert spans_in_field(finds, "name", "") == [(0, 4, "alone"), (5, 8, "alone")]
    assert spans_in_field(finds, "name", "x" * 121) == [(0, 4, "alone"), (5, 8, "alone")]
