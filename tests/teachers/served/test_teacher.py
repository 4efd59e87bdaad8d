"""ServedTeacher against a model of which every probability is known."""

import asyncio
import concurrent.futures
import json
import logging
import multiprocessing
import re
import signal
import threading
import time

import httpx
import numpy as np
import pytest

from crossdistill.align import DropReason
from crossdistill.errors import InputError, TeacherChangedError, TeacherUnavailableError
from crossdistill.signal import Signal
from crossdistill.teachers import ServedOptions, ServedTeacher, TeacherRequest
from crossdistill.teachers.served import ScoreCache, scorer
from tests.models import teacher_tokenizer
from tests.teachers.served.mock_server import MockServer, RandomModel, refused

STOP = teacher_tokenizer().eos_token_id
PAD = teacher_tokenizer().pad_token_id


def server_of(dialect="vllm"):
    server = MockServer("completions" if dialect == "completions" else "vllm")
    server.has_next = dialect != "appended"
    return server


@pytest.fixture
def teacher_of(request):
    """Makes teachers, and closes them at the end."""
    made = []

    def make(server, patience_s=0.5, **arguments):
        options = ServedOptions(**({"patience_s": patience_s} | arguments.pop("options", {})))
        made.append(
            ServedTeacher("http://there", teacher_tokenizer(), options, transport=server.transport, **arguments)
        )
        server.seen.clear()
        return made[-1]

    yield make
    for teacher in made:
        teacher.close()


REQUESTS = [
    TeacherRequest([5, 6, 7], [20, 21, 22, 23], True),
    TeacherRequest([5, 6], [30, 31], False),
    TeacherRequest([5, 9, 8, 7], [], True),
    TeacherRequest([5], [], False),
    TeacherRequest(np.array([5, 6, 11]), np.array([40, 41, 42, 43, 44]), True),
]


def check(server, stops, request, score, top_k=0):
    """The score is what its definition says."""
    prompt, response = (tuple(int(token) for token in ids) for ids in (request.prompt_ids, request.response_ids))
    rows = [server.model.log_probs(prompt + response[:j]) for j in range(len(response) + 1)]
    chosen = [row[token] for row, token in zip(rows[:-1], response, strict=True)]
    np.testing.assert_allclose(score.logprobs, np.array(chosen), atol=1e-5)
    assert score.logprobs.dtype == np.float32
    if request.stopped:
        assert score.stop_logprob == pytest.approx(np.log(np.exp(rows[-1][list(stops)]).sum()), abs=1e-5)
    else:
        assert score.stop_logprob is None
    if top_k == 0:
        assert score.topk is None
        return
    order = np.argsort(-np.array(rows), axis=1)[:, :top_k]
    assert score.topk.ids.tolist() == order.tolist()
    np.testing.assert_allclose(score.topk.logprobs, np.take_along_axis(np.array(rows), order, 1), atol=1e-5)


@pytest.mark.parametrize("dialect", ["vllm", "completions", "appended"])
@pytest.mark.parametrize("stops", [(), (PAD,), (PAD, 9)])
@pytest.mark.parametrize("top_k", [0, pytest.param(1, marks=pytest.mark.slow), 7])
def test_scores_are_those_of_the_model(teacher_of, dialect, stops, top_k):
    server = server_of(dialect)
    teacher = teacher_of(server, declared_stops=stops)
    assert set(teacher.stop_ids) == {STOP, *stops}
    answers = teacher.score(REQUESTS, Signal.TOPK if top_k else Signal.SAMPLED, top_k)
    for request, answer in zip(REQUESTS, answers, strict=True):
        check(server, teacher.stop_ids, request, answer, top_k)


def test_attributes(teacher_of):
    server = server_of()
    teacher = teacher_of(server)
    assert teacher.is_remote
    assert (teacher.signal, teacher.max_top_k) == (Signal.TOPK, 20)
    assert teacher.score([]) == []
    assert server.seen == []
    server.most = 0
    assert (teacher_of(server).signal, teacher_of(server).max_top_k) == (Signal.SAMPLED, None)


def test_temperature(teacher_of):
    with pytest.raises(InputError, match=r"temperature 1, not 0\.7"):
        teacher_of(server_of(), temperature=0.7)


def test_its_temperature_is_fixed(teacher_of):
    teacher = teacher_of(server_of())
    teacher.set_temperature(1.0)
    with pytest.raises(InputError, match=r"temperature 1, not 0\.7: set temperature = 1, or use a local teacher"):
        teacher.set_temperature(0.7)


def test_usage_counts_what_passed(teacher_of):
    teacher = teacher_of(server_of())
    before = dict(teacher.usage())
    teacher.score(REQUESTS[:2])
    assert teacher.usage() == teacher.traffic.as_dict()
    assert teacher.usage()["requests"] > before["requests"] > 0


def test_identity_recognises_the_model(teacher_of):
    """As a checkpoint keeps it: JSON."""
    saved = json.loads(json.dumps(teacher_of(server_of()).identity()))
    assert set(saved) == {"ids", "logprobs"}
    assert len(saved["logprobs"]) == len(saved["ids"]) - 1
    assert teacher_of(server_of("completions")).difference(saved) is None
    difference = teacher_of(MockServer(seed=1)).difference(saved)
    assert re.fullmatch(r"its log-probabilities of a known text differ by [\d.]+ nats", difference)
    other = {**saved, "ids": [saved["ids"][0] + 1, *saved["ids"][1:]]}
    assert teacher_of(server_of()).difference(other) == "its tokenizer reads a known text otherwise"


def test_identity_of_a_server_with_a_shorter_context(teacher_of):
    long, short = server_of(), server_of()
    short.models = {"tiny": 40}
    saved = teacher_of(long).identity()
    teacher = teacher_of(short)
    assert len(teacher.identity()["ids"]) < len(saved["ids"])
    assert teacher.difference(saved) is None
    assert teacher_of(long).difference(teacher.identity()) is None


def test_equal_requests_are_asked_once_and_the_longest_first(teacher_of):
    server = server_of()
    teacher = teacher_of(server, options={"max_in_flight": 1})
    short, middle, long = ([5, 6], [20] * 2), ([5], [21] * 9), ([5, 7, 8, 9], [22] * 20)
    asked = [TeacherRequest(*pair, False) for pair in (short, long, middle, short, long)]
    answers = teacher.score(asked)
    scored = [ids for ids in server.scored if ids != teacher.capabilities.fingerprint_ids]
    assert scored == [(5, 7, 8, 9, *[22] * 20), (5, *[21] * 9), (5, 6, 20, 20)]
    for request, answer in zip(asked, answers, strict=True):
        check(server, teacher.stop_ids, request, answer)


def test_what_does_not_fit_is_not_sent(teacher_of):
    server = server_of()
    teacher = teacher_of(server)
    fits = TeacherRequest([5, 6], [20] * 197, False)  # and one token that vLLM generates
    too_long = TeacherRequest([5, 6], [20] * 198, False)
    stopped = TeacherRequest([5, 6], [20] * 197, True)  # and the stop token
    answers = teacher.score([fits, too_long, stopped, REQUESTS[0]])
    assert answers[1:3] == [DropReason.TEACHER_CONTEXT] * 2
    check(server, teacher.stop_ids, fits, answers[0])
    check(server, teacher.stop_ids, REQUESTS[0], answers[3])
    assert max(map(len, server.scored)) == 199


def poisoned(server, answer, token=23):
    """`answer(body)` in place of the scores of every sample with this token."""
    server.intercept = lambda path, body: answer(body) if token in body.get("prompt", ()) else None


def row_of(token, logprob):
    return {str(token): {"logprob": logprob, "rank": 1, "decoded_token": "x"}}


def with_value(value):
    """Whole answers whose log-probabilities are all this one."""

    def answer(body):
        rows = [None, *[row_of(token, value) for token in body["prompt"][1:]]]
        content = {"model": "tiny", "choices": [{"prompt_logprobs": rows}]}
        return httpx.Response(200, content=json.dumps(content).encode())

    return answer


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda body: refused("no such token"), DropReason.TEACHER_REFUSED),
        (lambda body: refused("This model's maximum context length is 3 tokens."), DropReason.TEACHER_CONTEXT),
        (lambda body: refused("cuda error", 500), DropReason.TEACHER_REFUSED),
        (lambda body: httpx.Response(200, json={"model": "tiny"}), DropReason.TEACHER_REFUSED),
        (lambda body: httpx.Response(200, text='{"choices": ['), DropReason.TEACHER_REFUSED),
        (lambda body: httpx.ReadError("reset"), DropReason.TEACHER_REFUSED),
        (with_value(float("nan")), DropReason.NON_FINITE),
        (with_value(float("inf")), DropReason.NON_FINITE),
        (with_value(-9999.0), DropReason.NON_FINITE),
        (with_value(0.5), DropReason.NON_FINITE),
    ],
)
def test_a_sample_that_the_server_cannot_score_is_dropped_with_one_warning(teacher_of, answer, reason, caplog):
    server = server_of()
    teacher = teacher_of(server, patience_s=3)
    poisoned(server, answer)
    asked = [*REQUESTS, TeacherRequest([5, 23], [24], False)]
    with caplog.at_level(logging.WARNING, "crossdistill"):
        answers = teacher.score(asked)
    assert [answers[0], answers[5]] == [reason] * 2
    for request, score in zip(REQUESTS[1:], answers[1:5], strict=True):
        check(server, teacher.stop_ids, request, score)
    assert len([record for record in caplog.records if reason in record.getMessage()]) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("patience_s", "tries"), [(0.3, 3), (0.9, 5), (20, 9)])
def test_a_sample_that_hangs_is_given_up_in_bounded_time(teacher_of, patience_s, tries):
    server = server_of()
    teacher = teacher_of(server, patience_s, options={"timeout_s": 0.2})
    asked = []

    class Hanging(httpx.AsyncByteStream):
        async def __aiter__(self):
            asked.append(1)
            await asyncio.sleep(0.3)
            yield b" "

    poisoned(server, lambda body: httpx.Response(200, stream=Hanging()))
    answers = teacher.score([REQUESTS[0], REQUESTS[1]])
    assert answers[0] == DropReason.TEACHER_REFUSED
    check(server, teacher.stop_ids, REQUESTS[1], answers[1])
    assert len(asked) == tries


@pytest.mark.slow
def test_a_sample_for_which_the_server_is_always_busy_is_given_up_with_its_patience(teacher_of):
    server = server_of()
    teacher = teacher_of(server, patience_s=0.5)
    poisoned(server, lambda body: refused("busy", 503))
    began = time.monotonic()
    answers = teacher.score([REQUESTS[0], REQUESTS[1]])
    assert answers[0] == DropReason.TEACHER_REFUSED
    assert 0.5 <= time.monotonic() - began < 1.0
    check(server, teacher.stop_ids, REQUESTS[1], answers[1])


def test_a_request_without_a_prompt_is_refused(teacher_of):
    with pytest.raises(ValueError, match="at least one token of a prompt"):
        teacher_of(server_of()).score([TeacherRequest([], [5], True)])


def test_failures_that_pass_lose_nothing(teacher_of):
    server = server_of()
    teacher = teacher_of(server, patience_s=5)
    rng = np.random.default_rng(0)
    faults = [
        lambda: httpx.ReadError("reset"),
        lambda: refused("out of order", 500),
        lambda: refused("too many", 429, {"Retry-After": "0"}),
        lambda: httpx.Response(200, text="{"),
        lambda: with_value(float("nan"))({"prompt": [1, 2]}),
    ]
    server.intercept = lambda path, body: faults[rng.integers(len(faults))]() if rng.random() < 0.3 else None
    asked = [TeacherRequest([5, 6], [20 + k, 21, 22], k % 2 == 0) for k in range(40)]
    for request, answer in zip(asked, teacher.score(asked), strict=True):
        check(server, teacher.stop_ids, request, answer)
    assert teacher.traffic.retries > 5


@pytest.mark.slow
def test_an_outage_that_is_too_long_ends_the_run(teacher_of):
    server = server_of()
    teacher = teacher_of(server)
    server.intercept = lambda path, body: httpx.ConnectError("refused")
    with pytest.raises(TeacherUnavailableError, match=r"http://there gave no usable answer for 0\.5 s"):
        teacher.score(REQUESTS)
    server.intercept = lambda path, body: None
    check(server, teacher.stop_ids, REQUESTS[0], teacher.score(REQUESTS)[0])


def test_a_server_that_refuses_everything_ends_the_run(teacher_of):
    server = server_of()
    teacher = teacher_of(server)
    server.intercept = lambda path, body: refused("key has expired", 401) if path != "/v1/models" else None
    with pytest.raises(TeacherUnavailableError, match=r"refuses what it accepted before .key has expired"):
        teacher.score(REQUESTS)


@pytest.mark.parametrize("change", ["weights", "name", "list"])
def test_another_model_between_two_calls(teacher_of, change):
    server = server_of()
    teacher = teacher_of(server)
    teacher.score(REQUESTS)
    if change == "weights":
        server.model = RandomModel(server.model.size, seed=9)
    elif change == "name":
        server.completion = lambda choice: httpx.Response(200, json={"model": "ot\x1bher", "choices": [choice]})
    else:
        server.models = {"other": 200}
        server.completion = lambda choice: refused("there is no 'tiny'", 404)
    messages = {"weights": "differ by", "name": r"'ot\\x1bher' answers in place of 'tiny'", "list": "serves other"}
    with pytest.raises(TeacherChangedError, match=messages[change]):
        teacher.score(REQUESTS)


def test_another_model_after_a_lost_connection_within_a_call(teacher_of):
    """Its scores of the samples look just as good: only the fingerprint differs."""
    server = server_of()
    teacher = teacher_of(server, patience_s=5)

    def swap(path, body):
        if 20 in body.get("prompt", ()) and server.model.seed == 0:
            server.model = RandomModel(server.model.size, seed=9)
            return httpx.ReadError("reset")
        return None

    server.intercept = swap
    with pytest.raises(TeacherChangedError, match="differ by"):
        teacher.score([REQUESTS[0]])


def test_another_model_within_a_call_and_no_connection_lost(teacher_of):
    """As behind a load balancer: none of its scores are returned or cached."""
    server, cache = server_of(), Memory()
    teacher = teacher_of(server, cache=cache)

    def swap(path, body):
        if 20 in body.get("prompt", ()):
            server.model = RandomModel(server.model.size, seed=9)

    server.intercept = swap
    with pytest.raises(TeacherChangedError, match="differ by"):
        teacher.score(REQUESTS)
    server = server_of()
    teacher = teacher_of(server, cache=cache)
    for request, answer in zip(REQUESTS, teacher.score(REQUESTS), strict=True):
        check(server, teacher.stop_ids, request, answer)
    assert len(server.scored) > 3


def test_the_same_model_after_a_lost_connection(teacher_of):
    server = server_of()
    teacher = teacher_of(server, patience_s=5)
    left = [httpx.ReadError("reset")]
    server.intercept = lambda path, body: left.pop(0) if left else None
    check(server, teacher.stop_ids, REQUESTS[0], teacher.score([REQUESTS[0]])[0])
    assert teacher.traffic.checks == 2  # before its answer counts, and at the end
    assert teacher.traffic.retries == 1


def test_a_server_that_is_always_too_busy_for_one_sample_is_waited_for(teacher_of):
    server = server_of()
    teacher = teacher_of(server, patience_s=2)
    left = [refused("busy", 429)] * 12
    poisoned(server, lambda body: left.pop() if left else None)
    check(server, teacher.stop_ids, REQUESTS[0], teacher.score(REQUESTS)[0])


@pytest.mark.parametrize("dialect", ["vllm", "appended"])
def test_a_second_run_finds_its_scores_in_the_cache(teacher_of, tmp_path, dialect):
    server = server_of(dialect)
    for run in range(2):
        teacher = teacher_of(server, cache=ScoreCache(tmp_path), declared_stops=[PAD])
        for top_k in (0, 3):
            answers = teacher.score(REQUESTS, Signal.TOPK if top_k else Signal.SAMPLED, top_k)
            for request, answer in zip(REQUESTS, answers, strict=True):
                check(server, teacher.stop_ids, request, answer, top_k)
        assert (server.seen == []) == (run == 1)
        assert (teacher.traffic.cache_hits > 10) == (run == 1)


def test_scores_of_another_model_of_the_same_name_are_not_found(teacher_of, tmp_path):
    for seed in (0, 1, 0, 1):
        server = MockServer(seed=seed)
        teacher = teacher_of(server, cache=ScoreCache(tmp_path))
        for request, answer in zip(REQUESTS, teacher.score(REQUESTS), strict=True):
            check(server, teacher.stop_ids, request, answer)
    assert server.seen == []


class Memory:
    """A cache in memory, from which rows can be deleted."""

    def __init__(self):
        self.rows = {}

    def key(self, teacher, ids, top_k):
        return repr((teacher, tuple(ids), top_k)).encode()

    def get(self, key):
        return self.rows.get(key)

    def put(self, key, value):
        self.rows[key] = value


@pytest.mark.parametrize("dialect", ["vllm", "appended", "completions"])
def test_the_prompts_rows_are_not_kept(teacher_of, dialect):
    cache = Memory()
    teacher = teacher_of(server_of(dialect), cache=cache, declared_stops=[PAD])
    num_before = len(cache.rows)
    teacher.score([TeacherRequest([*range(5, 45)], [20, 21, 22], True)], Signal.SAMPLED)
    kept = [*cache.rows.values()][num_before:]
    assert sorted(len(row.logprobs) for row in kept) == [1, 4]  # another stop token; the response and a stop token


def test_one_text_split_in_two_ways_is_scored_twice(teacher_of):
    server = server_of()
    teacher = teacher_of(server, cache=Memory())
    splits = [TeacherRequest([5, 6, 7, 8][:k], [5, 6, 7, 8][k:], True) for k in (1, 2, 3)]
    for _ in range(2):
        for request, answer in zip(splits, teacher.score(splits), strict=True):
            check(server, teacher.stop_ids, request, answer)


def test_rows_whose_fingerprint_was_dropped_are_not_found_by_another_model(teacher_of):
    cache = Memory()
    teacher_of(MockServer(seed=0), cache=cache).score(REQUESTS)
    del cache.rows[next(iter(cache.rows))]
    server = MockServer(seed=1)
    teacher = teacher_of(server, cache=cache)
    check(server, teacher.stop_ids, REQUESTS[0], teacher.score(REQUESTS)[0])


def test_what_was_scored_before_a_failure_is_kept(teacher_of, monkeypatch):
    """If the fingerprint was found the same afterwards."""
    monkeypatch.setattr(scorer, "_TRUSTED_S", 0)
    server, cache = server_of(), Memory()
    teacher = teacher_of(server, cache=cache, options={"max_in_flight": 1})
    server.intercept = lambda path, body: httpx.ConnectError("refused") if len(cache.rows) > 10 else None
    with pytest.raises(TeacherUnavailableError):
        teacher.score([TeacherRequest([5, 6], [20 + k, 21], True) for k in range(40)])
    assert 10 < len(cache.rows) < 16


def test_close_ends_the_thread_and_a_later_call_begins_another(teacher_of):
    def threads():
        return [thread for thread in threading.enumerate() if thread.name == "crossdistill-requests"]

    before = len(threads())
    server = server_of()
    teacher = teacher_of(server)
    teacher.score(REQUESTS)
    assert len(threads()) == before + 1
    teacher.close()
    teacher.close()
    assert len(threads()) == before
    check(server, teacher.stop_ids, REQUESTS[0], teacher.score(REQUESTS)[0])
    del teacher


def test_a_server_that_is_refused_leaves_no_thread():
    server = server_of()
    server.intercept = lambda path, body: refused("no", 401)
    before = threading.active_count()
    with pytest.raises(InputError):
        ServedTeacher("http://there", teacher_tokenizer(), transport=server.transport)
    assert threading.active_count() == before


def score_there(teacher, queue):
    queue.put(teacher.score(REQUESTS)[0].logprobs.tolist())


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_process_opens_its_own_connection(teacher_of):
    server = server_of()
    teacher = teacher_of(server)
    here = teacher.score(REQUESTS)[0].logprobs.tolist()
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=score_there, args=(teacher, queue))
    process.start()
    process.join(20)
    assert process.exitcode == 0
    assert queue.get() == here
    assert teacher.score(REQUESTS)[0].logprobs.tolist() == here


@pytest.mark.usefixtures("hears_ctrl_c")
def test_an_interrupted_wait_leaves_nothing_behind(teacher_of):
    """Ctrl-C while a server hangs: what was sent is given up, and the teacher can be used again."""
    server = server_of()
    teacher = teacher_of(server)
    given_up = threading.Event()

    class Hanging(httpx.AsyncByteStream):
        async def __aiter__(self):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            try:
                await asyncio.sleep(60)
            finally:
                given_up.set()
            yield b""

    poisoned(server, lambda body: httpx.Response(200, stream=Hanging()))
    with pytest.raises(KeyboardInterrupt):
        teacher.score([REQUESTS[0]])
    assert given_up.wait(10)
    server.intercept = lambda path, body: None
    check(server, teacher.stop_ids, REQUESTS[0], teacher.score([REQUESTS[0]])[0])


@pytest.mark.slow
def test_patience_begins_anew_with_a_later_call(teacher_of):
    server = server_of()
    teacher = teacher_of(server)
    server.intercept = lambda path, body: httpx.ConnectError("refused")
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(TeacherUnavailableError):
            teacher.score(REQUESTS)
        assert time.monotonic() - began >= 0.5


def test_close_gives_up_what_still_runs(teacher_of):
    server = server_of()
    teacher = teacher_of(server)
    began = threading.Event()

    class Hanging(httpx.AsyncByteStream):
        async def __aiter__(self):
            began.set()
            await asyncio.sleep(60)
            yield b""

    poisoned(server, lambda body: httpx.Response(200, stream=Hanging()))
    ended = []

    def score():
        try:
            teacher.score([REQUESTS[0]])
        except concurrent.futures.CancelledError as error:
            ended.append(error)

    thread = threading.Thread(target=score)
    thread.start()
    assert began.wait(10)
    teacher.close()
    thread.join(10)
    assert len(ended) == 1


def test_a_token_that_the_tokenizer_does_not_know_may_be_among_the_most_probable(teacher_of):
    """The model's vocabulary is padded beyond the tokenizer's by ids that the server does not mention."""
    server = server_of()
    server.model = RandomModel(server.model.size + 300)
    teacher = teacher_of(server)
    answer = teacher.score([REQUESTS[0]], Signal.TOPK, 20)[0]
    check(server, teacher.stop_ids, REQUESTS[0], answer, 20)
    assert answer.topk.ids.max() >= len(teacher_tokenizer())
    assert answer.topk.ids.max() < len(teacher.vocab)


def test_next_token_scores_are_not_confused_with_prompt_scores(teacher_of):
    """With several stop tokens, the cache has two rows for the same ids."""
    server = server_of()
    teacher = teacher_of(server, cache=Memory(), declared_stops=[PAD, 9])
    asked = [TeacherRequest([5, 6, 7], [20, 21, 22], stopped) for stopped in (True, False, True)]
    for request in asked:
        check(server, teacher.stop_ids, request, teacher.score([request])[0])
