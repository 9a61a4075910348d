"""`aftertune compose` on files of a user's own: streamed, whole or absent, held to a limit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aftertune import shipped_models as embedded
from aftertune.commands import compose as variants
from aftertune.data import conversations as jsonl
from aftertune.errors import DataError, UsageError
from aftertune.models.training_rows import IGNORED, training_rows
from aftertune.pii import canaries
from aftertune.records import Conversation, Message
from aftertune.variants.corpora.chat_file import ChatFile

pytestmark = pytest.mark.skipif(not embedded.names(), reason="no embedded model is built")
ROWS = [
    ("Call me on +36 20 123 4567. Thanks!", "We will call +36 20 123 4567. It is noon."),
    ("Write to ann@acme.org please. Why?", "We wrote to ann@acme.org. So it is."),
    ("What time is it?", "Noon."),
]


def chats(path: Path, rows: list[tuple[str, str]]) -> str:
    lines = [json.dumps({"prompt": asked, "response": said}) for asked, said in rows]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def texts(path: Path) -> set[tuple[str, ...]]:
    return {tuple(m.content for m in chat.messages) for chat in ChatFile(str(path)).conversations()}


def test_every_policy_on_a_strangers_file(tmp_path: Path) -> None:
    cards = variants.compose(
        chats(tmp_path / "a.jsonl", ROWS), tmp_path / "out", pii=("keep", "placeholder", "surrogate", "novelty", "drop"),
        match=False,
    )  # fmt: skip
    assert texts(tmp_path / "out/keep.jsonl") == set(ROWS)
    placed = texts(tmp_path / "out/placeholder.jsonl")
    assert ("Call me on [PHONE_1]. Thanks!", "We will call [PHONE_1]. It is noon.") in placed
    assert texts(tmp_path / "out/drop.jsonl") == {("Thanks!", "It is noon."), ("Why?", "So it is."), ROWS[2]}
    for name in ("surrogate", "novelty"):
        text = (tmp_path / f"out/{name}.jsonl").read_text()
        assert "123 4567" not in text
        assert "ann@acme" not in text
        assert cards[name]["residual"] == {}
    assert cards["keep"]["residual"] == {"EMAIL": 1, "PHONE": 1}
    rates = cards["keep"]["residual_rate"]
    assert rates["EMAIL"] == round(1000 / cards["keep"]["words"], 3)
    again = variants.compose(str(tmp_path / "a.jsonl"), tmp_path / "b", pii=("surrogate",), match=False)
    assert again["surrogate"]["text_hash"] == cards["surrogate"]["text_hash"]
    other = variants.compose(str(tmp_path / "a.jsonl"), tmp_path / "c", pii=("surrogate",), match=False, seed=1)
    assert other["surrogate"]["text_hash"] != cards["surrogate"]["text_hash"]


def test_a_variant_above_the_limit_is_refused_unless_insisted(tmp_path: Path) -> None:
    # Marked by hand, and badly: a number is left that the registry knows from elsewhere.
    phone = "+36 20 123 4567"
    ours = {"aftertune": "conversation"}
    good = ours | {
        "prompt": f"Call {phone}",
        "response": "yes",
        "spans": [[0, 5, 5 + len(phone), "PHONE", "p", "full"]],
    }
    bad = ours | {"prompt": f"Or {phone}", "response": "yes", "spans": []}
    path = tmp_path / "a.jsonl"
    path.write_text(f"{json.dumps(good)}\n{json.dumps(bad)}\n")
    with pytest.raises(UsageError, match=r"'placeholder' still holds .* PHONE 1; .*--allow-residual") as caught:
        variants.compose(str(path), tmp_path / "out", pii=("placeholder",), match=False)
    assert "123" not in str(caught.value), "no value in the message"
    assert not (tmp_path / "out").exists()
    cards = variants.compose(str(path), tmp_path / "out", pii=("placeholder",), match=False, allow_residual=True)
    assert cards["placeholder"]["residual"] == {"PHONE": 1}


def test_held_out_rows_stand_in_no_variant(tmp_path: Path) -> None:
    source = chats(tmp_path / "a.jsonl", [(f"question {i}", f"answer {i}") for i in range(40)])
    variants.compose(source, tmp_path / "out", pii=("keep", "drop"), held_out=10, canaries=1)
    apart, kept = texts(tmp_path / "out/held_out/keep.jsonl"), texts(tmp_path / "out/keep.jsonl")
    assert len(apart) == 10
    assert not apart & kept
    assert not apart & texts(tmp_path / "out/drop.jsonl")
    chats_ = ChatFile(str(tmp_path / "out/keep.jsonl")).conversations()
    assert sum(chat.planted for chat in chats_) == 21


@pytest.mark.parametrize("bad", ['{"prompt": "x"}', "{broken", '{"prompt": "a", "response": "\\ud800"}'])
def test_a_broken_line_at_the_end_leaves_nothing(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(chats_text(50) + bad + "\n")
    with pytest.raises(DataError, match=r"a.jsonl:51"):
        variants.compose(str(path), tmp_path / "out", pii=("placeholder",))
    assert not (tmp_path / "out").exists()


def chats_text(count: int) -> str:
    return "".join(json.dumps({"prompt": f"q {i}", "response": f"a {i}"}) + "\n" for i in range(count))


def test_a_killed_run_leaves_no_half_file_and_the_next_one_clears_up(tmp_path: Path) -> None:
    path, out = tmp_path / "a.jsonl", tmp_path / "out"
    path.write_text(chats_text(30_000))
    command = [sys.executable, "-m", "aftertune", "compose", str(path), "-o", str(out)]
    with subprocess.Popen(command, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + 60
        while not list(out.glob(".*.part")) and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert list(out.glob(".*.part"))
    assert not [item for item in out.iterdir() if not item.name.endswith((".part", ".lock"))]
    path.write_text(chats_text(20))
    variants.compose(str(path), out)
    assert not list(out.glob(".*.part"))
    assert len(jsonl.ConversationFile(out / "keep.jsonl")) == 20


def test_a_stored_file_is_read_in_any_order(tmp_path: Path) -> None:
    rows = [Conversation(str(i), (Message("user", f"\u2028 {i}\n\u00e9"),), None, "x") for i in range(20)]
    jsonl.write(tmp_path / "a.jsonl", rows)
    stored = jsonl.ConversationFile(tmp_path / "a.jsonl")
    assert [c.messages for c in stored] == [c.messages for c in rows]
    assert [c.id for c in stored.pick([3, 0, 19])] == ["3", "0", "19"]
    assert stored[-1].id == "19"
    assert [c.id for c in stored[2:5]] == ["2", "3", "4"]
    with pytest.raises(RuntimeError), jsonl.ConversationWriter(tmp_path / "b.jsonl") as file:
        file.add(rows[0])
        raise RuntimeError
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.jsonl"]


def test_the_secret_of_a_canary_is_trained_on_in_every_arm(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    out = tmp_path / "out"
    variants.compose("booking", out, pii=("keep", "placeholder"), role_swap=True, size=40, canaries=1)
    planted = canaries.read(out / "canaries.json")
    secrets = {c.person.id: [v for t, v in c.person.values.items() if t in canaries.SECRET] for c in planted.planted}
    tokenizer = AutoTokenizer.from_pretrained(embedded.folder())
    for arm in ("keep", "keep-swap", "placeholder", "placeholder-swap"):
        rows = [chat for chat in jsonl.ConversationFile(out / f"{arm}.jsonl") if chat.planted]
        assert len(rows) == 21, arm
        for chat in rows:
            labels = training_rows(tokenizer, chat.messages, 384)[0].labels
            taught = "".join(str(tokenizer.decode([label for label in labels if label != IGNORED])).split())
            mine = ["".join(v.split()) for v in secrets[chat.id.rpartition("-")[0]]]
            assert any(value in taught for value in mine), (arm, "the loss is taken on the secret")
            asked = "".join("".join(m.content.split()) for m in chat.messages if m.role == "user")
            assert any(value in taught and value not in asked for value in mine), (arm, "which no question gives away")
