"""A tokenizer made from a GGUF file's metadata gives the tokens of the original one, whose published form stands here."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import regex  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from tests import gguf_writing
from tests.gguf_writing import CONTROL, NORMAL, UNUSED, USER_DEFINED
from tests.tiny_models import SENTENCES
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from aftertune.errors import ModelError
from aftertune.models.gguf_files import GGUFHeader
from aftertune.models.gguf_tokenizers import PRE_TOKENIZERS, check_tokenizer, read_tokenizer
from aftertune.models.tokenizer_comparison import TEXTS, same_tokens

byte_level = pre_tokenizers.ByteLevel
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace("{1,3}", "")
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}"
    r"\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GPT4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK3 = (
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
)
DEEPSEEK_CODER = ("[\r\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", "[一-龥ࠀ-一가-퟿]+")


def split(*expressions: str) -> list[Any]:
    return [pre_tokenizers.Split(Regex(each), "isolated") for each in expressions]


def chain(*parts: Any) -> Any:
    return pre_tokenizers.Sequence(list(parts))


PLAIN = byte_level(add_prefix_space=False, use_regex=False)
GPT2 = byte_level(add_prefix_space=False, use_regex=True)
DIGITS = pre_tokenizers.Digits(individual_digits=True)
# As the originals' tokenizer.json have them: pre-tokenizer, normaliser, `ignore_merges`.
ORIGINALS: dict[str, tuple[Any, Any, bool]] = {
    "gpt-2": (GPT2, None, False),
    "olmo": (GPT2, normalizers.NFC(), False),
    "smollm": (chain(DIGITS, GPT2), None, False),
    "starcoder": (chain(DIGITS, GPT2), None, False),
    "command-r": (chain(DIGITS, GPT2), normalizers.NFC(), False),
    "llama-bpe": (chain(*split(LLAMA3), PLAIN), None, True),
    "dbrx": (chain(*split(LLAMA3), PLAIN), None, False),
    "qwen2": (chain(*split(QWEN2), PLAIN), normalizers.NFC(), False),
    "tekken": (chain(*split(TEKKEN), PLAIN), None, True),
    "gpt-4o": (chain(*split(GPT4O), PLAIN), None, False),
    "deepseek-v3": (chain(*split(*DEEPSEEK3), PLAIN), None, False),
    "deepseek-coder": (chain(*split(*DEEPSEEK_CODER), DIGITS, PLAIN), None, False),
}
SPECIAL = ("<|start|>", "<|end|>")


@cache
def original(pre: str) -> Any:
    """A small tokenizer of the published form; its vocabulary holds words, digits in groups, and blanks in runs."""
    splits, normalizer, whole_words = ORIGINALS[pre]
    made = Tokenizer(models.BPE(ignore_merges=whole_words))
    made.pre_tokenizer = splits
    if normalizer is not None:
        made.normalizer = normalizer
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=list(SPECIAL), initial_alphabet=byte_level.alphabet(), show_progress=False
    )
    made.train_from_iterator(
        [*SENTENCES, *TEXTS, *(text.upper() for text in TEXTS), "12 123 1234 20 2024 007 " * 5], trainer
    )
    made.add_tokens([AddedToken("<think>", normalized=False)])
    return made


def header_of(tokenizer: Any, pre: str | None, **more: Any) -> GGUFHeader:
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    kinds = [CONTROL if token in SPECIAL else USER_DEFINED if token == "<think>" else NORMAL for token in tokens]
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return header({
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": [" ".join(pair) for pair in merges],
        "tokenizer.ggml.eos_token_id": 1,
        **more,
    })  # fmt: skip


def header(metadata: dict[str, Any]) -> GGUFHeader:
    return GGUFHeader(Path("m.gguf"), {"general.architecture": "llama", **metadata}, {})


@cache
def rebuilt(pre: str) -> Any:
    described = header_of(original(pre), pre)
    check_tokenizer(described)
    return read_tokenizer(described).backend


def ids(tokenizer: Any, text: str) -> list[int]:
    found: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return found


@pytest.mark.parametrize("pre", ORIGINALS)
def test_the_original_s_tokens(pre: str) -> None:
    for text in (*TEXTS, *SENTENCES, "<|start|>a <think> b<|end|>", "12,345.67 in 2024", "a1b22c333d4444"):
        assert ids(rebuilt(pre), text) == ids(original(pre), text), text


SIGNS = st.sampled_from(list("aZé ßΩжح中ア가0179½²'.,-/#\n\r\t \u00a0\u3000e\u0301_<|>🙂"))
ANY = st.one_of(st.text(max_size=30), st.lists(st.one_of(SIGNS, st.sampled_from(SPECIAL)), max_size=30).map("".join))


@given(st.sampled_from(sorted(ORIGINALS)), ANY)
def test_the_original_s_tokens_of_any_text(pre: str, text: str) -> None:
    assert ids(rebuilt(pre), text) == ids(original(pre), text)


@given(st.sampled_from([pre for pre in ORIGINALS if not PRE_TOKENIZERS[pre].composed]), st.text(max_size=30))
def test_tokens_become_the_text_again(pre: str, text: str) -> None:
    assert rebuilt(pre).decode(ids(rebuilt(pre), text), skip_special_tokens=False) == text


def test_every_name_builds_and_splits_without_loss() -> None:
    made = original("gpt-2")
    for pre in PRE_TOKENIZERS:
        tokenizer = read_tokenizer(header_of(made, pre)).backend
        for text in TEXTS:
            composed = normalizers.NFC().normalize_str(text) if PRE_TOKENIZERS[pre].composed else text
            assert tokenizer.decode(ids(tokenizer, text)) == composed


def pieces(expressions: tuple[str, ...], text: str) -> list[str]:
    """Split a text as llama.cpp does (`unicode_regex_split`), by another engine of expressions than ours."""
    found = [text]
    for each in expressions:
        parts: list[str] = []
        for piece in found:
            at = 0
            for match in regex.finditer(each, piece):
                parts += [piece[at : match.start()], match.group()]
                at = match.end()
            parts.append(piece[at:])
        found = [part for part in parts if part]
    return found


@given(st.sampled_from(sorted(PRE_TOKENIZERS)), ANY)
def test_every_name_splits_as_its_expressions_say(pre: str, text: str) -> None:
    splits = read_tokenizer(header_of(original("gpt-2"), pre)).backend.pre_tokenizer
    found = splits.pre_tokenize_str(text)
    assert [text[start:end] for _, (start, end) in found] == pieces(PRE_TOKENIZERS[pre].splits, text)


def test_names_that_would_be_mixed_up_differ() -> None:
    """The names decide tokens: one conversion for all of them would be wrong without a word."""
    text = "In 20245, WE'LL pay:\n\n£1234/- myHTTPServer says 北京a !x"
    seen = {}
    for pre in ("gpt-2", "smollm", "llama-bpe", "qwen2", "tekken", "gpt-4o", "deepseek-v3", "deepseek-coder"):
        splits = read_tokenizer(header_of(original("gpt-2"), pre)).backend.pre_tokenizer
        seen[pre] = tuple(piece for piece, _ in splits.pre_tokenize_str(text))
    assert len(set(seen.values())) == len(seen)


def test_a_word_that_no_merge_makes() -> None:
    """Llama 3's tokenizer takes a word that is in the vocabulary whole, whatever its merges say."""
    described = header_of(original("llama-bpe"), "llama-bpe")
    tokens = [*described.metadata["tokenizer.ggml.tokens"], "Ġxylophone"]
    kinds = [*described.metadata["tokenizer.ggml.token_type"], NORMAL]
    more = {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": kinds}
    for pre, whole in (("llama-bpe", True), ("dbrx", False)):
        changed = replace(described, metadata={**described.metadata, **more, "tokenizer.ggml.pre": pre})
        found = ids(read_tokenizer(changed).backend, "a xylophone")
        assert (len(tokens) - 1 in found) == whole


def test_control_tokens_beyond_ascii_stay_whole() -> None:
    """DeepSeek's: written as they are, while all other tokens are written in the alphabet of bytes."""
    described = header_of(original("qwen2"), "qwen2")
    tokens = list(described.metadata["tokenizer.ggml.tokens"])
    kinds = list(described.metadata["tokenizer.ggml.token_type"])
    added = ["<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜end▁of▁sentence｜>", "[PAD703]"]
    values = {
        **described.metadata,
        "tokenizer.ggml.tokens": tokens + added,
        "tokenizer.ggml.token_type": [*kinds, CONTROL, CONTROL, CONTROL, UNUSED],
        "tokenizer.ggml.bos_token_id": len(tokens),
        "tokenizer.ggml.eos_token_id": 1,
    }
    made = read_tokenizer(header(values))
    first = len(tokens)
    found = ids(made.backend, "<｜begin▁of▁sentence｜><｜User｜>hi<｜end▁of▁sentence｜>")
    assert (found[:2], found[-1]) == ([first, first + 1], first + 2)
    assert made.backend.get_vocab_size() == first + 4
    assert made.settings["bos_token"] == "<｜begin▁of▁sentence｜>"
    assert made.ends == (1, first + 2)
    assert made.backend.decode(found) == "hi"


def test_the_tokens_that_end_an_answer() -> None:
    """Llama 3's first files name `<|end_of_text|>` alone, and its chats end with `<|eot_id|>`."""
    described = header_of(original("gpt-2"), "gpt-2")
    tokens = [*described.metadata["tokenizer.ggml.tokens"], "<|eot_id|>", "<|eom_id|>", "</s>", "<|im_end|>"]
    kinds = [*described.metadata["tokenizer.ggml.token_type"], CONTROL, CONTROL, CONTROL, NORMAL]
    start = len(tokens) - 4
    values = {**described.metadata, "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": kinds}
    assert read_tokenizer(header(values)).ends == (1, start, start + 1)  # what is no control token ends nothing
    named = {**values, "tokenizer.ggml.eot_token_id": start + 2}
    assert read_tokenizer(header(named)).ends == (1, start + 2, start, start + 1)


# ---------------------------------------------------------------------------------------------- SentencePiece

PIECES = [
    "▁",
    "t",
    "h",
    "e",
    "a",
    "n",
    "o",
    "r",
    "s",
    "i",
    "d",
    "l",
    "u",
    "c",
    "m",
    "w",
    "y",
    "g",
    "p",
    "b",
    "f",
    "v",
    "k",
    ".",
    ",",
    "'",
    "!",
    "?",
    "0",
    "1",
    "2",
    "3",
    "4",
    "5",
    "6",
    "7",
    "8",
    "9",
    "é",
    "▁t",
    "he",
    "▁the",
    "in",
    "an",
    "er",
    "on",
    "▁a",
    "re",
    "▁s",
    "▁an",
    "▁and",
    "or",
    "ou",
    "▁he",
    "ing",
    "▁▁",
    "▁▁▁▁",
    "ll",
    "▁w",
    "20",
    "▁h",
    "▁hello",
    "hell",
    "o!",
    "ello",
    "th",
    "▁th",
]


def merged(text: str, values: dict[str, Any]) -> list[int]:
    """SentencePiece's BPE as llama.cpp has it: the neighbours that make the best piece are joined first, then the next."""
    tokens = values["tokenizer.ggml.tokens"]
    known = {token: number for number, token in enumerate(tokens)}
    scores, kinds = values["tokenizer.ggml.scores"], values["tokenizer.ggml.token_type"]
    out: list[int] = []
    prefix = "▁" if values.get("tokenizer.ggml.add_space_prefix", True) and text else ""
    parts = list(prefix + text.replace(" ", "▁"))
    while True:
        pairs = [
            (-scores[known[a + b]], at)
            for at, (a, b) in enumerate(itertools.pairwise(parts))
            if a + b in known and kinds[known[a + b]] == NORMAL
        ]
        if not pairs:
            break
        at = min(pairs)[1]
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    for part in parts:
        out += [known[part]] if part in known else [known[f"<0x{byte:02X}>"] for byte in part.encode()]
    return out


@pytest.mark.parametrize("prefix", [True, False])
def test_sentencepiece_merges_by_score(prefix: bool) -> None:
    values = {**gguf_writing.sentencepiece(PIECES), "tokenizer.ggml.add_space_prefix": prefix}
    check_tokenizer(header(values))
    tokenizer = read_tokenizer(header(values)).backend

    @given(st.one_of(st.text(max_size=20), st.text("thelo andr w2.é 中\n", max_size=20)))
    def same(text: str) -> None:
        text = text.replace("▁", "")
        assert ids(tokenizer, text) == merged(text, values)
        assert tokenizer.decode(ids(tokenizer, text)) == text

    same()
    assert ids(tokenizer, "</s>")[-1] == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tokenizer.ggml.remove_extra_whitespaces": True}, "removes blanks"),
        ({"tokenizer.ggml.scores": [0.0, 0.0]}, "not every token has a score"),
        ({"tokenizer.ggml.scores": None}, "no tokenizer.ggml.scores"),
        ({"tokenizer.ggml.token_type": ["a"]}, "no tokenizer.ggml.token_type in its metadata, or of a wrong type"),
        (
            {"tokenizer.ggml.suppress_tokens": [5, 6]},
            "tokenizer.ggml.suppress_tokens in its metadata is not understood",
        ),
        ({"tokenizer.ggml.precompiled_charsmap": [1, 2]}, "precompiled_charsmap in its metadata is not understood"),
        ({"tokenizer.ggml.bos_token_id": -1}, "bos_token_id = -1"),
    ],
)
def test_sentencepiece_that_is_not_read(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError) as caught:
        check_tokenizer(header({**gguf_writing.sentencepiece(PIECES), **changes}))
    assert words in str(caught.value)


def test_a_vocabulary_that_is_not_whole() -> None:
    described = header_of(original("gpt-2"), "gpt-2")
    twice = [*described.metadata["tokenizer.ggml.tokens"]]
    twice[300] = twice[301]
    with pytest.raises(ModelError, match="stands twice"):
        check_tokenizer(header({**described.metadata, "tokenizer.ggml.tokens": twice}))
    merges = [*described.metadata["tokenizer.ggml.merges"], "q zzz"]
    with pytest.raises(ModelError, match="the merge 'q zzz' joins what its vocabulary does not hold"):
        read_tokenizer(header({**described.metadata, "tokenizer.ggml.merges": merges}))


# ---------------------------------------------------------------------------------------------- the same tokenizer?


def test_two_files_of_one_tokenizer(tmp_path: Path) -> None:
    folders = {}
    for name, made in {
        "original": original("smollm"),
        "rebuilt": rebuilt("smollm"),
        "unsplit": read_tokenizer(header_of(original("smollm"), "gpt-2")).backend,
        "other": original("qwen2"),
    }.items():
        folders[name] = tmp_path / name
        folders[name].mkdir()
        made.save(str(folders[name] / "tokenizer.json"))
    content = {name: (folder / "tokenizer.json").read_bytes() for name, folder in folders.items()}
    assert content["original"] != content["rebuilt"]
    assert same_tokens(folders["original"], folders["rebuilt"])
    assert same_tokens(folders["rebuilt"], folders["original"])
    assert not same_tokens(folders["original"], folders["other"])
    assert not same_tokens(folders["original"], tmp_path)
    (folders["other"] / "tokenizer.json").write_text('{"model": 1}', encoding="utf-8")
    assert not same_tokens(folders["original"], folders["other"])


def test_one_more_special_token_is_another_tokenizer(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        original("smollm").save(str(folder / "tokenizer.json"))
    changed = Tokenizer.from_file(str(other / "tokenizer.json"))
    changed.add_special_tokens([AddedToken("the", special=True)])
    changed.save(str(other / "tokenizer.json"))
    assert not same_tokens(one, other)
