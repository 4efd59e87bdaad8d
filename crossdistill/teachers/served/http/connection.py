"""JSON over HTTP to one server."""

import asyncio
import json
import os
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from crossdistill.errors import InputError
from crossdistill.teachers.served.http.errors import Malformed, Refused, TooSlow, Transient, quoted, shown
from crossdistill.teachers.served.http.reaching import CONNECT_S, lost
from crossdistill.teachers.served.http.traffic import Traffic
from crossdistill.teachers.served.options import ServedOptions

_HARD_LIMIT = 3  # times timeout_s: headers that arrive byte by byte escape the other limits
_KEEPALIVE_S = 3.0  # less than servers keep an idle connection (5 s by default in many)
_TRY_LATER = {408, 425, 429}
_NEVER = {501, 505}  # not implemented now is not implemented later
_BUSY = {429, 503}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class Connection:
    """Sends at most `max_in_flight` requests at once. It belongs to the event loop that uses it first.

    Args:
        url: of the server, with or without ``/v1``.
        options: limits, the key's environment variable and certificates.
        traffic: counts requests and bytes.
        transport: replaces the network, for tests.
        what: what messages call the model behind it.

    Attributes:
        url: without ``/v1``.
        traffic: see above.
        what: see above.

    Raises:
        InputError: the URL is not an HTTP(S) URL, or carries credentials; or the certificates cannot be read.
    """

    def __init__(
        self,
        url: str,
        options: ServedOptions,
        traffic: Traffic | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        what: str = "teacher",
    ):
        self.url = checked_url(url, what)
        self.traffic = traffic or Traffic()
        self.what = what
        self._options = options
        self._max_bytes = int(options.max_body_mib * 2**20)
        self._slots = asyncio.Semaphore(options.max_in_flight)
        self._reading_s = 0.0
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="crossdistill-answers")
        self._client = httpx.AsyncClient(
            verify=_trust(options),
            transport=transport,
            timeout=self._timeout(CONNECT_S),
            # the slots bound the connections: one that a cancelled request leaves behind must not keep others waiting
            limits=httpx.Limits(
                max_connections=None,
                max_keepalive_connections=options.max_in_flight,
                keepalive_expiry=_KEEPALIVE_S,
            ),
            follow_redirects=False,  # the key is for this server alone
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )

    async def exchange(
        self,
        path: str,
        body: dict[str, Any] | None = None,
        read: Callable[[Any], Any] = lambda answer: answer,
        connect_s: float = CONNECT_S,
    ) -> Any:
        """Send a request, and return what `read` makes of the answer.

        Answers are parsed and read one after the other in a separate thread: a large one takes a second, which must not
        count as slowness of the server for the other requests.

        Args:
            path: on the server.
            body: JSON to POST; None for a GET.
            read: takes the parsed JSON of the answer; may raise Malformed.
            connect_s: seconds for a connection, if there is none yet.

        Raises:
            Transient: another try may succeed; Malformed if the answer is of another form, Unreachable if nobody
                could be asked.
            Refused: another try cannot succeed.
            InputError: the API key cannot be sent in a header.
        """
        key = self._key()
        async with self._slots:
            try:
                async with asyncio.timeout(_HARD_LIMIT * self._options.timeout_s):
                    response, content = await self._send(path, body, key, connect_s)
            except httpx.ConnectTimeout as error:
                raise lost(error, self.url, connect_s) from None
            except (TimeoutError, httpx.TimeoutException):
                raise self._too_slow() from None
            except (httpx.TransportError, OSError) as error:  # httpx does not wrap the error of a broken TLS record
                raise lost(error, self.url, connect_s) from None
            _check_status(response, content, key)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._reader, self._parse, path, content, read)

    @property
    def exposes_key(self) -> bool:
        """Whether the API key crosses a network unencrypted."""
        url = httpx.URL(self.url)
        return bool(self._key()) and url.scheme == "http" and url.host not in _LOOPBACK

    async def close(self) -> None:
        await self._client.aclose()
        self._reader.shutdown(cancel_futures=True)

    def _timeout(self, connect_s: float) -> httpx.Timeout:
        limit = self._options.timeout_s
        return httpx.Timeout(limit, connect=min(connect_s, limit), pool=None)

    async def _send(
        self, path: str, body: dict[str, Any] | None, key: str, connect_s: float
    ) -> tuple[httpx.Response, bytes]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        if data is not None:
            headers["Content-Type"] = "application/json"
        self.traffic.requests += 1
        self.traffic.sent_bytes += len(data or b"")
        method = "GET" if data is None else "POST"
        until = self._idle_clock() + self._options.timeout_s
        limits = self._timeout(connect_s)
        async with self._client.stream(
            method, self.url + path, content=data, headers=headers, timeout=limits
        ) as response:
            return response, await self._content(response, until)

    async def _content(self, response: httpx.Response, until: float) -> bytes:
        """Receive the body, up to the limits. It is never decompressed, so it cannot grow.

        The time-out is checked between two parts, each of which the client waits for no longer than the time-out:
        cancelling the request from outside would leave its connection behind.
        """
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise Malformed("the answer is compressed, although that was not asked for")
        content = bytearray()
        async for part in response.aiter_raw():
            self.traffic.received_bytes += len(part)
            content += part
            if self._idle_clock() > until:
                raise self._too_slow()
            if len(content) > self._max_bytes:
                limit = self._options.max_body_mib
                raise Refused(response.status_code, f"the answer is larger than max_body_mib = {limit:g}")
        return bytes(content)

    def _parse(self, path: str, content: bytes, read: Callable[[Any], Any]) -> Any:
        began = time.monotonic()
        try:
            return read(_parsed(path, content))
        finally:
            self._reading_s += time.monotonic() - began

    def _idle_clock(self) -> float:
        """Seconds, without those in which an answer was parsed: bytes arrive slowly then, whatever the server does."""
        return time.monotonic() - self._reading_s

    def _too_slow(self) -> TooSlow:
        return TooSlow(f"no answer within {self._options.timeout_s:g} s", is_lost=True)

    def _key(self) -> str:
        """The API key, which must not appear in any message; empty if there is none."""
        key = os.environ.get(self._options.key_env, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise InputError(
                f"the API key in ${self._options.key_env} has characters that no HTTP header can hold: set it to "
                "printable ASCII characters."
            )
        return key


def checked_url(url: str, what: str = "teacher") -> str:
    """Return a server's URL without ``/v1`` and slashes at its end.

    Args:
        url: with or without them.
        what: what messages call the model behind it.

    Raises:
        InputError: it is not an HTTP(S) URL, or it carries a user name, a password, a query or a fragment.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise InputError(f"{what} URL {url!r} is not valid ({error}): write http://host:port.") from None
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise InputError(
            f"the {what} URL has a user name, a query or a fragment: leave it out, and give an API key only in the "
            "environment variable CROSSDISTILL_TEACHER_KEY."
        )
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise InputError(f"{what} URL {url!r} is not an HTTP(S) URL: write http://host:port or https://host.")
    return str(parsed).rstrip("/").removesuffix("/v1")


def retry_after_s(value: str | None, now: datetime | None = None) -> float | None:
    """Parse a Retry-After header, which holds seconds or a date.

    Args:
        value: of the header.
        now: the current time, for tests.

    Returns:
        Seconds, at least 0; None if there is no header or it holds neither.

    Example:
        >>> retry_after_s("120")
        120.0
    """
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    moment = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())


def _trust(options: ServedOptions) -> ssl.SSLContext | bool:
    if options.ca_bundle is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(options.ca_bundle))
    except OSError as error:
        raise InputError(f"ca_bundle {options.ca_bundle} cannot be read ({error}): name a PEM file.") from None


def _parsed(path: str, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise Malformed(f"the answer to {path} is not JSON") from None


def _check_status(response: httpx.Response, content: bytes, key: str) -> None:
    status = response.status_code
    if status < 300:
        return
    if status < 400:
        place = _without(key, response.headers.get("Location", "?").encode()).decode()
        raise Refused(status, f"the server redirects to {quoted(place)}")
    message = _message(_without(key, content))
    if status in _TRY_LATER or (status >= 500 and status not in _NEVER):
        raise Transient(
            f"{message} (status {status})",
            retry_after_s(response.headers.get("Retry-After")),
            is_busy=status in _BUSY,
            is_lost=status >= 500,
        )
    raise Refused(status, message)


def _message(content: bytes) -> str:
    """The message of an error: from JSON of OpenAI's form, or plain text."""
    text = content[:10_000].decode("utf-8", "replace")
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return shown(text)
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else parsed
    return shown(error.get("message", error) if isinstance(error, dict) else error)


def _without(key: str, content: bytes) -> bytes:
    """Masks the key: some servers repeat the key that they refuse."""
    return content.replace(key.encode(), b"***") if key else content
