"""Names of persons in sentences of our own: recall for names on our lists, for names taken off them, and false alarms.

Names come from the stand-in lists of seventeen cultures, with particles, initials and double names. For `unlisted`
every name is first taken off the lists of the recogniser, a half at a time, so that it has only its shape and the words
around it, like a stranger's name on no list. Half of the sentences (`--frames seen`) were looked at while rules were
written, the other half (`other`, the default) never with their misses. Near-misses are capitalised words that are
nobody's names (makes, towns, days, dishes) in the same positions. Intervals: Wilson's score, 95 %.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
from collections.abc import Sequence
from typing import Any

from aftertune.pii import languages, listed_names, name_words, names_by_culture, word_lists
from aftertune.pii.recognisers import person

try:
    from perf.pii_formats import wilson
except ImportError:
    from pii_formats import wilson  # type: ignore[import-not-found, no-redef]

SEEN = (
    "{f} called about the invoice.", "Please ask for {f} at the desk.", "I spoke to {n} yesterday.", "{n}",
    "It was {f}'s idea to come early.", "Best regards,\n{n}", "The room is for {n} and two children.",
    "why is {f} so late?", "{f} has to change the date.", "I gave {f} her ticket.", "Only {f}, {g} and {h} will come.",
    "Mr. {l} has paid already.", "Booking for {i} {l}, two nights.", "My sister {f} will pick it up.",
    "You can tell that {f} was very angry.", "{f} is from our head office.", "tell {f} that we are late",
    "the parcel is for {n}", "{f} didn't get the mail.", "A friend of {f} told me.",
)  # fmt: skip
OTHER = (
    "{f} phoned twice this morning.", "Could you put me through to {n}?", "I met {n} at the station.", "{n}.",
    "Is this {f}'s room?", "Thanks,\n{f}", "Two tickets for {n}, please.", "where does {f} live now?",
    "{f} had to cancel again.", "We sent {f} his refund.", "My guests are {f}, {g} and {h}.",
    "Mrs. {l} would like a quiet room.", "The name on the card is {i} {l}.", "Our colleague {f} will answer you.",
    "I think {f} was a bit surprised.", "{f} is away until Monday.", "please remind {f} about the meeting",
    "the reservation is under {n}", "{f} can't find the letter.", "That is because {f} and I are married.",
    "Have you seen {f} today?", "{l}, {f}", "cc: {n}, {m}", "She is called {f}.",
)  # fmt: skip
NOBODY = {
    "capital": ("Toyota", "Samsung", "Lufthansa", "Netflix", "Rotterdam", "Leipzig", "Valencia", "Tuesday", "October",
                "Excel", "Bluetooth", "Kindle", "Sudoku", "Pilates", "Ramadan", "Hilton", "Adidas", "Renault",
                "Gouda", "Chianti", "Prosecco", "Wimbledon", "Eurostar", "Heathrow", "Airbnb", "Skype", "Latin"),
    "small": ("kettle", "router", "voucher", "sofa", "charger", "modem", "balcony", "parcel", "lounge", "printer"),
}  # fmt: skip
POSITIONS = (
    "{x} called about an upgrade.", "Is this {x}'s price?", "I gave {x} a try.", "We had to cancel {x}.",
    "Why is {x} so expensive?", "{x} is from another year.", "You can tell that {x} was very good.", "Thanks, {x}",
    "Only {x}, tea and coffee.", "please remind me about the {x}", "{x} has to be paid.", "{x} can't be changed.",
    "I think {x} was a bit dear.", "{x}", "{x}.", "Have you seen {x} today?", "It is because {x} and lunch are late.",
)  # fmt: skip
PARTICLES = {"dutch": ("van der ", "de ", "van "), "spanish": ("de la ", "de "), "arabic": ("al-", "bin ", "El "),
             "french": ("de ", "Le ", "du "), "german": ("von ", "zu "), "italian": ("di ", "De "),
             "portuguese": ("da ", "dos ")}  # fmt: skip


def draw(rng: random.Random) -> tuple[str, str, str]:
    """Return (first, last, full) of somebody."""
    cultures = [name for name in names_by_culture.NAMES if name not in ("cyrillic", "han")]
    culture = rng.choice(cultures)
    women, men, last = (column.split() for column in names_by_culture.NAMES[culture])
    first, family = rng.choice(women + men), rng.choice(last)
    if rng.random() < 0.1:
        first += "-" + rng.choice(women + men)
    if rng.random() < 0.1:
        family += "-" + rng.choice(last)
    if culture in PARTICLES and rng.random() < 0.3:
        family = rng.choice(PARTICLES[culture]) + family
    return first, family, f"{first} {family}"


def cases(frames: Sequence[str], each: int, seed: int, small: bool) -> list[tuple[str, str, list[tuple[int, int]]]]:
    """Return (frame, text, spans of the names) for each frame, seeded."""
    rng = random.Random(seed)
    made = []
    for frame in frames:
        for _ in range(each):
            (f, last, n), (g, _, _), (h, _, m) = draw(rng), draw(rng), draw(rng)
            values = {"f": f, "l": last, "n": n, "g": g, "h": h, "m": m, "i": f[0] + "."}
            text, spans = "", []
            for index, piece in enumerate(frame.replace("}", "{").split("{")):
                if index % 2:
                    spans.append((len(text), len(text) + len(values[piece])))
                    text += values[piece]
                else:
                    text += piece
            made.append((frame, text.lower() if small and len(text.lower()) == len(text) else text, spans))
    return made


def without(half: int | None) -> None:
    """Take one half of the names off the recogniser's lists (None puts all back)."""
    whole: Any = word_lists.names.__wrapped__

    def names(file: str) -> frozenset[str]:
        listed: frozenset[str] = whole(file)
        if half is None or file not in ("given", "surnames", "census_first", "census_last"):
            return listed
        return frozenset(name for name in listed if hashlib.sha256(name.encode()).digest()[0] % 2 != half)

    files = ("given", "surnames", "census_first", "census_last", "words", "common", "places", "small_words")
    cached = {file: names(file) for file in (*files, "organisations")}
    modules: tuple[Any, ...] = (name_words, person, languages, listed_names)
    for module in modules:
        module.names = cached.__getitem__
    name_words.kind_of.cache_clear()
    languages.forget()


def gone(text: str, spans: Sequence[tuple[int, int]], half: int) -> list[tuple[int, int]]:
    """Return the spans of which every word of three letters or more is in the half that was taken off."""
    out = []
    for start, end in spans:
        words = [w for w in word_lists.fold(text[start:end]).replace("-", " ").replace(".", " ").split() if len(w) > 2]
        if words and all(hashlib.sha256(w.encode()).digest()[0] % 2 == half for w in words):
            out.append((start, end))
    return out


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", choices=["seen", "other"], default="other")
    parser.add_argument("--each", type=int, default=40, help="names per sentence")
    parser.add_argument("--by-frame", action="store_true", help="one line per sentence (seen sentences only)")
    parser.add_argument("--misses", action="store_true", help="print misses (seen sentences only)")
    options = parser.parse_args()
    from aftertune.pii.detect import find

    def people(text: str) -> list[tuple[int, int]]:
        return [(one.start, one.end) for one in find(text) if one.type == "PERSON"]

    find("x")
    frames = SEEN if options.frames == "seen" else OTHER
    for small in (False, True):
        rows = cases(frames, options.each, 20260401, small)
        for title, halves in (("listed", (None,)), ("unlisted", (0, 1))):
            hits = n = 0
            by: dict[str, list[int]] = {}
            for half in halves:
                without(half)
                for frame, text, spans in rows:
                    wanted = spans if half is None else gone(text, spans, half)
                    spans = people(text) if wanted else []
                    for start, end in wanted:
                        hit = any(a < end and start < b for a, b in spans)
                        hits, n = hits + hit, n + 1
                        tally = by.setdefault(frame, [0, 0])
                        tally[0] += hit
                        tally[1] += 1
                        if options.misses and options.frames == "seen" and not hit:
                            print("-", repr(text), text[start:end])
            low, high = wilson(hits, n)
            case = "small letters" if small else "as written"
            print(
                f"{options.frames} sentences, {case:14} names {title:9} {hits / n:.3f} [{low:.3f}, {high:.3f}] of {n}"
            )
            if options.by_frame and options.frames == "seen":
                for frame, (a, b) in by.items():
                    print(f"    {a / b:.2f} of {b:4} {frame!r}")
    without(None)
    for kind, words in NOBODY.items():
        texts = [frame.format(x=word) for frame in POSITIONS for word in words]
        wrong = [text for text in texts if people(text)]
        low, high = wilson(len(wrong), len(texts))
        print(f"nobody, {kind:8} false alarms {len(wrong) / len(texts):.3f} [{low:.3f}, {high:.3f}] of {len(texts)}")
        if options.misses:
            print("\n".join(f"+ {text!r}" for text in wrong))
    return 0


if __name__ == "__main__":
    sys.exit(main())
