"""What fine-tuning did to a language model's safety and privacy: is it real, what caused it, what undoes it.

The public names load on first use, so that `import aftertune` is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aftertune.commands.audit import audit as audit
    from aftertune.commands.decide import Result as Result
    from aftertune.commands.study import study as study
    from aftertune.errors import AftertuneError as AftertuneError
    from aftertune.ingest.table_drift import TableDrift as TableDrift
    from aftertune.ingest.table_drift import drift_of_table as drift_of_table
    from aftertune.records import Arm as Arm
    from aftertune.records import Recipe as Recipe
    from aftertune.studies.design import Design as Design
    from aftertune.studies.design import Given as Given

_HOMES = {
    "AftertuneError": "errors",
    "Arm": "records",
    "Design": "studies.design",
    "Given": "studies.design",
    "Recipe": "records",
    "Result": "commands.decide",
    "TableDrift": "ingest.table_drift",
    "audit": "commands.audit",
    "drift_of_table": "ingest.table_drift",
    "study": "commands.study",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'aftertune' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(f"aftertune.{_HOMES[name]}"), name)
