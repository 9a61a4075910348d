"""respond: prompts in, replies out, each request with a seed of its own."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from aftertune.errors import UsageError
from aftertune.models.chat import NO_ARGUMENTS
from aftertune.models.session import Beginnings, Reply, Request, Session, Template, parted
from aftertune.records import Json, Prompt, seed_of
from aftertune.run.job_progress import PROGRESS

VERSION = "6"
"""Goes into response ids: changed whenever the same request would be asked, or its reply parted, differently."""

log = logging.getLogger(__name__)


def requests(
    prompts: Sequence[Prompt],
    *,
    checkpoint_id: str,
    temperatures: Sequence[float],
    samples: int,
    max_new_tokens: int,
    seed: int,
    thought_tokens: int = 0,
    template_arguments: Mapping[str, Json] = NO_ARGUMENTS,
    skip: frozenset[tuple[str, float, int]] = frozenset(),
) -> list[Request]:
    """Return one request per prompt, temperature and sample that is not in `skip`.

    At temperature 0 the answer is the same each time, so it is asked once whatever `samples` is. A request's seed
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
        repeated = next(id_ for id_ in ids if ids.count(id_) > 1)
        raise UsageError(f"two prompts have the id '{repeated}'")
    if samples > 1 and 0 in temperatures:
        log.info("temperature 0 is asked once: %d samples would be the same text", samples)
    pending = []
    for prompt in prompts:
        for temperature in dict.fromkeys(float(value) for value in temperatures):
            for sample in range(samples if temperature > 0 else 1):
                if (prompt.id, temperature, sample) not in skip:
                    own = seed_of("respond", seed, checkpoint_id, prompt.benchmark, prompt.id, temperature, sample)
                    limits = max_new_tokens, thought_tokens
                    pending.append(Request(prompt, temperature, sample, own, *limits, template_arguments))
    return pending


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
    template: Template,
    thought_tokens: int = 0,
    template_arguments: Mapping[str, Json] = NO_ARGUMENTS,
    skip: frozenset[tuple[str, float, int]] = frozenset(),
) -> Iterator[Reply]:
    """Ask `checkpoint` (None: the base itself) every prompt at every temperature, `samples` times above 0.

    Yields the replies in the order in which they are finished, thought and answer parted; a failed one carries its
    error. `max_new_tokens` is for the answer, `thought_tokens` for a thought before it. `skip` holds the
    (prompt id, temperature, sample) that are answered already. The session is switched to the checkpoint, with proof,
    before the first request; a session that uses it already stays as it is.
    Raises UsageError for settings that cannot be asked, and what `Session.use` raises.
    """
    pending = requests(
        prompts,
        checkpoint_id=checkpoint_id,
        temperatures=temperatures,
        samples=samples,
        max_new_tokens=max_new_tokens,
        seed=seed,
        thought_tokens=thought_tokens,
        template_arguments=template_arguments,
        skip=skip,
    )
    if not pending:
        return iter(())
    session.use(checkpoint)
    return map(parted, session.respond(pending, system=system or None, template=template))


REPEATS = 64
"""Answers that are asked for a second time where a text may depend on its batch."""


def repeat(
    session: Session,
    answered: Sequence[Request],
    texts: Mapping[tuple[str, float, int], str],
    *,
    system: str | None,
    template: Template,
) -> tuple[int, int]:
    """Send up to `REPEATS` of the requests again in other batches; return how many, and how many gave the same text.

    `texts` holds the first answers by (prompt id, temperature, sample). Requests are taken evenly from the whole and
    sent in two groups, so that no batch is as it was. Those that end in an error are not counted.
    """
    known = [request for request in answered if (request.prompt.id, request.temperature, request.sample) in texts]
    chosen = known[:: max(1, math.ceil(len(known) / REPEATS))]
    count = same = 0
    for group in (chosen[::2], chosen[1::2]):
        for reply in map(parted, session.respond(group, system=system or None, template=template)) if group else ():
            PROGRESS.advance()
            if reply.error is None:
                count += 1
                same += reply.text == texts[reply.prompt_id, reply.temperature, reply.sample]
    return count, same


def generates(prompt: Prompt) -> bool:
    """Return whether a prompt is answered; otherwise only its options' probabilities are asked for."""
    return bool(prompt.expect.get("scored", {"generate": True})["generate"])


def scores(
    session: Session,
    prompts: Sequence[Prompt],
    *,
    checkpoint: Path | None,
    system: str | None,
    template: Template,
    template_arguments: Mapping[str, Json] = NO_ARGUMENTS,
) -> dict[str, tuple[Mapping[str, float] | None, str]]:
    """Return, per id of a prompt that asks for it, its options' log-probabilities (nats), or why there are none.

    A prompt asks by `expect["scored"]`: `forms`, option -> texts that stand for it (`A`, `(A`). An option's score is

        log sum over its forms of exp(log p(answer begins with the form | prompt) / d),

    with d = 1, or with `per_token` the form's number of tokens, so that longer options are not less probable for being
    long (Brown et al. 2020, arXiv 2005.14165, section 2.4, divide likewise). The prompt is written by the chat template
    as in `respond`. Raises ModelError where the backend lacks the capability `beginnings`.
    """
    scored = [prompt for prompt in prompts if "scored" in prompt.expect]
    if not scored:
        return {}
    session.use(checkpoint)
    items = [
        Beginnings(p, tuple(text for forms in _forms(p).values() for text in forms), template_arguments) for p in scored
    ]
    results: dict[str, tuple[Mapping[str, float] | None, str]] = {}
    beginnings = session.beginnings(items, system=system or None, template=template)
    for prompt, score in zip(scored, beginnings, strict=True):
        if score.log_probabilities is None:
            results[prompt.id] = (None, score.why)
            continue
        lengths = score.tokens if prompt.expect["scored"].get("per_token") else (1,) * len(score.tokens)
        each = iter(value / length for value, length in zip(score.log_probabilities, lengths, strict=True))
        options = {key: _log_sum_exp([next(each) for _ in forms]) for key, forms in _forms(prompt).items()}
        results[prompt.id] = (options, "")
    return results


GROUP, CHARACTERS = 64, 16_000
"""Most prompts, and characters of their messages, that are scored in one go. Groups depend on the prompts alone, so
that one that a kill cut short is scored again in the same batches, to the same last digit."""


def scored_groups(prompts: Sequence[Prompt]) -> Iterator[list[Prompt]]:
    """Yield the prompts whose options are scored, in their order, in groups of bounded size."""
    group: list[Prompt] = []
    characters = 0
    for prompt in prompts:
        if "scored" not in prompt.expect:
            continue
        own = sum(len(turn.content) for turn in prompt.messages)
        if group and (len(group) >= GROUP or characters + own > CHARACTERS):
            yield group
            group, characters = [], 0
        group.append(prompt)
        characters += own
    if group:
        yield group


def _forms(prompt: Prompt) -> Mapping[str, Sequence[str]]:
    forms: Mapping[str, Sequence[str]] = prompt.expect["scored"]["forms"]
    return forms


def _log_sum_exp(values: Sequence[float]) -> float:
    largest = max(values)
    return largest + math.log(sum(math.exp(value - largest) for value in values))
