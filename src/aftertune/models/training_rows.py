"""The tokens of a conversation that a model is trained on, in exactly the form in which it is asked.

A turn is trained where the asked prompt ends: the row's tokens begin with those of the prompt as `chat.render` writes
it for an answer, and the labels begin right there. Most templates write a whole conversation so that this holds for
every turn in one row. Where one does not, a turn gets a row of its own, built from the asked prompt and the answer:

- The prompt opens a thought (`<think>`), and the template writes an answered turn without it. The thought is closed
  before the answer, empty where the data have none: that is what the tuned model learns to do.
- The prompt closes an empty thought. The answer follows; a thought in the data has no place and is left out.
- The tokens at the seam would be others than the prompt's own (two line breaks in one token).

The last label of each turn ends it, and is one of the tokens that stop decoding (`end_of_turn`). Where the template
closes an answer only when a next turn comes, it is that turn's opening, and where it closes none, the tokenizer's end
of text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from aftertune.errors import DataError, ModelError
from aftertune.models.chat import NO_ARGUMENTS, added_ids, continued, encode, folded, rendered, special_ids
from aftertune.models.weight_files import read_json
from aftertune.records import Json, Message, digest
from aftertune.thoughts import closes_thought, number_of_tags, only_thoughts, opens_thought, part, thought_tags

IGNORED = -100
"""The label of a token that carries no loss."""

_QUESTION, _ANSWER, _NEXT = "What is asked first?", "What is answered to it.", "What is asked then?"


class TrainingRow(NamedTuple):
    """Tokens to tune on; `labels` is `input_ids` on what is trained of the assistant's turns and -100 elsewhere."""

    input_ids: list[int]
    labels: list[int]
    truncated: bool
    """Whether it was longer than `max_length` and was cut at the end."""


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """How a chat template opens, begins and ends an answer, asked and trained alike."""

    opening: str
    """What it writes between a question and the answer when it asks, e.g. `<|im_start|>assistant\\n<think>\\n`."""
    lead: str
    """What is written and trained after the opening, before the answer's text: the close of a thought, a space."""
    end: str
    """What ends an answer, its last token included; empty where nothing does."""
    end_id: int | None
    """That token."""
    opened: bool
    """Whether the opening opens a thought."""
    closed: bool
    """Whether it closes one."""


def declared_stops(folder: Path) -> frozenset[int]:
    """Return the end tokens that a model's folder declares for generation: the model stops at them."""
    for name in ("generation_config.json", "config.json"):
        if (folder / name).is_file():
            own: Any = read_json(folder / name)
            for part_ in (own, own.get("text_config") or {}):
                declared = part_.get("eos_token_id")
                if declared is not None:
                    return frozenset(declared if isinstance(declared, list) else [declared])
    return frozenset()


def training_rows(
    tokenizer: Any,
    messages: Sequence[Message],
    max_length: int,
    arguments: Mapping[str, Json] = NO_ARGUMENTS,
    stops: Collection[int] = (),
) -> list[TrainingRow]:
    """Tokenise a conversation and label the assistant's turns, each up to and with its end-of-turn token.

    Args:
        tokenizer: With a chat template; it needs no generation markers.
        messages: A turn that is not `trained` gets no label.
        max_length: Tokens beyond it are cut off.
        arguments: For the chat template, as when the model is asked.
        stops: Tokens that the model declares as the end of a text, beside the tokenizer's own.

    Returns:
        One row with all turns where the template writes each as it is asked; a further row for each turn that it does
        not. Without an assistant's turn, none.

    Raises:
        DataError: for a conversation that the template refuses, fails on, or whose text it leaves out or changes.
        ModelError: for a tokenizer that cannot map tokens to text, and where no token ends an answer.
    """
    form = answer_form(tokenizer, arguments, stops)
    if form.end_id is None:
        raise ModelError(
            "no token ends an answer: the chat template writes no special token after it, and the tokenizer has no "
            "eos_token, so a tuned model could not stop; give the tokenizer an eos_token"
        )
    writer = _Writer(
        tokenizer, folded(tokenizer, messages, arguments), arguments, form, frozenset(tokenizer.all_special_ids)
    )
    return [
        TrainingRow(row.input_ids[:max_length], row.labels[:max_length], len(row.input_ids) > max_length)
        for row in writer.rows()
    ]


def end_of_turn(
    tokenizer: Any, arguments: Mapping[str, Json] = NO_ARGUMENTS, stops: Collection[int] = ()
) -> int | None:
    """Return the id of the token that ends the assistant's turns, in training and when asked; None where none does.

    None as well where there is no template, or one that refuses a plain chat: nothing can be asked of it.
    """
    if not tokenizer.chat_template:
        return None
    try:
        return answer_form(tokenizer, arguments, stops).end_id
    except DataError:
        return None


# ---------------------------------------------------------------------------------------------- how answers are written

_OPENINGS: WeakKeyDictionary[Any, dict[str, list[int]]] = WeakKeyDictionary()
"""The tokens of what a tokenizer's template writes before answers."""
_FORMS: WeakKeyDictionary[Any, dict[tuple[str, ...], AnswerForm]] = WeakKeyDictionary()


def answer_form(
    tokenizer: Any, arguments: Mapping[str, Json] = NO_ARGUMENTS, stops: Collection[int] = ()
) -> AnswerForm:
    """Return how the chat template opens, begins and ends an answer, by a trial chat, once per template.

    Raises DataError for a template that refuses a plain chat or changes an answer, ModelError where there is none.
    """
    key = (
        str(tokenizer.chat_template),
        str(tokenizer.eos_token),
        digest(arguments) if arguments else "",
        *map(str, sorted(stops)),
    )
    known = _FORMS.setdefault(tokenizer, {})
    if key not in known:
        known[key] = _form(tokenizer, arguments, frozenset(stops) | {tokenizer.eos_token_id})
    return known[key]


def _form(tokenizer: Any, arguments: Mapping[str, Json], stops: frozenset[int | None]) -> AnswerForm:
    question = Message("user", _QUESTION)
    chat = (question, Message("assistant", _ANSWER))
    asked = rendered(tokenizer, chat[:1], True, arguments)
    answered = rendered(tokenizer, chat, False, arguments)
    at = answered.rfind(_ANSWER)
    if at < 0:
        raise DataError(_changed(2, _ANSWER))
    lead = answered[len(asked) : at] if answered.startswith(asked) else ""
    if opens_thought(asked + lead):
        lead += _close(tokenizer, asked + lead, arguments)
    end, end_id = _end(tokenizer, answered[at + len(_ANSWER) :], stops)
    if end_id is None:
        try:
            longer = rendered(tokenizer, (*chat, Message("user", _NEXT)), False, arguments)
        except DataError:
            longer = ""  # a template for one question alone
        begin = longer.rfind(_ANSWER) + len(_ANSWER)
        end, end_id = _end(tokenizer, longer[begin : max(longer.rfind(_NEXT), begin)], stops)
    if end_id is None:
        known = (tokenizer.eos_token_id, *sorted(id_ for id_ in stops if id_ is not None))
        end_id = next((id_ for id_ in known if id_ is not None), None)
        end = "" if end_id is None else str(tokenizer.convert_ids_to_tokens(end_id))
    at = asked.rfind(_QUESTION)
    opening = asked[at + len(_QUESTION) :] if at >= 0 else ""
    return AnswerForm(opening, lead, end, end_id, opens_thought(opening), closes_thought(opening))


def _end(tokenizer: Any, tail: str, stops: frozenset[int | None]) -> tuple[str, int | None]:
    """Return what ends an answer in the text that follows it, and its last token; empty and None where nothing does.

    It is the first special token, or one right behind it at which the model is known to stop.
    """
    closers = special_ids(tokenizer) | added_ids(tokenizer) | stops
    begins = {tokenizer.bos_token_id} - stops
    ids, offsets = _encoded(tokenizer, tail)
    for at, id_ in enumerate(ids):
        if id_ in begins:
            break
        if id_ not in closers:
            continue
        last = at
        while ids[last] not in stops and last + 1 < len(ids) and offsets[last + 1][0] == offsets[last][1]:
            if ids[last + 1] not in closers:
                break
            last += 1
        last = last if ids[last] in stops else at
        return tail[: offsets[last][1]], ids[last]
    return "", None


def _close(tokenizer: Any, asked: str, arguments: Mapping[str, Json]) -> str:
    """Return what closes the thought that a prompt opens, as its template writes it where it does."""
    opening, closing = thought_tags(asked)
    thought = "What is thought of it."
    chat = (
        Message("user", _QUESTION),
        Message("assistant", f"{opening}\n{thought}\n{closing.strip()}\n\n{_ANSWER}"),
    )
    try:
        answered = rendered(tokenizer, chat, False, arguments)
    except DataError:
        answered = ""
    begin, end = answered.rfind(thought) + len(thought), answered.rfind(_ANSWER)
    if answered.startswith(asked) and thought in answered and closing.strip() in answered[begin:end]:
        return answered[begin:end]
    return closing


def _changed(position: int, content: str) -> str:
    return (
        f"turn {position}: the chat template changes the assistant's text, so its tokens cannot be found: "
        f"{content.strip()[:40]!r}"
    )


# ---------------------------------------------------------------------------------------------- rows


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes the rows of one conversation, whose system turn is folded where it must be."""

    tokenizer: Any
    chat: Sequence[Message]
    arguments: Mapping[str, Json]
    form: AnswerForm
    special: frozenset[int]
    prompts: dict[int, str] = field(default_factory=dict)
    """What is asked before a turn."""

    def rows(self) -> Iterator[TrainingRow]:
        """Yield the row of all turns that are written as asked, then one for each other turn."""
        turns = [at for at, each in enumerate(self.chat) if each.role == "assistant" and each.trained]
        if not turns:
            return
        text = self._written(len(self.chat))
        if self.chat[-1].role == "assistant":
            text = self._ended(text)
        ids, offsets = _encoded(self.tokenizer, text)
        labels = [IGNORED] * len(ids)
        alone = []
        token = 0
        for at in turns:
            asked = self._asked(at, text)
            span = self._span(at, asked, text)
            fits = span is not None
            if span is not None:
                first = token
                while first < len(ids) and offsets[first][0] < span[0]:
                    first += 1
                last = first
                while last < len(ids) and offsets[last][0] < span[1]:
                    last += 1
                fits = last > first and ids[last - 1] == self.form.end_id
                fits = fits and (not at or self._is_asked(asked, ids[:first], offsets))
            if fits:
                labels[first:last] = ids[first:last]
                token = last
            else:
                alone.append(at)
        if len(alone) < len(turns):
            length = token if alone else len(ids)
            yield TrainingRow(ids[:length], labels[:length], False)
        for at in alone:
            yield self._row(at)

    def _written(self, turns: int) -> str:
        """Return the text of the first turns; without the system text where it stands in a last question alone.

        Some templates of Mistral's write it there: what is asked holds it, and once the question is answered nothing.
        """
        chat = self.chat[:turns]
        try:
            return rendered(self.tokenizer, chat, False, self.arguments)
        except DataError:
            if chat[0].role != "system" or len(chat) < 2:
                raise
            try:
                return rendered(self.tokenizer, chat[1:], False, self.arguments)
            except DataError:
                pass
            raise

    def _is_asked(self, asked: str, ids: Sequence[int], offsets: Sequence[tuple[int, int]]) -> bool:
        """Return whether a row's first tokens are those of a prompt.

        Text on both sides of a special token is tokenised apart, so what follows the last of them decides.
        """
        known = len(ids) - 1
        while known > 0 and ids[known] not in self.special:
            known -= 1
        if known <= 0:
            return list(ids) == encode(self.tokenizer, asked)
        piece = asked[offsets[known][0] :]
        openings = _OPENINGS.setdefault(self.tokenizer, {})
        own = openings[piece] if piece in openings else encode(self.tokenizer, piece)
        if asked.endswith(self.form.opening) and len(piece) <= len(self.form.opening):
            openings[piece] = own  # the same for every prompt
        return list(ids[known:]) == own

    def _asked(self, at: int, text: str) -> str:
        """Return the prompt to which turn `at` answers; for the first of a chat, all that stands before its text."""
        if at:
            if at not in self.prompts:
                self.prompts[at] = rendered(self.tokenizer, self.chat[:at], True, self.arguments)
            return self.prompts[at]
        return text[: max(text.find(self.chat[0].content.strip()), 0)]

    def _thought(self, asked: str) -> tuple[bool, bool]:
        """Return whether a prompt opens a thought, and whether it closes one."""
        if self.form.opening and asked.endswith(self.form.opening):
            return self.form.opened, self.form.closed
        return opens_thought(asked), closes_thought(asked)

    def _ended(self, text: str) -> str:
        """Return the text of a chat with the end of its last answer, where the template writes it only later."""
        content, asked = self.chat[-1].content.strip(), self._asked(len(self.chat) - 1, text)
        if not text.startswith(asked):
            return text
        after = self._behind(text, len(asked), content)
        return text if not after or self._end_from(text, after) else text[:after] + self.form.end

    def _behind(self, text: str, start: int, content: str) -> int:
        """Return where an answer ends whose turn begins at `start`; 0 where it does not stand there."""
        begin = start + len(self.form.lead)
        if not text.startswith(self.form.lead + content, start):
            begin = text.find(content, start)
        return begin + len(content) if begin >= 0 else 0

    def _end_from(self, text: str, after: int) -> int:
        """Return where the end of an answer ends, which begins at `after` or behind white space there; else 0."""
        if text.startswith(self.form.end, after):
            return after + len(self.form.end)
        blank = after + len(text[after:]) - len(text[after:].lstrip())
        end = self.form.end.lstrip()
        return blank + len(end) if text.startswith(end, blank) else 0

    def _span(self, at: int, asked: str, text: str) -> tuple[int, int] | None:
        """Return start and end (characters) of turn `at` in `text`; None where it does not stand there as asked."""
        if not text.startswith(asked):
            return None
        content, start = self.chat[at].content.strip(), len(asked)
        opened, closed = self._thought(asked)
        led = bool(self.form.lead.strip()) and text.startswith(self.form.lead + content, start)
        if (opened or closed or led) and part(content).found:
            return None
        begin = start + len(self.form.lead)
        if not text.startswith(self.form.lead + content, start):
            begin = start + len(text[start:]) - len(text[start:].lstrip())
            if opened or not text.startswith(content, begin):
                return None
        end = self._end_from(text, begin + len(content))
        return (start, end) if end else None

    def _row(self, at: int) -> TrainingRow:
        """Return the row of one turn: the asked prompt's own tokens, then the answer to its end, all of it labelled."""
        text = self._written(at + 1)
        asked = self._asked(at, text)
        prompt = encode(self.tokenizer, asked)
        ids = continued(self.tokenizer, prompt, asked, self._answer(at, asked, text))
        if ids[-1] != self.form.end_id:
            raise ModelError(f"the end of an answer, {self.form.end!r}, is not read as one token of its own at its end")
        return TrainingRow(ids, [IGNORED] * len(prompt) + ids[len(prompt) :], False)

    def _answer(self, at: int, asked: str, text: str) -> str:
        """Return what is trained after a prompt: the template's own text where it holds all, else built."""
        content, form = self.chat[at].content.strip(), self.form
        found = part(content)
        thought, answer = (found.thought, found.answer.strip()) if found.found else ("", content)
        opened, closed = self._thought(asked)
        body = text[len(asked) :] if text.startswith(asked) else ""
        if thought and answer and not closed and (whole := self._thinks(at, asked, body, thought, answer)):
            return whole
        after = self._behind(body, 0, content)
        apart = not form.lead.strip() or not part(f"{form.lead}.").found  # whether thoughts stand in the content
        if after and not ((opened or closed or (not apart and not thought)) and found.found):
            lead = body[: after - len(content)]
            plain = lead == form.lead or only_thoughts(lead)
            if plain and not opens_thought(asked + lead) and not (found.found and number_of_tags(lead)):
                return self._with_end(body, after)
        if answer not in text:
            raise DataError(_changed(at + 1, content))
        if opened:
            # A lead that closes the thought of an answer without one begins with the blank line of an empty thought.
            return f"{thought}{form.lead}{answer}{form.end}"
        if closed:
            return f"{answer}{form.end}"
        if found.found and not thought and not apart:
            return f"{form.lead}{answer}{form.end}"
        return f"{'' if thought and only_thoughts(form.lead) else form.lead}{content}{form.end}"

    def _thinks(self, at: int, asked: str, body: str, thought: str, answer: str) -> str:
        """Return what the template writes for an answer with a thought: empty where the two do not stand there so.

        Some templates take a thought in a field of its own alone, and write what stands in the content as an answer.
        """
        opened, _ = self._thought(asked)
        bodies = [body]
        try:
            told = (*self.chat[:at], Message("assistant", answer))
            text = rendered(self.tokenizer, told, False, self.arguments, thought)
        except DataError:
            text = ""
        if text.startswith(asked):  # first where answers have a header, which would stand before a thought in them
            bodies.insert(int(only_thoughts(self.form.lead)), text[len(asked) :])
        for each in bodies:
            begin = each.find(thought)
            after = each.find(answer, begin + len(thought)) if begin >= 0 else -1
            if after < 0 or number_of_tags(each[:begin]) > (not opened):
                continue
            after += len(answer)
            read = part(each[:after], opened=opened)
            if (read.thought, read.answer.strip()) == (thought, answer):
                return self._with_end(each, after)
        return ""

    def _with_end(self, body: str, after: int) -> str:
        end = self._end_from(body, after)
        return body[:end] if end else body[:after] + self.form.end


def _encoded(tokenizer: Any, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    try:
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    except NotImplementedError:
        raise ModelError("this tokenizer cannot map tokens to text: save it as a fast one (tokenizer.json)") from None
    return list(encoded["input_ids"]), list(encoded["offset_mapping"])
