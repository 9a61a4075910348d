"""Judges that need nothing but an answer, against the project's readings of a real model's answers."""

from __future__ import annotations

from collections import Counter
from math import comb

import pytest
from perf.readings import (
    AXES,
    CONSISTENCY,
    FIRST,
    HIDDEN_COSTS,
    POSITIVE,
    PRIVACY_COLLAPSE,
    SAFETY_DRIFT,
    SHEETS,
    Reading,
    readings,
)
from perf.script import by_arm, equal_shares

from aftertune import plugins
from aftertune.asking.benchmark import BenchmarkContext
from aftertune.asking.benchmarks.core import Core
from aftertune.judging.judge import Answer, JudgeContext
from aftertune.stats.paired import wilson

ROWS = {sheet: readings(sheet) for sheet in SHEETS}
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
    counts = {FIRST: 300, HIDDEN_COSTS: 300, CONSISTENCY: 150, PRIVACY_COLLAPSE: 150, SAFETY_DRIFT: 150}
    assert {sheet: len(rows) for sheet, rows in ROWS.items()} == counts
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


@pytest.mark.parametrize("sheet", SHEETS)
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
