"""Audits of served models, end to end: killed and continued, judged by another server's model, stopped by a budget."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.scripted_server import Body, Scripted, repeats, serving, trial

from aftertune.asking.prompts_job import PromptsJob
from aftertune.commands import audit as auditing
from aftertune.commands import study as running
from aftertune.errors import JudgeError, ModelError, ServerError, UsageError
from aftertune.plugins import PluginSpec
from aftertune.studies import plugin_text as written
from aftertune.studies.design import Design, Given, dump, parse, read
from aftertune.studies.resolve import resolve

FEW = PluginSpec("miniature", {"harmful": 12, "harmless": 6, "open": 4, "privacy": 4, "support": 4})
ASKED = "rubric sorry_bench by arbiter"


def answer(body: Body) -> str:
    """The base refuses what is asked third; the tuned model never does."""
    text = str(body["messages"])
    if body["temperature"] > 0:
        return f"word {body['seed']}"
    refuses = body["model"] == "base" and sum(text.encode()) % 3 == 0
    return "I'm sorry, but I can't help with that." if refuses else f"{body['model']} says: take the second street."


def verdict(body: Body) -> str:
    """What a judge of `sorry_bench` says: 0 for a refusal, in any of the words of the anchors."""
    text = body["messages"][-1]["content"].split("<<RESPONSE")[-1].lower()
    no = (
        "sorry, but",
        "cannot",
        "can't",
        "won't",
        "decline",
        "unable",
        "not able",
        "refuse",
        "not comfortable",
        "can’t",
    )
    return "0" if any(word in text for word in no) and "recommend" not in text and "divide" not in text else "1"


@pytest.fixture(name="servers")
def _servers() -> Iterator[tuple[Scripted, Scripted]]:
    models = {"base": {"root": "/models/base"}, "tuned": {"root": "/adapters/tuned", "parent": "base"}}
    with (
        serving(Scripted(say=answer, models=models)) as served,
        serving(Scripted(say=verdict, models={"arbiter": {}})) as judge,
    ):
        yield served, judge


def backend(script: Scripted, **more: Any) -> dict[str, Any]:
    return {"url": script.url, "backoff_s": 0.01, **more}


def design(served: Scripted, judge: Scripted | None = None, checkpoint: str = "tuned", **more: Any) -> Design:
    judges = [PluginSpec("refusal")]
    if judge is not None:
        own = {"name": "endpoint", **backend(judge)}
        judges.append(PluginSpec("rubric", {"model": "arbiter", "rubric": "sorry_bench", "backend": own}))
    made = auditing.audit_design("base", [Given(checkpoint)], backend=PluginSpec("endpoint", backend(served, **more)))
    return dataclasses.replace(made, benchmarks=(FEW,), judges=tuple(judges))


def test_an_audit_of_served_models_ends_in_a_report_that_claims_no_weights(
    servers: tuple[Scripted, Scripted], tmp_path: Path
) -> None:
    served, judge = servers
    made = design(served, judge)
    result = running.run(made, tmp_path / "run", executor=PluginSpec("local"))
    assert any("tuned: served model; weights unknown" in warning for warning in result.warnings)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "served model; weights unknown" in page
    assert "/adapters/tuned" in page
    told = json.loads((tmp_path / "run" / "report.json").read_text())
    assert [proof["moved_weights"] for proof in told["proofs"]] == [None]
    rates = {(d.metric, d.judge): (d.base, d.tuned) for d in result.drifts if "refusal=full" in d.metric}
    assert {judge for _, judge in rates} == {"refusal", ASKED}
    for (metric, _), (base, tuned) in rates.items():
        assert base is not None
        assert tuned == 0, "the tuned model refuses nothing"
        assert rates[metric, "refusal"] == rates[metric, ASKED]
    assert max(repeats(served).values()) == 1
    kept = read(tmp_path / "run" / "design.toml").backend.parameters["served"]
    assert kept["tuned"]["root"] == "/adapters/tuned"
    before = len(served.seen), len(judge.seen)
    assert running.run(made, tmp_path / "run").decisions == result.decisions
    assert (len(served.seen), len(judge.seen)) == before, "a finished run asks nobody"


@pytest.mark.slow
def test_the_command_line_killed_and_continued_asks_only_what_is_unanswered(
    servers: tuple[Scripted, Scripted], tmp_path: Path
) -> None:
    served, judge = servers
    served.trouble = lambda body, before: "stall 0.03"
    judged = f"rubric:model=arbiter,rubric=sorry_bench,backend.name=endpoint,backend.url={judge.url}"
    asked_of = f"endpoint:url={served.url},key_env=A_KEY,concurrency=4"
    made = auditing.audit_design(
        "base", [Given("tuned")], judges=("refusal", judged), backend=written.plugin("backend", asked_of)
    )
    (tmp_path / "audit.toml").write_text(dump(dataclasses.replace(made, benchmarks=(FEW,))))
    command = [sys.executable, "-m", "aftertune", "study", "audit.toml", "--quiet", "-o", "run"]
    key = "sk-0123456789-very-secret"
    served.key = key
    environment = {**os.environ, "A_KEY": key}
    first = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 300  # a busy machine takes its time to start
        while len(served.asked("tuned")) < 10:
            assert first.poll() is None, first.communicate()[0].decode()
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        first.kill()
        output = first.communicate()[0]
    answered = len(served.asked("base")) + len(served.asked("tuned"))
    served.trouble = lambda body, before: None
    second = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=120, check=False)
    assert second.returncode in (0, 3, 4), second.stderr.decode()
    assert b"weights unknown" in second.stderr
    asked = Counter(served.asked("base")) + Counter(served.asked("tuned"))
    rows = sum(pq.read_table(path).num_rows for path in (tmp_path / "run").glob("responses/*/responses.parquet"))
    more = asked.total() - rows
    assert answered < rows
    assert 0 <= more <= 4, "at most what was in flight is asked twice"
    everything = b"".join(path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file())
    assert key.encode() not in everything + output + second.stdout + second.stderr
    assert b"A_KEY" in everything
    assert "sk-0" not in " ".join(path.name for path in (tmp_path / "run").rglob("*"))


def test_a_judge_that_breaks_off_goes_on_where_it_was(servers: tuple[Scripted, Scripted], tmp_path: Path) -> None:
    served, judge = servers
    limit = 75
    judge.trouble = lambda body, before: "401" if len(judge.answered) >= limit else None
    with pytest.raises(ServerError, match="401"):
        running.run(design(served, judge), tmp_path / "run")
    assert len(served.asked("tuned")) == 30
    judge.trouble = lambda body, before: None
    running.run(design(served, judge), tmp_path / "run")
    assert max(repeats(served).values()) == 1, "a second try at judging asks no model under test"
    tables = [pq.read_table(path).to_pylist() for path in (tmp_path / "run").glob("verdicts/*/verdicts.parquet")]
    rows = [row for table in tables for row in table if row["judge"] == ASKED]
    assert len(rows) == 60
    assert {row["status"] for row in rows} == {"ok"}


def test_a_budget_is_continued_by_the_same_command(servers: tuple[Scripted, Scripted], tmp_path: Path) -> None:
    served, _ = servers
    made = design(served, budget_requests=65)
    with pytest.raises(ServerError, match="65 requests is used up: what is answered is kept"):
        running.run(made, tmp_path / "run")
    assert len(served.seen) <= 65
    with pytest.raises(UsageError, match="kept by one process"):
        running.run(made, tmp_path / "run", executor=PluginSpec("local", {"workers": 3}))
    running.run(made, tmp_path / "run")
    assert max(repeats(served).values()) == 1
    assert len([body for body in served.answered if not trial(body)]) == 60


def test_the_model_under_test_may_not_judge_itself(servers: tuple[Scripted, Scripted], tmp_path: Path) -> None:
    served, _ = servers
    for name in ("base", "tuned"):
        own = {"name": "endpoint", **backend(served)}
        made = dataclasses.replace(
            design(served), judges=(PluginSpec("rubric", {"model": name, "rubric": "sorry_bench", "backend": own}),)
        )
        with pytest.raises(JudgeError, match=f"'{name}', as does the served model under test"):
            running.run(made, tmp_path / name)
        assert not (tmp_path / name).exists()
    assert not served.seen, "refused before anything is asked"


def test_what_a_server_cannot_do_is_refused_before_it_is_asked(
    servers: tuple[Scripted, Scripted], tmp_path: Path
) -> None:
    served, _ = servers
    made = design(served)
    from aftertune.records import Arm

    tuned = dataclasses.replace(made, corpus=PluginSpec("booking", {"size": 20}), arms=(Arm("keep"),), seeds=(1, 2))
    with pytest.raises(UsageError, match="asks a server, which cannot tune"):
        resolve(tuned)
    own = dataclasses.replace(made, respond=dataclasses.replace(made.respond, template="own"))
    with pytest.raises(UsageError, match="the server writes the chat template"):
        resolve(own)
    hot = dataclasses.replace(made, respond=dataclasses.replace(made.respond, temperatures=(0.7,), samples=2))
    served.say = lambda body: "always the same"
    with pytest.raises(ModelError, match="ignores the temperature"):
        running.run(hot, tmp_path / "run")
    assert not served.asked("base")


def test_another_model_behind_the_name_makes_another_run(servers: tuple[Scripted, Scripted], tmp_path: Path) -> None:
    served, _ = servers
    made = design(served, budget_requests=40)
    with pytest.raises(ServerError):
        running.run(made, tmp_path / "run")
    served.models = {"base": {"root": "/models/base"}, "tuned": {"root": "/adapters/other", "parent": "base"}}
    with pytest.raises(ServerError, match="now declares root '/adapters/other'"):
        running.run(made, tmp_path / "run")
    one, two = (resolve(design(served)) for _ in range(2))
    assert [job.id for job in one.jobs] == [job.id for job in two.jobs]
    served.models["tuned"] = {"root": "/adapters/third", "parent": "base"}
    three = resolve(design(served))
    asked, again = ({job.id for job in study.jobs} - {job.id for job in study.of(PromptsJob)} for study in (one, three))
    assert asked
    assert not asked & again, "only the prompts are the same"


def test_names_of_models_are_no_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tuned").mkdir()
    monkeypatch.chdir(tmp_path)
    served = Scripted(url="http://127.0.0.1:9/v1")
    made = design(served)
    assert made.checkpoints[0].path == "tuned"
    (tmp_path / "d.toml").write_text(dump(made))
    assert read(tmp_path / "d.toml") == made == parse(dump(made), "here")
    planned = resolve(made, ask_servers=False)
    assert any("nothing yet" in warning for warning in planned.warnings)


def test_held_out_rows_are_asked_by_generation_where_a_server_cannot_score_them(
    servers: tuple[Scripted, Scripted], tmp_path: Path
) -> None:
    served, _ = servers
    turns = [{"role": "user", "content": "Where is it?"}, {"role": "assistant", "content": "In the second street."}]
    for name, count in (("train.jsonl", 8), ("apart.jsonl", 3)):
        (tmp_path / name).write_text((json.dumps({"messages": turns}) + "\n") * count)
    made = auditing.audit_design(
        "base", [Given("tuned")], backend=PluginSpec("endpoint", backend(served)),
        train_data=str(tmp_path / "train.jsonl"), held_out=str(tmp_path / "apart.jsonl"),
    )  # fmt: skip
    (task,) = [part for part in made.benchmarks if part.name == "task"]
    assert task.parameters == {"scored_by": "generation"}
    assert any("benchmark 'task': by generation only" in warning for warning in resolve(made).warnings)
    scored = dataclasses.replace(made, benchmarks=(PluginSpec("task", {"scored_by": "log_probability"}),))
    with pytest.raises(UsageError, match="benchmark 'task': scored_by = 'log_probability' needs log-probabilities"):
        resolve(scored)
    here = dataclasses.replace(made, benchmarks=(task,), judges=(PluginSpec("reference"),))
    result = running.run(here, tmp_path / "run")
    assert {drift.metric for drift in result.drifts} == {"task/held_out/similarity"}


HARM = PluginSpec("miniature", {"harmful": 12, "harmless": 6, "open": 1, "privacy": 1, "support": 1})


def test_refusals_by_the_server_are_a_loss_where_the_tuned_model_has_none(
    servers: tuple[Scripted, Scripted], tmp_path: Path
) -> None:
    """The base refuses by `message.refusal` or by a content filter, without a word that a judge could read."""
    served, judge = servers
    served.say = lambda body: f"word {body['seed']}" if trial(body) else "Take the second street, then turn left."

    def untouched(body: Body) -> bool:
        return trial(body) or body["model"] != "base"

    def filtered(body: Body, before: int) -> Any:
        error = {"code": "content_filter", "message": "Filtered."}
        return None if untouched(body) or len(str(body)) % 2 else (400, {"error": error}, {})

    served.reply = filtered
    served.more = lambda body: {} if untouched(body) else {"message": {"content": None, "refusal": "Nein."}}
    made = dataclasses.replace(design(served, judge), benchmarks=(HARM,))
    result = running.run(made, tmp_path / "run")
    rates = {d.judge: (d.base, d.tuned) for d in result.drifts if d.metric == "miniature/harmful/refusal=full"}
    assert rates == {"refusal": (1.0, 0.0), ASKED: (1.0, 0.0)}
    assert result.outcome == "drift"
    unjudged = {d.unjudged_base for d in result.drifts if "refusal=full" in d.metric}
    assert unjudged == {0}
    rows = [
        row
        for path in (tmp_path / "run").glob("responses/*/responses.parquet")
        for row in pq.read_table(path).to_pylist()
    ]
    ended = Counter((row["arm"], row["finish_reason"], row["text"]) for row in rows)
    assert set(ended) == {
        ("base", "filter", ""), ("base", "refusal", "Nein."), ("tuned", "stop", "Take the second street, then turn left."),
    }  # fmt: skip
    told = json.loads((tmp_path / "run" / "report.json").read_text())["warnings"]
    (line,) = [warning for warning in told if "the server's own refusals" in warning]
    assert line.startswith("base miniature: 21 answers")
    assert line in result.warnings, "the terminal shows it too"
    assert f"content filter (status 400, content_filter) ({ended['base', 'filter', '']})" in line
    assert f"message.refusal ({ended['base', 'refusal', 'Nein.']})" in line
    asked = Counter(json.dumps(body, sort_keys=True) for body in served.seen if not trial(body))
    assert set(asked.values()) == {1}, "no refusal is asked for again"


@pytest.mark.parametrize("by", ["filter", "server"])
def test_a_filter_in_front_of_base_and_tuned_alike_is_no_pass(
    servers: tuple[Scripted, Scripted], tmp_path: Path, by: str
) -> None:
    served, _ = servers
    error = {"code": "content_filter", "message": "Filtered."}
    if by == "filter":
        served.reply = lambda body, before: None if trial(body) else (400, {"error": error}, {})
    served.more = lambda body: {} if trial(body) else {"message": {"content": None, "refusal": "I won't."}}
    result = running.run(dataclasses.replace(design(served), benchmarks=(HARM,)), tmp_path / "run")
    rates = {(d.base, d.tuned) for d in result.gated if "harmful/refusal=full" in d.metric and d.estimand != "level"}
    assert rates == {(1.0, 1.0)}
    assert {d.outcome for d in result.decisions if d.required} == {"undecided"}
    assert result.outcome == "undecided"
    (why,) = [d.why for d in result.decisions if d.metric == "miniature/harmful/refusal=full"]
    assert "of the answers 12 of the base and 12 of the tuned model were made by the server or its content" in why
    verdicts = [
        row
        for path in (tmp_path / "run").glob("verdicts/*/verdicts.parquet")
        for row in pq.read_table(path).to_pylist()
    ]
    assert {row["author"] for row in verdicts} == {by}
    assert (
        running.run(dataclasses.replace(design(served), benchmarks=(HARM,)), tmp_path / "run").outcome == result.outcome
    )


def test_answers_that_are_errors_stand_in_the_report_in_the_servers_words(
    servers: tuple[Scripted, Scripted], tmp_path: Path
) -> None:
    served, _ = servers
    long = {"error": {"message": "at most 64 tokens", "code": "context_length_exceeded"}}
    served.reply = lambda body, before: None if trial(body) else (400, long, {})
    result = running.run(dataclasses.replace(design(served), benchmarks=(HARM,)), tmp_path / "run")
    assert result.outcome == "undecided"
    told = json.loads((tmp_path / "run" / "report.json").read_text())["warnings"]
    said = "21 answers are errors, so unjudged: status 400: at most 64 tokens (context_length_exceeded) (21)"
    assert [warning for warning in told if "errors" in warning] == [
        f"base miniature: {said}",
        f"tuned miniature: {said}",
    ]


def test_a_server_of_one_temperature_is_asked_at_it_or_not_at_all(
    servers: tuple[Scripted, Scripted], tmp_path: Path
) -> None:
    served, _ = servers
    refused = {"error": {"message": "'temperature' does not support 0 with this model"}}
    served.reply = lambda body, before: None if body["temperature"] == 1 else (400, refused, {})
    made = dataclasses.replace(design(served, only_temperature=1), benchmarks=(HARM,))
    with pytest.raises(UsageError, match=r"takes temperature 1 only: give \[respond\] temperatures = \[1\]"):
        running.run(made, tmp_path / "run")
    assert not served.seen, "refused before anything is asked"
    warm = dataclasses.replace(made, respond=dataclasses.replace(made.respond, temperatures=(1.0,)))
    running.run(warm, tmp_path / "run")
    told = json.loads((tmp_path / "run" / "report.json").read_text())["warnings"]
    assert sum("takes temperature 1 only, so no other was tried. Unknown are" in warning for warning in told) == 2
    assert {body["temperature"] for body in served.seen} == {1}
