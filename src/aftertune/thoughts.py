"""A model's thought parted from its answer, in the markup of the models that write one.

Known are pairs of tags (`<think>`, `<thinking>`, `<thought>`, `<reasoning>`, `<reflection>`, `<scratchpad>`,
`<seed:think>` and their relatives, in any case and with attributes; `[THINK]`; `<|begin_of_thought|>`,
`<|START_THINKING|>`, `<|channel>thought`), Kimi's, Granite's and Apriel's own, and the channels of gpt-oss (harmony),
with their special tokens or as decoding without these leaves them (`analysis...assistantfinal...`), and messages with
an address (`to=self<|message|>`). So are tags in other spelling (bold, escaped, full-width, as entities), and, at the
beginning of a text, code blocks and headings of a thought that is followed by its answer. A template may have written
the opening tag into the prompt, so that only the closing one stands in the text. A tag that is only mentioned (in code,
in quotes, in the middle of a sentence, in an example of markup) parts nothing; `seems_to_think` counts what may be a
thought all the same. Thoughts in plain words, without any markup, cannot be told from the answer.
"""

from __future__ import annotations

import bisect
import itertools
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

MOST_THOUGHTS = 64
"""In one text; tags after them are left as they are."""
MOST_TAGS = 1_000
"""That are read in one text."""
INSIDE = "the text ends inside its thought"
AFTER = "no answer follows the thought"


FIELDS = ("reasoning_content", "reasoning", "thinking", "thought", "thoughts", "reasoning_details", "thinking_blocks")
"""Under which tables, chats and servers give a thought beside its answer: a text, or parts with a text each."""


def thought_of(fields: Mapping[str, Any]) -> str:
    """Return the thought that stands in a field of its own; empty where none does."""
    for name in FIELDS:
        value = fields.get(name)
        if isinstance(value, list):
            value = "\n\n".join(filter(None, map(_text_of_part, value)))
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""


def _text_of_part(part: object) -> str:
    if isinstance(part, Mapping):
        return next((text for name in ("text", "thinking", "summary") if isinstance(text := part.get(name), str)), "")
    return part if isinstance(part, str) else ""


@dataclass(frozen=True, slots=True)
class Parted:
    """A text, parted."""

    answer: str
    """The text itself, unchanged, where it holds no thought."""
    thought: str = ""
    """Several thoughts are joined by a blank line."""
    unanswered: str = ""
    """Why there is no answer: `INSIDE` or `AFTER`; else empty."""
    found: bool = False
    """Whether there is markup of thoughts, empty ones included."""


_WORDS = (
    r"think|thinking|thoughts?|monologue|chain[_-]?of[_-]?thoughts?|scratch[_-]?pad|think[_-]ing"
    r"|(?:thought|thinking|reasoning)[_-]?process"
)
_KINDS = r"[_-]?(?:block|content|deep|fast|mode|section|slow|steps?|trace|\d{1,2})"
"""What some models put behind such a name: `<thinking_block>`, `<think_fast>`, `<thought_1>`."""
_COMMON = r"reasoning|reason|reflection|analysis|ponder|cot|rationale|deliberation|plan|planning|brainstorm(?:ing)?"
"""Names that stand in other markup as well: they part a text at its beginning only."""
_PIPED = rf"{_WORDS}|reasoning|cot"
_LEFT = r"(?:\\?<|&(?:amp;)?(?:lt|\#0{0,5}60|\#x0{0,5}3c);|\\u003c)"
_RIGHT = r"(?:\\?>|&(?:amp;)?(?:gt|\#0{0,5}62|\#x0{0,5}3e);|\\u003e)"
"""A tag's brackets: as they are, with a backslash before them, as entities, or as JSON writes them."""
_TAG = re.compile(
    rf"""
      {_LEFT} (?P<xml_close>\\?/)? \s* (?P<space>[a-z]{{1,12}}[:_-])? (?:ant)?
        (?P<xml>(?:{_WORDS})(?:{_KINDS})?|{_COMMON})
        (?:\s[^<>]{{0,200}}?)? (?P<itself>/)? {_RIGHT}
    | \[ (?:(?P<square_close>/|end[ _])|(?P<begin>begin|start)(?P<gap>[ _]))?
        (?P<square>think|thinking|thoughts?|reasoning|scratchpad) \]
    | <\| (?:(?P<pipe_open>(?:begin|start)_?(?:of)?_?(?:{_PIPED})|(?:{_PIPED})(?:_start)?|inner_prefix)
           | (?P<pipe_close>end_?(?:of)?_?(?:{_PIPED})|/(?:{_PIPED})|(?:{_PIPED})_end|inner_suffix)) \|>
    | (?P<kimi>◁(?P<kimi_close>/)?think▷)
    | (?P<gemma_open><\|channel>thought|<unused94>thought) | (?P<gemma_close><channel\|>|<unused95>)
    """,
    re.I | re.X,
)
_TAIL = 200
"""Characters at the end of a prompt in which an opening mark is looked for."""
_OPENED_BY_TEMPLATE = (
    (
        re.compile(r"<\|channel\|>(?:analysis|commentary)<\|message\|>\Z"),
        "<|end|><|start|>assistant<|channel|>final<|message|>",
    ),
    (re.compile(r"Here are my reasoning steps:\Z"), "\n[BEGIN FINAL RESPONSE]\n"),
)
"""Ends of prompts that open a thought without a tag, and what closes it: gpt-oss's and Apriel's."""
_ANSWER_WORDS = r"answer|output|response|final|final_answer|solution|conclusion"
_SOLUTION = r"(?:of_)?(?:solution|response|answer|box)"
_ANSWER_OPEN = re.compile(
    rf"{_LEFT}(?P<xml>{_ANSWER_WORDS}){_RIGHT}|<\|(?:(?:begin|start)_{_SOLUTION}|start_text)\|>", re.I
)
_ANSWER_CLOSE = re.compile(rf"{_LEFT}\\?/(?:{_ANSWER_WORDS}){_RIGHT}|<\|(?:end_{_SOLUTION}|end_text)\|>", re.I)
_HEADER = re.compile(
    r"(?:[\s\ufeff\u200b-\u200d\u2060]|<s>|<bos>"
    r"|<\|(?:begin_of_text|begin_of_sentence|im_start|start_header_id|end_header_id|assistant|start)\|>"
    r"|<｜[^｜<>]{1,40}｜>|(?:assistant|model)\s*(?::|(?=\s*[<\[◁&\\＜*_])))*",
    re.I,
)
"""What may stand before a text's first thought: white space, and what remains of a chat template."""
_FENCE = re.compile(r"^[ \t]{0,3}(`{3,}|~{3,}).*$", re.M)
_INLINE = re.compile(r"(?<!`)(`{1,2})(?!`)[^\n]*?(?<!`)\1(?!`)")
_QUOTES = {'"': '"', "'": "'", "“": "”", "„": "“", "«": "»", "‘": "’", "(": ")"}
_SUBJECT = re.compile(r"[ \t]+(?:is|are|was|tags?|elements?|and|or|means|denotes|has)\b")
_GRANITE = re.compile(
    r"\s*(?:Here is|Here's) my thought process:(?P<thought>.*?)"
    r"(?:(?:Here is|Here's) my response:(?P<answer>.*))?\Z",
    re.S,
)
_APRIEL = re.compile(
    r"(?:\s*Here are my reasoning steps:)?(?P<thought>.*?)(?m:^)\[BEGIN FINAL RESPONSE\](?P<answer>.*?)"
    r"(?:\[END FINAL RESPONSE\]\s*)?\Z",
    re.S,
)
_SHOWN = re.compile(
    r"\s*(?:Thinking\.\.\.[ \t]*\n(?P<thought>.*?)\n\s*\.\.\.done thinking\.(?P<answer>.*)"
    r"|<details(?:\b[^<>]{0,100}\btype=[\"']reasoning[\"'][^<>]{0,100}>"
    r"|>(?=\s*<summary>[^<]{0,20}\b(?:[Tt]hinking|[Tt]hought|[Rr]easoning)\b))\s*(?:<summary>[^<]{0,200}</summary>)?"
    r"(?P<quoted>.*?)(?:</details>(?P<rest>.*))?)\Z",
    re.S,
)
"""As Ollama's terminal and Open WebUI show a thought in what is copied or exported from them."""


class _Mark(NamedTuple):
    """A tag in a text."""

    start: int
    end: int
    opens: bool
    family: str
    common: bool
    """Whether other markup uses the name as well."""


def part(text: str, *, opened: bool = False) -> Parted:
    """Return a text's thought and answer; `opened` says that the prompt ended with a thought's opening tag."""
    if _has_channels(text):
        return _channels(text)
    if "to=" in text[:40] and (addressed := _addressed(text)):
        return addressed
    spaced = _SPACED.match(text)
    if spaced:
        return _parted(spaced["answer"], [each.strip() for each in _SPACED_NEXT.split(spaced["thought"])], inside=False)
    granite = None if opened else _GRANITE.match(text)
    if granite:
        return _parted(
            (granite["answer"] or "").lstrip(), [granite["thought"].strip()], inside=granite["answer"] is None
        )
    if "[BEGIN FINAL RESPONSE]" in text and (apriel := _APRIEL.match(text)):
        return _parted(apriel["answer"].strip(), [apriel["thought"].strip()], inside=False)
    shown = None if opened else _SHOWN.match(text)
    if shown:
        thought, answer = shown["thought"], shown["answer"]
        if thought is None:
            thought, answer = re.sub(r"^> ?", "", shown["quoted"], flags=re.M), shown["rest"]
        return _parted((answer or "").lstrip(), [thought.strip()], inside=answer is None)
    framed = None if opened else _headed(text) or _fenced(text)
    if framed:
        return framed
    marks = _marks(text)
    return _tagged(text, marks, opened) if marks or opened else Parted(text)


def seems_to_think(answer: str) -> bool:
    """Return whether an answer, parted or whole, holds what looks like the markup of a thought.

    It may be an answer about such markup: to be counted, not to be left out.
    """
    marks = _marks(answer)
    if any(not mark.common for mark in marks) or _LOOKS.search(answer) or _MAYBE_HEADED.match(answer):
        return True
    if _MAYBE_MARKED.match(answer):
        return True
    return _beginning(answer, marks, sure=False) is not None


def opens_thought(prompt: str) -> bool:
    """Return whether a prompt, as its chat template wrote it, ends with the opening mark of a thought."""
    return bool(thought_tags(prompt)[0])


def closes_thought(prompt: str) -> bool:
    """Return whether a prompt, as its chat template wrote it, ends with the closing mark of a thought."""
    tail = prompt[-_TAIL:].rstrip()
    return any(mark.end == len(tail) and not mark.opens for mark in _marks(tail))


def thought_tags(prompt: str) -> tuple[str, str]:
    """Return the mark of a thought with which a prompt ends, and what closes it before an answer; empty without one.

    The closing mark stands on a line of its own where white space follows the opening one.
    """
    tail = prompt[-_TAIL:]
    bare = tail.rstrip()
    for opening, closing in _OPENED_BY_TEMPLATE:
        if match := opening.search(bare):
            return match[0], closing
    last = next((mark for mark in reversed(_marks(bare)) if mark.end == len(bare)), None)
    if last is None or not last.opens:
        return "", ""
    opening_tag = bare[last.start :]
    return opening_tag, f"{chr(10) if bare != tail else ''}{_closing_tag(opening_tag)}\n\n"


def only_thoughts(text: str) -> bool:
    """Return whether a text holds nothing but white space and the marks of thoughts, as of an empty one."""
    return not text.strip() or not _TAG.sub("", text).strip()


def number_of_tags(text: str) -> int:
    """Return how many tags of thoughts a text holds, opening and closing ones."""
    return len(_marks(text))


def is_marker(token: str) -> bool:
    """Return whether a special token belongs to the markup of thoughts, and must be read to part them."""
    return (
        token in CHANNEL_TOKENS
        or bool(_TAG.fullmatch(token) or _ANSWER_OPEN.fullmatch(token))
        or (token in ("<|channel>", "<unused94>") or bool(_ANSWER_CLOSE.fullmatch(token)))
    )


def closes_unopened(text: str) -> bool:
    """Return whether a text closes a thought that it does not open, as where the template has opened it."""
    if _has_channels(text):
        return False
    marks = _marks(text)
    return _beginning(text, marks) is None and _unopened(text, marks) is not None


def opened_by_template(texts: Sequence[str]) -> bool:
    """Return whether the texts of one model show that its chat template opens a thought in the prompt.

    At least two of them, or one in ten of a few, close a thought that they do not open, and not one for ten of these
    opens one. Then a text without a closing tag ends inside its thought.
    """
    closing = sum(map(closes_unopened, texts))
    if not closing or (closing < 2 and 10 * closing < len(texts)):
        return False
    return closing >= 10 * sum(_beginning(text, _marks(text)) is not None for text in texts)


# ---------------------------------------------------------------------------------------------- tags


def _closing_tag(opening: str) -> str:
    """Return the tag that closes a thought which `opening`, one whole tag, opens."""
    match = _TAG.search(opening)
    if match is None:  # in a spelling that no template has
        return "</think>"
    if match["gemma_open"]:
        return "<channel|>" if opening.startswith("<|") else "<unused95>"
    if match["pipe_open"]:
        name = opening[2:-2]
        if re.match("(?:begin|start)(?:_|of|think|thought)", name, re.I):
            begin = {"begin": "end", "BEGIN": "END", "start": "end", "START": "END"}
            return "<|" + re.sub("^(?:begin|start)", lambda own: begin.get(own[0], "end"), name, flags=re.I) + "|>"
        if name.lower() == "inner_prefix":
            return "<|inner_suffix|>"
        return f"<|{name[: -len('_start')]}_end|>" if name.lower().endswith("_start") else f"<|/{name}|>"
    if match["kimi"]:
        return "◁/think▷"
    if match["square"]:
        end = "END" if (match["begin"] or "").isupper() else "end"
        return f"[{end}{match['gap']}{match['square']}]" if match["begin"] else f"[/{match['square']}]"
    left, right = re.match(_LEFT, match[0], re.I), re.search(rf"{_RIGHT}\Z", match[0], re.I)
    assert left is not None
    assert right is not None
    name = match[0][left.end() : right.start()].split()[0]
    return f"{left[0]}/{name}{right[0]}"


def _marks(text: str) -> list[_Mark]:
    return list(itertools.islice(_every_mark(text), MOST_TAGS))


_HAS_FULL_WIDTH = re.compile("[\uff01-\uff5e]")
_FULL_WIDTH = {0xFF01 + offset: 0x21 + offset for offset in range(94)}
"""`＜ｔｈｉｎｋ＞` and its like: letter by letter, so that every place stays where it is."""
_STRESS = re.compile(r"(?:^[ \t]*(?:#{1,6}[ \t]+|(?:>[ \t]?)+))?(?P<marks>[*_]{0,3})\Z", re.M)


def _every_mark(text: str) -> Iterator[_Mark]:
    folded = text.translate(_FULL_WIDTH) if _HAS_FULL_WIDTH.search(text) else text
    for match in _TAG.finditer(folded):
        name = (match["xml"] or match["square"] or "").lower()
        common = bool(re.fullmatch(_COMMON, name)) and not match["space"] and not match["square"]
        if match["xml"]:
            opens, family = not match["xml_close"], "xml " + name
            if opens and match["itself"]:
                continue
        elif match["square"]:
            opens, family = not match["square_close"], "square"
        elif match["kimi"]:
            opens, family = not match["kimi_close"], "kimi"
        elif match["gemma_open"] or match["gemma_close"]:
            opens, family = bool(match["gemma_open"]), "gemma"
        else:
            opens, family = bool(match["pipe_open"]), "pipe"
        yield _Mark(*_stressed(folded, match.start(), match.end()), opens, family, common)


def _stressed(text: str, start: int, end: int) -> tuple[int, int]:
    """Return where a tag begins and ends together with the signs that make it bold, a heading or a quotation."""
    before = _STRESS.search(text, max(0, start - 20), start)
    signs = before["marks"] if before else ""
    if before and text.startswith(signs[::-1], end) and text[end + len(signs) : end + len(signs) + 1] not in ("*", "_"):
        return before.start(), end + len(signs)
    return start, end


def _tagged(text: str, marks: Sequence[_Mark], opened: bool) -> Parted:
    thoughts: list[str] = []
    pieces: list[str] = []
    opener = _beginning(text, marks)
    at = opener.start if opener else 0
    # The model may have repeated the opening tag that the template wrote.
    begins = opener.end if opener else 0
    closing = _closing(text, marks, begins, None) if opened else None if opener else _unopened(text, marks)
    if opened or closing:
        if closing is None:
            return _parted("", [text[begins:].strip()], inside=True)
        thoughts.append(text[begins : closing.start].strip())
        at, family = closing.end, closing.family
        opener = _next(text, marks, at, family)
    else:
        preamble = opener is None
        opener = opener or _after_preamble(text, marks)
        if opener is None:
            return Parted(text)
        if preamble and text[: opener.start].rstrip(" \t\r\n*").endswith(":"):
            at = opener.start  # `Let me think:` belongs to the thought
        family = opener.family
    for _ in range(MOST_THOUGHTS):
        if opener is None:
            break
        pieces.append(text[at : opener.start])
        closing = _closing(text, marks, opener.end, opener.family)
        if closing is None:
            return _parted(_unwrapped("".join(pieces)), [*thoughts, text[opener.end :].strip()], inside=True)
        thoughts.append(text[opener.end : closing.start].strip())
        at = closing.end
        opener = _next(text, marks, at, family)
    rest = text[at:]
    for _ in range(MOST_THOUGHTS):
        # A thought after one that the template had closed, or after a slip: its closing tag alone stands there.
        closing = _unopened(rest, _marks(rest))
        if closing is None or not rest[closing.end :].strip():
            break
        thoughts.append("".join([*pieces, rest[: closing.start]]).strip())
        pieces, rest = [], rest[closing.end :]
    at = len(text) - len(rest)
    return _parted(_unwrapped("".join([*pieces, text[at:]])), thoughts, inside=False)


def _parted(answer: str, thoughts: Sequence[str], *, inside: bool) -> Parted:
    why = INSIDE if inside else "" if answer.strip() else AFTER
    return Parted(answer, "\n\n".join(filter(None, thoughts)), why, True)


def _beginning(text: str, marks: Sequence[_Mark], *, sure: bool = True) -> _Mark | None:
    """Return the opening tag with which the text begins; `sure` leaves out those that may be the answer's own."""
    header = _HEADER.match(text)
    begins = header.end() if header else 0
    for mark in marks:
        if mark.opens and mark.start <= begins <= mark.end and _bare(text, mark):
            return None if sure and mark.family in _ALSO_ANSWERS and not _answered(text, marks, mark) else mark
    return None


_ALSO_ANSWERS = frozenset({"xml plan", "xml planning", "xml brainstorm", "xml brainstorming"})
"""Names under which an answer may stand as well: a thought only where words follow it, and no markup stands in it."""


def _answered(text: str, marks: Sequence[_Mark], mark: _Mark) -> bool:
    closing = _closing(text, marks, mark.end, mark.family)
    return closing is not None and text[mark.end :].lstrip()[:1] != "<" and bool(text[closing.end :].strip())


def _bare(text: str, mark: _Mark) -> bool:
    """Return whether a tag is not the subject of a sentence, as in `<think> is a tag that ...`."""
    return not _SUBJECT.match(text, mark.end)


def _unopened(text: str, marks: Sequence[_Mark]) -> _Mark | None:
    """Return the first closing tag of a thought that nothing in the text opens."""
    code = _code(text, 0, unclosed=False)
    opened = False
    for mark in marks:
        if _within(mark, code) or _quoted(text, mark):
            continue
        if mark.opens:
            # An opening tag in a sentence is a mention, whose closing one would be another.
            opened = opened or not mark.common
            if _at_line_start(text, mark):
                return None
        elif not _mentioned(text, mark) and (not opened or _alone(text, mark)):
            return mark
    return None


def _after_preamble(text: str, marks: Sequence[_Mark]) -> _Mark | None:
    """Return an opening tag on a line of its own after words that introduce no example."""
    code = _code(text, 0, unclosed=True)
    for mark in marks:
        if mark.opens:
            before = text[: mark.start].rstrip()
            plain = not mark.common and not _within(mark, code)
            if plain and not _at_line_start(text, mark):
                plain = _after_sentence(text, marks, mark)
            example = before.endswith((":", ":**")) and not _announces(text, marks, mark, before)
            example = example or re.search(r"<[/a-zA-Z!]", before) is not None
            return (
                mark
                if plain
                and before
                and not example
                and (_closing(text, marks, mark.end, mark.family) is not None or _alone(text, mark))
                else None
            )
    return None


def _announces(text: str, marks: Sequence[_Mark], mark: _Mark, before: str) -> bool:
    """Return whether one line before a tag announces a thought (`Let me think:`), of which an end and words follow."""
    closing = _closing(text, marks, mark.end, mark.family)
    told = _ANNOUNCEMENT.fullmatch(before.strip()) is not None and _EXAMPLE.search(before) is None
    return told and closing is not None and bool(text[closing.end :].strip())


_ANNOUNCEMENT = re.compile(
    r"(?:\*\*)?(?:(?:okay|ok|sure|alright|right|hm+|well|first)[,.!]?[ \t]+)*"
    r"(?:(?:let me|let's|let us|i(?:'ll| will| need to| should| must| have to| am going to|'m going to))\b[^\n]{0,60}"
    r"\b(?:think|reason|consider|reflect|ponder|work|figure|plan)\b[^\n]{0,60}"
    r"|(?:my |internal |inner )?(?:thinking|thoughts?|reasoning)(?: process)?):(?:\*\*)?",
    re.I,
)
_EXAMPLE = re.compile(r"\b(?:example|tags?|format|markup|syntax|elements?|show|write|template|xml|html)\b", re.I)


def _next(text: str, marks: Sequence[_Mark], at: int, family: str) -> _Mark | None:
    """Return the next opening tag of a thought from `at` on: one that follows at once, or at a line's start."""
    code = _code(text, at, unclosed=True)
    for mark in marks:
        if mark.start < at or not mark.opens or _within(mark, code):
            continue
        before = text[at : mark.start].rstrip()
        if not before:
            return mark
        known = not mark.common or mark.family == family
        placed = _at_line_start(text, mark) or _after_sentence(text, marks, mark)
        if known and placed and not before.endswith(":"):
            return mark
    return None


def _closing(text: str, marks: Sequence[_Mark], start: int, family: str | None) -> _Mark | None:
    """Return the closing tag of a thought that begins at `start`; `family` is its opening tag's, None for any.

    Thoughts in it are counted, first with every opening tag, then, where that leaves it open, with those at a line's
    start only, and then with those in code.
    """
    own = [mark for mark in marks if mark.start >= start]
    if family is not None and not any(mark.family == family and not mark.opens for mark in own):
        # `<thinking> ... </think>`: the one name for the other.
        own = [mark for mark in own if not mark.common]
    elif family is not None:
        own = [mark for mark in own if mark.family == family]
    code = _code(text, start, unclosed=False)
    plain = [mark for mark in own if not _within(mark, code) and not _quoted(text, mark)]
    for chosen in (
        plain,
        [mark for mark in plain if not mark.opens or _at_line_start(text, mark)],
        [mark for mark in own if _at_line_start(text, mark)],
    ):
        depth = 1
        for mark in chosen:
            depth += 1 if mark.opens else -1
            if not depth:
                return mark
    for match in _ANSWER_OPEN.finditer(text, start):
        mark = _Mark(match.start(), match.start(), False, "answer", False)
        wraps_the_rest = _ANSWER_CLOSE.search(text, max(match.end(), len(text) - 40)) is not None
        if (_at_line_start(text, mark) or wraps_the_rest) and not _within(mark, code):
            return mark
    return None


def _at_line_start(text: str, mark: _Mark) -> bool:
    return not text[text.rfind("\n", 0, mark.start) + 1 : mark.start].strip()


def _after_sentence(text: str, marks: Sequence[_Mark], mark: _Mark) -> bool:
    """Return whether a tag within a line begins a thought: after a sentence, and with whole sentences in it."""
    if text[max(0, mark.start - 20) : mark.start].rstrip()[-1:] not in tuple(".!?…"):
        return False
    closing = _closing(text, marks, mark.end, mark.family)
    if closing is None or not text[closing.end :].strip():
        return False
    held = text[mark.end : closing.start].strip()
    return not held[:1].islower() and held[-1:] in tuple(".!?…") and len(held.split()) > 1


def _alone(text: str, mark: _Mark) -> bool:
    end = text.find("\n", mark.end)
    return _at_line_start(text, mark) and not text[mark.end : end if end >= 0 else len(text)].strip()


def _mentioned(text: str, mark: _Mark) -> bool:
    """Return whether a sentence goes on around a tag: a blank on its left, words on its right."""
    end = text.find("\n", mark.end)
    left, right = text[text.rfind("\n", 0, mark.start) + 1 : mark.start], text[mark.end : end if end >= 0 else None]
    if not left.strip():
        return not _bare(text, mark)
    if not right.strip() and text[mark.end :].strip():
        return False
    if left[-1] not in " \t\u00a0":
        return left[-1] in "([/-" or not right.strip(" .,;)")
    return left.rstrip()[-1] not in '.!?…)*"”'


def _quoted(text: str, mark: _Mark) -> bool:
    left, right = text[mark.start - 1 : mark.start], text[mark.end : mark.end + 1]
    return bool(left) and _QUOTES.get(left) == right and bool(right)


def _within(mark: _Mark, spans: Sequence[tuple[int, int]]) -> bool:
    at = bisect.bisect_right(spans, (mark.start, sys.maxsize)) - 1
    return at >= 0 and mark.start < spans[at][1]


def _code(text: str, start: int, *, unclosed: bool) -> list[tuple[int, int]]:
    """Return the spans of fenced blocks and of code in backticks from `start` on, in order.

    `unclosed` counts a block that never ends.
    """
    blocks: list[tuple[int, int]] = []
    fence, begin = "", 0
    for match in _FENCE.finditer(text, start):
        if not fence:
            fence, begin = match[1], match.start()
        elif match[1].startswith(fence) and not match[0].strip().strip(fence[0]):
            blocks.append((begin, match.end()))
            fence = ""
    if fence and unclosed:
        blocks.append((begin, len(text)))
    spans = list(blocks)
    for match in _INLINE.finditer(text, start):
        at = bisect.bisect_right(blocks, (match.start(), sys.maxsize)) - 1
        if at < 0 or match.start() >= blocks[at][1]:
            spans.append(match.span())
    return sorted(spans)


def _unwrapped(answer: str) -> str:
    """Return an answer without the tags that name it so, and without closing tags of thoughts that remain."""
    answer = answer.lstrip()
    code = _code(answer, 0, unclosed=True)
    for mark in reversed(_marks(answer)):
        stray = not mark.opens and not _within(mark, code) and not _quoted(answer, mark)
        if stray and (_at_line_start(answer, mark) or not answer[mark.end :].strip()) and not _mentioned(answer, mark):
            answer = answer[: mark.start].rstrip(" \t") + answer[mark.end :]
    opening = _ANSWER_OPEN.match(answer)
    if opening is None:
        return answer.lstrip()
    answer = answer[opening.end() :].lstrip()
    closings = list(_ANSWER_CLOSE.finditer(answer))
    if closings:
        answer = answer[: closings[-1].start()].rstrip() + answer[closings[-1].end() :]
    return answer


# ---------------------------------------------------------------------------------------------- headings, blocks

_HEADS = (
    r"(?:my |internal |inner |model )?(?:thinking|thoughts?|monologue|scratch[ -]?pad)(?: process)?"
    r"|chain[ -]of[ -]thought"
)
_ANSWER_HEADS = r"(?:my |the )?(?:final |actual )?(?:answer|response|reply|output)"


def _heading(names: str, group: str) -> str:
    """Return a pattern of a line that is a heading, a label in bold or a label with a colon."""
    return (
        rf"(?:\#{{1,6}}[ \t]+(?:[*_]{{1,3}})?(?:{names}):?(?:[*_]{{1,3}})?:?[ \t]*(?=\n|\Z)"
        rf"|(?P<{group}>[*_]{{2,3}})(?:{names})(?::(?P={group})|(?P={group}):?)|(?:{names}):)"
    )


_HEADED = re.compile(
    rf"\s*{_heading(_HEADS, 'bold')}\s*(?P<thought>\S.*?)"
    rf"\n[ \t]*{_heading(_ANSWER_HEADS, 'strong')}\s*(?P<answer>\S.*)\Z",
    re.I | re.S,
)
_MAYBE_HEADED = re.compile(
    rf"\s*{_heading('reasoning|analysis|plan(?:ning)?|reflection', 'bold')}.*?"
    rf"\n[ \t]*{_heading(_ANSWER_HEADS, 'strong')}",
    re.I | re.S,
)
"""What its readers may be meant to see: counted, not parted."""
_THOUGHT_BLOCK = re.compile(
    r"\s*(?P<fence>`{3,}|~{3,})[ \t]*(?:think|thinking|thoughts?|reasoning|scratchpad)[ \t]*\n(?P<thought>.*?)\n"
    r"[ \t]*(?P=fence)[ \t]*(?:\n(?P<answer>.*))?\Z",
    re.I | re.S,
)
_PLAIN_BLOCK = re.compile(
    r"\s*(?P<fence>`{3,}|~{3,})[ \t]*(?:text|txt|plaintext|markdown|md)?[ \t]*\n(?P<body>.*?)\n"
    r"[ \t]*(?P=fence)[ \t]*(?:\n(?P<rest>.*))?\Z",
    re.I | re.S,
)


def _headed(text: str) -> Parted | None:
    """Part a text that begins with a heading of a thought and has one of its answer later."""
    found = _HEADED.match(text)
    return _parted(found["answer"].lstrip(), [found["thought"].strip()], inside=False) if found else None


def _fenced(text: str) -> Parted | None:
    """Part a text that begins with a code block which is a thought, or which holds one with both its tags."""
    block = _THOUGHT_BLOCK.match(text)
    if block:
        return _parted((block["answer"] or "").lstrip(), [block["thought"].strip()], inside=False)
    block = _PLAIN_BLOCK.match(text)
    if block is None:
        return None
    marks = _marks(block["body"])
    opener = _beginning(block["body"], marks)
    if opener is None or opener.common or _closing(block["body"], marks, opener.end, opener.family) is None:
        return None
    found = _tagged(block["body"], marks, opened=False)
    answer = "\n\n".join(filter(None, (found.answer.strip(), (block["rest"] or "").strip())))
    return _parted(answer, [found.thought], inside=False)


_LOOKS = re.compile(
    rf"(?:\A|\n)[ \t>]*(?:\#{{1,6}}[ \t]+(?:[*_]{{1,3}})?(?:{_HEADS})\b[^\n]{{0,20}}(?=\n|\Z)"
    rf"|[*_]{{2,3}}(?:{_HEADS}):?[*_]{{2,3}}|(?:`{{3,}}|~{{3,}})[ \t]*(?:think|thinking|thoughts?|reasoning)[ \t]*\n)"
    rf"|\A\s*(?:{_HEADS}|let me think|let's think)\b[^\n]{{0,40}}(?::|\.{{3}}|…)[ \t]*\n"
    rf"|\A\s*(?-i:analysis)\s+(?-i:[A-Z\n]|the user\b|we\b)|(?:[.!?…]|\n)[ \t]*assistant\s*final\b|<\|channel\|>",
    re.I,
)
"""What looks like the beginning of a thought, or like a channel of one."""

_HTML = (
    "a|article|b|blockquote|body|br|button|center|code|del|details|div|em|font|footer|form|h[1-6]|head|header|hr|html|i"
    "|img|input|ins|label|li|main|mark|nav|ol|p|pre|script|section|small|span|strong|style|sub|summary|sup|svg|table"
    "|tbody|td|th|thead|title|tr|u|ul"
)
_FIELD = rf"{_WORDS}|analysis|rationale|reason|reasoning|reasoning[_-]?steps|reflection"
_MAYBE_MARKED = re.compile(
    rf"\s*(?:<[\u200b-\u200d\u2060]*(?!(?:{_HTML}|{_ANSWER_WORDS})\b)(?P<name>[^\W\d][\w-]{{0,40}})>"
    rf"\s*[^\s<]+(?:\s+[^\s<]+){{2,}}\s*</[\u200b-\u200d\u2060]*(?P=name)>\s*[^\s<]"
    rf"|(?P<open>[【〈《])(?P<mark>[^【】〈〉《》/\n]{{1,20}})[】〉》][^【〈《]+(?P=open)/(?P=mark)[】〉》]\s*\S"
    r"|<\|\w{0,40}(?:think|thought|reasoning)\w{0,40}\|>"
    rf"|\{{{{1,2}}\s*(?:{_FIELD})\s*\}}{{1,2}}"
    rf"|(?:(?:`{{3,}}|~{{3,}})\w*\s*)?\{{\s*\"(?:{_FIELD})\"\s*:"
    rf"|(?:\(|\*{{1,3}}|_{{1,3}}|<!--\s*)(?:{_FIELD})\s*:)",
    re.I,
)
"""Markup of no model that is known: an element with words in it and words after it, a field of JSON, a bracket."""

# ---------------------------------------------------------------------------------------------- channels

CHANNEL_TOKENS = frozenset(
    {"<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|return|>", "<|call|>", "<|constrain|>"}
)
_MESSAGE = re.compile(
    r"<\|channel\|>\s*(?P<channel>[a-z]+)(?:(?!<\|message\|>).){0,200}<\|message\|>"
    r"(?P<body>.*?)(?=<\|(?:end|return|call|start|channel)\|>|\Z)",
    re.S | re.I,
)
_FIRST_TOKEN = re.compile(r"\s*(?:<\|start\|>)?\s*(?:assistant[^<]{0,100})?<\|channel\|>", re.I)
_FINAL_TOKENS = re.compile(r"<\|start\|>\s*assistant[^<]{0,100}<\|channel\|>\s*final", re.I)
_FIRST_NAME = re.compile(
    r"\s*(?:assistant)?(?:(?:analysis|commentary|final)(?![a-z\s\-,.;:'’/)]|\Z)|commentary to="
    r"|analysis(?=[a-z]|['’](?!s?\s)|.*assistantfinal))",
    re.S,
)
"""A channel's name and its text as decoding without special tokens joins them: `analysisThe user ...`."""
_FINAL_NAME = re.compile(r"assistantfinal(?![.,;:)\]\"'`’”]?(?:\s|\Z))|(?<!\s)assistantfinal(?=\s)")
_NEXT_NAME = re.compile(r"(?:\A\s*)?assistant(?=(?:analysis|commentary|final))")
_NAME = re.compile(r"\s*(?:assistant)?(analysis|commentary|final)")


_SPACED = re.compile(
    r"\s*(?:assistant\s+)?(?:analysis|commentary)\b[\s:]+(?P<thought>\S.*?)"
    r"(?:(?<=[.!?…\"”’')\]}])[ \t]*|\n[ \t]*)assistant[\s:]+final\b[\s:]+(?P<answer>\S.*)\Z",
    re.S,
)
"""Channels whose names some decoding has parted by blanks: `analysis ... assistant final ...`."""
_SPACED_NEXT = re.compile(r"(?:(?<=[.!?…\"”’')\]}])[ \t]*|\n[ \t]*)assistant\s+(?:analysis|commentary)\b[\s:]+(?=\S)")


def _has_channels(text: str) -> bool:
    """Return whether a text is written in gpt-oss's channels, rather than about them."""
    if "<|channel|>" in text:
        return bool(_FIRST_TOKEN.match(text)) or _outside_code(text, _FINAL_TOKENS)
    if _FIRST_NAME.match(text):
        return True
    return "assistantfinal" in text and _outside_code(text, _FINAL_NAME)


def _outside_code(text: str, pattern: re.Pattern[str]) -> bool:
    code = _code(text, 0, unclosed=False)
    found = (_Mark(match.start(), match.end(), True, "", True) for match in pattern.finditer(text))
    return any(not _within(mark, code) and not _quoted(text, mark) for mark in found)


def _channels(text: str) -> Parted:
    """Part gpt-oss's channels: `final` is the answer, `analysis` and `commentary` are thoughts."""
    thoughts: list[str] = []
    answers: list[str] = []
    if "<|channel|>" in text:
        end = 0
        for match in _MESSAGE.finditer(text):
            before = re.sub(r"<\|[a-z]+\|>", "", text[end : match.start()])
            before = re.sub(r"\bassistant\b[^.!?\n]*\Z", "", before).strip()
            if before and not end:
                thoughts.append(before)  # the template had opened the first channel
            (answers if match["channel"].lower() == "final" else thoughts).append(match["body"].strip())
            end = match.end()
        if not end:  # cut off in the first channel's header
            return _parted("", [], inside=True)
    else:
        for number, piece in enumerate(_NEXT_NAME.split(text)):
            name = _NAME.match(piece) if number or _FIRST_NAME.match(text) else None
            body = piece[name.end() :].strip() if name else piece.strip()
            (answers if name and name[1] == "final" else thoughts).append(body)
    return _with_inner(answers, thoughts)


def _with_inner(answers: Sequence[str], thoughts: list[str]) -> Parted:
    """Return the answer of a final channel, parted again: a model tuned on thoughts in tags writes them there."""
    answer = "\n\n".join(filter(None, answers))
    marks = _marks(answer)
    inner = _tagged(answer, marks, opened=False) if marks else Parted(answer)
    if not inner.found:
        return _parted(answer, thoughts, inside=not answers)
    return _parted(inner.answer, [*thoughts, inner.thought], inside=inner.unanswered == INSIDE)


_TO = re.compile(
    r"(?:\A|<\|eom\|>)\s*(?:<\|start\|>)?\s*(?:assistant)?\s*to=([\w.]+)\s*<\|message\|>|"
    r"<\|start\|>\s*assistant\s*to=([\w.]+)\s*<\|message\|>"
)
_TO_NAMES = re.compile(
    r"\s*(?:assistant)?\s*to=(?:self(?P<thought>.*?)(?:assistant to=user(?P<answer>.*))?|user(?P<alone>\S.*))\Z", re.S
)
"""The same as decoding without special tokens leaves it: `to=self...assistant to=user...`."""


def _addressed(text: str) -> Parted | None:
    """Part messages with an address (`to=self<|message|>`): what goes to the user is the answer."""
    named = _TO_NAMES.match(text) if "<|message|>" not in text else None
    if named:
        answer = named["alone"] or named["answer"]
        return _with_inner([] if answer is None else [answer.strip()], [(named["thought"] or "").strip()])
    if not _TO.match(text):
        return None
    thoughts: list[str] = []
    answers: list[str] = []
    found = list(_TO.finditer(text))
    for match, end in zip(found, [*(each.start() for each in found[1:]), len(text)], strict=True):
        body = re.sub(r"<\|(?:eom|eot|end)\|>\s*", "", text[match.end() : end]).strip()
        (answers if (match[1] or match[2]) == "user" else thoughts).append(body)
    return _with_inner(answers, thoughts)
