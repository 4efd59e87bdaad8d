"""A vLLM server of a few lines, which answers as vLLM 0.32 does and holds the weights that it was told to load."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor


class FakeServer:
    """Answers one token of log-probability -1 to every prompt.

    Attributes:
        weights: those that were loaded, for each time.
        failures: path -> body of an answer with status 500, in place of the usual one.
        config: what /server_info tells.
    """

    def __init__(self, logprobs_mode: str = "processed_logprobs", device: str = "cuda", has_dev_mode: bool = True):
        self.weights: list[dict[str, Tensor]] = []
        self.posted: list[str] = []
        self.failures: dict[str, str] = {}
        self.config = {
            "model_config": {"logprobs_mode": logprobs_mode},
            "device_config": {"device": device},
            "weight_transfer_config": None,
        }
        self._answers: dict[str, Callable[[Any], Any]] = {
            "/health": lambda _: None,
            "/v1/models": lambda _: {"data": [{"id": "student"}]},
            "/reset_prefix_cache": lambda _: {"success": True},
            "/v1/completions": self._complete,
            "/start_weight_update": lambda _: None,
        }
        if has_dev_mode:
            self._answers["/server_info"] = lambda _: {"vllm_config": self.config}
            self._answers["/collective_rpc"] = self._reload
        self.url = ""

    def answer(self, path: str, body: Any) -> tuple[int, str]:
        path = path.partition("?")[0]
        if path in self.failures:
            return 500, self.failures[path]
        if path not in self._answers:
            return 404, '{"detail":"Not Found"}'
        found = self._answers[path](body)
        return 200, "" if found is None else json.dumps(found)

    def _reload(self, body: Any) -> dict[str, Any]:
        assert body["method"] == "reload_weights"
        folder = Path(body["kwargs"]["weights_path"])
        self.weights.append({name: value for path in folder.iterdir() for name, value in load_file(path).items()})
        return {"results": [None]}

    def _complete(self, body: Any) -> dict[str, Any]:
        logprobs = {"tokens": ["token_id:7"], "token_logprobs": [-1.0], "top_logprobs": [{"token_id:7": -1.0}]}
        choices = [{"token_ids": [7], "prompt_token_ids": ids, "logprobs": logprobs} for ids in body["prompt"]]
        return {"choices": choices}


@contextmanager
def serving(server: FakeServer) -> Iterator[FakeServer]:
    """The server on a free port of this machine; its `url` is set."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            server.posted.append(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            self._answer(json.loads(self.rfile.read(length) or b"null"))

        def _answer(self, body: Any) -> None:
            status, text = server.answer(self.path, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
