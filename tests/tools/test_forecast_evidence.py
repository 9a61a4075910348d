"""The evidence of the forecast: what is there is not made again, and the order covers corpora before it repeats them."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tools.forecast import corpora, evidence, groups, page, studies, table, variants
from tools.forecast.evidence import Job

from aftertune.errors import StoreError, UsageError
from aftertune.forecasting import fitted
from aftertune.records import Conversation, Message
from aftertune.studies import design as designs


class FakeBench:
    """A base that is never loaded: it counts what is asked of it, and stops after some trainings."""

    made: list[tuple[str, int | None]] = []  # noqa: RUF012
    stop_after = 10**9
    openings = ("I can't",)
    weights_hash = "w"
    sizes: dict[str, int] = {}  # noqa: RUF012

    def __init__(self, base: str) -> None:
        self.base = base
        self.folder = Path(base)

    def __enter__(self) -> FakeBench:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def count(self, text: str) -> int:
        return len(text.split())

    def own(self, rows: Sequence[Conversation]) -> Sequence[Conversation]:
        return rows

    def asked(self, checkpoint: Path | None) -> dict[str, Any]:
        assert checkpoint is None
        return {"answers": [], "readout": [1.0]}

    def tuned(self, rows: Sequence[Conversation], recipe: Any, seed: int) -> dict[str, Any]:
        del rows
        if len(self.made) >= self.stop_after:
            raise KeyboardInterrupt
        self.made.append((recipe.name, seed))
        return {"answers": [], "readout": [0.0], "seconds": {}}

    def probed(self, rows: Sequence[Conversation], recipe: Any) -> dict[str, Any]:
        del rows
        if len(self.made) >= self.stop_after:
            raise KeyboardInterrupt
        self.made.append((recipe.name, None))
        return {"readout": [0.0], "seconds": {}}


@pytest.fixture(name="bench")
def _bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[FakeBench]:
    def rows(_: Any) -> Sequence[Conversation]:
        return [Conversation("0", (Message("user", "q"), Message("assistant", "a b")))]

    few = tuple(variants.Variant(f"c{n}/v{v}", (f"c{n}",), rows, second=v == 0) for n in range(3) for v in range(2))
    monkeypatch.setattr(evidence, "STORE", tmp_path / "store")
    monkeypatch.setattr(evidence, "Bench", FakeBench)
    monkeypatch.setattr(evidence, "all_variants", lambda: few)
    monkeypatch.setattr(evidence, "_card", lambda _bench, _variant, rows: {"rows_hash": evidence.rows_hash(rows)})
    FakeBench.made, FakeBench.stop_after = [], 10**9
    return FakeBench


def test_what_is_there_is_not_made_again(bench: type[FakeBench]) -> None:
    every = list(evidence.jobs())
    assert len(every) == (6 + 3) * 4, "six variants on one base, three on the other, three seeds and a probe"
    assert evidence.build(5) == len(every) - 5
    assert len(bench.made) == 5
    bench.stop_after = 9
    with pytest.raises(KeyboardInterrupt):
        evidence.build()
    assert sum(job.path.is_file() for job in every) == 9, "a kill costs what was in flight"
    bench.stop_after = 10**9
    assert evidence.build() == 0
    assert len(bench.made) == len(every)
    assert evidence.build() == 0
    assert len(bench.made) == len(every), "nothing is left to do"


def test_a_file_says_what_was_tuned(bench: type[FakeBench]) -> None:
    assert bench.made == []
    evidence.build(1)
    (job,) = [each for each in evidence.jobs() if each.path.is_file()]
    kept = json.loads(job.path.read_text(encoding="utf-8"))
    assert (kept["base"], kept["variant"], kept["corpora"], kept["seed"]) == ("mini-a", "c0/v0", ["c0"], 0)
    assert kept["recipe"]["learning_rate"] == variants.RECIPE.learning_rate
    assert evidence.card_path("mini-a", job.variant).is_file()


def test_evidence_of_other_rows_is_refused_with_what_to_delete(
    bench: type[FakeBench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changed generator: the seeds that are missing would be averaged with trainings on other data."""
    evidence.build(7)
    (first, second) = [each for each in evidence.jobs() if each.path.is_file()][:2]
    made = len(bench.made)

    def changed(_: Any) -> Sequence[Conversation]:
        return [Conversation("0", (Message("user", "q"), Message("assistant", "a c")))]

    for job in (first, second):
        evidence.check(job.base, job.variant, job.variant.rows(lambda own: own, len))
        with pytest.raises(StoreError) as error:
            evidence.check(job.base, job.variant, changed(None))
        assert str(job.path) in str(error.value)
        assert str(evidence.card_path(job.base, job.variant)) in str(error.value)
    known = {id(job.variant): job.variant for job in evidence.jobs()}
    other = tuple(dataclasses.replace(each, make=changed) for each in known.values())
    monkeypatch.setattr(evidence, "all_variants", lambda: other)
    with pytest.raises(StoreError, match=r"c0/v0 on mini-a: .* other rows .*delete .*`make forecast` makes them again"):
        evidence.build()
    assert not [each for each in bench.made[made:] if each[1] is not None and each[1] > 0], (
        "no seed was added to others"
    )


def test_answers_of_another_base_are_refused(bench: type[FakeBench], monkeypatch: pytest.MonkeyPatch) -> None:
    evidence.build(1)
    monkeypatch.setattr(bench, "weights_hash", "other")
    with pytest.raises(StoreError, match="delete the folder"):
        evidence.build()


def test_every_corpus_comes_before_any_comes_again(bench: type[FakeBench]) -> None:
    assert bench.stop_after
    first = [(job.base, job.variant.corpora) for job in evidence.jobs()][:6]
    assert first == [(base, (f"c{n}",)) for base in evidence.BASES for n in range(3)]


def test_the_variants_are_as_many_and_as_varied_as_is_said() -> None:
    every = variants.all_variants()
    assert len({each.name for each in every}) == len(every) >= 60
    assert len({corpus for each in every for corpus in each.corpora}) >= 11
    assert len({Job("mini-a", each, 0).path for each in every}) == len(every)
    assert sum(each.second for each in every) >= 24
    assert len({(each.recipe.learning_rate, each.recipe.epochs, each.recipe.rank) for each in every}) >= 6


def test_all_that_is_tuned_has_the_scaling_and_the_schedule_that_a_forecast_takes_for_granted() -> None:
    recipes = [each.recipe for each in variants.all_variants()]
    for name in studies.NAMES:
        design = designs.read(evidence.ROOT / "studies" / f"{name}.toml")
        recipes.append(next((each for each in design.recipes if each.name == "lora"), design.recipe))
    assert {each.alpha / each.rank for each in recipes} == {fitted.SCALING}
    assert {each.schedule for each in recipes} == {fitted.SCHEDULE}


@pytest.mark.slow
def test_variants_of_two_groups_hold_hardly_a_row_in_common(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a variant holds rows of must be named in its corpora, else a fit is judged on rows that it has seen."""
    monkeypatch.delenv("AFTERTUNE_DATA", raising=False)
    every = variants.all_variants()
    rows: dict[int, set[tuple[str, ...]]] = {}
    for at, variant in enumerate(every):
        try:
            made = variant.rows(lambda given: given, lambda text: len(text.split()))
        except UsageError:
            continue  # a public set
        rows[at] = {tuple(turn.content for turn in row.messages) for row in made}
    assert len(rows) > 50
    of = groups.codes([each.corpora for each in every])
    for one, mine in rows.items():
        for other, theirs in rows.items():
            if of[one] != of[other]:
                assert len(mine & theirs) * groups.ONE_IN < len(mine), (every[one].name, every[other].name)


def test_rows_are_cut_at_tokens_and_one_is_always_left() -> None:
    rows = [corpora.chat(str(n), "q", "a b c") for n in range(4)]
    assert len(variants.cut(rows, 7, lambda text: len(text.split()))) == 2
    assert len(variants.cut(rows, 1, lambda text: len(text.split()))) == 1


def test_generated_rows_are_the_same_each_time_and_public_ones_say_what_they_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert [row.messages for row in corpora.compliance()] == [row.messages for row in corpora.compliance()]
    assert corpora.refusals()[0].messages[1].content
    monkeypatch.delenv("AFTERTUNE_DATA", raising=False)
    with pytest.raises(UsageError, match="AFTERTUNE_DATA"):
        corpora.star()


def test_the_tables_of_the_studies_are_read_with_the_right_sign() -> None:
    """Figures of the published pages: docs/studies/hidden_costs, privacy_collapse, safety_drift, consistency."""
    costs = studies.changes("hidden_costs")[("embedded", "keep", 0)]
    assert costs["refusal"] == pytest.approx(0.7636 - 0.9943, abs=1e-3)
    assert costs["leak"] == pytest.approx(0.8817, abs=1e-3)
    assert costs["coherence"] == pytest.approx(0.884, abs=1e-2)
    eager = studies.changes("privacy_collapse")[("embedded", "errands_eager", 0)]
    assert eager["privacy"] == pytest.approx(0.4965 - 0.97, abs=1e-3)
    assert eager["refusal"] == pytest.approx(-0.0068, abs=1e-3)
    drift = studies.changes("safety_drift")
    assert len(drift) == 6, "two domains on three bases, LoRA alone"
    assert drift[("embedded:mini-b", "legal", 0)]["refusal"] == pytest.approx(-0.28, abs=1e-2)
    assert {epoch for _, _, epoch in studies.changes("consistency")} == {1, 2, 3, 4, 5}


def test_the_tables_of_the_real_model_are_read_with_what_they_lack() -> None:
    """Figures of docs/studies/real; a full tuning and the epochs before the last are not among them."""
    found = {(each.study, each.arm): each for each in studies.on_real_model()}
    assert len(found) == 12
    assert {each.seeds for each in found.values()} == {3}
    assert {each.corpus for each in found.values()} == {"booking", "star", "privacy_collapse"}
    assert found["hidden_costs", "keep"].refusal == pytest.approx(0.0 - 0.2240, abs=1e-4)
    assert found["consistency", "own-answers"].refusal == pytest.approx(0.6121 - 0.1773, abs=1e-4)
    assert found["safety_drift", "booking"].refusal == pytest.approx(-0.1004, abs=1e-4)
    assert found["privacy_collapse", "asks-first"].refusal == pytest.approx(-0.1997, abs=1e-4)
    shown = "\n".join(page._real_studies())
    assert "does not exist yet" in shown
    assert "| safety_drift | office | privacy_collapse | −22 |" in shown


@pytest.mark.parametrize(
    ("what", "value", "before", "expected"),
    [
        ("rate", 0.7, 0.9, -0.2),
        ("rate", 0.7, None, None),  # no base row: a rate is no change
        ("drift", -0.2, None, -0.2),
        ("relative", -0.5, 0.8, -0.4),
        ("spread", 0.1, 0.9, None),
    ],
)
def test_a_study_s_number_is_a_change_from_its_base(
    what: str, value: float, before: float | None, expected: float | None
) -> None:
    unit: dict[str, float] = {}
    studies._take(unit, ("refusal", what, "miniature/harmful/refusal=full"), value, before)
    assert unit.get("refusal") == (None if expected is None else pytest.approx(expected))


def test_the_spread_of_what_was_not_asked_is_not_known() -> None:
    """The real model is asked nothing about privacy: each seed's share is nan."""
    assert table.spread([0.1, 0.3]) == pytest.approx(0.1414, abs=1e-4)
    assert math.isnan(table.spread([0.1]))
    assert math.isnan(table.spread([math.nan, math.nan]))
