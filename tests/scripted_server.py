"""A server of chat completions on loopback that answers, or misbehaves, by script."""

from __future__ import annotations

import contextlib
import hashlib
import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Body = dict[str, Any]


def varied(body: Body) -> str:
    """A text that depends on model and chat, and above temperature 0 on the seed."""
    seed = body.get("seed", time.perf_counter_ns()) if body["temperature"] > 0 else ""
    mark = hashlib.sha256(f"{body['model']} {body['messages']} {seed}".encode()).hexdigest()
    return f"Sure: {mark[:12]}"


@dataclass
class Scripted:
    """What the server does, and what it has seen; `trouble` gets a body and how often it came before."""

    say: Callable[[Body], str] = varied
    trouble: Callable[[Body, int], str | None] = lambda body, before: None
    models: Mapping[str, Mapping[str, str]] | None = field(default_factory=lambda: {"base": {}, "tuned": {}})
    key: str = ""
    fingerprint: str = ""
    usage: bool = True
    usage_asked: bool = False
    """Whether a stream tells its usage only where `stream_options` asks for it."""
    more: Callable[[Body], Mapping[str, Any]] = lambda body: {}
    """Further fields of the choice, e.g. logprobs."""
    reply: Callable[[Body, int], tuple[int, Any, Mapping[str, str]] | None] = lambda body, before: None
    """Status, body (JSON, or bytes as they are) and headers of a reply of its own, by body and how often it came."""
    url: str = ""
    seen: list[Body] = field(default_factory=list)
    times: Counter[str] = field(default_factory=Counter)
    answered: list[Body] = field(default_factory=list)
    now: int = 0
    most: int = 0
    lock: Any = field(default_factory=threading.Lock)

    def asked(self, model: str) -> list[str]:
        """The last turns that were answered as a model, trial requests left out."""
        return [b["messages"][-1]["content"] for b in self.answered if b["model"] == model and not trial(b)]


def trial(body: Body) -> bool:
    return body.get("max_tokens") in (1, 24)


@contextlib.contextmanager
def serving(script: Scripted, certificate: tuple[Path, Path] | None = None) -> Iterator[Scripted]:
    """Serve on a free port; with a certificate and its key over TLS."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(script))
    server.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    script.url = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}/v1"
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()


def _handler(script: Scripted) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *args: object) -> None:
            pass

        def handle(self) -> None:
            with contextlib.suppress(OSError):
                super().handle()

        def send(self, code: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(code)
            for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            if script.models is None:
                self.send(500, {"error": "no cache folder"})
            else:
                rows = [{"id": name, "object": "model", **more} for name, more in script.models.items()]
                self.send(200, {"object": "list", "data": rows})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            plain = json.dumps(body, sort_keys=True)
            with script.lock:
                before = script.times[plain]
                script.times[plain] += 1
                script.seen.append(body)
                script.now += 1
                script.most = max(script.most, script.now)
            try:
                own = script.reply(body, before)
                if own is not None:
                    self.send(*own)
                else:
                    self.act(body, script.trouble(body, before))
            finally:
                with script.lock:
                    script.now -= 1

        def act(self, body: Body, trouble: str | None) -> None:
            if script.key and self.headers.get("Authorization") != f"Bearer {script.key}":
                given = str(self.headers.get("Authorization"))
                return self.send(401, {"error": {"message": f"Incorrect API key provided: {given}"}})
            kind, _, value = (trouble or "").partition(" ")
            if kind.isdigit():
                headers = {"Retry-After": value} if value else {}
                if value == "date":
                    headers = {"Retry-After": formatdate(time.time() + 2, usegmt=True)}
                return self.send(int(kind), {"error": {"message": f"scripted {kind}"}}, headers)
            if kind == "say":
                return self.send(400, {"error": {"message": value}})
            if kind == "echo":
                return self.send(400, {"error": {"message": f"bad header {self.headers.get('Authorization')}"}})
            if kind == "stall":
                time.sleep(float(value))
            if kind == "hangup":
                self.close_connection = True
                return None
            whole = self.completion(body, "impostor" if kind == "wrong" else body["model"])
            if kind == "empty":
                whole["choices"] = []
            if kind == "flood":
                whole["padding"] = "x" * 300_000
            if kind == "half":
                return self.send(200, json.dumps(whole).encode()[:40])
            if kind == "garbage":
                return self.send(200, b"<html>busy</html>")
            if kind == "null":
                whole["choices"][0]["message"] = None
            if kind == "cut":
                data = json.dumps(whole).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data) + 50))
                self.end_headers()
                self.wfile.write(data)
                self.close_connection = True
                return None
            if kind not in ("empty", "null", "wrong"):
                with script.lock:
                    script.answered.append(body)
            if body.get("stream"):
                return self.stream(whole, kind)
            return self.send(200, whole)

        def completion(self, body: Body, model: str) -> Body:
            text = script.say(body)
            finish = "stop"
            if text.endswith("<length>"):
                text, finish = text.removesuffix("<length>"), "length"
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
            found: Body = {
                "id": "x",
                "object": "chat.completion",
                "model": model,
                "choices": [{**choice, **script.more(body)}],
            }
            if script.usage and (not script.usage_asked or (body.get("stream_options") or {}).get("include_usage")):
                found["usage"] = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
            if script.fingerprint:
                found["system_fingerprint"] = script.fingerprint
            return found

        def stream(self, whole: Body, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.close_connection = True
            choice = whole.pop("choices")[0] if whole["choices"] else None
            events: list[Any] = [": a comment"]
            if choice is not None:
                text = choice["message"]["content"]
                pieces = (
                    ({"content": text[:5]}, {"content": text[5:]}) if isinstance(text, str) else (choice["message"],)
                )
                for piece in pieces:
                    delta = {"index": 0, "delta": piece, "finish_reason": None}
                    events.append({**whole, "usage": None, "choices": [delta]})
                if kind != "broken":
                    events.append(
                        {**whole, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]}
                    )
            if kind != "broken":
                events.append("[DONE]")
            for at, event in enumerate(events):
                line = (
                    event
                    if isinstance(event, str) and event.startswith(":")
                    else f"data: {event if isinstance(event, str) else json.dumps(event)}"
                )
                self.wfile.write(f"{line}\n\n".encode())
                self.wfile.flush()
                if kind == "pause" and at == 2:
                    time.sleep(1.5)
                if kind == "comments" and at == 2:
                    with contextlib.suppress(OSError):  # until the client has had enough
                        while True:
                            self.wfile.write(b": still here\n\n")
                            self.wfile.flush()
                            time.sleep(0.02)
                    return

    return Handler


def repeats(script: Scripted) -> Counter[str]:
    """How often each real request was answered."""
    return Counter(json.dumps(body, sort_keys=True) for body in script.answered if not trial(body))
