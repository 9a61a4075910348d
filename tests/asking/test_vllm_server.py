"""The life of a `vllm serve` that aftertune starts: slow, dying and left alone servers; nothing of it stays behind."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from tests import tiny_models
from tests.vllm_command import Command, alive, install, soon

from aftertune.asking.backends import _vllm_server
from aftertune.asking.backends._vllm_server import VllmServer, environment, flags, ignored
from aftertune.errors import ServerError
from aftertune.models.session import Request
from aftertune.records import Message, Prompt


@pytest.fixture(name="base", scope="module")
def _base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.save("llama", tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(name="vllm")
def _vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    return install(tmp_path, monkeypatch)


def started(vllm: Command, base: Path, tmp_path: Path, patience: float = 60.0) -> VllmServer:
    server = VllmServer(base, tmp_path / "server.log")
    server.start(str(vllm.path), flags({"dtype": "bfloat16"}), patience)
    return server


def all_gone(vllm: Command) -> bool:
    return bool(vllm.processes) and not any(map(alive, vllm.processes))


# ---------------------------------------------------------------------------------------------- starting


def test_it_listens_on_this_machine_alone_and_lets_nobody_in_without_the_key(
    vllm: Command, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx

    for name in ("HTTP_PROXY", "https_proxy", "ALL_PROXY"):  # nobody listens there
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789abcdefghij")
    monkeypatch.setenv("VLLM_SERVER_DEV_MODE", "1")
    server = started(vllm, base, tmp_path)
    try:
        assert server.context == 512
        assert server.url == f"http://127.0.0.1:{server.port}/v1"
        with httpx.Client(trust_env=False) as http:
            assert http.get(f"{server.url}/models").status_code == 401
        (given,) = vllm.noted("started")
        assert given["given"]["host"] == "127.0.0.1"
        own = given["environment"]
        assert not any("1" in own.get(name, "") for name in ("HTTP_PROXY", "https_proxy", "ALL_PROXY", "HF_TOKEN"))
        assert "VLLM_SERVER_DEV_MODE" not in own
        assert (own["HF_HUB_OFFLINE"], own["DO_NOT_TRACK"], own["VLLM_NO_USAGE_STATS"]) == ("1", "1", "1")
        assert server.log_file.stat().st_mode & 0o077 == 0, "for its owner only"
        assert server.key not in server.log_file.read_text()
    finally:
        server.stop()
    assert all_gone(vllm)
    assert environment("k")["VLLM_API_KEY"] == "k"
    assert "VLLM_API_KEY" not in environment("")


def test_a_slow_start_is_said_and_waited_for(
    vllm: Command, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_vllm_server, "SAY_EVERY", 0.3)
    vllm.behave(start_s=1.5)
    with caplog.at_level(logging.WARNING):
        started(vllm, base, tmp_path).stop()
    said = [message for message in caplog.messages if "vllm serve: starting for" in message]
    assert said
    assert "up to 60 s (INFO starting)" in said[-1]


def test_one_that_never_answers_ends_with_the_limit_and_its_last_words(
    vllm: Command, base: Path, tmp_path: Path
) -> None:
    vllm.behave(start_s=600)
    with pytest.raises(ServerError, match=r"does not answer after \d+ s \(loading_s = 3\): INFO starting") as error:
        started(vllm, base, tmp_path, patience=3.0)
    assert str(tmp_path / "server.log") in str(error.value)
    assert "\n" not in str(error.value)
    assert all_gone(vllm)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (
            {"dies": "oom"},
            r"ended with exit code 1 before it answered: .*CUDA out of memory\. Tried to allocate 3\.00 GiB",
        ),
        ({"dies": "kill"}, r"was ended by signal 9 \(out of memory\?\) before it answered: INFO starting"),
    ],
)
def test_one_that_dies_at_the_start_says_why(
    vllm: Command, base: Path, tmp_path: Path, how: dict[str, Any], words: str
) -> None:
    vllm.behave(**how)
    with pytest.raises(ServerError, match=words) as error:
        started(vllm, base, tmp_path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1500
    assert all_gone(vllm)


def test_a_command_that_cannot_be_run_says_so(base: Path, tmp_path: Path) -> None:
    no_program = tmp_path / "vllm"
    no_program.write_text("nothing to run")
    server = VllmServer(base, tmp_path / "server.log")
    with pytest.raises(ServerError, match=r"could not be started before it answered: .*Permission denied"):
        server.start(str(no_program), [], 10.0)


@pytest.mark.slow
def test_a_port_that_is_taken_in_between_is_given_up_for_another(vllm: Command, base: Path, tmp_path: Path) -> None:
    vllm.behave(taken=2)
    started(vllm, base, tmp_path).stop()
    ports = [each["given"]["port"] for each in vllm.noted("started")]
    assert len(set(ports)) == 3
    vllm.behave(taken=99)
    with pytest.raises(ServerError, match="5 ports in a row were taken by others"):
        started(vllm, base, tmp_path)
    assert all_gone(vllm)


def test_another_server_at_the_port_is_never_asked(
    vllm: Command, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = started(vllm, base, tmp_path)
    try:
        ports = [other.port, other.port, _vllm_server.free_port()]
        monkeypatch.setattr(_vllm_server, "free_port", lambda: ports.pop(0))
        vllm.behave(start_s=0.5)  # so that the other answers at the port before this one notices
        own = started(vllm, base, tmp_path)
        assert own.port != other.port
        assert not ports
        own.stop()
    finally:
        other.stop()
    assert all_gone(vllm)


def test_two_at_once_have_two_ports_and_two_keys(vllm: Command, base: Path, tmp_path: Path) -> None:
    made: list[VllmServer] = []
    threads = [
        threading.Thread(target=lambda k=k: made.append(started(vllm, base, tmp_path / str(k)))) for k in range(2)
    ]
    for k, thread in enumerate(threads):
        (tmp_path / str(k)).mkdir()
        thread.start()
    for thread in threads:
        thread.join()
    first, second = made
    assert first.port != second.port
    assert first.key != second.key
    assert first.name != second.name
    first.stop()
    assert not second.gone()
    second.stop()
    assert all_gone(vllm)


# ---------------------------------------------------------------------------------------------- ending


def test_what_the_server_leaves_behind_is_ended_with_it(
    vllm: Command, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = tmp_path / "guard.py"
    whole = Path(_vllm_server.__file__).with_name("_server_guard.py").read_text()
    guard.write_text(whole.replace("PATIENCE = 20.0", "PATIENCE = 0.5"))
    vllm.behave(leaves_processes=True)
    monkeypatch.setattr(_vllm_server, "GUARD", guard)
    server = started(vllm, base, tmp_path)
    assert len(vllm.processes) == 3
    assert all(map(alive, vllm.processes))
    server.stop()
    group = vllm.processes[:2]
    assert not any(map(alive, group))
    if sys.platform == "linux":
        assert all_gone(vllm), "one that left the group as well"


def test_a_server_that_is_killed_is_noticed_and_says_so(vllm: Command, base: Path, tmp_path: Path) -> None:
    server = started(vllm, base, tmp_path)
    assert server.gone() == ""
    os.kill(vllm.processes[0], signal.SIGKILL)
    with soon() as wait:
        while not server.gone():
            wait()
    assert "was ended by signal 9 (out of memory?) while it was asked: INFO starting" in server.gone()
    assert "run the same command again to go on" in server.gone()
    server.stop()
    assert server.gone(), "it is remembered"


SCRIPT = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts us in the background has it ignored,
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and nohup this one
from aftertune.asking.backends._vllm_server import VllmServer
server = VllmServer(Path(sys.argv[1]), Path(sys.argv[2]))
server.start(sys.argv[3], [], 60.0)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("ready", [True, False])
def test_no_server_outlives_whoever_started_it(
    vllm: Command, base: Path, tmp_path: Path, number: signal.Signals, ready: bool
) -> None:
    vllm.behave(start_s=0.0 if ready else 600.0)
    owner = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(base), str(tmp_path / "log"), str(vllm.path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        with soon() as wait:
            while not vllm.processes:
                wait()
        if ready:
            assert owner.stdout is not None
            assert owner.stdout.readline() == b"ready\n"
        assert alive(vllm.processes[0])
        os.kill(owner.pid, number)
        owner.wait(30)
        with soon() as wait:
            while not all_gone(vllm):
                wait()
    finally:
        owner.kill()
        owner.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="the signal of a parent's death is Linux's")
def test_a_guard_that_is_killed_takes_the_server_with_it(vllm: Command, base: Path, tmp_path: Path) -> None:
    server = started(vllm, base, tmp_path)
    guard = server._guard
    assert guard is not None
    guard.kill()
    with soon() as wait:
        while not all_gone(vllm):
            wait()
    server.stop()


# ---------------------------------------------------------------------------------------------- asking


def requests(count: int) -> list[Request]:
    return [
        Request(Prompt(str(k), "b", "s", "c", "c", (Message("user", f"Question {k}"),)), 0.0, 0, k, 12)
        for k in range(count)
    ]


def test_one_that_dies_in_the_middle_ends_the_asking_in_one_line_and_stays_dead(vllm: Command, base: Path) -> None:
    vllm.behave(dies_at=40)
    with vllm.backend(concurrency=2).open(str(base)) as session:
        session.use(None)
        replies = []
        with pytest.raises(ServerError, match=r"exit code 1 while it was asked: .*CUDA out of memory") as error:
            for reply in session.respond(requests(60), system=None, template="base"):
                replies.append(reply)
        assert "\n" not in str(error.value)
        assert 10 < len(replies) < 40
        assert all(reply.error is None for reply in replies)
        with pytest.raises(ServerError, match="while it was asked"):
            session.use(None)
    assert len(vllm.noted("started")) == 1, "it is not started again and again"
    assert all_gone(vllm)


def test_one_that_cannot_be_started_is_tried_once(vllm: Command, base: Path) -> None:
    vllm.behave(dies="oom")
    with vllm.backend().open(str(base)) as session:
        for _ in range(3):
            with pytest.raises(ServerError, match="before it answered: .*CUDA out of memory"):
                session.use(None)
    assert len(vllm.noted("started")) == 1


def test_an_error_while_asking_ends_the_server(vllm: Command, base: Path) -> None:
    with pytest.raises(KeyError), vllm.backend().open(str(base)) as session:
        session.use(None)
        raise KeyError
    assert all_gone(vllm)


def test_the_log_is_in_the_run_or_gone(
    vllm: Command, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aftertune.run.place import PLACE

    monkeypatch.setattr(PLACE, "root", None)
    with vllm.backend().open(str(base)) as session:
        session.use(None)
        outside = session._log
        assert outside.read_text().startswith("INFO starting")
    assert not outside.exists()
    monkeypatch.setattr(PLACE, "root", tmp_path)
    with vllm.backend().open(str(base)) as session:
        session.use(None)
    (log,) = (tmp_path / "logs").iterdir()
    assert log.name == f"vllm-{os.getpid()}.log"
    assert log.stat().st_mode & 0o077 == 0


# ---------------------------------------------------------------------------------------------- words


def test_arguments_become_words() -> None:
    table = {"a": 1, "b": True, "c": False, "d": [1, "x"], "e": {"k": 2}, "f": "text", "g": 0.5}
    assert flags(table) == [
        *("--a", "1", "--b", "--no-c", "--d", "1", "x", "--e", '{"k": 2}', "--f", "text", "--g", "0.5"),
    ]
    assert flags({}) == []


@pytest.mark.parametrize(
    "line",
    [
        "WARNING Regarding X, no matching PunicaWrapper is found; LoRA on a.b will be ignored.",
        "WARNING LoRA module experts is not in the model's supported LoRA target modules",
        "No LoRA weights were applied for adapter 1 on this worker",
    ],
)
def test_a_line_that_says_that_a_part_is_left_out_is_seen(line: str) -> None:
    assert ignored(["INFO fine", line])


def test_other_lines_are_not() -> None:
    lines = [
        "INFO Loaded new LoRA adapter: name 'a', path 'b'",
        "WARNING: x will be ignored",
        "No LoRA weights found for module a, skipping.",
    ]
    assert ignored(lines) == ""


def test_free_ports_are_free() -> None:
    port = _vllm_server.free_port()
    with socket.socket() as own:
        own.bind(("127.0.0.1", port))
