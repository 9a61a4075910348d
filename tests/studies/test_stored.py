"""A study is written into its run and read back as it was, its plugins apart."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests import fakes
from tests.fakes import Listed, Rows, Wordy

from aftertune.asking.ask_job import AskJob
from aftertune.deciding import policy
from aftertune.errors import StoreError, UsageError
from aftertune.models.subject import ModelRecord
from aftertune.plugins import PluginSpec, Resolved
from aftertune.records import Accumulation, Arm, Contrast, Data, Metric, Probe, Recipe, Respond, digest
from aftertune.run.checksums import seal, unseal
from aftertune.run.run_folder import Run
from aftertune.studies import stored
from aftertune.studies.closing_tables import Column, Row, StudyTable
from aftertune.studies.cost import Cost
from aftertune.studies.design import Design, Given
from aftertune.studies.jobs import Jobs
from aftertune.studies.study import Study
from aftertune.tuning.mitigations.interpolation import Interpolation
from aftertune.tuning.resolved import ResolvedMitigation

METRIC = "listed/harmful/refusal=full"


@dataclasses.dataclass(frozen=True)
class Rich(Listed):
    """With everything that a study keeps of a benchmark."""

    @property
    def probes(self) -> tuple[Probe, ...]:
        return (Probe("p", "harmful", "other"),)

    @property
    def accumulations(self) -> tuple[Accumulation, ...]:
        return (Accumulation("harmful", "leak rate"),)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (*super().metrics, Metric(self.name, "harmful", "harm", None, "up"))


def study(design: Design, models: tuple[ModelRecord, ...]) -> Study:
    """Resolve a design with plugins that are looked up nowhere."""
    corpora = tuple(fakes.corpus(name, Rows(3)) for name in design.sources)
    benchmarks = (
        fakes.benchmark(Rich()),
        fakes.benchmark(Listed("about", needs=frozenset({"training", "people"}) if corpora else frozenset())),
    )
    judges = (fakes.judge(), fakes.judge(Wordy("reader", needs=frozenset({"registries"}) if corpora else frozenset())))
    recipes = design.recipes or (design.recipe,)
    mitigations = {
        digest(spec): ResolvedMitigation.of(spec, Interpolation(**spec.parameters)) for spec in design.mitigations
    }
    jobs = Jobs(design, corpora, None, benchmarks, judges, fakes.backend(), recipes, mitigations)
    adapters = {given.path: fakes.model(given.path, kind="adapter", warnings=("w",)) for given in design.checkpoints}
    jobs.add(
        {model: [(g, adapters[g.path]) for g in design.checkpoints if g.base in ("", model.name)] for model in models}
    )
    return Study(
        design=design,
        bases=models,
        subjects=tuple(jobs.subjects),
        corpora=corpora,
        non_members=fakes.corpus("non_members") if corpora else None,
        benchmarks=benchmarks,
        judges=judges,
        backend=fakes.backend(),
        policy=policy.load(design.policy),
        analyses=(),
        predictors=(),
        jobs=tuple(jobs.made),
        warnings=("a warning \N{SNOWMAN}",),
    )


NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9._+-]{0,8}", fullmatch=True).filter(
    lambda name: (
        name.lower() not in ("base", "source", "con", "prn", "aux", "nul") and name[:3].lower() not in ("com", "lpt")
    )
)
TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12)


@st.composite
def designs(draw: st.DrawFn) -> Design:
    """Draw a design with several of everything."""
    bases = tuple(draw(st.lists(NAMES, min_size=1, max_size=3, unique=True)))
    several = draw(st.booleans())
    corpora = {"extra": PluginSpec("rows", {"note": draw(TEXTS), "deep": {"list": [1, 2.5, True]}})} if several else {}
    recipes = (
        Recipe("plain", epochs=draw(st.integers(1, 3)), learning_rate=draw(st.floats(1e-6, 1.0))),
        Recipe("mended", epochs=1, mitigations=(PluginSpec("interpolation", {"shares": [0.5]}),)),
    )
    arms = [Arm(name, tokens=draw(st.none() | st.integers(1, 9))) for name in draw(
        st.lists(NAMES, min_size=2, max_size=4, unique_by=str.lower))]  # fmt: skip
    if several:
        arms.append(Arm("far-away", corpus="extra", recipes=("plain",)))
    first, second = arms[0].name, arms[1].name
    checkpoints = [
        Given(f"adapter-{index}", base=draw(st.sampled_from(bases)), arm=first, recipe=f"given{index}", seed=index)
        for index in range(draw(st.integers(0, 2)))
    ]
    rows = tuple(Row(f"row {base}", first, recipe="plain", base=base, published={"M": 1.5}) for base in bases)
    table = StudyTable(draw(TEXTS), (Column("M", metric=METRIC),), rows, supports=draw(TEXTS))
    return Design(
        name="drawn",
        bases=bases,
        corpus=PluginSpec("rows"),
        corpora=corpora,
        arms=tuple(arms),
        data=Data(canaries=draw(st.integers(0, 2)), held_out=draw(st.integers(0, 2))),
        recipes=recipes,
        seeds=tuple(draw(st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True))),
        checkpoints=tuple(checkpoints),
        benchmarks=(PluginSpec("listed"),),
        judges=(PluginSpec("wordy"),),
        respond=Respond(
            temperatures=tuple(draw(st.lists(st.floats(0, 2), min_size=1, max_size=2, unique=True))),
            epochs=draw(st.sampled_from(["last", "all"])),
            system=draw(TEXTS),
        ),
        contrasts=(Contrast("c", {first: 1.0, second: -1.0}), Contrast("d", {f"{first}/plain": 0.5, f"{second}/plain": -0.5})),
        policy=draw(st.sampled_from(["default", "strict", "research"])),
        tables=(table,),
        cost=Cost(rows={"extra": 3}),
    )  # fmt: skip


@settings(
    max_examples=30,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(design=designs(), declared=st.dictionaries(NAMES, TEXTS, max_size=2))
def test_what_is_read_back_is_equal_field_by_field(
    design: Design, declared: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    models = tuple(fakes.model(name, declared=declared) for name in design.bases)
    made = study(design, models)
    root = tmp_path_factory.mktemp("drawn") / "run"
    stored.begin(root, made, {})
    back = stored.read(Run.open(root))
    for each in dataclasses.fields(Study):
        assert getattr(back, each.name) == getattr(made, each.name), each.name
    for before, after in zip(made.jobs, back.jobs, strict=True):
        assert type(after) is type(before)
        for each in dataclasses.fields(before):
            old, new = getattr(before, each.name), getattr(after, each.name)
            assert type(new) is type(old), (before.kind, each.name)
            assert new == old, (before.kind, each.name)
    every: tuple[Resolved[Any], ...] = (*back.benchmarks, *back.judges, *back.corpora, back.backend)
    assert all(resolved.plugin is None for resolved in every)
    assert back.names is not None
    assert [back.name_of(subject) for subject in back.subjects] == [made.name_of(subject) for subject in made.subjects]
    assert back.metrics == made.metrics
    written = (root / "study.json").read_bytes()
    stored.begin(root, made, {})
    assert (root / "study.json").read_bytes() == written, "a run that is continued is as it was"


def small() -> Study:
    design = Design(name="d", bases=("m",), corpus=PluginSpec("rows"), arms=(Arm("keep"),), recipe=Recipe())
    return study(design, (fakes.model(),))


def test_plugins_are_asked_for_by_name_where_they_are_gone(tmp_path: Path) -> None:
    stored.begin(tmp_path / "run", small(), {})
    back = stored.read(Run.open(tmp_path / "run"))
    every: tuple[Resolved[Any], ...] = (*back.benchmarks, *back.judges, *back.corpora, back.backend)
    for resolved in every:
        with pytest.raises(StoreError, match=f"'{resolved.name}'.*run the command that began this run again"):
            resolved.get()


def edited(fields: dict[str, Any], kind: str) -> dict[str, Any]:
    """Damage a study so that its checksum holds all the same: it was written by another version."""
    job = fields["jobs"][0]
    if kind == "a job of an unknown kind":
        job["kind"] = "teas"
    elif kind == "a job without a field":
        del job["data_seed"]
    elif kind == "a job with another field":
        job["colour"] = "red"
    elif kind == "a record that is not there":
        job["base"] = "0" * 16
    elif kind == "no jobs":
        del fields["jobs"]
    elif kind == "no table of a kind":
        fields["shared"].pop("Subject")
    elif kind == "a list where a record was":
        fields["study"]["policy"] = [1, 2]
    elif kind == "a number where records were":
        fields["study"]["subjects"] = 3
    else:
        assert kind == "no study"
        fields["study"] = None
    return fields


@pytest.mark.parametrize(
    "kind",
    [
        "a job of an unknown kind", "a job without a field", "a job with another field", "a record that is not there",
        "no jobs", "no table of a kind", "a list where a record was", "a number where records were", "no study",
    ],
)  # fmt: skip
def test_a_study_of_another_version_is_one_line(tmp_path: Path, kind: str) -> None:
    stored.begin(tmp_path / "run", small(), {})
    path = tmp_path / "run" / "study.json"
    path.write_bytes(seal(edited(unseal(path.read_bytes()), kind)))
    with pytest.raises(StoreError, match=r"study\.json: damaged, or of another version .*put a copy back") as error:
        stored.read(Run.open(tmp_path / "run"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"a": 1, "#": "0"}', b"null", b"9" * 5000])
def test_a_damaged_study_is_one_line(tmp_path: Path, content: bytes) -> None:
    stored.begin(tmp_path / "run", small(), {})
    path = tmp_path / "run" / "study.json"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"study\.json: damaged or missing") as error:
        stored.read(Run.open(tmp_path / "run"))
    assert "\n" not in str(error.value)
    path.unlink()
    with pytest.raises(StoreError, match=r"study\.json: damaged or missing"):
        stored.read(Run.open(tmp_path / "run"))


def test_any_flipped_byte_is_noticed(tmp_path: Path) -> None:
    stored.begin(tmp_path / "run", small(), {})
    path = tmp_path / "run" / "study.json"
    whole = path.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 200)):
        other = b"x" if whole[at : at + 1] != b"x" else b"y"
        if whole[at : at + 1].isspace():
            continue
        path.write_bytes(whole[:at] + other + whole[at + 1 :])
        with pytest.raises(StoreError):
            stored.read(Run.open(tmp_path / "run"))


def test_a_run_whose_study_was_half_replaced_is_continued(tmp_path: Path) -> None:
    """As where the process was killed after it wrote the study, before it wrote the design."""
    made = small()
    root = tmp_path / "run"
    run = stored.begin(root, made, {})
    before = (root / "design.toml").read_bytes()
    more = dataclasses.replace(made, design=dataclasses.replace(made.design, cost=Cost(tflops=1.0)))
    stored.write(run, more)
    (root / "design.toml").write_bytes(before)
    with pytest.raises(StoreError, match="run the command that began this run again"):
        stored.read(run)
    assert stored.continued(root, more.design) == more.design
    assert stored.read(stored.begin(root, more, {})) == more


def test_a_design_that_is_another_is_refused_by_what_differs(tmp_path: Path) -> None:
    made = small()
    stored.begin(tmp_path / "run", made, {})
    other = dataclasses.replace(made.design, seeds=(7,), confidence=0.9)
    with pytest.raises(UsageError, match=r"different: seeds, confidence\); choose another folder") as error:
        stored.continued(tmp_path / "run", other)
    assert "\n" not in str(error.value)
    assert stored.continued(tmp_path / "run", dataclasses.replace(made.design, cost=Cost(tflops=1.0))) is not None
    assert stored.continued(tmp_path / "nowhere", made.design) is None


def test_another_chat_template_beside_the_same_weights_is_refused(tmp_path: Path) -> None:
    made = small()
    stored.begin(tmp_path / "run", made, {})
    other = study(made.design, (fakes.model(identity="another", weights_hash=made.bases[0].weights_hash),))
    with pytest.raises(
        UsageError, match="since the run began, m got another configuration, tokenizer or chat template"
    ):
        stored.begin(tmp_path / "run", other, {})


def test_a_study_of_a_thousand_checkpoints_is_small(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    design = Design(
        name="wide",
        bases=("m", "n"),
        corpus=PluginSpec("rows"),
        arms=tuple(Arm(f"arm-{index}") for index in range(5)),
        recipes=(Recipe("a"), Recipe("b")),
        seeds=tuple(range(50)),
    )
    made = study(design, (fakes.model("m"), fakes.model("n")))
    assert len(made.subjects) == 1002
    run = stored.begin(tmp_path / "run", made, {})
    size = (run.root / "study.json").stat().st_size
    began = time.perf_counter()
    back = stored.read(run)
    took = time.perf_counter() - began
    record_property("bytes a job, seconds to read", f"{size / len(made.jobs):.0f}, {took:.2f}")
    assert size < 1500 * len(made.jobs)
    assert back == made
    subjects = {id(job.subject) for job in back.of(AskJob)}
    assert len(subjects) == len(made.subjects), "a subject is one object, however many jobs ask it"


def test_no_json_file_of_a_run_holds_an_empty_key(tmp_path: Path) -> None:
    run = stored.begin(tmp_path / "run", small(), {})

    def keys(value: object) -> set[str]:
        if isinstance(value, dict):
            return set(value).union(*map(keys, value.values()))
        return set().union(*map(keys, value)) if isinstance(value, list) else set()

    documents = list(run.root.glob("*.json"))
    assert documents
    for path in documents:
        assert "" not in keys(json.loads(path.read_bytes())), path.name
