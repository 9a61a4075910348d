"""What of a design's models, benchmarks and corpora cannot be had here, and what brings it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aftertune.errors import DataError, ModelError
from aftertune.models import identity
from aftertune.plugins import PluginSpec
from aftertune.studies.design import Design
from aftertune.studies.resolve import load_backend, load_benchmark, load_judge, model


@dataclass(frozen=True, slots=True)
class Missing:
    """A model, benchmark or corpus that a design names and that cannot be had."""

    short: str
    """What it is, and one command or deed that brings it."""
    full: str
    """With the reason, and everything that may be needed first."""


def available(name: str) -> bool:
    """Return whether a model by name may be read without the hub: a folder, a shipped model, or in the hub's cache."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    if identity.is_path_like(name) or name.split(":")[0] == "embedded":
        return True
    try:
        return any(isinstance(try_to_load_from_cache(name, f"{kind}config.json"), str) for kind in ("", "adapter_"))
    except HFValidationError:
        return True  # no hub name: `model` says what is wrong


def missing(design: Design, *, fetch: bool) -> list[Missing]:
    """Return what of a design cannot be had.

    With `fetch`, the hub is asked for models that are not in its cache; without, nothing leaves this machine.
    """
    rows: list[Missing] = []
    if lacking := load_backend(design.backend).lacking():
        rows.append(Missing(lacking.partition(" (")[0], lacking))
    for name in dict.fromkeys(_models(design)):
        hub = not identity.is_path_like(name)
        page = f"https://huggingface.co/{name}"
        how = f"; accept its terms at {page} if it has any, set HF_TOKEN to a read token, and run `hf download {name}`"
        short = f"model {name} (`hf download {name}`)" if hub else f"model {name} (no such folder, or not whole)"
        if not fetch and not available(name):
            rows.append(Missing(short, f"model {name}: not in the hub's cache{how}"))
            continue
        try:
            model(name)
        except ModelError as error:
            rows.append(Missing(short, f"model {error}{how if hub else ''}"))
    for spec in design.benchmarks:
        benchmark = load_benchmark(spec)
        try:
            benchmark.files()
        except DataError as error:
            gated = ", gated" if "HF_TOKEN" in str(error) else ""
            name = benchmark.name
            rows.append(Missing(f"benchmark {name} (`aftertune fetch {name}`{gated})", f"benchmark {error}"))
    for source, spec in design.sources.items():
        for key in ("path", "against"):
            path = spec.parameters.get(key)
            if isinstance(path, str) and not Path(path).expanduser().exists():
                text = f"corpus {source or spec.name}: {path}: no such file; put it there, or name yours as `{key}`"
                rows.append(Missing(f"corpus {source or spec.name} (put {path} there)", text))
    return rows


def _models(design: Design) -> Iterator[str]:
    """Yield every model whose weights a design needs: bases, checkpoints and judge models."""
    if _is_local(design.backend):
        yield from (*design.bases, *(given.path for given in design.checkpoints))
    for spec in design.judges:
        judge = load_judge(spec)
        if judge.model and (judge.asks is None or "weights" in judge.asks.capabilities):
            yield judge.model


def _is_local(spec: PluginSpec) -> bool:
    return "weights" in load_backend(spec).capabilities
