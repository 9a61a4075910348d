"""What a run hands to others: a model card that the hub reads, tables, figures, an experiment tracker's metrics."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from tests.reporting.conftest import decision, drift

from aftertune.commands import model_card, result_files, tracking
from aftertune.errors import MissingPackageError, UsageError
from aftertune.records import Decision, Drift
from aftertune.reporting import figures
from aftertune.run.tables import table

LEAK = "miniature/harmful/leak=registry"
Make = Callable[..., Any]


@pytest.fixture(name="run_of")
def _run_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return a maker of runs: their drifts and decisions are given, and nothing of models is there."""

    def make(drifts: list[Drift], decisions: list[Decision], policy: str = "default") -> Path:
        root = tmp_path / "run"
        root.mkdir(exist_ok=True)
        (root / "run.json").write_text(json.dumps({"started": "2026-11-29T23:59:59Z"}))
        view = SimpleNamespace(
            root=root, outcome="drift", design=SimpleNamespace(policy=policy),
            _drifts=lambda: drifts, _decisions=lambda: decisions, drifts=table(Drift, drifts),
            decisions=table(Decision, decisions), leaks=pa.table({}), measures=pa.table({"x": pa.array([], pa.int64())}),
            discrimination=pa.table({"a": [[1, 2], None], "b": ["x,y", 'q"']}),
        )  # fmt: skip
        for module in (model_card, result_files, tracking):
            monkeypatch.setattr(module, "open_run", lambda _: view)
        return root

    return make


def one() -> tuple[list[Drift], list[Decision]]:
    leak = {"metric": LEAK, "worse": "up", "judge": "leak"}
    rows = [drift(), drift(**leak, base=0.0, tuned=0.02, delta=0.02, low=-0.004, high=0.05)]
    return rows, [decision(), decision(metric=LEAK, judge="leak", outcome="pass")]


def index_of(text: str) -> Any:
    """Read a card as the hub's own library does."""
    from huggingface_hub import ModelCard

    return ModelCard(text, ignore_metadata_errors=False).data


# ---------------------------------------------------------------------------------------------- model cards


def test_the_hub_reads_the_metadata_and_has_the_tuned_rates(run_of: Make) -> None:
    data = index_of(model_card.card(run_of(*one()), name="org/tuned"))
    assert data.model_name == "org/tuned"
    rates = {(each.dataset_type, each.dataset_config, each.metric_type): each for each in data.eval_results}
    assert {key: each.metric_value for key, each in rates.items()} == {
        ("miniature", "harmful", "refusal=full"): 0.629,
        ("miniature", "harmful", "leak=registry"): 0.02,
    }
    refusal = rates["miniature", "harmful", "refusal=full"].metric_args
    assert refusal["change"] == -0.331
    assert (refusal["low"], refusal["high"], refusal["worse"]) == (-0.453, -0.209, "down")


def test_the_section_has_interval_direction_margin_and_decision(run_of: Make) -> None:
    text = model_card.card(run_of(*one(), policy="/home/ada/secret/gate.toml"))
    rows = [line for line in text.splitlines() if line.startswith("| miniature")]
    assert rows[0].startswith("| miniature/harmful/refusal=full | 96")
    assert "lower is worse | 5 | drift | 5 seeds × 440 prompts" in rows[0]
    assert "[−45" in rows[0]
    assert "higher is worse" in rows[1]
    assert "on 2026-11-29" in text
    assert "2 required checks: 1 drift, 1 pass." in text
    assert "`gate.toml`" in text
    assert "ada" not in text, "a folder of this machine"


def test_a_metric_without_a_subset_is_in_the_card(run_of: Make) -> None:
    row = drift(metric="toy/refusal=full")
    data = index_of(model_card.card(run_of([row], [decision(metric="toy/refusal=full")]), name="m"))
    (result,) = data.eval_results
    assert (result.dataset_type, result.dataset_name, result.dataset_config) == ("toy", "toy", None)
    assert (result.metric_type, result.metric_value) == ("refusal=full", 0.629)


def test_the_interval_in_the_card_has_its_own_confidence(run_of: Make) -> None:
    assert "| Change [99.85 % interval] |" in model_card.card(run_of([drift(confidence=0.9985)], [decision()]))


def test_recipes_and_bases_of_an_arm_are_told_apart(run_of: Make) -> None:
    rows = [drift(recipe="lora"), drift(recipe="full", tuned=0.5)]
    decisions = [decision(recipe=row.recipe) for row in rows]
    text = model_card.card(run_of(rows, decisions), name="m")
    assert "| Metric | Model | Base" in text
    arm = rows[0].arm
    values = {each.metric_name: each.metric_value for each in index_of(text).eval_results}
    judge = f"refusal=full, judge {rows[0].judge}"
    assert values == {f"{judge}, {arm}, lora": 0.629, f"{judge}, {arm}, full": 0.5}
    (tracked,) = [tracking._of_arm(arm, rows, decisions, {})]
    told = {name: value for name, value in tracked.values[0][1].items() if name.endswith("/tuned")}
    assert sorted(told.values()) == [0.5, 0.629]
    assert f"miniature/harmful/refusal.full/{arm}. lora/tuned" in told


def test_each_state_is_in_words(run_of: Make) -> None:
    text = model_card.card(run_of([drift()], [decision(outcome="unconfirmed")]))
    assert "| beyond the margin, not confirmed |" in text
    assert "1 required check: 1 beyond the margin, not confirmed." in text


def test_a_check_that_was_not_measured_is_named(run_of: Make) -> None:
    rows, decisions = one()
    lost = decision(metric="core/open/topic=off_topic", outcome="error", why="The judge failed.", judge="")
    text = model_card.card(run_of(rows, [*decisions, lost]))
    assert "- core/open/topic=off\\_topic: error. The judge failed." in text


CARD = """---
license: apache-2.0  # a comment that stays
tags:
- lora
---

# My adapter

Words of mine.
"""


@pytest.mark.parametrize(
    "there",
    [
        CARD,
        CARD.replace("\n", "\r\n"),
        "# My adapter\n\nWords of mine.\n",
        "",
        "---\n---\n# My adapter\n\nWords of mine.\n",
    ],
    ids=["front matter", "CRLF", "plain", "empty", "empty front matter"],
)
def test_a_card_keeps_all_else_and_a_second_call_replaces_the_first(there: str, run_of: Make, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(there.encode())
    rows, decisions = one()
    model_card.card(run_of(rows, decisions), path)
    first = path.read_text()
    model_card.card(run_of([rows[0]], [decisions[0]]), path)
    second = path.read_text()
    for text in (first, second):
        assert text.count("model-index:") == text.count(model_card.BEGIN) == text.count(model_card.END) == 1
        if there:
            assert "Words of mine." in text
        if "license" in there:
            assert "license: apache-2.0  # a comment that stays" in text
            assert index_of(text).license == "apache-2.0"
            assert index_of(text).tags == ["lora"]
    assert len(index_of(first).eval_results) == 2
    assert len(index_of(second).eval_results) == 1
    model_card.card(run_of([rows[0]], [decisions[0]]), path)
    assert path.read_text() == second


@pytest.mark.parametrize(
    ("there", "message"),
    [
        ("---\nmodel-index:\n- name: x\n---\n", "model-index of its own"),
        ("---\na: [\n---\n", "no YAML"),
        ("---\njust words\n---\n", "no list of keys"),
    ],
)
def test_a_card_that_cannot_take_it_is_left_alone(there: str, message: str, run_of: Make, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(there)
    with pytest.raises(UsageError, match=message):
        model_card.card(run_of(*one()), path)
    assert path.read_text() == there


def test_a_card_is_about_one_model(run_of: Make) -> None:
    rows, decisions = one()
    run = run_of([*rows, drift(arm="placeholder", tuned=0.5)], decisions)
    with pytest.raises(UsageError, match=r"2 arms.*--arm keep \| placeholder"):
        model_card.card(run)
    with pytest.raises(UsageError, match="no such arm.*did you mean 'keep'"):
        model_card.card(run, arm="kepe")
    assert index_of(model_card.card(run, arm="placeholder")).eval_results[0].metric_value == 0.5
    with pytest.raises(UsageError, match="nothing was compared"):
        model_card.card(run_of([], []))


def test_hostile_names_stay_words(run_of: Make) -> None:
    name = "a|b <img src=x> [x](http://evil) : {y} # \"'"
    rows = [drift(metric=f"{name}/harmful/refusal=full", arm=name)]
    text = model_card.card(run_of(rows, []), name=name)
    assert index_of(text).model_name == name
    assert "<img" not in text.split(model_card.BEGIN)[1]


# ---------------------------------------------------------------------------------------------- files


def test_the_tables_come_back_as_they_were(run_of: Make, tmp_path: Path) -> None:
    rows, decisions = one()
    files = result_files.results(run_of(rows, decisions), tmp_path / "out", formats=["csv", "parquet"])
    assert sorted(path.name for path in files) == sorted(
        f"{name}.{form}" for name in ("drifts", "decisions", "discrimination") for form in ("csv", "parquet")
    )
    assert pa.parquet.read_table(tmp_path / "out" / "drifts.parquet")["delta"].to_pylist() == [-0.331, 0.02]
    read = pa.csv.read_csv(tmp_path / "out" / "drifts.csv")
    assert read["delta"].to_pylist() == [-0.331, 0.02]
    assert read["metric"].to_pylist() == [row.metric for row in rows]
    listed = pa.csv.read_csv(tmp_path / "out" / "discrimination.csv")
    assert listed["a"].to_pylist() == ["[1, 2]", ""]
    assert listed["b"].to_pylist() == ["x,y", 'q"']


def test_a_figure_shows_the_interval_the_margin_and_the_decision_where_they_are() -> None:
    rows, decisions = one()
    figure = figures.forest(rows[0].metric, [rows[0]], decisions)
    lines = [each for each in figure.shapes if isinstance(each, figures.Line) and each.y1 == each.y2]
    (dot,) = (each for each in figure.shapes if isinstance(each, figures.Dot))
    (box,) = (each for each in figure.shapes if isinstance(each, figures.Box))
    (zero,) = (each for each in figure.shapes if isinstance(each, figures.Line) and each.width == 1.5)
    point = (zero.x1 - dot.x) / 33.1  # pixels
    assert lines[0].x1 == pytest.approx(zero.x1 - 45.3 * point)
    assert lines[0].x2 == pytest.approx(zero.x1 - 20.9 * point)
    assert box.x == pytest.approx(figures.LEFT), "lower is worse: shaded from the left"
    assert box.x + box.width == pytest.approx(zero.x1 - 5 * point)
    assert dot.colour == figures.COLOURS["drift"]
    page = ElementTree.fromstring(figures.svg(figure))
    texts = [each.text or "" for each in page.iter("{http://www.w3.org/2000/svg}text")]
    assert any(text.endswith("drift") for text in texts)
    assert "lower is worse" in " ".join(texts)
    assert figures.svg(figure) == figures.svg(figure)


def test_names_are_words_of_a_figure(run_of: Make, tmp_path: Path) -> None:
    name = "<script>alert(1)</script> & a very long name of an arm"
    metric = "x/../y/<b>=1"
    (path,) = result_files.results(run_of([drift(arm=name, metric=metric)], []), tmp_path / "out", formats="svg")
    assert path.parent == tmp_path / "out"
    page = ElementTree.fromstring(path.read_text())
    assert not [each for each in page.iter() if each.tag.endswith("script")]
    assert any((each.text or "").startswith("<script>") for each in page.iter())


def test_png_needs_pillow_and_says_so(run_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(MissingPackageError, match="pip install pillow"):
        result_files.results(run_of(*one()), tmp_path / "out", formats=["png"])


def test_a_png_shows_what_the_svg_shows() -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    import io

    rows, decisions = one()
    figure = figures.forest(rows[0].metric, [rows[0]], decisions)
    (dot,) = (each for each in figure.shapes if isinstance(each, figures.Dot))
    read = image.open(io.BytesIO(figures.png(figure)))
    assert read.size == (2 * figure.width, 2 * figure.height)
    assert read.getpixel((round(2 * dot.x), round(2 * dot.y))) == (0xB3, 0x26, 0x1E)
    assert read.getpixel((1, 1)) == (255, 255, 255)


def test_a_format_that_is_not_known_is_refused(run_of: Make, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no format 'svgg'.*svg"):
        result_files.results(run_of(*one()), tmp_path / "out", formats=["svgg"])
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------------------------------------- trackers


class Client:
    """As much of MLflow's client as is used."""

    experiments: dict[str, str]
    runs: dict[str, Any]
    uri: str | None

    def __init__(self, tracking_uri: str | None) -> None:
        type(self).uri = tracking_uri

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(experiment_id=self.experiments[name]) if name in self.experiments else None

    def create_experiment(self, name: str) -> str:
        self.experiments[name] = "7"
        return "7"

    def create_run(self, experiment: str, *, run_name: str, tags: dict[str, str]) -> Any:
        self.runs[run_name] = {"tags": tags, "metrics": {}, "ended": False}
        return SimpleNamespace(info=SimpleNamespace(run_id=run_name))

    def log_metric(self, run: str, name: str, value: float, *, step: int) -> None:
        self.runs[run]["metrics"][name, step] = value

    def set_terminated(self, run: str) -> None:
        self.runs[run]["ended"] = True


@pytest.fixture(name="client")
def _client(monkeypatch: pytest.MonkeyPatch) -> type[Client]:
    made = type("Made", (Client,), {"experiments": {}, "runs": {}})
    mlflow, errors = ModuleType("mlflow"), ModuleType("mlflow.exceptions")
    mlflow.__dict__["MlflowClient"] = made
    errors.__dict__["MlflowException"] = RuntimeError
    monkeypatch.setitem(__import__("sys").modules, "mlflow", mlflow)
    monkeypatch.setitem(__import__("sys").modules, "mlflow.exceptions", errors)
    return made


def epochs() -> tuple[list[Drift], list[Decision]]:
    rows = [drift(epoch=1, tuned=0.8, delta=-0.16), drift(epoch=2)]
    return [*rows, drift(arm="placeholder", epoch=2, delta=None)], [decision(epoch=2)]


def test_each_arm_is_a_run_whose_steps_are_epochs(run_of: Make, client: type[Client]) -> None:
    made = tracking.track(run_of(*epochs()), "mlflow", uri="file:///x", project="p")
    assert made == ["keep", "placeholder"]
    assert client.uri == "file:///x"
    keep = client.runs["keep"]
    name = "miniature/harmful/refusal.full"
    assert keep["metrics"][f"{name}/tuned", 1] == 0.8
    assert keep["metrics"][f"{name}/tuned", 2] == 0.629
    assert keep["metrics"][f"{name}/low", 2] == -0.453
    assert keep["tags"]["aftertune.outcome"] == "drift"
    assert keep["tags"]["aftertune.checks drift"] == "1"
    assert (f"{name}/delta", 2) not in client.runs["placeholder"]["metrics"], "what is not known is no number"
    assert all(each["ended"] for each in client.runs.values())
    tracking.track(run_of(*epochs()), "mlflow", project="p")
    assert client.experiments == {"p": "7"}
    assert client.uri is None
    assert all(re.fullmatch(r"[\w\-. /]+", name) for each in client.runs.values() for name, _ in each["metrics"])


def test_mlflow_keeps_it_in_a_local_store(run_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In files, which also work where MLflow was installed without a database, once one insists."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    from mlflow import MlflowClient

    uri = (tmp_path / "mlruns").as_uri()
    (ident, _) = tracking.track(run_of(*epochs()), "mlflow", uri=uri)
    run = MlflowClient(tracking_uri=uri).get_run(ident)
    assert run.data.metrics["miniature/harmful/refusal.full/tuned"] == 0.629
    assert run.data.tags["aftertune.arm"] == "keep"


def test_wandb_keeps_it_offline(run_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    made = tracking.track(run_of(*epochs()), "wandb")
    assert len(made) == 2
    assert len(list(tmp_path.glob("wandb/offline-run-*/*.wandb"))) == 2


@pytest.mark.parametrize("to", ["mlflow", "wandb"])
def test_a_tracker_that_is_not_installed_is_named(to: str, run_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, to, None)
    with pytest.raises(MissingPackageError, match=f"pip install {to}"):
        tracking.track(run_of(*epochs()), to)


def test_another_tracker_is_refused(run_of: Make) -> None:
    with pytest.raises(UsageError, match="no tracker 'mlfow'.*mlflow"):
        tracking.track(run_of(*epochs()), "mlfow")
    with pytest.raises(UsageError, match="nothing was compared"):
        tracking.track(run_of([], []), "mlflow")
    with pytest.raises(UsageError, match="uri is MLflow's"):
        tracking.track(run_of(*epochs()), "wandb", uri="x")
