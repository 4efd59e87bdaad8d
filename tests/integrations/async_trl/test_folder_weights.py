"""Weights by way of a folder: whole when the server is told of them, gone afterwards, failures named."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from safetensors.torch import load_file

from crossdistill.errors import InputError, RolloutServerError
from crossdistill.integrations.async_trl import FolderWeights

URL = "http://student:8000"


def test_the_server_reads_all_weights_between_pause_and_resume(tmp_path: Path) -> None:
    seen: list[str] = []
    read: dict[str, torch.Tensor] = {}

    def server(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url).removeprefix(URL))
        if request.url.path == "/collective_rpc":
            body: dict[str, Any] = json.loads(request.content)
            assert body["method"] == "reload_weights"
            for path in Path(body["kwargs"]["weights_path"]).iterdir():
                read.update(load_file(path))
        return httpx.Response(200)

    weights = FolderWeights(URL, tmp_path, transport=httpx.MockTransport(server))
    sent = {"a": torch.arange(4.0), "b": torch.ones(2, 3)}
    weights.init_weight_transfer()
    weights.pause()
    weights.send_weights(iter(sent.items()))
    weights.resume()
    assert seen == ["/pause?mode=keep", "/collective_rpc", "/resume"]
    assert read.keys() == sent.keys()
    assert all(torch.equal(read[name], sent[name]) for name in sent)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            httpx.Response(500, text="no such file"),
            r"\(/collective_rpc\) failed with status 500 \(no such file\): see its log. It may hold half",
        ),
        (httpx.ConnectError("refused"), r"does not answer \(ConnectError\): see its log"),
    ],
)
def test_failures_are_named(tmp_path: Path, answer: Any, message: str) -> None:
    def server(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    weights = FolderWeights(URL, tmp_path, transport=httpx.MockTransport(server))
    with pytest.raises(RolloutServerError, match=message):
        weights.send_weights(iter([("a", torch.zeros(1))]))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("device", "is_tied", "message"),
    [
        ("cpu", True, "runs on a CPU, where vLLM packs the student's head apart"),
        ("cpu", False, None),
        ("cuda", True, None),
        (None, False, "takes no weights: start vLLM with VLLM_SERVER_DEV_MODE=1"),
    ],
)
def test_a_server_that_cannot_load_the_student_is_refused(
    tmp_path: Path, device: str | None, is_tied: bool, message: str | None
) -> None:
    def server(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == f"{URL}/server_info?config_format=json"
        return httpx.Response(200, json=config) if device else httpx.Response(404)

    config = {"vllm_config": {"device_config": {"device": device}}}
    weights = FolderWeights(URL, tmp_path / "new", transport=httpx.MockTransport(server))
    if message is None:
        weights.check_student(is_tied)
        return
    with pytest.raises(InputError, match=message):
        weights.check_student(is_tied)


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written to"):
        FolderWeights(URL, tmp_path / "file").check_student(is_tied=False)


def test_the_trainer_asks_before_it_samples(make, sampler, monkeypatch):
    asked = []
    monkeypatch.setattr(sampler, "check_student", asked.append, raising=False)
    student = make(transfer=sampler).model
    assert asked == [student.config.tie_word_embeddings]
