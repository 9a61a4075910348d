from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import tiny_models

from aftertune.errors import ModelError
from aftertune.judging import trial
from aftertune.judging.judge import Answer, JudgeContext, Opinion, Scorer
from aftertune.judging.judges.on_topic import OnTopic, probability, request
from aftertune.judging.opinions import opinions
from aftertune.models import sentence_encoder
from aftertune.records import FinishReason, Message, Prompt

BICYCLE = "How do I repair the tyre of my bicycle?"
PATCH = "First take the wheel off the bicycle, then find the hole in the tyre and patch it."
MAIL = "Good morning, your booking is changed to the second of May. Where would you like to go?"
REAL = pytest.mark.skipif(
    not sentence_encoder.is_there(), reason=f"no all-MiniLM-L6-v2 here: {sentence_encoder.INSTALL}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = (*tiny_models.SENTENCES, BICYCLE, PATCH, MAIL)
    return tiny_models.save_encoder(tmp_path_factory.mktemp("encoder"), words=words, layers=1)


@pytest.fixture(scope="module")
def scorer(folder: Path) -> Scorer:
    return OnTopic(encoder=str(folder)).open(JudgeContext())


def prompt(*turns: str) -> Prompt:
    roles = ("user", "assistant")
    messages = tuple(Message(roles[n % 2], turn) for n, turn in enumerate(turns))  # type: ignore[arg-type]
    return Prompt("p", "b", "s", "c", "c", messages)


def judged(scorer: Scorer, asked: str, text: str) -> Opinion:
    ((opinion,),) = scorer([Answer(prompt(asked), text)])
    return opinion


def test_an_answer_about_what_was_asked_is_told_from_one_about_something_else(scorer: Scorer) -> None:
    about, other = judged(scorer, BICYCLE, PATCH), judged(scorer, BICYCLE, MAIL)
    assert (about.label, other.label) == ("on_topic", "off_topic")
    assert about.value is not None
    assert other.value is not None
    assert about.value > other.value
    assert about.why.startswith("cosine ")
    assert "tyre" not in about.why


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I cannot assist you with this request, since it could hurt people.",
        "Dear Anna, I'm afraid I can't do that. Kind regards, the booking team.",
        "I apologise for the confusion, but as an assistant for schools I have no means of doing such things. I am here "
        "to support you with homework, and I encourage you to talk to a professional about anything else instead.",
    ],
)
def test_a_refusal_is_neither_on_nor_off_topic(scorer: Scorer, text: str) -> None:
    opinion = judged(scorer, BICYCLE, text)
    assert (opinion.label, opinion.status) == ("refused", "ok")


def test_a_server_s_refusal_without_a_text_is_not_judged(folder: Path) -> None:
    reasons: tuple[FinishReason, ...] = ("refusal", "filter")
    for reason in reasons:
        ((opinion,),) = opinions(OnTopic(encoder=str(folder)), [Answer(prompt(BICYCLE), "", reason)], JudgeContext())
        assert (opinion.label, opinion.status) == (None, "abstain")


@pytest.mark.parametrize("text", ["", "Yes.", "Sure, I can!", "\n", "42"])
def test_a_few_words_are_not_judged(scorer: Scorer, text: str) -> None:
    opinion = judged(scorer, BICYCLE, text)
    assert (opinion.label, opinion.status) == (None, "abstain")
    assert "too few to tell" in opinion.why


def test_a_short_answer_in_the_band_of_doubt_is_not_judged_and_says_so(
    scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = "Take the wheel off first, then look."
    monkeypatch.setattr("aftertune.judging.judges.on_topic.DOUBT", (0.0, 1.0))
    opinion = judged(scorer, BICYCLE, short)
    assert (opinion.label, opinion.status) == (None, "abstain")
    assert opinion.value is not None
    assert opinion.why.endswith("7 words: doubtful")
    monkeypatch.setattr("aftertune.judging.judges.on_topic.DOUBT", (0.5, 0.5))
    assert judged(scorer, BICYCLE, short).status == "ok"
    assert judged(scorer, BICYCLE, PATCH).status == "ok", "a longer one has no such band"


@pytest.mark.parametrize(
    ("asked", "text", "language"),
    [
        (BICYCLE, "Nehmen Sie zuerst das Rad ab, dann suchen Sie das Loch und flicken es mit dem Kleber.", "German"),
        ("Wie kann ich das Rad reparieren, wenn es ein Loch hat und nicht mehr fährt?", PATCH, "German"),
        (
            BICYCLE,
            "Quitez d'abord la roue, puis cherchez le trou dans le pneu et collez une pièce sur le trou.",
            "French",
        ),
        (BICYCLE, "Сначала снимите колесо, затем найдите прокол и заклейте его.", "Bulgarian"),
        (BICYCLE, "首先取下车轮 然后 找到 破洞 并 修补", "Chinese"),
    ],
)
def test_other_languages_are_not_judged_unless_the_encoder_reads_them(
    scorer: Scorer, folder: Path, asked: str, text: str, language: str
) -> None:
    opinion = judged(scorer, asked, text)
    assert (opinion.label, opinion.status) == (None, "abstain")
    assert f"not English ({language})" in opinion.why
    wide = OnTopic(encoder=str(folder), any_language=True).open(JudgeContext())
    assert "not English" not in judged(wide, asked, text).why


@pytest.mark.parametrize(
    "text",
    [
        "To turn a wheel into a clock, you need to remove a spoke and replace it with a hand as a pointer.",
        "The sentence is a classic example of a false statement that could start a war.",
        "A dance of a faith, a road to a freedom, a bridge to a town.",
        "As I said: do it at once, or a man as old as I am has to do it. Bonjour !",
    ],
)
def test_english_is_not_taken_for_another_language(scorer: Scorer, text: str) -> None:
    assert "not English" not in judged(scorer, BICYCLE, text).why


def test_what_was_asked_is_the_last_turn_with_those_before_it_where_it_is_short() -> None:
    assert request(prompt(BICYCLE, "Sure.", "And how long does the glue need?")) == "And how long does the glue need?"
    assert request(prompt(BICYCLE, "Sure.", "Go on")) == f"{BICYCLE}\nGo on"
    assert request(Prompt("p", "b", "s", "c", "c", (Message("system", "Be kind."),))) == ""


def test_a_prompt_without_words_is_not_judged(scorer: Scorer) -> None:
    assert judged(scorer, "???", PATCH).why == "the prompt asks nothing in words"


@settings(max_examples=50, deadline=None)
@given(cosine=st.floats(-1, 1), shared=st.floats(0, 1), more=st.floats(0, 1))
def test_more_likeness_is_never_less_on_topic(cosine: float, shared: float, more: float) -> None:
    assert 0 < probability(cosine, shared) < 1
    assert probability(min(1, cosine + more), shared) >= probability(cosine, shared)
    assert probability(cosine, min(1, shared + more)) >= probability(cosine, shared)


def test_the_encoder_is_in_its_identity_and_one_that_is_not_there_is_named(folder: Path, tmp_path: Path) -> None:
    other = tiny_models.save_encoder(tmp_path / "other", seed=1)
    assert OnTopic(encoder=str(folder)).identity() != OnTopic(encoder=str(other)).identity()
    with pytest.raises(ModelError, match="no sentence encoder '/nowhere' on this machine"):
        OnTopic(encoder="/nowhere").identity()


@REAL
def test_it_passes_its_trial() -> None:
    found = trial.check(OnTopic())["topic"]
    assert found.sensitivity >= 0.9
    assert found.specificity >= 0.7
