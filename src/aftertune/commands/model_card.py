"""A run's results for a model card (`aftertune card`): a section of Markdown, and metadata that the hub reads."""

from __future__ import annotations

import datetime
import json
import re
from importlib.metadata import version
from pathlib import Path

import yaml

from aftertune.commands.decide import Result
from aftertune.commands.run_view import Run, open_run
from aftertune.errors import UsageError, near
from aftertune.files import output, read_text, write
from aftertune.headline import headline
from aftertune.public import PathLike, public
from aftertune.reporting.model_card import CardFacts, model_index, section

BEGIN, END = "<!-- aftertune: begin -->", "<!-- aftertune: end -->"
YAML_BEGIN, YAML_END = "# aftertune: begin", "# aftertune: end"
_FRONT = re.compile(r"\A\s*---[\r\n]+(?P<yaml>[\S\s]*?)(?P<end>[\r\n]+---(\r\n|\r|\n|\Z))")
"""Metadata at the head of a card, as huggingface_hub finds it."""


@public("card")
def card(run: PathLike | Run | Result, out: PathLike = "", *, arm: str = "", name: str = "") -> str:
    """Return a run's results as a section of a model card, with the metadata that the hub reads (`aftertune card RUN`).

    Args:
        run: A run with decisions.
        out: A model card (`README.md`) that gets them: what an earlier call put there is replaced, all else stays as
            it is. Empty writes no file.
        arm: The arm, or checkpoint's arm, that the card is about; needed where a run has several.
        name: What the metadata calls the model; empty takes the arm's name.

    Returns the card: of an existing file the whole of it. Raises UsageError for a run without decisions, for several
    arms, and for a card with a `model-index` of somebody else.

    Example:
        >>> print(aftertune.card("audit").splitlines()[0])
        ---
    """
    view = open_run(run)
    drifts, decisions = view._drifts(), view._decisions()
    arms = list(dict.fromkeys(row.arm for row in headline(drifts, decisions)))
    if not arms:
        raise UsageError(f"{view.root}: nothing was compared, so there is nothing to say in a card")
    if arm and arm not in arms:
        raise UsageError(f"--arm {arm}: the run has no such arm{near(arm, arms)} (there: {', '.join(arms)})")
    if not arm and len(arms) > 1:
        raise UsageError(f"{view.root} has {len(arms)} arms, and a card is about one model: --arm {' | '.join(arms)}")
    arm = arm or arms[0]
    drifts = [row for row in drifts if row.arm == arm]
    decisions = [one for one in decisions if one.arm == arm]
    bases = ", ".join(dict.fromkeys(_public(row.base_model) for row in drifts))
    facts = CardFacts(bases, version("aftertune"), Path(view.design.policy).name, _day(view.root))
    metadata = yaml.safe_dump(
        {"model-index": model_index(drifts, decisions, {arm: name or arm}, facts.version)},
        sort_keys=False, allow_unicode=True,
    )  # fmt: skip
    told = section(drifts, decisions, facts)
    path = output(Path(out), endings=(".md", ".markdown"), inputs=[view.root / "report.md"]) if str(out) else None
    there = read_text(path) if path is not None and path.exists() else ""
    text = _merged(there, metadata, told, str(path))
    if path is not None:
        write(path, text.encode("utf-8"))
    return text


def _public(base: str) -> str:
    """Return what a base is called outside this machine: of a folder or file its name, a hub name as it is."""
    return Path(base).name if base.startswith(("/", ".", "~")) else base


def _day(root: Path) -> datetime.date:
    facts = json.loads((root / "run.json").read_text(encoding="utf-8"))
    return datetime.datetime.fromisoformat(facts["started"].replace("Z", "+00:00")).date()


def _merged(card: str, metadata: str, told: str, path: str) -> str:
    """Return a card with both parts in it. Raises UsageError."""
    block = f"{YAML_BEGIN}\n{metadata}{YAML_END}"
    part = f"{BEGIN}\n{told}{END}"
    front = _FRONT.match(card)
    if front is None:
        card = f"---\n{block}\n---\n\n{card.lstrip()}"
    else:
        card = _with_metadata(card, front, block, path)
    old = re.search(f"{re.escape(BEGIN)}.*?{re.escape(END)}", card, re.DOTALL)
    if old is not None:
        return card[: old.start()] + part + card[old.end() :]
    return f"{card.rstrip()}\n\n{part}\n"


def _with_metadata(card: str, front: re.Match[str], block: str, path: str) -> str:
    own = re.search(f"^{YAML_BEGIN}$.*?^{YAML_END}$", front["yaml"], re.DOTALL | re.MULTILINE)
    rest = front["yaml"] if own is None else front["yaml"][: own.start()] + front["yaml"][own.end() :]
    try:
        known = yaml.safe_load(rest) or {}
    except yaml.YAMLError:
        raise UsageError(f"{path}: the metadata at its head is no YAML: mend it, or call without -o") from None
    if not isinstance(known, dict):
        raise UsageError(f"{path}: the metadata at its head is no list of keys: mend it, or call without -o")
    if "model-index" in known:
        raise UsageError(
            f"{path}: its metadata has a model-index of its own, which a second would hide: add ours by hand "
            "(`aftertune card RUN` prints it)"
        )
    if own is None:
        metadata = f"{front['yaml'].rstrip()}\n{block}".lstrip()
    else:
        metadata = front["yaml"][: own.start()] + block + front["yaml"][own.end() :]
    return f"---\n{metadata.strip()}\n---\n{card[front.end() :]}"
