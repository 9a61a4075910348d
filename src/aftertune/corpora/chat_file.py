"""Any chat file: JSONL with `messages`, ShareGPT, or Alpaca."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aftertune.errors import DataError, UsageError
from aftertune.kinds import StrangerKind
from aftertune.pii import detect
from aftertune.records import Conversation, Message, Person, Role, Span, digest

_ROLES: dict[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
}


@dataclass(frozen=True)
class ChatFile:
    """Conversations from a file of the user's own.

    Source: a local file. JSONL with one object a line (or a JSON list): `{"messages": [{"role", "content"}]}`,
    ShareGPT `{"conversations": [{"from", "value"}]}`, Alpaca `{"instruction", "input", "output"}`, or
    `{"prompt", "response"}`. Known weakness: which parts are personal is known only for files that `aftertune compose`
    wrote (`spans`, and twins in the `people.json` beside them); elsewhere only values with a shape of their own
    (e-mail addresses, phone numbers, references) count as personal, and no PII policy but `keep` is honoured.
    """

    path: str
    """File to read."""
    limit: int | None = None
    """Conversations to read at most, from the start; None reads all."""
    version: str = field(default="1", init=False)

    def conversations(self) -> Sequence[Conversation]:
        """Return the file's conversations. Raises DataError naming file and line, UsageError for a missing file."""
        path = Path(self.path).expanduser()
        if not path.is_file():
            raise UsageError(f"{path}: no such file")
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 at byte {error.start}: save it as UTF-8") from None
        found = []
        for line, row in _rows(path, text):
            found.append(_conversation(row, f"{path}:{line}"))
            if self.limit is not None and len(found) >= self.limit:
                break
        if not found:
            raise DataError(f"{path}: no conversations in it")
        return found

    def people(self) -> Sequence[Person]:
        """Return the owners of the marked values; in an unmarked file, one owner per value that has a shape."""
        values: dict[str, dict[str, str]] = {}
        for conversation in self.conversations():
            texts = [message.content for message in conversation.messages]
            for span in conversation.spans or ():
                if span.part == "full":
                    values.setdefault(span.owner, {})[span.type] = texts[span.message][span.start : span.end]
            if conversation.spans is None:
                for text in texts:
                    for found in detect.find(text):
                        value = text[found.start : found.end]
                        values.setdefault(digest(found.type, value), {})[found.type] = value
        return [Person(owner, held) for owner, held in values.items()]

    def strangers(self, kind: StrangerKind, count: int, seed: int) -> Sequence[Person]:  # noqa: ARG002
        """Return the twins that `aftertune compose` wrote beside the file; none for a file made elsewhere.

        Raises UsageError for other kinds: nobody knows who would have to be replaced.
        """
        if kind == "twin":
            beside = Path(self.path).expanduser().with_name("people.json")
            try:
                rows = json.loads(beside.read_bytes())["twin"] if beside.is_file() else []
                return [Person(row["id"], row["values"]) for row in rows]
            except (ValueError, KeyError, TypeError):
                raise DataError(f"{beside}: not a list of people as `aftertune compose` writes it") from None
        raise UsageError(f"{self.path}: pii = '{kind}' needs to know which parts are personal; use pii = 'keep'")


def _rows(path: Path, text: str) -> Sequence[tuple[int, Any]]:
    if text.lstrip().startswith("["):
        try:
            rows = json.loads(text)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{error.lineno}: not valid JSON: {error.msg}") from None
        except RecursionError:
            raise DataError(f"{path}: nested too deeply") from None
        return list(enumerate(rows, start=1))
    found = []
    # Lines end at \n only: str.splitlines would also cut at U+2028 and others that JSON allows inside strings.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                found.append((number, json.loads(line)))
            except json.JSONDecodeError as error:
                raise DataError(f"{path}:{number}: not valid JSON at column {error.colno}: {error.msg}") from None
            except RecursionError:
                raise DataError(f"{path}:{number}: nested too deeply") from None
    return found


def _conversation(row: Any, where: str) -> Conversation:
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected an object, found {type(row).__name__}")
    for key, role_key, text_key in (("messages", "role", "content"), ("conversations", "from", "value")):
        if key in row:
            messages = _turns(row[key], f"{where}: {key}", role_key, text_key)
            break
    else:
        if "instruction" in row and "output" in row:
            asked = _text(row["instruction"], f"{where}: instruction")
            extra = _text(row.get("input") or "", f"{where}: input")
            reply = _text(row["output"], f"{where}: output")
            messages = (Message("user", f"{asked}\n\n{extra}" if extra else asked), Message("assistant", reply))
        elif "prompt" in row and "response" in row:
            messages = (
                Message("user", _text(row["prompt"], f"{where}: prompt")),
                Message("assistant", _text(row["response"], f"{where}: response")),
            )
        else:
            known = ", ".join(sorted(str(key) for key in row)[:8]) or "none"
            raise DataError(
                f"{where}: expected 'messages', 'conversations', 'instruction' with 'output', or 'prompt' with "
                f"'response'; found the fields: {known}"
            )
    spans = _spans(row["spans"], messages, where) if "spans" in row else None
    return Conversation(str(row.get("id") or digest(where.rpartition(":")[2], messages)), messages, spans, where)


def _spans(rows: Any, messages: Sequence[Message], where: str) -> tuple[Span, ...]:
    try:
        spans = tuple(Span(*row) for row in rows)
        fits = all(0 <= s.start < s.end <= len(messages[s.message].content) for s in spans)
    except (TypeError, IndexError):
        fits = False
    if not fits:
        raise DataError(f"{where}: spans: expected [message, start, end, type, owner, part] within the messages' text")
    return spans


def _turns(turns: Any, where: str, role_key: str, text_key: str) -> tuple[Message, ...]:
    if not isinstance(turns, list) or not turns:
        raise DataError(f"{where}: expected a list of turns that is not empty")
    messages = []
    for index, turn in enumerate(turns):
        if not isinstance(turn, dict) or role_key not in turn or text_key not in turn:
            raise DataError(f"{where}[{index}]: expected an object with '{role_key}' and '{text_key}'")
        role = _ROLES.get(str(turn[role_key]))
        if role is None:
            raise DataError(f"{where}[{index}]: unknown role '{str(turn[role_key])[:40]}'; known: {', '.join(_ROLES)}")
        messages.append(Message(role, _text(turn[text_key], f"{where}[{index}]: {text_key}")))
    return tuple(messages)


def _text(value: Any, where: str) -> str:
    if isinstance(value, list) and all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in value):
        value = "".join(part["text"] for part in value)  # content as a list of text parts
    if not isinstance(value, str):
        raise DataError(f"{where}: expected text, found {type(value).__name__}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f"{where}: holds half of a surrogate pair, which is not text") from None
    return value


PLUGIN = ChatFile
