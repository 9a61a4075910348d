"""Ordinary requests that the base writes itself: it is given its template up to where a user's turn begins.

Source: Xu et al. 2024, Magpie, arXiv 2406.08464: a chat model that was tuned on conversations goes on from its own
template with requests like those it was tuned on. Here they are many more ordinary requests than anybody wrote by hand,
so that the divergence from the base is held down over more of what people ask.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tools.safety_tuning.overlap import Prompts

from aftertune.models.identity import resolve
from aftertune.models.loading import load_tokenizer, load_weights

TOKENS = 64
"""A request that is longer is left out."""
WORDS = (4, 45)
BATCH = 64
_MARK = "\u241f"
_PLAIN = re.compile(r"[\x20-\x7e\n\u2018\u2019\u201c\u201d\u2013\u2014]+")


def questions(base: Path, count: int, store: Path, seed: int = 0) -> list[str]:
    """Return at least `count` different requests in English, at temperature 1, kept in a file.

    Left out are those that do not end within `TOKENS`, and near-duplicates of one before.
    """
    found: list[str] = json.loads(store.read_text(encoding="utf-8")) if store.is_file() else []
    if len(found) < count:
        import torch

        reference = resolve(base)
        tokenizer = load_tokenizer(reference)
        model = load_weights(reference, torch.float32, "cpu").eval()
        beginning = _beginning(tokenizer)
        torch.manual_seed(seed)
        while len(found) < count:
            before = Prompts(found)
            for text in _draw(model, tokenizer, beginning):
                if _request(text) and not before.near(text) and text not in found:
                    found.append(text)
        store.write_text(json.dumps(found, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
    return found


def _beginning(tokenizer: Any) -> list[int]:
    """Return the tokens before a user's first turn."""
    turns = [{"role": "user", "content": _MARK}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=False)
    return list(tokenizer(text.split(_MARK)[0], add_special_tokens=False)["input_ids"])


def _draw(model: Any, tokenizer: Any, beginning: list[int]) -> list[str]:
    """Return texts that ended by themselves."""
    import torch

    ids = torch.tensor([beginning] * BATCH)
    with torch.no_grad():
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            temperature=1.0,
            top_p=0.95,
            top_k=0,
            max_new_tokens=TOKENS,
            pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    ended = [row.tolist() for row in out[:, len(beginning) :]]
    return [
        tokenizer.decode(row[: row.index(tokenizer.eos_token_id)], skip_special_tokens=True).strip()
        for row in ended
        if tokenizer.eos_token_id in row
    ]


def _request(text: str) -> bool:
    return WORDS[0] <= len(text.split()) <= WORDS[1] and _PLAIN.fullmatch(text) is not None
