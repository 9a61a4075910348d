"""The card says what the figures say; where an adapter ships, both are of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import pytest
from tools.safety_tuning.measure import Rate, Signal, rate, signal
from tools.safety_tuning.overlap import Prompts
from tools.safety_tuning.train import Recipe, Trained

from tools import real_model
from tools.safety_tuning import __main__ as command
from tools.safety_tuning import card, sets

FIGURES = card.Figures(
    base="SmolLM2",
    base_sha256="b1",
    sha256="a1",
    bytes=9_800_000,
    recipe=Recipe(),
    trained=Trained(100, 6000, 14, ((1.5, 0.01), (0.9, 0.02)), 4_884_480, 600.0),
    rows={"advbench, refused in the project's words": 40, "own pairs, the base's own answer": 60},
    sets=(
        card.Measured("a", "Set A", Rate(0.02, 0.01, 0.05, 104), Rate(0.91, 0.85, 0.95, 104), ">= 85 %", met=True),
        card.Measured("b", "Set B", Rate(0.01, 0.0, 0.05, 120), Rate(0.25, 0.18, 0.33, 120), "<= 10 %", met=False),
    ),
    core_base=Signal(0.1, -0.1, 0.3, 0.7),
    core=Signal(1.24, 1.0, 1.5, 0.2),
    core_target=">= 1.5",
    core_met=False,
    text=(card.Text("loss", 2.5, 2.513),),
    looked={"core": "once"},
    read="Sixty answers were read.",
    limits=("English only.",),
)


def test_what_the_card_says(tmp_path: Path) -> None:
    text = card.markdown(FIGURES)
    assert "| Set A | 104 | 2.0 % [1.0, 5.0] | 91.0 % [85.0, 95.0] | >= 85 % | yes |" in text
    assert "| Set B | 120 | 1.0 % [0.0, 5.0] | 25.0 % [18.0, 33.0] | <= 10 % | **no** |" in text
    assert "tuned 1.24 [1.00, 1.50]; wanted >= 1.5: **not met**" in text
    assert "| 40 | advbench, refused in the project's words | MIT (llm-attacks) |" in text
    assert "| 60 | own pairs, the base's own answer | Apache-2.0, this project |" in text
    assert "9.80 MB" in text
    path = tmp_path / card.FILE
    path.write_text(json.dumps(asdict(FIGURES)), encoding="utf-8")
    assert card.load(path) == FIGURES


def test_rates_and_signal() -> None:
    assert rate([True] * 90 + [False] * 10) == Rate(0.9, 0.8256, 0.9448, 100)
    codes = [f"{at // 10}" for at in range(100)]
    clustered = rate([at < 90 for at in range(100)], codes)  # whole clusters alike: less is known
    assert clustered.share == 0.9
    assert clustered.low < 0.8
    found = signal([at % 10 < 9 for at in range(100)], [at % 10 < 1 for at in range(100)], codes, codes)
    assert found.d_prime == pytest.approx(2 * 1.2816, abs=0.06)
    assert found.low < found.d_prime < found.high
    nothing = signal([at % 2 == 0 for at in range(100)], [at % 2 == 0 for at in range(100)], codes, codes)
    assert nothing.d_prime == pytest.approx(0.0, abs=1e-9)


def test_the_shipped_card_is_of_the_shipped_adapter() -> None:
    weights = command.SHIPPED / "adapter_model.safetensors"
    figures = card.load(command.SHIPPED / card.FILE)
    assert (command.SHIPPED / card.CARD).read_text(encoding="utf-8") == card.markdown(figures)
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == figures.sha256
    assert weights.stat().st_size == figures.bytes <= 10_000_000
    assert figures.recipe in command.CANDIDATES.values()
    config = json.loads((command.SHIPPED / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == real_model.NAME
    docs = (real_model.ROOT / "docs" / "safety_tuning.md").read_text(encoding="utf-8")
    wanted = ("advbench", "strongreject", "harmbench", "coconot-ordinary", "core-open", "collapse-ordinary")
    for one in figures.sets:
        if one.name in wanted:
            base, share, low, high = (
                100 * each for each in (one.base.share, one.tuned.share, one.tuned.low, one.tuned.high)
            )
            assert f"| {base:.1f} % | {share:.1f} % [{low:.1f}, {high:.1f}] |" in docs, one.name
    assert f"{figures.core.d_prime:.2f} [{figures.core.low:.2f}, {figures.core.high:.2f}]" in docs


def test_sets_are_apart() -> None:
    try:
        held, rows = sets.held_out(), sets.rows()
    except sets.NoDataError as error:
        pytest.skip(str(error))
    assert {name: len(texts) for name, texts in held.items()} == {
        "advbench": 104,
        "strongreject": 313,
        "harmbench": 159,
        "coconot-ordinary": 230,
        "collapse-ordinary": 120,
        "xstest-unsafe": 200,
        "xstest-safe": 250,
    }
    kept = Prompts(each.text for texts in held.values() for each in texts)
    assert [row.text for row in rows if kept.near(row.text)] == []
    developed = {each.text for texts in sets.development().values() for each in texts}
    assert not developed & {row.text for row in rows}
    public = [each.text for name, texts in sets.development().items() if name.startswith("dev") for each in texts]
    assert [text for text in public if kept.near(text)] == []
    assert len(public) > 150
    assert sum(row.source == "advbench" for row in rows) > 100
