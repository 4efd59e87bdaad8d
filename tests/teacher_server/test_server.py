"""The test server's answers: the form written by hand, the numbers from the model's own forward pass."""

import gzip
import http.client
import json
import math
import time
from typing import Any

import pytest
import torch

from tests.models import teacher_model, teacher_tokenizer
from tests.teacher_server import Scorer, Settings, TeacherServer, faults, scripts

TOKENIZER = teacher_tokenizer()
SCORER = Scorer(teacher_model(TOKENIZER), TOKENIZER)
IDS = TOKENIZER.encode("The quick brown fox 🤗", add_special_tokens=False)


def exchange(
    server: TeacherServer, method: str, path: str, body: Any = None, timeout: float = 5
) -> tuple[int, Any, bytes]:
    connection = http.client.HTTPConnection(*server.address, timeout=timeout)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def post(server: TeacherServer, body: dict[str, Any], path: str = "/v1/completions") -> tuple[int, Any]:
    status, _, raw = exchange(server, "POST", path, body)
    return status, json.loads(raw)


def expected() -> torch.Tensor:
    with torch.no_grad():
        return torch.log_softmax(SCORER.model(input_ids=torch.tensor([IDS])).logits[0], -1)


def test_vllm_prompt_logprobs():
    with TeacherServer(SCORER) as server:
        status, answer = post(server, {"model": "tiny", "prompt": IDS, "max_tokens": 1, "prompt_logprobs": 3})
    rows = answer["choices"][0]["prompt_logprobs"]
    assert status == 200
    assert rows[0] is None
    assert len(rows) == len(IDS)
    for j, row in enumerate(rows[1:]):
        chosen, log_probs = str(IDS[j + 1]), expected()[j]
        assert next(iter(row)) == chosen
        assert row[chosen]["logprob"] == pytest.approx(log_probs[IDS[j + 1]].item(), abs=1e-5)
        best = [int(token_id) for token_id, entry in row.items() if entry["rank"] <= 3]
        assert sorted(best) == sorted(log_probs.topk(3).indices.tolist())
        assert len(row) == 3 + (int(chosen) not in best)
        assert row[chosen]["decoded_token"] == TOKENIZER.decode([IDS[j + 1]])


def test_vllm_wanted_tokens_after_the_prompt():
    wanted = {"logprobs": 2, "logprob_token_ids": [5, 9], "return_tokens_as_token_ids": True}
    with TeacherServer(SCORER) as server:
        _, answer = post(server, {"prompt": IDS, "max_tokens": 1, **wanted})
    (row,) = answer["choices"][0]["logprobs"]["top_logprobs"]
    last = expected()[-1]
    assert {"token_id:5", "token_id:9", f"token_id:{int(last.argmax())}"} == set(row)
    assert row["token_id:9"] == pytest.approx(last[9].item(), abs=1e-5)
    assert answer["choices"][0]["prompt_logprobs"] is None


@pytest.mark.parametrize("max_tokens", [0, 1])
def test_the_plain_form(max_tokens):
    settings = Settings(vllm=False, byte_names=True)
    with TeacherServer(SCORER, settings) as server:
        _, answer = post(server, {"prompt": IDS, "echo": True, "logprobs": 2, "max_tokens": max_tokens})
        assert post(server, {"prompt": IDS, "prompt_logprobs": 1})[0] == 400
        assert post(server, {"prompt": "a"}, "/tokenize")[0] == 404
    logprobs = answer["choices"][0]["logprobs"]
    assert {len(part) for part in logprobs.values()} == {len(IDS) + max_tokens}
    assert logprobs["token_logprobs"][0] is logprobs["top_logprobs"][0] is None
    assert logprobs["token_logprobs"][1] == pytest.approx(expected()[0, IDS[1]].item(), abs=1e-5)
    assert "bytes:\\xf0" in logprobs["tokens"]
    offset = logprobs["text_offset"][3]
    assert answer["choices"][0]["text"][offset:].startswith(logprobs["tokens"][3])


def test_text_as_prompt_and_the_tokenizer():
    text = "The quick brown fox"
    with TeacherServer(SCORER, Settings(takes_ids=False)) as server:
        assert post(server, {"prompt": IDS})[0] == 400
        assert post(server, {"prompt": text, "prompt_logprobs": 0})[0] == 200
        _, answer = post(server, {"prompt": text, "add_special_tokens": False}, "/tokenize")
        ids = TOKENIZER.encode(text, add_special_tokens=False)
        assert answer["tokens"] == ids
        assert server.log.completions()[-1].ids == tuple(ids)


def test_refusals():
    with TeacherServer(SCORER, Settings(key="k", min_max_tokens=1)) as server:
        assert post(server, {"prompt": IDS}) == (401, {"error": "Unauthorized"})
        server.service.settings.key = None
        assert post(server, {"prompt": IDS, "model": "other"})[0] == 404
        assert post(server, {"prompt": IDS, "max_tokens": 0})[0] == 400
        assert post(server, {"prompt": IDS, "prompt_logprobs": 21})[0] == 400
        status, answer = post(server, {"prompt": [7] * 257})
        assert status == 400
        assert "maximum context length is 256 tokens" in answer["error"]["message"]
        models = json.loads(exchange(server, "GET", "/v1/models")[2])
        assert [(card["id"], card["max_model_len"]) for card in models["data"]] == [("tiny", 256)]


SCORING = {"prompt": IDS, "prompt_logprobs": 2}


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        (faults.reset(), ConnectionResetError),
        (faults.reset_in_body(), ConnectionResetError),
        (faults.short_body(), http.client.IncompleteRead),
        (faults.truncated(), json.JSONDecodeError),
        (faults.garbage(), json.JSONDecodeError),
        (faults.hang(), TimeoutError),
        (faults.trickle(0.05, 0.3), ConnectionResetError),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_faults_of_the_connection(fault, raised):
    with TeacherServer(SCORER, script=scripts.always(fault)) as server, pytest.raises(raised):
        json.loads(exchange(server, "POST", "/v1/completions", SCORING, timeout=0.5)[2])


def test_faults_of_the_answer():
    def rows_under(fault: Any) -> list[Any]:
        server.script = scripts.scoring(fault)
        return post(server, SCORING)[1]["choices"][0]["prompt_logprobs"]

    with TeacherServer(SCORER) as server:
        server.script = scripts.scoring(faults.delay(0))
        plain = post(server, SCORING)[1]["choices"][0]["prompt_logprobs"]
        assert rows_under(faults.missing_position()) == [*plain[:-2], plain[-1]]
        assert rows_under(faults.surplus_position()) == [*plain, plain[-1]]
        swapped = rows_under(faults.other_order())
        assert swapped != plain
        assert sorted(map(str, swapped)) == sorted(map(str, plain))
        assert list(rows_under(faults.strange_id(3))[-2]) == ["3"]
        value = rows_under(faults.logprob(float("nan")))[-2][str(IDS[-2])]["logprob"]
        assert math.isnan(value)
        assert rows_under(faults.logprob(2.0))[-2][str(IDS[-2])]["logprob"] == 2.0
        assert {len(row) for row in rows_under(faults.fewer_top(0))[1:]} == {1}
        assert rows_under(faults.shifted()) == [*plain[1:], None]
        assert rows_under(faults.null_logprob())[-1][str(IDS[-1])]["logprob"] is None
        server.script = scripts.scoring(faults.gzip_bomb(10_000))
        _, headers, raw = exchange(server, "POST", "/v1/completions", SCORING)
        assert headers["Content-Encoding"] == "gzip"
        assert len(raw) < 100
        assert len(gzip.decompress(raw)) == 10_000


def test_it_restarts_on_its_port():
    with TeacherServer(SCORER) as server:
        address = server.address
        server.down_for(0.2)
        with pytest.raises(ConnectionRefusedError):
            post(server, SCORING)
        time.sleep(0.3)
        assert post(server, SCORING)[0] == 200
        assert server.address == address


def test_scripts():
    with TeacherServer(SCORER) as server:
        server.script = scripts.in_order([faults.status(500), None, faults.busy("3")])
        statuses = [exchange(server, "POST", "/v1/completions", SCORING) for _ in range(4)]
        assert [status for status, _, _ in statuses] == [500, 200, 429, 200]
        assert statuses[2][1]["Retry-After"] == "3"
        server.script = scripts.first_tries([faults.status(503)], IDS[:3])
        others = {"prompt": [7, 8]}
        assert [post(server, body)[0] for body in (others, SCORING, others, SCORING)] == [200, 503, 200, 200]
        server.script = scripts.only([7], faults.status(502))
        assert [post(server, body)[0] for body in (others, SCORING, others)] == [502, 200, 502]
        assert server.log.most_concurrent() == 1
        assert [seen.status for seen in server.log.completions()][-3:] == [502, 200, 502]
