"""Benchmarks that read files, made with the made-up files that each shows its format by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aftertune import plugins


def parameters(name: str, folder: Path) -> dict[str, Any]:
    """Write a benchmark's example files into `folder` and return the parameters that read them."""
    files = plugins.plugin_class("benchmark", name).example
    for file, content in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(content, encoding="utf-8")
    return {"path": str(folder)} if files else {}
