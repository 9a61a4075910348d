"""Tables of verdicts made elsewhere: what is read from them, what is refused, and what the command answers."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aftertune import TableDrift, drift_of_table
from aftertune.cli import main
from aftertune.errors import AftertuneError, DataError, UsageError
from aftertune.stats import clusters, paired, seeds

Row = dict[str, Any]


def rows(
    base: Sequence[Any], *tuned: Sequence[Any], seeds: Sequence[int | None] = (None,), metric: str = "harm", **more: Any
) -> list[Row]:
    found = [{"checkpoint": "b", "prompt": f"p{i}", "metric": metric, "value": v} for i, v in enumerate(base)]
    for values, seed in zip(tuned, seeds, strict=True):
        for i, value in enumerate(values):
            row = {"checkpoint": "t", "prompt": f"p{i}", "metric": metric, "value": value}
            found.append(row | ({} if seed is None else {"seed": seed}))
    return [{**row, **more} for row in found]


def save(path: Path, table: Iterable[Row]) -> Path:
    found = list(table)
    names = list(dict.fromkeys(name for row in found for name in row))
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            out = csv.DictWriter(file, names)
            out.writeheader()
            out.writerows(found)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in found))
    else:
        pq.write_table(pa.Table.from_pylist([{name: row.get(name) for name in names} for row in found]), path)
    return path


def answer(found: TableDrift, metric: str = "harm", estimand: str = "checkpoint") -> Row:
    (one,) = (a for a in found.answers if (a.metric, a.estimand) == (metric, estimand))
    return dataclasses.asdict(one)


def outcomes(n: int, rate: float, seed: int = 0) -> list[int]:
    return [int(x) for x in np.random.default_rng(seed).random(n) < rate]


# ---------------------------------------------------------------------------------------------- what it computes


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_every_format_gives_the_same_numbers(tmp_path: Path, ending: str) -> None:
    base, tuned = outcomes(200, 0.1), [v if v is not None else None for v in outcomes(200, 0.5, 1)]
    tuned[:3] = [None] * 3  # type: ignore[list-item]
    found = drift_of_table(save(tmp_path / f"t.{ending}", rows(base, tuned)), "b", "t")
    one = answer(found)
    gained = sum(t == 1 and b == 0 for b, t in zip(base, tuned, strict=True))
    lost = sum(t == 0 and b == 1 for b, t in zip(base, tuned, strict=True))
    assert one["delta"] == pytest.approx((gained - lost) / 197)
    assert one["p"] == pytest.approx(paired.mcnemar_exact(gained, lost))
    assert (one["n_prompts"], one["n_clusters"], one["unjudged"], one["unjudged_tuned"]) == (197, 197, 3, 3)
    assert one["decision"] == found.outcome == "drift"
    assert "points" in one["why"]
    assert [w for w in found.warnings if "training seed is unknown" not in w] == []


def test_a_recipe_needs_two_seeds_and_its_refusal_is_said(tmp_path: Path) -> None:
    base, tuned = outcomes(150, 0.2), outcomes(150, 0.25, 1)
    for seed in ([None], [7]):
        found = drift_of_table(save(tmp_path / "t.csv", rows(base, tuned, seeds=seed)), "b", "t")
        refused = answer(found, estimand="recipe")
        assert refused["delta"] is None
        assert refused["low"] is None
        assert refused["decides"] is False
        assert refused["why"].startswith("Refused: ")
        assert ("one training seed" in refused["why"]) == (seed == [7])
        assert answer(found)["decides"] is True
        assert found.outcome == answer(found)["decision"]


def test_seeds_are_crossed_with_prompts_and_the_recipe_decides(tmp_path: Path) -> None:
    base = outcomes(120, 0.2)
    tuned = [outcomes(120, rate, i + 1) for i, rate in enumerate((0.5, 0.6, 0.7))]
    table = [{**row, "cluster": f"c{int(row['prompt'][1:]) % 30}"} for row in rows(base, *tuned, seeds=[1, 2, 3])]
    found = drift_of_table(save(tmp_path / "t.parquet", table), "b", "t")
    recipe = answer(found, estimand="recipe")
    truth = seeds.difference(np.array(tuned, dtype=float) - np.array(base), np.arange(120) % 30)
    assert (recipe["delta"], recipe["low"], recipe["high"]) == pytest.approx((truth.value, truth.low, truth.high))
    assert (recipe["n_seeds"], recipe["n_clusters"], recipe["decides"]) == (3, 30, True)
    assert (recipe["all_worse"], recipe["all_worse_chance"]) == (True, 0.25)
    assert recipe["judge_tolerance"] == pytest.approx(recipe["low"])
    assert {one.source for one in found.components} >= {"seed", "prompt"}
    singles = [a for a in found.answers if a.estimand == "checkpoint"]
    assert [a.unit for a in singles] == ["t seed 1", "t seed 2", "t seed 3"]
    assert not any(a.decides for a in singles)
    first = clusters.difference(np.array(tuned[0], dtype=float) - np.array(base), np.arange(120) % 30)
    assert (singles[0].low, singles[0].high) == pytest.approx((first.low, first.high))


def test_names_that_differ_in_their_seed_only_are_one_recipe(tmp_path: Path) -> None:
    table = rows(outcomes(100, 0.2), [])[:100]
    for seed in (1, 12):
        table += [
            {"checkpoint": f"lora2-s{seed}", "prompt": f"p{i}", "metric": "harm", "value": v, "seed": seed}
            for i, v in enumerate(outcomes(100, 0.3, seed))
        ]
    path = save(tmp_path / "t.csv", table)
    found = drift_of_table(path, "b", ["lora2-s1", "lora2-s12"])
    assert (answer(found, estimand="recipe")["unit"], answer(found, estimand="recipe")["n_seeds"]) == ("lora2-s*", 2)
    alone = drift_of_table(path, "b", "lora2-s1")
    assert answer(alone)["unit"].startswith("lora2-s1")


def test_several_names_are_several_units_each_with_its_family(tmp_path: Path) -> None:
    table = rows(outcomes(300, 0.1), outcomes(300, 0.1, 1))
    table += [{**row, "checkpoint": "u", "value": v} for row, v in zip(table, outcomes(300, 0.8, 2), strict=False)]
    found = drift_of_table(save(tmp_path / "t.csv", table), "b", ["t", "u"])
    assert {(d.unit, d.outcome) for d in found.decisions} == {("t", "pass"), ("u", "drift")}
    assert found.outcome == "drift"


def test_samples_are_averaged_within_the_prompt(tmp_path: Path) -> None:
    table = []
    for repeat in range(4):
        for row in rows(outcomes(60, 0.3, repeat), outcomes(60, 0.4, 10 + repeat)):
            table.append({**row, "repeat": repeat})
    found = answer(drift_of_table(save(tmp_path / "t.jsonl", table), "b", "t"))
    mean = np.mean([outcomes(60, 0.4, 10 + r) for r in range(4)], axis=0) - np.mean(
        [outcomes(60, 0.3, r) for r in range(4)], axis=0
    )
    truth = clusters.difference(mean, np.arange(60))
    assert (found["n_prompts"], found["n_samples"]) == (60, 4)
    assert (found["delta"], found["low"], found["high"]) == pytest.approx((truth.value, truth.low, truth.high))


def test_a_base_of_several_seeds_is_paired_seed_by_seed(tmp_path: Path) -> None:
    base = [outcomes(80, rate, i) for i, rate in enumerate((0.1, 0.5, 0.9))]
    table = [
        {"checkpoint": name, "prompt": f"p{i}", "metric": "harm", "value": v, "seed": s}
        for s in range(3)
        for name, values in (("b", base[s]), ("t", base[s]))
        for i, v in enumerate(values)
    ]
    found = answer(drift_of_table(save(tmp_path / "t.csv", table), "b", "t"), estimand="recipe")
    # Seeds differ by 80 points, yet each tuned seed does just what its own base does.
    assert found["delta"] == 0
    assert found["high"] < 0.06
    lacking = [row for row in table if (row["checkpoint"], row["seed"]) != ("b", 2)]
    with pytest.raises(DataError, match="not the 2 of 't'"):
        drift_of_table(save(tmp_path / "u.csv", lacking), "b", "t")


def test_unjudged_answers_count_as_the_worst(tmp_path: Path) -> None:
    base, tuned = [0] * 300, [None] * 60 + [0] * 240
    found = drift_of_table(save(tmp_path / "t.csv", rows(base, tuned)), "b", "t")
    assert found.outcome == "undecided"
    assert "60 answers could not be judged" in answer(found)["why"]
    assert any("60 of 300" in warning for warning in found.warnings)


def test_numbers_on_any_scale_have_the_policys_direction(tmp_path: Path) -> None:
    policy = tmp_path / "p.toml"
    policy.write_text('[[metric]]\nmatch = "alignment"\nworse = "down"\nmargin = 5.0\n')
    rng = np.random.default_rng(0)
    base = rng.uniform(60, 100, 200)
    table = rows(list(base), list(base - rng.uniform(10, 30, 200)), metric="alignment")
    found = drift_of_table(save(tmp_path / "t.csv", table), "b", "t", policy=policy)
    one = answer(found, "alignment")
    assert (one["worse"], one["decision"]) == ("down", "drift")
    assert one["delta"] == pytest.approx(-20, abs=1.5)
    assert "points" not in one["why"]


def test_judges_are_kept_apart(tmp_path: Path) -> None:
    table = rows(outcomes(100, 0.1), outcomes(100, 0.1, 3), judge="mild")
    table += rows(outcomes(100, 0.1), outcomes(100, 0.9, 4), judge="strict")
    found = drift_of_table(save(tmp_path / "t.csv", table), "b", "t")
    deltas = {a.judge: a.delta or 0.0 for a in found.answers if a.estimand == "checkpoint"}
    assert set(deltas) == {"mild", "strict"}
    assert deltas["strict"] > 0.6 > 0.2 > deltas["mild"]


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.sampled_from([0, 1, None]), st.sampled_from([0, 1, None])), min_size=2, max_size=30))
def test_the_order_of_rows_changes_nothing(pairs: list[tuple[int | None, int | None]]) -> None:
    import random
    import tempfile

    table = rows([b for b, _ in pairs], [t for _, t in pairs])
    mixed = table[:]
    random.Random(0).shuffle(mixed)
    with tempfile.TemporaryDirectory() as folder:
        first, second = (
            drift_of_table(save(Path(folder) / f"{i}.csv", t), "b", "t").answers for i, t in enumerate((table, mixed))
        )
    assert first == second
    for one in first:
        assert one.decision in ("pass", "drift", "undecided")
        if one.delta is not None:
            assert one.low is not None
            assert one.high is not None
            assert one.low < one.high
            assert one.low <= one.delta <= one.high


# ---------------------------------------------------------------------------------------------- overlap


def test_prompts_of_one_arm_are_dropped_with_a_count_or_refused(tmp_path: Path) -> None:
    base = outcomes(200, 0.3)
    few = save(tmp_path / "few.csv", rows(base, base[:190]))
    found = drift_of_table(few, "b", "t")
    assert answer(found)["n_prompts"] == 190
    assert any("10 prompts dropped" in warning for warning in found.warnings)
    many = save(tmp_path / "many.csv", rows(base, base[:170]))
    with pytest.raises(DataError, match="overlap"):
        drift_of_table(many, "b", "t")
    partial = drift_of_table(many, "b", "t", allow_partial_overlap=True)
    assert answer(partial)["n_prompts"] == 170
    assert any("30 prompts dropped" in warning for warning in partial.warnings)


def test_a_metric_that_the_base_lacks_has_no_overlap(tmp_path: Path) -> None:
    table = rows(outcomes(50, 0.3), outcomes(50, 0.3, 1))
    table += [row for row in rows([], outcomes(50, 0.3, 2), metric="toxicity") if row["checkpoint"] == "t"]
    path = save(tmp_path / "t.csv", table)
    with pytest.raises(DataError, match=r"toxicity: overlap"):
        drift_of_table(path, "b", "t")
    partial = drift_of_table(path, "b", "t", allow_partial_overlap=True)
    assert answer(partial, "toxicity")["decision"] == "undecided"


# ---------------------------------------------------------------------------------------------- what it refuses

GOOD = "checkpoint,prompt,metric,value\n"
BROKEN = {
    "no file": (None, "no such file"),
    "nothing in it": ("", "no column 'checkpoint'"),
    "only a header": (GOOD, "no rows"),
    "a missing column": ("checkpoint,prompt,value\nb,1,0\n", "no column 'metric'"),
    "bars": ("checkpoint|prompt|metric|value\nb|1|h|0\n", "no column 'checkpoint'"),
    "a decimal comma": ("checkpoint;prompt;metric;value\nb;1;h;0,5\nt;1;h;0,5\n", r"t\.csv:2: value = '0,5' is not"),
    "a line for Excel": ("sep=;\ncheckpoint;prompt;metric;value\nb;1;h;0\n", r"t\.csv:1: says to Excel .*remove this"),
    "a column twice": (GOOD.replace("\n", ",value\n") + "b,1,h,0,1\nt,1,h,0,1\n", "'value' stands twice"),
    "words for numbers": (GOOD + "b,1,h,0\nt,1,h,yes\n", r"t\.csv:3: value = 'yes' is not a number"),
    "an infinite value": (GOOD + "b,1,h,0\nt,1,h,inf\n", r"t\.csv:3: value = 'inf'"),
    "too many values": (GOOD + "b,1,h,0\nt,1,h,0,7\n", r"t\.csv:3: more values"),
    "too few values": (GOOD + "b,1,h,0\nt,1,h\n", r"t\.csv:3: fewer values"),
    "an empty prompt": (GOOD + "b,1,h,0\nt,,h,0\n", r"t\.csv:3: prompt is empty"),
    "merged cells": (
        GOOD + "b,1,h,0\n,2,h,0\nt,1,h,0\n,2,h,1\n",
        r"t\.csv:3: checkpoint is empty in 2 rows; write it into each \(of merged cells a spreadsheet keeps the first",
    ),
    "a nameless value": (GOOD + "b,1,h,0\nt,1,h,0\n,,,1\n", r"t\.csv:4: checkpoint is empty in 1 row;"),
    "values beyond all numbers": (
        GOOD + "b,1,harm,0\nb,2,harm,0\nt,1,harm,1e308\nt,2,harm,1e308\n",
        "a value of 1e\\+308; values must",
    ),
    "a row twice": (GOOD + "b,1,h,0\nt,1,h,0\nt,1,h,1\n", r"t\.csv:4: a second row for checkpoint 't', prompt '1'"),
    "two clusters": (
        "checkpoint,prompt,metric,value,cluster\nb,1,h,0,x\nt,1,h,0,y\n",
        r"t\.csv:3: cluster = 'y', but prompt '1' stands in 'x' in .*t\.csv:2",
    ),
    "a seed of words": ("checkpoint,prompt,metric,value,seed\nb,1,h,0,\nt,1,h,0,one\n", r"t\.csv:3: seed = 'one'"),
    "a seed now and then": (
        "checkpoint,prompt,metric,value,seed\nb,1,h,0,\nt,1,h,0,1\nt,2,h,0,\n",
        r"t\.csv:4: seed is empty",
    ),
    "no such checkpoint": (GOOD + "b,1,h,0\ntt,1,h,0\n", "no checkpoint 't'"),
    "line breaks in a quoted value": (
        GOOD.replace("\n", ",text\n") + 'b,1,h,0,"a\nb"\nt,1,h,x,c\n',
        r"t\.csv:4: value",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_table_is_one_line_that_says_where(tmp_path: Path, name: str) -> None:
    text, message = BROKEN[name]
    path = tmp_path / "t.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        drift_of_table(path, "b", "t")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.jsonl", '{"checkpoint": "b"\n', r"t\.jsonl:1: not valid JSON"),
        ("t.jsonl", '{"checkpoint": "b", "prompt": 1, "metric": "h", "value": [1]}\n', r"t\.jsonl:1: value is a list"),
        ("t.jsonl", "[1]\n", r"t\.jsonl:1: expected an object"),
        ("t.parquet", "not parquet", "not a readable Parquet file"),
        ("t.xlsx", "x", "unknown ending"),
        ("t.csv", "checkpoint,prompt\nb,1\n", "no column"),
        ("t.csv", "PK\x03\x04", "a zip archive or an office document: unpack it, or save it as"),
        ("t.csv", "BZh91AY", r"compressed \(bzip2\): unpack it"),
    ],
)
def test_broken_files_of_other_kinds(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=message):
        drift_of_table(tmp_path / name, "b", "t")


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(GOOD.encode() + b"b,1,h,0\nt,\xff,h,0\n")
    with pytest.raises(DataError, match="not UTF-8 at byte 41: save it as UTF-8"):
        drift_of_table(tmp_path / "t.csv", "b", "t")


def test_parquet_errors_count_rows(tmp_path: Path) -> None:
    table = rows([0, 0], [0, float("inf")])
    with pytest.raises(DataError, match=r"row 4: value"):
        drift_of_table(save(tmp_path / "t.parquet", table), "b", "t")


@pytest.mark.parametrize(("base", "tuned"), [("t", ["t"]), ("b", ["t", "t"]), ("b", [])])
def test_names_must_differ(tmp_path: Path, base: str, tuned: list[str]) -> None:
    path = save(tmp_path / "t.csv", rows([0], [0]))
    with pytest.raises(UsageError, match="name"):
        drift_of_table(path, base, tuned)


def test_ids_may_be_numbers_here_and_text_there(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    lines: list[Row] = []
    for name in ("b", "t"):
        lines += [{"checkpoint": name, "prompt": i, "metric": "harm", "value": bool(i % 2)} for i in range(30)]
        lines.append({"checkpoint": name, "prompt": "last", "metric": "harm", "value": None})
    path.write_text("\n".join(json.dumps(line) for line in lines))
    found = answer(drift_of_table(path, "b", "t"))
    assert (found["n_prompts"], found["base"], found["unjudged"]) == (30, 0.5, 2)


# ---------------------------------------------------------------------------------------------- the command


Command = Callable[..., tuple[object, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(["drift", *arguments])
        out, err = capsys.readouterr()
        return stop.value.code, out, err

    return run


def test_the_command_answers_in_json_with_its_exit_code(tmp_path: Path, command: Command) -> None:
    table = rows(outcomes(100, 0.1), outcomes(100, 0.9, 1))
    save(tmp_path / "t.csv", table + rows(outcomes(100, 0.1), outcomes(100, 0.1, 2), metric="x/y/refusal=full"))
    code, out, _ = command("--verdicts", "t.csv", "--base", "b", "--tuned", "t", "--json")
    found = json.loads(out)
    assert (code, found["decision"]) == (3, "drift")
    wanted = "metric unit base tuned delta low high p p_adjusted n_prompts n_clusters n_seeds unjudged decision why"
    for one in found["drifts"]:
        assert set(wanted.split()) <= set(one)
    assert {(a["metric"], a["estimand"]) for a in found["drifts"]} == {
        (metric, estimand) for metric in ("harm", "x/y/refusal=full") for estimand in ("checkpoint", "recipe")
    }
    code, out, _ = command("--verdicts", "t.csv", "--base", "b", "--tuned", "t")
    assert code == 3
    assert "decision: DRIFT" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a run folder, or a table"),
        (["run", "--verdicts", "t.csv"], "not both"),
        (["run", "--base", "b"], "--base goes with --verdicts"),
        (["--verdicts", "t.csv"], "--base NAME"),
        (["--verdicts", "none.csv", "--base", "b", "--tuned", "t"], "none.csv: no such file"),
        (["--verdicts", "t.csv", "--base", "b", "--tuned", "t", "--policy", "strictt"], "strict"),
        (["--verdicts", "t.csv", "--base", "b", "--tuned", "u"], "no checkpoint 'u'"),
        (["--verdicts", "less.csv", "--base", "b", "--tuned", "t"], "overlap"),
    ],
)
def test_bad_use_is_one_line_and_exit_2(tmp_path: Path, command: Command, arguments: list[str], message: str) -> None:
    save(tmp_path / "t.csv", rows([0, 1], [0, 1]))
    save(tmp_path / "less.csv", rows([0, 1], [0]))
    code, out, err = command(*arguments)
    assert code == 2
    assert message in err
    assert out == ""
    assert len(err.strip().splitlines()) == 1


def test_errors_are_aftertunes_own(tmp_path: Path) -> None:
    with pytest.raises(AftertuneError):
        drift_of_table(tmp_path / "none.csv", "b", "t")
