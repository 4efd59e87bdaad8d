"""A failing server: every fault over HTTP, once, for one sample, and for good."""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from crossdistill import InputError
from crossdistill.align import DropReason
from crossdistill.errors import TeacherChangedError, TeacherUnavailableError
from crossdistill.signal import Signal
from crossdistill.teachers import TeacherRequest
from crossdistill.teachers.served import ServedTeacher
from crossdistill.teachers.served.http.connection import Connection
from crossdistill.teachers.served.http.errors import Transient
from tests.models import teacher_model
from tests.teacher_server import Scorer, TeacherServer, faults, scripts
from tests.teacher_server.cases import KINDS, local_of, samples, scorer_of, tokenizer_of
from tests.teacher_server.serving import HASTY, QUICK, TOKENS, Shared, assert_scored, of_samples, serving, whole
from tests.train.harness import make_trainer


@pytest.fixture(scope="module")
def shared() -> Iterator[Shared]:
    made = Shared()
    yield made
    made.close()


# ---- faults that pass


PASSING = [
    faults.delay(0.2),
    faults.reset(),
    faults.reset_in_body(),
    faults.short_body(),
    faults.hang(),
    faults.trickle(0.05, 60.0),
    faults.busy(),
    faults.busy("0"),
    faults.busy("nonsense"),
    faults.status(408),
    faults.status(500),
    faults.status(502, "<html>Bad Gateway</html>"),
    faults.status(503),
    faults.status(504),
    faults.truncated(),
    faults.garbage(),
    faults.garbage(b""),
    faults.garbage(b"\xff\xfe\x00"),
    faults.garbage(b"[" * 100_000),
    faults.other_shape([]),
    faults.other_shape(None),
    faults.other_shape({}),
    faults.other_shape({"model": "tiny", "choices": []}),
    faults.other_shape({"model": "tiny", "choices": {"0": {}}}),
    faults.other_shape({"model": "tiny", "choices": [{"prompt_logprobs": "none", "logprobs": 3}]}),
    faults.other_shape({"model": "tiny", "choices": [None]}),
    faults.without_choice_key("prompt_logprobs"),
    faults.missing_position(),
    faults.missing_position(0),
    faults.surplus_position(),
    faults.other_order(),
    faults.shifted(),
    faults.strange_id(3),
    faults.strange_id(10**9),
    faults.logprob(float("nan")),
    faults.logprob(float("inf")),
    faults.logprob(0.5),
    faults.null_logprob(),
    faults.gzip_bomb(200 * 2**20),
]


def cases(listed: Sequence[tuple[object, ...]]) -> list[object]:
    """Parameters whose first is a fault, by number and name.

    The slow tier has the faults that cost a time-out (except "hang") or megabytes, and all but the first of a kind.
    """
    made, seen = [], {"trickle", "gzip_bomb", "oversized"}
    for number, (fault, *more) in enumerate(listed):
        marks = [pytest.mark.slow] * (fault.name in seen)
        made.append(pytest.param(fault, *more, id=f"{number}-{fault.name}", marks=marks))
        seen.add(fault.name)
    return made


@pytest.mark.parametrize("fault", cases([(fault,) for fault in PASSING]))
def test_what_happens_once_is_asked_again(shared, fault):
    """The first try of every request meets the fault."""
    options = QUICK.model_copy(update={"timeout_s": 0.5}) if fault.name in {"hang", "trickle"} else QUICK
    asked = samples(TOKENS)
    teacher, server = shared(options)
    server.script = scripts.first_tries([fault])
    assert_scored(teacher.score(asked), asked)
    met = sum(seen.fault is not None for seen in server.log.scored())
    assert met >= len(asked) - 1  # two are the same
    if fault.name != "delay":
        assert teacher.traffic.retries >= met


@pytest.mark.parametrize(
    "fault",
    [faults.without_choice_key("logprobs"), faults.missing_position(), faults.strange_id(3), faults.null_logprob(),
     faults.other_order(), faults.logprob(float("nan")), faults.surplus_position()],
    ids=lambda fault: fault.name,
)  # fmt: skip
@pytest.mark.parametrize("kind", ["plain", pytest.param("plain, text alone", marks=pytest.mark.slow)])
def test_the_plain_form_is_asked_again_too(shared, kind, fault):
    asked = samples(TOKENS)
    teacher, server = shared(kind=kind)
    server.script = scripts.first_tries([fault])
    assert_scored(teacher.score(asked), asked)
    assert teacher.traffic.retries >= len(asked) - 1


@pytest.mark.parametrize("kind", ["vllm", "plain"])
def test_too_few_tokens_a_position_are_asked_again(shared, kind):
    asked = samples(TOKENS)
    teacher, server = shared(kind=kind)
    server.script = scripts.first_tries([faults.fewer_top(2)])
    ours, theirs = teacher.score(asked, Signal.TOPK, 5), local_of(TOKENS).score(asked, Signal.TOPK, 5)
    for one, other in zip(ours, theirs, strict=True):
        assert one.topk.ids.tolist() == other.topk.ids.tolist()
    assert teacher.traffic.retries >= len(asked) - 1


def test_several_faults_in_turn(shared):
    asked = samples(TOKENS)
    teacher, server = shared()
    server.script = scripts.first_tries([faults.reset(), faults.busy("0"), faults.status(503)])
    assert_scored(teacher.score(asked), asked)
    assert teacher.traffic.retries >= 3 * (len(asked) - 1)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [faults.busy("1"), faults.busy_until(1.0)], ids=lambda fault: fault.name)
def test_retry_after_is_obeyed(shared, fault):
    asked = samples(TOKENS)[:1]
    teacher, server = shared()
    server.script = scripts.in_order([fault])
    assert_scored(teacher.score(asked), asked)
    first, second = server.log.scored()[:2]
    assert second.ids == first.ids
    assert 0.9 < second.arrived - first.arrived < 4


@pytest.mark.slow
def test_no_wait_is_longer_than_patience(shared):
    """The server asks for an hour: it is asked once more when patience ends, and then the run does."""
    teacher, server = shared(HASTY)
    server.script = scripts.always(faults.busy("3600"))
    began = time.monotonic()
    with pytest.raises(TeacherUnavailableError, match="too many requests"):
        teacher.score(samples(TOKENS)[:2])
    assert time.monotonic() - began < 5
    assert len(server.log.scored()) <= 6


@pytest.mark.slow
def test_a_server_that_comes_back_is_waited_for():
    asked = samples(TOKENS)
    with serving() as (teacher, server):
        server.down_for(0.6)
        began = time.monotonic()
        assert_scored(teacher.score(asked), asked)
        assert time.monotonic() - began > 0.6
        assert teacher.traffic.retries > 0
        assert teacher.traffic.waited_s > 0


def test_a_server_that_goes_in_the_middle_of_a_batch_loses_nothing():
    asked = samples(TOKENS) * 3
    with serving(QUICK.model_copy(update={"max_in_flight": 4})) as (teacher, server):
        server.script = scripts.scoring(faults.delay(0.1))
        timer = threading.Timer(0.15, server.down_for, (0.4,))
        timer.start()
        assert_scored(teacher.score(asked), asked)
        timer.join()
        assert teacher.traffic.retries > 0
        assert teacher.traffic.checks > 0  # the model that answers now is the one that answered before


@pytest.mark.slow
def test_patience_is_of_an_outage_and_not_of_the_run():
    """Three outages of 0.5 s each under a patience of 1 s, with an answer in between."""
    asked = samples(TOKENS)[:2]
    with serving(HASTY) as (teacher, server):
        for _ in range(3):
            server.down_for(0.5)
            assert_scored(teacher.score(asked), asked)


@pytest.mark.slow
def test_time_outs_leave_no_connection_behind():
    """A pool of abandoned connections would be full in the end, and nothing would be sent any more."""
    options = QUICK.model_copy(update={"timeout_s": 0.03, "max_in_flight": 4})
    late = [faults.delay(0.03 * k / 8) for k in range(4, 12)]

    async def survived(url: str) -> tuple[int, int]:
        """Failures of many requests, and successes of a few after them."""
        connection = Connection(url, options)
        tried = await asyncio.gather(*(connection.exchange("/late") for _ in range(300)), return_exceptions=True)
        after = [await asyncio.gather(connection.exchange("/v1/models"), return_exceptions=True) for _ in range(20)]
        await connection.close()
        return sum(isinstance(one, Transient) for one in tried), sum(isinstance(one, dict) for (one,) in after)

    with TeacherServer(scorer_of(TOKENS), script=scripts.by_turns("/late", late)) as server:
        failures, successes = asyncio.run(survived(server.url))
        assert failures > 50
        assert successes > 0


# ---- faults of one sample


DROPPED = [
    (faults.too_long(), DropReason.TEACHER_CONTEXT),
    (faults.status(413, "request entity too large"), DropReason.TEACHER_CONTEXT),
    (faults.status(400, "token id 3 is not allowed here"), DropReason.TEACHER_REFUSED),
    (faults.status(422, "unprocessable"), DropReason.TEACHER_REFUSED),
    (faults.oversized(2 * 2**20), DropReason.TEACHER_REFUSED),
    (faults.gzip_bomb(200 * 2**20), DropReason.TEACHER_REFUSED),
    (faults.truncated(), DropReason.TEACHER_REFUSED),
    (faults.missing_position(), DropReason.TEACHER_REFUSED),
    (faults.other_order(), DropReason.TEACHER_REFUSED),
    (faults.strange_id(3), DropReason.TEACHER_REFUSED),
    (faults.status(500, "assertion failed"), DropReason.TEACHER_REFUSED),
    (faults.reset(), DropReason.TEACHER_REFUSED),
    (faults.logprob(float("nan")), DropReason.NON_FINITE),
    (faults.logprob(float("inf")), DropReason.NON_FINITE),
    (faults.logprob(float("-inf")), DropReason.NON_FINITE),
    (faults.logprob(0.5), DropReason.NON_FINITE),
]


@pytest.mark.parametrize(("fault", "reason"), cases(DROPPED))
def test_a_sample_that_cannot_be_scored_is_dropped_alone(shared, fault, reason):
    """The others have the local teacher's scores, and none has zeros."""
    asked = samples(TOKENS)[:6]
    poisoned = 3
    teacher, server = shared()
    server.script = scripts.only(whole(asked[poisoned]), fault)
    answers = teacher.score(asked)
    assert answers[poisoned] is reason
    assert_scored([a for k, a in enumerate(answers) if k != poisoned], asked[:poisoned] + asked[poisoned + 1 :])
    tries = [seen for seen in server.log.scored() if scripts.begins(seen, whole(asked[poisoned]))]
    assert 1 <= len(tries) <= 20


def test_a_refusal_is_not_asked_again(shared):
    asked = samples(TOKENS)[:2]
    teacher, server = shared()
    server.script = scripts.only(whole(asked[1]), faults.too_long())
    teacher.score(asked)
    assert sum(scripts.begins(seen, whole(asked[1])) for seen in server.log.scored()) == 1
    assert teacher.traffic.retries == 0


def test_a_sample_beyond_the_known_context_is_not_sent(shared):
    asked = samples(TOKENS)[:2]
    long = TeacherRequest(asked[0].prompt_ids, [7] * 300, stopped=True)
    teacher, server = shared()
    answers = teacher.score([long, *asked])
    assert answers[0] is DropReason.TEACHER_CONTEXT
    assert_scored(answers[1:], asked)
    assert all(len(seen.ids) < 256 for seen in server.log.completions())


@pytest.mark.parametrize("kind", ["vllm", "plain"])
@pytest.mark.parametrize("room", [-1, 0, 1, 2, 3, 4])
def test_at_the_edge_of_the_context_a_sample_is_scored_or_dropped_and_ends_no_run(shared, kind, room):
    """room: tokens left in the context of 256."""
    prompt = samples(TOKENS)[0].prompt_ids
    edge = TeacherRequest(prompt, [40] * (256 - len(prompt) - room), stopped=True)
    teacher, _ = shared(kind=kind)
    (answer,) = teacher.score([edge])
    if room >= 3:
        assert_scored([answer], [edge])
    if answer is not DropReason.TEACHER_CONTEXT:
        assert_scored([answer], [edge])


def test_dropped_samples_are_counted_and_the_rest_is_taught(pair, output):
    """In a run: one prompt of four is refused at every step."""
    tokenizer = tokenizer_of("sentencepiece")
    with TeacherServer(scorer_of()) as server:
        teacher = ServedTeacher(server.url, tokenizer, QUICK)
        poisoned = samples()[0].prompt_ids
        server.script = scripts.only(poisoned, faults.logprob(float("nan"), -1))
        trainer = make_trainer(pair, output, teacher=teacher, max_steps=2, per_device_train_batch_size=8)
        trainer.train()
        teacher.close()
    reasons = [item.dropped for batch in trainer.rollouts for item in batch]
    assert reasons.count(DropReason.NON_FINITE) == 2
    assert reasons.count(None) == len(reasons) - 2
    for item in (item for batch in trainer.rollouts for item in batch if item.dropped is not None):
        assert not item.mask.any()
    dropped = trainer.total_usage().coverage.dropped[DropReason.NON_FINITE]
    assert dropped.bytes > 0
    assert all(step["grad_norm"] > 0 for step in trainer.steps)


# ---- faults that end a run


FOR_GOOD = [
    faults.reset(),
    *(
        pytest.param(fault, marks=pytest.mark.slow)
        for fault in (
            faults.hang(),
            faults.trickle(0.05, 60.0),
            faults.trickling_headers(0.05, 60.0),
            faults.status(500, "no GPU"),
            faults.busy(),
            faults.garbage(),
            faults.missing_position(),
        )
    ),
]


@pytest.mark.parametrize("fault", FOR_GOOD, ids=lambda fault: fault.name)
def test_a_server_that_fails_for_good_ends_the_run_in_bounded_time(shared, fault):
    teacher, server = shared(HASTY)
    server.script = scripts.always(fault)
    began = time.monotonic()
    with pytest.raises(TeacherUnavailableError, match="resume"):
        teacher.score(samples(TOKENS)[:4])
    assert 0.9 < time.monotonic() - began < 6


@pytest.mark.slow
def test_a_server_that_is_gone_ends_the_run_in_bounded_time():
    with serving(HASTY) as (teacher, server):
        server.stop()
        began = time.monotonic()
        with pytest.raises(TeacherUnavailableError, match=r"127\.0\.0\.1"):
            teacher.score(samples(TOKENS))
        assert 0.5 < time.monotonic() - began < 4
        server.start()
        assert_scored(teacher.score(samples(TOKENS)), samples(TOKENS))  # the same teacher works again


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_server_that_refuses_all_requests_ends_the_run(shared, status):
    """No sample is dropped for a failure that is not its fault."""
    teacher, server = shared(HASTY)
    server.script = scripts.always(faults.status(status, "no longer"))
    with pytest.raises((TeacherUnavailableError, TeacherChangedError), match="no longer"):
        teacher.score(samples(TOKENS)[:3])


def test_another_model_in_the_answer_ends_the_run():
    with serving() as (teacher, server):
        server.script = scripts.scoring(faults.other_model("another"))
        with pytest.raises(TeacherChangedError, match=r"'another' answers in place of 'tiny'"):
            teacher.score(samples(TOKENS))


def test_other_weights_after_a_restart_end_the_run():
    with serving() as (teacher, server):
        teacher.score(samples(TOKENS)[:1])
        server.stop()
        server.service.scorer = Scorer(teacher_model(tokenizer_of(TOKENS), seed=9), tokenizer_of(TOKENS))
        server.start()
        with pytest.raises(TeacherChangedError, match="is not the one that the run began with"):
            teacher.score(samples(TOKENS)[1:5])


def test_the_same_weights_after_a_restart_do_not():
    with serving() as (teacher, server):
        teacher.score(samples(TOKENS)[:1])
        server.stop()
        server.start()
        assert_scored(teacher.score(samples(TOKENS)), samples(TOKENS))


def test_another_name_after_a_restart_ends_the_run():
    with serving() as (teacher, server):
        server.stop()
        server.service.settings = replace(server.service.settings, name="other")
        server.start()
        with pytest.raises(TeacherChangedError, match="other"):
            teacher.score(samples(TOKENS)[:2])


# ---- the probe


@pytest.mark.parametrize("kind", ["vllm", "plain", "plain, text alone"])
def test_a_server_with_another_tokenizer_is_refused_at_the_start(kind):
    with (
        TeacherServer(scorer_of("sentencepiece"), replace(KINDS[kind])) as server,
        pytest.raises(InputError, match=r"token \d+ is|tokens? \d+"),
    ):
        ServedTeacher(server.url, tokenizer_of("byte_level"), HASTY)


@pytest.mark.parametrize(
    "fault",
    [faults.missing_position(), faults.other_order(), faults.shifted(), faults.logprob(0.5), faults.garbage(),
     faults.logprob(float("nan")), faults.other_shape({}), faults.strange_id(3), faults.status(500)],
    ids=lambda fault: fault.name,
)  # fmt: skip
def test_a_server_that_cannot_score_is_refused_at_the_start(fault):
    with (
        TeacherServer(scorer_of(TOKENS), script=scripts.scoring(fault)) as server,
        pytest.raises((InputError, TeacherUnavailableError)),
    ):
        ServedTeacher(server.url, tokenizer_of(TOKENS), HASTY)


@pytest.mark.slow
def test_a_server_that_is_not_there_is_reported_at_the_start():
    began = time.monotonic()
    with pytest.raises((InputError, TeacherUnavailableError), match=r"127\.0\.0\.1:9"):
        ServedTeacher("http://127.0.0.1:9", tokenizer_of(TOKENS), HASTY)
    assert time.monotonic() - began < 5


@pytest.mark.slow
def test_a_server_that_is_still_starting_is_waited_for():
    server = TeacherServer(scorer_of(TOKENS))
    with server:
        server.down_for(0.5)
        options = QUICK.model_copy(update={"wait_for_start": True})
        teacher = ServedTeacher(server.url, tokenizer_of(TOKENS), options)
        assert_scored(teacher.score(samples(TOKENS)[:2]), samples(TOKENS)[:2])
        teacher.close()


# ---- requests


def lengths_of_samples(server, teacher):
    known = teacher.capabilities.fingerprint_ids
    return [len(seen.ids) for seen in server.log.scored() if tuple(seen.ids) != known]


def test_no_more_is_in_flight_than_allowed_and_long_ones_go_first():
    asked = [TeacherRequest([40, 41, 42], list(range(40, 40 + n)), stopped=False) for n in range(1, 41)]
    with serving(QUICK.model_copy(update={"max_in_flight": 3})) as (teacher, server):
        server.script = scripts.scoring(faults.delay(0.01))
        assert_scored(teacher.score(asked), asked)
        assert server.log.most_concurrent() == 3
        lengths = [length for length in lengths_of_samples(server, teacher) if length > 3]
        assert all(later <= earlier + 3 for earlier, later in pairwise(lengths))
        assert lengths[0] >= 40


def test_one_request_at_a_time_goes_strictly_by_length():
    asked = samples(TOKENS)
    with serving(QUICK.model_copy(update={"max_in_flight": 1})) as (teacher, server):
        teacher.score(asked)
        lengths = lengths_of_samples(server, teacher)
        assert lengths == sorted(lengths, reverse=True)


def test_equal_samples_are_asked_once(shared):
    asked = samples(TOKENS)[:1] * 5
    teacher, server = shared()
    assert_scored(teacher.score(asked), asked)
    assert len(of_samples(server, teacher)) == 1
