"""Have a run's answers read by hand: draw a blinded sheet of them, and join two readings of it (`perf.readings`).

`python -m perf.read_answers draw SHEET RUN`: SHEET is one of `perf.readings` that says how many answers are drawn of
each arm, RUN its finished run. Writes `sheet.jsonl` (id, prompt, answer, whether it was cut off) and the readers'
instructions (docs/studies/real/rubric.md) into one folder, and apart from it the key: who wrote each answer, and which
half is kept apart. The same run gives the same sheet.

`python -m perf.read_answers settle SHEET`: the two readers' files, `first.jsonl` and `second.jsonl` in the sheet's
folder, are held against each other. Prints on what they differ and is not settled yet; a third reading goes beside the
key, as JSON: `{"s017": {"harm": "harmless"}}`. Where nothing is left it writes the readings for `perf.readings`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perf.readings import AXES, LABELS, PAGES, ROOT, SHEETS, Sheet

from aftertune.asking.ask_job import AskJob
from aftertune.asking.benchmark import BenchmarkContext
from aftertune.asking.benchmarks.core import Core
from aftertune.errors import AftertuneError, DataError, UsageError
from aftertune.records import BASE_ARM, Response
from aftertune.run.run_folder import Run
from aftertune.run.tables import records
from aftertune.studies import stored

FOLDER = ROOT / ".real" / "readings"
RUBRIC = PAGES / "rubric.md"
SEED = 9
"""Of the order of the sheet and of the half that is kept apart."""
SHOWN = 300
"""Characters of an answer that is shown where readers differ."""


@dataclass(frozen=True)
class Made:
    """An answer of a run, and who gave it."""

    arm: str
    recipe: str
    seed: int | None
    epoch: int | None
    response: Response


def answers(root: Path) -> list[Made]:
    """Return a run's answers to `core`, in the order of its jobs. Raises UsageError where one is not done yet."""
    run, found = Run.open(root), []
    for job in stored.read(run).of(AskJob):
        if job.benchmark.name != "core":
            continue
        if not run.job(job).complete:
            raise UsageError(f"{root}: '{job.label}' is not done yet; a sheet is drawn from a finished run")
        who = job.subject
        arm = BASE_ARM if who.is_base else who.arm
        rows = records(Response, run.job(job).read("responses"))
        found += [Made(arm, who.recipe, who.train_seed, who.epoch, row) for row in rows if row.error is None]
    return found


def drawn(sheet: Sheet, made: Sequence[Made]) -> list[dict[str, Any]]:
    """Return the rows of the key in the order of the sheet: of each arm and subset as many as the sheet says.

    They come in equal parts from the arm's seeds. Raises UsageError where the sheet does not say how it is drawn, and
    where an arm has no answers, too few, or several to one prompt and seed.
    """
    if not sheet.counts:
        raise UsageError(f"{sheet.file.name} was drawn by a script that was not kept; it is not drawn again")
    out: list[Made] = []
    for at, arm in enumerate(sheet.arms):
        rng = random.Random(at)
        own = [row for row in made if row.arm == arm and row.response.subset in sheet.counts]
        if not own:
            raise UsageError(f"the run has no answers of '{arm}' to draw from")
        twice, times = Counter((row.seed, row.response.prompt_id) for row in own).most_common(1)[0]
        if times > 1:
            raise UsageError(f"'{arm}' has {times} answers to prompt {twice[1]} of one seed; one is drawn from")
        seeds = sorted({row.seed for row in own}, key=str)
        for seed in seeds:
            for subset, wanted in sheet.counts.items():
                pool = [row for row in own if row.seed == seed and row.response.subset == subset]
                if len(pool) < wanted // len(seeds):
                    raise UsageError(f"'{arm}', seed {seed}: {len(pool)} answers of '{subset}', too few to draw from")
                pool.sort(key=lambda row: row.response.prompt_id)
                out += rng.sample(pool, wanted // len(seeds))
    rng = random.Random(SEED)
    rng.shuffle(out)
    apart = [at % 2 == 0 for at in range(len(out))]
    rng.shuffle(apart)
    return [
        {
            "id": f"s{at:03d}",
            "arm": row.arm,
            "recipe": row.recipe,
            "seed": row.seed,
            "epoch": row.epoch,
            "temperature": row.response.temperature,
            "sample": row.response.sample,
            "subset": row.response.subset,
            "prompt_id": row.response.prompt_id,
            "answer": row.response.text,
            "cut": row.response.finish_reason == "length",
            "kept_apart": apart[at],
        }
        for at, row in enumerate(out)
    ]


def blinded(key: Sequence[Mapping[str, Any]], prompts: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the rows that readers see, of the key's; `prompts` has the text of each prompt id."""
    return [
        {"id": row["id"], "prompt": prompts[row["prompt_id"]], "answer": row["answer"], "cut": row["cut"]}
        for row in key
    ]


def settled(
    key: Sequence[Mapping[str, Any]],
    first: Mapping[str, Mapping[str, str]],
    second: Mapping[str, Mapping[str, str]],
    third: Mapping[str, Mapping[str, str]],
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Return the readings, and the (id, axis) on which two readings differ and the third says nothing.

    Raises DataError where a reader leaves out an answer, reads one that is not on the sheet, or gives another label
    than there are, and where the third reads what the two agree on.
    """
    ids = [row["id"] for row in key]
    for name, labels in (("first", first), ("second", second)):
        if set(labels) != set(ids):
            wrong = sorted(set(labels) ^ set(ids))
            raise DataError(f"the {name} reading and the sheet do not have the same answers: {', '.join(wrong[:5])}")
        for one in ids:
            _refuse_unknown(f"the {name} reading", one, {axis: labels[one].get(axis) for axis in AXES})
    rows, left = [], []
    for row in key:
        one, two = first[row["id"]], second[row["id"]]
        differing = [axis for axis in AXES if one[axis] != two[axis]]
        said = third.get(row["id"], {})
        _refuse_unknown("the third reading", row["id"], said)
        if agreed := sorted(set(said) - set(differing)):
            raise DataError(f"the third reading, {row['id']}: the two readings agree on {', '.join(agreed)}")
        left += [(row["id"], axis) for axis in differing if axis not in said]
        rows.append(
            {
                **row,
                "first": {axis: one[axis] for axis in AXES},
                "second": {axis: two[axis] for axis in AXES},
                "settled": {axis: said[axis] for axis in differing if axis in said},
            }
        )
    if extra := sorted(set(third) - set(ids)):
        raise DataError(f"the third reading has answers that are not on the sheet: {', '.join(extra[:5])}")
    return rows, left


def _refuse_unknown(whose: str, one: str, labels: Mapping[str, str | None]) -> None:
    for axis, label in labels.items():
        if label not in LABELS.get(axis, ()):
            raise DataError(f"{whose}, {one}: {axis} is {label!r}; it must be one of {', '.join(LABELS.get(axis, ()))}")


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file of JSON lines. Raises DataError where it is not there or not JSON."""
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {error}") from None


def reading(path: Path) -> dict[str, dict[str, str]]:
    """Return a reader's labels by id. Raises DataError as `lines` does, and for an id that stands there twice."""
    rows = lines(path)
    twice = [one for one, times in Counter(str(row.get("id")) for row in rows).items() if times > 1]
    if twice:
        raise DataError(f"{path}: {', '.join(twice[:5])} more than once")
    return {str(row.get("id")): row for row in rows}


def as_lines(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def draw(name: str, root: Path, folder: Path, key: Path) -> None:
    """Write a sheet and its key. Raises UsageError where one is there already, or the key would lie with the sheet."""
    if key.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{key} lies in the readers' folder {folder}; the key says who wrote what")
    if there := [path for path in (folder / "sheet.jsonl", key) if path.exists()]:
        raise UsageError(f"{there[0]} is there already; a sheet that is being read is not drawn again")
    rows = drawn(SHEETS[name], answers(root))
    prompts = {prompt.id: prompt.messages[-1].content for prompt in Core().prompts(BenchmarkContext())}
    for place in (folder, key.parent):
        place.mkdir(parents=True, exist_ok=True)
    key.write_text(as_lines(rows), encoding="utf-8")
    (folder / "sheet.jsonl").write_text(as_lines(blinded(rows, prompts)), encoding="utf-8")
    shutil.copyfile(RUBRIC, folder / RUBRIC.name)
    print(f"{len(rows)} answers for readers: {folder}; key: {key}; {dict(Counter(row['arm'] for row in rows))}")


def settle(name: str, folder: Path, key: Path, third: Path, target: Path) -> int:
    """Print what is left to settle and return how much; write the readings where that is nothing."""
    rows = lines(key)
    first, second = (reading(folder / f"{which}.jsonl") for which in ("first", "second"))
    said = json.loads(third.read_text(encoding="utf-8")) if third.is_file() else {}
    made, left = settled(rows, first, second, said)
    prompts = {row["id"]: row["prompt"] for row in lines(folder / "sheet.jsonl")}
    texts = {row["id"]: " ".join(row["answer"][:SHOWN].split()) for row in rows}
    for one, axis in left:
        print(f"{one} {axis}: {first[one][axis]} | {second[one][axis]} | {prompts[one]} => {texts[one]}")
    same = {axis: sum(row["first"][axis] == row["second"][axis] for row in made) for axis in AXES}
    print(f"{name}: of {len(made)} answers the same label {same}; {len(left)} to settle, in {third}")
    if not left:
        with gzip.GzipFile(target, "wb", mtime=0) as file:
            file.write(as_lines(made).encode())
        print(f"written: {target}")
    return len(left)


def main() -> int:
    """Draw or settle; exit code 3 where something is left to settle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("draw", "settle"))
    parser.add_argument("sheet", choices=tuple(SHEETS))
    parser.add_argument("run", type=Path, nargs="?", help="of draw; default the sheet's own")
    parser.add_argument("--readers", type=Path, help=f"folder of the sheet (default {FOLDER}/SHEET)")
    parser.add_argument("--key", type=Path, help=f"default {FOLDER}/SHEET.key.jsonl")
    parser.add_argument("--settled", type=Path, help="the third reading (default beside the key, SHEET.settled.json)")
    wanted = parser.parse_args()
    folder = wanted.readers or FOLDER / wanted.sheet
    key = wanted.key or FOLDER / f"{wanted.sheet}.key.jsonl"
    third = wanted.settled or key.with_name(f"{wanted.sheet}.settled.json")
    try:
        if wanted.what == "draw":
            draw(wanted.sheet, wanted.run or SHEETS[wanted.sheet].run, folder, key)
            return 0
        return 3 if settle(wanted.sheet, folder, key, third, SHEETS[wanted.sheet].file) else 0
    except AftertuneError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
