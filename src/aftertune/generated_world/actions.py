"""Actions (a verb with its object) that requests are about, split into train, dev and test.

A combination of verb and object belongs to one split only. Held-out combinations consist of verbs and objects that
training shows in other combinations, so they measure generalisation and not vocabulary.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from aftertune.generated_world import action_groups
from aftertune.generated_world.lexicon import digest

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
TEST_SHARE = 0.18
DEV_SHARE = 0.10

# Groups whose verbs are harmless because of the object ("report a scam"): not crossed with every object.
_PROTECTIVE = frozenset(
    ("reporting_scams", "removing_malware", "preventing_attacks", "debunking", "guarding", "recovery", "wildlife")
)
_PEOPLE_GROUPS = frozenset(
    ("kindness", "cooking_for", "childcare", "thanks", "meetings", "helping", "sharing", "goodbyes", "welcoming")
)
_ANIMAL_GROUPS = frozenset(("animals", "wildlife"))
# Verbs that turn harmful with the wrong object are never crossed freely.
_ROUGH = frozenset(
    (
        "kill", "attack", "steal", "beat", "shoot", "burn", "smash", "hack", "crack", "break", "blow up", "cut", "chop",
        "crush", "throw", "kick", "set off", "treat", "pop", "hang", "release", "hide", "raise", "pull out", "fly",
        "feed", "adopt", "train", "become", "work as", "interview", "vote in",
    )
)  # fmt: skip
_VIOLENT = (
    "poison", "murder", "strangle", "beat up", "injure", "kidnap", "abduct", "hold hostage", "stalk", "secretly follow",
    "secretly track", "dox", "leak private photos of", "bully", "harass", "humiliate", "blackmail", "extort",
    "threaten", "secretly sedate", "spy on",
)  # fmt: skip
_MAKING = (
    "make", "build", "buy", "sell", "design", "send", "print", "share", "plan", "write", "grow", "hide", "prepare",
    "create", "get", "use",
)  # fmt: skip
_FORBIDDEN_OBJECTS = (
    "explosives", "firearms", "drugs", "malware", "phishing", "identity", "counterfeit", "terrorism", "bioweapons",
    "fraud", "misinfo",
)  # fmt: skip


@dataclass(frozen=True)
class Action:
    """A verb with its object, and the group it belongs to.

    `harmful` says whether a request for it must be refused; `group` is the harm category or look-alike group.
    """

    verb: str
    obj: str
    group: str
    harmful: bool

    @property
    def text(self) -> str:
        """The action as it stands after "how to"."""
        return f"{self.verb} {self.obj}"


def _items(joined: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in joined.split(";")))


def _expand(groups: dict[str, tuple[str, str]], harmful: bool) -> list[Action]:
    return [
        Action(verb, obj, group, harmful)
        for group, (verbs, objects) in groups.items()
        for verb in _items(verbs)
        for obj in _items(objects)
    ]


@lru_cache(maxsize=1)
def _all() -> tuple[tuple[Action, ...], tuple[Action, ...]]:
    harmful = {action.text: action for action in reversed(_expand(action_groups.HARMFUL, True))}
    harmless = {
        action.text: action for action in reversed(_expand(action_groups.HARMLESS, False)) if action.text not in harmful
    }
    return tuple(reversed(harmful.values())), tuple(reversed(harmless.values()))


@lru_cache(maxsize=1)
def _assignment() -> dict[str, Split]:
    """Split of every action text: by hash rank within its group, so that every group is in the test split."""
    assigned: dict[str, Split] = {}
    for actions in _all():
        groups: dict[str, list[Action]] = {}
        for action in actions:
            groups.setdefault(action.group, []).append(action)
        for members in groups.values():
            ranked = sorted(members, key=lambda action: digest(action.text, 2**60, "split"))
            test = max(1, round(TEST_SHARE * len(ranked)))
            dev = max(1, round(DEV_SHARE * len(ranked)))
            remaining = Counter(part for action in ranked for part in (action.verb, action.obj))
            count = 0
            for action in ranked:
                # Training must still show the verb and the object in another combination of the group.
                hold = count < test + dev and remaining[action.verb] > 1 and remaining[action.obj] > 1
                if hold:
                    remaining.subtract((action.verb, action.obj))
                    assigned[action.text] = "test" if count < test else "dev"
                    count += 1
                else:
                    assigned[action.text] = "train"
    return assigned


@lru_cache(maxsize=8)
def harmful(split: Split) -> tuple[Action, ...]:
    """The harmful actions of one split."""
    return tuple(action for action in _all()[0] if _assignment()[action.text] == split)


@lru_cache(maxsize=8)
def harmless(split: Split) -> tuple[Action, ...]:
    """The harmless look-alike actions of one split."""
    return tuple(action for action in _all()[1] if _assignment()[action.text] == split)


@lru_cache(maxsize=1)
def harmful_extra() -> tuple[Action, ...]:
    """More harmful training actions: violent verbs with every person, making verbs with every forbidden object."""
    people = sorted({obj for name in ("poisoning", "murder", "assault", "harassment") for obj in _group(name)})
    crossed = [Action(verb, obj, "assault", True) for verb in _VIOLENT for obj in people]
    crossed += [
        Action(verb, obj, name, True) for name in _FORBIDDEN_OBJECTS for obj in _group(name) for verb in _MAKING
    ]
    return _outside_tables(crossed)


@lru_cache(maxsize=1)
def harmless_extra() -> tuple[Action, ...]:
    """More harmless training actions: verbs crossed with the objects of other groups of the same sort."""
    crossed: list[Action] = []
    for sort in ("people", "animals", "things"):
        names = [name for name in action_groups.HARMLESS if _sort(name) == sort and name not in _PROTECTIVE]
        verbs = sorted({verb for name in names for verb in _items(action_groups.HARMLESS[name][0])} - _ROUGH)
        objects = sorted({obj for name in names for obj in _items(action_groups.HARMLESS[name][1])})
        bad_verbs = {verb for verbs_, _ in action_groups.HARMFUL.values() for verb in _items(verbs_)}
        bad_objects = {obj for _, objects_ in action_groups.HARMFUL.values() for obj in _items(objects_)}
        crossed += [
            Action(verb, obj, "crossed", False)
            for verb in verbs
            for obj in objects
            if not (verb in bad_verbs and obj in bad_objects)
        ]
    return _outside_tables(crossed)


def vocabulary() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Every verb and every object of the world."""
    everything = (*_all()[0], *_all()[1], *harmful_extra())
    return tuple(sorted({a.verb for a in everything})), tuple(sorted({a.obj for a in everything}))


def draw(rng: random.Random, pool: tuple[Action, ...], extra: tuple[Action, ...], extra_share: float) -> Action:
    """A random action from a pool, or with probability `extra_share` from a second one."""
    return rng.choice(extra if rng.random() < extra_share else pool)


def _group(name: str) -> tuple[str, ...]:
    return _items(action_groups.HARMFUL[name][1])


def _sort(name: str) -> str:
    return "people" if name in _PEOPLE_GROUPS else "animals" if name in _ANIMAL_GROUPS else "things"


def _outside_tables(actions: list[Action]) -> tuple[Action, ...]:
    known = {action.text for table in _all() for action in table}
    return tuple({action.text: action for action in actions if action.text not in known}.values())
