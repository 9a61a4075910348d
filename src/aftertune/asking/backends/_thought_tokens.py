"""How many tokens of a model's text are a thought: the answer's limit counts from its end."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Any

from aftertune.models.chat import special_ids
from aftertune.thoughts import CHANNEL_TOKENS, INSIDE, Parted, is_marker, part


def text_of(tokenizer: Any, tokens: Sequence[int]) -> str:
    """Return new tokens as text, without special tokens but those that mark thoughts."""
    special = special_ids(tokenizer)
    names = {id_: str(tokenizer.convert_ids_to_tokens(id_)) for id_ in set(tokens) & special}
    kept = {id_ for id_, name in names.items() if is_marker(name)}
    if "<|channel|>" not in names.values():  # `<|end|>` is also Phi's end of turn
        kept -= {id_ for id_, name in names.items() if name in CHANNEL_TOKENS}
    if kept:
        tokens = [id_ for id_ in tokens if id_ in kept or id_ not in special]
    text: str = tokenizer.decode(tokens, skip_special_tokens=not kept, clean_up_tokenization_spaces=False)
    return text


def extended_limit(tokenizer: Any, tokens: Sequence[int], answer: int, thought: int, *, opened: bool) -> int:
    """Return how many new tokens a text may have in all that has reached its limit with these.

    `answer` and `thought` are the most tokens of either; up to the end of the last thought, all are the thought's.
    `opened` as in `thoughts.part`. The number given says when to ask again: the text may be longer by then.
    """
    count = len(tokens)
    whole = _parted(tokenizer, tokens, opened)
    if not whole.found:
        return count
    if whole.unanswered == INSIDE:
        # Were the thought to end now, the answer would have its tokens: a later look cannot come too late.
        return count + max(0, min(answer, thought - count))
    return max(count, min(_end(tokenizer, tokens, whole, opened), thought) + answer)


def _end(tokenizer: Any, tokens: Sequence[int], whole: Parted, opened: bool) -> int:
    """Return the smallest number of tokens that hold the whole thought, by bisection."""

    def complete(length: int) -> bool:
        some = _parted(tokenizer, tokens[:length], opened)
        return some.found and some.unanswered != INSIDE and len(some.thought) >= len(whole.thought)

    return bisect.bisect_left(range(len(tokens)), True, key=complete)


def _parted(tokenizer: Any, tokens: Sequence[int], opened: bool) -> Parted:
    return part(text_of(tokenizer, tokens), opened=opened)
