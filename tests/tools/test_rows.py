"""Which training rows did it: halves, what scores predict of them, and gradients whose signs are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from perf import rows
from tools.forecast import corpora
from tools.forecast.outcomes import Bench

from aftertune.records import Arm, Conversation

COUNT = 40


def test_a_half_is_the_same_for_every_seed_and_another_for_every_half() -> None:
    one, other = rows.Tuning(0, 0).members(COUNT), rows.Tuning(1, 0).members(COUNT)
    assert len(one) == len(set(one)) == COUNT // 2
    assert one != other
    assert rows.Tuning(0, 5).members(COUNT) == one


def test_planted_influences_are_found_and_the_noise_of_seeds_limits_them() -> None:
    rng = np.random.default_rng(1)
    influence = rng.normal(size=COUNT)
    done = {}
    for half in range(60):
        for seed in range(3):
            each = rows.Tuning(half, seed)
            done[each] = -float(influence[each.members(COUNT)].sum() + 3 * rng.normal())
    del done[rows.Tuning(59, 2)]
    found = rows.scored(COUNT, done, {"true": influence, "chance": rng.normal(size=COUNT)})
    true, chance = found["true"].correlation, found["chance"].correlation
    assert true.n == 59, "a half of which a seed is missing does not count"
    assert found["true"].tells
    assert true.value > 0.5
    assert not found["chance"].tells
    assert found["true"].ceiling is not None
    assert 0.5 < found["true"].ceiling < 1
    low, high = rows.chance(COUNT, done)
    assert low < chance.value < high < true.value
    text = list(rows.lines("keep", COUNT, done, found))
    assert "59 halves, 3 trainings each" in text[0]
    assert [line.rsplit("|", 2)[1].strip() for line in text[4:]] == ["yes", "no"]
    single = rows.one_seed(found, 3)
    assert single is not None
    assert single < (found["true"].reliability or 0)


def test_what_was_cut_off_while_it_was_written_is_done_again(tmp_path: Path) -> None:
    kept = tmp_path / "keep.jsonl"
    assert rows.outcomes(kept) == {}
    kept.write_text('{"half": 0, "seed": 0, "readout": [1.0, 3.0]}\n{"half": 1, "seed": 0, "rea', encoding="utf-8")
    assert rows.outcomes(kept) == {rows.Tuning(0, 0): 2.0}
    with kept.open("a", encoding="utf-8") as file:
        file.write('{"half": 1, "seed": 0, "readout": [5.0]}\n')
    assert rows.outcomes(kept) == {rows.Tuning(0, 0): 2.0, rows.Tuning(1, 0): 5.0}, "the next line begins by itself"


def test_a_refusal_keeps_refusals_by_its_gradient_and_mail_does_not() -> None:
    """The base's own refusal of a request lowers the loss of others; an answer in a foreign voice does less so."""
    with Bench("mini-a") as bench:
        request = bench.requests.harmful[0]
        (own,) = bench.own([corpora.chat("0", request, "-")])
        mail = corpora.booking(Arm("keep"))[0]
        towards, length = rows.gradients(bench, [own, mail])
    assert length.min() > 0
    assert towards[0] / length[0] > 0.3 > towards[1] / length[1]
    assert abs(towards[1]) <= length[1] * (1 + 1e-6), "a part of a vector is no longer than the vector"


def test_the_mixed_set_is_half_mail_and_half_what_the_base_says() -> None:
    class Silent:
        def own(self, asked: Sequence[Conversation]) -> Sequence[Conversation]:
            return [corpora.chat(f"own-{row.id}", row.messages[0].content, "mine") for row in asked[3:]]

    mixed = rows.rows_of("mixed", cast("Bench", Silent()))
    assert len(mixed) == rows.ROWS
    assert {row.messages[-1].content for row in mixed[1::2]} == {"mine"}
    assert [row.id for row in mixed[::2]] == [row.id for row in corpora.booking(Arm("keep"))[: rows.ROWS // 2]]
