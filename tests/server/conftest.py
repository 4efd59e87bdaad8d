"""Real vLLM servers on the CPU, started by the tool that `make teacher` runs: a teacher, and one that samples."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from torch import nn
from transformers import AutoTokenizer

from crossdistill.demo.run import asset
from tests.models import Pair
from tests.train.harness import load

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models" / "smollm2-135m-instruct"
START_S = 1800.0  # a busy machine takes long; a server that ends is told at once


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + START_S
    while time.monotonic() < ends and process.poll() is None:
        try:
            if httpx.get(f"{url}/v1/models", timeout=5).is_success:
                return
        except httpx.TransportError:
            time.sleep(1)
    raise RuntimeError(f"vLLM did not start:\n{log.read_text()[-4000:]}")


@contextmanager
def serving(folder: Path | str, log: Path, *options: str, **environment: str) -> Iterator[str]:
    """Serve a model; the URL of the server."""
    port = free_port()
    with log.open("wb") as file:
        process = subprocess.Popen(
            [ROOT / "tools" / "serve_teacher.sh", str(folder), str(port), *options],
            cwd=ROOT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2", **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.fixture(scope="session")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server of SmolLM2-135M."""
    with serving(MODEL, tmp_path_factory.mktemp("vllm") / "log") as url:
        yield url


@pytest.fixture(scope="session")
def untied(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """The demo's models, with the student's head apart from its embeddings: a server on a CPU reloads no tied one."""
    folder = str(tmp_path_factory.mktemp("untied"))
    model = load(asset("student"))
    model.config.tie_word_embeddings = False
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(asset("student")).save_pretrained(folder)
    return Pair(folder, asset("teacher"))


@pytest.fixture(scope="session")
def sampler(untied: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that samples with the weights of that student."""
    options = ["--logprobs-mode", "processed_logprobs", "--max-model-len", "256"]
    log = tmp_path_factory.mktemp("sampler") / "log"
    with serving(untied.student, log, *options, VLLM_SERVER_DEV_MODE="1") as url:
        yield url
