"""A server of a model, for the time of an evaluation."""

import socket
import sys
from urllib.request import urlopen

import pytest

from crossdistill.errors import InputError
from recipes.paper.serving import serving

SERVER = """
import http.server, sys
class Models(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/v1/models" else 404)
        self.end_headers()
        self.wfile.write(sys.argv[2].encode())
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Models).serve_forever()
"""


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def command(port: int) -> list[str]:
    return [sys.executable, "-c", SERVER, str(port), "{model}"]


def test_the_server_is_there_inside_and_gone_after(port):
    url = f"http://127.0.0.1:{port}"
    with serving(command(port), "a model", url, patience_s=60), urlopen(f"{url}/v1/models") as answer:
        assert answer.read() == b"a model"
    with pytest.raises(OSError):
        urlopen(f"{url}/v1/models")


def test_options_of_a_server_may_be_json(port):
    url = f"http://127.0.0.1:{port}"
    argv = [*command(port), '{"method": "ngram"}']
    with serving(argv, "model", url, patience_s=60), urlopen(f"{url}/v1/models") as answer:
        assert answer.read() == b"model"


def test_it_is_ended_if_the_evaluation_fails(port):
    url = f"http://127.0.0.1:{port}"
    with pytest.raises(RuntimeError), serving(command(port), "model", url, patience_s=60):
        raise RuntimeError
    with pytest.raises(OSError):
        urlopen(f"{url}/v1/models")


def test_another_server_at_the_address_is_refused(port):
    """Else its model would be evaluated in place of ours."""
    url = f"http://127.0.0.1:{port}"
    with (
        serving(command(port), "model", url, patience_s=60),
        pytest.raises(InputError, match=f"something answers at {url} already"),
        serving(command(port), "model", url),
    ):
        pass


def test_a_server_that_ends_or_never_answers(port):
    url = f"http://127.0.0.1:{port}"
    with (
        pytest.raises(InputError, match="the server of the model ended with code 3"),
        serving([sys.executable, "-c", "raise SystemExit(3)"], "model", url, patience_s=60),
    ):
        pass
    with (
        pytest.raises(InputError, match=f"the server of the model does not answer at {url} after 0.2 s"),
        serving([sys.executable, "-c", "import time; time.sleep(60)"], "model", url, patience_s=0.2),
    ):
        pass
    with (
        pytest.raises(InputError, match="the server 'no-such-server' cannot be started"),
        serving(["no-such-server"], "model", url),
    ):
        pass
