"""What a tuning set says before anything is tuned on it (`aftertune forecast`)."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path

from aftertune import plugins
from aftertune.asking.benchmark import BenchmarkContext
from aftertune.commands.compose import chat_file_options
from aftertune.errors import UsageError, near
from aftertune.files import make_folder, write
from aftertune.forecasting import data_card, fitted
from aftertune.forecasting.data_card import Requests
from aftertune.forecasting.forecast import Forecast, predict
from aftertune.models.identity import resolve as resolve_model
from aftertune.plugins import PluginSpec
from aftertune.public import PathLike, public
from aftertune.records import Recipe, plain
from aftertune.reporting import forecast as page
from aftertune.studies.resolve import load_benchmark, load_corpus, shipped_path

REQUESTS = 110
"""Harmful requests, and as many harmless ones, that the data's prompts are held against."""


@public("forecast")
def forecast(
    data: PathLike,
    *,
    base: PathLike = "embedded",
    recipe: Recipe | None = None,
    rows: int = data_card.ROWS,
    out: PathLike | None = None,
    seed: int = 0,
    columns: str = "",
    encoding: str = "",
    skip_bad: bool = False,
    progress: Callable[[str, float | None], None] | None = None,
) -> Forecast:
    """Say what is in a tuning set and what drift to expect of tuning a base on it (`aftertune forecast`).

    Nothing is tuned: the base reads the data once. The drift is that of a fit to variants that were really tuned
    (docs/forecast.md); where data, dose or base are not like those, it says so and predicts nothing.

    Args:
        data: A chat file, a folder that `datasets` saved, or a corpus by name, e.g. `booking`.
        base: A model's folder or name; `embedded` is the one that ships.
        recipe: What it would be tuned with; None takes the defaults of `Recipe`.
        rows: Conversations that the base reads at most, drawn at random.
        out: Folder for `forecast.md` and `forecast.json`; None writes nothing.
        seed: Fixes which conversations are drawn.
        columns: Of a chat file: which columns hold what, e.g. `prompt=ask,response=reply`.
        encoding: Of a text file, e.g. `windows-1252`; empty is UTF-8, or what a byte order mark says.
        skip_bad: Skip rows that cannot be read.
        progress: Called now and then with what is being done, and the share of it that is done.

    Raises UsageError and DataError for data that cannot be read, ModelError for a base that cannot be used.

    Example:
        >>> found = aftertune.forecast("booking", rows=20)
        >>> found.card.value("hard tokens") > 0
        True
    """
    if rows < 1:
        raise UsageError(f"rows = {rows}: it must be 1 or more")
    if out is not None and Path(out).exists() and not Path(out).is_dir():
        raise UsageError(f"{out}: exists and is not a folder")
    wanted = recipe or Recipe()
    for field in ("epochs", "batch_size", "rank", "max_length"):
        if getattr(wanted, field) < 1:
            raise UsageError(f"{field} = {getattr(wanted, field)}: it must be 1 or more")
    if not (wanted.learning_rate > 0 and math.isfinite(wanted.learning_rate)):
        raise UsageError(f"learning_rate = {wanted.learning_rate}: it must be above 0")
    name = os.fspath(base)
    reference = resolve_model(shipped_path(name) or name)
    corpus = load_corpus(_source(os.fspath(data), columns, encoding, skip_bad))
    if progress is not None:
        progress("reading the data", None)
    conversations = list(corpus.conversations())
    card = data_card.card(
        str(reference.path),
        conversations,
        requests=_requests(is_embedded=bool(shipped_path(name))),
        max_length=wanted.max_length,
        rows=rows,
        seed=seed,
        progress=lambda done, total: progress("the base reads", done / total) if progress is not None else None,
    )
    found = predict(
        fitted.shipped(),
        data=os.fspath(data),
        base=name,
        weights_hash=reference.weights_hash,
        parameters=reference.parameters,
        recipe=wanted,
        card=card,
    )
    if out is not None:
        folder = Path(out)
        make_folder(folder)
        write(folder / "forecast.json", (json.dumps(plain(found), indent=1, allow_nan=False) + "\n").encode())
        write(folder / "forecast.md", ("\n".join(page.markdown(found)) + "\n").encode())
    return found


def _source(data: str, columns: str, encoding: str, skip_bad: bool) -> PluginSpec:
    path = Path(data).expanduser()
    options = chat_file_options(columns, encoding, skip_bad)
    known = [name for name in plugins.names("corpus") if name not in ("chat_file", "matched_chats")]
    if path.is_file() or (path.is_dir() and (os.sep in data or data not in known)):
        return PluginSpec("chat_file", {"path": str(path.absolute()), **options})
    if data not in known:
        raise UsageError(f"{data}: no such file, and no corpus of that name{near(data, known)}")
    if options:
        raise UsageError(f"{data}: a corpus by name takes no {' or '.join(options)}: they are for a file")
    return PluginSpec(data)


def _requests(*, is_embedded: bool) -> Requests:
    """Return requests in the base's own vocabulary: those of the shipped models' world, or of the suite `core`."""
    name = "training_requests" if is_embedded else "core"
    prompts = load_benchmark(PluginSpec(name)).prompts(BenchmarkContext())
    sides = []
    for subset in ("harmful", "harmless"):
        texts = [each.messages[-1].content for each in prompts if each.subset == subset]
        sides.append(texts[:: max(1, len(texts) // REQUESTS)])
    return Requests(sides[0], sides[1], name)
