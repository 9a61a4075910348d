"""The job that composes: whatever an arm is called, it gets its file, its card and its held-out rows."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from tests import fakes, tiny_models
from tests.fakes import Calls, Killed, Rows, Scripted

from aftertune.data.variant_files import VariantFiles, groups_of_people, read
from aftertune.models.loaded import LOADED
from aftertune.models.subject import ModelRecord
from aftertune.records import Arm, Data
from aftertune.run.run_folder import Run
from aftertune.variants.compose_job import ComposeJob
from aftertune.variants.corpora.booking import Booking

HARD_NAMES = ("held_out-small", "held_out", "people", "cards", "canaries", "journal", "manifest", "writer", "documents")


@pytest.fixture(scope="module", name="base")
def _base(tmp_path_factory: pytest.TempPathFactory) -> ModelRecord:
    return fakes.model(path=str(tiny_models.save("llama", tmp_path_factory.mktemp("base") / "m")))


@pytest.fixture(name="run")
def _run(tmp_path: Path) -> Run:
    LOADED.unload()
    return Run.create(tmp_path / "run", "design", {})


def job(base: ModelRecord, *arms: Arm, backend: Scripted | None = None, **changes: Any) -> ComposeJob:
    fields: dict[str, Any] = {
        "base": base, "corpora": (fakes.corpus("", Rows(9)),), "non_members": None, "arms": arms, "data": Data(),
        "match_tokens": False, "data_seed": 0, "system": "", "backend": fakes.backend(backend),
    }  # fmt: skip
    return ComposeJob.make(**{**fields, **changes})


def test_an_arm_of_any_name_gets_file_card_and_held_out_rows(run: Run, base: ModelRecord) -> None:
    made = job(base, *map(Arm, HARD_NAMES), data=Data(held_out=2))
    fakes.do(run, made)
    folder = run.job(made)
    assert folder.verify() is None
    files, cards = VariantFiles(folder.path), folder.document("cards")
    manifest = json.loads((folder.path / "manifest.json").read_text())["files"]
    assert set(cards) == set(HARD_NAMES)
    source = {row.id for row in read(files.source(""))}
    assert len(source) == 9
    for name in HARD_NAMES:
        trained, held_out = ({row.id for row in read(path)} for path in (files.arm(name), files.held_out(name)))
        assert trained | held_out == source, name
        assert (len(trained), len(held_out)) == (7, 2)
        assert cards[name]["conversations"] == 7
        assert {f"{name}.jsonl", f"held_out/{name}.jsonl"} <= set(manifest), "both have a checksum"


def test_people_twins_and_stand_ins_are_written_per_corpus(run: Run, base: ModelRecord) -> None:
    made = job(
        base,
        Arm("keep"),
        Arm("swap", pii="surrogate", corpus="extra"),
        corpora=(fakes.corpus("", Rows(9)), fakes.corpus("extra", Booking(size=8))),
    )
    fakes.do(run, made)
    folder = run.job(made)
    plain, extra = folder.document("people"), folder.document("people@extra")
    assert plain == {"aftertune": "people", "source": [], "twin": [], "own": {}}
    assert len(extra["source"]) == len(extra["twin"]) == len(extra["own"]["swap"]) > 0
    names = [{person.values["PERSON"] for person in group} for group in groups_of_people(folder) if group]
    names = [each for each in names if each]
    assert len(names) == 3
    assert not names[0] & names[1], "a twin is nobody of the corpus"


def test_own_answers_are_asked_as_the_study_asks(run: Run, base: ModelRecord) -> None:
    arm, calls = Arm("own", answers="self_generated"), fakes.Calls()
    off = {"enable_thinking": False}
    made = job(base, arm, backend=Scripted(calls=calls), thought_tokens=7, template_arguments=off)
    fakes.do(run, made)
    assert {(each.thought_tokens, *each.template_arguments.items()) for each in calls.requests} == {
        (7, ("enable_thinking", False))
    }
    others = [job(base, arm), job(base, arm, thought_tokens=7), job(base, arm, template_arguments=off)]
    assert len({made.id, *(other.id for other in others)}) == 4
    plain = [job(base, Arm("keep")), job(base, Arm("keep"), template_arguments=off)]
    assert plain[0].id == plain[1].id, "where nobody is asked they decide nothing"


def test_a_base_answers_once_for_several_arms_and_goes_on_where_it_was_stopped(run: Run, base: ModelRecord) -> None:
    arms = (Arm("own", answers="self_generated"), Arm("again", answers="self_generated", pii="placeholder"))
    calls = Calls()
    made = job(base, *arms, backend=Scripted(calls=calls), system="Be kind.")
    fakes.do(run, made)
    assert len(calls.requests) == 9, "a chat that stands in both arms is asked once"
    assert {system for system, _ in calls.settings} == {"Be kind."}
    rows = read(VariantFiles(run.job(made).path).arm("own"))
    assert all(row.messages[-1].content.endswith(" by None") for row in rows)


def test_an_attempt_that_was_killed_asks_for_no_answer_twice(run: Run, base: ModelRecord) -> None:
    first, second = Calls(), Calls()
    arm = Arm("own", answers="self_generated")
    whole = job(base, arm, backend=Scripted(calls=first))
    fakes.do(run, whole)
    ids = [request.prompt.id for request in first.requests]
    expected = [row.messages for row in read(VariantFiles(run.job(whole).path).arm("own"))]
    stopped, same = Scripted(dies_at=ids[5]), Scripted(calls=second)
    killed = dataclasses.replace(whole, id="killed", backend=dataclasses.replace(whole.backend, plugin=stopped))
    LOADED.unload()
    with pytest.raises(Killed):
        fakes.do(run, killed)
    LOADED.unload()
    again = dataclasses.replace(killed, backend=dataclasses.replace(whole.backend, plugin=same))
    fakes.do(run, again)
    assert [request.prompt.id for request in second.requests] == ids[5:], "five were finished"
    assert [row.messages for row in read(VariantFiles(run.job(again).path).arm("own"))] == expected


def test_bad_input_leaves_nothing_behind(run: Run, base: ModelRecord) -> None:
    @dataclasses.dataclass(frozen=True)
    class Broken(Rows):
        def stream(self) -> Any:
            yield from self.conversations()[:2]
            raise ValueError("line 3")

    made = job(base, Arm("keep"), corpora=(fakes.corpus("", Broken()),))
    folder = run.job(made)
    with pytest.raises(ValueError, match="line 3"):
        made.compose(folder)
    assert not folder.path.exists()
