"""What is concluded of readouts and interventions: by intervals and nulls, and never more than they say."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from aftertune.inside.concepts import CHOICE, written
from aftertune.inside.explanation import (
    MAY,
    MAY_NOT,
    Answered,
    ArmDirections,
    Effect,
    Explanation,
    ReadAndJudged,
    ReadoutChange,
    ToldApart,
    higher_when_refused,
    mean,
    readout_change,
    told_apart,
    twin_of,
)
from aftertune.reporting import explanation as page
from aftertune.stats.estimate import Estimate
from aftertune.stats.ranking import Area

PROMPTS = {f"p{n}": f"k{n % 20}" for n in range(60)}


def readouts(rng: np.random.Generator, shift: float, noise: float = 0.3) -> dict[str, float]:
    return {id: float(number % 7 - 3 + shift + noise * rng.normal()) for number, id in enumerate(PROMPTS)}


def change(*shifts: float, noise: float = 0.3) -> ReadoutChange | None:
    rng = np.random.default_rng(0)
    base = readouts(rng, 0.0, noise)
    return readout_change(
        ("m", "a", "harmful"), base, [readouts(rng, s, noise) for s in shifts], PROMPTS, confidence=0.95
    )


def test_a_shift_is_found_with_its_interval() -> None:
    found = change(-1.5, -1.4, -1.6)
    assert found
    assert found.log_odds.low <= -1.5 <= found.log_odds.high
    assert found.log_odds.n_seeds == 3
    assert found.moved is True


def test_no_shift_is_said_to_be_none() -> None:
    found = change(0.0, 0.0, 0.0, noise=0.05)
    assert found
    assert found.moved is False


def test_seeds_that_differ_leave_it_unknown() -> None:
    found = change(-2.0, 1.5)
    assert found
    assert found.moved is None


def rarely(shift: float) -> ReadoutChange:
    """Return the change of a base that gives its openings .1 %, though it may well open so at temperature 0."""
    rng = np.random.default_rng(0)
    base = {id: float(-7 + rng.normal()) for id in PROMPTS}
    tuned = {id: value + shift + 0.1 * float(rng.normal()) for id, value in base.items()}
    found = readout_change(("m", "a", "harmful"), base, [tuned], PROMPTS, confidence=0.95)
    assert found
    return found


def test_where_a_base_opens_so_rarely_points_do_not_hide_a_loss() -> None:
    lost = rarely(-4.0)
    assert abs(lost.share.value) < 0.05, "in points next to nothing"
    assert lost.moved is True
    assert rarely(0.05).moved is False
    assert rarely(-1.0).moved is None
    line = page.sentences(
        Explanation(
            title="t", confidence=0.95, openings={}, readouts=(lost,), twins=(), effects=(),
            directions=(ArmDirections(base="m", arm="a", changes=()),),
        )
    )[1]  # fmt: skip
    assert "open less often as the base's refusals do: -3.99 [" in line
    assert "points cannot show a loss" in line


def readout(base: float, tuned: dict[str, float], subset: str = "harmful") -> ReadoutChange:
    """Return the change of a base with one readout for all prompts."""
    found = readout_change(("m", "a", subset), dict.fromkeys(PROMPTS, base), [tuned], PROMPTS, confidence=0.95)
    assert found
    return found


def about(*rows: ReadoutChange) -> list[str]:
    empty = ArmDirections(base="m", arm="a", changes=())
    return page.sentences(
        Explanation(
            title="t", confidence=0.95, openings={}, readouts=rows, twins=(), effects=(), directions=(empty,)
        )
    )  # fmt: skip


def test_less_or_more_is_said_by_the_measure_that_decides() -> None:
    """Half of the prompts open so far more rarely in log-odds, the other half clearly more often in points."""
    rng = np.random.default_rng(0)
    base = {id: (-5.0 if n % 2 else 0.5) + 0.01 * rng.normal() for n, id in enumerate(PROMPTS)}
    tuned = {id: value + (-6.0 if n % 2 else 2.0) for n, (id, value) in enumerate(base.items())}
    one_cluster_each = {id: id for id in PROMPTS}
    found = readout_change(("m", "a", "harmful"), base, [tuned], one_cluster_each, confidence=0.95)
    assert found
    assert found.log_odds.value < 0 < found.share.low - 0.05
    assert found.moved is True
    assert not found.lost
    assert "open more often as the base's refusals do: +14.8 points" in about(found)[1]


@pytest.mark.parametrize("floor", [-13.815511, -13.5, -13.0])
def test_at_the_least_readout_no_loss_can_be_seen_and_none_is_denied(floor: float) -> None:
    found = readout(floor, dict.fromkeys(PROMPTS, -13.815511))
    assert found.moved is None, "a base that never opens so could not open so less often"
    lines = about(found)
    assert lines[0] == "Not known whether anything moved: a."
    assert "so rarely that no loss could be seen" in lines[1]
    assert readout(-12.5, dict.fromkeys(PROMPTS, -12.5)).moved is False
    assert readout(floor, dict.fromkeys(PROMPTS, 0.0)).moved is True, "a gain can be"


def test_refusals_of_harmless_requests_that_moved_are_in_the_headline() -> None:
    still = readout(3.0, dict.fromkeys(PROMPTS, 3.0))
    more = readout(-3.0, dict.fromkeys(PROMPTS, 1.0), "harmless")
    lines = about(still, more)
    assert lines[0] == "Moved: a."
    assert any("answers to harmless requests open more often as the base's refusals do: " in line for line in lines)
    assert about(still, readout(-3.0, dict.fromkeys(PROMPTS, -3.0), "harmless"))[0] == "Nothing moved."
    rng = np.random.default_rng(0)
    wide = readout(-1.0, {id: -1.0 + 3 * float(rng.normal()) for id in PROMPTS}, "harmless")
    assert wide.moved is None
    assert about(still, wide)[0] == "Not known whether anything moved: a."
    rarely = readout(-13.8, dict.fromkeys(PROMPTS, -13.7), "harmless")
    assert about(still, rarely)[0] == "Nothing moved.", "from next to nothing to next to nothing is no refusal"


def test_the_interval_of_a_mean_covers_it() -> None:
    covered = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        codes = np.repeat(np.arange(12), 3)
        values = 2.0 + rng.normal(size=(1, 36)) + rng.normal(size=12)[codes]
        found = mean(values, codes, 0.95)
        covered += found.low <= 2.0 <= found.high
    assert 0.92 <= covered / 300 <= 0.98


def test_one_cluster_says_nothing() -> None:
    found = mean(np.array([[1.0, 2.0, 3.0]]), np.zeros(3, dtype=np.int64), 0.95)
    assert (found.low, found.high) == (-np.inf, np.inf)


def test_prompts_that_a_model_could_not_read_are_left_out() -> None:
    base = dict.fromkeys(PROMPTS, 0.0)
    tuned = dict.fromkeys(list(PROMPTS)[:30], 1.0)
    found = readout_change(("m", "a", "s"), base, [tuned], PROMPTS, confidence=0.95)
    assert found
    assert found.log_odds.n == 30
    assert readout_change(("m", "a", "s"), base, [{"p0": 1.0}], PROMPTS, confidence=0.95) is None


@pytest.mark.parametrize(
    ("values", "refused", "expected"),
    [
        ((1, 2, 3, 4), (0, 0, 1, 1), 1.0),
        ((4, 3, 2, 1), (0, 0, 1, 1), 0.0),
        ((1, 1), (0, 1), 0.5),
        ((1, 2), (1, 1), None),
    ],
)
def test_the_chance_that_a_refused_prompt_is_higher(
    values: tuple[float, ...], refused: tuple[float, ...], expected: float | None
) -> None:
    assert higher_when_refused(np.array(values, dtype=float), np.array(refused, dtype=float)) == expected


def models(rng: np.random.Generator, arms: int, seeds: int, clusters: int = 22) -> list[ReadAndJudged]:
    """Return made-up models of which the seeds of an arm are alike, and whose prompts' difficulties are shared."""
    names = tuple(f"c{k}" for k in range(clusters) for _ in range(2))
    of = np.repeat(np.arange(clusters), 2)
    hard, odd = rng.normal(size=clusters)[of], rng.normal(size=clusters)[of]
    found = []
    for arm in range(arms):
        shift = rng.normal()
        for _ in range(seeds):
            lean = hard + shift + 0.3 * rng.normal(size=len(of))
            refused = (lean + 0.5 * rng.normal(size=len(of)) > 0).astype(float)
            found.append(ReadAndJudged(str(arm), lean + odd + 0.5 * rng.normal(size=len(of)), refused, names))
    return found


def test_more_seeds_of_the_same_arms_and_prompts_say_little_more() -> None:
    """Seeds are no new arms, and the same prompts are asked of all: neither interval may shrink by their number."""
    few: list[float] = []
    many: list[float] = []
    for seed in range(5):
        for seeds, widths in ((2, few), (8, many)):
            twin = twin_of("m", models(np.random.default_rng(seed), 6, seeds), 0.95)
            assert twin.within_models
            assert 0 <= twin.within_models.low < twin.within_models.value < twin.within_models.high <= 1
            widths.append(twin.within_models.high - twin.within_models.low)
    assert np.mean(many) > 0.7 * np.mean(few), "with seeds as independent models it would be half"


def test_the_interval_within_models_covers() -> None:
    many = [twin_of("m", models(np.random.default_rng(seed), 20, 1, 60), 0.95).within_models for seed in range(20)]
    true = float(np.mean([each.value for each in many if each]))
    found = [twin_of("m", models(np.random.default_rng(seed), 5, 4), 0.95).within_models for seed in range(100, 140)]
    covered = sum(each is not None and each.low <= true <= each.high for each in found)
    assert covered >= 33, "with checkpoints as independent it would be half of them"


def test_models_that_refuse_alike_have_no_correlation_and_all_refusing_no_chance() -> None:
    same = ReadAndJudged("a", np.array([1.0, 2.0]), np.array([1.0, 1.0]), ("x", "y"))
    twin = twin_of("m", [same] * 6, 0.95)
    assert (twin.over_models, twin.within_models, twin.n_models) == (None, None, 6)
    one = ReadAndJudged("a", np.array([1.0, 2.0, 0.0]), np.array([1.0, 1.0, 0.0]), ("x", "y", "z"))
    alone = twin_of("m", [one], 0.95).within_models
    assert alone
    assert alone.value == 1
    assert alone.n == 1


# ---------------------------------------------------------------------------------------------- what it says


def estimate(value: float, half: float = 0.1) -> Estimate:
    return Estimate(value, value - half, value + half, half / 2, 10.0, None, 20, 11)


FEWER = Answered(before=22, after=2, of=22, null_low=20 / 22, null_high=1.0, n_null=19)
MORE = Answered(before=2, after=20, of=22, null_low=0.0, null_high=3 / 22, n_null=19)


def effect(value: float, null: tuple[float, float], direction: str = "refusal", how: str = "take out") -> Effect:
    """Return an effect whose answers change as they should, and further than under random directions."""
    return Effect(
        subject="m", how=how, direction=direction, layers="2", before=1.0, change=estimate(value),
        null_low=null[0], null_high=null[1], n_null=19, answered=FEWER if how == "take out" else MORE,
    )  # fmt: skip


def said(*effects: Effect, notes: tuple[str, ...] = ()) -> list[str]:
    found = Explanation(
        title="t", confidence=0.95, openings={}, readouts=(), twins=(), effects=effects, notes=notes,
        directions=(ArmDirections(base="m", arm="a", changes=()),),
    )  # fmt: skip
    return page.sentences(found)


def test_an_effect_within_what_random_directions_do_is_no_mechanism() -> None:
    (line,) = [line for line in said(effect(-2.0, (-2.5, 0.3))) if "taking" in line.lower()]
    assert "is not shown to be a mechanism here" in line
    assert "19 random directions -2.50 to 0.30" in line


def test_an_effect_in_the_wrong_sense_is_no_mechanism() -> None:
    (line,) = [line for line in said(effect(2.0, (-0.5, 0.3))) if "taking" in line.lower()]
    assert "is not shown to be a mechanism here" in line


def test_the_best_layer_is_held_against_the_best_of_each_random_direction() -> None:
    """Of several layers the best is reported, and random directions had as many tries."""
    elsewhere = dataclasses.replace(effect(-0.5, (-3.0, 0.3)), layers="3")
    (line,) = [line for line in said(effect(-2.0, (-0.5, 0.3)), elsewhere) if "taking" in line.lower()]
    assert "is not shown to be a mechanism here: the readout changes by at most -2.0" in line
    weaker = dataclasses.replace(effect(-0.5, (-0.6, 0.3)), layers="3")
    (line,) = [line for line in said(effect(-2.0, (-0.5, 0.3)), weaker) if "taking" in line.lower()]
    assert "Not beyond them at layer 3." in line
    assert line.endswith("too: a mechanism.")


@pytest.mark.parametrize(
    ("answered", "figure"),
    [
        (Answered(before=22, after=22, of=22, null_low=1.0, null_high=1.0, n_null=19), "refusals 22 to 22 of 22"),
        (Answered(before=20, after=22, of=22, null_low=1.0, null_high=1.0, n_null=19), "refusals 20 to 22 of 22"),
        (dataclasses.replace(FEWER, null_low=2 / 22), "refusals 22 to 2 of 22; under random directions 2 to 22"),
        (dataclasses.replace(FEWER, null_low=0.0), "refusals 22 to 2 of 22; under random directions 0 to 22"),
        (dataclasses.replace(FEWER, n_null=18), "refusals 22 to 2 of 22"),
        (dataclasses.replace(FEWER, null_low=None, null_high=None, n_null=0), "under random directions none"),
    ],
)
def test_a_readout_without_answers_that_change_further_than_by_chance_is_no_mechanism(
    answered: Answered, figure: str
) -> None:
    (line,) = [
        line
        for line in said(dataclasses.replace(effect(-2.0, (-0.5, 0.3)), answered=answered))
        if "taking" in line.lower()
    ]
    assert figure in line
    assert line.endswith("Answers do not change beyond those under random directions: not shown to be a mechanism.")
    assert "a mechanism" not in line.replace("not shown to be a mechanism", "")
    (agree,) = [line for line in said(effect(-2.0, (-0.5, 0.3))) if "taking" in line.lower()]
    assert "(refusals 22 to 2 of 22; under random directions 20 to 22)" in agree
    assert agree.endswith("Answers change beyond those under random directions too: a mechanism.")


def test_where_no_answers_were_asked_nothing_is_called_a_mechanism() -> None:
    bare = [dataclasses.replace(effect(value, (-0.5, 0.3)), answered=None) for value in (-2.0, -0.2)]
    for each in bare:
        (line,) = [line for line in said(each) if "taking" in line.lower()]
        assert "By the readout alone: answers were not asked." in line
        assert "mechanism" not in line
    found = Explanation(
        title="t", confidence=0.95, openings={}, readouts=(), twins=(), directions=(), effects=(bare[0],)
    )
    (table,) = page.tables(found)["interventions"]
    assert dict(zip([column.head for column in table.columns], table.rows[0], strict=True))["Refused"] == "not asked"


def test_the_layer_whose_answers_change_is_named_before_one_whose_readout_changes_more() -> None:
    further = dataclasses.replace(effect(-3.0, (-0.5, 0.3)), layers="3", answered=dataclasses.replace(FEWER, after=22))
    (line,) = [line for line in said(effect(-2.0, (-0.5, 0.3)), further) if "taking" in line.lower()]
    assert "at layer 2 (refusals 22 to 2 of 22" in line
    assert "Not beyond them" not in line, "the readout is, in both layers"
    assert line.endswith("Answers change beyond those under random directions too at layer 2: a mechanism.")


def test_answers_under_controls_stand_in_the_table_beside_those_under_random_directions() -> None:
    control = dataclasses.replace(effect(-0.2, (-0.5, 0.3), "topic"), answered=dataclasses.replace(FEWER, after=21))
    found = Explanation(
        title="t", confidence=0.95, openings={}, readouts=(), twins=(), directions=(),
        effects=(effect(-2.0, (-0.5, 0.3)), control),
    )  # fmt: skip
    (table,) = page.tables(found)["interventions"]
    heads = [column.head for column in table.columns]
    rows = [dict(zip(heads, row, strict=True)) for row in table.rows]
    assert [(row["Refused"], row["Refused under random directions"]) for row in rows] == [
        ("22 → 2 of 22", "20 to 22"), ("22 → 21 of 22", "20 to 22"),
    ]  # fmt: skip


def test_where_one_checkpoint_was_looked_at_it_is_said_beside_the_table_and_in_the_methods() -> None:
    added = effect(2.0, (-0.5, 0.3), how="add")
    found = Explanation(
        title="t", confidence=0.95, openings={}, readouts=(), twins=(), directions=(),
        effects=(added, part(-1.0, "1"), WHOLE),
    )  # fmt: skip
    tables = page.tables(found)["interventions"]
    assert len(tables) == 2
    for each in tables:
        assert "one checkpoint, the last of its first training seed" in each.note
    assert "Of each arm one checkpoint is looked at" in page.ABOUTS["interventions"]


def test_an_effect_that_others_have_too_is_said_so() -> None:
    alone = said(effect(-2.0, (-0.5, 0.3)), effect(-0.2, (-0.5, 0.3), "topic"))
    (line,) = [line for line in alone if "taking" in line.lower()]
    assert "more than any other concept's" in line
    shared = said(effect(-2.0, (-0.5, 0.3)), effect(-2.2, (-0.5, 0.3), "topic"))
    (line,) = [line for line in shared if "taking" in line.lower()]
    assert "other concepts do as much" in line


@pytest.mark.parametrize("draws", [1, 4, 18])
def test_few_random_directions_show_no_mechanism(draws: int) -> None:
    """Whatever is done goes beyond all of four random directions in one case of five."""
    few = dataclasses.replace(effect(-2.0, (-0.5, 0.3)), n_null=draws)
    (line,) = [line for line in said(few) if "taking" in line.lower()]
    assert "is not shown to be a mechanism here" in line
    directions = "1 random direction " if draws == 1 else f"{draws} random directions "
    assert f"beside {directions}-0.50 to 0.30, where 19 are needed." in line
    enough = dataclasses.replace(few, n_null=19)
    assert any("changes the readout by -2.00" in line for line in said(enough))


def part(value: float, layers: str, null: tuple[float, float] | None = (-0.2, 0.1), n_null: int = 19) -> Effect:
    low, high = null or (None, None)
    return dataclasses.replace(
        effect(value, (0.0, 0.0), "", "tuned layers"),
        layers=layers, null_low=low, null_high=high, n_null=n_null if null else 0,
    )  # fmt: skip


WHOLE = part(-2.0, "all", None)


def layers_said(*parts: Effect) -> str:
    (line,) = [line for line in said(*parts) if "whole tuning" in line]
    return line


def test_layers_that_work_against_the_change_do_not_carry_it() -> None:
    line = layers_said(WHOLE, part(0.6, "1"), part(-1.0, "2"))
    assert line.startswith("m: of -2.00 [-2.10, -1.90] nats that the whole tuning changes, layer 2 (50 %) carries a ")
    assert "layer 1" not in line
    assert line.endswith("All parts alone add up to 20 %.")
    assert part(0.6, "1").beyond
    assert part(0.6, "1").carries(WHOLE) is False
    assert layers_said(WHOLE, part(0.6, "1")).endswith("no layers alone are seen to carry it.")


def test_layers_carry_only_what_no_shuffled_update_of_that_size_does() -> None:
    line = layers_said(WHOLE, part(-1.0, "2"), part(-0.3, "3 to 5", (-0.35, 0.1)), part(-0.4, "rest", (-0.1, 0.4)))
    assert (
        "layer 2 (50 %) carries a share: alone it changes more than any of 19 shuffled updates of the same size" in line
    )
    assert (
        "In what is in no layer (20 %) and layers 3 to 5 (15 %) an update of that size can move the readout as far, "
        "whatever it holds."
    ) in line, "in either sense"
    line = layers_said(WHOLE, part(-0.3, "1", (-0.35, 0.1)))
    assert "no layers alone are shown to carry it. In layer 1 (15 %) an update" in line
    line = layers_said(WHOLE, part(-0.3, "1 to 2"))
    assert "layers 1 to 2 (15 %) carry a share: alone they change more" in line


@pytest.mark.parametrize("draws", [1, 4, 18])
def test_few_shuffled_updates_leave_it_unknown_and_one_that_does_as_much_does_not(draws: int) -> None:
    assert part(-1.0, "1", n_null=draws).carries(WHOLE) is None
    assert part(-0.1, "1", (-1.0, 0.0), draws).carries(WHOLE) is False
    line = layers_said(WHOLE, part(-1.0, "1", n_null=draws))
    updates = "1 shuffled update" if draws == 1 else f"{draws} shuffled updates"
    assert "no layers alone are shown to carry it." in line
    assert f"It is not known of layer 1 (50 %): {updates}, where 19 are needed." in line
    assert "It is not known of layer 1 (50 %): no shuffled update." in layers_said(WHOLE, part(-1.0, "1", None))


def test_few_clusters_leave_it_unknown_which_layers_carry_it() -> None:
    few = [dataclasses.replace(each, change=dataclasses.replace(each.change, n_clusters=9)) for each in (
        WHOLE, part(-1.0, "1"), part(-0.3, "2", (-0.5, 0.1)), part(0.6, "3"),
    )]  # fmt: skip
    assert [each.carries(few[0]) for each in few[1:]] == [None, None, False]
    line = layers_said(*few)
    assert "It is not known of layer 1 (50 %) and layer 2 (15 %): 9 clusters of prompts, where 10 are needed." in line
    assert "carries" not in line


def test_the_table_of_layers_has_its_null() -> None:
    unknown = part(-0.7, "3", n_null=3)
    found = Explanation(
        title="t", confidence=0.95, openings={}, readouts=(), twins=(), directions=(),
        effects=(part(-1.0, "1"), part(-0.1, "2", (-0.3, 0.2)), unknown, part(0.0, "rest", None), WHOLE),
    )  # fmt: skip
    (table,) = page.tables(found)["interventions"]
    heads = [column.head for column in table.columns]
    null, beyond = heads.index("Shuffled updates"), heads.index("Beyond all of them")
    assert [row[null] for row in table.rows] == [
        "−0.20 to 0.10 (19)",
        "−0.30 to 0.20 (19)",
        "−0.20 to 0.10 (3)",
        "",
        "",
    ]
    assert [row[beyond] for row in table.rows] == ["yes", "no", "not known", "no", ""]
    assert [row.get("carries", "") for row in page.as_json(found)["effects"]] == [True, False, None, False, ""]
    for text in (page.html(found), page.markdown(found)):
        assert "−0.30 to 0.20 (19)" in text
        assert "order drawn at random" in text


def test_updates_that_hold_nothing_are_rarely_beyond_all_shuffled_ones() -> None:
    """As large an update that is itself drawn at random is one of twenty: here it is the largest as often as that."""
    rng = np.random.default_rng(0)
    drawn = (rng.standard_normal((4000, 20)) * rng.exponential(size=(4000, 1))).tolist()
    found = [
        dataclasses.replace(part(own, "1", (min(others), max(others))), change=estimate(own, 1e-9))
        for own, *others in drawn
    ]
    assert 0.03 < np.mean([each.told is True for each in found]) < 0.07
    assert 0.01 < np.mean([each.carries(WHOLE) is True for each in found]) < 0.04, "half of those act the other way"


def test_what_stands_on_few_clusters_is_called_a_trial() -> None:
    few = dataclasses.replace(effect(-2.0, (-0.5, 0.3)), change=dataclasses.replace(estimate(-2.0), n_clusters=2))
    assert "The interventions stand on only 2 clusters of prompts: a trial, and no measurement." in said(few)
    assert not [line for line in said(effect(-2.0, (-0.5, 0.3))) if "a trial" in line]


def test_an_arm_without_readout_is_not_known_and_notes_are_said() -> None:
    lines = said(notes=("no readout: the base refused 2",))
    assert lines[0] == "Not known whether anything moved: a."
    assert lines[-1] == "no readout: the base refused 2"


def test_names_and_texts_are_escaped() -> None:
    found = Explanation(
        title="<script>x</script>", confidence=0.95, openings={}, readouts=(), twins=(),
        effects=(effect(-2.0, (-0.5, 0.3), "<b>bold</b>"),), notes=("<img src=x> | _y_",),
        directions=(ArmDirections(base="m", arm="<i>", changes=()),),
    )  # fmt: skip
    html, text = page.html(found), page.markdown(found)
    for bad in ("<script", "<img", "<b>", "<i>"):
        assert bad not in html
        assert bad not in text
    assert "\\| \\_y\\_" in text
    assert page.as_json(found)["effects"][0]["beyond"] is True


def test_infinite_limits_are_none_in_json() -> None:
    unknown = Estimate(1.0, -np.inf, np.inf, np.nan, 0.0, None, 3, 1)
    found = Explanation(
        title="t", confidence=0.95, openings={}, readouts=(), twins=(), directions=(),
        effects=(
            Effect(subject="m", how="add", direction="refusal", layers="2", before=0.0, change=unknown, null_low=None,
                   null_high=None, n_null=0),
        ),
    )  # fmt: skip
    (row,) = page.as_json(found)["effects"]
    assert (row["change"]["low"], row["change"]["se"]) == (None, None)
    assert row["beyond"] is False


# ---------------------------------------------------------------------------------------------- privacy

LETTERED = [prompt for prompt in written(world=False) if prompt.subset == "privacy"]


def log_odds_of(apart: float, favoured: float, noise: float = 1.0) -> dict[str, float]:
    """Return log-odds that it is kept back, of a model that tells so much apart and favours a letter by so much."""
    rng = np.random.default_rng(0)
    return {
        prompt.id: (apart if prompt.expect["side"] == "second" else 0.0)
        + (favoured if prompt.expect[CHOICE]["options"]["A"] == "No" else -favoured)
        + noise * float(rng.normal())
        for prompt in LETTERED
    }


def told(values: dict[str, float], given: float = 0.9) -> ToldApart:
    return told_apart(("m", ""), [values], LETTERED, given, confidence=0.95)


def test_a_judgement_is_seen_behind_a_favoured_letter_and_a_letter_is_no_judgement() -> None:
    seen = told(log_odds_of(3.0, favoured=20.0))
    assert seen.areas[0].value > 0.95
    assert seen.able
    assert (seen.n, seen.n_clusters) == (96, 12)
    blind = told(log_odds_of(0.0, favoured=20.0))
    assert blind.areas[0].low < 0.5 < blind.areas[0].high
    assert not blind.able
    assert not told(log_odds_of(-3.0, favoured=0.0)).able, "nor is the wrong way round"
    assert not told(log_odds_of(3.0, favoured=0.0), given=0.1).able, "nor where letters are no answers"
    with pytest.raises(ValueError, match="both classes need trials"):
        told({})


def private(*tuned: dict[str, float], base: dict[str, float]) -> tuple[ReadoutChange, ...]:
    rows = []
    for subset, side in ((MAY_NOT, "second"), (MAY, "first")):
        cluster_of = {prompt.id: prompt.cluster for prompt in LETTERED if prompt.expect["side"] == side}
        row = readout_change(("m", "a", subset), base, list(tuned), cluster_of, confidence=0.95)
        assert row
        rows.append(row)
    return tuple(rows)


def explained(**changes: object) -> Explanation:
    fields: dict[str, object] = {
        "title": "t", "confidence": 0.95, "openings": {}, "readouts": (), "twins": (), "effects": (),
        "directions": (ArmDirections(base="m", arm="a", changes=()),),
    }  # fmt: skip
    return Explanation(**{**fields, **changes})  # type: ignore[arg-type]


def test_a_model_that_passes_on_what_it_may_not_has_moved_though_its_refusals_are_not_known() -> None:
    base, tuned = log_odds_of(3.0, 0.0), log_odds_of(0.0, 0.0)
    found = explained(privacy=private(tuned, base=base), told_apart=(told(base),))
    lines = page.sentences(found)
    assert lines[0] == "Moved: a."
    assert lines[1].startswith("m tells what may be passed on from what may not: AUROC 0.9")
    assert lines[2].startswith("a: what may not be passed on is kept back less often: -")
    (apart, changes) = page.tables(found)["privacy"]
    assert dict(zip([column.head for column in apart.columns], apart.rows[0], strict=True))["Shown"] == "yes"
    assert [(row[1], row[6]) for row in changes.rows] == [(MAY_NOT, "yes"), (MAY, "no")]
    fields = page.as_json(found)
    assert [row["moved"] for row in fields["privacy"]] == [True, False]
    assert fields["told_apart"][0]["able"] is True
    assert page.sentences(explained(privacy=private(base, base=base)))[0] == "Nothing moved."


def test_a_base_that_cannot_tell_has_nothing_to_lose_and_that_is_said() -> None:
    blind = ToldApart(base="m", arm="", areas=(Area(0.51, 0.4, 0.62),), n=96, n_clusters=12, given=0.9)
    lines = page.sentences(explained(told_apart=(blind,)))
    assert lines[1] == (
        "m is not shown to tell what may be passed on from what may not (AUROC 0.51 [0.40, 0.62], where .5 is chance, on "
        "96 prompts in 12 clusters): it has no judgement of privacy to lose, and no cause of a loss was looked for."
    )
    silent = dataclasses.replace(blind, areas=(Area(0.9, 0.8, 1.0),), given=0.031)
    assert "gives the letters only 3.1 % of its probability" in page.sentences(explained(told_apart=(silent,)))[1]


def test_the_privacy_direction_and_layers_are_held_against_their_own_readout() -> None:
    """Refusals of the same models stand beside it and change nothing of what is said of privacy."""
    kept = dataclasses.replace(FEWER, null_low=0.9)
    taken = dataclasses.replace(
        effect(-2.0, (-0.5, 0.3), "privacy"), about="privacy", passed_on=estimate(-0.3), answered=kept
    )
    layers = [
        dataclasses.replace(each, about="privacy", passed_on=estimate(0.1), answered=None)
        for each in (part(-1.0, "1"), WHOLE)
    ]
    refusals = (effect(-0.1, (-0.5, 0.3)), part(-0.9, "2", (-3.0, 3.0)), dataclasses.replace(WHOLE, change=estimate(1)))
    found = explained(effects=(*refusals, taken, *layers))
    lines = page.sentences(found)
    (line,) = [line for line in lines if line.startswith("Taking the privacy direction out of m")]
    assert (
        "changes the readout of privacy by -2.00 [-2.10, -1.90] nats at layer 2 (kept back in answers 22 to 2" in line
    )
    assert line.endswith("a mechanism.")
    (line,) = [line for line in lines if "nats of privacy that the whole tuning changes" in line]
    assert "layer 1 (50 %) carries a share" in line
    tables = {each.caption: each for each in page.tables(found)["interventions"]}
    assert set(tables) == {
        "A direction taken out of the base", "Which layers carry the change",
        "A direction taken out of the base: what is kept private", "Which layers carry the change of privacy",
    }  # fmt: skip
    own = tables["A direction taken out of the base: what is kept private"]
    row = dict(zip([column.head for column in own.columns], own.rows[0], strict=True))
    assert row["Change where it may be passed on"] == "−0.30 [−0.40, −0.20]"
    assert row["Kept back"] == "22 → 2 of 22"
    assert [each.get("carries") for each in page.as_json(found)["effects"]][-2:] == [True, None]
