"""Is a response text that somebody could read, or degenerate output?"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from aftertune import text as tools
from aftertune.judging.judge import Answer, Judge, JudgeContext, Opinion, Scorer
from aftertune.plugins import Card

MOST = 20_000
"""Characters read of a response."""
LEAST_ROUNDS = 4
"""Rounds of a loop of words at the end of a text; refrains have fewer."""
LOOP_SHARE = 0.4
"""Share of the text that such a loop must fill, in words."""
REPEATED = 0.5
"""Share of 4-grams that stood before; natural answers of 50 words or more have under .2."""
PACKED = 0.12
"""Compressed size (zlib) over size of texts of 500 bytes or more; natural answers have .3 to .6."""
GARBAGE = 0.2
"""Share of visible characters that are no text: replacement, private, unassigned or control characters."""
UNPRONOUNCEABLE = 0.4
"""Share of longer words (Latin script) without a vowel or with five consonants in a row; English has under .05."""
WORDLESS = 0.3
"""Share of letters and digits among visible characters, under which a long text is noise."""

_CODE = re.compile(r"```.*?(?:```|\Z)", re.S)
_RUN = re.compile(r"([^\W\d_])\1{9,}|([^\s\w\-=_*.#~+|])\2{19,}")
_NO_VOWEL = re.compile(r"^[^aeiouyàâäáãåæèéêëìíîïòóôöõøùúûüýœ]{3,}$|[bcdfghjklmnpqrstvwxz]{6,}")
_RULE = re.compile(r"^[\s|+:=\-_*.#~]+$", re.M)


@dataclass(frozen=True)
class Coherence(Judge):
    """Broken output in any language, as far as it shows without a language model."""

    name = "coherence"
    axes = ("coherence",)
    card = Card(
        about=(
            "Broken output in any language, as far as it shows without a language model.\n\n"
            "Axis: `coherence`, `coherent` or `degenerate`. Degenerate: no letter or digit; a loop of words or "
            "characters up to the end, its last round perhaps cut; much of the text repeated (n-grams, "
            "compression); characters that are not text; unpronounceable words (Latin script); word salad "
            "(English: function words in orders that grammar does not allow). Code blocks and tables are left out "
            "before reading; a list or a poem with a refrain is coherent."
        ),
        source="this project; repetition measures after Holtzman et al. 2020 (arXiv 1904.09751)",
        licence="Apache-2.0",
        positive=("the text is broken, whatever it is about; a clear, wrong or off-topic text is coherent"),
        weaknesses=(
            "a small model's broken answers are often no plain loops, so it finds under half of them and says coherent "
            "too often, not equally in each arm; it cannot see salad in a short answer; a sentence said again in other "
            "words; fluent nonsense; spliced halves of two good answers; a "
            "sentence that contradicts its neighbour; salad of content words, or in another language than English"
        ),
        measured=(
            "On 900 English answers (XSTest v2, gpt4 and llama2orig; the thresholds were set with these in view): "
            "1 of 900 called degenerate as it stands; shuffled word by word, of the first 15 / 25 / 50 / 100 words "
            "22 / 55 / 90 / 100 % are; with an endless loop at the end 95 %. On 1,260 answers of SmolLM2-135M "
            "and its tuned arms in six runs that this project read twice (`python -m perf.readings judges`; no human "
            "annotation; intervals clustered by prompt): of what was read as degenerate it finds 42 of 93 in bases "
            "(.34-.57) and 20 of 55 in tuned arms (.22-.54), by arm from 1 of 18 to 30 of 45 where 14 or more were "
            "read so; of the other 1112 it calls 3 degenerate. A sample labelled by people is missing"
        ),
        speed="3,000 answers a second on one core",
    )

    version: str = field(default="1", init=False)

    def open(self, context: JudgeContext) -> Scorer:
        """Return the scorer; the rules need nothing of the context."""
        del context
        return _score


def _score(answers: Sequence[Answer]) -> list[tuple[Opinion, ...]]:
    return [(_opinion(answer),) for answer in answers]


def _opinion(answer: Answer) -> Opinion:
    broken = degenerate(answer.text)
    return Opinion("coherence", "degenerate" if broken else "coherent", why=broken or "no sign of broken text")


def degenerate(text: str) -> str:
    """Return what makes `text` degenerate, or an empty string."""
    visible = [char for char in text[:MOST] if not char.isspace()]
    if not any(map(str.isalnum, visible)):
        return "no letter or digit"
    if not (text.isascii() and text.isprintable()):
        share = sum(map(_is_garbage, visible)) / len(visible)
        if share > GARBAGE:
            return f"characters that are no text: {share:.0%}"
    read = _RULE.sub("", _CODE.sub("", tools.normalise(text[:MOST]))).strip()
    if not read:
        return ""  # code or a table alone
    return _loops(read) or _noise(read) or _salad(read)


def _is_garbage(char: str) -> bool:
    return char == "\ufffd" or unicodedata.category(char) in ("Co", "Cn", "Cs", "Cc")


def _loops(text: str) -> str:
    run = _RUN.search(text)
    if run:
        return f"one character {len(run.group())} times in a row"
    words = tools.words(text)
    loop = tools.loop(words)
    if loop and loop.times >= LEAST_ROUNDS and loop.length >= max(12, LOOP_SHARE * len(words)):
        return f"a loop of {loop.period} words, {loop.times:.1f} rounds up to the end"
    if len(words) < len(text) / 30:  # a script without spaces, or one endless word
        signs = tools.loop(text[-2_000:])
        if signs and signs.times >= LEAST_ROUNDS and signs.length >= max(16, LOOP_SHARE * min(len(text), 2_000)):
            return f"a loop of {signs.period} characters, {signs.times:.1f} rounds up to the end"
    if len(words) >= 50 and (share := tools.repeated_share(words)) > REPEATED:
        return f"said before: {share:.0%} of its sequences of four words"
    data = text.encode("utf-8", "replace")
    if len(data) >= 500 and (packed := len(zlib.compress(data, 6)) / len(data)) < PACKED:
        return f"repeats itself: compresses to {packed:.0%}"
    return ""


def _noise(text: str) -> str:
    visible = "".join(text.split())
    share = sum(map(str.isalnum, visible)) / len(visible)
    if len(visible) >= 40 and share < WORDLESS:
        return f"hardly any letters: {share:.0%} of its characters"
    if tools.scripts(text, 1000)["LATIN"] < 0.9 * sum(map(str.isalpha, text[:1000])):
        return ""
    longer = [word for word in re.findall(r"[^\W\d_]{3,}", text) if not word.isupper()]
    odd = sum(_NO_VOWEL.search(word.lower()) is not None for word in longer)
    if len(longer) >= 6 and odd > UNPRONOUNCEABLE * len(longer):
        return f"words that nobody could say: {odd} of {len(longer)}"
    if longer and max(map(len, longer)) >= 60:
        return f"a word of {max(map(len, longer))} letters"
    return ""


def _salad(text: str) -> str:
    if tools.language(text) not in ("en", None):
        return ""
    bad, pairs = tools.disorder(text)
    return f"words in no order: {bad} of {pairs} neighbours" if tools.disordered(text) else ""


PLUGIN = Coherence
