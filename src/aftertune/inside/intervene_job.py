"""The job that intervenes: a direction is taken out of one subject or added to it, and its layers are exchanged.

What an intervention does is read out on prompts of other clusters than those that its direction was estimated from:
refusals of harmful requests, or what is kept private. The same is done with random directions that have the
activations' covariance, and with those of other concepts; layers are exchanged with their updates shuffled too. Some of
the prompts are answered under each direction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from aftertune.errors import ModelError
from aftertune.inside import read_job, readout, readout_job
from aftertune.inside.analysis import Activations
from aftertune.inside.concepts import ABOUT, PRIVACY
from aftertune.inside.conditions import Conditions, chosen_prompts
from aftertune.inside.direction_changes import sides
from aftertune.inside.read_job import ReadJob
from aftertune.models import respond
from aftertune.models.session import Session, StreamChange
from aftertune.models.subject import Subject
from aftertune.records import Prompt, digest, seed_of
from aftertune.run.job import Job, Output
from aftertune.run.job_folder import JobFolder
from aftertune.run.job_progress import PROGRESS
from aftertune.run.run_folder import Run
from aftertune.run.tables import table

if TYPE_CHECKING:
    from aftertune.stats.estimate import Floats

VERSION = "3"
READOUTS, ANSWERS = "readouts", "answers"
TAKE_OUT, ADD, TUNED = "take out", "add", "tuned layers"
NOTHING = "nothing"
ANSWERED = (NOTHING, TAKE_OUT, ADD)
"""Where prompts are answered too: under every direction, so that answers have the nulls of the readout."""
REST, NONE = "rest", "none"
"""What is in no layer, and the base itself, as parts of a checkpoint."""
UNSHUFFLED = "unshuffled"
"""In the job's info: part -> why its update could not be shuffled."""
TOKENS = 48
"""Of an answer under an intervention."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervened:
    """The readout of one prompt under one intervention."""

    how: str
    """`nothing`, `take out`, `add` or `tuned layers`."""
    direction: str
    """A concept, or `random 1`, ...; for layers empty, or `shuffled 1`, ... where their update is."""
    layers: str
    """E.g. `2`, `1 to 4`, `rest`."""
    prompt_id: str
    value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredSo:
    """An answer under one intervention."""

    how: str
    direction: str
    layers: str
    prompt_id: str
    text: str
    finish_reason: str


@dataclass(frozen=True, slots=True)
class _Intervention:
    how: str
    direction: str
    layers: str
    context: AbstractContextManager[None]


@dataclass(frozen=True, kw_only=True)
class InterveneJob(Job):
    """Intervene in one subject: a base, whose direction is taken out, or a checkpoint, to which it is added."""

    KIND: ClassVar[str] = "interventions"
    subject: Subject
    about: str
    """What is read out, and whose direction is estimated from half of its clusters: `refusal` or `privacy`."""
    base_activations: str
    """Id of the job that read the base on the concepts' pairs."""
    prompts: str
    """Id of the job that wrote the prompts that are read out."""
    read: tuple[str, ...]
    """Ids of those."""
    asked: tuple[str, ...]
    """Ids of the prompts that are answered too."""
    openings: tuple[str, ...]
    """Of refusals; privacy needs none."""
    single: tuple[int, ...]
    """Layers in which a direction is changed alone."""
    blocks: tuple[tuple[int, ...], ...]
    """Layers that are exchanged together."""
    draws: int
    """Random directions, and shuffled updates of each block."""
    seed: int
    conditions: Conditions

    @classmethod
    def make(
        cls,
        label: str,
        subject: Subject,
        about: str,
        base_activations: str,
        prompts: str,
        *,
        read: tuple[str, ...],
        asked: tuple[str, ...],
        openings: tuple[str, ...],
        single: tuple[int, ...],
        blocks: tuple[tuple[int, ...], ...],
        draws: int,
        seed: int,
        conditions: Conditions,
    ) -> InterveneJob:
        """Return the job with the id of what decides its numbers; `label` is the subject's name for people."""
        settings = (about, read, asked, openings, single, blocks, draws, seed, conditions.id)
        decides = (VERSION, readout.VERSION, subject.base.identity, subject.id, base_activations, prompts, *settings)
        return cls(
            kind=cls.KIND,
            id=digest(cls.KIND, *decides),
            after=(),
            cost=2.0 if subject.is_base else 4.0,  # a checkpoint's layers are exchanged too, once for each shuffle
            label=f"intervene in {label} on {about}",
            accelerator=True,
            loads=subject.id,
            subject=subject,
            about=about,
            base_activations=base_activations,
            prompts=prompts,
            read=read,
            asked=asked,
            openings=openings,
            single=single,
            blocks=blocks,
            draws=draws,
            seed=seed,
            conditions=conditions,
        )

    def run(self, run: Run, folder: JobFolder) -> Output:
        """Do every intervention, one after the other."""
        del folder
        base = read_job.read(run.folder(ReadJob.KIND, self.base_activations))
        session = self.conditions.session(self.subject, run)
        prompts = chosen_prompts(run, self.prompts, {*self.read, *self.asked})
        read = [prompt for prompt in prompts if prompt.id in self.read]
        asked = [prompt for prompt in prompts if prompt.id in self.asked]
        interventions = list(self._interventions(session, base))
        PROGRESS.expect(len(interventions) + len(self._parts) * self.draws, unit="interventions", done=0)
        rows: list[Intervened] = []
        answers: list[AnsweredSo] = []
        for each in interventions:
            own = {"how": each.how, "direction": each.direction, "layers": each.layers}
            with each.context:
                rows += [Intervened(prompt_id=id, value=value, **own) for id, value in self._read_out(session, read)]
                if asked and each.how in ANSWERED:
                    answers += [AnsweredSo(**own, **answer) for answer in self._answers(session, asked)]
            PROGRESS.advance()
        exchanged = {name: _values(rows, name) for name in (*self._parts, NONE)}
        unshuffled: dict[str, str] = {}
        for name in self._parts:
            if exchanged[name] == exchanged[NONE]:  # nothing was tuned in it
                PROGRESS.advance(self.draws)
            elif why := self._shuffled(session, name, read, rows):
                unshuffled[name] = why
        tables = {READOUTS: table(Intervened, rows), ANSWERS: table(AnsweredSo, answers)}
        return Output(tables=tables, info={"interventions": len(interventions), UNSHUFFLED: unshuffled})

    @property
    def _parts(self) -> dict[str, tuple[tuple[int, ...], bool]]:
        """What is exchanged of a checkpoint, by name: layers, and whether what is in no layer. A base has none."""
        if self.subject.is_base:
            return {}
        return {**{block_name(block): (block, False) for block in self.blocks}, REST: ((), True)}

    def _shuffled(self, session: Session, name: str, prompts: Sequence[Prompt], rows: list[Intervened]) -> str:
        """Add to `rows` the readouts with a part's update shuffled, once for each draw; return why there are none."""
        layers, rest = self._parts[name]
        for number in range(1, self.draws + 1):
            # The number alone decides, so that a draw is the same whatever else is done, and however many there are.
            seed = seed_of("shuffled update", self.seed, number)
            own = {"how": TUNED, "direction": f"shuffled {number}", "layers": name}
            with ExitStack() as exchange:
                try:
                    exchange.enter_context(session.only_tuned(layers, rest=rest, shuffled=seed))
                except ModelError as error:
                    PROGRESS.advance(self.draws - number + 1)
                    return str(error)
                rows += [Intervened(prompt_id=id, value=value, **own) for id, value in self._read_out(session, prompts)]
            PROGRESS.advance()
        return ""

    def _read_out(self, session: Session, prompts: Sequence[Prompt]) -> Iterator[tuple[str, float | None]]:
        values, _ = readout_job.read_out(self.about, session, prompts, self.openings, self.conditions)
        for prompt, value in zip(prompts, values.tolist(), strict=True):
            yield prompt.id, value if value == value else None

    def _answers(self, session: Session, prompts: Sequence[Prompt]) -> Iterator[dict[str, str]]:
        requests = respond.requests(
            prompts,
            checkpoint_id=self.subject.id,
            temperatures=(0.0,),
            samples=1,
            max_new_tokens=TOKENS,
            seed=self.seed,
            template_arguments=self.conditions.template_arguments,
        )
        own = self.conditions
        for reply in session.respond(requests, system=own.system or None, template=own.template):
            if reply.error is None and not reply.unanswered:
                yield {"prompt_id": reply.prompt_id, "text": reply.text, "finish_reason": reply.finish_reason}

    def _interventions(self, session: Session, base: Activations) -> Iterator[_Intervention]:
        yield _Intervention(NOTHING, "", "", nullcontext())
        last = base.values.shape[1] - 1
        units = list(_directions(base, self.about, self.draws, self.seed))
        for name, vectors, lengths in units:
            if self.subject.is_base:
                for layer in self.single:
                    yield _Intervention(
                        TAKE_OUT, name, str(layer), session.changed([StreamChange(layer, vectors[layer])])
                    )
                everywhere = [StreamChange(layer, vectors[layer]) for layer in range(1, last + 1)]
                yield _Intervention(TAKE_OUT, name, f"1 to {last}", session.changed(everywhere))
            else:
                for layer in self.single:
                    added = StreamChange(layer, vectors[layer], float(lengths[layer]))
                    yield _Intervention(ADD, name, str(layer), session.changed([added]))
        for name, (layers, rest) in self._parts.items():
            yield _Intervention(TUNED, "", name, session.only_tuned(layers, rest=rest))
        if self._parts:
            yield _Intervention(TUNED, "", NONE, session.only_tuned(()))


def block_name(block: Sequence[int]) -> str:
    """Return what a block of layers is called: `3`, or `3 to 5`."""
    return str(block[0]) if len(block) == 1 else f"{block[0]} to {block[-1]}"


def _values(rows: Sequence[Intervened], part: str) -> dict[str, float | None]:
    """Return the readouts of the base with one part of a checkpoint: prompt -> value."""
    return {row.prompt_id: row.value for row in rows if (row.how, row.direction, row.layers) == (TUNED, "", part)}


def _directions(base: Activations, about: str, draws: int, seed: int) -> Iterator[tuple[str, Floats, Floats]]:
    """Yield (name, units, lengths), shapes (layers + 1, width) and (layers + 1,), of all that is tried.

    First the direction that it is about, estimated from half of its clusters: refusal points at harmful requests,
    privacy at what may not be passed on, so that adding either should bring back what is lost. The lengths are its own
    whatever the direction. Random ones have the covariance of its prompts' activations.
    """
    import numpy as np

    first, second, codes = sides(base, about)
    half = [row for row, code in enumerate(codes) if code % 2 == 0]
    values = base.values.astype(np.float64)
    own = (values[[first[row] for row in half]] - values[[second[row] for row in half]]).mean(axis=0)
    own = -own if about == PRIVACY else own
    lengths = np.linalg.norm(own, axis=1)
    yield about, _unit(own), lengths
    for concept in ABOUT:
        one, other, _ = sides(base, concept)
        if one and concept != about:
            yield concept, _unit((values[one] - values[other]).mean(axis=0)), lengths
    rng = np.random.default_rng(seed_of("interventions", seed))
    within = np.concatenate([values[rows] - values[rows].mean(axis=0) for rows in (first, second)])
    # One draw has the same weights in every layer, as a concept has the same prompts.
    drawn = np.einsum("dp,plw->dlw", rng.standard_normal((draws, len(within))), within)
    for number in range(draws):
        yield f"random {number + 1}", _unit(drawn[number]), lengths


def _unit(vectors: Floats) -> Floats:
    import numpy as np

    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0))


def held_clusters(base: Activations, about: str) -> frozenset[str]:
    """Return the clusters of a concept that its direction is not estimated from: it is tried on these."""
    import numpy as np

    first, _, codes = sides(base, about)
    names = np.array([base.prompts[row].cluster for row in first])
    return frozenset(str(name) for name in np.unique(names[codes % 2 == 1]))
