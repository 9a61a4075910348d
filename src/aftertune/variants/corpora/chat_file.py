"""Any chat file: JSONL with `messages`, ShareGPT, Alpaca, pairs; CSV or Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from aftertune.data import table_files
from aftertune.errors import DataError, UsageError
from aftertune.pii import ownership, stand_ins
from aftertune.plugins import Card
from aftertune.records import Conversation, Message, Person, Role, Span, digest
from aftertune.variants.corpus import Corpus, StrangerKind

_TABLES = (".csv", ".parquet")
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
class ChatFile(Corpus):
    """Conversations from a file of the user's own."""

    card: ClassVar[Card] = Card(
        about=(
            "Conversations from a file of the user's own: JSONL with one object a line (or a JSON list), "
            '`{"messages": [{"role", "content"}]}`, ShareGPT `{"conversations": [{"from", "value"}]}`, Alpaca '
            '`{"instruction", "input", "output"}`, or `{"prompt"}` with `response` or `completion` (texts, or lists of '
            "messages); CSV or Parquet with such columns."
        ),
        source="a local file",
        licence="that of the file",
        weaknesses=(
            "which parts are personal is known only for files that `aftertune compose` wrote (`spans`, and twins in "
            "the `people.json` beside them); elsewhere they are looked for, and some are missed or wrong (`aftertune "
            "pii scan` shows which), and twins are invented in the form of the values"
        ),
    )
    path: str = field()
    """File to read."""
    limit: int | None = None
    """Conversations to read at most, from the start; None reads all."""
    version: str = field(default="2", init=False)

    def conversations(self) -> Sequence[Conversation]:
        """Return the file's conversations. Raises DataError naming file and line, UsageError for a missing file."""
        return list(self.stream())

    def stream(self) -> Iterator[Conversation]:
        """Yield the conversations one by one (a file that is one JSON list is read whole); raises as they do."""
        path = self._file()
        count = 0
        for line, row in _rows(path):
            yield _conversation(row, f"{path}:{line}")
            count += 1
            if self.limit is not None and count >= self.limit:
                break
        if not count:
            raise DataError(f"{path}: no conversations in it")

    def _file(self) -> Path:
        path = Path(self.path).expanduser()
        if path.is_dir():
            raise UsageError(f"{path}: is a folder; give a file in it")
        if not path.is_file():
            raise UsageError(f"{path}: no such file")
        return path

    @property
    def _people_file(self) -> Path:
        return Path(self.path).expanduser().with_name("people.json")

    def files(self) -> tuple[Path, ...]:
        """Return the file, and the `people.json` beside it where there is one. Raises UsageError for a missing file."""
        return (self._file(), self._people_file) if self.composed else (self._file(),)

    @property
    def expected(self) -> int | None:
        """How many conversations there are at most, counted as lines; None for a table or a JSON list without limit.

        Raises UsageError for a missing file.
        """
        path = self._file()
        if path.suffix.lower() in _TABLES or _is_list(path):
            return self.limit
        with path.open("rb") as file:
            lines = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")) + 1
        return lines if self.limit is None else min(lines, self.limit)

    @property
    def composed(self) -> bool:
        """Whether the `people.json` of `aftertune compose` stands beside the file."""
        return self._people_file.is_file()

    def people(self) -> Sequence[Person]:
        """Return the owners of the marked values; in an unmarked file, of the values that the finder marks."""
        marker = ownership.Marker()
        for conversation in self.stream():
            marker.mark(conversation)
        return marker.people()

    def strangers(self, kind: StrangerKind, count: int, seed: int) -> Sequence[Person]:
        """Return stand-ins for the file's people, in their formats; as twins, those that `aftertune compose` wrote.

        Raises DataError where the `people.json` beside the file is broken.
        """
        if kind == "twin" and self.composed:
            try:
                rows = json.loads(self._people_file.read_bytes())["twin"]
                return [Person(str(row["id"]), {str(k): str(v) for k, v in row["values"].items()}) for row in rows]
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                raise DataError(f"{self._people_file}: not a list of people as `aftertune compose` writes it") from None
        people = self.people()
        if kind == "canary":
            return stand_ins.invented(count, kind, seed, people)
        return stand_ins.assign(people if count >= len(people) else people[:count], kind, seed).strangers


def _is_list(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    if path.suffix.lower() in _TABLES:
        yield from table_files.iterate(path)
        return
    whole = _is_list(path)
    with path.open("rb") as file:
        if whole:
            yield from _list(path, _decoded(path, file.read(), 0).removeprefix("\ufeff"))
            return
        offset = 0
        # Lines end at \n only: JSON allows U+2028 and others that look like line ends inside strings.
        for number, raw in enumerate(file, start=1):
            line = _decoded(path, raw, offset).removeprefix("\ufeff" if offset == 0 else "")
            offset += len(raw)
            if line.strip():
                try:
                    yield number, json.loads(line)
                except json.JSONDecodeError as error:
                    raise DataError(f"{path}:{number}: not valid JSON at column {error.colno}: {error.msg}") from None
                except ValueError:  # json's limit on the digits of a number
                    raise DataError(f"{path}:{number}: holds a number of thousands of digits") from None
                except RecursionError:
                    raise DataError(f"{path}:{number}: nested too deeply") from None


def _list(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    try:
        yield from enumerate(json.loads(text), start=1)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not valid JSON: {error.msg}") from None
    except ValueError:
        raise DataError(f"{path}: holds a number of thousands of digits") from None
    except RecursionError:
        raise DataError(f"{path}: nested too deeply") from None


def _decoded(path: Path, raw: bytes, offset: int) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {offset + error.start}: save it as UTF-8") from None


def _conversation(row: Any, where: str) -> Conversation:
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected an object, found {type(row).__name__}")
    for key, role_key, text_key in (("messages", "role", "content"), ("conversations", "from", "value")):
        if key in row:
            messages = _turns(row[key], f"{where}: {key}", role_key, text_key)
            break
    else:
        if "instruction" in row and "output" in row:
            question = _text(row["instruction"], f"{where}: instruction")
            extra = _text(row.get("input") or "", f"{where}: input")
            reply = _text(row["output"], f"{where}: output")
            messages = (Message("user", f"{question}\n\n{extra}" if extra else question), Message("assistant", reply))
        elif "prompt" in row and (side := next((key for key in ("response", "completion") if key in row), None)):
            prompt = _side(row["prompt"], f"{where}: prompt", "user")
            messages = (*prompt, *_side(row[side], f"{where}: {side}", "assistant"))
        else:
            known = ", ".join(sorted(str(key) for key in row)[:8]) or "none"
            raise DataError(
                f"{where}: expected 'messages', 'conversations', 'instruction' with 'output', or 'prompt' with "
                f"'response' or 'completion'; found the fields: {known}"
            )
    spans = _spans(row["spans"], messages, where) if "spans" in row else None
    ident = _text(str(row["id"]), f"{where}: id") if row.get("id") else digest(where.rpartition(":")[2], messages)
    # Only `aftertune compose` writes this mark, and as true: any other value is a field of somebody else's.
    return Conversation(ident, messages, spans, where, planted=row.get("planted") is True)


def _side(value: Any, where: str, role: Role) -> tuple[Message, ...]:
    """Return one side of a pair: a text, or a list of messages as TRL has it."""
    if isinstance(value, list) and value and isinstance(value[0], dict) and "role" in value[0]:
        return _turns(value, where, "role", "content")
    return (Message(role, _text(value, where)),)


def _spans(rows: Any, messages: Sequence[Message], where: str) -> tuple[Span, ...]:
    try:
        spans = tuple(Span(*row) for row in rows)
        fits = all(
            0 <= s.message < len(messages)
            and 0 <= s.start < s.end <= len(messages[s.message].content)
            and all(isinstance(text, str) and text.encode() for text in (s.type, s.owner, s.part))
            and all(type(number) is int for number in (s.message, s.start, s.end))
            for s in spans
        )
    except (TypeError, IndexError, UnicodeEncodeError):
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
