"""Prompts in parts: every cluster once and whole, every subset evenly, in an order that hangs on names alone."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from aftertune.asking.parts import parts_of
from aftertune.records import Message, Prompt


def prompt(number: int, cluster: str, subset: str) -> Prompt:
    return Prompt(
        id=f"p{number}", benchmark="b", subset=subset, messages=(Message("user", "?"),), cluster=cluster, category=""
    )


ROWS = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from(["harmful", "harmless", "open"])), min_size=1, max_size=120
)


@given(ROWS, st.integers(1, 12), st.randoms())
def test_clusters_stay_whole_and_the_order_is_that_of_their_names(
    rows: list[tuple[int, str]], parts: int, random: object
) -> None:
    prompts = [prompt(i, f"c{cluster}", subset) for i, (cluster, subset) in enumerate(rows)]
    found = parts_of(prompts, parts)
    assert all(1 <= part <= parts for part in found)
    of = {(each.cluster, part) for each, part in zip(prompts, found, strict=True)}
    assert len(of) == len({each.cluster for each in prompts}), "no cluster is asked in two parts"
    shuffled = list(zip(prompts, found, strict=True))
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    again = parts_of([each for each, _ in shuffled], parts)
    assert again == [part for _, part in shuffled], "and how the file is sorted changes nothing"


@given(st.integers(1, 60), st.integers(1, 12))
def test_every_part_has_its_share_and_every_subset_begins_with_the_first(clusters: int, parts: int) -> None:
    prompts = [prompt(3 * i + j, f"{s}{i}", s) for i in range(clusters) for j, s in enumerate(("harmful", "open"))]
    found = parts_of(prompts, parts)
    for subset in ("harmful", "open"):
        counts = Counter(part for each, part in zip(prompts, found, strict=True) if each.subset == subset)
        assert counts[1] >= 1
        for asked in range(1, parts + 1):
            done = sum(counts[part] for part in range(1, asked + 1))
            assert asked * clusters / parts <= done < asked * clusters / parts + 1


def test_the_order_knows_no_outcome_and_is_none_of_the_alphabet() -> None:
    prompts = [prompt(i, f"c{i:02}", "harmful") for i in range(40)]
    found = parts_of(prompts, 4)
    assert found != sorted(found)
    assert Counter(found) == dict.fromkeys(range(1, 5), 10)
