"""What there is to choose from (`aftertune list`, `show`, `embedded card`)."""

from __future__ import annotations

from aftertune import plugins
from aftertune.public import public
from aftertune.shipped_models import card
from aftertune.shipped_models.card import ModelCard
from aftertune.studies import suites


@public("list_plugins")
def list_plugins(kind: str | None = None) -> dict[str, list[str]]:
    """Return kind -> names of all plugins, or of one kind (`aftertune list`; the name `list` is Python's own).

    Args:
        kind: `corpus`, `mitigation`, `benchmark`, `backend`, `judge`, `analysis`, `predictor` or `executor`.

    Raises UsageError for an unknown kind.

    Example:
        >>> aftertune.list_plugins("executor")
        {'executor': ['local', 'ray']}
    """
    return {each: plugins.names(each) for each in ([kind] if kind else plugins.KINDS)}


@public("show")
def show(kind: str, name: str) -> str:
    """Return a plugin's card and its parameters as text (`aftertune show`).

    Args:
        kind: As `list_plugins` takes it.
        name: As `list_plugins` returns it, or a list of prompts that ships.

    Raises UsageError for an unknown one, with the near miss.

    Example:
        >>> print(aftertune.show("executor", "local").splitlines()[0])
        executor local
    """
    if kind == "benchmark" and name in suites.lists():
        spec = suites.benchmark(name)
        lines = plugins.describe(kind, spec.name, spec.parameters)[1:]
        return "\n".join([f"benchmark {name} (a list of prompts, read by {spec.name})", *lines])
    return "\n".join(plugins.describe(kind, name))


@public("embedded_card")
def embedded_card(name: str = "") -> ModelCard:
    """Return what an embedded model can and cannot do, measured on held-out prompts (`aftertune embedded card`).

    Args:
        name: A shipped model, or the folder of one; empty takes the default.

    Raises UsageError for an unknown one.

    Example:
        >>> aftertune.embedded_card().parameters < 2_000_000
        True
    """
    return card.show(name)
