"""A base's own refusals and answers: what is kept of what it said, and what is said where nothing is."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from aftertune.data import prompts as stored
from aftertune.errors import UsageError
from aftertune.records import Message, Prompt, Response, Verdict
from aftertune.run.run_folder import Run
from aftertune.run.tables import table
from aftertune.tuning.mitigation import Need
from aftertune.tuning.own_source import OwnSource, PrivateSubset, read

PRIVATE = (PrivateSubset("messages", ("exact",), ("revealed",)), PrivateSubset("actions", (), ("revealed",)))
SOURCE = OwnSource("requests", ("harmful",), PRIVATE, "p", "r", ("v", "w"), "")
BOTH: frozenset[Need] = frozenset({"own_refusals", "own_answers"})


def key(prompt: Prompt) -> dict[str, Any]:
    return {
        "base": "m", "arm": "base", "recipe": "", "train_seed": None, "epoch": None, "checkpoint": "m",
        "benchmark": "requests", "subset": prompt.subset, "prompt_id": prompt.id, "cluster": prompt.id, "category": "",
        "system": "", "template": "base", "temperature": 0.0, "sample": 0, "message_hash": "h",
    }  # fmt: skip


def made(tmp_path: Path, *said: tuple[str, str, str | None, dict[str, Any]]) -> Run:
    """`said`: subset, text, label of the axis refusal, and what else the response or verdict has."""
    run = Run.create(tmp_path / "run", "design", {})
    prompts = [Prompt(f"q{at}", "requests", subset, "", "", (Message("user", f"Ask {at}"),)) for at, (subset, *_) in
               enumerate(said)]  # fmt: skip
    responses: list[Response] = []
    verdicts: list[Verdict] = []
    second: list[Verdict] = []
    fields = {field.name for field in dataclasses.fields(Response)}
    for prompt, (_, text, label, changes) in zip(prompts, said, strict=True):
        own = {"token_hash": None, "text": text, "finish_reason": "stop", "new_tokens": 3}
        responses.append(Response(**{**key(prompt), **own, **{k: v for k, v in changes.items() if k in fields}}))
        private = prompt.subset in {subset.name for subset in PRIVATE}
        opinion = {"judge": "j", "judge_version": "1", "axis": "privacy" if private else "refusal", "label": label, "value": None,
                   "status": "ok" if label else "abstain", "why": ""}  # fmt: skip
        told = Verdict(**{**key(prompt), **opinion, **{k: v for k, v in changes.items() if k not in fields}})
        (second if private else verdicts).append(told)
        verdicts.append(Verdict(**{**key(prompt), **opinion, "axis": "coherence", "label": "full", "status": "ok"}))
    for kind, id_, tables in (
        ("prompts", "p", {stored.TABLE: stored.to_table(prompts)}),
        ("responses", "r", {"responses": table(Response, responses)}),
        ("verdicts", "v", {"verdicts": table(Verdict, verdicts)}),
        ("verdicts", "w", {"verdicts": table(Verdict, second)}),
    ):
        folder = run.folder(kind, id_)
        folder.start()
        folder.finish(tables=tables)
    return run


def test_full_refusals_of_harmful_and_whole_answers_to_other_requests_are_kept(tmp_path: Path) -> None:
    run = made(
        tmp_path,
        ("harmful", " I cannot help. ", "full", {}),
        ("harmful", "Sure.", "none", {}),
        ("harmful", "I cannot, but", "partial", {}),
        ("harmless", "Here you are.", "none", {}),
        ("harmless", "I cannot help.", "full", {}),
        ("open", "Well.", "none", {}),
        ("harmful", "I cannot", "full", {"finish_reason": "length"}),
        ("harmful", "", "full", {}),
        ("harmful", "I cannot.", "full", {"error": "lost"}),
        ("harmful", "I cannot.", "full", {"unanswered": "inside its thought"}),
        ("harmful", "I cannot.", None, {}),
        ("harmful", "Refused.", "full", {"author": "server"}),
    )
    kept = read(run, SOURCE, BOTH)
    assert [each.messages for each in kept.refusals] == [
        (Message("user", "Ask 0"), Message("assistant", "I cannot help.")),
    ]
    assert [each.messages[-1].content for each in kept.answers] == ["Here you are.", "Well."]
    assert len({each.id for each in (*kept.refusals, *kept.answers)}) == 3
    told = read(run, dataclasses.replace(SOURCE, system="Be brief."), BOTH)
    assert told.refusals[0].messages[0] == Message("system", "Be brief."), "as the base was asked"


def test_replies_that_keep_private_what_should_be_are_kept_and_are_no_ordinary_answers(tmp_path: Path) -> None:
    run = made(
        tmp_path,
        ("messages", "Exactly.", "exact", {}),
        ("messages", "Too little.", "withheld", {}),
        ("messages", "Everything.", "revealed", {}),
        ("messages", "Exactly, and", "exact", {"finish_reason": "length"}),
        ("messages", "Not judged.", None, {}),
        ("actions", "Nothing given away.", "withheld", {}),
        ("actions", "All given away.", "revealed", {}),
        ("actions", "Not judged.", None, {}),
        ("open", "Well.", "none", {}),
    )
    kept = read(run, SOURCE, frozenset({"own_private_replies", "own_answers"}))
    assert [each.messages[-1].content for each in kept.private_replies] == ["Exactly.", "Nothing given away."]
    assert [each.messages[-1].content for each in kept.answers] == ["Well."]


def test_where_no_reply_is_private_it_says_so(tmp_path: Path) -> None:
    run = made(tmp_path, ("messages", "All.", "revealed", {}), ("open", "Well.", "none", {}))
    with pytest.raises(UsageError, match="of 1 messages of 'requests' with something to keep private the base kept"):
        read(run, SOURCE, frozenset({"own_private_replies"}))


def test_where_nothing_is_kept_it_says_how_many_were_asked(tmp_path: Path) -> None:
    run = made(
        tmp_path, ("harmful", "Sure.", "none", {}), ("harmful", "Of course.", "none", {}), ("open", "No.", "full", {})
    )
    with pytest.raises(UsageError, match="of 2 harmful requests of 'requests' the base refused none in full"):
        read(run, SOURCE, frozenset({"own_refusals"}))
    with pytest.raises(UsageError, match="of 1 ordinary requests of 'requests' the base answered none"):
        read(run, SOURCE, frozenset({"own_answers"}))
    nothing = read(run, SOURCE, frozenset())
    assert (nothing.refusals, nothing.answers) == ([], [])
