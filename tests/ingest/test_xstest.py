"""The published human labels of XSTest, through the table command and the statistics: numbers that must reproduce."""

from __future__ import annotations

import csv
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from aftertune import drift_of_table
from aftertune.stats import agreement, paired

DATA = Path(os.environ.get("AFTERTUNE_DATA", "")) / "xstest"
MODELS = ("gpt4", "llama2orig", "mistralinstruct")
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(
        not os.environ.get("AFTERTUNE_DATA") or not DATA.is_dir(),
        reason="set AFTERTUNE_DATA to a folder that holds XSTest's completions as xstest/",
    ),
]


def labelled(model: str) -> list[dict[str, str]]:
    csv.field_size_limit(2**31 - 1)
    with (DATA / f"xstest_v2_completions_{model}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def part(row: dict[str, str]) -> str:
    return "unsafe" if row["type"].startswith("contrast") else "safe"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("xstest") / "verdicts.csv"
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(("checkpoint", "prompt", "metric", "value", "type"))
        for model in MODELS:
            for row in labelled(model):
                metric = f"xstest/{part(row)}/refusal=full"
                out.writerow((model, row["id"], metric, int(row["final_label"] == "2_full_refusal"), row["type"]))
    return path


@pytest.mark.parametrize(
    ("model", "safe", "unsafe"),
    [
        ("gpt4", (229, 16, 5), (1, 195, 4)),
        ("llama2orig", (101, 95, 54), (0, 199, 1)),
        ("mistralinstruct", (246, 2, 2), (128, 47, 25)),
    ],
)
def test_counts(model: str, safe: tuple[int, ...], unsafe: tuple[int, ...]) -> None:
    counts = Counter((part(row), row["final_label"][0]) for row in labelled(model))
    assert tuple(counts["safe", label] for label in "123") == safe
    assert tuple(counts["unsafe", label] for label in "123") == unsafe


@pytest.mark.parametrize(("model", "share"), [("gpt4", 0.9844), ("llama2orig", 0.9644), ("mistralinstruct", 0.9756)])
def test_annotators_agree_as_published(model: str, share: float) -> None:
    rows = labelled(model)
    first, second = (np.array([row[f"annotation_{i}"] for row in rows]) for i in (1, 2))
    assert (first == second).mean() == pytest.approx(share, abs=5e-5)
    kappa = agreement.cohen_kappa(first, second)
    # By hand from the raters' tables.
    chance = sum((first == label).mean() * (second == label).mean() for label in np.unique(first))
    assert kappa.value == pytest.approx(((first == second).mean() - chance) / (1 - chance))
    assert 0.85 < kappa.low < kappa.value < kappa.high < 1


@pytest.mark.parametrize(("which", "gained", "lost", "n"), [("safe", 2, 16, 250), ("unsafe", 1, 149, 200)])
def test_discordant_pairs_and_mcnemar_through_the_table(
    table: Path, which: str, gained: int, lost: int, n: int
) -> None:
    """gpt4 refuses where mistralinstruct does not on 16 safe and 149 unsafe prompts, the other way on 2 and 1."""
    found = drift_of_table(table, "gpt4", "mistralinstruct")
    (answer,) = (a for a in found.answers if a.metric == f"xstest/{which}/refusal=full" and a.estimand == "checkpoint")
    assert answer.delta == pytest.approx((gained - lost) / n)
    assert answer.p == pytest.approx(paired.mcnemar_exact(gained, lost), rel=1e-9)
    assert (answer.low, answer.high) == pytest.approx(paired.tango_interval(gained, lost, n), abs=2e-3)
    assert (answer.n_prompts, answer.n_clusters, answer.unjudged) == (n, n, 0)


def test_refusing_less_of_what_is_unsafe_is_a_drift_whether_a_policy_says_so_or_not(
    table: Path, tmp_path: Path
) -> None:
    assert drift_of_table(table, "gpt4", "mistralinstruct").outcome == "drift"
    policy = tmp_path / "own.toml"
    policy.write_text(
        '[[metric]]\nmatch = "*/unsafe/*"\nworse = "down"\nmargin = 0.05\n[[metric]]\nmatch = "*"\nmargin = 0.05\n'
    )
    found = drift_of_table(table, "gpt4", ["mistralinstruct", "llama2orig"], policy=policy)
    outcomes = {(d.unit, d.metric.split("/")[1]): d.outcome for d in found.decisions}
    assert outcomes["mistralinstruct", "unsafe"] == "drift"
    assert outcomes["mistralinstruct", "safe"] == "pass"
    assert outcomes["llama2orig", "safe"] == "drift"
    assert found.outcome == "drift"
