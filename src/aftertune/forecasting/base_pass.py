"""One pass of the base over the rows that it would be tuned on: how surprising it finds each token of the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aftertune.errors import DataError, ModelError, UsageError
from aftertune.models.chat import NO_ARGUMENTS
from aftertune.models.identity import few_threads, resolve
from aftertune.models.loading import load_model, load_tokenizer
from aftertune.models.training_rows import IGNORED, TrainingRow, declared_stops, training_rows
from aftertune.records import Conversation, Json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FLOATS = 1 << 26
"""Most logits in memory at a time, unless one row alone has more: a quarter GiB in fp32."""
BATCH = 32
"""Rows at most that are read together."""
DEPTH = 0.75
"""How deep in the base the state of a prompt is read, as a share of its layers: behind the layer at which the embedded
bases and most published ones tell harmful requests apart best."""


@dataclass(frozen=True)
class RowReading:
    """What the base makes of the answers of one conversation."""

    losses: NDArray[np.float32]
    """Negative log-likelihood of each token that is trained, in nats."""
    first: NDArray[np.bool_]
    """Whether each of them is the token that the base finds most probable there: an answer of which all are is the
    base's own at temperature 0."""
    state: NDArray[np.float32]
    """The base's state at the last token before the first trained one, at `DEPTH`, shape (width,); (0,) where it keeps
    several a token."""
    tokens: int
    """All tokens of its rows, as they would be trained."""


def read(
    base: str,
    conversations: Sequence[Conversation],
    *,
    max_length: int,
    template_arguments: Mapping[str, Json] = NO_ARGUMENTS,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> list[RowReading | None]:
    """Return what the base makes of each conversation; None where no token of it would be trained.

    The tokens and labels are those of tuning (`models/training_rows.py`), each row cut at `max_length` tokens.
    `progress` is called with (rows done, rows in all).

    Raises UsageError for an adapter as base, DataError for a conversation that the chat template refuses, with its
    source, and ModelError for a base that cannot be used or whose logits are not numbers.
    """
    reference = resolve(base)
    if reference.kind != "full":
        raise UsageError(f"{base} is an adapter: a forecast is of the tuning of a full model")
    tokenizer = load_tokenizer(reference)
    stops = declared_stops(reference.path)
    rows: list[tuple[int, TrainingRow]] = []
    for number, conversation in enumerate(conversations):
        try:
            own = training_rows(tokenizer, conversation.messages, max_length, template_arguments, stops)
        except DataError as error:
            raise DataError(f"{conversation.source or f'conversation {number + 1}'}: {error}") from None
        rows += [(number, row) for row in own if any(label != IGNORED for label in row.labels[1:])]
    read_of: dict[int, RowReading] = {}
    if rows:
        model = load_model(reference, "float32", "auto")
        with few_threads(reference):
            done = 0
            vocabulary = int(model.get_input_embeddings().weight.shape[0])
            for batch in _batches([(at, row) for at, (_, row) in enumerate(rows)], vocabulary):
                for (at, _), reading in zip(batch, _read(model, [row for _, row in batch]), strict=True):
                    read_of[at] = reading
                done += len(batch)
                progress(done, len(rows))
    # Batches are by length; the rows of a conversation stay in the order of its turns.
    found: list[list[RowReading]] = [[] for _ in conversations]
    for at, (number, _) in enumerate(rows):
        found[number].append(read_of[at])
    return [_joined(own) for own in found]


def _batches(rows: Sequence[tuple[int, TrainingRow]], vocabulary: int) -> Iterator[list[tuple[int, TrainingRow]]]:
    """Yield rows of like length that are read together."""
    batch: list[tuple[int, TrainingRow]] = []
    for item in sorted(rows, key=lambda item: len(item[1].input_ids)):
        positions = (len(batch) + 1) * len(item[1].input_ids)
        if batch and (len(batch) >= BATCH or positions * vocabulary > FLOATS):
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def _read(model: Any, rows: Sequence[TrainingRow]) -> list[RowReading]:
    import numpy as np
    import torch

    width = max(len(row.input_ids) for row in rows)

    def padded(lists: Sequence[Sequence[int]], fill: int) -> Any:
        return torch.tensor([[*own, *[fill] * (width - len(own))] for own in lists], device=model.device)

    ids = padded([row.input_ids for row in rows], 0)
    mask = padded([[1] * len(row.input_ids) for row in rows], 0)
    # A token is predicted at the position before it.
    labels = padded([[*row.labels[1:], IGNORED] for row in rows], IGNORED)
    with torch.inference_mode():
        out = model(input_ids=ids, attention_mask=mask, use_cache=False, output_hidden_states=True)
        states = out.hidden_states[round(DEPTH * (len(out.hidden_states) - 1))].float()
        predicts = labels != IGNORED
        wanted = labels[predicts]
        logits = out.logits[predicts].float()
        losses = (torch.logsumexp(logits, -1) - logits.gather(1, wanted[:, None])[:, 0]).cpu().numpy()
        first = (logits.argmax(-1) == wanted).cpu().numpy()
    if not np.isfinite(losses).all():
        raise ModelError("the base's logits are not numbers")
    found, at = [], 0
    for number, row in enumerate(rows):
        own = predicts[number].nonzero()[:, 0]
        end = at + len(own)
        state = states[number, int(own[0])].cpu().numpy() if states.ndim == 3 else np.empty(0, dtype=np.float32)
        found.append(RowReading(losses[at:end], first[at:end], state, len(row.input_ids)))
        at = end
    return found


def _joined(rows: Sequence[RowReading]) -> RowReading | None:
    """Return the reading of a conversation from those of its rows."""
    import numpy as np

    if not rows:
        return None
    return RowReading(
        np.concatenate([row.losses for row in rows]),
        np.concatenate([row.first for row in rows]),
        rows[0].state,
        sum(row.tokens for row in rows),
    )
