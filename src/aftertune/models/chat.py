"""From a chat to text and token ids, as a chat template writes it.

Tuning (`training_rows.py`) and responding share this file, so that a model is asked in exactly the form it was tuned
in. The chat template writes every special token itself; nothing is added on top, so there is no second BOS.

A template is not trusted to write what it is given: some write only contents that come as a list of parts, and give
an empty turn for a plain string, without an error. So each new order of roles is tried with marked texts first, as
strings and then as parts, and each chat's own texts are looked for in what was written.
"""

from __future__ import annotations

import copy
import datetime
import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from aftertune.errors import DataError, ModelError, first_line
from aftertune.records import Json, Message, Role, digest
from aftertune.thoughts import part

DAY = datetime.date(2024, 7, 26)
"""The date that templates get when they ask for today: the one that Llama 3's own template falls back to."""

NO_ARGUMENTS: Mapping[str, Json] = MappingProxyType({})
OWN_ARGUMENTS = frozenset({
    "add_generation_prompt", "chat_template", "continue_final_message", "conversation", "documents", "max_length",
    "messages", "padding", "return_assistant_tokens_mask", "return_dict", "return_tensors", "tokenize",
    "tokenizer_kwargs", "tools", "truncation",
})  # fmt: skip
"""Of `apply_chat_template` itself: no arguments of a template that a design could give."""
FAULTS = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RuntimeError, MemoryError)
"""What a template's own code may raise beside jinja's errors: it indexes, divides, concatenates and calls itself."""
_SWITCHES = re.compile(r"/(?:no_?think|think|system_override)\b", re.I)
"""Words in a text that switch a model's thoughts: some templates obey and delete them."""
_MARKUP = re.compile(r"<[^<>\s]{1,40}>|\[/?[A-Z_]{2,20}\]")

_THOUGHT_FIELDS = ("reasoning_content", "reasoning", "thinking")
"""In which templates look for the thought of a turn: Qwen3's and GLM's, Gemma 4's, gpt-oss's."""

_PARTS: dict[tuple[str, ...], bool | str] = {}
"""Whether a template needs contents as lists of parts for an order of roles, or what it leaves out."""


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


def takes_system(tokenizer: Any, arguments: Mapping[str, Json] = NO_ARGUMENTS) -> bool:
    """Return whether the chat template renders a system turn; where it does not (Gemma), `render` folds it."""
    return isinstance(_parts(tokenizer, ("system", "user"), True, arguments), bool)


def render(
    tokenizer: Any,
    messages: Sequence[Message],
    system: str | None,
    add_generation_prompt: bool,
    arguments: Mapping[str, Json] = NO_ARGUMENTS,
) -> list[int]:
    """Return the token ids of a chat as its template writes it, with the opening of the assistant's turn if asked.

    Where the template has no system role (see `takes_system`), the system text and a blank line go in front of the
    first user turn. Raises DataError where the template refuses the chat, fails on it or leaves a text out,
    ModelError where the tokenizer has no template.
    """
    return encode(tokenizer, render_text(tokenizer, messages, system, add_generation_prompt, arguments))


def encode(tokenizer: Any, text: str) -> list[int]:
    """Return the token ids of a text that a chat template wrote: its special tokens are parsed, none is added."""
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


def continued(tokenizer: Any, prompt: Sequence[int], asked: str, text: str) -> list[int]:
    """Return the token ids of a prompt with what follows it, which begin with the prompt's own.

    They are those of both texts together; where these would merge at the seam, which a model that is asked never sees,
    what follows has tokens of its own. `prompt` are the ids of the text `asked`.
    """
    whole = encode(tokenizer, asked + text)
    if whole[: len(prompt)] == list(prompt) and (len(whole) > len(prompt) or not text):
        return whole
    # Behind a special token, so that no blank is put before it as at the beginning of a text.
    anchored = encode(tokenizer, f"{tokenizer.eos_token}{text}") if tokenizer.eos_token else []
    alone = anchored[1:] if anchored and anchored[0] == tokenizer.eos_token_id else encode(tokenizer, text)
    return [*prompt, *alone]


def render_text(
    tokenizer: Any,
    messages: Sequence[Message],
    system: str | None,
    add_generation_prompt: bool,
    arguments: Mapping[str, Json] = NO_ARGUMENTS,
) -> str:
    """Return what `render` encodes; `arguments` are handed to the template besides."""
    return rendered(tokenizer, with_system(messages, system), add_generation_prompt, arguments)


def rendered(
    tokenizer: Any,
    chat: Sequence[Message],
    add_generation_prompt: bool,
    arguments: Mapping[str, Json] = NO_ARGUMENTS,
    thought: str = "",
) -> str:
    """Return the text of a chat, its system turn folded into the first user turn where the template has none.

    Every message stands in it. `thought` is handed to the template beside the last turn, in the fields that templates
    have for it; not all read one. Raises DataError and ModelError as `render`.
    """
    chat = folded(tokenizer, chat, arguments)
    parts = _parts(tokenizer, tuple(message.role for message in chat), add_generation_prompt, arguments)
    if isinstance(parts, str):
        raise DataError(parts)
    text = _apply(tokenizer, chat, add_generation_prompt, arguments, parts=parts, thought=thought)
    for position, message in enumerate(chat, start=1):
        if not _stands_in(message, text):
            raise DataError(
                f"the chat template leaves out or changes the text of turn {position} ({message.role}): "
                f"{message.content.strip()[:40]!r}"
            )
    return text


def refuse_arguments(tokenizer: Any, arguments: Mapping[str, Json]) -> None:
    """Raise ModelError for an argument that the chat template never reads: giving it would change nothing."""
    read = names_read(_text_of(tokenizer))
    for name in arguments:
        if name not in read:
            raise ModelError(
                f"[respond] template_arguments: the chat template of {tokenizer.name_or_path} never reads '{name}', so "
                "it would change nothing: leave it out"
            )


AS_WRITTEN = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
"""A chat template that writes what the turns say and nothing else."""


def as_written(tokenizer: Any) -> Any:
    """Return a copy of a tokenizer whose chat template writes the turns' texts as they are.

    The token that begins a text stands in front where the tokenizer itself puts it there: so a plain completion reads.
    """
    plain = copy.copy(tokenizer)
    first = tokenizer("a", verbose=False)["input_ids"][:1]
    begins = bool(tokenizer.bos_token) and first == [tokenizer.bos_token_id]
    plain.chat_template = ("{{ bos_token }}" if begins else "") + AS_WRITTEN
    return plain


def special_ids(tokenizer: Any) -> frozenset[int]:
    """Return the ids of all special tokens, including those that have no role in the tokenizer."""
    return frozenset(tokenizer.all_special_ids) | {id_ for id_, token in _added(tokenizer).items() if token.special}


def added_ids(tokenizer: Any) -> frozenset[int]:
    """Return the ids of the tokens that were added to the vocabulary, special or not, those of white space left out."""
    return frozenset(id_ for id_, token in _added(tokenizer).items() if token.content.strip())


def _added(tokenizer: Any) -> Mapping[int, Any]:
    added: Mapping[int, Any] = getattr(tokenizer, "added_tokens_decoder", {})
    return added


def folded(
    tokenizer: Any, chat: Sequence[Message], arguments: Mapping[str, Json] = NO_ARGUMENTS
) -> tuple[Message, ...]:
    """Return a chat whose system text stands in its first user turn, where the template has no system role."""
    if not chat or chat[0].role != "system" or takes_system(tokenizer, arguments):
        return tuple(chat)
    if len(chat) < 2 or chat[1].role != "user":
        raise DataError("the chat template has no system role, and no user turn follows to take its text")
    return (Message("user", f"{chat[0].content}\n\n{chat[1].content}"), *chat[2:])


def refuse_template(
    tokenizer: Any, orders: Iterable[tuple[Role, ...]], arguments: Mapping[str, Json] = NO_ARGUMENTS
) -> None:
    """Raise DataError for the first order of roles that the template cannot ask, ModelError where there is none."""
    for roles in sorted(orders, key=len):
        rendered(tokenizer, [Message(role, f"text {n} of a trial") for n, role in enumerate(roles, 1)], True, arguments)


# ---------------------------------------------------------------------------------------------- texts that stand


def _parts(
    tokenizer: Any, roles: tuple[Role, ...], add_generation_prompt: bool, arguments: Mapping[str, Json]
) -> bool | str:
    """Return whether contents must be lists of parts for this order of roles; else why neither form will do.

    It is tried once per template with texts that can stand in no template. Where a template refuses the roles in both
    forms, the error of the first is what it says.
    """
    named = (str(getattr(tokenizer, "chat_template", None)), str(tokenizer.bos_token), str(tokenizer.eos_token))
    key = (*named, str(add_generation_prompt), digest(arguments) if arguments else "", *roles)
    if key not in _PARTS:
        _PARTS[key] = _tried(tokenizer, roles, add_generation_prompt, arguments)
    return _PARTS[key]


def _tried(
    tokenizer: Any, roles: tuple[Role, ...], add_generation_prompt: bool, arguments: Mapping[str, Json]
) -> bool | str:
    chat = [Message(role, f"text {number} of a trial") for number, role in enumerate(roles, start=1)]
    why = ""
    for parts in (False, True):
        try:
            text = _apply(tokenizer, chat, add_generation_prompt, arguments, parts=parts)
        except DataError as error:
            why = why or str(error)
            continue
        if parts and re.search(r"""["']type["']: ?["']text["']""", text):
            continue  # a list written out as such is no text
        missing = [number for number, message in enumerate(chat, start=1) if not _stands_in(message, text)]
        if not missing:
            return parts
        turns = ", ".join(f"{number} ({roles[number - 1]})" for number in missing)
        why = why or f"the chat template leaves out the text of turn {turns}"
    return why


def _stands_in(message: Message, text: str) -> bool:
    """Return whether a message stands in a rendered text, perhaps trimmed, escaped or in other white space or case.

    An assistant's turn stands there by its answer: templates drop the thoughts of earlier turns.
    """
    content = message.content.strip()
    if content in text:
        return True
    forms = [content, *(json.dumps(content, ensure_ascii=ascii_)[1:-1] for ascii_ in (False, True))]
    if message.role == "assistant" and (found := part(content)).found:
        forms.append(found.answer)
    if any(_squeezed(form) in _squeezed(each) for form in forms for each in (text, html.unescape(text))):
        return True
    return _bare(content) in _bare(text)


def _squeezed(text: str) -> str:
    return "".join(text.split()).casefold()


def _bare(text: str) -> str:
    """Return a text without markup and switches, which a template may take out of what a user writes."""
    return _squeezed(_MARKUP.sub("", _SWITCHES.sub("", text)))


# ---------------------------------------------------------------------------------------------- the template itself


@lru_cache(maxsize=64)
def _undated(template: str) -> str | None:
    """Return the chat template with a fixed date, None where it asks for no date.

    Templates of Llama 3 and Granite write today's date into every prompt: the same study would ask something else each
    day. A macro of the same name shadows the function.
    """
    if "strftime_now" not in template:
        return None
    forms = dict.fromkeys(re.findall(r"""strftime_now\(\s*(?:"([^"]*)"|'([^']*)')""", template))
    cases = "".join(f"{{% elif form == {(one or other)!r} %}}{DAY.strftime(one or other)}" for one, other in forms)
    body = f"{{% if false %}}{cases}{{% else %}}{DAY:%d %b %Y}{{% endif %}}"
    return f"{{%- macro strftime_now(form) -%}}{body}{{%- endmacro -%}}{template}"


@lru_cache(maxsize=64)
def names_read(template: str) -> frozenset[str]:
    """Return the names that a template's code reads; of one that cannot be parsed, all words in it.

    A word that only stands in a text, a comment or a mark (`/no_think`) is no name: giving it a value changes nothing.
    """
    from jinja2 import Environment, nodes
    from jinja2.exceptions import TemplateError

    plain = re.sub(r"\{%-?\s*(?:end)?generation\s*-?%\}", "", template)  # the one tag that is transformers' own
    try:
        tree = Environment(extensions=["jinja2.ext.loopcontrols", "jinja2.ext.do"], autoescape=True).parse(plain)
    except TemplateError:
        return frozenset(re.findall(r"\w+", template))
    return frozenset(each.name for each in tree.find_all(nodes.Name) if each.ctx == "load")


def _text_of(tokenizer: Any) -> str:
    """Return the chat template; of several by name, the default one."""
    template = getattr(tokenizer, "chat_template", None)
    if not template:
        raise ModelError(
            "the tokenizer has no chat template: use an instruction-tuned model, or add chat_template.jinja"
        )
    if isinstance(template, str):
        return template
    try:
        return str(tokenizer.get_chat_template())
    except ValueError:
        raise ModelError(
            f"the tokenizer has several chat templates ({', '.join(sorted(template))}) and none is called 'default': "
            "leave one in tokenizer_config.json"
        ) from None


def _apply(
    tokenizer: Any,
    chat: Sequence[Message],
    add_generation_prompt: bool,
    arguments: Mapping[str, Json],
    *,
    parts: bool,
    thought: str = "",
) -> str:
    from jinja2.exceptions import TemplateError

    turns = [
        {"role": each.role, "content": [{"type": "text", "text": each.content}] if parts else each.content}
        for each in chat
    ]
    if thought:
        turns[-1] |= dict.fromkeys(_THOUGHT_FIELDS, thought)
    template = _undated(_text_of(tokenizer))
    try:
        text: str = tokenizer.apply_chat_template(
            turns,
            chat_template=template,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            **arguments,
        )
    except (TemplateError, *FAULTS) as error:
        roles = ", ".join(message.role for message in chat[:4])
        said = "refuses" if isinstance(error, TemplateError) else f"fails ({type(error).__name__}) on"
        raise DataError(
            f"the chat template {said} this chat ({roles}{', ...' if len(chat) > 4 else ''}): {first_line(error)}"
        ) from None
    return text
