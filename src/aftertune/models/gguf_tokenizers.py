"""A tokenizer from a GGUF file's metadata, such that it gives the tokens on which the model was trained.

A GGUF file holds the vocabulary, and for the rest names: how text is split before merging (`tokenizer.ggml.pre`), which
tokens are control tokens. transformers' own conversion ignores most of these names; llama.cpp knows them all, in
src/llama-vocab.cpp, from which the table is taken (where a comment there gives the original's expression, that one).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aftertune.errors import ModelError, near
from aftertune.models.gguf_files import AGAIN, FOLDER, GGUFHeader

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_BLANKS = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_LLAMA3 = rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}{{1,3}}|{_SIGNS}|{_BLANKS}"
_QWEN2 = rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}|{_SIGNS}|{_BLANKS}"
_QWEN35 = (
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_BLANKS}"
)
_SEED_CODER = rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}{{1}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{_BLANKS}"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_START = r"[^\r\n\p{L}\p{N}]?"
_SIGNS_SLASH = r" ?[^\s\p{L}\p{N}]+[\r\n/]*"
_TEKKEN = rf"{_START}{_UPPER}*{_LOWER}+|{_START}{_UPPER}+{_LOWER}*|\p{{N}}|{_SIGNS_SLASH}|{_BLANKS}"
_GPT4O = (
    rf"{_START}{_UPPER}*{_LOWER}+{_CONTRACTIONS}?|{_START}{_UPPER}+{_LOWER}*{_CONTRACTIONS}?"
    rf"|\p{{N}}{{1,3}}|{_SIGNS_SLASH}|{_BLANKS}"
)
_DEEPSEEK3 = (
    r"\p{N}{1,3}",
    r"[一-龥぀-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
)
_DEEPSEEK_CODER = (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"[一-龥ࠀ-一가-퟿]+", r"\p{N}")
_FALCON = (r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, r"[0-9][0-9][0-9]")
_POINTS = r" ?[^(\s|.,!?…。，、।۔،)]+"


@dataclass(frozen=True, slots=True)
class PreTokenizer:
    """How text is split before the merges are applied."""

    splits: tuple[str, ...]
    """Expressions, one after the other; what matches and what lies between are pieces of their own."""
    whole_words: bool = False
    """Whether a piece that is in the vocabulary is one token, whatever the merges say."""
    composed: bool = False
    """Whether letters and their marks are composed first (Unicode's form NFC), as the original tokenizer does."""


def _named(names: str, *splits: str, whole_words: bool = False, composed: bool = False) -> dict[str, PreTokenizer]:
    return dict.fromkeys(names.split(), PreTokenizer(splits, whole_words, composed))


PRE_TOKENIZERS: Mapping[str, PreTokenizer] = {
    **_named("gpt-2 phi-2 jais trillion gigachat a.x-4.0 mellum exaone4 granite-docling", _GPT2),
    **_named("mpt olmo", _GPT2, composed=True),
    **_named("smollm starcoder refact codeshell exaone minerva-7b mellum2", r"\p{N}", _GPT2),
    **_named("command-r", r"\p{N}", _GPT2, composed=True),
    **_named("llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2", _LLAMA3, whole_words=True),
    **_named("dbrx smaug-bpe glm4 chatglm-bpe", _LLAMA3),
    **_named("qwen2 kormo megrez", _QWEN2, composed=True),
    **_named("deepseek-r1-qwen stablelm2 hunyuan solar-open grok-2", _QWEN2),
    **_named("qwen35", _QWEN35, composed=True),
    **_named("seed-coder", _SEED_CODER),
    **_named("tekken", _TEKKEN, whole_words=True),
    **_named("gpt-4o llama4 kanana2 minimax-m2", _GPT4O),
    **_named("deepseek-v3 hunyuan-dense joyai-llm", *_DEEPSEEK3),
    **_named("falcon", *_FALCON),
    **_named("deepseek-coder", *_DEEPSEEK_CODER),
    **_named("poro-chat bloom gpt3-finnish", _POINTS),
    **_named("viking", _POINTS, r"\p{N}"),
}
"""`tokenizer.ggml.pre` -> how text is split."""

_KEYS = frozenset({
    "model", "pre", "tokens", "token_type", "scores", "merges", "token_type_count", "add_bos_token", "add_eos_token",
    "add_sep_token", "add_space_prefix", "remove_extra_whitespaces",
})  # fmt: skip
"""Keys below `tokenizer.ggml`, besides ids of tokens, that are read here or decide nothing in a chat."""
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6
_ENDS = frozenset({
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<end_of_turn>", "<|endoftext|>", "<|eom_id|>",
    "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<｜end▁of▁sentence｜>",
})  # fmt: skip
"""Control tokens that end an answer wherever they stand in a vocabulary (llama.cpp's list of end-of-generation tokens):
many files name only one of two."""


@dataclass(frozen=True, slots=True)
class GGUFTokenizer:
    """What a tokenizer's files hold."""

    backend: Any
    """A `tokenizers.Tokenizer`."""
    settings: Mapping[str, Any]
    """Of `tokenizer_config.json`."""
    template: str
    """The chat template; empty where the file has none."""
    ends: tuple[int, ...]
    """Ids of the tokens that end an answer."""
    doubt: str
    """What the file does not say and the original may do otherwise; empty where nothing is open."""


def check_tokenizer(header: GGUFHeader) -> None:
    """Raise ModelError for a tokenizer that is not read, before anything is built."""
    kind = header.metadata.get("tokenizer.ggml.model")
    if kind not in ("gpt2", "llama"):
        raise ModelError(
            f"{header.path}: a tokenizer of the kind {kind!r} is not read from GGUF files (gpt2, llama are): {FOLDER}"
        )
    tokens, types = _list(header, "tokens"), _list(header, "token_type")
    if len(types) != len(tokens):
        raise ModelError(
            f"{header.path}: {len(tokens):,} tokens and {len(types):,} types of tokens: it is damaged, {AGAIN}"
        )
    if len(set(tokens)) != len(tokens):
        twice = next(token for token in tokens if tokens.count(token) > 1)
        raise ModelError(f"{header.path}: the token {twice!r} stands twice in its vocabulary: it is damaged, {AGAIN}")
    if kind == "gpt2":
        _list(header, "merges")
        pre = header.metadata.get("tokenizer.ggml.pre")
        if pre in (None, "", "default"):
            raise ModelError(
                f"{header.path}: it does not say how its tokenizer splits text (tokenizer.ggml.pre; files made before "
                f"May 2024 do not), so the model would read other tokens than it was trained on: {AGAIN}"
            )
        if not isinstance(pre, str) or pre not in PRE_TOKENIZERS:
            raise ModelError(
                f"{header.path}: tokenizer.ggml.pre = {pre!r}: how it splits text is not known here"
                f"{near(str(pre), list(PRE_TOKENIZERS))}: {FOLDER}"
            )
    elif header.metadata.get("tokenizer.ggml.remove_extra_whitespaces"):
        raise ModelError(f"{header.path}: a tokenizer that removes blanks is not read from GGUF files: {FOLDER}")
    elif len(_list(header, "scores")) != len(tokens):
        raise ModelError(f"{header.path}: not every token has a score: it is damaged, {AGAIN}")
    for key, value in header.under("tokenizer.ggml").items():
        if key not in _KEYS and not key.endswith("_token_id") and value not in (0, "", []):
            raise ModelError(
                f"{header.path}: tokenizer.ggml.{key} in its metadata is not understood here, and may change every "
                f"answer: {FOLDER}"
            )
    for name in ("bos", "eos", "eot", "eom", "unknown", "padding"):
        token = header.metadata.get(f"tokenizer.ggml.{name}_token_id")
        if token is not None and (not isinstance(token, int) or not 0 <= token < len(tokens)):
            raise ModelError(
                f"{header.path}: tokenizer.ggml.{name}_token_id = {token}, beyond its {len(tokens):,} tokens: {AGAIN}"
            )


def read_tokenizer(header: GGUFHeader) -> GGUFTokenizer:
    """Return the tokenizer of a file that `check_tokenizer` accepts. Raises ModelError where it cannot be built."""
    tokens, types = _list(header, "tokens"), _list(header, "token_type")
    build = _byte_level if header.metadata["tokenizer.ggml.model"] == "gpt2" else _sentencepiece
    backend = build(header, tokens)
    _add_whole(backend, tokens, types)
    vocabulary = backend.get_vocab(with_added_tokens=True)
    wrong = [token for id_, token in enumerate(tokens) if vocabulary.get(token) != id_]
    if wrong or len(vocabulary) != len(tokens):
        raise ModelError(f"{header.path}: its vocabulary cannot be built as it is, e.g. {wrong[:1]}: {AGAIN}")
    names = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": header.metadata.get(f"{header.architecture}.context_length", 10**6),
    }
    for key, name in names.items():
        if (token := _special(header, key)) is not None:
            settings[name] = tokens[token]
    template = header.metadata.get("tokenizer.chat_template", "")
    template = template if isinstance(template, str) else ""
    return GGUFTokenizer(backend, settings, template, _ends(header, tokens, types), _doubt(header))


def _doubt(header: GGUFHeader) -> str:
    """Return what decides tokens and is in no key of the format, where it may differ for this file."""
    kind, prefix = header.metadata["tokenizer.ggml.model"], header.metadata.get("tokenizer.ggml.add_space_prefix")
    if kind == "llama" and prefix in (None, True):
        return (
            "its file does not say whether a blank is put before the text after each control token, or before the "
            "first text only: the former is taken, as llama.cpp does (Mistral's later tokenizers do the latter)"
        )
    if kind == "gpt2" and prefix:
        return "its file says that a blank is put before a text; none is, as in llama.cpp"
    return ""


def _special(header: GGUFHeader, name: str) -> int | None:
    token = header.metadata.get(f"tokenizer.ggml.{name}_token_id")
    return int(token) if token is not None else None


def _ends(header: GGUFHeader, tokens: Sequence[str], types: Sequence[int]) -> tuple[int, ...]:
    named = (_special(header, name) for name in ("eos", "eot", "eom"))
    listed = (id_ for id_, token in enumerate(tokens) if token in _ENDS and types[id_] == _CONTROL)
    return tuple(dict.fromkeys(id_ for id_ in (*named, *listed) if id_ is not None))


def _list(header: GGUFHeader, name: str) -> list[Any]:
    kind = {"token_type": int, "scores": float}.get(name, str)
    found = header.metadata.get(f"tokenizer.ggml.{name}")
    if not isinstance(found, list) or not found or not isinstance(found[0], kind):
        raise ModelError(f"{header.path}: no tokenizer.ggml.{name} in its metadata, or of a wrong type: {AGAIN}")
    return found


def _byte_level(header: GGUFHeader, tokens: Sequence[str]) -> Any:
    """Return byte-level BPE with the merges of the file and the splits of its name."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    pre = PRE_TOKENIZERS[header.metadata["tokenizer.ggml.pre"]]
    vocabulary = {token: id_ for id_, token in enumerate(tokens)}
    merges = []
    for line in _list(header, "merges"):
        left, right = line[: line.find(" ", 1)], line[line.find(" ", 1) + 1 :]  # a token may begin with a blank
        if left not in vocabulary or right not in vocabulary or left + right not in vocabulary:
            raise ModelError(f"{header.path}: the merge {line!r} joins what its vocabulary does not hold: {AGAIN}")
        merges.append((left, right))
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=pre.whole_words))
    if pre.composed:
        backend.normalizer = normalizers.NFC()
    splits = [pre_tokenizers.Split(Regex(each), behavior="isolated") for each in pre.splits]
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    backend.decoder = decoders.ByteLevel()
    return backend


def _sentencepiece(header: GGUFHeader, tokens: Sequence[str]) -> Any:
    """Return SentencePiece's BPE: pairs are merged in the order of the scores of what they make."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers.tokenization_utils_base import generate_merges

    vocabulary = {token: id_ for id_, token in enumerate(tokens)}
    scores = dict(zip(tokens, _list(header, "scores"), strict=True))
    kinds = dict(zip(tokens, _list(header, "token_type"), strict=True))
    whole = {token for token, kind in kinds.items() if kind not in (_NORMAL, _UNUSED)}
    unknown = _special(header, "unknown")
    backend = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=generate_merges(vocabulary, scores, whole),
            unk_token=tokens[0 if unknown is None else unknown],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    prefix = bool(header.metadata.get("tokenizer.ggml.add_space_prefix", True))
    begin = [normalizers.Prepend("▁")] if prefix else []
    backend.normalizer = normalizers.Sequence([*begin, normalizers.Replace(" ", "▁")])
    strip = [decoders.Strip(" ", 1, 0)] if prefix else []
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    return backend


def _add_whole(backend: Any, tokens: Sequence[str], types: Sequence[int]) -> None:
    """Make control tokens and the user's own tokens stay whole wherever a text has them."""
    from tokenizers import AddedToken

    for token, kind in zip(tokens, types, strict=True):
        if kind in (_CONTROL, _UNKNOWN):
            backend.add_special_tokens([AddedToken(token, normalized=False, special=True)])
        elif kind == _USER_DEFINED:
            backend.add_tokens([AddedToken(token, normalized=False, special=False)])
