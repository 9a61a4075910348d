"""The job that looks inside: it stores the activations of one subject on the prompts that one analysis reads."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from aftertune.data import prompts as stored
from aftertune.errors import ModelError
from aftertune.inside.analysis import Activations, ReadPrompt
from aftertune.inside.resolved import ResolvedAnalysis
from aftertune.models.loaded import LOADED
from aftertune.models.resolved import ResolvedBackend
from aftertune.models.session import Session, Template
from aftertune.models.subject import Subject
from aftertune.records import Json, Prompt, digest
from aftertune.run.job import Job, Output
from aftertune.run.job_folder import JobFolder
from aftertune.run.job_progress import PROGRESS
from aftertune.run.run_folder import Run
from aftertune.run.tables import records, table

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

VERSION = "2"
"""Goes into ids: changed whenever the same prompts would give other activations."""
TABLE = "activations"
"""Name of the table: a row per prompt with the fields of `ReadPrompt`, and its activations as a list of float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalRow:
    """The activations of one prompt in the journal."""

    prompt_id: str
    rows: int
    """Layers + 1."""
    values: str
    """Float32, little-endian, layer by layer, in base 64."""


@dataclass(frozen=True, kw_only=True)
class ReadJob(Job):
    """Read the activations of one subject."""

    KIND: ClassVar[str] = "activations"
    subject: Subject
    analysis: ResolvedAnalysis
    benchmark: str
    """Name of the benchmark whose prompts are read."""
    prompts: str
    """Id of the job that writes them."""
    system: str
    """System prompt; empty sends none."""
    template: Template
    backend: ResolvedBackend
    template_arguments: Mapping[str, Json] = field(default_factory=dict)
    """For the chat template, as in `records.Respond`."""

    @classmethod
    def make(cls, label: str, **fields: Any) -> ReadJob:
        """Return the job with the id of what decides the activations; `label` is the subject's name for people."""
        subject: Subject = fields["subject"]
        analysis: ResolvedAnalysis = fields["analysis"]
        benchmark: str = fields["benchmark"]
        return cls(
            kind=cls.KIND,
            id=digest(
                cls.KIND,
                VERSION,
                subject.base.identity,
                subject.id,
                analysis.id,
                fields["prompts"],
                fields["system"],
                fields["template"],
                fields.get("template_arguments", {}),
                fields["backend"].id,
            ),
            after=tuple(need for need in (subject.tuned_by, fields["prompts"]) if need),
            cost=1.0,
            label=f"look inside {label} on {benchmark}",
            accelerator=True,
            alike=f"{subject.base.name}/{benchmark}",
            **fields,
        )

    def run(self, run: Run, folder: JobFolder) -> Output:
        """Read what the journal does not hold yet.

        Raises ModelError where the backend shows no activations or a value is not finite, DataError where the prompts
        do not serve the analysis.
        """
        prompts = {prompt.id: prompt for prompt in stored.read(run.folder("prompts", self.prompts))}
        selected = self.analysis.get().select(list(prompts.values()))
        values = {row.prompt_id: _decoded(row) for row in folder.journal(JournalRow) if row.prompt_id in prompts}
        missing = [prompts[id] for id in dict.fromkeys(each.prompt_id for each in selected) if id not in values]
        session = LOADED.session(self.backend.get(), self.subject.base)
        proof = session.use(self.subject.checkpoint(run.root))
        PROGRESS.expect(len(values) + len(missing), unit="prompts", done=len(values))
        with folder.writer() as journal:
            for prompt in missing:  # one at a time: its activations depend on no other prompt
                values[prompt.id] = self._read(session, prompt)
                journal.add(_encoded(prompt.id, values[prompt.id]))
                PROGRESS.advance()
        arrays = [values[each.prompt_id] for each in selected]
        rows, width = arrays[0].shape
        info = {"proof": proof, "prompts": len(selected), "layers": rows - 1, "width": width}
        return Output(tables={TABLE: to_table(selected, arrays)}, info=info)

    def _read(self, session: Session, prompt: Prompt) -> NDArray[np.float32]:
        import numpy as np

        (array,) = session.activations(
            [prompt],
            system=self.system or None,
            template=self.template,
            template_arguments=self.template_arguments,
        )
        if not np.isfinite(array).all():
            raise ModelError(
                f"{self.label}: activations of prompt '{prompt.id}' are not finite; use float32, or "
                "leave the analysis out"
            )
        return np.asarray(array)


def _encoded(prompt_id: str, array: NDArray[np.float32]) -> JournalRow:
    values = base64.b64encode(array.astype("<f4").tobytes()).decode()
    return JournalRow(prompt_id=prompt_id, rows=len(array), values=values)


def _decoded(row: JournalRow) -> NDArray[np.float32]:
    import numpy as np

    return np.frombuffer(base64.b64decode(row.values), dtype="<f4").reshape(row.rows, -1).astype(np.float32)


def to_table(prompts: Sequence[ReadPrompt], arrays: Sequence[NDArray[np.float32]]) -> pa.Table:
    """Return activations as an Arrow table; `arrays` are (layers + 1, width), one per prompt."""
    import numpy as np
    import pyarrow as pa

    flat = pa.array(np.concatenate([array.ravel() for array in arrays]))
    return table(ReadPrompt, prompts).append_column(
        pa.field("values", pa.list_(pa.float32(), arrays[0].size), nullable=False),
        pa.FixedSizeListArray.from_arrays(flat, arrays[0].size),
    )


def read(folder: JobFolder) -> Activations:
    """Return the activations of a finished folder. Raises StoreError where it is damaged or not done."""
    import numpy as np

    rows = folder.read(TABLE)
    flat = rows.column("values").combine_chunks().flatten().to_numpy()
    width = int(folder.info()["width"])
    values = np.asarray(flat, dtype=np.float32).reshape(rows.num_rows, -1, width)
    return Activations(records(ReadPrompt, rows.drop_columns(["values"])), values)
