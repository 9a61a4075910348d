"""Every chat template that the installed TRL ships, and shapes beyond these: asked whole, trained as asked, ended."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perf import templates
from tests.tiny_models import tokenizer

from aftertune.errors import AftertuneError, DataError, ModelError
from aftertune.models.chat import continued, encode, names_read, render, render_text
from aftertune.models.training_rows import IGNORED, answer_form, end_of_turn, training_rows
from aftertune.records import Json, Message
from aftertune.thoughts import closes_thought, opens_thought, part, thought_tags

ALL = templates.templates()
SAID = ("What is the capital of France?", "It is Paris.", "And of Italy?", "That is Rome.")
NO_THINKING: Mapping[str, Json] = {"enable_thinking": False}
TURN = "{% for m in messages %}<|im_start|>{{ m.role }}\n"
OPEN = "{% if add_generation_prompt %}<|im_start|>assistant\n"


def made(name: str) -> Any:
    return templates.tokenizer(name, *ALL[name])


def written(template: str, end: str = "<|im_end|>") -> Any:
    return templates.tokenizer("written here", template, end)


def chat(*texts: str) -> tuple[Message, ...]:
    return tuple(Message("assistant" if at % 2 else "user", text) for at, text in enumerate(texts))


def trained(tok: Any, messages: tuple[Message, ...], arguments: Mapping[str, Json] = {}) -> list[str]:
    """Return the labelled text of each row."""
    rows = training_rows(tok, messages, 10_000, arguments)
    return [tok.decode([label for label in row.labels if label != IGNORED]) for row in rows]


@pytest.mark.parametrize("name", ALL)
def test_every_text_is_asked_and_trained_as_it_is_asked_up_to_a_token_that_stops(name: str) -> None:
    template, end = ALL[name]
    for arguments in templates.forms(template):
        outcome = templates.trial(name, template, end, arguments)
        assert (outcome.faults, outcome.refused) == ([], "")


def test_half_of_them_have_marks_of_their_own_with_which_the_labels_agree() -> None:
    """The marks are the oracle; the check itself must see a label too many or too few."""
    marked = [name for name in ALL if name.endswith("_training")]
    assert len(marked) > 20
    tok, messages = made("llama3_training"), templates.CHATS["two questions"]
    row, *others = training_rows(tok, messages, 10_000)
    assert not others
    assert templates._marked(tok, messages, [row], {}) == "equal"
    first = next(at for at, label in enumerate(row.labels) if label != IGNORED)
    for at in (first, first - 1):
        labels = [*row.labels[:at], IGNORED if at == first else row.input_ids[at], *row.labels[at + 1 :]]
        assert templates._marked(tok, messages, [row._replace(labels=labels)], {}) == "differ"


texts = st.text(
    st.characters(codec="utf-8", exclude_characters="<>[]|{}&\x00", categories=("L", "N", "P", "Zs", "So", "Cc")),
    min_size=1,
    max_size=40,
).filter(lambda text: text.strip() != "")


@pytest.mark.parametrize("name", ["qwen3_5_think", "glm4moe", "deepseekv3", "gptoss", "llava_next", *templates.OWN])
@given(said=st.lists(texts, min_size=2, max_size=5), system=st.one_of(st.just(""), texts))
@settings(max_examples=15, deadline=None)
def test_asked_as_trained_whatever_is_said(name: str, said: list[str], system: str) -> None:
    """The ids of the asked prompt begin the row, the labels begin right there, hold the answer and end it."""
    tok, stops = made(name), {made(name).eos_token_id, end_of_turn(made(name))}
    messages = (Message("system", system), *chat(*said)) if system else chat(*said)
    runs = templates.turns(training_rows(tok, messages, 10_000))
    answers = [at for at, each in enumerate(messages) if each.role == "assistant"]
    assert len(runs) == len(answers)
    for at, (row, first, last) in zip(answers, runs, strict=True):
        assert row.input_ids[:first] == render(tok, messages[:at], None, True)
        assert messages[at].content.strip() in tok.decode(row.labels[first:last])
        assert [label in stops for label in row.labels[first:last]] == [False] * (last - first - 1) + [True]


@pytest.mark.parametrize("scheme", ["first", "always", "never"])
@pytest.mark.parametrize("name", ["deepseekv3", "glm4moe", "plain words with an end of text", "llava_next", "gemma"])
def test_asked_as_trained_where_blanks_are_letters(name: str, scheme: str) -> None:
    """As in SentencePiece: a blank is put before the first word, of a text or of each piece between special tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE(unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    raw.decoder = decoders.Metaspace(prepend_scheme=scheme)
    letters = sorted({char for text in (*templates.SENTENCES, ALL[name][0], *SAID, "▁USER") for char in text})
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<unk>"], initial_alphabet=letters, show_progress=False
    )
    raw.train_from_iterator(templates.SENTENCES, trainer)
    like = made(name)
    raw.add_special_tokens(
        [AddedToken(mark, normalized=False) for mark in like.get_added_vocab() if "think" not in mark]
    )
    raw.add_tokens([AddedToken(mark, normalized=False) for mark in like.get_added_vocab() if "think" in mark])
    kind: Any = PreTrainedTokenizerFast
    tok = kind(tokenizer_object=raw, eos_token=like.eos_token, bos_token=like.bos_token, unk_token="<unk>")
    tok.chat_template = like.chat_template
    messages = chat(*SAID)
    runs = templates.turns(training_rows(tok, messages, 10_000))
    assert len(runs) == 2
    for at, (row, first, last) in zip((1, 3), runs, strict=True):
        assert row.input_ids[:first] == render(tok, messages[:at], None, True)
        assert tok.unk_token_id not in row.input_ids
        assert SAID[at] in tok.decode(row.labels[first:last])
        assert row.labels[last - 1] in (tok.eos_token_id, end_of_turn(tok))


# ---------------------------------------------------------------------------------------------- texts that vanish


@pytest.mark.parametrize("name", ["smolvlm", "idefics3", "llava_next", "parts alone"])
def test_contents_are_given_as_parts_where_a_template_writes_no_strings(name: str) -> None:
    tok = made(name)
    plain: Any = tok.apply_chat_template([{"role": "user", "content": "Why is it so?"}], tokenize=False)
    assert "Why is it so?" not in plain, "the library gives an empty turn, and no error"
    assert "Why is it so?" in render_text(tok, chat("Why is it so?"), None, True)
    assert "Be brief." in render_text(tok, chat("Why is it so?"), "Be brief.", True)
    assert trained(tok, chat("Why?", "So."))[0].strip().startswith("So.")


@pytest.mark.parametrize(
    ("template", "line"),
    [
        (TURN + "{{ m.text }}<|im_end|>\n{% endfor %}", r"leaves out the text of turn 1 \(user\)"),
        (
            TURN + "{{ m.content if not loop.first else '' }}<|im_end|>\n{% endfor %}",
            r"leaves out the text of turn 1 \(user\)",
        ),
        (TURN + "{{ m.content[:4] }}<|im_end|>\n{% endfor %}", r"leaves out the text of turn 1 \(user\)"),
        (TURN + "{{ m.content[:40] }}<|im_end|>\n{% endfor %}", r"changes the text of turn 1 \(user\): 'a long text"),
        (
            TURN + "{{ m.content | replace('long', '') }}<|im_end|>\n{% endfor %}",
            r"changes the text of turn 1 \(user\)",
        ),
    ],
)
def test_a_text_that_does_not_stand_in_the_prompt_is_refused(template: str, line: str) -> None:
    with pytest.raises(DataError, match=line):
        render_text(written(template), chat("a long text, " * 5), None, True)


def test_a_system_text_that_a_template_leaves_out_goes_into_the_first_question() -> None:
    silent = (
        TURN.replace("%}<", "%}{% if m.role != 'system' %}<") + "{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    )
    assert "user\nBe brief.\n\nWhy?<|im_end|>" in render_text(written(silent), chat("Why?"), "Be brief.", True)
    late = "{% if messages | length > 2 and messages[0].role == 'system' %}{% set messages = messages[1:] %}{% endif %}"
    with pytest.raises(DataError, match=r"leaves out the text of turn 1 \(system\)"):
        render_text(
            written(late + TURN + "{{ m.content }}<|im_end|>\n{% endfor %}"), chat("a", "b", "c"), "Be brief.", True
        )


@pytest.mark.parametrize(
    "change",
    [
        "m.content | trim",
        "m.content | upper",
        "m.content | e",
        "m.content | tojson",
        "m.content.replace('\\n', ' ')",
        "m.content.split() | join(' ')",
        "m.content.replace('/no_think', '')",
        "m.content.replace('<|im_end|>', '')",
    ],
)
def test_a_text_that_is_only_written_otherwise_is_not_refused(change: str) -> None:
    template = TURN + "{{ " + change + " }}<|im_end|>\n{% endfor %}"
    said = '  Ärger & "Streit" <b>now</b>?\n\n\tIt\'s 5 > 3. /no_think <|im_end|>\r\n'
    assert render_text(written(template), chat(said), None, True).startswith("<|im_start|>user\n")


def test_a_thought_of_an_earlier_answer_may_be_dropped_from_a_prompt_but_its_answer_may_not() -> None:
    said = chat("Why?", "<think>\nHm.\n</think>\n\nSo.", "And then?")
    assert "Hm." not in render_text(made("qwen3"), said, None, True)
    nothing = (
        TURN + "{{ m.content.split('</think>')[1:2] | join if m.role == 'nobody' else m.content.split('<think>')[0]"
    )
    with pytest.raises(DataError, match=r"changes the text of turn 2 \(assistant\)"):
        render_text(written(nothing + " }}<|im_end|>\n{% endfor %}"), said, None, True)


# ---------------------------------------------------------------------------------------------- templates that fail


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("{{ m.content + 1 }}", "TypeError"),
        ("{{ 1 / (m.content | length - m.content | length) }}", "ZeroDivisionError"),
        ("{{ m.content.index('zzz') }}", "ValueError"),
        ("{{ m['content'].format_map({}) ~ '{x}'.format_map({}) }}", "KeyError"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
        ("{{ range(1000000) | list }}", "OverflowError"),
    ],
)
def test_a_template_that_fails_is_one_line(body: str, kind: str) -> None:
    tok = written(TURN + body + "<|im_end|>\n{% endfor %}")
    with pytest.raises(DataError, match=rf"^the chat template fails \({kind}\) on this chat \(user\): .+$") as caught:
        render_text(tok, chat("hi"), None, True)
    assert "\n" not in str(caught.value)
    with pytest.raises(AftertuneError):
        training_rows(tok, chat("hi", "you"), 99)


@pytest.mark.parametrize(
    "body", ["{{ m.content.text.more }}", "{{ raise_exception('no\nway') }}", "{{ m.content | nope }}", "{% if %}"]
)
def test_a_template_that_refuses_is_one_line(body: str) -> None:
    with pytest.raises(DataError, match="^the chat template refuses this chat .user.: [^\n]+$"):
        render_text(written(TURN + body + "<|im_end|>\n{% endfor %}"), chat("hi"), None, True)


def test_a_tokenizer_with_several_templates_and_none_by_default() -> None:
    tok = tokenizer("qwen")
    tok.chat_template = {"tool_use": "x", "rag": "y"}
    with pytest.raises(ModelError, match=r"several chat templates \(rag, tool_use\) and none is called 'default'"):
        render_text(tok, chat("hi"), None, True)


# ---------------------------------------------------------------------------------------------- how an answer ends


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("glm4moe", "<|user|>"),
        ("an answer that only a next turn closes", "<|a_end|>"),
        ("an answer that the next question's opening closes", "<|user|>"),
        ("a thought opened in words", "<|end|>"),
        ("plain words without an end", "</s>"),
        ("marks that are no tokens", "</s>"),
        ("cohere2", "<|END_RESPONSE|><|END_OF_TURN_TOKEN|>"),
        ("phi3", "<|end|>"),
        ("gptoss", "<|return|>"),
    ],
)
def test_each_answer_ends_with_a_token_that_stops(name: str, end: str) -> None:
    tok = made(name)
    said = [text for row in trained(tok, chat("Why?", "So.", "And then?", "That.")) for text in row.split(end)[:-1]]
    assert [re.split(r"\W+", text)[-2:] for text in said] in ([["So", ""], ["That", ""]], [["That", ""], ["So", ""]])
    assert end.endswith(tok.convert_ids_to_tokens(end_of_turn(tok)))


def test_a_declared_stop_is_the_end_where_the_template_writes_none() -> None:
    tok = written(TURN.replace("<|im_start|>", "## ") + "{{ m.content }}\n{% endfor %}{# <|stop|> #}", "</s>")
    assert tok.convert_ids_to_tokens(end_of_turn(tok)) == "</s>"
    tok = templates.tokenizer("again", tok.chat_template, "</s>")
    tok.eos_token = None
    assert end_of_turn(tok) is None
    with pytest.raises(ModelError, match="no token ends an answer: .*so a tuned model could not stop"):
        training_rows(tok, chat("Why?", "So."), 99)
    stop = tok.convert_tokens_to_ids("<|stop|>")
    assert end_of_turn(tok, stops=[stop]) == stop
    assert training_rows(tok, chat("Why?", "So."), 99, stops=[stop])[0].labels[-1] == stop


def test_the_beginning_of_the_next_turns_text_is_no_end() -> None:
    """A template that opens each question with the begin-of-text token ends nothing by it."""
    tok = templates.tokenizer(
        "llama by hand",
        "{% for m in messages %}{% if m.role == 'user' %}<|begin_of_text|>Q: {{ m.content }}\n"
        "{% else %}A: {{ m.content }}\n{% endif %}{% endfor %}{% if add_generation_prompt %}A:{% endif %}",
        "</s>",
    )
    assert tok.convert_ids_to_tokens(end_of_turn(tok)) == "</s>"


# ---------------------------------------------------------------------------------------------- one form on both sides


def test_a_thought_that_the_prompt_opens_is_closed_before_the_answer() -> None:
    tok = made("deepseek_r1_distill")
    assert render_text(tok, chat("Why?"), None, True).endswith("<｜Assistant｜><think>\n")
    plain, thoughtful = (
        trained(tok, chat("Why?", said)) for said in ("So.", "<think>\nBecause of this.\n</think>\n\nSo.")
    )
    assert plain == ["\n</think>\n\nSo.<｜end▁of▁sentence｜>"]
    assert thoughtful == ["Because of this.\n</think>\n\nSo.<｜end▁of▁sentence｜>"]
    for said in (*plain, *thoughtful):
        assert part(said.removesuffix("<｜end▁of▁sentence｜>"), opened=True).answer == "So."


OPENING = (
    *(
        f"{name}{which}"
        for name in (
            "deepseek_r1_distill", "deepseekv3", "nemotron_3_5_lightning", "nemotron_3_nano", "nemotron_3_super",
            "nemotron_3_ultra", "qwen3_5_think", "qwen3_6", "qwen3_8",
        )
        for which in ("", "_training")
    ),
    "a thought opened in words", "a thought opened without a line break", "a thought opened in every answer",
)  # fmt: skip
"""By name: to compile all templates takes two seconds of each process that collects tests."""


def test_those_are_the_templates_that_open_a_thought() -> None:
    assert {name for name in ALL if opens_thought(answer_form(made(name)).opening)} == set(OPENING)


@pytest.mark.parametrize("name", OPENING)
def test_a_thought_in_the_data_stands_in_the_thought_that_the_prompt_opens(name: str) -> None:
    tok = made(name)
    asked = render_text(tok, chat("Why?"), None, True)
    for said in ("<think>\nBecause of this.\n</think>\n\nSo.", "Because of this.\n</think>\nSo."):
        (text,) = trained(tok, chat("Why?", said))
        found = part(text.removesuffix(answer_form(tok).end), opened=True)
        assert (found.thought, found.answer.strip()) == ("Because of this.", "So.")
        assert not opens_thought(asked + text[: text.index("So.")])


def test_a_thought_in_the_data_is_left_out_where_the_prompt_closes_an_empty_one() -> None:
    said = chat("Why?", "<think>\nBecause of this.\n</think>\n\nSo.")
    tok = made("qwen3")
    assert trained(tok, said, NO_THINKING) == ["So.<|im_end|>"]
    assert trained(tok, said) == ["<think>\nBecause of this.\n</think>\n\nSo.<|im_end|>"]
    own = made("an empty thought closed in the question")
    assert trained(own, said) == ["So.<turn|>"]
    assert trained(own, chat("Why?", "So.", "And?", "That.")) == ["So.<turn|>", "That.<turn|>"]


def test_a_thought_of_an_earlier_turn_is_trained_in_a_row_of_its_own() -> None:
    """The template drops it once a next question comes, and a row without it would teach something else."""
    first = "<think>\nBecause of this.\n</think>\n\nSo."
    rows = trained(made("qwen3"), chat("Why?", first, "And then?", "That."))
    assert rows == ["<think>\n\n</think>\n\nThat.<|im_end|>", f"{first}<|im_end|>"]


def test_template_arguments_change_the_rows() -> None:
    tok, said = made("nemotron_3_nano"), chat("Why?", "So.")
    assert trained(tok, said) == ["\n</think>\n\nSo.<|im_end|>"]
    assert trained(tok, said, NO_THINKING) == ["So.<|im_end|>"]
    row = training_rows(tok, said, 999, NO_THINKING)[0]
    assert tok.decode(row.input_ids).endswith("assistant\n<think></think>So.<|im_end|>\n")


def test_tokens_at_the_seam_are_the_prompts_own() -> None:
    """Two line breaks in one token: a model that is asked has read one, and never sees that token."""
    tok = made("qwen3_5_think")
    asked = render_text(tok, chat("Why?"), None, True)
    prompt = encode(tok, asked)
    both = encode(tok, f"{asked}\n</think>\n\nSo.")
    merged = both[: len(prompt)] != prompt
    ids = continued(tok, prompt, asked, "\n</think>\n\nSo.")
    assert ids[: len(prompt)] == prompt
    assert tok.decode(ids) == f"{asked}\n</think>\n\nSo."
    assert merged, "the tokenizer of this test joins line breaks"


@pytest.mark.parametrize(
    ("prompt", "closing"),
    [
        ("<think>\n", "\n</think>\n\n"),
        ("<think>", "</think>\n\n"),
        ("[THINK]", "[/THINK]\n\n"),
        ("<seed:think>", "</seed:think>\n\n"),
        ("<|begin_of_thought|>\n", "\n<|end_of_thought|>\n\n"),
        ("<|START_THINKING|>", "<|END_THINKING|>\n\n"),
        ("◁think▷", "◁/think▷\n\n"),
        ("<|channel>thought\n", "\n<channel|>\n\n"),
        ("<|inner_prefix|>", "<|inner_suffix|>\n\n"),
        ("<|think_start|>", "<|think_end|>\n\n"),
        ("&lt;think&gt;", "&lt;/think&gt;\n\n"),
        ("<reasoning mode='long'>\n", "\n</reasoning>\n\n"),
        ("Here are my reasoning steps:\n", "\n[BEGIN FINAL RESPONSE]\n"),
        ("<|start|>assistant<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ],
)
def test_what_closes_a_thought_parts_it(prompt: str, closing: str) -> None:
    assert opens_thought(f"Question?{prompt}")
    assert thought_tags(f"Question?{prompt}")[1] == closing
    found = part(f"Because of this.{closing}So.", opened=True)
    assert (found.thought, found.answer) == ("Because of this.", "So.")
    assert not opens_thought(f"{prompt}{closing}")
    assert closes_thought(f"{prompt}{closing}") or "FINAL" in closing or "final" in closing


def test_apriels_final_response_is_the_answer() -> None:
    found = part("So far, so good.\n[BEGIN FINAL RESPONSE]\nIt is.\n[END FINAL RESPONSE]", opened=True)
    assert (found.thought, found.answer, found.unanswered) == ("So far, so good.", "It is.", "")
    assert part("So far, so", opened=True).unanswered
    assert not part("Write [BEGIN FINAL RESPONSE] first.").found


# A template in the manner of Kimi K2.5: an empty thought in every answer of the past, and none read from the content.
EMPTY_IN_HISTORY = TURN + (
    "{% if m.role == 'assistant' %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}<|im_end|>\n"
    "{% endfor %}" + OPEN + "<think>{% endif %}"
)
# In the manner of gpt-oss: a thought in a field of its own has a message of its own, and answers have a header.
IN_CHANNELS = (
    "{% for m in messages %}<|start|>{{ m.role }}{% if m.role == 'assistant' %}{% if m.thinking %}<|channel|>analysis"
    "<|message|>{{ m.thinking }}<|end|><|start|>assistant{% endif %}<|channel|>final{% endif %}<|message|>"
    "{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
# In the manner of Qwen3: the thought of the content is written anew, and an empty one where there is none.
WRITTEN_ANEW = TURN + (
    "{% if m.role == 'assistant' %}<think>\n{{ m.content.split('</think>')[0].split('<think>')[-1].strip() "
    "if '</think>' in m.content else '' }}\n</think>\n\n{% endif %}{{ m.content.split('</think>')[-1].strip() }}"
    "<|im_end|>\n{% endfor %}" + OPEN + "{% endif %}"
)


@pytest.mark.parametrize(
    ("template", "end", "said", "label"),
    [
        (EMPTY_IN_HISTORY, "<|im_end|>", "<think>\nHm.\n</think>\n\nRome.", "Hm.</think>Rome.<|im_end|>"),
        (EMPTY_IN_HISTORY, "<|im_end|>", "<think></think>Rome.", "</think>Rome.<|im_end|>"),
        (EMPTY_IN_HISTORY, "<|im_end|>", "Rome.", "</think>Rome.<|im_end|>"),
        (
            IN_CHANNELS,
            "<|end|>",
            "<think>Hm.</think>Rome.",
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Rome.<|end|>",
        ),
        (IN_CHANNELS, "<|end|>", "<think></think>Rome.", "<|channel|>final<|message|>Rome.<|end|>"),
        (IN_CHANNELS, "<|end|>", "Rome.", "<|channel|>final<|message|>Rome.<|end|>"),
        (WRITTEN_ANEW, "<|im_end|>", "<think></think>Rome.", "<think>\n\n</think>\n\nRome.<|im_end|>"),
        (WRITTEN_ANEW, "<|im_end|>", "<think>Hm.</think>Rome.", "<think>\nHm.\n</think>\n\nRome.<|im_end|>"),
    ],
)
def test_a_thought_in_the_data_is_trained_once_and_in_the_templates_own_form(
    template: str, end: str, said: str, label: str
) -> None:
    """Not after an empty one, not inside the message of the answer, and an empty one is not written twice."""
    tok = written(template, end)
    assert trained(tok, chat("Of Italy?", said)) == [label]
    prompt = render_text(tok, chat("Of Italy?"), None, True)
    read = part(label.removesuffix(end), opened=opens_thought(prompt))
    assert (read.answer, read.thought) == ("Rome.", "Hm." if "Hm." in said else "")
    both = trained(tok, chat("Of Italy?", said, "Again?", said))
    assert "".join(both) == label * 2


def test_a_thought_without_an_answer_is_trained_closed() -> None:
    tok = written(TURN + "{{ m.content }}<|im_end|>\n{% endfor %}" + OPEN + "<think>\n{% endif %}")
    assert trained(tok, chat("Of Italy?", "<think>Hm.</think>")) == ["Hm.\n</think>\n\n<|im_end|>"]


@pytest.mark.parametrize("marks", ["[INST] |[/INST]", "[INST]|[/INST]"])
def test_a_system_text_that_stands_in_the_last_question_alone_is_trained_as_it_is_asked(marks: str) -> None:
    """As in Mistral 7B v0.3, NeMo and Large: it is gone from the text once the question is answered."""
    begin, close = marks.split("|")
    template = (
        "{% set system = messages[0].content if messages[0].role == 'system' else '' %}"
        "{% set turns = messages[1:] if system else messages %}{% for m in turns %}{% if m.role == 'user' %}"
        + begin
        + "{% if loop.last and system %}{{ system }}\n\n{% endif %}{{ m.content }}"
        + close
        + "{% else %} {{ m.content }}</s>{% endif %}{% endfor %}"
    )
    tok = written(template, "</s>")
    messages = (Message("system", "Be brief."), *chat(*SAID))
    rows = templates.turns(training_rows(tok, messages, 10_000))
    assert len(rows) == 2
    for at, (row, first, last) in zip((2, 4), rows, strict=True):
        assert row.input_ids[:first] == render(tok, messages[:at], None, True)
        assert tok.decode(row.input_ids[:first]).endswith(f"{begin}Be brief.\n\n{messages[at - 1].content}{close}")
        assert tok.decode(row.labels[first:last]) == f" {messages[at].content}</s>"
    lost = written("{% for m in messages if m.role != 'system' %}{{ m.content | truncate(3) }}</s>{% endfor %}", "</s>")
    with pytest.raises(DataError, match="leaves out"):
        training_rows(lost, messages, 10_000)


@pytest.mark.parametrize(
    ("template", "read"),
    [
        ("{% if thinking %}x{% endif %}", True),
        ("{% set t = thinking | default(true) %}{{ t }}", True),
        ("{% generation %}{{ thinking }}{% endgeneration %}{% for m in messages %}{% continue %}{% endfor %}", True),
        ("{% macro say() %}{{ thinking }}{% endmacro %}{{ say() }}", True),
        ("{{ raise_exception('Disabling thinking is not supported.') }}", False),
        ("{# set thinking to false to have none #}{{ messages }}", False),
        ("Reasoning: thinking is on", False),
        ("{{ messages[0].thinking }}", False),
    ],
)
def test_an_argument_is_read_where_the_templates_code_reads_it(template: str, read: bool) -> None:
    assert ("thinking" in names_read(template)) is read
    assert "thinking" in names_read(template + "{% if %}")  # no template at all: any word may be a name
