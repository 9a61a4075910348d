"""respond: prompts in, replies out, each request with a seed of its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from aftertune.errors import UsageError
from aftertune.kinds import Reply, Request, Session
from aftertune.records import Prompt, seed_of

VERSION = "1"
"""Goes into response ids: changed whenever the same request would be asked differently."""

log = logging.getLogger(__name__)


def requests(
    prompts: Sequence[Prompt],
    *,
    checkpoint_id: str,
    temperatures: Sequence[float],
    samples: int,
    max_new_tokens: int,
    seed: int,
    skip: frozenset[tuple[str, float, int]] = frozenset(),
) -> list[Request]:
    """Return one request per prompt, temperature and sample that is not in `skip`.

    At temperature 0 the answer is the same each time, so it is asked once whatever `samples` says. A request's seed
    depends on (`seed`, `checkpoint_id`, benchmark, prompt, temperature, sample) and on nothing else.
    Raises UsageError for a negative temperature, no samples, or prompts that share an id.
    """
    if samples < 1 or max_new_tokens < 1:
        raise UsageError(f"samples = {samples}, max_new_tokens = {max_new_tokens}: both must be 1 or more")
    for temperature in temperatures:
        if not 0 <= temperature < float("inf"):
            raise UsageError(f"temperature {temperature}: it must be 0 or more")
    if len({prompt.id for prompt in prompts}) < len(prompts):
        ids = [prompt.id for prompt in prompts]
        twice = next(id_ for id_ in ids if ids.count(id_) > 1)
        raise UsageError(f"two prompts have the id '{twice}'")
    if samples > 1 and 0 in temperatures:
        log.info("temperature 0 is asked once: %d samples would be the same text", samples)
    wanted = []
    for prompt in prompts:
        for temperature in dict.fromkeys(float(value) for value in temperatures):
            for sample in range(samples if temperature > 0 else 1):
                if (prompt.id, temperature, sample) not in skip:
                    own = seed_of("respond", seed, checkpoint_id, prompt.benchmark, prompt.id, temperature, sample)
                    wanted.append(Request(prompt, temperature, sample, own, max_new_tokens))
    return wanted


def respond(
    session: Session,
    prompts: Sequence[Prompt],
    *,
    checkpoint: Path | None,
    checkpoint_id: str,
    temperatures: Sequence[float],
    samples: int,
    max_new_tokens: int,
    seed: int,
    system: str | None,
    template: Literal["base", "own"],
    skip: frozenset[tuple[str, float, int]] = frozenset(),
) -> Iterator[Reply]:
    """Ask `checkpoint` (None: the base itself) every prompt at every temperature, `samples` times above 0.

    Yields the replies in the order in which they are finished; a failed one carries its error. `skip` holds the
    (prompt id, temperature, sample) that are answered already. The session is switched to the checkpoint, with proof,
    before the first request; a session that uses it already stays as it is.
    Raises UsageError for settings that cannot be asked, and what `Session.use` raises.
    """
    wanted = requests(
        prompts,
        checkpoint_id=checkpoint_id,
        temperatures=temperatures,
        samples=samples,
        max_new_tokens=max_new_tokens,
        seed=seed,
        skip=skip,
    )
    if not wanted:
        return iter(())
    session.use(checkpoint)
    return session.respond(wanted, system=system or None, template=template)
