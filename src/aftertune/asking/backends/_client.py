"""A client that sends many requests to one server: limits, pace, retries, and when to stop."""

from __future__ import annotations

import asyncio
import email.utils
import json
import logging
import math
import queue
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aftertune.asking.backends._completions import (
    BadReplyError,
    Completion,
    read_body,
    read_events,
    refused_by_filter,
)
from aftertune.asking.backends._server_errors import (
    ITS_WORDS,
    Scrub,
    filtered,
    loads,
    masked,
    no_money,
    seconds_to_load,
    words_of_text,
)
from aftertune.errors import ServerError, first_line

if TYPE_CHECKING:
    import httpx

RETRIED = frozenset({408, 409, 425, 429})
"""Status codes, besides 5xx, after which the same request is tried again."""
FATAL = {
    401: "the key is missing or refused: look at key_env and at the variable it names",
    402: "the account has nothing left to pay with: see to it",
    403: "this key may not use it: look at key_env and at the variable it names",
    404: "no such address or model",
}
LOADING = frozenset({425, 429, 503})
"""Status codes beside which words of loading mean that the model is not there yet; 503 alone does at the start."""
LONGEST_BACKOFF = 60.0
"""Seconds."""
LONGEST_PAUSE = 600.0
"""Seconds: a server that asks for a longer pause by Retry-After ends the run, to be continued later."""
LONGEST_STREAM = 10
"""Times `timeout_s` that one answer may take which comes in pieces."""
LARGEST = 64 << 20
"""Bytes of a reply; anything longer is no answer."""
LONGEST_POLL = 5.0
"""Seconds between two requests to a server that loads its model and does not say how long it will."""
SAY_EVERY = 30.0
"""Seconds between two lines that say that a server is waited for."""
IN_A_ROW = 8
"""Requests that fail for good, with no answer between them, after which the server counts as gone."""

_OF_THE_REQUEST = frozenset({404, 405, 413, 422, 429})
"""Status codes about the request, whose words may quote a prompt: of a filter they speak by its code alone."""
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")  # OpenSSL's words for an answer in plain text
START = 4.0
"""Requests at once, to begin with."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """How a server may be asked; the fields are those of the backend `endpoint`."""

    concurrency: int
    timeout_s: float
    retries: int
    backoff_s: float
    loading_s: float
    budget_requests: int
    budget_tokens: int


@dataclass
class Ledger:
    """Requests and tokens spent, and how the requests went."""

    requests: int = 0
    """Sent, retries included."""
    answered: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    new_tokens: int = 0
    reserved: int = 0
    """Tokens that the requests in flight may still cost."""
    retries: Counter[str] = field(default_factory=Counter)
    """Reason -> how often a request was tried again for it."""
    most_at_once: int = 0
    begun: int = 0
    """How many runs began or were continued: what was observed of models holds for one run."""

    def begin(self) -> None:
        """Count anew."""
        for name, value in vars(Ledger(begun=self.begun + 1)).items():
            setattr(self, name, value)

    def copy(self) -> Ledger:
        """Return a copy of the counts as they are now."""
        return replace(self, retries=Counter(self.retries))

    def since(self, then: Ledger) -> Ledger:
        """Return what was added since `then`, an earlier copy."""
        names = ("requests", "answered", "failed", "prompt_tokens", "new_tokens")
        more = {name: getattr(self, name) - getattr(then, name) for name in names}
        return replace(self, retries=self.retries - then.retries, **more)

    @property
    def tokens(self) -> int:
        """Of prompts and answers."""
        return self.prompt_tokens + self.new_tokens


class Pace:
    """How many requests may be in flight: additive increase, multiplicative decrease (Chiu and Jain 1989).

    Up by one per answer until the first trouble (which doubles it each round trip), by one per round trip after it.
    Halved by trouble, once for all requests that were sent before the last halving.
    """

    def __init__(self, ceiling: int) -> None:
        """Start low; `ceiling` is never exceeded."""
        self.ceiling = ceiling
        self.limit = min(START, float(ceiling))
        self._troubled = False
        self._cut = -math.inf

    def good(self) -> None:
        """Note that an answer came."""
        self.limit = min(float(self.ceiling), self.limit + (1 / self.limit if self._troubled else 1.0))

    def trouble(self, sent: float, now: float) -> None:
        """Note that a request sent at `sent` (seconds) met a 429, a 5xx, a time-out or a broken connection."""
        if sent >= self._cut:
            self.limit, self._cut, self._troubled = max(1.0, self.limit / 2), now, True


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that Retry-After asks for (a number or an HTTP date), or `retry-after-ms`; None for none.

    Source: RFC 9110, section 10.2.3. `now` is seconds since the epoch.
    """
    value = headers.get("Retry-After")
    if value is None:
        with suppress(TypeError, ValueError):
            wait = float(headers.get("retry-after-ms", "")) / 1000
            return max(0.0, wait) if math.isfinite(wait) else None
        return None
    try:
        wait = float(value)
    except ValueError:
        try:
            wait = email.utils.parsedate_to_datetime(value).timestamp() - now
        except (TypeError, ValueError, OverflowError, OSError):
            return None
    return max(0.0, wait) if math.isfinite(wait) else None


class _RetryError(Exception):
    """This attempt failed, another may not."""

    def __init__(
        self, why: str, words: str = "", wait: float | None = None, *, congested: bool = True, loading: bool = False
    ) -> None:
        """`why` is counted; `words` are the server's. `loading`: its model is not there yet."""
        super().__init__(why)
        self.why, self.words, self.wait, self.congested, self.loading = why, words, wait, congested, loading

    @property
    def whole(self) -> str:
        return f"{self.why}: {self.words}" if self.words else self.why


class _RefusedError(Exception):
    """The server will not answer this request."""


class Client:
    """Sends requests to one server; several calls share one ledger and one pace."""

    def __init__(
        self,
        url: str,
        key: str,
        limits: Limits,
        ledger: Ledger,
        *,
        path: str = "/chat/completions",
        read: Callable[[str, Scrub], Completion] = read_body,
        gone: Callable[[], str] = lambda: "",
    ) -> None:
        """Prepare a client; nothing is sent.

        Args:
            url: Ends in `/v1` or the like.
            key: Sent as a bearer token and written nowhere.
            limits: How the server may be asked.
            ledger: Where requests are counted.
            path: Behind `url`, where completions are asked for.
            read: Parses a whole reply.
            gone: Why the server is known to be gone, so that nothing is tried again; empty while it is not.
        """
        self.url = url.rstrip("/")
        self.ledger = ledger
        self._path, self._read, self._gone = path, read, gone
        self._key = key
        self._limits = limits
        self._pace = Pace(limits.concurrency)
        self._random = random.Random()
        self._silent = 0
        self._not_before = 0.0
        self._loading: _Loading | None = None

    def _http(self) -> httpx.AsyncClient:
        import httpx

        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        wait = self._limits.timeout_s
        try:
            return httpx.AsyncClient(
                headers=headers,
                verify=self.url.startswith("https:"),  # certificates take a while to load
                # Requests to this machine must not leave it through a proxy of the environment.
                mounts=dict.fromkeys(("http://", "https://", "all://")) if _is_here(self.url) else None,
                timeout=httpx.Timeout(wait, connect=min(10.0, wait), pool=None),
                limits=httpx.Limits(max_connections=self._limits.concurrency),
            )
        except (ImportError, ValueError, OSError) as error:
            raise ServerError(
                f"{self.url}: the environment's proxy (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY) or certificates "
                f"(SSL_CERT_FILE, SSL_CERT_DIR) cannot be used: {type(error).__name__}: {first_line(error)}"
            ) from None

    def get(self, path: str) -> Any:
        """Return the JSON that the server has at `path`, tried once; None where it has none."""
        import httpx

        async def fetch() -> Any:
            try:
                async with asyncio.timeout(min(30.0, self._limits.timeout_s)), self._http() as http:
                    response = await http.get(self.url + path)
                return self._clean(json.loads(response.text)) if response.status_code == 200 else None
            except (httpx.HTTPError, TimeoutError, ValueError, RecursionError):
                return None

        with _event_loop() as loop:
            return asyncio.run_coroutine_threadsafe(fetch(), loop).result()

    def post(self, path: str, body: Mapping[str, Any]) -> str:
        """Send a body to `path`, once; return why it came to nothing, in the server's words, empty where it did not."""
        import httpx

        async def send() -> str:
            try:
                async with asyncio.timeout(self._limits.timeout_s), self._http() as http:
                    response = await http.post(self.url + path, json=body)
            except (httpx.HTTPError, TimeoutError) as error:
                return masked(first_line(error) or type(error).__name__, self._key)
            if response.status_code == 200:
                return ""
            words = masked(words_of_text(response.text, self._clean), self._key)
            return f"status {response.status_code}{f': {words}' if words else ''}"

        with _event_loop() as loop:
            return asyncio.run_coroutine_threadsafe(send(), loop).result()

    def ask(
        self, bodies: Sequence[Mapping[str, Any]], accept: Callable[[Completion], None] = lambda _: None
    ) -> Iterator[tuple[int, Completion | str]]:
        """Ask each body once, many at a time; yield its index with the completion, or why there is none, as it comes.

        `accept` raises ServerError for a completion that must not be accepted. What ends everything (a refused key, a
        server that is gone, a used-up budget) is raised as ServerError once all answers have been yielded.
        """
        results: queue.SimpleQueue[_Result | None] = queue.SimpleQueue()
        with _event_loop() as loop:
            job = asyncio.run_coroutine_threadsafe(self._all(bodies, accept, results.put), loop)
            job.add_done_callback(lambda _: results.put(None))
            while (item := results.get()) is not None:
                yield item.index, item.outcome
                loop.call_soon_threadsafe(item.received.set)
            job.result()

    # ------------------------------------------------------------------------------------------ one loop

    async def _all(
        self, bodies: Sequence[Mapping[str, Any]], accept: Callable[[Completion], None], put: Callable[[Any], None]
    ) -> None:
        todo = iter(enumerate(bodies))
        state = _State()
        async with self._http() as http:

            async def worker() -> None:
                for index, body in todo:
                    outcome = await self._one(http, body, accept, state)
                    if outcome is None:
                        return
                    result = _Result(index, outcome)
                    put(result)
                    # The worker waits for the caller, so that a kill costs no more than were in flight.
                    await result.received.wait()

            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._limits.concurrency, len(bodies))):
                    group.create_task(worker())
        if state.halt is not None:
            raise state.halt

    async def _one(
        self, http: httpx.AsyncClient, body: Mapping[str, Any], accept: Callable[[Completion], None], state: _State
    ) -> Completion | str | None:
        """Return the completion, or why there is none; None once everything has been halted."""
        attempt = 0
        while True:
            reserved = await self._admit(body, state)
            if reserved is None:
                return None
            sent = time.monotonic()
            retry: _RetryError | None = None
            try:
                completion = await self._attempt(http, body)
                accept(completion)
            except _RetryError as error:
                retry = error
            except _RefusedError as error:
                self.ledger.failed += 1
                return str(error)
            except ServerError as error:
                state.halt = state.halt or error
                return None
            else:
                self._pace.good()
                self._silent = 0
                self._loading = None
                self._spend(completion, state)
                return completion
            finally:
                self.ledger.reserved -= reserved
                state.active -= 1
                state.free.set()
            if why := self._gone():
                state.halt = state.halt or ServerError(why)
                state.free.set()
                return None
            if retry.loading and self._limits.loading_s:
                self.ledger.retries[retry.why] += 1
                self._wait_for_model(retry, state)
                continue
            if retry.congested:
                self._pace.trouble(sent, time.monotonic())
            if attempt >= self._limits.retries:
                said = f" ({retry.words})" if retry.words else ""
                return self._give_up(f"{retry.why}{said}, {attempt + 1} times", state)
            self.ledger.retries[retry.why] += 1
            await self._wait(retry, attempt, state)
            attempt += 1

    async def _admit(self, body: Mapping[str, Any], state: _State) -> int | None:
        """Wait for a free slot; return the tokens reserved for this request, None once everything has been halted."""
        limit = int(body.get("max_tokens") or body.get("max_completion_tokens") or 0)
        need = limit + _size(body) + 16
        while state.halt is None:
            pause = self._not_before - time.monotonic()
            if pause > 0:
                await asyncio.sleep(min(pause, 1.0))
                continue
            over = self._over(need)
            if over and not state.active:
                state.halt = ServerError(over)
                state.free.set()
            elif not over and state.active < (1 if self._loading else max(1, int(self._pace.limit))):
                state.active += 1
                self.ledger.requests += 1
                self.ledger.reserved += need
                self.ledger.most_at_once = max(self.ledger.most_at_once, state.active)
                return need
            else:
                state.free.clear()
                await state.free.wait()
        return None

    def _over(self, need: int) -> str:
        spent, limits = self.ledger, self._limits
        end = "what is answered is kept; run the same command again to go on with as much again"
        if limits.budget_requests and spent.requests >= limits.budget_requests:
            return f"the budget of {limits.budget_requests:,} requests is used up: {end}"
        if limits.budget_tokens and spent.tokens + spent.reserved + need > limits.budget_tokens:
            return (
                f"the budget of {limits.budget_tokens:,} tokens has no room for the next request "
                f"({spent.tokens:,} spent, it may take {need:,}): {end}"
            )
        return ""

    def _spend(self, completion: Completion, state: _State) -> None:
        self.ledger.answered += 1
        uncounted = completion.prompt_tokens is None or completion.new_tokens is None
        if self._limits.budget_tokens and uncounted and completion.ending != "filter":
            state.halt = state.halt or ServerError(
                f"{self.url}: it does not say how many tokens an answer took, so budget_tokens cannot be kept: "
                "give budget_requests instead"
            )
        self.ledger.prompt_tokens += completion.prompt_tokens or 0
        self.ledger.new_tokens += completion.new_tokens or 0

    def _give_up(self, why: str, state: _State) -> str:
        self.ledger.failed += 1
        self._silent += 1
        if self._silent >= IN_A_ROW:
            state.halt = state.halt or ServerError(
                f"{self.url}: {self._silent} requests in a row came to nothing (the last: {why}): see to the server, "
                "then run the same command again; what is answered is kept"
            )
        return why

    def _wait_for_model(self, retry: _RetryError, state: _State) -> None:
        """Let nothing be sent until the server may have loaded its model, or halt where patience ends first."""
        now = time.monotonic()
        if self._loading is None:
            self._loading = _Loading(now)
        loading, patience = self._loading, self._limits.loading_s
        left = loading.since + patience - now
        if left <= 0 or (retry.wait or 0.0) > left:
            longer = f", and asks for {retry.wait:,.0f} s more" if (retry.wait or 0.0) > max(left, 0.0) else ""
            state.halt = state.halt or ServerError(
                f"{self.url}: its model is not loaded after {now - loading.since:,.0f} s ({retry.whole}){longer}: run "
                f"the same command again once it answers, or give more patience (loading_s, now {patience:g}); what is "
                "answered is kept"
            )
            return
        if now >= loading.say_at:
            log.warning("%s: waiting for its model, up to %.0f s more (%s)", self.url, left, retry.whole)
            loading.say_at = now + SAY_EVERY
        poll = min(LONGEST_POLL, self._limits.backoff_s * 2.0 ** min(loading.polls, 10))
        self._not_before = max(self._not_before, now + min(left, poll if retry.wait is None else retry.wait))
        loading.polls += 1

    async def _wait(self, retry: _RetryError, attempt: int, state: _State) -> None:
        longest = min(LONGEST_BACKOFF, self._limits.backoff_s * 2.0**attempt)
        wait = self._random.uniform(0.0, longest)  # full jitter: Brooker 2015, "Exponential Backoff And Jitter"
        if retry.wait is not None:
            if retry.wait > LONGEST_PAUSE:
                state.halt = state.halt or ServerError(
                    f"{self.url}: it asks to be left alone for {retry.wait:,.0f} s: run the same command again then; "
                    f"what is answered is kept ({retry.whole})"
                )
                return
            self._not_before = max(self._not_before, time.monotonic() + retry.wait)
            wait = retry.wait + min(wait, 1.0)
        await asyncio.sleep(wait)

    async def _attempt(self, http: httpx.AsyncClient, body: Mapping[str, Any]) -> Completion:
        import httpx

        data = json.dumps(body, ensure_ascii=True, allow_nan=False).encode()
        headers = {"Content-Type": "application/json"}
        address = f"{self.url}{self._path}"
        try:
            streams = body.get("stream")
            # A stream may be slow, but a server that sends comments for ever must not hold the study up.
            async with (
                asyncio.timeout(self._limits.timeout_s * (LONGEST_STREAM if streams else 1)),
                http.stream("POST", address, content=data, headers=headers) as response,
            ):
                text = await _text(response)
            if response.status_code != 200:
                return self._refuse(response.status_code, response.headers, text)
            return read_events(text, self._clean) if streams else self._read(text, self._clean)
        except (httpx.TimeoutException, TimeoutError):
            raise _RetryError(f"no answer within {self._limits.timeout_s:g} s") from None
        except httpx.InvalidURL:
            raise ServerError(f"{self.url}: not an address") from None
        except httpx.ConnectError as error:
            message = first_line(error)
            if "CERTIFICATE_VERIFY_FAILED" in message:
                advice = "let the environment variable SSL_CERT_FILE name the certificates that are"
                raise ServerError(f"{self.url}: its certificate is not trusted: {message}; {advice}") from None
            if any(mark in message for mark in _NO_TLS):
                raise ServerError(f"{self.url}: it does not speak TLS there: give the address with http://") from None
            raise _RetryError("the server cannot be reached", masked(message, self._key)) from None
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise _RetryError("the connection broke", masked(first_line(error), self._key)) from None
        except BadReplyError as error:
            code = _status_in(error.body)
            if code:
                return self._refuse(code, response.headers, json.dumps(error.body))
            words = masked(error.words, self._key)
            if loads(words) and error.body is not None:
                raise _RetryError(error.why, words, seconds_to_load(error.body), loading=True) from None
            raise _RetryError(error.why, words, congested=False) from None

    def _refuse(self, code: int, headers: Mapping[str, str], text: str) -> Completion:
        """Return the refusal that an error of a content filter is. Raises what every other error comes to."""
        words = masked(words_of_text(text, self._clean), self._key)
        try:
            body = self._clean(json.loads(text))
        except (ValueError, RecursionError):
            body = None
        by = filtered(body, words) if code != 401 else ""
        if by and (by != ITS_WORDS or code not in _OF_THE_REQUEST):
            return refused_by_filter(f"status {code}, {masked(by, self._key)}")
        said = f"status {code}{f': {words}' if words else ''}"
        if code == 429 and no_money(body):
            raise ServerError(f"{self.url}: {said}: see to the account, then run the same command again")
        if code in RETRIED or code >= 500:
            wait = retry_after(headers, time.time())
            says = loads(words)
            loading = code in LOADING and (says or (says is None and code == 503 and not self.ledger.answered))
            if loading and wait is None:
                wait = seconds_to_load(body)
            raise _RetryError(f"status {code}", words, wait, loading=bool(loading))
        if code in FATAL or 300 <= code < 400:
            why = FATAL.get(code, "it points to another address: give that one")
            raise ServerError(f"{self.url}: status {code}: {why}{f' (it says: {words})' if words else ''}")
        raise _RefusedError(said)

    def _clean(self, value: Any) -> Any:
        """Return a parsed JSON value without the key, which the text may have spelt with escapes."""
        if not self._key:
            return value
        if isinstance(value, str):
            return value.replace(self._key, "[key]")
        if isinstance(value, dict):
            return {self._clean(key): self._clean(item) for key, item in value.items()}
        return [self._clean(item) for item in value] if isinstance(value, list) else value


def _size(body: Mapping[str, Any]) -> int:
    """Return about how many tokens a request's prompt has."""
    if "messages" in body:
        return sum(len(turn["content"]) for turn in body["messages"]) // 2
    return len(body["prompt"])


def _status_in(body: Mapping[str, Any] | None) -> int:
    """Return the HTTP status that the error in a reply of status 200 names, as gateways pass it on; 0 where none."""
    error = body.get("error") if body is not None else None
    for holder in (error, body):
        if not isinstance(holder, Mapping):
            continue
        for key in ("code", "status", "status_code"):
            value = str(holder.get(key))
            if re.fullmatch("[45][0-9][0-9]", value):
                return int(value)
    return 0


async def _text(response: httpx.Response) -> str:
    """Return a response's body. Raises _RefusedError for one that is too long."""
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > LARGEST:
            raise _RefusedError(f"a reply of more than {LARGEST >> 20} MiB")
    return b"".join(parts).decode(response.encoding or "utf-8", "replace")


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


@dataclass(frozen=True)
class _Result:
    """The outcome of one request, and whether the caller has received it."""

    index: int
    outcome: Completion | str
    received: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class _Loading:
    """A server whose model is not there yet."""

    since: float
    polls: int = 0
    say_at: float = 0.0


@dataclass
class _State:
    """Shared by the workers of one call."""

    free: asyncio.Event = field(default_factory=asyncio.Event)
    active: int = 0
    halt: ServerError | None = None


@contextmanager
def _event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Yield an event loop that runs in its own thread: the caller may be inside another loop, or slow."""
    loop = asyncio.new_event_loop()

    def drive() -> None:
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    thread = threading.Thread(target=drive, daemon=True, name="aftertune-endpoint")
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
