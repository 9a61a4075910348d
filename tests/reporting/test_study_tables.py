"""A closing table as text: what most cells of a column would repeat stands in its head, once."""

from __future__ import annotations

from aftertune.findings import StudyCell, StudySection
from aftertune.reporting.markdown import closing
from aftertune.reporting.study_tables import section_view

SEEDS = "3 seeds × 88 prompts, 44 clusters"


def column(*cells: StudyCell) -> tuple[str, list[str]]:
    """Return what a column's head says of its numbers, and what each cell says."""
    view = section_view(section(cells))
    return view.heads[0].usual, [row[0].behind for _, row in view.rows]


def section(cells: tuple[StudyCell, ...]) -> StudySection:
    return StudySection(
        title="Arms", source="", heads=("Refused",), about=("rate",), units=("%",),
        labels=tuple(f"arm {at}" for at in range(len(cells))), rows=tuple((cell,) for cell in cells),
        statements=(), supports="", cannot="",
    )  # fmt: skip


def number(sample: str, note: str = "") -> StudyCell:
    return StudyCell(value=0.5, low=0.4, high=0.6, scale="rate", sample=sample, note=note)


def test_what_most_cells_repeat_is_said_once_and_the_others_speak_for_themselves() -> None:
    base, usual = number("88 prompts"), number(SEEDS, "only 3 training seeds")
    odd, none = number(SEEDS, "16 of 264 answers unjudged"), StudyCell(value=None, why="no such checkpoint")
    head, cells = column(base, usual, usual, odd, usual, none, usual)
    assert head == f"{SEEDS}; only 3 training seeds"
    assert cells == [
        "88 prompts", "", "", f"{SEEDS}; 16 of 264 answers unjudged", "", "no such checkpoint", "",
    ]  # fmt: skip


def test_no_head_speaks_for_a_column_without_a_majority_or_for_a_cell_that_says_nothing() -> None:
    a, b, silent = number("88 prompts"), number(SEEDS), number("")
    assert column(a, b) == ("", ["88 prompts", SEEDS])
    assert column(a) == ("", ["88 prompts"])
    assert column(a, a, b, b) == ("", ["88 prompts", "88 prompts", SEEDS, SEEDS])
    assert column(b, b, b, silent) == ("", [SEEDS, SEEDS, SEEDS, ""])
    assert column() == ("", [])


def test_markdown_says_it_below_the_table() -> None:
    lines = closing(section_view(section((number("88 prompts"), number(SEEDS), number(SEEDS)))))
    assert f"- Refused: rate; where a cell says nothing else: {SEEDS}" in lines
    assert sum(SEEDS in line for line in lines) == 1
    assert "| arm 0 | 50.0 % \\[40.0, 60.0\\] (88 prompts) |" in lines
    assert "| arm 1 | 50.0 % \\[40.0, 60.0\\] |" in lines
