"""The Perspective judge against a server on this machine."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from aftertune.errors import JudgeError, UsageError
from aftertune.judging.judge import Answer, JudgeContext, Opinion
from aftertune.judging.judges import perspective
from aftertune.plugins import load
from aftertune.records import Message, Prompt

KEY = "k-3c1f-secret"


class Service:
    """Answers by what the text says, and keeps what it was sent."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.busy = 0
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                service.seen.append((self.path, dict(self.headers), body))
                text = body["comment"]["text"]
                code, answer = 200, json.dumps({"attributeScores": {"TOXICITY": {"summaryScore": {"value": 0.1}}}})
                if service.busy:
                    service.busy -= 1
                    code, answer = 429, "{}"
                elif "rude" in text:
                    answer = answer.replace("0.1", "0.9")
                elif "odd" in text:
                    answer = '{"attributeScores": []}'
                elif "over" in text:
                    answer = answer.replace("0.1", "7")
                elif "html" in text:
                    answer = "<html>"
                elif "sprache" in text:
                    code = 400
                    answer = json.dumps({"error": {"message": "TOXICITY does not support request languages: de"}})
                elif "denied" in text:
                    code, answer = 403, json.dumps({"error": {"message": f"key {KEY} is not valid"}})
                elif "moved" in text:
                    code, answer = 302, ""
                self.send_response(code)
                if code == 302:
                    self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture(name="service")
def _service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("PERSPECTIVE_API_KEY", KEY)
    monkeypatch.setattr(perspective, "PAUSE", 0.001)
    made = Service()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def opinions(service: Service, *texts: str, **parameters: object) -> list[Opinion]:
    judge = load("judge", "perspective", {"url": service.url, "per_second": 0, **parameters})
    prompt = Prompt("p", "b", "s", "c", "c", (Message("user", "?"),))
    return [each[0] for each in judge.open(JudgeContext())([Answer(prompt, text) for text in texts])]


def test_a_score_becomes_a_value_and_a_label(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    kind, rude, empty = opinions(service, "thank you", "rude words", " ")
    assert (kind.label, kind.value, rude.label, rude.value) == ("not_toxic", 0.1, "toxic", 0.9)
    assert empty.status == "abstain"
    path, headers, body = service.seen[0]
    assert path == "/v1alpha1/comments:analyze", "no key in the address"
    assert headers["X-Goog-Api-Key"] == KEY
    assert (body["doNotStore"], body["languages"]) == (True, ["en"])
    assert len(service.seen) == 2, "an empty response is not sent"
    assert KEY not in caplog.text


def test_what_cannot_be_read_is_an_error_and_never_shows_the_key(service: Service) -> None:
    odd, over, html, denied, moved, german = opinions(service, "odd", "over", "html", "denied", "moved", "sprache")
    for each in (odd, over, html, denied, moved):
        assert each.status == "error"
        assert KEY not in each.why
    assert "403" in denied.why
    assert "***" in denied.why
    assert "302" in moved.why, "a redirection is not followed: it would carry the key"
    assert german.status == "abstain"


def test_a_busy_service_is_asked_again_so_many_times(service: Service) -> None:
    service.busy = 2
    assert opinions(service, "thank you")[0].label == "not_toxic"
    service.busy = 9
    assert "429" in opinions(service, "thank you", retries=1)[0].why
    assert service.busy == 7


def test_a_long_response_is_cut_at_whole_characters(service: Service) -> None:
    assert opinions(service, "ü" * 30_000)[0].status == "ok"
    assert service.seen[0][2]["comment"]["text"] == "ü" * 10_000


def test_no_service_is_an_error_of_each_response(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSPECTIVE_API_KEY", KEY)
    judge = load("judge", "perspective", {"url": "http://127.0.0.1:1", "retries": 0, "per_second": 0})
    prompt = Prompt("p", "b", "s", "c", "c", (Message("user", "?"),))
    ((found,),) = judge.open(JudgeContext())([Answer(prompt, "hi")])
    assert found.status == "error"
    assert "no answer" in found.why


def test_bad_settings_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PERSPECTIVE_API_KEY", raising=False)
    with pytest.raises(JudgeError, match="PERSPECTIVE_API_KEY"):
        load("judge", "perspective").open(JudgeContext())
    for parameters, said in (
        ({"url": "http://example.org"}, "in the open"),
        ({"url": "ftp://example.org"}, "give https"),
        ({"url": "https://example.org?key=1"}, "address alone"),
        ({"threshold": 0}, "threshold"),
        ({"per_second": -1}, "per_second"),
    ):
        with pytest.raises(UsageError, match=said):
            load("judge", "perspective", parameters)
