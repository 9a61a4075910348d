"""Chat completions as a server sends them, parsed with suspicion: whole JSON bodies and streams of events."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aftertune.data.table_files import whole

Scrub = Callable[[Any], Any]
"""Removes from a JSON value what no file may hold (an API key)."""


def _unchanged(value: Any) -> Any:
    return value


class BadReplyError(Exception):
    """A reply that is not a whole chat completion; another attempt may bring one."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One chat completion."""

    model: str
    """The model that answered, by the server's account; empty where it does not say."""
    text: str
    finish: str
    """The finish reason in the server's words; empty where it does not say."""
    fingerprint: str = ""
    prompt_tokens: int | None = None
    new_tokens: int | None = None
    thought: str = ""
    """What the server gives apart from the text, as `reasoning` or `reasoning_content`."""
    thought_tokens: int = 0
    """Of a thought, shown or not; 0 where the server does not say."""
    top: Mapping[str, float] | None = None
    """Log-probabilities (nats) of the first token's alternatives, by their text."""


def read_body(text: str, scrub: Scrub = _unchanged) -> Completion:
    """Parse the body of a reply that did not stream, after `scrub`. Raises BadReplyError."""
    body = _object(text, scrub)
    choice = _choice(body)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise BadReplyError("the reply has no message")
    return _completion(body, choice, _text(message), _thought(message), _top(choice))


def read_events(lines: Sequence[str], scrub: Scrub = _unchanged) -> Completion:
    """Parse the lines of a stream of server-sent events, which must be complete. Raises BadReplyError.

    `scrub` is applied to each event, and to the whole text.
    """
    text: list[str] = []
    thought: list[str] = []
    last: dict[str, Any] = {}
    finish, ended, top = None, False, None
    for line in lines:
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            ended = True
            break
        event = _object(data, scrub)
        last = {**last, **{key: value for key, value in event.items() if value is not None}}
        choices = event.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and choice.get("index", 0) == 0:
                delta = choice.get("delta")
                text.append(_text(delta if isinstance(delta, dict) else {}))
                thought.append(_thought(delta if isinstance(delta, dict) else {}))
                finish = choice.get("finish_reason") or finish
                top = top or _top(choice)
    if finish is None and not (ended and text):
        raise BadReplyError("the stream broke off before its end")
    return _completion(last, {"finish_reason": finish}, scrub("".join(text)), scrub("".join(thought)), top)


def _object(text: str, scrub: Scrub) -> dict[str, Any]:
    try:
        body = scrub(json.loads(text))
    except (ValueError, RecursionError):
        raise BadReplyError("the reply is not whole JSON") from None
    if not isinstance(body, dict):
        raise BadReplyError("the reply is not a JSON object")
    if body.get("error"):
        raise BadReplyError(f"the reply is an error: {error_text(body)}")
    return body


def error_text(body: object) -> str:
    """Return the message of an error body, in at most 200 characters of one line."""
    message: Any = body
    while isinstance(message, dict):
        message = message.get("error") or message.get("message") or message.get("detail") or ""
    return " ".join("".join(c if c.isprintable() else " " for c in str(message)).split())[:200]


def _choice(body: Mapping[str, Any]) -> dict[str, Any]:
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise BadReplyError("the reply has no choices")
    return choices[0]


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if content is None:
        return ""
    if not isinstance(content, str):
        raise BadReplyError("the reply's content is not text")
    return str(whole(content))


def _thought(message: Mapping[str, Any]) -> str:
    """Return what a server gives as the model's thought: a text, or parts with a text."""
    for name in ("reasoning_content", "reasoning"):
        value = message.get(name)
        if isinstance(value, list):
            parts = (each.get("text") if isinstance(each, dict) else each for each in value)
            value = "".join(each for each in parts if isinstance(each, str))
        if isinstance(value, str) and value:
            return str(whole(value))
    return ""


def _top(choice: Mapping[str, Any]) -> Mapping[str, float] | None:
    """Return the first token's alternatives; None where the server shows none, or values that are no probabilities."""
    try:
        rows = choice["logprobs"]["content"][0]["top_logprobs"]
        top: dict[str, float] = {}
        for row in rows:
            value = float(row["logprob"])
            if math.isfinite(value) and value <= 1e-6:
                token = str(row["token"])
                low, high = sorted((value, top.get(token, -math.inf)))
                top[token] = high + math.log1p(math.exp(low - high))  # two tokens may have one text
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    return top or None


def _completion(
    body: Mapping[str, Any], choice: Mapping[str, Any], text: str, thought: str, top: Mapping[str, float] | None
) -> Completion:
    usage = body.get("usage")
    counts = usage if isinstance(usage, dict) else {}

    def count(key: str) -> int | None:
        value = counts.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None

    details = counts.get("completion_tokens_details")
    hidden = details.get("reasoning_tokens") if isinstance(details, dict) else None

    def word(value: object) -> str:
        return value if isinstance(value, str) else ""

    return Completion(
        word(body.get("model")),
        text,
        word(choice.get("finish_reason")),
        word(body.get("system_fingerprint")),
        count("prompt_tokens"),
        count("completion_tokens"),
        thought,
        hidden if isinstance(hidden, int) and hidden > 0 else 0,
        top,
    )
