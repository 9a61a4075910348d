"""A prompt as token ids, and the ids of texts that an answer to it may begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aftertune.errors import AftertuneError
from aftertune.models.chat import NO_ARGUMENTS, encode, end_of_turn, render_text
from aftertune.records import Json, Message

_ANSWER = "ok"


def prompt_ids(
    writer: Any,
    tokenizer: Any,
    messages: Sequence[Message],
    system: str | None,
    context: int | None,
    arguments: Mapping[str, Json] = NO_ARGUMENTS,
) -> list[int] | str:
    """Return the prompt's tokens, or why it cannot be asked.

    Args:
        writer: Tokenizer whose chat template writes the text.
        tokenizer: Tokenizer that turns the text into tokens.
        messages: The chat to answer.
        system: System prompt.
        context: Tokens that the model can read; None where it does not say.
        arguments: For the chat template.
    """
    try:
        ids = encode(tokenizer, render_text(writer, messages, system, True, arguments))
    except AftertuneError as error:
        return str(error)
    if context is not None and len(ids) >= context:
        return f"the prompt's {len(ids)} tokens leave no room in the model's context of {context}"
    return ids or "the prompt is empty"


def before_answer(writer: Any) -> str:
    """Return the white space that a chat template writes between the opening of an answer and its text.

    Mistral's is a space: there a model begins with the token ` A`, not `A`. Raises DataError for a template that
    refuses a plain chat, ModelError where there is none.
    """
    question = (Message("user", "hi"),)
    opened = render_text(writer, question, None, True)
    answered = render_text(writer, (*question, Message("assistant", _ANSWER)), None, False)
    start = answered.find(_ANSWER, len(opened)) if answered.startswith(opened) else -1
    gap = answered[len(opened) : start] if start >= 0 else ""
    return gap if not gap.strip() else ""


def continuation_ids(
    writer: Any,
    tokenizer: Any,
    messages: Sequence[Message],
    system: str | None,
    prompt: Sequence[int],
    texts: Sequence[str],
    gap: str,
    arguments: Mapping[str, Json] = NO_ARGUMENTS,
) -> list[list[int]]:
    """Return the tokens of each text as the beginning of the answer to a prompt whose tokens are `prompt`.

    They are the tokens after the prompt's when both are encoded together; where encoding them together changes the
    prompt's own tokens, which a model never sees, the text is encoded alone.
    """
    opened = render_text(writer, messages, system, True, arguments)
    continuations = []
    for text in texts:
        whole = encode(tokenizer, f"{opened}{gap}{text}")
        together = whole[: len(prompt)] == list(prompt) and len(whole) > len(prompt)
        continuations.append(whole[len(prompt) :] if together else encode(tokenizer, f"{gap}{text}"))
    return continuations


def stop_ids(model: Any, own: Any, writer: Any) -> frozenset[int]:
    """Return the tokens that end an answer: the model's, its tokenizer's, and the template's end of turn."""
    declared = getattr(model.generation_config, "eos_token_id", None)
    ids = set(declared) if isinstance(declared, list) else {declared}
    ids |= {own.eos_token_id, end_of_turn(own)}
    if writer is not own:
        turn = end_of_turn(writer)
        here = None if turn is None else own.convert_tokens_to_ids(writer.convert_ids_to_tokens(turn))
        ids.add(None if here == own.unk_token_id else here)
    return frozenset(id_ for id_ in ids if isinstance(id_, int))
