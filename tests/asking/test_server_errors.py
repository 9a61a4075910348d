"""Every error keeps the server's own words, cut and without keys; a model that loads is waited for; trials that fit."""

from __future__ import annotations

import html
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.asking.test_endpoint import ask, backend, requests
from tests.scripted_server import Body, Scripted, serving

from aftertune import plugins
from aftertune.asking.backends import _client
from aftertune.asking.backends._server_errors import MOST, loads, masked, one_line, words_of, words_of_text
from aftertune.errors import ModelError, ServerError, UsageError

Own = tuple[int, Any, Mapping[str, str]]
HTML = {"Content-Type": "text/html"}
PAGE = (
    b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title><style>b{}</style></head><body><h1>502</h1>nginx</body>"
)


def same(value: Any) -> Any:
    return value


# ---------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "Model is busy", "type": "overloaded_error"}}, "Model is busy (overloaded_error)"),
        ({"error": {"message": "No such model", "code": "404"}}, "No such model"),
        ({"error": "no memory"}, "no memory"),
        ({"message": "no memory"}, "no memory"),
        ({"object": "error", "message": "too long", "type": "BadRequestError"}, "too long (BadRequestError)"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"detail": [{"loc": ["body", "n"], "msg": "must be 1"}, {"msg": "odd"}]}, "body.n: must be 1; odd"),
        ({"errors": [{"message": "a"}, {"message": "b"}]}, "a; b"),
        ([{"error": {"message": "from a list"}}], "from a list"),
        ({"error": {"message": {"detail": "deep"}}}, "deep"),
        ({"base_resp": {}, "status_msg": "busy"}, "busy"),
        ({"title": "Gone", "status": 410}, "Gone"),
        ({"error": {"message": "two\n\tlines\x1b[31m"}}, "two lines [31m"),
        ({}, ""),
        ({"error": None}, ""),
        (None, ""),
    ],
)
def test_the_message_of_an_error_is_found_wherever_it_stands(body: object, words: str) -> None:
    assert words_of(body) == words


def test_a_page_of_a_proxy_is_read_as_its_words() -> None:
    assert words_of_text(PAGE.decode(), same) == "502 Bad Gateway 502 nginx"
    assert words_of_text("<html><script>var a = 1", same) == ""
    assert words_of_text("upstream connect error", same) == "upstream connect error"
    assert words_of_text("a < b, and c > d", same) == "a < b, and c > d"
    assert len(words_of_text("<html>" + "<" * 200_000, same)) <= MOST
    assert one_line("x" * 999).endswith(" ...")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["error", "message", "detail", "code", "msg", "loc", "type"]), inner)
        ),
        max_leaves=20,
    )
)
def test_no_error_body_breaks_the_reader(body: Any) -> None:
    words = words_of(body)
    assert len(words) <= MOST
    assert words.isprintable()


def always(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Scripted:
    return Scripted(reply=lambda _, before: (status, body, headers or {}))


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (always(400, {"error": {"message": "at most 64 tokens"}}), "status 400: at most 64 tokens"),
        (always(413, b"<html><h1>413 Request Entity Too Large</h1>", HTML), "status 413: 413 Request Entity Too Large"),
        (always(422, {"detail": [{"loc": ["body", "top_k"], "msg": "not permitted"}]}), "status 422: body.top_k: not permitted"),
        (always(418, b""), "status 418"),
        (always(429, {"error": {"message": "Slow down"}}), "status 429 (Slow down), 2 times"),
        (always(500, {"error": "CUDA out of memory"}), "status 500 (CUDA out of memory), 2 times"),
        (always(502, PAGE, HTML), "status 502 (502 Bad Gateway 502 nginx), 2 times"),
        (always(200, PAGE, HTML), "the reply is not whole JSON (502 Bad Gateway 502 nginx), 2 times"),
        (always(200, {"object": "list"}), 'the reply has no choices ({"object": "list"}), 2 times'),
        (always(200, {"choices": [], "message": "none"}), "the reply has no choices (none), 2 times"),
        (always(200, {"error": {"message": "Provider failed", "code": 502}}), "status 502 (Provider failed), 2 times"),
        (always(200, {"error": {"message": "Too long", "code": "400"}}), "status 400: Too long"),
        (always(200, {"error": {"message": "Odd"}}), "the reply is an error (Odd), 2 times"),
        (always(200, [1]), "the reply is not a JSON object ([1]), 2 times"),
    ],
)  # fmt: skip
def test_an_error_keeps_what_the_server_said(script: Scripted, error: str) -> None:
    with serving(script):
        assert [reply.error for reply in ask(script, 2, retries=1)] == [error] * 2


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (401, {"error": {"message": "Token expired"}}, "status 401: the key is missing or refused.*it says: Token expired"),
        (402, {"error": {"message": "Top up"}}, "status 402: the account has nothing left.*it says: Top up"),
        (403, PAGE, "status 403: this key may not use it.*it says: 502 Bad Gateway"),
        (404, {"error": {"message": "The model `base` does not exist", "code": "model_not_found"}},
         r"status 404: no such address or model \(it says: The model `base` does not exist \(model_not_found\)"),
        (307, b"moved", r"status 307: it points to another address: give that one \(it says: moved"),
        (429, {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}},
         "status 429: You exceeded your quota.*see to the account"),
        (200, {"error": {"message": "No auth", "code": 401}}, "status 401: .*it says: No auth"),
    ],
)  # fmt: skip
def test_what_ends_everything_keeps_it_too(status: int, body: Any, says: str) -> None:
    script = always(status, body)
    with serving(script), pytest.raises(ServerError, match=says) as caught:
        ask(script, 9, concurrency=1, retries=5)
    assert len(script.seen) == 1
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["hangup", "cut"])
def test_a_connection_that_breaks_says_how(kind: str) -> None:
    with serving(Scripted(trouble=lambda body, before: kind)) as script:
        (reply,) = ask(script, 1, retries=0)
    how = "without sending" if kind == "hangup" else "peer closed connection without sending complete message body"
    assert str(reply.error).startswith("the connection broke (")
    assert how in str(reply.error)
    with serving(script):
        pass  # nobody listens there any more
    (reply,) = ask(script, 1, retries=0)
    assert str(reply.error).startswith("the server cannot be reached (")


def test_an_error_in_a_stream_keeps_it_too() -> None:
    events = b'data: {"error": {"message": "worker died"}}\n\ndata: [DONE]\n\n'
    script = always(200, events, {"Content-Type": "text/event-stream"})
    with serving(script):
        (reply,) = ask(script, 1, stream=True, retries=0)
    assert reply.error == "the reply is an error (worker died), 1 times"
    script = always(200, b"\n", {"Content-Type": "text/event-stream"})
    with serving(script):
        (reply,) = ask(script, 1, stream=True, retries=0)
    assert reply.error == "the stream broke off before its end, 1 times"


def test_a_server_that_is_gone_is_quoted_in_the_line_that_ends_the_run() -> None:
    script = always(500, {"error": {"message": "disk full"}})
    with serving(script), pytest.raises(ServerError, match=r"in a row came to nothing .*status 500 \(disk full\)"):
        ask(script, 30, retries=0)


def test_errors_are_counted_with_their_words_and_anew_for_the_next_job() -> None:
    def reply(body: Body, before: int) -> Own | None:
        n = body["messages"][-1]["content"].split()[1].strip("?")
        error = {"error": {"message": f"request 00000000000{n} is too long"}}
        return (400, error, {}) if n in "012" else None

    with serving(Scripted(reply=reply)) as script, backend(script).open("base") as session:
        list(session.respond(requests(4), system=None, template="base"))
        told: Any = session.report()
        assert told["remarks"] == [
            "3 answers are errors, so unjudged: status 400: request ... is too long (3)",
        ]
        script.reply = lambda body, before: None
        session.use(None)
        list(session.respond(requests(4), system=None, template="base"))
        told = session.report()
        assert (told["remarks"], told["finish"]) == ([], {"stop": 4})


# ---------------------------------------------------------------------------------------------- keys

KEY = "sk-Zq81+pX/r&<77>aVt"


@pytest.mark.parametrize(
    "form",
    [KEY, quote(KEY, safe=""), html.escape(KEY), json.dumps(KEY)[1:-1].replace("/", "\\/"), KEY[:9], KEY[-8:], KEY[5:14],
     "sk-Z************aVt", "sk-Zq8...7>aVt", "7>aVt"[-4:], "sk-proj-0123456789abcdefgh", "Bearer abc"],
)  # fmt: skip
@pytest.mark.parametrize("body", ["json", "html", "text"])
def test_no_form_of_a_key_is_repeated(form: str, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", KEY)
    said = f"The key {form} is not valid."
    sent = {"json": {"error": {"message": said}}, "html": f"<html>{html.escape(said)}".encode(), "text": said.encode()}[
        body
    ]
    for status in (400, 401, 404, 500):
        script = always(status, sent)
        with serving(script):
            try:
                told = str(ask(script, 1, retries=0, key_env="A_KEY")[0].error)
            except ServerError as error:
                told = str(error)
        assert f"status {status}" in told
        assert "[key]" in told
        assert "The key" in told
        assert "is not valid" in told
        for secret in (KEY, KEY[:9], KEY[-8:], form):
            assert secret not in told.replace(script.url, "")


def test_masks_leave_ordinary_words() -> None:
    said = "This model's maximum context length is 4,096 tokens... **However**, you asked for 5,000 (see max_tokens)."
    assert masked(said, KEY) == said
    assert masked("no EMPTY key", "EMPTY") == "no [key] key"
    assert masked("emptying", "EMPTY") == "emptying"
    assert masked("a cat", "a") == "[key] cat"


@given(
    st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40), st.text(max_size=20)
)
def test_no_key_survives_the_mask(key: str, around: str) -> None:
    assert key not in masked(f"{around}{key}{around}", key).replace("[key]", "")


# ---------------------------------------------------------------------------------------------- a model that loads


def loading(count: int, body: Any, status: int = 503, headers: Mapping[str, str] | None = None) -> Scripted:
    """A server that loads until it has been asked `count` times."""
    script = Scripted()
    script.reply = lambda _, before: (status, body, headers or {}) if len(script.seen) <= count else None
    return script


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}),
        (503, {"error": "Model m is currently loading", "estimated_time": 0.01}),
        (503, b"<html><title>503 Service Temporarily Unavailable</title>"),
        (503, b""),
        (503, {"detail": "Model is not ready yet"}),
        (429, {"message": "The model is initializing"}),
        (200, {"error": {"message": "Loading model", "code": 503}}),
    ],
)
def test_a_model_that_loads_is_waited_for_beyond_the_retries_in_the_servers_words(
    status: int, body: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(loading(9, body, status)) as script:
        replies = ask(script, 4, retries=0, loading_s=60)
        assert [reply.error for reply in replies] == [None] * 4
        assert len(script.seen) == 13
    (line,) = {record.getMessage() for record in caplog.records if record.levelno == logging.WARNING}
    assert "waiting for its model, up to 60 s more (status" in line
    words = words_of_text(json.dumps(body) if not isinstance(body, bytes) else body.decode(), same)
    assert words.split(" (")[0] in line


def test_patience_with_a_model_that_loads_has_an_end() -> None:
    script = loading(10_000, {"error": {"message": "Loading model"}})
    began = time.monotonic()
    with serving(script), pytest.raises(ServerError, match=r"not loaded after 1 s.*Loading model.*loading_s, now 0\.6"):
        ask(script, 4, loading_s=0.6)
    assert 0.5 < time.monotonic() - began < 10
    with serving(script), pytest.raises(ServerError, match=r"asks for 90 s more.*loading_s, now 30"):
        script.reply = lambda _, before: (503, {"error": {"message": "Loading model"}}, {"Retry-After": "90"})
        ask(script, 1, loading_s=30)


def test_the_wait_that_a_loading_server_asks_for_is_kept() -> None:
    with serving(loading(1, {"error": "Loading model"}, headers={"Retry-After": "1"})) as script:
        began = time.monotonic()
        assert ask(script, 1, retries=0)[0].error is None
        assert time.monotonic() - began >= 1


@pytest.mark.parametrize(
    ("status", "words"),
    [(503, "error loading model: out of memory"), (500, "Loading model"), (503, "failed to load model")],
)
def test_a_model_that_fails_to_load_is_not_waited_for(status: int, words: str) -> None:
    script = always(status, {"error": {"message": words}})
    with serving(script):
        (reply,) = ask(script, 1, retries=1)
    assert reply.error == f"status {status} ({words}), 2 times"


def test_a_server_that_is_busy_after_its_first_answer_is_tried_again_as_ever() -> None:
    def reply(body: Body, before: int) -> Own | None:
        return (503, {"error": "overloaded"}, {}) if "Question 1?" in str(body) else None

    with serving(Scripted(reply=reply)) as script:
        errors = {r.prompt_id: r.error for r in ask(script, 3, retries=2, concurrency=1)}
    assert errors == {"p0": None, "p1": "status 503 (overloaded), 3 times", "p2": None}
    script = Scripted(reply=lambda body, before: (503, {"error": "Loading model"}, {}))
    with serving(script):
        assert ask(script, 1, retries=1, loading_s=0)[0].error == "status 503 (Loading model), 2 times"


def test_one_line_says_that_it_waits_every_half_minute(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setattr(_client, "SAY_EVERY", 0.2)
    monkeypatch.setattr(_client, "LONGEST_POLL", 0.05)
    with serving(loading(15, {"error": "Loading model"})) as script:
        ask(script, 1, loading_s=60)
    assert 2 <= len([record for record in caplog.records if "waiting for its model" in record.getMessage()]) < 10


def test_words_of_loading() -> None:
    for words in ("Loading model", "model is loading", "warming up", "is starting", "not yet ready", "cold start"):
        assert loads(words), words
    for words in ("overloaded", "high load, download later", "", "restarting soon is not planned"):
        assert loads(words) is None, words
    assert loads("Error while loading the weights") is False


# ---------------------------------------------------------------------------------------------- what a gateway takes


def picky(body: Body, before: int) -> Own | None:
    """A gateway that takes temperature 1 only and at least 16 tokens."""
    if body["temperature"] != 1:
        return 400, {"error": {"message": "Unsupported value: 'temperature' does not support 0 with this model."}}, {}
    if body["max_tokens"] < 16:
        return 400, {"error": {"message": "Invalid 'max_output_tokens': below minimum value. Expected >= 16."}}, {}
    return None


def test_a_gateway_that_takes_one_temperature_and_at_least_16_tokens_is_asked_as_it_wants() -> None:
    with serving(Scripted(reply=picky)) as script:
        for fields, advice in (({}, "only_temperature = 1"), ({"only_temperature": 1.0}, "least_tokens = 16")):
            with pytest.raises(ServerError, match=f"trial request failed: status 400: .*{advice}"):
                backend(script, **fields).identify(["base"])
        made = backend(script, only_temperature=1, least_tokens=16)
        script.seen.clear()
        made.identify(["base"])
        assert [(body["temperature"], body["max_tokens"]) for body in script.seen] == [(1, 16)]
        with made.open("base") as session:
            session.use(Path("tuned"))
            few = [request.__class__(request.prompt, 1.0, 0, 1, 8) for request in requests(2)]
            assert [r.error for r in session.respond(few, system=None, template="base")] == [None] * 2
            report: Any = session.report()
            with pytest.raises(ModelError, match="the server takes temperature 1 only, not 0"):
                list(session.respond(requests(2), system=None, template="base"))
    assert {body["temperature"] for body in script.seen} == {1}
    assert report["temperature"] == "unknown"
    assert report["seed"] == "honoured in the trials"
    (warning,) = report["warnings"]
    assert warning.startswith("tuned: the server takes temperature 1 only, so no other was tried. Unknown are: ")
    for words in ("whether the temperature is honoured", "one text at temperature 0", "whether an adapter is applied"):
        assert words in warning
    assert report["remarks"] == [
        "2 answers had a longer limit than was asked for, since the server takes none under least_tokens"
    ]


def test_models_that_are_not_tried_at_temperature_0_are_not_called_alike() -> None:
    with (
        serving(Scripted(say=lambda body: "the same")) as script,
        backend(script, only_temperature=1).open("base") as s,
    ):
        s.use(Path("tuned"))
        report: Any = s.report()
        assert "word for word as the base" not in str(report["warnings"])
        assert "why samples with other seeds were all the same" in report["warnings"][0]
        assert len(list(s.respond(requests(1, 1.0), system=None, template="base"))) == 1
    with serving(Scripted()) as script, backend(script, only_temperature=0).open("base") as s:
        s.use(None)
        assert {body["temperature"] for body in script.seen} == {0}
        assert s.report()["temperature"] == "unknown"


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        (
            "'max_tokens' is not supported. Use 'max_completion_tokens' instead.",
            "tokens_field = 'max_completion_tokens'",
        ),
        ("max_tokens must be at least 16", "least_tokens"),
        ("body.seed: extra inputs are not permitted", "send_seed = false"),
        ("This model only support stream mode", "stream = true"),
        ("logprobs are not available", "logprobs = 0"),
    ],
)
def test_a_refused_trial_names_the_setting_that_may_help(said: str, advice: str) -> None:
    script = always(400, {"error": {"message": said}})
    with serving(script), pytest.raises(ServerError, match="if that is the cause") as caught:
        backend(script).identify(["base"])
    assert said in str(caught.value)
    assert advice in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"least_tokens": 0}, "least_tokens = 0"),
        ({"loading_s": -1}, "loading_s = -1"),
        ({"only_temperature": 9}, "only_temperature = 9"),
        ({"only_temperature": "one"}, "only_temperature"),
    ],
)
def test_settings_of_gateways_that_cannot_be_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plugins.load("backend", "endpoint", fields)
