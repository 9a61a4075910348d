"""Compose data variants outside a run (`aftertune compose`): one chat file and one card per variant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from aftertune import plugins
from aftertune.cells import composing, work
from aftertune.design.study import Data, Design, Part
from aftertune.errors import UsageError
from aftertune.planning import parts
from aftertune.planning import plan as planning
from aftertune.records import Answers, Arm, PiiPolicy
from aftertune.store.files import write
from aftertune.store.run import CellFolder

_POLICIES = get_args(PiiPolicy)


def arms_of(pii: Sequence[str], role_swap: bool, self_generated: bool) -> tuple[Arm, ...]:
    """Return the arms: each policy, also role-swapped if asked, and the self-generated control. Raises UsageError."""
    arms: list[Arm] = []
    for policy in dict.fromkeys(pii):
        if policy not in _POLICIES:
            raise UsageError(f"pii '{policy}'{plugins.near(policy, list(_POLICIES))}")
        arms.append(Arm(policy, policy))  # type: ignore[arg-type]
        if role_swap:
            arms.append(Arm(f"{policy}-swap", policy, role_swap=True))  # type: ignore[arg-type]
    if self_generated:
        own: Answers = "self_generated"
        arms.append(Arm("self-generated", arms[0].pii, answers=own))
    return tuple(arms)


def compose(
    data: str,
    out: Path,
    *,
    pii: Sequence[str] = ("keep",),
    role_swap: bool = False,
    self_generated: bool = False,
    base: str = "embedded",
    size: int | None = None,
    seed: int = 0,
    match: bool = True,
    canaries: int = 0,
    held_out: int = 0,
    allow_residual: bool = False,
    residual_limit: float = Data.residual_limit,
) -> dict[str, Mapping[str, Any]]:
    """Write one chat file per variant of a corpus into `out`, with `cards.json` and `people.json`; return the cards.

    Args:
        data: A chat file, or a corpus by name.
        out: Folder; made if it is not there. A variant of the same name is replaced.
        pii: Policies, each a variant.
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

    Raises UsageError and DataError for what cannot be honoured; nothing is left half written.
    """
    path = Path(data).expanduser()
    if path.is_file():
        part = Part("chat_file", {"path": str(path.absolute())} | ({"limit": size} if size else {}))
    elif data in plugins.names("corpus") and data != "chat_file":
        part = Part(data, {"size": size} if size else {})
    else:
        known = [name for name in plugins.names("corpus") if name != "chat_file"]
        raise UsageError(f"{data}: no such file, and no corpus of that name{plugins.near(data, known)}")
    design = Design(
        name="compose", bases=(base,), corpus=part, arms=arms_of(pii, role_swap, self_generated), match_tokens=match,
        data_seed=seed, data=Data(canaries=canaries, held_out=held_out, allow_residual=allow_residual,
                                  residual_limit=residual_limit),
    )  # fmt: skip
    owner = planning.Base(base, parts.model(base))
    plan = planning.Plan(design, (owner,), (), (), {}, ())
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: exists and is not a folder")
    folder = CellFolder(out)
    made = work.compose_variants(plan, planning.ComposeJob(owner), folder)
    for name, content in composing.documents_as_json(made).items():
        write(out / name, content)
    cards = made["cards"]
    assert isinstance(cards, dict)
    return cards


def lines(cards: Mapping[str, Mapping[str, Any]], out: Path) -> list[str]:
    """Return the cards as a table of text lines."""
    shown = [f"{'variant':<20} {'chats':>6} {'assistant tokens':>17} {'personal values':>16}  still personal"]
    for name, card in cards.items():
        marked, residual = card["marked_personal_values"], card["residual"]
        values = "unknown" if marked is None else str(sum(marked.values()))
        left = "unknown" if residual is None else ", ".join(f"{k} {v}" for k, v in residual.items()) or "none"
        shown.append(f"{name:<20} {card['conversations']:>6} {card['assistant_tokens']:>17} {values:>16}  {left}")
    return [*shown, f"files: {out}"]
