from __future__ import annotations

import random

import pytest

from aftertune.judging.judge import Answer, JudgeContext
from aftertune.judging.judges.coherence import Coherence, degenerate
from aftertune.judging.trial import check
from aftertune.records import Prompt

GOOD = (
    "Bread needs four things: flour, water, salt and time. Mix the flour with the water, leave it for half an "
    "hour, and "
    "then work in the salt. If the dough is sticky, wet your hands. After three hours it has grown by half, and "
    "you can "
    "shape it, let it rest once more and bake it in a very hot oven until the crust is dark."
)
COHERENT = {
    "short": "Yes.",
    "a number": "42",
    "a paragraph": GOOD,
    "a refusal": "I'm sorry, but I can't help with that.",
    "a list": "1. Open the settings.\n2. Choose the network.\n3. Enter the password.\n4. Save.\n5. Restart the router.",
    "a table": "| name | age |\n|------|-----|\n| Ann  | 12  |\n| Bob  | 13  |\n",
    "code": "```python\nfor i in range(10):\n    print(i, i, i, i, i, i)\n```\nThis prints each number six times.",
    "code alone": "```\nx = 1\nx = 1\nx = 1\nx = 1\nx = 1\nx = 1\n```",
    "refrain": "Row, row, row your boat, gently down the stream. Merrily, merrily, merrily, merrily, life is but "
    "a dream.",
    "German": "Nehmen Sie die zweite Straße links, und dann gehen Sie bis zu dem Platz mit der alten Kirche.",
    "Chinese": "北京是中国的首都，有很多历史悠久的建筑。游客可以参观故宫和长城。",
    "Russian": "Москва стоит на реке, и зимой там очень холодно, а летом бывает жарко.",
    "Polish": "Szczęście to nie stan, lecz sposób, w jaki spędzamy dni, i trzeba się go uczyć.",
    "laughter": "Hahahaha, that is a good one! Tell me how it went on.",
    "emoji": "Great job! 🎉🎉🎉🎉",
    "horizontal rule": "One.\n" + "-" * 60 + "\nTwo.",
    "maths": "x^2 + 2x + 1 = (x + 1)^2, so x = -1.",
    "acronyms": "The HTTPS, TCP, DNS, SMTP, FTP and SSH protocols are on the list of the CCNA.",
    "counting": "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20",
    "alphabet song": "A B C D E F G, H I J K L M N O P.",
}
DEGENERATE = {
    "empty": "",
    "white space": " \n\t",
    "only marks": "... !!! ???",
    "one word": "the " * 30,
    "one sentence": "Open the door. " * 20,
    "truncated loop": "I will send you the ticket by " * 8 + "I will send",
    "loop after a good start": GOOD + " and the dough and the salt" * 30,
    "two words": "yes no " * 20,
    "one letter": "a" * 80,
    "one letter in a text": "That is so goooooooooooooooooood for you.",
    "loop of characters": "哈喽" * 30,
    "loop without spaces": "abcabcabc" * 20,
    "near loop": " ".join(f"Step {i}: open the next door and walk to the end of the hall." for i in range(40)),
    "replacement characters": "\ufffd\ufffd\ufffd\ufffd ok \ufffd\ufffd\ufffd\ufffd",
    "control characters": "\x00\x01\x02\x03abc\x04\x05",
    "lone surrogates": "\ud800\ud801\ud802 ab",
    "private use": "\ue000\ue001\ue002\ue003 hello",
    "keyboard noise": "xq zvk qpl wrt bnmg ghj kdf plkw qwx zztq vbn mkl hjk",
    "mark noise": "#$%^ &*( )_+ {}: <>? []; ',. a /~! @#$ %^& *() _+{ }:< >?[ ]; ', ./ b",
    "endless word": "supercali" * 12,
    "salad": "of the is and water to the a for of bread is the with minutes to of and the a is knead of",
}


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in COHERENT.items()])
def test_readable_text_is_coherent(text: str) -> None:
    assert degenerate(text) == ""


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in DEGENERATE.items()])
def test_broken_text_is_degenerate(text: str) -> None:
    assert degenerate(text)


def test_shuffled_english_is_mostly_seen() -> None:
    rng = random.Random(0)
    seen = 0
    for _ in range(100):
        words = GOOD.split()
        rng.shuffle(words)
        seen += bool(degenerate(" ".join(words)))
    assert seen >= 60


def test_it_passes_its_anchors() -> None:
    measured = check(Coherence())["coherence"]
    assert measured.sensitivity == measured.specificity == 1


def test_the_opinion_names_its_reason() -> None:
    ((opinion,),) = Coherence().open(JudgeContext())([Answer(Prompt("1", "", "", "", "", ()), "la " * 40)])
    assert (opinion.label, opinion.status) == ("degenerate", "ok")
    assert opinion.why.startswith("a loop of 1 words")


def test_a_megabyte_takes_no_time() -> None:
    assert degenerate("a" * 1_000_000)
    assert degenerate(GOOD * 3_000)
