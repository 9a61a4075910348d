"""Asking: each request once, with a seed that depends on what is asked and on nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests import tiny_models

from aftertune.errors import UsageError
from aftertune.models.respond import REPEATS, repeat, requests, respond
from aftertune.models.session import Reply, Request, Session, Template
from aftertune.records import Message, Prompt, Proof

PROMPTS = [Prompt(f"p{at}", "b", "s", "c", "k", (Message("user", f"Hello {at}"),)) for at in range(4)]
HOW: dict[str, Any] = {"checkpoint_id": "c", "temperatures": (0.0, 0.7), "samples": 3, "max_new_tokens": 6, "seed": 1}


class Echo(Session):
    """A session that answers with the seed it was given."""

    def __init__(self) -> None:
        self.used: list[Path | None] = []

    def use(self, checkpoint: Path | None) -> Proof:
        self.used.append(checkpoint)
        return Proof("x", None, None, None)

    def respond(self, requests: Sequence[Request], *, system: str | None, template: Template) -> Iterator[Reply]:
        for r in requests:
            yield Reply(r.prompt.id, r.temperature, r.sample, f"{r.seed} {system} {template}", "stop", 1, "m", "t")


def test_one_request_per_prompt_temperature_and_sample() -> None:
    wanted = requests(PROMPTS, **HOW)
    keys = [(r.prompt.id, r.temperature, r.sample) for r in wanted]
    assert len(set(keys)) == len(keys) == 4 * (1 + 3), "temperature 0 is asked once"
    assert len({r.seed for r in wanted}) == len(wanted)
    done = frozenset(keys[:5])
    assert requests(PROMPTS, **HOW, skip=done) == wanted[5:]


def test_a_seed_depends_on_the_request_alone() -> None:
    seeds = {(r.prompt.id, r.temperature, r.sample): r.seed for r in requests(PROMPTS, **HOW)}
    fewer = requests(PROMPTS[2:], **{**HOW, "temperatures": (0.7,), "samples": 1})
    assert all(seeds[r.prompt.id, r.temperature, r.sample] == r.seed for r in fewer)
    for change in ({"seed": 2}, {"checkpoint_id": "d"}):
        assert not {r.seed for r in requests(PROMPTS, **{**HOW, **change})} & set(seeds.values())


@pytest.mark.parametrize(
    "wrong", [{"samples": 0}, {"temperatures": (-0.1,)}, {"temperatures": (float("nan"),)}, {"max_new_tokens": 0}]
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        requests(PROMPTS, **{**HOW, **wrong})
    with pytest.raises(UsageError, match="two prompts have the id 'p0'"):
        requests([*PROMPTS, PROMPTS[0]], **HOW)


def test_the_session_is_switched_before_the_first_reply() -> None:
    session = Echo()
    replies = respond(session, PROMPTS, checkpoint=Path("x"), system="", template="own", **HOW)
    assert session.used == [Path("x")]
    assert {reply.text.split()[1] for reply in replies} == {"None"}, "an empty system prompt is none"
    done = frozenset((p.id, t, s) for p in PROMPTS for t, s in ((0.0, 0), (0.7, 0), (0.7, 1), (0.7, 2)))
    idle = Echo()
    assert list(respond(idle, PROMPTS, checkpoint=None, system=None, template="own", skip=done, **HOW)) == []
    assert idle.used == [], "nothing to ask: no checkpoint is loaded"


def test_a_resumed_run_says_what_a_whole_one_says(tmp_path: Path) -> None:
    from aftertune.asking.backends.transformers import Transformers

    base = tiny_models.save("mistral", tmp_path / "base")
    adapter = tiny_models.save_adapter(base, tmp_path / "adapter")
    with Transformers(batch_size=3).open(str(base)) as session:
        how: dict[str, Any] = {**HOW, "checkpoint": adapter, "system": None, "template": "base"}
        whole = {(r.prompt_id, r.temperature, r.sample): r for r in respond(session, PROMPTS, **how)}
        first = dict(list(whole.items())[:7])
        rest = {
            (r.prompt_id, r.temperature, r.sample): r for r in respond(session, PROMPTS, **how, skip=frozenset(first))
        }
    assert first | rest == whole
    assert len(rest) == len(whole) - 7
    samples = {r.text for (id_, t, _), r in whole.items() if id_ == "p0" and t > 0}
    assert len(samples) == 3, "repeats are independent, not one answer three times"


class Crowded(Echo):
    """A session whose answer depends on how many are asked at once, for one prompt in four."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: list[list[str]] = []

    def respond(self, requests: Sequence[Request], *, system: str | None, template: Template) -> Iterator[Reply]:
        self.groups.append([r.prompt.id for r in requests])
        for r in requests:
            crowd = len(requests) if int(r.prompt.id[1:]) % 4 == 0 else 0
            error = "lost" if r.prompt.id == "p3" else None
            yield Reply(r.prompt.id, r.temperature, r.sample, f"{crowd}", "stop", 1, "m", "t", error)


def test_answers_that_depend_on_their_company_are_counted() -> None:
    prompts = [Prompt(f"p{at}", "b", "s", "c", "k", (Message("user", f"Hello {at}"),)) for at in range(200)]
    wanted = requests(prompts, **{**HOW, "temperatures": (0.0,)})
    session = Crowded()
    first = {
        (r.prompt_id, r.temperature, r.sample): r.text for r in session.respond(wanted, system=None, template="base")
    }
    asked, same = repeat(session, wanted, first, system=None, template="base")
    chosen = [id_ for group in session.groups[1:] for id_ in group]
    assert len(session.groups) == 3
    assert len(set(chosen)) == len(chosen) <= REPEATS
    assert max(int(id_[1:]) for id_ in chosen) > 190, "taken from the whole, not from its beginning"
    assert asked == len(chosen) - chosen.count("p3")
    assert same == sum(int(id_[1:]) % 4 != 0 for id_ in chosen) - chosen.count("p3")
    assert repeat(session, wanted, {}, system=None, template="base") == (0, 0)
