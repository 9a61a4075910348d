"""A run's numbers as metrics of an experiment tracker (`aftertune track`): MLflow, Weights & Biases."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

from aftertune.commands.decide import Result
from aftertune.commands.run_view import Run, open_run
from aftertune.errors import MissingPackageError, StoreError, UsageError, first_line, near
from aftertune.headline import headline
from aftertune.naming import row_names
from aftertune.public import PathLike, public
from aftertune.records import Decision, Drift

TRACKERS = ("mlflow", "wandb")
NUMBERS = ("base", "tuned", "delta", "low", "high")


@dataclass(frozen=True, slots=True)
class _Tracked:
    """What one arm of a run becomes."""

    name: str
    facts: dict[str, str]
    values: list[tuple[int, dict[str, float]]]
    """(epoch, metric -> number), in order of the epochs."""


@public("track")
def track(run: PathLike | Run | Result, to: str, *, project: str = "aftertune", uri: str = "") -> list[str]:
    """Log a run's numbers to an experiment tracker, one run of it for each arm (`aftertune track RUN`).

    Args:
        run: A run with decisions.
        to: `mlflow` or `wandb`, whose package must be installed.
        project: MLflow's experiment, W&B's project.
        uri: MLflow's tracking server or folder; empty takes its own setting. W&B has its own settings
            (`WANDB_MODE=offline` keeps everything on this machine).

    Metrics are `METRIC/base`, `/tuned`, `/delta`, `/low` and `/high`, with `.` for signs that trackers refuse, and with
    what tells them apart behind METRIC where an arm has several recipes, bases or checkpoints; the step is the epoch.
    Base, arm, outcome, and the counts of the checks go with them; no text of a model or a data set does.
    Returns the ids of the tracker's runs. Raises UsageError for another tracker, MissingPackageError without its
    package, StoreError where it refuses.
    """
    if to not in TRACKERS:
        raise UsageError(f"track: no tracker '{to}'{near(to, list(TRACKERS))} (known: {', '.join(TRACKERS)})")
    view = open_run(run)
    drifts, decisions = view._drifts(), view._decisions()
    arms = dict.fromkeys(row.arm for row in headline(drifts, decisions))
    if not arms:
        raise UsageError(f"{view.root}: nothing was compared, so there is nothing to track")
    facts = {"run": view.root.name, "aftertune": version("aftertune"), "outcome": str(view.outcome)}
    tracked = [_of_arm(arm, drifts, decisions, facts) for arm in arms]
    return _mlflow(tracked, project, uri) if to == "mlflow" else _wandb(tracked, project, uri)


def _of_arm(arm: str, drifts: Sequence[Drift], decisions: Sequence[Decision], facts: dict[str, str]) -> _Tracked:
    own = [one for one in decisions if one.arm == arm and one.required]
    counts = {f"checks {one.outcome}": str(sum(o.outcome == one.outcome for o in own)) for one in own}
    epochs = sorted({row.epoch or 0 for row in drifts if row.arm == arm})
    values = []
    for epoch in epochs:
        rows = headline([row for row in drifts if row.arm == arm and (row.epoch or 0) == epoch], decisions)
        called = row_names(rows)
        several = {metric for metric, n in Counter(row.metric for row in rows).items() if n > 1}
        told: dict[str, float] = {}
        for row in rows:
            which = f"/{_name(called(row))}" if row.metric in several else ""
            for number in NUMBERS:
                value = getattr(row, number)
                if value is not None:
                    told[f"{_name(row.metric)}{which}/{number}"] = value
        values.append((epoch, told))
    bases = ", ".join(dict.fromkeys(row.base_model for row in drifts if row.arm == arm))
    return _Tracked(arm, {**facts, "base": bases, "arm": arm, **counts}, values)


def _name(metric: str) -> str:
    """Return a name that every tracker takes."""
    return re.sub(r"[^\w\-. /]", ".", metric)


def _mlflow(tracked: Sequence[_Tracked], project: str, uri: str) -> list[str]:
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ModuleNotFoundError:
        raise MissingPackageError("this needs the package mlflow: pip install mlflow") from None
    try:
        client = MlflowClient(tracking_uri=uri or None)
        experiment = client.get_experiment_by_name(project)
        ident = experiment.experiment_id if experiment is not None else client.create_experiment(project)
        made = []
        for each in tracked:
            run = client.create_run(
                ident, run_name=each.name, tags={f"aftertune.{k}": v for k, v in each.facts.items()}
            )
            for epoch, values in each.values:
                for name, value in values.items():
                    client.log_metric(run.info.run_id, name, value, step=epoch)
            client.set_terminated(run.info.run_id)
            made.append(str(run.info.run_id))
    except (MlflowException, OSError) as error:
        raise StoreError(f"MLflow refuses: {first_line(error)}") from None
    return made


def _wandb(tracked: Sequence[_Tracked], project: str, uri: str) -> list[str]:
    if uri:
        raise UsageError("track: uri is MLflow's; W&B takes its server from WANDB_BASE_URL")
    try:
        import wandb
    except ModuleNotFoundError:
        raise MissingPackageError("this needs the package wandb: pip install wandb") from None
    made = []
    for each in tracked:
        try:
            run = wandb.init(project=project, name=each.name, config=each.facts, reinit="create_new")
            for epoch, values in each.values:
                run.log({**values, "epoch": epoch}, step=epoch)
            run.finish()
        except (wandb.errors.Error, OSError) as error:
            raise StoreError(f"W&B refuses: {first_line(error)}") from None
        made.append(str(run.id))
    return made
