"""A prompt as token ids, and the ids of texts that an answer to it may begin with."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from aftertune.errors import AftertuneError
from aftertune.models.chat import NO_ARGUMENTS, continued, encode, render_text
from aftertune.models.training_rows import answer_form, end_of_turn
from aftertune.records import Json, Message


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


def before_answer(
    writer: Any, arguments: Mapping[str, Json] = NO_ARGUMENTS, stops: Collection[int] = ()
) -> tuple[str, str]:
    """Return what a chat template writes between the opening of an answer and its text: a lead, and a gap.

    The lead is read before a text that is scored: the close of a thought that the prompt opens, or an empty one, or a
    channel's header. The gap is part of the text. Mistral's is a space: there a model begins with the token ` A`, not
    `A`. Raises DataError for a template that refuses a plain chat, ModelError where there is none.
    """
    before = answer_form(writer, arguments, stops).lead
    if not before.strip():
        return "", before
    lead = before.rstrip(" ")
    return lead, before[len(lead) :]


def continuation_ids(
    writer: Any,
    tokenizer: Any,
    messages: Sequence[Message],
    system: str | None,
    prompt: Sequence[int],
    texts: Sequence[str],
    before: tuple[str, str],
    arguments: Mapping[str, Json] = NO_ARGUMENTS,
) -> tuple[list[int], list[list[int]]]:
    """Return the tokens that are read before the texts, and those of each text as the beginning of the answer.

    Args:
        writer: Tokenizer whose chat template writes the text.
        tokenizer: Tokenizer that turns the text into tokens.
        messages: The chat to answer.
        system: System prompt.
        prompt: The chat's tokens.
        texts: What the answer may begin with.
        before: As `before_answer` gives it: the lead is read after the prompt.
        arguments: For the chat template.
    """
    lead, gap = before
    opened = render_text(writer, messages, system, True, arguments)
    read = continued(tokenizer, prompt, opened, lead) if lead else list(prompt)
    ids = [continued(tokenizer, read, opened + lead, f"{gap}{text}")[len(read) :] for text in texts]
    return read, ids


def declared(model: Any) -> frozenset[int]:
    """Return the tokens that a loaded model's generation configuration declares as the end of a text."""
    own = getattr(model.generation_config, "eos_token_id", None)
    return frozenset(id_ for id_ in (own if isinstance(own, list) else [own]) if isinstance(id_, int))


def stop_ids(
    model: Any, own: Any, writer: Any, arguments: Sequence[Mapping[str, Json]] = (NO_ARGUMENTS,)
) -> frozenset[int]:
    """Return the tokens that end an answer of a loaded model, as `end_ids`."""
    return end_ids(declared(model), own, writer, arguments)


def end_ids(
    stops: frozenset[int], own: Any, writer: Any, arguments: Sequence[Mapping[str, Json]] = (NO_ARGUMENTS,)
) -> frozenset[int]:
    """Return the tokens that end an answer: the model's, its tokenizer's, and the template's end of turn.

    `stops` are those that the model declares; `arguments` those that prompts are written with.
    """
    ids = {*stops, own.eos_token_id}
    for each in arguments:
        ids.add(end_of_turn(own, each, stops))
        if writer is not own:
            turn = end_of_turn(writer, each, stops)
            here = None if turn is None else own.convert_tokens_to_ids(writer.convert_ids_to_tokens(turn))
            ids.add(None if here == own.unk_token_id else here)
    return frozenset(id_ for id_ in ids if isinstance(id_, int))
