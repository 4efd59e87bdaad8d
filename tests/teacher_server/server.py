"""The server itself: loopback, one thread a connection."""

import hmac
import json
import select
import socket
import ssl
import struct
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.teacher_server import wire
from tests.teacher_server.faults import Fault
from tests.teacher_server.log import CHAT, COMPLETIONS, Log, Seen
from tests.teacher_server.scoring import Scorer
from tests.teacher_server.scripts import Script, nothing
from tests.teacher_server.service import Service, Settings

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, no seconds: closing sends a reset


class TeacherServer:
    """`with TeacherServer(scorer) as server: ... server.url`. It can stop and start again on the same port."""

    def __init__(
        self,
        scorer: Scorer,
        settings: Settings | None = None,
        script: Script = nothing,
        tls: ssl.SSLContext | None = None,
    ):
        self.service, self.script = Service(scorer, settings or Settings()), script
        self.log = Log()
        self.stopping = threading.Event()
        self.address = ("127.0.0.1", 0)
        self._tls = tls
        self._http: _Listener | None = None
        self._timers: list[threading.Timer] = []

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.address[1]}"

    @property
    def num_connections(self) -> int:
        """Number of open connections."""
        return len(self._http.connections) if self._http else 0

    def __enter__(self) -> "TeacherServer":
        self.start()
        return self

    def __exit__(self, *raised: object) -> None:
        for timer in self._timers:
            timer.cancel()
            timer.join()
        self.stop()

    def start(self) -> None:
        assert self._http is None
        self.stopping.clear()
        self._http = _Listener(self.address, _Handler, self)
        self.address = ("127.0.0.1", self._http.server_address[1])
        if self._tls is not None:
            self._http.socket = self._tls.wrap_socket(self._http.socket, server_side=True)
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections, and cut those that are open."""
        http, self._http = self._http, None
        if http is None:
            return
        self.stopping.set()
        http.shutdown()
        http.server_close()
        http.cut_all()

    def down_for(self, seconds: float) -> None:
        self.stop()
        timer = threading.Timer(seconds, self.start)
        self._timers.append(timer)
        timer.start()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], handler: type, teacher: TeacherServer):
        self.teacher = teacher
        self.connections: set[socket.socket] = set()
        super().__init__(address, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that has gone; raise anything else, which pytest shows."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            raise error

    def cut_all(self) -> None:
        for connection in list(self.connections):
            with suppress(OSError):  # it is closed already
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def log_message(self, *args: Any) -> None:
        """Silent."""

    def do_GET(self) -> None:
        self._handle(b"", None)

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        raw = self.rfile.read(length)
        if len(raw) < length:
            raise ConnectionAbortedError("the client has gone")
        self._handle(raw, json.loads(raw))

    def _handle(self, raw: bytes, body: Any) -> None:
        teacher = self.server.teacher
        with teacher.log.entry(self.command, self.path, dict(self.headers.items()), raw, body) as seen:
            self.seen = seen
            if seen.path == COMPLETIONS:
                seen.ids = teacher.service.ids_of(body["prompt"])
            fault = teacher.script(seen)
            seen.fault = fault.name if fault else None
            if fault is not None and fault.before is not None and fault.before(self):
                return
            status, answer = self._answer(seen, fault)
            if fault is not None and fault.answer is not None and status == 200:
                answer = fault.answer(answer)
            encoded = wire.encoded(answer)
            if fault is not None and fault.send is not None and status == 200:
                fault.send(self, encoded)
            else:
                self.reply(status, encoded)

    def _answer(self, seen: Seen, fault: Fault | None) -> tuple[int, Any]:
        service = self.server.teacher.service
        if not self._authorized(service.settings.key):
            return 401, {"error": "Unauthorized"}
        if seen.path == "/v1/models":
            return 200, service.models()
        if seen.path == "/tokenize" and service.settings.vllm:
            return 200, service.tokenize(seen.body)
        if seen.path == COMPLETIONS:
            return service.completions(seen, fault)
        if seen.path == CHAT:
            return service.chat(seen.body)
        return 404, {"detail": "Not Found"}

    def _authorized(self, key: str | None) -> bool:
        return key is None or hmac.compare_digest(self.headers.get("Authorization", ""), f"Bearer {key}")

    # ---- an exchange, for faults

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.server.teacher.log.answered(self.seen)
        self.start(status, len(body), headers)
        self.write(body)

    def start(self, status: int, length: int, headers: dict[str, str] | None = None) -> None:
        self.seen.status = status
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()

    def write(self, part: bytes) -> None:
        self.wfile.write(part)

    def reset(self) -> None:
        self.close_connection = True
        self.server.connections.discard(self.connection)
        cut(self.connection)

    def hang(self, seconds: float | None = None) -> None:
        end = time.monotonic() + (float("inf") if seconds is None else seconds)
        stopping = self.server.teacher.stopping
        while not self._is_left and not stopping.wait(max(0.0, min(0.05, end - time.monotonic()))):
            if time.monotonic() >= end:
                return
        self.close_connection = True

    @property
    def _is_left(self) -> bool:
        """Whether the client has hung up."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)


def cut(connection: socket.socket) -> None:
    """Reset at once: otherwise the socket's files keep it open. Called by the thread that reads from it."""
    with suppress(OSError):  # it is closed already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        socket.close(connection.detach())
