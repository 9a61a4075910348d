"""What else is refused before anything is loaded, who serves which model, and what a missing model is told."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests import fakes
from tests.fakes import Listed, Scripted, Wordy

from aftertune.commands import judge as judging
from aftertune.commands import run_view
from aftertune.errors import DataError, JudgeError, ModelError, UsageError
from aftertune.ingest import responses
from aftertune.judging import trial
from aftertune.models.session import Backend
from aftertune.models.subject import ModelRecord
from aftertune.plugins import PluginSpec
from aftertune.records import Arm, Contrast, Recipe, Respond, digest
from aftertune.studies import missing as missing_module
from aftertune.studies import refusals
from aftertune.studies.choices import asks_servers, with_choice, with_declarations
from aftertune.studies.design import Design, Given
from aftertune.tuning.mitigations.interpolation import Interpolation
from aftertune.tuning.resolved import ResolvedMitigation

BOOKING = PluginSpec("booking", {"size": 8})


def design(**changes: Any) -> Design:
    fields: dict[str, Any] = {
        "name": "d", "bases": ("embedded",), "corpus": BOOKING, "arms": (Arm("keep"),), "seeds": (1,),
        "benchmarks": (PluginSpec("miniature", {"harmful": 2}),), "judges": (PluginSpec("refusal"),),
    }  # fmt: skip
    return Design(**{**fields, **changes})


# ---------------------------------------------------------------------------------------------- judges


@dataclasses.dataclass(frozen=True)
class Partial(Wordy):
    """Judges no model called `m`."""

    def may_judge(self, names: Any) -> None:
        if "m" in names:
            raise JudgeError("wordy was tuned on m")


def served(name: str) -> ModelRecord:
    return fakes.model(declared={"asked": "alias", "replied": name})


def test_a_judge_that_refuses_a_model_is_heard() -> None:
    with pytest.raises(JudgeError, match="^wordy was tuned on m$"):
        refusals.refuse_self_judging([fakes.judge(Partial())], {"x": served("m")})
    refusals.refuse_self_judging([fakes.judge(Partial())], {"x": served("n")})


def test_three_judges_of_which_two_share_a_name_are_refused_by_that_name() -> None:
    named = [dataclasses.replace(fakes.judge(), name=name) for name in ("a", "b", "a")]
    with pytest.raises(UsageError, match="^two judges are called 'a': leave one out, or give its rubric file another"):
        refusals.refuse_self_judging(named, {})
    refusals.refuse_self_judging(named[:2], {})


def test_a_new_judge_that_needs_data_that_the_run_has_not_is_refused() -> None:
    study = fakes.given_study()
    reader = fakes.judge(Wordy(needs=frozenset({"registries"})))
    with pytest.raises(UsageError) as error:
        refusals.refuse_new_judges(study, [reader])
    assert str(error.value) == "judge 'wordy' needs registries: give a [corpus] (--train-data), or leave it out"


@pytest.mark.parametrize(("accelerator", "paid", "tried"), [(False, False, 1), (True, False, 0), (False, True, 0)])
def test_a_new_judge_is_tried_at_once_unless_that_needs_a_model(
    accelerator: bool, paid: bool, tried: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials: list[object] = []
    monkeypatch.setattr(trial, "check", trials.append)
    judge = dataclasses.replace(fakes.judge(Wordy(paid=paid)), accelerator=accelerator)
    refusals.refuse_new_judges(fakes.given_study(), [judge])
    assert len(trials) == tried


# ---------------------------------------------------------------------------------------------- readings, mitigations


class Analysis:
    name = "direction"

    def __init__(self, *subsets: str) -> None:
        self._wanted = set(subsets)

    def reads(self, subsets: set[str]) -> bool:
        return self._wanted <= subsets


def readings(design_: Design, *, analyses: Any = (), predictors: Any = (), sees: bool = True, **changes: Any) -> None:
    seen = fakes.CAPABILITIES | ({"activations"} if sees else set())
    backend = fakes.backend(Scripted(capabilities=frozenset(seen)))
    benchmarks = changes.get("benchmarks", (fakes.benchmark(),))
    refusals.refuse_readings(design_, analyses, predictors, benchmarks, backend)


def test_an_analysis_reads_activations_of_prompts_that_it_knows() -> None:
    readings(design(), analyses=[Analysis("harmful")])
    with pytest.raises(UsageError) as blind:
        readings(design(), analyses=[Analysis("harmful")], sees=False)
    assert str(blind.value) == (
        "analysis 'direction' needs activations, which backend 'scripted' does not show: leave it out, or ask the "
        "models on this machine"
    )
    with pytest.raises(UsageError) as idle:
        readings(design(), analyses=[Analysis("harmful"), Analysis("harmful", "harmless")])
    assert str(idle.value) == "analysis 'direction' reads none of this design's benchmarks: leave it out"


def test_an_analysis_does_not_read_prompts_made_of_tuning_rows() -> None:
    about = fakes.benchmark(Listed(needs=frozenset({"training"})))
    with pytest.raises(UsageError, match="reads none of this design's benchmarks"):
        readings(design(), analyses=[Analysis("harmful")], benchmarks=(about,))


def test_a_predictor_reads_the_data_of_arms() -> None:
    predictor = dataclasses.make_dataclass("Predictor", ["name", "needs"])("novelty", frozenset())
    readings(design(), predictors=[predictor], sees=False)
    given = design(corpus=None, arms=(), checkpoints=(Given("a", arm="x"),))
    with pytest.raises(UsageError) as error:
        readings(given, predictors=[predictor])
    assert str(error.value) == "predictor 'novelty' reads the data of arms: give [[arms]], or leave it out"


def test_further_weights_that_nobody_makes_are_refused_with_the_near_miss() -> None:
    half = PluginSpec("interpolation", {"shares": [0.5]})
    known = {digest(half): ResolvedMitigation.of(half, Interpolation())}

    def refuse(name: str, **changes: Any) -> None:
        contrast = Contrast("c", {f"keep/{name}": 1.0, "keep/lora": -1.0})
        recipes = (Recipe("lora", mitigations=(half,)), Recipe("full"))
        refusals.refuse_mitigations(
            design(**{"arms": (Arm("keep"),), "recipes": recipes, "contrasts": (contrast,), **changes}), known
        )

    refuse("lora+interpolation-0.5")
    with pytest.raises(UsageError) as error:
        refuse("lora+interpolation-0.6")
    assert str(error.value) == (
        "arm 'keep': no recipe 'lora+interpolation-0.6' (did you mean 'lora+interpolation-0.5'?)"
    )


def test_the_one_recipe_of_a_design_without_a_list_is_asked_for() -> None:
    warnings: list[str] = []
    assert refusals.recipes_here(design(recipe=Recipe("mine")), warnings) == [Recipe("mine")]
    assert warnings == []


# ---------------------------------------------------------------------------------------------- servers


@dataclasses.dataclass(frozen=True)
class Server(Scripted):
    """A server whose answers to `identify` a test can read."""

    asks_server: ClassVar[bool] = True
    served: Any = dataclasses.field(default_factory=dict)
    log: list[Any] = dataclasses.field(default_factory=list, compare=False)

    def begin(self) -> None:
        self.log.append("begin")

    def identify(self, names: Any) -> Mapping[str, Mapping[str, str]]:
        self.log.append(list(names))
        return {name: {"now": name} for name in names}


def declared(design_: Design, before: Design | None, server: Backend) -> Design:
    return with_declarations(design_, before, lambda spec: server if spec.name == "server" else Scripted())


SERVED = design(
    corpus=None, arms=(), bases=("b",), checkpoints=(Given("t", arm="x"),), backend=PluginSpec("server", {"url": "u"})
)


def test_what_a_run_knew_of_its_models_stands_and_only_new_ones_are_asked_for() -> None:
    server = Server()
    before = dataclasses.replace(SERVED, backend=PluginSpec("server", {"served": {"b": {"then": "b"}, "gone": {}}}))
    result = declared(SERVED, before, server)
    assert result.backend.parameters == {"url": "u", "served": {"b": {"then": "b"}, "t": {"now": "t"}}}
    assert server.log == ["begin", ["t"]], "a budget counts anew where a run goes on"
    assert declared(SERVED, result, again := Server()).backend == result.backend
    assert again.log == ["begin"], "nothing is left to ask"


def test_what_the_server_was_given_as_served_is_not_asked_for() -> None:
    server = Server(served={"b": {"said": "b"}, "t": {"said": "t"}})
    before = dataclasses.replace(SERVED, backend=PluginSpec("server", {"served": {"b": {"then": "b"}}}))
    served = declared(SERVED, before, server).backend.parameters["served"]
    assert served == {"b": {"said": "b"}, "t": {"said": "t"}}, "what stands in this design goes before"


def test_a_judge_that_was_added_since_is_asked_for_and_others_keep_theirs() -> None:
    own = {"name": "server", "url": "u"}
    local = PluginSpec("refusal")
    first = PluginSpec("rubric", {"model": "j", "backend": own})
    second = PluginSpec("rubric", {"model": "k", "backend": own})
    before = declared(design(judges=(first,)), None, Server())
    after = declared(design(judges=(first, local, second)), before, server := Server())
    assert after.judges[0] == before.judges[0]
    assert after.judges[1] == local
    assert after.judges[2].parameters["backend"] == {"name": "server", "url": "u", "served": {"k": {"now": "k"}}}
    assert server.log == ["begin", "begin", ["k"]]
    assert declared(after, after, again := Server()) == after
    assert again.log == ["begin", "begin"], "nothing is left to ask"
    assert after.backend == design().backend, "models on this machine declare nothing"


def test_a_server_answers_or_judges_or_neither_does() -> None:
    def load(spec: PluginSpec) -> Backend:
        return Server() if spec.name == "server" else Scripted()

    judged = design(judges=(PluginSpec("refusal"), PluginSpec("rubric", {"backend": "server"})))
    assert asks_servers(SERVED, load)
    assert asks_servers(judged, load)
    assert not asks_servers(design(), load)
    assert not asks_servers(design(judges=(PluginSpec("rubric", {"backend": "local"}),)), load)


def test_a_server_chooses_nothing() -> None:
    assert with_choice(SERVED, None, lambda _: Server(), ["/models/b"]) is SERVED


# ---------------------------------------------------------------------------------------------- missing


@pytest.fixture
def nothing_loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No model can be had; returns those that were asked for."""
    asked: list[str] = []

    def lost(name: str) -> Any:
        asked.append(name)
        raise ModelError(f"{name}: gated")

    monkeypatch.setattr(missing_module, "model", lost)
    return asked


def test_a_model_is_asked_for_once_however_often_it_is_named(nothing_loads: list[str]) -> None:
    twice = design(bases=("o/b",), checkpoints=(Given("o/b", arm="x"), Given("o/c", arm="x")), benchmarks=())
    found = missing_module.missing(twice, fetch=True)
    assert nothing_loads == ["o/b", "o/c"]
    assert found[0].short == "model o/b (`hf download o/b`)"
    assert found[0].full == (
        "model o/b: gated; accept its terms at https://huggingface.co/o/b if it has any, set HF_TOKEN to a read token, "
        "and run `hf download o/b`"
    )


def test_without_leave_the_hub_is_not_asked(nothing_loads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missing_module, "available", lambda name: name == "./here")
    found = missing_module.missing(design(bases=("o/b", "./here"), benchmarks=()), fetch=False)
    assert nothing_loads == ["./here"]
    assert [each.full.partition(";")[0] for each in found] == [
        "model o/b: not in the hub's cache",
        "model ./here: gated",
    ]
    assert found[1].short == "model ./here (no such folder, or not whole)"
    assert "hf download" not in found[1].full, "a folder is nothing to download"


def test_models_behind_a_server_are_not_missing(nothing_loads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missing_module, "load_backend", lambda _: Scripted(capabilities=frozenset()))
    assert missing_module.missing(design(bases=("o/b",), benchmarks=()), fetch=True) == []
    assert nothing_loads == []


@pytest.mark.parametrize(("error", "gated"), [("x: set HF_TOKEN", ", gated"), ("x: no such file", "")])
def test_a_missing_benchmark_says_whether_it_is_gated(error: str, gated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Far(Listed):
        def files(self) -> tuple[Path, ...]:
            raise DataError(error)

    monkeypatch.setattr(missing_module, "load_benchmark", lambda _: Far("far"))
    (row,) = missing_module.missing(design(), fetch=False)
    assert (row.short, row.full) == (f"benchmark far (`aftertune fetch far`{gated})", f"benchmark {error}")


# ---------------------------------------------------------------------------------------------- judge


def test_a_judge_joins_a_study_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = fakes.given_study()
    run = fakes.done(tmp_path / "run", study)
    monkeypatch.setattr(judging, "resolve_judge", lambda spec: dataclasses.replace(fakes.judge(), name=spec.name))
    monkeypatch.setattr(refusals, "refuse_new_judges", lambda *_: None)
    more = judging.with_judges(run, study, [PluginSpec("second"), PluginSpec("second"), PluginSpec("wordy")])
    assert [judge.name for judge in more.judges] == ["wordy", "second"]
    assert len(more.design.judges) == len(study.design.judges) + 1
    new = [job for job in more.jobs if job not in study.jobs]
    assert {job.kind for job in new} == {"verdicts"}
    assert len(new) == sum(job.kind == "verdicts" for job in study.jobs), "as many as the first judge has"
    assert judging.with_judges(run, study, [PluginSpec("wordy")]).jobs == study.jobs


def test_a_table_needs_a_file_for_its_verdicts_and_a_run_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="^judging a table or a log needs a file for the verdicts: give out$"):
        run_view.judge(tmp_path / "t.csv", "refusal")
    with pytest.raises(UsageError, match=r"^judge: out = v.csv: verdicts on a run go into the run; leave it out$"):
        run_view.judge(tmp_path, "refusal", "v.csv")
    with pytest.raises(UsageError, match="not a run folder"):
        run_view.judge(tmp_path, "refusal")


@pytest.mark.parametrize("judges", ["refusal", Path("own.toml"), PluginSpec("refusal")])
def test_one_judge_is_a_list_of_one(judges: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def judge_table(*args: Any) -> dict[tuple[str, str], int]:
        seen.append(args)
        return {("refusal", "full"): 1}

    monkeypatch.setattr(responses, "judge_table", judge_table)
    assert run_view.judge(tmp_path / "t.csv", judges, tmp_path / "v.csv") == {("refusal", "full"): 1}
    assert run_view.judge(str(tmp_path / "t.csv"), [judges, judges], str(tmp_path / "v.csv"))
    assert seen == [(tmp_path / "t.csv", each, tmp_path / "v.csv") for each in ([judges], [judges, judges])]


# ---------------------------------------------------------------------------------------------- thoughts


def test_template_arguments_that_change_nothing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}{% if enable_thinking %}<think>{% endif %}")
    base = dataclasses.replace(fakes.model(), path=str(tmp_path))
    given = design(respond=Respond(template_arguments={"enable_thinking": False}))
    refusals.refuse_template_arguments(given, [base])
    wrong = design(respond=Respond(template_arguments={"enable_thoughts": False}))
    with pytest.raises(UsageError, match=r"respond\.template_arguments\.enable_thoughts: .* never reads it"):
        refusals.refuse_template_arguments(wrong, [base])
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}{# no thinking #}{{ 'thinking' if enable_thinking }}")
    with pytest.raises(UsageError, match=r"template_arguments\.thinking: .* never reads it"):
        refusals.refuse_template_arguments(design(respond=Respond(template_arguments={"thinking": False})), [base])
    (tmp_path / "chat_template.jinja").unlink()
    several = [{"name": "tool_use", "template": "{{ thinking }}"}, {"name": "default", "template": "{{ messages }}"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": several}))
    with pytest.raises(UsageError, match=r"template_arguments\.thinking: .* never reads it"):
        refusals.refuse_template_arguments(design(respond=Respond(template_arguments={"thinking": False})), [base])
    with pytest.raises(UsageError, match=r"template_arguments\.tokenize: aftertune sets this itself"):
        design(respond=Respond(template_arguments={"tokenize": True}))
    for few in (0, -5):
        with pytest.raises(UsageError, match=rf"respond.answer_tokens = {few}: give at least 1, or leave it out"):
            design(respond=Respond(answer_tokens=few))
    with pytest.raises(UsageError, match=r"thought_tokens = -1: give 0 or more"):
        design(respond=Respond(thought_tokens=-1))
