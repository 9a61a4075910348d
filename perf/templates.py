"""Chat templates: is every text asked, is the right text trained, does it end, and is a model asked as it was trained?

Every template that the installed TRL ships, and small ones of our own for shapes that are not among these, with one and
two questions, with and without a system text, as the template is by default and with `enable_thinking = false` where
it reads that. Each is tried with a tiny tokenizer that has the template's own marks as special tokens.

- *texts*: every message stands in the prompt.
- *asked as trained*: for each trained turn, the row begins with the very tokens of the asked prompt, and the labels
  begin right there.
- *ends*: the last label of each turn is a token at which decoding stops, and no earlier one is.
- *marks*: where the template marks what is generated (`{% generation %}`), the labels are the marked text, up to its
  end token.

`python -m perf.templates --write` puts the table into docs/templates.md; without it, the table is printed. The exit
code is 1 where anything differs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import trl

from aftertune.errors import AftertuneError
from aftertune.models.chat import folded, names_read, render, render_text
from aftertune.models.training_rows import IGNORED, AnswerForm, TrainingRow, answer_form, training_rows
from aftertune.records import Json, Message
from aftertune.thoughts import opens_thought

PAGE = Path(__file__).parents[1] / "docs" / "templates.md"
BEGIN, END = "<!-- table: make templates -->", "<!-- end of table -->"
TRL = Path(trl.__file__).parent / "chat_templates"
MARK = re.compile(
    r"<\|[^|<>{}\s'\"]{1,40}\|>|<｜[^｜<>{}\s]{1,40}｜>|<\|(?:turn|channel)>|<(?:turn|channel)\|>|</?s>|\[/?INST\]|\[gMASK\]"
    r"|<(?:bos|eos|sop|image|start_of_turn|end_of_turn|end_of_utterance|BOS_TOKEN)>"
)
"""What a template's source writes as special tokens."""
WORDS = r" ?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""Where tokens may not reach across: line breaks go together, as in most tokenizers of today."""
THINK = re.compile(r"</?think>")
"""Tokens too, but no special ones: they stand in decoded text."""
END_OF_TEXT = {
    "cohere": "<|END_OF_TURN_TOKEN|>",
    "deepseek": "<｜end▁of▁sentence｜>",
    "diffusion": "<turn|>",
    "gemma4": "<turn|>",
    "gemma": "<eos>",
    "glm": "<|endoftext|>",
    "gptoss": "<|return|>",
    "idefics": "<end_of_utterance>",
    "llama": "<|eot_id|>",
    "llava": "</s>",
    "muse": "<|eot|>",
    "phi": "<|endoftext|>",
    "smolvlm": "<end_of_utterance>",
}
"""Beginning of a template's name -> its tokenizer's end of text; `<|im_end|>` for the others."""
BEGIN_OF_TEXT = {
    "cohere": "<BOS_TOKEN>",
    "deepseek": "<｜begin▁of▁sentence｜>",
    "diffusion": "<bos>",
    "gemma": "<bos>",
    "lfm2": "<|startoftext|>",
    "llama": "<|begin_of_text|>",
}
TURN = "{% for m in messages %}"
OWN: Mapping[str, tuple[str, str]] = {
    "an answer that only a next turn closes": (
        TURN + "{% if m.role == 'assistant' %}<|a_start|>{{ m.content }}{% if not loop.last %}<|a_end|>{% endif %}"
        "{% else %}<|{{ m.role }}_start|>{{ m.content }}<|{{ m.role }}_end|>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|a_start|>{% endif %}"
        "{# <|user_start|> <|user_end|> <|system_start|> <|system_end|> #}",
        "<|a_end|>",
    ),
    "an answer that the next question's opening closes": (
        TURN + "<|{{ m.role }}|>\n{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
        "{# <|user|> <|assistant|> <|system|> #}",
        "<|endoftext|>",
    ),
    "plain words with an end of text": (
        TURN + "{% if m.role == 'assistant' %}ASSISTANT: {{ m.content }}</s>{% else %}{{ m.role | upper }}: "
        "{{ m.content }} {% endif %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}",
        "</s>",
    ),
    "plain words without an end": (
        TURN + "### {{ m.role }}:\n{{ m.content }}\n\n{% endfor %}{% if add_generation_prompt %}### assistant:\n"
        "{% endif %}",
        "</s>",
    ),
    "marks that are no tokens": (
        TURN + "{{ '<|im' }}_start|>{{ m.role }}\n{{ m.content }}{{ '<|im' }}_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im' }}_start|>assistant\n{% endif %}",
        "</s>",
    ),
    "a thought opened in words": (
        TURN + "<|{{ m.role }}|>\n{% if m.role == 'assistant' %}"
        "{{ m.content.split('[BEGIN FINAL RESPONSE]')[-1].split('[END FINAL RESPONSE]')[0].strip() }}"
        "{% else %}{{ m.content }}{% endif %}\n{% if not loop.last %}<|end|>\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\nHere are my reasoning steps:\n{% endif %}"
        "{# <|user|> <|assistant|> <|system|> #}",
        "<|end|>",
    ),
    "an empty thought closed in the question": (
        "<bos>" + TURN + "<|turn>{{ m.role }}\n{{ m.content | trim }}<turn|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|turn>assistant\n<|channel>thought\n<channel|>{% endif %}",
        "<turn|>",
    ),
    "a thought opened without a line break": (
        TURN + "<｜{{ m.role }}｜>{{ m.content.split('</think>')[-1] }}{% if m.role == 'assistant' %}<｜end｜>"
        "{% endif %}{% endfor %}{% if add_generation_prompt %}<｜assistant｜><think>{% endif %}"
        "{# <｜user｜> <｜assistant｜> <｜system｜> </think> #}",
        "<｜end｜>",
    ),
    "a thought opened in every answer": (
        TURN + "<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}<think>\n{% endif %}{{ m.content }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}{# </think> #}",
        "<|im_end|>",
    ),
    "no opening when asked": (
        TURN + "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}",
        "<|im_end|>",
    ),
    "the system text in the last question": (
        "{% set ns = namespace(system='', last=0) %}" + TURN + "{% if m.role == 'system' %}{% set ns.system = m.content"
        " ~ '\n\n' %}{% endif %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
        + TURN
        + "{% if m.role == 'user' %}[INST] {{ ns.system if loop.index0 == ns.last else '' }}{{ m.content }}[/INST]"
        "{% elif m.role == 'assistant' %} {{ m.content }}</s>{% endif %}{% endfor %}",
        "</s>",
    ),
    "parts alone": (
        TURN + "<|im_start|>{{ m.role }}\n{% for each in m.content %}{% if each.type == 'text' %}{{ each.text }}"
        "{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        "<|im_end|>",
    ),
}
"""What it is -> template and end of text, for shapes beyond TRL's."""
MARKED = ("equal", "after what is asked", "but for an empty thought", "another end")
"""How labels may agree with a template's own marks: the same text; without what the prompt holds already; with another
empty thought before it; with a token that stops decoding, where the template marks one that does not."""
SENTENCES = (
    "One\n\n",
    "Two\n\n",
    "Three\n\n",
    "Four\n\n",
    "Good morning, what would you like to know? Please answer the question, and keep it short.",
    "The capital of France is Paris, and of Italy it is Rome. Is there anything else that I can do for you?",
)
SYSTEM = "You answer in one sentence."
CHATS: Mapping[str, tuple[Message, ...]] = {
    "one question": (Message("user", "What is the capital of France?"), Message("assistant", "It is Paris, I think.")),
    "two questions": (
        Message("user", "What is the capital of France?"),
        Message("assistant", "It is Paris, I think."),
        Message("user", "And of Italy?"),
        Message("assistant", "That is Rome.\n\nAnything else?"),
    ),
}


@dataclass
class Outcome:
    """What was seen of one template in one form."""

    name: str
    arguments: Mapping[str, Json]
    form: AnswerForm | None = None
    rows: int = 0
    """Of a chat of two questions."""
    marked: str = ""
    """How the labels agree with the template's own marks; empty where it has none."""
    refused: str = ""
    faults: list[str] = field(default_factory=list)


@lru_cache(maxsize=256)
def tokenizer(name: str, template: str, end: str = "") -> Any:
    """Return a tiny byte-level tokenizer with a template and its marks as tokens."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    end = end or next((own for stem, own in END_OF_TEXT.items() if name.startswith(stem)), "<|im_end|>")
    begin = next((own for stem, own in BEGIN_OF_TEXT.items() if name.startswith(stem)), None)
    raw = Tokenizer(models.BPE())
    words = pre_tokenizers.Split(Regex(WORDS), "isolated")
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(SENTENCES, trainer)
    marks = dict.fromkeys([*([begin] if begin else []), end, *MARK.findall(template)])
    raw.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    raw.add_tokens([AddedToken(mark, normalized=False) for mark in dict.fromkeys(THINK.findall(template))])
    kind: Any = PreTrainedTokenizerFast
    made = kind(tokenizer_object=raw, eos_token=end, **({"bos_token": begin} if begin else {}))
    made.chat_template = template
    return made


def templates() -> dict[str, tuple[str, str]]:
    """Return name -> template and end of text (empty: by its name) of all that are tried."""
    shipped = {path.stem: (path.read_text(encoding="utf-8"), "") for path in sorted(TRL.glob("*.jinja"))}
    return {**shipped, **OWN}


def forms(template: str) -> Iterator[Mapping[str, Json]]:
    """Yield the arguments that a template is tried with."""
    yield {}
    if "enable_thinking" in names_read(template):
        yield {"enable_thinking": False}


def trial(name: str, template: str, end: str, arguments: Mapping[str, Json]) -> Outcome:
    """Return what is seen of a template: every fault in words."""
    made = tokenizer(name, template, end)
    outcome = Outcome(name, arguments)
    for chat, messages in CHATS.items():
        for system in ("", SYSTEM):
            whole = (Message("system", system), *messages) if system else messages
            at = f"{chat}{', with a system text' if system else ''}"
            try:
                rows = training_rows(made, whole, 10_000, arguments)
                outcome.form = answer_form(made, arguments)
                outcome.faults += [f"{at}: {fault}" for fault in _faults(made, whole, rows, arguments, outcome.form)]
                outcome.rows = len(rows)
                marked = _marked(made, whole, rows, arguments)
                if marked == "differ":
                    outcome.faults.append(f"{at}: labels are not what the template marks")
                outcome.marked = max(outcome.marked, marked, key=len)
            except AftertuneError as error:
                outcome.refused = f"{at}: {error}"
    return outcome


def turns(rows: Sequence[TrainingRow]) -> list[tuple[TrainingRow, int, int]]:
    """Return each run of labels with its row, in the order of the prompts: row, first and last token and one."""
    runs = []
    for row in rows:
        first = 0
        for at, (label, before) in enumerate(zip([*row.labels, IGNORED], [IGNORED, *row.labels], strict=True)):
            if label != IGNORED and before == IGNORED:
                first = at
            elif label == IGNORED and before != IGNORED:
                runs.append((row, first, at))
    return sorted(runs, key=lambda run: run[1])


def _faults(
    made: Any,
    messages: Sequence[Message],
    rows: Sequence[TrainingRow],
    arguments: Mapping[str, Json],
    form: AnswerForm,
) -> Iterator[str]:
    answers = [at for at, each in enumerate(messages) if each.role == "assistant"]
    runs = turns(rows)
    if len(runs) != len(answers):
        yield f"{len(runs)} turns are labelled, not {len(answers)}"
        return
    for at, (row, first, last) in zip(answers, runs, strict=True):
        asked = render(made, messages[:at], None, True, arguments)
        text = render_text(made, messages[:at], None, True, arguments)
        yield from (f"turn {n} is not asked" for n, own in enumerate(messages[:at], 1) if own.content not in text)
        if row.input_ids[:first] != asked:
            yield f"turn {at + 1} is not trained as it is asked: {made.decode(row.input_ids[:first])[-60:]!r}"
        said = made.decode(row.labels[first:last])
        if messages[at].content not in said:
            yield f"turn {at + 1} is not trained: {said!r}"
        stops = [
            place for place, label in enumerate(row.labels[first:last]) if label in {form.end_id, made.eos_token_id}
        ]
        if stops != [last - first - 1]:
            yield f"turn {at + 1} does not end: {said!r}"
        if opens_thought(text + said[: said.find(messages[at].content)]):
            yield f"turn {at + 1} is trained inside a thought: {said!r}"


def _marked(made: Any, messages: Sequence[Message], rows: Sequence[TrainingRow], arguments: Mapping[str, Json]) -> str:
    """Return how the labels agree with `{% generation %}`: `equal` is up to the end token."""
    if not re.search(r"\{%-?\s*generation", made.chat_template):
        return ""
    messages = folded(made, messages, arguments)
    one = [{"role": "user", "content": SYSTEM}]
    parts = SYSTEM not in made.apply_chat_template(one, tokenize=False)
    encoded = made.apply_chat_template(
        [{"role": m.role, "content": [{"type": "text", "text": m.content}] if parts else m.content} for m in messages],
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
        **arguments,
    )
    marks = [label if mask else IGNORED for label, mask in zip(
        encoded["input_ids"], encoded["assistant_masks"], strict=True)]  # fmt: skip
    marked = [made.decode(row.labels[first:last]) for row, first, last in turns([TrainingRow(marks, marks, False)])]
    runs = turns(rows)
    answers = [each.content for each in messages if each.role == "assistant"]
    seen = {"equal"}
    for oracle, (row, first, last), answer in zip(marked, runs, answers, strict=True):
        ours, asked = made.decode(row.labels[first:last]), made.decode(row.input_ids[:first])
        head, end = _around(ours, answer)
        marked_head, marked_end = _around(oracle, answer)
        if answer not in ours or answer not in oracle:
            return "differ"
        if not marked_end.startswith(end):
            stopping = any(id_ in {made.eos_token_id} for id_ in made(marked_end)["input_ids"])
            seen.add("differ" if stopping else "another end")
        if marked_head == head:
            continue
        if marked_head.endswith(head) and asked.endswith(marked_head.removesuffix(head)):
            seen.add("after what is asked")
        elif opens_thought(asked) and _bare(asked + head).endswith(_bare(marked_head)):
            seen.add("but for an empty thought")
        else:
            seen.add("differ")
    return "differ" if "differ" in seen else ", ".join(sorted(seen, key=MARKED.index))


def _around(text: str, answer: str) -> tuple[str, str]:
    """Return what stands before an answer and behind it."""
    before, _, after = text.partition(answer)
    return before, after


def _bare(text: str) -> str:
    """Return a text without the marks of thoughts and white space."""
    return "".join(THINK.sub("", text).split())


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the outcomes as a table, templates of the same outcome together."""
    lines = [
        "| templates | asked with | the prompt ends with | trained before the answer | ends with | rows for two turns "
        "| template's own marks |",
        "|" + "---|" * 7,
    ]
    groups: dict[tuple[str, ...], list[str]] = {}
    for each in outcomes:
        given = ", ".join(f"{key} = {str(value).lower()}" for key, value in each.arguments.items()) or "-"
        form = each.form
        cells = (
            (given, *map(_cell, (form.opening, form.lead, form.end)), str(each.rows), each.marked or "none")
            if form and not each.refused
            else (given, f"refused: {each.refused}", "", "", "", "")
        )
        groups.setdefault(cells, []).append(each.name)
    lines += [f"| {', '.join(names)} | {' | '.join(cells)} |" for cells, names in groups.items()]
    return lines


def _cell(text: str) -> str:
    shown = text.replace("\n", "\\n").replace("|", "\\|")
    return f"`{shown}`" if text else "-"


def main() -> int:
    """Try all, print the faults and the table or write it."""
    outcomes = [
        trial(name, template, end, arguments)
        for name, (template, end) in templates().items()
        for arguments in forms(template)
    ]
    for each in outcomes:
        for fault in each.faults:
            print(f"{each.name} {dict(each.arguments)}: {fault}", file=sys.stderr)
    lines = table(outcomes)
    if "--write" in sys.argv[1:]:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        PAGE.write_text("\n".join([before + BEGIN, *lines, END + rest.partition(END)[2]]), encoding="utf-8")
    else:
        print("\n".join(lines))
    return 1 if any(each.faults for each in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
