"""One question to an OpenAI-compatible endpoint: a passing fault is retried, any other raises at once.

The key comes from the environment when a question is asked. It is in no setting and no text that this module
raises, logs or returns. Some endpoints quote the key, so it is cut out of what they answer. No error is
chained to one of the HTTP library, whose frames hold the request's headers.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
import numpy as np
import tenacity
from pydantic import ConfigDict, Field, SecretStr, field_validator

from afd_study.errors import AfdError, SpecError
from afd_study.evaluation.llm_judge import replies
from afd_study.evaluation.llm_judge.surroundings import blamed, open_client
from afd_study.settings import Settings

T = TypeVar("T")

URL, MODEL, KEY = "AFD_JUDGE_URL", "AFD_JUDGE_MODEL", "AFD_JUDGE_KEY"
LARGEST_REPLY = 1_000_000  # bytes; a verdict takes a thousand
EXCERPT = 300  # characters of a text from elsewhere that an error quotes
SLACK = 1.0  # seconds that httpx's own timeouts have to report first
# At level DEBUG these loggers write the headers of replies, in which an endpoint may quote the key.
HTTP_LOGGERS = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy")

logger = logging.getLogger(__name__)


class JudgeError(AfdError, OSError):
    """The endpoint refused, or gave no usable answer in all attempts."""


class FilteredError(JudgeError):
    """A content filter refused this question; others may be asked."""


class EndpointSpec(Settings):
    """Where to ask and how patiently. The key is not in here: it stays in the environment."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    base_url: str = Field(description="such as https://host/v1; questions go to base_url/chat/completions")
    model: str = Field(min_length=1, description="the model's name at the endpoint")
    temperature: float | None = Field(0.0, ge=0, allow_inf_nan=False, description="None: not sent")
    max_tokens: int | None = Field(None, ge=1, description="longest answer in tokens; None: not sent")
    timeout: float = Field(60.0, gt=0, allow_inf_nan=False, description="seconds an attempt may take")
    attempts: int = Field(6, ge=1, description="attempts a question, the first included")
    longest_wait: float = Field(120.0, gt=0, allow_inf_nan=False, description="seconds between attempts")

    @field_validator("base_url")
    @classmethod
    def _plain_address(cls, value: str) -> str:
        try:
            url = httpx.URL(value.strip())
        except httpx.InvalidURL:
            url = httpx.URL("")
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError("base_url must be an address such as https://host/v1")
        if url.userinfo or url.query or url.fragment:
            raise ValueError(f"base_url must hold no user, password or query: a key goes into {KEY}")
        return str(url).rstrip("/")


def from_environment(*names: str) -> list[str]:
    """Return the values of environment variables; SpecError names all that are missing or blank."""
    lacking = [name for name in names if not os.environ.get(name, "").strip()]
    if lacking:
        raise SpecError(
            f"the environment lacks {', '.join(lacking)}: set {URL} to the endpoint's address (such as "
            f"https://host/v1), {MODEL} to the model's name there and {KEY} to its key (any word where it "
            "takes none)"
        )
    return [os.environ[name].strip() for name in names]


def key_from_environment() -> SecretStr:
    """Return the endpoint's key, wrapped so that it prints as stars.

    Raises SpecError, which doesn't quote it, where it is missing or could not stand in a header.
    """
    key = SecretStr(*from_environment(KEY))
    if not all("!" <= character <= "~" for character in key.get_secret_value()):
        raise SpecError(
            f"{KEY} holds a space, a line break or a letter beyond ASCII: set it to the key alone"
        )
    return key


class _Passing(Exception):
    """A fault that may be gone at the next attempt; `wait` is how long the endpoint asks to wait, seconds."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class Endpoint:
    """An open connection to `spec.base_url`, to be shared by threads; made by `connected`.

    `halted` ends all further attempts and the waits between them.
    """

    def __init__(
        self,
        spec: EndpointSpec,
        client: httpx.Client,
        key: SecretStr,
        sleep: Callable[[float], None] | None,
        generator: np.random.Generator | None,
    ) -> None:
        self.spec, self.halted = spec, threading.Event()
        self._client, self._key, self._generator = client, key, generator
        self._sleep = sleep or tenacity.sleep_using_event(self.halted)
        self._backoff = tenacity.wait_exponential(multiplier=1, max=spec.longest_wait)
        self._draw = threading.Lock()  # a generator is not to be shared by threads
        self.abandoned = 0  # attempts given up whose thread may still read

    def ask(self, body: dict[str, Any], read: Callable[[str], T]) -> T:
        """Send `body`, return what `read` makes of the answer's text; `read` raises ValueError at nonsense.

        Timeouts, broken connections, 408, 409, 425, 429, 5xx and unreadable answers are retried, each wait
        twice the one before, or as long as Retry-After says (up to `longest_wait`).

        Raises FilteredError where a content filter refuses the question, JudgeError at any other status, and
        when no attempt is left.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Passing),
            stop=tenacity.stop_after_attempt(self.spec.attempts),
            wait=self._wait,
            sleep=self._sleep,
            before_sleep=self._log_fault,
            reraise=True,
        )
        try:
            return retrying(self._once, body, read)
        except _Passing as fault:
            last = str(fault)
        raise JudgeError(
            f"{self._where()} gave no usable answer in {self.spec.attempts} attempts; at the last: {last}"
        )

    def _where(self) -> str:
        return f"the endpoint {self.spec.base_url[:EXCERPT]} (model {self.spec.model[:EXCERPT]!r})"

    def _wait(self, state: tenacity.RetryCallState) -> float:
        fault = state.outcome.exception() if state.outcome else None
        requested = fault.wait if isinstance(fault, _Passing) else None
        seconds = self._backoff(state) if requested is None else min(requested, self.spec.longest_wait)
        if self._generator is None:
            return seconds
        with self._draw:  # longer by up to half, so that threads do not come back together
            return seconds * (1 + self._generator.random() / 2)

    def _log_fault(self, state: tenacity.RetryCallState) -> None:
        fault = state.outcome.exception() if state.outcome else None
        logger.warning("attempt %d at a verdict failed: %s", state.attempt_number, fault)

    def _once(self, body: dict[str, Any], read: Callable[[str], T]) -> T:
        if self.halted.is_set():  # it came while this question waited for its next attempt
            raise JudgeError(f"{self._where()} was asked no further, since another question failed")
        reply = self._within(lambda: self._post(body))
        quoted = self._quoted(reply.text)
        if replies.passing(reply.status):
            raise _Passing(f"status {reply.status}, {quoted}", reply.wait)
        good = 200 <= reply.status < 300
        if not good and not replies.filtered(reply.text):
            raise JudgeError(f"{self._where()} {replies.refusal(reply.status, quoted, KEY)}")
        try:
            if good:
                return read(replies.content(reply.text))
        except ValueError:
            reason, shown = replies.unreadable(reply.text)
        if replies.filtered(reply.text):
            raise FilteredError(f"{self._where()} refuses the question by its content filter")
        raise _Passing(f"{reason}, {self._quoted(shown)}")

    def _within(self, attempt: Callable[[], replies.Reply | str]) -> replies.Reply:
        """Return an attempt's reply; its fault, or that it outlasts the timeout, is raised as passing.

        httpx's timeout is that of each piece, which headers that drip never run into. So the attempt has a
        thread of its own, which is left behind where it takes too long.
        """
        outcome: list[replies.Reply | str] = []
        thread = threading.Thread(target=lambda: outcome.append(attempt()), daemon=True)
        thread.start()
        thread.join(self.spec.timeout + SLACK)
        if not outcome:
            self.abandoned += 1
            raise _Passing(f"a reply that was not whole after {self.spec.timeout:g} s")
        reply = outcome[0]
        if isinstance(reply, str):
            raise _Passing(reply)
        return reply

    def _post(self, body: dict[str, Any]) -> replies.Reply | str:
        """Return the reply, or what went wrong in words: no exception may carry the request's headers."""
        address = f"{self.spec.base_url}/chat/completions"
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        try:
            with self._client.stream("POST", address, content=json.dumps(body), headers=headers) as response:
                text = self._read(response).decode("utf-8", errors="replace")
                requested = replies.retry_after(response.headers.get("retry-after", ""))
                return replies.Reply(response.status_code, text, requested)
        except _Passing as fault:
            return str(fault)
        except Exception as fault:  # beside httpx's own, proxies raise those of other libraries
            return f"{type(fault).__name__} {self._quoted(str(fault))}{blamed(fault)}"

    def _read(self, response: httpx.Response) -> bytes:
        """Read the body; httpx's own timeout is that of each piece, which a slow drip never runs into."""
        read, deadline = bytearray(), time.monotonic() + self.spec.timeout
        for piece in response.iter_bytes():
            read += piece
            if len(read) > LARGEST_REPLY:
                raise _Passing(f"a reply of more than {LARGEST_REPLY} bytes")
            if time.monotonic() > deadline:
                raise _Passing(f"a reply that was not whole after {self.spec.timeout:g} s")
        return bytes(read)

    def _quoted(self, text: str) -> str:
        """Return the start of a text from elsewhere, without the key, its control characters escaped."""
        return repr(_without(self._key, text)[:EXCERPT])


class _WithoutKey(logging.Filter):
    """Cuts the key out of what a logger writes."""

    def __init__(self, key: SecretStr) -> None:
        super().__init__()
        self._key = key

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = _without(self._key, record.getMessage()), ()
        return True


@contextmanager
def connected(
    spec: EndpointSpec,
    *,
    sleep: Callable[[float], None] | None = None,
    generator: np.random.Generator | None = None,
) -> Iterator[Endpoint]:
    """Open the endpoint with the key of the environment, and close it at the end.

    `sleep` waits between attempts (seconds); None waits in real time. `generator` draws the jitter of the
    waits; None has none. Redirects are not followed: the key goes to `spec.base_url` alone.
    """
    key = key_from_environment()

    def signed(request: httpx.Request) -> httpx.Request:
        request.headers["Authorization"] = f"Bearer {key.get_secret_value()}"
        return request

    loggers, strike = [logging.getLogger(name) for name in HTTP_LOGGERS], _WithoutKey(key)
    for each in loggers:
        each.addFilter(strike)
    client = open_client(signed, spec.timeout)
    endpoint = Endpoint(spec, client, key, sleep, generator)
    try:
        with client:
            yield endpoint
    finally:
        if not endpoint.abandoned:  # a thread left behind may still log what the endpoint says
            for each in loggers:
                each.removeFilter(strike)


def _without(key: SecretStr, text: str) -> str:
    """Return a text without the key, as it is and as JSON writes it, where a slash may be escaped, too."""
    plain = key.get_secret_value()
    written = json.dumps(plain)[1:-1]
    for form in dict.fromkeys((plain, written, written.replace("/", r"\/"))):
        text = text.replace(form, "[key]")
    return text
