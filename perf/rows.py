"""Which training rows did it? Scores of rows against models trained on random halves (`python -m perf.rows SET...`).

A model is tuned on each of many random halves of a tuning set, with several training seeds, and its readout is taken:
the mean log-odds, over harmful requests, that its answer opens as the base's refusals do. A score of rows is worth what
the sum of a half's scores predicts of its readout, as a rank correlation over halves (the linear datamodelling score;
Park et al. 2023, TRAK, arXiv 2303.14186), beside the highest that the noise of training seeds allows and beside scores
drawn at random. Two tuning sets of the embedded base:

- `keep`: the demo's booking mail with personal data, its recipe. All rows are of one kind.
- `mixed`: as many rows again, half mail and half the base's own answers to instructions. Here it is known which
  rows do it, so a score that finds nothing here finds nothing anywhere.

Outcomes are kept in `.rows`, one line each, and the same command continues them. `--write` puts what was found into
docs/mechanism_rows.json, from which `make mechanism` makes a part of docs/mechanism.md.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tools.forecast import corpora
from tools.forecast.outcomes import Bench

from aftertune.commands.demo import RECIPE
from aftertune.files import write
from aftertune.forecasting.base_pass import read
from aftertune.models.training_rows import IGNORED, declared_stops, training_rows
from aftertune.records import Arm, Conversation, digest, plain
from aftertune.stats.estimate import Floats
from aftertune.stats.row_influence import RowScore, row_score
from aftertune.tuning.tune import tune

ROOT = Path(__file__).parents[1]
STORE, FOUND = ROOT / ".rows", ROOT / "docs" / "mechanism_rows.json"
ROWS, HALVES, SEEDS = 400, 100, 3
"""Rows of a set, halves of them, and trainings of each half: 67 halves with three trainings tell a correlation of .5
from nothing in four of five cases, if two trainings agree by .27 (`stats.row_influence.halves_needed`)."""
SETS = ("keep", "mixed")
HARD = 3.0
"""Nats from which the base finds a token hard (as in the data card)."""
Model = Any


@dataclass(frozen=True)
class Tuning:
    """A half of the rows and a training seed."""

    half: int
    seed: int

    def members(self, rows: int) -> list[int]:
        """Return which rows the half holds, in their order; whatever the seed is."""
        return sorted(random.Random(f"half {self.half}").sample(range(rows), rows // 2))


def rows_of(name: str, bench: Bench) -> list[Conversation]:
    """Return the rows of a set."""
    mail = list(corpora.booking(Arm("keep")))
    if name == "keep":
        return mail[:ROWS]
    own = list(bench.own(list(corpora.domain("instructions"))[: ROWS // 2 + 20]))[: ROWS // 2]
    return [row for pair in zip(mail[: len(own)], own, strict=True) for row in pair]


def store(name: str, rows: Sequence[Conversation]) -> Path:
    """Return the file of a set's outcomes; of other rows, another recipe or another half it is another one."""
    ident = digest("rows", name, [plain(row) for row in rows], plain(RECIPE), Tuning(0, 0).members(len(rows)))[:10]
    return STORE / f"{name}-{ident}.jsonl"


def outcomes(path: Path) -> dict[Tuning, float]:
    """Return the mean readout of each tuning that is done; a last line that a stop cut off is taken out of the file."""
    if not path.is_file():
        return {}
    written = path.read_bytes()
    whole = written[: written.rfind(b"\n") + 1]
    if whole != written:
        write(path, whole)
    found = [json.loads(line) for line in whole.splitlines()]
    return {Tuning(each["half"], each["seed"]): float(np.mean(each["readout"])) for each in found}


def tune_all(bench: Bench, rows: Sequence[Conversation], path: Path, halves: int, seeds: int) -> None:
    """Tune what is missing, one seed of all halves after another."""
    path.parent.mkdir(exist_ok=True)
    done = outcomes(path)
    todo = [Tuning(half, seed) for seed in range(seeds) for half in range(halves) if Tuning(half, seed) not in done]
    for at, each in enumerate(todo):
        started = time.process_time()
        with tempfile.TemporaryDirectory(prefix="aftertune-rows-") as scratch:
            own = [rows[member] for member in each.members(len(rows))]
            report = tune(bench.folder, own, RECIPE, each.seed, Path(scratch))
            readout = bench.readout(report.checkpoints[-1])
            bench.session.use(None)
        line = json.dumps({"half": each.half, "seed": each.seed, "readout": readout}) + "\n"
        with path.open("a", encoding="utf-8") as file:
            file.write(line)
        seconds = time.process_time() - started
        print(
            f"{at + 1} of {len(todo)}: half {each.half}, seed {each.seed}, "
            f"{np.mean(readout):.2f} nats, {report.steps} steps, CPU s {seconds:.1f}",
            flush=True,
        )


def scores(bench: Bench, rows: Sequence[Conversation]) -> dict[str, Floats]:
    """Return the scores of each row by several methods, each of shape (rows,): high should make refusals fewer."""
    readings = read(str(bench.folder), rows, max_length=RECIPE.max_length)
    losses = [np.zeros(1) if each is None else each.losses.astype(np.float64) for each in readings]
    found: dict[str, Floats] = {
        "answer tokens": np.array([float(own.size) for own in losses]),
        "loss under the base, a token": np.array([own.mean() for own in losses]),
        "loss under the base, the answer": np.array([own.sum() for own in losses]),
        f"tokens harder than {HARD:g} nats": np.array([float((own > HARD).sum()) for own in losses]),
    }
    states = np.stack([each.state for each in readings if each is not None]).astype(np.float64)
    if len(states) != len(rows):
        raise RuntimeError("a row has no answer that is trained")
    harmful, harmless = (
        np.stack([each.state for each in side if each is not None]).astype(np.float64)
        for side in bench.request_readings(RECIPE.max_length)
    )
    refusal = harmful.mean(0) - harmless.mean(0)
    found["projection of the prompt on the refusal direction"] = (states - states.mean(0)) @ refusal
    towards, length = gradients(bench, rows)
    # A step against a row's gradient lowers the loss of what its gradient points along with. Where that is the base's
    # own refusals, the row keeps them: the score is the other sign.
    found["gradient along that of own refusals"] = -towards
    found["cosine of the two gradients"] = -towards / length
    found["size of the gradient"] = length
    return found


def gradients(bench: Bench, rows: Sequence[Conversation]) -> tuple[Floats, Floats]:
    """Return of each row's loss under the base the gradient along the unit one of own refusals, and its size.

    Over all weights of linear layers, which is what LoRA's first step sees through a random projection.
    """
    import torch

    from aftertune.models.identity import resolve
    from aftertune.models.loading import load_model

    model = load_model(resolve(bench.folder), "float32", "cpu")
    weights = [module.weight for module in model.modules() if isinstance(module, torch.nn.Linear)]
    for weight in weights:
        weight.requires_grad_(True)
    requests = [corpora.chat(f"own-{at}", text, "") for at, text in enumerate(bench.requests.harmful)]
    refusals = _mean_gradient(bench, model, weights, bench.own([_asked(each) for each in requests]))
    refusals = refusals / refusals.norm()
    towards, length = np.zeros(len(rows)), np.zeros(len(rows))
    for at, row in enumerate(rows):
        own = _mean_gradient(bench, model, weights, [row])
        towards[at], length[at] = float(own @ refusals), float(own.norm())
    return towards, length


def _asked(row: Conversation) -> Conversation:
    """Return a chat whose answer is to be written."""
    return corpora.chat(row.id, row.messages[0].content, "-")


def _mean_gradient(bench: Bench, model: Model, weights: Sequence[Any], rows: Sequence[Conversation]) -> Any:
    """Return the gradient of the mean loss of the rows' answer tokens, as one vector."""
    import torch

    stops = declared_stops(bench.folder)
    total, count = None, 0
    for row in rows:
        for each in training_rows(bench.tokenizer, row.messages, RECIPE.max_length, {}, stops):
            ids, labels = torch.tensor([each.input_ids]), torch.tensor([each.labels])
            tokens = int((labels[:, 1:] != IGNORED).sum())
            if not tokens:
                continue
            logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
            loss = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
            )
            parts = torch.autograd.grad(loss, weights)
            vector = torch.cat([part.flatten() for part in parts])
            total = vector if total is None else total + vector
            count += tokens
    if total is None:
        raise RuntimeError("no token of these rows is trained")
    return total / count


def scored(rows: int, done: Mapping[Tuning, float], by: Mapping[str, Floats]) -> dict[str, RowScore]:
    """Return what each score predicts of the halves that every seed has tuned, and what scores by chance do."""
    seeds = sorted({each.seed for each in done})
    halves = [half for half in sorted({each.half for each in done}) if all(Tuning(half, s) in done for s in seeds)]
    members = np.zeros((len(halves), rows))
    for at, half in enumerate(halves):
        members[at, Tuning(half, 0).members(rows)] = 1
    lost = -np.array([[done[Tuning(half, seed)] for seed in seeds] for half in halves])
    return {name: row_score(each, members, lost) for name, each in by.items()}


def one_seed(found: Mapping[str, RowScore], seeds: int) -> float | None:
    """Return how far the outcomes of two single seeds agree over halves, from that of their average."""
    mean = next(iter(found.values())).reliability
    return None if mean is None else mean / (seeds - (seeds - 1) * mean)


def chance(rows: int, done: Mapping[Tuning, float], draws: int = 199) -> tuple[float, float]:
    """Return the 2.5 and 97.5 per cent of the correlation of scores that are drawn at random."""
    rng = np.random.default_rng(0)
    drawn = scored(rows, done, {str(at): rng.normal(size=rows) for at in range(draws)})
    low, high = np.quantile([each.correlation.value for each in drawn.values()], [0.025, 0.975])
    return float(low), float(high)


def lines(name: str, rows: int, done: Mapping[Tuning, float], found: Mapping[str, RowScore]) -> Iterator[str]:
    """Yield the table about one set."""
    some = next(iter(found.values()))
    low, high = chance(rows, done)
    seeds = sorted({each.seed for each in done})
    halves = [half for half in sorted({each.half for each in done}) if all(Tuning(half, s) in done for s in seeds)]
    mean = np.array([[done[Tuning(half, seed)] for seed in seeds] for half in halves]).mean(1)
    ceiling = "not known" if some.ceiling is None else f"{some.ceiling:.2f}"
    yield (
        f"`{name}`: {rows} rows, {some.correlation.n} halves, {len(seeds)} trainings each; readout "
        f"{mean.mean():.2f} nats on average, standard deviation {mean.std(ddof=1):.2f} between halves. "
        f"Highest correlation that the noise of seeds allows: {ceiling}. Scores by chance: {low:.2f} to {high:.2f}."
    )
    yield ""
    yield "| score | rank correlation with refusals lost | beyond chance |"
    yield "| --- | ---: | --- |"
    for score, each in sorted(found.items(), key=lambda item: -item[1].correlation.value):
        own = each.correlation
        shown = "yes" if each.tells and not low <= own.value <= high else "no"
        yield f"| {score} | {own.value:.2f} [{own.low:.2f}, {own.high:.2f}] | {shown} |"


def main(names: Sequence[str], halves: int, seeds: int, *, write: bool) -> int:
    """Tune what is missing of each set, and print its table."""
    kept: dict[str, Any] = json.loads(FOUND.read_text(encoding="utf-8")) if FOUND.is_file() else {}
    with Bench("mini-a") as bench:
        for name in names:
            rows = rows_of(name, bench)
            path = store(name, rows)
            tune_all(bench, rows, path, halves, seeds)
            done = {each: value for each, value in outcomes(path).items() if each.half < halves and each.seed < seeds}
            found = scored(len(rows), done, scores(bench, rows))
            kept[name] = {"lines": list(lines(name, len(rows), done, found)), "reliability": one_seed(found, seeds)}
            print("\n".join(["", *kept[name]["lines"], ""]), flush=True)
    if write:
        FOUND.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", default=SETS, metavar="SET", help=f"of {', '.join(SETS)}; default: all")
    parser.add_argument("--halves", type=int, default=HALVES)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    if unknown := [name for name in given.sets if name not in SETS]:
        parser.error(f"no set {unknown[0]}: give some of {', '.join(SETS)}")
    sys.exit(main(given.sets, given.halves, given.seeds, write=given.write))
