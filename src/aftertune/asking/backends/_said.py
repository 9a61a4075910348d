"""A decoded row, or what went wrong with it, as a reply."""

from __future__ import annotations

from typing import Any

from aftertune.asking.backends._decode import Decoded
from aftertune.models.chat import message_hash
from aftertune.models.session import Reply, Request
from aftertune.records import digest


def reply(request: Request, ids: list[int], decoded: Decoded, tokenizer: Any, system: str | None) -> Reply:
    if decoded.finish == "error":
        return failed(request, system, "the model's logits are not numbers", ids)
    tokens = decoded.tokens[:-1] if decoded.finish == "stop" else decoded.tokens
    return Reply(
        request.prompt.id,
        request.temperature,
        request.sample,
        tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False),
        decoded.finish,
        len(decoded.tokens),
        message_hash(request.prompt.messages, system),
        digest(ids),
        prompt_tokens=len(ids),
    )


def failed(request: Request, system: str | None, why: str, ids: list[int] | None = None) -> Reply:
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
