"""What was audited: base, checkpoints, dates, versions, policy, and who may read the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from aftertune.findings import Audited, AuditedModel, Findings
from aftertune.numbers import PAGE, SHARES, VALUES, count, counts
from aftertune.reporting.index import Index

SHORT = 12
"""Digits of a hash that are shown."""
MAX_MODELS = 200
VERSIONS = ("aftertune", "torch", "transformers", "peft", "vllm")
"""Those that stand at the top; all stand under Methods."""


@dataclass(frozen=True, slots=True)
class AuditedView:
    """Pairs of a heading and its text, and the checkpoints with their hashes."""

    facts: tuple[tuple[str, str], ...]
    checkpoints: tuple[tuple[str, str], ...]
    left_off: int


def audited(index: Index) -> AuditedView | None:
    """Return what stands at the top of the page; None where no run stands behind the numbers."""
    findings, whole = index.findings, index.findings.audited
    if whole is None:
        return None
    mask = findings.mask_label
    facts = [("Base", "; ".join(_model(base, mask) for base in whole.bases) or "not known")]
    seeds = [row.n_seeds for row in index.headline if row.estimand == "recipe"]
    arms = len({row.arm for row in index.headline})
    made = "trained in this run" if whole.trained_here else "given"
    each = f" of {counts(seeds)} training seeds each" if seeds else ""
    facts.append(("Checkpoints", f"{len(whole.checkpoints):,} {made}: {count(arms, 'arm')}{each}"))
    prompts = [row.n_prompts for row in index.headline]
    if prompts:
        facts.append(("Asked", f"{counts(prompts)} prompts per metric, paired with the base's answers"))
    facts.append(("Policy", _policy(index, whole)))
    facts.append(("Judges", ", ".join(map(mask, whole.judges)) or "none"))
    facts.append(("Run", " ".join(filter(None, (whole.started, _versions(whole))))))
    facts.append(("Who may read it", _readers(findings, whole)))
    return AuditedView(
        tuple(facts),
        tuple((mask(each.name), each.identity[:SHORT]) for each in whole.checkpoints[:MAX_MODELS]),
        max(len(whole.checkpoints) - MAX_MODELS, 0),
    )


def _model(model: AuditedModel, mask: Callable[[str], str]) -> str:
    known = f"weights {model.identity[:SHORT]}" if model.identity else "weights unknown: a served model"
    return f"{mask(model.name)}, {known}"


def _policy(index: Index, whole: Audited) -> str:
    margins: Counter[str] = Counter()
    for metric, margin in whole.margins.items():
        scale = SHARES if index.scale(metric).is_percent else VALUES
        margins[PAGE.margin(margin, scale)] += 1
    if not margins:
        return f"{whole.policy}, which gates nothing here"
    parts = [f"{margin} on {count(n, 'metric')}" for margin, n in margins.most_common(4)]
    return f"{whole.policy}; margin (how much worse is allowed): {', '.join(parts)}"


def _versions(whole: Audited) -> str:
    known = [f"{name} {whole.versions[name]}" for name in VERSIONS if name in whole.versions]
    return f"with {', '.join(known)}" if known else ""


def _readers(findings: Findings, whole: Audited) -> str:
    if not findings.flips:
        return "Anybody who may know these models: it holds no answers."
    harmful = "it quotes answers that may be harmful"
    if whole.knows_people:
        return f"Those who may see the tuning data: {harmful}, and personal values are masked only as far as known."
    return f"Those who may see the prompts: {harmful}."
