"""Faults between a client and its server, one in each function."""

import gzip
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Any, Protocol

from tests.teacher_server import wire
from tests.teacher_server.scoring import Entry, Row
from tests.teacher_server.wire import Scored


class Exchange(Protocol):
    """The server's side of one request."""

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None: ...

    def start(self, status: int, length: int, headers: dict[str, str] | None = None) -> None:
        """Send only the status line and headers."""
        ...

    def write(self, part: bytes) -> None: ...

    def reset(self) -> None:
        """Cut the connection with a reset."""
        ...

    def hang(self, seconds: float | None = None) -> None:
        """Wait that long, or until the server stops."""
        ...


@dataclass(frozen=True)
class Fault:
    """One fault, at the stages of an exchange that it affects.

    Attributes:
        name: of the fault.
        before: acts before there is an answer; returns whether the exchange is over.
        rows: changes the log-probabilities.
        answer: changes the JSON object.
        send: replaces the sending of the body.
    """

    name: str
    before: Callable[[Exchange], bool] | None = None
    rows: Callable[[Scored], Scored] | None = None
    answer: Callable[[Any], Any] | None = None
    send: Callable[[Exchange, bytes], None] | None = None


# ---- the connection


def delay(seconds: float) -> Fault:
    def wait(exchange: Exchange) -> bool:
        exchange.hang(seconds)
        return False

    return Fault("delay", before=wait)


def hang() -> Fault:
    """Accepts the request and never answers."""
    return Fault("hang", before=_and_end(lambda exchange: exchange.hang()))


def trickle(every: float, for_seconds: float) -> Fault:
    """Sends a byte now and then, so that no single read takes long."""

    def send(exchange: Exchange, body: bytes) -> None:
        exchange.start(200, len(body) + 10_000)
        end = time.monotonic() + for_seconds
        while time.monotonic() < end:
            exchange.write(b" ")
            exchange.hang(every)
        exchange.reset()

    return Fault("trickle", send=send)


def trickling_headers(every: float, for_seconds: float) -> Fault:
    """Like :func:`trickle`, in a header."""

    def act(exchange: Exchange) -> None:
        exchange.write(b"HTTP/1.1 200 OK\r\nX-Filler: ")
        end = time.monotonic() + for_seconds
        while time.monotonic() < end:
            exchange.write(b"x")
            exchange.hang(every)
        exchange.reset()

    return Fault("trickling_headers", before=_and_end(act))


def reset() -> Fault:
    return Fault("reset", before=_and_end(lambda exchange: exchange.reset()))


def reset_in_body() -> Fault:
    def send(exchange: Exchange, body: bytes) -> None:
        exchange.start(200, len(body))
        exchange.write(body[: len(body) // 2])
        exchange.hang(0.02)  # a reset overtakes what is still in the client's buffer
        exchange.reset()

    return Fault("reset_in_body", send=send)


def short_body() -> Fault:
    """Closes the connection properly before the announced length."""

    def send(exchange: Exchange, body: bytes) -> None:
        exchange.start(200, len(body), {"Connection": "close"})
        exchange.write(body[: len(body) // 2])

    return Fault("short_body", send=send)


def redirect(url: str, status: int = 307) -> Fault:
    return Fault("redirect", before=_and_end(lambda exchange: exchange.reply(status, b"", {"Location": url})))


# ---- the status


def status(code: int, message: str = "out of order", headers: dict[str, str] | None = None) -> Fault:
    _, body = wire.error(code, message, "InternalServerError" if code >= 500 else "BadRequestError")
    return Fault(str(code), before=_and_end(lambda exchange: exchange.reply(code, wire.encoded(body), headers)))


def busy(retry_after: str | None = None) -> Fault:
    return status(429, "too many requests", {"Retry-After": retry_after} if retry_after is not None else None)


def busy_until(seconds: float) -> Fault:
    """Sends Retry-After as an HTTP date, rounded up to whole seconds."""

    def reply(exchange: Exchange) -> None:
        date = formatdate(time.time() + seconds + 1, usegmt=True)
        exchange.reply(429, wire.encoded(wire.error(429, "too many requests")[1]), {"Retry-After": date})

    return Fault("busy_until", before=_and_end(reply))


def too_long() -> Fault:
    message = (
        "This model's maximum context length is 8 tokens. However, your prompt contains at least 9 input tokens, which "
        "exceeds this limit even without any output tokens. Please reduce the length of the input prompt."
    )
    return status(400, message)


# ---- the body


def truncated() -> Fault:
    """A complete HTTP answer whose JSON stops half-way."""
    return Fault("truncated", send=lambda exchange, body: exchange.reply(200, body[: len(body) // 2]))


def garbage(body: bytes = b"<html>502 Bad Gateway</html>") -> Fault:
    """A body that is not JSON, with status 200."""
    return Fault("garbage", send=lambda exchange, _: exchange.reply(200, body))


def other_shape(answer: Any) -> Fault:
    """JSON of another form."""
    return Fault("other_shape", answer=lambda _: answer)


def without_choice_key(key: str) -> Fault:
    """The answer's choice lacks what was asked for."""

    def strip(answer: Any) -> Any:
        choice = {name: value for name, value in answer["choices"][0].items() if name != key}
        return {**answer, "choices": [choice]}

    return Fault("without_choice_key", answer=strip)


def other_model(name: str) -> Fault:
    return Fault("other_model", answer=lambda answer: {**answer, "model": name})


def oversized(num_bytes: int) -> Fault:
    """Spaces before the JSON, which is valid: only the size is wrong."""
    return Fault("oversized", send=lambda exchange, body: exchange.reply(200, b" " * num_bytes + body))


def gzip_bomb(num_bytes: int) -> Fault:
    """`num_bytes` of spaces, in a body a thousand times smaller."""
    packed = gzip.compress(b" " * num_bytes)
    return Fault("gzip_bomb", send=lambda exchange, _: exchange.reply(200, packed, {"Content-Encoding": "gzip"}))


# ---- the log-probabilities


def missing_position(position: int = -2) -> Fault:
    def drop(scored: Scored) -> Scored:
        kept = [j for j in range(len(scored.ids)) if j != position % len(scored.ids)]
        return replace(scored, ids=[scored.ids[j] for j in kept], rows=[scored.rows[j] for j in kept])

    return Fault("missing_position", rows=drop)


def surplus_position() -> Fault:
    return Fault(
        "surplus_position",
        rows=lambda scored: replace(scored, ids=[*scored.ids, scored.ids[-1]], rows=[*scored.rows, scored.rows[-1]]),
    )


def other_order() -> Fault:
    """Swaps the last two neighbours that differ, if there are any."""

    def swap(scored: Scored) -> Scored:
        ids, rows = list(scored.ids), list(scored.rows)
        pairs = [j for j in range(1, len(ids) - 1) if ids[j] != ids[j + 1]]
        if not pairs:
            return scored
        j = pairs[-1]
        ids[j], ids[j + 1], rows[j], rows[j + 1] = ids[j + 1], ids[j], rows[j + 1], rows[j]
        return replace(scored, ids=ids, rows=rows)

    return Fault("other_order", rows=swap)


def strange_id(token_id: int, position: int = -2) -> Fault:
    """Another token in place of the one that was sent."""

    def change(scored: Scored) -> Scored:
        ids, rows = list(scored.ids), list(scored.rows)
        j = _scored_at(scored, position)
        ids[j], rows[j] = token_id, {token_id: Entry(-1.0, 1)}
        return replace(scored, ids=ids, rows=rows)

    return Fault("strange_id", rows=change)


def logprob(value: float, position: int = -2) -> Fault:
    """The chosen token's log-probability is NaN, infinite, positive, ... (Python writes NaN and Infinity in JSON)."""

    def change(scored: Scored) -> Scored:
        rows, j = list(scored.rows), _scored_at(scored, position)
        row, token_id = scored.rows[j], scored.ids[j]
        assert row is not None  # only the first has none
        rows[j] = {**row, token_id: Entry(value, row[token_id].rank)}
        return replace(scored, rows=rows)

    return Fault(f"logprob {value}", rows=change)


def null_logprob() -> Fault:
    """`null` for the last token, as some servers write values for which JSON has no number."""

    def change(answer: Any) -> Any:
        (choice,) = answer["choices"]
        if choice.get("prompt_logprobs"):
            for entry in choice["prompt_logprobs"][-1].values():
                entry["logprob"] = None
        if choice.get("logprobs"):
            choice["logprobs"]["token_logprobs"] = [None] * len(choice["logprobs"]["token_logprobs"])
        return answer

    return Fault("null_logprob", answer=change)


def fewer_top(keep: int = 1) -> Fault:
    """Every position keeps its token and `keep` others."""

    def cut(row: Row | None) -> Row | None:
        return row and dict(list(row.items())[: 1 + keep])

    return Fault("fewer_top", rows=lambda scored: replace(scored, rows=[cut(row) for row in scored.rows]))


def shifted() -> Fault:
    """Every row one position too early, as from a server that counts positions differently."""

    def shift(scored: Scored) -> Scored:
        return replace(scored, rows=[*scored.rows[1:], None])

    return Fault("shifted", rows=shift)


def _scored_at(scored: Scored, position: int) -> int:
    """That position, or the second one instead of the first, which has no score."""
    return position % len(scored.ids) or 1


def _and_end(act: Callable[[Exchange], None]) -> Callable[[Exchange], bool]:
    def before(exchange: Exchange) -> bool:
        act(exchange)
        return True

    return before
