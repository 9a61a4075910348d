"""Replies to prompts that went to a model as token ids, of the backends that decode answers themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from aftertune.models.chat import message_hash
from aftertune.models.session import Reply, Request, parted
from aftertune.records import digest
from aftertune.thoughts import opens_thought


def opens(tokenizer: Any, ids: Sequence[int]) -> bool:
    """Return whether a prompt's last tokens open a thought."""
    return opens_thought(tokenizer.decode(ids[-48:], skip_special_tokens=False, clean_up_tokenization_spaces=False))


def answered(
    request: Request,
    system: str | None,
    ids: list[int],
    text: str,
    finish: Literal["stop", "length"],
    new_tokens: int,
    *,
    opened: bool,
) -> Reply:
    """Return the reply to the prompt `ids`, its thought parted from the answer; `opened`: the prompt opens one."""
    reply = Reply(
        request.prompt.id,
        request.temperature,
        request.sample,
        text,
        finish,
        new_tokens,
        message_hash(request.prompt.messages, system),
        digest(ids),
        prompt_tokens=len(ids),
    )
    return parted(reply, opened=opened)


def failed(request: Request, system: str | None, why: str, ids: list[int] | None = None) -> Reply:
    """Return the reply to a request without an answer; `ids`: its prompt, as far as it came to one."""
    return Reply(
        request.prompt.id,
        request.temperature,
        request.sample,
        "",
        "error",
        None,
        message_hash(request.prompt.messages, system),
        digest(ids) if ids is not None else None,
        why,
    )
