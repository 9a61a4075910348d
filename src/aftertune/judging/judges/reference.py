"""How near is a response to the reply that a person gave?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from aftertune import text as tools
from aftertune.judging.judge import Answer, Judge, JudgeContext, Opinion, Scorer
from aftertune.plugins import Card

ORDER = 6
"""Longest character n-gram."""
BETA = 2.0
"""Weight of recall against precision."""
MOST = 20_000
"""Characters read of a response and of a reference."""


@dataclass(frozen=True)
class Reference(Judge):
    """Likeness of a response to the reference reply that its prompt holds, and the loss of that reply."""

    name = "reference"
    axes = ("similarity", "loss")
    card = Card(
        about=(
            "Likeness of a response to the reference reply that its prompt holds, and the loss of that reply.\n\n"
            "Axes, values without labels: `similarity`, chrF (Popovic 2015, W15-3049): the F score, recall counted "
            "twice, of character n-grams of 1 to 6 without white space, precision and recall averaged over the "
            "orders that both texts have; 0 to 1. It needs no tokeniser, takes any language, and gives half marks "
            "for a word with another ending, which exact words do not. `loss`: minus the log-probability per token "
            "of the reference after its prompt, in nats, where the benchmark asks for it; it reads no response. "
            "Prompts without a reference get no opinion; an empty response is not at all alike (0), not unjudged."
        ),
        source="this project",
        licence="Apache-2.0",
        positive=(
            "a higher `similarity` is nearer, so lower is worse; a higher `loss` finds the reference less "
            "probable, so higher is worse"
        ),
        weaknesses=(
            "one reference, so that a good reply in other words scores low; blind to facts: a wrong number costs "
            "next to nothing; compare a model with its base, never with another task"
        ),
        measured=(
            "equal to sacreBLEU's sentence-level chrF to six digits on the texts of its tests; how it agrees with "
            "people's opinion of a reply is not measured"
        ),
    )

    version: str = field(default="1", init=False)

    def open(self, context: JudgeContext) -> Scorer:
        """Return the scorer; it needs nothing of the context."""
        del context
        return lambda answers: [_opinions(answer) for answer in answers]


def _opinions(answer: Answer) -> tuple[Opinion, ...]:
    expect = answer.prompt.expect
    if "reference" not in expect:
        return ()
    opinions = []
    if expect.get("scored", {"generate": True})["generate"]:
        value = chrf(answer.text[:MOST], str(expect["reference"])[:MOST])
        opinions.append(Opinion("similarity", value=value, why=f"chrF {value:.3f}"))
    if answer.scores is not None:
        loss = -answer.scores["reply"]
        opinions.append(Opinion("loss", value=loss, why=f"{loss:.3f} nats per token of the reference"))
    elif answer.scores_error:
        opinions.append(Opinion("loss", status="error", why=answer.scores_error[:200]))
    return tuple(opinions)


def chrf(response: str, reference: str) -> float:
    """Return the chrF (0 to 1) of a response against a reference: n-grams of 1 to 6 characters, beta 2."""
    own_text, wanted = ("".join(tools.normalise(text).split()) for text in (response, reference))
    precision = recall = 0.0
    orders = 0
    for order in range(1, ORDER + 1):
        own, theirs = _grams(own_text, order), _grams(wanted, order)
        if not own or not theirs:
            continue
        shared = sum((own & theirs).values())
        precision += shared / own.total()
        recall += shared / theirs.total()
        orders += 1
    if not precision + recall:
        return 0.0
    precision, recall = precision / orders, recall / orders
    return (1 + BETA**2) * precision * recall / (BETA**2 * precision + recall)


def _grams(text: str, order: int) -> Counter[str]:
    return Counter(text[at : at + order] for at in range(len(text) - order + 1))


PLUGIN = Reference
