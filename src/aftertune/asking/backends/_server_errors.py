"""What a server says instead of an answer: its own words, cut and without keys; content filters; models that load."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

Scrub = Callable[[Any], Any]
"""Removes from a JSON value what no file may hold (an API key)."""

MOST = 300
"""Characters of a server's text that are shown."""
_READ = 20_000
"""Characters of a body that are looked at."""
_DEEP = 6
"""Levels of a JSON error that are looked at."""

# ------------------------------------------------------------------------------------------ words


def words_of(body: object) -> str:
    """Return the message of a parsed error body in one line, in at most `MOST` characters; empty where it has none."""
    return one_line(_message(body, 0))


def words_of_text(text: str, scrub: Scrub) -> str:
    """Return what the body of an error says, in one line: the message of JSON, the words of an HTML page, plain text.

    `scrub` is applied after escapes are resolved, since they may hide a key.
    """
    try:
        return words_of(scrub(json.loads(text)))
    except (ValueError, RecursionError):
        pass
    text = text[:_READ]
    if re.search(r"<(?:!doctype|html|head|body|title|h1)\b", text, re.I):
        text = re.sub(r"(?is)<(script|style)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)", " ", text)
        text = html.unescape(re.sub(r"<[^<>]*>", " ", text))
    return one_line(str(scrub(text)))


def one_line(text: str) -> str:
    """Return a text as printable words of one line, cut at `MOST` characters."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text[:_READ]).split())
    return words if len(words) <= MOST else words[: MOST - 4] + " ..."


def _message(body: object, depth: int) -> str:
    if depth > _DEEP or body is None or isinstance(body, bool):
        return ""
    if isinstance(body, list):
        return "; ".join(filter(None, (_message(item, depth + 1) for item in body[:5])))
    if not isinstance(body, dict):
        return str(body)
    if isinstance(body.get("msg"), str):  # FastAPI: what is wrong with which field
        where = body.get("loc")
        field = ".".join(map(str, where)) if isinstance(where, list) else ""
        return f"{field}: {body['msg']}" if field else str(body["msg"])
    for key in ("error", "errors", "message", "detail", "error_msg", "errorMessage", "status_msg", "title", "reason"):
        message = _message(body.get(key), depth + 1)
        if message:
            code = body.get("code") or body.get("type")
            if key == "message" and isinstance(code, str) and not code.isdigit() and code not in message:
                message = f"{message} ({code})"
            return message
    return ""


# ------------------------------------------------------------------------------------------ keys

_OTHER_KEYS = re.compile(r"\b(?:sk|pk|hf|gsk|r8|ghp|xai|AIza)[-_A-Za-z0-9]{16,}|\bBearer\s+\S+")
_MASKED = re.compile(r"\*{3,}|•{2,}|[^\s.]\.{3}[^\s.]|\w…\w")
_PIECE = 6
"""Characters of the key that a word may not share with it."""


def masked(text: str, key: str) -> str:
    """Return a server's text without the key, in any usual spelling, without pieces of it and without other keys.

    Servers quote the start and the end of a key beside asterisks, or its last four characters.
    """
    if 0 < len(key) < _PIECE:  # a word that stands for no key
        text = re.sub(rf"(?<!\w){re.escape(key)}(?!\w)", "[key]", text)
    elif key:
        escaped = json.dumps(key)[1:-1]
        for form in (key, escaped, escaped.replace("/", "\\/"), quote(key, safe=""), quote_plus(key), html.escape(key)):
            text = text.replace(form, "[key]")
    text = _OTHER_KEYS.sub("[key]", text)
    pieces = {key[at : at + _PIECE] for at in range(len(key) - _PIECE + 1)}
    ends = {key[:4], key[-4:]} if len(key) >= 8 else set()

    def mask(match: re.Match[str]) -> str:
        word = match.group()
        if word.strip(".,;:") == "[key]":
            return word
        shared = any(word[at : at + _PIECE] in pieces for at in range(len(word) - _PIECE + 1))
        return "[key]" if shared or word.strip(".,;:-") in ends or _MASKED.search(word) else word

    return re.sub(r"[^\s\"'`(){}]+", mask, text)


# ------------------------------------------------------------------------------------------ content filters

ITS_WORDS = "its own words"
"""What `filtered` returns where no code says so."""
_FILTERED = frozenset(
    {
        "contentfilter", "contentfiltered", "responsibleaipolicyviolation", "contentpolicyviolation",
        "contentpolicyviolationerror", "contentpolicy", "contentmoderation", "contentmanagementpolicy",
        "moderationblocked", "contentblocked", "promptblocked", "responseblocked", "blockedbysafety", "safety",
        "safetyviolation", "contentsafety", "contentsafetyviolation", "datainspectionfailed", "sensitive",
        "sensitivecontentdetected", "inputtextsensitivecontentdetected", "outputtextsensitivecontentdetected",
        "guardrailintervened", "guardrailviolation", "guardrailsviolation", "guardrailblocked", "hooksfailed",
        "inputguardrailtriggered", "outputguardrailtriggered", "prohibitedcontent", "blocklist", "spii", "recitation",
        "imagesafety", "errortoxic", "riskcontrol", "usagepolicyviolation", "cyberpolicyviolation", "refusal",
    }
)  # fmt: skip
"""Error codes and finish reasons of servers that will not let a prompt or an answer through, without punctuation."""
_SAYS_FILTERED = re.compile(
    r"content (?:management|moderation|safety|filter(?:ing)?)(?: policy| policies| guidelines| system)?\b.{0,60}"
    r"\b(?:trigger|block|filter|flag|reject|violat)|"
    r"(?:trigger|block|filter|flag|reject|violat)\w*\b.{0,100}"
    r"\bcontent[ _-](?:management|moderation|safety|filter(?:ing)?|policy|policies)|"
    r"contentpolicyviolation|responsibleaipolicyviolation|content exists risk|"
    r"(?:prompt|input|content|request|response|output|message|completion)s?\b.{0,40}"
    r"\b(?:flagged|violat\w+|blocked|rejected|filtered)\b.{0,80}"
    r"\b(?:usage (?:policy|policies|guidelines)|safety|moderation|guardrails?|high risk|harmful|inappropriate|"
    r"sensitive)|"
    r"(?:prompt|response) blocked due to security|(?:your|the) (?:input|prompt) was flagged\b|"
    r"limited access to this content for safety|(?:may|might) contain (?:inappropriate|sensitive|harmful) content|"
    r"guardrail checks? .{0,40}failed|可能包含.{0,12}(?:敏感|不安全|违规|不合规)",
    re.I,
)
_NOT_A_FILTER = re.compile(
    r"\b(?:account|organi[sz]ation|api[ _-]key|subscription|project|workspace|tenant)\b.{0,60}"
    r"\b(?:suspend|terminat|deactivat|disabl|banned|blocked|flagged|restrict)|"
    r"\b(?:unknown|unsupported|not supported|unrecogni[sz]ed|unexpected|not permitted|does not exist|not found|"
    r"missing|not configured|misconfigured|unavailable|failed to|timed out|quota|rate limit)\b",
    re.I,
)
_FILTERING = re.compile(r"content_?filter_?(?:result|offset)|safety_?ratings?|prompt_?filter_?result", re.I)
"""Keys of the scores that a filter gives; they stand beside answers that it lets through."""
_CODES = ("code", "type", "status", "error_code", "errorCode", "reason", "blockReason", "block_reason")


def is_filter(word: object) -> bool:
    """Return whether an error code or finish reason names a content filter or a refusal.

    What follows a colon is the filter's reason (`content_filter: PROHIBITED_CONTENT`).
    """
    if not isinstance(word, str):
        return False
    return re.sub(r"[^a-z0-9]", "", word.partition(":")[0].lower()) in _FILTERED


def filtered(body: object, words: str = "") -> str:
    """Return the code, or else the words, by which an error says that a content filter refused the prompt or answer.

    Empty for every other error. `words` is what the body says, where that is known already. An account that was shut
    and a filter that is misconfigured are no refusals of a prompt.
    """
    for code in _codes(body, 0):
        if is_filter(code):
            return one_line(code)[:60]
    if isinstance(body, Mapping) and _flagged(body):
        return "flagged input"
    words = words or words_of(body)
    return ITS_WORDS if _SAYS_FILTERED.search(words) and not _NOT_A_FILTER.search(words) else ""


def _codes(value: object, depth: int) -> Iterator[str]:
    if depth > _DEEP:
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            if _FILTERING.search(str(key)):
                continue
            if key in _CODES and isinstance(item, str):
                yield item
            elif isinstance(item, (Mapping, list)):
                yield from _codes(item, depth + 1)
    elif isinstance(value, list):
        for item in value[:20]:
            yield from _codes(item, depth + 1)


def _flagged(body: Mapping[str, Any]) -> bool:
    """Return whether an error quotes the input that a moderation flagged, as OpenRouter's do."""
    error = body.get("error")
    metadata = error.get("metadata") if isinstance(error, Mapping) else None
    return isinstance(metadata, Mapping) and "flagged_input" in metadata


def prompt_was_filtered(body: Mapping[str, Any]) -> str:
    """Return by what a reply without choices says that its prompt was filtered; empty where it does not.

    Azure gives the results of its filter, Gemini a reason for the block.
    """
    feedback = body.get("promptFeedback") or body.get("prompt_feedback")
    if isinstance(feedback, Mapping):
        reason = feedback.get("blockReason") or feedback.get("block_reason")
        if isinstance(reason, str) and reason:
            return one_line(reason)[:60]
    results = body.get("prompt_filter_results")
    for result in results if isinstance(results, list) else ():
        scores = result.get("content_filter_results") if isinstance(result, Mapping) else None
        for name, score in scores.items() if isinstance(scores, Mapping) else ():
            if isinstance(score, Mapping) and score.get("filtered") is True:
                return one_line(str(name))[:60]
    return ""


# ------------------------------------------------------------------------------------------ others

_LOADS = re.compile(
    r"\bloading\b|\b(?:is|are|still) starting\b|\bstarting up\b|\bwarming[ -]?up\b|\binitiali[sz]|"
    r"\bnot (?:yet )?ready\b|\bbooting\b|\bwaking up\b|\bcold start|\bspinning up\b|\bprovisioning\b",
    re.I,
)


_LOADS_NOT = re.compile(r"\b(?:error|fail\w*|cannot|could not|can't|unable)\b.{0,30}\bload", re.I)


def loads(words: str) -> bool | None:
    """Return whether a server says that its model is not there yet; False where it failed to load, None: no word."""
    return False if _LOADS_NOT.search(words) else True if _LOADS.search(words) else None


def seconds_to_load(body: object) -> float | None:
    """Return the seconds that a server expects to load for (`estimated_time`), where it says so."""
    value = body.get("estimated_time") if isinstance(body, Mapping) else None
    return float(value) if isinstance(value, (int, float)) and 0 <= value < float("inf") else None


def no_money(body: object) -> bool:
    """Return whether an error says that the account's quota or credit is used up, which waiting does not mend."""
    wanted = {"insufficient_quota", "billing_hard_limit_reached", "insufficient_balance", "insufficient_credits"}
    return any(code.lower() in wanted for code in _codes(body, 0))


_REMEDIES = (
    (re.compile(r"max_completion_tokens", re.I), "tokens_field = 'max_completion_tokens'"),
    (re.compile(r"temperature", re.I), "only_temperature = 1, where it takes no other"),
    (re.compile(r"(?:max_(?:output_|completion_|new_)?tokens|minimum).*\b(?:minimum|at least|>=|greater)", re.I),
     "least_tokens = 16, or what it says is the least"),
    (re.compile(r"\bseed\b", re.I), "send_seed = false"),
    (re.compile(r"\bstream", re.I), "stream = true"),
    (re.compile(r"logprobs", re.I), "logprobs = 0"),
)  # fmt: skip


def remedy(words: str) -> str:
    """Return which parameter of the backend answers a complaint about a request; empty where none does."""
    return next((f"; if that is the cause: {setting}" for sign, setting in _REMEDIES if sign.search(words)), "")
