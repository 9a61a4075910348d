"""Whole chats in one text, parted by role markers: those of chat templates, `USER:`, or `### Human:`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

from aftertune.data.roles import ROLES, TOOL_ROLES
from aftertune.records import Role
from aftertune.thoughts import thought_tags

Part = tuple[Role | Literal["tool"] | None, str]
"""Who speaks and what is said; None for a text that is in no turn."""

_LABELS: Mapping[str, Role | Literal["tool"]] = {
    **ROLES, "instruction": "user", "input": "user", "question": "user", "response": "assistant", "answer": "assistant",
    "function response": "tool", "tool": "tool",
}  # fmt: skip
_OPEN = (
    re.compile(r"<\|im_start\|>[ \t]*(\w+)[ \t]*\n?(.*?)(?:<\|im_end\|>|(?=<\|im_start\|>)|\Z)", re.S),
    re.compile(  # Llama 3 and 4
        r"<\|(?:start_header_id|header_start)\|>\s*(\w+)\s*<\|(?:end_header_id|header_end)\|>(.*?)"
        r"(?:<\|(?:eot_id|eom_id|eot|eom)\|>|(?=<\|(?:start_header_id|header_start)\|>)|\Z)",
        re.S,
    ),
    re.compile(r"<start_of_turn>\s*(\w+)(.*?)(?:<end_of_turn>|(?=<start_of_turn>)|\Z)", re.S),
    re.compile(r"<\|turn>\s*(\w+)(.*?)(?:<turn\|>|(?=<\|turn>)|\Z)", re.S),  # Gemma 4
    re.compile(  # Command-R
        r"<\|START_OF_TURN_TOKEN\|>\s*<\|(\w+)_TOKEN\|>(.*?)(?:<\|END_OF_TURN_TOKEN\|>|"
        r"(?=<\|START_OF_TURN_TOKEN\|>)|\Z)",
        re.S,
    ),
    re.compile(  # Granite
        r"<\|start_of_role\|>\s*(\w+)\s*<\|end_of_role\|>(.*?)(?:<\|end_of_text\|>|(?=<\|start_of_role\|>)|\Z)", re.S
    ),
    re.compile(  # Zephyr, Phi, GLM and, with full-width bars, DeepSeek
        r"<[|｜]\s*(system|user|assistant|observation|tool)\s*[|｜]>(.*?)"
        r"(?:<[|｜]end(?:[▁_]of[▁_]sentence|oftext)?[|｜]>|</s>|"
        r"(?=<[|｜]\s*(?:system|user|assistant|observation|tool)\s*[|｜]>)|\Z)",
        re.S | re.I,
    ),
)
_HARMONY = re.compile(
    r"<\|start\|>(\w+)([^<]*)(?:<\|channel\|>([^<]*))?(?:<\|constrain\|>[^<]*)?<\|message\|>(.*?)"
    r"(?:<\|(?:end|return|call|eot|eom)\|>|(?=<\|start\|>)|\Z)",
    re.S,
)
_DEEPSEEK = "<｜begin▁of▁sentence｜>"
_HASHES = re.compile(
    r"###\s*(Human|User|Assistant|System|Instruction|Input|Question|Response|Answer)\s*:?[ \t]*\n?(?=\s|\S)"
)
_NAMES = "Human|User|Assistant|AI|Bot|System|HUMAN|USER|ASSISTANT|GPT|BOT|SYSTEM|FUNCTION RESPONSE|TOOL"
_LINES = re.compile(rf"^[ \t]*({_NAMES})[ \t]*:", re.M)
_SHOUTED = re.compile(r"(?<![\w'\"(<|/-])(HUMAN|USER|ASSISTANT|GPT|BOT|SYSTEM|FUNCTION RESPONSE|TOOL)[ \t]*:(?=\s|\Z)")
_INLINE = re.compile(rf"(?<![\w'\"(<|/-])({_NAMES})[ \t]*:(?=\s|\Z)")
_TAG = (
    r"(?:<s>|</s>|<bos>|<eos>|<\|begin_of_text\|>|<\|endoftext\|>|<\|end_of_text\|>|<BOS_TOKEN>|<EOS_TOKEN>|"
    r"<\|START_RESPONSE\|>|<\|END_RESPONSE\|>|<end_of_utterance>|\[gMASK\]|<sop>|<[|｜](?:begin|end)[▁_]of[▁_]sentence[|｜]>)"
)
_TAGS = re.compile(_TAG)
_AROUND = re.compile(rf"\A\s*(?:{_TAG}\s*)+|(?:\s*{_TAG})+\s*\Z")
_BETWEEN = re.compile(rf"(?:{_TAG}\s*)+(?=(?:{_NAMES})[ \t]*:|\Z)")
"""Tags at the ends of a turn; elsewhere `<s>` may be HTML."""
_IDEFICS = re.compile(rf"\A\s*<\|im_start\|>(?=(?:{_NAMES})[ \t]*:)")
"""What SmolVLM writes before its first label, as nobody else does."""


_OPENS_ANSWER = re.compile(
    r"(?:(?:\A|\n)[ \t]*(?:Assistant|ASSISTANT|AI|GPT|Bot|BOT)[ \t]*:|\sASSISTANT[ \t]*:"
    r"|###\s*(?:Assistant|Response|Answer)\s*:?"
    r"|<\|im_start\|>[ \t]*assistant"
    r"|<\|(?:start_header_id|header_start)\|>\s*assistant\s*<\|(?:end_header_id|header_end)\|>"
    r"|<start_of_turn>\s*model|<\|turn>\s*model|\[/INST\]|<[|｜]\s*[Aa]ssistant\s*[|｜]>"
    r"|<\|CHATBOT_TOKEN\|>\s*(?:<\|START_RESPONSE\|>)?"
    r"|<\|start\|>assistant(?: to=user)?(?:<\|channel\|>final)?(?:<\|message\|>)?"
    r"|<\|start_of_role\|>\s*assistant\s*<\|end_of_role\|>)\s*\Z"
)
_EMPTY_THOUGHT = re.compile(r"<think>\s*</think>\s*\Z")
_ANSWER = "What is answered."
_END = re.compile(
    r"(?:\s*(?:<\|(?:im_end|eot_id|eot|end|return|endoftext|end_of_text|END_OF_TURN_TOKEN|END_RESPONSE)\|>"
    r"|<end_of_turn>|<turn\|>|<end_of_utterance>|</s>|<eos>"
    r"|<｜end▁of▁sentence｜>))+\s*\Z"
)


def parts_of(text: str) -> list[Part]:
    """Return the turns of a text with role markers, and what stands outside them, in order; empty where it is no chat.

    A chat has a turn of the user's and one of the assistant's. Nothing of the text is left out but the markers.
    """
    for form in _FORMS:
        parts = form(text)
        roles = {role for role, _ in parts}
        if {"user", "assistant"} <= roles:
            return parts
    return []


def asked_parts(text: str) -> tuple[list[Part], str]:
    """Return the turns of a text that is a chat up to the opening of an answer, and the opening tag of a thought.

    Prompts are stored so beside their completions: `Human: ... Assistant:`, or as a chat template writes them, which
    may open a thought behind it, or write an empty one. There are no turns in a plain question, nor in a text with
    anything outside them, such as the preamble of Alpaca: it stays one question, as it was asked.
    """
    tag, _ = thought_tags(text)
    asked = text.rstrip().removesuffix(tag) if tag else _EMPTY_THOUGHT.sub("", text)
    opens = _OPENS_ANSWER.search(asked)
    if opens is None:
        return [], ""
    asked = asked.rstrip()
    if opens[0].startswith("<|start|>") and not asked.endswith("<|message|>"):
        asked += "<|message|>"
    parts = parts_of(f"{asked} {_ANSWER}")
    whole = len(parts) > 1 and parts[-1] == ("assistant", _ANSWER) and all(role is not None for role, _ in parts)
    return (parts[:-1], tag) if whole and any(role == "user" and said for role, said in parts) else ([], "")


def without_end(text: str) -> str:
    """Return an answer to such a prompt without the marks that end it there."""
    return _END.sub("", text)


def _enclosed(pattern: re.Pattern[str], text: str) -> Iterator[Part]:
    cursor = 0
    for match in pattern.finditer(text):
        before = text[cursor : match.start()]
        if rest := _TAGS.sub("", before).strip():
            # DeepSeek writes the system prompt before the first marker, and has none for it.
            yield "system" if not cursor and before.lstrip().startswith(_DEEPSEEK) else None, rest
        yield _said(match.group(1), match.group(2))
        cursor = match.end()
    if cursor and (rest := _TAGS.sub("", text[cursor:]).strip()):
        yield None, rest


def _said(name: str, content: str) -> Part:
    """Return a turn by the name of its role; a name that is no role may be somebody's, and stays."""
    content = _AROUND.sub("", content).strip()
    if name.casefold() in ROLES:
        return ROLES[name.casefold()], content
    return ("tool", content) if name.casefold() in TOOL_ROLES else (None, f"{name} {content}".strip())


def _harmony(text: str) -> Iterator[Part]:
    """Yield the turns as gpt-oss writes them: what is not in the final channel is no answer."""
    cursor = 0
    for match in _HARMONY.finditer(text):
        if rest := _TAGS.sub("", text[cursor : match.start()]).strip():
            yield None, rest
        name, to, channel, content = match.groups()
        role, said = _said(name, content)
        if to.strip() not in ("", "to=user") or (channel or "final").strip() != "final":
            yield None, f"{to.strip()} {said}".strip()
        else:
            yield role, said
        cursor = match.end()
    if cursor and (rest := _TAGS.sub("", text[cursor:]).strip()):
        yield None, rest


def _parted(pattern: re.Pattern[str], text: str) -> list[Part]:
    pieces = pattern.split(text)
    parts: list[Part] = [(None, before)] if (before := _AROUND.sub("", pieces[0]).strip()) else []
    for name, content in zip(pieces[1::2], pieces[2::2], strict=True):
        parts.append((_LABELS[name.casefold()], _AROUND.sub("", content).strip()))
    return parts


def _labelled(text: str) -> list[Part]:
    """Return the turns of a text with labels such as `USER:`, at the beginning of lines or anywhere in them.

    A label inside a line may be a word of what somebody said. It counts in capitals, or where the text begins with a
    label; and only where the user and the assistant then speak in turns, and the labels at the beginning of lines
    alone do not say so.
    """
    text = _BETWEEN.sub("\n", _AROUND.sub("", _IDEFICS.sub("", text))).strip()
    lines = _parted(_LINES, text)
    if _in_turns(lines):
        return lines
    for pattern in (_SHOUTED, *([_INLINE] if _INLINE.match(text) else [])):
        inline = _parted(pattern, text)
        if _in_turns(inline):
            return inline
    return lines


def _in_turns(parts: Sequence[Part]) -> bool:
    """Return whether the user speaks first and the assistant after every turn of the user's."""
    spoken = [role for role, _ in parts if role in ("user", "assistant")]
    said = [role for index, role in enumerate(spoken) if not index or role == "user" or spoken[index - 1] == "user"]
    pairs = len(said) >= 2 and said == ["user" if index % 2 == 0 else "assistant" for index in range(len(said))]
    # After a tool's result the assistant goes on.
    return pairs and (len(said) == len(spoken) or any(role == "tool" for role, _ in parts))


def _llama2(text: str) -> Iterator[Part]:
    for number, block in enumerate(_TAGS.sub("", text).split("[INST]")):
        asked, closed, said = block.partition("[/INST]")
        if not number or not closed:
            if block.strip():
                yield None, block.strip()
            continue
        system = re.match(r"\s*<<SYS>>(.*?)<</SYS>>", asked, re.S)
        if system:
            yield "system", system.group(1).strip()
            asked = asked[system.end() :]
        yield "user", asked.strip()
        if said.strip():
            yield "assistant", said.strip()


_FORMS: tuple[Callable[[str], list[Part]], ...] = (
    *(lambda text, pattern=pattern: list(_enclosed(pattern, text)) for pattern in _OPEN),
    lambda text: list(_harmony(text)),
    lambda text: list(_llama2(text)),
    lambda text: _parted(_HASHES, text),
    _labelled,
)
