"""JSON over HTTP: requests, and the meaning of each answer."""

import asyncio
import json
import ssl
import threading
import time
from datetime import UTC, datetime

import httpx
import pytest

from crossdistill.errors import InputError
from crossdistill.teachers.served.http.connection import Connection, checked_url, retry_after_s
from crossdistill.teachers.served.http.errors import Malformed, Refused, Transient, drop_reason, shown
from crossdistill.teachers.served.options import ServedOptions
from tests.teachers.served.mock_server import streamed

KEY = "sk-very-secret"


def exchange(handler, path="/v1/completions", body=None, **options):
    """The answer and the connection."""

    async def run():
        connection = Connection("http://there", ServedOptions(**options), transport=httpx.MockTransport(handler))
        try:
            return await connection.exchange(path, body), connection
        finally:
            await connection.close()

    return asyncio.run(run())


def always(status=200, **content):
    return lambda request: streamed(httpx.Response(status, **content))


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://host:8000", "http://host:8000"),
        ("http://host:8000/v1/", "http://host:8000"),
        ("https://host/models/qwen/v1", "https://host/models/qwen"),
    ],
)
def test_urls(given, url):
    assert checked_url(given) == url


@pytest.mark.parametrize(
    "url",
    ["host:8000", "ftp://host", "file:///etc/passwd", "http://", "http://u:pw@host", "http://h/?k=1", "http://h:x"],
)
def test_urls_that_are_refused(url):
    with pytest.raises(
        InputError, match=r"is not an HTTP\(S\) URL: write|has a user name, a query|is not valid"
    ) as raised:
        checked_url(url)
    assert "pw" not in str(raised.value)


def test_a_request():
    seen = []

    def handler(request):
        seen.append(request)
        return streamed(httpx.Response(200, json={"ok": True}))

    answer, connection = exchange(handler, body={"prompt": [1]})
    assert answer == {"ok": True}
    assert (seen[0].method, str(seen[0].url)) == ("POST", "http://there/v1/completions")
    assert json.loads(seen[0].content) == {"prompt": [1]}
    assert seen[0].headers["Content-Type"] == "application/json"
    assert seen[0].headers["Accept-Encoding"] == "identity"
    assert "Authorization" not in seen[0].headers
    assert connection.traffic.as_dict() == {
        "requests": 1, "retries": 0, "waited_s": 0.0, "sent_bytes": len(seen[0].content), "received_bytes": 11,
        "cache_hits": 0, "checks": 0,
    }  # fmt: skip
    exchange(handler, path="/v1/models")
    assert seen[1].method == "GET"


def test_the_key_goes_in_a_header_and_nowhere_else(monkeypatch):
    monkeypatch.setenv("MY_KEY", f"{KEY}\n")
    seen = []

    def handler(request):
        seen.append(request)
        return streamed(httpx.Response(200, json=1))

    _, connection = exchange(handler, body={}, key_env="MY_KEY")
    assert seen[0].headers["Authorization"] == f"Bearer {KEY}"
    assert KEY not in str(seen[0].url)
    assert KEY not in repr(vars(connection))


def test_a_server_that_repeats_the_key_is_not_quoted(monkeypatch):
    monkeypatch.setenv("CROSSDISTILL_TEACHER_KEY", KEY)
    with pytest.raises(Refused, match=r"Incorrect key: \*\*\*") as raised:
        exchange(always(401, json={"error": {"message": f"Incorrect key: {KEY}"}}))
    assert KEY not in str(raised.value)


def test_a_server_that_sends_the_key_on_is_not_quoted(monkeypatch):
    monkeypatch.setenv("CROSSDISTILL_TEACHER_KEY", KEY)
    with pytest.raises(Refused, match=r"elsewhere/\?key=\*\*\*") as raised:
        exchange(always(302, headers={"Location": f"http://elsewhere/?key={KEY}"}))
    assert KEY not in str(raised.value)


@pytest.mark.parametrize("key", ["schlüssel", "a\nb", "a\x00"])
def test_a_key_that_no_header_can_hold_is_refused_without_its_value(monkeypatch, key):
    if "\x00" in key:
        monkeypatch.setattr("os.environ", {"CROSSDISTILL_TEACHER_KEY": key})
    else:
        monkeypatch.setenv("CROSSDISTILL_TEACHER_KEY", key)
    with pytest.raises(InputError, match="CROSSDISTILL_TEACHER_KEY") as raised:
        exchange(always(json=1))
    assert key not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "is_busy", "is_lost"),
    [(408, False, False), (429, True, False), (500, False, True), (502, False, True), (503, True, True)],
)
def test_statuses_that_may_pass(status, is_busy, is_lost):
    with pytest.raises(Transient, match=f"out of order .status {status}") as raised:
        exchange(always(status, json={"error": {"message": "out of order"}}, headers={"Retry-After": "7"}))
    failure = raised.value
    assert (failure.is_busy, failure.is_lost, failure.retry_after_s) == (is_busy, is_lost, 7.0)


@pytest.mark.parametrize(
    ("status", "content", "message", "reason"),
    [
        (400, {"json": {"error": {"message": "bad"}}}, "bad", "teacher_refused"),
        (400, {"json": {"message": "maximum context length is 8"}}, "maximum context", "teacher_context"),
        (413, {"text": "no"}, "no", "teacher_context"),
        (404, {"text": "<html>\x1b[31m"}, r"<html>\\x1b\[31m", "teacher_refused"),
        (422, {"json": {"detail": [{"loc": "prompt"}]}}, "prompt", "teacher_refused"),
        (401, {"json": ["x"]}, "x", "teacher_refused"),
        (501, {"text": "not here"}, "not here", "teacher_refused"),
        (307, {"headers": {"Location": "http://elsewhere/"}}, "redirects to 'http://elsewhere/'",
         "teacher_refused"),
    ],
)  # fmt: skip
def test_statuses_that_will_not_pass(status, content, message, reason):
    with pytest.raises(Refused, match=message) as raised:
        exchange(always(status, **content))
    assert raised.value.status == status
    assert drop_reason(raised.value) == reason


def test_redirects_are_not_followed(monkeypatch):
    monkeypatch.setenv("CROSSDISTILL_TEACHER_KEY", KEY)
    hosts = []

    def handler(request):
        hosts.append(request.url.host)
        return streamed(httpx.Response(302, headers={"Location": "http://elsewhere/"}))

    with pytest.raises(Refused):
        exchange(handler)
    assert hosts == ["there"]


@pytest.mark.parametrize(
    "content", [b"", b'{"a": ', b"<html>", b"[" * 100_000, b"\xff\xfe\xfa", b'{"a": ' + b"1" * 5000 + b"}"]
)
def test_an_answer_that_is_not_json(content):
    with pytest.raises(Malformed, match="not JSON"):
        exchange(always(content=content))


def test_an_answer_larger_than_the_limit():
    with pytest.raises(Refused, match=r"larger than max_body_mib = 0\.001"):
        exchange(always(content=b"[" + b"1," * 1000 + b"1]"), max_body_mib=0.001)
    assert exchange(always(content=b"[" + b"1," * 500 + b"1]"), max_body_mib=0.001)[0] == [1] * 501


def test_a_compressed_answer_is_refused():
    with pytest.raises(Malformed, match="compressed"):
        exchange(always(content=b"\x1f\x8b", headers={"Content-Encoding": "gzip"}))


@pytest.mark.parametrize(
    "error",
    [httpx.ConnectError("refused"), httpx.ReadError("reset"), httpx.RemoteProtocolError("incomplete"),
     httpx.ConnectTimeout("slow")],
)  # fmt: skip
def test_lost_connections(error):
    def handler(request):
        raise error

    with pytest.raises(Transient) as raised:
        exchange(handler)
    assert raised.value.is_lost
    assert not raised.value.is_busy


def test_a_certificate_that_is_not_trusted_will_not_pass():
    def handler(request):
        raise httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate")

    with pytest.raises(Refused, match="ca_bundle"):
        exchange(handler)


def test_an_answer_has_one_time_limit_from_its_first_byte_to_its_last():
    class Dripping(httpx.AsyncByteStream):
        async def __aiter__(self):
            while True:
                await asyncio.sleep(0.01)
                yield b" "

    with pytest.raises(Transient, match=r"within 0\.1 s") as raised:
        exchange(lambda request: httpx.Response(200, stream=Dripping()), timeout_s=0.1)
    assert raised.value.is_lost


def test_an_error_of_tls_is_a_lost_connection():
    def handler(request):
        raise ssl.SSLError("WRONG_VERSION_NUMBER")

    with pytest.raises(Transient, match="WRONG_VERSION_NUMBER") as raised:
        exchange(handler)
    assert raised.value.is_lost


def test_reading_an_answer_takes_no_time_from_others():
    threads = set()

    def read(answer):
        threads.add(threading.current_thread())
        time.sleep(0.1)
        return answer + 1

    async def run():
        connection = Connection(
            "http://there", ServedOptions(timeout_s=0.2), transport=httpx.MockTransport(always(json=1))
        )
        answers = await asyncio.gather(*[connection.exchange("/", {"k": k}, read) for k in range(8)])
        await connection.close()
        return answers

    assert asyncio.run(run()) == [2] * 8
    assert len(threads) == 1
    assert not threads & {threading.current_thread(), *threading.enumerate()}  # not the loop's, and ended


def test_as_many_in_flight_as_allowed_and_in_order():
    running, most, order = 0, 0, []

    async def handler(request):
        nonlocal running, most
        running += 1
        most = max(most, running)
        order.append(json.loads(request.content)["k"])
        await asyncio.sleep(0.01)
        running -= 1
        return streamed(httpx.Response(200, json=1))

    async def run():
        options = ServedOptions(max_in_flight=3, timeout_s=0.1)  # waiting for a slot is not waiting for an answer
        connection = Connection("http://there", options, transport=httpx.MockTransport(handler))
        await asyncio.gather(*[connection.exchange("/", {"k": k}) for k in range(40)])
        await connection.close()

    asyncio.run(run())
    assert most == 3
    assert order == list(range(40))


NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("12", 12.0),
        ("Fri, 01 May 2026 12:00:30 GMT", 30.0),
        ("Fri, 01 May 2026 11:00:00 GMT", 0.0),
        ("Fri, 01 May 2026 14:00:30 +0200", 30.0),
        ("soon", None),
        ("-3", None),
        ("nan", None),
    ],
)
def test_retry_after(header, seconds):
    assert retry_after_s(header, NOW) == seconds


def test_certificates_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        Connection("https://there", ServedOptions(ca_bundle=tmp_path / "none.pem"))
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(InputError, match="cannot be read"):
        Connection("https://there", ServedOptions(ca_bundle=tmp_path / "empty.pem"))


def test_a_servers_text_is_data():
    assert shown("x" * 300) == "x" * 200 + "..."
    assert shown("a\x1b]0;title\x07\n\u202eb") == "a\\x1b]0;title\\x07\\n\\u202eb"


@pytest.mark.parametrize(
    ("url", "key", "exposed"),
    [("http://there", KEY, True), ("https://there", KEY, False), ("http://127.0.0.1:8000", KEY, False),
     ("http://[::1]:8000", KEY, False), ("http://there", "", False)],
)  # fmt: skip
def test_a_key_without_encryption(monkeypatch, url, key, exposed):
    monkeypatch.setenv("CROSSDISTILL_TEACHER_KEY", key)
    assert Connection(url, ServedOptions()).exposes_key is exposed
