"""Servers that cannot be reached, each told by what keeps it away."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from crossdistill.errors import InputError
from crossdistill.teachers.served.api.client import models_at_first
from crossdistill.teachers.served.http.connection import Connection
from crossdistill.teachers.served.http.errors import Transient, Unreachable
from crossdistill.teachers.served.http.reaching import lost
from crossdistill.teachers.served.options import ServedOptions


def ask(url: str, **options):
    """The models at a URL, asked for the first time; and how long that took."""

    async def run():
        connection = Connection(url, ServedOptions(**options))
        try:
            return await models_at_first(connection, ServedOptions(**options))
        finally:
            await connection.close()

    return asyncio.run(run())


@contextmanager
def listening(answer: bytes, after_s: float = 0.0) -> Iterator[str]:
    """Host and port of a socket that answers anything with `answer`, after a while."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                time.sleep(after_s)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join(10)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_port_at_which_nothing_listens():
    port, began = free_port(), time.monotonic()
    with pytest.raises(InputError, match=rf"cannot be reached \(nothing listens at 127\.0\.0\.1, port {port}\): start"):
        ask(f"http://127.0.0.1:{port}")
    assert time.monotonic() - began < 3


def test_a_name_that_is_not_known():
    with pytest.raises(InputError, match=r"the name no-such-host\.invalid is not known to this machine\): start"):
        ask("http://no-such-host.invalid:8000")


def test_a_server_that_does_not_speak_tls():
    with (
        listening(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") as place,
        pytest.raises(InputError, match=r"does not speak TLS: is it http, not https\? \("),
    ):
        ask(f"https://{place}")


@pytest.mark.parametrize("error", [httpx.ConnectTimeout(""), httpx.ConnectError("no route to host")])
def test_an_address_behind_which_nobody_answers(error):
    reason = lost(error, "http://10.0.0.1:8000", 2.5)
    assert isinstance(reason, Unreachable)
    assert "no connection to 10.0.0.1" in str(reason)


def test_a_server_that_breaks_off_was_reached():
    reason = lost(httpx.ReadError("reset"), "http://there")
    assert isinstance(reason, Transient) and not isinstance(reason, Unreachable)


def test_a_server_that_takes_longer_to_answer_than_to_connect_is_there():
    """Longer than the first connection may take: an answer is another matter."""
    body = b'{"data": [{"id": "slow"}]}'
    with listening(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body), after_s=3.0) as place:
        assert ask(f"http://{place}", timeout_s=30) == {"slow": None}
