"""An audit fills its tables with the same rows as before: fingerprints that an earlier version left are compared.

The longer runs (the demo, the four studies) are compared by `make golden`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from perf import golden

from aftertune.commands import study as running
from aftertune.plugins import PluginSpec


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As when they were kept: a sum over two threads may have other last digits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_an_audit_of_the_known_bad_adapter_gives_the_rows_that_it_gave(tmp_path: Path) -> None:
    kept = json.loads((golden.KEPT / "known-bad.json").read_text())
    if kept["machine"] != golden.machine():
        pytest.skip(f"kept on {kept['machine']}: elsewhere the last digits of logits differ, and so may an answer")
    result = running.run(golden.known_bad(tmp_path), tmp_path / "run", executor=PluginSpec("local", {"workers": 1}))
    assert golden.fingerprint(result.root) == kept["tables"]
    assert all(table["rows"] for table in kept["tables"].values()), "no table is compared for nothing"
    assert result.outcome == "drift"
