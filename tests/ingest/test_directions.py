"""Which way a metric of a table is worse: said by somebody, known by its name, or refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune import drift_of_table
from aftertune.cli import main
from aftertune.deciding import policy as policies
from aftertune.deciding.policy import Policy, Rule
from aftertune.errors import UsageError
from aftertune.ingest import directions as library
from aftertune.ingest.directions import directions, guessed, parsed
from aftertune.records import Worse
from aftertune.reporting.terminal import HEADS
from aftertune.studies import suites


def table(
    folder: Path, metric: str, base: float, tuned: float, *, n: int = 300, seeds: int = 1, worse: str = ""
) -> Path:
    """Return a table in which `base` and `tuned` of `n` prompts have the value 1."""
    lines = [f"b,p{i},{metric},{int(i < base * n)},{worse}," for i in range(n)]
    lines += [f"t,p{i},{metric},{int(i < tuned * n)},{worse},{s}" for s in range(1, seeds + 1) for i in range(n)]
    path = folder / "t.csv"
    path.write_text("\n".join(["checkpoint,prompt,metric,value,worse,seed", *lines]) + "\n")
    return path


def of(
    *metrics: str, stated: Mapping[str, Worse] | None = None, given: Mapping[str, str] | None = None, **policy: Any
) -> library.Directions:
    rules = Policy("p", (Rule(**policy),)) if policy else None
    return directions("t.csv", metrics, stated or {}, given or {}, rules)


# ---------------------------------------------------------------------------------------------- decisions


@pytest.mark.parametrize(
    ("metric", "base", "tuned"),
    [
        ("refusal", 0.97, 0.69),
        ("Refusal-Rate", 0.97, 0.69),
        ("harmful/refusal=full", 0.97, 0.69),
        ("core/harmful/refusal=full", 0.97, 0.69),
        ("harmful/refusal=none", 0.03, 0.31),
        ("safe/refusal=none", 0.97, 0.69),
        ("over_refusal", 0.05, 0.35),
        ("xstest-safe/refused", 0.05, 0.35),
        ("compliance_harmful", 0.05, 0.35),
        ("mmlu/acc_norm", 0.8, 0.5),
        ("asr", 0.05, 0.35),
        ("non_toxic", 0.95, 0.6),
        ("judge=unsafe", 0.05, 0.35),
        ("pass@1", 0.8, 0.5),
        ("perplexity", 0.1, 0.5),
    ],
)
@pytest.mark.parametrize("seeds", [1, 3])
def test_a_loss_in_a_known_metric_is_a_drift_and_never_a_pass(
    tmp_path: Path, metric: str, base: float, tuned: float, seeds: int
) -> None:
    found = drift_of_table(table(tmp_path, metric, base, tuned, seeds=seeds), "b", "t")
    assert found.outcome == "drift"
    said = "Higher is worse." if tuned > base else "Lower is worse."
    for answer in found.answers:
        assert answer.why.endswith(said)
        assert answer.worse == ("up" if tuned > base else "down")


@pytest.mark.parametrize(("metric", "before", "after"), [("refusal", 0.05, 0.35), ("complied", 0.9, 0.5)])
def test_more_refusals_of_nobody_knows_which_prompts_are_no_pass(
    tmp_path: Path, metric: str, before: float, after: float
) -> None:
    path = table(tmp_path, metric, before, after)
    with pytest.raises(UsageError, match=rf"hangs on the prompts.*--worse '{metric}=up' or --worse '{metric}=down'"):
        drift_of_table(path, "b", "t")
    harmless: Worse = "up" if after > before else "down"
    assert drift_of_table(path, "b", "t", worse={metric: harmless}).outcome == "drift"
    assert drift_of_table(path, "b", "t", worse={metric: "down" if harmless == "up" else "up"}).outcome == "pass"


def test_an_unchanged_rate_of_refusal_passes_either_way_and_says_what_it_took(tmp_path: Path) -> None:
    found = drift_of_table(table(tmp_path, "refusal", 0.9, 0.9), "b", "t")
    assert found.outcome == "pass"
    assert any(line.startswith("refusal: taken as on harmful prompts, where lower is worse") for line in found.warnings)


@pytest.mark.parametrize("name", ["default", "strict"])
def test_a_bare_refusal_must_pass_beside_a_bare_harm(tmp_path: Path, name: str) -> None:
    """Two in three answers could not be judged on refusal: that is no pass, however well harm stands."""
    lines = [
        f"{c},p{i},{m},{0 if m == 'harm' else '' if i % 3 else 1}"
        for c in "bt"
        for m in ("harm", "refusal")
        for i in range(300)
    ]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["checkpoint,prompt,metric,value", *lines]))
    found = drift_of_table(path, "b", "t", policy=name)
    assert {one.metric: (one.outcome, one.required) for one in found.decisions} == {
        "harm": ("pass", True), "refusal": ("undecided", True),
    }  # fmt: skip
    assert found.outcome == "undecided"


def test_an_unknown_metric_is_refused_until_the_direction_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(*more: str) -> tuple[Any, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["drift", "--verdicts", str(path), "--base", "b", "--tuned", "t", *more])
        out, err = capsys.readouterr()
        return left.value.code, out, err

    path = table(tmp_path, "my/zing=full", 0.9, 0.6)
    code, out, err = command()
    assert (code, out) == (2, "")
    assert "which way is worse is not known of my/zing=full: say it with --worse 'my/zing=full=up'" in err
    assert command("--worse", "my/zing=full=up")[0] == 0
    code, out, _ = command("--worse", "my/*=down")
    assert code == 3
    assert out.splitlines()[0].split() == list(HEADS)
    assert " down " in out.splitlines()[1]
    policy = tmp_path / "p.toml"
    policy.write_text('[[metric]]\nmatch = "my/*"\nmargin = 0.1\nworse = "down"\n')
    assert command("--policy", str(policy))[0] == 3
    path = table(tmp_path, "my/zing=full", 0.9, 0.6, worse="down")
    assert command()[0] == 3
    code, _, err = command("--worse", "my/zing=full=up")
    assert code == 2
    assert "says that lower is worse, the caller (--worse) that higher is worse; correct one of them" in err


# ---------------------------------------------------------------------------------------------- what is said


def test_whoever_says_it_goes_before_the_name_and_the_difference_is_told() -> None:
    for found in (
        of("accuracy", stated={"accuracy": "up"}),
        of("accuracy", given={"acc*": "up"}),
        of("accuracy", match="acc*", margin=0.1, worse="up"),
    ):
        assert found.worse == {"accuracy": "up"}
        assert found.warnings[0].startswith("accuracy: higher is worse, says ")
        assert found.warnings[0].endswith("; going by its name, lower is worse")
    assert of("refusal", given={"refusal": "up"}).warnings == ()


def test_a_name_goes_before_a_pattern_and_two_patterns_must_agree() -> None:
    assert of("zig", "zag", given={"z*": "up", "zag": "down"}).worse == {"zig": "up", "zag": "down"}
    assert of("zig", given={"z*": "up", "*g": "up"}).worse == {"zig": "up"}
    with pytest.raises(UsageError, match=r"--worse: zig fits both '\*g=up' and 'z\*=down'; name it by itself"):
        of("zig", given={"z*": "down", "*g": "up"})
    assert of("x[1]=full", given={"x[1]=full": "up"}).worse == {"x[1]=full": "up"}, "a name, whatever signs are in it"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"zigg": "up"}, r"no metric 'zigg' in it \(did you mean 'zig'\?\)"),
        ({"q*": "up"}, r"no metric 'q\*' in it"),
        ({"zig": "higher"}, "zig = 'higher' is neither 'up' nor 'down'"),
    ],
)
def test_what_is_said_of_no_metric_or_in_other_words_is_refused(given: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        of("zig", given=given)


@pytest.mark.parametrize(
    "said",
    [
        {"stated": {"zig": "up"}, "given": {"zig": "down"}},
        {"stated": {"zig": "up"}, "match": "zig", "margin": 0.1, "worse": "down"},
        {"given": {"zig": "up"}, "match": "z*", "margin": 0.1, "worse": "down"},
    ],
)
def test_two_directions_of_one_metric_are_refused(said: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"^t\.csv: zig: .*correct one of them$"):
        of("zig", **said)


def test_our_own_metrics_keep_the_direction_of_their_benchmark() -> None:
    own = "core/harmless/refusal=full"
    assert of(own).worse == {own: "up"}
    assert of(own, match="*/refusal=*", margin=0.1, worse="down").worse == {own: "up"}, "a rule for the other kind"
    for said in ({"stated": {own: "down"}}, {"given": {own: "down"}}, {"match": own, "margin": 0.1, "worse": "down"}):
        with pytest.raises(UsageError, match="aftertune, whose metric it is,"):
            of(own, **said)


def test_a_policy_with_a_rule_for_either_direction_says_neither() -> None:
    strict = policies.load("strict")
    told = directions("t", ["x/privacy=kept"], {"x/privacy=kept": "down"}, {}, strict)
    assert told.worse == {"x/privacy=kept": "down"}


def test_options_are_read_from_their_last_sign() -> None:
    assert parsed(["a/refusal=full=down", " b = up "]) == {"a/refusal=full": "down", "b": "up"}
    for wrong in ("a", "a=", "=up", "a=full", "a=UP"):
        with pytest.raises(UsageError, match=r"give METRIC=up \(higher is worse\) or METRIC=down"):
            parsed([wrong])
    with pytest.raises(UsageError, match="'a' is given both up and down"):
        parsed(["a=up", "a=down"])


# ---------------------------------------------------------------------------------------------- names

OURS = [metric for own in suites.metrics().values() for metric in own.values()]


@pytest.mark.parametrize("metric", OURS, ids=lambda metric: metric.name)
def test_no_shorter_form_of_our_names_says_the_opposite(metric: Any) -> None:
    end = metric.name.rpartition("/")[2]
    for name in (metric.name, f"{metric.subset}/{end}", f"elsewhere/{metric.subset}/{end}", end):
        guess = guessed(name)
        if name == metric.name:
            assert guess == library.Guess(metric.worse)
        elif guess and not guess.doubtful:
            assert guess.worse == metric.worse, name


@pytest.mark.parametrize(
    "name",
    [
        "score", "mean", "value/1", "judge", "sums/my_scorer", "accuracy_drop", "refusal_drop", "safe_vs_unsafe/refusal",
        "advbench/match", "harmbench/accuracy", "strong_reject/f1", "jailbreak/includes", "pii/recall", "mia/accuracy",
        "memorization/rougeL", "do-not-answer/exact_match", "refusal_accuracy", "wrong_correct_refusal", "compliance_cost", "privacy", "rating", "x=full",
        "success", "verdict=maybe", "harm=unclear", "", "/", "=", "a=b=c", "refusal=unclear",
    ],
)  # fmt: skip
def test_a_name_with_an_unknown_word_says_nothing(name: str) -> None:
    assert guessed(name) is None


@pytest.mark.parametrize("word", sorted(library.NAMES))
def test_a_word_of_the_field_is_known_in_every_way_of_writing_it(word: str) -> None:
    worse = library.NAMES[word]
    for name in (word, word.upper(), word.replace("_", "-"), f"task/{word}", f"{word}_rate", f"mean {word}"):
        assert guessed(name) == library.Guess(worse), name
    assert guessed(f"not_{word}") == library.Guess("down" if worse == "up" else "up")


@pytest.mark.parametrize(
    ("name", "worse"),
    [
        ("over_compliance", "up"), ("overCompliance", "up"), ("correct_refusal_rate", "down"), ("false refusals", "up"),
        ("unnecessary-refusal", "up"), ("appropriate_compliance", "down"), ("over-refusal/refused", "up"),
        ("OR-Bench/refusal", "up"), ("do_not_answer/refused", "down"), ("do_not_answer/complied", "up"),
        ("safe/answered", "down"), ("sorry_bench/fulfillment", "up"), ("refusal_on_benign_prompts", "up"),
        ("strongreject/score", "up"), ("crows_pairs/pct_stereotype", "up"), ("harm_score", "up"), ("is_safe", "down"),
        ("harm=0", "down"), ("unsafe=no", "down"), ("x/harmful=yes", "up"), ("refused=false", None),
    ],
)  # fmt: skip
def test_manner_and_prompts_turn_what_refusing_means(name: str, worse: Worse | None) -> None:
    guess = guessed(name)
    assert guess is not None
    assert guess.doubtful == (worse is None)
    assert worse in (None, guess.worse)


@given(st.text(max_size=30))
def test_any_name_is_known_or_not_and_raises_nothing(name: str) -> None:
    guess = guessed(name)
    assert guess is None or guess.worse in ("up", "down")


@pytest.mark.parametrize(
    "metric",
    [
        "sycophancy_on_nlp_survey/acc",
        "advanced_ai_risk_power_seeking/acc",
        "over_refusal/match",
        "injection/pass",
        "secrets/match",
        "tofu/forget/rouge_l",
        "memorization/edit_distance",
        "canary/perplexity",
        "attack/failed",
        "wmdp/error",
        "harmful/helpfulness",
        "harmful/response=helpful",
        "agentharm/coverage",
        "red_team/accuracy",
    ],
)
def test_a_hit_on_a_task_of_a_harm_may_be_the_harm_and_is_asked_for(metric: str) -> None:
    with pytest.raises(UsageError, match=r"which way is worse is not known"):
        of(metric)
    assert of(metric, given={metric: "up"}).worse == {metric: "up"}


@pytest.mark.parametrize(
    ("metric", "worse"),
    [("mmlu/acc", "down"), ("wikitext/perplexity", "up"), ("safe/helpful", "down"), ("jailbreak/robustness", "down")],
)
def test_a_hit_on_a_task_of_no_harm_has_its_direction(metric: str, worse: str) -> None:
    assert of(metric).worse == {metric: worse}
