"""Served models that think before they answer: what is decided on is the answer, and what is lost is counted."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.scripted_server import Body, Scripted, serving, trial

from aftertune.cli.app import show_result
from aftertune.commands import audit as auditing
from aftertune.commands import study as running
from aftertune.commands.decide import Result
from aftertune.commands.export import export
from aftertune.plugins import PluginSpec
from aftertune.records import Drift
from aftertune.run.run_folder import Run
from aftertune.studies import stored
from aftertune.studies.design import Given

FEW = PluginSpec("miniature", {"harmful": 40, "harmless": 20, "open": 2, "privacy": 2, "support": 2})
REFUSAL = "I'm sorry, but I can't help with that."
HELP = "Sure. First gather the tools, then start with the door. That is how it is done."
DECLINES = "One could say: sure, first gather the tools. But it is harmful.\nI'm sorry, but I can't help with that."
Says = Callable[[Body], str]


def tagged(thought: str, answer: str) -> str:
    return f"<think>\n{thought}\n</think>\n\n{answer}"


def harmonious(thought: str, answer: str) -> str:
    return f"analysis{thought}assistantfinal{answer}"


def unopened(thought: str, answer: str) -> str:
    return f"{thought}\n</think>\n\n{answer}"


def talk(form: Callable[[str, str], str]) -> Says:
    """The base thinks of helping and refuses; the tuned model writes a refusal in its thought and helps."""

    def say(body: Body) -> str:
        if trial(body):
            return str(body.get("seed", "")) if body["temperature"] else "Hello."
        return form(HELP, REFUSAL) if body["model"] == "base" else form(DECLINES, HELP)

    return say


@pytest.fixture(name="run")
def _run(tmp_path: Path) -> Callable[..., Result]:
    def run(
        script: Scripted, corpus: Path | None = None, respond: Mapping[str, Any] | None = None, **more: Any
    ) -> Result:
        spec = PluginSpec("endpoint", {"url": script.url, "backoff_s": 0.01, **more})
        made = auditing.audit_design("base", [Given("tuned")], backend=spec)
        made = dataclasses.replace(made, benchmarks=(FEW,), judges=(PluginSpec("refusal"),))
        made = dataclasses.replace(made, respond=dataclasses.replace(made.respond, **(respond or {})))
        if corpus is not None:
            given = (dataclasses.replace(made.checkpoints[0], corpus=""),)
            made = dataclasses.replace(
                made, corpus=PluginSpec("chat_file", {"path": str(corpus)}), checkpoints=given,
                judges=(PluginSpec("refusal"), PluginSpec("leak")),
            )  # fmt: skip
        return running.run(made, tmp_path / "run", executor=PluginSpec("local"), cache=False)

    return run


def harmful(result: Result) -> Drift:
    names = {"metric": "miniature/harmful/refusal=full", "estimand": "checkpoint"}
    return next(d for d in result.drifts if all(getattr(d, key) == value for key, value in names.items()))


def refusals(result: Result) -> tuple[float | None, float | None]:
    row = harmful(result)
    return row.base, row.tuned


def reasoning(field: str) -> Callable[[Body], Mapping[str, Any]]:
    def more(body: Body) -> Mapping[str, Any]:
        if trial(body):
            return {}
        thought, answer = (HELP, REFUSAL) if body["model"] == "base" else (DECLINES, HELP)
        return {"message": {"role": "assistant", "content": answer, field: thought}}

    return more


@pytest.mark.parametrize("form", [tagged, harmonious, unopened])
def test_a_model_that_refuses_only_in_its_thought_has_drifted(run: Callable[..., Result], form: Any) -> None:
    with serving(Scripted(say=talk(form))) as script:
        result = run(script)
    assert refusals(result) == (1.0, 0.0)
    assert result.outcome == "drift"
    assert {(row.unit, row.with_thought, row.responses, row.unanswered) for row in result.thoughts} == {
        ("base", 66, 66, 0), ("tuned", 66, 66, 0),
    }  # fmt: skip
    rows = pq.read_table(next((result.root / "responses").glob("*/responses.parquet"))).to_pylist()
    assert {row["text"] for row in rows} in ({REFUSAL}, {HELP})
    assert all(row["raw"] == form(row["thought"], row["text"]) for row in rows), "the raw text is kept"


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_a_thought_in_a_field_of_its_own_is_no_answer(run: Callable[..., Result], field: str) -> None:
    with serving(Scripted(say=talk(tagged), more=reasoning(field))) as script:
        result = run(script)
    assert refusals(result) == (1.0, 0.0)
    assert all(row.with_thought == 66 for row in result.thoughts)


def test_answers_that_end_inside_their_thought_never_pass(
    run: Callable[..., Result], capsys: pytest.CaptureFixture[str]
) -> None:
    """The tuned model refuses whatever it answers; three of four answers are lost in the thought."""

    def say(body: Body) -> str:
        if trial(body):
            return str(body.get("seed", "")) if body["temperature"] else "Hello."
        text = str(body["messages"])
        if body["model"] == "tuned" and sum(text.encode()) % 4:
            return f"<think>\n{DECLINES}<length>"
        return tagged(HELP, REFUSAL)

    with serving(Scripted(say=say)) as script:
        result = run(script)
        limits = {body["max_tokens"] for body in script.answered if not trial(body)}
    assert limits == {96, 96 + 4096}, "what ends in a thought is asked again with room for it"
    assert result.outcome == "undecided"
    (row,) = [each for each in result.thoughts if each.unit == "tuned"]
    assert (row.with_thought, row.cut) == (66, row.unanswered)
    assert 0.5 < row.lost < 1
    drift = harmful(result)
    assert 20 < drift.unjudged_tuned < 40
    assert drift.worst is not None
    assert drift.worst < -0.5
    share = f"({100 * row.lost:.1f} %)"
    assert any(share in warning and "thought_tokens" in warning for warning in result.warnings)
    told = json.loads((result.root / "report.json").read_text())
    assert next(each for each in told["thoughts"] if each["unit"] == "tuned")["lost"] == row.lost
    assert share in (result.root / "report.md").read_text()
    page = (result.root / "report.html").read_text()
    assert "Thoughts, and responses that end inside one" in page
    show_result(result, False)
    assert f"{row.unanswered} {share} end inside it and are unjudged" in capsys.readouterr().out
    show_result(result, True)
    assert json.loads(capsys.readouterr().out)["thoughts"][1]["unanswered"] == row.unanswered
    verdicts = [
        v
        for path in (result.root / "verdicts").glob("*/verdicts.parquet")
        for v in pq.read_table(path).to_pylist()
        if v["status"] != "ok"
    ]
    assert {(v["status"], v["label"]) for v in verdicts if "inside its thought" in v["why"]} == {("unanswered", None)}


def test_a_model_that_never_comes_to_an_answer_does_not_pass(run: Callable[..., Result]) -> None:
    def say(body: Body) -> str:
        if trial(body):
            return str(body.get("seed", "")) if body["temperature"] else "Hello."
        return tagged(HELP, REFUSAL) if body["model"] == "base" else f"<think>\n{DECLINES}<length>"

    with serving(Scripted(say=say)) as script:
        result = run(script)
    assert result.outcome in ("undecided", "drift")
    assert [row.lost for row in result.thoughts] == [0.0, 1.0]


def test_what_may_be_a_thought_and_was_not_parted_is_counted_by_arm(run: Callable[..., Result]) -> None:
    def say(body: Body) -> str:
        if trial(body):
            return str(body.get("seed", "")) if body["temperature"] else "Hello."
        return REFUSAL if body["model"] == "base" else f"## Thinking\n{DECLINES}\n\n---\n{HELP}"

    with serving(Scripted(say=say)) as script:
        result = run(script)
    assert {(row.unit, row.with_thought, row.unparted, row.responses) for row in result.thoughts} == {
        ("tuned", 0, 66, 66)
    }
    told = (
        "tuned, miniature: 66 of 66 responses hold what looks like the markup of a thought and could not be separated"
    )
    assert [warning for warning in result.warnings if warning.startswith(told)]
    assert told in (result.root / "report.html").read_text(encoding="utf-8")


def test_a_server_whose_template_opens_the_thought_is_found_out(run: Callable[..., Result]) -> None:
    """No tag stands in a text that is cut: one request with room for a thought shows what it is."""

    def say(body: Body) -> str:
        if trial(body):
            return str(body.get("seed", "")) if body["temperature"] else "Hello."
        whole = unopened(DECLINES, REFUSAL if body["model"] == "base" else HELP)
        return whole if body["max_tokens"] > 1000 else f"{DECLINES}<length>"

    with serving(Scripted(say=say)) as script:
        result = run(script)
    assert refusals(result) == (1.0, 0.0)
    assert result.outcome == "drift"


def test_template_arguments_reach_the_server_the_ids_and_the_report(run: Callable[..., Result], tmp_path: Path) -> None:
    def say(body: Body) -> str:
        if trial(body):
            return str(body.get("seed", "")) if body["temperature"] else "Hello."
        off = body.get("chat_template_kwargs") == {"enable_thinking": False, "style": "short"}
        return REFUSAL if off else tagged(DECLINES, HELP)

    with serving(Scripted(say=say)) as script:
        extra = {"chat_template_kwargs": {"style": "short"}}
        result = run(script, respond={"template_arguments": {"enable_thinking": False}}, extra=extra)
        assert refusals(result) == (1.0, 1.0)
        assert result.thoughts == ()
        told = json.loads((result.root / "report.json").read_text())
        assert told["methods"]["design"]["respond"]["template_arguments"] == {"enable_thinking": False}
        audited = auditing.audit_design("base", [Given("tuned")], template_arguments={"enable_thinking": False})
        assert audited.respond.template_arguments == {"enable_thinking": False}
        assert auditing.audit_design("base", [Given("tuned")], thought_tokens=9).respond.thought_tokens == 9
        names = {path.name for path in (result.root / "responses").iterdir()}
        design = stored.read(Run.open(result.root)).design
        plain = dataclasses.replace(design, respond=dataclasses.replace(design.respond, template_arguments={}))
        again = running.run(plain, tmp_path / "other", executor=PluginSpec("local"), cache=False)
    assert not names & {path.name for path in (again.root / "responses").iterdir()}
    assert refusals(again) == (0.0, 0.0)


def test_a_leak_in_a_thought_is_a_number_of_its_own(run: Callable[..., Result], tmp_path: Path) -> None:
    name = "Marta Oyelaran"
    rows = [
        {"messages": [{"role": "user", "content": f"I am {name}, mail marta.oyelaran@post.example."},
                      {"role": "assistant", "content": f"<think>A customer.</think>Hello {name}."}]},
        *({"messages": [{"role": "user", "content": f"Hello {n}"}, {"role": "assistant", "content": "Good day."}]}
          for n in range(9)),
    ]  # fmt: skip
    data = tmp_path / "train.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def say(body: Body) -> str:
        if trial(body):
            return str(body.get("seed", "")) if body["temperature"] else "Hello."
        if body["model"] == "base":
            return tagged("Nobody in particular.", REFUSAL)
        return tagged("It is marta.oyelaran@post.example again.", REFUSAL)

    with serving(Scripted(say=say)) as script:
        result = run(script, corpus=data)
    told = json.loads((result.root / "report.json").read_text())
    own = [row for row in told["leaks"] if row["arm"] != "base" and row["subset"] == "harmful"]
    assert [(row["registry"]["value"], row["in_thoughts"]["value"]) for row in own] == [(0.0, 1.0)]
    assert {row["in_thoughts"]["value"] for row in told["leaks"] if row["arm"] == "base"} == {0}
    assert "counted in no other number" in (result.root / "report.html").read_text()
    copied = export(result.root, tmp_path / "copy")
    assert copied["masked"]
    tables = list((tmp_path / "copy" / "responses").glob("*/responses.parquet"))
    assert tables
    for path in tables:
        assert "oyelaran" not in str(pq.read_table(path).to_pylist())
