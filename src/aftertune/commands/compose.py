"""Compose data variants outside a run (`aftertune compose`): one chat file and one card per variant."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from aftertune import plugins
from aftertune.data import reading
from aftertune.errors import UsageError, near
from aftertune.files import hold, make_folder, write
from aftertune.pii import languages
from aftertune.plugins import PluginSpec
from aftertune.public import PathLike, public
from aftertune.records import Answers, Arm, Data, PiiPolicy
from aftertune.run.job_folder import JobFolder
from aftertune.studies.design import Design
from aftertune.studies.resolve import resolve_composition
from aftertune.variants.compose import no_progress
from aftertune.variants.compose_job import UNREAD_NAMES, documents_as_json

_POLICIES = get_args(PiiPolicy)
Share = Callable[[str, float | None], None]
"""Takes what is being done, and which share of the work is done, 0 to 1."""


def arms_of(pii: Sequence[str], role_swap: bool, self_generated: bool) -> tuple[Arm, ...]:
    """Return the arms: each policy, also role-swapped if asked, and the self-generated control. Raises UsageError."""
    arms: list[Arm] = []
    for policy in dict.fromkeys(pii):
        if policy not in _POLICIES:
            raise UsageError(f"pii '{policy}'{near(policy, list(_POLICIES))}")
        arms.append(Arm(policy, policy))  # type: ignore[arg-type]
        if role_swap:
            arms.append(Arm(f"{policy}-swap", policy, role_swap=True))  # type: ignore[arg-type]
    if self_generated:
        own: Answers = "self_generated"
        arms.append(Arm("self-generated", arms[0].pii, answers=own))
    return tuple(arms)


def chat_file_options(columns: str, encoding: str, skip_bad: bool) -> dict[str, str | bool]:
    """Return the parameters of the corpus `chat_file` that differ from its defaults."""
    options: dict[str, str | bool] = {"columns": columns, "encoding": encoding, "skip_bad": skip_bad}
    return {name: value for name, value in options.items() if value}


@public("compose")
def compose(
    data: PathLike,
    out: PathLike,
    *,
    pii: str | Sequence[str] = "keep",
    role_swap: bool = False,
    self_generated: bool = False,
    base: PathLike = "embedded",
    size: int | None = None,
    seed: int = 0,
    match: bool = True,
    canaries: int = 0,
    held_out: int = 0,
    allow_residual: bool = False,
    residual_limit: float = Data.residual_limit,
    columns: str = "",
    encoding: str = "",
    skip_bad: bool = False,
    progress: Share | None = None,
) -> dict[str, Mapping[str, Any]]:
    """Write one chat file per variant of a corpus into `out`, with `cards.json` and `people.json`; return the cards.

    Args:
        data: A chat file, a folder that `datasets` saved, or a corpus by name, e.g. `booking`.
        out: Folder; made if it is not there. A variant of the same name is replaced.
        pii: What is done with personal data, each a variant: `keep`, `placeholder`, `surrogate`, `novelty`, `drop`.
        role_swap: Make each also with the roles swapped.
        self_generated: Make the control whose answers are the base's own.
        base: Whose tokenizer counts tokens, and who gives those answers.
        size: Conversations; None takes the corpus's own number.
        seed: Fixes the order and the stand-ins.
        match: Stop all variants at the assistant tokens of the smallest.
        canaries: Made-up people planted once, as many 4 and as many 16 times, in every variant; they and their twins
            are written to `canaries.json`.
        held_out: Conversations that stand in no variant, written to `held_out/<variant>.jsonl`.
        allow_residual: Write a variant that still holds more personal values than the limit.
        residual_limit: Personal values per 1,000 words.
        columns: Of a chat file: which columns hold what, e.g. `prompt=ask,response=reply`; empty goes by usual names.
        encoding: Of a text file, e.g. `windows-1252`; empty is UTF-8, or what a byte order mark says.
        skip_bad: Skip rows that cannot be read; the cards count them.
        progress: Called now and then with what is being done, and the share of all the work that is done, None where
            that is not known yet.

    Answers of the base are kept in `journal` in `out` until everything is written: the same command, after it was
    killed, asks for none of them again.

    Raises UsageError and DataError for what cannot be honoured, StoreError where another process works in `out`;
    nothing is left half written.

    Example:
        >>> cards = aftertune.compose("booking", "variants", pii=["keep", "placeholder"], size=20)
        >>> sorted(cards)
        ['keep', 'placeholder']
        >>> cards["keep"]["marked_personal_values"]["PERSON"] > 0
        True
    """
    data, out = os.fspath(data), Path(out)
    path = Path(data).expanduser()
    options = chat_file_options(columns, encoding, skip_bad)
    if path.is_file() or (path.is_dir() and (os.sep in data or data not in plugins.names("corpus"))):
        limit = {"limit": size} if size else {}
        spec = PluginSpec("chat_file", {"path": str(path.absolute())} | limit | options)
    elif data in plugins.names("corpus") and data != "chat_file":
        if options:
            raise UsageError(f"{data}: a corpus by name takes no {' or '.join(options)}: they are for a file")
        spec = PluginSpec(data, {"size": size} if size else {})
    else:
        known = [name for name in plugins.names("corpus") if name != "chat_file"]
        raise UsageError(f"{data}: no such file, and no corpus of that name{near(data, known)}")
    design = Design(
        name="compose",
        bases=(os.fspath(base),),
        corpus=spec,
        arms=arms_of([pii] if isinstance(pii, str) else pii, role_swap, self_generated),
        match_tokens=match,
        data_seed=seed,
        data=Data(canaries=canaries, held_out=held_out, allow_residual=allow_residual, residual_limit=residual_limit),
    )
    job = resolve_composition(design)
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: exists and is not a folder")
    for name in ("source", *(arm.name for arm in design.arms)):
        written = out / f"{name}.jsonl"
        if written.exists() and path.exists() and written.samefile(path):
            raise UsageError(f"{out}: {written.name} in it is what is read, and would be lost: give another folder")
    folder = JobFolder(out)
    report = Work(design.arms, progress).report if progress is not None else no_progress
    with _held(out):
        documents = job.compose(folder, report)
        del documents[UNREAD_NAMES]  # each card says it
        for name, content in documents_as_json(documents).items():
            write(out / name, content)
        folder.tidy()  # the answers' journal goes last
    cards = documents["cards"]
    assert isinstance(cards, dict)
    return cards


@contextlib.contextmanager
def _held(out: Path) -> Iterator[None]:
    """Hold the folder for this process; one that is made for it and stays empty goes again."""
    missing = not out.exists()
    make_folder(out)
    try:
        with hold(out):
            yield
    finally:
        with contextlib.suppress(OSError):
            if missing and not any(item.name != ".lock" for item in out.iterdir()):
                (out / ".lock").unlink(missing_ok=True)
                out.rmdir()


class Work:
    """How much of composing is done: each kind of work counts for the time that it took on support chats."""

    def __init__(self, arms: Sequence[Arm], progress: Share) -> None:
        """Reckon what there is to do."""
        self._progress = progress
        self._asks = any(arm.answers == "self_generated" for arm in arms)
        self._weights = {"reading": 30.0}
        self._weights |= {arm.pii: 8.0 for arm in arms if arm.pii in ("surrogate", "novelty")} | {"twin": 8.0}
        self._weights["variants"] = 1.4 * len(arms)
        seen = {"keep"}
        for arm in arms:
            self._weights[f"card of {arm.name}"] = 1.5 if arm.pii in seen else 7.0
            seen.add(arm.pii)
        self._begun: list[str] = []

    def report(self, what: str, done: int, total: int) -> None:
        """Pass on what is being done and which share of the work lies behind it."""
        if what not in self._begun:
            self._begun.append(what)
        before = sum(self._weights.get(name, 0.0) for name in self._begun[:-1])
        now = self._weights.get(what, 0.0) * done / max(total, 1)
        share: float | None = (before + now) / sum(self._weights.values())
        if self._asks:  # a base that answers takes longer than all else
            share = done / max(total, 1) if what == "variants" else None
        label = {"twin": "twins", "surrogate": "stand-ins", "novelty": "stand-ins"}.get(what, what)
        self._progress(f"{label}, {done:,} of {total:,}" if total > done else label, share)


def lines(cards: Mapping[str, Mapping[str, Any]], out: Path) -> list[str]:
    """Return the cards as a table of text lines."""
    rows = [f"{'variant':<20} {'chats':>6} {'assistant tokens':>17} {'personal values':>16}  still personal"]
    for name, card in cards.items():
        marked, residual = card["marked_personal_values"], card["residual"]
        values = "unknown" if marked is None else str(sum(marked.values()))
        left = "unknown" if residual is None else ", ".join(f"{k} {v}" for k, v in residual.items()) or "none"
        if unread := languages.outside(card["names_not_looked_for"] or {}):
            left = unread if not residual else f"{left}; {unread}"
        rows.append(f"{name:<20} {card['conversations']:>6} {card['assistant_tokens']:>17} {values:>16}  {left}")
    notes = dict.fromkeys(note for card in cards.values() for note in reading.lines(card))
    if any(card["names_not_looked_for"] for card in cards.values()):
        rows.append(f"{languages.EXCEPT}: docs/pii.md")
    return [*rows, *notes, f"files: {out}"]
