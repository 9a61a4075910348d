"""The backend for servers against a real one: `transformers serve` with an embedded model, on loopback."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from aftertune import plugins, shipped_models
from aftertune.asking.benchmark import BenchmarkContext
from aftertune.errors import ModelError
from aftertune.models.session import Request

COUNT = 16
pytestmark = pytest.mark.slow


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start the server, give its address, and end it by its process id."""
    for package in ("fastapi", "uvicorn", "openai"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"transformers serve needs {package}")
    if not shipped_models.names():
        pytest.skip("no embedded model is built")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log.txt"
    # No hub cache folder: GET /v1/models fails then, as on a fresh machine.
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_CACHE": str(log.parent / "none"),
    }
    code = "from transformers.cli.transformers import main; main()"
    command = [
        sys.executable,
        "-c",
        code,
        "serve",
        str(shipped_models.folder()),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--device",
        "cpu",
        "--dtype",
        "float32",
    ]
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 240
            while True:
                try:
                    if httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == 200:
                        break
                except httpx.HTTPError:
                    pass
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.skip(f"transformers serve does not start here: {log.read_text()[-300:]}")
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()
            process.wait()


def test_a_real_server_says_what_the_model_says_here(server: str) -> None:
    """Greedy answers in float32 on one CPU: only a near-tie of two tokens may fall another way in another batch."""
    benchmark = plugins.load("benchmark", "miniature")
    prompts = benchmark.prompts(BenchmarkContext())
    chosen = prompts[:: max(1, len(prompts) // COUNT)][:COUNT]
    requests = [Request(prompt, 0.0, 0, 1, 24) for prompt in chosen]
    name = str(shipped_models.folder())
    texts = []
    for backend in ("transformers", "endpoint"):
        own = {"url": server, "concurrency": 2} if backend == "endpoint" else {"device": "cpu"}
        with plugins.load("backend", backend, own).open(name) as session:
            session.use(None)
            replies = {r.prompt_id: r for r in session.respond(requests, system=None, template="base")}
            texts.append({id_: reply.text for id_, reply in replies.items()})
            assert [reply.error for reply in replies.values()] == [None] * COUNT
            if backend == "endpoint":
                report = session.report()
    here, there = texts
    assert set(here) == set(there)
    same = sum(here[id_].strip() == there[id_].strip() for id_ in here)
    assert same >= COUNT - 1, [(here[k], there[k]) for k in here if here[k].strip() != there[k].strip()]
    declared = report["declared"]
    assert isinstance(declared, dict)
    assert Path(str(declared["replied"]).split("@")[0]) == Path(name)
    # Its generation_config says do_sample = false, and this server then ignores a temperature above 0.
    assert report["temperature"] == "ignored"
    hot = [Request(prompt, 0.8, 0, 1, 24) for prompt in chosen[:2]]
    with plugins.load("backend", "endpoint", {"url": server}).open(name) as session:
        session.use(None)
        with pytest.raises(ModelError, match="ignores the temperature"):
            list(session.respond(hot, system=None, template="base"))


def test_a_real_stream_is_read_to_its_end(server: str) -> None:
    (prompt,) = plugins.load("benchmark", "miniature").prompts(BenchmarkContext())[:1]
    name, found = str(shipped_models.folder()), []
    for stream in (False, True):
        with plugins.load("backend", "endpoint", {"url": server, "stream": stream}).open(name) as session:
            found += session.respond([Request(prompt, 0.0, 0, 1, 24)], system=None, template="base")
    assert found[0].error is found[1].error is None
    assert found[0].text.strip() == found[1].text.strip() != ""
