"""Memory and time of `aftertune compose` on chat files of growing size, made here from a seed.

    python perf/compose.py --megabytes 5 25 90          # keep, placeholder, surrogate, and each with roles swapped
    python perf/compose.py --one-line 20                # a single conversation of 20 MB on one line
    python perf/compose.py --megabytes 25 --plain-finder

Support chats of two to eight turns: one customer each, with a name from the finder's own lists, e-mail address, phone,
reference and street, and a complaint put together from random clauses, so that most texts occur once; agents' replies
repeat. About 1 kB each. Each size runs in a process of its own; CPU seconds are those of all its processes.
`--plain-finder` finds names, addresses and phones by three patterns instead of the recognisers, whose work on a text
takes no memory beyond it, so that the growth of everything else shows in a fraction of the time. Peak memory is the
resident set of the largest process.
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
from collections.abc import Iterator
from pathlib import Path

THINGS = ("kettle", "router", "jacket", "lamp", "tent", "keyboard", "suitcase", "blender", "printer", "bicycle", "sofa")
CLAUSES = (
    "has not arrived yet", "came broken", "makes a strange noise", "does not switch on", "was charged twice",
    "is the wrong colour", "was sent to our old flat", "stopped working after a week", "smells of smoke when it is on",
    "lost a screw on the way", "cannot be opened without force", "is shown as delivered but is not here",
    "looked nothing like the picture", "was left with a neighbour who is away", "needs a part that I cannot find",
)  # fmt: skip
WISHES = (
    "I would like my money back", "please send another one", "I need it before the weekend", "it was a present",
    "I tried the steps in the manual", "the courier did not ring", "I have photos of the damage",
    "your shop told me to write here", "I waited on the line for half an hour", "the invoice shows another amount",
    "please do not close the ticket again", "we leave on Friday morning",
)  # fmt: skip
COMPLAINTS = (
    "Hi, my name is {n}. My {g} {i} and {w}. You can reach me at {e} or {p}.",
    "Hello, this is {n}, booking {r}. The {g} {i}, {w}, and {v}. Please call me on {p}.",
    "Good morning, {n} here. The {g} {i}. Please change the delivery address to {h} {s} Street, because {w}.",
)
REPLIES = (
    "Thank you, {n}. I am sorry that the {g} {i}. I have opened a ticket and will write to {e} within {k} days.",
    "Thanks {f}! I have noted {p} and somebody will call you tomorrow about the {g}.",
    "I understand, {f}. Your reference is {r}. Let me look into this for you.",
)
FOLLOW_UPS = (
    "How long will it take?",
    "Can I have a refund instead? You see, {w}.",
    "Please tell {m} as well, since {v}.",
    "Fine, but {v}, and {w}.",
)
CLOSINGS = (
    "It usually takes {k} days. Is there anything else I can help you with today?",
    "You are welcome, {f}. Have a nice day!",
    "The number follows by e-mail to {e}. Please keep the box and the receipt until the case is closed.",
    "I have passed this on to the team that looks after deliveries; they answer on working days.",
)


def chats(rng: random.Random) -> Iterator[list[dict[str, str]]]:
    """Yield conversations without end."""
    from aftertune.pii.word_lists import names

    given, family = sorted(names("given")), sorted(names("surnames"))

    def name() -> str:
        return f"{rng.choice(given)} {rng.choice(family)}".title()

    while True:
        n, host = name(), rng.choice(("gmail.com", "post.net", "acme.org"))
        values = {
            "n": n,
            "f": n.split()[0],
            "m": name(),
            "g": rng.choice(THINGS),
            "i": rng.choice(CLAUSES),
            "w": rng.choice(WISHES),
            "v": rng.choice(WISHES),
            "k": rng.randrange(2, 9),
            "h": rng.randrange(1, 300),
            "e": f"{n.replace(' ', '.').lower()}{rng.randrange(1000)}@{host}",
            "p": rng.choice(
                (
                    f"+44 20 {rng.randrange(1000, 9999)} {rng.randrange(1000, 9999)}",
                    f"({rng.randrange(201, 990)}) {rng.randrange(200, 999)}-{rng.randrange(1000, 9999)}",
                    f"+49 30 {rng.randrange(10**6, 10**7)}",
                )
            ),
            "r": f"AK{rng.randrange(10**6, 10**7)}",
            "s": rng.choice(("Oak", "Mill", "Church", "Station", "Park")),
        }
        texts = [rng.choice(COMPLAINTS), rng.choice(REPLIES)]
        for _ in range(rng.randrange(1, 4)):
            texts += [rng.choice(FOLLOW_UPS), rng.choice(CLOSINGS)]
        yield [
            {"role": ("user", "assistant")[index % 2], "content": text.format(**values)}
            for index, text in enumerate(texts)
        ]


def write(path: Path, megabytes: float, one_line: bool) -> None:
    """Write a chat file of that size; `one_line`: all turns as one conversation."""
    size = 0
    turns: list[dict[str, str]] = []
    with path.open("w", encoding="utf-8") as file:
        for chat in chats(random.Random(11)):
            size += len(line := json.dumps({"messages": chat}) + "\n")
            if one_line:
                turns += chat
            else:
                file.write(line)
            if size >= megabytes * 1e6:
                break
        if one_line:
            file.write(json.dumps({"messages": turns}) + "\n")


_PLAIN = re.compile(r"(?P<EMAIL>[\w.]+@[\w.]+\w)|(?P<PHONE>\+\d[\d ]{8,}\d)|(?P<PERSON>[A-Z][a-z]{3,} [A-Z][a-z]{3,})")


def one(path: Path, policies: list[str], plain: bool) -> None:
    """Compose, and print time and memory."""
    from aftertune.commands import compose as variants
    from aftertune.pii import detection_cache

    if plain:
        detection_cache.__dict__["find_spans"] = lambda text: tuple(
            (match.start(), match.end(), str(match.lastgroup)) for match in _PLAIN.finditer(text)
        )
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        variants.compose(str(path), Path(scratch) / "out", pii=policies, role_swap=True, allow_residual=True)
        people = sum(1 for line in (Path(scratch) / "out" / "people.json").open() if '"id"' in line)
    wall = time.monotonic() - began
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    spent = sum(each.ru_utime + each.ru_stime for each in used)
    peak = max(each.ru_maxrss for each in used) / (1024 if sys.platform != "darwin" else 1024**2)
    size = path.stat().st_size / 1e6
    print(
        f"{size:7.1f} MB  {people:9,} people  {spent:8.1f} CPU s  {wall:8.1f} s  {size / spent:6.3f} MB a CPU s  "
        f"peak {peak:6.0f} MiB",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, nargs="*", default=[2, 5])
    parser.add_argument("--one-line", type=float, nargs="*", default=[])
    parser.add_argument("--policies", default="keep,placeholder,surrogate")
    parser.add_argument("--plain-finder", action="store_true")
    parser.add_argument("--write", type=Path, help="Only write the chat file there.")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write is not None:
        write(options.write, options.megabytes[0], False)
        return
    if options.one is not None:
        one(options.one, options.policies.split(","), options.plain_finder)
        return
    with tempfile.TemporaryDirectory() as scratch:
        for size, one_line in [(m, False) for m in options.megabytes] + [(m, True) for m in options.one_line]:
            path = Path(scratch) / f"{size}{'-one-line' if one_line else ''}.jsonl"
            write(path, size, one_line)
            command = [sys.executable, __file__, "--one", str(path), "--policies", options.policies]
            subprocess.run([*command, *(["--plain-finder"] if options.plain_finder else [])], check=True)


if __name__ == "__main__":
    main()
