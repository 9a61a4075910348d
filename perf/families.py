"""Whether every family of models that transformers can build is asked, tuned and proved as it should be.

Of each family a tiny model with random weights is made (`tiny_families.py`), with the embedded base's tokenizer, and
- asked six prompts of unequal length greedily, each alone and all in a batch, against transformers' `generate`;
- so is a LoRA adapter of it that PEFT made on all linear layers, merged and unmerged, against PEFT's own model;
- tuned for a few steps, and the checkpoint asked.

Each family has a process and a limit of seconds of its own. `--only FAMILY ...` tries some; `--write` puts the table
into docs/families.md. It ends with 1 where a family's outcome is a failure.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from perf import tiny_families

from aftertune import shipped_models as embedded
from aftertune import thoughts
from aftertune.errors import AftertuneError
from aftertune.records import Conversation, Message, Prompt, Recipe

SECONDS = 120
"""Of one core, that one family may take."""
WALL = 20 * SECONDS
"""Seconds that it may take where many processes share a core."""
MEMORY = 12 << 30
"""Bytes of address space that one family may take."""
LIMIT = 6
"""New tokens of an answer."""
DOCUMENT = Path(__file__).parent.parent / "docs" / "families.md"
TEXTS = (
    "No",
    "Help",
    "Good morning",
    "How do I repair a bicycle tyre?",
    "I would like to change my booking to the second of May, please.",
    "Where would you like to go, and with how many people? Answer shortly, and tell me what it costs and how to pay.",
)
PROMPTS = tuple(Prompt(f"p{at}", "families", "s", "c", "k", (Message("user", text),)) for at, text in enumerate(TEXTS))

FAILURES = ("different", "traceback", "took too long", "ended the process", "refused after training")
"""How outcomes begin that must not be."""


PARTS = {
    "base": "As a base",
    "merged": "An adapter by PEFT, merged",
    "unmerged": "The same, unmerged",
    "tuned": "Tuned by us and asked",
}


@dataclass
class Trial:
    """What became of one family."""

    family: str
    kind: str
    outcomes: dict[str, str] = field(default_factory=dict)
    """Part (`base`, `merged`, `unmerged`, `tuned`) -> outcome."""
    words: dict[str, str] = field(default_factory=dict)
    """Part -> the error in words."""
    answers: int = 0
    """Different ones that transformers' `generate` gave as the base: one alone would prove little."""
    seconds: float = 0.0

    @property
    def failures(self) -> list[str]:
        """Return the parts that failed."""
        return [part for part, outcome in self.outcomes.items() if outcome.startswith(FAILURES)]


def main() -> int:
    """Try the families, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="FAMILY")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS), help="try these alone")
    parser.add_argument("--write", action="store_true", help="put the table into docs/families.md")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the outcomes to this file too")
    arguments = parser.parse_args()
    families = tiny_families.families()
    unknown = sorted(set(arguments.only) - set(families))
    if unknown:
        parser.error(f"no such family: {', '.join(unknown)}")
    chosen = {name: kind for name, kind in families.items() if not arguments.only or name in arguments.only}
    trials = run(chosen, arguments.processes, arguments.parts)
    print(table(trials))
    print(summary(trials))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(trial) for trial in trials], indent=1))
    if arguments.write:
        begin, end = "<!-- made by perf/families.py -->", "<!-- end -->"
        before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(begin)
        after = rest.partition(end)[2]
        made = f"{begin}\n\n{summary(trials)}\n\n{table(trials)}\n\n{end}"
        DOCUMENT.write_text(f"{before}{made}{after}", encoding="utf-8")
    return int(any(trial.failures for trial in trials))


def run(families: Mapping[str, str], processes: int, parts: Sequence[str] = tuple(PARTS)) -> list[Trial]:
    """Try families, several at once, each in a process of its own; results are in the order of `families`."""
    import peft  # noqa: F401 - the processes are forked: what is imported here costs each of them nothing
    import torch
    import transformers

    from aftertune.asking.backends import transformers as _  # noqa: F401
    from aftertune.tuning import trainer as __  # noqa: F401

    torch.set_num_threads(1)
    library: Any = transformers.utils.logging
    library.set_verbosity_error()
    forked = multiprocessing.get_context("fork")
    library.disable_progress_bar()
    waiting, done = list(families.items()), dict[str, Trial]()
    running: dict[str, tuple[Any, Any, float, Trial]] = {}
    while waiting or running:
        while waiting and len(running) < processes:
            name, kind = waiting.pop(0)
            theirs, ours = forked.Pipe(duplex=False)[::-1]
            process = forked.Process(target=_report, args=(name, kind, parts, theirs))
            process.start()
            theirs.close()
            running[name] = (process, ours, time.monotonic(), Trial(name, kind))
        for name, (process, ours, began, trial) in list(running.items()):
            over = time.monotonic() - began > WALL
            try:
                while ours.poll(0.02):
                    trial.__dict__.update(ours.recv())
            except EOFError:
                over = True
            if process.is_alive() and not over:
                continue
            if time.monotonic() - began > WALL:
                process.kill()
            process.join()
            if process.exitcode:
                late = process.exitcode in (-signal.SIGXCPU, -signal.SIGKILL)
                trial.outcomes[_part(trial, parts)] = "took too long" if late else "ended the process"
            trial.seconds = time.monotonic() - began
            print(f"{name}: {trial.outcomes} {trial.words}", file=sys.stderr, flush=True)
            done[name] = trial
            del running[name]
    return [done[name] for name in families]


def _part(trial: Trial, parts: Sequence[str]) -> str:
    """Return the part of a trial that had begun last."""
    return next((part for part in PARTS if part in parts and part not in trial.outcomes), "tuned")


def _report(name: str, kind: str, parts: Sequence[str], pipe: Any) -> None:
    """Try one family and send its trial after each part."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
    warnings.simplefilter("ignore")
    folder = Path(tempfile.mkdtemp(prefix="aftertune-family-"))
    trial = Trial(name, kind)
    try:
        for _ in attempt(trial, folder, parts):
            pipe.send(asdict(trial))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        pipe.close()


def attempt(trial: Trial, folder: Path, parts: Sequence[str] = tuple(PARTS)) -> Any:
    """Try one family; yield after each part."""
    from aftertune.models.identity import resolve
    from aftertune.models.loading import load_tokenizer

    base = folder / "base"
    tokenizer = load_tokenizer(resolve(embedded.folder()))
    try:
        tiny_families.save(trial.family, base, tokenizer)
        reference = Reference(trial, base)
        expected = reference.texts(None)
        trial.answers = len(set(expected))
    except Exception as error:  # noqa: BLE001 - whatever transformers raises for settings that do not fit
        trial.outcomes["base"], trial.words["base"] = "not built", _words(error)
        yield
        return
    if "base" in parts:
        yield from _part_of(trial, "base", partial(compared, base, None, "auto", expected))
        if trial.outcomes["base"] in ("refused", "traceback"):
            return
    adapter, attached = folder / "adapter", [part for part in ("merged", "unmerged") if part in parts]
    try:
        with_adapter = reference.save_adapter(adapter) if attached else []
    except Exception as error:  # noqa: BLE001 - PEFT's own, of a family that it does not know
        trial.outcomes |= dict.fromkeys(attached, "not by PEFT")
        trial.words[attached[0]] = _words(error)
        attached = []
    for how in attached:
        yield from _part_of(trial, how, partial(compared, base, adapter, how, with_adapter))
    if "tuned" in parts:
        yield from _part_of(trial, "tuned", lambda: tuned(base, folder / "tuned", reference))


def _part_of(trial: Trial, part: str, try_it: Callable[[], str]) -> Any:
    try:
        trial.outcomes[part] = try_it()
    except AftertuneError as error:
        trial.outcomes[part], trial.words[part] = "refused", _names(error)
    except Exception as error:  # noqa: BLE001 - which is what is looked for
        frame = traceback.extract_tb(error.__traceback__)[-1]
        trial.outcomes[part] = "traceback"
        trial.words[part] = f"{_words(error)} ({Path(frame.filename).name}:{frame.lineno})"
    yield


def compared(base: Path, checkpoint: Path | None, adapters: str, expected: Sequence[str]) -> str:
    """Return how the answers of a base or a checkpoint, alone and in a batch, stand to the expected ones."""
    from aftertune.asking.backends.transformers import Transformers
    from aftertune.models.session import Request

    requests = [Request(prompt, 0.0, 0, at, LIMIT) for at, prompt in enumerate(PROMPTS)]
    with Transformers(adapters=adapters, device="cpu").open(str(base)) as session:  # type: ignore[arg-type]
        how = session.use(checkpoint).batching
        together = {reply.prompt_id: reply for reply in session.respond(requests, system=None, template="base")}
        alone = {}
        for request in requests:
            for reply in session.respond([request], system=None, template="base"):
                alone[reply.prompt_id] = reply
    errors = [reply.error for reply in together.values() if reply.error]
    if errors:
        return f"different: {len(errors)} answers are errors, e.g. {errors[0]}"
    texts = [[found[prompt.id].text for prompt in PROMPTS] for found in (together, alone)]
    for other, what in ((texts[1], "different in a batch"), (list(expected), "different from generate")):
        if texts[0] != other:
            return f"{what}: {sum(a != b for a, b in zip(texts[0], other, strict=True))} of {len(PROMPTS)}"
    return {"any": "same", "equal lengths": "same, one length at a time", "alone": "same, one at a time"}[how]


def tuned(base: Path, out: Path, reference: Reference) -> str:
    """Tune for a few steps and return how the checkpoint's answers stand to PEFT's."""
    from aftertune.tuning.tune import tune

    rows = [
        Conversation(f"r{at}", (Message("user", text), Message("assistant", f"You said: {text}")))
        for at, text in enumerate(TEXTS)
    ]
    recipe = Recipe(epochs=1, batch_size=2, rank=4, alpha=8, learning_rate=1e-2, max_length=128)
    tune(base, rows, recipe, 0, out, precision="fp32")
    try:
        return compared(base, out / "epoch-1", "auto", reference.texts(out / "epoch-1"))
    except AftertuneError as error:
        return f"refused after training: {_names(error)}"


class Reference:
    """The family as transformers and PEFT load and ask it."""

    def __init__(self, trial: Trial, base: Path) -> None:
        """Keep what is asked; models are loaded anew each time."""
        self._kind, self._base = trial.kind, base

    def texts(self, adapter: Path | None) -> list[str]:
        """Return `generate`'s greedy answers to the prompts, one at a time."""
        import torch

        from aftertune.asking.backends._prompt_tokens import stop_ids
        from aftertune.asking.backends._thought_tokens import text_of
        from aftertune.models.chat import encode, render_text
        from aftertune.models.identity import resolve
        from aftertune.models.loading import load_tokenizer

        tokenizer = load_tokenizer(resolve(self._base))
        model = self._load()
        if adapter is not None:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, str(adapter)).eval()
        stop = stop_ids(model, tokenizer, tokenizer)  # the tokenizer's: the tiny model names the same
        found = []
        for prompt in PROMPTS:
            ids = encode(tokenizer, render_text(tokenizer, prompt.messages, None, True))
            with torch.inference_mode():
                out = model.generate(
                    input_ids=torch.tensor([ids]),
                    attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                    max_new_tokens=LIMIT,
                    do_sample=False,
                    eos_token_id=sorted(stop),
                    pad_token_id=tokenizer.pad_token_id or 0,
                )
            new = out[0, len(ids) :].tolist()
            new = new[:-1] if new and new[-1] in stop else new
            text = text_of(tokenizer, new)  # random weights write special tokens too, those of thoughts among them
            parted = thoughts.part(text)
            found.append(parted.answer if parted.found else text)
        return found

    def save_adapter(self, folder: Path) -> list[str]:
        """Write an adapter of all linear layers, as PEFT chooses them, its matrices random; return its answers."""
        import torch
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(1)
        config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
        made: Any = get_peft_model(self._load(), config)
        for name, weights in made.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(weights, std=0.1)
        made.save_pretrained(folder)
        return self.texts(folder)

    def _load(self) -> Any:
        from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

        kind: Any = AutoModelForCausalLM if self._kind == "text" else AutoModelForImageTextToText
        from transformers import GenerationConfig

        model = kind.from_pretrained(self._base).eval()
        settings: Any = GenerationConfig
        model.generation_config = settings()  # greedy means greedy: no ends that are forced, nothing banned
        return model


def _names(error: Exception) -> str:
    """Return an error's words without the folder of this trial."""
    return re.sub(r"\S*aftertune-family-\w+/", "", str(error))


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"


def table(trials: Sequence[Trial]) -> str:
    """Return one row a family, in Markdown."""
    heads = ("family", "kind", "base", "adapter, merged", "adapter, unmerged", "tuned by us", "why")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for trial in trials:
        if trial.outcomes.get("base") == "not built":
            continue
        cells = [trial.outcomes.get(part, "") for part in PARTS]
        why = "; ".join(dict.fromkeys(trial.words.values())).replace("|", "/")[:240]
        lines.append(f"| {trial.family} | {trial.kind} | {' | '.join(cells)} | {why} |")
    return "\n".join(lines)


def summary(trials: Sequence[Trial]) -> str:
    """Return how many families had which outcome, in sentences."""
    lines = []
    for part, words in PARTS.items():
        counts = Counter(trial.outcomes[part].partition(":")[0] for trial in trials if part in trial.outcomes)
        lines.append(f"{words}: " + ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common()) + ".")
    missing = [trial.family for trial in trials if trial.outcomes.get("base") == "not built"]
    if missing:
        lines.append(f"Not built, since they need settings or packages of their own: {', '.join(missing)}.")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
