"""The backend for servers, against one that misbehaves by script."""

from __future__ import annotations

import email.utils
import logging
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.scripted_server import Body, Scripted, repeats, serving, trial

from aftertune import plugins
from aftertune.asking.backends import _client, _completions
from aftertune.asking.backends._client import Pace, retry_after
from aftertune.asking.backends.endpoint import Endpoint, EndpointSession
from aftertune.errors import AftertuneError, ModelError, ServerError, UsageError
from aftertune.models.session import Backend, Reply, Request
from aftertune.records import Message, Prompt


def requests(count: int, temperature: float = 0.0) -> list[Request]:
    return [
        Request(Prompt(f"p{n}", "b", "s", "c", "c", (Message("user", f"Question {n}?"),)), temperature, 0, n + 1, 50)
        for n in range(count)
    ]


def backend(script: Scripted, **changes: Any) -> Endpoint:
    fields = {"url": script.url, "backoff_s": 0.002, "timeout_s": 5.0, **changes}
    found: Endpoint = plugins.load("backend", "endpoint", fields)
    found.begin()
    return found


def ask(script: Scripted, count: int = 6, model: str = "base", temperature: float = 0.0, **changes: Any) -> list[Reply]:
    with backend(script, **changes).open(model) as session:
        return list(session.respond(requests(count, temperature), system=None, template="base"))


# ---------------------------------------------------------------------------------------------- answers


@pytest.mark.parametrize("stream", [False, True])
def test_each_request_gets_its_own_answer(stream: bool) -> None:
    with serving(Scripted(fingerprint="fp1", trouble=lambda body, before: "stall 0.03")) as script:
        replies = ask(script, 20, stream=stream, concurrency=8)
        assert sorted(r.prompt_id for r in replies) == sorted(f"p{n}" for n in range(20))
        by_text = {body["messages"][-1]["content"]: script.say(body) for body in script.answered}
        assert all(reply.text == by_text[f"Question {reply.prompt_id[1:]}?"] for reply in replies)
        assert {r.new_tokens for r in replies} == {5}
        assert all(r.token_hash is None for r in replies), "a server does not show its tokens"
        assert 1 < script.most <= 8


def test_the_system_prompt_and_the_settings_are_sent() -> None:
    with serving(Scripted()) as script, backend(script, extra={"top_k": 0}).open("tuned") as session:
        (reply,) = session.respond(requests(1, 0.7), system="Be kind.", template="base")
        (body,) = script.answered
        assert body["messages"] == [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Question 0?"},
        ]
        assert (body["model"], body["temperature"], body["seed"], body["max_tokens"]) == ("tuned", 0.7, 1, 50)
        assert body["top_k"] == 0
        assert "logprobs" not in body
        assert reply.finish_reason == "stop"
        with pytest.raises(ModelError, match="writes the chat template"):
            list(session.respond(requests(1), system=None, template="own"))


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("500", "status 500"),
        ("503", "status 503"),
        ("429", "status 429"),
        ("hangup", "the connection broke"),
        ("cut", "the connection broke"),
        ("half", "the reply is not whole JSON"),
        ("garbage", "the reply is not whole JSON"),
        ("empty", "the reply has no choices"),
        ("null", "the reply has no message"),
        ("stall 0.6", "no answer within 0.3 s"),
    ],
)
def test_what_may_pass_is_tried_again_and_counted(trouble: str, reason: str) -> None:
    def script_of(body: Body, before: int) -> str | None:
        return trouble if before == 0 and "Question 1?" in str(body) else None

    timeout = 0.3 if "stall" in trouble else 5.0
    with serving(Scripted(trouble=script_of)) as script, backend(script, timeout_s=timeout).open("base") as session:
        replies = list(session.respond(requests(3), system=None, template="base"))
        assert [r.error for r in replies] == [None] * 3
        assert session.report()["tried_again"] == {reason: 1}
        assert len(script.seen) == 4


@pytest.mark.parametrize("kind", ["broken", "pause"])
def test_a_stream_that_breaks_or_stalls_is_asked_again(kind: str) -> None:
    script = Scripted(trouble=lambda body, before: kind if before == 0 else None)
    with serving(script), backend(script, stream=True, timeout_s=0.4).open("base") as session:
        (reply,) = session.respond(requests(1), system=None, template="base")
        assert reply.text == script.say(script.answered[-1])
        reason = "the stream broke off before its end" if kind == "broken" else "no answer within 0.4 s"
        assert session.report()["tried_again"] == {reason: 1}


def test_a_report_counts_what_one_model_took(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Scripted(trouble=lambda body, before: "500" if before == 0 and body["model"] == "base" else None)
    with serving(script), backend(script).open("base") as session:
        told = []
        for name, count in ((None, 4), (Path("keep"), 3), (Path("keep"), 2)):
            before = len(script.seen)
            session.use(name)
            list(session.respond(requests(count), system=None, template="base"))
            told.append((session.report(), len(script.seen) - before))
        assert [report["requests"] for report, _ in told] == [sent for _, sent in told]
        assert told[0][0]["tried_again"]
        assert not told[1][0]["tried_again"]
        assert told[2][1] == 2, "no trials the second time"


def test_a_stream_of_comments_for_ever_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_client, "LONGEST_STREAM", 2)
    script = Scripted(trouble=lambda body, before: "comments" if before == 0 else None)
    with serving(script), backend(script, stream=True, timeout_s=0.4).open("base") as session:
        (reply,) = session.respond(requests(1), system=None, template="base")
        assert reply.text == script.say(script.answered[-1])
        assert session.report()["tried_again"] == {"no answer within 0.4 s": 1}


@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_without_end_is_no_answer(stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_client, "LARGEST", 1 << 17)
    script = Scripted(trouble=lambda body, before: "flood" if "Question 2?" in str(body) else None)
    with serving(script):
        errors = {reply.prompt_id: reply.error for reply in ask(script, 4, stream=stream)}
    assert sorted(errors.values(), key=str) == [None, None, None, "a reply of more than 0 MiB"]


def test_a_refused_request_is_not_repeated_and_the_others_go_on() -> None:
    script = Scripted(trouble=lambda body, before: "400" if "Question 2?" in str(body) else None)
    with serving(script):
        replies = {r.prompt_id: r for r in ask(script, 5)}
        assert replies["p2"].error == "status 400: scripted 400"
        assert replies["p2"].finish_reason == "error"
        assert [r.error for id_, r in replies.items() if id_ != "p2"] == [None] * 4
        assert len(script.seen) == 5


@pytest.mark.parametrize("code", ["401", "403", "404"])
def test_what_no_request_can_mend_ends_it_in_one_line(code: str) -> None:
    with serving(Scripted(trouble=lambda body, before: code)) as script:
        with pytest.raises(ServerError, match=f"status {code}") as caught:
            ask(script, 50, concurrency=4)
        assert "\n" not in str(caught.value)
        assert len(script.seen) <= 4, "nothing is asked again, and nobody new is sent"


def test_a_server_that_is_gone_ends_it_and_keeps_what_was_answered() -> None:
    def dies(body: Body, before: int) -> str | None:
        return "500" if len(script.answered) >= 10 else None

    script = Scripted(trouble=dies)
    kept: list[Reply] = []
    with (
        serving(script),
        backend(script, retries=1, concurrency=4).open("base") as session,
        pytest.raises(ServerError, match="in a row came to nothing.*same command again"),
    ):
        for reply in session.respond(requests(200), system=None, template="base"):
            kept.append(reply)
    assert sum(reply.error is None for reply in kept) == len(script.answered) >= 10
    assert len(kept) < 40
    with pytest.raises(ServerError, match="cannot be reached"), backend(script, retries=0).open("base") as session:
        list(session.respond(requests(20), system=None, template="base"))


TROUBLES = st.lists(
    st.sampled_from(["500", "502", "429", "429 0", "hangup", "half", "garbage", "empty", "null", "cut", "400", "ok"]),
    max_size=4,
)


@given(plan=st.lists(TROUBLES, min_size=1, max_size=8), concurrency=st.integers(1, 6), retries=st.integers(0, 3))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_fails_each_request_is_answered_once_or_says_why(
    plan: Sequence[Sequence[str]], concurrency: int, retries: int
) -> None:
    def trouble(body: Body, before: int) -> str | None:
        mine = plan[int(body["messages"][-1]["content"].split()[1].strip("?"))]
        return mine[before] if before < len(mine) and mine[before] != "ok" else None

    def expected(mine: Sequence[str]) -> str | None:
        for at in range(retries + 1):
            if at >= len(mine) or mine[at] == "ok":
                return None
            if mine[at] == "400":
                return "status 400"
        return f"{retries + 1} times"

    with serving(Scripted(trouble=trouble)) as script:
        replies: list[Reply] = []
        stopped = ""
        try:
            with backend(script, concurrency=concurrency, retries=retries, backoff_s=0.001).open("base") as session:
                for reply in session.respond(requests(len(plan)), system=None, template="base"):
                    replies.append(reply)
        except ServerError as error:
            stopped = str(error)
        ids = [reply.prompt_id for reply in replies]
        assert len(set(ids)) == len(ids), "no duplicates"
        assert stopped or set(ids) == {f"p{n}" for n in range(len(plan))}
        assert not stopped or ("in a row" in stopped and len(plan) >= 8)
        for reply in replies:
            why = expected(plan[int(reply.prompt_id[1:])])
            assert (reply.error is None) == (why is None)
            assert why is None or why in str(reply.error)
        assert max(repeats(script).values(), default=0) <= 1, "an answer that came is never asked for again"


# ---------------------------------------------------------------------------------------------- pace


def test_retry_after_is_kept_in_seconds_and_as_a_date() -> None:
    now = time.time()
    assert retry_after({"Retry-After": "7"}, now) == 7
    assert retry_after({"Retry-After": "-3"}, now) == 0
    assert retry_after({"Retry-After": "9", "retry-after-ms": "20"}, now) == 9
    assert retry_after({"retry-after-ms": "1500"}, now) == 1.5
    date = email.utils.formatdate(now + 30, usegmt=True)
    assert retry_after({"Retry-After": date}, now) == pytest.approx(30, abs=1.1)
    assert [retry_after({"Retry-After": value}, now) for value in ("soon", "inf", "Mon, 99 Foo")] == [None] * 3
    assert [retry_after(headers, now) for headers in ({}, {"retry-after-ms": "x"})] == [None] * 2
    for header, least in (("1", 1.0), ("date", 0.9)):
        script = Scripted(trouble=lambda body, before, header=header: f"429 {header}" if before == 0 else None)  # type: ignore[misc]
        with serving(script):
            began = time.monotonic()
            assert ask(script, 1)[0].error is None
            assert time.monotonic() - began >= least
            assert len(script.seen) == 2
    patient = pytest.raises(ServerError, match="left alone for 9,000 s: run the same command")
    with serving(Scripted(trouble=lambda body, before: "429 9000")) as script, patient:
        ask(script, 1)


def test_the_pace_rises_by_answers_and_is_halved_once_per_trouble() -> None:
    pace = Pace(32)
    for _ in range(12):
        pace.good()
    assert pace.limit == 16
    pace.trouble(sent=1.0, now=2.0)
    for _ in range(5):
        pace.trouble(sent=1.5, now=2.5)  # sent before the halving: the same trouble
    assert pace.limit == 8
    for _ in range(8):
        pace.good()
    assert 8.9 < pace.limit < 9.1, "after trouble one more per round trip"
    for at in range(9):
        pace.trouble(sent=10.0 + at, now=10.5 + at)
    assert pace.limit == 1
    for _ in range(9999):
        pace.good()
    assert pace.limit == 32


def test_a_busy_server_gets_fewer_requests_at_once() -> None:
    def trouble(body: Body, before: int) -> str | None:
        return "429" if script.now > 3 else "stall 0.01"

    script = Scripted(trouble=trouble)
    with serving(script), backend(script, concurrency=16, retries=20).open("base") as session:
        replies = list(session.respond(requests(60), system=None, template="base"))
        assert [r.error for r in replies] == [None] * 60
        assert len(script.seen) < 2 * 60, "most requests meet no 429"


# ---------------------------------------------------------------------------------------------- budget


def test_a_budget_stops_cleanly_and_counts_anew_in_the_next_command() -> None:
    with serving(Scripted()) as script:
        made = backend(script, budget_requests=7, concurrency=3)
        kept: list[Reply] = []
        with (
            made.open("base") as session,
            pytest.raises(ServerError, match="7 requests is used up.*same command again"),
        ):
            for reply in session.respond(requests(20), system=None, template="base"):
                kept.append(reply)
        assert len(kept) == len(script.seen) == 7
        with made.open("base") as session, pytest.raises(ServerError, match="used up"):
            list(session.respond(requests(1), system=None, template="base"))
        made.begin()
        with made.open("base") as session:
            assert len(list(session.respond(requests(7), system=None, template="base"))) == 7
        tokens = backend(script, budget_tokens=400)
        kept = []
        with tokens.open("base") as session, pytest.raises(ServerError, match="400 tokens has no room"):
            for reply in session.respond(requests(90), system=None, template="base"):
                kept.append(reply)
        assert 15 <= len(kept) <= 400 / 15
        script.usage = False
        with tokens.open("base") as session, pytest.raises(ServerError, match="budget_requests instead|no room"):
            list(session.respond(requests(9), system=None, template="base"))


def test_a_budget_of_tokens_is_kept_where_answers_stream() -> None:
    """Servers that stream tell the tokens only where `stream_options` asks them to."""
    with serving(Scripted(usage_asked=True)) as script:
        kept = []
        made = backend(script, stream=True, budget_tokens=400)
        with made.open("base") as session, pytest.raises(ServerError, match="400 tokens has no room"):
            for reply in session.respond(requests(90), system=None, template="base"):
                kept.append(reply)
        assert 15 <= len(kept) <= 400 / 15
        assert ask(script, 1, stream=True)[0].error is None
        assert "stream_options" not in script.seen[-1], "some servers refuse it, so it is sent where it is needed"


# ---------------------------------------------------------------------------------------------- the way there


def test_a_server_on_this_machine_is_asked_without_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Scripted()) as proxy, serving(Scripted()) as script:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert [reply.error for reply in ask(script, 3)] == [None] * 3
        assert not proxy.seen, "what is asked may hold personal data, and must not leave the machine"


def test_a_proxy_that_cannot_be_used_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "nonsense://127.0.0.1:1")
    made = Endpoint(url="http://server.invalid/v1")
    with made.open("base") as session, pytest.raises(ServerError, match=r"the environment's proxy.*cannot be used"):
        list(session.respond(requests(1), system=None, template="base"))


def test_tls_that_cannot_work_is_said_at_once_and_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Scripted()) as script:
        script.url = script.url.replace("http:", "https:")
        with pytest.raises(ServerError, match="does not speak TLS there"):
            ask(script, 1, backoff_s=50.0)
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            openssl,
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            key,
            "-out",
            certificate,
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ],
        check=True,
        capture_output=True,
    )
    with serving(Scripted(), certificate=(certificate, key)) as script:
        with pytest.raises(ServerError, match="certificate is not trusted.*SSL_CERT_FILE"):
            ask(script, 1, backoff_s=50.0)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert ask(script, 1)[0].error is None


# ---------------------------------------------------------------------------------------------- detection


def test_another_model_in_the_reply_is_refused_by_name() -> None:
    with serving(Scripted(trouble=lambda body, before: "wrong" if "Question 3?" in str(body) else None)) as script:
        with pytest.raises(ServerError, match="asked for 'base', the server answered as 'impostor'.*aliases"):
            ask(script, 6)
        assert len(ask(script, 6, aliases={"base": "impostor"})) == 6


@pytest.mark.parametrize(
    ("asked", "said", "taken"),
    [
        ("gpt-x", "gpt-x-2024-08-06", True),
        ("gpt-x", "gpt-x-0613", True),
        ("m", "m@main", True),
        ("/models/a.gguf", "a.gguf", True),
        ("base", "base-tuned", False),
        ("base", "bas", False),
        ("tuned", "base", False),
        ("m", "", True),
    ],
)
def test_a_revision_or_date_is_the_same_model(asked: str, said: str, taken: bool) -> None:
    session = EndpointSession(Endpoint(url="http://127.0.0.1:9/v1"), asked)
    completion = _completions.Completion(said, "text", "stop")
    if taken:
        session._accept(asked, completion)
    else:
        with pytest.raises(ServerError, match="answered as"):
            session._accept(asked, completion)


def test_what_a_server_says_of_a_model_is_recorded_and_held_against_it() -> None:
    models = {"base": {"root": "/m/base"}, "tuned": {"root": "/a/tuned", "parent": "base"}}
    with serving(Scripted(models=models, fingerprint="f1")) as script:
        made = backend(script)
        said = made.identify(["base", "tuned"])
        assert said["tuned"] == {
            "asked": "tuned",
            "replied": "tuned",
            "fingerprint": "f1",
            "listed": "yes",
            "root": "/a/tuned",
            "parent": "base",
        }
        pinned = backend(script, served=said)
        with pinned.open("base") as session:
            proof = session.use(Path("tuned"))
            assert (proof.max_logit_change, proof.matches_direct, proof.moved_weights) == (None, None, None)
            assert session.report()["weights"] == "unknown: a served model"
        script.models = {"base": {"root": "/m/base"}, "tuned": {"root": "/a/other", "parent": "base"}}
        with pinned.open("base") as session, pytest.raises(ServerError, match="now declares root '/a/other'"):
            session.use(Path("tuned"))
        script.models = None  # the list fails: nothing more is known, nothing contradicts
        assert backend(script).identify(["base"])["base"] == {"asked": "base", "replied": "base", "fingerprint": "f1"}


def test_a_server_that_ignores_the_temperature_is_refused_above_zero_only() -> None:
    script = Scripted(say=lambda body: f"the same, {body['messages']}")
    with serving(script), backend(script).open("base") as session:
        session.use(None)
        with pytest.raises(ModelError, match="base: the server ignores the temperature"):
            list(session.respond(requests(2, 0.7), system=None, template="base"))
        assert len(list(session.respond(requests(2), system=None, template="base"))) == 2
        report: Any = session.report()
        assert report["temperature"] == "ignored"
        assert report["seed"] == "unknown"
        assert "ignores the temperature" in report["warnings"][0]


def test_seeds_noise_and_an_adapter_that_does_nothing_are_noticed() -> None:
    def report_of(say: Any, checkpoint: str | None = None) -> Any:
        with serving(Scripted(say=say)) as script, backend(script).open("base") as session:
            session.use(Path(checkpoint) if checkpoint else None)
            return session.report()

    honest = report_of(Scripted().say, "tuned")
    assert (honest["temperature"], honest["seed"], honest["warnings"]) == ("honoured", "honoured in the trials", [])
    unseeded = report_of(lambda body: str(time.perf_counter_ns()) if body["temperature"] else "x")
    assert unseeded["seed"] == "not honoured"
    noisy = report_of(lambda body: str(time.perf_counter_ns()))
    assert any("temperature 0 gave two texts" in warning for warning in noisy["warnings"])
    idle = report_of(lambda body: Scripted().say({**body, "model": "one"}), "tuned")
    assert any("word for word as the base" in warning for warning in idle["warnings"])


def test_cut_empty_and_changing_answers_are_warnings() -> None:
    script = Scripted(say=lambda body: "" if "0?" in str(body) else "cut<length>", fingerprint="a")
    with serving(script), backend(script).open("base") as session:
        replies = {r.prompt_id: r for r in session.respond(requests(3), system=None, template="base")}
        assert replies["p1"].finish_reason == "length"
        script.fingerprint = "b"
        list(session.respond(requests(1), system=None, template="base"))
        report: Any = session.report()
        for words in ("2 answers were empty", "2 answers were cut", "fingerprint changed: a, b"):
            assert words in " ".join(report["warnings"] + report["remarks"])


def test_log_probabilities_are_shown_or_refused() -> None:
    rows = [{"token": "7", "logprob": -0.5}, {"token": " 7", "logprob": -1.5}, {"token": "8", "logprob": -99999}]
    shown = {"logprobs": {"content": [{"token": "7", "logprob": -0.5, "top_logprobs": rows}]}}
    with serving(Scripted(more=lambda body: shown if body.get("top_logprobs") == 5 else {})) as script:
        made = backend(script, logprobs=5)
        assert made.capabilities == {"adapters", "logprobs"}
        with made.open("base") as session:
            session.use(None)
            (reply,) = session.respond(requests(1), system=None, template="base")
            assert reply.top == pytest.approx({"7": -0.5, " 7": -1.5, "8": -99999})
        with backend(script, logprobs=3).open("base") as session, pytest.raises(ServerError, match="shows no log-prob"):
            session.use(None)
        assert backend(script).capabilities == {"adapters"}, "seeds, tokens, logits, weights: unknown, not claimed"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nul",
        "[]",
        "[" * 5000,
        '{"choices": "x"}',
        '{"choices": [1]}',
        '{"error": "e"}',
        '{"choices": [{"message": {"content": 3}}]}',
        '{"choices": [{"message": {"content": ',
    ],
)
def test_a_hostile_body_is_a_bad_reply(text: str) -> None:
    with pytest.raises(_completions.BadReplyError):
        _completions.read_body(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "choices",
                        "message",
                        "content",
                        "logprobs",
                        "usage",
                        "model",
                        "top_logprobs",
                        "token",
                        "completion_tokens",
                    ]
                ),
                inner,
                max_size=3,
            )
        ),
        max_leaves=12,
    )
)
def test_no_json_breaks_the_reader(body: Any) -> None:
    import json

    text = json.dumps(body)
    for read in (_completions.read_body, lambda text: _completions.read_events(f"data: {text}\n\ndata: [DONE]\n")):
        try:
            found = read(text)
        except _completions.BadReplyError:
            continue
        assert isinstance(found.text, str)
        found.text.encode()


# ---------------------------------------------------------------------------------------------- keys and bad input

KEY = "sk-very-secret-0123456789"


def test_the_key_is_sent_and_written_nowhere(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    import traceback

    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_KEY", KEY)
    written: list[str] = []
    with serving(Scripted(key=KEY, say=lambda body: f"your key is {KEY}")) as script:
        made = backend(script, key_env="MY_KEY")
        written += [repr(made), str(made.identify(["base"]))]
        with made.open("base") as session:
            written += [repr(session), repr(session._client)]
            written += [repr(reply) for reply in session.respond(requests(2), system=None, template="base")]
            written += [str(session.report())]
        assert "your key is [key]" in written[-2]
        script.trouble = lambda body, before: "echo"
        written += [repr(ask(script, 1, key_env="MY_KEY"))]
        script.key = "another"
        for action in (lambda: ask(script, 1, key_env="MY_KEY"), lambda: made.identify(["base"])):
            with pytest.raises(
                ServerError, match="status 401: the key is missing or refused: look at key_env"
            ) as caught:
                action()
            written.append("".join(traceback.format_exception(caught.value)))
    captured = capfd.readouterr()
    written += [caplog.text, captured.out, captured.err]
    assert "bad header" in "".join(written)
    assert KEY not in "".join(written)
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(UsageError, match="MY_KEY holds no usable key"):
        made.identify(["base"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"url": "localhost:8000"}, "starts with http"),
        ({"url": "http://user:secret@host/v1"}, "would stand in files"),
        ({"url": "http://host/v1?api_key=secret"}, "would stand in files"),
        ({"key_env": "sk-secret"}, "not the name of an environment variable"),
        ({"concurrency": 0}, "concurrency = 0"),
        ({"retries": -1}, "retries = -1"),
        ({"budget_tokens": 1.5}, "budget_tokens = 1.5"),
        ({"timeout_s": 0}, "timeout_s = 0"),
        ({"logprobs": 21}, "logprobs = 21"),
        ({"extra": {"api_key": "secret"}}, "no place for a secret"),
        ({"extra": {"temperature": 1}}, "sets this field itself"),
        ({"tokens_field": "tokens"}, "tokens_field"),
        ({"url": "http://h/v1", "url_env": "U"}, "not both"),
        ({"urls": "x"}, "did you mean 'url'"),
    ],
)
def test_a_parameter_that_cannot_be_honoured_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        plugins.load("backend", "endpoint", fields)
    assert "secret" not in str(caught.value).replace("a secret", "")


def test_an_address_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Scripted()) as script:
        monkeypatch.setenv("MY_SERVER", script.url)
        with plugins.load("backend", "endpoint", {"url_env": "MY_SERVER"}).open("base") as session:
            assert len(list(session.respond(requests(2), system=None, template="base"))) == 2
    for value, message in (("", "holds no address"), ("http://a:b@c/v1", "would stand in files")):
        monkeypatch.setenv("MY_SERVER", value)
        with pytest.raises(AftertuneError, match=message):
            plugins.load("backend", "endpoint", {"url_env": "MY_SERVER"}).identify(["base"])
    with pytest.raises(UsageError, match="url is empty"):
        Endpoint().identify(["base"])


def test_only_a_budget_needs_one_process_and_the_contract_is_kept() -> None:
    plain = Endpoint(url="http://127.0.0.1:9/v1")
    assert isinstance(plain, Backend)
    assert plain.asks_server
    assert not plain.limited
    assert replace(plain, budget_requests=5).limited
    assert replace(plain, budget_tokens=5).limited
    assert (plain.served, plain.chosen_parameters, plain.choose(["base"])) == ({}, (), {})


def test_leaving_in_the_middle_stops_the_requests() -> None:
    with serving(Scripted(trouble=lambda body, before: "stall 0.02")) as script:
        with backend(script, concurrency=2).open("base") as session:
            replies = session.respond(requests(500), system=None, template="base")
            for _ in range(3):
                next(replies)
            replies.close()  # type: ignore[attr-defined]
        count = len(script.seen)
        time.sleep(0.1)
        assert len(script.seen) == count < 20
        assert not any(trial(body) for body in script.seen)
