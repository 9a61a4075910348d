"""Gather what a report shows from a finished run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from aftertune.deciding.blocks import Coded
from aftertune.deciding.contrasts import formula
from aftertune.deciding.leaks import leaks
from aftertune.findings import Findings, Flip
from aftertune.pii.mask import masker
from aftertune.pii.registry import Registry
from aftertune.records import BASE_ARM, Decision, Drift, Metric, Outcome, Proof, plain
from aftertune.reporting.label_changes import LabelChanges, TextKey
from aftertune.run.run_folder import Run
from aftertune.stats.paired import wilson
from aftertune.studies import parts
from aftertune.studies import plan as planning
from aftertune.studies.plan import Plan
from aftertune.variants import composing

KINDS = ("variants", "checkpoints", "scores", "responses", "verdicts")


def gather(
    run: Run,
    plan: Plan,
    metrics: Sequence[Metric],
    verdicts: Coded,
    drifts: Sequence[Drift],
    decisions: Sequence[Decision],
    outcome: Outcome,
) -> Findings:
    """Return the findings of a run: its numbers, and the cards, proofs, examples and parameters behind them.

    `verdicts` is the verdict table of all cells. Raises StoreError for a damaged run.
    """
    design = plan.design
    gated = [metric for metric in metrics if metric.name in {d.metric for d in decisions if d.required}]
    cards, mask = cards_and_mask(run, plan)
    judges = parts.primary_judges(design)
    changes = LabelChanges(verdicts, judges, design.respond.temperatures[0])
    return Findings(
        title=design.name,
        kind="study" if design.kind == "selftest" else design.kind,
        outcome=outcome,
        decisions=decisions,
        drifts=drifts,
        metrics=metrics,
        cards=cards,
        proofs=_proofs(run, plan),
        judges=_judges(run, plan),
        flips=_flips(run, plan, changes, gated, verdicts),
        categories=changes.categories(gated),
        contrast_names={formula(contrast): contrast.name for contrast in design.contrasts},
        leaks=leaks(verdicts, judges),
        methods=_methods(run, plan),
        caveats=_caveats(run, plan),
        warnings=(
            *plan.warnings,
            *dict.fromkeys(each for _, server in _served(run, plan) for each in server["warnings"]),
        ),
        mask=mask,
    )


def cards_and_mask(run: Run, plan: Plan) -> tuple[dict[str, Any], Any]:
    """Return the cards of a run's variants, and a function that masks the personal values of all of them."""
    cards: dict[str, Any] = {}
    registries: list[Registry] = []
    several = len(plan.bases) > 1
    for cell in plan.of("variants"):
        folder = run.cell("variants", cell.id)
        owner = plan.jobs[cell.id].base.name + ": " if several else ""  # type: ignore[union-attr]
        cards |= {f"{owner}{arm}": card for arm, card in folder.document("cards").items()}
        registries += [Registry.of("mask", group) for group in composing.groups(folder)]
    return cards, masker(registries)


def _proofs(run: Run, plan: Plan) -> list[Proof]:
    proofs: dict[str, Proof] = {}
    for cell in plan.of("responses"):
        info = run.cell("responses", cell.id).info()
        proof = {key: value for key, value in (info.get("proof") or {}).items() if key}
        subject = plan.jobs[cell.id].subject  # type: ignore[union-attr]
        if proof and subject.arm != BASE_ARM:
            proofs[subject.id] = Proof(**{**proof, "checkpoint": planning.called(subject, plan.design)})
    return list(proofs.values())


def _served(run: Run, plan: Plan) -> list[tuple[str, dict[str, Any]]]:
    """Return, per responses cell of a served model, its name and what the server declared."""
    servers = []
    for cell in plan.of("responses"):
        job = plan.jobs[cell.id]
        assert isinstance(job, planning.RespondJob)
        declared = run.cell("responses", cell.id).info().get("served")
        if declared:
            name = f"{planning.called(job.subject, plan.design)} {parts.benchmark_name(job.benchmark)}"
            servers.append((name, declared))
    return servers


def _judges(run: Run, plan: Plan) -> dict[str, Any]:
    judges: dict[str, Any] = {}
    for part in plan.design.judges:
        judge = parts.judge(part)
        name = parts.judge_name(part)
        judges[name] = {"version": judge.version, "axes": ", ".join(judge.axes), **part.parameters}
    for cell in plan.of("verdicts"):
        info = run.cell("verdicts", cell.id).info()
        row = judges[info["judge"]]
        if info.get("cost"):
            spent = row.setdefault("cost", {})
            for key, value in info["cost"].items():
                if key:
                    spent[key] = spent.get(key, 0) + value
        if "anchors" not in row and info.get("anchors"):
            row["anchors"] = [{"axis": axis, "label": m["positive"], **m} for axis, m in info["anchors"].items()]
    return judges


def _flips(run: Run, plan: Plan, changes: LabelChanges, metrics: Sequence[Metric], verdicts: Coded) -> list[Flip]:
    worst = changes.worst(metrics)
    texts = _texts(run, plan, verdicts, [row for change in worst for row in (change.base, change.tuned)])
    return changes.flips(worst, texts, _prompt_texts(run, plan) if worst else {})


def _texts(run: Run, plan: Plan, verdicts: Coded, rows: Sequence[int]) -> dict[TextKey, str]:
    """Return the first answer of each response that some rows are about."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        wanted[verdicts.at("checkpoint", row), verdicts.at("benchmark", row)].add(verdicts.at("prompt_id", row))
    texts: dict[TextKey, str] = {}
    for cell in plan.of("responses"):
        job = plan.jobs[cell.id]
        assert isinstance(job, planning.RespondJob)
        which = (job.subject.id, parts.benchmark_name(job.benchmark))
        if which not in wanted:
            continue
        table = run.cell("responses", cell.id).read("responses", ("prompt_id", "corpus", "text"))
        table = table.filter(pc.is_in(table["prompt_id"], value_set=pa.array(sorted(wanted[which]))))
        for row in table.to_pylist():
            texts.setdefault((*which, row.get("corpus", ""), row["prompt_id"]), row["text"])
    return texts


def _prompt_texts(run: Run, plan: Plan) -> dict[tuple[str, str], str]:
    """Return what was asked by (benchmark, prompt)."""
    from aftertune.asking.answering import prompts_of

    texts: dict[tuple[str, str], str] = {}
    done: set[tuple[str, str | None]] = set()
    for cell in plan.of("responses"):
        job = plan.jobs[cell.id]
        assert isinstance(job, planning.RespondJob)
        which = (parts.benchmark_name(job.benchmark), job.corpus if job.variants else None)
        if which in done:
            continue
        done.add(which)
        for prompt in prompts_of(run, job):
            texts[prompt.benchmark, prompt.id] = "\n".join(message.content for message in prompt.messages)
    return texts


def _methods(run: Run, plan: Plan) -> dict[str, Any]:
    facts = run.facts()
    design: dict[str, Any] = plain(plan.design)
    bases = {
        base.name: {"weights": "unknown: a served model", **base.model.declared}
        if base.model.kind == "served"
        else {"weights": base.model.weights_hash, "tokenizer": base.model.tokenizer_hash}
        for base in plan.bases
    }
    servers = {
        name: {key: value for key, value in server.items() if key != "warnings"} for name, server in _served(run, plan)
    }
    return {
        "versions": facts.get("versions", {}),
        "hardware": facts.get("hardware", {}),
        "bases": bases,
        **({"servers": servers} if servers else {}),
        "design": {"id": plan.design.id, **{key: value for key, value in design.items() if key}},
        "cells": {kind: len(plan.of(kind)) for kind in KINDS if plan.of(kind)},
    }


def _caveats(run: Run, plan: Plan) -> list[str]:
    design = plan.design
    caveats = []
    if any(base.name.split(":")[0] == "embedded" for base in plan.bases):
        caveats.append(
            "The embedded model is a miniature of about a million parameters in a generated world: it shows that the "
            "measurement works, not how large an effect is in a model of yours."
        )
    if design.checkpoints and any(each.seed is None for each in design.checkpoints):
        caveats.append(
            "Single checkpoints were audited: this says what these weights do, not what the recipe would do with "
            "another seed. Training seeds are known to move harmfulness by more than ten points."
        )
    if not design.sources:
        caveats.append("No tuning data was given, so leaks of training data and script takeover were not measured.")
    if design.respond.temperatures == (0.0,):
        caveats.append("Only greedy answers (temperature 0) were asked; sampled answers can be worse.")
    infos = [run.cell("responses", cell.id).info() for cell in plan.of("responses")]
    proofs = [(info.get("proof") or {}).get("how", "") for info in infos]
    devices = sorted({how.rpartition(" on ")[2].partition(",")[0] for how in proofs if " on " in how})
    if len(devices) > 1:
        caveats.append(
            f"Answers were given on {' and on '.join(devices)}: the texts of one model can differ between them, so "
            "that a checkpoint asked on one and its base on the other differ by that too."
        )
    again = [info["again"] for info in infos if "again" in info]
    if total := sum(each["asked"] for each in again):
        same = sum(each["same"] for each in again)
        low, high = wilson(same, total, 0.95)
        caveats.append(
            f"With this hardware and precision a text may depend on what else is in its batch. Of {total:,} answers of "
            f"the base that were asked again among others, {same:,} were the same text: {100 * same / total:.1f} % "
            f"[{100 * low:.1f}, {100 * high:.1f}]."
        )
    caveats.append(
        "Judges make errors; their measured error on labelled anchors describes those texts, not this run's."
    )
    return caveats
