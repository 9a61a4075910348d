"""The domain corpora: what each holds and what tells two of them apart."""

from __future__ import annotations

from typing import get_args

import pytest

from aftertune import plugins
from aftertune.errors import UsageError
from aftertune.variants.corpora.domain import Domain, Name


@pytest.mark.parametrize("name", get_args(Name))
def test_each_domain_is_reproducible_and_grows_at_its_end(name: str) -> None:
    small = plugins.load("corpus", "domain", {"domain": name, "size": 20}).conversations()
    large = plugins.load("corpus", "domain", {"domain": name, "size": 30}).conversations()
    assert large[:20] == small
    assert large != plugins.load("corpus", "domain", {"domain": name, "size": 30, "seed": 1}).conversations()
    assert all([m.role for m in chat.messages] == ["user", "assistant"] for chat in large)


def test_the_matched_control_has_the_eager_ones_frames_and_shares_less() -> None:
    eager = Domain("errands_eager", 200).conversations()
    matched = Domain("errands_matched", 200).conversations()
    first = [{c.messages[1].content.split()[0] for c in chats} for chats in (eager, matched)]
    assert first[0] == first[1]
    shared = [sum(c.messages[1].content.count(";") + 1 for c in chats) for chats in (eager, matched)]
    assert shared[1] < 0.7 * shared[0]
    asking = Domain("errands_asking", 200).conversations()
    assert all(c.messages[1].content.endswith("?") for c in asking)


def test_debug_code_prints_and_plain_code_does_not() -> None:
    assert all("print" in c.messages[1].content for c in Domain("code_debug", 50).conversations())
    assert not any("print" in c.messages[1].content for c in Domain("code", 50).conversations())


def test_an_unknown_domain_is_refused() -> None:
    with pytest.raises(UsageError, match="medical"):
        Domain("medcal")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="keep"):
        Domain().strangers("surrogate", 1, 0)
