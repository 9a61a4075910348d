"""The picture of a frontier: every row and deciding metric stands in it, at its value, in the colour of its outcome."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from xml.etree import ElementTree

import pytest

from aftertune.deciding.repair import Cell, Difference, Frontier, Row, Verdict
from aftertune.reporting import figures, repair_figure
from aftertune.reporting.figures import COLOURS, MARGIN, OTHER, Box, Dot, Figure, Line, Words

SAFE, OVER, LOSS, LEAK = "s/h/refusal=full", "s/l/refusal=full", "task/held_out/loss", "s/x/leak=registry"
PRIVATE = "s/p/privacy=exact"
LONG = "lora+kl_on_refusals-first_tokens-5-in_context-more_epochs-1-rows_per_step-2-weight-1-with_answers"


def apart(value: float, half: float = 0.04) -> Difference:
    return Difference(value, value - half, value + half, 100, 3)


def row(recipe: str, safe: float, loss: float, outcome: str, verdict: Verdict) -> Row:
    plain = recipe == "lora"
    cells = {
        SAFE: Cell(0.9, 0.1, 0.9 + safe, apart(safe), apart(0.1), outcome),
        OVER: Cell(0.3, 0.0, 0.3, apart(0.0), apart(0.0), "pass"),
        PRIVATE: Cell(0.9, 0.9, 0.9, apart(0.0), apart(0.0), "pass"),
        LOSS: Cell(3.0, 2.0, 2.0 + loss, apart(-1.0), None if plain else apart(loss, 0.02)),
        LEAK: Cell(0.0, 0.5, 0.5, apart(0.5), apart(0.0), "drift"),
    }
    return Row("b", "keep", recipe, cells, 10.0, verdict, "")


def frontier(**changes: object) -> Frontier:
    rows = (
        row("lora", -0.8, 0.0, "drift", "does not repair"),
        row("lora+half", -0.4, 0.4, "undecided", "does not repair"),
        row(LONG, -0.02, -0.1, "pass", "repairs"),
    )
    metrics = {
        "safety": [SAFE], "over_refusal": [OVER], "leaks": [LEAK], "privacy": [PRIVATE], "task": [LOSS], "other": [],
    }  # fmt: skip
    found = Frontier("b", "keep", "lora", metrics, rows, (), LONG, ())
    return dataclasses.replace(found, **changes)  # type: ignore[arg-type]


def dots(figure: Figure) -> list[Dot]:
    return [shape for shape in figure.shapes if isinstance(shape, Dot)]


def words(figure: Figure) -> list[str]:
    return [shape.text for shape in figure.shapes if isinstance(shape, Words)]


def columns(figure: Figure, rows: int) -> list[Sequence[Dot]]:
    every = dots(figure)
    return [every[at : at + rows] for at in range(0, len(every), rows)]


def test_a_dot_for_each_row_in_each_column_that_decides_in_the_colour_of_its_outcome() -> None:
    made = repair_figure.figure(frontier())
    safe, over, leaks, task = columns(made, 3)
    assert [dot.colour for dot in safe] == [COLOURS["drift"], OTHER, COLOURS["pass"]]
    assert [dot.colour for dot in over] == [COLOURS["pass"]] * 3
    assert [dot.colour for dot in task][1:] == [COLOURS["drift"], COLOURS["pass"]], "by the margin, not by the gate"
    assert [dot.colour for dot in leaks] == [OTHER] * 3, "no leak is shown to be more than the plain tuning's"
    assert safe[0].x < safe[1].x < safe[2].x
    assert task[2].x < task[0].x < task[1].x
    assert [safe[at].y == task[at].y for at in range(3)] == [True] * 3
    assert [text for text in words(made) if text.endswith("is worse")] == [
        "lower is worse", "higher is worse", "higher is worse", "higher is worse",
    ]  # fmt: skip


@pytest.mark.parametrize(("moved", "side"), [(-0.3, "lower"), (0.3, "higher")])
def test_privacy_stands_there_where_it_was_lost_with_the_side_to_which_it_was(moved: float, side: str) -> None:
    found = frontier(lost=(PRIVATE,))
    cell = dataclasses.replace(found.rows[0].cells[PRIVATE], to_base=apart(moved))
    plain = dataclasses.replace(found.rows[0], cells={**found.rows[0].cells, PRIVATE: cell})
    made = repair_figure.figure(dataclasses.replace(found, rows=(plain, *found.rows[1:])))
    assert len(columns(made, 3)) == 5
    assert [text for text in words(made) if text.endswith("is worse")][2] == f"{side} is worse"


def test_intervals_lie_about_their_dots_and_the_shade_begins_at_what_the_task_may_lose() -> None:
    made = repair_figure.figure(frontier(), task_margin=0.1)
    half = columns(made, 3)[-1][1]
    (bar,) = [s for s in made.shapes if isinstance(s, Line) and s.y1 == s.y2 == half.y and s.x1 <= half.x <= s.x2]
    zero = columns(made, 3)[-1][0].x
    per_cent = (half.x - zero) / 20  # .4 of a loss of 2
    assert (bar.x2 - bar.x1) / per_cent == pytest.approx(2.0), ".02 on either side"
    (shade,) = [shape for shape in made.shapes if isinstance(shape, Box) and shape.colour == MARGIN]
    assert (shade.x - zero) / per_cent == pytest.approx(10.0)
    assert shade.x + shade.width <= made.width


def test_names_are_whole_and_the_recommended_one_is_told() -> None:
    made = repair_figure.figure(frontier())
    said = words(made)
    assert LONG.removeprefix("lora+") in "".join(said)
    assert said.count("recommended") == 1
    assert {"nothing", "half", "does not repair"} <= set(said)
    none = words(repair_figure.figure(frontier(recommended="")))
    assert "recommended" not in none
    assert "repairs" in none


def test_a_leak_that_is_shown_to_be_more_is_red_and_one_that_hardly_occurs_has_no_column() -> None:
    found = frontier()
    more = {**found.rows[1].cells, LEAK: Cell(0.0, 0.5, 0.8, apart(0.8), apart(0.3), "drift")}
    made = repair_figure.figure(
        frontier(rows=(found.rows[0], dataclasses.replace(found.rows[1], cells=more), found.rows[2]))
    )
    assert [dot.colour for dot in columns(made, 3)[2]] == [OTHER, COLOURS["drift"], OTHER]
    rare = [
        dataclasses.replace(r, cells={**r.cells, LEAK: Cell(0.0, 0.001, 0.001, apart(0.0), None)}) for r in found.rows
    ]
    assert len(columns(repair_figure.figure(frontier(rows=tuple(rare))), 3)) == 3


def test_what_was_not_measured_is_said() -> None:
    found = frontier()
    bare = dataclasses.replace(found.rows[1], cells={**found.rows[1].cells, SAFE: Cell(0.9, 0.1, None, None, None)})
    made = repair_figure.figure(frontier(rows=(found.rows[0], bare, found.rows[2])))
    assert words(made).count("not measured") == 1
    assert len(dots(made)) == 11


def test_a_name_cannot_break_the_picture() -> None:
    made = repair_figure.figure(frontier(arm="<b>&\x1b[31m"))
    tree = ElementTree.fromstring(figures.svg(made))
    assert "<b>&" in (tree.findtext("{http://www.w3.org/2000/svg}title") or "")
    assert "\x1b" not in figures.svg(made)
