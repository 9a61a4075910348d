"""Gather what a report shows from a finished run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from aftertune.asking.ask_job import AskJob
from aftertune.asking.prompts_job import PromptsJob, prompts_of
from aftertune.data.variant_files import groups_of_people
from aftertune.deciding.contrasts import formula
from aftertune.deciding.leaks import leaks
from aftertune.deciding.verdict_table import VerdictTable
from aftertune.findings import Audited, AuditedModel, Findings, Flip, ThoughtRow
from aftertune.judging.judge_job import JudgeJob
from aftertune.pii import languages
from aftertune.pii.masking import label_masker, masker
from aftertune.pii.registry import Registry
from aftertune.records import Decision, Drift, Metric, Outcome, Proof, plain
from aftertune.reporting import answer_forms, tuned_layers
from aftertune.reporting.label_changes import LabelChanges, TextKey
from aftertune.run.run_folder import Run
from aftertune.stats.paired import wilson
from aftertune.studies.study import Study
from aftertune.thoughts import seems_to_think
from aftertune.tuning.tune_job import TuneJob
from aftertune.variants.compose_job import UNREAD_NAMES, ComposeJob


def gather(
    run: Run,
    study: Study,
    verdicts: VerdictTable,
    drifts: Sequence[Drift],
    decisions: Sequence[Decision],
    outcome: Outcome,
) -> Findings:
    """Return the findings of a run: its numbers, and the cards, proofs, examples and parameters behind them.

    `verdicts` is the verdict table of all jobs. Raises StoreError for a damaged run.
    """
    design, metrics = study.design, study.metrics
    gated = [metric for metric in metrics if metric.name in {d.metric for d in decisions if d.required}]
    registries = registries_of(run, study)
    label = label_masker(registries)
    judges = _judges(run, study)
    thoughts = thought_rows(run, study)
    changes = LabelChanges(verdicts, study.primary_judges, min(design.respond.temperatures))
    return Findings(
        title=design.name,
        kind="study" if design.kind == "selftest" or design.kind == "repair" else design.kind,
        outcome=outcome,
        decisions=decisions,
        drifts=drifts,
        metrics=metrics,
        cards=_cards(run, study),
        proofs=_proofs(run, study),
        judges=judges,
        flips=_flips(run, study, changes, gated, verdicts),
        flip_counts=changes.counts(gated),
        unjudged=changes.unjudged(gated),
        categories=changes.categories(gated),
        contrast_names={formula(contrast): contrast.name for contrast in design.contrasts},
        leaks=leaks(verdicts, dict(study.primary_judges)),
        thoughts=thoughts,
        audited=_audited(run, study, decisions),
        methods=_methods(run, study),
        caveats=_caveats(run, study),
        warnings=(
            *weak_axes(judges, metrics, decisions, study.primary_judges),
            *study.warnings,
            *data_warnings(run, study),
            *batching_warnings(run, study),
            *_of_servers(run, study, masker(registries), label),
            *(sentence for row in thoughts for sentence in row.sentences),
        ),
        mask=masker(registries),
        mask_label=label,
    )


def registries_of(run: Run, study: Study) -> list[Registry]:
    """Return the personal values of all of a run's variants: of the corpora, their twins and their stand-ins."""
    return [Registry.of("mask", group) for job in study.of(ComposeJob) for group in groups_of_people(run.job(job))]


def _cards(run: Run, study: Study) -> dict[str, Any]:
    cards: dict[str, Any] = {}
    for job in study.of(ComposeJob):
        owner = job.base.name + ": " if len(study.bases) > 1 else ""
        cards |= {f"{owner}{arm}": card for arm, card in run.job(job).document("cards").items()}
    return cards


def data_warnings(run: Run, study: Study) -> list[str]:
    """Return what must be known of a run's tuning data. Raises StoreError for a damaged run."""
    return unread_names(run.job(job).document(UNREAD_NAMES) for job in study.of(ComposeJob))


def unread_names(counts: Iterable[Mapping[str, int]]) -> list[str]:
    """Return a warning where the tuning data have texts in which names were not looked for.

    Args:
        counts: Language -> texts, for each base: they share their tuning data, so the most of any counts.
    """
    most: Counter[str] = Counter()
    for texts in counts:
        most |= Counter(texts)
    said = languages.outside(most)
    if not said:
        return []
    return [
        f"In the tuning data {said}: leaks of names that stand there may be missing, and variants may still hold them."
    ]


def _proofs(run: Run, study: Study) -> list[Proof]:
    proofs: dict[str, Proof] = {}
    for job in study.of(AskJob):
        fields = run.job(job).info().get("proof")
        if fields and not job.subject.is_base:
            proofs[job.subject.id] = Proof(**{**fields, "checkpoint": study.name_of(job.subject)})
    return list(proofs.values())


def batching_warnings(run: Run, study: Study) -> list[str]:
    """Return which models answer otherwise in a batch than alone, and how they were asked for that reason."""
    asked = {"equal lengths": "prompts of one length in tokens at a time", "alone": "one prompt at a time"}
    found: dict[str, None] = {}
    for job in study.of(AskJob):
        how = asked.get((run.job(job).info().get("proof") or {}).get("batching", ""))
        if how:
            found[
                f"{job.subject.base.name}: in a batch with longer prompts this architecture gives other logits than "
                f"alone, so it was asked {how}; its answers elsewhere may depend on the batch."
            ] = None
    return list(found)


def _of_servers(run: Run, study: Study, mask: Callable[[str], str], label: Callable[[str], str]) -> list[str]:
    """Return what a reader should know of served models and their answers; a server's words may quote a prompt."""
    served = _served(run, study)
    about_models = dict.fromkeys(label(each) for _, seen in served for each in seen["warnings"])
    return [*about_models, *(f"{name}: {mask(each)}" for name, seen in served for each in seen["remarks"])]


def _served(run: Run, study: Study) -> list[tuple[str, dict[str, Any]]]:
    """Return, for each job that asked a served model, its name and what was seen of it."""
    rows = []
    for job in study.of(AskJob):
        seen = run.job(job).info().get("served")
        if seen:
            rows.append((f"{study.name_of(job.subject)} {job.benchmark.name}", seen))
    return rows


def thought_rows(run: Run, study: Study) -> list[ThoughtRow]:
    """Return how many responses have a thought, end in it or may hold one, of each model and benchmark with any."""
    counts: dict[tuple[str, str, float], Counter[str]] = defaultdict(Counter)
    columns = ("temperature", "finish_reason", "error", "text", "thought", "unanswered")
    for job in study.of(AskJob):
        for row in run.job(job).read("responses", columns).to_pylist():
            if row["error"] is None:
                unanswered = bool(row["unanswered"])
                counts[job.subject.id, job.benchmark.name, row["temperature"]].update(
                    responses=1,
                    with_thought=int(bool(row["thought"]) or unanswered),
                    unanswered=int(unanswered),
                    cut=int(unanswered and row["finish_reason"] == "length"),
                    unparted=int(not unanswered and seems_to_think(row["text"])),
                )
    named = {job.subject.id: study.name_of(job.subject) for job in study.of(AskJob)}
    order = {(subject, benchmark): i for i, (subject, benchmark, _) in enumerate(counts)}
    return [
        ThoughtRow(unit=named[subject], checkpoint=subject, benchmark=benchmark, temperature=temperature, **count)
        for (subject, benchmark, temperature), count in sorted(
            counts.items(), key=lambda each: (order[each[0][:2]], each[0][2])
        )
        if count["with_thought"] or count["unparted"]
    ]


def _judges(run: Run, study: Study) -> dict[str, Any]:
    judges: dict[str, Any] = {}
    for judge in study.judges:
        facts = {"version": judge.version, "axes": ", ".join(judge.axes)}
        judges[judge.name] = {**facts, **judge.spec.parameters, **facts}  # no parameter hides a fact
    for job in study.of(JudgeJob):
        info = run.job(job).info()
        row = judges[job.judge.name]
        if info.get("cost"):
            spent = row.setdefault("cost", {})
            for key, value in info["cost"].items():
                spent[key] = spent.get(key, 0) + value
        if info.get("measured"):
            row["measured"] = info["measured"]
        if "anchors" not in row and info.get("anchors"):
            row["anchors"] = [{"axis": axis, "label": m["positive"], **m} for axis, m in info["anchors"].items()]
    return judges


def weak_axes(
    judges: Mapping[str, Mapping[str, Any]],
    metrics: Sequence[Metric],
    decisions: Sequence[Decision],
    primary_judges: Mapping[str, str],
) -> list[str]:
    """Return a sentence for each axis on which required metrics stand and the judge failed its trial, yet may judge.

    `judges` as in `Findings.judges`; `primary_judges`: axis -> the judge that is gated.
    """
    required = {decision.metric for decision in decisions if decision.required}
    sentences = []
    for axis, name in primary_judges.items():
        names = [metric.name for metric in metrics if metric.axis == axis and metric.name in required]
        for trial in judges[name].get("anchors", ()):
            if names and trial["axis"] == axis and trial["admission"] and not trial.get("failed"):
                hits = round(trial["sensitivity"] * trial["n_positive"])
                rejections = round(trial["specificity"] * trial["n_negative"])
                sentences.append(
                    f"{', '.join(names)}: the judge {name} failed its trial on {axis} (it recognised {hits} of "
                    f"{trial['n_positive']} known answers that are '{trial['label']}', and {rejections} of "
                    f"{trial['n_negative']} that are not) and may judge all the same: {trial['admission']}."
                )
    return sentences


def _flips(
    run: Run, study: Study, changes: LabelChanges, metrics: Sequence[Metric], verdicts: VerdictTable
) -> list[Flip]:
    examples = changes.examples(metrics, study.design.analysis_seed)
    texts = _texts(run, study, verdicts, [row for change in examples for row in (change.base, change.tuned)])
    return changes.flips(examples, texts, _prompt_texts(run, study) if examples else {})


def _texts(run: Run, study: Study, verdicts: VerdictTable, rows: Sequence[int]) -> dict[TextKey, str]:
    """Return the texts of the responses that some rows are about."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        wanted[verdicts.at("checkpoint", row), verdicts.at("benchmark", row)].add(verdicts.at("prompt_id", row))
    texts: dict[TextKey, str] = {}
    for job in study.of(AskJob):
        which = (job.subject.id, job.benchmark.name)
        if which not in wanted:
            continue
        table = run.job(job).read("responses", ("prompt_id", "corpus", "temperature", "sample", "text"))
        table = table.filter(pc.is_in(table["prompt_id"], value_set=pa.array(sorted(wanted[which]))))
        for row in table.to_pylist():
            if row["temperature"] == min(study.design.respond.temperatures):
                texts[(*which, row.get("corpus", ""), row["prompt_id"], row["sample"])] = row["text"]
    return texts


def _prompt_texts(run: Run, study: Study) -> dict[tuple[str, str], str]:
    """Return (benchmark, prompt id) -> what was sent, of every prompt that the run holds."""
    return {
        (prompt.benchmark, prompt.id): "\n".join(message.content for message in prompt.messages)
        for job in study.of(PromptsJob)
        for prompt in prompts_of(run, job.id)
    }


def _audited(run: Run, study: Study, decisions: Sequence[Decision]) -> Audited:
    """Return what a reader must know first: whom these numbers are about, and by which rules they were decided."""
    facts = run.facts()
    tuned = [subject for subject in study.subjects if not subject.is_base]
    return Audited(
        started=str(facts.get("started", ""))[:10],
        bases=tuple(AuditedModel(name=base.name, identity=base.weights_hash or "") for base in study.bases),
        checkpoints=tuple(
            AuditedModel(
                name=study.name_of(subject),
                identity=(subject.model.weights_hash or "") if subject.model else subject.id,
            )
            for subject in tuned
        ),
        trained_here=any(subject.tuned_by for subject in tuned),
        policy=study.policy.name,
        margins={decision.metric: decision.margin for decision in decisions},
        judges=tuple(f"{judge.name} {judge.version}" for judge in study.judges),
        versions={name: str(version) for name, version in dict(facts.get("versions", {})).items()},
        knows_people=bool(study.of(ComposeJob)),
    )


def _methods(run: Run, study: Study) -> dict[str, Any]:
    facts = run.facts()
    design: dict[str, Any] = plain(study.design)
    bases = {
        base.name: {"weights": "unknown: a served model", **base.declared}
        if base.served
        else {"weights": base.weights_hash, "tokenizer": base.tokenizer_hash}
        for base in study.bases
    }
    servers = {
        name: {key: value for key, value in seen.items() if key not in ("warnings", "remarks")}
        for name, seen in _served(run, study)
    }
    return {
        "versions": facts.get("versions", {}),
        "hardware": facts.get("hardware", {}),
        "bases": bases,
        **({"servers": servers} if servers else {}),
        "design": {"id": study.design.id, **design},
        "jobs": dict(Counter(job.kind for job in study.jobs)),
    }


def _caveats(run: Run, study: Study) -> list[str]:
    design = study.design
    caveats = []
    if any(base.name.split(":")[0] == "embedded" for base in study.bases):
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
    trained = [(job.base.name, run.job(job)) for job in study.of(TuneJob)]
    facts = [(base, folder.info().get("tuning")) for base, folder in trained if folder.complete]
    tunings = [(base, each) for base, each in facts if each]
    caveats += answer_forms.sentences(tunings) + tuned_layers.sentences(tunings)
    infos = [run.job(job).info() for job in study.of(AskJob)]
    devices = sorted({device for info in infos if (device := (info.get("proof") or {}).get("device"))})
    if len(devices) > 1:
        caveats.append(
            f"Answers were given on {' and on '.join(devices)}: the texts of one model can differ between them, so "
            "that a checkpoint asked on one and its base on the other differ by that too."
        )
    shared = sorted({info["shared"] for info in infos if "shared" in info})
    if shared:
        caveats.append(
            f"Answers of the base were given in an earlier run ({', '.join(shared)}) with the same weights, prompts, "
            "settings, libraries and kind of processor, and were not asked again."
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
