"""What a study cannot have is refused in one line, before anything is loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests import fakes
from tests.fakes import Listed, Scripted, Wordy
from tests.forked_commands import LIGHT, Forks, forks

from aftertune.errors import AftertuneError, JudgeError, UsageError
from aftertune.models.session import Backend
from aftertune.plugins import PluginSpec
from aftertune.records import Arm, Data, Recipe, Respond
from aftertune.studies import refusals
from aftertune.studies.choices import judge_backend, with_choice, with_declarations
from aftertune.studies.design import Design, Given
from aftertune.studies.missing import available, missing
from aftertune.studies.study import unscored
from aftertune.tuning import tune

BOOKING = PluginSpec("booking", {"size": 8})


def design(**changes: Any) -> Design:
    fields: dict[str, Any] = {
        "name": "d", "bases": ("embedded",), "corpus": BOOKING, "arms": (Arm("keep"),), "seeds": (1,),
        "benchmarks": (PluginSpec("miniature", {"harmful": 2}),), "judges": (PluginSpec("refusal"),),
    }  # fmt: skip
    return Design(**{**fields, **changes})


def refused(call: Any, *arguments: Any, kind: type[AftertuneError] = UsageError) -> str:
    with pytest.raises(kind) as error:
        call(*arguments)
    message = str(error.value)
    assert "\n" not in message
    return message


# ---------------------------------------------------------------------------------------------- data


def test_a_study_without_questions_or_judges_is_refused() -> None:
    for changes in ({"benchmarks": ()}, {"judges": ()}):
        assert "at least one [[benchmarks]] and one [[judges]]" in refused(
            refusals.refuse_data, design(**changes), fakes.backend()
        )


def test_texts_that_nobody_can_score_are_refused_with_the_reason(tmp_path: Path) -> None:
    blind = fakes.backend(Scripted(capabilities=frozenset({"weights"})))
    message = refused(refusals.refuse_data, design(data=Data(canaries=2)), blind)
    assert message == (
        "[data] canaries and held_out are for scoring texts: backend 'transformers' cannot tell how probable a text is "
        "(it has no scores)"
    )
    refusals.refuse_data(design(data=Data(canaries=2)), fakes.backend())
    refusals.refuse_data(design(), blind)
    gone = str(tmp_path / "gone.jsonl")
    for data in (Data(non_members=gone), Data(canary_file=gone)):
        assert refused(refusals.refuse_data, design(data=data), fakes.backend()) == f"{gone}: no such file"


def test_why_texts_are_not_scored() -> None:
    given = (Given("a", arm="x"),)
    assert unscored(design(corpus=None, arms=(), checkpoints=given), fakes.backend()) == "no tuning data was given"
    assert unscored(design(), fakes.backend()).startswith("no held-out rows and no canaries were given")
    assert unscored(design(data=Data(held_out=1)), fakes.backend()) == ""


# ---------------------------------------------------------------------------------------------- needs


def meet(design_: Design, **changes: Any) -> None:
    fields: dict[str, Any] = {
        "corpora": (fakes.corpus(),), "benchmarks": (fakes.benchmark(),), "judges": (fakes.judge(),),
        "backend": fakes.backend(),
    }  # fmt: skip
    refusals.refuse_unmet(design_, **{**fields, **changes})


def test_what_needs_data_is_refused_without_them() -> None:
    meet(design())
    given = design(corpus=None, arms=(), checkpoints=(Given("a", arm="x"),))
    reader = fakes.judge(Wordy("reader", needs=frozenset({"registries"})))
    about = fakes.benchmark(Listed("about", needs=frozenset({"training"})))

    def judged() -> None:
        meet(given, corpora=(), judges=(reader,))

    def asked() -> None:
        meet(given, corpora=(), benchmarks=(about,))

    assert refused(judged) == "judge 'wordy' needs registries: give a [corpus] (--train-data), or leave it out"
    assert refused(asked) == "benchmark 'listed' needs training: give a [corpus] (--train-data)"


def test_what_needs_people_is_refused_where_there_are_none() -> None:
    reader = fakes.judge(Wordy("reader", needs=frozenset({"registries"})))
    nobody = refused(lambda: meet(design(), judges=(reader,)))
    assert nobody == "corpus: 'rows' holds no people, and judge 'wordy' needs registries; leave one of them out"
    wide = design(corpora={"extra": BOOKING}, arms=(Arm("keep"), Arm("far", corpus="extra")))
    assert "corpora.extra: 'rows' holds no people" in refused(
        lambda: meet(wide, corpora=(fakes.corpus("extra"),), judges=(reader,))
    )


def test_what_needs_held_out_rows_is_refused_without_them() -> None:
    task = fakes.benchmark(Listed("task", needs=frozenset({"held_out"})))
    message = refused(lambda: meet(design(), benchmarks=(task,)))
    assert message == "benchmark 'listed' needs held_out: give [data] held_out or --held-out"
    meet(design(data=Data(held_out=2)), benchmarks=(task,))


def test_a_checkpoint_whose_data_nobody_knows_is_refused() -> None:
    corpora = {"extra": BOOKING}
    lost = design(corpus=None, corpora=corpora, arms=(Arm("far", corpus="extra"),), checkpoints=(Given("a", arm="x"),))
    about = fakes.benchmark(Listed("about", needs=frozenset({"training"})))
    message = refused(lambda: meet(lost, corpora=(fakes.corpus("extra"),), benchmarks=(about,)))
    assert message == "checkpoints[0].corpus: benchmark 'listed' needs training: name one of [corpora.*]"


@dataclasses.dataclass(frozen=True)
class Scoring(Listed):
    scored_by: Any = "log_probability"
    scorable: Any = True


def test_log_probabilities_are_refused_where_the_backend_shows_none() -> None:
    blind = fakes.backend(Scripted(capabilities=frozenset({"weights"})))
    scoring = fakes.benchmark(Scoring())
    message = refused(lambda: meet(design(), benchmarks=(scoring,), backend=blind))
    assert message == (
        "benchmark 'listed': scored_by = 'log_probability' needs log-probabilities, which backend 'scripted' does not "
        "show: give scored_by = 'generation'"
    )
    meet(design(), benchmarks=(scoring,))
    assert refusals.generation_only((scoring,), fakes.backend()) == []
    assert "by generation only" in refusals.generation_only((scoring, fakes.benchmark()), blind)[0]
    assert len(refusals.generation_only((scoring, fakes.benchmark()), blind)) == 1


@dataclasses.dataclass(frozen=True)
class Server(Scripted):
    """Answers under names; says of each what it serves."""

    asks_server: ClassVar[bool] = True
    served: Any = dataclasses.field(default_factory=dict)
    limited: Any = False
    asked: list[str] = dataclasses.field(default_factory=list, compare=False)

    def identify(self, names: Any) -> Any:
        self.asked.extend(names)
        return {name: {"asked": name, "replied": f"{name}-1"} for name in names}


def test_a_server_cannot_tune_and_writes_its_own_template() -> None:
    server = fakes.backend(Server())
    assert "asks a server, which cannot tune" in refused(lambda: meet(design(), backend=server))
    given = design(corpus=None, arms=(), checkpoints=(Given("a", arm="x"),), respond=Respond(template="own"))
    assert "template 'own': the server writes" in refused(lambda: meet(given, corpora=(), backend=server))


# ---------------------------------------------------------------------------------------------- judges


def test_two_judges_of_one_name_are_refused() -> None:
    message = refused(refusals.refuse_self_judging, [fakes.judge(), fakes.judge(Wordy(strict=1))], {})
    assert message.startswith("two judges are called 'wordy'")


@pytest.mark.parametrize("own", ["identity of m", "embedded"])
def test_a_model_does_not_judge_itself(own: str) -> None:
    message = refused(
        refusals.refuse_self_judging, [fakes.judge(Wordy(own=own))], {"embedded": fakes.model()}, kind=JudgeError
    )
    assert message.endswith("embedded is the model under test, which may not judge itself: name another model")
    refusals.refuse_self_judging([fakes.judge(Wordy(own="other"))], {"embedded": fakes.model()})


# ---------------------------------------------------------------------------------------------- machine


def test_a_recipe_in_four_bits_is_left_out_or_refused_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "no_four_bits", lambda recipe: "" if recipe.without_gpu == "run" else "no GPU")
    four = Recipe("four", method="qlora", without_gpu="leave_out")
    warnings: list[str] = []
    both = design(recipes=(Recipe("plain"), four))
    assert [recipe.name for recipe in refusals.recipes_here(both, warnings)] == ["plain"]
    assert warnings == ["recipe 'four' is left out, as the design says: no GPU"]
    assert refused(refusals.recipes_here, design(recipes=(four,)), []) == (
        "every recipe is left out on this machine: no GPU"
    )
    must = design(recipes=(dataclasses.replace(four, without_gpu="refuse"),))
    assert refusals.recipes_here(must, warnings) == list(must.recipes), "planned anywhere"
    assert "recipe 'four', method 'qlora': no GPU" in refused(refusals.refuse_machine, must)
    refusals.refuse_machine(design(recipes=(dataclasses.replace(four, without_gpu="run"),)))
    refusals.refuse_machine(both)


def test_a_server_is_asked_by_one_process() -> None:
    from tests.studies.test_stored import small

    study = dataclasses.replace(small(), backend=fakes.backend(Server()))
    assert refusals.suitable_executor(study, PluginSpec("local")) == PluginSpec("local", {"workers": 1})
    for several in (PluginSpec("ray"), PluginSpec("local", {"workers": 2})):
        assert "kept by one process" in refused(refusals.suitable_executor, study, several)
    assert refusals.suitable_executor(small(), PluginSpec("ray")) == PluginSpec("ray")


# ---------------------------------------------------------------------------------------------- before anything loads


RESOLVE = """
from pathlib import Path
from aftertune.studies.design import read
from aftertune.studies.resolve import resolve
from aftertune.errors import UsageError
try:
    resolve(read(Path(sys.argv[1])))
except UsageError as error:
    print(error)
"""
BOTH = '[[benchmarks]]\nname = "miniature"\n[[judges]]\nname = "refusal"\n'


@pytest.fixture(scope="module", name="forked")
def _forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    with forks(tmp_path_factory.mktemp("said"), [*LIGHT, "aftertune.studies.resolve"]) as forked:
        yield forked


@pytest.mark.parametrize(
    ("text", "line", "at_once"),
    [
        ('[[benchmarks]]\nname = "miniatur"', "no benchmark called 'miniatur' (did you mean 'miniature'?)", True),
        ('[[benchmarks]]\nname = "miniature"\nharmfull = 2',
         "benchmark 'miniature' has no parameter 'harmfull' (did you mean 'harmful'?)", True),
        ('[corpora.more]\nname = "bookin"\n[[arms]]\nname = "far"\ncorpus = "more"',
         "no corpus called 'bookin' (did you mean 'booking'?)", True),
        (f'{BOTH}[backend]\nname = "transfomers"', "no backend called 'transfomers' (did you mean 'transformers'?)", True),
        (f'{BOTH}[[judges]]\nname = "refusl"', "no judge called 'refusl' (did you mean 'refusal'?)", False),
        (f'{BOTH}[[judges]]\nname = "refusal"', "two judges are called 'refusal'", False),
        (f'{BOTH}[[recipe.mitigations]]\nname = "interpolatio"',
         "no mitigation called 'interpolatio' (did you mean 'interpolation'?)", False),
        ("", "at least one [[benchmarks]] and one [[judges]]", False),
    ],
)  # fmt: skip
def test_a_wrong_name_is_one_line_with_the_near_miss_before_anything_is_loaded(
    forked: Forks, tmp_path: Path, text: str, line: str, at_once: bool
) -> None:
    """Where it is known at once, torch is not even imported; a backend asks it about this machine's memory."""
    head = 'name = "d"\nseeds = [1]\n[corpus]\nname = "booking"\nsize = 8\n[[arms]]\nname = "keep"\n'
    (tmp_path / "d.toml").write_text(f"{head}{text}\n")
    done = forked.run(tmp_path / "d.toml", cwd=tmp_path, code=RESOLVE)
    assert done.returncode == 0, done.stderr
    (message,) = done.stdout.strip().splitlines()
    assert line in message
    assert done.heavy in (([],) if at_once else ([], ["torch"]))


# ---------------------------------------------------------------------------------------------- choices


def choose(design_: Design, before: Design | None, backends: dict[str, Backend]) -> Design:
    """As `resolve` does: what servers declare, then how the backend answers."""

    def load(spec: PluginSpec) -> Backend:
        return backends[spec.name]

    declared = with_declarations(design_, before, load)
    return with_choice(declared, before, load, [f"/models/{base}" for base in declared.bases])


@dataclasses.dataclass(frozen=True)
class Choosing(Scripted):
    chosen_parameters: Any = ("adapters",)
    bases: list[str] = dataclasses.field(default_factory=list, compare=False)

    def choose(self, bases: Any, ranks: Any = ()) -> Any:
        self.bases.extend(bases)
        return {"adapters": "unmerged"}


def test_a_backend_chooses_once_and_a_run_is_continued_as_it_began() -> None:
    backend = Choosing()
    plain = design(backend=PluginSpec("choosing", {"dtype": "float32"}))
    chosen = choose(plain, None, {"choosing": backend})
    assert chosen.backend == PluginSpec("choosing", {"adapters": "unmerged", "dtype": "float32"})
    assert backend.bases == ["/models/embedded"]
    before = design(backend=PluginSpec("choosing", {"adapters": "merged", "dtype": "bfloat16"}))
    again = choose(plain, before, {"choosing": backend})
    assert again.backend == PluginSpec("choosing", {"adapters": "merged", "dtype": "float32"}), "what was chosen then"
    assert backend.bases == ["/models/embedded"], "nobody chooses twice"
    explicit = design(backend=PluginSpec("choosing", {"adapters": "merged"}))
    assert choose(explicit, None, {"choosing": backend}).backend.parameters["adapters"] == "merged"


def test_a_server_says_what_it_serves_once() -> None:
    server = Server()
    asked = design(
        corpus=None, arms=(), checkpoints=(Given("tuned", arm="x"),), bases=("plain",), backend=PluginSpec("server"),
        judges=(PluginSpec("rubric", {"model": "arbiter", "backend": "server"}), PluginSpec("refusal")),
    )  # fmt: skip
    first = choose(asked, None, {"server": server})
    assert server.asked == ["arbiter", "plain", "tuned"]
    assert set(first.backend.parameters["served"]) == {"plain", "tuned"}
    assert first.judges[0].parameters["backend"] == {
        "name": "server", "served": {"arbiter": {"asked": "arbiter", "replied": "arbiter-1"}},
    }  # fmt: skip
    assert first.judges[1] == PluginSpec("refusal")
    assert choose(asked, first, {"server": server}) == first
    assert server.asked == ["arbiter", "plain", "tuned"], "what stands in the run is not asked for again"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None), ("endpoint", PluginSpec("endpoint")), ({"name": "endpoint", "url": "u"}, PluginSpec("endpoint", {"url": "u"})),
        ({"url": "u"}, None), (3, None),
    ],
)  # fmt: skip
def test_the_backend_of_a_judge(given: object, expected: PluginSpec | None) -> None:
    assert judge_backend(PluginSpec("rubric", {"backend": given} if given is not None else {})) == expected


# ---------------------------------------------------------------------------------------------- missing


def test_what_this_machine_lacks_is_named_with_what_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFTERTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    gone = str(tmp_path / "gone")
    lacking = missing(
        design(
            bases=("embedded", "nobody/nothing"),
            corpora={"extra": PluginSpec("chat_file", {"path": f"{gone}.jsonl"})},
            arms=(Arm("keep"), Arm("far", corpus="extra")),
            checkpoints=(Given(gone, base="embedded", arm="x"),),
            benchmarks=(PluginSpec("miniature"), PluginSpec("xstest")),
        ),
        fetch=False,
    )
    assert [row.short for row in lacking] == [
        "model nobody/nothing (`hf download nobody/nothing`)",
        f"model {gone} (no such folder, or not whole)",
        "benchmark xstest (`aftertune fetch xstest`)",
        f"corpus extra (put {gone}.jsonl there)",
    ]
    assert all("\n" not in row.full for row in lacking)
    assert missing(design(), fetch=False) == []
    assert [available(name) for name in ("embedded", "embedded:mini-b", gone, "nobody/nothing", "a/b/c/d")] == [
        True, True, True, False, True,
    ]  # fmt: skip
