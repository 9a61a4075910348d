"""What a row of a chat file says: the turns that a template sends, and every other text in the row with its field.

Forms of rows: a list of turns (`messages`, ShareGPT's `conversations` and relatives), a question and an answer under
their usual names (Alpaca, `prompt` with `completion`, `question` with `answer`), preference rows (`chosen` is what is
trained on), items of OpenAI's Responses API, and one text with role markers; keys in any case. Nothing in a row is
passed over: what is not a turn is `ChatRow.beside`.
"""

from __future__ import annotations

import ast
import datetime
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aftertune.data.conversations import MARK, OWN_ROW
from aftertune.data.encoded import BASE64, encoded, is_encoded
from aftertune.data.reading import NOT_OURS
from aftertune.data.roles import ROLES, TOOL_ROLES, unknown_role
from aftertune.data.table_files import is_plain_key, shown_fields, unique, whole
from aftertune.data.transcripts import asked_parts, parts_of, without_end
from aftertune.errors import DataError, UsageError, near
from aftertune.records import Conversation, FieldText, Message, Role, Span, digest

TURNS = (
    "messages",
    "conversations",
    "conversation",
    "contents",
    "dialog",
    "dialogue",
    "chat",
    "turns",
    "items",
    "data",
)
WRITTEN = ("text", *TURNS[:-2], "transcript")
"""Fields that may hold a chat as one text with role markers."""
QUESTIONS = ("instruction", "prompt", "question", "query", "input", "user", "human")
ANSWERS = ("output", "response", "completion", "answer", "reply", "assistant", "target", "ideal")
_REPLIES = ("output", "response", "completion", "reply", "assistant")
"""Fields that hold the answer to turns which end with a question; `answer` and `target` may hold a key for grading."""
CONTEXTS = ("input", "context")
SYSTEMS = ("system", "system_prompt", "system_message", "systemInstruction", "system_instruction")
CHOSEN = ("chosen", "preferred_output")
REJECTED = ("rejected", "non_preferred_output")
UNWANTED = ("label", "kto_tag")
"""False where the answer of the row is one to be unlearned."""
OWN_COLUMNS = ("spans", "planted", "beside")
COLUMNS = ("messages", "system", "history", "prompt", "context", "response", "rejected", "text")
"""What `--columns` can name."""
_ROLE_KEYS = ("role", "from", "speaker", "author", "sender")
_TEXT_KEYS = ("content", "value", "text", "parts", "message")
_WEIGHTS = ("weight", "train", "trainable", "training", "train_on_turn", "loss")
LONG_NUMBER = 6
"""Digits from which on a number beside the turns is read: a phone, an account or a card may be stored as one."""
_PLUMBING = frozenset({"id", "tool_call_id", "tool_use_id", "call_id", "type", "index"})
"""Keys of a turn or a part that say how it hangs together, and nothing else."""
_WORDS = frozenset({*ROLES, *TOOL_ROLES, "text", "summary_text", "object", "string"})
"""Texts that say what stands beside them, and nothing else."""
_NO_TOKEN = re.compile(r"[^\w:./-]|^\W*\d[\d\W]{5,}$")
"""In an id, what no machine writes: a blank, an @, a number as long as a phone's."""
_CALLS = ("tool_calls", "function_call", "audio")
_MEDIA = frozenset(
    {"image", "image_url", "input_image", "audio", "audio_url", "input_audio", "video", "video_url", "input_video",
     "file", "input_file", "document", "inline_data", "inlineData", "file_data", "fileData", "image_asset_pointer"}
)  # fmt: skip
_BYTES = frozenset({"data", "file_data", "fileData", "b64_json", "base64", "bytes"})
"""Fields of a part that is no text which hold it, encoded."""
_FORMAT = re.compile(r"[\w.+-]+/[\w.+-]+|base64|url|file|auto|low|high|wav|mp3|png|jpe?g|pdf", re.A)
"""What else such a part says of itself: type, encoding, resolution."""
_PART_TYPES = frozenset(
    {"text", "input_text", "output_text", "refusal", "thinking", "reasoning", "tool_use", "tool_call", "tool_result"}
)
_ITEMS = frozenset({"reasoning", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response", "item_reference"})
_SYSTEM_LABEL = re.compile(r"\A\s*SYSTEM:\s*")
_DEEPEST = 100
_OWN_KEY = re.compile(r"\]\.(?=\w+$)")
_IN_TURN = re.compile(rf"(?:{'|'.join(TURNS)})\[(\d+)\]", re.I)
_PYTHON = re.compile(r"\s*[\[{(]+\s*'")
"""A list or an object as Python writes it, which is what pandas puts in a CSV file."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn that the template sends."""

    role: Role
    pieces: tuple[tuple[str, str], ...]
    """(Field of the row, text): what the content is made of."""
    index: int | None = None
    """Its number in the row's list of turns, from 0; None where the row has no such list."""
    trained: bool = True

    @property
    def content(self) -> str:
        """The text that is sent."""
        return "\n\n".join(text for _, text in self.pieces)


@dataclass(frozen=True)
class ChatRow:
    """A row, read."""

    turns: tuple[Turn, ...]
    beside: tuple[FieldText, ...]


def columns_of(text: str, *, answers_alone: bool = False) -> dict[str, str]:
    """Return `prompt=COLUMN,response=COLUMN` as a mapping. Raises UsageError.

    `answers_alone`: whether `response` will do.
    """
    named: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        ours, _, theirs = (part.strip() for part in pair.partition("="))
        if ours not in COLUMNS:
            raise UsageError(f"columns: '{ours}' is none of {', '.join(COLUMNS)}{near(ours, list(COLUMNS))}")
        if not theirs or ours in named:
            raise UsageError(f"columns: '{pair}': give each once, as in prompt=COLUMN,response=COLUMN")
        named[ours] = theirs
    needed = {"response"} if answers_alone else {"prompt", "response"}
    if named and not ({"messages", "text"} & named.keys() or needed <= named.keys()):
        raise UsageError(f"columns: '{text}': name 'messages', 'text', or 'prompt' and 'response'")
    return named


def is_row(value: Mapping[str, Any]) -> bool:
    """Return whether an object is a row by its fields, and not something that rows stand in."""
    value, _ = _with_usual_keys(value)
    keys = {key for key, each in value.items() if each is not None}
    turns = any(
        isinstance(_transposed(value[key]) if isinstance(value[key], Mapping) else value[key], list | str)
        for key in TURNS[:-2]
        if key in keys
    )
    texts = isinstance(value.get("text"), str) or _alternating(value.get("data")) or _are_turns(value.get("items"))
    asked = next((key for key in QUESTIONS if key in keys), None)
    pair = asked is not None and (any(key in keys and key != asked for key in ANSWERS) or _holds_answer(value[asked]))
    return bool(turns or texts or pair or keys & {*CHOSEN, MARK})


def conversation(row: Any, where: str, number: int, columns: Mapping[str, str] | None = None) -> Conversation:
    """Return a row as a conversation.

    Args:
        row: What the file holds.
        where: File and row, for error messages.
        number: Of the row in its file: it goes into the id of a row that has none.
        columns: As of `columns_of`.

    Raises DataError (file, row, field) for a row of no known form or with what is no text where text belongs.
    """
    if not isinstance(row, Mapping):
        raise DataError(f"{where}: expected an object, found {type(row).__name__}")
    read = parse(row, where, columns)
    messages = tuple(
        Message(turn.role, _sound(turn.content, f"{where}: {_shown(turn.pieces[0][0])}"), turn.trained)
        for turn in read.turns
    )
    if not is_own(row):  # whose id is not ours may be a person's, or the same in many rows
        return Conversation(digest(str(number), messages), messages, None, where, False, read.beside)
    spans = _spans(row["spans"], messages, read.beside, where) if row.get("spans") is not None else None
    ident = _sound(str(row["id"]), f"{where}: id") if row.get("id") else digest(str(number), messages)
    return Conversation(ident, messages, spans, where, row.get("planted") is True, read.beside)


def is_own(row: Mapping[str, Any]) -> bool:
    """Return whether `aftertune compose` wrote a row."""
    return row.get(MARK) == OWN_ROW


def parse(
    row: Mapping[str, Any], where: str, columns: Mapping[str, str] | None = None, *, chat: bool = True
) -> ChatRow:
    """Return the turns of a row and every other text in it.

    `chat`: whether a row without turns is an error, as it is for what is tuned on; else all its texts are `beside`,
    and a text with role markers stays one text. Raises DataError as `conversation` does.
    """
    there = {str(key): value for key, value in row.items() if value is not None}
    reader = _Reader(where)
    own = is_own(row)
    marked = own and "spans" in there
    stored: Any = []
    if own:
        stored = there.pop("beside", [])
        for name in (MARK, "spans", "planted", "id"):
            there.pop(name, None)
    if not isinstance(stored, list) or not all(_is_stored(each) for each in stored):
        raise DataError(f"{where}: beside: expected [field, text, kind]")
    given: Mapping[str, str] = {}
    if columns and not (own and "messages" in there):
        _named(reader, there, columns, chat)
    else:
        there, given = _with_usual_keys(there)
        reader.given = given
        _recognised(reader, there, chat)
    for key, value in there.items():
        reader.leaves(value, key, key)
    turns = tuple(reader.turns)
    # Rows repeat the prompt as a column, or in each of several answers; any other text counts where it stands.
    asked = {text for turn in turns if turn.role != "assistant" for _, text in turn.pieces}
    found = [each for each in reader.beside if not (each.text in asked and top(each.field) in _REPEATING)]
    if chat and not turns and not found:
        raise DataError(f"{where}: no turn in it")
    if own:
        known = [FieldText(*each) for each in stored]
        if marked:  # spans count the stored texts, and nobody has said what is personal in the others
            found = [FieldText(each.field, "", "marked") if chat and each.text else each for each in found]
        return ChatRow(turns, (*known, *(each for each in found if each not in known)))
    found += [FieldText(name, "", "media") for turn in turns for name, text in turn.pieces for _ in encoded(text)]
    order = {key: index for index, key in enumerate(row)}
    if given:
        turns = tuple(
            replace(turn, pieces=tuple((_given(n, given), text) for n, text in turn.pieces)) for turn in turns
        )
        found = [replace(each, field=_given(each.field, given)) for each in found]
    found.sort(key=lambda each: order.get(top(each.field), -1))
    theirs = (FieldText(name, "", NOT_OURS) for name in OWN_COLUMNS if row.get(name) is not None)
    return ChatRow(turns, (*found, *theirs))


_REPEATING = frozenset({*QUESTIONS, *SYSTEMS, *CHOSEN, *REJECTED})
"""Fields in which rows repeat what a turn asks."""
_USUAL = {
    key.casefold(): key
    for key in (*TURNS, *QUESTIONS, *ANSWERS, *CONTEXTS, *SYSTEMS, *CHOSEN, *REJECTED, *UNWANTED, *WRITTEN, "history")
}
"""Fields that are known by their names, in small letters."""
_USUAL_IN_TURNS = {key: key for key in (*_ROLE_KEYS, *_TEXT_KEYS, *QUESTIONS, *ANSWERS)}


def _with_usual_keys(
    row: Mapping[str, Any], usual: Mapping[str, str] = _USUAL
) -> tuple[dict[str, Any], Mapping[str, str]]:
    """Return a row whose known fields have their usual case (`Instruction`), and that name -> the row's own."""
    new: dict[str, Any] = {}
    given: dict[str, str] = {}
    for key, value in row.items():
        name = usual.get(str(key).strip().casefold(), key)
        if name == key or name in row or name in new:
            new[str(key)] = value
        else:
            new[name], given[name] = value, str(key)
    return new, given


def _given(name: str, given: Mapping[str, str]) -> str:
    """Return a field as the row names it."""
    first = top(name)
    return given.get(first, first) + name[len(first) :]


def _is_stored(each: object) -> bool:
    return isinstance(each, list) and len(each) == 3 and all(isinstance(part, str) for part in each)


def turn_of(name: str) -> int | None:
    """Return the number of the turn that a field stands in; None for one outside the turns."""
    found = _IN_TURN.match(name)
    return int(found.group(1)) if found else None


def top(name: str) -> str:
    """Return the row's own field of a field within it."""
    return re.split(r"[.\[]", name, maxsplit=1)[0]


def _shown(name: str) -> str:
    """Return a field as error messages have it: `messages[0]: content`."""
    return _OWN_KEY.sub("]: ", name)


def _sound(text: str, where: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f"{where}: holds half of a surrogate pair, which is not text") from None
    return text


def _spans(rows: Any, messages: Sequence[Message], beside: Sequence[FieldText], where: str) -> tuple[Span, ...]:
    texts = [*(message.content for message in messages), *(each.text for each in beside)]
    try:
        spans = tuple(Span(*row) for row in rows)
        fits = all(
            0 <= s.message < len(texts)
            and 0 <= s.start < s.end <= len(texts[s.message])
            and all(isinstance(text, str) and text.encode() for text in (s.type, s.owner, s.part))
            and all(type(number) is int for number in (s.message, s.start, s.end))
            for s in spans
        )
    except (TypeError, IndexError, UnicodeEncodeError):
        fits = False
    if not fits:
        raise DataError(f"{where}: spans: expected [message, start, end, type, owner, part] within the messages' text")
    return spans


def all_texts(row: Mapping[str, Any], where: str) -> ChatRow:
    """Return every text of a row with its field, whatever form it has. Raises DataError for one nested too deep."""
    reader = _Reader(where)
    for key, value in row.items():
        reader.leaves(value, str(key), str(key))
    return ChatRow((), tuple(reader.beside))


# ---------------------------------------------------------------------------------------------- forms


def _named(reader: _Reader, there: dict[str, Any], columns: Mapping[str, str], chat: bool) -> None:
    """Read the columns that the user named."""
    for name in columns.values():
        if name not in there and (inner := _within(there, name)) is not None:
            there.update(_without(there, name))
            there[name] = inner
    for ours, theirs in columns.items():
        if theirs not in there and ours not in ("system", "history", "context", "rejected"):
            known = shown_fields(there, 12)
            raise DataError(f"{reader.where}: no column '{theirs}' for {ours} (there: {known})")
    taken = {ours: (theirs, there.pop(theirs, None)) for ours, theirs in columns.items()}
    if "messages" in taken:
        theirs, value = taken["messages"]
        reader.turns_of(value, theirs, theirs)
    elif "text" in taken:
        theirs, value = taken["text"]
        if not chat:
            reader.leaves(value, theirs, theirs)
        elif not reader.transcript(reader.text(value, theirs), theirs):
            raise DataError(f"{reader.where}: {theirs}: no role markers in it")
    if "history" in taken and taken["history"][1] is not None:
        reader.turns_of(taken["history"][1], *2 * (taken["history"][0],), empty=True)
    if "prompt" in taken:
        asked = reader.question(taken["prompt"][1], taken["prompt"][0])
        if taken.get("context", ("", None))[1] is not None:
            reader.context(asked, taken["context"][1], taken["context"][0])
    if "response" in taken:
        reader.side(taken["response"][1], taken["response"][0], "assistant")
    if "rejected" in taken:
        reader.leaves(taken["rejected"][1], taken["rejected"][0], "rejected")
    if "system" in taken and taken["system"][1] is not None:
        reader.system(taken["system"][1], taken["system"][0])


def _within(row: Mapping[str, Any], name: str) -> Any:
    """Return what a name with dots leads to, such as `body.messages`; None where it leads nowhere."""
    value: Any = row
    for key in name.split("."):
        value = _decoded(value.get(key)) if isinstance(value, Mapping) else None
    return value


def _without(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a row without what a name with dots leads to, which is read on its own."""
    first, _, rest = name.partition(".")
    if not rest:
        return {key: value for key, value in row.items() if key != first}
    return {**row, first: _without(_decoded(row[first]), rest)}


def _recognised(reader: _Reader, there: dict[str, Any], chat: bool) -> None:
    """Read the turns of a row by its fields' names and take what was read out of `there`."""
    turns = next((key for key in TURNS if key in there and _is_turns(there[key], key)), None)
    chosen = next((key for key in CHOSEN if key in there), None)
    asked = next((key for key in QUESTIONS if key in there), None)
    answer = next((key for key in ANSWERS if key in there and key != asked), None)
    system = next((key for key in SYSTEMS if key in there), None)
    written = next((key for key in WRITTEN if chat and isinstance(there.get(key), str)), None)
    if turns is None and answer is None and asked is not None and _holds_answer(there[asked]):
        turns = asked
    if turns is not None and turns == written and reader.transcript(there[turns], turns):
        del there[turns]
    elif turns is not None:
        reader.turns_of(there.pop(turns), turns, turns)
        if chosen is not None:
            reader.side(there.pop(chosen), chosen, "assistant")
        elif any(_is_unwanted(there.get(name)) for name in UNWANTED):
            reader.reject_last()
        elif answer in _REPLIES and reader.turns and reader.turns[-1].role == "user" and _is_side(there[answer]):
            reader.side(there.pop(answer), answer, "assistant")
    elif chosen is not None:
        _preferred(reader, there, chosen, asked)
    elif asked is not None and answer is not None:
        if system is None and "instructions" in there and _are_turns(there[answer]):
            system = "instructions"  # the system prompt of a response of OpenAI's
        if there.get("history") is not None:
            reader.turns_of(there.pop("history"), "history", "history", empty=True)
        question = reader.question(there.pop(asked), asked)
        if context := next((key for key in CONTEXTS if key in there and key not in (asked, answer)), None):
            reader.context(question, there.pop(context), context)
        if any(_is_unwanted(there.get(name)) for name in UNWANTED):
            reader.leaves(there.pop(answer), answer, "rejected")
        else:
            reader.side(there.pop(answer), answer, "assistant")
    elif written is not None and reader.transcript(there[written], written):
        del there[written]
    elif chat:
        known = shown_fields((reader.given.get(name, name) for name in there), 8)
        raise DataError(
            f"{reader.where}: expected 'messages', 'conversations', 'instruction' with 'output', 'prompt' with "
            f"'response' or 'completion', 'question' with 'answer', or 'chosen'; found the fields: {known}; name yours "
            "with columns: prompt=COLUMN,response=COLUMN"
        )
    for key in REJECTED:
        if key in there:
            reader.leaves(there.pop(key), key, "rejected")
    if system is not None and reader.turns:
        reader.system(there.pop(system), system)


def _preferred(reader: _Reader, there: dict[str, Any], chosen: str, asked: str | None) -> None:
    """Read a preference row: the prompt, if it stands apart, and the chosen answer."""
    value = _decoded(there.pop(chosen))
    if isinstance(value, str) and asked is None and reader.transcript(value, chosen):
        return
    whole_chat = isinstance(value, list) and any(isinstance(t, Mapping) and _role(t) == "user" for t in value)
    if asked is not None and not whole_chat:
        reader.question(there.pop(asked), asked)
    reader.side(value, chosen, "assistant")


def _is_side(value: Any) -> bool:
    """Return whether a value is one answer: a text or a turn."""
    value = _decoded(value)
    if isinstance(value, list):
        return _are_turns(value)
    return (isinstance(value, str) and bool(value.strip())) or (isinstance(value, Mapping) and _role(value) is not None)


def _is_turns(value: Any, key: str) -> bool:
    value = _decoded(value)
    if key == "data" and _alternating(value):
        return True
    if key in ("items", "data"):
        return _are_turns(value)
    return isinstance(value, list | Mapping) or key in TURNS[:2]


def _are_turns(value: Any) -> bool:
    """Return whether a value is a list of turns with roles, or of the items that stand beside them."""
    value = _decoded(value)
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(turn, Mapping) and (_role(turn) is not None or _item_kind(turn)) for turn in value)
    )


def _begins_with_turn(value: Sequence[Any]) -> bool:
    return bool(value) and isinstance(value[0], Mapping) and _role(value[0]) is not None


def _holds_answer(value: Any) -> bool:
    value = _decoded(value)
    return _are_turns(value) and {"user", "assistant"} <= {_role(turn) for turn in value}


def _item_kind(item: Mapping[str, Any]) -> str:
    """Return what an item of OpenAI's Responses API that is no message counts as; empty for any other object."""
    kind = item.get("type")
    if not isinstance(kind, str) or any(key in item for key in _ROLE_KEYS):
        return ""
    if kind.endswith("_output"):
        return "tool turn"
    return "tool_calls" if kind.endswith("_call") else kind if kind in _ITEMS else ""


def _alternating(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value)


def _decoded(value: Any) -> Any:
    """Return a list or an object that a table holds as JSON, or as Python writes it, else the value itself."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value, object_pairs_hook=unique)
    except (ValueError, RecursionError):
        pass
    if not _PYTHON.match(value):
        return value
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's on odd escapes
            return ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return value


def _role(turn: Mapping[str, Any]) -> str | None:
    turn, _ = _with_usual_keys(turn, _USUAL_IN_TURNS)
    raw = next((turn[key] for key in _ROLE_KEYS if isinstance(turn.get(key), str)), None)
    return None if raw is None else ROLES.get(raw.strip().casefold())


def _plain_role(turn: Any) -> Role | None:
    """Return the role of a turn that is a role and a text and nothing else; None for any other."""
    if not isinstance(turn, dict) or turn.keys() != {"role", "content"}:
        return None
    role, content = turn["role"], turn["content"]
    plain = isinstance(role, str) and isinstance(content, str) and not content.startswith('[{"')
    return ROLES.get(role) if plain else None


@dataclass
class _Reader:
    """Collects what a row says."""

    where: str
    turns: list[Turn] = field(default_factory=list)
    beside: list[FieldText] = field(default_factory=list)
    given: Mapping[str, str] = field(default_factory=dict)
    """Usual name of a field -> the row's own."""
    written: bool = False
    """Whether the question is a chat in one text."""
    opening: str = ""
    """The opening tag of a thought with which that text ends."""

    def fail(self, name: str, why: str) -> DataError:
        """Return the error for a field."""
        return DataError(f"{self.where}: {_shown(name)}: {why}")

    def leaves(self, value: Any, name: str, kind: str, depth: int = 0) -> None:
        """Add every text below a value."""
        if isinstance(value, str):
            inner = _decoded(value) if depth < _DEEPEST else value
            if isinstance(inner, list | Mapping):
                self.leaves(inner, name, kind, depth + 1)
            elif is_encoded(value):
                self.beside.append(FieldText(name, "", "media"))
            elif value.strip() and value.casefold() not in _WORDS:
                self.beside.append(FieldText(name, whole(value), kind))
                self.beside += [FieldText(name, "", "media") for _ in encoded(value)]
        elif isinstance(value, bytes):
            self.beside.append(FieldText(name, "", "media"))
        elif isinstance(value, datetime.date) or (type(value) is int and abs(value) >= 10 ** (LONG_NUMBER - 1)):
            self.beside.append(FieldText(name, str(value), kind))
        elif isinstance(value, Mapping | list | tuple):
            if depth >= _DEEPEST:
                raise self.fail(name[:200], "nested too deeply")
            keys = [str(key) for key in value] if isinstance(value, Mapping) else []
            for number, each in enumerate(value.values() if isinstance(value, Mapping) else value):
                below = f"{name}[{number}]"
                if keys and is_plain_key(keys[number]):
                    below = f"{name}.{keys[number]}"
                elif keys:  # whose key may be somebody's name: it is a text, and shown nowhere
                    self.leaves(keys[number], f"{below}.key", kind, depth + 1)
                self.leaves(each, below, kind, depth + 1)

    def text(self, value: Any, name: str) -> str:
        """Return a content: a text, or the texts of its parts; what else is in it is beside."""
        text = self.maybe_text(value, name)
        if text is None:
            raise self.fail(name, "expected text, found NoneType")
        return text

    def maybe_text(self, value: Any, name: str) -> str | None:
        """Return a content as `text` does, or None where there is none."""
        if isinstance(value, str) and value.startswith('[{"') and _is_parts(parts := _decoded(value)):
            value = parts
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, Mapping):
            value = value["parts"] if isinstance(value.get("parts"), list) else [value]
        if not isinstance(value, list | tuple) or not all(isinstance(part, str | Mapping) for part in value):
            raise self.fail(name, f"expected text, found {type(value).__name__}")
        texts = [self.part(part, f"{name}[{index}]") for index, part in enumerate(value)]
        known = [text for text in texts if text is not None]
        return "".join(known) if known or not value else None

    def part(self, part: str | Mapping[str, Any], name: str) -> str | None:
        """Return the text of one part of a content, None for one that is no text."""
        if isinstance(part, str):
            if not is_encoded(part):
                return part
            self.beside.append(FieldText(name, "", "media"))
            return None
        there = {key: value for key, value in part.items() if value is not None}
        kind = str(there.get("type") or there.get("content_type") or "")
        if isinstance(there.get("text"), Mapping) and isinstance(there["text"].get("value"), str):
            inner = dict(there.pop("text"))
            there = {"text": inner.pop("value"), **inner, **there}
        text = next((there.pop(key) for key in ("text", "refusal") if isinstance(there.get(key), str)), None)
        no_text = kind in _MEDIA or (text is None and bool(_MEDIA & there.keys()))
        if text is not None and is_encoded(text):
            text, no_text = None, True
        before = len(self.beside)
        for key, each in there.items():
            if key not in ("type", "index") and not self.is_plumbing(key, each):
                self.leaves(_without_bytes(each) if no_text else each, f"{name}.{key}", kind or key)
        if no_text:  # one thing, however often its encoding says so
            said = [each for each in self.beside[before:] if each.kind != "media" and each.text]
            self.beside[before:] = [FieldText(name, "", "media"), *said]
        return text

    def is_plumbing(self, key: str, value: Any) -> bool:
        """Return whether a field says how turns hang together, and nothing else."""
        return key in _PLUMBING and not (isinstance(value, str) and _NO_TOKEN.search(value))

    def turns_of(self, value: Any, name: str, shown: str, *, empty: bool = False) -> None:
        """Add the turns of a list."""
        value = _decoded(value)
        if isinstance(value, Mapping):
            value = _transposed(value)
        if not isinstance(value, list | tuple) or not (value or empty):
            raise self.fail(shown, "expected a list of turns that is not empty")
        if _are_pairs_with_roles(value):
            value = [{"role": role, "content": text} for role, text in value]
        for index, turn in enumerate(value):
            at = f"{name}[{index}]"
            if (role := _plain_role(turn)) is not None:  # nearly every turn: nothing to look for in it
                self.turns.append(Turn(role, ((f"{at}.content", turn["content"]),), index))
            elif isinstance(turn, str):
                self.turns.append(Turn("assistant" if index % 2 else "user", ((at, turn),), index))
            elif isinstance(turn, list | tuple) and len(turn) == 2:
                for number, each in enumerate(turn):
                    if (text := self.maybe_text(each, f"{at}[{number}]")) is not None:
                        self.turns.append(Turn("assistant" if number else "user", ((f"{at}[{number}]", text),), index))
            elif isinstance(turn, Mapping) and (kind := _item_kind(turn)):
                self.rest({str(k): v for k, v in turn.items() if v is not None}, at, kind)
            elif isinstance(turn, Mapping):
                turn, _ = _with_usual_keys(turn, _USUAL_IN_TURNS)
                self.turn({str(k): v for k, v in turn.items() if v is not None}, at, index, turn)
            else:
                raise self.fail(at, "expected an object with 'role' and 'content'")

    def turn(self, turn: dict[str, Any], at: str, index: int, given: Mapping[str, Any]) -> None:
        """Add one turn with its role and content, and what stands beside them."""
        role_key = next((key for key in _ROLE_KEYS if isinstance(turn.get(key), str)), None)
        text_key = next((key for key in _TEXT_KEYS if key in turn), None)
        if role_key is None:
            asked = next((key for key in QUESTIONS if key in turn), None)
            answer = next((key for key in ANSWERS if key in turn and key != asked), None)
            if asked is None or answer is None:
                raise self.fail(at, "expected an object with 'role' and 'content'")
            self.turns.append(Turn("user", ((f"{at}.{asked}", self.text(turn.pop(asked), f"{at}.{asked}")),), index))
            said = self.text(turn.pop(answer), f"{at}.{answer}")
            self.turns.append(Turn("assistant", ((f"{at}.{answer}", said),), index))
            self.rest(turn, at)
            return
        raw = turn.pop(role_key)
        name = raw.strip().casefold()
        called = any(turn.get(key) for key in _CALLS)
        if text_key is None and not called and not any(key in given for key in (*_TEXT_KEYS, "refusal")):
            raise self.fail(at, "expected an object with 'role' and 'content'")
        if name in TOOL_ROLES:
            self.rest(turn, at, "tool_calls" if "call" in name else "tool turn")
            return
        role = ROLES.get(name)
        if role is None:
            raise self.fail(at, unknown_role(raw))
        before = len(self.beside)
        text = self.maybe_text(turn.pop(text_key), f"{at}.{text_key}") if text_key else None
        called = called or len(self.beside) > before
        if text is None and isinstance(turn.get("refusal"), str):
            text_key, text = "refusal", turn.pop("refusal")
        trained = role != "assistant" or not any(_is_zero(turn.get(key)) for key in _WEIGHTS)
        if not trained:
            self.beside.append(FieldText(at, "", "weight 0"))
        if text or (text is not None and not called):
            self.turns.append(Turn(role, ((f"{at}.{text_key}", text),), index, trained))
        elif not called:
            self.beside.append(FieldText(at, "", "turn without text"))
        for key in _WEIGHTS:
            turn.pop(key, None)
        self.rest(turn, at)

    def rest(self, turn: Mapping[str, Any], at: str, kind: str = "") -> None:
        """Add what else stands in a turn."""
        for key, value in turn.items():
            if not self.is_plumbing(key, value):
                self.leaves(value, f"{at}.{key}", kind or key)

    def side(self, value: Any, name: str, role: Role) -> int:
        """Add one side of a pair (a text, a turn, or a list of turns) and return the number of its last turn."""
        value = _decoded(value)
        if isinstance(value, Mapping) and isinstance(value.get("messages"), list):
            self.turns_of(value["messages"], f"{name}.messages", name)
            self.rest({key: each for key, each in value.items() if key != "messages"}, name)
        elif isinstance(value, Mapping) and any(str(key).casefold() in _ROLE_KEYS for key in value):
            value, _ = _with_usual_keys(value, _USUAL_IN_TURNS)
            self.turn({key: each for key, each in value.items() if each is not None}, name, 0, value)
        elif _are_turns(value) or (isinstance(value, list) and _begins_with_turn(value)):
            self.turns_of(value, name, name)
        elif _alternating(value) and len(value) > 1:
            raise self.fail(name, "expected one text, found a list of them")
        else:
            text = self.text(value, name)
            self.turns.append(Turn(role, ((name, self.completed(text) if self.written else text),)))
        return len(self.turns) - 1

    def question(self, value: Any, name: str) -> int:
        """Add what is asked as `side` does; of a text that is a chat up to the next answer, each turn."""
        before = len(self.turns)
        parts, self.opening = asked_parts(value) if isinstance(value, str) else ([], "")
        self.written = bool(parts)
        for role, content in parts:
            if role == "tool":
                self.leaves(content, name, "tool turn")
            elif role is not None and content:
                self.turns.append(Turn(role, ((name, content),)))
        return len(self.turns) - 1 if len(self.turns) > before else self.side(value, name, "user")

    def completed(self, answer: str) -> str:
        """Return the answer to a chat in one text, without the marks of its end and with the thought's opening tag."""
        answer = without_end(answer)
        return answer if answer.lstrip().startswith(self.opening) else f"{self.opening}\n{answer}"

    def context(self, asked: int, value: Any, name: str) -> None:
        """Add what follows a question, such as Alpaca's `input`."""
        text = self.text(value, name)
        if text and asked >= 0:
            turn = self.turns[asked]
            self.turns[asked] = Turn(turn.role, (*turn.pieces, (name, text)), turn.index, turn.trained)

    def reject_last(self) -> None:
        """Put the last answer beside the turns."""
        if self.turns and self.turns[-1].role == "assistant":
            for name, text in self.turns.pop().pieces:
                self.leaves(text, name, "rejected")

    def system(self, value: Any, name: str) -> None:
        """Add a row's system prompt before its turns; where they have one of their own, beside them."""
        text = _SYSTEM_LABEL.sub("", self.text(value, name))
        if self.turns and self.turns[0].role == "system":
            self.leaves(value, name, name)
        elif text:
            self.turns.insert(0, Turn("system", ((name, text),)))

    def transcript(self, text: str, name: str) -> bool:
        """Add the turns of a text with role markers; False where it has none."""
        parts = parts_of(text)
        for role, content in parts:
            if role is None or role == "tool":
                self.leaves(content, name, "tool turn" if role else "outside the turns")
            elif content:
                self.turns.append(Turn(role, ((name, content),)))
        return bool(parts)


def _without_bytes(value: Any) -> Any:
    """Return what an image, a sound or a file says beside its bytes and its format."""
    if isinstance(value, Mapping):
        return {
            key: _without_bytes(each)
            for key, each in value.items()
            if not (isinstance(each, str) and key in _BYTES and BASE64.fullmatch(each))
        }
    if isinstance(value, list | tuple):
        return [_without_bytes(each) for each in value]
    return None if isinstance(value, str) and _FORMAT.fullmatch(value) else value


def _is_parts(value: Any) -> bool:
    """Return whether a decoded text is a content in parts, and not an answer that is written as JSON."""
    return isinstance(value, list) and all(
        isinstance(part, Mapping) and (isinstance(part.get("text"), str) or part.get("type") in {*_PART_TYPES, *_MEDIA})
        for part in value
    )


def _is_unwanted(label: Any) -> bool:
    """Return whether a row's label says that its answer is to be unlearned; CSV files hold words."""
    return label is False or (isinstance(label, str) and label.strip().casefold() == "false")


def _is_zero(value: Any) -> bool:
    """Return whether a weight says that a turn is not tuned on."""
    if isinstance(value, str):
        return value.strip().casefold() in ("0", "0.0", "false")
    return isinstance(value, int | float) and value == 0


def _are_pairs_with_roles(turns: Sequence[Any]) -> bool:
    """Return whether turns are (role, text) pairs, and not (question, answer) pairs."""
    return bool(turns) and all(
        isinstance(turn, list | tuple)
        and len(turn) == 2
        and isinstance(turn[0], str)
        and turn[0].strip().casefold() in {*ROLES, *TOOL_ROLES}
        for turn in turns
    )


def _transposed(value: Mapping[str, Any]) -> Any:
    """Return turns that are stored as one list a field, as Arrow has sequences of records, as a list of records."""
    lists = {key: each for key, each in value.items() if isinstance(each, list)}
    lengths = {len(each) for each in lists.values()}
    if len(lists) == len(value) and len(lengths) == 1 and any(key in lists for key in _ROLE_KEYS):
        return [dict(zip(lists, each, strict=True)) for each in zip(*lists.values(), strict=True)]
    return value
