"""Chat completions as a server sends them, parsed with suspicion: whole JSON bodies and streams of events."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from aftertune.asking.backends._server_errors import (
    Scrub,
    filtered,
    is_filter,
    one_line,
    prompt_was_filtered,
    words_of,
    words_of_text,
)
from aftertune.data.table_files import whole

Ending = Literal["stop", "length", "refusal", "filter", "filter_cut"]
_LENGTH = {
    "length", "maxtokens", "maxlength", "maxoutputtokens", "maxcompletiontokens", "maxnewtokens", "modellength",
    "tokenlimit", "contextlength", "modelcontextwindowexceeded",
}  # fmt: skip
_TEXT_PARTS = ("text", "output_text", "")
_THOUGHTS = ("thinking", "reasoning", "redacted_thinking")


def _unchanged(value: Any) -> Any:
    return value


class BadReplyError(Exception):
    """A reply that is not a whole chat completion; another attempt may bring one."""

    def __init__(self, why: str, words: str = "", body: Mapping[str, Any] | None = None) -> None:
        """`why` is of a few kinds, which are counted; `words` are the server's; `body` is that of an error."""
        super().__init__(f"{why}: {words}" if words else why)
        self.why, self.words, self.body = why, words, body


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
    ending: Ending = "stop"
    """How it ended, as `records.Response.finish_reason` has it."""
    how: str = ""
    """By what the server said that it, or its filter, refused; of `ending`, empty for stop and length."""
    tools: bool = False
    """Whether it calls a tool."""
    left_out: tuple[str, ...] = ()
    """Kinds of parts that are no text."""


@dataclass(frozen=True, slots=True)
class TokenCompletion(Completion):
    """A completion of token ids, which says what was read and written token by token."""

    tokens: tuple[int, ...] = ()
    """Written, with the one that ended the text where the server counts it in."""
    read: tuple[int, ...] | None = None
    """The prompt as the server read it; None where it does not say."""
    prompt_logprobs: tuple[float, ...] = ()
    """Log-probability (nats) of each token of the prompt but the first; empty unless asked for."""


@dataclass
class _Content:
    """The parts of a message, or of all pieces of a stream."""

    text: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    thought: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    refuses: bool = False
    tools: bool = False
    """Whether a tool is called."""

    def add(self, message: Mapping[str, Any]) -> None:
        self.thought.append(_thought(message))
        self._add(message.get("content"), self.text)
        refusal = message.get("refusal")
        if refusal is True:
            self.refuses = True
        elif refusal:
            self.refuses = True
            self._add(refusal, self.refusal)
        self.tools = self.tools or bool(message.get("tool_calls") or message.get("function_call"))

    def _add(self, content: Any, texts: list[str]) -> None:
        """Add text, or the text of parts; `texts` takes that of parts which do not say that they are a refusal."""
        for part in content if isinstance(content, list) else [content]:
            if isinstance(part, str):
                texts.append(str(whole(part)))
            elif isinstance(part, dict):
                self._part(part, texts)
            elif part is not None:
                raise BadReplyError("the reply's content is not text", one_line(json.dumps(content)))

    def _part(self, part: Mapping[str, Any], texts: list[str]) -> None:
        kind = part.get("type") or ""
        if kind in _THOUGHTS:
            self.thought.append(_thought({"reasoning": part.get("thinking", part.get(str(kind), part.get("text")))}))
            return
        if kind == "refusal":
            self.refuses, texts = True, self.refusal
        elif kind not in _TEXT_PARTS:
            self.left_out.append(one_line(str(kind))[:40])
            return
        text = next((part[key] for key in ("text", "refusal", "content") if part.get(key) is not None), "")
        if isinstance(text, dict):
            text = text.get("value")
        if not isinstance(text, str):
            raise BadReplyError("the reply's content is not text", one_line(json.dumps(part)))
        texts.append(str(whole(text)))


def read_body(text: str, scrub: Scrub = _unchanged) -> Completion:
    """Parse the body of a reply, after `scrub`; that of a server which streams unasked too. Raises BadReplyError."""
    if text.lstrip().startswith(("data:", "event:")):
        return read_events(text, scrub)
    body = _object(text, scrub)
    if body.get("error"):
        return _refused(body)
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        how = prompt_was_filtered(body)
        if how:
            return _completion(body, {}, _Content(), None, f"content filter ({how})")
        raise BadReplyError("the reply has no choices", words_of(body) or one_line(json.dumps(body)))
    choice = choices[0]
    content = _Content()
    message = choice.get("message")
    if isinstance(message, dict):
        content.add(message)
    elif choice.get("error"):
        return _refused({"error": choice["error"]})
    elif not is_filter(choice.get("finish_reason")):
        raise BadReplyError("the reply has no message", words_of(body) or one_line(json.dumps(body)))
    return _completion(body, choice, content, _top(choice))


def read_text_completion(text: str, scrub: Scrub = _unchanged) -> Completion:
    """Parse the body of a plain completion, whose text is no message. Raises BadReplyError."""
    body = _object(text, scrub)
    if body.get("error"):
        return _refused(body)
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise BadReplyError("the reply has no choices", words_of(body) or one_line(json.dumps(body)))
    choice = choices[0]
    if not isinstance(choice.get("text"), str) and not is_filter(choice.get("finish_reason")):
        raise BadReplyError("the reply has no text", words_of(body) or one_line(json.dumps(body)))
    content = _Content()
    content.add({"content": choice.get("text")})
    return _completion(body, choice, content, _top(choice) or _top_of_text(choice))


def read_token_completion(text: str, scrub: Scrub = _unchanged) -> Completion:
    """Parse the body of a reply to a prompt of token ids, as vLLM sends it. Raises BadReplyError.

    The text is left to whoever has the tokenizer: `tokens` are what was written.
    """
    body = _object(text, scrub)
    if body.get("error"):
        return _refused(body)
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise BadReplyError("the reply has no choices", words_of(body) or one_line(json.dumps(body)))
    choice = choices[0]
    tokens = _ids(choice.get("token_ids"))
    if tokens is None:
        raise BadReplyError("the reply has no token ids")
    read = _ids(choice.get("prompt_token_ids"))
    plain = _completion(body, choice, _Content(), None)
    own = {f.name: getattr(plain, f.name) for f in fields(plain)}
    return TokenCompletion(**own, tokens=tokens, read=read, prompt_logprobs=_of_prompt(choice, read))


def _ids(value: Any) -> tuple[int, ...] | None:
    if isinstance(value, list) and all(type(each) is int and each >= 0 for each in value):
        return tuple(value)
    return None


def _of_prompt(choice: Mapping[str, Any], read: Sequence[int] | None) -> tuple[float, ...]:
    """Return the log-probabilities of a prompt's tokens, the first left out; empty where any of them is missing."""
    rows = choice.get("prompt_logprobs")
    if not isinstance(rows, list) or read is None or len(rows) != len(read):
        return ()
    try:
        values = tuple(float(row[str(token)]["logprob"]) for row, token in zip(rows[1:], read[1:], strict=True))
    except (KeyError, TypeError, ValueError):
        return ()
    return values if all(map(math.isfinite, values)) else ()


def read_events(text: str, scrub: Scrub = _unchanged) -> Completion:
    """Parse a stream of server-sent events, which must be complete. Raises BadReplyError.

    `scrub` is applied to each event, and to the whole text. A server that does not stream sends one JSON body. An error
    in the stream ends it: a content filter's keeps the text that came before.
    """
    if text.lstrip()[:1] in ("{", "["):
        return read_body(text, scrub)
    content = _Content()
    last: dict[str, Any] = {}
    ending: dict[str, Any] = {}
    ended, pieces, top, how = False, 0, None, ""
    for line in re.split(r"\r\n|\n|\r", text):
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            ended = True
            break
        event = _object(data, scrub)
        if event.get("error"):
            how = f"content filter ({_code(event)})"
            break
        last = {**last, **{key: value for key, value in event.items() if value is not None}}
        choices = event.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and choice.get("index", 0) == 0:
                delta = choice.get("delta")
                content.add(delta if isinstance(delta, dict) else {})
                pieces += 1
                ending |= {key: choice[key] for key in _ENDINGS if choice.get(key)}
                top = top or _top(choice)
    if not how and "finish_reason" not in ending and not (ended and pieces):
        blocked = prompt_was_filtered(last) if ended else ""
        if not blocked:
            raise BadReplyError("the stream broke off before its end", "" if pieces else words_of_text(text, scrub))
        how = f"content filter ({blocked})"
    content.text = [str(scrub("".join(content.text)))]
    content.refusal = [str(scrub("".join(content.refusal)))]
    content.thought = [str(scrub("".join(content.thought)))]
    return _completion(last, ending, content, top, how)


_ENDINGS = ("finish_reason", "stop_reason", "native_finish_reason")
"""Where a choice may say how it ended; what a gateway passes on stands in the last two."""


def refused_by_filter(how: str) -> Completion:
    """Return the completion that an error of a content filter stands for; `how` says which error."""
    return Completion("", "", "content_filter", ending="filter", how=f"content filter ({how})")


def _object(text: str, scrub: Scrub) -> dict[str, Any]:
    try:
        body = scrub(json.loads(text))
    except (ValueError, RecursionError):
        raise BadReplyError("the reply is not whole JSON", words_of_text(text, scrub)) from None
    if isinstance(body, list) and len(body) == 1 and isinstance(body[0], dict) and body[0].get("error"):
        return body[0]  # Gemini's errors
    if not isinstance(body, dict):
        raise BadReplyError("the reply is not a JSON object", one_line(str(body)))
    return body


def _refused(body: Mapping[str, Any]) -> Completion:
    return refused_by_filter(_code(body))


def _code(body: Mapping[str, Any]) -> str:
    """Return by what an error says that a content filter refused. Raises BadReplyError for every other error."""
    code = filtered(body)
    if not code:
        raise BadReplyError("the reply is an error", words_of(body) or one_line(json.dumps(body)), body)
    return code


def _thought(message: Mapping[str, Any]) -> str:
    """Return what a server gives as the model's thought: a text, or parts with a text."""
    for name in ("reasoning_content", "reasoning", "thinking", "reasoning_details", "thinking_blocks"):
        value = message.get(name)
        if isinstance(value, list):
            parts = (_words(each) if isinstance(each, dict) else each for each in value)
            value = "".join(each for each in parts if isinstance(each, str))
        if isinstance(value, str) and value:
            return str(whole(value))
    return ""


def _words(part: Mapping[str, Any]) -> Any:
    """Return the text of a part of a thought."""
    return next((part[name] for name in ("text", "thinking", "summary") if isinstance(part.get(name), str)), None)


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


def _top_of_text(choice: Mapping[str, Any]) -> Mapping[str, float] | None:
    """Return the first token's alternatives as plain completions show them: a table of text and log-probability."""
    try:
        rows = choice["logprobs"]["top_logprobs"][0]
        values = {str(token): float(value) for token, value in rows.items()}
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return None
    return {token: value for token, value in values.items() if math.isfinite(value) and value <= 1e-6} or None


def _completion(
    body: Mapping[str, Any],
    choice: Mapping[str, Any],
    content: _Content,
    top: Mapping[str, float] | None,
    how: str = "",
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

    finish = word(choice.get("finish_reason")) or ("content_filter" if how else "")
    text, ending, how = _ended(content, [word(choice.get(key)) for key in _ENDINGS], how)
    return Completion(
        word(body.get("model")),
        text,
        finish,
        word(body.get("system_fingerprint")),
        count("prompt_tokens"),
        count("completion_tokens"),
        "".join(content.thought),
        hidden if isinstance(hidden, int) and hidden > 0 else 0,
        top,
        ending,
        how,
        content.tools,
        tuple(dict.fromkeys(content.left_out)),
    )


def _ended(content: _Content, reasons: Sequence[str], how: str) -> tuple[str, Ending, str]:
    """Return the text of an answer, how it ended, and by what the server said so where it refused.

    What a filter cut keeps its text. So does what the model said before it refused: both are read by judges.
    """
    text, refusal = "".join(content.text), "".join(content.refusal)
    if content.refuses and (not text.strip() or not refusal.strip() or text.strip() == refusal.strip()):
        return refusal if refusal.strip() else text, "refusal", "message.refusal"
    if content.refuses:
        return f"{text}\n\n{refusal}", "stop", ""
    stopped = next((reason for reason in reasons if is_filter(reason)), "")
    how = how or (f"finish_reason {one_line(stopped)[:60]}" if stopped else "")
    if how and not text.strip():
        return "", "refusal" if stopped.lower() == "refusal" else "filter", how
    if how:
        return text, "filter_cut", how
    return text, "length" if re.sub(r"[^a-z]", "", reasons[0].lower()) in _LENGTH else "stop", ""
