"""How well personal data is found in strangers' texts, and how fast: precision, recall and F2 per type.

The texts are Microsoft's synthetic set `presidio_research/generated_large.json` (MIT) under AFTERTUNE_DATA; it is
never copied here. A third of its templates, chosen by a hash of the template's id before any recogniser was written,
is set aside: `--held-out` measures it, and nothing is tuned on it. The default measures the other two thirds.

A labelled span counts as found where a finding of its type overlaps it; a finding counts as right where it overlaps
a labelled span of its type (`exact`: same start and end). Labels outside TYPES (organisations, places, dates, titles)
count neither way, nor do findings that touch nothing else. Intervals: percentile bootstrap over templates, seeded;
where all are right (or none), the exact binomial bound with the templates as the sample, never a zero width.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TYPES = {
    "PERSON": "PERSON",
    "ADDRESS": "ADDRESS",
    "STREET_ADDRESS": "ADDRESS",
    "PHONE_NUMBER": "PHONE",
    "EMAIL_ADDRESS": "EMAIL",
    "CREDIT_CARD": "CREDIT_CARD",
    "IBAN_CODE": "IBAN",
    "US_SSN": "NATIONAL_ID",
    "IP_ADDRESS": "IP",
    "DOMAIN_NAME": "URL",
    "URL": "URL",
    "US_DRIVER_LICENSE": "DRIVER_LICENCE",
}
"""The file's label -> aftertune's type. Other labels count neither way."""
BETA = 2.0
"""Recall counts BETA times as much as precision (van Rijsbergen's F)."""
REPLICATES = 2000
CONFIDENCE = 0.95

Spot = tuple[int, int, str]
"""Start, end (characters) and type."""


@dataclass(frozen=True, slots=True)
class Text:
    """One labelled text."""

    template: int
    text: str
    gold: tuple[Spot, ...]
    """Scored spans, in aftertune's types."""
    other: tuple[tuple[int, int], ...]
    """Spans with labels that count neither way."""


def held_out(template: int) -> bool:
    """Return whether a template belongs to the third that nothing is tuned on."""
    return hashlib.sha256(f"aftertune-held-out|{template}".encode()).digest()[0] % 3 == 0


def read(path: Path, aside: bool) -> list[Text]:
    """Return the texts of the held-out templates (`aside`) or of the others."""
    texts = []
    for row in json.loads(path.read_bytes()):
        if held_out(row["template_id"]) != aside:
            continue
        gold, other = [], []
        for span in row["spans"]:
            where = (span["start_position"], span["end_position"])
            type_ = TYPES.get(span["entity_type"])
            if type_ is None:
                other.append(where)
            else:
                gold.append((*where, type_))
        texts.append(Text(row["template_id"], row["full_text"], tuple(gold), tuple(other)))
    return texts


def overlap(a: Spot | tuple[int, int], b: Spot | tuple[int, int]) -> bool:
    """Return whether two spans share a character."""
    return a[0] < b[1] and b[0] < a[1]


def counts(text: Text, findings: Sequence[Spot], strict: bool = False) -> dict[str, NDArray[np.float64]]:
    """Return per type (labelled, hit, hit exactly, findings, right findings, exactly right findings) of one text.

    `strict`: a finding on a label that counts neither way (a company, a town, a nationality) is wrong.
    """
    table: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(6))
    for gold in text.gold:
        same = [one for one in findings if one[2] == gold[2] and overlap(one, gold)]
        table[gold[2]] += [1, bool(same), any(one[:2] == gold[:2] for one in same), 0, 0, 0]
    for one in findings:
        if one[2] not in TYPES.values():
            continue
        touched = [gold for gold in text.gold if overlap(one, gold)]
        right = [gold for gold in touched if gold[2] == one[2]]
        if not strict and not touched and any(overlap(one, where) for where in text.other):
            continue
        table[one[2]] += [0, 0, 0, 1, bool(right), any(one[:2] == gold[:2] for gold in right)]
    return table


def ratios(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return precision, recall, F2, then the same for exact spans, along the last axis; NaN where undefined."""
    labelled, hit, exact_hit, findings, right, exact_right = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        out = []
        for hits, rights in ((hit, right), (exact_hit, exact_right)):
            precision, recall = rights / findings, hits / labelled
            f = (1 + BETA**2) * precision * recall / (BETA**2 * precision + recall)
            out += [precision, recall, np.where((hits == 0) & (labelled > 0), 0.0, f)]
    return np.stack(out, axis=-1)


def interval(clusters: NDArray[np.float64], column: int) -> tuple[float, float]:
    """Return the interval of one ratio over `clusters`, shape (templates, 6), as the module's docstring says."""
    from scipy.stats import beta

    kept = clusters[clusters.sum(axis=1) > 0]
    point = ratios(kept.sum(axis=0))[column]
    tail = (1 - CONFIDENCE) / 2
    base = 3 if column % 3 == 0 else 0
    n = int((kept[:, base] > 0).sum())
    if point in (0.0, 1.0) or n < 2:
        low = float(beta.ppf(tail, n, 1)) if point == 1.0 and n else 0.0
        high = float(beta.ppf(1 - tail, 1, n)) if point == 0.0 and n else 1.0
        return low, high
    rng = np.random.default_rng(20260101)
    draws = rng.multinomial(len(kept), np.full(len(kept), 1 / len(kept)), size=REPLICATES)
    low, high = np.nanquantile(ratios(draws @ kept)[:, column], [tail, 1 - tail])
    return float(low), float(high)


def measure(texts: Sequence[Text], find: Callable[[str], Sequence[Spot]], strict: bool = False) -> dict[str, Any]:
    """Return the scores of `find` on `texts`: per type, together, on texts without labels, and its speed."""
    find(texts[0].text)
    find("tuoteselosteet puuttuvat verkkokaupasta edelleen kokonaan")  # loads the language model: 0.5 CPU s, once
    start = time.process_time()
    everything = [find(text.text) for text in texts]
    seconds = time.process_time() - start
    codes = {template: code for code, template in enumerate(sorted({text.template for text in texts}))}
    sums: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros((len(codes), 6)))
    clean: dict[int, list[bool]] = defaultdict(list)
    for text, findings in zip(texts, everything, strict=True):
        for type_, row in counts(text, findings, strict).items():
            sums[type_][codes[text.template]] += row
            sums["together"][codes[text.template]] += row
        if not text.gold:
            alarms = [one for one in findings if not any(overlap(one, where) for where in text.other)]
            clean[text.template].append(bool(alarms))
    rows = {}
    for type_ in (*sorted(set(TYPES.values())), "together"):
        clusters = sums[type_]
        values = ratios(clusters.sum(axis=0))
        names = ("precision", "recall", "f2", "exact_precision", "exact_recall", "exact_f2")
        record: dict[str, Any] = {"labelled": int(clusters[:, 0].sum()), "findings": int(clusters[:, 3].sum())}
        record["templates"] = int((clusters[:, 0] > 0).sum())
        for column, name in enumerate(names):
            record[name] = None if np.isnan(values[column]) else round(float(values[column]), 4)
            if column < 3 and record[name] is not None:
                record[f"{name}_interval"] = [round(end, 3) for end in interval(clusters, column)]
        rows[type_] = record
    totals = np.array([[sum(flags), len(flags)] for flags in clean.values()], dtype=float)
    rng = np.random.default_rng(20260102)
    draws = rng.multinomial(len(totals), np.full(len(totals), 1 / len(totals)), size=REPLICATES) @ totals
    return {
        "types": rows,
        "clean_texts": {
            "texts": int(totals[:, 1].sum()),
            "templates": len(totals),
            "with_a_finding": int(totals[:, 0].sum()),
            "rate": round(float(totals[:, 0].sum() / totals[:, 1].sum()), 4),
            "interval": [round(float(end), 3) for end in np.quantile(draws[:, 0] / draws[:, 1], [0.025, 0.975])],
        },
        "texts": len(texts),
        "mean_characters": round(float(np.mean([len(text.text) for text in texts])), 1),
        "texts_per_cpu_second": round(len(texts) / seconds, 1),
    }


def show(scores: Mapping[str, Any], title: str) -> None:
    """Print the scores as a table."""
    print(f"{title}: {scores['texts']} texts of {scores['mean_characters']} characters on average")
    print(f"{'type':15} {'labels':>6} {'templ.':>6}  {'precision':22} {'recall':22} {'F2':22} exact P / R")
    for type_, row in scores["types"].items():
        cells = []
        for name in ("precision", "recall", "f2"):
            ends = row.get(f"{name}_interval")
            cells.append("-" if row[name] is None else f"{row[name]:.3f} [{ends[0]:.3f}, {ends[1]:.3f}]")
        exact = " / ".join("-" if row[n] is None else f"{row[n]:.2f}" for n in ("exact_precision", "exact_recall"))
        print(
            f"{type_:15} {row['labelled']:6} {row['templates']:6}  " + " ".join(f"{c:22}" for c in cells) + f" {exact}"
        )
    clean = scores["clean_texts"]
    print(
        f"texts without a scored label: {clean['with_a_finding']} of {clean['texts']} with a finding "
        f"({clean['rate']:.1%} {clean['interval']}, {clean['templates']} templates)"
    )
    print(f"{scores['texts_per_cpu_second']} texts per CPU second")


def main() -> int:
    """Measure and print; exit code 0, also where the data is absent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--held-out", action="store_true", help="the third of the templates that nothing is tuned on")
    parser.add_argument("--strict", action="store_true", help="a finding on a company, town or nationality is wrong")
    parser.add_argument(
        "--thresholds", action="store_true", help="precision and recall by threshold (tuning part only)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--errors", metavar="TYPE", help="print what is missed and wrongly found (tuning part only)")
    arguments = parser.parse_args()
    path = Path(os.environ.get("AFTERTUNE_DATA", "")) / "presidio_research" / "generated_large.json"
    if "AFTERTUNE_DATA" not in os.environ or not path.is_file():
        print("perf/pii.py: skipped, AFTERTUNE_DATA has no presidio_research/generated_large.json", file=sys.stderr)
        return 0
    from aftertune.pii.detect import find

    def spots(text: str) -> list[Spot]:
        return [(one.start, one.end, one.type) for one in find(text)]

    texts = read(path, arguments.held_out)
    if arguments.errors and not arguments.held_out:
        errors(texts, arguments.errors)
        return 0
    if arguments.thresholds and not arguments.held_out:
        thresholds(texts, arguments.strict)
        return 0
    scores = measure(texts, spots, arguments.strict)
    if arguments.json:
        print(json.dumps(scores, indent=1))
    else:
        show(scores, "held-out third of the templates" if arguments.held_out else "tuning two thirds of the templates")
    return 0


STEPS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def thresholds(texts: Sequence[Text], strict: bool) -> None:
    """Print precision / recall of each type with one threshold for all types."""
    from aftertune.pii.detect import TYPES as ALL
    from aftertune.pii.detect import find

    kinds = sorted({gold[2] for text in texts for gold in text.gold})
    cells: dict[str, list[str]] = {kind: [] for kind in kinds}
    for step in STEPS:
        totals: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(6))
        for text in texts:
            findings = [(one.start, one.end, one.type) for one in find(text.text, None, dict.fromkeys(ALL, step))]
            for kind, row in counts(text, findings, strict).items():
                totals[kind] += row
        for kind in kinds:
            precision, recall = ratios(totals[kind])[:2]
            cells[kind].append(f"{precision:.3f}/{recall:.3f}")
    print(f"{'type':15} " + " ".join(f"{step:^11}" for step in STEPS))
    for kind, row_ in cells.items():
        print(f"{kind:15} " + " ".join(row_))


def errors(texts: Sequence[Text], type_: str) -> None:
    """Print the misses (-) and false positives (+) of one type, with who made them."""
    from aftertune.pii.detect import find

    for text in texts:
        findings = find(text.text)
        spots = [(one.start, one.end, one.type) for one in findings]
        for gold in text.gold:
            if gold[2] == type_ and not any(one[2] == type_ and overlap(one, gold) for one in spots):
                print(f"- {text.template} {text.text[gold[0] : gold[1]]!r} | {text.text!r} | {spots}")
        for one, spot in zip(findings, spots, strict=True):
            wrong = spot[2] == type_ and not any(gold[2] == type_ and overlap(spot, gold) for gold in text.gold)
            if wrong and not any(overlap(spot, where) for where in text.other):
                print(f"+ {text.template} {text.text[spot[0] : spot[1]]!r} {one.why} | {text.text!r}")


if __name__ == "__main__":
    sys.exit(main())
