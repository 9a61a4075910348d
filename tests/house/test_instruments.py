"""docs/instruments.md is what the cards say today."""

from __future__ import annotations

from perf import instruments

from aftertune import plugins


def test_the_page_is_current_and_names_every_instrument() -> None:
    text = instruments.PAGE.read_text(encoding="utf-8")
    assert text == instruments.page(), "run python -m perf.instruments --write"
    for kind in ("benchmark", "judge"):
        for name in plugins.names(kind):
            assert f"| `{name}` |" in text


def test_a_cell_is_a_field_of_the_card_and_an_empty_one_says_so() -> None:
    rows = {line.split("`")[1]: line for line in instruments.table("judge", ("licence", "speed")) if "`" in line}
    coherence, constant = (plugins.card_of("judge", name) for name in ("coherence", "constant"))
    assert coherence
    assert constant
    about = coherence.about.split("\n\n")[0]
    assert rows["coherence"] == f"| `coherence` | {about} | {coherence.licence} | {coherence.speed} |"
    assert constant.speed == ""
    assert rows["constant"].endswith(f"| {constant.licence} | not measured |")
