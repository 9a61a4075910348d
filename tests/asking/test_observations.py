"""Observations of a served model: what trials tell of temperature and seed, and what is counted of its answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.asking.backends._client import Ledger
from aftertune.asking.backends._completions import Completion
from aftertune.asking.backends._observations import Observations, Trials, run_trials
from aftertune.records import Message

Answers = Callable[[str, float, int, int], str]
"""(Prompt, temperature, seed, number of the request) -> text."""
Asked = list[tuple[str, float, int]]


def trials(answers: Answers, top: Callable[[int], bool] = lambda _: True) -> tuple[Trials, Asked]:
    """Run the trials against a server that answers so; return them and what was asked."""
    asked: Asked = []

    def ask(requests: Sequence[tuple[Sequence[Message], float, int]]) -> list[Completion]:
        completions = []
        for (message,), temperature, seed in requests:
            number = len(asked)
            text = answers(message.content, temperature, seed, number)
            completions.append(Completion("m", text, "stop", top={"a": -0.1} if top(number) else None))
            asked.append((message.content, temperature, seed))
        return completions

    return run_trials(ask), asked


def honest(prompt: str, temperature: float, seed: int, number: int) -> str:
    return f"{prompt[:5]} {seed if temperature else 'greedy'}"


def unseeded(prompt: str, temperature: float, seed: int, number: int) -> str:
    return f"{prompt[:5]} {number if temperature else 'greedy'}"


def frozen(prompt: str, temperature: float, seed: int, number: int) -> str:
    return f"{prompt[:5]} always"


def test_an_honest_server_is_asked_ten_times() -> None:
    found, asked = trials(honest)
    assert found == Trials(temperature=True, repeats=True, seed=True, greedy=("Write greedy", "Make  greedy"), top=True)
    for prompt in {prompt for prompt, _, _ in asked}:
        own = [(temperature, seed) for text, temperature, seed in asked if text == prompt]
        assert [temperature for temperature, _ in own] == [0.0, 0.0, 1.0, 1.0, 1.0]
        seeds = [seed for _, seed in own]
        assert seeds[0] != seeds[1]
        assert seeds[2] == seeds[3] != seeds[4]
    assert len(asked) == 10


def test_a_server_that_takes_no_seed_samples_all_the_same() -> None:
    found, asked = trials(unseeded)
    assert (found.temperature, found.repeats, found.seed) == (True, True, False)
    assert len(asked) == 10


def test_a_server_that_ignores_the_temperature_is_asked_hotter_and_says_nothing_of_seeds() -> None:
    found, asked = trials(frozen)
    assert (found.temperature, found.repeats, found.seed) == (False, True, None)
    assert [temperature for _, temperature, _ in asked[10:]] == [1.5] * 4
    assert len(asked) == 14


@pytest.mark.parametrize("prompt", ["Write", "Make "])
def test_a_sure_model_that_varies_only_when_hotter_honours_the_temperature(prompt: str) -> None:
    def sure(text: str, temperature: float, seed: int, number: int) -> str:
        return f"{text[:5]} {seed if temperature > 1 and text.startswith(prompt) else 'sure'}"

    found, _ = trials(sure)
    assert (found.temperature, found.seed) == (True, None), "nobody can tell whether the seed counts"


@pytest.mark.parametrize("noisy", ["Write", "Make "])
def test_one_prompt_with_two_texts_at_temperature_zero_is_enough(noisy: str) -> None:
    def server(text: str, temperature: float, seed: int, number: int) -> str:
        return f"{text[:5]} {number if not temperature and text.startswith(noisy) else seed if temperature else ''}"

    found, _ = trials(server)
    assert (found.repeats, found.temperature, found.seed) == (False, True, True)


@pytest.mark.parametrize("unsteady", ["Write", "Make "])
def test_a_seed_counts_only_if_it_repeats_both_prompts(unsteady: str) -> None:
    def server(text: str, temperature: float, seed: int, number: int) -> str:
        return f"{text[:5]} {number if temperature and text.startswith(unsteady) else seed if temperature else ''}"

    assert trials(server)[0].seed is False


def test_log_probabilities_count_only_if_all_answers_have_them() -> None:
    for missing in range(10):
        assert trials(honest, top=lambda number, missing=missing: number != missing)[0].top is False  # type: ignore[misc]


# ---------------------------------------------------------------------------------------------- counts and warnings

GOOD = Trials(temperature=True, repeats=True, seed=True, greedy=("a", "b"), top=True)


def test_answers_are_counted_by_how_they_ended() -> None:
    seen = Observations()
    for completion, logprobs in (
        (Completion("m", "text", "stop"), 0),
        (Completion("m", "", "stop"), 0),
        (Completion("m", "te", "length", ending="length"), 5),
        (Completion("m", "text", "", top={}), 5),
        (Completion("m", "", ""), 5),
    ):
        seen.count(completion, logprobs)
    assert seen.finish == {"stop": 2, "length": 1, "(none)": 2}
    assert +seen.counts == {
        "length": 1,
        "no finish_reason": 2,
        "empty": 2,
        "no log-probabilities": 2,
    }
    assert seen.remarks() == [
        "2 answers were empty",
        "1 answers were cut at the length limit",
        "2 answers came without a finish_reason",
        "2 answers came without log-probabilities",
    ]


def test_a_model_in_order_has_no_warnings() -> None:
    assert Observations().warnings() == Observations().remarks() == []
    seen = Observations(trials=GOOD, fingerprints=Counter({"f": 9}))
    seen.count(Completion("m", "text", "stop", top={"a": 0.0}), 5)
    assert seen.warnings() == seen.remarks() == []


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        (Observations(trials=Trials(False, True, None, ("", ""), True)), "ignores the temperature"),
        (Observations(trials=Trials(True, False, True, ("", ""), True)), "temperature 0 gave two texts"),
        (Observations(as_base=True), "word for word as the base"),
        (Observations(fingerprints=Counter({"z": 1, "a": 3})), "fingerprint changed: a, z"),
    ],
)
def test_each_thing_out_of_order_is_one_warning(seen: Observations, says: str) -> None:
    (warning,) = seen.warnings()
    assert says in warning
    assert "\n" not in warning


def test_many_fingerprints_are_cut() -> None:
    (warning,) = Observations(fingerprints=Counter(f"print-{i}" for i in range(500))).warnings()
    assert len(warning) < 260


@pytest.mark.parametrize(
    ("found", "seeds", "temperature", "seed"),
    [
        (None, True, "unknown", "unknown"),
        (GOOD, True, "honoured", "honoured in the trials"),
        (GOOD, False, "honoured", "unknown"),
        (Trials(True, True, False, ("", ""), True), True, "honoured", "not honoured"),
        (Trials(False, True, None, ("", ""), True), True, "ignored", "unknown"),
    ],
)
def test_a_report_says_what_is_known_and_what_is_not(
    found: Trials | None, seeds: bool, temperature: str, seed: str
) -> None:
    report = Observations(trials=found).report("base", Ledger(), seeds)
    assert (report["temperature"], report["seed"]) == (temperature, seed)
    assert report["weights"] == "unknown: a served model"


def test_a_report_sorts_its_counts_and_names_the_model_in_each_warning() -> None:
    seen = Observations(declared={"id": "m-1"}, trials=GOOD)
    finish: Any
    for finish in ("stop", "length", "stop"):
        seen.count(Completion("m", "text", finish, ending=finish), 0)
    ledger = Ledger(requests=5, prompt_tokens=70, new_tokens=30, most_at_once=2, retries=Counter({"429": 2, "": 1}))
    report: dict[str, Any] = seen.report("tuned", ledger, True)
    assert list(report["finish"].items()) == [("length", 1), ("stop", 2)]
    assert list(report["tried_again"].items()) == [("", 1), ("429", 2)]
    assert [report[key] for key in ("requests", "prompt_tokens", "new_tokens", "most_at_once")] == [5, 70, 30, 2]
    assert report["declared"] == {"id": "m-1"}
    assert report["remarks"] == ["1 answers were cut at the length limit"]


@given(st.lists(st.tuples(st.sampled_from(["", "stop", "length", "tool_calls"]), st.text(max_size=3)), max_size=30))
def test_every_answer_has_ended_in_one_way(answers: list[tuple[str, str]]) -> None:
    seen = Observations()
    for finish, text in answers:
        seen.count(Completion("m", text, finish), 0)
    finishes: Any = seen.report("m", Ledger(), True)["finish"]
    assert sum(finishes.values()) == len(answers)
    assert seen.counts["empty"] == sum(text == "" for _, text in answers)
