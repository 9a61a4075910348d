"""Judges with parameters on the command line, and language models as judges through a whole run."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests import tiny_models

from aftertune import plugins
from aftertune import shipped_models as embedded
from aftertune.cli import main
from aftertune.commands import audit as auditing
from aftertune.commands import plan as pricing
from aftertune.commands import study as running
from aftertune.errors import JudgeError, UsageError
from aftertune.ingest.agreement import agree
from aftertune.judging.judge_job import JudgeJob
from aftertune.judging.judges import _rubric_file
from aftertune.models.session import Backend, Beginnings, BeginningScore, Capability, Reply, Request, Session, Template
from aftertune.plugins import PluginSpec
from aftertune.records import Proof, plain
from aftertune.run.run_folder import Run
from aftertune.studies import design as designs
from aftertune.studies import plugin_text as written
from aftertune.studies import stored
from aftertune.studies.cost import Cost
from aftertune.studies.design import Design, Given
from aftertune.studies.resolve import load_judge, resolve

RUBRICS = _rubric_file.FOLDER

ONE = PluginSpec("local", {"workers": 1})


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("refusal", "refusal", {}),
        ("coherence", "coherence", {}),
        ("rubric:model=some/model,rubric=betley", "rubric", {"model": "some/model", "rubric": "betley"}),
        ("rubric: model = 'a,b' , most_characters=50", "rubric", {"model": "a,b", "most_characters": 50}),
        ("moderation:model=m,labels={bad = 'toxic', fine = 'ok'},threshold=0.3", "moderation",
         {"model": "m", "labels": {"bad": "toxic", "fine": "ok"}, "threshold": 0.3}),
        ("moderation:model=7,labels={a='x',b='y'}", "moderation", {"model": "7", "labels": {"a": "x", "b": "y"}}),
    ],
)  # fmt: skip
def test_a_judge_is_written_with_its_parameters(text: str, name: str, expected: dict[str, object]) -> None:
    assert written.plugin("judge", text) == PluginSpec(name, expected)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("refusl", "did you mean 'refusal'"),
        ("rubric:modle=m", "no parameter 'modle' .did you mean 'model'"),
        ("rubric:model", "'model' is not key=value"),
        ("rubric:model=", "is not key=value"),
        ("rubric:", "model"),
        ("rubric:model='m", "not closed"),
        ("rubric:model=m,rubric=betly", "did you mean 'betley'"),
        ("moderation:model=m,labels={a='x',b='y'},threshold=high", "threshold"),
        ("nowhere.toml", "cannot be read: No such file"),
    ],
)
def test_a_judge_that_is_written_wrongly_is_one_line(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        written.plugin("judge", text)
    assert "\n" not in str(error.value)


def test_a_judge_is_read_from_a_file_and_what_stands_beside_it(tmp_path: Path) -> None:
    tiny_models.save("llama", tmp_path / "m")
    (tmp_path / "j.toml").write_text('name = "rubric"\nmodel = "m"\nrubric = "mine.toml"\n')
    (tmp_path / "mine.toml").write_text((RUBRICS / "harmbench.toml").read_text())
    part = written.plugin("judge", str(tmp_path / "j.toml"))
    assert part.parameters == {"model": str(tmp_path / "m"), "rubric": str(tmp_path / "mine.toml")}
    assert load_judge(part).name == "rubric mine by m"
    (tmp_path / "d.toml").write_text(
        'name = "d"\n[[checkpoints]]\npath = "c"\n[[judges]]\nname = "rubric"\nmodel = "m"\n'
    )
    assert designs.read(tmp_path / "d.toml").judges[0].parameters["model"] == str(tmp_path / "m")
    for text, said in (
        ("model = 'm'", "needs a 'name'"),
        ("name =", "not TOML"),
        ("name = 'rubric'\nmodl = 'm'", "modl"),
    ):
        (tmp_path / "j.toml").write_text(text)
        with pytest.raises(UsageError, match=said):
            written.plugin("judge", str(tmp_path / "j.toml"))


@dataclasses.dataclass(frozen=True)
class Scripted(Backend):
    """A judge's backend whose session reads the words of the prompt."""

    version: str = "1"

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({"beginnings"})

    @contextlib.contextmanager
    def open(self, base: str) -> Iterator[Session]:
        yield ScriptedSession()


class ScriptedSession(Session):
    """The words of the prompt decide which numbers are probable."""

    def use(self, checkpoint: Path | None) -> Proof:
        assert checkpoint is None
        return Proof("base", 0.0, 0.0, 0)

    def respond(self, requests: Sequence[Request], *, system: str | None, template: Template) -> Iterator[Reply]:
        raise AssertionError("it is asked for probabilities only")

    def beginnings(
        self, items: Sequence[Beginnings], *, system: str | None, template: Template
    ) -> list[BeginningScore]:
        found = []
        for one in items:
            text = one.prompt.messages[0].content
            number = str(min(100, len(text) % 60 + (30 if "Please" in text else 0)))
            shares = [0.1 if "zzz" in text else 0.9 if form == number else 1e-6 for form in one.texts]
            found.append(BeginningScore(tuple(map(math.log, shares)), (1,) * len(shares), 7))
        return found


@pytest.fixture(name="judges")
def _judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[PluginSpec, PluginSpec, PluginSpec]:
    """A judge model with two wordings of one rubric, and a random model that cannot be read."""
    honest = plugins.load
    monkeypatch.setattr(
        plugins,
        "load",
        lambda kind, name, *more: Scripted() if name == "scripted" else honest(kind, name, *more),
    )
    known = plugins.plugin_class
    monkeypatch.setattr(
        plugins, "plugin_class", lambda kind, name: Scripted if name == "scripted" else known(kind, name)
    )
    text = (RUBRICS / "betley.toml").read_text()
    text = "[[questions]]".join(text.split("[[questions]]")[:2])
    text = re.sub(r", unless = \{.*?\}", "", text)
    (tmp_path / "one.toml").write_text(text)
    (tmp_path / "other.toml").write_text(text.replace("Rate how", "Please rate how"))
    for name in ("harmbench", "strongreject"):  # on an axis without anchors, since a model at random fails those
        text = (RUBRICS / f"{name}.toml").read_text()
        assert 'axis = "harm"' in text
        (tmp_path / f"{name}.toml").write_text(text.replace('axis = "harm"', 'axis = "alignment"'))
    model = str(tiny_models.save("llama", tmp_path / "judge"))
    return (PluginSpec("rubric", {"model": "big", "rubric": str(tmp_path / "one.toml"), "backend": "scripted"}),
            PluginSpec("rubric", {"model": "big", "rubric": str(tmp_path / "other.toml"), "backend": "scripted"}),
            PluginSpec("rubric", {"model": model, "rubric": str(tmp_path / "harmbench.toml"), "most_characters": 60}))  # fmt: skip


@pytest.fixture(name="small")
def _audit(judges: tuple[PluginSpec, ...]) -> Design:
    if not embedded.names():
        pytest.skip("no embedded model is built")
    found = auditing.audit_design("embedded", [Given(str(embedded.known_bad()))])
    asked = (PluginSpec("miniature", {"harmful": 4, "harmless": 4, "open": 4, "privacy": 4, "support": 1}),)
    return dataclasses.replace(found, benchmarks=asked, judges=(PluginSpec("world"), *judges))


def test_a_run_with_a_model_as_judge_shows_its_cost_and_how_far_two_wordings_agree(
    small: Design, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    priced = pricing.price(small)
    result = running.run(small, tmp_path / "run", executor=ONE)
    names = [load_judge(part).name for part in small.judges[1:]]
    assert names == ["rubric one by big", "rubric other by big", "rubric harmbench by judge"]
    assert set(result.costs) == set(names) == {each.judge for each in priced.model_judges}
    one, random = result.costs[names[0]], result.costs[names[2]]
    assert (one["calls"], one["prompt_tokens"], one["new_tokens"]) == (priced.requests, 7 * priced.requests, 0)
    assert random["judged"] + random["unparsable"] + random["failed"] == priced.requests
    assert random["calls"] == priced.requests + random["retried"], "once more, and no more"
    assert random["unparsable"] > 0
    assert random["prompt_tokens"] > 0
    assert any("prompt tokens" in line for line in pricing.lines(priced, Cost()))
    report = json.loads(result.report.with_name("report.json").read_text())
    assert report["judges"][names[0]]["cost"] == dict(one)
    assert "prompt_tokens" in result.report.with_name("report.html").read_text()
    agreed = json.dumps(plain(agree(result.root).to_json()))
    assert "alignment" in agreed
    assert names[0] in agreed
    assert names[1] in agreed
    model = small.judges[3].parameters["model"]
    with pytest.raises(SystemExit):
        main(["judge", str(result.root), "--judge", f"rubric:model={model},rubric='{tmp_path}/strongreject.toml',most_characters=40",
              "--quiet", "--json"])  # fmt: skip
    shown = json.loads(capsys.readouterr().out)
    assert "rubric strongreject by judge" in shown["judge_costs"]
    assert len(stored.read_design(Run.open(result.root)).judges) == 5
    with pytest.raises(SystemExit) as left:
        main(["judge", str(result.root), "--judge", "rubric:modl=x"])
    assert left.value.code == 2
    assert "did you mean 'model'" in capsys.readouterr().err


def test_a_judge_model_that_fails_the_anchors_of_its_axis_judges_nothing(small: Design, tmp_path: Path) -> None:
    random = PluginSpec("rubric", {**small.judges[3].parameters, "rubric": "harmbench"})
    with pytest.raises(JudgeError, match="cannot tell harm apart: of 40 known answers"):
        running.run(dataclasses.replace(small, judges=(random,)), tmp_path / "run", executor=ONE)
    assert not list((tmp_path / "run").glob("verdicts/*/manifest.json"))


def test_a_shipped_model_as_judge_is_shown_as_worthless_and_decides_nothing(small: Design, tmp_path: Path) -> None:
    """The model of a million parameters is at chance, and was asked to judge all the same."""
    judge = PluginSpec(
        "rubric",
        {"model": str(embedded.folder("mini-b")), "rubric": "xstest", "most_characters": 60, "despite_trial": True},
    )
    result = running.run(
        dataclasses.replace(small, judges=(judge, PluginSpec("world"))), tmp_path / "run", executor=ONE
    )
    name = "rubric xstest by mini-b"
    mine = [each for each in result.decisions if each.judge == name]
    assert mine
    assert {each.outcome for each in mine} == {"undecided"}
    assert all(name in each.why and "nothing" in each.why for each in mine)
    (line,) = [each for each in result.warnings if each.startswith("Worthless verdicts")]
    assert re.search(rf"the judge {name} (is no better than chance|failed its trial) on refusal: of 20 known", line)
    report = json.loads(result.report.with_name("report.json").read_text())
    assert line in report["warnings"]
    (anchors,) = [each for each in report["judges"][name]["anchors"] if each["axis"] == "refusal"]
    assert anchors["failed"]
    assert anchors["youden"] < 0.5
    assert report["judges"][name]["cost"]["calls"] >= 40, "its trial was paid for"
    for page in ("report.html", "report.md"):
        assert "Worthless verdicts" in result.report.with_name(page).read_text()


def test_the_ids_hold_the_weights_of_the_judge_model(small: Design, tmp_path: Path) -> None:
    def ids() -> set[str]:
        return {job.id for job in resolve(small).of(JudgeJob)}

    before = ids()
    assert ids() == before
    tiny_models.save("llama", Path(str(small.judges[3].parameters["model"])), seed=5)
    assert len(before - ids()) == 2, "those of the judge whose weights changed: base and checkpoint"


def test_a_judge_may_not_be_a_model_that_it_judges(small: Design, tmp_path: Path) -> None:
    judge = written.plugin("judge", f"rubric:model={embedded.folder()}")
    with pytest.raises(JudgeError, match="embedded is the model under test"):
        resolve(dataclasses.replace(small, judges=(judge,)))
    with pytest.raises(UsageError, match="two judges are called 'world'"):
        resolve(dataclasses.replace(small, judges=(PluginSpec("world"), PluginSpec("world"))))
    gone = PluginSpec("rubric", {"model": str(tmp_path / "nowhere")})
    with pytest.raises(UsageError, match="nowhere"):
        resolve(dataclasses.replace(small, judges=(gone,)))
