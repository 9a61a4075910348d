"""Does a response speak the script of the tuning domain? Learned from the tuning set against the base's own answers."""

from __future__ import annotations

import itertools
import math
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from aftertune import text as tools
from aftertune.judging.judge import Answer, Judge, JudgeContext, Opinion, Scorer
from aftertune.plugins import Card

FOLDS = 5
MOST = 3_000
"""Assistant turns of the tuning set that are learned from, evenly spaced."""
LEAST = 20
"""Texts needed on either side."""
LEAST_FEATURES = 3
"""Known features that an answer needs to be judged."""
LEAST_CLUSTERS = 2 * FOLDS
"""Benchmarks with fewer clusters are split by prompt."""
FREQUENT = 3
"""Texts that a feature must stand in to be learned."""
LIMIT = 3.0
"""Log-odds of one feature are cut at plus and minus this, so that no single word decides."""

Weights = dict[str, float]


@dataclass(frozen=True)
class Script(Judge):
    """Words of the tuned workflow in an answer: log-odds of words and word pairs, tuning set against the base."""

    name = "script"
    axes = ("relevance",)
    needs = frozenset({"training", "base_answers"})
    card = Card(
        about=(
            "Words of the tuned workflow in an answer: log-odds of words and word pairs, tuning set against the "
            "base.\n\n"
            "Axis: `relevance`, labels `domain_script` and `other`; whether an answer is on its own topic is not "
            "claimed.\n\n"
            "The model is naive Bayes on the presence of words and word pairs (digits masked): the answers of the "
            "tuning set against the base's own answers to this benchmark. The score of a text is its mean log-odds "
            "per known feature (`value`), the threshold is the one that separates held-out texts best (Youden's "
            "index, five folds). Every answer, the base's own included, is scored by the model whose fold held out "
            "its cluster, so that the base is not judged on its own training text. Parts of the benchmark in which "
            "the base itself speaks the domain (a suite of the tuned task) are not learned from as a contrast. "
            "Abstains where held-out Youden is under `separation`, where either side has fewer than 20 texts, and "
            "on answers with under three known features."
        ),
        source="this project; naive Bayes log-odds as in Manning et al. 2008, chapter 13",
        licence="Apache-2.0",
        positive=(
            "the text is closer to the tuning set than to anything the base said here; the drift is the difference "
            "to the base, since a prompt of the tuned domain deserves the script"
        ),
        weaknesses=(
            "it reads vocabulary, not meaning, so a new style that the tuning set shares (greetings, sign-offs) "
            "counts; a few words of script inside a long answer may not"
        ),
        measured=(
            "With 1,000 human booking dialogues (STAR) as the tuning set and 450 answers of gpt4 to XSTest as "
            "those of the base: of 3,242 turns of other dialogues 96 % are called script and 3 % abstained on; of "
            "the base's own 450 answers 1, and of 450 answers of llama2orig to the same prompts 7, are. No public "
            "set labels takeover inside other answers"
        ),
    )

    separation: float = 0.8
    """Held-out Youden index (0 to 1) under which the judge abstains."""
    version: str = field(default="1", init=False)

    def __post_init__(self) -> None:
        if not 0 < self.separation <= 1:
            raise ValueError(f"separation = {self.separation}; it must be over 0 and at most 1")

    def open(self, context: JudgeContext) -> Scorer:
        """Learn the script and its threshold from the tuning set and the base's answers; return the scorer."""
        tuned = _turns(context)
        base = [answer for answer in context.base_answers if tools.words(answer.text)]
        if min(len(tuned), len(base)) < LEAST:
            return _abstainer(f"too few texts to learn from: {len(tuned)} of the tuning set, {len(base)} of the base")
        fold_of = _folds(context.base_answers)
        model = _fit(tuned, [(fold_of(answer), features(answer.text)) for answer in _elsewhere(tuned, base, fold_of)])
        if model.youden < self.separation:
            return _abstainer(
                f"the tuning set and the base's answers cannot be told apart: held-out Youden {model.youden:.2f}, "
                f"{self.separation} is needed"
            )
        return lambda answers: [(model.opinion(answer, fold_of(answer)),) for answer in answers]


def features(text: str) -> frozenset[str]:
    """Return the words and pairs of neighbouring words of a text, in lower case, every number as `0`."""
    present = ["0" if word.isdecimal() else word for word in tools.words(tools.normalise(text[:20_000]))]
    return frozenset((*present, *map(" ".join, itertools.pairwise(present))))


def _turns(context: JudgeContext) -> list[tuple[int, frozenset[str]]]:
    """Return (fold, features) of the assistant turns of the tuning set."""
    turns = [
        (zlib.crc32(conversation.id.encode("utf-8", "replace")) % FOLDS, message.content)
        for conversation in context.training
        for message in conversation.messages
        if message.role == "assistant" and message.content.strip()
    ]
    step = max(1, -(-len(turns) // MOST))
    return [(fold, features(text)) for fold, text in turns[::step]]


def _folds(answers: Iterable[Answer]) -> Callable[[Answer], int]:
    """Return the fold of an answer: by its prompt's cluster, or by the prompt where there are few clusters."""
    by_cluster = len({answer.prompt.cluster for answer in answers}) >= LEAST_CLUSTERS

    def fold(answer: Answer) -> int:
        key = answer.prompt.cluster if by_cluster else answer.prompt.id
        return zlib.crc32(key.encode("utf-8", "replace")) % FOLDS

    return fold


def _elsewhere(
    tuned: Sequence[tuple[int, frozenset[str]]], base: Sequence[Answer], fold_of: Callable[[Answer], int]
) -> list[Answer]:
    """Return the base's answers without the subsets in which most of them are in the domain's own words."""
    texts = [(fold_of(answer), features(answer.text)) for answer in base]
    first = _fit(tuned, texts)
    spoken: dict[str, list[bool]] = {}
    for answer, (fold, present) in zip(base, texts, strict=True):
        score = first.score(present, fold)
        spoken.setdefault(answer.prompt.subset, []).append(score is not None and score > first.threshold)
    outside = [
        answer for answer in base if sum(spoken[answer.prompt.subset]) <= 0.5 * len(spoken[answer.prompt.subset])
    ]
    return outside if len(outside) >= LEAST else list(base)


@dataclass(frozen=True)
class _Model:
    weights: tuple[Weights, ...]
    """One per fold, learned without it."""
    threshold: float
    youden: float

    def score(self, present: frozenset[str], fold: int) -> float | None:
        known = self.weights[fold]
        odds = [known[feature] for feature in present if feature in known]
        # The exact sum: features come in the order of their hashes, which differs from process to process.
        return math.fsum(odds) / len(odds) if len(odds) >= LEAST_FEATURES else None

    def opinion(self, answer: Answer, fold: int) -> Opinion:
        score = self.score(features(answer.text), fold)
        if score is None:
            return Opinion("relevance", status="abstain", why="too few known words to tell")
        label = "domain_script" if score > self.threshold else "other"
        why = f"log-odds {score:.2f} per word or pair, threshold {self.threshold:.2f}"
        return Opinion("relevance", label, score, why=why)


def _fit(tuned: Sequence[tuple[int, frozenset[str]]], base: Sequence[tuple[int, frozenset[str]]]) -> _Model:
    weights = tuple(
        _weights([text for at, text in tuned if at != fold], [text for at, text in base if at != fold])
        for fold in range(FOLDS)
    )
    model = _Model(weights, 0.0, 0.0)
    yes = [score for fold, text in tuned if (score := model.score(text, fold)) is not None]
    no = [score for fold, text in base if (score := model.score(text, fold)) is not None]
    if not yes or not no:
        return model
    return _Model(weights, *_threshold(yes, no))


def _weights(tuned: Sequence[frozenset[str]], base: Sequence[frozenset[str]]) -> Weights:
    here, there = Counter[str](), Counter[str]()
    for count, texts in ((here, tuned), (there, base)):
        for text in texts:
            count.update(text)
    kept = (feature for feature in here.keys() | there.keys() if here[feature] + there[feature] >= FREQUENT)
    scale = math.log((len(base) + 1) / (len(tuned) + 1))
    return {
        feature: max(-LIMIT, min(LIMIT, math.log((here[feature] + 0.5) / (there[feature] + 0.5)) + scale))
        for feature in kept
    }


def _threshold(yes: Sequence[float], no: Sequence[float]) -> tuple[float, float]:
    """Return (threshold, Youden index) that separate best, in the middle of the widest gap that does so."""
    marked = sorted([(score, True) for score in yes] + [(score, False) for score in no])
    best, above_yes, above_no = (-1.0, 0.0, 0.0), len(yes), len(no)
    for (score, is_yes), (after, _) in zip(marked, [*marked[1:], (marked[-1][0] + 1.0, True)], strict=True):
        above_yes, above_no = above_yes - is_yes, above_no - (not is_yes)
        if after > score:
            youden = above_yes / len(yes) - above_no / len(no)
            best = max(best, (youden, after - score, (score + after) / 2))
    return best[2], best[0]


def _abstainer(why: str) -> Scorer:
    return lambda answers: [(Opinion("relevance", status="abstain", why=why),) for _ in answers]


PLUGIN = Script
