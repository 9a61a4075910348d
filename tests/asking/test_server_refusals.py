"""What a server says when it refuses, filters, cuts, calls a tool, or sends its text in parts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.asking.test_endpoint import ask, backend, requests
from tests.scripted_server import Body, Scripted, serving, trial

from aftertune.asking.backends._completions import BadReplyError, Completion, read_body, read_events
from aftertune.asking.backends._server_errors import filtered, is_filter
from aftertune.errors import ServerError

NO = "I will not help with that."


def whole(message: object, finish: str | None = "stop", **more: Any) -> Body:
    return {"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": finish, **more}]}


def read(message: object, finish: str | None = "stop", **more: Any) -> Completion:
    return read_body(json.dumps(whole(message, finish, **more)))


def stream(*deltas: Mapping[str, Any], finish: str | None = "stop") -> str:
    events: list[Any] = [{"model": "m", "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    if finish:
        events.append({"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"


# ---------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("message", "finish", "text", "ending"),
    [
        ({"content": None, "refusal": NO}, "stop", NO, "refusal"),
        ({"content": "", "refusal": NO}, "stop", NO, "refusal"),
        ({"refusal": NO}, "content_filter", NO, "refusal"),
        ({"content": f"{NO}\n", "refusal": NO}, "stop", NO, "refusal"),
        ({"content": NO, "refusal": True}, "stop", NO, "refusal"),
        ({"content": [{"type": "refusal", "refusal": NO}]}, "stop", NO, "refusal"),
        ({"content": None, "refusal": [{"type": "text", "text": NO}]}, "stop", NO, "refusal"),
        ({"content": None}, "refusal", "", "refusal"),
        ({"content": None}, "content_filter", "", "filter"),
        ({"content": " \n"}, "content_filter", "", "filter"),
        ({"content": None}, "SAFETY", "", "filter"),
        ({"role": "assistant"}, "content_filter: PROHIBITED_CONTENT", "", "filter"),
        (None, "content_filter", "", "filter"),
        ({"content": ""}, "guardrail_intervened", "", "filter"),
        ({"content": ""}, "sensitive", "", "filter"),
        ({"content": "First you"}, "content_filter", "First you", "filter_cut"),
        ({"content": "First you"}, "refusal", "First you", "filter_cut"),
        ({"content": "Yes.", "refusal": NO}, "stop", f"Yes.\n\n{NO}", "stop"),
        ({"content": NO, "refusal": None}, "stop", NO, "stop"),
        ({"content": NO, "refusal": ""}, "stop", NO, "stop"),
        ({"content": NO}, "end_turn", NO, "stop"),
        ({"content": NO}, "eos_token", NO, "stop"),
        ({"content": NO}, None, NO, "stop"),
        ({"content": "cut"}, "length", "cut", "length"),
        ({"content": "cut"}, "max_tokens", "cut", "length"),
        ({"content": "cut"}, "MAX_TOKENS", "cut", "length"),
    ],
)
def test_how_an_answer_ended_is_told_from_what_the_server_says(
    message: object, finish: str | None, text: str, ending: str
) -> None:
    completion = read(message, finish)
    assert (completion.text, completion.ending) == (text, ending)
    assert bool(completion.how) == (ending in ("refusal", "filter", "filter_cut"))
    if isinstance(message, dict):
        streamed = read_events(stream(message, finish=finish))
        assert (streamed.text, streamed.ending, streamed.how) == (text, ending, completion.how)


def test_a_stop_reason_that_a_gateway_passes_on_counts_and_a_stop_token_does_not() -> None:
    assert read({"content": None}, "stop", stop_reason="refusal").ending == "refusal"
    assert read({"content": ""}, "stop", native_finish_reason="PROHIBITED_CONTENT").ending == "filter"
    assert read({"content": "So"}, "stop", stop_reason="refusal").ending == "filter_cut"
    for token in (128009, "<|eot_id|>", None, "stop", [1]):
        assert read({"content": "So"}, "stop", stop_reason=token).ending == "stop"


def test_a_refusal_in_pieces_is_one_text() -> None:
    completion = read_events(stream({"refusal": "I will "}, {"refusal": "not."}))
    assert (completion.text, completion.ending) == ("I will not.", "refusal")
    completion = read_events(stream({"content": "Take "}, {"content": "two"}, finish="content_filter"))
    assert (completion.text, completion.ending) == ("Take two", "filter_cut")


def test_an_error_of_the_filter_in_a_stream_keeps_what_came_before() -> None:
    error = f"data: {json.dumps({'error': {'code': 'content_filter', 'message': 'Filtered.'}})}\n\n"
    begun = stream({"content": "Take two"}, finish=None).replace("data: [DONE]\n\n", "")
    assert (read_events(begun + error).text, read_events(begun + error).ending) == ("Take two", "filter_cut")
    assert (read_events(error).text, read_events(error).ending) == ("", "filter")
    broken = f"data: {json.dumps({'error': {'code': 'server_error', 'message': 'Out of memory.'}})}\n\n"
    with pytest.raises(BadReplyError, match=r"the reply is an error: Out of memory\."):
        read_events(begun + broken)
    assert read_events(json.dumps(whole({"content": "no stream"}))).text == "no stream"


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "The response was filtered.", "code": "content_filter", "param": "prompt"}},
        {"error": {"message": "Bad.", "code": "400", "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
        {"error": {"message": "x", "code": None, "provider_specific_fields": {"innererror": {"code": "content_filter"}}}},
        {"error": {"message": "litellm.BadRequestError: litellm.ContentPolicyViolationError: AzureException"}},
        {"error": {"type": "content_policy_violation", "message": "Not this."}},
        {"error": {"message": "Your request was rejected as a result of our safety system."}},
        {"error": {"code": "invalid_prompt", "message": "Invalid prompt: your prompt was flagged as potentially "
                   "violating our usage policy. Please try again with a different prompt."}},
        {"type": "error", "error": {"type": "invalid_request_error", "message": "Output blocked by content filtering "
                                    "policy"}},
        {"error": "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO", "code": "denied"},
        {"error": {"code": 403, "message": "m requires moderation. Your input was flagged for \"violence\"",
                   "metadata": {"reasons": ["violence"], "flagged_input": "how to"}}},
        {"error": {"code": "DataInspectionFailed", "message": "Input data may contain inappropriate content."}},
        {"error": {"message": "Content Exists Risk", "type": "invalid_request_error"}},
        {"error": {"type": "content_filter", "message": "The request was rejected because it was considered high risk"}},
        {"success": False, "error": [{"code": 2016, "message": "Prompt blocked due to security configurations"}]},
        {"error": {"type": "hooks_failed", "message": "The guardrail checks defined in the config failed."}},
        {"error": {"code": "1301", "message": "系统检测到输入或生成内容可能包含不安全或敏感内容"}},
        [{"error": {"code": 400, "status": "PROHIBITED_CONTENT", "message": "no"}}],
    ],
)  # fmt: skip
def test_errors_of_content_filters_are_known(body: object) -> None:
    assert filtered(body)


@pytest.mark.parametrize(
    "body",
    [
        None,
        {"error": {"message": "Your account was suspended for violating our usage policies", "code": "account_deactivated"}},
        {"error": {"message": "This organization has been blocked: content policy violations", "type": "forbidden"}},
        {"error": {"message": "Unknown parameter: 'content_filter'", "param": "content_filter", "code": "unknown_parameter"}},
        {"error": {"message": "Guardrail 'safety' was not found", "code": "ResourceNotFoundException"}},
        {"error": {"message": "The content filter is unavailable", "code": "content_filter_error"}},
        {"error": {"message": "maximum context length is 64 tokens", "code": "context_length_exceeded"}},
        {"error": {"message": "Rate limit reached for requests", "code": "rate_limit_exceeded"}},
        {"error": {"message": "connection refused", "code": "ECONNREFUSED"}},
        {"error": {"message": "m", "code": 500, "content_filter_result": {"error": {"code": "content_filter"}}}},
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]},
    ],
)  # fmt: skip
def test_other_errors_are_no_refusals(body: object) -> None:
    assert not filtered(body)


def test_scores_of_a_filter_beside_an_answer_are_no_refusal() -> None:
    scores = {"hate": {"filtered": False, "severity": "low"}}
    body = whole({"content": "Fine."}, content_filter_results=scores)
    body["prompt_filter_results"] = [{"content_filter_results": {"violence": {"filtered": True}}}]
    assert read_body(json.dumps(body)).ending == "stop"
    body["choices"] = []
    assert read_body(json.dumps(body)).ending == "filter"
    body["prompt_filter_results"] = [{"content_filter_results": scores}]
    with pytest.raises(BadReplyError, match="the reply has no choices"):
        read_body(json.dumps(body))
    assert read_body(json.dumps({"choices": None, "promptFeedback": {"blockReason": "SAFETY"}})).ending == "filter"


@given(st.text(max_size=40))
def test_no_ordinary_reason_is_a_filter(reason: str) -> None:
    assert is_filter(f"content_filter:{reason}")
    assert not is_filter(f"stop {reason.replace(':', '')} stop")


# ---------------------------------------------------------------------------------------------- parts and tools


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "one "}, {"type": "text", "text": "two"}], "one two"),
        ([{"type": "output_text", "text": "one", "annotations": []}], "one"),
        ([{"text": "one"}], "one"),
        (["one ", "two"], "one two"),
        ({"type": "text", "text": "one"}, "one"),
        ([{"type": "text", "text": {"value": "one", "annotations": []}}], "one"),
        ([{"type": "text", "text": None}, {"type": "text", "text": "one"}], "one"),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "one"}], "one"),
        ([{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "one"}], "one"),
        ([], ""),
    ],
)
def test_text_in_parts_is_text(content: object, text: str) -> None:
    assert read({"content": content}).text == text
    assert read_events(stream({"content": content}, {"content": "."})).text == f"{text}."


@given(st.lists(st.text(max_size=8), max_size=5))
def test_parts_say_what_one_text_says(texts: list[str]) -> None:
    joined = read({"content": "".join(texts)}).text
    assert read({"content": [{"type": "text", "text": text} for text in texts]}).text == joined
    assert read_events(stream(*({"content": [{"type": "text", "text": text}]} for text in texts))).text == joined


def test_a_deep_or_strange_content_is_a_bad_reply() -> None:
    deep: Any = "x"
    for _ in range(400):
        deep = [deep]
    for content in (3, True, [[["x"]]], deep, [{"type": "text", "text": ["x"]}]):
        with pytest.raises(BadReplyError, match="is not text"):
            read({"content": content})


def test_a_tool_call_without_text_is_said_and_is_no_empty_answer() -> None:
    call = [{"id": "c", "type": "function", "function": {"name": "search", "arguments": "{}"}}]

    def message(body: Body) -> Mapping[str, Any]:
        if "Question 0?" in str(body):
            return {"message": {"content": None, "tool_calls": call}, "finish_reason": "tool_calls"}
        if "Question 1?" in str(body):
            return {"message": {"content": "Look:", "tool_calls": call}, "finish_reason": "tool_calls"}
        if "Question 2?" in str(body):
            return {"message": {"content": None, "function_call": call[0]["function"]}}
        if "Question 3?" in str(body):
            return {"message": {"content": [{"type": "image_url"}]}}
        return {}

    with serving(Scripted(more=message)) as script, backend(script).open("base") as session:
        replies = {r.prompt_id: r for r in session.respond(requests(5), system=None, template="base")}
        report: Any = session.report()
    for id_ in ("p0", "p2"):
        assert replies[id_].error == "no text: the model called a tool instead of answering"
    assert replies["p3"].error == "no text: the answer is of other parts (image_url)"
    assert (replies["p1"].text, replies["p1"].error, replies["p1"].finish_reason) == ("Look:", None, "stop")
    told = " | ".join(report["remarks"])
    assert "3 answers are errors, so unjudged: no text: the model called a tool instead of answering (2)" in told
    assert "1 answers called a tool beside their text" in told
    assert "empty" not in told


# ---------------------------------------------------------------------------------------------- asked


def azure(body: Body) -> tuple[int, Any, Mapping[str, str]]:
    error = {"message": "The prompt triggered the content management policy.", "code": "content_filter", "status": 400}
    return 400, {"error": {**error, "innererror": {"code": "ResponsibleAIPolicyViolation"}}}, {}


@pytest.mark.parametrize("streams", [False, True])
def test_refusals_are_answers_with_a_status_of_their_own(streams: bool) -> None:
    def more(body: Body) -> Mapping[str, Any]:
        if "Question 1?" in str(body):
            return {"message": {"content": None, "refusal": NO}}
        if "Question 2?" in str(body):
            return {"message": {"content": "Half an ans"}, "finish_reason": "content_filter"}
        return {}

    script = Scripted(more=more, reply=lambda body, before: azure(body) if "Question 0?" in str(body) else None)
    with serving(script), backend(script, stream=streams, budget_tokens=10_000).open("base") as session:
        replies = {r.prompt_id: r for r in session.respond(requests(4), system=None, template="base")}
        report: Any = session.report()
    assert {id_: (r.finish_reason, r.text, r.error) for id_, r in replies.items() if id_ != "p3"} == {
        "p0": ("filter", "", None),
        "p1": ("refusal", NO, None),
        "p2": ("filter_cut", "Half an ans", None),
    }
    assert replies["p3"].finish_reason == "stop"
    assert len(script.seen) == 4, "a refusal is not asked for again"
    assert report["refused"] == {"content filter (status 400, content_filter)": 1, "message.refusal": 1}
    assert report["cut_by_filter"] == {"finish_reason content_filter": 1}
    assert report["remarks"][0].startswith("2 answers are the server's own refusals")
    assert report["remarks"][1].startswith("1 answers were cut by the server's content filter")
    assert len(report["remarks"]) == 2, "none of them is empty, an error, or without a finish_reason"


@pytest.mark.parametrize("status", [200, 400, 403, 422, 424, 446, 500])
def test_a_filter_is_known_at_every_status(status: int) -> None:
    body = {"error": {"message": "Blocked.", "code": "content_filter"}}
    with serving(Scripted(reply=lambda _, before: (status, body, {}))) as script:
        (reply,) = ask(script, 1)
        assert (reply.finish_reason, reply.text, reply.error) == ("filter", "", None)
        assert len(script.seen) == 1


def test_words_about_a_request_that_quote_a_prompt_are_no_refusal() -> None:
    body = {"detail": [{"loc": ["body"], "msg": "cannot read 'your prompt was flagged by the content filter'"}]}
    with serving(Scripted(reply=lambda _, before: (422, body, {}))) as script:
        assert str(ask(script, 1)[0].error).startswith("status 422: body: cannot read")
    body["error"] = {"code": "content_filter"}  # type: ignore[assignment]
    with serving(Scripted(reply=lambda _, before: (422, body, {}))) as script:
        assert ask(script, 1)[0].finish_reason == "filter"


def test_a_server_that_streams_unasked_is_read() -> None:
    assert read_body(stream({"content": "one "}, {"content": "two"})).text == "one two"


def test_a_shut_account_is_no_refusal() -> None:
    body = {"error": {"message": "Your account is suspended: content policy violation", "code": "forbidden"}}
    said = pytest.raises(ServerError, match=r"status 403: .*\(it says: Your account is suspended")
    with serving(Scripted(reply=lambda _, before: (403, body, {}))) as script, said:
        ask(script, 3)


def test_a_server_that_filters_a_trial_prompt_can_be_asked() -> None:
    script = Scripted(reply=lambda body, before: azure(body) if trial(body) and "ten unusual" in str(body) else None)
    with serving(script), backend(script).open("base") as session:
        session.use(Path("tuned"))
        assert len(list(session.respond(requests(2), system=None, template="base"))) == 2


_KEYS = (
    "choices", "message", "delta", "content", "refusal", "type", "text", "value", "tool_calls", "finish_reason", "error",
    "stop_reason", "code", "metadata", "prompt_filter_results", "content_filter_results", "promptFeedback", "index",
)  # fmt: skip
_WORDS = st.sampled_from(["text", "refusal", "output_text", "content_filter", "stop", "SAFETY", "thinking", "400", ""])
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | _WORDS | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4),
    max_leaves=15,
)


@given(_ANYTHING, _ANYTHING)
def test_whatever_a_message_holds_it_is_read_or_said_to_be_bad(message: Any, reason: Any) -> None:
    for text in (json.dumps(whole(message, reason)), json.dumps(message), stream({"content": message}, finish=reason)):
        for parse in (read_body, read_events):
            try:
                completion = parse(text)
            except BadReplyError as error:
                assert error.why
                continue
            completion.text.encode()
            assert bool(completion.how) == (completion.ending in ("refusal", "filter", "filter_cut"))
            assert completion.text.strip() if completion.ending == "filter_cut" else True
            assert completion.ending != "filter" or not completion.text


@pytest.mark.parametrize("streams", [False, True])
def test_a_refusal_after_a_thought_is_a_refusal(streams: bool) -> None:
    """A thought beside a refusal is kept apart, and is no answer that is missing."""

    def more(body: Body) -> Mapping[str, Any]:
        if "Question 0?" in str(body):
            return {"message": {"content": None, "reasoning": "Hm.", "refusal": NO}}
        if "Question 1?" in str(body):
            return {"message": {"content": None, "reasoning_content": "Hm."}, "finish_reason": "content_filter"}
        return {"message": {"content": [{"type": "thinking", "thinking": [{"text": "Hm."}]}, {"text": "Yes."}]}}

    with serving(Scripted(more=more)) as script:
        replies = {r.prompt_id: r for r in ask(script, 3, stream=streams)}
    assert {id_: (r.finish_reason, r.text, r.thought, r.unanswered) for id_, r in replies.items()} == {
        "p0": ("refusal", NO, "Hm.", ""),
        "p1": ("filter", "", "Hm.", ""),
        "p2": ("stop", "Yes.", "Hm.", ""),
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_details": [{"type": "reasoning.text", "text": NO}]},
        {"reasoning_details": [{"type": "reasoning.summary", "summary": NO}, {"type": "reasoning.encrypted"}]},
        {"thinking_blocks": [{"type": "thinking", "thinking": NO, "signature": "x"}]},
        {"thinking": NO},
        {"reasoning": NO, "reasoning_details": [{"type": "reasoning.text", "text": NO}]},
    ],
)
def test_a_thought_in_any_field_of_gateways_is_kept_apart(fields: Mapping[str, object]) -> None:
    for completion in (read({"content": "Yes.", **fields}), read_events(stream({**fields}, {"content": "Yes."}))):
        assert (completion.text, completion.thought, completion.ending) == ("Yes.", NO, "stop")
