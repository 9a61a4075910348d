"""What fine-tuning did to a language model's safety and privacy: is it real, what caused it, what undoes it.

Every command of the command line is a function here, of the same name. The public names load on first use, so that
`import aftertune` is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aftertune import mitigations as mitigations
    from aftertune import training as training
    from aftertune.commands.audit import audit as audit
    from aftertune.commands.catalogue import embedded_card as embedded_card
    from aftertune.commands.catalogue import list_plugins as list_plugins
    from aftertune.commands.catalogue import show as show
    from aftertune.commands.compare import compare as compare
    from aftertune.commands.compose import compose as compose
    from aftertune.commands.decide import Result as Result
    from aftertune.commands.demo import demo as demo
    from aftertune.commands.explain import Explained as Explained
    from aftertune.commands.explain import explain as explain
    from aftertune.commands.fetch import catalogue as catalogue
    from aftertune.commands.fetch import fetch as fetch
    from aftertune.commands.forecast import forecast as forecast
    from aftertune.commands.label import ReadersAgreement as ReadersAgreement
    from aftertune.commands.label import Sheet as Sheet
    from aftertune.commands.mitigate import Repair as Repair
    from aftertune.commands.mitigate import mitigate as mitigate
    from aftertune.commands.model_card import card as card
    from aftertune.commands.personal_data import pii_match as pii_match
    from aftertune.commands.personal_data import pii_registry as pii_registry
    from aftertune.commands.personal_data import pii_scan as pii_scan
    from aftertune.commands.plan import plan as plan
    from aftertune.commands.result_files import results as results
    from aftertune.commands.run_view import Run as Run
    from aftertune.commands.run_view import agree as agree
    from aftertune.commands.run_view import drift as drift
    from aftertune.commands.run_view import export as export
    from aftertune.commands.run_view import judge as judge
    from aftertune.commands.run_view import label as label
    from aftertune.commands.run_view import label_readers as label_readers
    from aftertune.commands.run_view import open_run as open_run
    from aftertune.commands.run_view import report as report
    from aftertune.commands.run_view import status as status
    from aftertune.commands.selftest import selftest as selftest
    from aftertune.commands.study import study as study
    from aftertune.commands.tracking import track as track
    from aftertune.errors import AftertuneError as AftertuneError
    from aftertune.forecasting.forecast import Forecast as Forecast
    from aftertune.ingest.demo_table import demo_drift as demo_drift
    from aftertune.ingest.logs import ingest_logs as ingest_logs
    from aftertune.ingest.table_drift import TableDrift as TableDrift
    from aftertune.ingest.table_drift import drift_of_table as drift_of_table
    from aftertune.plugins import PluginSpec as PluginSpec
    from aftertune.records import Arm as Arm
    from aftertune.records import Contrast as Contrast
    from aftertune.records import Data as Data
    from aftertune.records import Recipe as Recipe
    from aftertune.records import Respond as Respond
    from aftertune.studies.design import Design as Design
    from aftertune.studies.design import Given as Given

_HOMES = {
    "AftertuneError": "errors",
    "Arm": "records",
    "Contrast": "records",
    "Data": "records",
    "Design": "studies.design",
    "Explained": "commands.explain",
    "Forecast": "forecasting.forecast",
    "Given": "studies.design",
    "PluginSpec": "plugins",
    "ReadersAgreement": "commands.label",
    "Recipe": "records",
    "Repair": "commands.mitigate",
    "Respond": "records",
    "Result": "commands.decide",
    "Run": "commands.run_view",
    "Sheet": "commands.label",
    "TableDrift": "ingest.table_drift",
    "agree": "commands.run_view",
    "audit": "commands.audit",
    "card": "commands.model_card",
    "catalogue": "commands.fetch",
    "compare": "commands.compare",
    "compose": "commands.compose",
    "demo": "commands.demo",
    "demo_drift": "ingest.demo_table",
    "drift": "commands.run_view",
    "drift_of_table": "ingest.table_drift",
    "embedded_card": "commands.catalogue",
    "explain": "commands.explain",
    "export": "commands.run_view",
    "fetch": "commands.fetch",
    "forecast": "commands.forecast",
    "ingest_logs": "ingest.logs",
    "judge": "commands.run_view",
    "label": "commands.run_view",
    "label_readers": "commands.run_view",
    "list_plugins": "commands.catalogue",
    "mitigate": "commands.mitigate",
    "open_run": "commands.run_view",
    "pii_match": "commands.personal_data",
    "pii_registry": "commands.personal_data",
    "pii_scan": "commands.personal_data",
    "plan": "commands.plan",
    "report": "commands.run_view",
    "results": "commands.result_files",
    "selftest": "commands.selftest",
    "show": "commands.catalogue",
    "status": "commands.run_view",
    "study": "commands.study",
    "track": "commands.tracking",
}
"""Public name -> module below `aftertune`."""

__all__ = sorted(_HOMES)
_MODULES = ("mitigations", "plugin_types", "training")
"""Public modules."""


def __getattr__(name: str) -> Any:
    import importlib

    if name in _MODULES:
        return importlib.import_module(f"aftertune.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'aftertune' has no attribute '{name}'")
    return getattr(importlib.import_module(f"aftertune.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, *_MODULES, "__doc__", "__file__", "__name__", "__path__"]
