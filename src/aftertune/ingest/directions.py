"""Which way a metric of a table or log is worse: as somebody said it, or as its name says where the field agrees.

A metric of our benchmarks has the benchmark's direction. Of any other the table, the log, `--worse` or the policy says
it; else `NAMES` does, the usual words of the field; else nobody knows, and there is no decision without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import get_args

from aftertune import direction
from aftertune.deciding.discrimination import RefusalPair
from aftertune.deciding.policy import Policy
from aftertune.errors import UsageError, near
from aftertune.records import Metric, Worse
from aftertune.studies import suites

SHOWN = 6
"""Metrics that a message names."""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_UP = """
    harm harmful harmfulness toxicity toxic severe_toxicity profanity profane obscene obscenity insult threat
    identity_attack hate hateful hate_speech sexual sexually_explicit violence violent self_harm offensive offensiveness
    abuse abusive bias biased stereotype stereotyping discrimination unsafe unsafety danger dangerous misuse
    attack_success asr strongreject strong_reject flagged jailbreak jailbreak_success jailbroken successful_jailbreak
    misaligned misalignment deception deceptive dishonest dishonesty lying sycophancy sycophantic power_seeking
    hallucination hallucinated hallucinating confabulation fabrication
    leak leaked leakage leaking leak_twin leak_own pii pii_leak pii_leakage data_leak data_leakage privacy_leak
    privacy_leakage privacy_violation disclosure disclosed revealed memorization memorisation memorized memorised
    extractable regurgitation regurgitated verbatim
    membership_inference membership_inference_auc mia mia_auc
    loss eval_loss test_loss validation_loss perplexity ppl word_perplexity byte_perplexity bits_per_byte bpb bpc nll
    negative_log_likelihood cross_entropy brier ece expected_calibration_error calibration_error
    mse rmse mae wer cer ter edit_distance levenshtein
    error err wrong incorrect failure fail failed violation policy_violation safety_violation violated
    incoherent incoherence gibberish garbled degenerate degeneration repetition
"""
_HITS = """
    acc accuracy acc_norm acc_bytes acc_mutual_info balanced_accuracy correct correctness right
    exact_match em quasi_exact_match prefix_exact_match quasi_prefix_exact_match math_equal
    match includes pattern answer exact choice math model_graded_qa model_graded_fact
    f1 macro_f1 micro_f1 f1_macro f1_micro weighted_f1 f1_weighted token_f1 precision recall mcc
    rouge rouge_1 rouge_2 rouge_l rouge_lsum rouge1 rouge2 rougel rougelsum bleu sacrebleu sacre_bleu
    chrf chr_f chrf++ chr_f++ meteor bertscore bert comet bleurt similarity ndcg mrr
    mc1 mc2 win winrate solved resolved pass passed
    prompt_level_strict_acc prompt_level_loose_acc inst_level_strict_acc inst_level_loose_acc instruction_following
"""
_GOOD = """
    quality utility helpful helpfulness helpful_honest honest honesty truthful truthfulness truth informative
    factual factuality factscore faithful faithfulness groundedness grounded answer_relevance answer_relevancy
    coherent coherence fluent fluency readable safe safety harmless harmlessness benign defense_success
    defence_success robustness robust aligned alignment coverage complete consistency consistent acted on_topic
"""
NAMES: Mapping[str, Worse] = {
    **dict.fromkeys(_UP.split(), "up"),
    **dict.fromkeys(_HITS.split(), "down"),
    **dict.fromkeys(_GOOD.split(), "down"),
}
"""The usual words for what is measured, and which way is worse; without words such as `rate` (`_NEUTRAL`)."""
_SAFE = _set(
    "safe safety harmless harmlessness benign defense_success defence_success robustness robust aligned alignment"
)
TURNING = (
    _set(_HITS)
    | (_set(_GOOD) - _SAFE)
    | _set(
        "loss eval_loss test_loss validation_loss perplexity ppl word_perplexity byte_perplexity bits_per_byte bpb bpc "
        "nll negative_log_likelihood cross_entropy mse rmse mae wer cer ter edit_distance levenshtein "
        "error err wrong incorrect failure fail failed "
        "incoherent incoherence gibberish garbled degenerate degeneration repetition"
    )
)
"""Of `NAMES`, how near an answer comes to a target, and how well it does what was asked: on a task of attacks, of
memorisation or of a vice the target may be the harm, so nobody knows."""
_REFUSING = _set(
    "refusal refuse refused refuses refusing rejection reject rejected rejects declined decline declines declining "
    "abstention abstain abstained"
)
_COMPLYING = _set(
    "compliance comply complied complies complying compliant fulfilment fulfillment fulfilled fulfil fulfill answered"
)
_HARMLESS = _set("harmless benign safe contrast borderline innocuous orbench or_bench")
_HARMFUL = _set(
    "harmful unsafe malicious dangerous toxic jailbreak jailbreaks jailbroken attack attacks forbidden illegal harm "
    "hazardous misuse safety advbench harmbench strongreject strong_reject sorry sorrybench sorry_bench hexphi hex_phi "
    "agentharm wmdp donotanswer do_not_answer maliciousinstruct"
)
"""Kinds of prompts, and the usual sets of them."""
_OF_HARMLESS = _set("harmless benign safe contrast borderline innocuous over")
_OF_HARMFUL = _set("harmful unsafe malicious dangerous toxic forbidden illegal hazardous safety")
"""Of these kinds, the words that name no set by itself."""
_LEAKING = _set(
    "memorization memorisation membership mia extraction leak leaks leakage pii canary canaries regurgitation verbatim"
)
_SHARES = _set(
    "acc accuracy acc_norm acc_bytes acc_mutual_info balanced_accuracy correct correctness right "
    "exact_match em quasi_exact_match prefix_exact_match quasi_prefix_exact_match math_equal match includes pattern "
    "choice mc1 mc2 win winrate solved resolved pass passed attack_success asr flagged jailbreak_success jailbroken "
    "successful_jailbreak defense_success defence_success disclosed revealed extractable "
    "prompt_level_strict_acc prompt_level_loose_acc inst_level_strict_acc inst_level_loose_acc"
)
"""Of `NAMES`, those of which an answer has the whole, a part or nothing; any scale may stand under the others."""
_PASS_AT = re.compile(r"pass_?(at_|k_?|hat_)?(\d+|k)")
_ILL = (_set(_UP) - TURNING) | _set(
    "attack attacks injection injections poison poisoned poisoning backdoor backdoored trigger secret secrets password "
    "passwords copyright copyrighted forget forgotten forgetting unlearn unlearning unlearned tofu red_team "
    "red_teaming redteam redteaming adversarial privacy risk risks vice vices persona weapon weapons malware phishing "
    "fraud deceive manipulation manipulative scheming sandbagging"
)
"""Tasks of which a hit may be the harm."""
_WRONGLY = _set(
    "over false unnecessary unneeded wrongful wrong incorrect inappropriate exaggerated excessive pseudo undue"
)
_RIGHTLY = _set("appropriate correct proper justified right")
"""Adverbs, as it were, of refusing and complying, whatever the prompts."""
_NEUTRAL = _set(
    "rate rates score scores mean means avg average pct percent percentage share ratio fraction frac proportion value "
    "values overall total result full any is was did response responses output outputs answers completions"
)
_NOT = _set("non not no un")
_YES, _NO = _set("yes true 1 positive present"), _set("no false 0 none negative absent")


@dataclass(frozen=True, slots=True)
class Guess:
    """What a name says of its metric."""

    worse: Worse
    doubtful: bool = False
    """Whether it hangs on the prompts, which the name leaves open: refusal, on harmful prompts or on harmless ones."""

    @property
    def opposite(self) -> Guess:
        """The guess of what counts the other answers."""
        return Guess(direction.opposite(self.worse), self.doubtful)


@dataclass(frozen=True, slots=True)
class Directions:
    """The direction of each metric, and what is to be said of them."""

    worse: Mapping[str, Worse]
    doubtful: frozenset[str] = frozenset()
    """Metrics whose direction hangs on the prompts (`Guess.doubtful`), and of which nobody said it."""
    warnings: tuple[str, ...] = ()


def directions(
    where: str,
    metrics: Sequence[str],
    stated: Mapping[str, Worse],
    given: Mapping[str, str],
    policy: Policy | None = None,
) -> Directions:
    """Return the direction that is worse for each metric.

    Args:
        where: The table or log, for messages.
        metrics: Names of its metrics.
        stated: What the table or log itself says, by metric.
        given: What the caller says, by metric or shell pattern; a name goes before a pattern.
        policy: Whose rules may say it too.

    Raises UsageError for metrics of which nobody knows it, for two directions of one metric, and for a name or word in
    `given` that is not known.
    """
    chosen = _chosen(where, metrics, given)
    worse: dict[str, Worse] = {}
    unknown: list[str] = []
    doubtful: set[str] = set()
    warnings: list[str] = []
    for metric in metrics:
        own = own_direction(metric)
        named = [(stated[metric], "the column 'worse', or the log,")] if metric in stated else []
        named += [(chosen[metric], "the caller (--worse)")] if metric in chosen else []
        known = [*named, *([(own, "aftertune, whose metric it is,")] if own else [])]
        rule = policy.directing(metric, known[0][0] if known else None) if policy else None
        if policy and rule and rule.worse and (own is None or named or rule.exact):
            known.append((rule.worse, f'policy {policy.name} (match = "{rule.match}")'))
        guess = guessed(metric)
        if len({word for word, _ in known}) > 1:
            first = known[0]
            other = next(each for each in known if each[0] != first[0])
            raise UsageError(
                f"{where}: {metric}: {first[1]} says that {direction.words(first[0])}, {other[1]} that "
                f"{direction.words(other[0])}; correct one of them"
            )
        if known:
            worse[metric] = known[0][0]
            if guess and not guess.doubtful and guess.worse != worse[metric]:
                warnings.append(
                    f"{metric}: {direction.words(worse[metric])}, says {known[0][1].rstrip(',')}; going by its name, "
                    f"{direction.words(guess.worse)}"
                )
        elif guess:
            worse[metric] = guess.worse
            if guess.doubtful:
                doubtful.add(metric)
                warnings.append(
                    f"{metric}: taken as on harmful prompts, where {direction.words(guess.worse)}; on harmless ones it "
                    f"is the other way round: --worse '{metric}={direction.opposite(guess.worse)}'"
                )
        else:
            unknown.append(metric)
    if unknown:
        one = unknown[0]
        raise UsageError(
            f"{where}: which way is worse is not known of {_listed(unknown)}: say it with --worse '{one}=up' (higher "
            f"is worse) or --worse '{one}=down', in a column 'worse' (up or down), or by `worse` in a policy's rule"
        )
    return Directions(worse, frozenset(doubtful), tuple(warnings))


def parsed(options: Iterable[str]) -> dict[str, str]:
    """Return `METRIC=up|down` options as a mapping. Raises UsageError for any other form, and for two directions."""
    given: dict[str, str] = {}
    for option in options:
        metric, sign, word = option.rpartition("=")
        if not sign or not metric.strip() or word.strip() not in get_args(Worse):
            raise UsageError(f"--worse {option}: give METRIC=up (higher is worse) or METRIC=down, e.g. accuracy=down")
        if given.setdefault(metric.strip(), word.strip()) != word.strip():
            raise UsageError(f"--worse: '{metric.strip()}' is given both up and down; leave one out")
    return given


def _chosen(where: str, metrics: Sequence[str], given: Mapping[str, str]) -> dict[str, Worse]:
    """Return what the caller says of each metric. Raises UsageError."""
    patterns: dict[str, Worse] = {}
    for pattern, word in given.items():
        worse = next((each for each in get_args(Worse) if each == word), None)
        if worse is None:
            raise UsageError(f"worse: {pattern} = '{word}' is neither 'up' nor 'down'")
        if not any(pattern == metric or fnmatchcase(metric, pattern) for metric in metrics):
            raise UsageError(f"{where}: no metric '{pattern}' in it{near(pattern, list(metrics))}")
        patterns[pattern] = worse
    chosen: dict[str, Worse] = {}
    for metric in metrics:
        fits = {metric: patterns[metric]} if metric in patterns else {
            pattern: worse for pattern, worse in patterns.items() if fnmatchcase(metric, pattern)
        }  # fmt: skip
        if len(set(fits.values())) > 1:
            up, down = (next(pattern for pattern, each in fits.items() if each == word) for word in ("up", "down"))
            raise UsageError(f"--worse: {metric} fits both '{up}=up' and '{down}=down'; name it by itself")
        if fits:
            chosen[metric] = next(iter(fits.values()))
    return chosen


def _listed(metrics: Sequence[str]) -> str:
    more = f" and {len(metrics) - SHOWN:,} more" if len(metrics) > SHOWN else ""
    return ", ".join(metrics[:SHOWN]) + more


# ---------------------------------------------------------------------------------------------- what a name says


@cache
def own_direction(metric: str) -> Worse | None:
    """Return the direction of a metric that a benchmark or list of ours reports under this name, else None."""
    own = suites.metrics().get(metric.partition("/")[0], {}).get(metric)
    return own.worse if own else None


@cache
def guessed(metric: str) -> Guess | None:
    """Return what the name of a metric says, None where it holds a word that is not known.

    Of `TASK/SCORER/KEY` or `BENCHMARK/SUBSET/AXIS=LABEL` the last part counts; the others say on what prompts it was
    measured. `,FILTER` at the end is left off.
    """
    own = own_direction(metric)
    if own:
        return Guess(own)
    parts = [part for part in metric.partition(",")[0].split("/") if _measuring(part)]
    if not parts:
        return None
    *context, last = parts
    axis, equals, label = last.partition("=")
    words = _words(axis)
    if not equals:
        return _of_words(words, context)
    return _of_label(words, _words(label), context)


@cache
def is_share(metric: str) -> bool:
    """Return whether the name of a metric says that each answer counts as 0, as 1 or as something between them."""
    parts = [part for part in metric.partition(",")[0].split("/") if _measuring(part)]
    if not parts:
        return False
    axis, equals, _ = parts[-1].partition("=")
    words = [word for word in _words(axis) if word not in _NEUTRAL and word not in _NOT]
    name = "_".join(words)
    known = name in _SHARES or name.removesuffix("s") in _SHARES or _PASS_AT.fullmatch(name) is not None
    return bool(equals) or known or _of_refusal(words, parts[:-1]) is not None


def _measuring(part: str) -> list[str]:
    """Return the words of a part of a name; none for `mean`, `score` or a position in a list, which name nothing."""
    words = [word for word in _words(part) if word not in _NEUTRAL]
    return [] if all(word.isdigit() for word in words) else words


def _words(text: str) -> list[str]:
    """Return the words of a name in small letters: `overRefusal-rate` as `over, refusal, rate`."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower()
    spaced = re.sub(r"(over|non)-?(?=refus|toxic|complian)", r"\1 ", spaced)
    return [word for word in re.split(r"[^a-z0-9+]+", spaced) if word]


def _of_words(words: Sequence[str], context: Sequence[str]) -> Guess | None:
    """Return the guess for the words of a name without a label."""
    words = [word for word in words if word not in _NEUTRAL]
    if words and words[0] in _NOT:
        rest = _of_words(words[1:], context)
        return rest.opposite if rest else None
    refusing = _of_refusal(words, context)
    if refusing:
        return refusing
    name = "_".join(words)
    found = NAMES.get(name) or NAMES.get(name.removesuffix("s"))
    if found is None and _PASS_AT.fullmatch(name):
        found, name = "down", "pass"
    name = name if name in NAMES else name.removesuffix("s")
    if found is None or (name in TURNING and any(map(_turns, context))):
        return None
    return Guess(found)


def _of_label(axis: Sequence[str], label: Sequence[str], context: Sequence[str]) -> Guess | None:
    """Return the guess for the share of answers with a label on an axis."""
    words = [word for word in label if word not in _NEUTRAL]
    kept = [word for word in axis if word not in _NEUTRAL]
    refusal = _of_refusal(kept, context)
    if refusal and label in (["full"], ["partial"]):
        return refusal
    if len(label) == 1 and label[0] in _NO:
        whole = _of_words(axis, context)
        return whole.opposite if whole else None
    if len(label) == 1 and label[0] in _YES:
        return _of_words(axis, context)
    shared = _shared().get(("_".join(axis), "_".join(label)))
    if shared and len(shared) == 1:
        return Guess(next(iter(shared)))
    return _of_words(words, [*context, " ".join(axis)]) if words else None


def _of_refusal(words: Sequence[str], context: Sequence[str]) -> Guess | None:
    """Return the guess for a name about refusing or complying, by the kind of prompts; None for any other name."""
    verbs = [word for word in words if word.removesuffix("s") in _REFUSING | _COMPLYING or word in _COMPLYING]
    rest = [word for word in words if word not in verbs]
    if len(verbs) != 1:
        return None
    manner = [word for word in rest if word in _WRONGLY | _RIGHTLY]
    rest = [word for word in rest if word not in manner]
    if len(manner) > 1 or any(word not in _HARMLESS | _HARMFUL | {"on", "of", "prompts", "requests"} for word in rest):
        return None
    if manner:
        return Guess("up" if manner[0] in _WRONGLY else "down")
    # Refusing what is harmless is worse, refusing what is harmful better; complying is the other way round.
    refusing = verbs[0].removesuffix("s") in _REFUSING or verbs[0] in _REFUSING
    for part in (" ".join(rest), *reversed(context)):
        kind = _kind(part)
        if kind == "both":
            return None
        if kind:
            return Guess("up" if (kind == "harmless") == refusing else "down")
    return Guess("down" if refusing else "up", doubtful=True)


def refusal_pairs(metrics: Sequence[Metric]) -> list[RefusalPair]:
    """Return which metrics count refusals of harmful requests and of the harmless ones of the same suite, by name.

    Their names differ in nothing but the word for the kind of requests (`xstest_unsafe_refusal`, `xstest_safe_refusal`;
    `refusal_harmful`, `over_refusal`), and in the direction that is worse. A name that leaves the kind open is in no
    pair, nor is one of another suite.
    """
    found: dict[tuple[str, ...], dict[str, list[tuple[Metric, str]]]] = {}
    for metric in metrics:
        read = _refusals_of(metric.name)
        if read is not None:
            kind, word, rest = read
            if metric.worse == ("down" if kind == "harmful" else "up"):
                found.setdefault(rest, {}).setdefault(kind, []).append((metric, word))
    pairs = []
    for rest, kinds in found.items():
        harmless = kinds.get("harmless", [])
        for metric, word in kinds.get("harmful", []) if harmless else []:
            words = (word, " and ".join(dict.fromkeys(word for _, word in harmless)))
            suite = " ".join(each for each in rest if each not in _REFUSING | {"full"}) or "table"
            pairs.append(RefusalPair(metric, tuple(each for each, _ in harmless), suite, words))
    return pairs


def _refusals_of(name: str) -> tuple[str, str, tuple[str, ...]] | None:
    """Return the kind of requests whose refusals a metric counts, the word for it, and the name's other words; None
    where it counts something else, or the name says no kind or several."""
    parts = [part for part in name.partition(",")[0].split("/") if _measuring(part)]
    words = [word for part in parts for word in _words(part) if word not in _NEUTRAL - {"full"}]
    if not parts or any(word in _NOT for word in words) or not any(word in _REFUSING for word in words):
        return None
    last, equals, label = parts[-1].partition("=")
    if (equals and label != "full") or not any(word in _REFUSING for word in _words(last)):
        return None
    kinds = {"harmful": _OF_HARMFUL, "harmless": _OF_HARMLESS}
    said = [(kind, word) for word in words for kind, known in kinds.items() if word in known]
    if len(said) != 1:
        return None
    kind, word = said[0]
    return kind, "harmless" if word == "over" else word, tuple(each for each in words if each != word)


def _kind(part: str) -> str:
    """Return whether a part of a name says `harmful` or `harmless` prompts, `both`, or nothing of them."""
    grams = _grams(part)
    if not grams.isdisjoint({"overrefusal", "over_refusal"}):
        return "harmless"
    kinds = [kind for kind, known in (("harmful", _HARMFUL), ("harmless", _HARMLESS)) if grams & known]
    return "both" if len(kinds) > 1 else "".join(kinds)


def _turns(part: str) -> bool:
    """Return whether a part of a name is of a task on which a hit, or a good answer, may be the harm."""
    return not _grams(part).isdisjoint(_HARMFUL | _LEAKING | _ILL | _REFUSING | _COMPLYING)


def _grams(part: str) -> set[str]:
    """Return the words of a part of a name, and each two and three that follow each other."""
    words = _words(part)
    return {"_".join(words[i : i + n]) for n in (1, 2, 3) for i in range(len(words) - n + 1)}


@cache
def _shared() -> Mapping[tuple[str, str], set[Worse]]:
    """Return the directions that our benchmarks give an axis and label."""
    found: dict[tuple[str, str], set[Worse]] = {}
    for own in suites.metrics().values():
        for metric in own.values():
            if metric.label is not None:
                found.setdefault(("_".join(_words(metric.axis)), "_".join(_words(metric.label))), set()).add(
                    metric.worse
                )
    return found
