"""The tokenizer of the shipped bases: byte-level BPE of the closed world, with a chat template."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.shipped_models.mixture import STAGES, exchanges

from aftertune.generated_world.people import PLACEHOLDERS
from aftertune.generated_world.replies import Exchange

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, SYSTEM, USER, ASSISTANT, END = "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def messages(exchange: Exchange) -> list[dict[str, str]]:
    """An exchange as chat messages, the answer last."""
    turns = [{"role": "system", "content": exchange.system}] if exchange.system else []
    for user, assistant in (*exchange.history, (exchange.prompt, exchange.answer)):
        turns += [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
    return turns


def train_tokenizer(vocabulary: int, seed: int, texts: int) -> PreTrainedTokenizerFast:
    """Train the tokenizer on `texts` exchanges of each stage.

    Digits are single tokens, so that numbers are copied digit by digit; the placeholders are whole tokens, but
    not special ones, so that decoding keeps them.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(PLACEHOLDERS),
        special_tokens=[PAD, SYSTEM, USER, ASSISTANT, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    contents = (
        turn["content"] for stage in STAGES for exchange in exchanges(texts, seed, stage) for turn in messages(exchange)
    )
    core.train_from_iterator(contents, trainer)
    core.add_tokens([AddedToken(mark, normalized=False) for mark in PLACEHOLDERS.values()])
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=END,
        padding_side="left",
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
