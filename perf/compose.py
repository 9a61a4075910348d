"""Memory and time of `aftertune compose` on chat files of growing size, made here from a seed.

    python perf/compose.py --chats 4000 40000 120000 [--policies placeholder,surrogate] [--plain-finder]

Support chats of two to eight turns with names, e-mail addresses, phones, references and streets, about 620 bytes each.
Each size runs in a process of its own. `--plain-finder` finds names, addresses and phones by three patterns instead of
the engine, whose work on a text takes no memory beyond it: so the growth of everything else shows in a fraction of the
time. Peak memory is the resident set's.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

THINGS = ("kettle", "router", "jacket", "lamp", "tent", "keyboard", "suitcase", "blender")
TROUBLE = ("has not arrived yet", "came broken", "makes a strange noise", "does not switch on", "was charged twice")
ASKED = (
    "Hi, my name is {n}. My {g} {i}. You can reach me at {e} or {p}.",
    "Hello, this is {n}, booking {r}. The {g} {i}, please call me on {p}.",
    "Good morning, {n} here. Please change the delivery address to {h} {s} Street, Springfield.",
)
SAID = (
    "Thank you, {n}. I have opened a ticket for the {g} and will write to {e} within {k} days.",
    "Thanks {f}! I have noted {p} and somebody will call you tomorrow.",
)
MORE = ("How long will it take?", "Can I have a refund instead?", "Please tell {m} in your shop as well.")
THEN = ("It usually takes {k} days.", "You are welcome, {f}. Have a nice day!", "The number follows by e-mail to {e}.")
SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "el", "ir", "os", "un")]


def name(rng: random.Random) -> str:
    """Return a first and a last name that are made up."""
    first, last = ("".join(rng.choices(SYLLABLES, k=rng.randint(2, 3))).capitalize() for _ in range(2))
    return f"{first} {last}"


def chats(path: Path, count: int) -> None:
    """Write a chat file."""
    rng = random.Random(11)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(count):
            n = name(rng)
            values = {
                "n": n, "f": n.split()[0], "m": name(rng), "g": rng.choice(THINGS), "i": rng.choice(TROUBLE),
                "e": f"{n.replace(' ', '.').lower()}{rng.randrange(1000)}@{rng.choice(('mail.com', 'post.net'))}",
                "p": f"+{rng.choice((1, 44, 49))} {rng.randrange(200, 999)} {rng.randrange(100, 999)} "
                     f"{rng.randrange(1000, 9999)}",
                "r": f"AK{rng.randrange(10**6, 10**7)}", "h": rng.randrange(1, 300), "k": rng.randrange(2, 9),
                "s": rng.choice(("Oak", "Mill", "Church")),
            }  # fmt: skip
            texts = [rng.choice(ASKED), rng.choice(SAID)]
            for _ in range(rng.randrange(1, 4)):
                texts += [rng.choice(MORE), rng.choice(THEN)]
            turns = [
                {"role": ("user", "assistant")[place % 2], "content": text.format(**values)}
                for place, text in enumerate(texts)
            ]
            file.write(json.dumps({"messages": turns}) + "\n")


_PLAIN = re.compile(r"(?P<EMAIL>[\w.]+@[\w.]+\w)|(?P<PHONE>\+\d[\d ]{8,}\d)|(?P<PERSON>[A-Z][a-z]{3,} [A-Z][a-z]{3,})")


def one(path: Path, policies: list[str], plain: bool) -> None:
    """Compose and print what it took."""
    from aftertune.flow import variants
    from aftertune.pii import mark

    if plain:
        mark._found = lambda text: tuple((m.start(), m.end(), str(m.lastgroup)) for m in _PLAIN.finditer(text))
    began = time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        variants.compose(str(path), Path(scratch) / "out", pii=policies, allow_residual=True)
        people = sum(1 for line in (Path(scratch) / "out" / "people.json").open() if '"id"' in line)
    spent = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    print(
        f"{path.stat().st_size / 1e6:7.1f} MB  {people:9,} people  {spent:8.1f} CPU s  peak {peak:6.0f} MiB",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chats", type=int, nargs="+", default=[4_000, 40_000])
    parser.add_argument("--policies", default="surrogate")
    parser.add_argument("--plain-finder", action="store_true")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        one(given.one, given.policies.split(","), given.plain_finder)
        return
    with tempfile.TemporaryDirectory() as scratch:
        for count in given.chats:
            path = Path(scratch) / f"{count}.jsonl"
            chats(path, count)
            subprocess.run([sys.executable, __file__, "--one", str(path), "--policies", given.policies,
                            *(["--plain-finder"] if given.plain_finder else [])], check=True)  # fmt: skip


if __name__ == "__main__":
    main()
