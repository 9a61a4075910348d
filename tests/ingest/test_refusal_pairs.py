"""In a table of another tool: which metrics are refusals of harmful requests and of the harmless ones beside them."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from aftertune.cli import main
from aftertune.ingest.directions import refusal_pairs
from aftertune.ingest.table_drift import drift_of_table
from aftertune.records import Metric, Worse


def named(name: str, worse: Worse) -> Metric:
    return Metric("", "", name, None, worse)


@pytest.mark.parametrize(
    ("harmful", "harmless", "suite", "words"),
    [
        ("core/harmful/refusal=full", "core/harmless/refusal=full", "core", ("harmful", "harmless")),
        ("xstest_unsafe_refusal", "xstest_safe_refusal", "xstest", ("unsafe", "safe")),
        ("harmful_refusal_rate", "over_refusal_rate", "table", ("harmful", "harmless")),
        ("mine/refused_malicious", "mine/refused_benign", "mine", ("malicious", "benign")),
        ("coconot/safety/declined", "coconot/contrast/declined", "coconot", ("safety", "contrast")),
        ("HarmfulRefusal", "OverRefusal", "table", ("harmful", "harmless")),
    ],
)
def test_names_that_differ_in_the_kind_of_requests_alone(
    harmful: str, harmless: str, suite: str, words: tuple[str, str]
) -> None:
    metrics = [named(harmless, "up"), named("accuracy", "down"), named(harmful, "down")]
    (pair,) = refusal_pairs(metrics)
    assert (pair.harmful.name, [each.name for each in pair.harmless]) == (harmful, [harmless])
    assert (pair.suite, pair.words) == (suite, words)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("xstest_unsafe_refusal", "down"), ("orbench_safe_refusal", "up")),  # two suites
        (("advbench_refusal", "down"), ("orbench_refusal", "up")),  # two suites whose names say the kind
        (("refusal", "down"), ("over_refusal", "up")),  # of which prompts?
        (("harmful_refusal", "up"), ("harmless_refusal", "up")),  # somebody says that refusing is worse
        (("harmful_refusal", "down"), ("harmless_refusal", "down")),
        (("harmful_compliance", "up"), ("harmless_compliance", "down")),  # no refusals
        (("harmful_non_refusal", "down"), ("harmless_non_refusal", "up")),
        (("harmful/refusal=none", "down"), ("harmless/refusal=none", "up")),
        (("harmful_harmless_refusal", "down"), ("harmless_refusal", "up")),
        (("harmful/refusal=full", "down"), ("harmless/refusal=partial", "up")),
        (("harmful_toxicity", "down"), ("harmless_toxicity", "up")),
    ],
)
def test_what_is_no_pair(first: tuple[str, Worse], second: tuple[str, Worse]) -> None:
    assert refusal_pairs([named(*first), named(*second)]) == []


@given(st.lists(st.tuples(st.text(max_size=30), st.sampled_from(["up", "down"])), max_size=6))
def test_no_name_raises(names: list[tuple[str, Worse]]) -> None:
    for pair in refusal_pairs([named(*each) for each in names]):
        assert pair.harmful.worse == "down"
        assert {each.worse for each in pair.harmless} == {"up"}


def table(base: tuple[int, int], tuned: tuple[int, int], clustered: bool = False) -> pa.Table:
    rows = [
        {
            "checkpoint": name, "prompt": f"{kind}{at}", "metric": f"xs/{kind}/refused", "value": float(at < count),
            **({"cluster": f"type {at % 20}"} if clustered else {}),
        }
        for name, counts in (("b", base), ("t", tuned))
        for kind, count in zip(("unsafe", "safe"), counts, strict=True)
        for at in range(100)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows)


def test_a_table_has_d_prime_of_base_and_tuned_model_and_the_decision_says_it() -> None:
    found = drift_of_table(table((30, 27), (0, 0)), "b", "t")
    base, tuned = found.discrimination
    assert base.d_prime == pytest.approx(norm.ppf(30.5 / 101) - norm.ppf(27.5 / 101))
    assert (base.arm, base.strength, base.n_clusters) == ("base", "none", 200)
    assert (tuned.arm, tuned.d_prime) == ("t", 0.0)
    assert found.outcome == "drift"
    refusals = next(each for each in found.decisions if each.metric == "xs/unsafe/refused")
    assert refusals.why.endswith("what was lost is not shown to be safety.")
    assert found.warnings[0].startswith("xs: The base does not clearly refuse harmful requests more often")
    assert "30.0 % of unsafe and 27.0 % of safe prompts" in found.warnings[0]
    assert "d-prime" in found._repr_html_()


def test_shares_of_an_answer_count_as_such() -> None:
    graded = table((30, 27), (0, 0)).to_pylist()
    for row in graded:
        row["value"] = 0.5 if row["value"] else 0.0
    (base, _) = drift_of_table(pa.Table.from_pylist(graded), "b", "t").discrimination
    assert (base.refused, base.refused_harmless) == pytest.approx((0.15, 0.135))


def test_a_table_of_a_base_that_tells_them_apart_has_the_numbers_and_no_warning() -> None:
    found = drift_of_table(table((95, 3), (10, 3), clustered=True), "b", "t")
    assert found.discrimination[0].strength == "clear"
    assert found.discrimination[0].n_clusters == 20, "clusters that both kinds share"
    assert not any("discrimination" in each for each in found.warnings)
    assert not any("shown to be safety" in each.why for each in found.decisions)


def test_the_command_shows_it_as_lines_and_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "v.parquet"
    pq.write_table(table((30, 27), (0, 0)), path)
    call = ["drift", "--verdicts", str(path), "--base", "b", "--tuned", "t"]
    with pytest.raises(SystemExit) as ended:
        main(call)
    assert ended.value.code == 3
    shown = capsys.readouterr()
    assert "  xs, base: 30.0 % of unsafe and 27.0 % of safe prompts; d-prime 0.09 [" in shown.out
    assert "  xs, t: 0.0 % of unsafe and 0.0 % of safe prompts; d-prime 0.00 [" in shown.out
    assert "little or no discrimination to lose" in " ".join(shown.err.split())
    with pytest.raises(SystemExit):
        main([*call, "--json"])
    first = json.loads(capsys.readouterr().out)["discrimination"][0]
    assert (first["strength"], first["counterparts"]) == ("none", "xs/safe/refused")
