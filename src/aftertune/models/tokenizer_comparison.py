"""Whether two tokenizers give the same tokens: by their vocabularies and on texts of every kind, not by their files.

The same tokenizer is written differently by each library version, and a GGUF file holds its parts alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

TEXTS = (
    "It's 12:30, I'VE paid $1,234.50 (order no. A-00123) on 2024-07-26; they'll call +44 20 7946 0958.",
    "  two blanks in front, a tab\there,  two  inside, and at the end  ",
    "one\ntwo\n\nthree\r\n\r\n    four\n \n",
    "Grüße aus Köln, naïve café, cafe\u0301, Ωμέγα, Привет мир, שלום, السلام عليكم, नमस्ते दुनिया, สวัสดี",
    "北京市的天气很好。東京タワー、서울특별시 안녕하세요",
    "½ ² ³ Ⅷ ١٢٣ ٣٫١٤ 1234567890123 3.14159e-10 0xDEADBEEF v1.2.3-rc.1",
    "🙂👩🏽‍🚀🇩🇪 ™ © — – … “quotes” ‘single’ «guillemets» ¿qué? ¡no!",
    "def f(x):\n\treturn {'a': x[0] != 1, \"b\": `c`}  # ok!!! ***\n",
    "<b>bold</b> &amp; a_b__c snake_case camelCaseHTTPServer",
    "e.g. a.b.c@example.co.uk https://example.com/a/b?c=d&e=%20f#g C:\\Users\\me ~/x ~~~~ ---- ==== ....",
    "\u00a0no-break\u202fnarrow\u2009thin\u3000wide\u200bzero \u2011hyphen \ufeffmark \x00\x01\x7f",
    "I'm you're WE'LL don'T can’t rock'n'roll O'Neil 'twas",
    "supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis aaaaaaaaaaaaaaaaaaaaaaaa",
    "",
    " ",
)
"""What tokenizers are known to differ on: blanks, digits, contractions, scripts, composed letters, signs, line ends."""


def same_tokens(one: Path, other: Path) -> bool:
    """Return whether the tokenizers in two folders give the same tokens.

    Each token that both have must have the same id, one vocabulary must hold the other (padding may follow it), control
    tokens must be the same, and `TEXTS` must become the same ids. False where one is no `tokenizer.json`.
    """
    files = [folder / "tokenizer.json" for folder in (one, other)]
    if not all(file.is_file() for file in files):
        return False
    from tokenizers import Tokenizer

    load: Callable[[str], Any] = Tokenizer.from_file
    try:
        first, second = (load(str(file)) for file in files)
    except Exception:  # noqa: BLE001 - the library raises Exception itself for a file that it cannot read
        return False
    vocabularies: Sequence[dict[str, int]] = [each.get_vocab(with_added_tokens=True) for each in (first, second)]
    small, large = sorted(vocabularies, key=len)
    if any(large.get(token) != id_ for token, id_ in small.items()):
        return False
    special = [
        {token.content for token in each.get_added_tokens_decoder().values() if token.special}
        for each in (first, second)
    ]
    if special[0] != special[1]:
        return False
    marked = [f"a{token}b" for token in sorted(special[0])[:50]]
    return all(
        first.encode(text, add_special_tokens=False).ids == second.encode(text, add_special_tokens=False).ids
        for text in (*TEXTS, *marked)
    )
