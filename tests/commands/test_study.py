"""A whole study on the embedded model: run, stopped, continued, damaged, judged again."""

from __future__ import annotations

import dataclasses
import json
import stat
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from aftertune.asking.ask_job import AskJob
from aftertune.asking.backends import transformers as backend
from aftertune.commands import decide as results
from aftertune.commands import judge as judging
from aftertune.commands import study as running
from aftertune.commands.status import status
from aftertune.errors import StoreError, UsageError
from aftertune.judging.judge_job import JudgeJob
from aftertune.plugins import PluginSpec
from aftertune.records import Response, Verdict
from aftertune.run.run_folder import Run
from aftertune.run.tables import records
from aftertune.studies import stored
from aftertune.studies.design import Design
from aftertune.variants.compose_job import ComposeJob


def tables(root: Path) -> dict[str, bytes]:
    """Return what every responses and verdicts table of a run holds, by path."""
    found = {}
    for path in sorted(root.glob("*/*/*.parquet")):
        rows = pq.read_table(path).to_pylist()
        found[str(path.relative_to(root))] = json.dumps(rows, sort_keys=True).encode()
    return found


def test_the_flow_ends_in_a_report_and_numbers_with_intervals(finished: results.Result) -> None:
    for name in (
        "report.html",
        "report.md",
        "report.json",
        "decisions.json",
        "drift.parquet",
        "design.toml",
        "run.json",
        "study.json",
    ):
        assert (finished.root / name).stat().st_size > 0, name
    recipes = [drift for drift in finished.drifts if drift.estimand == "recipe"]
    assert {drift.arm for drift in recipes} == {"keep", "hidden", "own"}
    for drift in recipes:
        assert drift.n_seeds == 2
        assert drift.low is not None
        assert drift.high is not None
        assert drift.low < drift.high, "no interval of zero width"
    assert any(drift.estimand == "contrast" for drift in finished.drifts)
    page = (finished.root / "report.html").read_text()
    assert "miniature" in page


def test_the_run_is_private_and_says_what_made_it(finished: results.Result) -> None:
    for folder in [finished.root, *(path for path in finished.root.rglob("*") if path.is_dir())]:
        if folder.name.startswith("epoch"):
            continue  # inside a private folder
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
    facts = json.loads((finished.root / "run.json").read_text())
    assert facts["versions"]["torch"]


def test_pairs_have_the_same_messages_and_seeds_move_the_weights(finished: results.Result) -> None:
    run = Run.open(finished.root)
    asked = stored.read(run).of(AskJob)
    rows = [row for job in asked for row in records(Response, run.job(job).read("responses"))]
    hashes: dict[str, set[str]] = {}
    for row in rows:
        hashes.setdefault(row.prompt_id, set()).add(row.message_hash)
    assert all(len(found) == 1 for found in hashes.values())
    texts = {(row.arm, row.train_seed): "" for row in rows}
    for row in sorted(rows, key=lambda row: row.prompt_id):
        texts[row.arm, row.train_seed] += row.text
    assert texts["keep", 1] != texts["keep", 2], "a seed that is ignored"
    assert texts["keep", 1] != texts["base", None], "an adapter that is not applied"
    proofs = [run.job(job).info()["proof"] for job in asked]
    assert sum((proof["max_logit_change"] or 0) > 0 for proof in proofs) == 6


def test_the_placeholder_arm_has_no_personal_value_of_the_corpus(finished: results.Result) -> None:
    run = Run.open(finished.root)
    (job,) = stored.read(run).of(ComposeJob)
    cards = run.job(job).document("cards")
    assert cards["hidden"]["residual"] == {}
    assert sum(cards["keep"]["residual"].values()) > 0
    tokens = [cards[arm]["assistant_tokens"] for arm in cards]
    assert max(tokens) - min(tokens) <= 80, "arms are matched in assistant tokens"


def test_the_same_command_does_nothing_twice(finished: results.Result, small: Design, one: PluginSpec) -> None:
    told: list[tuple[str, int, int]] = []
    again = running.run(small, finished.root, executor=one, progress=lambda *row: told.append(row))
    assert [row[0] for row in told] == [""], "no job was done again"
    assert again.drifts == finished.drifts
    assert again.decisions == finished.decisions


def test_a_damaged_table_is_named_and_made_again(
    copy: Path, small: Design, one: PluginSpec, finished: results.Result, caplog: pytest.LogCaptureFixture
) -> None:
    victim = sorted(copy.glob("responses/*/responses.parquet"))[0]
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 0xFF
    victim.write_bytes(data)
    with pytest.raises(StoreError, match="damaged"):
        Run(copy).folder("responses", victim.parent.name).read("responses")
    running.run(small, copy, executor=one)
    assert "responses.parquet: damaged" in caplog.text
    assert tables(copy) == tables(finished.root)


def test_a_damaged_weights_file_is_found(
    copy: Path, small: Design, one: PluginSpec, caplog: pytest.LogCaptureFixture
) -> None:
    victim = sorted(copy.glob("checkpoints/*/epoch-1/adapter_model.safetensors"))[0]
    data = bytearray(victim.read_bytes())
    data[-3] ^= 1
    victim.write_bytes(data)
    running.run(small, copy, executor=one)
    assert "adapter_model.safetensors: damaged" in caplog.text
    assert victim.read_bytes() != data


def test_another_judge_asks_no_model(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a model was asked")

    monkeypatch.setattr(backend.Transformers, "open", refuse)
    before = {path.name for path in (copy / "verdicts").iterdir()}
    result = judging.judge_run(copy, ["refusal"])
    assert before < {path.name for path in (copy / "verdicts").iterdir()}
    assert {drift.judge for drift in result.drifts} == {"world", "leak", "refusal"}
    assert {drift.judge for drift in result.gated} == {"world", "leak"}, (
        "the first judge of an axis stays the gated one"
    )


def test_the_study_file_still_continues_a_run_that_got_another_judge(
    copy: Path, small: Design, one: PluginSpec
) -> None:
    judging.judge_run(copy, ["refusal"])
    continued = running.run(small, copy, executor=one)
    assert {drift.judge for drift in continued.drifts} == {"world", "leak", "refusal"}
    other = dataclasses.replace(small, analysis_seed=small.analysis_seed + 1)
    with pytest.raises(UsageError, match="another design"):
        running.run(other, copy, executor=one)


def test_an_echo_is_not_a_leak(finished: results.Result) -> None:
    run = Run.open(finished.root)
    judged = stored.read(run).of(JudgeJob)
    verdicts = [verdict for job in judged for verdict in records(Verdict, run.job(job).read("verdicts"))]
    base = [v for v in verdicts if v.arm == "base" and v.axis == "leak" and v.subset == "support"]
    assert base
    assert not any(v.label == "registry" for v in base), "the base has never seen the corpus"


def test_status_and_the_page_again(finished: results.Result) -> None:
    shown = status(finished.root)
    assert shown["outcome"] == finished.outcome
    assert all(row["done"] == row["jobs"] > 0 for row in shown["jobs"].values())
    before = (finished.root / "report.html").read_bytes()
    again = results.again(finished.root)
    assert again.drifts == finished.drifts == tuple(results.drifts_of(finished.root))
    assert (finished.root / "report.html").read_bytes() == before


def test_no_personal_value_stands_in_what_is_shared(finished: results.Result) -> None:
    people = json.loads(next(finished.root.glob("variants/*/people.json")).read_text())
    values = {value for person in people["source"] for value in person["values"].values()}
    assert len(values) > 50
    for name in ("report.html", "report.md", "report.json", "decisions.json"):
        text = (finished.root / name).read_text()
        assert not [value for value in values if value in text], name
    tables = list(finished.root.glob("verdicts/*/verdicts.parquet"))
    assert tables
    for path in tables:
        shown = " ".join(pq.read_table(path, columns=["why"])["why"].to_pylist())
        assert not [value for value in values if value in shown]
