"""What moved inside and what the data held, as they stand on the page and in the JSON."""

from __future__ import annotations

import json
from typing import Any

from aftertune.findings import Findings, ForecastRow, InsideRow
from aftertune.reporting.inside_tables import forecast_table, inside_tables
from aftertune.reporting.report import report


def inside(**changes: Any) -> InsideRow:
    fields: dict[str, Any] = {
        "analysis": "refusal_direction", "benchmark": "core", "quantity": "cosine", "base_model": "m", "arm": "keep",
        "recipe": "lora", "checkpoint": "c", "train_seed": 1, "epoch": 3, "layer": 2, "value": 0.958, "low": 0.952,
        "high": 0.964, "confidence": 0.95, "null_low": -0.029, "null_high": 0.131, "ceiling": 0.988, "n_pairs": 176,
        "n_clusters": 44, "warning": "",
    }  # fmt: skip
    return InsideRow(**{**fields, **changes})


def forecast(**changes: Any) -> ForecastRow:
    fields: dict[str, Any] = {
        "predictor": "token_novelty", "feature": "new tokens", "base_model": "m", "arm": "keep", "value": 0.52,
        "low": 0.51, "high": 0.53, "confidence": 0.95, "reference": 0.0415, "is_proportion": True, "n_tokens": 16350,
        "n_conversations": 500, "n_reference": 1030,
    }  # fmt: skip
    return ForecastRow(**{**fields, **changes})


UNKNOWN = {"value": None, "low": None, "high": None, "null_low": None, "null_high": None, "ceiling": None}


def test_a_table_per_quantity_with_null_ceiling_and_sample() -> None:
    rows = [inside(), inside(train_seed=2, checkpoint="d", layer=None), inside(quantity="length ratio", **UNKNOWN)]
    cosine, ratio = inside_tables(Findings(title="t", kind="study", outcome="pass", inside=rows))
    assert cosine.caption == "refusal direction on core: cosine"
    assert cosine.rows == (
        ("keep seed 1, epoch 3", "2", "0.958 [0.952, 0.964]", "−0.03 to 0.13", "0.988", "176", "44", "none known"),
        ("keep seed 2, epoch 3", "", "0.958 [0.952, 0.964]", "−0.03 to 0.13", "0.988", "176", "44", "none known"),
    )
    assert [column.head for column in ratio.columns] == [
        "Model",
        "Layer",
        "Value [interval]",
        "Pairs",
        "Clusters",
        "Warning",
    ]
    assert ratio.rows[0][2] == "not measured"
    assert inside_tables(Findings(title="t", kind="study", outcome="pass")) == []


def test_a_forecast_beside_the_base_s_own_answers() -> None:
    rows = [forecast(), forecast(arm="mask", value=None, low=None, high=None, reference=None, warning="no answers")]
    rows.append(forecast(feature="length", is_proportion=False, value=12.0, low=11.0, high=13.0, reference=9.5))
    table = forecast_table(Findings(title="t", kind="study", outcome="pass", forecasts=rows))
    assert table
    assert table.rows[0][1:] == ("keep", "52.0 % [51.0, 53.0]", "4.2 %", "16,350", "500", "1,030", "none known")
    assert table.rows[1][2:4] == ("not measured", "not measured")
    assert table.rows[1][-1] == "no answers"
    assert table.rows[2][2:4] == ("12.0 [11.0, 13.0]", "9.500")
    assert forecast_table(Findings(title="t", kind="study", outcome="pass")) is None


def test_page_and_json_show_them_and_leave_them_out_where_there_are_none() -> None:
    whole = report(
        Findings(
            title="t",
            kind="study",
            outcome="pass",
            inside=[inside()],
            forecasts=[forecast()],
            caveats=["one"],
            methods={"m": {"a": 1}},
        )
    )
    assert 'id="inside"' in whole.html
    assert "0.958 [0.952, 0.964]" in whole.html
    assert 'href="#inside"' in whole.html
    assert 'href="#data"' in whole.html
    assert "52.0 % [51.0, 53.0]" in whole.html
    parsed = json.loads(whole.json)
    assert parsed["inside"][0]["ceiling"] == 0.988
    assert parsed["forecasts"][0]["reference"] == 0.0415
    empty = report(Findings(title="t", kind="study", outcome="pass"))
    assert 'id="inside"' not in empty.html
    assert 'id="data"' not in empty.html
