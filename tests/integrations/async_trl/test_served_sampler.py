"""The sampler of a server, without a network: a made-up vLLM answers."""

import json
from typing import Any

import httpx
import pytest
import torch

from crossdistill import InputError
from crossdistill.distill import Distiller
from crossdistill.errors import RolloutServerError
from crossdistill.integrations.async_trl import ServedSampler
from tests.integrations.async_trl.conftest import MAX_TOKENS, load
from tests.models import Pair

URL = "http://student:8000"


class Server:
    """A student behind vLLM's API: greedy, with its own log-probabilities."""

    def __init__(self, model: Any, tokenizer: Any, stops: tuple[int, ...]):
        self.model, self.tokenizer, self.stops = model, tokenizer, stops
        self.bodies: list[dict[str, Any]] = []
        self.change: Any = lambda path, answer: answer
        self.processed = True

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        body = json.loads(request.content) if request.content else {}
        if path == "/health":
            answer: Any = {}
        elif path == "/v1/models":
            answer = {"data": [{"id": "student"}]}
        elif path == "/tokenize":
            answer = {"tokens": self.tokenizer(body["prompt"], add_special_tokens=False)["input_ids"]}
        else:
            self.bodies.append(body)
            prompts = body["prompt"] if isinstance(body["prompt"][0], list) else [body["prompt"]]
            choices = [self.choice(index, ids, body) for index, ids in enumerate(prompts)]
            answer = {"choices": choices[::-1]}
        changed = self.change(path, answer)
        return changed if isinstance(changed, httpx.Response) else httpx.Response(200, json=changed)

    @torch.no_grad()
    def choice(self, index: int, prompt: list[int], body: dict[str, Any]) -> dict[str, Any]:
        ids, values = list(prompt), []
        while len(ids) < len(prompt) + body["max_tokens"] and (len(ids) == len(prompt) or ids[-1] not in self.stops):
            temperature = body["temperature"] if self.processed else 1.0
            logprobs = (self.model(torch.tensor([ids])).logits[0, -1] / temperature).log_softmax(-1)
            ids.append(int(logprobs.argmax()))
            values.append(float(logprobs.max()))
        if "prompt_logprobs" in body:
            given = self.model(torch.tensor([prompt])).logits[0].log_softmax(-1)
            rows = [{str(token): {"logprob": float(given[k, token])}} for k, token in enumerate(prompt[1:])]
            return {"index": index, "token_ids": ids[len(prompt) :], "prompt_logprobs": [None, *rows]}
        logprobs_of = {"token_logprobs": values, "top_logprobs": [{"a": value} for value in values]}
        return {"index": index, "token_ids": ids[len(prompt) :], "logprobs": logprobs_of}


@pytest.fixture
def server(pair: Pair, distiller: Distiller) -> Server:
    return Server(load(pair.student), distiller.renderer.tokenizer, distiller.stop_ids)


def sampler_of(server: Server, distiller: Distiller, **options: Any) -> ServedSampler:
    return ServedSampler(URL, distiller, MAX_TOKENS, transport=httpx.MockTransport(server), **options)


def test_it_returns_the_servers_tokens_and_log_probabilities_in_order(server, distiller):
    sampler = sampler_of(server, distiller)
    sampler.check()
    prompts = [distiller.renderer.render(text) for text in ("one", "seven hundred")]
    found = sampler.sample(prompts)
    for prompt, one in zip(prompts, found, strict=True):
        expected = server.choice(0, prompt, {"max_tokens": MAX_TOKENS, "temperature": 1.0})
        assert one.ids == expected["token_ids"]
        assert one.logprobs.tolist() == pytest.approx(expected["logprobs"]["token_logprobs"])
        assert one.stop_logprob is None


def test_it_leaves_nothing_to_the_defaults_of_the_server(server, distiller):
    sampler_of(server, distiller).sample([distiller.renderer.render("one")])
    (body,) = server.bodies
    assert body["stop_token_ids"] == list(distiller.stop_ids)
    neutral = {
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "temperature": 1.0,
        "model": "student",
    }
    assert neutral.items() <= body.items()


def answering(path: str, **fields: Any) -> Any:
    """The server's answers at a path with other fields."""
    return lambda asked, answer: {**answer, **fields} if asked == path else answer


def without(name: str) -> Any:
    def change(path: str, answer: Any) -> Any:
        for choice in answer.get("choices", []):
            choice.pop(name)
        return answer

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (answering("/tokenize", tokens=[1, 2]), "reads a text as other tokens than the student's tokenizer"),
        (answering("/v1/models", data=[]), "names no model at /v1/models"),
    ],
)
def test_a_server_that_cannot_do_its_part_is_named_before_it_samples(server, distiller, change, message):
    server.change = change
    with pytest.raises(InputError, match=message):
        sampler_of(server, distiller).check()


@pytest.mark.parametrize(
    ("missing", "message"),
    [("logprobs", "gives no log-probabilities of what it samples"), ("token_ids", "returns no token ids")],
)
def test_what_an_answer_lacks_is_named(server, distiller, missing, message):
    server.change = without(missing)
    with pytest.raises(InputError, match=message):
        sampler_of(server, distiller).sample([[5, 6]])


@pytest.mark.parametrize("processed", [True, False])
def test_log_probabilities_must_be_of_the_sampling_temperature(pair, teacher, distiller, server, processed):
    teacher.set_temperature(0.5)
    try:
        warm = Distiller(distiller.renderer.tokenizer, teacher, vocab_size=len(distiller.vocab), temperature=0.5)
    finally:
        teacher.set_temperature(1.0)
    server.processed = processed
    sampler = sampler_of(server, warm)
    if processed:
        sampler.check()
        return
    with pytest.raises(InputError, match="start it with --logprobs-mode processed_logprobs"):
        sampler.check()


def test_a_busy_server_is_asked_again(server, distiller):
    failures = [httpx.Response(503), httpx.ConnectError("refused")]

    def change(path: str, answer: Any) -> Any:
        if not failures:
            return answer
        failure = failures.pop()
        if isinstance(failure, Exception):
            raise failure
        return failure

    server.change = change
    assert len(sampler_of(server, distiller).sample([[5, 6]])) == 1


def test_a_dead_server_is_given_up(server, distiller):
    server.change = lambda path, answer: httpx.Response(503)
    message = r"that samples did not answer for 0\.3 s \(status 503\)"
    with pytest.raises(RolloutServerError, match=message):
        sampler_of(server, distiller, patience_s=0.3).sample([[5, 6]])


def test_a_refusal_is_not_repeated(server, distiller):
    calls = []
    server.change = lambda path, answer: calls.append(path) or httpx.Response(400, text="too long")
    with pytest.raises(RolloutServerError, match="refuses /v1/models with status 400: too long"):
        sampler_of(server, distiller).sample([[5, 6]])
    assert len(calls) == 1


def test_it_gives_the_log_probabilities_of_prompts(server, distiller, sampler):
    prompts = [distiller.renderer.render(text) for text in ("one", "seven hundred")]
    found = sampler_of(server, distiller).prompt_logprobs(prompts)
    for own, expected in zip(found, sampler.prompt_logprobs(prompts), strict=True):
        assert own == pytest.approx(expected, abs=1e-5)
    server.change = without("prompt_logprobs")
    assert sampler_of(server, distiller).prompt_logprobs(prompts) is None


@pytest.mark.parametrize("text", ["<html>welcome</html>", "[]"])
def test_an_answer_of_another_server_is_shown(server, distiller, text):
    server.change = lambda path, answer: httpx.Response(200, text=text)
    with pytest.raises(RolloutServerError, match="answers /v1/models with something else than vLLM's JSON"):
        sampler_of(server, distiller).sample([[5, 6]])


@pytest.mark.parametrize("answer", [None, httpx.Response(503), httpx.ConnectError("refused")])
def test_it_tells_whether_its_server_is_well(server, distiller, answer):
    def change(path: str, usual: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return usual if answer is None else answer

    server.change = change
    assert sampler_of(server, distiller).is_well() == (answer is None)


def test_a_second_run_finds_it_open(server, distiller):
    sampler = sampler_of(server, distiller)
    sampler.close()
    sampler.check()
    failures = [httpx.Response(503)]
    server.change = lambda path, answer: failures.pop() if failures else answer
    assert len(sampler.sample([[5, 6]])) == 1
