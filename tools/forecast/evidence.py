"""The evidence: one file for each base, variant and seed under `.forecast/`, written whole or not at all.

Whatever is there is not made again, so the same command continues what a kill cut short. What was made of other rows
than there are now, or of another base, is refused by name.
"""

from __future__ import annotations

import dataclasses
import gc
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.forecast.outcomes import Bench
from tools.forecast.real import REAL, RealBench
from tools.forecast.variants import Variant, all_variants, real_variants

from aftertune.errors import StoreError
from aftertune.files import write
from aftertune.forecasting import data_card
from aftertune.records import Conversation, digest, plain

ROOT = Path(__file__).parents[2]
STORE = ROOT / ".forecast"
BASES = ("mini-a", "mini-c")
"""The base that all variants are tuned on, and the second one."""
SEEDS = (0, 1, 2)
REAL_SEEDS = (0, 1)
VERSION = "2"
"""Changed whenever the same variant would be asked otherwise."""
CARDS = "2"
"""Changed whenever the same variant would get another card."""


@dataclass(frozen=True)
class Job:
    """One training of one base, or with `seed` None its few steps of a probe."""

    base: str
    variant: Variant
    seed: int | None

    @property
    def path(self) -> Path:
        """Where its outcome lies; another recipe or another rule of the variant lies elsewhere."""
        v, sizes = self.variant, bench_of(self.base).sizes
        ident = digest("forecast evidence", VERSION, self.base, v.name, v.tokens, plain(v.recipe), sizes, self.seed)
        name = v.name.replace("/", "-").replace(" ", "_")
        last = "probe" if self.seed is None else f"seed-{self.seed}"
        return STORE / self.base / f"{name}-{last}-{ident[:10]}.json"


def jobs(bases: Sequence[str] = BASES, seeds: Sequence[int] = SEEDS) -> Iterator[Job]:
    """Yield every job in the order in which they are done.

    All with the first seed come first; of them the first variant of each corpus, for all bases, then the second of
    each, so that what is there after any of them covers as many corpora as can be. Probes follow the first seed.
    """
    rounds: dict[int, list[Variant]] = {}
    seen: Counter[tuple[str, ...]] = Counter()
    for variant in all_variants():
        rounds.setdefault(seen[variant.corpora], []).append(variant)
        seen[variant.corpora] += 1
    for seed in (seeds[0], None, *seeds[1:]):
        for _, variants in sorted(rounds.items()):
            for base in bases:
                for variant in variants:
                    if variant.second or base == bases[0]:
                        yield Job(base, variant, seed)


def real_jobs() -> Iterator[Job]:
    """Yield the jobs on the real model, all with the first seed before any with the second."""
    for seed in REAL_SEEDS:
        for variant in real_variants():
            yield Job(REAL, variant, seed)


def variants_of(base: str) -> Sequence[Variant]:
    """Return the variants that a base is tuned on."""
    return real_variants() if base == REAL else all_variants()


def bench_of(base: str) -> type[Bench]:
    """Return what a base is asked by."""
    return RealBench if base == REAL else Bench


class Rows:
    """The rows of the variants for one base; those that the base answers itself are kept."""

    def __init__(self, bench: Bench) -> None:
        """Nothing is made yet."""
        self._bench = bench
        self._kept: dict[str, list[Conversation]] = {}

    def of(self, variant: Variant) -> list[Conversation]:
        """Return the rows of a variant."""
        key = variant.name
        if key not in self._kept:
            self._kept[key] = variant.rows(self._bench.own, self._bench.count)
        return self._kept[key]


def card_path(base: str, variant: Variant) -> Path:
    """Return where the data card of a variant under a base lies."""
    ident = digest("forecast card", CARDS, base, variant.name, variant.tokens)[:10]
    return STORE / base / f"{variant.name.replace('/', '-').replace(' ', '_')}-card-{ident}.json"


def base_path(base: str) -> Path:
    """Return where the answers of the base itself lie."""
    return STORE / base / f"base-{digest('forecast base', VERSION, base, bench_of(base).sizes)[:10]}.json"


def read(path: Path) -> Mapping[str, Any]:
    """Return what a file of the evidence holds."""
    found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def build(limit: int | None = None, *, real: bool = False) -> int:
    """Do what is missing, at most `limit` jobs, and return how many are still missing; `real`: on the real model."""
    missing = [job for job in (real_jobs() if real else jobs()) if not job.path.is_file()]
    todo = missing[:limit]
    done = 0
    while done < len(todo):
        base = todo[done].base
        with bench_of(base)(base) as bench:
            if not base_path(base).is_file():
                head = {"weights_hash": bench.weights_hash, "openings": list(bench.openings)}
                keep(base_path(base), head | dict(bench.asked(None)))
            check_base(base, bench.weights_hash)
            rows = Rows(bench)
            while done < len(todo) and todo[done].base == base:
                job = todo[done]
                own = rows.of(job.variant)
                check(base, job.variant, own)
                if not card_path(base, job.variant).is_file():
                    keep(card_path(base, job.variant), _card(bench, job.variant, own))
                if job.seed is None:
                    found = bench.probed(own, job.variant.recipe)
                else:
                    found = bench.tuned(own, job.variant.recipe, job.seed)
                keep(job.path, _head(job, own) | dict(found))
                done += 1
                seconds = found["seconds"]
                print(
                    f"{done} of {len(todo)}: {base}, {job.variant.name}, seed {job.seed}, CPU s {seconds}", flush=True
                )
                gc.collect()
    return len(missing) - len(todo)


def _head(job: Job, rows: Sequence[Conversation]) -> dict[str, Any]:
    """Return what was tuned: enough to know the row without the code that made it."""
    return {
        "base": job.base, "variant": job.variant.name, "corpora": list(job.variant.corpora), "seed": job.seed,
        "recipe": plain(job.variant.recipe), "conversations": len(rows), "rows_hash": rows_hash(rows),
    }  # fmt: skip


def rows_hash(rows: Sequence[Conversation]) -> str:
    """Return the hash of what rows say."""
    return digest([[turn.content for turn in row.messages] for row in rows])


def check(base: str, variant: Variant, rows: Sequence[Conversation]) -> None:
    """Compare what is kept of a variant with its rows as they are made now.

    Raises StoreError where it was made of others: a seed more would then be averaged with trainings on other data.
    """
    paths = [card_path(base, variant), *(Job(base, variant, seed).path for seed in (None, *SEEDS))]
    now = rows_hash(rows)
    if stale := [path for path in paths if path.is_file() and read(path).get("rows_hash") != now]:
        raise StoreError(
            f"{variant.name} on {base}: what is kept was made of other rows than its generator, or the base's own "
            f"answers, give now: delete {', '.join(map(str, stale))}; `make forecast` makes them again"
        )


def check_base(base: str, weights_hash: str) -> None:
    """Compare the base whose answers are kept with the one that is asked now. Raises StoreError where they differ."""
    path = base_path(base)
    if path.is_file() and read(path).get("weights_hash") != weights_hash:
        raise StoreError(
            f"{path}: the answers of another model than '{base}' is now: delete the folder {path.parent}; "
            "`make forecast` makes it again"
        )


def _card(bench: Bench, variant: Variant, rows: Sequence[Conversation]) -> dict[str, Any]:
    """Return the data card of a variant, with the values that its tuning may leak."""
    length = variant.recipe.max_length
    found = data_card.card(
        str(bench.folder), rows, requests=bench.requests, max_length=length, readings=bench.request_readings(length)
    )
    return {"rows_hash": rows_hash(rows), **plain(dataclasses.replace(found, rows=()))}


def keep(path: Path, value: Mapping[str, Any]) -> None:
    """Write a file of the evidence, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, (json.dumps(value, ensure_ascii=False) + "\n").encode())
