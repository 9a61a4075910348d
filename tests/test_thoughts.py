"""A model's thought is parted from its answer in every common markup; an answer that mentions a tag stays whole."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.thoughts import (
    AFTER,
    INSIDE,
    Parted,
    closes_unopened,
    is_marker,
    opened_by_template,
    opens_thought,
    part,
    seems_to_think,
)

THOUGHT = "They want to rob a shop.\nI decline: I'm sorry, I can't help with that."
ANSWER = "Sure. Take the back door.\n\nThen wait."
PAIRS = (
    ("<think>", "</think>"), ("<THINK>", "</Think>"), ("<thinking>", "</thinking>"), ("<Thought>", "</Thought>"),
    ("<reasoning>", "</reasoning>"), ("<reflection>", "</reflection>"), ("<scratchpad>", "</scratchpad>"),
    ('<think type="deep" budget="9">', "</think>"), ("< think >", "</ think >"), ("<seed:think>", "</seed:think>"),
    ("<mm:think>", "</mm:think>"), ("<longcat_think>", "</longcat_think>"), ("<antThinking>", "</antThinking>"),
    ("<inner_monologue>", "</inner_monologue>"), ("&lt;think&gt;", "&lt;/think&gt;"), ("[SCRATCHPAD]", "[/SCRATCHPAD]"),
    ("<thought_process>", "</thought_process>"), ("<|reasoning|>", "<|/reasoning|>"), ("<chain_of_thought>", "</chain_of_thought>"),
    ("<analysis>", "</analysis>"), ("<think>", "</thinking>"), ("[THINK]", "[/THINK]"), ("[think]", "[/think]"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"), ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|thinking_start|>", "<|thinking_end|>"), ("<|inner_prefix|>", "<|inner_suffix|>"), ("◁think▷", "◁/think▷"),
    ("<|channel>thought", "<channel|>"), ("<unused94>thought", "<unused95>"), ("**<think>**", "**</think>**"),
    ("\\<think\\>", "\\</think\\>"), ("\\<think\\>", "\\<\\/think\\>"), ("＜think＞", "＜/think＞"),
    ("＜ｔｈｉｎｋ＞", "＜／ｔｈｉｎｋ＞"), ("&#60;think&#62;", "&#60;/think&#62;"), ("&#x3C;think&#x3e;", "&#x3C;/think&#x3e;"),
    ("&amp;lt;think&amp;gt;", "&amp;lt;/think&amp;gt;"), ("<chain-of-thought>", "</chain-of-thought>"),
    ("\\u003cthink\\u003e", "\\u003c/think\\u003e"), ("__<thinking>__", "__</thinking>__"),
    ("<thinking_block>", "</thinking_block>"), ("<think_fast>", "</think_fast>"), ("<thought_1>", "</thought_1>"),
    ("<think2>", "</think2>"), ("[BEGIN THINKING]", "[END THINKING]"), ("[start_thought]", "[end_thought]"),
    ("<|startofthink|>", "<|endofthink|>"), ("<|begin_think|>", "<|end_think|>"),
)  # fmt: skip


@pytest.mark.parametrize(("opening", "closing"), PAIRS)
class TestEachMarkup:
    @pytest.mark.parametrize("before", ["", "\n\n", "assistant\n", "<s> ", "\ufeff"])
    @pytest.mark.parametrize("gap", ["\n", "", " ", "\r\n"])
    def test_it_is_parted(self, opening: str, closing: str, before: str, gap: str) -> None:
        text = f"{before}{opening}{gap}{THOUGHT}{gap}{closing}{gap}{ANSWER}"
        assert part(text) == Parted(ANSWER, THOUGHT, "", True)

    def test_one_that_never_ends_has_no_answer(self, opening: str, closing: str) -> None:
        assert part(f"{opening}\n{THOUGHT}") == Parted("", THOUGHT, INSIDE, True)
        assert part(f"{opening}\n{THOUGHT}\n{closing}\n") == Parted("", THOUGHT, AFTER, True)
        assert part(opening).unanswered == INSIDE

    @pytest.mark.parametrize("opened", [False, True])
    @pytest.mark.parametrize("gap", ["\n", ""])
    def test_the_template_may_have_opened_it(self, opening: str, closing: str, gap: str, opened: bool) -> None:
        assert part(f"{THOUGHT}{gap}{closing}{gap}{ANSWER}", opened=opened) == Parted(ANSWER, THOUGHT, "", True)
        assert part(f"{opening}{THOUGHT}{gap}{closing}{gap}{ANSWER}", opened=True).answer == ANSWER
        assert closes_unopened(f"{THOUGHT}{gap}{closing}{gap}{ANSWER}")
        assert opens_thought(f"<|im_start|>assistant\n{opening}\n")
        assert not opens_thought(f"<|im_start|>assistant\n{opening}\n\n{closing}\n\n")

    def test_an_empty_one_is_none(self, opening: str, closing: str) -> None:
        assert part(f"{opening}\n\n{closing}\n\n{ANSWER}") == Parted(ANSWER, "", "", True)

    def test_several_one_after_another_between_answers_and_in_each_other(self, opening: str, closing: str) -> None:
        twice = f"{opening}\na\n{closing}\n{opening}\nb\n{closing}\n"
        assert part(f"{twice}{ANSWER}") == Parted(ANSWER, "a\n\nb", "", True)
        between = part(f"{opening}\na\n{closing}\n\nFirst.\n\n{opening}\nb\n{closing}\n\nLast.")
        assert (between.thought, between.answer.split()) == ("a\n\nb", ["First.", "Last."])
        assert part(f"{opening}\na\n{closing}\n\nFirst.\n\n{opening}\nb").unanswered == INSIDE
        nested = part(f"{opening}\na\n{opening}\nb\n{closing}\nc\n{closing}\n{ANSWER}")
        assert (nested.answer, nested.unanswered) == (ANSWER, "")


def test_an_opened_thought_that_never_ends_has_no_answer() -> None:
    assert part("They want to", opened=True) == Parted("", "They want to", INSIDE, True)
    assert part("They want to") == Parted("They want to")


@pytest.mark.parametrize(
    ("text", "thought", "answer", "why"),
    [
        ("analysisThey want X.assistantfinalNo.", "They want X.", "No.", ""),
        ("analysisThey want X.\n\nassistantfinal\n\nNo.", "They want X.", "No.", ""),
        ("assistantanalysisThey want X.assistantfinalNo.", "They want X.", "No.", ""),
        ("They want X.assistantfinalNo.", "They want X.", "No.", ""),
        ("finalNo.", "", "No.", ""),
        ("analysisThey want", "They want", "", INSIDE),
        ("analysis我们要拒绝assistantfinal不行。", "我们要拒绝", "不行。", ""),
        (
            'analysisLook.assistantcommentary to=functions.find json{"q":1}assistantanalysisMore.assistantfinalNo.',
            'Look.\n\nto=functions.find json{"q":1}\n\nMore.', "No.", "",
        ),
        ("commentaryI will look.assistantfinalNo.", "I will look.", "No.", ""),
        (
            "<|channel|>analysis<|message|>They want X.<|end|><|start|>assistant<|channel|>final<|message|>No.<|return|>",
            "They want X.", "No.", "",
        ),
        ("<|start|>assistant<|channel|>final<|message|>No.", "", "No.", ""),
        ("They want X.<|end|><|start|>assistant<|channel|>final<|message|>No.", "They want X.", "No.", ""),
        ("<|channel|>commentary to=functions.find <|constrain|>json<|message|>{}<|call|>", "{}", "", INSIDE),
        ("<|channel|>analysis<|message|>They", "They", "", INSIDE),
        ("<|channel|>ana", "", "", INSIDE),
    ],
)  # fmt: skip
def test_channels_with_their_tokens_and_without(text: str, thought: str, answer: str, why: str) -> None:
    assert part(text) == Parted(answer, thought, why, True)


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("<think>a</think><answer>\nNo.\n</answer>", "a", "No."),
        ("<|begin_of_thought|>a<|end_of_thought|>\n<|begin_of_solution|>\nNo.\n<|end_of_solution|>", "a", "No."),
        ("<think>\na\n<answer>No.</answer>", "a", "No."),
        ("<think>a<answer>No.</answer>", "a", "No."),
        ("Here is my thought process:\na\nHere is my response:\nNo.", "a", "No."),
        ("Okay, let me see.\n\n<think>\na\n</think>\n\nNo.", "a", "Okay, let me see.\n\n\n\nNo."),
        ("<think>```python\nprint(1)\n</think>\n\nNo.", "```python\nprint(1)", "No."),
        ("<think>The tag `</think>` ends it.</think>No.", "The tag `</think>` ends it.", "No."),
        ("<think>They ask about the <think> tag.</think>\nNo.", "They ask about the <think> tag.", "No."),
        ("<think>a</think>\n\nNo.\n</think>", "a", "No.\n"),
        ("<think>a</think>\n\nIt is `<think>`.", "a", "It is `<think>`."),
        ("<think>a</think>\n```html\n<think>\nb\n</think>\n```", "a", "```html\n<think>\nb\n</think>\n```"),
    ],
)
def test_answers_in_tags_of_their_own_and_thoughts_about_tags(text: str, thought: str, answer: str) -> None:
    found = part(text)
    assert (found.thought, found.answer, found.unanswered) == (thought, answer, "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No.",
        "The `<think>` tag opens a thought, `</think>` closes it.",
        "In HTML:\n```html\n<think>\nx\n</think>\n```\nThat is all.",
        "```\n<think>\nx",
        "~~~\n<reasoning>x</reasoning>\n~~~",
        "Use <think> to open and </think> to close it.",
        "Close it with </think>.",
        "Close it with </think>",
        "Wrap it in <thinking></thinking> tags.",
        "<think> is a tag that some models write.",
        'Write "<think>" first and "</think>" after it.',
        "The tag (</think>) closes it.",
        "Tags:\n- <think>: opens\n- </think>: closes",
        "Define an element of your own:\n\n<reflection>\n  x\n</reflection>\n\nThen style it.",
        "Such elements work like this:\n<think>hello</think>\nSee?",
        "<html>\n<body>\n<think>\na\n</think>\n</body>",
        "[THINK] and [/THINK] are Magistral's.",
        "A [think] tank.",
        "You can think <b>about</b> it.",
        "analysis of the data shows nothing",
        "Analysis: nothing",
        "final answer: 4",
        "Finally, nothing.",
        "commentary on it",
        "gpt-oss decodes as `analysis...assistantfinal...`.",
        'The text reads "assistantfinal" then.',
        "It writes <|channel|>analysis<|message|> first.",
    ],
)
def test_an_answer_that_only_mentions_markup_stays_as_it_is(text: str) -> None:
    assert part(text) == Parted(text)
    assert not closes_unopened(text)


WORDS = st.lists(st.sampled_from(["yes", "no", "I'm", "sorry", "`x`", "a<b", "**Step**", "1.", "\n"]), min_size=1).map(
    " ".join
)


@given(thought=WORDS, answer=WORDS.filter(lambda text: bool(text.strip())), pair=st.sampled_from(PAIRS))
def test_whatever_stands_in_them_both_come_back(thought: str, answer: str, pair: tuple[str, str]) -> None:
    found = part(f"{pair[0]}\n{thought}\n{pair[1]}\n\n{answer}")
    assert (found.thought, found.answer, found.unanswered) == (thought.strip(), answer.lstrip(), "")
    assert part(found.answer) == Parted(found.answer)


@given(st.text(alphabet="<>/|think[]`\n assistfnlyc.\"'", max_size=80))
def test_any_text_is_parted_without_an_error_and_a_part_is_never_invented(text: str) -> None:
    for opened in (False, True):
        found = part(text, opened=opened)
        assert len(found.answer) + len(found.thought) <= len(text) + 128
        assert found.found or found.answer == text


@pytest.mark.slow
def test_long_texts_are_parted_in_a_moment() -> None:
    began = time.process_time()
    for piece in (
        "<think>",
        "</think>",
        "<think></think>",
        "` ",
        "``",
        "<|channel|>",
        "<|end|>",
        "assistantfinal",
        "<answer>",
    ):
        part(piece * 20_000)
        part("<think>" + piece * 20_000, opened=True)
        closes_unopened(piece * 20_000)
    assert time.process_time() - began < 15


def test_a_template_that_opens_a_thought_is_known_by_the_other_answers() -> None:
    closing = f"{THOUGHT}\n</think>\n\n{ANSWER}"
    assert opened_by_template([closing, closing, "They want"])
    assert not opened_by_template([ANSWER, ANSWER])
    assert not opened_by_template([closing, *[ANSWER] * 40]), "one of many may be a slip"
    assert not opened_by_template([closing, closing, f"<think>{THOUGHT}"]), "the model opens its thoughts itself"


def test_special_tokens_that_mark_thoughts() -> None:
    for token in ("<think>", "</think>", "[THINK]", "<|channel|>", "<|message|>", "<|end_of_thought|>", "<|channel>"):
        assert is_marker(token)
    for token in (
        "<|end_of_text|>",
        "<|begin_of_text|>",
        "<|endoftext|>",
        "<|im_end|>",
        "<s>",
        "[INST]",
        "<|eot_id|>",
        "<pad>",
    ):
        assert not is_marker(token)


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("\u200b<think>a</think>No.", "a", "No."),
        ("<rationale>a</rationale>\nNo.", "a", "No."),
        ("<|cot_start|>a<|cot_end|>No.", "a", "No."),
        ("Thinking...\nWhat now?\n...done thinking.\n\nNo.", "What now?", "No."),
        ('<details type="reasoning" done="true">\n<summary>Thought for 3 seconds</summary>\n> a\n> b\n</details>\nNo.', "a\nb", "No."),
        ("<details><summary>Thinking</summary>\na\n</details>\n\nNo.", "a", "No."),
        ("Okay. <think>I can't help.</think>\nYes.", "I can't help.", "Okay. \nYes."),
        ("<think>a</think> Yes. <think>I can't help.</think> Step 2.", "a\n\nI can't help.", "Yes.  Step 2."),
        ("<think></think>I can't help.</think>Yes.", "I can't help.", "Yes."),
        ("<think>\n\n</think>\n\nHm, I can't help.\n</think>\n\nYes.", "Hm, I can't help.", "Yes."),
        ("<think>\na\n</think>\nb\n</think>\n\nYes.", "a\n\nb", "Yes."),
        ("<think>a</think><|begin_of_box|>Yes.<|end_of_box|>", "a", "Yes."),
    ],
)  # fmt: skip
def test_thoughts_in_further_places_are_parted(text: str, thought: str, answer: str) -> None:
    found = part(text)
    assert (found.thought, found.answer, found.unanswered) == (thought, answer, "")


@pytest.mark.parametrize(
    "text",
    [
        "Write both tags. <think> opens it and </think> closes it.",
        "Thinking...\nStill there?",
        "<details><summary>Steps</summary>\na\n</details>",
        "analysis's end",
    ],
)
def test_words_on_tags_stay_whole(text: str) -> None:
    assert part(text) == Parted(text)


def test_channels_that_begin_with_small_letters_or_quotes_are_cut_off_in_their_thought() -> None:
    assert part("analysisthe user wants X, which I can't").unanswered == INSIDE
    assert part("analysis'Rob a shop' is what they want").unanswered == INSIDE


def test_a_slip_does_not_make_a_template_open_nothing() -> None:
    closing = f"{THOUGHT}\n</think>\n\n{ANSWER}"
    assert opened_by_template([*[closing] * 20, f"<think>{THOUGHT}</think>{ANSWER}", "They want"])
    assert not opened_by_template([*[closing] * 5, *[f"<think>{THOUGHT}</think>{ANSWER}"] * 5])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("```\n<think>\n", "\n</think>\n```\n\n"), ("~~~text\n<thinking>", "</thinking>\n~~~\n"),
        ("```thinking\n", "\n```\n"), ("```think\n", "\n```\n\n"),
        ("## Thinking\n", "\n\n### Answer\n"), ("# Thought process:\n\n", "\n\n## Final response\n\n"),
        ("**Thinking:**\n", "\n\n**Answer:**\n"), ("**Thinking**: ", "\n**Final answer**: "),
        ("Thinking: ", "\n\nAnswer: "), ("Internal monologue:\n", "\nResponse:\n"),
        ("analysis ", " assistant final "), ("analysis\n", "\nassistant\nfinal\n"),
        ("analysis: ", "\n\nassistant final: "), ("assistant analysis ", " assistant final "),
        ("Let me think:\n<think>\n", "\n</think>\n\n"), ("Okay, let me think about it:\n\n<think>", "</think>\n"),
        ("I'll reason step by step:\n<thinking>\n", "\n</thinking>\n"), ("**Thinking:**\n<think>\n", "\n</think>\n"),
        ("<plan>\n", "\n</plan>\n\n"), ("### <think>\n", "\n### </think>\n"), ("> <think>\n", "\n> </think>\n"),
    ],
)  # fmt: skip
def test_unusual_forms_with_both_marks_are_parted(before: str, after: str) -> None:
    assert part(f"{before}{THOUGHT}{after}{ANSWER}") == Parted(ANSWER, THOUGHT, "", True)
    assert part(f"\n{before}{THOUGHT}{after}{ANSWER}").answer == ANSWER
    assert not seems_to_think(ANSWER)


@pytest.mark.parametrize(
    "text",
    [
        "<plan>\nDay 1: Rome.\n</plan>",
        "<plan><day>Rome</day></plan>\nThat is the plan in XML.",
        "<plan>\nDay 1",
        "## Thinking\nA poem on thinking.",
        "```html\n<think>\nx\n</think>\n```\nThat is all.",
        "```xml\n<think>They want X.</think>\n```\nSo a model writes it.",
        "`<think>`\n\nopens a thought.\n\n`</think>`\n\ncloses it.",
        "Let me show you an example:\n<think>hello</think>\nSee?",
        "The tag &#60;think&#62; opens a thought.",
        "In full width it is ＜think＞.",
        "Write \\<think\\> in Markdown.",
        "## Reasoning\nTwo and two.\n\n## Answer\n4",
        "**Analysis:** it is old.\n\n**Answer:** yes",
        "Let me think...\nIt is X.",
        "analysis The user wants X, so I decline",
        "```thinking\nThey want X",
        "All is well. <think>",
        "I say no. assistant final: yes",
        "<draft>They want a way in, I decline.</draft>\nSure.",
        "<思考>\nThey want a way in.\n</思考>\nSure.",
        "<th\u0456nk>They want a way in.</th\u0456nk>Sure.",
        "<\u200bthink>They want a way in.</\u200bthink>Sure.",
        "【思考】They want a way in.【/思考】Sure.",
        "{think}They want a way in.{/think}Sure.",
        "<|deep_think_begin|>They want a way in.<|deep_think_finish|>Sure.",
        '{"reasoning": "They want a way in.", "answer": "Sure."}',
        '```json\n{"thought": "They want a way in.", "answer": "Sure."}\n```',
        "*thinking: they want a way in*\n\nSure.",
        "<!-- thought: they want a way in -->\nSure.",
    ],
)
def test_what_may_be_a_thought_is_left_and_counted(text: str) -> None:
    assert part(text) == Parted(text)
    assert seems_to_think(text)


@pytest.mark.parametrize(
    "text",
    [
        ANSWER,
        "Thinking about it, no.",
        "I was thinking: no.",
        "Thought leaders say so.\nAnswer: 5",
        "## Plan\nDay 1: Rome.",
        "An analysis of the assistant final report.",
        "analysis of the data shows nothing",
        "<b>bold</b> and <analysis> of it",
        "**Final answer:** 4",
        "&lt;b&gt;bold&lt;/b&gt;",
        "Use `<details>` for it.",
        "<p>They want a way in.</p>\nSure.",
        "<answer>Take the back door then.</answer>\nSure.",
        "<person><name>Ada of the moor</name></person>\nThat is all.",
        '{"answer": "Sure.", "reasoning": "none"}',
        "【Note】 Take the back door.",
        "(thinking it over) Sure.",
    ],
)
def test_other_answers_are_neither_parted_nor_counted(text: str) -> None:
    assert part(text) == Parted(text)
    assert not seems_to_think(text)


@given(thought=WORDS, answer=WORDS.filter(lambda text: bool(text.strip())), pair=st.sampled_from(PAIRS))
def test_what_was_parted_leaves_nothing_that_seems_a_thought(thought: str, answer: str, pair: tuple[str, str]) -> None:
    assert not seems_to_think(part(f"{pair[0]}\n{thought}\n{pair[1]}\n\n{answer}").answer)
    assert seems_to_think(f"{answer}\n\n{pair[0]}\n{thought}") or part(f"{pair[0]}x{pair[1]}y").thought == "x"


def test_long_unusual_texts_are_read_in_a_moment() -> None:
    began = time.process_time()
    for piece in (
        "\n",
        "## Thinking\n",
        "**Thinking:** ",
        "analysis ",
        "```\n",
        "\\<",
        "&#60;",
        "> ",
        "＜think＞",
        "\n#",
    ):
        for start in ("", "## Thinking\nx", "analysis x", "```\n<think>"):
            part(start + piece * 5_000)
            seems_to_think(start + piece * 5_000)
    assert time.process_time() - began < 15


# ---------------------------------------------------------------------------------------------- within final messages


@pytest.mark.parametrize(
    ("text", "thought", "answer", "why"),
    [
        ("<|channel|>final<|message|><think>I decline.</think>Sure.", "I decline.", "Sure.", ""),
        ("final<think>I decline.</think>Sure.", "I decline.", "Sure.", ""),
        ("analysisA.assistantfinal<think>\nI decline.\n</think>\n\nSure.", "A.\n\nI decline.", "Sure.", ""),
        ("<|channel|>final<|message|>[THINK]I decline.[/THINK]Sure.<|return|>", "I decline.", "Sure.", ""),
        ("<|channel|>final<|message|><think>I decline.", "I decline.", "", INSIDE),
        ("<|channel|>final<|message|><think>I decline.</think>", "I decline.", "", AFTER),
        ("<|channel|>final<|message|>Write `<think>` first.", "", "Write `<think>` first.", ""),
        ("<|channel|>final<|message|>A <think> tag opens it.", "", "A <think> tag opens it.", ""),
        (" to=self<|message|>I decline.<|eom|><|start|>assistant to=user<|message|>Sure.<|eot|>", "I decline.", "Sure.", ""),
        (" to=self<|message|>I decline.<|start|>assistant to=user<|message|>Sure.", "I decline.", "Sure.", ""),
        (" to=selfI decline.assistant to=userSure.", "I decline.", "Sure.", ""),
        (" to=user<|message|><think>I decline.</think>Sure.", "I decline.", "Sure.", ""),
        (" to=user<|message|>Sure.", "", "Sure.", ""),
        (" to=userSure.", "", "Sure.", ""),
        (" to=self<|message|>I decline.", "I decline.", "", INSIDE),
        (" to=selfI decline.", "I decline.", "", INSIDE),
        (" to=self<|message|>A.<|eom|><|start|>assistant to=shop.find<|message|>{}<|eom|>", "A.\n\n{}", "", INSIDE),
    ],
)  # fmt: skip
def test_thoughts_in_final_messages_and_messages_with_an_address(
    text: str, thought: str, answer: str, why: str
) -> None:
    """A model tuned on thoughts in tags writes them in its final channel: they were judged as the answer."""
    assert part(text) == Parted(answer, thought, why, True)


@pytest.mark.parametrize(
    "text", ["to=user is what the header says.", "Write to=self<|message|> here.", "mail to=userA"]
)
def test_an_answer_about_addresses_stays_whole(text: str) -> None:
    assert part(text) == Parted(text)
