"""Responses of a server: the same as the model's own, and none lost or asked twice when the server fails."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from crossdistill.errors import InputError, ServerError
from crossdistill.eval.generation import LocalGenerator, Wanted, Written
from crossdistill.eval.generation.served import ServedGenerator
from crossdistill.eval.problem import Problem
from crossdistill.eval.sampling import Sampling
from crossdistill.teachers.served.options import ServedOptions
from tests.models import MESSAGES, student_model, student_tokenizer
from tests.teacher_server import Fault, Scorer, Seen, Settings, TeacherServer, faults
from tests.teacher_server.log import CHAT

QUICK = ServedOptions(timeout_s=5.0, patience_s=2.0, max_in_flight=4)
PROBLEMS = [Problem(f"p{k}", message, None) for k, message in enumerate(MESSAGES)]
WANTED = [Wanted(problem, 0) for problem in PROBLEMS]
GREEDY = Sampling(max_tokens=16)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    tokenizer = student_tokenizer()
    return Scorer(student_model(tokenizer), tokenizer)


@pytest.fixture
def server(scorer: Scorer) -> Iterator[TeacherServer]:
    with TeacherServer(scorer) as running:
        yield running


@contextmanager
def asking(server: TeacherServer, options: ServedOptions = QUICK) -> Iterator[ServedGenerator]:
    with ServedGenerator(server.url, options) as generator:
        yield generator


def chats(server: TeacherServer) -> list[Seen]:
    return [seen for seen in server.log.requests if seen.path == CHAT]


def by_problem(written: list[Written]) -> dict[str, tuple]:
    return {one.wanted.problem.id: (one.response, one.finish_reason, one.tokens, one.prompt_tokens) for one in written}


def of_chat(fault: Fault, holds: Callable[[Seen], bool] = lambda seen: True) -> Callable[[Seen], Fault | None]:
    return lambda seen: fault if seen.path == CHAT and holds(seen) else None


def test_a_server_says_what_the_model_says(server, scorer):
    with asking(server) as generator:
        found = by_problem(list(generator.write(WANTED, GREEDY)))
    local = LocalGenerator(scorer.model, scorer.tokenizer)
    assert found == by_problem(list(local.write(WANTED, GREEDY)))
    assert {reason for _, reason, *_ in found.values()} == {"stop", "length"}


def test_what_is_asked(server):
    sampling = Sampling(k=2, temperature=0.7, top_p=0.9, max_tokens=5, seed=3, system="Be brief.")
    wanted = [Wanted(PROBLEMS[0], index) for index in (0, 1)]
    with asking(server) as generator:
        list(generator.write(wanted, sampling))
        list(generator.write(wanted, sampling))
    bodies = [seen.body for seen in chats(server)]
    assert {(body["temperature"], body["top_p"], body["max_tokens"], body["model"]) for body in bodies} == {
        (0.7, 0.9, 5, "tiny")
    }
    assert all(body["messages"] == [{"role": "system", "content": "Be brief."}, *MESSAGES[0]] for body in bodies)
    assert all("chat_template_kwargs" not in body for body in bodies)
    seeds = [body["seed"] for body in bodies]
    assert len(set(seeds)) == 2  # a sample's own, the same each time it is asked
    assert sorted(seeds[:2]) == sorted(seeds[2:])


def test_keyword_arguments_of_the_template_go_along(server):
    with asking(server) as generator:
        list(generator.write(WANTED[:1], Sampling(max_tokens=2, template_kwargs={"enable_thinking": False})))
    assert chats(server)[0].body["chat_template_kwargs"] == {"enable_thinking": False}


def test_many_requests_at_once(server):
    with asking(server) as generator:
        list(generator.write(WANTED, GREEDY))
    assert max(seen.concurrent for seen in chats(server)) == QUICK.max_in_flight


def test_a_key_is_sent(scorer, monkeypatch):
    with TeacherServer(scorer, Settings(key="sk-1")) as server:
        with pytest.raises(InputError, match=r"lists no models: Unauthorized \(status 401\)"):
            ServedGenerator(server.url, QUICK)
        monkeypatch.setenv("CROSSDISTILL_TEACHER_KEY", "sk-1")
        with asking(server) as generator:
            assert len(list(generator.write(WANTED[:2], GREEDY))) == 2


@pytest.mark.parametrize("fault", [faults.status(500), faults.reset(), faults.truncated(), faults.busy("0")])
def test_a_failure_that_passes(server, fault):
    failed, lock = set(), threading.Lock()

    def once(seen: Seen) -> Fault | None:
        with lock:
            if seen.path != CHAT or seen.raw in failed:
                return None
            failed.add(seen.raw)
            return fault

    server.script = once
    with asking(server) as generator:
        assert len(list(generator.write(WANTED, GREEDY))) == len(WANTED)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (faults.status(400, "the prompt is too long"), r"the prompt is too long \(status 400\)"),
        (faults.other_shape({"choices": []}), "the answer has no choices.0"),
        (faults.without_choice_key("message"), "the answer has no choices.0.message"),
    ],
)
def test_a_sample_at_fault_does_not_end_the_others(server, fault, reason):
    server.script = of_chat(fault, lambda seen: "fox" in seen.raw.decode())
    with asking(server) as generator:
        found = []
        with pytest.raises(ServerError, match=rf"answered 7 of 8 samples; of the others it says: {reason}"):
            found.extend(generator.write(WANTED, GREEDY))  # keeps what comes before the error
    assert len(found) == 7


def test_a_server_that_dies(server):
    with asking(server) as generator:
        found = []
        writing = generator.write(WANTED, GREEDY)
        found.append(next(writing))
        server.script = of_chat(faults.reset())
        server.stop()
        with pytest.raises(ServerError, match=r"the model at http://127.0.0.1:\d+ gave no usable answer for 2 s"):
            found.extend(writing)
    assert 1 <= len(found) < len(WANTED)


def test_a_caller_that_wants_no_more(server):
    server.script = of_chat(faults.delay(0.3))
    with asking(server) as generator:
        writing = generator.write(WANTED * 5, GREEDY)
        next(writing)
        writing.close()
        num_asked = len(chats(server))
        assert num_asked < len(WANTED * 5)
        assert len(list(generator.write(WANTED[:1], GREEDY))) == 1  # it can be asked again


def test_the_model_must_be_there(server):
    with pytest.raises(InputError, match=r"does not serve 'other': name one of tiny with --server model=NAME"):
        ServedGenerator(server.url, QUICK.model_copy(update={"model": "other"}))
    with pytest.raises(InputError, match="model URL 'ftp://there' is not an HTTP"):
        ServedGenerator("ftp://there", QUICK)


def test_an_empty_answer(server):
    def empty(answer):
        choice = answer["choices"][0]
        return {**answer, "choices": [{**choice, "message": {"role": "assistant", "content": None}}]}

    server.script = of_chat(Fault("empty", answer=empty))
    with asking(server) as generator:
        assert {one.response for one in generator.write(WANTED, GREEDY)} == {""}
