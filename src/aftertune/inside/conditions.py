"""How models are asked where something is read of their inside: as the run asked them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from aftertune.data import prompts as stored
from aftertune.models.loaded import LOADED
from aftertune.models.resolved import ResolvedBackend
from aftertune.models.session import Session, Template
from aftertune.models.subject import Subject
from aftertune.records import Json, Prompt, digest
from aftertune.run.run_folder import Run


@dataclass(frozen=True)
class Conditions:
    """What decides how a prompt reaches a model."""

    backend: ResolvedBackend
    system: str
    """System prompt; empty sends none."""
    template: Template
    template_arguments: Mapping[str, Json] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Hash of all of it."""
        return digest(self.backend.id, self.system, self.template, self.template_arguments)

    def session(self, subject: Subject, run: Run) -> Session:
        """Return the session of a subject's base, with the subject in use. Raises ModelError."""
        session = LOADED.session(self.backend.get(), subject.base)
        session.use(subject.checkpoint(run.root))
        return session


def chosen_prompts(run: Run, id: str, chosen: Collection[str]) -> list[Prompt]:
    """Return those of a prompts job's prompts that are wanted by id, in its order."""
    return [prompt for prompt in stored.read(run.folder("prompts", id)) if prompt.id in chosen]
