"""Gather what a report shows from a finished run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from aftertune.deciding.contrasts import formula
from aftertune.deciding.leaks import leaks
from aftertune.deciding.verdict_table import Ints, VerdictTable
from aftertune.findings import CategoryRow, Findings, Flip
from aftertune.pii.mask import masker
from aftertune.pii.registry import Registry
from aftertune.records import BASE_ARM, Decision, Drift, Metric, Outcome, Proof, plain
from aftertune.run.run_folder import Run
from aftertune.stats.paired import tango_interval, wilson
from aftertune.studies import parts
from aftertune.studies import plan as planning
from aftertune.studies.plan import Plan
from aftertune.variants import composing

KINDS = ("variants", "checkpoints", "scores", "responses", "verdicts")
FLIPS = 5
"""Shown per metric and arm."""


def gather(
    run: Run,
    plan: Plan,
    metrics: Sequence[Metric],
    verdicts: VerdictTable,
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
        flips=_flips(run, plan, gated, verdicts),
        categories=_categories(plan, gated, verdicts),
        contrast_names={formula(contrast): contrast.name for contrast in design.contrasts},
        leaks=leaks(verdicts, parts.primary_judges(design)),
        methods=_methods(run, plan),
        caveats=_caveats(run, plan),
        warnings=(*plan.warnings, *dict.fromkeys(each for _, seen in _served(run, plan) for each in seen["warnings"])),
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
    found: dict[str, Proof] = {}
    for cell in plan.of("responses"):
        info = run.cell("responses", cell.id).info()
        proof = {key: value for key, value in (info.get("proof") or {}).items() if key}
        subject = plan.jobs[cell.id].subject  # type: ignore[union-attr]
        if proof and subject.arm != BASE_ARM:
            found[subject.id] = Proof(**{**proof, "checkpoint": planning.called(subject, plan.design)})
    return list(found.values())


def _served(run: Run, plan: Plan) -> list[tuple[str, dict[str, Any]]]:
    """Return, per responses cell of a served model, its name and what was seen of it."""
    found = []
    for cell in plan.of("responses"):
        job = plan.jobs[cell.id]
        assert isinstance(job, planning.RespondJob)
        seen = run.cell("responses", cell.id).info().get("served")
        if seen:
            found.append((f"{planning.called(job.subject, plan.design)} {parts.benchmark_name(job.benchmark)}", seen))
    return found


def _judges(run: Run, plan: Plan) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in plan.design.judges:
        judge = parts.judge(part)
        name = parts.judge_name(part)
        found[name] = {"version": judge.version, "axes": ", ".join(judge.axes), **part.parameters}
    for cell in plan.of("verdicts"):
        info = run.cell("verdicts", cell.id).info()
        row = found[info["judge"]]
        if info.get("cost"):
            spent = row.setdefault("cost", {})
            for key, value in info["cost"].items():
                if key:
                    spent[key] = spent.get(key, 0) + value
        if "anchors" not in row and info.get("anchors"):
            row["anchors"] = [{"axis": axis, "label": m["positive"], **m} for axis, m in info["anchors"].items()]
    return found


def _primary(plan: Plan, verdicts: VerdictTable, metric: Metric) -> tuple[Ints, Ints]:
    """Return the rows of the verdicts that a metric is read off, and the base's row for each; -1 where it has none.

    By the metric's gated judge, at the first temperature, first samples, and judged ones only. A base that was held
    against a subject's own corpus comes before one that was not.
    """
    rows = verdicts.where(
        judge=parts.primary_judges(plan.design)[metric.axis], axis=metric.axis, benchmark=metric.benchmark,
        subset=metric.subset, temperature=plan.design.respond.temperatures[0], status="ok",
    )  # fmt: skip
    rows = rows[verdicts.sample[rows] == 0]
    is_base = verdicts.equals("arm", BASE_ARM)[rows]
    before = np.full(rows.size, -1, dtype=np.int64)
    for names, bases in (
        (("base", "prompt_id"), is_base & verdicts.equals("corpus", "")[rows]),
        (("base", "corpus", "prompt_id"), is_base),
    ):
        code, firsts = verdicts.joint(names, rows)
        own = np.full(firsts.size, -1, dtype=np.int64)
        own[code[bases]] = rows[bases]
        before = np.where(own[code] >= 0, own[code], before)
    return rows[~is_base], before[~is_base]


def _unit(plan: Plan, verdicts: VerdictTable, row: int) -> str:
    """Return what the checkpoints of a row's arm are called together: with base and recipe where there are several."""
    base, arm, recipe = (verdicts.at(name, row) for name in ("base", "arm", "recipe"))
    parts_ = [arm, *([base] if len(plan.bases) > 1 else [])]
    return " · ".join([*parts_, *([recipe] if len(plan.design.tuned_with(arm)) > 1 else [])])


def _flips(run: Run, plan: Plan, metrics: Sequence[Metric], verdicts: VerdictTable) -> list[Flip]:
    """Prompts whose label got worse, the first seed of each arm: a sample to read, not a count."""
    chosen: list[tuple[Metric, int, int]] = []
    for metric in metrics:
        if metric.label is None:
            continue
        rows, before = _primary(plan, verdicts, metric)
        rows, before = rows[before >= 0], before[before >= 0]
        arm, firsts = verdicts.joint(("base", "arm", "recipe"), rows)
        holds = verdicts.equals("label", metric.label)
        checkpoint = verdicts.codes["checkpoint"]
        worse = (holds[rows] != holds[before]) & (holds[rows] == (metric.worse == "up"))
        worse &= checkpoint[rows] == checkpoint[firsts][arm]
        shown = [np.flatnonzero(worse & (arm == one))[:FLIPS] for one in range(firsts.size)]
        chosen += [(metric, int(rows[at]), int(before[at])) for at in sorted(np.concatenate(shown))] if shown else []
    texts = _texts(run, plan, verdicts, [row for _, *pair in chosen for row in pair])
    asked = _prompt_texts(run, plan) if chosen else {}

    def text_of(row: int, asked_as: int) -> str:
        place = verdicts.at("checkpoint", row), verdicts.at("benchmark", row)
        prompt = verdicts.at("prompt_id", row)
        own, shared = ((place, corpus, prompt) for corpus in (verdicts.at("corpus", asked_as), ""))
        return texts.get(own) or texts.get(shared) or ""

    found = []
    for metric, row, base in chosen:
        prompt = verdicts.at("prompt_id", row)
        found.append(
            Flip(
                metric=metric.name,
                arm=_unit(plan, verdicts, row),
                prompt=asked.get((metric.benchmark, prompt), prompt),
                base_text=text_of(base, row),
                tuned_text=text_of(row, row),
                base_label=verdicts.at("label", base),
                tuned_label=verdicts.at("label", row),
                category=verdicts.at("category", row),
                prompt_id=prompt,
                train_seed=verdicts.at("train_seed", row),
            )
        )
    return found


def _texts(run: Run, plan: Plan, verdicts: VerdictTable, rows: Sequence[int]) -> dict[tuple[tuple[str, str], str, str], str]:
    """Return the first answer of ((checkpoint, benchmark), corpus, prompt) for what some rows are about."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        wanted[verdicts.at("checkpoint", row), verdicts.at("benchmark", row)].add(verdicts.at("prompt_id", row))
    found: dict[tuple[tuple[str, str], str, str], str] = {}
    for cell in plan.of("responses"):
        job = plan.jobs[cell.id]
        assert isinstance(job, planning.RespondJob)
        which = (job.subject.id, parts.benchmark_name(job.benchmark))
        if which not in wanted:
            continue
        table = run.cell("responses", cell.id).read("responses", ("prompt_id", "corpus", "text"))
        table = table.filter(pc.is_in(table["prompt_id"], value_set=pa.array(sorted(wanted[which]))))
        for row in table.to_pylist():
            found.setdefault((which, row.get("corpus", ""), row["prompt_id"]), row["text"])
    return found


def _prompt_texts(run: Run, plan: Plan) -> dict[tuple[str, str], str]:
    from aftertune.asking.answering import prompts_of

    found: dict[tuple[str, str], str] = {}
    done: set[tuple[str, str | None]] = set()
    for cell in plan.of("responses"):
        job = plan.jobs[cell.id]
        assert isinstance(job, planning.RespondJob)
        which = (parts.benchmark_name(job.benchmark), job.corpus if job.variants else None)
        if which in done:
            continue
        done.add(which)
        for prompt in prompts_of(run, job):
            found[prompt.benchmark, prompt.id] = "\n".join(message.content for message in prompt.messages)
    return found


def _categories(plan: Plan, metrics: Sequence[Metric], verdicts: VerdictTable) -> list[CategoryRow]:
    """Return per category and arm how many (prompt, seed) pairs got worse and better."""
    found: list[CategoryRow] = []
    for metric in metrics:
        if metric.label is None:
            continue
        rows, before = _primary(plan, verdicts, metric)
        if np.unique(verdicts.codes["category"][rows]).size < 2:
            continue
        rows, before = rows[before >= 0], before[before >= 0]
        holds = verdicts.equals("label", metric.label)
        was, now = holds[before], holds[rows]
        group, firsts = verdicts.joint(("base", "arm", "recipe", "category"), rows)
        prompt = verdicts.joint(("base", "arm", "recipe", "category", "prompt_id"), rows)[1]
        masks = {"was": was, "now": now, "gained": now & ~was, "lost": was & ~now}
        sums = {name: np.bincount(group[mask], minlength=firsts.size) for name, mask in masks.items()}
        sizes = np.bincount(group, minlength=firsts.size)
        place = np.empty(len(verdicts), dtype=np.int64)
        place[rows] = group
        prompts = np.bincount(place[prompt], minlength=firsts.size)
        named = [(_unit(plan, verdicts, row), verdicts.at("category", row)) for row in firsts]
        for one in sorted(range(firsts.size), key=named.__getitem__):
            arm, category = named[one]
            n, gained, lost = int(sizes[one]), int(sums["gained"][one]), int(sums["lost"][one])
            low, high = tango_interval(gained, lost, n)
            found.append(
                CategoryRow(
                    metric=metric.name,
                    arm=arm,
                    category=category,
                    base=int(sums["was"][one]) / n,
                    tuned=int(sums["now"][one]) / n,
                    delta=(gained - lost) / n,
                    low=low,
                    high=high,
                    n_prompts=int(prompts[one]),
                    worse_flips=gained if metric.worse == "up" else lost,
                    better_flips=lost if metric.worse == "up" else gained,
                    n_pairs=n,
                    warning="few prompts" if prompts[one] < 10 else "",
                )
            )
    return found


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
        name: {key: value for key, value in seen.items() if key != "warnings"} for name, seen in _served(run, plan)
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
    found = []
    if any(base.name.split(":")[0] == "embedded" for base in plan.bases):
        found.append(
            "The embedded model is a miniature of about a million parameters in a generated world: it shows that the "
            "measurement works, not how large an effect is in a model of yours."
        )
    if design.checkpoints and any(given.seed is None for given in design.checkpoints):
        found.append(
            "Single checkpoints were audited: this says what these weights do, not what the recipe would do with "
            "another seed. Training seeds are known to move harmfulness by more than ten points."
        )
    if not design.sources:
        found.append("No tuning data was given, so leaks of training data and script takeover were not measured.")
    if design.respond.temperatures == (0.0,):
        found.append("Only greedy answers (temperature 0) were asked; sampled answers can be worse.")
    infos = [run.cell("responses", cell.id).info() for cell in plan.of("responses")]
    told = [(info.get("proof") or {}).get("how", "") for info in infos]
    devices = sorted({how.rpartition(" on ")[2].partition(",")[0] for how in told if " on " in how})
    if len(devices) > 1:
        found.append(
            f"Answers were given on {' and on '.join(devices)}: the texts of one model can differ between them, so "
            "that a checkpoint asked on one and its base on the other differ by that too."
        )
    again = [info["again"] for info in infos if "again" in info]
    if asked := sum(each["asked"] for each in again):
        same = sum(each["same"] for each in again)
        low, high = wilson(same, asked, 0.95)
        found.append(
            f"With this hardware and precision a text may depend on what else is in its batch. Of {asked:,} answers of "
            f"the base that were asked again among others, {same:,} were the same text: {100 * same / asked:.1f} % "
            f"[{100 * low:.1f}, {100 * high:.1f}]."
        )
    found.append("Judges make errors; their measured error on labelled anchors describes those texts, not this run's.")
    return found
