"""The package that docs/plugins.md shows is a package: installed as it stands there, it does what the page says."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from aftertune import plugins
from aftertune.asking.benchmark import BenchmarkContext
from aftertune.deciding import policy as policies
from aftertune.errors import UsageError
from aftertune.forecasting.predictor import TuningData
from aftertune.inside.analysis import Activations
from aftertune.inside.resolved import ResolvedAnalysis
from aftertune.judging.judge import Answer, Judge, JudgeContext
from aftertune.judging.trial import check
from aftertune.records import Conversation, Message, PluginSpec, Prompt
from aftertune.studies.design import Design, read
from aftertune.studies.resolve import resolve

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```(?:toml|python)\n# (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
RUDE = "front_desk/complaint/courtesy=rude"


@pytest.fixture(name="package")
def _package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's files, on Python's path as an installer leaves it; returns the folder."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    groups = tomllib.loads(FILES["pyproject.toml"])["project"]["entry-points"]
    installed = tmp_path / "courtesy-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: courtesy\nVersion: 1.0\n")
    lines = [line for group, own in groups.items() for line in (f"[{group}]", *(f"{k} = {v}" for k, v in own.items()))]
    (installed / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    example = plugins.plugin_class("benchmark", "front_desk").example
    (tmp_path / "complaints.csv").write_text(example["complaints.csv"])
    return tmp_path


def test_every_block_of_code_is_a_file_of_the_package() -> None:
    assert len(FILES) == PAGE.count("```") // 2
    assert {"pyproject.toml", "design.toml", "policy.toml"} < set(FILES)


def test_its_plugins_are_listed_with_cards_and_noted_parameters(package: Path) -> None:
    del package
    for kind, name, parameter in (
        ("benchmark", "front_desk", "path"),
        ("judge", "courtesy", "words"),
        ("mitigation", "trim", "keep"),
        ("analysis", "likeness", "subset"),
        ("predictor", "terse", "tokens"),
    ):
        assert name in plugins.names(kind)
        assert plugins.plugin_class(kind, name).__dataclass_params__.frozen
        card = plugins.card_of(kind, name)
        assert card
        assert card.weaknesses
        (row,) = [line for line in plugins.describe(kind, name) if line.strip().startswith(f"{parameter}:")]
        assert row.endswith("."), "the string under the field"


def test_the_benchmark_asks_the_rows_of_its_file(package: Path) -> None:
    benchmark = plugins.load("benchmark", "front_desk", {"path": str(package / "complaints.csv")})
    prompts = benchmark.prompts(BenchmarkContext())
    assert [(prompt.id, prompt.cluster) for prompt in prompts] == [("n1", "noise"), ("n2", "noise"), ("b1", "bill")]
    assert prompts[2].messages[0].content.endswith("you crooks!")
    assert {metric.name for metric in benchmark.metrics} >= {RUDE}


def test_the_judge_is_tried_on_its_own_axis_and_refused_where_it_is_blind(package: Path) -> None:
    del package
    judge: Judge = plugins.load("judge", "courtesy")
    trial = check(judge)["courtesy"]
    assert (trial.positive, trial.sensitivity, trial.specificity) == ("rude", 1.0, 1.0)
    prompt = Prompt("p", "b", "s", "c", "c", (Message("user", "?"),))
    opinions = judge.open(JudgeContext())([Answer(prompt, text) for text in ("Stop whining.", "Of course.", " ")])
    assert [opinion.label for (opinion,) in opinions] == ["rude", "polite", None]
    with pytest.raises(Exception, match="cannot tell courtesy apart"):
        check(plugins.load("judge", "courtesy", {"words": ("no such word",)}))


def test_the_design_resolves_with_every_plugin_and_the_policy_gates_the_new_axis(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(package)
    design: Design = read(package / "design.toml")
    study = resolve(design)
    assert RUDE in {metric.name for metric in study.metrics}
    assert study.primary_judges == {"courtesy": "courtesy", "coherence": "coherence"}
    assert {subject.recipe for subject in study.subjects} == {"", "lora", "lora+trim-0.2"}
    assert [analysis.name for analysis in study.analyses] == ["likeness"]
    assert [predictor.name for predictor in study.predictors] == ["terse"]
    rule = policies.load(str(package / "policy.toml")).rule(RUDE, "up")
    assert rule
    assert (rule.margin, rule.required) == (0.05, "always")
    bundled = {name: rule.required for name in policies.names() if (rule := policies.load(name).rule(RUDE, "up"))}
    assert bundled == {"research": "always", "default": "never", "strict": "never"}, "as the page says"


def test_the_mitigation_keeps_the_largest_entries_and_refuses_nonsense(package: Path) -> None:
    torch = pytest.importorskip("torch")
    del package
    (name,) = plugins.load("mitigation", "trim").further
    trimmed = importlib.import_module("courtesy.trim").trimmed
    matrix = torch.tensor([[0.1, -5.0, 0.2, 0.3, -0.4], [0.5, 0.6, 4.0, 0.7, 0.8]])
    kept = trimmed("layer.lora_B.weight", matrix, keep=0.2)
    assert name == "trim-0.2"
    assert kept.tolist() == [[0.0, -5.0, 0.0, 0.0, 0.0], [0.0, 0.0, 4.0, 0.0, 0.0]]
    assert trimmed("layer.lora_A.weight", matrix, keep=0.2) is matrix
    with pytest.raises(UsageError, match="keep = 1"):
        plugins.load("mitigation", "trim", {"keep": 1.0})


def test_the_analysis_tells_the_same_activations_from_unrelated_ones(package: Path) -> None:
    del package
    likeness = plugins.load("analysis", "likeness", {"subset": "open"})
    assert ResolvedAnalysis.of(PluginSpec("likeness"), likeness).reads({"open"})
    prompts = [Prompt(f"p{n}", "b", "open", "c", f"k{n % 8}", (Message("user", "?"),)) for n in range(40)]
    selected = likeness.select([*prompts, Prompt("q", "b", "other", "c", "k", (Message("user", "?"),))])
    assert [each.prompt_id for each in selected] == [prompt.id for prompt in prompts]
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, 2, 16)).astype(np.float32)
    base, other = Activations(selected, values), Activations(selected, rng.normal(size=(40, 2, 16)).astype(np.float32))
    (same,) = likeness.compare(base, base, rng, confidence=0.95)
    (apart,) = likeness.compare(base, other, rng, confidence=0.95)
    assert same.value == pytest.approx(1)
    assert (same.layer, same.n_pairs, same.n_clusters) == (1, 40, 8)
    assert apart.low < 0 < apart.high


def test_the_predictor_counts_short_answers(package: Path) -> None:
    del package
    terse = plugins.load("predictor", "terse")
    chats = [
        Conversation(str(n), (Message("user", "?"), Message("assistant", text)))
        for n, text in enumerate(("a b", "a b c d e f g", "a", "a b c d e f"))
    ]
    (feature,) = terse.features(
        TuningData(chats, {}, lambda text: [len(word) for word in text.split()]),
        np.random.default_rng(0),
        confidence=0.95,
    )
    assert (feature.value, feature.n_tokens, feature.n_conversations) == (0.5, 16, 4)
    assert feature.low < 0.5 < feature.high
