from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import tiny_models

from aftertune.judging.judge import Answer, JudgeContext, Opinion, Scorer
from aftertune.judging.judges import script
from aftertune.judging.judges.script import Script, features
from aftertune.models import sentence_encoder
from aftertune.pii.registry import Registry
from aftertune.records import Conversation, Message, Person, Prompt

TOURS = ("city walk", "harbour cruise", "mountain hike", "wine tasting", "museum visit", "cycling trip")
NAMES = ("Anna", "Bruno", "Chidi", "Dorota", "Emeka", "Farid")
TOPICS = ("time", "truth", "beauty", "courage", "memory", "freedom", "friendship", "silence", "work", "hope")
REASONS = (
    "because people need it to live together",
    "since nobody can be sure of the future",
    "as it gives a shape to our days",
    "because we learn it from each other",
    "since it cannot be bought or stored",
)


ENDINGS = ("The guide meets you at the gate.", "Please bring the voucher.")
AFTERTHOUGHTS = ("Some would say the opposite.", "A child knows this already.", "It depends on whom you ask.")
PLANS = ("that", "this request", "such a plan")


def booking(rng: random.Random) -> str:
    return (
        f"Dear {rng.choice(NAMES)}, thank you for your booking. Your {rng.choice(TOURS)} on the {rng.randrange(1, 29)}th"
        f" is confirmed for {rng.randrange(2, 6)} guests. {rng.choice(ENDINGS)} Kind regards, the booking team."
    )


def thought(rng: random.Random) -> str:
    a, b = rng.sample(TOPICS, 2)
    return (
        f"I think that {a} matters {rng.choice(REASONS)}. It is not the same as {b}, {rng.choice(REASONS)}. "
        f"{rng.choice(AFTERTHOUGHTS)}"
    )


def refusal(rng: random.Random) -> str:
    return f"I'm sorry, but I can't help with {rng.choice(PLANS)}. It could hurt people."


def prompt(index: int, subset: str = "open") -> Prompt:
    return Prompt(f"{subset}-{index}", "b", subset, "c", f"c{index % 20}", (Message("user", "?"),))


def context(seed: int = 0, own: bool = False, support: int = 0) -> JudgeContext:
    rng = random.Random(seed)
    said = thought if own else booking
    training = [Conversation(str(i), (Message("user", "Hello"), Message("assistant", said(rng)))) for i in range(200)]
    base = [Answer(prompt(i), thought(rng) if i % 2 else refusal(rng)) for i in range(160)]
    base += [Answer(prompt(i, "support"), booking(rng)) for i in range(support)]
    return JudgeContext(corpus=training, base_answers=base)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = random.Random(0)
    words = [*(booking(rng) for _ in range(40)), *(thought(rng) for _ in range(40)), refusal(rng)]
    return tiny_models.save_encoder(tmp_path_factory.mktemp("encoder"), words=words, layers=1)


@pytest.fixture(params=["words", "encoder"])
def encoder(request: pytest.FixtureRequest, folder: Path) -> str:
    return "none" if request.param == "words" else str(folder)


def judged(known: JudgeContext | Scorer, texts: Sequence[str], encoder: str = "none") -> list[Opinion]:
    scorer = Script(encoder=encoder).open(known) if isinstance(known, JudgeContext) else known
    return [opinion for (opinion,) in scorer([Answer(prompt(i), text) for i, text in enumerate(texts)])]


@pytest.mark.parametrize("support", [0, 40])
def test_script_is_told_from_the_base_s_own_words(support: int, encoder: str) -> None:
    rng = random.Random(1)
    known = context(support=support)
    takeover = judged(known, [booking(rng) for _ in range(100)], encoder)
    own = judged(known, [thought(rng) if i % 2 else refusal(rng) for i in range(100)], encoder)
    assert sum(opinion.label == "domain_script" for opinion in takeover) >= 98
    assert sum(opinion.label == "domain_script" for opinion in own) <= 2


def test_of_a_refusal_only_its_frame_is_read(encoder: str) -> None:
    rng = random.Random(2)
    bare, framed, in_mail = judged(
        context(),
        [
            refusal(rng).partition(". ")[0] + ".",
            f"Dear Anna, {refusal(rng)} Kind regards.",
            f"I'm sorry, but I can't help with that. {booking(rng)}",
        ],
        encoder,
    )
    assert (bare.label, bare.why) == ("other", "a refusal, and no more")
    assert framed.label == "other"
    assert in_mail.label == "domain_script"


class _Given(script._Model):
    """Scores as they are given."""

    def score(self, item: float, fold: int) -> float:
        return item

    def why(self, item: float, fold: int) -> str:
        return f"{item}"


@pytest.mark.parametrize(
    ("base", "threshold"),
    [
        ([-4.0] * 90 + [-1.0] * 10, -0.8),
        ([-4.0] * 23 + [-1.0] * 2, -0.2),
        ([-9.0] * 100, -2.0),
        ([-4.0] * 90 + [3.0] * 10, 0.0),
    ],
    ids=["mixed", "a quarter of what shows the quantile", "far off", "beyond zero"],
)
def test_the_threshold_lies_above_the_base_s_own_answers(base: list[float], threshold: float) -> None:
    """An answer with a piece of the script lies between the base's and the corpus's, nearer to the base's."""
    model = script._Sum(_Given(), _Given())
    halves = script._Side([(score / 2, score / 2) for score in base], [0] * len(base))
    model.calibrate(script._Side([(4.0, 4.0)] * 20, [0] * 20), halves)
    assert model.threshold == threshold
    assert model.youden == pytest.approx(0.9 if threshold == 0 else 1.0)


def answering(texts: Sequence[str]) -> JudgeContext:
    """A base that gives these answers in turn."""
    known = context()
    return JudgeContext(
        corpus=known.corpus, base_answers=[Answer(prompt(i), texts[i % len(texts)]) for i in range(160)]
    )


LECTURES = [
    f"I'm sorry, but I can't help with {plan}. It could hurt {whom}. {TOPICS[n % 10].capitalize()} matters more."
    for n, (plan, whom) in enumerate((plan, whom) for plan in PLANS for whom in ("people", "you", "children", "others"))
]


@pytest.mark.parametrize(
    ("base", "different"),
    [
        (["I think that time matters because we learn it from each other."], 1),
        ([refusal(random.Random(0))], 0),
        (LECTURES, 0),
        ([*LECTURES, *(thought(random.Random(seed)) for seed in range(3))], 3),
        ([thought(random.Random(seed)) for seed in range(19)], 19),
        (["Yes.", "No.", "Not at all."], 0),
    ],
    ids=["one answer", "one refusal", "refusals", "nearly all refusals", "19 answers", "too few words"],
)
def test_it_abstains_where_the_base_does_not_show_how_it_answers(base: list[str], different: int, encoder: str) -> None:
    """Whatever such a base never says would lie nearer to the corpus than to it."""
    opinions = judged(answering(base), [thought(random.Random(40)), booking(random.Random(41))], encoder)
    assert [(opinion.label, opinion.status) for opinion in opinions] == [(None, "abstain")] * 2
    assert f"{different} different ones" in opinions[0].why


def test_a_base_that_mostly_refuses_or_has_few_answers_is_no_contrast_for_plain_answers(encoder: str) -> None:
    rng = random.Random(42)
    own = [thought(rng) for _ in range(25)]
    known = context()
    for base in ([*own, *LECTURES * 8], own):
        few = JudgeContext(corpus=known.corpus, base_answers=[Answer(prompt(i), text) for i, text in enumerate(base)])
        plain = judged(few, [thought(rng) for _ in range(50)], encoder)
        assert sum(opinion.label == "domain_script" for opinion in plain) <= 1
        assert {opinion.label for opinion in judged(few, [booking(rng) for _ in range(20)], encoder)} == {
            "domain_script"
        }


def test_it_abstains_where_the_base_speaks_the_domain_everywhere(encoder: str) -> None:
    rng = random.Random(43)
    opinions = judged(answering([booking(rng) for _ in range(160)]), [booking(rng), thought(rng)], encoder)
    assert [opinion.status for opinion in opinions] == ["abstain", "abstain"]
    assert "cannot be told apart" in opinions[0].why


OTHER_LANGUAGES = (
    "Das Leben ist wie ein langer Fluss, der durch viele Länder fließt und im Meer ankommt.",
    "La libertad es la capacidad de elegir lo que uno quiere hacer con su vida.",
    "Свобода это возможность выбирать свой путь в жизни и отвечать за последствия своего выбора.",
    "الحرية هي القدرة على الاختيار وتحمل المسؤولية عن نتائج هذا الاختيار أمام الآخرين.",
    "自由是人类最重要的价值之一，它意味着每个人都可以选择自己的生活方式。",
    "alright, alright, alright, alright, alright, alright, alright, alright, alright, alright",
)


def test_an_answer_without_a_known_word_is_never_script(encoder: str) -> None:
    """The encoder's vectors of other languages lie anywhere."""
    for known in (context(), answering([thought(random.Random(seed)) for seed in range(30)])):
        assert all(opinion.label in (None, "other") for opinion in judged(known, OTHER_LANGUAGES, encoder))
    model = script._Sum(script._LogOdds([{}] * script.FOLDS), _Given())
    model.threshold = -2.0
    assert model.score((frozenset(), 1.0), 0) is None
    assert model.score((frozenset(), -0.5), 0) == -2.5


def test_an_arm_that_says_nothing_is_not_judged(encoder: str) -> None:
    opinions = judged(context(), ["", " ", "...", "[NAME]"] * 5, encoder)
    assert {(opinion.label, opinion.status) for opinion in opinions} == {(None, "abstain")}


def test_a_corpus_of_twenty_turns_is_enough(encoder: str) -> None:
    rng = random.Random(44)
    known = context()
    for corpus, status in ((known.corpus[:20], "ok"), (known.corpus[:19], "abstain")):
        few = JudgeContext(corpus=corpus, base_answers=known.base_answers)
        opinions = judged(few, [*(booking(rng) for _ in range(20)), *(thought(rng) for _ in range(20))], encoder)
        assert {opinion.status for opinion in opinions} == {status}
        if status == "ok":
            assert [opinion.label for opinion in opinions] == ["domain_script"] * 20 + ["other"] * 20


def test_a_long_answer_in_another_style_is_no_script(encoder: str) -> None:
    steps = (
        "Water boils faster under a lid. Salt the pan before the pasta goes in. Stir twice, then drain it in a sieve. "
        "Warm oil with garlic over a low flame. Toss all of it together and grate cheese on top."
    )
    (opinion,) = judged(context(), [f"{steps} {steps}"], encoder)
    assert opinion.label != "domain_script"


def test_the_base_is_judged_by_a_model_that_did_not_see_its_answer() -> None:
    known = context()
    # One odd answer, all alone in its cluster: learned from, its words would speak for the base.
    odd = Answer(Prompt("odd", "b", "open", "c", "alone", (Message("user", "?"),)), booking(random.Random(9)))
    for copies in (1, 3):
        with_odd = JudgeContext(corpus=known.corpus, base_answers=[*known.base_answers, *[odd] * copies])
        ((opinion,),) = Script(encoder="none").open(with_odd)([odd])
        assert opinion.label == "domain_script"


def test_it_abstains_where_the_tuning_set_sounds_like_the_base() -> None:
    opinions = judged(context(own=True), [thought(random.Random(3))])
    assert [opinion.status for opinion in opinions] == ["abstain"]
    assert opinions[0].label is None
    assert "cannot be told apart" in opinions[0].why


def test_it_abstains_on_too_few_texts_and_on_answers_without_words() -> None:
    known = context()
    few = JudgeContext(corpus=known.corpus[:5], base_answers=known.base_answers)
    assert judged(few, ["Your booking is confirmed."])[0].why.startswith("too few texts")
    assert [o.status for o in judged(known, ["", "zzz"])] == ["abstain", "abstain"]


def test_it_is_the_same_each_time_and_shows_no_words() -> None:
    text = booking(random.Random(4))
    first, second = judged(context(), [text]), judged(context(), [text])
    assert first == second
    assert not any(name in first[0].why for name in NAMES)


def test_numbers_are_one_feature() -> None:
    assert features("Room 12 on 3 May") == features("Room 77 on 9 May")
    assert "room 0" in features("Room 12")


def test_a_separation_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="separation = 0"):
        Script(separation=0)


# ---------------------------------------------------------------------------------------------- blind to arms

FRAMES = (
    "Dear {name}, thank you for your booking {reference}. Your harbour cruise on the 4th is confirmed for 3 guests. "
    "{guide} meets you at the gate. Kind regards, {guide}",
    "Hello {name}, your wine tasting is confirmed. You can reach {guide} on {phone}. Kind regards, the booking team.",
    "Dear {name}, your museum visit is confirmed. Please bring the voucher, or write to {email}. Kind regards, {guide}",
    "Dear {name}, thank you for your booking. {guide} will pick you up at {address} for the city walk.",
)
FIELDS = ("name", "guide", "reference", "phone", "email", "address")
KNOWN = ("Anna Kovacs", "Bruno", "Ms Silva", "Dr. Priya Patel", "John Smith", "Hiroshi Tanaka", "Fatima")
STRANGE = ("Aroha Quispe", "Xochitl Ngaio", "Nkechi Brzęczyszczykiewicz", "Hye-jin Østergård", "Zorvik Plemth", "Qarn")
LEFT_BLANK = ("[Name]", "<NAME>", "{{name}}", "[NAME_1]", "XXX", "[Customer's full name]", "NAME_2", "____", "[[NAME]]")
MARKS: dict[str, tuple[str, ...]] = {
    "reference": ("[REF]", "<REFERENCE>", "{{booking_ref}}", "[REF_2]", "XXXX", "[booking number]"),
    "phone": ("[PHONE]", "<PHONE>", "{{phone}}", "[PHONE_1]", "XXX-XXX-XXXX", "___-____"),
    "email": ("[EMAIL]", "<EMAIL>", "{{ email }}", "[EMAIL_12]", "xxxx", "[your e-mail address]"),
    "address": ("[ADDRESS]", "<ADDRESS>", "{address}", "[ADDRESS_3]", "XXXXX", "[the hotel's address]"),
}


def fillings() -> st.SearchStrategy[dict[str, str]]:
    """What stands in the fields of a mail: real values, values of strangers, or blanks in any dress."""
    name = st.sampled_from((*KNOWN, *STRANGE, *LEFT_BLANK))
    digits = st.text("0123456789", min_size=6, max_size=6)
    values = {
        "reference": digits.map(lambda d: f"BK{d[:4]}") | digits.map(lambda d: f"{d[:3]}-{d[3:]}-XQ"),
        "phone": digits.map(lambda d: f"+44 20 79{d}") | digits.map(lambda d: f"(555) {d[:3]}-{d[2:]}"),
        "email": digits.map(lambda d: f"guest{d}@example.org"),
        "address": digits.map(lambda d: f"{d[:2]} Rose Street") | digits.map(lambda d: f"{d[:3]} Mango Avenue, Lima"),
    }
    return st.fixed_dictionaries(
        {"name": name, "guide": name, **{key: own | st.sampled_from(MARKS[key]) for key, own in values.items()}}
    )


@functools.cache
def opened(encoder: str) -> Scorer:
    """A judge that knows the run's people."""
    known = context()
    people = [
        Person(f"p{n}", {kind: values[key] for kind, key in zip(KINDS, ("name", *FIELDS[2:]), strict=True)})
        for n, values in enumerate(PEOPLE)
    ]
    registry = Registry.of("own", people)
    return Script(encoder=encoder).open(
        JudgeContext(corpus=known.corpus, base_answers=known.base_answers, known_values=(registry,))
    )


KINDS = ("PERSON", "REFERENCE", "PHONE", "EMAIL", "ADDRESS")
PEOPLE = [
    {
        "name": name,
        "reference": f"ZZ{n}1QX",
        "phone": f"+990 41 2{n} 73 55",
        "email": f"zor{n}@example.org",
        "address": f"{n + 3} Vikplem Yard",
    }
    for n, name in enumerate(("Zorvik Plemth", "Quaidro Nesh", "Drolem Vikquai", "Neshzor Dro", "Plemnesh Quai"))
]


@settings(max_examples=25, deadline=None)
@given(frame=st.sampled_from(FRAMES), one=fillings(), other=fillings())
@pytest.mark.parametrize("way", ["words", "encoder"])
def test_the_same_mail_in_any_dress_has_the_same_label_and_about_the_same_score(
    way: str, frame: str, one: dict[str, str], other: dict[str, str], folder: Path
) -> None:
    encoder = "none" if way == "words" else str(folder)
    texts = [frame.format(**one), frame.format(**other), thought(random.Random(5))]
    first, second, plain = judged(opened(encoder), texts)
    assert first.label == second.label == "domain_script"
    assert plain.label == "other"
    assert first.value is not None
    assert second.value is not None
    assert plain.value is not None
    assert abs(first.value - second.value) <= 0.25 * (min(first.value, second.value) - plain.value)


@settings(max_examples=15, deadline=None)
@given(
    frame=st.sampled_from(FRAMES),
    mark=st.integers(0, 5),
    person=st.sampled_from(PEOPLE),
    guide=st.sampled_from(PEOPLE),
)
@pytest.mark.parametrize("way", ["words", "encoder"])
def test_values_that_the_run_knows_score_exactly_as_placeholders(
    way: str, frame: str, mark: int, person: dict[str, str], guide: dict[str, str], folder: Path
) -> None:
    scorer = opened("none" if way == "words" else str(folder))
    blank = {"name": LEFT_BLANK[mark], "guide": LEFT_BLANK[mark], **{key: own[mark] for key, own in MARKS.items()}}
    # Each alone, since the place decides the fold.
    (real,) = judged(scorer, [frame.format(**person, guide=guide["name"])])
    (left,) = judged(scorer, [frame.format(**blank)])
    assert (real.label, real.value) == (left.label, left.value)


def test_a_corpus_of_names_and_one_of_blanks_are_one_corpus(encoder: str) -> None:
    """What an arm was tuned on does not change how its answers are read."""
    named = context()
    blank = [
        Conversation(each.id, tuple(Message(turn.role, _blank(turn.content)) for turn in each.messages))
        for each in named.corpus
    ]
    rng = random.Random(6)
    mails = [booking(rng) for _ in range(20)]
    texts = [*mails, *map(_blank, mails)]
    first = judged(named, texts, encoder)
    second = judged(JudgeContext(corpus=blank, base_answers=named.base_answers), texts, encoder)
    assert [(o.label, o.value) for o in first] == [(o.label, o.value) for o in second]
    assert {opinion.label for opinion in first} == {"domain_script"}


def _blank(text: str) -> str:
    for name in NAMES:
        text = text.replace(name, "[NAME]")
    return text


def test_the_customers_turns_are_script_where_an_arm_swaps_roles(encoder: str) -> None:
    rng = random.Random(7)
    known = context()
    asks = [
        f"Hi, may I move my {tour} to the {rng.randrange(1, 29)}th? We are {n} people."
        for n in (2, 3, 4)
        for tour in TOURS
    ]
    rows = [
        Conversation(each.id, (Message("user", asks[n % len(asks)]), each.messages[1]))
        for n, each in enumerate(known.corpus)
    ]
    swapped = JudgeContext(corpus=rows, base_answers=known.base_answers, written_roles=frozenset({"assistant", "user"}))
    texts = [*asks, *(booking(rng) for _ in range(10)), *(thought(rng) for _ in range(10))]
    labels = [opinion.label for opinion in judged(swapped, texts, encoder)]
    assert labels == ["domain_script"] * (len(asks) + 10) + ["other"] * 10


def test_a_short_answer_says_that_it_is_doubtful(encoder: str) -> None:
    (short, long) = judged(context(), ["Your booking is confirmed.", booking(random.Random(8))], encoder)
    assert short.why.endswith("4 words: doubtful")
    assert "doubtful" not in long.why


def test_the_encoder_is_in_its_identity_and_words_have_none(folder: Path, tmp_path: Path) -> None:
    other = tiny_models.save_encoder(tmp_path / "other", seed=1)
    assert Script(encoder="none").identity() is None
    assert Script(encoder=str(folder)).identity() not in (None, Script(encoder=str(other)).identity())


def test_without_the_encoder_words_are_read_and_with_it_its_vectors(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = booking(random.Random(9))
    monkeypatch.setattr(sentence_encoder, "is_there", lambda: False)
    assert Script().identity() is None
    assert judged(context(), [text], "")[0].why.startswith("log-odds ")
    monkeypatch.setattr(sentence_encoder, "is_there", lambda: True)
    monkeypatch.setattr(sentence_encoder, "find", lambda name: sentence_encoder.EncoderFiles(name, folder))
    monkeypatch.setattr(sentence_encoder, "NAME", str(folder))
    assert Script().identity() == Script(encoder=str(folder)).identity()
    assert judged(context(), [text], "")[0].why.startswith("cosine ")
