"""What the units of a run are called: one name each, the same in the terminal, in decisions, on the page and in JSON.

A unit is what numbers are about: an arm over its training seeds, a single checkpoint, the base, or a contrast. A name
starts with the arm and says only what sets the unit apart from the others in the same list, always in this order:

    keep seed 3, embedded:mini-b, lora, support, epoch 2, 4f1c..., T = 0.7, toxicity

A single checkpoint always has its training seed and epoch where they are known: the arm alone would be the arm over its
seeds. Of several temperatures the lowest goes without saying.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

from aftertune.findings import Discrimination, LeakRow, Spread
from aftertune.records import Drift


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What sets one unit of a run apart from the others."""

    base: str = ""
    arm: str
    """`base` for the untuned model; for a contrast its formula."""
    recipe: str = ""
    train_seed: int | None = None
    """Of a single checkpoint."""
    epoch: int | None = None
    checkpoint: str | None = None
    """Id of a single checkpoint; None for an arm over its training seeds, and for a contrast."""
    corpus: str = ""
    temperature: float | None = None
    judge: str = ""

    @classmethod
    def of(cls, row: Drift | LeakRow | Discrimination) -> Unit:
        """Return the unit that a row is about, with the judge and temperature behind the number."""
        return cls(
            base=row.base_model,
            arm=row.arm,
            recipe=row.recipe,
            train_seed=row.train_seed,
            epoch=row.epoch,
            checkpoint=row.checkpoint,
            corpus=row.corpus,
            temperature=row.temperature,
            judge=row.judge,
        )

    @classmethod
    def of_spread(cls, row: Spread) -> Unit:
        """Return the arm that a variance component is about."""
        return cls(base=row.base_model, arm=row.arm, recipe=row.recipe, epoch=row.epoch, temperature=row.temperature)

    @property
    def _subject(self) -> tuple[Hashable, ...]:
        return (self.base, self.arm, self.recipe, self.train_seed, self.epoch, self.corpus)


class Names:
    """Names units among each other."""

    def __init__(self, units: Iterable[Unit]) -> None:
        self._bases: set[str] = set()
        self._judges: set[str] = set()
        self._temperatures: set[float] = set()
        self._recipes: dict[str, set[str]] = defaultdict(set)
        self._corpora: dict[str, set[str]] = defaultdict(set)
        self._epochs: dict[tuple[str, str], set[int | None]] = defaultdict(set)
        self._checkpoints: dict[tuple[Hashable, ...], set[str | None]] = defaultdict(set)
        for unit in set(units):
            self._bases.add(unit.base)
            self._judges |= {unit.judge} - {""}
            self._temperatures |= set() if unit.temperature is None else {unit.temperature}
            self._recipes[unit.arm].add(unit.recipe)
            self._corpora[unit.arm].add(unit.corpus)
            self._epochs[unit.arm, unit.recipe].add(unit.epoch)
            self._checkpoints[unit._subject].add(unit.checkpoint)

    def __call__(self, unit: Unit) -> str:
        """Return the name of one of the units."""
        single = unit.checkpoint is not None
        name = [f"{unit.arm} seed {unit.train_seed}" if single and unit.train_seed is not None else unit.arm]
        name += [unit.base] if len(self._bases) > 1 else []
        name += [unit.recipe] if len(self._recipes[unit.arm]) > 1 else []
        name += [unit.corpus] if len(self._corpora[unit.arm]) > 1 else []
        if unit.epoch is not None and (single or len(self._epochs[unit.arm, unit.recipe]) > 1):
            name.append(f"epoch {unit.epoch}")
        name += [str(unit.checkpoint)] if single and len(self._checkpoints[unit._subject]) > 1 else []
        if unit.temperature is not None and unit.temperature > min(self._temperatures, default=unit.temperature):
            name.append(f"T = {unit.temperature:g}")
        name += [unit.judge] if len(self._judges) > 1 else []
        return ", ".join(part for part in name if part)


def row_names(rows: Sequence[Drift]) -> Callable[[Drift], str]:
    """Return a function that names each of `rows` among the rows of its metric."""
    units: dict[str, list[Unit]] = defaultdict(list)
    for row in rows:
        units[row.metric].append(Unit.of(row))
    names = {metric: Names(own) for metric, own in units.items()}
    return lambda row: names[row.metric](Unit.of(row))
