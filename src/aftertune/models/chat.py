"""From a chat to token ids: rendering a prompt, and labelling the tokens of a conversation that are trained on.

Tuning and responding share this file, so that a model is asked in exactly the form it was tuned in. The chat template
writes every special token itself; nothing is added on top, so there is no second BOS.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from aftertune.errors import DataError, ModelError
from aftertune.records import Json, Message, digest

IGNORED = -100
"""The label of a token that carries no loss."""
DAY = datetime.date(2024, 7, 26)
"""The date that templates get when they ask for today: the one that Llama 3's own template falls back to."""

NO_ARGUMENTS: Mapping[str, Json] = MappingProxyType({})
OWN_ARGUMENTS = frozenset({
    "add_generation_prompt", "chat_template", "continue_final_message", "conversation", "documents", "max_length",
    "messages", "padding", "return_assistant_tokens_mask", "return_dict", "return_tensors", "tokenize",
    "tokenizer_kwargs", "tools", "truncation",
})  # fmt: skip
"""Of `apply_chat_template` itself: no arguments of a template that a design could give."""
_TAKES_SYSTEM: dict[str, bool] = {}


class TrainingExample(NamedTuple):
    """A conversation ready to tune on; `labels` is `input_ids` on the assistant's tokens and -100 elsewhere."""

    input_ids: list[int]
    labels: list[int]
    truncated: bool
    """Whether it was longer than `max_length` and was cut at the end."""


def with_system(messages: Sequence[Message], system: str | None) -> tuple[Message, ...]:
    """Return `messages` with the system prompt in front; a chat's own system turn follows it in the same turn."""
    if not system:
        return tuple(messages)
    if messages and messages[0].role == "system":
        return (Message("system", f"{system}\n\n{messages[0].content}"), *messages[1:])
    return (Message("system", system), *messages)


def message_hash(messages: Sequence[Message], system: str | None) -> str:
    """Return the hash of the chat as sent, the system prompt included: pairs of responses must agree on it."""
    return digest(with_system(messages, system))


def takes_system(tokenizer: Any) -> bool:
    """Return whether the chat template renders a system turn; where it does not (Gemma), `render` folds it."""
    template = str(tokenizer.chat_template)
    if template not in _TAKES_SYSTEM:
        mark = "2f6b9c"
        try:
            renders = mark in _apply(tokenizer, (Message("system", mark), Message("user", "hi")), True)
        except DataError:
            renders = False
        _TAKES_SYSTEM[template] = renders
    return _TAKES_SYSTEM[template]


def render(tokenizer: Any, messages: Sequence[Message], system: str | None, add_generation_prompt: bool) -> list[int]:
    """Return the token ids of a chat as its template writes it, with the opening of the assistant's turn if asked.

    Where the template has no system role (see `takes_system`), the system text and a blank line go in front of the
    first user turn. Raises DataError where the template refuses the chat, ModelError where the
    tokenizer has no template.
    """
    return encode(tokenizer, render_text(tokenizer, messages, system, add_generation_prompt))


def encode(tokenizer: Any, text: str) -> list[int]:
    """Return the token ids of a text that a chat template wrote: its special tokens are parsed, none is added."""
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


def render_text(
    tokenizer: Any,
    messages: Sequence[Message],
    system: str | None,
    add_generation_prompt: bool,
    arguments: Mapping[str, Json] = NO_ARGUMENTS,
) -> str:
    """Return what `render` encodes; `arguments` are handed to the template besides."""
    chat = with_system(messages, system)
    if chat and chat[0].role == "system" and not takes_system(tokenizer):
        chat = _folded(chat)
    return _apply(tokenizer, chat, add_generation_prompt, arguments)


def refuse_arguments(tokenizer: Any, arguments: Mapping[str, Json]) -> None:
    """Raise ModelError for an argument that the chat template never reads: giving it would change nothing."""
    for name in arguments:
        if not re.search(rf"\b{re.escape(name)}\b", _text_of(tokenizer)):
            raise ModelError(
                f"[respond] template_arguments: the chat template of {tokenizer.name_or_path} never reads '{name}', so "
                "it would change nothing: leave it out"
            )


def training_example(tokenizer: Any, messages: Sequence[Message], max_length: int) -> TrainingExample:
    """Tokenise a conversation and label the assistant's turns, each up to and with its end-of-turn token.

    Needs no generation markers in the template: a turn starts where the rendered prompt before it ends. Where a
    template renders a prompt differently once it is answered, the turn starts at the assistant's own text.
    A turn that is not `trained` gets no label. Tokens beyond `max_length` are cut off. Raises DataError for a
    conversation that the template refuses or whose text it changes, ModelError for a tokenizer that cannot map tokens
    to characters.
    """
    if messages and messages[0].role == "system" and not takes_system(tokenizer):
        messages = _folded(messages)
    text = _apply(tokenizer, messages, False)
    try:
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    except NotImplementedError:
        raise ModelError("this tokenizer cannot map tokens to text: save it as a fast one (tokenizer.json)") from None
    ids, offsets = list(encoded["input_ids"]), list(encoded["offset_mapping"])
    special = special_ids(tokenizer)
    labels = [IGNORED] * len(ids)
    token, cursor = 0, 0
    for position, message in enumerate(messages):
        if message.role != "assistant":
            continue
        start, end = _turn(tokenizer, messages, position, text, cursor)
        while token < len(ids) and offsets[token][0] < start:
            token += 1
        content = message.content.strip()
        content_end = max(text.find(content, start, end) + len(content), start)
        while token < len(ids) and offsets[token][0] < end:
            labels[token] = ids[token] if message.trained else IGNORED
            token += 1
            # What a template writes after the end-of-turn token (a line break) is never generated.
            if ids[token - 1] in special and offsets[token - 1][0] >= content_end:
                break
        cursor = content_end
    return TrainingExample(ids[:max_length], labels[:max_length], len(ids) > max_length)


def end_of_turn(tokenizer: Any) -> int | None:
    """Return the id of the token that ends the assistant's turns in this template; None where there is none."""
    labels = training_example(tokenizer, (Message("user", "hi"), Message("assistant", "ok")), 10**6).labels
    last = next((label for label in reversed(labels) if label != IGNORED), IGNORED)
    return last if last in special_ids(tokenizer) else None


def special_ids(tokenizer: Any) -> frozenset[int]:
    """Return the ids of all special tokens, including those that have no role in the tokenizer."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    return frozenset(tokenizer.all_special_ids) | {id_ for id_, token in added.items() if token.special}


def _turn(tokenizer: Any, messages: Sequence[Message], position: int, text: str, cursor: int) -> tuple[int, int]:
    """Return the start and end in `text` (characters) of the assistant's turn `position`."""
    prompt = _apply(tokenizer, messages[:position], True) if position else ""
    answered = _apply(tokenizer, messages[: position + 1], False)
    content = messages[position].content.strip()
    start = len(prompt) if position and text.startswith(prompt) else text.find(content, cursor)
    if start < 0:
        raise DataError(
            f"turn {position + 1}: the chat template changes the assistant's text, so its tokens cannot be found: "
            f"{content[:40]!r}"
        )
    if text.startswith(answered):
        return start, len(answered)
    following = messages[position + 1].content.strip() if position + 1 < len(messages) else ""
    end = text.find(following, start + len(content)) if following else len(text)
    return start, end if end >= 0 else len(text)


def _folded(chat: Sequence[Message]) -> tuple[Message, ...]:
    if len(chat) < 2 or chat[1].role != "user":
        raise DataError("the chat template has no system role, and no user turn follows to take its text")
    return (Message("user", f"{chat[0].content}\n\n{chat[1].content}"), *chat[2:])


def _undated(tokenizer: Any) -> str | None:
    """Return the chat template with a fixed date, None where it asks for no date.

    Templates of Llama 3 and Granite write today's date into every prompt: the same study would ask something else each
    day. A macro of the same name shadows the function.
    """
    template = _text_of(tokenizer)
    if "strftime_now" not in template:
        return None
    forms = dict.fromkeys(re.findall(r"""strftime_now\(\s*(?:"([^"]*)"|'([^']*)')""", template))
    cases = "".join(f"{{% elif form == {(one or other)!r} %}}{DAY.strftime(one or other)}" for one, other in forms)
    body = f"{{% if false %}}{cases}{{% else %}}{DAY:%d %b %Y}{{% endif %}}"
    return f"{{%- macro strftime_now(form) -%}}{body}{{%- endmacro -%}}{template}"


def _text_of(tokenizer: Any) -> str:
    """Return the chat template; of several by name, the default one."""
    template = tokenizer.chat_template
    return template if isinstance(template, str) else str(tokenizer.get_chat_template())


def _apply(
    tokenizer: Any,
    chat: Sequence[Message],
    add_generation_prompt: bool,
    arguments: Mapping[str, Json] = NO_ARGUMENTS,
) -> str:
    from jinja2.exceptions import TemplateError

    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(
            "the tokenizer has no chat template: use an instruction-tuned model, or add chat_template.jinja"
        )
    turns = [{"role": message.role, "content": message.content} for message in chat]
    try:
        text: str = tokenizer.apply_chat_template(
            turns,
            chat_template=_undated(tokenizer),
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            **arguments,
        )
    except TemplateError as error:
        roles = ", ".join(message.role for message in chat[:4])
        raise DataError(
            f"the chat template refuses this chat ({roles}{', ...' if len(chat) > 4 else ''}): {error}"
        ) from None
    return text
