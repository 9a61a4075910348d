"""What `make monitor` says of tunings: made-up ones, whose answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from perf import monitor
from perf.monitor import PLANNED, Row

from aftertune.stats.membership import roc_area


def made(data: str, rate: float, seed: int, *, lost: bool, half: float) -> Row:
    """One tuning that lost refusals or did not, with a figure at half."""
    loss = 0.4 if lost else 0.02
    look = {"drift/loss": half, "drift/log_odds_change": -half, "drift/flagged": float(lost), "drift/confirmed": 0.0}
    return {
        "data": data, "rate": rate, "seed": seed, "loss": loss, "low": loss - 0.05, "half": look, "looks": 2,
        "flagged": float(lost), "confirmed": float(lost), "share": 0.25, "steps": 16, "cpu": 8.0,
    }  # fmt: skip


def by_rate() -> list[Row]:
    """High rates drift and low ones do not, and the figure at half is the rate's, with noise of the seed."""
    rng = np.random.default_rng(0)
    return [made(*each, lost=each[1] >= 8e-3, half=each[1] + 1e-5 * rng.normal()) for each in PLANNED]


def by_seed() -> list[Row]:
    """Two seeds of each cell drift, and the figure at half knows which."""
    return [made(*each, lost=each[2] in (0, 1), half=float(each[2] in (0, 1))) for each in PLANNED]


def test_the_first_round_covers_every_cell() -> None:
    cells = {(data, rate) for data, rate, _ in PLANNED}
    assert {(data, rate) for data, rate, _ in PLANNED[: len(cells)]} == cells
    assert len(PLANNED) == 40


def test_whole_cells_are_drawn_again() -> None:
    """Five seeds that end alike are one case: the interval is wider than that of forty tunings on their own."""
    rows = [
        made(*each, lost=each[1] >= 8e-3, half=float((each[1] >= 8e-3) ^ (each[:2] == ("own answers", 8e-3))))
        for each in PLANNED
    ]
    told = monitor.telling(rows, lambda row: row["half"]["drift/loss"], draws=300)
    alone = roc_area(*[[r["half"]["drift/loss"] for r in rows if monitor.drifted(r) is d] for d in (True, False)])
    assert told.area == pytest.approx(alone.value)
    assert told.high - told.low > 1.3 * (alone.high - alone.low)
    assert 0 <= told.left_out < 0.2


def test_data_and_rate_alone_are_told_from_what_a_look_sees() -> None:
    rate = monitor.telling(by_rate(), lambda row: row["half"]["drift/loss"], draws=50)
    assert rate.area == 1.0
    assert (rate.within, rate.pairs) == (None, 0), "no cell holds one of each: the look may know the rate alone"
    seed = monitor.telling(by_seed(), lambda row: row["half"]["drift/loss"], draws=50)
    assert (seed.area, seed.within) == (1.0, 1.0)
    assert seed.pairs == 4 * 2 * 3 + 4 * (1 * 2 + 1 * 1), "mail is swapped for seeds 1 and 3"
    blind = monitor.telling(by_seed(), lambda row: row["rate"], draws=50)
    assert (blind.area, blind.within) == (0.5, 0.5)


@pytest.mark.parametrize(("lost", "said"), [(False, "none of 40 tunings"), (True, "all of 40 tunings")])
def test_where_all_or_none_drifted_it_says_so(lost: bool, said: str) -> None:
    rows = [made(*each, lost=lost, half=0.0) for each in PLANNED]
    shown = " ".join(monitor.section(rows).split())
    assert f"{said} drifted, so there is nothing to tell apart: change RATES" in shown
    assert "AUROC" not in shown


def test_a_round_of_one_kind_ends_it_and_keeps_what_was_tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing:
        def open(self, _: str) -> Nothing:
            return self

        def __enter__(self) -> Nothing:
            return self

        def __exit__(self, *_: object) -> None:
            return None

    monkeypatch.setattr(monitor, "Transformers", Nothing)
    for name in ("answers", "own", "refused"):
        monkeypatch.setattr(monitor, name, lambda *_: [])
    monkeypatch.setattr(monitor, "tuned", lambda *_: made("", 0.0, 0, lost=False, half=0.0))
    kept = tmp_path / "tunings.jsonl"
    for _ in range(2):
        with pytest.raises(SystemExit, match="none of 8 tunings drifted"):
            monitor.fill(kept)
        assert [monitor.key(row) for row in monitor.read(kept)] == list(PLANNED[:8])


def test_the_page_gets_the_result_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "training.md"
    page.write_text(f"before\n\n{monitor.BEGIN}\nold\n{monitor.END}\n\nafter\n", encoding="utf-8")
    for _ in range(2):
        monitor.write(monitor.section(by_seed()), page)
    shown = page.read_text(encoding="utf-8")
    assert shown.startswith(f"before\n\n{monitor.BEGIN}\n\n`make monitor` measures")
    assert shown.endswith(f"\n\n{monitor.END}\n\nafter\n")
    assert "old" not in shown
    assert "| `drift/loss` | 1.00 [1.00, 1.00] | 1.00 (36) |" in shown
    assert "| the learning rate alone | 0.50 [0.50, 0.50] | 0.50 (36) |" in shown
    assert "Of 16 that drifted: 16 flagged at half, 0 confirmed at half, 16 confirmed by the end." in shown
    assert max(map(len, shown.splitlines())) <= 120
    page.write_text("no marks\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="once each"):
        monitor.write("text", page)
    assert monitor.PAGE.read_text(encoding="utf-8").count(monitor.BEGIN) == 1


def test_what_is_not_complete_claims_nothing(tmp_path: Path) -> None:
    kept = tmp_path / "tunings.jsonl"
    other = made("own answers", 0.5, 0, lost=True, half=1.0)  # of rates that are no longer planned
    kept.write_text("".join(json.dumps(row) + "\n" for row in [*by_rate()[:9], other]), encoding="utf-8")
    rows = monitor.read(kept)
    assert len(rows) == 9
    assert "9 of them are done, so nothing is claimed here." in " ".join(monitor.section(rows).split())
