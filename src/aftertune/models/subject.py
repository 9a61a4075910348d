"""Whom a study asks: its bases and their checkpoints, as they were found when it was resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from aftertune.models.identity import ModelRef
from aftertune.records import BASE_ARM


@dataclass(frozen=True)
class ModelRecord:
    """A base or an existing checkpoint: what ids, jobs and reports need of it, without its files."""

    name: str
    """As the design names it."""
    path: str
    """Local folder; for a served model, its name on the server."""
    kind: Literal["full", "adapter", "served"]
    architecture: str | None
    identity: str
    """Hash of everything that decides its answers: `ModelRef.identity`."""
    weights_hash: str | None
    """SHA-256 of the weights; None for a served model, whose weights nobody here has seen."""
    tokenizer_hash: str | None
    template_hash: str | None
    parameters: int
    """Numbers in the weight files; 0 where they are unknown."""
    declared: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What a server says of a served model."""
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, ref: ModelRef, name: str = "") -> ModelRecord:
        """Return the record of a model that was found; `name` is what the design calls it."""
        served = ref.kind == "served"
        return cls(
            name=name or ref.name,
            path=str(ref.path),
            kind=ref.kind,
            architecture=ref.architecture,
            identity=ref.identity,
            weights_hash=None if served else ref.weights_hash,
            tokenizer_hash=ref.tokenizer_hash,
            template_hash=ref.template_hash,
            parameters=0 if served else ref.parameters,
            declared=ref.declared,
            warnings=ref.warnings,
        )

    @property
    def served(self) -> bool:
        """Whether a server holds it."""
        return self.kind == "served"

    @property
    def names(self) -> frozenset[str]:
        """Every name that a served model has or declares of itself; empty for weights that are here."""
        return frozenset(self.declared[key] for key in ("asked", "replied", "root") if self.declared.get(key))


@dataclass(frozen=True)
class Subject:
    """Somebody to ask: a base, or one checkpoint of it."""

    base: ModelRecord
    arm: str
    """`base` for the base itself."""
    recipe: str
    train_seed: int | None
    epoch: int | None
    id: str
    path: str | None
    """Folder or hub name of the checkpoint, relative to the run where it was tuned there; None is the base itself."""
    tuned_by: str | None = None
    """Id of the tuning job that makes it; None for a checkpoint that existed already, and for the base."""
    corpus: str | None = None
    """Name of the corpus that it was tuned on; None for the base, and where nobody knows."""
    model: ModelRecord | None = None
    """Of a checkpoint that existed already."""
    further: str = ""
    """Which further weights of its tuning it is, made by a mitigation; its `recipe` then says so too."""

    @property
    def is_base(self) -> bool:
        """Whether it is the untuned model."""
        return self.arm == BASE_ARM

    @property
    def served_names(self) -> frozenset[str]:
        """The names of a served subject and of its base; empty for models that are here."""
        return self.base.names | (self.model.names if self.model is not None else frozenset())

    def checkpoint(self, root: Path) -> Path | None:
        """Return the checkpoint's folder, or the name by which a server knows it; None for the base.

        `root` is the run's folder.
        """
        if self.path is None:
            return None
        return root / self.path if self.tuned_by else Path(self.path)
