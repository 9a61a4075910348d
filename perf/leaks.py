"""How fast a registry of 100,000 values is matched against a million responses, and in how much memory.

    python perf/leaks.py [--values 100000] [--responses 1000000] [--characters 300] [--leaking 0.05]

The target: under 5 minutes and 2 GiB on one core. Values are people with a name, a phone, an e-mail address, a street
address and a booking reference; first names repeat, as they do among real people. A response is filler in which names,
numbers and addresses of strangers occur too; a share of them (`--leaking`) has one value, written another way, and
all of those must be found. Responses are made as they are matched, and the time for making them does not count.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
from collections.abc import Iterator

from aftertune.pii.registry import Registry
from aftertune.records import Person

TEXT = (
    "thank you for your message the room is free on monday and breakfast is included in the price please let us know "
    "when you will arrive and how many guests there are we can also book a table for the evening our office is open "
    "from nine to five and the number of the order stands on the letter that you may have by mail grant will call"
)
FILLER = TEXT.split()
SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "el", "ir", "os", "un")]


def word(rng: random.Random, most: int = 3) -> str:
    """Return a made-up name."""
    return "".join(rng.choices(SYLLABLES, k=rng.randint(2, most))).capitalize()


def person(rng: random.Random, index: int, firsts: list[str]) -> Person:
    """Return somebody with five values."""
    first, last = rng.choice(firsts), word(rng, 4)
    values = {
        "PERSON": f"{first} {last}",
        "PHONE": f"+{rng.randint(1, 99)} {rng.randint(100, 999)} {rng.randint(100, 999)} {rng.randint(1000, 9999)}",
        "EMAIL": f"{first}.{last}{index}@mail{rng.randint(1, 40)}.example.com".lower(),
        "ADDRESS": f"{rng.randint(1, 250)} {word(rng)} Street, {word(rng)}",
        "REFERENCE": f"{rng.choice('ABCDEFGH')}{rng.choice('KLMNPQRS')}{rng.randint(10000, 9999999)}",
    }
    return Person(f"p{index}", values)


def respelt(rng: random.Random, type_: str, value: str) -> str:
    """Return a value as a model may write it."""
    way = rng.randrange(4)
    if way == 0:
        return value.upper() if type_ != "PERSON" else value.replace(" ", "\n")
    if way == 1:
        return value.replace(" ", "-") if type_ == "PHONE" else value.replace(" ", "  ")
    if way == 2:
        return value.replace("e", "é").replace("a", "á") if type_ in ("PERSON", "ADDRESS") else value
    return value


def responses(
    rng: random.Random, registry: Registry, firsts: list[str], count: int, size: int, leaking: float
) -> Iterator[tuple[str, int | None]]:
    """Yield (response, index of the entry in it, or None)."""
    entries = registry.entries
    for _ in range(count):
        text = " ".join(rng.choices(FILLER, k=size // 5))
        stranger = person(rng, rng.randint(10**7, 10**8), firsts).values
        parts = [text[: size // 2], rng.choice(list(stranger.values())), text[size // 2 :]]
        planted = None
        if rng.random() < leaking:
            planted = rng.randrange(len(entries))
            parts.insert(1, respelt(rng, entries[planted].type, entries[planted].value))
        yield " ".join(parts)[:size] if planted is None else " ".join(parts), planted


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--values", type=int, default=100_000)
    parser.add_argument("--responses", type=int, default=1_000_000)
    parser.add_argument("--characters", type=int, default=300)
    parser.add_argument("--leaking", type=float, default=0.05)
    options = parser.parse_args()
    rng = random.Random(0)
    firsts = [word(rng) for _ in range(1_000)]
    people = [person(rng, index, firsts) for index in range(-(-options.values // 5))]
    registry = Registry.of("perf", people)
    began = time.process_time()
    registry.find("")
    built = time.process_time() - began
    spent = 0.0
    length = hits = planted_count = missed = 0
    for text, planted in responses(rng, registry, firsts, options.responses, options.characters, options.leaking):
        length += len(text)
        started = time.process_time()
        matches = registry.find(text)
        spent += time.process_time() - started
        hits += bool(matches)
        if planted is not None:
            planted_count += 1
            missed += planted not in {hit.entry for hit in matches}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform != "darwin" else 1024**3)
    print(f"{len(registry):,} values: automaton built in {built:.1f} CPU s")
    print(
        f"{options.responses:,} responses of {length / options.responses:.0f} characters: "
        f"matched in {spent:.1f} CPU s, {options.responses / spent:,.0f} a second"
    )
    print(f"responses with a hit {hits:,}; planted {planted_count:,}, missed {missed:,}")
    print(f"peak memory {memory:.2f} GiB; target: 300 s and 2 GiB for 1,000,000; took {built + spent:.1f} s in all")


if __name__ == "__main__":
    main()
