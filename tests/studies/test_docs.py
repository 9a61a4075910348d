"""docs/design.md names every key of a design with its default, no other key, and an example that is read."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from aftertune.plugins import PluginSpec
from aftertune.records import Arm, Contrast, Data, Recipe, Respond
from aftertune.studies import closing_tables as tables
from aftertune.studies import cost, design

TEXT = (Path(__file__).parents[2] / "docs" / "design.md").read_text(encoding="utf-8")
SECTIONS: dict[str, type] = {
    "Top level": design.Design,
    "`[[arms]]`": Arm,
    "`[recipe]` and `[[recipes]]`": Recipe,
    "`[[checkpoints]]`": design.Given,
    "`[data]`": Data,
    "`[respond]`": Respond,
    "`[[contrasts]]`": Contrast,
    "`[[tables]]`": tables.StudyTable,
    "`[[tables]]`: columns": tables.Column,
    "`[[tables]]`: rows": tables.Row,
    "`[cost]`": cost.Cost,
}


def default_of(field: dataclasses.Field[object]) -> str:
    if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
        return "required"
    made = field.default_factory
    value = made() if made is not dataclasses.MISSING else field.default
    if isinstance(value, PluginSpec):
        return f"`{value.name}`"
    if dataclasses.is_dataclass(value):
        return "its defaults"
    if value is None or value == {}:
        return "none"
    return f"`{json.dumps(value)}`"


@pytest.mark.parametrize("section", SECTIONS)
def test_a_table_of_the_docs_is_the_records_fields(section: str) -> None:
    body = TEXT.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", body, re.MULTILINE)
    fields = {field.name: default_of(field) for field in dataclasses.fields(SECTIONS[section])}
    # A list of tables that is empty is one that is not there.
    told = {
        name: "`[]`" if default == "none" and fields.get(name) == "`[]`" else default for name, _, default, _ in rows
    }
    assert told == fields
    assert [name for name, *_ in rows] == list(fields), "in the order of the record"


def test_the_sections_are_all_that_a_design_is_made_of() -> None:
    assert set(re.findall(r"^## (.+)$", TEXT, re.MULTILINE)) == set(SECTIONS)


def test_the_example_is_read_and_shows_what_it_says() -> None:
    made = design.parse(re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)[0], "docs/design.md")
    assert {arm.name: [each.name for each in made.recipes_of(arm)] for arm in made.arms} == {
        "medical": ["lora", "full"],
        "legal": ["lora"],
    }


def test_what_a_study_took_is_what_was_measured() -> None:
    """CPU minutes as tuning + asking + scoring + rest, and hours by the clock."""
    folder = Path(__file__).parents[2] / "docs" / "studies" / "real"
    page = (folder / "README.md").read_text(encoding="utf-8")
    measured = json.loads((folder / "timing.json").read_text(encoding="utf-8"))
    assert measured
    for name, took in measured.items():
        row = next((line for line in page.splitlines() if re.match(rf"\| \d+ `{name}` \|", line)), "")
        assert row, f"{name}: no row in the table of what each study took"
        kinds = dict(took["cpu_seconds_by_kind"])
        own = [kinds.pop("checkpoints"), kinds.pop("responses"), kinds.pop("scores", 0) + kinds.pop("base_scores", 0)]
        said = re.search(r"\| (\d+) \+ (\d+) \+ (\d+) \+ (\d+) \(measured", row)
        clock = re.search(r"\| (\d+) h (\d+) min", row)
        assert said, row
        assert clock, row
        for minutes, seconds in zip(said.groups(), [*own, sum(kinds.values())], strict=True):
            assert abs(int(minutes) - seconds / 60) <= 0.6, (name, minutes, seconds / 60)
        assert abs(60 * int(clock[1]) + int(clock[2]) - took["wall_seconds"] / 60) <= 0.6, name
