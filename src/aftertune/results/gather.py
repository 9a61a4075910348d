"""Gather what a report shows from a finished run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from aftertune.cells import composing
from aftertune.kinds import Proof
from aftertune.page.findings import CategoryRow, Findings, Flip
from aftertune.pii.mask import masker
from aftertune.pii.registry import Registry
from aftertune.planning import parts
from aftertune.planning import plan as planning
from aftertune.planning.plan import Plan
from aftertune.records import BASE_ARM, Decision, Drift, Metric, Outcome, Response, plain
from aftertune.stats.paired import tango_interval, wilson
from aftertune.steps.drift import formula
from aftertune.steps.leaks import leaks
from aftertune.store.run import Run, records

KINDS = ("variants", "checkpoints", "scores", "responses", "verdicts")
FLIPS = 5
"""Shown per metric and arm."""


def gather(
    run: Run,
    plan: Plan,
    metrics: Sequence[Metric],
    verdicts: Any,
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


def _primary(plan: Plan, verdicts: Any, metric: Metric) -> dict[str, Any]:
    """Return the columns of the verdicts that a metric is read off, by its gated judge, at the first temperature."""
    import pyarrow.compute as pc

    judge = parts.primary_judges(plan.design)[metric.axis]
    mask = pc.and_(pc.equal(verdicts["judge"], judge), pc.equal(verdicts["axis"], metric.axis))
    for column in ("benchmark", "subset"):
        mask = pc.and_(mask, pc.equal(verdicts[column], getattr(metric, column)))
    mask = pc.and_(mask, pc.equal(verdicts["temperature"], plan.design.respond.temperatures[0]))
    mask = pc.and_(mask, pc.equal(verdicts["sample"], 0))
    names = [
        "base",
        "arm",
        "recipe",
        "corpus",
        "train_seed",
        "epoch",
        "checkpoint",
        "prompt_id",
        "category",
        "label",
        "status",
    ]
    found: dict[str, Any] = verdicts.filter(mask).select(names).to_pydict()
    return found


def _rows(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


class _Before:
    """The base's rows by prompt: those that were held against a subject's own corpus before those that were not."""

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self._rows = {(r["base"], r["corpus"], r["prompt_id"]): r for r in rows if r["arm"] == BASE_ARM}

    def of(self, row: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the base's row for a checkpoint's."""
        own = self._rows.get((row["base"], row["corpus"], row["prompt_id"]))
        return own or self._rows.get((row["base"], "", row["prompt_id"]))


def _unit(plan: Plan, row: Mapping[str, Any]) -> str:
    """Return what the checkpoints of a row's arm are called together: with base and recipe where there are several."""
    parts_ = [row["arm"], *([row["base"]] if len(plan.bases) > 1 else [])]
    return " · ".join([*parts_, *([row["recipe"]] if len(plan.design.tuned_with(row["arm"])) > 1 else [])])


def _flips(run: Run, plan: Plan, metrics: Sequence[Metric], verdicts: Any) -> list[Flip]:
    """Prompts whose label got worse, the first seed of each arm: a sample to read, not a count."""
    texts: dict[str, dict[str, Response]] = {}

    def text_of(checkpoint: str, benchmark: str, asked: Mapping[str, Any]) -> str:
        key = f"{checkpoint}/{benchmark}"
        if key not in texts:
            texts[key] = {}
            for cell in plan.of("responses"):
                job = plan.jobs[cell.id]
                assert isinstance(job, planning.RespondJob)
                if job.subject.id == checkpoint and parts.benchmark_name(job.benchmark) == benchmark:
                    rows = records(Response, run.cell("responses", cell.id).read("responses"))
                    texts[key] |= {f"{row.corpus}/{row.prompt_id}": row for row in reversed(rows)}
        own, shared = (f"{corpus}/{asked['prompt_id']}" for corpus in (asked["corpus"], ""))
        row = texts[key].get(own) or texts[key].get(shared)
        return row.text if row else ""

    asked = _prompt_texts(run, plan)
    found: list[Flip] = []
    for metric in metrics:
        if metric.label is None:
            continue
        columns = _primary(plan, verdicts, metric)
        rows = [row for row in _rows(columns) if row["status"] == "ok"]
        base = _Before(rows)
        shown: dict[tuple[str, ...], int] = defaultdict(int)
        first: dict[tuple[str, ...], str] = {}
        for row in rows:
            if row["arm"] == BASE_ARM:
                continue
            arm = (row["base"], row["arm"], row["recipe"])
            before = base.of(row)
            if before is None or first.setdefault(arm, row["checkpoint"]) != row["checkpoint"]:
                continue
            was, now = before["label"] == metric.label, row["label"] == metric.label
            if was == now or now != (metric.worse == "up") or shown[arm] >= FLIPS:
                continue
            shown[arm] += 1
            found.append(
                Flip(
                    metric=metric.name,
                    arm=_unit(plan, row),
                    prompt=asked.get((metric.benchmark, row["prompt_id"]), row["prompt_id"]),
                    base_text=text_of(before["checkpoint"], metric.benchmark, row),
                    tuned_text=text_of(row["checkpoint"], metric.benchmark, row),
                    base_label=before["label"],
                    tuned_label=row["label"],
                    category=row["category"],
                    prompt_id=row["prompt_id"],
                    train_seed=row["train_seed"],
                )
            )
    return found


def _prompt_texts(run: Run, plan: Plan) -> dict[tuple[str, str], str]:
    from aftertune.cells.answering import prompts_of

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


def _categories(plan: Plan, metrics: Sequence[Metric], verdicts: Any) -> list[CategoryRow]:
    """Return per category and arm how many (prompt, seed) pairs got worse and better."""
    found: list[CategoryRow] = []
    for metric in metrics:
        columns = _primary(plan, verdicts, metric)
        if metric.label is None or len(set(columns["category"])) < 2:
            continue
        ok = [row for row in _rows(columns) if row["status"] == "ok"]
        base = _Before(ok)
        groups: dict[tuple[str, str], list[tuple[str, bool, bool]]] = defaultdict(list)
        for row in ok:
            before = base.of(row)
            if row["arm"] != BASE_ARM and before is not None:
                pair = (row["prompt_id"], before["label"] == metric.label, row["label"] == metric.label)
                groups[_unit(plan, row), row["category"]].append(pair)
        for (arm, category), pairs in sorted(groups.items()):
            prompts = {pair[0] for pair in pairs}
            gained = sum(now and not was for _, was, now in pairs)
            lost = sum(was and not now for _, was, now in pairs)
            n = len(pairs)
            low, high = tango_interval(gained, lost, n)
            found.append(
                CategoryRow(
                    metric=metric.name,
                    arm=arm,
                    category=category,
                    base=sum(was for _, was, _ in pairs) / n,
                    tuned=sum(now for _, _, now in pairs) / n,
                    delta=(gained - lost) / n,
                    low=low,
                    high=high,
                    n_prompts=len(prompts),
                    worse_flips=gained if metric.worse == "up" else lost,
                    better_flips=lost if metric.worse == "up" else gained,
                    n_pairs=n,
                    warning="few prompts" if len(prompts) < 10 else "",
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
    again = [
        info["again"] for cell in plan.of("responses") if "again" in (info := run.cell("responses", cell.id).info())
    ]
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
