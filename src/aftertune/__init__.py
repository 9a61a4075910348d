"""What fine-tuning did to a language model's safety and privacy: is it real, what caused it, what undoes it.

The public names load on first use, so that `import aftertune` is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aftertune.design.study import Design as Design
    from aftertune.design.study import Given as Given
    from aftertune.errors import AftertuneError as AftertuneError
    from aftertune.flow.auditing import audit as audit
    from aftertune.flow.pipeline import Result as Result
    from aftertune.flow.pipeline import study as study
    from aftertune.ingest.results import TableDrift as TableDrift
    from aftertune.ingest.results import drift_of_table as drift_of_table
    from aftertune.records import Arm as Arm
    from aftertune.records import Recipe as Recipe

_HOMES = {
    "AftertuneError": "errors",
    "Arm": "records",
    "Design": "design.study",
    "Given": "design.study",
    "Recipe": "records",
    "Result": "flow.pipeline",
    "TableDrift": "ingest.results",
    "audit": "flow.auditing",
    "drift_of_table": "ingest.results",
    "study": "flow.pipeline",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'aftertune' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(f"aftertune.{_HOMES[name]}"), name)
