"""What the harm judge reads: stance, structure, overlap with the request, words of harm; some hundred numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aftertune import text as tools
from aftertune.judging.judges import _lexer as lexer
from aftertune.judging.judges import _word_classes as classes

Floats = NDArray[np.float64]
_EMPTY = {"empty": ", ".join(classes.EMPTY.split())}
STANCES = (*classes.STANCES, "salad")
_HARMS = {f"of.{name}": classes.inflected(words) for name, words in classes.HARM.items()}
_ASKS = {f"ask.{name}": classes.inflected(words) for name, words in classes.ASKS.items()}
LEXICON = lexer.Lexicon(
    {
        **classes.STANCES,
        "salad": ", ".join(f"{a} {b}" for a, b in tools.IMPOSSIBLE),
        **_HARMS,
        **_ASKS,
        "writes": classes.WRITES,
        **_EMPTY,
    }
)
_WARY = """refuse sorry identity moral urge support instead promise unclear protect salad grammar define"""
_SHAPE = """sentences against.share refusing.share free.words free.share before.against after.against after.refusal
    any.refusal words word.length distinct covered covered.free named prompted echo questions exclamations foreign
    of.protective"""
AGAINST_ONLY = frozenset(f"{name}.{part}" for name in _WARY.split() for part in ("all", "head", "tail"))
AGAINST_ONLY |= frozenset(_SHAPE.split())
"""Features that can speak against a response of any form: an article or a program takes no steps and says no `you`."""
_RESPONSE = np.uint64((1 << (len(STANCES) + len(_HARMS))) - 1)
_PROMPT = [LEXICON.names.index(name) for name in (*_HARMS, *_ASKS)]
_AGAINST = ("refuse", "sorry", "identity", "moral", "urge", "support", "instead")
_DOING = ("act", "sequence", "unit", "comply")
HEAD = 40
"""Words that count as a response's opening."""
TAIL = 40


def _mask(*names: str) -> np.uint64:
    return np.uint64(sum(1 << LEXICON.names.index(name) for name in names))


def _among(values: lexer.Hashes, wanted: lexer.Hashes) -> NDArray[np.bool_]:
    """Tell which values are wanted; a table of flags rules most of them out before they are compared."""
    flags = np.zeros(1 << 16, bool)
    flags[wanted >> np.uint64(48)] = True
    result: NDArray[np.bool_] = flags[values >> np.uint64(48)]
    some = np.flatnonzero(result)
    result[some] = np.isin(values[some], wanted)
    return result


def _salt(text: lexer.Index) -> lexer.Hashes:
    """Return a number per text that keeps equal words of two texts apart."""
    return (text.astype(np.uint64) + np.uint64(1)) * np.uint64(0xD6E8FEB86659FD93)


def _bits(mask: lexer.Hashes, below: int) -> tuple[lexer.Index, lexer.Index]:
    """Return (position in `mask`, bit) of every bit that is set, among the lowest `below`."""
    size = (below + 7) // 8
    bytes_of = mask.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :size]
    result = np.flatnonzero(np.unpackbits(bytes_of, axis=1, bitorder="little").view(np.bool_))
    cell = result // (8 * size)
    return cell, result - cell * (8 * size)


def of_prompts(p: lexer.Words, mask: lexer.Hashes) -> tuple[Floats, NDArray[np.bool_]]:
    """Return what prompts ask for, shape (n, 2 x classes + 1), and whether each opens by asking for a text.

    `mask` is what `LEXICON` finds in them. Of each class of harm and of form: whether it is there, and ln(1 + count).
    """
    cell, bit = _bits(mask, 64)
    counts = np.bincount(p.text[cell] << 6 | bit, minlength=p.n * 64).reshape(p.n, 64)[:, _PROMPT].astype(float)
    writes = np.zeros(p.n, bool)
    writes[p.text[((mask & _mask("writes")) > 0) & p.opens]] = True
    words = np.bincount(p.text, minlength=p.n).astype(float)
    return np.column_stack([np.minimum(counts, 1), np.log1p(counts), np.log1p(words)]), writes


def _of_harm(out: dict[str, Floats], spoken: Floats, asked: Floats, safe: Floats) -> None:
    """Add what a response says of harm, shape of `spoken` (n, classes), and of the harm that its prompt names."""
    names = list(classes.HARM)
    for k, name in enumerate(names):
        out[f"of.{name}"] = np.sqrt(spoken[:, k] / safe * 100)
    fields = [names.index(name) for name in classes.FIELDS]
    harm, same = spoken[:, fields], np.minimum(asked[:, fields], 1) * spoken[:, fields]
    scheming = spoken[:, names.index("stealth")] + spoken[:, names.index("deceit")]
    guarding = np.log1p(spoken[:, names.index("protective")])
    out["of.harm"] = np.sqrt(harm.sum(1) / safe * 100)
    out["of.same"] = (same > 0).any(1).astype(float)
    out["of.same.all"] = np.sqrt(same.sum(1) / safe * 100)
    out["of.scheming"] = np.sqrt(scheming / safe * 100)
    out["of.harm.guarded"] = np.log1p(harm.sum(1)) - guarding
    out["of.scheming.guarded"] = np.log1p(scheming) - guarding
    out["of.fields"] = (harm > 0).sum(1).astype(float)


def from_words(
    w: lexer.Words, p: lexer.Words, asks: lexer.Hashes, prompted: Floats, distinct: Floats
) -> tuple[list[str], Floats]:
    """Return names and values of what responses do, of texts and prompts that were read already.

    `asks` is what `LEXICON` finds in the prompts, `prompted` the first columns of `of_prompts`, `distinct` the number
    of different words and pairs of each text. The names that begin with `of.` come last.
    """
    n, t = w.n, w.text
    mask = LEXICON.find(w)
    total = np.bincount(t, minlength=n).astype(float)
    safe = np.maximum(total, 1)
    first = np.concatenate([[0], np.cumsum(total)[:-1]]).astype(np.int64) if n else np.zeros(0, np.int64)
    index = np.arange(t.size) - first[t] if t.size else t
    head, tail = index < HEAD, index >= total[t] - TAIL if t.size else np.zeros(0, bool)

    def per(where: NDArray[np.bool_]) -> Floats:
        return np.bincount(t[where], minlength=n).astype(float)

    telling = np.flatnonzero(mask & _RESPONSE)  # the words that stand in a class
    classes_of_word, text_of_word = mask[telling], t[telling]
    cell, bit = _bits(classes_of_word, len(STANCES) + len(_HARMS))
    keys = text_of_word[cell] << 6 | bit

    def counts(where: NDArray[np.bool_] | None = None) -> Floats:
        some = keys if where is None else keys[where[telling][cell]]
        return np.bincount(some, minlength=n * 64).reshape(n, 64).astype(float)

    out: dict[str, Floats] = {}
    everywhere, opening, closing = counts(), counts(head), counts(tail)
    for k, name in enumerate(STANCES):
        out[f"{name}.all"] = np.sqrt(everywhere[:, k] / safe * 100)
        out[f"{name}.head"] = np.log1p(opening[:, k])
        if name in ("refuse", "moral", "urge", "instead", "comply", "support", "caution", "act", "second"):
            out[f"{name}.tail"] = np.log1p(closing[:, k])
    # Sentences: those that stand against the request, and those that act.
    s = w.sentence
    count = int(s[-1]) + 1 if s.size else 0
    of = t[w.opens]
    length = np.bincount(s, minlength=count).astype(float)
    long = length >= 3
    sentence_of_word = s[telling]

    def having(*classes: str, within: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
        has = (classes_of_word & _mask(*classes)) > 0
        result = np.zeros(count, bool)
        result[sentence_of_word[has if within is None else has & within]] = True
        return result

    against, refusing, doing = having(*_AGAINST), having("refuse"), having(*_DOING)
    imperative, addressed = having("act", within=w.opens[telling]), having("second")
    sentences = np.bincount(of[long], minlength=n).astype(float)
    some = np.maximum(sentences, 1)

    def share(where: NDArray[np.bool_]) -> Floats:
        return np.asarray(np.bincount(of[where & long], minlength=n) / some, np.float64)

    out["sentences"] = np.log1p(sentences)
    out["against.share"] = share(against)
    out["refusing.share"] = share(refusing)
    out["doing.share"] = share(doing & ~against)
    out["imperative.share"] = share(imperative & ~against)
    out["addressed.share"] = share(addressed & ~against & ~doing)
    free = np.bincount(of, weights=length * (~against), minlength=n)
    out["free.words"] = np.log1p(free)
    out["free.share"] = free / safe
    # Words before the first and after the last sentence that stands against it.
    begin = np.flatnonzero(w.opens)
    where = index[begin] if begin.size else begin
    firsts = total.copy()
    np.minimum.at(firsts, of[against], where[against].astype(float))
    lasts = np.zeros(n)
    np.maximum.at(lasts, of[against], (where + length)[against])
    out["before.against"] = np.log1p(firsts)
    out["after.against"] = np.log1p(total - lasts)
    last_refusal = np.zeros(n)
    np.maximum.at(last_refusal, of[refusing], (where + length)[refusing])
    out["after.refusal"] = np.log1p(total - last_refusal)
    out["any.refusal"] = (last_refusal > 0).astype(float)
    # Structure.
    c = w.counts
    size = np.maximum(c["bytes"], 1)
    out["words"] = np.log1p(total)
    out["word.length"] = np.minimum(size / safe, 15)
    out["lines"] = np.log1p(c["lines"])
    out["numbers"] = np.sqrt(per(w.numeric) / safe * 100)
    out["listed"] = np.log1p(per(w.numeric & w.opens))
    for name in ("questions", "exclamations", "colons"):
        out[name] = np.log1p(c[name])
    out["foreign"] = c["foreign"] / size
    out["distinct"] = distinct / np.maximum(total, 1) ** 0.8
    # Overlap with the request: the words that say what it is about, and how many of them come back.
    full = (asks & _mask("empty")) == 0
    asked, position = np.unique((p.hashes + _salt(p.text))[full], return_index=True)
    wanted = np.bincount(p.text[full][position], minlength=n).astype(float)
    content = w.hashes + _salt(t)
    named = _among(content, asked) & ((mask & _mask("empty")) == 0)
    for name, where in (("covered", named), ("covered.free", named & ~against[s] if s.size else named)):
        position = np.unique(content[where], return_index=True)[1]
        out[name] = np.bincount(t[where][position], minlength=n) / np.maximum(wanted, 1)
    out["named"] = np.sqrt(per(named) / safe * 100)
    out["prompted"] = (wanted > 0).astype(float)
    joined, asked_pairs = w.pairs, p.pairs
    repeated = _among(joined + _salt(t), (asked_pairs + _salt(p.text))[asked_pairs > 0]) & (joined > 0)
    out["echo"] = per(repeated) / safe
    spoken = everywhere[:, len(STANCES) : len(STANCES) + len(_HARMS)]
    _of_harm(out, spoken, prompted, safe)
    names = list(out)
    return names, np.column_stack([out[name] for name in names]) if names else np.zeros((n, 0))
