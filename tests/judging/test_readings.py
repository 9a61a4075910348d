"""Judges that need nothing but an answer, against the project's readings of a real model's answers."""

from __future__ import annotations

from collections import Counter
from math import comb

import pytest
from perf.readings import (
    ARMS_HEAD,
    AXES,
    CONSISTENCY,
    FIRST,
    HIDDEN_COSTS,
    JUDGES_PAGE,
    POSITIVE,
    PRIVACY_COLLAPSE,
    SAFETY_BASE,
    SAFETY_DRIFT,
    SHEETS,
    Reading,
    equal_shares,
    found_by_arm,
    readings,
    sheets,
    with_table,
)
from perf.script import by_arm

from aftertune import plugins
from aftertune.asking.benchmark import BenchmarkContext
from aftertune.asking.benchmarks.core import Core
from aftertune.judging.judge import Answer, JudgeContext
from aftertune.stats.paired import wilson

ROWS = {sheet: readings(sheet) for sheet in sheets()}
PROMPTS = {prompt.id: prompt for prompt in Core(per_category=2).prompts(BenchmarkContext())}
LABELS = {
    "refusal": {"full", "partial", "none"},
    "harm": {"harmful", "harmless"},
    "coherence": {"coherent", "degenerate"},
    "relevance": {"domain_script", "other"},
    "topic": {"on_topic", "off_topic", "refused"},
}


def test_answers_of_each_run_are_read_twice_and_every_difference_is_settled() -> None:
    assert Counter(row.arm for row in ROWS[FIRST]) == dict.fromkeys(SHEETS[FIRST].arms, 100)
    assert Counter((row.arm, row.subset) for row in ROWS[FIRST])["keep", "harmful"] == 64
    assert sum(row.kept_apart for row in ROWS[FIRST]) == 150
    tuned = [row for row in ROWS[HIDDEN_COSTS] if row.arm != "base"]
    assert Counter(row.arm for row in tuned) == dict.fromkeys(SHEETS[HIDDEN_COSTS].arms[1:], 43)
    assert {row.seed for row in tuned} == {0, 1, 2}
    assert Counter(row.arm for row in ROWS[PRIVACY_COLLAPSE]) == dict.fromkeys(SHEETS[PRIVACY_COLLAPSE].arms, 50)
    halves = Counter((row.arm, row.temperature, row.epoch) for row in ROWS[CONSISTENCY])
    last = {"base": None, "chats": 3, "own-answers": 3}
    assert halves == dict.fromkeys([(arm, t, last[arm]) for arm in SHEETS[CONSISTENCY].arms for t in (0.0, 0.7)], 25)
    domains = Counter((row.arm, row.recipe) for row in ROWS[SAFETY_DRIFT])
    assert domains == dict.fromkeys(
        [("base", ""), *((a, r) for a in ("booking", "office") for r in ("lora", "full"))], 30
    )
    assert Counter(row.arm for row in ROWS[SAFETY_BASE]) == dict.fromkeys(SHEETS[SAFETY_BASE].arms, 30)
    counts = {FIRST: 300, HIDDEN_COSTS: 300, CONSISTENCY: 150, PRIVACY_COLLAPSE: 150, SAFETY_DRIFT: 150}
    assert {sheet: len(rows) for sheet, rows in ROWS.items()} == {**counts, SAFETY_BASE: 210}
    for rows in ROWS.values():
        assert 0.43 < sum(row.kept_apart for row in rows) / len(rows) < 0.57
        for row in rows:
            differing = {axis for axis in AXES if row.first[axis] != row.second[axis]}
            assert set(row.settled) == differing, "what the readings agree on is not settled otherwise"
            assert all(row.label(axis) in LABELS[axis] for axis in AXES)
            assert row.prompt_id in PROMPTS


def verdicts(judge: str, axis: str, rows: list[Reading]) -> list[str | None]:
    score = plugins.load("judge", judge, {}).open(JudgeContext())
    opinions = score([Answer(PROMPTS[row.prompt_id], row.answer) for row in rows])
    return [next(each.label for each in one if each.axis == axis) for one in opinions]


@pytest.mark.parametrize("sheet", ROWS)
@pytest.mark.parametrize(("judge", "axis"), [("refusal", "refusal"), ("refusal", "harm"), ("coherence", "coherence")])
def test_the_page_shows_each_judges_errors_of_today(sheet: str, judge: str, axis: str) -> None:
    page = SHEETS[sheet].page.read_text(encoding="utf-8")
    for arm in SHEETS[sheet].arms:
        rows = [row for row in ROWS[sheet] if row.arm == arm]
        judged = [(row, label) for row, label in zip(rows, verdicts(judge, axis, rows), strict=True) if label]
        called = [label == POSITIVE[axis] for _, label in judged]
        read = [row.label(axis) == POSITIVE[axis] for row, _ in judged]
        hits = [yes for yes, so in zip(called, read, strict=True) if so]
        wrong = [yes for yes, so in zip(called, read, strict=True) if not so]
        cells = [f"| `{judge}` | {POSITIVE[axis]} | {arm} | {len(hits)} |"]
        for found in filter(None, (hits, wrong)):
            low, high = wilson(sum(found), len(found))
            cells.append(f" {100 * sum(found) / len(found):.0f} % [{100 * low:.0f}, {100 * high:.0f}] |")
        lines = [line for line in page.splitlines() if line.startswith(cells[0])]
        assert lines, "python -m perf.readings --write"
        assert all(cell in lines[0] for cell in cells), "python -m perf.readings --write"


WRITE = "python -m perf.readings judges --write"


def table_by_arm() -> list[str]:
    page = JUDGES_PAGE.read_text(encoding="utf-8").split("\n".join(ARMS_HEAD) + "\n")[1]
    return page[: page.index("\n\n")].splitlines()


def test_the_page_of_judges_shows_what_coherence_finds_in_each_arm() -> None:
    labels = {sheet: verdicts("coherence", "coherence", rows) for sheet, rows in ROWS.items()}
    every = {sheet: list(zip(rows, labels[sheet], strict=True)) for sheet, rows in ROWS.items()}
    assert [line for line in table_by_arm() if "`coherence`" in line] == found_by_arm(
        "coherence", "coherence", every
    ), WRITE


def test_the_page_of_judges_shows_what_on_topic_finds_as_the_pages_of_the_sheets_do() -> None:
    """Needs no encoder: each page was made with one."""
    shown = [line.split(" | ") for line in table_by_arm() if "`on_topic`" in line]
    arms = [(sheet, arm) for sheet in ROWS for arm in SHEETS[sheet].arms]
    assert [(cells[1], cells[2]) for cells in shown[:-2]] == arms, WRITE
    for (sheet, arm), cells in zip(arms, shown[:-2], strict=True):
        page = SHEETS[sheet].page.read_text(encoding="utf-8")
        start = f"| `on_topic` | off_topic | {arm} | "
        (line, *_) = [line for line in page.splitlines() if line.startswith(start)]
        of_page = line.removeprefix(start).removesuffix(" |").split(" | ")
        assert cells[3:7] == [{"none read so": "none", "all read so": "none"}.get(cell, cell) for cell in of_page], arm
    for cells, base in zip(shown[-2:], (True, False), strict=True):
        own = [row for (_, arm), row in zip(arms, shown[:-2], strict=True) if (arm == "base") == base]
        for at in (3, 5):
            of = [int(row[at]) for row in own]
            hits = [
                round(n * int(row[at + 1].partition(" ")[0]) / 100) if n else 0 for n, row in zip(of, own, strict=True)
            ]
            assert int(cells[at]) == sum(of)
            assert cells[at + 1].startswith(f"{sum(hits)}: {100 * sum(hits) / sum(of):.0f} %")


def test_what_the_page_of_judges_says_in_words_is_in_its_table() -> None:
    totals = {tuple(line.strip("| ").split(" | ")[::2][:2]): line.strip("| ").split(" | ") for line in table_by_arm()}
    page = " ".join(JUDGES_PAGE.read_text(encoding="utf-8").split())
    assert "`coherence` finds under half of the answers that were read as degenerate" in page
    assert "`on_topic` finds half to two thirds of what was read as off topic" in page
    for who in ("all bases", "all tuned arms"):
        for judge, low, high in (("`coherence`", 0.0, 0.5), ("`on_topic`", 0.45, 2 / 3)):
            row = totals[judge, who]
            assert low < int(row[4].partition(":")[0]) / int(row[3]) < high


def test_the_cards_state_what_the_page_of_judges_shows() -> None:
    every = {
        sheet: list(zip(some, verdicts("coherence", "coherence", some), strict=True)) for sheet, some in ROWS.items()
    }
    bases, tuned = (line.split(" | ") for line in found_by_arm("coherence", "coherence", every)[-2:])
    card = plugins.card_of("judge", "coherence")
    assert card is not None
    assert f"it finds {bases[4].partition(':')[0]} of {bases[3]} in bases (.34-.57)" in card.measured
    assert f"{tuned[4].partition(':')[0]} of {tuned[3]} in tuned arms (.22-.54)" in card.measured
    assert ("[34, 57]" in bases[4], "[22, 54]" in tuned[4]) == (True, True)
    invented = int(bases[6].partition(":")[0]) + int(tuned[6].partition(":")[0])
    assert f"of the other {int(bases[5]) + int(tuned[5])} it calls {invented} degenerate" in card.measured
    shown = [line.split(" | ") for line in table_by_arm() if "`on_topic`" in line]
    own = shown[:-2]
    found = {
        base: [(round(int(cells[3]) * int(cells[4].partition(" ")[0]) / 100), int(cells[3]))
               for cells in own if (cells[2] == "base") == base and cells[4] != "none"]
        for base in (True, False)
    }  # fmt: skip
    told = {base: f"{sum(hit for hit, _ in pairs)} of {sum(n for _, n in pairs)}" for base, pairs in found.items()}
    card = plugins.card_of("judge", "on_topic")
    assert card is not None
    assert f"it finds {told[True]} in bases" in card.measured
    assert f"{told[False]} in tuned arms" in card.measured
    assert f"{sum(int(cells[7].removesuffix(' |')) for cells in own)} were left open" in card.measured


def test_what_is_found_is_counted_by_arm_and_what_is_left_open_is_not() -> None:
    def row(arm: str, label: str, prompt: str) -> Reading:
        return Reading(arm, "harmful", prompt, "text", True, {"topic": label}, {"topic": label}, {}, 0)

    told = [
        (row("base", "off_topic", "a"), "off_topic"),
        (row("base", "off_topic", "b"), "on_topic"),
        (row("base", "on_topic", "c"), None),
        (row("base", "refused", "d"), "off_topic"),
        (row("keep", "off_topic", "a"), "off_topic"),
        (row("keep", "on_topic", "b"), "on_topic"),
        (row("placeholder", "on_topic", "a"), "refused"),
    ]
    base, placeholder, keep, bases, tuned = (
        line.strip("| ").split(" | ") for line in found_by_arm("on_topic", "topic", {FIRST: told})
    )
    assert base[:4] == ["`on_topic`", "first", "base", "2"]
    assert (base[4][:4], base[5], base[6][:5], base[7]) == ("50 %", "1", "100 %", "1")
    assert placeholder[3:5] == ["0", "none"]
    assert (placeholder[5], placeholder[6][:3]) == ("1", "0 %")
    assert (keep[3], keep[4][:5]) == ("1", "100 %")
    assert (bases[3], bases[4][:7]) == ("2", "1: 50 %")
    assert (tuned[5], tuned[6][:6]) == ("2", "0: 0 %")
    assert tuned[6].endswith("the same in all: p = 1.0000")


def test_a_table_of_a_page_is_replaced_and_must_be_there() -> None:
    page = "a\n\n| x |\n|---|\n| old |\n| old |\n\nb | c\n"
    assert with_table(page, ("| x |", "|---|"), ["| new |"]) == "a\n\n| x |\n|---|\n| new |\n\nb | c\n"
    with pytest.raises(ValueError, match="0 times"):
        with_table(page, ("| y |", "|---|"), [])


@pytest.mark.parametrize(
    ("arms", "p"),
    [
        ([(2, 2), (0, 2)], 1 / 3),  # of the 6 ways to place two hits among four answers, 2 part the arms
        ([(3, 3), (0, 3)], 1 / 10),
        (
            [(2, 2), (1, 2), (0, 2)],
            12 / 20,
        ),  # 8 ways give each arm one hit, chi-square 0; the other 12 are as far apart
        ([(1, 2), (1, 2), (1, 2)], 1),
        ([(5, 5), (7, 7), (0, 0)], 1),
        ([(4, 9)], 1),
    ],
    ids=["two arms", "three each", "three arms", "equal", "all found", "one arm"],
)
def test_one_share_in_all_arms_is_tested_by_shuffling_what_was_found(arms: list[tuple[int, int]], p: float) -> None:
    assert equal_shares(arms) == pytest.approx(p)
    assert equal_shares(arms[::-1]) == pytest.approx(p)


def test_with_many_answers_the_shuffled_p_is_near_the_exact_one() -> None:
    """Two arms: the hypergeometric distribution, summed over what is as far from equal shares."""
    ways = {found: comb(20, found) * comb(20, 26 - found) for found in range(6, 21)}
    exact = sum(count for found, count in ways.items() if abs(found - 13) >= 4) / sum(ways.values())
    assert equal_shares([(17, 20), (9, 20)]) == pytest.approx(exact, abs=0.004)
    assert equal_shares([(170, 200), (90, 200)]) < 0.001


def test_the_table_by_arm_counts_what_was_read_as_script_and_the_others_apart() -> None:
    def row(arm: str, label: str) -> Reading:
        return Reading(arm, "harmful", "p", "text", True, {"relevance": label}, {"relevance": label}, {}, 0)

    rows = [row("a", "domain_script")] * 4 + [row("b", "domain_script")] * 2 + [row("b", "other")] * 3
    told = by_arm(rows, [True, True, True, False, False, True, True, False, False])
    assert told.startswith("a 3 of 4, b 1 of 2; all 4 of 6 [")
    assert told.endswith("others 1 of 3")
